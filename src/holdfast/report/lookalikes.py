"""Reports of others that look alike: from a list in the program (`lookalikes.toml`), by cause alone. Nothing is fetched."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from holdfast.diagnosis.case import Case
from holdfast.diagnosis.diagnosis import Diagnosis

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
    beyond_tokens: int
    "It tells of prompts beyond so many tokens alone; 0 where it does not say."

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
        Lookalike(
            told["tracker"],
            one["number"],
            one["title"],
            one["signature"],
            tuple(one["found_as"]),
            one.get("beyond_tokens", 0),
        )
        for one in told["lookalike"]
    )


def alike(diagnosis: Diagnosis) -> list[Lookalike]:
    """Those that may be cases of its findings, or of what these may be as well, and whose prompts are on record here."""
    found = {name for one in diagnosis.findings for name in (one.hypothesis, *one.rivals)}
    largest = largest_prompt(diagnosis.case)
    return [
        one
        for one in lookalikes()
        if found.intersection(one.found_as) and (not one.beyond_tokens or largest > one.beyond_tokens)
    ]


def largest_prompt(case: Case) -> int:
    """Tokens of the largest prompt on record, answered or failed; 0 where none is known."""
    failed = (one.context_tokens or 0 for one in case.failures)
    return max(max(failed, default=0), max((one.context_tokens for one in case.answers), default=0))
