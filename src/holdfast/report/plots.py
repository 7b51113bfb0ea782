"""Charts as Vega-Lite specifications: values in, a specification out. `drawing` has it drawn.

A specification says what stands for what; where every bar, mark and word goes is Vega's work. What is ours is the
look, and that there is only one: colours are names of the page's style sheet (`var(--c1)`), so a chart follows
the reader's dark or light and the printer's paper without being drawn again. Every chart is drawn twice, for a
wide and for a narrow page, because a picture that shrinks takes its letters with it.

Texts in the values may come from anywhere; they stay values. No text becomes a part of an expression.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Spec = dict[str, Any]

WIDE, NARROW = 860, 330
LEFT, RIGHT = 40, 14
"Beside the field in which values are drawn; the same for all, so that charts below each other line up."
DAY_MS = 86_400_000
LETTER = 6.8
"Width of a letter at 12 units, a generous mean of the fonts that pages have."
PALETTE = 6
"Colours that are told apart, `--c1` and on, in either light and by most eyes."

CONFIG: Spec = {
    "font": "Liberation Sans",
    "background": None,
    "padding": {"left": 2, "right": 2, "top": 4, "bottom": 2},
    "view": {"stroke": None},
    "text": {"fontSize": 12, "fill": "var(--ink)"},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelColor": "var(--soft)",
        "titleColor": "var(--soft)",
        "gridColor": "var(--grid)",
        "domainColor": "var(--rule)",
        "tickColor": "var(--rule)",
    },
    "axisX": {"labelSeparation": 10},
}
"""The font is the one that the renderer brings along, so that every machine reckons with the same widths; the page then
sets its own."""


def ink(kind: str) -> str:
    """The colour of a kind of shape, as the style sheet names it."""
    return f"var(--{kind})"


def colour(place: int) -> str:
    """The kind of the cause, code or part at this place of a ranking; all beyond the palette share one."""
    return f"c{place + 1}" if place < PALETTE else "rest"


def _chart(view: Spec) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "config": CONFIG,
        "autosize": "pad",
        **view,
    }


def _values(rows: Iterable[Spec]) -> Spec:
    return {"values": list(rows)}


def _inner(width: int) -> int:
    return width - LEFT - RIGHT


_PILED = [{"stack": "value", "groupby": ["from"], "sort": [{"field": "order"}], "as": ["low", "high"]}]
"Parts of one column stand on each other, in their order."
_INK: Spec = {"field": "ink", "type": "nominal", "scale": None, "legend": None}
_TOLD: Spec = {"field": "told", "type": "nominal"}


def _up(unit: str, field: str = "value", **more: Any) -> Spec:
    """The axis of values: it begins at 0, and its unit stands above it."""
    axis = {
        "title": unit,
        "titleAngle": 0,
        "titleAlign": "left",
        "titleBaseline": "bottom",
        "titleAnchor": "end",
        "titleX": -LEFT + 4,
        "titleY": -9,
        "minExtent": LEFT - 4,
        "maxExtent": LEFT - 4,
        "tickCount": 4,
        "domain": False,
        "ticks": False,
        "format": ",~f" if more.pop("fractions", True) else ",d",
    }
    if more.pop("whole", False):
        axis |= {"tickMinStep": 1, "format": ",d"}
    return {"field": field, "type": "quantitative", "axis": axis, **more}


_THOUSANDS = "datum.value >= 1000 ? datum.value / 1000 + 'k' : datum.value"


def _down(title: str, count: int = 2) -> Spec:
    """The axis of a strip below a chart: what it shows stands above it, and it has little room for marks."""
    told = _up(title, scale={"nice": count}, whole=True)
    told["axis"] |= {"tickCount": count, "titleY": -5, "labelExpr": _THOUSANDS}
    return told


def _days_axis(width: int, first: int, last: int) -> Spec:
    """The axis of days: named ones of a few months; of a longer time the months, as Vega names them."""
    axis: Spec = {"title": None, "grid": False, "labelOverlap": "greedy", "labelFlush": True}
    days, most = (last - first) // DAY_MS + 1, 9 if width == WIDE else 4
    if days > 150:
        return {**axis, "tickCount": 8 if width == WIDE else 4}
    step = -(-days // most)
    return {**axis, "format": "%b %-d", "values": list(range(first, last, step * DAY_MS))}


# ----- time


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
    inner = _inner(width)
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
            "data": _values([{"from": first, "to": min(doubtful_until, last), "ink": ink("unwatched"),
                              "told": "not all of this time is on record"}]),
            "mark": {"type": "rect"},
            "encoding": {"x": {"field": "from", **bare}, "x2": {"field": "to"},
                         "color": _INK, "description": _TOLD},
        })  # fmt: skip
    layers.append({
        "data": _values({"at": one.at, "ink": ink(one.kind)} for one in signs),
        "mark": {"type": "rule", "strokeDash": [2, 3], "aria": False},
        "encoding": {"x": {"field": "at", **bare}, "color": _INK},
    })  # fmt: skip
    layers.append({
        "data": _values(failed), "transform": _PILED, "mark": "rect",
        "encoding": {
            "x": {"field": "from", **bare}, "x2": {"field": "to"},
            "y": _up("failures", "low", whole=True), "y2": {"field": "high"}, "color": _INK, "description": _TOLD,
        },
    })  # fmt: skip
    axis = _days_axis(width, first, last)
    rows: list[Spec] = [{"width": inner, "height": 130 if width == WIDE else 116, "layer": layers}]
    lanes = []
    if signs:
        lanes.append(_signs(signs, inner, first, last, bare))
    if stretches:
        lanes.append(_strip(stretches, inner, first, last, bare))
    lanes.append({
        "width": inner, "height": 30,
        "data": _values(asked),
        "mark": {"type": "rect", "color": ink("answered")},
        "encoding": {"x": {"field": "from", **time, "axis": axis}, "x2": {"field": "to"},
                     "y": {**_down("answered"), "field": "zero"}, "y2": {"field": "value"}, "description": _TOLD},
    })  # fmt: skip
    return _chart({
        "vconcat": [*rows, *lanes], "spacing": 18, "bounds": "flush",
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
        "width": inner, "height": 12, "data": _values(rows), "mark": "rect",
        "encoding": {"x": {"field": "from", **bare}, "x2": {"field": "to"}, "y": {"value": 0}, "y2": {"value": 12},
                     "color": _INK, "description": _TOLD},
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
        "data": _values(placed),
        "layer": [
            {"mark": {"type": "text", "align": "left", "baseline": "middle"},
             "encoding": {"x": {"field": "x", "type": "quantitative", "axis": None,
                                "scale": {"domain": [0, inner], "nice": False}},
                          "y": {"value": 5}, "text": {"field": "text"}, "color": _INK, "description": _TOLD}},
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
    inner, height = _inner(width), 170
    columns = inner / (last - first + 1)
    time = {
        "type": "temporal",
        "scale": {"type": "utc", "domain": [first * DAY_MS, (last + 1) * DAY_MS]},
        "axis": {**_days_axis(width, first * DAY_MS, (last + 1) * DAY_MS), "domain": False},
    }  # fmt: skip
    hours = {"type": "quantitative", "scale": {"domain": [24, 0], "nice": False}}
    axis = {**_up("hour")["axis"], "values": [0, 6, 12, 18, 24], "labelOverlap": False}
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
    return _chart({
        "width": inner, "height": height,
        "layer": [
            {"data": _values(shades), "mark": {"type": "rect", "aria": False, "opacity": 0.7},
             "encoding": {"x": {"field": "x", **time}, "x2": {"field": "x2"},
                          "y": {"field": "y", **hours, "axis": axis}, "y2": {"field": "y2"}, "color": _INK}},
            {"data": _values(dots), "mark": {"type": "circle", "size": round(math.pi * radius * radius, 1), "opacity": 1},
             "encoding": {"x": {"field": "x", **time}, "y": {"field": "y", **hours, "axis": axis},
                          "color": _INK, "description": _TOLD}},
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
        "axis": {**_days_axis(width, begun // DAY_MS * DAY_MS, begun + whole), "orient": "bottom", "domain": False},
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
            "color": _INK}  # fmt: skip
    return _chart({
        "width": inner, "height": height,
        "layer": [
            {"data": _values(grounds), "mark": {"type": "rect", "aria": False}, "encoding": rect},
            {"data": _values(spans), "mark": "rect", "encoding": {**rect, "description": _TOLD}},
            {"data": _values(names), "mark": {"type": "text", "align": "left", "baseline": "middle", "aria": False},
             "encoding": {"x": {"value": 0}, "y": {"field": "y", **down}, "text": {"field": "text"}}},
        ],
    })  # fmt: skip


# ----- durations


def span(seconds: float) -> str:
    """`0.1 s`, `10 s`, `17 min`, `2.8 h`: short."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


