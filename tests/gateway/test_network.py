"""What the kernel tells about the network, message by message, as rtnetlink(7) writes them."""

from __future__ import annotations

import contextlib
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.gateway.network import Network, questions

PORT = 4242
NEW_LINK, GONE_LINK, NEW_ADDRESS, GONE_ADDRESS, NEW_ROUTE, GONE_ROUTE, NEIGHBOUR = 16, 17, 20, 21, 24, 25, 28
UP, RUNNING, LOOPBACK = 0x1, 0x40, 0x8
WLAN = 3
OURS, GATEWAY = "192.0.2.7", "192.0.2.1"


def message(kind: int, body: bytes, *, flags: int = 0, asked: bool = False) -> bytes:
    """With its header, and padded."""
    sequence, port = (1, PORT) if asked else (1_700_000_000, 999)
    header = struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, port)
    return header + body + b"\0" * (-len(body) % 4)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def link(flags: int, *, index: int = WLAN, name: str = "wlan0", family: int = 0) -> bytes:
    return struct.pack("=BxHiII", family, 1, index, flags, 0) + attribute(3, name.encode() + b"\0")


def address(text: str = OURS, *, index: int = WLAN, scope: int = 0, flags: int = 0) -> bytes:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    packed = socket.inet_pton(family, text)
    head = struct.pack("=BBBBI", family, 24, flags & 0xFF, scope, index)
    return head + attribute(1, packed) + attribute(8, struct.pack("=I", flags))


def route(
    to: str = "0.0.0.0/0",
    *,
    by: int = WLAN,
    via: str = GATEWAY,
    table: int = 254,
    kind: int = 1,
    flags: int = 0,
) -> bytes:
    target, _, length = to.partition("/")
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    head = struct.pack("=BBBBBBBBI", family, int(length), 0, 0, table, 3, 0, kind, flags)
    destination = attribute(1, socket.inet_pton(family, target)) if int(length) else b""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in via else socket.AF_INET, via)
    return head + destination + attribute(4, struct.pack("=I", by)) + attribute(5, packed)


def online() -> Network:
    """A machine with one link, an address and a default route; that was asked for, and is no news."""
    network = Network(PORT)
    for kind, body in ((NEW_LINK, link(UP | RUNNING)), (NEW_ADDRESS, address()), (NEW_ROUTE, route())):
        assert network.heard(message(kind, body, asked=True)) == []
    assert repr(network) == "<Network 1 links, 1 addresses, 1 routes>"
    return network


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        pytest.param(NEW_LINK, link(UP), "wlan0 is down", id="no carrier"),
        pytest.param(GONE_LINK, link(0), "wlan0 is down", id="a link that is gone"),
        pytest.param(GONE_ADDRESS, address(), "wlan0 lost an address", id="an address less"),
        pytest.param(NEW_ADDRESS, address("2001:db8::7"), "wlan0 has a new address", id="an address more"),
        pytest.param(GONE_ROUTE, route(), "the default route by wlan0 is gone", id="no default route"),
        pytest.param(
            NEW_ROUTE, route(via="192.0.2.2"), "the default route by wlan0 is there", id="another gateway"
        ),
        pytest.param(NEW_ROUTE, route("198.51.100.0/24"), "a route by wlan0 is there", id="a VPN's route"),
    ],
)
def test_a_change_is_told_once(kind: int, body: bytes, told: str) -> None:
    """The same message again says nothing new."""
    network = online()
    assert network.heard(message(kind, body)) == [told]
    assert network.heard(message(kind, body)) == []


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param(NEW_LINK, link(UP | RUNNING | 0x1000), id="another flag of the link"),
        pytest.param(NEW_LINK, link(UP | RUNNING, index=9, name="veth1"), id="a link without an address"),
        pytest.param(NEW_LINK, link(UP | LOOPBACK, index=1, name="lo"), id="loopback"),
        pytest.param(NEW_LINK, link(UP, family=7), id="a bridge's port"),
        pytest.param(NEW_ADDRESS, address(), id="a lifetime prolonged"),
        pytest.param(NEW_ADDRESS, address(flags=0x20), id="an address that new connections should not use"),
        pytest.param(NEW_ADDRESS, address("fe80::1", scope=253), id="a link-local address"),
        pytest.param(NEW_ADDRESS, address("127.0.0.2", scope=254), id="an address of the machine's own"),
        pytest.param(
            NEW_ADDRESS, address("2001:db8::8", flags=0x40), id="an address that is still tentative"
        ),
        pytest.param(NEW_ROUTE, route(), id="a route prolonged"),
        pytest.param(NEW_ROUTE, route("192.0.2.7/32", table=255), id="the table of local addresses"),
        pytest.param(NEW_ROUTE, route("fe80::/64", via="fe80::2"), id="a link-local route"),
        pytest.param(NEW_ROUTE, route("198.51.100.9/32", flags=0x200), id="a cached route"),
        pytest.param(NEW_ROUTE, route("198.51.100.0/24", kind=6), id="a black hole"),
        pytest.param(NEIGHBOUR, b"\0" * 12, id="a neighbour"),
    ],
)
def test_noise_is_no_change(kind: int, body: bytes) -> None:
    """What no connection would notice."""
    assert online().heard(message(kind, body)) == []


