"""The account's limit was reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._told import Told
from holdfast.diagnosis.hypotheses._words import outcomes
from holdfast.diagnosis.hypothesis import Brief, Evidence
from holdfast.flight.flights import counted

TOGETHER_MS = 60_000
TELL = "holdfast run for a week: its retries are capped; do the refusals stay?"


class RateLimit(Told):
    """The provider refused more requests for a while (429), by the account's rate or token limits.

    It predicts: status 429, more of them while several sessions or subagents work at the same time.
    """

    name = "rate-limit"
    title = "The account's rate limit was reached"
    remedy = "Let fewer sessions and subagents work at the same time, or raise the account's limit."
    rivals: ClassVar[Mapping[str, str]] = {"retry-storm": TELL}
    falsifier = "a 429 whose words name no limit of the account's: then something on the way made it"

    def names(self, failure: Failure) -> bool:
        return 429 in failure.statuses

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        said = f"{counted(len(mine), 'request')} got status 429: {outcomes(mine)}."
        busy = sum(
            any(
                abs(answer.at_ms - one.at_ms) <= TOGETHER_MS and answer.session != one.session
                for answer in case.answers
            )
            for one in mine
        )
        pro = [Evidence(said, "transcripts")]
        con = []
        if busy:
            pro.append(
                Evidence(f"{busy} of them within a minute of another session's answer.", "transcripts")
            )
        else:
            con.append(Evidence("No other session was asking within a minute of any of them.", "transcripts"))
        return Brief(
            tuple(pro),
            tuple(con),
            "one session at a time for a day (holdfast mark 'one at a time'), then: holdfast diagnose --since 24h",
        )
