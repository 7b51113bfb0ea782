"""One simulated world: a real engine and listener between simulated clients and a simulated provider.

What must always hold (design, section 3) is checked where it can first be seen to break: each event as it is
heard, each generation as it begins, each promise when its time is up, and all accounts at the end. The first
violation ends the run.
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import re
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any, Final

from holdfast.flight import instant
from holdfast.flight import moments as m
from holdfast.flight import record as records
from holdfast.flight.endings import Ending
from holdfast.flight.record import NOTHING_KNOWN, About, TurnRecord
from holdfast.gateway import engine as engines
from holdfast.gateway import listener as listening
from holdfast.gateway import streamlog
from holdfast.gateway.engine import Engine, render_error
from holdfast.gateway.listener import Listener
from holdfast.gateway.server import Gateway
from holdfast.gateway.settings import Limits, RetryRules, Settings, Timeouts, Upstream
from holdfast.gateway.whereabouts import Whereabouts
from tests.simulation.client import Call, Talk, key_of
from tests.simulation.loop import START_S, VirtualLoop
from tests.simulation.provider import Generation, Key, Pool, Provider
from tests.simulation.schedule import Answer, Client, Fault, Schedule, draw
from tests.simulation.wire import Wire

HOURS: Final = 4 * 3600.0
"How long a world is watched; nothing in it may take longer."
_UPSTREAM: Final = Upstream.parse("http://192.0.2.1:8080")
_WATCHED: Final = {
    "CLAUDE_ENABLE_STREAM_WATCHDOG": "1",
    "CLAUDE_STREAM_IDLE_TIMEOUT_MS": "20000",
    "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": "20000",
    "API_TIMEOUT_MS": "20000",
}
_NORMAL: Final = Timeouts(quiet_s=600.0, orphan_s=400.0, unheard_s=100.0)
_SILENT: Final = Timeouts(keepalive_s=600.0, quiet_s=900.0, orphan_s=400.0, unheard_s=100.0)
_TINY: Final = Limits(memory_bytes=300, request_memory_bytes=100, all_memory_bytes=40_000)
PRESETS: Final[dict[str, dict[str, Any]]] = {
    "serve": {"timeouts": _NORMAL},
    "quiet": {"timeouts": _SILENT},
    "watched": {"timeouts": _SILENT, "client_env": _WATCHED},
    "run": {"timeouts": _NORMAL, "client_env": _WATCHED, "tenant": "1"},
    "eager": {"timeouts": _NORMAL, "unbuffer": True},
    "eager refused": {"timeouts": _NORMAL, "unbuffer": True},
    "small disk": {"timeouts": _SILENT, "limits": _TINY, "client_env": _WATCHED, "record": "all"},
    "spliced": {"timeouts": _NORMAL, "splice": True, "shorten": False},
    "held": {"timeouts": _NORMAL, "hold": frozenset(("tool_use", "thinking"))},
    "hedged": {"timeouts": _NORMAL, "hedge_s": 5.0},
    "plain": {"timeouts": _NORMAL, "shorten": False, "retries": RetryRules(retries=1)},
    "doomed": {"timeouts": _NORMAL, "on_doomed": "compact", "retries": RetryRules(retries=9)},
}
"Settings of the gateway: keepalives every 10 s, or none, so that clients' own limits run out."


@lru_cache(maxsize=64)
def settings_of(preset: str) -> Settings:
    """The gateway's settings by their name in a schedule."""
    return Settings(_UPSTREAM, **PRESETS[preset])


@dataclass(frozen=True, slots=True)
class Violation:
    """What did not hold: the number of the rule in the design's section 3 (0: the gateway failed), and how."""

    rule: int
    what: str
    at_s: float

    @property
    def kind(self) -> str:
        """What violations by one defect have in common: the text without numbers, names and bytes."""
        text = re.sub(r"<[^>]*>|\[.*\]|b'.*'|b\".*\"|/\S+/", "-", self.what.partition("\n")[0])
        return f"{self.rule} {re.sub(r'[0-9.]+', '', text)[:60]}".strip()

    def __str__(self) -> str:
        return f"rule {self.rule} at {self.at_s:.3f} s: {self.what}"


