"""When to ask a silent peer for a sign of life, and when to give it up: arithmetic about silence, no I/O.

HTTP/2's counterpart of TCP's keepalive, by the same setting. It reaches further: a proxy on the way
acknowledges TCP for a peer that is long gone, but it cannot answer a PING inside TLS.
"""

from __future__ import annotations

from enum import Enum

from holdfast.gateway.settings import Keepalive


class Look(Enum):
    """What is due."""

    WAIT = "nothing"
    ASK = "another question"
    GONE = "giving up"


class ProofOfLife:
    """What was asked, and when, since the peer was last heard."""

    __slots__ = ("_asked_at", "_rhythm", "asked", "unanswered")

    def __init__(self, rhythm: Keepalive) -> None:
        self._rhythm = rhythm
        self._asked_at = 0.0
        self.asked = 0
        "Questions altogether."
        self.unanswered = 0
        "Questions since the peer was heard."

    def __repr__(self) -> str:
        return f"<ProofOfLife {self.asked} asked, {self.unanswered} unanswered>"

    def look(self, now: float, heard_at: float) -> Look:
        """What is due, given when the peer was last heard. `ASK` counts as asked; a late look skips no question."""
        if self.unanswered and heard_at >= self._asked_at:
            self.unanswered = 0
        if now < self.due_at(heard_at):
            return Look.WAIT
        if self.unanswered == self._rhythm.count:
            return Look.GONE
        self.asked += 1
        self.unanswered += 1
        self._asked_at = now
        return Look.ASK

    def due_at(self, heard_at: float) -> float:
        """When to look again."""
        if self.unanswered and heard_at < self._asked_at:
            return self._asked_at + self._rhythm.interval_s
        return heard_at + self._rhythm.idle_s
