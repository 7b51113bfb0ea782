"""Open a connection to the upstream: name, TCP, proxy, TLS, each with an error that says what to do next.

Every stage works on a plain non-blocking socket; the transport is made last, when all is well. So each
failure is met where it happens, its evidence can still be read, and the protocol class never sees a
half-open connection. Nothing of the request has been sent when a dial fails.

Several addresses are tried in the manner of RFC 8305 ("happy eyeballs"): families alternate, the next
address starts `STAGGER_S` after the one before or as soon as one failed, the first to connect wins.
uvloop has no such option and asyncio's cannot set socket options before connecting, so it is done here.
Two things differ from the RFC. An address on which an attempt broke is left until the others had
`AVOIDED_STAGGER_S`: it may answer faster and be the wrong one all the same. And while none answers, one is
tried anew every `ANEW_S`, since the kernel sends its own requests ever more rarely, and always from the
source address that this machine had at the first: a network that returns should be noticed at once.
We wait for the resolver's whole answer, both families together (the RFC's section 3 would not): the system has
one call for both, and `--ip 4` asks for one family only where the other's question gets lost. A resolver that is
silent or out of reach is not waited for where the name was resolved before and TLS is going to prove who
answers there: an outage of DNS is none of upstream (RFC 8767 serves stale data for the same reason).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import itertools
import re
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.gateway.settings import Settings, Sockets, Tls, Upstream
from holdfast.gateway.sockets import Fact, set_keepalive, set_user_timeout, tcp_facts
from holdfast.gateway.upstream.connection import UpstreamConnection
from holdfast.gateway.upstream.h1 import Callbacks, Http1Connection
from holdfast.gateway.upstream.proxies import is_loopback
from holdfast.gateway.upstream.tls import TlsSession, alert, explain, in_one_line

STAGGER_S = 0.25
"Head start of one address over the next (RFC 8305, section 5: 250 ms recommended)."
AVOIDED_STAGGER_S = 1.0
"Head start of the others over an address that is to be avoided: a far one may take as long."
ANEW_S = 2.0
"After so long without an answer an address is tried anew, from the start, and a resolver is done without."
TUNNEL_HEAD_LIMIT = 16 * 1024
"Bytes of a proxy's answer to CONNECT."


class UpstreamError(Exception):
    """No connection could be had. `sent` is always false: nothing of the request left this machine."""

    def __init__(self, ending: Ending, advice: str, *, sent: bool = False) -> None:
        super().__init__(advice)
        self.ending = ending
        self.advice = advice
        "One line for the user: what is wrong, and the next thing to try."
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy towards the upstream."""

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)
    "The value of `Proxy-Authorization`; never in any message."

    @property
    def name(self) -> str:
        """`host:port`, for messages."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Route:
    """How to get to the upstream: worked out once, used for every connection."""

    upstream: Upstream
    proxy: Proxy | None
    context: ssl.SSLContext | None
    "None where the upstream is plain http."
    patience_s: float
    sockets: Sockets

    http2: bool = False
    "Whether HTTP/2 is offered, or spoken at once where there is no TLS to offer it in."

    known: list[_Address] = field(default_factory=list, compare=False, repr=False)
    "Where the name led to when it was resolved last; only where TLS with upstream itself proves who is there."

    callbacks: Callbacks = field(default_factory=Callbacks, compare=False, repr=False)
    "Of the parsers of all its connections."

    @property
    def tunnel(self) -> bool:
        """Whether the proxy is asked for a tunnel (CONNECT); otherwise it is asked with absolute targets."""
        return self.proxy is not None and self.context is not None


def check_settings(settings: Settings) -> None:
    """Whether `route` would take them, without the system's trust store, which takes longest. Raises `UpstreamError`."""
    _chosen_proxy(settings)
    if settings.upstream.scheme == "https":
        _add_files(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), settings.tls)


def route(settings: Settings) -> Route:
    """Read the settings and the certificate files. Raises `UpstreamError` with advice."""
    upstream = settings.upstream
    proxy = _chosen_proxy(settings)
    # A forward proxy is asked for plain http in HTTP/1.1, so no HTTP/2 goes through it.
    http2 = settings.http2 and (proxy is None or upstream.scheme == "https")
    if http2:
        import holdfast.gateway.upstream.h2  # noqa: F401 (its library is loaded at the start, and only if wanted)
    context = tls_context(settings.tls, http2=http2) if upstream.scheme == "https" else None
    return Route(upstream, proxy, context, settings.timeouts.connect_s, settings.sockets, http2)


