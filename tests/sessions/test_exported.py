"""What of a home's sessions may leave: rows under policies, pseudonyms under a key, one machine's files among many."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from holdfast.flight.deidentify import Policy
from holdfast.flight.forgetting import forget_all
from holdfast.flight.state import EXPORT_KEY, EXPORT_MACHINE
from holdfast.sessions.exported import COLUMNS, FIELDS, SCHEMA, KeyedNames, public_rows, tables
from holdfast.sessions.frames import END_CODES, end_code, frames
from holdfast.sessions.partition import PartitionError, put, who
from holdfast.sessions.store import Store
from tests.sessions.written import MORNING_MS

KEY = bytes(range(32))


def error(**changes: Any) -> dict[str, Any]:
    """A row of the store, with something to hide in every text."""
    row = dict.fromkeys(FIELDS["error"], "hush")
    numbers = dict.fromkeys(
        ("at_ms", "before_ms", "status", "attempt", "max_attempts", "wait_ms", "context_tokens"), 7
    )
    return {**row, **numbers, "edge_id": "9ddf33cfda64f790-ORD", **changes}


def test_every_column_of_the_store_has_a_policy() -> None:
    """A column that is new there stays on the machine until somebody decides about it; none is undecided now."""
    made = frames(Store(None, now_ms=MORNING_MS))
    for table, policies in FIELDS.items():
        assert set(made[table].column_names) <= set(policies), table
        assert not set(COLUMNS[table]) - set(policies) - {"edge", "on_record"}, table
        dropped = {name for name, policy in policies.items() if policy is Policy.DROP}
        assert not dropped & set(COLUMNS[table]), table


def test_no_text_of_anybody_leaves() -> None:
    """Texts that are no word of ours get pseudonyms; ids of the provider's stay here, of an edge's the place leaves."""
    (row,) = public_rows("error", [error()], KeyedNames(KEY))

    assert "hush" not in str(row) and "9ddf" not in str(row)
    assert row["edge"] == "ORD" and "request_id" not in row and "path" not in row
    assert row["session"].startswith("session-") and row["project"].startswith("path-")


def test_words_of_ours_stay() -> None:
    """Codes, versions, models and outcomes are what is counted."""
    kept = {
        "code": "ConnectionRefused",
        "version": "2.1.104",
        "model": "claude-opus-4-6",
        "error_type": "overloaded_error",
    }
    (row,) = public_rows("error", [error(**kept, edge_id=None)], KeyedNames(KEY))
    assert {name: row[name] for name in kept} == kept and row["edge"] is None
    for code in END_CODES:
        (row,) = public_rows("dead", [{"at_ms": 1, "code": code, "text": "hush"}], KeyedNames(KEY))
        assert row == {"at_ms": 1, "code": code}


def test_a_pseudonym_is_the_same_in_every_export_and_no_other_key_makes_it() -> None:
    """So exports of two days can be put together, and a list of guessed names proves nothing."""

    def project(key: bytes) -> str:
        (row,) = public_rows("error", [error(project="/work/merger")], KeyedNames(key))
        return str(row["project"])

    assert project(KEY) == project(KEY) != project(bytes(32))


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("API Error: Connection closed mid-response", None, "closed in mid-answer"),
        ("Request timed out.", None, "client's time limit"),
        ("the stream stalled: nothing for 90 s, timed out", None, "client's idle limit"),
        ("API Error: 529 overloaded", 529, "HTTP 529"),
        ('API Error: 500 {"error":{"type":"api_error"},"request_id":"req_011CT529DEF"}', None, "HTTP 500"),
        ("API Error: 504 upstream request timed out", None, "HTTP 504"),
        ("API Error: 400 due to tool use concurrency issues.", None, "HTTP 400"),
        ("Repeated 529 Overloaded errors", None, "HTTP 529"),
        ("API Error: Rate limit reached", None, "HTTP 429"),
        ("You've hit your session limit · resets 3pm (Europe/Berlin)", None, "usage limit"),
        ("5-hour limit reached ∙ resets 3am", None, "usage limit"),
        ("Context limit reached · /compact or /clear to continue", None, "prompt too long"),
        ("There's an issue with the selected model (claude-x).", None, "model not available"),
        ("API Error: self-signed certificate in certificate chain", None, "certificate refused"),
        ("Prompt is too long", None, "prompt too long"),
        ("Claude AI usage limit reached", None, "usage limit"),
        ('API Error: 401 {"error":{"message":"invalid x-api-key"}}', None, "key refused"),
        ("API Error: Connection error.", None, "connection error, not named"),
        ("anything else", None, "unknown"),
    ],
)
def test_an_end_is_counted_by_a_code(text: str, status: int | None, code: str) -> None:
    """Made here, of words that stay here."""
    assert end_code(text, status) == code


def test_a_machine_has_one_folder_and_replaces_it(tmp_path: Path) -> None:
    """What it exported before is gone, another machine's stays, and nothing is left lying beside."""
    first = [{"begun_ms": 1, "ended_ms": 2, "kind": "offline", "source": "desktop log"}]
    put(tables("m1", {"outage": first * 3}, "1.0"), tmp_path, "m1")
    put(tables("m2", {"outage": first}, "1.0"), tmp_path, "m2")
    size = put(tables("m1", {"outage": first}, "1.0"), tmp_path, "m1")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["machine=m1", "machine=m2"]
    files = list((tmp_path / "machine=m1").iterdir())
    assert {path.stem for path in files} == set(COLUMNS) and size == sum(
        path.stat().st_size for path in files
    )
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    read = pyarrow.parquet.ParquetFile(tmp_path / "machine=m1" / "outage.parquet").read()
    assert read.to_pylist() == [{"machine": "m1", **first[0]}]
    assert read.schema.metadata[b"holdfast_sessions_schema"] == str(SCHEMA).encode()


def test_an_export_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    """A place that is no directory, with words about what to do."""
    put(tables("m1", {}, "1.0"), tmp_path / "out", "m1")
    (tmp_path / "out" / "machine=m2").write_text("mine")
    (tmp_path / "no").write_text("a file")
    with pytest.raises(PartitionError, match="choose a directory"):
        put(tables("m1", {}, "1.0"), tmp_path / "no", "m1")
    assert (tmp_path / "out" / "machine=m1" / "error.parquet").exists()


def test_who_a_machine_is_goes_with_everything_else(tmp_path: Path) -> None:
    """The same until all is forgotten; two machines with one key are one person."""
    one = who(tmp_path / "one")
    assert who(tmp_path / "one") == one
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / EXPORT_KEY).write_bytes((tmp_path / "one" / EXPORT_KEY).read_bytes())
    other = who(tmp_path / "two")
    assert (other.person, other.key) == (one.person, one.key) and other.machine != one.machine
    (tmp_path / "two" / EXPORT_MACHINE).write_bytes(b"short")
    with pytest.raises(PartitionError, match=EXPORT_MACHINE):
        who(tmp_path / "two")
    forget_all(tmp_path / "one")
    assert who(tmp_path / "one").person != one.person
