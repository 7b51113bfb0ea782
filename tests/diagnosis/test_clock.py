"""Instants in sentences are UTC where they are weighed, and of the page's clock where they are read."""

from __future__ import annotations

import pytest

from holdfast.diagnosis.clock import by_clock, instant

CHICAGO = ((0, -6 * 3_600_000), (1_773_000_000_000, -5 * 3_600_000))
MORNING_MS = 1_776_150_180_000


@pytest.mark.parametrize(
    ("offsets", "told"),
    [(CHICAGO, "2026-04-14 02:03"), ((), "2026-04-14 07:03"), (((0, 19_800_000),), "2026-04-14 12:33")],
)
def test_a_sentence_is_told_by_the_clock_of_its_page(offsets: tuple[tuple[int, int], ...], told: str) -> None:
    """Every instant in it, by how far that clock was ahead then."""
    at = instant(MORNING_MS)
    said = f'holdfast probe status of {at}: "elevated errors" ({at} to {instant(MORNING_MS)})'

    assert at == "2026-04-14 07:03 UTC"
    assert by_clock(said, offsets) == f'holdfast probe status of {told}: "elevated errors" ({told} to {told})'


def test_what_is_no_instant_of_ours_stays() -> None:
    """A log's own words."""
    said = "2026-99-14 07:03 UTC and 2026-04-14 07:03 CET"
    assert by_clock(said, CHICAGO) == said
