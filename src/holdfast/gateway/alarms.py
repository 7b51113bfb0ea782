"""One timer for all turns: thousands of deadlines, of which nearly none ever passes.

A short turn sets an alarm and ends long before it; so setting and forgetting must cost next to nothing.
Alarms lie in a heap, forgotten ones stay there empty until their time, and the event loop knows one timer.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from typing import Protocol

from holdfast.gateway.defects import defect

log = logging.getLogger("holdfast.gateway")


class Sleeper(Protocol):
    """Who sets alarms. Named by itself, not by a method of its own: each turn keeps one until it ends."""

    def alarm_rang(self) -> None:
        """Its time has come. It must not raise."""


class Alarm:
    """A time at which somebody wants to be called. `whom` is None once it is forgotten."""

    __slots__ = ("at", "whom")

    def __init__(self, at: float, whom: Sleeper) -> None:
        self.at = at
        self.whom: Sleeper | None = whom

    def forget(self) -> None:
        """Nobody wants to be called any more."""
        self.whom = None


class Alarms:
    """All alarms of one event loop. Times are the loop's, in monotonic seconds."""

    __slots__ = ("_heap", "_loop", "_set", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Alarm]] = []
        "By time, then in the order in which they were set: compared without a line of Python."
        self._set = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __repr__(self) -> str:
        waiting = sum(alarm.whom is not None for _, _, alarm in self._heap)
        return f"<Alarms {waiting} set>"

    def set(self, at: float, whom: Sleeper) -> Alarm:
        """Let `whom` know at `at` or soon after."""
        alarm = Alarm(at, whom)
        self._set += 1
        heapq.heappush(self._heap, (at, self._set, alarm))
        if self._timer is None or at < self._timer_at:
            self._arm(at)
        return alarm

    def close(self) -> None:
        """Forget them all."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        heap, now = self._heap, self._loop.time()
        while heap and (heap[0][0] <= now or heap[0][2].whom is None):
            _, _, alarm = heapq.heappop(heap)
            whom, alarm.whom = alarm.whom, None
            if whom is not None:
                try:
                    whom.alarm_rang()
                except Exception as error:  # a defect of one turn must not stop all others' clocks
                    log.error("an alarm failed: %s", defect(error))
        if heap and (self._timer is None or heap[0][0] < self._timer_at):
            self._arm(heap[0][0])
