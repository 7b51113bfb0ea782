"""The machine's own logs: when its link went and came, when it slept. Parsers only; `machine` runs the commands.

Linux: `journalctl -o json` of the kernel, NetworkManager, wpa_supplicant, systemd-networkd, systemd-logind and
systemd-sleep. macOS: `log show --style ndjson` of the Wi-Fi subsystem and `pmset -g log`; their lines are read by what is
documented of them, and were not verified on a Mac. That no line tells of an outage is known only for times from which
there are lines at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from holdfast.sessions.desktop import Outage

MOST_EVENTS = 20_000
LONGEST = 65_536
"Characters of a line that are looked at."
FLAP_MS = 20_000
"What is back so soon was a change of the link; what takes longer, an absence."
AWAY_MS = 30 * 60_000
"Of a link that went, and of which no line says that it came back: nobody knows how long it was away."
ONE_ROAM_MS = 2_000
SOURCE = "system log"

_VIRTUAL = re.compile(r"\b(?:veth\w*|docker\d*|br-[0-9a-f]+|virbr\d*|vnet\d*|lo|cni\d*|tap\w*)\b")
_TUNNEL = r"(?:tun|wg|ppp|utun|ipsec|tailscale|zt|nordlynx|proton|gpd|cscotun)\w*"
_STRAIN = re.compile(
    r"^Out of memory: Killed process|soft lockup - CPU#\d+ stuck for (?P<stuck>\d+)s|detected stalls? on|"
    r"blocked for more than (?P<blocked>\d+) seconds|page allocation (?:failure|stalls)",
    re.IGNORECASE,
)
"""The kernel's words for a machine that has too little: memory, or processors that stand still. A container that has used up
its own share (`Memory cgroup out of memory`) is no trouble of the machine's."""
MOST_STRAIN_S = 600
_WORDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("vpn", re.compile(rf"device \({_TUNNEL}\): state change: (?:\S+ -> activated|activated -> \S+)|"
                       r"\bvpn(?:-connection)?\[.*(?:state changed|failed|started|stopped)|VPN (?:connection|plugin): ")),
    ("sleep", re.compile(r"^PM: suspend entry|^PM: hibernation entry|Entering sleep state|^Suspending system|"
                         r"Performing sleep operation|The system will (?:suspend|hibernate) now")),
    ("wake", re.compile(r"^PM: suspend exit|^PM: hibernation exit|System returned from sleep|Operation 'sleep' finished")),
    ("down", re.compile(r"CTRL-EVENT-DISCONNECTED|deauthenticat(?:ed|ing) from|disassociated from|Connection to AP \S+ lost|"
                        r"Link is Down|Lost carrier|carrier: link disconnected|carrier lost|"
                        r"state change: activated -> (?:unavailable|disconnected|failed|unmanaged)|"
                        r"NetworkManager state is now (?:DISCONNECTED|CONNECTED_LOCAL)")),
    ("up", re.compile(r"CTRL-EVENT-CONNECTED|Link is Up|Gained carrier|carrier: link connected|link becomes ready|"
                      r"state change: \S+ -> activated|NetworkManager state is now CONNECTED_(?:GLOBAL|SITE)")),
    ("address", re.compile(r"dhcp4 \(\S+\): state changed|DHCPv4 address \S+ acquired|new lease, address=")),
)  # fmt: skip
_MAC_WORDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("roam", re.compile(r"\broam(?:ed|ing)?\b", re.IGNORECASE)),
    ("down", re.compile(r"\b(?:deauth\w*|disassoc\w*|link ?down|link is down)\b", re.IGNORECASE)),
    ("up", re.compile(r"\b(?:link ?up|link is up|associated to|did join)\b", re.IGNORECASE)),
)
_BSSID = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.IGNORECASE)
_PMSET = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}) (Sleep|Wake|DarkWake)\s+(.*)")


@dataclass(frozen=True, slots=True)
class Event:
    """One line that says something about the link or about sleep."""

    at_ms: int
    kind: str
    "`down`, `up`, `roam`, `vpn`, `address`, `sleep`, `wake`, `strain`."
    point: str = ""
    "The access point's address of a `down` or `up`, where it was named; for comparing, never printed."
    lasted_s: int = 0
    "Of a strain: for how long before, where the line says it."


@dataclass(slots=True)
class SystemLog:
    """What one command printed, read."""

    source: str
    events: list[Event] = field(default_factory=list)
    lines: int = 0
    "With a time."
    dirt: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    left_out: int = 0
    "Events beyond the bound."


def journal(lines: Iterable[str]) -> SystemLog:
    """`journalctl -o json`: an object per line."""
    return saved("journal", journal_lines(lines))


def journal_lines(lines: Iterable[str]) -> Iterator[tuple[int | None, str]]:
    """Of each line of `journalctl -o json` its time (ms) and `MESSAGE` (maybe a list of bytes); else None and the line."""
    for line in lines:
        found = _object(line) or {}
        try:
            yield int(found["__REALTIME_TIMESTAMP"]) // 1000, _message(found.get("MESSAGE"))
        except (KeyError, ValueError, TypeError):
            yield None, line


def saved(source: str, lines: Iterable[tuple[int | None, str]]) -> SystemLog:
    """Lines of the kernel, or of the journal, with their times (ms); None where a line has none."""
    log = SystemLog(source)
    for at_ms, text in lines:
        if at_ms is None:
            log.dirt += bool(text.strip())
        else:
            _take(log, at_ms, text[:LONGEST], _WORDS)
    return log


