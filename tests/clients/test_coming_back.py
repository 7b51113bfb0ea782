"""The client hangs up at its limit and comes back, again and again: one generation, and the answer whole.

Keepalives are off here (their interval is ten minutes), so that the client really leaves. Where all three
hang-ups are to be of one kind, the gateway also waits for upstream's headers longer than any client does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from holdfast.flight.moments import ReaderJoined, ReaderLeft
from holdfast.gateway import profiles
from holdfast.gateway.profiles import Profile
from holdfast.gateway.settings import Settings, Timeouts, Upstream
from holdfast.lab.provider import Provider
from holdfast.lab.script import agent_story, answer, text
from tests.clients import sdk
from tests.clients.cells import (
    CLIENTS,
    DONE,
    PROMPT,
    Run,
    assert_done_once,
    chosen,
    limit_s,
    limits,
    run_client,
    silent_story,
    write_call,
)
from tests.clients.claude import FAKE_TOKEN, Machine
from tests.clients.front import run_prefix, serving
from tests.clients.install import CLAUDE_VERSIONS
from tests.gateway.hosted import Hosted, hosted

pytestmark = pytest.mark.timeout(400)

SHORT_S = 2.0
"The clients' patience where they are to lose it three times."
OFF = "10m"


@pytest.fixture
def patient_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that never opens an answer before upstream does."""
    choose = profiles.choose

    def patient(user_agent: str, headers: Mapping[str, str]) -> Profile:
        return replace(choose(user_agent, headers), header_share=100.0, header_patience_s=None)

    monkeypatch.setattr(profiles, "choose", patient)


def settings(provider: Provider, client_env: dict[str, str]) -> Settings:
    """As `run` would make them, keepalives off."""
    return Settings(
        upstream=Upstream.parse(provider.url),
        tenant="run-1",
        client_env=client_env,
        timeouts=Timeouts(keepalive_s=600.0),
    )


def verdicts(gateway: Hosted) -> list[str]:
    """Why each reader of the first turn left."""
    return [left.verdict for left in gateway.kept.moments(ReaderLeft)]


def joins(gateway: Hosted) -> list[str]:
    """How each reader joined, those of the closing words left out."""
    return [joined.how for joined in gateway.kept.moments(ReaderJoined)][:-1]


@pytest.mark.usefixtures("patient_gateway")
@pytest.mark.parametrize("client", chosen(CLIENTS, lambda client: client in ("2.1.329", "python")))
def test_three_streaming_hang_ups_in_a_row(client: str, machine: Machine) -> None:
    """Before the headers every client asks for the same stream again; the fourth request hears it all."""
    # Between the latest possible start of the fourth request and the earliest possible end of its patience.
    story = silent_story("headers", machine, silent_s=11.0 if client in CLAUDE_VERSIONS else 10.0)
    env = limits(client, SHORT_S) if client in CLAUDE_VERSIONS else {}
    with Provider(story).running() as provider, hosted(settings(provider, env)) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        if client in CLAUDE_VERSIONS:
            run = run_client(client, machine, url, patience_s=SHORT_S)
        else:
            run = patient_sdk(client, machine, url)

        assert_done_once(run, provider, machine)
        assert joins(gateway) == ["first", "retry", "retry", "retry"]
        assert verdicts(gateway) == ["gave_up"] * 3


def patient_sdk(language: str, machine: Machine, url: str) -> Run:
    """An SDK that tries three times more, not twice."""
    told = sdk.ask(language, machine, url, PROMPT, timeout_s=SHORT_S, max_retries=3)
    return Run(told.error is None, told.text, told.tool_runs, told.seconds, told.error or "")


