"""`holdfast capture`: what it captures, what it needs, and that no secret gets into its file."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from holdfast.captures.files import open_capture
from holdfast.captures.owners import Wanted
from holdfast.captures.ring import Kept
from holdfast.cli import capture
from holdfast.flight import moments as m
from holdfast.flight.journal import Journal
from holdfast.flight.reading import open_library
from tests.captures.kernels import needs_kernels
from tests.captures.test_match import client_side, gave_up, upstream_side
from tests.captures.test_match import file as captured
from tests.cli.viewed import recorded, typed
from tests.flight.telling import short_turn, tell, turn

SECRET = b"sk-ant-api03-never-written"
ASK = (
    b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nx-api-key: " + SECRET + b"\r\nContent-Length: 7\r\n\r\nprivate"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"16\r\nevent: ping\ndata: {}\n\n\r\n0\r\n\r\n"
)


def test_without_a_gateway_it_says_what_to_do(tmp_path: Path) -> None:
    """Exit code 69, and the other way to use it."""
    recorded(tmp_path, short_turn(turn_id="abc1"))
    said = typed(tmp_path, "capture")
    assert said.exit_code == 69 and "no gateway is running" in said.stderr and "--port 8000" in said.stderr


def test_a_turn_that_is_over_cannot_be_captured(tmp_path: Path) -> None:
    """Packets that are gone are gone."""
    recorded(tmp_path, short_turn(turn_id="abc1"))
    said = typed(tmp_path, "capture", "--for", "abc1")
    assert said.exit_code == 1 and "is over" in said.stderr


def test_a_turn_and_a_port_exclude_each_other(tmp_path: Path) -> None:
    """Exit code 2."""
    assert typed(tmp_path, "capture", "--for", "a", "--port", "80").exit_code == 2


def test_without_a_tool_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 69, and a line for each system."""
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    said = typed(tmp_path, "capture", "--port", "80")
    assert said.exit_code == 69 and "sudo apt-get install tcpdump" in said.stderr


