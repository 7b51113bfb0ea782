"""The relays that are compared: how each is configured as a plain streaming relay, started, and ended.

A relay gets a directory of its own, a clean environment, one CPU, and nothing of the system's configuration. Peers
are set up as their own documentation sets up a relay that does not buffer.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import machine

_START_S = 60.0
"LiteLLM takes most of it."


class Missing(Exception):
    """The relay cannot be measured here; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to execute."""

    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Relay:
    """One relay, not running."""

    name: str
    launch: Callable[[int, int, Path], Launch]
    "From own port, origin's port and an empty directory; may write files there. Raises `Missing`."
    path: str = "/v1/messages"
    byte_for_byte: bool = True
    "Whether it passes bodies and events on as they are; otherwise events are compared as JSON, request bodies not."


def _program(name: str, advice: str) -> str:
    """Find an executable beside this Python, on PATH, or where Debian keeps daemons."""
    places = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
    found = shutil.which(name, path=places)
    if not found:
        raise Missing(f"{name} is not installed; {advice}")
    return found


def _holdfast(port: int, origin: int, home: Path) -> Launch:
    program = _program("holdfast", "run `make setup`")
    upstream = f"http://127.0.0.1:{origin}"
    return Launch([program, "serve", "--listen", f"127.0.0.1:{port}", "--upstream", upstream])


def _nginx(port: int, origin: int, home: Path) -> Launch:
    program = _program("nginx", "try `apt-get install nginx-light`")
    user = "user root root;" if os.geteuid() == 0 else ""
    config = home / "nginx.conf"
    config.write_text(f"""\
{user}
worker_processes 1;
worker_rlimit_nofile 16384;
daemon off;
pid {home}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  client_max_body_size 0;
  keepalive_requests 1000000000;
  upstream origin {{
    server 127.0.0.1:{origin};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;
    }}
  }}
}}
""")
    return Launch([program, "-e", "stderr", "-p", str(home), "-c", str(config)])


def _haproxy(port: int, origin: int, home: Path) -> Launch:
    program = _program("haproxy", "try `apt-get install haproxy`")
    config = home / "haproxy.cfg"
    config.write_text(f"""\
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
frontend front
  bind 127.0.0.1:{port} backlog 4096
  default_backend origin
backend origin
  server origin 127.0.0.1:{origin} maxconn 9000
""")
    return Launch([program, "-db", "-q", "-f", str(config)])


def _litellm(port: int, origin: int, home: Path) -> Launch:
    program = _program("litellm", "try `.venv/bin/pip install 'litellm[proxy]'`")
    config = home / "config.yaml"
    config.write_text("model_list: []\n")
    return Launch(
        [program, "--host", "127.0.0.1", "--port", str(port), "--config", str(config), "--num_workers", "1"],
        {
            "ANTHROPIC_API_BASE": f"http://127.0.0.1:{origin}",
            "ANTHROPIC_API_KEY": "sk-ant-bench-not-a-key",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        },
    )


HOLDFAST = Relay("holdfast", _holdfast)
NGINX = Relay("nginx", _nginx)
HAPROXY = Relay("haproxy", _haproxy)
LITELLM = Relay("litellm", _litellm, path="/anthropic/v1/messages", byte_for_byte=False)
KNOWN = (NGINX, HOLDFAST, HAPROXY, LITELLM)


def custom(text: str) -> Relay:
    """A relay given as `NAME=COMMAND`, in which `{port}`, `{origin}` (a port too) and `{dir}` are filled in."""
    name, _, command = text.partition("=")
    if not command or "{port}" not in command:
        raise ValueError(f"{text!r} is not NAME=COMMAND with {{port}} and {{origin}} in the command")

    def launch(port: int, origin: int, home: Path) -> Launch:
        return Launch([word.format(port=port, origin=origin, dir=home) for word in shlex.split(command)])

    return Relay(name, launch)


class Running:
    """A relay's process, on its CPU, in its directory; `stop` ends it, keeps what it printed and removes the directory."""

    def __init__(self, relay: Relay, origin: int, cpu: int | None, logs: Path) -> None:
        self.relay = relay
        self._logs = logs
        self.port = free_port()
        self.home = Path(tempfile.mkdtemp(prefix=f"bench-{relay.name}-"))
        self._log = (self.home / "log").open("wb")
        try:
            launch = relay.launch(self.port, origin, self.home)
            self._process = subprocess.Popen(
                launch.argv,
                env=self._environment() | launch.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=None if cpu is None else lambda: machine.pin(cpu),
            )
        except BaseException:
            self._clean()
            raise
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """The end of what it printed."""
        return (self.home / "log").read_bytes()[-2000:].decode(errors="replace")

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.home),
            "HOLDFAST_STATE_DIR": str(self.home / "state"),
            "LANG": "C.UTF-8",
        }

    def _wait(self) -> None:
        patience = time.monotonic() + _START_S
        while time.monotonic() < patience:
            if self._process.poll() is not None:
                raise Missing(
                    f"{self.relay.name} ended at once ({self._process.returncode}): {self.log.strip()}"
                )
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise Missing(f"{self.relay.name} did not listen within {_START_S:.0f} s: {self.log.strip()}")

    def stop(self) -> None:
        """End it: politely, after 5 seconds (or a second signal's worth of drain) for good."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._clean()

    @property
    def died(self) -> str | None:
        """That it ended by itself, and its last words; None while it runs."""
        status = self._process.poll()
        return None if status is None else f"{self.relay.name} ended by itself ({status}): {self.log.strip()}"

    def _clean(self) -> None:
        self._log.close()
        self._logs.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.home / "log", self._logs / f"{self.relay.name}.log")
        shutil.rmtree(self.home, ignore_errors=True)


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
