"""Logs that real proxies write on loopback, in front of Holdfast and behind it, put beside what Holdfast recorded.

client - front - Holdfast - back - provider: both proxies are one process, nginx or HAProxy.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from holdfast.flight import moments as m
from holdfast.flight.endings import Side
from holdfast.flight.reading import StoredTurn
from holdfast.gateway.settings import RetryRules, Settings, Timeouts, Upstream
from holdfast.lab import script as s
from holdfast.lab.provider import Provider
from holdfast.lab.script import Answer
from holdfast.records.legs import Kind, legs_of
from holdfast.records.match import Match
from holdfast.records.reading import beside
from holdfast.records.verdict import Verdict
from tests.gateway.hosted import HEADERS, Call, Kept, body, hosted

NGINX = """
daemon off; pid {dir}/pid; worker_processes 1; error_log {dir}/error.log info;
events {{}}
http {{
  log_format timed '$remote_addr - - [$time_local] "$request" $status $body_bytes_sent "-" "-" $request_time'
                   ' $upstream_http_request_id';
  access_log {dir}/access.log timed;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  proxy_buffering off; proxy_http_version 1.1;
  server {{ listen 127.0.0.1:{front}; location / {{ proxy_pass http://127.0.0.1:{gateway}; }} }}
  server {{ listen 127.0.0.1:{back}; location / {{ proxy_pass http://127.0.0.1:{provider}; proxy_read_timeout 1s; }} }}
}}
"""
HAPROXY = """
global
  log stdout format raw local0
defaults
  mode http
  option httplog
  option abortonclose
  log global
  timeout connect 1s
  timeout client 9s
  timeout server 9s
listen front
  bind 127.0.0.1:{front}
  server holdfast 127.0.0.1:{gateway}
listen back
  bind 127.0.0.1:{back}
  timeout server 1s
  server provider 127.0.0.1:{provider}
"""


def ports(count: int) -> list[int]:
    """Free ports of loopback."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return found


@dataclass
class Chain:
    """The whole way, and where its proxies log."""

    front: int
    kept: Kept
    finish: Callable[[], list[Path]]
    "End the proxies; returns their logs."

    def told(self) -> tuple[StoredTurn, list[Match]]:
        """The one turn as recorded, and what the proxies' logs say of it."""
        self.kept.wait_for(m.TurnEnded)
        logs = self.finish()
        (record,) = [one for one in self.kept.records.values() if one.path == "/v1/messages"]
        turn = StoredTurn(record, "instance", record.ending.code if record.ending else None, None)
        local = datetime.now().astimezone().utcoffset()
        zone_s = local.total_seconds() if local else 0.0
        return turn, [
            one for log in logs for one in beside(log, legs_of(turn), local_zone_s=zone_s).matched.matches
        ]


@contextmanager
def chain(kind: str, tmp_path: Path, told: Answer) -> Iterator[Chain]:
    """A provider, a proxy behind, Holdfast, a proxy in front."""
    program = shutil.which(kind) or shutil.which(kind, path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip(f"{kind} is not installed")
    front, back = ports(2)
    settings = Settings(
        Upstream.parse(f"http://127.0.0.1:{back}"),
        retries=RetryRules(retries=0),
        timeouts=Timeouts(cancel_grace_s=0.1),
    )
    with Provider(told).running() as provider, hosted(settings) as gateway:
        config, log = tmp_path / "proxy.conf", tmp_path / "haproxy.log"
        text = (NGINX if kind == "nginx" else HAPROXY).format(
            dir=tmp_path, front=front, back=back, gateway=gateway.port, provider=provider.port
        )
        config.write_text(text)
        options = ["-c", str(config), "-p", str(tmp_path)] if kind == "nginx" else ["-f", str(config)]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [program, *options], stdout=out, stderr=out, env={"HOME": str(tmp_path)}
            )

        def finish() -> list[Path]:
            time.sleep(0.2)  # HAProxy writes a session's line when both of its sides are closed
            process.terminate()
            process.wait(5)
            return [tmp_path / "access.log", tmp_path / "error.log"] if kind == "nginx" else [log]

        try:
            until_listening(front, process)
            yield Chain(front, gateway.kept, finish)
        finally:
            process.kill()
            process.wait(5)


def until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait for a proxy that was just started."""
    limit = time.monotonic() + 5
    while time.monotonic() < limit and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    pytest.skip("the proxy does not start here")


def loud(matches: list[Match], *kinds: Kind) -> set[tuple[str, Verdict]]:
    """Who is said to have ended a connection on those sides, and whether we agree."""
    return {
        (one.seen.side.name, one.verdict)
        for one in matches
        if one.leg.kind in kinds and one.seen.side is not None
    }


PROXIES = pytest.mark.parametrize("kind", ["nginx", "haproxy"])


@PROXIES
def test_a_client_that_hangs_up(kind: str, tmp_path: Path) -> None:
    """Both proxies say that their client left: in front that is the client, behind it is Holdfast. All agree."""
    with chain(kind, tmp_path, s.answer(s.text("Hello"), s.pause(8))) as way:
        client = Call(way.front, body(), HEADERS)
        client.hear_until(b"Hello")
        client.leave()
        turn, matches = way.told()

    assert [leg.ending.side for leg in legs_of(turn) if leg.ending] == [Side.CLIENT, Side.GATEWAY]
    assert loud(matches, *Kind) == {("CLIENT", Verdict.AGREES)}


@PROXIES
def test_an_upstream_that_resets(kind: str, tmp_path: Path) -> None:
    """From Holdfast upstream ended it; the proxy behind says that its own upstream did, and agrees."""
    with chain(kind, tmp_path, s.answer(s.text("Hello"), s.pause(0.3), s.reset())) as way:
        with contextlib.suppress(Exception):
            Call(way.front, body(), HEADERS).hear_all()
        turn, matches = way.told()

    assert turn.record.attempts == 1
    assert loud(matches, Kind.UPSTREAM) == {("PROVIDER", Verdict.AGREES)}


@PROXIES
def test_a_proxy_whose_patience_ends(kind: str, tmp_path: Path) -> None:
    """From Holdfast it looks as if the provider had closed; the proxy behind owns up: it was its limit of a second."""
    with chain(kind, tmp_path, s.answer(s.text("Hello"), s.pause(8))) as way:
        with contextlib.suppress(Exception):
            Call(way.front, body(), HEADERS).hear_all()
        _, matches = way.told()

    assert loud(matches, Kind.UPSTREAM) == {("PATH", Verdict.ADDS)}
    (said,) = [one for one in matches if one.verdict is Verdict.ADDS]
    assert (
        "its own limit" in said.seen.says
        and said.note == "what looked like upstream from here was this program"
    )


@PROXIES
def test_a_turn_that_goes_well(kind: str, tmp_path: Path) -> None:
    """Nobody contradicts."""
    with chain(kind, tmp_path, s.answer(s.text("Hello"), s.pause(0.3), s.text("you"))) as way:
        Call(way.front, body(), HEADERS).hear_all()
        _, matches = way.told()

    assert {one.leg.kind for one in matches} == {Kind.CLIENT, Kind.UPSTREAM}
    assert not [one for one in matches if one.verdict in (Verdict.CONTRADICTS, Verdict.ADDS)]
