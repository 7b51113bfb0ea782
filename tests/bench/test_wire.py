"""The measurements' own check of answers: a relay that is fast and wrong must not get a figure."""

from __future__ import annotations

import json
import re
import zlib

import pytest

from bench import wire

ANSWER = wire.answer(7, 20)
CHUNKED = b"".join(ANSWER.opening_chunks + ANSWER.delta_chunks + ANSWER.closing_chunks)
KEEPALIVE = wire.event(
    "message_delta", delta={"stop_reason": None, "stop_sequence": None}, usage={"output_tokens": 2}
)


def test_deltas_have_the_size_of_real_ones() -> None:
    """145 to 187 bytes each, as in the reference measurements."""
    assert all(145 <= len(delta) <= 187 for delta in wire.answer(3, 500).deltas)


def test_an_untouched_answer_passes() -> None:
    """The origin's chunks, taken apart, are the origin's answer."""
    assert wire.compare(wire.unchunk(CHUNKED), ANSWER.body) == 0


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda b: b.replace(ANSWER.deltas[4], b"", 1), "event 6 is"),
        (lambda b: b.replace(ANSWER.deltas[4], ANSWER.deltas[4] * 2, 1), "event 7 is"),
        (lambda b: b.replace(ANSWER.deltas[4], wire.answer(8, 20).deltas[4], 1), "event 6 is"),
        (lambda b: b[: b.rindex(b"event: message_stop")], "24 events arrived of 25"),
        (lambda b: b[:-30], "middle of an event"),
        (lambda b: b.replace(b"00007.000005", b"00007.000055", 1), "event 7 is"),
        (lambda b: b.replace(wire.event("ping"), b"", 1), "swallowed"),
    ],
    ids=["lost", "repeated", "foreign", "no end", "cut", "changed", "ping swallowed"],
)
def test_a_spoiled_answer_is_found(spoil, says: str) -> None:  # type: ignore[no-untyped-def]
    """Lost, repeated, foreign, cut or changed events are all seen."""
    with pytest.raises(wire.Wrong, match=says):
        wire.compare(spoil(ANSWER.body), ANSWER.body)


def test_keepalives_between_events_are_counted_and_allowed() -> None:
    """A gateway may say that it is alive, in any of its forms, and is asked how often it did."""
    after = ANSWER.deltas[3]
    body = ANSWER.body.replace(after, after + b": still here\n\n" + wire.event("ping") + KEEPALIVE, 1)
    assert wire.compare(body, ANSWER.body) == 3


@pytest.mark.parametrize(
    "raw",
    [
        CHUNKED[:-5],
        CHUNKED + b"0\r\n\r\n",
        CHUNKED.replace(b"\r\nevent: ping", b"\r\n event: ping", 1),
        CHUNKED[:-2] + b"x: y\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
    ],
    ids=["no last chunk", "two ends", "wrong size", "trailer", "odd size"],
)
def test_bad_chunk_framing_is_found(raw: bytes) -> None:
    """Framing is checked to the byte."""
    with pytest.raises(wire.Wrong):
        wire.unchunk(raw)


@pytest.mark.parametrize("size", [0, wire.LARGE_BODY_BYTES])
def test_requests_are_whole_and_distinct(size: int) -> None:
    """Each request is valid JSON of the wanted size, and no two are the same turn."""
    one, two = (wire.request("short", nonce, body_bytes=size) for nonce in (1, 2))
    head, _, body = b"".join(one.pieces).partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head)
    assert found and int(found[1]) == len(body) == one.body_length
    assert not size or len(body) == size
    assert zlib.crc32(body) == one.body_crc != two.body_crc
    assert next(iter(json.loads(body))) == "model" and json.loads(body)["stream"] is True
