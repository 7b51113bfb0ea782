"""What TCP and the dial make of a wire that is cut between two machines. The kernel's own timers run: seconds pass."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns import Wire, needs_namespaces, two_machines

pytestmark = needs_namespaces


class Play:
    """Two machines with an echoing server on the far one, and a story on the near one."""

    def __init__(self, wire: Wire, near: subprocess.Popen[str]) -> None:
        self.wire = wire
        self._near = near

    def hears(self) -> str:
        """The next line of the story."""
        assert self._near.stdout is not None and self._near.stderr is not None
        return self._near.stdout.readline().strip() or self._near.stderr.read()

    def goes_on(self) -> None:
        """Let the story go on."""
        assert self._near.stdin is not None
        self._near.stdin.write("\n")
        self._near.stdin.flush()


@contextlib.contextmanager
def playing(story: str, home: Path) -> Iterator[Play]:
    with two_machines(home) as wire, wire.there.python("tests.gateway.upstream.far_end") as far:
        assert far.stdout is not None
        port = far.stdout.readline().strip()
        with wire.here.python("tests.gateway.upstream.near_end", story, wire.there.ipv4, port) as near:
            try:
                play = Play(wire, near)
                assert play.hears() == "ready"
                yield play
            finally:
                near.kill()
                far.kill()


def test_probes_without_an_answer_end_a_connection(tmp_path: Path) -> None:
    """Keepalive 1/1/3 on an idle connection, packets lost both ways: dead within 4 s, with ETIMEDOUT."""
    with playing("keepalive", tmp_path) as play:
        play.wire.cut()
        started = time.monotonic()

        assert play.hears() == "ETIMEDOUT"
        assert time.monotonic() - started < 6


def test_a_dead_path_shows_in_seconds_when_it_is_asked_for(tmp_path: Path) -> None:
    """30/15/4 and a user timeout of 90 s are in force; after `probe_soon` it takes 7 s at most."""
    with playing("probe_soon", tmp_path) as play:
        play.wire.cut()
        play.goes_on()
        started = time.monotonic()

        assert play.hears() == "ETIMEDOUT"
        assert 4 < time.monotonic() - started < 9


def test_fast_probes_forgive_some_loss(tmp_path: Path) -> None:
    """A machine that has just woken up has no network for a moment: two lost probes are not the end."""
    with playing("forgiven", tmp_path) as play:
        play.wire.cut()
        play.goes_on()
        assert play.hears() == "two lost"
        play.wire.mend()
        play.goes_on()

        assert play.hears() == "still y"


def test_an_answer_that_cannot_come_any_more_is_given_up_soon(tmp_path: Path) -> None:
    """The connection's own ending: the path went dark while headers were awaited."""
    with playing("exchange", tmp_path) as play:
        play.wire.cut()
        play.goes_on()

        assert play.hears() == "N.dark.headers"


def test_a_lost_family_costs_a_quarter_of_a_second(tmp_path: Path) -> None:
    """Packets to the IPv6 address get lost: the IPv4 address is connected to after the stagger."""
    with playing("one_family_lost", tmp_path) as play:
        play.wire.here.lose(play.wire.there.ipv6)
        play.goes_on()

        assert play.hears() == "10.77.0.2 after the stagger"


def test_a_dial_notices_a_network_that_comes_back_with_another_address(tmp_path: Path) -> None:
    """The kernel would ask for ever from the address that is gone; a new socket takes the new one."""
    with two_machines(tmp_path) as wire, wire.there.python("tests.gateway.upstream.far_end") as far:
        assert far.stdout is not None
        port = far.stdout.readline().strip()
        wire.cut()
        with wire.here.python("tests.gateway.upstream.near_end", "roaming", wire.there.ipv4, port) as near:
            try:
                play = Play(wire, near)
                assert play.hears() == "ready"
                wire.here.ip("addr", "del", "10.77.0.1/24", "dev", "wire")
                wire.here.ip("addr", "add", "10.77.0.3/24", "dev", "wire")
                wire.mend()
                started = time.monotonic()

                assert play.hears() == "connected from 10.77.0.3"
                assert time.monotonic() - started < 3
            finally:
                near.kill()
                far.kill()


@pytest.mark.parametrize("sign", [True, False], ids=["unplugged", "packets lost"])
def test_all_go_on_within_two_seconds_of_the_networks_return(sign: bool, tmp_path: Path) -> None:
    """A hundred turns, four seconds away: one at a time tries; then, told of it by the kernel or not, all go on."""
    with playing("outage", tmp_path) as play:
        here, back = play.wire.here, play.wire.mend
        if sign:
            here.ip("link", "set", "wire", "down")
            back = lambda: here.ip("link", "set", "wire", "up")  # noqa: E731
        else:
            play.wire.cut()
        play.goes_on()
        assert play.hears() == "waiting"
        time.sleep(4.0)  # the next probe would be 1.75 s away
        play.goes_on()
        probes = int(play.hears())
        back()
        returned = time.monotonic()

        assert play.hears() == "first"
        assert time.monotonic() - returned < (1.0 if sign else 2.5)
        all_word, more, told = play.hears().split(maxsplit=2)
        assert time.monotonic() - returned < (2.0 if sign else 3.5)
        assert (all_word, told) == ("all", "{('away', 'back')}")
        assert 1 <= probes <= 5 and int(more) <= 2, "dials beyond one for each turn"
