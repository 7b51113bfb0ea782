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
"Unfinished answers that one tenant may have without a listener; beyond it the oldest is stopped."


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


def coming_back(state: State, old: OldReader, *, waited: bool) -> Coming:
    """Decide for a request that is the same turn as one in `state`, whose reader is `old`."""
    if state is State.DONE:
        return Coming.SEPARATE
    if old in (OldReader.GONE, OldReader.CLOSING, OldReader.LIFELESS):
        return Coming.ADOPT
    return Coming.SEPARATE if waited else Coming.WAIT
