"""What the kernel knows of open TCP connections: `ss -tinoeH`, or `/proc/net/tcp` where there is no ss. Text in, values out.

Field names and their meaning: reference D.2 (Linux `struct tcp_info`). `/proc/net/tcp` has queues, timers and
retransmissions but no times: those are None there, "not measured". Lines that fit nothing are passed over.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_LINE = 4000
"Characters of a line of ss's that are looked at: ten times what it writes."
TIMERS = {0: "", 1: "on", 2: "keepalive", 3: "timewait", 4: "persist"}
"The timers of `/proc/net/tcp`, by ss's names. `on`: waits for an acknowledgement."
STATES = (
    "?", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED", "CLOSE-WAIT",
    "LAST-ACK", "LISTEN", "CLOSING",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LiveSocket:
    """One TCP connection, as it stood when it was looked at. Seconds and bytes; None is "not measured"."""

    state: str
    "As ss says it: `ESTAB`, `CLOSE-WAIT`, `LISTEN`, ..."
    local: str
    "Address without brackets and zone; IPv4 in IPv6 as IPv4."
    local_port: int
    peer: str
    peer_port: int
    "0 where there is none."
    inode: int
    "Ties it to a process (`/proc/PID/fd`); 0 where the kernel gives none."
    unread_bytes: int
    "Received, and not yet read by the program."
    unacked_bytes: int
    "Given to the kernel, and not yet acknowledged by the other end."
    sent_ago_s: float | None = None
    "Since data was last sent."
    received_ago_s: float | None = None
    acked_ago_s: float | None = None
    "Since the other end last acknowledged anything, a keepalive's probe included."
    unacked: int | None = None
    "Segments."
    retransmits: int | None = None
    "How often what is in flight now was sent again."
    retransmitted: int | None = None
    "Segments sent again in its life."
    backoff: int | None = None
    timer: str = ""
    "`on`, `keepalive`, `persist`, `timewait`, or none."
    probes: int | None = None
    "Keepalive probes without an answer, of those sent since the last; None where that timer does not run."
    sent_bytes: int | None = None
    received_bytes: int | None = None

    @property
    def there(self) -> str:
        """The other end: `198.51.100.7:443`."""
        return f"[{self.peer}]:{self.peer_port}" if ":" in self.peer else f"{self.peer}:{self.peer_port}"

    @property
    def loopback(self) -> bool:
        """Whether the other end is on this machine."""
        return self.peer == "::1" or self.peer.startswith("127.")


# ----- ss

_HEAD = re.compile(
    r"(?:tcp\s+)?(?P<state>[A-Z][A-Z0-9-]{3,11})\s+(?P<recv>\d{1,12})\s+(?P<send>\d{1,12})\s+"
    r"(?P<local>\S{1,80}):(?P<lport>\d{1,5}|\*)\s+(?P<peer>\S{1,80}):(?P<pport>\d{1,5}|\*)(?P<rest>.*)"
)
_TIMER = re.compile(r"timer:\((\w{1,12}),[^,()]{0,20},(\d{1,6})\)")
_INODE = re.compile(r"\bino:(\d{1,20})")
_COUNT = re.compile(
    r"(?<![\w:])(lastsnd|lastrcv|lastack|unacked|backoff|bytes_sent|bytes_received):(\d{1,18})"
)
_RETRANS = re.compile(r"(?<![\w:])retrans:(\d{1,9})/(\d{1,9})")


def read_ss(text: str) -> list[LiveSocket]:
    """The connections of `ss -tinoeH` (two lines each: the connection, and what is known of it, indented)."""
    found: list[LiveSocket] = []
    head: re.Match[str] | None = None
    for line in text.splitlines():
        line = line[:LONGEST_LINE]
        if line[:1] in (" ", "\t"):
            if head is not None:
                found.append(_from_ss(head, line))
                head = None
            continue
        if head is not None:
            found.append(_from_ss(head, ""))
        head = _HEAD.match(line)
    if head is not None:
        found.append(_from_ss(head, ""))
    return found


def _from_ss(head: re.Match[str], info: str) -> LiveSocket:
    # A timer may stand in either line; an older ss writes all in one.
    whole = f"{head['rest']} {info}"
    counts = {name: int(value) for name, value in _COUNT.findall(whole)}
    timer, inode, again = _TIMER.search(whole), _INODE.search(whole), _RETRANS.search(whole)
    told = bool(_COUNT.search(whole))
    kind = timer[1] if timer else ""
    # What is zero is left out by ss, so it is zero only where the line was there.
    zero = 0 if told else None
    in_flight = int(again[1]) if again else zero
    if kind == "on" and timer is not None:
        in_flight = max(in_flight or 0, int(timer[2]))
    return LiveSocket(
        state=head["state"],
        local=_address(head["local"]),
        local_port=_port(head["lport"]),
        peer=_address(head["peer"]),
        peer_port=_port(head["pport"]),
        inode=int(inode[1]) if inode else 0,
        unread_bytes=int(head["recv"]),
        unacked_bytes=int(head["send"]),
        sent_ago_s=_seconds(counts.get("lastsnd")),
        received_ago_s=_seconds(counts.get("lastrcv")),
        acked_ago_s=_seconds(counts.get("lastack")),
        unacked=counts.get("unacked", zero),
        retransmits=in_flight,
        retransmitted=int(again[2]) if again else zero,
        backoff=counts.get("backoff", zero),
        timer=kind,
        probes=int(timer[2]) if timer is not None and kind == "keepalive" else None,
        sent_bytes=counts.get("bytes_sent", zero),
        received_bytes=counts.get("bytes_received", zero),
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _port(text: str) -> int:
    return 0 if text == "*" else int(text)


def _address(text: str) -> str:
    """`[::ffff:10.0.0.1%eth0]` and `*` as plain addresses."""
    bare = text.strip("[]").partition("%")[0].strip("[]")
    if bare == "*":
        return "::"
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return bare
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


# ----- /proc/net


def read_proc(text: str) -> list[LiveSocket]:
    """The connections of `/proc/net/tcp` or `/proc/net/tcp6`; what has no process left (time-wait) is left out."""
    return list(_from_proc(text))


def _from_proc(text: str) -> Iterator[LiveSocket]:
    for line in text.splitlines():
        words = line[:400].split()
        if len(words) < 10 or not words[0].endswith(":"):
            continue
        try:
            local, local_port = _hex_address(words[1])
            peer, peer_port = _hex_address(words[2])
            state = int(words[3], 16)
            queued, unread = (int(part, 16) for part in words[4].split(":"))
            timer = TIMERS.get(int(words[5].partition(":")[0], 16), "")
            again, unanswered, inode = int(words[6], 16), int(words[8]), int(words[9])
        except (ValueError, IndexError):
            continue
        if not inode:
            continue
        named = STATES[state] if state < len(STATES) else "?"
        yield LiveSocket(
            state=named,
            local=local,
            local_port=local_port,
            peer=peer,
            peer_port=peer_port,
            inode=inode,
            unread_bytes=0 if named == "LISTEN" else unread,
            unacked_bytes=queued,
            retransmits=again,
            timer=timer,
            probes=unanswered if timer == "keepalive" else None,
        )


def _hex_address(word: str) -> tuple[str, int]:
    """`0100007F:1F90` is 127.0.0.1 and 8080: words of four bytes, each in the machine's (little-endian) order."""
    address, _, port = word.partition(":")
    raw = bytes.fromhex(address)
    if len(raw) not in (4, 16):
        raise ValueError(word)
    turned = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return _address(str(ipaddress.ip_address(turned))), int(port, 16)


