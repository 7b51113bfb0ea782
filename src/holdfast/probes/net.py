"""Connections for probes: opened stage by stage, watched while they do nothing, asked once.

Everything is non-blocking and waits in short steps, so that Ctrl-C ends a probe with what is known by then. TLS is done
over byte strings: what the kernel says of the socket (a FIN, a reset, what went unacknowledged) stays ours to read.
Nothing here retries: a try that fails is a fact.
"""

from __future__ import annotations

import errno
import math
import select
import socket
import ssl
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.flight import instant
from holdfast.flight.redact import safe
from holdfast.probes import http
from holdfast.probes.target import Target

NOT_TLS = "not TLS"
"Why no connection came: what answered there speaks something else."
TICK_S = 0.1
"How soon a wish to stop is noticed."
MOST_KEPT = 64 * 1024
"Bytes of an answer that are kept; the rest is read and dropped."
QUEUE = 256 * 1024
"Bytes that wait in our own buffer while an upload goes on."

Stop = Callable[[], bool]
_TCP_INFO = 11
_IP_MTU, _IPV6_MTU = 14, 24
_INFO = struct.Struct("=8B24I4Q")
_MORE = struct.Struct("=6I4Q2I2Q4I")
LINUX = sys.platform == "linux"


def now_s() -> float:
    """The monotonic clock."""
    return instant.now().mono_s


@dataclass(frozen=True, slots=True)
class Address:
    """One place where a name leads."""

    ip: str
    port: int
    family: str
    "`4` or `6`."


class NoConnection(Exception):
    """A stage failed; the text is for a person."""

    def __init__(self, phase: str, kind: str, text: str, took_s: float) -> None:
        super().__init__(text)
        self.phase = phase
        "`connect`, `proxy`, `tls`."
        self.kind = kind
        "`refused`, `reset`, `closed`, `timeout`, `unreachable`, `untrusted`, `stopped`, `not TLS`, `error`."
        self.took_s = took_s


@dataclass(slots=True)
class Opened:
    """How long each stage took, in seconds; None for a stage that there was not."""

    address: str
    family: str
    connect_s: float
    tunnel_s: float | None = None
    tls_s: float | None = None


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What a TLS handshake settled."""

    version: str | None
    cipher: str | None
    alpn: str | None
    issuer: str | None
    "Organisation and common name of who issued the certificate."
    root: str | None
    "The same of the last certificate in the chain that was verified (or shown, where none was)."
    subject: str | None
    expires: str | None


class Wire:
    """One connection. What arrives is taken at once; how it ended is kept with its time."""

    def __init__(self, sock: socket.socket, opened: Opened) -> None:
        self.sock = sock
        self.opened = opened
        self.received = bytearray()
        self.most_kept = MOST_KEPT
        "Bytes of `received`; what comes beyond is counted in `dropped_bytes`."
        self.dropped_bytes = 0
        self.ended: str | None = None
        "`fin`, `reset`, `timeout`, `unreachable`, `broken TLS`, `error`; None while it stands."
        self.ended_s: float | None = None
        "On the monotonic clock."
        self.goodbye = False
        "Whether TLS said so before the end."
        self._out = bytearray()
        self._tls: ssl.SSLObject | None = None
        self._shown: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    @property
    def queued(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._out)

    def write(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        self._out += data

    def take(self) -> None:
        """Read what is there."""
        try:
            data = self.sock.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(kind_of(error))
            return
        if not data:
            self._end("fin")
            return
        self._keep(self._plain(data))

    def give(self) -> None:
        """Write what waits, as far as the kernel takes it."""
        if not self._out or self.ended is not None:
            return
        try:
            count = self.sock.send(memoryview(self._out)[:65536])
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._out.clear()
            # What came before the reset can still be read: an early answer, most often.
            self.take()
            self._end(kind_of(error))
            return
        del self._out[:count]

    def _plain(self, data: bytes) -> bytes:
        if self._tls is None:
            return data
        self._incoming.write(data)
        pieces = []
        try:
            while piece := self._tls.read(65536):
                pieces.append(piece)
            self.goodbye = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.goodbye = True
        except ssl.SSLError:
            self._end("broken TLS")
        self._out += self._outgoing.read()
        return b"".join(pieces)

    def _keep(self, data: bytes) -> None:
        room = max(self.most_kept - len(self.received), 0)
        self.received += data[:room]
        self.dropped_bytes += len(data) - len(data[:room])

    def _end(self, how: str) -> None:
        if self.ended is None:
            self.ended, self.ended_s = how, now_s()

    def close(self) -> None:
        self.sock.close()

    # -- TLS

    def shake_hands(self, context: ssl.SSLContext, name: str, deadline_s: float, stop: Stop) -> None:
        """Raises `ssl.SSLError`, `NoConnection`."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._shown = tls  # whose certificate it was can be asked, also when it is refused
        began = now_s()
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self._out += self._outgoing.read()
            except ssl.SSLError:
                self._out += self._outgoing.read()
                self.give()  # the alert that says why
                raise
            else:
                self._out += self._outgoing.read()
                self._tls = tls
                return
            pump([self], deadline_s - now_s(), stop, lambda: bool(self.received))
            if self.received:
                self._incoming.write(bytes(self.received))
                self.received.clear()
            elif self.ended is not None or stop() or now_s() >= deadline_s:
                raise _gone(self, "tls", "during the TLS handshake", began, stop)

    def tls_facts(self) -> TlsFacts | None:
        """Of the handshake, also of one that failed; None where there was none."""
        return _tls_facts(self._shown) if self._shown is not None else None

    def facts(self) -> dict[str, Any]:
        """What the kernel knows of it; empty where it is not Linux's."""
        return tcp_facts(self.sock)


