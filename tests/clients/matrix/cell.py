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
OPEN_PLACES: Final = ("thinking", "text", "tool", "tool after thinking", "tool after text", "second tool")
"Those with an open block."
BREAKS: Final = {
    "rst": "connection reset",
    "fin": "connection closed",
    "cut": "body ends properly, too early",
    "error": "error event in the stream",
    "500": "status 500",
    "529": "status 529",
    "rst, 529": "connection reset, then status 529",
}
MIXED: Final = "rst, 529"
"The first break is a reset; when upstream is asked again, it refuses."
STATUSES: Final = ("500", "529")
"Ways to break that are an answer of their own: there is one place for them."
TIMES: Final = (1, 3)
ALWAYS: Final = 10**6
"However often it is asked."
QUICK: Final = "250ms"
PATCH_S: Final = 10.0
"A bad patch: a restart behind a load balancer takes so long. Claude Code's own tries span three minutes."
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
    lasts_s: float = 0.0
    "Every answer breaks for so long, and none afterwards; 0 where breaks are counted."

    @property
    def key(self) -> str:
        """Names it in the results and on the command line."""
        times = "always" if self.times == ALWAYS else str(self.times)
        times = f"for {self.lasts_s:g} s" if self.lasts_s else times
        parts = [self.client, self.how, self.place, times]
        parts += ["terminal"] if self.terminal else []
        return "/".join([*parts, *self.options])

    @property
    def gateway_options(self) -> tuple[str, ...]:
        """All that the gateway is told: where breaks are counted and not timed, it need not wait long between tries."""
        return self.options if self.lasts_s else ("--retry-wait", QUICK, *self.options)

    @property
    def storm(self) -> bool:
        """Whether it never gets better."""
        return self.times == ALWAYS and not self.lasts_s

    @property
    def calls(self) -> int:
        """How many tool calls the whole task takes. Where each break comes after a completed call, each has its own."""
        breaks = 1 if self.times == ALWAYS or self.how == MIXED else self.times
        return breaks + (self.place == "second tool") if self.place in ("second tool", "after a tool") else 1

    @property
    def least_generations(self) -> int:
        """The fewest with which the task can be finished: one per break, and what the unbroken task takes.

        A break behind the last call costs none of its own, because the answer was whole but for its end.
        """
        breaks = 0 if self.how in STATUSES else 1 if self.how == MIXED else self.times
        return 2 + breaks - (self.place == "after a tool")


def plain() -> Iterator[Cell]:
    """Every client, break and place, in the order of the page's rows."""
    for place in PLACES:
        for how in BREAKS:
            if how != MIXED and (how not in STATUSES or place == "headers"):
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


def mixed() -> Iterator[Cell]:
    """A broken answer, and upstream refuses twice when it is asked again: here a client may be told no status any more."""
    for place in PLACES:
        yield from (Cell(client, MIXED, place, 3) for client in CLIENTS)


def patches() -> Iterator[Cell]:
    """Every answer breaks for a while: what counts is the patience of client and gateway together."""
    for how, place in (
        ("rst", "headers"),
        ("error", "start"),
        ("rst", "text"),
        ("rst", "tool"),
        ("cut", "tool"),
        ("rst", "tool after thinking"),
        ("rst", "tool after text"),
    ):
        yield from (Cell(client, how, place, ALWAYS, lasts_s=PATCH_S) for client in CLIENTS)


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
        for place in OPEN_PLACES:
            yield Cell(language, "rst", place, options=("--hold", "tool_use,thinking", "--splice"))
    for client in CLIENTS:
        yield Cell(client, "rst", "after a tool", options=("--no-shorten",))
        yield Cell(client, "rst", "tool after text", options=("--no-shorten",))
        yield Cell(client, "rst", "headers", options=("--retries", "0"))
        yield Cell(client, "rst", "tool", options=("--retries", "0"))


def all_cells() -> list[Cell]:
    """All of them, the telling ones first."""
    return [*plain(), *mixed(), *patches(), *terminals(), *variants(), *storms()]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a cell comes to with the gateway."""

    verdict: str = "done"
    why: str = ""
    "Why it is not finished, or takes more than the fewest generations; empty where neither is so."
    more: int = 0
    "Generations beyond the fewest."


DONE_AT_LEAST: Final = Expected()
OPEN_AT_SDK: Final = (
    "An SDK glues two messages into one, and hands half a tool call to its program. "
    "So with a block open, an error is the only honest end, and the program decides whether it asks again; "
    "`--hold` and `--splice` heal many of these, see above."
)
TWO_RETRIES: Final = (
    "A status is passed on as it came, because clients retry it by themselves. "
    "The SDKs do so twice, so that three in a row fail."
)
OPUS_529: Final = (
    "2.1.329 ends the turn by itself at the third 529 in a row when its model is an Opus, its default; "
    "with a Sonnet it asks 11 times."
)
HELD_BEHIND: Final = (
    "`--hold`: the call was not told, but a completed text or thinking before it was. "
    "Another answer would say that again, and an SDK does not ask to resume."
)
DECLINED: Final = (
    "`--no-shorten` lets the client hear an error instead of an early end: 2.1.86 asks for the whole answer again, "
    "2.1.114 goes on only behind a completed tool call, SDKs raise."
)
NO_RETRIES: Final = (
    "`--retries 0`: nothing is asked again, and an SDK is told so; Claude Code asks to resume."
)


def expected(cell: Cell) -> Expected:
    """What the gateway is to make of a cell."""
    if cell.storm:
        return Expected("fails", "It never gets better.")
    if cell.options:
        return _expected_with(cell)
    if cell.client == "2.1.329" and cell.how == "529" and cell.times > 2:
        return Expected("fails", OPUS_529)
    if cell.client in SDKS:
        if cell.place in OPEN_PLACES:
            return Expected("fails", OPEN_AT_SDK)
        if cell.how in STATUSES and cell.times > 2:
            return Expected("fails", TWO_RETRIES)
    return DONE_AT_LEAST


def _expected_with(cell: Cell) -> Expected:
    """The same for cells with other settings."""
    language = cell.client in SDKS
    match cell.options[0], cell.place:
        case "--hold", "tool after thinking" if language:
            return Expected("fails", HELD_BEHIND)
        case "--hold", "tool after text" if language and "--splice" not in cell.options:
            return Expected("fails", HELD_BEHIND)
        case "--no-shorten", "tool after text" if cell.client == "2.1.86":
            return Expected("shown twice", DECLINED)
        case "--no-shorten", "tool after text" if cell.client == "2.1.114":
            return Expected("fails", DECLINED)
        case "--no-shorten", "after a tool" if cell.client == "2.1.86":
            return Expected("done", DECLINED, more=1)
        case "--no-shorten", _ if language:
            return Expected("fails", DECLINED)
        case "--retries", "tool" if language:
            return Expected("fails", NO_RETRIES)
    return DONE_AT_LEAST
