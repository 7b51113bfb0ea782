"""A home whose flights were made by the lab's provider, a real gateway and real sockets, and not by a pen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import uvloop

from holdfast.flight.record import TurnRecord
from tests.diagnosis.homes_lab import Retold, played
from tests.diagnosis.plots import Plot, home
from tests.diagnosis.score import diagnosed, judge

FLIGHTS = frozenset({"flights"})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, TurnRecord]:
    """Every ending that the homes need, played once."""
    return uvloop.run(played(tmp_path_factory.mktemp("lab")))


@pytest.mark.parametrize(
    "causes",
    [
        (("goes_away", 40), ("no_names", 25)),
        (("overload", 30), ("wall_seen", 20)),
        (("impatient", 12), ("proxy_down", 20)),
    ],
    ids=lambda causes: " and ".join(name for name, _ in causes),
)
def test_what_the_lab_played_is_found(
    lab: Mapping[str, TurnRecord], causes: tuple[tuple[str, int], ...]
) -> None:
    """Two causes and some accidents, every ending told by a real gateway: both are found, and nothing that is not so."""
    told = home(41, Plot("lab", (*causes, ("accident", 6)), sources=FLIGHTS))
    found = judge(told, *diagnosed(replace(told, flights_by=Retold(lab))))

    assert found.first_right, found.mistakes
    assert {one.label for one in found.findings} == set(found.caused)
    assert [one for one in found.findings if not one.true] == []
