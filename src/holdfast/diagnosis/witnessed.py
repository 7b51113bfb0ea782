"""Hypotheses weighed under what somebody else saw of the same failures.

Who ended a connection excludes causes: what the provider closed in order, this machine's Wi-Fi did not break. It makes
none likelier by itself, for the provider's reset says nothing of why. So each cause loses the failures that were seen to
be otherwise (`closers` has the table), as far as it is sure that they were, and bears what was seen of its own as evidence;
what then no cause explains is left to who was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

from holdfast.diagnosis.case import Case, Failure, Witness
from holdfast.diagnosis.closers import End, cannot_be, end_of, fits
from holdfast.diagnosis.examine import Examination, examine
from holdfast.diagnosis.hypotheses.seen import (
    Seen,
    SeenClient,
    SeenGateway,
    SeenMachine,
    SeenPath,
    SeenProvider,
    told,
)
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis


def witnesses() -> list[Seen]:
    """The sides that may have been seen, new: weighed after the causes, for what those leave unexplained."""
    return [SeenProvider(), SeenPath(), SeenMachine(), SeenClient(), SeenGateway()]


BOX = "nat-timeout"
SIDE = "seen-client"
BOTH_SAW = (
    "Both ends saw the other one close: the client heard an end, and the proxy's log has its client's side gone. What did "
    "it stands between the two."
)
FROM_WHERE = (
    "a capture on the client's own machine, or holdfast run there: the program's own close leaves it, and what a box sends "
    "comes in"
)


def doubt(one: Witness) -> float:
    """How likely what was seen is not of this failure: it lies there by chance, or its clock goes otherwise."""
    return 1 - (1 - one.chance) * (1 - one.doubt)


class _Under(Hypothesis):
    """Mixed into a hypothesis: the same under what was seen."""

    def ratios(self, case: Case) -> Sequence[float]:
        return [
            ratio * self._left(case.seen.get(failure.id, ()))
            for failure, ratio in zip(case.failures, super().ratios(case), strict=True)  # type: ignore[safe-super]
        ]

    def _left(self, seen: Sequence[Witness]) -> float:
        """What is left of a failure's ratio: all of it where one end seen may be its, else the doubt in what was seen."""
        if not seen or not all(cannot_be(self.name, one) for one in seen):
            return 1.0
        return min(doubt(one) for one in seen)

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        brief = super().brief(case, mine)  # type: ignore[safe-super]
        seen = [one for failure in mine for one in list(case.seen.get(failure.id, ()))[:1]]
        pro = told([one for one in seen if fits(self.name, one)])
        con = told([one for one in seen if cannot_be(self.name, one)])
        if self.name == BOX and _both_saw(case, mine):
            pro.append(Evidence(BOTH_SAW, "added files"))
        return replace(brief, pro=(*brief.pro, *pro), con=(*brief.con, *con))


def _both_saw(case: Case, mine: Sequence[Failure]) -> bool:
    """Whether what was seen of most of these is that a proxy's client side was gone."""
    seen = [end_of(case.seen[one.id][0]) for one in mine if case.seen.get(one.id)]
    return 2 * sum(end is End.CLIENT_SIDE for end in seen) > len(mine)


def under(one: Hypothesis) -> Hypothesis:
    """This hypothesis, weighed under what was seen; in all else the same."""
    made: Hypothesis = copy(one)
    kind: type[Hypothesis] = type(f"Seen{type(one).__name__}", (_Under, type(one)), {"__doc__": one.__doc__})
    object.__setattr__(made, "__class__", kind)
    return made


def examined(case: Case, hypotheses: Sequence[Hypothesis]) -> Examination:
    """As `examine`; what no cause explains then goes to the side that was seen to have ended it.

    The causes are weighed once, without the sides: what is left over speaks against them whoever ended it.
    """
    if not case.seen:
        return examine(case, hypotheses)
    first = _box_or_client(examine(case, [under(one) for one in hypotheses]), case)
    left = frozenset(key for key in first.unexplained if key in case.seen)
    if not left:
        return first
    sides = witnesses()
    for side in sides:
        side.left = left
    then = examine(case, sides)
    findings = [*first.findings, *then.findings]
    findings.sort(key=lambda finding: (-round(finding.share, 2), -finding.bits))
    said = {key for finding in findings for key in finding.explains}
    return Examination(
        tuple(findings),
        tuple(one.id for one in case.failures if one.id in said),
        tuple(one.id for one in case.failures if one.id not in said),
        tuple(sorted((*first.considered, *then.considered), key=lambda item: -item[1])),
    )


def _box_or_client(found: Examination, case: Case) -> Examination:
    """A box that forgot, told by a proxy's log alone: that log cannot tell it from the program's own leaving."""
    by_id = {failure.id: failure for failure in case.failures}
    return replace(
        found,
        findings=tuple(
            replace(
                one,
                grade="either",
                rivals=(*one.rivals, SIDE),
                tell_apart="; ".join(filter(None, (one.tell_apart, FROM_WHERE))),
            )
            if one.hypothesis == BOX
            and SIDE not in one.rivals
            and _both_saw(case, [by_id[key] for key in one.explains])
            else one
            for one in found.findings
        ),
    )
