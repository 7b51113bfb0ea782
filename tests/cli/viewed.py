"""For the viewing commands: a state directory with turns in it, and a way to type a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from holdfast.cli.main import main
from holdfast.flight.journal import Journal
from holdfast.flight.record import InMemory, TurnRecord


def typed(state: Path, *arguments: str, answer: str | None = None) -> Result:
    """What `holdfast ARGUMENTS` prints and returns."""
    return CliRunner().invoke(
        main, list(arguments), input=answer, env={"HOLDFAST_STATE_DIR": str(state), "COLUMNS": "100"}
    )


def recorded(state: Path, *records: TurnRecord, answers: dict[str, bytes] | None = None) -> None:
    """Let a gateway record these turns and keep these answers (unfinished streams, by turn id), and end."""
    journal = Journal(state)
    for record in records:
        journal.changed(record)
        if answers and record.turn_id in answers:
            journal.keep_answer(
                record, InMemory(answers[record.turn_id]), complete=False, content_type="text/event-stream"
            )
    assert journal.close(10)


def event(name: str, **data: Any) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def stream(*blocks: dict[str, Any], cut: str | None = None) -> bytes:
    """An answer with these blocks; with `cut`, a last Write call whose arguments end there and nothing after."""
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "m",
        "stop_reason": None,
    }
    events = [event("message_start", message=message | {"usage": {"input_tokens": 1, "output_tokens": 1}})]
    for index, block in enumerate(blocks):
        events += _block(index, block)
    if cut is not None:
        shell = {"type": "tool_use", "id": "t", "name": "Write", "input": {}}
        events.append(event("content_block_start", index=len(blocks), content_block=shell))
        delta = {"type": "input_json_delta", "partial_json": cut}
        events.append(event("content_block_delta", index=len(blocks), delta=delta))
    else:
        events.append(event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9}))
        events.append(event("message_stop"))
    return b"".join(events)


def _block(index: int, block: dict[str, Any]) -> list[bytes]:
    shell: dict[str, Any]
    if block["type"] == "text":
        shell, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": block["text"]}
    elif block["type"] == "thinking":
        shell, delta = (
            {"type": "thinking", "thinking": ""},
            {"type": "thinking_delta", "thinking": block["thinking"]},
        )
    else:
        shell = {"type": "tool_use", "id": f"t{index}", "name": block["name"], "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    return [
        event("content_block_start", index=index, content_block=shell),
        event("content_block_delta", index=index, delta=delta),
        event("content_block_stop", index=index),
    ]


def text(words: str) -> dict[str, Any]:
    """A text block."""
    return {"type": "text", "text": words}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """A tool call."""
    return {"type": "tool_use", "name": name, "input": arguments}
