"""What was found in transcripts, kept between runs: a second run reads only what is new.

One private SQLite file per home that is looked at. A row here outlives the transcript it came from: clients
delete theirs after a month, and a pattern that shows in a year must not vanish with them. Nothing that
anybody said is in it: times, codes, counts, ids, and the words of the client's own error messages.

The copies that resumed and forked sessions leave behind are known by the client's own ids (`uuid` of an error,
`id` of a message) and counted once; of an answer the copy outside a sidechain is preferred. What bears no id that is kept
is known by when it was and how long or large: a copy under another session's id has both from the first.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import types
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from holdfast.flight.redact import clean, safe
from holdfast.flight.state import SESSIONS, make_private, open_private
from holdfast.sessions.client_telemetry import Event, Unsent
from holdfast.sessions.facts import (
    ApiError,
    Chain,
    Compacted,
    DeadTurn,
    FileFacts,
    Request,
    ToolError,
    TurnTime,
)
from holdfast.sessions.places import Transcript
from holdfast.sessions.stalls import Ended, Unfinished, Waited
from holdfast.sessions.transcript import Place

VERSION = 1
"Of the tables below. They hold nothing that cannot be read again, so another version begins anew."

_TABLES: dict[str, tuple[type, str]] = {
    "error": (ApiError, "uuid"),
    "dead": (DeadTurn, "uuid"),
    "request": (Request, "message_id"),
    "turn_time": (TurnTime, ""),
    "compaction": (Compacted, ""),
    "tool_error": (ToolError, "uuid"),
}
"Table -> what its rows are, and the column by which a copy is known."

_SQL = {str: "TEXT", int: "INTEGER", float: "REAL", bool: "BOOLEAN"}


_REPORTS = "CREATE TABLE IF NOT EXISTS report (scan INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, found TEXT NOT NULL)"
"What earlier reports found, for the next one to compare with. Of no analysis, so not among the tables above."
REPORTS_KEPT = 20
_ORGANIZATIONS = "CREATE TABLE IF NOT EXISTS organization (id TEXT PRIMARY KEY)"
"""Whose account it is, for a private sheet alone: neither analysed nor exported, so not among the tables above. Transcripts
that were read before this was kept do not tell it."""
_DIRT = (
    "CREATE TABLE IF NOT EXISTS dirt (file INTEGER NOT NULL, kind TEXT NOT NULL, lines INTEGER NOT NULL, "
    "PRIMARY KEY (file, kind))"
)
"Lines that could not be read, by their kind. Those of files that were read before this was kept have none."
_COPIED = "CREATE TABLE IF NOT EXISTS copied (file INTEGER PRIMARY KEY)"
"Files that told nothing which another had not told before."
_TOOLS_READ = "CREATE TABLE IF NOT EXISTS tools_read (file INTEGER PRIMARY KEY)"
"""Files of which the errors of tools are known. Those that were read before these were kept are read for them once more, as
far as they are still there."""
_ENTRIES = (
    "CREATE TABLE IF NOT EXISTS entry (session TEXT NOT NULL, entrypoint TEXT NOT NULL, "
    "PRIMARY KEY (session, entrypoint)) WITHOUT ROWID"
)
"How sessions were begun, which tells their mode. Of those that were read before this was kept it is not known."
_ONCE = {"turn_time": "at_ms, duration_ms", "compaction": "at_ms, coalesce(before_tokens, -1)"}
"Table without an id -> what no two rows of it have alike, whatever their sessions."
_UNSENT = (
    "CREATE TABLE IF NOT EXISTS unsent (path TEXT PRIMARY KEY, inode INTEGER NOT NULL, size INTEGER NOT NULL, "
    "mtime_ms INTEGER NOT NULL, lines INTEGER NOT NULL, left_out INTEGER NOT NULL, first_ms INTEGER, last_ms INTEGER, "
    "dirt BLOB NOT NULL)"
)
"Files of the client's telemetry that were read, those that it has sent and deleted since among them."


class StoreError(Exception):
    """The store cannot be used; the text says why and what to try."""


_DAMAGED = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})


def not_kept(path: Path | None, error: Exception) -> str:
    """Why the store cannot be used, and what helps. It may hold what the client deleted long ago, so nothing removes it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # what an extended code says beyond that helps nobody
    if code == sqlite3.SQLITE_FULL:
        advice = "make room on that disk, or set HOLDFAST_STATE_DIR to a directory on another"
    elif code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        advice = "another holdfast is writing there; try again when it has ended"
    elif code in _DAMAGED:
        advice = "the file is damaged: put it aside, and what the client still has is read again"
    else:
        advice = "set HOLDFAST_STATE_DIR to a directory that you can write to"
    return f"what was read of transcripts cannot be kept in {clean(str(path))} ({error}); {advice}"


