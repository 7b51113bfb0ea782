"""One exchange over HTTP/2 with a real server on loopback: answers, bodies, floods, and proof of life."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from h2.events import PingAckReceived, PingReceived, RequestReceived, WindowUpdated
from h2.settings import SettingCodes
from hpack.struct import NeverIndexedHeaderTuple

from holdfast.gateway.fields import render
from holdfast.gateway.settings import Settings, Tls, Upstream
from holdfast.gateway.sockets import unacked_bytes
from holdfast.gateway.upstream.connection import UpstreamConnection
from holdfast.gateway.upstream.pool import Pool
from tests.gateway.upstream.conftest import Run
from tests.gateway.upstream.h2_stage import OK, Peer, frame, speaking, speaking_tls
from tests.gateway.upstream.stage import GET, Heard, ask, over_tls, saying, serving, until_closed

KEY = b"sk-ant-fake-one"
HEADERS = [
    (b"Host", b"upstream"),
    (b"X-Api-Key", KEY),
    (b"Content-Type", b"application/json"),
    (b"Connection", b"keep-alive"),
    (b"Transfer-Encoding", b"chunked"),
    (b"TE", b"trailers"),
]


def pool_to(port: int, *, tls: Path | None = None, **more: Any) -> Pool:
    """A pool that offers HTTP/2, or speaks it at once."""
    scheme, files = ("https", (tls,)) if tls else ("http", ())
    upstream = Upstream.parse(f"{scheme}://127.0.0.1:{port}")
    return Pool(Settings(upstream, http2=True, tls=Tls(ca_files=files)), **more)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, trustme.CA]:
    authority, place = trustme.CA(), tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(place)
    return place, authority


def server_context(authority: trustme.CA, *offers: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if offers:
        context.set_alpn_protocols(list(offers))
    return context


async def begun(pool: Pool, headers: Any = GET) -> tuple[UpstreamConnection, Heard]:
    """A connection with an exchange whose request is out."""
    connection, heard = await pool.connect(), Heard()
    connection.start(heard, b"POST", b"/v1", render(headers))
    connection.end_body()
    return connection, heard


async def over(heard: Heard, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        await heard.over.wait()


# Choosing it.


def test_alpn_chooses_http2_and_the_request_has_its_form(
    run: Run, authority: tuple[Path, trustme.CA]
) -> None:
    """Pseudo-headers, lower-case names, nothing of the connection's own; credentials stay out of the compression."""

    async def story() -> None:
        chosen: list[str | None] = []
        asked: list[RequestReceived] = []
        bodies: list[bytes] = []

        def script(peer: Peer) -> None:
            asked.append(peer.answer(b"hello"))
            bodies.append(peer.body)
            peer.until_closed()

        place, ca = authority
        async with serving(speaking_tls(server_context(ca, "h2", "http/1.1"), script, chosen)) as port:
            pool = pool_to(port, tls=place)
            connection = await pool.connect()
            heard = await ask(connection, b"POST", HEADERS, b"{}")
            assert (connection.http, connection.tls) == ("2", "TLSv1.3")
            await pool.close()
        assert chosen == ["h2"] and bodies == [b"{}"]
        assert asked[0].headers == [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", b"upstream"),
            (b":path", b"/v1"),
            (b"x-api-key", KEY),
            (b"content-type", b"application/json"),
        ]
        never = [field[0] for field in asked[0].headers if isinstance(field, NeverIndexedHeaderTuple)]
        assert never == [b"x-api-key"]
        assert (heard.status, heard.reason, heard.body, heard.code) == (200, b"OK", b"hello", "whole")
        assert heard.headers == [(b"content-type", b"text/event-stream")]

    run(story())


@pytest.mark.parametrize("offers", [(), ("http/1.1",)], ids=["no ALPN", "http/1.1"])
def test_a_server_without_it_is_asked_over_http1(
    offers: tuple[str, ...], run: Run, authority: tuple[Path, trustme.CA]
) -> None:
    """What the server chooses is spoken."""

    async def story() -> None:
        place, ca = authority
        answer = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        async with serving(over_tls(server_context(ca, *offers), answer)) as port:
            pool = pool_to(port, tls=place)
            connection = await pool.connect()
            heard = await ask(connection)
            await pool.close()
        assert (connection.http, heard.body, heard.code) == ("1.1", b"hello", "whole")

    run(story())


