"""What `holdfast diagnose` looks at beside the client's own logs: flights and added files. It opens them; others decide.

A source that is not there, or cannot be read, is a line of the coverage and ends nothing. A file that somebody named, and
that is nothing that could be read, is an error of theirs and said at once.
"""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from pathlib import Path

from holdfast.captures.connections import follow
from holdfast.captures.files import NotACapture, open_capture
from holdfast.captures.telling import Report, Twins, conclude
from holdfast.cli.add import READS, spooled
from holdfast.cli.errors import Misused
from holdfast.cli.unsaid import Unsaid
from holdfast.diagnosis import added, system
from holdfast.diagnosis.beside import Beside, Seen
from holdfast.diagnosis.case import Case, Coverage, Trip
from holdfast.diagnosis.flown import Flown, flown, matched
from holdfast.diagnosis.trips import trips
from holdfast.flight.cuts import Row
from holdfast.flight.endings import Mechanism, Side
from holdfast.flight.flights import counted
from holdfast.flight.reading import StoredTurn, open_library
from holdfast.flight.redact import clean
from holdfast.flight.schema import JournalError
from holdfast.flight.state import StateError, state_path
from holdfast.probes import kept
from holdfast.probes.result import Result
from holdfast.records import reading
from holdfast.records.legs import legs_of
from holdfast.records.reading import NotReadable
from holdfast.sessions import machine
from holdfast.sessions.systemlog import SystemLog

MOST_CONNECTIONS = 50_000
MOST_TURNS = 10_000
MOST_WELL = 5_000
"Turns that went well, the newest: what broke is compared with those of the same days."
WELL = f"{Side.NOBODY.value}.{Mechanism.COMPLETED.value}."
NEAR_TURNS = 300
"Whole turns that help to find a log's clock: the newest, those that broke among them."


@dataclass(frozen=True, slots=True)
class Asked:
    """What else than the client's logs to look at, and when."""

    files: tuple[Path, ...]
    clock_s: float | None
    "How far the clocks of the files are ahead of ours, if it was said."
    zone: tzinfo
    since_ms: int | None
    until_ms: int | None
    own: bool
    "Whether the logs are of this user and this machine; else only turns of the sessions in them are taken."
    roots: tuple[Path, ...] = ()
    "The client's own directories."
    now_ms: int = 0


def look(case: Case, asked: Asked, unsaid: Unsaid) -> Beside:
    """Everything beside a case. Raises `Misused` for a named file that cannot be read."""
    turns, well, lost, told = _flights(asked.since_ms, asked.until_ms)
    known_sessions = {one.session for one in case.failures} | {one.session for one in case.answers}
    if not asked.own:
        turns = [turn for turn in turns if turn.record.session in known_sessions]
        well = [turn for turn in well if turn.record.session in known_sessions]
        if told.first_ms is not None:
            told = replace(told, count=f"{told.count}; taken are the {len(turns)} of sessions in this home")
    broken = flown(turns, lost)
    seen, carried, covered, logs = _files(case, asked, turns, broken)
    probes, probed = _probes() if asked.own else ([], _OTHERS_NETWORK)
    beside = Beside(
        flights=broken,
        seen=seen,
        trips=(*trips([*turns, *well]), *carried),
        probes=probes,
        covered=(told, probed, *unsaid.covered, *covered),
        tables=unsaid.tables,
        refused=unsaid.refused,
        logs=unsaid.logs,
    )
    if logs:
        beside = system.beside(beside, machine.Machine(logs=logs))
    return _with_machine(beside, case, asked) if asked.own and case.failures else beside


BEFORE_MS = 3_600_000
"Before the first failure: a link that went then may have come back after it."


def _with_machine(beside: Beside, case: Case, asked: Asked) -> Beside:
    """What this machine's own logs tell of the time of the failures, and how its link is now."""
    begun_ms = min(failure.at_ms for failure in case.failures) - BEFORE_MS
    last_ms = max(failure.ended_ms or failure.at_ms for failure in case.failures)
    told = machine.look(
        platform.system(),
        begun_ms,
        max(asked.now_ms, last_ms),
        root=hasattr(os, "geteuid") and os.geteuid() == 0,
    )
    return system.beside(beside, told)


_OTHERS_NETWORK = Coverage("probes", "none: what was asked here says nothing of another machine's network")


