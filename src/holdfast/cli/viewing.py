"""What the viewing commands share: opening the journal, spans of time, local times, columns, JSON lines."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import click

from holdfast.cli.errors import Failed
from holdfast.flight.reading import Library, StoredTurn, open_library
from holdfast.flight.redact import clean
from holdfast.flight.schema import JournalError
from holdfast.flight.state import StateError, state_path

LEAST_SENTENCE = 30
"A sentence narrower than this is not read but spelled."
NOTHING_YET = "nothing is recorded yet in {}; carry a turn first, for example with: holdfast run -- claude"


@contextmanager
def opened_library(directory: Path | None = None, nothing: str = NOTHING_YET) -> Iterator[Library]:
    """The journal, or an error that says how to get one: `nothing`, with `{}` for the directory."""
    directory = directory or state_path()
    try:
        with open_library(directory) as library:
            if library is None:
                raise Failed(nothing.format(directory))
            yield library
    except (JournalError, StateError) as error:
        raise Failed(str(error)) from error
    except sqlite3.Error as error:
        damaged = getattr(error, "sqlite_errorname", "") in ("SQLITE_CORRUPT", "SQLITE_NOTADB")
        then = (
            "it is damaged: move journal.sqlite away, and a new one is made"
            if damaged
            else "try again in a moment"
        )
        raise Failed(f"the journal in {directory} cannot be read ({error}); {then}") from error


def the_turn(library: Library, name: str) -> StoredTurn:
    """The one turn meant by `name`, or an error that helps to find it.

    `name` may be pasted as it was logged: `"request-id": "req_..."`, `cf-ray: 9eea680afe7cbd1f-ORD`.
    """
    name = _HEADER.sub("", name.strip()).strip("\"', ")
    name = name.encode(errors="backslashreplace").decode()  # what is no UTF-8 in a command line names no turn
    found = library.find(name) if name else []
    if not found:
        near = library.near_names(name) if name else []
        hint = f"did you mean {' or '.join(clean(one) for one in near)}? Or see" if near else "see"
        raise Failed(
            f"no turn has an id that begins with {clean(name)!r}, nor such a request id or cf-ray; {hint}: "
            "holdfast flights"
        )
    if len(found) > 1:
        ids = ", ".join(turn.record.turn_id for turn in found[:5]) + (", ..." if len(found) > 5 else "")
        raise Failed(f"{clean(name)!r} fits several turns ({ids}); give more of the id")
    return found[0]


_HEADER = re.compile(r"(?i)^[\"']?(?:(?:x-)?request-id|cf-ray|request_id)[\"']?\s*[:=]\s*")


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def span(value: str) -> float:
    """A length of time in seconds, from `90s`, `30m`, `2h`, `7d` or `1w`. For click: `type=span`."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)\s*([smhdw])", value.strip().lower())
    if not found:
        raise click.BadParameter(
            f"{clean(value)!r} is not a length of time; write it like 90s, 30m, 2h or 7d"
        )
    return float(found[1]) * _UNITS[found[2]]


def when(value: str, zone: tzinfo | None = None) -> int:
    """Wall time in ms, from how long ago (`2h`) or a local date (`2026-03-01T14:30`). For click: `type=when`.

    A date that names no zone is of `zone`; None is this machine's.
    """
    try:
        at_s = datetime.now().timestamp() - span(value)
    except click.BadParameter:
        try:
            told = datetime.fromisoformat(value)
            at_s = (told if zone is None or told.tzinfo else told.replace(tzinfo=zone)).timestamp()
        except (ValueError, OverflowError, OSError):
            raise click.BadParameter(
                f"{clean(value)!r} is neither a length of time (2h, 7d) nor a date (2026-03-01)"
            ) from None
    if at_s < 0:
        raise click.BadParameter(f"{clean(value)!r} is before 1970; write it like 2h, 7d or 2026-03-01")
    return int(at_s * 1000)


def local_time(wall_ms: int, pattern: str = "%m-%d %H:%M:%S") -> str:
    """A wall time as the user's clock shows it."""
    try:
        return datetime.fromtimestamp(wall_ms / 1000).strftime(pattern)
    except (ValueError, OverflowError, OSError):
        return "?"


def page_width() -> int | None:
    """Columns to wrap at; None when piped, where one line per sentence is easier to search."""
    return max(shutil.get_terminal_size().columns, 60) if sys.stdout.isatty() else None


def reading_width() -> int:
    """Columns of running text: as wide as the terminal, but no wider than an eye follows."""
    return max(min(shutil.get_terminal_size().columns, 100), 60)


def columns(rows: Sequence[Sequence[str]], widths: Sequence[int] | None = None) -> list[str]:
    """Rows as lines with aligned columns, two spaces between; the last column is as long as it likes."""
    if not rows:
        return []
    widths = widths or [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def indented(text: str, room: int, by: int = 2) -> list[str]:
    """A text below a row, wrapped."""
    blank = " " * by
    return textwrap.wrap(text, room, initial_indent=blank, subsequent_indent=blank, break_on_hyphens=False)


def listed(rows: Sequence[Sequence[str]], room: int | None) -> list[str]:
    """Rows whose last cell is a sentence: wrapped under itself, or below the row where too little is left for it."""
    if room is None:
        return columns(rows)
    heads = columns([row[:-1] for row in rows])
    left = max(map(len, heads), default=0) + 2
    lines = []
    for head, row in zip(heads, rows, strict=True):
        if room - left < LEAST_SENTENCE:
            lines += [head, *indented(row[-1], room)]
        else:
            said = indented(row[-1], room, left) or [""]
            lines += [f"{head:<{left}}{said[0].lstrip()}", *said[1:]]
    return lines


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner can read. Raises `Failed`; nothing is overwritten, no link followed."""
    write_new(path, text, 0o600)


def write_new(path: Path, text: str, mode: int) -> None:
    """Write a new file as a whole: where it does not fit, nothing is left of it. Raises `Failed`, as `write_private`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        made = os.open(path, flags, mode)
    except FileExistsError:
        must_be_new(path)
        raise
    except OSError as error:
        raise Failed(f"cannot write {clean(str(path))} ({error.strerror}); choose another place") from error
    try:
        with os.fdopen(made, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise Failed(f"cannot write {clean(str(path))} ({error.strerror}); choose another place") from error


def must_be_new(path: Path) -> None:
    """Raise `Failed` where that file cannot be made anew: before the work is done, and not after it."""
    if os.path.lexists(path):
        raise Failed(f"{clean(str(path))} is there already; choose another name, or remove it first")
    if not path.parent.is_dir():
        raise Failed(
            f"there is no directory {clean(str(path.parent))} to write into; make it, or choose another place"
        )


def must_follow(since_ms: int | None, until_ms: int | None) -> None:
    """Raise `click.UsageError` where a part of the time ends before it begins, or when it begins."""
    if since_ms is None or until_ms is None or until_ms > since_ms:
        return
    if until_ms == since_ms:
        raise click.UsageError(
            "--until is the same moment as --since, and between them lies nothing; a whole day ends with the next: "
            "--since 2026-03-01 --until 2026-03-02"
        )
    raise click.UsageError("--until is not after --since; exchange them")


def json_line(value: Any) -> str:
    """One line of JSON in ASCII, so that no stored text can reach the terminal as a control character."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
