"""Failures per thousand requests, by hour, weekday, size, version, project and agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from holdfast.diagnosis import intervals
from holdfast.diagnosis.diagnosis import Diagnosis, local_day
from holdfast.flight.flights import counted, rate
from holdfast.report import plots_counts
from holdfast.report.plots import Figure
from holdfast.report.plots_counts import Rate, Row

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def per_hour(diagnosis: Diagnosis) -> Figure | None:
    """The rate at each hour of the day; one bad morning shows as a wide interval, not as a habit."""
    found = {row["hour"]: row for row in diagnosis.tables["per hour"]}
    if not found or not diagnosis.failures:
        return None
    nothing = {"failures": 0, "answered": 0, "per_1000": None, "per_1000_low": None, "per_1000_high": None}
    rows = [(f"{hour}", found.get(hour, nothing)) for hour in range(24)]
    says = (
        "Failures per thousand requests at each local hour; below, how many were answered then. A line is where the rate "
        "lies when whole days are drawn anew: a single bad day makes it long."
    )
    return rated("By hour of the day", says, rows, "hour")


def per_weekday(diagnosis: Diagnosis) -> Figure | None:
    """The rate on each weekday, with its interval."""
    days = diagnosis.tables["per day"]
    if not days or not diagnosis.failures:
        return None
    case, rows = diagnosis.case, []
    unsent = {local_day(one.at_ms, diagnosis.offsets) for one in case.failures if not one.on_record}
    for weekday, name in enumerate(_WEEKDAYS):
        mine = [row for row in days if (row["day"] + 3) % 7 == weekday]
        failures, requests = sum(row["failures"] for row in mine), sum(row["answered"] for row in mine)
        if not requests or any(row["day"] in unsent for row in mine):
            rows.append((name, {"failures": failures, "answered": requests, "per_1000": None}))
            continue
        within = intervals.ratio([(row["failures"], row["failures"] + row["answered"]) for row in mine])
        row = {
            "failures": failures,
            "answered": requests,
            "per_1000": failures * 1000 / (failures + requests),
            "per_1000_low": within.low * 1000 if within else None,
            "per_1000_high": within.high * 1000 if within else None,
        }
        rows.append((name, row))
    says = (
        "Failures per thousand requests on each local weekday; below, how many were answered. A line is where the rate "
        "lies when days are drawn anew; a weekday that came fewer than five times has none."
    )
    return rated("By weekday", says, rows, "weekday")


def rated(
    title: str,
    says: str,
    rows: Sequence[tuple[str, Mapping[str, Any]]],
    what: str,
    short: Callable[[Mapping[str, Any]], str] = lambda _: "",
) -> Figure | None:
    """Rates over a few columns of a fixed order, with their denominators. `short`: a row's name on a narrow page."""
    if not any(row["per_1000"] for _, row in rows):
        return None
    drawn = [
        Rate(
            name,
            row["per_1000"],
            row.get("per_1000_low"),
            row.get("per_1000_high"),
            row["answered"],
            f"{name}: {row['failures']} failed, {row['answered']:,} answered",
            short(row),
        )
        for name, row in rows
    ]
    return Figure(
        title,
        says,
        lambda width: plots_counts.rates(width, drawn, "failures per 1,000 requests", "answered"),
        (what, "failed", "answered", "per 1,000", "may well be"),
        tuple(_rate_row(name, row) for name, row in rows if row["failures"] or row["answered"]),
    )


def _rate_row(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    told, low, high = row["per_1000"], row.get("per_1000_low"), row.get("per_1000_high")
    return (
        name,
        f"{row['failures']:,}",
        f"{row['answered']:,}",
        "-" if told is None else rate(told),
        "-" if low is None or high is None else f"{rate(low)} to {rate(high)}",
    )


def listed_rates(
    title: str, rows: Sequence[Mapping[str, Any]], name: Callable[[Mapping[str, Any]], str], what: str
) -> Figure | None:
    """Failures per thousand requests, of one thing below the other."""
    used = [row for row in rows if row["failures"] or row["answered"]]
    drawn = [
        Row(
            name(row),
            row["per_1000"],
            row.get("per_1000_low"),
            row.get("per_1000_high"),
            f"{row['failures']:,} of {row['failures'] + row['answered']:,}"
            if row["per_1000"] is not None
            else f"{row['failures']:,} failed, no rate",
        )
        for row in used[:12]
    ]
    if not drawn or not any(row.value for row in drawn):
        return None
    says = f"Failures per thousand requests, by {what}."
    if any(row.low is not None for row in drawn):
        says += " Lines are where a rate lies in 95 of 100 cases when whole days are drawn anew"
        says += (
            "."
            if all(row.low is not None for row in drawn)
            else "; where there is none, there were too few days."
        )
    if len(used) > 12:
        says += f" The first 12 of {len(used)}."
    return Figure(
        title,
        says,
        lambda width: plots_counts.listed(width, drawn, "failures per 1,000 requests"),
        (what, "failed", "answered", "per 1,000", "may well be"),
        tuple(_rate_row(name(row), row) for row in used),
    )


def by_context(diagnosis: Diagnosis) -> Figure | None:
    """The rate by the true size of the prompt."""

    def name(row: Mapping[str, Any]) -> str:
        low, high = row["from_tokens"] // 1000, row["to_tokens"]
        return f"{low}k and more" if high is None else f"{low}–{high // 1000}k"

    def short(row: Mapping[str, Any]) -> str:
        return f"to {row['to_tokens'] // 1000}k" if row["to_tokens"] is not None else "above"

    rows = [(name(row), row) for row in diagnosis.tables["by context"] if row["from_tokens"] is not None]
    left = sum(row["failures"] for row in diagnosis.tables["by context"] if row["from_tokens"] is None)
    says = (
        "Failures per thousand requests by the tokens of the prompt at that request; below, how many were answered. A line "
        "is where the rate lies when whole days are drawn anew."
    ) + (f" Of {counted(left, 'failure')} the size is not known." if left else "")
    return rated("By the true size of the prompt", says, rows, "tokens", short)


def by_version(diagnosis: Diagnosis) -> Figure | None:
    """The rate of each version of the client."""
    return listed_rates(
        "By version of the client", diagnosis.tables["by version"], lambda row: str(row["version"]), "version"
    )


def by_project(diagnosis: Diagnosis) -> Figure | None:
    """The rate in each project."""
    return listed_rates(
        "By project", diagnosis.tables["by project"], lambda row: str(row["project"]), "project"
    )


def by_agent(diagnosis: Diagnosis) -> Figure | None:
    """The rate of main conversations and of subagents."""
    return listed_rates(
        "Main conversation and subagents",
        diagnosis.tables["by agent kind"],
        lambda row: str(row["agent kind"]),
        "kind of agent",
    )
