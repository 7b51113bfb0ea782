"""What Linux tells about links, addresses and routes (rtnetlink), and which of it matters to connections.

The kernel says much that is no change: statistics and wireless events of a link, an address or a default route whose
lifetime the router prolongs every few minutes, neighbours, the links and link-local addresses of other people's
containers. So this keeps what is known and compares. What is known at the start is asked for (`questions`);
the answers to that are news to nobody.

Only what connections could use counts: addresses that are neither the machine's own nor link-local, routes of the
main table, and links that have such an address or route. Message formats: rtnetlink(7), linux/rtnetlink.h.
Nothing here waits: bytes in, sentences out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

LINK, ADDRESS4, ROUTE4, ADDRESS6, ROUTE6 = 0x1, 0x10, 0x40, 0x100, 0x400
GROUPS: Final = LINK | ADDRESS4 | ROUTE4 | ADDRESS6 | ROUTE6
"The multicast groups to join (RTMGRP_*)."

_NEW_LINK, _GONE_LINK, _NEW_ADDRESS, _GONE_ADDRESS, _NEW_ROUTE, _GONE_ROUTE = 16, 17, 20, 21, 24, 25
_GET_LINK, _GET_ADDRESS, _GET_ROUTE = 18, 22, 26
_ASKED: Final = 1
"Marks our questions and, together with our port, the answers to them (nlmsg_seq)."

_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")

_UP, _LOOPBACK, _RUNNING = 0x1, 0x8, 0x40
_TENTATIVE, _FAILED = 0x40, 0x08
_REPLACE = 0x100
_SCOPE_LINK = 253
_MAIN_TABLE, _UNICAST, _CACHED = 254, 1, 0x200
_IFLA_IFNAME, _IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 3, 1, 2, 8
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH, _RTA_TABLE = 1, 4, 5, 6, 9, 15
_AF_INET, _AF_INET6 = 2, 10
_SEVERAL: Final = 0
"In the place of an interface's number: the route has several."


def questions() -> list[bytes]:
    """Three requests, for all links, addresses and routes: send each when the one before is answered."""
    flags = 0x1 | 0x300  # NLM_F_REQUEST | NLM_F_DUMP
    return [
        _HEADER.pack(_HEADER.size + size, kind, flags, _ASKED, 0) + bytes(size)
        for kind, size in (
            (_GET_LINK, _IFINFO.size),
            (_GET_ADDRESS, _IFADDR.size),
            (_GET_ROUTE, _ROUTE.size),
        )
    ]


class Network:
    """The links, addresses and routes of this machine, as far as connections can use them."""

    __slots__ = ("_addresses", "_had_default", "_links", "_names", "_port", "_routes")

    def __init__(self, port: int) -> None:
        """`port` is the socket's own (`getsockname()[0]`): what is sent to it is an answer."""
        self._port = port
        self._names: dict[int, str] = {}
        self._links: dict[int, bool] = {}
        "Whether it is up and has a carrier; loopback is not in it."
        self._addresses: dict[tuple[int, bytes], bool] = {}
        "Interface and address -> whether it can be used."
        self._routes: dict[tuple[object, ...], int] = {}
        "What makes a route (its family and the length of its prefix come first) -> its interface."
        self._had_default = False

    def __repr__(self) -> str:
        return f"<Network {len(self._links)} links, {len(self._addresses)} addresses, {len(self._routes)} routes>"

    @property
    def way_out(self) -> bool:
        """Whether there is a default route by a link that is up.

        On a machine that has never had one: whether a link is up that has an address.
        """
        up = {index for index, is_up in self._links.items() if is_up}
        defaults = {index for (_, length, *_), index in self._routes.items() if not length}
        if defaults or self._had_default:
            return bool(defaults & {*up, _SEVERAL})
        return any(index in up for index, _ in self._addresses)

    def heard(self, data: bytes) -> list[str]:
        """Take one datagram of the kernel's; return what changed, a clause each: `wlan0 is down`.

        Raises `ValueError` where it is not what rtnetlink(7) describes.
        """
        changes = []
        for kind, flags, asked, body in _messages(data, self._port):
            change = self._read(kind, flags, body)
            if change is not None and not asked:
                changes.append(change)
        return changes

    def answers(self, data: bytes) -> bool:
        """Whether a question of ours is answered to the end with this, or refused."""
        done, refused = 3, 2
        return any(asked and kind in (done, refused) for kind, _, asked, _ in _messages(data, self._port))

    def _read(self, kind: int, flags: int, body: bytes) -> str | None:
        try:
            if kind in (_NEW_LINK, _GONE_LINK):
                return self._link(kind == _NEW_LINK, body)
            if kind in (_NEW_ADDRESS, _GONE_ADDRESS):
                return self._address(kind == _NEW_ADDRESS, body)
            if kind in (_NEW_ROUTE, _GONE_ROUTE):
                return self._route(kind == _NEW_ROUTE, bool(flags & _REPLACE), body)
        except struct.error as error:
            raise ValueError(f"a message of kind {kind} is too short: {error}") from None
        return None

    def _link(self, new: bool, body: bytes) -> str | None:
        family, _, index, flags, _ = _IFINFO.unpack_from(body)
        if family or flags & _LOOPBACK:
            return None  # a bridge's ports are told as links of a family of their own
        name = dict(_attributes(body, _IFINFO.size)).get(_IFLA_IFNAME, b"").rstrip(b"\0")
        self._names[index] = name.decode(errors="replace") or f"link {index}"
        before = self._links.pop(index, False)
        up = new and flags & (_UP | _RUNNING) == _UP | _RUNNING
        if new:
            self._links[index] = up
        # A container's end of a wire comes and goes without ever having had an address.
        used = any(where == index for where, _ in self._addresses) or index in self._routes.values()
        if not new or not flags & _UP:
            self._forget_routes(index)
        if up == before or not used:
            return None
        return f"{self._names[index]} is {'up' if up else 'down'}"

    def _forget_routes(self, index: int, family: int | None = None) -> None:
        """Forget what goes with a link or an address: of that the kernel says nothing."""
        gone = [r for r, by in self._routes.items() if by == index and family in (None, r[0])]
        for route in gone:
            del self._routes[route]

    def _address(self, new: bool, body: bytes) -> str | None:
        family, _, flags, scope, index = _IFADDR.unpack_from(body)
        if family not in (_AF_INET, _AF_INET6) or scope >= _SCOPE_LINK:
            return None
        attributes = dict(_attributes(body, _IFADDR.size))
        address = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS, b"")
        if _IFA_FLAGS in attributes:
            (flags,) = struct.unpack("=I", attributes[_IFA_FLAGS])
        usable = new and not flags & (_TENTATIVE | _FAILED)
        before = self._addresses.pop((index, address), False)
        if new:
            self._addresses[index, address] = usable
        else:
            self._forget_routes(index, family)
        if usable == before:
            return None
        return f"{self._name(index)} {'has a new address' if usable else 'lost an address'}"

    def _route(self, new: bool, replaces: bool, body: bytes) -> str | None:
        family, length, _, _, table, _, _, kind, flags = _ROUTE.unpack_from(body)
        attributes = dict(_attributes(body, _ROUTE.size))
        if _RTA_TABLE in attributes:
            (table,) = struct.unpack("=I", attributes[_RTA_TABLE])
        if family not in (_AF_INET, _AF_INET6) or table != _MAIN_TABLE or kind != _UNICAST or flags & _CACHED:
            return None
        target = attributes.get(_RTA_DST, b"")
        if family == _AF_INET6 and target[:1] in (b"\xfe", b"\xff"):
            return None  # link-local and multicast
        hops = attributes.get(_RTA_MULTIPATH, b"")
        index = struct.unpack("=I", attributes[_RTA_OIF])[0] if _RTA_OIF in attributes else _SEVERAL
        place = (family, length, target, attributes.get(_RTA_PRIORITY))
        route = (*place, index, hops, attributes.get(_RTA_GATEWAY))
        if new is (route in self._routes):
            return None
        if new and replaces:
            self._routes = {r: by for r, by in self._routes.items() if r[: len(place)] != place}
        if new:
            self._routes[route] = index
            self._had_default = self._had_default or not length
        else:
            del self._routes[route]
        what = "a route" if length else "the default route"
        return f"{what} by {self._name(index)} {'is there' if new else 'is gone'}"

    def _name(self, index: int) -> str:
        return self._names.get(index, "several links" if index == _SEVERAL else f"link {index}")


def _messages(data: bytes, port: int) -> Iterator[tuple[int, int, bool, bytes]]:
    """Kind, flags, whether it answers a question of ours, and body."""
    at = 0
    while len(data) - at >= _HEADER.size:
        length, kind, flags, sequence, sent_to = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= length <= len(data) - at:
            raise ValueError(f"a message of {length} bytes where there are {len(data) - at}")
        # News that another process caused bear that one's port and number.
        yield kind, flags, (sequence, sent_to) == (_ASKED, port), data[at + _HEADER.size : at + length]
        at += _aligned(length)


def _attributes(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while len(body) - at >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            raise ValueError(f"an attribute of {length} bytes")
        yield kind & 0x3FFF, body[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