class Kept:
    """The recorder: everything, in memory."""

    __slots__ = ("answers", "handed_over", "records", "told", "world")

    def __init__(self, world: World) -> None:
        self.world = world
        self.records: dict[str, TurnRecord] = {}
        self.answers: dict[str, tuple[bytes, bool]] = {}
        self.handed_over: list[str] = []
        self.told: dict[str, int] = {}

    def changed(self, record: TurnRecord) -> None:
        self.records[record.turn_id] = record
        last = record.moments[-1][1] if record.moments else None
        if type(last) is m.AttemptStarted and last.attempt > 1:
            self.world.asked_again(record)
        if self.world.story is not None:
            told = self.told.get(record.turn_id, 0)
            self.told[record.turn_id] = len(record.moments)
            for _, moment in record.moments[told:]:
                self.world.tell(f"turn {list(self.records).index(record.turn_id) + 1}", _moment(moment))

    def keep_answer(
        self,
        record: TurnRecord,
        answer: records.Answer,
        *,
        complete: bool,
        content_type: str,
        about: About = NOTHING_KNOWN,
    ) -> None:
        with suppress(records.AnswerLost):  # the disk is unreadable: the journal drops it
            self.answers[record.turn_id] = (b"".join(answer.pieces()), complete)

    def tell(self, name: str, text: str) -> None:
        self.world.tell("gateway", f"notes {name}: {text}")

    def answer_handed_over(self, turn_id: str) -> None:
        self.handed_over.append(turn_id)


class _InOrder(set[Any]):
    """A set that is gone through in the order of arrival, so that worlds repeat themselves."""

    def __init__(self) -> None:
        self._order: dict[Any, None] = {}

    def add(self, item: Any) -> None:
        super().add(item)
        self._order[item] = None

    def discard(self, item: Any) -> None:
        super().discard(item)
        self._order.pop(item, None)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._order))


class _Listener(Listener):
    SWEEP_S = 10.0  # type: ignore[misc]
    world: World

    def _end_the_slow(self) -> None:
        super()._end_the_slow()
        if not self.connections and self.world.talking == 0:
            self._sweep.cancel()  # nobody comes any more


