"""How fast transcripts are read: `python -m bench.transcripts`.

A corpus is generated into a temporary directory and removed afterwards. Its shape is that of a measured one (2.1 GB,
5,273 files, 728,443 lines): nine tenths of the bytes are what users and tools said, an answer is one to three records,
and failures are rare. CPU seconds are what is judged, for wall time depends on whoever else is working here.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from holdfast.sessions.corpus import update
from holdfast.sessions.lines import pieces
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store
from holdfast.sessions.transcript import read

MEGABYTE = 1_000_000
GATE_GB = 1.2
"Per CPU second, of all fields but gaps."
GATE_RESCAN_MS = 150.0
GATE_MEMORY_MB = 150.0
START_MS = 1_776_150_000_000
WORDS = 'the file says "so" \\ and {goes: on} with tests\nfor every line\tof it; '


@dataclass(frozen=True, slots=True)
class Measured:
    """One way of reading, the median of its rounds."""

    name: str
    cpu_s: float
    wall_s: float
    size: int

    least_cpu_s: float

    @property
    def gb_per_cpu_s(self) -> float:
        return self.size / max(self.cpu_s, 1e-3) / 1e9

    @property
    def most_gb_per_cpu_s(self) -> float:
        return self.size / max(self.least_cpu_s, 1e-3) / 1e9


def stamp(at_ms: int) -> str:
    """As in a record."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_ms // 1000)) + f".{at_ms % 1000:03d}Z"


def session(number: int, size: int, draw: random.Random) -> Iterator[str]:
    """A conversation's lines, about `size` bytes of them."""
    name = f"{number:08x}-0000-4000-8000-{draw.getrandbits(48):012x}"
    at_ms, written, line_number = START_MS + number * 700_000, 0, 0

    def line(body: dict[str, object], after: dict[str, object] | None = None) -> str:
        nonlocal line_number, at_ms
        line_number += 1
        at_ms += draw.randrange(300, 20_000)
        common = {
            "uuid": f"{name[:8]}-{line_number:04d}-4000-8000-{draw.getrandbits(48):012x}",
            "timestamp": stamp(at_ms),
            "userType": "external",
            "entrypoint": "cli",
            "cwd": f"/work/project-{number % 40}",
            "sessionId": name,
            "version": "2.1.104",
            "gitBranch": "main",
        }
        whole = {"parentUuid": name, "isSidechain": False} | body | common | (after or {})
        return json.dumps(whole, separators=(",", ":"), ensure_ascii=False) + "\n"

    answer = 0
    while written < size:
        said = (WORDS * 200)[: min(int(draw.paretovariate(1.1) * 900), 12_000)]
        result = [{"type": "tool_result", "tool_use_id": "toolu_1", "content": said}]
        made = [
            line(
                {"type": "user", "message": {"role": "user", "content": result}},
                {"toolUseResult": {"stdout": said, "stderr": "", "interrupted": False}},
            )
        ]
        if draw.random() < 0.002:
            cause = {"code": "ECONNRESET", "path": "https://api.anthropic.com/v1/messages", "errno": 0}
            body = {
                "type": "system",
                "subtype": "api_error",
                "level": "error",
                "cause": cause,
                "error": {"cause": cause},
            }
            made.append(line(body | {"retryInMs": 503.1, "retryAttempt": 1, "maxRetries": 10}))
        answer += 1
        usage = {"input_tokens": 3, "cache_read_input_tokens": 90_000 + answer, "output_tokens": 300}
        for block in range(draw.randrange(1, 3)):
            text = (WORDS * 30)[: draw.randrange(100, 1_800)]
            message: dict[str, object] = {
                "id": f"msg_{number}_{answer}",
                "type": "message",
                "role": "assistant",
                "model": "claude-opus-4-6",
            }
            message |= {
                "content": [{"type": "text", "text": text}],
                "stop_reason": None if block else "tool_use",
            }
            message |= {"usage": usage}
            made.append(
                line({"message": message, "requestId": f"req_{number}_{answer}", "type": "assistant"})
            )
        for one in made:
            written += len(one)
            yield one


