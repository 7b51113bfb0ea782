"""A table's rows as lines of a terminal. Nothing is cut: what has no room goes on in its column, or below its row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

READABLE = 20
"Letters to which a longer text is squeezed at most: with fewer it would be a word a line."
GAP = 2
"Spaces before each column."
BELOW = 4
"More spaces, before what goes on below its row."

_BREAK = re.compile(r"(?<=/)|(?<= )(?!\d\d:\d\d)")
"A cell goes on after a space or a step of a path; a time stays on the line of its date."


def laid(rows: Sequence[Sequence[str]], wide: int | None) -> list[list[str]]:
    """Each row's lines, the head's first, in columns that fit into `wide` letters; None is as wide as they are.

    Numbers stand to the right and names to the left.
    """
    columns = list(zip(*rows, strict=True))
    whole = [max(map(len, column)) for column in columns]
    if wide is None or _room(whole) <= wide:
        return [list(_lines(row, whole, _to_left(columns))) for row in rows]
    # the words of a head go below each other before anything else gives way
    whole = [max(_longest(head), *map(len, cells)) for head, *cells in columns]
    least = [
        max(map(_longest, column), default=0) if width <= READABLE else max(READABLE, *map(_longest, column))
        for column, width in zip(columns, whole, strict=True)
    ]
    found: list[list[str]] = [[] for _ in rows]
    first = 0
    while first < len(columns):
        indent = BELOW if first else 0
        room = wide - indent
        last = first + 1
        while last < len(columns) and _room(least[first : last + 1]) <= room:
            last += 1
        heads = [max(width, len(column[0])) for width, column in zip(whole, columns, strict=True)][first:last]
        fits = _room(heads) <= room
        widths = heads if fits else _squeezed(whole[first:last], least[first:last], room)
        left = _to_left(columns[first:last])
        for row, lines in zip(rows, found, strict=True):
            lines += [f"{'':{indent}}{line}" for line in _lines(row[first:last], widths, left)]
        first = last
    return found


def _room(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * len(widths)


def _squeezed(whole: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths that fit: the widest column that still can gives way. One that cannot is broken in mid-word."""
    widths = list(whole)
    while _room(widths) > room:
        able = [place for place, width in enumerate(widths) if width > least[place]]
        if not able:
            return [min(width, room - GAP) for width in widths]
        widths[max(able, key=lambda place: widths[place])] -= 1
    return widths


def _to_left(columns: Sequence[Sequence[str]]) -> list[bool]:
    return [any(not is_number(cell) for cell in cells) for _, *cells in columns]


def _lines(row: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> Iterator[str]:
    cells = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    for place in range(max(map(len, cells))):
        line = ""
        for cell, width, to_left in zip(cells, widths, left, strict=True):
            part = cell[place] if place < len(cell) else ""
            line += " " * GAP + (part.ljust(width) if to_left else part.rjust(width))
        yield line.rstrip()


def _wrapped(cell: str, width: int) -> list[str]:
    lines = [""]
    for piece in _BREAK.split(cell):
        if lines[-1] and len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines]


def _longest(cell: str) -> int:
    return max(len(piece.rstrip()) for piece in _BREAK.split(cell))


def is_number(cell: str) -> bool:
    """Whether a table's cell holds a number, a share or a rate with its interval, or that there is none."""
    return cell in ("", "-", "not known") or not cell.strip("0123456789.,%() -")
