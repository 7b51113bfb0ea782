"""Intervals: by days, as wide as the days differ, and none where days are too few."""

from __future__ import annotations

import math
import random

import pytest

from holdfast.diagnosis.intervals import Interval, quantile, ratio


def test_days_that_are_alike_leave_no_doubt() -> None:
    """Every draw of equal days gives the same share."""
    assert ratio([(2, 100)] * 10) == Interval(0.02, 0.02)


def test_independent_failures_give_the_textbook_width() -> None:
    """Where each failure is a draw of its own, days say what the normal approximation says: p +- 1.96 sqrt(pq/n)."""
    chance = random.Random(5)
    days = [(sum(chance.random() < 0.1 for _ in range(100)), 100) for _ in range(60)]
    told = ratio(days)
    assert told is not None
    share = sum(failed for failed, _ in days) / 6000
    half = 1.96 * math.sqrt(share * (1 - share) / 6000)
    assert told.low == pytest.approx(share - half, abs=0.25 * half)
    assert told.high == pytest.approx(share + half, abs=0.25 * half)


def test_bursts_make_it_wider() -> None:
    """Sixty failures in two outages say less than sixty that are spread over all days."""
    spread, bursts = ratio([(2, 100)] * 15 + [(2, 99)] * 15), ratio([(0, 100)] * 28 + [(30, 100)] * 2)
    assert spread is not None and bursts is not None
    assert bursts.high - bursts.low > 10 * (spread.high - spread.low)
    assert bursts.low == 0.0 and bursts.high > 0.03


@pytest.mark.parametrize(
    "days",
    [[], [(1, 10)] * 4, [(5, 10), *[(0, 10)] * 9], [(0, 10)] * 20, [(1, 10)] * 4 + [(0, 0)] * 20],
    ids=["none", "four", "all on one", "nothing counted", "unused days are no days"],
)
def test_no_interval_where_days_carry_none(days: list[tuple[float, float]]) -> None:
    """No interval is better than one that is made up."""
    assert ratio(days) is None


def test_nine_times_in_ten_or_more_the_truth_lies_in_it() -> None:
    """Of months whose days differ, the interval holds the true share about as often as it promises."""
    chance, hits = random.Random(7), 0
    for _ in range(100):
        days = []
        for _ in range(25):
            rate = chance.choice((0.01, 0.01, 0.09))
            days.append((sum(chance.random() < rate for _ in range(60)), 60))
        told = ratio(days)
        hits += told is not None and told.low <= (0.01 + 0.01 + 0.09) / 3 <= told.high
    assert hits >= 86


def test_the_same_days_give_the_same_interval_every_time() -> None:
    """A report can be made again."""
    days = [(day % 3, 50.0) for day in range(12)]
    assert ratio(days) == ratio(list(days))


def test_quantiles_lie_on_a_line_between_two_values() -> None:
    """As spreadsheets and databases have them."""
    assert [quantile([1.0, 2.0, 4.0], share) for share in (0, 0.25, 0.5, 0.75, 1)] == [1, 1.5, 2, 3, 4]


def test_years_are_drawn_in_blocks_of_days() -> None:
    """Three years take no longer than one, and say as much: weeks are weeks, whichever unit is drawn."""
    chance = random.Random(11)
    days = [(float(sum(chance.random() < 0.05 for _ in range(20))), 20.0) for _ in range(1_100)]
    told = ratio(days)
    assert told is not None and told.low < 0.05 < told.high
    assert told.high - told.low == pytest.approx(2 * 1.96 * math.sqrt(0.05 * 0.95 / 22_000), rel=0.25)
