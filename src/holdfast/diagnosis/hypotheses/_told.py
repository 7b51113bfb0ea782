"""What causes have in common that the error itself names: a status or a code says it, and nothing else would."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypothesis import Hypothesis

TOLD = 1e6
"The likelihood ratio of a cause's own name."


class Told(Hypothesis):
    """A cause that is told by its name: such a failure is its own, any other is not."""

    @abstractmethod
    def names(self, failure: Failure) -> bool:
        """Whether one of the failure's tries, or the client's last word, names it."""

    def ratios(self, case: Case) -> Sequence[float]:
        return [TOLD if self.names(failure) else 0.0 for failure in case.failures]
