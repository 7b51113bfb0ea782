"""`holdfast export` of sessions, and `holdfast diagnose --from` over those of many machines."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from holdfast.cli.main import main
from holdfast.sessions.exported import COLUMNS, SCHEMA
from tests.diagnosis.fleets import days, fleet
from tests.sessions.unsent import Unsent
from tests.sessions.written import MORNING_MS


@pytest.fixture(autouse=True)
def nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home and a state directory of its own."""
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "mine"))
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)


def typed(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(one) for one in arguments], env={"COLUMNS": "100"})
    assert result.exit_code == code, result.output
    return result


def told(fleet: Path | str, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        typed("diagnose", "--from", fleet, "--format", "json", *options).stdout
    )
    return found


# -- what leaves


def test_an_export_says_what_left_and_names_nobody(tmp_path: Path) -> None:
    """Rows per table, how many pseudonyms; no project, session or id is in any file."""
    home = days(tmp_path / "home", 1, 2)
    result = typed("export", "--parquet", tmp_path / "out", "--tables", "sessions", "--home", home)

    assert "request 36, " in result.stdout and "error 13, chain 13" in result.stdout
    assert (
        "1 × path" in result.stdout
        and "6 × session id" in result.stdout
        and "the key to them stays here" in result.stdout
    )
    (folder,) = (tmp_path / "out").iterdir()
    for name in COLUMNS:
        rows = str(pyarrow.parquet.ParquetFile(folder / f"{name}.parquet").read().to_pylist())
        assert not any(word in rows for word in ("umbrella", "0001000", "msg_1", "req_", "/work", "9ddf")), (
            name
        )


def test_the_own_sessions_stand_beside_the_journal(tmp_path: Path) -> None:
    """Where no gateway has run they are all there is; the second export replaces the first."""
    days(tmp_path / "mine", 1, 1)
    first = json.loads(typed("export", "--parquet", tmp_path / "out", "--json").stdout)
    again = json.loads(
        typed("export", "--parquet", tmp_path / "out", "--json", "--since", "2026-04-16").stdout
    )

    assert first["sessions"]["machine"] == again["sessions"]["machine"] and "rows" not in first
    assert first["sessions"]["rows"]["error"] == 7 and again["sessions"]["rows"]["error"] == 4
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"machine={first['sessions']['machine']}"]


