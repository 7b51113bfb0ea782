"""Whole homes with known causes: a user's weeks are lived through, things go wrong by their mechanism, and who was
struck by what is written beside the home.

Nothing here knows how causes are recognised. A limit cuts what takes longer than it; a link that is away breaks what is
on it; a version with a fault breaks some of its requests. What the transcripts and the desktop app's log then show
is left to the client's habits: ten retries with growing waits, users who give up, compactions, copies of resumed sessions.
"""

from __future__ import annotations

import heapq
import json
import math
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from holdfast.flight.record import TurnRecord
from tests.sessions.written import MORNING_MS, Pen

ZONE = ZoneInfo("America/Chicago")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
VERSIONS = ("2.1.87", "2.1.92", "2.1.104", "2.1.107", "2.1.112")
PROJECTS = ("/work/atlas", "/work/borealis", "/work/cedar")
MOST_REQUESTS = 2_500
"A home has no more, whatever its story asks for."


@dataclass(frozen=True, slots=True)
class Road:
    """The way that a request takes. The client writes nothing of it down; flights, captures and probes may."""

    edge: str = "ORD"
    "Where the edge stands."
    family: int = 4
    http: str = "1.1"
    network: str = "home"
    resolver: str = "192.0.2.53"
    issuer: str = ""
    "Who issued the certificate that was shown; empty is the provider's own authority."
    buffered: bool = False
    "Whether a box on the way keeps the answer until it is whole."


@dataclass(frozen=True, slots=True)
class Ask:
    """One try of a request, at the moment when it is sent."""

    at_ms: int
    number: int
    "1 is the first try."
    work_s: float
    "How long the whole answer would take."
    silent_s: float
    "How long until its first byte."
    context: int
    version: str
    project: str
    session: int
    idle_s: float
    "How long the conversation's connection was not used."
    together: int
    "Other sessions at work."
    helpers: int
    "Other agents of this session at work."
    road: Road = Road()

    @property
    def end_ms(self) -> int:
        return self.at_ms + round(self.work_s * 1000)


@dataclass(frozen=True, slots=True)
class Blow:
    """What struck a try: after how long, and what the client sees of it."""

    after_s: float
    code: str | None = None
    status: int | None = None
    words: str | None = None
    "The client's own, where it gives up without a try on record."
    answered: bool = False
    "Whether something of the answer had come."
    how: str = ""
    "What there is to see of it on the way: `rst`, `forged`, `unacked`, ... (`HOWS`); empty is what the code says."
    sending: bool = False
    "Whether the request had not been sent yet."
    hole: bool = False
    "Whether nothing of it had arrived: the packets were too large."


HOWS: dict[str, str] = {
    "rst": "provider", "fin": "provider", "goaway": "provider", "rst_stream": "provider", "status": "provider",
    "tls": "provider", "refused": "provider", "forged": "path", "unacked": "path", "dns": "path", "unreach": "path",
    "slept": "machine", "abort": "machine", "local": "machine", "left": "client",
}  # fmt: skip
"How a connection ends -> who ended it. A box that forges a reset does it in the provider's name."

_BY_CODE = {
    "ENOTFOUND": "dns",
    "EAI_AGAIN": "dns",
    "ConnectionRefused": "refused",
    "FailedToOpenSocket": "unreach",
    "ETIMEDOUT": "unacked",
    "SELF_SIGNED_CERT_IN_CHAIN": "tls",
    "EMFILE": "local",
    "ENOBUFS": "local",
}


