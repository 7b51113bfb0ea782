"""`python -m tests.simulation`: play schedules by their seeds, tell one of them, or soak.

python -m tests.simulation --seeds 0:100000 --jobs 2
python -m tests.simulation --story 4136
python -m tests.simulation --seeds 0:10000000 --resume .cache/soak.json
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.simulation.cutting import pretty, report, story_of
from tests.simulation.many import Bookmark, play_many
from tests.simulation.schedule import draw


def main() -> int:
    """Returns 0 where every schedule held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="simulated schedules")
    parser.add_argument("--seeds", default="0:100000", metavar="FIRST:LAST", help="up to and without LAST")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--story", type=int, metavar="SEED", help="tell what happens in one schedule")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="go on where the last run ended")
    given = parser.parse_args()
    if given.story is not None:
        return _tell(given.story)
    first, last = (int(part) for part in given.seeds.split(":"))
    bookmark = Bookmark(given.resume) if given.resume is not None else None
    if bookmark is not None:
        first = max(first, bookmark.read(first))
    return _play(first, last, given.jobs, bookmark)


def _tell(seed: int) -> int:
    schedule = draw(seed)
    story, violation = story_of(schedule)
    print(f"{pretty(schedule)}\n\n{story}\n\n{violation or 'all rules held'}")
    return 0 if violation is None else 1


def _play(first: int, last: int, jobs: int, bookmark: Bookmark | None) -> int:
    told = time.monotonic()
    for progress in play_many(first, last, jobs):
        if progress.failed is not None:
            seed, violation = progress.failed
            print(report(seed, draw(seed), violation))
            print(f"seed {seed} failed after {progress.done:,} schedules")
            return 1
        if bookmark is not None:
            bookmark.write(progress.contiguous)
        now = time.monotonic()
        if now - told >= 5.0 or progress.done == last - first:
            told = now
            left_s = (last - first - progress.done) / progress.rate
            print(
                f"{progress.done:>11,} schedules held, {progress.rate:,.0f}/s, {left_s:,.0f} s left",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
