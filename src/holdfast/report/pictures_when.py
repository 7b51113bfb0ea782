"""When requests failed: over all of the time, and over days and hours. Times are told by the local clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from holdfast.diagnosis.case import Failure
from holdfast.diagnosis.diagnosis import DELETED_AFTER_DAYS, Diagnosis, local_day
from holdfast.diagnosis.tables import DAY_MS, Offsets
from holdfast.flight.flights import counted
from holdfast.flight.redact import clean
from holdfast.report import plots, plots_time
from holdfast.report.plots import Figure
from holdfast.report.plots_time import Column, Point, Sign, Stretch

MOST_DOTS = 1_000
"Of one kind in one chart: more would only make the page heavy."
MOST_COLUMNS = 62
"Of a timeline; a longer time is counted by weeks, or by so many days that they are no more."
MOST_CODES = 5
"Told apart by colour; the others are one part."
LONGEST = 40
"Letters of a code or a note in a picture; the tables of the page have the whole."
CALENDAR = "On which days, at which hours"


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


def local(at_ms: int, offsets: Offsets) -> int:
    """The local clock, in milliseconds as if it were UTC."""
    return at_ms + _ahead(at_ms, offsets)


def stamp(local_ms: int) -> str:
    return datetime.fromtimestamp(local_ms / 1000, UTC).strftime("%b %-d, %H:%M")


def iso(local_ms: int) -> str:
    return datetime.fromtimestamp(local_ms / 1000, UTC).strftime("%Y-%m-%d")


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
        (iso(day * DAY_MS), str(count - others_on[day]), str(others_on[day]))
        for day, count in sorted(rows.items())
    ]
    if outages:
        head = (*head, "times without network")
        table = [(*row, str(away[day])) for row, day in zip(table, sorted(rows), strict=True)]  # type: ignore[misc]

    def drawn(width: int) -> plots.Spec:
        return plots_time.calendar(
            width, first, last, list(_points(own, others, mine, kind, offsets)), shades
        )

    return Figure(CALENDAR, says, drawn, head, tuple(table), tuple(key))


def _points(
    own: Sequence[Failure], others: Sequence[Failure], mine: set[str], kind: str, offsets: Offsets
) -> Iterator[Point]:
    """A dot for each. Those of one half hour stand side by side; a cause's own are in the middle and drawn on top."""
    taken: Counter[tuple[int, int]] = Counter()
    made = []
    for one in (*own, *others):
        at = local(one.at_ms, offsets)
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
                f"{stamp(at)}: {codes}, {one.outcome}",
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
            begun := local(one.begun_ms, offsets),
            local(one.ended_ms, offsets),
            "outage",
            f"no network, {stamp(begun)}, {plots.span((one.ended_ms - one.begun_ms) / 1000)} ({one.source})",
        )
        for one in diagnosis.case.outages
    ]


def _unwatched(diagnosis: Diagnosis, first: int, last: int) -> Iterator[Stretch]:
    """Times of which no source tells whether there was network; whole days by themselves."""
    at, end = first * DAY_MS, (last + 1) * DAY_MS
    gaps = []
    for one in sorted(diagnosis.case.watched, key=lambda one: one.begun_ms):
        begun = local(one.begun_ms, diagnosis.offsets)
        if begun > at:
            gaps.append((at, min(begun, end)))
        at = max(at, local(one.ended_ms, diagnosis.offsets))
    gaps.append((at, end))
    for begun, ended in gaps:
        morning, night = -(-begun // DAY_MS) * DAY_MS, ended // DAY_MS * DAY_MS
        edges = (begun, morning, night, ended) if morning < night else (begun, ended)
        for start, stop in pairwise(edges):
            if start < stop:
                yield Stretch(start, stop - 1, "unwatched", "not watched")


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
    asked = Counter(local_day(one.at_ms, offsets) for one in case.answers if not one.failed)
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
                (iso(start * DAY_MS), *told, f"{requests:,}", *([str(away)] if shades else []), changes)
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
        return plots_time.timeline(width, columns, signs, shades, doubtful)

    head = ("from" if step > 1 else "day", *names, "answered", *(["no network"] if shades else []), "new")
    return Figure(f"Failures over time, per {unit}", says, drawn, head, tuple(table), tuple(key))


def _code(failure: Failure) -> str:
    """What the client noted of its first try."""
    return clean(failure.tries[0].code, limit=LONGEST) if failure.tries else "gave up, no code"


def _signs(diagnosis: Diagnosis) -> list[Sign]:
    """The first request of each version but the first, and the user's own notes, in the order of time."""
    first: dict[str, int] = {}
    for at, version in sorted(
        [(one.at_ms, one.version) for one in diagnosis.case.answers]
        + [(one.at_ms, one.version) for one in diagnosis.case.failures]
    ):
        first.setdefault(clean(version, limit=LONGEST), at)
    offsets = diagnosis.offsets
    told = [
        Sign(at, version, "version", f"first seen {stamp(at)}: version {version}")
        for version, at in [(version, local(at, offsets)) for version, at in first.items()][1:]
    ]
    marks = [
        (local(row["since_ms"], offsets), clean(str(row["mark"]), limit=LONGEST))
        for row in diagnosis.tables.get("between marks", ())
        if row["since_ms"]
    ]
    told += [Sign(at, text, "note", f"{stamp(at)}: {text}") for at, text in marks]
    return sorted(told, key=lambda one: one.at)
