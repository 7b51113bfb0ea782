"""Mending a stream that broke: what its client was told, and what may follow in the same stream.

What a client has heard cannot be taken back. So everything here starts from the bytes that it was given:
`told` reads them, the healing table (`gateway.heal`) chooses, and the rest of this module says the events
that a healed stream needs besides the provider's own:

- *under the first start* (`UnderFirstStart`): another attempt's answer behind a `message_start` that was told;
- *closing*: a message that ends early, but properly;
- *restart_start*: a `message_start` that makes Claude Code drop its open block and keep the completed ones;
- *mark*: a comment where the stream was healed, for whoever reads the bytes.

A continuation that goes on inside an open text block is in `splicing`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from holdfast.gateway.dialects.anthropic import (
    BlockStarted,
    BlockStopped,
    EventReader,
    MessageStarted,
    comment,
    event_name,
)
from holdfast.gateway.sse import EventSplitter

# -- what was told ----------------------------------------------------------------------------------

THINKING: Final = frozenset(("thinking", "redacted_thinking"))
"Kinds of block that cannot be given in part: only a signature makes them whole."


@dataclass(frozen=True, slots=True)
class Block:
    """A content block, as its start said it."""

    index: int
    "-1 where the start could not be read."
    kind: str
    "`text`, `thinking`, `tool_use`, ...; empty where the start could not be read."
    tool: str | None = None
    "The tool's name, for the provider's own tools too."


@dataclass(frozen=True, slots=True)
class Told:
    """What a client knows of an answer."""

    started: bool = False
    "Whether it has a `message_start`."
    completed: tuple[Block, ...] = ()
    "In order, over the whole stream: a second `message_start` takes none back."
    open: Block | None = None
    stop_reason: str | None = None
    "A real one, of the message that is under way."
    finished: bool = False
    "Whether `message_stop` was told."
    error: bool = False
    "Whether an `error` event was told; nothing can follow it."
    message_id: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    "The last count that was told."

    @property
    def nothing(self) -> bool:
        """No event of the answer: at most headers and keepalives."""
        return not (self.started or self.completed or self.open or self.finished or self.error)

    @property
    def only_start(self) -> bool:
        """`message_start`, and nothing behind it."""
        return self.started and not (
            self.completed or self.open or self.stop_reason or self.finished or self.error
        )

    @property
    def first_block_open(self) -> bool:
        """A block is open, and none was completed."""
        return self.open is not None and not self.completed

    @property
    def completed_tool(self) -> bool:
        """A tool call that the client runs. The provider's own tools are not among them."""
        return any(block.kind == "tool_use" for block in self.completed)

    @property
    def completed_text(self) -> bool:
        return any(block.kind == "text" for block in self.completed)

    @property
    def completed_thinking(self) -> bool:
        return any(block.kind in THINKING for block in self.completed)

    @property
    def completed_other(self) -> bool:
        """Something else: the provider's tools and their results, a fallback, a compaction, what is new."""
        return any(block.kind not in ("text", "tool_use", *THINKING) for block in self.completed)

    @property
    def open_kind(self) -> str | None:
        return None if self.open is None else self.open.kind

    @property
    def next_index(self) -> int:
        """The index of the next block, if the same message goes on."""
        last = self.open or (self.completed[-1] if self.completed else None)
        return 0 if last is None else last.index + 1


NOTHING_TOLD: Final = Told()
UNREADABLE: Final = Block(-1, "")
"A block whose start could not be read: there is one, and that is all."


def told(data: bytes) -> Told:
    """What a reader knows that was given `data`: a stream from its beginning, cut anywhere.

    Comments, pings, deltas with a null `stop_reason` and unknown events tell nothing, and neither does an
    event that is not whole. A second `message_start` drops the open block and keeps completed ones, as Claude
    Code does (measured on loopback, 2026-11-21). Never raises. Deltas are passed over undecoded: 10 MB of
    them take about 25 ms.
    """
    splitter, reader = EventSplitter(), EventReader()
    splitter.feed(data)
    started, completed, block = False, list[Block](), None
    message_id: str | None = None
    for event in splitter.notable:
        match reader.seen(event):
            case BlockStarted(index, kind, tool):
                block = Block(index, kind, tool)
            case BlockStopped():
                completed.append(block or UNREADABLE)
            case MessageStarted(message_id=said_id):
                started, message_id = True, said_id or message_id
            case None:
                started = started or event_name(event) == b"message_start"
                if reader.index == UNREADABLE.index and block is None:
                    block = UNREADABLE
            case _:
                pass
        if reader.index is None:
            block = None
        if reader.finished or reader.error is not None:
            break
    return Told(
        started,
        tuple(completed),
        block,
        reader.stop_reason,
        reader.finished,
        reader.error is not None,
        message_id,
        reader.model,
        reader.input_tokens,
        reader.output_tokens,
    )


