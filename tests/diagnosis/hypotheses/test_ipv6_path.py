"""The way by IPv6."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.diagnosis.hypotheses.story import BROKE, Story, said


def both_ways(broken: str = "6") -> Story:
    story = Story()
    for day in range(12):
        story.went_well(day, 12, family="4")
        story.went_well(day, 8, family="6")
        story.fails(day, 55, age_s=5.0 + 4 * day, family=broken if broken != "both" else "46"[day % 2])
        story.fails(day, 200, age_s=9.0 + 4 * day, family=broken if broken != "both" else "64"[day % 2])
    return story


def connected(six: int, four: int = 5) -> dict[str, Any]:
    return {"IPv6": {"tries": 5, "connected": six}, "IPv4": {"tries": 5, "connected": four}}


def test_what_fails_by_ipv6_alone_is_its_way() -> None:
    """Two in five requests went by it, and all that failed."""
    found = both_ways().finding("ipv6-path")

    assert (found.grade, len(found.explains)) == ("strong", 24)
    assert "24 of 24 failures whose way is known went by IPv6" in said(found)
    assert "--ip 4" in found.remedy


def test_what_fails_either_way_is_not() -> None:
    """Nor what fails by IPv4."""
    assert "ipv6-path" not in both_ways("both").names()
    assert "ipv6-path" not in both_ways("4").names()


def test_a_probe_of_both_families_is_for_it_or_against_it() -> None:
    """None of five connected by IPv6 and all by IPv4; or all by both, which is less than nothing for it."""
    plain, broken, sound = both_ways(), both_ways(), both_ways()
    broken.asked("connect", connected(0), day=11)
    sound.asked("connect", connected(5), day=11)
    bits = [story.finding("ipv6-path").bits for story in (sound, plain, broken)]

    assert bits == sorted(bits) and bits[0] < bits[1] < bits[2]
    assert "0 of 5 connected by IPv6, 5 of 5 by IPv4" in said(broken.finding("ipv6-path"))


def test_without_flights_a_probe_and_missing_routes_are_enough_to_suspect_it() -> None:
    """The client's codes alone are not: an outage has them too."""
    story = Story()
    for day in range(14):
        story.fails(day, 55, code="EHOSTUNREACH", age_s=0.02 + day)
        story.fails(day, 300, code="ENETUNREACH", age_s=1.5 * day + 0.1)

    assert "ipv6-path" not in story.names()
    story.asked("connect", connected(0), day=13)
    assert "ipv6-path" in story.names()
    assert "ipv6-path" not in told_of_another_network(story)


def told_of_another_network(story: Story) -> list[str]:
    """The same, with the probe asked on another network than every failure's."""
    (probe,) = story.probes
    story.probes.clear()
    story.asked("connect", probe.facts, day=13, network="cafe")
    for day in range(14):
        story.went_well(day, 1, network="home")
    for number, one in enumerate(story.failures):
        trip = replace(BROKE, at_ms=one.at_ms, turn=f"n{number}", failure=one.id, network="home", phase=None)
        story.trips.append(trip)
    return story.names()


def test_what_broke_is_compared_with_what_went_well() -> None:
    """Half of what went well went by IPv6. Sixty attempts that broke are no part of what a day's requests are."""
    story = Story()
    for day in range(6):
        story.went_well(day, 10, family="4")
        story.went_well(day, 10, family="6")
        for number in range(10):
            story.fails(day, 20 + 30 * number, age_s=5.0 + 4 * number + day, family="6")

    assert "60 of 60 failures whose way is known went by IPv6" in said(story.finding("ipv6-path"))
    assert "by its share of them 30.0 were to be expected" in said(story.finding("ipv6-path"))
    beyond = "60 failures are put to it, but of its 60 on those days 30 were to be expected without any fault: about 30"
    assert beyond in said(story.finding("ipv6-path"))
