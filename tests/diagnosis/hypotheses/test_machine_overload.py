"""A machine at its end."""

from __future__ import annotations

from holdfast.diagnosis.case import Span
from holdfast.flight.endings import Mechanism, Phase, Side
from tests.diagnosis.hypotheses.story import SECOND, Story, said


def strained(*, apart: bool = False) -> Story:
    """The kernel ends processes, now and then; requests fail with them, or at other times."""
    story = Story()
    for day in range(8):
        minute = 45 + 29 * (day % 4)
        story.strains.append(Span(story.at(day, minute), story.at(day, minute)))
        for number in range(2):
            when = minute + (190 + 13 * number if apart else 0.3 * (number + 1))
            story.fails(day, when, age_s=6.0 + 11 * number + day, session=f"s{day}-{number}")
    return story


def test_failures_beside_the_kernels_own_words_are_the_machines() -> None:
    """Out of memory, and a minute later requests break in every session."""
    found = strained().finding("machine-overload")

    assert len(found.explains) == 16 and found.grade == "strong"
    assert "16 failures came within a minute of one of 8 strains in the kernel's log" in said(found)


def test_strains_at_other_times_explain_nothing() -> None:
    """They were there, and no request failed by them."""
    assert "machine-overload" not in strained(apart=True).names()


def test_the_systems_words_for_having_no_more_are_enough() -> None:
    """EMFILE; or an ending that the gateway saw on this machine. A reset is not."""
    story = Story()
    for day in range(5):
        story.fails(day, 70, code="EMFILE", age_s=0.01)
        story.fails(
            day, 210, age_s=0.4 + day, side=Side.MACHINE, mechanism=Mechanism.LOCAL_ERROR, phase=Phase.SENDING
        )
        story.fails(day, 290, age_s=4.0 + 3 * day)

    assert len(story.finding("machine-overload").explains) == 10


def test_one_line_between_many_failures_is_chance() -> None:
    """A strain of half a minute, and one of forty failures near it."""
    story = Story()
    story.strains.append(Span(story.at(3, 100), story.at(3, 100) + 30 * SECOND))
    story.fails(3, 100.2, age_s=8.0)
    for day in range(13):
        for number in range(3):
            story.fails(day, 21 + 101 * number + day, age_s=3.0 + 7 * day + number)

    assert "machine-overload" not in story.names()
