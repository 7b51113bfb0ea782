"""The one place where the two clocks are read.

Durations are taken on the monotonic clock; the wall clock only labels a record.
A laptop that slept shows as a difference between the two, never as a timeout.
"""

from __future__ import annotations

import time
from typing import NamedTuple


class Instant(NamedTuple):
    """A point in time on both clocks."""

    mono_s: float
    "Seconds on this process's monotonic clock; comparable only within one process."
    wall_ms: int
    "Milliseconds since the Unix epoch; a label, stepped and slewed as the system likes."


def now() -> Instant:
    """Read both clocks together."""
    return Instant(time.monotonic(), time.time_ns() // 1_000_000)
