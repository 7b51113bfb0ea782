"""A hand-made report's own numbers, in one home: each of its tables counted again, and what its author counted wrongly.

The report: 325 failed tries of five weeks. 173 of them were attributed to projects and sizes; the home has the other 152 in
subagents' files, where a search of `projects/*/*.jsonl` does not look.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from holdfast.diagnosis import prior, tables
from holdfast.diagnosis.diagnosis import Diagnosis, diagnose
from holdfast.diagnosis.engine import Engine
from holdfast.report import diagnosed
from holdfast.sessions import desktop
from holdfast.sessions.corpus import update
from holdfast.sessions.frames import frames
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store
from tests.diagnosis.test_tables import LADDER, picked
from tests.sessions.written import MORNING_MS, Pen

CENTRAL = timezone(timedelta(hours=-5))
VERSIONS = {
    "2.1.112": 93, "2.1.87": 77, "2.1.110": 39, "2.1.76": 30, "2.1.105": 20, "2.1.77": 19, "2.1.92": 13, "2.1.114": 12,
    "2.1.107": 10, "2.1.72": 9, "2.1.104": 1,
}  # fmt: skip
"Section 3.2: eleven versions. Two more were seen (2.1.86, 2.1.108), and stand in no row."
LEFT_OUT = {"2.1.86": 1, "2.1.108": 1}
PROJECTS = {"I": 64, "K": 54, "F": 23, "J": 17, "B": 8, "A": 3, "E": 3, "D": 1}
SIZES = (
    ("< 1 MB", (2, 2)),
    ("1-3 MB", (18, 17)),
    ("3-6 MB", (5,)),
    (">= 6 MB", (14, 14, 14, 14, 14, 14, 15, 15, 15)),
)
"Section 3.5: errors of each affected session; the sum per row is the report's."
DAYS = {
    "2026-04-16": 99, "2026-04-17": 93, "2026-04-14": 49, "2026-03-27": 30, "2026-03-17": 28, "2026-04-18": 11,
    "2026-04-15": 8, "2026-04-09": 4, "2026-03-28": 1, "2026-03-30": 1, "2026-04-19": 1,
}  # fmt: skip
"Section 4.1, UTC: the top ten, and the one that is missing there."
HOURS = {
    0: 16, 2: 1, 7: 103, 8: 25, 9: 4, 10: 10, 11: 22, 12: 12, 13: 2, 14: 8, 15: 3, 16: 28, 18: 1, 20: 25, 21: 11, 22: 37,
    23: 17,
}  # fmt: skip
"Section 4.2, UTC-5."
OVERLAPS = {
    ("2026-04-15", 22): 8,
    ("2026-04-16", 7): 71,
    ("2026-04-16", 8): 9,
    ("2026-04-17", 22): 15,
    ("2026-04-17", 12): 12,
}
"Section 6.1: (UTC day, local hour) -> errors in hours in which the desktop app had no network."
WEEKDAYS = [1, 77, 8, 103, 123, 12, 1]
BURSTS, IN_BURSTS = 36, 181
PATHLESS = 87
MAIN = {10: 7, 9: 2, 8: 1, 7: 2, 6: 1, 5: 1, 4: 2, 3: 2, 2: 5, 1: 28}
"How many chains of each length are in sessions' own files: 173 errors. The others are in subagents' files."


@dataclass
class Chain:
    """One request's failed tries."""

    tries: int
    recovered: bool
    main: bool = False
    session: int = 0
    version: str = ""
    project: str = ""
    times: list[int] = field(default_factory=list)


def chains() -> list[Chain]:
    """All 110, with the sessions, versions and projects that make up the report's sums."""
    made = []
    for step, (reached, recovered) in enumerate(LADDER, 1):
        beyond = LADDER[step][0] if step < len(LADDER) else 0
        made += [Chain(step, which < recovered) for which in range(reached - beyond)]
    left = Counter(MAIN)
    for chain in made:
        if left[chain.tries] > 0:
            left[chain.tries] -= 1
            chain.main = True
    main, helpers = [one for one in made if one.main], [one for one in made if not one.main]
    sizes = [errors for _, sessions in SIZES for errors in sessions]
    for chain, session in zip(main, split(main, sizes), strict=True):
        chain.session = session
    for place, chain in enumerate(helpers):
        chain.session = len(sizes) + place % 19
    names = list(PROJECTS)
    for chain, project in zip(main, split(main, list(PROJECTS.values())), strict=True):
        chain.project = names[project]
    versions = VERSIONS | LEFT_OUT
    for chain, version in zip(made, split(made, list(versions.values())), strict=True):
        chain.version = list(versions)[version]
    return made


