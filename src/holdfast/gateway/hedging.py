"""A hedge: a question that upstream is silent about is asked a second time, in parallel.

It costs a second generation, so it is off unless it is asked for. The first to speak wins: an event of the
answer, not headers, which come before anything is known. The loser is cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.flight import moments as m
from holdfast.gateway import headers as h
from holdfast.gateway.asking import Asking

if TYPE_CHECKING:
    from holdfast.gateway.carrier import Carrier


class Hedge:
    """The second attempt, and what is known of its answer."""

    __slots__ = ("_carrier", "head", "rival")

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.rival = Asking(carrier, carrier.record.attempts + 1)
        self.rival.fresh = True
        self.head: tuple[int, bytes, h.Headers] | None = None
        "Its status, reason and headers, while it has said nothing more."

    def __repr__(self) -> str:
        return f"<Hedge {self.rival!r}>"

    def start(self, silent_s: float) -> None:
        """Ask. Raises `SpoolError`."""
        carrier, rival = self._carrier, self.rival
        rival.outgoing = carrier.question.edited(carrier.body)
        carrier.record.attempts += 1
        carrier.note(m.HedgeStarted(rival.number, round(silent_s, 3)))
        rival.start()

    def headers_arrived(self, status: int, reason: bytes, headers: h.Headers) -> bool:
        """Whether it is still in the race: an error of its own is not told while the other may yet answer."""
        self.head = (status, reason, headers)
        self.rival.heard_at = self._carrier.now()
        return status < 400
