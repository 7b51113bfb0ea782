"""Sleep, told by clocks. All readings are given."""

from __future__ import annotations

import pytest

from holdfast.flight.instant import Instant
from holdfast.gateway.sleep import Drift

NOON_MS = 1_800_000_000_000


def at(mono_s: float, wall_s: float) -> Instant:
    return Instant(mono_s, NOON_MS + round(wall_s * 1000))


@pytest.mark.parametrize(
    ("wall_s", "slept_s"),
    [
        pytest.param(5.0, None, id="awake"),
        pytest.param(3605.0, 3600.0, id="an hour"),
        pytest.param(8.1, 3.1, id="a moment"),
        pytest.param(7.9, None, id="a tick that came late, or a step of NTP forward"),
        pytest.param(4.2, None, id="a step backward"),
        pytest.param(-3600.0, None, id="the clock was set back by an hour"),
    ],
)
def test_the_wall_clock_running_ahead_is_sleep(wall_s: float, slept_s: float | None) -> None:
    """Five seconds on the monotonic clock, so many on the wall, where the system does not count its sleep."""
    drift = Drift(at(100.0, 0.0), None)
    found = drift.tick(at(105.0, wall_s), None)
    assert found == (None if slept_s is None else pytest.approx(slept_s))


def test_a_system_that_counts_its_sleep_is_believed() -> None:
    """Whatever becomes of the wall clock: set forward by an hour without a sleep, and right after one."""
    drift = Drift(at(100.0, 0.0), 7.0)
    assert drift.tick(at(105.0, 3605.0), 7.0) is None
    assert drift.tick(at(110.0, 3610.0), 67.0) == 60.0
    assert drift.tick(at(115.0, 3615.0), 67.0) is None
    assert drift.tick(at(120.0, 3620.0), 69.5) is None, "2.5 s are no sleep"


def test_each_sleep_is_told_once() -> None:
    """What was told is not told again at the next tick."""
    drift = Drift(at(100.0, 0.0), None)
    assert drift.tick(at(105.0, 65.0), None) == pytest.approx(60.0)
    assert drift.tick(at(110.0, 70.0), None) is None
    assert drift.tick(at(115.0, 175.0), None) == pytest.approx(100.0)


def test_a_late_tick_alone_is_no_sleep() -> None:
    """A busy event loop: both clocks went on."""
    assert Drift(at(100.0, 0.0), None).tick(at(160.0, 60.0), None) is None
