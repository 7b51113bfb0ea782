"""Somebody else's files, opened only where they are files.

A named pipe is waited for until somebody writes to it, a device can be endless, and a socket cannot be opened at all; in a
home that is looked at any name may be one. Looking first is not enough: what lies there may change before it is opened, so
it is opened without waiting, and looked at again.

A file that the user named is another matter: a pipe may be meant (`<(zcat trace.pcap.gz)`), if somebody writes to it.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat
from pathlib import Path

WRITER_S = 3.0
"A pipe's writer begins with ours, if there is one: the shell starts both."

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFDIR: "a directory",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
NOT_REGULAR = "not a regular file"


def irregular(mode: int) -> str:
    """`a named pipe, not a regular file`, by an `st_mode`; empty of a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return f"{_KINDS.get(stat.S_IFMT(mode), 'something else')}, {NOT_REGULAR}"


def only_files(path: str, flags: int) -> int:
    """An opener for `open`: `open(path, "rb", opener=only_files)`. Raises `OSError` for what is no regular file."""
    _refuse(os.stat(path).st_mode, path)  # noqa: PTH116 (a `Path` costs more than the call)
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _refuse(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_plain(path: Path) -> bytes:
    """A file's content. Raises `OSError`, also for what is no regular file."""
    with open(path, "rb", opener=only_files) as file:
        return file.read()


def open_once(path: Path) -> io.FileIO:
    """A file, or a pipe that somebody writes to. Raises `OSError` for anything else, and where nobody writes."""
    file = io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), closefd=True)
    try:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISFIFO(mode):
            _refuse(mode, str(path))
        # A pipe that was never written to is not ready; one whose writer is gone is, with what is left in it.
        elif not select.select([file], [], [], WRITER_S)[0] and file.read(1) is not None:
            raise OSError(errno.EINVAL, "a pipe that nobody writes to", str(path))
        os.set_blocking(file.fileno(), True)
    except OSError:
        file.close()
        raise
    return file


def read_once(path: Path, most: int) -> bytes:
    """All of a short file, or of a pipe whose writer does not pause for long. Raises `OSError`, also where it is longer."""
    with open_once(path) as file:
        pieces: list[bytes] = []
        left, is_pipe = most + 1, stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)
        while left > 0:
            if is_pipe and not select.select([file], [], [], WRITER_S)[0]:
                raise OSError(errno.EINVAL, "a pipe whose writer goes on without ending", str(path))
            piece = file.read(left)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            left -= len(piece)
    raise OSError(errno.EFBIG, f"longer than {most:,} bytes", str(path))


def listed(directory: Path) -> list[Path]:
    """What is in a directory, in the order of names; nothing where there is none.

    Raises `OSError` where it may not be looked into.
    """
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _refuse(mode: int, path: str) -> None:
    if why := irregular(mode):
        kind = IsADirectoryError if stat.S_ISDIR(mode) else OSError
        raise kind(errno.EISDIR if kind is IsADirectoryError else errno.EINVAL, why, path)
