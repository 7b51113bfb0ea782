"""The load: clients that speak HTTP/1.1 with as little work as possible, and check afterwards, strictly.

While a measurement runs, a client only collects bytes and looks at the last five for the end of the body. Framing
and content are compared with what the origin sent once the clock has stopped.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import cast

from bench import wire

_UNTIL_CLOSE = 1 << 62
"Neither a length nor chunks: not a body that a relay may send us, and the end of the connection will say so."


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it came."""

    head: bytes
    raw: bytes
    "The body with its framing."
    first_event_s: float
    "From the request's first byte to the first event's (or body byte's) arrival."

    @property
    def body(self) -> bytes:
        """The body with chunk framing taken off and checked. Raises `Wrong`."""
        if not self.head.startswith(b"HTTP/1.1 200 "):
            raise wire.Wrong(f"answered {self.head[:60]!r}: {self.raw[:300]!r}")
        if b"\r\ntransfer-encoding: chunked" in self.head.lower():
            return wire.unchunk(self.raw)
        return self.raw


class Client(asyncio.Protocol):
    """One client connection; one request at a time, connection kept."""

    transport: asyncio.Transport

    def __init__(self, session: str) -> None:
        self.session = session
        self.events = 0
        "Event ends seen in this answer: a cheap count to know when a stream has caught up."
        self.reads = 0
        "Reads that brought body bytes in this answer."
        self.gone = False
        self._waiter: asyncio.Future[Reply] | None = None
        self._reset()

    def _reset(self) -> None:
        self._head = b""
        self._pieces: list[bytes] = []
        self._tail = b""
        self._missing: int | None = None
        "Body bytes to come where a content-length says so; None under chunk framing."
        self._first_s = 0.0
        self.events = self.reads = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, request: wire.Request) -> asyncio.Future[Reply]:
        """Send one request; the future gives the whole answer, or raises `Wrong` if the connection broke."""
        if self.gone:
            raise wire.Wrong("the connection was closed while no request was on it")
        self._reset()
        self._waiter = asyncio.get_running_loop().create_future()
        self._asked_s = time.perf_counter()
        if len(request.pieces[1]) < 65536:
            self.transport.write(b"".join(request.pieces))
        else:
            self.transport.writelines(request.pieces)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        if self._missing is None and self._pieces:
            self._body(data)
            return
        now = time.perf_counter()
        if not self._pieces:
            if not self._head.endswith(b"\r\n\r\n"):
                self._head += data
                end = self._head.find(b"\r\n\r\n")
                if end < 0:
                    return
                data = self._head[end + 4 :]
                self._head = self._head[: end + 4]
                self._missing = _content_length(self._head)
            if not data:
                return
            self._first_s = now - self._asked_s
        self._body(data)

    def _body(self, data: bytes) -> None:
        self.reads += 1
        self.events += data.count(b"\n\n")
        self._pieces.append(data)
        if self._missing is not None:
            self._missing -= len(data)
            if self._missing <= 0:
                self._done()
            return
        self._tail = data[-5:] if len(data) >= 5 else (self._tail + data)[-5:]
        if self._tail == wire.LAST_CHUNK:
            self._done()

    def _done(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(Reply(self._head, b"".join(self._pieces), self._first_s))

    @property
    def first_event_in(self) -> bool:
        """Whether the current answer's first event has arrived."""
        return self.events > 0

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        if self._waiter and not self._waiter.done():
            so_far = b"".join(self._pieces)
            self._waiter.set_exception(
                wire.Wrong(
                    f"the connection ended ({error or 'closed'}) after {len(so_far)} bytes: "
                    f"{self._head[:60]!r} ... {so_far[-80:]!r}"
                )
            )


def _content_length(head: bytes) -> int | None:
    low = head.lower()
    at = low.find(b"\r\ncontent-length:")
    if at >= 0:
        return int(low[at + 17 :].split(b"\r\n", 1)[0])
    if b"\r\ntransfer-encoding: chunked" in low:
        return None
    return _UNTIL_CLOSE


async def connect(port: int, count: int) -> list[Client]:
    """Open client connections, 64 at a time, each with a session of its own."""
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    for start in range(0, count, 64):
        pairs = await asyncio.gather(
            *(
                loop.create_connection(lambda number=number: Client(session(number)), "127.0.0.1", port)  # type: ignore[misc]
                for number in range(start, min(start + 64, count))
            )
        )
        clients += [protocol for _, protocol in pairs]
    return clients


def session(number: int) -> str:
    """A session id of the shape Claude Code sends."""
    return f"be9c4000-0000-4000-8000-{number:012x}"


def hang_up(clients: list[Client]) -> None:
    """Close the connections; all answers have been heard."""
    for client in clients:
        client.transport.close()
