"""What a diagnosis is drawn as: each picture answers one question, says its answer, and has its numbers beside it."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from holdfast.diagnosis import atlas, intervals
from holdfast.diagnosis.case import Failure
from holdfast.diagnosis.diagnosis import DELETED_AFTER_DAYS, Diagnosis, local_day
from holdfast.diagnosis.examine import Finding
from holdfast.diagnosis.tables import DAY_MS, Offsets
from holdfast.diagnosis.timers import LEAST_S, REPEATS, SHARE
from holdfast.flight.flights import counted, percent
from holdfast.report import plots
from holdfast.report.plots import Column, Figure, Limit, Pair, Pile, Point, Rate, Row, Sign, Stretch, colour

MOST_DOTS = 1_000
"Of one kind in one chart: more would only make the page heavy."
LEAST_FAILURES = 10
"Of fewer no rates are drawn: a picture of three accidents is read as a habit."
MOST_COLUMNS = 62
"Of a timeline; a longer time is counted by weeks, or by so many days that they are no more."
MOST_CODES = 5
"Told apart by colour; the others are one part."
SAMPLES = 20_000
"Times that stand for all the time in use."
_LOGARITHMIC = "On its axis 1 s to 10 s is as wide as 10 s to 100 s."
CALENDAR = "On which days, at which hours"
PILED_UP = 0.05
"Of all ages: so many near a known limit are worth its name in the picture."
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_OF_TIME = frozenset(
    {"local-link", "isp-outage", "link-flap", "machine-sleep", "name-resolution", "shared-outage"}
)
"Causes whose evidence is when: shown with the times without network."
_OF_AGE = frozenset({"client-limit", "edge-timeout", "fixed-limit", "nat-timeout", "silence-limit"})
"Causes whose evidence is how long it lasted."


def day_name(day: int) -> str:
    """`Apr 14`."""
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).strftime("%b %-d")


def date(day: int) -> str:
    """`Apr 14, 2026`."""
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).strftime("%b %-d, %Y")


def _ahead(at_ms: int, offsets: Offsets) -> int:
    """Milliseconds by which the local clock is ahead of UTC."""
    ahead = 0
    for number, (begin, told) in enumerate(offsets):
        if not number or at_ms >= begin:
            ahead = told
    return ahead


def _local(at_ms: int, offsets: Offsets) -> int:
    """The local clock, in milliseconds as if it were UTC."""
    return at_ms + _ahead(at_ms, offsets)


def _stamp(local_ms: int) -> str:
    return datetime.fromtimestamp(local_ms / 1000, UTC).strftime("%b %-d, %H:%M")


def _date(local_ms: int) -> str:
    return datetime.fromtimestamp(local_ms / 1000, UTC).strftime("%Y-%m-%d")


def _causes(diagnosis: Diagnosis) -> dict[str, int]:
    """Failure id -> the place of the cause that explains it, in the order of the findings."""
    found: dict[str, int] = {}
    for place, finding in enumerate(diagnosis.findings):
        for failure in finding.explains:
            found.setdefault(failure, place)
    return found


def cause_colour(finding: Finding, diagnosis: Diagnosis) -> str:
    """The kind by which this cause is drawn, the same in every picture."""
    return colour(diagnosis.findings.index(finding))


# ----- the evidence of one cause


def evidence(finding: Finding, diagnosis: Diagnosis) -> Figure | None:
    """The picture that shows a finding's evidence best; None where there is nothing to draw."""
    mine = set(finding.explains)
    kind = cause_colour(finding, diagnosis)
    if finding.hypothesis in _OF_AGE and (drawn := _age_of(finding, diagnosis, mine, kind)):
        return drawn
    if finding.hypothesis == "idle-socket" and (drawn := idle(diagnosis, mine, kind)):
        return drawn
    if finding.hypothesis in _OF_RATE and (drawn := _OF_RATE[finding.hypothesis](diagnosis)):
        return drawn
    return calendar(diagnosis, mine, outages=finding.hypothesis in _OF_TIME, kind=kind)


def _in_question(failure: Failure) -> float | None:
    """The age of the first try that no HTTP answer ended, else of the first; None where the records tell none."""
    aged = [one for one in failure.tries if one.age_s is not None]
    first = next((one for one in aged if one.status is None), aged[0] if aged else None)
    return first.age_s if first else None


