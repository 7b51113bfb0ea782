"""Writes the tables of docs/endings.md from the data that `holdfast explain` prints (holdfast.flight.ways).

`make docs` calls it; a test compares. What stands above the mark in the page is written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from holdfast.cli.lab import play_line
from holdfast.flight.endings import Side
from holdfast.flight.ways import Way, ways
from holdfast.lab.endings import CATALOGUE

MARK = "<!-- written by make docs from the program itself: do not edit what stands below -->"
_HEADINGS = {
    Side.PROVIDER: "By upstream",
    Side.PATH: "On the path",
    Side.GATEWAY: "By the gateway",
    Side.CLIENT: "By the client",
    Side.MACHINE: "By this machine",
    Side.NOBODY: "Well",
}
_HEAD = """\
| ending | what it means | what the evidence shows, and what it is not | see it | what to do |
| --- | --- | --- | --- | --- |"""


def page(by_hand: str) -> str:
    """The whole page: what was written by hand, down to the mark, and the tables. Raises `ValueError` without a mark."""
    above, mark, _ = by_hand.partition(MARK)
    if not mark:
        raise ValueError(f"the page has no line that says where the tables begin; write there: {MARK}")
    return "\n".join((above + MARK, *_tables()))


def _tables() -> Iterator[str]:
    for side, rows in groupby(ways(), key=lambda way: way.side):
        yield f"\n## {_HEADINGS[side]}\n\n{_HEAD}"
        for way in rows:
            yield f"| `{way.ending}` | {way.means} | {way.shows} | {_seen(way)} | {way.do} |"
    yield ""


def _seen(way: Way) -> str:
    return f"`{play_line(CATALOGUE[way.play])}`" if way.play else "cannot be played"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
