"""What the environment says of a finding and of an advice."""

from __future__ import annotations

from datetime import UTC

import pytest

from holdfast.diagnosis.around import Around, held_against, with_egress, with_link
from holdfast.diagnosis.case import Case
from holdfast.diagnosis.diagnosis import Advice, Diagnosis
from holdfast.diagnosis.examine import Examination, Finding
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.hypothesis import Brief
from holdfast.probes.link import Seen
from holdfast.probes.result import Grade, Result
from holdfast.sessions.environment import ADVICE, ANOTHERS, RADIO, Environment, Fact, Skipped


def found(name: str) -> Diagnosis:
    one = next(one for one in catalogue() if one.name == name)
    finding = Finding(
        name, one.title, "strong", 20.0, ("f1",), 1.0, Brief(settle="x"), one.remedy, one.falsifier
    )
    advice = (Advice(one.remedy, name, 0, 1),)
    return Diagnosis(1, 9, 0, Examination((finding,), ("f1",), (), ()), advice, {}, (), (), case=Case(()))


def where(name: str, value: str) -> Environment:
    return Environment([Fact(name, value)], [])


@pytest.mark.parametrize("name", ["local-link", "link-flap", "wifi-roaming", "upload-loss"])
def test_nobody_is_told_to_take_the_cable_that_is_there(name: str) -> None:
    """Beside `interface wired` the advice names what is left to look at; by Wi-Fi it is as it was."""
    wired = held_against(found(name), where("interface", "wired"))
    wireless = held_against(found(name), where("interface", "wi-fi"))

    for told in (wired.advice[0].remedy, wired.findings[0].remedy):
        assert "link is wired now" in told and "Use a wired link" not in told and "Use a cable" not in told
    assert wireless.advice == found(name).advice


def test_a_proxy_that_is_not_set_speaks_against_one_that_did_not_run() -> None:
    """The finding's own falsifier is at hand: it is told against it, where it would be read."""
    unset = held_against(found("refused"), where("proxy settings", "none"))
    named = held_against(found("refused"), where("proxy settings", "HTTPS_PROXY"))

    assert unset.findings[0].brief.con[0].text.startswith("No proxy is set where")
    assert not named.findings[0].brief.con and not held_against(found("refused"), None).findings[0].brief.con
    assert not held_against(found("rate-limit"), where("proxy settings", "none")).findings[0].brief.con


def test_where_it_leaves_is_told_with_its_day_or_with_what_to_type() -> None:
    """The last answer; where there is none, the line, and that no ranking waits for it; of another's machine nothing."""
    answer = Result(
        "egress", "service.example:443", 1_776_150_000_000, 1.0, Grade.FINE, "v", "s", "n",
        {"asn": "AS64500", "as_name": "Example", "city": "Berlin", "region": "BE", "country": "DE"},
    )  # fmt: skip
    empty = Environment([], [])

    known = with_egress(empty, [answer], UTC, own=True)
    assert known.told("egress") == "AS64500 Example, Berlin, DE; asked on 2026-04-14" and not known.skipped
    (line,) = Around(with_egress(empty, [], UTC, own=True)).gaps()
    assert line.endswith("could not change the ranking; type: holdfast probe egress")
    (skipped,) = with_egress(empty, [answer], UTC, own=False).skipped
    assert skipped.why == ANOTHERS and not empty.skipped


def test_what_this_machine_says_of_its_own_network_is_told() -> None:
    """IPv6 and its route, the radio in figures that identify nobody, and programs that filter or relay."""
    empty = Environment([], [])
    wireless = Seen(
        "wlan0", kind="wireless", signal_dbm=-71, ipv6="global", ipv6_route=False, programs={"filter": ("lulu",)},
        wifi={"freq": "5180", "signal": "-71 dBm", "tx bitrate": "260.0 MBit/s"},
    )  # fmt: skip
    known = with_link(empty, wireless)
    assert known.told("IPv6") == "global, without a default route"
    assert known.told("Wi-Fi") == "-71 dBm, freq 5180, tx bitrate 260.0 MBit/s"
    assert known.told("filter programs") == "filter: lulu" and not known.skipped

    wired = with_link(empty, Seen("eth0", kind="wired", ipv6="none", ipv6_route=False, programs={}))
    assert [wired.told(one) for one in ("IPv6", "Wi-Fi", "filter programs")] == [
        "none",
        "not in use",
        "none seen",
    ]
    assert not empty.facts and not empty.skipped


def test_what_this_machine_does_not_say_of_its_network_is_a_line_to_type() -> None:
    """Never an empty one; a Mac's radio is named once; of another's machine nothing is asked of this one."""
    dumb = with_link(Environment([], []), Seen(kind="tunnel"))
    assert [one.name for one in dumb.skipped] == ["IPv6", "Wi-Fi", "filter programs"]
    assert all(one.line and "could not change the ranking" in one.ranking for one in dumb.skipped)

    radio = Environment([], [Skipped(RADIO, "that needs root", "sudo wdutil info")])
    assert [one.name for one in with_link(radio, Seen(kind="wireless")).skipped] == [
        RADIO,
        "IPv6",
        "filter programs",
    ]

    other = with_link(Environment([], []), None)
    assert {(one.why, one.line) for one in other.skipped} == {(ANOTHERS, "holdfast probe link")}
    (line,) = Around(other).gaps()
    assert line.startswith("IPv6, Wi-Fi, filter programs: ") and line.endswith(
        "type on that one: holdfast probe link"
    )


def test_gaps_of_one_reason_are_apart_where_they_weigh_differently() -> None:
    """A link that is not known could change an advice; a shell could change nothing."""
    gaps = Around(
        Environment(
            [],
            [Skipped("shell", "w", "a"), Skipped("interface", "w", "b", ADVICE), Skipped("node", "w", "c")],
        )
    ).gaps()

    assert gaps == [
        "shell, node: w; no cause is weighed by it, so that it could not change the ranking; type: a; c",
        f"interface: w; {ADVICE}; type: b",
    ]
