"""A whole diagnosis: the case examined, every table counted, and what the sources cannot carry said aloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.diagnosis import gather, tables
from holdfast.diagnosis.engine import Engine
from holdfast.diagnosis.examine import Examination, Finding, examine
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.tables import Offsets, Sources
from holdfast.sessions.desktop import DesktopLog

SCHEMA = 1
"Of `as_json`; raised when a name in it changes its meaning or goes."
DELETED_AFTER_DAYS = 30
"The client's own `cleanupPeriodDays`, unless it is set."
TOP = 3


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one source covers."""

    source: str
    count: str
    "`41 sessions and 120 subagents, 1.2 GB`; or why there is nothing."
    first_ms: int | None = None
    last_ms: int | None = None
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do, and how many turns it would have saved: a range over what the logs cannot tell."""

    remedy: str
    hypothesis: str
    least: int
    most: int


@dataclass(frozen=True)
class Diagnosis:
    """Everything that a report says."""

    failures: int
    requests: int
    died: int
    examination: Examination
    advice: tuple[Advice, ...]
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    coverage: tuple[Coverage, ...]
    refused: tuple[str, ...]
    "What was not concluded, and why the sources cannot carry it."
    since_ms: int | None = None
    until_ms: int | None = None
    offsets: Offsets = field(default=())

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.examination.findings


COUNTED: Mapping[str, Callable[[Sources, Offsets], Any]] = {
    "by code": lambda s, _: tables.inventory(s),
    "dead turns": lambda s, _: tables.dead_turns(s),
    "by version": lambda s, _: tables.rates(s, "version"),
    "by model": lambda s, _: tables.rates(s, "model"),
    "by project": lambda s, _: tables.rates(s, "project"),
    "by agent kind": lambda s, _: tables.rates(s, "agent kind"),
    "by context": lambda s, _: tables.by_context(s),
    "retries": lambda s, _: tables.ladder(s),
    "ages": lambda s, _: tables.ages(s),
    "bursts": lambda s, _: tables.bursts(s),
    "per day": tables.per_day,
    "per hour": tables.per_hour,
    "per weekday": tables.per_weekday,
    "turn times": lambda s, _: tables.durations(s),
    "lost": lambda s, _: tables.lost(s),
}
"Table name -> its expression."


def diagnose(
    engine: Engine,
    *,
    desktop: Sequence[DesktopLog] = (),
    coverage: Sequence[Coverage] = (),
    offsets: Offsets = (),
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> Diagnosis:
    """Count and weigh all that the sources hold of this time. `offsets` tell the local clock."""
    sources = engine.sources.between(since_ms, until_ms)
    counted = {name: engine.rows(table(sources, offsets)) for name, table in COUNTED.items()}
    case = gather.case(
        engine.rows(sources.error),
        engine.rows(sources.chain),
        engine.rows(sources.dead),
        engine.rows(sources.request.select("at_ms", "session", "version", "context_tokens")),
        desktop,
    )
    examination = examine(case, catalogue())
    by_id = {failure.id: failure for failure in case.failures}
    advice = []
    for finding in examination.findings:
        ends = [by_id[key].outcome for key in finding.explains]
        least = ends.count("died") if finding.grade == "strong" else 0
        most = len(ends) - ends.count("recovered")
        if most:
            advice.append(Advice(finding.remedy, finding.hypothesis, least, most))
    advice.sort(key=lambda one: (-one.least, -one.most))
    return Diagnosis(
        failures=len(case.failures),
        requests=case.requests,
        died=sum(failure.outcome == "died" for failure in case.failures),
        examination=examination,
        advice=tuple(advice[:TOP]),
        tables=counted,
        coverage=tuple(coverage),
        refused=tuple(_refusals(counted, desktop)),
        since_ms=since_ms,
        until_ms=until_ms,
        offsets=offsets,
    )


def _refusals(counted: Mapping[str, Sequence[Mapping[str, Any]]], desktop: Sequence[DesktopLog]) -> list[str]:
    said = []
    codes = {row["code"]: row["errors"] for row in counted["by code"]}
    if codes.get("ECONNRESET"):
        said.append(
            "Who sent a reset is not in the client's logs, nor whether an answer had begun: a flight (holdfast run) or "
            "a capture tells."
        )
    if len(counted["per day"]) > DELETED_AFTER_DAYS:
        said.append(
            f"No trend is drawn: the client deletes sessions after {DELETED_AFTER_DAYS} days without use, so of older "
            "days only sessions that were still in use later are left."
        )
    unrated = [row["version"] for row in counted["by version"] if row["failures"] and row["per_1000"] is None]
    if unrated:
        said.append(
            f"No rate for version {', '.join(unrated[:5])}: no answered request of it is on record to compare with."
        )
    if len([row for row in counted["by version"] if row["failures"] or row["requests"]]) > 1:
        said.append(
            "Versions are not compared with each other as causes: each logs failures differently, and each was used at "
            "another time."
        )
    if not any(log.lines for log in desktop):
        said.append(
            "Whether this machine had network then is not known: no log of the desktop app covers it."
        )
    return said


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The whole as plain values."""
    return {
        "schema": SCHEMA,
        "since_ms": diagnosis.since_ms,
        "until_ms": diagnosis.until_ms,
        "failures": diagnosis.failures,
        "requests": diagnosis.requests,
        "died": diagnosis.died,
        "findings": [_finding(finding, diagnosis.failures) for finding in diagnosis.findings],
        "advice": [
            {"do": one.remedy, "hypothesis": one.hypothesis, "turns_least": one.least, "turns_most": one.most}
            for one in diagnosis.advice
        ],
        "unexplained": list(diagnosis.examination.unexplained),
        "considered": dict(diagnosis.examination.considered),
        "coverage": [
            {
                "source": one.source,
                "count": one.count,
                "first_ms": one.first_ms,
                "last_ms": one.last_ms,
                "unreadable": list(one.unreadable),
            }
            for one in diagnosis.coverage
        ],
        "refused": list(diagnosis.refused),
        "tables": {name: list(rows) for name, rows in diagnosis.tables.items()},
    }


def _finding(finding: Finding, of: int) -> dict[str, Any]:
    return {
        "hypothesis": finding.hypothesis,
        "title": finding.title,
        "grade": finding.grade,
        "bits": round(finding.bits, 1),
        "explains": list(finding.explains),
        "of": of,
        "share": round(finding.share, 3),
        "for": [{"text": one.text, "source": one.source} for one in finding.brief.pro],
        "against": [{"text": one.text, "source": one.source} for one in finding.brief.con],
        "settle": finding.brief.settle,
        "falsifier": finding.falsifier,
        "remedy": finding.remedy,
        "rival": finding.rival,
        "tell_apart": finding.tell_apart,
    }
