"""Diagnoses held against homes whose causes are known.

    python -m tests.diagnosis.score 0 100        # marks and mistakes of these seeds

Thresholds are tuned on TUNING_SEEDS and on nothing else. SCORE_SEEDS are few, for every run of the tests; the score itself
is taken on LONG_SEEDS (`make score`, `tests.diagnosis.score_long`).
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from holdfast.cli.beside import Asked, look
from holdfast.cli.unsaid import Unsaid
from holdfast.diagnosis import gather
from holdfast.diagnosis.beside import Beside, joined
from holdfast.diagnosis.case import Case
from holdfast.diagnosis.examine import Examination, Finding
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.witnessed import examined
from holdfast.sessions import desktop, machine
from holdfast.sessions.corpus import update
from holdfast.sessions.frames import frames
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store
from tests.diagnosis import homes_captures, homes_flights, homes_logs, homes_probes, homes_status
from tests.diagnosis.homes import ZONE, Home
from tests.diagnosis.plots import home

TUNING_SEEDS = range(70_000)
"Looked at, all or some of them."
SCORE_SEEDS = range(70_000, 70_030)
LONG_SEEDS = range(90_000, 90_600)

NEARLY_FIRST = 0.8
"Two causes of which one brought about so much of what the other did are both the first."
SEEN = "seen-"
"What such findings say is who ended it, where no cause is known."
ENOUGH = 5
"Failures of a cause: with fewer, a home is not counted as one with a cause."
GRADES = ("strong", "either", "suspected")


@dataclass(frozen=True, slots=True)
class Told:
    """One finding, and what is true."""

    label: str
    "All that it says it may be, `a or b`."
    grade: str
    bits: float
    explains: int
    right: int
    "Of these, how many were its own."
    true: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """One home's diagnosis, and what is true."""

    seed: int
    kind: str
    caused: dict[str, int]
    "What can be known of its causes, `a or b` -> failures; of two that look the same the sum."
    findings: list[Told]
    "Causes, the first one first."
    facts: list[Told]
    "Findings that say who ended it and not why."
    first_right: bool | None
    "None where no cause struck often enough for there to be a first one."
    mistakes: list[str]


@dataclass
class Marks:
    """What all of them come to."""

    rows: list[Judged] = field(default_factory=list)

    @property
    def homes(self) -> int:
        return len(self.rows)

    @property
    def first(self) -> tuple[int, int]:
        """Homes whose first finding is right, of those that have a cause to be found."""
        told = [row.first_right for row in self.rows if row.first_right is not None]
        return sum(told), len(told)

    def of(self, grade: str) -> tuple[int, int]:
        """True findings of a grade, and all."""
        told = [one.true for row in self.rows for one in row.findings if one.grade == grade]
        return sum(told), len(told)

    @property
    def facts(self) -> tuple[int, int]:
        """Findings that say who ended it and are right in every failure, and all."""
        told = [one.true for row in self.rows for one in row.facts]
        return sum(told), len(told)

    @property
    def attributed(self) -> tuple[int, int, int]:
        """Failures that are explained by a cause; rightly so; and that were brought about by one that can be known."""
        findings = [one for row in self.rows for one in row.findings]
        caused = sum(sum(row.caused.values()) for row in self.rows)
        return sum(one.explains for one in findings), sum(one.right for one in findings), caused

    @property
    def on_healthy(self) -> int:
        """Causes claimed in homes where all was well."""
        return sum(len(row.findings) for row in self.rows if row.kind == "healthy")

    @property
    def mistakes(self) -> list[str]:
        return [mistake for row in self.rows for mistake in row.mistakes]

    def by_cause(self) -> dict[str, tuple[int, int, int, int]]:
        """Of each cause: true findings and all; homes in which it struck often enough, and those of them that say so."""
        found: dict[str, list[int]] = {}
        for row in self.rows:
            said = {one.label for one in row.findings if one.true}
            for one in row.findings:
                counts = found.setdefault(one.label, [0, 0, 0, 0])
                counts[0] += one.true
                counts[1] += 1
            for label, failures in row.caused.items():
                if failures >= ENOUGH:
                    counts = found.setdefault(label, [0, 0, 0, 0])
                    counts[2] += 1
                    counts[3] += label in said
        return {label: (a, b, c, d) for label, (a, b, c, d) in sorted(found.items())}

    def add(self, other: Marks) -> None:
        """Take another's into account."""
        self.rows += other.rows

    def __str__(self) -> str:
        explained, right, caused = self.attributed
        told = [f"{self.homes} homes; first right {share(*self.first)}"]
        told += [f"{grade} {share(*self.of(grade))} true" for grade in GRADES]
        told += [f"who ended it: {share(*self.facts)} right", f"claimed on healthy homes: {self.on_healthy}"]
        told.append(f"attribution: precision {share(right, explained)}, recall {share(right, caused)}")
        return "; ".join(told)

    def table(self) -> str:
        """Precision and recall of every cause, a line each."""
        rows = [f"{'cause':<52} {'true of claimed':>16} {'found of homes':>16}"]
        for label, (true, claimed, homes, found) in self.by_cause().items():
            rows.append(f"{label:<52} {f'{true} of {claimed}':>16} {f'{found} of {homes}':>16}")
        return "\n".join(rows)


