"""The ways to end: what each means, how it shows, and what to do about it; data, one row each (endings.toml).

`holdfast explain` prints a row under an ending's code, and `make docs` writes all of them into docs/endings.md.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from holdfast.flight.endings import Mechanism, Side


@dataclass(frozen=True, slots=True)
class Way:
    """One side and mechanism. The texts are Markdown whose links lead from docs/."""

    side: Side
    mechanism: Mechanism
    means: str
    shows: str
    "What its evidence looks like, and what it is easily taken for."
    do: str
    play: str
    "The scenario of the lab that shows it; empty where it cannot be played."

    @property
    def ending(self) -> str:
        """`P.fin+rst`: an ending's code without its phase."""
        return f"{self.side.value}.{self.mechanism.value}"


@cache
def ways() -> tuple[Way, ...]:
    """All of them, by side, in the order of the data."""
    rows = tomllib.loads(files("holdfast.flight").joinpath("endings.toml").read_text(encoding="utf-8"))["way"]
    return tuple(_way(**row) for row in rows)


def _way(ending: str, **rest: str) -> Way:
    side, _, mechanism = ending.partition(".")
    return Way(Side(side), Mechanism(mechanism), **rest)


def way_of(side: Side, mechanism: Mechanism) -> Way | None:
    """The row of an ending; None for one that the gateway never tells."""
    return next((way for way in ways() if (way.side, way.mechanism) == (side, mechanism)), None)


def plainly(markdown: str) -> str:
    """Text of a row for a terminal: without backticks, and links as the page's name in brackets."""
    return re.sub(r"\[([^]]+)\]\(([^)]+)\)", r"\1 (docs/\2)", markdown).replace("`", "")
