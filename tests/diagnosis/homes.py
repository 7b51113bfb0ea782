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
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tests.sessions.written import MORNING_MS, Pen

ZONE = ZoneInfo("America/Chicago")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
VERSIONS = ("2.1.87", "2.1.92", "2.1.104", "2.1.107", "2.1.112")
PROJECTS = ("/work/atlas", "/work/borealis", "/work/cedar")
MOST_REQUESTS = 2_500
"A home has no more, whatever its story asks for."


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
    dirty: bool = False

    def saved(self, home: Path) -> Path:
        """Write it; returns the home."""
        for number, pen in enumerate(self.pens):
            if self.dirty:
                _soil(pen, random.Random(f"{self.seed} {number}"))
            pen.saved(home, project=pen.cwd.replace("/", "-"))
        for pen, name in self.copies:
            lines = [
                json.dumps(json.loads(line) | {"sessionId": name}, separators=(",", ":"))
                for line in pen.lines[: len(pen.lines) // 2]
                if line.startswith("{") and line.endswith("}")
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
        return {name: ids for name, ids in self.truth.items() if ids and self.causes[name].truth}


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
    cancels: float = 0.02
    pen: type[Pen] = Pen

    def __post_init__(self) -> None:
        self.draw = random.Random(f"life {self.seed}")
        self.pens: list[Pen] = []
        self.struck: dict[str, set[str]] = {cause.name: set() for cause in self.causes}
        self.cycles: list[tuple[int, float, bool]] = []
        self.busy: dict[tuple[int, int], Window] = {}
        "Session and agent -> its last request."
        self.waiting: list[tuple[int, int, Iterator[None], Pen]] = []
        self.used: dict[int, int] = {}
        "Session -> when one of its agents last used a connection: they share the client's."
        self.requests = 0
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
        if self.long_work and draw.random() < 0.12:
            silent = draw.uniform(30, 700)
        work = silent + draw.lognormvariate(2.2, 0.9)
        if self.long_work and draw.random() < 0.1:
            work += draw.uniform(60, 900)
        if draw.random() < self.cancels:
            pen.after(draw.uniform(1, 20)).asks("[Request interrupted by user]")
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
            )  # fmt: skip
            found = [(blow, cause) for cause in self.causes if (blow := cause.strike(ask, draw)) is not None]
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
                return
            wait = min(0.5 * 2 ** (attempt - 1), 32.0) * draw.uniform(1.0, 1.25)
            if blow.status is not None:
                pen.is_refused(
                    attempt, blow.status, "overloaded_error" if blow.status == 529 else "api_error"
                )
            else:
                pen.fails(attempt, code=blow.code, wait_ms=wait * 1000)
            first = first or _last_id(pen)
            if attempt == 1:
                self._note(cause, first)
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
        pen.answers(message, blocks=draw.choice((1, 1, 2)), context=size[0], output=draw.randrange(50, 2000))
        done.append(True)

    def _note(self, cause: Cause, key: str) -> None:
        if not any(key in ids for ids in self.struck.values()):
            self.struck[cause.name].add(key)


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


def moments(life: Life, count: int, low_s: float, high_s: float, *, within_h: float = 2.0) -> list[Window]:
    """Windows at times when a session may be at work, in order and apart."""
    draw = random.Random(f"moments {life.seed} {count} {low_s}")
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


def _soil(pen: Pen, draw: random.Random) -> None:
    """What real files have: torn lines, unknown records, odd types, a record written twice, a last line without its end."""
    made = []
    for line in pen.lines:
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
    pen.lines = made


# ----- who was struck


def counted(home: Home) -> Counter[str]:
    """Failures per cause."""
    return Counter({name: len(ids) for name, ids in home.truth.items()})
