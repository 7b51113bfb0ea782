"""Very many schedules on several processes, with a rate, and a place to go on from."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.known import KNOWN
from tests.simulation.world import Violation, first_violation

CHUNK = 500


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands."""

    done: int
    "Schedules played."
    contiguous: int
    "All seeds below this one have been played."
    rate: float
    "Schedules per second."
    failed: tuple[int, Violation] | None


def play_many(first: int, last: int, jobs: int) -> Iterator[Progress]:
    """Play the seeds from `first` to below `last`; tells now and then. Ends with the first failure."""
    starts = range(first, last, CHUNK)
    began = time.perf_counter()
    done, upto = 0, first
    finished: set[int] = set()
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=200) as pool:
        for start, count, failed in pool.imap_unordered(
            _chunk, ((at, min(at + CHUNK, last)) for at in starts)
        ):
            done += count
            finished.add(start)
            while upto in finished:
                finished.remove(upto)
                upto += CHUNK
            yield Progress(done, min(upto, last), done / (time.perf_counter() - began), failed)
            if failed is not None:
                return


def _chunk(seeds: tuple[int, int]) -> tuple[int, int, tuple[int, Violation] | None]:
    first, last = seeds
    return first, last - first, first_violation(range(first, last), known=KNOWN)


class Bookmark:
    """Which seed a long run goes on from; a small file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, otherwise: int) -> int:
        """The first seed that was not played."""
        try:
            return int(json.loads(self._path.read_text())["next"])
        except (OSError, ValueError, KeyError):
            return otherwise

    def write(self, seed: int) -> None:
        """Remember it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"next": seed}))
