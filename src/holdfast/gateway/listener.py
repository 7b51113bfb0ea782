"""The side towards clients: HTTP/1.1 over our own protocol class.

A finished server library would hide what we are here to see: whether a client closed or reset, what it
had acknowledged by then, and the gaps between bytes. The parser is llhttp, strict; what it lets pass and
a relay must not is refused here (see `_refusal`). One exchange at a time; requests that a client sends
ahead wait in order.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol, TypeVar, cast

import httptools

from holdfast.flight.endings import Mechanism
from holdfast.gateway.guard import Head, Refusal
from holdfast.gateway.headers import request_length
from holdfast.gateway.heads import Found, Heads
from holdfast.gateway.settings import Keepalive, Limits, Timeouts
from holdfast.gateway.sockets import (
    SocketLike,
    family,
    local_address,
    pending_error,
    port_of,
    reset_on_close,
    set_keepalive,
    tcp_facts,
    unacked_bytes,
)

Facts = dict[str, str | int | float | bool | None]
T = TypeVar("T", str, bytes)

HEAD_WAITS_FOR: Final = 64 * 1024
"Bytes of body that may wait with the head for the end of the loop's turn."
_REASONS: Final = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    408: b"Request Timeout", 413: b"Content Too Large", 421: b"Misdirected Request",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 501: b"Not Implemented",
    502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported", 529: b"Overloaded",
}  # fmt: skip
_NEVER: Final = float("inf")
_FORGOTTEN: Final = Head(b"", b"", "1.1", [])
_NO_HEADERS: Final[list[tuple[bytes, bytes]]] = []
"Where no head is being read; nobody writes into it."
SENT_AHEAD_BYTES: Final = 64 * 1024
"How much a client may send of its next requests before the present answer is over."
RESET_HOLD_S: Final = 0.2
"How long a connection that its client closed in order is watched for the reset that shows nobody listens (D.1)."
LINGER_S: Final = 2.0
"How long we read on after closing our half, and how long between two looks at a slow reader."
HEARD_AFTER_S: Final = 0.1
"After the end of an answer over TLS, when it is looked whether the client's TCP has all of it."
LINGER_MOST: Final = 150
"So many looks at a reader that does not read: five minutes."


class BodyReceiver(Protocol):
    """Who takes a request's body, and hears when its client is gone."""

    def body_arrived(self, data: bytes) -> None: ...
    def body_ended(self) -> None: ...
    def client_gone(self, mechanism: Mechanism, facts: Facts) -> None:
        """The connection ended before the exchange was over."""

    def client_reset(self, after_ms: float) -> None:
        """The connection was reset so soon after `client_gone` said that it was closed in order."""

    def client_resumed(self) -> None:
        """The client's socket takes bytes again after `paused`."""