def _chosen_proxy(settings: Settings) -> Proxy | None:
    if not settings.proxy or is_loopback(settings.upstream.host):
        return None
    return _proxy(settings.proxy)


def _proxy(url: str) -> Proxy:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port:
        advice = (
            f"the proxy setting is not one this gateway can use (scheme {parts.scheme!r}); "
            "give http://host:port, or exclude the upstream in NO_PROXY"
        )
        raise UpstreamError(Ending(Side.MACHINE, Mechanism.PROXY, Phase.CONNECTING, advice), advice)
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + base64.b64encode(pair.encode())
    return Proxy(parts.hostname, port, authorization)


def tls_context(tls: Tls, *, http2: bool = False) -> ssl.SSLContext:
    """The system's trust store and what the settings add. Raises `UpstreamError` for a file that cannot serve."""
    context = _trusting_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION  # TLS 1.2: a write would have to wait for a read
    _add_files(context, tls)
    return context


def _add_files(context: ssl.SSLContext, tls: Tls) -> None:
    for path in tls.ca_files:
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise _bad_file(f"the CA file {path}", error, "give a PEM file of certificates") from None
    if tls.client_cert is not None:
        what = f"the client certificate {tls.client_cert} with its key"
        try:
            context.load_cert_chain(tls.client_cert, tls.client_key, password=_no_passphrase)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise _bad_file(what, error, "give PEM files, certificate and matching unencrypted key") from None


def _trusting_context() -> ssl.SSLContext:
    if sys.platform == "darwin":
        # The Keychain's trust is not in OpenSSL's files. Not tested on a Mac.
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()


def _no_passphrase() -> str:
    # Without this OpenSSL would ask on the terminal, which belongs to the user's command.
    raise ValueError("the key is encrypted")


def _bad_file(what: str, error: Exception, advice: str) -> UpstreamError:
    said = f"{what} could not be read: {in_one_line(error)}"
    return UpstreamError(Ending(Side.MACHINE, Mechanism.LOCAL_ERROR, Phase.TLS, said), f"{said}; {advice}")


async def dial(
    way: Route,
    *,
    on_idle: Callable[[UpstreamConnection], None] | None = None,
    on_http1: Callable[[], None] | None = None,
    avoid: Sequence[str] = (),
    now: Callable[[], float] = time.monotonic,
) -> UpstreamConnection:
    """A fresh connection, ready for its first exchange. Raises `UpstreamError`.

    Addresses to `avoid` (`ip:port`, the latest last) are tried last, and the family of the latest after the
    other: a retry should change something. `on_http1` is called where an HTTP/2 upstream wants HTTP/1.1 instead.
    """
    started = now()
    stage = _Stage(way)
    try:
        async with asyncio.timeout(way.patience_s):
            sock = await _connected_socket(stage, avoid)
            try:
                return await _over(sock, stage, on_idle=on_idle, on_http1=on_http1, started=started, now=now)
            except BaseException:
                stage.evidence = tcp_facts(sock)
                sock.close()
                raise
    except TimeoutError as error:
        raise stage.timed_out(error) from None
    except (OSError, ssl.SSLError, UnicodeError) as error:
        raise stage.failed(error) from None


async def _over(
    sock: socket.socket,
    stage: _Stage,
    *,
    on_idle: Callable[[UpstreamConnection], None] | None,
    on_http1: Callable[[], None] | None,
    started: float,
    now: Callable[[], float],
) -> UpstreamConnection:
    """Proxy, TLS and transport over a connected socket."""
    way, loop = stage.way, asyncio.get_running_loop()
    address = _written(sock.getpeername())
    if way.tunnel:
        await _open_tunnel(sock, stage)
    tls = None
    if way.context is not None:
        stage.phase = Phase.TLS
        tls = stage.tls = TlsSession(way.context, way.upstream.host)
        await _shake_hands(sock, tls)
    took_s = now() - started
    connection: UpstreamConnection
    if way.http2 and (tls is None or tls.alpn == "h2"):
        from holdfast.gateway.upstream.h2 import Http2Connection

        connection = Http2Connection(
            sock,
            address=address,
            took_s=took_s,
            tls=tls,
            on_idle=on_idle,
            on_http1=on_http1,
            keepalive=way.sockets.keepalive,
            now=now,
        )
    else:
        forward = way.proxy if not way.tunnel else None
        connection = Http1Connection(
            sock,
            address=address,
            took_s=took_s,
            tls=tls,
            on_idle=on_idle,
            absolute=way.upstream.origin.encode() if forward else b"",
            proxy_header=(b"Proxy-Authorization", forward.authorization)
            if forward and forward.authorization
            else None,
            callbacks=way.callbacks,
            now=now,
        )
    await loop.create_connection(lambda: connection, sock=sock)
    return connection


