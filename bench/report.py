"""From the figures of all rounds to ratios, gates and a table. Nothing here waits or measures."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench.measure import Figures

BASE = "nginx"
"What ratios are to."


class Spread(NamedTuple):
    """Several rounds of one figure."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread | None:
        return cls(statistics.median(values), min(values), max(values)) if values else None

    def show(self, digits: int) -> str:
        """`1.31 (1.24-1.40)`."""
        if self.least == self.most:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} [dim]({self.least:.{digits}f}-{self.most:.{digits}f})[/dim]"


@dataclass(slots=True)
class Results:
    """Everything that was measured: by relay, round by round (None: no visit in this round)."""

    rounds: dict[str, list[Figures]]
    silent: dict[str, Figures]
    direct: list[Figures]
    missing: dict[str, str]
    "Relays that were not measured, and why."

    def values(self, relay: str, figure: str) -> list[float]:
        """One figure over the rounds, where it was measured."""
        found = [figures.values[figure] for figures in self.rounds.get(relay, []) if figure in figures.values]
        if relay in self.silent and figure in self.silent[relay].values:
            found.append(self.silent[relay].values[figure])
        return found

    def spread(self, relay: str, figure: str) -> Spread | None:
        return Spread.of(self.values(relay, figure))

    def _paired(self, relay: str, other: list[Figures], figure: str) -> list[tuple[float, float]]:
        mine = self.rounds.get(relay, [])
        return [
            (a.values[figure], b.values[figure])
            for a, b in zip(mine, other, strict=False)
            if figure in a.values and figure in b.values
        ]

    def ratio(self, relay: str, figure: str) -> Spread | None:
        """Relay to nginx, each round against its own."""
        pairs = self._paired(relay, self.rounds.get(BASE, []), figure)
        return Spread.of([mine / base for mine, base in pairs if base > 0])

    def added(self, relay: str, figure: str) -> Spread | None:
        """Relay less direct, each round against its own."""
        return Spread.of([mine - base for mine, base in self._paired(relay, self.direct, figure)])

    def wrong(self) -> list[str]:
        """What relays did that they must not, one line each."""
        lines = []
        for name, rounds in {"direct": self.direct, **self.rounds}.items():
            for number, figures in enumerate(rounds, 1):
                lines += [f"{name}, round {number}, {where}: {what}" for where, what in figures.wrong.items()]
        for name, figures in self.silent.items():
            lines += [f"{name}, {where}: {what}" for where, what in figures.wrong.items()]
        return lines


class Gate(NamedTuple):
    """A bound that Holdfast has set itself."""

    what: str
    bound: float
    unit: str
    value: Spread | None
    base_there: float | None = None
    "What nginx needed where the bound comes from; None where the bound is a ratio to nginx already."
    base_here: Spread | None = None
    "What nginx needed in these rounds."

    @property
    def scaled(self) -> float | None:
        """The bound for a machine as fast as this one, if Holdfast's work takes longer here as nginx's does.

        It decides nothing: another machine's nginx is another kernel, and Holdfast is mostly Python.
        """
        if self.base_there is None or self.base_here is None:
            return None
        return self.bound * self.base_here.median / self.base_there

    @property
    def passed(self) -> bool | None:
        """None where it was not measured."""
        return None if self.value is None else self.value.median <= self.bound


def gates(results: Results, relay: str) -> list[Gate]:
    """The bounds, with the medians measured now. Those of nginx: reference measurements, README.md, "Noise"."""

    def absolute(what: str, bound: float, unit: str, figure: str, there: float) -> Gate:
        return Gate(what, bound, unit, results.spread(relay, figure), there, results.spread(BASE, figure))

    first = results.added(relay, "first_us"), 37.0, results.added(BASE, "first_us")
    return [
        Gate("CPU per event, 100 streams x 100/s", 1.6, "x nginx", results.ratio(relay, "paced_us")),
        absolute("CPU per short streaming request", 60, "us", "short_us", 34.0),
        absolute("CPU per request of 6 MB", 2.5, "ms", "large_ms", 3.2),
        absolute("memory per 1,000 silent streams", 6, "MB", "silent_mb", 17.2),
        Gate("added to the first byte, p50", 100, "us", *first),
    ]


class Row(NamedTuple):
    """One figure of the table."""

    title: str
    figure: str
    digits: int
    added: bool = False
    "Whether direct is taken off."


ROWS = (
    Row("CPU us/event, 100 x 100/s", "paced_us", 1),
    Row("CPU us/event, 20 x 100/s", "sparse_us", 1),
    Row("CPU us/event, flood", "flood_us", 2),
    Row("CPU us/short stream", "short_us", 0),
    Row("CPU us/JSON of 2 KB", "json_us", 0),
    Row("CPU ms/request of 6 MB", "large_ms", 2),
    Row("first byte, p50, + us", "first_us", 0, added=True),
    Row("MB/1,000 silent streams", "silent_mb", 1),
    Row("MB before", "base_mb", 0),
)


