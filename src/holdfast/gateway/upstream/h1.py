"""One HTTP/1.1 connection to the upstream, one exchange at a time.

The transport's callbacks feed a C parser, and what one read of the socket held goes to the listener in
one call: no task, no queue, no generator per chunk (reference perf.md, section 5). The parser reports
pieces by appending to a list, which costs no Python frame, and to the same callbacks for all connections:
it keeps each of them for as long as an answer takes.

Life, TLS and endings of a connection are not HTTP/1.1's alone, and stand in `connection`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final

import httptools

from holdfast.flight.endings import Mechanism, Side
from holdfast.gateway.fields import render
from holdfast.gateway.upstream.connection import HEAD_LIMIT, Headers, ResponseListener, UpstreamConnection
from holdfast.gateway.upstream.tls import TlsSession, in_one_line


class _BeyondEndError(Exception):
    """Something followed the response that was asked for."""


class Callbacks:
    """What a parser calls while it is fed; one for all connections of a thread. Feeding never leads to feeding another."""

    __slots__ = (
        "feeding",
        "on_body",
        "on_header",
        "on_headers_complete",
        "on_message_begin",
        "on_message_complete",
        "on_status",
        "pieces",
        "spare",
    )

    on_chunk_header = on_chunk_complete = None
    "Nobody is told; to find no such name takes each new parser longer."

    def __init__(self) -> None:
        self.feeding: Http1Connection | _Nobody
        "Whose parser is being fed."
        self.spare: Any = None
        "A parser that stands between two chunks of an answer, for whoever hears the next one."
        self.pieces: list[bytes] = []
        "Of the body, from this feeding; whoever feeds takes them out."
        self.on_body = self.pieces.append
        # Bound here, once, not by every parser that looks them up.
        self.on_header = self._header
        self.on_headers_complete = self._headers_complete
        self.on_message_begin = self._message_begin
        self.on_message_complete = self._message_complete
        self.on_status = self._status

    def parser(self, *, between_chunks: bool) -> Any:
        """One for a response that begins, or for one whose parser was given away: between two chunks all stand alike."""
        if between_chunks and self.spare is not None:
            parser, self.spare = self.spare, None
            return parser
        parser = httptools.HttpResponseParser(self)
        if between_chunks:
            self.feeding = _Nobody()
            parser.feed_data(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        return parser

    def _message_begin(self) -> None:
        if self.feeding._complete:
            raise _BeyondEndError

    def _status(self, reason: bytes) -> None:
        told = self.feeding._reason + reason  # in pieces, where a read ends inside it
        self.feeding._reason = b"OK" if told == b"OK" else told  # a turn keeps it as long as it lives

    def _header(self, name: bytes, value: bytes) -> None:
        connection = self.feeding
        if not connection._head_done:  # what comes later is a trailer; none of them matters to a relay
            connection._headers.append((name, value))

    def _headers_complete(self) -> None:
        self.feeding._head_arrived()

    def _message_complete(self) -> None:
        self.feeding._message_arrived()


class _Nobody:
    """For whom a new parser is led to where the others stand."""

    _complete, _head_done, _reason = False, True, b""
    _headers: ClassVar[Headers] = []

    def _head_arrived(self) -> None: ...

    def _message_arrived(self) -> None: ...


class Http1Connection(UpstreamConnection):
    """An HTTP/1.1 connection to the upstream."""

    __slots__ = (
        "_callbacks",
        "_chunked",
        "_complete",
        "_dry",
        "_flowing",
        "_head",
        "_head_done",
        "_headers",
        "_interim",
        "_is_head",
        "_keep_alive",
        "_needs_eof",
        "_parser",
        "_proxied",
        "_reason",
    )

    http = "1.1"

    def __init__(
        self,
        sock: socket.socket,
        *,
        address: str,
        took_s: float = 0.0,
        tls: TlsSession | None = None,
        on_idle: Callable[[UpstreamConnection], None] | None = None,
        absolute: bytes = b"",
        proxy_header: tuple[bytes, bytes] | None = None,
        callbacks: Callbacks | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """As for every connection.

        `absolute` (`http://host:port`) is put before the target when a forward proxy is asked, and
        `proxy_header` is its `Proxy-Authorization`. `callbacks` are shared with the thread's other connections.
        """
        super().__init__(sock, address=address, took_s=took_s, tls=tls, on_idle=on_idle, now=now)
        self._proxied = _DIRECT
        if absolute or proxy_header:
            self._proxied = (absolute, render([proxy_header] if proxy_header else []))
        self._callbacks = callbacks or Callbacks()
        self._headers: Headers = []
        self._parser: Any = None
        self._forget()

    # The caller's side.

    def start(self, listener: ResponseListener, method: bytes, target: bytes, lines: bytes) -> None:
        """As for every connection; the lines are written as given."""
        if not self._begin(listener):
            return
        self._is_head = method == b"HEAD"
        self._chunked = lines.endswith(b"transfer-encoding: chunked\r\n")
        absolute, proxy_line = self._proxied
        line = (method, absolute, target, lines, proxy_line)
        self._head = b"%b %b%b HTTP/1.1\r\n%b%b\r\n" % line
        self._loop.call_soon(self._send_waiting_head, listener)

    def send_body(self, data: bytes) -> None:
        """Send a piece of the request's body, without copying it. Ignored when the exchange is already over."""
        if self._listener is None or self._request_done or not data:
            return
        head, self._head = self._head, b""
        if self._chunked:
            self._write(head + b"%x\r\n" % len(data), data, b"\r\n")
        elif head:
            self._write(head, data)
        else:
            self._write(data)

    def end_body(self) -> None:
        """The request is whole. Call it also when there is no body."""
        if self._listener is None or self._request_done:
            return
        self._request_done = True
        tail, self._head = self._head, b""
        if self._chunked:
            tail += b"0\r\n\r\n"
        if tail:
            self._write(tail)

    @property
    def response_read(self) -> bool:
        """As for every connection."""
        return self._complete

    # The transport's side.

    def _plaintext_received(self, data: bytes) -> None:
        callbacks = self._callbacks
        parser = self._parser
        if parser is None:
            if self._listener is None:
                # Nobody asked: an idle connection that speaks (a 408, say) is about to be closed by its peer.
                self._break(Side.PROVIDER, Mechanism.MALFORMED, "bytes came on an idle connection")
                return
            parser = self._parser = callbacks.parser(between_chunks=self._flowing)
        problem: Exception | None = None
        callbacks.feeding = self
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            problem = error
        pieces = callbacks.pieces
        body = b""
        if pieces:
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            if self._flowing and problem is None:
                self._dry = 0
                self._listener.body_arrived(body)  # type: ignore[union-attr]
                return
        self._digest(data, body, problem)

    def _ended_by_close(self) -> bool:
        # Without TLS's own goodbye anybody could have cut the answer here, so it is no proper end.
        if self._flowing and self._needs_eof and (self._tls is None or self._tls.closed_by_peer):
            self._finish(False)
            return True
        return False

    def _torn(self) -> bool:
        # A relay that loses its own source closes between two chunks; one that dies, anywhere. The parser knows where it
        # stands: it is shown a last chunk, and only between two chunks it takes that for the end, and nothing for body.
        if not self._flowing or self._needs_eof:
            return False
        if self._parser is None:
            return False
        pieces, self._callbacks.feeding = self._callbacks.pieces, self
        torn = False
        try:
            self._parser.feed_data(b"0\r\n\r\n")
        except httptools.HttpParserError:
            torn = True
        torn = torn or bool(pieces) or not self._complete
        pieces.clear()
        return torn

    def _nothing_heard(self) -> bool:
        return not self._status and not self._dry

    # The parser's side, by way of `Callbacks`.

    def _head_arrived(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._interim = True
            self._headers, self._reason = [], b""
            return
        self._status = status
        self._head_done = True
        self._keep_alive = self._parser.should_keep_alive()
        # Where the parser sees another end, nobody needs to look.
        self._needs_eof = not self._keep_alive and _ends_by_close(self._headers)
        if self._is_head:
            self._complete = True

    def _message_arrived(self) -> None:
        if self._interim:
            self._interim = False
            return
        self._flowing = False
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()

    # What follows from it.

    def _digest(self, data: bytes, body: bytes, problem: Exception | None) -> None:
        """Everything but the middle of a body: heads, ends, errors. In the order in which they happened."""
        listener = self._listener
        if listener is None:
            return
        if self._status and not self._flowing and self._headers is not _TOLD:
            if self._status == 101:
                self._break(
                    Side.PROVIDER, Mechanism.MALFORMED, "the upstream wanted to switch protocols (101)"
                )
                return
            headers, self._headers = self._headers, _TOLD
            self._flowing = not self._complete
            listener.response_started(self._status, self._reason, headers)
            if self._listener is not listener:
                return
        if body:
            self._dry = 0
            if self._is_head:
                self._keep_alive = False
            else:
                listener.body_arrived(body)
                if self._listener is not listener:
                    return
        else:
            self._dry += len(data)
        if self._complete:
            self._finish(self._keep_alive and problem is None)
        elif problem is not None:
            self._break(Side.PROVIDER, Mechanism.MALFORMED, in_one_line(problem))
        elif self._dry > HEAD_LIMIT:
            what = "chunk extensions or trailers" if self._head_done else "a response head"
            self._break(Side.PROVIDER, Mechanism.MALFORMED, f"{what} of more than {HEAD_LIMIT} bytes")
        elif self._keep_alive and body.endswith(b"\n\n") and data.endswith(b"\n\n\r\n"):
            # The answer's beginning, up to an event and its chunk's end, which is no part of the body: the next chunk
            # may come when the model has thought for an hour, and half a kilobyte of parser need not wait for it.
            self._callbacks.spare, self._parser = self._parser, None

    def _forget(self) -> None:
        super()._forget()
        self._parser = None
        self._headers = []
        self._reason = b""
        self._dry = 0
        self._head = b""
        self._chunked = False
        self._is_head = False
        self._interim = False
        self._head_done = False
        self._flowing = False  # the head was told, and the body is under way
        self._complete = False
        self._keep_alive = False
        self._needs_eof = False

    def _send_waiting_head(self, listener: ResponseListener) -> None:
        if self._listener is listener and self._head:
            head, self._head = self._head, b""
            self._write(head)

    def _close(self) -> None:
        super()._close()
        self._parser = None


_DIRECT: Final = (b"", b"")
"What a proxy wants of each request, where none is asked."
_TOLD: Headers = []
"Stands in the place of headers that the listener has been given."


def _ends_by_close(headers: Headers) -> bool:
    """Whether a body of these headers is delimited by the close of the connection (RFC 9112, section 6.3)."""
    length = False
    coding: bytes | None = None
    for name, value in headers:
        if len(name) == 14 and name.lower() == b"content-length":
            length = True
        elif len(name) == 17 and name.lower() == b"transfer-encoding":
            coding = value
    if coding is not None:
        return not coding.rstrip().lower().endswith(b"chunked")
    return not length
