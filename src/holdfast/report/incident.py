"""One incident, explained from the flight alone: a stored turn in, claims with their evidence out. No I/O.

The order is that in which a careful person would find it out by hand: what was asked, what happened, who closed
the connection and how we know, which timer is behind it, what is ruled out and by what, whether it goes in a
circle, what was done about it, what it cost, what would prove all this wrong, and what to do now.

Every claim has a grade. `certain` is only what we saw on a socket or a clock of our own; a conclusion is at
most `likely`; and where nothing was measured the claim says so, because "not measured" is no evidence of absence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from holdfast.flight import flights
from holdfast.flight import moments as m
from holdfast.flight.cuts import Row
from holdfast.flight.endings import Ending, Phase
from holdfast.flight.flights import Line, counted, duration, size
from holdfast.flight.reading import StoredTurn
from holdfast.flight.record import TurnRecord
from holdfast.report import timeline
from holdfast.report.advice import advice
from holdfast.report.breaks import CLIENT, OUTAGE, Break, Clocks, breaks, clocks, main_break, told
from holdfast.report.causes import loop, timer
from holdfast.report.claims import Added, Advice, Asked, Claim, Fact, Seen, Suspect
from holdfast.report.closing import closer, measured, reason
from holdfast.report.suspects import suspects


@dataclass(frozen=True, slots=True)
class Incident:
    """The whole report as a value; each format renders the same one."""

    turn_id: str
    title: str
    well: bool
    "Nothing broke: then the rest is empty but for what was asked and what happened."
    code: str
    "Of the break that this is about, or of the turn's end."
    asked: tuple[Fact, ...]
    lines: tuple[Line, ...]
    picture: timeline.Picture
    closer: Claim | None
    seen: tuple[Seen, ...]
    reason: Claim | None
    timer: Claim | None
    others: tuple[str, ...]
    "Timers with the same number that cannot be it, each with its reason."
    suspects: tuple[Suspect, ...]
    loop: Claim | None
    done: tuple[str, ...]
    "What the gateway did."
    cost: tuple[Fact, ...]
    falsifiers: tuple[str, ...]
    advice: tuple[Advice, ...]
    requests: tuple[Asked, ...]
    also: tuple[str, ...]
    "The other breaks of this turn."
    made_by: str
    "`holdfast 1.2.3`."


def examine(
    turn: StoredTurn,
    neighbours: Sequence[StoredTurn] = (),
    *,
    made_by: str = "holdfast",
    added: Sequence[Added] = (),
    cut: Row | None = None,
) -> Incident:
    """Explain a turn. `neighbours` are turns of the same session and agent, for circles of retries; `cut` is what
    became of its answer, if that was cut.

    `added` is what other programs' logs and captures say of this turn's connections (`--add`).
    """
    record = turn.record
    found = breaks(record)
    main = main_break(record, found)
    lines = tuple(flights.story(record))
    if main is None:
        return _well(turn, lines, made_by)
    clock = clocks(record, main)
    added = [one for one in added if _of(one, main)]
    who, why = closer(record, main, added), reason(record, main, clock)
    which, others = timer(record, main, clock)
    circle = loop(record, main, neighbours, cut)
    claims = [claim for claim in (who, why, which, circle) if claim is not None]
    return Incident(
        turn_id=record.turn_id,
        title=_title(record, main, clock, cut),
        well=False,
        code=main.ending.code if main.ending else (turn.ending_code or ""),
        asked=_asked(record),
        lines=lines,
        picture=timeline.draw(record),
        closer=who,
        seen=measured(main, clock),
        reason=why,
        timer=which,
        others=others,
        suspects=suspects(record, main, clock, added),
        loop=circle,
        done=_done(turn, cut),
        cost=_cost(record),
        falsifiers=tuple(dict.fromkeys(text for claim in claims for text in claim.settle)),
        advice=advice(turn, main, added, cut),
        requests=_requests(record),
        also=_also([one for one in found if one is not main]),
        made_by=made_by,
    )


def _of(one: Added, main: Break) -> bool:
    """Whether it is of the connection that broke."""
    return one.client == (main.met == CLIENT) and one.number == main.number and main.met != OUTAGE


MOST_ALSO = 8


def _also(found: Sequence[Break]) -> tuple[str, ...]:
    """The first few of the others, and how many more."""
    more = len(found) - MOST_ALSO
    rest = (f"and {counted(more, 'more break')}, in the story.",) if more > 0 else ()
    return (*(told(one) for one in found[:MOST_ALSO]), *rest)


def _well(turn: StoredTurn, lines: tuple[Line, ...], made_by: str) -> Incident:
    record = turn.record
    over = record.ending is not None or turn.ending_code is not None
    length = flights.length_of(record)
    after = f" after {length}" if length else ""
    title = f"Nothing broke: the turn ended well{after}" if over else "Nothing has broken: the turn goes on"
    return Incident(
        turn_id=record.turn_id, title=title, well=True, code=turn.ending_code or "", asked=_asked(record),
        lines=lines, picture=timeline.draw(record), closer=None, seen=(), reason=None, timer=None, others=(),
        suspects=(), loop=None, done=_done(turn, None), cost=(), falsifiers=(), advice=(), requests=_requests(record),
        also=(), made_by=made_by,
    )  # fmt: skip


def _asked(record: TurnRecord) -> tuple[Fact, ...]:
    arrived = next((one for _, one in record.moments if isinstance(one, m.RequestArrived)), None)
    edits = [_edit(one) for _, one in record.moments if isinstance(one, m.RequestEdited)]
    sent = [one.body_bytes for _, one in record.moments if isinstance(one, m.RequestSent)]
    facts = [
        ("began", timeline.utc(record.started.wall_ms)),
        ("request", f"{record.method} {record.path}"),
        ("model", record.model or ""),
        ("client", _client(record, arrived)),
        ("session", record.session or ""),
        ("agent", record.subagent or ""),
        ("upstream", record.upstream),
        ("size sent", size(sent[-1]) if sent else size(record.request_bytes) if record.request_bytes else ""),
        ("prompt", counted(record.input_tokens, "token") if record.input_tokens is not None else "not said"),
        ("changed here", ", ".join(edits)),
        ("what it said", "not recorded: no body and no prompt is ever in a flight"),
    ]
    return tuple(Fact(name, value) for name, value in facts if value)


def _client(record: TurnRecord, arrived: m.RequestArrived | None) -> str:
    agent = record.agent or (arrived.agent if arrived else "")
    known = (
        record.profile
        if record.profile and record.profile != "unknown"
        else "not known, so nothing is assumed"
    )
    return f"{agent or 'it gave no name'} (measured behaviour: {known})"


def _edit(edit: m.RequestEdited) -> str:
    return f"{edit.edit} ({edit.detail})" if edit.detail else edit.edit


def _requests(record: TurnRecord) -> tuple[Asked, ...]:
    """One row per attempt that was answered, or that broke before it could be."""
    rows: dict[int, dict[str, Any]] = {}
    for at, moment in record.moments:
        match moment:
            case m.AttemptStarted(attempt=number):
                rows[number] = {"at_utc": timeline.utc(at.wall_ms)}
            case m.HeadersArrived(attempt=number, status=status, request_id=request_id, edge_id=edge_id):
                rows.setdefault(number, {"at_utc": timeline.utc(at.wall_ms)}).update(
                    status=status, request_id=request_id, edge_id=edge_id
                )
            case m.AttemptEnded(attempt=number, ending=ending) if number in rows:
                rows[number]["ended"] = ending.code
            case _:
                pass
    empty = {"status": None, "request_id": None, "edge_id": None, "ended": ""}
    return tuple(Asked(attempt=number, **(empty | row)) for number, row in sorted(rows.items()))


def _cost(record: TurnRecord) -> tuple[Fact, ...]:
    finished = next((one for _, one in reversed(record.moments) if isinstance(one, m.AnswerFinished)), None)
    facts = [Fact("requests sent upstream", str(record.attempts))]
    if record.input_tokens is not None:
        facts.append(Fact("prompt", f"{counted(record.input_tokens, 'token')}, each time it was sent"))
    if record.output_tokens is not None and finished is None:
        # A stream announces a first token at its start; what followed is told only at its end.
        told = counted(record.output_tokens, "token")
        facts.append(Fact("generated", f"at least {told}; the answer broke before upstream said how many"))
    elif record.output_tokens is not None:
        about = "about " if finished and finished.estimated else ""
        facts.append(Fact("generated", f"{about}{counted(record.output_tokens, 'token')}"))
    else:
        facts.append(Fact("generated", f"tokens not said; {size(record.answer_bytes)} of answer arrived"))
    if record.wasted_tokens:
        facts.append(Fact("generated and heard by nobody", counted(record.wasted_tokens, "token")))
    if record.spared:
        facts.append(Fact("not generated again", counted(record.spared, "request")))
    if length := flights.length_of(record):
        facts.append(Fact("time", length))
    facts.append(
        Fact("billing", "what a provider bills after a break is not documented, and not measured here")
    )
    return tuple(facts)


def _done(turn: StoredTurn, cut: Row | None) -> tuple[str, ...]:
    record = turn.record
    said: list[str] = []
    if record.keepalives:
        quiet_s = flights.longest_quiet_s(record)
        when = f"in silences of up to {duration(quiet_s)}" if quiet_s >= 1 else "while it waited"
        said.append(f"Held the client with {counted(record.keepalives, 'keepalive')} {when}.")
    if record.held:
        said.append(f"Bridged {counted(record.held, 'silence')} longer than the client's own limit.")
    for _, moment in record.moments:
        match moment:
            case m.TurnOrphaned(patience_s=patience_s):
                said.append(f"Let the answer go on without a listener, for up to {duration(patience_s)}.")
            case m.ReaderJoined(how="retry", behind_bytes=behind):
                said.append(
                    f"Gave the client that came back the answer under way; {size(behind)} were there already."
                )
            case m.ReaderJoined(how="fallback", behind_bytes=behind):
                said.append("Gave the request without streaming the answer under way.")
            case m.Healed() | m.NotAskedAgain() | m.HedgeStarted() | m.AnsweredLocally():
                said.append(flights.sentence(moment))
            case m.AttemptPlanned(attempt=number, in_s=in_s, change=change, why=why):
                when = f"{duration(in_s)} later" if in_s > 0 else "at once"
                said.append(
                    f"Asked upstream again {when}, attempt {number}, with a change: {change} ({why})."
                )
            case m.NetworkBack(absent_s=absent_s):
                said.append(
                    f"Waited {duration(absent_s)} for upstream to be reachable again; nothing was sent meanwhile."
                )
            case m.ErrorSaid(status=status, kind=kind):
                where = f"with status {status}" if status is not None else "inside the stream"
                said.append(f"Told the client an honest error {where}: {kind}.")
            case m.AnswerKept(size=kept, complete=complete):
                said.append(
                    f"Kept the {'whole' if complete else 'unfinished'} answer, {size(kept)}, in the attic."
                )
            case _:
                pass
    if cut is not None and cut.lost:
        said.append(cut.sentence())
    elif record.saved_from:
        said.append(f"Saved the turn from: {record.saved_from}.")
    if turn.kept_bytes is not None and not any("in the attic" in one for one in said):
        said.append(f"Keeps the answer, {size(turn.kept_bytes)}, in the attic.")
    return tuple(dict.fromkeys(said)) or ("Relayed it, and had nothing to mend.",)


def _title(record: TurnRecord, main: Break, clock: Clocks, cut: Row | None) -> str:
    if main.ending is None:
        lasted = f" for {duration(main.lasted_s)}" if main.lasted_s is not None else ""
        return f"Upstream could not be reached{lasted} ({main.why}); {_came_to(record, main, cut)}"
    deed = flights.ending_sentence(bare(main.ending), evidence=False).removesuffix(f" ({main.ending.code})")
    tool = _tool_at(record, main.at_s) if main.ending.phase is Phase.IN_TOOL_USE else None
    silence = clock.upstream_s if main.met == CLIENT else clock.byte_s
    after = f" after {duration(silence)} of silence" if silence is not None and silence >= 5 else ""
    return f"{deed[0].upper()}{deed[1:]}{f' ({tool})' if tool else ''}{after}; {_came_to(record, main, cut)}"


def bare(ending: Ending) -> Ending:
    return Ending(ending.side, ending.mechanism, ending.phase)


def _tool_at(record: TurnRecord, at_s: float) -> str | None:
    tool = None
    for at, moment in record.moments:
        if at.mono_s - record.started.mono_s > at_s:
            break
        if isinstance(moment, m.BlockOpened):
            tool = moment.tool
    return tool


def _came_to(record: TurnRecord, main: Break, cut: Row | None) -> str:
    """What became of the turn, as the title's second half."""
    if record.ending is None:
        return "the turn is not over"
    kept = any(isinstance(one, m.AnswerKept) for _, one in record.moments)
    if record.ending.completed:
        if cut is not None and cut.lost:
            return f"the answer was {cut.brief(record.turn_id)}"
        if cut is not None and cut.going_on:
            return "the answer was cut, and its rest is not there yet"
        if main.met == CLIENT:
            return "it came back and got the same answer"
        if main.met == OUTAGE:
            return "the turn waited and ended well"
        if record.healed:
            return f"the turn was healed ({record.healed}) and ended well"
        return "the turn ended well all the same"
    if main.verdict in ("cancelled", "moved_on"):
        return "the turn was stopped"
    return "the turn was lost" + (", what there was of the answer is in the attic" if kept else "")


def as_plain(incident: Incident) -> dict[str, Any]:
    """The incident as plain values: claims with grades, suspects, measurements, advice."""
    data: dict[str, Any] = msgspec.to_builtins(
        {
            name: getattr(incident, name)
            for name in Incident.__dataclass_fields__
            if name not in ("lines", "picture")
        }
    )
    return data
