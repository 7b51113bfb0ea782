"""Counts: each population of a hand-made report, rebuilt from a home that has it, and what its author overlooked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from holdfast.diagnosis import tables
from holdfast.diagnosis.engine import Engine
from holdfast.sessions.corpus import update
from holdfast.sessions.frames import frames
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store
from tests.sessions.written import MORNING_MS, Pen

Rows = list[dict[str, Any]]
Count = Callable[..., Rows]

LADDER = (
    (110, 70), (40, 9), (31, 4), (27, 3), (24, 1), (23, 2), (21, 3), (18, 1), (17, 3), (14, 0),
)  # fmt: skip
"How many chains reached each step in the hand-made report, and how many recovered there."


def session(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def counted(home: Path, pens: Sequence[Pen]) -> Engine:
    """What the tables say of a home with these conversations."""
    for pen in pens:
        pen.saved(home)
    store = Store(None, now_ms=MORNING_MS)
    update(store, transcripts(roots(home))[0])
    return Engine(frames(store))


def picked(rows: Rows, *names: str) -> list[Any]:
    """Columns of rows; plain values for one."""
    return [row[names[0]] if len(names) == 1 else tuple(row[name] for name in names) for row in rows]


def test_the_report_s_retry_ladder(tmp_path: Path) -> None:
    """110 chains, 325 errors; and the two columns that its author left out: how chains ended, and who still failed."""
    pens = []
    number = 0
    for step, (reached, recovered) in enumerate(LADDER, 1):
        beyond = LADDER[step][0] if step < len(LADDER) else 0
        for which in range(reached - beyond):
            number += 1
            pen = Pen(session(number), at_ms=MORNING_MS + number * 600_000).asks().answers(f"msg_{number}a")
            for attempt in range(1, step + 1):
                pen.after(30).fails(attempt)
            if which < recovered:
                pen.answers(f"msg_{number}b")
            else:
                pen.gives_up()
            pens.append(pen)
    engine = counted(tmp_path, pens)
    ladder = engine.rows(tables.ladder(engine.sources))

    assert picked(ladder, "reached", "recovered") == list(LADDER)
    assert sum(row["died"] for row in ladder) == 14
    # 27 chains reached the fourth try, and 13 of them recovered: tries after the third were not wasted
    fourth = ladder[3:]
    assert (fourth[0]["reached"], sum(row["recovered"] for row in fourth)) == (27, 13)
    assert ladder[-1]["still_failing"] == pytest.approx(14 / 110)
    (first, *_) = engine.rows(tables.inventory(engine.sources))
    assert (first["code"], first["errors"], first["failures"], first["sessions"]) == (
        "ECONNRESET",
        325,
        110,
        110,
    )


def test_what_never_happened_has_a_line_too(tmp_path: Path) -> None:
    """Zero is a finding: no name that could not be resolved, no 502."""
    engine = counted(
        tmp_path, [Pen().asks().fails(1).answers("msg_1").after(9).is_refused(1).answers("msg_2")]
    )
    found = dict(picked(engine.rows(tables.inventory(engine.sources)), "code", "errors"))

    assert (found["ECONNRESET"], found["HTTP 529"], found["ETIMEDOUT"], found["HTTP 502"]) == (1, 1, 0, 0)


def test_a_rate_has_a_denominator(tmp_path: Path) -> None:
    """Per version: one that nothing failed on is shown too, and one without requests has no rate."""
    pens = [Pen(session(1), "2.1.87").fails(1).gives_up(), Pen(session(2), "2.1.92").asks()]
    for number in range(9):
        pens[1].answers(f"msg_{number}")
    pens[1].fails(1).after(1).answers("msg_9")
    pens.append(Pen(session(3), "2.1.104").answers("msg_x"))
    engine = counted(tmp_path, pens)
    rows = {row["version"]: row for row in engine.rows(tables.rates(engine.sources, "version"))}

    assert (rows["2.1.92"]["failures"], rows["2.1.92"]["answered"]) == (1, 9)
    assert rows["2.1.92"]["per_1000"] == pytest.approx(1000 / 10)
    assert (rows["2.1.104"]["failures"], rows["2.1.104"]["per_1000"]) == (0, 0.0)
    assert (rows["2.1.87"]["failures"], rows["2.1.87"]["per_1000"], rows["2.1.87"]["died"]) == (1, None, 1)


def test_what_failed_and_then_was_answered_is_one_request(tmp_path: Path) -> None:
    """Its answer stands in no denominator beside it; that of a subagent at the same time does, and what came later."""
    pen = Pen(session(1)).asks().after(5).fails(1).after(3).answers("msg_1").after(1).answers("msg_2")
    helper = Pen(session(1), agent="a7").after(8).answers("msg_h")
    engine = counted(tmp_path, [pen, helper])
    sources = engine.sources
    (version,) = engine.rows(tables.rates(sources, "version"))
    days = engine.rows(tables.per_day(sources, []))

    assert (version["failures"], version["answered"], version["sessions"]) == (1, 2, 1)
    assert picked(days, "failures", "answered") == [(1, 2)]
    for one in (tables.by_context(sources), tables.by_session_size(sources)):
        assert sum(row["answered"] for row in engine.rows(one)) == 2
    early = sources.between(None, pen.at_ms - 2000)
    assert picked(engine.rows(tables.rates(early, "version")), "failures", "answered") == [(1, 0)]


@pytest.mark.parametrize("by", ["version", "model", "project", "session", "agent kind", "context tier"])
def test_every_failure_and_request_is_in_some_row(tmp_path: Path, by: str) -> None:
    """Nothing is lost on the way into a table: sums are what the inventory says."""
    helper = Pen(session(1), agent="a7").answers("msg_h").after(1).fails(1).fails(2).answers("msg_i")
    pens = [
        Pen(session(1)).fails(1).answers("msg_1"),
        helper,
        Pen(session(2), cwd="/work/b").fails(1).gives_up(),
    ]
    engine = counted(tmp_path, pens)
    rows = engine.rows(tables.rates(engine.sources, by))

    assert [sum(row[name] for row in rows) for name in ("failures", "errors", "answered")] == [3, 4, 1]


def test_the_size_that_counts_is_the_prompt_s(tmp_path: Path) -> None:
    """A conversation that was compacted is small again, however long its file has grown."""
    pen = Pen().asks().answers("msg_1", context=160_000).after(1).fails(1).answers("msg_2", context=165_000)
    pen.after(1).compacts(167_000, 20_000).answers("msg_3", context=21_000).tool_says("x" * 9000)
    pen.fails(1).after(1).answers("msg_4").after(1).answers("msg_5")
    engine = counted(tmp_path, [pen])
    rows = engine.rows(tables.by_context(engine.sources))

    assert picked(rows, "from_tokens", "failures", "answered") == [
        (0, 1, 1), (50_000, 0, 1), (100_000, 0, 0), (150_000, 1, 1), (200_000, 0, 0),
    ]  # fmt: skip


def test_what_has_no_size_or_age_is_a_row_of_its_own(tmp_path: Path) -> None:
    """Without bounds and without a rate, so that the rows are all that there is; no such row where there are none."""
    pens = [
        Pen(session(1)).fails(1).gives_up(),
        Pen(session(2)).asks().answers("msg_1", context=9_000).fails(1),
    ]
    engine = counted(tmp_path, pens)
    sizes, ages = engine.rows(tables.by_context(engine.sources)), engine.rows(tables.ages(engine.sources))

    assert picked(sizes, "failures", "answered")[0] == (1, 1)
    last = {"from_tokens": None, "to_tokens": None, "failures": 1, "answered": 0, "per_1000": None}
    assert sizes[-1] == last and ages[-1] == {"from_s": None, "to_s": None, "errors": 1}
    assert sum(row["errors"] for row in ages) == 2
    assert engine.rows(tables.by_session_size(engine.sources))[-1]["from_answers"] == 1_600


def test_a_prompt_beyond_the_standard_tier_is_the_large_one_s(tmp_path: Path) -> None:
    """Exactly 200,000 tokens are still taken by both; where no answer came before, nothing tells."""
    pens = [Pen(session(1)).asks().answers("msg_1", context=200_000).after(1).fails(1)]
    pens[0].answers("msg_2", context=200_001).after(1).answers("msg_3", context=200_001).fails(1).gives_up()
    pens.append(Pen(session(2)).fails(1).gives_up())
    engine = counted(tmp_path, pens)
    rows = {
        row["context tier"]: (row["failures"], row["died"], row["answered"], row["per_1000"])
        for row in engine.rows(tables.rates(engine.sources, "context tier"))
    }

    assert rows == {
        tables.STANDARD: (1, 0, 1, 500.0), tables.LARGE: (1, 1, 1, 500.0), "not known": (1, 1, 0, None),
    }  # fmt: skip


def test_a_session_s_size_is_what_it_had_become_by_then(tmp_path: Path) -> None:
    """Thirty answers, a failure, five more, subagents' answers counted; and the same if only the last part is looked at."""
    pen = Pen(session(1)).asks().fails(1)
    for number in range(29):
        pen.answers(f"msg_{number}").after(1)
    helper = Pen(session(1), agent="a7", at_ms=pen.at_ms).answers("msg_h").after(1)
    pen.after(5).fails(1).after(1).answers("msg_30").after(1).answers("msg_31")
    engine = counted(tmp_path, [pen, helper, Pen(session(2)).asks().fails(1).answers("msg_x")])
    names = ("from_answers", "to_answers", "failures", "answered")
    whole = picked(engine.rows(tables.by_session_size(engine.sources)), *names)
    late = engine.sources.between(helper.at_ms + 2, None)

    assert whole[:3] == [(0, 25, 2, 24), (25, 100, 1, 6), (100, 400, 0, 0)]
    assert picked(engine.rows(tables.by_session_size(late)), *names)[:2] == [(0, 25, 0, 0), (25, 100, 1, 1)]


