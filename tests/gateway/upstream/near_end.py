"""Played by `test_wire` on one of two machines, while the test cuts the wire: `near_end STORY HOST PORT`.

Each story says `ready` when the wire may be cut, then what became of it. It reads a line where it has to wait for
the test.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time

import uvloop

from holdfast.flight.endings import Phase
from holdfast.gateway import sockets
from holdfast.gateway.settings import Keepalive, Settings, Upstream
from holdfast.gateway.upstream import dial
from tests.gateway.upstream.stage import Heard, pool_to


def connected(host: str, port: int) -> socket.socket:
    sock = socket.create_connection((host, port))
    sock.sendall(b"x")
    assert sock.recv(1) == b"x"
    while sockets.unacked_bytes(sock):
        time.sleep(0.01)
    return sock


def say(*words: object) -> None:
    print(*words, flush=True)


def end_of(sock: socket.socket) -> str:
    """Read until it ends; the name of the error."""
    try:
        return f"{len(sock.recv(1))} bytes"
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def keepalive(host: str, port: int) -> None:
    """Nothing is asked of the connection: only TCP's probes can find out."""
    with connected(host, port) as sock:
        sockets.set_keepalive(sock, Keepalive(1, 1, 3))
        say("ready")
        say(end_of(sock))


def probe_soon(host: str, port: int) -> None:
    """The usual care would take 90 s."""
    with connected(host, port) as sock:
        sockets.set_keepalive(sock, Keepalive())
        sockets.set_user_timeout(sock, 90_000)
        say("ready")
        input()
        sockets.probe_soon(sock)
        say(end_of(sock))


def forgiven(host: str, port: int) -> None:
    """A silence that is already longer than the user timeout, then probes of which two are lost."""
    with connected(host, port) as sock:
        sockets.set_user_timeout(sock, 900)
        time.sleep(1.0)
        say("ready")
        input()
        before = sockets.probe_soon(sock)
        while int(sockets.tcp_facts(sock)["probes"] or 0) < 2:
            time.sleep(0.05)
        say("two lost")
        input()
        sockets.restore(sock, before)
        sock.sendall(b"y")
        say("still", sock.recv(1).decode())


def exchange(host: str, port: int) -> None:
    """An answer is being waited for when the machine wakes up."""

    async def story() -> None:
        connection = await pool_to(port, host=host).connect()
        heard = Heard()
        connection.start(heard, b"GET", b"/", [(b"Host", b"far")])
        connection.end_body()
        await asyncio.sleep(0.2)  # the request is acknowledged
        say("ready")
        await asyncio.to_thread(input)
        connection.probe_soon()
        await heard.over.wait()
        say(heard.code)

    uvloop.run(story())


def one_family_lost(host: str, port: int) -> None:
    """IPv6 comes first, and nothing comes back from it."""
    say("ready")
    input()

    async def story() -> None:
        started = time.monotonic()
        there = [(socket.AF_INET6, ("fd77::2", port, 0, 0)), (socket.AF_INET, (host, port))]
        sock = await dial._first_to_connect(dial.in_turn(there), stage())
        quick = dial.STAGGER_S <= time.monotonic() - started < 2 * dial.STAGGER_S
        say(sock.getpeername()[0], "after the stagger" if quick else "late")
        sock.close()

    uvloop.run(story())


def roaming(host: str, port: int) -> None:
    """The network comes back with another address for this machine, in the midst of a dial."""

    async def story() -> None:
        dialling = asyncio.create_task(dial._first_to_connect([(socket.AF_INET, (host, port))], stage()))
        await asyncio.sleep(0.1)
        say("ready")
        sock = await dialling
        say("connected from", sock.getsockname()[0])
        sock.close()

    uvloop.run(story())


def stage() -> dial._Stage:
    return dial._Stage(dial.route(Settings(Upstream("http", "far.example", 80))), Phase.CONNECTING)


STORIES = (keepalive, probe_soon, forgiven, exchange, one_family_lost, roaming)

if __name__ == "__main__":
    told = {story.__name__: story for story in STORIES}
    told[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
