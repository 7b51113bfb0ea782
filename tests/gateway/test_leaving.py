"""Why a client went, told from its own clocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.flight.endings import Mechanism
from holdfast.gateway.leaving import Departure, Verdict, judge
from holdfast.gateway.profiles import Limit

BYTES_300 = Limit("bytes", "bytes", 300)
EVENTS_90 = Limit("events", "events", 90, applies="streaming")
HEADERS_600 = Limit("request", "headers", 600)
TOTAL_300 = Limit("total", "total", 300, applies="whole")

FLOWING = Departure(
    mechanism=Mechanism.RST,
    since_request_s=42.0,
    since_byte_s=0.2,
    since_event_s=0.2,
    headers_sent=True,
    streaming=True,
)


@pytest.mark.parametrize(
    ("said", "departure", "verdict", "limit"),
    [
        ("Esc in flowing text", FLOWING, Verdict.CANCELLED, None),
        ("300.4 s without a byte", replace(FLOWING, since_byte_s=300.4), Verdict.GAVE_UP, BYTES_300),
        ("304 s: within 2% of 300", replace(FLOWING, since_byte_s=304.0), Verdict.GAVE_UP, BYTES_300),
        ("Esc at 280 s of silence", replace(FLOWING, since_byte_s=280.0), Verdict.CANCELLED, None),
        ("Esc at 320 s of silence", replace(FLOWING, since_byte_s=320.0), Verdict.CANCELLED, None),
        ("events ran out, bytes did not", replace(FLOWING, since_event_s=90.1), Verdict.GAVE_UP, EVENTS_90),
        (
            "no headers for 600 s",
            replace(FLOWING, headers_sent=False, since_request_s=599.6, since_byte_s=599.6),
            Verdict.GAVE_UP,
            HEADERS_600,
        ),
        (
            "300 s without headers is no byte limit",
            replace(FLOWING, headers_sent=False, since_request_s=300, since_byte_s=300),
            Verdict.CANCELLED,
            None,
        ),
        (
            "a whole answer's total time",
            replace(FLOWING, streaming=False, since_request_s=300.0),
            Verdict.GAVE_UP,
            TOTAL_300,
        ),
        ("a stream has no total time", replace(FLOWING, since_request_s=300.0), Verdict.CANCELLED, None),
        (
            "the path died",
            replace(FLOWING, mechanism=Mechanism.KEEPALIVE_UNANSWERED),
            Verdict.LOST,
            None,
        ),
        ("bytes unacknowledged for 9 s", replace(FLOWING, unacknowledged_s=9.0), Verdict.LOST, None),
        ("bytes in flight as always", replace(FLOWING, unacknowledged_s=0.05), Verdict.CANCELLED, None),
        (
            "its timer fired while our keepalive was on its way",
            replace(FLOWING, since_byte_s=0.002, since_event_s=0.002, keepalive_before_s=(300.1, 300.1)),
            Verdict.GAVE_UP,
            BYTES_300,
        ),
        (
            "a keepalive long ago excuses nothing",
            replace(FLOWING, since_byte_s=7.0, since_event_s=7.0, keepalive_before_s=(300.1, 300.1)),
            Verdict.CANCELLED,
            None,
        ),
        ("the command has ended", replace(FLOWING, process_gone=True), Verdict.MOVED_ON, None),
        (
            "the command has ended, at a limit",
            replace(FLOWING, process_gone=True, since_byte_s=300.0),
            Verdict.MOVED_ON,
            None,
        ),
    ],
)
def test_a_timer_fires_at_its_limit_and_a_finger_does_not(
    said: str, departure: Departure, verdict: Verdict, limit: Limit | None
) -> None:
    """The verdict follows from time, side and mechanism."""
    judgement = judge(departure, (BYTES_300, EVENTS_90, HEADERS_600, TOTAL_300), tolerance_s=1.0)

    assert (judgement.verdict, judgement.limit) == (verdict, limit), said


TOLD_10 = Limit("told", "told", 10)


@pytest.mark.parametrize(
    ("said", "departure", "verdict"),
    [
        ("10 s in flowing text", replace(FLOWING, since_request_s=10.2), Verdict.GAVE_UP),
        ("10 s without a byte", replace(FLOWING, since_byte_s=9.8), Verdict.GAVE_UP),
        (
            "10 s without headers",
            replace(FLOWING, headers_sent=False, since_request_s=10.0, since_byte_s=10.0),
            Verdict.GAVE_UP,
        ),
        ("Ctrl-C in flowing text at 42 s", FLOWING, Verdict.CANCELLED),
        ("Ctrl-C at 7 s", replace(FLOWING, since_request_s=7.0), Verdict.CANCELLED),
        ("Ctrl-C at 13 s", replace(FLOWING, since_request_s=13.0), Verdict.CANCELLED),
        (
            "the command has ended at 10 s",
            replace(FLOWING, since_request_s=10.0, process_gone=True),
            Verdict.MOVED_ON,
        ),
    ],
)
def test_who_leaves_at_the_time_that_its_request_says_has_a_timer(
    said: str, departure: Departure, verdict: Verdict
) -> None:
    """Whichever of its clocks the time is counted on; at any other time it is a finger."""
    assert judge(departure, (TOLD_10,), tolerance_s=1.0).verdict is verdict, said


def test_a_measured_limit_explains_more_than_the_clients_word() -> None:
    """Where both fit, the one whose clock is known is named."""
    departure = replace(FLOWING, since_request_s=10.0, since_byte_s=9.5)
    bytes_10 = Limit("bytes", "bytes", 10)

    assert judge(departure, (TOLD_10, bytes_10), tolerance_s=1.0).limit == bytes_10


def test_of_two_limits_the_nearer_one_is_named() -> None:
    """Two timers of one client can lie close together."""
    departure = replace(FLOWING, since_byte_s=300.2, since_event_s=297.0)
    events_297 = Limit("events", "events", 297)

    assert judge(departure, (BYTES_300, events_297), tolerance_s=1.0).limit == events_297


def test_what_is_not_measured_is_not_held_against_the_path() -> None:
    """None is not a number of seconds."""
    assert judge(replace(FLOWING, unacknowledged_s=None), (), 1.0).verdict is Verdict.CANCELLED
