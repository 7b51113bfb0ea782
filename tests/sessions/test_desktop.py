"""The desktop app's log: local time without a zone, doubled lines, parts; one hour offline is one outage."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sessions.desktop import logs, outages, read

CHICAGO = ZoneInfo("America/Chicago")

MORNING = """\
2026-04-17 12:13:15 [error] [sessions-bridge] Poll error, backing off: net::ERR_NETWORK_CHANGED
2026-04-17 12:13:17 [error] [sessions-bridge] Poll error, backing off: net::ERR_INTERNET_DISCONNECTED
2026-04-17 12:13:17 [error] [sessions-bridge] Poll error, backing off: net::ERR_INTERNET_DISCONNECTED
2026-04-17 12:13:53 [error] Failed to fetch blocklist: Error: net::ERR_INTERNET_DISCONNECTED
    at fetchBlocklist (app.asar/index.js:1:200)
2026-04-17 12:14:15 [info] [updater] all is well
2026-04-17 18:46:35 [error] [sessions-bridge] Poll error, backing off: This operation was aborted
2026-04-17 18:46:53 [error] [sessions-bridge] Poll error, backing off: net::ERR_INTERNET_DISCONNECTED
"""


def utc(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_a_morning_of_lines_is_two_outages() -> None:
    """Merged where they follow closely; an aborted operation may have any cause and begins none."""
    log = read(MORNING.splitlines(), CHICAGO)
    first, second = outages(log.notes)

    assert (log.lines, log.doubled, len(log.notes)) == (6, 1, 5)
    assert (first.begun_ms, first.ended_ms) == (utc("2026-04-17T17:13:15"), utc("2026-04-17T17:13:53"))
    assert (first.kinds, first.lines) == ({"changed", "offline"}, 3)
    assert (second.begun_ms, second.lines) == (utc("2026-04-17T23:46:53"), 1)
    assert first.holds(utc("2026-04-17T17:13:40")) and not first.holds(utc("2026-04-17T17:14:20"))
    assert first.holds(utc("2026-04-17T17:14:20"), slack_ms=30_000)
    assert (log.first_ms, log.last_ms) == (utc("2026-04-17T17:13:15"), utc("2026-04-17T23:46:53"))


def test_a_cycle_says_how_long_it_took_and_whether_anything_came() -> None:
    """The one line that knows whether a first byte had come."""
    line = (
        "2026-04-17 12:00:00 [warn] [CCD CycleHealth] unhealthy cycle for local_1 "
        "(350s, hadFirstResponse=true, reason=api_error)"
    )
    (note,) = read([line], UTC).notes

    assert (note.kind, note.took_s, note.answered) == ("cycle", 350.0, True)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # 01:30 comes twice on 2026-11-01; after 01:45 it can only be the second
        (["2026-11-01 01:30:00 [e] x"], ["2026-11-01T06:30:00"]),
        (
            ["2026-11-01 01:45:00 [e] x", "2026-11-01 01:30:00 [e] x"],
            ["2026-11-01T06:45:00", "2026-11-01T07:30:00"],
        ),
        # 02:30 does not exist on 2026-03-08
        (["2026-03-08 02:30:00 [e] x", "2026-03-08 03:30:00 [e] x"], ["2026-03-08T08:30:00"]),
    ],
)
def test_hours_that_come_twice_and_hours_that_do_not_come(lines: list[str], expected: list[str]) -> None:
    """The order of the lines tells them apart; a time that the clock never showed is counted, and not guessed."""
    log = read([f"{line} net::ERR_INTERNET_DISCONNECTED" for line in lines], CHICAGO)

    assert [note.at_ms for note in log.notes] == [utc(text) for text in expected]
    assert log.unplaced == len(lines) - len(expected)


def test_parts_are_read_from_the_oldest(tmp_path: Path) -> None:
    """`main2.log` is older than `main1.log`; other logs beside them are not ours."""
    place = tmp_path / "Library/Logs/Claude"
    place.mkdir(parents=True)
    for name in ("main.log", "main10.log", "main2.log", "mcp.log", "main.log.bak"):
        (place / name).touch()

    assert [path.name for path in logs(tmp_path)] == ["main10.log", "main2.log", "main.log"]


@given(st.lists(st.text(max_size=80), max_size=30))
def test_nothing_in_a_log_makes_the_reader_fail(lines: list[str]) -> None:
    """Any text."""
    assert outages(read(lines, UTC).notes) == []


def test_hours_without_a_line_are_not_covered() -> None:
    """Nobody knows whether the app was running then."""
    lines = ["2026-04-17 08:00:00 [info] a", "2026-04-17 09:00:00 [info] b", "2026-04-17 15:00:00 [info] c"]
    log = read(lines, UTC)
    hour = 3_600_000

    assert log.first_ms is not None
    assert log.spans == [(log.first_ms, log.first_ms + hour), (log.first_ms + 7 * hour,) * 2]
