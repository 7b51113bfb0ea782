"""Client profiles: which row a request gets, which limits hold for it, and that every fact has a source."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from importlib.resources import files

import pytest

from holdfast.flight.endings import Mechanism
from holdfast.gateway import profiles
from holdfast.gateway.accounts import bridged
from holdfast.gateway.deadlines import keepalive_interval
from holdfast.gateway.profiles import (
    BREAK_LOSSES,
    RECOVERIES,
    Limit,
    choose,
    header_patience,
    limits_for,
    measured_profiles,
    unknown,
    variables,
)

TOLD = ("nothing", "start", "block", "thinking", "text", "tool", "all")
"What a client may have heard of an answer when it breaks."


def agent(version: str) -> str:
    return f"claude-cli/{version} (external, cli)"


# -- the data ---------------------------------------------------------------------------------------


def test_every_field_and_every_limit_names_its_source() -> None:
    """A fact without a source is a guess."""
    text = files("holdfast.gateway").joinpath("profiles.toml").read_text(encoding="utf-8")
    losses = {"silent_loss", "silent_loss_after_block", "silent_hang", "header_patience_s"}
    for row in tomllib.loads(text)["profile"]:
        told = row.keys() - {"program", "version", "limits", "sources"}
        assert told | losses <= row["sources"].keys(), row["program"]
        assert all(len(source) >= 12 for source in row["sources"].values())
        assert row["sources"].keys() <= {field.name for field in dataclasses.fields(unknown())}
        assert all(limit["source"] for limit in row["limits"])


def test_the_vocabulary_of_the_data_is_closed() -> None:
    """A typing error in the data would silently mean something else."""
    for profile in measured_profiles():
        assert profile.keepalive in ("null-delta", "ping", "comment")
        assert profile.counted <= {"null-delta", "empty-delta"}
        assert profile.cut_form in ("open", "restart", "")
        assert 400 <= profile.explain_status < 500
        assert profile.breaks.keys() <= set(TOLD)
        for words in profile.breaks.values():
            assert words.keys() <= {"reset", "cut", "err"}
            assert set(words.values()) <= BREAK_LOSSES.keys() | RECOVERIES
        for limit in profile.limits:
            assert limit.clock in ("headers", "bytes", "events", "total", "told")
            assert limit.applies in ("any", "streaming", "whole")
            assert limit.seconds > 0


def test_every_row_is_there() -> None:
    """The clients that were measured."""
    assert [profile.name for profile in measured_profiles()] == [
        "claude-code 2.1.86",
        "claude-code 2.1.114",
        "claude-code 2.1.329",
        "anthropic-python 2.11.0",
        "anthropic-typescript 1.11.0",
        "openai-python 3.52.0",
        "unknown",
    ]


# -- choosing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user_agent", "name", "measured", "closes"),
    [
        ("claude-cli/2.1.86 (external, cli)", "claude-code 2.1.86", True, False),
        ("claude-cli/2.1.114 (external, sdk-cli, agent-sdk/0.2)", "claude-code 2.1.114", True, True),
        ("claude-cli/2.1.329 (external, cli)", "claude-code 2.1.329", True, False),
        ("claude-cli/2.1.100 (external, cli)", "claude-code 2.1.100 (as 2.1.86)", False, True),
        ("claude-cli/2.1.200 (external, cli)", "claude-code 2.1.200 (as 2.1.114)", False, True),
        ("claude-cli/2.2.0 (external, cli)", "claude-code 2.2.0 (as 2.1.329)", False, False),
        ("claude-cli/1.9.400", "claude-code 1.9.400 (as 2.1.86, older than any measured)", False, False),
        ("Anthropic/Python 2.11.0", "anthropic-python 2.11.0", True, False),
        ("AsyncAnthropic/Python 2.12.0", "anthropic-python 2.12.0 (as 2.11.0)", False, False),
        ("Anthropic/JS 1.11.0", "anthropic-typescript 1.11.0", True, False),
        ("AsyncOpenAI/Python 3.52.0", "openai-python 3.52.0", True, False),
        ("curl/8.0", "unknown", False, False),
        ("my claude-cli/2.1.86", "unknown", False, False),
        ("claude-cli/2.1", "unknown", False, False),
        ("", "unknown", False, False),
    ],
)
def test_a_version_gets_its_own_row_or_the_older_neighbours(
    user_agent: str, name: str, measured: bool, closes: bool
) -> None:
    """And the name says which; in between, connections are not reused."""
    profile = choose(user_agent, {})
    assert (profile.name, profile.measured, profile.close_connections) == (name, measured, closes)


def test_an_sdks_limits_are_not_claimed_for_another_runtime() -> None:
    """The TypeScript SDK was measured on Node, whose HTTP library has the limits."""
    assert choose("Anthropic/JS 1.11.0", {"x-stainless-runtime": "node"}).program == "anthropic-typescript"
    other = choose("Anthropic/JS 1.11.0", {"x-stainless-runtime": "bun\x1b"})
    assert other.name == "unknown (anthropic-typescript on bun?)" and not other.white_space


# -- limits -----------------------------------------------------------------------------------------


def limits(
    version: str, env: dict[str, str] | None = None, *, streaming: bool | None = True, **headers: str
) -> dict[str, float]:
    asked = {name.replace("_", "-"): value for name, value in headers.items()}
    found = limits_for(choose(agent(version), {}), asked, env or {}, streaming)
    return {f"{limit.name}/{limit.clock}": limit.seconds for limit in found}


def test_the_limits_without_any_setting() -> None:
    """As measured at defaults."""
    assert limits("2.1.86") == {"headers/headers": 300, "request/headers": 600, "bytes/bytes": 300}
    assert limits("2.1.114") == {"request/headers": 600}
    assert limits("2.1.329") == {
        "headers/headers": 360,
        "request/headers": 600,
        "stream idle/bytes": 300,
        "bytes/bytes": 300,
        "events/events": 750,
    }
    assert limits("2.1.329", streaming=False) == {"headers/headers": 360, "total/total": 300}
    assert limits("2.1.114", streaming=False) == {"request/headers": 300}
    assert limits_for(unknown(), {}, {}, True) == ()


@pytest.mark.parametrize(
    ("version", "env", "name", "seconds"),
    [
        ("2.1.86", {"CLAUDE_ENABLE_STREAM_WATCHDOG": "1"}, "events/events", 90),
        (
            "2.1.114",
            {"CLAUDE_ENABLE_STREAM_WATCHDOG": "1", "CLAUDE_STREAM_IDLE_TIMEOUT_MS": "20000"},
            "events/events",
            20,
        ),
        ("2.1.114", {"CLAUDE_STREAM_IDLE_TIMEOUT_MS": "20000"}, "events/events", None),
        ("2.1.86", {"API_TIMEOUT_MS": "20000"}, "request/headers", 20),
        ("2.1.86", {"API_TIMEOUT_MS": "20000"}, "bytes/bytes", 300),
        ("2.1.329", {"CLAUDE_STREAM_IDLE_TIMEOUT_MS": "60000"}, "stream idle/bytes", 300),
        ("2.1.329", {"CLAUDE_STREAM_IDLE_TIMEOUT_MS": "420000"}, "stream idle/bytes", 420),
        ("2.1.329", {"CLAUDE_STREAM_IDLE_TIMEOUT_MS": "420000"}, "bytes/bytes", 420),
        ("2.1.329", {"CLAUDE_STREAM_IDLE_TIMEOUT_MS": "420000"}, "headers/headers", 480),
        ("2.1.329", {"CLAUDE_STREAM_IDLE_TIMEOUT_MS": "9000000"}, "stream idle/bytes", 1800),
        ("2.1.329", {"CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": "60000"}, "bytes/bytes", 60),
        ("2.1.329", {"CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": "60000"}, "stream idle/bytes", 300),
        ("2.1.329", {"CLAUDE_ENABLE_STREAM_WATCHDOG": "0"}, "bytes/bytes", 300),
        ("2.1.329", {"CLAUDE_ENABLE_STREAM_WATCHDOG": "0"}, "stream idle/bytes", None),
        ("2.1.329", {"API_FORCE_IDLE_TIMEOUT": "0"}, "headers/headers", None),
        ("2.1.329", {"API_TIMEOUT_MS": "soon"}, "request/headers", 600),
        ("2.1.329", {"API_TIMEOUT_MS": "0"}, "request/headers", 600),
    ],
)
def test_the_environment_moves_limits_as_measured(
    version: str, env: dict[str, str], name: str, seconds: float | None
) -> None:
    """Each variable, with the client's own clamp."""
    assert limits(version, env).get(name) == seconds
    assert env.keys() <= variables()


