"""`--add FILE` on `holdfast flight` and `holdfast flights`."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from tests.captures.test_match import ASK, CLIENT, GATEWAY, Talk, file, head
from tests.cli.viewed import recorded, typed
from tests.flight.telling import HUNG_UP, NOON, at, end, frozen_turn, short_turn, tell, turn

KEY = "sk-ant-api03-verysecretverysecretverysecret"


def access(end_s: float, took_s: float, *, ahead_s: float = 3.2, path: str = "/v1/messages?beta=true") -> str:
    """A line of nginx in China, whose clock is a little fast."""
    told = datetime.fromtimestamp(NOON.wall_ms / 1000 + end_s + ahead_s, timezone(timedelta(hours=8)))
    return f'10.0.0.7 - - [{told:%d/%b/%Y:%H:%M:%S %z}] "POST {path} HTTP/1.1" 200 4300 "-" "agent" {took_s:.3f}\n'


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Three turns: a short one, the freeze that was carried through, and one whose client gave up."""
    gone = tell(
        turn(at(1310), turn_id="ccc"), (0.0, m.ReaderJoined(1, "first", 0)), (0.0, m.AttemptStarted(1))
    )
    tell(
        gone,
        (300.2, m.ReaderLeft(1, "gave_up", "events", 300.0, HUNG_UP)),
        (300.2, m.UpstreamStopped(1, "nobody")),
    )
    recorded(
        tmp_path, short_turn(turn_id="aaa"), frozen_turn(at(400), turn_id="bbb"), end(gone, 300.2, HUNG_UP)
    )
    return tmp_path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What nginx saw of them, with dirt and somebody else's request in between."""
    path = tmp_path / "access.log"
    lines = [
        access(1.8, 1.8),
        access(710.0, 310.0),
        f"%%% {KEY}\n",
        access(800.0, 0.2, path=f"/shop?key={KEY}"),
        access(1610.2, 300.2),
    ]
    path.write_text("".join(lines))
    return path


def test_flight_tells_one_story_with_who_saw_what(state: Path, log: Path) -> None:
    """Its line stands at our time, the table compares, and the clock and the dirt are accounted for."""
    result = typed(state, "flight", "ccc", "--add", str(log))
    page = " ".join(result.stdout.split())
    assert result.exit_code == 0 and KEY not in result.stdout
    assert (
        "300.200 s Answered 200; its status does not say how the answer ended, after 300 s. (nginx access.log:5)"
        in page
    )
    assert "Who saw what: Holdfast, connection 1 +300.2 s the client reset" in page
    assert "Says nothing on who." in page
    assert "its clock is about 3 s ahead of ours (by 3 of 3 requests" in page
    assert "2 lines of it are of other turns" in page
    assert "1 meanwhile fit no turn (first: line 4, POST /shop 200): somebody else's traffic" in page
    assert "1 of 5 lines not understood, first: line 3" in page


def test_report_1s_server_line_finds_its_turn(state: Path, tmp_path: Path) -> None:
    """Eight hours ahead, no zone written: whole hours make it this turn's end, and it says so carefully."""
    paste = tmp_path / "server.txt"
    told = datetime.fromtimestamp(NOON.wall_ms / 1000 + 1610.2 + 8 * 3600, UTC)
    paste.write_text(
        f"{told:%Y-%m-%d %H:%M:%S} onAbort received, abort stream\nAPI Error: Request timed out.\n"
    )
    page = " ".join(typed(state, "flight", "ccc", "--add", str(paste)).stdout.split())
    pasted = typed(state, "flight", "ccc", "--add", "-", answer=paste.read_text()).stdout
    assert "(paste:1)" in pasted and " ".join(pasted.split()) == page.replace("server.txt", "paste")
    assert "Its client left: onAbort received, abort stream. (server.txt:1)" in page
    assert "its clock is 8 h ahead of ours" in page and "likely, not sure" in page and "Agrees." in page
    assert "Said without a time or an id of ours" in page and "it gave up: its own limit ran out" in page


