"""Which causes a case has: hypotheses weighed against each other and against no cause at all.

A mixture. Every failure came from one of the causes or from nowhere in particular; each hypothesis says how much
likelier the failure's features are under it than under nowhere; how large each cause's share is, is found by
expectation and maximisation. A cause is claimed only if the case is much worse explained without it: the gain in
log likelihood, in bits, after a price for each cause added. So a cause that explains what others explain as well
gains nothing, unless it explains it better; and those that would do as well in each other's place are named together.

Failures that are alike for a reason of their own prove less than as many that are not (`Hypothesis.units` and `likeness`): a
cause's gain is counted by their effective number. To which cause each failure belongs is another question, and there
every failure counts for itself. What could not have been a cause's whatever is true counts nothing for or against it
(`Hypothesis.bears`). What telemetry alone tells is on record by its outcome: it says nothing of a cause that compares
failures with answers (`Hypothesis.compares`).

What probes answered is added once to a cause's gain (`asked`), in bits as well.

    gain    grade
    >= 10   strong       a thousand to one
    >=  5   suspected    thirty to one
    less    not claimed; its failures stay unexplained
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from holdfast.diagnosis.asked import Weight, weigh
from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypothesis import Brief, Hypothesis, weights

STRONG_BITS = 10.0
SUSPECTED_BITS = 5.0
MINE = 0.5
"A failure is a cause's if it is likelier that than all else together."
TELLING = 1.5
"And if something about it speaks for that cause: nothing is explained by a cause's being common alone."
APART_BITS = SUSPECTED_BITS
"A rival that explains all but so many bits as well in a cause's place cannot be told from it."
ROUNDS = 200
SETTLED = 1e-7

Row = npt.NDArray[np.float64]
"Of one hypothesis: a number per failure."


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause, weighed."""

    hypothesis: str
    title: str
    grade: str
    "`strong`, `suspected`, or `either`: it cannot be told from its `rivals`."
    bits: float
    explains: tuple[str, ...]
    "Ids of the failures that are likeliest its own."
    share: float
    "Of all failures, as estimated; more exact than the count where many are doubtful."
    brief: Brief
    remedy: str
    falsifier: str
    rivals: tuple[str, ...] = ()
    "Other causes that would do as well in its place."
    tell_apart: str | None = None
    certain_remedy: bool = False
    "Whether the remedy is right whichever of them it is, and that it is one of them is strong."

    @property
    def rival(self) -> str | None:
        """Its rivals in words."""
        return " or ".join(self.rivals) or None


@dataclass(frozen=True, slots=True)
class Examination:
    """All of a case. `explained` and `unexplained` add up to its failures."""

    findings: tuple[Finding, ...]
    "The one with the largest share first."
    explained: tuple[str, ...]
    unexplained: tuple[str, ...]
    considered: tuple[tuple[str, float], ...]
    "Every hypothesis with its gain in bits, those that were not claimed too."


def examine(case: Case, hypotheses: Sequence[Hypothesis]) -> Examination:
    """Weigh the hypotheses against a case."""
    failures = list(case.failures)
    if not failures:
        return Examination((), (), (), tuple((one.name, 0.0) for one in hypotheses))
    known = {one.name: one for one in hypotheses}
    views = {name: case.compared if one.compares else case for name, one in known.items()}
    ratios = {name: _whole(one.ratios(views[name]), views[name], case, 1.0) for name, one in known.items()}
    counted = {
        name: _whole(
            weights(one.units(views[name]), one.likeness, one.bears(views[name])), views[name], case, 0.0
        )
        for name, one in known.items()
    }
    prices = {name: max(one.price_bits, 0.5 * math.log2(len(failures))) for name, one in known.items()}
    told = {name: weigh(one, case, [float(ratio) for ratio in ratios[name]]) for name, one in known.items()}
    asked = {name: sum(one.bits for one in answers) for name, answers in told.items()}
    weighing = _Weighing(ratios, counted, prices, asked)
    claimed = weighing.select()
    gains = {name: weighing.gain(name, claimed - {name}) for name in known}
    groups = {name: _rivals(known[name], claimed, gains, weighing) for name in known if name in claimed}
    _, parts = _mixture([ratios[name] for name in groups])
    findings = []
    for place, (name, rivals) in enumerate(groups.items()):
        speaking = parts[place] * (ratios[name] >= TELLING)
        mine = [failure for failure, part in zip(failures, speaking, strict=True) if part >= MINE]
        # What says nothing (1) of this cause could be put to it or to none as well, and how much of it is, is no estimate.
        share = float((parts[place] * (ratios[name] != 1)).mean())
        if mine:
            group = [known[name], *(known[rival] for rival in rivals)]
            found = _finding(group, gains[name], mine, share, views[name])
            findings.append(replace(found, brief=_with(found.brief, told[name])))
    findings.sort(key=lambda finding: (-round(finding.share, 2), -finding.bits))
    explained = {key for finding in findings for key in finding.explains}
    return Examination(
        tuple(findings),
        tuple(failure.id for failure in failures if failure.id in explained),
        tuple(failure.id for failure in failures if failure.id not in explained),
        tuple(sorted(gains.items(), key=lambda item: -item[1])),
    )


