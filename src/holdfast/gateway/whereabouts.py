"""The network that this machine is on: by what kind of link packets leave it, whether through a VPN, and its name.

The name is no name: a keyed hash of what distinguishes one network from another without asking for it (the default
gateway's address and hardware address, and the link's kind). The same network has the same name in every flight of this
machine, and nobody else can tell which network it is: the key stays in the state directory.

Linux says all this in small files, which are read when something ended early, and then not again for a while. Elsewhere
it is not measured. Nothing here asks the network.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast.flight.evidence import Fact

FRESH_S: Final = 30.0
"So long what was read serves: a network that changed is told anyway, where the system tells it."
MOST_BYTES: Final = 256 * 1024
"Of one of the system's tables."

NOT_MEASURED: Final[Mapping[str, Fact]] = {"interface": None, "vpn": None, "network": None}

# ARPHRD_* of linux/if_arp.h.
_ETHERNET, _LOOPBACK = "1", "772"
_TUNNELS: Final = frozenset(("65534", "512", "768", "769", "776", "778", "823"))
"No link layer (tun, WireGuard), PPP, IP in IP, IPv6 in either, GRE."
_CELLULAR: Final = frozenset(("519", "530"))
"Raw IP, as modems speak it, and phonet's pipe."
_TUNNEL_NAMES: Final = ("tun", "tap", "wg", "ppp", "ipsec", "utun", "tailscale", "zt", "vti", "gre")
_CELLULAR_NAMES: Final = ("wwan", "rmnet", "ccmni", "wwp")


@dataclass(frozen=True, slots=True)
class Route:
    """The default route of one family."""

    interface: str
    gateway: str
    "Empty where there is none: a point-to-point link."


@dataclass(frozen=True, slots=True)
class Link:
    """What the system says of a network interface."""

    name: str
    arp_type: str = ""
    wireless: bool = False
    device_type: str = ""
    "DEVTYPE of its uevent: wlan, wwan, wireguard, bridge."

    @property
    def kind(self) -> str:
        """`ethernet`, `wifi`, `cellular`, `loopback`, `tunnel` or `other`."""
        if self.arp_type == _LOOPBACK or self.name == "lo":
            return "loopback"
        if self.wireless or self.device_type == "wlan":
            return "wifi"
        if self.device_type == "wwan" or self.arp_type in _CELLULAR or self.name.startswith(_CELLULAR_NAMES):
            return "cellular"
        if (
            self.device_type == "wireguard"
            or self.arp_type in _TUNNELS
            or self.name.startswith(_TUNNEL_NAMES)
        ):
            return "tunnel"
        return "ethernet" if self.arp_type == _ETHERNET else "other"


def default_route(table: str) -> Route | None:
    """The IPv4 default route of the least metric, of /proc/net/route."""
    best: tuple[int, Route] | None = None
    for line in table.splitlines()[1:]:
        cells = line.split()
        if len(cells) < 8 or cells[1] != "00000000" or cells[7] != "00000000":
            continue
        try:
            metric, number = int(cells[6]), int(cells[2], 16)
        except ValueError:
            continue
        gateway = str(ipaddress.IPv4Address(number.to_bytes(4, "little"))) if number else ""
        if best is None or metric < best[0]:
            best = metric, Route(cells[0], gateway)
    return best[1] if best else None


def default_route6(table: str) -> Route | None:
    """The same for IPv6, of /proc/net/ipv6_route; the kernel's own reject routes by `lo` aside."""
    best: tuple[int, Route] | None = None
    for line in table.splitlines():
        cells = line.split()
        if len(cells) < 10 or cells[0] != "0" * 32 or cells[1] != "00" or cells[9] == "lo":
            continue
        try:
            metric, gateway = int(cells[5], 16), ipaddress.IPv6Address(bytes.fromhex(cells[4]))
        except ValueError:
            continue
        if best is None or metric < best[0]:
            best = metric, Route(cells[9], str(gateway) if int(gateway) else "")
    return best[1] if best else None


def hardware_address(table: str, address: str, interface: str) -> str:
    """Of a neighbour, of /proc/net/arp; empty where it is not known."""
    for line in table.splitlines()[1:]:
        cells = line.split()
        if len(cells) >= 6 and (cells[0], cells[5]) == (address, interface):
            return "" if cells[3] == "00:00:00:00:00:00" else cells[3].lower()
    return ""


