"""`holdfast diagnose`: what the client's own logs say of its failures, weighed."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
import time
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.add import adds
from holdfast.cli.beside import Asked, look
from holdfast.cli.errors import Failed, Misused
from holdfast.cli.unsaid import unsaid
from holdfast.cli.viewing import page_width, when
from holdfast.diagnosis.case import Coverage
from holdfast.flight.flights import counted, size
from holdfast.flight.reading import open_library
from holdfast.flight.redact import clean
from holdfast.flight.schema import JournalError
from holdfast.flight.state import StateError, state_path
from holdfast.sessions import desktop
from holdfast.sessions.corpus import Update, update
from holdfast.sessions.places import Transcript, roots, transcripts
from holdfast.sessions.store import Store, StoreError

if TYPE_CHECKING:
    from holdfast.diagnosis.around import Around
    from holdfast.diagnosis.diagnosis import Diagnosis

YEARS = range(2024, 2036)
"Of which the local clock's changes are looked up: before them there was no such client."
SHOW_PROGRESS_BYTES = 500_000_000
"More than that takes longer than a person waits without a sign."


@click.command("diagnose")
@click.option(
    "--home",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Look at this home's logs instead of yours, such as somebody else's, copied.",
)
@click.option("--since", type=when, metavar="TIME", help="Only failures since then: 7d, 24h, 2026-03-01.")
@click.option("--until", type=when, metavar="TIME", help="Only failures before then.")
@click.option(
    "--timezone", metavar="NAME", help="The clock of that machine, such as Europe/Paris [this one's]."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "html", "json", "issue"]),
    default="text",
    show_default=True,
    help="For the terminal, a ticket, a browser, a program, or a public tracker (needs --out).",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it there, and not to the terminal."
)
@adds
def command(
    home: Path | None,
    since: int | None,
    until: int | None,
    timezone: str | None,
    form: str,
    out: Path | None,
    add: tuple[Path, ...],
    clock: float | None,
) -> None:
    """Diagnose what failed, from what the client and its desktop app wrote down.

    It needs no gateway to have run; where one has, its flights tell who ended what, and so does what you --add.
    Transcripts are read where they are, and only what is new since the last time; nothing that anybody said is
    kept, and nothing leaves this machine.

    \b
    Examples:
      holdfast diagnose
      holdfast diagnose --since 7d --format markdown --out report.md
      holdfast diagnose --format html --out report.html
      holdfast diagnose --format issue --out issue.md
      holdfast diagnose --add /var/log/nginx/access.log --add ring.pcapng
      holdfast diagnose --home /mnt/copy/of/a/home --timezone America/Chicago --format json

    \b
    Exit codes: 0 whatever it finds, 2 it could not look.
    """
    if form == "issue" and out is None:
        raise click.UsageError(
            "--format issue writes two files, a public and a private one: name the first by --out"
        )
    zone = _zone(timezone)
    where = home or Path.home()
    environment = os.environ if home is None else None
    found, refused = transcripts(roots(where, environment))
    with _stored(where) as store:
        done = _updated(store, found)
        places, now_ms = tuple(roots(where, environment)), round(time.time() * 1000)
        beside_it = Asked(add, clock, zone, since, until, own=home is None, roots=places, now_ms=now_ms)
        diagnosis = _diagnosed(store, done, refused, where, zone, since, until, beside_it)
        beside = _around(diagnosis, store, where, zone, own=home is None)
        if form == "issue" and out is not None:
            from holdfast.cli.reporting import write_issue

            write_issue(diagnosis, beside, store, where, out)
            return
    page = _page(diagnosis, beside, form, out is None)
    if out is None:
        click.echo(page)
        return
    try:
        out.write_text(page + "\n", encoding="utf-8")
    except OSError as error:
        raise Misused(
            f"{clean(str(out))} cannot be written ({error.strerror}); choose another --out"
        ) from error
    click.echo(f"Written to {clean(str(out))}.")


def _zone(name: str | None) -> tzinfo:
    if name is None:
        local = datetime.now().astimezone().tzinfo
        named = os.environ.get("TZ") or _system_zone()
        try:
            return zoneinfo.ZoneInfo(named) if named else local or UTC
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            return local or UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Misused(f"{clean(name)!r} is no time zone; write it like Europe/Paris or UTC") from error


def _system_zone() -> str:
    """The zone's name where the system links to it; empty where it does not."""
    try:
        return str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2]
    except OSError:
        return ""


def offsets(zone: tzinfo) -> list[tuple[int, int]]:
    """From when (ms, UTC) the zone's clock is how far ahead of UTC (ms): every change of those years."""
    found: list[tuple[int, int]] = []

    def ahead(at_s: int) -> int:
        told = datetime.fromtimestamp(at_s, zone).utcoffset()
        return round(told.total_seconds() * 1000) if told is not None else 0

    start = round(datetime(YEARS[0], 1, 1, tzinfo=UTC).timestamp())
    end = round(datetime(YEARS[-1], 12, 31, tzinfo=UTC).timestamp())
    found.append((start * 1000, ahead(start)))
    for day in range(start, end, 7 * 86_400):
        low, high = day, day + 7 * 86_400
        if ahead(low) == ahead(high):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if ahead(middle) == ahead(low) else (low, middle)
        found.append((high * 1000, ahead(high)))
    return found


