"""The other end of an HTTP/2 story: a server's side of one connection, scripted step by step."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, WindowUpdated
from h2.settings import SettingCodes

from holdfast.gateway.upstream.connection import Headers
from tests.gateway.upstream.stage import Script, over_tls

Heard = TypeVar("Heard", bound=Event)
OK: Headers = [(b":status", b"200"), (b"content-type", b"text/event-stream")]


class Peer:
    """A server's end. What it reads it acknowledges, unless `greedy` is false."""

    def __init__(self, sock: socket.socket, *, settings: dict[int, int] | None = None) -> None:
        self.sock = sock
        self.h2 = H2Connection(H2Configuration(client_side=False, validate_outbound_headers=False))
        self.events: list[Event] = []
        self.body = b""
        self.greedy = True
        self.answered: list[int] = []
        "The streams of the requests that `answer` took; written before the client can have heard a word."
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings({SettingCodes(code): value for code, value in settings.items()})
        self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def raw(self, data: bytes) -> None:
        """Bytes as they are, behind what the library has to say."""
        self.flush()
        self.sock.sendall(data)

    def hear(self) -> bool:
        """Read once; False when the client has closed."""
        data = self.sock.recv(65536)
        for event in self.h2.receive_data(data) if data else ():
            self.events.append(event)
            if isinstance(event, DataReceived):
                self.body += event.data or b""
                if self.greedy:
                    self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        self.flush()
        return bool(data)

    def until(self, kind: type[Heard]) -> Heard:
        """Read until such an event comes; it and those before it are taken off the list."""
        while True:
            for number, event in enumerate(self.events):
                if isinstance(event, kind):
                    del self.events[: number + 1]
                    return event
            if not self.hear():
                raise ConnectionError(f"the client closed before {kind.__name__}")

    def request(self) -> RequestReceived:
        """Read a whole request; its body is in `body`."""
        self.body = b""
        asked = self.until(RequestReceived)
        if asked.stream_ended is None:
            self.until(StreamEnded)
        return asked

    def head(self, stream: int = 1, headers: Headers = OK, *, end: bool = False) -> None:
        self.h2.send_headers(stream, headers, end_stream=end)
        self.flush()

    def data(self, data: bytes, stream: int = 1, *, end: bool = False) -> None:
        """DATA frames as the client's windows allow."""
        view = memoryview(data)
        while len(view) > (size := self.room(stream)):
            self.h2.send_data(stream, view[:size])
            view = view[size:]
            self.flush()
        self.h2.send_data(stream, view, end_stream=end)
        self.flush()

    def room(self, stream: int) -> int:
        """What may be sent in one frame; waits until there is some."""
        while not (room := min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)):
            self.until(WindowUpdated)
        return room

    def answer(self, body: bytes, headers: Headers = OK) -> RequestReceived:
        """Take one request and answer it."""
        asked = self.request()
        assert asked.stream_id is not None
        self.answered.append(asked.stream_id)
        self.head(asked.stream_id, headers)
        self.data(body, asked.stream_id, end=True)
        return asked

    def reset(self, code: int, stream: int = 1) -> None:
        self.h2.reset_stream(stream, code)
        self.flush()

    def go_away(self, last: int, code: int = 0, debug: bytes = b"") -> None:
        """A GOAWAY; unlike the library's own it does not end this side's work."""
        self.raw(frame(7, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + debug))

    def until_closed(self) -> None:
        """Read to the client's close, by FIN or RST."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while self.hear():
                pass


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame's bytes (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def speaking(script: Callable[[Peer], Any], **settings: Any) -> Script:
    """A connection in HTTP/2 by prior knowledge."""

    def play(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(sock, **settings)
        script(peer)

    return play


def speaking_tls(
    context: ssl.SSLContext, script: Callable[[Peer], Any], chosen: list[str | None] | None = None
) -> Script:
    """The same inside TLS; what ALPN chose is put into `chosen`."""

    def play(sock: ssl.SSLSocket) -> None:
        if chosen is not None:
            chosen.append(sock.selected_alpn_protocol())
        script(Peer(sock))

    return over_tls(context, play)