def _probes() -> tuple[list[Result], Coverage]:
    """What the network answered when it was asked, however long ago: the weighing knows how it grows old."""
    try:
        found, dirt = kept.read_all(state_path())
    except (OSError, StateError) as error:
        return [], Coverage("probes", "none", unreadable=(clean(str(error)),))
    unread = (f"{counted(dirt, 'line')} that could not be read",) if dirt else ()
    if not found:
        return [], Coverage(
            "probes", "none: nothing was asked of the network (holdfast probe)", unreadable=unread
        )
    names = sorted({one.name for one in found})
    told = f"{counted(len(found), 'result')} of {', '.join(names)}"
    networks = {one.network for one in found if one.network is not None}
    told += f", on {counted(len(networks), 'network')}" if networks else ", on what network is not known"
    return found, Coverage("probes", told, found[0].begun_wall_ms, found[-1].begun_wall_ms, unread)


def _flights(
    since_ms: int | None, until_ms: int | None
) -> tuple[list[StoredTurn], list[StoredTurn], dict[str, Row], Coverage]:
    """Turns that broke, some that went well to compare them with, by their ids those that were cut and lost for it, and how
    many there are in all."""
    try:
        with open_library(state_path()) as library:
            if library is None:
                said = "none: no gateway has run (holdfast run -- claude records them)"
                return [], [], {}, Coverage("flights", said)
            count, first, last = library.tally(since_ms, until_ms)
            turns = library.disturbed(since_ms, until_ms, MOST_TURNS)
            well = [
                turn
                for turn in (library.recent(MOST_WELL, since_ms or 0) if turns else ())
                if (turn.ending_code or "").startswith(WELL)
                and turn.record.breaks is None
                and (until_ms is None or turn.record.started.wall_ms < until_ms)
            ]
            rows = {turn.record.turn_id: library.cut_row(turn.record) for turn in turns}
            lost = {turn_id: row for turn_id, row in rows.items() if row is not None and row.lost}
    except (JournalError, StateError, sqlite3.Error) as error:
        return [], [], {}, Coverage("flights", "none", unreadable=(clean(str(error)),))
    if not count:
        return [], [], {}, Coverage("flights", "none in this time")
    told = f"{counted(count, 'turn')}, {len(turns)} of them broke or did not end well"
    if len(turns) == MOST_TURNS:
        told += f"; only the newest {MOST_TURNS} such are looked at"
    return turns, well, lost, Coverage("flights", told, first, last)


def _files(
    case: Case,
    asked: Asked,
    turns: Sequence[StoredTurn],
    broken: Sequence[Flown],
) -> tuple[list[Seen], list[Trip], list[Coverage], list[SystemLog]]:
    if not asked.files:
        return [], [], [], []
    known = {turn.turn_id: key for key, pairs in matched(case.failures, broken).items() for turn, _ in pairs}
    legs = added.legs(added.open_failures(case, known))
    legs += [leg for turn in turns[-NEAR_TURNS:] for leg in legs_of(turn)]
    known |= {failure.id: failure.id for failure in case.failures}
    first_s = min((leg.began_s for leg in legs), default=0.0)
    ahead = datetime.fromtimestamp(first_s, asked.zone).utcoffset()
    zone_s = ahead.total_seconds() if ahead else 0.0
    near_s = max((failure.at_ms for failure in case.failures), default=asked.now_ms) / 1000
    found, carried, covered, logs = list[Seen](), list[Trip](), list[Coverage](), list[SystemLog]()
    try:
        with spooled(asked.files) as paths:
            for path in paths:
                if reading.is_capture(path):
                    seen, way, told = _capture(path, asked.clock_s)
                else:
                    source = reading.beside(path, legs, local_zone_s=zone_s, shift_s=asked.clock_s)
                    if not source.pile.seen and (
                        log := system.saved(
                            source.name, reading.text_lines(path), asked.zone, near_s, asked.clock_s or 0.0
                        )
                    ):
                        logs.append(log)
                        continue
                    seen, told = added.of_log(source, known)
                    way = added.trips_of_log(source)
                    if source.pile.count == source.pile.dirt > 0:
                        told = replace(
                            told, unreadable=(*told.unreadable, f"{READS}, and a system's saved log")
                        )
                found += seen
                carried += way
                covered.append(told)
    except (NotReadable, NotACapture, OSError) as error:
        raise Misused(f"{clean(str(error))}; {READS}") from error
    return found, carried, covered, logs


def _capture(path: Path, clock_s: float | None) -> tuple[list[Seen], list[Trip], Coverage]:
    reports, twins, more = list[Report](), Twins(), 0
    with open_capture(path) as capture:
        for connection in follow(capture):
            same = twins.of(connection)
            if same is not None:
                continue
            if len(reports) < MOST_CONNECTIONS:
                reports.append(conclude(connection, same))
            else:
                more += 1
        notes = list(capture.notes)
    name = f"capture {clean(path.name, limit=60)}"
    found, told = added.of_capture(name, reports, clock_s, notes, more)
    return found, added.trips_of_capture(name, reports, clock_s), told
