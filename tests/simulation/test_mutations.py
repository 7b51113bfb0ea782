"""The simulation notices: each deliberate mistake in a rule makes some world break within few seeds.

A mutation that nobody notices would mean a rule that nothing holds. Add a row for each new rule.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from holdfast.flight import moments as m
from holdfast.flight.endings import COMPLETED
from holdfast.gateway import (
    arrival,
    carrier,
    deadlines,
    engine,
    heal,
    outage,
    readers,
    retry,
    sameness,
    sse,
    streamlog,
)
from holdfast.gateway.asking import Asking
from holdfast.gateway.attempt import Attempt
from holdfast.gateway.dialects import anthropic, mending, splicing
from holdfast.gateway.healing import Healing
from holdfast.gateway.hedging import Hedge
from holdfast.gateway.orphans import Coming
from holdfast.gateway.turn import TABLE, Act, Event, State, Step
from tests.simulation.schedule import draw
from tests.simulation.world import Violation, play, simulated

SEEDS = 4000
"So many worlds are played before a mutation counts as unnoticed."

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutation:
    """One deliberate mistake, and the rules of the design's section 3 that may catch it."""

    name: str
    make: Callable[[Patch], None]
    rules: tuple[int, ...]


def row(state: State, event: Event, step: Step) -> Callable[[Patch], None]:
    """A row of the turn's table, replaced."""
    return lambda patch: patch.setitem(TABLE, (state, event), step)


def instead(place: Any, name: str, value: Any) -> Callable[[Patch], None]:
    """A function or method, replaced."""
    return lambda patch: patch.setattr(place, name, value)


def around(place: Any, name: str, wrapper: Callable[..., Any]) -> Callable[[Patch], None]:
    """A method, wrapped: `wrapper` is given the true one first."""
    true = getattr(place, name)

    def wrapped(*given: Any, **named: Any) -> Any:
        return wrapper(true, *given, **named)

    return lambda patch: patch.setattr(place, name, wrapped)


# -- the mistakes -------------------------------------------------------------------------------------


def _keep_nothing_back(self: sse.EventSplitter, data: bytes) -> bytes:
    whole = sse.EventSplitter.__dict__["_true_feed"](self, data)
    held, self._held = self._held, b""
    return bytes(whole + held)


def _splitter_lets_halves_pass(patch: Patch) -> None:
    patch.setattr(sse.EventSplitter, "_true_feed", sse.EventSplitter.feed, raising=False)
    patch.setattr(sse.EventSplitter, "feed", _keep_nothing_back)


def _said_again(true: Any, reader: Any, data: bytes, now: float) -> None:
    true(reader, data, now)
    if reader.keepalives or data.endswith(b"_start\n\n"):
        return
    if reader.offset > 1200 and reader.opened and not reader.exchange.ended:
        reader.exchange.write(data)


def _from_the_end(true: Any, self: Any, reader: Any) -> None:
    reader.offset = self.log.size
    true(self, reader)


def _forgets_quiet(true: Any, clocks: Any, patience: Any) -> Any:
    return [item for item in true(clocks, patience) if item[0] is not deadlines.Due.QUIET_EXPIRED]


def _impatient(true: Any, clocks: Any, patience: Any) -> Any:
    return true(clocks, replace(patience, quiet_s=12.0))


def _lost_spool(true: Any, self: streamlog.StreamLog) -> None:
    self._held = b"0" * len(self._in_memory())
    true(self)


def _ends_twice(true: Any, self: Any, moment: Any, *given: Any) -> None:
    true(self, moment, *given)
    if isinstance(moment, m.AnswerHeard):
        true(self, m.TurnEnded(COMPLETED))


def _another_generation(true: Any, state: Any, old: Any, *, waited: bool) -> Coming:
    return Coming.SEPARATE


def _twins_are_retries(true: Any, state: Any, old: Any, *, waited: bool) -> Coming:
    found: Coming = true(state, old, waited=waited)
    return Coming.ADOPT if found is Coming.WAIT else found


def _same_tenant(credentials: Any, **_: Any) -> str:
    return "everybody"


def _leave_it_running(true: Any, self: Any, *given: Any) -> None:
    attempt = self.attempt
    connection, attempt.connection = attempt.connection, None
    true(self, *given)
    attempt.connection = connection


def _always_complete(true: Any, record: Any, *given: Any, **named: Any) -> None:
    true(record, *given, **{**named, "complete": True})


