"""How old and how large requests were that failed, and what became of their tries."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

from holdfast.diagnosis import atlas
from holdfast.diagnosis.diagnosis import Diagnosis
from holdfast.diagnosis.examine import Finding
from holdfast.diagnosis.hypotheses._age import in_question, limit_met
from holdfast.diagnosis.timers import LEAST_S, REPEATS, SHARE
from holdfast.flight.flights import counted, percent
from holdfast.report import plots, plots_counts
from holdfast.report.pictures_when import MOST_DOTS, local, stamp
from holdfast.report.plots import Figure, colour
from holdfast.report.plots_counts import Limit, Pair, Pile

PILED_UP = 0.05
"Of all ages: so many near a known limit are worth its name in the picture."
_LOGARITHMIC = "On its axis 1 s to 10 s is as wide as 10 s to 100 s."


def causes(diagnosis: Diagnosis) -> dict[str, int]:
    """Failure id -> the place of the cause that explains it, in the order of the findings."""
    found: dict[str, int] = {}
    for place, finding in enumerate(diagnosis.findings):
        for failure in finding.explains:
            found.setdefault(failure, place)
    return found


def _by_bin(
    parts: Sequence[tuple[str, str, Sequence[float]]],
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The table of a chart of durations: a row for each bin that holds something."""
    everything = [value for _, _, values in parts for value in values]
    rows = []
    for begin, end in plots_counts.bins(everything, 6):
        counts = [sum(begin <= max(value, 0.1) < end for value in values) for _, _, values in parts]
        if any(counts):
            rows.append((f"{plots.span(begin)} to {plots.span(end)}", *(str(count) for count in counts)))
    return ("how long", *(name for _, name, _ in parts)), tuple(rows)


def _beside(others: Sequence[float]) -> str:
    return f" {counted(len(others), 'other failure')} beside them." if others else ""


def age_of(finding: Finding, diagnosis: Diagnosis, mine: set[str], kind: str) -> Figure | None:
    """How old failed requests were, and where the limit lies."""
    aged = [(one.id in mine, age) for one in diagnosis.case.failures if (age := in_question(one)) is not None]
    own = sorted(age for of_mine, age in aged if of_mine)
    if not own:
        return None
    others = [age for of_mine, age in aged if not of_mine]
    limit = limit_met(finding.hypothesis, own, diagnosis.case)
    middle, what = (own[len(own) // 2], "median") if limit is None else (limit, "limit")
    told = f"{middle:.0f} s" if middle >= 10 else f"{middle:.1f} s"
    parts = [(kind, "this cause", own), ("rest", "other failures", others)]
    near = sum(abs(age - middle) <= max(SHARE * middle, LEAST_S) for age in own)
    says = (
        f"Of the {counted(len(own), 'failure')} of this cause, {near} came within {max(SHARE * middle, LEAST_S):.0f} s of "
        f"their {what}, {told}.{_beside(others)} {_LOGARITHMIC}"
    )
    limits = [Limit(middle, told, f"the {what} of this cause: {told}")]
    head, rows = _by_bin(parts)
    return Figure(
        "How old the failed requests were",
        says,
        lambda width: plots_counts.durations(width, parts, "failures", limits),
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
        lambda width: plots_counts.durations(width, parts, "failures"),
        head,
        rows,
        ((kind, "this cause"), *([("rest", "other failures")] if others else [])),
    )


def ages(diagnosis: Diagnosis) -> Figure | None:
    """At what age requests died, by cause, beside every limit that the atlas knows."""
    places = causes(diagnosis)
    aged = [(one.id, age) for one in diagnosis.case.failures if (age := in_question(one)) is not None]
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
               for begin, end in plots_counts.bins([age for _, age in aged], 12)]  # fmt: skip
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
        lambda width: plots_counts.durations(width, parts, "failures", limits),
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
        made.append(Pile(f"{row['step']}", parts, told, percent(row["still_failing"])))
        low, high = row.get("still_failing_low"), row.get("still_failing_high")
        table.append(
            (
                f"{row['step']}",
                str(row["reached"]),
                *(str(row[end]) for end, _ in ends),
                str(again),
                percent(row["still_failing"]),
                "-" if low is None or high is None else f"{percent(low)} to {percent(high)}",
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
        lambda width: plots_counts.piles(width, made, "failures", "failed try"),
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
    places = causes(diagnosis)
    shown = known[:: -(-len(known) // MOST_DOTS) or 1]
    points = [
        Pair(size, then, colour(places[one.id]) if one.id in places else "rest",
             f"{stamp(local(one.at_ms, diagnosis.offsets))}: {then:,} tokens, its session's largest {size:,}")
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
        lambda width: plots_counts.scatter(
            width, points, "session's largest prompt, tokens", "tokens at the failure"
        ),
        ("tokens", "prompts that failed", "their sessions at the largest"),
        tuple(table),
        tuple(key),
    )
