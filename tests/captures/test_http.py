"""What is read out of a plain connection's bytes: whole, cut, with holes, joined in the middle."""

from __future__ import annotations

import gzip
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.captures import http
from holdfast.captures.http import Conversation
from holdfast.captures.pieces import Piece

ASK = (
    b"POST /v1/messages?api_key=sk-ant-query HTTP/1.1\r\nHost: api.example\r\nx-api-key: sk-ant-0123456789abcdef\r\n"
    b"Authorization: Bearer abcdefghijklm\r\nCookie: sid=1234\r\nContent-Length: 2\r\n\r\n{}"
)
GET = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
TOOL = (
    b'event: content_block_start\ndata: {"type": "content_block_start", "index": 1, "content_block": '
    b'{"type": "tool_use", "id": "t", "name": "Write", "input": {}}}\n\n'
)
STOP = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def said(*turns: tuple[float, bytes, bytes], closed: bool = False, keep: int = 1 << 20) -> Conversation:
    """`(seconds, what the client says, what the server says)`."""
    pieces = [
        (client, Piece(at, data))
        for at, asks, answers in turns
        for client, data in ((True, asks), (False, answers))
        if data
    ]
    return http.read(pieces, server_closed=closed, keep=keep)


def test_an_exchange_is_told_without_its_credentials() -> None:
    """Heads are shown; key, token, cookie and query values are not."""
    told = said((0, ASK, b""), (1, b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: s=9\r\n\r\nhi"))
    (exchange,) = told.exchanges
    assert exchange.request and exchange.request.head and exchange.response and exchange.response.head
    assert exchange.request.head.first == ("POST", "/v1/messages?api_key=…", "HTTP/1.1")
    assert exchange.request.head.get("host") == "api.example"
    shown = repr(exchange.request.head) + repr(exchange.response.head)
    for secret in ("sk-ant", "0123456789abcdef", "abcdefghijklm", "sid=", "1234", "s=9"):
        assert secret not in shown, secret
    assert exchange.response.status == 200 and exchange.response.body.complete
    assert bytes(exchange.response.body.kept) == b"hi"


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/v1/messages?beta=true", "/v1/messages?beta=…"),
        ("/gate-Passw0rd-77/v1/messages/count_tokens", "/…/v1/messages/count_tokens"),
        ("http://user:secret@api.test/v1", "http://[removed]@api.test/v1"),
        ("api.test:443", "api.test:443"),
        ("/v1?sk-ant-0123456789", "/v1?…"),
    ],
)
def test_a_target_is_shown_without_what_may_be_a_token(target: str, shown: str) -> None:
    """Access tokens are path segments, logins and query values too."""
    assert http.masked_target(target) == shown


def test_a_stream_that_broke_keeps_what_came() -> None:
    """The partial body is there to the byte, with the open tool call and the longest silence."""
    told = said(
        (0, ASK, b""),
        (1, b"", STREAM + chunk(PING)),
        (2, b"", chunk(TOOL)),
        (302, b"", chunk(PING) + b"40\r\nevent: content_bl"),
        closed=True,
    )
    body = told.exchanges[0].response.body if told.exchanges[0].response else None
    assert body is not None and body.events is not None
    assert bytes(body.kept) == PING + TOOL + PING + b"event: content_bl"
    assert not body.complete and not body.events.ended
    assert body.events.counts == {"ping": 2, "content_block_start": 1}
    assert body.events.open_block == "tool_use Write" and body.events.unfinished_bytes == 17
    quiet = body.events.quiet
    assert (quiet.seconds, quiet.after, quiet.before) == (300, "content_block_start", "ping")


