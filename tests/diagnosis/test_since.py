"""Since last time: old thresholds on new failures, with how many, and no change read out of a handful."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from holdfast.diagnosis.case import Case, Failure, Span, Try
from holdfast.diagnosis.diagnosis import Diagnosis
from holdfast.diagnosis.examine import examine
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.since import Kept, Pattern, below, decode, encode, kept, since, told, verdict
from holdfast.report.pictures_tries import age_of

DAY_MS = 86_400_000


def cut(number: int, age_s: float) -> Failure:
    at = number * DAY_MS // 2
    tries = (Try(at, age_s, "ECONNRESET"),)
    return Failure(f"f{number}", tries, "died", at, at, f"s{number}", "2.1.104")


def diagnosed(failures: Iterable[Failure]) -> Diagnosis:
    case = Case(list(failures))
    return Diagnosis(
        len(case.failures), case.requests, 0, examine(case, catalogue()), (), {}, (), (), case=case
    )


MONTH = [cut(number, 300.0 + number % 3 * 0.3) for number in range(24)]


def test_a_threshold_is_tested_on_failures_that_it_was_not_found_in() -> None:
    """The age found in the first month is looked for in the next weeks' failures, and in them alone."""
    before = kept(diagnosed(MONTH))
    assert any(pattern.limit_s == pytest.approx(300, abs=1) for pattern in before.patterns)
    later = [cut(100 + number, 300.2 if number < 6 else 40.0 + 17 * number) for number in range(8)]
    found = since(
        diagnosed(MONTH + later),
        before,
        at_ms=0,
        new={one.id for one in later},
        requests=40,
        sessions=8,
        projects=1,
    )
    [test] = [test for test in found.tests if test.pattern.limit_s is not None]
    assert (test.hits, test.of, test.days) == (6, 8, 4)
    assert "6 of 8 new failures of such an age had the 300 s found then, on 4 days" in told(found, "May 1")[1]


def again(number: int, *ages_s: float) -> Failure:
    """A request whose tries broke at these ages."""
    one = cut(number, ages_s[0])
    return replace(
        one,
        tries=tuple(Try(one.at_ms + place * 400_000, age, "ECONNRESET") for place, age in enumerate(ages_s)),
    )


def test_what_was_before_is_what_that_report_said() -> None:
    """By the ages of the same tries: the first may have broken at once, and what broke within ten seconds met no limit."""
    month = [again(number, 2.0, 300.0 + number % 3 * 0.3) for number in range(24)]
    month += [again(30 + number, 5.5 + 0.7 * number) for number in range(6)]
    month += [again(40 + number, 20.0 + 31.0 * number) for number in range(5)]
    diagnosis = diagnosed(month)
    (finding,) = [one for one in diagnosis.findings if one.hypothesis == "fixed-limit"]
    (pattern,) = [one for one in kept(diagnosis).patterns if one.hypothesis == "fixed-limit"]

    assert finding.brief.pro[0].text.startswith(
        "24 of 29 failures between 10 s and 20 min old broke after 300 s"
    )
    assert (pattern.hits, pattern.of) == (24, 29)
    drawn = age_of(finding, diagnosis, set(finding.explains), "c0")
    assert drawn is not None
    assert drawn.says.startswith(
        "Of the 24 failures of this cause, 24 came within 6 s of their limit, 300 s."
    )


def test_a_pattern_that_stopped_is_said_to_have_stopped() -> None:
    """Twenty failures of all ages where all had one before: that is no chance."""
    before = kept(diagnosed(MONTH))
    later = [cut(100 + number, 20.0 + 7.7 * number) for number in range(20)]
    found = since(
        diagnosed(MONTH + later),
        before,
        at_ms=0,
        new={one.id for one in later},
        requests=40,
        sessions=8,
        projects=1,
    )
    assert found.failures == 20
    assert {test.verdict for test in found.tests if test.pattern.limit_s is not None} == {"not again"}


AWAY = Pattern("local-link", "This machine had no network", 12, 24)


@pytest.mark.parametrize(
    ("watched", "says", "words"),
    [
        ((), "cannot be told", "no log covers the 20 new failures; before: 12 of 24"),
        ((Span(0, 999 * DAY_MS),), "not again", "0 of 20 new failures, on 10 days; before: 12 of 24"),
        ((Span(109 * DAY_MS // 2, 999 * DAY_MS),), "not again", "0 of 11 new failures that a log covers"),
    ],
)
def test_where_nothing_watched_nothing_is_said_to_have_stopped(
    watched: tuple[Span, ...], says: str, words: str
) -> None:
    """The log of outages ended before the new failures: that none of them lies in an outage of it means nothing."""
    later = [cut(100 + number, 20.0 + 7.7 * number) for number in range(20)]
    now = diagnosed(later)
    now = replace(now, case=replace(now.case, watched=watched))
    new = {one.id for one in later}
    found = since(now, Kept(24, 900, [AWAY]), at_ms=0, new=new, requests=40, sessions=8, projects=1)

    assert found.tests[0].verdict == says
    assert words in told(found, "May 1")[1]


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        ((50, 100), (10, 20), "goes on"),
        ((50, 100), (19, 20), "more often"),
        ((50, 100), (3, 20), "less often"),
        ((50, 100), (0, 20), "not again"),
        ((50, 100), (0, 4), "too few to tell"),
        ((2, 100), (0, 20), "goes on"),
        ((100, 100), (20, 20), "goes on"),
        ((0, 0), (5, 5), "too few to tell"),
    ],
)
def test_a_change_needs_more_than_chance(before: tuple[int, int], now: tuple[int, int], says: str) -> None:
    """One in twenty is the line, and five failures are the least."""
    assert verdict(*before, *now) == says


def test_the_chance_is_the_binomial_s() -> None:
    """As in any table."""
    assert below(0, 5, 0.5) == pytest.approx(1 / 32)
    assert below(2, 5, 0.5) == pytest.approx(0.5)
    assert below(5, 5, 0.5) == pytest.approx(1.0)
    assert below(-1, 5, 0.5) == 0.0


def test_nothing_new_is_said_in_one_line() -> None:
    """And a report of another version is no report."""
    found = since(
        diagnosed(MONTH), kept(diagnosed(MONTH)), at_ms=0, new=(), requests=0, sessions=0, projects=0
    )
    assert told(found, "May 1") == ["Nothing new is on record since the report of May 1."]
    report = Kept(3, 9, [Pattern("x", "X", 1, 2, None)])
    assert decode(encode(report)) == report
    assert decode('{"failures": "many"}') is None and decode("") is None
