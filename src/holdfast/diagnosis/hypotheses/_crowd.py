"""What causes have in common that strike when much is under way at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from statistics import fmean

from holdfast.diagnosis.case import Answer, Case, Failure
from holdfast.diagnosis.hypotheses._alike import by_burst
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis
from holdfast.flight.flights import counted

TOGETHER_MS = 20_000
"What breaks so close together may be one thing that broke; a whole busy minute is not."
POWER = 3
"How steeply the risk grows with the number: gentler slopes are not worth a claim."
MOST = 50.0
ENOUGH = 20
"Answers to compare with."
MANY = 3


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
        usual = self._usual(case)
        mean = fmean((1 + one) ** POWER for one in usual)
        return [
            0.0 if failure.statuses else min((1 + self._beside(case, failure)) ** POWER / mean, MOST)
            for failure in case.failures
        ]

    def units(self, case: Case) -> Sequence[Hashable]:
        """What breaks within seconds is one coincidence."""
        return by_burst(case, TOGETHER_MS)

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        usual = self._usual(case)
        found = [self._beside(case, one) for one in case.failures if not one.statuses]
        share = sum(one >= MANY for one in usual) / max(len(usual), 1)
        crowded = sum(one >= MANY for one in found)
        said = (
            f"{crowded} of {counted(len(found), 'failure')} came while {MANY} or more {self.of} were busy, as did "
            f"{share:.0%} of the answers; {share * len(found):.1f} were to be expected."
        )
        return Brief((Evidence(said, "transcripts"),), (), self.settle())

    @abstractmethod
    def settle(self) -> str:
        """The command, and what it would show."""

    def _usual(self, case: Case) -> list[int]:
        step = max(1, len(case.answers) // 2000)
        return [self._beside(case, one) for one in case.answers[::step]]

    def _beside(self, case: Case, one: Answer | Failure) -> int:
        """How many others were at work when it was asked, or when it was answered or broke: the more."""
        return max(self.others(case, at_ms, one.session, one.agent) for at_ms in {one.begun_ms, one.at_ms})