def split(whole: Sequence[Chain], sums: Sequence[int]) -> list[int]:
    """Of each chain the part that it is in, so that the parts' tries have these sums: the longest go where most is left."""
    left, found = list(sums), {}
    for place in sorted(range(len(whole)), key=lambda place: -whole[place].tries):
        part = max(range(len(left)), key=lambda part: left[part])
        found[place] = part
        left[part] -= whole[place].tries
    assert not any(left), left
    return [found[place] for place in range(len(whole))]


def cells() -> dict[tuple[str, int], int]:
    """(UTC day, local hour) -> errors, with the report's sums per day, per hour, and in the hours of section 6.1."""
    found = dict(OVERLAPS)
    days, hours = dict(DAYS), dict(HOURS)
    for (day, hour), errors in OVERLAPS.items():
        days[day] -= errors
        hours[hour] -= errors
    for day in days:
        for hour in hours:
            if (day, hour) in OVERLAPS or not min(days[day], hours[hour]):
                continue
            errors = min(days[day], hours[hour])
            found[day, hour] = errors
            days[day] -= errors
            hours[hour] -= errors
    assert not any(days.values()) and not any(hours.values())
    return found


def hour_begins(day: str, hour: int) -> int:
    """Of a UTC day the hour that is so late in UTC-5 (ms)."""
    return round(datetime.fromisoformat(day).replace(hour=(hour + 5) % 24, tzinfo=UTC).timestamp() * 1000)


def times() -> list[int]:
    """When the 325 errors were: in their cells, 36 bursts with 181 of them, all others more than a minute apart."""
    bursts, found, draw = [5] * 35 + [6], list[int](), random.Random(2)
    for (day, hour), errors in sorted(cells().items(), key=lambda item: -item[1]):
        sizes = []
        while errors:
            sizes.append(bursts.pop() if bursts and bursts[-1] <= errors else 1)
            errors -= sizes[-1]
        at = hour_begins(day, hour) + 30_000
        spare = 3_500_000 - sum((size - 1) * 5_000 + 61_000 for size in sizes)
        assert spare >= 0, (day, hour)
        for size in sizes:
            found += [at + number * 5_000 for number in range(size)]
            wait = draw.randrange(spare // len(sizes) + 1)
            at += (size - 1) * 5_000 + 61_000 + wait
    assert not bursts
    return sorted(found)


def disconnects(found: Sequence[int]) -> list[int]:
    """When the desktop app wrote that it had no network: in the five hours of section 6.1, for some minutes of each."""
    lines = []
    for day, hour in OVERLAPS:
        first = found[bisect_right(found, hour_begins(day, hour))]
        lines += list(range(first - 20_000, first + 100_000, 20_000))
    return sorted(lines)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Engine, Diagnosis]:
    """The home, its tables and its diagnosis."""
    home = tmp_path_factory.mktemp("report") / "home"
    found = times()
    pens: dict[tuple[int, bool], Pen] = {}
    waiting, written = iter(found), 0
    for number, chain in enumerate(sorted(chains(), key=lambda one: (one.tries * 7 + one.session * 13) % 41)):
        chain.times = [next(waiting) for _ in range(chain.tries)]
        name = f"{chain.session + 1:08x}-0000-4000-8000-000000000000"
        pen = pens.setdefault(
            (chain.session, chain.main), Pen(name, agent=None if chain.main else f"a{chain.session}")
        )
        pen.version, pen.cwd = chain.version, f"/work/{chain.project or 'helpers'}"
        pen.at_ms = chain.times[0] - 1_500
        pen.answers(f"msg_{number}a").after(0.5).asks()
        for attempt, at in enumerate(chain.times, 1):
            pen.at_ms = at
            pen.fails(attempt, code=None if written < PATHLESS else "ECONNRESET")
            written += 1
        pen.after(1)
        if chain.recovered:
            pen.answers(f"msg_{number}b")
        else:
            pen.gives_up()
    for pen in pens.values():
        pen.saved(home)
    log = home / "Library" / "Logs" / "Claude" / "main.log"
    log.parent.mkdir(parents=True)
    begun = hour_begins("2026-04-14", 19)
    told_of = [
        (at, "[info] [window] Checking for updates")
        for at in range(begun, begun + 5 * tables.DAY_MS, 1_800_000)
    ]
    told_of += [(at, "[error] Poll error: net::ERR_INTERNET_DISCONNECTED") for at in disconnects(found)]
    log.write_text(
        "".join(
            f"{datetime.fromtimestamp(at / 1000, CENTRAL):%Y-%m-%d %H:%M:%S} {text}\n"
            for at, text in sorted(told_of)
        )
    )
    store = Store(None, now_ms=MORNING_MS)
    update(store, transcripts(roots(home))[0])
    with log.open() as lines:
        logs = [desktop.read(lines, CENTRAL)]
    engine = Engine(frames(store))
    return home, engine, diagnose(engine, desktop=logs, offsets=[(0, -5 * tables.HOUR_MS)])


