"""The provider's HTTP/2 front: one connection, its answers played by the HTTP/1.1 one behind it.

To what plays the answers this is a transport: it takes HTTP/1.1's bytes and sends them on as frames. Streams
are answered one after the other. How a connection ends stays TCP's business, so every scenario means the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import httptools
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error

from holdfast.lab.script import Ends, GoAway, ResetStream

if TYPE_CHECKING:
    from holdfast.lab.provider import Wire

FULL = 256 * 1024
"Bytes that wait for the client's window before the answer pauses."


class Front(asyncio.Protocol):
    """One client connection. Where TLS's ALPN chose HTTP/1.1, it steps aside."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._h2 = H2Connection(H2Configuration(client_side=False))
        self._bodies: dict[int, tuple[RequestReceived, bytearray]] = {}
        "Requests that are not complete."
        self._asked: deque[tuple[int, bytes, bytes]] = deque()
        "Stream, method and HTTP/1.1's bytes of each whole request; the first one is being answered."
        self._waiting = bytearray()
        self._ended = False
        self._until_close = False
        self._paused = False

    # from the client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            cast(asyncio.Transport, transport).set_protocol(self._wire)
            self._wire.connection_made(transport)
            return
        self._real = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        self._expect_answer()
        self._wire.connection_made(cast(asyncio.BaseTransport, self))
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._heard(event)
        except H2Error:
            self._flush()
            self._wire.end_connection("provider fin")
            self._real.close()
            return
        self._pump()

    def eof_received(self) -> bool | None:
        return self._wire.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._wire.connection_lost(error)

    def pause_writing(self) -> None:
        self._wire.pause_writing()

    def resume_writing(self) -> None:
        self._wire.resume_writing()

    def _heard(self, event: Event) -> None:
        match event:
            case RequestReceived(stream_id=int(stream)):
                self._bodies[stream] = event, bytearray()
            case DataReceived(stream_id=int(stream), data=bytes(data), flow_controlled_length=int(length)):
                self._h2.acknowledge_received_data(length, stream)
                if stream in self._bodies:
                    self._bodies[stream][1].extend(data)
            case StreamEnded(stream_id=int(stream)) if stream in self._bodies:
                self._hand_on(stream, *self._bodies.pop(stream))
            case StreamReset() | ConnectionTerminated():
                self._wire.end_connection("client rst" if isinstance(event, StreamReset) else "client fin")
                self._real.close()
            case WindowUpdated():
                pass  # what waits is sent after every read

    def _hand_on(self, stream: int, asked: RequestReceived, body: bytearray) -> None:
        fields = {bytes(name): bytes(value) for name, value in asked.headers or []}
        method, target = fields.pop(b":method"), fields.pop(b":path")
        fields[b"host"] = fields.pop(b":authority", b"")
        fields[b"content-length"] = b"%d" % len(body)
        lines = [b"%b: %b\r\n" % pair for pair in fields.items() if not pair[0].startswith(b":")]
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, b"".join(lines))
        self._asked.append((stream, method, head + body))
        if len(self._asked) == 1:
            self._wire.data_received(head + body)

    # as a transport, from what plays the answer

    def write(self, data: bytes) -> None:
        """HTTP/1.1's bytes of an answer."""
        self._parser.feed_data(data)
        self._pump()

    def get_write_buffer_size(self) -> int:
        """What is not in the socket yet."""
        return len(self._waiting) + self._real.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The real transport's."""
        return self._real.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """The real transport's."""
        return self._real.is_closing()

    def close(self) -> None:
        """A FIN; the answer ends with it where HTTP/1.1 had no other end for it."""
        if self._until_close and self._asked:
            self.on_message_complete()
            self._pump()
        self._real.close()

    def abort(self) -> None:
        """The real transport's: a RST, where the socket is told to."""
        self._real.abort()

    def end_early(self, end: Ends) -> bool:
        """HTTP/2's own endings; True where it was one, or one of TLS's below."""
        stream = self._asked[0][0] if self._asked else 0
        if isinstance(end, ResetStream):
            self._h2.reset_stream(stream, error_code=end.code)
            self._flush()
            return True
        if isinstance(end, GoAway):
            last = stream if end.processed else max(0, stream - 2)
            self._h2.close_connection(end.code, additional_data=end.debug or None, last_stream_id=last)
            self._flush()
            self._real.close()
            return True
        below = getattr(self._real, "end_early", None)
        return below is not None and bool(below(end))

    # from the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._headers.clear()
            return
        names = {name for name, _ in self._headers}
        self._until_close = not names & {b"content-length", b"transfer-encoding"}
        kept = [pair for pair in self._headers if pair[0] not in (b"connection", b"transfer-encoding")]
        stream, method, _ = self._asked[0]
        self._h2.send_headers(stream, [(b":status", b"%d" % status), *kept])
        if method == b"HEAD":
            self._ended = True
            self._expect_answer()

    def on_body(self, data: bytes) -> None:
        self._waiting += data

    def on_message_complete(self) -> None:
        self._ended = True
        self._expect_answer()

    # what follows

    def _expect_answer(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._parser = httptools.HttpResponseParser(self)

    def _pump(self) -> None:
        """Send what the client's window has room for."""
        while self._asked and (self._waiting or self._ended):
            stream = self._asked[0][0]
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if self._waiting and room <= 0:
                break
            piece = bytes(self._waiting[:room])
            del self._waiting[:room]
            last = self._ended and not self._waiting
            self._h2.send_data(stream, piece, end_stream=last)
            if last:
                self._asked.popleft()
                self._ended = False
                if self._asked:
                    self._wire.data_received(self._asked[0][2])
        self._flush()
        full = len(self._waiting) > FULL
        if full is not self._paused:
            self._paused = full
            (self._wire.pause_writing if full else self._wire.resume_writing)()

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._real.write(data)
