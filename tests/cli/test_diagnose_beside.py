"""`holdfast diagnose` with other sources: the gateway's flights, and files that are added."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from holdfast.cli import diagnose
from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.instant import Instant
from tests.captures.packets import Talk, pcap
from tests.cli.viewed import recorded
from tests.flight.telling import end, tell, turn
from tests.sessions.written import MORNING_MS, Pen

RESET = Ending(
    Side.PROVIDER, Mechanism.RST, Phase.IN_TOOL_USE, "Connection reset by peer", {"silence_s": 61.5}
)
SESSION = "11111111-0000-4000-8000-000000000001"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which one request failed 70 s after the morning began, and went through at the second try."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path / "state"))
    place = tmp_path / "home"
    pen = Pen().asks().after(8).answers("msg_1").tool_says().after(62).fails(1).after(3).answers("msg_2")
    for number in range(20):
        pen.tool_says().after(9).answers(f"msg_more_{number}")
    pen.saved(place)
    return place


def told(home: Path, *options: str, code: int = 0) -> Result:
    result = CliRunner().invoke(diagnose.command, ["--home", str(home), "--timezone", "UTC", *options])
    assert result.exit_code == code, result.output
    return result


def found(home: Path, *options: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(told(home, "--format", "json", *options).stdout)
    return read


def carry(state: Path, session: str = SESSION) -> None:
    """A gateway carried the turn that failed."""
    record = turn(Instant(1000.0, MORNING_MS + 8_000))
    record.session = session
    tell(
        record,
        (0.8, m.HeadersArrived(1, 200, "req_broken", "text/event-stream", "ray")),
        (62, m.AttemptEnded(1, RESET)),
    )
    record.breaks, record.longest_quiet_s = f"{RESET.code}!", 61.5
    recorded(state, end(record, 62, RESET))


def test_without_them_the_report_says_what_is_missing(home: Path) -> None:
    """Each source is optional, and its absence is said."""
    read = found(home)
    flights = next(one for one in read["coverage"] if one["source"] == "flights")

    assert "no gateway has run" in flights["count"]
    assert any("Who sent a reset" in one for one in read["refused"])


def test_a_flight_tells_who_reset(home: Path, tmp_path: Path) -> None:
    """Side, mechanism, silence and request id are in the finding; nobody has to say any more that it is not known."""
    carry(tmp_path / "state")
    read = found(home)
    (finding,) = read["findings"]

    assert finding["hypothesis"] == "seen-provider"
    assert finding["for"][0]["source"] == "flights" and "req_broken" in finding["for"][0]["text"]
    assert read["tables"]["reset requests"][0]["request_id"] == "req_broken"
    assert not any("Who sent a reset" in one for one in read["refused"])
    shown = told(home).stdout
    assert "Turns that the gateway saw break, by ending" in shown and "P.rst.tool" in shown
    assert "1 turn, 1 of them broke or did not end well" in shown


def test_flights_of_other_sessions_say_nothing_of_another_home(home: Path, tmp_path: Path) -> None:
    """A copied home's failures are not those of this user's gateway."""
    carry(tmp_path / "state", session="99999999-0000-4000-8000-000000000009")

    read = found(home)

    assert not read["findings"] and "flights" not in read["tables"]
    assert any("taken are the 0 of sessions in this home" in one["count"] for one in read["coverage"])


def access_log(home: Path, *seconds: float, status: int = 499) -> Path:
    """An nginx log with lines at these seconds after the morning."""
    lines = []
    for one in seconds:
        at = datetime.fromtimestamp(MORNING_MS / 1000 + one, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
        lines.append(f'127.0.0.1 - - [{at}] "POST /v1/messages HTTP/1.1" {status} 512 "-" "claude-cli"')
    path = home / "access.log"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_an_access_log_tells_who_closed(home: Path) -> None:
    """nginx wrote 499 at the second of the failure: its client closed first. The finding names file and line."""
    read = found(home, "--add", str(access_log(home, 70.0)))
    (finding,) = read["findings"]

    assert finding["hypothesis"] == "seen-client"
    assert "access.log:1" in finding["for"][0]["text"]
    (row,) = read["tables"]["seen by others"]
    assert (row["side"], row["failure"]) == ("client", finding["explains"][0])
    assert any("access.log" in one["source"] and "1 line" in one["count"] for one in read["coverage"])


def test_a_log_of_another_hour_tells_nothing(home: Path) -> None:
    """Its coverage is stated all the same."""
    read = found(home, "--add", str(access_log(home, 3000.0)))

    assert not read["findings"] and "seen by others" not in read["tables"]
    (log,) = (one["count"] for one in read["coverage"] if "access.log" in one["source"])
    assert "no difference of clocks explains more than chance would; its times are taken as right" in log


def test_a_log_without_our_path_has_its_times_taken(home: Path) -> None:
    """No line of it asks for what we ask for: that its clock was not compared is said, and not that it has nothing."""
    place = access_log(home, 70.0)
    place.write_text(place.read_text().replace("/v1/messages", "/other"))
    read = found(home, "--add", str(place))

    (log,) = (one["count"] for one in read["coverage"] if "access.log" in one["source"])
    assert "its clock could not be compared with ours; its times are taken as right" in log


def test_a_saved_journal_tells_of_the_link(home: Path, tmp_path: Path) -> None:
    """Of a machine whose logs are looked at elsewhere: its link was down when the request broke."""
    at = [datetime.fromtimestamp(MORNING_MS / 1000 + one, UTC).strftime("%b %d %H:%M:%S") for one in (66, 72)]
    path = tmp_path / "journal.txt"
    path.write_text(f"{at[0]} laptop kernel: eth0: Link is Down\n{at[1]} laptop kernel: eth0: Link is Up\n")
    read = found(home, "--timezone", "UTC", "--add", str(path))

    (log,) = (one["count"] for one in read["coverage"] if "journal.txt" in one["source"])
    assert log == "2 lines, 0 outages and 1 change of the link, 0 sleeps"
    assert [(one["outages"], one["at_the_time"]) for one in read["tables"]["overlap"]] == [(1, 1)]


def test_what_is_no_log_is_refused(home: Path, tmp_path: Path) -> None:
    """With what could be read; exit code 2."""
    odd = tmp_path / "photo.jpg"
    odd.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" * 50)

    assert "packet captures" in told(home, "--add", str(odd), code=2).output


def test_a_capture_tells_who_reset(home: Path, tmp_path: Path) -> None:
    """The server's RST at the second of the failure, after a minute of silence."""
    talk = Talk(at_ns=round((MORNING_MS / 1000 + 8) * 1e9))
    talk.handshake()
    talk.client(b"POST /v1/messages HTTP/1.1\r\n\r\n", after=0.01)
    talk.server(b"HTTP/1.1 200 OK\r\n\r\n", after=0.3)
    talk.server(flags="R", after=61.5)
    path = tmp_path / "ring.pcap"
    path.write_bytes(pcap(talk.packets))
    read = found(home, "--add", str(path))
    (finding,) = read["findings"]

    assert finding["hypothesis"] in ("seen-provider", "seen-path")
    (row,) = read["tables"]["seen by others"]
    assert row["source"] == "capture ring.pcap" and "reset by the server after 61.5 s" in row["says"]
    assert any(
        one["source"] == "capture ring.pcap" and "1 connection" in one["count"] for one in read["coverage"]
    )