def test_flights_says_per_turn_who_saw_it(state: Path, log: Path) -> None:
    """In the note, with the line; what fits no turn is counted below."""
    result = typed(state, "flights", "--add", str(log))
    notes = {
        line.split()[0]: line for line in result.stdout.splitlines() if line[:3] in ("aaa", "bbb", "ccc")
    }
    assert "nginx access.log:1" in notes["aaa"] and "nginx access.log:5" in notes["ccc"]
    assert "not generated again, nginx access.log:2" in notes["bbb"]
    assert "How they were read:" in result.stdout and "fit no turn" in result.stdout


def test_json_has_what_was_seen(state: Path, log: Path) -> None:
    """A program reads the same with numbers; `flights` keeps its lines turns."""
    told = json.loads(typed(state, "flight", "ccc", "--add", str(log), "--json").stdout)
    (seen,) = told["seen"]
    assert (seen["line"], seen["status"], seen["took_s"], seen["verdict"]) == (
        5,
        200,
        300.2,
        "says nothing on who",
    )
    assert told["beside"][0]["clock_ahead_s"] == pytest.approx(3.0, abs=1) and told["beside"][0]["sure"]
    lines = typed(state, "flights", "--add", str(log), "--json").stdout.splitlines()
    assert [len(json.loads(line)["seen"]) for line in lines] == [1, 1, 1]


def test_a_clock_that_is_known_can_be_said(state: Path, tmp_path: Path) -> None:
    """Where two offsets explain as much nothing is guessed, and the way out is named and works."""
    paste = tmp_path / "server.log"
    told = datetime.fromtimestamp(NOON.wall_ms / 1000 + 1610.2 + 5000, UTC)
    paste.write_text(f"{told:%Y-%m-%d %H:%M:%S} client disconnected\n")
    unsure = typed(state, "flight", "ccc", "--add", str(paste)).stdout
    assert "--clock 8h" in unsure and "no difference of clocks explains" in " ".join(unsure.split())
    said = typed(state, "flight", "ccc", "--add", str(paste), "--clock", "1h23m20s").stdout
    assert "Agrees." in said and "as was said" in said


def test_a_pipe_is_read_whole(state: Path, log: Path) -> None:
    """`--add <(zcat access.log.1.gz)`: it can be read but once, and what came is looked at several times."""
    there, ours = os.pipe()
    with os.fdopen(ours, "wb") as pipe:
        pipe.write(log.read_bytes())
    piped = typed(state, "flight", "bbb", "--add", f"/dev/fd/{there}").stdout
    os.close(there)
    whole = typed(state, "flight", "bbb", "--add", str(log)).stdout
    assert piped.replace("paste", "access.log").split() == whole.split()


def test_mistakes_end_with_what_to_try(state: Path, log: Path, tmp_path: Path) -> None:
    """A file that is none, one of no known kind, options that do not go together."""
    binary = tmp_path / "thing.bin"
    binary.write_bytes(b"\x7fELF\0\0\0\0")
    gone = typed(state, "flight", "ccc", "--add", str(tmp_path / "gone.log"))
    assert gone.exit_code == 1 and "No such file" in gone.stderr
    unknown = typed(state, "flight", "ccc", "--add", str(binary))
    assert unknown.exit_code == 1 and "--add reads logs of proxies" in unknown.stderr
    assert typed(state, "flights", "--add", str(log), "--follow").exit_code == 2
    assert "--add" in typed(state, "flight", "ccc", "--clock", "8h").stderr
    assert "8h, 5h45m or -3.2s" in typed(state, "flight", "ccc", "--add", str(log), "--clock", "noon").stderr