def test_nothing_to_export_is_said(tmp_path: Path) -> None:
    """No session and no journal: an error for each that was asked for."""
    assert (
        "nothing is recorded yet"
        in typed("export", "--parquet", tmp_path / "x", "--tables", "journal", code=1).stderr
    )
    assert "no session" in typed("export", "--parquet", tmp_path / "x", "--tables", "sessions", code=1).stderr
    assert "nothing is recorded yet" in typed("export", "--parquet", tmp_path / "x", code=1).stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--tables", "sessions", "--public"), "--public and --force are the journal's"),
        (("--home", "."), "say --tables sessions"),
        (("--tables", "journal", "--region", "eu"), "said with the sessions"),
        (("--region", "Jane's house"), "is no name of up to 40 letters"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    """With the way out."""
    assert says in typed("export", "--parquet", tmp_path / "x", *options, code=2).stderr
    assert not (tmp_path / "x").exists()


# -- many machines together


def test_a_fleet_is_counted_together(tmp_path: Path) -> None:
    """Sums over machines, how unevenly they fail, what struck all of them at once, and causes by their number."""
    place = fleet(
        tmp_path, 4, 0, 0, 0, 0, where=lambda number: {"region": "north" if number % 2 else "south"}
    )
    found = told(place)

    assert (found["machines"], found["persons"], found["active"], found["failing"]) == (5, 5, 5, 5)
    assert (found["requests"], found["failures"], found["died"]) == (5 * 24 + 24, 29, 0)
    tables = found["tables"]
    assert tables["machines"][0]["half_on"] == 1 and tables["machines"][0]["median"] == pytest.approx(
        1000 / 24
    )
    assert [(row["machines"], row["active"], row["failures"]) for row in tables["together"]] == [(5, 5, 5)]
    causes = {(row["cause"], row["machines"], row["failures"]) for row in tables["causes"]}
    assert causes == {("provider-overload", 5, 29), ("fixed-limit", 1, 25)}
    regions = {row["region"]: (row["failures"], row["answered"]) for row in tables["by region"]}
    assert regions == {"south": (27, 69), "north": (2, 46)}
    assert tables["by edge"] == [{"edge": "ORD", "errors": 5, "failures": 5, "machines": 5}]
    assert tables["without network"] == [{"machines": 5, "watched": 13, "failures": 5}]
    assert all(row["per_1000_low"] is not None for row in tables["by version"])
    assert "by project" not in tables


def test_the_report_is_read_by_people(tmp_path: Path) -> None:
    """The verdict first, causes by machines, and what such files cannot tell; in Markdown as well."""
    place = fleet(tmp_path, 4, 1)
    lines = typed("diagnose", "--from", place).stdout.splitlines()

    assert lines[0].startswith("2 machines: 32 of 78 requests failed (41%), on 2 of the 2 in use")
    assert any("(fixed-limit): on 1 of 2 machines" in line for line in lines)
    assert "What a fleet's files cannot tell" in lines and "Per hour of the day (UTC)" in lines
    assert any("There are only 2 machines" in line for line in lines)


def test_a_part_of_the_time_of_one_region_s_machines(tmp_path: Path) -> None:
    """Counts are of that time and of the folders that a pattern names, and causes are said not to be."""
    place = fleet(tmp_path, 1, 1, 1, 5)
    span = ("--since", "2026-04-16", "--until", "2026-04-18", "--timezone", "UTC")
    page = typed("diagnose", "--from", f"{place}/machine=m0[012]", *span, "--format", "markdown").stdout

    assert page.startswith("# Diagnosis of a fleet\n\n3 machines: 6 of 30 requests failed")
    assert "| 2026-04-16 | 3 |" in page and "Causes are of the whole time" in page
    assert "At 2 times several machines failed within five minutes, at the widest 3 of the 3 in use" in page


def test_files_may_be_merged(tmp_path: Path) -> None:
    """Rows say their machine themselves, so files of many may be one."""
    place, merged = fleet(tmp_path, 2, 0), tmp_path / "merged"
    merged.mkdir()
    for name in COLUMNS:
        parts = [pyarrow.parquet.ParquetFile(one / f"{name}.parquet").read() for one in place.iterdir()]
        pyarrow.parquet.write_table(pa.concat_tables(parts), merged / f"{name}.parquet")

    assert told(merged) == told(place)


def test_what_telemetry_alone_tells_is_in_no_rate_of_a_fleet(tmp_path: Path) -> None:
    """The export says which failures those are; the fleet counts them, and apart: how many are on record hangs on what kept
    telemetry from being sent."""
    home, place = days(tmp_path / "home", 1, 2), tmp_path / "fleet"
    before = typed("export", "--parquet", tmp_path / "before", "--tables", "sessions", "--home", home)
    assert "error 13, chain 13" in before.stdout
    for day in range(3):
        unsent = Unsent(f"{day:08x}-1111-4000-8000-000000000000", at_ms=MORNING_MS + day * 86_400_000)
        unsent.asks().after(2).fails(1, status=529).after(7).answers(f"req_{day}", 2).saved(home)
    typed("export", "--parquet", place, "--tables", "sessions", "--home", home)
    (folder,) = place.iterdir()
    for name in ("error", "chain"):
        rows = pyarrow.parquet.ParquetFile(folder / f"{name}.parquet").read().to_pylist()
        assert [row["on_record"] for row in rows].count(False) == 3 and len(rows) == 16
    found, alone = told(place), told(tmp_path / "before")

    assert (found["failures"], found["failures_apart"], alone["failures_apart"]) == (16, 3, 0)
    for name in ("by version", "by model", "by context", "per hour", "machines"):
        assert found["tables"][name] == alone["tables"][name], name
    assert sum(row["errors"] for row in found["tables"]["by code"]) == 16
    page = " ".join(typed("diagnose", "--from", place).stdout.split())
    assert "13 of 36 requests failed (36%), and 3 more by telemetry alone, on 1 of the 1 in use" in page
    assert "3 failures are in no rate, and in no table that has one" in page


def test_files_that_do_not_fit_are_not_counted(tmp_path: Path) -> None:
    """None there, one missing, another schema, a machine twice: each with what to do."""
    assert "holdfast export --parquet DIR" in typed("diagnose", "--from", tmp_path, code=2).stderr
    place = fleet(tmp_path, 1, 1)
    folder = place / "machine=m00"
    shutil.copytree(folder, place / "machine=copy")
    assert "twice" in typed("diagnose", "--from", place, code=2).stderr
    (place / "machine=copy" / "chain.parquet").unlink()
    assert "chain.parquet is missing" in typed("diagnose", "--from", place, code=2).stderr
    shutil.rmtree(place / "machine=copy")
    about = pyarrow.parquet.ParquetFile(folder / "machine.parquet").read()
    column = about.schema.get_field_index("schema")
    pyarrow.parquet.write_table(
        about.set_column(column, "schema", pa.array([SCHEMA + 1])), folder / "machine.parquet"
    )
    said = typed("diagnose", "--from", place, code=2).stderr
    assert f"1 of 2 machines exported another schema: {SCHEMA + 1}" in said and "update it here" in said
    (folder / "machine.parquet").write_text("no parquet")
    assert "cannot be read" in typed("diagnose", "--from", place, code=2).stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--backend", "duckdb://"), "name them by --from"),
        (("--from", "x", "--format", "html"), "text, markdown or json"),
        (("--from", "x", "--home", "."), "leave them out"),
        (("--from", ".", "--backend", "spark"), "holdfast export"),
    ],
)
def test_options_that_do_not_go_together(options: tuple[str, ...], says: str) -> None:
    """Said with the way out."""
    assert says in typed("diagnose", *options, code=2).stderr


def test_an_engine_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No URL, nothing by that name, not installed: what to write, or what to install."""
    place = fleet(tmp_path, 1)
    assert "is no URL of an engine" in typed("diagnose", "--from", place, "--backend", "spark", code=2).stderr
    assert "nosuch" in typed("diagnose", "--from", place, "--backend", "nosuch://host", code=2).stderr
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    said = typed("diagnose", "--from", place, "--backend", "spark://local[2]", code=2).stderr
    assert (
        "needs pyspark.sql" in said
        and "(it is of the extra spark)" in said
        and "ibis-framework[pyspark]" in said
    )
