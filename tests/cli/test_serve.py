"""`holdfast serve`: who is let in, what is said, how it stops."""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pexpect
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from holdfast import __version__
from holdfast.cli import admin, config, serve
from holdfast.cli.errors import Misused
from holdfast.flight import plain_files

TOKEN = "0123456789abcdef0123456789abcdef"
NOWHERE = {"HOME": "/nonexistent"}


def plan(environ: dict[str, str] | None = None, **flags: str | bool | None) -> serve.Plan:
    seen = NOWHERE | (environ or {})
    return serve.make_plan(config.gather("serve", flags, seen, None), seen)


# -- who is let in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "localhost:1", "[::1]:1"])
def test_loopback_needs_nothing(listen: str) -> None:
    """The common case has no ceremony."""
    assert plan(listen=listen).settings.token is None


def test_other_addresses_need_a_token_and_tls() -> None:
    """Each missing thing is named with the flag that gives it."""
    with pytest.raises(Misused, match=r"--token-file.*--tls-cert"):
        plan(listen="0.0.0.0:1")
    with pytest.raises(Misused, match="--tls-cert"):
        plan({"HOLDFAST_TOKEN": TOKEN}, listen="0.0.0.0:1")
    with pytest.raises(Misused, match="--token-file"):
        plan(listen="0.0.0.0:1", behind_tls_proxy=True)
    assert plan({"HOLDFAST_TOKEN": TOKEN}, listen="0.0.0.0:1", behind_tls_proxy=True).settings.any_host


def test_named_hosts_are_checked_even_behind_a_proxy() -> None:
    """`--host` narrows what --behind-tls-proxy opens."""
    values = config.gather("serve", {"host": ("Gate.Example",), "behind_tls_proxy": True}, NOWHERE, None)
    settings = serve.make_plan(values, NOWHERE).settings

    assert not settings.any_host
    assert settings.hosts == {"gate.example"}


def test_an_admin_port_for_others_needs_the_token() -> None:
    """Probes then show it; on loopback nobody has to."""
    with pytest.raises(Misused, match="--admin"):
        plan(admin="0.0.0.0:2")
    assert plan(admin="127.0.0.1:2").admin_guard.token is None
    outside = plan({"HOLDFAST_TOKEN": TOKEN}, admin="0.0.0.0:2")
    assert outside.admin_guard.token == TOKEN


@pytest.mark.parametrize(
    "token", ["short", "has space in it and is long", "ümlaute-ümlaute-ümlaute", "a/b?c#d/e/f/g/h/i"]
)
def test_a_token_that_cannot_serve_is_refused(token: str) -> None:
    """It must fit into a header and a path, and not be guessable; the error does not repeat it."""
    with pytest.raises(Misused, match="openssl rand") as raised:
        plan({"HOLDFAST_TOKEN": token})
    assert token not in str(raised.value)


def test_a_token_file_that_everyone_can_read_is_refused(tmp_path: Path) -> None:
    """The error has the command that mends it."""
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o644)
    with pytest.raises(Misused, match="chmod 600"):
        plan(token_file=str(file))
    file.chmod(0o600)
    assert plan(token_file=str(file)).settings.token == TOKEN