class Known(msgspec.Struct, frozen=True, gc=False):
    """A transcript that was read before."""

    file: int
    inode: int
    size: int
    mtime_ms: int
    place: bytes
    "A `Place`, encoded."

    def unchanged(self, found: Transcript) -> bool:
        """Whether nothing can have been added."""
        return (self.inode, self.size, self.mtime_ms) == (found.inode, found.size, found.mtime_ms)

    def grown(self, found: Transcript) -> bool:
        """Whether it is the same file with more in it; otherwise it was replaced, and is read from its start."""
        return self.inode == found.inode and found.size >= self.size


@dataclass(frozen=True, slots=True)
class Used:
    """What a session did with a version, and what tells in which mode that was."""

    version: str
    session: str
    answers: int
    turn_times: bool
    "Whether it notes any, ..."
    tries: bool
    "... and whether any failed ones."
    entrypoints: frozenset[str]
    "How it was begun, each time; empty where that is not known."


@dataclass(frozen=True, slots=True)
class Added:
    """What came to the store after a scan."""

    failures: frozenset[str]
    "Ids, as a case has them."
    requests: int
    sessions: int
    "That were not known before."
    projects: int


@cache
def _columns(kind: type) -> list[tuple[str, str]]:
    """Column names and SQL types of a row's fields."""
    found = []
    for name, told in get_type_hints(kind).items():
        if get_origin(told) in (Union, types.UnionType):
            told = next(part for part in get_args(told) if part is not type(None))
        found.append((name, _SQL[told]))
    return found


_MORE: dict[str, tuple[tuple[str, str], ...]] = {
    "file": (
        ("file", "INTEGER PRIMARY KEY"), ("path", "TEXT UNIQUE NOT NULL"), ("subagent", "BOOLEAN NOT NULL"),
        ("inode", "INTEGER NOT NULL"), ("size", "INTEGER NOT NULL"), ("mtime_ms", "INTEGER NOT NULL"),
        ("place", "BLOB NOT NULL"), ("lines", "INTEGER NOT NULL"), ("loose", "INTEGER NOT NULL"),
        ("dirt", "INTEGER NOT NULL"), ("first_dirt", "TEXT"), ("first_ms", "INTEGER"), ("last_ms", "INTEGER"),
        ("scan", "INTEGER NOT NULL"),
    ),
    "scan": (
        ("scan", "INTEGER PRIMARY KEY"), ("at_ms", "INTEGER NOT NULL"), ("files", "INTEGER"), ("bytes", "INTEGER"),
    ),
    "chain": (
        ("chain", "TEXT PRIMARY KEY"), ("session", "TEXT NOT NULL"), ("agent", "TEXT"), ("tries", "INTEGER NOT NULL"),
        ("outcome", "TEXT NOT NULL"), ("ended_ms", "INTEGER"), ("file", "INTEGER NOT NULL"),
        ("scan", "INTEGER NOT NULL"),
    ),
}  # fmt: skip


def _telemetry() -> str:
    """Events of those files. The client writes a batch anew when it fails to send it again: an event keeps its id."""
    columns = [f"{name} {sql}{' PRIMARY KEY' if name == 'id' else ''}" for name, sql in _columns(Event)]
    return f"CREATE TABLE IF NOT EXISTS telemetry ({', '.join(columns)}, scan INTEGER NOT NULL)"


_BESIDE = (_REPORTS, _ORGANIZATIONS, _DIRT, _COPIED, _TOOLS_READ, _ENTRIES, _UNSENT, _telemetry())