@contextmanager
def _stored(home: Path) -> Iterator[Store]:
    """What earlier runs read of this home's transcripts."""
    key = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
    try:
        store = Store(state_path() / f"sessions-{key}.sqlite", now_ms=round(time.time() * 1000))
    except (StoreError, StateError) as error:
        raise Misused(str(error)) from error
    try:
        yield store
    except sqlite3.Error as error:
        raise Misused(
            f"what was read of transcripts cannot be kept in {clean(str(store.path))} ({error}); "
            "remove that file and try again"
        ) from error
    finally:
        store.close()


def _updated(store: Store, found: list[Transcript]) -> Update:
    new = sum(one.size for one in found)
    if new < SHOW_PROGRESS_BYTES or not sys.stderr.isatty():
        return update(store, found, gaps=True)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("reading transcripts"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=new)
        return update(store, found, gaps=True, progress=lambda size: bar.advance(task, size))


def _diagnosed(
    store: Store,
    done: Update,
    refused: list[tuple[Path, str]],
    home: Path,
    zone: tzinfo,
    since: int | None,
    until: int | None,
    asked: Asked,
) -> Diagnosis:
    try:
        from holdfast.diagnosis.diagnosis import diagnose
        from holdfast.diagnosis.engine import Engine
        from holdfast.sessions.frames import frames

        engine = Engine(frames(store))
    except ImportError as error:
        raise Failed(
            f"diagnose needs the extra of that name ({error.name} is missing): pip install 'holdfast[diagnose]'"
        ) from error
    logs, told = _desktop(home, zone)
    coverage = [_transcripts(store, done, refused), told]
    return diagnose(
        engine,
        desktop=logs,
        coverage=coverage,
        offsets=offsets(zone),
        since_ms=since,
        until_ms=until,
        beside=lambda case: look(case, asked, unsaid(store, asked.roots, since, until)),
        marks=_marks(since, until) if home == Path.home() else (),
    )


def _marks(since: int | None, until: int | None) -> list[tuple[int, str]]:
    """The notes that were put on the timeline in this time; none where there is no journal."""
    try:
        with open_library(state_path()) as library:
            found = library.marks(since or 0, until) if library is not None else []
    except (JournalError, StateError, sqlite3.Error):
        return []
    return [(mark.wall_ms, mark.text) for mark in found]


def _around(diagnosis: Diagnosis, store: Store, home: Path, zone: tzinfo, *, own: bool) -> Around:
    from holdfast.cli.reporting import around

    return around(diagnosis, store, home, zone, own=own, now_ms=round(time.time() * 1000))


def _transcripts(store: Store, done: Update, refused: list[tuple[Path, str]]) -> Coverage:
    files, helpers, total, dirt, first, last = store.connection.execute(
        "SELECT count(*), total(subagent), total(size), total(dirt), min(first_ms), max(last_ms) FROM file"
    ).fetchone()
    if not files:
        return Coverage("transcripts", "none: no session of Claude Code is kept in this home")
    told = f"{counted(files - round(helpers), 'session')} and {counted(round(helpers), 'subagent')}, {size(round(total))}"
    if files > done.files:
        told += f" ({files - done.files} of them deleted since)"
    if dirt:
        told += f", {counted(round(dirt), 'line')} that could not be read"
    unread = [f"{path.name}: {why}" for path, why in [*refused, *done.unreadable]]
    return Coverage("transcripts", told, first, last, tuple(clean(one) for one in unread))


def _desktop(home: Path, zone: tzinfo) -> tuple[list[desktop.DesktopLog], Coverage]:
    logs, unread = [], []
    for path in desktop.logs(home):
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                logs.append(desktop.read(lines, zone))
        except OSError as error:
            unread.append(f"{path.name}: {error.strerror}")
    lines_read = sum(log.lines for log in logs)
    if not lines_read:
        return logs, Coverage("desktop log", "none", unreadable=tuple(unread))
    first = min(log.first_ms for log in logs if log.first_ms is not None)
    last = max(log.last_ms for log in logs if log.last_ms is not None)
    told = f"{counted(lines_read, 'line')}, local times read as {_zone_name(zone)}"
    return logs, Coverage("desktop log", told, first, last, tuple(unread))


def _zone_name(zone: tzinfo) -> str:
    return getattr(zone, "key", None) or str(zone)


def _page(diagnosis: Diagnosis, beside: Around, form: str, shown: bool) -> str:
    from holdfast.diagnosis.diagnosis import as_json
    from holdfast.report import diagnosed, diagnosis_html

    wide = page_width() if shown else None
    forms: dict[str, Callable[[], str]] = {
        "json": lambda: json.dumps(as_json(diagnosis) | beside.as_json(), ensure_ascii=True, indent=1),
        "html": lambda: diagnosis_html.page(diagnosis, beside).rstrip("\n"),
        "markdown": lambda: "\n".join(diagnosed.as_markdown(diagnosis, beside)),
        "text": lambda: "\n".join(diagnosed.text(diagnosis, wide, beside)),
    }
    return forms[form]()