@pytest.mark.parametrize(
    ("name", "said"),
    [("pipe", "nobody writes to"), ("/dev/zero", "a device"), (".", "a directory"), ("long", "longer than")],
)
def test_what_holds_no_settings_and_no_token_is_not_waited_for(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that hangs while it starts says nothing at all."""
    monkeypatch.setattr(plain_files, "WRITER_S", 0.05)
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "long").write_bytes(b"#" * (config.LONGEST_FILE + 1))
    (tmp_path / "long").chmod(0o600)
    path = tmp_path / name

    with pytest.raises(Misused, match=f"the settings file .* cannot be read: .*{said}"):
        config.from_file(path)
    with pytest.raises(Misused, match=f"the token file .* cannot be read: .*{said}"):
        plan(token_file=str(path))


def test_settings_and_a_token_may_come_out_of_pipes(tmp_path: Path) -> None:
    """`--config <(...)`: from a secret store, with nothing on a disk."""
    for name, text in (("settings", "drain = '10m'\n"), ("token", f"{TOKEN}\n")):
        os.mkfifo(tmp_path / name, 0o600)
        threading.Thread(target=(tmp_path / name).write_text, args=(text,), daemon=True).start()

    values = config.gather("serve", {"token_file": str(tmp_path / "token")}, NOWHERE, tmp_path / "settings")

    planned = serve.make_plan(values, NOWHERE)
    assert (planned.drain_s, planned.settings.token) == (600.0, TOKEN)


def test_tls_needs_both_files(tmp_path: Path) -> None:
    """And they must be there."""
    (tmp_path / "c.pem").write_text("")
    with pytest.raises(Misused, match="both --tls-cert and --tls-key"):
        plan(tls_cert=str(tmp_path / "c.pem"))
    with pytest.raises(Misused, match="there is no file"):
        plan(tls_cert=str(tmp_path / "absent.pem"), tls_key=str(tmp_path / "c.pem"))


def test_an_empty_upstream_is_refused_and_not_the_default(tmp_path: Path) -> None:
    """Keys go where it was meant or nowhere: `--upstream "$GATEWAY"` with nothing in it means something else."""
    with pytest.raises(Misused, match="upstream from --upstream is empty"):
        plan(upstream="")
    (tmp_path / "c.toml").write_text('upstream = ""')
    values = config.gather("serve", {}, NOWHERE, tmp_path / "c.toml")
    with pytest.raises(Misused, match=r"upstream from .*c\.toml is empty"):
        serve.make_plan(values, NOWHERE)
    unset = {**NOWHERE, "HOLDFAST_UPSTREAM": ""}
    with pytest.raises(Misused, match="upstream from HOLDFAST_UPSTREAM is empty"):
        serve.make_plan(config.gather("serve", {}, unset, None), unset)
    flagged = serve.make_plan(config.gather("serve", {"upstream": "https://a.example"}, unset, None), unset)
    assert flagged.settings.upstream.host == "a.example"


def test_a_gateway_is_not_its_own_upstream() -> None:
    """It would ask itself until no connection is left."""
    with pytest.raises(Misused, match="this gateway's own address"):
        plan(upstream="http://localhost:8484")
    assert plan(upstream="http://localhost:8485").settings.upstream.port == 8485


@pytest.mark.parametrize("name", ["HOLDFAST_TOKEN", "HOLDFAST_TOKEN_FILE"])
def test_an_empty_token_is_not_taken_for_none(name: str) -> None:
    """Whoever sets it wants the gateway closed."""
    unset = {**NOWHERE, name: ""}
    with pytest.raises(Misused, match=f"{name} is set and empty"):
        serve.make_plan(config.gather("serve", {}, unset, None), unset)


# -- probes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "ready", "status"),
    [
        ("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:1", True, 200),
        ("GET /readyz HTTP/1.1\r\nHost: localhost", True, 200),
        ("HEAD /readyz?x=1 HTTP/1.0\r\nhost: [::1]:1", True, 200),
        ("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1", False, 503),
        ("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1", False, 200),
        ("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1", False, 200),
        ("GET /metrics HTTP/1.1\r\nHost: rebound.example", True, 421),
        ("POST /metrics HTTP/1.1\r\nHost: 127.0.0.1", True, 405),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1", True, 404),
        ("POST /healthz HTTP/1.1\r\nHost: 127.0.0.1", True, 405),
        ("GET /healthz HTTP/1.1\r\nHost: rebound.example", True, 421),
        ("GET /healthz HTTP/1.1", True, 421),
        ("GET /healthz HTTP/1.1\r\nHost: inside", True, 200),
        ("GET /healthz", True, 400),
        ("GET /healthz HTTP/1.1\r\nno header", True, 400),
        ("\r\n", True, 400),
    ],
)
def test_probes_are_answered_and_nothing_else(head: str, ready: bool, status: int) -> None:
    """A web page that found the port by another name learns nothing."""
    assert admin.answer(head.encode(), admin.Guard(frozenset({"inside"})), ready=ready)[0] == status


def test_probes_from_elsewhere_show_the_token() -> None:
    """Constant-time, and in a header."""
    guard = admin.Guard(frozenset(), any_host=True, token=TOKEN)

    assert admin.answer(b"GET /readyz HTTP/1.1\r\nHost: x", guard, ready=True)[0] == 401
    assert admin.answer(b"GET /metrics HTTP/1.1\r\nHost: x", guard, ready=True)[0] == 401
    for way, status in (
        (f"Holdfast-Token: {TOKEN}", 200),
        (f"Authorization: Bearer {TOKEN}", 200),
        (f"Authorization: Basic {TOKEN}", 401),
        (f"Authorization: Bearer {TOKEN}x", 401),
    ):
        shown = f"GET /metrics HTTP/1.1\r\nHost: x\r\n{way}".encode()
        assert admin.answer(shown, guard, ready=True)[0] == status


# -- a served gateway --------------------------------------------------------------------------------------


class Upstream(BaseHTTPRequestHandler):
    """Answers every path; `/wait` only when it is let go."""

    protocol_version = "HTTP/1.1"
    let_go = threading.Event()
    asked = threading.Event()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.endswith("/wait"):
            Upstream.asked.set()
            Upstream.let_go.wait(10)
        body = f"you asked {self.path}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def upstream() -> Iterator[str]:
    Upstream.let_go.clear()
    Upstream.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/base"
    Upstream.let_go.set()
    server.shutdown()
    server.server_close()


class Served:
    """A `holdfast serve` process."""

    def __init__(
        self, arguments: list[str], environ: dict[str, str], prepare: Callable[[], object] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "holdfast", "serve", *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=prepare,
        )
        assert self.process.stderr is not None
        first = self.process.stderr.readline()
        found = re.search(r"listening on https?://127\.0\.0\.1:(\d+)", first)
        assert found, first
        self.port = int(found.group(1))
        self.first = first

    def get(self, path: str, port: int | None = None, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        connection.request(
            "GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )
        response = connection.getresponse()
        return response.status, response.read().decode()

    def end(self) -> tuple[str, str]:
        """SIGTERM, and what it still said."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=10)


Serve = Callable[..., Served]


@pytest.fixture
def served(tmp_path: Path, upstream: str) -> Iterator[Serve]:
    started: list[Served] = []

    def start(*arguments: str, prepare: Callable[[], object] | None = None, **more: str) -> Served:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "HOLDFAST_STATE_DIR": str(tmp_path / "state"),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }
        basics = ["--listen", "127.0.0.1:0", "--upstream", upstream]
        started.append(Served([*basics, *arguments], environ | more, prepare))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_requests_go_below_the_upstreams_path(served: Serve) -> None:
    """What follows the base passes through unchanged."""
    assert served().get("/v1/models?limit=2") == (200, "you asked /base/v1/models?limit=2")


