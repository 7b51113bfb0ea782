"""Many machines diagnosed together: the same tables over all their exported files, and what only many can show.

Causes are weighed where the evidence is: each machine exports what it found of itself, and here it is counted on how
many. What a fleet adds is the comparison: one region, one network, one version, one moment.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from holdfast.diagnosis import spread, tables
from holdfast.diagnosis.diagnosis import COUNTED, RATED
from holdfast.diagnosis.engine import Engine
from holdfast.diagnosis.intervals import Interval, ratio
from holdfast.diagnosis.tables import Offsets, Sources
from holdfast.diagnosis.titles import the_table

SCHEMA = 2
"Of `as_json`; raised when a name in it changes its meaning or goes."
PLACES = ("region", "network", "system")
NOT_HERE = frozenset({"by project", "bursts"})
"Tables of one person's: projects have names that mean nothing elsewhere, and bursts are each machine's own."
MOST_TIMES = 20
"Of the times at which several machines failed."
MOST_PLACES = 5
"Values of a place that are told per cause."
LEAST_MACHINES = 5
"Of fewer, a difference between two places is told with this doubt."

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Fleet:
    """Everything that a fleet's report says."""

    machines: int
    "That exported."
    persons: int
    active: int
    "Machines with a request in this time."
    failing: int
    requests: int
    "Answered ones and failed ones."
    failures: int
    apart: int
    "Of the failures, those that telemetry alone tells: they are part of no rate."
    died: int
    tables: Mapping[str, Rows]
    coverage: tuple[str, ...]
    refused: tuple[str, ...]
    since_ms: int | None
    until_ms: int | None
    zone: str = "UTC"
    "The clock by which days and hours are counted."

    @property
    def causes(self) -> Rows:
        return self.tables["causes"]


def counts(
    engine: Engine, since_ms: int | None = None, until_ms: int | None = None, offsets: Offsets = ()
) -> dict[str, Any]:
    """Every table of a fleet as the expression that it is computed by: the whole of what an engine is asked."""
    machine, finding, cause = (engine.tables[name] for name in ("machine", "finding", "cause"))
    sources = engine.sources.between(since_ms, until_ms)
    placed, rated = spread.placed(sources, machine), sources.compared()
    placed_rated = spread.placed(rated, machine)
    found: dict[str, Any] = {"total": spread.totals(sources, machine)}
    found |= {
        name: table(rated if name in RATED else sources, offsets)
        for name, table in COUNTED.items()
        if name not in NOT_HERE
    }
    found |= {f"by {place}": tables.rates(placed_rated, place) for place in PLACES}
    outage, watched = engine.tables["outage"], engine.tables["watched"]
    return found | {
        "machines": spread.machines(rated),
        "together": spread.together(sources).limit(MOST_TIMES),
        "by edge": spread.edges(sources),
        "without network": spread.without_network(sources, outage, watched),
        "causes": spread.causes(finding, cause, machine),
        **{f"causes by {place}": spread.causes_by(placed, cause, place) for place in PLACES},
        "exports": machine.group_by(["holdfast", "schema"])
        .agg(
            machines=machine.machine.nunique(),
            first_ms=machine.first_ms.min(),
            last_ms=machine.last_ms.max(),
            oldest_ms=machine.exported_ms.min(),
            cut=(machine.since_ms.notnull() | machine.until_ms.notnull()).sum(),
        )
        .order_by("holdfast"),
    }


def look(
    engine: Engine,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    offsets: Offsets = (),
    zone: str = "UTC",
    progress: Callable[[str], None] = lambda _: None,
) -> Fleet:
    """Ask the engine for all of it. `progress` is told the name of each table before it is asked for."""
    found: dict[str, Rows] = {}
    for name, expression in counts(engine, since_ms, until_ms, offsets).items():
        progress(name)
        found[name] = engine.rows(expression)
    (total,) = found.pop("total")
    exports = found.pop("exports")
    sources = engine.sources.between(since_ms, until_ms).compared()
    placed = spread.placed(sources, engine.tables["machine"])
    for name, by in {**RATED, **{f"by {place}": place for place in PLACES}}.items():
        if name in found:
            progress(f"ranges of {name}")
            found[name] = _rated(
                engine, placed if by in PLACES else sources, found[name], by, total["machines"], offsets
            )
    found["retries"] = [dict(row) for row in found["retries"]]
    found["causes"] = [_share_of_machines(row) for row in found["causes"]]
    return Fleet(
        machines=total["machines"],
        persons=total["persons"],
        active=total["active"],
        failing=total["failing"],
        requests=total["answered"] + total["failures"],
        failures=total["failures"],
        apart=total["apart"],
        died=total["died"],
        tables=_told(found),
        coverage=tuple(_coverage(exports, found)),
        refused=tuple(_refused(found, total, exports, bool(since_ms or until_ms))),
        since_ms=since_ms,
        until_ms=until_ms,
        zone=zone,
    )