class World:
    """See the module. `story` collects what everybody does, where somebody wants to read it."""

    def __init__(self, schedule: Schedule, *, story: list[str] | None = None) -> None:
        self.schedule = schedule
        self.story = story
        self.loop = VirtualLoop()  # type: ignore[abstract]
        self.violation: Violation | None = None
        self.calls: list[Call] = []
        self.open_calls: dict[Key, list[Call]] = {}
        self.plans: dict[Key, tuple[Answer, ...]] = {}
        self.excuses: dict[Key, list[float]] = {}
        "Until when a generation without a listener may run, for each that may."
        self.wires: list[Wire] = []
        self.talks: list[Talk] = []
        self.talking = 0
        self.closed = False
        self.faulty = False
        "Whether something happened to the gateway that excuses any error."
        self.disk: set[str] = set()
        self.files: dict[int, bytearray] = {}
        self.ids = 0
        self.refuses_eager = schedule.preset == "eager refused"
        settings = settings_of(schedule.preset)
        self.settings = settings
        self.env = tuple(settings.client_env.items())
        self.tolerance_s = settings.timeouts.limit_tolerance_s
        # Each attempt may be silent so long before headers and so long after them, and then break.
        attempts = settings.retries.retries + 2
        self.silence_bound_s = attempts * (2 * settings.timeouts.quiet_s + 90.0) + settings.timeouts.outage_s
        self.provider = Provider(self)
        self.kept = Kept(self)
        self.engine = Engine(settings, self.kept, self.loop, on_turn=self.turn_ended)
        self.engine.whereabouts = Whereabouts(bytes, root=None)
        self.pool = Pool(self)
        self.engine.pool = self.pool  # type: ignore[assignment]
        self.engine.arrivals = _InOrder()
        self.engine._relays = _InOrder()
        _Listener.world = self
        self.listener = _Listener(
            self.loop, settings.timeouts, settings.limits, self.engine.on_request, render_error
        )
        self.listener.connections = _InOrder()

    # -- telling --------------------------------------------------------------------------------------

    def tell(self, who: str, what: str) -> None:
        """A line of the story."""
        if self.story is not None:
            self.story.append(f"{self.loop.now - START_S:10.3f}  {who:<9} {what}")

    def violate(self, rule: int, what: str) -> None:
        """Something does not hold. Only the first such thing counts: what follows may be its consequence."""
        if self.violation is None:
            self.violation = Violation(rule, what, self.loop.now - START_S)
            self.tell("VIOLATED", str(self.violation))
        self.loop.halt()

    # -- the course of things -------------------------------------------------------------------------

    def run(self) -> Violation | None:
        """Let the schedule happen, wait for hours, and look at what is left."""
        global _now
        _now = self
        schedule, loop = self.schedule, self.loop
        for c, client in enumerate(schedule.clients):
            wires: list[Wire] = []
            for t, turn in enumerate(client.turns):
                key = self.key_of(client, turn.prompt, side=turn.side)
                self.plans[key] = self.plans.get(key, ()) + turn.answers
                talk = Talk(self, client, turn, f"client{c + 1}.{t + 1}", wires, turn.prompt)
                self.talks.append(talk)
                self.talking += 1
                loop.call_at(START_S + turn.at, talk.begin)
        for fault in schedule.faults:
            loop.call_at(START_S + fault.at, self._fault, fault)
        try:
            loop.run(START_S + HOURS)
            for error in loop.failed():
                self.story_of(error)
            if self.violation is None:
                self._look_at_the_end()
        except Exception as error:
            self.story_of(error)
        return self.violation

    def story_of(self, error: BaseException) -> None:
        """An exception that came through to the event loop."""
        import traceback

        place = "".join(traceback.format_exception(error)[-4:])
        self.violate(0, f"{type(error).__name__} escaped into the event loop:\n{place}")

    def key_of(self, client: Client, prompt: int, *, side: bool) -> Key:
        """What must be the same for two requests to be one turn; under `run` all keys are one tenant's."""
        key = key_of(client, prompt, side=side)
        return key if self.settings.tenant is None else key._replace(tenant="run")

    def connect(self, *, latency_s: float, window: int) -> Wire:
        """A new connection from a client."""
        wire = Wire(self.loop, latency_s=latency_s, window=window)
        wire.connect(self.listener.connection())
        self.wires.append(wire)
        return wire

    def outage(self) -> str | None:
        """Whether upstream cannot be reached now, and how that shows."""
        since_start = self.loop.now - START_S
        for outage in self.schedule.outages:
            if outage.at <= since_start < outage.at + outage.for_s:
                return outage.how
        return None

    def _fault(self, fault: Fault) -> None:
        self.tell("fault", fault.what)
        self.faulty |= fault.what not in ("network changed", "slept")
        match fault.what:
            case "stop":
                self.closed = True
                self.engine.stop_all("the gateway is stopping")
                self.listener.close()
            case "drain":
                self.closed = True
                gateway = Gateway(self.settings, self.kept)
                gateway._engine, gateway._listener = self.engine, self.listener
                self.loop.create_task(gateway.drain(fault.for_s))
            case "command gone":
                self.engine.client_gone()
            case "network changed":
                self.engine.network_changed("simulated")
            case "slept":
                self.engine.machine_slept(60.0)
            case _:
                self.disk.add(fault.what)

    def talk_done(self, talk: Talk) -> None:
        self.talking -= 1
        if not any(not other.done for other in self.talks if other.wires is talk.wires):
            for wire in talk.wires:
                wire.close_by_client("fin")

    def take_apart(self) -> None:
        """Cut the circles of references, so that the world goes without the collector."""
        for call in self.calls:
            call.taken_apart()
        for wire in self.wires:
            wire.peer = None
            del wire.protocol
        for generation in self.provider.generations:
            generation.owner.attempt = generation.owner = generation.connection = None
        for talk in self.talks:
            talk.call = None
        self.provider.truth.clear()
        self.loop.halt()
        self.loop.tasks.clear()
        del _Listener.world
        self.__dict__.clear()

    # -- rules that are seen at once --------------------------------------------------------------------

    def check_request(self, headers: dict[bytes, bytes], body: bytes) -> None:
        """What reaches the provider is a whole request."""
        length = headers.get(b"content-length")
        if length is not None and int(length) != len(body):
            self.violate(1, f"a request of {length!r} bytes reached the provider with {len(body)}")

    def generation_began(self, new: Generation) -> None:
        """Rule 3: a turn has one running generation, and who comes back is given the one that runs."""
        mine = [other for other in self.provider.running[new.key] if other.owner is new.owner]
        if len(mine) > (2 if self.settings.hedge_s else 1):
            self.violate(3, f"{mine} run for one turn")
        self.check_running(new.key, new=new)

    def check_running(self, key: Key, new: Generation | None = None) -> None:
        """Every running generation has a client that waits for it, or one that may come back."""
        running = self.provider.running.get(key, ())
        if new is not None:
            if new.owner.reader is None:
                return  # its client left while the connection was made, and may come back
            # A request that was not streaming is no reason to look for streams of clients that never do so.
            running = [other for other in running if other.form == new.form]
            decided_at = new.owner.record.started.mono_s
            followed = sum(
                call.perhaps_followed or call.wire.gateway_gone_at >= decided_at
                for call in self.open_calls.get(key, ())
            )
        else:
            followed = sum(call.perhaps_followed for call in self.open_calls.get(key, ()))
        if self.settings.hedge_s:
            followed *= 2
        if len(running) <= followed:
            return
        if new is None:
            now = self.loop.now
            excused = sum(until > now for until in self.excuses.get(key, ()))
            if self.settings.hedge_s:
                excused *= 2
            if len(running) <= followed + excused:
                return
            self.violate(6, f"{running} run, and {followed} clients follow, {excused} may come back")
        else:
            self.violate(3, f"{new!r} began, though a generation that nobody follows could be had: {running}")

    def hears(self, call: Call, generation: Generation) -> None:
        """Rule 5: the first event of a generation that this client hears. May it?"""
        if generation.key != call.key:
            self.violate(5, f"{call!r} hears {generation!r}, which is another's")
        if call.wire.gateway_gone:
            return  # it reads what its kernel had before
        if generation.heard_at is not None and call.wire.last_sent_at > generation.heard_at:
            self.violate(5, f"{call!r} hears {generation!r}, which was heard to its end before")
        for other in self.calls:
            if (
                other is not call
                and other.generation is generation
                and not other.over
                and other.left_at is None
            ):
                wire = other.wire
                if wire.dark_since is None and not other.paused and wire.acked == wire.written:
                    self.violate(5, f"{call!r} hears {generation!r}, which {other!r} still follows")
        if generation.cancelled_at is not None:
            ends = generation.cancelled_at + self.settings.timeouts.cancel_grace_s
            others = [other for other in self.open_calls[call.key] if other is not call]
            back = any(
                other.asked_at <= ends and (other.left_at is None or other.left_at > generation.cancelled_at)
                for other in others
            )
            if call.asked_at > ends and not back:
                self.violate(5, f"{call!r} hears {generation!r}, which was cancelled")
            generation.cancelled_at = None  # somebody came back in time

    def check_message(self, call: Call, generation: Generation, message: dict[str, Any]) -> None:
        """An answer in one piece that was fetched as a stream."""
        heard = {name: message.get(name) for name in generation.message}
        if heard == generation.message and generation.whole:
            return
        blocks = [
            block
            for other in self.provider.generations
            if other.key == call.key
            for block in other.message.get("content", ())
        ]
        healed = generation.owner.record.healed
        if healed is None or any(block not in blocks for block in message["content"][:-1]):
            self.violate(4, f"{call!r} was given a message that was never said: {message!r}")

    def asked_again(self, record: TurnRecord) -> None:
        """Rule 3: no further generation is begun for nobody."""
        carriers = [carrier for found in self.engine._turns.values() for carrier in found]
        if any(carrier.record is record and carrier.reader is None for carrier in carriers):
            self.violate(3, f"another attempt of {record.turn_id} begins, and nobody listens")

    def heard_whole(self, call: Call) -> None:
        """A client has all of an answer, and knows it."""
        generation = call.generation
        assert generation is not None
        if generation.heard_at is not None:
            self.violate(5, f"{call!r} heard {generation!r} to its end, as another did before")
        if call.wire.dark_since is None:
            generation.heard_at = self.loop.now

    def error_said(self, call: Call, message: str) -> None:
        """The gateway's own error: is there a reason for it?"""
        if self.faulty or self.pool.failed_before_any:
            return
        quiet_s = self.settings.timeouts.quiet_s
        for generation in self.provider.generations:
            if generation.key != call.key:
                continue
            silent_s = (generation.ended_at or self.loop.now) - generation.last_said_at
            if (
                generation.broken not in ("", "stopped")
                or silent_s >= quiet_s - 1.0
                or generation.answer.encoded
            ):
                return
        self.violate(1, f"{call!r} was given an error without a cause: {message}")

    def turn_ended(self, record: TurnRecord) -> None:
        """Rule 8: whatever would still have happened to this turn is called off."""
        for alarm in self.engine.alarms._heap:
            if getattr(alarm.whom, "record", None) is record:
                self.violate(8, f"an alarm at {alarm.at - START_S:.3f} s outlives its turn {record.turn_id}")
        for connection in self.listener.connections:
            exchange = connection.current
            carrier = getattr(getattr(exchange, "receiver", None), "carrier", None)
            if exchange is not None and not exchange.ended and getattr(carrier, "record", None) is record:
                self.violate(8, f"a turn is over, and a client still waits for it: {moments_of(record)}")

    # -- rules that are promises ------------------------------------------------------------------------

    def call_left(self, call: Call, *, sure: bool) -> None:
        """Rule 6: cancel means cancel. Rule 7: an orphan has a limit."""
        timeouts = self.settings.timeouts
        wire = call.wire
        if sure and call.generation is not None:
            self.loop.call_later(wire.latency_s + 0.001, self._cancelled, call.generation)
        wait = timeouts.cancel_grace_s if sure else timeouts.orphan_s
        wait += wire.latency_s + 0.05
        if wire.dark_since is not None:
            wait += 90.0 + 924.0 + 90.0
        until = self.loop.now + wait
        self.excuses.setdefault(call.key, []).append(until)
        self.loop.call_at(until + 0.01, self.check_running, call.key)

    def _cancelled(self, generation: Generation) -> None:
        """The gateway has seen the cancel. Where the answer was just complete, nobody can tell it from a loss."""
        back = any(
            call.generation is generation and not call.over and call.left_at is None for call in self.calls
        )
        if generation.running and not back:
            generation.cancelled_at = self.loop.now

    def call_over(self, call: Call, how: str) -> None:
        """Whatever was asked for a client that has its answer, or an error, is over too."""
        self.loop.call_later(6.0 + 2 * call.wire.latency_s, self.check_running, call.key)

    # -- the accounts -----------------------------------------------------------------------------------

    def _look_at_the_end(self) -> None:
        """Rule 8: every attempt, reader and turn has one ending, and nothing is left of them."""
        engine, loop = self.engine, self.loop
        for talk in self.talks:
            if not talk.done:
                self.violate(7, f"{talk.name} still waits after {HOURS / 3600:.0f} hours: {talk.call!r}")
        for generation in self.provider.generations:
            if generation.running:
                self.violate(7, f"{generation!r} still runs after {HOURS / 3600:.0f} hours")
        left = {
            "turns": engine._turns,
            "relays": list(engine._relays),
            "arrivals": list(engine.arrivals),
            "late failures": engine._late_failures,
            "alarms": [alarm for alarm in engine.alarms._heap if alarm.whom is not None],
            "connections": list(self.listener.connections),
            "tasks": [task for task in loop.tasks if not task.done()],
            "timers": loop.pending(),
            "spool files": list(self.files),
        }
        for name, what in left.items():
            if what:
                self.violate(8, f"{name} are left: {what}")
        if engine.budget.free != engine.budget.total:
            self.violate(8, f"{engine.budget.total - engine.budget.free} bytes of memory are not given back")
        asked = Counter(generation.owner.record.turn_id for generation in self.provider.generations)
        for key in {generation.key for generation in self.provider.generations}:
            self._check_budget(key)
        for record in self.kept.records.values():
            self._check_record(record, asked[record.turn_id])
        if _complaints:
            self.violate(0, f"the gateway logged: {_complaints[0]}")

    def _check_budget(self, key: Key) -> None:
        """Rule 3: the retries of a question are counted over its client's own; each whole answer gives them back.

        With and without streaming it is one question only of a client that falls back from the one to the other.
        """
        settings = self.settings
        generations = [other for other in self.provider.generations if other.key == key]
        calls = self.open_calls.get(key, ())
        whole = sum(other.whole for other in generations) + sum(call.whole for call in calls)
        lasted_s = generations[-1].asked_at - generations[0].asked_at
        asked = len(calls) * (1 + self.refuses_eager + bool(settings.hedge_s))
        questions = len({call.profile.fallback or call.streaming for call in calls})
        budget = settings.retries.retries * (questions + whole + int(lasted_s // 900)) + self.provider.stale
        if len(generations) > asked + budget:
            self.violate(3, f"{len(generations)} generations of {key}, asked for {asked} times")

    def _check_record(self, record: TurnRecord, generations: int) -> None:
        told = Counter(type(moment) for _, moment in record.moments)
        # Later comes what was watched for when it ended: a reset behind a close, a witness, the client's next request.
        late = (m.ReaderReset, m.EdgeWitnessed, m.ErrorRepeated)
        last = next(type(x) for _, x in reversed(record.moments) if not isinstance(x, late))
        if record.ending is None or told[m.TurnEnded] != 1 or last is not m.TurnEnded:
            self.violate(8, f"a turn has {told[m.TurnEnded]} ends: {moments_of(record)}")
        begins = (m.AttemptStarted, m.HedgeStarted)
        started = Counter(x.attempt for _, x in record.moments if isinstance(x, begins))
        ended = Counter(x.attempt for _, x in record.moments if type(x) is m.AttemptEnded)
        if started != ended or any(count != 1 for count in started.values()):
            self.violate(8, f"attempts {dict(started)} began, {dict(ended)} ended: {moments_of(record)}")
        if generations > record.attempts:
            self.violate(
                3, f"{generations} generations, {record.attempts} attempts on record: {moments_of(record)}"
            )
        joined = [x.reader for _, x in record.moments if type(x) is m.ReaderJoined]
        ways = Counter(x.reader for _, x in record.moments if isinstance(x, (m.ReaderLeft, m.AnswerHeard)))
        if told[m.AnsweredLocally]:
            return
        if len(set(joined)) != len(joined) or len(joined) != record.readers:
            self.violate(8, f"readers {joined}, {record.readers} on record")
        for reader in joined:
            if ways[reader] > 1 or (not ways[reader] and reader != joined[-1]):
                self.violate(8, f"reader {reader} has {ways[reader]} ends: {moments_of(record)}")
        if self.kept.handed_over.count(record.turn_id) > 1:
            self.violate(5, f"an unheard answer was handed over twice: {moments_of(record)}")
        kept = self.kept.answers.get(record.turn_id)
        if kept is not None:
            self._check_kept(record, *kept)

    def _check_kept(self, record: TurnRecord, data: bytes, complete: bool) -> None:
        """What lies in the attic is what was said."""
        mine = [other for other in self.provider.generations if other.owner.record is record]
        for generation in mine:
            said = generation.plain
            if generation.streams:
                said = b"".join(event for event, _, _ in generation.events)
            said = generation.raw or said
            if said.startswith(data) and (not complete or data == said):
                return
        if b": holdfast: " in data and all(self._said_or_ours(mine, data)):
            return
        self.violate(4, f"kept of a turn: {data!r}, {complete=}, which was never said")

    def _said_or_ours(self, mine: list[Generation], data: bytes) -> Iterator[bool]:
        for event in data.split(b"\n\n")[:-1]:
            said = self.provider.truth.get(event + b"\n\n")
            yield (
                said.generation in mine if said is not None else self.settings.splice or b'"g":' not in event
            )


def _moment(moment: m.Moment) -> str:
    """A moment on one line, evidence left out."""
    said = []
    for name in moment.__struct_fields__:
        value = getattr(moment, name)
        if isinstance(value, Ending):
            value = f"{value.code} {value.detail}".strip()
        if value not in (None, "", 0):
            said.append(f"{name}={value}")
    return f"{type(moment).__name__}({', '.join(said)})"


def moments_of(record: TurnRecord) -> str:
    """A turn's moments, for a message."""
    return ", ".join(type(moment).__name__ for _, moment in record.moments)


# -- what the gateway takes from the machine ------------------------------------------------------------

_now: World
"The world that runs in this process now."
_complaints: list[str] = []


class _Clock:
    """In the place of `time` for `flight.instant`."""

    CLOCK_BOOTTIME = CLOCK_MONOTONIC = CLOCK_UPTIME_RAW = 0

    def monotonic(self) -> float:
        return _now.loop.now

    def clock_gettime(self, clock: int) -> float:
        return 0.0  # its sleeps are told, not counted

    def time_ns(self) -> int:
        return 1_760_000_000_000_000_000 + int(_now.loop.now * 1e9)


class _Chance:
    """In the place of `random`: turn ids one after the other, and shares that jump about."""

    def getrandbits(self, bits: int) -> int:
        _now.ids += 1
        return _now.ids

    def random(self) -> float:
        _now.ids += 1
        return _now.ids * 0.618034 % 1.0


class _Disk:
    """In the place of `os` for stream logs: files in memory, on a disk that may be full or unreadable."""

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        if "disk unreadable" in _now.disk:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return bytes(_now.files[fd][offset : offset + size])

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        if "disk full" in _now.disk:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file = _now.files[fd]
        assert offset == len(file), "a spool grows at its end"
        file += data
        return len(data)

    def close(self, fd: int) -> None:
        getattr(_now, "files", {}).pop(fd, None)  # or it was an older world's, that is only now forgotten


def _new_file(directory: object) -> int:
    if "disk full" in _now.disk:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    number = next(_numbers)
    _now.files[number] = bytearray()
    return number


_numbers = count(1)
"Of files: no two worlds have the same."


class _Complaints(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if not (_now.disk and "cannot be healed: SpoolError" in record.getMessage()):
            _complaints.append(record.getMessage())
        _now.tell("gateway", f"logs {record.getMessage()}")


_PLACES: Final[tuple[tuple[Any, str, Any], ...]] = (
    (instant, "time", _Clock()),
    (records, "random", _Chance()),
    (engines, "random", _Chance()),
    (streamlog, "os", _Disk()),
    (streamlog, "_unlinked_file", _new_file),
    (listening, "set_keepalive", lambda sock, keepalive: None),
    (listening, "reset_on_close", lambda sock: sock.set_reset_on_close()),
    (listening, "unacked_bytes", lambda sock: sock.unacked_bytes()),
    (listening, "tcp_facts", lambda sock: sock.facts()),
    (listening, "pending_error", lambda sock: 0),
)


@contextmanager
def simulated() -> Iterator[None]:
    """Within it the gateway's clock, disk, chance and kernel are simulated; outside they are the machine's."""
    before = [(place, name, getattr(place, name)) for place, name, _ in _PLACES]
    logger, handler = logging.getLogger("holdfast"), _Complaints(logging.ERROR)
    propagates, logger.propagate = logger.propagate, False
    for place, name, value in _PLACES:
        setattr(place, name, value)
    logger.addHandler(handler)
    collecting = gc.isenabled()
    gc.disable()  # turns and readers point at each other; `play` collects now and then
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        logger.removeHandler(handler)
        logger.propagate = propagates
        for place, name, value in before:
            setattr(place, name, value)


def play(schedule: Schedule, *, story: list[str] | None = None) -> Violation | None:
    """Let one schedule happen; returns what did not hold. Only within `simulated`."""
    _complaints.clear()
    world = World(schedule, story=story)
    violation = world.run()
    world.take_apart()
    return violation


def first_violation(seeds: Sequence[int], *, known: Container[str] = ()) -> tuple[int, Violation] | None:
    """Play the schedules of these seeds; returns the first seed that failed, and how.

    `known` are kinds of violations to pass over.
    """
    with simulated():
        for count, seed in enumerate(seeds, 1):
            violation = play(draw(seed))
            if violation is not None and violation.kind not in known:
                return seed, violation
            if not count % 200:
                gc.collect(1)
    return None