def share(right: int, whole: int) -> str:
    """`95 of 100 (0.95, 0.89-0.98)`: with Wilson's interval, 95% sure."""
    if not whole:
        return "0 of 0"
    low, high = within(right, whole)
    return f"{right} of {whole} ({right / whole:.3f}, {low:.3f}-{high:.3f})"


def within(right: int, whole: int) -> tuple[float, float]:
    """Wilson's interval of a share, 95% sure."""
    z, part = 1.96, right / whole
    middle = (part + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z / (1 + z * z / whole) * math.sqrt(part * (1 - part) / whole + z * z / (4 * whole * whole))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def read(told: Home, without: frozenset[str] = frozenset()) -> tuple[Case, list[desktop.DesktopLog], Store]:
    """A home's files as the product reads them, into memory; `without` are sources that are taken away."""
    with tempfile.TemporaryDirectory() as place:
        root, state = told.saved(Path(place) / "home"), Path(place) / "state"
        store = Store(None, now_ms=0)
        update(store, transcripts(roots(root))[0], gaps=True)
        logs = []
        for path in desktop.logs(root) if "desktop log" not in without else ():
            with path.open(encoding="utf-8") as lines:
                logs.append(desktop.read(lines, ZONE))
        rows = {name: table.to_pylist() for name, table in frames(store).items()}
        case = gather.case(rows["error"], rows["chain"], rows["dead"], rows["request"], logs)
        return joined(case, look_beside(told, case, state, told.sources - without)).case, logs, store


def look_beside(told: Home, case: Case, state: Path, sources: frozenset[str]) -> Beside:
    """Everything else that there is of a home, as the command looks at it on a machine of one's own."""
    files = []
    state.mkdir(mode=0o700)
    if "flights" in sources:
        homes_flights.write(told, state)
    if "probes" in sources:
        homes_probes.write(told, state, told.days)
    homes_status.write(told, state)
    if "capture" in sources:
        files.append(state.parent / "client.pcap")
        homes_captures.write(told, files[-1])
    if "proxy log" in sources:
        files.append(state.parent / "haproxy.log")
        files[-1].write_text(homes_logs.proxy_log(told), encoding="utf-8")
    journal = "\n".join(homes_logs.journal(told, told.days)) if "system log" in sources else ""

    def runs(words: Sequence[str]) -> str:
        if words[0] == "journalctl" and journal:
            return journal
        raise machine.NotTold("it is not installed")

    def this_machine(system: str, begun_ms: int, ended_ms: int, **_: object) -> machine.Machine:
        return real_look("Linux", begun_ms, ended_ms, runs=runs, proc=state)

    real_look = machine.look
    now_ms = max((one.ended_ms for one in told.exchanges), default=0) + 60_000
    asked = Asked(tuple(files), None, ZONE, None, None, own=True, now_ms=now_ms)
    with (
        mock.patch.dict(os.environ, {"HOLDFAST_STATE_DIR": str(state)}),
        mock.patch.object(machine, "look", this_machine),
    ):
        return look(case, asked, Unsaid({}, (), ()))


def named(finding: Finding) -> frozenset[str]:
    """All that it says it may be."""
    return frozenset({finding.hypothesis, *finding.rivals})


def label(names: frozenset[str]) -> str:
    """`a or b`."""
    return " or ".join(sorted(names))


def judge(told: Home, case: Case, found: Examination) -> Judged:
    """One home's diagnosis beside its truth. Raises AssertionError where the diagnosis does not add up."""
    adds_up(told, case, found)
    listed = told.listed
    sides = told.ended_by()
    findings, facts, mistakes = list[Told](), list[Told](), list[str]()
    for finding in found.findings:
        explains = set(finding.explains)
        fact = finding.hypothesis.startswith(SEEN)
        owners: list[str] = []
        if fact:
            side = finding.hypothesis.removeprefix(SEEN)
            right = sum(side in sides.get(key, ()) for key in explains)
            true = right == len(explains)
        else:
            owners = [name for name in listed if told.fits(name, named(finding))]
            right = len(
                {key for name in owners for key in listed[name] | told.met.get(name, set())} & explains
            )
            true = bool(owners) and 2 * right >= len(explains)
        said = label(told.known(owners[0]) if not fact and owners else named(finding))
        row = Told(said, finding.grade, round(finding.bits, 1), len(explains), right, true)
        (facts if fact else findings).append(row)
        if not true:
            mistakes.append(
                f"seed {told.seed}: false {row.grade} {row.label} ({row.bits:.0f} bits), {right} of {row.explains} its own"
            )
    caused: Counter[str] = Counter()
    for name, keys in listed.items():
        caused[label(told.known(name))] += len(keys)
    most = max(caused.values(), default=0)
    first_right = None
    if most >= ENOUGH:
        first = findings[0].label if findings else ""
        first_right = caused[first] >= NEARLY_FIRST * most
        if not first_right:
            counts = {name: len(keys) for name, keys in told.truth.items()}
            mistakes.append(
                f"seed {told.seed}: first {first or 'nothing'} of {counts}, {sorted(told.sources)}"
            )
    return Judged(told.seed, told.name, dict(caused), findings, facts, first_right, mistakes)


def adds_up(told: Home, case: Case, found: Examination) -> None:
    """Every failure is known by its id, and explained or unexplained; what explanations share is counted once."""
    ids = {key for keys in told.truth.values() for key in keys}
    explained = {key for finding in found.findings for key in finding.explains}
    shared = sum(len(finding.explains) for finding in found.findings) - len(explained)
    assert {failure.id for failure in case.failures} == ids, told.seed
    assert set(found.explained) == explained and not explained & set(found.unexplained), told.seed
    assert len(found.explained) + len(found.unexplained) == len(case.failures) == len(ids), told.seed
    assert len(set(found.explained)) == len(found.explained) and shared >= 0, told.seed
    assert all(finding.explains for finding in found.findings), told.seed


def diagnosed(told: Home, without: frozenset[str] = frozenset()) -> tuple[Case, Examination]:
    """A home's failures, and what they are put to."""
    case, _, _ = read(told, without)
    return case, examined(case, catalogue())


def marks(seeds: Iterable[int]) -> Marks:
    """Of all these homes."""
    rows = []
    for seed in seeds:
        told = home(seed)
        rows.append(judge(told, *diagnosed(told)))
    return Marks(rows)


def main(arguments: Sequence[str]) -> None:
    """Print the marks of seeds from the first number to before the second."""
    found = marks(range(*map(int, arguments)))
    for line in (*found.mistakes, found.table(), found):
        print(line)


if __name__ == "__main__":
    main(sys.argv[1:])
