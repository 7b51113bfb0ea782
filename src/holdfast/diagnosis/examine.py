"""Which causes a case has: hypotheses weighed against each other and against no cause at all.

A mixture. Every failure came from one of the causes or from nowhere in particular; each hypothesis says how much
likelier the failure's features are under it than under nowhere; how large each cause's share is, is found by
expectation and maximisation. A cause is claimed only if the case is much worse explained without it: the gain in
log likelihood, in bits, after a price for each cause added. So a cause that explains what others explain as well
gains nothing, unless it explains it better; and two that predict the same are named together.

    gain    grade
    >= 10   strong       a thousand to one
    >=  5   suspected    thirty to one
    less    not claimed; its failures stay unexplained
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypothesis import Brief, Hypothesis

STRONG_BITS = 10.0
SUSPECTED_BITS = 5.0
MINE = 0.5
"A failure is a cause's if it is likelier that than all else together."
EITHER = 0.9
"Two causes share their failures where, together, they have so much of what neither has alone."
ROUNDS = 200
SETTLED = 1e-9


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause, weighed."""

    hypothesis: str
    title: str
    grade: str
    "`strong`, `suspected`, or `either`: it cannot be told from `rival`."
    bits: float
    explains: tuple[str, ...]
    "Ids of the failures that are likeliest its own."
    share: float
    "Of all failures, as estimated; more exact than the count where many are doubtful."
    brief: Brief
    remedy: str
    falsifier: str
    rival: str | None = None
    tell_apart: str | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """All of a case. `explained` and `unexplained` add up to its failures."""

    findings: tuple[Finding, ...]
    "The one that explains most first."
    explained: tuple[str, ...]
    unexplained: tuple[str, ...]
    considered: tuple[tuple[str, float], ...]
    "Every hypothesis with its gain in bits, those that were not claimed too."


def examine(case: Case, hypotheses: Sequence[Hypothesis]) -> Examination:
    """Weigh the hypotheses against a case."""
    failures = list(case.failures)
    if not failures:
        return Examination((), (), (), tuple((one.name, 0.0) for one in hypotheses))
    ratios = {one.name: list(one.ratios(case)) for one in hypotheses}
    prices = {one.name: max(one.price_bits, 0.5 * math.log2(len(failures))) for one in hypotheses}
    kept = _select({name: row for name, row in ratios.items() if any(value > 1 for value in row)}, prices)
    gains = {one.name: _gain(kept, one.name, ratios[one.name], prices) for one in hypotheses}
    claimed = {name: row for name, row in kept.items() if gains[name] >= SUSPECTED_BITS}
    pairs = _indistinct(claimed, gains, ratios, prices, hypotheses)
    shares, parts = _mixture(claimed | {name: ratios[name] for name in pairs})
    findings = []
    for one in hypotheses:
        if one.name not in shares:
            continue
        rival = pairs.get(one.name)
        mine = [
            failure
            for number, failure in enumerate(failures)
            if parts[one.name][number] + (parts[rival][number] if rival in parts else 0.0) >= MINE
        ]
        if not mine:
            continue
        grade = "either" if rival else "strong" if gains[one.name] >= STRONG_BITS else "suspected"
        findings.append(_finding(one, grade, gains[one.name], mine, shares[one.name], case, rival))
    findings.sort(key=lambda finding: (-len(finding.explains), -finding.bits))
    explained = {key for finding in findings for key in finding.explains}
    return Examination(
        tuple(findings),
        tuple(failure.id for failure in failures if failure.id in explained),
        tuple(failure.id for failure in failures if failure.id not in explained),
        tuple(sorted(gains.items(), key=lambda item: -item[1])),
    )


def _finding(
    one: Hypothesis, grade: str, bits: float, mine: list[Failure], share: float, case: Case, rival: str | None
) -> Finding:
    return Finding(
        hypothesis=one.name,
        title=one.title,
        grade=grade,
        bits=bits,
        explains=tuple(failure.id for failure in mine),
        share=share,
        brief=one.brief(case, mine),
        remedy=one.remedy,
        falsifier=one.falsifier,
        rival=rival,
        tell_apart=one.rivals.get(rival) if rival else None,
    )


Rows = dict[str, list[float]]
Prices = dict[str, float]


def _select(rows: Rows, prices: Prices) -> Rows:
    """Take away, one after the other, the cause whose loss costs least, while that is less than its price."""
    kept = dict(rows)
    while kept:
        gains = {name: _gain(kept, name, row, prices) for name, row in kept.items()}
        worst = min(gains, key=lambda name: gains[name])
        if gains[worst] >= SUSPECTED_BITS:
            break
        del kept[worst]
    return kept


def _gain(kept: Rows, name: str, row: list[float], prices: Prices) -> float:
    """Bits that this cause adds to the others that were kept, its price taken off."""
    others = {other: values for other, values in kept.items() if other != name}
    if not any(value > 1 for value in row):
        return 0.0
    return _bits(others | {name: row}) - _bits(others) - prices[name]


def _bits(rows: Rows) -> float:
    """Log likelihood of the case under the best mixture of these causes, against no cause at all."""
    if not rows:
        return 0.0
    shares, _ = _mixture(rows)
    nowhere = 1.0 - sum(shares.values())
    size = len(next(iter(rows.values())))
    return sum(
        math.log2(max(nowhere + sum(shares[name] * rows[name][number] for name in rows), 1e-300))
        for number in range(size)
    )


def _mixture(rows: Rows) -> tuple[dict[str, float], Rows]:
    """The shares of the causes, and of each failure the part that is each cause's."""
    if not rows:
        return {}, {}
    size = len(next(iter(rows.values())))
    shares = {name: 0.5 / len(rows) for name in rows}
    parts: Rows = {name: [0.0] * size for name in rows}
    for _ in range(ROUNDS):
        nowhere = 1.0 - sum(shares.values())
        for number in range(size):
            weights = {name: shares[name] * rows[name][number] for name in rows}
            total = nowhere + sum(weights.values())
            for name, weight in weights.items():
                parts[name][number] = weight / total if total > 0 else 0.0
        before, shares = shares, {name: sum(parts[name]) / size for name in rows}
        if max(abs(shares[name] - before[name]) for name in rows) < SETTLED:
            break
    return shares, parts


def _indistinct(
    claimed: Rows, gains: dict[str, float], ratios: Rows, prices: Prices, hypotheses: Sequence[Hypothesis]
) -> dict[str, str]:
    """Causes that would do as well in the place of a claimed one, where the two are known to predict the same."""
    pairs: dict[str, str] = {}
    for one in hypotheses:
        if one.name not in claimed:
            continue
        for rival in one.rivals:
            if rival in claimed or rival not in ratios:
                continue
            others = {name: row for name, row in claimed.items() if name != one.name}
            gain = _gain(others, rival, ratios[rival], prices)
            if gain >= SUSPECTED_BITS and gain >= EITHER * gains[one.name]:
                pairs[one.name], pairs[rival] = rival, one.name
                gains[rival] = gain
                break
    return pairs
