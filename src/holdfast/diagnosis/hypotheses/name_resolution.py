"""The provider's name could not be resolved."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._told import Told
from holdfast.diagnosis.hypotheses._words import counted, days
from holdfast.diagnosis.hypothesis import Brief, Evidence

CODES = frozenset({"ENOTFOUND", "EAI_AGAIN", "EAI_NONAME", "DNSException"})


class NameResolution(Told):
    """The resolver gave no address for the provider's name.

    It predicts: codes of the resolver's, at once, for every host alike, and often together with an outage of the
    link (then the outage is the cause, and this its face).
    """

    name = "name-resolution"
    title = "The provider's name could not be resolved"
    remedy = "Try another resolver; behind holdfast run turns wait for the name to come back."
    falsifier = "other names resolved at the same second"

    def names(self, failure: Failure) -> bool:
        return bool(failure.codes & CODES)

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        said = f"{counted(len(mine), 'request')} ended in the resolver, on {counted(days(mine), 'day')}."
        settle = "another resolver for a week (holdfast mark 'resolver changed'), then: holdfast diagnose"
        return Brief(pro=(Evidence(said, "transcripts"),), settle=settle)
