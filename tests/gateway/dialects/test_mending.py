"""What a client was told of an answer, and the events that a healed stream needs besides the provider's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.gateway.dialects.anthropic import PING, EventReader, comment, fold, fold_partial, null_delta
from holdfast.gateway.dialects.mending import (
    NOTHING_TOLD,
    UNREADABLE,
    Block,
    Told,
    UnderFirstStart,
    closing,
    events_of,
    mark,
    restart_start,
    told,
)


def event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def message_start(message_id: str = "msg_1") -> bytes:
    usage = {"input_tokens": 120, "output_tokens": 1}
    return event(
        "message_start",
        message={
            "id": message_id,
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": [],
            "usage": usage,
        },
    )


def start(index: int, kind: str, **more: Any) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind, **more})


def delta(index: int, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta=fields)


def text(index: int, words: str) -> bytes:
    return start(index, "text", text="") + delta(index, type="text_delta", text=words)


def call(index: int, name: str, written: str) -> bytes:
    shell = start(index, "tool_use", id=f"toolu_{index}", name=name, input={})
    return shell + delta(index, type="input_json_delta", partial_json=written)


def stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


def message_delta(reason: str | None = "end_turn", tokens: int = 9) -> bytes:
    return event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": tokens})


BEGIN = message_start()
STOP = event("message_stop")
THOUGHT = start(0, "thinking", thinking="", signature="") + stop(0)
OVERLOADED = event("error", error={"type": "overloaded_error", "message": "Overloaded"})

NAMED = ["nothing", "only_start", "first_block_open"]
NAMED += ["completed_tool", "completed_text", "completed_thinking", "completed_other"]

# -- what was told ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (b"", {"nothing"}),
        (comment("hello") + PING + null_delta(0) + event("news"), {"nothing"}),
        (BEGIN[:-1], {"nothing"}),
        (PING + BEGIN, {"only_start"}),
        (BEGIN + null_delta(5) + comment("healed"), {"only_start"}),
        (BEGIN + start(0, "text"), {"first_block_open", "open text"}),
        (BEGIN + start(0, "tool_use", name="Write") + PING, {"first_block_open", "open tool_use"}),
        (BEGIN + THOUGHT, {"completed_thinking"}),
        (BEGIN + THOUGHT + text(1, "Hi"), {"completed_thinking", "open text"}),
        (BEGIN + start(0, "redacted_thinking", data="x") + stop(0), {"completed_thinking"}),
        (BEGIN + text(0, "Hi") + stop(0), {"completed_text"}),
        (BEGIN + text(0, "Hi") + stop(0) + call(1, "Write", '{"a'), {"completed_text", "open tool_use"}),
        (BEGIN + call(0, "Write", "{}") + stop(0) + call(1, "Read", "{"), {"completed_tool", "open tool_use"}),
        (BEGIN + start(0, "server_tool_use", name="web_search") + stop(0), {"completed_other"}),
        (BEGIN + text(0, "Hi") + stop(0) + message_delta(), {"completed_text"}),
        (BEGIN + text(0, "Hi") + stop(0) + message_delta() + STOP, {"completed_text"}),
        (BEGIN + OVERLOADED, set()),
    ],
)  # fmt: skip
def test_what_the_healing_table_asks(data: bytes, facts: set[str]) -> None:
    """Every fact that a row of the table rests on, from the bytes that the reader was given."""
    known = told(data)
    found = {name for name in NAMED if getattr(known, name)}
    if known.open_kind is not None:
        found.add(f"open {known.open_kind}")

    assert found == facts
    assert told(data.replace(b"\n", b"\r\n")) == known


def test_everything_that_was_told_is_known() -> None:
    """Blocks with their tools, the stop reason, the counts, and who answered."""
    data = BEGIN + text(0, "Hi") + stop(0) + call(1, "Write", "{}") + stop(1) + message_delta("tool_use", 40)

    known = told(data)

    blocks = (Block(0, "text"), Block(1, "tool_use", "Write"))
    assert known == Told(True, blocks, None, "tool_use", False, False, "msg_1", "claude-x", 120, 40)
    assert known.next_index == 2
    assert told(data + STOP).finished and told(data + OVERLOADED).error
    assert told(data + STOP + BEGIN + text(0, "again")) == told(data + STOP)


def test_a_second_message_start_drops_the_open_block_and_keeps_completed_ones() -> None:
    """What Claude Code makes of an in-stream restart is what it then knows."""
    first = BEGIN + text(0, "Hi") + stop(0) + call(1, "Write", '{"half')

    known = told(first + mark("healed") + message_start("msg_2"))

    assert (known.completed, known.open, known.message_id) == ((Block(0, "text"),), None, "msg_2")
    assert told(first + message_start("msg_2") + text(0, "A")).open == Block(0, "text")


def test_an_unreadable_event_still_counts_for_what_its_name_says() -> None:
    """A provider's odd JSON: a start is a start, and a block of no known kind is no tool call."""
    odd = b"event: %b\ndata: {oops\n\n"
    assert told(odd % b"message_start").only_start
    opened = told(BEGIN + odd % b"content_block_start")
    assert opened.open == UNREADABLE
    assert told(BEGIN + odd % b"content_block_start" + stop(0)).completed == (UNREADABLE,)
    assert told(BEGIN + text(0, "Hi") + odd % b"message_start").open is None


