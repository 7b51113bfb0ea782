"""Captures made by hand: a conversation of two hosts, written as pcap or pcapng.

    talk = Talk()
    talk.handshake()
    talk.client(b"GET / HTTP/1.1\\r\\n\\r\\n", after=0.01)
    talk.server(b"HTTP/1.1 200 OK\\r\\n\\r\\n", after=0.3)
    talk.server(flags="R", after=60)
    path.write_bytes(pcap(talk.packets))

Numbers of both sides are kept as their stacks would; anything can be said otherwise by a keyword. Nothing is drawn.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from holdfast.captures import files

START_NS = 1_700_000_000_000_000_000
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32}
MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class Made:
    """One packet: when, and its bytes from IP on."""

    at_ns: int
    ip: bytes
    outgoing: bool = True
    "Whether it leaves the machine on which it is captured (cooked captures say so)."
    interface: int = 0


def tcp_ip(
    source: str,
    destination: str,
    sport: int,
    dport: int,
    *,
    seq: int,
    ack: int = 0,
    flags: int = 16,
    window: int = 500,
    payload: bytes = b"",
    options: bytes = b"",
    ttl: int = 64,
    ip_id: int = 0,
    ip_options: bytes = b"",
    extension: bytes = b"",
    fragment: int = 0,
) -> bytes:
    """An IP packet with a TCP segment in it. Checksums are 0, as offloading leaves them on the way out."""
    options += b"\x01" * (-len(options) % 4)
    head = struct.pack(
        ">HHIIHHHH",
        *(sport, dport, seq & MASK, ack & MASK, (20 + len(options)) << 10 | flags, window, 0, 0),
    )
    tcp = head + options + payload
    one, other = ip_address(source), ip_address(destination)
    if one.version == 4:
        words = 5 + len(ip_options) // 4
        return (
            struct.pack(
                ">BBHHHBBH4s4s",
                *(0x40 | words, 0, words * 4 + len(tcp), ip_id & 0xFFFF, fragment, ttl, 6, 0),
                *(one.packed, other.packed),
            )
            + ip_options
            + tcp
        )
    body = extension + tcp
    following = 60 if extension else 6
    return struct.pack(">IHBB16s16s", 6 << 28, len(body), following, ttl, one.packed, other.packed) + body


def stamps(value: int, echo: int) -> bytes:
    """The timestamp option as Linux lays it out."""
    return b"\x01\x01\x08\x0a" + struct.pack(">II", value & MASK, echo & MASK)


@dataclass
class Host:
    """One side's numbers."""

    address: str
    port: int
    seq: int
    "The next sequence number."
    ttl: int = 64
    ip_id: int = 1000
    window: int = 500
    isn: int = 0
    acked: int = 0
    "What it has acknowledged."


