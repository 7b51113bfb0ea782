"""Readers: client connections that follow an answer.

A reader has an offset into the stream log and writes what is behind it, at the speed of its socket; the
provider is never slowed by it. While there is nothing to write, keepalives hold the client, in the form
that its profile was measured to accept. A reader that asked for the whole message (without streaming)
waits for the end and is given one JSON value.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from holdfast.flight.endings import Mechanism
from holdfast.gateway import headers as h
from holdfast.gateway.dialects import anthropic
from holdfast.gateway.leaving import Departure
from holdfast.gateway.listener import Exchange, Facts
from holdfast.gateway.orphans import LIFELESS_PROBES, LIFELESS_S, OldReader
from holdfast.gateway.profiles import Profile, Timers
from holdfast.gateway.streamlog import READ_SIZE, SpoolError

if TYPE_CHECKING:
    from holdfast.gateway.carrier import Carrier

_EVENT_STREAM: Final = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
_JSON: Final = b"content-type: application/json\r\n"
_SETTLE_S: Final = (0.02, 0.1, 0.5, 2.0)
"When to ask again whether the last byte was acknowledged; the last interval repeats."


class Reader:
    """One client connection that follows a carrier's stream log. Times are monotonic seconds."""

    __slots__ = (
        "_byte_before",
        "_event_before",
        "_kept_at",
        "_settling",
        "asked_at",
        "carrier",
        "event_at",
        "exchange",
        "fold",
        "gone",
        "how",
        "keepalives",
        "lagging",
        "number",
        "offset",
        "opened",
        "opened_early",
        "patience_s",
        "profile",
        "speaks_events",
        "timers",
        "written_at",
    )

    def __init__(
        self,
        carrier: Carrier,
        exchange: Exchange,
        profile: Profile,
        timers: Timers,
        *,
        number: int,
        how: str,
        now: float,
        patience_s: float,
        fold: bool = False,
    ) -> None:
        self.carrier = carrier
        self.exchange = exchange
        self.profile = profile
        self.timers = timers
        "The client's limits that are in force for this request, and what follows from them."
        self.number = number
        self.how = how
        self.fold = fold
        "Whether it asked for the whole message while the answer comes as a stream."
        self.patience_s = patience_s
        "How long it can wait for headers."
        self.asked_at = self.written_at = self.event_at = now
        self.offset = 0
        self.opened = False
        "Whether it was given a status and headers."
        self.opened_early = False
        "Whether that was before the present attempt's came: they were ours, or a broken attempt's."
        self.gone = False
        self.speaks_events = True
        "Whether what it was opened with is an event stream."
        self.lagging = False
        self.keepalives = 0
        self._kept_at: float | None = None
        "When the last one was written."
        self._byte_before = self._event_before = now
        "When the last byte and event before it were."
        self._settling: asyncio.TimerHandle | None = None
        if profile.close_connections:
            exchange.keep_alive = False

    def __repr__(self) -> str:
        where = "gone" if self.gone else f"at {self.offset}"
        return f"<Reader {self.number} {self.how} {where}, {self.keepalives} keepalives>"

    # -- the answer ---------------------------------------------------------------------------------

    def open(self, status: int, reason: bytes, headers: bytes, length: int | None, now: float) -> None:
        """Pass on upstream's status and headers."""
        self.opened = True
        self.speaks_events = self.carrier.streams
        self.written_at = self.event_at = now
        self.exchange.start(status, headers, reason=reason, length=length)

    def open_early(self, *, streaming: bool, now: float) -> None:
        """Give the client a 200 of ours, so that it goes on waiting."""
        self.opened = self.opened_early = True
        self.speaks_events = streaming
        self.exchange.start(200, (_EVENT_STREAM if streaming else _JSON) + self._turn_header())
        self.written_at = self.event_at = now
        self.keepalive(now)

    def wake(self, data: bytes, now: float) -> None:
        """`data` was just appended to the stream log."""
        exchange = self.exchange
        if exchange.paused or self.fold or not self.opened:
            if exchange.paused and not self.lagging:
                self.lagging = True
                self.carrier.reader_lags(self)
            return
        size = self.carrier.log.size
        if self.offset + len(data) == size:
            self.offset = size
            self.written_at = self.event_at = now
            exchange.write(data)
        else:
            self.pump(now)

    def pump(self, now: float) -> None:
        """Write what is behind the offset, as far as the socket takes it."""
        log = self.carrier.log
        if self.fold or not self.opened:
            return
        until = self.carrier.tellable
        while self.offset < until and not self.exchange.paused and not self.gone:
            try:
                data = log.read(self.offset, min(READ_SIZE, until - self.offset))
            except SpoolError as error:
                self.carrier.spool_failed(error)
                return
            self.offset += len(data)
            self.exchange.write(data)
            self.written_at = self.event_at = now

    def at_end(self) -> bool:
        """Whether everything that may be told was written to it."""
        return self.offset >= self.carrier.tellable

    def finish(self) -> None:
        """The answer is whole: write the rest, then the end."""
        if self.fold:
            self._finish_folded()
            return
        self.pump(self.carrier.now())
        if self.at_end() and not self.exchange.ended:
            self.exchange.end()
            self._settle(0)

    def finish_with(self, data: bytes) -> None:
        """End an answer that broke: the rest of the log, then `data` (an error event), then a proper end."""
        self.pump(self.carrier.now())
        half = self.speaks_events and not self.carrier.splits_between_events
        self.exchange.end(b"\n\n" + data if half else data)
        self.gone = True

    def refuse(self, status: int, body: bytes, headers: bytes = b"") -> None:
        """Answer with an error; only before anything was opened."""
        self.exchange.refuse(status, body, self._turn_header() + headers)
        self.gone = True

    def give(self, status: int, headers: bytes, body: bytes) -> None:
        """Answer with an error of upstream's, in one piece; only before anything was opened."""
        self.opened = self.gone = True
        self.exchange.start(status, headers, length=len(body))
        self.exchange.end(body)

    def abort(self) -> None:
        """Break the connection off."""
        self.gone = True
        self._stop_settling()
        self.exchange.abort()

    def keepalive(self, now: float) -> None:
        """Say something that means nothing, in the form this client accepts."""
        events = self.carrier.events
        if self.exchange.paused:
            return
        self._kept_at, self._byte_before, self._event_before = now, self.written_at, self.event_at
        if not self.speaks_events:
            data = b" "
        else:
            data = events.keepalive(self.profile.keepalive)
            if self.profile.keepalive == "null-delta":
                self.event_at = now
        self.exchange.write(data)
        self.written_at = now
        self.keepalives += 1

    @property
    def begun_with_white_space(self) -> bool:
        """Whether a JSON document was begun for it, and holds nothing yet."""
        return self.opened_early and not self.speaks_events and not self.offset

    @property
    def promised_events(self) -> bool:
        """Whether it was given the head of an event stream."""
        return self.opened and self.speaks_events and not self.fold

    @property
    def can_be_kept_alive(self) -> bool:
        """Whether a keepalive may be written now."""
        if self.gone or not self.opened or self.exchange.ended or self.exchange.paused:
            return False
        if not self.speaks_events:
            return self.opened_early and self.offset == 0  # white space, before the JSON only
        if self.opened_early and self.carrier.status is not None and not self.carrier.attempt.streaming:
            return True  # what comes is no stream, and will be told as an error
        return self.carrier.between_events and self.at_end()

    def _finish_folded(self) -> None:
        try:
            body = anthropic.message_body(anthropic.fold(self.carrier.log.whole()))
        except SpoolError as error:
            self.carrier.spool_failed(error)
            return
        except anthropic.Unfinished as error:
            self.carrier.cannot_fold(self, str(error))
            return
        self.offset = self.carrier.log.size
        if not self.opened:
            self.opened = True
            kept = h.without(self.carrier.client_headers, b"content-type")
            self.exchange.start(200, _JSON + kept, length=len(body))
        self.exchange.end(body)
        self._settle(0)

    def _turn_header(self) -> bytes:
        return h.of_turn(self.carrier.record.turn_id)

    # -- hearing the end ----------------------------------------------------------------------------

    def _settle(self, tries: int) -> None:
        """Ask the kernel whether the peer has acknowledged the last byte; ask again until it has.

        Where the kernel cannot tell (None), the peer is believed to have heard it.
        """
        self._settling = None
        if self.gone:
            return
        if not self.exchange.unacknowledged():
            self.gone = True
            if tries:
                self.exchange.on_closed(None)
            self.exchange.acknowledged()
            self.carrier.reader_heard(self)
            return
        self.exchange.on_closed(self._closed_while_settling)
        delay = _SETTLE_S[min(tries, len(_SETTLE_S) - 1)]
        self._settling = self.carrier.engine.loop.call_later(delay, self._settle, tries + 1)

    def _closed_while_settling(self, mechanism: Mechanism, unacknowledged: int | None) -> None:
        self._stop_settling()
        if self.gone:
            return
        self.gone = True
        if unacknowledged is None:
            # Not measured any more, and there was something when we asked last. Who closes in order has read.
            unacknowledged = 0 if mechanism in (Mechanism.FIN, Mechanism.COMPLETED) else 1
        if unacknowledged:
            self.carrier.reader_left_unheard(self, mechanism, unacknowledged)
        else:
            self.carrier.reader_heard(self)

    def _stop_settling(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None

    # -- BodyReceiver -------------------------------------------------------------------------------

    def body_arrived(self, data: bytes) -> None:
        """More of the request, of a turn that streams it upstream while it is read."""
        self.carrier.request_arrived(data)

    def body_ended(self) -> None:
        """The request is complete."""
        self.carrier.request_ended()

    def client_gone(self, mechanism: Mechanism, facts: Facts) -> None:
        """The connection ended before the answer did."""
        if self.gone:
            return
        self.gone = True
        self._stop_settling()
        self.carrier.reader_gone(self, mechanism, facts)

    def client_reset(self, after_ms: float) -> None:
        """It was closed in order, and reset right after."""
        self.carrier.reader_reset(self, after_ms)

    def client_resumed(self) -> None:
        """The socket takes bytes again."""
        self.carrier.reader_resumed(self)

    # -- what is known of it ------------------------------------------------------------------------

    def departure(
        self, mechanism: Mechanism, facts: Facts, *, streaming: bool | None, now: float, process_gone: bool
    ) -> Departure:
        """What there is to judge its leaving by. `facts` are the kernel's, of the moment of the close."""
        before = (now - self._byte_before, now - self._event_before)
        return Departure(
            mechanism=mechanism,
            since_request_s=now - self.asked_at,
            since_byte_s=now - self.written_at,
            since_event_s=now - self.event_at,
            headers_sent=self.opened,
            streaming=streaming,
            keepalive_before_s=before if self._kept_at == self.written_at else None,
            unacknowledged_s=_unacknowledged_s(facts, self.exchange.paused_s(now)),
            process_gone=process_gone,
        )

    def life(self) -> OldReader:
        """Whether anybody is still there, as far as the kernel can tell."""
        if self.gone or self.exchange.gone:
            return OldReader.CLOSING
        facts = self.exchange.facts()
        if _number(facts, "probes") >= LIFELESS_PROBES:
            return OldReader.LIFELESS
        waited = _unacknowledged_s(facts | {"unacked_bytes": self.exchange.unacknowledged()}, 0.0)
        return OldReader.LIFELESS if waited is not None and waited > LIFELESS_S else OldReader.ALIVE


def _unacknowledged_s(facts: Facts, paused_s: float) -> float | None:
    """How long, at least, bytes have been waiting for the peer's TCP: it does not read, or does not answer at all.

    The newest bytes were sent `last_data_sent_ms` ago, so the oldest wait no shorter. Where bytes were sent
    just now, that says nothing: they are unacknowledged for a round trip. Retransmissions say more then.
    """
    unacked = facts.get("unacked_bytes")
    if unacked is None:
        return None
    if not unacked:
        return 0.0
    silent_s = _number(facts, "last_ack_recv_ms") / 1000 if _number(facts, "retransmits") >= 2 else 0.0
    return max(_number(facts, "last_data_sent_ms") / 1000, silent_s, paused_s)


def _number(facts: Facts, name: str) -> float:
    value = facts.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0
