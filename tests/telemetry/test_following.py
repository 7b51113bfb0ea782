"""Ended turns are read back from the journal, beside the loop that carries turns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.flight.journal import Journal
from holdfast.telemetry import following
from holdfast.telemetry.ended import EndedTurn
from holdfast.telemetry.following import Follower
from tests.flight.telling import at, short_turn, turn


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path, flush_every_s=0.01)
    yield journal
    journal.close()


def test_every_turn_is_handed_on_once(journal: Journal, tmp_path: Path) -> None:
    """Those that the journal has not written yet come with the next look."""
    seen: list[EndedTurn] = []
    follower = Follower(tmp_path, [seen.extend], look_every_s=0.01)
    late = short_turn(at(500), turn_id="late")
    for number in range(250):
        record = short_turn(at(number), turn_id=f"t{number:03}")
        journal.changed(record)
        follower(record)
    follower(late)
    assert journal.settle() and follower.catch_up(5)
    assert sorted(one["turn_id"] for one in seen) == [f"t{number:03}" for number in range(250)]
    assert seen[0].took_s == pytest.approx(1.8) and seen[0].moments[0].name == "RequestArrived"

    journal.changed(late)
    assert journal.settle() and follower.catch_up(5)
    assert [one["turn_id"] for one in seen[250:]] == ["late"] and follower.waiting == 0
    assert follower.close(5)


def test_a_turn_that_goes_on_is_waited_for(journal: Journal, tmp_path: Path) -> None:
    """Its row is there, its ending is not."""
    seen: list[EndedTurn] = []
    follower = Follower(tmp_path, [seen.extend], look_every_s=0.01)
    record = turn(turn_id="open")
    journal.changed(record)
    follower(record)
    assert journal.settle() and follower.catch_up(5)

    assert seen == [] and follower.waiting == 1
    follower.close(5)


def test_a_turn_that_was_never_written_is_given_up(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And counted, so that sums do not pretend to be whole."""
    monkeypatch.setattr(following, "TRIES", 3)
    follower = Follower(tmp_path, [lambda _: None], look_every_s=0.01)
    follower(short_turn(turn_id="lost"))
    for _ in range(3):
        assert follower.catch_up(5)

    assert (follower.waiting, follower.missed) == (0, 1)
    follower.close(5)


def test_memory_is_bounded_where_nobody_reads(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest ids go first."""
    monkeypatch.setattr(following, "WAITING_TURNS", 10)
    follower = Follower(tmp_path, [lambda _: None], look_every_s=60)
    for number in range(25):
        follower(turn(turn_id=f"t{number:02}"))

    assert (follower.waiting, follower.missed) == (10, 15)
    follower.close(5)


def test_a_taker_that_fails_ends_nothing(journal: Journal, tmp_path: Path) -> None:
    """Others are handed the same turns, and the thread goes on."""
    seen: list[EndedTurn] = []

    def broken(turns: list[EndedTurn]) -> None:
        raise ValueError("a defect")

    follower = Follower(tmp_path, [broken, seen.extend], look_every_s=0.01)
    for name in ("a", "b"):
        record = short_turn(turn_id=name)
        journal.changed(record)
        follower(record)
        assert journal.settle() and follower.catch_up(5)

    assert [one["turn_id"] for one in seen] == ["a", "b"]
    follower.close(5)


def test_a_journal_that_cannot_be_read_is_tried_again(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost meanwhile."""
    seen: list[EndedTurn] = []
    real, failures = following._read, [sqlite3.OperationalError("disk I/O error")]

    def once(*arguments: object) -> list[EndedTurn]:
        if failures:
            raise failures.pop()
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(following, "_read", once)
    follower = Follower(tmp_path, [seen.extend], look_every_s=0.01)
    record = short_turn(turn_id="a")
    journal.changed(record)
    follower(record)
    assert journal.settle() and follower.catch_up(5) and follower.catch_up(5)

    assert [one["turn_id"] for one in seen] == ["a"] and follower.missed == 0
    follower.close(5)


def test_what_is_left_at_the_end_is_read(tmp_path: Path) -> None:
    """The journal is closed first, and then this."""
    seen: list[EndedTurn] = []
    journal = Journal(tmp_path)
    follower = Follower(tmp_path, [seen.extend], look_every_s=60)
    record = short_turn(turn_id="last")
    journal.changed(record)
    follower(record)
    assert journal.close() and follower.close(5)

    assert [one["turn_id"] for one in seen] == ["last"]


def test_turns_that_could_not_be_told_on_are_counted(journal: Journal, tmp_path: Path) -> None:
    """A defect in one who is told costs the others nothing, and is seen in the counts."""

    def broken(turns: list[EndedTurn]) -> None:
        raise KeyError("took_s")

    seen: list[EndedTurn] = []
    follower = Follower(tmp_path, [broken, seen.extend], look_every_s=0.01)
    for number in range(3):
        record = short_turn(at(number), turn_id=f"t{number}")
        journal.changed(record)
        follower(record)
    assert journal.settle() and follower.catch_up(5) and follower.catch_up(5)

    assert len(seen) == follower.missed == 3
    follower.close(5)
