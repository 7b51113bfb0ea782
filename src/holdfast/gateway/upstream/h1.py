"""One HTTP/1.1 connection to the upstream, one exchange at a time.

The transport's callbacks feed a C parser, and what one read of the socket held goes to the listener in
one call: no task, no queue, no generator per chunk (reference perf.md, section 5). The parser reports
pieces by appending to a list, which costs no Python frame.

Life of a connection:

    idle -- start() --> exchange -- response ended, reusable --> idle (and into the pool)
                           |------- response ended, not reusable --> closed
                           |------- broke --> closed (connection_ended, with evidence)
                           `------- abort() --> closed (no further callback)

What the listener may rely on: `response_started` at most once, then any number of `body_arrived`, then
exactly one of `response_ended` and `connection_ended`, unless `abort()` came first. Every method of the
connection may be called from within a callback. After the last callback the connection may already serve
somebody else: forget it then, and never call it again.

Three things that a finished client library gets wrong for us:

* A FIN in the middle of an answer and a FIN followed by a RST look the same on both event loops. After a
  FIN the socket is kept half open for `RESET_HOLD_S`, then SO_ERROR tells them apart (reference D.1).
* An upstream that refuses a large upload answers early and closes; the RST for our unread bytes then
  makes our next write fail. Its answer still lies in the socket's receive buffer, and is read from there.
* Evidence (TCP_INFO, SO_ERROR, unacknowledged bytes) is taken before the socket is gone.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Protocol

import httptools

from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.gateway.sockets import Fact, pending_error, tcp_facts, unacked_bytes
from holdfast.gateway.upstream.tls import TlsSession, explain, in_one_line

HEAD_LIMIT = 256 * 1024
"Bytes of a response head with all interim ones before it, or of trailers and chunk extensions between two body pieces."
RESET_HOLD_S = 0.2
"How long a connection closed mid-exchange is watched for the RST that shows nobody listens (D.1: a few hundred ms)."
WRITE_BUFFER = 256 * 1024
"Bytes of request waiting for the socket before the client is asked to pause; one read of the client's."

Headers = list[tuple[bytes, bytes]]


class ResponseListener(Protocol):
    """Who hears the answer. No method may wait."""

    def response_started(self, status: int, reason: bytes, headers: Headers) -> None:
        """The final response's head arrived (interim 1xx are swallowed). Names as the upstream wrote them."""

    def body_arrived(self, data: bytes) -> None:
        """All body bytes of one socket read, chunk framing taken off. Never empty."""

    def response_ended(self) -> None:
        """The HTTP message ended properly: length reached, last chunk, or a legal end by close."""

    def connection_ended(self, ending: Ending) -> None:
        """It broke before `response_ended`; the connection is closed."""

    def request_paused(self) -> None:
        """Our write buffer is full: stop reading the client's body. May come from within `send_body`."""

    def request_resumed(self) -> None:
        """There is room again. Not called any more once the response has ended."""


class _BeyondEndError(Exception):
    """Something followed the response that was asked for."""


