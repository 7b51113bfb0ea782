"""`holdfast flights`: recent turns, one line each."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.flights import HEAD, _line, row
from holdfast.flight import instant
from holdfast.flight import moments as m
from holdfast.flight.instant import Instant
from holdfast.flight.journal import Journal
from holdfast.flight.reading import open_library
from tests.cli.viewed import recorded, typed
from tests.flight.telling import HUNG_UP, NOON, at, end, frozen_turn, short_turn, tell, turn


def test_each_turn_is_one_line_the_newest_last(tmp_path: Path) -> None:
    """Id, time, client, model, ending, duration, silence, and what was saved."""
    gone = end(turn(at(900), turn_id="ccc"), 9, HUNG_UP)
    recorded(tmp_path, short_turn(turn_id="aaa"), frozen_turn(at(60), turn_id="bbb"), gone)
    result = typed(tmp_path, "flights")
    head, *lines = [line.split() for line in result.stdout.splitlines()]
    assert (
        result.exit_code == 0 and head[0] == "TURN" and [line[0] for line in lines] == ["aaa", "bbb", "ccc"]
    )
    joined = [" ".join(line[3:]) for line in lines]
    assert joined[0] == "claude-code 2.1.114 claude-sonnet-4-5 done 1.80 s -"
    assert joined[1].endswith("done 330 s 304 s saved from silence past 300 s, 1 not generated again")
    assert joined[2].endswith("C.rst.tool 9.00 s -")


def test_a_terminal_of_80_columns_shows_each_turn_unbroken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the model; silence and note stand below. What is piped is as wide as ever."""
    recorded(tmp_path, short_turn(turn_id="aaa"), frozen_turn(at(60), turn_id="bbb"))
    with open_library(tmp_path) as library:
        assert library is not None
        rows = [HEAD, *(row(one, instant.now()) for one in library.recent(2)[::-1])]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(HEAD) - 1)] + [0]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    said = [_line(cells, widths) for cells in rows]
    assert [line.split()[0] for line in said] == ["TURN", "aaa", "bbb"] and "sonnet" not in "".join(said)
    assert (
        said[2].splitlines()[1] == "  silent for 304 s, saved from silence past 300 s, 1 not generated again"
    )
    assert all(len(line) <= 80 for one in said for line in one.splitlines())
    monkeypatch.setenv("COLUMNS", "120")
    assert "sonnet" in _line(rows[1], widths)


def test_what_does_not_fit_gives_way_the_client_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of one short word makes room for a long ending; a long one is cut; no line is ever wrapped."""
    ended = "502 P.refused.connect!"
    short = ("1m8sh3wwc57vvp", "11-21 22:10:03", "unknown", "claude-sonnet-4-5", ended, "1.20 s", "-", "")
    long = (*short[:2], "claude-code 2.1.114 (sdk)", *short[3:7], "word " * 30)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for room in (60, 80, 100):
        monkeypatch.setenv("COLUMNS", str(room))
        for cells in (short, long):
            widths = [max(len(one) for one in pair) for pair in zip(HEAD, cells, strict=True)]
            said = [_line(HEAD, [*widths[:-1], 0]), _line(cells, [*widths[:-1], 0])]
            assert all(len(line) <= room for one in said for line in one.splitlines())
            assert room == 60 or ended in said[1]
            assert room == 60 or ("unknown" in said[1]) == (cells is short)
            assert "ENDED" in said[0] and said[0].index("ENDED") == said[1].index("502")


def test_json_is_one_object_per_line(tmp_path: Path) -> None:
    """A program reads what a person reads, with numbers."""
    recorded(tmp_path, short_turn(turn_id="aaa"), frozen_turn(at(60), turn_id="bbb"))
    lines = [json.loads(line) for line in typed(tmp_path, "flights", "--json").stdout.splitlines()]
    assert [line["turn_id"] for line in lines] == ["aaa", "bbb"]
    assert lines[1]["longest_quiet_s"] == 304.0 and lines[1]["ending_code"] == "-.end.after"
    assert lines[0]["took_s"] == pytest.approx(1.8) and lines[0]["started_wall_ms"] == NOON.wall_ms


def test_limit_and_since_choose(tmp_path: Path) -> None:
    """The newest so many, or those of the last so long."""
    now = instant.now()
    hour_ago = Instant(now.mono_s, now.wall_ms - 3_600_000)
    recorded(tmp_path, short_turn(hour_ago, turn_id="aaa"), short_turn(now, turn_id="bbb"))
    newest = typed(tmp_path, "flights", "--limit", "1")
    assert (
        "aaa" not in newest.stdout and "This is the newest; for more: holdfast flights -n 5" in newest.stderr
    )
    assert "aaa" not in typed(tmp_path, "flights", "--since", "30m").stdout
    assert "aaa" in typed(tmp_path, "flights", "--since", "2h").stdout
    assert "aaa" in typed(tmp_path, "flights", "--since", "2020-01-01").stdout
    wrong = typed(tmp_path, "flights", "--since", "yesterday")
    assert wrong.exit_code == 2 and "2h, 7d" in wrong.stderr


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """A model's name with escape sequences is shown as escapes, in both forms of output."""
    record = end(turn(turn_id="aaa"), 1)
    record.model = "\x1b]0;owned\x07\u202e"
    recorded(tmp_path, record)
    for options in ([], ["--json"]):
        printed = typed(tmp_path, "flights", *options).stdout
        assert "owned" in printed and not {"\x1b", "\x07", "\u202e"} & set(printed)


