"""What is not a turn: carried in both directions as it comes, in bounded memory, and not protected.

No log, no keepalive, no second chance: the slower side paces the faster one. It still has a record, so
that a flight list shows it for what it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.flight import moments as m
from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side
from holdfast.flight.instant import now as instant_now
from holdfast.flight.record import TurnRecord
from holdfast.gateway import headers as h
from holdfast.gateway.asker import Plan
from holdfast.gateway.defects import defect
from holdfast.gateway.dialects import anthropic
from holdfast.gateway.fields import Fields, Headers
from holdfast.gateway.listener import Exchange, Facts
from holdfast.gateway.upstream.connection import UpstreamConnection, at_hand
from holdfast.gateway.upstream.pool import UpstreamError

if TYPE_CHECKING:
    from holdfast.gateway.engine import Engine

_WAITING_BYTES = 256 * 1024
"Of a request's body, while the upstream connection is being made."


class _Answer:
    """The relay's ear towards upstream: both sides would call the same method name with opposite meanings."""

    __slots__ = ("_relay",)

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def response_started(self, status: int, reason: bytes, headers: Headers) -> None:
        self._relay.response_started(status, reason, headers)

    def body_arrived(self, data: bytes) -> None:
        self._relay.answer_arrived(data)

    def response_ended(self) -> None:
        self._relay.response_ended()

    def connection_ended(self, ending: Ending) -> None:
        self._relay.connection_ended(ending)

    def request_paused(self) -> None:
        self._relay.request_paused()

    def request_resumed(self) -> None:
        self._relay.request_resumed()


