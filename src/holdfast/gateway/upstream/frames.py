"""HTTP/2's frames as they lie in the bytes: a look at each one's header before the h2 library gets it. No I/O.

The library is a state machine for a whole connection, and three things come too late or not at all with it:

* After a GOAWAY it takes every further frame for an error, even of a stream that the GOAWAY covers. So that
  frame is read here and never reaches it (RFC 9113, 6.8: the stream goes on to its end).
* It holds a frame of any announced length until it is there, and refuses it then. Here the length is enough.
* It answers or ignores floods of empty, unknown or control frames for as long as they come.

A frame is handed on in the pieces in which it came, so that nothing is held back or copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

FRAME_LIMIT: Final = 16384
"Bytes of a frame: the protocol's own default (RFC 9113, 6.5.2), which we do not raise."
HEADERS_LIMIT: Final = 256 * 1024
"Bytes of one compressed header block with its CONTINUATION frames; as much as HTTP/1.1's head may have."
SETTINGS_LIMIT: Final = 100
"SETTINGS frames on one connection. Servers send one or two; each may leave unknown settings behind in memory."
ENTRIES_LIMIT: Final = 32
"Settings in one frame. The protocol knows seven."
IDLE_FRAMES: Final = 10_000
"Frames in a row that move nothing. A server that pings once a second for 2 h stays below it."

HEADER: Final = 9
"Bytes of a frame's header."

DATA, HEADERS, SETTINGS, PUSH_PROMISE, GOAWAY, CONTINUATION = 0, 1, 4, 5, 7, 9
_PADDED, _END_HEADERS = 0x8, 0x4


class FrameError(Exception):
    """A frame that may not be; `code` is the error to answer with (RFC 9113, section 7)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


_PROTOCOL_ERROR, _FRAME_SIZE_ERROR, _ENHANCE_YOUR_CALM = 0x1, 0x6, 0xB


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer takes no new streams on this connection."""

    last_stream: int
    "Streams above it were not processed."
    code: int
    debug: bytes
    "What the peer says about it; may be anything."


class Frames:
    """Cuts what is read from one connection into frames."""

    __slots__ = ("_begun", "_block", "_idle", "_left", "_partial", "_settings")

    def __init__(self) -> None:
        self._partial = b""
        "The beginning of a frame that cannot be judged, or of a GOAWAY that cannot be read yet."
        self._left = 0
        "Bytes of the frame under way that are still to come."
        self._begun = False
        self._block: int | None = None
        "Bytes of the header block under way."
        self._settings = 0
        self._idle = 0

    def __repr__(self) -> str:
        return f"<Frames {self._left} bytes of a frame to come, {self._idle} idle>"

    def moved(self) -> None:
        """We have sent a part of the request: what comes in answer to that is no flood."""
        self._idle = 0

    def cut(self, data: bytes) -> Iterator[memoryview | GoAway]:
        """The frames in `data`, each in one piece as far as it came. Raises `FrameError` after what was before it."""
        if self._partial:
            data, self._partial = self._partial + data, b""
        view, at, size = memoryview(data), 0, len(data)
        while at < size:
            if self._left:
                end = min(size, at + self._left)
                self._left -= end - at
                yield view[at:end]
                at = end
                continue
            if size - at < HEADER:
                self._partial = bytes(view[at:])
                return
            length, kind, flags = int.from_bytes(view[at : at + 3]), data[at + 3], data[at + 4]
            self._judge(length, kind, flags)
            end = at + HEADER + length
            if kind != GOAWAY:
                self._left = HEADER + length
            elif end > size:
                self._partial = bytes(view[at:])
                return
            else:
                yield _go_away(data[at:end])
                at = end

    def _judge(self, length: int, kind: int, flags: int) -> None:
        """Refuse what can be refused by its header."""
        if not self._begun:
            if kind != SETTINGS or length > FRAME_LIMIT:
                raise FrameError("it did not begin in HTTP/2", _PROTOCOL_ERROR)
            self._begun = True
        if length > FRAME_LIMIT:
            raise FrameError(f"a frame of {length} bytes", _FRAME_SIZE_ERROR)
        if self._block is not None and kind != CONTINUATION:
            raise FrameError("another frame inside a header block", _PROTOCOL_ERROR)
        if kind == PUSH_PROMISE:
            raise FrameError("a push, although we allow none", _PROTOCOL_ERROR)
        if kind == DATA and length > (flags & _PADDED != 0):
            self._idle = 0
            return
        self._idle += 1
        if self._idle > IDLE_FRAMES:
            raise FrameError(f"{IDLE_FRAMES} frames without content in a row", _ENHANCE_YOUR_CALM)
        if kind in (HEADERS, CONTINUATION):
            block = (self._block or 0) + length
            if block > HEADERS_LIMIT:
                raise FrameError(f"a header block of more than {HEADERS_LIMIT} bytes", _ENHANCE_YOUR_CALM)
            self._block = None if flags & _END_HEADERS else block
        elif kind == SETTINGS:
            self._settings += 1
            if self._settings > SETTINGS_LIMIT or length > ENTRIES_LIMIT * 6:
                raise FrameError("a flood of settings", _ENHANCE_YOUR_CALM)


def _go_away(frame: bytes) -> GoAway:
    if len(frame) < HEADER + 8:
        raise FrameError("a GOAWAY of less than 8 bytes", _FRAME_SIZE_ERROR)
    if int.from_bytes(frame[5:HEADER]) & 0x7FFFFFFF:
        raise FrameError("a GOAWAY on a stream", _PROTOCOL_ERROR)
    last, code = int.from_bytes(frame[9:13]) & 0x7FFFFFFF, int.from_bytes(frame[13:17])
    return GoAway(last, code, frame[17:])