class Exchange:
    """One request and its response on a client connection."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_head_bytes",
        "_waiting",
        "body_complete",
        "ended",
        "head",
        "keep_alive",
        "length",
        "method",
        "receiver",
        "started",
        "version",
    )

    def __init__(
        self, connection: ClientConnection, head: Head, length: int | None, *, keep_alive: bool
    ) -> None:
        self._connection = connection
        self.head = head
        "Its length is not the request's: the same head may have come before, with another."
        self.length = length
        "Of the request's body; None where it is chunked."
        self.method = head.method
        self.version = head.version
        self.keep_alive = keep_alive
        self.receiver: BodyReceiver | None = None
        self.body_complete = False
        self.started = False
        self.ended = False
        self._chunked = False
        self._head_bytes = b""
        self._waiting: list[bytes] | None = None

    # -- request ------------------------------------------------------------------------------------

    def forget_head(self) -> None:
        """It was read; a turn may last an hour, and credentials need not stay with it that long."""
        self.head = _FORGOTTEN

    def received_by(self, receiver: BodyReceiver) -> None:
        """Give the body to `receiver`, beginning with what has arrived already."""
        self.receiver = receiver
        waiting, self._waiting = self._waiting, None
        for data in waiting or ():
            receiver.body_arrived(data)
        if self.body_complete:
            receiver.body_ended()

    def take_body(self, data: bytes) -> None:
        if self.receiver is not None:
            self.receiver.body_arrived(data)
        elif self._waiting is None:
            self._waiting = [data]
        else:
            self._waiting.append(data)

    def pause_body(self) -> None:
        """Read no more of the request for now, unless all of it has come. A close is not noticed meanwhile."""
        if not self.body_complete:
            self._connection.pause()

    def resume_body(self) -> None:
        """Read on."""
        if not self.body_complete:
            self._connection.resume()

    # -- response -----------------------------------------------------------------------------------

    def start(self, status: int, headers: bytes, *, reason: bytes = b"", length: int | None = None) -> None:
        """Send the head. `headers` are rendered lines; framing is added.

        Without `length` the body is chunked. An answer to HEAD, a 204 and a 304 have no body, whatever length they
        announce for one that would be; a 204 may not announce any.
        """
        self.started = True
        framing = b""
        if length is not None and status != 204:
            framing = b"content-length: %d\r\n" % length
        elif self.method != b"HEAD" and status not in (204, 304) and status >= 200:
            if self.version == "1.1":
                self._chunked = True
                framing = b"transfer-encoding: chunked\r\n"
            else:
                self.keep_alive = False
        if not self.keep_alive:
            framing += b"connection: close\r\n"
        elif self.version == "1.0":
            framing += b"connection: keep-alive\r\n"
        line = (status, reason or _REASONS.get(status, b""), headers, framing)
        # The head waits for what follows in the same turn of the loop: mostly the body's first bytes, and for a
        # short answer all of it and its end. One write, not three.
        self._head_bytes = b"HTTP/1.1 %d %b\r\n%b%b\r\n" % line
        self._connection.loop.call_soon(self._send_head)

    def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        if self.ended or not data:
            return
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._head_bytes:
            self._head_bytes += data
            if len(self._head_bytes) > HEAD_WAITS_FOR:
                self._send_head()
        else:
            self._connection.write(data)

    def end(self, data: bytes = b"") -> None:
        """Send the last piece, if any, and the end."""
        if self.ended:
            return
        if self._chunked:
            data = (b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)) if data else b"0\r\n\r\n"
        data = self._head_bytes + data
        self._head_bytes = b""
        self.ended = True
        self._connection.chunked_end = self._chunked
        if data:
            self._connection.write(data)
        self._connection.exchange_ended(self)

    def refuse(self, status: int, body: bytes, headers: bytes = b"") -> None:
        """Answer with an error in one piece. The connection closes where the request was not read to its end."""
        if self.started:
            self.abort()
            return
        if not self.body_complete:
            self.keep_alive = False
        self.start(status, b"content-type: application/json\r\n" + headers, length=len(body))
        self.end(b"" if self.method == b"HEAD" else body)

    def abort(self) -> None:
        """Break the connection off: the answer cannot be ended honestly in any other way."""
        self.ended = True
        self._connection.abort()

    def _send_head(self) -> None:
        if self._head_bytes and not self.ended:
            head, self._head_bytes = self._head_bytes, b""
            self._connection.write(head)

    # -- what is known of the client ----------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether the client reads slower than the answer comes."""
        return self._connection.paused_since is not None

    def paused_s(self, now: float) -> float:
        """For how long it has."""
        since = self._connection.paused_since
        return 0.0 if since is None else now - since

    def acknowledged(self) -> None:
        """The peer has all of it: a connection that was only kept open to learn this can go."""
        self._connection.acknowledged()

    @property
    def gone(self) -> bool:
        """Whether the connection is closed or closing."""
        return self._connection.gone

    def unacknowledged(self) -> int | None:
        """Bytes written but not acknowledged by the peer's TCP; None where that cannot be measured."""
        return self._connection.unacknowledged()

    def facts(self) -> Facts:
        """What the kernel knows of the connection now."""
        return self._connection.facts()

    def local_address(self) -> str | None:
        """What address of this machine the client connected to; None where the socket is gone."""
        return self._connection.local_address()

    def ports(self) -> tuple[int | None, int | None]:
        """The client's port as seen here, and ours that it came to; None where there is none."""
        return self._connection.ports()

    def on_closed(self, told: Callable[[Mechanism, int | None], None] | None) -> None:
        """After `end`: say how the connection closed, and what was unacknowledged then, if that comes first.

        The connection's next request tells too (`COMPLETED`, 0): whoever sends it has read the answer.
        """
        self._connection.on_closed = told


