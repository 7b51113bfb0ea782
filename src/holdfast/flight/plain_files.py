"""Somebody else's files, opened only where they are files.

A named pipe is waited for until somebody writes to it, a device can be endless, and a socket cannot be opened at all; in a
home that is looked at any name may be one. Looking first is not enough: what lies there may change before it is opened, so
it is opened without waiting, and looked at again.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

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
    _refuse(Path(path).stat().st_mode, path)
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


def _refuse(mode: int, path: str) -> None:
    if why := irregular(mode):
        kind = IsADirectoryError if stat.S_ISDIR(mode) else OSError
        raise kind(errno.EISDIR if kind is IsADirectoryError else errno.EINVAL, why, path)
