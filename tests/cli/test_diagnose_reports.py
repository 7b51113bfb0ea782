"""`holdfast diagnose` beside its diagnosis: pages, where the client ran, and what came since the last time."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from holdfast.cli import diagnose
from tests.diagnosis import homes_captures, homes_logs
from tests.diagnosis.plots import home as homes
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


def test_a_look_is_not_compared_with_itself(home: Path) -> None:
    """Two reports of one sitting, and nothing came between them: there is nothing to compare with yet."""
    days(home, 0, 12)
    diagnosed(home)

    assert "Since last time" not in diagnosed(home).stdout
    assert json.loads(diagnosed(home, "--format", "json").stdout)["since_last"] is None


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
    assert "claude --version" in told


def test_an_issue_is_two_files(home: Path, tmp_path: Path) -> None:
    """The public one names nobody; the private one leads back and is its owner's alone; the terminal previews what went."""
    pen = Pen("5c0ffee0-1111-4222-8333-444455556666", cwd="/home/zebrafinch/umbrella").asks(
        "Tell quokka of umbrella."
    )
    for number in range(8):
        pen.after(20).answers(f"msg_{number}").after(300.2).fails(1)
    pen.after(5).is_refused(2).gives_up(
        "API Error: 529 from proxy.zebrafinch.example (zebrafinch@mail.example)"
    )
    pen.saved(home)
    (home / ".claude" / "settings.json").write_text('{"env": {"QUOKKA_TOKEN": "umbrella"}, "zebrafinch": 1}')
    whose = {
        "accountUuid": "planted-account",
        "emailAddress": "z@mail.example",
        "accessToken": "planted-token",
    }
    (home / ".claude.json").write_text(json.dumps({"oauthAccount": whose}))

    out, sheet = tmp_path / "issue.md", tmp_path / "issue.md.private.md"
    told = diagnosed(home, "--format", "issue", "--out", str(out))
    public, secret = out.read_text(), sheet.read_text()
    for planted in ("zebrafinch", "umbrella", "quokka", "5c0ffee0", "planted"):
        assert planted not in public.lower(), planted
    assert "req_" in public.replace("\\_", "_") and "9ddf33cfda64f790-ORD" in public
    assert (
        "planted-account" in secret
        and "/home/zebrafinch/umbrella" in secret
        and "planted-token" not in secret
    )
    assert sheet.stat().st_mode & 0o777 == 0o600
    assert (
        "session-1" in told.stderr
        and "5c0ffee0" in told.stderr
        and "De-identified; replaced or removed:" in told.stderr
    )


def test_a_private_sheet_is_never_overwritten(home: Path, tmp_path: Path) -> None:
    """It may be the only key to a report that was sent; and then no public one is written beside it."""
    days(home, 0, 6)
    diagnosed(home, "--format", "issue", "--out", str(tmp_path / "issue.md"))
    (tmp_path / "issue.md").unlink()
    result = diagnosed(home, "--format", "issue", "--out", str(tmp_path / "issue.md"), code=1)
    assert "is there already; choose another name" in result.stderr
    assert not (tmp_path / "issue.md").exists()


