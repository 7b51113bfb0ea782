"""How an exchange over HTTP/2 breaks, and what its ending says: GOAWAY, RST_STREAM, TCP's ends, and nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, RequestReceived, StreamReset
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.gateway.fields import render
from holdfast.gateway.upstream.h2 import Http2Connection
from tests.gateway.upstream.conftest import Run
from tests.gateway.upstream.h2_stage import OK, Peer, frame, speaking
from tests.gateway.upstream.stage import GET, Heard, ask, reset, serving, until_closed
from tests.gateway.upstream.test_h1 import Nowhere
from tests.gateway.upstream.test_h2 import begun, over, pool_to

MAX = 2**31 - 1


def ending_of(heard: Heard) -> Ending:
    assert heard.ending is not None
    return heard.ending


# GOAWAY.


@pytest.mark.parametrize("when", ["before the headers", "in the body"])
def test_a_goaway_that_covers_the_stream_lets_it_end(when: str, run: Run) -> None:
    """The answer is heard whole; the connection is not used again, and the server sees it closed."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            peer.request()
            if when == "before the headers":
                peer.go_away(MAX)
            peer.head()
            if when == "in the body":
                peer.data(b"hel")
                peer.go_away(1)
                time.sleep(0.03)
            peer.data(b"lo" if when == "in the body" else b"hello", end=True)
            assert not any(isinstance(event, RequestReceived) for event in peer.events)
            peer.until(ConnectionTerminated)

        async with serving(speaking(script)) as port:
            pool = pool_to(port)
            connection, heard = await begun(pool)
            await over(heard)
            assert not connection.alive and pool.idle() is None
        assert (heard.body, heard.code) == (b"hello", "whole")

    run(story())


def test_a_graceful_shutdown_in_two_steps_is_followed(run: Run) -> None:
    """First a GOAWAY that covers all (nothing new, please), then one that names the last stream (RFC 9113, 6.8)."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            peer.request()
            peer.head()
            peer.go_away(MAX)
            peer.data(b"hel")
            peer.go_away(1)
            peer.data(b"lo", end=True)
            peer.until_closed()

        async with serving(speaking(script)) as port:
            _, heard = await begun(pool_to(port))
            await over(heard)
        assert (heard.body, heard.code) == (b"hello", "whole")

    run(story())


def test_a_stream_above_the_last_one_was_not_processed(run: Run) -> None:
    """The request may be sent again at no cost; the server's reason is kept, without what looks like a credential."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            peer.request()
            peer.go_away(
                0, ErrorCodes.ENHANCE_YOUR_CALM, b"max age\r\n\x1b[31m x-api-key: sk-ant-api03-abcdefghij"
            )
            peer.until_closed()

        async with serving(speaking(script)) as port:
            _, heard = await begun(pool_to(port))
            await over(heard)
        ending = ending_of(heard)
        assert heard.code == "P.goaway.headers"
        assert ending.detail.startswith("GOAWAY ENHANCE_YOUR_CALM: max age ?[31m")
        assert "abcdefghij" not in ending.detail + str(ending.evidence)
        assert ending.evidence["not_processed"] is True
        assert ending.evidence["goaway"] == "ENHANCE_YOUR_CALM"
        assert ending.evidence["goaway_last_stream"] == 0

    run(story())


