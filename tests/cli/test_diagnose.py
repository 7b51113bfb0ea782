"""`holdfast diagnose`: from a home's logs to a verdict, what to do, and what could not be told."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import pytest
from click.testing import CliRunner, Result

from holdfast.cli import diagnose, forget, mark, zones
from holdfast.flight import plain_files
from holdfast.sessions import lines
from tests.sessions.unsent import DEVICE, Unsent
from tests.sessions.written import MORNING_MS, Pen

DAY_MS = 86_400_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with nothing in it, and a state directory of its own."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def diagnosed(home: Path, *options: str, code: int = 0) -> Result:
    result = CliRunner().invoke(diagnose.command, ["--home", str(home), "--timezone", "UTC", *options])
    assert result.exit_code == code, result.output
    return result


def a_month_with_a_limit(home: Path) -> None:
    """Twelve days; on each a request is cut after five minutes, and one is overloaded."""
    for day in range(12):
        pen = Pen(f"{day:08x}-0000-4000-8000-000000000000", at_ms=MORNING_MS + day * DAY_MS).asks()
        for number in range(10):
            pen.after(20).answers(f"msg_{day}_{number}")
        pen.after(300.4).fails(1).after(302).fails(2).gives_up()
        pen.asks().after(2).is_refused(1).after(4).answers(f"msg_{day}_last").saved(home)


def test_the_first_lines_are_verdict_and_advice(home: Path) -> None:
    """What failed, what explains it, what to do, and how many turns that would have saved."""
    a_month_with_a_limit(home)
    lines = diagnosed(home).stdout.splitlines()

    assert lines[0].startswith(
        "24 of 144 requests failed (17%), and 12 turns died of it. 2 causes explain 24 of the 24."
    )
    assert lines[1:3] == ["Times are UTC.", ""]
    assert lines[3:5] == [
        "  strong         12  The provider was overloaded",
        "  either         12  Requests were cut at a fixed age, or something that looks like it",
    ]
    begin = lines.index("What to do, and how many lost turns it would have saved")
    assert (
        begin < 8
        and "holdfast run" in lines[begin + 1]
        and lines[begin + 1].endswith("(12 turns; they hang on an either)")
    )
    assert (
        lines[begin + 2] == f"  The first of them, made ready: holdfast doctor --home {home} --timezone UTC"
    )
    cut = lines.index(
        "either     Requests were cut at a fixed age, or something that looks like it: 12 of 24 failures"
    )
    assert lines[cut + 1].startswith(
        "  or       Silent requests were cut at a fixed age (silence-limit); A box"
    )
    assert "strong     The provider was overloaded: 12 of 24 failures" in lines


def test_json_holds_all_of_it(home: Path) -> None:
    """Findings in rank order with their evidence, every table by name, coverage, and what was refused."""
    a_month_with_a_limit(home)
    told = json.loads(diagnosed(home, "--format", "json").stdout)

    assert (told["schema"], told["failures"], told["requests"], told["unexplained"]) == (3, 24, 144, [])
    assert [finding["hypothesis"] for finding in told["findings"]] == ["provider-overload", "fixed-limit"]
    for finding in told["findings"]:
        assert finding["for"] and finding["settle"] and finding["falsifier"] and finding["of"] == 24
    assert set(told["tables"]) >= {"by code", "retries", "ages", "bursts", "by context", "per day", "lost"}
    assert told["tables"]["lost"][0]["turns_least"] == 12
    assert {"by context tier", "by session size"} <= set(told["tables"])
    assert [one["source"] for one in told["coverage"]][:4] == [
        "transcripts",
        "tool results",
        "desktop log",
        "flights",
    ]
    assert any("Who sent a reset" in one for one in told["refused"])


def test_every_name_of_the_json_is_documented(home: Path) -> None:
    """A program reads it, and its author reads docs/diagnosis.md."""
    a_month_with_a_limit(home)
    tools_that_failed(home)
    told = json.loads(diagnosed(home, "--format", "json").stdout)
    page = (Path(__file__).parents[2] / "docs" / "diagnosis.md").read_text()
    parts = [told, told["findings"][0], told["advice"][0], told["coverage"][0], told["prior"][0]]

    assert [name for one in parts for name in one if f"`{name}`" not in page] == []
    columns = {name for rows in told["tables"].values() for row in rows for name in row}
    assert len(columns) > 40 and "requests" not in columns
    assert [
        name for name in (*told["tables"], *columns) if f"`{name}`" not in page.partition("## JSON")[2]
    ] == []


def tools_that_failed(home: Path) -> None:
    """Five sessions, a day each: a test that fails, a server that is not up, a database that resets; and two answers that
    broke with a call in them."""
    for day in range(5):
        pen = Pen(
            f"{day:08x}-0000-4000-8000-00000000700f", cwd="/work/umbrella", at_ms=MORNING_MS + day * DAY_MS
        )
        said = [
            ("Bash", "Exit code 1\n3 of umbrella's tests failed"),
            ("Edit", "String to replace not found in file."),
        ]
        said += [("Bash", "Exit code 7\ncurl: localhost port 3000: Connection refused")] * (day < 4)
        said += [("mcp__umbrella-db__query", "connect ECONNRESET 10.0.0.7:5432")] * (day % 2)
        said += [
            ("Read", "<tool_use_error>Error: Streaming fallback - tool execution discarded</tool_use_error>")
        ] * (day == 2)
        for number, (tool, text) in enumerate(said):
            call = f"toolu_{day}_{number}"
            pen.after(20).calls(tool, call).after(1).tool_fails(call, text)
        if day == 4:
            pen.calls("Write", "toolu_cut", {}, stop="max_tokens")
            pen.tool_fails(
                "toolu_cut", "<tool_use_error>InputValidationError: Write failed due to</tool_use_error>"
            )
        pen.after(9).answers(f"msg_tools_{day}").saved(home, name=f"tools-{day}")


TOOLS = {
    ("Bash", 9, 4, 0, 5),
    ("Edit", 5, 0, 0, 5),
    ("mcp__umbrella-db__query", 2, 2, 0, 2),
    ("Read", 1, 0, 1, 1),
    ("Write", 1, 0, 1, 1),
}
KINDS = {
    ("exit code", "Bash", 5, 5),
    ("edit did not fit", "Edit", 5, 5),
    ("ECONNREFUSED", "Bash", 4, 4),
    ("ECONNRESET", "mcp__umbrella-db__query", 2, 2),
    ("answer discarded", "Read", 1, 1),
    ("call cut off", "Write", 1, 1),
}


def test_what_tools_reported_stands_apart_from_what_the_api_did(home: Path) -> None:
    """To the last row: by tool, by kind, and beside each code that both had; no failure is made of any of them."""
    a_month_with_a_limit(home)
    before = json.loads(diagnosed(home, "--format", "json").stdout)
    tools_that_failed(home)
    told = json.loads(diagnosed(home, "--format", "json").stdout)
    tables = told["tables"]

    def picked(name: str, *columns: str) -> set[tuple[Any, ...]]:
        return {tuple(row[column] for column in columns) for row in tables[name]}

    assert picked("tool errors", "tool", "errors", "network", "of_answers", "sessions") == TOOLS
    assert picked("tool error kinds", "kind", "tool", "errors", "sessions") == KINDS
    (first, *_) = tables["tool errors"]
    assert (first["first_ms"], first["last_ms"]) == (MORNING_MS + 21_000, MORNING_MS + 4 * DAY_MS + 21_000)
    codes = {row["code"]: (row["errors"], row["failures"], row["at_tools"]) for row in tables["by code"]}
    assert (codes["ECONNRESET"], codes["ECONNREFUSED"], codes["ETIMEDOUT"]) == (
        (24, 12, 2),
        (0, 0, 4),
        (0, 0, 0),
    )
    assert (told["failures"], told["findings"]) == (before["failures"], before["findings"])
    (covered,) = (one for one in told["coverage"] if one["source"] == "tool results")
    assert covered["count"].startswith("18 errors in 5 sessions")
    assert any("(2 ECONNRESET, 4 ECONNREFUSED)" in one for one in told["refused"])
    assert any(one.startswith("2 errors of tools are the client's own words") for one in told["refused"])


def test_what_tools_reported_is_of_the_time_that_was_asked_for(home: Path) -> None:
    """The third day alone; and the code's row too."""
    tools_that_failed(home)
    begun = datetime.fromtimestamp(MORNING_MS / 1000, UTC).replace(hour=0)
    span = [f"{begun.replace(day=begun.day + days):%Y-%m-%d}" for days in (2, 3)]
    tables = json.loads(diagnosed(home, "--format", "json", "--since", span[0], "--until", span[1]).stdout)[
        "tables"
    ]

    assert {(row["tool"], row["errors"]) for row in tables["tool errors"]} == {
        ("Bash", 2),
        ("Edit", 1),
        ("Read", 1),
    }
    assert {row["code"]: row["at_tools"] for row in tables["by code"] if row["at_tools"]} == {
        "ECONNREFUSED": 1
    }


