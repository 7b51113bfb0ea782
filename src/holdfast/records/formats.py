"""Which format a text is in, told from its content, and lines read in the formats that fit.

Pasted text is often mixed (a trace, then log lines), so every line that the main format does not understand is offered
to the others. Whatever collectors put in front of a line (container and pod prefixes, syslog) is taken off first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

import msgspec

from holdfast.records import claude, curl, envoy, haproxy, jsonlog, nginx, phrases, plain, ss, tcpdump, times
from holdfast.records.sighting import Sighting, detail, ids_of

LONGEST_LINE = 16_000
"Characters of a line that are looked at; JSON lines may be longer."


class Format(Protocol):
    """A format of lines."""

    @property
    def name(self) -> str:
        """The program's name."""

    def line(self, text: str, number: int, /) -> list[Sighting] | None:
        """What a line tells: None if it is not of this format, nothing if it is and tells nothing for us."""

    def end(self) -> list[Sighting]:
        """What was begun and not told when the text ended."""


def every_format(near_s: float) -> list[Format]:
    """A fresh reader of each format, the most particular first. `near_s` dates lines that write a time of day only."""
    return [
        nginx.Access(),
        nginx.Error(),
        haproxy.Lines(),
        envoy.Lines(),
        tcpdump.Lines(near_s),
        ss.Lines(),
        claude.Lines(near_s),
        jsonlog.Lines(near_s),
        curl.Lines(near_s),
        plain.Lines(near_s),
    ]


class Reader:
    """Reads a text line by line. Give it lines in order, then `end`."""

    def __init__(self, near_s: float) -> None:
        self._formats = every_format(near_s)
        self._near_s = near_s
        self.understood: Counter[str] = Counter()
        "Lines by program, those included that told nothing."
        self.lines = 0
        "Lines that are not blank."
        self.dirt = 0
        self.first_dirt: int | None = None
        "The number of the first line that was not understood."

    def line(self, text: str, number: int) -> list[Sighting]:
        """What one line tells."""
        if not text.strip():
            return []
        self.lines += 1
        bare, stamp = unwrapped(text, self._near_s)
        for position, one in enumerate(self._formats):
            try:
                told = one.line(bare, number)
            except (ValueError, OverflowError, RecursionError):  # a corner of a format that we do not know
                told = None
            if told is None:
                continue
            self.understood[one.name] += 1
            if position:  # lines of one kind come together: ask the same one first
                self._formats.insert(0, self._formats.pop(position))
                self._formats.sort(key=_last_resort)
            return [_timed(seen, stamp) for seen in told]
        if stamp is not None and (told := _plain(bare, stamp, number)) is not None:
            self.understood["log"] += 1
            return told
        if bare[:1] not in "{[" and (ended := phrases.told(bare)) and (ended[0] or ended[1]):
            self.understood["log"] += 1
            says = f"{ended[2]}: {detail(bare, 140)}"
            return [Sighting("log", number, says, ids=ids_of(bare), side=ended[0], mechanism=ended[1])]
        self.dirt += 1
        self.first_dirt = self.first_dirt or number
        return []

    def end(self) -> list[Sighting]:
        """What was open at the end of the text."""
        return [seen for one in self._formats for seen in one.end()]

    @property
    def main(self) -> str:
        """The program whose lines most of them are; nothing where several were pasted together."""
        (name, count), *_ = self.understood.most_common(1) or [("", 0)]
        return name if count >= 0.8 * self.understood.total() else ""


def _last_resort(one: Format) -> int:
    """Traces hold anything, and a time in front is in many formats: those two are asked last."""
    return 2 if isinstance(one, plain.Lines) else 1 if isinstance(one, curl.Lines) else 0


def read_lines(lines: Iterable[str], near_s: float) -> tuple[list[Sighting], Reader]:
    """All that some lines tell, for short texts."""
    reader = Reader(near_s)
    found = [seen for number, text in enumerate(lines, 1) for seen in reader.line(text, number)]
    return found + reader.end(), reader


# ----- what collectors put around a line

_SYSLOG = re.compile(
    r"(?:<\d{1,3}>)?(?:1 )?(?P<time>[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d(?:\.\d{1,6})?"
    r"|\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d\d:\d\d)) "
    r"\S{1,100} (?P<tag>[\w./-]{1,60})(?:\[\d{1,10}\])?: ?"
)
_KUBERNETES = re.compile(r"(?P<time>\d{4}-\d\d-\d\dT[\d:.]{8,20}(?:Z|[+-]\d\d:\d\d)) std(?:out|err) [FP] ")
_COMPOSE = re.compile(r"[\w.-]{1,60} *\| ")
_COLOUR = re.compile(r"\x1b\[[\d;]{0,12}m")


def unwrapped(text: str, near_s: float) -> tuple[str, times.Stamp | None]:
    """A line without its collector's prefix, and the time that the collector gave it."""
    stamp = None
    text = _COLOUR.sub("", text.rstrip("\r\n"))
    if text.startswith('{"log":') and text.endswith("}"):  # Docker's own files
        try:
            value = msgspec.json.decode(text)
            text, stamp = str(value["log"]).rstrip("\n"), times.any_of(value.get("time"))
        except (msgspec.DecodeError, UnicodeError, KeyError, AttributeError, RecursionError):
            pass
    for pattern in (_COMPOSE, _KUBERNETES, _SYSLOG):
        found = pattern.match(text[:400])
        if found:
            if pattern is not _COMPOSE:
                leading = times.leading(found["time"], near_s)
                stamp = leading[0] if leading else stamp
            text = text[found.end() :]
    return (text if text.lstrip().startswith("{") else text[:LONGEST_LINE]), stamp


def _timed(seen: Sighting, stamp: times.Stamp | None) -> Sighting:
    """A sighting without a time of its own takes that of its collector."""
    if stamp is None or seen.at_s is not None:
        return seen
    return replace(
        seen,
        ended_s=stamp.at_s,
        precision_s=stamp.precision_s,
        zone_known=stamp.zone_known,
        dated=stamp.dated,
    )


def _plain(bare: str, stamp: times.Stamp, number: int) -> list[Sighting] | None:
    """A line whose only time is its collector's."""
    found = plain.Lines().line(f"2000-01-01T00:00:00 {bare}", number)
    return None if found is None else [_timed(replace(seen, ended_s=None), stamp) for seen in found]
