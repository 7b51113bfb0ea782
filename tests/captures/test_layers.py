"""From a frame to its TCP segment, under every link layer."""

from __future__ import annotations

import struct

import pytest

from holdfast.captures import files
from holdfast.captures.layers import Seen, Segment, endpoints, options_of, segments, turned
from tests.captures import packets as make

IP = make.tcp_ip(
    "10.0.0.2", "192.0.2.10", 40000, 443, seq=7, ack=9, flags=24, payload=b"hello", ttl=61, ip_id=5
)
IP6 = make.tcp_ip("2001:db8::2", "2001:db8::10", 40000, 443, seq=7, ack=9, flags=24, payload=b"hello", ttl=61)


def read(
    frame: bytes, link: int = 1, *, port: int | None = None, original: int = 0
) -> tuple[list[Segment], Seen]:
    seen = Seen()
    # Other packets' bytes before and behind, as in a read buffer.
    buffer = b"\xee" * 5 + frame + b"\xee" * 64
    packet = 1, link, buffer, 5, len(frame), original or len(frame), 0
    return list(segments([packet], seen, port)), seen


def payload(segment: Segment) -> bytes:
    return segment[9][segment[11] : segment[11] + segment[12]]


def the_one(frame: bytes, link: int = 1) -> Segment:
    found, seen = read(frame, link)
    assert len(found) == 1, seen
    return found[0]