def _keep_as_complete(patch: Patch) -> None:
    from tests.simulation.world import Kept

    around(
        Kept,
        "keep_answer",
        lambda true, self, *given, **named: true(self, *given, **{**named, "complete": True}),
    )(patch)


def healing(change: Callable[[heal.Row], heal.Row]) -> Callable[[Patch], None]:
    """Every row of the healing table, changed."""
    return lambda patch: patch.setattr(heal, "TABLE", tuple(change(one) for one in heal.TABLE))


def rows_with(remedy: heal.Remedy, **fields: Any) -> Callable[[Patch], None]:
    """The rows of one remedy, changed."""
    return healing(lambda one: replace(one, **fields) if one.remedy is remedy else one)


def _own_start_twice(true: Any, self: Any, data: bytes, notable: Any) -> Any:
    return data, notable


def _for_nobody(true: Any, self: Any) -> None:
    carrier = self._carrier
    if carrier.reader is None and self._row is not None and self._due and carrier.body_complete:
        self._row, self._due = None, False
        carrier.forget_answer()
        carrier.ask_again()
    else:
        true(self)


def _asks_for_ever(true: Any, self: Any, key: Any, broke: Any, now: float) -> Any:
    return (
        retry.Again(1.0, retry.Change.FRESH_CONNECTION, "why not")
        if broke.attempt < 9
        else true(self, key, broke, now)
    )


def _both_go_on(true: Any, self: Any, attempt: Any, why: str, mechanism: Any) -> None:
    connection, attempt.connection = attempt.connection, None
    true(self, attempt, why, mechanism)
    attempt.connection = connection


def _not_cut(true: Any, self: Any) -> None:
    self._told_until = self.log.size
    true(self)


def _begins_again(true: Any, self: Any, event: bytes, kind: str) -> Any:
    told = true(self, event, kind)
    return told if told else [event]