def test_the_request_says_its_own_limit() -> None:
    """`x-stainless-timeout` is in seconds and wins over the environment."""
    assert limits("2.1.86", {"API_TIMEOUT_MS": "1"}, x_stainless_timeout="900")["request/headers"] == 900
    assert limits("2.1.329", streaming=False, x_stainless_timeout="900")["total/total"] == 900


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-stainless-timeout": "NOT_GIVEN", "x-stainless-read-timeout": "600"}, 600),
        ({"x-stainless-timeout": "20.5", "x-stainless-read-timeout": "20.5"}, 20.5),
        ({"x-stainless-timeout": "20"}, 20),
        ({"x-stainless-timeout": "None"}, None),
        ({"x-stainless-timeout": "-1"}, 600),
        ({"x-stainless-timeout": "1e9"}, 600),
        ({}, 600),
    ],
)
def test_the_python_sdk_says_its_read_gap(headers: dict[str, str], seconds: float | None) -> None:
    """For it, the timeout is the gap between two reads, before the headers and after."""
    found = limits_for(choose("Anthropic/Python 2.11.0", {}), headers, {}, True)
    assert {(limit.clock, limit.seconds) for limit in found} == (
        {("headers", seconds), ("bytes", seconds)}
        | ({("told", seconds)} if _says_a_number(headers) else set())
        if seconds
        else set()
    )