def test_the_upstreams_path_is_not_told(served: Serve) -> None:
    """Some gateways take a token in it, and what is said at the start goes into logs."""
    assert re.search(r", upstream http://127\.0\.0\.1:\d+$", served().first.strip())


def test_a_proxy_that_is_not_used_is_told(served: Serve) -> None:
    """Upstream is this machine, and the proxy's loopback is another one; so the request arrives all the same."""
    it = served("--proxy", "http://me:hunter2@127.0.0.1:9")
    assert it.process.stderr is not None

    assert (
        it.process.stderr.readline()
        == "holdfast: the proxy from --proxy is not used: upstream is this machine\n"
    )
    assert it.get("/v1/models")[0] == 200


def test_a_proxy_of_the_environment_or_none_is_not_complained_about(served: Serve) -> None:
    """Nobody asked for it here."""
    it = served("--proxy", "none", HTTP_PROXY="http://127.0.0.1:9")
    it.process.send_signal(signal.SIGTERM)
    assert it.process.stderr is not None

    assert "draining" in it.process.stderr.readline()


def test_one_line_per_turn_as_json(served: Serve) -> None:
    """stdout is the log and nothing else."""
    it = served("--log", "json")
    it.get("/v1/models?key=s3cret")
    out, _ = it.end()

    line = json.loads(out)
    assert (line["kind"], line["method"], line["path"], line["status"]) == (
        "opaque",
        "GET",
        "/v1/models",
        200,
    )
    assert "s3cret" not in out


