"""`holdfast mark`: a note of one's own on the timeline."""

from __future__ import annotations

import re
import sqlite3

import click

from holdfast.cli.errors import Failed
from holdfast.cli.viewing import columns, json_line, local_time, opened_library, when
from holdfast.flight import instant, marks
from holdfast.flight.marks import Mark
from holdfast.flight.schema import JournalError
from holdfast.flight.state import StateError, state_path

HEAD = ("ID", "WHEN", "MARK")


@click.command("mark")
@click.argument("text", nargs=-1)
@click.option(
    "--at", type=when, metavar="WHEN", help="When it was: 10m ago, or 2026-03-01T14:30. Default: now."
)
@click.option("--list", "listing", is_flag=True, help="List the marks, the oldest first.")
@click.option("--since", type=when, metavar="WHEN", help="With --list: only marks since then.")
@click.option("--remove", type=click.IntRange(1), metavar="ID", help="Take a mark away; --list shows its id.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per mark.")
def command(
    text: tuple[str, ...],
    at: int | None,
    listing: bool,
    since: int | None,
    remove: int | None,
    as_json: bool,
) -> None:
    """Write a note onto the timeline: what you changed, and when.

    holdfast flights shows it between the turns, so that a change can be seen beside what came of it.
    It is kept as long as turns are, and needs no running gateway. What looks like a key is taken out.

    \b
    Examples:
      holdfast mark moved to Ethernet
      holdfast mark --at 10m "switched the VPN off"
      holdfast mark --list
      holdfast mark --remove 3

    \b
    Exit codes: 0 done, 1 nothing found, 2 wrong usage.
    """
    asked = [bool(" ".join(text).strip()), listing, remove is not None]
    if sum(asked) != 1:
        raise click.UsageError(
            'write a note (holdfast mark "moved to Ethernet"), or give one of --list and --remove'
        )
    if len(text) > 1 and (command := _A_COMMAND.search(" ".join(text))):
        raise click.UsageError(
            f"`{command[0]}` in a note looks like a second line to type; write what you changed alone, and type the rest "
            "by itself. If the note is to say so, put all of it in quotes"
        )
    if at is not None and not asked[0]:
        raise click.UsageError("--at says when a new note was; it does not go with --list or --remove")
    if since is not None and not listing:
        raise click.UsageError("--since chooses from the list; add --list")
    if listing:
        _list(since or 0, as_json)
    elif remove is not None:
        _remove(remove, as_json)
    else:
        _add(" ".join(text), at, as_json)


_A_COMMAND = re.compile(r"\bholdfast [a-z]{3,10}\b")


def _add(text: str, at: int | None, as_json: bool) -> None:
    directory, now = state_path(), instant.now().wall_ms
    if at is not None and at > now:
        raise click.UsageError("--at lies in the future; leave it out for now")
    try:
        mark = marks.add(directory, text, now if at is None else at)
    except (JournalError, StateError) as error:
        raise Failed(str(error)) from error
    except (sqlite3.Error, OSError) as error:
        raise Failed(
            f"the journal in {directory} cannot be written to ({error}); try again in a moment"
        ) from error
    click.echo(json_line(_as_json(mark)) if as_json else f"Marked {shown(mark)}")


NONE_SET = 'no mark is set; set one with: holdfast mark "moved to Ethernet"'


def _list(since_wall_ms: int, as_json: bool) -> None:
    with opened_library(nothing=NONE_SET) as library:
        found = marks.marks(library.connection, since_wall_ms)
    if not found:
        raise Failed(NONE_SET)
    if as_json:
        for mark in found:
            click.echo(json_line(_as_json(mark)))
        return
    rows = [HEAD, *((str(one.id), local_time(one.wall_ms), one.text) for one in found)]
    click.echo("\n".join(columns(rows)))


def _remove(mark_id: int, as_json: bool) -> None:
    with opened_library(nothing=NONE_SET) as library:
        mark = marks.remove(library.connection, mark_id) if mark_id < 1 << 63 else None
    if mark is None:
        raise Failed(f"there is no mark {mark_id}; see: holdfast mark --list")
    click.echo(json_line(_as_json(mark)) if as_json else f"Removed {shown(mark)}")


def shown(mark: Mark) -> str:
    """`3 at 11-21 13:20:01: moved to Ethernet`."""
    return f"{mark.id} at {local_time(mark.wall_ms)}: {mark.text}"


def _as_json(mark: Mark) -> dict[str, int | str]:
    return {"id": mark.id, "wall_ms": mark.wall_ms, "text": mark.text}