# ----- where this machine is


def own_addresses(fib_trie: str, if_inet6: str) -> frozenset[str]:
    """This machine's addresses, from `/proc/net/fib_trie` and `/proc/net/if_inet6`."""
    found, last = set(), ""
    for line in fib_trie.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "|--":
            last = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"] and last:
            found.add(last)
    for line in if_inet6.splitlines():
        words = line.split()
        if len(words) >= 6 and re.fullmatch(r"[0-9a-f]{32}", words[0]):
            found.add(str(ipaddress.IPv6Address(int(words[0], 16))))
    return frozenset(found)


def has_way_out(route: str, ipv6_route: str, to: str = "") -> bool:
    """Whether a packet to that address has a route; to none in particular, whether there is a default route.

    From `/proc/net/route` and `/proc/net/ipv6_route`.
    """
    try:
        address = ipaddress.ip_address(to) if to else None
    except ValueError:
        address = None
    four = address is None or address.version == 4
    six = address is None or address.version == 6
    return (four and _routed4(route, address)) or (six and _routed6(ipv6_route, address))


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _routed4(route: str, address: _Address | None) -> bool:
    for line in route.splitlines()[1:]:
        words = line.split()
        # Up (1), and not one that refuses (0x200).
        if len(words) < 8 or _hex(words[3]) & 0x201 != 1:
            continue
        wanted = 0 if address is None else int.from_bytes(address.packed, "little")
        if wanted & _hex(words[7]) == _hex(words[1]) and (address is not None or _hex(words[7]) == 0):
            return True
    return False


def _routed6(ipv6_route: str, address: _Address | None) -> bool:
    for line in ipv6_route.splitlines():
        words = line.split()
        if len(words) < 10 or words[9] == "lo" or _hex(words[8]) & 0x201 != 1:
            continue
        shift = 128 - min(_hex(words[1]), 128)
        wanted = 0 if address is None else int(address)
        if wanted >> shift == _hex(words[0]) >> shift and (address is not None or shift == 128):
            return True
    return False


def _hex(word: str) -> int:
    try:
        return int(word, 16)
    except ValueError:
        return -1 & 0xFFFFFFFF
