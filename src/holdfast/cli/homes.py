"""One home, diagnosed: its transcripts and desktop log are read, and what lies beside them is looked at.

What `holdfast diagnose` shows and `holdfast export` writes is made here, so that both say the same.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.cli.beside import Asked, look
from holdfast.cli.errors import Misused
from holdfast.cli.unsaid import unsaid
from holdfast.cli.zones import offsets, zone_name
from holdfast.diagnosis.case import Coverage
from holdfast.flight.extras import install_line
from holdfast.flight.flights import counted, size
from holdfast.flight.plain_files import only_files
from holdfast.flight.reading import open_library
from holdfast.flight.redact import clean
from holdfast.flight.schema import JournalError
from holdfast.flight.state import StateError, state_path
from holdfast.sessions import client_telemetry, desktop
from holdfast.sessions.corpus import Update, update, update_unsent
from holdfast.sessions.places import Transcript, roots, transcripts
from holdfast.sessions.store import Store, StoreError, not_kept

if TYPE_CHECKING:
    from holdfast.diagnosis.diagnosis import Diagnosis
    from holdfast.diagnosis.engine import Engine

HOUR_MS = 3_600_000
YEAR_MS = 366 * 24 * HOUR_MS
"No clock is believed that is so far ahead."
FIRST_CLIENT_MS = 1_704_067_200_000
"The beginning of 2024: there was no such client before."
SHOW_PROGRESS_BYTES = 500_000_000
"More than that takes longer than a person waits without a sign."


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """What there is of a home, open while it is used."""

    store: Store
    engine: Engine
    diagnosis: Diagnosis


@contextmanager
def diagnosed(
    home: Path | None,
    zone: tzinfo,
    since_ms: int | None = None,
    until_ms: int | None = None,
    add: tuple[Path, ...] = (),
    clock_s: float | None = None,
    *,
    assumed: bool = False,
) -> Iterator[Diagnosed]:
    """Read and weigh all that a home's sources hold of this time. Raises `Misused`.

    `home` None is this user's own, on this machine: then its flights, marks and system log count as well. `assumed`: nobody
    said that the zone is that of the home's clock.
    """
    # Before months of transcripts are read, for which nothing could then be done.
    with weighing():
        from holdfast.diagnosis.diagnosis import diagnose
        from holdfast.diagnosis.engine import Engine
        from holdfast.sessions.frames import frames_with, told_together

    where = home.resolve() if home is not None else Path.home()  # one home, however it is spelled
    own = home is None
    inside = next((one for one in (where, *where.parents) if one.name == ".claude"), None)
    if not own and inside is not None and not os.path.lexists(where / ".claude"):
        part = "the client's directory itself" if inside == where else "a part of the client's directory"
        raise Misused(
            f"{clean(str(where))} is {part}; name the home that it is in: "
            f"--home {clean(shlex.quote(str(inside.parent)))}"
        )
    places = roots(where, os.environ if own else None)
    found, refused = transcripts(places, anywhere=own)
    _must_be_readable(places, found, refused)
    with _stored(where, places) as store:
        done = _updated(store, found)
        unsent = update_unsent(store, client_telemetry.files(places))
        both = told_together(store)
        with weighing():
            engine = Engine(frames_with(store, both))
        now_ms = round(time.time() * 1000)
        asked = Asked(add, clock_s, zone, since_ms, until_ms, own=own, roots=tuple(places), now_ms=now_ms)
        logs, told = _desktop(where, zone, assumed=assumed)
        diagnosis = diagnose(
            engine,
            desktop=logs,
            coverage=[_transcripts(store, done, refused, places), *_tools(store), told],
            offsets=offsets(zone),
            zone=zone_name(zone),
            since_ms=since_ms,
            until_ms=until_ms,
            beside=lambda case: look(
                case, asked, unsaid(store, both, asked.roots, since_ms, until_ms, unsent)
            ),
            marks=_marks(since_ms, until_ms) if where == Path.home() else (),
            believed=(FIRST_CLIENT_MS, now_ms + YEAR_MS),
        )
        yield Diagnosed(store, engine, diagnosis)


def _must_be_readable(
    places: Sequence[Path], found: Sequence[Transcript], refused: Sequence[tuple[Path, str]]
) -> None:
    """Raises `Misused` where a root may not be looked into and no other has anything: then nothing is known of it."""
    whole = {place / "projects" for place in places}
    shut = [(path, why) for path, why in refused if path in whole]
    if shut and not found:
        path, why = shut[0]
        raise Misused(
            f"{clean(str(path))} cannot be looked into ({why}): run it as the user whose logs they are"
        )


@contextmanager
def weighing() -> Iterator[None]:
    """What weighs logs needs packages that a plain installation is without."""
    try:
        yield
    except ImportError as error:
        raise Misused(
            f"weighing logs needs packages that are not installed ({error.name} is missing); install them with: "
            f"{install_line('diagnose')}"
        ) from error


@contextmanager
def _stored(home: Path, places: Sequence[Path]) -> Iterator[Store]:
    """What earlier runs read of this home's transcripts, or of the directories that were named instead."""
    named = [str(home.resolve()), *([] if places == roots(home) else map(str, places))]
    key = hashlib.sha256("\0".join(named).encode()).hexdigest()[:12]
    try:
        store = Store(state_path() / f"sessions-{key}.sqlite", now_ms=round(time.time() * 1000))
    except (StoreError, StateError) as error:
        raise Misused(str(error)) from error
    try:
        yield store
    except sqlite3.Error as error:
        raise Misused(not_kept(store.path, error)) from error
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


