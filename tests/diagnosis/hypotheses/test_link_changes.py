"""What changed when the link changed: another access point, a tunnel, or something that no log names."""

from __future__ import annotations

import pytest

from holdfast.sessions.desktop import Outage
from tests.diagnosis.hypotheses.story import SECOND, Story, said


def changed(kinds: set[str], *more: set[str]) -> Story:
    """Every day twice something of these kinds is in a log, and requests break with it."""
    story = Story()
    for day in range(10):
        for number in range(2):
            minute = 33 + 130 * number + 3 * day
            for place, one in enumerate((kinds, *more)):
                at_ms = story.at(day, minute) + place * 2 * SECOND
                story.outages.append(
                    Outage(at_ms, at_ms, one, 1, "system log" if not place else "desktop log")
                )
            for session in range(2):
                story.fails(
                    day,
                    minute + 0.05 + 0.02 * session,
                    age_s=9.0 + 5 * day + session,
                    session=f"s{day}-{session}",
                )
    return story


@pytest.mark.parametrize(
    ("kinds", "name"), [({"changed", "roam"}, "wifi-roaming"), ({"vpn"}, "vpn"), ({"changed"}, "link-flap")]
)
def test_each_is_told_by_its_own_lines(kinds: set[str], name: str) -> None:
    """And by no other's."""
    found = changed(kinds).found().findings

    assert [one.hypothesis for one in found] == [name] and len(found[0].explains) == 40


def test_a_change_that_two_logs_tell_of_is_what_one_of_them_names() -> None:
    """The desktop app knows that the network changed, and the system's log to which access point."""
    assert changed({"changed", "roam"}, {"changed"}).names() == ["wifi-roaming"]
    assert changed({"vpn"}, {"changed"}).names() == ["vpn"]


def test_a_cable_does_not_roam() -> None:
    """The probe of the link says how this machine went out; and whether a VPN is there at all."""
    plain, wired, none = changed({"changed", "roam"}), changed({"changed", "roam"}), changed({"vpn"})
    wired.asked("link", {"kind": "wired", "vpn_interfaces": [], "programs": {}}, day=9)
    none.asked("link", {"kind": "wired", "vpn_interfaces": [], "programs": {}}, day=9)

    assert wired.finding("wifi-roaming").bits < plain.finding("wifi-roaming").bits
    assert "this machine went out by a cable" in said(wired.finding("wifi-roaming"))
    assert "neither a VPN's interface nor its program was seen" in said(none.finding("vpn"))


def test_that_a_vpn_is_there_blames_it_of_nothing() -> None:
    """No line of it near a failure."""
    story = Story()
    for day in range(10):
        story.fails(day, 60 + 7 * day, age_s=3.0 + 9 * day, vpn=True)
    story.asked("link", {"vpn_interfaces": ["wg0"], "programs": {"VPN": ["wg-quick"]}}, day=9)

    assert "vpn" not in story.names()
