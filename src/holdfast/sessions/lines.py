"""A file in pieces of whole lines, in bounded memory, from any offset, and without a copy.

A transcript can have gigabytes, and single lines of a dozen megabytes. It is read into one buffer that is
filled again and again; what follows its last line end moves to the front. The buffer is small enough to stay in
the processor's cache while its lines are looked at, and grows for a line that is longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdfast.flight.plain_files import only_files

BLOCK = 512 * 1024
"Bytes. Reading 8 MiB at a time into fresh memory cost four times as much as reading itself."
LONGEST_LINE = 256 * 1024 * 1024
"Bytes. A longer line is given up in parts, none of which can be decoded: they are counted as dirt."

_spare: list[bytearray] = []
"Buffers whose file was read to its end. A new one for each file cost as much as reading a tenth of a megabyte."
FARTHEST_BACK = 8 * 1024 * 1024
"Bytes in which an earlier line is looked for."


def pieces(path: Path, start: int = 0, *, block: int = BLOCK) -> Iterator[tuple[int, bytearray, int]]:
    """Pieces of a file: the offset of each, a buffer, and how many bytes of it are the piece. Raises `OSError`.

    Each but the last ends with a line's end; what follows the last line end is the last piece: a line that is
    still being written, or was cut. The buffer is used again, by the next file too: take what you want to keep.
    """
    buffer = _spare.pop() if _spare and block == BLOCK else bytearray(block)
    with open(path, "rb", buffering=0, opener=only_files) as file:
        file.seek(start)
        at, held = start, 0
        while read := file.readinto(memoryview(buffer)[held:]):
            filled = held + read
            cut = buffer.rfind(b"\n", held, filled) + 1
            if not cut and filled > LONGEST_LINE:
                cut = filled
            if cut:
                yield at, buffer, cut
                at, held = at + cut, filled - cut
                buffer[:held] = buffer[cut:filled]
            else:
                held = filled
            if held == len(buffer):
                buffer.extend(bytes(len(buffer)))
        if held:
            yield at, buffer, held
    if len(buffer) == BLOCK:
        _spare.append(buffer)


def last_with(path: Path, needle: bytes, end: int) -> bytes | None:
    """The last line before `end` that holds the needle, if it begins within `FARTHEST_BACK` of it. Raises `OSError`."""
    with open(path, "rb", buffering=0, opener=only_files) as file:
        for far in (BLOCK // 8, BLOCK, FARTHEST_BACK):
            start = max(end - far, 0)
            file.seek(start)
            held = file.read(end - start)
            found = held.rfind(needle)
            begun = held.rfind(b"\n", 0, max(found, 0)) + 1
            if found >= 0 and (begun or not start):
                closed = held.find(b"\n", found)
                return held[begun : closed if closed >= 0 else None]
            if not start:
                return None
    return None