@dataclass(slots=True)
class _Stage:
    """How far a dial has come; what its failure means depends on it."""

    way: Route
    phase: Phase = Phase.RESOLVING
    at_proxy: bool = False
    "Speaking with the proxy itself, before the tunnel stands."
    evidence: dict[str, Fact] = field(default_factory=dict)
    tls: TlsSession | None = None
    targets: list[str] = field(default_factory=list)
    "The addresses that were tried."
    from_memory: bool = False
    "They are of an earlier lookup: the resolver did not answer."

    @property
    def goal(self) -> str:
        """Who is being spoken to, for messages."""
        if self.at_proxy and self.way.proxy:
            return f"the proxy {self.way.proxy.name}"
        return self.way.upstream.authority

    def where(self) -> dict[str, Fact]:
        """The address that was tried last; nothing where none was."""
        if not self.targets:
            return {}
        address = self.targets[-1]
        return {"address": address, "family": "6" if address.startswith("[") else "4"}

    def timed_out(self, error: TimeoutError) -> UpstreamError:
        """Our own patience ran out, or the kernel's did."""
        if error.errno is not None:
            return self.failed(error)
        doing = {
            Phase.RESOLVING: f"no answer from DNS for {self.way.upstream.host if not self.at_proxy else self.goal}",
            Phase.CONNECTING: f"no answer from {self.goal}{self._tried()}",
            Phase.TLS: f"{self.goal} did not finish the TLS handshake",
        }[self.phase]
        detail = f"{doing} within {self.way.patience_s:g} s"
        advice = f"{detail}; check the network, and whether a proxy is needed (HTTPS_PROXY)"
        if self.at_proxy:
            advice = f"{detail}; check HTTPS_PROXY, or exclude the upstream in NO_PROXY"
        return UpstreamError(
            Ending(Side.GATEWAY, Mechanism.DEADLINE, self.phase, detail, {**self.where(), **self.evidence}),
            advice,
        )

    def failed(self, error: Exception) -> UpstreamError:
        """Translate what the operating system or OpenSSL said."""
        side, mechanism, detail, advice = self._meaning(error)
        if self.at_proxy:
            side, mechanism = Side.PATH, Mechanism.PROXY
            advice = f"{detail}; check HTTPS_PROXY, or exclude the upstream in NO_PROXY"
        # OpenSSL and the resolver have numbers of their own, which are none of the system's.
        foreign = isinstance(error, ssl.SSLError | socket.gaierror)
        number = error.errno if isinstance(error, OSError) and not foreign else None
        evidence: dict[str, Fact] = {"errno": number, **self.where(), **self.evidence}
        if isinstance(error, ssl.SSLError):
            evidence["tls_alert"] = alert(error)
        return UpstreamError(Ending(side, mechanism, self.phase, detail, evidence), advice)

    def _meaning(self, error: Exception) -> tuple[Side, Mechanism, str, str]:
        if isinstance(error, socket.gaierror | UnicodeError):
            name = self.way.proxy.host if self.at_proxy and self.way.proxy else self.way.upstream.host
            ip = self.way.sockets.ip
            sort, check = ("", "") if ip == "auto" else (f" to an IPv{ip} address", ", or leave out --ip")
            detail = f"the name {name} could not be resolved{sort} ({in_one_line(error)})"
            return Side.PATH, Mechanism.DNS, detail, f"{detail}; check DNS or --upstream{check}"
        if isinstance(error, ssl.SSLError):
            upstream = self.way.upstream
            detail, advice = explain(error, upstream.host, self.tls, at=_host_and_port(upstream))
            return Side.PROVIDER, Mechanism.TLS, detail, advice
        number = error.errno if isinstance(error, OSError) else None
        during = " during the TLS handshake" if self.phase is Phase.TLS else ""
        if number == errno.ECONNREFUSED:
            detail = f"connection refused at {self.goal}{self._tried()}"
            return Side.PROVIDER, Mechanism.REFUSED, detail, f"{detail}; is the upstream running?"
        # a connection that was made and is none any more was reset: a FIN would have left it its peer's name
        if number in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
            detail = f"{self.goal} reset the connection{during}"
            advice = f"{detail}; a firewall may forbid it: ask whether a proxy is needed (HTTPS_PROXY)"
            return Side.PROVIDER, Mechanism.RST, detail, advice
        if isinstance(error, _ClosedError):
            detail = f"{self.goal} closed the connection{during}"
            advice = f"{detail}; check that the upstream speaks TLS on this port"
            return Side.PROVIDER, Mechanism.FIN, detail, advice
        if number in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL):
            detail = f"no route to {self.goal}{self._tried()}"
            return Side.PATH, Mechanism.UNREACHABLE, detail, f"{detail}; is this machine online?"
        if number == errno.ETIMEDOUT:
            detail = f"no answer from {self.goal}{self._tried()}"
            advice = f"{detail}; check the network, and whether a proxy is needed (HTTPS_PROXY)"
            return Side.PATH, Mechanism.UNACKNOWLEDGED, detail, advice
        detail = f"could not connect to {self.goal}: {in_one_line(error)}"
        return Side.MACHINE, Mechanism.LOCAL_ERROR, detail, f"{detail}; see `holdfast explain local`"

    def _tried(self) -> str:
        if self.from_memory:
            return f" ({', '.join(self.targets)}, known from before: its name could not be resolved now)"
        return "" if self.targets in ([], [self.goal]) else f" ({', '.join(self.targets)})"


