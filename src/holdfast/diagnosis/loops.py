"""Retry loops: the same request, again and again, each time ended alike. Values in, values out.

A client that gives up on a request asks it again, and where the same thing ends it again, every try costs a
generation and none is heard. Ten such turns are one finding, not ten: counted one by one they look like a bad
connection.

The unit is the *try*: one client connection that asked. Behind the gateway several tries may share one turn (the
retry joins the answer that is being generated), and one turn may take several attempts upstream; all three are told.
Requests are the same where the gateway wrote down the same key for them (`TurnRecord.request_key`); where a journal
is older than the key, requests of one session with the same size to the byte are taken for the same, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Final

from holdfast.flight import flights
from holdfast.flight import moments as m
from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side
from holdfast.flight.reading import StoredTurn
from holdfast.flight.record import TurnRecord

LEAST: Final = 2
"So many tries that end alike are a loop: a client that repeats a request after a failure is meant to succeed."
EVEN: Final = 0.05
"Gaps that differ by no more than this share (or a second) are told as one number."

_IN_BODY: Final = " inside the answer's body"


@dataclass(frozen=True, slots=True)
class Try:
    """One client connection that asked."""

    turn_id: str
    at_wall_ms: int
    lasted_s: float
    "Until its connection, or the turn, ended."
    ending: Ending

    @property
    def heard(self) -> bool:
        """Whether this connection heard the answer to its end."""
        return self.ending.completed


@dataclass(frozen=True, slots=True)
class Loop:
    """The same request, ended alike each time."""

    tries: tuple[Try, ...]
    attempts: int
    "Requests sent upstream for them: how often it was generated, in whole or in part."
    not_sent: int
    "Further tries that the gateway answered itself, because it knew the request for doomed."
    tokens: int | None
    "Output tokens of answers that came to their end with nobody listening; None where none was counted."
    uncounted: int
    "Turns whose tokens are not measured: they broke off before the provider said how many."
    heard: bool
    "Whether the same request was heard to its end afterwards."
    by: str
    "`key` or `size`: how the requests are known to be the same."
    request_bytes: int
    session: str | None
    model: str | None

    @property
    def turn_ids(self) -> tuple[str, ...]:
        """The turns in which the tries were, each once."""
        return tuple(dict.fromkeys(one.turn_id for one in self.tries))

    @property
    def side(self) -> Side:
        """Who ended every try."""
        return self.tries[0].ending.side

    @property
    def mechanism(self) -> Mechanism:
        """How every try ended; where they differ in detail (asleep, then dark), what they have in common."""
        kinds = {one.ending.mechanism for one in self.tries}
        return kinds.pop() if len(kinds) == 1 else self.tries[0].ending.mechanism.rule

    @property
    def phase(self) -> Phase | None:
        """What was under way each time; None where it differed."""
        phases = {one.ending.phase for one in self.tries}
        return phases.pop() if len(phases) == 1 else None

    @property
    def code(self) -> str:
        """`C.rst.tool`, or `C.rst` where the phases differ."""
        parts = (self.side.value, self.mechanism.value, *([self.phase.value] if self.phase else []))
        return ".".join(parts)

    @property
    def apart_s(self) -> tuple[float, ...]:
        """From the beginning of each try to that of the next."""
        return tuple((later.at_wall_ms - one.at_wall_ms) / 1000 for one, later in pairwise(self.tries))

    @property
    def lasted_s(self) -> tuple[float, ...]:
        """How long each try lasted."""
        return tuple(one.lasted_s for one in self.tries)

    def __repr__(self) -> str:
        return (
            f"<Loop {self.code}, {len(self.tries)} tries in {len(self.turn_ids)} turns, "
            f"{_told(self.apart_s)} apart{', heard at last' if self.heard else ''}>"
        )

    def sentence(self) -> str:
        """`The same request, 4 times, 300 s apart: each time the client reset the connection ...`"""
        size = f"A request of the same size ({self.request_bytes:,} bytes)"
        what = "The same request" if self.by == "key" else size
        # Where it broke is told only where it was one place: a sentence is made for the body, and the body left out.
        each = flights.ending_sentence(Ending(self.side, self.mechanism, self.phase or Phase.IN_BODY))
        if self.phase is None:
            each = f"{each.partition(_IN_BODY)[0]} ({self.code})"
        upstream = "once" if self.attempts == 1 else f"{self.attempts} times"
        said = (
            f"{what}, {len(self.tries)} times, {_told(self.apart_s)} apart: each time {each}; "
            f"{flights.counted(len(self.turn_ids), 'turn')}, asked upstream {upstream}; {self._tokens()}"
        )
        if self.not_sent:
            said += f"; {self.not_sent} more {'was' if self.not_sent == 1 else 'were'} not sent on"
        return said + ("; then it was heard to its end." if self.heard else ".")

    def _tokens(self) -> str:
        if self.tokens is None:
            return "tokens not measured"
        least = "at least " if self.uncounted else ""
        return f"{least}{_count(self.tokens)} output tokens generated, none heard"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "sentence": self.sentence(),
            "code": self.code,
            "tries": len(self.tries),
            "turn_ids": list(self.turn_ids),
            "attempts": self.attempts,
            "not_sent": self.not_sent,
            "apart_s": [round(gap, 3) for gap in self.apart_s],
            "lasted_s": [round(one, 3) for one in self.lasted_s],
            "tokens": self.tokens,
            "uncounted_turns": self.uncounted,
            "heard": self.heard,
            "by": self.by,
            "request_bytes": self.request_bytes,
            "session": self.session,
            "model": self.model,
            "began_wall_ms": self.tries[0].at_wall_ms,
        }


def found(turns: Iterable[StoredTurn | TurnRecord]) -> list[Loop]:
    """The loops among these turns, in the order in which they began. Turns still running count as far as they came."""
    records = [turn.record if isinstance(turn, StoredTurn) else turn for turn in turns]
    records = sorted(
        (one for one in records if one.kind == "turn"), key=lambda one: (one.started.wall_ms, one.turn_id)
    )
    groups: dict[tuple[object, ...], list[TurnRecord]] = {}
    for record in records:
        if record.request_key is not None:
            groups.setdefault(("key", record.request_key), []).append(record)
        elif record.session is not None and record.request_bytes:
            groups.setdefault(("size", *_size(record)), []).append(record)
    well = {
        _size(one): one.started.wall_ms for one in records if one.ending is not None and one.ending.completed
    }
    loops = [loop for group, members in groups.items() for loop in _loops(str(group[0]), members, well)]
    return sorted(loops, key=lambda loop: loop.tries[0].at_wall_ms)


def _size(record: TurnRecord) -> tuple[object, ...]:
    return record.session, record.subagent, record.path, record.upstream, record.request_bytes


def _loops(by: str, records: Sequence[TurnRecord], well: dict[tuple[object, ...], int]) -> Iterator[Loop]:
    known = {record.turn_id: record for record in records}
    run: list[Try] = []
    not_sent = 0
    for one in (one for record in records for one in tries(record)):
        if one.ending.mechanism is Mechanism.DOOMED:
            not_sent += 1
            continue
        if run and (one.heard or _how(one) != _how(run[0])):
            yield from _loop(by, run, not_sent, known, heard=one.heard)
            run, not_sent = [], 0
        if not one.heard:
            run.append(one)
    if run:
        last = known[run[-1].turn_id]
        after = well.get(_size(last), 0) > last.started.wall_ms
        yield from _loop(by, run, not_sent, known, heard=after)


def _how(one: Try) -> tuple[Side, Mechanism]:
    return one.ending.side, one.ending.mechanism.rule


def _loop(
    by: str, run: list[Try], not_sent: int, known: dict[str, TurnRecord], *, heard: bool
) -> Iterator[Loop]:
    if len(run) < LEAST:
        return
    turns = [known[name] for name in dict.fromkeys(one.turn_id for one in run)]
    unheard = [turn for turn in turns if turn.ending is None or not turn.ending.completed]
    counts = [_tokens(turn) for turn in unheard]
    counted = [count for count in counts if count is not None]
    yield Loop(
        tuple(run),
        attempts=sum(turn.attempts for turn in turns),
        not_sent=not_sent,
        tokens=sum(counted) if counted else None,
        uncounted=len(counts) - len(counted),
        heard=heard,
        by=by,
        request_bytes=turns[-1].request_bytes,
        session=turns[-1].session,
        model=next((turn.model for turn in turns if turn.model), None),
    )


def _tokens(record: TurnRecord) -> int | None:
    """What a turn generated for nobody: known only where its answer came to its end."""
    if record.wasted_tokens is not None:
        return record.wasted_tokens
    ends = [moment for _, moment in record.moments if isinstance(moment, m.AnswerFinished)]
    return ends[-1].output_tokens if ends else None


def tries(record: TurnRecord) -> Iterator[Try]:
    """The client connections of one turn, each with its ending; one that still goes on is none."""
    joined: list[tuple[int, float, int]] = []
    ended: dict[int, tuple[float, Ending]] = {}
    for at, moment in record.moments:
        match moment:
            case m.ReaderJoined(reader=reader):
                joined.append((reader, at.mono_s, at.wall_ms))
            case m.ReaderLeft(reader=reader, ending=ending):
                ended[reader] = (at.mono_s, ending)
            case m.AnswerHeard(reader=reader):
                ended[reader] = (at.mono_s, COMPLETED)
            case _:
                pass
    joined = joined or [(0, record.started.mono_s, record.started.wall_ms)]
    for number, mono_s, wall_ms in joined:
        if number in ended:
            until, ending = ended[number]
        elif record.ended is not None and record.ending is not None:
            until, ending = record.ended.mono_s, record.ending
        else:
            continue
        yield Try(record.turn_id, wall_ms, max(until - mono_s, 0.0), ending)


def _told(seconds: Sequence[float]) -> str:
    """`300 s`, or `12.0 s to 310 s` where they differ."""
    low, high, middle = min(seconds), max(seconds), median(seconds)
    if high - low <= max(1.0, EVEN * middle):
        return flights.duration(middle)
    return f"{flights.duration(low)} to {flights.duration(high)}"


def _count(number: int) -> str:
    """`812`, `48,211`, `1.1 M`."""
    return f"{number / 1e6:.1f} M" if number >= 1_000_000 else f"{number:,}"
