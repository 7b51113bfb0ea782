"""From a packet's bytes to its TCP segment: link layer, IP, TCP header. One pass, no objects but one tuple.

    for segment in segments(capture, seen): ...

This loop runs once per packet of a capture, so the usual case (Ethernet or cooked, IPv4 without options or IPv6
without extension headers, TCP) is one `unpack_from` each, and what is rare is put into functions of its own.
`key` are the bytes of addresses and ports as they stand in the packet: the follower's dictionary needs no more.

Read are Ethernet (VLAN, QinQ, PPPoE and MPLS inside), Linux cooked v1 and v2, BSD loopback, raw IP and Apple's PKTAP.
Tunnels (GRE, VXLAN, IP in IP) are counted as other packets and not opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import TypeAlias

from holdfast.captures.files import INCOMING, LOOPBACK, OUTGOING, Packet
from holdfast.flight.flights import counted

Segment: TypeAlias = tuple[int, bytes, int, int, int, int, int, int, int, bytes, int, int, int, int]
"""(at_ns, key, seq, ack, flags, window, length, ip_id, hops, buffer, options, payload, captured, view).

`key`: source address, destination address, source port, destination port, as in the packet (12 or 36 bytes).
`window` as in the header, not scaled. `length`: payload bytes on the wire; `captured` of them are in the file, at
`buffer[payload:payload + captured]`. `ip_id` is -1 under IPv6, `hops` the TTL or hop limit. TCP's options are
`buffer[options:payload]`. `view` as in `files.Packet`, with the cooked header's interface and direction added.
"""

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
URG = 32

LINK_NAMES = {
    0: "BSD loopback",
    1: "Ethernet",
    12: "raw IP",
    14: "raw IP",
    101: "raw IP",
    105: "802.11",
    108: "OpenBSD loopback",
    113: "Linux cooked",
    119: "802.11 with Prism header",
    127: "802.11 with radiotap header",
    195: "IEEE 802.15.4",
    228: "raw IPv4",
    229: "raw IPv6",
    258: "Apple PKTAP",
    276: "Linux cooked v2",
}
READ_LINKS = frozenset({0, 1, 12, 14, 101, 108, 113, 228, 229, 258, 276})

_ETHERNET_IP4, _ETHERNET_IP6 = b"\x08\x00", b"\x86\xdd"
_LOOPBACK_CARD = b"\x03\x04"
"ARPHRD_LOOPBACK, 772, in a cooked header."
_TAGS = (0x8100, 0x88A8, 0x9100, 0x9200)

# IPv4 without options and TCP, from the IP header's first byte.
_ip4_tcp = Struct(">BxHHHBBxx12sIIHH").unpack_from
_ip4 = Struct(">BxHHHBB").unpack_from
# IPv6 without extension headers and TCP.
_ip6_tcp = Struct(">IHBB36sIIHH").unpack_from
_tcp = Struct(">4sIIHH").unpack_from
_two = Struct(">H").unpack_from


@dataclass(slots=True)
class Seen:
    """What else was in a capture, counted."""

    segments: int = 0
    "TCP segments given out."
    other: int = 0
    "Packets of other protocols."
    fragments: int = 0
    "Fragments of IP packets behind the first, which hold no TCP header."
    headless: int = 0
    "TCP packets of which the file keeps too little to read the TCP header."
    malformed: int = 0
    "Packets whose headers contradict themselves."
    passed_over: int = 0
    "TCP packets of ports that were not asked for."
    links: Counter[int] = field(default_factory=Counter)
    "Packets of link types that cannot be read, by link type."

    def sentences(self) -> list[str]:
        """What a reader of the results should know, in sentences without a full stop."""
        said = [
            f"{counted(count, 'packet')} of a link layer that is not read ({LINK_NAMES.get(link, 'unknown')}, {link})"
            for link, count in self.links.most_common(5)
        ]
        if self.fragments:
            said.append(
                f"{counted(self.fragments, 'fragment')} of IP packets left out: their TCP streams have gaps"
            )
        if self.headless:
            said.append(
                f"of {counted(self.headless, 'packet')} too little was kept to read TCP: capture with -s 128 or more"
            )
        if self.malformed:
            said.append(f"{counted(self.malformed, 'malformed packet')} left out")
        return said


def segments(packets: Iterable[Packet], seen: Seen, port: int | None = None) -> Iterator[Segment]:
    """The TCP segments of `packets`; with `port`, only those from or to it. Counts into `seen`."""
    wanted = b"" if port is None else port.to_bytes(2, "big")
    count = passed = 0
    try:
        for at, link, buffer, start, size, original, view in packets:
            end = start + size
            # -- link layer: where IP begins
            if link == 1:
                kind = buffer[start + 12 : start + 14]
                ip = start + 14
                if kind != _ETHERNET_IP4 and kind != _ETHERNET_IP6:
                    ip = _behind_tags(buffer, start + 12, end)
            elif link == 113:
                if size < 16:
                    seen.malformed += 1
                    continue
                view |= OUTGOING if buffer[start + 1] == 4 else INCOMING
                if buffer[start + 2 : start + 4] == _LOOPBACK_CARD:
                    view |= LOOPBACK
                ip = start + 16
                kind = buffer[start + 14 : start + 16]
                if kind != _ETHERNET_IP4 and kind != _ETHERNET_IP6:
                    ip = _behind_tags(buffer, start + 14, end)
            elif link == 276:
                if size < 20:
                    seen.malformed += 1
                    continue
                number = int.from_bytes(buffer[start + 4 : start + 8], "big")
                view |= number << 16 | (OUTGOING if buffer[start + 10] == 4 else INCOMING)
                if buffer[start + 8 : start + 10] == _LOOPBACK_CARD:
                    view |= LOOPBACK
                ip = start + 20
                kind = buffer[start : start + 2]
                if kind != _ETHERNET_IP4 and kind != _ETHERNET_IP6:
                    ip = _behind_type(buffer, _two(buffer, start)[0], ip, end)
            else:
                ip = _behind_other(link, buffer, start, end)
                if ip == -2:
                    seen.links[link] += 1
                    continue
            # -- IP and TCP
            if ip < 0 or ip >= end:
                seen.other += 1
                continue
            version = buffer[ip]
            if version == 0x45 and ip + 40 <= end:
                _, total, ip_id, fragment, hops, protocol, key, seq, ack, flags, window = _ip4_tcp(buffer, ip)
                if protocol != 6:
                    seen.other += 1
                    continue
                if fragment & 0x3FFF and fragment & 0x1FFF:
                    seen.fragments += 1
                    continue
                options = ip + 40
                total = ip + total if total else start + original
            elif version >> 4 == 6 and ip + 60 <= end and buffer[ip + 6] == 6:
                _, total, _, hops, key, seq, ack, flags, window = _ip6_tcp(buffer, ip)
                ip_id = -1
                options = ip + 60
                total = ip + 40 + total if total else start + original
            else:
                slow = _slowly(buffer, ip, end, start + original, seen)
                if slow is None:
                    continue
                key, seq, ack, flags, window, ip_id, hops, options, total = slow
            if wanted and key[-2:] != wanted and key[-4:-2] != wanted:
                passed += 1
                continue
            payload = options - 20 + (flags >> 12 << 2)
            length = total - payload
            if payload < options or length < 0:
                seen.malformed += 1
                continue
            if payload + length <= end:
                captured = length
            elif payload <= end:
                captured = end - payload
            else:
                captured, payload = 0, end  # cut inside the options
            count += 1
            yield (
                *(at, key, seq, ack, flags & 63, window, length, ip_id, hops),
                *(buffer, options, payload, captured, view),
            )
    finally:
        seen.segments += count
        seen.passed_over += passed


def _behind_tags(buffer: bytes, pos: int, end: int) -> int:
    """Where IP begins behind an EtherType at `pos`; -1 if it is not IP."""
    return _behind_type(buffer, _two(buffer, pos)[0], pos + 2, end) if pos + 2 <= end else -1


def _behind_type(buffer: bytes, kind: int, pos: int, end: int) -> int:
    """Where IP begins, if `kind` is the EtherType of what is at `pos`; -1 if it is not IP."""
    while kind in _TAGS and pos + 4 <= end:
        kind = _two(buffer, pos + 2)[0]
        pos += 4
    if kind in (0x0800, 0x86DD):
        return pos
    if kind == 0x8864 and pos + 8 <= end:  # PPPoE: six bytes of its own, two of PPP
        return pos + 8 if _two(buffer, pos + 6)[0] in (0x0021, 0x0057) else -1
    if kind in (0x8847, 0x8848):  # MPLS: labels of four bytes, the last one marked
        while pos + 4 <= end:
            pos += 4
            if buffer[pos - 2] & 1:
                return pos if pos < end and buffer[pos] >> 4 in (4, 6) else -1
    return -1


def _behind_other(link: int, buffer: bytes, start: int, end: int) -> int:
    """Where IP begins under the rarer link types; -1 if there is none, -2 if the link type cannot be read."""
    if link in (12, 14, 101, 228, 229):
        return start
    if link in (0, 108):
        # An address family in the byte order of whoever captured: IPv6 has five numbers. The version decides.
        at = start + 4
        return at if at < end and buffer[at] >> 4 in (4, 6) else -1
    if link == 258 and start + 12 <= end:
        size = int.from_bytes(buffer[start : start + 4], "little")
        inner = int.from_bytes(buffer[start + 8 : start + 12], "little")
        begin = start + size
        if begin >= end or size < 12 or inner == 258:
            return -1
        return (
            _behind_tags(buffer, begin + 12, end) if inner == 1 else _behind_other(inner, buffer, begin, end)
        )
    return -2


def _slowly(
    buffer: bytes, ip: int, end: int, wire_end: int, seen: Seen
) -> tuple[bytes, int, int, int, int, int, int, int, int] | None:
    """IP with options or extension headers, or cut short. None (and counted) where there is no TCP header."""
    version = buffer[ip] >> 4
    if version == 4 and ip + 20 <= end:
        first, total, ip_id, fragment, hops, protocol = _ip4(buffer, ip)
        size = (first & 15) << 2
        if protocol != 6:
            seen.other += 1
            return None
        if size < 20:
            seen.malformed += 1
            return None
        if fragment & 0x1FFF:
            seen.fragments += 1
            return None
        tcp = ip + size
        addresses = buffer[ip + 12 : ip + 20]
        total = ip + total if total else wire_end
    elif version == 6 and ip + 40 <= end:
        length, protocol, hops = _two(buffer, ip + 4)[0], buffer[ip + 6], buffer[ip + 7]
        ip_id = -1
        tcp = ip + 40
        addresses = buffer[ip + 8 : ip + 40]
        total = tcp + length if length else wire_end
        for _ in range(8):  # a chain of headers has an end, a hostile one might not
            if protocol in (0, 43, 60) and tcp + 2 <= end:
                protocol, tcp = buffer[tcp], tcp + 8 + (buffer[tcp + 1] << 3)
            elif protocol == 51 and tcp + 2 <= end:
                protocol, tcp = buffer[tcp], tcp + 8 + (buffer[tcp + 1] << 2)
            elif protocol == 44 and tcp + 8 <= end:
                if _two(buffer, tcp + 2)[0] & 0xFFF8:
                    seen.fragments += 1
                    return None
                protocol, tcp = buffer[tcp], tcp + 8
            else:
                break
        if protocol != 6:
            seen.other += 1
            return None
    else:
        seen.other += 1
        return None
    if tcp + 20 > end:
        seen.headless += 1
        return None
    ports, seq, ack, flags, window = _tcp(buffer, tcp)
    return addresses + ports, seq, ack, flags, window, ip_id, hops, tcp + 20, total


# ----- what only some packets need


def endpoints(key: bytes) -> tuple[str, int, str, int]:
    """Source address and port, destination address and port of a segment's key."""
    ports = len(key) - 4
    half = ports // 2
    kind = IPv4Address if ports == 8 else IPv6Address
    return (
        str(kind(key[:half])),
        int.from_bytes(key[ports : ports + 2], "big"),
        str(kind(key[half:ports])),
        int.from_bytes(key[ports + 2 :], "big"),
    )