def test_the_age_of_a_try_is_without_the_wait_before_it(tmp_path: Path) -> None:
    """The gap after a failed try is mostly the client's own pause: 32 s of it, and the try itself took 2."""
    pen = (
        Pen()
        .asks()
        .after(250)
        .fails(1, wait_ms=32_000.0)
        .after(34)
        .fails(2)
        .after(0.2)
        .fails(3, wait_ms=900.0)
    )
    engine = counted(tmp_path, [pen.answers("msg_1")])
    rows = engine.rows(tables.ages(engine.sources))

    assert picked(rows, "from_s", "to_s", "errors") == [
        (0, 1, 1), (1, 10, 1), (10, 60, 0), (60, 300, 1), (300, 1800, 0), (1800, None, 0),
    ]  # fmt: skip


def test_a_turn_that_died_without_a_try_on_record_is_a_failure(tmp_path: Path) -> None:
    """Breaks in mid-answer are not retried by some versions: the client's own words are all there is."""
    said = "API Error: Connection closed mid-response"
    pens = [
        Pen(session(1)).asks().answers("msg_1").after(30).gives_up(said),
        Pen(session(2)).fails(1).gives_up(),
    ]
    engine = counted(tmp_path, pens)

    assert picked(engine.rows(tables.dead_turns(engine.sources)), "code", "turns", "without_tries") == [
        ("ECONNRESET", 1, 0),
        ("closed in mid-answer", 1, 1),
    ]
    assert len(engine.rows(tables.failures(engine.sources))) == 2


