"""How a served gateway stops: SIGTERM lets turns end, a second one does not."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from holdfast.lab.provider import Provider
from holdfast.lab.script import Answer, answer, close_block, flood, open_text, pause, says
from tests.gateway.hosted import Call
from tests.gateway.served import Served, check_journal, holdfast, serving

MB = 1024 * 1024


def slow(silent_s: float) -> Answer:
    """`Once upon`, a silence, ` a time.`"""
    return answer([open_text(), *says("Once upon"), pause(silent_s), *says(" a time."), close_block()])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ready(port: int) -> int:
    """The status of `/readyz`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/readyz")
    return connection.getresponse().status


def terminate(gateway: Served) -> None:
    """SIGTERM, and wait until it is taken."""
    gateway.signal(signal.SIGTERM)
    gateway.wait_for(lambda: "draining" in "".join(gateway.err))


def endings(home: Path) -> list[str | None]:
    """The ending codes in the journal, oldest first; None is a turn that has none."""
    listed = holdfast(home, "flights", "--json")
    assert listed.returncode == 0, listed.stderr
    return [json.loads(line)["ending_code"] for line in listed.stdout.splitlines()]


def test_sigterm_lets_a_running_turn_end(tmp_path: Path) -> None:
    """The turn finishes whole, nobody new is let in, readiness says so, and the process ends with 0."""
    admin = free_port()
    with (
        Provider(slow(1.0)).running() as provider,
        serving(provider.url, tmp_path, "--admin", f"127.0.0.1:{admin}") as gateway,
    ):
        call = Call(gateway.port)
        call.hear_until(b"upon")
        assert ready(admin) == 200

        terminate(gateway)

        assert ready(admin) == 503
        with pytest.raises(ConnectionRefusedError):
            Call(gateway.port)
        assert call.hear_all() == bytes(provider.answers[0].sent)
        assert gateway.process.wait(5) == 0
        assert endings(tmp_path) == ["-.end.after"]
        assert check_journal(tmp_path) == ["ok"]


def test_a_kept_connection_does_not_hold_the_drain(tmp_path: Path) -> None:
    """A client that stays connected and asks nothing is no reason to wait."""
    with Provider(slow(0.0)).running() as provider, serving(provider.url, tmp_path) as gateway:
        call = Call(gateway.port)
        call.hear_all()
        began_s = time.monotonic()

        gateway.signal(signal.SIGTERM)

        assert gateway.process.wait(5) == 0
        assert time.monotonic() - began_s < 2.0


def test_a_turn_ends_on_a_connection_that_is_then_closed(tmp_path: Path) -> None:
    """While draining, the client is not left with a connection that takes its next request nowhere."""
    with Provider(slow(0.8)).running() as provider, serving(provider.url, tmp_path) as gateway:
        first, second = Call(gateway.port), Call(gateway.port)
        for call in (first, second):
            call.hear_until(b"upon")
        terminate(gateway)
        first.hear_all()
        first._connection.sock.settimeout(3)

        assert first._connection.sock.recv(1) == b""
        second.hear_all()
        assert gateway.process.wait(5) == 0


def test_an_orphan_is_waited_for_too(tmp_path: Path) -> None:
    """An answer whose client hung up is finished and kept before the process ends."""
    python = {"user-agent": "Anthropic/Python 0.75.0", "x-stainless-read-timeout": "1"}
    told = slow(2.5)
    with Provider(told).running() as provider, serving(provider.url, tmp_path) as gateway:
        call = Call(gateway.port, headers=python)
        call.hear_until(b"upon")
        time.sleep(1.0)
        call.leave()
        time.sleep(0.2)

        terminate(gateway)

        assert gateway.process.wait(6) == 0
        assert provider.answers[0].finished
        listed = holdfast(tmp_path, "attic", "list", "--json")
        assert listed.stdout.count('"complete":true') == 1, listed.stdout