class _ClosedError(OSError):
    """The peer closed the connection before it was ready for a request."""


# Names and addresses.

_Address = tuple[socket.AddressFamily, Any]


_FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6, "auto": socket.AF_UNSPEC}


async def _connected_socket(stage: _Stage, avoid: Sequence[str]) -> socket.socket:
    stage.at_proxy = stage.way.proxy is not None
    addresses = await _addresses(stage)
    stage.phase = Phase.CONNECTING
    sock = await _first_to_connect(in_turn(addresses, avoid), stage, avoid)
    stage.at_proxy = stage.way.tunnel
    return sock


async def _addresses(stage: _Stage) -> list[_Address]:
    """Where the name leads to; where it led to before, while the resolver cannot be asked."""
    way = stage.way
    host, port = (way.proxy.host, way.proxy.port) if way.proxy else (way.upstream.host, way.upstream.port)
    looking = asyncio.ensure_future(_look_up(host, port, _FAMILIES[way.sockets.ip]))
    try:
        if way.known:
            await asyncio.wait([looking], timeout=ANEW_S)
            stage.from_memory = not looking.done()
        found = list(way.known) if stage.from_memory else await looking
    except socket.gaierror as error:
        # "Temporary": the resolver could not be reached, or could reach nobody itself.
        if error.errno != socket.EAI_AGAIN or not way.known:
            raise
        stage.from_memory = True
        return list(way.known)
    finally:
        looking.cancel()
    if way.context is not None and way.proxy is None:
        way.known[:] = found
    return found


async def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[_Address]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


def in_turn(addresses: Sequence[_Address], avoid: Sequence[str] = ()) -> list[_Address]:
    """The order in which to try: families alternate, beginning with the resolver's first; what to avoid comes last.

    If the latest of these has a family, the other one begins.
    """
    families: dict[int, list[_Address]] = {}
    for address in dict.fromkeys(addresses):
        families.setdefault(address[0], []).append(address)
    broken = _family(avoid[-1]) if avoid else None
    rows = sorted(families.items(), key=lambda row: row[0] == broken)
    mixed = [a for row in itertools.zip_longest(*(row for _, row in rows)) for a in row if a is not None]
    # Of several to avoid the one that broke first is the first to be tried again.
    return sorted(mixed, key=lambda a: avoid.index(where) + 1 if (where := _written(a[1])) in avoid else 0)


def _family(written: str) -> socket.AddressFamily:
    return socket.AF_INET6 if written.startswith("[") else socket.AF_INET


