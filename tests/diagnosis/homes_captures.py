"""What a ring of packets on the client's machine kept: the tries that broke, and some of those that did not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from tests.captures.packets import Host, Made, Talk, pcap
from tests.diagnosis.homes import Exchange, Home, how

NO_PACKETS = frozenset({"dns", "unreach"})
BROKEN, WELL = 150, 60
"Connections, at most."
SEGMENT = b"\x17\x03\x03" + bytes(1397)
ANSWER = b"\x17\x03\x03" + bytes(600)
NEAR = {4: "10.0.0.2", 6: "2001:db8:1::2"}
FAR = {4: "203.0.113.7", 6: "2001:db8:7::a"}


def write(home: Home, path: Path) -> None:
    """Write the capture."""
    packets = [made for one, number in kept(home) for made in connection(one, number)]
    path.write_bytes(pcap(sorted(packets, key=lambda made: made.at_ns)))


def kept(home: Home) -> Iterator[tuple[Exchange, int]]:
    """The exchanges that are in it, each with its number."""
    draw = random.Random(f"capture {home.seed}")
    numbered = [(one, number) for number, one in enumerate(home.exchanges)]
    broken = [pair for pair in numbered if pair[0].blow is not None and how(pair[0].blow) not in NO_PACKETS]
    well = [pair for pair in numbered if pair[0].blow is None]
    yield from draw.sample(broken, min(BROKEN, len(broken)))
    yield from draw.sample(well, min(WELL, len(well)))


def connection(one: Exchange, number: int) -> list[Made]:
    """One try's own connection, packet by packet."""
    ask, blow = one.ask, one.blow
    family = ask.road.family
    talk = Talk(
        client_host=Host(NEAR[family], 20_000 + number % 40_000, 1000),
        server_host=Host(FAR[family], 443, 900_000, ttl=52, ip_id=30_000),
        at_ns=ask.at_ms * 1_000_000 - 60_000_000,
    )
    end_ns = one.ended_ms * 1_000_000
    way = how(blow) if blow is not None else "left" if one.cancelled else ""

    def until(at_ns: int) -> float:
        return max((at_ns - talk.at_ns) / 1e9, 0.0005)

    if way == "refused":
        talk.client(flags="S", after=0)
        talk.server(flags="RA", after=talk.rtt_s, seq=0, window=0)
        return talk.packets
    talk.handshake()
    if blow is not None and blow.sending and way == "unacked":
        talk.client(SEGMENT[:517])
        talk.server(SEGMENT[:900], after=talk.rtt_s)
        talk.client()
        if not blow.hole:  # some of it gets through, and much of that at the second time only
            for step in range(6):
                made = talk.client(SEGMENT)
                if step % 2:
                    talk.again(made, after=0.3)
                talk.server(after=talk.rtt_s)
        _again(talk, talk.client(SEGMENT), end_ns)
        return talk.packets
    for _ in range(6):
        talk.client(SEGMENT)
    talk.server(after=talk.rtt_s)
    silent_ns = end_ns if ask.road.buffered else ask.at_ms * 1_000_000 + round(ask.silent_s * 1e9)
    if silent_ns < end_ns - 50_000_000 and way != "status":
        steps = 6
        talk.server(ANSWER, after=until(silent_ns))
        talk.client(after=0.0002)
        for step in range(1, steps):
            talk.server(ANSWER, after=until(silent_ns + (end_ns - 30_000_000 - silent_ns) * step // steps))
            talk.client(after=0.0002)
    if way in ("", "status"):
        talk.server(ANSWER, after=until(end_ns - 20_000_000))
        talk.client(after=0.0002)
        talk.close()
    elif way == "rst":
        talk.server(flags="RA", stamp=True, after=until(end_ns - 1_000_000))
    elif way in ("fin", "goaway", "rst_stream"):
        talk.server(flags="FA", after=until(end_ns - 1_000_000))
        talk.client(flags="FA", after=0.0005)
        talk.server(after=talk.rtt_s)
    elif way == "forged":
        talk.client(SEGMENT[:40], after=until(end_ns - 4_000_000))
        talk.server(flags="R", seq=talk.server_host.seq, window=0, ip_id=0, ttl=62, after=0.002)
    elif way == "unacked":
        _again(talk, talk.client(SEGMENT[:517], after=until(end_ns - 40_000_000_000)), end_ns)
    elif way == "left":
        talk.client(flags="FA", after=until(end_ns))
        talk.server(flags="FA", after=talk.rtt_s)
        talk.client(after=0.0005)
    return talk.packets


def _again(talk: Talk, made: Made, end_ns: int) -> None:
    """Sent again and again, with growing waits, and never acknowledged."""
    wait = 0.3
    while talk.at_ns + wait * 1e9 < end_ns:
        talk.again(made, after=wait)
        wait *= 2