def test_without_the_setting_it_is_not_offered(run: Run, authority: tuple[Path, trustme.CA]) -> None:
    """HTTP/1.1 is the default, also with a server that could do both."""

    async def story() -> None:
        place, ca = authority
        answer = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        async with serving(over_tls(server_context(ca, "h2", "http/1.1"), answer)) as port:
            settings = Settings(Upstream.parse(f"https://127.0.0.1:{port}"), tls=Tls(ca_files=(place,)))
            pool = Pool(settings)
            connection = await pool.connect()
            assert (connection.http, (await ask(connection)).body) == ("1.1", b"hello")
            await pool.close()

    run(story())


# Answers.


def test_one_connection_carries_one_exchange_after_the_other(run: Run) -> None:
    """Each on a stream of its own; between them the connection waits in the pool."""

    async def story() -> None:
        peers: list[Peer] = []

        def script(peer: Peer) -> None:
            peers.append(peer)
            for _ in range(3):
                peer.answer(b"hello")
            peer.until_closed()

        async with serving(speaking(script)) as port:
            pool = pool_to(port)
            first = await pool.connect()
            for _ in range(3):
                heard = await ask(pool.idle() or first)
                assert (heard.body, heard.code) == (b"hello", "whole")
            assert first.reused and peers[0].answered == [1, 3, 5]
            assert repr(first).startswith("<Http2Connection 127.0.0.1:") and " idle, " in repr(first)
            await pool.close()

    run(story())


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"HEAD", [*OK, (b"content-length", b"5")]),
        (b"GET", [(b":status", b"204")]),
        (b"GET", [(b":status", b"304"), (b"content-length", b"5")]),
    ],
    ids=["HEAD", "204", "304"],
)
def test_an_answer_without_a_body_ends_with_its_head(method: bytes, head: Any, run: Run) -> None:
    """END_STREAM comes on the headers; the connection stays in use."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            for _ in range(2):
                asked = peer.request()
                assert asked.stream_ended is not None, (
                    "a request without a body has END_STREAM on its headers"
                )
                peer.head(asked.stream_id or 0, head, end=True)
            peer.until_closed()

        async with serving(speaking(script)) as port:
            pool = pool_to(port)
            for _ in range(2):
                heard = await ask(pool.idle() or await pool.connect(), method)
                assert (heard.status, heard.body, heard.code) == (int(head[0][1]), b"", "whole")
            await pool.close()

    run(story())


def test_interim_answers_and_trailers_are_swallowed(run: Run) -> None:
    """100, 103 and what follows the body are no part of the answer."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            peer.request()
            peer.head(headers=[(b":status", b"100")])
            peer.head(headers=[(b":status", b"103"), (b"link", b"</a>")])
            peer.head()
            peer.data(b"hello")
            peer.head(headers=[(b"x-sum", b"1")], end=True)
            peer.until_closed()

        async with serving(speaking(script)) as port:
            connection, heard = await begun(pool_to(port))
            await over(heard)
            connection.abort()
        assert (heard.status, heard.body, heard.code) == (200, b"hello", "whole")
        assert heard.headers == [(b"content-type", b"text/event-stream")]

    run(story())