def _says_a_number(headers: dict[str, str]) -> bool:
    return any(value.replace(".", "").isdigit() for value in headers.values())


def test_an_unknown_agent_that_says_its_limit_is_believed() -> None:
    """For the wait for headers, and for its leaving at just that time."""
    found = limits_for(choose("some-sdk/1", {}), {"x-stainless-timeout": "60"}, {}, True)
    assert [(limit.clock, limit.seconds) for limit in found] == [("headers", 60), ("told", 60)]


@pytest.mark.parametrize(
    "agent", ["some-sdk/1", "Anthropic/Python 2.11.0", "Anthropic/JS 1.11.0", "OpenAI/Python 3.52.0"]
)
def test_nothing_is_planned_by_a_limit_of_which_only_the_word_is_known(agent: str) -> None:
    """It explains a leaving. The wait for headers and the keepalives follow what was measured."""
    headers = {"x-stainless-timeout": "4"}
    found = limits_for(choose(agent, {}), headers, {}, None)
    without = [limit for limit in found if limit.clock != "told"]

    assert len(found) == len(without) + 1
    assert header_patience(choose(agent, {}), found) == header_patience(choose(agent, {}), without)
    assert keepalive_interval(10.0, found) == keepalive_interval(10.0, without)


@pytest.mark.parametrize("version", ["2.1.86", "2.1.114", "2.1.329"])
def test_a_client_that_is_known_whole_keeps_to_its_measured_clocks(version: str) -> None:
    """Claude Code tells 600 s with every stream, and was measured to count them before the headers only."""
    profile = choose(f"claude-cli/{version} (external, cli)", {})
    found = limits_for(profile, {"x-stainless-timeout": "600"}, {}, True)
    assert "told" not in {limit.clock for limit in found}


