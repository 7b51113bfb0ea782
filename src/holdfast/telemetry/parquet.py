"""The journal as Parquet files: for a notebook, a fleet's warehouse, a colleague. Never a body.

All files are made in a private directory beside their places, and moved there when every one is whole.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from holdfast import __version__
from holdfast.flight.state import PRIVATE_FILE
from holdfast.telemetry import loading
from holdfast.telemetry.loading import Change, Span
from holdfast.telemetry.tables import SCHEMA_VERSION, TABLES, Table, schema_json

SCHEMA_FILE = "_schema.json"
"Beside the files, whose names begin with no underscore: readers of directories of Parquet leave such files alone."
FILES = (*(f"{table.name}.parquet" for table in TABLES), SCHEMA_FILE)


class ExportError(Exception):
    """Nothing was exported; the text says why and ends with the next thing to try."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    rows: dict[str, int]
    "By table."
    size_bytes: int


def export(
    journal: sqlite3.Connection,
    state_dir: Path,
    directory: Path,
    span: Span,
    *,
    now_wall_ms: int,
    force: bool = False,
    change: Change | None = None,
) -> Exported:
    """Write every table into `directory`, made if it is missing. Raises `ExportError`, `sqlite3.Error`."""
    import duckdb

    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = [name for name in FILES if os.path.lexists(directory / name)]
        if there and not force:
            raise ExportError(
                f"{directory} has {', '.join(there[:3])}{' and more' if there[3:] else ''} already, and nothing is "
                "overwritten; choose another directory, or replace them with --force"
            )
        with tempfile.TemporaryDirectory(prefix=".holdfast-", dir=directory) as made_in:
            beside = Path(made_in)
            with loading.database(state_dir) as database:
                loading.create(database, TABLES)
                names = [table.name for table in TABLES]
                loading.fill(database, journal, names, span, change=change)
                rows = {
                    table.name: _write(database, table, beside, public=change is not None) for table in TABLES
                }
            schema = _schema(span, rows, now_wall_ms, public=change is not None)
            (beside / SCHEMA_FILE).write_bytes(
                msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"
            )
            return Exported(rows, sum(_put(beside / name, directory / name, force=force) for name in FILES))
    except FileExistsError as error:
        raise ExportError(
            f"{error.filename2 or directory} is there already; look at it, then try again"
        ) from None
    except OSError as error:
        raise ExportError(
            f"{directory} cannot be written to ({error.strerror or error}); choose a directory that is yours, "
            "on a disk with room"
        ) from None
    except duckdb.Error as error:
        raise ExportError(
            f"DuckDB failed ({str(error).splitlines()[0]}); try a shorter time with --since"
        ) from None


def _write(database: Any, table: Table, directory: Path, *, public: bool) -> int:
    """One file, rows in the order in which they happened. Returns how many."""
    path = directory / f"{table.name}.parquet"
    target = str(path).replace("'", "''")
    metadata = {
        "holdfast_schema_version": str(SCHEMA_VERSION),
        "holdfast_version": __version__,
        "holdfast_table": table.name,
        "holdfast_public": "yes" if public else "no",
    }
    told = ", ".join(f"{name}: '{value}'" for name, value in metadata.items())
    database.execute(
        f"COPY (SELECT * FROM {table.name}) TO '{target}' (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{told}}})"
    )
    path.chmod(PRIVATE_FILE)
    counted: int = database.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]
    return counted


def _schema(span: Span, rows: dict[str, int], now_wall_ms: int, *, public: bool) -> dict[str, Any]:
    return {
        "made_by": f"holdfast {__version__}",
        "made_wall_ms": now_wall_ms,
        "since_wall_ms": span.since_wall_ms,
        "until_wall_ms": span.until_wall_ms,
        "public": public,
        "rows": rows,
        **schema_json(),
    }


def _put(made: Path, place: Path, *, force: bool) -> int:
    """Move a whole file to its place; what came there meanwhile is not overwritten. Returns its size in bytes."""
    made.chmod(PRIVATE_FILE)
    size = made.stat().st_size
    if force:
        made.replace(place)
    else:
        place.hardlink_to(made)
    return size