def _rated(
    engine: Engine, sources: Sources, rows: Rows, by: str, machines: int, offsets: Offsets
) -> list[Mapping[str, Any]]:
    """The rows with the interval of `per_1000`: machines drawn anew, or days, whichever leaves more open.

    Machines, for one that fails a lot says little of others; days, for an outage strikes all of them at once.
    """
    drawn: list[dict[Any, list[tuple[float, float]]]] = []
    queries = [tables.daily(sources, by, offsets)]
    if by != "hour":
        queries.append(spread.units(sources, by, machines))
    for query in queries:
        units: dict[Any, list[tuple[float, float]]] = defaultdict(list)
        for one in engine.rows(query):
            units[one["key"]].append((one["failures"], one["failures"] + one["answered"]))
        drawn.append(units)
    told: list[Mapping[str, Any]] = []
    for row in rows:
        rate = row["failures"] * 1000.0 / (row["failures"] + row["answered"]) if row["answered"] else None
        ranges = [ratio(units[row[by]]) for units in drawn] if rate is not None else []
        within = _widest(ranges)
        told.append(
            {
                **row,
                "per_1000": rate,
                "per_1000_low": within.low * 1000 if within else None,
                "per_1000_high": within.high * 1000 if within else None,
            }
        )
    return told


def _widest(ranges: Sequence[Interval | None]) -> Interval | None:
    """None where one of them cannot be had."""
    known = [one for one in ranges if one is not None]
    if not known or len(known) < len(ranges):
        return None
    return max(known, key=lambda one: one.high - one.low)


def _share_of_machines(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the share of machines on which it was found, and its interval, machines drawn anew."""
    units = [(1.0, 1.0)] * row["machines"] + [(0.0, 1.0)] * (row["of"] - row["machines"])
    within = ratio(_mixed(units))
    return {
        **row,
        "share": row["machines"] / row["of"] if row["of"] else None,
        "share_low": within.low if within else None,
        "share_high": within.high if within else None,
    }


def _mixed(units: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """In an order by chance, always the same: of very many units neighbours are drawn together."""
    random.Random(len(units)).shuffle(units)
    return units


def _told(found: Mapping[str, Rows]) -> dict[str, Rows]:
    """The tables in the order of a report; places per cause cut to those with most."""
    made = dict(found)
    for place in PLACES:
        by_cause: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in made.pop(f"causes by {place}"):
            by_cause[row["cause"]].append(
                {"cause": row["cause"], place: row["key"], **_without(row, "cause", "key")}
            )
        if len({row[place] for rows in by_cause.values() for row in rows}) > 1:
            made[f"causes by {place}"] = [row for rows in by_cause.values() for row in rows[:MOST_PLACES]]
    first = ("causes", "machines", "together", *(f"by {place}" for place in PLACES))
    return {name: made[name] for name in (*first, *(name for name in made if name not in first))}


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _coverage(exports: Rows, found: Mapping[str, Rows]) -> list[str]:
    times = [(row["first_ms"], row["last_ms"]) for row in exports if row["first_ms"] is not None]
    told = []
    if times:
        told.append(
            f"requests from {day(min(first for first, _ in times))} to {day(max(last for _, last in times))}"
        )
    told.append(f"the oldest export was made on {day(min(row['oldest_ms'] for row in exports))}")
    versions = ", ".join(f"{row['holdfast']} on {row['machines']}" for row in exports)
    told.append(f"exported by holdfast {versions}")
    (network,) = found["without network"]
    told.append(f"{network['machines']} machines have a log of their own network")
    return told


def day(at_ms: int) -> str:
    """Of UTC: `2026-04-14`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def _refused(found: Mapping[str, Rows], total: Mapping[str, Any], exports: Rows, part: bool) -> list[str]:
    said = [
        "Who ended a connection, what a request's id was and what the client said in words is in no export: on a machine, "
        "holdfast diagnose tells, and --format issue quotes ids.",
        "Causes were found on each machine by all that it has and are counted here, not weighed again; a machine with few "
        "failures finds none.",
    ]
    if part:
        said.append(
            "Causes are of the whole time that each machine exported, whatever --since and --until say."
        )
    if apart := total["apart"]:
        them = "1 failure is" if apart == 1 else f"{apart:,} failures are"
        said.append(
            f"{them} in no rate, and in no table that has one: the client's telemetry alone tells of them, and only where "
            "something kept it from being sent."
        )
    if total["persons"] < total["machines"]:
        said.append(
            f"{total['machines']} machines are {total['persons']} persons: those of one person are not independent."
        )
    if found["by edge"]:
        said.append(
            "Edge places are known of errors alone, so they have no rate: a place that serves many fails often. Compare "
            "with the share of users there."
        )
    for place in ("region", "network"):
        rows = [row for row in found[f"by {place}"] if row["failures"] or row["answered"]]
        if rows and all(row[place] == "not known" for row in rows):
            said.append(
                f"No {place} is known: machines say it only where they are told to (holdfast export --{place})."
            )
    if total["machines"] < LEAST_MACHINES:
        said.append(
            f"There are only {total['machines']} machines: what differs between them may be anything of theirs."
        )
    cut = sum(row["cut"] or 0 for row in exports)
    if cut:
        said.append(f"{cut} machines exported only a part of their time.")
    if len(found["by version"]) > 1:
        said.append(
            "Versions are compared on each machine alone, on its days with several, and that one of them is a cause is "
            f"counted among the others; {the_table('by version')} is of all days and machines, and no such comparison."
        )
    return said


def as_json(fleet: Fleet) -> dict[str, Any]:
    """The whole as plain values."""
    return {
        "schema": SCHEMA,
        "kind": "fleet",
        "since_ms": fleet.since_ms,
        "until_ms": fleet.until_ms,
        "machines": fleet.machines,
        "persons": fleet.persons,
        "active": fleet.active,
        "failing": fleet.failing,
        "requests": fleet.requests,
        "failures": fleet.failures,
        "failures_apart": fleet.apart,
        "died": fleet.died,
        "coverage": list(fleet.coverage),
        "refused": list(fleet.refused),
        "tables": {name: list(rows) for name, rows in fleet.tables.items()},
    }
