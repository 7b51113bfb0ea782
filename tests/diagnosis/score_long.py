"""The score itself, on hundreds of homes: with progress, and it goes on where it was interrupted.

    python -m tests.diagnosis.score_long                      # or: make score
    python -m tests.diagnosis.score_long --seeds 0:200        # some of those for tuning

A line of JSON per home is kept, under the sum of the code that made it: what is changed is scored anew.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import msgspec

from tests.diagnosis.plots import home
from tests.diagnosis.score import LONG_SEEDS, Judged, Marks, diagnosed, judge, share

ROOT = Path(__file__).parents[2]
READ = (
    "src/holdfast/captures", "src/holdfast/diagnosis", "src/holdfast/flight", "src/holdfast/probes", "src/holdfast/records",
    "src/holdfast/sessions", "src/holdfast/cli/beside.py", "tests/diagnosis", "tests/sessions/written.py",
    "tests/captures/packets.py",
)  # fmt: skip
"What a home's diagnosis may depend on."
BITS = (5, 7, 10, 20, 50)


def code() -> str:
    """The sum of all that."""
    found = hashlib.sha256()
    for name in READ:
        place = ROOT / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            found.update(path.read_bytes())
    return found.hexdigest()[:12]


def judged(seeds: range, kept: Path) -> Iterator[Judged]:
    """Every home's diagnosis beside its truth, of earlier runs those that are there."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    known: dict[int, Judged] = {}
    if kept.exists():
        for line in kept.read_bytes().splitlines():
            try:
                one = msgspec.json.decode(line, type=Judged)
            except msgspec.MsgspecError:
                continue  # the last line of a run that was killed
            known[one.seed] = one
    with kept.open("ab") as file:
        file.write(b"\n" if file.tell() else b"")
        for seed in seeds:
            if seed not in known:
                told = home(seed)
                known[seed] = judge(told, *diagnosed(told))
                file.write(msgspec.json.encode(known[seed]) + b"\n")
                file.flush()
            yield known[seed]


def calibration(found: Marks) -> Iterator[str]:
    """How many were true of the findings of so many bits."""
    told = [one for row in found.rows for one in row.findings if one.grade != "either"]
    for low, high in zip(BITS, (*BITS[1:], 1e9), strict=True):
        mine = [one.true for one in told if low <= one.bits < high]
        yield f"{low} bits and more: {share(sum(mine), len(mine))} true"


def main() -> None:
    """Score, show how far it is, and print what came of it."""
    reading = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    reading.add_argument("--seeds", default=f"{LONG_SEEDS.start}:{LONG_SEEDS.stop}", metavar="FROM:TO")
    reading.add_argument("--kept", type=Path, help="where the lines are [.cache/score-CODE.jsonl]")
    asked = reading.parse_args()
    seeds = range(*map(int, asked.seeds.split(":")))
    begun, found = perf_counter(), Marks()
    for number, row in enumerate(judged(seeds, asked.kept or ROOT / ".cache" / f"score-{code()}.jsonl"), 1):
        found.rows.append(row)
        if sys.stderr.isatty() or number % 50 == 0:
            end = "\r" if sys.stderr.isatty() else "\n"
            right, whole = found.first
            told = f"{number} of {len(seeds)} homes, {perf_counter() - begun:.0f} s, first right {right} of {whole} "
            print(told, end=end, file=sys.stderr, flush=True)
    for line in (*found.mistakes, "", found.table(), "", *calibration(found), "", str(found)):
        print(line)


if __name__ == "__main__":
    main()
