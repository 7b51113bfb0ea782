"""The clock of a place: its zone by name, and from when it is how far ahead of UTC."""

from __future__ import annotations

import os
import re
import zoneinfo
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from holdfast.cli.errors import Misused
from holdfast.flight.redact import clean

YEARS = range(2024, 2036)
"Of which the local clock's changes are looked up: before them there was no such client."

_RULE = re.compile(r"(?:<[A-Za-z0-9+-]{3,}>|[A-Za-z]{3,})[+-]?\d")
"A zone by its rule, such as `CET-1CEST,M3.5.0,M10.5.0`: the system knows it, and it has no name."


def zone(name: str | None) -> tzinfo:
    """The zone of that name, or this machine's own. Raises `Misused`."""
    if name is None:
        local = datetime.now().astimezone().tzinfo or UTC
        said = os.environ.get("TZ", "").removeprefix(":")
        named = said.rpartition("zoneinfo/")[2] or _system_zone()
        try:
            return zoneinfo.ZoneInfo(named) if named else local
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            if not said or _RULE.match(said):
                return local
            raise Misused(
                f"TZ={clean(said)} names no time zone, and the system would take it for UTC; correct or unset it, or "
                "say --timezone Europe/Paris"
            ) from error
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Misused(f"{clean(name)!r} is no time zone; write it like Europe/Paris or UTC") from error


def zone_name(zone: tzinfo) -> str:
    """`Europe/Paris`, where it has such a name."""
    return getattr(zone, "key", None) or str(zone)


def _system_zone() -> str:
    """The zone's name where the system links to it; empty where it does not."""
    try:
        return str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2]
    except OSError:
        return ""


def offsets(zone: tzinfo) -> list[tuple[int, int]]:
    """From when (ms, UTC) the zone's clock is how far ahead of UTC (ms): every change of those years."""
    found: list[tuple[int, int]] = []

    def ahead(at_s: int) -> int:
        told = datetime.fromtimestamp(at_s, zone).utcoffset()
        return round(told.total_seconds() * 1000) if told is not None else 0

    start = round(datetime(YEARS[0], 1, 1, tzinfo=UTC).timestamp())
    end = round(datetime(YEARS[-1], 12, 31, tzinfo=UTC).timestamp())
    found.append((start * 1000, ahead(start)))
    for day in range(start, end, 7 * 86_400):
        low, high = day, day + 7 * 86_400
        if ahead(low) == ahead(high):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if ahead(middle) == ahead(low) else (low, middle)
        found.append((high * 1000, ahead(high)))
    return found
