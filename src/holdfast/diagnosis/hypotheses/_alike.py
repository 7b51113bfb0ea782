"""Failures that are one coincidence: what happened in one session on one day, or in one minute, is counted once."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Sequence

from holdfast.diagnosis.case import Case

MINUTE_MS = 60_000
DAY_MS = 86_400_000
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
"Of the failures, tried for each thing that may be the cause."


def by_session_day(case: Case) -> Sequence[Hashable]:
    """Of each failure: its session and its day. A session that is out of luck is out of luck all along."""
    return [(one.session, one.at_ms // DAY_MS) for one in case.failures]


def by_burst(case: Case, within_ms: int = MINUTE_MS) -> Sequence[Hashable]:
    """Of each failure: the burst that it is part of, whatever the session; no further apart than a minute, or than that."""
    order = sorted(range(len(case.failures)), key=lambda number: case.failures[number].at_ms)
    found, burst, before = [0] * len(order), 0, None
    for number in order:
        at = case.failures[number].at_ms
        if before is not None and at - before > within_ms:
            burst += 1
        found[number], before = burst, at
    return found


def near(case: Case, at_ms: int, within_ms: int) -> range:
    """The places of the answers within so long of a time."""
    times = case.answer_times_ms
    return range(bisect_left(times, at_ms - within_ms), bisect_right(times, at_ms + within_ms))


def best_bits(ratios: Sequence[float], weights: Sequence[float]) -> float:
    """Bits of the best share that a cause could have; the weights are those of `hypothesis.weights`."""
    return max(
        sum(
            weight * math.log2(1 - share + share * ratio)
            for ratio, weight in zip(ratios, weights, strict=True)
        )
        for share in SHARES
    )