def _body_in_part(true: Any, self: Any, data: bytes) -> None:
    true(self, data[: len(data) // 2])


def _alarm_stays(true: Any, self: Any) -> None:
    alarm, self._alarm = self._alarm, None
    true(self)
    self._alarm = alarm


def _completed(self: Attempt, *_: Any, **__: Any) -> Any:
    return self.ended(COMPLETED)


S, E, A = State, Event, Act
MUTATIONS = [
    Mutation(
        "a cancelled turn goes on as an orphan",
        row(S.FOLLOWED, E.READER_CANCELLED, Step(S.ORPHANED, stay="orphan_s")),
        (5, 6),
    ),
    Mutation("a cancelled turn is never stopped", row(S.CANCELLING, E.DEADLINE_PASSED, Step(S.FOLLOWED)), (5, 6, 7)),
    Mutation(
        "a cancelled turn is replayed",
        row(S.CANCELLING, E.ANSWER_FINISHED, Step(S.UNHEARD, (A.KEEP,), stay="unheard_s")),
        (5,),
    ),
    Mutation("a heard turn is replayed", row(S.SETTLING, E.HEARD, Step(S.UNHEARD, stay="unheard_s")), (5,)),
    Mutation("an orphan never expires", row(S.ORPHANED, E.DEADLINE_PASSED, Step(S.ORPHANED)), (6, 7, 8)),
    Mutation("an unheard answer is kept for ever", row(S.UNHEARD, E.DEADLINE_PASSED, Step(S.UNHEARD)), (8,)),
    Mutation(
        "a retry cancels its answer",
        row(S.ORPHANED, E.READER_JOINED, Step(S.CANCELLING, stay="cancel_grace_s")),
        (8,),
    ),
    Mutation(
        "a failed answer leaves its turn open", row(S.FOLLOWED, E.ANSWER_FAILED, Step(S.FOLLOWED)), (3, 5, 7, 8)
    ),
    Mutation("a second reader starts a second generation", around(arrival, "coming_back", _another_generation), (3,)),
    Mutation("twins are taken for retries", around(arrival, "coming_back", _twins_are_retries), (5,)),
    Mutation("the tenant is ignored", instead(sameness, "tenant_of", _same_tenant), (5,)),
    Mutation("the question is ignored", instead(streamlog.StreamLog, "holds", lambda self, data: True), (5,)),
    Mutation("keepalives stand inside events", _splitter_lets_halves_pass, (1,)),
    Mutation(
        "a null delta follows the stop reason",
        instead(anthropic.EventReader, "keepalive", lambda self, form: anthropic.null_delta(self.output_tokens or 0)),
        (1,),
    ),
    Mutation("every client is kept alive by comments",
             instead(anthropic.EventReader, "keepalive", lambda self, form: anthropic.comment("keepalive")), (1,)),
    Mutation("keepalives never end", around(deadlines, "_deadlines", _forgets_quiet), (7,)),
    Mutation("quiet ends an answer at once", around(deadlines, "_deadlines", _impatient), (1,)),
    Mutation("a truncated body is complete", instead(Attempt, "answer_ended", _completed), (4,)),
    Mutation("a broken connection is the end", instead(Attempt, "broke", _completed), (4,)),
    Mutation("what was spooled is lost", around(streamlog.StreamLog, "_spool", _lost_spool), (0, 1, 3, 4)),
    Mutation("committed text is said again", around(readers.Reader, "wake", _said_again), (1,)),
    Mutation("a reader that comes back hears the end only", around(carrier.Carrier, "follow", _from_the_end), (1,)),
    Mutation("memory is not given back", instead(streamlog.StreamLog, "close", lambda self: None), (8,)),
    Mutation("an alarm outlives its turn", around(carrier.Carrier, "_end", _alarm_stays), (8,)),
    Mutation("a turn ends twice", around(carrier.Carrier, "note", _ends_twice), (8,)),
    Mutation("upstream is not told to stop", around(carrier.Carrier, "_stop_upstream", _leave_it_running), (6, 7)),
    Mutation("what is kept is called complete", _keep_as_complete, (4,)),
    Mutation("half of the request is sent", around(Asking, "send", _body_in_part), (1,)),
    # healing
    Mutation("a restart says completed text again",
             rows_with(heal.Remedy.RESTART, heard=frozenset(heal.Heard) - {heal.Heard.NOTHING, heal.Heard.ALL}), (2,)),
    Mutation("an SDK is given a second start", rows_with(heal.Remedy.RESTART, profile=None), (2,)),
    Mutation("an SDK is left with a cut answer", rows_with(heal.Remedy.CUT, profile=None), (4,)),
    Mutation("an SDK is given half a call to run", rows_with(heal.Remedy.SHORTEN, profile=None, open_block=None), (4,)),
    Mutation("a text is shortened as if it were a call",
             rows_with(heal.Remedy.SHORTEN, heard=frozenset(heal.Heard)), (4,)),
    Mutation("what may not be shortened is", rows_with(heal.Remedy.SHORTEN, setting=None), (4,)),
    Mutation("nothing counts as told", instead(heal, "heard", lambda told: heal.Heard.NOTHING), (1, 2)),
    Mutation("a healed place is not marked", instead(mending, "mark", lambda text: b""), (1,)),
    Mutation("the next attempt says its own start", around(mending.UnderFirstStart, "edit", _own_start_twice), (2,)),
    Mutation("the next attempt begins for nobody", around(Healing, "go_on", _for_nobody), (3,)),
    Mutation("there is always another attempt", around(retry.Ledger, "decide", _asks_for_ever), (3,)),
    Mutation("the loser of a hedge goes on", around(Hedge, "_end", _both_go_on), (3, 6, 7)),
    Mutation("half a held block is told", around(carrier.Carrier, "keep_told", _not_cut), (1, 2, 4)),
    Mutation("the rest of a text begins a block of its own", around(splicing.Splice, "_block_start", _begins_again), (1, 2)),
    Mutation("nobody waits for upstream to be back",
             instead(outage.Outage, "_refusal", lambda self, ending, since, now: "no"), (1,)),
    Mutation("a turn is not forgotten", instead(engine.Engine, "turn_ended", lambda self, carrier: None), (3, 5, 8)),
]  # fmt: skip


def noticed(mutation: Mutation) -> tuple[int, Violation] | None:
    """The first seed whose world breaks one of its rules by this mistake, and by nothing else."""
    with simulated():
        for seed in range(SEEDS):
            schedule = draw(seed)
            with pytest.MonkeyPatch.context() as patch:
                mutation.make(patch)
                violation = play(schedule)
            if violation is not None and violation.rule in mutation.rules and play(schedule) is None:
                return seed, violation
            if not seed % 200:
                gc.collect(1)
    return None


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mistake_is_noticed(mutation: Mutation) -> None:
    """Some world breaks a rule that this mistake concerns."""
    assert noticed(mutation) is not None, f"{SEEDS} worlds went on as if nothing were wrong"
