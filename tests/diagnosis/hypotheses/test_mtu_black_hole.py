"""Packets of full size that get lost."""

from __future__ import annotations

from typing import Any

from holdfast.flight.endings import Mechanism, Phase, Side
from tests.diagnosis.hypotheses.story import Story, said

NOTHING_ACKED: dict[str, Any] = {
    "side": Side.PATH, "mechanism": Mechanism.UNACKNOWLEDGED, "phase": Phase.SENDING, "request_bytes": 160_000,
    "acked_bytes": 1_700, "unacked_bytes": 28_000, "sent_again": 6, "silence_s": 30.0,
}  # fmt: skip


def holed(**changes: Any) -> Story:
    story = Story()
    for day in range(6):
        story.went_well(day, 15, request_bytes=150_000)
        for number in range(3):
            how = {**NOTHING_ACKED, **changes}
            story.fails(day, 50 + 3 * number, code="ETIMEDOUT", age_s=22.0 + 9 * number + day, **how)
    return story


def mtu(*, small: bool = True, full: bool = False) -> dict[str, Any]:
    return {"tries": [{"acknowledged": small}, {"acknowledged": full}], "largest_acknowledged_bytes": 1228}


def test_connections_of_which_nothing_large_is_ever_acknowledged() -> None:
    """The greeting got through and the request did not, again and again; the page tells the bytes."""
    found = holed().finding("mtu-black-hole")

    assert len(found.explains) == 18 and found.grade == "strong"
    assert "acknowledged were 1.7 kB to 1.7 kB; TCP had sent 6 segments again" in said(found)
    assert "holdfast probe mtu" in found.brief.settle


def test_a_part_of_the_request_that_got_through_was_of_full_size() -> None:
    """So the path takes such packets, and loses some."""
    names = holed(acked_bytes=96_000).names()

    assert "mtu-black-hole" not in names and "upload-loss" in names


def test_an_answer_that_had_begun_had_a_request_that_arrived() -> None:
    """Whatever broke it, large packets got out."""
    assert "mtu-black-hole" not in holed(phase=Phase.IN_TEXT, acked_bytes=160_000, unacked_bytes=0).names()


def test_the_probe_of_packet_sizes_is_for_it_or_against_it() -> None:
    """Small ones acknowledged and full ones not, or both; neither tells anything of sizes."""
    found = {}
    for name, facts in {"hole": mtu(), "none": mtu(full=True), "dead": mtu(small=False)}.items():
        story = holed()
        story.asked("mtu", facts, day=5)
        found[name] = story.finding("mtu-black-hole")

    assert found["hole"].bits > found["dead"].bits > found["none"].bits
    assert "small segments were acknowledged and those of full size were not, 1228 bytes at most" in said(
        found["hole"]
    )
    assert any("segments of full size were acknowledged" in one.text for one in found["none"].brief.con)


def test_without_bytes_nobody_can_tell() -> None:
    """The client says ETIMEDOUT; a line that is away does the same."""
    story = holed()
    story.trips.clear()
    story.asked("mtu", mtu(), day=5)

    assert "mtu-black-hole" not in story.names()
