"""Answers that were cut: which became whole, and which did not."""

from __future__ import annotations

import msgspec

from holdfast.flight import cuts, flights
from holdfast.flight.cuts import Row
from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side
from holdfast.flight.record import TurnRecord
from tests.flight.telling import NOON, at, end, turn

LATER_MS = NOON.wall_ms + 3_600_000
LOST = Ending(Side.PROVIDER, Mechanism.RST, Phase.IN_TEXT)


def asked(seconds: float, name: str, *, cut: bool = True, size: int = 50_000) -> TurnRecord:
    """A turn of a tenth of a second that was cut, or ended by itself."""
    record = turn(at(seconds), turn_id=name)
    record.request_bytes = size
    if cut:
        record.healed, record.breaks, record.saved_from = "cut", "P.rst.tool+cut", "a broken answer"
    return end(record, 0.1)


def in_a_row(count: int) -> list[TurnRecord]:
    return [asked(n * 0.12, f"c{n}", size=50_000 + 300 * n) for n in range(count)]


def row_of(*records: TurnRecord, now_wall_ms: int = LATER_MS) -> Row:
    return cuts.rows(records, now_wall_ms)["c0"]


def test_a_rest_that_comes_makes_the_answer_whole() -> None:
    """Twice cut, and then an end of upstream's own: healed, as it is told."""
    row = row_of(*in_a_row(2), asked(0.24, "rest", cut=False, size=51_000))
    assert row.whole and not row.lost and row.cuts == 2
    assert flights.outcome(in_a_row(1)[0], row=row) == "done"


def test_four_cuts_in_a_row_lose_the_turn() -> None:
    """Claude Code asks three times for a rest; what is asked afterwards is another question."""
    tried = in_a_row(4)
    row = row_of(*tried, asked(0.6, "next", cut=False, size=60_000))
    assert row.lost and row.used_up
    assert "token maximum" in row.sentence() and "cut 4 times, and never became whole" in row.sentence()
    assert flights.outcome(tried[3], row=row) == "cut"
    assert flights.saved(tried[3], row=row) == "cut 4 times, never whole: the turn was lost (P.rst.tool+cut)"
    assert flights.saved(tried[0], row=row) == "cut 1 of 4, never whole (P.rst.tool+cut)"


def test_a_request_beside_it_is_not_the_rest() -> None:
    """A title of 2 kB was asked for at the same time: it makes nothing whole."""
    row = row_of(*in_a_row(2), asked(0.2, "title", cut=False, size=2_000))
    assert row.lost and not row.used_up and "token maximum" not in row.sentence()


def test_another_agent_s_answer_is_not_the_rest() -> None:
    """Rests are looked for in the same session and the same agent."""
    other = msgspec.structs.replace(asked(0.2, "other", cut=False), subagent="a1")
    assert row_of(*in_a_row(1), other).lost


def test_a_rest_that_failed_leaves_it_lost_and_is_named() -> None:
    """Unless the client asks again and gets it."""
    failed = end(turn(at(0.12), turn_id="failed"), 0.1, LOST)
    failed.request_bytes = 50_300
    row = row_of(*in_a_row(1), failed)
    assert row.lost and "failed (P.rst.text)" in row.sentence()
    assert row_of(*in_a_row(1), failed, asked(5, "again", cut=False, size=50_300)).whole


def test_nothing_is_called_lost_while_a_rest_may_come() -> None:
    """Neither at once after the cut, nor while the rest is being answered."""
    (first,) = in_a_row(1)
    assert not row_of(first, now_wall_ms=NOON.wall_ms + 1_000).lost
    running = turn(at(0.12), turn_id="running")
    assert not row_of(first, running).lost
    assert row_of(first).lost


def test_a_rest_asked_for_much_later_is_a_question_of_its_own() -> None:
    """The client asks at once or not at all."""
    assert row_of(*in_a_row(1), asked(120, "later", cut=False, size=60_000)).lost


def test_rows_that_nobody_closes_are_bounded() -> None:
    """A gateway of many sessions remembers the newest thousand."""
    rows = cuts.Rows()
    for number in range(cuts.MOST_OPEN + 5):
        rows.add(msgspec.structs.replace(asked(0, f"c{number}"), session=f"s{number}", ending=COMPLETED))
    assert len(rows.never_whole(NOON.wall_ms)) == 5


def test_what_was_lost_is_counted_for_good() -> None:
    """A row that may still become whole is not lost yet; what is lost stays counted when its row is forgotten."""
    followed = cuts.Rows()
    for record in [*in_a_row(4), asked(9.0, "another")]:
        followed.add(record)

    assert [followed.lost_by(NOON.wall_ms + after_ms) for after_ms in (10_000, LATER_MS)] == [1, 2]
    assert followed.lost_by(LATER_MS) == 2
