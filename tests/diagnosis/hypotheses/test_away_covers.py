"""A log that did not watch says nothing, for a cause or against it."""

from __future__ import annotations

from holdfast.diagnosis.case import Answer, Case, Failure, Span, Try
from holdfast.diagnosis.hypotheses._away import within
from holdfast.diagnosis.hypotheses.local_link import LocalLink
from holdfast.sessions.desktop import Outage

DAY_MS = 86_400_000


def failed(day: int) -> Failure:
    at = day * DAY_MS + 1_000
    return Failure(f"f{day}", (Try(at, 1.0, "ECONNRESET"),), "recovered", at, at, "s", "2.1.104")


def test_failures_that_no_log_covers_are_nothing_against_it() -> None:
    """Ten days of a log, and ninety of failures behind it: that is told with the count, and not held against."""
    failures = [failed(day) for day in range(100)]
    away = [Outage(day * DAY_MS, day * DAY_MS + 30_000, {"offline"}, 1) for day in range(10)]
    answers = [Answer(day * DAY_MS + 600_000, "s", "2.1.104", 1) for day in range(100)]
    case = Case(failures, answers, outages=away, watched=[Span(0, 10 * DAY_MS)])
    cause = LocalLink()
    cause.ratios(case)
    brief = cause.brief(case, failures[:10])

    assert not brief.con
    assert "Of the other 90 failures it says nothing: no log covers their time." in brief.pro[0].text


def test_what_broke_first_broke_it() -> None:
    """A request that is tried for hours meets an outage at one try or another; one tried in it meets nothing else."""
    spans = [Span(100_000, 160_000), Span(900_000, 960_000)]

    def tried(*at_s: int) -> Failure:
        made = tuple(Try(at * 1000, 1.0, "ECONNRESET") for at in at_s)
        return Failure("f", made, "recovered", made[0].at_ms, made[-1].at_ms, "s", "2.1.104")

    assert within(tried(910, 1_500, 3_000), spans) == 1
    assert within(tried(20, 130, 700, 1_500), spans) is None
    assert within(tried(90, 101, 110, 130), spans) == 0  # the log noted the outage a little late