def kind_of(error: OSError) -> str:
    """A word for an error."""
    return {
        errno.ECONNREFUSED: "refused",
        errno.ECONNRESET: "reset",
        errno.EPIPE: "reset",
        errno.ETIMEDOUT: "timeout",
        errno.EHOSTUNREACH: "unreachable",
        errno.ENETUNREACH: "unreachable",
        errno.EADDRNOTAVAIL: "unreachable",
        errno.EAFNOSUPPORT: "unreachable",
    }.get(error.errno or 0, "error")


def pump(
    wires: Sequence[Wire], seconds: float, stop: Stop, until: Callable[[], bool] = lambda: False
) -> None:
    """Move bytes on all of them for so long, or until something holds, or stop is wished, or all have ended."""
    deadline = now_s() + max(seconds, 0.0)
    while not until() and not stop():
        living = {wire.sock.fileno(): wire for wire in wires if wire.ended is None}
        left = deadline - now_s()
        if not living:
            return
        poll = select.poll()
        for descriptor, wire in living.items():
            poll.register(descriptor, select.POLLIN | (select.POLLOUT if wire.queued else 0))
        for descriptor, what in poll.poll(max(min(left, TICK_S), 0.0) * 1000):
            if what & (select.POLLIN | select.POLLHUP | select.POLLERR):
                living[descriptor].take()
            if what & select.POLLOUT:
                living[descriptor].give()
        if left <= 0:
            return


def pause(seconds: float, stop: Stop) -> None:
    """Wait, unless it is wished to stop."""
    deadline = now_s() + seconds
    while not stop() and (left := deadline - now_s()) > 0:
        select.select([], [], [], min(left, TICK_S))


# -- opening


def connect(
    address: Address, patience_s: float, stop: Stop, *, keepalive_s: int | None = None, mss: int | None = None
) -> Wire:
    """TCP alone. Raises `NoConnection`."""
    began = now_s()
    try:
        sock = socket.socket(socket.AF_INET6 if address.family == "6" else socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise NoConnection("connect", kind_of(error), _words(error), 0.0) from None
    try:
        sock.setblocking(False)
        if keepalive_s is not None:
            _keep_alive(sock, keepalive_s)
        if mss is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
        code = sock.connect_ex((address.ip, address.port))
        while code == errno.EINPROGRESS:
            left = began + patience_s - now_s()
            if stop() or left <= 0:
                kind = "stopped" if stop() else "timeout"
                raise NoConnection("connect", kind, f"no answer within {patience_s:g} s", now_s() - began)
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLOUT)
            if poll.poll(min(left, TICK_S) * 1000):
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                break
        if code:
            met = OSError(code, errno.errorcode.get(code, str(code)))
            raise NoConnection("connect", kind_of(met), _words(met), now_s() - began)
        return Wire(sock, Opened(address.ip, address.family, now_s() - began))
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise NoConnection("connect", kind_of(error), _words(error), now_s() - began) from None
        raise


def _keep_alive(sock: socket.socket, every_s: int) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = 0x10 if sys.platform == "darwin" else socket.TCP_KEEPIDLE
    sock.setsockopt(socket.IPPROTO_TCP, idle, every_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, every_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 8)


