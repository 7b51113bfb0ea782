"""What a diagnosis is drawn as: for each cause a picture of its evidence, then when, where, and how far it is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from holdfast.diagnosis.case import Failure
from holdfast.diagnosis.diagnosis import Diagnosis, local_day
from holdfast.diagnosis.examine import Finding
from holdfast.diagnosis.tables import DAY_MS, Offsets
from holdfast.flight.flights import counted
from holdfast.report import plots
from holdfast.report.plots import Bar, Figure, Point, Row, Stretch

MOST_DAYS = 120
"Days that a chart with one column per day can hold; of a longer time the last ones are drawn, and that is said."
MOST_DOTS = 1_000
"Of one kind in one chart: more would only make the page heavy."
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


def _local(at_ms: int, offsets: Offsets) -> float:
    """Local days since 1970, with fractions."""
    day = local_day(at_ms, offsets)
    ahead = 0
    for number, (begin, told) in enumerate(offsets):
        if not number or at_ms >= begin:
            ahead = told
    return day + ((at_ms + ahead) % DAY_MS) / DAY_MS


# ----- the evidence of one cause


def evidence(finding: Finding, diagnosis: Diagnosis) -> Figure | None:
    """The picture that shows a finding's evidence best; None where there is nothing to draw."""
    mine = set(finding.explains)
    if finding.hypothesis in _OF_AGE and (drawn := ages(finding, diagnosis, mine)):
        return drawn
    if finding.hypothesis == "idle-socket" and (drawn := idle(diagnosis, mine)):
        return drawn
    if finding.hypothesis in _OF_RATE and (drawn := _OF_RATE[finding.hypothesis](diagnosis)):
        return drawn
    return calendar(diagnosis, mine, outages=finding.hypothesis in _OF_TIME)


def _in_question(failure: Failure) -> float | None:
    """The age of the first try that no HTTP answer ended, else of the first; None where the records tell none."""
    aged = [one for one in failure.tries if one.age_s is not None]
    first = next((one for one in aged if one.status is None), aged[0] if aged else None)
    return first.age_s if first else None


