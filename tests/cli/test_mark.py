"""`holdfast mark`: a note of one's own on the timeline."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from holdfast.flight import instant, marks
from holdfast.flight.forgetting import forget_before
from holdfast.flight.instant import Instant
from holdfast.flight.reading import open_library
from tests.cli.viewed import recorded, typed
from tests.flight.telling import HUNG_UP, NOON, at, end, short_turn, turn


def test_a_mark_needs_no_gateway_and_no_journal(tmp_path: Path) -> None:
    """Set, listed, taken away; JSON for programs."""
    said = typed(tmp_path, "mark", "moved", "to", "Ethernet")
    assert (
        said.exit_code == 0 and said.stdout.startswith("Marked 1 at ") and "moved to Ethernet" in said.stdout
    )
    head, line = typed(tmp_path, "mark", "--list").stdout.splitlines()
    assert (
        head.split() == ["ID", "WHEN", "MARK"]
        and line.startswith("1 ")
        and line.endswith("moved to Ethernet")
    )
    [found] = [json.loads(one) for one in typed(tmp_path, "mark", "--list", "--json").stdout.splitlines()]
    assert found["text"] == "moved to Ethernet" and abs(found["wall_ms"] - instant.now().wall_ms) < 60_000
    assert "Removed 1 at " in typed(tmp_path, "mark", "--remove", "1").stdout
    assert typed(tmp_path, "mark", "--remove", "1").exit_code == 1
    assert typed(tmp_path, "mark", "--list").exit_code == 1


def test_marks_need_no_turn_to_be_listed(tmp_path: Path) -> None:
    """Where none is set it is said how to set one, whether anything was ever recorded or not."""
    for _ in range(2):
        result = typed(tmp_path, "mark", "--list")
        assert result.exit_code == 1 and 'holdfast mark "moved to Ethernet"' in result.stderr
        assert "carry a turn" not in result.stderr
        typed(tmp_path, "mark", "x")
        typed(tmp_path, "mark", "--remove", "1")


def test_a_removed_marks_id_is_not_given_out_again(tmp_path: Path) -> None:
    """Who noted `mark 2` means that one. Of its text nothing is kept, and it shows nowhere."""
    recorded(tmp_path, short_turn())
    typed(tmp_path, "mark", "first")
    typed(tmp_path, "mark", "quokka")
    typed(tmp_path, "mark", "--remove", "2")

    assert typed(tmp_path, "mark", "third").stdout.startswith("Marked 3 ")
    assert typed(tmp_path, "mark", "--remove", "2").exit_code == 1
    assert "removed" not in typed(tmp_path, "flights").stdout
    assert "quokka" not in typed(tmp_path, "flights", "--sql", "SELECT * FROM note").stdout


def test_a_line_of_advice_is_no_note(tmp_path: Path) -> None:
    """Pasted whole, it would be a mark of something that never was; in quotes it is meant."""
    pasted = ["moved to Ethernet,", "and", "a", "week", "later:", "holdfast", "diagnose"]
    result = typed(tmp_path, "mark", *pasted)
    assert result.exit_code == 2 and "`holdfast diagnose` in a note" in result.stderr
    assert typed(tmp_path, "mark", "ran holdfast diagnose").exit_code == 0
    assert typed(tmp_path, "mark", "updated", "holdfast").exit_code == 0


def test_no_key_and_no_control_character_is_kept(tmp_path: Path) -> None:
    """What people paste may hold anything."""
    typed(tmp_path, "mark", "new key sk-ant-api03-abcdefgh1234 set\x1b[2J\nnext")
    said = typed(tmp_path, "mark", "--list", "--json").stdout
    assert json.loads(said)["text"] == "new key [removed] set\\x1b[2J next"
    assert b"abcdefgh1234" not in b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


def test_a_mark_of_anybody_else_is_cleaned_when_it_is_shown(tmp_path: Path) -> None:
    """The journal may have been written by another version, or by hand."""
    typed(tmp_path, "mark", "moved")
    with sqlite3.connect(tmp_path / "journal.sqlite") as journal:
        journal.execute("UPDATE note SET text = ?", ("\x1b[2Jmoved",))
    for command in (["mark", "--list"], ["mark", "--remove", "1"]):
        said = typed(tmp_path, *command).stdout
        assert "\\x1b[2Jmoved" in said and "\x1b" not in said


def test_marks_stand_between_the_turns_where_they_fall(tmp_path: Path) -> None:
    """Before, between and after; older ones than the first turn shown are not; JSON stays one turn per line."""
    recorded(tmp_path, short_turn(turn_id="aaa"), short_turn(at(600), turn_id="bbb"))
    for seconds, text in ((-5, "long before"), (300, "moved to Ethernet"), (900, "rebooted")):
        marks.add(tmp_path, text, at(seconds).wall_ms)
    lines = typed(tmp_path, "flights").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["TURN", "aaa", "mark", "bbb", "mark"]
    assert lines[2].endswith("moved to Ethernet") and lines[4].endswith("rebooted")
    assert len(typed(tmp_path, "flights", "--json").stdout.splitlines()) == 2


def test_a_library_gives_the_marks_of_a_span(tmp_path: Path) -> None:
    """Both ends included, in the order of the clock and not of writing."""
    recorded(tmp_path, short_turn())
    for seconds in (30, 10, 20):
        marks.add(tmp_path, f"after {seconds} s", at(seconds).wall_ms)
    with open_library(tmp_path) as library:
        assert library is not None
        assert [one.text for one in library.marks()] == ["after 10 s", "after 20 s", "after 30 s"]
        assert [one.text for one in library.marks(at(10).wall_ms, at(20).wall_ms)] == [
            "after 10 s",
            "after 20 s",
        ]
        assert repr(library.marks(at(30).wall_ms)[0]) == "<Mark 1 'after 30 s'>"


def test_a_mark_can_be_set_for_an_earlier_time_and_is_forgotten_like_a_turn(tmp_path: Path) -> None:
    """One remembers a little later what one did."""
    typed(tmp_path, "mark", "--at", "2h", "switched the VPN off")
    [earlier] = [json.loads(typed(tmp_path, "mark", "--list", "--json").stdout)]
    assert abs(instant.now().wall_ms - 7_200_000 - earlier["wall_ms"]) < 60_000
    assert typed(tmp_path, "mark", "--list", "--since", "1h").exit_code == 1
    forget_before(tmp_path, instant.now().wall_ms - 3_600_000)
    assert typed(tmp_path, "mark", "--list").exit_code == 1


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    """Exit code 2, and what to type."""
    for wrong in (
        [],
        ["--list", "text"],
        ["  "],
        ["--at", "1h", "--list"],
        ["--at", "2999-01-01", "x"],
        ["--since", "1h", "x"],
        ["--at", "99999999w", "x"],
    ):
        assert typed(tmp_path, "mark", *wrong).exit_code == 2, wrong
    assert 'holdfast mark "moved to Ethernet"' in typed(tmp_path, "mark").stderr
    assert not (tmp_path / "journal.sqlite").exists()


def test_a_mark_that_is_not_there_is_told_whatever_its_number(tmp_path: Path) -> None:
    """Larger than any that the journal could hold, too."""
    typed(tmp_path, "mark", "moved")
    for number in ("2", "9" * 23):
        result = typed(tmp_path, "mark", "--remove", number)
        assert result.exit_code == 1 and "holdfast mark --list" in result.stderr


def test_a_loop_is_told_below_the_turns(tmp_path: Path) -> None:
    """The same request three times: three lines, and one sentence for all of them."""
    turns = [
        end(turn(Instant(NOON.mono_s + s, NOON.wall_ms + s * 1000), turn_id=f"t{s}"), 299, HUNG_UP)
        for s in (0, 300, 600)
    ]
    for record in turns:
        record.request_key, record.attempts = "0123", 1
    recorded(tmp_path, *turns)
    assert typed(tmp_path, "flights").stdout.splitlines()[-1] == (
        "The same request, 3 times, 300 s apart: each time the client reset the connection inside a tool call "
        "(C.rst.tool); 3 turns, asked upstream 3 times; tokens not measured. The first: holdfast flight t0"
    )
