"""A hedge: a question that upstream is silent about is asked a second time, in parallel.

It costs a second generation, so it is off unless it is asked for. The first to speak wins: an event of the
answer, not headers, which come before anything is known. The loser is cancelled.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism
from holdfast.gateway.asking import Asking
from holdfast.gateway.attempt import refused_with
from holdfast.gateway.fields import Headers
from holdfast.gateway.streamlog import SpoolError

if TYPE_CHECKING:
    from holdfast.gateway.carrier import Carrier

log = logging.getLogger("holdfast.gateway")


class Hedge:
    """The second attempt, and what is known of its answer. It is over when its carrier has none."""

    __slots__ = ("_carrier", "_head", "_rival")

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._rival = Asking(carrier, carrier.record.attempts + 1)
        self._rival.fresh = True
        self._head: tuple[int, bytes, Headers] | None = None
        "Its status, reason and headers, while it has said nothing more."

    def __repr__(self) -> str:
        return f"<Hedge {self._rival!r}>"

    def start(self, now: float) -> None:
        """Ask."""
        carrier, rival = self._carrier, self._rival
        try:
            rival.outgoing = carrier.question.edited(carrier.body)
        except SpoolError as error:
            log.warning("a question cannot be asked a second time: %s", error)
            carrier.hedge = None
            return
        carrier.record.attempts += 1
        carrier.note(m.HedgeStarted(rival.number, round(now - (carrier.attempt.sent_at or now), 3)))
        rival.start()

    def headers_arrived(self, status: int, reason: bytes, headers: Headers) -> None:
        """Of the second attempt. An error of its own is not told while the first may yet answer."""
        if status >= 400:
            self.lost(refused_with(status))
        else:
            self._head = (status, reason, headers)

    def spoke(self, attempt: Asking) -> None:
        """One of the two says something: it is the answer, and the other is stopped."""
        carrier = self._carrier
        if attempt is not self._rival:
            self._end(self._rival, "the first attempt spoke first", Mechanism.SUPERSEDED)
            carrier.hedge = None
            return
        self._end(carrier.attempt, "the second attempt spoke first", Mechanism.SUPERSEDED)
        self.take_over()

    def refused(self, status: int) -> None:
        """The first attempt was given an error. It is not told while the second may yet answer."""
        attempt = self._carrier.attempt
        ending = self._carrier.with_evidence(attempt, attempt.ended(refused_with(status)))
        attempt.close()
        self._carrier.note(m.AttemptEnded(attempt.number, ending))
        self.take_over()

    def take_over(self) -> None:
        """The second attempt is the only one left."""
        self._carrier.take_over(self._rival, self._head)

    def lost(self, ending: Ending) -> None:
        """The second attempt came to nothing; the first goes on."""
        self._carrier.hedge = None
        ending = self._carrier.with_evidence(self._rival, self._rival.ended(ending))
        self._rival.close()
        self._carrier.note(m.AttemptEnded(self._rival.number, ending))

    def stop(self, why: str) -> None:
        """Nobody wants either."""
        self._end(self._rival, why, Mechanism.CANCELLED)
        self._carrier.hedge = None

    def _end(self, attempt: Asking, why: str, mechanism: Mechanism) -> None:
        carrier = self._carrier
        ending = attempt.stopped(why, phase=carrier.events.phase, mechanism=mechanism)
        ending = carrier.with_evidence(attempt, ending)
        if attempt.close():
            carrier.note(m.UpstreamStopped(attempt.number, why))
        carrier.note(m.AttemptEnded(attempt.number, ending))
