"""News of this machine: real changes in a network of its own, and clocks that are given."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import queue
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from holdfast.flight.instant import Instant, suspended_s
from holdfast.gateway.upstream.watch import NetworkWatch, SleepWatch
from tests.gateway.upstream.conftest import Run
from tests.netns import needs_namespaces, two_machines

netlink = pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="rtnetlink is Linux's")


@needs_namespaces
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_changes_of_links_addresses_and_routes_are_heard_of(loop: str, tmp_path: Path) -> None:
    """Each within two seconds, once, with the link's name; a neighbour or a container's bare wire is no news."""
    with two_machines(tmp_path) as wire:
        here, far = wire.here, wire.there
        with here.python("tests.gateway.upstream.network_watcher", loop) as watcher:
            lines: queue.SimpleQueue[str] = queue.SimpleQueue()
            assert watcher.stdout is not None and watcher.stdin is not None
            out = watcher.stdout

            def read() -> None:
                for line in out:
                    lines.put(line.strip())

            threading.Thread(target=read, daemon=True).start()

            def told() -> str:
                return lines.get(timeout=2)

            try:
                assert lines.get(timeout=10) == "ready"

                here.ip("route", "add", "default", "via", far.ipv4)
                assert told() == "the default route by wire is there"
                here.ip("route", "replace", "default", "via", "10.77.0.9")
                assert told() == "the default route by wire is there"
                here.ip("route", "replace", "default", "via", far.ipv4)
                assert told() == "the default route by wire is there"

                far.ip("link", "set", "wire", "down")
                assert told() == "wire is down (no way out)"
                far.ip("link", "set", "wire", "up")
                assert told() == "wire is up"

                here.lose(far.ipv4)
                here.ip("link", "add", "name", "bare", "type", "veth", "peer", "name", "other")
                here.ip("link", "set", "bare", "up")
                here.ip("link", "set", "other", "up")
                longer = ("valid_lft", "900", "preferred_lft", "900")  # as routers do every few minutes
                here.ip("addr", "change", f"{here.ipv6}/64", "dev", "wire", *longer)
                with pytest.raises(queue.Empty):
                    lines.get(timeout=0.5)

                here.ip("addr", "add", "10.99.0.1/24", "dev", "bare")
                assert told() == "bare has a new address, a route by bare is there"
                here.ip("addr", "del", f"{here.ipv4}/24", "dev", "wire")
                lost = told()
                assert lost.startswith("wire lost an address") and lost.endswith("(no way out)")
                here.ip("link", "set", "wire", "down")
                assert "wire is down" in told()
            finally:
                watcher.stdin.close()
            assert watcher.wait(10) == 0, watcher.stderr and watcher.stderr.read()


@netlink
@pytest.mark.parametrize("failing", ["socket", "bind", "add_reader"])
def test_a_sandbox_that_forbids_it_stops_nobody(
    failing: str, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The start goes on, one line of the debug log says so, and no socket is left behind."""
    caplog.set_level(logging.DEBUG, logger="holdfast.gateway")
    made: list[socket.socket] = []

    class Watched(socket.socket):
        def __init__(self, *args: int) -> None:
            if failing == "socket":
                _refuse()
            super().__init__(*args)
            made.append(self)

        def bind(self, address: object) -> None:
            _refuse() if failing == "bind" else super().bind(address)  # type: ignore[arg-type]

    async def story() -> None:
        loop = asyncio.get_running_loop()
        watch = NetworkWatch(_WithoutReaders() if failing == "add_reader" else loop, _refuse)  # type: ignore[arg-type]
        monkeypatch.setattr(socket, "socket", Watched)
        assert watch.start() is False
        monkeypatch.undo()
        watch.close()

    run(story())
    assert "changes of the network are not heard of" in caplog.text
    assert [sock.fileno() for sock in made] == ([] if failing == "socket" else [-1])


class _WithoutReaders:
    def add_reader(self, *_: object) -> None:
        raise NotImplementedError


def _refuse(*_: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@netlink
def test_what_cannot_be_read_ends_the_listening(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """A kernel that speaks otherwise is not guessed at; the gateway goes on without."""
    caplog.set_level(logging.DEBUG, logger="holdfast.gateway")

    async def story() -> None:
        watch = NetworkWatch(asyncio.get_running_loop(), _refuse)
        assert watch.start()
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with here, there:
            assert watch._sock is not None
            real, watch._sock = watch._sock, here
            asyncio.get_running_loop().remove_reader(real.fileno())
            real.close()
            here.setblocking(False)
            asyncio.get_running_loop().add_reader(here.fileno(), watch._readable)
            there.send(struct.pack("=IHHII", 4, 16, 0, 0, 0))
            await asyncio.sleep(0.05)
            assert repr(watch) == "<NetworkWatch deaf>"

    run(story())
    assert "not heard of any more: a message of 4 bytes" in caplog.text


def test_a_sleep_is_told_once_after_waking_up(run: Run) -> None:
    """The clocks are read at every tick; an hour that only the wall has seen is told with its length."""

    async def story() -> None:
        readings = [(Instant(10.0, 1_000_000), None), (Instant(15.0, 1_005_000), None)]
        readings += [(Instant(20.0, 4_610_000), None), (Instant(25.0, 4_615_000), None)]
        told: list[float] = []
        over = asyncio.Event()

        def clocks() -> tuple[Instant, float | None]:
            if len(readings) == 1:
                over.set()
                return readings[0]
            return readings.pop(0)

        watch = SleepWatch(asyncio.get_running_loop(), told.append, tick_s=0.005, clocks=clocks)
        watch.start()
        await asyncio.wait_for(over.wait(), 5)
        await asyncio.sleep(0.02)
        watch.close()
        assert told == [3600.0]

    run(story())


def test_this_machines_own_clocks_tell_no_sleep_while_it_is_awake() -> None:
    """Two readings, a moment apart."""
    before = suspended_s()
    time.sleep(0.01)
    after = suspended_s()
    if before is not None and after is not None:
        assert abs(after - before) < 0.1
