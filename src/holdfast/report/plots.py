"""Plots as shapes: where every bar, dot and word of a chart goes. Values in, values out; the page draws them as SVG.

Why not a plotting library. The page has five kinds of charts, and each must follow the reader's dark or light
colours, be drawn again for a phone with letters of the same size, print, say in words what it shows to whoever
cannot see it, and carry texts from hostile logs past nothing but Jinja's escaping. Matplotlib's SVG has its colours
and sizes fixed at drawing, in style attributes that this page's policy (`default-src 'none'`, one style sheet by its
hash) refuses, and letters made of outlines; others need a script, which is refused as well. So the arithmetic of axes
is here, with tests, and an install needs no graphics stack.

Lengths are the units of the view box, which are pixels at full size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

WIDE, NARROW = 900, 350
LETTER = 6.9
"Width of a letter at 12 units, a generous mean."
LEFT, RIGHT, TOP, BOTTOM = 38, 10, 28, 24
"Around the field in which values are drawn."


@dataclass(frozen=True, slots=True)
class Rect:
    """A bar or a shaded part; `label` is what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Dot:
    """A round mark."""

    x: float
    y: float
    radius: float
    kind: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """A text; `anchor` is SVG's."""

    x: float
    y: float
    text: str
    anchor: str = "middle"
    kind: str = "tick"


@dataclass(slots=True)
class Plot:
    """One drawing."""

    width: float
    height: float
    rects: list[Rect] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    "Those of kind `axis` and `grid` lie below everything else."
    dots: list[Dot] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with what it says: drawn for a wide and for a narrow page."""

    says: str
    "The whole in a sentence; also for whoever cannot see it."
    wide: Plot
    narrow: Plot
    key: tuple[tuple[str, str], ...] = ()
    "Kind of shape -> what it stands for."


def figure(says: str, drawn: Callable[[int], Plot], key: Sequence[tuple[str, str]] = ()) -> Figure:
    """Draw for both widths."""
    return Figure(says, drawn(WIDE), drawn(NARROW), tuple(key))


# ----- scales


def nice(most: float, ticks: int = 4) -> float:
    """The step of an axis from 0 to `most` with about so many marks: 1, 2 or 5 times a power of ten."""
    rough = max(most, 1e-9) / ticks
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)


def number(value: float) -> str:
    """`1,200`, `0.5`."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"


def thinned(labels: Sequence[str], room: float) -> Iterator[tuple[int, str]]:
    """As many of the labels as fit side by side where each has so much room, from the first on."""
    longest = max((len(label) for label in labels), default=0) * LETTER + 10
    step = max(1, math.ceil(longest / max(room, 0.1)))
    for place in range(0, len(labels), step):
        if labels[place]:
            yield place, labels[place]


def _value_axis(plot: Plot, most: float, height: float, unit: str) -> float:
    """Draw the marks of an axis that begins at 0; returns its end."""
    step = nice(most)
    end = max(step, math.ceil(most / step - 1e-9) * step)
    for mark in range(round(end / step) + 1):
        y = round(TOP + height * (1 - mark * step / end), 1)
        plot.rules.append(Rule(LEFT, y, plot.width - RIGHT, y, "axis" if mark == 0 else "grid"))
        plot.words.append(Words(LEFT - 5, y + 4, number(mark * step), "end"))
    plot.words.append(Words(2, 11, unit, "start", "unit"))
    return end


