"""Upstream breaks, and real clients finish their turns: the cells of the matrix that CI plays.

All of them, also without the gateway, are played by `make matrix` and shown in docs/breaks-real-clients.md.
"""

from __future__ import annotations

import pytest

from tests.clients.claude import Machine
from tests.clients.install import CLAUDE_VERSIONS
from tests.clients.matrix.cell import ALWAYS, STORM_RETRIES, Cell, expected
from tests.clients.matrix.playing import play, stories
from tests.clients.matrix.results import as_expected
from tests.clients.matrix.verdict import verdict
from tests.clients.sdk import SDKS

pytestmark = [pytest.mark.client, pytest.mark.timeout(400)]

CLAUDE = [
    Cell(version, how, place, times)
    for version in CLAUDE_VERSIONS
    for how, place, times in (
        ("rst", "headers", 1),
        ("error", "start", 3),
        ("fin", "thinking", 1),
        ("cut", "text", 1),
        ("rst", "tool", 3),
        ("rst", "tool after thinking", 1),
        ("cut", "tool after text", 3),
        ("error", "second tool", 1),
        ("fin", "after a tool", 1),
    )
]
SDK = [
    Cell(language, how, place, times)
    for language in SDKS
    for how, place, times in (
        ("rst", "headers", 3),
        ("cut", "start", 1),
        ("error", "text", 1),
        ("cut", "second tool", 1),
        ("error", "after a tool", 1),
    )
]
TERMINAL = [Cell(version, "rst", "tool after text", terminal=True) for version in CLAUDE_VERSIONS]
SET = [
    Cell("python", "rst", "tool", options=("--hold", "tool_use")),
    Cell("typescript", "cut", "text", options=("--splice",)),
]


@pytest.mark.parametrize("cell", [*CLAUDE, *SDK, *TERMINAL, *SET], ids=lambda cell: cell.key)
def test_a_broken_answer_ends_as_it_should(cell: Cell, machine: Machine) -> None:
    """Finished at the fewest generations, each tool run once, nothing shown twice; where that cannot be, an error."""
    facts = play(cell, machine, gateway=True)

    assert facts.broken == cell.times if expected(cell).verdict == "done" else facts.broken >= 1
    assert as_expected(cell, facts), f"{verdict(facts)}: {facts}\n{stories(machine)[:8000]}"
    assert facts.runs <= facts.calls


@pytest.mark.parametrize(("client", "own"), [("2.1.114", 1 + STORM_RETRIES), ("2.1.329", 3), ("python", 3)])
def test_a_storm_of_529_is_not_multiplied(client: str, own: int, machine: Machine) -> None:
    """The client hears each refusal at once, and upstream hears only the client's own tries."""
    facts = play(Cell(client, "529", "headers", ALWAYS), machine, gateway=True)

    assert (verdict(facts), facts.requests) == ("fails", own)


@pytest.mark.parametrize(
    ("cell", "lost"),
    [
        (Cell("2.1.86", "cut", "tool after text"), "silent loss"),
        (Cell("2.1.114", "rst", "tool after text"), "fails"),
        (Cell("python", "cut", "text"), "silent loss"),
    ],
    ids=lambda value: getattr(value, "key", value),
)
def test_alone_such_breaks_cost_the_turn(cell: Cell, lost: str, machine: Machine) -> None:
    """The control: without the gateway the same breaks are losses."""
    assert verdict(play(cell, machine, gateway=False)) == lost