_CLOCK_S = (0.1, 1, 10, 60, 300, 3600, 21_600, 86_400, 604_800)
_FINE_S = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    20,
    30,
    60,
    120,
    300,
    600,
    1200,
    1800,
    3600,
    7200,
    21_600,
    86_400,
    604_800,
)
"Where the axis of durations has its marks, as clocks are read; the finer ones where it is short."


def bins(everything: Sequence[float], steps: int, least: float = 0.1) -> list[tuple[float, float]]:
    """Edges (s) of bins that are each as many times longer, `steps` to a power of ten, holding all of it.

    What is under `least` is counted in the first.
    """
    low = math.floor(math.log10(max(min(everything, default=1.0), least)) + 1e-9)
    high = max(low + 2, math.ceil(math.log10(max(*everything, 10.0) if everything else 10.0) + 0.02))
    edges = [10 ** (low + place / steps) for place in range((high - low) * steps + 1)]
    return list(pairwise(edges))


@dataclass(frozen=True, slots=True)
class Limit:
    """A known duration, marked."""

    at_s: float
    text: str
    "Written beside its line; empty: only a tick."
    label: str


def durations(
    width: int,
    parts: Sequence[tuple[str, str, Sequence[float]]],
    unit: str,
    limits: Sequence[Limit] = (),
) -> Spec:
    """How often which duration came, on an axis in which each step is as many times longer, with known limits.

    `parts`: kind, name, seconds.
    """
    least = 0.1
    shown = [max(value, least) for _, _, values in parts for value in values]
    edges = bins([*shown, *(one.at_s for one in limits if one.text)], 12 if width == WIDE else 6)
    low, high = edges[0][0], edges[-1][1]
    rows = []
    for begin, end in edges:
        counts = [
            (kind, name, sum(begin <= max(value, least) < end for value in values))
            for kind, name, values in parts
        ]
        told = f"{span(begin)} to {span(end)}: " + ", ".join(
            f"{name} {count}" for _, name, count in counts if count
        )
        rows += [
            {"from": begin * 1.012, "to": end / 1.012, "value": count, "kind": kind, "order": order,
             "ink": ink(kind), "told": told}
            for order, (kind, _, count) in enumerate(counts) if count
        ]  # fmt: skip
    scale = {"type": "log", "domain": [low, high], "nice": False}
    axis = {
        "title": None,
        "grid": False,
        "values": [one for one in (_FINE_S if high <= 1000 * low else _CLOCK_S) if low <= one <= high],
        "labelExpr": "datum.value < 60 ? datum.value + ' s' : datum.value < 3600 ? datum.value / 60 + ' min' : "
        "datum.value < 86400 ? datum.value / 3600 + ' h' : datum.value / 86400 + ' d'",
        "labelOverlap": "greedy",
        "labelFlush": True,
    }
    across = {"type": "quantitative", "scale": scale, "axis": axis}
    layers: list[Spec] = [{
        "data": _values(rows), "transform": _PILED, "mark": "rect",
        "encoding": {
            "x": {"field": "from", **across}, "x2": {"field": "to"},
            "y": _up(unit, "low", whole=True), "y2": {"field": "high"}, "color": _INK, "description": _TOLD,
        },
    }]  # fmt: skip
    within = [one for one in limits if low <= one.at_s <= high]
    ticks = [{"at": one.at_s, "told": one.label} for one in within if not one.text]
    height = 140 if width == WIDE else 124
    if ticks:
        layers.append({
            "data": _values(ticks), "mark": {"type": "rule", "color": ink("limit"), "opacity": 0.55},
            "encoding": {"x": {"field": "at", **across}, "y": {"value": -6}, "y2": {"value": 0}, "description": _TOLD},
        })  # fmt: skip
    named = []
    free = -1e9
    for one in sorted((one for one in within if one.text), key=lambda one: one.at_s):
        x = math.log(one.at_s / low) / math.log(high / low) * _inner(width)
        room = len(one.text) * LETTER + 8
        left = x + room > _inner(width)
        begin = x - room if left else x
        named.append({"at": one.at_s, "told": one.label, "text": one.text if begin >= free else "",
                      "align": "right" if left else "left", "dx": -5 if left else 5})  # fmt: skip
        if begin >= free:
            free = begin + room
    for align in ("left", "right"):
        mine = [row for row in named if row["align"] == align]
        if not mine:
            continue
        layers.append({
            "data": _values(mine),
            "layer": [
                {"mark": {"type": "rule", "color": ink("limit"), "strokeWidth": 1.5},
                 "encoding": {"x": {"field": "at", **across}, "y": {"value": -12}, "y2": {"value": height},
                              "description": _TOLD}},
                {"mark": {"type": "text", "align": align, "baseline": "top", "dx": mine[0]["dx"],
                          "color": ink("limit"), "fontWeight": "bold", "aria": False},
                 "encoding": {"x": {"field": "at", **across}, "y": {"value": -12}, "text": {"field": "text"}}},
            ],
        })  # fmt: skip
    return _chart({"width": _inner(width), "height": height, "layer": layers})


