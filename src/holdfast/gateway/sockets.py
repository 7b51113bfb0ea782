"""What a TCP socket knows about its peer, and the few options we set on it.

Both sides of the gateway use this: what the kernel knows (who acknowledged what, and when) is the
evidence for every ending, and it must be read before the socket is gone, that is inside
`eof_received` or `connection_lost`. Everything here takes the socket object that
`transport.get_extra_info("socket")` gives on asyncio and on uvloop, never waits and never raises for a
socket that is already closed: then the facts are None, "not measured".
Field names and numbers: reference D.2 (Linux `struct tcp_info`, macOS XNU headers; macOS is untested).
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
from typing import Any, Final, Protocol

from holdfast.flight.evidence import SOCKET
from holdfast.flight.evidence import Fact as Fact
from holdfast.gateway.settings import Keepalive

LINUX = sys.platform == "linux"
DARWIN = sys.platform == "darwin"

_TCP_INFO = 11
_SIOCOUTQ = 0x5411
_SIOCGIFADDR = 0x8915
_DARWIN_SO_NWRITE = 0x1024
_DARWIN_TCP_KEEPALIVE = 0x10
_DARWIN_TCP_RXT_CONNDROPTIME = 0x80
_LINUX_TCP_USER_TIMEOUT = 18
_LONGEST_MS = 2**31 - 1
_PEEK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)
_KEEPIDLE = _DARWIN_TCP_KEEPALIVE if DARWIN else getattr(socket, "TCP_KEEPIDLE", 4)

# The first 136 bytes of struct tcp_info; the struct only ever grows at its end.
# 8 single bytes, 24 32-bit words, then pacing rates, bytes_acked and bytes_received as 64-bit words.
_INFO = struct.Struct("=8B24I4Q")
# What kernels since 4.19 and 5.4 give behind it: segment counts, notsent_bytes, min_rtt; delivery rate and the times in
# which something limited sending; delivered; bytes sent and sent again; reordering and both windows.
_MORE = struct.Struct("=6I4Q2I2Q4I")
_NEVER_MEASURED = 0xFFFFFFFF
_STATES = (
    "?",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
)


class SocketLike(Protocol):
    """A socket, or what uvloop gives in its place."""

    def fileno(self) -> int: ...
    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None: ...
    def getsockname(self) -> Any: ...


def tcp_facts(sock: SocketLike) -> dict[str, Fact]:
    """What the kernel knows of this connection; `flight.evidence.SOCKET` says what each name means.

    All None where it cannot be measured; the newer ones alone where the kernel is older than they are.
    """
    raw = _read_info(sock)
    if raw is None:
        return dict.fromkeys(_NAMES)
    fields = _INFO.unpack_from(raw)
    words = fields[8:]
    facts: dict[str, Fact] = {
        "tcp_state": _STATES[fields[0]] if fields[0] < len(_STATES) else str(fields[0]),
        "rtt_ms": words[15] / 1000.0,
        "min_rtt_ms": None,
        "rto_ms": words[0] / 1000.0,
        "retransmits": fields[2],
        "backoff": fields[4],
        "total_retrans": words[23],
        "retrans_bytes": None,
        "lost": words[6],
        "probes": fields[3],
        "unacked": words[4],
        "notsent_bytes": None,
        "last_data_sent_ms": words[9],
        "last_data_recv_ms": words[11],
        "last_ack_recv_ms": words[12],
        "acked_bytes": words[26],
        "tcp_sent_bytes": None,
        "tcp_received_bytes": words[27],
        "busy_ms": None,
        "rwnd_limited_ms": None,
        "sndbuf_limited_ms": None,
        "snd_wnd_bytes": None,
        "pmtu_bytes": words[13],
    }
    if len(raw) >= _INFO.size + _MORE.size:
        more = _MORE.unpack_from(raw, _INFO.size)
        facts["notsent_bytes"] = more[2]
        facts["min_rtt_ms"] = None if more[3] == _NEVER_MEASURED else more[3] / 1000.0
        facts["busy_ms"], facts["rwnd_limited_ms"], facts["sndbuf_limited_ms"] = (
            microseconds / 1000.0 for microseconds in more[7:10]
        )
        facts["tcp_sent_bytes"], facts["retrans_bytes"] = more[12], more[13]
        facts["snd_wnd_bytes"] = more[17]
    return facts


_NAMES = tuple(name for name in SOCKET if name not in ("errno", "so_error", "unacked_bytes"))
"What `tcp_facts` gives."


def _read_info(sock: SocketLike) -> bytes | None:
    if not LINUX:
        return None
    raw = _getsockopt_bytes(sock, socket.IPPROTO_TCP, _TCP_INFO, 256)
    # Kernels before 4.1 give less; nothing we run on is that old, so a short answer is no answer.
    return raw if raw is not None and len(raw) >= _INFO.size else None


def _getsockopt_bytes(sock: SocketLike, level: int, option: int, size: int) -> bytes | None:
    try:
        return sock.getsockopt(level, option, size)  # type: ignore[attr-defined,no-any-return]
    except (OSError, ValueError):
        return None


def pending_error(sock: SocketLike) -> int | None:
    """`SO_ERROR`: the errno that waits on the socket, 0 for none. Reading it clears it."""
    raw = _getsockopt_bytes(sock, socket.SOL_SOCKET, socket.SO_ERROR, 4)
    return int.from_bytes(raw, sys.byteorder, signed=True) if raw is not None and len(raw) == 4 else None


def local_address(sock: SocketLike) -> str | None:
    """The address of this machine at its end; None where the socket is gone, or none of IP's."""
    try:
        name = sock.getsockname()
    except (OSError, ValueError):
        return None
    return str(name[0]) if isinstance(name, tuple) else None


