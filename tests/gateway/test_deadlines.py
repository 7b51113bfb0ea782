"""When the gateway looks again, and what is due then. No clock runs in these tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.gateway.deadlines import Clocks, Due, Patience, due, keepalive_interval
from holdfast.gateway.profiles import Limit

PATIENCE = Patience(headers_s=480, keepalive_s=10, quiet_s=2700)
HEDGING = Patience(headers_s=480, keepalive_s=10, quiet_s=2700, hedge_s=30)


def test_where_no_clock_runs_nothing_is_due() -> None:
    """A turn without deadlines costs no timer."""
    assert due(Clocks(), PATIENCE, now=1e9) == ([], None)


def test_a_silent_reader_gets_a_keepalive_every_interval() -> None:
    """After one was sent, the next is due an interval later."""
    clocks = Clocks(reader_silent_since=100)

    assert due(clocks, PATIENCE, now=109.9) == ([], 110)
    assert due(clocks, PATIENCE, now=110) == ([Due.KEEPALIVE], None)
    clocks.reader_silent_since = 110
    assert due(clocks, PATIENCE, now=110) == ([], 120)


def test_silence_upstream_is_noticed_once_and_believed_for_long() -> None:
    """Noticed after the keepalive interval; given up after the quiet patience only."""
    clocks = Clocks(upstream_silent_since=100)

    assert due(clocks, PATIENCE, now=110) == ([Due.QUIET_NOTICED], 2800)
    clocks.quiet_noticed = True
    assert due(clocks, PATIENCE, now=2799) == ([], 2800)
    assert due(clocks, PATIENCE, now=2800) == ([Due.QUIET_EXPIRED], None)


def test_headers_are_waited_for_as_long_as_the_client_can_wait() -> None:
    """Then the answer is opened early; a client without a limit waits for ever."""
    clocks = Clocks(awaiting_headers_since=100)

    assert due(clocks, PATIENCE, now=580) == ([Due.OPEN_EARLY], None)
    assert due(clocks, Patience(None, 10, 2700), now=1e9) == ([], None)


def test_a_finished_answer_does_not_wait_for_the_end_of_http() -> None:
    """A few seconds after the last event the client is given its end."""
    assert due(Clocks(finished_since=100), PATIENCE, now=105) == ([Due.LINGER], None)


def test_a_question_is_asked_a_second_time_only_where_that_is_wanted() -> None:
    """After the silence that was set, before the answer's first event; by default never."""
    clocks = Clocks(unspoken_since=100)

    assert due(clocks, PATIENCE, now=1e9) == ([], None)
    assert due(clocks, HEDGING, now=129.9) == ([], 130)
    assert due(clocks, HEDGING, now=130) == ([Due.HEDGE], None)


times = st.none() | st.floats(0, 1000)


@given(times, times, times, times, times, times, st.booleans(), st.floats(0, 5000))
def test_the_next_look_is_never_in_the_past(
    turn: float | None,
    headers: float | None,
    reader: float | None,
    upstream: float | None,
    finished: float | None,
    unspoken: float | None,
    noticed: bool,
    now: float,
) -> None:
    """What is due is due now, and what is next is later: the engine can neither spin nor oversleep."""
    clocks = Clocks(turn, headers, reader, upstream, finished, noticed, unspoken)

    passed, upcoming = due(clocks, HEDGING, now)

    assert upcoming is None or upcoming > now
    running = [clock for clock in (turn, headers, reader, upstream, finished, unspoken) if clock is not None]
    assert bool(running) == bool(passed or upcoming is not None)


@pytest.mark.parametrize(
    ("said", "configured_s", "limits", "interval_s"),
    [
        ("a client that waits for 300 s", 10.0, (Limit("bytes", "bytes", 300),), 10.0),
        ("a client that waits for 10 s", 10.0, (Limit("bytes", "bytes", 10),), 4.0),
        ("only headers end its wait", 10.0, (Limit("request", "headers", 5),), 10.0),
        ("only answers without streaming do", 10.0, (Limit("bytes", "bytes", 5, applies="whole"),), 10.0),
        ("keepalives are off", 3600.0, (Limit("bytes", "bytes", 10),), 3600.0),
        ("no limit is known", 10.0, (), 10.0),
    ],
)
def test_an_impatient_client_is_kept_alive_more_often(
    said: str, configured_s: float, limits: tuple[Limit, ...], interval_s: float
) -> None:
    """A keepalive that comes just when the client's timer fires holds nobody."""
    assert keepalive_interval(configured_s, limits) == pytest.approx(interval_s), said