@pytest.mark.parametrize(("soft", "hard", "status"), [(100, 2000, 200), (100, 100, 503)])
def test_as_many_clients_as_the_system_allows_are_taken_and_the_others_are_told(
    soft: int, hard: int, status: int, served: Serve
) -> None:
    """Most systems give 1024 open files unasked and more if asked; beyond that nobody is dropped without a word."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip("this machine allows too few open files")
    it = served(prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)))
    idle = [socket.create_connection(("127.0.0.1", it.port), timeout=10) for _ in range(60)]
    try:
        assert it.get("/v1/models")[0] == status
    finally:
        for one in idle:
            one.close()


def test_control_characters_of_strangers_do_not_reach_the_log(served: Serve) -> None:
    """A User-Agent cannot paint over an operator's screen."""
    it = served()
    it.get("/v1/models", user_agent="evil\x9b2J\x85")
    out, _ = it.end()

    assert out.count("\n") == 1
    assert "/v1/models" in out
    assert out.strip().isprintable()


def test_no_log_on_request(served: Serve) -> None:
    """`--log none`."""
    it = served("--log", "none")
    it.get("/v1/models")

    assert it.end()[0] == ""


def test_sigterm_drains_and_readiness_says_so(served: Serve) -> None:
    """The unfinished request is finished, a balancer is told to send no more, and the process ends with 0."""
    port = free_port()
    it = served("--admin", f"127.0.0.1:{port}")
    assert it.get("/readyz", port)[0] == 200
    answers: list[tuple[int, str]] = []
    waiting = threading.Thread(target=lambda: answers.append(it.get("/wait")))
    waiting.start()
    assert Upstream.asked.wait(5)

    it.process.send_signal(signal.SIGTERM)
    assert it.process.stderr is not None
    assert "draining" in it.process.stderr.readline()
    assert it.get("/readyz", port) == (503, "draining\n")
    assert it.get("/healthz", port)[0] == 200
    with pytest.raises(ConnectionRefusedError):
        it.get("/v1/models")
    Upstream.let_go.set()
    waiting.join(5)

    assert answers == [(200, "you asked /base/wait")]
    assert it.process.wait(5) == 0


def test_a_closed_terminal_drains_too(served: Serve) -> None:
    """Turns of others go on to their end; under nohup the gateway does."""
    it = served(prepare=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
    nohup = served(prepare=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    answers: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: answers.append(it.get("/wait")))
    asking.start()
    assert Upstream.asked.wait(10)
    for one in (it, nohup):
        one.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    Upstream.let_go.set()
    asking.join(10)

    assert answers == [(200, "you asked /base/wait")]
    assert it.process.wait(10) == 0
    assert "draining: 1 unfinished" in it.end()[1]
    assert nohup.get("/v1/models")[0] == 200


def test_a_log_that_cannot_be_written_ends_no_turn_and_is_no_failure(served: Serve) -> None:
    """Its reader has gone, or its disk is full: the gateway goes on, and ends in order when it is told to."""
    it = served()
    assert it.process.stdout is not None
    it.process.stdout.close()
    assert it.get("/v1/models")[0] == 200
    time.sleep(0.3)
    assert it.get("/v1/models")[0] == 200
    it.process.terminate()

    assert it.process.wait(10) == 0
    assert it.process.stderr is not None
    assert "BrokenPipe" not in it.process.stderr.read()
    it.process.stdout = None


def test_metrics_on_the_admin_port(served: Serve) -> None:
    """What has ended is counted at the next scrape, in the format that was asked for; HEAD has no body."""
    port = free_port()
    it = served("--admin", f"127.0.0.1:{port}")
    it.get("/v1/models")
    for _ in range(50):
        status, page = it.get("/metrics", port)
        assert status == 200
        if 'holdfast_turns_total{kind="opaque",status="200"} 1.0' in page:
            break
        time.sleep(0.05)  # the journal writes every half second
    else:
        pytest.fail(page)
    assert "holdfast_ready 1.0" in page and f'version="{__version__}"' in page
    assert it.get("/metrics", port, accept="application/openmetrics-text")[1].endswith("# EOF\n")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("HEAD", "/metrics")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"") and int(response.headers["content-length"]) > 1000