def test_a_person_reads_whose_error_it_was(home: Path) -> None:
    """Beside the code, with its tool, and also where no request failed: that is when somebody asks what refused."""
    tools_that_failed(home)
    healthy = diagnosed(home).stdout
    assert healthy.startswith("Nothing is wrong") and "  ECONNREFUSED      Bash " in healthy
    assert "answer discarded: the answer broke behind the call" in healthy
    a_month_with_a_limit(home)
    lines = diagnosed(home).stdout.splitlines()
    head = lines.index("What failed, by code (at tools: errors that tools reported, none of them the API's)")
    row = next(line for line in lines[head:] if line.startswith("  ECONNREFUSED   "))

    assert lines[head + 1].split() == ["code", "errors", "failures", "sessions", "at", "tools"]
    assert row.split() == ["ECONNREFUSED", "0", "0", "0", "4"]


def test_tools_have_their_public_names_in_what_is_sent_on(home: Path, tmp_path: Path) -> None:
    """Those that everybody has stay; a server and its tool are somebody's words, and what tools said is in no file."""
    a_month_with_a_limit(home)
    tools_that_failed(home)
    diagnosed(home, "--format", "issue", "--out", str(tmp_path / "issue.md"))
    page = (tmp_path / "issue.md").read_text()

    assert "| ECONNRESET | mcp\\_\\_mcp-1\\_\\_tool-1 | 2 | 2 |" in page
    assert "| ECONNREFUSED | Bash | 4 | 4 |" in page and "| call cut off | Write | 1 | 1 |" in page
    assert "umbrella" not in page and "3000" not in page and "5432" not in page
    (line,) = (line for line in page.splitlines() if line.startswith("- Tools reported"))
    assert line.startswith(
        "- Tools reported errors that the API has too (2 ECONNRESET, 4 ECONNREFUSED): no request"
    )
    (line,) = (line for line in page.splitlines() if line.startswith("- tool results"))
    assert "18 errors in 5 sessions, of each its kind alone; how often tools were used is not counted" in line
    private = (tmp_path / "issue.md.private.md").read_text()
    assert "| `mcp-1` | `umbrella-db` |" in private and "Connection refused" not in private


def test_nothing_wrong_is_said_and_that_is_all(home: Path) -> None:
    """No finding is made up for a healthy home; nor does an answer that took four minutes to begin make it ill."""
    Pen().asks().after(250).answers("msg_1").took(250).saved(home)
    result = diagnosed(home)

    assert result.stdout.startswith("Nothing is wrong: 1 request on record, and none failed.")
    assert not any(one in result.stdout for one in ("What to do", "by code", "Prior hypotheses"))


def stalling(home: Path, *silences_s: float) -> None:
    """A conversation in which nothing failed, and answers came so late."""
    pen = Pen()
    for number, silence_s in enumerate(silences_s):
        pen.asks().after(silence_s + 15).answers(f"msg_{number}").took(silence_s + 15)
    pen.saved(home)