def turned(key: bytes) -> bytes:
    """The key of the other direction."""
    ports = len(key) - 4
    half = ports // 2
    return key[half:ports] + key[:half] + key[ports + 2 :] + key[ports : ports + 2]


@dataclass(frozen=True, slots=True)
class Options:
    """TCP's options, those that matter here; None where they are not there."""

    mss: int | None = None
    window_shift: int | None = None
    sack_permitted: bool = False
    timestamp: tuple[int, int] | None = None
    "Value and echo."
    sacked: tuple[tuple[int, int], ...] = ()
    "Blocks that arrived out of order: from, to (sequence numbers)."


NO_OPTIONS = Options()


def options_of(buffer: bytes, start: int, end: int) -> Options:
    """The options between the TCP header's end and the payload; what is malformed ends the reading."""
    if start >= end:
        return NO_OPTIONS
    mss = shift = stamp = None
    permitted = False
    blocks: tuple[tuple[int, int], ...] = ()
    while start < end:
        kind = buffer[start]
        if kind == 0:
            break
        if kind == 1:
            start += 1
            continue
        size = buffer[start + 1] if start + 1 < end else 0
        if size < 2 or start + size > end:
            break
        value = buffer[start + 2 : start + size]
        if kind == 2 and size == 4:
            mss = int.from_bytes(value, "big")
        elif kind == 3 and size == 3:
            shift = min(value[0], 14)
        elif kind == 4:
            permitted = True
        elif kind == 5:
            numbers = [int.from_bytes(value[i : i + 4], "big") for i in range(0, len(value) - 3, 4)]
            blocks = tuple(zip(numbers[::2], numbers[1::2], strict=False))
        elif kind == 8 and size == 10:
            stamp = int.from_bytes(value[:4], "big"), int.from_bytes(value[4:], "big")
        start += size
    return Options(mss, shift, permitted, stamp, blocks)


def has_timestamp(buffer: bytes, start: int, end: int) -> bool:
    """Whether the timestamp option is there; quick for where it usually stands."""
    if buffer[start : start + 4] == b"\x01\x01\x08\x0a":
        return start + 12 <= end
    return start < end and options_of(buffer, start, end).timestamp is not None
