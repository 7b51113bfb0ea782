"""Saving what the attic holds: only below one directory, nothing overwritten, no link followed.

The names come from a model that may have been told to write anywhere. Whatever it asked for, a file gets the last part
of its path as a plain name, below a directory that was opened once and is held by its descriptor.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.cli.errors import Failed
from holdfast.cli.kept import File
from holdfast.flight.redact import clean

DEFAULT_DIRECTORY = "holdfast-attic"


def saved(
    files: list[File], turn_id: str, directory: Path | None, *, again: bool = True
) -> list[tuple[Path, bool]]:
    """Save these files; where each is, and whether it was written now. Without `again` one that is there will do."""
    target = directory or Path(DEFAULT_DIRECTORY, turn_id)
    try:
        with _opened_directory(target, trusted=directory is not None) as descriptor:
            places = []
            for file in files:
                there = None if again else _already_there(descriptor, file)
                name = there or write_new(descriptor, file.name, file.text)
                places.append((target / name, there is None))
            return places
    except OSError as error:
        raise Failed(
            f"cannot save into {clean(str(target))} ({error.strerror}); choose another directory with --to"
        ) from error


def _already_there(directory: int, file: File) -> str | None:
    """The name under which this very text was saved before; None where it was not. No link is followed."""
    wanted = file.text.encode("utf-8", "replace")
    for name in _names(file.name):
        try:
            descriptor = os.open(
                name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory
            )
        except FileNotFoundError:
            return None
        except OSError:
            continue
        with os.fdopen(descriptor, "rb") as saved:
            status = os.fstat(saved.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size == len(wanted) and saved.read() == wanted:
                return name
    return None


@contextmanager
def _opened_directory(target: Path, *, trusted: bool) -> Iterator[int]:
    """Make the directory and open it; our own default path is walked without following links."""
    if trusted:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    else:
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        for part in target.parts:
            above = descriptor
            try:
                if not _exists(part, above):
                    os.mkdir(part, 0o700, dir_fd=above)
                descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
            finally:
                os.close(above)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _exists(name: str, descriptor: int) -> bool:
    try:
        os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _names(name: str) -> Iterator[str]:
    """`name`, then with -2, -3, ... before its ending."""
    stem, dot, ending = name.rpartition(".") if not name.startswith(".") else (name, "", "")
    if not dot:
        stem, ending = name, ""
    for number in range(1, 1000):
        yield name if number == 1 else f"{stem}-{number}{dot}{ending}"


def write_new(directory: int, name: str, text: str) -> str:
    """Write a file that was not there before, and return the name it got: `name`, or with -2, -3, ..."""
    for tried in _names(name):
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(tried, flags, 0o600, dir_fd=directory)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "replace"))
        return tried
    raise FileExistsError(17, f"a thousand files named {name} are there already")