class Relay:
    """One opaque exchange."""

    __slots__ = (
        "_connecting",
        "_connection",
        "_engine",
        "_exchange",
        "_plan",
        "_request_ended",
        "_upstream_full",
        "_waiting",
        "_waiting_bytes",
        "record",
    )

    def __init__(self, engine: Engine, exchange: Exchange, plan: Plan, record: TurnRecord) -> None:
        self._engine = engine
        self._exchange = exchange
        self._plan = plan
        self.record = record
        self._connection: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._request_ended = False
        self._upstream_full = False

    def start(self) -> None:
        """Ask upstream, and take the request's body."""
        self.record.attempts = 1
        self._note(m.AttemptStarted(1))
        connection = self._engine.pool.idle()
        if connection is not None:
            self._send_on(connection)
        else:
            self._connecting = self._engine.loop.create_task(self._connect())
        self._exchange.received_by(self)

    async def _connect(self) -> None:
        try:
            connection = await self._engine.pool.connect()
        except UpstreamError as error:
            message = f"holdfast could not reach the upstream: {error.advice or error.ending.detail}"
            self._refuse(502, "api_error", message, error.ending)
            return
        except Exception as error:
            ending = Ending(Side.GATEWAY, Mechanism.LOCAL_ERROR, Phase.CONNECTING, defect(error))
            self._refuse(502, "api_error", f"holdfast failed: {ending.detail}; please report it", ending)
            return
        finally:
            self._connecting = None
        self._send_on(connection)

    def _send_on(self, connection: UpstreamConnection) -> None:
        exchange, settings = self._exchange, self._engine.settings
        self._connection = connection
        self._note(at_hand(1, connection))
        lines = h.framed(self._plan.lines.rendered(), exchange.method, exchange.length)
        target = settings.upstream.prefix.encode() + self._plan.target
        connection.start(_Answer(self), exchange.method, target, lines)
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            connection.send_body(data)
        if self._waiting_bytes > _WAITING_BYTES and not self._upstream_full:
            exchange.resume_body()
        if self._request_ended:
            connection.end_body()

    # -- the request --------------------------------------------------------------------------------

    def body_arrived(self, data: bytes) -> None:
        self.record.request_bytes += len(data)
        limit = self._engine.settings.limits.body_bytes
        if self.record.request_bytes > limit:
            self._too_large(limit)
            return
        if self._connection is not None:
            self._connection.send_body(data)
            return
        self._waiting.append(data)
        before = self._waiting_bytes
        self._waiting_bytes += len(data)
        if before <= _WAITING_BYTES < self._waiting_bytes:
            self._exchange.pause_body()

    def _too_large(self, limit: int) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        ending = Ending(Side.GATEWAY, Mechanism.DEADLINE, Phase.SENDING, "the request is too large")
        self._refuse(413, "request_too_large", f"the request exceeds {limit} bytes", ending)

    def body_ended(self) -> None:
        self._request_ended = True
        if self._connection is not None:
            self._connection.end_body()

    def request_paused(self) -> None:
        self._upstream_full = True
        self._exchange.pause_body()

    def request_resumed(self) -> None:
        self._upstream_full = False
        self._exchange.resume_body()

    # -- the answer ---------------------------------------------------------------------------------

    def response_started(self, status: int, reason: bytes, headers: Headers) -> None:
        self.record.status = status
        told = Fields(headers)
        found = told.first
        self.record.request_id = h.text(found, b"request-id") or h.text(found, b"x-request-id")
        self.record.edge_id = h.text(found, b"cf-ray")
        content_type = h.text(found, b"content-type") or ""
        self._note(m.HeadersArrived(1, status, self.record.request_id, content_type, self.record.edge_id))
        kept = h.to_client(told).rendered() + h.of_turn(self.record.turn_id)
        self._exchange.start(status, kept, reason=reason, length=h.content_length(found))

    def answer_arrived(self, data: bytes) -> None:
        self.record.answer_bytes += len(data)
        self._exchange.write(data)
        if self._exchange.paused and self._connection is not None:
            self._connection.pause_reading()

    def response_ended(self) -> None:
        self._connection = None
        self._exchange.end()
        self._end(COMPLETED)

    def connection_ended(self, ending: Ending) -> None:
        self._connection = None
        if self._exchange.started:
            self._exchange.abort()  # only a break can say that this answer is not whole
            self._end(ending)
        else:
            message = f"holdfast lost the upstream before it answered ({ending.code}); ask again"
            if ending.mechanism is Mechanism.MALFORMED:
                origin = self._engine.settings.upstream.origin
                message = f"holdfast cannot relay what {origin} answered ({ending.code}): {ending.detail}"
            self._refuse(502, "api_error", message, ending)

    def client_reset(self, after_ms: float) -> None:
        code = f"{Side.CLIENT.value}.{Mechanism.FIN_THEN_RST.value}.{Phase.IN_BODY.value}"
        self._note(m.ReaderReset(1, round(after_ms, 1), code))
        self._engine.recorder.changed(self.record)

    def client_resumed(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    def client_gone(self, mechanism: Mechanism, facts: Facts) -> None:
        lost = mechanism.rule in (Mechanism.KEEPALIVE_UNANSWERED, Mechanism.UNREACHABLE)
        self.stop(Ending(Side.PATH if lost else Side.CLIENT, mechanism, Phase.IN_BODY, "", facts))

    def stop(self, ending: Ending) -> None:
        """Break off both sides."""
        if self._connecting is not None:
            self._connecting.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        if not self._exchange.ended:
            self._exchange.abort()
        self._end(ending)

    def _refuse(self, status: int, kind: str, message: str, ending: Ending) -> None:
        self.record.status = status
        self._note(m.ErrorSaid(status, kind))
        turn = h.of_turn(self.record.turn_id)
        named = self.record.request_id or self.record.turn_id
        self._exchange.refuse(status, anthropic.error_body(kind, message, named), turn)
        self._end(ending)

    def _note(self, moment: m.Moment) -> None:
        self.record.note(instant_now(), moment)

    def _end(self, ending: Ending) -> None:
        if self.record.ended is not None:
            return
        self.record.ending = ending
        self.record.ended = instant_now()
        self._note(m.TurnEnded(ending))
        self._engine.relay_ended(self)