def _tables() -> dict[str, tuple[tuple[str, str], ...]]:
    """Every table's columns, in order, with their SQL types."""
    made = dict(_MORE)
    for table, (kind, key) in _TABLES.items():
        columns = [(name, f"{sql} PRIMARY KEY" if name == key else sql) for name, sql in _columns(kind)]
        if table == "error":
            columns.append(("chain", "TEXT"))
        made[table] = (*columns, ("scan", "INTEGER NOT NULL"))
    return made


def column_types() -> dict[str, list[tuple[str, str]]]:
    """Table -> its columns with their plain types (TEXT, INTEGER, REAL, BOOLEAN), the reader's own bookmark left out."""
    return {
        table: [(name, sql.partition(" ")[0]) for name, sql in columns if name != "place"]
        for table, columns in _tables().items()
    }


def _schema() -> Iterator[str]:
    for table, columns in _tables().items():
        yield f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(f'{name} {sql}' for name, sql in columns)})"
    for table, (_, key) in _TABLES.items():
        if not key:
            yield f"CREATE UNIQUE INDEX IF NOT EXISTS {table}_once ON {table} (session, at_ms)"


def _apart() -> Iterator[str]:
    """Let no row be the copy of another under another session's id, where rows were kept before that was so."""
    for table, alike in _ONCE.items():
        yield f"DELETE FROM {table} WHERE rowid NOT IN (SELECT min(rowid) FROM {table} GROUP BY {alike})"
        yield f"CREATE UNIQUE INDEX IF NOT EXISTS {table}_apart ON {table} ({alike})"


