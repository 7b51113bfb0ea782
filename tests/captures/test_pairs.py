"""The same connection, captured at both ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from holdfast.captures.connections import follow
from holdfast.captures.pairs import Sighting, compare, sighting
from holdfast.captures.telling import conclude
from holdfast.cli.main import main
from tests.captures.packets import Made, Talk, as_packets, pcap

LATER = Talk().at_ns + 10**13


def others() -> list[Made]:
    """Somebody else's packet, much later: the capture went on."""
    talk = Talk(at_ns=LATER)
    talk.client_host.port = 50_000
    talk.client(flags="S", after=0)
    return talk.packets


def seen(packets: Iterable[Made], file: str) -> Sighting:
    (found,) = (
        one
        for connection in follow(as_packets([*packets, *others()]))
        if (one := sighting(conclude(connection), file)) is not None
    )
    return found


def at_the_client(talk: Talk) -> list[Made]:
    return talk.packets


def at_the_server(talk: Talk) -> list[Made]:
    """The same packets, seen 20 ms away: requests arrive later, answers set out earlier, clocks an hour apart."""
    way = 10_000_000
    moved = [
        replace(made, at_ns=made.at_ns + (way if made.outgoing else -way) + 3600 * 10**9)
        for made in talk.packets
    ]
    return sorted(moved, key=lambda made: made.at_ns)


def begun() -> Talk:
    talk = Talk()
    talk.handshake()
    talk.ask_and_answer()
    talk.client(b"question", after=1)
    return talk


def both(near_client: list[Made], near_server: list[Made]) -> list[str]:
    one, other = seen(near_client, "client.pcap"), seen(near_server, "server.pcap")
    assert compare(one, other) == compare(other, one)
    return compare(one, other)


def test_a_reset_that_arrived_and_was_never_sent_is_forged() -> None:
    """The one proof that needs no weighing."""
    talk = begun()
    server = at_the_server(talk)
    talk.server(flags="R", seq=talk.server_host.seq, ip_id=0, window=0, after=0.021)

    assert both(at_the_client(talk), server) == [
        "the server never sent the reset that arrived in its name: it was made between the two captures (certain)"
    ]


def test_resets_to_both_ends_prove_something_between() -> None:
    """Each end got one that the other had not sent."""
    client, server = begun(), begun()
    client.server(flags="R", seq=client.server_host.seq, ip_id=0, after=0.005)
    server.client(flags="R", seq=server.client_host.seq, ip_id=0, after=0.005)

    said = both(at_the_client(client), at_the_server(server))

    assert "both ends were sent a reset in the other's name: something between cut the connection" in said


def test_a_reset_in_both_captures_was_sent() -> None:
    """Whatever its looks."""
    talk = begun()
    talk.server(flags="R", seq=talk.server_host.seq, ttl=61, ip_id=0, after=0.021)

    assert both(at_the_client(talk), at_the_server(talk)) == [
        "the reset in the server's name left the server's end: it is in both captures"
    ]


def test_what_left_and_did_not_arrive_is_told() -> None:
    """A path that swallows."""
    talk = begun()
    server = at_the_server(talk)
    talk.client(b"x" * 1400, after=1)

    assert both(at_the_client(talk), server) == ["the last 1.4 kB of the client left it and did not arrive"]


def test_two_captures_that_agree_say_nothing() -> None:
    """Both saw all of it."""
    talk = begun()
    talk.close()

    assert both(at_the_client(talk), at_the_server(talk)) == []


def test_a_capture_that_ended_too_soon_proves_nothing() -> None:
    """It cannot say what it would have seen."""
    talk = begun()
    server = seen(at_the_server(talk), "server.pcap")
    talk.server(flags="R", seq=talk.server_host.seq, ip_id=0, after=0.021)

    (said,) = compare(seen(talk.packets, "client.pcap"), replace(server, went_on=False))

    assert "too soon to prove anything" in said


def test_two_captures_at_one_end_prove_nothing() -> None:
    """Both could have been before the place where it was made."""
    talk = begun()
    without = list(talk.packets)
    talk.server(flags="R", seq=talk.server_host.seq, ip_id=0, after=0.021)

    assert both(talk.packets, without) == []


@pytest.mark.parametrize("agree", [True, False])
def test_the_command_compares_what_it_is_given_together(tmp_path: Path, agree: bool) -> None:
    """A last paragraph behind both files."""
    talk = begun()
    server = at_the_server(talk)
    if not agree:
        talk.server(flags="R", seq=talk.server_host.seq, ip_id=0, after=0.021)
    (tmp_path / "client.pcap").write_bytes(pcap([*talk.packets, *others()]))
    (tmp_path / "server.pcap").write_bytes(pcap([*server, *others()]))

    result = CliRunner().invoke(
        main,
        ["captures", str(tmp_path / "client.pcap"), str(tmp_path / "server.pcap")],
        env={"COLUMNS": "100"},
    )

    said = " ".join(result.output.split())
    if agree:
        assert said.endswith("1 connection in more than one capture, and they agree")
    else:
        assert said.endswith("it was made between the two captures (certain)")
