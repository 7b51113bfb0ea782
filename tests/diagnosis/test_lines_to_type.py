"""What a report tells a person to type can be typed: every line in it is one that the program takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from holdfast.cli import probe
from holdfast.cli.main import main
from holdfast.diagnosis import fix, prior
from holdfast.diagnosis.case import Answer, Case, Failure, Trip, Try
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.hypothesis import Hypothesis
from holdfast.diagnosis.witnessed import witnesses
from tests.sessions.written import MORNING_MS

BROKEN = Failure(
    id="a",
    tries=(Try(MORNING_MS, 300.2, "ECONNRESET"),),
    outcome="died",
    at_ms=MORNING_MS,
    ended_ms=MORNING_MS,
    session="s",
    version="2.1.104",
    context_tokens=90_000,
    idle_s=400.0,
)
CASE = Case(
    [BROKEN, BROKEN],
    [Answer(MORNING_MS + 1000 * number, "t", "2.1.92", 50_000) for number in range(40)],
    trips=[
        Trip(
            MORNING_MS + 1000 * number, "flights", number % 4 == 0, str(number), "a" if number % 4 == 0 else None,
            location="AMS" if number % 4 == 0 else "ORD",
        )
        for number in range(60)
    ],
)  # fmt: skip
EVERY = [*catalogue(), *witnesses()]


def settles(one: Hypothesis) -> str:
    one.ratios(CASE)
    return one.brief(CASE, CASE.failures).settle


def lines(said: str) -> Iterator[str]:
    """Lines to type in a sentence: from the program's name to the next stop that no quotes hold.

    `holdfast run` in prose (behind holdfast run turns wait) is the gateway's name, and no line.
    """
    for found in re.finditer(r"holdfast (?=[a-z])", said):
        line = re.match(r"(?:'[^']*'|[^:;,()'.]|\.(?=\w))+", said[found.start() :])
        assert line is not None
        if line[0].startswith("holdfast run") and " -- " not in line[0]:
            continue
        yield line[0].strip()


def parses(line: str) -> None:
    """Take it as the program would, up to the doing. Raises `click.UsageError`."""
    command: click.Command = main
    name, *words = shlex.split(line)
    context = None
    while isinstance(command, click.Group):
        context = click.Context(command, info_name=name, parent=context)
        found, chosen, words = command.resolve_command(context, words)
        assert chosen is not None
        name, command = found or "", chosen
    made = command.make_context(name, list(words), parent=context)
    if command is probe.command:
        told = made.params
        question, _ = probe._understood(told["question"], told["target"])
        few = {key: told[key] for key in ("rounds", "from_s", "to_s", "seconds", "most", "resolvers")}
        probe._options(question, **few)


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_every_line_can_be_typed(one: Hypothesis) -> None:
    """Commands, their options and their values, in all that a cause says."""
    for said in (settles(one), one.remedy, one.falsifier, *one.rivals.values()):
        for line in lines(said):
            parses(line)


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_every_cause_says_how_to_settle_it(one: Hypothesis) -> None:
    """By a line to type here, whatever else there is to ask."""
    assert list(lines(settles(one)))


@pytest.mark.parametrize("one", prior.PRIORS, ids=lambda one: one.key)
def test_a_prior_hypothesis_is_settled_by_a_line(one: prior.Prior) -> None:
    """Each of them, too."""
    found = list(lines(one.settle))
    assert found
    for line in found:
        parses(line)


def test_the_lines_of_a_fix_can_be_typed() -> None:
    for line in (fix.RUN, *fix.TO_TYPE.values()):
        if line.startswith("holdfast"):
            parses(line)


def test_what_cannot_be_typed_is_noticed() -> None:
    """A wrong command, option, value, question: each is refused."""
    assert list(lines("x; holdfast probe idle --from 15s --to 6m: so; behind holdfast run turns wait.")) == [
        "holdfast probe idle --from 15s --to 6m"
    ]
    for line in (
        "holdfast config", "holdfast probe idel", "holdfast probe idle --for 3s", "holdfast probe ping --rounds many",
        "holdfast probe idle --from 6m --to 15s", "holdfast diagnose --format issues",
    ):  # fmt: skip
        with pytest.raises(click.UsageError):
            parses(line)
