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

import msgspec

from holdfast.flight.record import AnswerLost

READ_SIZE = 64 * 1024


class MemoryBudget:
    """Memory that all logs of a process share; a log that cannot get more spools early."""

    __slots__ = ("free", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total


class SpoolError(OSError):
    """The spool file could not be written or read: the disk is full, or the directory is gone."""


class _File:
    """A file without a name. Whoever holds it may read it, in any thread; the last who lets go of it closes it."""

    __slots__ = ("_descriptor", "lent")

    def __init__(self, directory: Path | None) -> None:
        self.lent = False
        "Whether somebody beside its log may be reading it."
        self._descriptor = -1
        self._descriptor = _unlinked_file(directory)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def read(self, offset: int, limit: int) -> bytes:
        """Raises `SpoolError`, also where there is nothing."""
        try:
            data = os.pread(self._descriptor, limit, offset)
        except OSError as error:
            raise SpoolError(error.errno, f"reading the spool: {error.strerror}") from error
        if not data:
            raise SpoolError(0, "reading the spool: the file is shorter than what was written")
        return data

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Raises `OSError`."""
        data = memoryview(data)
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], offset + written)


class Lent:
    """What a log held at one moment, to be read by another thread. It outlives the log, with the log's file."""

    __slots__ = ("_file", "_pieces", "_spooled", "held_bytes", "size")

    def __init__(self, file: _File | None, spooled: int, pieces: list[bytes]) -> None:
        self._file = file
        self._spooled = spooled
        self._pieces = pieces
        self.held_bytes = sum(map(len, pieces))
        self.size = spooled + self.held_bytes

    def __repr__(self) -> str:
        return f"<Lent {self.size} bytes, {self.held_bytes} of them in memory>"

    def pieces(self) -> Iterator[bytes]:
        """All of it, in order. Raises `AnswerLost`."""
        offset = 0
        while offset < self._spooled:
            assert self._file is not None
            try:
                data = self._file.read(offset, min(READ_SIZE, self._spooled - offset))
            except SpoolError as error:
                raise AnswerLost(str(error)) from error
            offset += len(data)
            yield data
        yield from self._pieces


class StreamLog(msgspec.Struct, gc=False, eq=False):
    """Bytes at offsets 0 to `size`. Offsets never change their byte."""

    _budget: MemoryBudget
    _memory_limit: int
    _directory: Path | None
    _held: bytes = b""
    "What is in memory, as one value."
    _since: list[bytes] | None = None
    "What came behind it; a request that was read at once and a silent answer need no list."
    _spooled: int = 0
    _file: _File | None = None
    size: int = 0

    def __repr__(self) -> str:
        return f"<StreamLog {self.size} bytes, {self._spooled} of them spooled>"

    def append(self, data: bytes) -> None:
        """Add bytes at the end. Raises `SpoolError` where memory is used up and the disk will not take them."""
        if not self._held:
            self._held = data
        elif self._since is None:
            self._since = [data]
        else:
            self._since.append(data)
        self.size += len(data)
        self._budget.free -= len(data)
        in_memory = self.size - self._spooled
        if in_memory > self._memory_limit or (self._budget.free < 0 and in_memory >= 16 * 1024):
            self._spool()

    def read(self, offset: int, limit: int = READ_SIZE) -> bytes:
        """Up to `limit` bytes from `offset`; empty only at the end. Raises `SpoolError`."""
        if offset < self._spooled:
            assert self._file is not None
            return self._file.read(offset, min(limit, self._spooled - offset))
        start = offset - self._spooled
        return self._in_memory()[start : start + limit]

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

    def holds(self, data: bytes) -> bool:
        """Whether it is these bytes and no others. Raises `SpoolError`."""
        if self.size != len(data):
            return False
        if not self._spooled:  # as it lies: one request is compared with a thousand others of its head
            return self._in_memory() == data
        return self.whole() == data

    def lend(self) -> Lent:
        """What there is now, for another thread to read; what the log does afterwards changes nothing in it."""
        if self._file is not None:
            self._file.lent = True
        return Lent(self._file, self._spooled, [self._held, *(self._since or ())])

    def cut(self, size: int) -> None:
        """Forget what is behind `size` bytes: nobody has read it. Raises `SpoolError`."""
        if size >= self.size:
            return
        if self._file is not None and self._file.lent and size < self._spooled:
            self._copy_file(size)  # what comes now is not written over what somebody else reads
        kept = b"" if size <= self._spooled else self.read(self._spooled, size - self._spooled)
        self._budget.free += self.size - self._spooled - len(kept)
        self._spooled = min(self._spooled, size)
        self._held, self._since = kept, None
        self.size = size

    def close(self) -> None:
        """Give memory and file back. Safe to call twice."""
        self._budget.free += self.size - self._spooled
        self.size = self._spooled = 0
        self._held, self._since = b"", None
        self._file = None

    def _in_memory(self) -> bytes:
        if self._since is not None:
            self._held, self._since = b"".join((self._held, *self._since)), None
        return self._held

    def _copy_file(self, size: int) -> None:
        assert self._file is not None
        try:
            file, offset = _File(self._directory), 0
            while offset < size:
                data = self._file.read(offset, min(READ_SIZE, size - offset))
                file.write(offset, data)
                offset += len(data)
        except SpoolError:
            raise
        except OSError as error:
            raise SpoolError(error.errno, f"writing the spool: {error.strerror}") from error
        self._file = file

    def _spool(self) -> None:
        data = memoryview(self._in_memory())
        try:
            if self._file is None:
                self._file = _File(self._directory)
            self._file.write(self._spooled, data)
        except OSError as error:
            raise SpoolError(error.errno, f"writing the spool: {error.strerror}") from error
        self._spooled += len(data)
        self._budget.free += len(data)
        self._held = b""


def _unlinked_file(directory: Path | None) -> int:
    """A private file without a name, in `directory` or the system's place for temporary files."""
    with tempfile.TemporaryFile(dir=directory) as file:
        return os.dup(file.fileno())
