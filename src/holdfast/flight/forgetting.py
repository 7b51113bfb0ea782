"""Erasing what was recorded: all of it, or what is older than a given time.

While a gateway lives its journal cannot be taken away under it. Then everything that is finished is erased
inside the file, and the turns still under way stay; otherwise the files themselves go.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from holdfast.flight.attic import Attic
from holdfast.flight.instances import mark_interrupted
from holdfast.flight.schema import JournalError, connect, transaction
from holdfast.flight.state import ANSWERS, CAPTURES, INSTANCES, JOURNAL, LOCK, OURS, RUN_LOGS, locked


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased."""

    turns: int | None
    "None where the journal could not be read before it was removed."
    answers: int
    answer_bytes: int
    unfinished: int
    "Turns of living gateways that stay."
    running: int
    "Gateways that use this state directory now."


def living_gateways(state_dir: Path) -> int:
    """How many instance files are locked, which needs no readable journal."""
    count = 0
    for path in (state_dir / INSTANCES).glob("*.lock"):
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                count += 1
            finally:
                os.close(descriptor)
    return count


def forget_before(state_dir: Path, wall_ms: int) -> Forgotten:
    """Erase finished turns that began, and answers, captures and log lines that were kept, before `wall_ms`.

    Raises `JournalError`, `OSError`.
    """
    for name in RUN_LOGS:
        _erase_lines(state_dir / name, wall_ms)
    for path in (state_dir / CAPTURES).glob(
        "*"
    ):  # the parts too that a killed capture left, whose names are hidden
        with suppress(FileNotFoundError):
            if path.lstat().st_mtime * 1000 < wall_ms and (path.is_symlink() or not path.is_dir()):
                path.unlink()
    connection = connect(state_dir)
    try:
        mark_interrupted(connection, state_dir)
        return _erase_rows(connection, state_dir, wall_ms)
    finally:
        connection.close()


def _erase_rows(connection: sqlite3.Connection, state_dir: Path, wall_ms: int) -> Forgotten:
    attic = Attic(state_dir, connection)
    old = [answer for answer in attic.answers() if answer.kept_wall_ms < wall_ms]
    attic.remove([answer.turn_id for answer in old])
    with transaction(connection):
        turns = connection.execute(
            "DELETE FROM turn WHERE started_wall_ms < ? AND ending_code IS NOT NULL", (wall_ms,)
        ).rowcount
        connection.execute("DELETE FROM note WHERE wall_ms < ?", (wall_ms,))
        connection.execute(
            "DELETE FROM instance WHERE ended_wall_ms < ? AND id NOT IN (SELECT instance_id FROM turn)",
            (wall_ms,),
        )
    unfinished = connection.execute("SELECT count(*) FROM turn WHERE ending_code IS NULL").fetchone()[0]
    # Deleted rows are overwritten (secure_delete); the write-ahead log still has older pages until it is emptied.
    connection.executescript("PRAGMA incremental_vacuum")  # `execute` would free one page only
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    size = sum(answer.size for answer in old)
    return Forgotten(turns, len(old), size, unfinished, living_gateways(state_dir))


def _erase_lines(path: Path, wall_ms: int) -> None:
    """Take out of a log what was written before `wall_ms`.

    In place, because gateways hold it open and append to it; a line of theirs can get lost meanwhile.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "r+b") as file:
        lines = file.readlines()
        # A line without a stamp goes on with the one before it.
        stamps = [(index, _stamp_ms(line)) for index, line in enumerate(lines)]
        first = next((index for index, at in stamps if at is not None and at >= wall_ms), len(lines))
        if first:
            file.seek(0)
            file.writelines(lines[first:])
            file.truncate()


def _stamp_ms(line: bytes) -> int | None:
    """Wall time of a line such as `2026-11-21T07:34:35Z [812] ...`; None where it has none."""
    try:
        return int(datetime.fromisoformat(line.split(b" ", 1)[0].decode()).timestamp() * 1000)
    except ValueError:
        return None


def forget_all(state_dir: Path) -> Forgotten:
    """Erase everything that no living gateway still needs. Raises `JournalError`, `OSError`, `sqlite3.Error`."""
    with locked(state_dir, exclusive=True):
        if living_gateways(state_dir):
            return forget_before(state_dir, 1 << 62)
        found = _count(state_dir)
        for name in OURS:
            if name != LOCK:
                _remove(state_dir / name)
        return found


def _count(state_dir: Path) -> Forgotten:
    """What is there, for the report; a journal that cannot be read is no reason to keep it."""
    turns: int | None = 0
    if (state_dir / JOURNAL).exists():
        try:
            connection = connect(state_dir)
            turns = connection.execute("SELECT count(*) FROM turn").fetchone()[0]
            connection.close()
        except (JournalError, sqlite3.Error):
            turns = None
    files = [path for path in (state_dir / ANSWERS).glob("*.bin") if not path.is_symlink()]
    return Forgotten(turns, len(files), sum(path.stat().st_size for path in files), 0, 0)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