def corpus(home: Path, size: int, files: int) -> int:
    """Write sessions into a home; returns their bytes."""
    draw = random.Random(11)
    shares = [draw.paretovariate(1.2) for _ in range(files)]
    total = 0
    for number, share in enumerate(shares):
        folder = home / ".claude" / "projects" / f"-work-project-{number % 40}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{number:08x}.jsonl").open("w", encoding="utf-8") as out:
            for line in session(number, int(size * share / sum(shares)), draw):
                out.write(line)
            total += out.tell()
    return total


def measured(name: str, rounds: int, size: int, work: Callable[[], None]) -> Measured:
    """CPU seconds of this process, by its clock in nanoseconds, and wall seconds."""
    cpu_s, wall_s = [], []
    for _ in range(rounds):
        began, cpu = time.perf_counter(), time.process_time()
        work()
        cpu_s.append(time.process_time() - cpu)
        wall_s.append(time.perf_counter() - began)
    return Measured(name, statistics.median(cpu_s), statistics.median(wall_s), size, min(cpu_s))


def only_read(home: Path) -> None:
    """The bytes and nothing more: what this machine gives at most, just now."""
    for one in transcripts(roots(home))[0]:
        for _ in pieces(one.path):
            pass


def read_all(home: Path, *, gaps: bool = False) -> None:
    """Every transcript's facts, and nothing kept."""
    for one in transcripts(roots(home))[0]:
        read(one.path, gaps=gaps)


def scanned(home: Path, database: Path) -> None:
    """One scan into a store on disk, as `holdfast diagnose` does it."""
    store = Store(database, now_ms=START_MS)
    update(store, transcripts(roots(home))[0])
    store.close()


def peak_mb(home: Path) -> float:
    """The memory of a process that reads it all into a store, MB; measured in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak, home).result()


def _peak(home: Path) -> float:
    scanned(home, home / "peak.sqlite")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def main(argv: list[str]) -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(prog="python -m bench.transcripts", description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--files", type=int, default=1_000)
    parser.add_argument("--unchanged", type=int, default=5_000, help="files of the rescan")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as place:
        home = Path(place) / "large"
        size = corpus(home, chosen.megabytes * MEGABYTE, chosen.files)
        plain = measured("all fields", chosen.rounds, size, lambda: read_all(home))
        plain_read = measured("read only", chosen.rounds, size, lambda: only_read(home))
        rows = [
            plain_read,
            plain,
            measured("all fields and gaps", chosen.rounds, size, lambda: read_all(home, gaps=True)),
        ]
        number = iter(range(100))
        rows.append(
            measured(
                "into the store",
                chosen.rounds,
                size,
                lambda: scanned(home, Path(place) / f"{next(number)}.sqlite"),
            )
        )
        memory_mb = peak_mb(home)
        many = Path(place) / "many"
        corpus(many, chosen.unchanged * 2_000, chosen.unchanged)
        kept = Path(place) / "many.sqlite"
        scanned(many, kept)
        rescan = measured("rescan", chosen.rounds, 0, lambda: scanned(many, kept))
    print(f"{size / 1e6:.0f} MB in {chosen.files} files")
    for row in rows:
        print(
            f"  {row.name:<22} {row.cpu_s:6.3f} CPU s  {row.wall_s:6.2f} s  {row.gb_per_cpu_s:5.2f} GB per CPU second, "
            f"{row.most_gb_per_cpu_s:.2f} at most"
        )
    print(f"  {'memory':<22} {memory_mb:6.0f} MB")
    print(
        f"  {f'rescan of {chosen.unchanged}':<22} {rescan.wall_s * 1000:6.0f} ms ({rescan.cpu_s * 1000:.0f} ms CPU)"
    )
    good = (
        plain.gb_per_cpu_s >= GATE_GB
        and rescan.wall_s * 1000 <= GATE_RESCAN_MS
        and memory_mb <= GATE_MEMORY_MB
    )
    print(
        f"{'good' if good else 'NOT GOOD'}: wanted {GATE_GB} GB per CPU second of all fields, {GATE_RESCAN_MS:.0f} ms, "
        f"{GATE_MEMORY_MB:.0f} MB"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