def test_bursts_run_over_sessions(tmp_path: Path) -> None:
    """Three errors of two sessions within a minute of each other are one burst; a lonely one is none."""
    one = Pen(session(1)).fails(1).after(50).fails(2).answers("msg_1")
    other = Pen(session(2), at_ms=MORNING_MS + 100_000).fails(1).gives_up()
    lonely = Pen(session(3), at_ms=MORNING_MS + 3_600_000).fails(1).answers("msg_3")
    engine = counted(tmp_path, [one, other, lonely])
    (burst,) = engine.rows(tables.bursts(engine.sources))

    names = ("errors", "failures", "sessions", "recovered", "died")
    assert tuple(burst[name] for name in names) == (3, 2, 2, 1, 1)
    assert (burst["begun_ms"], burst["ended_ms"]) == (MORNING_MS, MORNING_MS + 100_000)


def test_a_turn_dies_once_however_many_bursts_it_was_in(tmp_path: Path) -> None:
    """Its tries are ten minutes apart, each beside another session's: it is in both bursts, and its end in the last."""
    one = Pen(session(1)).fails(1).after(600).fails(2).gives_up()
    beside = [
        Pen(session(2 + place), at_ms=MORNING_MS + at_s * 1000).fails(1).answers(f"msg_{place}")
        for place, at_s in enumerate((5, 605))
    ]
    engine = counted(tmp_path, [one, *beside])
    rows = engine.rows(tables.bursts(engine.sources))

    assert picked(rows, "errors", "failures", "recovered", "died") == [(2, 2, 1, 0), (2, 2, 1, 1)]


def test_a_turn_is_given_up_by_the_client_s_words(tmp_path: Path) -> None:
    """Its first try had another code: the table counts what the messages say."""
    pens = [
        Pen(session(1)).fails(1, code="EPIPE").after(3).fails(2).gives_up(),
        Pen(session(2)).fails(1).after(3).fails(2).gives_up("API Error: Unable to connect to API (EPIPE)"),
        Pen(session(3)).fails(1, code=None).gives_up(),
    ]
    engine = counted(tmp_path, pens)
    rows = engine.rows(tables.dead_turns(engine.sources))

    assert picked(rows, "code", "turns", "sessions", "without_tries") == [
        ("ECONNRESET", 2, 2, 0),
        ("EPIPE", 1, 1, 0),
    ]


