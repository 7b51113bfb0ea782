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
from typing import ClassVar

import uvloop

from holdfast.flight.endings import Ending, Phase
from holdfast.gateway import sockets
from holdfast.gateway.fields import render
from holdfast.gateway.outage import Outage
from holdfast.gateway.reaching import Reaching
from holdfast.gateway.settings import Keepalive, Settings, Upstream
from holdfast.gateway.upstream import dial
from holdfast.gateway.upstream.pool import Pool, UpstreamError
from holdfast.gateway.upstream.watch import NetworkWatch
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
        connection.start(heard, b"GET", b"/", render([(b"Host", b"far")]))
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


class Turn:
    """Stands for a turn's attempt, as far as `Reaching` knows one."""

    dials = 0
    connected: ClassVar[list[Turn]] = []

    def __init__(self, pool: Pool, reaching: Reaching) -> None:
        self._pool, self._reaching = pool, reaching
        self._dialling: asyncio.Task[None] | None = None
        self.told: list[str] = []

    def connect(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
        Turn.dials += 1
        self._dialling = asyncio.create_task(self._dial())

    async def _dial(self) -> None:
        try:
            connection = await self._pool.connect()
        except UpstreamError as error:
            self._reaching.failed(self, error.ending)  # type: ignore[arg-type]
            return
        self._reaching.worked(self)  # type: ignore[arg-type]
        Turn.connected.append(self)
        connection.abort()

    def wait_for_upstream(self, why: str) -> None:
        self.told.append("away")

    def upstream_is_back(self, absent_s: float) -> None:
        self.told.append("back")

    def give_up(self, ending: Ending, why: str) -> None:
        self.told.append(why)


def outage(host: str, port: int) -> None:
    """A hundred turns wait together; how many dials that took, and whether each was told."""

    async def story() -> None:
        loop, pool = asyncio.get_running_loop(), pool_to(port, host=host, connect_s=1.0)
        rules = Outage(patience_s=60.0, connect_s=1.0, chance=lambda: 0.0)
        reaching = Reaching(rules, loop, told=lambda _: None)
        watch = NetworkWatch(loop, lambda what: reaching.changed())
        watch.start()

        async def all_connected(count: int) -> None:
            while len(Turn.connected) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

        turns = [Turn(pool, reaching) for _ in range(100)]
        reaching.want(turns[0])  # type: ignore[arg-type]
        await all_connected(1)
        say("ready")
        await asyncio.to_thread(input)
        reaching.want(turns[0])  # type: ignore[arg-type]
        while rules.absent_since is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for turn in turns[1:]:
            reaching.want(turn)  # type: ignore[arg-type]
        say("waiting")
        await asyncio.to_thread(input)
        probes, Turn.dials = Turn.dials - 2, 0
        say(probes)
        await all_connected(2)
        say("first")
        await all_connected(101)
        say("all", Turn.dials - 99, {tuple(turn.told) for turn in turns})
        watch.close()

    uvloop.run(story())


def stage() -> dial._Stage:
    return dial._Stage(dial.route(Settings(Upstream("http", "far.example", 80))), Phase.CONNECTING)


STORIES = (keepalive, probe_soon, forgiven, exchange, one_family_lost, roaming, outage)

if __name__ == "__main__":
    told = {story.__name__: story for story in STORIES}
    told[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