@pytest.mark.parametrize("ip", [IP, IP6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("link", [0, 1, 101, 113, 276])
def test_link_layers(ip: bytes, link: int) -> None:
    """The same segment comes out, whatever it was wrapped in."""
    segment = the_one(make.FRAMES[link](make.Made(1, ip)), link)

    _, key, seq, ack, flags, window, length, ip_id, hops, *_ = segment
    assert (seq, ack, flags, window, length, hops) == (7, 9, 24, 500, 5, 61)
    assert ip_id == (5 if ip is IP else -1)
    assert payload(segment) == b"hello"
    assert endpoints(key)[1::2] == (40000, 443)
    assert endpoints(turned(key)) == (*endpoints(key)[2:], *endpoints(key)[:2])


@pytest.mark.parametrize(
    "tags",
    [
        b"\x81\x00\x00\x05",
        b"\x88\xa8\x00\x05\x81\x00\x00\x07",
        b"\x81\x00\x00\x01\x81\x00\x00\x02\x81\x00\x00\x03",
    ],
    ids=["VLAN", "QinQ", "three"],
)
def test_vlan_tags_are_looked_behind(tags: bytes) -> None:
    """One tag, two, or more."""
    assert payload(the_one(make.ethernet(make.Made(1, IP), tags))) == b"hello"


def test_pppoe_and_mpls_are_looked_behind() -> None:
    """What a DSL line or a carrier's tap captures."""
    addresses = b"\x02" * 12
    pppoe = addresses + b"\x88\x64" + b"\x11\x00\x00\x01\x00\x00" + b"\x00\x21" + IP
    mpls = addresses + b"\x88\x47" + b"\x00\x01\x00\x40" + b"\x00\x02\x01\x40" + IP

    assert payload(the_one(pppoe)) == b"hello"
    assert payload(the_one(mpls)) == b"hello"


def test_cooked_captures_tell_the_way() -> None:
    """`-i any` says whether a packet came in or went out; version 2 also on which interface."""
    going, coming = make.Made(1, IP, outgoing=True), make.Made(1, IP, outgoing=False, interface=4)

    assert the_one(make.cooked(going), 113)[13] & 3 == files.OUTGOING
    assert the_one(make.cooked(coming), 113)[13] & 3 == files.INCOMING
    assert the_one(make.cooked2(coming), 276)[13] == 5 << 16 | files.INCOMING


def test_apples_pktap_is_looked_behind() -> None:
    """macOS's `tcpdump -i any` writes it."""
    frame = struct.pack("<III", 108, 1, 101) + bytes(96) + IP

    assert payload(the_one(frame, 258)) == b"hello"


def test_ip_options_and_extension_headers() -> None:
    """The slow road leads to the same place."""
    with_options = make.tcp_ip(
        "10.0.0.2", "192.0.2.10", 1, 2, seq=7, payload=b"hello", ip_options=b"\x94\x04\x00\x00"
    )
    extension = b"\x06\x00" + b"\x01\x04" + bytes(4)
    with_extension = make.tcp_ip(
        "2001:db8::2", "2001:db8::10", 1, 2, seq=7, payload=b"hello", extension=extension
    )

    assert payload(the_one(with_options, 101)) == b"hello"
    assert payload(the_one(with_extension, 101)) == b"hello"


def test_ethernets_padding_is_no_payload() -> None:
    """A bare acknowledgement is padded to 60 bytes on the wire."""
    bare = make.tcp_ip("10.0.0.2", "192.0.2.10", 1, 2, seq=7)

    assert the_one(make.ethernet(make.Made(1, bare)) + bytes(6))[6] == 0


def test_a_length_that_offloading_left_empty_is_the_frames() -> None:
    """Linux captures packets above 64 kB with an IP length of 0."""
    broken = IP[:2] + b"\x00\x00" + IP[4:]

    assert payload(the_one(make.ethernet(make.Made(1, broken)))) == b"hello"


def test_a_packet_kept_in_part_has_its_whole_length() -> None:
    """54 bytes of each packet are enough to follow a connection."""
    frame = make.ethernet(make.Made(1, IP))

    (found,), _ = read(frame[:56], original=len(frame))

    assert (found[6], found[12], payload(found)) == (5, 2, b"he")


def test_what_is_not_tcp_is_counted() -> None:
    """Other protocols, fragments, cut and malformed headers, and link layers that are not read."""
    frame = make.ethernet(make.Made(1, IP))
    udp = frame[:23] + b"\x11" + frame[24:]
    arp = frame[:12] + b"\x08\x06" + frame[14:]
    fragment = make.ethernet(make.Made(1, make.tcp_ip("10.0.0.2", "192.0.2.10", 1, 2, seq=7, fragment=185)))
    backwards = frame[:46] + b"\x10" + frame[47:]  # a TCP header of four bytes

    assert read(udp)[1].other == 1
    assert read(arp)[1].other == 1
    assert read(fragment)[1].fragments == 1
    assert read(frame[:40])[1].headless == 1
    assert read(backwards)[1].malformed == 1
    seen = read(frame, 127)[1]
    assert seen.sentences() == [
        "1 packet of a link layer that is not read (802.11 with radiotap header, 127)"
    ]


def test_only_the_port_that_was_asked_for() -> None:
    """From it or to it."""
    frame = make.ethernet(make.Made(1, IP))

    assert len(read(frame, port=443)[0]) == 1
    assert len(read(frame, port=40000)[0]) == 1
    found, seen = read(frame, port=80)
    assert (found, seen.passed_over) == ([], 1)


def test_tcp_options() -> None:
    """Those that the judgement needs; what is malformed ends the reading, not the program."""
    all_of_them = (
        b"\x02\x04\x05\xb4\x04\x02\x01\x03\x03\x07"
        + make.stamps(5, 6)
        + b"\x05\x0a\x00\x00\x00\x01\x00\x00\x00\x09"
    )

    found = options_of(all_of_them, 0, len(all_of_them))

    assert (found.mss, found.window_shift, found.sack_permitted) == (1460, 7, True)
    assert (found.timestamp, found.sacked) == ((5, 6), ((1, 9),))
    for end in range(len(all_of_them)):
        options_of(all_of_them, 0, end)
    assert options_of(b"\x08\x00" * 4, 0, 8).timestamp is None


def test_no_bytes_break_it() -> None:
    """Each byte of a packet set to each of a few values, and every length: something comes out, or is counted."""
    for link in (0, 1, 101, 113, 276, 258):
        frame = make.FRAMES.get(link, make.ethernet)(make.Made(1, IP6 if link == 101 else IP))
        for at in range(len(frame)):
            for value in (0, 1, 0x45, 0x60, 0x81, 0xFF):
                found, _ = read(frame[:at] + bytes([value]) + frame[at + 1 :], link)
                for segment in found:
                    assert 0 <= segment[12] <= segment[6]
                    assert len(payload(segment)) == segment[12]
        for end in range(len(frame)):
            read(frame[:end], link)
