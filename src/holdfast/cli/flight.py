"""`holdfast flight ID`: the story of one turn."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path

import click

from holdfast.cli import add as adding
from holdfast.cli.viewing import json_line, local_time, opened_library, the_turn
from holdfast.flight import flights
from holdfast.flight.reading import StoredTurn
from holdfast.flight.redact import clean
from holdfast.records.match import merged


@click.command("flight")
@click.argument("turn", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the turn with its moments.")
@adding.adds
def command(turn: str, as_json: bool, add: tuple[Path, ...] = (), clock: float | None = None) -> None:
    """Tell the story of one turn, moment by moment.

    ID is a turn's id or its beginning (see holdfast flights), the provider's request id, or the
    edge's (cf-ray). With --add, what others wrote down of this turn stands in its story at our time.

    \b
    Examples:
      holdfast flight 01m7x2
      holdfast flight req_011CSHoEeqs5C35K2UUqR7Fy --json
      holdfast flight 01m7x2 --add nginx/access.log --add nginx/error.log

    \b
    Exit codes: 0 done, 1 not found, 2 wrong usage.
    """
    with opened_library() as library:
        found = the_turn(library, turn)
        beside = adding.look_near(add, library, found, clock)
    lines = flights.story(found.record)
    if as_json:
        told_json = flights.as_json(found) | {"moments": flights.moments_as_json(found.record, lines)}
        click.echo(json_line(told_json | (adding.as_json(beside, found) if beside else {})))
        return
    if beside:
        lines = merged(lines, adding.lines(beside, found))
    page = told(found, lines, _width())
    click.echo("\n".join([*page, "", *adding.page(beside, found, _width())] if beside else page))


def _width() -> int | None:
    """Columns to wrap at; None when piped, where one line per moment is easier to search."""
    return max(shutil.get_terminal_size().columns, 60) if sys.stdout.isatty() else None


def told(turn: StoredTurn, lines: list[flights.Line], width: int | None) -> list[str]:
    """The whole page: head, story, what came of it."""
    record = turn.record
    began = local_time(record.started.wall_ms, "%Y-%m-%d %H:%M:%S")
    head = [f"Turn {record.turn_id}, {began}"]
    facts = [
        ("client", clean(record.profile or record.agent)),
        ("model", clean(record.model or "")),
        ("upstream", clean(record.upstream)),
        ("request id", clean(record.request_id or "")),
        ("edge id", clean(record.edge_id or "")),
        (
            "session",
            clean(record.session or "") + (f", agent {clean(record.subagent)}" if record.subagent else ""),
        ),
    ]
    head += [f"  {name:<11} {value}" for name, value in facts if value]
    return [*head, "", *_story(lines, width), "", *_outcome(turn)]


def _story(lines: list[flights.Line], width: int | None) -> list[str]:
    if not lines:
        return ["  (no moment was written down)"]
    digits = max(len(f"{line.at_s:.3f}") for line in lines)
    page = []
    for line in lines:
        stamp = f"  {line.at_s:{digits}.3f} s  "
        text = f"{line.text} ({line.by})" if line.by else line.text
        if width is None:
            page.append(stamp + text)
        else:
            page += textwrap.wrap(
                text,
                width,
                initial_indent=stamp,
                subsequent_indent=" " * len(stamp),
                break_on_hyphens=False,
            ) or [stamp]
    return page


def _outcome(turn: StoredTurn) -> list[str]:
    record, lines = turn.record, []
    lines.append("In short: " + flights.summary(record) + ".")
    if record.ending is not None and not record.ending.completed:
        lines.append(f"It ended: {flights.ending_sentence(record.ending, evidence=False)}.")
        lines.append(f"What that means: holdfast explain {record.ending.code}")
    elif turn.ending_code and record.ending is None:
        lines.append(f"Ended as {clean(turn.ending_code)}, a word of another version of holdfast.")
    if turn.kept_bytes is not None:
        lines.append(f"The answer is in the attic: holdfast attic show {record.turn_id}")
    return lines
