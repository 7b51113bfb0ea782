"""What every cell of the matrix has in common: the clients, their shortened limits, and the silent stories.

A cell is one client, one place in the answer where the provider falls silent, and a silence longer than the
client's limit there. The limits are set by the clients' own variables and options, so that minutes become
seconds; nothing of the clients is changed. The measured defaults are in the client profiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pytest
from _pytest.mark import ParameterSet

from holdfast.lab.provider import Provider
from holdfast.lab.script import (
    AgentStory,
    Answer,
    Step,
    agent_story,
    answer,
    close_block,
    open_text,
    pause,
    says,
    start,
    text,
    thinking,
    tool,
    tool_results,
)
from tests.clients import claude, sdk
from tests.clients.claude import Machine
from tests.clients.front import state_dir
from tests.clients.install import CLAUDE_VERSIONS

CLIENTS = (*CLAUDE_VERSIONS, *sdk.SDKS)
PLACES = ("headers", "start", "thinking", "text", "tool")
"Where the provider falls silent: before its headers, after message_start, inside a block of each kind."

LIMIT_S = 3.0
"The clients' patience in these cells, where they let themselves be told."
LEAST_BYTE_LIMIT_S = 10.0
"2.1.329 takes no less for its byte watchdog: 3000, 5000 and 10000 ms all gave 10.0 s (measured with these tests)."
MORE_SILENT_S = 2.0
"The provider's silence goes on for this long after the client's limit."
PROMPT = "Write the file."
WRITTEN = "one\ntwo\nthree\n"
DONE = "The file is written."


def chosen(cells: Iterable[str | tuple[str, ...]], in_ci: Callable[..., bool]) -> list[ParameterSet]:
    """The cells as parameters: those `in_ci` are run by `make clients`, the rest by `make long`."""
    rows = [(cell,) if isinstance(cell, str) else cell for cell in cells]
    return [pytest.param(*row, marks=pytest.mark.client if in_ci(*row) else pytest.mark.long) for row in rows]


@dataclass(frozen=True, slots=True)
class Run:
    """What a client's run came to, whichever client it was."""

    finished: bool
    "It ended well in its own eyes, with the last answer whole."
    text: str
    tool_runs: int
    seconds: float
    detail: str
    "What it said of a failure."
    stderr: str = ""


def limits(version: str, seconds: float = LIMIT_S) -> dict[str, str]:
    """The variables that give Claude Code this patience, before headers and inside the answer."""
    milliseconds = str(round(seconds * 1000))
    if version == "2.1.329":
        return {"API_TIMEOUT_MS": milliseconds, "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": milliseconds}
    return {
        "API_TIMEOUT_MS": milliseconds,
        "CLAUDE_ENABLE_STREAM_WATCHDOG": "1",
        "CLAUDE_STREAM_IDLE_TIMEOUT_MS": milliseconds,
    }


def limit_s(client: str, place: str) -> float:
    """The client's patience at that place of the answer, as `run_client` sets it."""
    return LEAST_BYTE_LIMIT_S if client == "2.1.329" and place != "headers" else LIMIT_S


def silence_s(client: str, place: str) -> float:
    """A silence that this client does not sit out by itself."""
    return limit_s(client, place) + MORE_SILENT_S


def run_client(
    client: str,
    machine: Machine,
    base_url: str | None,
    *,
    patience_s: float = LIMIT_S,
    env: dict[str, str] | None = None,
    before: Sequence[str] = (),
    within_s: float = 60.0,
) -> Run:
    """One prompt to its end with any of the clients, streaming."""
    if client in CLAUDE_VERSIONS:
        did = claude.ask(
            client,
            machine,
            base_url,
            PROMPT,
            env={**limits(client, patience_s), **(env or {})},
            within_s=within_s,
            before=before,
        )
        detail = f"exit {did.exit_code}: {did.result or did.stderr[-500:]}"
        return Run(did.succeeded, did.result, did.tool_results, did.seconds, detail, did.stderr)
    told = sdk.ask(
        client, machine, base_url, PROMPT, timeout_s=patience_s, within_s=within_s, before=before, env=env
    )
    finished = told.error is None and told.stop_reason == "end_turn"
    return Run(finished, told.text, told.tool_runs, told.seconds, told.error or "")


def write_call(machine: Machine, *, silent_s: float = 0.0) -> list[Step]:
    """A `Write` of the cell's file, silent while its argument is generated."""
    arguments = {"file_path": str(machine.work / "answer.txt"), "content": WRITTEN}
    return tool("Write", arguments, silent_s=silent_s)


def silent_answer(place: str, machine: Machine, *, silent_s: float) -> Answer:
    """An answer that ends in a tool call and falls silent once, at that place."""
    call = write_call(machine)
    match place:
        case "headers":
            return answer(call, before_headers_s=silent_s)
        case "start":
            return answer(start(), pause(silent_s), call)
        case "thinking":
            return answer(thinking("It is a short file.", silent_s=silent_s), call)
        case "text":
            begun = [open_text(), *says("I will"), pause(silent_s), *says(" write it."), close_block()]
            return answer(begun, call)
        case "tool":
            return answer(text("I will write it."), write_call(machine, silent_s=silent_s))
    raise ValueError(f"no such place: {place}")


def silent_story(place: str, machine: Machine, *, silent_s: float) -> AgentStory:
    """The silent answer however often it is asked for, then the closing words."""
    return agent_story(silent_answer(place, machine, silent_s=silent_s), answer(text(DONE)))


def silent_once(place: str, machine: Machine, *, silent_s: float) -> AgentStory:
    """Silent the first time it is asked for, whole at once when asked again."""
    return agent_story(
        [silent_answer(place, machine, silent_s=silent_s), answer(write_call(machine))], answer(text(DONE))
    )


def assert_done_once(run: Run, provider: Provider, machine: Machine) -> None:
    """The turn finished, its tool ran once, and each answer was generated once."""
    assert run.finished, f"{run.detail}; {provider!r}; {_gateway_said(machine)}"
    assert DONE in run.text
    assert (machine.work / "answer.txt").read_text() == WRITTEN
    assert run.tool_runs == 1
    assert len(tool_results(provider.answers[-1].request.json)) == 1
    assert (provider.generations("first"), provider.generations("then")) == (1, 1), repr(provider)


def _gateway_said(machine: Machine) -> str:
    """The end of what a gateway under `run` wrote about itself: a defect of its own shows there."""
    log = state_dir(machine) / "run.log"
    return f"run.log: {log.read_text()[-3000:]}" if log.exists() else "no run.log"
