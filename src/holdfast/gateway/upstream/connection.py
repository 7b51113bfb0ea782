"""A connection to the upstream: what HTTP/1.1 and HTTP/2 have in common. One exchange at a time.

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
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Final, Protocol

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.gateway.sockets import (
    Fact,
    SocketOptions,
    local_address,
    own_port,
    pending_error,
    probe_soon,
    restore,
    still_open,
    tcp_facts,
    unacked_bytes,
)
from holdfast.gateway.upstream.tls import TlsSession, alert, explain, in_one_line

HEAD_LIMIT: Final = 256 * 1024
"Bytes of a response head with all interim ones before it, or of trailers and chunk extensions between two body pieces."
RESET_HOLD_S: Final = 0.2
"How long a connection closed mid-exchange is watched for the RST that shows nobody listens (D.1: a few hundred ms)."
PROBED_S: Final = 10.0
"How long the fast probes of `probe_soon` go on; a dead path shows before."
WRITE_BUFFER: Final = 256 * 1024
"Bytes of request waiting for the socket before the client is asked to pause; one read of the client's."

Headers = list[tuple[bytes, bytes]]


class ResponseListener(Protocol):
    """Who hears the answer. No method may wait."""

    def response_started(self, status: int, reason: bytes, headers: Headers) -> None:
        """The final response's head arrived (interim 1xx are swallowed). Names as the upstream wrote them."""

    def body_arrived(self, data: bytes) -> None:
        """All body bytes of one socket read, framing taken off. Never empty."""

    def response_ended(self) -> None:
        """The HTTP message ended properly: length reached, last chunk or frame, or a legal end by close."""

    def connection_ended(self, ending: Ending) -> None:
        """It broke before `response_ended`; the connection is closed."""

    def request_paused(self) -> None:
        """Our write buffer is full: stop reading the client's body. May come from within `send_body`."""

    def request_resumed(self) -> None:
        """There is room again. Not called any more once the response has ended."""