class UpstreamConnection(asyncio.Protocol):
    """A connection to the upstream, used for one exchange after the other."""

    __slots__ = (
        "_absolute",
        "_chunked",
        "_complete",
        "_dry",
        "_flowing",
        "_gone",
        "_head",
        "_head_done",
        "_headers",
        "_heard_at",
        "_hold",
        "_interim",
        "_is_head",
        "_keep_alive",
        "_listener",
        "_loop",
        "_lost",
        "_made_at",
        "_needs_eof",
        "_now",
        "_on_idle",
        "_parser",
        "_peer_closed",
        "_pieces",
        "_proxy_header",
        "_reading_paused",
        "_reason",
        "_request_done",
        "_sock",
        "_status",
        "_tls",
        "_transport",
        "_write_paused",
        "address",
        "idle_since",
        "on_body",
        "received_bytes",
        "reused",
        "sent_bytes",
        "tls",
        "took_s",
    )

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
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sock` is connected (and through its TLS handshake, if any); the transport over it comes by `connection_made`.

        `absolute` (`http://host:port`) is put before the target when a forward proxy is asked, and
        `proxy_header` is its `Proxy-Authorization`.
        """
        self.address = address
        "Where the TCP connection goes, `ip:port`: the proxy's address if there is one."
        self.took_s = took_s
        "Seconds for DNS, TCP, proxy and TLS together."
        self.reused = False
        "Whether it already carried an exchange."
        self.tls = tls.version if tls else None
        "`TLSv1.3`, or None where the connection is plain."
        self.idle_since = now()
        self.sent_bytes = 0
        "HTTP bytes given to the socket, over the connection's life."
        self.received_bytes = 0
        "Bytes read from the socket, over the connection's life."
        self._sock = sock
        self._tls = tls
        self._on_idle = on_idle
        self._absolute = absolute
        self._proxy_header = proxy_header
        self._now = now
        self._made_at = now()
        self._heard_at = self._made_at
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._hold: asyncio.TimerHandle | None = None
        self._lost: Ending | None = None
        self._peer_closed = False
        self._write_paused = False
        self._reading_paused = False
        self._gone = False
        self._headers: Headers = []
        self._parser: Any = None
        self._request_done = False
        self._status = 0
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append  # the parser looks it up by this name, once per exchange
        self._listener: ResponseListener | None = None
        self._forget()

    def __repr__(self) -> str:
        if self._lost is not None:
            state = "closed"
        elif self._listener is None:
            state = "idle"
        else:
            state = self._phase().value
        secure = f" {self.tls}" if self.tls else ""
        return f"<UpstreamConnection {self.address}{secure} {state}, {self.received_bytes} bytes heard>"

    # The caller's side.

    @property
    def alive(self) -> bool:
        """Whether, as far as we know, a new exchange can be started on it."""
        return self._lost is None and not self._peer_closed and self._listener is None

    def start(self, listener: ResponseListener, method: bytes, target: bytes, headers: Headers) -> None:
        """Begin an exchange. The headers are complete: host, and `content-length` or `transfer-encoding: chunked`.

        Names and values are written as given; they come from a parser that refuses control characters.
        The head leaves with the first piece of body, or at the end of this turn of the loop.
        A connection that died meanwhile says so through `connection_ended`, never by raising.
        """
        if self._listener is not None:
            raise RuntimeError(f"{self!r} already carries an exchange; take another connection")
        self._listener = listener
        self._heard_at = self._now()
        if self._lost is not None or self._peer_closed:
            self._loop.call_soon(self._tell_it_was_lost, listener)
            return
        self._parser = httptools.HttpResponseParser(self)
        self._is_head = method == b"HEAD"
        lines = [method, b" ", self._absolute, target, b" HTTP/1.1\r\n"]
        for name, value in headers:
            if len(name) == 17 and name.lower() == b"transfer-encoding":
                self._chunked = True
            lines += (name, b": ", value, b"\r\n")
        if self._proxy_header is not None:
            lines += (self._proxy_header[0], b": ", self._proxy_header[1], b"\r\n")
        lines.append(b"\r\n")
        self._head = b"".join(lines)
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

    def pause_reading(self) -> None:
        """Stop reading the socket; the peer's window closes. A close by the peer is then not noticed either."""
        if not self._reading_paused and self._lost is None:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._reading_paused:
            self._reading_paused = False
            if self._lost is None and not self._transport.is_closing():
                self._transport.resume_reading()

    def abort(self) -> None:
        """Close now; the listener hears nothing more. This is how upstream is told to stop."""
        self._listener = None
        self._close()

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER)

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self._heard_at = self._now()
        if self._tls is not None:
            self._ciphertext_received(data)
        else:
            self._plaintext_received(data)

    def _plaintext_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            # Nobody asked: an idle connection that speaks (a 408, say) is about to be closed by its peer.
            self._break(Side.PROVIDER, Mechanism.MALFORMED, "bytes came on an idle connection")
            return
        problem: Exception | None = None
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            problem = error
        if self._flowing and problem is None:
            pieces = self._pieces
            if pieces:
                body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
                self._dry = 0
                self._listener.body_arrived(body)  # type: ignore[union-attr]
                return
        self._digest(len(data), problem)

    def _ciphertext_received(self, data: bytes) -> None:
        tls = self._tls
        assert tls is not None
        plaintext = tls.decrypt(data)
        if tls.closed_by_peer or tls.problem is not None:
            self._peer_closed = True  # before the answer's end is told: this connection is not for the pool
        if plaintext:
            self._plaintext_received(plaintext)
        if self._lost is None and (reply := tls.outgoing()):
            self._transport.write(reply)  # a key update, say
        if tls.problem is not None:
            self._tls_broke(tls.problem)
        elif tls.closed_by_peer:
            self.eof_received()

    def eof_received(self) -> bool:
        """The peer closed its half. True keeps ours open to see whether a RST follows."""
        if self._hold is not None:
            return True
        self._peer_closed = True
        if self._listener is None:
            self._lose(None)
            return False
        # Without TLS's own goodbye anybody could have cut the answer here, so it is no proper end.
        if self._flowing and self._needs_eof and (self._tls is None or self._tls.closed_by_peer):
            self._finish()
            return False
        if self.reused and not self._status and not self._dry:
            # The upstream had closed it while it was idle: the commonest case, and a retry should not wait.
            self._break_after_close()
            return False
        self._hold = self._loop.call_later(RESET_HOLD_S, self._break_after_close)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._gone = True
        if self._listener is not None and isinstance(error, OSError):
            self._read_what_the_kernel_still_has()
        self._lose(error)

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._listener is not None:
            self._listener.request_paused()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._listener is not None:
            self._listener.request_resumed()

    # The parser's side. `on_body` is `self._pieces.append`.

    def on_message_begin(self) -> None:
        if self._complete:
            raise _BeyondEndError

    def on_status(self, reason: bytes) -> None:
        self._reason += reason  # in pieces, where a read ends inside it

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_done:  # what comes later is a trailer; none of them matters to a relay
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._interim = True
            self._headers, self._reason = [], b""
            return
        self._status = status
        self._head_done = True
        self._needs_eof = _ends_by_close(self._headers)
        if self._is_head:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        self._flowing = False
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()

    # What follows from it.

    def _digest(self, size: int, problem: Exception | None) -> None:
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
        if self._pieces:
            body = b"".join(self._pieces)
            self._pieces.clear()
            self._dry = 0
            if self._is_head:
                self._keep_alive = False
            else:
                listener.body_arrived(body)
                if self._listener is not listener:
                    return
        else:
            self._dry += size
        if self._complete:
            self._keep_alive = self._keep_alive and problem is None
            self._finish()
        elif problem is not None:
            self._break(Side.PROVIDER, Mechanism.MALFORMED, in_one_line(problem))
        elif self._dry > HEAD_LIMIT:
            what = "chunk extensions or trailers" if self._head_done else "a response head"
            self._break(Side.PROVIDER, Mechanism.MALFORMED, f"{what} of more than {HEAD_LIMIT} bytes")

    def _finish(self) -> None:
        """The response ended properly: make the connection ready for the next exchange, or close it."""
        listener = self._listener
        assert listener is not None
        reusable = (
            self._keep_alive
            and self._request_done
            and not self._write_paused
            and not self._peer_closed
            and not self._gone
            and self._lost is None
            and self._on_idle is not None
        )
        self._listener = None
        self._forget()
        if reusable:
            self.resume_reading()
            self.reused = True
            self.idle_since = self._now()
            assert self._on_idle is not None
            self._on_idle(self)
        else:
            self._close()
        listener.response_ended()

    def _forget(self) -> None:
        """Back to the state between exchanges."""
        self._parser = None
        self._pieces.clear()
        self._headers = []
        self._reason = b""
        self._status = 0
        self._dry = 0
        self._head = b""
        self._chunked = False
        self._request_done = False
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

    def _write(self, *pieces: bytes) -> None:
        if self._lost is not None:
            return
        self.sent_bytes += sum(map(len, pieces))
        if self._tls is None:
            if len(pieces) == 1:
                self._transport.write(pieces[0])
            else:
                self._transport.writelines(pieces)
            return
        try:
            for piece in pieces:
                self._tls.encrypt(piece)
        except ssl.SSLError as error:
            # Told from the loop, not from within the caller's send_body.
            self._loop.call_soon(self._tls_broke, error)
            return
        self._transport.write(self._tls.outgoing())

    def _read_what_the_kernel_still_has(self) -> None:
        """A failed write closes the transport at once; an answer that came before it is still in the receive buffer."""
        listener = self._listener
        try:
            while self._listener is listener:
                data = self._sock.recv(65536)
                if not data:
                    return
                self.data_received(data)
        except OSError:
            return

    def _tell_it_was_lost(self, listener: ResponseListener) -> None:
        if self._listener is listener:
            self._listener = None
            ending = self._lost or self._ending(Side.PROVIDER, Mechanism.FIN, Phase.POOLED_IDLE, "", None)
            self._close()
            listener.connection_ended(ending)

    def _tls_broke(self, error: ssl.SSLError) -> None:
        _, advice = explain(
            error, self.address
        )  # its own words, and what to try: this is the only place to say it
        self._break(Side.PROVIDER, Mechanism.TLS, advice, error)

    def _break_after_close(self) -> None:
        """The hold after a FIN is over: did a RST follow?"""
        waiting = pending_error(self._sock)
        mechanism = Mechanism.FIN_THEN_RST if waiting in (errno.EPIPE, errno.ECONNRESET) else Mechanism.FIN
        self._break(Side.PROVIDER, mechanism, "", None, so_error=waiting)

    def _lose(self, error: Exception | None) -> None:
        """The socket is gone, or as good as gone."""
        if self._lost is not None:
            return
        side, mechanism = _cause(error, self._peer_closed)
        if mechanism is Mechanism.FIN and self._listener is not None:
            waiting = pending_error(self._sock)
            if waiting in (errno.EPIPE, errno.ECONNRESET):
                mechanism = Mechanism.FIN_THEN_RST
            self._break(side, mechanism, "", error, so_error=waiting)
        else:
            self._break(side, mechanism, in_one_line(error) if error else "", error)

    def _break(
        self,
        side: Side,
        mechanism: Mechanism,
        detail: str,
        error: Exception | None = None,
        so_error: int | None = None,
    ) -> None:
        if self._lost is not None:
            return
        listener, self._listener = self._listener, None
        phase = self._phase() if listener is not None else Phase.POOLED_IDLE
        ending = self._ending(side, mechanism, phase, detail, error, so_error)
        self._close()
        self._lost = ending
        if listener is not None:
            listener.connection_ended(ending)

    def _phase(self) -> Phase:
        if self._status:
            return Phase.IN_BODY
        if not self._request_done or self._write_paused:
            return Phase.SENDING
        return Phase.AWAITING_HEADERS

    def _ending(
        self,
        side: Side,
        mechanism: Mechanism,
        phase: Phase,
        detail: str,
        error: Exception | None,
        so_error: int | None = None,
    ) -> Ending:
        now = self._now()
        evidence: dict[str, Fact] = {
            "errno": error.errno
            if isinstance(error, OSError) and not isinstance(error, ssl.SSLError)
            else None,
            "so_error": so_error if so_error is not None else pending_error(self._sock),
            **tcp_facts(self._sock),
            "unacked_bytes": unacked_bytes(self._sock),
            "sent_bytes": self.sent_bytes,
            "received_bytes": self.received_bytes,
            "age_s": round(now - self._made_at, 3),
            "silence_s": round(now - self._heard_at, 3),
            "reused": self.reused,
            "peer_closed": self._peer_closed,
        }
        if self._tls is not None:
            evidence["close_notify"] = self._tls.closed_by_peer
        return Ending(side, mechanism, phase, detail, evidence)

    def _close(self) -> None:
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        self._parser = None
        if self._lost is None:
            self._lost = _CLOSED_HERE
        if self._transport is not None:
            self._transport.abort()


_TOLD: Headers = []
"Stands in the place of headers that the listener has been given."
_CLOSED_HERE = Ending(Side.GATEWAY, Mechanism.CANCELLED, Phase.AFTER_END, "closed by the gateway")


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


def _cause(error: Exception | None, peer_closed: bool) -> tuple[Side, Mechanism]:
    """Who and how, from the error that the event loop reports."""
    if error is None:
        return Side.PROVIDER, Mechanism.FIN
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED):
        return Side.PROVIDER, Mechanism.FIN_THEN_RST if peer_closed else Mechanism.RST
    if number == errno.ETIMEDOUT or isinstance(error, TimeoutError):
        return Side.PATH, Mechanism.KEEPALIVE_UNANSWERED
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN):
        return Side.PATH, Mechanism.UNREACHABLE
    return Side.MACHINE, Mechanism.LOCAL_ERROR
