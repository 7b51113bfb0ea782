"""Many deadlines on one timer. The loop's clock is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from holdfast.gateway.alarms import Alarm, Alarms


class Handle:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """A loop whose time only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.handles: list[Handle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Handle:
        self.handles.append(Handle(at, call))
        return self.handles[-1]

    def run_to(self, end: float) -> None:
        while due := [h for h in self.handles if not h.cancelled and h.at <= end]:
            handle = min(due, key=lambda h: h.at)
            self.handles.remove(handle)
            self.now = max(self.now, handle.at)
            handle.call()
        self.now = end


class Sleeper:
    """Whoever does this when its alarm rings."""

    def __init__(self, rang: Callable[[], object]) -> None:
        self.alarm_rang = cast(Callable[[], None], rang)


def alarms() -> tuple[Loop, Alarms]:
    loop = Loop()
    return loop, Alarms(cast(asyncio.AbstractEventLoop, loop))


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=30))
def test_each_alarm_rings_once_at_its_time_unless_forgotten(wanted: list[tuple[float, bool]]) -> None:
    """In order of time, whatever the order of setting."""
    loop, clock = alarms()
    rung: list[tuple[float, float]] = []
    for at, forgotten in wanted:
        alarm = clock.set(at, Sleeper(lambda at=at: rung.append((at, loop.now))))  # type: ignore[misc]
        if forgotten:
            alarm.forget()
    loop.run_to(100)

    assert rung == [(at, at) for at in sorted(at for at, forgotten in wanted if not forgotten)]
    assert repr(clock) == "<Alarms 0 set>"


def test_an_alarm_may_set_the_next_one() -> None:
    """As a turn does that looks again."""
    loop, clock = alarms()
    rung: list[float] = []

    def again() -> None:
        rung.append(loop.now)
        if loop.now < 3:
            clock.set(loop.now + 1, Sleeper(again))

    clock.set(1, Sleeper(again))
    loop.run_to(10)

    assert rung == [1, 2, 3]


def test_an_alarm_that_fails_silences_no_other() -> None:
    """A defect of one turn leaves the clocks of all others running, those due at once and those due later."""
    loop, clock = alarms()
    rung: list[float] = []
    clock.set(1, Sleeper([].pop))
    clock.set(1, Sleeper(lambda: rung.append(loop.now)))
    clock.set(2, Sleeper(lambda: rung.append(loop.now)))
    loop.run_to(10)

    assert rung == [1, 2]


def test_the_loop_knows_one_timer() -> None:
    """A thousand turns are one timer, not a thousand."""
    loop, clock = alarms()
    for second in range(1000):
        clock.set(1000.0 - second, Sleeper(lambda: None))

    assert sum(not handle.cancelled for handle in loop.handles) == 1


def test_a_forgotten_alarm_keeps_nothing_alive() -> None:
    """The turn it was set for can go, although its time has not come."""
    alarm = Alarm(5.0, 1, Sleeper(lambda: None))
    alarm.forget()

    assert alarm.whom is None
