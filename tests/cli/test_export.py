"""`holdfast export`: the journal as Parquet files."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from holdfast.flight import moments as m
from holdfast.flight.deidentify import RECORD
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.journal import Journal
from holdfast.telemetry import parquet
from holdfast.telemetry.public import FIELDS, Deidentifier
from holdfast.telemetry.tables import SCHEMA_VERSION, SOURCES, TABLES
from tests.cli.viewed import recorded, typed
from tests.flight.telling import NOON, at, end, frozen_turn, short_turn, tell, turn


@pytest.fixture(autouse=True)
def a_home_without_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client wrote on this machine is no part of these stories."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)


def read(path: Path, what: str = "*") -> list[tuple[Any, ...]]:
    return duckdb.connect().execute(f"SELECT {what} FROM '{path}'").fetchall()


def test_every_table_is_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    """With the schema's version in each file and beside them."""
    recorded(tmp_path / "state", short_turn(turn_id="aaa"), frozen_turn(at(60), turn_id="bbb"))
    out = tmp_path / "a 'quoted' place"
    result = typed(tmp_path / "state", "export", "--parquet", str(out))

    assert result.exit_code == 0, result.stderr
    assert "rows: turn 2, moment 32, attempt 3" in result.stdout
    assert {path.name for path in out.iterdir()} == {*(f"{t.name}.parquet" for t in TABLES), "_schema.json"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in [out, *out.iterdir()])
    target = str(out / "turn.parquet").replace("'", "''")
    told = (
        duckdb.connect()
        .execute(f"SELECT decode(key), decode(value) FROM parquet_kv_metadata('{target}')")
        .fetchall()
    )
    assert ("holdfast_schema_version", str(SCHEMA_VERSION)) in told
    schema = json.loads((out / "_schema.json").read_text())
    assert schema["schema_version"] == SCHEMA_VERSION and schema["rows"]["turn"] == 2


def test_files_hold_what_sql_answers(tmp_path: Path) -> None:
    """One definition: the same columns, types and values."""
    recorded(tmp_path / "state", frozen_turn(turn_id="bbb"))
    typed(tmp_path / "state", "export", "--parquet", str(tmp_path / "out"))
    for table in TABLES:
        described = duckdb.connect().execute(f"DESCRIBE SELECT * FROM '{tmp_path}/out/{table.name}.parquet'")
        assert [row[:2] for row in described.fetchall()] == [(c.name, c.type) for c in table.columns]
        question = f"SELECT count(*) AS n FROM {table.name}"
        told = json.loads(typed(tmp_path / "state", "flights", "--sql", question, "--json").stdout)
        assert read(tmp_path / "out" / f"{table.name}.parquet", "count(*)") == [(told["n"],)]


def test_nothing_is_overwritten_unless_told(tmp_path: Path) -> None:
    """The second export fails with advice and leaves the first alone; `--force` replaces it."""
    recorded(tmp_path / "state", short_turn(turn_id="aaa"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "note.parquet").write_text("mine")
    refused = typed(tmp_path / "state", "export", "--parquet", str(out))
    assert refused.exit_code == 1 and "--force" in refused.stderr
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("note.parquet", "mine")]

    assert typed(tmp_path / "state", "export", "--parquet", str(out), "--force").exit_code == 0
    assert read(out / "turn.parquet", "turn_id") == [("aaa",)] and read(out / "note.parquet") == []