def test_a_tool_that_may_not_capture_says_how_to_permit_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exact line to type, for the tool that is here; nothing is left behind."""
    fake = tmp_path / "tcpdump"
    fake.write_text(
        '#!/bin/sh\necho "tcpdump: any: You don\'t have permission to capture on that device" >&2\nexit 1\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: str(fake) if name == "tcpdump" else None)
    said = typed(tmp_path, "capture", "--port", "80", "--out", str(tmp_path / "a.pcap"))
    assert said.exit_code == 69
    assert f"sudo setcap cap_net_raw,cap_net_admin=eip $(readlink -f {fake})" in said.stderr
    assert not (tmp_path / "a.pcap").exists()


def test_dumpcap_has_a_group_and_macos_its_own_way() -> None:
    """What to permit differs by tool and system."""
    assert "usermod -aG wireshark" in capture.permit("/usr/bin/dumpcap", "linux")
    assert "wireshark-chmodbpf" in capture.permit("/usr/sbin/tcpdump", "darwin")


def test_what_the_kernel_dropped_is_told() -> None:
    """As either tool says it at its end."""
    assert (
        capture.dropped("12 packets captured\n24 packets received by filter\n7 packets dropped by kernel\n")
        == 7
    )
    assert (
        capture.dropped("Packets received/dropped on interface 'any': 12/3 (pcap:0/dumpcap:0/flushed:0)\n")
        == 3
    )
    assert capture.dropped("tcpdump: listening on any") == 0


class Living:
    """This process as a gateway: it listens, is connected to an upstream, and a turn of it is under way."""

    def __init__(self, state: Path) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.upstream = socket.create_server(("127.0.0.1", 0))
        self.port, self.far = self.server.getsockname()[1], self.upstream.getsockname()[1]
        self.journal = Journal(state)
        self.record = tell(
            turn(turn_id="abc1"),
            (0.001, m.AttemptStarted(1)),
            (0.04, m.Connected(1, f"[2001:db8::1]:{self.far}", 0.04, False)),
        )
        self.journal.changed(self.record)
        for _ in range(100):  # the journal writes in a thread of its own
            with open_library(state) as library:
                if library is not None and library.find("abc1"):
                    return
            threading.Event().wait(0.05)
        pytest.fail("the journal wrote nothing")

    def __enter__(self) -> Living:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close(5)
        self.server.close()
        self.upstream.close()


def test_a_running_gateway_is_found_with_its_upstream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ports it listens on, and the addresses that turns were connected to."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path))
    with Living(tmp_path) as gateway:
        plan = capture.plan_of(None, None)
        assert gateway.port in plan.wanted.serving
        assert plan.wanted.remotes == {("2001:db8::1", gateway.far)} and plan.turn is None


def test_a_turn_is_watched_until_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan is for that turn, and the journal is asked whether it has ended."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path))
    with Living(tmp_path) as gateway:
        plan = capture.plan_of("abc1", None)
        assert plan.turn == "abc1" and plan.name == "turn-abc1" and "for turn abc1" in plan.what
        assert not plan.over() and gateway.port in plan.wanted.serving


def test_late_resets_have_their_time() -> None:
    """What has ended is watched for two seconds more, and asked about once a second at most."""
    asked: list[float] = []
    clock = iter([0.0, 0.5, 1.0, 2.0, 3.5, 4.0])
    times: list[float] = []

    def now() -> float:
        times.append(next(clock))
        return times[-1]

    def ended() -> bool:
        asked.append(times[-1])
        return times[-1] >= 2

    over = capture.Aftermath(ended, now)
    assert [over() for _ in range(6)] == [False, False, False, False, False, True]
    assert asked == [0.0, 1.0, 2.0]


def test_old_captures_are_erased_by_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They hold answers, so they do not stay for ever; others' files and fresh ones do."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path))
    old, fresh = tmp_path / "captures" / "old.pcap", tmp_path / "captures" / "fresh.pcap"
    old.parent.mkdir()
    for path in (old, fresh):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    path = capture.own_path("gateway")
    assert path.parent == old.parent and path.name.startswith("gateway-") and path.suffix == ".pcap"
    assert not old.exists() and fresh.exists()


def spoken(port_file: list[int]) -> tuple[socket.socket, threading.Thread]:
    """A server that answers one request."""
    server = socket.create_server(("127.0.0.1", 0))
    port_file.append(server.getsockname()[1])

    def answer() -> None:
        client, _ = server.accept()
        with client:
            heard = b""
            while not heard.endswith(b"private"):
                heard += client.recv(4096)
            client.sendall(ANSWER)

    thread = threading.Thread(target=answer)
    thread.start()
    return server, thread


@needs_kernels
def test_packets_are_captured_and_no_secret_is_written(tmp_path: Path) -> None:
    """tcpdump on this machine's loopback: Ctrl-C ends it in order, the file is private and tells the exchange."""
    ports: list[int] = []
    server, thread = spoken(ports)
    out = tmp_path / "a.pcap"
    command = [sys.executable, "-m", "holdfast", "capture", "--port", str(ports[0]), "--out", str(out)]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HOLDFAST_STATE_DIR": str(tmp_path / "state"),
    }
    with (
        server,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running,
    ):
        assert running.stderr is not None
        first = running.stderr.readline()
        if b"Capturing" not in first:
            pytest.skip(f"no capture here: {first!r}")
        with socket.create_connection(("127.0.0.1", ports[0])) as client:
            client.sendall(ASK)
            while client.recv(4096):
                pass
        thread.join()
        running.send_signal(signal.SIGINT)
        said, errors = running.communicate(timeout=10)
    assert running.returncode == 0, errors
    assert b"Read it: holdfast captures" in said
    assert out.stat().st_mode & 0o777 == 0o600
    written = out.read_bytes()
    assert SECRET not in written and b"private" not in written and b"event: ping" in written
    with open_capture(out) as packets:
        assert len(list(packets)) >= 8
    told = typed(tmp_path, "captures", "--all", str(out)).stdout
    assert "POST /v1/messages" in told and "1 event (ping 1)" in told


def test_a_capture_is_told_within_the_turns_story(tmp_path: Path) -> None:
    """`flight --add` puts packets between our own moments, and says why they are of this turn."""
    state, path = tmp_path / "state", tmp_path / "c.pcap"
    recorded(state, gave_up())
    captured(path, client_side(), upstream_side())
    said = typed(state, "flight", "abc1", "--add", str(path))
    assert said.exit_code == 0, said.output
    lines = said.stdout.splitlines()
    reset = next(
        i for i, line in enumerate(lines) if "reset by the client" in line and "capture c.pcap" in line
    )
    assert any("The client gave up" in line for line in lines[reset - 3 : reset + 4])
    assert "its answer names the turn (holdfast-turn)" in said.stdout and "Agrees." in said.stdout
    assert "its clock is the same as ours (by 1 request with an id of ours)" in said.stdout


def test_what_stays_in_the_file_is_told_beside_what_was_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An answer's text is as private as a prompt, and whoever passes the file on should know that it is there."""
    plan = capture.Plan(Wanted(frozenset({8484})), "port 8484", "x")
    capture._report(plan, tmp_path / "a.pcap", Kept(12, 9000, 0, 10**9), 3, 0)
    said = capsys.readouterr().out
    assert "overwritten in 3 packets. What the answers say as event streams stays in it" in said
