"""Many sessions at once are more than something can carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from holdfast.diagnosis.case import Case
from holdfast.diagnosis.hypotheses._crowd import Crowd


class ManySessions(Crowd):
    """Requests break more often while many sessions are at work: a line that is full, a router with a small table, an edge
    that limits connections, or retries of all of them at once that make it worse.

    It predicts: failures grow with the number of other sessions that are answered in the same minute, against the requests
    that were answered with as many; alone, nothing fails,
    and two at work are no crowd. A refusal by the account's limit is told apart: it says 429.
    """

    name = "many-sessions"
    title = "Requests failed while many sessions were at work"
    remedy = "Let fewer sessions work at the same time."
    falsifier = "the failure rate per request is the same with one session as with many"
    rivals: ClassVar[Mapping[str, str]] = {
        "subagents": "sessions without subagents at the same time, and the other way round"
    }
    of = "other sessions"

    def others(self, case: Case, at_ms: int, session: str, agent: str | None) -> int:
        return max(case.sessions_at(at_ms) - 1, 0)

    def settle(self) -> str:
        return "two sessions at most for a week (holdfast mark 'two at a time'), then: holdfast diagnose"
