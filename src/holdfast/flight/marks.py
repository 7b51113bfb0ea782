"""Marks: what a person wrote onto the timeline (`moved to Ethernet`), for whoever reads it later.

They stand in the journal's table `note`, among what gateways noted about themselves, under a name of their own and
without an instance. They expire and are forgotten as notes are.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from holdfast.flight.redact import clean, scrub
from holdfast.flight.schema import connect
from holdfast.flight.state import locked, make_private

NAME = "mark"
"Of these rows in the table `note`."
REMOVED = "mark removed"
"Of a row that was one: its id is not given out again as long as it is kept, and nothing else of it is."
NAMES = frozenset({NAME, REMOVED})


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark."""

    id: int
    wall_ms: int
    text: str
    "One line, safe to print, credentials taken out."

    def __repr__(self) -> str:
        return f"<Mark {self.id} {self.text!r}>"


def add(state_dir: Path, text: str, wall_ms: int) -> Mark:
    """Put a mark onto the timeline, whether a gateway runs or not. Raises `JournalError`, `StateError`, `sqlite3.Error`."""
    said = clean(scrub(" ".join(text.split())))
    with locked(make_private(state_dir), exclusive=False):
        connection = connect(state_dir)
    try:
        at = connection.execute(
            "INSERT INTO note (instance_id, wall_ms, name, text) VALUES ('', ?, ?, ?)", (wall_ms, NAME, said)
        ).lastrowid
        return Mark(int(at or 0), wall_ms, said)
    finally:
        connection.close()


def marks(
    connection: sqlite3.Connection, since_wall_ms: int = 0, until_wall_ms: int | None = None
) -> list[Mark]:
    """Marks of this span of wall time, both ends included, the oldest first."""
    until = until_wall_ms if until_wall_ms is not None else (1 << 62)
    rows = connection.execute(
        "SELECT id, wall_ms, text FROM note WHERE name = ? AND wall_ms BETWEEN ? AND ? ORDER BY wall_ms, id",
        (NAME, since_wall_ms, until),
    )
    return [_mark(*row) for row in rows]


def remove(connection: sqlite3.Connection, mark_id: int) -> Mark | None:
    """Take a mark away. Returns it, or None where there is none with this id."""
    row = connection.execute(
        "SELECT id, wall_ms, text FROM note WHERE id = ? AND name = ?", (mark_id, NAME)
    ).fetchone()
    if row is None:
        return None
    connection.execute(
        "UPDATE note SET name = ?, text = '' WHERE id = ? AND name = ?", (REMOVED, mark_id, NAME)
    )
    return _mark(*row)


def _mark(mark_id: int, wall_ms: int, text: str) -> Mark:
    return Mark(mark_id, wall_ms, clean(str(text)))