def test_a_second_signal_ends_at_once(served: Serve) -> None:
    """For the operator who knows better."""
    it = served("--drain", "60s")

    def ask_in_vain() -> None:
        with pytest.raises((OSError, http.client.HTTPException)):
            it.get("/wait")

    waiting = threading.Thread(target=ask_in_vain, daemon=True)
    waiting.start()
    assert Upstream.asked.wait(5)
    it.process.send_signal(signal.SIGTERM)
    assert it.process.stderr is not None
    it.process.stderr.readline()
    it.process.send_signal(signal.SIGTERM)

    assert it.process.wait(3) == 0


def test_a_taken_port_is_an_error_with_a_way_out(tmp_path: Path, upstream: str) -> None:
    """69, the port, and how to find who has it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "HOLDFAST_STATE_DIR": str(tmp_path / "state"),
        }
        ended = subprocess.run(
            [
                sys.executable,
                "-m",
                "holdfast",
                "serve",
                "--listen",
                f"127.0.0.1:{port}",
                "--upstream",
                upstream,
            ],
            env=environ,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    assert ended.returncode == 69
    assert f"port {port} is taken" in ended.stderr
    assert "lsof" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_tls_with_a_token(served: Serve, tmp_path: Path) -> None:
    """Without the token nothing is relayed; with it the request goes up, the token does not."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "k.pem")
    for index, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(tmp_path / "c.pem", append=index > 0)
    it = served(
        "--tls-cert", str(tmp_path / "c.pem"), "--tls-key", str(tmp_path / "k.pem"), HOLDFAST_TOKEN=TOKEN
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def get(path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPSConnection("127.0.0.1", it.port, timeout=10, context=context)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()

    assert get("/v1/models")[0] in (401, 403)
    assert get("/v1/models", **{"holdfast-token": TOKEN}) == (200, "you asked /base/v1/models")
    assert get(f"/{TOKEN}/v1/models") == (200, "you asked /base/v1/models")
    out, err = it.end()
    assert TOKEN not in out + err


def test_a_certificate_that_does_not_fit_is_an_error(tmp_path: Path, upstream: str) -> None:
    """Said at the start, by --check too, and not at the first handshake."""
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("no certificate")
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HOLDFAST_STATE_DIR": str(tmp_path / "state"),
    }
    files = ["--tls-cert", str(tmp_path / "c.pem"), "--tls-key", str(tmp_path / "k.pem")]
    ended = subprocess.run(
        [sys.executable, "-m", "holdfast", "serve", "--check", "--upstream", upstream, *files],
        env=environ,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert ended.returncode == 2
    assert "belong together" in ended.stderr


def test_a_key_with_a_passphrase_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    """Nobody is there to type it; OpenSSL would wait at the terminal for ever."""
    authority = trustme.CA().issue_cert("gateway.example")
    authority.cert_chain_pems[0].write_to_path(str(tmp_path / "c.pem"))
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    (tmp_path / "k.pem").write_bytes(locked)
    it = pexpect.spawn(
        sys.executable,
        ["-m", "holdfast", "serve", "--check", "--tls-cert", str(tmp_path / "c.pem"), "--tls-key", str(tmp_path / "k.pem")],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        timeout=20,
        encoding="utf-8",
    )  # fmt: skip
    it.expect(pexpect.EOF)
    it.wait()

    assert it.exitstatus == 2
    assert it.before is not None
    assert "has a passphrase" in it.before.replace("\r\n", " ")
