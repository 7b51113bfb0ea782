"""Turns as they are found in the journal: rows back into records."""

from __future__ import annotations

import difflib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from holdfast.flight import cuts, instant
from holdfast.flight import moments as vocabulary
from holdfast.flight.attic import Attic
from holdfast.flight.endings import Ending
from holdfast.flight.instances import living_instances, mark_interrupted
from holdfast.flight.instant import Instant
from holdfast.flight.marks import Mark, marks
from holdfast.flight.moments import Moment
from holdfast.flight.record import TurnRecord
from holdfast.flight.schema import TURN_COLUMNS, NotWritableError, connect, connect_to_read
from holdfast.flight.state import JOURNAL, StateError

KINDS: dict[str, type[Moment]] = {
    kind.__name__: kind
    for kind in vars(vocabulary).values()
    if isinstance(kind, type) and issubclass(kind, Moment) and kind is not Moment
}
"Every kind of moment by its name."


class UnknownMoment(Moment, frozen=True):
    """A moment that this version has no word for; another version of Holdfast wrote it."""

    name: str
    data: dict[str, Any] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """One turn of the journal."""

    record: TurnRecord
    instance_id: str
    ending_code: str | None
    "None while it goes on. Kept beside the record because an older version may not know the ending's words."
    kept_bytes: int | None
    "Size of its answer in the attic; None where none is there."


_RAY = re.compile(r"([0-9A-Fa-f]{16})(?:-([A-Za-z]{3}))?", re.ASCII)
"A cf-ray, with or without the place of its edge."


def decode_moment(name: str, data: dict[str, Any]) -> Moment:
    """A moment from its name and data; what does not fit our vocabulary becomes an `UnknownMoment`."""
    kind = KINDS.get(name)
    if kind is not None:
        with suppress(msgspec.ValidationError):
            return msgspec.convert(data, kind)
    return UnknownMoment(name, data)


def decode_moments(encoded: str) -> list[tuple[Instant, Moment]]:
    """The `moments` column: `[[mono_s, wall_ms, name, data], ...]`; what is no moment is left out."""
    try:
        listed = msgspec.json.decode(encoded)
    except (msgspec.MsgspecError, ValueError, TypeError):
        return []
    found = []
    for item in listed if isinstance(listed, list) else ():
        match item:
            case [int() | float() as mono, int() as wall, str() as name, dict() as data]:
                found.append((Instant(mono, wall), decode_moment(name, data)))
    return found


def decode_ending(encoded: str | None) -> Ending | None:
    """The `ending` column; None where there is none, or where its words are not known to this version."""
    if encoded is not None:
        with suppress(msgspec.MsgspecError):
            return msgspec.json.decode(encoded, type=Ending)
    return None


_PLAIN = tuple(
    name
    for name in TURN_COLUMNS
    if not name.startswith(("started_", "ended_"))
    and name not in ("instance_id", "ending_code", "ending", "moments")
)


def _stored(row: sqlite3.Row) -> StoredTurn:
    started = Instant(row["started_mono_s"], row["started_wall_ms"])
    record = TurnRecord(started=started, **{name: row[name] for name in _PLAIN})
    record.ending = decode_ending(row["ending"])
    record.ended = _ended(started, row["ended_mono_s"], row["ended_wall_ms"])
    record.moments = decode_moments(row["moments"])
    return StoredTurn(record, row["instance_id"], row["ending_code"], row["kept_bytes"])


def _ended(started: Instant, mono_s: float | None, wall_ms: int | None) -> Instant | None:
    """Where a process was killed only the wall clock's last label is known; the other clock is reckoned from it."""
    if wall_ms is None:
        return None
    if mono_s is None:
        mono_s = started.mono_s + (wall_ms - started.wall_ms) / 1000
    return Instant(mono_s, wall_ms)


def _newer(one: StoredTurn, other: StoredTurn) -> bool:
    return one.record.turn_id > other.record.turn_id


