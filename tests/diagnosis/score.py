"""Diagnoses held against homes whose causes are known.

    python -m tests.diagnosis.score 0 100        # marks and mistakes of these seeds

Thresholds are tuned on TUNING_SEEDS and on nothing else; the score is taken on SCORE_SEEDS, LONG_SEEDS is for a finer one.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.diagnosis import gather
from holdfast.diagnosis.case import Case
from holdfast.diagnosis.examine import Examination, Finding, examine
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.sessions import desktop
from holdfast.sessions.corpus import update
from holdfast.sessions.frames import frames
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store
from tests.diagnosis.homes import ZONE, Home
from tests.diagnosis.plots import home

TUNING_SEEDS = range(400)
SCORE_SEEDS = range(10_000, 10_100)
LONG_SEEDS = range(20_000, 20_600)

NEARLY_FIRST = 0.8
"Two causes of which one brought about so much of what the other did are both the first."
ENOUGH = 5
"Failures of a cause: with fewer, a home is not counted as one with a cause."


@dataclass
class Marks:
    """How many of what were right."""

    homes: int = 0
    with_cause: int = 0
    first_right: int = 0
    graded: Counter[tuple[str, bool]] = field(default_factory=Counter)
    "(grade, whether it is true) -> findings."
    claimed: int = 0
    rightly: int = 0
    caused: int = 0
    "Failures: explained by a true finding, rightly so, and brought about by causes that can be known."
    on_healthy: int = 0
    "Findings in homes without any cause or trouble."
    mistakes: list[str] = field(default_factory=list)

    def of(self, grade: str) -> tuple[int, int]:
        """True findings of a grade, and all."""
        return self.graded[grade, True], self.graded[grade, True] + self.graded[grade, False]

    def add(self, other: Marks) -> None:
        """Take another's into account."""
        for name in ("homes", "with_cause", "first_right", "claimed", "rightly", "caused", "on_healthy"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.graded += other.graded
        self.mistakes += other.mistakes

    def __str__(self) -> str:
        told = [f"{self.homes} homes; first right {self.first_right} of {self.with_cause}"]
        told += [
            f"{grade} {self.of(grade)[0]} of {self.of(grade)[1]} true"
            for grade in ("strong", "either", "suspected")
        ]
        precision, recall = self.rightly / max(self.claimed, 1), self.rightly / max(self.caused, 1)
        return "; ".join(told) + f"; attribution: precision {precision:.3f}, recall {recall:.3f}"


def read(told: Home) -> tuple[Case, list[desktop.DesktopLog], Store]:
    """A home's files as the product reads them, into memory."""
    with tempfile.TemporaryDirectory() as place:
        root = told.saved(Path(place))
        store = Store(None, now_ms=0)
        update(store, transcripts(roots(root))[0])
        logs = []
        for path in desktop.logs(root):
            with path.open(encoding="utf-8") as lines:
                logs.append(desktop.read(lines, ZONE))
    rows = {name: table.to_pylist() for name, table in frames(store).items()}
    return gather.case(rows["error"], rows["chain"], rows["dead"], rows["request"], logs), logs, store


def named(finding: Finding) -> frozenset[str]:
    """All that it says it may be."""
    return frozenset({finding.hypothesis, *finding.rivals})


def judge(told: Home, case: Case, found: Examination) -> Marks:
    """One home's marks. Raises AssertionError where the diagnosis does not add up."""
    ids = {key for keys in told.truth.values() for key in keys}
    explained = {key for finding in found.findings for key in finding.explains}
    assert {failure.id for failure in case.failures} == ids, told.seed
    assert set(found.explained) == explained and not explained & set(found.unexplained), told.seed
    assert len(found.explained) + len(found.unexplained) == len(case.failures) == len(ids), told.seed

    marks = Marks(homes=1)
    listed = told.listed
    for finding in found.findings:
        owners = [name for name in listed if told.causes[name].truth == named(finding)]
        own = {key for name in owners for key in listed[name]}
        right = len(own & set(finding.explains))
        true = bool(owners) and 2 * right >= len(finding.explains)
        marks.graded[finding.grade, true] += 1
        if owners:
            marks.claimed += len(finding.explains)
            marks.rightly += right
        if not true:
            told_it = f"{finding.grade} {' or '.join(sorted(named(finding)))} ({finding.bits:.0f} bits)"
            marks.mistakes.append(
                f"seed {told.seed}: false {told_it}, {right} of {len(finding.explains)} its own"
            )
    marks.caused = sum(map(len, listed.values()))
    most = max(map(len, listed.values()), default=0)
    if most >= ENOUGH:
        marks.with_cause = 1
        first = named(found.findings[0]) if found.findings else None
        marks.first_right = any(
            told.causes[name].truth == first and len(keys) >= NEARLY_FIRST * most
            for name, keys in listed.items()
        )
        if not marks.first_right:
            counts = {name: len(keys) for name, keys in told.truth.items()}
            marks.mistakes.append(f"seed {told.seed}: first {sorted(first or ())} of {counts}")
    if told.name == "healthy":
        marks.on_healthy = len(found.findings)
    return marks


def marks(seeds: Iterable[int]) -> Marks:
    """Of all these homes."""
    total = Marks()
    for seed in seeds:
        told = home(seed)
        case, _, _ = read(told)
        total.add(judge(told, case, examine(case, catalogue())))
    return total


def main(arguments: Sequence[str]) -> None:
    """Print the marks of seeds from the first number to before the second."""
    found = marks(range(*map(int, arguments)))
    for line in (*found.mistakes, found):
        print(line)


if __name__ == "__main__":
    main(sys.argv[1:])