def mac_log(lines: Iterable[str]) -> SystemLog:
    """`log show --style ndjson`, of the Wi-Fi subsystem."""
    log = SystemLog("log show")
    for line in lines:
        found = _object(line)
        at_ms = _mac_ms(str(found.get("timestamp", ""))) if found is not None else None
        if found is None or at_ms is None:
            log.dirt += bool(line.strip()) and not (found is not None and "count" in found)
            continue
        _take(log, at_ms, _message(found.get("eventMessage")), _MAC_WORDS)
    return log


def pmset(lines: Iterable[str]) -> SystemLog:
    """`pmset -g log`: sleeping and waking. A dark wake is one: network and processes run in it."""
    log = SystemLog("pmset")
    for line in lines:
        found = _PMSET.match(line[:LONGEST])
        at_ms = _mac_ms(found[1]) if found else None
        if found is None or at_ms is None:
            continue
        _seen(log, at_ms)
        _keep(log, Event(at_ms, "sleep" if found[2] == "Sleep" else "wake"))
    return log


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line[: 16 * LONGEST])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _message(value: Any) -> str:
    if isinstance(value, str):
        return value[:LONGEST]
    if isinstance(value, list):
        return bytes(one for one in value[:LONGEST] if isinstance(one, int) and 0 <= one < 256).decode(
            "utf-8", "replace"
        )
    return ""


def _mac_ms(stamp: str) -> int | None:
    """Of `2026-04-16 07:00:01.123456-0500` or `2026-04-16 07:00:01 -0500`."""
    for form in ("%Y-%m-%d %H:%M:%S.%f%z", "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S%z"):
        try:
            return round(datetime.strptime(stamp, form).timestamp() * 1000)
        except ValueError:
            continue
    return None


def _seen(log: SystemLog, at_ms: int) -> None:
    log.lines += 1
    log.first_ms = at_ms if log.first_ms is None else min(log.first_ms, at_ms)
    log.last_ms = at_ms if log.last_ms is None else max(log.last_ms, at_ms)


def _keep(log: SystemLog, event: Event) -> None:
    if len(log.events) < MOST_EVENTS:
        log.events.append(event)
    else:
        log.left_out += 1


def _take(log: SystemLog, at_ms: int, text: str, words: Sequence[tuple[str, re.Pattern[str]]]) -> None:
    _seen(log, at_ms)
    if words is _WORDS and (strain := _STRAIN.search(text)):
        lasted = strain["stuck"] or strain["blocked"] or "0"
        _keep(log, Event(at_ms, "strain", lasted_s=min(int(lasted[:6]), MOST_STRAIN_S)))
        return
    if _VIRTUAL.search(text):
        return
    for kind, pattern in words:
        if pattern.search(text):
            point = _BSSID.search(text)
            _keep(log, Event(at_ms, kind, point[0].lower() if point else ""))
            return


# ----- what is made of them


def sleeps(events: Iterable[Event]) -> list[tuple[int, int]]:
    """From when to when the machine slept (ms): from the first line that says that it will, to the first that it woke."""
    found: list[tuple[int, int]] = []
    begun: int | None = None
    for event in sorted(events, key=lambda one: one.at_ms):
        if event.kind == "sleep" and begun is None:
            begun = event.at_ms
        elif event.kind == "wake" and begun is not None:
            found.append((begun, event.at_ms))
            begun = None
    return found


def strains(events: Iterable[Event]) -> list[tuple[int, int]]:
    """From when to when the machine had too little of something (ms), by the kernel's own words, in order."""
    return sorted((one.at_ms - 1000 * one.lasted_s, one.at_ms) for one in events if one.kind == "strain")


def outages(events: Iterable[Event]) -> list[Outage]:
    """Times without a link, and changes of it, in the words of the desktop log's: `offline` and `changed`; of another access
    point `roam` besides, and of a tunnel `vpn`.

    A machine that sleeps has no link, and that is a sleep.
    """
    kept = sorted(events, key=lambda one: one.at_ms)
    asleep = sleeps(kept)
    found: list[Outage] = []
    down: Event | None = None
    point = ""
    for event in kept:
        if any(begun - 5_000 <= event.at_ms <= ended + 15_000 for begun, ended in asleep):
            down = None
            continue
        if event.kind == "down":
            down = down or event
        elif event.kind == "up":
            if down is not None:
                lasted = event.at_ms - down.at_ms
                ended = event.at_ms if lasted <= AWAY_MS else down.at_ms
                kinds = {"changed" if lasted <= FLAP_MS else "offline"}
                if lasted <= FLAP_MS and down.point and event.point and down.point != event.point:
                    kinds.add("roam")
                found.append(Outage(down.at_ms, ended, kinds, 2, SOURCE))
                down = None
            elif event.point and point and event.point != point:
                found.append(Outage(event.at_ms, event.at_ms, {"changed", "roam"}, 1, SOURCE))
            point = event.point or point
        elif event.kind == "roam":
            found.append(Outage(event.at_ms, event.at_ms, {"changed", "roam"}, 1, SOURCE))
        elif event.kind == "vpn":
            found.append(Outage(event.at_ms, event.at_ms, {"vpn"}, 1, SOURCE))
    if down is not None:
        found.append(Outage(down.at_ms, down.at_ms, {"offline"}, 1, SOURCE))
    return list(_merged(found))


def _merged(found: Sequence[Outage]) -> Iterator[Outage]:
    """A roam is told by several lines."""
    last: Outage | None = None
    for one in found:
        if last is not None and one.kinds == last.kinds and one.begun_ms - last.ended_ms <= ONE_ROAM_MS:
            last.ended_ms, last.lines = max(last.ended_ms, one.ended_ms), last.lines + one.lines
            continue
        if last is not None:
            yield last
        last = one
    if last is not None:
        yield last
