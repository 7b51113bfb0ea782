"""The one module of this room that opens files: streamed, whatever their size, with bounded memory.

Everything near our turns is kept, some zones away on either side, up to a bound, and what could be ours before all
else; from it the clock is found. If the bound was reached, the file is read again, and only what was seen while our
turns ran, by that clock, is kept. What cannot be read is counted, and never ends the reading.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

from holdfast.flight.plain_files import only_files
from holdfast.flight.redact import clean, scrub
from holdfast.records import har, mitmproxy
from holdfast.records.align import FARTHEST_S, Clock, align, shown
from holdfast.records.formats import Reader
from holdfast.records.legs import Candidates, Leg, window
from holdfast.records.match import ABOUT_S, Matched, match
from holdfast.records.sighting import Sighting, detail

MOST_KEPT = 20_000
"Sightings of one file that are kept at once."
LONGEST_RAW = 1 << 20
"Bytes of one line; what is longer is one line that is not understood."
LARGEST_HAR = 256 * 1024 * 1024
"Bytes of a HAR file, which is one JSON document and has to be held as a whole."

_HAR = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*\{\s*\"log\"\s*:\s*\{")
CAPTURES = (
    b"\xd4\xc3\xb2\xa1",
    b"\xa1\xb2\xc3\xd4",
    b"\x4d\x3c\xb2\xa1",
    b"\xa1\xb2\x3c\x4d",
    b"\x0a\x0d\x0d\x0a",
)
"The first bytes of pcap (both orders, micro- and nanoseconds) and pcapng files."

Keep = Callable[[Sighting], bool]
Rank = Callable[[Sighting], int]


class NotReadable(Exception):
    """The file cannot be opened, or is nothing that can be read; the text says why and what would be read."""


@dataclass(slots=True)
class Pile:
    """What one reading of a file gave."""

    shelves: tuple[list[Sighting], list[Sighting], list[Sighting]] = field(
        default_factory=lambda: ([], [], [])
    )
    "By rank: what could be ours where clocks agree, what could be ours, and what is not; each bounded."
    program: str = ""
    units: str = "line"
    count: int = 0
    "Lines that are not blank, or entries."
    dirt: int = 0
    first_dirt: int | None = None
    left_out: int = 0
    "Sightings that would have been kept but for the bound."
    far: int = 0
    "Sightings at quite other times than our turns."
    problem: str = ""
    "Why the reading ended early; empty where it did not."

    @property
    def seen(self) -> list[Sighting]:
        """All that was kept, in the file's order."""
        return sorted((one for shelf in self.shelves for one in shelf), key=lambda one: one.line)


@dataclass(slots=True)
class Source:
    """A file beside our turns."""

    name: str
    "For people: `nginx access.log`."
    clock: Clock
    matched: Matched
    pile: Pile

    @property
    def zone_s(self) -> float | None:
        """How far a file of the same program that writes local time should be ahead of us; None if not known."""
        zones = {one.zone_s for one in self.pile.seen}
        if len(zones) != 1 or self.clock.ahead_s is None:
            return None
        (zone_s,) = zones
        return None if zone_s is None else zone_s + self.clock.ahead_s


def first_bytes(path: Path) -> bytes:
    """The beginning of a file's content, unpacked. Raises `NotReadable`."""
    try:
        with _opened(path) as content:
            return content.read(4096)
    except (OSError, EOFError, zlib.error) as error:
        raise NotReadable(f"{_named(path)} cannot be read: {_why(error)}") from None


def is_capture(path: Path) -> bool:
    """Whether a file is a packet capture, by its first bytes. Raises `NotReadable`."""
    return first_bytes(path)[:4] in CAPTURES


def text_lines(path: Path) -> Iterator[str]:
    """A file's lines as text, unpacked; of one that is too long, its beginning. Raises `NotReadable`."""
    try:
        with _opened(path) as content:
            yield from _raw_lines(content)
    except (OSError, EOFError, zlib.error) as error:
        raise NotReadable(f"{_named(path)} cannot be read: {_why(error)}") from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with open(path, "rb", opener=only_files) as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            yield raw
            return
        with gzip.open(raw, "rb") as content:
            yield cast(BinaryIO, content)


def _named(path: Path) -> str:
    """A file as somebody typed it: unlike names in reports, a long folder's is not taken for a secret."""
    return clean(scrub(str(path)), limit=1000)


