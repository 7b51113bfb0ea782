"""Turns of the gateway's journal put to the failures of transcripts: what the client calls a failure, a flight saw end.

A turn is a failure's if the provider's request id says so, or if it is of the same session and its client heard of
an end when the client noted one. Turns without a session are put to a failure by the time alone, where it is the only
one. What the gateway healed the client never noted: those are counted apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from holdfast.diagnosis.case import Failure, Witness
from holdfast.flight import moments as m
from holdfast.flight.cuts import Row
from holdfast.flight.endings import Ending, Mechanism, taken_apart
from holdfast.flight.flights import ending_sentence
from holdfast.flight.reading import StoredTurn

BEFORE_MS, AFTER_MS = 10_000, 5_000
"A client notes a failure after it heard of it: while it decides, or writes. Both clocks are this machine's."
ALONE_MS = 2_000
"For a turn without a session, which only its time can tell."
RESETS = frozenset(
    {Mechanism.RST, Mechanism.FIN_THEN_RST, Mechanism.STREAM_RESET, Mechanism.GOAWAY, Mechanism.ABORTED}
)
"Ends of which the provider is asked for its side: their requests' ids are listed."
FOLLOWS = frozenset({Mechanism.CANCELLED, Mechanism.SUPERSEDED})
"Ends of a turn that only follow from its client's leaving."


class Reset(NamedTuple):
    """One attempt that was reset, by what its own answer bore: another attempt's ids would name another request."""

    at_ms: int
    "When it broke."
    code: str
    request_id: str | None
    edge_id: str | None
    silence_s: float | None
    "How long nothing had come before; None where that was not seen."


@dataclass(frozen=True, slots=True)
class Flown:
    """A turn that broke or did not end well."""

    turn_id: str
    began_ms: int
    ended_ms: int | None
    session: str | None
    agent: str | None
    code: str
    "Of its last break, or of its own ending where nothing broke before; never healed or not in it."
    healed: bool
    "Whether it came to its proper end all the same."
    silence_s: float
    "The longest silence of upstream."
    request_ids: tuple[str, ...]
    "The provider's, of every attempt that bore one."
    resets: tuple[Reset, ...]
    "Its attempts that were reset or the like, in order."
    heard: tuple[Witness, ...]
    "The ends that its client heard of, or brought about, in order."


def flown(turns: Iterable[StoredTurn], lost: Mapping[str, Row] | None = None) -> list[Flown]:
    """Turns that broke or did not end well, in their order; others are left out.

    `lost`: by turn id, those whose answer was cut and whose rest never came whole: they ended well and were lost.
    """
    known = lost or {}
    found = (_flown(turn, known.get(turn.record.turn_id)) for turn in turns)
    return [one for one in found if one is not None]


def _flown(turn: StoredTurn, row: Row | None) -> Flown | None:
    record = turn.record
    ids, endings, resets, heard = dict[int, _Ids](), list[Ending](), list[Reset](), list[Witness]()
    current = 0
    "The attempt that was heard of last; none where the record tells of the turn alone."
    ended_ms = record.ended.wall_ms if record.ended else None
    left: Witness | None = None
    gone: Ending | None = None

    def own_ids(attempt: int) -> _Ids:
        return ids.get(attempt, (None, None)) if attempt else (record.request_id, record.edge_id)

    def witness(at_ms: int, ending: Ending) -> Witness:
        return Witness(
            at_ms,
            ending.side,
            ending.mechanism,
            "flights",
            ending_sentence(ending).rstrip("."),
            ending.code,
            ending.phase,
            own_ids(current)[0],
            _silence_s(ending),
        )

    for at, moment in record.moments:
        match moment:
            case m.AttemptStarted(attempt=current):
                pass
            case m.HeadersArrived(attempt=current, request_id=request_id, edge_id=edge_id):
                ids[current] = request_id, edge_id
            case m.AttemptEnded(attempt=number, ending=ending) if not ending.completed:
                endings.append(ending)
                if ending.mechanism is not Mechanism.SUPERSEDED:  # whoever took over is the one to ask about
                    current = number
                if ending.mechanism in RESETS:
                    resets.append(Reset(at.wall_ms, ending.code, *own_ids(number), _silence_s(ending)))
            case m.ReaderLeft(verdict=verdict, ending=ending) if verdict != "superseded":
                left, gone = witness(at.wall_ms, ending), ending
                if verdict in ("gave_up", "lost"):
                    heard.append(left)
            case _:
                pass
    last = record.ending
    if left is not None and last is not None and last.mechanism in FOLLOWS:
        # The gateway stopped because its client had gone, by whatever limit: who left is who ended it.
        last = gone
        heard += [left] if left not in heard else []
    elif last is not None and not last.completed:
        endings.append(last)
        if ended_ms is not None:
            heard.append(witness(ended_ms, last))
    elif row is not None and row.turn_ids[-1] == record.turn_id and endings and ended_ms is not None:
        broke = witness(ended_ms, endings[-1])
        heard.append(
            replace(broke, text=f"{broke.text}; the answer was cut {row.often}, and its rest never came")
        )
    codes = [taken_apart(told.strip())[0] for told in (record.breaks or "").split(",") if told.strip()]
    code = last.code if last is not None and not last.completed else codes[-1] if codes else ""
    code = code or (turn.ending_code or "")
    well = last is not None and last.completed
    if not code or (well and not codes):
        return None
    if not resets and (any(one.mechanism in RESETS for one in endings) or _named_reset(codes)):
        at_ms = ended_ms if ended_ms is not None else record.started.wall_ms
        resets.append(Reset(at_ms, code, *own_ids(current), record.longest_quiet_s))
    return Flown(
        record.turn_id,
        record.started.wall_ms,
        ended_ms,
        record.session,
        record.subagent,
        code,
        well and row is None,
        record.longest_quiet_s,
        tuple(
            dict.fromkeys(one for one in [*(asked for asked, _ in ids.values()), record.request_id] if one)
        ),
        tuple(resets),
        tuple(heard),
    )


