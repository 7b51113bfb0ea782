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
from holdfast.cli.add import spooled
from holdfast.cli.errors import Misused
from holdfast.cli.unsaid import Unsaid
from holdfast.diagnosis import added, system
from holdfast.diagnosis.beside import Beside, Seen
from holdfast.diagnosis.case import Case, Coverage
from holdfast.diagnosis.flown import Flown, flown, matched
from holdfast.flight.flights import counted
from holdfast.flight.reading import StoredTurn, open_library
from holdfast.flight.redact import clean
from holdfast.flight.schema import JournalError
from holdfast.flight.state import StateError, state_path
from holdfast.records import reading
from holdfast.records.legs import legs_of
from holdfast.records.reading import NotReadable
from holdfast.sessions import machine

MOST_CONNECTIONS = 50_000
MOST_TURNS = 10_000
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
    turns, told = _flights(asked.since_ms, asked.until_ms)
    known_sessions = {one.session for one in case.failures} | {one.session for one in case.answers}
    if not asked.own:
        turns = [turn for turn in turns if turn.record.session in known_sessions]
        if told.first_ms is not None:
            told = replace(told, count=f"{told.count}; taken are the {len(turns)} of sessions in this home")
    broken = flown(turns)
    seen, covered = _files(case, asked, turns, broken)
    beside = Beside(
        flights=broken,
        seen=seen,
        covered=(told, *unsaid.covered, *covered),
        tables=unsaid.tables,
        refused=unsaid.refused,
    )
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


def _flights(since_ms: int | None, until_ms: int | None) -> tuple[list[StoredTurn], Coverage]:
    """Turns that broke, and how many there are in all."""
    try:
        with open_library(state_path()) as library:
            if library is None:
                return [], Coverage(
                    "flights", "none: no gateway has run (holdfast run -- claude records them)"
                )
            count, first, last = library.tally(since_ms, until_ms)
            turns = library.disturbed(since_ms, until_ms, MOST_TURNS)
    except (JournalError, StateError, sqlite3.Error) as error:
        return [], Coverage("flights", "none", unreadable=(clean(str(error)),))
    if not count:
        return [], Coverage("flights", "none in this time")
    told = f"{counted(count, 'turn')}, {len(turns)} of them broke or did not end well"
    if len(turns) == MOST_TURNS:
        told += f"; only the newest {MOST_TURNS} such are looked at"
    return turns, Coverage("flights", told, first, last)


def _files(
    case: Case,
    asked: Asked,
    turns: Sequence[StoredTurn],
    broken: Sequence[Flown],
) -> tuple[list[Seen], list[Coverage]]:
    if not asked.files:
        return [], []
    known = {turn.turn_id: key for key, pairs in matched(case.failures, broken).items() for turn, _ in pairs}
    legs = added.legs(added.open_failures(case, known))
    legs += [leg for turn in turns[-NEAR_TURNS:] for leg in legs_of(turn)]
    known |= {failure.id: failure.id for failure in case.failures}
    first_s = min((leg.began_s for leg in legs), default=0.0)
    ahead = datetime.fromtimestamp(first_s, asked.zone).utcoffset()
    zone_s = ahead.total_seconds() if ahead else 0.0
    found, covered = list[Seen](), list[Coverage]()
    with spooled(asked.files) as paths:
        for path in paths:
            try:
                if reading.is_capture(path):
                    seen, told = _capture(path, asked.clock_s)
                else:
                    source = reading.beside(path, legs, local_zone_s=zone_s, shift_s=asked.clock_s)
                    seen, told = added.of_log(source, known)
            except (NotReadable, NotACapture, OSError) as error:
                raise Misused(
                    f"{clean(str(error))}; --add reads logs of proxies and servers, HAR files, mitmproxy flows, "
                    "pasted traces and packet captures"
                ) from error
            found += seen
            covered.append(told)
    return found, covered


def _capture(path: Path, clock_s: float | None) -> tuple[list[Seen], Coverage]:
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
    return added.of_capture(f"capture {clean(path.name, limit=60)}", reports, clock_s, notes, more)
