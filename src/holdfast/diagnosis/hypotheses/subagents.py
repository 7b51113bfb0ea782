"""Many subagents at once are more than something can carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from holdfast.diagnosis.case import Case
from holdfast.diagnosis.hypotheses._crowd import Crowd


class Subagents(Crowd):
    """Requests break more often while a session has many subagents at work: they share one client's connections, and each
    stream waits for the others where the client or its host is short of time.

    It predicts: failures grow with the number of the same session's agents that are at work at the same time, against
    the requests that were answered with as many; other sessions do not matter.
    """

    name = "subagents"
    title = "Requests failed while many subagents were at work"
    remedy = "Let a session send out fewer subagents at a time."
    falsifier = "the failure rate per request is the same with one agent as with many"
    rivals: ClassVar[Mapping[str, str]] = {
        "many-sessions": "sessions without subagents at the same time, and the other way round"
    }
    of = "other agents of the session"

    def others(self, case: Case, at_ms: int, session: str, agent: str | None) -> int:
        return sum(
            name != agent and begun <= at_ms <= ended
            for name, (begun, ended) in case.agents.get(session, {}).items()
        )

    def settle(self) -> str:
        return "two subagents at most for a week (holdfast mark 'two agents'), then: holdfast diagnose"
