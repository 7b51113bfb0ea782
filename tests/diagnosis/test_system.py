"""The machine's own logs in a diagnosis: outages and sleeps are weighed, snapshots are shown."""

from __future__ import annotations

from holdfast.diagnosis.beside import Beside
from holdfast.diagnosis.system import beside
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
