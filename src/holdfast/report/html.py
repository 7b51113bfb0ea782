"""An incident as one HTML file: light and dark, for a phone and for paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.flight.flights import duration
from holdfast.flight.redact import clean
from holdfast.report.incident import Incident
from holdfast.report.sheet import sheet
from holdfast.report.timeline import Lane, Mark, Picture, Span

WIDE, NARROW = 960, 350
"Widths of the two drawings, in the units of their view boxes: text keeps its size on a phone."


def page(incident: Incident, *, public: bool) -> str:
    """The whole file. `public` says only what the note on it says; the incident is de-identified elsewhere."""
    return sheet(
        "incident",
        incident=incident,
        public=public,
        drawings=(drawing(incident.picture, WIDE), drawing(incident.picture, NARROW)),
        used={span.kind for lane in incident.picture.lanes for span in lane.spans},
    )


# ----- the picture


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with its words, if they fit."""

    x: float
    y: float
    width: float
    kind: str
    label: str
    words: str
    "The label as far as it fits; may be empty."


@dataclass(frozen=True, slots=True)
class Line:
    """A vertical line with its words below."""

    x: float
    y: float
    kind: str
    label: str
    words: str
    words_x: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Row:
    """A lane with its name above."""

    name: str
    y: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """One picture, ready to be drawn."""

    width: int
    height: float
    rows: tuple[Row, ...]
    ticks: tuple[tuple[float, str, str], ...]
    left_out: int


NAME_H, BAR_H, NOTE_H, GAP_H, AXIS_H = 16, 26, 16, 8, 24
LETTER = 6.6
"Width of a letter at 12 units, a generous mean."
EDGE = 4
THIN = 1.5
"No span is drawn narrower: it was there."


def drawing(picture: Picture, width: int) -> Drawing:
    """Lay the lanes out from top to bottom, time from left to right."""
    y: float = 2
    rows = []
    for lane in picture.lanes:
        rows.append(_row(lane, y, picture.total_s, width))
        y += (
            NAME_H
            + BAR_H
            + (NOTE_H if rows[-1].lines and any(one.words for one in rows[-1].lines) else 0)
            + GAP_H
        )
    return Drawing(width, y + AXIS_H, tuple(rows), tuple(_ticks(picture.total_s, width)), picture.left_out)


_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600)
"Seconds between two marks of the axis, as clocks are read."


def _ticks(total_s: float, width: int) -> Iterator[tuple[float, str, str]]:
    """The axis: its beginning, round times, and its end."""
    most = 7 if width == WIDE else 3
    step: float = next((one for one in _STEPS if total_s >= 1 and total_s / one <= most), 0)
    step = step or total_s / most
    yield _x(0, total_s, width), "0", "start"
    last = _x(total_s, total_s, width)
    room = 52
    for number in range(1, most + 1):
        seconds = number * step
        x = _x(seconds, total_s, width)
        if seconds < total_s and last - x > room and x > room:
            yield x, duration(seconds) if seconds < 10 else _whole(seconds), "middle"
    yield last, duration(total_s), "end"


def _whole(seconds: float) -> str:
    """`90 s`, `10 m`: a round time on the axis."""
    return f"{seconds:g} s" if seconds < 600 else f"{seconds / 60:g} min"


def _x(seconds: float, total_s: float, width: int) -> float:
    share = min(max(seconds / total_s, 0.0), 1.0)
    return round(EDGE + share * (width - 2 * EDGE), 1)


def _row(lane: Lane, y: float, total_s: float, width: int) -> Row:
    bar = y + NAME_H
    boxes = tuple(
        _box(span, bar, total_s, width) for span in sorted(lane.spans, key=lambda one: one.kind == "silent")
    )
    lines = tuple(_line(mark, bar, total_s, width) for mark in lane.marks)
    return Row(clean(lane.name), y + NAME_H - 5, boxes, lines)


def _box(span: Span, y: float, total_s: float, width: int) -> Box:
    left, right = _x(span.from_s, total_s, width), _x(span.to_s, total_s, width)
    wide = max(right - left, THIN)
    label = clean(span.label, limit=80)
    return Box(
        left, y, round(wide, 1), span.kind, f"{label}, {duration(span.to_s - span.from_s)}", _fit(label, wide)
    )


def _fit(label: str, wide: float) -> str:
    room = int((wide - 8) / LETTER)
    if len(label) <= room:
        return label
    return label[: room - 1] + "…" if room >= 6 else ""


def _line(mark: Mark, y: float, total_s: float, width: int) -> Line:
    x = _x(mark.at_s, total_s, width)
    label = clean(mark.label, limit=80)
    words = f"{label}, {duration(mark.at_s)}" if mark.kind in ("break", "end") else ""
    needs = len(words) * LETTER
    anchor = "end" if x + needs > width - EDGE else "start"
    if anchor == "end" and x - needs < EDGE:
        return Line(x, y, mark.kind, label, words, EDGE, "start")
    return Line(x, y, mark.kind, label, words, x, anchor)
