"""The cells as values, which of them there are, and what is expected of each with the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.clients.install import CLAUDE_VERSIONS
from tests.clients.sdk import SDKS

CLIENTS: Final = (*CLAUDE_VERSIONS, *SDKS)

PLACES: Final = {
    "headers": "before any event of the answer",
    "start": "after `message_start`",
    "thinking": "in the first thinking",
    "text": "in the first text",
    "tool": "in a tool call that is the first block",
    "tool after thinking": "in a tool call behind a completed thinking",
    "tool after text": "in a tool call behind a completed text",
    "second tool": "in a tool call behind a completed one",
    "after a tool": "behind a completed tool call, nothing open",
}
BREAKS: Final = {
    "rst": "connection reset",
    "fin": "connection closed",
    "cut": "body ends properly, too early",
    "error": "error event in the stream",
    "500": "status 500",
    "529": "status 529",
}
STATUSES: Final = ("500", "529")
"Ways to break that are an answer of their own: there is one place for them."
TIMES: Final = (1, 3)
ALWAYS: Final = 10**6
"However often it is asked."
STORM_RETRIES: Final = 4
"Claude Code's own retries in a storm, for which it would take three minutes by itself (10 of them)."


@dataclass(frozen=True, slots=True)
class Cell:
    """One client, one way to break, one place, so many times in a row."""

    client: str
    how: str
    place: str
    times: int = 1
    terminal: bool = False
    "Claude Code interactive in a pseudo-terminal, not in print mode."
    options: tuple[str, ...] = ()
    "What the gateway is told besides."

    @property
    def key(self) -> str:
        """Names it in the results and on the command line."""
        times = "always" if self.times == ALWAYS else str(self.times)
        parts = [self.client, self.how, self.place, times]
        parts += ["terminal"] if self.terminal else []
        return "/".join([*parts, *self.options])

    @property
    def storm(self) -> bool:
        """Whether it never gets better."""
        return self.times == ALWAYS

    @property
    def calls(self) -> int:
        """How many tool calls the whole task takes. Where each break comes after a completed call, each has its own."""
        breaks = 1 if self.storm else self.times
        return breaks + (self.place == "second tool") if self.place in ("second tool", "after a tool") else 1

    @property
    def least_generations(self) -> int:
        """The fewest with which the task can be finished: one per break, and what the unbroken task takes.

        A break behind the last call costs none of its own, because the answer was whole but for its end.
        """
        if self.how in STATUSES:
            return 2
        return 2 + self.times - (self.place == "after a tool")


def plain() -> Iterator[Cell]:
    """Every client, break and place, in the order of the page's rows."""
    for place in PLACES:
        for how in BREAKS:
            if how not in STATUSES or place == "headers":
                for times in TIMES:
                    yield from (Cell(client, how, place, times) for client in CLIENTS)


def storms() -> Iterator[Cell]:
    """Breaks without an end: what counts here is how often upstream is asked."""
    for how, place in (
        ("529", "headers"),
        ("500", "headers"),
        ("error", "start"),
        ("rst", "headers"),
        ("rst", "tool"),
    ):
        yield from (Cell(client, how, place, ALWAYS) for client in CLIENTS)


def terminals() -> Iterator[Cell]:
    """The most telling ones with a person in front."""
    for how, place in (
        ("rst", "text"),
        ("rst", "tool after text"),
        ("cut", "tool after text"),
        ("error", "tool after text"),
        ("rst", "tool after thinking"),
        ("rst", "second tool"),
        ("rst", "after a tool"),
    ):
        yield from (Cell(version, how, place, terminal=True) for version in CLAUDE_VERSIONS)


def variants() -> Iterator[Cell]:
    """Other settings."""
    for client in CLIENTS:
        for place in ("tool", "tool after text", "second tool"):
            yield Cell(client, "rst", place, options=("--hold", "tool_use"))
        yield Cell(client, "rst", "tool", 3, options=("--hold", "tool_use"))
    for language in SDKS:
        for how in ("rst", "cut", "error"):
            yield Cell(language, how, "text", options=("--splice",))
        yield Cell(language, "rst", "text", 3, options=("--splice",))
        yield Cell(language, "rst", "thinking", options=("--hold", "tool_use,thinking"))
    for client in CLIENTS:
        yield Cell(client, "rst", "after a tool", options=("--no-shorten",))
        yield Cell(client, "rst", "tool after text", options=("--no-shorten",))
        yield Cell(client, "rst", "headers", options=("--retries", "0"))
        yield Cell(client, "rst", "tool", options=("--retries", "0"))


def all_cells() -> list[Cell]:
    """All of them, the telling ones first."""
    return [*plain(), *terminals(), *variants(), *storms()]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a cell comes to with the gateway."""

    verdict: str = "done"
    why: str = ""
    "Why it is not finished, or takes more than the fewest generations; empty where neither is so."
    more: int = 0
    "Generations beyond the fewest."


DONE_AT_LEAST: Final = Expected()
_OPEN: Final = ("thinking", "text", "tool", "tool after thinking", "tool after text", "second tool")
"Places with an open block."
OPEN_AT_SDK: Final = (
    "An SDK glues two messages, and hands half a tool call to its program: with an open block told, "
    "an error is the only honest end. It is raised, and the program asks again."
)
TWO_RETRIES: Final = (
    "The SDKs retry a status twice by themselves, and the gateway leaves statuses to the client."
)
"A status before headers is passed on as it came."


def expected(cell: Cell) -> Expected:
    """What the gateway is to make of a cell."""
    if cell.storm:
        return Expected("fails", "It never gets better.")
    if cell.options:
        return _expected_with(cell)
    if cell.client in SDKS:
        if cell.place in _OPEN:
            return Expected("fails", OPEN_AT_SDK)
        if cell.how in STATUSES and cell.times > 2:
            return Expected("fails", TWO_RETRIES)
    return DONE_AT_LEAST


def _expected_with(cell: Cell) -> Expected:
    return DONE_AT_LEAST
