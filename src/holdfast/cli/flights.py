"""`holdfast flights`: recent turns, one line each."""

from __future__ import annotations

import textwrap
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from holdfast.cli import add as adding
from holdfast.cli.errors import FAILED
from holdfast.cli.sql import asks_in_sql
from holdfast.cli.viewing import columns, indented, json_line, local_time, opened_library, page_width, when
from holdfast.diagnosis import loops
from holdfast.flight import cuts, flights, instant, marks
from holdfast.flight.instant import Instant
from holdfast.flight.reading import Library, StoredTurn
from holdfast.flight.redact import clean

HEAD = ("TURN", "WHEN", "CLIENT", "MODEL", "ENDED", "TOOK", "QUIET", "NOTE")
LEAST = (14, 14, 20, 18, 22, 7, 7, 0)
"Widths of the columns under `--follow`, where later lines stand below the first: wider where the first need it."
NARROW = (0, 1, 2, 4, 5)
"Columns on a terminal that all of them do not fit into: no model, and silence and note in a line below."
CLIENT, ENDED = 2, 4
GIVES_WAY = ((CLIENT, 6), (ENDED, 8))
"Which columns are cut where a terminal is too narrow for their values, the first first, and to what width."
POLL_S = 1.0
SEEN = 1000
"So many of the newest turns are compared with those before, a look."
LATE_MS = 10_000
"A turn may stand in the journal so long after it began: what is followed begins that much earlier."


def row(turn: StoredTurn, now: Instant, seen_by: str = "", cut: cuts.Row | None = None) -> tuple[str, ...]:
    """One turn's cells; `seen_by` is who else saw it, `cut` what became of an answer that was cut."""
    record = turn.record
    took = flights.took_s(record, now)
    return (
        record.turn_id,
        local_time(record.started.wall_ms),
        clean(record.profile, limit=24) or "-",
        clean(record.model or "-", limit=30),
        flights.outcome(record, turn.ending_code, cut),
        flights.duration(took) if took is not None else "-",
        flights.duration(record.longest_quiet_s) if record.longest_quiet_s >= 1 else "-",
        ", ".join(part for part in (flights.saved(record, turn.kept_bytes, cut), seen_by) if part),
    )


@click.command("flights")
@click.option(
    "--limit", "-n", default=20, show_default=True, type=click.IntRange(1, 100_000), help="How many at most."
)
@click.option("--since", type=when, metavar="WHEN", help="Only turns since then: 2h, 7d, 2026-03-01T14:30.")
@click.option(
    "--follow", "-f", is_flag=True, help="Go on showing turns as they begin and end; Ctrl-C ends it."
)
@adding.adds
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@asks_in_sql
def command(
    limit: int,
    since: int | None,
    follow: bool,
    as_json: bool,
    add: tuple[Path, ...] = (),
    clock: float | None = None,
) -> None:
    """List recent turns, one line each, the newest last.

    ENDED is done, running, waiting for its client (finished and not yet heard), cut (ended early each time, and
    never made whole: the turn was lost), or the code of an ending: holdfast explain C.rst.tool.
    TOOK is not known (-) where the gateway was killed. QUIET is the longest silence of upstream. The story of one
    turn: holdfast flight TURN.
    Marks (holdfast mark) stand where they fall, and so does what gateways noted about themselves: requests that
    they refused, records that they had to drop. Below the list, requests that came again and ended alike.
    With --add, NOTE says which line of which file saw the turn too, and whether it agrees.

    \b
    Examples:
      holdfast flights
      holdfast flights --since 2h --json
      holdfast flights --follow
      holdfast flights --since 1d --add /var/log/nginx/access.log
      holdfast flights --sql "SELECT model, count(*) AS turns FROM turn GROUP BY model"

    \b
    Exit codes: 0 done, 1 nothing found, 2 wrong usage.
    """
    if add and follow:
        raise click.UsageError("--add looks at what was written so far; leave --follow out")
    if clock is not None and not add:
        raise click.UsageError("--clock is for the files of --add")
    with opened_library() as library:
        start = since if since is not None else instant.now().wall_ms - LATE_MS
        known = (
            {turn.record.turn_id: turn.ending_code for turn in library.recent(SEEN, start)} if follow else {}
        )
        turns = library.recent(limit, since or 0)[::-1]
        whole = since is None and len(turns) < limit
        set_since = since if since is not None else min((t.record.started.wall_ms for t in turns), default=0)
        noted = [] if as_json else _noted(library, 0 if whole else set_since, set_since)
        if not turns and not noted and not follow:
            click.echo("No turn is recorded" + (" since then." if since else " yet."), err=True)
            raise SystemExit(FAILED)
        beside = adding.look(add, turns, clock) if add else None
        cut = _cuts(turns)
        widths = _widths(turns, LEAST if follow else None, cut)
        if not as_json:
            click.echo(_line(HEAD, widths))
        _show(turns, widths, as_json, cut, beside, noted)
        if not as_json:
            _loops(turns, cut)
            if len(turns) == limit:
                which = "This is the newest" if limit == 1 else f"These are the newest {limit}"
                click.echo(f"{which}; for more: holdfast flights -n {5 * limit}", err=True)
        if beside:
            _notes(beside, turns, as_json)
        if not follow:
            return
        shown = known | {turn.record.turn_id: turn.ending_code for turn in turns}
        while True:
            time.sleep(POLL_S)
            recent = library.recent(SEEN, min(start, _oldest_running(turns, start)))[::-1]
            news = [t for t in recent if shown.get(t.record.turn_id, "new") != t.ending_code]
            later = [] if as_json else _noted(library, start, start)
            unsaid = [one for one in later if one not in noted]
            _show(news, widths, as_json, _cuts(recent), noted=unsaid)
            noted += unsaid
            shown |= {turn.record.turn_id: turn.ending_code for turn in news}