class Library:
    """A journal opened for reading. Use `open_library`."""

    def __init__(self, connection: sqlite3.Connection, state_dir: Path) -> None:
        self.connection = connection
        self.state_dir = state_dir
        self.attic = Attic(state_dir, connection)
        connection.row_factory = sqlite3.Row

    _SELECT = (
        f"SELECT {', '.join('turn.' + name for name in TURN_COLUMNS)}, answer.size AS kept_bytes "
        "FROM turn LEFT JOIN answer ON answer.turn_id = turn.turn_id"
    )

    def recent(self, limit: int, since_wall_ms: int = 0) -> list[StoredTurn]:
        """The newest turns, the newest first."""
        return self._turns(
            "WHERE turn.started_wall_ms >= ? ORDER BY turn.turn_id DESC LIMIT ?", since_wall_ms, limit
        )

    def find(self, name: str) -> list[StoredTurn]:
        """The turns meant by `name`: a turn id or its beginning, or an id of the provider's or its edge's.

        A cf-ray is found with and without the three letters that its edge put behind it.
        """
        exact = self._turns("WHERE turn.turn_id = ?", name)
        if exact:
            return exact
        begins = "turn.turn_id >= ? AND turn.turn_id < ? || '{'"  # '{' comes after every letter of an id
        ray = _RAY.fullmatch(name)
        bare, place = name, ""
        if ray:
            bare = ray[1].lower()
            place = f"{bare}-{ray[2].upper()}" if ray[2] else f"{bare}-___"
        return self._turns(f"WHERE {begins} ORDER BY turn.turn_id DESC LIMIT 100", name, name) or self._turns(
            # An earlier attempt's id is in the moments only. `moment` unfolds all of them: some 100 ms per 100,000.
            "WHERE turn.request_id = ?1 OR turn.edge_id IN (?1, ?2) OR turn.edge_id LIKE ?3 "
            "OR (instr(turn.moments, ?2) AND EXISTS ("
            "SELECT 1 FROM moment WHERE moment.turn_id = turn.turn_id AND moment.name = 'HeadersArrived' AND "
            "(json_extract(data, '$.request_id') = ?1 OR json_extract(data, '$.edge_id') IN (?1, ?2) "
            "OR json_extract(data, '$.edge_id') LIKE ?3))) ORDER BY turn.turn_id DESC",
            name,
            bare,
            place,
        )

    def last(self) -> StoredTurn | None:
        """The latest turn that is over and did not end well, else the latest that broke and went on, else the latest
        that is over, else the latest of all; None where there is none. A last cut that was never made whole did not
        end well."""
        over = "turn.ending_code IS NOT NULL"
        lost = self._last_cut()
        for condition in (
            f"WHERE {over} AND turn.ending_code NOT LIKE '-.end.%'",
            f"WHERE {over} AND turn.breaks IS NOT NULL",
            f"WHERE {over}",
            "",
        ):
            found = self._turns(f"{condition} ORDER BY turn.turn_id DESC LIMIT 1")
            if lost is not None and (not found or "NOT LIKE" not in condition or _newer(lost, found[0])):
                return lost
            if found:
                return found[0]
        return None

    def _last_cut(self) -> StoredTurn | None:
        """The last turn of the latest answer that was cut and never became whole, among the newest that were cut."""
        for turn in self._turns(
            "WHERE turn.healed LIKE '%cut' AND turn.ending_code LIKE '-.end.%' ORDER BY turn.turn_id DESC LIMIT 20"
        ):
            row = self.cut_row(turn.record)
            if row is not None and row.lost and row.turn_ids[-1] == turn.record.turn_id:
                return turn
        return None

    def cut_row(self, record: TurnRecord) -> cuts.Row | None:
        """What became of a turn's answer that was cut, by the turns around it; None where it was not cut."""
        near = (one.record for one in self.neighbours(record))
        return cuts.row_of(record, near, instant.now().wall_ms)

    def near_names(self, name: str, among: int = 500) -> list[str]:
        """Ids of recent turns that look like `name`, the likest first: turn ids, request ids, edge ids."""
        rows = self.connection.execute(
            "SELECT turn_id, request_id, edge_id FROM turn ORDER BY turn_id DESC LIMIT ?", (among,)
        )
        ids = {key.lower(): key for row in rows for key in row if key}
        wanted = name.lower()
        part = [ids[key] for key in ids if len(wanted) >= 4 and (wanted in key or key in wanted)]
        alike = [ids[key] for key in difflib.get_close_matches(wanted, ids, 3, 0.75)]
        return list(dict.fromkeys([*part, *alike]))[:3]

    def neighbours(self, record: TurnRecord, within_s: float = 3600.0) -> list[StoredTurn]:
        """Turns of the same session and agent, or with the same request, that began within so many seconds of this
        one, the oldest first; at most the 100 nearest. None where it has neither: then nobody's can be told apart."""
        span_ms = int(within_s * 1000)
        found = self._turns(
            "WHERE (turn.session = ?1 AND turn.subagent IS ?2 OR turn.request_key = ?3) AND turn.turn_id != ?4 "
            "AND turn.started_wall_ms BETWEEN ?5 - ?6 AND ?5 + ?6 ORDER BY abs(turn.started_wall_ms - ?5) LIMIT 100",
            record.session,
            record.subagent,
            record.request_key,
            record.turn_id,
            record.started.wall_ms,
            span_ms,
        )
        return sorted(found, key=lambda turn: turn.record.started.wall_ms)

    def disturbed(
        self, since_wall_ms: int | None = None, until_wall_ms: int | None = None, limit: int = 10_000
    ) -> list[StoredTurn]:
        """The newest turns of this span that broke or did not end well, the oldest first."""
        found = self._turns(
            "WHERE (turn.breaks IS NOT NULL OR turn.ending_code NOT LIKE '-.end.%') AND turn.started_wall_ms >= ?1 "
            "AND (?2 IS NULL OR turn.started_wall_ms < ?2) ORDER BY turn.started_wall_ms DESC LIMIT ?3",
            since_wall_ms or 0,
            until_wall_ms,
            limit,
        )
        return found[::-1]

    def tally(
        self, since_wall_ms: int | None = None, until_wall_ms: int | None = None
    ) -> tuple[int, int | None, int | None]:
        """How many turns there are in this span, and when the first and the last began (wall time, ms)."""
        count, first, last = self.connection.execute(
            "SELECT count(*), min(started_wall_ms), max(started_wall_ms) FROM turn WHERE started_wall_ms >= ?1 "
            "AND (?2 IS NULL OR started_wall_ms < ?2)",
            (since_wall_ms or 0, until_wall_ms),
        ).fetchone()
        return count, first, last

    def notes(self, since_wall_ms: int = 0) -> list[tuple[int, str, str]]:
        """What gateways noted about themselves: wall time in ms, name, text."""
        rows = self.connection.execute(
            "SELECT wall_ms, name, text FROM note WHERE wall_ms >= ? ORDER BY id", (since_wall_ms,)
        )
        return [tuple(row) for row in rows]

    def marks(self, since_wall_ms: int = 0, until_wall_ms: int | None = None) -> list[Mark]:
        """What people wrote onto the timeline in this span of wall time, both ends included, the oldest first."""
        return marks(self.connection, since_wall_ms, until_wall_ms)

    def _turns(self, condition: str, *values: str | int | None) -> list[StoredTurn]:
        return [_stored(row) for row in self.connection.execute(f"{self._SELECT} {condition}", values)]


@contextmanager
def open_library(state_dir: Path) -> Iterator[Library | None]:
    """The journal of a state directory, or None where there is none yet. Raises `JournalError`, `StateError`.

    Turns of gateways that are gone are marked as interrupted first, so that they are not shown as running.
    """
    try:
        there = (state_dir / JOURNAL).exists()
    except OSError as error:
        raise StateError(
            f"{state_dir} cannot be read ({error.strerror}); set HOLDFAST_STATE_DIR to a directory of your own"
        ) from None
    if not there:
        yield None
        return
    try:
        connection = connect(state_dir)
    except NotWritableError:
        connection = connect_to_read(state_dir)
    try:
        with suppress(sqlite3.Error, OSError):
            mark_interrupted(connection, state_dir)
        yield Library(connection, state_dir)
    finally:
        connection.close()


def running_gateways(library: Library) -> Sequence[int]:
    """Process ids of the gateways that use this journal now."""
    return [one.identity.pid for one in living_instances(library.connection, library.state_dir)]