def port_of(name: object) -> int | None:
    """The port in what a socket or transport calls its own or its peer's name; None where there is none."""
    if isinstance(name, tuple) and len(name) > 1 and isinstance(name[1], int):
        return name[1]
    return None


def own_port(sock: SocketLike) -> int | None:
    """This machine's port of it; None where the socket is gone, or none of IP's."""
    try:
        return port_of(sock.getsockname())
    except (OSError, ValueError):
        return None


def family(sock: SocketLike) -> str | None:
    """`4` or `6`; None for anything else."""
    address = local_address(sock)
    return None if address is None else "6" if ":" in address else "4"


def unacked_bytes(sock: SocketLike) -> int | None:
    """How many bytes given to the kernel the peer's TCP has not acknowledged yet (a sent FIN counts 1 on Linux)."""
    if LINUX:
        try:
            raw = fcntl.ioctl(sock.fileno(), _SIOCOUTQ, b"\0\0\0\0")
        except (OSError, ValueError):
            return None
        return int.from_bytes(raw, sys.byteorder, signed=True)
    if DARWIN:
        left = _getsockopt_bytes(sock, socket.SOL_SOCKET, _DARWIN_SO_NWRITE, 4)
        return int.from_bytes(left, sys.byteorder) if left else None
    return None


def set_keepalive(sock: SocketLike, keepalive: Keepalive) -> None:
    """Let the kernel probe a silent peer: defeats every layer-4 idle timer known (60 s and more), finds a dead path."""
    with contextlib.suppress(OSError, ValueError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, _KEEPIDLE, keepalive.idle_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, keepalive.interval_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, keepalive.count)


def set_user_timeout(sock: SocketLike, milliseconds: int) -> None:
    """How long our bytes may go unacknowledged before ETIMEDOUT. Upstream only: it kills a reader that merely paused.

    The kernel takes 24 days at most; what is longer counts as those.
    """
    milliseconds = min(milliseconds, _LONGEST_MS)
    with contextlib.suppress(OSError, ValueError):
        if LINUX:
            sock.setsockopt(socket.IPPROTO_TCP, _LINUX_TCP_USER_TIMEOUT, milliseconds)
        elif DARWIN:
            seconds = max(1, milliseconds // 1000)
            sock.setsockopt(socket.IPPROTO_TCP, _DARWIN_TCP_RXT_CONNDROPTIME, seconds)


def reset_on_close(sock: SocketLike) -> None:
    """Make the coming close a reset: a peer that reads until the close would take a FIN for the answer's end."""
    with contextlib.suppress(OSError, ValueError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# Proof of life.

SOON: Final = Keepalive(1, 1, 5)
"After a sleep or a change of network: a dead path shows within 7 s, and four lost probes are still forgiven."

SocketOptions = tuple[tuple[int, int, int], ...]
"Level, name and value of each."


def still_open(sock: socket.socket) -> bool:
    """Whether the kernel holds no news for us on a connection that should be silent: no FIN, no RST, no byte.

    A close may have arrived that the event loop has not come to yet. Bytes count as news too: they may be a
    farewell (a 408, a TLS alert), and to find out costs more than another connection.
    """
    try:
        sock.recv(1, _PEEK)
    except BlockingIOError:
        return True
    except (OSError, ValueError):
        return False
    return False


def probe_soon(sock: SocketLike, probes: Keepalive = SOON) -> SocketOptions:
    """Ask a peer for a sign of life now, and soon again: the path may have died while this machine slept.

    Returns what `restore` needs. For a connection whose bytes are all acknowledged: where some are not, the
    kernel sends those again instead of probes, and the user timeout decides, as it did before.
    """
    names = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, _KEEPIDLE)]
    names += [(socket.IPPROTO_TCP, name) for name in (socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)]
    if LINUX and not unacked_bytes(sock):
        # While it is set, one unanswered probe after a longer silence would be the end (tcp_keepalive_timer).
        names.append((socket.IPPROTO_TCP, _LINUX_TCP_USER_TIMEOUT))
    before = []
    for level, name in names:
        raw = _getsockopt_bytes(sock, level, name, 4)
        if raw is not None and len(raw) == 4:
            before.append((level, name, int.from_bytes(raw, sys.byteorder)))
    if (socket.IPPROTO_TCP, _LINUX_TCP_USER_TIMEOUT) in names:
        set_user_timeout(sock, 0)
    set_keepalive(sock, probes)
    return tuple(before)


def restore(sock: SocketLike, before: SocketOptions) -> None:
    """Undo `probe_soon`."""
    for level, name, value in before:
        with contextlib.suppress(OSError, ValueError):
            sock.setsockopt(level, name, value)


def interface_addresses() -> dict[str, str]:
    """The IPv4 addresses of this machine, each with its interface; empty where that cannot be asked.

    One address per interface, its first: what connections go out from (netdevice(7), SIOCGIFADDR).
    """
    found: dict[str, str] = {}
    if not LINUX:
        return found
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            for _, name in socket.if_nameindex():
                with contextlib.suppress(OSError):
                    answer = fcntl.ioctl(asking.fileno(), _SIOCGIFADDR, name.encode()[:15].ljust(40, b"\0"))
                    found.setdefault(socket.inet_ntoa(answer[20:24]), name)
    except OSError:
        return found
    return found
