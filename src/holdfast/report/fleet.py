"""A fleet's diagnosis as text for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from holdfast.diagnosis.fleet import MOST_TIMES, Fleet
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.titles import TITLES
from holdfast.flight.flights import counted, percent
from holdfast.flight.redact import clean
from holdfast.report import markdown
from holdfast.report.diagnosed import shortened, shown
from holdfast.report.text import paragraph

MOST_CAUSES = 5
OURS: Mapping[str, str] = {
    "causes": "What was found, on how many machines",
    "machines": "How unevenly machines fail (failures per thousand requests)",
    "together": "Times at which several machines failed (5 minutes, UTC)",
    "by region": "By region",
    "by network": "By network",
    "by system": "By operating system",
    "causes by region": "Causes by region",
    "causes by network": "Causes by network",
    "causes by system": "Causes by operating system",
    "by edge": "Errors by the provider's edge place",
    "without network": "Failures while this machine had no network, where a log would tell",
}
"Heads of tables that only a fleet has."


def verdict(fleet: Fleet) -> str:
    """One sentence: how much failed, on how many machines."""
    who = counted(fleet.machines, "machine")
    if fleet.persons < fleet.machines:
        who += f" of {counted(fleet.persons, 'person')}"
    if not fleet.requests:
        return f"{who}, and no request in this time."
    if not fleet.failures:
        return f"{who}: {counted(fleet.requests, 'request')} on record, and none failed."
    died = f", and {counted(fleet.died, 'turn')} died of it" if fleet.died else "; no turn died of it"
    on = f"on {fleet.failing:,} of the {fleet.active:,} in use"
    if fleet.apart == fleet.failures:
        return f"{who}: {counted(fleet.failures, 'request')} failed by telemetry alone, {on}{died}."
    beside = f", and {fleet.apart:,} more by telemetry alone" if fleet.apart else ""
    failed, of = fleet.failures - fleet.apart, fleet.requests - fleet.apart
    return (
        f"{who}: {failed:,} of {counted(of, 'request')} failed ({percent(failed / of)}){beside}, {on}{died}."
    )


def told(fleet: Fleet) -> Iterator[str]:
    """What comes first of the rest, in sentences."""
    (spread,) = fleet.tables["machines"]
    if fleet.failing >= 4:
        yield f"Half of all failures came from {spread['half_on']} of {counted(fleet.active, 'machine')}."
    times = fleet.tables["together"]
    if times:
        often = "Once" if len(times) == 1 else f"At {len(times)} times"
        yield (
            f"{often}{' and more' if len(times) == MOST_TIMES else ''} several machines failed within five minutes, at the "
            f"widest {times[0]['machines']} of the {times[0]['active']} in use: what strikes many at once is not theirs."
        )
    elif fleet.failing > 1:
        yield "Never did three machines fail within the same five minutes: nothing shows that struck many at once."


def causes(fleet: Fleet) -> Iterator[str]:
    """The commonest causes, a sentence each."""
    titles = {one.name: one.title for one in catalogue()}
    for row in fleet.causes[:MOST_CAUSES]:
        within = ""
        if row["share_low"] is not None and percent(row["share_low"]) != percent(row["share_high"]):
            within = f" ({percent(row['share_low'])} to {percent(row['share_high'])}, machines resampled)"
        doubt = f", on {row['either']} it cannot be told from another" if row["either"] else ""
        yield (
            f"{titles.get(row['cause'], row['cause'])} ({row['cause']}): on {row['machines']} of "
            f"{counted(row['of'], 'machine')}{within}, {counted(row['failures'], 'failure')}{doubt}."
        )


def text(fleet: Fleet, width: int | None) -> list[str]:
    """The whole for a terminal; `width` None is one line per sentence."""
    page = paragraph(verdict(fleet), width)
    page += [line for one in told(fleet) for line in paragraph(one, width)]
    page += ["", "What was found on the machines, each by its own evidence"]
    for number, one in enumerate(causes(fleet), 1):
        page += paragraph(one, width, f"  {number}. ", "     ")
    if not fleet.causes:
        page.append("  On no machine was a cause found.")
    for name, rows in _tables(fleet):
        lines = shown(name, rows)
        if lines:
            page += ["", _head(name, fleet.zone), *shortened(name, lines, width)]
    page += ["", "What was looked at"]
    page += [line for one in fleet.coverage for line in paragraph(one, width, "  - ", "    ")]
    page += ["", "What a fleet's files cannot tell"]
    page += [line for one in fleet.refused for line in paragraph(one, width, "  - ", "    ")]
    return page


def as_markdown(fleet: Fleet) -> list[str]:
    """The whole as GitHub-flavoured Markdown; what came from files can start no mention, link or tag in it."""
    page = ["# Diagnosis of a fleet", "", markdown.words(verdict(fleet)), ""]
    page += [*(markdown.words(one) for one in told(fleet)), "", "## What was found on the machines", ""]
    page += [f"{number}. {markdown.words(one)}" for number, one in enumerate(causes(fleet), 1)]
    for name, rows in _tables(fleet):
        lines = shown(name, rows)
        if lines:
            cells = [[markdown.words(cell) for cell in row] for row in lines]
            page += [
                "",
                f"## {markdown.words(_head(name, fleet.zone))}",
                "",
                *markdown.table(cells[0], cells[1:]),
            ]
    page += ["", "## What was looked at", "", *(f"- {markdown.words(one)}" for one in fleet.coverage)]
    page += [
        "",
        "## What a fleet's files cannot tell",
        "",
        *(f"- {markdown.words(one)}" for one in fleet.refused),
    ]
    return page


def _tables(fleet: Fleet) -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    """Those worth a look: a place that nobody told is left out."""
    for name, rows in fleet.tables.items():
        place = name.removeprefix("by ")
        if place in ("region", "network", "system") and {row[place] for row in rows} <= {"not known"}:
            continue
        yield name, rows


def _head(name: str, zone: str) -> str:
    return OURS.get(name) or TITLES[name].replace("(local)", f"({clean(zone)})")
