"""A diagnosis as one HTML file: nothing is fetched, nothing runs, light and dark, for a phone and for paper.

The verdict, what to do and how sure come first; then each cause with a picture of its evidence; then the counts.
Jinja2 escapes every value; the policy in the page allows its one style sheet by hash and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast import __version__
from holdfast.diagnosis.around import NOTHING, Around
from holdfast.diagnosis.diagnosis import Diagnosis
from holdfast.diagnosis.examine import Finding
from holdfast.flight.flights import counted, percent
from holdfast.report import diagnosed, pictures
from holdfast.report.plots import Figure
from holdfast.report.sheet import sheet

OPEN = ("by code", "by version", "lost")
"Tables that are not folded away."
MOST_ROWS = 400
"Of one table; the whole is in --format json."


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text, and which of its columns are numbers."""

    title: str
    head: list[str]
    rows: list[list[str]]
    numbers: list[bool]
    open: bool
    left_out: int = 0
    "Rows that only --format json has."


@dataclass(frozen=True, slots=True)
class Card:
    """A finding."""

    title: str
    grade: str
    count: str
    figure: Figure | None
    reasons: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the template shows, in words and pictures."""

    verdict: str
    span: str
    numbers: list[tuple[str, str]]
    advice: list[tuple[str, str]]
    shares: Figure | None
    unexplained: str
    since: list[str]
    findings: list[Card]
    pictures: list[tuple[str, Figure]]
    tables: list[Table]
    coverage: Figure | None
    sources: list[tuple[str, str]]
    environment: Table | None
    skipped: list[str]
    refused: list[str]
    made_by: str


def page(diagnosis: Diagnosis, around: Around = NOTHING) -> str:
    """The whole file."""
    return sheet("diagnosis", page=_page(diagnosis, around))


def _page(diagnosis: Diagnosis, around: Around) -> Page:
    left = len(diagnosis.examination.unexplained)
    return Page(
        verdict=diagnosed.verdict(diagnosis),
        span=_span(diagnosis),
        numbers=_numbers(diagnosis),
        advice=[(one.remedy, diagnosed.saves(one.least, one.most).strip("()")) for one in diagnosis.advice],
        shares=pictures.shares(diagnosis),
        unexplained=f"{counted(left, 'failure')} stay unexplained: no cause that is known here fits them."
        if left
        else "",
        since=around.since_lines(),
        findings=[_card(finding, diagnosis) for finding in diagnosis.findings],
        pictures=list(_pictures(diagnosis)),
        tables=list(_tables(diagnosis)),
        coverage=pictures.coverage(diagnosis),
        sources=[(one.source, diagnosed.covered(one)) for one in diagnosis.coverage],
        environment=table(
            "", [["what", "which"], *([name, value] for name, value in around.environment_rows())], True
        )
        if around.environment is not None
        else None,
        skipped=around.gaps(),
        refused=list(diagnosis.refused),
        made_by=f"Holdfast {__version__}",
    )


def _span(diagnosis: Diagnosis) -> str:
    days = [row["day"] for row in diagnosis.tables["per day"]]
    if not days:
        return ""
    return f"{pictures.day_name(min(days))} to {pictures.day_name(max(days))}, {counted(len(days), 'day')} in use"


def _numbers(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    if not diagnosis.failures:
        return []
    lost = diagnosis.tables["lost"][0]
    least, most = lost["turns_least"] or 0, lost["turns_most"] or 0
    return [
        (percent(diagnosis.failures / diagnosis.requests), f"of {diagnosis.requests:,} requests failed"),
        (f"{least}" if least == most else f"{least} to {most}", "turns lost"),
        (f"{(lost['minutes'] or 0) / 60:.1f} h", "waited for what failed"),
        (f"{len(diagnosis.examination.explained)} of {diagnosis.failures}", "failures explained"),
    ]


def _card(finding: Finding, diagnosis: Diagnosis) -> Card:
    told = diagnosed.finding_line(
        finding, diagnosis.failures, diagnosis.intervals.get(finding.hypothesis)
    ).removeprefix(f"{finding.title}: ")
    return Card(
        finding.title,
        finding.grade,
        told,
        pictures.evidence(finding, diagnosis),
        list(diagnosed.reasons(finding)),
    )


def _pictures(diagnosis: Diagnosis) -> Iterator[tuple[str, Figure]]:
    drawn = (
        ("Per day", pictures.per_day(diagnosis)),
        ("Per hour of the day", pictures.per_hour(diagnosis)),
        ("Per weekday", pictures.per_weekday(diagnosis)),
        ("By the true size of the prompt", pictures.by_context(diagnosis)),
        ("By version of the client", pictures.by_version(diagnosis)),
        ("By project", pictures.by_project(diagnosis)),
        ("The client's retries, step by step", pictures.ladder(diagnosis)),
    )
    for title, figure in drawn:
        if figure is not None:
            yield title, figure


def _tables(diagnosis: Diagnosis) -> Iterator[Table]:
    for name, rows in diagnosis.tables.items():
        lines = diagnosed.shown(name, rows)
        if lines:
            title = diagnosed.HEADS.get(name, name.capitalize())
            yield table(title, lines, name in OPEN)


def table(title: str, lines: Sequence[list[str]], opened: bool) -> Table:
    """A table of texts, its head first; columns of numbers are known by what is in them."""
    head, *rows = lines
    numbers = [all(diagnosed.is_number(row[place]) for row in rows) for place in range(len(head))]
    return Table(title, head, rows[:MOST_ROWS], numbers, opened, max(len(rows) - MOST_ROWS, 0))
