"""Times as logs write them, read into seconds since the epoch. Pure, and never raises.

Every reader returns a `Stamp` or None. Without a zone the digits are read as if they were UTC: how far they are
off is for `align` to find out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import NamedTuple

DAY_S = 86400.0


class Stamp(NamedTuple):
    """A time as it was written."""

    at_s: float
    "Seconds since the epoch; a time of day alone counts from the given day's midnight."
    precision_s: float
    zone_known: bool
    dated: bool = True
    zone_s: float | None = None
    "How far the written zone is ahead of UTC; None where none was written as a number."


_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: n for n, name in enumerate(_NAMES, 1)}

_ZONE = r"(?P<zone>Z|[+-]\d{2}:?\d{2}| ?UTC| ?GMT| [+-]\d{2}:?\d{2})?"
_ISO = re.compile(
    r"(?P<y>\d{4})[-/](?P<mo>\d{2})[-/](?P<d>\d{2})[T ](?P<h>\d{2}):(?P<mi>\d{2}):(?P<s>\d{2})"
    rf"(?:[.,](?P<frac>\d{{1,9}}))?{_ZONE}"
)
_CLF = re.compile(
    r"(?P<d>\d{1,2})/(?P<mon>[A-Za-z]{3})/(?P<y>\d{4}):(?P<h>\d{2}):(?P<mi>\d{2}):(?P<s>\d{2})"
    rf"(?:\.(?P<frac>\d{{1,9}}))?{_ZONE}"
)
_SYSLOG = re.compile(
    r"(?P<mon>[A-Z][a-z]{2}) {1,2}(?P<d>\d{1,2}) (?P<h>\d{2}):(?P<mi>\d{2}):(?P<s>\d{2})(?:\.(?P<frac>\d{1,9}))?"
)
_APACHE = re.compile(
    r"[A-Z][a-z]{2} (?P<mon>[A-Z][a-z]{2}) {1,2}(?P<d>\d{1,2}) (?P<h>\d{2}):(?P<mi>\d{2}):(?P<s>\d{2})"
    r"(?:\.(?P<frac>\d{1,9}))? (?P<y>\d{4})"
)
_KLOG = re.compile(
    r"[IWEF](?P<mo>\d{2})(?P<d>\d{2}) (?P<h>\d{2}):(?P<mi>\d{2}):(?P<s>\d{2})\.(?P<frac>\d{1,9})"
)
_LOGFMT = re.compile(r"(?:level=\w{1,10} )?(?:time|ts|timestamp|t)=\"?", re.IGNORECASE)
"What stands before the time in lines of `name=value`."
_CLOCK = re.compile(r"(?P<h>\d{2}):(?P<mi>\d{2}):(?P<s>\d{2})(?:[.,](?P<frac>\d{1,9}))?(?![\d:])")
_EPOCH = re.compile(r"(?P<whole>\d{10})(?:\.(?P<frac>\d{1,9}))?(?!\d)")
_HTTP = re.compile(
    r"[A-Z][a-z]{2}, (?P<d>\d{2}) (?P<mon>[A-Z][a-z]{2}) (?P<y>\d{4}) (?P<h>\d{2}):(?P<mi>\d{2}):(?P<s>\d{2})"
    r"(?P<frac>\Z.)?(?P<zone> GMT)"
)


def _built(found: re.Match[str], near_s: float) -> Stamp | None:
    parts = found.groupdict()
    fraction = parts.get("frac") or ""
    zone = (parts.get("zone") or "").strip()
    dated = bool(parts.get("d"))
    try:
        month = MONTHS[parts["mon"].lower()] if parts.get("mon") else int(parts.get("mo") or 1)
        clock = int(parts["h"]), int(parts["mi"]), min(int(parts["s"]), 59)
        if dated:
            year = int(parts["y"]) if parts.get("y") else _year(near_s, month)
            moment = datetime(year, month, int(parts["d"]), *clock, tzinfo=_zone(zone))
        else:
            moment = datetime.fromtimestamp(near_s, UTC).replace(
                hour=clock[0], minute=clock[1], second=clock[2], microsecond=0
            )
        at_s = moment.timestamp()
    except (KeyError, ValueError, OverflowError, OSError):
        return None
    if not 0 <= at_s < 1e11:
        return None
    precision = max(10.0 ** -len(fraction), 1e-6) if fraction else 1.0
    ahead = _zone(zone).utcoffset(None).total_seconds() if zone[:1] in ("+", "-") else None
    return Stamp(at_s + (float(f"0.{fraction}") if fraction else 0.0), precision, bool(zone), dated, ahead)


def _zone(text: str) -> timezone:
    if not text or text in ("Z", "UTC", "GMT"):
        return UTC
    digits = text[1:].replace(":", "")
    shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-shift if text[0] == "-" else shift)


def _year(near_s: float, month: int) -> int:
    """The year of a date without one: that of `near_s`, or its neighbour around New Year."""
    near = datetime.fromtimestamp(near_s, UTC)
    return near.year + (1 if near.month - month > 6 else -1 if month - near.month > 6 else 0)


@lru_cache(maxsize=1024)
def iso(text: str) -> Stamp | None:
    """`2026-03-28T18:23:17.123Z`, `2026/03/28 18:23:17`, with a zone or without."""
    found = _ISO.match(text)
    return _built(found, 0.0) if found else None


@lru_cache(maxsize=1024)
def clf(text: str) -> Stamp | None:
    """`28/Mar/2026:18:23:17 +0800`, and HAProxy's with milliseconds and no zone."""
    found = _CLF.match(text)
    return _built(found, 0.0) if found else None