def test_days_and_hours_are_the_local_clock_s(tmp_path: Path) -> None:
    """07:00 UTC is 01:00 in Chicago; when the clock was set forward in between, 02:00."""
    before, after = (
        Pen(session(1), at_ms=MORNING_MS).fails(1),
        Pen(session(2), at_ms=MORNING_MS + 10).fails(1),
    )
    engine = counted(tmp_path, [before, after])
    winter, summer = -6 * tables.HOUR_MS, -5 * tables.HOUR_MS
    offsets = [(0, winter), (MORNING_MS + 5, summer)]

    assert picked(engine.rows(tables.per_hour(engine.sources, offsets)), "hour", "errors") == [(1, 1), (2, 1)]
    assert picked(engine.rows(tables.per_hour(engine.sources, [])), "hour", "errors") == [(7, 2)]
    assert picked(engine.rows(tables.per_weekday(engine.sources, [])), "weekday") == [1]  # a Tuesday
    assert picked(engine.rows(tables.per_day(engine.sources, [])), "day", "failures") == [(20557, 2)]


def test_marks_divide_the_time(tmp_path: Path) -> None:
    """Two failures before the cable, none after it: each period has its own denominator."""
    before = Pen(session(1)).fails(1).answers("msg_1").after(5).fails(1).answers("msg_2")
    before.after(1).answers("msg_a").answers("msg_b")
    after = Pen(session(2), at_ms=MORNING_MS + 3_600_000).answers("msg_3").answers("msg_4")
    engine = counted(tmp_path, [before, after])
    marks = [(MORNING_MS + 60_000, "moved to Ethernet"), (MORNING_MS + 60_000, "twice")]
    rows = engine.rows(tables.between_marks(engine.sources, marks))

    assert picked(rows, "mark", "failures", "answered") == [("", 2, 2), ("moved to Ethernet", 0, 2)]
    assert picked(rows, "per_1000") == [500.0, 0.0]


def test_turn_times_and_what_was_lost(tmp_path: Path) -> None:
    """One turn died after five minutes and three tries, one was abandoned: between one and two are lost."""
    pen = Pen(session(1)).asks().answers("msg_1", context=100_000).took(12).asks()
    for attempt in (1, 2, 3):
        pen.after(100).fails(attempt)
    pen.gives_up().took(300.5)
    engine = counted(tmp_path, [pen, Pen(session(2)).asks().fails(1).after(60).asks()])
    (times,) = engine.rows(tables.durations(engine.sources))
    (lost,) = engine.rows(tables.lost(engine.sources))

    assert (times["turns"], times["longest_s"], times["over_5_min"]) == (2, 300.5, 1)
    assert (lost["turns_least"], lost["turns_most"], lost["tokens"]) == (1, 2, 300_000)
    assert lost["minutes"] == pytest.approx(6.0)


def test_a_healthy_home_has_empty_tables(tmp_path: Path) -> None:
    """No failure, no burst, no ladder; the zeroes stand in the inventory."""
    engine = counted(tmp_path, [Pen().asks().answers("msg_1").took(3)])
    source = engine.sources

    assert [engine.rows(table(source)) for table in (tables.bursts, tables.ladder, tables.dead_turns)] == [
        [],
        [],
        [],
    ]
    assert {row["errors"] for row in engine.rows(tables.inventory(source))} == {0}
    assert engine.rows(tables.lost(source))[0]["turns_most"] in (0, None)


def test_an_empty_home_can_be_counted(tmp_path: Path) -> None:
    """Tables have their types without a row in them."""
    engine = counted(tmp_path, [])
    source = engine.sources

    for table in (
        tables.ages,
        tables.bursts,
        tables.by_context,
        tables.by_session_size,
        tables.durations,
        tables.inventory,
        tables.lost,
    ):
        engine.rows(table(source))
    assert engine.rows(tables.rates(source, "version")) == []


@pytest.mark.parametrize(
    "by", ["version", "project", "agent kind", "context tier", "from_tokens", "from_answers", "hour"]
)
def test_days_add_up_to_what_rates_are_made_of(tmp_path: Path, by: str) -> None:
    """Intervals are resampled from the same failures and requests that the rates count."""
    pens = []
    for day in range(6):
        pen = Pen(session(day), at_ms=MORNING_MS + day * tables.DAY_MS).asks()
        pen.answers(f"msg_{day}a", context=60_000 * (day % 3)).after(20).fails(1).after(9)
        pens.append(pen.answers(f"msg_{day}b"))
    engine = counted(tmp_path, pens)
    days = engine.rows(tables.daily(engine.sources, by, []))
    assert sum(row["failures"] for row in days) == 6
    assert sum(row["answered"] for row in days) == 6
    assert len({row["day"] for row in days}) == 6
    assert all(row["key"] is not None for row in days)
