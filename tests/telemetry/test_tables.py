"""The journal as tables: one definition for SQL, files and documentation."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.reading import open_library
from holdfast.flight.schema import TURN_COLUMNS
from holdfast.telemetry import loading
from holdfast.telemetry.loading import Span
from holdfast.telemetry.tables import SOURCES, TABLES, create_sql, fields_for, needed, schema_text
from tests.cli.viewed import recorded
from tests.flight.telling import NOON, at, end, frozen_turn, short_turn, tell, turn


def asked(state: Path, sql: str, span: Span = loading.ALL_TIME) -> list[tuple[Any, ...]]:
    """What the tables of a state directory answer."""
    with open_library(state) as library, loading.database(state) as database:
        assert library is not None
        loading.create(database, TABLES)
        loading.fill(database, library.connection, [table.name for table in TABLES], span)
        return database.execute(sql).fetchall()


def test_every_field_of_the_journal_is_read_and_used() -> None:
    """A field that is new in the journal cannot be forgotten here."""
    assert set(SOURCES["turn"].names) == set(TURN_COLUMNS)
    used = {name for table in TABLES if table.source == "turn" for name, _ in fields_for(table)}
    assert used == set(TURN_COLUMNS)


@pytest.mark.parametrize("name", SOURCES)
def test_the_fields_are_those_of_the_file(name: str, tmp_path: Path) -> None:
    """Names and types of the journal's own tables; `file_name` is how the attic finds a file, and says nothing."""
    recorded(tmp_path, short_turn())
    kinds = {"VARCHAR": "TEXT", "JSON": "TEXT", "BIGINT": "INTEGER", "DOUBLE": "REAL"}
    columns = sqlite3.connect(tmp_path / "journal.sqlite").execute(f"PRAGMA table_info({name})")
    there = {column[1]: column[2] for column in columns}
    there.pop("file_name", None)

    assert there == {field: kinds[kind] for field, kind in SOURCES[name].fields}


def test_every_column_has_its_type_and_a_sentence(tmp_path: Path) -> None:
    """What is said of a table is what DuckDB makes of it, those that are made of others included."""
    with loading.database(tmp_path) as database:
        for table in TABLES:
            database.execute(create_sql(table))
            if table.made_by:
                database.execute(f"INSERT INTO {table.name} {table.made_by}")
                made = [column[0] for column in database.execute(table.made_by).description or ()]
                assert made == [column.name for column in table.columns]
            for column in table.columns:
                assert column.says.endswith("."), column
                assert column.name in schema_text([table.name])


def test_a_table_brings_those_that_it_is_made_of() -> None:
    """In an order in which they can be filled; nothing else is read."""
    assert [table.name for table in needed(["ending"])] == ["turn", "moment", "ending"]
    assert [table.name for table in needed(["TURN"])] == ["turn"]


def test_a_turn_with_two_attempts_and_two_readers(tmp_path: Path) -> None:
    """The story of the frozen turn, in columns: whole milliseconds, NULL where nothing was measured."""
    recorded(tmp_path, frozen_turn(turn_id="aaa"), answers={"aaa": b"event: ping\n\n"})

    assert asked(
        tmp_path, "SELECT started_wall_ms, took_ms, longest_quiet_ms, ending_side, input_tokens FROM turn"
    ) == [(NOON.wall_ms, 330_100, 304_000, "nobody", None)]
    assert asked(
        tmp_path,
        "SELECT attempt, started_at_ms, connect_ms, status, first_event_at_ms, ending_code FROM attempt ORDER BY 1",
    ) == [(1, 0, None, None, None, "P.rst.connect"), (2, 500, 80, 200, 2200, None)]
    assert asked(
        tmp_path, 'SELECT "of", number, at_ms, code, side, verdict, limit_ms FROM ending ORDER BY at_ms'
    ) == [
        ("attempt", 1, 300, "P.rst.connect", "provider", None, None),
        ("reader", 1, 310_000, "C.rst.tool", "client", "gave_up", 300_000),
        ("turn", None, 330_100, "-.end.after", "nobody", None, None),
    ]
    assert asked(tmp_path, "SELECT at_ms, data->>'$.quiet_s' FROM moment WHERE name = 'QuietEnded'") == [
        (308_000, "304.0")
    ]
    assert asked(tmp_path, "SELECT turn_id, size_bytes, complete FROM answer") == [("aaa", 13, False)]