def test_a_slow_reader_hears_the_rest_during_the_drain(tmp_path: Path) -> None:
    """The provider has finished long ago; what the gateway still holds for the reader is delivered first."""
    size = 12 * MB
    with Provider(answer(flood(size))).running() as provider, serving(provider.url, tmp_path) as gateway:
        call = Call(gateway.port)
        call.hear_until(b"message_start")
        provider.wait_until(lambda seen: seen.answers[0].finished, seconds=10)

        terminate(gateway)
        time.sleep(0.3)
        call.hear_all()

        assert len(call.heard) == provider.answers[0].sent_bytes
        assert gateway.process.wait(5) == 0
        assert endings(tmp_path) == ["-.end.after"]


class Download(BaseHTTPRequestHandler):
    """Answers every path with the same large body."""

    protocol_version = "HTTP/1.1"
    body = bytes(range(256)) * (12 * MB // 256)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(self.body)


GATEWAY_ENDED = re.compile(
    rb'event: error\ndata: {"type":"error","error":{"type":"api_error","message":'
    rb'"holdfast ended this answer: the gateway is stopping; ask again"},"request_id":"req_lab_1"}\n\n\Z'
)
"What a client hears that was promised a stream; a clean end would pass the answer off as whole."


@pytest.fixture
def downloads() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Download)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_slow_reader_of_an_opaque_answer_hears_the_rest_too(tmp_path: Path, downloads: str) -> None:
    """The relay's last bytes wait in the gateway for the client's socket: the drain waits for them."""
    with serving(downloads, tmp_path) as gateway:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        sock.settimeout(10)
        sock.connect(("127.0.0.1", gateway.port))
        sock.sendall(b"GET /v1/files/one/content HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        heard = bytearray()
        while not gateway.out:  # until upstream has said all; what is unread by then is the gateway's
            if select.select([sock], [], [], 0.01)[0]:
                heard += sock.recv(16 * 1024)
            time.sleep(0.0005)

        terminate(gateway)
        time.sleep(0.3)
        with contextlib.suppress(ConnectionResetError):
            while piece := sock.recv(65536):
                heard += piece

        assert len(heard.partition(b"\r\n\r\n")[2]) == len(Download.body)
        assert gateway.process.wait(5) == 0


def test_a_second_sigterm_ends_at_once(tmp_path: Path) -> None:
    """The client is told so in its stream, upstream is stopped, and the turn has its ending in the journal."""
    with Provider(slow(60.0)).running() as provider, serving(provider.url, tmp_path) as gateway:
        call = Call(gateway.port)
        call.hear_until(b"upon")
        terminate(gateway)
        began_s = time.monotonic()

        gateway.signal(signal.SIGTERM)

        assert gateway.process.wait(5) == 0
        assert time.monotonic() - began_s < 2.0
        assert GATEWAY_ENDED.search(call.hear_all())
        provider.wait_until(lambda seen: bool(seen.answers[0].ended))
        assert endings(tmp_path) == ["G.cancel.text"]
        assert check_journal(tmp_path) == ["ok"]


def test_the_drain_has_a_limit(tmp_path: Path) -> None:
    """`--drain 0.5`: after half a second the unfinished turn is ended, and so is the process."""
    with (
        Provider(slow(60.0)).running() as provider,
        serving(provider.url, tmp_path, "--drain", "0.5s") as gateway,
    ):
        call = Call(gateway.port)
        call.hear_until(b"upon")
        began_s = time.monotonic()

        gateway.signal(signal.SIGTERM)

        assert gateway.process.wait(5) == 0
        assert 0.4 <= time.monotonic() - began_s < 2.5
        assert GATEWAY_ENDED.search(call.hear_all())
        assert endings(tmp_path) == ["G.cancel.text"]


def test_a_request_that_was_given_nothing_yet_is_told_to_ask_again(tmp_path: Path) -> None:
    """Before any header went out, the end of the drain is a 503 in the client's dialect, which it retries."""
    told = answer([open_text(), *says("late"), close_block()], before_headers_s=60.0)
    with (
        Provider(told).running() as provider,
        serving(provider.url, tmp_path, "--drain", "0.5s") as gateway,
    ):
        call = Call(gateway.port)
        provider.wait_until(lambda seen: bool(seen.requests))

        gateway.signal(signal.SIGTERM)
        said = json.loads(call.hear_all())

        assert call.response.status == 503
        assert said["error"]["type"] == "api_error"
        assert "ask again" in said["error"]["message"]
        assert gateway.process.wait(5) == 0
