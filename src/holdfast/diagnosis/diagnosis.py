"""A whole diagnosis: the case examined, every table counted, and what the sources cannot carry said aloud."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.diagnosis import gather, own_limits, tables
from holdfast.diagnosis.beside import Beside, joined
from holdfast.diagnosis.case import Case, Coverage
from holdfast.diagnosis.clock import ahead_ms
from holdfast.diagnosis.engine import Engine
from holdfast.diagnosis.examine import Examination, Finding
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.intervals import Interval, ratio
from holdfast.diagnosis.tables import Offsets, Sources
from holdfast.diagnosis.titles import the_table
from holdfast.diagnosis.witnessed import examined
from holdfast.flight.redact import clean
from holdfast.sessions.desktop import DesktopLog
from holdfast.sessions.logs_what import NOT_LOGGED, number

SCHEMA = 3
"Of `as_json`; raised when a name in it changes its meaning or goes."
DELETED_AFTER_DAYS = 30
"The client's own `cleanupPeriodDays`, unless it is set."
TOP = 3
MOST_HIDDEN = 0.1
"""Of a version's answered requests: if more are of a mode that logs no failed try, it has no rate. So much is its rate too
low at most, less than its days leave open anyway."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do, and how many turns it would have saved: a range over what the logs cannot tell."""

    remedy: str
    hypothesis: str
    least: int
    most: int
    also: tuple[str, ...] = ()
    "Other findings that the same action helps; their turns are among these."
    hanging: int = 0
    "Of the most, those of findings that say `either`: which cause it was is open there."


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
    zone: str = ""
    "The local clock's name, `America/Chicago`; empty where it has none."
    case: Case = field(default_factory=lambda: Case(()))
    "What was examined, for whoever draws it."
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    "Hypothesis -> where its share of the failures may well lie; those that days cannot carry are left out."

    @property
    def apart(self) -> int:
        """Failures that telemetry alone tells: what they are a share of is not known."""
        return self.failures - len(self.case.compared.failures) if self.case.compared is not self.case else 0

    @property
    def rate(self) -> float | None:
        """The share of the requests that failed, those `apart` left out; None where nothing that was answered is on record
        to compare with, or where all failures are apart."""
        if (self.requests <= self.failures and not self.case.answers) or self.apart == self.failures > 0:
            return None
        return (self.failures - self.apart) / (self.requests - self.apart)

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
    "by context tier": lambda s, _: tables.rates(s, "context tier"),
    "by session size": lambda s, _: tables.by_session_size(s),
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

RATED: Mapping[str, str] = {
    "by version": "version",
    "by model": "model",
    "by project": "project",
    "by agent kind": "agent kind",
    "by context": "from_tokens",
    "by context tier": "context tier",
    "by session size": "from_answers",
    "per hour": "hour",
}
"Table with rates -> the column that its rows are told apart by. Their rates get intervals."


def diagnose(
    engine: Engine,
    *,
    desktop: Sequence[DesktopLog] = (),
    coverage: Sequence[Coverage] = (),
    offsets: Offsets = (),
    zone: str = "",
    since_ms: int | None = None,
    until_ms: int | None = None,
    beside: Callable[[Case], Beside] | None = None,
    marks: Sequence[tuple[int, str]] = (),
    believed: tuple[int, int] | None = None,
) -> Diagnosis:
    """Count and weigh all that the sources hold of this time. `offsets` tell the local clock, and `zone` is its name.

    `beside` is asked once, with the case that the client's logs make, for what others saw of it. `marks` are the notes
    on the timeline (ms, UTC, and text, in order): rates are told before, between and after them. Records of times that
    are not `believed` (from, before; ms, UTC) are left out, and counted aloud: one of them stretches every axis.
    """
    sources = engine.sources.between(*believed) if believed else engine.sources
    unbelieved = _count(engine, engine.sources) - _count(engine, sources) if believed else 0
    sources = sources.between(since_ms, until_ms)
    counted: dict[str, Sequence[Mapping[str, Any]]] = {
        name: engine.rows(table(sources, offsets)) for name, table in COUNTED.items()
    }
    if (tool_error := sources.tool_error) is not None:
        counted["tool errors"] = engine.rows(tables.tool_errors(tool_error))
        counted["tool error kinds"] = engine.rows(tables.tool_error_kinds(tool_error))
    if marks:
        counted["between marks"] = _comparable(
            engine.rows(tables.between_marks(sources, marks)),
            engine.rows(tables.between_marks(sources.compared(), marks)),
        )
    case = gather.case(
        engine.rows(sources.error),
        engine.rows(sources.chain),
        engine.rows(sources.dead),
        engine.rows(sources.request.select("at_ms", "session", "version", "context_tokens", "agent")),
        desktop,
    )
    more = beside(case) if beside else Beside()
    together = joined(case, more)
    case = together.case
    examination = examined(case, catalogue())
    if case.outages:
        counted["overlap"] = _overlap(case, offsets)
    counted |= together.tables
    if limits := own_limits.met(case):
        counted[own_limits.TABLE] = limits
    compared = sources if case.compared is case else sources.compared()
    for name, by in RATED.items():
        counted[name] = _rated(counted[name], by, engine.rows(tables.daily(compared, by, offsets)))
    counted["by version"] = _by_version(counted["by version"], case)
    counted["retries"] = _survival(counted["retries"], case, offsets)
    return Diagnosis(
        failures=len(case.failures),
        requests=case.requests,
        died=sum(failure.outcome == "died" for failure in case.failures),
        examination=examination,
        advice=tuple(_advice(examination, case)[:TOP]),
        tables=counted,
        coverage=(
            *coverage,
            *more.covered,
        ),
        refused=(
            *_wrong_clock(unbelieved),
            *_refusals(counted, desktop, case),
            *_of_tools(counted),
            *together.refused,
        ),
        since_ms=since_ms,
        until_ms=until_ms,
        offsets=offsets,
        zone=zone,
        case=case,
        intervals=dict(_shares(examination, case, offsets)),
    )