def _marks(since: int | None, until: int | None) -> list[tuple[int, str]]:
    """The notes that were put on the timeline in this time; none where there is no journal."""
    try:
        with open_library(state_path()) as library:
            found = library.marks(since or 0, until) if library is not None else []
    except (JournalError, StateError, sqlite3.Error):
        return []
    return [(mark.wall_ms, mark.text) for mark in found]


# ----- what the client's own sources cover


def _transcripts(
    store: Store, done: Update, refused: list[tuple[Path, str]], places: Sequence[Path]
) -> Coverage:
    files, helpers, total, dirt, first, last = store.connection.execute(
        "SELECT count(*), total(subagent), total(size), total(dirt), min(first_ms), max(last_ms) FROM file"
    ).fetchone()
    if not files:
        looked = " and ".join(clean(str(place / "projects")) for place in places)
        unread = [f"{path.name}: {why}" for path, why in refused]
        return Coverage(
            "transcripts",
            f"none: no session of Claude Code is in {looked}",
            unreadable=tuple(map(clean, unread)),
        )
    copied = store.copied()
    sessions = counted(files - round(helpers), "session")
    if copied:
        sessions += f", {copied} of them {'a copy' if copied == 1 else 'copies'} (every record counts once),"
    told = f"{sessions} and {counted(round(helpers), 'subagent')}, {size(round(total))}"
    if files > done.files:
        told += f" ({files - done.files} of them deleted since)"
    if dirt:
        told += f", {counted(round(dirt), 'line')} that could not be read"
    unread = [f"{counted(count, 'line')} {kind}" for kind, count in store.dirt()]
    unread += [f"{path.name}: {why}" for path, why in [*refused, *done.unreadable]]
    return Coverage("transcripts", told, first, last, tuple(clean(one) for one in unread))


def _tools(store: Store) -> list[Coverage]:
    """What tools reported; nothing where there is no transcript."""
    run = store.connection.execute
    if not run("SELECT count(*) FROM file").fetchone()[0]:
        return []
    errors, sessions, first, last = run(
        "SELECT count(*), count(DISTINCT session), min(at_ms), max(at_ms) FROM tool_error"
    ).fetchone()
    told = (
        f"{counted(errors, 'error')} in {counted(sessions, 'session')}, of each its kind alone"
        if errors
        else "no error"
    )
    told += "; how often tools were used is not counted"
    if unread := len(store.without_tools()):
        told += f"; those of {counted(unread, 'transcript')}, read by an earlier version and gone since, are not known"
    return [Coverage("tool results", told, first, last)]


def _desktop(home: Path, zone: tzinfo, *, assumed: bool) -> tuple[list[desktop.DesktopLog], Coverage]:
    logs, unread = [], []
    try:
        found = desktop.logs(home)
    except OSError as error:
        return [], Coverage("desktop log", "none", unreadable=(clean(f"{error.filename}: {error.strerror}"),))
    for path in found:
        try:
            with open(path, encoding="utf-8", errors="replace", opener=only_files) as lines:
                logs.append(desktop.read(lines, zone))
        except OSError as error:
            unread.append(f"{path.name}: {error.strerror}")
    lines_read = sum(log.lines for log in logs)
    if not lines_read:
        return logs, Coverage("desktop log", "none", unreadable=tuple(unread))
    first = min(log.first_ms for log in logs if log.first_ms is not None)
    last = max(log.last_ms for log in logs if log.last_ms is not None)
    watched_h = sum(ended - begun for log in logs for begun, ended in log.spans) / HOUR_MS
    by = read_as(zone_name(zone), assumed=assumed)
    told = f"{counted(lines_read, 'line')}, covers {watched_h:,.0f} h in all; {by}"
    return logs, Coverage("desktop log", told, first, last, tuple(unread))


def read_as(zone: str, *, assumed: bool) -> str:
    """By which clock a home's local times were read; `assumed`: nobody said that it is that home's."""
    told = f"local times read as {zone}"
    if assumed:
        told += " for want of another (where that machine's clock was elsewhere, its outages are missed: say --timezone)"
    return told


# ----- the same of another command


def asked_of(
    home: Path | None,
    timezone: str | None,
    since: str | None,
    until: str | None,
    add: Sequence[Path],
    clock_s: float | None,
) -> list[str]:
    """The options that make another command look at the same, as words of a shell's line before they are quoted."""
    told = {"--home": home, "--timezone": timezone, "--since": since, "--until": until}
    words = [word for option, value in told.items() if value is not None for word in (option, str(value))]
    words += [word for path in add for word in ("--add", str(path))]
    return [*words, f"--clock={clock_s}s"] if clock_s is not None else words
