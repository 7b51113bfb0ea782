"""The captures that reading is measured with are what they say: whole, and told truly."""

from __future__ import annotations

import io

import pytest

from bench import captures
from holdfast.captures.closing import How
from holdfast.captures.connections import follow
from holdfast.captures.files import capture_from
from holdfast.captures.telling import conclude


@pytest.mark.parametrize("shape", captures.SHAPES)
def test_made_captures_are_followed_to_their_ends(shape: str) -> None:
    """A reader that were fast by losing packets would be found out here."""
    data = captures.make(shape, 8_000)

    capture = capture_from(io.BytesIO(data))
    reports = [conclude(connection) for connection in follow(capture)]

    assert capture.packets == sum(report.connection.packets for report in reports)
    assert 7_000 < capture.packets < 9_500
    assert {report.closing.how for report in reports} == {How.CLOSED}
    late = sum(
        report.connection.server.reordered + report.connection.server.retransmits for report in reports
    )
    assert (late > 10) == (shape == "lossy")
    assert sum(report.connection.server.missing for report in reports) == 0


def test_the_same_bytes_every_time() -> None:
    """Runs can be compared."""
    assert captures.make("lossy", 2_000) == captures.make("lossy", 2_000)
