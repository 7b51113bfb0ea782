"""The journal's file: its tables, its versions, and how it is opened.

One row per turn, its moments as JSON in that row; the view `moment` unfolds them. Version and upgrades are
SQLite's `user_version` and the list `MIGRATIONS`.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.flight.state import JOURNAL, make_private, open_private

BUSY_MS = 1000
"How long one transaction waits for another gateway's; then the records wait for the next flush."


WAL_TRIES = 50


class JournalError(Exception):
    """The journal cannot be opened; the text says why and ends with the next thing to try."""


class NotWritableError(JournalError):
    """The journal is there, and this user may not write it."""


TURN_COLUMNS = (
    "turn_id", "instance_id", "started_mono_s", "started_wall_ms", "ended_mono_s", "ended_wall_ms",
    "ending_code", "kind", "method", "path", "agent", "profile", "session", "subagent", "upstream", "model",
    "status", "request_id", "edge_id", "request_bytes", "answer_bytes", "events", "input_tokens", "output_tokens",
    "stop_reason", "attempts", "readers", "keepalives", "longest_quiet_s", "spared", "held", "saved_from",
    "healed", "breaks", "wasted_tokens", "request_key", "ending", "moments",
)  # fmt: skip

_VERSION_1 = """
CREATE TABLE instance (
    id TEXT PRIMARY KEY,
    pid INTEGER NOT NULL,
    process_start TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    started_wall_ms INTEGER NOT NULL,
    seen_wall_ms INTEGER NOT NULL,
    ended_wall_ms INTEGER,
    version TEXT NOT NULL,
    kind TEXT NOT NULL
);
CREATE TABLE turn (
    turn_id TEXT PRIMARY KEY,
    instance_id TEXT NOT NULL,
    started_mono_s REAL NOT NULL,
    started_wall_ms INTEGER NOT NULL,
    ended_mono_s REAL,
    ended_wall_ms INTEGER,
    ending_code TEXT,
    kind TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    agent TEXT NOT NULL,
    profile TEXT NOT NULL,
    session TEXT,
    subagent TEXT,
    upstream TEXT NOT NULL,
    model TEXT,
    status INTEGER,
    request_id TEXT,
    edge_id TEXT,
    request_bytes INTEGER NOT NULL,
    answer_bytes INTEGER NOT NULL,
    events INTEGER NOT NULL,
    input_tokens INTEGER,
    output_tokens INTEGER,
    stop_reason TEXT,
    attempts INTEGER NOT NULL,
    readers INTEGER NOT NULL,
    keepalives INTEGER NOT NULL,
    longest_quiet_s REAL NOT NULL,
    spared INTEGER NOT NULL,
    held INTEGER NOT NULL,
    saved_from TEXT,
    wasted_tokens INTEGER,
    ending TEXT,
    moments TEXT NOT NULL
);
CREATE INDEX turn_unfinished ON turn (instance_id) WHERE ending_code IS NULL;
CREATE TABLE answer (
    turn_id TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    complete INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    kept_wall_ms INTEGER NOT NULL,
    file_name TEXT NOT NULL,
    handed_over INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE note (
    id INTEGER PRIMARY KEY,
    instance_id TEXT NOT NULL,
    wall_ms INTEGER NOT NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL
);
"""

_VERSION_2 = """
CREATE VIEW moment AS
    SELECT turn.turn_id AS turn_id,
           item.key + 1 AS seq,
           json_extract(item.value, '$[0]') AS mono_s,
           json_extract(item.value, '$[1]') AS wall_ms,
           json_extract(item.value, '$[2]') AS name,
           json_extract(item.value, '$[3]') AS data
    FROM turn, json_each(turn.moments) AS item;
"""

_VERSION_3 = "ALTER TABLE turn ADD COLUMN healed TEXT;\n"

_VERSION_4 = """
ALTER TABLE turn ADD COLUMN request_key TEXT;
ALTER TABLE answer ADD COLUMN model TEXT;
ALTER TABLE answer ADD COLUMN messages INTEGER;
ALTER TABLE answer ADD COLUMN request_bytes INTEGER;
ALTER TABLE answer ADD COLUMN tools INTEGER;
ALTER TABLE answer ADD COLUMN tool TEXT;
ALTER TABLE answer ADD COLUMN path TEXT;
"""

_VERSION_5 = "ALTER TABLE turn ADD COLUMN breaks TEXT;\n"

MIGRATIONS: tuple[str, ...] = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5)
"Script n takes a journal from version n to n + 1. Scripts that were released are never edited."

SCHEMA_VERSION = len(MIGRATIONS)


def connect(state_dir: Path) -> sqlite3.Connection:
    """Open the journal of a state directory, make or upgrade it as needed. Raises `JournalError`."""
    path = make_private(state_dir) / JOURNAL
    try:
        open_private(path)
        connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise JournalError(
            f"the journal {path} cannot be opened ({error}); check that you may write to that directory, "
            "or set HOLDFAST_STATE_DIR to another"
        ) from error
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        kind = NotWritableError if is_forbidden(error) else JournalError
        raise kind(f"the journal {path} cannot be used ({error}); {what_helps(error)}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(state_dir: Path) -> sqlite3.Connection:
    """Open a journal that may not be written, as it stands. Raises `JournalError`.

    SQLite reads a file with a write-ahead log only where it may make that log's index, unless it is told that nobody
    writes. So it is told where there is no log: whoever writes has one.
    """
    path = state_dir / JOURNAL
    elsewhere = "copy the directory to where you may write, and set HOLDFAST_STATE_DIR to the copy"
    try:
        log = path.with_name(f"{JOURNAL}-wal")
        if log.exists() and log.stat().st_size:
            raise JournalError(
                f"the journal {path} may not be written, and its latest turns are in a log beside it; {elsewhere}"
            )
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None
        )
        found = schema_version(connection)
    except (OSError, sqlite3.Error) as error:
        raise JournalError(f"the journal {path} cannot be read ({error}); {what_helps(error)}") from error
    if found != SCHEMA_VERSION:
        connection.close()
        raise JournalError(
            f"the journal {path} was written by another holdfast (schema {found}, this one knows {SCHEMA_VERSION}), "
            f"and may not be upgraded; {elsewhere}"
        )
    return connection


def is_forbidden(error: Exception) -> bool:
    """Whether it says that this user may not write there."""
    if isinstance(error, OSError):
        return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return _name(error).startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"))


def what_helps(error: Exception) -> str:
    """The next thing to try after an error of the journal's file or directory."""
    name = _name(error)
    if is_forbidden(error):
        return "check who owns that directory and its files, or set HOLDFAST_STATE_DIR to one that you may write to"
    if name.startswith("SQLITE_BUSY"):
        return "another program holds it; try again in a moment"
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return "it is damaged: move the file away and a new one will be made"
    return "make room on that disk, or set HOLDFAST_STATE_DIR to another directory"


def _name(error: Exception) -> str:
    return getattr(error, "sqlite_errorname", "")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size == 0:
        # Before anything is read, or they have no effect. A row is 1 to 3 KB; larger pages save a third of the
        # work per row (measured with 4, 8 and 16 KB: 9.0, 7.8, 6.1 us).
        connection.execute("PRAGMA page_size = 16384")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 250")
    migrate(connection, path)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Of two that open a new journal at the same time SQLite tells one that it is locked, without waiting."""
    for left in reversed(range(WAL_TRIES)):
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if not left:
                raise
        connection.execute("BEGIN IMMEDIATE")  # this one waits
        connection.execute("ROLLBACK")


def schema_version(connection: sqlite3.Connection) -> int:
    """Which version of the schema the file has; 0 for an empty one."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring the file to our version, or raise `JournalError` where it is ahead of us."""
    if schema_version(connection) == len(migrations):
        return
    with transaction(connection):
        found = schema_version(connection)
        if found > len(migrations):
            raise JournalError(
                f"the journal {path} was written by a newer holdfast (schema {found}, this one knows "
                f"{len(migrations)}); upgrade holdfast, or set HOLDFAST_STATE_DIR to another directory"
            )
        for script in migrations[found:]:
            for statement in script.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A write transaction: taken at once (so that it never has to be upgraded), kept or undone as a whole."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