def test_a_goaway_between_exchanges_takes_the_connection_out_of_use(run: Run) -> None:
    """Nobody asks on it any more; who had just taken it learns that nothing was processed."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            peer.answer(b"hello")
            time.sleep(0.05)  # in a read of its own
            peer.go_away(1, 0, b"restart")
            peer.until_closed()

        async with serving(speaking(script)) as port:
            pool = pool_to(port)
            connection = await pool.connect()
            assert (await ask(connection)).code == "whole"
            async with asyncio.timeout(30):
                while connection.alive:  # noqa: ASYNC110 (nobody is told)
                    await asyncio.sleep(0.005)
            assert pool.idle() is None
            heard = await ask(connection)
        assert heard.code == "P.goaway.idle" and ending_of(heard).detail == "GOAWAY NO_ERROR: restart"
        assert ending_of(heard).evidence["not_processed"] is True

    run(story())


def test_a_close_after_a_goaway_keeps_its_reason(run: Run) -> None:
    """The GOAWAY covered the stream, and the server closed in the middle of it all the same."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            peer.request()
            peer.head()
            peer.data(b"hel")
            peer.go_away(1, ErrorCodes.INTERNAL_ERROR, b"oops")
            peer.sock.shutdown(socket.SHUT_WR)
            until_closed(peer.sock)

        async with serving(speaking(script)) as port:
            _, heard = await begun(pool_to(port))
            await over(heard)
        evidence = ending_of(heard).evidence
        assert (heard.body, heard.code) == (b"hel", "P.goaway.body")
        assert ending_of(heard).detail == "GOAWAY INTERNAL_ERROR: oops"
        assert (evidence["goaway"], evidence["goaway_debug"]) == ("INTERNAL_ERROR", "oops")
        assert evidence["not_processed"] is None

    run(story())


# RST_STREAM.


@pytest.mark.parametrize("code", [0, 2, 7, 8, 11, 0xFACE])
@pytest.mark.parametrize("phase", ["send", "headers", "body"])
def test_a_reset_stream_keeps_its_code(phase: str, code: int, run: Run) -> None:
    """In every phase; only REFUSED_STREAM says that nothing was processed."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            peer.greedy = False
            peer.until(RequestReceived)
            if phase == "body":
                peer.head()
                peer.data(b"hel")
            peer.reset(code)
            peer.until_closed()

        async with serving(speaking(script)) as port:
            connection, heard = await pool_to(port).connect(), Heard()
            connection.start(heard, b"POST", b"/", render(GET))
            connection.send_body(bytes(100 if phase == "headers" else 1_000_000))
            if phase == "headers":
                connection.end_body()
            await over(heard)
            assert not connection.alive
        name = {0: "NO_ERROR", 2: "INTERNAL_ERROR", 7: "REFUSED_STREAM", 8: "CANCEL", 11: "ENHANCE_YOUR_CALM"}
        ending, said = ending_of(heard), name.get(code, "0xface")
        assert heard.code == f"P.rst_stream.{phase}" and heard.body == (b"hel" if phase == "body" else b"")
        assert ending.detail == f"RST_STREAM {said}"
        assert ending.evidence["stream_error"] == said and ending.evidence["http"] == "2"
        assert ending.evidence["not_processed"] is (True if code == 7 else None)

    run(story())


def test_an_upstream_that_wants_http1_is_asked_so_from_then_on(run: Run) -> None:
    """HTTP_1_1_REQUIRED: the next connection offers nothing else."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            peer.request()
            peer.reset(ErrorCodes.HTTP_1_1_REQUIRED)
            peer.until_closed()

        async with serving(speaking(script), until_closed) as port:
            pool = pool_to(port)
            connection, heard = await begun(pool)
            await over(heard)
            again = await pool.connect()
            assert (connection.http, again.http) == ("2", "1.1")
            again.abort()
        assert ending_of(heard).evidence["stream_error"] == "HTTP_1_1_REQUIRED"

    run(story())


def test_a_server_that_takes_no_stream_has_not_processed_it(run: Run) -> None:
    """MAX_CONCURRENT_STREAMS 0, heard before the request went out."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            peer.raw(frame(4, 0, 0, b"\0\x03\0\0\0\0"))
            peer.until_closed()

        async with serving(speaking(script)) as port:
            connection = await pool_to(port).connect()
            await asyncio.sleep(0.05)
            heard = await ask(connection)
        assert heard.code == "P.refused.send" and ending_of(heard).evidence["not_processed"] is True

    run(story())


# TCP's own ends.


@pytest.mark.parametrize("where", ["headers", "body"])
@pytest.mark.parametrize("how", ["rst", "fin", "fin+rst"])
def test_tcps_ends_are_told_apart_as_for_http1(where: str, how: str, run: Run) -> None:
    """A close is never an answer's end: that would be END_STREAM."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            peer.request()
            if where == "body":
                peer.head()
                peer.data(b"hello")
            time.sleep(0.03)  # let it be read: a RST may throw away what was not
            if how != "rst":
                peer.sock.shutdown(socket.SHUT_WR)
                time.sleep(0.03)
            if how == "fin":
                until_closed(peer.sock)
            else:
                reset(peer.sock)

        async with serving(speaking(script)) as port:
            _, heard = await begun(pool_to(port))
            await over(heard)
        assert heard.code == f"P.{how}.{where}"
        assert heard.body == (b"hello" if where == "body" else b"")
        assert ending_of(heard).evidence["not_processed"] is None

    run(story())


