"""How far a share or a rate may be off: intervals by resampling whole days. Values in, values out; always the same.

Failures come in bursts: an outage is one accident and not ten, and a formula that takes each failure for a draw of
its own promises more than there is. So days are drawn, with repetition and as many as there were, and the share is
taken of each such month that could have been; the middle 95 in 100 of these shares are the interval.
Where there are few days, or where all that was counted came on one of them, there is no interval: that is said, and
nothing narrower put in its place.

Source: Efron, B., Tibshirani, R.: An Introduction to the Bootstrap (1993), chapters 8 (units) and 13 (percentiles).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import mul

DRAWS = 1000
LEAST_DAYS = 5
"With fewer, the few ways to draw them are no picture of what could have been."
MOST = 200
"Of more days, neighbours are drawn together: blocks of days, still whole."
LEAST_WITH = 2
"Days on which something was counted: of one day it is not known whether another would be like it."
COVERS = 0.95
_SEED = 19930401


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a share or rate may well lie. In the unit of what was divided."""

    low: float
    high: float


def ratio(days: Sequence[tuple[float, float]]) -> Interval | None:
    """The interval of sum of firsts / sum of seconds, over days; None where days do not carry one.

    A day is (how many of it, of how many), such as failures and requests, in the order of time; days without either
    are left out.
    """
    days = [day for day in days if day[0] or day[1]]
    if len(days) < LEAST_DAYS or sum(1 for part, _ in days if part) < LEAST_WITH:
        return None
    size = -(-len(days) // MOST)
    blocks = [days[start : start + size] for start in range(0, len(days), size)]
    parts = [sum(part for part, _ in block) for block in blocks]
    wholes = [sum(whole for _, whole in block) for block in blocks]
    found = []
    for draw in _draws(len(blocks)):
        part, whole = sum(map(mul, parts, draw)), sum(map(mul, wholes, draw))
        if whole:
            found.append(part / whole)
    if len(found) < DRAWS / 2:
        return None
    found.sort()
    return Interval(quantile(found, (1 - COVERS) / 2), quantile(found, (1 + COVERS) / 2))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of values in order, with a straight line between two of them."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@lru_cache(maxsize=32)
def _draws(units: int) -> tuple[bytes, ...]:
    """For each draw: how often each unit came."""
    chance = random.Random(_SEED + units)
    made = []
    for _ in range(DRAWS):
        times = bytearray(units)
        for place in chance.choices(range(units), k=units):
            times[place] += 1
        made.append(bytes(times))
    return tuple(made)
