"""The desktop app's `main.log`: what this machine's network did, told by a program that asks it every few seconds.

A line is `2026-04-17 12:13:15 [error] [component] text`, in local time and without a zone; lines without a
stamp go on with the one before; a line may be doubled. Older parts are `main1.log` and so on. On Windows the log
stops by itself at ten megabytes. So what is missing says nothing: whoever uses this states its coverage
(reference sessions.md, section 1).

What is made of it are *outages*: lines that say that there is no network, merged while they follow each other
closely, because one hour offline is one event and not a hundred.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from holdfast.flight.plain_files import listed

PLACES = (
    "Library/Logs/Claude",
    ".config/Claude/logs",
    "AppData/Roaming/Claude/logs",
)
"Below the home: macOS, Linux, Windows."

MERGED_S = 60.0
"Lines no further apart than this tell of one outage: the app backs off up to half a minute between two tries."

QUIET_S = 2 * 3600.0
"So long without any line, and nobody knows whether the app was running: that time is not covered."

DOUBLED = 3
"A line that came among the last few is the same line, written twice."

_LINE = re.compile(
    r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:[.,]\d{1,6})? \[(\w+)\] ?(?:\[([^\]]{1,80})\])? ?(.*)", re.DOTALL
)
_KINDS = (
    ("offline", re.compile(r"ERR_INTERNET_DISCONNECTED|ERR_ADDRESS_UNREACHABLE|ENETDOWN|ENETUNREACH")),
    ("changed", re.compile(r"ERR_NETWORK_CHANGED|ERR_NETWORK_IO_SUSPENDED")),
    ("name", re.compile(r"ERR_NAME_NOT_RESOLVED|ENOTFOUND|EAI_AGAIN")),
    ("timeout", re.compile(r"ERR_TIMED_OUT|ERR_CONNECTION_TIMED_OUT|ETIMEDOUT")),
    ("reset", re.compile(r"ERR_CONNECTION_RESET|ERR_CONNECTION_CLOSED|ECONNRESET|ERR_HTTP2_PING_FAILED")),
    ("aborted", re.compile(r"This operation was aborted")),
)
_CYCLE = re.compile(
    r"unhealthy cycle for \S+ \((\d+(?:\.\d+)?)s, hadFirstResponse=(true|false), reason=(\w+)\)"
)

LOCAL = ("offline", "changed", "name")
"Kinds that only this machine or its link can bring about: a far end cannot."


@dataclass(slots=True)
class Note:
    """One line that says something about the network, or about a cycle that went wrong."""

    at_ms: int
    "Of the local clock, made UTC by the zone that was given."
    kind: str
    "`offline`, `changed`, `name`, `timeout`, `reset`, `aborted` or `cycle`."
    component: str
    took_s: float | None = None
    "Of a cycle."
    answered: bool | None = None
    "Whether a first response had come in that cycle."


@dataclass(slots=True)
class Outage:
    """A time without network, as far as lines tell of it. It may have begun earlier and lasted longer."""

    begun_ms: int
    ended_ms: int
    kinds: set[str] = field(default_factory=set)
    lines: int = 0
    source: str = "desktop log"

    def holds(self, at_ms: int, *, slack_ms: int = 0) -> bool:
        """Whether a time lies in it, or so near."""
        return self.begun_ms - slack_ms <= at_ms <= self.ended_ms + slack_ms


@dataclass(slots=True)
class DesktopLog:
    """A log, read."""

    notes: list[Note] = field(default_factory=list)
    lines: int = 0
    "With a stamp."
    doubled: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    spans: list[tuple[int, int]] = field(default_factory=list)
    "From when to when there are lines, in order: the times that the log covers."
    unplaced: int = 0
    "Lines whose local time does not exist, in the hour that is skipped in spring."


def logs(home: Path) -> list[Path]:
    """The parts of the log that there are, the oldest first: `main2.log`, `main1.log`, `main.log`. Raises `OSError` where a
    place may not be looked into."""
    beside = [path for place in PLACES for path in listed(home / place)]
    found = [path for path in beside if re.fullmatch(r"main\d*\.log", path.name)]
    return sorted(found, key=lambda path: -int("0" + "".join(filter(str.isdigit, path.name))))


def read(text: Iterable[str], zone: tzinfo) -> DesktopLog:
    """The lines of a log in their order; `zone` is the machine's at that time."""
    log, recent, earlier = DesktopLog(), list[str](), None
    for line in _whole(text):
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        if line in recent:
            log.doubled += 1
            continue
        recent = [*recent[1 - DOUBLED :], line]
        log.lines += 1
        at_ms = _utc_ms(f"{found[1]} {found[2]}", zone, earlier)
        if at_ms is None:
            log.unplaced += 1
            continue
        earlier = at_ms
        log.first_ms = at_ms if log.first_ms is None else min(log.first_ms, at_ms)
        log.last_ms = at_ms if log.last_ms is None else max(log.last_ms, at_ms)
        if log.spans and 0 <= at_ms - log.spans[-1][1] <= QUIET_S * 1000:
            log.spans[-1] = (log.spans[-1][0], at_ms)
        elif not log.spans or at_ms > log.spans[-1][1]:
            log.spans.append((at_ms, at_ms))
        note = _note(at_ms, found[4] or "", found[5])
        if note is not None:
            log.notes.append(note)
    return log


def _whole(text: Iterable[str]) -> Iterator[str]:
    """Lines with those that go on with them, as far as somebody may look for words in them."""
    held, size = list[str](), 0
    for line in text:
        line = line.rstrip("\r\n")
        if _LINE.match(line):
            if held:
                yield " ".join(held)
            held, size = [line[:2000]], 0
        elif held and size < 2000:
            held.append(line[:500])
            size += len(line)
    if held:
        yield " ".join(held)


def _utc_ms(stamp: str, zone: tzinfo, earlier: int | None) -> int | None:
    """UTC milliseconds of a local time; None where it does not exist.

    Where it exists twice, in autumn, it is the first unless the line before was later than that.
    """
    try:
        local = datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone)
    except ValueError:
        return None
    first, second = local.timestamp(), local.replace(fold=1).timestamp()
    if second < first:  # skipped: both readings name a time that the clock never showed
        return None
    chosen = second if second > first and earlier is not None and earlier > first * 1000 else first
    return round(chosen * 1000)


def _note(at_ms: int, component: str, text: str) -> Note | None:
    cycle = _CYCLE.search(text)
    if cycle is not None:
        return Note(at_ms, "cycle", component, float(cycle[1]), cycle[2] == "true")
    for kind, pattern in _KINDS:
        if pattern.search(text):
            return Note(at_ms, kind, component)
    return None


def outages(
    notes: Iterable[Note], kinds: Iterable[str] = LOCAL, *, merged_s: float = MERGED_S
) -> list[Outage]:
    """Notes of these kinds, merged where they follow each other closely; in the order of time."""
    wanted, found = set(kinds), list[Outage]()
    for note in sorted(notes, key=lambda one: one.at_ms):
        if note.kind not in wanted:
            continue
        if not found or note.at_ms - found[-1].ended_ms > merged_s * 1000:
            found.append(Outage(note.at_ms, note.at_ms))
        found[-1].ended_ms = note.at_ms
        found[-1].kinds.add(note.kind)
        found[-1].lines += 1
    return found


def shifted(outage: Outage, by: timedelta) -> Outage:
    """The same outage at another time: what a coincidence has to be compared with."""
    ms = round(by.total_seconds() * 1000)
    return Outage(outage.begun_ms + ms, outage.ended_ms + ms, set(outage.kinds), outage.lines)
