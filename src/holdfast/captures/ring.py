"""The last seconds of a capture, in files that only their owner may read, and no larger than was allowed.

Packets are written into parts; the oldest part goes when there are too many. At the end the parts become one pcap
file. If the process is killed instead, the parts are left, each a pcap file of its own.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Final

from holdfast.captures.masking import Ready

PARTS: Final = 8
"The ring in so many parts: what is dropped at once is an eighth."
SNAPLEN: Final = 262144
_HEADER: Final = Struct("<IHHiIII")
_RECORD: Final = Struct("<IIII")
_NANOSECONDS: Final = 0xA1B23C4D


@dataclass(slots=True)
class _Part:
    path: Path
    file: BinaryIO
    size: int = 0
    last_ns: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """What a ring ended as."""

    packets: int
    bytes: int
    first_ns: int
    last_ns: int


def new_private_file(path: Path) -> BinaryIO:
    """A file that was not there before, for its owner alone. Raises `OSError`."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o600), "w+b")


class Ring:
    """Takes packets in their order. `finish` or `abandon` it."""

    def __init__(self, out: Path, *, most_bytes: int, keep_s: float) -> None:
        """`out`: the file to be; its parts lie beside it until then. Raises `OSError` where it cannot be made."""
        self.out = out
        self._most, self._keep_ns = most_bytes, round(keep_s * 1e9)
        self._parts: deque[_Part] = deque()
        self._number = 0
        self._link_type: int | None = None
        self._last_ns = 0
        self.left_out = 0
        "Packets of another link type than the first one's: a pcap file has one."
        self._target = new_private_file(out)

    def write(self, packet: Ready) -> None:
        """Take a packet. Raises `OSError`."""
        if self._link_type is None:
            self._link_type = packet.link_type
        if packet.link_type != self._link_type:
            self.left_out += 1
            return
        part = self._parts[-1] if self._parts else self._new_part()
        if part.size and (
            part.size + len(packet.data) > self._most // PARTS
            or packet.at_ns - self._began(part) > self._keep_ns // (PARTS // 2)
        ):
            part = self._new_part()
        seconds, rest = divmod(max(packet.at_ns, 0), 1_000_000_000)
        part.file.write(_RECORD.pack(seconds & 0xFFFFFFFF, rest, len(packet.data), packet.original))
        part.file.write(packet.data)
        part.size += _RECORD.size + len(packet.data)
        part.last_ns = self._last_ns = max(self._last_ns, packet.at_ns)
        self._drop_old()

    def flush(self) -> None:
        """Let what was taken be on the disk."""
        if self._parts:
            self._parts[-1].file.flush()

    def finish(self) -> Kept:
        """Make the one file of the parts and remove them. Raises `OSError`; the parts are left then."""
        count, size, first = 0, 0, 0
        with self._target as target:
            target.write(self._head())
            for part in self._parts:
                part.file.flush()
                part.file.seek(_HEADER.size)
                while head := part.file.read(_RECORD.size):
                    seconds, rest, length, _ = _RECORD.unpack(head)
                    data = part.file.read(length)
                    at = seconds * 1_000_000_000 + rest
                    if at < self._last_ns - self._keep_ns:
                        continue
                    first = first or at
                    target.write(head + data)
                    count += 1
                    size += len(head) + len(data)
        self._remove_parts()
        return Kept(count, size, first, self._last_ns)

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._target.close()
        self.out.unlink(missing_ok=True)
        self._remove_parts()

    def _head(self) -> bytes:
        link = self._link_type if self._link_type is not None else 1
        return _HEADER.pack(_NANOSECONDS, 2, 4, 0, 0, SNAPLEN, link)

    def _new_part(self) -> _Part:
        self._number += 1
        if self._parts:
            self._parts[-1].file.flush()
        path = self.out.with_name(f".{self.out.name}.part{self._number}")
        part = _Part(path, new_private_file(path))
        part.file.write(self._head())
        self._parts.append(part)
        return part

    def _began(self, part: _Part) -> int:
        older = [one.last_ns for one in self._parts if one is not part]
        return older[-1] if older else part.last_ns

    def _drop_old(self) -> None:
        while len(self._parts) > 1 and (
            sum(part.size for part in self._parts) > self._most
            or self._parts[0].last_ns < self._last_ns - self._keep_ns
        ):
            part = self._parts.popleft()
            part.file.close()
            part.path.unlink(missing_ok=True)

    def _remove_parts(self) -> None:
        for part in self._parts:
            part.file.close()
            part.path.unlink(missing_ok=True)
        self._parts.clear()