class Store:
    """Facts of one home's transcripts. Its methods wait for the disk and raise `StoreError`."""

    def __init__(self, path: Path | None, *, now_ms: int) -> None:
        """Open or make the file; None keeps everything in memory. One `Store` is one scan."""
        self.path = path
        try:
            if path is not None:
                make_private(path.parent)
                open_private(path)
            self.connection = sqlite3.connect(path or ":memory:", timeout=10.0, isolation_level=None)
            self._prepare()
            with self.transaction():
                self.connection.execute("INSERT INTO scan (at_ms) VALUES (?)", (now_ms,))
            self.scan: int = self.connection.execute("SELECT max(scan) FROM scan").fetchone()[0]
        except (OSError, sqlite3.Error) as error:
            raise StoreError(not_kept(path, error)) from error

    def _prepare(self) -> None:
        run = self.connection.execute
        if self.path is not None:
            run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        version = run("PRAGMA user_version").fetchone()[0]
        with self.transaction():
            if version != VERSION:
                names = [name for (name,) in run("SELECT name FROM sqlite_master WHERE type = 'table'")]
                for name in names:
                    run(f'DROP TABLE "{name}"')
            for statement in (*_schema(), *_BESIDE):  # those that came since are made in an old store too
                run(statement)
            if not run("SELECT 1 FROM sqlite_master WHERE name = 'turn_time_apart'").fetchone():
                for statement in _apart():
                    run(statement)
            run(f"PRAGMA user_version = {VERSION}")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Kept or undone as a whole."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:  # a full disk undoes it by itself
                self.connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Nothing is lost without it."""
        self.connection.close()

    # -- files ---------------------------------------------------------------------------------------

    def known(self) -> dict[str, Known]:
        """Every transcript that was read before, by its path."""
        rows = self.connection.execute("SELECT path, file, inode, size, mtime_ms, place FROM file")
        return {path: Known(*rest) for path, *rest in rows}

    def put(self, found: Transcript, known: Known | None, facts: FileFacts, place: Place) -> int:
        """Keep what was read of a transcript; returns how many rows were copies of known ones. Within a transaction."""
        first_dirt = f"line {facts.first_dirt[0]}: {safe(facts.first_dirt[1])}" if facts.first_dirt else None
        row = {
            "path": found.name,
            "subagent": found.subagent,
            "inode": found.inode,
            "size": found.size,
            "mtime_ms": found.mtime_ms,
            "place": msgspec.json.encode(place),
            "lines": facts.lines,
            "loose": facts.loose,
            "dirt": facts.dirt,
            "first_dirt": first_dirt,
            "first_ms": facts.first_ms,
            "last_ms": facts.last_ms,
            "scan": self.scan,
        }
        changes = [f"{name} = excluded.{name}" for name in row if name != "path"]
        if known is not None and known.grown(found):
            added = {"lines", "loose", "dirt"}
            changes = [
                f"{name} = file.{name} + excluded.{name}"
                if name in added
                else f"{name} = coalesce(file.{name}, excluded.{name})"
                if name in ("first_dirt", "first_ms")
                else f"{name} = coalesce(excluded.{name}, file.{name})"
                for name in row
                if name != "path"
            ]
        file: int = self.connection.execute(
            f"INSERT INTO file ({', '.join(row)}) VALUES ({', '.join('?' * len(row))}) "
            f"ON CONFLICT (path) DO UPDATE SET {', '.join(changes)} RETURNING file",
            tuple(row.values()),
        ).fetchone()[0]
        self.connection.executemany(
            "INSERT OR IGNORE INTO organization VALUES (?)",
            [(_kept(one),) for one in sorted(facts.organizations)],
        )
        self.connection.executemany(
            "INSERT OR IGNORE INTO entry VALUES (?, ?)",
            [(_kept(session), _kept(entry)) for session, entry in sorted(facts.entrypoints)],
        )
        copies = self._rows(file, facts)
        self._keep_dirt(file, facts, known, grown=known is not None and known.grown(found))
        self._keep_copied(file, facts, known, copies)
        if known is None:  # all of it was read; of an older file that grew only what is new was
            self.connection.execute("INSERT OR IGNORE INTO tools_read VALUES (?)", (file,))
        return copies

    def without_tools(self) -> frozenset[int]:
        """Files that were read before the errors of tools were kept."""
        rows = self.connection.execute(
            "SELECT file FROM file WHERE file NOT IN (SELECT file FROM tools_read)"
        )
        return frozenset(file for (file,) in rows)

    def put_tools(self, file: int, facts: FileFacts) -> None:
        """Keep what tools met in a file that was read before. Within a transaction."""
        self._insert("tool_error", facts.tool_errors, file)
        self.connection.execute("INSERT OR IGNORE INTO tools_read VALUES (?)", (file,))

    def _keep_dirt(self, file: int, facts: FileFacts, known: Known | None, *, grown: bool) -> None:
        if known is not None and not grown:
            self.connection.execute("DELETE FROM dirt WHERE file = ?", (file,))
        self.connection.executemany(
            "INSERT INTO dirt VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET lines = lines + excluded.lines",
            [(file, kind, count) for kind, count in facts.dirt_kinds.items()],
        )

    def _keep_copied(self, file: int, facts: FileFacts, known: Known | None, copies: int) -> None:
        """A file that is read again knows its own rows: then only what is new in it tells something."""
        rows = len(facts.errors) + len(facts.dead) + len(facts.requests)
        new = rows + len(facts.durations) + len(facts.compactions) - copies
        if known is None and copies and not new:
            self.connection.execute("INSERT OR IGNORE INTO copied VALUES (?)", (file,))
        elif known is not None and new:
            self.connection.execute("DELETE FROM copied WHERE file = ?", (file,))

    def dirt(self) -> list[tuple[str, int]]:
        """How many lines could not be read, by their kind, the most first."""
        return self.connection.execute(
            "SELECT kind, sum(lines) FROM dirt GROUP BY kind ORDER BY sum(lines) DESC, kind"
        ).fetchall()

    def copied(self) -> int:
        """How many sessions' files told nothing that another had not told."""
        count: int = self.connection.execute(
            "SELECT count(*) FROM copied JOIN file USING (file) WHERE NOT subagent"
        ).fetchone()[0]
        return count

    def _rows(self, file: int, facts: FileFacts) -> int:
        chain_of = {error.uuid: chain.errors[0].uuid for chain in facts.chains for error in chain.errors}
        copies = self._insert("error", facts.errors, file, lambda row: (chain_of.get(row.uuid),))
        copies += self._insert("dead", facts.dead, file)
        if known := self._insert("request", facts.requests, file):
            self._merge(facts.requests, file)
        copies += known
        copies += self._insert("turn_time", facts.durations, file)
        copies += self._insert("compaction", facts.compactions, file)
        self._insert("tool_error", facts.tool_errors, file)
        self.connection.executemany(
            "INSERT INTO chain VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (chain) DO UPDATE SET "
            "tries = max(tries, excluded.tries), outcome = excluded.outcome, ended_ms = excluded.ended_ms, "
            "scan = excluded.scan WHERE chain.outcome = 'unknown'",
            [self._chain(chain, file) for chain in facts.chains],
        )
        return copies

    def _chain(self, chain: Chain, file: int) -> tuple[Any, ...]:
        first, tries = chain.errors[0].uuid, len(chain.errors)
        return first, chain.session, chain.agent, tries, chain.outcome, chain.ended_ms, file, self.scan

    def _insert(
        self,
        table: str,
        rows: Sequence[Any],
        file: int,
        more: Callable[[Any], tuple[Any, ...]] = lambda _: (),
    ) -> int:
        """Insert the rows that are new; returns how many were not."""
        names = [name for name, _ in _columns(_TABLES[table][0])]
        written = [*names, *(["chain"] if table == "error" else []), "scan"]
        values, read = [], attrgetter(*names)
        for row in rows:
            row.file = file
            told = [_kept(value) if value.__class__ is str else value for value in read(row)]
            values.append((*told, *more(row), self.scan))
        before = self.connection.total_changes
        self.connection.executemany(
            f"INSERT INTO {table} ({', '.join(written)}) VALUES ({', '.join('?' * len(written))}) "
            "ON CONFLICT DO NOTHING",
            values,
        )
        return len(values) - (self.connection.total_changes - before)

    def _merge(self, answers: Sequence[Request], file: int) -> None:
        """Answers some of which were known: another block of one came, or a copy of it from elsewhere."""
        self.connection.executemany(
            "UPDATE request SET output_tokens = max(output_tokens, ?), stop_reason = coalesce(?, stop_reason) "
            "WHERE message_id = ?",
            [(one.output_tokens, one.stop_reason, one.message_id) for one in answers],
        )
        self.connection.executemany(
            "UPDATE request SET session = ?, agent = ?, at_ms = ?, before_ms = ?, file = ?, sidechain = 0 "
            "WHERE message_id = ? AND sidechain",
            [
                (_told(one.session), _told(one.agent), one.at_ms, one.before_ms, file, one.message_id)
                for one in answers
                if not one.sidechain
            ],
        )

    def scanned(self, files: int, size: int) -> None:
        """Note what this scan has read."""
        self.connection.execute(
            "UPDATE scan SET files = ?, bytes = ? WHERE scan = ?", (files, size, self.scan)
        )

    def organizations(self) -> list[str]:
        """The provider's ids of the organizations whose requests it refused."""
        return [told for (told,) in self.connection.execute("SELECT id FROM organization ORDER BY id")]

    # -- the client's telemetry ----------------------------------------------------------------------

    def read_unsent(self) -> dict[str, tuple[int, int, int]]:
        """Path -> inode, size and time (ms) of each such file, as it was when it was read."""
        rows = self.connection.execute("SELECT path, inode, size, mtime_ms FROM unsent")
        return {path: (inode, size, mtime_ms) for path, inode, size, mtime_ms in rows}

    def put_unsent(self, path: Path, state: tuple[int, int, int], found: Unsent) -> None:
        """Keep what was read of such a file. Within a transaction."""
        self.connection.execute(
            "INSERT OR REPLACE INTO unsent VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                safe(str(path)),
                *state,
                found.lines,
                found.left_out,
                found.first_ms,
                found.last_ms,
                msgspec.json.encode(dict(found.dirt)),
            ),
        )
        read = attrgetter(*(name for name, _ in _columns(Event)))
        self.connection.executemany(
            f"INSERT OR IGNORE INTO telemetry VALUES ({', '.join('?' * len(_columns(Event)))}, ?)",
            [(*map(_told, read(one)), self.scan) for one in found.events],
        )

    def unsent(self) -> list[Unsent]:
        """What such files held, without their events."""
        rows = self.connection.execute("SELECT lines, left_out, first_ms, last_ms, dirt FROM unsent")
        return [
            Unsent([], lines, first_ms, last_ms, Counter(msgspec.json.decode(dirt)), left_out)
            for lines, left_out, first_ms, last_ms, dirt in rows
        ]

    def telemetry(self) -> list[Event]:
        """Every event that such files held, in the order of time."""
        names = ", ".join(name for name, _ in _columns(Event))
        rows = self.connection.execute(f"SELECT {names} FROM telemetry ORDER BY at_ms, id")
        return [Event(*row) for row in rows]

    def asked_of_telemetry(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Answers of the sessions that telemetry tells of, as `rows` does."""
        names = [name for name, _ in column_types()["request"]]
        rows = self.connection.execute(
            f"SELECT {', '.join(names)} FROM request WHERE session IN (SELECT session FROM telemetry)"
        )
        return names, rows.fetchall()

    # -- reports -------------------------------------------------------------------------------------

    def keep_report(self, found: str) -> None:
        """Keep what this scan's report found; the oldest are let go."""
        run = self.connection.execute
        at_ms = run("SELECT at_ms FROM scan WHERE scan = ?", (self.scan,)).fetchone()[0]
        run("INSERT OR REPLACE INTO report VALUES (?, ?, ?)", (self.scan, at_ms, found))
        run(
            "DELETE FROM report WHERE scan NOT IN (SELECT scan FROM report ORDER BY scan DESC LIMIT ?)",
            (REPORTS_KEPT,),
        )

    def reports(self) -> list[tuple[int, int, str]]:
        """Reports of earlier scans, the newest first: scan, when (ms), what it found."""
        return self.connection.execute(
            "SELECT scan, at_ms, found FROM report WHERE scan < ? ORDER BY scan DESC", (self.scan,)
        ).fetchall()

    def added_since(self, scan: int) -> Added:
        """What was read for the first time after that scan."""
        run = self.connection.execute
        failures = run(
            "SELECT uuid FROM error WHERE uuid = chain AND scan > ?1 UNION SELECT uuid FROM dead WHERE scan > ?1 "
            "UNION SELECT id FROM telemetry WHERE scan > ?1 AND kind IN ('retry', 'again', 'gave up')",
            (scan,),
        )
        ids = frozenset(uuid for (uuid,) in failures)

        def fresh(column: str) -> int:
            every = " UNION ALL ".join(
                f"SELECT {column} AS one, scan FROM {table}" for table in ("error", "dead", "request")
            )
            count: int = run(
                f"SELECT count(*) FROM (SELECT one FROM ({every}) GROUP BY one HAVING min(scan) > ?)", (scan,)
            ).fetchone()[0]
            return count

        requests: int = run("SELECT count(*) FROM request WHERE scan > ?", (scan,)).fetchone()[0]
        return Added(ids, requests, fresh("session"), fresh("project"))

    # -- what leaves no error ------------------------------------------------------------------------

    def waits(self, least_ms: int) -> list[Waited]:
        """Answers that were at least so long in coming, where it is known when they were asked for."""
        rows = self.connection.execute(
            "SELECT at_ms, before_ms, session, version, output_tokens, agent IS NOT NULL FROM request "
            "WHERE before_ms IS NOT NULL AND at_ms - before_ms >= ? ORDER BY at_ms",
            (least_ms,),
        )
        return [
            Waited(at_ms, before_ms, session, version, tokens, bool(subagent))
            for at_ms, before_ms, session, version, tokens, subagent in rows
        ]

    def ends(self, least_ms: int) -> list[Ended]:
        """Turns that took at least so long, each with the last answer of its main conversation before its end."""
        turns = self.connection.execute(
            "SELECT at_ms, session, version, duration_ms FROM turn_time WHERE duration_ms >= ? ORDER BY at_ms",
            (least_ms,),
        ).fetchall()
        wanted = {session for _, session, _, _ in turns}
        heard: dict[str, list[tuple[int, int]]] = {session: [] for session in wanted}
        if wanted:
            for session, at_ms, tokens in self.connection.execute(
                "SELECT session, at_ms, output_tokens FROM request WHERE agent IS NULL ORDER BY at_ms"
            ):
                if session in heard:
                    heard[session].append((at_ms, tokens))
        found = []
        for at_ms, session, version, duration_ms in turns:
            place = bisect_right(heard[session], (at_ms, 1 << 62))
            last = heard[session][place - 1] if place else (None, 0)
            found.append(Ended(at_ms, session, version, duration_ms, *last))
        return found

    def unfinished(self) -> list[Unfinished]:
        """Answers without a stop reason."""
        rows = self.connection.execute(
            "SELECT at_ms, session, version FROM request WHERE stop_reason IS NULL ORDER BY at_ms"
        )
        return [Unfinished(*row) for row in rows]

    def failed_ms(self) -> dict[tuple[str, bool], list[int]]:
        """As `stalls.Failed`."""
        found: dict[tuple[str, bool], list[int]] = {}
        for session, subagent, at_ms in self.connection.execute(
            "SELECT session, agent IS NOT NULL, at_ms FROM error UNION ALL "
            "SELECT session, agent IS NOT NULL, at_ms FROM dead ORDER BY at_ms"
        ):
            found.setdefault((session, bool(subagent)), []).append(at_ms)
        return found

    def versions(self) -> list[Used]:
        """Every session and version with an answer."""
        entries: dict[str, set[str]] = {}
        for session, entry in self.connection.execute("SELECT session, entrypoint FROM entry"):
            entries.setdefault(session, set()).add(entry)
        rows = self.connection.execute(
            "SELECT version, session, count(*), session IN (SELECT session FROM turn_time), "
            "session IN (SELECT session FROM error) FROM request GROUP BY version, session"
        )
        return [
            Used(version, session, count, bool(times), bool(tries), frozenset(entries.get(session, ())))
            for version, session, count, times, tries in rows
        ]

    # -- rows ----------------------------------------------------------------------------------------

    def rows(self, table: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """A table's column names, as in `column_types`, and all of its rows; truths are bools."""
        columns = column_types()[table]
        names = [name for name, _ in columns]
        rows = self.connection.execute(f'SELECT {", ".join(names)} FROM "{table}"').fetchall()
        truths = [place for place, (_, kind) in enumerate(columns) if kind == "BOOLEAN"]
        if truths:
            rows = [
                tuple(bool(value) if place in truths else value for place, value in enumerate(row))
                for row in rows
            ]
        return names, rows


def stores(state_dir: Path) -> list[Path]:
    """The stores of a state directory."""
    return sorted(state_dir.glob(SESSIONS))


def forget(state_dir: Path, before_ms: int | None) -> int:
    """Erase what was read of transcripts, or what happened before a time; returns how many failures that were.

    What is left of a transcript's own text is read again by the next diagnosis, as far as the client has kept it.
    Raises `OSError`, `sqlite3.Error`.
    """
    erased = 0
    for path in stores(state_dir):
        with contextlib.closing(sqlite3.connect(path, timeout=10.0, isolation_level=None)) as connection:
            if before_ms is None:
                erased += connection.execute("SELECT count(*) FROM error").fetchone()[0]
            else:
                for table in _there(connection, _TABLES):
                    gone = connection.execute(f"DELETE FROM {table} WHERE at_ms < ?", (before_ms,)).rowcount
                    erased += gone if table == "error" else 0
                connection.execute(_REPORTS)
                connection.execute("DELETE FROM report WHERE at_ms < ?", (before_ms,))
                connection.execute(_telemetry())
                connection.execute("DELETE FROM telemetry WHERE at_ms < ?", (before_ms,))
                connection.execute("DELETE FROM chain WHERE chain NOT IN (SELECT chain FROM error)")
        if before_ms is None:
            for file in state_dir.glob(f"{path.name}*"):
                file.unlink(missing_ok=True)
    return erased


def _there(connection: sqlite3.Connection, tables: Iterable[str]) -> list[str]:
    """Those of the tables that a store has: an older one may be without the newest."""
    known = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return [table for table in tables if table in known]


_AN_ID = re.compile(r"(?:msg|req)_\w{1,64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _told(value: Any) -> Any:
    """Text from a file of somebody else's, safe to keep."""
    return _kept(value) if value.__class__ is str else value


@lru_cache(maxsize=4096)
def _kept(value: str) -> str:
    """Ids are most of it, and no secret has their shape; the rest comes again in every row of a session."""
    return value if _AN_ID.fullmatch(value) else safe(value)