@pytest.mark.parametrize("form", ["html", "markdown", "issue"])
def test_a_report_that_does_not_fit_leaves_nothing(
    home: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of a page would be in the way of the next try, and a sheet without its report is the key to nothing."""
    days(home, 0, 6)
    fdopen: Any = os.fdopen

    def full(descriptor: int, *how: str, **more: str) -> Any:
        file = fdopen(descriptor, *how, **more)
        if "w" in how:
            file.write("the beginning")

            def refusing(_: str) -> int:
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(file, "write", refusing, raising=False)
        return file

    monkeypatch.setattr(os, "fdopen", full)
    out = tmp_path / "new" / "report"
    out.parent.mkdir()
    result = diagnosed(home, "--format", form, "--out", str(out), code=1)

    assert "No space left on device" in result.stderr
    assert list(out.parent.iterdir()) == []


def test_an_issue_needs_a_file_to_go_to(home: Path) -> None:
    """A terminal is no place for two files, one of them private."""
    result = CliRunner().invoke(diagnose.command, ["--home", str(home), "--format", "issue"])
    assert result.exit_code == 2 and "name the first by --out" in result.stderr


def test_a_public_report_overwrites_nothing(home: Path, tmp_path: Path) -> None:
    """It may have been sent; and it is said before the work is done."""
    days(home, 0, 6)
    (tmp_path / "issue.md").write_text("mine")
    result = diagnosed(home, "--format", "issue", "--out", str(tmp_path / "issue.md"), code=1)

    assert "is there already; choose another name" in result.stderr
    assert (tmp_path / "issue.md").read_text() == "mine" and not list(tmp_path.glob("*.private.md"))


@pytest.mark.parametrize("seed", [61425, 61778])
def test_no_word_of_ours_is_taken_for_a_name_in_the_public_report(
    home: Path, tmp_path: Path, seed: int
) -> None:
    """Two months with several causes, a capture and a proxy's log: what is replaced is theirs."""
    told = homes(seed)
    told.saved(home)
    homes_captures.write(told, tmp_path / "client.pcap")
    (tmp_path / "haproxy.log").write_text(homes_logs.proxy_log(told), encoding="utf-8")
    added = [option for name in ("client.pcap", "haproxy.log") for option in ("--add", str(tmp_path / name))]
    diagnosed(home, *added, "--format", "issue", "--out", str(tmp_path / "issue.md"))
    sheet = (tmp_path / "issue.md.private.md").read_text()

    replaced = set(re.findall(r"^\| `name-\d+` \| `(\D*\d?)` \|$", sheet, re.MULTILINE))
    assert replaced <= {"api/edge1", "SD", "CD"}, "add to flight/plainwords.py what can be no name"


def test_where_nothing_failed_no_issue_is_drafted(tmp_path: Path) -> None:
    """Nor is its private sheet; what to look at instead is said."""
    Pen("00000001-0000-4000-8000-000000000000").asks().answers("msg_1").saved(tmp_path)
    result = diagnosed(tmp_path, "--format", "issue", "--out", str(tmp_path / "issue.md"), code=1)

    assert "no failure and no long stall is on record, so there is nothing to report" in result.stderr
    assert not list(tmp_path.glob("issue.md*"))


def test_a_freeze_without_an_error_can_be_reported(home: Path, tmp_path: Path) -> None:
    """Two answers that came after ten minutes: times and lengths, as the client logs nothing else of them."""
    for day in range(2):
        pen = Pen(f"{day:08x}-0000-4000-8000-000000000000", at_ms=MORNING_MS + day * DAY_MS).asks()
        pen.after(625 + day).answers(f"msg_{day}_1").asks().answers(f"msg_{day}_2").saved(home)
    diagnosed(home, "--format", "issue", "--out", str(tmp_path / "issue.md"))
    page, sheet = (tmp_path / "issue.md").read_text(), (tmp_path / "issue.md.private.md").read_text()

    assert page.startswith("# [BUG] Answers stall without an error: 2 times, for up to 611 s\n")
    assert "No error is on record in 4 requests, but 2 silent stalls are inferred" in page
    assert page.count("silent wait, 61") == 2 and "session-1, version 2.1.104" in page
    assert "- 2.1.104: 2 stalls, 4 requests answered" in page and "What happened to these requests" in page
    assert "Nothing failed" not in page and "failed tries have" not in page and "name-1" not in page
    assert "00000001-0000" in sheet and "00000001-0000" not in page


def test_a_freeze_that_only_the_debug_log_tells_can_be_reported(tmp_path: Path) -> None:
    """Transcripts are deleted after 30 days, or were never written."""
    (tmp_path / ".claude/debug").mkdir(parents=True)
    line = "2026-04-14T07:05:01.500Z [DEBUG] Streaming stall detected: 367.5s gap between events (stall #1)\n"
    (tmp_path / ".claude/debug/00ea0000-0000-4000-8000-000000000000.txt").write_text(line)

    assert "No request is on record, but 1 silent stall is inferred, of 368 s." in diagnosed(tmp_path).stdout
    diagnosed(tmp_path, "--format", "issue", "--out", str(tmp_path / "issue.md"))
    page = (tmp_path / "issue.md").read_text()
    assert "Seen from 2026-04-14 to 2026-04-14" in page and "2. It does not stall on demand." in page


def test_a_directory_that_is_not_there_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything was read: nobody waits for a report that cannot be written."""

    def read(*_: object, **__: object) -> None:
        pytest.fail("it read the home first")

    monkeypatch.setattr("holdfast.cli.diagnose.diagnosed", read)
    result = diagnosed(tmp_path, "--out", str(tmp_path / "no" / "report.md"), code=1)
    assert "there is no directory" in result.stderr and "choose another place" in result.stderr
