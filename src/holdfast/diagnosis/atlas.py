"""The atlas: every timer known to end a silent or a long exchange, from the client's program to the provider.

`atlas.csv` is the data, one row per timer, each with its source and how sure it is. A new timer is a row. This
module reads the rows and says what they mean; `timers` weighs them against what was seen.

Two things are told apart that are often mixed up: a timer's *clock* (what it measures: silence, the whole
exchange, the wait for headers, an idle connection in a pool) and what *resets* it (a byte, an event, any packet).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_name("atlas.csv")

LAYERS = {
    "client_app": "the client's program",
    "client_lib": "a library or runtime in the client",
    "server_lib": "a server's library",
    "os": "an operating system",
    "proxy": "a proxy",
    "cdn": "an edge network",
    "lb": "a load balancer",
    "nat": "a NAT or firewall",
    "serverless": "a platform that runs functions",
    "upstream_api": "the provider's API",
}
"Where a timer runs, in words."

ROLES = {
    "client_app": "client", "client_lib": "client", "server_lib": "server", "upstream_api": "server",
    "proxy": "between", "cdn": "between", "lb": "between", "serverless": "between", "nat": "path", "os": "system",
}  # fmt: skip
"""What a layer is to an exchange: one of its ends (`client`, `server`), a middle that ends connections of its own
(`between`), a middle that only passes packets on (`path`), or the system under an end (`system`)."""

CLOCKS = {
    "idle": "silence, since the last thing that resets it",
    "wall": "the whole exchange, from its request on",
    "headers": "the wait for the answer's headers",
    "connect": "the wait for a connection",
    "pool_idle": "an idle connection between two requests",
    "conn_age": "the age of a connection",
    "unacked": "data that was sent and not acknowledged",
    "keepalive": "an interval of probes, no limit by itself",
    "cadence": "how often a healthy stream says something, no limit",
    "notice": "a notice to the user, no limit",
    "transitory": "half-open and closing connections, no limit of an exchange",
    "retention": "how long something can be fetched, no limit of an exchange",
}
"What a timer measures."

LIMITS = frozenset(("idle", "wall", "headers", "connect", "pool_idle", "conn_age", "unacked"))
"The clocks at whose end something is ended."

COUNTS = {
    "bytes": "bytes of the exchange",
    "events": "events of the answer; pings and comments do not count",
    "packets": "any packet, TCP's own probes included",
    "acks": "acknowledgements",
    "requests": "requests",
    "sent": "bytes that the other side takes",
    "nothing": "nothing: it runs on",
    "": "not said",
}
"What resets it, as a class; `reset_by` says it in words."

HELPS = {
    "yes": "helps",
    "no": "does not help",
    "partly": "helps for a while",
    "none": "has no bearing",
    "unknown": "not known",
}

GRADES = {
    "A": "read in the program or its documentation, or measured",
    "B": "from somebody's measurement or a second hand",
    "C": "recalled, not read again",
}
"How sure a row is."


@dataclass(frozen=True, slots=True)
class Timer:
    """One row of the atlas. Texts are our own words; numbers are seconds."""

    id: str
    name: str
    layer: str
    "One of `LAYERS`."
    clock: str
    "One of `CLOCKS`."
    seconds: float | None
    "As it comes; None where there is no limit, or where it is not published."
    from_s: float | None
    to_s: float | None
    "Between which it was seen to fire, where that is not one number."
    least_s: float | None
    most_s: float | None
    "Between which it can be set, where the source says so."
    configurable: str
    "`yes`, `no` or `partly`."
    set_by: str
    "The variable or the option, where the source names it."
    applies: str
    "Under what condition; `as it comes` is the default."
    reset_by: str
    counts: str
    "One of `COUNTS`."
    during: str
    "`sending`: only while the request is under way; else empty, and the clock says when."
    keepalive: str
    "Whether TCP keepalive holds it off; one of `HELPS`."
    ping: str
    "Whether a ping or comment in the stream holds it off; one of `HELPS`."
    fires: str
    "What makes it fire."
    before: tuple[str, ...]
    "How it shows before the answer's headers, as mechanisms of endings (`http`, `fin`, `rst`, `dark`, `cut`, `err`)."
    after: tuple[str, ...]
    "The same once headers are there."
    status: tuple[int, ...]
    "The statuses that `http` can have."
    wire: str
    "What is seen."
    clue: str
    "What else gives it away. May be empty."
    programs: tuple[str, ...]
    "Whose timer it is, for a client's: `claude-code>=2.1.222`. Empty: not said."
    profiles: tuple[str, ...]
    "The same timer among the gateway's client profiles: `claude-code 2.1.329/bytes/streaming`."
    grade: str
    "One of `GRADES`."
    source: str
    as_of: str
    "When the source was read or measured, as far as known: `2026-08-22`, `2026` or empty."

    def __repr__(self) -> str:
        return f"<Timer {self.id} {self.clock} {_seconds(self.seconds)}>"

    @property
    def role(self) -> str:
        """`client`, `server`, `between`, `path` or `system`."""
        return ROLES[self.layer]

    @property
    def is_limit(self) -> bool:
        """Whether anything can end by it."""
        return self.clock in LIMITS and self.seconds is not None

    @property
    def shows(self) -> frozenset[str]:
        """Every mechanism by which it can show."""
        return frozenset((*self.before, *self.after))

    @property
    def shows_late(self) -> bool:
        """Whether it forgets in silence: nothing is seen until the next packet, however much later."""
        return self.counts == "packets"

    def window_s(self, share: float, least_s: float) -> tuple[float, float] | None:
        """Between which silences it can have fired: up to `share` of its length late, or `least_s` if that is more.

        It never fires before its time; how much earlier it may seem to is what two clocks differ by.
        """
        if self.seconds is None:
            return None
        late = max(least_s, share * self.seconds)
        early = min(late, max(EARLY_S, EARLY_SHARE * self.seconds))
        return (self.from_s or self.seconds) - early, (self.to_s or self.seconds) + late

    def belongs_to(self, agent: str) -> bool | None:
        """Whether it is a timer of this client (`claude-code 2.1.329`, or a User-Agent); None where that is not known."""
        program, _, version = known_as(agent).partition(" ")
        known = program in programs() or program in _LIBRARIES.values()
        if not self.programs or not known:
            return None  # what an unknown client is built on is not known either
        return any(_fits(rule, program, version) for rule in self.programs)


EARLY_S = 0.05
"By so much a timer may seem to have fired before its time: event loops read their clock once a round."
EARLY_SHARE = 0.005
"The same as a share of its length, for a byte is counted from when it came, not from when it was sent."

_LIBRARIES = {
    "python-urllib": "urllib", "python-requests": "requests", "python-httpx": "httpx", "aiohttp": "aiohttp",
    "go-http-client": "go", "okhttp": "okhttp", "bun": "bun", "node": "node", "undici": "node", "curl": "curl",
    "wget": "wget",
}  # fmt: skip
"How HTTP libraries and programs name themselves in their User-Agent -> what they are called here."


_PRODUCT = re.compile(r"([A-Za-z-]+)/([\d.]*)")


def known_as(agent: str) -> str:
    """`curl 8.5.0` for the User-Agent `curl/8.5.0`; what names no such library or program stays as it is."""
    for product, version in _PRODUCT.findall(agent):
        if name := _LIBRARIES.get(product.lower()):
            return f"{name} {version}".rstrip()
    return _LIBRARIES.get(agent.lower(), agent)


_RULE = re.compile(r"([a-z-]+)(?:(>=|<=|>|<)([\d.]+))?")


def _fits(rule: str, program: str, version: str) -> bool:
    found = _RULE.fullmatch(rule)
    if found is None or found[1] != program:
        return False
    if found[2] is None or not version:
        return True
    ours, theirs = _parts(version), _parts(found[3])
    return {">=": ours >= theirs, "<=": ours <= theirs, ">": ours > theirs, "<": ours < theirs}[found[2]]


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


@cache
def timers() -> tuple[Timer, ...]:
    """Every row, in the order of the file: from the client outwards. Read once, some 3 ms."""
    with DATA.open(encoding="utf-8", newline="") as file:
        return tuple(_timer(row) for row in csv.DictReader(file))


@cache
def programs() -> frozenset[str]:
    """The clients and libraries of which the atlas knows whose timers are theirs."""
    rules = {rule for timer in timers() for rule in timer.programs}
    return frozenset(found[1] for rule in rules if (found := _RULE.fullmatch(rule)))


def find(name: str) -> list[Timer]:
    """The row of this id; else those whose id or name has `name` in it, upper and lower case alike."""
    wanted = name.strip().lower()
    if not wanted:
        return []
    exact = [timer for timer in timers() if timer.id == wanted]
    return exact or [timer for timer in timers() if wanted in timer.id or wanted in timer.name.lower()]


def _timer(row: dict[str, str]) -> Timer:
    plain: dict[str, Any] = {key: row[key] for key in _TEXTS}
    plain |= {key: float(row[key]) if row[key] else None for key in _NUMBERS}
    return Timer(
        **plain,
        before=tuple(row["before"].split()),
        after=tuple(row["after"].split()),
        status=tuple(int(code) for code in row["status"].split()),
        programs=tuple(row["programs"].split()),
        profiles=tuple(part.strip() for part in row["profiles"].split(";") if part.strip()),
    )


_NUMBERS = ("seconds", "from_s", "to_s", "least_s", "most_s")
_TEXTS = (
    "id", "name", "layer", "clock", "configurable", "set_by", "applies", "reset_by", "counts", "during", "keepalive",
    "ping", "fires", "wire", "clue", "grade", "source", "as_of",
)  # fmt: skip


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:g} s"
