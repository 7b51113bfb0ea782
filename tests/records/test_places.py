"""Lines of a large log find their connections by id, time and length, and not by asking each."""

from __future__ import annotations

import random

import pytest

from holdfast.records import match as matching
from holdfast.records.align import Clock, align
from holdfast.records.legs import Kind, Leg, Places, could_be
from holdfast.records.match import match
from holdfast.records.sighting import Sighting

NOON_S = 1_776_160_000.0
SAME = Clock(0.0, "its clock is the same as ours", True)


def leg(number: int, began_s: float, took_s: float | None) -> Leg:
    ended_s = None if took_s is None else began_s + took_s
    return Leg(
        f"t{number}", Kind.UPSTREAM, 1, began_s, ended_s, "POST", "/v1/messages", "api.example", 200,
        frozenset({f"req_{number}"}), None, None,
    )  # fmt: skip


def line(began_s: float | None, ended_s: float | None, took_s: float | None, *ids: str) -> Sighting:
    return Sighting("proxy", 1, "it says so", began_s, ended_s, 0.5, took_s=took_s, ids=ids)


def test_nothing_that_fits_is_left_out() -> None:
    """Against asking every leg: whatever is written of a line, and however long it took."""
    draw = random.Random(1)
    legs = [
        leg(number, NOON_S + draw.uniform(0, 900), draw.choice((None, draw.expovariate(1 / 90))))
        for number in range(120)
    ]
    places = Places(legs)
    for number in range(400):
        began_s, took_s = NOON_S + draw.uniform(-5, 905), draw.choice((None, draw.expovariate(1 / 90)))
        begins, ends = draw.choice(
            ((began_s, began_s + (took_s or 0)), (None, began_s), (began_s, None), (None, None))
        )
        one = line(begins, ends, took_s, f"req_{number}")
        fitting = [each for each in legs if could_be(one, each)]

        assert places.known(one) == [each for each in legs if f"req_{number}" in each.ids]
        assert [each for each in places.as_long(one) if could_be(one, each)] == fitting
        assert [each for each in places.at_its_time(one, 0.0) if matching._close(one, each, 0.0)] == [
            each for each in legs if matching._close(one, each, 0.0)
        ]


def test_a_days_log_asks_each_line_of_few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine hundred connections and three thousand lines are not two million seven hundred thousand questions."""
    asked = 0

    def counting(one: Sighting, other: Leg) -> bool:
        nonlocal asked
        asked += 1
        return could_be(one, other)

    draw = random.Random(2)
    legs = [leg(number, NOON_S + 30 * number, draw.uniform(1, 60)) for number in range(900)]
    times = [(NOON_S + draw.uniform(0, 27_000), draw.uniform(1, 60)) for _ in range(3000)]
    lines = [line(at, at + took, took) for at, took in times]
    monkeypatch.setattr("holdfast.records.match.could_be", counting)
    match(lines, legs, SAME)

    assert 0 < asked < 2 * len(lines)


def test_the_clock_is_found_as_before() -> None:
    """Forty connections in a log whose clock is an hour ahead, among lines of others."""
    draw = random.Random(3)
    legs = [leg(number, NOON_S + 40 * number, draw.uniform(3, 200)) for number in range(40)]
    lines = [line(one.began_s + 3600, one.ended_s + 3600, one.took_s) for one in legs if one.ended_s]
    lines += [line(at := NOON_S + draw.uniform(0, 1600), at + 1.5, 1.5) for _ in range(200)]

    assert align(lines, legs).ahead_s == pytest.approx(3600, abs=0.7)