async def _first_to_connect(
    addresses: list[_Address], stage: _Stage, avoid: Sequence[str] = ()
) -> socket.socket:
    """The first of the addresses that answers. Raises the first error once every one has refused."""
    waiting, trouble = list(addresses), OSError(errno.EADDRNOTAVAIL, "no address")
    running: dict[asyncio.Task[socket.socket], _Address] = {}
    try:
        while waiting or running:
            if waiting:
                address = waiting.pop(0)
                running[asyncio.ensure_future(_open(address, stage))] = address
            pause = ANEW_S
            if waiting:
                pause = AVOIDED_STAGGER_S if _written(waiting[0][1]) in avoid else STAGGER_S
            done, _ = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                del running[task]
                error = task.exception()
                if error is None:
                    for other in done - {task}:
                        other.add_done_callback(_close_late)
                    return task.result()
                if not isinstance(error, OSError):
                    raise error  # none of the network's
                if trouble.errno == errno.EADDRNOTAVAIL:
                    trouble = error
            if not done and not waiting:
                waiting = _silent(running.values())
        raise trouble
    finally:
        for task in running:
            task.add_done_callback(_close_late)
            task.cancel()


def _silent(running: Iterable[_Address]) -> list[_Address]:
    """The address that has been tried least of those that have not answered, to be tried anew."""
    tried = Counter(running)
    return sorted(tried, key=tried.__getitem__)[:1]


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    """Close a connection that came second."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _open(address: _Address, stage: _Stage) -> socket.socket:
    family, where = address
    if _written(where) not in stage.targets:
        stage.targets.append(_written(where))
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        options = stage.way.sockets
        if options.keepalive is not None:
            set_keepalive(sock, options.keepalive)
        set_user_timeout(sock, round(options.upstream_user_timeout_s * 1000))
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


@lru_cache(maxsize=256)
def _written(address: Any) -> str:
    """`1.2.3.4:443` or `[2001:db8::1]:443`; the same text for all connections that go there."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host_and_port(upstream: Upstream) -> str:
    """Both, also where the port is the scheme's own."""
    host = f"[{upstream.host}]" if ":" in upstream.host else upstream.host
    return f"{host}:{upstream.port}"


# Proxy and TLS.


async def _open_tunnel(sock: socket.socket, stage: _Stage) -> None:
    """Ask the proxy for a tunnel to the upstream (RFC 9110, section 9.3.6)."""
    loop, upstream, proxy = asyncio.get_running_loop(), stage.way.upstream, stage.way.proxy
    assert proxy is not None
    target = _host_and_port(upstream).encode()
    request = b"CONNECT " + target + b" HTTP/1.1\r\nHost: " + target + b"\r\n"
    if proxy.authorization is not None:
        request += b"Proxy-Authorization: " + proxy.authorization + b"\r\n"
    await loop.sock_sendall(sock, request + b"\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = await loop.sock_recv(sock, 4096)
        if not piece or len(answer) > TUNNEL_HEAD_LIMIT:
            raise _refused_by(
                proxy, "closed the connection instead of opening a tunnel" if not piece else "rambled"
            )
        answer += piece
    head, _, early = answer.partition(b"\r\n\r\n")
    line = head.split(b"\r\n")[0].decode("latin-1")
    status = re.match(r"HTTP/1\.[01] (\d{3})", line)
    if status is None:
        raise _refused_by(proxy, "did not answer in HTTP")
    if not 200 <= int(status[1]) < 300:
        raise _refused_by(
            proxy, f"refused a tunnel to {target.decode()} with status {status[1]}", int(status[1])
        )
    if early:  # in TLS the client speaks first, so this cannot be the upstream's
        raise _refused_by(proxy, "opened a tunnel and spoke into it", int(status[1]))
    stage.at_proxy = False


def _refused_by(proxy: Proxy, did: str, status: int | None = None) -> UpstreamError:
    detail = f"the proxy {proxy.name} {did}"
    advice = "check HTTPS_PROXY, or exclude the upstream in NO_PROXY"
    if status == 407:
        had = "the user name and password in" if proxy.authorization else "put user:password@ into"
        advice = f"it wants a login: {'check ' if proxy.authorization else ''}{had} HTTPS_PROXY"
    ending = Ending(Side.PATH, Mechanism.PROXY, Phase.CONNECTING, detail, {"status": status})
    return UpstreamError(ending, f"{detail}; {advice}")


async def _shake_hands(sock: socket.socket, tls: TlsSession) -> None:
    loop, received = asyncio.get_running_loop(), b""
    while True:
        try:
            done = tls.handshake(received)
        except ssl.SSLError:
            # The peer should learn why; if it is not listening any more, our own error is the story.
            alert = tls.outgoing()
            if alert:
                with contextlib.suppress(OSError):
                    await loop.sock_sendall(sock, alert)
            raise
        if waiting := tls.outgoing():
            await loop.sock_sendall(sock, waiting)
        if done:
            return
        received = await loop.sock_recv(sock, 65536)
        if not received:
            raise _ClosedError(0, "closed")
