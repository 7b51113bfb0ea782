"""The system's tools, run with a limit and never as another user; what they do not tell is a row of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.sessions import machine
from holdfast.sessions.machine import Machine, NotTold, look
from holdfast.sessions.snapshots import Shown, conntrack, interfaces, iw, nmcli_wifi, ss, terse, wdutil
from tests.sessions.test_systemlog import said
from tests.sessions.written import MORNING_MS

IW = """\
Connected to 02:00:00:00:00:01 (on wlan0)
\tSSID: our secret name
\tfreq: 5180
\tRX: 2272 bytes (11 packets)
\tsignal: -61 dBm
\trx bitrate: 390.0 MBit/s VHT-MCS 4 80MHz VHT-NSS 2
\ttx bitrate: 433.3 MBit/s
"""
STATION = """\
Station 02:00:00:00:00:01 (on wlan0)
\tsignal:  \t-61 [-64, -63] dBm
\ttx retries:\t120
\ttx failed:\t3
\tbeacon loss:\t1
\tconnected time:\t4711 seconds
"""
SS = """\
ESTAB 0 0 192.0.2.7:40222 203.0.113.9:443 timer:(keepalive,11sec,0) ino:1 sk:2
\t cubic rto:220 rtt:18.5/4.2 bytes_sent:900 retrans:0/10 lastsnd:40 lastrcv:30 lastack:30
ESTAB 0 0 192.0.2.7:40224 203.0.113.9:443 ino:3 sk:4
\t cubic rto:220 rtt:19/4 bytes_sent:900 lastsnd:40
"""
WDUTIL = """\
WIFI
    MAC Address          : <redacted>
    SSID                 : <redacted>
    RSSI                 : -58 dBm
    Noise                : -92 dBm
    CCA                  : 12 %
    Channel              : 5g157/80
    Tx Rate              : 866.0 Mbps
    MCS Index            : 9
    NSS                  : 2
BLUETOOTH
    RSSI                 : -40 dBm
"""


def test_a_link_is_told_without_names_and_addresses() -> None:
    """Signal, rates, what was sent again; no network's name, no hardware address."""
    found = [*iw(IW), *iw(STATION)]

    assert Shown("iw", "signal", "-61 dBm") in found and Shown("iw", "not sent", "3") in found
    assert Shown("iw", "connected for", "4711 seconds") in found
    assert not any("secret" in one.value or "02:00" in one.value for one in found)


def test_wdutils_first_section_is_the_wifis() -> None:
    """Labels as documented; what is redacted is left out, and Bluetooth's signal is not taken for it."""
    found = {one.name: one.value for one in wdutil(WDUTIL)}

    assert (found["signal"], found["noise"], found["channel"]) == ("-58 dBm", "-92 dBm", "5g157/80")
    assert len(found) == 7


def test_nmclis_fields_have_colons_in_them() -> None:
    r"""`\:` is one; the network in use and its neighbours on the channel are counted."""
    assert terse(r"a\:b:c") == ["a:b", "c"]
    found = {
        one.name: one.value
        for one in nmcli_wifi("*:78:270 Mbit/s:36\n :40:130 Mbit/s:36\n :30:54 Mbit/s:1\n")
    }

    assert found == {"signal (of 100)": "78", "rate": "270 Mbit/s", "channel": "36", "others on it": "1"}
    assert nmcli_wifi("Error: NetworkManager is not running.\n") == []


def test_a_socket_is_two_lines() -> None:
    """The keepalive timer is in the first, what was sent again in the second."""
    assert [one.value for one in ss(SS)] == ["2", "1", "10"]
    assert [one.value for one in ss("")] == ["0", "0", "0"]


def test_interfaces_and_tables_of_connections() -> None:
    """`iw dev` names them; the kernel's numbers are there only where addresses are translated."""
    assert interfaces("phy#0\n\tInterface wlan0\n\t\tifindex 3\n") == ["wlan0"]
    assert conntrack({"nf_conntrack_count": "12", "nf_conntrack_max": "65536\n"}) == [
        Shown("conntrack", "connections tracked", "12"),
        Shown("conntrack", "connections at most", "65536"),
    ]
    assert conntrack({"nf_conntrack_count": "0", "nf_conntrack_max": "65536\n"}) == []


def linux(words: Sequence[str]) -> str:
    """A laptop with a journal and nothing else."""
    if words[0] == "journalctl":
        return "\n".join(
            said((10, "wlan0: CTRL-EVENT-DISCONNECTED reason=3"), (70, "wlan0: CTRL-EVENT-CONNECTED"))
        )
    if words[:2] == ["iw", "dev"]:
        return {2: "phy#0\n\tInterface wlan0\n", 4: IW, 5: STATION}[len(words)]
    raise NotTold("it is not installed")


def test_linux_is_asked_for_its_journal_and_its_link(tmp_path: Path) -> None:
    """What is missing is named with the line to type, and whether it matters."""
    made = look("Linux", MORNING_MS, MORNING_MS + 60_000, runs=linux, proc=tmp_path)

    assert [log.lines for log in made.logs] == [2]
    assert {one.name for one in made.shown} >= {"signal", "not sent"}
    assert [one.line.split()[0] for one in made.untold] == ["nmcli", "ss"]
    assert all(one.why == "it is not installed" and one.ranking.startswith("no") for one in made.untold)


def test_a_journal_without_lines_is_no_journal(tmp_path: Path) -> None:
    """Nothing visible is not nothing happened: the groups that may read it are named."""
    made = look("Linux", MORNING_MS, MORNING_MS, runs=lambda _: "", proc=tmp_path)
    (row,) = made.untold

    assert made.logs == [] and row.line.startswith("journalctl") and row.ranking.startswith("yes")
    assert "systemd-journal" in row.why


def test_a_mac_is_not_asked_for_rights() -> None:
    """`sudo wdutil info` is a line to type; nothing is verified there, and the value says so."""
    asked: list[str] = []

    def runs(words: Sequence[str]) -> str:
        asked.append(words[0])
        return ""

    made: Machine = look("Darwin", MORNING_MS, MORNING_MS + 3_600_000, runs=runs)

    assert asked == ["log", "pmset"] and not made.verified
    assert made.untold[-1].line == "sudo wdutil info"


def test_no_other_system_is_asked_anything() -> None:
    """Nor pretended to be known."""
    assert look("Windows", 0, 1) == Machine(verified=False)


def test_a_command_runs_with_a_limit_and_a_bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret of ours reaches it; one that hangs, fails or is not there tells why."""
    monkeypatch.setenv("SOME_SECRET", "x")
    monkeypatch.setattr(machine, "LIMIT_S", 0.2)

    assert "SOME_SECRET" not in machine.run(["env"])
    for words, why in (
        (["sleep", "9"], "longer than"),
        (["false"], "ended with 1"),
        (["no-such-tool"], "not installed"),
    ):
        with pytest.raises(NotTold, match=why):
            machine.run(words)
