"""Who may take over a turn: the rules of coming back.

A request that is the same turn as one that still runs is either its retry or its twin. It is the retry
where the old connection is gone or shows no life; then it takes the turn over. It is a twin where the old
connection provably lives; then it is a turn of its own, because sampling the same prompt twice is legitimate.
"""

from __future__ import annotations

from enum import Enum

from holdfast.gateway.turn import State

LIFELESS_S = 5.0
"Bytes unacknowledged for this long mean that nobody is at the other end of a connection."

LIFELESS_PROBES = 2
"So many keepalive probes without an answer mean the same."

ORPHANS_PER_TENANT = 64
"""Answers that one tenant may have without a listener in any case. One key may stand for a whole company: where more of
its turns were followed at once, so many may be orphans, as a provider's silence makes all of them give up together."""


class OldReader(Enum):
    """What is known of the connection that follows the turn now."""

    GONE = "gone"
    CLOSING = "closing"
    "The peer has closed its half, or the close is under way."
    LIFELESS = "lifeless"
    "Bytes to it have been unacknowledged for long."
    ALIVE = "alive"


class Coming(Enum):
    """What becomes of a request that is the same turn as another."""

    ADOPT = "adopt"
    WAIT = "wait"
    "Ask again after the twin grace: the old connection's close may be a moment behind the new request."
    SEPARATE = "separate"


class Allowance:
    """How many orphans each tenant may have: as many as it lately had turns that were followed, and 64 in any case.

    So a crowd may leave and come back, and a single client that asks something else each time it gives up cannot keep
    more than those 64 running. Tenants are told apart by their credential alone: behind one key, without session ids and
    from one address, as behind a proxy, nothing else tells two clients from one.
    """

    __slots__ = ("_lasts_s", "_most")

    def __init__(self, lasts_s: float) -> None:
        """`lasts_s`: how long it counts that so many were there; an orphan's own life."""
        self._lasts_s = lasts_s
        self._most: dict[str, tuple[int, float]] = {}

    def of(self, tenant: str, followed: int, now: float) -> int:
        """For a tenant one of whose turns just lost its listener; `followed` others of its still have one."""
        before, at = self._most.get(tenant, (0, now))
        if followed + 1 >= before or now - at > self._lasts_s:
            before, at = followed + 1, now
        if len(self._most) >= _TENANTS:
            self._most = {key: one for key, one in self._most.items() if now - one[1] <= self._lasts_s}
        if len(self._most) < _TENANTS or tenant in self._most:
            self._most[tenant] = before, at
        return max(ORPHANS_PER_TENANT, before)


_TENANTS = 1000
"Whose crowds are remembered."


def coming_back(state: State, old: OldReader, *, waited: bool) -> Coming:
    """Decide for a request that is the same turn as one in `state`, whose reader is `old`."""
    if state is State.DONE:
        return Coming.SEPARATE
    if old in (OldReader.GONE, OldReader.CLOSING, OldReader.LIFELESS):
        return Coming.ADOPT
    return Coming.SEPARATE if waited else Coming.WAIT