def ages(finding: Finding, diagnosis: Diagnosis, mine: set[str]) -> Figure | None:
    """How old failed requests were, and where the limit lies."""
    aged = [
        (one.id in mine, age) for one in diagnosis.case.failures if (age := _in_question(one)) is not None
    ]
    own = sorted(age for of_mine, age in aged if of_mine)
    if not own:
        return None
    others = [age for of_mine, age in aged if not of_mine]
    limit = own[len(own) // 2]
    told = f"{limit:.0f} s" if limit >= 10 else f"{limit:.1f} s"
    parts = [("mine", "this cause", own), ("other", "other failures", others)]
    says = (
        f"How old failed requests were: the {counted(len(own), 'failure')} of this cause have a median of {told}; "
        f"{counted(len(others), 'other')} beside them. Each step of the axis is ten times longer."
    )
    key = (("mine", "this cause"), ("other", "other failures"))
    return plots.figure(says, lambda width: plots.histogram(width, parts, "failures", [(limit, told)]), key)


def idle(diagnosis: Diagnosis, mine: set[str]) -> Figure | None:
    """How long a conversation had been silent before the request that failed."""
    known = [(one.id in mine, one.idle_s) for one in diagnosis.case.failures if one.idle_s is not None]
    own = [silent for of_mine, silent in known if of_mine]
    if not own:
        return None
    parts = [
        ("mine", "this cause", own),
        ("other", "other failures", [silent for of_mine, silent in known if not of_mine]),
    ]
    says = (
        f"How long the conversation had been silent before the request: {counted(len(own), 'failure')} of this "
        f"cause, {len(parts[1][2])} others. Each step of the axis is ten times longer."
    )
    key = (("mine", "this cause"), ("other", "other failures"))
    return plots.figure(says, lambda width: plots.histogram(width, parts, "failures"), key)


def calendar(diagnosis: Diagnosis, mine: set[str], *, outages: bool) -> Figure | None:
    """Failures over days and hours, with the times without network and the times of which that is not known."""
    case, offsets = diagnosis.case, diagnosis.offsets
    if not case.failures:
        return None
    seen = [local_day(one.at_ms, offsets) for one in case.failures]
    seen += [local_day(one.at_ms, offsets) for one in case.answers]
    last = max(seen)
    first = max(min(seen), last - MOST_DAYS + 1)
    shown = [one for one in case.failures if local_day(one.at_ms, offsets) >= first]
    own_shown, step = _thinned([one for one in shown if one.id in mine])
    others_shown, other_step = _thinned([one for one in shown if one.id not in mine])
    points = [
        Point(
            local_day(one.at_ms, offsets),
            _local(one.at_ms, offsets) % 1 * 24,
            "mine" if one.id in mine else "other",
            f"{_stamp(one.at_ms, offsets)}: {', '.join(sorted(one.codes)) or 'gave up'}, {one.outcome}",
        )
        for one in (*others_shown, *own_shown)
    ]
    shaded = []
    if outages:
        shaded = [
            Stretch(_local(one.begun_ms, offsets), _local(one.ended_ms, offsets), "outage",
                    f"no network, {_stamp(one.begun_ms, offsets)}")
            for one in case.outages
        ]  # fmt: skip
        shaded = [*_unwatched(diagnosis, first, last), *shaded]
    own = sum(one.id in mine for one in case.failures)
    others = len(case.failures) - own
    says = f"When requests failed, by local day and hour: {counted(own, 'failure')} of this cause, {others} others"
    if outages:
        says += f", {counted(len(case.outages), 'time')} without network"
    says += "." if first == min(seen) else f"; only the last {MOST_DAYS} days are drawn."
    if step > 1 or other_step > 1:
        says += f" One in {step} of this cause is drawn, and one in {other_step} of the others."
    key = [("mine", "this cause"), ("other", "other failures")]
    if outages:
        key += [("outage", "no network")]
        key += [("unwatched", "not watched")] if any(one.kind == "unwatched" for one in shaded) else []

    def drawn(width: int) -> plots.Plot:
        return plots.calendar(width, first, last, points, shaded, day_name)

    return plots.figure(says, drawn, key)


def _thinned(failures: Sequence[Failure]) -> tuple[Sequence[Failure], int]:
    """As many as a drawing can hold, evenly over the time; and of how many each is one."""
    step = -(-len(failures) // MOST_DOTS) or 1
    return failures[::step], step


def _unwatched(diagnosis: Diagnosis, first: int, last: int) -> Iterator[Stretch]:
    """Times of which no source tells whether there was network."""
    at = float(first)
    for one in sorted(diagnosis.case.watched, key=lambda one: one.begun_ms):
        begun = _local(one.begun_ms, diagnosis.offsets)
        if begun > at:
            yield Stretch(at, min(begun, last + 1 - 1e-6), "unwatched", "not watched")
        at = max(at, _local(one.ended_ms, diagnosis.offsets))
    if at < last + 1:
        yield Stretch(at, last + 1 - 1e-6, "unwatched", "not watched")


def _stamp(at_ms: int, offsets: Offsets) -> str:
    local = round(_local(at_ms, offsets) * DAY_MS)
    return datetime.fromtimestamp(local / 1000, UTC).strftime("%b %-d, %H:%M")


# ----- the whole


def shares(diagnosis: Diagnosis) -> Figure | None:
    """How much each cause explains, with how far that may be off, and what nothing explains."""
    if not diagnosis.failures:
        return None
    rows = []
    for finding in diagnosis.findings:
        part = len(finding.explains) / diagnosis.failures * 100
        within = diagnosis.intervals.get(finding.hypothesis)
        low, high = (within.low * 100, within.high * 100) if within else (None, None)
        words = f"{len(finding.explains)} of {diagnosis.failures}"
        rows.append(Row(finding.title, part, low, high, words, finding.grade))
    left = len(diagnosis.examination.unexplained)
    rows.append(Row("Unexplained", left / diagnosis.failures * 100, None, None,
                    f"{left} of {diagnosis.failures}", "other"))  # fmt: skip
    says = (
        "How much of the failures each cause explains, in per cent; lines are where the share lies when days are "
        "drawn anew."
    )
    return plots.figure(says, lambda width: plots.forest(width, rows, "% of failures", 100.0))


def rates(
    rows: Sequence[Mapping[str, Any]], name: Callable[[Mapping[str, Any]], str], what: str
) -> Figure | None:
    """Failures per thousand requests, of one thing after the other."""
    drawn = [
        Row(
            name(row),
            row["per_1000"],
            row.get("per_1000_low"),
            row.get("per_1000_high"),
            f"{row['failures']} of {row['failures'] + row['requests']:,}"
            + ("" if row["per_1000"] is not None else ", no rate"),
        )
        for row in rows[:12]
        if row["failures"] or row["requests"]
    ]
    if not drawn or not any(row.value for row in drawn):
        return None
    says = (
        f"Failures per thousand requests by {what}; lines are 95 in 100 of what days drawn anew would give, and "
        "where there are none, there were too few days."
    )
    if len(rows) > 12:
        says += f" The first 12 of {len(rows)}."
    return plots.figure(says, lambda width: plots.forest(width, drawn, "failures per 1,000 requests"))


def by_context(diagnosis: Diagnosis) -> Figure | None:
    """The rate by the true size of the prompt."""

    def name(row: Mapping[str, Any]) -> str:
        low, high = row["from_tokens"], row["to_tokens"]
        if high is None:
            return f"{low / 1000:,.0f}k tokens and more"
        return f"{low / 1000:,.0f}k to {high / 1000:,.0f}k tokens"

    return rates(diagnosis.tables["by context"], name, "the size of the prompt")


def by_version(diagnosis: Diagnosis) -> Figure | None:
    """The rate of each version of the client."""
    return rates(diagnosis.tables["by version"], lambda row: str(row["version"]), "version of the client")


def by_project(diagnosis: Diagnosis) -> Figure | None:
    """The rate in each project."""
    return rates(diagnosis.tables["by project"], lambda row: str(row["project"]), "project")


def by_agent(diagnosis: Diagnosis) -> Figure | None:
    """The rate of main conversations and of subagents."""
    return rates(diagnosis.tables["by agent kind"], lambda row: str(row["agent kind"]), "kind of agent")


_OF_RATE: Mapping[str, Callable[[Diagnosis], Figure | None]] = {
    "large-request": by_context,
    "client-version": by_version,
    "subagents": by_agent,
}
"Causes whose evidence is a rate that differs."


def ladder(diagnosis: Diagnosis) -> Figure | None:
    """The share of failures that had not recovered after each try."""
    rows = [row for row in diagnosis.tables["retries"] if row["still_failing"] is not None]
    if not rows:
        return None

    def percent(value: float | None) -> float | None:
        return None if value is None else value * 100

    made = [
        Bar(
            f"{row['step']}",
            (("step", row["still_failing"] * 100),),
            f"try {row['step']}: {row['reached']} failed it, {row['recovered']} recovered after it, "
            f"{row['still_failing']:.0%} still failing",
            percent(row.get("still_failing_low")),
            percent(row.get("still_failing_high")),
        )
        for row in rows
    ]
    known = sum(row[end] for row in rows for end in ("recovered", "died", "abandoned"))
    says = (
        f"Of {counted(known, 'failure')} whose end is known, how many per cent had not recovered after the first, "
        "second, ... failed try. A try is of use as long as the bars go down."
    )
    return plots.figure(says, lambda width: plots.bars(width, made, "% still failing"))


def per_day(diagnosis: Diagnosis) -> Figure | None:
    """Failures on each day, days without any included."""
    rows = {row["day"]: row for row in diagnosis.tables["per day"]}
    if not rows or not diagnosis.failures:
        return None
    last = max(rows)
    first = max(min(rows), last - MOST_DAYS + 1)
    explained = set(diagnosis.examination.explained)
    known: dict[int, int] = {}
    for failure in diagnosis.case.failures:
        if failure.id in explained:
            day = local_day(failure.at_ms, diagnosis.offsets)
            known[day] = known.get(day, 0) + 1
    made = []
    for day in range(first, last + 1):
        row = rows.get(day, {"failures": 0, "requests": 0})
        mine = min(known.get(day, 0), row["failures"])
        label = f"{day_name(day)}: {counted(row['failures'], 'failure')}, {row['requests']:,} answered"
        made.append(Bar(day_name(day), (("mine", mine), ("other", row["failures"] - mine)), label))
    says = "Failures per local day."
    if first > min(rows):
        says += f" Only the last {MOST_DAYS} days are drawn."
    key = (("mine", "explained"), ("other", "unexplained"))
    return plots.figure(says, lambda width: plots.bars(width, made, "failures"), key)


def per_hour(diagnosis: Diagnosis) -> Figure | None:
    """The rate at each hour of the day; one bad morning shows as a wide interval, not as a habit."""
    rows = {row["hour"]: row for row in diagnosis.tables["per hour"]}
    if not rows or not diagnosis.failures:
        return None
    made = []
    for hour in range(24):
        row = rows.get(hour)
        rate = (row["per_1000"] or 0.0) if row else 0.0
        said = f"{row['failures']} failed, {row['requests']:,} answered" if row else "not in use"
        low, high = (row["per_1000_low"], row["per_1000_high"]) if row else (None, None)
        made.append(Bar(f"{hour}", (("mine", rate),), f"{hour}:00: {said}", low, high))
    says = (
        "Failures per thousand requests at each local hour. A line is where the rate lies when days are drawn anew: "
        "a single bad day makes it long."
    )
    return plots.figure(says, lambda width: plots.bars(width, made, "per 1,000 requests"))


def per_weekday(diagnosis: Diagnosis) -> Figure | None:
    """Failures on each weekday."""
    rows = {row["weekday"]: row for row in diagnosis.tables["per weekday"]}
    if not rows or not diagnosis.failures:
        return None
    made = []
    for day, name in enumerate(_WEEKDAYS):
        row = rows.get(day, {"failures": 0, "requests": 0})
        tried = row["failures"] + row["requests"]
        rate = row["failures"] * 1000 / tried if row["requests"] else 0.0
        label = f"{name}: {row['failures']} failed, {row['requests']:,} answered"
        made.append(Bar(name, (("mine", rate),), label))
    says = "Failures per thousand requests on each local weekday."
    return plots.figure(says, lambda width: plots.bars(width, made, "per 1,000 requests"))


def coverage(diagnosis: Diagnosis) -> Figure | None:
    """From when to when each source reaches."""
    offsets = diagnosis.offsets
    lanes: list[tuple[str, list[Stretch]]] = []
    for one in diagnosis.coverage:
        if one.first_ms is None or one.last_ms is None:
            lanes.append((f"{one.source}: {one.count}", []))
            continue
        reach = Stretch(
            _local(one.first_ms, offsets),
            _local(one.last_ms, offsets),
            "covered",
            f"{one.source}: {one.count}",
        )
        lanes.append((f"{one.source}: {one.count}", [reach]))
    every = [stretch for _, stretches in lanes for stretch in stretches]
    if not every:
        return None
    begun, ended = min(one.begun for one in every), max(one.ended for one in every)
    days = sorted({round(_local(one.at_ms, offsets) * 24) / 24 for one in diagnosis.case.failures})
    if days:
        failed = [Stretch(day, day, "mine", "a failure") for day in days]
        lanes.insert(0, ("hours with failures", [one for one in failed if begun <= one.begun <= ended]))
    says = f"What each source covers, from {day_name(int(begun))} to {day_name(int(ended))}."
    return plots.figure(says, lambda width: plots.lanes(width, begun, ended, lanes, day_name))
