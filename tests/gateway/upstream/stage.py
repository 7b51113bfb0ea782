"""A stage for upstream stories: a scripted server in threads, and a listener that writes down what it hears."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from holdfast.flight.endings import Ending
from holdfast.gateway.fields import render
from holdfast.gateway.settings import Settings, Timeouts, Tls, Upstream
from holdfast.gateway.upstream.connection import Headers, UpstreamConnection
from holdfast.gateway.upstream.pool import Pool

Script = Callable[[socket.socket], object]
GET: Headers = [(b"Host", b"upstream")]


class Heard:
    """A listener: the answer as it came, and how it ended."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.reason = b""
        self.headers: Headers = []
        self.pieces: list[bytes] = []
        self.ended = False
        self.ending: Ending | None = None
        self.pauses: list[str] = []
        self.room = asyncio.Event()
        self.room.set()
        self.something = asyncio.Event()
        self.over = asyncio.Event()

    def response_started(self, status: int, reason: bytes, headers: Headers) -> None:
        assert self.status is None and not self.over.is_set()
        self.status, self.reason, self.headers = status, reason, headers
        self.something.set()

    def body_arrived(self, data: bytes) -> None:
        assert data and self.status is not None and not self.over.is_set()
        self.pieces.append(data)

    def response_ended(self) -> None:
        assert self.status is not None and not self.over.is_set()
        self.ended = True
        self.over.set()

    def connection_ended(self, ending: Ending) -> None:
        assert not self.over.is_set()
        self.ending = ending
        self.over.set()

    def request_paused(self) -> None:
        self.pauses.append("paused")
        self.room.clear()

    def request_resumed(self) -> None:
        self.pauses.append("resumed")
        self.room.set()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def code(self) -> str:
        return "whole" if self.ended else self.ending.code if self.ending else "open"


@contextlib.asynccontextmanager
async def serving(*scripts: Script) -> AsyncIterator[int]:
    """A server on a free port; the n-th connection plays the n-th script, further ones the last. Yields the port."""
    server = socket.create_server(("127.0.0.1", 0))
    players: list[threading.Thread] = []
    failures: list[BaseException] = []

    def play(script: Script, sock: socket.socket) -> None:
        sock.settimeout(10)
        try:
            with sock:
                script(sock)
        except BaseException as error:
            failures.append(error)

    def accept() -> None:
        for number in range(1000):
            try:
                sock, _ = server.accept()
            except OSError:
                return
            player = threading.Thread(target=play, args=(scripts[min(number, len(scripts) - 1)], sock))
            players.append(player)
            player.start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for thread in (acceptor, *players):
            await asyncio.to_thread(thread.join, 10)  # the loop runs on meanwhile: it has sockets to close
    assert not failures, failures


def head_of(sock: socket.socket) -> bytes:
    """Read one request head; empty when the client closed."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            return b""
        data += byte
    return data


def exactly(sock: socket.socket, size: int) -> bytes:
    """Read so many bytes, or what came before the client's close."""
    data = b""
    while len(data) < size and (piece := sock.recv(size - len(data))):
        data += piece
    return data


def until_closed(sock: socket.socket) -> bytes:
    """Everything up to the client's close; a reset is a close too."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(65536):
            data += piece
    return data


def reset(sock: socket.socket) -> None:
    """Close with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def saying(answer: bytes) -> Script:
    """Answer one request after the other in these words, until the client goes."""

    def script(sock: socket.socket) -> None:
        while head_of(sock):
            sock.sendall(answer)

    return script


def saying_once(answer: bytes, drip: bool = False) -> Script:
    """Answer in these words, byte by byte if wished, and close."""

    def script(sock: socket.socket) -> None:
        head_of(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [answer[i : i + 1] for i in range(len(answer))] if drip else [answer]:
            sock.sendall(piece)
        sock.shutdown(socket.SHUT_WR)
        until_closed(sock)

    return script


def over_tls(context: ssl.SSLContext, script: Callable[[ssl.SSLSocket], object]) -> Script:
    """The script, played inside TLS."""

    def play(sock: socket.socket) -> None:
        # Without it Nagle holds the answer behind the session tickets, and a reset throws it away unsent.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            wrapped = context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=True)
        except (ssl.SSLError, OSError):
            return  # the client did not like us; that is the story
        with wrapped:
            script(wrapped)

    return play


def pool_to(
    port: int,
    *,
    host: str = "127.0.0.1",
    scheme: str = "http",
    proxy: str | None = None,
    ca: Path | None = None,
    tls: Tls | None = None,
    connect_s: float = 5.0,
    now: Callable[[], float] | None = None,
) -> Pool:
    """A pool to a server on this machine."""
    settings = Settings(
        Upstream.parse(f"{scheme}://{host}:{port}"),
        proxy=proxy,
        tls=tls or Tls(ca_files=(ca,) if ca else ()),
        timeouts=Timeouts(connect_s=connect_s),
    )
    return Pool(settings, now=now) if now else Pool(settings)


async def ask(
    connection: UpstreamConnection,
    method: bytes = b"GET",
    headers: Headers = GET,
    body: bytes = b"",
) -> Heard:
    """One exchange from start to end."""
    heard = Heard()
    connection.start(heard, method, b"/v1", render(headers))
    connection.send_body(body)
    connection.end_body()
    async with asyncio.timeout(30):
        await heard.over.wait()
    return heard


async def ask_afresh(port: int, method: bytes = b"GET") -> Heard:
    """One exchange on a new connection."""
    pool = pool_to(port)
    heard = await ask(await pool.connect(), method)
    await pool.close()
    return heard
