"""How the link is now, as the system's tools print it. Parsers only; `machine` runs the commands.

A snapshot tells of this moment and not of the failures': it is shown beside them, and weighs nothing. `wdutil`'s labels
are read by what is documented of them, and were not verified on a Mac. Names of networks and hardware addresses are
left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Shown(NamedTuple):
    """One value of one tool."""

    source: str
    name: str
    value: str


_IW = {
    "freq": "frequency (MHz)",
    "signal": "signal",
    "rx bitrate": "receive rate",
    "tx bitrate": "send rate",
    "tx retries": "sent again",
    "tx failed": "not sent",
    "beacon loss": "beacons lost",
    "connected time": "connected for",
}
_WDUTIL = {
    "RSSI": "signal",
    "Noise": "noise",
    "CCA": "channel busy",
    "Channel": "channel",
    "Tx Rate": "send rate",
    "MCS Index": "MCS",
    "NSS": "streams",
    "PHY Mode": "mode",
    "Security": "security",
    "Country Code": "country",
}
_VALUE = re.compile(r"[\w .,/%*+()\[\]-]{1,60}")


def iw(text: str) -> list[Shown]:
    """`iw dev IF link` and `iw dev IF station dump`: `label: value`, indented."""
    return list(_labels("iw", text, _IW))


def wdutil(text: str) -> list[Shown]:
    """`wdutil info`: `Label : value` in sections; only the first of each label, which is Wi-Fi's."""
    return list(_labels("wdutil", text, _WDUTIL))


def _labels(source: str, text: str, wanted: Mapping[str, str]) -> Iterable[Shown]:
    told = set[str]()
    for line in text.splitlines()[:2_000]:
        label, colon, value = line.partition(":")
        name = wanted.get(label.strip())
        value = value.strip()
        if colon and name and name not in told and _VALUE.fullmatch(value):
            told.add(name)
            yield Shown(source, name, value)


def interfaces(text: str) -> list[str]:
    """`iw dev`: the names of its interfaces."""
    return re.findall(r"^\s+Interface (\w[\w.-]{0,15})$", text, re.MULTILINE)


def terse(line: str) -> list[str]:
    r"""The fields of a line of `nmcli -t`: separated by colons, of which those inside are `\:`."""
    return [part.replace("\\:", ":").replace("\\\\", "\\") for part in re.split(r"(?<!\\):", line)]


def nmcli_wifi(text: str) -> list[Shown]:
    """`nmcli -t -f IN-USE,SIGNAL,RATE,CHAN dev wifi list`: the one in use, and how many others share its channel."""
    rows = [fields for line in text.splitlines()[:500] if len(fields := terse(line)) == 4]
    mine = next((fields for fields in rows if fields[0] == "*"), None)
    if mine is None or not all(re.fullmatch(r"[\w ./]{1,20}", field) for field in mine[1:]):
        return []
    others = sum(fields[3] == mine[3] for fields in rows) - 1
    return [
        Shown("nmcli", "signal (of 100)", mine[1]),
        Shown("nmcli", "rate", mine[2]),
        Shown("nmcli", "channel", mine[3]),
        Shown("nmcli", "others on it", str(others)),
    ]


def ss(text: str) -> list[Shown]:
    """`ss -tinoeH dst :443`: two lines a socket. How many there are, and how many of them nothing keeps alive."""
    sockets: list[str] = []
    for line in text.splitlines()[:20_000]:
        if line[:1].isspace() and sockets:
            sockets[-1] += line
        elif line.strip():
            sockets.append(line)
    alive = sum("timer:(keepalive" in one for one in sockets)
    again = sum(int(found[1]) for one in sockets if (found := re.search(r"\bretrans:\d+/(\d{1,9})", one)))
    return [
        Shown("ss", "connections to port 443", str(len(sockets))),
        Shown("ss", "of them with TCP keepalive", str(alive)),
        Shown("ss", "segments sent again", str(again)),
    ]


def conntrack(values: Mapping[str, str]) -> list[Shown]:
    """The kernel's own numbers, where this machine tracks connections: sysctl name -> value."""
    names = {
        "nf_conntrack_count": "connections tracked",
        "nf_conntrack_max": "connections at most",
        "nf_conntrack_tcp_timeout_established": "forgets idle ones after (s)",
    }
    if values.get("nf_conntrack_count", "").strip() in ("", "0"):
        return []
    return [
        Shown("conntrack", names[name], value.strip())
        for name, value in values.items()
        if name in names and value.strip().isdecimal()
    ]
