"""Something cuts requests at a fixed age."""

from __future__ import annotations

import math
from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._words import counted, days
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis

AGES_S = (5.0, 1200.0)
"Where a limit is looked for: shorter ones are no patience of anybody's, longer ones are past the client's own."
SHARE, LEAST_S = 0.02, 1.0
"How exact such a limit is: timers of event loops fire up to a second late."
HIT = 0.9
MISS = 0.02


class FixedLimit(Hypothesis):
    """A limit on a request's time, or on its silence, at the provider, at an edge or in a middlebox.

    It predicts: failures at the same age again and again, whatever was asked and wherever; none of them before it.
    From the logs alone one cannot tell a limit on the whole request from one on its silence, nor whose it is.
    """

    name = "fixed-limit"
    title = "Requests were cut at a fixed age"
    remedy = (
        "Run the client behind holdfast run: a cut answer is gone on with, and the flight tells whether silence or "
        "the whole time was the limit."
    )
    falsifier = (
        "ages that spread once the same request is asked again; a capture in which bytes flow to the end"
    )
    price_bits = 1.0 + math.log2(math.log(AGES_S[1] / AGES_S[0]) / (2 * SHARE))

    def __init__(self) -> None:
        self.limit_s: float | None = None
        "What was found."

    def ratios(self, case: Case) -> Sequence[float]:
        ages = [_age(failure) for failure in case.failures]
        self.limit_s = _commonest([age for age in ages if age is not None])
        if self.limit_s is None:
            return [0.0] * len(ages)
        width = 2 * max(LEAST_S, SHARE * self.limit_s)
        by_chance = width / (self.limit_s * math.log(AGES_S[1] / 0.3))
        return [0.0 if age is None else HIT / by_chance if _near(age, self.limit_s) else MISS for age in ages]

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        limit = self.limit_s or 0.0
        ages = [age for failure in case.failures if (age := _age(failure)) is not None]
        hits = sum(_near(age, limit) for age in ages)
        later = sum(age > limit * (1 + 2 * SHARE) + LEAST_S for age in ages)
        said = (
            f"Of {counted(len(ages), 'failure')} between {AGES_S[0]:.0f} s and {AGES_S[1] / 60:.0f} min old {hits} had "
            f"{limit:.0f} s, within {max(LEAST_S, SHARE * limit):.0f} s, on {counted(days(mine), 'day')}."
        )
        con = (
            [Evidence(f"{counted(later, 'failure')} lived longer than that.", "transcripts")] if later else []
        )
        settle = (
            f"holdfast atlas {limit:.0f}: whose timer it may be; holdfast run tells silence from whole time"
        )
        return Brief((Evidence(said, "transcripts"),), tuple(con), settle)


def _age(failure: Failure) -> float | None:
    """The age of the first try whose age is in question; a failed HTTP answer is nobody's cut."""
    for one in failure.tries:
        if one.status is None and one.age_s is not None and AGES_S[0] <= one.age_s <= AGES_S[1]:
            return one.age_s
    return None


def _near(age: float, limit: float) -> bool:
    return abs(age - limit) <= max(LEAST_S, SHARE * limit)


def _commonest(ages: Sequence[float]) -> float | None:
    """The age with most others near it; None where no two are near each other."""
    best, found = 1, None
    for age in ages:
        near = sorted(other for other in ages if _near(other, age))
        if len(near) > best:
            best, found = len(near), near[len(near) // 2]
    return found
