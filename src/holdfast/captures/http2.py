"""HTTP/2 in the clear, told by its frames: which streams, what ended them, what was said in farewell.

A frame's head says enough for that; the fields inside (HPACK) are not unpacked.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from holdfast.captures.pieces import Piece
from holdfast.flight.redact import LONGEST, clean, scrub

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"What a client opens with (RFC 9113, 3.4)."


@dataclass(slots=True)
class Frames:
    """HTTP/2 frames of one direction, by their heads."""

    counts: Counter[str] = field(default_factory=Counter)
    streams: set[int] = field(default_factory=set)
    ended_streams: set[int] = field(default_factory=set)
    resets: list[tuple[float, int, str]] = field(default_factory=list)
    "Time, stream, code's name."
    goaways: list[tuple[float, int, str, str]] = field(default_factory=list)
    "Time, last stream, code's name, debug text."
    unfinished_bytes: int = 0
    lost_thread: bool = False


_FRAME_NAMES = (
    "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
    "CONTINUATION",
)  # fmt: skip
_CODES = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip
_END_STREAM = 0x1
_MOST_NOTED = 1000


def code_name(code: int) -> str:
    """An HTTP/2 error code's name (RFC 9113, 7)."""
    return _CODES[code] if code < len(_CODES) else f"code {code}"


class FrameReader:
    """HTTP/2 frames of one direction; a frame's payload is looked at only where it ends something."""

    def __init__(self) -> None:
        self.frames = Frames()
        self._held = bytearray()
        self._skip = 0

    def feed(self, piece: Piece) -> None:
        """Take the next piece."""
        if piece.missing:
            if self._held or piece.missing > self._skip:
                self.frames.lost_thread = True
            self._skip = max(self._skip - piece.missing, 0)
        if self.frames.lost_thread:
            return
        skipped = min(self._skip, len(piece.data))
        self._skip -= skipped
        self._held += piece.data[skipped:]
        while self._one(piece.at_s):
            pass

    def finish(self) -> None:
        """No more comes."""
        self.frames.unfinished_bytes = len(self._held) + (1 if self._skip else 0)

    def _one(self, at_s: float) -> bool:
        held, frames = self._held, self.frames
        if self._skip or len(held) < 9:
            return False
        length, kind, flags = int.from_bytes(held[:3], "big"), held[3], held[4]
        stream = int.from_bytes(held[5:9], "big") & 0x7FFFFFFF
        name = _FRAME_NAMES[kind] if kind < len(_FRAME_NAMES) else f"type {kind}"
        needed = {"RST_STREAM": 4, "GOAWAY": min(length, 8 + LONGEST)}.get(name, 0)
        if len(held) < 9 + needed:
            return False
        frames.counts[name] += 1
        if stream and len(frames.streams) < _MOST_NOTED:
            frames.streams.add(stream)
        if flags & _END_STREAM and name in ("DATA", "HEADERS") and len(frames.ended_streams) < _MOST_NOTED:
            frames.ended_streams.add(stream)
        if name == "RST_STREAM" and length == 4 and len(frames.resets) < _MOST_NOTED:
            frames.resets.append((at_s, stream, code_name(int.from_bytes(held[9:13], "big"))))
        if name == "GOAWAY" and length >= 8 and len(frames.goaways) < _MOST_NOTED:
            last = int.from_bytes(held[9:13], "big") & 0x7FFFFFFF
            said = clean(scrub(bytes(held[17 : 9 + needed]).decode("utf-8", "replace")))
            frames.goaways.append((at_s, last, code_name(int.from_bytes(held[13:17], "big")), said))
        here = min(9 + length, len(held))
        del held[:here]
        self._skip = 9 + length - here
        return bool(held)