def test_resets_that_the_client_mended_are_called_breaks(home: Path, tmp_path: Path) -> None:
    """24 lines of its debug log, of a reset each: no stall, no failure, and not nothing."""
    stalling(home, 9)
    place = home / ".claude" / "debug" / "11111111-0000-4000-8000-000000000001.txt"
    place.parent.mkdir()
    line = "[WARN] Stream connection error (ECONNRESET) - retrying streaming (1/10)"
    place.write_text("".join(f"2026-04-14T{7 + n}:10:00.000Z {line}\n" for n in range(3, 15)))
    said = "No error is on record in 1 request, but 12 broken streams are told by the client itself."
    page = diagnosed(home).stdout
    diagnosed(home, "--format", "issue", "--out", str(tmp_path / "issue.md"))
    issue = (tmp_path / "issue.md").read_text()

    assert (
        page.startswith(said) and "12 broken streams are told by the client itself, which asked again" in page
    )
    assert "stall without" not in page and "A stall of the kind" not in page
    assert "Answers break without an error: 12 times" in issue and "12 x  the client's own word" in issue
    assert "does not break on demand" in issue and "length not known" not in issue


def test_stalls_without_an_error_are_not_called_nothing(home: Path) -> None:
    """No error is on record, and the person sat before a silent screen: the headline says so, in every form."""
    stalling(home, 9, 814, 897)
    said = "No error is on record in 3 requests, but 2 silent stalls are inferred, the longest of 897 s."
    page = diagnosed(home).stdout

    assert page.splitlines()[0] == said and "Nothing is wrong" not in page
    assert page.index("What to do") < page.index("Stalls and broken streams that left no error record")
    assert "holdfast run -- claude" in page and "holdfast doctor --now" in page
    assert json.loads(diagnosed(home, "--format", "json").stdout)["headline"] == said
    assert f"# Diagnosis\n\n{said}\n" in diagnosed(home, "--format", "markdown").stdout
    html = diagnosed(home, "--format", "html").stdout
    assert re.search(rf"<h1[^>]*>\s*{re.escape(said)}", html)


def test_a_version_that_is_found_was_compared(home: Path) -> None:
    """The screen that names a version does not say that versions are not compared; it says with what it was."""
    for day in range(15):
        for place, version in enumerate(("2.1.104", "2.1.107")):
            at_ms = MORNING_MS + day * DAY_MS + place * 3_600_000
            pen = Pen(f"{day:07x}{place}-0000-4000-8000-000000000000", version=version, at_ms=at_ms).asks()
            for number in range(12):
                pen.after(20).answers(f"msg_{day}_{place}_{number}")
                if place and number % 4 == 1:
                    age_s = 11.3 + 17.9 * ((day * 7 + number) % 10)
                    pen.after(90).asks().after(age_s).fails(1).after(3).answers(f"msg_{day}_{number}_b")
            pen.saved(home)
    told = json.loads(diagnosed(home, "--format", "json").stdout)

    assert "client-version" in {one["hypothesis"] for one in told["findings"]}
    assert not [said for said in told["refused"] if "as causes" in said]
    assert any("compared with the others" in said for said in told["refused"])


def test_an_empty_home_has_nothing_to_diagnose(home: Path) -> None:
    """And says what it looked for."""
    said = diagnosed(home).stdout

    assert said.startswith("There is nothing to diagnose")
    assert "no session of Claude Code is in" in said


def test_since_and_until_cut_the_time(home: Path) -> None:
    """Only what failed then, and only what was answered then to compare with."""
    a_month_with_a_limit(home)
    day = datetime.fromtimestamp(MORNING_MS / 1000).astimezone().date().isoformat()
    told = json.loads(diagnosed(home, "--until", f"{day}T23:59", "--format", "json").stdout)

    assert (told["failures"], told["requests"]) == (2, 12)


def test_a_second_run_needs_no_transcripts(home: Path) -> None:
    """What the client has deleted since is still counted, and said to be deleted."""
    a_month_with_a_limit(home)
    first = diagnosed(home).stdout
    for path in home.rglob("*.jsonl"):
        path.unlink()
    second = diagnosed(home).stdout

    assert first.splitlines()[0] == second.splitlines()[0]
    assert "(12 of them deleted since)" in second


def test_markdown_can_mention_nobody(home: Path) -> None:
    """A project named like a user pings no user; a table cell cannot break out of its row."""
    Pen(cwd="/work/@octocat|<img src=x>").asks().answers("msg_1").fails(1).gives_up().saved(home)
    page = diagnosed(home, "--format", "markdown").stdout

    assert "# Diagnosis" in page
    assert "@octocat" not in page and not re.search(r"(?<!\\)<img", page)


def test_the_report_goes_into_a_file(home: Path, tmp_path: Path) -> None:
    """Where it cannot, the command says so and what to do."""
    a_month_with_a_limit(home)
    place = tmp_path / "report.md"
    assert "Written to" in diagnosed(home, "--format", "markdown", "--out", str(place)).stdout
    assert place.read_text().startswith("# Diagnosis\n")

    assert place.stat().st_mode & 0o777 == 0o600, "it names projects and sessions"

    place.write_text("mine")
    refused = diagnosed(home, "--out", str(place), code=1)
    assert "is there already; choose another name" in refused.stderr and place.read_text() == "mine"
    assert (
        "choose another place" in diagnosed(home, "--out", str(tmp_path / "no" / "report.md"), code=1).stderr
    )


def test_what_was_read_can_be_forgotten(home: Path, tmp_path: Path) -> None:
    """What is older than a time, or all of it; the client's own files are not ours to erase."""
    a_month_with_a_limit(home)
    diagnosed(home)
    some = CliRunner().invoke(forget.command, ["--yes", "--older-than", "1d"])
    left = CliRunner().invoke(forget.command, ["--yes"])

    assert "Erased 36 failure records that diagnose had read" in some.output
    assert "Erased 0 failure records" in left.output
    assert not list((tmp_path / "state").glob("sessions-*")) and len(list(home.rglob("*.jsonl"))) == 12


