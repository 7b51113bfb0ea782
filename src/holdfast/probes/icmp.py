"""What needs no rights and is not TCP: an echo where datagram ICMP is allowed, and datagrams whose hops answer.

Linux tells an ordinary socket which router complained about its datagram (IP_RECVERR and the error queue, ip(7)); that is
all that a trace needs. Echoes over a datagram socket are allowed where `net.ipv4.ping_group_range` says so.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import sys
from dataclasses import dataclass

from holdfast.probes.net import TICK_S, Stop, now_s

LINUX = sys.platform == "linux"
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_MSG_ERRQUEUE = 0x2000
_ERROR = struct.Struct("=IBBBBII")
"struct sock_extended_err: errno, origin, type, code, pad, info, data; the offender's address follows."
FIRST_PORT = 33434
"Where traceroute has always sent: nobody listens there."


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of the way."""

    ttl: int
    ip: str | None
    "Who complained; None where nobody did."
    took_s: float | None
    reached: bool = False


def hop(ip: str, ttl: int, patience_s: float, stop: Stop) -> Hop:
    """Send one datagram that may go `ttl` hops. Raises `OSError` where the system does not let us."""
    six = ":" in ip
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        began = now_s()
        sock.connect((ip, FIRST_PORT + ttl))
        sock.send(b"holdfast probe path")
        while (left := began + patience_s - now_s()) > 0 and not stop():
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLERR)
            if not poll.poll(min(left, TICK_S) * 1000):
                continue
            try:
                _, control, _, _ = sock.recvmsg(512, 512, _MSG_ERRQUEUE)
            except BlockingIOError:
                continue
            if (found := _complaint(control)) is not None:
                return Hop(ttl, found[0], now_s() - began, found[1])
        return Hop(ttl, None, None)


def _complaint(control: list[tuple[int, int, bytes]]) -> tuple[str | None, bool] | None:
    """Who complained, and whether it was the goal itself (port unreachable)."""
    for level, kind, data in control:
        if (level, kind) not in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
            continue
        if len(data) < _ERROR.size + 8:
            continue
        code, _, _, _, _, _, _ = _ERROR.unpack_from(data)
        place = data[_ERROR.size :]
        family = struct.unpack_from("=H", place)[0]
        if family == socket.AF_INET:
            ip: str | None = socket.inet_ntop(socket.AF_INET, place[4:8])
        elif family == socket.AF_INET6 and len(place) >= 24:
            ip = socket.inet_ntop(socket.AF_INET6, place[8:24])
        else:
            ip = None
        return ip, code == errno.ECONNREFUSED
    return None


def may_echo(ip: str) -> bool:
    """Whether this user may send echoes over a datagram socket."""
    try:
        _echo_socket(ip).close()
    except OSError:
        return False
    return True


def _echo_socket(ip: str) -> socket.socket:
    if ":" in ip:
        return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6)
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)


def echo(ip: str, number: int, patience_s: float, stop: Stop) -> float | None:
    """Seconds until an echo came back; None where none did. Raises `OSError` where it cannot be sent."""
    with _echo_socket(ip) as sock:
        sock.setblocking(False)
        message = struct.pack(">BBHHH", 128 if ":" in ip else 8, 0, 0, 0, number) + b"holdfast probe ping"
        if ":" not in ip:
            message = message[:2] + struct.pack(">H", _checksum(message)) + message[4:]
        began = now_s()
        sock.connect((ip, 0))
        sock.send(message)
        while (left := began + patience_s - now_s()) > 0 and not stop():
            if select.select([sock], [], [], min(left, TICK_S))[0]:
                answer = sock.recv(2048)
                if not LINUX and ":" not in ip and answer[:1] and answer[0] >> 4 == 4:
                    answer = answer[(answer[0] & 15) * 4 :]  # macOS leaves the IP header in front
                if len(answer) >= 8 and answer[0] in (0, 129) and answer[6:8] == number.to_bytes(2, "big"):
                    return now_s() - began
    return None


def _checksum(message: bytes) -> int:
    padded = message + b"\0" * (len(message) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
