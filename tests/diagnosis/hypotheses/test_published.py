"""What a provider's own page says of failures: within its incidents, outside of them, and where it does not cover them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holdfast.diagnosis.case import Try
from holdfast.diagnosis.hypotheses._published import LEAST, MOST, within_incidents
from tests.diagnosis.hypotheses.story import HOUR, MINUTE, Story, said
from tests.diagnosis.hypotheses.test_shared_outage import crowded


def overloaded(*at: tuple[int, float], status: int = 529) -> Story:
    """Answers on fourteen days, and a refusal at each of these moments."""
    story = Story()
    for day, minute in at:
        story.fails(day, minute, code=str(status))
        one = story.failures[-1]
        story.failures[-1] = replace(one, tries=(Try(one.at_ms, 1.0, str(status), status),))
    return story


def published(
    story: Story, *incidents: tuple[int, float, float | None], concerns: bool | None = True
) -> dict[str, Any]:
    """A page of which the oldest incident is of the first day's morning, before anything; then these: day, from, to."""
    rows = [(0, -60.0, -55.0), *incidents]
    return {
        "page_name": "Claude",
        "covered_from_wall_ms": story.at(0, -60),
        "incidents": [
            {
                "name": f"Errors {number}", "impact": "major", "begun_wall_ms": story.at(day, begun),
                "ended_wall_ms": None if ended is None else story.at(day, ended), "concerns": concerns,
            }
            for number, (day, begun, ended) in enumerate(rows)
        ],
    }  # fmt: skip


def bits(story: Story, cause: str) -> list[str]:
    """The sentences of the page, with what they weigh."""
    brief = story.finding(cause).brief
    return [one.text for one in (*brief.pro, *brief.con) if one.source == "probes"]


@pytest.mark.parametrize(("status", "cause"), [(529, "provider-overload"), (500, "provider-error")])
def test_failures_within_incidents_speak_for_the_provider(status: int, cause: str) -> None:
    """And the sentence says how many lie in which; the begin is taken a little earlier than it was published."""
    story = overloaded((3, 41), (3, 45), (3, 49), (7, 150), (9, 200), status=status)
    story.asked("status", published(story, (3, 50, 80), (7, 140, 160)))
    (told,) = bits(story, cause)

    assert "4 of 5 failures that Claude's page covers are in incidents that it published" in told
    assert '3 in "Errors 1" (2026-04-' in told and '1 in "Errors 2"' in told
    assert "(+" in told and "network" not in told


def test_failures_outside_all_incidents_speak_slightly_against() -> None:
    """However many they are: a page lists what it likes."""
    story = overloaded(*((day, 50) for day in range(12)))
    story.asked("status", published(story, (5, 200, 260)))
    (told,) = bits(story, "provider-overload")

    assert "0 of 12 failures" in told and "(-1.0 bits)" in told
    assert story.found().findings[0].hypothesis == "provider-overload"


def test_a_minute_that_many_share_can_be_the_providers() -> None:
    """Sessions that were cut at once, in an incident."""
    story = crowded()
    for day in range(6):
        for session in range(4):
            story.fails(
                day, 620 + 0.004 * session, age_s=3.0 + 5 * session + day, session=f"s{day}-c{session}"
            )
    plain = story.finding("shared-outage").bits
    story.asked("status", published(story, *((day, 610, 640) for day in range(6))))

    assert "24 of 24 failures" in said(story.finding("shared-outage"))
    assert plain + 3 < story.finding("shared-outage").bits <= plain + 5


def test_many_failures_of_one_incident_are_one_trouble() -> None:
    """Twenty in an hour prove no more than two: it weighs once."""
    few, many = overloaded((3, 50), (3, 51)), overloaded(*((3, 50 + number / 2) for number in range(20)))
    ratios = []
    for story in (few, many):
        story.asked("status", published(story, (3, 45, 70)))
        case = story.case()
        answered = within_incidents(case, case.failures, case.probes[0])
        assert answered is not None
        ratios.append(answered.ratio)

    assert ratios[0] == ratios[1] <= MOST


def test_broad_incidents_prove_little() -> None:
    """Where half of all answered requests lie in incidents as well, so do failures by chance."""
    story = overloaded((3, 50), (8, 50))
    story.asked("status", published(story, *((day, -5, 1000) for day in range(14))))
    case = story.case()
    answered = within_incidents(case, case.failures, case.probes[0])

    assert (
        answered is not None and answered.ratio == pytest.approx(1.0) and "answered 50% are" in answered.text
    )


@pytest.mark.parametrize(
    "facts",
    [{"covered_from_wall_ms": None}, {"covered_from_wall_ms": "x"}, {"incidents": None},
     {"incidents": [3, {"begun_wall_ms": -1}]}],
)  # fmt: skip
def test_what_is_not_covered_is_not_known(facts: dict[str, Any]) -> None:
    """Before the oldest incident, in the last hour before it was read, and where it lists no past."""
    story = overloaded((0, 50))
    whole = published(story)
    story.asked("status", whole | facts)
    case = story.case()
    told = within_incidents(case, case.failures, case.probes[0])
    assert told is None or told.ratio >= LEAST

    page = replace(case.probes[0], facts=whole | {"covered_from_wall_ms": story.at(1, 0)})
    assert within_incidents(case, case.failures, page) is None
    just_now = replace(page, facts=whole, begun_wall_ms=story.at(0, 50) + HOUR - MINUTE)
    assert within_incidents(case, case.failures, just_now) is None


def test_an_incident_of_another_part_is_none_of_ours() -> None:
    """A chat that is away says nothing of the API; one that is open goes on to when the page was read."""
    story = overloaded((3, 50))
    for concerns, inside in ((False, "0 of 1"), (None, "1 of 1"), (True, "1 of 1")):
        story.probes.clear()
        story.asked("status", published(story, (3, 45, None), concerns=concerns))
        case = story.case()
        told = within_incidents(case, case.failures, case.probes[0])
        assert told is not None and told.text.startswith(inside)


def test_a_page_speaks_whatever_upstream_was_named() -> None:
    """Behind a gateway the upstream is this machine; the page is the provider's all the same."""
    story = overloaded((3, 50), (3, 55))
    story.asked("status", published(story, (3, 45, 70)), target="127.0.0.1:8484")

    assert "2 of 2 failures" in said(story.finding("provider-overload"))


def test_failures_at_all_times_meet_every_incident_and_prove_nothing() -> None:
    """Where something fails several times an hour for a fortnight, some of it lies in whatever was published."""
    story = overloaded(*((day, 3 + 9 * number) for day in range(14) for number in range(34)))
    story.asked("status", published(story, *((day, 20 * day, 20 * day + 40) for day in range(13))))
    case = story.case()
    told = within_incidents(case, case.failures, case.probes[0])

    assert told is not None and told.ratio < 1 and "in 10 more" in told.text


def test_what_fails_apart_is_weighed_alike_on_both_sides() -> None:
    """Single failures, as many inside as chance would have there: that speaks against the provider, a bit."""
    story = overloaded(*((day, 5 + 70 * number) for day in range(14) for number in range(4)))
    story.asked("status", published(story, *((day, 60, 100) for day in (1, 4, 7, 10))))
    case = story.case()
    told = within_incidents(case, case.failures, case.probes[0])

    assert told is not None and told.text.startswith("4 of 56 failures") and told.ratio == LEAST
