"""The client's debug log, `debug/<session>.txt` below its directory: written only where it was asked for.

It has words for what the transcript leaves out: a silence in a stream, a connection that was stale, a stream that is asked
for again. A line begins with its time, in UTC; lines without one are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.flight.plain_files import listed
from holdfast.sessions.records import wall_ms

SOURCE = "debug log"
MOST_LINES = 2_000_000
LONGEST = 2_000
"Characters of a line that are looked at."
MOST_NOTES = 5_000

_TIME = re.compile(r"\[?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:?\d\d))\]?")
_STALL = re.compile(r"Streaming stall detected: (\d{1,6}(?:\.\d{1,3})?)\s?s gap")
_DASH = r"\s{0,3}(?:[-\u2010-\u2015\u2212]|--)\s{0,3}"
"A hyphen, or whichever dash a version of the client writes."
_STALE = re.compile(rf"Stale connection{_DASH}disabling keep-alive")
_AGAIN = re.compile(
    r"Stream (?:connection error \((\w{1,40})\)|idle timeout[\w -]{0,60}?)"
    rf"{_DASH}retrying streaming \(\d{{1,3}}/\d{{1,3}}\)"
)
_SILENT = re.compile(r"Streaming idle timeout: no chunks received for (\d{1,6}(?:\.\d{1,3})?)\s?s")
_CUT = re.compile(
    r"(?:Stream connection closed(?: \((\w{1,40})\))?|Stream idle timeout|Mid-stream server error)"
    r" after \d{1,6} block\(s\) yielded"
)
_FALLBACK = re.compile(r"falling back to non-streaming|triggering non-streaming fallback")


@dataclass(frozen=True, slots=True)
class DebugNote:
    """One line that says something about the wire."""

    at_ms: int
    kind: str
    "`stall`, `stale`, `silent` (the client gave a silence up), `again`, `cut` (what had come was kept), `fallback`."
    session: str
    gap_s: float | None = None
    "Of a stall, and of a silence that was given up."
    code: str | None = None
    "Of a stream that broke, where the line has one."
    source: str = SOURCE
    "The client's telemetry notes the same."
    request_id: str | None = None
    "The provider's, where the source has it: the debug log does not."


@dataclass(slots=True)
class DebugLog:
    """One file, read."""

    session: str
    notes: list[DebugNote] = field(default_factory=list)
    lines: int = 0
    "With a time."
    first_ms: int | None = None
    last_ms: int | None = None
    left_out: int = 0
    "Lines beyond the bound."


def logs(root: Path) -> list[Path]:
    """The debug logs of this root, in the order of their names. Raises `OSError` where it may not be looked into."""
    return [path for path in listed(root / "debug") if path.suffix == ".txt"]


def read(lines: Iterable[str], session: str) -> DebugLog:
    """The lines of a log, in their order."""
    log = DebugLog(session)
    for count, whole in enumerate(lines):
        if count >= MOST_LINES:
            log.left_out += 1
            continue
        line = whole[:LONGEST]
        stamp = _TIME.match(line)
        at_ms = wall_ms(stamp[1]) if stamp else None
        if at_ms is None:
            continue
        log.lines += 1
        log.first_ms = at_ms if log.first_ms is None else min(log.first_ms, at_ms)
        log.last_ms = at_ms if log.last_ms is None else max(log.last_ms, at_ms)
        note = _note(at_ms, line, session)
        if note is not None and len(log.notes) < MOST_NOTES:
            log.notes.append(note)
    return log


def _note(at_ms: int, line: str, session: str) -> DebugNote | None:
    if found := _STALL.search(line):
        return DebugNote(at_ms, "stall", session, float(found[1]))
    if _STALE.search(line):
        return DebugNote(at_ms, "stale", session)
    if found := _SILENT.search(line):
        return DebugNote(at_ms, "silent", session, float(found[1]))
    if found := _AGAIN.search(line):
        return DebugNote(at_ms, "again", session, code=found[1])
    if found := _CUT.search(line):
        return DebugNote(at_ms, "cut", session, code=found[1])
    if _FALLBACK.search(line):
        return DebugNote(at_ms, "fallback", session)
    return None
