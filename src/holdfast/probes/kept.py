"""Results of earlier probes, in the state directory: what a path was like then can be laid beside a failure of then.

`probes.jsonl` has one result per line, oldest first, private, and of bounded size: when it grows beyond, the older half
goes. A line that cannot be read is passed over.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from holdfast.flight.state import PRIVATE_FILE, PROBES
from holdfast.probes.result import Result, from_dict, line

MOST_BYTES = 2_000_000
"Of all results: some 500 of the longest, or years of an ordinary month."
LONGEST_LINE = 200_000


def keep(state_dir: Path, results: Sequence[Result], most_bytes: int = MOST_BYTES) -> None:
    """Add results. Raises `OSError`; a link in the file's place is refused."""
    with _opened(state_dir / PROBES, os.O_CREAT) as file:
        file.seek(0, os.SEEK_END)
        if file.tell() and _last_byte(file) != b"\n":
            file.write(b"\n")  # what a writer that was killed left behind
        for result in results:
            file.write(line(result).encode() + b"\n")
        if file.tell() > most_bytes:
            _write_back(file, _newest(file, most_bytes // 2))


def read(state_dir: Path, since_ms: int | None = None, until_ms: int | None = None) -> list[Result]:
    """What is kept, oldest first; those that began in the span. Nothing where nothing is kept or may be read."""
    with suppress(OSError):
        found, _ = read_all(state_dir)
        return [one for one in found if (since_ms or 0) <= one.begun_wall_ms < (until_ms or 1 << 62)]
    return []


def read_all(state_dir: Path) -> tuple[list[Result], int]:
    """What is kept, oldest first, and how many lines could not be read. Raises `OSError` where it may not be read."""
    found, dirt = [], 0
    with suppress(FileNotFoundError), (state_dir / PROBES).open("rb") as file:
        for _, result in _lines(file):
            if result is None:
                dirt += 1
            else:
                found.append(result)
    return sorted(found, key=lambda one: one.begun_wall_ms), dirt


def forget(state_dir: Path, before_ms: int) -> int:
    """Erase what began before; returns how many. Raises `OSError`."""
    try:
        with _opened(state_dir / PROBES) as file:
            file.seek(0)
            rows = list(_lines(file))
            stay = [raw for raw, result in rows if result is not None and result.begun_wall_ms >= before_ms]
            _write_back(file, stay)
            return len(rows) - len(stay)
    except FileNotFoundError:
        return 0


@contextmanager
def _opened(path: Path, flags: int = 0) -> Iterator[IO[bytes]]:
    """The file for reading and writing, and nobody else's while we are at it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, PRIVATE_FILE)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield file


def _lines(file: IO[bytes]) -> Iterator[tuple[bytes, Result | None]]:
    while raw := file.readline(LONGEST_LINE):
        result = None
        with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            result = from_dict(json.loads(raw))
        yield raw, result


def _last_byte(file: IO[bytes]) -> bytes:
    file.seek(-1, os.SEEK_END)
    last = file.read(1)
    file.seek(0, os.SEEK_END)
    return last


def _newest(file: IO[bytes], most_bytes: int) -> list[bytes]:
    file.seek(max(file.seek(0, os.SEEK_END) - most_bytes, 0))
    file.readline(LONGEST_LINE)
    return [raw for raw, result in _lines(file) if result is not None]


def _write_back(file: IO[bytes], rows: Sequence[bytes]) -> None:
    file.seek(0)
    file.writelines(rows)
    file.truncate()
