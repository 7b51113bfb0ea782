"""Whatever stands above a column, or before a line of a report, can be looked up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from holdfast.cli import atlas, attic, diagnose, mark
from holdfast.cli.flights import HEAD
from holdfast.cli.main import main
from holdfast.flight.columns import BEFORE_LINES, LISTS, TABLES
from holdfast.flight.pages import look_up
from holdfast.report.diagnosed import shown
from tests.cli.test_diagnose_beside import SESSION, access_log, carry
from tests.cli.viewed import typed
from tests.diagnosis.fleets import days
from tests.sessions.unsent import Unsent
from tests.sessions.written import Pen

SAYS_ITSELF = {
    "version", "model", "project", "session", "system", "region", "kind", "source", "name", "value", "what", "how much",
    "why", "cause", "mark", "ending", "ended", "turn", "failure", "least", "most", "of", "recovered", "died", "abandoned",
}  # fmt: skip
"Heads that need no page of their own: the word is plain, or has one as a word."


def heads(tables: dict[str, Any]) -> set[str]:
    """Of all tables that are shown, as they are printed."""
    lines = [told for name, rows in tables.items() if (told := shown(name, rows))]
    return {head for told in lines for head in told[0]}


def unknown(words: set[str]) -> set[str]:
    return {word for word in words - SAYS_ITSELF if not look_up(word)}


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A diagnosis with every source that there may be."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path / "state"))
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    pen = Pen().asks().after(8).calls("Bash", "toolu_1").tool_fails("toolu_1").after(62).fails(1).after(3)
    pen.answers("msg_2").took(40).asks().after(304).answers("msg_late").asks().after(2).fails(1).gives_up()
    pen.asks().after(600).gives_up(text="Request timed out.").saved(home)
    other = "22222222-0000-4000-8000-000000000002"
    Pen(other, "2.1.86").asks().after(9).answers("msg_3").saved(home)
    Unsent(other).asks().after(2).fails(1, status=529).after(7).answers("req_3", 2).saved(home)
    (home / ".claude" / "debug").mkdir()
    (home / ".claude" / "debug" / f"{SESSION}.txt").write_text(
        "2026-04-14T07:05:01.500Z [DEBUG] Streaming stall detected: 54.4s gap\n"
    )
    logs = home / "Library" / "Logs" / "Claude"
    logs.mkdir(parents=True)
    (logs / "main.log").write_text(
        "2026-04-14 07:01:09 [error] net::ERR_INTERNET_DISCONNECTED\n2026-04-14 07:01:11 [info] online\n"
    )
    carry(tmp_path / "state")
    CliRunner().invoke(mark.command, ["moved", "--at", "2026-04-14T07:00:30"])
    asked = [
        "--home",
        str(home),
        "--timezone",
        "UTC",
        "--add",
        str(access_log(home, 70.0)),
        "--format",
        "json",
    ]
    result = CliRunner().invoke(diagnose.command, asked)
    assert result.exit_code == 0, result.output
    read: dict[str, Any] = json.loads(result.stdout)
    return read


def test_every_column_of_a_diagnosis_is_explained(told: dict[str, Any]) -> None:
    """In every table, from every source."""
    for name in ("by code", "flights", "reset requests", "seen by others", "stalls", "told by telemetry", "tool errors",
                 "client logs", "client limits", "turn times", "retries", "between marks"):  # fmt: skip
        assert told["tables"].get(name), f"no row of {name}: this home was to have one"
    assert not unknown(heads(told["tables"]))


def test_every_column_of_a_fleet_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that only a fleet has too."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path / "state"))
    home, out = days(tmp_path / "home", 1, 2), tmp_path / "out"
    lines = [
        ["export", "--parquet", str(out), "--tables", "sessions", "--home", str(home)],
        ["diagnose", "--from", str(out), "--format", "json"],
    ]
    for line in lines:
        result = CliRunner().invoke(main, line)
        assert result.exit_code == 0, result.output
    assert not unknown(heads(json.loads(result.stdout)["tables"]))


@pytest.mark.parametrize("listed", [HEAD, attic.HEAD, mark.HEAD, atlas.HEAD], ids=lambda heads: heads[-1])
def test_every_column_of_a_list_is_explained(listed: tuple[str, ...]) -> None:
    """flights, attic list, mark --list, atlas."""
    assert set(listed) <= set(LISTS) and not unknown(set(listed))


def test_every_source_is_explained(told: dict[str, Any]) -> None:
    """The names at the report's end; a log that somebody added is called by its file."""
    assert not unknown({one["source"] for one in told["coverage"] if "access.log" not in one["source"]})


@pytest.mark.parametrize("word", [*BEFORE_LINES, *TABLES, "grade", "coverage", "stall", "finding"])
def test_the_words_of_a_report_are_explained(tmp_path: Path, word: str) -> None:
    """As they are printed, and with the underscores of JSON."""
    for spelled in (word, word.replace(" ", "_")):
        assert typed(tmp_path, "explain", spelled).exit_code == 0, spelled


def test_a_columns_name_in_json_is_known(tmp_path: Path) -> None:
    """Where it is another one than on the page."""
    assert typed(tmp_path, "explain", "per_1000").stdout.startswith("failed per 1000 (column)")


def test_a_pasted_sentence_is_not_explained_word_by_word(tmp_path: Path) -> None:
    """`for` and `of` are columns and heads of lines, and in a sentence neither is meant."""
    said = typed(tmp_path, "explain", "idle-socket", "for", "most", "of", "these").stdout
    assert said.startswith("idle-socket (cause)") and "(report)" not in said and "(column)" not in said


def test_a_word_that_only_other_pages_have_leads_there(tmp_path: Path) -> None:
    """Where nothing is called so, and nothing nearly so."""
    said = typed(tmp_path, "explain", "documented").stderr
    assert "it is in the page of prompt tokens sent in vain" in said
    assert "holdfast explain 'prompt tokens sent in vain'" in said
