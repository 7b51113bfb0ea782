"""The page of the results, `docs/breaks-real-clients.md`: with and without the gateway, and why where it is not healed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import Final

from tests.clients.install import CLAUDE_VERSIONS, REPOSITORY, TYPESCRIPT_SDK
from tests.clients.matrix.cell import (
    BREAKS,
    CLIENTS,
    PATCH_S,
    PLACES,
    QUICK,
    STATUSES,
    STORM_RETRIES,
    TIMES,
    Cell,
    all_cells,
    expected,
    mixed,
    patches,
    plain,
    storms,
    terminals,
    variants,
)
from tests.clients.matrix.results import Result, Results, as_expected
from tests.clients.matrix.verdict import VERDICTS, Facts

PAGE: Final = REPOSITORY / "docs" / "breaks-real-clients.md"
NAMES: Final = {
    **{one: f"Claude Code {one}" for one in CLAUDE_VERSIONS},
    "python": "Python SDK",
    "typescript": "TypeScript SDK",
}


def render(results: Results) -> str:
    """The whole page."""
    parts = [
        _head(results),
        _summary(results),
        *(_section(f"## {_times(times)}", _plain_table(results, times)) for times in TIMES),
        _section("## Broken once, then refused", _mixed_table(results), _MIXED),
        _section(f"## Every answer broken for {PATCH_S:g} s", _patch_table(results), _PATCHES),
        _section("## In a terminal", _terminal_table(results), _TERMINAL),
        _section("## Other settings", _variant_table(results), _VARIANTS),
        _section("## When it never gets better", _storm_table(results), _STORMS),
        _section("## What is not healed, and why", _reasons(results)),
    ]
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def _times(times: int) -> str:
    return {1: "Broken once", 3: "Broken three times in a row"}[times]


def _section(title: str, body: str, before: str = "") -> str:
    return f"{title}\n\n{before}{body}" if body else ""


# -- text -------------------------------------------------------------------------------------------------


def _head(results: Results) -> str:
    days = sorted({result.day for result in results.values()})
    day = "never" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    words = "\n".join(f"- **{word}**: {said}" for word, said in VERDICTS.items() if word != "done")
    return f"""# What breaks do to real clients

Each cell is one real client that is given a task (files to write, by tool calls) and an upstream that breaks off on the way.
It is played twice: straight to the upstream, and with the gateway in between.
The gateway has its default settings, but for `--retry-wait {QUICK}` where breaks are counted and do not last.
Written by `make matrix` from what was seen; played on {day} on loopback, plain HTTP/1.1, each cell once on a busy machine.
Clients: Claude Code {", ".join(CLAUDE_VERSIONS)} in print mode, under `holdfast run`; the `messages.stream` helpers of the \
Python SDK {version("anthropic")} and the TypeScript SDK {TYPESCRIPT_SDK}, through `holdfast serve`.

A cell says what came of it without the gateway, then with it: `fails → 3`.
A **number** means that the turn finished as intended: every file written by one call, nothing shown twice.
It is the number of answers that upstream began to generate for the whole task.
*Least* is the fewest that the task takes when so many of them break.
Otherwise:

{words}

In the provider's place stands a model that does what the conversation still lacks.
It does not do again what was done, and does not say again what was said; a real one may do worse.
"""


def _summary(results: Results) -> str:
    rows = []
    for client in CLIENTS:
        cells = [cell for cell in plain() if cell.client == client and (cell.key, True) in results]
        if not cells:
            continue
        with_it = [results[cell.key, True] for cell in cells]
        alone = [results[cell.key, False] for cell in cells if (cell.key, False) in results]
        least = sum(_least(cell, result) for cell, result in zip(cells, with_it, strict=True))
        rows.append(
            [
                NAMES[client],
                str(len(cells)),
                f"{_count(alone, 'done')}",
                f"{_count(alone, 'silent loss')}",
                f"{_count(with_it, 'done')}",
                f"{least}",
                f"{_count(with_it, 'silent loss')}",
            ]
        )
    if not rows:
        return ""
    head = ["client", "cells", "finish alone", "lose silently alone"]
    head += [
        "finish with the gateway",
        "of these, at the least generations",
        "lose silently with the gateway",
    ]
    return _table(head, rows)


def _count(results: Iterable[Result], verdict: str) -> int:
    return sum(result.verdict == verdict for result in results)


def _least(cell: Cell, result: Result) -> bool:
    return result.verdict == "done" and result.facts.generations <= cell.least_generations


_MIXED: Final = """The connection is reset, and the next two requests are refused with status 529.
Where the client has heard a part of the answer, it cannot be told a status any more.

"""
_PATCHES: Final = """Then none is broken any more.
Here it is not the number of breaks that counts, but whether client and gateway together are patient enough.

"""
_TERMINAL: Final = """The same clients with a person in front, in a pseudo-terminal.
What was shown twice is judged by the conversation that the client keeps.

"""
_VARIANTS: Final = """With the gateway told something else than its defaults.

