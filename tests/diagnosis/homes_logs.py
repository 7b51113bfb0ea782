"""What others wrote down of a home's days: a proxy that passes connections on, and the machine's own journal."""

from __future__ import annotations

import json
import random
from datetime import datetime

from tests.diagnosis.homes import DAY, HOUR, MINUTE, ZONE, Home, Window, how
from tests.sessions.written import MORNING_MS

STATES = {
    "": "--", "status": "--", "rst": "SD", "fin": "SD", "goaway": "SD", "rst_stream": "SD", "forged": "SD", "left": "CD",
}  # fmt: skip
"How a connection ends -> what HAProxy says of it. What never came to it, or whose end it never heard, is not in its log."
FIRST, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"


def proxy_log(home: Home) -> str:
    """HAProxy's tcplog, in local time, a line per connection, in the order in which they ended."""
    lines = []
    for number, one in enumerate(sorted(home.exchanges, key=lambda one: one.ended_ms)):
        way = how(one.blow) if one.blow is not None else "left" if one.cancelled else ""
        if way not in STATES:
            continue
        begun = datetime.fromtimestamp(one.ask.at_ms / 1000, ZONE)
        stamp = f"{begun:%d/%b/%Y:%H:%M:%S}.{one.ask.at_ms % 1000:03d}"
        took_ms = one.ended_ms - one.ask.at_ms
        lines.append(
            f"10.0.0.2:{20_000 + number % 40_000} [{stamp}] out api/edge1 0/20/{took_ms} {one.output * 40} {STATES[way]} "
            "3/3/1/1/0 0/0"
        )
    return "".join(line + "\n" for line in lines)


def journal(home: Home, days: int) -> list[str]:
    """`journalctl -o json` of all these days: what the link did, when it slept, and what is always in there."""
    draw = random.Random(f"journal {home.seed}")
    said: list[tuple[int, str]] = []
    for day in range(days + 1):
        at = MORNING_MS + day * DAY + 5 * HOUR
        while at < MORNING_MS + day * DAY + 19 * HOUR:
            said.append(
                (at, draw.choice(("dhcp4 (wlan0): option expiry", "usb 1-1: new device", "audit: 1")))
            )
            at += draw.randrange(10 * MINUTE, 60 * MINUTE)
        if draw.random() < 0.3:
            said.append(
                (MORNING_MS + day * DAY + 9 * HOUR, "docker0: port 1(veth12ab) entered disabled state")
            )
    for cause in home.causes.values():
        for window in cause.windows:
            said += _window(cause.shows, window, OTHER if cause.roams else FIRST) if cause.in_journal else []
            if cause.sleeps:
                said += [(window[0], "PM: suspend entry (s2idle)"), (window[1], "PM: suspend exit")]
            said += [(window[0] + offset, text) for offset, text in cause.logs(window)]
    return [
        json.dumps({"__REALTIME_TIMESTAMP": str(at_ms * 1000), "MESSAGE": text})
        for at_ms, text in sorted(said)
    ]


def _window(shows: str, window: Window, then: str) -> list[tuple[int, str]]:
    begin, end = window
    if shows == "away":
        return [
            (begin, f"wlan0: CTRL-EVENT-DISCONNECTED bssid={FIRST} reason=3"),
            (max(end, begin + 25_000), f"wlan0: CTRL-EVENT-CONNECTED - Connection to {FIRST} completed"),
        ]
    if shows == "flap":
        return [
            (begin, f"wlan0: CTRL-EVENT-DISCONNECTED bssid={FIRST} reason=4"),
            (end, f"wlan0: CTRL-EVENT-CONNECTED - Connection to {then} completed"),
        ]
    return []