def test_what_nobody_saw_is_said(state: Path, tmp_path: Path) -> None:
    """An empty file and a log of another day are no evidence, and no error."""
    empty = tmp_path / "empty.log"
    empty.write_text("")
    result = typed(state, "flight", "ccc", "--add", str(empty))
    assert result.exit_code == 0 and "Nothing in what was added is of this turn" in result.stdout
    assert "it is empty" in result.stdout


def test_hostile_text_does_not_reach_the_terminal(state: Path, tmp_path: Path) -> None:
    """Escape sequences in a log line are shown as escapes."""
    paste = tmp_path / "bad\x1b[2J.log"
    told = datetime.fromtimestamp(NOON.wall_ms / 1000 + 1610.2, UTC)
    paste.write_text(f"{told:%Y-%m-%dT%H:%M:%SZ} client disconnected \x1b]0;owned\x07 {KEY}\n")
    for options in ([], ["--json"]):
        printed = typed(state, "flight", "ccc", "--add", str(paste), *options).stdout
        assert "owned" in printed and KEY not in printed and not {"\x1b", "\x07"} & set(printed)


def test_a_capture_is_told_by_its_content_and_speaks_in_the_story(state: Path, log: Path) -> None:
    """Packets in a file of any name, beside a log: both in one table."""
    talk = Talk(CLIENT, GATEWAY)
    talk.opens(1310.0)
    talk.says(1310.01, True, ASK)
    talk.says(1310.5, False, head(b"holdfast-turn: ccc"))
    talk.packet(1610.2, True, 4)
    capture = file(state / "from-the-laptop.log", talk)
    page = " ".join(typed(state, "flight", "ccc", "--add", str(capture), "--add", str(log)).stdout.split())
    assert (
        "(capture from-the-laptop.log" in page
        and "capture from-the-laptop.log" in page.partition("Who saw")[2]
    )
    assert "nginx access.log:5" in page
    told = json.loads(typed(state, "flight", "ccc", "--add", str(capture), "--json").stdout)
    assert told["seen"] and told["beside"][0]["source"].startswith("capture ")
    capture.write_bytes(capture.read_bytes()[:4] + b"\xff" * 40)
    broken = typed(state, "flight", "ccc", "--add", str(capture))
    assert broken.exit_code in (0, 1) and "failed on a defect" not in broken.stderr


def test_a_proxys_own_limit_is_taken_into_the_explanation(tmp_path: Path) -> None:
    """nginx says that its limit ran out: it stands among the suspects, against the closer, and in what to do."""
    closed = Ending(Side.PROVIDER, Mechanism.FIN, Phase.IN_TEXT, "", {"rtt_ms": 0.1, "silence_s": 60.0})
    cut = tell(
        turn(at(0), turn_id="ddd"),
        (0.0, m.ReaderJoined(1, "first", 0)),
        (0.0, m.AttemptStarted(1)),
        (0.1, m.RequestSent(1, 900)),
        (1.0, m.HeadersArrived(1, 200, "req_proxied", "text/event-stream")),
        (61.0, m.AttemptEnded(1, closed)),
    )
    recorded(tmp_path, end(cut, 61.0, closed))
    told = datetime.fromtimestamp(NOON.wall_ms / 1000 + 61.0, UTC)
    log = tmp_path / "error.log"
    log.write_text(
        f"{told:%Y/%m/%d %H:%M:%S} [error] 7#7: *3 upstream timed out (110: Connection timed out) while reading "
        'upstream, client: 127.0.0.1, server: , request: "POST /v1/messages HTTP/1.1", '
        'upstream: "http://10.0.0.9:80/v1/messages", host: "proxy"\n'
    )
    result = typed(tmp_path, "flight", "ddd", "--add", str(log), "--clock", "0s")
    page = " ".join(result.stdout.split())
    assert result.exit_code == 0, result.stderr
    assert "a box between (NAT, firewall, proxy, antivirus): did it. nginx error.log:1: its own limit" in page
    assert "`proxy_read_timeout`" in page and "Report it to the provider" not in page
