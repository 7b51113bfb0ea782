"""Something at the far end cuts what is silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.diagnosis.case import Case
from holdfast.diagnosis.hypotheses._age import Aged, outlived
from holdfast.diagnosis.hypotheses.fixed_limit import TELL
from holdfast.diagnosis.hypothesis import Answered


class SilenceLimit(Aged):
    """The provider, or an edge in front of it, ends a connection that has been silent for so long.

    It predicts: failures at the same age of requests that were silent from their beginning, while the model thinks; none
    whose answer was already coming, for then the age is longer and another each time. The cut is heard. A ping or any
    byte within the time prevents it.
    """

    name = "silence-limit"
    title = "Silent requests were cut at a fixed age"
    falsifier = "cut at the same age with bytes flowing, or with keepalives on the wire"
    rivals: ClassVar[Mapping[str, str]] = {"fixed-limit": TELL, "nat-timeout": TELL}

    def beside(self, case: Case) -> Sequence[tuple[Answered, str]]:
        """Silences that were longer, and after which the answer came."""
        return outlived(
            self.limit_s, [one.quiet_s for one in case.trips if not one.broke], "were silent for more than"
        )

    def fits(self, *, lost: bool, answered: bool | None) -> float:
        # That a request was silent is no news where most of that age are, and is some where few are.
        silent = 1.0 if answered is None else 1 / self.silent_share
        return (0.05 if lost else 1.0) * (0.05 if answered else silent)