def test_a_stall_without_an_error_is_listed_as_inferred(home: Path) -> None:
    """Five minutes until an answer came: no failure, no cause, a row with what it cannot tell."""
    Pen("22222222-0000-4000-8000-000000000002").asks().after(304).answers("msg_late").saved(home)
    read = found(home)
    (row,) = read["tables"]["stalls"]

    assert (row["kind"], row["silent_s"], row["fits"]) == ("silent wait", 289.0, "a fallback after 300 s")
    assert read["failures"] == 1
    assert any(one.startswith("1 stall without an error record") for one in read["refused"])


def test_coverage_says_what_the_client_does_not_log(home: Path) -> None:
    """2.1.104 is read as the older neighbour that was measured."""
    read = found(home)
    hidden = next(one for one in read["coverage"] if one["source"] == "client logs")

    assert (
        hidden["count"]
        == "2.1.104 interactive mode logs failed tries only before the answer begins (as 2.1.86)"
    )
    assert read["tables"]["client logs"][0]["sessions"] == 1


def test_the_debug_log_is_read_where_there_is_one(home: Path) -> None:
    """Its stalls are in the table; elsewhere the coverage says that there is none."""
    assert any("only where it was asked" in one["count"] for one in found(home)["coverage"])
    place = home / ".claude" / "debug" / f"{SESSION}.txt"
    place.parent.mkdir()
    place.write_text("2026-04-14T07:05:01.500Z [DEBUG] Streaming stall detected: 54.4s gap\n")

    assert [row["kind"] for row in found(home)["tables"]["stalls"]] == ["debug log"]


def test_a_clock_needs_a_file_that_it_is_of(home: Path) -> None:
    """By itself it would change nothing, and nobody would know."""
    assert "name one, or leave --clock out" in told(home, "--clock", "8h", code=2).stderr
