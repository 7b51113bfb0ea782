"""The local clock, and instants in sentences.

Who weighs evidence knows no clock but UTC, and says so behind each instant; a page tells all its times by one clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.diagnosis.tables import Offsets

_FORM = "%Y-%m-%d %H:%M"
_INSTANT = re.compile(r"\b(\d{4}-\d\d-\d\d \d\d:\d\d) UTC\b")


def instant(at_ms: int) -> str:
    """`2026-04-14 07:03 UTC`."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):{_FORM}} UTC"


def ahead_ms(at_ms: int, offsets: Offsets) -> int:
    """How far the local clock was ahead of UTC then."""
    ahead = 0
    for number, (begin, told) in enumerate(offsets):
        if not number or at_ms >= begin:
            ahead = told
    return ahead


def local(at_ms: int, offsets: Offsets = ()) -> datetime:
    """What the local clock shows then; UTC, where none is told."""
    return datetime.fromtimestamp((at_ms + ahead_ms(at_ms, offsets)) / 1000, UTC)


def by_clock(said: str, offsets: Offsets) -> str:
    """A sentence with its instants as the local clock shows them, for a page that says whose its clock is."""

    def told(found: re.Match[str]) -> str:
        try:
            at = datetime.strptime(found[1], _FORM).replace(tzinfo=UTC)
        except ValueError:  # not ours: in the words of a log, or of somebody's incident
            return found[0]
        return f"{local(round(at.timestamp() * 1000), offsets):{_FORM}}"

    return _INSTANT.sub(told, said)
