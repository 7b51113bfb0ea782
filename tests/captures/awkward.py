"""Captures made awkward on purpose: what files are like that come from other people's machines. Ethernet and IPv4/6."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from holdfast.captures.files import open_capture

Frame = tuple[int, bytes]
"(at_ns, bytes of the frame)."
Change = Callable[[Sequence[Frame]], list[Frame]]


def packets(path: Path) -> list[Frame]:
    """The frames of a capture file, in its order."""
    with open_capture(path) as capture:
        return [(at, bytes(buffer[start : start + size])) for at, _, buffer, start, size, _, _ in capture]


def write(path: Path, frames: Sequence[Frame]) -> Path:
    """A pcap file of Ethernet frames, times in microseconds."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)]
    for at, frame in frames:
        out += [struct.pack("<IIII", at // 10**9, at % 10**9 // 1000, len(frame), len(frame)), frame]
    path.write_bytes(b"".join(out))
    return path


def twice(frames: Sequence[Frame]) -> list[Frame]:
    """Every packet is captured a second time, 20 us later."""
    return sorted([*frames, *((at + 20_000, frame) for at, frame in frames)], key=lambda pair: pair[0])


def tagged(frames: Sequence[Frame]) -> list[Frame]:
    """Everything is in VLAN 7."""
    return [(at, frame[:12] + b"\x81\0\0\x07" + frame[12:]) for at, frame in frames]


def wrong_checksums(frames: Sequence[Frame]) -> list[Frame]:
    """TCP's checksum is left for the network card to fill in."""
    return [(at, frame[: _tcp(frame) + 16] + b"\0\0" + frame[_tcp(frame) + 18 :]) for at, frame in frames]


def shuffled(frames: Sequence[Frame], chance: random.Random, *, within_ns: int = 50_000_000) -> list[Frame]:
    """The file's order is not that of time."""
    return sorted(frames, key=lambda pair: pair[0] + chance.randrange(within_ns))


def one_way(frames: Sequence[Frame], *, to_server: bool) -> list[Frame]:
    """The other direction went another way."""
    return [(at, frame) for at, frame in frames if (_ports(frame)[1] < 8000) is to_server]


def translated(frames: Sequence[Frame]) -> list[Frame]:
    """Every IPv4 packet is there once more with the client behind another address and port, 50 us later."""
    out = []
    for at, frame in frames:
        out.append((at, frame))
        if frame[12:14] == b"\x08\0":
            other, tcp = bytearray(frame), _tcp(frame)
            mine, port = (26, tcp) if _ports(frame)[1] < 8000 else (30, tcp + 2)
            other[mine : mine + 4] = bytes((192, 0, 2, 9))
            other[port : port + 2] = struct.pack("!H", struct.unpack_from("!H", frame, port)[0] ^ 0x5555)
            out.append((at + 50_000, bytes(other)))
        else:
            out.pop()
    return sorted(out, key=lambda pair: pair[0])


def _tcp(frame: bytes) -> int:
    return 34 if frame[12:14] == b"\x08\0" else 54


def _ports(frame: bytes) -> tuple[int, int]:
    source, target = struct.unpack_from("!HH", frame, _tcp(frame))
    return int(source), int(target)
