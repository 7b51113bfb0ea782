"""This machine's own end, from files as Linux has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.probes.link import Seen, default_route, linux, proxies, signal_of, verdict, wifi_of
from holdfast.probes.result import Grade

ROUTES = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
    "eth9\t00000000\t0102A8C0\t0003\t0\t0\t700\t00000000\t0\t0\t0\n"
    "wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0\n"
)
WIRELESS = (
    "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n"
    " face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n"
    " wlan0: 0000   35.  -74.  -256        0      0      0      0      0        0\n"
)
LOCAL6 = (
    "fe80000000000000020000fffe000001 03 40 20 80    wlan0\n00000000000000000000000000000001 01 80 10 80 lo\n"
)


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    """A laptop on weak Wi-Fi, with a VPN and a filter running."""
    files = {
        "proc/net/route": ROUTES,
        "proc/net/wireless": WIRELESS,
        "proc/net/if_inet6": LOCAL6,
        "proc/net/ipv6_route": "",
        "sys/class/net/wlan0/wireless/x": "",
        "sys/class/net/wlan0/operstate": "up\n",
        "sys/class/net/tun0/tun_flags": "0x1001\n",
        "sys/class/net/tun0/operstate": "unknown\n",
        "sys/class/net/wg1/operstate": "down\n",
        "proc/17/comm": "openvpn\n",
        "proc/18/comm": "zsatunnel\n",
        "proc/19/comm": "bash\n",
        "proc/20/comm": "\x1b[2Jcharles\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_laptop_is_read_as_it_is(laptop: Path) -> None:
    """Interface, signal, VPN, what runs: each from its file."""
    seen = linux(laptop, {"HTTPS_PROXY": "http://me:hunter22@proxy.example:3128", "NO_PROXY": "x"})

    assert (seen.interface, seen.gateway, seen.kind, seen.signal_dbm) == (
        "wlan0",
        "192.168.1.1",
        "wireless",
        -74,
    )
    assert seen.tunnels == ("tun0",) and seen.ipv6 == "local only" and seen.ipv6_route is None
    assert seen.programs == {"VPN": ("openvpn",), "filter": ("zsatunnel",)}
    finding = verdict(seen)
    assert finding.grade is Grade.SUSPECTED and "Wi-Fi at -74 dBm, which is weak" in finding.verdict
    assert "VPN interface tun0; proxy set by HTTPS_PROXY" in finding.verdict
    assert "hunter22" not in str(finding)


def test_a_wired_machine_without_any_of_it_is_fine() -> None:
    """And it says that nothing was seen, not that nothing is there."""
    finding = verdict(Seen("eth0", "192.0.2.1", "wired", ipv6="global", ipv6_route=True, programs={}))

    assert finding.grade is Grade.FINE
    assert finding.verdict == "wired (eth0); IPv6 reaches outside; no VPN, proxy or filter program seen"


def test_what_is_not_told_is_not_measured(tmp_path: Path) -> None:
    """An empty /proc is no machine without a network."""
    seen = linux(tmp_path, {})
    finding = verdict(seen)

    assert (
        finding.grade is Grade.NOT_MEASURED
        and finding.facts["programs"] is None
        and finding.facts["ipv6"] is None
    )
    assert "interface: not measured here because no default route is set" in finding.verdict


def test_only_what_identifies_nobody_is_taken_of_wifi() -> None:
    """Neither the network's name nor its address."""
    said = (
        "Connected to 02:11:22:33:44:55 (on wlan0)\n\tSSID: Home of Somebody\n\tfreq: 5785\n"
        "\tsignal: -66 dBm\n\ttx bitrate: 520.0 MBit/s VHT-MCS 5\n"
    )

    assert wifi_of(said) == {"freq": "5785", "signal": "-66 dBm", "tx bitrate": "520.0 MBit/s VHT-MCS 5"}


def test_odd_files_are_no_answer() -> None:
    """A driver that tells no level, a table of nonsense, a proxy that is a password."""
    assert signal_of(WIRELESS.replace("-74.", "0."), "wlan0") is None
    assert default_route("x\nwlan0\t00000000\tZZ\t0\t0\t0\tq\t00000000\n") == (None, None)
    assert default_route("") == (None, None)
    assert proxies({"ALL_PROXY": "hunter22@x"}) == {"ALL_PROXY": "***@x"}
