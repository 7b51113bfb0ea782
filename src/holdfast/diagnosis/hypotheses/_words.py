"""Words and numbers that the briefs share."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.diagnosis.case import Failure


def outcomes(failures: Sequence[Failure]) -> str:
    """`70 recovered, 14 died, 3 abandoned`."""
    order = ("recovered", "died", "abandoned", "unknown")
    parts = [(sum(one.outcome == outcome for one in failures), outcome) for outcome in order]
    return ", ".join(f"{count} {outcome}" for count, outcome in parts if count)


def days(failures: Sequence[Failure]) -> int:
    """On how many UTC days they were."""
    return len({one.at_ms // 86_400_000 for one in failures})