# -- what follows from them -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "streaming", "env", "patience_s"),
    [
        ("2.1.86", True, {}, 240),
        ("2.1.114", True, {}, 480),
        ("2.1.329", True, {}, 15),
        ("2.1.329", True, {"API_TIMEOUT_MS": "10000"}, 8),
        ("2.1.86", False, {}, 240),
        ("2.1.329", False, {}, 240),
    ],
)
def test_header_patience_is_short_only_where_it_was_measured_to_be_safe(
    version: str, streaming: bool, env: dict[str, str], patience_s: float
) -> None:
    """15 s where a banner would show and a late error is recovered; else 0.8 of what ends the wait."""
    profile = choose(agent(version), {})
    found = limits_for(profile, {}, env, streaming)
    assert header_patience(profile, found, streaming=streaming) == patience_s
    both = limits_for(profile, {}, env, None)
    assert header_patience(profile, both, streaming=streaming) == patience_s


def test_nothing_is_said_early_to_a_client_of_unknown_limits() -> None:
    """The status is worth more than a keepalive to somebody who may have no limit."""
    assert header_patience(unknown(), ()) == math.inf


def test_what_a_silence_costs_is_told_by_the_client_that_leaves() -> None:
    """A turn is only saved where the client would have lost it."""
    bytes_limit = (Limit("bytes", "bytes", 300.0),)
    older, middle, newest = (choose(agent(version), {}) for version in ("2.1.86", "2.1.114", "2.1.329"))
    assert older.loss_at_silence(bytes_limit, completed_blocks=1) is None
    assert middle.loss_at_silence((), completed_blocks=0) == middle.silent_hang
    assert newest.loss_at_silence(bytes_limit, completed_blocks=0) is None
    assert "stops with an error" in (newest.loss_at_silence(bytes_limit, completed_blocks=1) or "")


@pytest.mark.parametrize(
    ("user_agent", "loses"),
    [
        ("claude-cli/2.1.329 (external, cli)", True),
        ("claude-cli/2.1.329 (external, sdk-cli)", False),
        ("claude-cli/2.1.400 (external, sdk-cli, agent-sdk/0.2)", False),
        ("claude-cli/2.1.329 (external, not-sdk-client)", True),
        ("claude-cli/2.1.329 sdk-cli", True),
        ("claude-cli/2.1.114 (external, sdk-cli)", True),
    ],
)
def test_print_mode_is_not_saved_from_what_it_recovers_from(user_agent: str, loses: bool) -> None:
    """Claude Code 2.1.329 asks for a continuation where nobody sits before it; older ones fail in both modes."""
    profile = choose(user_agent, {})
    limits = (Limit("bytes", "bytes", 300.0),)
    silence = bridged(400, limits, profile, completed_blocks=1, headers=True, streaming=True)

    assert silence is not None
    assert (silence.loss is not None) is loses
    assert (profile.loss_at_silence(limits, completed_blocks=1) is not None) is loses


# -- endings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program", ["claude-code", "anthropic-python", "anthropic-typescript", "openai-python"]
)
def test_only_an_agent_is_given_an_ending_to_recover_from(program: str) -> None:
    """Claude Code drops an open block and goes on; an SDK glues, raises, or hands a half tool call to its program."""
    for profile in measured_profiles():
        if profile.program == program:
            agent = program == "claude-code"
            assert (profile.restarts, profile.shortens, profile.resumes_cut) == (agent, agent, agent)
            assert bool(profile.cut_form) is agent
            assert profile.shortens_closed or program == "openai-python"


def test_nothing_is_claimed_of_an_agent_that_nobody_measured() -> None:
    """Neither an ending that it accepts, nor a turn that it would have lost."""
    row = unknown()
    assert not (row.restarts or row.shortens or row.shortens_closed or row.resumes_cut or row.cut_form)
    assert not row.compacts_on
    for told in TOLD:
        for mechanism in Mechanism:
            assert row.loss_at_break(told, mechanism.value) is None


