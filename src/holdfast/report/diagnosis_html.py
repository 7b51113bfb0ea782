"""A diagnosis as one HTML file: nothing is fetched, nothing runs, light and dark, for a phone and for paper.

The verdict, what to do and how sure come first; then each cause with a picture of its evidence; then the counts.
Jinja2 escapes every value; the policy in the page allows its one style sheet by hash and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, zip_longest

from holdfast import __version__
from holdfast.diagnosis import prior
from holdfast.diagnosis.around import NOTHING, Around
from holdfast.diagnosis.clock import by_clock
from holdfast.diagnosis.diagnosis import Diagnosis
from holdfast.diagnosis.examine import Finding
from holdfast.flight.flights import counted, percent
from holdfast.report import diagnosed, drawing, pictures, pictures_when, plots
from holdfast.report.lookalikes import HOW_ALIKE, TITLE, Lookalike, alike
from holdfast.report.plots import Figure
from holdfast.report.rows import is_number
from holdfast.report.sheet import sheet

OPEN = ("by code", "by version", "lost")
"Tables that are not folded away."
MOST_ROWS = 400
"Of one table; the whole is in --format json."
LONG = 40
"Rows of a table that paper is not spent on."
_VERSION = re.compile(r"\d+(?:\.\d+){2,}")
MOST_EVIDENCE = 6
"Causes with a picture of their own, the largest first: each takes a tenth of a second and some thousand letters."


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
    legend: tuple[tuple[str, str], ...] = ()
    "Words in it, and what they mean."

    @property
    def long(self) -> bool:
        return len(self.rows) > LONG


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure, drawn."""

    title: str
    says: str
    wide: str
    narrow: str
    "SVG that has been through the sieve: it goes into the page as it is."
    key: tuple[tuple[str, str], ...]
    table: Table


@dataclass(frozen=True, slots=True)
class Card:
    """A finding."""

    title: str
    grade: str
    kind: str
    "Its colour, the same in every picture."
    count: str
    picture: Picture | None
    reasons: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Advised:
    """One thing to do."""

    told: str
    saves: str
    against: str
    "The title of the cause that it is for."
    grade: str
    kind: str
    "The cause's colour."


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A prior hypothesis."""

    key: str
    suspects: str
    verdict: str
    reasons: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the template shows, in words and pictures."""

    verdict: str
    span: str
    numbers: list[tuple[str, str]]
    advice: list[Advised]
    next_step: str
    shares: Picture | None
    unexplained: str
    since: list[str]
    findings: list[Card]
    alike_title: str
    alike_how: str
    alike: list[Lookalike]
    prior_title: str
    prior_whose: str
    prior: list[Suspicion]
    pictures: list[Picture]
    too_few: str
    "Why there are not more of them; empty where there are."
    tables: list[Table]
    coverage: Picture | None
    sources: list[tuple[str, str]]
    environment: Table | None
    skipped: list[str]
    refused: list[str]
    made_by: str


def page(diagnosis: Diagnosis, around: Around = NOTHING) -> str:
    """The whole file. Raises ImportError where the renderer of pictures is not installed."""
    return sheet("diagnosis", page=_page(diagnosis, around, Drawer()))