_Ids = tuple[str | None, str | None]
"The provider's and the edge's, of one answer."


def _silence_s(ending: Ending) -> float | None:
    quiet = ending.evidence.get("silence_s")
    return float(quiet) if isinstance(quiet, int | float) else None


def _named_reset(codes: Sequence[str]) -> bool:
    return any(code.split(".")[1] in {one.value for one in RESETS} for code in codes if code.count(".") == 2)


def matched(failures: Sequence[Failure], turns: Sequence[Flown]) -> dict[str, list[tuple[Flown, Witness]]]:
    """Failure id -> the turns that it was, with the end that its client heard of; failures without one are left out."""
    by_session: dict[str, list[Flown]] = defaultdict(list)
    by_request: dict[str, Flown] = {}
    nameless: list[Flown] = []
    for turn in turns:
        if turn.session:
            by_session[turn.session].append(turn)
        else:
            nameless.append(turn)
        by_request.update(dict.fromkeys(turn.request_ids, turn))
    found: dict[str, list[tuple[Flown, Witness]]] = {}
    for failure in failures:
        mine: dict[str, tuple[Flown, Witness]] = {}
        for one in failure.tries:
            asked = by_request.get(one.request_id or "")
            if asked is not None and asked.heard:
                mine.setdefault(asked.turn_id, (asked, asked.heard[-1]))
        times = [*failure.times_ms, *([failure.ended_ms] if failure.outcome == "died" else [])]
        for at_ms in times:
            if at_ms is None:
                continue
            near = _near(by_session.get(failure.session, ()), failure, at_ms, BEFORE_MS, AFTER_MS)
            if not near:
                alone = _near(nameless, failure, at_ms, ALONE_MS, ALONE_MS)
                near = alone if len(alone) == 1 else []
            if near:
                turn, witness = min(near, key=lambda pair: abs(pair[1].at_ms - at_ms))
                mine.setdefault(turn.turn_id, (turn, witness))
        if mine:
            found[failure.id] = sorted(mine.values(), key=lambda pair: pair[1].at_ms)
    return found


def _near(
    turns: Iterable[Flown], failure: Failure, at_ms: int, before_ms: int, after_ms: int
) -> list[tuple[Flown, Witness]]:
    return [
        (turn, one)
        for turn in turns
        for one in turn.heard
        if at_ms - before_ms <= one.at_ms <= at_ms + after_ms
        and (not turn.agent or not failure.agent or turn.agent == failure.agent)
        and bool(turn.agent) == bool(failure.agent)
    ]


# ----- tables


def by_ending(turns: Sequence[Flown], known: Mapping[str, str]) -> list[dict[str, Any]]:
    """How turns broke, by the code of their ending; `known`: turn id -> the failure that the client noted of it."""
    groups: dict[str, list[Flown]] = defaultdict(list)
    for turn in turns:
        groups[turn.code].append(turn)
    rows = [
        {
            "ending": code,
            "turns": len(mine),
            "healed": sum(one.healed for one in mine),
            "noted_by_client": sum(one.turn_id in known for one in mine),
            "only_flights": sum(not one.healed and one.turn_id not in known for one in mine),
            "longest_silence_s": max(one.silence_s for one in mine),
        }
        for code, mine in groups.items()
    ]
    return sorted(rows, key=lambda row: (-int(row["turns"]), str(row["ending"])))


def reset_requests(turns: Sequence[Flown], known: Mapping[str, str]) -> list[dict[str, Any]]:
    """The attempts that were reset, each with its own ids: what a provider's support can look up."""
    return [
        {
            "at_ms": one.at_ms,
            "ending": one.code,
            "request_id": one.request_id,
            "edge_id": one.edge_id,
            "silence_s": one.silence_s,
            "turn": turn.turn_id,
            "failure": known.get(turn.turn_id),
        }
        for turn in turns
        for one in turn.resets
    ]
