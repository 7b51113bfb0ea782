"""The machine's own logs in a diagnosis: outages and sleeps are weighed, snapshots are shown."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from holdfast.diagnosis.beside import Beside
from holdfast.diagnosis.case import Case, Failure, Span, Try
from holdfast.diagnosis.hypotheses.isp_outage import IspOutage
from holdfast.diagnosis.hypotheses.local_link import LocalLink
from holdfast.diagnosis.system import beside, saved
from holdfast.sessions.desktop import Outage
from holdfast.sessions.machine import Machine, Untold
from holdfast.sessions.snapshots import Shown
from holdfast.sessions.systemlog import journal, mac_log, pmset
from tests.sessions.test_systemlog import said
from tests.sessions.written import MORNING_MS


def test_outages_sleeps_and_what_is_covered_come_from_the_log() -> None:
    """Covered is from its first line to its last; before and after, nobody knows whether it was kept."""
    lines = said(
        (0, "booted"), (10, "eth0: Link is Down"), (70, "eth0: Link is Up"), (100, "PM: suspend entry")
    )
    lines += said((900, "PM: suspend exit"))
    found = beside(Beside(), Machine(logs=[journal(lines)]))

    assert [(one.begun_ms - MORNING_MS, one.kinds) for one in found.outages] == [(10_000, {"offline"})]
    assert [(one.begun_ms - MORNING_MS, one.ended_ms - MORNING_MS) for one in found.sleeps] == [
        (100_000, 900_000)
    ]
    assert found.watched[0].begun_ms == MORNING_MS and found.watched[0].ended_ms == MORNING_MS + 900_000
    (told,) = found.covered
    assert told.count == "5 lines, 1 outage and 0 changes of the link, 1 sleep"


def test_a_log_of_sleeps_says_nothing_of_the_link() -> None:
    """Its silence is no proof that the network stayed; and what was read on a Mac is said not to be verified."""
    log = pmset(["2026-04-14 02:00:10 -0500 Sleep \tEntering Sleep state"])
    found = beside(Beside(), Machine(logs=[log, mac_log([])], verified=False))

    assert found.watched == ()
    assert all("not verified on a Mac" in one.count for one in found.covered)


def test_now_is_shown_and_weighs_nothing() -> None:
    """The report says so; what was not told has its line to type, and whether it matters."""
    untold = Untold("sudo wdutil info", "it needs root", "no")
    found = beside(Beside(), Machine(shown=[Shown("iw", "signal", "-61 dBm")], untold=[untold]))

    assert found.tables["link now"] == [{"source": "iw", "name": "signal", "value": "-61 dBm"}]
    assert found.tables["commands"][0]["line"] == "sudo wdutil info"
    assert "weighs nothing" in found.refused[0] and not found.outages
    assert found.covered[0].count == "none"


def test_what_could_have_changed_the_ranking_is_in_the_coverage() -> None:
    """With why it was not told, and the line to type."""
    untold = Untold("journalctl -u NetworkManager", "it may not be used by this user", "yes: outages")

    assert beside(Beside(), Machine(untold=[untold])).covered[0].unreadable == (
        "journalctl -u NetworkManager: it may not be used by this user",
    )


def test_a_system_log_knows_nothing_beyond_the_own_link() -> None:
    """A line that was cut behind the router stays as likely where only the system's log covers the time."""
    failures = [
        Failure(f"f{number}", (Try(at, 9.0, "ECONNRESET"),), "recovered", at, at, "s", "2.1.104")
        for number, at in enumerate((MORNING_MS + 61_000, MORNING_MS + 900_000))
    ]
    away = Outage(MORNING_MS + 60_000, MORNING_MS + 62_000, {"name"})
    own = Outage(MORNING_MS + 60_000, MORNING_MS + 90_000, {"offline"}, 2, "system log")
    desktop = Span(MORNING_MS, MORNING_MS + 600_000)
    system = Span(MORNING_MS, MORNING_MS + 3_600_000)
    case = Case(failures, outages=[away, own], watched=[desktop], link_watched=[system])
    (inside, outside), (within, without) = IspOutage().ratios(case), LocalLink().ratios(case)

    assert inside > 1 and outside == 1.0, "no log that could know covers it"
    assert within > 1 and without < 1, "the system's log covers it, and knows of no outage"
    assert LocalLink().brief(case, failures[:1]).pro[0].source == "system log"


IN_BERLIN = (
    ("Apr 14 09:00:10 laptop kernel: eth0: Link is Down", "Apr 14 09:01:10 laptop kernel: eth0: Link is Up"),
    ("[Tue Apr 14 09:00:10 2026] eth0: Link is Down", "[Tue Apr 14 09:01:10 2026] eth0: Link is Up"),
    (
        "2026-04-14T09:00:10+0200 laptop kernel: eth0: Link is Down",
        "2026-04-14T07:01:10Z x kernel: eth0: Link is Up",
    ),
    tuple(said((10, "eth0: Link is Down"), (70, "eth0: Link is Up"))),
)


@pytest.mark.parametrize("lines", IN_BERLIN, ids=["journalctl", "dmesg -T", "short-iso", "json"])
def test_a_log_that_was_saved_tells_outages_and_that_it_was_watched_never(lines: tuple[str, ...]) -> None:
    """Somebody may have cut it to what he looked for, so its silence proves nothing; without a zone it is the machine's."""
    log = saved("log saved", ["", *lines, "no time"], ZoneInfo("Europe/Berlin"), MORNING_MS / 1000)
    assert log is not None
    found = beside(Beside(), Machine(logs=[log]))

    assert [(one.begun_ms - MORNING_MS, one.kinds) for one in found.outages] == [(10_000, {"offline"})]
    assert found.watched == ()
    assert found.covered[0].count == "2 lines, 1 outage and 0 changes of the link, 0 sleeps"
    assert found.covered[0].unreadable == ("1 that could not be read",)


def test_a_proxys_log_is_no_log_of_the_system() -> None:
    """Nor is one whose clock is said to be off read as if it were right."""
    line = '127.0.0.1 - - [14/Apr/2026:07:00:10 +0000] "POST /v1/messages HTTP/1.1" 200 5 "-" "curl"'
    zone = ZoneInfo("UTC")
    ahead = saved("log", ["2026-04-14T07:00:10Z kernel: eth0: Link is Down"], zone, 0.0, ahead_s=10.0)

    assert saved("log", [line], zone, MORNING_MS / 1000) is None
    assert ahead is not None and ahead.events[0].at_ms == MORNING_MS
