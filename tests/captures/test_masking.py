"""Secrets never leave the masker, however packets cut, repeat, overlap, reorder or lose them."""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.captures import http
from holdfast.captures.masking import PacketMasker, Ready
from holdfast.captures.pieces import Piece

SECRETS = (
    b"sk-ant-0123456789abcdefGHIJ",
    b"oauth-Tok3n-zzzzzz",
    b"sid=91f3c2d7aa",
    b"gate-Passw0rd-77",
    b"query-S3cret-5",
)
PROMPT = b"the words of a private question"
ASK = (
    b"POST /gate-Passw0rd-77/v1/messages?beta=true&key=query-S3cret-5 HTTP/1.1\r\nHost: a.test\r\n"
    b"X-Api-Key: sk-ant-0123456789abcdefGHIJ\r\nauthorization : Bearer oauth-Tok3n-zzzzzz\r\n"
    b"Cookie: a=1;\r\n sid=91f3c2d7aa\r\nX-Corp: gate-Passw0rd-77\r\nanthropic-version: 2023-06-01\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(PROMPT), PROMPT)
)
EVENTS = b"event: error\ndata: bad key sk-ant-0123456789abcdefGHIJ, says the server\n\n"
PLAIN = b"event: ping\ndata: {}\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nSet-Cookie: sid=91f3c2d7aa\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
    + chunk(PLAIN)
    + chunk(EVENTS[:40])
    + chunk(EVENTS[40:])
    + b"0\r\n\r\n"
    b"HTTP/1.1 401 No\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\r\n"
    b'{"access_token": "oauth-Tok3n-zzzzzz"}    '
)


@dataclass(frozen=True, slots=True)
class Segment:
    to_server: bool
    offset: int
    data: bytes


def ethernet(segment: Segment, *, syn: bool = False) -> bytes:
    """The segment in a frame, with a right checksum."""
    ends = (b"\x0a\0\0\1", 40000), (b"\x0a\0\0\2", 8080)
    (source, sport), (target, tport) = ends if segment.to_server else ends[::-1]
    isn = 0xFFFFFF00 if segment.to_server else 7000
    seq = (isn + segment.offset + (0 if syn else 1)) & 0xFFFFFFFF
    flags = (2 if segment.to_server else 18) if syn else 24
    tcp = struct.pack("!HHIIBBHHH", sport, tport, seq, 1, 5 << 4, flags, 500, 0, 0)
    pseudo = source + target + struct.pack("!HH", 6, len(tcp) + len(segment.data))
    check = 0xFFFF - total(pseudo + tcp + segment.data)
    tcp = tcp[:16] + struct.pack("!H", check) + tcp[18:] + segment.data
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, source, target)
    return b"\2" * 12 + b"\x08\0" + head + tcp


def total(data: bytes) -> int:
    """The Internet checksum's sum: 0xFFFF over a whole segment that is right."""
    return int.from_bytes(data + b"\0" * (len(data) % 2), "big") % 0xFFFF or 0xFFFF


def masked(segments: Iterable[Segment], *, begun: bool = True) -> list[Ready]:
    masker = PacketMasker(lambda port: port == 8080)
    return list(_through(masker, segments, begun))


def _through(masker: PacketMasker, segments: Iterable[Segment], begun: bool) -> Iterator[Ready]:
    hellos = [ethernet(Segment(way, 0, b""), syn=True) for way in (True, False)] if begun else []
    for number, frame in enumerate([*hellos, *map(ethernet, segments)]):
        yield from masker.take((number * 1_000_000, 1, frame, 0, len(frame), len(frame), 0))
    yield from masker.finish()


def payloads(ready: Iterable[Ready]) -> list[bytes]:
    return [one.data[54:] for one in ready]


def cut(stream: bytes, *, to_server: bool, at: Iterable[int]) -> list[Segment]:
    edges = [0, *sorted({x for x in at if 0 < x < len(stream)}), len(stream)]
    return [Segment(to_server, a, stream[a:b]) for a, b in itertools.pairwise(edges)]


def leaks(written: Iterable[bytes]) -> list[bytes]:
    """Secrets, or six bytes and more of one, anywhere in what was written; in one packet or over two in a row."""
    whole = b"".join(written)
    return [
        secret[i : i + 7]
        for secret in (*SECRETS, PROMPT)
        for i in range(len(secret) - 6)
        if secret[i : i + 7] in whole
    ]


def test_what_is_harmless_stays_and_what_is_secret_goes() -> None:
    """Lengths, framing, names and events stay; so http reads the same story out of it."""
    ready = payloads(masked([Segment(True, 0, ASK), Segment(False, 0, ANSWER)]))[2:]
    asked, answered = ready
    assert (len(asked), len(answered)) == (len(ASK), len(ANSWER))
    assert asked.startswith(
        b"POST /xxxxxxxxxxxxxxxx/v1/messages?beta=xxxx&key=xxxxxxxxxxxxxx HTTP/1.1\r\nHost: a.test\r\n"
    )
    assert b"anthropic-version: 2023-06-01\r\n" in asked and asked.endswith(b"\r\n\r\n" + b"x" * len(PROMPT))
    assert PLAIN in answered and b"bad key xxxx" in answered and not leaks(ready)
    told = http.read([(True, Piece(0, asked)), (False, Piece(1, answered))], keep=999)
    assert [(e.response.status, e.response.body.complete) for e in told.exchanges if e.response] == [
        (200, True),
        (401, True),
    ]
    events = told.exchanges[0].response.body.events if told.exchanges[0].response else None
    assert events is not None and events.counts == {"ping": 1, "error": 1}


