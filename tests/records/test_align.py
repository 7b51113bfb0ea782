"""How far another clock is from ours, found out from what both saw."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from holdfast.records.align import align, natural, shown
from holdfast.records.match import match
from holdfast.records.sighting import Sighting, span
from holdfast.records.verdict import Verdict
from tests.records.told import LEFT, NOON_S, legs, one, seen, turn

HOUR = 3600.0
ZONE = 5 * HOUR + 45 * 60
TOOK = (2.2, 41.7, 8.4, 300.2, 17.3, 3.9)
DAY = [turn(f"t{n}", NOON_S + n * 400, took) for n, took in enumerate(TOOK)]
"Six turns, each with a duration of its own."


def log(ahead_s: float, *, precision_s: float = 0.001, only: int = 6) -> list[Sighting]:
    """What a proxy with such a clock writes of those turns: their ends, in its precision."""
    found = []
    for n, took in enumerate(TOOK[:only]):
        end = (NOON_S + n * 400 + took + ahead_s) // precision_s * precision_s
        when = span(None, end, took)
        found.append(
            Sighting(
                "proxy",
                n + 1,
                "200",
                when.began_s,
                when.ended_s,
                precision_s,
                path="/v1/messages",
                took_s=took,
            )
        )
    return found


@pytest.mark.parametrize(
    "ahead_s", [0.0, 3.2, -3.2, 8 * HOUR, ZONE, -ZONE + 30 * 60, 8 * HOUR + 3.2, -11.5 * HOUR]
)
@pytest.mark.parametrize("precision_s", [0.001, 1.0])
def test_a_pattern_of_durations_gives_the_offset(ahead_s: float, precision_s: float) -> None:
    """Seconds, hours, 30- and 45-minute zones, and a skew on top of a zone; also from whole seconds."""
    clock = align(log(ahead_s, precision_s=precision_s), legs(*DAY))
    assert clock.ahead_s == pytest.approx(ahead_s, abs=max(precision_s, 0.01))
    assert clock.sure and "by 6 of 6 requests" in clock.words


def test_report_1_is_eight_hours_and_said_to_be_likely() -> None:
    """One abort at 10:23:17 here and at 18:23:17 there: only whole hours make them one event."""
    told = turn("frozen", NOON_S, 296.4, LEFT)
    lines = seen(
        "2026-03-28 18:23:17 onAbort received, abort stream\n2026-03-28 18:23:17 Stream aborted when iterate"
    )
    clock = align(lines, legs(told))
    assert clock.ahead_s == pytest.approx(8 * HOUR, abs=1) and not clock.sure
    assert "8 h ahead of ours" in clock.words and "likely, not sure" in clock.words

    matched = match(lines, legs(told), clock)
    assert [(m.leg.turn_id, m.verdict) for m in matched.matches] == [
        ("frozen", Verdict.AGREES),
        ("frozen", Verdict.SILENT),
    ]


def test_two_offsets_that_explain_as_much_are_no_answer() -> None:
    """A line that fits the end of one turn by 8 hours and of another by 7: both are said, none is taken."""
    two = [turn("first", NOON_S, 296.4, LEFT), turn("second", NOON_S + HOUR, 296.4, LEFT)]
    lines = seen("2026-03-28 18:23:17 onAbort received, abort stream")
    clock = align(lines, legs(*two))
    assert clock.ahead_s is None and "7 h ahead of ours or 8 h ahead of ours" in clock.words
    assert match(lines, legs(*two), clock).unplaced == lines


def test_a_difference_that_no_zone_makes_needs_more_than_one_event() -> None:
    """Any line can be put to any turn by some offset; one without a duration proves nothing."""
    lines = seen("2026-03-28 13:07:44 onAbort received, abort stream")
    assert align(lines, legs(turn("frozen", NOON_S, 296.4, LEFT))).ahead_s is None


def test_one_request_with_a_duration_of_its_own_may_lie_at_any_offset() -> None:
    """300.2 s twice is no accident, but one request is not sure either."""
    clock = align(log(-47 * 60.0)[3:4], legs(*DAY))
    assert clock.ahead_s == pytest.approx(-47 * 60) and not clock.sure


def test_ids_come_before_any_pattern() -> None:
    """One common request id outweighs all durations, which another day's traffic may share."""
    known = msgspec.structs.replace(DAY[3].record, request_id="req_known1")
    turns = [*DAY[:3], replace(DAY[3], record=known), *DAY[4:]]
    lines = log(0.0)
    sure = replace(lines[3], ids=("req_known1",), began_s=NOON_S + 1200 + 2 * HOUR, ended_s=None)
    clock = align([*lines, sure], legs(*turns))
    assert clock.ahead_s == pytest.approx(2 * HOUR) and clock.sure and "by a matching id" in clock.words


def test_this_machines_own_zone_is_the_most_natural() -> None:
    """HAProxy beside us writes local time: among equals that zone wins, elsewhere none."""
    two = [turn("first", NOON_S, 296.4, LEFT), turn("second", NOON_S + HOUR, 296.4, LEFT)]
    lines = seen("2026-03-28 12:23:17.4 client disconnected")
    assert align(lines, legs(*two), local_zone_s=2 * HOUR).ahead_s == pytest.approx(2 * HOUR)
    assert align(lines, legs(*two), local_zone_s=5 * HOUR).ahead_s is None


def test_without_times_or_traffic_there_is_no_clock() -> None:
    """And it is said which of the two is missing."""
    assert "no times" in align([one("API Error: Request timed out.")], legs(*DAY)).words
    other = [replace(line, path="/favicon.ico") for line in log(0.0)]
    assert "nothing in it" in align(other, legs(*DAY)).words


@pytest.mark.parametrize(
    ("ahead_s", "words"),
    [
        (0.01, "the same as ours"),
        (3.2, "3.20 s ahead of ours"),
        (-8 * HOUR, "8 h behind ours"),
        (ZONE, "5 h 45 min ahead of ours"),
        (8 * HOUR + 3.2, "8 h and 3.20 s ahead of ours"),
        (8 * HOUR - 3.2, "8 h less 3.20 s ahead of ours"),
        (-30 * 60 - 2, "30 min and 2.00 s behind ours"),
    ],
)
def test_an_offset_in_words(ahead_s: float, words: str) -> None:
    """Zone and skew are told apart."""
    assert shown(ahead_s) == words


def test_what_is_natural() -> None:
    """No difference, or this machine's zone, before whole hours, before half hours, before all else."""
    order = [0.0, 8 * HOUR, ZONE, 8 * HOUR + 40, 47 * 60.0]
    ranks = [natural(ahead, zone_known=False, local_zone_s=0.0) for ahead in order]
    assert ranks == sorted(ranks, reverse=True) and len(set(ranks)) == 5
    assert natural(8 * HOUR, zone_known=True, local_zone_s=8 * HOUR) < 4, (
        "its zone is known: no hours are free"
    )


def test_among_many_turns_one_event_proves_no_zone() -> None:
    """Of a hundred ends in a day, some lies whole hours and a second from any line: that is chance, and said."""
    many = [turn(f"t{n}", NOON_S + n * 397.3, 20.0, LEFT) for n in range(100)]
    line = seen("2026-03-28 18:23:17 onAbort received, abort stream")
    near = [told for told in many if abs((told.record.started.wall_ms / 1000 + 20 - NOON_S - 296) % 3600) > 5]
    clock = align(line, legs(*near, turn("frozen", NOON_S, 296.4, LEFT)))
    assert clock.ahead_s is None and ("by chance" in clock.words or "nothing tells them apart" in clock.words)