# ----- rates and shares


@dataclass(frozen=True, slots=True)
class Rate:
    """One column of a chart of rates."""

    name: str
    value: float | None
    "None: no rate."
    low: float | None
    high: float | None
    requests: int
    "What it was counted of; drawn below."
    label: str


def rates(width: int, rows: Sequence[Rate], unit: str, under: str, kind: str = "mine") -> Spec:
    """Rates beside each other with where they may well lie, and below what they were counted of."""
    inner = _inner(width)
    names = [row.name for row in rows]
    across = {
        "field": "name",
        "type": "ordinal",
        "sort": names,
        "scale": {"domain": names, "paddingInner": 0.3, "paddingOuter": 0.15},
    }
    labels = {"title": None, "labelAngle": 0, "labelOverlap": "greedy", "ticks": False, "labelSeparation": 4}
    data = [
        {"name": row.name, "value": row.value, "low": row.low, "high": row.high, "requests": row.requests,
         "told": row.label, "ink": ink(kind)}
        for row in rows
    ]  # fmt: skip
    top = max([row.high or row.value or 0 for row in rows], default=0) or 1
    up = _up(unit, scale={"domain": [0, top], "nice": 4})
    spans = [row for row in data if row["low"] is not None and row["high"] is not None]
    dark = {"color": ink("whisker"), "opacity": 0.75, "aria": False}
    whisker, cap = (
        {"type": "rule", **dark},
        {"type": "tick", "size": 7, "thickness": 1, "orient": "horizontal", **dark},
    )
    named = {**across, "axis": labels}
    first = {
        "width": inner, "height": 110,
        "layer": [
            {"data": _values(row for row in data if row["value"] is not None),
             "mark": {"type": "bar", "cornerRadiusEnd": 2},
             "encoding": {"x": named, "y": up, "color": _INK, "description": _TOLD}},
            {"data": _values(spans), "mark": whisker,
             "encoding": {"x": named, "y": {**up, "field": "low"}, "y2": {"field": "high"}}},
            *({"data": _values(spans), "mark": cap, "encoding": {"x": named, "y": {**up, "field": end}}}
              for end in ("low", "high")),
        ],
    }  # fmt: skip
    second = {
        "width": inner, "height": 26,
        "data": _values(data), "mark": {"type": "bar", "color": ink("answered")},
        "encoding": {"x": {**across, "axis": None}, "y": {**_down(under), "field": "requests"}, "description": _TOLD},
    }  # fmt: skip
    return _chart(
        {
            "vconcat": [first, second],
            "spacing": 36,
            "bounds": "flush",
            "resolve": {"scale": {"y": "independent"}},
        }
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list of values."""

    name: str
    value: float | None
    "None: no rate; the words say why."
    low: float | None
    high: float | None
    words: str
    "On the right."
    short: str = ""
    "The same for a narrow page; empty: they are short."
    kind: str = "mine"


def listed(width: int, rows: Sequence[Row], unit: str, most: float | None = None) -> Spec:
    """Values with where they may well lie, one below the other, each under its name: to be compared."""
    line, bar, inner = 40, 12, width - 2 * RIGHT
    names, spans, values = [], [], []
    for place, row in enumerate(rows):
        y = line * place + 24
        words = row.short or row.words if width == NARROW else row.words
        room = inner - len(words) * LETTER - 12
        names.append({"y": y - 9, "text": fitted(row.name, room), "words": words, "told": row.name})
        told = f"{row.name}: {row.words}"
        if row.value is not None:
            values.append(
                {"y": y, "y2": y + bar, "zero": 0, "value": row.value, "ink": ink(row.kind), "told": told}
            )
        if row.low is not None and row.high is not None:
            spans.append({"y": y + bar / 2, "low": row.low, "high": row.high})
    height = line * len(rows) + 2
    end = most or max([max(row.value or 0, row.high or 0) for row in rows], default=0) or 1.0
    down: Spec = {"type": "quantitative", "axis": None, "scale": {"domain": [height, 0], "nice": False}}
    across = {
        "type": "quantitative",
        "scale": {"domain": [0, end], "nice": most is None},
        "axis": {"title": unit, "tickCount": 6 if width == WIDE else 4, "domain": False, "ticks": False,
                 "labelFlush": True, "titleAnchor": "start", "titleAlign": "left", "format": ",~f", "orient": "bottom"},
    }  # fmt: skip
    whisker = {"color": ink("whisker"), "opacity": 0.8, "aria": False}
    layers: list[Spec] = [
        {"data": _values(values), "mark": {"type": "rect", "cornerRadiusTopRight": 2, "cornerRadiusBottomRight": 2},
         "encoding": {"x": {"field": "zero", **across}, "x2": {"field": "value"}, "y": {"field": "y", **down},
                      "y2": {"field": "y2"}, "color": _INK, "description": _TOLD}},
        {"data": _values(spans), "mark": {"type": "rule", "strokeWidth": 1.4, **whisker},
         "encoding": {"x": {"field": "low", **across}, "x2": {"field": "high"}, "y": {"field": "y", **down}}},
        *({"data": _values(spans), "mark": {"type": "tick", "orient": "vertical", "size": 8, "thickness": 1.4, **whisker},
           "encoding": {"x": {"field": end_, **across}, "y": {"field": "y", **down}}} for end_ in ("low", "high")),
        {"data": _values(names), "mark": {"type": "text", "align": "left", "baseline": "middle"},
         "encoding": {"x": {"value": 0}, "y": {"field": "y", **down}, "text": {"field": "text"}, "description": _TOLD}},
        {"data": _values(names),
         "mark": {"type": "text", "align": "right", "baseline": "middle", "color": ink("soft"), "aria": False},
         "encoding": {"x": {"value": inner}, "y": {"field": "y", **down}, "text": {"field": "words"}}},
    ]  # fmt: skip
    return _chart({"width": inner, "height": height, "layer": layers})


# ----- counts side by side


@dataclass(frozen=True, slots=True)
class Pile:
    """One column, made of parts that stand on each other."""

    name: str
    parts: tuple[tuple[str, float], ...]
    "Kind and how much, from the bottom up."
    label: str
    above: str = ""
    short: str = ""
    "The name on a narrow page; empty: it is short."


def piles(
    width: int, rows: Sequence[Pile], unit: str, below: str = "", *, side_by_side: bool = False
) -> Spec:
    """Columns of parts, on each other or side by side."""
    named = {row.name: row.short or row.name if width == NARROW else row.name for row in rows}
    names = list(named.values())
    across: Spec = {
        "field": "name", "type": "ordinal", "sort": names,
        "scale": {"domain": names, "paddingInner": max(0.28, 1 - 90 * len(names) / _inner(width)), "paddingOuter": 0.15},
        "axis": {"title": below or None, "labelAngle": 0, "labelOverlap": "greedy", "ticks": False, "labelSeparation": 3},
    }  # fmt: skip
    data = [
        {
            "name": named[row.name],
            "value": much,
            "kind": kind,
            "order": order,
            "ink": ink(kind),
            "told": row.label,
        }
        for row in rows
        for order, (kind, much) in enumerate(row.parts)
    ]
    whole = all(float(much).is_integer() for row in rows for _, much in row.parts)
    encoding: Spec = {"x": across, "color": _INK, "description": _TOLD}
    if side_by_side:
        kinds = list(dict.fromkeys(row["kind"] for row in data))
        encoding |= {
            "y": _up(unit, stack=None),
            "xOffset": {"field": "kind", "type": "nominal", "sort": kinds},
        }
    else:
        encoding |= {
            "y": _up(unit, stack="zero", whole=whole),
            "detail": {"field": "kind"},
            "order": {"field": "order", "type": "quantitative"},
        }
    layers: list[Spec] = [
        {"data": _values(row for row in data if row["value"]), "mark": "bar", "encoding": encoding}
    ]
    tops = [
        {"name": named[row.name], "text": row.above, "value": sum(much for _, much in row.parts)}
        for row in rows
        if row.above
    ]
    if tops:
        layers.append({
            "data": _values(tops),
            "mark": {"type": "text", "baseline": "bottom", "dy": -3, "color": ink("soft"), "aria": False},
            "encoding": {"x": across, "y": _up(unit, whole=whole), "text": {"field": "text"}},
        })  # fmt: skip
    return _chart({"width": _inner(width), "height": 140, "layer": layers})


@dataclass(frozen=True, slots=True)
class Pair:
    """A mark by two values."""

    x: float
    y: float
    kind: str
    label: str


def scatter(width: int, points: Sequence[Pair], across: str, unit: str) -> Spec:
    """Two sizes of the same things against each other; on the line they are equal."""
    end = max([max(one.x, one.y) for one in points], default=1.0)
    scale = {"domain": [0, end], "nice": 4}
    below = {"title": across, "tickCount": 5 if width == WIDE else 3, "labelExpr": _THOUSANDS, "domain": False,
             "ticks": False, "titleAnchor": "start", "titleAlign": "left", "labelFlush": True}  # fmt: skip
    up = _up(unit, "y", scale=scale)
    up["axis"]["labelExpr"] = _THOUSANDS
    x = {"field": "x", "type": "quantitative", "scale": scale, "axis": below}
    return _chart({
        "width": _inner(width), "height": 190,
        "layer": [
            {"data": _values([{"x": 0, "y": 0}, {"x": end, "y": end}]),
             "mark": {"type": "line", "color": ink("soft"), "strokeWidth": 1, "strokeDash": [4, 4], "aria": False},
             "encoding": {"x": x, "y": up}},
            {"data": _values({"x": one.x, "y": one.y, "ink": ink(one.kind), "told": one.label} for one in points),
             "mark": {"type": "circle", "size": 34, "opacity": 0.75},
             "encoding": {"x": x, "y": up, "color": _INK, "description": _TOLD}},
        ],
    })  # fmt: skip


def fitted(text: str, room: float) -> str:
    """The text, cut in its middle where it is longer than so many units."""
    most = int(room / LETTER)
    if len(text) <= most:
        return text
    half = max((most - 1) // 2, 1)
    return f"{text[:half]}…{text[-half:]}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, what it says, and the numbers behind it."""

    title: str
    says: str
    "What it shows, in a sentence or three; also for whoever cannot see it."
    draws: Callable[[int], Spec]
    "Width -> the specification for it."
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    "The table behind it, as text."
    key: tuple[tuple[str, str], ...] = ()
    "Kind of shape -> what it stands for."
