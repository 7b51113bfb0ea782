"""Words and numbers that the briefs share."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.diagnosis.case import Failure
from holdfast.flight.flights import counted


def outcomes(failures: Sequence[Failure]) -> str:
    """`70 recovered, 14 died, 3 abandoned`."""
    order = ("recovered", "died", "abandoned", "unknown")
    parts = [(sum(one.outcome == outcome for one in failures), outcome) for outcome in order]
    return ", ".join(f"{count} {outcome}" for count, outcome in parts if count)


def lie(count: int) -> str:
    """`1 failure lies`, `2 failures lie`."""
    return f"{counted(count, 'failure')} {'lies' if count == 1 else 'lie'}"


def days(failures: Sequence[Failure]) -> int:
    """On how many UTC days they were."""
    return len({one.at_ms // 86_400_000 for one in failures})
