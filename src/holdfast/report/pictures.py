"""What a diagnosis is drawn as: each picture answers one question, says its answer, and has its numbers beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from holdfast.diagnosis.diagnosis import Diagnosis
from holdfast.diagnosis.examine import Finding
from holdfast.diagnosis.tables import DAY_MS
from holdfast.report import plots_counts, plots_time
from holdfast.report.pictures_away import outages
from holdfast.report.pictures_rates import by_agent, by_context, by_project, by_version, per_hour, per_weekday
from holdfast.report.pictures_tries import age_of, ages, idle, ladder, sizes
from holdfast.report.pictures_when import calendar, day_name, iso, local, stamp, timeline
from holdfast.report.plots import Figure, colour
from holdfast.report.plots_counts import Row
from holdfast.report.plots_time import Stretch

LEAST_FAILURES = 10
"Of fewer no rates are drawn: a picture of three accidents is read as a habit."
_OF_TIME = frozenset(
    {
        "local-link",
        "isp-outage",
        "link-flap",
        "wifi-roaming",
        "vpn",
        "machine-sleep",
        "machine-overload",
        "name-resolution",
        "shared-outage",
    }
)
"Causes whose evidence is when: shown with the times without network."
_OF_AGE = frozenset(
    {"client-limit", "edge-timeout", "fixed-limit", "nat-timeout", "silence-limit", "buffering-proxy"}
)
"Causes whose evidence is how long it lasted."
_OF_RATE: Mapping[str, Callable[[Diagnosis], Figure | None]] = {
    "large-request": by_context,
    "client-version": by_version,
    "subagents": by_agent,
}
"Causes whose evidence is a rate that differs."


def evidence(finding: Finding, diagnosis: Diagnosis) -> Figure | None:
    """The picture that shows a finding's evidence best; None where there is nothing to draw."""
    mine = set(finding.explains)
    kind = cause_colour(finding, diagnosis)
    if finding.hypothesis in _OF_AGE and (drawn := age_of(finding, diagnosis, mine, kind)):
        return drawn
    if finding.hypothesis == "idle-socket" and (drawn := idle(diagnosis, mine, kind)):
        return drawn
    if finding.hypothesis in _OF_RATE and (drawn := _OF_RATE[finding.hypothesis](diagnosis)):
        return drawn
    return calendar(diagnosis, mine, outages=finding.hypothesis in _OF_TIME, kind=kind)


def cause_colour(finding: Finding, diagnosis: Diagnosis) -> str:
    """The kind by which this cause is drawn, the same in every picture."""
    return colour(diagnosis.findings.index(finding))


def shares(diagnosis: Diagnosis) -> Figure | None:
    """How much each cause explains, with how far that may be off, and what nothing explains."""
    if not diagnosis.failures:
        return None
    rows, table = [], []
    for finding in diagnosis.findings:
        part = len(finding.explains) / diagnosis.failures * 100
        within = diagnosis.intervals.get(finding.hypothesis)
        low, high = (within.low * 100, within.high * 100) if within else (None, None)
        short = f"{len(finding.explains)} of {diagnosis.failures}"
        words = f"{finding.grade}, {short}"
        rows.append(Row(finding.title, part, low, high, words, short, cause_colour(finding, diagnosis)))
        reach = f"{low:.0f} to {high:.0f} %" if low is not None and high is not None else "too few days"
        table.append((finding.title, finding.grade, str(len(finding.explains)), f"{part:.0f} %", reach))
    left = len(diagnosis.examination.unexplained)
    rows.append(
        Row(
            "Unexplained",
            left / diagnosis.failures * 100,
            None,
            None,
            f"{left} of {diagnosis.failures}",
            kind="rest",
        )
    )
    table.append(("Unexplained", "", str(left), f"{left / diagnosis.failures * 100:.0f} %", ""))
    says = "How much of the failures each cause explains."
    if any(row.low is not None for row in rows):
        says += " Lines are where its share lies in 95 of 100 cases when whole days are drawn anew."
    return Figure(
        "What explains the failures",
        says,
        lambda width: plots_counts.listed(width, rows, "% of failures", 100.0),
        ("cause", "grade", "failures", "share", "may well be"),
        tuple(table),
    )


def whole(diagnosis: Diagnosis) -> Iterator[Figure]:
    """The pictures that belong to no single cause, in the order of the page; those without anything to show are left out."""
    drawn = [timeline(diagnosis), ages(diagnosis)]
    if enough(diagnosis):
        drawn += [
            outages(diagnosis),
            ladder(diagnosis),
            per_hour(diagnosis),
            per_weekday(diagnosis),
            by_context(diagnosis),
            sizes(diagnosis),
            by_version(diagnosis),
            by_project(diagnosis),
        ]
    yield from (one for one in drawn if one is not None)


def enough(diagnosis: Diagnosis) -> bool:
    """Whether there are so many failures that where and when they came is more than an accident."""
    return diagnosis.failures >= LEAST_FAILURES


def coverage(diagnosis: Diagnosis) -> Figure | None:
    """From when to when each source reaches."""
    offsets = diagnosis.offsets
    rows: list[tuple[str, str, list[Stretch]]] = []
    table = []
    for one in diagnosis.coverage:
        name = f"{one.source}: {one.count}"
        if one.first_ms is None or one.last_ms is None:
            rows.append((name, "unwatched", []))
            table.append((one.source, one.count, "-", "-"))
            continue
        begun, ended = local(one.first_ms, offsets), local(one.last_ms, offsets)
        # A log with few lines a day watches the time around them, and not all between its first and its last.
        watched = diagnosis.case.watched if one.source == "desktop log" else ()
        spans = [(local(span.begun_ms, offsets), local(span.ended_ms, offsets)) for span in watched]
        rows.append(
            (name, "unwatched", [Stretch(*span, "covered", name) for span in spans or [(begun, ended)]])
        )
        table.append((one.source, one.count, iso(begun), iso(ended)))
    every = [stretch for _, _, stretches in rows for stretch in stretches]
    if not every:
        return None
    begun, ended = min(one.begun for one in every), max(one.ended for one in every)
    hours = sorted({local(one.at_ms, offsets) // 3_600_000 * 3_600_000 for one in diagnosis.case.failures})
    if hours:
        failed = [Stretch(hour, hour + 3_600_000, "bad", f"a failure, {stamp(hour)}") for hour in hours]
        rows.insert(
            0, ("hours with failures", "unwatched", [one for one in failed if begun <= one.begun <= ended])
        )
    says = f"What each source covers, from {day_name(begun // DAY_MS)} to {day_name(ended // DAY_MS)}."
    return Figure(
        "What each source covers",
        says,
        lambda width: plots_time.lanes(width, begun, ended, rows),
        ("source", "holds", "from", "to"),
        tuple(table),
        (("bad", "failures"), ("covered", "covered"), ("unwatched", "not covered")),
    )
