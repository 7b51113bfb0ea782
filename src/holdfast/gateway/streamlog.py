"""The stream log: one answer so far, as exact bytes; append, and read from an offset.

The newest part is in memory, the older part in a file that has no name (it vanishes with its process,
however that ends). So a reader may lag by hours and megabytes and costs no memory, and the provider is
never slowed by it. The same class keeps a request's body for as long as its turn lives.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

READ_SIZE = 64 * 1024


class MemoryBudget:
    """Memory that all logs of a process share; a log that cannot get more spools early."""

    __slots__ = ("free", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total


class SpoolError(OSError):
    """The spool file could not be written or read: the disk is full, or the directory is gone."""


class StreamLog:
    """Bytes at offsets 0 to `size`. Offsets never change their byte."""

    __slots__ = ("_budget", "_directory", "_file", "_memory_limit", "_pieces", "_spooled", "size")

    def __init__(self, budget: MemoryBudget, memory_limit: int, directory: Path | None) -> None:
        self._budget = budget
        self._memory_limit = memory_limit
        self._directory = directory
        self._pieces: list[bytes] = []
        self._spooled = 0
        self._file: int | None = None
        self.size = 0

    def __repr__(self) -> str:
        return f"<StreamLog {self.size} bytes, {self._spooled} of them spooled>"

    def append(self, data: bytes) -> None:
        """Add bytes at the end. Raises `SpoolError` where memory is used up and the disk will not take them."""
        self._pieces.append(data)
        self.size += len(data)
        self._budget.free -= len(data)
        in_memory = self.size - self._spooled
        if in_memory > self._memory_limit or (self._budget.free < 0 and in_memory >= 16 * 1024):
            self._spool()

    def read(self, offset: int, limit: int = READ_SIZE) -> bytes:
        """Up to `limit` bytes from `offset`; empty only at the end. Raises `SpoolError`."""
        if offset < self._spooled:
            assert self._file is not None
            try:
                data = os.pread(self._file, min(limit, self._spooled - offset), offset)
            except OSError as error:
                raise SpoolError(error.errno, f"reading the spool: {error.strerror}") from error
            if not data:
                raise SpoolError(0, "reading the spool: the file is shorter than what was written")
            return data
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        start = offset - self._spooled
        return self._pieces[0][start : start + limit] if self._pieces else b""

    def pieces(self) -> Iterator[bytes]:
        """All of it, in order, in pieces of at most `READ_SIZE`."""
        offset = 0
        while offset < self.size:
            piece = self.read(offset)
            offset += len(piece)
            yield piece

    def whole(self) -> bytes:
        """All of it as one value; for logs that are known to be small, or to be decoded as a whole."""
        return b"".join(self.pieces())

    def cut(self, size: int) -> None:
        """Forget what is behind `size` bytes: nobody has read it. Raises `SpoolError`."""
        if size >= self.size:
            return
        kept = b"" if size <= self._spooled else self.read(self._spooled, size - self._spooled)
        self._budget.free += self.size - self._spooled - len(kept)
        self._spooled = min(self._spooled, size)
        self._pieces = [kept] if kept else []
        self.size = size

    def close(self) -> None:
        """Give memory and file back. Safe to call twice."""
        self._budget.free += self.size - self._spooled
        self.size = self._spooled = 0
        self._pieces = []
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _spool(self) -> None:
        data = memoryview(b"".join(self._pieces))
        try:
            if self._file is None:
                self._file = _unlinked_file(self._directory)
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], self._spooled + written)
        except OSError as error:
            raise SpoolError(error.errno, f"writing the spool: {error.strerror}") from error
        self._spooled += len(data)
        self._budget.free += len(data)
        self._pieces = []


def _unlinked_file(directory: Path | None) -> int:
    """A private file without a name, in `directory` or the system's place for temporary files."""
    with tempfile.TemporaryFile(dir=directory) as file:
        return os.dup(file.fileno())