def interface_of(address: str, table6: str, interfaces: Callable[[], Mapping[str, str]]) -> str | None:
    """The interface that has a local address; None where it is not found.

    IPv6 addresses stand in /proc/net/if_inet6 (`table6`) with their interface. IPv4's stand in no file beside theirs:
    `interfaces` gives them by address, and is asked only where needed.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if parsed.is_loopback:
        return "lo"
    if isinstance(parsed, ipaddress.IPv6Address):
        wanted = parsed.packed.hex()
        for line in table6.splitlines():
            cells = line.split()
            if len(cells) == 6 and cells[0] == wanted:
                return cells[5]
        return None
    return interfaces().get(address)


def name_of(salt: bytes, route: Route | None, hardware: str, kind: str) -> str | None:
    """The network's name: 16 hexadecimal digits; None where there is no default route."""
    if route is None:
        return None
    told = "\0".join(("network", route.interface, route.gateway, hardware, kind))
    return hmac.new(salt, told.encode(), hashlib.sha256).hexdigest()[:16]


class Whereabouts:
    """Reads those files when it is asked, and remembers for a while."""

    __slots__ = (
        "_hardware",
        "_interfaces",
        "_kinds",
        "_name",
        "_read",
        "_read_at",
        "_root",
        "_salt",
        "_tunnelled",
    )

    def __init__(
        self,
        salt: Callable[[], bytes],
        *,
        interfaces: Callable[[], Mapping[str, str]] = dict,
        root: Path | None = Path("/"),
    ) -> None:
        """`salt` gives the key, `interfaces` this machine's IPv4 addresses, each with its interface.

        With `root` None nothing is measured.
        """
        self._salt = salt
        self._interfaces = interfaces
        self._root = root
        self._read_at: float | None = None
        self._name: str | None = None
        self._tunnelled = False
        self._kinds: dict[str, str | None] = {}
        "Local address -> the kind of its link; None where it is not known."
        self._hardware: dict[Route, str] = {}
        "Of gateways seen before: the kernel forgets a neighbour that is silent, and the network is the same."

    def __repr__(self) -> str:
        return f"<Whereabouts network {self._name}>"

    def changed(self) -> None:
        """A link, an address or a route changed."""
        self._read_at = None

    def facts(self, address: str | None, now: float) -> dict[str, Fact]:
        """`interface`, `vpn` and `network` for a connection that goes out from this local address."""
        if self._root is None:
            return dict(NOT_MEASURED)
        if self._read_at is None or now - self._read_at > FRESH_S:
            self._read_at = now
            self._look()
        if address is not None and address not in self._kinds:
            self._kinds[address] = self._kind_of(address)
        kind = None if address is None else self._kinds[address]
        vpn = None if self._name is None and kind is None else kind == "tunnel" or self._tunnelled
        return {"interface": kind, "vpn": vpn, "network": self._name}

    def _look(self) -> None:
        self._kinds.clear()
        route = default_route(self._text("proc/net/route"))
        hardware = ""
        if route is None:
            route = default_route6(self._text("proc/net/ipv6_route"))
        elif route.gateway:
            hardware = hardware_address(self._text("proc/net/arp"), route.gateway, route.interface)
            if len(self._hardware) > 64:
                self._hardware.clear()
            hardware = hardware or self._hardware.get(route, "")
            self._hardware[route] = hardware
        kind = "" if route is None else self._link(route.interface).kind
        self._tunnelled = kind == "tunnel"
        self._name = name_of(self._salt(), route, hardware, kind)

    def _kind_of(self, address: str) -> str | None:
        name = interface_of(address, self._text("proc/net/if_inet6"), self._interfaces)
        return None if name is None else self._link(name).kind

    def _link(self, name: str) -> Link:
        assert self._root is not None
        folder = self._root / "sys/class/net" / name
        uevent = dict(
            line.partition("=")[::2] for line in self._text(f"sys/class/net/{name}/uevent").splitlines()
        )
        wireless = False
        with suppress(OSError):
            wireless = (folder / "wireless").exists() or (folder / "phy80211").exists()
        arp_type = self._text(f"sys/class/net/{name}/type").strip()
        return Link(name, arp_type, wireless, uevent.get("DEVTYPE", ""))

    def _text(self, path: str) -> str:
        assert self._root is not None
        try:
            with (self._root / path).open("rb") as file:
                return file.read(MOST_BYTES).decode("ascii", "replace")
        except OSError:
            return ""