def test_marks_of_ones_own_divide_the_time(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Did the new cable help? Each period with its own rate; of somebody else's home our marks say nothing."""
    a_month_with_a_limit(home)
    day = datetime.fromtimestamp((MORNING_MS + 6 * DAY_MS) / 1000).astimezone().date().isoformat()
    marked = CliRunner().invoke(mark.command, ["moved to Ethernet", "--at", f"{day}T00:00"])
    assert marked.exit_code == 0, marked.output
    assert "between marks" not in json.loads(diagnosed(home, "--format", "json").stdout)["tables"]

    monkeypatch.setenv("HOME", str(home))
    rows = json.loads(diagnosed(home, "--format", "json").stdout)["tables"]["between marks"]
    assert [row["mark"] for row in rows] == ["", "moved to Ethernet"]
    assert [row["failures"] for row in rows] == [12, 12]


def test_a_zone_that_is_none_is_refused(home: Path) -> None:
    """With an example of one."""
    result = CliRunner().invoke(diagnose.command, ["--home", str(home), "--timezone", "Middle/Earth"])

    assert (result.exit_code, "Europe/Paris" in result.output) == (2, True)


def test_the_local_clocks_changes_are_known() -> None:
    """To the second, both of a year."""
    changes = [at for at, _ in zones.offsets(ZoneInfo("America/Chicago"))]

    for change in (datetime(2026, 3, 8, 8, tzinfo=UTC), datetime(2026, 11, 1, 7, tzinfo=UTC)):
        assert round(change.timestamp() * 1000) in changes
    assert zones.offsets(ZoneInfo("UTC")) == [(round(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000), 0)]


def test_rates_and_shares_come_with_how_far_they_may_be_off(home: Path) -> None:
    """Whole days are resampled: twelve equal days leave no doubt, and a version without requests has no rate."""
    a_month_with_a_limit(home)
    told = json.loads(diagnosed(home, "--format", "json").stdout)
    for finding in told["findings"]:
        assert finding["share_low"] == finding["share"] == finding["share_high"] == 0.5
    [row] = told["tables"]["by version"]
    assert row["per_1000_low"] == pytest.approx(row["per_1000"]) == pytest.approx(row["per_1000_high"])
    assert told["tables"]["retries"][0]["still_failing_low"] is not None


def test_without_its_packages_it_says_how_to_get_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not look: code 2, before anything is read, and a line that works from any installation."""
    monkeypatch.setitem(sys.modules, "holdfast.diagnosis.engine", None)
    said = diagnosed(home, code=2).stderr

    assert f"{shlex.quote(sys.executable)} -m pip install 'ibis-framework[duckdb]" in said
    assert not list((home.parent / "state").glob("sessions-*"))


def test_without_the_renderer_only_the_page_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever installed the extra before it drew pictures learns what to add, and that the text needs none."""
    a_month_with_a_limit(home)
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    said = diagnosed(home, "--format", "html", code=2).stderr

    assert "vl_convert is missing" in said and f"{shlex.quote(sys.executable)} -m pip install" in said
    assert "requests failed" in diagnosed(home).stdout


def test_a_home_without_logs_says_where_it_looked_and_what_to_do(home: Path) -> None:
    """Instead of a page of zeros; programs get their JSON as ever."""
    said = diagnosed(home).stdout

    assert said.startswith(f"There is nothing to diagnose: no client's logs are in {home}.")
    assert f"{home}/.claude/projects and {home}/.config/claude/projects" in said
    assert "--home DIR" in said and "holdfast run -- claude" in said and len(said.splitlines()) < 15
    assert json.loads(diagnosed(home, "--format", "json").stdout)["failures"] == 0


def test_one_home_in_three_spellings_is_read_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another directory, by a way round, or by a link: nothing is new, and nothing was deleted."""
    Pen("00000001-0000-4000-8000-000000000000").asks().answers("msg_1").saved(home)
    monkeypatch.chdir(home.parent)
    (home.parent / "link").symlink_to(home)
    for spelled in (home, Path("home"), home / ".." / "home", Path("link")):
        assert "  transcripts   1 session and 0 subagents" in diagnosed(spelled).stdout


def test_the_clients_own_directory_is_no_home(home: Path) -> None:
    """Easily typed, and it would hold nothing; the right line is said."""
    a_month_with_a_limit(home)
    said = diagnosed(home / ".claude", code=2).stderr
    assert said.endswith(f"name the home that it is in: --home {home}\n")


def test_a_projects_folder_may_be_a_link(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One's own is followed wherever it leads; in a copied home one that leads out of it is named, and not followed."""
    a_month_with_a_limit(home)
    projects, [project] = home / ".claude" / "projects", list((home / ".claude" / "projects").iterdir())
    (projects / "-linked").symlink_to(project.rename(tmp_path / "elsewhere"))

    assert (
        "-linked: a link that leads out of this home, not followed"
        in diagnosed(home, "--format", "json").stdout
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    own = CliRunner().invoke(diagnose.command, ["--timezone", "UTC", "--format", "json"])
    assert json.loads(own.stdout)["failures"] == 24


def test_a_link_to_itself_is_named_where_nothing_is_left(home: Path) -> None:
    """The page without anything to diagnose says what was not read, as the report does."""
    projects = home / ".claude" / "projects"
    projects.mkdir(parents=True)
    (projects / "self").symlink_to("self")
    assert "not read: self: a link that leads to itself" in diagnosed(home).stdout

    a_month_with_a_limit(home)
    said = diagnosed(home).stdout
    assert said.startswith("24 of 144 requests failed")
    assert "not read: self: a link that leads to itself" in said


def test_other_directories_are_another_corpus(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of the usual ones was not deleted because CLAUDE_CONFIG_DIR names another place now."""
    a_month_with_a_limit(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    line = ["--timezone", "UTC"]
    assert "12 sessions" in CliRunner().invoke(diagnose.command, line).stdout
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", "/nope")
    said = CliRunner().invoke(diagnose.command, line).stdout

    assert "deleted since" not in said and "none: no session of Claude Code is in /nope/projects" in said


def test_a_debug_log_that_is_none_is_named(home: Path) -> None:
    """A file in its place that holds no time is not passed over in silence."""
    a_month_with_a_limit(home)
    (home / ".claude" / "debug").mkdir()
    (home / ".claude" / "debug" / "x.txt").write_text("junk\n")
    told = json.loads(diagnosed(home, "--format", "json").stdout)

    [log] = [one for one in told["coverage"] if one["source"] == "debug log"]
    assert "x.txt: no line begins with a time" in log["unreadable"][0]


@pytest.mark.parametrize(
    ("said", "name"),
    [("Europe/Paris", "Europe/Paris"), (":America/Chicago", "America/Chicago"),
     ("/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo")],
)  # fmt: skip
def test_the_machines_zone_is_read_as_the_system_reads_it(
    monkeypatch: pytest.MonkeyPatch, said: str, name: str
) -> None:
    """TZ may have a colon in front, or be a path."""
    monkeypatch.setenv("TZ", said)
    assert zones.zone_name(zones.zone(None)) == name


def test_a_system_zone_that_is_none_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Local times in it would be read as UTC, and failures without a network be missed; a rule is no name, and fine."""
    monkeypatch.setenv("TZ", "Nonsense/Zone")
    said = CliRunner().invoke(diagnose.command, ["--home", str(home)])
    assert said.exit_code == 2 and "TZ=Nonsense/Zone names no time zone" in said.stderr
    assert "--timezone" in said.stderr

    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    assert CliRunner().invoke(diagnose.command, ["--home", str(home)]).exit_code == 0


def test_a_long_report_is_shown_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page is the verdict and what to do; it does not scroll away. A short one, or a pipe, needs no pager."""
    shown: list[str] = []
    monkeypatch.setattr(click, "echo_via_pager", shown.append)
    monkeypatch.setattr(diagnose, "to_a_person", lambda: True)
    diagnose.write("a\n" * 500 + "b", None)
    diagnose.write("short", None)
    monkeypatch.setattr(diagnose, "to_a_person", lambda: False)
    diagnose.write("a\n" * 500 + "b", None)

    assert [len(page.splitlines()) for page in shown] == [501]


def test_dates_are_of_the_clock_of_the_logs() -> None:
    """`--since 2026-03-01 --timezone Asia/Tokyo` begins at Tokyo's midnight; a date with a zone of its own keeps it."""
    tokyo = ZoneInfo("Asia/Tokyo")
    midnight = round(datetime(2026, 3, 1, tzinfo=tokyo).timestamp() * 1000)

    assert diagnose.period("2026-03-01", None, tokyo) == (midnight, None)
    assert diagnose.period("2026-03-01T00:00+00:00", None, tokyo) == (midnight + 9 * 3_600_000, None)
    with pytest.raises(click.UsageError, match="exchange them"):
        diagnose.period("2026-03-02", "2026-03-01", UTC)
    with pytest.raises(click.UsageError, match="a whole day ends with the next"):
        diagnose.period("2026-03-01", "2026-03-01", UTC)
    with pytest.raises(click.BadParameter, match="neither a length of time"):
        diagnose.period("soon", None, UTC)


def test_a_zone_that_nobody_said_is_told(home: Path) -> None:
    """Outages are matched by the local times of the desktop log; read by a wrong zone they are missed in silence."""
    a_month_with_a_limit(home)
    log = home / "Library" / "Logs" / "Claude" / "main.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-04-14 09:00:00 [info] Starting app\n", encoding="utf-8")
    assumed = CliRunner().invoke(diagnose.command, ["--home", str(home)]).output
    said = diagnosed(home).output

    assert "say --timezone" in " ".join(assumed.split())
    assert "say --timezone" not in said and "local times read as UTC" in said


def test_a_record_of_a_wrong_clock_stretches_nothing(home: Path) -> None:
    """A session of 2034, or of 1999, is left out and counted aloud; the rest is told as if it were not there."""
    a_month_with_a_limit(home)
    before = json.loads(diagnosed(home, "--format", "json").stdout)
    for number, year in enumerate((1999, 2134)):
        at_ms = round(datetime(year, 5, 1, tzinfo=UTC).timestamp() * 1000)
        Pen(f"{number + 90:08x}-0000-4000-8000-000000000000", at_ms=at_ms).asks().after(2).answers(
            f"msg_x{number}"
        ).saved(home)
    after = json.loads(diagnosed(home, "--format", "json").stdout)

    assert after["tables"]["per day"] == before["tables"]["per day"]
    assert after["requests"] == before["requests"] == 144
    assert "2 records have times at which no such client ran: a clock was wrong then" in after["refused"][0]
    assert not any("no such client ran" in one for one in before["refused"])


def test_what_is_no_file_is_not_waited_for(home: Path) -> None:
    """Pipes in the place of each log, a directory and a link that leads nowhere: named, and the rest is told."""
    a_month_with_a_limit(home)
    project = next((home / ".claude" / "projects").iterdir())
    desktop = home / "Library" / "Logs" / "Claude"
    for place in (desktop, home / ".claude" / "debug", project / "folder.jsonl"):
        place.mkdir(parents=True)
    for pipe in (desktop / "main.log", home / ".claude" / "debug" / "x.txt", project / "pipe.jsonl"):
        os.mkfifo(pipe)
    os.mkfifo(home / ".claude.json")
    (project / "gone.jsonl").symlink_to("/nonexistent")
    told = json.loads(diagnosed(home, "--format", "json").stdout)

    unread = {one["source"]: " ".join(one["unreadable"]) for one in told["coverage"]}
    assert told["failures"] == 24
    assert "pipe.jsonl: a named pipe, not a regular file" in unread["transcripts"]
    assert "folder.jsonl: a directory, not a regular file" in unread["transcripts"]
    assert "gone.jsonl: a link that leads nowhere" in unread["transcripts"]
    assert unread["desktop log"] == "main.log: a named pipe, not a regular file"
    assert unread["debug log"] == "x.txt: a named pipe, not a regular file"


def test_a_named_pipe_that_nobody_writes_to_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with a writer is read."""
    monkeypatch.setattr(plain_files, "WRITER_S", 0.05)
    a_month_with_a_limit(home)
    os.mkfifo(tmp_path / "pipe")
    refused = diagnosed(home, "--add", str(tmp_path / "pipe"), code=2).output
    assert "a pipe that nobody writes to" in refused
    assert "a device, not a regular file" in diagnosed(home, "--add", "/dev/zero", code=2).output

    monkeypatch.setattr(plain_files, "WRITER_S", 5.0)
    writer = subprocess.Popen(["sh", "-c", f"echo hello > {shlex.quote(str(tmp_path / 'pipe'))}"])
    said = diagnosed(home, "--add", str(tmp_path / "pipe")).output
    assert writer.wait(10) == 0 and "paste" in said


def test_a_zone_for_want_of_another_is_said_of_the_zone(home: Path) -> None:
    """The clause follows what it is about, and the hours stand by themselves."""
    a_month_with_a_limit(home)
    log = home / "Library" / "Logs" / "Claude" / "main.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-04-14 09:00:00 [info] Starting app\n", encoding="utf-8")
    result = CliRunner().invoke(diagnose.command, ["--home", str(home), "--format", "json"])
    told = json.loads(result.stdout)

    [desktop] = [one for one in told["coverage"] if one["source"] == "desktop log"]
    assert "in all; local times read as " in desktop["count"]
    assert re.search(r"read as \S+ for want of another \(", desktop["count"])


def test_telemetry_that_could_not_be_sent_tells_what_transcripts_hide(home: Path) -> None:
    """Print mode logs no failed try: three days of overload were on record nowhere else. Each failure is counted once."""
    a_month_with_a_limit(home)
    before = json.loads(diagnosed(home, "--format", "json").stdout)
    for day in range(3):
        session = f"{day:08x}-1111-4000-8000-000000000000"
        pen = Pen(session, "2.1.86", at_ms=MORNING_MS + day * DAY_MS).asks().after(9).answers(f"msg_p{day}")
        pen.saved(home)
        unsent = (
            Unsent(session, at_ms=MORNING_MS + day * DAY_MS).noise(4).asks().after(2).fails(1, status=529)
        )
        unsent.after(7).answers(f"req_msg_p{day}", 2).noise().after(60).stalls(50).saved(home)
    told = json.loads(diagnosed(home, "--format", "json").stdout)
    again = json.loads(diagnosed(home, "--format", "json").stdout)

    assert (before["failures"], told["failures"], again["failures"]) == (24, 27, 27)
    assert told["headline"].startswith(
        "27 requests failed: 24 of 144 (17%), and 3 that the client's telemetry alone tells, and 12 turns died of it."
    )
    assert (told["failures_apart"], told["requests"]) == (3, 147)
    diagnosed(home, "--format", "html", "--out", str(home / "page.html"))
    assert "of 144 requests failed, and 3 by telemetry alone" in (home / "page.html").read_text()
    diagnosed(home, "--format", "issue", "--out", str(home / "issue.md"))
    assert "17% of requests fail" in (home / "issue.md").read_text()
    [overload] = [one for one in told["findings"] if one["hypothesis"] == "provider-overload"]
    assert len(overload["explains"]) == 15
    assert [row["request_id"] for row in told["tables"]["told by telemetry"]] == ["req_1of529"] * 3
    assert [row["kind"] for row in told["tables"]["stalls"]] == ["client telemetry"] * 3
    assert any("3 failures are told by the client's telemetry alone" in one for one in told["refused"])
    [row] = [one for one in told["coverage"] if one["source"] == "client telemetry"]
    assert row["count"].startswith(
        "3 files with 27 events that the client could not send, 12 of them about requests; its collector was out of reach "
        "while 3 requests got an answer"
    )
    assert (row["first_ms"], row["last_ms"]) == (MORNING_MS, MORNING_MS + 2 * DAY_MS + 69_000)
    assert "client telemetry" not in [one["source"] for one in before["coverage"]]


def test_one_versions_telemetry_compares_no_versions(home: Path) -> None:
    """Two print-mode versions fail alike, and only the telemetry of one could not be sent: its failures are listed, and no
    version, hour or project has a rate by them."""
    for day in range(20):
        for place, version in enumerate(("2.1.86", "2.1.87")):
            session = f"{place}{day:07x}-1111-4000-8000-000000000000"
            at_ms = MORNING_MS + day * DAY_MS + place * 3000
            pen, unsent = Pen(session, version, at_ms=at_ms), Unsent(session, version)
            for number in range(12):
                pen.asks().after(15 + 3.7 * (day % 7))
                if number in (3, 9):
                    unsent.at_ms = pen.at_ms - 12_000
                    unsent.asks().after(2.3 + day % 9).fails(1, status=None, wait_ms=500.0 + day)
                    unsent.at_ms = pen.at_ms
                    unsent.answers(f"req_{session}{number}", 2)
                pen.answers(f"{session}{number}").after(600)
            pen.saved(home)
            if version == "2.1.86":
                unsent.saved(home)
    told = json.loads(diagnosed(home, "--format", "json").stdout)
    [newer] = [one for one in told["prior"] if one["key"] == "H5"]

    assert (told["failures"], told["findings"], newer["verdict"]) == (40, [], "cannot be told here")
    assert [(row["version"], row["failures"], row["per_1000"]) for row in told["tables"]["by version"]] == [
        ("2.1.86", 40, None),
        ("2.1.87", 0, 0.0),
    ]
    assert {row["per_1000"] for row in told["tables"]["per hour"] if row["failures"]} == {None}
    assert any(one.startswith("40 failures are compared with no answers") for one in told["refused"])


def test_every_table_with_rates_counts_all_requests(home: Path) -> None:
    """By whatever its rows are told apart, those too of which that is not known: failures whose prompt, project or model is
    not on record, and those that telemetry alone tells."""
    a_month_with_a_limit(home)
    for day in range(3):
        Pen(f"{day:08x}-2222-4000-8000-000000000000").fails(1).after(4).fails(2).gives_up().saved(home)
        unsent = Unsent(f"{day:08x}-1111-4000-8000-000000000000", at_ms=MORNING_MS + day * DAY_MS)
        unsent.asks().after(2).fails(1, status=529).after(7).answers(f"req_{day}", 2).saved(home)
    told = json.loads(diagnosed(home, "--format", "json").stdout)
    sums = {
        name: (sum(row["failures"] for row in rows), sum(row["answered"] for row in rows))
        for name, rows in told["tables"].items()
        if rows and {"failures", "answered"} <= rows[0].keys()
    }

    assert len(sums) >= 10 and told["failures"] == 30
    assert set(sums.values()) == {(told["failures"], told["requests"] - told["failures"])}, sums
    assert sum(row["errors"] for row in told["tables"]["ages"]) == sum(
        row["errors"] for row in told["tables"]["by code"]
    )


def test_a_source_that_knows_failures_only_tells_no_share(home: Path, tmp_path: Path) -> None:
    """Telemetry of eight requests that were cut and answered after all, and no transcript: how many went well, and in how
    many projects, nobody knows."""
    for day in range(8):
        unsent = Unsent(f"{day:08x}-1111-4000-8000-000000000000", "2.1.329", at_ms=MORNING_MS + day * DAY_MS)
        unsent.asks().after(300).fails(1, wait_ms=500, took_ms=300_000).after(20.5)
        unsent.answers(f"req_{day}", 2, took_ms=20_000).saved(home)
    told = json.loads(diagnosed(home, "--format", "json").stdout)
    diagnosed(home, "--format", "issue", "--out", str(tmp_path / "issue.md"))
    diagnosed(home, "--format", "html", "--out", str(tmp_path / "page.html"))
    page = " ".join((tmp_path / "issue.md").read_text().replace("\\", "").split())

    assert told["headline"].startswith(
        "8 requests failed (no answered one is on record); no turn died of it."
    )
    assert "(300 s), or something that looks like it: 8 failed requests, no turn died" in page
    assert "Failures came in 8 sessions, 1 version. Of 8 failures the project is not known." in page
    assert "How often is not known; it does not fail on demand." in page
    assert "100%" not in page and "8 requests failed, 0 answered" in page
    assert "of 8 requests failed" not in (tmp_path / "page.html").read_text()


def test_a_public_report_has_the_requests_of_telemetry_and_no_ids_of_persons(
    home: Path, tmp_path: Path
) -> None:
    """Who stalled and failed is a pseudonym; what the provider can look up stays, and so do our sentences about it."""
    session = "0f0f0f0f-1111-4000-8000-000000000000"
    Pen(session, "2.1.86").asks().after(9).answers("msg_1").saved(home)
    unsent = Unsent(session).asks().after(2).fails(1, status=529).after(7).answers("req_msg_1", 2)
    unsent.after(60).stalls(50, "req_011CX0000000000000000001").saved(home)
    diagnosed(home, "--format", "issue", "--out", str(tmp_path / "issue.md"))
    page = (tmp_path / "issue.md").read_text().replace("\\", "")

    assert "req_1of529" in page and "req_011CX0000000000000000001" in page
    assert session not in page and DEVICE not in page
    assert "Failures that no transcript tells, by the client's unsent telemetry" in page
    assert (
        "1 failure is told by the client's telemetry alone, which is kept only where it could not be sent"
        in page
    )
    assert (
        "1 file with 4 events that the client could not send, 4 of them about requests; its collector" in page
    )


def test_telemetry_of_no_use_is_named(home: Path) -> None:
    """What holds no event, and what cannot be opened; nothing of either is said."""
    a_month_with_a_limit(home)
    place = Unsent().scribbles('{"event_data": {"x": "secret"}}').scribbles("{").saved(home).parent
    os.mkfifo(place / "1p_failed_events.x.y.json")
    result = diagnosed(home, "--format", "json")

    [row] = [one for one in json.loads(result.stdout)["coverage"] if one["source"] == "client telemetry"]
    assert row["count"] == "1 file with 0 events that the client could not send, 0 of them about requests"
    assert row["unreadable"] == [
        "1 line of no known shape",
        "1 line torn",
        "1p_failed_events.x.y.json: a named pipe, not a regular file",
    ]
    assert "secret" not in result.stdout


def test_dirt_has_kinds_and_copies_are_counted_aloud(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines by what is wrong with them, and a file that tells nothing new, in the text as for programs."""
    monkeypatch.setattr(lines, "LONGEST_LINE", 1_000_000)
    a_month_with_a_limit(home)
    first, *_ = sorted((home / ".claude" / "projects").rglob("*.jsonl"))
    (first.parent / "ffffffff-0000-4000-8000-000000000000.jsonl").write_bytes(first.read_bytes())
    with first.open("ab") as file:
        file.write(b'{"type":"assistant","timest\n{"type":"sys\nno json\n[1]\n' + b"x" * 3_000_000 + b"\n")
    told = json.loads(diagnosed(home, "--format", "json").stdout)
    said = " ".join(diagnosed(home).output.split())

    [row] = [one for one in told["coverage"] if one["source"] == "transcripts"]
    assert row["count"].startswith(
        "13 sessions, 1 of them a copy (every record counts once), and 0 subagents"
    )
    assert row["unreadable"] == [
        "2 lines torn",
        "1 line not JSON",
        "1 line of no known shape",
        "1 line too long",
    ]
    assert "not read: 2 lines torn; 1 line not JSON; 1 line of no known shape; 1 line too long" in said
    assert "1 of them a copy" in said


@pytest.mark.parametrize("within", ["", "projects", "projects/-work-atlas"])
def test_a_part_of_a_home_is_named_with_its_home(home: Path, within: str) -> None:
    """The client's own directory, or one in it: no empty home, but a wrong name for one."""
    a_month_with_a_limit(home)
    said = diagnosed(home / ".claude" / within, code=2).stderr
    assert f"name the home that it is in: --home {shlex.quote(str(home))}" in said


def test_a_home_that_may_not_be_looked_into_is_not_called_empty(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not look: exit code 2, and whose permission is missing."""
    a_month_with_a_limit(home)
    projects = home / ".claude" / "projects"
    scandir = os.scandir

    def refusing(place: Path) -> Any:
        if Path(place) == projects:
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)

    said = diagnosed(home, code=2).stderr

    assert f"{projects} cannot be looked into (Permission denied)" in said


def test_a_status_in_the_last_words_is_told_and_no_digits_of_an_id(home: Path) -> None:
    """A client that notes no status beside its words: 500 by 500, and neither 429 nor 529 by an id that has them."""
    told = '{"type":"error","error":{"type":"api_error"},"request_id":"req_011CT529DEF429"}'
    for day in range(8):
        pen = Pen(f"{day:08x}-0000-4000-8000-000000000000", version="2.1.86", at_ms=MORNING_MS + day * DAY_MS)
        pen.asks().after(3).answers(f"msg_{day}").asks().after(3).gives_up(f"API Error: 500 {told}")
        pen.asks().after(40).gives_up("Repeated 529 Overloaded errors").saved(home)

    found = json.loads(diagnosed(home, "--format", "json").stdout)

    causes = {one["hypothesis"]: len(one["explains"]) for one in found["findings"]}
    assert causes == {"provider-error": 8, "provider-overload": 8}
    assert {row["code"] for row in found["tables"]["dead turns"]} == {"HTTP 500", "HTTP 529"}


def test_what_was_refused_openly_is_told_beside_what_is_unexplained(home: Path) -> None:
    """A used-up account is no riddle, and no cause of ours: the client's own words are counted."""
    for day in range(6):
        pen = Pen(f"{day:08x}-0000-4000-8000-000000000000", at_ms=MORNING_MS + day * DAY_MS)
        pen.asks().after(3).answers(f"msg_{day}")
        pen.asks().after(2).gives_up("You've hit your session limit · resets 3pm")
        pen.asks().after(2).gives_up("OAuth token revoked · Please run /login").saved(home)

    said = diagnosed(home).stdout

    why = "of 12 the client says itself what was wrong: 6 key refused, 6 usage limit"
    assert f"unexplained  12 failures: no cause that is known here explains them; {why}." in said
    assert "unexplained request" not in issue_of(home)


def issue_of(home: Path) -> str:
    """The public report."""
    out = home.parent / "issue.md"
    diagnosed(home, "--format", "issue", "--out", str(out))
    return out.read_text()


def of_two_modes(home: Path) -> None:
    """The same happens to 2.1.114 in print mode and to 2.1.329, and the first logs only what it gave up."""
    for number, (version, entry) in enumerate(
        (("2.1.114", "sdk-cli"), ("2.1.329", "sdk-cli"), ("2.1.114", "cli"))
    ):
        pen = Pen(f"{number:08x}-0000-4000-8000-000000000000", version, at_ms=MORNING_MS).asks()
        for answer in range(60 if entry == "sdk-cli" else 3):
            pen.after(20).answers(f"msg_{number}_{answer}")
        if version == "2.1.329":
            pen.asks().after(4).fails(1).after(5).answers(f"msg_{number}_again")
        pen.asks().after(9).gives_up()
        pen.lines = [line.replace('"entrypoint":"cli"', f'"entrypoint":"{entry}"') for line in pen.lines]
        pen.saved(home)


def test_a_version_that_logs_no_failed_try_has_no_rate(home: Path, tmp_path: Path) -> None:
    """What it hides would make it look better; the rate of the other is none of the same thing, and that is said."""
    of_two_modes(home)
    found = json.loads(diagnosed(home, "--format", "json").stdout)
    rows = {row["version"]: row for row in found["tables"]["by version"]}

    assert rows["2.1.114"]["failed_tries"] == "not logged, before the stream"
    assert rows["2.1.114"]["per_1000"] is None and rows["2.1.114"]["failures"] == 2
    assert rows["2.1.329"]["failed_tries"] == "logged" and rows["2.1.329"]["per_1000"]
    told = " ".join(found["refused"])
    assert "not on record of 60 of 124 answered requests (print mode of 2.1.114)" in told
    assert "logged: 2.1.329" in told and "before the stream: 2.1.114" in told

    diagnosed(home, "--format", "issue", "--out", str(tmp_path / "x.md"))
    public = (tmp_path / "x.md").read_text()
    assert "- 2.1.114: 2 requests failed, 63 answered (failed tries: not logged, before the stream)" in public
    assert "these numbers are not compared" in public and "print mode of 2.1.114" in public


def test_a_version_works_only_if_its_failures_would_show(home: Path, tmp_path: Path) -> None:
    """A hundred answers of a mode that logs no failed try are no evidence for it."""
    for number, version in enumerate(("2.1.114", "2.1.329")):
        pen = Pen(f"{number:08x}-0000-4000-8000-000000000000", version, at_ms=MORNING_MS).asks()
        for answer in range(120):
            pen.after(20).answers(f"msg_{number}_{answer}")
        if number:
            pen.asks().after(4).fails(1).after(5).answers("msg_again")
        pen.lines = [line.replace('"entrypoint":"cli"', '"entrypoint":"sdk-cli"') for line in pen.lines]
        pen.saved(home)
    diagnosed(home, "--format", "issue", "--out", str(tmp_path / "x.md"))
    public = (tmp_path / "x.md").read_text()

    assert "I don't know: of older versions other failed tries are on record, or none (2.1.329)." in public


def test_what_leaves_no_record_is_not_called_well(home: Path) -> None:
    """Sessions of a mode that logs no failed try: none on record proves nothing, and the first line says so."""
    pen = Pen(version="2.1.114").asks().after(9).answers("msg_1")
    pen.saved(home)
    assert diagnosed(home).stdout.startswith("Nothing is wrong: 1 request on record, and none failed.")

    pen.lines = [line.replace('"entrypoint":"cli"', '"entrypoint":"sdk-cli"') for line in pen.lines]
    other = home.parent / "other"
    pen.saved(other)
    said = diagnosed(other).stdout.splitlines()[0]
    assert said.startswith("Nothing is wrong as far as it is logged: 1 request on record, and none failed; ")
    assert said.endswith("a failed try leaves no record in print mode of 2.1.114.")


def test_a_request_that_failed_and_was_answered_is_one(home: Path) -> None:
    """Not one that failed and one that was answered."""
    Pen().asks().after(4).is_refused(1).after(5).answers("msg_1").saved(home)

    assert diagnosed(home).stdout.startswith("1 of 1 request failed (100%); no turn died of it.")


def test_a_dash_is_standard_output(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is standard input for --add; of two files none can go there."""
    a_month_with_a_limit(home)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert diagnosed(home, "--format", "markdown", "--out", "-").stdout.startswith("# Diagnosis")
    said = diagnosed(home, "--format", "issue", "--out", "-", code=2).stderr
    assert "takes a name for the first" in said and not list(empty.iterdir())
