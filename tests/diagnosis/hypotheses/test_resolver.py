"""One resolver of several."""

from __future__ import annotations

from typing import Any

from tests.diagnosis.hypotheses.story import Story, said


def named(*, lasting: bool = False) -> Story:
    """Now and then a name is not resolved: single requests, or minutes of them."""
    story = Story()
    for day in range(14):
        for number in range(3 if lasting else 1):
            story.fails(
                day, 45 + 0.4 * number if lasting else 45 + 17 * (day % 5), code="EAI_AGAIN", age_s=5.0,
                tries=5 if lasting else 1, session=f"s{day}-{number}",
            )  # fmt: skip
    return story


def heard(*errors: int) -> dict[str, Any]:
    """What each resolver did with ten questions: so many were left without an answer."""
    return {
        "system_addresses": ["192.0.2.1"],
        "system_errors": [],
        "resolvers": {
            f"198.51.100.{number}": {
                "A": {"ms": [9.0] * 5, "errors": ["timeout"] * min(count, 5)},
                "AAAA": {"ms": [9.0] * 5, "errors": ["timeout"] * max(count - 5, 0)},
            }
            for number, count in enumerate(errors, 1)
        },
    }


def test_without_asking_each_it_is_the_name_that_was_not_resolved() -> None:
    """The client does not say whom it asked."""
    assert named().names() == ["name-resolution"]


def test_a_silent_resolver_beside_one_that_answers_is_the_one() -> None:
    """The probe asked each of them; failures were single, and the next try went through."""
    story = named()
    story.asked("resolve", heard(10, 0), day=12)
    found = story.finding("resolver")

    assert story.names()[0] == "resolver" and len(found.explains) == 14
    assert "198.51.100.1 left 10 of 10 questions without an answer, 198.51.100.2 none" in said(found)
    assert "without 198.51.100.1" in found.brief.settle


def test_where_all_of_them_answer_none_is_to_blame() -> None:
    """Or where all are silent: then it is names altogether."""
    for errors in ((0, 0), (10, 10)):
        story = named()
        story.asked("resolve", heard(*errors), day=12)
        assert story.names() == ["name-resolution"]


def test_minutes_without_any_name_are_not_one_resolvers() -> None:
    """The other one would have answered the next try."""
    story = named(lasting=True)
    story.asked("resolve", heard(10, 0), day=12)

    assert story.names()[0] == "name-resolution" and "resolver" not in story.names()


def test_a_probe_of_long_ago_leaves_it_open() -> None:
    """Two months old: both are named, with the line that settles it."""
    story = named()
    story.asked("resolve", heard(10, 0), day=-60)
    (found,) = story.found().findings

    assert {found.hypothesis, *found.rivals} == {"resolver", "name-resolution"}
    assert "holdfast probe resolve" in (found.tell_apart or "")