# ----- charts


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, made of parts that stand on each other; with an interval, if it has one."""

    name: str
    "Below it."
    parts: tuple[tuple[str, float], ...]
    "Kind -> how much."
    label: str
    low: float | None = None
    high: float | None = None

    @property
    def total(self) -> float:
        return sum(much for _, much in self.parts)


def bars(width: int, rows: Sequence[Bar], unit: str, marks: Sequence[tuple[float, str]] = ()) -> Plot:
    """Bars beside each other. `marks` are vertical lines, at a bar's place (0 is the first one's left edge)."""
    height = 132 if width == WIDE else 118
    plot = Plot(width, TOP + height + BOTTOM)
    end = _value_axis(plot, max([max(row.total, row.high or 0) for row in rows], default=1), height, unit)
    room = (width - LEFT - RIGHT) / max(len(rows), 1)
    gap = min(room * 0.2, 4)
    thick = min(room - gap, 44)
    for place, row in enumerate(rows):
        x, y = LEFT + place * room + (room - thick) / 2, float(TOP + height)
        for kind, much in row.parts:
            tall = height * much / end
            if tall > 0:
                plot.rects.append(
                    Rect(round(x, 1), round(y - tall, 1), round(thick, 1), round(tall, 1), kind, row.label)
                )
            y -= tall
        if row.low is not None and row.high is not None:
            middle = round(x + thick / 2, 1)
            low, high = (round(TOP + height * (1 - value / end), 1) for value in (row.low, row.high))
            plot.rules += [
                Rule(middle, low, middle, high, "whisker", row.label),
                Rule(middle - 4, low, middle + 4, low, "whisker"),
                Rule(middle - 4, high, middle + 4, high, "whisker"),
            ]
    for place, name in thinned([row.name for row in rows], room):
        half = len(name) * LETTER / 2
        x = min(LEFT + (place + 0.5) * room, width - half)
        plot.words.append(Words(round(x, 1), TOP + height + 16, name))
    for where, told in marks:
        _mark(plot, LEFT + where * room, TOP + height, told)
    return plot


def _mark(plot: Plot, x: float, bottom: float, told: str) -> None:
    x = round(x, 1)
    plot.rules.append(Rule(x, 14, x, bottom, "limit", told))
    at_end = x + 6 + len(told) * LETTER > plot.width
    plot.words.append(Words(x - 5 if at_end else x + 5, 22, told, "end" if at_end else "start", "limit"))


def histogram(
    width: int,
    parts: Sequence[tuple[str, str, Sequence[float]]],
    unit: str,
    marks: Sequence[tuple[float, str]] = (),
) -> Plot:
    """How often which duration came, on an axis in which each step is as many times longer.

    `parts`: kind, name, seconds. The axis holds all of them and the marks; what is under a tenth of a second is
    drawn there.
    """
    least = 0.1
    everything = [max(value, least) for _, _, values in parts for value in values] + [at for at, _ in marks]
    low = math.floor(math.log10(min(everything, default=1.0)) + 1e-9)
    high = max(low + 2, math.ceil(math.log10(max(everything, default=100.0)) + 0.02))
    steps = 12 if width == WIDE else 6
    rows = []
    for place in range((high - low) * steps):
        begin, end = 10 ** (low + place / steps), 10 ** (low + (place + 1) / steps)
        within = [
            (kind, name, sum(begin <= max(value, least) < end for value in values))
            for kind, name, values in parts
        ]
        said = ", ".join(f"{name}: {count}" for _, name, count in within if count)
        rows.append(
            Bar(
                "", tuple((kind, count) for kind, _, count in within), f"{span(begin)} to {span(end)}: {said}"
            )
        )
    plot = bars(width, rows, unit, [((math.log10(at) - low) * steps, told) for at, told in marks])
    field_width = width - LEFT - RIGHT
    for power in range(low, high + 1):
        x = round(LEFT + field_width * (power - low) / (high - low), 1)
        last = power == high
        plot.words.append(Words(x, plot.height - 8, span(10.0**power), "end" if last else "middle"))
        plot.rules.append(Rule(x, plot.height - BOTTOM, x, plot.height - BOTTOM + 4, "axis"))
    return plot


def span(seconds: float) -> str:
    """`0.1 s`, `10 s`, `17 min`, `2.8 h`: short."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a chart of intervals."""

    name: str
    value: float | None
    "None: no rate; the words say why."
    low: float | None
    high: float | None
    words: str
    "On the right."
    kind: str = "mine"


def forest(width: int, rows: Sequence[Row], unit: str, most: float | None = None) -> Plot:
    """Values with their intervals, one below the other, to be compared."""
    line, top = (24, 20) if width == WIDE else (38, 20)
    names = min(width * 0.42, max((len(row.name) for row in rows), default=0) * LETTER + 12)
    told = min(300.0, max((len(row.words) for row in rows), default=0) * LETTER + 14)
    left, right = (names, width - told) if width == WIDE else (6.0, width - 12.0)
    plot = Plot(width, top + line * len(rows) + BOTTOM)
    end = most or max([max(row.value or 0, row.high or 0) for row in rows], default=0) or 1.0
    step = nice(end, 5 if width == WIDE else 3)
    end = end if most else math.ceil(end / step - 1e-9) * step

    def at(value: float) -> float:
        return round(left + (right - left) * min(value / end, 1.0), 1)

    for mark in range(math.floor(end / step + 1e-9) + 1):
        x = at(mark * step)
        plot.rules.append(Rule(x, top, x, top + line * len(rows), "axis" if mark == 0 else "grid"))
        plot.words.append(Words(x, top + line * len(rows) + 15, number(mark * step)))
    plot.words.append(Words(2 if width == NARROW else left, 12, unit, "start", "unit"))
    for place, row in enumerate(rows):
        y = top + line * place + (14 if width == WIDE else 27)
        if width == WIDE:
            plot.words.append(Words(left - 8, y + 4, fitted(row.name, names), "end", "name"))
            plot.words.append(Words(right + 10, y + 4, row.words, "start", "value"))
        else:
            room = width - len(row.words) * LETTER - 18
            plot.words.append(Words(10, y - 10, fitted(row.name, room), "start", "name"))
            plot.words.append(Words(width - 6, y - 10, row.words, "end", "value"))
        if row.low is not None and row.high is not None:
            said = f"{row.name}: {row.words}"
            plot.rules.append(Rule(at(row.low), y, at(row.high), y, "whisker", said))
            plot.rules += [Rule(at(end_), y - 4, at(end_), y + 4, "whisker") for end_ in (row.low, row.high)]
        if row.value is not None:
            plot.dots.append(Dot(at(row.value), y, 4.5, row.kind, f"{row.name}: {row.words}"))
    return plot


