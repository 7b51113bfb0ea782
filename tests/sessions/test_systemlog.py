"""The machine's own logs: when the link went and came, when the machine slept. Lines as the tools write them."""

from __future__ import annotations

import json

from holdfast.sessions.systemlog import Event, journal, mac_log, outages, pmset, sleeps, strains
from tests.sessions.written import MORNING_MS

FIRST, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"


def said(*lines: tuple[float, str | list[int]]) -> list[str]:
    """Lines of `journalctl -o json`, at seconds after the morning."""
    return [
        json.dumps({"__REALTIME_TIMESTAMP": str(round((MORNING_MS + second * 1000) * 1000)), "MESSAGE": text})
        for second, text in lines
    ]


def spans(*lines: tuple[float, str | list[int]]) -> list[tuple[float, float, set[str]]]:
    """Outages in seconds after the morning."""
    return [
        ((one.begun_ms - MORNING_MS) / 1000, (one.ended_ms - MORNING_MS) / 1000, one.kinds)
        for one in outages(journal(said(*lines)).events)
    ]


def test_an_absence_is_from_the_first_line_that_it_went_to_the_first_that_it_came() -> None:
    """Three programs tell of one outage in their own words."""
    assert spans(
        (10.0, f"wlan0: CTRL-EVENT-DISCONNECTED bssid={FIRST} reason=3"),
        (10.1, f"wlan0: deauthenticated from {FIRST} (Reason: 3=DEAUTH_LEAVING)"),
        (10.2, "<info> device (wlan0): state change: activated -> failed (reason 'supplicant-disconnect')"),
        (70.0, f"wlan0: CTRL-EVENT-CONNECTED - Connection to {FIRST} completed"),
        (71.0, "<info> manager: NetworkManager state is now CONNECTED_GLOBAL"),
    ) == [(10.0, 70.0, {"offline"})]


def test_what_is_back_at_once_is_a_change() -> None:
    """Four seconds from one access point to another, or back to the same."""
    assert spans(
        (10, f"wlan0: CTRL-EVENT-DISCONNECTED bssid={FIRST} reason=4"),
        (14, f"wlan0: CTRL-EVENT-CONNECTED - Connection to {OTHER} completed"),
    ) == [(10.0, 14.0, {"changed", "roam"})]
    assert spans(
        (10, f"wlan0: CTRL-EVENT-DISCONNECTED bssid={FIRST} reason=4"),
        (14, f"wlan0: CTRL-EVENT-CONNECTED - Connection to {FIRST} completed"),
    ) == [(10.0, 14.0, {"changed"})]


def test_a_roam_needs_no_disconnection() -> None:
    """Connected, and connected again, elsewhere; to the same point it is nothing."""
    assert spans(
        (10, f"wlan0: CTRL-EVENT-CONNECTED - Connection to {FIRST} completed"),
        (20, f"wlan0: CTRL-EVENT-CONNECTED - Connection to {FIRST} completed"),
        (30, f"wlan0: CTRL-EVENT-CONNECTED - Connection to {OTHER} completed"),
    ) == [(30.0, 30.0, {"changed", "roam"})]


def test_a_tunnel_that_goes_is_no_link_that_goes() -> None:
    """Nor one that comes. Whoever waits for bytes loses them all the same, so it is told by itself."""
    assert spans(
        (10, "device (tun0): state change: ip-check -> activated (reason 'none')"),
        (400, "device (tun0): state change: activated -> unmanaged (reason 'connection-assumed')"),
        (700, "vpn[0x5581,8c1f,'office']: dbus: failed with reason connect-timeout"),
    ) == [(10.0, 10.0, {"vpn"}), (400.0, 400.0, {"vpn"}), (700.0, 700.0, {"vpn"})]


def test_the_kernel_says_when_the_machine_has_too_little() -> None:
    """Since when, where it says for how long; a container that has used up its share is no trouble of the machine's."""
    lines = said(
        (100, "Out of memory: Killed process 4711 (docker-build) total-vm:9000000kB"),
        (400, "INFO: task node:812 blocked for more than 122 seconds."),
        (500, "watchdog: BUG: soft lockup - CPU#3 stuck for 23s! [kswapd0:71]"),
        (600, "Memory cgroup out of memory: Killed process 9 (chrome)"),
    )

    found = [(begun - MORNING_MS, ended - MORNING_MS) for begun, ended in strains(journal(lines).events)]
    assert found == [(100_000, 100_000), (278_000, 400_000), (477_000, 500_000)]