def reach(
    target: Target,
    address: Address,
    patience_s: float,
    stop: Stop,
    *,
    keepalive_s: int | None = None,
    mss: int | None = None,
    alpn: Sequence[str] = ("http/1.1",),
    verify: bool = True,
) -> Wire:
    """TCP, the proxy's tunnel and TLS, as the target has them. Raises `NoConnection`."""
    deadline = now_s() + patience_s
    wire = connect(address, patience_s, stop, keepalive_s=keepalive_s, mss=mss)
    try:
        if target.proxy is not None:
            began = now_s()
            _tunnel(wire, target, deadline, stop)
            wire.opened.tunnel_s = now_s() - began
        if target.tls:
            began = now_s()
            try:
                wire.shake_hands(trust(target.ca_files, alpn, verify=verify), target.host, deadline, stop)
            except ssl.SSLCertVerificationError as error:
                shown = wire.tls_facts()
                issuer = f"; issuer: {shown.issuer}" if shown is not None and shown.issuer else ""
                raise NoConnection(
                    "tls", "untrusted", safe(f"{error.verify_message}{issuer}"), now_s() - began
                ) from None
            except ssl.SSLError as error:
                reason = (error.reason or str(error)).lower().replace("_", " ")
                kind = NOT_TLS if reason in ("wrong version number", "record layer failure") else "error"
                text = safe(reason)
                if kind == NOT_TLS:
                    text = (
                        "no TLS is spoken there; host:port stands for https, so if it speaks plain http, write "
                        f"http://{safe(target.authority)}"
                    )
                raise NoConnection("tls", kind, text, now_s() - began) from None
            wire.opened.tls_s = now_s() - began
    except BaseException:
        wire.close()
        raise
    return wire


def _tunnel(wire: Wire, target: Target, deadline: float, stop: Stop) -> None:
    began = now_s()
    wire.write(http.tunnel(target))
    try:
        pump([wire], deadline - began, stop, lambda: http.answer(wire.received) is not None)
        answer = http.answer(wire.received)
    except ValueError as error:
        raise NoConnection("proxy", "error", f"the proxy: {error}", now_s() - began) from None
    if answer is None:
        raise _gone(wire, "proxy", "before the proxy answered", began, stop)
    if not 200 <= answer.status < 300:
        text = f"the proxy refused a tunnel with status {answer.status}"
        raise NoConnection("proxy", "refused", text, now_s() - began)
    wire.received.clear()


def _gone(wire: Wire, phase: str, when: str, began: float, stop: Stop) -> NoConnection:
    if wire.ended is not None:
        kind = {"fin": "closed"}.get(wire.ended, wire.ended)
        return NoConnection(phase, kind, f"{ENDED.get(wire.ended, wire.ended)} {when}", now_s() - began)
    kind = "stopped" if stop() else "timeout"
    return NoConnection(phase, kind, f"nothing came any more {when}", now_s() - began)


ENDED = {
    "fin": "closed",
    "reset": "reset",
    "timeout": "timed out",
    "unreachable": "reported unreachable",
    "broken TLS": "broken TLS",
    "error": "an error",
}


def _words(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "error") + f" ({kind_of(error)})"


def trust(ca_files: Iterable[Path], alpn: Sequence[str], *, verify: bool) -> ssl.SSLContext:
    """The system's trust and what the settings add; without `verify` only for looking at who is there."""
    if not verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif sys.platform == "darwin":
        # The Keychain's trust is not in OpenSSL's files. Not tested on a Mac.
        import truststore

        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.create_default_context()
    context.set_alpn_protocols(list(alpn))
    for path in ca_files if verify else ():
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise NoConnection(
                "tls", "error", safe(f"the CA file {path} cannot be read: {error}"), 0.0
            ) from None
    return context


def _tls_facts(tls: ssl.SSLObject) -> TlsFacts:
    chain = _chain(tls)
    first = chain[0] if chain else {}
    cipher = tls.cipher()
    return TlsFacts(
        tls.version(),
        cipher[0] if cipher else None,
        tls.selected_alpn_protocol(),
        _who(first.get("issuer")),
        _who(chain[-1].get("issuer")) if chain else None,
        _who(first.get("subject")),
        safe(str(first["notAfter"])) if first.get("notAfter") else None,
    )


def _chain(tls: ssl.SSLObject) -> list[dict[str, Any]]:
    """The certificates, the peer's own first: verified if they were, else as shown. Empty where that is not told."""
    # Python 3.13 has public names for it that give bytes; the object underneath reads them as well.
    inner: Any = getattr(tls, "_sslobj", tls)
    for name in ("get_verified_chain", "get_unverified_chain"):
        try:
            found = [one.get_info() for one in getattr(inner, name)() or ()]
        except (AttributeError, TypeError, ValueError, ssl.SSLError):
            continue
        if found:
            return found[:10]
    return []


def _who(name: Any) -> str | None:
    try:
        parts = dict(pair for part in name for pair in part)
    except (TypeError, ValueError):
        return None
    said = [parts.get(key) for key in ("organizationName", "commonName")]
    return safe(", ".join(dict.fromkeys(one for one in said if one))) or None


# -- asking


