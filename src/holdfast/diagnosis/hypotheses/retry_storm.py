"""What broke is asked again by everybody at once, and that is too much."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._alike import by_burst
from holdfast.diagnosis.hypotheses._told import TOLD
from holdfast.diagnosis.hypotheses.rate_limit import TELL
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis
from holdfast.flight.flights import counted

REFUSED = 429
WITHIN_MS = 60_000
MANY = 8
"Retries in a minute: one session that retries by itself makes six or seven."
OUTNUMBER = 2
"And so many times the requests that were answered meanwhile."
SOME = 4
"Retries in a minute that may have been the reason, or may not: if they are more than what was answered meanwhile."
AMONG_RETRIES = 20.0
"A refusal among so many retries, against one at any time: a minute in twenty at most has so many by another cause."


class RetryStorm(Hypothesis):
    """Something else broke many requests; all of them were asked again at once, every session for itself, and the account's
    or the provider's limit then refused what it would have carried one after the other.

    It predicts: refusals (429) that begin only after other failures, in minutes in which this machine's own retries
    outnumber everything else, and that end with them. Refusals while work goes on as usual are `rate-limit`: the account
    had used up what it may, retries or not. Refusals among some retries may be either. An overload's own 529s are no storm,
    though they bring one about.
    """

    name = "retry-storm"
    title = "Retries of other failures were so many that they were refused"
    remedy = (
        "Run the client behind holdfast run: its retries are a tenth of the requests at most, and wait for the network "
        "instead of burning tries; let fewer sessions work at once."
    )
    falsifier = "refusals of that kind in minutes without any retry before them"
    rivals: ClassVar[Mapping[str, str]] = {"rate-limit": TELL}

    def ratios(self, case: Case) -> Sequence[float]:
        retried = _retries(case)
        return [
            0.0
            if not _first_refused(one)
            else AMONG_RETRIES * TOLD
            if _storm(case, one, retried)
            else TOLD
            if _storm(case, one, retried, SOME, 1)
            else 0.0
            for one in case.failures
        ]

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        retried = _retries(case)
        most = max((_before(one, retried) for one in mine), default=0)
        bursts = len({unit for one, unit in zip(case.failures, by_burst(case), strict=True) if one in mine})
        said = (
            f"{counted(len(mine), 'request')} were refused (429) in {counted(bursts, 'burst')} of retries of other "
            f"failures, up to {most} of them in the minute before."
        )
        calm = sum(_first_refused(one) and not _storm(case, one, retried, SOME, 1) for one in case.failures)
        con = (
            [Evidence(f"{counted(calm, 'refusal')} came without such a burst.", "transcripts")]
            if calm
            else []
        )
        settle = "holdfast run for a week (holdfast mark 'retries capped'), then: holdfast diagnose"
        return Brief((Evidence(said, "transcripts"),), tuple(con), settle)


def _first_refused(one: Failure) -> bool:
    return bool(one.tries) and one.tries[0].status == REFUSED


def _retries(case: Case) -> list[int]:
    """When requests that something else had broken were tried again (ms), in order."""
    return sorted(
        one.at_ms for failure in case.failures if not _first_refused(failure) for one in failure.tries[1:]
    )


def _before(failure: Failure, retried: Sequence[int]) -> int:
    return bisect_left(retried, failure.at_ms) - bisect_left(retried, failure.at_ms - WITHIN_MS)


def _storm(
    case: Case, failure: Failure, retried: Sequence[int], least: int = MANY, outnumber: int = OUTNUMBER
) -> bool:
    """Whether retries were many, and most of what was asked, in the minute before."""
    many = _before(failure, retried)
    times = case.answer_times_ms
    answered = bisect_right(times, failure.at_ms) - bisect_left(times, failure.at_ms - WITHIN_MS)
    return many >= least and many >= outnumber * answered
