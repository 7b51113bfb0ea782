"""One place of the edge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.diagnosis.hypotheses.story import Story, said


def told(*, elsewhere_too: bool = False) -> Story:
    """Requests meet two places every day; at one of them they break."""
    story = Story()
    for day in range(14):
        story.went_well(day, 14, location="ORD", edge="192.0.2.1")
        story.went_well(day, 6, location="DFW", edge="192.0.2.2")
        for number in range(2):
            place = "ORD" if elsewhere_too and (day + number) % 3 else "DFW"
            edge = "192.0.2.1" if place == "ORD" else "192.0.2.2"
            story.fails(day, 40 + 130 * number, age_s=3 + 5 * number + day, location=place, edge=edge)
    return story


def test_failures_at_one_place_of_two_are_the_places() -> None:
    """All went by DFW, where a third of the same days' requests went; and the page says how many were to be expected."""
    found = told().finding("edge-location")

    assert (found.grade, len(found.explains)) == ("strong", 28)
    assert "28 of 28 failures whose way is known went by the edge at DFW" in said(found)
    assert "there 28 of 28 did, and by its share of them 8.4 were to be expected" in said(found)
    assert (
        "of its 28 on those days 8 were to be expected without any fault: about 20 came beyond that"
        in said(found)
    )
    assert "holdfast probe edge" in found.brief.settle


def test_failures_at_both_places_are_of_neither() -> None:
    """Where both fail in proportion, the place is not the cause."""
    assert "edge-location" not in told(elsewhere_too=True).names()


def test_with_one_place_alone_there_is_nothing_to_compare() -> None:
    """Every request met DFW: the provider and its edge there cannot be told apart, and no place is claimed."""
    story = Story()
    for day in range(14):
        story.went_well(day, 20, location="DFW", edge="192.0.2.2")
        story.fails(day, 40, age_s=3.0 + day, location="DFW", edge="192.0.2.2")

    assert "edge-location" not in story.names()


def test_without_flights_no_place_is_known() -> None:
    """The client's logs name none."""
    story = told()
    story.trips.clear()

    assert "edge-location" not in story.names()


def test_a_place_of_another_day_is_no_comparison() -> None:
    """ORD until the seventh day, DFW from then on: the days differ in more than the place."""
    story = Story()
    for day in range(14):
        place = "ORD" if day < 7 else "DFW"
        story.went_well(day, 20, location=place)
        if day >= 7:
            story.fails(day, 40, age_s=3.0 + day, location=place)

    assert "edge-location" not in story.names()


def test_where_the_network_changed_with_the_place_it_says_so() -> None:
    """The bad place was met from one network alone: then that network may be at fault."""
    story = told()
    story.trips = [replace(one, network="cafe") if one.broke else one for one in story.trips]
    for day in range(14):
        story.fails(day, 200, age_s=30.0 + day, location="ORD", edge="192.0.2.1", network="home")

    assert "that network may be at fault" in said(story.finding("edge-location"))


def test_a_family_is_no_place() -> None:
    """All of IPv6 goes to one address, and fails wherever it ends: no place is blamed, letters or none."""
    for letters in (("ORD", "DFW"), (None, None)):
        story = Story()
        for day in range(12):
            story.went_well(day, 6, family="4", edge="192.0.2.1", location=letters[0])
            story.went_well(day, 6, family="4", edge="192.0.2.1", location=letters[1])
            story.went_well(day, 8, family="6", edge="2001:db8::1", location=letters[day % 2])
            for number in range(2):
                way: dict[str, Any] = {"family": "6", "edge": "2001:db8::1", "location": letters[number]}
                story.fails(day, 55 + 130 * number, age_s=5.0 + 4 * day, **way)

        assert story.names() == ["ipv6-path"]


def test_without_letters_an_address_is_the_place() -> None:
    """Two addresses of one family, and one of them breaks requests."""
    story = told()
    story.trips = [replace(one, location=None) for one in story.trips]

    assert "went by the edge 192.0.2.2" in said(story.finding("edge-location"))
