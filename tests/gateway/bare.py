"""Upstreams and clients that are nothing but sockets, for what no HTTP library would let them do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from holdfast.gateway.engine import Engine
from holdfast.gateway.settings import RetryRules, Settings, Timeouts, Upstream
from holdfast.lab.provider import Provider, Rule
from holdfast.lab.script import Answer
from tests.gateway.hosted import HEADERS, Hosted, body, hosted

QUICK = Timeouts(keepalive_s=0.1, cancel_grace_s=0.3, limit_tolerance_s=0.05, orphan_s=5, unheard_s=5)
WATCHDOG_S = 0.3
WATCHDOG = {
    "CLAUDE_ENABLE_STREAM_WATCHDOG": "1",
    "CLAUDE_STREAM_IDLE_TIMEOUT_MS": str(round(WATCHDOG_S * 1000)),
}
"A client that gives up after a third of a second without an event; its gateway must send no keepalives meanwhile."
SOON_AGAIN = RetryRules(retry_wait_s=0.02)
UNHEALED: dict[str, Any] = {"retries": RetryRules(retries=0), "shorten": False}
"Settings with which a break is told: nothing is asked again, and no message is ended early."
KEEPALIVE = b'"stop_reason":null,"stop_sequence":null},"usage"'
CLOSE = {"connection": "close"}
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Script = Callable[[socket.socket], object]


@contextmanager
def between(
    rule: Rule | Answer | Sequence[Answer],
    *,
    timeouts: Timeouts = QUICK,
    tls: ssl.SSLContext | None = None,
    **changes: Any,
) -> Iterator[tuple[Provider, Hosted]]:
    """A provider of the lab's, and a gateway in front of it; with `tls`, its clients must speak it."""
    with (
        Provider(rule).running() as provider,
        hosted(
            Settings(Upstream.parse(provider.url), timeouts=timeouts, **{"retries": SOON_AGAIN, **changes}),
            tls=tls,
        ) as gateway,
    ):
        yield provider, gateway


@contextmanager
def before(script: Script, *, timeouts: Timeouts = QUICK, **changes: Any) -> Iterator[Hosted]:
    """A gateway before an upstream that plays this script on each of its connections, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, script), daemon=True).start()
        upstream = Upstream.parse(f"http://127.0.0.1:{server.getsockname()[1]}")
        with hosted(Settings(upstream, timeouts=timeouts, **{"retries": SOON_AGAIN, **changes})) as gateway:
            yield gateway


def _accept(server: socket.socket, script: Script) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_play, args=(script, connection), daemon=True).start()


def _play(script: Script, connection: socket.socket) -> None:
    connection.settimeout(20)
    with contextlib.suppress(OSError), connection:
        script(connection)


def head_of(connection: socket.socket) -> bytes:
    """Read one request's head, and perhaps some of its body; empty when the gateway closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(4096)
        if not piece:
            return b""
        data += piece
    return data


def request_of(connection: socket.socket) -> bytes:
    """Read one request with a content-length, to its end; empty when the gateway closed."""
    head, _, content = head_of(connection).partition(b"\r\n\r\n")
    length = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while head and len(content) < length[0]:
        content += connection.recv(65536)
    return head and head + b"\r\n\r\n" + content


def answer_of(status: int, content: bytes, *, kind: str = "application/json", close: bool = False) -> bytes:
    """A whole HTTP answer."""
    more = "connection: close\r\n" if close else ""
    head = f"HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\n{more}\r\n"
    return head.encode() + content


def request(
    asked: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    path: str = "/v1/messages?beta=true",
    version: str = "1.1",
) -> bytes:
    """A whole request, as Claude Code sends it."""
    content = json.dumps(asked or body()).encode()
    return head_for(path, {"content-length": str(len(content)), **(headers or {})}, version) + content


def head_for(path: str, headers: Mapping[str, str], version: str = "1.1") -> bytes:
    """A request's head alone."""
    fields = {"host": "127.0.0.1", **HEADERS, **headers}
    lines = [f"POST {path} HTTP/{version}", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Client:
    """One connection to the gateway. With a small receive buffer, what it does not read is the gateway's."""

    def __init__(
        self,
        port: int,
        sent: bytes = b"",
        *,
        receive_bytes: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.sock = socket.socket()
        if receive_bytes is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(30)
        self.sock.connect(("127.0.0.1", port))
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="127.0.0.1")
        self.sock.sendall(sent)
        self.heard = b""
        self.ended = ""
        "How the gateway closed the connection: `fin` or `rst`; empty while it is open."

    def hear_until(self, words: bytes) -> None:
        """Read on until these bytes have been heard."""
        while words not in self.heard:
            piece = self.sock.recv(65536)
            assert piece, f"ended without {words!r}: {self.heard[-1000:]!r}"
            self.heard += piece

    def hear_all(self, *, seconds: float = 30.0) -> bytes:
        """Read until the gateway closes; a silence of so many seconds is a `TimeoutError`."""
        self.sock.settimeout(seconds)
        pieces = [self.heard]
        try:
            while piece := self.sock.recv(65536):
                pieces.append(piece)
            self.ended = "fin"
        except ConnectionResetError:
            self.ended = "rst"
        self.heard = b"".join(pieces)
        return self.heard

    def upload(self, head: bytes, pieces: Iterator[bytes]) -> int:
        """Send a head and what follows, until the gateway closes or takes no more; returns the body's bytes sent."""
        sent = 0
        with contextlib.suppress(OSError):
            self.sock.sendall(head)
            for piece in pieces:
                self.sock.sendall(piece)
                sent += len(piece)
        return sent

    def leave(self) -> None:
        """Close in order."""
        self.sock.close()

    def reset(self) -> None:
        """Close with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.sock.close()


def dechunked(raw: bytes) -> tuple[bytes, bool]:
    """The body of a raw answer in chunks, and whether it has its proper end."""
    rest, content = raw.partition(b"\r\n\r\n")[2], bytearray()
    while rest:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line, 16)
        if not size:
            return bytes(content), True
        content += rest[:size]
        rest = rest[size + 2 :]
    return bytes(content), False


def on_loop(gateway: Hosted, work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine of the gateway's on its own loop, to its end."""
    asyncio.run_coroutine_threadsafe(work, loop_of(gateway)).result(10)


def loop_of(gateway: Hosted) -> asyncio.AbstractEventLoop:
    """The loop that the gateway runs on."""
    return engine_of(gateway).loop


def engine_of(gateway: Hosted) -> Engine:
    """What all its turns share, to look at and not to touch: it lives on another thread."""
    assert gateway.gateway._engine is not None
    return gateway.gateway._engine


def wait_until(condition: Callable[[], object], *, seconds: float = 5.0) -> None:
    """Block until it is so."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            pytest.fail(f"not so within {seconds:g} s")
        time.sleep(0.005)