def test_stopping_upstream_says_so_in_http2(run: Run) -> None:
    """RST_STREAM with CANCEL and a GOAWAY, then the close: a server that only reads frames stops as well."""

    async def story() -> None:
        codes: list[object] = []

        def script(peer: Peer) -> None:
            peer.request()
            peer.head()
            codes.append(peer.until(StreamReset).error_code)
            codes.append(peer.until(ConnectionTerminated).error_code)
            assert not peer.hear()

        async with serving(speaking(script)) as port:
            connection, heard = await begun(pool_to(port))
            await heard.something.wait()
            connection.abort()
        assert codes == [ErrorCodes.CANCEL, ErrorCodes.NO_ERROR] and heard.code == "open"

    run(story())


# What is not HTTP/2, and what is too much of it.

SETTINGS = frame(4, 0, 0)
HEAD = frame(1, 4, 1, b"\x88")
"`:status: 200` from the static table."


def flood(piece: bytes) -> Callable[[Peer], None]:
    """The same frames again and again, until the client closes."""

    def script(peer: Peer) -> None:
        peer.until(RequestReceived)
        with contextlib.suppress(OSError):
            peer.raw(HEAD)
            for _ in range(30_000_000 // (len(piece) * 1000)):
                peer.sock.sendall(piece * 1000)
        until_closed(peer.sock)

    return script


def once(said: bytes) -> Callable[[Peer], None]:
    """These bytes after the request."""

    def script(peer: Peer) -> None:
        peer.until(RequestReceived)
        with contextlib.suppress(OSError):
            peer.raw(said)
        until_closed(peer.sock)

    return script


LITERAL = b"\x00" + b"\x01x" + b"\x7f\x81\x03" + b"v" * 256
NONSENSE = {
    "a frame of 16 MB": (once(HEAD + b"\xff\xff\xff\0\0\0\0\0\x01"), "a frame of 16777215 bytes"),
    "a stream nobody opened": (once(frame(0, 0, 3, b"x")), ""),
    "DATA before headers": (once(frame(0, 0, 1, b"x")), ""),
    "no status": (once(frame(1, 4, 1, b"\x00\x01x\x01y")), ""),
    "a status of letters": (once(frame(1, 4, 1, b"\x08\x03abc")), "a status that is no number"),
    "a header name in capitals": (once(frame(1, 4, 1, b"\x88\x00\x01X\x06secret")), "uppercase header name"),
    "connection headers": (once(frame(1, 4, 1, b"\x88\x00\x0aconnection\x05close")), ""),
    "broken compression": (once(frame(1, 4, 1, b"\xff\xff\xff\xff")), ""),
    "too little content": (once(frame(1, 4, 1, b"\x88\x0f\x0d\x0210") + frame(0, 1, 1, b"hello")), ""),
    "a push": (once(HEAD + frame(5, 4, 1, b"\0\0\0\x02\x82")), "a push, although we allow none"),
    "DATA beyond END_STREAM's headers": (once(HEAD + frame(9, 4, 1, b"\x88")), ""),
    "a frame inside a header block": (once(frame(1, 0, 1, b"\x88") + frame(6, 0, 0, bytes(8))), "another frame"),
    "a GOAWAY on a stream": (once(frame(7, 0, 1, bytes(8))), "a GOAWAY on a stream"),
    "a short GOAWAY": (once(frame(7, 0, 0, bytes(4))), "a GOAWAY of less than 8 bytes"),
    "a window of zero": (once(frame(8, 0, 0, bytes(4))), ""),
    "a window beyond its limit": (once(frame(8, 0, 1, b"\x7f\xff\xff\xff")), "a window beyond its limit"),
    "headers of 70 KB": (once(frame(1, 0, 1, b"\x88" + LITERAL * 50) + frame(9, 4, 1, LITERAL * 220)), ""),
    "CONTINUATION flood": (
        once(frame(1, 0, 1, b"\x88") + frame(9, 0, 1, bytes(16000)) * 1000),
        "a header block of more than",
    ),
    "empty CONTINUATION flood": (once(frame(1, 0, 1, b"\x88") + frame(9, 0, 1) * 100_000), "continuation"),
    "RST flood": (flood(frame(3, 0, 2 * 1001, bytes(4))), ""),
    "PING flood": (flood(frame(6, 0, 0, bytes(8))), "frames without content in a row"),
    "SETTINGS flood": (flood(frame(4, 0, 0)), "a flood of settings"),
    "settings nobody knows": (once(frame(4, 0, 0, b"".join(b"\xf0%c\0\0\0\0" % n for n in range(40)))), "settings"),
    "empty DATA flood": (flood(frame(0, 0, 1)), "frames without content in a row"),
    "padding flood": (flood(frame(0, 8, 1, b"\0")), "frames without content in a row"),
    "unknown frames": (flood(frame(0xFE, 0, 0, b"x" * 100)), "frames without content in a row"),
    "PRIORITY flood": (flood(frame(2, 0, 1, b"\0\0\0\x03\0")), "frames without content in a row"),
    "1xx flood": (once(frame(1, 4, 1, b"\x08\x03103") * 20_000), "frames without content in a row"),
}  # fmt: skip


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_and_floods_end_the_connection_with_advice(name: str, run: Run) -> None:
    """In bounded memory and time; a server that follows the protocol is told why by a GOAWAY."""

    async def story() -> None:
        script, why = NONSENSE[name]
        async with serving(speaking(script)) as port:
            connection, heard = await begun(pool_to(port))
            await over(heard, 10)
        ending = ending_of(heard)
        assert (ending.side, ending.mechanism) == (Side.PROVIDER, Mechanism.MALFORMED)
        assert why in ending.detail and ending.detail.endswith("; leave --http2 out to ask over HTTP/1.1")
        assert len(ending.detail) < 250 and "secret" not in ending.detail
        assert connection.received_bytes < 20_000_000

    run(story())


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", HEAD],
    ids=["HTTP/1.1", "SSH", "no settings"],
)
def test_a_server_that_does_not_begin_in_http2_is_told_from_one_that_does(said: bytes, run: Run) -> None:
    """Prior knowledge was wrong."""

    async def story() -> None:
        def script(sock: socket.socket) -> None:
            with contextlib.suppress(OSError):
                sock.sendall(said)
            until_closed(sock)

        async with serving(script) as port:
            heard = await ask(await pool_to(port).connect())
        assert ending_of(heard).mechanism is Mechanism.MALFORMED
        assert ending_of(heard).detail.startswith("it did not begin in HTTP/2")

    run(story())