def http_date(text: str) -> Stamp | None:
    """`Sat, 28 Mar 2026 10:23:17 GMT`."""
    found = _HTTP.match(text)
    return _built(found, 0.0) if found else None


def clock(text: str, near_s: float) -> Stamp | None:
    """`10:23:17.123`: a time of day, put on the day of `near_s` (UTC)."""
    found = _CLOCK.match(text)
    return _built(found, near_s) if found else None


def epoch(value: object) -> Stamp | None:
    """Seconds, milliseconds, microseconds or nanoseconds since the epoch, as a number or in digits."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = str(value).strip()
    if not re.fullmatch(r"\d{9,19}(?:\.\d{1,9})?", text):
        return None
    read = float(text)
    precision = 10.0 ** -len(text.partition(".")[2]) if "." in text else 1.0
    while read >= 1e11:  # the year 5138 in seconds, 1973 in milliseconds
        read, precision = read / 1000, precision / 1000
    return Stamp(read, max(precision, 1e-6), True)


def leading(text: str, near_s: float) -> tuple[Stamp, int] | None:
    """A time at the beginning of a line, brackets allowed, and where what follows it begins."""
    opened = len(text) - len(text.lstrip(" \t[(<\"'"))
    if opened > 8:
        return None
    named = _LOGFMT.match(text, opened)
    opened = named.end() if named else opened
    for pattern in (_ISO, _CLF, _SYSLOG, _APACHE, _KLOG, _EPOCH, _CLOCK):
        found = pattern.match(text, opened)
        if not found:
            continue
        stamp = epoch(found.group()) if pattern is _EPOCH else _built(found, near_s)
        if stamp is not None:
            end = found.end()
            return stamp, end + len(text[end:]) - len(text[end:].lstrip(" \t])>\"'|:"))
    return None


def any_of(value: object, near_s: float = 0.0) -> Stamp | None:
    """A JSON value that is a time in some form."""
    if isinstance(value, str):
        found = leading(value.strip(), near_s)
        return epoch(value) or (found[0] if found and found[0].dated else None)
    return epoch(value)


def rolled(at_s: float, before: Sequence[float]) -> float:
    """A time of day that follows others: a day later where it would have run backwards over midnight."""
    if before:
        while at_s < before[-1] - DAY_S / 2:
            at_s += DAY_S
    return at_s
