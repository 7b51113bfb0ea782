"""A seed made a home: which causes it has, how many failures, how dirty its files are."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from tests.diagnosis.homes import Home, Life, Sketch, desktop_log
from tests.diagnosis.mechanisms import APART, LISTED, NEEDS, STATISTICAL, TWINS, UNLISTED
from tests.sessions.written import Pen

LONG_WORK = frozenset(
    {
        "wall",
        "wall_seen",
        "forgets",
        "forgets_and_resets",
        "impatient",
        "edge_gives_up",
        "buffered",
        "edge_silence",
    }
)
LIMITS = LONG_WORK - {"impatient", "edge_gives_up"}
"Limits that nothing outlives: how often they strike is a matter of how much long work there is."
TOGETHER = frozenset({"crowded", "seen_together", "rate_limited", "retry_storm"})
BUSY = frozenset({"crowded", "seen_together", "bad_version", "retry_storm"})
SOURCES = {"flights": 0.3, "capture": 0.25, "proxy log": 0.15, "system log": 0.35, "probes": 0.35}
"What a home may have beside the client's own files, and how often."
"Causes that only a home with many sessions a day can show: others to compare with, or to fail together with."


TOLD_BY_FLIGHTS = frozenset({"wall", "edge_silence", "lossy_upload", "buffered"})
"What they are is known by flights alone: a home that has any has them of all its days."


SPARED = frozenset({"pool_dies", "forgets", "forgets_and_resets"})
"What does not happen behind a gateway: it keeps no connection idle, and its probes of TCP keep boxes from forgetting."


HARDEST = 6.0
"Of a cause that is to strike often: nobody's link goes away a hundred times a day."


@dataclass(frozen=True, slots=True)
class Plot:
    """What a home is to have: causes with how many failures each, about."""

    name: str
    causes: tuple[tuple[str, int], ...]
    dirty: bool = False
    gaps: float = 0.0
    "Share of the days on which the desktop app did not run; 1 is no log."
    sources: frozenset[str] = frozenset()
    part: float = 1.0
    "Share of the days on which a gateway ran, where there are flights."
    distraction: str | float = ""
    "What a probe found that struck nobody, as in `Cause.probed`."


def plot(seed: int) -> Plot:
    """Every seed has its own; a run of 150 has all causes and kinds."""
    told = _plot(seed)
    draw = random.Random(f"sources {seed}")
    sources = {name for name, share in SOURCES.items() if draw.random() < share}
    part = draw.choice((1.0, 1.0, 0.5))
    names = {name for name, _ in told.causes}
    if told.name == "not in the list":
        sources -= {"flights", "capture"} if names & set(NEEDS) else set()
    elif needed := {NEEDS[name] for name in names if name in NEEDS}:
        sources |= needed
        part = 1.0
    if names & SPARED:
        sources -= {"flights"}
    if names & TOLD_BY_FLIGHTS:
        part = 1.0
    distraction = draw.choice(("", "", "mtu", "upload", "resolver", "interceptor", 100.0))
    if "capture" in sources:  # beside the client, it would show the proxy and nothing beyond it
        sources -= {"proxy log"}
    if names & LONG_WORK and isinstance(distraction, float):  # it would strike
        distraction = ""
    return replace(told, sources=frozenset(sources), part=part, distraction=distraction)


def _plot(seed: int) -> Plot:
    draw = random.Random(f"plot {seed}")
    names = sorted(LISTED)
    kind, dirty, gaps = seed % 10, draw.random() < 0.4, draw.choice((0.0, 0.0, 0.2))
    if kind == 0:
        return Plot("healthy", (("accident", draw.choice((0, 0, 3))),), dirty, gaps)
    if kind == 1:
        unknown = draw.choice(("one_project", "bad_sessions", "accident", "bad_edge", "bad_six"))
        return Plot("not in the list", ((unknown, draw.choice((12, 40, 80))),), dirty, gaps)
    if kind == 2:
        small = [name for name in names if name not in STATISTICAL]
        return Plot("small", ((draw.choice(small), 6), ("accident", draw.choice((0, 1)))), dirty, gaps)
    if kind in (3, 4, 5):
        one = names[(seed // 10 * 3 + kind) % len(names)]
        counts = (40, 60, 80) if one in STATISTICAL else (25, 40, 60)
        return Plot("one", ((one, draw.choice(counts)), ("accident", draw.choice((0, 6, 15)))), dirty, gaps)
    if kind == 7:
        first, second = TWINS[seed // 10 % len(TWINS)]
        return Plot("twins", ((first, 60), (second, 40), ("accident", draw.choice((0, 8)))), dirty, gaps)
    if kind == 6:
        first, second = draw.sample(names, 2)
        return Plot("two", ((first, 60), (second, 30), ("accident", draw.choice((5, 15)))), dirty, gaps)
    if kind == 8:
        first, second, third = draw.sample(names, 3)
        noise = draw.choice(("accident", "one_project"))
        return Plot("three", ((first, 80), (second, 45), (third, 25), (noise, 15)), dirty, gaps)
    first, second = draw.sample(names, 2)
    return Plot("large", ((first, 180), (second, 80), ("accident", 40)), dirty, gaps)


def home(seed: int, told: Plot | None = None) -> Home:
    """The home of a seed. Causes strike harder or softer until there are about as many failures as planned."""
    told = told or plot(seed)
    wanted = [(name, count) for name, count in told.causes if count]
    force = {name: 1.0 for name, _ in wanted}
    total = sum(count for _, count in wanted)
    days = _days(total)
    for _ in range(5):
        life = _life(seed, told, force, days, Sketch)
        got = {name: len(ids) for (name, _), ids in zip(wanted, life.struck.values(), strict=True)}
        wrong = [name for name, count in wanted if not 0.7 * count <= got[name] <= 1.5 * count]
        if not wrong:
            break
        for name, count in wanted:
            force[name] = min(force[name] * min(max(count / max(got[name], 1), 0.2), 4.0), HARDEST)
        short = any(force[name] > 3 for name, _ in wanted)
        days = round(days * (1.5 if short else 1.0))
    life = _life(seed, told, force, days, Pen)
    draw = random.Random(f"copies {seed}")
    mains = [pen for pen in life.pens if pen.agent is None]
    copies = [
        (pen, f"c{number:07x}-0000-4000-8000-000000000000")
        for number, pen in enumerate(draw.sample(mains, min(2, len(mains))))
    ]
    causes = {cause.name: cause for cause in life.causes}
    log = desktop_log(life, told.gaps) if told.gaps < 1 else None
    return Home(
        seed, told.name, life.pens, copies if told.dirty else [], log, life.struck, causes, int(told.dirty),
        life.exchanges, told.sources,
        life.flown_days, life.days, told.distraction, met=life.met,
    )  # fmt: skip


def _days(total: int) -> int:
    return 8 if total <= 10 else 14 if total <= 80 else 24


def _life(seed: int, told: Plot, force: dict[str, float], days: int, pen: type[Pen]) -> Life:
    names = {name for name, _ in told.causes}
    helpers = bool(names & {"many_helpers", "retry_storm"}) or (seed % 11 == 0 and not names & BUSY)
    limits = [strength for name, strength in force.items() if name in LIMITS]
    life = Life(
        seed,
        [],
        days=min(days, 40),
        together=bool(names & TOGETHER),
        helpers=helpers,
        long_work=bool(names & LONG_WORK),
        long_share=min(limits, default=1.0),
        sessions_a_day=6 if names & BUSY else 3,
        pen=pen,
        turns=3 if helpers else 4 if "bad_version" in names else 8,
        six="bad_six" in names or seed % 3 == 0,
        two="goes_away" in names or seed % 4 == 0,
        networks=("buffered",) if "buffered" in names else ("home", "office"),
    )
    if "flights" in told.sources:
        draw = random.Random(f"flown {seed}")
        life.flown_days = frozenset(day for day in range(days + 1) if draw.random() < told.part)
    makers = LISTED | UNLISTED | APART
    for name, strength in force.items():
        life.causes.append(makers[name](life, strength, random.Random(f"{name} {seed}")))
    life.__post_init__()
    return life.lived()
