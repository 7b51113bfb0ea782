"""How fast captures are read: `python -m bench.captures`. CPU alone is counted, so the disk does not matter.

Three captures are made (the same bytes each time), each read by

- `file`: plain reading of the bytes, the least that anything can need;
- `tcpdump`: `tcpdump -r FILE -w /dev/null`, libpcap's reading and writing without any understanding, where installed;
- `packets`, `segments`, `follow`: Holdfast's reader; with the TCP headers taken apart; with connections followed;
- `listen`: the same, with all payload handed to a listener;
- `report`: with every connection judged, as `holdfast captures --json` does it (without what is inside).

Each in a process of its own, so that the peak of its memory is its own, too. The process's start is not counted in CPU,
but is in memory: `start` is what Python and the modules need with nothing to read.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import machine

ROOT = Path(__file__).parents[1]
GATE = 200_000
"Packets per CPU second that following must reach on the long streams."

SHAPES = ("streams", "short", "lossy")
READERS = ("file", "tcpdump", "packets", "segments", "follow", "listen", "report")

_START_NS = 1_700_000_000_000_000_000


# ----- captures


def _frame(
    to_server: bool, number: int, seq: int, ack: int, flags: int, payload: bytes, ip_id: int, at: int
) -> bytes:
    """Ethernet, IPv4, TCP with timestamps. Connection `number` has an address and port of its own."""
    client, server = struct.pack(">I", 0x0A000000 + number // 20_000 + 2), b"\xc0\x00\x02\x0a"
    port = struct.pack(">H", 30_000 + number % 20_000)
    source, destination = (client, server) if to_server else (server, client)
    ports = port + b"\x01\xbb" if to_server else b"\x01\xbb" + port
    length = 52 + len(payload)
    ip = struct.pack(">BBHHHBBH", 0x45, 0, length, ip_id & 0xFFFF, 0x4000, 64 if to_server else 52, 6, 0)
    tcp = struct.pack(">IIHHHH", seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 8 << 12 | flags, 500, 0, 0)
    stamp = b"\x01\x01\x08\x0a" + struct.pack(">II", at // 1_000_000 & 0xFFFFFFFF, 7)
    return b"\x02" * 12 + b"\x08\x00" + ip + source + destination + ports + tcp + stamp + payload


def _connection(
    number: int, at: int, events: int, gap: int, chance: random.Random | None
) -> Iterator[tuple[int, bytes]]:
    """One connection: handshake, a request of 3 kB, `events` events of 160 bytes to 1,400, a close."""
    us, them, ip = 1000 + number * 7919, 500_000 + number * 104_729, 0

    def send(to_server: bool, flags: int, payload: bytes = b"") -> bytes:
        nonlocal us, them, ip
        ip += 1
        frame = _frame(
            to_server, number, us if to_server else them, them if to_server else us, flags, payload, ip, at
        )
        more = len(payload) + (flags & 1) + (flags >> 1 & 1)
        us, them = (us + more, them) if to_server else (us, them + more)
        return frame

    yield at, send(True, 2)
    at += 20_000_000
    yield at, send(False, 18)
    at += 100_000
    yield at, send(True, 16)
    for _ in range(2):
        yield at, send(True, 24, b"x" * 1400)
    at += 20_000_000
    yield at, send(False, 16)
    for event in range(events):
        at += gap
        one = send(False, 24, b"d" * (160 if event % 8 else 1400))
        if chance is not None and chance.random() < 0.01:
            late = at + 25_000_000  # lost before the capture, and sent again
            yield late, one
        else:
            yield at, one
        if event % 2:
            yield at + 50_000, send(True, 16)
    at += gap + 30_000_000
    yield at, send(True, 17)
    yield at + 20_000_000, send(False, 17)
    yield at + 20_100_000, send(True, 16)


def make(shape: str, packets: int) -> bytes:
    """A pcap file of about so many packets.

    `streams`: 200 long answers side by side. `short`: many connections of 14 packets. `lossy`: as `streams`, one packet
    in a hundred arrives 25 ms late, behind others.
    """
    per = 17 if shape == "short" else packets // 200
    events = 5 if shape == "short" else max((per - 9) * 2 // 3, 1)
    chance = random.Random(7) if shape == "lossy" else None
    found: list[tuple[int, bytes]] = []
    for number in range(packets // per):
        begins = _START_NS + number * (300_000 if shape == "short" else 1_000_000)
        found += _connection(number, begins, events, 4_000_000, chance)
    found.sort(key=lambda pair: pair[0])
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)]
    for at, frame in found:
        out += [struct.pack("<IIII", at // 10**9, at % 10**9, len(frame), len(frame)), frame]
    return b"".join(out)


# ----- one measurement, in a child


class _Deaf:
    """Hears everything and keeps nothing."""

    def __init__(self) -> None:
        self.bytes = 0

    def data(self, direction: object, at_ns: int, payload: bytes) -> None:
        self.bytes += len(payload)

    def gap(self, direction: object, at_ns: int, missing: int) -> None:
        self.bytes += missing

    def closed(self, connection: object) -> None:
        pass


def read(reader: str, path: Path) -> dict[str, float]:
    """Read a file once in this process: packets (0 where they are not counted), CPU seconds, peak memory in bytes."""
    from holdfast.captures.connections import follow
    from holdfast.captures.files import open_capture
    from holdfast.captures.layers import Seen, segments
    from holdfast.captures.telling import as_json, conclude
    from holdfast.cli.captures import GARBAGE

    gc.set_threshold(GARBAGE, 5, 5)  # as the command does
    packets = 0
    began = time.process_time()
    if reader == "file":
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 18):
                pass
    elif reader != "start":
        with open_capture(path) as capture:
            if reader == "packets":
                for _ in capture:
                    pass
            elif reader == "segments":
                for _ in segments(capture, Seen()):
                    pass
            elif reader == "follow":
                for _ in follow(capture):
                    pass
            elif reader == "listen":
                for _ in follow(capture, listen=lambda _: _Deaf()):
                    pass
            else:
                for connection in follow(capture):
                    json.dumps(as_json(conclude(connection), "bench"))
            packets = capture.packets
    cpu_s = time.process_time() - began
    return {"packets": packets, "cpu_s": cpu_s, "peak_bytes": _peak_bytes()}


def _peak_bytes() -> int:
    """Of this process since its program was started; rusage would count the parent's memory before that."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _in_child(reader: str, path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.captures", "--read", reader, str(path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _tcpdump(path: Path) -> dict[str, float]:
    """libpcap's reading and writing; its start (a few ms) is counted with it."""
    process = subprocess.Popen(
        ["tcpdump", "-nr", str(path), "-w", "/dev/null"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return {"packets": 0, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024}


# ----- the whole


def measure(paths: dict[str, Path], rounds: int) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Shape -> reader -> one figure set per round; the readers take turns."""
    readers = [name for name in READERS if name != "tcpdump" or shutil.which("tcpdump")]
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        shape: {name: [] for name in readers} for shape in paths
    }
    for _ in range(rounds):
        for shape, path in paths.items():
            for name in readers:
                found[shape][name].append(_tcpdump(path) if name == "tcpdump" else _in_child(name, path))
    return found


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.captures",
        description="Packets and megabytes per CPU second when captures are read, and the peak of memory.",
        epilog="example: python -m bench.captures --packets 500000 --rounds 3",
    )
    parser.add_argument("--packets", type=int, default=300_000, help="in each capture (default 300000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is read (default 5)")
    parser.add_argument("--file", type=Path, help="measure this capture instead of made ones")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--read", nargs=2, metavar=("READER", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--make", nargs=3, metavar=("SHAPE", "PACKETS", "FILE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.make:
        Path(chosen.make[2]).write_bytes(make(chosen.make[0], int(chosen.make[1])))
        return 0
    if chosen.read:
        print(json.dumps(read(chosen.read[0], Path(chosen.read[1]))))
        return 0
    console = Console(width=None if sys.stdout.isatty() else 110)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        if chosen.file:
            paths = {chosen.file.name: chosen.file}
        else:
            paths = {shape: Path(directory) / f"{shape}.pcap" for shape in SHAPES}
            for shape, path in paths.items():  # in a child, so that this process and its forks stay small
                made = ["--make", shape, str(chosen.packets), str(path)]
                subprocess.run([sys.executable, "-m", "bench.captures", *made], check=True, cwd=ROOT)
        figures = measure(paths, chosen.rounds)
        start = _in_child("start", next(iter(paths.values())))["peak_bytes"]
        sizes = {shape: path.stat().st_size for shape, path in paths.items()}
    worst = show(figures, sizes, start, console)
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1))
    if chosen.file or worst is None:
        return 0
    kept = worst >= GATE
    console.print(
        f"gate: following streams at {GATE:,} packets per CPU second or more: {'kept' if kept else 'MISSED'}"
    )
    return 0 if kept else 1


def show(
    figures: dict[str, dict[str, list[dict[str, float]]]],
    sizes: dict[str, int],
    start: float,
    console: Console,
) -> float | None:
    """Print the table; returns the median of `follow` on `streams`, in packets per CPU second."""
    table = Table("capture", "reader", "packets/CPU s", "MB/CPU s", "us/packet", "peak MB", box=None)
    gate: float | None = None
    for shape, readers in figures.items():
        packets = max(one["packets"] for runs in readers.values() for one in runs)
        for name, runs in readers.items():
            cpu_s = statistics.median(one["cpu_s"] for one in runs) or 1e-9
            peak = max(one["peak_bytes"] for one in runs) / 1e6
            if shape == "streams" and name == "follow":
                gate = packets / cpu_s
            table.add_row(
                shape,
                name,
                f"{packets / cpu_s:,.0f}",
                f"{sizes[shape] / cpu_s / 1e6:,.0f}",
                f"{cpu_s / packets * 1e6:.2f}",
                f"{peak:.0f}",
            )
    console.print(table)
    told = ", ".join(f"{name} {value}" for name, value in machine.describe().items())
    console.print(
        f"peak of Python and the modules with nothing to read: {start / 1e6:.0f} MB ({told})", highlight=False
    )
    return gate


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
