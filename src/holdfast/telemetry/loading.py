"""The journal's rows into DuckDB: in batches, so that memory is bounded, and within one snapshot of the journal.

DuckDB can read SQLite files by an extension that it fetches from the network. Nothing is fetched here: rows are read
with SQLite's own library and handed over as JSON, a batch at a time. Gateways write meanwhile; what they write after
the beginning is not seen.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.flight.state import SPOOL, StateError, make_private
from holdfast.telemetry.tables import SOURCES, Source, Table, create_sql, fields_for, insert_sql, needed

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT = "512MB"
"For DuckDB; what needs more goes to private files that are gone afterwards,"
SPILL_LIMIT = "4GB"
"and what needs more than that fails."
BATCH_ROWS = 2000
"Measured with 1000, 2000 and 5000: 1.8, 1.5 and 1.5 s for 100,000 turns, the last with twice the memory."
BATCH_CHARACTERS = 8_000_000
"Of a batch's texts, about: one turn can have thousands of moments."

Rows = list[Sequence[Any]]
Change = Callable[[Source, Rows], Rows]
"What is done to rows before anybody sees them: de-identification. Same fields, same order."


@dataclass(frozen=True, slots=True)
class Span:
    """Which rows: those that began from `since` and before `until`, wall time in ms; None for no bound."""

    since_wall_ms: int | None = None
    until_wall_ms: int | None = None


ALL_TIME = Span()


@contextmanager
def database(
    state_dir: Path, *, settings: dict[str, str] | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty DuckDB in memory that fetches no extension; where it spills is private and removed at the end."""
    import duckdb

    with contextlib.ExitStack() as stack:
        config = {
            "memory_limit": MEMORY_LIMIT,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "preserve_insertion_order": "true",
        }
        with contextlib.suppress(OSError, StateError):
            # Without room to spill, memory is all there is.
            spool = make_private(state_dir / SPOOL)
            spill = stack.enter_context(tempfile.TemporaryDirectory(prefix="duckdb-", dir=spool))
            config |= {"temp_directory": spill, "max_temp_directory_size": SPILL_LIMIT}
        connection = duckdb.connect(config={**config, **(settings or {})})
        stack.callback(connection.close)
        connection.execute("SET python_enable_replacements = false")
        yield connection


def create(target: duckdb.DuckDBPyConnection, tables: Iterable[Table]) -> None:
    """Make the tables, empty."""
    for table in tables:
        target.execute(create_sql(table))


def fill(
    target: duckdb.DuckDBPyConnection,
    journal: sqlite3.Connection,
    names: Iterable[str],
    span: Span = ALL_TIME,
    *,
    change: Change | None = None,
) -> None:
    """Fill the tables of these names (made already), and those that they are made of. Raises `sqlite3.Error`."""
    wanted = needed(names)
    with snapshot(journal):
        for source in SOURCES.values():
            of_it = [table for table in wanted if table.source == source.name]
            if of_it:
                _fill_from(target, journal, source, of_it, span, change)
    for table in wanted:
        if table.made_by:
            target.execute(f"INSERT INTO {table.name} {table.made_by}")


@contextmanager
def snapshot(journal: sqlite3.Connection) -> Iterator[None]:
    """Let everything that is read in here be of one moment."""
    journal.execute("BEGIN")
    try:
        yield
    finally:
        journal.execute("ROLLBACK")


def _fill_from(
    target: duckdb.DuckDBPyConnection,
    journal: sqlite3.Connection,
    source: Source,
    tables: list[Table],
    span: Span,
    change: Change | None,
) -> None:
    every = source.names if change else _names_for(source, tables)
    of_table = [
        (insert_sql(table), table.unfold, [name for name, _ in fields_for(table)]) for table in tables
    ]
    for rows in batches(journal, source, every, span):
        changed = change(source, rows) if change is not None else rows
        if not changed:
            continue
        by_field = dict(zip(every, zip(*changed, strict=True), strict=True))
        for statement, _, fields in of_table:
            told = {name: _as_json(name, by_field[name]) for name in fields}
            target.execute(statement, [_encode(told).decode()])


def _names_for(source: Source, tables: list[Table]) -> tuple[str, ...]:
    """Only what is needed: the moments are nine tenths of a journal."""
    used = {name for table in tables for name, _ in fields_for(table)}
    return tuple(name for name in source.names if name in used)


_encode = msgspec.json.Encoder().encode


def _as_json(name: str, values: Sequence[Any]) -> Sequence[Any]:
    """JSON that the journal holds as text goes over as it is, not as a text that holds JSON."""
    if name not in ("ending", "moments"):
        return values
    return [msgspec.Raw(value.encode()) if value else None for value in values]


def batches(
    journal: sqlite3.Connection, source: Source, names: Sequence[str], span: Span = ALL_TIME
) -> Iterator[Rows]:
    """The rows of one of the journal's tables, oldest first, some thousand at a time."""
    bounds = ((span.since_wall_ms, ">="), (span.until_wall_ms, "<"))
    conditions = [f"{source.time} {sign} {int(bound)}" for bound, sign in bounds if bound is not None]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    cursor = journal.cursor()
    cursor.row_factory = None  # plain tuples, whatever the connection makes
    cursor.execute(f"SELECT {', '.join(names)} FROM {source.name}{where} ORDER BY {source.order}")
    try:
        rows: Rows = []
        size = 0
        for row in cursor:
            rows.append(row)
            size += sum(len(value) for value in row if isinstance(value, str))
            if len(rows) >= BATCH_ROWS or size >= BATCH_CHARACTERS:
                yield rows
                rows, size = [], 0
        if rows:
            yield rows
    finally:
        cursor.close()
