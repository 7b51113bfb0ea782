"""Failures that grow with the number of a session's agents at work."""

from __future__ import annotations

from dataclasses import replace

from holdfast.diagnosis.case import Answer
from holdfast.diagnosis.hypotheses.subagents import Subagents
from tests.diagnosis.hypotheses.story import Story, said


def helped(days: int = 8) -> Story:
    """Each afternoon a session sends out five agents for an hour; each asks every six minutes and waits for five of them."""
    story = Story()
    for day in range(days):
        for number in range(5):
            for step in range(10):
                asked = story.at(day, 500 + 6 * step)
                story.answers.append(
                    Answer(asked + 300_000, f"s{day}-h", "2.1.104", 20_000, f"a{day}-{number}", asked)
                )
    return story


def test_requests_that_break_while_five_agents_are_at_work() -> None:
    """Three of them a day, and none of the three hundred and fifty requests of the lonely ones."""
    story = helped()
    for day in range(8):
        for number in range(3):
            story.fails(
                day, 507 + 17 * number, age_s=4.0 + 6 * number + day, session=f"s{day}-h", context=20_000
            )
            story.failures[-1] = replace(story.failures[-1], agent=f"a{day}-{number}")
    found = story.finding("subagents")

    assert (found.grade, len(found.explains)) == ("strong", 24)
    assert "24 of 24 failures came while 3 or more other agents of the session were busy" in said(found)


def test_an_agent_is_at_work_from_its_first_question() -> None:
    """Its first answer comes five minutes later, and it may be what breaks the others."""
    story = helped()
    case = story.case()

    others = [
        Subagents().others(case, story.at(0, minute), "s0-h", "a0-0") for minute in (499, 501, 550, 570)
    ]
    assert others == [0, 4, 4, 0]
