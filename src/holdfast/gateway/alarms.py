"""One timer for all turns: thousands of deadlines, of which nearly none ever passes.

A short turn sets an alarm and ends long before it; so setting and forgetting must cost next to nothing.
Alarms lie in a heap, forgotten ones stay there empty until their time, and the event loop knows one timer.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from typing import Protocol

import msgspec

from holdfast.gateway.defects import defect

log = logging.getLogger("holdfast.gateway")


class Sleeper(Protocol):
    """Who sets alarms. Named by itself, not by a method of its own: each turn keeps one until it ends."""

    def alarm_rang(self) -> None:
        """Its time has come. It must not raise."""


class Alarm(msgspec.Struct, order=True, gc=False):
    """A time at which somebody wants to be called. Sorted by time, then as they were set, without a line of Python."""

    at: float
    number: int
    "No two have the same."
    whom: Sleeper | None
    "None once it rang or is forgotten. Every alarm comes to that, so none is left in a cycle."

    def forget(self) -> None:
        """Nobody wants to be called any more."""
        self.whom = None


class Alarms:
    """All alarms of one event loop. Times are the loop's, in monotonic seconds."""

    __slots__ = ("_heap", "_loop", "_set", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[Alarm] = []
        self._set = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __repr__(self) -> str:
        waiting = sum(alarm.whom is not None for alarm in self._heap)
        return f"<Alarms {waiting} set>"

    def set(self, at: float, whom: Sleeper) -> Alarm:
        """Let `whom` know at `at` or soon after."""
        self._set += 1
        alarm = Alarm(at, self._set, whom)
        heapq.heappush(self._heap, alarm)
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
        while heap and (heap[0].at <= now or heap[0].whom is None):
            alarm = heapq.heappop(heap)
            whom, alarm.whom = alarm.whom, None
            if whom is not None:
                try:
                    whom.alarm_rang()
                except Exception as error:  # a defect of one turn must not stop all others' clocks
                    log.error("an alarm failed: %s", defect(error))
        if heap and (self._timer is None or heap[0].at < self._timer_at):
            self._arm(heap[0].at)
