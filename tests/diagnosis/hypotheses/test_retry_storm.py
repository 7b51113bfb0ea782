"""Retries that are refused because they are so many."""

from __future__ import annotations

from dataclasses import replace

from holdfast.diagnosis.case import Answer
from tests.diagnosis.hypotheses.story import SECOND, Story, said


def refused(story: Story, day: int, minute: float, session: str) -> None:
    story.fails(day, minute, code="HTTP 429", age_s=0.4, session=session)
    one = story.failures[-1]
    story.failures[-1] = replace(one, tries=tuple(replace(each, status=429) for each in one.tries))


def stormy(*, tries: int = 6, busy: bool = False) -> Story:
    """On six days four sessions break at once, and ask again and again; a minute later two others are refused."""
    story = Story()
    for day in range(6):
        for session in range(4):
            story.fails(
                day,
                60 + 0.05 * session,
                age_s=4.0 + 3 * day + session,
                tries=tries,
                session=f"s{day}-x{session}",
            )
            one = story.failures[-1]
            near = tuple(
                replace(each, at_ms=one.at_ms + 8 * SECOND * place) for place, each in enumerate(one.tries)
            )
            story.failures[-1] = replace(one, tries=near)
        if busy:
            story.answers += [
                Answer(story.at(day, 60.1 + 0.02 * n), "other", "2.1.104", 40_000) for n in range(40)
            ]
        for number in range(2):
            refused(story, day, 60.95 + 0.01 * number, f"s{day}-y{number}")
    return story


def test_refusals_among_retries_of_other_failures_are_a_storm() -> None:
    """Not of the account's usual use: nothing was refused before the retries began."""
    found = stormy().finding("retry-storm")

    assert len(found.explains) == 12 and not found.rivals
    assert "12 requests were refused (429) in 6 bursts of retries" in said(found)
    assert "rate-limit" not in stormy().names()


def test_refusals_while_work_goes_on_are_the_accounts_limit() -> None:
    """As many answers as retries in that minute; or hardly a retry."""
    assert "rate-limit" in stormy(busy=True).names() and "retry-storm" not in stormy(busy=True).names()
    assert "rate-limit" in stormy(tries=1).names() and "retry-storm" not in stormy(tries=1).names()


def test_refusals_among_a_few_retries_may_be_either() -> None:
    """Six of them in the minute before, and nothing answered: too few to call it a storm, too many for none."""
    story = stormy(tries=3)
    story.failures = [one for one in story.failures if not one.session.endswith("x0")]
    found = story.finding("rate-limit")

    assert (found.grade, found.rivals, len(found.explains)) == ("either", ("retry-storm",), 12)


def test_one_storm_makes_the_refusals_beside_it_likelier_to_be_of_storms() -> None:
    """Where half came among so many retries that nothing else would do, those among a few are put to the same."""
    story, few = stormy(), stormy(tries=2)
    late = {f"s{day}-" for day in range(3)}
    story.failures = [one for one in story.failures if one.session[:3] in late]
    story.failures += [replace(one, id=f"g{one.id}") for one in few.failures if one.session[:3] not in late]

    assert len(story.finding("retry-storm").explains) == 12 and "rate-limit" not in story.names()


def test_retries_of_refusals_make_no_storm_of_their_own() -> None:
    """A refused request is asked again, and refused again: that is a limit, and its waiting."""
    story = Story()
    for day in range(6):
        for session in range(6):
            refused(story, day, 60 + 0.1 * session, f"s{day}-z{session}")
            one = story.failures[-1]
            again = tuple(replace(one.tries[0], at_ms=one.at_ms + 5 * SECOND * place) for place in range(8))
            story.failures[-1] = replace(one, tries=again)

    assert story.names() == ["rate-limit"]