def test_nothing_recorded_says_what_to_do(tmp_path: Path) -> None:
    """Exit code 1, and how to get a first turn; no directory is made."""
    result = typed(tmp_path / "none", "flights")
    assert result.exit_code == 1 and "holdfast run -- claude" in result.stderr
    assert not (tmp_path / "none").exists()


def test_a_newer_journal_is_explained(tmp_path: Path) -> None:
    """The advice of the journal is passed on."""
    recorded(tmp_path, short_turn())
    import sqlite3

    sqlite3.connect(tmp_path / "journal.sqlite").execute("PRAGMA user_version = 99")
    result = typed(tmp_path, "flights")
    assert result.exit_code == 1 and "upgrade holdfast" in result.stderr


def test_follow_shows_a_turn_when_it_begins_and_when_it_ends(tmp_path: Path) -> None:
    """The command goes on watching a gateway in another process, which may write a turn down seconds after it began."""
    journal = Journal(tmp_path, flush_every_s=0.02)
    env = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "HOLDFAST_STATE_DIR": str(tmp_path),
        "PYTHONUNBUFFERED": "1",
    }
    follower = subprocess.Popen(
        [sys.executable, "-m", "holdfast", "flights", "--follow"], env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline().startswith("TURN")
        now = instant.now()
        begun = instant.Instant(now.mono_s - 3, now.wall_ms - 3000)
        record = tell(turn(begun, turn_id="aaa"), (0.1, m.AttemptStarted(1)))
        journal.changed(record)
        assert " running " in follower.stdout.readline()
        journal.changed(end(record, 3))
        line = follower.stdout.readline()
        assert line.startswith("aaa ") and " done " in line
    finally:
        follower.kill()
        follower.communicate()
        journal.close()


@pytest.mark.parametrize(
    "moments", ['[7,[1,2],{"a":1},["x","y","z",{}],[1.0,2,"New",{}]]', '{"a":1}', "7", "[", ""]
)
def test_moments_that_are_none_hide_no_turn(tmp_path: Path, moments: str) -> None:
    """Another version's, or a damaged page's: the other turns are told, and of this one what is left."""
    recorded(tmp_path, short_turn(turn_id="aaa"), short_turn(turn_id="bbb"), turn(turn_id="ccc"))
    with sqlite3.connect(tmp_path / "journal.sqlite") as journal:
        journal.execute("UPDATE turn SET moments = ? WHERE turn_id != 'bbb'", (moments,))
        journal.execute("UPDATE turn SET ending_code = NULL WHERE turn_id = 'ccc'")
    said = typed(tmp_path, "flights")
    assert said.exit_code == 0 and all(name in said.stdout for name in ("aaa", "bbb", "ccc")), said.stderr
    assert typed(tmp_path, "flight", "aaa").exit_code == 0


def test_a_damaged_journal_is_called_so(tmp_path: Path) -> None:
    """To try again would not help."""
    recorded(tmp_path, *(short_turn(at(i), turn_id=f"t{i}") for i in range(30)))
    path = tmp_path / "journal.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[:20_000] + b"\0" * (len(whole) - 20_000))
    said = typed(tmp_path, "flights")
    assert said.exit_code == 1 and "move" in said.stderr and "try again" not in said.stderr


def test_help_has_an_example(tmp_path: Path) -> None:
    """And names its exit codes."""
    for command in ("flights", "flight", "attic", "explain", "forget"):
        said = typed(tmp_path, command, "--help").stdout
        assert f"  holdfast {command}" in said and "Exit codes: 0 done, 1" in said
    for command in ("list", "show", "save", "rm"):
        assert f"  holdfast attic {command}" in typed(tmp_path, "attic", command, "--help").stdout


def test_a_list_that_is_not_the_whole_says_so(tmp_path: Path) -> None:
    """On stderr, so that whoever reads the lines is not disturbed."""
    recorded(tmp_path, short_turn(turn_id="a1"), short_turn(turn_id="a2"), short_turn(turn_id="a3"))

    assert "for more: holdfast flights -n 10" in typed(tmp_path, "flights", "-n", "2").stderr
    assert "for more" not in typed(tmp_path, "flights").stderr


def test_requests_that_were_refused_stand_between_the_turns(tmp_path: Path) -> None:
    """They are no turns; an operator whose clients are all refused must still see why."""
    journal = Journal(tmp_path, clock=lambda: at(30))
    journal.tell("refused", "refused 3 requests: 401 this gateway wants its access token (3)")
    assert journal.close(10)
    alone = typed(tmp_path, "flights")
    assert alone.exit_code == 0 and "401 this gateway wants its access token (3)" in alone.stdout
    assert typed(tmp_path, "flights", "--json").exit_code == 1

    recorded(tmp_path, short_turn(turn_id="aaa"), short_turn(at(60), turn_id="bbb"))
    lines = typed(tmp_path, "flights").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["TURN", "aaa", "refused", "bbb"]
    assert typed(tmp_path, "flights", "--json").stdout.count("\n") == 2
