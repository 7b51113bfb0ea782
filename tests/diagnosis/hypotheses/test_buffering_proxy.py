"""Answers that are kept until they are whole."""

from __future__ import annotations

from holdfast.flight.endings import Mechanism, Phase
from tests.diagnosis.hypotheses.story import Story, said


def waiting(
    *, spread_s: float = 0.05, phase: Phase = Phase.AWAITING_FIRST_EVENT, spread_ages: bool = False
) -> Story:
    """Requests that wait for long are cut; answers of a thousand tokens come within so many seconds."""
    story = Story()
    for day in range(12):
        story.went_well(day, 6, output_tokens=1_000, spread_s=spread_s)
        for number in range(2):
            age = 20.0 + 17 * day + 60 * number if spread_ages else 90.0
            story.fails(
                day,
                50 + 130 * number,
                age_s=age,
                mechanism=Mechanism.FIN,
                phase=phase,
                silence_s=age if phase is not Phase.IN_TEXT else 1.0,
            )
    return story


def test_answers_in_one_piece_and_failures_before_their_first_word() -> None:
    """No model writes twenty thousand tokens a second: somebody had kept them."""
    found = waiting(spread_ages=True).finding("buffering-proxy")

    assert len(found.explains) == 24
    assert "72 of 72 answers of 300 tokens or more came faster than 1500 tokens a second" in said(found)
    assert "proxy_buffering off" in found.remedy


def test_a_box_with_a_limit_of_its_own_is_told_from_a_limit_alone() -> None:
    """All fail at ninety seconds: three limits would do, were it not that answers come in one piece."""
    found = waiting().found().findings[0]

    assert (found.hypothesis, found.rivals, len(found.explains)) == ("buffering-proxy", (), 24)
    assert "24 of 24 failures broke after 91 s: that box's own limit" in said(found)


def test_where_answers_arrive_word_by_word_nobody_keeps_them() -> None:
    """The same failures are then a limit on silence, or on the whole time."""
    names = waiting(spread_s=18.0).names()

    assert "buffering-proxy" not in names and names


def test_failures_in_the_midst_of_an_answer_are_not_its_own() -> None:
    """Behind such a box no answer has a midst."""
    assert "buffering-proxy" not in waiting(phase=Phase.IN_TEXT, spread_ages=True).names()


def test_without_flights_it_is_a_limit() -> None:
    """The client's logs do not tell how an answer arrived."""
    story = waiting()
    story.trips.clear()

    assert "buffering-proxy" not in story.names()