def test_checksums_stay_right() -> None:
    """A masked packet is as valid as it was."""
    for one in masked(cut(ASK, to_server=True, at=[33, 90, 171])):
        tcp = one.data[34:]
        assert total(one.data[26:34] + struct.pack("!HH", 6, len(tcp)) + tcp) == 0xFFFF


@settings(max_examples=300)
@given(st.data())
def test_no_secret_passes_however_packets_lie(data: st.DataObject) -> None:
    """Split at any byte, sent again from any place with other bounds, shuffled, lost, or joined in the middle."""
    cuts = st.sets(st.integers(1, 420), max_size=14)
    segments = cut(ASK + ASK, to_server=True, at=data.draw(cuts))
    segments += cut(ANSWER + ANSWER, to_server=False, at=data.draw(cuts))
    for _ in range(data.draw(st.integers(0, 6))):  # again, with bounds of its own
        to_server = data.draw(st.booleans())
        stream = ASK + ASK if to_server else ANSWER + ANSWER
        start = data.draw(st.integers(0, len(stream) - 1))
        again = Segment(to_server, start, stream[start : start + data.draw(st.integers(1, 200))])
        segments.insert(data.draw(st.integers(0, len(segments))), again)
    chance = random.Random(data.draw(st.integers(0, 1 << 30)))
    if data.draw(st.booleans()):
        segments = [
            one for _, one in sorted(enumerate(segments), key=lambda pair: pair[0] + chance.random() * 4)
        ]
    if data.draw(st.booleans()):
        segments = [one for one in segments if chance.random() > 0.15]
    begun = data.draw(st.booleans())
    ready = masked(segments, begun=begun)
    assert len(ready) == len(segments) + (2 if begun else 0)
    written: dict[tuple[bool, int], int] = {}
    for frame in ready:
        (port,) = struct.unpack_from("!H", frame.data, 34)
        (seq,) = struct.unpack_from("!I", frame.data, 38)
        offset = (seq - (0xFFFFFF01 if port == 40000 else 7001)) & 0xFFFFFFFF
        for i, byte in enumerate(frame.data[54:]):
            place = (port == 40000, offset + i)
            if written.setdefault(place, byte) != byte and byte != 0x78:
                written[place] = byte  # one writing of it is enough to leak
    for way in (True, False):
        top = max((place for side, place in written if side is way), default=-1)
        assert not leaks([bytes(written.get((way, i), 0) for i in range(top + 1))])
    assert not [leak for one in payloads(ready) for leak in leaks([one])]


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 300), st.binary(min_size=1, max_size=90)), max_size=12)
)
def test_nothing_that_arrives_makes_it_fail(pieces: list[tuple[bool, int, bytes]]) -> None:
    """Every packet comes out again, in order and as long as it was."""
    segments = [Segment(*piece) for piece in pieces]
    assert list(map(len, payloads(masked(segments))[2:])) == [len(one.data) for one in segments]


def test_tls_stays_as_it_is() -> None:
    """What is encrypted needs no masking, also where it was joined in the middle."""
    record = b"\x17\x03\x03\x00\x05abcde"
    hello = b"\x16\x03\x01\x00\x04hell"
    assert payloads(masked([Segment(True, 0, hello[:1]), Segment(True, 1, hello[1:])]))[2:] == [
        hello[:1],
        hello[1:],
    ]
    assert payloads(masked([Segment(False, 50, record * 3)], begun=False)) == [record * 3]


def test_an_event_stream_that_was_joined_in_the_middle_is_kept_until_the_next_head() -> None:
    """Its first whole event is the place to begin at; the head behind it is masked as ever."""
    rest = chunk(PLAIN) + b"0\r\n\r\n"
    at = len(rest) + 3
    stream = rest + ANSWER
    ready = payloads(masked(cut(stream, to_server=False, at=[at]), begun=False))
    assert b"".join(ready).startswith(rest) and not leaks(ready) and b"Set-Cookie:xxxx" in b"".join(ready)


def test_http2_shows_what_ended_it_and_no_headers() -> None:
    """Heads of frames, resets and farewells; never a block of headers."""

    def frame(kind: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes([kind, 0, 0, 0, 0, 1]) + payload

    asks = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(1, SECRETS[0])
    says = frame(4, b"") + frame(0, PROMPT) + frame(7, b"\0" * 8 + b"bye")
    ready = payloads(masked([Segment(True, 0, asks), Segment(False, 0, says)]))[2:]
    assert not leaks(ready) and ready[1].endswith(b"bye")
    told = http.read([(True, Piece(0, ready[0])), (False, Piece(1, ready[1]))])
    assert told.frames and told.frames[1].counts == {"SETTINGS": 1, "DATA": 1, "GOAWAY": 1}
