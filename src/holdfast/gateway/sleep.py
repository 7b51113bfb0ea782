"""Whether this machine slept, told by its clocks.

The monotonic clock stands still while a machine sleeps, the wall clock does not. So the wall runs ahead, by the
length of the sleep. But the wall is also set: by hand, by NTP's steps. Where the system counts its sleep itself
(Linux's CLOCK_BOOTTIME, macOS's CLOCK_MONOTONIC, each against the clock that stands still), that is exact, and
the wall is not asked. Elsewhere a clock that was set forward by seconds cannot be told from a sleep, and passes
for one: the price is some connections that are opened anew.

A machine whose host stopped it (a paused virtual machine) counts no sleep: there a dead path shows by
itself, in the keepalive's time.
"""

from __future__ import annotations

from typing import Final

from holdfast.flight.instant import Instant

LEAST_S: Final = 3.0
"Shorter is no sleep: NTP steps the clock by fractions of a second, and connections survive that anyway."


class Drift:
    """Compares the clocks from one tick to the next."""

    __slots__ = ("_at", "_suspended_s")

    def __init__(self, at: Instant, suspended_s: float | None) -> None:
        """`suspended_s` is how long the system says it has slept since it was started; None where it does not count."""
        self._at = at
        self._suspended_s = suspended_s

    def tick(self, at: Instant, suspended_s: float | None) -> float | None:
        """Seconds that the machine slept since the last tick; None if it did not."""
        before, self._at = self._at, at
        counted, self._suspended_s = self._suspended_s, suspended_s
        if counted is not None and suspended_s is not None:
            slept_s = suspended_s - counted
        else:
            slept_s = (at.wall_ms - before.wall_ms) / 1000 - (at.mono_s - before.mono_s)
        return slept_s if slept_s > LEAST_S else None