def _why(error: Exception) -> str:
    if isinstance(error, IsADirectoryError):
        return "it is a directory; name the files in it"
    return detail(
        (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    )


def _every(_: Sighting) -> bool:
    return True


def _first(_: Sighting) -> int:
    return 0


def read(path: Path, near_s: float, keep: Keep = _every, rank: Rank = _first) -> Pile:
    """Read a file and keep what `keep` says, a bounded count, each `rank` by itself. Raises `NotReadable`.

    `near_s`, seconds since the epoch, dates times that were written without a day or a year.
    """
    head = first_bytes(path)
    pile = Pile()
    if head[:4] in CAPTURES:
        raise NotReadable(f"{_named(path)} is a packet capture")
    try:
        with _opened(path) as content:
            if _HAR.match(head):
                _read_har(content, pile, keep, rank)
            elif mitmproxy.starts(head):
                _read_flows(content, pile, keep, rank)
            elif b"\0" in head and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
                raise NotReadable(
                    f"{_named(path)} is neither text nor a capture, HAR or mitmproxy file that is known"
                )
            else:
                _read_lines(content, head, pile, near_s, keep, rank)
    except (OSError, EOFError, zlib.error) as error:
        pile.problem = f"reading ended early: {_why(error)}"
    return pile


def _put(pile: Pile, one: Sighting, keep: Keep, rank: Rank) -> None:
    if not keep(one):
        pile.far += 1
        return
    shelf, most = pile.shelves[rank(one)], MOST_KEPT
    if len(shelf) < (most if shelf is not pile.shelves[-1] else most // 10):
        shelf.append(one)
    else:
        pile.left_out += 1


def _dirty(pile: Pile, number: int) -> None:
    pile.dirt += 1
    pile.first_dirt = pile.first_dirt or number


def _read_lines(content: BinaryIO, head: bytes, pile: Pile, near_s: float, keep: Keep, rank: Rank) -> None:
    reader = Reader(near_s)
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        for number, text in enumerate(_wide_lines(content) if wide else _raw_lines(content), 1):
            for one in reader.line(text.removeprefix("\ufeff") if number == 1 else text, number):
                _put(pile, one, keep, rank)
    finally:
        for one in reader.end():
            _put(pile, one, keep, rank)
        pile.program, pile.count, pile.dirt = reader.main, reader.lines, reader.dirt
        pile.first_dirt = reader.first_dirt


def _raw_lines(content: BinaryIO) -> Iterator[str]:
    """Lines; of one that is too long, its beginning."""
    while raw := content.readline(LONGEST_RAW):
        yield raw.decode("utf-8", "replace")
        while len(raw) == LONGEST_RAW and not raw.endswith(b"\n"):
            raw = content.readline(LONGEST_RAW)


def _wide_lines(content: BinaryIO) -> Iterator[str]:
    text = io.TextIOWrapper(content, encoding="utf-16", errors="replace")
    while line := text.readline(LONGEST_RAW):
        yield line


def _read_har(content: BinaryIO, pile: Pile, keep: Keep, rank: Rank) -> None:
    pile.units = "entry"
    document = content.read(LARGEST_HAR + 1)
    if len(document) > LARGEST_HAR:
        pile.problem = "it is larger than 256 MB; export less, or without content"
        return
    try:
        for number, one in enumerate(har.sightings(document), 1):
            pile.count += 1
            if one is None:
                _dirty(pile, number)
            else:
                pile.program = one.program
                _put(pile, one, keep, rank)
    except har.NotHar as error:
        pile.problem = f"it is no whole HAR file: {error}"


def _read_flows(content: BinaryIO, pile: Pile, keep: Keep, rank: Rank) -> None:
    pile.units, pile.program = "flow", "mitmproxy"
    try:
        for number, payload in enumerate(mitmproxy.flows(content.read), 1):
            pile.count += 1
            one = mitmproxy.sighting(payload, number)
            if one is None:
                _dirty(pile, number)
            else:
                _put(pile, one, keep, rank)
    except mitmproxy.NotAFlow as error:
        pile.problem = f"reading ended early: {error}"


def named(path: Path, program: str) -> str:
    """`nginx access.log`; the file's name alone where the program is in it."""
    base = detail(path.name, 40)
    return (
        base if not program or program.lower().split()[0] in base.lower() else f"{detail(program, 20)} {base}"
    )


def beside(path: Path, legs: Sequence[Leg], *, local_zone_s: float, shift_s: float | None = None) -> Source:
    """Read a file, find its clock, and put what it saw to our turns. Raises `NotReadable`.

    `shift_s`, if given, is how far its clock is ahead of ours, and nothing is guessed.
    """
    first_s, last_s = window(legs)
    ours = Candidates(legs)
    widest = FARTHEST_S + ABOUT_S

    def near(one: Sighting) -> bool:
        at_s = one.at_s
        return at_s is None or first_s - widest <= at_s <= last_s + widest or ours.known(one)

    def rank(one: Sighting) -> int:
        if not ours.possible(one):
            return 2
        expected_s = shift_s if shift_s is not None else 0.0 if one.zone_known else local_zone_s
        at_s = one.at_s if one.at_s is not None else first_s + expected_s
        return 0 if ours.known(one) or first_s - 600 <= at_s - expected_s <= last_s + 600 else 1

    pile = read(path, first_s, near, rank)
    clock = _clock([*pile.shelves[0], *pile.shelves[1]], legs, local_zone_s, shift_s)
    if pile.left_out and clock.ahead_s is not None:
        ahead_s = clock.ahead_s

        def meanwhile(one: Sighting) -> bool:
            at_s = one.at_s
            if at_s is None or ours.known(one):
                return True
            return first_s - ABOUT_S <= at_s - ahead_s <= last_s + ABOUT_S

        pile = read(path, first_s, meanwhile, rank)
    name = named(path, pile.program)
    for shelf in pile.shelves:
        shelf[:] = [replace(one, source=name) for one in shelf]
    return Source(name, clock, match(pile.seen, legs, clock), pile)


def _clock(
    seen: Sequence[Sighting], legs: Sequence[Leg], local_zone_s: float, shift_s: float | None
) -> Clock:
    if shift_s is not None:
        return Clock(shift_s, f"its clock is taken to be {shown(shift_s)}, as was said", sure=True)
    return align(seen, legs, local_zone_s)
