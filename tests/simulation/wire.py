"""One TCP connection between a client and the gateway, as both ends' kernels see it.

The gateway's side is an asyncio transport and its socket in one; the client's side takes bytes and ends.
Latency, a full receive window, a path that goes dark and the acknowledgements that the gateway looks at
are here; HTTP is not.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from tests.simulation.loop import VirtualLoop

if TYPE_CHECKING:
    from holdfast.gateway.listener import ClientConnection

SEND_BUFFER = 512
"Bytes that the gateway's kernel takes off the transport."
HIGH, LOW = 512, 128
"The transport's own buffer: beyond the first the gateway is asked to pause, below the second to go on."
KEEPALIVE_S = 90.0
"A dark path without unacknowledged bytes: 30 s idle, then probes at 30, 45, 60 and 75 s; ETIMEDOUT at 90 s."
RETRANSMISSION_S = 924.0
"A dark path with unacknowledged bytes: Linux retransmits for about 15 minutes."


class Peer(Protocol):
    """The client's program on this connection. Told within the gateway's own steps: it may only take notes."""

    def heard(self, data: bytes) -> None: ...
    def ended(self, how: str) -> None:
        """The gateway closed: `fin` or `rst`. Told from the loop."""


class Wire(asyncio.Transport):
    """See the module. `latency_s` is one way; `window` is what the client's kernel holds unread."""

    def __init__(self, loop: VirtualLoop, *, latency_s: float = 0.0, window: int = 65536) -> None:
        self.loop = loop
        self.latency_s = latency_s
        self.window = window
        self.protocol: ClientConnection
        self.peer: Peer | None = None
        self.client_closed: str | None = None
        "How the client closed: `fin` or `rst`."
        self.client_reads = True
        self.gateway_gone = False
        "Whether the gateway's side was told that it is over."
        self.gateway_gone_at = 0.0
        self.closing = False
        self.reading = True
        self.dark_since: float | None = None
        self.written = self.sent = self.acked = 0
        self.last_sent_at = self.last_ack_at = loop.now
        self.fin_sent = False
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._flying = 0
        self._unread: list[bytes] = []
        self._arriving = 0
        self._paused_writing = False
        self._reset_on_close = False
        self._lost = False
        self._fin_told = False
        self._eof_waits: str | None = None
        self._probes_from = 0.0

    def connect(self, protocol: ClientConnection) -> None:
        """Both ends have each other."""
        self.protocol = protocol
        protocol.connection_made(self)

    # -- the gateway's side: a transport -------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "socket" else default

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return max(0, self._waiting_bytes - SEND_BUFFER)

    def write(self, data: Any) -> None:
        if self.closing or self.fin_sent:
            return
        self.written += len(data)
        if not self._waiting and self._room() >= len(data):
            self._send(bytes(data))
            return
        self._waiting.append(bytes(data))
        self._waiting_bytes += len(data)
        self._push()
        if not self._paused_writing and self.get_write_buffer_size() > HIGH:
            self._paused_writing = True
            self.protocol.pause_writing()

    def write_eof(self) -> None:
        self.fin_sent = True
        self._push()

    def close(self) -> None:
        if self.closing:
            return
        self.closing = True
        self._push()

    def abort(self) -> None:
        self.closing = True
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._lost:
            return
        self._lost = True
        how = "rst" if self._reset_on_close or self._unread else "fin"
        if self.dark_since is None:
            self.loop.call_later(self.latency_s, self._client_hears_end, how)
        self.loop.call_soon(self._connection_lost, None)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        waits, self._eof_waits = self._eof_waits, None
        if waits is not None:
            self.loop.call_soon(self._end_arrives, waits)

    # -- the gateway's side: a socket ----------------------------------------------------------------

    def fileno(self) -> int:
        return -1

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None:
        """Keepalive and the like; what they do is built in."""

    def set_reset_on_close(self) -> None:
        self._reset_on_close = True

    def unacked_bytes(self) -> int:
        """What the gateway's kernel has and the client's has not acknowledged; a FIN counts one."""
        fin = self.fin_sent and (
            self._waiting_bytes > 0 or self.sent > self.acked or self.dark_since is not None
        )
        return self.sent - self.acked + min(self._waiting_bytes, SEND_BUFFER) + fin

    def facts(self) -> dict[str, str | int | float | bool | None]:
        """As much of TCP_INFO as the gateway looks at."""
        now = self.loop.now
        unacked = self.unacked_bytes()
        probes = retransmits = 0
        if self.dark_since is not None:
            silent_s = now - self._probes_from
            if unacked:
                retransmits = sum(silent_s > after for after in (0.2, 0.6, 1.4, 3.0, 6.2, 12.6, 25.4, 51.0))
            else:
                probes = max(0, min(4, int((silent_s - 30.0) // 15.0) + 1))
        return {
            "probes": probes,
            "retransmits": retransmits,
            "last_data_sent_ms": int(1000 * (now - self.last_sent_at)),
            "last_ack_recv_ms": int(1000 * (now - self.last_ack_at)),
        }

    # -- the path ------------------------------------------------------------------------------------

    def go_dark(self) -> None:
        """From now on nothing passes, in either direction."""
        if self.dark_since is not None:
            return
        self.dark_since = self._probes_from = self.loop.now
        self.loop.call_later(KEEPALIVE_S, self._timed_out)

    def _timed_out(self) -> None:
        if self._lost:
            return
        if self.unacked_bytes() and self.loop.now - self._probes_from < RETRANSMISSION_S:
            self.loop.call_later(RETRANSMISSION_S, self._timed_out)
            return
        self._lost = True
        self._connection_lost(OSError(errno.ETIMEDOUT, "timed out"))

    def _room(self) -> int:
        return self.window - self._flying - self._arriving

    def _push(self) -> None:
        """Send what waits, as far as the window goes; then the FIN, where one is due."""
        waiting = self._waiting
        while waiting and (room := self._room()) > 0:
            data = waiting.popleft()
            if len(data) > room:
                waiting.appendleft(data[room:])
                data = data[:room]
            self._waiting_bytes -= len(data)
            self._send(data)
        if not waiting and (self.closing or self.fin_sent) and not self._lost:
            if self.dark_since is None and not self._fin_told:
                self._fin_told = True
                self.loop.call_later(self.latency_s, self._client_hears_end, "fin")
            if self.closing:
                self._lost = True
                self.loop.call_soon(self._connection_lost, None)
        if self._paused_writing and self.get_write_buffer_size() <= LOW and not self.closing:
            self._paused_writing = False
            self.protocol.resume_writing()

    def _send(self, data: bytes) -> None:
        self.sent += len(data)
        self.last_sent_at = self.loop.now
        if self.dark_since is not None:
            self._flying += len(data)
            return
        if self.latency_s:
            self._flying += len(data)
            self.loop.call_later(self.latency_s, self._arrives, data)
        elif self.client_closed is None:
            self._deliver(data)
            self.acked += len(data)
            self.last_ack_at = self.loop.now
        else:
            self._refused()

    def _arrives(self, data: bytes) -> None:
        if self.dark_since is not None:
            return
        self._flying -= len(data)
        if self.client_closed is not None:
            self._refused()
            return
        self._deliver(data)
        self.loop.call_later(self.latency_s, self._acknowledged, len(data))

    def _deliver(self, data: bytes) -> None:
        if self.client_reads and not self._unread:
            if self.peer is not None:
                self.peer.heard(data)
        else:
            self._unread.append(data)
            self._arriving += len(data)

    def _acknowledged(self, size: int) -> None:
        if self.dark_since is not None:
            return
        self.acked += size
        self.last_ack_at = self.loop.now
        if self._waiting:
            self._push()

    def _refused(self) -> None:
        """Bytes arrived at a socket that is closed: its kernel answers with a reset."""
        self.loop.call_later(self.latency_s, self._end_arrives, "rst")

    def _client_hears_end(self, how: str) -> None:
        if self.dark_since is None and self.client_closed is None and self.peer is not None:
            if how == "rst":
                self._unread.clear()
            if not self._unread:
                self.peer.ended(how)
            else:
                self.loop.call_later(1.0, self._client_hears_end, how)

    # -- the client's side ---------------------------------------------------------------------------

    def send_request(self, data: bytes) -> None:
        """The client sends."""
        if self.dark_since is None:
            self.loop.call_later(self.latency_s, self._data_arrives, data)

    def _data_arrives(self, data: bytes) -> None:
        if self._lost or self.dark_since is not None:
            return
        if not self.reading:
            self.loop.call_later(0.05, self._data_arrives, data)
            return
        self.protocol.data_received(data)

    def stop_reading(self) -> None:
        """The client's program does not read for now."""
        self.client_reads = False

    def read_on(self) -> None:
        """It does again."""
        self.client_reads = True
        unread, self._unread, self._arriving = self._unread, [], 0
        for data in unread:
            if self.peer is not None:
                self.peer.heard(data)
        if self._waiting and self.dark_since is None and not self._lost:
            self._push()

    def close_by_client(self, how: str) -> None:
        """The client closes: `fin` or `rst`."""
        if self.client_closed is not None:
            return
        self.client_closed = "rst" if self._unread else how
        self.peer = None
        self._unread.clear()
        self._arriving = 0
        if self.dark_since is None:
            self.loop.call_later(self.latency_s, self._end_arrives, self.client_closed)

    def _end_arrives(self, how: str) -> None:
        if self._lost or self.dark_since is not None:
            return
        if not self.reading:
            self._eof_waits = how
            return
        if how == "rst":
            self._lost = True
            self._connection_lost(ConnectionResetError(errno.ECONNRESET, "reset"))
        elif not self.gateway_gone:
            self.protocol.eof_received()
            if not self._lost:
                self.close()

    def _connection_lost(self, error: Exception | None) -> None:
        if self.gateway_gone:
            return
        self.gateway_gone = self.closing = self._lost = True
        self.gateway_gone_at = self.loop.now
        self.protocol.connection_lost(error)