class Drawer:
    """Draws figures for one page: every picture has a name there that no other has."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def drawn(self, figure: Figure | None) -> Picture | None:
        """For a wide and for a narrow page."""
        if figure is None:
            return None
        name = f"p{next(self._numbers)}"
        wide, narrow = (
            drawing.svg(
                figure.draws(width), kind, name + kind[0], figure.title, figure.says, pointed=kind == "wide"
            )
            for width, kind in ((plots.WIDE, "wide"), (plots.NARROW, "narrow"))
        )
        behind = table(figure.title, [list(figure.head), *(list(row) for row in figure.rows)], False)
        return Picture(figure.title, figure.says, wide, narrow, figure.key, behind)


def _page(diagnosis: Diagnosis, around: Around, drawer: Drawer) -> Page:
    left = len(diagnosis.examination.unexplained)
    evidence = [pictures.evidence(finding, diagnosis) for finding in diagnosis.findings[:MOST_EVIDENCE]]
    shown = {figure.title for figure in evidence if figure and figure.title != pictures_when.CALENDAR}
    return Page(
        verdict=" ".join(filter(None, (diagnosed.verdict(diagnosis), diagnosed.period(diagnosis)))),
        span=_span(diagnosis),
        numbers=_numbers(diagnosis),
        advice=list(_advised(diagnosis)),
        next_step=diagnosed.next_step(diagnosis),
        shares=drawer.drawn(pictures.shares(diagnosis)),
        unexplained=f"{counted(left, 'failure')} stay unexplained: no cause that is known here fits them"
        f"{diagnosed.refused(diagnosis)}."
        if left
        else "",
        since=around.since_lines(),
        alike_title=TITLE,
        alike_how=HOW_ALIKE,
        alike=alike(diagnosis),
        prior_title=diagnosed.PRIOR,
        prior_whose=diagnosed.WHOSE,
        prior=[
            Suspicion(
                one.key,
                one.suspects,
                one.verdict,
                [(word, by_clock(told, diagnosis.offsets)) for word, told in prior.reasons(one)],
            )
            for one in prior.held(diagnosis, around.environment)
        ],
        findings=[
            _card(finding, diagnosis, drawer.drawn(figure))
            for finding, figure in zip_longest(diagnosis.findings, evidence)
        ],
        pictures=[
            made
            for figure in pictures.whole(diagnosis)
            if figure.title not in shown and (made := drawer.drawn(figure))
        ],
        too_few=f"Rates of fewer than {pictures.LEAST_FAILURES} failures are not drawn; their counts are below."
        if diagnosis.failures and not pictures.enough(diagnosis)
        else "",
        tables=list(_tables(diagnosis)),
        coverage=drawer.drawn(pictures.coverage(diagnosis)),
        sources=[(one.source, diagnosed.covered(one, diagnosis.offsets)) for one in diagnosis.coverage],
        environment=table(
            "", [["what", "which"], *([name, value] for name, value in around.environment_rows())], True
        )
        if around.environment is not None
        else None,
        skipped=around.gaps(),
        refused=list(diagnosis.refused),
        made_by=f"Holdfast {__version__}",
    )


def _advised(diagnosis: Diagnosis) -> Iterator[Advised]:
    by_name = {finding.hypothesis: finding for finding in diagnosis.findings}
    for one in diagnosis.advice:
        finding = by_name[one.hypothesis]
        yield Advised(
            one.remedy,
            diagnosed.saves(one).strip("()"),
            diagnosed.titled(finding),
            finding.grade,
            pictures.cause_colour(finding, diagnosis),
        )


def _span(diagnosis: Diagnosis) -> str:
    days = [row["day"] for row in diagnosis.tables["per day"]]
    if not days:
        return ""
    first, last = pictures_when.date(min(days)), pictures_when.date(max(days))
    return f"{first} to {last}, {counted(len(days), 'day')} in use. {diagnosed.clock(diagnosis)}".strip()


def _numbers(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    if not diagnosis.failures:
        return []
    lost = diagnosis.tables["lost"][0]
    least, most = lost["turns_least"] or 0, lost["turns_most"] or 0
    return [
        (f"{diagnosis.failures:,}", "requests failed")
        if (rate := diagnosis.rate) is None
        else (
            percent(rate),
            f"of {diagnosis.requests - diagnosis.apart:,} requests failed{_beside(diagnosis)}",
        ),
        (f"{least:,}" if least == most else f"{least:,} to {most:,}", "turns lost"),
        (diagnosed.waited(lost["minutes"] or 0), "waited for what failed"),
        (f"{len(diagnosis.examination.explained):,} of {diagnosis.failures:,}", "failures explained"),
    ]


def _beside(diagnosis: Diagnosis) -> str:
    return f", and {diagnosis.apart:,} by telemetry alone" if diagnosis.apart else ""


def _card(finding: Finding, diagnosis: Diagnosis, picture: Picture | None) -> Card:
    told = diagnosed.finding_line(
        finding, diagnosis.failures, diagnosis.intervals.get(finding.hypothesis)
    ).removeprefix(f"{diagnosed.titled(finding)}: ")
    return Card(
        diagnosed.titled(finding),
        finding.grade,
        pictures.cause_colour(finding, diagnosis),
        told,
        picture,
        diagnosed.local_reasons(finding, diagnosis),
    )


def _tables(diagnosis: Diagnosis) -> Iterator[Table]:
    for name, rows in diagnosed.worth_showing(diagnosis):
        lines = diagnosed.shown(name, rows, diagnosis.offsets)
        if lines:
            title = diagnosed.head(name, diagnosis)
            known = tuple(diagnosed.legend(name, rows))
            yield replace(table(title, lines, name in OPEN, name), legend=known)


def table(title: str, lines: Sequence[list[str]], opened: bool, name: str = "") -> Table:
    """A table of texts, its head first; columns of numbers are known by what is in them. `name` as a diagnosis has it."""
    head, *rows = lines
    numbers = [all(_is_number(row[place]) for row in rows) for place in range(len(head))]
    shown = [rows[place] for place in diagnosed.kept(name, lines, MOST_ROWS)]
    return Table(title, head, shown, numbers, opened, max(len(rows) - MOST_ROWS, 0))


def _is_number(cell: str) -> bool:
    """Whether a cell is one for the eye: a number with what belongs to it. A version is none, and is read from the left."""
    return is_number(cell.replace(" to ", " ")) and not _VERSION.fullmatch(cell)
