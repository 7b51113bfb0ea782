"""What the network answered when it was asked: results of probes, weighed for a cause.

A result says something about a path and a moment, and failures were on some path at other moments. So it counts only
with the probability that it speaks of theirs: with w that it does, and a ratio r if it does, it is worth
log2(w * r + 1 - w) bits. Asked on another network it is worth nothing; where the network of either is not known it may
have been another one; and it grows old, what is built more slowly than what happens. A status page tells of the past of
the provider and of no network: what counts is whether it covers the failures' time.

It is worth that once and not per failure: one box that was found once is one fact. And it is worth at most as much as
the failures themselves tell: a probe finds a cause that is there, and only failures show that it struck.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.clock import instant
from holdfast.diagnosis.hypothesis import Answered, Evidence, Hypothesis
from holdfast.flight.flights import counted
from holdfast.probes.result import Grade, Result
from holdfast.probes.status import published

DAY_MS = 86_400_000
BUILT_DAYS, MOMENT_DAYS = 180.0, 2.0
HALVED_DAYS: Mapping[str, float] = {
    "idle": BUILT_DAYS,
    "mtu": BUILT_DAYS,
    "handshake": BUILT_DAYS,
    "path": BUILT_DAYS,
    "trickle": BUILT_DAYS,
    "upload": 14.0,
    "link": 14.0,
    "resolve": 14.0,
}
"""After so many days a result of this probe is half as likely to speak of the same thing. A box and its timer stay for
months; a line's quality changes with the weeks; whether something answers just now is a matter of hours (`MOMENT_DAYS`)."""
SAME_UNKNOWN = 0.8
"That it was the same network where it is not known: most machines are on one most of the time."
TELLING = 1.5
"Failures that speak for a cause: a result is weighed for those."
LEAST_BITS = 0.1
"Less is not worth a sentence."
SOURCE = "probes"
_HERE = re.compile(r"(?:127\.|localhost\b|\[?::1\b)", re.IGNORECASE)
"A target on this machine: what was asked is no network."
OF_NO_TARGET = frozenset({"link", "status"})
"They tell of this machine, and of a page: whatever upstream was named beside."


@dataclass(frozen=True, slots=True)
class Weight:
    """One result, weighed for one cause."""

    bits: float
    evidence: Evidence


def weigh(one: Hypothesis, case: Case, ratios: Sequence[float]) -> list[Weight]:
    """What each kind of probe says about a cause, by the result that is nearest to its failures.

    `ratios` are the cause's own. Two results of one kind are not added: what is built is found twice.
    """
    mine = [
        failure for failure, ratio in zip(case.failures, ratios, strict=True) if ratio >= TELLING
    ] or list(case.failures)
    facts = [
        Weight(math.log2(told.ratio), Evidence(f"{told.text} ({math.log2(told.ratio):+.1f} bits).", source))
        for told, source in one.beside(case)
    ]
    best: dict[str, tuple[float, Result, Answered]] = {}
    for result in case.probes:
        if result.grade is Grade.NOT_MEASURED or not result.complete or not mine:
            continue
        if _HERE.match(result.target) and result.name not in OF_NO_TARGET:
            continue
        answered = one.asked(case, result)
        if answered is None:
            continue
        speaks = _speaks(result, mine, case)
        if result.name not in best or speaks >= best[result.name][0]:
            best[result.name] = (speaks, result, answered)
    return facts + [
        weight
        for speaks, result, answered in best.values()
        if (weight := _weight(speaks, result, answered, mine, case)) is not None
    ]


def _speaks(result: Result, mine: Sequence[Failure], case: Case) -> float:
    """How likely a result speaks of one of these failures."""
    past = published(result)
    speaking = (past.covers(one.at_ms) if past is not None else relevance(result, one, case) for one in mine)
    return sum(speaking) / len(mine)


def relevance(result: Result, failure: Failure, case: Case) -> float:
    """How likely a result speaks of the path and the time of a failure."""
    network = case.network_of(failure)
    same = (
        SAME_UNKNOWN
        if network is None or result.network is None
        else 1.0
        if network == result.network
        else 0.0
    )
    days = abs(result.begun_wall_ms - failure.at_ms) / DAY_MS
    return float(same * 0.5 ** (days / HALVED_DAYS.get(result.name, MOMENT_DAYS)))


def _weight(
    speaks: float, result: Result, answered: Answered, mine: Sequence[Failure], case: Case
) -> Weight | None:
    bits = math.log2(speaks * answered.ratio + 1 - speaks)
    anywhere = published(result) is not None
    elsewhere = [one for one in mine if not anywhere and _elsewhere(result, one, case)]
    if abs(bits) < LEAST_BITS and not elsewhere:
        return None
    said = f"holdfast probe {result.name} of {instant(result.begun_wall_ms)}: {answered.text}"
    if len(elsewhere) == len(mine):
        said += "; it was asked on another network than the failures', and weighs nothing"
    elif elsewhere:
        said += f"; {counted(len(elsewhere), 'failure')} of {len(mine)} were on another network"
    elif not anywhere and (any(case.network_of(one) is None for one in mine) or result.network is None):
        said += "; whether it was the failures' network is not known"
    return Weight(bits, Evidence(f"{said} ({bits:+.1f} bits).", SOURCE))


def _elsewhere(result: Result, failure: Failure, case: Case) -> bool:
    network = case.network_of(failure)
    return network is not None and result.network is not None and network != result.network