def test_kept_alive_and_pipelined_exchanges_are_told_apart() -> None:
    """Answers go to questions in order; a HEAD's has no body, a 304 neither, a 100 is no answer."""
    head = GET.replace(b"GET", b"HEAD")
    told = said(
        (0, GET + head + GET, b""),
        (1, b"", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"),
        (2, b"", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n"),
        (3, GET, b"HTTP/1.1 200 OK\r\n\r\nuntil the end"),
        closed=True,
    )
    found = [
        (e.request.head.first[0], e.response.status, bytes(e.response.body.kept))
        for e in told.exchanges
        if e.request and e.request.head and e.response
    ]
    assert found == [
        ("GET", 200, b"one"),
        ("HEAD", 200, b""),
        ("GET", 304, b""),
        ("GET", 200, b"until the end"),
    ]
    assert told.exchanges[0].response and told.exchanges[0].response.interim == (100,)
    assert all(e.response and e.response.body.complete for e in told.exchanges)


def test_a_capture_that_begins_in_the_middle_goes_on_at_the_next_head() -> None:
    """The rest of an answer is told as such and belongs to no request; the next exchange is whole."""
    told = said(
        (0, b"", chunk(PING) + chunk(STOP) + b"0\r\n\r\n"),
        (1, GET, b""),
        (2, b"", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"),
    )
    first, second = told.exchanges
    assert first.request is None and first.response and first.response.head is None
    assert bytes(first.response.body.kept) == PING + STOP and not first.response.body.missing
    assert second.request and second.response and second.response.status == 200
    assert bytes(second.response.body.kept) == b"one"


def test_a_hole_is_counted_and_the_rest_is_told() -> None:
    """Missing packets inside a body of known length, inside a chunk, and over a chunk's boundary."""
    length = b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n"
    told = http.read(
        [(False, Piece(0, length + b"0123456789")), (False, Piece(1, b"9876543210", missing=10))], keep=99
    )
    body = told.exchanges[0].response.body if told.exchanges[0].response else None
    assert body and (body.seen, body.missing, body.complete) == (20, 10, False)
    assert body.holes == [(10, 10)] and not body.lost_thread

    cut = chunk(b"x" * 100 + b"\n\n")
    told = http.read(
        [
            (False, Piece(0, STREAM + chunk(PING) + cut[:40])),
            (False, Piece(1, b"\n\n\r\n" + chunk(PING) + b"0\r\n\r\n", missing=len(cut) - 44)),
        ],
        keep=999,
    )
    body = told.exchanges[0].response.body if told.exchanges[0].response else None
    assert body and body.events and body.events.counts == {"ping": 2, "(torn)": 1} and not body.lost_thread

    told = http.read(
        [
            (False, Piece(0, STREAM + chunk(PING) + cut[:40])),
            (False, Piece(1, b"ping\r\n" + chunk(PING) + chunk(STOP), missing=200)),
            (False, Piece(2, b"0\r\n\r\n" + length + b"x" * 30)),
        ],
        keep=999,
    )
    first, second = told.exchanges
    assert first.response and first.response.body.lost_thread and not first.response.body.complete
    assert first.response.body.events and first.response.body.events.ended
    assert second.response and second.response.body.complete


def test_compressed_events_are_counted_and_kept_as_they_came() -> None:
    """A gzip stream is unpacked for its events; what is kept is what was sent."""
    packed = gzip.compress(PING + STOP)
    head = STREAM.replace(b"chunked", b"chunked\r\nContent-Encoding: gzip")
    told = said((0, GET, head + chunk(packed) + b"0\r\n\r\n"))
    body = told.exchanges[0].response.body if told.exchanges[0].response else None
    assert body and body.events and body.events.ended and bytes(body.kept) == packed


def test_a_bomb_is_not_unpacked_to_its_end() -> None:
    """A megabyte that would become a gigabyte is given up early; the body is counted as it was sent."""
    packed = gzip.compress(b":" * 1000 + b"\n\n" + b"x" * (1 << 28), compresslevel=9)
    head = STREAM.replace(b"chunked", b"chunked\r\nContent-Encoding: gzip")
    told = said((0, GET, head + chunk(packed) + b"0\r\n\r\n"))
    body = told.exchanges[0].response.body if told.exchanges[0].response else None
    assert body and body.complete and body.seen == len(packed)
    assert body.events and body.events.unfinished_bytes <= http.LONGEST_EVENT


def test_a_tunnel_is_not_taken_for_http() -> None:
    """After CONNECT was granted both ends speak something else, which is handed on."""
    told = said(
        (0, b"CONNECT api.example:443 HTTP/1.1\r\nHost: api.example\r\n\r\n", b""),
        (1, b"", b"HTTP/1.1 200 Connection established\r\n\r\n"),
        (2, b"\x16\x03\x01", b"\x16\x03\x03"),
    )
    assert told.tunnel == (1, "CONNECT") and len(told.exchanges) == 1
    assert [b"".join(p.data for p in side) for side in told.beyond] == [b"\x16\x03\x01", b"\x16\x03\x03"]
    assert told.exchanges[0].request and told.exchanges[0].request.head
    assert told.exchanges[0].request.head.first[1] == "api.example:443"


def frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def test_http2_in_the_clear_is_told_by_its_frames() -> None:
    """Which streams, what ended them, and what the last farewell said."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    goaway = frame(7, 0, (1).to_bytes(4, "big") + (11).to_bytes(4, "big") + b"too_many_pings")
    server = frame(4, 0) + frame(1, 1, b"h") + frame(0, 1, b"d" * 99) + frame(3, 1, (8).to_bytes(4, "big"))
    asks = preface + frame(4, 0) + frame(1, 1, b"head", 1)
    pieces = [(True, Piece(i / 1000, asks[i : i + 1])) for i in range(len(asks))]
    told = http.read([*pieces, (False, Piece(1, server)), (False, Piece(2, goaway))])
    assert told.protocol == "HTTP/2" and told.frames
    client, far = told.frames
    assert client.counts == {"SETTINGS": 1, "HEADERS": 1} and client.ended_streams == {1}
    assert far.counts == {"SETTINGS": 1, "HEADERS": 1, "DATA": 1, "RST_STREAM": 1, "GOAWAY": 1}
    assert far.resets == [(1, 1, "CANCEL")] and not far.ended_streams
    assert far.goaways == [(2, 1, "ENHANCE_YOUR_CALM", "too_many_pings")]


@given(st.data())
def test_however_packets_cut_it_the_story_is_the_same(data: st.DataObject) -> None:
    """Boundaries of packets mean nothing to what is told."""
    answer = STREAM + chunk(PING) + chunk(TOOL) + chunk(PING + STOP) + b"0\r\n\r\n"
    answer += b"HTTP/1.1 204 No Content\r\n\r\n" + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrest"
    asks = ASK + GET + GET
    whole = said((0, asks, answer), closed=True)

    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1), max_size=12)))
    edges = [0, *cuts, len(answer)]
    pieces = [(False, Piece(0, answer[a:b])) for a, b in itertools.pairwise(edges)]
    at = data.draw(st.integers(1, len(asks) - 1))
    told = http.read(
        [(True, Piece(0, asks[:at])), (True, Piece(0, asks[at:])), *pieces], server_closed=True, keep=1 << 20
    )
    assert told == whole and len(told.exchanges) == 3


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=60), st.integers(0, 40)), max_size=20))
def test_nothing_that_arrives_makes_it_fail(pieces: list[tuple[bool, bytes, int]]) -> None:
    """Captures hold whatever was on the wire; nothing kept is more than what came."""
    starts = [(True, Piece(0, ASK[:70])), (False, Piece(0, STREAM[:-2]))]
    told = http.read([*starts, *((side, Piece(1, data, missing)) for side, data, missing in pieces)], keep=50)
    assert all(len(e.response.body.kept) <= 50 for e in told.exchanges if e.response)


def test_an_event_that_is_no_utf8_is_passed_over() -> None:
    """The rest of the stream is told; what has lost a byte of a character is no reason to tell nothing."""
    events = b'event: error\r\ndata: {"type":"error\xe2"}\r\n\r\nevent: ping\r\ndata: {}\r\n\r\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    assert said((0.0, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", head + events)).exchanges
