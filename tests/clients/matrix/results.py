"""What has been played so far: one JSON line per run in `.cache/matrix/results.jsonl`. The last of a cell counts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.clients.install import REPOSITORY
from tests.clients.matrix.cell import Cell, expected
from tests.clients.matrix.verdict import Facts, verdict

FILE: Final = REPOSITORY / ".cache" / "matrix" / "results.jsonl"


@dataclass(frozen=True, slots=True)
class Result:
    """A run of a cell."""

    key: str
    gateway: bool
    facts: Facts
    day: str
    "ISO date."
    story: str = ""
    "The gateway's flights, where it did not come out as expected."

    @property
    def verdict(self) -> str:
        """What it came to."""
        return verdict(self.facts)


Results = dict[tuple[str, bool], Result]
"By the cell's key, and whether the gateway was there."


def load(path: Path = FILE) -> Results:
    """All results; none where nothing was played."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {(result.key, result.gateway): result for result in _parsed(lines)}


def _parsed(lines: Iterable[str]) -> Iterator[Result]:
    for line in lines:
        row: dict[str, Any] = json.loads(line)
        yield Result(**{**row, "facts": Facts(**row["facts"])})


def add(result: Result, path: Path = FILE) -> None:
    """Write one down."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")


def forget(keys: Collection[tuple[str, bool]], path: Path = FILE) -> None:
    """Drop the results of these runs, so that they are played again."""
    kept = [result for key, result in load(path).items() if key not in keys]
    path.unlink(missing_ok=True)
    for result in kept:
        add(result, path)


def as_expected(cell: Cell, facts: Facts) -> bool:
    """Whether a run with the gateway came out as `expected` says, at no more than its generations."""
    wanted = expected(cell)
    if verdict(facts) != wanted.verdict:
        return False
    return (
        wanted.verdict != "done"
        or cell.lasts_s > 0
        or facts.generations <= cell.least_generations + wanted.more
    )
