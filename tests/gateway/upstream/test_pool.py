"""Which connections are used again, and which are not."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from holdfast.gateway.fields import render
from holdfast.gateway.upstream.connection import RESET_HOLD_S, UpstreamConnection
from tests.gateway.upstream.conftest import Run
from tests.gateway.upstream.stage import (
    GET,
    Heard,
    ask,
    head_of,
    pool_to,
    saying,
    serving,
    until_closed,
)

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def test_a_connection_carries_one_exchange_after_the_other(run: Run) -> None:
    """A connection whose answer ended properly is taken for the next request, and says that it is reused."""

    async def story() -> None:
        async with serving(saying(ANSWER)) as port:
            pool = pool_to(port)
            first = await pool.connect()
            assert pool.idle() is None and first.reused is False
            assert (await ask(first)).body == b"hello"
            second = pool.idle()
            assert second is first and second.reused is True
            assert (await ask(second)).body == b"hello"
            assert repr(pool) == f"<Pool http://127.0.0.1:{port}, 1 idle>"
            await pool.close()
            assert pool.idle() is None and not first.alive

    run(story())


def test_the_next_request_may_start_from_within_the_last_ones_end(run: Run) -> None:
    """When `response_ended` comes the connection already waits in the pool."""

    async def story() -> None:
        async with serving(saying(ANSWER)) as port:
            pool = pool_to(port)
            second = Heard()

            class Chain(Heard):
                def response_ended(self) -> None:
                    super().response_ended()
                    connection = pool.idle()
                    assert connection is not None
                    connection.start(second, b"GET", b"/2", render(GET))
                    connection.end_body()

            connection, first = await pool.connect(), Chain()
            connection.start(first, b"GET", b"/1", render(GET))
            connection.end_body()
            await asyncio.wait_for(second.over.wait(), 2)
            assert (first.body, second.body) == (b"hello", b"hello")
            await pool.close()

    run(story())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        ANSWER + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ANSWER + b"junk",
    ],
    ids=["connection: close", "HTTP/1.0", "a second answer", "junk"],
)
def test_some_connections_are_not_used_again(answer: bytes, run: Run) -> None:
    """The upstream said so, or it sent more than was asked for: the answer is whole, the connection is closed."""

    async def story() -> None:
        async with serving(saying(answer)) as port:
            pool = pool_to(port)
            heard = await ask(await pool.connect())
            assert (heard.body, heard.code) == (b"hello", "whole")
            assert pool.idle() is None

    run(story())


def test_an_answer_before_the_requests_end_is_not_followed_by_another(run: Run) -> None:
    """The rest of the unsent body would be read as the next request, so that connection is closed."""

    async def story() -> None:
        async with serving(saying(ANSWER)) as port:
            pool = pool_to(port)
            connection, heard = await pool.connect(), Heard()
            connection.start(heard, b"POST", b"/", render([*GET, (b"Content-Length", b"1000")]))
            await asyncio.wait_for(heard.over.wait(), 2)
            assert heard.code == "whole" and pool.idle() is None

    run(story())


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"], ids=["FIN", "408"])
def test_a_connection_that_the_upstream_closed_while_idle_is_not_used(last_words: bytes, run: Run) -> None:
    """A close between requests, announced or not, is seen before the next request is risked on it."""

    async def story() -> None:
        def script(sock: socket.socket) -> None:
            head_of(sock)
            sock.sendall(ANSWER)
            time.sleep(0.05)
            if last_words:
                sock.sendall(last_words)

        async with serving(script) as port:
            pool = pool_to(port)
            connection = await pool.connect()
            await ask(connection)
            assert connection.alive
            await asyncio.sleep(0.15)
            assert not connection.alive and pool.idle() is None
            await pool.close()

    run(story())


def test_an_idle_connection_is_not_trusted_after_four_seconds(run: Run) -> None:
    """Used within 4 s it is reused; after that never, and the youngest is taken first."""

    async def story() -> None:
        clock = [100.0]
        async with serving(saying(ANSWER)) as port:
            pool = pool_to(port, now=lambda: clock[0])
            older, younger = await pool.connect(), await pool.connect()
            await ask(older)
            clock[0] += 3.0
            await ask(younger)
            clock[0] += 0.9
            assert pool.idle() is younger
            assert pool.idle() is older
            await ask(older)
            clock[0] += 4.1
            assert pool.idle() is None and not older.alive
            younger.abort()
            await pool.close()

    run(story())


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"], ids=["FIN", "408"])
def test_a_close_that_only_the_kernel_has_heard_of_is_enough(last_words: bytes, run: Run) -> None:
    """It arrived while the event loop was busy: the connection looks alive to us, and is not used."""

    async def story() -> None:
        closing = threading.Event()

        def script(sock: socket.socket) -> None:
            head_of(sock)
            sock.sendall(ANSWER)
            closing.wait(5)
            if last_words:
                sock.sendall(last_words)

        async with serving(script) as port:
            pool = pool_to(port)
            connection = await pool.connect()
            await ask(connection)
            assert connection.shows_no_close()
            closing.set()
            time.sleep(0.05)  # noqa: ASYNC251 (the loop is busy: that is the story)
            assert connection.alive and not connection.shows_no_close()
            assert pool.idle() is None and not connection.alive
            await pool.close()

    run(story())


def test_idle_connections_can_be_forgotten(run: Run) -> None:
    """After a sleep or on another network: what is idle is closed, an answer under way goes on and is kept after it."""

    async def story() -> None:
        async with serving(saying(ANSWER)) as port:
            pool = pool_to(port)
            idle, busy, heard = await pool.connect(), await pool.connect(), Heard()
            await ask(idle)
            busy.start(heard, b"GET", b"/", render(GET))
            assert pool.forget_idle() == 1 and not idle.alive
            busy.end_body()
            await asyncio.wait_for(heard.over.wait(), 2)
            assert heard.code == "whole" and pool.idle() is busy
            busy.abort()
            await pool.close()

    run(story())


def test_old_connections_are_swept(run: Run) -> None:
    """What has become too old is closed without waiting for somebody to ask; what is young stays."""

    async def story() -> None:
        clock = [100.0]
        async with serving(saying(ANSWER)) as port:
            pool = pool_to(port, now=lambda: clock[0])
            connections: list[UpstreamConnection] = [await pool.connect() for _ in range(3)]
            for connection in connections:
                await ask(connection)
                clock[0] += 1.5
            pool._sweep_old()
            assert [c.alive for c in connections] == [False, True, True]
            clock[0] += 10
            pool._sweep_old()
            assert not any(c.alive for c in connections)
            assert pool._sweep is None
            await pool.close()

    run(story())


def test_a_connection_that_comes_back_to_a_closed_pool_is_closed(run: Run) -> None:
    """Closing the pool lets an answer under way end, and keeps nothing open after it."""

    async def story() -> None:
        def script(sock: socket.socket) -> None:
            head_of(sock)
            time.sleep(0.05)
            sock.sendall(ANSWER)
            assert until_closed(sock) == b""

        async with serving(script) as port:
            pool = pool_to(port)
            connection, heard = await pool.connect(), Heard()
            connection.start(heard, b"GET", b"/", render(GET))
            connection.end_body()
            await pool.close()
            await asyncio.wait_for(heard.over.wait(), 2)
            assert heard.code == "whole" and not connection.alive

    run(story())


def test_a_stale_connection_is_told_at_once(run: Run) -> None:
    """The upstream closed just as the next request went out: no wait for a RST, and the evidence says `reused`."""

    async def story() -> None:
        def script(sock: socket.socket) -> None:
            head_of(sock)
            sock.sendall(ANSWER)
            head_of(sock)

        async with serving(script) as port:
            pool = pool_to(port)
            await ask(await pool.connect())
            connection = pool.idle()
            assert connection is not None
            started = time.monotonic()
            heard = await ask(connection)
            assert heard.code == "P.fin.headers" and time.monotonic() - started < RESET_HOLD_S
            assert heard.ending is not None and heard.ending.evidence["reused"] is True

    run(story())