def test_a_cable_is_a_link_too_and_a_container_none() -> None:
    """The kernel's words; virtual interfaces come and go all day."""
    assert spans(
        (5, "docker0: port 1(veth12ab) entered disabled state"),
        (6, "eth0: Link is Down"),
        (7, "veth12ab: Lost carrier"),
        (60, "eth0: Link is Up - 1Gbps/Full - flow control off"),
    ) == [(6.0, 60.0, {"offline"})]


def test_a_link_that_no_line_brings_back_was_away_nobody_knows_how_long() -> None:
    """Its begin is known, and is all that is claimed."""
    assert spans((6, "eth0: Link is Down")) == [(6.0, 6.0, {"offline"})]
    assert spans((6, "eth0: Link is Down"), (9000, "eth0: Link is Up")) == [(6.0, 6.0, {"offline"})]


def test_a_sleep_is_no_outage() -> None:
    """The link goes when the machine sleeps; that is told as the sleep that it is, from its first line to the waking."""
    lines = said(
        (100, "The system will suspend now!"),
        (100.4, "<info> device (wlan0): state change: activated -> unmanaged (reason 'sleeping')"),
        (101, "Entering sleep state 'suspend'..."),
        (3700, "PM: suspend entry (s2idle)"),
        (3700.1, "PM: suspend exit"),
        (3701, "System returned from sleep operation 'suspend'."),
        (3704, "<info> device (wlan0): state change: secondaries -> activated (reason 'none')"),
    )
    log = journal(lines)

    assert [(one - MORNING_MS, other - MORNING_MS) for one, other in sleeps(log.events)] == [
        (100_000, 3_700_100)
    ]
    assert outages(log.events) == []


def test_a_message_may_be_bytes_and_a_line_may_be_broken() -> None:
    """The journal writes what is no text as a list of numbers; dirt is counted and ends nothing."""
    text = list(b"eth0: Link is Down \xff")
    log = journal([*said((6, text)), '{"MESSAGE": "no time"}', "{broken", "", "[1]"])

    assert [event.kind for event in log.events] == ["down"]
    assert (log.lines, log.dirt) == (1, 3)
    assert log.first_ms == log.last_ms == MORNING_MS + 6_000


def test_the_wifi_log_of_a_mac_has_zones_in_its_stamps() -> None:
    """Fields as documented; the end of its output is a line of another form, and no dirt."""
    lines = [
        json.dumps(
            {
                "timestamp": "2026-04-14 02:00:01.123456-0500",
                "eventMessage": "en0: deauth received, reason 3",
                "subsystem": "com.apple.wifi",
            }
        ),
        json.dumps({"timestamp": "2026-04-14 02:01:01.000000-0500", "eventMessage": "en0: link up"}),
        json.dumps({"timestamp": "2026-04-14 02:05:00.000000-0500", "eventMessage": "roamed to another BSS"}),
        json.dumps({"count": 3, "finished": 1}),
    ]
    log = mac_log(lines)

    assert log.events[0] == Event(MORNING_MS + 1_123, "down")
    assert [event.kind for event in log.events] == ["down", "up", "roam"]
    assert (log.lines, log.dirt) == (3, 0)
    assert [one.kinds for one in outages(log.events)] == [{"offline"}, {"changed", "roam"}]


def test_pmset_tells_of_sleep_and_waking() -> None:
    """Lines of other kinds are passed over; a dark wake is one, since programs run in it."""
    log = pmset(
        [
            "Time stamp                Domain          Message",
            "2026-04-14 02:00:10 -0500 Sleep               \tEntering Sleep state due to 'Clamshell Sleep'",
            "2026-04-14 02:10:00 -0500 Assertions          \tPID 99(x) Created",
            "2026-04-14 02:30:10 -0500 DarkWake            \tDarkWake from Deep Idle [CDN] : due to RTC",
        ]
    )

    assert sleeps(log.events) == [(MORNING_MS + 10_000, MORNING_MS + 1_810_000)]
    assert log.lines == 2
