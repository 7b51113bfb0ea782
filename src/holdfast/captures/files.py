"""Capture files, read as a stream: pcap and pcapng, compressed by gzip or not, whole or cut.

    with open_capture(path) as capture:
        for packet in capture: ...

A packet is a plain tuple, because there are millions: see `Packet`. Nothing is copied out of the read buffer,
which holds `CHUNK` bytes or one record, so memory does not grow with the file. What was wrong with the file is in
`capture.notes` when the reading is over: a file that was cut in the middle gives what is there, and says so.

The formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import BinaryIO, TypeAlias

from holdfast.flight.flights import counted as how_many
from holdfast.flight.plain_files import open_once

Packet: TypeAlias = tuple[int, int, bytes, int, int, int, int]
"""(at_ns, link_type, buffer, start, captured, original, view).

`at_ns` is wall time since 1970. The bytes are `buffer[start:start + captured]`; on the wire were `original`.
`view` is the interface's number times 4, plus 1 for a packet that came in and 2 for one that went out, where the
file says so: the same packet may be in a capture once per view.
"""

CHUNK = 1 << 18
"Bytes read at once; larger chunks were not faster."

LARGEST_PACKET = 1 << 24
"libpcap writes 262,144 bytes at most, and offloading makes packets of 64 kB (BIG TCP: 512 kB). More is damage."

LARGEST_BLOCK = 1 << 26
"A pcapng block that holds no packet may be larger, for example a key log; such a block is skipped as it comes."

MOST_INTERFACES = 4096
INCOMING, OUTGOING = 1, 2
LOOPBACK = 1 << 15
"In a view: the packet was captured on the loopback interface (cooked captures say so)."


class NotACapture(Exception):
    """The file is no capture that can be read; the text says what it looks like and what to do."""


@dataclass(slots=True)
class Interface:
    """One interface of a pcapng section, or the one of a pcap file."""

    link_type: int
    "As in the registry of link-layer header types: 1 is Ethernet."
    snaplen: int
    "Bytes kept of each packet at most; 0 is no limit."
    name: str = ""
    "As the file says; hostile text."
    to_ns: Callable[[int], int] = lambda ticks: ticks * 1000
    "Ticks of this interface's clock to ns since 1970."
    number: int = 0
    "Unique in the file, over its sections."


@dataclass(slots=True)
class Capture:
    """A capture that is being read. Iterate once."""

    name: str
    "Its path, or `-`."
    source: BinaryIO
    form: str = ""
    "`pcap` or `pcapng`; with `, gzip` behind it where it is compressed."
    interfaces: list[Interface] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    "What a reader of results must know of the file, in sentences without a full stop."
    packets: int = 0
    "Packets given out so far (brought up to date once per chunk)."
    shortened: int = 0
    "Packets of which the file keeps only the first bytes (snaplen)."
    dropped: int | None = None
    "Packets that the capturing program says it lost; None where the file does not say."
    bytes_read: int = 0
    _head: bytes = b""
    _read: Callable[[int], bytes] = lambda size: b""

    def __post_init__(self) -> None:
        # `read1` hands out what a cut gzip stream still gives before it fails.
        self._read = getattr(self.source, "read1", self.source.read)

    def __iter__(self) -> Iterator[Packet]:
        packets = _pcapng(self) if self.form.startswith("pcapng") else _pcap(self)
        try:
            yield from packets
        except EOFError:
            self.notes.append(
                "its gzip stream ends in the middle: the file was cut, or is still being written"
            )
        except (zlib.error, gzip.BadGzipFile) as error:
            self.notes.append(f"its gzip stream is damaged ({error}): what comes behind is lost")
        if self.shortened:
            self.notes.append(f"{how_many(self.shortened, 'packet')} kept in part only (snap length)")
        if self.dropped:
            self.notes.append(
                f"the capturing program lost {how_many(self.dropped, 'packet')}: it was too slow, or its buffer too small"
            )

    def more(self, rest: bytes, want: int) -> bytes:
        """`rest` and what follows it in the file, `want` bytes together or more; shorter only at the file's end."""
        pieces, size = [rest], len(rest)
        if self._head:
            pieces.append(self._head)
            size += len(self._head)
            self._head = b""
        while size < want or len(pieces) == 1:
            piece = self._read(max(CHUNK, want - size))
            if not piece:
                break
            self.bytes_read += len(piece)
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)


@contextmanager
def open_capture(path: str | Path) -> Iterator[Capture]:
    """A capture file by its path, or a pipe (`<(zcat x.gz)`). Raises `NotACapture`, and OSError for what cannot be read."""
    with open_once(Path(path)) as raw:
        yield capture_from(raw, str(path))


