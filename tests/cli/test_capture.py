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
from holdfast.cli import capture
from tests.captures.kernels import needs_kernels
from tests.cli.viewed import recorded, typed
from tests.flight.telling import short_turn

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
