"""What is this machine's own end of the network like: cable or Wi-Fi, VPN, IPv6, proxies, programs that filter?"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.flight.redact import masked_url, safe
from holdfast.probes import machine
from holdfast.probes.asking import Cost, Options, not_here
from holdfast.probes.net import Stop
from holdfast.probes.result import Finding, Grade, those
from holdfast.probes.target import Target

NAME = "link"
ASKS = "This machine's own end: interface, Wi-Fi signal, VPN, IPv6, default route, proxies, filter programs."
SAYS = "What this machine says of its own network just now, without asking anybody outside."
DOES_NOT_SAY = (
    "That a program seen by its name touches this traffic, or that one not seen is not there: other users' processes, "
    "kernel modules and the router's own filters do not show."
)
WEAK_DBM = -70
"Below it Wi-Fi repeats much; calls and streams stutter."
VPN_NAMES = re.compile(
    r"^(tun|tap|wg|ppp|utun|ipsec|tailscale|zt|nordlynx|proton|gpd|cscotun|vpn)", re.IGNORECASE
)
PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "VPN": (
        "openvpn", "wireguard", "wg-quick", "tailscaled", "zerotier", "nordvpn", "expressvpn", "protonvpn", "mullvad",
        "openconnect", "anyconnect", "vpnagentd", "globalprotect", "pangps", "pritunl", "warp-svc", "charon", "pppd",
    ),
    "filter": (
        "littlesnitch", "little snitch", "lulu", "radio silence", "murus", "vallum", "hands off", "opensnitch",
        "zscaler", "zsatunnel", "zstunnel", "netskope", "stagentsvc", "falcon-sensor", "falcond", "cbagentd",
        "sophos", "kesl", "kavfs", "avast", "avgd", "bdservice", "bitdefender", "adguard", "mdatp", "wdavdaemon",
        "sentinelone", "s1-agent", "cortex", "traps_pmd", "umbrella", "forcepoint", "mcafee", "masvc",
    ),
    "proxy": (
        "mitmproxy", "mitmdump", "mitmweb", "charles", "proxyman", "fiddler", "burpsuite", "squid", "privoxy",
        "tinyproxy", "cntlm", "clash", "v2ray", "xray", "sing-box", "shadowsocks", "ss-local", "cloudflared",
    ),
}  # fmt: skip
"By the beginning of a process's name, without case. Plain servers are not among them."


@dataclass(frozen=True, slots=True)
class Seen:
    """What this machine said. None and empty: not told."""

    interface: str | None = None
    gateway: str | None = None
    kind: str | None = None
    "`wired`, `wireless`, `tunnel`, `virtual`; None where it is not told."
    signal_dbm: int | None = None
    wifi: Mapping[str, str] = field(default_factory=dict)
    tunnels: tuple[str, ...] = ()
    "Interfaces of VPNs that are up."
    ipv6: str | None = None
    "`global`, `local only`, `none`."
    ipv6_route: bool | None = None
    proxies: Mapping[str, str] = field(default_factory=dict)
    "Variable -> URL without login."
    programs: Mapping[str, tuple[str, ...]] | None = None
    "Kind -> names. None where processes cannot be seen."
    missing: tuple[str, ...] = ()
    "What was not measured, each with its reason."


def cost(target: Target, options: Options) -> Cost:
    return Cost(seconds=1.0)


def ask(target: Target, options: Options, stop: Stop) -> Finding:
    return verdict(look(options.root, os.environ))


def look(root: Path, environ: Mapping[str, str]) -> Seen:
    """As this system tells it; nobody else is asked."""
    return linux(root, environ) if machine.LINUX or root != Path("/") else mac(environ)


def linux(root: Path, environ: Mapping[str, str]) -> Seen:
    """As /proc and /sys tell it."""
    interface, gateway = default_route(machine.text(root, "proc/net/route"))
    route6, interface6 = _route6(machine.text(root, "proc/net/ipv6_route"))
    interface = interface or interface6
    missing = []
    kind, signal, wifi = None, None, {}
    if interface is None:
        missing.append(f"interface: {not_here('no default route is set')}")
    else:
        kind = _kind(root, interface)
        if kind == "wireless":
            signal = signal_of(machine.text(root, "proc/net/wireless"), interface)
            said = machine.tool("iw", "dev", interface, "link") if root == Path("/") else None
            wifi = wifi_of(said or "")
            signal = _dbm(wifi.get("signal")) if signal is None else signal
            if signal is None:
                missing.append(f"Wi-Fi signal: {not_here('neither /proc/net/wireless nor iw tells it')}")
    up = [
        one
        for one in machine.names(root, "sys/class/net")
        if (VPN_NAMES.match(one) or machine.exists(root, f"sys/class/net/{one}/tun_flags"))
        and machine.text(root, f"sys/class/net/{one}/operstate").strip() in ("up", "unknown")
    ]
    running = machine.processes(root)
    if running is None:
        missing.append(f"programs: {not_here('processes cannot be seen')}")
    return Seen(
        interface,
        gateway,
        kind,
        signal,
        wifi,
        tuple(up),
        ipv6_of(machine.text(root, "proc/net/if_inet6")),
        route6,
        proxies(environ),
        None if running is None else programs(running),
        tuple(missing),
    )


def mac(environ: Mapping[str, str]) -> Seen:
    """As macOS tells it. Not tested on a Mac."""
    said = machine.tool("route", "-n", "get", "default") or ""
    facts = dict(re.findall(r"(?m)^\s*(interface|gateway): (\S+)", said))
    interface = facts.get("interface")
    ports = machine.tool("networksetup", "-listallhardwareports") or ""
    kind = None
    for port, device in re.findall(r"Hardware Port: (.*)\nDevice: (\S+)", ports):
        if device == interface:
            kind = "wireless" if "Wi-Fi" in port else "wired"
    if interface is not None and VPN_NAMES.match(interface):
        kind = "tunnel"
    listed = machine.tool("ifconfig") or ""
    addresses = re.findall(r"(?m)^\s+inet6 (\S+)", listed)
    running = machine.processes(Path("/"))
    missing = (
        [f"Wi-Fi signal: {not_here('macOS tells it to administrators (wdutil)')}"]
        if kind == "wireless"
        else []
    )
    if interface is None:
        missing.append(f"interface: {not_here('route does not tell a default route')}")
    return Seen(
        interface,
        facts.get("gateway"),
        kind,
        tunnels=(interface,) if kind == "tunnel" and interface else (),
        ipv6=_scope(addresses) if listed else None,
        proxies=proxies(environ),
        programs=None if running is None else programs(running),
        missing=tuple(missing),
    )


def default_route(table: str) -> tuple[str | None, str | None]:
    """Interface and gateway of `/proc/net/route` with the smallest metric."""
    best: tuple[int, str, str | None] | None = None
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) < 8 or words[1] != "00000000" or words[7] != "00000000":
            continue
        try:
            gateway = str(ipaddress.ip_address(int.from_bytes(bytes.fromhex(words[2])[::-1], "big")))
            metric = int(words[6])
        except ValueError:
            continue
        if best is None or metric < best[0]:
            best = (metric, words[0], gateway if words[2] != "00000000" else None)
    return (best[1], best[2]) if best is not None else (None, None)


def _route6(table: str) -> tuple[bool | None, str | None]:
    if not table:
        return None, None
    for line in table.splitlines():
        words = line.split()
        if len(words) >= 10 and words[0] == "0" * 32 and words[1] == "00" and words[9] != "lo":
            return True, words[9]
    return False, None


def _kind(root: Path, interface: str) -> str | None:
    base = f"sys/class/net/{interface}"
    if not machine.exists(root, base):
        return None
    if machine.exists(root, f"{base}/wireless") or machine.exists(root, f"{base}/phy80211"):
        return "wireless"
    if machine.exists(root, f"{base}/tun_flags") or VPN_NAMES.match(interface):
        return "tunnel"
    return "wired" if machine.exists(root, f"{base}/device") else "virtual"


def signal_of(table: str, interface: str) -> int | None:
    """The level of `/proc/net/wireless` in dBm; None where the driver tells none."""
    found = re.search(rf"(?m)^\s*{re.escape(interface)}:\s+\S+\s+\S+\s+(-?\d+)", table)
    level = int(found[1]) if found else 0
    return level if -120 < level < 0 else None


def wifi_of(said: str) -> dict[str, str]:
    """What `iw dev X link` says that identifies nobody: no name and no address of the network."""
    found = re.findall(r"(?m)^\s*(freq|signal|tx bitrate|rx bitrate): ([\w .+/-]{1,60})", said)
    return {name: value.strip() for name, value in found}


def _dbm(text: str | None) -> int | None:
    found = re.match(r"-\d+", text or "")
    return int(found[0]) if found else None


def ipv6_of(table: str) -> str | None:
    """Of `/proc/net/if_inet6`; None where it is not there."""
    if not table.strip():
        return None
    addresses = []
    for line in table.splitlines():
        words = line.split()
        if words and re.fullmatch(r"[0-9a-f]{32}", words[0]):
            addresses.append(str(ipaddress.ip_address(bytes.fromhex(words[0]))))
    return _scope(addresses)


def _scope(addresses: Iterable[str]) -> str:
    best = "none"
    for one in addresses:
        try:
            address = ipaddress.ip_address(one.partition("%")[0])
        except ValueError:
            continue
        if address.is_global:
            return "global"
        if not address.is_loopback:
            best = "local only"
    return best


def proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables that are set, without logins."""
    return {name: masked_url(environ[name]) for name in PROXY_VARIABLES if environ.get(name)}