# -- events of our own ------------------------------------------------------------------------------


def said(name: str, /, **fields: Any) -> bytes:
    """One event: its name is its JSON `type`. Escaped to ASCII, so that half a surrogate pair can be said."""
    data = json.dumps({"type": name, **fields}, separators=(",", ":"))
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data.encode())


def block_stop(index: int) -> bytes:
    """The end of a block."""
    return said("content_block_stop", index=index)


def closing(known: Told, stop_reason: str, output_tokens: int, *, close_open: bool) -> bytes:
    """The events that end the message that a client was told of: what is missing of them, `message_stop` last.

    A `stop_reason` that was told stands; then neither `stop_reason` nor `output_tokens` is said. With
    `close_open` the open block is ended too: a text is kept as far as it came, a tool call cut short is one
    that clients refuse to run (measured on loopback, 2026-11-21), a thinking block without its signature is
    one that the API refuses. Without it the block stays open. Raises `ValueError` where no message was begun,
    or it was ended already.
    """
    if not known.started or known.finished or known.error:
        raise ValueError("there is no message to be closed; say an error, or a message_start first")
    ending = b""
    if close_open and known.open is not None:
        ending = block_stop(known.open.index)
    if known.stop_reason is None:
        delta = {"stop_reason": stop_reason, "stop_sequence": None}
        ending += said("message_delta", delta=delta, usage={"output_tokens": max(0, output_tokens)})
    return ending + said("message_stop")


def restart_start(known: Told) -> bytes:
    """A `message_start` of our own, with id, model and counts of the one that was told.

    Claude Code drops its open block at it and keeps the completed ones. SDKs glue both messages, or raise.
    """
    message: dict[str, Any] = {
        "id": known.message_id or "msg_unknown",
        "type": "message",
        "role": "assistant",
        "model": known.model or "unknown",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": known.input_tokens or 0, "output_tokens": known.output_tokens or 0},
    }
    return said("message_start", message=message)


def mark(text: str) -> bytes:
    """The comment that marks a healed place. Whatever the text holds, it stays one line."""
    return comment(f"holdfast: {text}")


# -- another attempt behind what was told -----------------------------------------------------------

_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r){2}")


def events_of(data: bytes) -> Iterator[bytes]:
    """Whole events, each with its blank line. What follows the last of them is left."""
    start = 0
    if b"\r" in data:
        for blank in _BLANK_LINE.finditer(data):
            yield data[start : blank.end()]
            start = blank.end()
        return
    while (end := data.find(b"\n\n", start) + 2) > 1:
        yield data[start:end]
        start = end


class UnderFirstStart:
    """Another attempt's answer, told behind a `message_start` that the client has: its own is left out."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting = True
        "Whether its `message_start` is still to come; afterwards bytes pass as they are."

    def __repr__(self) -> str:
        return f"<UnderFirstStart {'waiting' if self.waiting else 'past it'}>"

    def edit(self, data: bytes, notable: list[bytes]) -> tuple[bytes, list[bytes]]:
        """The same for what an `EventSplitter` gave, with the notable events in it."""
        if not self.waiting:
            return data, notable
        return self.feed(data), [event for event in notable if not _is_start(event)]

    def feed(self, data: bytes) -> bytes:
        """Take the next whole events, return those that follow in the client's stream."""
        if self.waiting:
            at = 0
            for event in events_of(data):
                if _is_start(event):
                    self.waiting = False
                    return data[:at] + data[at + len(event) :]
                at += len(event)
        return data


def _is_start(event: bytes) -> bool:
    """Whether an event is a `message_start`, readable or not."""
    name = event_name(event)
    return name == b"message_start" if name else isinstance(EventReader().seen(event), MessageStarted)
