"""Hold-back: blocks that are told only when they are whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.gateway.dialects.anthropic import PING, null_delta
from holdfast.gateway.hold import KINDS, HoldBack
from holdfast.gateway.sse import EventSplitter


def event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def start(index: int, kind: str) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind})


def delta(index: int, text: str = "x") -> bytes:
    return event("content_block_delta", index=index, delta={"type": "text_delta", "text": text})


def stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


BEGIN = event("message_start", message={"id": "m"})
STOP = event("message_stop")
TOOLS = frozenset(("tool_use",))


class Story:
    """A stream that is read piece by piece; it knows what may be told after each."""

    def __init__(self, kinds: frozenset[str] = TOOLS) -> None:
        self.hold = HoldBack(kinds)
        self.splitter = EventSplitter()
        self.log = b""

    def reads(self, data: bytes) -> bytes:
        whole = self.splitter.feed(data)
        self.log += whole
        return self.log[: self.hold.feed(whole, self.splitter.notable)]


def test_a_tool_call_is_told_when_it_is_whole() -> None:
    """Until its stop the log has it and the reader has not; then it comes at once."""
    story = Story()
    before = BEGIN + start(0, "text") + delta(0) + stop(0)
    call = start(1, "tool_use") + delta(1) + PING + b": c\n\n" + null_delta(3) + delta(1)

    assert story.reads(before) == before
    assert story.reads(call) == before
    assert repr(story.hold) == f"<HoldBack {len(before)} of {len(before + call)} bytes told>"
    assert story.reads(stop(1) + start(2, "text")) == before + call + stop(1) + start(2, "text")


def test_parallel_calls_are_told_one_by_one() -> None:
    """The first whole call does not wait for the second."""
    story = Story()
    first = BEGIN + start(0, "tool_use") + delta(0) + stop(0)
    second = start(1, "tool_use") + delta(1)

    assert story.reads(first + second) == first
    assert story.reads(stop(1)) == first + second + stop(1)


def test_calls_that_overlap_are_told_when_the_first_is_whole() -> None:
    """Another block's end does not end this one, and nothing is told out of order."""
    story = Story()
    both = start(0, "tool_use") + start(1, "tool_use") + delta(1)

    assert story.reads(BEGIN + both + stop(1)) == BEGIN
    assert story.reads(stop(0)) == BEGIN + both + stop(1) + stop(0)


def test_what_is_not_configured_is_never_held() -> None:
    """Text always flows; thinking and tools only wait where somebody wanted that."""
    for kinds, held in [
        (frozenset[str](), set[str]()),
        (TOOLS, KINDS["tool_use"]),
        (frozenset(("thinking",)), KINDS["thinking"]),
        (frozenset(KINDS), KINDS["tool_use"] | KINDS["thinking"]),
    ]:
        for kind in ("text", "tool_use", "server_tool_use", "thinking", "redacted_thinking", "sculpture"):
            told = Story(kinds).reads(BEGIN + start(0, kind))
            assert (told == BEGIN) is (kind in held)


@pytest.mark.parametrize("release", [STOP, BEGIN], ids=["message_stop", "a second message_start"])
def test_a_block_without_its_end_is_told_with_the_message(release: bytes) -> None:
    """Nothing stays behind for ever: after the last event nothing more will come."""
    story = Story()
    assert story.reads(BEGIN + start(0, "tool_use")) == BEGIN
    assert story.reads(release) == story.log


def test_a_break_inside_a_held_block_was_heard_by_nobody() -> None:
    """An error releases nothing, so the log can be cut back to what was told and the block asked for again."""
    story = Story()
    told = story.reads(BEGIN + start(0, "tool_use") + event("error", error={"type": "overloaded_error"}))
    assert told == BEGIN

    again = HoldBack(TOOLS, size=len(told))
    assert again.feed(delta(0), []) == len(told) + len(delta(0))


def test_events_that_an_editor_left_out_are_passed_over() -> None:
    """What is not in the data holds nothing and shifts nothing."""
    hold = HoldBack(TOOLS)
    call = start(0, "tool_use")
    assert hold.feed(BEGIN + call, [BEGIN, start(9, "tool_use"), call]) == len(BEGIN)


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b'{"index":"x","content_block":{"type":"tool_use"}}', b'{"content_block":7}']
)
def test_a_block_that_cannot_be_read_is_not_held(data: bytes) -> None:
    """A provider's odd JSON costs the hold-back, never the stream."""
    story = Story()
    odd = b"event: content_block_start\ndata: " + data + b"\n\n"
    assert story.reads(odd) == odd


_KIND = st.sampled_from(["text", "thinking", "tool_use", "server_tool_use"])
_FILLER = st.sampled_from(
    [PING, b": c\n\n", null_delta(2), event("news"), delta(0, "event: content_block_stop\n\n")]
)


@st.composite
def _streams(draw: st.DrawFn) -> tuple[list[tuple[str, bytes]], bytes]:
    """A message's blocks (kind and bytes) with whatever may stand inside, and the message."""
    blocks = []
    for index, kind in enumerate(draw(st.lists(_KIND, max_size=5))):
        inside = b"".join(draw(st.lists(_FILLER, max_size=3)))
        blocks.append((kind, start(index, kind) + delta(index) + inside + stop(index)))
    between = b"".join(draw(st.lists(_FILLER, max_size=2)))
    return blocks, BEGIN + b"".join(between + data for _, data in blocks) + STOP


@given(_streams(), st.sets(st.sampled_from(sorted(KINDS))), st.booleans(), st.data())
@settings(max_examples=200)
def test_for_every_stream_and_every_split(
    case: tuple[list[tuple[str, bytes]], bytes], kinds: set[str], crlf: bool, data: st.DataObject
) -> None:
    """What is told only grows, ends inside no held block, waits for nothing else, and is all at the end."""
    blocks, stream = case
    if crlf:
        stream = stream.replace(b"\n", b"\r\n")
        blocks = [(kind, one.replace(b"\n", b"\r\n")) for kind, one in blocks]
    held = frozenset[str]().union(*(KINDS[kind] for kind in kinds))
    places, at = [], 0
    for kind, one in blocks:
        at = stream.index(one, at)
        if kind in held:
            places.append((at, at + len(one)))
        at += len(one)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    story, told = Story(frozenset(kinds)), b""

    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        before, told = told, story.reads(stream[begin:end])
        assert told.startswith(before)
        open_at = next((a for a, b in places if a < len(story.log) < b), len(story.log))
        assert len(told) == open_at

    assert told == stream