def programs(running: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Those of the running programs that are known to filter, tunnel or relay."""
    found: dict[str, set[str]] = {}
    for name in running:
        for kind, known in PROGRAMS.items():
            if any(name.lower().startswith(one) for one in known):
                found.setdefault(kind, set()).add(safe(name))
    return {kind: tuple(sorted(names)) for kind, names in found.items()}


def verdict(seen: Seen) -> Finding:
    """Weigh what was seen."""
    facts = {
        "interface": seen.interface,
        "gateway": seen.gateway,
        "kind": seen.kind,
        "signal_dbm": seen.signal_dbm,
        "wifi": dict(seen.wifi),
        "vpn_interfaces": list(seen.tunnels),
        "ipv6": seen.ipv6,
        "ipv6_default_route": seen.ipv6_route,
        "proxies": dict(seen.proxies),
        "programs": None
        if seen.programs is None
        else {kind: list(names) for kind, names in seen.programs.items()},
        "not_measured": list(seen.missing),
    }
    if seen.interface is None and not seen.tunnels and seen.ipv6 is None:
        why = "; ".join(seen.missing) or not_here("this system tells nothing")
        return Finding(Grade.NOT_MEASURED, why, facts)
    parts = [
        f"{seen.kind or 'an interface of unknown kind'} ({seen.interface})"
        if seen.interface
        else "no default route"
    ]
    grade = Grade.FINE if seen.interface else Grade.SUSPECTED
    if seen.signal_dbm is not None:
        parts.append(f"Wi-Fi at {seen.signal_dbm} dBm")
        if seen.signal_dbm < WEAK_DBM:
            parts[-1] += ", which is weak"
            grade = Grade.SUSPECTED
    told = {"global": "IPv6 reaches outside", "local only": "IPv6 local only", "none": "no IPv6"}
    parts.append(told.get(seen.ipv6 or "", "IPv6 not told"))
    if seen.ipv6 == "global" and seen.ipv6_route is False:
        parts[-1] = "an IPv6 address without a route"
    noted = []
    if seen.tunnels:
        noted.append(f"VPN interface {those(seen.tunnels)}")
    if seen.proxies:
        noted.append(f"proxy set by {those(list(seen.proxies))}")
    for kind, names in (seen.programs or {}).items():
        noted.append(f"{kind} program{'s' if len(names) > 1 else ''} {those(names)}")
    if noted:
        grade = Grade.NOTED if grade is Grade.FINE else grade
    elif seen.programs is not None:
        parts.append("no VPN, proxy or filter program seen")
    return Finding(grade, "; ".join([*parts, *noted, *seen.missing]), facts)
