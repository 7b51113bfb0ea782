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


def beyond(put: int, own: int, expected: float) -> str:
    """How many more failures there were than were to be expected on days that compare; empty where all that are `put` to it.

    `own` failures of those days bore its mark, whatever brought them about.
    """
    if own - expected >= put:
        return ""
    return (
        f"{counted(put, 'failure')} {'is' if put == 1 else 'are'} put to it, but of its {own} on those days {expected:.0f} "
        f"were to be expected without any fault: about {max(own - expected, 0):.0f} came beyond that, and which of them "
        "cannot be told one by one."
    )


def days(failures: Sequence[Failure]) -> int:
    """On how many UTC days they were."""
    return len({one.at_ms // 86_400_000 for one in failures})