def _count(engine: Engine, sources: Sources) -> int:
    return sum(
        int(engine.rows(table.aggregate(number=table.count()))[0]["number"])
        for table in (sources.error, sources.request, sources.dead)
    )


def _wrong_clock(records: int) -> list[str]:
    if not records:
        return []
    them = "1 record has a time" if records == 1 else f"{records:,} records have times"
    return [f"{them} at which no such client ran: a clock was wrong then. What they tell is left out."]


AT_ONCE_MS = 5_000
"Two clocks that are written by two programs, each after the fact."


def _overlap(case: Case, offsets: Offsets) -> list[Mapping[str, Any]]:
    """Local hours in which this machine or its line was without network: what failed in the hour, and what at the time.

    Columns: day, hour, outages, errors, failures (of the hour), at_the_time (failures with a try
    within five seconds of an outage). The same hour alone is no coincidence: an hour is long.
    """

    def hours(begun_ms: int, ended_ms: int) -> Iterator[tuple[int, int]]:
        at = begun_ms
        while True:
            day = local_day(at, offsets)
            hour = (at + ahead_ms(at, offsets)) % tables.DAY_MS // tables.HOUR_MS
            yield day, hour
            at += tables.HOUR_MS - (at + ahead_ms(at, offsets)) % tables.HOUR_MS
            if at > ended_ms:
                return

    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for one in case.outages:
        for day, hour in hours(one.begun_ms, one.ended_ms):
            row = rows.setdefault(
                (day, hour),
                {"day": day, "hour": hour, "outages": 0, "errors": 0, "failures": 0, "at_the_time": 0},
            )
            row["outages"] += 1
    for failure in case.failures:
        met = {place for at in failure.times_ms for place in hours(at, at)}
        for at in failure.times_ms:
            if failure.tries and (hour_of := next(hours(at, at))) in rows:
                rows[hour_of]["errors"] += 1
        now = any(one.holds(at, slack_ms=AT_ONCE_MS) for one in case.outages for at in failure.times_ms)
        for place in met & rows.keys():
            rows[place]["failures"] += 1
            rows[place]["at_the_time"] += now
    return [rows[place] for place in sorted(rows)]


def _advice(examination: Examination, case: Case) -> list[Advice]:
    """What would have saved most turns, first; findings that one action helps are one advice."""
    by_id = {failure.id: failure for failure in case.failures}
    found: dict[str, list[Advice]] = defaultdict(list)
    for finding in examination.findings:
        ends = [by_id[key].outcome for key in finding.explains]
        least = ends.count("died") if finding.certain_remedy else 0
        most = len(ends) - ends.count("recovered")
        if most:
            action = finding.remedy.partition(":")[0]
            hanging = most if finding.rivals else 0
            found[action].append(Advice(finding.remedy, finding.hypothesis, least, most, hanging=hanging))

    def order(one: Advice) -> tuple[int, int]:
        return -one.least, -one.most

    made = []
    for same in found.values():
        first, *rest = sorted(same, key=order)
        least, most = sum(one.least for one in same), sum(one.most for one in same)
        made.append(
            Advice(
                first.remedy,
                first.hypothesis,
                least,
                most,
                tuple(one.hypothesis for one in rest),
                sum(one.hanging for one in same),
            )
        )
    return sorted(made, key=order)