def capture_from(source: BinaryIO, name: str = "-") -> Capture:
    """A capture from an open binary stream, which need not be seekable. Raises `NotACapture`."""
    head = _read_up_to(source, 512)
    if head[:2] == b"\x1f\x8b":
        source = gzip.GzipFile(fileobj=_Prefixed(head, source))  # type: ignore[assignment]
        try:
            head = _read_up_to(source, 512)
        except EOFError:
            raise NotACapture(
                "it is compressed by gzip and was cut before the first byte; copy it again"
            ) from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise NotACapture(f"it begins like gzip and is damaged ({error}); copy it again") from None
        packed = ", gzip"
    else:
        packed = ""
    capture = Capture(name, source, bytes_read=len(head), _head=head)
    magic = head[:4]
    if magic in _PCAP_MAGIC:
        if len(head) < 24:
            raise NotACapture("it is a pcap file that was cut inside its header: there is no packet in it")
        capture.form = "pcap" + packed
    elif magic == b"\x0a\x0d\x0d\x0a":
        if head[8:12] not in _SECTION_ORDER:
            raise NotACapture("it begins like pcapng, but its section header is damaged; copy it again")
        capture.form = "pcapng" + packed
    else:
        raise NotACapture(looks_like(head))
    return capture


def _read_up_to(source: BinaryIO, size: int) -> bytes:
    """The first bytes of a stream that may give them in small pieces."""
    pieces: list[bytes] = []
    while size > 0:
        piece = source.read(size)
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


class _Prefixed(io.RawIOBase):
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._head:
            piece, self._head = self._head[:size], self._head[size:] if size >= 0 else b""
            return piece
        return self._rest.read(size)


_LOOKS: tuple[tuple[bytes, str], ...] = (
    (b"\x28\xb5\x2f\xfd", "it is compressed by zstd; unpack it first: zstd -d FILE"),
    (b"\xfd7zXZ", "it is compressed by xz; unpack it first: xz -dk FILE"),
    (b"BZh", "it is compressed by bzip2; unpack it first: bunzip2 -k FILE"),
    (b"\x04\x22\x4d\x18", "it is compressed by lz4; unpack it first: lz4 -d FILE"),
    (b"PK\x03\x04", "it is a zip archive; unpack it and give the capture that is in it"),
    (b"snoop\x00\x00\x00", "it is a capture of Solaris snoop; convert it: editcap -F pcap FILE new.pcap"),
    (b"GMBU", "it is a capture of Microsoft Network Monitor; convert it: editcap -F pcapng FILE new.pcapng"),
    (
        b"RTSS",
        "it is a capture of Microsoft Network Monitor 1; convert it: editcap -F pcapng FILE new.pcapng",
    ),
    (b"\x7fELF", "it is a program, no capture"),
    (b"SQLite format 3", "it is a database, no capture; a journal of holdfast is read by: holdfast flights"),
    (b"CLIENT_RANDOM ", "it is a TLS key log, no capture; give the capture that belongs to it"),
    (b"SSLKEYLOGFILE", "it is a TLS key log, no capture; give the capture that belongs to it"),
    (b"\x34\xcd\xb2\xa1", "it is a pcap of an old patched format; convert it: editcap -F pcap FILE new.pcap"),
    (b"\xa1\xb2\xcd\x34", "it is a pcap of an old patched format; convert it: editcap -F pcap FILE new.pcap"),
)


def looks_like(head: bytes) -> str:
    """What a file that is no capture looks like, from its first bytes, and what to do."""
    if not head:
        return "it is empty; a capture is written with: tcpdump -w FILE, then stopped with Ctrl-C"
    for magic, said in _LOOKS:
        if head.startswith(magic):
            return said
    text = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head) / len(head) > 0.95
    if text and head.lstrip()[:1] in (b"{", b"["):
        return "it is JSON (an export of a capture, or a HAR file); give the capture itself"
    if text and (b" IP " in head or b" IP6 " in head or b"Flags [" in head):
        return "it is text as tcpdump prints it; let tcpdump write a capture instead: tcpdump -w FILE"
    if text:
        return "it is text, no capture; a capture is written with: tcpdump -w FILE"
    return "it is neither pcap nor pcapng; see what it is with: file FILE"


# ----- pcap

_PCAP_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"First four bytes -> byte order, ns per tick."