_PIECES = st.sampled_from(
    [BEGIN, text(0, "Hi"), stop(0), call(1, "Write", "{"), stop(1), THOUGHT, message_delta(), null_delta(4), PING,
     comment("c"), STOP, OVERLOADED, event("news"), b"data: {}\n\n", b"event: message_start\ndata: {oops\n\n",
     b"event: content_block_start\ndata: 7\n\n", b"\xff\x00", b"\n", b"\r", b"event: content_block_stop"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=12), st.data())
@settings(max_examples=300)
def test_no_bytes_make_it_raise_and_more_bytes_take_nothing_back(
    pieces: list[bytes], data: st.DataObject
) -> None:
    """Wherever the log is cut: what is complete stays complete."""
    whole = b"".join(pieces)
    before = told(whole[: data.draw(st.integers(0, len(whole)))])
    after = told(whole)

    assert after.completed[: len(before.completed)] == before.completed
    assert after.started >= before.started and after.finished >= before.finished
    assert (before == NOTHING_TOLD) <= before.nothing


# -- events of our own ------------------------------------------------------------------------------


def test_a_message_is_closed_after_its_completed_tool_call() -> None:
    """The client runs the call; the one that broke off is left out of the message."""
    broke = BEGIN + call(0, "Write", '{"a": 1}') + stop(0) + call(1, "Read", '{"file')

    healed = broke + mark("broke") + closing(told(broke), "tool_use", 33, close_open=False)

    message = fold(healed)
    assert [(block["name"], block["input"]) for block in message["content"]] == [("Write", {"a": 1})]
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("tool_use", 33)
    assert told(healed).finished


def test_an_open_text_can_be_kept_as_far_as_it_came() -> None:
    """Closed with its message, half a text is text."""
    broke = BEGIN + text(0, "Half a sen")

    healed = broke + closing(told(broke), "max_tokens", 4, close_open=True)

    assert healed.count(b"event: content_block_stop\n") == 1
    assert fold(healed)["content"] == [{"type": "text", "text": "Half a sen"}]


def test_only_what_is_missing_is_said() -> None:
    """A stop reason that was told stands; then the last event is all that is left to say."""
    broke = BEGIN + text(0, "Whole.") + stop(0) + message_delta("end_turn", 7)

    healed = broke + closing(told(broke), "max_tokens", 99, close_open=True)

    assert healed == broke + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    assert (fold(healed)["stop_reason"], fold(healed)["usage"]["output_tokens"]) == ("end_turn", 7)


@pytest.mark.parametrize("data", [b"", PING, BEGIN + message_delta() + STOP, BEGIN + OVERLOADED])
def test_what_is_no_message_or_ended_is_not_closed(data: bytes) -> None:
    """Closing it would be a stream that no client understands."""
    with pytest.raises(ValueError, match="no message to be closed"):
        closing(told(data), "end_turn", 1, close_open=True)


def test_a_restart_of_our_own_drops_the_open_block() -> None:
    """Another message_start with the same id and counts; then the message can be closed."""
    broke = (
        BEGIN + call(0, "Write", "{}") + stop(0) + start(1, "thinking", thinking="") + message_delta(None, 12)
    )

    restarted = broke + restart_start(told(broke))
    healed = restarted + closing(told(restarted), "tool_use", 12, close_open=True)

    message = fold(healed)
    assert [block["type"] for block in message["content"]] == ["tool_use"]
    assert (message["id"], message["model"]) == ("msg_1", "claude-x")
    assert message["usage"] == {"input_tokens": 120, "output_tokens": 12}


def test_a_mark_cannot_be_broken_out_of() -> None:
    """Whatever a provider's text holds, the mark stays one comment."""
    assert mark("RST\n\nevent: error\r\ndata: x\x1b[31m") == b": holdfast: RST event: error data: x [31m\n\n"
    assert len(mark("x" * 9999)) < 600 and told(mark("x")).nothing


# -- another attempt behind what was told -----------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_under_the_first_start_the_second_is_left_out(end: bytes) -> None:
    """The client sees one message: the first one's start, the second one's blocks, byte for byte."""
    again = message_start("msg_2") + text(0, "Hello") + stop(0) + message_delta() + STOP
    editor = UnderFirstStart()
    pieces = [PING.replace(b"\n", end), again.replace(b"\n", end), comment("more")]

    out = [editor.feed(piece) for piece in pieces]

    assert out == [pieces[0], pieces[1].removeprefix(message_start("msg_2").replace(b"\n", end)), pieces[2]]
    assert not editor.waiting
    healed = fold(BEGIN + b"".join(out))
    assert healed["id"] == "msg_1" and healed["content"] == [{"type": "text", "text": "Hello"}]


def test_only_one_start_is_left_out() -> None:
    """A restart that comes later in the new attempt is the provider's own."""
    editor = UnderFirstStart()
    assert editor.feed(BEGIN + PING + BEGIN) == PING + BEGIN
    assert editor.feed(BEGIN) == BEGIN


@given(st.lists(_PIECES, max_size=8), st.sampled_from([b"\n", b"\r\n"]))
def test_events_are_cut_at_their_blank_lines(pieces: list[bytes], end: bytes) -> None:
    """Together they are the stream, each is whole, and a reader sees in them what a fold sees in the stream."""
    data = b"".join(one for one in pieces if one.endswith(b"\n\n")).replace(b"\n", end)
    events = list(events_of(data))

    assert b"".join(events) == data
    reader = EventReader()
    for one in events:
        reader.seen(one)
    assert reader.finished or not fold_partial(data).complete
