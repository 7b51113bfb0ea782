"""`holdfast flights --sql`: the journal asked in SQL."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.cli import sql
from tests.cli.viewed import recorded, typed
from tests.flight.telling import HUNG_UP, at, end, frozen_turn, short_turn, turn


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Three turns: a short one, the frozen one, one whose client hung up."""
    gone = end(turn(at(900), turn_id="ccc"), 9, HUNG_UP)
    recorded(tmp_path, short_turn(turn_id="aaa"), frozen_turn(at(60), turn_id="bbb"), gone)
    return tmp_path


def test_the_answer_is_an_aligned_table(state: Path) -> None:
    """Numbers to the right, NULL as a dash."""
    result = typed(
        state, "flights", "--sql", "SELECT turn_id, took_ms, saved_from FROM turn ORDER BY took_ms DESC;"
    )

    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "turn_id  took_ms  saved_from",
        "bbb       330100  silence past 300 s",
        "ccc         9000  -",
        "aaa         1800  -",
    ]


def test_rows_that_a_terminal_cannot_show_side_by_side_are_shown_as_blocks() -> None:
    """A line per column, rows apart; into a pipe they stay a table."""
    names, rows = ["turn_id", "x"], [("aaa", 1), ("bbb", None)]

    assert list(sql.blocks(names, rows)) == ["turn_id  aaa", "x        1", "", "turn_id  bbb", "x        -"]
    assert sql.table_width(names, rows) == len("turn_id  x")


def test_the_answer_as_json_and_as_csv(state: Path) -> None:
    """For programs: typed values, one object per line; or cells, empty for NULL."""
    question = "SELECT turn_id, took_ms, 1.5 AS x, status, true AS yes FROM turn WHERE turn_id = 'ccc'"
    told = typed(state, "flights", "--sql", question, "--json").stdout
    assert json.loads(told) == {"turn_id": "ccc", "took_ms": 9000, "x": 1.5, "status": None, "yes": True}

    rows = list(csv.reader(io.StringIO(typed(state, "flights", "--sql", question, "--csv").stdout)))
    assert rows == [["turn_id", "took_ms", "x", "status", "yes"], ["ccc", "9000", "1.5", "", "true"]]


def test_the_question_may_come_from_stdin(state: Path) -> None:
    """For long ones: `--sql - < question.sql`."""
    result = typed(
        state, "flights", "--sql", "-", answer="SELECT count(*) AS turns\nFROM turn\n-- all of them\n"
    )

    assert result.stdout.split() == ["turns", "3"]


def test_since_narrows_what_is_read(state: Path) -> None:
    """The same `--since` as without a question."""
    assert (
        typed(state, "flights", "--sql", "SELECT count(*) FROM turn", "--since", "2100-01-01").stdout.split()[
            1
        ]
        == "0"
    )


def test_types_that_json_has_not_are_told_as_text(state: Path) -> None:
    """Times with a zone, dates, lists: as DuckDB writes them, whatever is installed beside it."""
    question = (
        "SELECT epoch_ms(started_wall_ms) AS began, now() AS zoned, [1, 2] AS list, began FROM turn LIMIT 1"
    )
    told = json.loads(typed(state, "flights", "--sql", question, "--json").stdout)

    assert told["began"] == told["began_2"] == "2027-01-15 08:00:00"
    assert told["list"] == "[1, 2]" and "+00" in told["zoned"]


@pytest.mark.parametrize(
    "question",
    [
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_parquet('http://127.0.0.1:9/x.parquet')",
        "SELECT * FROM sqlite_scan('{file}', 'turn')",
        "SELECT getenv('HOME')",
        "SELECT * FROM question",
        "COPY turn TO '{file}.out'",
        "ATTACH '{file}.db' AS other",
        "INSTALL httpfs",
        "LOAD icu",
        "SET enable_external_access = true",
        "DELETE FROM turn",
        "CREATE TABLE mine (x INTEGER)",
        "PRAGMA database_list",
        "SELECT 1; SELECT 2",
        "SELECT * FROM query('SELECT * FROM read_text(''{file}'')')",
        "EXPLAIN ANALYZE SELECT * FROM read_text('{file}')",
        "WITH x AS (SELECT * FROM read_text('{file}')) SELECT * FROM x",
        "PIVOT read_csv('{file}') ON a",
    ],
)  # fmt: skip
def test_a_question_sees_the_journal_and_nothing_else(state: Path, tmp_path: Path, question: str) -> None:
    """No file, no network, no extension, no setting, nothing of Python's; and it writes nothing."""
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\nhush,hush\n")
    result = typed(state, "flights", "--sql", question.format(file=secret))

    assert result.exit_code == 1, result.stdout
    assert result.stderr.startswith("Error: ") and "defect" not in result.stderr
    assert "hush" not in result.stdout + result.stderr
    assert not list(tmp_path.glob("secret.csv.*"))


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("SELECT * FROM trun", "there is no table 'trun'. Did you mean turn?"),
        ("SELECT * FROM trun", "The tables are turn, moment, attempt, ending, answer, note"),
        ("SELECT modle FROM turn", "turn has turn_id, instance_id"),
        ("SELECT t.modle FROM turn t", "turn has turn_id, instance_id"),
        ("SELEC 1", "syntax error"),
        ("", "the question is empty"),
        ("SELECT '\udcff'", "no text in UTF-8"),
        ("SELECT frobnicate(1)", "functions are DuckDB's own"),
        ("SELECT 'x'::INTEGER FROM turn", "Conversion Error"),
    ],
)
def test_a_mistake_is_told_with_what_there_is(state: Path, question: str, said: str) -> None:
    """One error, where it is, and the tables or columns near it."""
    result = typed(state, "flights", "--sql", question)

    assert result.exit_code == 1
    assert said in result.stderr