def test_what_came_before_the_nonsense_is_handed_on(run: Run) -> None:
    """A break never takes back what was already good, even from the same read."""

    async def story() -> None:
        script = once(
            HEAD + frame(0, 0, 1, b"hel") + frame(0, 0, 1, b"lo") + frame(5, 4, 1, b"\0\0\0\x02\x82")
        )
        async with serving(speaking(script)) as port:
            _, heard = await begun(pool_to(port))
            await over(heard)
        assert (heard.status, heard.body, heard.code) == (200, b"hello", "P.bad.body")

    run(story())


def test_a_whole_answer_before_the_nonsense_is_whole(run: Run) -> None:
    """Its connection is not used again."""

    async def story() -> None:
        script = once(HEAD + frame(0, 1, 1, b"hello") + b"\xff\xff\xff\0\0\0\0\0\x01")
        async with serving(speaking(script)) as port:
            connection, heard = await begun(pool_to(port))
            await over(heard)
            assert not connection.alive
        assert (heard.body, heard.code) == (b"hello", "whole")

    run(story())


# Where the reads cut.

TALK = (
    SETTINGS
    + frame(4, 1, 0)
    + frame(6, 0, 0, b"12345678")
    + frame(1, 0, 1, b"\x88")
    + frame(9, 4, 1, b"\x00\x01x\x01y")
    + frame(0, 0, 1, b"hel")
    + frame(7, 0, 0, (1).to_bytes(4, "big") + bytes(4) + b"restart")
    + frame(0, 8, 1, b"\x02lo\0\0")
    + frame(0, 1, 1)
)


