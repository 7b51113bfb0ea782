"""`holdfast flight ID`: the story of one turn."""

from __future__ import annotations

import json
from pathlib import Path

from holdfast.cli.flight import told
from holdfast.flight.flights import Line
from holdfast.flight.reading import StoredTurn
from tests.cli.viewed import recorded, typed
from tests.flight.telling import HUNG_UP, at, end, frozen_turn, short_turn, turn


def test_the_story_is_told_moment_by_moment(tmp_path: Path) -> None:
    """Head, moments with the time since the start, and what came of it."""
    recorded(tmp_path, frozen_turn(turn_id="abc123"))
    lines = typed(tmp_path, "flight", "abc").stdout.splitlines()
    assert lines[0].startswith("Turn abc123, 20")
    assert (
        "  308.000 s  Upstream had been silent for 304 s inside tool_use Write; 30 keepalives held the client."
        in lines
    )
    assert any(line.startswith("In short: done after 330 s, 2 attempts upstream") for line in lines)


def test_a_turn_that_broke_says_where_to_read_on(tmp_path: Path) -> None:
    """The ending in a sentence, the command that explains it, and the attic if the answer is there."""
    record = end(turn(turn_id="abc123"), 9, HUNG_UP)
    recorded(tmp_path, record, answers={"abc123": b"event: ping\n\n"})
    said = typed(tmp_path, "flight", "abc123").stdout
    assert "It ended: the client reset the connection inside a tool call (C.rst.tool)" in said
    assert "holdfast explain C.rst.tool" in said and "holdfast attic show abc123" in said


def test_a_turn_is_found_by_the_providers_ids(tmp_path: Path) -> None:
    """The request id of a bug report or the cf-ray leads to the turn."""
    recorded(tmp_path, frozen_turn(turn_id="abc123"), short_turn(turn_id="def456"))
    assert "Turn abc123" in typed(tmp_path, "flight", "req_frozen").stdout
    assert "Turn def456" in typed(tmp_path, "flight", "ray-FRA").stdout


def test_json_holds_every_moment_with_both_times(tmp_path: Path) -> None:
    """Numbers for programs, the sentence beside them."""
    record = frozen_turn(turn_id="abc123")
    noted = len(record.moments)  # the journal takes out what it has written
    recorded(tmp_path, record)
    told = json.loads(typed(tmp_path, "flight", "abc123", "--json").stdout)
    assert len(told["moments"]) == noted and told["request_id"] == "req_frozen"
    quiet = next(moment for moment in told["moments"] if moment["name"] == "QuietEnded")
    assert quiet["data"] == {"quiet_s": 304.0, "keepalives": 30} and quiet["at_s"] == 308.0
    assert quiet["wall_ms"] == at(308).wall_ms and "304 s" in quiet["sentence"]


def test_an_unknown_or_ambiguous_id_helps_to_find_it(tmp_path: Path) -> None:
    """Exit code 1 and the next thing to type."""
    recorded(tmp_path, short_turn(turn_id="abc1"), short_turn(turn_id="abc2"))
    for name, words in (("zzz", "holdfast flights"), ("", "holdfast flights"), ("abc", "abc2, abc1")):
        result = typed(tmp_path, "flight", name)
        assert result.exit_code == 1 and words in result.stderr, name


def test_a_line_that_somebody_else_saw_names_its_witness() -> None:
    """Our own journal is not named; a log or a capture is."""
    lines = [
        Line(0.5, "RequestSent", "The request was sent."),
        Line(0.6, "Logged", "It came.", "nginx access.log"),
    ]
    page = told(StoredTurn(short_turn(), "i", None, None), lines, None)
    assert "  0.500 s  The request was sent." in page
    assert "  0.600 s  It came. (nginx access.log)" in page