def test_evidence_and_detail_are_there_and_empty_ones_are_null(tmp_path: Path) -> None:
    """JSON where what is measured differs from ending to ending."""
    dark = Ending(Side.PATH, Mechanism.KEEPALIVE_UNANSWERED, Phase.IN_TEXT, "timed out", {"unacked_bytes": 7})
    recorded(tmp_path, end(turn(turn_id="aaa"), 9, dark), short_turn(at(60), turn_id="bbb"))

    assert asked(
        tmp_path,
        "SELECT ending_detail, ending_evidence->>'$.unacked_bytes', ending_mechanism FROM turn ORDER BY turn_id",
    ) == [("timed out", "7", "dark"), (None, None, "end")]


def test_since_and_until_choose_by_the_start(tmp_path: Path) -> None:
    """From, and before."""
    recorded(tmp_path, *(short_turn(at(60 * i), turn_id=f"t{i}") for i in range(3)))
    span = Span(NOON.wall_ms + 60_000, NOON.wall_ms + 120_000)

    assert asked(tmp_path, "SELECT turn_id FROM turn", span) == [("t1",)]
    assert asked(tmp_path, "SELECT DISTINCT turn_id FROM moment", span) == [("t1",)]


def test_batches_are_bounded_in_rows_and_in_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One turn with a great many moments does not wait for two thousand others."""
    heavy = tell(turn(turn_id="heavy"), *((float(i), m.QuietNoticed("tool")) for i in range(200)))
    recorded(tmp_path, heavy, *(short_turn(at(60 + i), turn_id=f"t{i}") for i in range(5)))
    monkeypatch.setattr(loading, "BATCH_ROWS", 3)
    monkeypatch.setattr(loading, "BATCH_CHARACTERS", 10_000)
    with open_library(tmp_path) as library:
        assert library is not None
        source = SOURCES["turn"]
        sizes = [len(rows) for rows in loading.batches(library.connection, source, source.names)]

    assert sizes == [1, 3, 2]
    assert asked(tmp_path, "SELECT count(*) FROM moment WHERE turn_id = 'heavy'") == [(201,)]


def test_what_is_no_utf8_or_no_list_spoils_nothing(tmp_path: Path) -> None:
    """Another version's moments, and quotes and newlines in texts."""
    recorded(tmp_path, short_turn(turn_id="aaa"))
    with sqlite3.connect(tmp_path / "journal.sqlite") as journal:
        journal.execute(
            "UPDATE turn SET model = ?, moments = ?", ('a"b\\n\n\U0001f600', '[[0,1,"New",{"x":1}],7]')
        )

    assert asked(tmp_path, "SELECT model FROM turn") == [('a"b\\n\n\U0001f600',)]
    assert asked(tmp_path, "SELECT seq, name FROM moment ORDER BY seq") == [(1, "New"), (2, None)]


def test_where_duckdb_spilled_nothing_is_left(tmp_path: Path) -> None:
    """Its files are private, below the state directory, and gone afterwards."""
    with loading.database(tmp_path) as database:
        (spill,) = (tmp_path / "spool").iterdir()
        assert spill.stat().st_mode & 0o077 == 0
        database.execute("SELECT 1")
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("width", [80, 100])
def test_the_schema_fits_a_terminal(width: int) -> None:
    """No line of columns is broken anywhere but between words, and all words are there."""
    wide, narrow = schema_text(), schema_text(width=width)

    assert narrow.split() == wide.split()
    assert max(map(len, narrow.splitlines())) <= width
