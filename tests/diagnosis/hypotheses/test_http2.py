"""HTTP/2's own ends."""

from __future__ import annotations

from typing import Any

from holdfast.flight.endings import Mechanism, Phase, Side
from tests.diagnosis.hypotheses.story import Story, said


def ends(how: Mechanism, http: str = "2", **more: Any) -> Story:
    story = Story()
    for day in range(10):
        story.went_well(day, 10, http="1.1")
        story.went_well(day, 10, http=http)
        story.fails(day, 50, age_s=4.0 + 3 * day, mechanism=how, http=http, **more)
    return story


def test_goaway_and_stream_resets_are_http2s() -> None:
    """TCP has no such words. What went over HTTP/1.1 on the same days is the comparison."""
    found = ends(Mechanism.GOAWAY, said="NO_ERROR").finding("http2")

    assert (found.grade, len(found.explains)) == ("strong", 10)
    assert "10 attempts ended by GOAWAY or RST_STREAM (NO_ERROR 10)" in said(found)
    assert "Over HTTP/1.1 0 of 100 attempts broke" in said(found)
    assert "--no-http2" in found.remedy
    assert ends(Mechanism.STREAM_RESET, said="FLOW_CONTROL_ERROR").names()[0] == "http2"


def test_a_reset_of_the_connection_is_tcps() -> None:
    """On a connection of HTTP/2 as well: it would have ended one of HTTP/1.1 alike."""
    assert "http2" not in ends(Mechanism.RST).names()


def test_over_http_1_1_it_cannot_be() -> None:
    """And where nobody saw which HTTP was spoken, it is not claimed."""
    assert "http2" not in ends(Mechanism.RST, http="1.1").names()
    assert "http2" not in ends(Mechanism.RST, http="1.1", phase=Phase.AWAITING_HEADERS).names()


def test_streams_that_stand_still_while_pings_are_answered_are_suspicious() -> None:
    """Flow control holds up one stream and not the connection. A model that thinks looks the same: it takes many."""
    stuck = ends(Mechanism.DEADLINE, side=Side.GATEWAY, pings_answered=True, silence_s=200.0)
    dark = ends(Mechanism.KEEPALIVE_UNANSWERED, side=Side.PATH, pings_answered=False, silence_s=200.0)

    assert "while PINGs were answered" in said(stuck.finding("http2"))
    assert "http2" not in dark.names()
