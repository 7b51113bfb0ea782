"""What a hypothesis is: a cause that predicts things, and says of each failure how well it would explain it.

Each file in `hypotheses/` holds one mechanism. It answers three questions.

*For one failure*: how much likelier are its features if this was the cause than if it came from nowhere? That is
a likelihood ratio. 1 says nothing, 0 excludes. What a source does not cover is 1, never 0.

*For one answer of the network* (a probe's kept result): how much likelier is it if this cause is at work than if not?
That weighs once, however many failures there are, and only as far as it was asked on their network and near their time
(`asked`).

*For all of them*: what speaks for it and against it, in sentences with their numbers; what would prove it wrong;
and the command that settles it here.

How many failures each cause gets is not for the hypotheses to decide: `examine` weighs them against each other
and against no cause at all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from holdfast.diagnosis.case import Case, Failure
from holdfast.probes.result import Result


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was seen, in a sentence with its numbers, and where."""

    text: str
    source: str
    "`transcripts`, `desktop log`, `flights`, `captures`, `probes`."


@dataclass(frozen=True, slots=True)
class Brief:
    """What there is to say about a cause, given the failures that it was found to explain."""

    pro: tuple[Evidence, ...] = ()
    con: tuple[Evidence, ...] = ()
    settle: str = ""
    "The command that would tell, and what it would show either way."
    excess: int | None = None
    "How many came beyond what was to be expected, where that is fewer than are put to it."


@dataclass(frozen=True, slots=True)
class Answered:
    """What a probe's result says about a cause."""

    ratio: float
    "How much likelier it is if this cause is at work than if it is not; never 0, for one probe excludes nothing."
    text: str
    "A clause without a full stop that says what was answered."


class Hypothesis:
    """One mechanism. The class's docstring is its page."""

    name: str
    "As in `holdfast explain`: lower case with dashes."
    title: str
    "A sentence without a full stop that a finding begins with."
    remedy: str
    "What to do about it: one action, in a sentence that a person can follow."
    falsifier: str
    "What would prove it wrong."
    price_bits: float = 1.0
    "What its free choices cost: the logarithm of how many places it could have looked in. One bit for being there."
    likeness: float = 1.0
    "How much alike failures of one unit are anyway, from 0 to 1. Of 1, ten prove as much as one."
    compares: ClassVar[bool] = False
    "Whether it sets failures against requests that went well: then it is shown those failures only that it may."
    rivals: ClassVar[Mapping[str, str]] = {}
    "Other hypotheses that predict the same features -> the observation that tells the two apart."

    @abstractmethod
    def ratios(self, case: Case) -> Sequence[float]:
        """For each failure of the case, in order: the likelihood ratio of its features, this cause to none.

        Never negative; all 0 where the case cannot show this cause at all.
        """

    def units(self, case: Case) -> Sequence[Hashable]:
        """For each failure of the case: what it shares its luck with, such as an outage, a session; None is nothing."""
        return [None] * len(case.failures)

    def bears(self, case: Case) -> Sequence[bool]:
        """For each failure of the case: whether it tells anything of this cause. Asked after `ratios`.

        Where the cause could not have struck whatever is true, that it did not is no evidence against it: a version that
        nobody used that day. Such a failure is none of its own, and weighs nothing.
        """
        return [True] * len(case.failures)

    def asked(self, case: Case, result: Result) -> Answered | None:
        """What this result says about the cause; None where it does not tell. Asked after `ratios`."""
        return None

    def beside(self, case: Case) -> Sequence[tuple[Answered, str]]:
        """Facts that are no failures and no probes, each with its source: they weigh once as well. Asked after `ratios`."""
        return ()

    @abstractmethod
    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        """What speaks for and against it, where these are the failures that it explains best."""

    def __repr__(self) -> str:
        return f"<Hypothesis {self.name}>"


def weights(units: Sequence[Hashable], likeness: float, bears: Sequence[bool]) -> list[float]:
    """What each failure counts for as evidence: n alike are worth n / (1 + (n - 1) * likeness), as in cluster samples; one
    that does not bear on the cause nothing."""
    alike = Counter(unit for unit, counts in zip(units, bears, strict=True) if counts and unit is not None)
    return [
        0.0 if not counts else 1.0 if unit is None else 1 / (1 + (alike[unit] - 1) * likeness)
        for unit, counts in zip(units, bears, strict=True)
    ]
