"""The link passes everything, and fails exactly as told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from holdfast.lab.link import AfterBytes, AfterSeconds, Close, Drop, End, Link, Plan, Reset, Stall, Way
from holdfast.lab.provider import Provider
from holdfast.lab.script import answer, flood, silence, text
from tests.lab import wire


@contextmanager
def linked(plan: Plan = ()) -> Iterator[tuple[Provider, Link]]:
    """A provider behind a link."""
    with (
        Provider(answer(text("Hello there"))).running() as provider,
        Link("127.0.0.1", provider.port, plan=plan).running() as link,
    ):
        yield provider, link


def test_a_good_link_changes_nothing() -> None:
    """What goes through arrives, byte for byte, and both ends close in order."""
    with linked() as (provider, link):
        heard = wire.ask(link.url)

        assert heard.whole and heard.body == provider.exchanges[0].sent
        provider.wait_until(lambda p: p.connections[0].ended == "client fin")
        assert link.connections == 1 and link.down_bytes > len(heard.body)


def test_a_large_answer_passes_in_bounded_memory() -> None:
    """A client that reads slowly slows the provider, not the link's memory."""
    with (
        Provider(answer(flood(1_000_000)), keep_bytes=10_000_000).running() as provider,
        Link("127.0.0.1", provider.port).running() as link,
    ):
        heard = wire.ask(link.url)

        assert heard.whole and heard.body == provider.exchanges[0].sent


def test_a_stall_holds_bytes_until_it_flows_again() -> None:
    """Nothing passes a stalled link; nothing is lost by it."""
    with linked() as (_, link):
        link.stall(Way.DOWN)
        sock = wire.dial(link.url)
        wire.send(sock, {"stream": True})
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)

        link.flow()
        sock.settimeout(wire.PATIENCE_S)
        assert wire.listen(sock).whole
        sock.close()


def test_a_stall_hides_a_reset() -> None:
    """The provider does not learn of a client's reset while the link is stalled."""
    told = answer(text("Hello"), silence())
    with (
        Provider(told).running() as provider,
        Link("127.0.0.1", provider.port).running() as link,
    ):
        sock = wire.dial(link.url)
        wire.send(sock, {"stream": True})
        sock.recv(1)
        link.stall()
        sock.close()
        with pytest.raises(TimeoutError):
            provider.wait_until(lambda p: bool(p.exchanges[0].ended), seconds=0.2)

        link.flow()
        provider.wait_until(lambda p: p.exchanges[0].ended in ("client fin", "client rst"))


@pytest.mark.parametrize(
    ("trouble", "ending"),
    [(Reset(), "rst"), (Reset(End.CLIENT), "rst"), (Close(), "fin"), (Close(End.CLIENT), "fin")],
)
def test_a_plan_breaks_at_an_exact_byte(trouble: Reset | Close, ending: str) -> None:
    """Exactly as many bytes arrive as the plan says (a reset may cost the client the last of them)."""
    with linked([(AfterBytes(400), trouble)]) as (_, link):
        sock = wire.dial(link.url)
        wire.send(sock, {"stream": True})
        heard = wire.listen(sock)
        sock.close()

        assert (heard.ending, heard.whole) == (ending, False)
        assert link.down_bytes == 400


def test_only_one_side_learns_of_a_reset_on_its_side() -> None:
    """A box that resets the provider leaves the client waiting."""
    with linked([(AfterBytes(400), Stall(Way.DOWN)), (AfterBytes(400), Reset(End.TARGET))]) as (
        provider,
        link,
    ):
        sock = wire.dial(link.url)
        wire.send(sock, {"stream": True})
        provider.wait_until(lambda p: bool(p.connections) and p.connections[0].ended == "client rst")
        assert len(sock.recv(1000)) == 400
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.close()


def test_dropped_bytes_never_arrive_and_the_end_does() -> None:
    """A link that drops makes a body shorter than it was."""
    with linked([(AfterBytes(400), Drop(Way.DOWN)), (AfterSeconds(0.3), Close())]) as (provider, link):
        sock = wire.dial(link.url)
        wire.send(sock, {"stream": True})
        heard = wire.listen(sock)
        sock.close()

        assert (heard.ending, heard.whole) == ("fin", False)
        assert 0 < len(heard.body) < provider.exchanges[0].sent_bytes


def test_a_delay_keeps_the_order() -> None:
    """Everything arrives, later."""
    with linked() as (_, link):
        link.delay(0.15)
        began_s = monotonic()
        assert wire.ask(link.url).whole
        assert monotonic() - began_s >= 0.3


def test_a_reset_on_command_reaches_both_ends() -> None:
    """The path between them resets the client and the provider."""
    with (
        Provider(answer(text("Hello"), silence())).running() as provider,
        Link("127.0.0.1", provider.port).running() as link,
    ):
        sock = wire.dial(link.url)
        wire.send(sock, {"stream": True})
        provider.wait_until(lambda p: bool(p.exchanges) and p.exchanges[0].steps == 4)
        link.reset()
        assert wire.listen(sock).ending == "rst"
        sock.close()
        provider.wait_until(lambda p: p.exchanges[0].ended == "client rst")


def test_a_target_that_refuses_is_a_reset_to_the_client() -> None:
    """Nobody listens behind the link."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with (
            Link("127.0.0.1", unused.getsockname()[1]).running() as link,
            pytest.raises(ConnectionResetError),
        ):
            sock = wire.dial(link.url)
            sock.recv(1)
