"""Reports of others that look alike: from a list in the program (`lookalikes.toml`), by cause alone. Nothing is fetched."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from holdfast.diagnosis.examine import Finding

LIST = Path(__file__).with_name("lookalikes.toml")
TITLE = "Reports of others that look alike"
HOW_ALIKE = "From a list of 2026, matched by cause alone; whether they are the same is open."


@dataclass(frozen=True, slots=True)
class Lookalike:
    """A report on a public tracker."""

    tracker: str
    "Its repository on GitHub: `anthropics/claude-code`."
    number: int
    title: str
    "In our own words, as the signature."
    signature: str
    found_as: tuple[str, ...]
    "Findings of which it may be a case."

    @property
    def reference(self) -> str:
        """As GitHub writes it: `anthropics/claude-code#89608`."""
        return f"{self.tracker}#{self.number}"

    @property
    def url(self) -> str:
        return f"https://github.com/{self.tracker}/issues/{self.number}"


@cache
def lookalikes() -> tuple[Lookalike, ...]:
    """The whole list."""
    told = tomllib.loads(LIST.read_text(encoding="utf-8"))
    return tuple(
        Lookalike(told["tracker"], one["number"], one["title"], one["signature"], tuple(one["found_as"]))
        for one in told["lookalike"]
    )


def alike(findings: Iterable[Finding]) -> list[Lookalike]:
    """Those that may be cases of these findings, or of what these may be as well."""
    found = {name for one in findings for name in (one.hypothesis, *one.rivals)}
    return [one for one in lookalikes() if found.intersection(one.found_as)]
