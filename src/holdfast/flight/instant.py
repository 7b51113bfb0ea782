"""The one place where the two clocks are read.

Durations are taken on the monotonic clock; the wall clock only labels a record.
A laptop that slept shows as a difference between the two, never as a timeout.
"""

from __future__ import annotations

import sys
import time

import msgspec


class Instant(msgspec.Struct, frozen=True, order=True, gc=False):
    """A point in time on both clocks. A struct, as moments are: every moment of every turn needs one."""

    mono_s: float
    "Seconds on this process's monotonic clock; comparable only within one process."
    wall_ms: int
    "Milliseconds since the Unix epoch; a label, stepped and slewed as the system likes."


def now() -> Instant:
    """Read both clocks together."""
    return Instant(time.monotonic(), time.time_ns() // 1_000_000)


def suspended_s() -> float | None:
    """Seconds that this machine has slept since it was started; None where it does not count them.

    The difference of a clock that goes on in sleep and one that stands still. macOS is untested.
    """
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC) - time.clock_gettime(time.CLOCK_UPTIME_RAW)
    return None