class ClientConnection(asyncio.Protocol):
    """One client connection: parses requests, hands them to the engine in order, notices how it ends."""

    __slots__ = (
        "_ahead_bytes",
        "_begun_by",
        "_head",
        "_head_size",
        "_hold",
        "_incoming",
        "_lingered",
        "_listener",
        "_missing",
        "_parser",
        "_ports",
        "_queue",
        "_read_size",
        "_reading_paused",
        "_sent_fin",
        "_sock",
        "_target",
        "chunked_end",
        "current",
        "exchanges",
        "expires",
        "gone",
        "lingering",
        "loop",
        "made_at",
        "on_closed",
        "paused_since",
        "transport",
    )

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.loop = listener.loop
        self._parser: httptools.HttpRequestParser | None = None
        "Only while a request is being read: while it is answered, which may take an hour, it is not needed."
        self._queue: deque[Exchange] | None = None
        self._incoming: Exchange | None = None
        self._target = b""
        self._head = _NO_HEADERS
        self._head_size = 0
        self._read_size = 0
        "Of the last read."
        self._missing = 0
        "How much is still to come of the body of a request of which no parser reads more than the head."
        self._begun_by: bytes | None = None
        "The read that the request began with whose head is being parsed."
        self._ahead_bytes = 0
        self._ports: int | None = None
        "The peer's and ours in one number, once they were asked for; 0 where there is none."
        self.current: Exchange | None = None
        self.paused_since: float | None = None
        "Since when the client reads slower than we write."
        self.gone = False
        self.lingering = False
        self.chunked_end = False
        "Whether the answer that was written last has an end of its own, without the connection's."
        self._reading_paused = False
        self._sent_fin = False
        self._lingered = 0
        self.on_closed: Callable[[Mechanism, int | None], None] | None = None
        self.exchanges = 0
        self.made_at = self.loop.time()
        self.expires = self.made_at + listener.timeouts.request_head_s
        self._hold: tuple[asyncio.TimerHandle, float, BodyReceiver] | None = None
        "While a connection that was closed in order is watched for a reset: the watch's end, its beginning, who hears."

    # -- asyncio ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, only alike.
        self.transport = cast(asyncio.Transport, transport)
        self._sock: SocketLike = transport.get_extra_info("socket")
        if self._listener.keepalive is not None:
            set_keepalive(self._sock, self._listener.keepalive)
        self._listener.connections.add(self)
        if len(self._listener.connections) > self._listener.limits.connections:
            self._refuse(
                Refusal(503, "overloaded_error", "too many connections to this gateway; try again shortly")
            )

    def data_received(self, data: bytes) -> None:
        while data and not (self.gone or self.lingering):
            if self._missing:
                self.expires = self.loop.time() + self._listener.timeouts.request_body_s
                data = self._take_body(data)
            elif self._parser is None and (found := self._listener.heads.find(data)) is not None:
                data = self._take_known(found, data)
            else:
                data = self._parse(data)

    def _take_known(self, found: Found, data: bytes) -> bytes:
        """A request whose head came before: nothing of it is parsed. Returns what follows the request."""
        head, length, body_at = found
        if length > self._listener.limits.body_bytes:
            self._refuse(_too_large(self._listener.limits))
            return b""
        self._missing = length
        self._head_arrived(head, length, keep_alive=True)
        return self._take_body(data, body_at)

    def _take_body(self, data: bytes, at: int = 0) -> bytes:
        """The body behind such a head, from `at` on. Returns what follows it."""
        till = at + self._missing
        piece = data[at:till] if at or till < len(data) else data
        self._missing -= len(piece)
        try:
            if piece:
                self.on_body(piece)
        except _Refused as refused:
            self._refuse(refused.refusal)
            return b""
        if not self._missing:
            self.on_message_complete()
        return data[till:]

    def _parse(self, data: bytes) -> bytes:
        """Let the parser read. Returns what it left: what follows the head of a request that offered an upgrade."""
        self._read_size = len(data)
        if self._incoming is None:
            self._head_size += self._read_size
        else:
            self.expires = self.loop.time() + self._listener.timeouts.request_body_s
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(self)
            self._begun_by = data
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            # The parser stops behind the head, for what follows may be no HTTP; here it is (see `_refusal`).
            self._parser = None
            rest: bytes = data[offered.args[0] :]
            return rest
        except (httptools.HttpParserError, httptools.HttpParserCallbackError) as error:
            cause = error.__context__
            if isinstance(cause, _Refused):
                self._refuse(cause.refusal)
            elif isinstance(error, httptools.HttpParserCallbackError):
                raise
            else:
                self._refuse(Refusal(400, "invalid_request_error", _why_not_http(data, error)))
            return b""
        if self._incoming is None:
            if self._head_size > self._listener.limits.head_bytes:
                self._refuse(_HEAD_TOO_LARGE)
            elif not self._head_size:
                self._parser = None
        self._begun_by = None
        return b""

    def eof_received(self) -> bool:
        """The client closed its half: for us it is gone. Where it was owed an answer, see whether it resets, too.

        Nothing waits for that: what follows from the close follows at once.
        """
        receiver = self.current.receiver if self.current is not None and not self.current.ended else None
        waiting = pending_error(self._sock)
        reset = waiting in (errno.EPIPE, errno.ECONNRESET)
        self._lost(Mechanism.FIN_THEN_RST if reset else Mechanism.FIN, waiting=waiting)
        if reset or receiver is None or self._hold is not None or not self.transport.can_write_eof():
            return False
        timer = self.loop.call_later(RESET_HOLD_S, self._hold_over)
        self._hold = timer, self.loop.time(), receiver
        return True

    def _hold_over(self) -> None:
        """The watch is over, or the connection is: did a reset follow the close?"""
        if self._hold is None:
            return
        (timer, since, receiver), self._hold = self._hold, None
        timer.cancel()
        if pending_error(self._sock) in (errno.EPIPE, errno.ECONNRESET):
            receiver.client_reset((self.loop.time() - since) * 1000)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.connections.discard(self)
        if self._hold is not None:
            timer, since, receiver = self._hold
            self._hold = None
            timer.cancel()
            if isinstance(exc, ConnectionResetError | BrokenPipeError):
                receiver.client_reset((self.loop.time() - since) * 1000)
        number = exc.errno if isinstance(exc, OSError) else None
        self._lost(how_it_ended(exc, unacked_bytes(self._sock) if exc is not None else None), number)

    def pause_writing(self) -> None:
        self.paused_since = self.loop.time()

    def resume_writing(self) -> None:
        self.paused_since = None
        if self.current is not None and self.current.receiver is not None:
            self.current.receiver.client_resumed()

    # -- httptools ----------------------------------------------------------------------------------

    on_chunk_header = on_chunk_complete = None
    "Nobody is told; to find no such name takes each new parser longer."

    def on_message_begin(self) -> None:
        self._head_size = max(self._head_size, 1)
        self._target = b""
        self._head = []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._incoming is None:  # later ones are trailers, which nothing here needs
            self._head.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        head = Head(_one(parser.get_method()), self._target, _one(parser.get_http_version()), self._head)
        refusal = _refusal(head, self._listener.limits, most=max(self._head_size, self._read_size))
        self._head = _NO_HEADERS
        self._target = b""
        self._head_size = self._read_size = 0
        if refusal is not None:
            raise _Refused(refusal)
        keep_alive = parser.should_keep_alive()
        if self._begun_by is not None and keep_alive and not parser.should_upgrade():
            self._listener.heads.remember(self._begun_by, head)
        self._begun_by = None
        length = request_length(head)
        if parser.should_upgrade():
            if length is None:
                raise _Refused(_CHUNKED_UPGRADE)
            self._missing = length
        self._head_arrived(head, length, keep_alive=keep_alive)

    def _head_arrived(self, head: Head, length: int | None, *, keep_alive: bool) -> None:
        exchange = Exchange(self, head, length, keep_alive=keep_alive and not self._listener.draining)
        self._incoming = exchange
        self.expires = self.loop.time() + self._listener.timeouts.request_body_s
        if self.current is None:
            self._begin(exchange)
        else:
            if self._queue is None:
                self._queue = deque()
            self._queue.append(exchange)

    def on_body(self, data: bytes) -> None:
        exchange = self._incoming
        if exchange is None or exchange.ended:
            return
        if exchange is not self.current:
            self._ahead_bytes += len(data)
            if self._ahead_bytes > SENT_AHEAD_BYTES:
                raise _Refused(
                    Refusal(413, "invalid_request_error", "wait for an answer before sending a large request")
                )
        exchange.take_body(data)

    def on_message_complete(self) -> None:
        if self._missing:
            return  # for the parser, which reads no body behind the offer of an upgrade
        exchange, self._incoming = self._incoming, None
        if exchange is None:
            return
        exchange.body_complete = True
        if self._reading_paused:
            # At the body's last piece, by somebody who had no room for it. From here on reading tells whether the
            # client is still there, and brings its next request.
            self.resume()
        self.expires = _NEVER
        if exchange.receiver is not None:
            exchange.receiver.body_ended()

    # -- exchanges ----------------------------------------------------------------------------------

    def _begin(self, exchange: Exchange) -> None:
        self.current = exchange
        self.exchanges += 1
        told, self.on_closed = self.on_closed, None
        if told is not None:
            told(Mechanism.COMPLETED, 0)
        expect = exchange.head.get(b"expect")
        if expect is not None and expect.lower() == b"100-continue" and not exchange.body_complete:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._listener.on_request(exchange)

    def exchange_ended(self, exchange: Exchange) -> None:
        """The response is written. Serve what was sent ahead, wait for the next request, or close."""
        if exchange is not self.current:
            return
        self.current = None
        if exchange.body_complete:
            exchange.receiver = (
                None  # it knows the exchange too: without this both would wait for the collector
            )
        if not exchange.keep_alive or not exchange.body_complete or self._listener.draining:
            self._linger()
            return
        now, timeouts = self.loop.time(), self._listener.timeouts
        if not self._queue:
            self.expires = now + timeouts.idle_connection_s
            return
        self._ahead_bytes = 0
        following = self._queue.popleft()
        self.expires = _NEVER if following.body_complete else now + timeouts.request_body_s
        self._begin(following)

    def write(self, data: bytes) -> None:
        if not self.gone:
            self.transport.write(data)

    def pause(self) -> None:
        self.expires = _NEVER  # it is we who do not read
        self._reading_paused = True
        if not self.gone:
            self.transport.pause_reading()

    def resume(self) -> None:
        self._reading_paused = False
        self.expires = self.loop.time() + self._listener.timeouts.request_body_s
        if not self.gone:
            self.transport.resume_reading()

    def close(self) -> None:
        """Close in order, after what was written."""
        if not self.gone:
            self.gone = True
            self.transport.close()

    def release(self) -> None:
        """Watch no more for a reset behind a close."""
        self._hold_over()

    def _linger(self) -> None:
        """Close our half, and read on for a moment.

        Closing with unread bytes makes the kernel send a reset, which can overtake the answer and destroy
        it. And while the socket lives, it tells whether the answer was acknowledged.
        """
        if self.gone:
            return
        half_close = self.transport.can_write_eof()  # TLS cannot
        if not half_close and not self.chunked_end:
            self.close()
            return
        self.lingering = True
        self.expires = self.loop.time() + LINGER_S
        self.transport.resume_reading()
        if half_close:
            self._sent_fin = True
            self.transport.write_eof()
        else:
            self.loop.call_later(HEARD_AFTER_S, self._close_if_heard)

    def _close_if_heard(self) -> None:
        """Over TLS the client has no other sign of the end than our close, so it does not wait for the sweep."""
        if self.lingering and not self.gone and not self.unacknowledged():
            self.acknowledged()

    def acknowledged(self) -> None:
        """Nothing is left to learn from a lingering connection whose request was read to its end."""
        if self.lingering and self._incoming is None:
            self.close()

    def abort(self) -> None:
        """Close at once, with a reset: to a peer that reads until the close, a FIN would look like the end."""
        self.gone = True
        reset_on_close(self._sock)
        self.transport.abort()

    def unacknowledged(self) -> int | None:
        in_kernel = unacked_bytes(self._sock)
        if in_kernel is None:
            return None
        if self._sent_fin and in_kernel:
            in_kernel -= 1  # our FIN counts as one
        return in_kernel + self.transport.get_write_buffer_size()

    def facts(self) -> Facts:
        return dict(tcp_facts(self._sock))

    def local_address(self) -> str | None:
        return local_address(self._sock)

    def ports(self) -> tuple[int | None, int | None]:
        ports = self._ports
        if ports is None:
            asked = self.transport.get_extra_info
            ports = self._ports = (port_of(asked("peername")) or 0) << 16 | (port_of(asked("sockname")) or 0)
        return ports >> 16 or None, ports & 0xFFFF or None

    def evidence(self, number: int | None, waiting: int | None) -> Facts:
        """What can be told of the connection where it ends; `waiting` is the socket's error, where it was read before."""
        tls = self.transport.get_extra_info("ssl_object")
        return {
            "errno": number,
            "so_error": pending_error(self._sock) if waiting is None else waiting,
            **tcp_facts(self._sock),
            "unacked_bytes": unacked_bytes(self._sock),
            "family": family(self._sock),
            "http": "1.1",
            "tls": None if tls is None else tls.version(),
            "age_s": round(self.loop.time() - self.made_at, 3),
            "reused": self.exchanges > 1,
            "exchanges": self.exchanges,
        }

    def expire(self) -> None:
        """The client took too long."""
        if self.lingering and self.unacknowledged():
            self._lingered += 1  # it reads slowly; closing now would throw away what it has not read
            if self._lingered < LINGER_MOST:
                self.expires = self.loop.time() + LINGER_S
                return
        if self.lingering or (self.current is None and self._incoming is None and not self._head_size):
            self.close()
        elif self.current is not None and self.current.started:
            self.abort()
        else:
            self._refuse(Refusal(408, "timeout_error", "the request did not arrive in time"))

    def _lost(self, mechanism: Mechanism, number: int | None = None, *, waiting: int | None = None) -> None:
        told, self.on_closed = self.on_closed, None
        if told is not None:
            told(mechanism, self.unacknowledged())
        if self.gone and self.current is None:
            return
        self.gone = True
        exchange, self.current = self.current, None
        if exchange is None or exchange.receiver is None or exchange.ended:
            return
        exchange.ended = True
        exchange.receiver.client_gone(mechanism, self.evidence(number, waiting))

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what cannot be served and close. Nothing of it went upstream, or it is broken off there."""
        if self.lingering:
            return  # it was refused already, and what follows is not looked at
        exchange, self.current = self.current, None
        if exchange is not None and exchange.receiver is not None and not exchange.ended:
            exchange.ended = True
            exchange.receiver.client_gone(Mechanism.MALFORMED, {})
        if exchange is None or not exchange.started:
            body = self._listener.render_error(refusal)
            self.transport.write(
                b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (refusal.status, _REASONS[refusal.status], len(body), body)
            )
        self._linger()


def how_it_ended(error: Exception | None, unacked: int | None) -> Mechanism:
    """The mechanism, by what the event loop reports of a client's connection; `unacked` bytes tell TCP's two timeouts."""
    number = error.errno if isinstance(error, OSError) else None
    if error is None:
        return Mechanism.FIN
    if number == errno.ETIMEDOUT:
        return Mechanism.UNACKNOWLEDGED if unacked else Mechanism.KEEPALIVE_UNANSWERED
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN):
        return Mechanism.UNREACHABLE
    return Mechanism.ABORTED if number == errno.ECONNABORTED else Mechanism.RST


class Listener:
    """What all client connections share, and the sweep that ends those that take too long."""

    SWEEP_S: Final = 1.0

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeouts: Timeouts,
        limits: Limits,
        on_request: Callable[[Exchange], None],
        render_error: Callable[[Refusal], bytes],
        *,
        keepalive: Keepalive | None = None,
    ) -> None:
        """`keepalive` is set on every client's socket; None leaves it as the system has it."""
        self.loop = loop
        self.timeouts = timeouts
        self.limits = limits
        self.on_request = on_request
        self.render_error = render_error
        self.keepalive = keepalive
        self.connections: set[ClientConnection] = set()
        self.heads = Heads()
        self.draining = False
        self._sweep = loop.call_later(self.SWEEP_S, self._end_the_slow)

    def connection(self) -> ClientConnection:
        """A protocol for a new connection."""
        return ClientConnection(self)

    def close_idle(self) -> None:
        """Close connections without a request; the others close after their answer."""
        self.draining = True
        for connection in list(self.connections):
            if connection.current is None:
                connection.close()

    def flushing(self) -> bool:
        """Whether some client has not been sent yet what was written for it."""
        return any(not c.gone and c.transport.get_write_buffer_size() for c in self.connections)

    def close(self) -> None:
        """Close every connection; those that are owed an answer are broken off."""
        self._sweep.cancel()
        for connection in list(self.connections):
            connection.release()
            if connection.current is None:
                connection.close()
            else:
                connection.abort()

    def _end_the_slow(self) -> None:
        now = self.loop.time()
        self.heads.forget_old(now)
        for connection in [c for c in self.connections if c.expires <= now]:
            connection.expires = _NEVER
            connection.expire()
        self._sweep = self.loop.call_later(self.SWEEP_S, self._end_the_slow)