def local_day(at_ms: int, offsets: Offsets) -> int:
    """The local day, in days since 1970."""
    return (at_ms + ahead_ms(at_ms, offsets)) // tables.DAY_MS


def _rated(
    rows: Sequence[Mapping[str, Any]], by: str, daily: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The rows with `per_1000` and its interval, both None where there is none.

    `daily` has the failures that may be compared. A row with others has no rate: how many of those are on record hangs on
    what kept telemetry from being sent.
    """
    days: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    whole: Counter[Any] = Counter()
    for one in daily:
        days[one["key"]].append((one["failures"], one["failures"] + one["answered"]))
        whole[one["key"]] += one["failures"]
    told: list[Mapping[str, Any]] = []
    for row in rows:
        rated = row["answered"] and row["failures"] == whole[row[by]]
        rate = row["failures"] * 1000.0 / (row["failures"] + row["answered"]) if rated else None
        found = ratio(days[row[by]]) if rate is not None else None
        told.append(
            {
                **row,
                "per_1000": rate,
                "per_1000_low": found.low * 1000 if found else None,
                "per_1000_high": found.high * 1000 if found else None,
            }
        )
    return told


def _by_version(rows: Sequence[Mapping[str, Any]], case: Case) -> list[Mapping[str, Any]]:
    """The rows with which failed tries of each version are on record, where that is known; without a rate where too much of
    what it is made of is not."""
    if not case.logged:
        return list(rows)
    told: list[Mapping[str, Any]] = []
    for row in rows:
        kinds = case.logged.get(row["version"], Counter())
        said = {"failed_tries": ", ".join(kind for kind, _ in kinds.most_common()) or None}
        hidden = kinds[NOT_LOGGED] > MOST_HIDDEN * kinds.total()
        told.append({**row, **said, **(_NO_RATE if hidden else {})})
    return told


_NO_RATE: Mapping[str, None] = {"per_1000": None, "per_1000_low": None, "per_1000_high": None}


def _comparable(
    rows: Sequence[Mapping[str, Any]], compared: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The rows, without a rate where they have failures that may not be compared."""
    return [
        row if row["failures"] == other["failures"] else {**row, "per_1000": None}
        for row, other in zip(rows, compared, strict=True)
    ]


def _survival(rows: Sequence[Mapping[str, Any]], case: Case, offsets: Offsets) -> list[Mapping[str, Any]]:
    """The ladder's rows with the interval of `still_failing`."""
    told: list[Mapping[str, Any]] = []
    for row in rows:
        days: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        for failure in case.failures:
            if failure.tries and failure.outcome != "unknown":
                day = days[local_day(failure.at_ms, offsets)]
                day[0] += failure.outcome != "recovered" or len(failure.tries) > row["step"]
                day[1] += 1
        found = ratio([(still, known) for still, known in days.values()])
        told.append(
            {
                **row,
                "still_failing_low": found.low if found else None,
                "still_failing_high": found.high if found else None,
            }
        )
    return told


def _shares(examination: Examination, case: Case, offsets: Offsets) -> Iterator[tuple[str, Interval]]:
    for finding in examination.findings:
        mine = set(finding.explains)
        days: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        for failure in case.failures:
            day = days[local_day(failure.at_ms, offsets)]
            day[0] += failure.id in mine
            day[1] += 1
        found = ratio([(part, whole) for part, whole in days.values()])
        if found is not None:
            yield finding.hypothesis, found


def _refusals(
    counted: Mapping[str, Sequence[Mapping[str, Any]]], desktop: Sequence[DesktopLog], case: Case
) -> list[str]:
    said = []
    reset = [failure for failure in case.failures if "ECONNRESET" in failure.codes]
    if unseen := [
        failure for failure in reset if not any(one.tells_who for one in case.seen.get(failure.id, ()))
    ]:
        said.append(
            "Who sent a reset is not in the client's logs, nor whether an answer had begun: a flight (holdfast run) or "
            "a capture tells."
            + (
                f" It is so of {len(unseen)} of {len(reset)} reset requests."
                if len(unseen) < len(reset)
                else ""
            )
        )
    if case.failures and len(counted["per day"]) > DELETED_AFTER_DAYS:
        said.append(
            f"No trend is drawn: the client deletes sessions after {DELETED_AFTER_DAYS} days without use, so of older "
            "days only sessions that were still in use later are left."
        )
    said += _logged_otherwise(case)
    unrated = [row["version"] for row in counted["by version"] if row["failures"] and not row["answered"]]
    if unrated:
        said.append(
            f"No rate for version {', '.join(unrated[:5])}: no request of it that was answered at once is on record to "
            "compare with."
        )
    if apart := len(case.failures) - len(case.compared.failures):
        them = "1 failure is" if apart == 1 else f"{apart:,} failures are"
        said.append(
            f"{them} compared with no answers, and rows with one have no rate: telemetry alone tells of them, and only "
            "where something kept it from being sent."
        )
    if (
        case.failures
        and len([row for row in counted["by version"] if row["failures"] or row["answered"]]) > 1
    ):
        said.append(
            "Versions are not compared between days: each was used at another time. Only on days with several is one "
            f"compared with the others; {the_table('by version')} is of all days, and no such comparison."
        )
    if not case.watched and not case.link_watched:
        said.append(
            "Whether this machine had network then is not known: no log of the desktop app or the system covers it."
        )
    return said


def _logged_otherwise(case: Case) -> Iterator[str]:
    """What rates leave out because clients do not log it, and which of them are of different things."""
    versions = sorted(case.logged, key=lambda version: number(version) or ())

    def those(kind: str) -> str:
        return clean(", ".join(version for version in versions if case.logged[version][kind]))

    kinds = sum(case.logged.values(), Counter[str]())
    if hidden := kinds[NOT_LOGGED]:
        yield (
            f"What failed and was answered by a later try is not on record of {hidden:,} of {kinds.total():,} answered "
            f"requests (print mode of {those(NOT_LOGGED)}): every rate is too low by it, most where most of them are. A "
            "version with many has no rate."
        )
    if len(kinds) > 1:
        told = "; ".join(f"{kind}: {those(kind)}" for kind in kinds)
        yield (
            f"Versions that log different failed tries are not compared by their rate. On record are: {told}. Only what "
            "each version used on a day would have logged is compared between them."
        )


def _of_tools(counted: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """What the errors of tools are no evidence of, and which of them are."""
    met = [row for row in counted["by code"] if row.get("at_tools")]
    if met:
        told = ", ".join(f"{row['at_tools']} {row['code']}" for row in met)
        yield (
            f"Tools reported errors that the API has too ({told}): no request of the client's failed by them, so "
            "they are counted apart and put to no cause."
        )
    traces = sum(row["of_answers"] for row in counted.get("tool errors", ()))
    if traces:
        them = "1 error of a tool is" if traces == 1 else f"{traces} errors of tools are"
        yield (
            f"{them} the client's own words for an answer that broke behind a call, or ended at its maximum of tokens "
            "inside one: that tells of the answer, and not of the tool."
        )


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The whole as plain values."""
    return {
        "schema": SCHEMA,
        "since_ms": diagnosis.since_ms,
        "until_ms": diagnosis.until_ms,
        "zone": diagnosis.zone,
        "failures": diagnosis.failures,
        "failures_apart": diagnosis.apart,
        "requests": diagnosis.requests,
        "died": diagnosis.died,
        "findings": [_finding(finding, diagnosis) for finding in diagnosis.findings],
        "advice": [
            {
                "do": one.remedy,
                "hypothesis": one.hypothesis,
                "also": list(one.also),
                "turns_least": one.least,
                "turns_most": one.most,
                "turns_hanging": one.hanging,
            }
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


def _finding(finding: Finding, diagnosis: Diagnosis) -> dict[str, Any]:
    within = diagnosis.intervals.get(finding.hypothesis)
    return {
        "hypothesis": finding.hypothesis,
        "title": finding.title,
        "grade": finding.grade,
        "bits": round(finding.bits, 1),
        "explains": list(finding.explains),
        "of": diagnosis.failures,
        "share": round(len(finding.explains) / diagnosis.failures, 3),
        "share_low": round(within.low, 3) if within else None,
        "share_high": round(within.high, 3) if within else None,
        "for": [{"text": one.text, "source": one.source} for one in finding.brief.pro],
        "against": [{"text": one.text, "source": one.source} for one in finding.brief.con],
        "settle": finding.brief.settle,
        "falsifier": finding.falsifier,
        "remedy": finding.remedy,
        "rival": finding.rival,
        "rivals": list(finding.rivals),
        "tell_apart": finding.tell_apart,
    }
