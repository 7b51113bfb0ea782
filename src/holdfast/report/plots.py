"""Charts as Vega-Lite specifications: values in, a specification out. `drawing` has it drawn.

A specification says what stands for what; where every bar, mark and word goes is Vega's work. What is ours is the
look, and that there is only one: colours are names of the page's style sheet (`var(--c1)`), so a chart follows
the reader's dark or light and the printer's paper without being drawn again. Every chart is drawn twice, for a
wide and for a narrow page, because a picture that shrinks takes its letters with it.

Here is what all charts share; the charts themselves are in `plots_time` and `plots_counts`.

Texts in the values may come from anywhere; they stay values. No text becomes a part of an expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
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


def chart(view: Spec) -> Spec:
    """A view, or several below each other, as a whole specification."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "config": CONFIG,
        "autosize": "pad",
        **view,
    }


def given(rows: Iterable[Spec]) -> Spec:
    """The rows that a layer draws."""
    return {"values": list(rows)}


def inner_width(width: int) -> int:
    """Of the field in which values are drawn."""
    return width - LEFT - RIGHT


PILED = [{"stack": "value", "groupby": ["from"], "sort": [{"field": "order"}], "as": ["low", "high"]}]
"Parts of one column stand on each other, in their order."
INK: Spec = {"field": "ink", "type": "nominal", "scale": None, "legend": None}
"A shape's colour is what its row names; the key stands below the picture, where words can wrap."
TOLD: Spec = {"field": "told", "type": "nominal"}
"What a shape says when pointed at."


def values_axis(unit: str, field: str = "value", **more: Any) -> Spec:
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
        axis["labelExpr"] = WHOLE
    return {"field": field, "type": "quantitative", "axis": axis, **more}


WHOLE = "datum.value % 1 ? '' : format(datum.value, ',d')"
"Up to two or three are marked in halves, too: Vega takes `tickMinStep` for a number of ticks."
THOUSANDS = "datum.value >= 1000 ? datum.value / 1000 + 'k' : datum.value"


def down_strip(title: str, count: int = 2) -> Spec:
    """The axis of a strip below a chart: what it shows stands above it, and it has little room for marks."""
    told = values_axis(title, scale={"nice": count}, whole=True)
    told["axis"] |= {"tickCount": count, "titleY": -8, "labelExpr": THOUSANDS}
    return told


def days_axis(width: int, first: int, last: int) -> Spec:
    """The axis of days: named ones of a few months; of a longer time the months, as Vega names them."""
    axis: Spec = {"title": None, "grid": False, "labelOverlap": "greedy", "labelFlush": True}
    days, most = (last - first) // DAY_MS + 1, 9 if width == WIDE else 4
    if days > 150:
        return {**axis, "tickCount": 8 if width == WIDE else 4}
    step = -(-days // most)
    return {**axis, "format": "%b %-d", "values": list(range(first, last, step * DAY_MS))}


def span(seconds: float) -> str:
    """`0.1 s`, `10 s`, `17 min`, `2.8 h`: short."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


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
