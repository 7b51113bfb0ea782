"""The network that this machine is on: its link's kind, VPN or not, and a name that names it to nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.gateway.whereabouts import (
    FRESH_S,
    NOT_MEASURED,
    Link,
    Route,
    Whereabouts,
    default_route,
    default_route6,
    hardware_address,
    interface_of,
    name_of,
)

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
ARP = """IP address       HW type     Flags       HW address            Mask     Device
192.0.2.1        0x1         0x2         02:FC:00:00:00:05     *        eth0
192.0.2.9        0x1         0x0         00:00:00:00:00:00     *        eth0
"""
ROUTES6 = (
    f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n"
    f"{'0' * 32} 00 {'0' * 32} 00 fe80{'0' * 27}1 00000400 00000001 00000000 00000003    wlan0\n"
)


def machine(root: Path, *, routes: str = ROUTES, arp: str = ARP, **links: str) -> Path:
    """The files of a machine with these links: a name and `type`, or `type DEVTYPE`."""
    for name, text in {"route": routes, "arp": arp, "if_inet6": "", "ipv6_route": ""}.items():
        (root / "proc/net").mkdir(parents=True, exist_ok=True)
        (root / "proc/net" / name).write_text(text)
    for name, said in links.items():
        kind, _, device = said.partition(" ")
        (root / "sys/class/net" / name).mkdir(parents=True)
        (root / "sys/class/net" / name / "type").write_text(f"{kind}\n")
        (root / "sys/class/net" / name / "uevent").write_text(
            f"DEVTYPE={device}\nINTERFACE={name}\n" * bool(device)
        )
    return root


def here(root: Path, salt: bytes = b"one") -> Whereabouts:
    return Whereabouts(lambda: salt, interfaces=lambda: {"192.0.2.7": "eth0", "10.0.0.2": "wg0"}, root=root)


def test_the_default_route_is_that_of_the_least_metric() -> None:
    """Both families; what the kernel keeps by itself is none."""
    assert default_route(ROUTES) == Route("eth0", "192.0.2.1")
    assert default_route6(ROUTES6) == Route("wlan0", "fe80::1")
    assert default_route("Iface\n") is None and default_route6("") is None
    assert default_route("head\nx\t00000000\tZZ\t1\t0\t0\tq\t00000000\n") is None


def test_a_gateways_hardware_address_is_read_where_it_is_known() -> None:
    """An address that was never resolved is none."""
    assert hardware_address(ARP, "192.0.2.1", "eth0") == "02:fc:00:00:00:05"
    assert hardware_address(ARP, "192.0.2.9", "eth0") == hardware_address(ARP, "192.0.2.1", "wlan0") == ""


@pytest.mark.parametrize(
    ("link", "kind"),
    [
        (Link("eth0", "1"), "ethernet"), (Link("lo", "772"), "loopback"), (Link("wlp3s0", "1", wireless=True), "wifi"),
        (Link("wlan0", "1", device_type="wlan"), "wifi"), (Link("wwan0", "1", device_type="wwan"), "cellular"),
        (Link("rmnet0", "519"), "cellular"), (Link("tun0", "65534"), "tunnel"), (Link("ppp0", "512"), "tunnel"),
        (Link("wg0", "65534", device_type="wireguard"), "tunnel"), (Link("tailscale0", ""), "tunnel"),
        (Link("can0", "280"), "other"),
    ],
)  # fmt: skip
def test_links_are_told_apart(link: Link, kind: str) -> None:
    """By what the system says of them, else by their names."""
    assert link.kind == kind


def test_a_local_address_leads_to_its_link() -> None:
    """IPv6's stand in a table of the system's; loopback needs none."""
    table = "20010db8000000000000000000000001 02 40 00 80     eth0\n"
    assert interface_of("2001:db8::1", table, dict) == "eth0"
    assert (
        interface_of("2001:db8::2", table, dict) is None and interface_of("no address", table, dict) is None
    )
    assert interface_of("::1", "", dict) == interface_of("127.0.0.9", "", dict) == "lo"
    assert interface_of("192.0.2.7", "", lambda: {"192.0.2.7": "eth0"}) == "eth0"


def test_the_same_network_has_the_same_name_and_only_here(tmp_path: Path) -> None:
    """Another gateway is another network, and with another key nobody knows it again."""
    home = machine(tmp_path / "home", eth0="1")
    moved = machine(tmp_path / "moved", arp=ARP.replace("02:FC", "02:AA"), eth0="1")
    name = here(home).facts("192.0.2.7", 0.0)["network"]

    assert name == here(home).facts(None, 5.0)["network"] and isinstance(name, str) and len(name) == 16
    assert (
        len({name, here(moved).facts(None, 0.0)["network"], here(home, b"two").facts(None, 0.0)["network"]})
        == 3
    )
    assert name_of(b"one", None, "", "") is None


def test_a_gateway_that_fell_silent_is_the_same_network(tmp_path: Path) -> None:
    """The kernel forgets its hardware address after a while; what was read before still counts."""
    root = machine(tmp_path, eth0="1")
    whereabouts = here(root)
    before = whereabouts.facts("192.0.2.7", 0.0)
    machine(root, arp=ARP.splitlines()[0])

    assert whereabouts.facts("192.0.2.7", FRESH_S + 1) == before


def test_a_vpn_shows_in_the_link_and_in_the_default_route(tmp_path: Path) -> None:
    """A connection through the tunnel, and any other while the tunnel has the default route."""
    split = here(machine(tmp_path / "split", eth0="1", wg0="65534 wireguard"))
    assert split.facts("10.0.0.2", 0.0)["vpn"] is True
    assert split.facts("192.0.2.7", 0.0) | {"network": ""} == {
        "interface": "ethernet",
        "vpn": False,
        "network": "",
    }
    full = here(
        machine(tmp_path / "full", routes=ROUTES.replace("eth0", "wg0"), wg0="65534 wireguard", eth0="1")
    )
    assert full.facts("192.0.2.7", 0.0)["vpn"] is True


def test_what_was_read_serves_until_the_network_changes(tmp_path: Path) -> None:
    """A burst of endings reads the files once; news of a change makes the next one look again."""
    root = machine(tmp_path, eth0="1")
    whereabouts = here(root)
    name = whereabouts.facts("192.0.2.7", 0.0)["network"]
    machine(root, routes="Iface\n")
    assert whereabouts.facts("192.0.2.7", 1.0)["network"] == name
    whereabouts.changed()
    assert whereabouts.facts("192.0.2.7", 1.0)["network"] is None


def test_where_the_system_says_nothing_nothing_is_claimed(tmp_path: Path) -> None:
    """None is not measured."""
    assert Whereabouts(bytes, root=None).facts("192.0.2.7", 0.0) == NOT_MEASURED
    assert here(tmp_path).facts("192.0.2.99", 0.0) == NOT_MEASURED
