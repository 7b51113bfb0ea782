"""The life of a turn: every state against every event, and the stories that the table must tell."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.gateway.settings import Timeouts
from holdfast.gateway.turn import TABLE, Act, Event, State, Turn

TIMEOUTS = Timeouts()


def lived(*events: Event, now: float = 100.0) -> tuple[Turn, list[Act]]:
    """A turn to which these events happened, one second apart, and all that it wanted done."""
    turn = Turn(TIMEOUTS)
    acts: list[Act] = []
    for second, event in enumerate(events):
        acts += turn.handle(event, now + second)
    return turn, acts


def test_a_turn_that_is_heard_to_its_end_is_over() -> None:
    """Nothing is kept of an answer that was heard, and nobody can have it again."""
    turn, acts = lived(Event.ANSWER_FINISHED, Event.HEARD)

    assert acts == [Act.END]
    assert turn.state is State.DONE
    assert not turn.adoptable


def test_a_client_that_gave_up_leaves_an_orphan_which_its_retry_takes() -> None:
    """The retry follows the same answer, and upstream is never told to stop."""
    turn, acts = lived(Event.READER_GAVE_UP, Event.READER_JOINED, Event.ANSWER_FINISHED, Event.HEARD)

    assert acts == [Act.END]
    assert turn.deadline is None


def test_an_orphan_has_a_limit() -> None:
    """An answer that nobody fetches is stopped, and what there is of it is kept."""
    turn, _ = lived(Event.READER_LOST)
    assert turn.deadline == 100.0 + TIMEOUTS.orphan_s

    assert turn.handle(Event.DEADLINE_PASSED, turn.deadline) == (Act.STOP_UPSTREAM, Act.KEEP, Act.END)


def test_a_cancelled_turn_is_stopped_after_the_grace_and_not_kept() -> None:
    """Cancel means cancel."""
    turn, _ = lived(Event.READER_CANCELLED)
    assert turn.deadline == 100.0 + TIMEOUTS.cancel_grace_s

    assert turn.handle(Event.DEADLINE_PASSED, turn.deadline) == (Act.STOP_UPSTREAM, Act.END)
    assert not turn.adoptable


def test_a_cancelled_turn_that_finishes_within_the_grace_is_still_cancelled() -> None:
    """Finishing does not prolong the grace, and the answer is not replayed afterwards."""
    turn, _ = lived(Event.READER_CANCELLED, Event.ANSWER_FINISHED)

    assert turn.deadline == 100.0 + TIMEOUTS.cancel_grace_s
    turn.handle(Event.DEADLINE_PASSED, turn.deadline)
    assert turn.state is State.DONE


def test_an_unheard_answer_is_handed_over_once() -> None:
    """The second one who comes for it finds nothing; the attic has it."""
    turn, acts = lived(Event.READER_GAVE_UP, Event.ANSWER_FINISHED, Event.READER_JOINED, Event.READER_LOST)

    assert acts == [Act.KEEP, Act.HAND_OVER, Act.KEEP, Act.END]
    assert not turn.adoptable


def test_an_answer_unheard_for_five_minutes_is_in_the_attic_only() -> None:
    """The waiting ends; what was kept stays kept."""
    turn, acts = lived(Event.READER_GAVE_UP, Event.ANSWER_FINISHED)
    assert acts == [Act.KEEP]
    assert turn.deadline == 101.0 + TIMEOUTS.unheard_s

    assert turn.handle(Event.DEADLINE_PASSED, turn.deadline) == (Act.END,)


def test_a_user_who_cancels_while_the_last_bytes_travel_gets_no_replay() -> None:
    """The answer was finished, the client wanted no more of it."""
    turn, acts = lived(Event.ANSWER_FINISHED, Event.READER_CANCELLED)

    assert acts == [Act.END]
    assert turn.state is State.DONE


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_state_takes_every_event(state: State, event: Event) -> None:
    """No input is illegal; each ends in a known state, and only the table's rows change anything."""
    turn = Turn(TIMEOUTS)
    turn.state = state

    acts = turn.handle(event, 5.0)

    step = TABLE.get((state, event))
    if step is None:
        assert (turn.state, acts) == (state, ())
    elif not (event is Event.READER_JOINED and turn.answered):
        assert (turn.state, acts) == (step.state, step.acts)


@given(st.lists(st.sampled_from(Event), max_size=12))
def test_whatever_happens_the_rules_hold(events: list[Event]) -> None:
    """A turn without a listener has a deadline; done is done; nothing is handed over twice."""
    turn = Turn(TIMEOUTS)
    acts: list[Act] = []
    for second, event in enumerate(events):
        was_done = turn.state is State.DONE
        got = turn.handle(event, float(second))
        assert not (was_done and got)
        acts += got
        assert (turn.deadline is not None) == turn.adoptable
        assert (turn.state is State.DONE) == (Act.END in acts)

    assert acts.count(Act.HAND_OVER) <= 1
    assert acts.count(Act.END) <= 1
    assert acts.count(Act.STOP_UPSTREAM) <= 1
