"""The freeze as it was reported, from the hang-up to the half file on disk: real sockets, one gateway, one journal."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from holdfast.flight.journal import Journal
from holdfast.gateway.server import Gateway
from holdfast.gateway.settings import Settings, Timeouts, Upstream
from holdfast.lab.clients import AgentModel
from holdfast.lab.provider import Provider
from holdfast.lab.scenarios import world_data
from holdfast.lab.script import Answer, answer, argues, open_tool, pause, silence, text
from tests.cli.viewed import typed

LIMIT_S = 0.3
WATCHDOG = {"CLAUDE_ENABLE_STREAM_WATCHDOG": "1", "CLAUDE_STREAM_IDLE_TIMEOUT_MS": str(round(LIMIT_S * 1000))}
ARGUMENT = json.dumps(world_data(), ensure_ascii=False)
HALF = ARGUMENT[: len(ARGUMENT) // 2 + 7]


def frozen() -> Answer:
    """A giant file, half of it told at once; then the model, or whatever is between, says nothing more."""
    pieces = [argues(HALF[at : at + 4000]) for at in range(0, len(HALF), 4000)]
    return answer(text("I will write the file."), open_tool("Write"), pieces, pause(0.01), silence())


async def play(state: Path) -> None:
    """A client that hangs up after its limit and asks the same again, twice; then it is gone."""
    async with Provider(frozen()) as provider:
        settings = Settings(
            upstream=Upstream.parse(provider.url),
            client_env=WATCHDOG,
            timeouts=Timeouts(keepalive_s=600.0, orphan_s=0.4),
            state_dir=state,
        )
        journal = Journal(state)
        gateway = Gateway(settings, journal)
        port = await gateway.listen()
        agent = AgentModel(
            limit_s=LIMIT_S, retries=2, headers={"user-agent": "claude-cli/2.1.86 (external, sdk-cli)"}
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(6):
                await agent.run(f"http://127.0.0.1:{port}", "Write world_data.py")
        await asyncio.sleep(0.8)
        await gateway.close()
        assert await asyncio.to_thread(journal.close, 10)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory after the freeze."""
    directory = tmp_path_factory.mktemp("state")
    asyncio.run(asyncio.wait_for(play(directory), 20))
    return directory


def test_the_loop_is_one_finding(state: Path) -> None:
    """Three hang-ups at the same limit inside the same call, told in one sentence; one generation."""
    told = typed(state, "flights").stdout
    assert (
        "The same request, 3 times, " in told
        and "inside a tool call (C.rst.tool); 1 turn, asked upstream once" in told
    )


def test_the_list_names_the_file(state: Path) -> None:
    """And the whole journal holds no word of the prompt."""
    known = json.loads(typed(state, "attic", "list", "--json").stdout)
    assert (known["tool"], known["path"], known["messages"], known["tools"]) == (
        "Write",
        "world_data.py",
        1,
        1,
    )
    assert known["complete"] is False and known["request_bytes"] > 100
    stored = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert b"Write world_data.py" not in stored


def test_half_the_file_is_saved_and_the_client_can_go_on(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the character, with the line where it ends; the note continues from the next one."""
    monkeypatch.chdir(tmp_path)
    turn_id = json.loads(typed(state, "attic", "list", "--json").stdout)["turn_id"]
    saved = typed(state, "attic", "save", turn_id)
    half = (tmp_path / "holdfast-attic" / turn_id / "world_data.py.partial").read_text()
    truth = world_data()["content"]
    assert truth.startswith(half) and len(half) > len(truth) // 3
    lines = half.count("\n")
    assert f"cut off in line {lines + 1}, after " in saved.stdout
    note = typed(state, "attic", "show", turn_id, "--continue").stdout
    assert f"The first {lines} lines of world_data.py are on disk at" in note
    assert f"head -n {lines} " in note and f"append the rest from line {lines + 1} on" in note
    assert truth.splitlines()[lines - 1][:200].strip() in note
