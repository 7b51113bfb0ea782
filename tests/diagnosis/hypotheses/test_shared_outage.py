"""Several sessions that fail together, by an outage or because so many are at work."""

from __future__ import annotations

import random

from holdfast.diagnosis.case import Answer
from tests.diagnosis.hypotheses.story import Story


def crowded(days: range = range(14), each: int = 60) -> Story:
    """On these days eight sessions work at the same time for an hour, each with so many answers in it."""
    story, draw = Story(), random.Random(7)
    for day in days:
        for session in range(8):
            for _ in range(each):
                at_ms = story.at(day, 600 + draw.uniform(0, 60))
                story.answers.append(Answer(at_ms, f"s{day}-c{session}", "2.1.104", 40_000))
    return story


def test_what_breaks_in_one_second_is_shared() -> None:
    """Six times four sessions are cut within a second, in hours as busy as those in which nothing was."""
    story = crowded()
    for day in range(6):
        for session in range(4):
            story.fails(
                day, 620 + 0.004 * session, age_s=3.0 + 5 * session + day, session=f"s{day}-c{session}"
            )
    found = story.found().findings[0]

    assert (found.hypothesis, found.grade, len(found.explains)) == ("shared-outage", "strong", 24)


def test_crowds_that_fail_all_the_time_share_no_outage() -> None:
    """In the hour of eight sessions every fifth request breaks, each by itself: some of them lie within half a minute of
    each other, as many as chance would bring there."""
    story, draw = crowded(range(5), each=30), random.Random(11)
    for day in range(5):
        for number in range(60):
            minute = 600 + draw.uniform(0, 60)
            story.fails(
                day, minute, age_s=draw.uniform(2, 90), session=f"s{day}-c{number % 8}", context=40_000
            )

    assert "shared-outage" not in story.names() and "many-sessions" in story.names()
