"""Play the matrix, a slice at a time, and write the page: `python -m tests.clients.matrix --minutes 8`.

What is already in the results is not played again, so the same command goes on where it stopped (without `--again`).
Ctrl-C lets the cells under way end first: a client left behind would go on asking whoever gets its port next.
Exit codes: 0 all played, 3 some are left, call it again.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

from tests.clients.claude import Machine
from tests.clients.matrix import page, results
from tests.clients.matrix.cell import Cell, all_cells
from tests.clients.matrix.playing import play, stories
from tests.clients.matrix.results import Result, as_expected

_writing = threading.Lock()
_stopping = threading.Event()


def chosen_runs(patterns: list[str], *, alone: bool) -> list[tuple[Cell, bool]]:
    """All runs of these cells, each with and without the gateway next to each other."""
    runs = []
    for cell in all_cells():
        if patterns and not any(fnmatchcase(cell.key, pattern) for pattern in patterns):
            continue
        runs.append((cell, True))
        if alone and not cell.options:  # without a gateway there is nothing that could be told
            runs.append((cell, False))
    return runs


def run(cell: Cell, gateway: bool, until: float) -> bool:
    """Play one and write it down; False where the time is over."""
    if time.monotonic() > until or _stopping.is_set():
        return False
    with tempfile.TemporaryDirectory(prefix="matrix-", ignore_cleanup_errors=True) as directory:
        machine = Machine.prepare(Path(directory) / "machine")
        facts = play(cell, machine, gateway=gateway)
        odd = gateway and not as_expected(cell, facts)
        story = stories(machine)[:20_000] if odd else ""
    result = Result(cell.key, gateway, facts, date.today().isoformat(), story)
    with _writing:
        results.add(result)
        mark = "ODD " if odd else ""
        side = "with " if gateway else "alone"
        print(
            f"{side} {cell.key}: {mark}{result.verdict}, {facts.generations} generations "
            f"(least {cell.least_generations}), {facts.requests} requests, {facts.seconds} s"
            + (f": {facts.detail}" if odd else ""),
            flush=True,
        )
    return True


def main() -> int:
    """Play a slice."""
    parser = argparse.ArgumentParser(prog="tests.clients.matrix", description=__doc__)
    parser.add_argument("patterns", nargs="*", help="cells to play, as in '2.1.114/rst/*'; default all")
    parser.add_argument("--minutes", type=float, default=8.0, help="begin no cell after that")
    parser.add_argument("--jobs", type=int, default=2, help="clients at a time")
    parser.add_argument("--again", action="store_true", help="forget what was played of these cells first")
    parser.add_argument("--with-only", action="store_true", help="leave the runs without the gateway alone")
    parser.add_argument("--page", action="store_true", help="only write the page")
    chosen = parser.parse_args()
    runs = [] if chosen.page else chosen_runs(chosen.patterns, alone=not chosen.with_only)
    if chosen.again:
        results.forget({(cell.key, gateway) for cell, gateway in runs})
    known = results.load()
    runs = [one for one in runs if (one[0].key, one[1]) not in known]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _stopping.set())
    until = time.monotonic() + chosen.minutes * 60
    with ThreadPoolExecutor(chosen.jobs) as pool:
        played = list(pool.map(lambda one: run(one[0], one[1], until), runs))
    left = played.count(False)
    if not left:
        page.PAGE.write_text(page.render(results.load()), encoding="utf-8")
        print(f"wrote {page.PAGE}")
    else:
        print(f"{left} of {len(runs)} left: the same command goes on, without --again")
    return 3 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
