"""What causes have in common that the error itself names: a status or a code says it, and nothing else would."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._published import within_incidents
from holdfast.diagnosis.hypothesis import Answered, Hypothesis
from holdfast.probes.result import Result

TOLD = 1e6
"The likelihood ratio of a cause's own name."
TOLD_LATER = 100.0
"Where a later try names it, and the first failed of something else."


class Told(Hypothesis):
    """A cause that is told by its name: such a failure is its own, any other is not."""

    @abstractmethod
    def names(self, failure: Failure) -> bool:
        """Whether one of the failure's tries, or the client's last word, names it."""

    def ratios(self, case: Case) -> Sequence[float]:
        return [self._ratio(failure) for failure in case.failures]

    def _ratio(self, failure: Failure) -> float:
        if not self.names(failure):
            return 0.0
        return TOLD if self.names(replace(failure, tries=failure.tries[:1])) else TOLD_LATER


class Providers(Told):
    """One of them that is the provider's own trouble: its status page may know of it."""

    def asked(self, case: Case, result: Result) -> Answered | None:
        return within_incidents(case, [one for one in case.failures if self.names(one)], result)