def _pcap(capture: Capture) -> Iterator[Packet]:
    buffer = capture.more(b"", 24)
    order, tick_ns = _PCAP_MAGIC[buffer[:4]]
    snaplen, link = Struct(order + "II").unpack_from(buffer, 16)
    link &= 0xFFFF  # above it are the length of a frame check sequence, and flags
    capture.interfaces.append(Interface(link, snaplen))
    unpack = Struct(order + "IIII").unpack_from
    pos, end, base = 24, len(buffer), 0
    counted = shortened = 0
    try:
        while True:
            limit = end - 16
            while pos <= limit:
                seconds, fraction, captured, original = unpack(buffer, pos)
                start = pos + 16
                after = start + captured
                if after > end:
                    break
                counted += 1
                if captured < original:
                    shortened += 1
                yield seconds * 1_000_000_000 + fraction * tick_ns, link, buffer, start, captured, original, 0
                pos = after
            want = 16
            if pos <= limit:
                want += unpack(buffer, pos)[2]
                if want > LARGEST_PACKET:
                    capture.notes.append(_damaged(base + pos))
                    return
            rest = buffer[pos:]
            base += pos
            buffer = capture.more(rest, want)
            pos, end = 0, len(buffer)
            capture.packets, capture.shortened = counted, shortened
            if end < want or end == len(rest):
                break
        rest = buffer
        if rest:
            capture.notes.append(_cut(rest, counted, want))
        elif not counted:
            capture.notes.append(
                "it holds no packet: nothing matched the filter, or the interface was another"
            )
        if len(rest) > 16:
            seconds, fraction, captured, original = unpack(rest, 0)
            counted += 1
            yield (
                seconds * 1_000_000_000 + fraction * tick_ns,
                *(link, rest, 16, len(rest) - 16, original, 0),
            )
    finally:
        capture.packets, capture.shortened = counted, shortened


def _damaged(at: int) -> str:
    return f"it is damaged at byte {at}: no packet is that long; what comes behind is lost"


def _cut(rest: bytes, counted: int, want: int) -> str:
    return (
        f"it was cut inside packet {counted + 1} ({len(rest)} of at least {want} bytes are there): "
        "the capture was stopped hard, or is still being written"
    )


# ----- pcapng

_SECTION_ORDER = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _STATISTICS, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 5, 6


class _Order:
    """The structures of one byte order."""

    def __init__(self, order: str) -> None:
        self.head = Struct(order + "II").unpack_from
        self.interface = Struct(order + "HHI").unpack_from
        self.enhanced = Struct(order + "IIIII").unpack_from
        self.old = Struct(order + "HHIIII").unpack_from
        self.one = Struct(order + "I").unpack_from
        self.option = Struct(order + "HH").unpack_from
        self.eight = Struct(order + "Q").unpack_from
        self.signed = Struct(order + "q").unpack_from

    def options(self, buffer: bytes, pos: int, end: int) -> Iterator[tuple[int, bytes]]:
        """(code, value) of each option; ends at the first that makes no sense."""
        while pos + 4 <= end:
            code, size = self.option(buffer, pos)
            if code == 0 or pos + 4 + size > end:
                return
            yield code, buffer[pos + 4 : pos + 4 + size]
            pos += 4 + (size + 3 & ~3)


