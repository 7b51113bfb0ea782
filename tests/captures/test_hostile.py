"""Packets that nobody's stack would send: nothing breaks, memory is bounded, and something is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random

import pytest

from holdfast.captures.connections import Connection, Direction, Limits, follow
from holdfast.captures.files import Packet
from holdfast.captures.telling import as_json, block, conclude, story
from tests.captures.packets import START_NS, Made, Talk, as_packets, stamps, tcp_ip


class Ear:
    """Counts what it hears, and that it is in order."""

    def __init__(self) -> None:
        self.heard = {Direction.TO_SERVER: 0, Direction.TO_CLIENT: 0}
        self.over = 0

    def data(self, direction: Direction, at_ns: int, payload: bytes) -> None:
        assert payload
        assert not self.over
        self.heard[direction] += len(payload)

    def gap(self, direction: Direction, at_ns: int, missing: int) -> None:
        assert missing > 0
        assert not self.over

    def closed(self, connection: Connection) -> None:
        self.over += 1


def nonsense(chance: Random, count: int) -> list[Made]:
    """Packets of three connections, with any flags, near and far sequence numbers, and times that jump."""
    at = START_NS
    found = []
    for _ in range(count):
        at += chance.choice((0, 1000, 1_000_000, 30_000_000_000, -5_000_000, -20_000_000_000))
        one, other = ("10.0.0.1", "10.0.0.2") if chance.random() < 0.5 else ("10.0.0.2", "10.0.0.1")
        port = chance.choice((40000, 40001, 40002))
        ports = (port, 443) if one == "10.0.0.1" else (443, port)
        near = chance.choice((0, 0xFFFFFFF0, 5000))
        ip = tcp_ip(
            one,
            other,
            *ports,
            seq=near + chance.randrange(60),
            ack=near + chance.randrange(60),
            flags=chance.choice((2, 18, 16, 16, 16, 24, 17, 4, 20, 0, 63)),
            window=chance.choice((0, 0, 500)),
            payload=b"x" * chance.choice((0, 0, 1, 5, 40)),
            ttl=chance.choice((64, 52, 255)),
            ip_id=chance.randrange(4),
            options=chance.choice((b"", stamps(1, 2), b"\x05\x0a" + bytes(8))),
        )
        found.append(Made(at, ip, chance.random() < 0.5, chance.randrange(2)))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_nonsense_is_told_and_breaks_nothing(seed: int) -> None:
    """Every connection gets an end, a block, a story and a line of JSON; listeners are told the end once."""
    ears: list[Ear] = []

    def listen(connection: Connection) -> Ear:
        ears.append(Ear())
        return ears[-1]

    made = nonsense(Random(seed), 300)
    reports = [
        conclude(one) for one in follow(as_packets(made), listen=listen, limits=Limits(waiting_segments=8))
    ]

    assert sum(report.connection.packets + report.connection.captured_twice for report in reports) == len(
        made
    )
    for report in reports:
        assert all(line.isprintable() for line in block(report))
        assert all(line.text.isprintable() for line in story(report, "capture", START_NS))
        assert json.loads(json.dumps(as_json(report, "a.pcap")))["number"] == report.connection.number
        for side in report.connection.sides:
            assert not side.waiting
            assert side.waiting_bytes == 0
            assert side.missing >= 0
    assert all(ear.over == 1 for ear in ears)


def test_a_sender_that_leaves_holes_everywhere_costs_a_bounded_memory() -> None:
    """Every second segment is missing, for ever, on many connections at once."""
    packets: list[Made] = []
    for number in range(20):
        talk = Talk()
        talk.client_host.port = 40000 + number
        talk.handshake()
        for _ in range(100):
            talk.client(b"x" * 500, lost=True)
            talk.client(b"y" * 500)
        packets += talk.packets
    packets.sort(key=lambda made: made.at_ns)
    most = 0
    connections: list[Connection] = []

    def listen(connection: Connection) -> Ear:
        connections.append(connection)
        return Ear()

    def watched() -> Iterator[Packet]:
        nonlocal most
        for packet in as_packets(packets):
            yield packet
            most = max(most, sum(one.client.waiting_bytes for one in connections))

    limits = Limits(waiting_bytes=20_000, all_waiting_bytes=60_000)
    found = list(follow(watched(), listen=listen, limits=limits))

    assert most <= 61_000
    assert {connection.client.missing for connection in found} == {50_000}


def test_a_flood_of_syns_is_given_out_as_it_comes() -> None:
    """A scan has a million of them; only so many are kept."""
    template = tcp_ip("10.0.0.1", "192.0.2.10", 1, 443, seq=1, flags=2)
    made = [
        Made(START_NS + number * 1000, template[:20] + number.to_bytes(2, "big") + template[22:])
        for number in range(1, 30_001)
    ]
    most = 0
    for count, _ in enumerate(follow(as_packets(made), limits=Limits(open=1000)), 1):
        most = max(most, count)

    assert most == 30_000
