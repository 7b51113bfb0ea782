"""The provider's name could not be resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._alike import by_burst
from holdfast.diagnosis.hypotheses._away import BEFORE_MS
from holdfast.diagnosis.hypotheses._told import Told
from holdfast.diagnosis.hypotheses._words import days
from holdfast.diagnosis.hypothesis import Answered, Brief, Evidence
from holdfast.flight.flights import counted
from holdfast.probes.result import Result

CODES = frozenset({"ENOTFOUND", "EAI_AGAIN", "EAI_NONAME", "DNSException"})

TOLD_LESS = 1000.0
"A code of the resolver's says where it ended, and less surely than a status why."


class NameResolution(Told):
    """The resolver gave no address for the provider's name.

    It predicts: codes of the resolver's, at once, for every host alike, while addresses can be reached. Together with an
    outage in which connections failed as well, the outage is the cause, and this its face.
    """

    name = "name-resolution"
    title = "The provider's name could not be resolved"
    remedy = "Try another resolver; behind holdfast run turns wait for the name to come back."
    falsifier = "other names resolved at the same second"
    rivals: ClassVar[Mapping[str, str]] = {
        "isp-outage": "whether an address answers while names do not: ping 1.1.1.1 at such a time"
    }

    def names(self, failure: Failure) -> bool:
        return bool(failure.codes & CODES)

    def ratios(self, case: Case) -> Sequence[float]:
        wider = [one for one in case.outages if one.kinds - {"name"}]
        bursts = by_burst(case)
        mixed = {
            burst
            for burst, failure in zip(bursts, case.failures, strict=True)
            if any(one.status is None and one.code not in CODES for one in failure.tries)
        }
        return [
            0.0
            if burst in mixed
            or any(one.holds(at, slack_ms=BEFORE_MS) for one in wider for at in failure.times_ms)
            else min(ratio, TOLD_LESS)
            for failure, burst, ratio in zip(case.failures, bursts, super().ratios(case), strict=True)
        ]

    def asked(self, case: Case, result: Result) -> Answered | None:
        if result.name != "resolve":
            return None
        errors, found = result.facts.get("system_errors"), result.facts.get("system_addresses")
        if errors and not found:
            return Answered(10.0, "the name did not resolve at all")
        return Answered(0.8, "the name resolved") if found and not errors else None

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        said = f"{counted(len(mine), 'request')} ended in the resolver, on {counted(days(mine), 'day')}."
        settle = (
            "holdfast probe resolve --rounds 20: what each resolver answers, and how fast; another one for a week "
            "(holdfast mark 'resolver changed'), then: holdfast diagnose"
        )
        return Brief(pro=(Evidence(said, "transcripts"),), settle=settle)
