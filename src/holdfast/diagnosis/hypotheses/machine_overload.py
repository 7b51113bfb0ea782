"""This machine had too little memory, files or time."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure, Span, merged
from holdfast.diagnosis.hypotheses._away import Away, within
from holdfast.diagnosis.hypothesis import Brief, Evidence
from holdfast.flight.endings import Mechanism
from holdfast.flight.flights import counted

CODES = frozenset({"EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ENOSPC"})
"The system's words for having no more of something."
SAID = 1e4
"Of such a code, or of an ending that the gateway saw on this machine: it names the machine, and not what exhausted it."
BEFORE_MS = 30_000
"A machine is short of memory for a while before its kernel ends somebody."


class MachineOverload(Away):
    """The machine itself had too little: the kernel ended processes for want of memory, processors stood still for seconds,
    no file or buffer was to be had. Whoever waits for bytes then reads them too late, or not at all.

    It predicts: failures within a minute of a line of the kernel's that says so, of several programs at once; codes such as
    EMFILE or ENOMEM; and none of it on another machine on the same network. A machine that is merely busy leaves no line,
    and cannot be told this way: many sessions at work are `many-sessions`. Read on Linux alone.
    """

    name = "machine-overload"
    title = "This machine had too little memory, files or time"
    remedy = "Let fewer sessions and builds run at once, or give the machine more memory (raise ulimit -n for EMFILE)."
    falsifier = "the same failures on another machine of the same network, at the same hours"
    face = "strain"
    after_ms = 60_000

    def spans(self, case: Case) -> list[Span]:
        return merged([Span(one.begun_ms - BEFORE_MS, one.ended_ms + self.after_ms) for one in case.strains])

    def watched(self, case: Case) -> list[Span]:
        return merged(case.link_watched)

    def ratios(self, case: Case) -> Sequence[float]:
        return [
            SAID if _said(case, failure) else ratio
            for failure, ratio in zip(case.failures, super().ratios(case), strict=True)
        ]

    def settle(self) -> str:
        return "journalctl -k at those times; fewer programs for a week (holdfast mark 'fewer'), then: holdfast diagnose"

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        spans = self.spans(case)
        near = sum(within(failure, spans) is not None for failure in mine)
        told = sum(_said(case, failure) for failure in mine)
        pro = []
        if near:
            strained = f"one of {counted(len(spans), 'strain')} in the kernel's log"
            pro.append(
                Evidence(f"{counted(near, 'failure')} came within a minute of {strained}.", "system log")
            )
        if told:
            words = f"{', '.join(sorted(CODES))}, or its kernel's"
            text = f"{counted(told, 'failure')} ended on this machine by its own words ({words})."
            pro.append(Evidence(text, "transcripts"))
        con = []
        if not case.link_watched:
            con.append(Evidence("No log of the kernel covers these times.", "system log"))
        return Brief(tuple(pro), tuple(con), self.settle())


def _said(case: Case, failure: Failure) -> bool:
    return bool(failure.codes & CODES) or any(
        one.mechanism is Mechanism.LOCAL_ERROR for one in case.trips_of.get(failure.id, ())
    )