class Somewhere(Nowhere):
    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None: ...


async def fed(pieces: list[bytes], body: bytes = b"") -> Heard:
    """An exchange whose reads are these."""
    with socket.socket() as sock:
        connection, heard = Http2Connection(sock, address="-"), Heard()
        connection.connection_made(Somewhere())
        connection.start(heard, b"POST", b"/", render(GET))
        connection.send_body(body)
        connection.end_body()
        for piece in pieces:
            connection.data_received(piece)
        connection.abort()
    return heard


@given(cuts=st.sets(st.integers(1, len(TALK) - 1), max_size=8))
@settings(max_examples=200)
def test_where_the_reads_cut_does_not_matter(cuts: set[int]) -> None:
    """Head, body and end come out the same, a GOAWAY in their middle included."""
    edges = [0, *sorted(cuts), len(TALK)]
    heard = asyncio.run(fed([TALK[start:end] for start, end in itertools.pairwise(edges)]))

    assert (heard.status, heard.headers, heard.body, heard.code) == (200, [(b"x", b"y")], b"hello", "whole")


FRAMES = st.builds(
    frame,
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 3, MAX]),
    st.binary(max_size=40) | st.just(b"\x88"),
)


LIKELY = [HEAD, frame(0, 0, 1, b"x"), frame(0, 1, 1, b"x"), frame(3, 0, 1, bytes(4))]
LIKELY += [frame(8, 0, stream, b"\0\1\0\0") for stream in (0, 1)]


@given(
    frames=st.lists(FRAMES | st.sampled_from(LIKELY), max_size=12),
    at_once=st.booleans(),
    size=st.sampled_from([0, 10, 100_000]),
)
@example(frames=[*LIKELY[4:], LIKELY[3]], at_once=True, size=100_000)
@settings(max_examples=1000)
def test_any_frames_end_in_an_ending_or_in_none_but_never_in_a_defect(
    frames: list[bytes], at_once: bool, size: int
) -> None:
    """Whatever a server sends, nothing but the protocol's own errors comes of it, with a body under way as well."""
    reads = [SETTINGS, *frames]
    heard = asyncio.run(fed([b"".join(reads)] if at_once else reads, bytes(size)))

    if heard.ending is not None:
        assert heard.ending.side is Side.PROVIDER
        assert heard.ending.mechanism in (Mechanism.MALFORMED, Mechanism.STREAM_RESET, Mechanism.GOAWAY)
        assert heard.ending.phase in (Phase.SENDING, Phase.AWAITING_HEADERS, Phase.IN_BODY)


def test_heads_of_any_size_go_out(run: Run) -> None:
    """60 KB of headers are cut into CONTINUATION frames."""

    async def story() -> None:
        sizes: list[int] = []

        def script(peer: Peer) -> None:
            peer.h2.decoder.max_header_list_size = 1 << 20
            asked = peer.answer(b"hello", OK)
            sizes.append(sum(len(field[1]) for field in asked.headers or []))
            peer.until_closed()

        async with serving(speaking(script)) as port:
            connection, heard = await begun(pool_to(port), [*GET, *[(b"x", b"~" * 1000)] * 60])
            await over(heard)
            connection.abort()
        assert heard.code == "whole" and sizes[0] > 60_000

    run(story())