def test_only_a_measured_version_is_made_to_compact() -> None:
    """2.1.329 compacts at the words, older ones end the turn; what happens in between is not known."""
    assert "too long" in choose(agent("2.1.329"), {}).compacts_on
    assert not choose(agent("2.1.114"), {}).compacts_on
    assert not choose(agent("2.1.200"), {}).compacts_on


def test_between_two_versions_an_ending_is_used_where_both_accept_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the older neighbour accepts, the newer one may have given up."""
    accepted = profiles._neighbour("claude-code", (2, 1, 200))
    assert accepted.restarts and accepted.shortens and accepted.shortens_closed and accepted.resumes_cut
    assert accepted.cut_form == "open"

    *older, newest = (row for row in measured_profiles() if row.program == "claude-code")
    refusing = dataclasses.replace(
        newest, restarts=False, shortens=False, shortens_closed=False, resumes_cut=False, cut_form="restart"
    )
    monkeypatch.setattr(profiles, "_rows", lambda: (*older, refusing))
    between = profiles._neighbour("claude-code", (2, 1, 200))

    assert not (between.restarts or between.shortens or between.shortens_closed or between.resumes_cut)
    assert between.cut_form == ""
    assert profiles._neighbour("claude-code", (2, 1, 100)).restarts


@pytest.mark.parametrize(
    ("user_agent", "told", "mechanism", "loss"),
    [
        ("claude-cli/2.1.86 (external, cli)", "text", Mechanism.RST, None),
        ("claude-cli/2.1.86 (external, cli)", "text", Mechanism.TRUNCATED, "takes the part"),
        ("claude-cli/2.1.86 (external, cli)", "tool", Mechanism.FIN, "throws the completed tool call away"),
        ("claude-cli/2.1.86 (external, cli)", "tool", Mechanism.TRUNCATED, None),
        ("claude-cli/2.1.114 (external, cli)", "thinking", Mechanism.TRUNCATED, "takes the part"),
        ("claude-cli/2.1.114 (external, cli)", "text", Mechanism.STREAM_ERROR, "fails at once"),
        ("claude-cli/2.1.114 (external, cli)", "text", Mechanism.RST, None),
        ("claude-cli/2.1.114 (external, cli)", "block", Mechanism.RST, None),
        ("claude-cli/2.1.329 (external, cli)", "text", Mechanism.FIN_THEN_RST, "stops with an error"),
        ("claude-cli/2.1.329 (external, sdk-cli)", "text", Mechanism.FIN_THEN_RST, None),
        ("claude-cli/2.1.329 (external, cli)", "tool", Mechanism.RST, None),
        ("claude-cli/2.1.329 (external, cli)", "text", Mechanism.KEEPALIVE_UNANSWERED, None),
        ("claude-cli/2.1.100 (external, cli)", "text", Mechanism.TRUNCATED, "takes the part"),
        ("claude-cli/2.1.100 (external, cli)", "tool", Mechanism.RST, None),
        ("claude-cli/2.1.200 (external, cli)", "text", Mechanism.TRUNCATED, None),
        ("Anthropic/Python 2.11.0", "start", Mechanism.RST, "raises"),
        ("Anthropic/Python 2.11.0", "tool", Mechanism.TRUNCATED, "takes the part"),
        ("Anthropic/JS 1.11.0", "text", Mechanism.TRUNCATED, None),
        ("AsyncOpenAI/Python 3.52.0", "nothing", Mechanism.RST, None),
    ],
)
def test_what_a_break_costs_is_told_by_the_client_that_has_it(
    user_agent: str, told: str, mechanism: Mechanism, loss: str | None
) -> None:
    """A turn is only saved where the client was measured to lose it, and where nothing else decides."""
    said = choose(user_agent, {}).loss_at_break(told, mechanism.value)
    assert (said is None) is (loss is None)
    assert (said or "").startswith(loss or "")


def test_before_its_headers_every_client_asks_again() -> None:
    """Then a break costs no turn."""
    for profile in measured_profiles():
        for mechanism in Mechanism:
            assert profile.loss_at_break("nothing", mechanism.value, headers=False) is None
