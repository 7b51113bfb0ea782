"""A hundred thousand schedules, drawn by their seeds. `make soak` plays ten million others."""

from __future__ import annotations

import os

import pytest

from tests.simulation.cutting import report
from tests.simulation.many import play_many
from tests.simulation.schedule import draw

SEEDS = 100_000


@pytest.mark.timeout(1800)
def test_every_rule_holds_in_a_hundred_thousand_worlds() -> None:
    """A failing seed is cut down and told, with a test that can be pasted into `test_stories.py`."""
    done = 0
    for progress in play_many(0, SEEDS, os.cpu_count() or 1):
        done = progress.done
        if progress.failed is not None:
            seed, violation = progress.failed
            pytest.fail(report(seed, draw(seed), violation), pytrace=False)

    assert done == SEEDS