def fitted(text: str, room: float) -> str:
    """The text, cut in its middle where it is longer than so many units."""
    most = int(room / LETTER)
    if len(text) <= most:
        return text
    half = max((most - 1) // 2, 1)
    return f"{text[:half]}…{text[-half:]}"


@dataclass(frozen=True, slots=True)
class Point:
    """Something at a local day and an hour."""

    day: int
    hour: float
    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time, as it is shaded: from and to, in days since 1970 of the local clock, with fractions."""

    begun: float
    ended: float
    kind: str
    label: str


def calendar(
    width: int,
    first: int,
    last: int,
    points: Sequence[Point],
    stretches: Sequence[Stretch],
    day_name: Callable[[int], str],
) -> Plot:
    """Days from left to right, the hours of each from top to bottom: what stands in one row or one column shows."""
    height = 190
    plot = Plot(width, TOP + height + BOTTOM)
    days = last - first + 1
    room = (width - LEFT - RIGHT) / days
    for hour in (0, 6, 12, 18, 24):
        y = TOP + height * hour / 24
        plot.rules.append(Rule(LEFT, y, width - RIGHT, y, "grid"))
        plot.words.append(Words(LEFT - 5, y + 4, f"{hour}", "end"))
    plot.words.append(Words(2, 11, "hour", "start", "unit"))
    for stretch in stretches:
        for day in range(max(first, math.floor(stretch.begun)), min(last, math.floor(stretch.ended)) + 1):
            begin, end = max(stretch.begun - day, 0.0), min(stretch.ended - day, 1.0)
            tall = max((end - begin) * height, 2.0)
            plot.rects.append(
                Rect(
                    round(LEFT + (day - first) * room, 1),
                    round(TOP + begin * height, 1),
                    round(room, 1),
                    round(tall, 1),
                    stretch.kind,
                    stretch.label,
                )
            )
    radius = 3.6 if width == WIDE else 2.8
    taken: dict[tuple[int, int], int] = {}
    made = []
    # a cause's own are placed first, in the middle, and drawn last, on top
    for point in sorted(points, key=lambda one: one.kind != "mine"):
        # what came within the same half hour stands side by side, as far as the day's column has room
        slot = (point.day, int(point.hour * 2))
        number = taken[slot] = taken.get(slot, -1) + 1
        aside = (number + 1) // 2 * (2 * radius + 0.5) * (-1 if number % 2 else 1)
        aside = max(min(aside, room / 2 - radius), radius - room / 2) if room > 2 * radius else 0.0
        x = LEFT + (point.day - first + 0.5) * room + aside
        y = TOP + height * point.hour / 24
        made.append(Dot(round(x, 1), round(y, 1), radius, point.kind, point.label))
    plot.dots += reversed(made)
    for place, name in thinned([day_name(day) for day in range(first, last + 1)], room):
        half = len(name) * LETTER / 2
        x = min(max(LEFT + (place + 0.5) * room, half), width - half)
        plot.words.append(Words(round(x, 1), TOP + height + 16, name))
    return plot


def lanes(
    width: int,
    begun: float,
    ended: float,
    rows: Sequence[tuple[str, Sequence[Stretch]]],
    day_name: Callable[[int], str],
) -> Plot:
    """One lane per source, with the times that it covers. Times are local days, with fractions."""
    line = 40
    plot = Plot(width, line * len(rows) + BOTTOM + 4)
    left, right = 4.0, width - 4.0
    whole = max(ended - begun, 1e-6)

    def at(day: float) -> float:
        return left + (right - left) * min(max((day - begun) / whole, 0.0), 1.0)

    for place, (name, stretches) in enumerate(rows):
        y = line * place
        plot.words.append(Words(left, y + 14, fitted(name, width - 8), "start", "name"))
        plot.rects.append(Rect(left, y + 20, right - left, 12, "empty"))
        for one in stretches:
            x = round(at(one.begun), 1)
            plot.rects.append(Rect(x, y + 20, round(max(at(one.ended) - x, 2.0), 1), 12, one.kind, one.label))
    first, last = math.floor(begun), math.floor(ended)
    bottom = line * len(rows)
    names = [day_name(day) for day in range(first, last + 1)]
    for place, name in thinned(names, (right - left) / whole):
        x = at(first + place)
        if x + len(name) * LETTER < width:
            plot.rules.append(Rule(round(x, 1), bottom, round(x, 1), bottom + 4, "axis"))
            plot.words.append(Words(round(x, 1), bottom + 17, name, "start"))
    return plot