@lru_cache(maxsize=64)
def _one(said: T) -> T:
    """The same method or version, once for all requests: the parser makes them anew each time."""
    return said


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


_UNPRINTABLE: Final = re.compile(rb"[^\x21-\x7e]")
_HEAD_TOO_LARGE: Final = Refusal(431, "invalid_request_error", "the request's headers are too large")


def _refusal(head: Head, limits: Limits, *, most: int) -> Refusal | None:
    """What the parser accepts and a relay must not, because two readers could understand it differently.

    The head has `most` bytes: what was read since it began, with some of the body perhaps.
    """
    encodings = head.fields.all(b"transfer-encoding")
    hosts = len(head.fields.all(b"host"))
    length = head.get(b"content-length")
    if head.version not in ("1.0", "1.1"):
        return Refusal(505, "invalid_request_error", "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if most > limits.head_bytes and head.size > limits.head_bytes:
        return _HEAD_TOO_LARGE
    if encodings and head.version == "1.0":
        return Refusal(400, "invalid_request_error", "HTTP/1.0 has no transfer encodings")
    if encodings and encodings != [b"chunked"] and [v.strip().lower() for v in encodings] != [b"chunked"]:
        return Refusal(501, "invalid_request_error", "of the transfer encodings only chunked is understood")
    if head.method == b"CONNECT" or b"websocket" in head.fields.first.get(b"upgrade", b"").lower():
        # Any other upgrade (h2c, which Java's own client offers with every first request) may be passed over.
        return Refusal(501, "invalid_request_error", "CONNECT and WebSockets are not relayed")
    if hosts > 1 or (hosts == 0 and head.version == "1.1"):
        return Refusal(400, "invalid_request_error", "a request names its host exactly once")
    if _UNPRINTABLE.search(head.target):
        return Refusal(400, "invalid_request_error", "the path holds characters that must be percent-encoded")
    if length is not None and int(length) > limits.body_bytes:
        return _too_large(limits)
    return None


_CHUNKED_UPGRADE = Refusal(
    501,
    "invalid_request_error",
    "a chunked request that offers an upgrade is not relayed; leave the offer out",
)


def _why_not_http(data: bytes, error: Exception) -> str:
    """What the parser could not read, in words that say what to change."""
    if data.startswith(b"\x16\x03"):
        return "this is TLS, and plain http is spoken here; use http://, or start the gateway with --tls-cert"
    if data.startswith(b"PRI * HTTP/2.0"):
        return "this is HTTP/2 from the first byte; only HTTP/1.1 is spoken here"
    return f"this is not HTTP that can be relayed: {error}"


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, "request_too_large", f"the request is larger than {limits.body_bytes} bytes")
