"""Hold-back: how much of a stream log may be told while a block is kept back until it is whole.

A block that its client never heard of can be asked for again, without anybody noticing. The price is that the
client sees nothing of it until it is complete; so this is a setting, and nothing is held by default.

The log takes every byte as it comes. Only the offset up to which readers are told waits, at the start of the
first held block that is not complete. Each block is held by itself: of parallel tool calls, each is told when
it is whole.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from holdfast.gateway.dialects.anthropic import event_name

KINDS: Final = {
    "tool_use": frozenset(("tool_use", "server_tool_use", "mcp_tool_use")),
    "thinking": frozenset(("thinking", "redacted_thinking")),
}
"What can be held back, and the kinds of block that it means."

_DATA = re.compile(rb"(?:\A|(?<=[\r\n]))data: ?([^\r\n]*)")


class _Kind(msgspec.Struct):
    type: str = ""


class _Event(msgspec.Struct):
    index: int = -1
    content_block: _Kind | None = None


_EVENT = msgspec.json.Decoder(_Event)


class HoldBack:
    """Says after every read how much may be told. `kinds` are keys of `KINDS`; the log holds `size` bytes already."""

    __slots__ = ("_held", "_kinds", "size")

    def __init__(self, kinds: frozenset[str], size: int = 0) -> None:
        self._kinds = frozenset[str]().union(*(KINDS[kind] for kind in kinds))
        self._held: dict[int, int] = {}
        "Index of a block that is held -> offset of its start."
        self.size = size
        "Of the log so far."

    def __repr__(self) -> str:
        return f"<HoldBack {self.released} of {self.size} bytes told>"

    @property
    def released(self) -> int:
        """The offset up to which readers may be told: between events, and inside no block that is held."""
        return min(self._held.values(), default=self.size)

    def feed(self, data: bytes, notable: list[bytes]) -> int:
        """Take what was appended to the log; return the offset up to which readers may be told.

        `data` is whole events; `notable` are those in it, in order, that are neither deltas nor pings, as
        `EventSplitter` gives them; one that is not in it (left out by an editor) is passed over. Never raises:
        a block whose start cannot be read is not held, one whose end cannot be read is told when the message
        ends.
        """
        if notable:
            at = 0
            for event in notable:
                found = data.find(event, at)
                if found >= 0:
                    self._look(event, self.size + found)
                    at = found + len(event)
        self.size += len(data)
        return self.released if self._held else self.size

    def _look(self, event: bytes, offset: int) -> None:
        name = event_name(event)
        if name == b"content_block_start":
            said = _read(event)
            if said.content_block is not None and said.content_block.type in self._kinds:
                self._held.setdefault(said.index, offset)
        elif name == b"content_block_stop":
            if self._held:
                self._held.pop(_read(event).index, None)
        elif name in (b"message_start", b"message_stop"):
            # A second start drops whatever is open; after a stop nothing more will come.
            self._held.clear()


def _read(event: bytes) -> _Event:
    try:
        return _EVENT.decode(b"\n".join(line[1] for line in _DATA.finditer(event)))
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return _Event()