def _by_bin(
    parts: Sequence[tuple[str, str, Sequence[float]]],
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The table of a chart of durations: a row for each bin that holds something."""
    everything = [value for _, _, values in parts for value in values]
    rows = []
    for begin, end in plots.bins(everything, 6):
        counts = [sum(begin <= max(value, 0.1) < end for value in values) for _, _, values in parts]
        if any(counts):
            rows.append((f"{plots.span(begin)} to {plots.span(end)}", *(str(count) for count in counts)))
    return ("how long", *(name for _, name, _ in parts)), tuple(rows)


def _beside(others: Sequence[float]) -> str:
    return f" {counted(len(others), 'other failure')} beside them." if others else ""


def _age_of(finding: Finding, diagnosis: Diagnosis, mine: set[str], kind: str) -> Figure | None:
    """How old failed requests were, and where the limit lies."""
    aged = [
        (one.id in mine, age) for one in diagnosis.case.failures if (age := _in_question(one)) is not None
    ]
    own = sorted(age for of_mine, age in aged if of_mine)
    if not own:
        return None
    others = [age for of_mine, age in aged if not of_mine]
    middle = own[len(own) // 2]
    told = f"{middle:.0f} s" if middle >= 10 else f"{middle:.1f} s"
    parts = [(kind, "this cause", own), ("rest", "other failures", others)]
    near = sum(abs(age - middle) <= max(SHARE * middle, LEAST_S) for age in own)
    says = (
        f"Of the {counted(len(own), 'failure')} of this cause, {near} came within {max(SHARE * middle, LEAST_S):.0f} s of "
        f"their median, {told}.{_beside(others)} {_LOGARITHMIC}"
    )
    limits = [Limit(middle, told, f"the median of this cause: {told}")]
    head, rows = _by_bin(parts)
    return Figure(
        "How old the failed requests were",
        says,
        lambda width: plots.durations(width, parts, "failures", limits),
        head,
        rows,
        ((kind, "this cause"), *([("rest", "other failures")] if others else [])),
    )


def idle(diagnosis: Diagnosis, mine: set[str], kind: str) -> Figure | None:
    """How long a conversation had been silent before the request that failed."""
    known = [(one.id in mine, one.idle_s) for one in diagnosis.case.failures if one.idle_s is not None]
    own = sorted(silent for of_mine, silent in known if of_mine)
    if not own:
        return None
    others = [silent for of_mine, silent in known if not of_mine]
    parts = [(kind, "this cause", own), ("rest", "other failures", others)]
    says = (
        f"Half of the {counted(len(own), 'failure')} of this cause came after {plots.span(own[len(own) // 2])} of silence "
        f"and more.{_beside(others)} {_LOGARITHMIC}"
    )
    head, rows = _by_bin(parts)
    return Figure(
        "How long the conversation had been silent before",
        says,
        lambda width: plots.durations(width, parts, "failures"),
        head,
        rows,
        ((kind, "this cause"), *([("rest", "other failures")] if others else [])),
    )


def calendar(diagnosis: Diagnosis, mine: set[str], *, outages: bool, kind: str = "c1") -> Figure | None:
    """Failures over days and hours, with the times without network and the times of which that is not known."""
    case, offsets = diagnosis.case, diagnosis.offsets
    if not case.failures:
        return None
    seen = [local_day(one.at_ms, offsets) for one in case.failures]
    seen += [local_day(one.at_ms, offsets) for one in case.answers]
    first, last = min(seen), max(seen)
    own, own_step = _thinned([one for one in case.failures if one.id in mine])
    others, other_step = _thinned([one for one in case.failures if one.id not in mine])
    shades: list[Stretch] = []
    if outages:
        shades = [*_unwatched(diagnosis, first, last), *_outages(diagnosis)]
    total = sum(one.id in mine for one in case.failures)
    days = {local_day(one.at_ms, offsets) for one in case.failures if one.id in mine}
    says = (
        f"{counted(total, 'failure')} of this cause on {counted(len(days), 'day')}, and {len(case.failures) - total} "
        "others, each at its local day and hour"
    )
    says += f"; {counted(len(case.outages), 'time')} without network." if outages else "."
    if own_step > 1 or other_step > 1:
        says += f" One in {own_step} of this cause is drawn, and one in {other_step} of the others."
    key = [(kind, "this cause")] + ([("rest", "other failures")] if others else [])
    if outages:
        key += [("outage", "no network")] if case.outages else []
        key += [("unwatched", "not watched")] if any(one.kind == "unwatched" for one in shades) else []
    rows = Counter(local_day(one.at_ms, offsets) for one in case.failures)
    others_on = Counter(local_day(one.at_ms, offsets) for one in case.failures if one.id not in mine)
    away = Counter(local_day(one.begun_ms, offsets) for one in case.outages)
    head: tuple[str, ...] = ("day", "this cause", "others")
    table = [
        (_date(day * DAY_MS), str(count - others_on[day]), str(others_on[day]))
        for day, count in sorted(rows.items())
    ]
    if outages:
        head = (*head, "times without network")
        table = [(*row, str(away[day])) for row, day in zip(table, sorted(rows), strict=True)]  # type: ignore[misc]

    def drawn(width: int) -> plots.Spec:
        return plots.calendar(width, first, last, list(_points(own, others, mine, kind, offsets)), shades)

    return Figure(CALENDAR, says, drawn, head, tuple(table), tuple(key))


def _points(
    own: Sequence[Failure], others: Sequence[Failure], mine: set[str], kind: str, offsets: Offsets
) -> Iterator[Point]:
    """A dot for each. Those of one half hour stand side by side; a cause's own are in the middle and drawn on top."""
    taken: Counter[tuple[int, int]] = Counter()
    made = []
    for one in (*own, *others):
        at = _local(one.at_ms, offsets)
        day, hour = at // DAY_MS, at % DAY_MS / 3_600_000
        number = taken[day, int(hour * 2)]
        taken[day, int(hour * 2)] += 1
        aside = (number + 1) // 2 * 0.2 * (-1 if number % 2 else 1)
        codes = ", ".join(sorted(one.codes)) or "gave up"
        made.append(
            Point(
                day + 0.5 + max(-0.4, min(0.4, aside)),
                hour,
                kind if one.id in mine else "rest",
                f"{_stamp(at)}: {codes}, {one.outcome}",
            )
        )
    return reversed(made)


def _thinned(failures: Sequence[Failure]) -> tuple[Sequence[Failure], int]:
    """As many as a drawing can hold, evenly over the time; and of how many each is one."""
    step = -(-len(failures) // MOST_DOTS) or 1
    return failures[::step], step


def _outages(diagnosis: Diagnosis) -> list[Stretch]:
    offsets = diagnosis.offsets
    return [
        Stretch(
            begun := _local(one.begun_ms, offsets),
            _local(one.ended_ms, offsets),
            "outage",
            f"no network, {_stamp(begun)}, {plots.span((one.ended_ms - one.begun_ms) / 1000)} ({one.source})",
        )
        for one in diagnosis.case.outages
    ]


def _unwatched(diagnosis: Diagnosis, first: int, last: int) -> Iterator[Stretch]:
    """Times of which no source tells whether there was network; whole days by themselves."""
    at, end = first * DAY_MS, (last + 1) * DAY_MS
    gaps = []
    for one in sorted(diagnosis.case.watched, key=lambda one: one.begun_ms):
        begun = _local(one.begun_ms, diagnosis.offsets)
        if begun > at:
            gaps.append((at, min(begun, end)))
        at = max(at, _local(one.ended_ms, diagnosis.offsets))
    gaps.append((at, end))
    for begun, ended in gaps:
        morning, night = -(-begun // DAY_MS) * DAY_MS, ended // DAY_MS * DAY_MS
        edges = (begun, morning, night, ended) if morning < night else (begun, ended)
        for start, stop in pairwise(edges):
            if start < stop:
                yield Stretch(start, stop - 1, "unwatched", "not watched")


# ----- how sure


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
        lambda width: plots.listed(width, rows, "% of failures", 100.0),
        ("cause", "grade", "failures", "share", "may well be"),
        tuple(table),
    )


# ----- when


def timeline(diagnosis: Diagnosis) -> Figure | None:
    """Failures over all of the time by code, with versions, notes and times without network, and the answered requests."""
    case, offsets = diagnosis.case, diagnosis.offsets
    if not case.failures:
        return None
    of_codes = Counter(_code(one) for one in case.failures)
    codes = [code for code, _ in sorted(of_codes.items(), key=lambda one: (-one[1], one[0]))]
    codes = codes[:MOST_CODES]
    kinds = {code: f"k{place + 1}" for place, code in enumerate(codes)}
    failed: Counter[tuple[int, str]] = Counter()
    for one in case.failures:
        failed[local_day(one.at_ms, offsets), kinds.get(_code(one), "rest")] += 1
    asked = Counter(local_day(one.at_ms, offsets) for one in case.answers)
    days = {day for day, _ in failed} | set(asked)
    first, last = min(days), max(days)
    step = 1 if last - first < MOST_COLUMNS else 7
    step = step if (last - first) // step < MOST_COLUMNS else -(-(last - first + 1) // MOST_COLUMNS)
    unit = "day" if step == 1 else "week" if step == 7 else f"{step} days"
    parts = [*kinds.values(), *(["rest"] if len(kinds) < len(of_codes) else [])]
    names = [*codes, *(["other codes"] if "rest" in parts else [])]
    signs, shades = _signs(diagnosis), _outages(diagnosis)
    columns, table = [], []
    for start in range(first, last + 1, step):
        within = range(start, start + step)
        counts = [sum(failed[day, kind] for day in within) for kind in parts]
        requests = sum(asked[day] for day in within)
        said = (
            ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True) if count)
            or "no failure"
        )
        when = day_name(start) if step == 1 else f"{day_name(start)} to {day_name(start + step - 1)}"
        columns.append(
            Column(
                start * DAY_MS,
                (start + step) * DAY_MS,
                tuple(zip(parts, counts, strict=True)),
                requests,
                f"{when}: {said}; {requests:,} answered",
            )
        )
        changes = ", ".join(one.text for one in signs if one.at // DAY_MS in within)
        away = sum(one.begun // DAY_MS in within for one in shades)
        if requests or any(counts) or changes or away:
            told = [str(count) for count in counts]
            table.append(
                (_date(start * DAY_MS), *told, f"{requests:,}", *([str(away)] if shades else []), changes)
            )
    most = max(columns, key=lambda one: sum(count for _, count in one.parts))
    says = f"Failures per {unit} by what the client noted, above the requests that were answered"
    peak = day_name(most.begun // DAY_MS)
    says += (
        f": most {f'on {peak}' if step == 1 else f'from {peak} on'}, {sum(count for _, count in most.parts)}."
    )
    doubtful = (last + 1 - DELETED_AFTER_DAYS) * DAY_MS if last - first > DELETED_AFTER_DAYS else None
    key = [*zip(parts, names, strict=True), ("answered", "answered")]
    if shades:
        key.append(("outage", "no network"))
    if signs:
        says += " Dotted lines are new versions of the client" + (
            ", and notes of yours." if any(one.kind == "note" for one in signs) else "."
        )
    if doubtful is not None:
        key.append(("unwatched", "not all on record"))
        says += (
            f" Sessions without use are deleted after {DELETED_AFTER_DAYS} days, so of the shaded time some are missing "
            "and its height is no trend."
        )

    def drawn(width: int) -> plots.Spec:
        return plots.timeline(width, columns, signs, shades, doubtful)

    head = ("from" if step > 1 else "day", *names, "answered", *(["no network"] if shades else []), "new")
    return Figure(f"Failures over time, per {unit}", says, drawn, head, tuple(table), tuple(key))


def _code(failure: Failure) -> str:
    """What the client noted of its first try."""
    return failure.tries[0].code if failure.tries else "gave up, no code"


def _signs(diagnosis: Diagnosis) -> list[Sign]:
    """The first request of each version but the first, and the user's own notes, in the order of time."""
    first: dict[str, int] = {}
    for at, version in sorted(
        [(one.at_ms, one.version) for one in diagnosis.case.answers]
        + [(one.at_ms, one.version) for one in diagnosis.case.failures]
    ):
        first.setdefault(version, at)
    offsets = diagnosis.offsets
    told = [
        Sign(
            local := _local(at, offsets), version, "version", f"first seen {_stamp(local)}: version {version}"
        )
        for version, at in list(first.items())[1:]
    ]
    told += [
        Sign(
            local := _local(row["since_ms"], offsets),
            str(row["mark"]),
            "note",
            f"{_stamp(local)}: {row['mark']}",
        )
        for row in diagnosis.tables.get("between marks", ())
        if row["since_ms"]
    ]
    return sorted(told, key=lambda one: one.at)


def per_hour(diagnosis: Diagnosis) -> Figure | None:
    """The rate at each hour of the day; one bad morning shows as a wide interval, not as a habit."""
    found = {row["hour"]: row for row in diagnosis.tables["per hour"]}
    if not found or not diagnosis.failures:
        return None
    nothing = {"failures": 0, "requests": 0, "per_1000": None, "per_1000_low": None, "per_1000_high": None}
    rows = [(f"{hour}", found.get(hour, nothing)) for hour in range(24)]
    says = (
        "Failures per thousand requests at each local hour; below, how many were answered then. A line is where the rate "
        "lies when whole days are drawn anew: a single bad day makes it long."
    )
    return _rated("By hour of the day", says, rows, "hour")


def per_weekday(diagnosis: Diagnosis) -> Figure | None:
    """The rate on each weekday, with its interval."""
    days = diagnosis.tables["per day"]
    if not days or not diagnosis.failures:
        return None
    rows = []
    for weekday, name in enumerate(_WEEKDAYS):
        mine = [row for row in days if (row["day"] + 3) % 7 == weekday]
        failures, requests = sum(row["failures"] for row in mine), sum(row["requests"] for row in mine)
        within = intervals.ratio([(row["failures"], row["failures"] + row["requests"]) for row in mine])
        row = {
            "failures": failures,
            "requests": requests,
            "per_1000": failures * 1000 / (failures + requests) if requests else None,
            "per_1000_low": within.low * 1000 if within else None,
            "per_1000_high": within.high * 1000 if within else None,
        }
        rows.append((name, row))
    says = (
        "Failures per thousand requests on each local weekday; below, how many were answered. A line is where the rate "
        "lies when days are drawn anew; a weekday that came fewer than five times has none."
    )
    return _rated("By weekday", says, rows, "weekday")


def _rated(title: str, says: str, rows: Sequence[tuple[str, Mapping[str, Any]]], what: str) -> Figure | None:
    """Rates over a few columns of a fixed order, with their denominators."""
    if not any(row["per_1000"] for _, row in rows):
        return None
    drawn = [
        Rate(
            name,
            row["per_1000"],
            row.get("per_1000_low"),
            row.get("per_1000_high"),
            row["requests"],
            f"{name}: {row['failures']} failed, {row['requests']:,} answered",
        )
        for name, row in rows
    ]
    return Figure(
        title,
        says,
        lambda width: plots.rates(width, drawn, "failures per 1,000 requests", "answered"),
        (what, "failed", "answered", "per 1,000", "may well be"),
        tuple(_rate_row(name, row) for name, row in rows if row["failures"] or row["requests"]),
    )


def _rate_row(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    rate, low, high = row["per_1000"], row.get("per_1000_low"), row.get("per_1000_high")
    return (
        name,
        f"{row['failures']:,}",
        f"{row['requests']:,}",
        "-" if rate is None else f"{rate:.1f}",
        "-" if low is None or high is None else f"{low:.1f} to {high:.1f}",
    )


def outages(diagnosis: Diagnosis) -> Figure | None:
    """How near to times without network failures came, against all the time in use: chance would make them alike.

    The comparison is with time and not with answered requests: without network nobody is answered.
    """
    case = diagnosis.case
    away = _merged((one.begun_ms, one.ended_ms) for one in case.outages)
    watched = _merged((one.begun_ms, one.ended_ms) for one in (*case.watched, *case.link_watched))
    in_use = _both(watched, [(one.begun_ms, one.ended_ms) for one in case.active])
    if not away or not in_use:
        return None
    failed = [_to_nearest(one.at_ms, away) for one in case.failures if not _to_nearest(one.at_ms, in_use)]
    if not failed:
        return None
    total = sum(ended - begun for begun, ended in in_use)
    times = [_to_nearest(at, away) for at in _evenly(in_use, SAMPLES)]
    rows, table = [], []
    for place, (name, short, low, high) in enumerate(_NEAR):
        mine = sum(low <= near < high for near in failed)
        share, expected = mine / len(failed), sum(low <= near < high for near in times) / len(times)
        side = (
            ""
            if name.endswith(("before", "after", _DURING))
            else "before"
            if place < len(_NEAR) // 2
            else "after"
        )
        told = f"{name.strip()} {side}".strip()
        said = f"{told}: {mine} of {len(failed)} failures, {_percent(expected)} of the time in use"
        rows.append(Pile(name, (("mine", share * 100), ("answered", expected * 100)), said, short=short))
        table.append(
            (told, str(mine), _percent(share), plots.span(expected * total / 1000), _percent(expected))
        )
    during = next(row for row in table if row[0] == _DURING)
    says = (
        f"{during[1]} of {counted(len(failed), 'failure')} began to fail while this machine was seen without network, or "
        f"within 10 s of it ({during[2]}); of the time in use it was {during[4]}. If outages had nothing to do with it, "
        "both bars of each pair would be alike. Only times that a log of outages covers are counted."
    )
    return Figure(
        "Overlap with times without network",
        says,
        lambda width: plots.piles(
            width, rows, "%", "before  ←  nearest time without network  →  after", side_by_side=True
        ),
        ("before or after", "failures", "share", "time in use", "share of it"),
        tuple(table),
        (("mine", "failures"), ("answered", "time in use")),
    )


_DURING = "during"
_FAR = 10**15
_NEAR: tuple[tuple[str, str, int, int], ...] = (
    (">1 h before", ">1h", -_FAR, -3_600_000),
    ("10–60 min", "1h", -3_600_000, -600_000),
    ("1–10 min", "10m", -600_000, -60_000),
    ("10–60 s", "1m", -60_000, -10_000),
    (_DURING, "0", -10_000, 10_001),
    ("10–60 s ", "1m ", 10_001, 60_000),
    ("1–10 min ", "10m ", 60_000, 600_000),
    ("10–60 min ", "1h ", 600_000, 3_600_000),
    (">1 h after", ">1h ", 3_600_000, _FAR),
)
"How far from an outage (ms), negative before it. Names differ by their spaces: an axis has each but once."


def _percent(share: float) -> str:
    return percent(share) if share else "0%"


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order, those that touch made one."""
    found: list[tuple[int, int]] = []
    for begun, ended in sorted(spans):
        if found and begun <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ended))
        else:
            found.append((begun, ended))
    return found


def _both(spans: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """When both are; each in order and without overlaps."""
    found, first, second = [], 0, 0
    while first < len(spans) and second < len(others):
        begun, ended = max(spans[first][0], others[second][0]), min(spans[first][1], others[second][1])
        if begun < ended:
            found.append((begun, ended))
        if spans[first][1] < others[second][1]:
            first += 1
        else:
            second += 1
    return found


def _evenly(spans: Sequence[tuple[int, int]], most: int) -> Iterator[int]:
    """About so many times, evenly over all of them together."""
    step = max(sum(ended - begun for begun, ended in spans) // most, 1)
    over = 0
    for begun, ended in spans:
        yield from range(begun + over, ended, step)
        over = (over - (ended - begun)) % step


def _to_nearest(at_ms: int, spans: Sequence[tuple[int, int]]) -> int:
    """Milliseconds from the nearest of them, negative before it; 0 within one. They are in order and do not overlap."""
    place = bisect_right(spans, (at_ms, _FAR))
    near = max(at_ms - spans[place - 1][1], 0) if place else _FAR
    if place < len(spans) and spans[place][0] - at_ms < near:
        near = at_ms - spans[place][0]
    return near


# ----- how old, how large, how often asked again


def ages(diagnosis: Diagnosis) -> Figure | None:
    """At what age requests died, by cause, beside every limit that the atlas knows."""
    places = _causes(diagnosis)
    aged = [(one.id, age) for one in diagnosis.case.failures if (age := _in_question(one)) is not None]
    if not aged:
        return None
    parts: list[tuple[str, str, list[float]]] = [
        (colour(place), finding.title, [])
        for place, finding in enumerate(diagnosis.findings[: plots.PALETTE])
    ]
    parts.append(
        ("rest", "other causes and none" if len(diagnosis.findings) > plots.PALETTE else "unexplained", [])
    )
    for failure, age in aged:
        place = places.get(failure, len(parts))
        parts[min(place, len(parts) - 1)][2].append(age)
    parts = [part for part in parts if part[2]]
    known = _known_limits([age for _, age in aged])
    least = max(REPEATS, math.ceil(len(aged) * PILED_UP))
    limits = [
        Limit(
            seconds,
            plots.span(seconds) if near >= least else "",
            f"{plots.span(seconds)}: {', '.join(names[:4])}",
        )
        for seconds, near, names in known
    ]
    hit = [one for one in known if one[1] >= least]
    columns = [(sum(begin <= max(age, 0.1) < end for _, age in aged), begin, end)
               for begin, end in plots.bins([age for _, age in aged], 12)]  # fmt: skip
    most, begin, end = max(columns)
    says = (
        f"How old {counted(len(aged), 'failed request')} were; most, {most}, were {plots.span(begin)} to {plots.span(end)}. "
        "Red ticks are the limits in the atlas that can end an exchange"
    )
    if hit:
        best = max(hit, key=lambda one: one[1])
        says += (
            f"; labelled are those with at least {least} failures within 2%: most at {plots.span(best[0])}, {best[1]}, "
            f"which {counted(len(best[2]), 'known timer')} {'has' if len(best[2]) == 1 else 'have'}. A number alone names "
            "nobody."
        )
    else:
        says += f"; none has {least} failures within 2% of it."
    head, rows = _by_bin(parts)
    return Figure(
        "At what age requests died, beside known limits",
        says,
        lambda width: plots.durations(width, parts, "failures", limits),
        head,
        (
            *rows,
            *(
                (f"within 2% of {plots.span(seconds)}: {', '.join(names[:3])}{_more(names, 3)}", str(near),
                 *("" for _ in parts[1:]))
                for seconds, near, names in hit
            ),
        ),
        (*((kind, name) for kind, name, _ in parts), ("limit", "known limits")),
    )  # fmt: skip


def _more(names: Sequence[str], shown: int) -> str:
    return f" and {len(names) - shown} more" if len(names) > shown else ""


def _known_limits(ages_s: Sequence[float]) -> list[tuple[float, int, list[str]]]:
    """Seconds, how many failures lie near, and whose: limits on silence, the whole exchange or the wait for headers."""
    by_length: dict[float, list[str]] = {}
    for timer in atlas.timers():
        if timer.is_limit and timer.clock in ("idle", "wall", "headers") and timer.seconds:
            by_length.setdefault(timer.seconds, []).append(timer.name)
    ordered = sorted(ages_s)
    found = []
    for seconds, names in sorted(by_length.items()):
        slack = max(SHARE * seconds, LEAST_S)
        near = bisect_right(ordered, seconds + slack) - bisect_left(ordered, seconds - slack)
        found.append((seconds, near if seconds >= 10 else 0, names))
    return found


def ladder(diagnosis: Diagnosis) -> Figure | None:
    """What became of each try that failed: asked again, recovered, given up."""
    rows = [row for row in diagnosis.tables["retries"] if row["still_failing"] is not None]
    if not rows:
        return None
    ends = (("recovered", "good"), ("abandoned", "k5"), ("died", "bad"), ("unknown", "unwatched"))
    made, table = [], []
    for row in rows:
        again = row["reached"] - sum(row[end] for end, _ in ends)
        parts = (*((kind, row[end]) for end, kind in ends), ("answered", again))
        told = (
            f"try {row['step']}: {row['reached']} failed it, {row['recovered']} recovered after it, {row['died']} died, "
            f"{row['abandoned']} were abandoned, {again} failed again"
        )
        made.append(Pile(f"{row['step']}", parts, told, f"{row['still_failing']:.0%}"))
        low, high = row.get("still_failing_low"), row.get("still_failing_high")
        table.append(
            (
                f"{row['step']}",
                str(row["reached"]),
                *(str(row[end]) for end, _ in ends),
                str(again),
                f"{row['still_failing']:.0%}",
                "-" if low is None or high is None else f"{low:.0%} to {high:.0%}",
            )
        )
    known = sum(row[end] for row in rows for end in ("recovered", "died", "abandoned"))
    first = rows[0]
    says = (
        f"What became of {counted(first['reached'], 'failure')} after each failed try. Above each column stands how much of "
        f"the {known} whose end is known had not recovered by then: a try is of use as long as that falls."
    )
    return Figure(
        "What the client's retries did",
        says,
        lambda width: plots.piles(width, made, "failures", "failed try"),
        ("try", "failed it", "recovered", "abandoned", "died", "unknown", "failed again", "still failing", "may well be"),
        tuple(table),
        (("good", "recovered"), ("k5", "abandoned"), ("bad", "died"), ("unwatched", "end not known"),
         ("answered", "failed again")),
    )  # fmt: skip


def sizes(diagnosis: Diagnosis) -> Figure | None:
    """The prompt at the failure against the largest that the session ever had."""
    largest: dict[str, int] = {}
    for one in diagnosis.case.answers:
        largest[one.session] = max(largest.get(one.session, 0), one.context_tokens)
    known = [
        (one, one.context_tokens, max(largest.get(one.session, 0), one.context_tokens))
        for one in diagnosis.case.failures
        if one.context_tokens
    ]
    if len(known) < 3:
        return None
    places = _causes(diagnosis)
    shown = known[:: -(-len(known) // MOST_DOTS) or 1]
    points = [
        Pair(size, then, colour(places[one.id]) if one.id in places else "rest",
             f"{_stamp(_local(one.at_ms, diagnosis.offsets))}: {then:,} tokens, its session's largest {size:,}")
        for one, then, size in shown
    ]  # fmt: skip
    below = sum(then < size * 0.75 for _, then, size in known)
    says = (
        f"Each dot is a failure: how large its prompt was, and how large its session's ever became. {below} of {len(known)} "
        "failed with less than three quarters of it, below the line: what a session weighs in the end is not what was sent."
    )
    edges = (0, 50_000, 100_000, 150_000, 200_000, 10**12)
    table = []
    for low, high in pairwise(edges):
        at = sum(low <= then < high for _, then, _ in known)
        ever = sum(low <= size < high for _, _, size in known)
        name = f"{low // 1000}k to {high // 1000}k" if high < 10**12 else f"{low // 1000}k and more"
        table.append((name, str(at), str(ever)))
    names = {place: finding.title for place, finding in enumerate(diagnosis.findings)}
    used = sorted({places[one.id] for one, _, _ in shown if one.id in places})
    key = [(colour(place), names[place]) for place in used[: plots.PALETTE]]
    if any(point.kind == "rest" for point in points):
        key.append(("rest", "unexplained" if len(used) <= plots.PALETTE else "others"))
    return Figure(
        "The prompt that failed, and its session at its largest",
        says,
        lambda width: plots.scatter(
            width, points, "session's largest prompt, tokens", "tokens at the failure"
        ),
        ("tokens", "prompts that failed", "their sessions at the largest"),
        tuple(table),
        tuple(key),
    )


# ----- where


def listed_rates(
    title: str, rows: Sequence[Mapping[str, Any]], name: Callable[[Mapping[str, Any]], str], what: str
) -> Figure | None:
    """Failures per thousand requests, of one thing below the other."""
    used = [row for row in rows if row["failures"] or row["requests"]]
    drawn = [
        Row(
            name(row),
            row["per_1000"],
            row.get("per_1000_low"),
            row.get("per_1000_high"),
            f"{row['failures']:,} of {row['failures'] + row['requests']:,}"
            + ("" if row["per_1000"] is not None else ", no rate"),
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
        lambda width: plots.listed(width, drawn, "failures per 1,000 requests"),
        (what, "failed", "answered", "per 1,000", "may well be"),
        tuple(_rate_row(name(row), row) for row in used),
    )


def by_context(diagnosis: Diagnosis) -> Figure | None:
    """The rate by the true size of the prompt."""

    def name(row: Mapping[str, Any]) -> str:
        low, high = row["from_tokens"] // 1000, row["to_tokens"]
        return f"{low}k and more" if high is None else f"{low}–{high // 1000}k"

    rows = [(name(row), row) for row in diagnosis.tables["by context"]]
    says = (
        "Failures per thousand requests by the tokens of the prompt at that request; below, how many were answered. A line "
        "is where the rate lies when whole days are drawn anew."
    )
    return _rated("By the true size of the prompt", says, rows, "tokens")


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


_OF_RATE: Mapping[str, Callable[[Diagnosis], Figure | None]] = {
    "large-request": by_context,
    "client-version": by_version,
    "subagents": by_agent,
}
"Causes whose evidence is a rate that differs."


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


# ----- how far it is known


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
        begun, ended = _local(one.first_ms, offsets), _local(one.last_ms, offsets)
        rows.append((name, "unwatched", [Stretch(begun, ended, "covered", name)]))
        table.append((one.source, one.count, _date(begun), _date(ended)))
    every = [stretch for _, _, stretches in rows for stretch in stretches]
    if not every:
        return None
    begun, ended = min(one.begun for one in every), max(one.ended for one in every)
    hours = sorted({_local(one.at_ms, offsets) // 3_600_000 * 3_600_000 for one in diagnosis.case.failures})
    if hours:
        failed = [Stretch(hour, hour + 3_600_000, "bad", f"a failure, {_stamp(hour)}") for hour in hours]
        rows.insert(
            0, ("hours with failures", "unwatched", [one for one in failed if begun <= one.begun <= ended])
        )
    says = f"What each source covers, from {day_name(begun // DAY_MS)} to {day_name(ended // DAY_MS)}."
    return Figure(
        "What each source covers",
        says,
        lambda width: plots.lanes(width, begun, ended, rows),
        ("source", "holds", "from", "to"),
        tuple(table),
        (("bad", "failures"), ("covered", "covered"), ("unwatched", "not covered")),
    )
