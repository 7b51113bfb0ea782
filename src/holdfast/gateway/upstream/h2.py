"""One HTTP/2 connection to the upstream, one stream at a time.

The h2 library keeps the protocol's books; here its events become the listener's calls, and the listener's
calls its frames. What one read of the socket held is digested first and told then: head, body, and how it
ended, so that a break never takes back what came before it in the same read. Nothing of an answer is kept.

One stream at a time gives away HTTP/2's multiplexing on purpose: what happens to a connection happens to
one turn only, and one turn's evidence is all that a connection has to say.

Differences to HTTP/1.1 that matter here:

* An answer ends by END_STREAM, never by the connection's close. RST_STREAM ends the stream alone; we close
  the connection with it, since another try should change something.
* GOAWAY is the peer's orderly close. The stream under way goes on to its end if the GOAWAY covers it;
  otherwise it was not processed, and asking again costs nothing (`not_processed` in the ending's evidence).
* The receive windows are as wide as the protocol allows: what a slow reader does not take waits in the stream
  log, and must never reach back to the provider.
* A silent peer is asked for a sign of life by PING, by the same rhythm as TCP's keepalive.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, PingAckReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import H2Error, TooManyStreamsError
from h2.settings import SettingCodes, Settings
from hpack.struct import HeaderTuple, NeverIndexedHeaderTuple

from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.flight.redact import safe
from holdfast.gateway.fields import parsed
from holdfast.gateway.settings import Keepalive
from holdfast.gateway.sockets import Fact, unacked_bytes
from holdfast.gateway.upstream.connection import WRITE_BUFFER, Headers, ResponseListener, UpstreamConnection
from holdfast.gateway.upstream.frames import FrameError, Frames, GoAway
from holdfast.gateway.upstream.keepalive import Look, ProofOfLife
from holdfast.gateway.upstream.tls import TlsSession, printable

WIDEST: Final = 2**31 - 1
"Bytes: the widest receive window there is (RFC 9113, 6.9.1)."
HEADER_LIST: Final = 64 * 1024
"Bytes of a response's headers, decompressed."
WRITE_SIZE: Final = 64 * 1024
"Bytes of DATA that are given to the socket at once."
GOODBYE_ROOM: Final = 4096
"With more than this waiting for the socket, a last word would only delay the close."
ADVICE: Final = "leave --http2 out to ask over HTTP/1.1"

_LEFT_OUT: Final = frozenset(
    {b"host", b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te"}
)
"What HTTP/2 has no place for (RFC 9113, 8.2.2); the host goes into `:authority`."
_SECRET: Final = frozenset({b"authorization", b"proxy-authorization", b"x-api-key", b"cookie"})
"Kept out of the compression's memory (RFC 7541, 7.1.3)."
_BODILESS: Final = (204, 304)
_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
_QUOTED: Final = re.compile(r"""[\s:]*b?['"].*""", re.DOTALL)


class Http2Connection(UpstreamConnection):
    """An HTTP/2 connection to the upstream."""

    __slots__ = (
        "_bodiless",
        "_complete",
        "_fields",
        "_frames",
        "_full",
        "_go_away",
        "_h2",
        "_heard_before",
        "_life",
        "_on_http1",
        "_pieces",
        "_ping_ms",
        "_pinged_at",
        "_refused",
        "_reset",
        "_response",
        "_scheme",
        "_sent_all",
        "_spoke_at",
        "_stream",
        "_timer",
        "_waiting",
        "_waiting_bytes",
    )

    http = "2"

    _fields: list[HeaderTuple] | None
    "The request's head, while it waits to be sent."
    _stream: int
    "0 while there is none."
    _response: tuple[int, Headers] | None
    "Status and headers that the listener has not been told."
    _reset: StreamReset | None
    _complete: bool
    "Whether the answer's end has come."
    _bodiless: bool
    _refused: bool
    "Whether the peer took no stream."
    _sent_all: bool
    "Whether END_STREAM went out."
    _full: bool
    "Whether the client's body was asked to pause."
    _waiting_bytes: int
    _heard_before: int
    "`received_bytes` when the exchange began."
    _spoke_at: float
    "When the stream itself was last heard; a PING's answer is no word of the application."

    def __init__(
        self,
        sock: socket.socket,
        *,
        address: str,
        took_s: float = 0.0,
        tls: TlsSession | None = None,
        on_idle: Callable[[UpstreamConnection], None] | None = None,
        on_http1: Callable[[], None] | None = None,
        keepalive: Keepalive | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """As for every connection. `on_http1` is called when the peer wants HTTP/1.1; `keepalive` is the PINGs' rhythm."""
        super().__init__(sock, address=address, took_s=took_s, tls=tls, on_idle=on_idle, now=now)
        self._on_http1 = on_http1
        self._scheme = b"https" if tls else b"http"
        self._h2 = H2Connection(H2Configuration(client_side=True))
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: WIDEST,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_LIST,
            },
        )
        self._h2.decoder.max_header_list_size = HEADER_LIST
        self._frames = Frames()
        self._life = ProofOfLife(keepalive) if keepalive is not None else None
        self._timer: asyncio.TimerHandle | None = None
        self._pinged_at = 0.0
        self._ping_ms: float | None = None
        self._go_away: GoAway | None = None
        self._pieces: list[bytes] = []
        self._waiting: deque[memoryview] = deque()
        self._forget()

    # The caller's side.

    @property
    def alive(self) -> bool:
        """Whether, as far as we know, a new exchange can be started on it."""
        return super().alive and self._go_away is None

    def start(self, listener: ResponseListener, method: bytes, target: bytes, lines: bytes) -> None:
        """As for every connection. Where the peer takes no stream, `connection_ended` says so."""
        if not self._begin(listener):
            return
        self._bodiless = method == b"HEAD"
        self._spoke_at, self._heard_before = self._heard_at, self.received_bytes
        self._fields = request_fields(method, self._scheme, target, parsed(lines))
        self._loop.call_soon(self._send_waiting_head, listener)
        self._look_again()

    def send_body(self, data: bytes) -> None:
        """Send a piece of the request's body as the peer's windows allow; it is not copied before that."""
        if self._listener is None or self._request_done or not data:
            return
        self._waiting.append(memoryview(data))
        self._waiting_bytes += len(data)
        self._pump()
        self._tell_room()

    def end_body(self) -> None:
        """The request is whole. Call it also when there is no body."""
        if self._listener is None or self._request_done:
            return
        self._request_done = True
        self._pump()

    # Proof of life.

    def prove_life(self) -> None:
        """Ask a silent peer for a sign of life, or give it up. While an exchange is under way this comes by itself."""
        life, now = self._life, self._now()
        if self._listener is None or life is None:
            return
        if self._reading_paused or self._sending(life):
            # Nothing can be heard, or TCP itself watches what we sent (its user timeout).
            self._heard_at = now
        look = life.look(now, self._heard_at)
        if look is Look.GONE:
            lost = f"{life.unanswered} HTTP/2 PINGs went unanswered"
            self._break(Side.PATH, Mechanism.KEEPALIVE_UNANSWERED, lost)
            return
        if look is Look.ASK:
            self._pinged_at = now
            self._h2.ping(life.asked.to_bytes(8, "big"))
            self._flush()
        self._look_again()

    def _look_again(self) -> None:
        self._stop_looking()
        if self._life is None:
            return
        left_s = self._life.due_at(self._heard_at) - self._now()
        self._timer = self._loop.call_later(max(left_s, 0.0), self.prove_life)

    def _sending(self, life: ProofOfLife) -> bool:
        """Whether some of the request has not reached the peer's TCP."""
        if life.unanswered:
            return False  # what is not acknowledged are our questions
        return bool(self._waiting) or self._write_paused or bool(unacked_bytes(self._sock))

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WIDEST - self._h2.inbound_flow_control_window)
        self._flush()

    def pause_writing(self) -> None:
        self._write_paused = True
        self._tell_room()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._pump()
        self._tell_room()

    def _plaintext_received(self, data: bytes) -> None:
        problem = ""
        try:
            for frame in self._frames.cut(data):
                if isinstance(frame, GoAway):
                    self._go_away = frame
                    continue
                for event in self._h2.receive_data(frame):
                    self._note(event)
        except FrameError as error:
            problem = str(error)
            self._h2.close_connection(error.code)
        except H2Error as error:
            problem = what_was_wrong(error)
        if problem or self._complete or self._reset is not None:
            self._flush()  # and nothing more of the request
        else:
            self._pump()
            self._tell_room()
        self._tell(problem)

    # What came.

    def _note(self, event: Event) -> None:
        """Take in what one frame said, for `_tell`."""
        match event:
            case DataReceived(stream_id=stream, data=data, flow_controlled_length=length):
                if length:
                    self._h2.acknowledge_received_data(length, stream or 0)
                if stream == self._stream:
                    self._spoke_at = self._heard_at
                    if data:
                        self._pieces.append(data)
            case ResponseReceived(stream_id=self._stream, headers=headers):
                self._spoke_at = self._heard_at
                self._response = response_fields(headers or [])
            case StreamEnded(stream_id=self._stream):
                self._complete = True
            case StreamReset(stream_id=self._stream):
                self._reset = event
            case PingAckReceived() if self._pinged_at:
                self._ping_ms = round((self._heard_at - self._pinged_at) * 1000, 1)
            case _:
                pass

    def _tell(self, problem: str) -> None:
        """Tell the listener what one read brought, in the order in which it happened."""
        listener = self._listener
        if listener is None:
            self._pieces.clear()
            if problem or self._go_away is not None:
                self._give_up(problem)
            return
        if self._response is not None:
            (self._status, headers), self._response = self._response, None
            self._bodiless = self._bodiless or self._status in _BODILESS
            listener.response_started(self._status, _REASONS.get(self._status, b""), headers)
            if self._listener is not listener:
                return
        if self._pieces:
            body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            if not self._bodiless:
                listener.body_arrived(body)
                if self._listener is not listener:
                    return
        if self._complete:
            self._finish(self._sent_all and self._go_away is None and not problem)
        elif problem or self._reset is not None or self._not_covered():
            self._give_up(problem)

    def _not_covered(self) -> bool:
        """Whether the peer has said that it did nothing with our stream."""
        return self._go_away is not None and not 0 < self._stream <= self._go_away.last_stream

    def _give_up(self, problem: str) -> None:
        """End the connection by what the peer has said or done."""
        if self._on_http1 is not None and self._codes() & {ErrorCodes.HTTP_1_1_REQUIRED}:
            self._on_http1()
        if problem:
            self._break(Side.PROVIDER, Mechanism.MALFORMED, f"{problem}; {ADVICE}")
        elif self._reset is not None and self._reset.remote_reset:
            name = error_name(self._reset.error_code)
            self._break(Side.PROVIDER, Mechanism.STREAM_RESET, f"RST_STREAM {name}")
        elif self._reset is not None:
            self._break(Side.PROVIDER, Mechanism.MALFORMED, f"a window beyond its limit; {ADVICE}")
        elif self._go_away is not None:
            self._break(Side.PROVIDER, Mechanism.GOAWAY, self._farewell(self._go_away))

    def _farewell(self, said: GoAway) -> str:
        name, debug = error_name(said.code), debug_text(said.debug)
        return f"GOAWAY {name}" + (f": {debug}" if debug else "")

    def _closed_by(self, waiting: int | None) -> tuple[Mechanism, str]:
        # Who said goodbye and then closes does what was said, though it had promised to finish our stream.
        mechanism, detail = super()._closed_by(waiting)
        if mechanism is Mechanism.FIN and self._go_away is not None:
            return Mechanism.GOAWAY, self._farewell(self._go_away)
        return mechanism, detail

    def _codes(self) -> set[int | None]:
        return {
            self._reset.error_code if self._reset else None,
            self._go_away.code if self._go_away else None,
        }

    def _nothing_heard(self) -> bool:
        return self.received_bytes == self._heard_before

    def _phase(self) -> Phase:
        if self._status:
            return Phase.IN_BODY
        return Phase.AWAITING_HEADERS if self._sent_all and not self._write_paused else Phase.SENDING

    def _more_evidence(self) -> dict[str, Fact]:
        refused = self._refused or (
            self._reset is not None and self._reset.error_code == ErrorCodes.REFUSED_STREAM
        )
        found: dict[str, Fact] = {
            "silence_s": round(self._now() - self._spoke_at, 3),
            "not_processed": True if refused or self._not_covered() else None,
            "pings": self._life.asked if self._life else None,
            "pings_unanswered": self._life.unanswered if self._life else None,
            "ping_ms": self._ping_ms,
        }
        if self._reset is not None:
            found["stream_error"] = error_name(self._reset.error_code)
        if self._go_away is not None:
            found["goaway"] = error_name(self._go_away.code)
            found["goaway_last_stream"] = self._go_away.last_stream
            found["goaway_debug"] = debug_text(self._go_away.debug) or None
        return found

    # What goes out.

    def _send_waiting_head(self, listener: ResponseListener) -> None:
        if self._listener is listener:
            self._pump()

    def _pump(self) -> None:
        """Send what the peer's windows and the socket's buffer have room for."""
        if self._fields is not None:
            self._open_stream(self._fields)
        if not self._stream:
            self._flush()  # in the pool: what the peer asked is answered all the same, its PING above all
            return
        h2, stream, taken = self._h2, self._stream, 0
        while self._waiting and not self._write_paused and self._lost is None:
            room = min(h2.local_flow_control_window(stream), h2.max_outbound_frame_size, WRITE_SIZE)
            if room <= 0:
                break
            piece = self._waiting[0]
            if len(piece) > room:
                piece, self._waiting[0] = piece[:room], piece[room:]
            else:
                self._waiting.popleft()
            self._waiting_bytes -= len(piece)
            self._sent_all = self._request_done and not self._waiting
            h2.send_data(stream, piece, end_stream=self._sent_all)
            self._frames.moved()
            taken += len(piece)
            if taken >= WRITE_SIZE:
                taken = 0
                self._flush()
        if self._request_done and not self._waiting and not self._sent_all and self._lost is None:
            self._sent_all = True
            h2.end_stream(stream)
        self._flush()

    def _open_stream(self, fields: list[HeaderTuple]) -> None:
        """Send the request's head. Where that cannot be, the listener is going to hear it."""
        self._fields = None
        stream = self._h2.get_next_available_stream_id()
        self._sent_all = self._request_done and not self._waiting
        try:
            self._h2.send_headers(stream, fields, end_stream=self._sent_all)
        except H2Error as error:
            self._sent_all, self._refused = False, isinstance(error, TooManyStreamsError)
            assert self._listener is not None
            self._loop.call_soon(self._say_unsent, self._listener, what_was_wrong(error))
        else:
            self._stream = stream

    def _say_unsent(self, listener: ResponseListener, why: str) -> None:
        if self._listener is not listener:
            return
        if self._refused:
            self._break(Side.PROVIDER, Mechanism.REFUSED, f"the connection takes no stream: {why}")
        else:
            self._break(Side.GATEWAY, Mechanism.LOCAL_ERROR, f"no HTTP/2 request: {why}; {ADVICE}")

    def _tell_room(self) -> None:
        """Let the client's body pause or go on."""
        if self._listener is None:
            return
        full = self._write_paused or self._waiting_bytes > WRITE_BUFFER // (4 if self._full else 1)
        if full is not self._full:
            self._full = full
            (self._listener.request_paused if full else self._listener.request_resumed)()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._gone:
            self._write(data)

    # Endings.

    def _hang_up(self) -> None:
        """Say goodbye where that can be done at once, and close."""
        transport = self._transport
        deaf = self._gone or self._peer_closed or self._write_paused or self._lost is not None
        if deaf or transport.get_write_buffer_size() > GOODBYE_ROOM:
            transport.abort()
            return
        with contextlib.suppress(H2Error):  # the stream or the connection may be over for the library
            if self._stream:
                self._h2.reset_stream(self._stream, ErrorCodes.CANCEL)
        with contextlib.suppress(H2Error):
            self._h2.close_connection()
        self._flush()
        transport.close()

    def _close(self) -> None:
        super()._close()
        self._stop_looking()
        self._waiting.clear()

    def _stop_looking(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _forget(self) -> None:
        super()._forget()
        self._stop_looking()
        self._fields = None
        self._stream = 0
        self._response = None
        self._reset = None
        self._complete = False
        self._bodiless = False
        self._refused = False
        self._sent_all = False
        self._full = False
        self._waiting.clear()
        self._waiting_bytes = 0
        self._heard_before = self.received_bytes
        self._spoke_at = self._heard_at


def request_fields(method: bytes, scheme: bytes, target: bytes, headers: Headers) -> list[HeaderTuple]:
    """An HTTP/1.1 request's head as HTTP/2 has it: pseudo-headers first, names in lower case, credentials marked."""
    host = next((value for name, value in headers if name.lower() == b"host"), b"")
    fields = [
        HeaderTuple(b":method", method),
        HeaderTuple(b":scheme", scheme),
        HeaderTuple(b":authority", host),
        HeaderTuple(b":path", target),
    ]
    for name, value in headers:
        name = name.lower()
        if name not in _LEFT_OUT:
            kind = NeverIndexedHeaderTuple if name in _SECRET else HeaderTuple
            fields.append(kind(name, value))
    return fields


def response_fields(fields: Iterable[tuple[bytes, bytes]]) -> tuple[int, Headers]:
    """Status and headers of a response. Raises `FrameError` for a status that is none."""
    headers = [(bytes(name), bytes(value)) for name, value in fields]
    status = next((value for name, value in headers if name == b":status"), b"")
    if len(status) != 3 or not status.isdigit():
        raise FrameError("a status that is no number", ErrorCodes.PROTOCOL_ERROR)
    return int(status), [pair for pair in headers if not pair[0].startswith(b":")]


def error_name(code: int | None) -> str:
    """`REFUSED_STREAM`; a code that the standard does not know as a number."""
    try:
        return ErrorCodes(code or 0).name
    except ValueError:
        return f"0x{code:x}"


def debug_text(debug: bytes) -> str:
    """GOAWAY's debug data in one printable line; proxies put their reasons there."""
    return safe(printable(debug[:1000].decode("utf-8", "replace")))


def what_was_wrong(error: H2Error) -> str:
    """The library's words, without what they quote: that may be a header's value."""
    said = _QUOTED.sub("", str(error)).rstrip(" .")
    return printable(said) or type(error).__name__