def test_what_one_read_held_is_told_in_one_piece(run: Run) -> None:
    """Frames of one read are joined; each read is told at once, padding taken off."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            peer.request()
            for word in (b"a", b"b"):
                peer.h2.send_headers(1, OK) if word == b"a" else None
                peer.h2.send_data(1, word, pad_length=7)
            peer.flush()
            time.sleep(0.05)
            peer.data(b"c")
            time.sleep(0.05)
            peer.data(b"d", end=True)
            peer.until_closed()

        async with serving(speaking(script)) as port:
            connection, heard = await begun(pool_to(port))
            await over(heard)
            connection.abort()
        assert heard.pieces == [b"ab", b"c", b"d"] and heard.code == "whole"

    run(story())


def test_a_flood_is_taken_as_fast_as_it_comes(run: Run) -> None:
    """50 MB without one WINDOW_UPDATE having to come: the windows are as wide as the protocol allows."""

    async def story() -> None:
        size, room = 50_000_000, []

        def script(peer: Peer) -> None:
            peer.request()
            room.append(peer.h2.local_flow_control_window(1))
            peer.head()
            peer.data(bytes(size), end=True)
            assert not any(isinstance(event, WindowUpdated) for event in peer.events)
            peer.until_closed()

        async with serving(speaking(script)) as port:
            connection, heard = await begun(pool_to(port))
            await over(heard, 30)
            connection.abort()
        assert sum(map(len, heard.pieces)) == size and heard.code == "whole"
        assert room == [2**31 - 1]

    run(story())


# What goes up.


@pytest.mark.parametrize(
    "window", [None, 1000, 0], ids=["default window", "small window", "window opened later"]
)
def test_a_body_of_6_mb_respects_the_peers_windows(window: int | None, run: Run) -> None:
    """The client is told to pause and to go on; every byte arrives, in order."""

    async def story() -> None:
        body = bytes(range(256)) * (6_000_000 // 256 if window != 1000 else 2000)
        received: list[bytes] = []

        def script(peer: Peer) -> None:
            if window == 0:
                peer.until(RequestReceived)
                time.sleep(0.05)
                peer.h2.increment_flow_control_window(10_000_000, 1)
                peer.flush()
            while len(peer.body) < len(body):
                peer.hear()
            received.append(peer.body)
            peer.head()
            peer.data(b"hello", end=True)
            peer.until_closed()

        sizes = {} if window is None else {SettingCodes.INITIAL_WINDOW_SIZE: window}
        async with serving(speaking(script, settings=sizes)) as port:
            pool = pool_to(port)
            connection, heard = await pool.connect(), Heard()
            connection.start(heard, b"POST", b"/", render([*GET, (b"content-length", b"%d" % len(body))]))
            for at in range(0, len(body), 100_000):
                await heard.room.wait()
                connection.send_body(body[at : at + 100_000])
            connection.end_body()
            await over(heard, 20)
            await pool.close()
        assert received == [body] and (heard.body, heard.code) == (b"hello", "whole")
        assert heard.pauses[:2] == ["paused", "resumed"]

    run(story())


def test_an_early_refusal_of_a_large_upload_is_heard(run: Run) -> None:
    """413 and END_STREAM before the request is out, then RST_STREAM with NO_ERROR (RFC 9113, 8.1): a whole answer."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            peer.greedy = False
            peer.until(RequestReceived)
            peer.head(headers=[(b":status", b"413")])
            peer.data(b"large", end=True)
            peer.reset(0)
            peer.until_closed()

        async with serving(speaking(script)) as port:
            connection, heard = await pool_to(port).connect(), Heard()
            connection.start(heard, b"POST", b"/", render([*GET, (b"content-length", b"5000000")]))
            connection.send_body(bytes(5_000_000))
            await over(heard)
            connection.send_body(b"too late")
        assert (heard.status, heard.body, heard.code) == (413, b"large", "whole")
        assert not connection.alive

    run(story())


# Proof of life.


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("phase", ["headers", "body"])
def test_a_peer_that_answers_no_ping_is_given_up_after_90_s(phase: str, run: Run) -> None:
    """Asked after 30 s of silence and every 15 s; four questions without an answer are the end, as for TCP."""

    async def story() -> None:
        asked_for = asyncio.Event()
        loop = asyncio.get_running_loop()

        def script(peer: Peer) -> None:
            peer.request()
            if phase == "body":
                peer.head()
            loop.call_soon_threadsafe(asked_for.set)
            until_closed(peer.sock)

        clock = Clock()
        async with serving(speaking(script)) as port:
            connection, heard = await begun(pool_to(port, now=clock))
            await asked_for.wait()
            if phase == "body":
                await heard.something.wait()
            while unacked_bytes(connection._sock):  # noqa: ASYNC110 (until then TCP's own timeout is on)
                await asyncio.sleep(0.01)
            asked = []
            while not heard.over.is_set():
                clock.now += 1.0
                before = connection.sent_bytes
                connection.prove_life()  # type: ignore[attr-defined]
                if connection.sent_bytes > before and not heard.over.is_set():
                    asked.append(clock.now - 1000.0)
        assert asked == [30.0, 45.0, 60.0, 75.0] and clock.now == 1090.0
        assert heard.ending is not None and heard.code == f"N.dark.{phase}"
        assert heard.ending.detail == "4 HTTP/2 PINGs went unanswered"
        assert heard.ending.evidence["pings"] == heard.ending.evidence["pings_unanswered"] == 4
        assert heard.ending.evidence["silence_s"] == 90.0

    run(story())