@dataclass
class Talk:
    """Two hosts and a clock. The client is 10.0.0.2, the server 192.0.2.10:443 and 20 ms away, unless said otherwise."""

    client_host: Host = field(default_factory=lambda: Host("10.0.0.2", 40000, 1000))
    server_host: Host = field(default_factory=lambda: Host("192.0.2.10", 443, 900_000, ttl=52, ip_id=30000))
    rtt_s: float = 0.02
    timestamps: bool = True
    at_ns: int = START_NS
    packets: list[Made] = field(default_factory=list)
    interface: int = 0

    def send(
        self,
        who: Host,
        payload: bytes = b"",
        *,
        flags: str = "A",
        after: float = 0.001,
        seq: int | None = None,
        ack: int | None = None,
        ttl: int | None = None,
        ip_id: int | None = None,
        window: int | None = None,
        options: bytes | None = None,
        lost: bool = False,
        stamp: bool | None = None,
        **more: Any,
    ) -> Made:
        """One packet of `who`, `after` seconds; `lost`: before the capture could see it."""
        other = self.server_host if who is self.client_host else self.client_host
        self.at_ns += round(after * 1e9)
        bits = sum(FLAGS[letter] for letter in flags)
        if payload and "P" not in flags:
            bits |= 8
        own = seq is None
        seq = who.seq if own else seq
        if ip_id is None:
            who.ip_id += 1
        if options is None:
            options = b""
            if "S" in flags:
                options = b"\x02\x04\x05\xb4\x04\x02" + b"\x01\x03\x03\x07"
            if (self.timestamps and "R" not in flags) if stamp is None else stamp:
                options += stamps(self.at_ns // 1_000_000, 7)
        ip = tcp_ip(
            who.address,
            other.address,
            who.port,
            other.port,
            seq=seq or 0,
            ack=(other.seq if ack is None else ack) if "A" in flags else 0,
            flags=bits,
            window=who.window if window is None else window,
            payload=payload,
            options=options,
            ttl=who.ttl if ttl is None else ttl,
            ip_id=who.ip_id if ip_id is None else ip_id,
            **more,
        )
        if own:
            who.seq = who.seq + len(payload) + ("S" in flags) + ("F" in flags) & MASK
        made = Made(self.at_ns, ip, who is self.client_host, self.interface)
        if not lost:
            self.packets.append(made)
        return made

    def client(self, payload: bytes = b"", **how: Any) -> Made:
        return self.send(self.client_host, payload, **how)

    def server(self, payload: bytes = b"", **how: Any) -> Made:
        return self.send(self.server_host, payload, **how)

    def handshake(self) -> None:
        """SYN, SYN+ACK, ACK, seen near the client."""
        self.client(flags="S", after=0)
        self.server(flags="SA", after=self.rtt_s, ip_id=0)
        self.client(after=0.0001)

    def ask_and_answer(self, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\nhello") -> None:
        """A request and its answer, acknowledged."""
        self.client(b"POST /v1/messages HTTP/1.1\r\n\r\n", after=0.001)
        self.server(after=self.rtt_s)
        self.server(answer, after=0.3)
        self.client(after=0.0001)

    def close(self) -> None:
        """Both close in order, the client first."""
        self.client(flags="FA")
        self.server(flags="FA", after=self.rtt_s)
        self.client(after=0.0001)

    def again(self, made: Made, after: float = 0.0, **how: Any) -> Made:
        """The same packet once more in the capture."""
        self.at_ns += round(after * 1e9)
        copy = Made(
            self.at_ns, made.ip, how.get("outgoing", made.outgoing), how.get("interface", made.interface)
        )
        self.packets.append(copy)
        return copy


# ----- link layers


def ethernet(made: Made, tags: bytes = b"") -> bytes:
    kind = b"\x08\x00" if made.ip[0] >> 4 == 4 else b"\x86\xdd"
    return b"\x02" * 6 + b"\x04" * 6 + tags + kind + made.ip


def cooked(made: Made) -> bytes:
    kind = 0x0800 if made.ip[0] >> 4 == 4 else 0x86DD
    return struct.pack(">HHH8sH", 4 if made.outgoing else 0, 1, 6, b"\x02" * 8, kind) + made.ip


def cooked2(made: Made) -> bytes:
    kind = 0x0800 if made.ip[0] >> 4 == 4 else 0x86DD
    way = 4 if made.outgoing else 0
    return struct.pack(">HHIHBB8s", kind, 0, made.interface + 1, 1, way, 6, b"\x02" * 8) + made.ip


def loopback(made: Made) -> bytes:
    return (2 if made.ip[0] >> 4 == 4 else 30).to_bytes(4, "little") + made.ip


def raw(made: Made) -> bytes:
    return made.ip


FRAMES = {1: ethernet, 113: cooked, 276: cooked2, 0: loopback, 101: raw}


# ----- files


def pcap(
    packets: Iterable[Made],
    *,
    link: int = 1,
    order: str = "<",
    nanoseconds: bool = True,
    snaplen: int = 262144,
) -> bytes:
    """A pcap file."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link)]
    tick = 1 if nanoseconds else 1000
    for made in packets:
        frame = FRAMES[link](made)
        seconds, rest = divmod(made.at_ns, 1_000_000_000)
        kept = frame[:snaplen]
        out.append(struct.pack(order + "IIII", seconds, rest // tick, len(kept), len(frame)) + kept)
    return b"".join(out)


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + b"\x00" * (-len(value) % 4)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += b"\x00" * (-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str = "<", *, link: int = 1, snaplen: int = 0, options: bytes = b"") -> bytes:
    return block(order, 1, struct.pack(order + "HHI", link, 0, snaplen) + options)


def enhanced(
    order: str, number: int, ticks: int, frame: bytes, *, original: int | None = None, options: bytes = b""
) -> bytes:
    head = struct.pack(
        order + "IIIII",
        number,
        ticks >> 32,
        ticks & MASK,
        len(frame),
        len(frame) if original is None else original,
    )
    return block(order, 6, head + frame + b"\x00" * (-len(frame) % 4) + options)


def pcapng(packets: Iterable[Made], *, link: int = 1, order: str = "<", interfaces: int = 1) -> bytes:
    """A pcapng file with ns clocks."""
    clock = option(order, 9, b"\x09") + option(order, 0, b"")
    out = [section(order), *(interface(order, link=link, options=clock) for _ in range(interfaces))]
    out += [enhanced(order, made.interface, made.at_ns, FRAMES[link](made)) for made in packets]
    return b"".join(out)


# ----- reading back


def as_packets(made: Iterable[Made]) -> Iterator[files.Packet]:
    """Packets as a file's reader would give them: raw IP, with interface and direction."""
    for one in made:
        view = one.interface << 2 | (files.OUTGOING if one.outgoing else files.INCOMING)
        yield one.at_ns, 101, one.ip, 0, len(one.ip), len(one.ip), view