def _pcapng(capture: Capture) -> Iterator[Packet]:
    orders = {"<": _Order("<"), ">": _Order(">")}
    buffer = capture.more(b"", 12)
    order = orders["<"]
    interfaces: list[Interface] = []
    "Of the section that is being read."
    pos, end, base = 0, len(buffer), 0
    counted = shortened = untimed = 0
    at = 0
    head, enhanced = order.head, order.enhanced
    try:
        while True:
            want = 12
            while pos + 12 <= end:
                kind, size = head(buffer, pos)
                if kind == _SECTION:
                    found = _SECTION_ORDER.get(buffer[pos + 8 : pos + 12])
                    if found is None:
                        capture.notes.append(_damaged_block(base + pos))
                        return
                    order, interfaces = orders[found], []
                    head, enhanced = order.head, order.enhanced
                    size = head(buffer, pos)[1]
                if (
                    size < 12
                    or size & 3
                    or (size > LARGEST_PACKET and kind in (_ENHANCED, _SIMPLE, _OLD_PACKET))
                ):
                    capture.notes.append(_damaged_block(base + pos))
                    return
                after = pos + size
                if after > end:
                    want = size
                    break
                body = pos + 8
                if kind == _ENHANCED and size >= 32:
                    number, high, low, captured, original = enhanced(buffer, body)
                    start = body + 20
                    if number >= len(interfaces) or start + captured > after - 4:
                        capture.notes.append(_damaged_block(base + pos))
                        return
                    interface = interfaces[number]
                    at = interface.to_ns(high << 32 | low)
                    view = interface.number << 2
                    tail = start + (captured + 3 & ~3)
                    if tail + 8 <= after - 4:
                        view |= _direction(order, buffer, tail, after - 4)
                    counted += 1
                    if captured < original:
                        shortened += 1
                    yield at, interface.link_type, buffer, start, captured, original, view
                elif kind == _INTERFACE and size >= 20:
                    if len(capture.interfaces) >= MOST_INTERFACES:
                        capture.notes.append(
                            f"it names more than {MOST_INTERFACES} interfaces; the rest is not read"
                        )
                        return
                    interface = _interface(order, buffer, body, after - 4)
                    interface.number = len(capture.interfaces)
                    interfaces.append(interface)
                    capture.interfaces.append(interface)
                elif kind == _SIMPLE and size >= 16 and interfaces:
                    interface = interfaces[0]
                    original = order.one(buffer, body)[0]
                    captured = min(original, size - 16, interface.snaplen or size)
                    counted, untimed = counted + 1, untimed + 1
                    if captured < original:
                        shortened += 1
                    yield at, interface.link_type, buffer, body + 4, captured, original, interface.number << 2
                elif kind == _OLD_PACKET and size >= 32:
                    number, _, high, low, captured, original = order.old(buffer, body)
                    start = body + 20
                    if number >= len(interfaces) or start + captured > after - 4:
                        capture.notes.append(_damaged_block(base + pos))
                        return
                    interface = interfaces[number]
                    at = interface.to_ns(high << 32 | low)
                    counted += 1
                    if captured < original:
                        shortened += 1
                    yield at, interface.link_type, buffer, start, captured, original, interface.number << 2
                elif kind == _STATISTICS and size >= 24:
                    _statistics(capture, order, buffer, body + 12, after - 4)
                pos = after
            rest = buffer[pos:]
            base += pos
            if want > LARGEST_BLOCK:
                capture.notes.append(_damaged_block(base))
                return
            buffer = capture.more(rest, want)
            pos, end = 0, len(buffer)
            capture.packets, capture.shortened = counted, shortened
            if end < want or end == len(rest):
                break
        rest = buffer
        if rest:
            capture.notes.append(_cut(rest, counted, want))
            if len(rest) > 28 and head(rest, 0)[0] == _ENHANCED:
                number, high, low, _, original = enhanced(rest, 8)
                if number < len(interfaces):
                    interface = interfaces[number]
                    counted += 1
                    yield (
                        interface.to_ns(high << 32 | low),
                        *(interface.link_type, rest, 28, len(rest) - 28, original, interface.number << 2),
                    )
        elif not counted:
            capture.notes.append(
                "it holds no packet: nothing matched the filter, or the interface was another"
            )
        if untimed:
            capture.notes.append(
                f"{how_many(untimed, 'packet')} without a time (Simple Packet Blocks): times below are not to trust"
            )
    finally:
        capture.packets, capture.shortened = counted, shortened


def _damaged_block(at: int) -> str:
    return f"it is damaged at byte {at}: no pcapng block can be there; what comes behind is lost"


def _direction(order: _Order, buffer: bytes, pos: int, end: int) -> int:
    """Whether a packet came in or went out, by its flags option (2); 0 where it does not say."""
    for code, value in order.options(buffer, pos, end):
        if code == 2 and len(value) == 4:
            way: int = order.one(value, 0)[0] & 3
            return way if way != 3 else 0
    return 0


def _interface(order: _Order, buffer: bytes, pos: int, end: int) -> Interface:
    link_type, _, snaplen = order.interface(buffer, pos)
    interface = Interface(link_type, snaplen)
    resolution, offset_s = 6, 0
    for code, value in order.options(buffer, pos + 8, end):
        if code == 2:
            interface.name = value.decode("utf-8", "replace").rstrip("\x00")
        elif code == 9 and len(value) == 1:
            resolution = value[0]
        elif code == 14 and len(value) == 8:
            offset_s = order.signed(value, 0)[0]
    interface.to_ns = _clock(resolution, offset_s)
    return interface


def _clock(resolution: int, offset_s: int) -> Callable[[int], int]:
    """Ticks to ns. `resolution` as in if_tsresol: a negative power of ten, of two where the highest bit is set."""
    offset = offset_s * 1_000_000_000
    power = resolution & 0x7F
    if resolution & 0x80:
        return lambda ticks: (ticks * 1_000_000_000 >> power) + offset
    if power <= 9:
        factor: int = 10 ** (9 - power)
        return (lambda ticks: ticks * factor) if not offset else (lambda ticks: ticks * factor + offset)
    divisor: int = 10 ** (power - 9)
    return lambda ticks: ticks // divisor + offset


def _statistics(capture: Capture, order: _Order, buffer: bytes, pos: int, end: int) -> None:
    """Add what the capturing program says it lost: by the interface (5) or the system (7)."""
    for code, value in order.options(buffer, pos, end):
        if code in (5, 7) and len(value) == 8:
            capture.dropped = (capture.dropped or 0) + order.eight(value, 0)[0]
