"""Requests that are lost on their way out."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.flight.endings import Mechanism, Phase, Side
from tests.diagnosis.hypotheses.story import Story, said

CUT: dict[str, Any] = {
    "side": Side.PATH, "mechanism": Mechanism.UNACKNOWLEDGED, "phase": Phase.SENDING, "request_bytes": 900_000,
    "acked_bytes": 310_000, "unacked_bytes": 40_000, "sent_again": 9, "silence_s": 20.0,
}  # fmt: skip


def lossy(**changes: Any) -> Story:
    story = Story()
    for day in range(10):
        for size in (90_000, 200_000, 400_000):
            story.went_well(day, 5, request_bytes=size)
        story.fails(
            day, 50 + day, code="ETIMEDOUT", age_s=18.0 + 5 * day, context=140_000, **{**CUT, **changes}
        )
    return story


def rungs(*, cut: int | None = None, again: int = 0) -> dict[str, Any]:
    sizes = (10_000, 100_000, 500_000)
    return {
        "uploads": [
            {
                "size_bytes": size, "whole": size != cut, "ended": "no answer" if size == cut else None,
                "retransmissions": again, "segments": 100,
            }
            for size in sizes
        ]
    }  # fmt: skip


def test_requests_that_end_with_a_part_of_them_acknowledged() -> None:
    """And the rest sent again and again, larger than those that went well."""
    found = lossy().finding("upload-loss")

    assert (found.grade, len(found.explains)) == ("strong", 10)
    assert "Half of those requests had 900 kB or more; of 150 that went well, half had 200 kB." in said(found)
    assert found.hypothesis == lossy().names()[0]


def test_what_had_begun_to_be_answered_had_arrived() -> None:
    """A break in the midst of an answer is another's, whatever the size."""
    assert "upload-loss" not in lossy(phase=Phase.IN_TEXT, unacked_bytes=0, mechanism=Mechanism.RST).names()


def test_what_was_acknowledged_whole_was_not_lost() -> None:
    """It was read for long, or refused: large prompts fail in other ways too."""
    story = lossy(phase=Phase.AWAITING_HEADERS, acked_bytes=900_000, unacked_bytes=0, sent_again=0)

    assert "upload-loss" not in story.names()


def test_a_way_that_goes_dark_under_answers_too_is_no_upload_that_is_lost() -> None:
    """Nobody acknowledges any more, whatever is under way: a few requests that were going out say nothing then."""
    story = Story()
    for day in range(12):
        story.went_well(day, 12, request_bytes=300_000)
        for number in range(3):
            story.fails(
                day,
                50 + 90 * number,
                age_s=9.0 + day,
                **{**CUT, "phase": Phase.IN_TEXT, "request_bytes": 300_000},
            )
        if day % 3 == 0:
            story.fails(day, 330, age_s=9.0 + day, **{**CUT, "request_bytes": 320_000})

    assert "upload-loss" not in story.names()


def test_without_a_source_of_bytes_it_is_only_that_large_ones_fail() -> None:
    """The client's logs know the prompt's size, and not how far it had got."""
    story = lossy()
    story.trips.clear()

    assert "upload-loss" not in story.names()


def test_the_ladder_of_uploads_weighs() -> None:
    """A size that fails where smaller ones arrive, segments sent again, or all well: in this order."""
    bits = []
    for facts in (rungs(), rungs(again=5), rungs(cut=500_000)):
        story = lossy()
        story.asked("upload", facts, day=9)
        bits.append(story.finding("upload-loss").bits)

    assert bits == sorted(bits) and len(set(bits)) == 3


def test_a_probe_of_another_network_weighs_nothing() -> None:
    """The failures were at home, and it was asked in a cafe."""
    plain, told = lossy(network="home"), lossy(network="home")
    told.asked("upload", rungs(cut=500_000), day=9, network="cafe")
    found = told.finding("upload-loss")

    assert found.bits == plain.finding("upload-loss").bits
    assert "asked on another network than the failures', and weighs nothing" in said(found)


@pytest.mark.parametrize(
    "last",
    [{"acked_bytes": 902_400}, {"acked_bytes": None, "unacked_bytes": 31}],
    ids=["all of it", "a PING"],
)
def test_a_request_that_was_there_but_for_a_few_bytes_was_not_lost(last: dict[str, Any]) -> None:
    """The way went dark while the answer was waited for: what was sent again is no part of the request worth the name."""
    assert "upload-loss" not in lossy(phase=Phase.AWAITING_HEADERS, **last).names()


def test_large_ones_that_nobody_saw_are_put_to_it_where_others_were_seen() -> None:
    """A capture kept ten of twenty; the others were as large. Without the ten they would be large requests, and no more."""
    story = lossy()
    for day in range(10):
        story.fails(day, 70 + day, code="ETIMEDOUT", age_s=18.0 + 5 * day, context=140_000)
    found = story.finding("upload-loss")

    assert len(found.explains) == 20 and "large-request" not in story.names()
    story.trips.clear()
    assert "large-request" in story.names()