Told = tuple[Path, Engine, Diagnosis]


def errors(rows: Sequence[Mapping[str, Any]], by: str) -> dict[Any, int]:
    return {row[by]: row["errors"] for row in rows if row["errors"]}


# ----- its tables


def test_its_versions(told: Told) -> None:
    """Section 3.2; and the two versions and two errors that are missing from it."""
    found = errors(told[2].tables["by version"], "version")

    assert {name: found[name] for name in VERSIONS} == VERSIONS
    assert (len(found), sum(found.values()), sum(VERSIONS.values())) == (13, 325, 323)
    assert found.keys() - VERSIONS.keys() == LEFT_OUT.keys()


def test_its_projects(told: Told) -> None:
    """Section 3.4: its 173, and the 152 that it attributed to nothing. A project with none is no project with one."""
    found = errors(told[2].tables["by project"], "project")

    assert {name: found[f"/work/{name}"] for name in PROJECTS} == PROJECTS
    assert (sum(PROJECTS.values()), found["/work/helpers"], sum(found.values())) == (173, 152, 325)
    assert len(PROJECTS) == 8  # "eleven projects with at least one": three of its rows are zero


def test_its_sizes(told: Told) -> None:
    """Section 3.5 by session. "74.6% in sessions of 6 MB and more" is of the 173: of all 325 it is 39.7%."""
    _, engine, _ = told
    rows = engine.rows(tables.rates(engine.sources, "session"))
    by_session = {int(row["session"][:8], 16) - 1: row["errors"] for row in rows if row["errors"]}
    place, sums = 0, {}
    for name, sessions in SIZES:
        sums[name] = [by_session[number] for number in range(place, place + len(sessions))]
        place += len(sessions)

    assert sums == {name: list(sessions) for name, sessions in SIZES}
    assert [sum(row) for row in sums.values()] == [4, 35, 5, 129]
    assert (round(129 / 173 * 100, 1), round(129 / sum(by_session.values()) * 100, 1)) == (74.6, 39.7)
    # fourteen sessions stand in its table, seventeen in its text; the records name 33
    assert (place, len(by_session)) == (14, 33)


def test_its_search_misses_subagents(told: Told) -> None:
    """`projects/*/*.jsonl` sees 173 of the 325; ours says which were subagents'."""
    home, _, diagnosis = told
    seen = sum(
        path.read_text().count('"subtype":"api_error"') for path in home.glob(".claude/projects/*/*.jsonl")
    )

    assert seen == 173
    assert errors(diagnosis.tables["by agent kind"], "agent kind") == {"main": 173, "subagent": 152}


def test_its_days_and_weekdays(told: Told) -> None:
    """Section 4.1 sums to 324: its top ten left the Sunday out. Days there are UTC, hours are not."""
    _, engine, _ = told
    rows = engine.rows(tables.per_day(engine.sources, []))
    found = {
        datetime.fromtimestamp(row["day"] * 86_400, UTC).date().isoformat(): row["errors"] for row in rows
    }

    assert {day: count for day, count in found.items() if count} == DAYS
    assert sum(sorted(found.values())[-10:]) == 324 and found["2026-04-19"] == 1
    assert picked(engine.rows(tables.per_weekday(engine.sources, [])), "errors") == WEEKDAYS


def test_its_hours(told: Told) -> None:
    """Section 4.2, by the local clock."""
    assert errors(told[2].tables["per hour"], "hour") == HOURS


def test_its_bursts(told: Told) -> None:
    """Section 4.4: 36 bursts, 181 errors in them."""
    found = told[2].tables["bursts"]

    assert (len(found), sum(row["errors"] for row in found)) == (BURSTS, IN_BURSTS)


