"""Failures that grow with the number of sessions at work."""

from __future__ import annotations

import random

from holdfast.diagnosis.case import Answer
from holdfast.diagnosis.hypotheses.many_sessions import ManySessions
from tests.diagnosis.hypotheses.story import SECOND, Story, said
from tests.diagnosis.hypotheses.test_shared_outage import crowded


def test_a_busy_hours_failures_are_many_and_not_one() -> None:
    """Eight sessions work at once and one request in thirteen breaks, most within a minute of another's: each is a proof
    of its own."""
    story, draw = crowded(range(3), each=30), random.Random(5)
    for day in range(3):
        for number in range(20):
            minute = 600 + draw.uniform(0, 60)
            story.fails(
                day, minute, age_s=draw.expovariate(1 / 20), session=f"s{day}-c{number % 8}", context=40_000
            )
    for number in range(20):  # and whoever works alone fails now and then
        story.fails(number % 14, 9 + 7 * number, age_s=draw.expovariate(1 / 20))
    found = story.finding("many-sessions")

    assert found.grade == "strong" and "shared-outage" not in story.names()
    assert said(found) == (
        "31 of 80 failures came while 5 or more other sessions were busy, as did 21% of the answers; 16.8 were to be "
        "expected."
    )


def test_two_at_work_are_no_crowd() -> None:
    """Forty failures of a session that is only ever used beside another, and one in seven answers was as well: what fails
    there is that session, and fewer than two at a time nobody can let work."""
    story = Story()
    for day in range(14):
        story.answers += [
            Answer(story.at(day, 40 + number), f"s{day}-beside", "2.1.104", 40_000) for number in range(3)
        ]
        for number in range(3):
            story.fails(day, 40.1 + 4 * number, age_s=3.0 + day + 5 * number, session=f"s{day}-beside")
    case = story.case()

    assert max(case.sessions_at(one.at_ms) for one in case.failures) == 2
    assert set(ManySessions().ratios(case)) <= {0.0, 1.0} and "many-sessions" not in story.names()


def test_nobody_else_at_work_is_no_crowd() -> None:
    """Eight sessions work at once on three days, and what fails is asked alone: less than was to be expected."""
    story = crowded(range(3), each=30)
    for number in range(40):
        story.fails(4 + number % 10, 900 + 20 * number, age_s=3.0 + number, session=f"alone-{number}")

    assert set(ManySessions().ratios(story.case())) == {0.0} and "many-sessions" not in story.names()


def test_one_moment_in_which_all_of_them_break_is_one_proof() -> None:
    """Eight sessions are cut within ten seconds, on two days: busy as the hours were, they failed twice in them."""
    story = crowded()
    for day in range(2):
        for session in range(8):
            at = 620 + 1.2 * session * SECOND / 60_000
            story.fails(day, at, age_s=2.0 + 7 * session + day, session=f"s{day}-c{session}", context=40_000)

    assert "many-sessions" not in story.names()


def test_a_session_in_the_midst_of_a_long_request_is_at_work() -> None:
    """Four sessions ask at noon and are answered ten minutes later: whoever asks in between is one of five. Nobody was
    heard of at that moment."""
    story = Story()
    story.answers = [
        Answer(story.at(day, 730), f"s{day}-c{number}", "2.1.104", 40_000, None, story.at(day, 720))
        for day in range(3)
        for number in range(4)
    ]
    case = story.case()

    assert [case.sessions_at(story.at(1, minute)) for minute in (719, 721, 725, 730.5, 732)] == [
        0,
        4,
        4,
        4,
        0,
    ]
    assert ManySessions().others(case, story.at(1, 725), "s1-c0", None) == 3


def test_a_failing_request_is_work_until_it_is_given_up() -> None:
    """Its tries go on for a minute and a half, and its session is there all the time."""
    story = Story()
    story.answers.clear()
    story.fails(2, 100, age_s=30.0, tries=4)
    case = story.case()

    assert [case.sessions_at(story.at(2, minute)) for minute in (99, 99.6, 100.5, 101.5, 103)] == [
        0,
        1,
        1,
        1,
        0,
    ]
