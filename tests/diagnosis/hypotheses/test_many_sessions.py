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
    assert "failures came while 3 or more other sessions were busy" in said(found)


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
