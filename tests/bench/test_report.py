"""The bench's gates: bounds that were set on one machine, and what they would be on another."""

from __future__ import annotations

import io

import pytest
from bench.measure import Figures
from bench.report import Gate, Results, gates, show
from rich.console import Console


def measured(**relays: dict[str, float]) -> Results:
    """Three rounds with the same figures; direct's first byte takes 70 us."""
    return Results(
        {name: [Figures(dict(figures)) for _ in range(3)] for name, figures in relays.items()},
        {},
        [Figures({"first_us": 70.0}) for _ in range(3)],
        {},
    )


SLOW_MACHINE = measured(
    nginx={"short_us": 68.0, "large_ms": 3.2, "first_us": 107.0, "paced_us": 18.4},
    holdfast={"short_us": 110.0, "large_ms": 2.4, "first_us": 190.0, "paced_us": 27.6},
)


def gate(what: str) -> Gate:
    return next(gate for gate in gates(SLOW_MACHINE, "holdfast") if what in gate.what)


def test_a_bound_is_scaled_by_what_nginx_needs_here() -> None:
    """nginx needed 34 us for a short stream where 60 was set: where it needs 68, that would be 120."""
    assert gate("short").scaled == pytest.approx(120.0)
    assert gate("6 MB").scaled == pytest.approx(2.5)


def test_the_absolute_bound_decides() -> None:
    """Within the scaled bound and over the absolute one is missed."""
    assert gate("short").passed is False
    assert gate("6 MB").passed is True


def test_latency_is_scaled_without_the_rigs_own() -> None:
    """Direct's first byte is taken off of both relays before anything is compared."""
    assert gate("first byte").scaled == pytest.approx(100.0)  # 107 less 70 is what nginx needed there too


def test_a_ratio_is_not_scaled_again() -> None:
    """The bound per event is a multiple of nginx in the same round."""
    assert gate("per event").scaled is None
    assert gate("per event").passed is True


def test_what_was_not_measured_has_no_scaled_bound() -> None:
    """Without nginx in the same run there is nothing to scale by."""
    alone = measured(holdfast={"short_us": 50.0})

    short = gates(alone, "holdfast")[1]

    assert (short.scaled, short.passed) == (None, True)


def test_the_table_shows_both_bounds() -> None:
    """Labelled, side by side, and the run as a whole is missed."""
    out = io.StringIO()

    good = show(SLOW_MACHINE, "holdfast", Console(file=out, width=140))

    assert good is False
    (row,) = [line for line in out.getvalue().splitlines() if "per short streaming request" in line]
    assert "<= 60 us" in row
    assert "120 us" in row
    assert "scaled by nginx" in out.getvalue()
