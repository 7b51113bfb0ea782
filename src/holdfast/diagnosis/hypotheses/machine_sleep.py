"""The machine slept in the middle of a request."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._alike import by_burst
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis
from holdfast.flight.flights import counted

STEPS = ((600.0, 18.0), (1500.0, 100.0), (3600.0, 1000.0))
"Age from which on, seconds -> ratio. No client waits for an hour, and few limits are longer than ten minutes."
EDGE_MS = 15_000
"What is heard so shortly before the failure woke together with it."


class MachineSleep(Hypothesis):
    """The lid was closed, or the machine went to sleep by itself, while a request was under way.

    It predicts: a long gap in which no session on this machine was heard of, and right at its end the failure of what had
    been asked before it, of every session at once. The failure is older than the gap, far beyond any client's patience,
    because clocks stood still.
    """

    name = "machine-sleep"
    title = "The machine slept while a request was under way"
    remedy = "Keep the machine awake while turns run (caffeinate -i claude, systemd-inhibit claude)."
    falsifier = "another program's log with lines in the middle of those gaps"
    rivals: ClassVar[Mapping[str, str]] = {
        "fixed-limit": "another program's log: was it heard of during the gap?"
    }

    def ratios(self, case: Case) -> Sequence[float]:
        return [_ratio(case, failure) for failure in case.failures]

    def units(self, case: Case) -> Sequence[Hashable]:
        """One waking is one coincidence."""
        return by_burst(case)

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        gaps = sorted(one for failure in mine if (one := gap_s(case, failure)) is not None)
        said = f"{counted(len(gaps), 'request')} failed at the end of a gap in which no session was heard of"
        if gaps:
            said += f", of {gaps[0] / 60:.0f} to {gaps[-1] / 60:.0f} minutes"
        return Brief(
            pro=(Evidence(f"{said}.", "transcripts"),),
            settle="the system's log of sleeping and waking at those times (macOS: pmset -g log; Linux: journalctl -u "
            "systemd-suspend); holdfast mark 'sleep switched off', and a week later: holdfast diagnose",
        )


def gap_s(case: Case, failure: Failure) -> float | None:
    """For how long nothing was heard on the whole machine before this failure's first try ended.

    At most the try's own age; others may have been heard while it was under way, before the machine went to sleep. None
    where it is too short, or where the records do not tell.
    """
    if not failure.tries:
        return None
    first = failure.tries[0]
    if first.status is not None or first.age_s is None or first.age_s < STEPS[0][0]:
        return None
    heard = case.activity_ms
    before = bisect_left(heard, first.at_ms - EDGE_MS)
    begun = first.at_ms - round(first.age_s * 1000)
    asleep_s = (first.at_ms - max(begun, heard[before - 1] if before else begun)) / 1000
    return asleep_s if asleep_s >= STEPS[0][0] else None


def _ratio(case: Case, failure: Failure) -> float:
    gap = gap_s(case, failure)
    return 0.0 if gap is None else max(ratio for step, ratio in STEPS if gap >= step)
