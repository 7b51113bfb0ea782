"""Which TCP sockets a process has, from what the system says of it. Values in, values out.

Linux: `/proc/PID/net/tcp` and `tcp6` beside the inodes of its descriptors. macOS: `lsof -nP -a -p PID -iTCP -FnT`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Sockets:
    """Listening ports, and the connections that stand: local and remote address."""

    listening: frozenset[int]
    connections: tuple[tuple[Address, Address], ...]

    @property
    def upstream(self) -> tuple[tuple[Address, Address], ...]:
        """Those that the process opened itself."""
        return tuple(pair for pair in self.connections if pair[0][1] not in self.listening)


_LISTEN, _ESTABLISHED = "0A", "01"


def from_proc(tables: Iterable[str], inodes: frozenset[str]) -> Sockets:
    """From the texts of `/proc/PID/net/tcp` and `tcp6`, and the inodes of a process's sockets."""
    listening: set[int] = set()
    connections: list[tuple[Address, Address]] = []
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            if len(fields) < 10 or fields[9] not in inodes:
                continue
            local, remote = _hex(fields[1]), _hex(fields[2])
            if fields[3] == _LISTEN:
                listening.add(local[1])
            elif fields[3] == _ESTABLISHED:
                connections.append((local, remote))
    return Sockets(frozenset(listening), tuple(connections))


def _hex(field: str) -> Address:
    """`0100007F:1F90`: 32-bit words in this machine's byte order (little endian wherever Linux runs us)."""
    words, _, port = field.partition(":")
    raw = b"".join(bytes.fromhex(words[i : i + 8])[::-1] for i in range(0, len(words), 8))
    if len(raw) == 16 and raw.startswith(b"\0" * 10 + b"\xff\xff"):
        raw = raw[12:]
    return str(ip_address(raw)), int(port, 16)


_ENDS = re.compile(r"n(?P<local>\S+?)(?:->(?P<remote>\S+))?\Z")


def from_lsof(text: str) -> Sockets:
    """From `lsof -nP -a -p PID -iTCP -FnT`: lines `nADDRESS:PORT->ADDRESS:PORT` and `TST=LISTEN`."""
    listening: set[int] = set()
    connections: list[tuple[Address, Address]] = []
    ends: tuple[Address | None, Address | None] = (None, None)
    for line in text.splitlines():
        if found := _ENDS.match(line):
            ends = (_split(found["local"]), _split(found["remote"]))
        elif line == "TST=LISTEN" and ends[0] is not None:
            listening.add(ends[0][1])
        elif line == "TST=ESTABLISHED" and ends[0] is not None and ends[1] is not None:
            connections.append((ends[0], ends[1]))
    return Sockets(frozenset(listening), tuple(connections))


def _split(text: str | None) -> Address | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdigit() else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be captured."""

    serving: frozenset[int]
    "Ports of gateways, and whatever else answers: what goes there are requests."
    remotes: frozenset[Address] = frozenset()
    "Upstream's addresses and ports."

    @property
    def server_ports(self) -> frozenset[int]:
        """Ports where requests go to."""
        return self.serving | {port for _, port in self.remotes}

    @property
    def filter(self) -> str:
        """In the language of libpcap; addresses and numbers only, so nothing of it can be mistaken."""
        parts = [f"port {port}" for port in sorted(self.serving)]
        parts += [f"(host {host} and port {port})" for host, port in sorted(self.remotes)]
        return f"tcp and ({' or '.join(parts)})"
