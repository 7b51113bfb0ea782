"""Whole events out, nothing lost, whatever the reads look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.gateway import sse
from holdfast.gateway.sse import EventSplitter

DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n'
START = b'event: message_start\ndata: {"type":"message_start"}\n\n'


def test_a_read_of_whole_events_passes_through_untouched() -> None:
    """The common read, one whole event, is handed on as it is."""
    splitter = EventSplitter()

    assert splitter.feed(DELTA) is DELTA
    assert splitter.notable == []
    assert splitter.events == 1


def test_half_an_event_waits_for_its_other_half() -> None:
    """A reader never gets half an event."""
    splitter = EventSplitter()

    assert splitter.feed(DELTA + START[:10]) == DELTA
    assert splitter.held_bytes == 10
    assert splitter.feed(START[10:]) == START
    assert splitter.notable == [START]


def test_what_never_ends_is_the_rest() -> None:
    """An unfinished last event is known as such."""
    splitter = EventSplitter()
    splitter.feed(START + b"event: content_bl")

    assert splitter.rest() == b"event: content_bl"
    assert splitter.rest() == b""


@pytest.mark.parametrize("blank", [b"\r\r", b"\n\r", b"\r\n\r"])
def test_a_carriage_return_at_the_end_of_the_data_ends_its_line(blank: bytes) -> None:
    """Before that it may be the first half of two bytes."""
    splitter = EventSplitter()
    event = START.rstrip(b"\n") + blank

    assert splitter.feed(event) == b""
    assert splitter.ends_with_data()
    assert splitter.feed(b"") == event
    assert splitter.notable == [event] and splitter.events == 1
    assert splitter.rest() == b""


@pytest.mark.parametrize("held", [b"", START[:10], START[:-1], START[:-2] + b"\r"])
def test_the_end_of_the_data_completes_nothing_without_a_blank_line(held: bytes) -> None:
    """An event that was not ended is known as cut."""
    splitter = EventSplitter()
    splitter.feed(held)

    assert not splitter.ends_with_data()
    assert splitter.rest() == held


def test_notable_events_are_those_of_the_last_read_only() -> None:
    """Deltas and pings need no look inside; the others are shown once."""
    splitter = EventSplitter()
    splitter.feed(START)
    splitter.feed(DELTA + b"event: ping\ndata: {}\n\n")

    assert splitter.notable == []
    assert splitter.events == 3


@pytest.mark.parametrize("after", [b"", DELTA, START[:10]])
@pytest.mark.parametrize("blank", [b"\n", b"\n\n", b"\n\n\n"])
def test_more_blank_lines_than_an_event_needs_are_only_bytes(blank: bytes, after: bytes) -> None:
    """An odd newline ends nothing: it waits for what follows, and no byte is lost."""
    splitter = EventSplitter()

    out = splitter.feed(START + blank + after)

    assert out + splitter.rest() == START + blank + after
    assert out.startswith(START) and splitter.notable[0] == START


@given(st.lists(st.lists(st.sampled_from([b"\n", b"\r", b"x", DELTA]), max_size=6), max_size=6))
def test_no_bytes_are_lost_whatever_they_are(reads: list[list[bytes]]) -> None:
    """Blank lines in any number and mixture, at any place of a read."""
    splitter = EventSplitter()
    out = b"".join(splitter.feed(b"".join(read)) for read in reads)

    assert out + splitter.rest() == b"".join(b"".join(read) for read in reads)


events = st.lists(
    st.tuples(
        st.sampled_from([b"event: message_start", b"event: content_block_delta", b": note", b"event:x"]),
        st.text(alphabet='abc{}" ', max_size=40).map(str.encode),
    ),
    max_size=8,
)
line_endings = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(events, line_endings, st.data())
def test_any_cutting_of_any_stream_gives_the_same_bytes_and_the_same_events(
    shapes: list[tuple[bytes, bytes]], eol: bytes, data: st.DataObject
) -> None:
    """How the network cuts a stream changes neither its bytes nor what is seen in it."""
    stream = b"".join(name + eol + b"data: " + text + eol + eol for name, text in shapes)
    whole = EventSplitter()
    whole.feed(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    splitter, out, notable = EventSplitter(), b"", []
    for piece in pieces:
        got = splitter.feed(piece)
        if not splitter.held_bytes:
            assert (out + got) == stream[: len(out + got)]
        out += got
        notable += splitter.notable

    if splitter.ends_with_data():
        out += splitter.feed(b"")
        notable += splitter.notable
    whole_notable = whole.notable
    if whole.ends_with_data():
        whole.feed(b"")
        whole_notable = whole_notable + whole.notable

    assert out == stream and splitter.rest() == b""
    assert (splitter.events, notable) == (whole.events, whole_notable)
    assert splitter.events == len(shapes)


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\r", b"\r\n\r\n"])
def test_a_long_event_at_the_end_is_whole(blank: bytes) -> None:
    """Also where its last byte is a carriage return, behind which nothing comes that could tell."""
    splitter = EventSplitter()
    long = b"data: " + b"x" * sse.LONGEST_HELD + blank

    out = splitter.feed(long[:-3]) + splitter.feed(long[-3:])
    if splitter.ends_with_data():
        out += splitter.feed(b"")

    assert out == long and splitter.rest() == b""
    assert splitter.between_events and splitter.events == 1


@given(st.sampled_from([b"\n", b"\r\n", b"\r"]), st.integers(1, 5), st.integers(0, 60), st.data())
def test_an_event_too_long_to_hold_is_handed_on_in_pieces(
    eol: bytes, cuts: int, after: int, data: st.DataObject
) -> None:
    """Memory stays bounded; the stream says that it is inside an event meanwhile."""
    longest, sse.LONGEST_HELD = sse.LONGEST_HELD, 50
    delta, start = DELTA.replace(b"\n", eol), START.replace(b"\n", eol)
    try:
        long = b"event: content_block_start\ndata: ".replace(b"\n", eol) + b"x" * 120 + eol * 2
        stream = long + delta * 2 + start[:after]
        places = sorted(data.draw(st.sets(st.integers(1, len(stream)), min_size=cuts, max_size=cuts)))
        splitter, out = EventSplitter(), b""
        for a, b in zip([0, *places], [*places, len(stream)], strict=True):
            out += splitter.feed(stream[a:b])
            if splitter.between_events:
                assert out == b"" or out.endswith(eol * 2) or len(out) > len(long)
        if splitter.ends_with_data():
            out += splitter.feed(b"")
        assert out + splitter.rest() == stream
        # Where the data is over a carriage return ends a line, without its newline as well.
        assert splitter.events == 3 + (after >= len(start) - (eol == b"\r\n"))
    finally:
        sse.LONGEST_HELD = longest
