"""When a silent peer is asked for a sign of life: time is given, nothing waits."""

from __future__ import annotations

import pytest

from holdfast.gateway.settings import Keepalive
from holdfast.gateway.upstream.keepalive import Look, ProofOfLife


def looks(life: ProofOfLife, times: range, heard_at: float) -> dict[int, str]:
    """What was due when, where something was."""
    found = {at: life.look(at, heard_at) for at in times}
    return {at: look.name for at, look in found.items() if look is not Look.WAIT}


@pytest.mark.parametrize("text", ["30/15/4", "5/1/2"])
def test_a_silent_peer_is_given_up_when_tcp_would_give_it_up(text: str) -> None:
    """The setting's own sum: 90 s by default."""
    rhythm = Keepalive.parse(text)
    assert rhythm is not None
    life = ProofOfLife(rhythm)
    found = looks(life, range(rhythm.dead_after_s + 1), 0.0)

    asked = [rhythm.idle_s + number * rhythm.interval_s for number in range(rhythm.count)]
    assert found == {**dict.fromkeys(asked, "ASK"), rhythm.dead_after_s: "GONE"}
    assert repr(life) == f"<ProofOfLife {rhythm.count} asked, {rhythm.count} unanswered>"


def test_any_byte_begins_the_count_anew() -> None:
    """It need not be the answer to the question."""
    life = ProofOfLife(Keepalive())
    assert looks(life, range(80), 0.0) == {30: "ASK", 45: "ASK", 60: "ASK", 75: "ASK"}

    assert looks(life, range(80, 171), 79.5) == {110: "ASK", 125: "ASK", 140: "ASK", 155: "ASK", 170: "GONE"}


def test_a_late_look_asks_before_it_gives_up() -> None:
    """A loop that was held for minutes has asked nothing in that time, and may not judge by it."""
    life = ProofOfLife(Keepalive())

    assert [life.look(at, 0.0) for at in (600.0, 601.0, 900.0, 1200.0, 1500.0)] == [
        Look.ASK,
        Look.WAIT,
        Look.ASK,
        Look.ASK,
        Look.ASK,
    ]
    assert life.due_at(0.0) == 1515.0 and life.look(1515.0, 0.0) is Look.GONE