def _cell(results: Results, relay: str, row: Row) -> str:
    """The figure, and below it the ratio to nginx."""
    spread = results.added(relay, row.figure) if row.added else results.spread(relay, row.figure)
    if spread is None:
        return "[dim]-[/dim]"
    ratio = None if relay == BASE or row.added else results.ratio(relay, row.figure)
    return spread.show(row.digits) + (f"\n[bold]x[/bold] {ratio.show(2)}" if ratio else "")


def show(results: Results, judged: str, console: Console) -> bool:
    """Print the tables; True where nothing was wrong and no gate was missed."""
    title = f"median (least-most) of the rounds; x: ratio to {BASE} in the same round"
    table = Table(title=title, title_justify="left", header_style="bold", show_lines=True)
    table.add_column("")
    for name in results.rounds:
        table.add_column(name, justify="right")
    for row in ROWS:
        table.add_row(row.title, *(_cell(results, name, row) for name in results.rounds))
    console.print(table)
    for line in _remarks(results):
        console.print(line, highlight=False)
    for name, why in results.missing.items():
        console.print(f"not measured: {name}: {why}", highlight=False, markup=False)
    wrong = results.wrong()
    for line in wrong:
        console.print(f"WRONG  {line}", highlight=False, markup=False, style="red")
    return _show_gates(results, judged, console) and not wrong


def _remarks(results: Results) -> list[str]:
    """What tells a good run from a noisy or saturated one."""
    lines = []
    base = Spread.of(
        [figures.values["first_us"] for figures in results.direct if "first_us" in figures.values]
    )
    if base:
        lines.append(f"direct first byte {base.median:.0f} us (taken off above)")
    for name in results.rounds:
        late, reads = (
            results.spread(name, "paced_late_percent"),
            results.spread(name, "paced_reads_per_event"),
        )
        if late and reads and (late.median > 5 or reads.median < 0.9):
            lines.append(
                f"{name} did not keep pace: {late.median:.0f}% late, {reads.median:.2f} reads per event; "
                "its events coalesce, and the true cost per event is higher"
            )
        waited = results.spread(name, "paced_waited_percent")
        if waited and waited.most > 5:
            lines.append(
                f"noisy: {name} waited for its CPU up to {waited.most:.0f}% of a round's time; others used it"
            )
        cpu, pings = results.spread(name, "silent_cpu_percent"), results.spread(name, "silent_keepalives")
        if cpu and pings and pings.median:
            lines.append(
                f"{name} sent {pings.median:.0f} keepalives to silent streams, for {cpu.median:.2f}% of a CPU"
            )
    return lines


def _value(gate: Gate) -> str:
    return gate.value.show(2) if gate.value else "[dim]-[/dim]"


def _show_gates(results: Results, judged: str, console: Console) -> bool:
    if judged not in results.rounds:
        console.print(f"no gates: {judged} was not measured")
        return True
    table = Table(title=f"gates for {judged}", title_justify="left", header_style="bold")
    for title in ("", "gate", "bound", f"scaled by {BASE}", "measured", BASE):
        table.add_column(title)
    of_base = gates(results, BASE)
    passed = True
    for gate, base in zip(gates(results, judged), of_base, strict=True):
        word = {True: "[green]pass[/green]", False: "[red]MISSED[/red]", None: "not measured"}[gate.passed]
        bound = f"<= {gate.bound:g} {gate.unit}"
        scaled = "[dim]-[/dim]" if gate.scaled is None else f"{gate.scaled:.3g} {gate.unit}"
        table.add_row(word, gate.what, bound, scaled, _value(gate), _value(base))
        passed = passed and gate.passed is not False
    console.print(table)
    return passed


def write(results: Results, about: dict[str, object], judged: str, path: Path) -> None:
    """Keep every figure of every round as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {
        **about,
        "gates": [
            {
                "what": g.what,
                "bound": g.bound,
                "scaled": g.scaled,
                "unit": g.unit,
                "median": g.value and g.value.median,
                "passed": g.passed,
            }
            for g in (gates(results, judged) if judged in results.rounds else [])
        ],
        "rounds": {name: [asdict(one) for one in rounds] for name, rounds in results.rounds.items()},
        "direct": [asdict(one) for one in results.direct],
        "silent": {name: asdict(one) for name, one in results.silent.items()},
        "missing": results.missing,
    }
    path.write_text(json.dumps(text, indent=1) + "\n")