def _oldest_running(turns: list[StoredTurn], otherwise: int) -> int:
    return min((t.record.started.wall_ms for t in turns if t.ending_code is None), default=otherwise)


def _widths(turns: list[StoredTurn], least: Sequence[int] | None, cut: Mapping[str, cuts.Row]) -> list[int]:
    """Columns as wide as their values, and never below `least`; the note is as long as it likes."""
    now = instant.now()
    rows = [HEAD, *(row(turn, now, cut=cut.get(turn.record.turn_id)) for turn in turns)]
    needed = [max(len(cells[i]) for cells in rows) for i in range(len(HEAD) - 1)]
    return [*(max(pair) for pair in zip(needed, least or needed, strict=False)), 0]


def _show(
    turns: list[StoredTurn],
    widths: list[int],
    as_json: bool,
    cut: Mapping[str, cuts.Row],
    beside: adding.Beside | None = None,
    noted: Sequence[Noted] = (),
) -> None:
    now, waiting = instant.now(), deque(noted)
    for turn in turns:
        while waiting and waiting[0].wall_ms < turn.record.started.wall_ms:
            click.echo(_note(waiting.popleft(), widths))
        if as_json:
            seen = {"seen": adding.turn_json(beside, turn)} if beside else {}
            click.echo(json_line(flights.as_json(turn, cut.get(turn.record.turn_id)) | seen))
        else:
            seen_by = adding.seen_by(beside, turn) if beside else ""
            click.echo(_line(row(turn, now, seen_by, cut.get(turn.record.turn_id)), widths))
    for one in waiting:
        click.echo(_note(one, widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """A turn's line; on a terminal that it does not fit into, what was saved stands in lines below."""
    room = page_width()
    whole = columns([cells], widths)[0]
    if room is None:
        return whole
    if sum(widths) + 2 * len(widths) <= room:
        shown, quiet = tuple(range(len(HEAD) - 1)), "-"
        if len(whole) <= room:
            return whole
    else:
        shown, quiet = NARROW, cells[6]
    fitted = _fitted(widths, shown, room)
    first = columns([[_within(cells[i], fitted[i]) for i in shown]], [fitted[i] for i in shown])[0]
    below = ", ".join(part for part in ("" if quiet == "-" else f"silent for {quiet}", cells[7]) if part)
    return "\n".join((first, *indented(below, room))) if below and cells is not HEAD else first


def _fitted(widths: Sequence[int], shown: Sequence[int], room: int) -> list[int]:
    """The widths of the columns that are shown, so that a line of them fits: what gives way is cut."""
    fitted = list(widths)
    for column, least in GIVES_WAY:
        over = sum(fitted[i] for i in shown) + 2 * (len(shown) - 1) - room
        fitted[column] = max(fitted[column] - max(over, 0), min(fitted[column], least))
    return fitted


def _within(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _told(text: str) -> str:
    """A sentence below the list, wrapped on a terminal."""
    room = page_width()
    return text if room is None else "\n".join(textwrap.wrap(text, room, break_on_hyphens=False))


class Noted(NamedTuple):
    """A line between the turns: a mark, or what a gateway noted about itself."""

    wall_ms: int
    name: str
    text: str


def _noted(library: Library, since_ms: int, marks_since_ms: int) -> list[Noted]:
    """What is to stand between the turns, the oldest first."""
    found = [
        Noted(mark.wall_ms, f"mark {mark.id}", mark.text)
        for mark in marks.marks(library.connection, marks_since_ms)
    ]
    found += [Noted(*note) for note in library.notes(since_ms) if note[1] not in marks.NAMES]
    return sorted(found, key=lambda one: one.wall_ms)


def _note(one: Noted, widths: list[int]) -> str:
    head = columns([(clean(one.name), local_time(one.wall_ms), "")], [*widths[:2], 0])[0]
    room = page_width()
    text = clean(one.text)
    if room is None or len(head) + 2 + len(text) <= room:
        return f"{head}  {text}"
    return "\n".join((head, *indented(text, room)))


def _cuts(turns: list[StoredTurn]) -> dict[str, cuts.Row]:
    return cuts.rows((turn.record for turn in turns), instant.now().wall_ms)


def _loops(turns: list[StoredTurn], found: Mapping[str, cuts.Row]) -> None:
    """Answers that never became whole, and requests that came again and ended alike: one finding each, below the list."""
    for row in {id(row): row for row in found.values() if row.lost}.values():
        click.echo("\n" + _told(f"{row.sentence()} The last: holdfast flight {row.turn_ids[-1]}"))
    for loop in loops.found(turns):
        said = f"{clean(loop.sentence(), limit=None)} The first: holdfast flight {loop.turn_ids[0]}"
        click.echo("\n" + _told(said))


def _notes(beside: adding.Beside, turns: list[StoredTurn], as_json: bool) -> None:
    """What is to be known about the added files; beside JSON on stderr, so that its lines stay turns."""
    if not as_json:
        click.echo()
    for line in adding.told_notes(beside, turns, page_width()):
        click.echo(line, err=as_json)