def test_its_ladder(told: Told) -> None:
    """Section 3.6; and of 27 requests that failed a fourth time 13 went through: later tries were not wasted."""
    found = [dict(row) for row in told[2].tables["retries"]]

    assert picked(found, "reached", "recovered") == list(LADDER)
    assert sum(row["recovered"] for row in found if row["step"] >= 4) == 13


# ----- what it concluded


def test_a_failure_is_a_request_and_not_a_record(told: Told) -> None:
    """ "About 180 distinct failures": 110, by the first tries; 14 of them died, not 30."""
    _, _, diagnosis = told

    assert (diagnosis.failures, diagnosis.died) == (110, 14)


def test_strings_are_no_requests(told: Told) -> None:
    """ "476 of 476 requests": each of 238 records has its path twice, and 87 have none. What they failed of is not known."""
    home, _, diagnosis = told
    text = "".join(path.read_text() for path in home.glob(".claude/projects/**/*.jsonl"))
    found = {row["code"]: row["errors"] for row in diagnosis.tables["by code"] if row["errors"]}

    assert text.count("/v1/messages?beta=true") == 476 == 2 * found["ECONNRESET"]
    assert found == {"ECONNRESET": 238, "unknown": 87}


def test_the_same_hour_is_no_coincidence(told: Told) -> None:
    """ "71 of 325": one of five rows, whose sum is 115; and by the second far fewer are where there was no network."""
    _, engine, diagnosis = told
    hours = Counter(
        (row["at_ms"] // tables.DAY_MS, row["at_ms"] % tables.DAY_MS // tables.HOUR_MS)
        for row in engine.rows(engine.sources.error)
    )
    away = {(at // tables.DAY_MS, at % tables.DAY_MS // tables.HOUR_MS) for at in disconnects(times())}
    assert sorted(hours[one] for one in away) == sorted(OVERLAPS.values())
    assert sum(hours[one] for one in away) == 115

    rows = diagnosis.tables["overlap"]
    assert sorted(row["errors"] for row in rows) == sorted(OVERLAPS.values())
    assert [(row["hour"], row["outages"]) for row in rows] == [(22, 1), (7, 1), (8, 1), (22, 1), (12, 1)]
    assert sum(row["at_the_time"] for row in rows) < 20 < sum(row["failures"] for row in rows)
    within = {
        failure.id
        for failure in diagnosis.case.failures
        if any(
            outage.holds(at, slack_ms=5_000) for outage in diagnosis.case.outages for at in failure.times_ms
        )
    }
    assert len(diagnosis.case.outages) == 5 and 5 <= len(within) < 20
    # five coincidences among failures most of which lie outside: something, and too little to be called a cause
    gain = dict(diagnosis.examination.considered)["local-link"]
    assert 0 < gain < 5 and "local-link" not in {finding.hypothesis for finding in diagnosis.findings}


def test_no_dose_no_claim(told: Told) -> None:
    """Large files are not large prompts: where all prompts have one size nothing is said of size, nor of versions."""
    _, _, diagnosis = told
    claimed = {name for finding in diagnosis.findings for name in (finding.hypothesis, *finding.rivals)}

    assert not claimed & {"large-request", "client-version", "rate-limit", "provider-overload"}
    assert any("Versions are not compared" in said for said in diagnosis.refused)
    assert any("Who sent a reset" in said for said in diagnosis.refused)


def test_its_hypotheses_by_name(told: Told) -> None:
    """H1 to H8 as its author numbered them, each with its verdict here; most of what it held is not so in its own data."""
    found = {one.key: one for one in prior.held(told[2])}

    assert {key: one.verdict for key, one in found.items()} == {
        "H1": prior.CONTRADICTED,  # no failure of it is old enough, and all prompts are of one size
        "H2": prior.CONTRADICTED,
        "H3": prior.CONTRADICTED,  # the app had no network; the line beyond the router was not what it named
        "H4": prior.OPEN,
        "H5": prior.CONTRADICTED,
        "H6": prior.CONTRADICTED,
        "H7": prior.OPEN,
        "H8a": prior.OPEN,
        "H8b": prior.OPEN,
        "H8c": prior.CONTRADICTED,
        "H8d": prior.CONTRADICTED,
        "H8e": prior.OPEN,
        "H8f": prior.OPEN,
        "H8g": prior.CONTRADICTED,
    }
    assert found["H1"].why.startswith("110 of 110 failures came within 10 s")
    assert "0 of 84 failures" in found["H3"].why
    page = "\n".join(diagnosed.as_markdown(told[2]))
    assert all(f"- report's {key}: " in page for key in found)
