"""What a conversation is at, from the end of its transcript."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.sessions import tail
from holdfast.sessions.tail import Tail, read_tail, tail_of
from tests.sessions.written import Pen


def calls(pen: Pen, *tools: str) -> Pen:
    """The model calls tools, one record each; `Bash 1` is the tool and the call's id."""
    for tool in tools:
        name, _, key = tool.partition(" ")
        block = {
            "type": "tool_use",
            "id": f"toolu_{key}",
            "name": name,
            "input": {"command": "cat ~/.ssh/id_rsa"},
        }
        said = {"id": "msg_1", "role": "assistant", "model": "m", "stop_reason": None, "content": [block]}
        pen.record({"type": "assistant", "message": said})
    return pen


def results(pen: Pen, *keys: str) -> Pen:
    for key in keys:
        block = {"type": "tool_result", "tool_use_id": f"toolu_{key}", "content": "secret"}
        pen.record({"type": "user", "message": {"role": "user", "content": [block]}})
    return pen


def told(pen: Pen) -> Tail:
    found = tail_of([line.encode() for line in pen.lines])
    assert found is not None
    return found


INTERRUPTED: dict[str, Any] = {
    "type": "user",
    "message": {"role": "user", "content": [{"type": "text", "text": "[Request interrupted by user]"}]},
}

STORIES = {
    "asked": Pen().asks(),
    "called Bash": calls(Pen().asks(), "Bash 1"),
    "called Edit, Read": results(calls(Pen().asks(), "Edit 1", "Bash 2", "Read 3"), "2"),
    "asked ": results(calls(Pen().asks(), "Bash 1", "Read 2"), "2", "1"),
    "called Write": calls(results(calls(Pen().asks(), "Bash 1"), "1"), "Write 2"),
    "answered": Pen().asks().answers("msg_1", stop=None),
    "over": Pen().asks().answers("msg_1"),
    "over ": Pen().asks().answers("msg_1", stop=None).took(9),
    "over  ": Pen().asks().record(INTERRUPTED),
    "retrying": Pen().asks().fails(3, wait_ms=2000),
    "failed": Pen().asks().fails(10).gives_up(),
    "asked  ": Pen().asks().fails(3).gives_up().asks(),
    "nothing": Pen().scribbles('{"type":"summary","summary":"x"}').scribbles("{broken").scribbles(""),
}


@pytest.mark.parametrize("name", STORIES)
def test_what_it_is_at(name: str) -> None:
    """Waiting for an answer, for a tool, for its next try, or for its user."""
    found = told(STORIES[name])

    assert " ".join([found.at, ", ".join(found.open_tools)]).strip() == name.strip()


def test_a_try_says_when_the_next_begins() -> None:
    """The client announces its wait."""
    found = told(STORIES["retrying"])

    assert (found.retry_in_s, found.retry) == (2.0, (3, 10))


def test_the_version_is_that_of_the_last_record_that_bears_one() -> None:
    """2.1.329 writes records of a request behind its question; some bear a version, some only the session's id."""
    pen = Pen(version="2.1.86").asks().answers("msg_1")
    pen.version = "2.1.329"
    pen.asks()
    for bare in (
        '{"type":"api-request","sessionId":"s","timestamp":"2026-11-22T01:59:00.000Z","version":"2.1.329"}',
        '{"type":"last-prompt","lastPrompt":"x","leafUuid":"u","sessionId":"s"}',
        '{"type":"atis-latch","atis":{},"sessionId":"s"}',
    ):
        pen.scribbles(bare)

    found = told(pen)

    assert (found.at, found.session, found.version) == (tail.ASKED, "s", "2.1.329")
    assert (found.entrypoint, found.cwd) == ("cli", pen.cwd)


def test_nothing_that_was_said_is_kept() -> None:
    """Kinds, times, ids of calls and names of tools; no prompt, no argument, no result."""
    found = repr(told(results(calls(Pen().asks("my password is hunter2"), "Bash 1", "Read 2"), "2")))

    assert "Bash" in found and "2.1.104" in found
    for word in ("hunter2", "id_rsa", "secret"):
        assert word not in found


def test_a_local_command_asks_nothing() -> None:
    """`/model` leaves records of the user's kind behind a turn that is over."""
    pen = (
        Pen()
        .asks()
        .answers("msg_1")
        .asks("<command-name>/model</command-name>")
        .asks("<local-command-stdout>ok</local-command-stdout>")
    )

    assert told(pen).at == tail.OVER


def test_only_the_end_of_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool's result of a megabyte is looked past, and half lines at both ends are no records."""
    monkeypatch.setattr(tail, "FIRST_LOOK", 4096)
    pen = results(calls(Pen(version="2.1.329").asks("x" * 100_000), "Bash 1", "Read 2"), "1")
    path = pen.tool_says("y" * 50_000).saved(tmp_path)
    with path.open("ab") as file:
        file.write(b'{"type":"assistant","mess')

    found = read_tail(path)

    assert (found.at, found.version) == (tail.CALLED, "2.1.329")
    assert found.open_tools == ("Read",) or found.open_tools == ("Read", "Bash")
