"""`holdfast diagnose` beside its diagnosis: pages, where the client ran, and what came since the last time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from holdfast.cli import diagnose
from tests.sessions.written import MORNING_MS, Pen

DAY_MS = 86_400_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with nothing in it, and a state directory of its own."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def diagnosed(home: Path, *options: str) -> Result:
    result = CliRunner().invoke(diagnose.command, ["--home", str(home), "--timezone", "UTC", *options])
    assert result.exit_code == 0, result.output
    return result


def days(home: Path, first: int, last: int, age_s: float = 300.4) -> None:
    """One conversation a day, in which a request is cut at that age."""
    for day in range(first, last):
        pen = Pen(f"{day:08x}-0000-4000-8000-000000000000", at_ms=MORNING_MS + day * DAY_MS).asks()
        for number in range(6):
            pen.after(20).answers(f"msg_{day}_{number}")
        pen.after(age_s).fails(1).answers(f"msg_{day}_last").saved(home)


def test_a_page_is_written(home: Path, tmp_path: Path) -> None:
    """One file, to be opened in a browser."""
    days(home, 0, 12)
    told = diagnosed(home, "--format", "html", "--out", str(tmp_path / "report.html"))
    assert told.stdout.startswith("Written to ")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_the_second_report_says_what_came_since(home: Path) -> None:
    """The threshold of the first is tested on what the second has read anew."""
    days(home, 0, 12)
    assert "Since last time" not in diagnosed(home).stdout
    days(home, 12, 20)
    told = diagnosed(home).stdout
    assert "8 new failures, 56 answered requests, 8 new sessions, 0 new projects." in told
    assert (
        "goes on (8 of 8 new failures of such an age had the 300 s found then, on 8 days; before: 12 of 12)"
        in told
    )


def test_another_format_of_the_same_sitting_says_the_same(home: Path) -> None:
    """Text first and the page after it: the page does not compare with the text of a minute before."""
    days(home, 0, 12)
    diagnosed(home)
    days(home, 12, 20)
    diagnosed(home)
    since = json.loads(diagnosed(home, "--format", "json").stdout)["since_last"]
    assert (since["failures"], since["sessions"]) == (8, 8)
    [test] = [one for one in since["tests"] if one["pattern"]["limit_s"]]
    assert (test["hits"], test["of"], test["verdict"]) == (8, 8, "goes on")


def test_a_report_of_a_part_of_the_time_compares_nothing(home: Path) -> None:
    """Half a month is no change."""
    days(home, 0, 12)
    diagnosed(home, "--since", "2026-04-20")
    told = json.loads(diagnosed(home, "--format", "json").stdout)
    assert told["since_last"] is None


@pytest.mark.parametrize("form", ["text", "markdown", "html", "json"])
def test_every_format_says_where_it_ran(home: Path, form: str) -> None:
    """Settings by key and counts, never a value; and of a copied home what has to be asked there."""
    days(home, 0, 6)
    settings = {"env": {"API_TIMEOUT_MS": "planted-1"}, "permissions": {"defaultMode": "plan"}}
    (home / ".claude" / "settings.json").write_text(json.dumps(settings))
    told = diagnosed(home, "--format", form).stdout.replace("\\_", "_")
    assert "API_TIMEOUT_MS" in told and "plan" in told and "planted-1" not in told
    assert "claude --version, on that machine" in told