"""
_STORMS: Final = f"""Upstream breaks for ever.
What counts is how often it is asked for one question: requests without the gateway → with it.
Claude Code's own retries are set to {STORM_RETRIES} here, for 10 take it three minutes.
A status is passed on at once, so a storm of them is not multiplied.
Other breaks are retried by the gateway first, three times for one question, however often its client asks it.

"""


# -- tables -----------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _matrix(
    cells: Iterable[Cell],
    results: Results,
    row: Callable[[Cell], tuple[str, ...]],
    head: Sequence[str],
    show: Callable[[Results, Cell], str],
) -> str:
    """A table with a column for each client; rows in the order in which the cells come."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for cell in cells:
        said = show(results, cell)
        if said:
            rows.setdefault(row(cell), {})[cell.client] = said
    if not rows:
        return ""
    columns = [client for client in CLIENTS if any(client in found for found in rows.values())]
    table = [[*name, *(found.get(client, "") for client in columns)] for name, found in rows.items()]
    return _table([*head, *(NAMES[client] for client in columns)], table)


def _plain_table(results: Results, times: int) -> str:
    cells = [cell for cell in plain() if cell.times == times]
    return _matrix(
        cells,
        results,
        lambda cell: (PLACES[cell.place], BREAKS[cell.how], str(cell.least_generations)),
        ("place", "break", "least"),
        _both,
    )


def _mixed_table(results: Results) -> str:
    return _matrix(
        mixed(),
        results,
        lambda cell: (PLACES[cell.place], str(cell.least_generations)),
        ("place", "least"),
        _both,
    )


def _patch_table(results: Results) -> str:
    return _matrix(
        patches(), results, lambda cell: (PLACES[cell.place], BREAKS[cell.how]), ("place", "break"), _both
    )


def _terminal_table(results: Results) -> str:
    return _matrix(
        terminals(),
        results,
        lambda cell: (PLACES[cell.place], BREAKS[cell.how], str(cell.least_generations)),
        ("place", "break", "least"),
        _both,
    )


def _variant_table(results: Results) -> str:
    return _matrix(
        sorted(variants(), key=lambda cell: cell.options),
        results,
        lambda cell: (
            f"`{' '.join(cell.options)}`",
            PLACES[cell.place],
            BREAKS[cell.how] + (f", {cell.times} times" if cell.times > 1 else ""),
            str(cell.least_generations),
        ),
        ("setting", "place", "break", "least"),
        lambda known, cell: said(known.get((cell.key, True))),
    )


def _storm_table(results: Results) -> str:
    return _matrix(
        storms(),
        results,
        lambda cell: (PLACES[cell.place], BREAKS[cell.how]),
        ("place", "break"),
        _asked,
    )


def _both(results: Results, cell: Cell) -> str:
    alone, with_it = results.get((cell.key, False)), results.get((cell.key, True))
    if alone is None and with_it is None:
        return ""
    return f"{said(alone)} → {said(with_it)}"


def _asked(results: Results, cell: Cell) -> str:
    alone, with_it = results.get((cell.key, False)), results.get((cell.key, True))
    if alone is None or with_it is None:
        return ""
    return f"{alone.facts.requests} → {with_it.facts.requests}"


def said(result: Result | None) -> str:
    """A result in a word or a number."""
    if result is None:
        return "?"
    if result.verdict == "done":
        return str(result.facts.generations)
    return f"**{result.verdict}**" if result.verdict != "fails" else "fails"


# -- reasons ----------------------------------------------------------------------------------------------


def _reasons(results: Results) -> str:
    """Each reason with the cells that it explains; then the cells that nothing explains."""
    reasons: dict[str, list[Cell]] = {}
    odd: list[str] = []
    for cell in all_cells():
        result = results.get((cell.key, True))
        if result is None or cell.storm:
            continue
        if not as_expected(cell, result.facts):
            odd.append(f"- `{cell.key}`: {said(result)}, {_seen(result.facts)}")
        elif expected(cell).why:
            reasons.setdefault(expected(cell).why, []).append(cell)
    parts = [f"- {why} ({_named(cells)})" for why, cells in reasons.items()]
    if odd:
        parts += ["", "Not as expected, and not explained:", "", *odd]
    return "\n".join(parts)


def _named(cells: Sequence[Cell]) -> str:
    """Which cells, in few words."""
    clients = [NAMES[client] for client in CLIENTS if any(cell.client == client for cell in cells)]
    places = [place for place in PLACES if any(cell.place == place for cell in cells)]
    ways = list(_ways(cells))
    return f"{len(cells)} cells: {', '.join(clients)}; {', '.join(places)}; {', '.join(ways)}"


def _ways(cells: Sequence[Cell]) -> Iterator[str]:
    for way in BREAKS:
        if any(cell.how == way for cell in cells):
            yield BREAKS[way] if way not in STATUSES else f"status {way}"


def _seen(facts: Facts) -> str:
    return (
        f"{facts.generations} generations, {facts.runs} tool runs of {facts.calls}, shown {facts.shown} times: "
        f"{' '.join(facts.detail.split())[:120]}"
    )