def test_an_address_counts_when_it_can_be_used() -> None:
    """IPv6 asks first whether anybody else has it."""
    network = online()
    assert network.heard(message(NEW_ADDRESS, address("2001:db8::7", flags=0x40))) == []
    assert network.heard(message(NEW_ADDRESS, address("2001:db8::7"))) == ["wlan0 has a new address"]


def test_routes_go_with_their_link_without_a_word() -> None:
    """So the same route is news when it comes back."""
    network = online()
    assert network.heard(message(NEW_LINK, link(0))) == ["wlan0 is down"]
    assert network.heard(message(NEW_LINK, link(UP | RUNNING))) == ["wlan0 is up"]
    assert network.heard(message(NEW_ROUTE, route())) == ["the default route by wlan0 is there"]


def test_a_route_that_replaces_another_can_be_replaced_back() -> None:
    """The one before is gone, though nobody said so."""
    network, there = online(), ["the default route by wlan0 is there"]
    for gateway in ("192.0.2.2", GATEWAY, "192.0.2.2"):
        assert network.heard(message(NEW_ROUTE, route(via=gateway), flags=0x100)) == there


def test_a_way_out_is_a_default_route_by_a_link_that_is_up() -> None:
    """Gone with the carrier or the route, there again with either; a container's bridge is none."""
    network = online()
    network.heard(message(NEW_LINK, link(UP | RUNNING, index=7, name="docker0")))
    network.heard(message(NEW_ADDRESS, address("172.17.0.1", index=7)))
    found = [network.way_out]
    for kind, body in (
        (NEW_LINK, link(UP)),
        (NEW_LINK, link(UP | RUNNING)),
        (GONE_ROUTE, route()),
        (NEW_ROUTE, route(via="192.0.2.2")),
        (NEW_LINK, link(0)),
    ):
        network.heard(message(kind, body))
        found.append(network.way_out)
    assert found == [True, False, True, False, True, False]


def test_without_any_default_route_a_link_with_an_address_is_a_way_out() -> None:
    """Upstream may stand on the same network."""
    network = Network(PORT)
    assert not network.way_out
    network.heard(message(NEW_LINK, link(UP | RUNNING)))
    network.heard(message(NEW_ADDRESS, address()))
    assert network.way_out
    network.heard(message(NEW_LINK, link(UP)))
    assert not network.way_out


def test_several_messages_come_in_one_piece() -> None:
    """In their order."""
    data = message(GONE_ROUTE, route()) + message(NEIGHBOUR, b"\0" * 9) + message(NEW_LINK, link(UP))
    assert online().heard(data) == ["the default route by wlan0 is gone", "wlan0 is down"]


def test_only_what_is_sent_to_us_answers_us() -> None:
    """Other programs number their requests too, and the news that they cause bears their number."""
    network = online()
    done, mine = struct.pack("=IHHII", 20, 3, 0, 1, PORT) + bytes(4), struct.pack("=IHHII", 16, 3, 0, 1, 77)
    assert network.answers(done) and not network.answers(mine)
    elsewhere = struct.pack("=IHHII", 16 + len(route()), GONE_ROUTE, 0, 1, 77) + route()
    assert network.heard(elsewhere) == ["the default route by wlan0 is gone"]


def test_the_questions_are_whole_messages() -> None:
    """Length in front, and each asks for all there is."""
    for question in questions():
        length, kind, flags, *_ = struct.unpack_from("=IHHII", question)
        assert length == len(question) and kind in (18, 22, 26) and flags == 0x301


@given(st.lists(st.tuples(st.sampled_from([16, 17, 20, 21, 24, 25, 28, 3]), st.binary(max_size=80))))
def test_whatever_comes_is_read_or_refused(pieces: list[tuple[int, bytes]]) -> None:
    """No other exception than the one that is announced."""
    network = online()
    with contextlib.suppress(ValueError):
        changes = network.heard(b"".join(message(*piece) for piece in pieces))
        assert all(isinstance(change, str) for change in changes)
