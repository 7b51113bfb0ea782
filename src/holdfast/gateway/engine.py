"""The engine: every request comes here, and everything that several turns share lives here.

It admits or refuses, tells turns from what is carried opaque, finds the turn that a request may be coming
back to, and keeps the accounts. What happens within one turn is its carrier's business.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.instant import now as instant_now
from holdfast.flight.instant import suspended_s
from holdfast.flight.record import Recorder, TurnRecord, new_turn_id
from holdfast.flight.salt import salt_of
from holdfast.flight.state import StateError
from holdfast.gateway import doomed, heal, sameness
from holdfast.gateway import headers as h
from holdfast.gateway.about import request_key
from holdfast.gateway.accounts import Summary
from holdfast.gateway.alarms import Alarms
from holdfast.gateway.arrival import Arrival
from holdfast.gateway.asker import Asker, Askers, Plan, arrived, ids
from holdfast.gateway.asking import Question
from holdfast.gateway.carrier import Carrier
from holdfast.gateway.defects import defect
from holdfast.gateway.dialects import anthropic
from holdfast.gateway.doomed import Doom, DoomedAnswer, Verdict
from holdfast.gateway.guard import Head, Refusal, admit
from holdfast.gateway.images import strip_images
from holdfast.gateway.listener import Exchange
from holdfast.gateway.orphans import Allowance
from holdfast.gateway.outage import Outage
from holdfast.gateway.profiles import Profile
from holdfast.gateway.reaching import Reaching
from holdfast.gateway.readers import Reader
from holdfast.gateway.refusals import Refusals
from holdfast.gateway.relay import Relay
from holdfast.gateway.retry import FORGET_S, Again, Broke, Change, Ledger, No
from holdfast.gateway.settings import Settings
from holdfast.gateway.sleep import LEAST_S
from holdfast.gateway.sockets import LINUX, interface_addresses
from holdfast.gateway.streamlog import MemoryBudget, SpoolError, StreamLog
from holdfast.gateway.turn import UNFOLLOWED, State
from holdfast.gateway.upstream.pool import Pool
from holdfast.gateway.whereabouts import Whereabouts
from holdfast.gateway.witness import Witness

IDENTITY: Final = m.RequestEdited("identity encoding")
log = logging.getLogger("holdfast.gateway")

PURGE_EVERY_S: Final = 60.0
FREE_TRIES: Final = 10
"Of a question that upstream says it has not begun on; one after the other, and no more."
LATE_FAILURE_S: Final = 30.0
"How long a failure that was said inside a stream waits to be said again with its true status."


@dataclass(slots=True)
class _LateFailure:
    """An upstream error that a client could only be told inside a stream; its next request gets it as it was."""

    record: TurnRecord
    head_key: sameness.HeadKey
    body: StreamLog
    status: int
    headers: bytes
    answer: bytes
    forget: asyncio.TimerHandle | None = None


class Engine:
    """All turns of one gateway process."""

    def __init__(
        self,
        settings: Settings,
        recorder: Recorder,
        loop: asyncio.AbstractEventLoop,
        *,
        on_turn: Callable[[TurnRecord], None] | None = None,
    ) -> None:
        self.settings = settings
        self.recorder = recorder
        self.loop = loop
        self.pool = Pool(settings)
        outage = Outage(
            patience_s=settings.timeouts.outage_s,
            connect_s=settings.timeouts.connect_s,
            chance=random.random,
        )
        self.reaching = Reaching(outage, loop, told=log.warning)
        self.alarms = Alarms(loop)
        self.budget = MemoryBudget(settings.limits.all_memory_bytes)
        self.spool_dir = _spool_dir(settings.state_dir)
        self.summary = Summary()
        self.unbuffers = settings.unbuffer
        "Until upstream is seen to refuse it."
        self.stopping = False
        self.arrivals: set[Arrival] = set()
        "Requests that are being read, or wait; what becomes of them is not decided."
        self.process_gone = False
        "Under `run`: the command has exited."
        self._on_turn = on_turn
        self._secret = secrets.token_bytes(32)
        state_dir = settings.state_dir
        self._salt = cache(lambda: salt_of(state_dir)) if state_dir is not None else None
        self.witness = Witness(self.pool, settings.upstream, loop) if settings.witness else None
        self.whereabouts = Whereabouts(
            self._network_salt, interfaces=interface_addresses, root=Path("/") if LINUX else None
        )
        self._suspended_s = suspended_s()
        self._slept: tuple[float, float] | None = None
        "When this machine was last seen to be awake again, and how long it had slept."
        self.ledger = Ledger(settings.retries, chance=random.random)
        self.doom = Doom()
        self._purge_at = 0.0
        self._cuts: dict[sameness.HeadKey, deque[float]] = {}
        "When answers of an agent's were cut last."
        self._troubled: dict[sameness.HeadKey, float] = {}
        "Heads of requests whose turns broke lately, and until when: their client's own retries are read to the end."
        self._turns: dict[sameness.HeadKey, tuple[Carrier, ...]] = {}
        self._allowance = Allowance(settings.timeouts.orphan_s)
        self.refusals = Refusals(loop, self._tell_refusals)
        self._relays: set[Relay] = set()
        self._late_failures: list[_LateFailure] = []
        self.askers = Askers(settings, self._secret)
        self._origin = settings.upstream.origin
        self._target_prefix = settings.upstream.prefix.encode()

    # -- requests -----------------------------------------------------------------------------------

    def on_request(self, exchange: Exchange) -> None:
        """A client's request head was read."""
        try:
            self._arrived(exchange)
        except Exception as error:
            log.error("a request failed: %s", defect(error))
            if exchange.receiver is None:
                exchange.received_by(_Discard())
            message = f"failed at {defect(error)}; please report it"
            exchange.refuse(500, self.refused(Refusal(500, "api_error", message)))

    def _arrived(self, exchange: Exchange) -> None:
        head = exchange.head
        plan = head.plan
        if plan is None:
            plan = head.plan = self._plan(head)
        if self.stopping:
            plan = Refusal(503, "api_error", "this gateway is stopping; ask again")
        if isinstance(plan, Refusal):
            exchange.received_by(_Discard())
            exchange.refuse(plan.status, self.refused(plan))
        elif plan.asker is not None:
            self._turn_arrived(exchange, plan, plan.asker)
        elif head.method == b"HEAD" and plan.target.partition(b"?")[0] == b"/":
            # A client's probe of its base URL. It asks nothing of the provider, so the provider is not asked.
            exchange.received_by(_Probe(exchange))
        else:
            record = self._record("opaque", arrived(head, plan.target), *ids(head))
            record.readers = 1
            relay = Relay(self, exchange, plan, record)
            self._relays.add(relay)
            relay.start()

    def _plan(self, head: Head) -> Plan | Refusal:
        target = admit(head, self.settings)
        if isinstance(target, Refusal):
            return target
        turn = anthropic.is_turn(head.method, target)
        asker = self.askers.of(head, target) if turn else None
        return Plan(target, asker, h.to_upstream(head, self.settings.upstream, identity=turn))

    def refused(self, refusal: Refusal) -> bytes:
        """Count a request that becomes no turn; returns the answer's body, in the client's dialect."""
        self.summary.refused += 1
        self.refusals.count(refusal.status, refusal.message)
        return render_error(refusal)

    def _tell_refusals(self, said: str) -> None:
        log.warning("%s", said)
        self.recorder.tell("refused", said)

    def _turn_arrived(self, exchange: Exchange, plan: Plan, asker: Asker) -> None:
        exchange.forget_head()
        body = StreamLog(self.budget, self.settings.limits.request_memory_bytes, self.spool_dir)
        target = self._target_prefix + asker.key.target  # the one that the session's other turns have, too
        question = Question(exchange.method, target, plan.lines, exchange.length)
        if self.unbuffers or self._may_be_coming_back(asker.key, exchange.length, asker.profile):
            exchange.received_by(Arrival(self, exchange, asker, question, body))
            return
        record = self._record("turn", asker.arrived, asker.session, asker.subagent)
        carrier = self._carrier(record, asker.key, question, body, complete=False)
        carrier.note(IDENTITY, record.started)
        carrier.follow(self._reader(carrier, exchange, asker, how="first"))
        carrier.ask()
        assert carrier.reader is not None
        exchange.received_by(carrier.reader)

    def begin(self, arrival: Arrival, body: bytes, *, held: Iterable[m.RequestHeld] = ()) -> None:
        """A request that was read to its end is a turn of its own."""
        exchange, asker, question = arrival.exchange, arrival.asker, arrival.question
        record = self._record("turn", asker.arrived, asker.session, asker.subagent)
        record.request_bytes = question.length = arrival.body.size
        carrier = self._carrier(record, asker.key, question, arrival.body, complete=True)
        for moment in held:
            carrier.note(moment)
        carrier.note(IDENTITY)
        fold = asker.profile.fetch_as_stream and carrier.streaming is False
        question.eager, question.as_stream = self.unbuffers, fold
        if self.settings.on_doomed == "strip-images":
            question.strips = self._verdict(arrival, body) is not None
        carrier.follow(self._reader(carrier, exchange, asker, how="first", fold=fold))
        assert carrier.reader is not None
        exchange.receiver = carrier.reader
        carrier.ask(body)

    def turn_key(self, carrier: Carrier) -> sameness.Key:
        """What a turn and its client's own retries of it have in common. Raises `SpoolError`."""
        return carrier.head_key, sameness.digest(carrier.body.whole(), falls_back=carrier.falls_back)

    def _network_salt(self) -> bytes:
        """What networks' names are made with. Where there is no state directory they last as long as the process."""
        if self._salt is not None:
            with suppress(OSError, StateError):
                return self._salt()
        return self._secret

    def request_key(self, carrier: Carrier) -> str | None:
        """What a journal is to know a disturbed turn's request by, when it comes again; None where it cannot be had."""
        with suppress(SpoolError):
            if carrier.body_complete:
                return self._key_of(carrier.head_key, carrier.body.whole(), carrier.falls_back)
        return None

    def _key_of(self, key: sameness.HeadKey, body: bytes, falls_back: bool) -> str | None:
        if self._salt is None or self.settings.record == "none":
            return None
        with suppress(OSError, StateError):
            return request_key(key, body, self._salt(), falls_back=falls_back)
        return None

    def doomed_answer(self, verdict: Verdict, profile: Profile, turn_id: str) -> DoomedAnswer:
        """What a question that is not worth another try is answered, by the settings."""
        return doomed.answer(
            verdict,
            self.settings.on_doomed,
            turn_id,
            explain_status=profile.explain_status,
            compacts=bool(profile.compacts_on),
        )

    def answer_doomed(self, arrival: Arrival, body: bytes) -> bool:
        """Answer a question here that broke at the same place again and again; False where it may be asked."""
        verdict = self._verdict(arrival, body)
        if verdict is None or (self.settings.on_doomed == "strip-images" and strip_images(body)[1]):
            return False
        exchange, asker = arrival.exchange, arrival.asker
        record = self._record("turn", asker.arrived, asker.session, asker.subagent)
        answer = self.doomed_answer(verdict, asker.profile, record.turn_id)
        record.request_bytes, record.readers, record.status = len(body), 1, answer.status
        record.note(instant_now(), m.AnsweredLocally(answer.status, verdict.why))
        record.ending = Ending(Side.GATEWAY, Mechanism.DOOMED, Phase.AWAITING_HEADERS, verdict.why)
        record.request_key = self._key_of(asker.key, body, asker.profile.fallback)
        at = record.ended = instant_now()
        record.note(at, m.TurnEnded(record.ending))
        turn = h.of_turn(record.turn_id)
        exchange.refuse(answer.status, answer.body, turn + doomed.DO_NOT_RETRY)
        self._ended(record)
        return True

    def _verdict(self, arrival: Arrival, body: bytes) -> Verdict | None:
        """Why this question is not worth another try; None where it may be asked. Most bodies are never looked at."""
        if arrival.asker.key not in self._troubled:
            return None
        question = sameness.digest(body, falls_back=arrival.asker.profile.fallback)
        return self.doom.verdict((arrival.asker.key, question), self.loop.time())

    def cut_wait_s(self, carrier: Carrier) -> float:
        """How long to wait before this answer is cut; it counts as cut from now on."""
        now = self.loop.time()
        cuts = self._cuts.setdefault(carrier.head_key, deque(maxlen=8))
        wait_s = heal.cut_wait_s(cuts, now)
        cuts.append(now + wait_s)
        return wait_s

    def was_heard(self, carrier: Carrier) -> None:
        """A question's answer was heard to its end: what was held against the question is forgotten."""
        self.doom.finished(carrier.record.turn_id, carrier.body.size, self.loop.time())
        if carrier.head_key in self._troubled:
            with suppress(SpoolError):
                key = self.turn_key(carrier)
                self.ledger.finished(key)
                self.doom.finished(key, carrier.body.size, self.loop.time())

    def mark_troubled(self, head: sameness.HeadKey, now: float) -> None:
        """An answer to a question with this head broke: those that come are looked at until that is forgotten."""
        if now >= self._purge_at:
            self._purge_at = now + PURGE_EVERY_S
            self._troubled = {head: until for head, until in self._troubled.items() if until > now}
            self._cuts = {head: cuts for head, cuts in self._cuts.items() if head in self._troubled}
        self._troubled[head] = now + FORGET_S

    def permit(self, key: sameness.Key, broke: Broke) -> Again | No:
        """Whether, and when, a question whose attempt broke is asked again."""
        now = self.loop.time()
        self.mark_troubled(key[0], now)
        unheard = broke.ending.phase is Phase.POOLED_IDLE or broke.ending.evidence.get("not_processed")
        if unheard and broke.attempt < FREE_TRIES:
            return Again(0.0, Change.FRESH_CONNECTION, "upstream had not begun on it, which costs nothing")
        if not broke.sent:
            return No("no connection could be had")
        return self.ledger.decide(key, broke, now)

    def adopt(self, carrier: Carrier, arrival: Arrival, how: str) -> None:
        """A request comes back for a turn: give it what there is, and what is still to come."""
        fold = how == "fallback" or carrier.question.as_stream
        carrier.record.spared += 1
        reader = self._reader(carrier, arrival.exchange, arrival.asker, how=how, fold=fold)
        arrival.exchange.receiver = reader
        carrier.follow(reader)

    def candidates(self, key: sameness.HeadKey) -> list[Carrier]:
        """Turns with this head that are not over, the newest first."""
        return list(reversed(self._turns.get(key, ())))

    def _may_be_coming_back(self, key: sameness.HeadKey, length: int | None, profile: Profile) -> bool:
        """Whether the request must be read to its end before anything is asked upstream."""
        if key in self._troubled:
            return True
        for failure in self._late_failures:
            if failure.head_key == key:
                return True
        for carrier in self._turns.get(key, ()):
            if carrier.unfollowed:
                return True
            if length is None or not carrier.body_complete or carrier.body.size == length:
                return True
            if profile.fallback and carrier.streams:
                return True
        return False

    def _reader(
        self, carrier: Carrier, exchange: Exchange, asker: Asker, *, how: str, fold: bool = False
    ) -> Reader:
        timers = asker.timers
        return Reader(
            carrier,
            exchange,
            asker.profile,
            timers,
            number=carrier.record.readers + 1,
            how=how,
            now=carrier.attempt.started_at if how == "first" else self.loop.time(),
            patience_s=timers.whole_patience_s if fold else timers.patience_s,
            fold=fold,
        )

    def _carrier(
        self,
        record: TurnRecord,
        key: sameness.HeadKey,
        question: Question,
        body: StreamLog,
        *,
        complete: bool,
    ) -> Carrier:
        carrier = Carrier(self, record, key, question, body, complete=complete)
        self._turns[key] = (*self._turns.get(key, ()), carrier)
        return carrier

    def _record(
        self, kind: str, arrived: m.RequestArrived, session: str | None, subagent: str | None
    ) -> TurnRecord:
        at = instant_now()
        record = TurnRecord(
            turn_id=new_turn_id(at),
            started=at,
            kind=kind,
            method=arrived.method,
            path=arrived.path,
            agent=arrived.agent,
            profile=arrived.profile,
            session=session,
            subagent=subagent,
            upstream=self._origin,
        )
        record.note(at, arrived)
        self.recorder.changed(record)
        return record

    # -- late failures ------------------------------------------------------------------------------

    def remember_failure(self, carrier: Carrier, reader: Reader | None) -> None:
        """Upstream refused after the client was given a 200: its next try is given the truth."""
        if reader is None or not reader.opened_early or not reader.profile.fallback:
            return
        body, carrier.body = carrier.body, StreamLog(self.budget, 0, None)
        failure = _LateFailure(
            record=carrier.record,
            head_key=carrier.head_key,
            body=body,
            status=carrier.status or 502,
            headers=carrier.client_headers,
            answer=carrier.error_body,
        )
        failure.forget = self.loop.call_later(LATE_FAILURE_S, self._forget_failure, failure)
        self._late_failures.append(failure)

    def give_late_failure(self, arrival: Arrival, body: bytes) -> bool:
        """Answer a request with the failure that its turn met; False where there is none."""
        for failure in self._late_failures:
            if failure.head_key != arrival.asker.key:
                continue
            asked = failure.body.whole()
            if sameness.same(asked, body) or sameness.same_but_fallback(asked, body):
                self._forget_failure(failure)
                failure.record.note(instant_now(), m.ErrorRepeated(failure.status))
                self.recorder.changed(failure.record)
                exchange = arrival.exchange
                exchange.start(failure.status, failure.headers, length=len(failure.answer))
                exchange.end(failure.answer)
                return True
        return False

    def _forget_failure(self, failure: _LateFailure) -> None:
        if failure.forget is not None:
            failure.forget.cancel()
        failure.body.close()
        self._late_failures.remove(failure)

    # -- what turns tell ----------------------------------------------------------------------------

    def reader_left(self, carrier: Carrier) -> None:
        """A connection is gone: whoever waited for that decides now."""
        waiting, carrier.waiting = carrier.waiting, ()
        for arrival in waiting:
            arrival.decide()

    def orphaned(self, carrier: Carrier) -> None:
        """One more answer without a listener. An agent has one, a tenant what its clients were; the oldest makes room."""
        for other in self.candidates(carrier.head_key):
            if other is not carrier and other.turn.state in UNFOLLOWED and self._superseded(other, carrier):
                other.outgrown("displaced")
        tenant = carrier.head_key.tenant
        theirs = [other for key, others in self._turns.items() if key.tenant == tenant for other in others]
        unfollowed = [other for other in theirs if other.turn.state in UNFOLLOWED]
        followed = sum(not other.unfollowed for other in theirs)
        if len(unfollowed) > self._allowance.of(tenant, followed, self.loop.time()):
            oldest = min(unfollowed, key=lambda other: other.record.started.mono_s)
            oldest.outgrown("displaced")

    def _superseded(self, older: Carrier, newer: Carrier) -> bool:
        """Whether the same agent has gone on from the older turn to the newer one. Twins have not."""
        if older.record.started > newer.record.started or newer.record.session is None:
            return False
        try:
            one, other = older.body.whole(), newer.body.whole()
        except SpoolError:
            return False
        if sameness.same(one, other):
            return False
        return newer.record.subagent is not None or sameness.same_conversation(one, other)

    def turn_ended(self, carrier: Carrier) -> None:
        """A turn is over."""
        carriers = self._turns.get(carrier.head_key)
        if carriers == (carrier,):
            del self._turns[carrier.head_key]
        elif carriers is not None:
            self._turns[carrier.head_key] = tuple(other for other in carriers if other is not carrier)
        self.reader_left(carrier)
        self._ended(carrier.record)

    def relay_ended(self, relay: Relay) -> None:
        """An opaque exchange is over."""
        self._relays.discard(relay)
        self._ended(relay.record)

    def _ended(self, record: TurnRecord) -> None:
        self.summary.add(record)
        self.recorder.changed(record)
        if self._on_turn is not None:
            self._on_turn(record)

    # -- the process --------------------------------------------------------------------------------

    def open_turns(self) -> list[TurnRecord]:
        """Records of what is not over."""
        return [one.record for one in self.open_carriers()] + [relay.record for relay in self._relays]

    def open_carriers(self) -> Iterable[Carrier]:
        """The turns that are not over."""
        return (carrier for carriers in self._turns.values() for carrier in carriers)

    @property
    def open_relays(self) -> int:
        """How many opaque exchanges are not over."""
        return len(self._relays)

    def busy(self) -> bool:
        """Whether some client is still owed something."""
        followed = any(
            carrier.turn.state not in (State.UNHEARD, State.DONE)
            for carriers in self._turns.values()
            for carrier in carriers
        )
        return followed or bool(self._relays) or bool(self.arrivals)

    def network_changed(self, what: str, way_out: bool = True) -> None:
        """A link, an address or a route of this machine changed: what was known of the path may be wrong now."""
        log.info("the network changed: %s", what)
        self._path_is_another(m.NetworkChanged(what), way_out)

    def machine_slept(self, slept_s: float, way_out: bool = True) -> None:
        """This machine is awake again: the far ends may have given up its connections meanwhile."""
        log.info("this machine slept for %.0f s", slept_s)
        self._suspended_s = suspended_s()
        self._slept = (self.loop.time(), slept_s)
        self._path_is_another(m.MachineSlept(round(slept_s, 1)), way_out)

    def slept_since(self, mono_s: float) -> float | None:
        """For how long this machine slept after that; None if it did not, as far as its clocks tell.

        A connection may break of it before the watch has noticed it; where the system counts its sleep, that is seen.
        """
        before, self._suspended_s = self._suspended_s, suspended_s()
        if before is not None and self._suspended_s is not None and self._suspended_s - before > LEAST_S:
            self._slept = (self.loop.time(), self._suspended_s - before)
        return self._slept[1] if self._slept is not None and mono_s < self._slept[0] else None

    def turns_beside(self, record: TurnRecord) -> tuple[int | None, int]:
        """How many turns of this one's session are under way, and how many altogether; the turn itself counts."""
        session, own, every = record.session, 0, 0
        for key, carriers in self._turns.items():
            every += len(carriers)
            if session is not None and key.session == session:
                own += len(carriers)
        return own if session is not None else None, every

    def _path_is_another(self, moment: m.Moment, way_out: bool) -> None:
        self.pool.forget_idle()
        self.whereabouts.changed()
        self.doom.network_changed()
        for carriers in list(self._turns.values()):
            for carrier in list(carriers):
                carrier.path_changed(moment, probe=way_out)
        self.reaching.changed()

    def client_gone(self) -> None:
        """Under `run`: the command has exited; nobody comes back."""
        self.process_gone = True
        self.stop_all("the command has ended")

    def stop_all(self, why: str) -> None:
        """End every turn now, and begin none."""
        self.stopping = True
        for arrival in list(self.arrivals):
            arrival.stop()
        for carriers in list(self._turns.values()):
            for carrier in list(carriers):
                carrier.stop(why, say=f"holdfast ended this answer: {why}; ask again")
        for relay in list(self._relays):
            relay.stop(Ending(Side.GATEWAY, Mechanism.CANCELLED, Phase.IN_BODY, why))
        for failure in list(self._late_failures):
            self._forget_failure(failure)
        if self.witness is not None:
            self.witness.close()
        self.refusals.close()
        self.alarms.close()
        self.reaching.close()


class _Discard:
    """Takes the body of a request that was answered without it."""

    def body_arrived(self, data: bytes) -> None: ...
    def body_ended(self) -> None: ...
    def client_gone(self, mechanism: Mechanism, facts: object) -> None: ...
    def client_reset(self, after_ms: float) -> None: ...
    def client_resumed(self) -> None: ...


class _Probe(_Discard):
    """A client's look at its base URL. It is answered when it was read to its end, so that its connection stays."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def body_ended(self) -> None:
        self._exchange.start(200, b"", length=0)
        self._exchange.end()


def render_error(refusal: Refusal) -> bytes:
    """A refusal in the client's dialect."""
    return anthropic.error_body(refusal.kind, f"holdfast: {refusal.message}")


def _spool_dir(state_dir: Path | None) -> Path | None:
    if state_dir is None:
        return None
    spool = state_dir / "spool"
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    return spool
