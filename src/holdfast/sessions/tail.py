"""What a conversation is at: the last records of its transcript, read from the end, in bounded memory.

Of a record its kind, its time and the ids of tool calls are looked at, and nothing else: no prompt, no answer, no
argument of a tool. A line is decoded into structs that have no place for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from holdfast.flight.plain_files import only_files
from holdfast.flight.redact import safe
from holdfast.sessions.records import wall_ms

FIRST_LOOK = 256 * 1024
FARTHEST_LOOK = 16 * 1024 * 1024
"Bytes from the end: a tool's result can be a record of several megabytes."
LONGEST_NAME = 60

ASKED, CALLED, ANSWERED, RETRYING, FAILED, OVER, NOTHING = (
    "asked",
    "called",
    "answered",
    "retrying",
    "failed",
    "over",
    "nothing",
)
"""What it is at. `asked`: a prompt or tool results, and no answer yet. `called`: tool calls without a result.
`answered`: a block of an answer whose message may go on. `retrying`: a try failed, and the client waits for the next.
`failed`: it gave up. `over`: the turn ended. `nothing`: no record tells."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What the last records say. Wall times in ms."""

    at: str
    "A word of the list above."
    last_ms: int | None
    "Of the record that says so."
    open_tools: tuple[str, ...] = ()
    "Names of the tools that were called and have no result, in order."
    retry_in_s: float | None = None
    "The wait that the client announced, for `retrying`."
    retry: tuple[int, int] | None = None
    "Which try of how many failed."
    session: str = ""
    version: str = ""
    "This and the next two: of the last record that bears one; newer clients end with records that bear none of them."
    entrypoint: str = ""
    "`cli` for a terminal, `sdk-cli` for print mode."
    cwd: str = ""


class _Block(msgspec.Struct, gc=False):
    type: str | None = None
    id: str | None = None
    name: str | None = None
    tool_use_id: str | None = None


class _Message(msgspec.Struct, gc=False):
    stop_reason: str | None = None
    content: msgspec.Raw = msgspec.Raw()
    "Looked at only where it is a list, and then only at kinds and ids."


class _Record(msgspec.Struct, gc=False):
    type: str | None = None
    subtype: str | None = None
    timestamp: str | None = None
    sessionId: str | None = None
    version: str | None = None
    entrypoint: str | None = None
    cwd: str | None = None
    isMeta: bool = False
    isApiErrorMessage: bool = False
    message: _Message | None = None
    retryInMs: float | None = None
    retryAttempt: int | None = None
    maxRetries: int | None = None


_BEGIN = rb'\s*(?:\[\s*\{\s*"type"\s*:\s*"text"\s*,\s*"text"\s*:\s*)?"'
_INTERRUPTED = re.compile(_BEGIN + rb"\[Request interrupted by user")
_LOCAL_COMMAND = re.compile(_BEGIN + rb"<(?:command-(?:name|message|args)|local-command-\w{1,20})>")

_record = msgspec.json.Decoder(_Record)
_blocks = msgspec.json.Decoder(list[_Block])


def read_tail(path: Path) -> Tail:
    """What the conversation in this file is at. Raises `OSError`."""
    size, look = path.stat().st_size, FIRST_LOOK
    while True:
        tail = tail_of(_last_lines(path, size, look), whole=look >= size)
        if tail is not None or look >= size or look >= FARTHEST_LOOK:
            return tail if tail is not None else Tail(NOTHING, None)
        look *= 8


def _last_lines(path: Path, size: int, look: int) -> list[bytes]:
    with open(path, "rb", opener=only_files) as file:
        start = max(0, size - look)
        file.seek(start)
        data = file.read(look)
    lines = data.split(b"\n")
    # The first may be half a line, and the last may still be being written.
    return lines[1 if start else 0 :]