def how(blow: Blow) -> str:
    """What there is to see of it on the way."""
    if blow.how:
        return blow.how
    if blow.status is not None:
        return "status"
    return "left" if blow.words is not None else _BY_CODE.get(blow.code or "", "rst")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One try of a request, as it was on the way."""

    ask: Ask
    ended_ms: int
    blow: Blow | None
    "None where it was answered."
    session: str
    agent: str | None
    key: str
    "Of the failure that it is part of; empty where it was answered."
    request_id: str
    output: int = 0
    cancelled: bool = False


Window = tuple[int, int]
Strike = Callable[[Ask, random.Random], Blow | None]


@dataclass
class Cause:
    """One mechanism at work in a home."""

    name: str
    strike: Strike
    truth: frozenset[str]
    "What a reader of these sources can know of it: its hypothesis, or all that predict the same."
    windows: list[Window] = field(default_factory=list)
    shows: str = ""
    "What the desktop app writes in its windows: `away`, `flap`, `line`, `names`; empty is nothing."
    sleeps: bool = False
    reports: bool = False
    "Whether the desktop app notes the requests that it breaks."
    seen: dict[str, frozenset[str]] = field(default_factory=dict)
    "Source -> what a reader of that source, too, can know of it; the first that the home has counts."
    as_well: dict[str, frozenset[frozenset[str]]] = field(default_factory=dict)
    "Source -> what is right as well: a source that points at it and does not settle it."
    probed: str | float = ""
    "What a probe finds of it: a word of `homes_probes`, or after how many seconds silent connections are gone."
    spared: bool = False
    "Whether a gateway that runs keeps it from happening."
    in_journal: bool = True
    "Whether the machine's journal has what the desktop app's log shows of its windows."
    roams: bool = False
    "Whether that is the way to another access point."
    logs: Callable[[Window], list[tuple[int, str]]] = lambda window: []
    "What the machine's journal says of a window: ms after its beginning, and the text."


@dataclass
class Home:
    """Everything on disk, and beside it what is true."""

    seed: int
    name: str
    pens: list[Pen]
    copies: list[tuple[Pen, str]]
    "A resumed session's file: whose history it begins with, and its own name."
    desktop: str | None
    truth: dict[str, set[str]]
    "Cause -> ids of the failures that it brought about; `accident` is no cause."
    causes: dict[str, Cause]
    dirty: int = 0
    "How often everything was soiled."
    exchanges: list[Exchange] = field(default_factory=list)
    "Everything that was on the way, in the order in which it ended."
    sources: frozenset[str] = frozenset()
    "What there is beside the client's own files (`homes_sources`)."
    flown_days: frozenset[int] = frozenset()
    "The days on which a gateway ran, counted from the first."
    days: int = 12
    distraction: str | float = ""
    "What a probe found that struck nobody."
    flights_by: Callable[[Exchange, int, random.Random], TurnRecord] | None = None
    "Who tells the gateway's turns; None is `homes_flights.turn`."
    met: dict[str, set[str]] = field(default_factory=dict)
    "Cause -> ids of the failures of which it broke any try, the first one or a later."

    def flown(self, at_ms: int) -> bool:
        """Whether a gateway ran then."""
        return (at_ms - MORNING_MS) // DAY in self.flown_days

    def saved(self, home: Path) -> Path:
        """Write it; returns the home."""
        for number, pen in enumerate(self.pens):
            lines = pen.lines
            for coat in range(self.dirty):
                lines = _soiled(lines, random.Random(f"{self.seed} {number} {coat}"))
            replace(pen, lines=lines).saved(home, project=pen.cwd.replace("/", "-"))
        for pen, name in self.copies:
            lines = [
                json.dumps(json.loads(line) | {"sessionId": name}, separators=(",", ":"))
                for line in pen.lines[: len(pen.lines) // 2]
            ]
            place = home / ".claude" / "projects" / pen.cwd.replace("/", "-") / f"{name}.jsonl"
            place.write_text("".join(line + "\n" for line in lines))
        if self.desktop is not None:
            place = home / "Library" / "Logs" / "Claude"
            place.mkdir(parents=True, exist_ok=True)
            (place / "main.log").write_text(self.desktop)
        return home

    @property
    def failures(self) -> int:
        return sum(map(len, self.truth.values()))

    @property
    def listed(self) -> dict[str, set[str]]:
        """The causes that a diagnosis could name, with their failures."""
        return {name: ids for name, ids in self.truth.items() if ids and self.known(name)}

    def known(self, name: str) -> frozenset[str]:
        """What these sources can tell of a cause: its hypothesis, or all that predict the same."""
        cause = self.causes[name]
        return next((told for source, told in cause.seen.items() if source in self.sources), cause.truth)

    def fits(self, name: str, names: frozenset[str]) -> bool:
        """Whether a claim of these hypotheses is right of a cause."""
        cause = self.causes[name]
        pointed = [told for source, sets in cause.as_well.items() if source in self.sources for told in sets]
        return bool(self.known(name)) and (names == self.known(name) or names in pointed)

    def ended_by(self) -> dict[str, set[str]]:
        """Failure -> the sides that ended its tries, as a flight and as a capture would say it."""
        found: dict[str, set[str]] = {}
        for one in self.exchanges:
            if one.blow is not None and one.key:
                way = how(one.blow)
                found.setdefault(one.key, set()).update(
                    {HOWS[way], *(["provider"] if way == "forged" else [])}
                )
        return found


class Sketch(Pen):
    """A pen for trying a life out: it counts records and writes none."""

    def record(self, body: dict[str, Any], **changes: Any) -> Pen:
        self._number += 1
        return self


# ----- a life


@dataclass
class Life:
    """A user's weeks."""

    seed: int
    causes: list[Cause]
    days: int = 12
    sessions_a_day: int = 3
    turns: int = 8
    together: bool = False
    "Whether sessions of one day run at the same time."
    helpers: bool = False
    "Whether turns send out subagents."
    long_work: bool = False
    "Whether some answers are silent for minutes, and some take very long."
    long_share: float = 1.0
    "How many, 1 is usual."
    cancels: float = 0.02
    pen: type[Pen] = Pen
    six: bool = False
    "Whether there is IPv6, and half of the connections take it."
    two: bool = False
    "Whether half of the connections speak HTTP/2."
    networks: tuple[str, ...] = ("home",)
    "One per day, at random."
    flown_days: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self.draw = random.Random(f"life {self.seed}")
        self.pens: list[Pen] = []
        self.struck: dict[str, set[str]] = {cause.name: set() for cause in self.causes}
        "Failures by what broke their first try."
        self.met: dict[str, set[str]] = {cause.name: set() for cause in self.causes}
        "By what broke any of their tries."
        self.cycles: list[tuple[int, float, bool]] = []
        self.busy: dict[tuple[int, int], Window] = {}
        "Session and agent -> its last request."
        self.waiting: list[tuple[int, int, Iterator[None], Pen]] = []
        self.used: dict[int, int] = {}
        "Session -> when one of its agents last used a connection: they share the client's."
        self.requests = 0
        self.exchanges: list[Exchange] = []
        self.roads: dict[tuple[int, int], Road] = {}
        self.sleeps = [window for cause in self.causes if cause.sleeps for window in cause.windows]

    def lived(self) -> Life:
        """Let all of it happen, in the order of time."""
        for number, (start, version, project) in enumerate(plan(self)):
            awake = max((end + MINUTE for begin, end in self.sleeps if begin <= start < end), default=start)
            pen = self._pen(number, version, project, awake)
            self._begin(pen, self._session(pen, number))
        while self.waiting and self.requests < MOST_REQUESTS:
            _, place, story, pen = heapq.heappop(self.waiting)
            if next(story, self) is not self:
                heapq.heappush(self.waiting, (pen.at_ms, place, story, pen))
        return self

    def road(self, at_ms: int, session: int) -> Road:
        """The way of a session's requests in an hour; the same whatever goes wrong."""
        key = (session, at_ms // HOUR)
        if key not in self.roads:
            draw = random.Random(f"road {self.seed} {key}")
            day = random.Random(f"network {self.seed} {at_ms // DAY}")
            network = day.choice(self.networks)
            self.roads[key] = Road(
                edge=draw.choices(("ORD", "DFW", "IAD"), (5, 3, 2))[0],
                family=draw.choice((4, 6)) if self.six else 4,
                http=draw.choice(("1.1", "2")) if self.two else "1.1",
                network=network,
                resolver=draw.choice(("192.0.2.53", "198.51.100.53")),
                issuer="Zscaler Intermediate Root CA" if network == "intercepted" else "",
                buffered=network == "buffered",
            )
        return self.roads[key]

    def flown(self, at_ms: int) -> bool:
        """Whether a gateway runs then."""
        return (at_ms - MORNING_MS) // DAY in self.flown_days

    def _pen(self, number: int, version: str, project: str, at_ms: int, agent: str | None = None) -> Pen:
        session = f"{self.seed % 0x10000:04x}{number:04x}-0000-4000-8000-000000000000"
        pen = self.pen(session, version, project, agent, early=version == "2.1.87", at_ms=at_ms)
        pen._number = 10_000 * len(self.pens)
        self.pens.append(pen)
        return pen

    def _begin(self, pen: Pen, story: Iterator[None]) -> None:
        heapq.heappush(self.waiting, (pen.at_ms, len(self.pens), story, pen))

    def _rest(self, pen: Pen, seconds: float) -> None:
        """Time passes for the user; nobody does anything while the machine sleeps."""
        pen.after(seconds)
        for begin, end in self.sleeps:
            if begin <= pen.at_ms < end:
                pen.at_ms = end + self.draw.randrange(20_000, 400_000)

    def _session(self, pen: Pen, number: int) -> Iterator[None]:
        size = [self.draw.randrange(15_000, 30_000)]
        for _ in range(max(2, round(self.turns * self.draw.uniform(0.5, 1.5)))):
            long_pause = self.draw.random() < 0.15
            self._rest(
                pen, self.draw.uniform(240, 2400) if long_pause else self.draw.lognormvariate(3.4, 0.8)
            )
            yield
            pen.asks()
            begun = pen.at_ms
            for step in range(self.draw.randrange(1, 7)):
                if step:
                    self._rest(pen, self.draw.lognormvariate(1.0, 1.3))
                    pen.tool_says()
                if self.helpers and self.draw.random() < 0.2:
                    yield from self._send_helpers(pen, number)
                    pen.tool_says()
                done: list[bool] = []
                yield from self._request(pen, number, 0, size, done)
                if not done:
                    break
            pen.took((pen.at_ms - begun) / 1000)
            if size[0] > 160_000:
                pen.compacts(size[0], 25_000)
                size[0] = 25_000

    def _send_helpers(self, pen: Pen, number: int) -> Iterator[None]:
        ends = []
        for agent in range(self.draw.randrange(1, 6)):
            helper = self._pen(number, pen.version, pen.cwd, pen.at_ms, agent=f"a{len(self.pens)}")
            helper.asks("Look into it.")
            ends.append(done := list[bool]())
            self._begin(helper, self._helper(helper, number, agent + 1, done))
        for _ in range(400):
            if all(ends):
                break
            pen.after(10)
            yield

    def _helper(self, pen: Pen, number: int, agent: int, done: list[bool]) -> Iterator[None]:
        size = [self.draw.randrange(8_000, 20_000)]
        for _ in range(self.draw.randrange(3, 9)):
            yield from self._request(pen, number, agent, size, [])
            pen.after(self.draw.lognormvariate(0.5, 1.0)).tool_says()
        done.append(True)

    def _request(
        self, pen: Pen, number: int, agent: int, size: list[int], done: list[bool]
    ) -> Iterator[None]:
        draw = self.draw
        self.requests += 1
        silent = draw.lognormvariate(1.0, 0.7)
        if self.long_work and draw.random() < min(0.12 * self.long_share, 0.5):
            silent = draw.uniform(30, 700)
        work = silent + draw.lognormvariate(2.2, 0.9)
        if self.long_work and draw.random() < min(0.1 * self.long_share, 0.5):
            work += draw.uniform(60, 900)
        if draw.random() < self.cancels:
            begun_ms = pen.at_ms
            pen.after(draw.uniform(1, 20)).asks("[Request interrupted by user]")
            road = self.road(begun_ms, number)
            asked = Ask(begun_ms, 1, work, silent, size[0], pen.version, pen.cwd, number, 0.0, 0, 0, road)
            self._went(asked, None, pen, "", "", cancelled=True)
            return
        if len(self.busy) > 60:
            self.busy = {at: one for at, one in self.busy.items() if one[1] > pen.at_ms - HOUR}
        first = ""
        for attempt in range(1, 12):
            others = [at for at, (a, b) in self.busy.items() if a <= pen.at_ms <= b + 30_000]
            ask = Ask(
                pen.at_ms, attempt, work, silent, size[0], pen.version, pen.cwd, number,
                max(pen.at_ms - self.used.get(number, pen.at_ms), 0) / 1000,
                len({at[0] for at in others if at[0] != number}),
                sum(at[0] == number and at[1] not in (0, agent) for at in others),
                self.road(pen.at_ms, number),
            )  # fmt: skip
            flown = self.flown(pen.at_ms)
            found = [
                (blow, cause)
                for cause in self.causes
                if not (flown and cause.spared) and (blow := cause.strike(ask, draw)) is not None
            ]
            if not found:
                break
            blow, cause = min(found, key=lambda one: one[0].after_s)
            self.busy[number, agent] = (pen.at_ms, pen.at_ms + round(blow.after_s * 1000))
            pen.after(blow.after_s)
            self.used[number] = pen.at_ms
            if cause.reports:
                self.cycles.append((pen.at_ms, blow.after_s, blow.answered))
            yield
            if blow.words is not None or attempt == 11:
                pen.gives_up(
                    blow.words or f"API Error: Unable to connect to API ({blow.code or blow.status})"
                )
                self._note(cause, first or _last_id(pen))
                self._went(ask, blow, pen, first or _last_id(pen), f"req_{_last_id(pen)}")
                return
            wait = min(0.5 * 2 ** (attempt - 1), 32.0) * draw.uniform(1.0, 1.25)
            if blow.status is not None:
                pen.is_refused(
                    attempt, blow.status, "overloaded_error" if blow.status == 529 else "api_error"
                )
            else:
                pen.fails(attempt, code=blow.code, wait_ms=wait * 1000)
            first = first or _last_id(pen)
            self._note(cause, first)
            said = f"req_{pen._number - 1}" if blow.status is not None else f"req_{_last_id(pen)}"
            self._went(ask, blow, pen, first, said)
            if draw.random() < 0.03:
                pen.after(wait * 0.5).asks("Never mind.")
                return
            pen.after(wait)
            yield
            work, silent = work * draw.uniform(0.9, 1.1), silent * draw.uniform(0.9, 1.1)
        self.busy[number, agent] = (pen.at_ms, pen.at_ms + round(work * 1000))
        pen.after(work)
        for begin, end in self.sleeps:  # what happens to outlive a sleep, is read after it
            if begin <= pen.at_ms < end:
                pen.at_ms = end + 1_000
        yield
        size[0] += round(draw.lognormvariate(7.6, 0.9))
        message = f"msg_{self.seed}_{self.requests}_{number}_{agent}"
        self.used[number] = pen.at_ms
        blocks, output = draw.choice((1, 1, 2)), draw.randrange(50, 2000)
        pen.answers(message, blocks=blocks, context=size[0], output=output)
        self._went(ask, None, pen, "", f"req_{message}", output)
        done.append(True)

    def _went(
        self,
        ask: Ask,
        blow: Blow | None,
        pen: Pen,
        key: str,
        request_id: str,
        output: int = 0,
        cancelled: bool = False,
    ) -> None:
        if self.pen is not Sketch:
            self.exchanges.append(
                Exchange(ask, pen.at_ms, blow, pen.session, pen.agent, key, request_id, output, cancelled)
            )

    def _note(self, cause: Cause, key: str) -> None:
        if not any(key in ids for ids in self.struck.values()):
            self.struck[cause.name].add(key)
        self.met[cause.name].add(key)


def _last_id(pen: Pen) -> str:
    return f"{pen.session[:8]}-{pen._number:04d}"


def plan(life: Life) -> list[tuple[int, str, str]]:
    """When which sessions begin, with which version, on what; the same for a seed whatever goes wrong."""
    draw = random.Random(f"plan {life.seed}")
    sessions = []
    for day in range(life.days):
        newest = min(1 + day * len(VERSIONS) // max(life.days, 1), len(VERSIONS) - 1)
        start = MORNING_MS + day * DAY + 6 * HOUR
        for number in range(life.sessions_a_day):
            gap = draw.uniform(0, 0.3) if life.together else number * draw.uniform(1.5, 3.0)
            version = VERSIONS[newest if draw.random() < 0.55 else newest - 1]
            sessions.append((start + round(gap * HOUR), version, draw.choice(PROJECTS)))
    return sessions


def moments(
    life: Life, cause: str, count: int, low_s: float, high_s: float, *, within_h: float = 2.0
) -> list[Window]:
    """Windows at times when a session may be at work, in order and apart; every cause has its own."""
    draw = random.Random(f"moments {life.seed} {cause} {count}")
    sessions = plan(life)
    found: list[Window] = []
    for _ in range(count * 6):
        begin = draw.choice(sessions)[0] + round(draw.uniform(0.01, within_h) * HOUR)
        end = begin + round(1000 * math.exp(draw.uniform(math.log(low_s), math.log(high_s))))
        place = bisect_left(found, (begin, end))
        beside = found[max(place - 1, 0) : place + 1]
        if all(end + 10 * MINUTE < one[0] or one[1] + 10 * MINUTE < begin for one in beside):
            found.insert(place, (begin, end))
        if len(found) == count:
            break
    return found


# ----- the desktop app's log


def desktop_log(life: Life, gaps: float) -> str:
    """What the app wrote while it ran; with `gaps` it did not run for that share of the days."""
    draw = random.Random(f"desktop {life.seed}")
    lines: list[tuple[int, str]] = []
    runs: list[Window] = []
    for day in range(life.days + 1):
        if draw.random() < gaps:
            continue
        begin = MORNING_MS + day * DAY + 5 * HOUR
        runs.append((begin, begin + 13 * HOUR))
    for begin, end in runs:
        at = begin
        while at < end:
            lines.append((at, "[info] [window] Checking for updates"))
            at += draw.randrange(5 * MINUTE, 40 * MINUTE)
        for _ in range(draw.randrange(4)):
            at = draw.randrange(begin, end)
            text = draw.choice(
                ("This operation was aborted", "net::ERR_TIMED_OUT", "net::ERR_CONNECTION_RESET")
            )
            lines.append((at, f"[error] [sessions-bridge] Poll error, backing off: {text}"))
    for cause in life.causes:
        for window in cause.windows if cause.shows else ():
            if any(a <= window[0] and window[1] <= b for a, b in runs):
                lines += _window_lines(cause.shows, window, draw)
    for at, took, answered in life.cycles:
        if any(a <= at <= b for a, b in runs):
            told = f"({took:.0f}s, hadFirstResponse={str(answered).lower()}, reason=api_error)"
            lines.append((at + 300, f"[warn] [CCD CycleHealth] unhealthy cycle for local_1 {told}"))
    made = []
    for at, text in sorted(lines):
        line = f"{datetime.fromtimestamp(at / 1000, ZONE):%Y-%m-%d %H:%M:%S} {text}"
        made += [line, line] if draw.random() < 0.05 else [line]
    return "".join(line + "\n" for line in made)


def _window_lines(shows: str, window: Window, draw: random.Random) -> list[tuple[int, str]]:
    texts = {
        "away": ("net::ERR_INTERNET_DISCONNECTED",),
        "flap": ("net::ERR_NETWORK_CHANGED",),
        "line": ("net::ERR_TIMED_OUT", "net::ERR_NAME_NOT_RESOLVED", "net::ERR_CONNECTION_TIMED_OUT"),
        "names": ("net::ERR_NAME_NOT_RESOLVED",),
    }[shows]
    begin, end = window
    lines, at, step = [], begin + draw.randrange(200, 2500), 2.0
    if shows == "away" and draw.random() < 0.5:
        lines.append((begin, "net::ERR_NETWORK_CHANGED"))
    while at <= end or not lines:
        lines.append((at, draw.choice(texts)))
        at += round(1000 * step * draw.uniform(0.8, 1.2))
        step = min(step * 2, 30.0)
    return [(at, f"[error] [sessions-bridge] Poll error, backing off: {text}") for at, text in lines]


# ----- dirt


def _soiled(lines: list[str], draw: random.Random) -> list[str]:
    """What real files have: torn lines, unknown records, odd types, a record written twice, a line of nothing."""
    made = []
    for line in lines:
        made.append(line)
        chance = draw.random()
        if chance < 0.01:
            made.append(line[: draw.randrange(10, 60)])
        elif chance < 0.02:
            made.append('{"type":"atis-latch","value":{"subtype":"api_error"}}')
        elif chance < 0.03:
            made.append(line)
        elif chance < 0.035:
            made.append('{"type":"system","subtype":"turn_duration","durationMs":"12","timestamp":7}')
        elif chance < 0.04:
            made.append("")
    return made


# ----- who was struck


def counted(home: Home) -> Counter[str]:
    """Failures per cause."""
    return Counter({name: len(ids) for name, ids in home.truth.items()})
