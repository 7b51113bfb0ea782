"""The arrival of a request for a turn: is it a new one, or one coming back?

Mostly nobody of the same session and credential is waiting for anything; then the request goes upstream
while it is read. Where somebody may be, it is read to its end first, compared, and then either follows an
answer that exists already, or waits a moment to see whether the connection it may replace is gone, or
becomes a turn of its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.flight import moments as m
from holdfast.flight.endings import Mechanism
from holdfast.gateway import sameness
from holdfast.gateway.asker import Asker
from holdfast.gateway.asking import Question
from holdfast.gateway.guard import Refusal
from holdfast.gateway.listener import Exchange, Facts
from holdfast.gateway.orphans import Coming, coming_back
from holdfast.gateway.streamlog import SpoolError, StreamLog

if TYPE_CHECKING:
    from holdfast.gateway.carrier import Carrier
    from holdfast.gateway.engine import Engine


class Arrival:
    """A request that is read to its end before it is decided what becomes of it."""

    __slots__ = (
        "_engine",
        "_gone",
        "_moments",
        "_streaming",
        "_timer",
        "_waited",
        "_waiting_for",
        "asker",
        "body",
        "exchange",
        "question",
    )

    def __init__(
        self, engine: Engine, exchange: Exchange, asker: Asker, question: Question, body: StreamLog
    ) -> None:
        self._engine = engine
        self.exchange = exchange
        self.asker = asker
        self.question = question
        self.body = body
        self._timer: asyncio.TimerHandle | None = None
        self._waited = False
        self._gone = False
        self._streaming: bool | None = None
        self._waiting_for: Carrier | None = None
        engine.arrivals.add(self)
        self._moments: list[m.RequestHeld] = []

    # -- BodyReceiver -------------------------------------------------------------------------------

    def body_arrived(self, data: bytes) -> None:
        limit = self._engine.settings.limits.body_bytes
        if self._gone:
            return
        if self.body.size + len(data) > limit:
            self._refuse(413, "request_too_large", f"the request exceeds {limit} bytes")
            return
        try:
            self.body.append(data)
        except SpoolError as error:
            self._refuse(503, "api_error", f"no room for the request ({error}); make room on its disk")

    def body_ended(self) -> None:
        if not self._gone:
            self.decide()

    def client_gone(self, mechanism: Mechanism, facts: Facts) -> None:
        self._drop()

    def client_reset(self, after_ms: float) -> None:
        """It is dropped already."""

    def client_resumed(self) -> None:
        """Nothing is being written yet."""

    # -- deciding -----------------------------------------------------------------------------------

    def decide(self) -> None:
        """The request is whole: say what becomes of it."""
        if self._gone:
            return
        self._stop_waiting()
        if self._engine.stopping:
            self._refuse(503, "api_error", "this gateway is stopping; ask again")
            return
        try:
            self._decide(self.body.whole())
        except SpoolError as error:
            self._refuse(503, "api_error", f"what was spooled cannot be read ({error}); ask again")

    def _decide(self, body: bytes) -> None:
        if self._engine.give_late_failure(self, body):
            self._drop()
            return
        if self._engine.answer_doomed(self, body):
            self._drop()
            return
        for carrier in self._engine.candidates(self.asker.key):
            how = self._relation(carrier, body)
            if how is not None:
                coming = coming_back(carrier.turn.state, carrier.old_reader(), waited=self._waited)
                if coming is Coming.ADOPT:
                    self._adopt(carrier, how)
                    return
                if coming is Coming.WAIT:
                    self._wait_for(carrier)
                    return
            elif carrier.reader is None and self._took_its_place(carrier, body):
                carrier.moved_on()
        self._over()
        self._engine.begin(self, body, held=self._moments)

    def _relation(self, carrier: Carrier, body: bytes) -> str | None:
        """`retry`, `fallback`, or None: whether this request is the same turn as the carrier's."""
        if not carrier.body_complete:
            return None
        if carrier.body.holds(body):
            folds = carrier.question.as_stream
            return None if folds and carrier.encoded else "retry"  # what is compressed cannot be put together
        if (
            not self.asker.profile.fallback
            or carrier.streaming is False
            or self._streams(body)
            or carrier.encoded
        ):
            return None
        return "fallback" if sameness.same_but_fallback(carrier.body.whole(), body) else None

    def _streams(self, body: bytes) -> bool:
        if self._streaming is None:
            self._streaming = sameness.is_streaming(body)
        return self._streaming

    def _took_its_place(self, carrier: Carrier, body: bytes) -> bool:
        """Only within one session: of requests without one nobody knows whose they are."""
        if carrier.record.session is None:
            return False
        return carrier.body_complete and sameness.same_conversation(carrier.body.whole(), body)

    def _wait_for(self, carrier: Carrier) -> None:
        self._moments.append(m.RequestHeld(carrier.record.turn_id))
        self._waited = True
        carrier.waiting += (self,)
        self._waiting_for = carrier
        grace = self._engine.settings.timeouts.twin_grace_s
        self._timer = self._engine.loop.call_later(grace, self.decide)

    def _adopt(self, carrier: Carrier, how: str) -> None:
        self._over()
        self.body.close()
        self._engine.adopt(carrier, self, how)

    def _refuse(self, status: int, kind: str, message: str) -> None:
        self._drop()
        self.exchange.refuse(status, self._engine.refused(Refusal(status, kind, message)))

    def stop(self) -> None:
        """The gateway is closing."""
        if not self._gone:
            self._refuse(503, "api_error", "this gateway is stopping; ask again")

    def _drop(self) -> None:
        self._over()
        self.body.close()

    def _over(self) -> None:
        self._gone = True
        self._stop_waiting()
        self._engine.arrivals.discard(self)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        carrier, self._waiting_for = self._waiting_for, None
        if carrier is not None:
            carrier.waiting = tuple(other for other in carrier.waiting if other is not self)
