"""Charts of how many, how long and how large: Vega-Lite specifications of durations, rates, lists, piles and sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from holdfast.report.plots import (
    INK,
    LETTER,
    NARROW,
    PILED,
    RIGHT,
    THOUSANDS,
    TOLD,
    WIDE,
    Spec,
    chart,
    down_strip,
    fitted,
    given,
    ink,
    inner_width,
    span,
    values_axis,
)

_CLOCK_S = (0.1, 1, 10, 60, 300, 3600, 21_600, 86_400, 604_800)
_FINE_S = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30),
    *(60, 120, 300, 600, 1200, 1800),
    *(3600, 7200, 21_600, 86_400, 604_800),
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
        "data": given(rows), "transform": PILED, "mark": "rect",
        "encoding": {
            "x": {"field": "from", **across}, "x2": {"field": "to"},
            "y": values_axis(unit, "low", whole=True), "y2": {"field": "high"}, "color": INK, "description": TOLD,
        },
    }]  # fmt: skip
    within = [one for one in limits if low <= one.at_s <= high]
    ticks = [{"at": one.at_s, "told": one.label} for one in within if not one.text]
    height = 140 if width == WIDE else 124
    if ticks:
        layers.append({
            "data": given(ticks), "mark": {"type": "rule", "color": ink("limit"), "opacity": 0.55},
            "encoding": {"x": {"field": "at", **across}, "y": {"value": -6}, "y2": {"value": 0}, "description": TOLD},
        })  # fmt: skip
    named = []
    above = -20 if ticks else -12  # the words of a limit stand above the ticks of the others
    free = -1e9
    for one in sorted((one for one in within if one.text), key=lambda one: one.at_s):
        x = math.log(one.at_s / low) / math.log(high / low) * inner_width(width)
        room = len(one.text) * LETTER + 8
        left = x + room > inner_width(width)
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
            "data": given(mine),
            "layer": [
                {"mark": {"type": "rule", "color": ink("limit"), "strokeWidth": 1.5},
                 "encoding": {"x": {"field": "at", **across}, "y": {"value": above}, "y2": {"value": height},
                              "description": TOLD}},
                {"mark": {"type": "text", "align": align, "baseline": "top", "dx": mine[0]["dx"],
                          "color": ink("limit"), "fontWeight": "bold", "aria": False},
                 "encoding": {"x": {"field": "at", **across}, "y": {"value": above}, "text": {"field": "text"}}},
            ],
        })  # fmt: skip
    return chart({"width": inner_width(width), "height": height, "layer": layers})


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
    short: str = ""
    "The name on a narrow page; empty: it is short."


def rates(width: int, rows: Sequence[Rate], unit: str, under: str, kind: str = "mine") -> Spec:
    """Rates beside each other with where they may well lie, and below what they were counted of."""
    inner = inner_width(width)
    named_so = {row.name: row.short or row.name if width == NARROW else row.name for row in rows}
    names = list(named_so.values())
    across = {
        "field": "name",
        "type": "ordinal",
        "sort": names,
        "scale": {"domain": names, "paddingInner": 0.3, "paddingOuter": 0.15},
    }
    labels = {"title": None, "labelAngle": 0, "labelOverlap": "greedy", "ticks": False, "labelSeparation": 4}
    data = [
        {"name": named_so[row.name], "value": row.value, "low": row.low, "high": row.high, "requests": row.requests,
         "told": row.label, "ink": ink(kind)}
        for row in rows
    ]  # fmt: skip
    top = max([row.high or row.value or 0 for row in rows], default=0) or 1
    up = values_axis(unit, scale={"domain": [0, top], "nice": 4})
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
            {"data": given(row for row in data if row["value"] is not None),
             "mark": {"type": "bar", "cornerRadiusEnd": 2},
             "encoding": {"x": named, "y": up, "color": INK, "description": TOLD}},
            {"data": given(spans), "mark": whisker,
             "encoding": {"x": named, "y": {**up, "field": "low"}, "y2": {"field": "high"}}},
            *({"data": given(spans), "mark": cap, "encoding": {"x": named, "y": {**up, "field": end}}}
              for end in ("low", "high")),
        ],
    }  # fmt: skip
    second = {
        "width": inner, "height": 26,
        "data": given(data), "mark": {"type": "bar", "color": ink("answered")},
        "encoding": {"x": {**across, "axis": None}, "y": {**down_strip(under), "field": "requests"}, "description": TOLD},
    }  # fmt: skip
    return chart(
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
        {"data": given(values), "mark": {"type": "rect", "cornerRadiusTopRight": 2, "cornerRadiusBottomRight": 2},
         "encoding": {"x": {"field": "zero", **across}, "x2": {"field": "value"}, "y": {"field": "y", **down},
                      "y2": {"field": "y2"}, "color": INK, "description": TOLD}},
        {"data": given(spans), "mark": {"type": "rule", "strokeWidth": 1.4, **whisker},
         "encoding": {"x": {"field": "low", **across}, "x2": {"field": "high"}, "y": {"field": "y", **down}}},
        *({"data": given(spans), "mark": {"type": "tick", "orient": "vertical", "size": 8, "thickness": 1.4, **whisker},
           "encoding": {"x": {"field": end_, **across}, "y": {"field": "y", **down}}} for end_ in ("low", "high")),
        {"data": given(names), "mark": {"type": "text", "align": "left", "baseline": "middle"},
         "encoding": {"x": {"value": 0}, "y": {"field": "y", **down}, "text": {"field": "text"}, "description": TOLD}},
        {"data": given(names),
         "mark": {"type": "text", "align": "right", "baseline": "middle", "color": ink("soft"), "aria": False},
         "encoding": {"x": {"value": inner}, "y": {"field": "y", **down}, "text": {"field": "words"}}},
    ]  # fmt: skip
    return chart({"width": inner, "height": height, "layer": layers})


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
        "scale": {"domain": names, "paddingInner": max(0.28, 1 - 90 * len(names) / inner_width(width)),
                  "paddingOuter": 0.15},
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
    encoding: Spec = {"x": across, "color": INK, "description": TOLD}
    if side_by_side:
        kinds = list(dict.fromkeys(row["kind"] for row in data))
        encoding |= {
            "y": values_axis(unit, stack=None),
            "xOffset": {"field": "kind", "type": "nominal", "sort": kinds},
        }
    else:
        encoding |= {
            "y": values_axis(unit, stack="zero", whole=whole),
            "detail": {"field": "kind"},
            "order": {"field": "order", "type": "quantitative"},
        }
    layers: list[Spec] = [
        {"data": given(row for row in data if row["value"]), "mark": "bar", "encoding": encoding}
    ]
    tops = [
        {"name": named[row.name], "text": row.above, "value": sum(much for _, much in row.parts)}
        for row in rows
        if row.above
    ]
    if tops:
        layers.append({
            "data": given(tops),
            "mark": {"type": "text", "baseline": "bottom", "dy": -3, "color": ink("soft"), "aria": False},
            "encoding": {"x": across, "y": values_axis(unit, whole=whole), "text": {"field": "text"}},
        })  # fmt: skip
    return chart({"width": inner_width(width), "height": 140, "layer": layers})


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
    below = {"title": across, "tickCount": 5 if width == WIDE else 3, "labelExpr": THOUSANDS, "domain": False,
             "ticks": False, "titleAnchor": "start", "titleAlign": "left", "labelFlush": True}  # fmt: skip
    up = values_axis(unit, "y", scale=scale)
    up["axis"]["labelExpr"] = THOUSANDS
    x = {"field": "x", "type": "quantitative", "scale": scale, "axis": below}
    return chart({
        "width": inner_width(width), "height": 190,
        "layer": [
            {"data": given([{"x": 0, "y": 0}, {"x": end, "y": end}]),
             "mark": {"type": "line", "color": ink("soft"), "strokeWidth": 1, "strokeDash": [4, 4], "aria": False},
             "encoding": {"x": x, "y": up}},
            {"data": given({"x": one.x, "y": one.y, "ink": ink(one.kind), "told": one.label} for one in points),
             "mark": {"type": "circle", "size": 34, "opacity": 0.75},
             "encoding": {"x": x, "y": up, "color": INK, "description": TOLD}},
        ],
    })  # fmt: skip