@dataclass(slots=True)
class Exchange:
    """One request and what came of it. Times are seconds since it began."""

    answer: http.Answer | None = None
    answered_s: float | None = None
    not_http: str = ""
    body_bytes: int = 0
    "Of the body handed over, not necessarily arrived."
    sent_s: float | None = None
    "When the last of it was taken by the kernel; None where that did not happen."
    ended: str | None = None
    ended_s: float | None = None
    stopped: bool = False
    too_slow: bool = False
    took_s: float = 0.0
    tcp: dict[str, Any] = field(default_factory=dict)
    "The kernel's view at the end, before we closed."


def exchange(
    wire: Wire,
    request: bytes,
    patience_s: float,
    stop: Stop,
    *,
    pieces: Iterable[bytes] = (),
    every_s: float = 0.0,
    go_on: bool = False,
    most_s: float = math.inf,
) -> Exchange:
    """Ask, with a body in `pieces`, one of them each `every_s` if that is not 0, and wait for the answer's head.

    `patience_s` runs from the last byte sent, and while nothing can be sent. With `go_on` the body is sent to its end
    though the answer came before. After `most_s` it is left, however far it came.
    """
    done, rest = Exchange(), iter(pieces)
    began = now_s()
    wire.received.clear()
    wire.write(request)
    due, quiet_from, piece = began, began, next(rest, None)
    while not stop():
        at = now_s()
        while piece is not None and at >= due and wire.queued < QUEUE and wire.ended is None:
            wire.write(piece)
            done.body_bytes += len(piece)
            due = due + every_s if every_s else due
            piece = next(rest, None)
        over = piece is None
        before, seen = wire.queued, len(wire.received)
        pause_s = TICK_S if over else min(TICK_S, max(due - at, 0.005))
        pump([wire], pause_s, stop, lambda seen=seen: len(wire.received) > seen)  # type: ignore[misc]
        if wire.queued < before or (not over and not wire.queued):
            quiet_from = now_s()
        if over and not wire.queued and done.sent_s is None and wire.ended is None:
            done.sent_s = now_s() - began
        if _answered(done, wire, began) and (not go_on or done.sent_s is not None or done.not_http):
            break
        if wire.ended is not None or now_s() - quiet_from > patience_s:
            break
        if now_s() - began > most_s:
            done.too_slow = True
            break
    _answered(done, wire, began)
    done.stopped = stop()
    done.ended, done.ended_s = wire.ended, None if wire.ended_s is None else wire.ended_s - began
    done.took_s, done.tcp = now_s() - began, wire.facts()
    return done


def _answered(done: Exchange, wire: Wire, began: float) -> bool:
    if done.answer is None and not done.not_http and wire.received:
        try:
            done.answer = http.answer(wire.received)
        except ValueError as error:
            done.not_http = str(error)
        if done.answer is not None or done.not_http:
            done.answered_s = now_s() - began
    return done.answer is not None or bool(done.not_http)


def filler(size: int, piece: int = 16 * 1024) -> Iterator[bytes]:
    """A body that says nothing, of exactly so many bytes, and does not compress to nothing."""
    block = bytes(33 + (index * index * 31 + index * 7) % 90 for index in range(piece))
    while size > 0:
        yield block[:size]
        size -= piece


# -- what the kernel knows


def tcp_facts(sock: socket.socket) -> dict[str, Any]:
    """Retransmissions, round trips, sizes. Empty where it cannot be asked (macOS, a closed socket).

    Linux `struct tcp_info`; it only ever grows at its end.
    """
    if not LINUX:
        return {}
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 256)
    except OSError:
        return {}
    if len(raw) < _INFO.size:
        return {}
    fields = _INFO.unpack_from(raw)
    words = fields[8:]
    found = {
        "rtt_ms": words[15] / 1000,
        "mss_bytes": words[2],
        "pmtu_bytes": words[13],
        "unacked_segments": words[4],
        "retransmissions": words[23],
        "probes_unanswered": fields[3],
        "acked_bytes": words[26],
    }
    if len(raw) >= _INFO.size + _MORE.size:
        more = _MORE.unpack_from(raw, _INFO.size)
        found |= {
            "notsent_bytes": more[2],
            "data_segments": more[5],
            "sent_bytes": more[12],
            "retransmitted_bytes": more[13],
        }
    return found


def all_acknowledged(facts: dict[str, Any]) -> bool | None:
    """Whether the peer's TCP has everything; None where that is not known."""
    if "notsent_bytes" not in facts:
        return None
    return not facts["unacked_segments"] and not facts["notsent_bytes"]


def path_mtu(sock: socket.socket, family: str) -> int | None:
    """What the kernel believes the largest packet on the way to be, in bytes; None where it cannot be asked."""
    try:
        if family == "6":
            return sock.getsockopt(socket.IPPROTO_IPV6, _IPV6_MTU) if LINUX else None
        return sock.getsockopt(socket.IPPROTO_IP, _IP_MTU) if LINUX else None
    except OSError:
        return None