def test_a_silent_answer_lives_as_long_as_pings_are_answered(run: Run) -> None:
    """45 minutes of thinking: a PING every 30 s, each answered, and the answer comes."""

    async def story() -> None:
        pings: list[PingReceived] = []

        def script(peer: Peer) -> None:
            peer.request()
            for _ in range(90):
                pings.append(peer.until(PingReceived))
            peer.head()
            peer.data(b"hello", end=True)
            peer.until_closed()

        clock = Clock()
        async with serving(speaking(script)) as port:
            connection, heard = await begun(pool_to(port, now=clock))
            while len(pings) < 90:
                await asyncio.sleep(0.001)
                before, received = connection.sent_bytes, connection.received_bytes
                clock.now += 30.0
                connection.prove_life()  # type: ignore[attr-defined]
                while connection.sent_bytes > before and connection.received_bytes == received:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            await over(heard)
            connection.abort()
        assert (heard.body, heard.code) == (b"hello", "whole") and clock.now >= 1000 + 45 * 60

    run(story())


def test_a_connection_that_is_not_read_is_not_given_up(run: Run) -> None:
    """Whoever pauses reading cannot hear an answer to a PING."""

    async def story() -> None:
        def script(peer: Peer) -> None:
            peer.request()
            peer.head()
            peer.until_closed()

        clock = Clock()
        async with serving(speaking(script)) as port:
            connection, heard = await begun(pool_to(port, now=clock))
            await heard.something.wait()
            connection.pause_reading()
            for _ in range(20):
                clock.now += 30.0
                connection.prove_life()  # type: ignore[attr-defined]
            connection.resume_reading()
            assert not heard.over.is_set()
            connection.abort()

    run(story())


def test_without_keepalive_nobody_is_asked(run: Run) -> None:
    """`--tcp-keepalive off` is about PING as well."""

    async def story() -> None:
        clock = Clock()
        async with serving(speaking(Peer.until_closed)) as port:
            pool = pool_to(port, now=clock)
            pool._settings = replace(pool._settings, sockets=replace(pool._settings.sockets, keepalive=None))
            connection, heard = await begun(pool)
            await asyncio.sleep(0)
            before = connection.sent_bytes
            clock.now += 1000.0
            connection.prove_life()  # type: ignore[attr-defined]
            assert connection.sent_bytes == before and not heard.over.is_set()
            connection.abort()

    run(story())


def test_the_peers_own_ping_is_answered_in_the_pool_too(run: Run) -> None:
    """Servers probe idle clients; a connection that answers stays in use."""

    async def story() -> None:
        answered: list[bytes] = []
        pooled = threading.Event()

        def script(peer: Peer) -> None:
            peer.answer(b"hello")
            pooled.wait(5)  # so that it comes in a read of its own
            peer.raw(frame(6, 0, 0, b"12345678"))
            answered.append(peer.until(PingAckReceived).ping_data or b"")
            peer.answer(b"again")
            peer.until_closed()

        async with serving(speaking(script)) as port:
            pool = pool_to(port)
            await ask(await pool.connect())
            pooled.set()
            async with asyncio.timeout(30):
                while not answered:  # noqa: ASYNC110 (another thread's list)
                    await asyncio.sleep(0.01)
            again = pool.idle()
            assert again is not None and (await ask(again)).body == b"again"
            await pool.close()
        assert answered == [b"12345678"]

    run(story())
