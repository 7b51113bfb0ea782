"""The attic: what is kept, for how long, and that it is whole."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.flight import moments as m
from holdfast.flight.attic import Attic, KeptAnswer, expired
from holdfast.flight.journal import PENDING_ANSWER_BYTES, Journal, Retention
from holdfast.flight.reading import open_library
from holdfast.flight.record import AnswerLost, InMemory
from holdfast.flight.schema import connect
from tests.flight.telling import NOON, end, turn

DAY_S = 86_400


def answer(turn_id: str, size: int = 10, age_s: float = 0) -> KeptAnswer:
    """An answer kept so long before noon."""
    return KeptAnswer(turn_id, size, True, "text/event-stream", NOON.wall_ms - int(age_s * 1000))


def names(directory: Path) -> list[str]:
    """What is in a directory."""
    return sorted(path.name for path in directory.iterdir())


def test_an_answer_is_kept_byte_for_byte(tmp_path: Path) -> None:
    """What the provider sent is what is kept, in a private file; a second keeping replaces the first."""
    journal = Journal(tmp_path)
    record = turn(turn_id="abc")
    journal.keep_answer(record, InMemory(b"first"), complete=False, content_type="text/event-stream")
    journal.keep_answer(
        record, InMemory(b"a\x00\xff" + b"b" * 100_000), complete=True, content_type="text/event-stream"
    )
    journal.answer_handed_over("abc")
    journal.close(10)
    with open_library(tmp_path) as library:
        assert library is not None
        [kept] = library.attic.answers()
        assert library.attic.read(kept) == b"a\x00\xff" + b"b" * 100_000
    assert (kept.size, kept.complete, kept.handed_over) == (100_003, True, True)
    assert stat.S_IMODE((tmp_path / "answers" / "abc.bin").stat().st_mode) == 0o600
    assert names(tmp_path / "answers") == ["abc.bin"]


def test_nothing_is_kept_where_nothing_is_to_be_recorded(tmp_path: Path) -> None:
    """`--record none` leaves no answer on disk; the flight is still written."""
    journal = Journal(tmp_path, record="none")
    journal.keep_answer(turn(), InMemory(b"x"), complete=True, content_type="text/event-stream")
    journal.changed(end(turn(), 1))
    journal.close(10)
    assert not (tmp_path / "answers").exists()
    with open_library(tmp_path) as library:
        assert library is not None and len(library.recent(5)) == 1 and library.attic.answers() == []


def test_an_answer_that_cannot_be_read_any_more_holds_up_no_other(tmp_path: Path) -> None:
    """It is counted as dropped; half of it is not in the attic."""

    class Gone(InMemory):
        def pieces(self) -> Iterator[bytes]:
            yield self.data
            raise AnswerLost("the file is shorter")

    journal = Journal(tmp_path)
    journal.keep_answer(turn(turn_id="t1"), Gone(b"half"), complete=True, content_type="x")
    journal.keep_answer(turn(turn_id="t2"), InMemory(b"whole"), complete=True, content_type="x")
    assert journal.close(10)
    assert journal.dropped_answers == 1
    with open_library(tmp_path) as library:
        assert library is not None and [one.turn_id for one in library.attic.answers()] == ["t2"]
        assert [file.name for file in library.attic.directory.iterdir()] == ["t2.bin"]


def test_answers_in_memory_are_bounded(tmp_path: Path) -> None:
    """While the disk is slow, answers beyond the bound are dropped and counted; the gateway never waits."""
    journal = Journal(tmp_path, flush_every_s=60)
    held = journal._attic.keep
    journal._attic.keep = lambda *_: time.sleep(0.2)  # type: ignore[method-assign]
    piece = bytes(PENDING_ANSWER_BYTES // 4 * 3)
    for number in range(4):
        journal.keep_answer(turn(turn_id=f"t{number}"), InMemory(piece), complete=True, content_type="x")
    assert journal.dropped_answers >= 2
    journal._attic.keep = held  # type: ignore[method-assign]
    journal.close(10)


def test_the_attic_is_trimmed_as_it_fills(tmp_path: Path) -> None:
    """The total size holds at once, not only at the next hour; the newest answers stay."""
    journal = Journal(tmp_path, retention=Retention(answers_bytes=250))
    for number in range(5):
        journal.keep_answer(turn(turn_id=f"t{number}"), InMemory(bytes(100)), complete=True, content_type="x")
    journal.keep_answer(turn(turn_id="giant"), InMemory(bytes(251)), complete=True, content_type="x")
    journal.close(10)
    with open_library(tmp_path) as library:
        assert library is not None
        assert {one.turn_id for one in library.attic.answers()} == {"t3", "t4"}
    assert names(tmp_path / "answers") == ["t3.bin", "t4.bin"] and journal.dropped_answers == 1


def test_age_then_size_decide_what_goes() -> None:
    """A week is the limit for each, a total for all, the oldest first."""
    answers = [
        answer("new", 50),
        answer("mid", 60, 2 * DAY_S),
        answer("old", 10, 6 * DAY_S),
        answer("past", 1, 8 * DAY_S),
    ]
    assert expired(answers, 7 * DAY_S, 1000, NOON.wall_ms) == ["past"]
    assert expired(answers, 7 * DAY_S, 110, NOON.wall_ms) == ["old", "past"]
    assert expired(answers, 7 * DAY_S, 0, NOON.wall_ms) == ["new", "mid", "old", "past"]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 20 * DAY_S))), st.integers(0, 500))
def test_what_stays_is_young_and_fits(given_answers: list[tuple[int, int]], total: int) -> None:
    """Whatever is in the attic, expiry leaves no more than the total, and nothing past its age."""
    answers = [answer(f"t{number}", size, age) for number, (size, age) in enumerate(given_answers)]
    gone = set(expired(answers, 7 * DAY_S, total, NOON.wall_ms))
    stay = [one for one in answers if one.turn_id not in gone]
    assert sum(one.size for one in stay) <= total
    assert all(one.kept_wall_ms >= NOON.wall_ms - 7 * DAY_S * 1000 for one in stay)


def test_leftovers_of_a_killed_process_are_tidied(tmp_path: Path) -> None:
    """Half-written files and rows without a file go; a fresh file, perhaps being written now, stays."""
    connection = connect(tmp_path)
    attic = Attic(tmp_path, connection)
    attic.keep(answer("whole"), [b"0123456789"])
    attic.keep(answer("lost"), [b"0123456789"])
    (attic.directory / "lost.bin").unlink()
    old, fresh = attic.directory / ".abc.12345678", attic.directory / ".abd.12345678"
    old.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(old, (NOON.wall_ms / 1000 - 7200,) * 2)
    os.utime(fresh, (NOON.wall_ms / 1000 - 60,) * 2)
    attic.expire(7 * DAY_S, 1000, NOON.wall_ms)
    assert [one.turn_id for one in attic.answers()] == ["whole"]
    assert names(attic.directory) == [".abd.12345678", "whole.bin"]
    connection.close()


@pytest.mark.parametrize("turn_id", ["../evil", "a/b", "", ".", "A" * 65, "a\x00"])
def test_an_id_that_is_no_turn_id_names_no_file(tmp_path: Path, turn_id: str) -> None:
    """No path is ever made of anything but a turn's id."""
    connection = connect(tmp_path)
    with pytest.raises(ValueError, match="not a turn id"):
        Attic(tmp_path, connection).keep(answer(turn_id), [b"x"])
    assert Attic(tmp_path, connection).remove([turn_id]) == 0
    connection.close()


def test_the_moment_says_what_was_kept(tmp_path: Path) -> None:
    """A turn with an answer in the attic shows its size."""
    journal = Journal(tmp_path)
    record = turn(turn_id="abc")
    record.note(NOON, m.AnswerKept(5, False))
    journal.changed(end(record, 1))
    journal.keep_answer(record, InMemory(b"12345"), complete=False, content_type="text/event-stream")
    journal.close(10)
    with open_library(tmp_path) as library:
        assert library is not None and library.find("abc")[0].kept_bytes == 5
