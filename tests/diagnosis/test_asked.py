"""What probes answered: for a cause or against it, once, and as far as it speaks of the failures' network and time."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from holdfast.diagnosis.asked import relevance
from holdfast.probes.result import Grade
from tests.diagnosis.hypotheses.story import BROKE, MINUTE, Story, said

LIMIT_S = 240.0


def cut_when_silent(*, network: str | None = None, count: int = 24) -> Story:
    """Requests that fail at one age, heard by a reset: a limit somewhere, and nothing tells whose."""
    story, draw = Story(), random.Random(7)
    for number in range(count):
        day = number % 12
        story.fails(day, 50 + 110 * (number // 12), age_s=LIMIT_S)
        one = story.failures[-1]
        story.failures[-1] = replace(
            one, tries=(replace(one.tries[0], age_s=LIMIT_S + draw.uniform(-0.5, 0.5)),)
        )
        if network is not None:
            # Another turn of that hour, seen by the gateway, says which network it was; this one did not go through it.
            story.trips.append(replace(BROKE, at_ms=one.at_ms + MINUTE, turn=f"n{number}", network=network))
    return story


def held(*dead_from: float | None, keepalive_helps: bool = True) -> dict[str, Any]:
    """Connections held for several lengths; those from this length on were forgotten."""
    (first,) = dead_from
    lengths = (15.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0)

    def kind(forgets: bool) -> dict[str, Any]:
        return {
            "connections": [
                {
                    "hold_s": one, "idle_s": one, "how": None,
                    "outcome": "dead on send" if forgets and first is not None and one >= first else "alive",
                }
                for one in lengths
            ]
        }  # fmt: skip

    return {
        "without_keepalive": kind(True),
        "with_keepalive": kind(not keepalive_helps),
        "fresh_connection_works": True if first is not None else None,
    }


def named(story: Story) -> set[str]:
    found = story.found().findings[0]
    return {found.hypothesis, *found.rivals}


def test_without_a_probe_three_limits_look_the_same() -> None:
    """And the line that tells them apart is named."""
    found = cut_when_silent().found().findings[0]

    assert {found.hypothesis, *found.rivals} == {"fixed-limit", "silence-limit", "nat-timeout"}
    assert "holdfast probe idle" in found.brief.settle


def test_a_box_that_forgets_at_that_silence_is_the_one() -> None:
    """Forgotten between 180 and 300 s, and kept by TCP's probes; the requests failed at 240 s, on that network."""
    story = cut_when_silent(network="home")
    story.asked("idle", held(300.0), day=11, network="home", grade=Grade.SUSPECTED)
    found = story.finding("nat-timeout")

    assert named(story) == {"nat-timeout"} and found.grade == "strong"
    assert "silent connections were forgotten between 180 s and 300 s, and lived with TCP keepalive" in said(
        found
    )
    assert any(one.source == "probes" for one in found.brief.pro)


def test_connections_that_live_through_longer_silences_rule_it_out() -> None:
    """On that network: three lengths beyond 240 s lived. The two limits at the far end are left, and named both."""
    story = cut_when_silent(network="home")
    story.asked("idle", held(None), day=11, network="home", grade=Grade.FINE)

    assert named(story) == {"fixed-limit", "silence-limit"}


@pytest.mark.parametrize("facts", [held(300.0), held(None)])
def test_on_another_network_it_says_nothing(facts: dict[str, Any]) -> None:
    """Neither for it nor against it: all three are named as before, and that it weighs nothing is said."""
    story = cut_when_silent(network="home")
    story.asked("idle", facts, day=11, network="cafe")

    assert named(story) == {"fixed-limit", "silence-limit", "nat-timeout"}
    weights = dict(story.found().considered)
    story.probes.clear()
    assert weights == pytest.approx(dict(story.found().considered))


def test_a_shorter_probe_does_not_cover_the_question() -> None:
    """All lived, up to two minutes: of four minutes it says nothing."""
    facts = held(None)
    for kind in ("without_keepalive", "with_keepalive"):
        facts[kind]["connections"] = [one for one in facts[kind]["connections"] if one["hold_s"] <= 120]
    story = cut_when_silent(network="home")
    story.asked("idle", facts, day=11, network="home")

    assert named(story) == {"fixed-limit", "silence-limit", "nat-timeout"}


def test_a_box_with_another_time_is_not_the_one() -> None:
    """It forgets after 30 to 60 s, and these requests failed at 240: what is silent for so long never lived till then."""
    story = cut_when_silent(network="home")
    plain = story.found().considered
    story.asked("idle", held(60.0), day=11, network="home", grade=Grade.SUSPECTED)

    assert dict(story.found().considered)["nat-timeout"] < dict(plain)["nat-timeout"]


def test_it_weighs_once_however_many_failures_there_are() -> None:
    """One box found once is one fact: its bits do not grow with the failures."""
    gains = []
    for count in (12, 24):
        plain, probed = (
            cut_when_silent(network="home", count=count),
            cut_when_silent(network="home", count=count),
        )
        probed.asked("idle", held(300.0), day=11, network="home")
        gains.append(
            dict(probed.found().considered)["nat-timeout"] - dict(plain.found().considered)["nat-timeout"]
        )

    assert 0 < gains[0] < 6 and gains[1] == pytest.approx(gains[0], abs=0.2)


def test_a_probe_claims_nothing_without_failures_that_speak_for_it() -> None:
    """A box that forgets is there, and what failed failed otherwise."""
    story = Story()
    for day in range(14):
        story.fails(day, 60 + 7 * day, age_s=2.0 + 31 * (day % 5))
    story.asked("idle", held(300.0), day=11)

    assert "nat-timeout" not in story.names()
    assert not Story().found().findings


def test_it_grows_old_by_what_it_asked() -> None:
    """A box's timer is the same next month; whether names resolve just now is not."""
    story = cut_when_silent()
    for name in ("idle", "connect"):
        story.asked(name, {}, day=0)
    idle, connect = story.probes
    failure = replace(story.failures[0], at_ms=idle.begun_wall_ms + 30 * 86_400_000)

    assert 0.6 < relevance(idle, failure, story.case()) < 0.8
    assert relevance(connect, failure, story.case()) < 0.001
    near = replace(story.failures[0], at_ms=idle.begun_wall_ms)
    assert relevance(idle, near, story.case()) == relevance(connect, near, story.case()) == pytest.approx(0.8)


def test_what_was_asked_of_this_machine_is_no_network() -> None:
    """A lab on loopback forgets as it is told to."""
    story = cut_when_silent()
    story.asked("idle", held(300.0), day=11, target="127.0.0.1:8443")

    assert named(story) == {"fixed-limit", "silence-limit", "nat-timeout"}
    assert "holdfast probe idle of" not in said(story.found().findings[0])


def test_unfinished_and_unmeasured_results_weigh_nothing() -> None:
    """They are kept all the same."""
    story = cut_when_silent(network="home")
    story.asked("idle", held(300.0), day=11, network="home", grade=Grade.NOT_MEASURED)
    story.asked("idle", held(300.0), day=11, network="home")
    story.probes[1] = replace(story.probes[1], complete=False)

    assert named(story) == {"fixed-limit", "silence-limit", "nat-timeout"}
