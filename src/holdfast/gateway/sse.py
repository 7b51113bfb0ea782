"""Cut a byte stream into whole server-sent events without decoding them.

Only whole events enter a stream log. So a keepalive may be put behind any of them, and an answer that
breaks never leaves half an event with its reader. The bytes are handed on exactly as they came.

This is the hottest code of the gateway: per event a part of one `split` and one comparison.
"""

from __future__ import annotations

import re
from typing import Final

_ROUTINE = (b"event: content_block_delta\n", b"event: ping\n")
"Events that need no look inside: by far the most."

# A blank line ends an event. The standard knows three line endings and lets them mix.
# A carriage return at the end of a read decides nothing: a newline may follow in the next.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?=[^\n]))(?:\r\n|\n|\r(?=[^\n]))")
# At the end of the data no newline can follow any more: there it ends its line.
_BLANK_LINE_TO_THE_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")

NOTHING: Final[list[bytes]] = []
"Where no event of a read is notable: hardly one is, and a silent stream keeps no list. Nobody writes into it."
LONGEST_HELD = 1024 * 1024
"A longer event is handed on in pieces: rather a stream without keepalives for a moment than memory without bounds."


class EventSplitter:
    """Feed it what was read; it returns what completes whole events, and holds the rest back."""

    __slots__ = (
        "_blank_line",
        "_carriage_returns",
        "_held",
        "between_events",
        "events",
        "notable",
    )

    def __init__(self) -> None:
        self._held = b""
        self._carriage_returns = False
        self._blank_line = _BLANK_LINE
        self.between_events = True
        "False only while an event too long to hold is being handed on in pieces."
        self.events = 0
        "Whole events seen so far, comments included."
        self.notable = NOTHING
        "Events of the last `feed` that are neither deltas nor pings, each whole."

    def feed(self, data: bytes) -> bytes:
        """Take `data`, return the bytes up to the last event boundary (often all of it, often nothing)."""
        if not self.between_events:
            data = self._end_long_event(self._held + data)
            if not self.between_events:
                return data
            done = data[: len(data) - len(self._held)]
            data, self._held = self._held, b""
            return done + self.feed(data) if data else done
        if self._held:
            data = self._held + data
        if self._carriage_returns or b"\r" in data:
            self._carriage_returns = True
            return self._feed_any_line_ending(data)
        events = data.split(b"\n\n")
        held = self._held = events.pop()
        if not events:
            return self._hold(data)
        notable = []
        self.events += len(events)
        for event in events:
            if not event.startswith(_ROUTINE):
                notable.append(event + b"\n\n")
        self.notable = notable or NOTHING
        return data[: len(data) - len(held)] if held else data

    def ends_with_data(self) -> bool:
        """The data is over: whether that completes an event. Then `feed` of nothing returns it."""
        self._blank_line = _BLANK_LINE_TO_THE_END
        return self._carriage_returns and self._blank_line.search(self._held) is not None

    def rest(self) -> bytes:
        """What is held back and was never completed; the stream has ended."""
        held, self._held = self._held, b""
        return held

    @property
    def held_bytes(self) -> int:
        """How much of an unfinished event has arrived."""
        return len(self._held)

    def _hold(self, data: bytes) -> bytes:
        self.notable = NOTHING
        if len(data) <= LONGEST_HELD:
            self._held = data
            return b""
        self.between_events = False
        self.notable = [data]
        return self._without_last_line_ends(data)

    def _feed_any_line_ending(self, data: bytes) -> bytes:
        notable = []
        start = 0
        for blank in self._blank_line.finditer(data):
            if blank.start() < start:
                continue
            event = data[start : blank.end()]
            self.events += 1
            if not event.startswith((b"event: content_block_delta\r", b"event: ping\r")):
                notable.append(event)
            start = blank.end()
        if start:
            self.notable = notable
            self._held = data[start:]
            return data[:start]
        return self._hold(data)

    def _end_long_event(self, data: bytes) -> bytes:
        """Look for the end of the event that is handed on in pieces; what follows it goes to `_held`."""
        self.notable = NOTHING
        blank = self._blank_line.search(data)
        if blank is None:
            return self._without_last_line_ends(data)
        self.between_events = True
        self.events += 1
        self._held = data[blank.end() :]
        return data

    def _without_last_line_ends(self, data: bytes) -> bytes:
        """A piece of a long event, but for what may be the beginning of the blank line that ends it."""
        text = data.rstrip(b"\r\n")
        self._held = data[len(text) :]
        self._carriage_returns |= b"\r" in self._held
        return text
