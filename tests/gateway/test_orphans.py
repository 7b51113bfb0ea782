"""Who may take a turn over."""

from __future__ import annotations

import itertools

import pytest

from holdfast.gateway.orphans import ORPHANS_PER_TENANT, Allowance, Coming, OldReader, coming_back
from holdfast.gateway.turn import State


def test_a_retry_whose_old_connection_is_gone_takes_the_turn() -> None:
    """At once."""
    assert coming_back(State.ORPHANED, OldReader.GONE, waited=False) is Coming.ADOPT


def test_a_retry_that_is_faster_than_its_own_hang_up_waits_for_it() -> None:
    """The close of the old connection may be a moment behind the new request."""
    assert coming_back(State.FOLLOWED, OldReader.ALIVE, waited=False) is Coming.WAIT
    assert coming_back(State.FOLLOWED, OldReader.CLOSING, waited=True) is Coming.ADOPT


def test_two_live_twins_are_two_turns() -> None:
    """Sampling the same prompt twice is legitimate."""
    assert coming_back(State.FOLLOWED, OldReader.ALIVE, waited=True) is Coming.SEPARATE


def test_a_connection_without_life_does_not_keep_its_turn() -> None:
    """A laptop that changed networks leaves such a connection behind."""
    assert coming_back(State.FOLLOWED, OldReader.LIFELESS, waited=False) is Coming.ADOPT


@pytest.mark.parametrize(("state", "old", "waited"), list(itertools.product(State, OldReader, [True, False])))
def test_nobody_waits_twice_and_nobody_takes_what_is_over(state: State, old: OldReader, waited: bool) -> None:
    """Every combination has an answer."""
    coming = coming_back(state, old, waited=waited)

    assert not (waited and coming is Coming.WAIT)
    if state is State.DONE:
        assert coming is Coming.SEPARATE


def test_a_crowd_behind_one_key_may_give_up_together() -> None:
    """Three hundred clients leave within a second, each a turn fewer that is followed: all their answers may go on."""
    allowance = Allowance(1200.0)
    given = [allowance.of("company", 300 - left, 100.0 + left / 300) for left in range(1, 301)]

    assert all(given[left - 1] >= left for left in range(1, 301))


def test_one_client_that_never_comes_back_has_its_64() -> None:
    """It asks, gives up, and asks something else: nobody else is there, however many orphans it has left."""
    allowance = Allowance(1200.0)

    assert {allowance.of("one", 0, 10.0 * number) for number in range(500)} == {ORPHANS_PER_TENANT}


def test_a_crowd_counts_for_an_orphans_life() -> None:
    """What was there long ago holds nothing open, and another tenant's crowd never did."""
    allowance = Allowance(1200.0)

    assert allowance.of("company", 299, 0.0) == 300
    assert allowance.of("one", 0, 1.0) == ORPHANS_PER_TENANT
    assert allowance.of("company", 3, 1199.0) == 300
    assert allowance.of("company", 3, 1201.0) == ORPHANS_PER_TENANT


def test_what_is_remembered_of_tenants_is_bounded() -> None:
    """Keys are free to invent."""
    allowance = Allowance(1200.0)
    for number in range(5000):
        allowance.of(f"tenant {number}", 100, number / 1000)

    assert len(allowance._most) <= 1000
