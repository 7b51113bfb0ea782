"""Charts of when: Vega-Lite specifications of timelines, calendars and lanes.

Times are milliseconds of the local clock, as if it were UTC: a chart knows no time zones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.report.plots import (
    DAY_MS,
    INK,
    LETTER,
    PILED,
    RIGHT,
    TOLD,
    WIDE,
    Spec,
    chart,
    days_axis,
    down_strip,
    fitted,
    given,
    ink,
    inner_width,
    values_axis,
)


@dataclass(frozen=True, slots=True)
class Column:
    """What came in one stretch of time. Times are milliseconds of the local clock, as if it were UTC."""

    begun: int
    ended: int
    parts: tuple[tuple[str, int], ...]
    "Kind and how many, from the bottom up."
    requests: int
    label: str


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that happened at one time: a new version, a note."""

    at: int
    text: str
    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time, shaded. Milliseconds of the local clock, as if it were UTC."""

    begun: int
    ended: int
    kind: str
    label: str


def timeline(
    width: int,
    columns: Sequence[Column],
    signs: Sequence[Sign],
    stretches: Sequence[Stretch],
    doubtful_until: int | None,
) -> Spec:
    """Failures over time, in parts; below, on the same axis, what was answered, when there was no network, and signs.

    Before `doubtful_until` not all is on record; that part is shaded.
    """
    inner = inner_width(width)
    first, last = columns[0].begun, columns[-1].ended
    time = {"type": "temporal", "scale": {"type": "utc", "domain": [first, last]}}
    bare = {**time, "axis": None}
    gap = (columns[0].ended - columns[0].begun) * 0.08
    failed, asked = [], []
    for one in columns:
        span = {"from": one.begun + gap, "to": one.ended - gap, "told": one.label}
        asked.append({**span, "zero": 0, "value": one.requests})
        failed += [
            {**span, "value": count, "kind": kind, "order": order, "ink": ink(kind)}
            for order, (kind, count) in enumerate(one.parts)
            if count
        ]
    layers: list[Spec] = []
    if doubtful_until is not None and doubtful_until > first:
        layers.append({
            "data": given([{"from": first, "to": min(doubtful_until, last), "ink": ink("unwatched"),
                              "told": "not all of this time is on record"}]),
            "mark": {"type": "rect"},
            "encoding": {"x": {"field": "from", **bare}, "x2": {"field": "to"},
                         "color": INK, "description": TOLD},
        })  # fmt: skip
    layers.append({
        "data": given({"at": one.at, "ink": ink(one.kind)} for one in signs),
        "mark": {"type": "rule", "strokeDash": [2, 3], "aria": False},
        "encoding": {"x": {"field": "at", **bare}, "color": INK},
    })  # fmt: skip
    layers.append({
        "data": given(failed), "transform": PILED, "mark": "rect",
        "encoding": {
            "x": {"field": "from", **bare}, "x2": {"field": "to"},
            "y": values_axis("failures", "low", whole=True), "y2": {"field": "high"}, "color": INK, "description": TOLD,
        },
    })  # fmt: skip
    axis = days_axis(width, first, last)
    rows: list[Spec] = [{"width": inner, "height": 130 if width == WIDE else 116, "layer": layers}]
    lanes = []
    if signs:
        lanes.append(_signs(signs, inner, first, last, bare))
    if stretches:
        lanes.append(_strip(stretches, inner, first, last, bare))
    lanes.append({
        "width": inner, "height": 30,
        "data": given(asked),
        "mark": {"type": "rect", "color": ink("answered")},
        "encoding": {"x": {"field": "from", **time, "axis": axis}, "x2": {"field": "to"},
                     "y": {**down_strip("answered"), "field": "zero"}, "y2": {"field": "value"}, "description": TOLD},
    })  # fmt: skip
    return chart({
        "vconcat": [*rows, *lanes], "spacing": 26, "bounds": "flush",
        "resolve": {"scale": {"y": "independent", "color": "independent"}},
    })  # fmt: skip


def _strip(stretches: Sequence[Stretch], inner: int, first: int, last: int, bare: Spec) -> Spec:
    """A lane of times; of those that would lie on each other, one is drawn and says how many they are."""
    least = max((last - first) // (inner // 2), 1)
    there: dict[tuple[int, str], list[Stretch]] = {}
    for one in stretches:
        if first <= one.begun < last:
            there.setdefault(((one.begun - first) // least, one.kind), []).append(one)
    rows = [
        {
            "from": same[0].begun,
            "to": max(same[0].begun + least, *(one.ended for one in same)),
            "ink": ink(kind),
            "told": same[0].label + (f", and {len(same) - 1} more" if len(same) > 1 else ""),
        }
        for (_, kind), same in there.items()
    ]
    return {
        "width": inner, "height": 12, "data": given(rows), "mark": "rect",
        "encoding": {"x": {"field": "from", **bare}, "x2": {"field": "to"}, "y": {"value": 0}, "y2": {"value": 12},
                     "color": INK, "description": TOLD},
    }  # fmt: skip


def _signs(signs: Sequence[Sign], inner: int, first: int, last: int, bare: Spec) -> Spec:
    """A lane of words at their times; those that have no room are left to the table."""
    placed: list[Spec] = []
    free = 0.0
    for one in signs:
        x = (one.at - first) / max(last - first, 1) * inner
        room = len(one.text) * LETTER + 10
        if x + room > inner:
            x = inner - room
        if x >= free or not placed:
            free = x + room
            placed.append({"at": one.at, "text": one.text, "told": one.label, "ink": ink(one.kind),
                           "x": min(max(x, 0), inner)})  # fmt: skip
    return {
        "width": inner, "height": 10,
        "data": given(placed),
        "layer": [
            {"mark": {"type": "text", "align": "left", "baseline": "middle"},
             "encoding": {"x": {"field": "x", "type": "quantitative", "axis": None,
                                "scale": {"domain": [0, inner], "nice": False}},
                          "y": {"value": 5}, "text": {"field": "text"}, "color": INK, "description": TOLD}},
        ],
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """Something at a local day and an hour."""

    day: float
    "Days since 1970 of the local clock; the fraction is its place within the day's column."
    hour: float
    kind: str
    label: str


def calendar(
    width: int, first: int, last: int, points: Sequence[Point], stretches: Sequence[Stretch]
) -> Spec:
    """Days from left to right, the hours of each from top to bottom: what stands in one row or one column shows."""
    inner, height = inner_width(width), 170
    columns = inner / (last - first + 1)
    time = {
        "type": "temporal",
        "scale": {"type": "utc", "domain": [first * DAY_MS, (last + 1) * DAY_MS]},
        "axis": {**days_axis(width, first * DAY_MS, (last + 1) * DAY_MS), "domain": False},
    }  # fmt: skip
    hours = {"type": "quantitative", "scale": {"domain": [24, 0], "nice": False}}
    axis = {**values_axis("hour")["axis"], "values": [0, 6, 12, 18, 24], "labelOverlap": False}
    del axis["tickCount"]  # it would thin them out
    shades: list[Spec] = []
    for one in stretches:
        if one.ended - one.begun > DAY_MS and (days := _whole_days(one, first, last)):
            shades.append(
                {"x": days[0] * DAY_MS, "x2": days[1] * DAY_MS, "y": 0, "y2": 24, "ink": ink(one.kind)}
            )
            continue
        for day in range(max(first, one.begun // DAY_MS), min(last, one.ended // DAY_MS) + 1):
            begun, ended = max(one.begun - day * DAY_MS, 0), min(one.ended - day * DAY_MS, DAY_MS)
            top = begun / DAY_MS * 24
            shades.append({
                "x": day * DAY_MS, "x2": (day + 1) * DAY_MS, "y": top,
                "y2": min(max(ended / DAY_MS * 24, top + 0.15), 24), "ink": ink(one.kind),
            })  # fmt: skip
    radius = min(3.4, max(columns * 0.42, 1.9))
    dots = [{"x": round(one.day * DAY_MS), "y": round(one.hour, 2), "ink": ink(one.kind), "told": one.label}
            for one in points]  # fmt: skip
    return chart({
        "width": inner, "height": height,
        "layer": [
            {"data": given(shades), "mark": {"type": "rect", "aria": False, "opacity": 0.7},
             "encoding": {"x": {"field": "x", **time}, "x2": {"field": "x2"},
                          "y": {"field": "y", **hours, "axis": axis}, "y2": {"field": "y2"}, "color": INK}},
            {"data": given(dots), "mark": {"type": "circle", "size": round(math.pi * radius * radius, 1), "opacity": 1},
             "encoding": {"x": {"field": "x", **time}, "y": {"field": "y", **hours, "axis": axis},
                          "color": INK, "description": TOLD}},
        ],
    })  # fmt: skip


def _whole_days(one: Stretch, first: int, last: int) -> tuple[int, int] | None:
    """From the first to after the last day, where a stretch is whole days and nothing else."""
    if one.begun % DAY_MS or (one.ended + 1) % DAY_MS:
        return None
    return max(first, one.begun // DAY_MS), min(last + 1, (one.ended + 1) // DAY_MS)


def lanes(width: int, begun: int, ended: int, rows: Sequence[tuple[str, str, Sequence[Stretch]]]) -> Spec:
    """One lane per source, its name above it, with the times that it covers. A row: name, kind of its ground, times."""
    line, inner = 38, width - 2 * RIGHT
    whole = max(ended - begun, DAY_MS)
    time = {
        "type": "temporal",
        "scale": {"type": "utc", "domain": [begun, begun + whole]},
        "axis": {**days_axis(width, begun // DAY_MS * DAY_MS, begun + whole), "orient": "bottom", "domain": False},
    }  # fmt: skip
    grounds, spans, names = [], [], []
    for place, (name, kind, stretches) in enumerate(rows):
        top = line * place + 18
        names.append({"y": top - 7, "text": fitted(name, inner)})
        grounds.append(
            {"x": begun, "x2": begun + whole, "y": top, "y2": top + 12, "ink": ink(kind), "told": name}
        )
        least = whole // inner * 2
        spans += [{"x": one.begun, "x2": max(one.ended, one.begun + least), "y": top, "y2": top + 12,
                   "ink": ink(one.kind), "told": one.label} for one in stretches]  # fmt: skip
    height = line * len(rows) - 4
    down: Spec = {"type": "quantitative", "axis": None, "scale": {"domain": [height, 0], "nice": False}}
    rect = {"x": {"field": "x", **time}, "x2": {"field": "x2"}, "y": {"field": "y", **down}, "y2": {"field": "y2"},
            "color": INK}  # fmt: skip
    return chart({
        "width": inner, "height": height,
        "layer": [
            {"data": given(grounds), "mark": {"type": "rect", "aria": False}, "encoding": rect},
            {"data": given(spans), "mark": "rect", "encoding": {**rect, "description": TOLD}},
            {"data": given(names), "mark": {"type": "text", "align": "left", "baseline": "middle", "aria": False},
             "encoding": {"x": {"value": 0}, "y": {"field": "y", **down}, "text": {"field": "text"}}},
        ],
    })  # fmt: skip