def _whole(told: Sequence[float], view: Case, case: Case, other: float) -> Row:
    """What is told of the failures of a view, for all failures of the case: `other` of those that are not in it."""
    if view is case:
        return np.array(told, dtype=np.float64)
    known = {failure.id: one for failure, one in zip(view.failures, told, strict=True)}
    return np.array([known.get(failure.id, other) for failure in case.failures], dtype=np.float64)


def _finding(
    group: Sequence[Hypothesis], bits: float, mine: list[Failure], share: float, case: Case
) -> Finding:
    one, *others = group
    strong = bits >= STRONG_BITS
    return Finding(
        hypothesis=one.name,
        title=one.title,
        grade="either" if others else "strong" if strong else "suspected",
        bits=bits,
        explains=tuple(failure.id for failure in mine),
        share=share,
        brief=one.brief(case, mine),
        remedy=one.remedy,
        falsifier=one.falsifier,
        rivals=tuple(other.name for other in others),
        tell_apart="; ".join(dict.fromkeys(one.rivals[other.name] for other in others)) or None,
        certain_remedy=strong and all(other.remedy == one.remedy for other in others),
    )


def _with(brief: Brief, weights: Sequence[Weight]) -> Brief:
    pro = tuple(one.evidence for one in weights if one.bits > 0)
    con = tuple(one.evidence for one in weights if one.bits <= 0)
    return replace(brief, pro=(*brief.pro, *pro), con=(*brief.con, *con))


class _Weighing:
    """Sets of causes against each other."""

    def __init__(
        self,
        ratios: Mapping[str, Row],
        weights: Mapping[str, Row],
        prices: Mapping[str, float],
        asked: Mapping[str, float],
    ) -> None:
        self.ratios, self.weights, self.prices, self.asked = ratios, weights, prices, asked
        self.known: dict[tuple[frozenset[str], bytes], float] = {}

    def bits(self, names: frozenset[str], weights: Row) -> float:
        """Log likelihood of the case under the best mixture of these causes, against no cause at all."""
        if not names:
            return 0.0
        key = (names, weights.tobytes())
        if key not in self.known:
            rows = [self.ratios[name] for name in sorted(names)]
            shares, _ = _mixture(rows, weights)
            whole = 1.0 - shares.sum() + shares @ np.array(rows)
            self.known[key] = float(weights @ np.log2(np.maximum(whole, 1e-300)))
        return self.known[key]

    def gain(self, name: str, others: frozenset[str]) -> float:
        """Bits that a cause adds to others, its price taken off; a probe supports no more than failures tell."""
        if not (self.ratios[name] > 1).any():
            return 0.0
        weights = self.weights[name]
        if not weights.any():
            return 0.0
        adds = self.bits(others | {name}, weights) - self.bits(others, weights)
        return adds + min(self.asked[name], max(adds, 0.0)) - self.prices[name]

    def select(self) -> frozenset[str]:
        """Take what gains most, one after the other, and drop again what later ones made needless."""
        chosen: frozenset[str] = frozenset()
        for _ in range(2 * len(self.ratios)):
            gains = {name: self.gain(name, chosen) for name in self.ratios if name not in chosen}
            best = max(gains, key=lambda name: gains[name], default=None)
            if best is None or gains[best] < SUSPECTED_BITS:
                break
            chosen |= {best}
            while chosen:
                left = {name: self.gain(name, chosen - {name}) for name in sorted(chosen)}
                worst = min(left, key=lambda name: left[name])
                if left[worst] >= SUSPECTED_BITS:
                    break
                chosen -= {worst}
        return chosen


def _mixture(rows: Sequence[Row], counts: Row | None = None) -> tuple[Row, npt.NDArray[np.float64]]:
    """The shares of the causes, and of each failure the part that is each cause's, a row per cause.

    `counts`: what each failure counts for, where they do not count alike.
    """
    if not rows:
        return np.zeros(0), np.zeros((0, 0))
    table = np.array(rows)
    shares = np.full(len(rows), 0.5 / len(rows))
    parts = np.zeros_like(table)
    each = np.ones(table.shape[1]) if counts is None else counts
    each = each / each.sum()
    for _ in range(ROUNDS):
        weights = shares[:, None] * table
        parts = weights / np.maximum(1.0 - shares.sum() + weights.sum(axis=0), 1e-300)
        before, shares = shares, parts @ each
        if np.abs(shares - before).max() < SETTLED:
            break
    return shares, parts


def _rivals(
    one: Hypothesis, claimed: frozenset[str], gains: dict[str, float], weighing: _Weighing
) -> tuple[str, ...]:
    """Causes that would do as well in the place of a claimed one, where they are known to predict the same."""
    others = claimed - {one.name}
    found = []
    for rival in one.rivals:
        if rival in claimed or rival not in weighing.ratios:
            continue
        gain = weighing.gain(rival, others)
        if gain >= SUSPECTED_BITS and gain > gains[one.name] - APART_BITS:
            gains[rival] = gain
            found.append(rival)
    return tuple(found)