def tail_of(lines: Sequence[bytes], *, whole: bool = True) -> Tail | None:
    """What these last lines say; None where they do not reach back far enough (never with `whole`)."""
    done: set[str] = set()
    calls: list[tuple[str, str]] = []
    decided: Tail | None = None
    head = _Record()
    for line in reversed(lines):
        record = _decoded(line)
        if record is None:
            continue
        _fill(head, record)
        kind, blocks = _kind(record), _content(record)
        if kind == "":
            continue
        if decided is None:
            decided = _decide(kind, record, blocks)
        if decided.at not in (CALLED, ASKED):
            break
        if kind == "user":
            if not any(block.type == "tool_result" for block in blocks):
                break  # what was typed begins the turn
            done |= {block.tool_use_id for block in blocks if block.tool_use_id}
        elif kind == "assistant":
            here = [(block.id or "", block.name or "?") for block in blocks if block.type == "tool_use"]
            if not here and calls:
                break
            calls = here + calls
    else:
        if not whole and decided is None:
            return None
    if decided is None:
        return Tail(NOTHING, None)
    return _named(decided, tuple(name for key, name in calls if key not in done), head)


def _fill(head: _Record, earlier: _Record) -> None:
    """Let `head` say whose conversation it is, as far as an earlier record knows what later ones left out."""
    head.sessionId = head.sessionId or earlier.sessionId
    head.version = head.version or earlier.version
    head.entrypoint = head.entrypoint or earlier.entrypoint
    head.cwd = head.cwd or earlier.cwd


def _named(tail: Tail, still_open: tuple[str, ...], head: _Record) -> Tail:
    at = tail.at
    if at in (CALLED, ASKED):
        # One result of several calls is there: the others are still awaited.
        at = CALLED if still_open else ASKED
    return Tail(
        at,
        tail.last_ms,
        tuple(safe(name)[:LONGEST_NAME] for name in still_open) if at == CALLED else (),
        tail.retry_in_s,
        tail.retry,
        safe(head.sessionId or ""),
        safe(head.version or ""),
        safe(head.entrypoint or ""),
        head.cwd or "",
    )


def _decoded(line: bytes) -> _Record | None:
    if not line.startswith(b"{"):
        return None
    try:
        return _record.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _kind(record: _Record) -> str:
    """`user`, `assistant`, `system`, or nothing for what says nothing of the turn."""
    if record.type == "user" and not record.isMeta:
        return "" if _marked(record, _LOCAL_COMMAND) else "user"
    if record.type == "assistant":
        return "assistant"
    if record.type == "system" and record.subtype in ("api_error", "turn_duration"):
        return "system"
    return ""


def _marked(record: _Record, marks: re.Pattern[bytes]) -> bool:
    """Whether a user's record begins with words that the client itself puts there."""
    raw = bytes(record.message.content)[:200] if record.message is not None else b""
    return marks.match(raw) is not None


def _content(record: _Record) -> list[_Block]:
    raw = bytes(record.message.content) if record.message is not None else b""
    if not raw.lstrip().startswith(b"["):
        return []
    try:
        return _blocks.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []


def _decide(kind: str, record: _Record, blocks: Sequence[_Block]) -> Tail:
    at_ms = wall_ms(record.timestamp)
    if kind == "user":
        return Tail(OVER if _marked(record, _INTERRUPTED) else ASKED, at_ms)
    if kind == "system":
        if record.subtype == "turn_duration":
            return Tail(OVER, at_ms)
        wait = record.retryInMs / 1000 if record.retryInMs is not None else None
        step = (record.retryAttempt, record.maxRetries)
        return Tail(RETRYING, at_ms, (), wait, step if step[0] and step[1] else None)  # type: ignore[arg-type]
    if record.isApiErrorMessage:
        return Tail(FAILED, at_ms)
    if any(block.type == "tool_use" for block in blocks):
        return Tail(CALLED, at_ms)
    stop = record.message.stop_reason if record.message is not None else None
    return Tail(OVER if stop in ("end_turn", "stop_sequence", "refusal") else ANSWERED, at_ms)