def test_what_comes_meanwhile_is_not_overwritten_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two exports into one directory at the same time: one of them fails."""
    recorded(tmp_path / "state", short_turn(turn_id="aaa"))
    write = parquet._write

    def slowly(*arguments: Any, **more: Any) -> int:
        (tmp_path / "out" / "turn.parquet").write_text("theirs")
        return write(*arguments, **more)

    monkeypatch.setattr(parquet, "_write", slowly)
    result = typed(tmp_path / "state", "export", "--parquet", str(tmp_path / "out"))

    assert result.exit_code == 1 and "is there already" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["turn.parquet"]


def test_since_and_until_choose(tmp_path: Path) -> None:
    """From, and before; the wrong way round is refused."""
    recorded(tmp_path / "state", *(short_turn(at(3600 * i), turn_id=f"t{i}") for i in range(3)))
    seconds = (NOON.wall_ms + 1_800_000) // 1000
    span = [
        "--since",
        datetime.fromtimestamp(seconds).isoformat(),
        "--until",
        datetime.fromtimestamp(seconds + 3600).isoformat(),
    ]
    told = json.loads(
        typed(tmp_path / "state", "export", "--parquet", str(tmp_path / "out"), "--json", *span).stdout
    )
    assert told["rows"]["turn"] == 1 and read(tmp_path / "out" / "turn.parquet", "turn_id") == [("t1",)]
    swapped = typed(
        tmp_path / "state", "export", "--parquet", str(tmp_path / "x"), span[0], span[3], span[2], span[1]
    )
    assert swapped.exit_code == 2 and "exchange them" in swapped.stderr


def test_a_gateway_may_go_on_writing(tmp_path: Path) -> None:
    """The export is one snapshot; a turn under way is in it, unfinished."""
    journal = Journal(tmp_path / "state", flush_every_s=0.02)
    try:
        journal.changed(turn(turn_id="aaa"))
        assert journal.settle()
        assert typed(tmp_path / "state", "export", "--parquet", str(tmp_path / "out")).exit_code == 0
        assert read(tmp_path / "out" / "turn.parquet", "turn_id, ending_code") == [("aaa", None)]
        journal.changed(short_turn(turn_id="bbb"))
        assert journal.settle()
    finally:
        journal.close()


# -- public ------------------------------------------------------------------------------------------------


def test_every_field_has_a_policy() -> None:
    """A field that is new in the journal stays here until somebody decides about it; none is undecided now."""
    for source in SOURCES.values():
        assert set(source.names) <= set(FIELDS[source.name]), source.name
    assert set(FIELDS["turn"]) >= set(RECORD)


def test_a_public_export_names_nobody(tmp_path: Path) -> None:
    """Sessions, hosts, paths, tools, evidence and notes: none of the planted words is in any file."""
    hush = "umbrella"
    broke = Ending(
        Side.PROVIDER,
        Mechanism.RST,
        Phase.IN_TEXT,
        f"reset by {hush}.corp.example",
        {"interface": hush, "vpn": True},
    )
    record = tell(
        turn(turn_id="1m3250v003k3xx"),
        (0, m.Connected(1, "10.1.2.3:443", 0.1, False)),
        (1, m.BlockOpened(0, "tool_use", f"mcp__{hush}__search")),
        (2, m.AttemptEnded(1, broke)),
    )
    record.path, record.session, record.upstream = f"/{hush}/v1/messages", hush, f"https://llm.{hush}.example"
    record.agent, record.model, record.saved_from = f"{hush}-agent/1.0", f"{hush}-large", None
    record.request_id = f"{hush}-17"
    journal = Journal(tmp_path / "state")
    journal.tell("link", f"the network of {hush} changed")
    journal.changed(end(record, 3, broke))
    assert journal.close(10)
    out = tmp_path / "out"
    result = typed(tmp_path / "state", "export", "--parquet", str(out), "--public")

    assert result.exit_code == 0, result.stderr
    assert "1 × session id" in result.stdout and hush not in result.stdout
    for table in TABLES:
        told = read(out / f"{table.name}.parquet")
        assert hush not in str(told) and "10.1.2.3" not in str(told)
        assert table.name == "answer" or told
    assert read(out / "turn.parquet", "turn_id, session, ending_code, took_ms") == [
        ("1m3250v003k3xx", "session-1", "P.rst.text", 3000)
    ]
    assert read(out / "attempt.parquet", "address, ending_code") == [("ip4-private-1:443", "P.rst.text")]
    assert json.loads((out / "_schema.json").read_text())["public"] is True


def test_what_is_no_moment_of_ours_stays_here() -> None:
    """Another version's moments, names in evidence that nobody knows, values that are no plain values."""
    change = Deidentifier()
    source = SOURCES["turn"]
    row: list[str | None] = [None] * len(source.names)
    row[source.names.index("moments")] = (
        '[[0, 1, "New", {"x": "hush"}], 7, [0, 1, "AnswerHeard", {"reader": ["hush"]}]]'
    )
    row[source.names.index("ending")] = '{"side": "P", "evidence": {"new": "hush"}, "new": "hush"}'
    (told,) = change(source, [row])

    assert told[source.names.index("moments")] == '[[0,1,"AnswerHeard",{"reader":null}]]'
    assert "hush" not in str(told)
    assert change.names.left_out["moment of another version"] == 2


def test_the_kind_of_a_note_is_no_persons_name() -> None:
    """`mark` is a word of ours in that place; in any other it may be somebody."""
    source = SOURCES["note"]
    row = dict(zip(source.names, [None] * len(source.names), strict=True)) | {"name": "mark", "text": "Mark"}
    (told,) = Deidentifier()(source, [list(row.values())])
    found = dict(zip(source.names, told, strict=True))

    assert found["name"] == "mark" and found["text"] != "Mark"


def test_it_asks_where_to(tmp_path: Path) -> None:
    """With the line to type, as nothing is written where nobody said."""
    result = typed(tmp_path, "export")

    assert result.exit_code == 2 and "holdfast export --parquet out/" in result.output
