"""Who may take a turn over."""

from __future__ import annotations

import itertools

import pytest

from holdfast.gateway.orphans import Coming, OldReader, coming_back
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
