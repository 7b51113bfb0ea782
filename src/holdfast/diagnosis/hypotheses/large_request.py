"""Large prompts fail more often."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from statistics import fmean

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._alike import by_session_day
from holdfast.diagnosis.hypothesis import Answered, Brief, Evidence, Hypothesis
from holdfast.flight.flights import counted, size
from holdfast.probes.result import Result

POWER = 3
"How steeply the risk grows with the prompt: eight times as likely at twice the size. Gentler slopes are not worth a claim."
MOST = 50.0
LARGE_BYTES = 500_000
"A prompt of some 100,000 tokens."
ENOUGH = 20
"Answered requests whose size is known: with fewer there is nothing to compare with."


def by_prompt(case: Case) -> list[float] | None:
    """Of each failure how much likelier a prompt of its size is among those that large ones break than among those that
    were answered; None where too few were."""
    sizes = [one.context_tokens for one in case.answers]
    if len(sizes) < ENOUGH:
        return None
    middle = sorted(sizes)[len(sizes) // 2] or 1
    usual = fmean((size / middle) ** POWER for size in sizes)
    return [
        0.0
        if failure.statuses
        else 1.0
        if failure.context_tokens is None or not failure.on_record
        else min((failure.context_tokens / middle) ** POWER / usual, MOST)
        for failure in case.failures
    ]


class LargeRequest(Hypothesis):
    """The larger the prompt, the likelier the request breaks: uploads that are cut, prompts that take too long to read.

    It predicts: failures grow with the true context at that request, against the requests of the same size that were
    answered (not with the size of the session's file, which only grows); compacting cures it for a while; the same
    request breaks again. Whether upload or reading is at fault shows in the age: an upload breaks within seconds.
    """

    name = "large-request"
    title = "Large prompts failed more often than small ones"
    remedy = "Compact before long work (/compact), and begin a new session for a new task, so that prompts stay small."
    likeness = 0.1
    compares = True
    falsifier = "the failure rate per request is the same at every context size"

    def ratios(self, case: Case) -> Sequence[float]:
        found = by_prompt(case)
        return [0.0] * len(case.failures) if found is None else found

    def units(self, case: Case) -> Sequence[Hashable]:
        """A session that is large and out of luck is one coincidence, however often it fails."""
        return by_session_day(case)

    def asked(self, case: Case, result: Result) -> Answered | None:
        told = result.facts.get("uploads")
        if result.name != "upload" or not isinstance(told, list):
            return None
        rungs = [one for one in told if isinstance(one, dict) and isinstance(one.get("size_bytes"), int)]
        whole = [one["size_bytes"] for one in rungs if one.get("whole") is True and not one.get("ended")]
        cut = [one["size_bytes"] for one in rungs if one.get("ended")]
        if cut and whole and min(cut) > max(whole):
            return Answered(5.0, f"{size(max(whole))} arrived whole, and {size(min(cut))} did not")
        if whole and not cut and max(whole) >= LARGE_BYTES:
            # Uploads are half of what it may be: reading a large prompt takes time as well.
            return Answered(
                0.6, f"{size(max(whole))} arrived whole; how long a prompt is read, no probe asks"
            )
        return None

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        sizes = sorted(one.context_tokens for one in case.answers)
        cut = sizes[(9 * len(sizes)) // 10]
        known = [
            one.context_tokens for one in case.failures if one.context_tokens is not None and not one.statuses
        ]
        above = sum(size >= cut for size in known)
        said = (
            f"{above} of {counted(len(known), 'failure')} had a prompt of {cut:,} tokens or more, where a tenth of the "
            f"answered requests had; {0.1 * len(known):.1f} were to be expected."
        )
        settle = (
            "holdfast probe upload --most 5MB: whether bodies of that size get through; holdfast probe mtu: whether full "
            "packets do; then compact earlier for a week (holdfast mark 'compacting at 60%'), and: holdfast diagnose"
        )
        return Brief(pro=(Evidence(said, "transcripts"),), settle=settle)