@pytest.mark.usefixtures("patient_gateway")
@pytest.mark.parametrize("version", chosen(CLAUDE_VERSIONS, lambda version: version == "2.1.86"))
def test_three_hang_ups_of_the_fallback_in_a_row(version: str, machine: Machine) -> None:
    """Silent after message_start: the client asks without streaming, and that request hangs up, too, and again."""
    begun_s = limit_s(version, "start") if version == "2.1.329" else SHORT_S
    story = silent_story("start", machine, silent_s=begun_s + 8.5)
    env = limits(version, SHORT_S)
    with Provider(story).running() as provider, hosted(settings(provider, env)) as gateway:
        run = run_client(version, machine, f"http://127.0.0.1:{gateway.port}", patience_s=SHORT_S)

        assert_done_once(run, provider, machine)
        assert joins(gateway)[:4] == ["first", "fallback", "fallback", "fallback"]
        assert verdicts(gateway)[:3] == ["gave_up"] * 3


@pytest.mark.parametrize("version", chosen(CLAUDE_VERSIONS, lambda version: version != "2.1.86"))
def test_under_run_as_it_is(version: str, machine: Machine) -> None:
    """Nothing but the keepalives is off: silent in the first block for several of the client's limits."""
    silent_s = limit_s(version, "tool") + 2.5 * SHORT_S
    story = agent_story(answer(write_call(machine, silent_s=silent_s)), answer(text(DONE)))
    with Provider(story).running() as provider:
        run = run_client(
            version, machine, provider.url, patience_s=SHORT_S, before=run_prefix(machine, keepalive=OFF)
        )

        assert_done_once(run, provider, machine)
        assert "1 saved" in run.stderr or "not started twice" in run.stderr


@pytest.mark.parametrize("version", chosen(CLAUDE_VERSIONS, lambda version: version == "2.1.86"))
def test_a_bearer_token_comes_back_for_its_own(version: str, machine: Machine) -> None:
    """The same with a token in place of a key, through a service that is told nothing of the client's limits."""
    story = silent_story("start", machine, silent_s=limit_s(version, "start") + 2)
    with Provider(story).running() as provider, serving(provider.url, machine, keepalive=OFF) as gateway:
        token = {"ANTHROPIC_API_KEY": "", "ANTHROPIC_AUTH_TOKEN": FAKE_TOKEN}
        run = run_client(version, machine, gateway.url, env=token)

        assert_done_once(run, provider, machine)
        sent = {
            request.headers.get("authorization") for request in provider.requests if request.json.get("tools")
        }
        assert sent == {f"Bearer {FAKE_TOKEN}"}


@pytest.mark.parametrize("version", chosen(CLAUDE_VERSIONS, lambda version: version == "2.1.114"))
def test_a_token_renewed_between_hang_up_and_retry(version: str, machine: Machine) -> None:
    """A key helper gives every request a new key; under `run` the request that comes back still finds its turn."""
    use_key_helper(machine)
    env = {"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_API_KEY_HELPER_TTL_MS": "1"}
    story = silent_story("start", machine, silent_s=limit_s(version, "start") + 2)
    with Provider(story).running() as provider:
        run = run_client(version, machine, provider.url, env=env, before=run_prefix(machine, keepalive=OFF))

        assert_done_once(run, provider, machine)
        keys = [seen.request.headers["x-api-key"] for seen in provider.answers]
        # Mostly the second key came with the request that heard the first answer to its end; a client that is
        # quick keeps its key for that request. That another key adopts is shown without a client as well.
        assert keys[0] == "sk-ant-fake-renewed-1"
        assert keys[1:] in (["sk-ant-fake-renewed-3"], ["sk-ant-fake-renewed-2"])


def use_key_helper(machine: Machine) -> None:
    """A program in the user's settings that hands out `sk-ant-fake-renewed-1`, `-2`, ..."""
    helper = machine.home / "key-helper"
    helper.write_text(
        "#!/bin/sh\n"
        'n=$(cat "$HOME/keys-given" 2>/dev/null || echo 0)\n'
        'echo $((n + 1)) >"$HOME/keys-given"\n'
        'echo "sk-ant-fake-renewed-$((n + 1))"\n'
    )
    helper.chmod(0o700)
    folder = machine.home / ".claude"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({"apiKeyHelper": str(helper)}))
