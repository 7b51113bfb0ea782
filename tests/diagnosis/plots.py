"""A seed made a home: which causes it has, how many failures, how dirty its files are."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.diagnosis.homes import Home, Life, Sketch, desktop_log
from tests.diagnosis.mechanisms import LISTED, STATISTICAL, UNLISTED
from tests.sessions.written import Pen

LONG_WORK = frozenset({"wall", "wall_seen", "forgets", "forgets_and_resets", "impatient", "edge_gives_up"})
TOGETHER = frozenset({"crowded", "seen_together", "rate_limited"})
BUSY = frozenset({"crowded", "seen_together", "bad_version"})
"Causes that only a home with many sessions a day can show: others to compare with, or to fail together with."


@dataclass(frozen=True, slots=True)
class Plot:
    """What a home is to have: causes with how many failures each, about."""

    name: str
    causes: tuple[tuple[str, int], ...]
    dirty: bool = False
    gaps: float = 0.0
    "Share of the days on which the desktop app did not run; 1 is no log."


def plot(seed: int) -> Plot:
    """Every seed has its own; a run of 50 has all kinds."""
    draw = random.Random(f"plot {seed}")
    names = sorted(LISTED)
    kind, dirty, gaps = seed % 10, draw.random() < 0.4, draw.choice((0.0, 0.0, 0.2))
    if kind == 0:
        return Plot("healthy", (("accident", draw.choice((0, 0, 3))),), dirty, gaps)
    if kind == 1:
        unknown = draw.choice(("one_project", "bad_sessions", "accident"))
        return Plot("not in the list", ((unknown, draw.choice((12, 40, 80))),), dirty, gaps)
    if kind == 2:
        small = [name for name in names if name not in STATISTICAL]
        return Plot("small", ((draw.choice(small), 6), ("accident", draw.choice((0, 1)))), dirty, gaps)
    if kind in (3, 4, 5):
        one = names[(seed // 10 * 3 + kind) % len(names)]
        counts = (40, 60, 80) if one in STATISTICAL else (25, 40, 60)
        return Plot("one", ((one, draw.choice(counts)), ("accident", draw.choice((0, 6, 15)))), dirty, gaps)
    if kind in (6, 7):
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
            force[name] *= min(max(count / max(got[name], 1), 0.2), 4.0)
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
        seed, told.name, life.pens, copies if told.dirty else [], log, life.struck, causes, told.dirty
    )


def _days(total: int) -> int:
    return 8 if total <= 10 else 14 if total <= 80 else 24


def _life(seed: int, told: Plot, force: dict[str, float], days: int, pen: type[Pen]) -> Life:
    names = {name for name, _ in told.causes}
    helpers = "many_helpers" in names or (seed % 11 == 0 and not names & BUSY)
    life = Life(
        seed,
        [],
        days=min(days, 40),
        together=bool(names & TOGETHER),
        helpers=helpers,
        long_work=bool(names & LONG_WORK),
        sessions_a_day=6 if names & BUSY else 3,
        pen=pen,
        turns=3 if helpers else 4 if "bad_version" in names else 8,
    )
    makers = LISTED | UNLISTED
    for name, strength in force.items():
        life.causes.append(makers[name](life, strength, random.Random(f"{name} {seed}")))
    life.__post_init__()
    return life.lived()