class UpstreamConnection(asyncio.Protocol):
    """A connection to the upstream, used for one exchange after the other."""

    __slots__ = (
        "_closed_at",
        "_gone",
        "_heard_at",
        "_hold",
        "_listener",
        "_loop",
        "_lost",
        "_made_at",
        "_now",
        "_on_idle",
        "_peer_closed",
        "_probing",
        "_reading_paused",
        "_request_done",
        "_sock",
        "_status",
        "_tls",
        "_transport",
        "_write_paused",
        "address",
        "exchanges",
        "idle_since",
        "local_address",
        "own_port",
        "received_bytes",
        "reused",
        "sent_bytes",
        "tls",
        "took_s",
    )

    http = ""
    "HTTP's version, `1.1` or `2`."

    def __init__(
        self,
        sock: socket.socket,
        *,
        address: str,
        took_s: float = 0.0,
        tls: TlsSession | None = None,
        on_idle: Callable[[UpstreamConnection], None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sock` is connected (and through its TLS handshake, if any); the transport over it comes by `connection_made`."""
        self.address = address
        "Where the TCP connection goes, `ip:port`: the proxy's address if there is one."
        self.took_s = took_s
        "Seconds for DNS, TCP, proxy and TLS together."
        self.reused = False
        "Whether it already carried an exchange."
        self.local_address: str | None = None
        "What address of this machine it goes out from; known once `evidence` was asked."
        self.own_port = own_port(sock)
        "And from which of its ports."
        self.exchanges = 0
        "How many it was taken for."
        self.tls = tls.version if tls else None
        "`TLSv1.3`, or None where the connection is plain."
        self.sent_bytes = 0
        "HTTP bytes given to the socket, over the connection's life."
        self.received_bytes = 0
        "Bytes read from the socket, over the connection's life."
        self._sock = sock
        self._tls = tls
        self._on_idle = on_idle
        self._now = now
        self._made_at = self._heard_at = self.idle_since = now()
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._hold: asyncio.TimerHandle | None = None
        self._probing: asyncio.TimerHandle | None = None
        self._lost: Ending | None = None
        self._peer_closed = False
        self._closed_at: float | None = None
        self._write_paused = False
        self._reading_paused = False
        self._gone = False
        self._status = 0
        self._request_done = False
        self._listener: ResponseListener | None = None

    def __repr__(self) -> str:
        if self._lost is not None:
            state = "closed"
        elif self._listener is None:
            state = "idle"
        else:
            state = self._phase().value
        secure = f" {self.tls}" if self.tls else ""
        return f"<{type(self).__name__} {self.address}{secure} {state}, {self.received_bytes} bytes heard>"

    # The caller's side.

    @property
    def alive(self) -> bool:
        """Whether, as far as we know, a new exchange can be started on it."""
        return self._lost is None and not self._peer_closed and self._listener is None

    @property
    def response_read(self) -> bool:
        """Whether the response's end has been read: its listener hears of it as soon as it has taken the rest."""
        return False

    def shows_no_close(self) -> bool:
        """Whether it is alive as far as the kernel knows, too: a close may have arrived that was not read yet."""
        return self.alive and still_open(self._sock)

    def probe_soon(self) -> None:
        """Let the kernel find out within seconds whether the path still lives; a dead one ends as `dark`."""
        if self._lost is None and self._probing is None:
            before = probe_soon(self._sock)
            self._probing = self._loop.call_later(PROBED_S, self._probed, before)

    def _probed(self, before: SocketOptions) -> None:
        self._probing = None
        if self._lost is None:
            restore(self._sock, before)

    @abstractmethod
    def start(self, listener: ResponseListener, method: bytes, target: bytes, lines: bytes) -> None:
        """Begin an exchange. `lines` are its headers, rendered: host, and last what says how long the body is, if any.

        Names and values come from a parser that refuses control characters.
        The head leaves with the first piece of body, or at the end of this turn of the loop.
        A connection that died meanwhile says so through `connection_ended`, never by raising.
        """

    @abstractmethod
    def send_body(self, data: bytes) -> None:
        """Send a piece of the request's body. Ignored when the exchange is already over."""

    @abstractmethod
    def end_body(self) -> None:
        """The request is whole. Call it also when there is no body."""

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
        self._closed_at = self._now()
        if self._listener is None:
            self._lose(None)
            return False
        if self._ended_by_close():
            return False
        if self.reused and self._nothing_heard():
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

    # What a version of HTTP makes of it.

    @abstractmethod
    def _plaintext_received(self, data: bytes) -> None:
        """HTTP's bytes of one socket read."""

    def _ended_by_close(self) -> bool:
        """Whether the close was the answer's legal end; then the exchange was finished here."""
        return False

    @abstractmethod
    def _nothing_heard(self) -> bool:
        """Whether no byte of an answer to the exchange under way has come."""

    def _torn(self) -> bool:
        """Whether the peer's close came in the midst of a piece of the body, not between two."""
        return False

    def _more_evidence(self) -> dict[str, Fact]:
        """What else is known when it ends."""
        return {}

    def _hang_up(self) -> None:
        """Close the transport."""
        self._transport.abort()

    # What follows from it.

    def _begin(self, listener: ResponseListener) -> bool:
        """Take a listener; False where the connection has died meanwhile, which the listener is going to hear."""
        if self._listener is not None:
            raise RuntimeError(f"{self!r} already carries an exchange; take another connection")
        self._listener = listener
        self.exchanges += 1
        self._heard_at = self._now()
        if self._lost is None and not self._peer_closed:
            return True
        self._loop.call_soon(self._tell_it_was_lost, listener)
        return False

    def _finish(self, reusable: bool) -> None:
        """The response ended properly: make the connection ready for the next exchange, or close it."""
        listener = self._listener
        assert listener is not None
        reusable = (
            reusable
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
        listener.response_ended()
        if not reusable:  # now: whoever finds the answer wanting can still ask the socket
            self._close()

    def _forget(self) -> None:
        """Back to the state between exchanges."""
        self._status = 0
        self._request_done = False

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
        # Its own words, and what to try: this is the only place to say it.
        _, advice = explain(error, self.address)
        name = alert(error)
        if name is not None:
            self._break(Side.PROVIDER, Mechanism.TLS_ALERT, f"TLS alert {name}: {advice}", error)
        else:
            self._break(Side.PATH, Mechanism.TLS_BROKEN, advice, error)

    def _break_after_close(self) -> None:
        """The hold after a FIN is over: did a RST follow?"""
        waiting = pending_error(self._sock)
        mechanism, detail = self._closed_by(waiting)
        self._break(Side.PROVIDER, mechanism, detail, None, so_error=waiting)

    def _closed_by(self, waiting: int | None) -> tuple[Mechanism, str]:
        """What a close in order comes to, and what was said of it before.

        `waiting` is the socket's error, taken when it was held for a while.
        """
        if waiting in (errno.EPIPE, errno.ECONNRESET):
            return Mechanism.FIN_THEN_RST, ""
        return Mechanism.TORN if self._listener is not None and self._torn() else Mechanism.FIN, ""

    def _lose(self, error: Exception | None) -> None:
        """The socket is gone, or as good as gone."""
        if self._lost is not None:
            return
        side, mechanism = cause(error, self._peer_closed, unacked=unacked_bytes(self._sock))
        if mechanism is Mechanism.FIN and self._listener is not None:
            waiting = pending_error(self._sock)
            mechanism, detail = self._closed_by(waiting)
            self._break(side, mechanism, detail, error, so_error=waiting)
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
        tls_error = isinstance(error, ssl.SSLError)
        evidence = self.evidence(so_error)
        evidence["errno"] = error.errno if isinstance(error, OSError) and not tls_error else None
        if isinstance(error, ssl.SSLError):
            evidence["tls_alert"] = alert(error)
        return Ending(side, mechanism, phase, detail, evidence)

    def evidence(self, so_error: int | None = None) -> dict[str, Fact]:
        """What can be told of the connection now; call it before it is closed. Costs some system calls.

        `so_error` is what was read of the socket's error already: reading it clears it.
        """
        now = self._now()
        self.local_address = local_address(self._sock)
        evidence: dict[str, Fact] = {
            "errno": None,
            "so_error": so_error if so_error is not None else pending_error(self._sock),
            **tcp_facts(self._sock),
            "unacked_bytes": unacked_bytes(self._sock),
            "address": self.address,
            "family": "6" if self.address.startswith("[") else "4",
            "http": self.http,
            "tls": self.tls,
            "sent_bytes": self.sent_bytes,
            "received_bytes": self.received_bytes,
            "age_s": round(now - self._made_at, 3),
            "silence_s": round(now - self._heard_at, 3),
            "reused": self.exchanges > 1,
            "exchanges": self.exchanges,
            "peer_closed": self._peer_closed,
            **self._more_evidence(),
        }
        if self._tls is not None:
            evidence["close_notify"] = self._tls.closed_by_peer
        if self._closed_at is not None:
            evidence["half_closed_ms"] = round((now - self._closed_at) * 1000, 1)
        return evidence

    def _close(self) -> None:
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        if self._probing is not None:
            self._probing.cancel()
            self._probing = None
        if self._transport is not None:
            self._hang_up()
        if self._lost is None:
            self._lost = _CLOSED_HERE


_CLOSED_HERE: Final = Ending(Side.GATEWAY, Mechanism.CANCELLED, Phase.AFTER_END, "closed by the gateway")


def cause(
    error: Exception | None, peer_closed: bool, *, unacked: int | None = None
) -> tuple[Side, Mechanism]:
    """Who and how, from the error that the event loop reports.

    `unacked` counts our bytes that the peer never acknowledged: TCP's two ways to run out of time say ETIMEDOUT alike,
    and probes are sent only where there are none. None is not measured, and passes for none.
    """
    if error is None:
        return Side.PROVIDER, Mechanism.FIN
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ECONNABORTED:
        return Side.MACHINE, Mechanism.ABORTED
    if number in (errno.ECONNRESET, errno.EPIPE):
        return Side.PROVIDER, Mechanism.FIN_THEN_RST if peer_closed else Mechanism.RST
    if number == errno.ETIMEDOUT or isinstance(error, TimeoutError):
        return Side.PATH, Mechanism.UNACKNOWLEDGED if unacked else Mechanism.KEEPALIVE_UNANSWERED
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN):
        return Side.PATH, Mechanism.UNREACHABLE
    return Side.MACHINE, Mechanism.LOCAL_ERROR


def at_hand(attempt: int, connection: UpstreamConnection) -> m.Connected:
    """The moment in which an attempt has its connection."""
    return m.Connected(
        attempt,
        connection.address,
        connection.took_s,
        connection.reused,
        connection.tls,
        connection.http,
        connection.own_port,
    )