@pytest.mark.parametrize(
    ("question", "line"),
    [
        ("SELECT modle FROM turn", 1),
        ("SELECT 1,\n modle FROM turn", 2),
        ("FROM turn SELECT max(took_ms + modle)", 1),
    ],
)
def test_the_mark_stands_below_the_mistake(question: str, line: int, state: Path) -> None:
    """As the question was typed."""
    lines = typed(state, "flights", "--sql", question).stderr.splitlines()
    place = next(i for i, told in enumerate(lines) if f"LINE {line}:" in told)

    assert lines[place].index("modle") == lines[place + 1].index("^")


@pytest.mark.parametrize(
    "question", ["SELECT DATE '2026-01-01' AS \"a;é\"; -- one; two", "SELECT DATE '2026-01-01' /* ; */ ;\n"]
)
def test_a_remark_may_follow_the_question(question: str, state: Path) -> None:
    """Behind its semicolon, too."""
    result = typed(state, "flights", "--sql", question, "--json")

    assert result.exit_code == 0 and "2026-01-01" in result.stdout, result.stderr


def test_hostile_texts_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """Escaped in the table, in CSV, in JSON, and in errors and column names."""
    record = end(turn(turn_id="aaa"), 1)
    record.model = "\x1b]0;owned\x07\u202e"
    recorded(tmp_path, record)
    for question in (
        'SELECT model, 1 AS "\x1b[2J" FROM turn',
        'SELECT "\x1b[2J" FROM turn',
        "SELECT '\x1b' FROM x\x1b",
    ):
        for options in ([], ["--json"], ["--csv"]):
            result = typed(tmp_path, "flights", "--sql", question, *options)
            assert not {"\x1b", "\x07", "\u202e"} & set(result.stdout + result.stderr)


def test_ctrl_c_ends_a_question_that_would_take_for_ever(state: Path) -> None:
    """DuckDB looks at no signal by itself. Where it spilled nothing stays behind."""
    question = "SELECT max(sin(x)) FROM range(1000000000000) one(x)"
    asking = subprocess.Popen(
        [sys.executable, "-m", "holdfast", "flights", "--sql", question],
        env={**os.environ, "HOLDFAST_STATE_DIR": str(state)},
        stderr=subprocess.PIPE,
    )
    try:
        until = time.monotonic() + 20
        while not list((state / "spool").glob("duckdb-*")) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.3)
        asking.send_signal(signal.SIGINT)
        asking.communicate(timeout=10)
    finally:
        asking.kill()
    assert asking.returncode == 130
    assert not list((state / "spool").iterdir())


def test_options_that_do_not_go_together(state: Path) -> None:
    """Each says what to do instead."""
    for arguments, said in (
        (["--sql", "SELECT 1", "--follow"], "leave --follow out"),
        (["--sql", "SELECT 1", "--csv", "--json"], "give one of"),
        (["--sql", "SELECT 1", "-n", "5"], "LIMIT in the question"),
        (["--sql", "SELECT 1", "--add", "access.log"], "leave it out"),
        (["--csv"], "--sql"),
    ):
        result = typed(state, "flights", *arguments)
        assert result.exit_code == 2 and said in result.stderr


def test_the_schema_needs_no_journal(tmp_path: Path) -> None:
    """For people, and for programs."""
    assert "  longest_quiet_ms  BIGINT   Longest silence" in typed(tmp_path, "flights", "--schema").stdout
    told = json.loads(typed(tmp_path, "flights", "--schema", "--json").stdout)
    assert {column["name"] for column in told["tables"]["note"]["columns"]} >= {"wall_ms", "text"}


def test_the_line_that_finds_one_person_s_turns_is_right(tmp_path: Path) -> None:
    """As the how-to has it: by the session's id, which the person knows."""
    page = (Path(__file__).parents[2] / "docs" / "how-to.md").read_text(encoding="utf-8")
    found = re.search(
        r'^holdfast flights --sql "(SELECT turn_id, .* session = \'([0-9a-f-]+)\')"$', page, re.M
    )
    assert found
    theirs, another = short_turn(turn_id="theirs"), short_turn(turn_id="another")
    theirs.session = found[2]
    recorded(tmp_path, theirs, another)
    shown = typed(tmp_path, "flights", "--sql", found[1])
    assert shown.exit_code == 0 and "theirs" in shown.stdout and "another" not in shown.stdout
