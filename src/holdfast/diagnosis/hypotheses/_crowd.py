"""What causes have in common that strike when much is under way at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from itertools import count
from statistics import fmean
from typing import NamedTuple

from holdfast.diagnosis.asked import TELLING
from holdfast.diagnosis.case import Answer, Case, Failure
from holdfast.diagnosis.hypotheses._alike import by_burst
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis
from holdfast.flight.flights import counted, percent

TOGETHER_MS = 20_000
"What breaks so close together may be one thing that broke; a whole busy minute is not."
POWER = 3
"How steeply the risk grows with the number of others: gentler slopes are not worth a claim."
MOST = 50.0
ENOUGH = 20
"Answers to compare with."
ONE = 1.0
"The least risk that is taken for usual, that beside one other: two at work are no crowd, and all that the remedy leaves."


class _Weighed(NamedTuple):
    """What failures are held against, in the numbers that are said of it too."""

    mean: float
    "The risk of an answered request, on average."
    many: int
    "From so many others on it speaks for the cause that a request failed."
    share: float
    "Of the answers that had as many."
    crowded: int
    "Failures that had."
    failures: int

    @property
    def expected(self) -> float:
        """As many as would have, did their number not matter."""
        return self.share * self.failures


class Crowd(Hypothesis):
    """A cause that is told by how many others are at work."""

    likeness = 0.25
    compares = True
    of: str
    "What is counted, in a sentence."

    @abstractmethod
    def others(self, case: Case, at_ms: int, session: str, agent: str | None) -> int:
        """How many others were at work then, as far as they were heard of."""

    def ratios(self, case: Case) -> Sequence[float]:
        if len(case.answers) < ENOUGH:
            return [0.0] * len(case.failures)
        weighed = self._weighed(case)
        if weighed.crowded <= weighed.expected:
            return [0.0] * len(case.failures)
        return [
            0.0 if failure.statuses else min(self._beside(case, failure) ** POWER / weighed.mean, MOST)
            for failure in case.failures
        ]

    def units(self, case: Case) -> Sequence[Hashable]:
        """What breaks within seconds is one coincidence."""
        return by_burst(case, TOGETHER_MS)

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        weighed = self._weighed(case)
        usually = percent(weighed.share) if weighed.share else "none"
        said = (
            f"{weighed.crowded} of {counted(weighed.failures, 'failure')} came while {weighed.many} or more {self.of} were "
            f"busy, as did {usually} of the answers; {weighed.expected:.1f} were to be expected."
        )
        return Brief((Evidence(said, "transcripts"),), (), self.settle())

    @abstractmethod
    def settle(self) -> str:
        """The command, and what it would show."""

    def _weighed(self, case: Case) -> _Weighed:
        step = max(1, len(case.answers) // 2000)
        usual = [self._beside(case, one) for one in case.answers[::step]]
        found = [self._beside(case, one) for one in case.failures if not one.statuses]
        mean = max(fmean(one**POWER for one in usual), ONE)
        many = next(number for number in count(1) if number**POWER >= TELLING * mean)
        return _Weighed(
            mean,
            many,
            sum(one >= many for one in usual) / len(usual),
            sum(one >= many for one in found),
            len(found),
        )

    def _beside(self, case: Case, one: Answer | Failure) -> int:
        """How many others were at work when it was asked, or when it was answered or broke: the more."""
        return max(self.others(case, at_ms, one.session, one.agent) for at_ms in {one.begun_ms, one.at_ms})
