"""Getting a connection: names, addresses, proxies, TLS; and what each failure tells the user."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import select
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from holdfast.flight.endings import Mechanism, Phase
from holdfast.gateway.fields import render
from holdfast.gateway.settings import Keepalive, Settings, Sockets, Tls, Upstream
from holdfast.gateway.upstream import connection as shared
from holdfast.gateway.upstream import dial as dialling
from holdfast.gateway.upstream.connection import UpstreamConnection
from holdfast.gateway.upstream.pool import Pool, UpstreamError
from tests.gateway.upstream.conftest import Run
from tests.gateway.upstream.stage import (
    GET,
    Heard,
    Script,
    ask,
    exactly,
    head_of,
    over_tls,
    pool_to,
    reset,
    saying,
    serving,
    until_closed,
)

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def failure(pool: Pool) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await pool.connect()
    assert caught.value.sent is False and caught.value.advice == str(caught.value)
    assert "\n" not in caught.value.advice
    return caught.value


# Names and addresses.


def test_a_refused_connection_asks_whether_the_upstream_runs(run: Run) -> None:
    """The address is named."""

    async def story() -> None:
        port = unused_port()
        error = await failure(pool_to(port))
        assert error.ending.code == "P.refused.connect"
        assert error.advice == f"connection refused at 127.0.0.1:{port}; is the upstream running?"

    run(story())


def test_a_name_that_does_not_exist_points_to_dns(run: Run) -> None:
    """The name is quoted, with the setting that holds it."""

    async def story() -> None:
        error = await failure(pool_to(443, host="api.holdfast.invalid", scheme="https", connect_s=10))
        assert error.ending.code == "N.dns.resolve"
        assert error.advice.startswith("the name api.holdfast.invalid could not be resolved")
        assert error.advice.endswith("check DNS or --upstream")

    run(story())


def test_the_next_address_is_tried_when_one_refuses(run: Run) -> None:
    """Of several addresses the first that connects is used, without waiting for the stagger."""

    async def story() -> None:
        async with serving(until_closed) as port:
            stage = dialling._Stage(dialling.route(Settings(Upstream("http", "two.example", port))))
            addresses = [(socket.AF_INET, ("127.0.0.1", p)) for p in (unused_port(), port)]
            started = time.monotonic()
            sock = await dialling._first_to_connect(addresses, stage)
            assert sock.getpeername()[1] == port and time.monotonic() - started < dialling.STAGGER_S
            assert len(stage.targets) == 2
            sock.close()

    run(story())


def test_when_every_address_refuses_the_first_error_is_told(run: Run) -> None:
    """And all the addresses that were tried stand in the message."""

    async def story() -> None:
        ports = (unused_port(), unused_port())
        stage = dialling._Stage(dialling.route(Settings(Upstream("http", "two.example", 80))))
        stage.phase = Phase.CONNECTING
        with pytest.raises(ConnectionRefusedError) as caught:
            await dialling._first_to_connect([(socket.AF_INET, ("127.0.0.1", p)) for p in ports], stage)
        advice = stage.failed(caught.value).advice
        assert f"127.0.0.1:{ports[0]}, 127.0.0.1:{ports[1]}" in advice

    run(story())


def test_a_silent_address_gives_way_to_the_next(run: Run) -> None:
    """An address that neither answers nor refuses costs a quarter of a second, not the whole patience."""

    async def story() -> None:
        with deaf() as deaf_port:
            async with serving(until_closed) as port:
                stage = dialling._Stage(dialling.route(Settings(Upstream("http", "two.example", port))))
                addresses = [(socket.AF_INET, ("127.0.0.1", p)) for p in (deaf_port, port)]
                sock = await asyncio.wait_for(dialling._first_to_connect(addresses, stage), 2)
                assert sock.getpeername()[1] == port
                sock.close()

    run(story())


@contextlib.contextmanager
def deaf():  # type: ignore[no-untyped-def]
    """A port that does not answer: its accept queue is full (Linux drops the SYN then)."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as fillers:
        for _ in range(3):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(server.getsockname())
        time.sleep(0.02)
        yield server.getsockname()[1]


def test_a_silent_upstream_runs_into_our_patience(run: Run) -> None:
    """No answer to the connection request: our limit, in the connecting phase."""

    async def story() -> None:
        with deaf() as port:
            error = await failure(pool_to(port, connect_s=0.2))
        assert error.ending.code == "G.limit.connect"
        assert error.advice.startswith(f"no answer from 127.0.0.1:{port} within 0.2 s")

    run(story())


def test_addresses_alternate_between_families() -> None:
    """The resolver's first family begins, and nothing comes twice."""
    six = [(socket.AF_INET6, (f"2001:db8::{i}", 443, 0, 0)) for i in (1, 2, 3)]
    four = [(socket.AF_INET, (f"192.0.2.{i}", 443)) for i in (1, 2)]
    assert dialling.in_turn([*six, *six, *four]) == [six[0], four[0], six[1], four[1], six[2]]


def test_a_retry_begins_with_the_other_family() -> None:
    """Where an attempt broke on IPv6, IPv4 comes first; what is to be avoided comes last, the latest at the end."""
    six = [(socket.AF_INET6, (f"2001:db8::{i}", 443, 0, 0)) for i in (1, 2)]
    four = [(socket.AF_INET, (f"192.0.2.{i}", 443)) for i in (1, 2)]
    once = dialling.in_turn([*six, *four], ["[2001:db8::1]:443"])
    assert once == [four[0], four[1], six[1], six[0]]
    twice = dialling.in_turn([*six, *four], ["[2001:db8::1]:443", "192.0.2.1:443"])
    assert twice == [six[1], four[1], six[0], four[0]]
    assert dialling.in_turn(four[:1], ["192.0.2.1:443"]) == four[:1], "there is no other"


def test_an_address_to_avoid_is_not_raced(run: Run) -> None:
    """It would answer at once; the others, though silent for longer than the stagger, are given a second."""

    async def story() -> None:
        with deaf() as slow:
            async with serving(until_closed) as port:
                stage = dialling._Stage(dialling.route(Settings(Upstream("http", "two.example", port))))
                broken = f"127.0.0.1:{port}"
                addresses = [(socket.AF_INET, ("127.0.0.1", p)) for p in (port, slow)]
                started = time.monotonic()
                sock = await dialling._first_to_connect(
                    dialling.in_turn(addresses, [broken]), stage, [broken]
                )
                assert sock.getpeername()[1] == port and stage.targets == [f"127.0.0.1:{slow}", broken]
                assert time.monotonic() - started >= dialling.AVOIDED_STAGGER_S - 0.01
                sock.close()

    run(story())


def test_a_silent_address_is_tried_anew(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's own repetitions become rare: after two seconds, here less, a new socket tries from the start."""

    async def story() -> None:
        monkeypatch.setattr(dialling, "ANEW_S", 0.05)
        opened: list[object] = []
        often = asyncio.Event()
        real = dialling._open

        async def counted(address: dialling._Address, stage: dialling._Stage) -> socket.socket:
            opened.append(address)
            if len(opened) == 6:
                often.set()
            return await real(address, stage)

        monkeypatch.setattr(dialling, "_open", counted)
        with deaf() as one, deaf() as two:
            stage = dialling._Stage(dialling.route(Settings(Upstream("http", "two.example", one))))
            addresses = [(socket.AF_INET, ("127.0.0.1", p)) for p in (one, two)]
            trying = asyncio.create_task(dialling._first_to_connect(addresses, stage))
            await asyncio.wait_for(often.wait(), 30)
            trying.cancel()
            await asyncio.gather(trying, return_exceptions=True)
        assert opened[:6] == addresses * 3
        assert stage.targets == [f"127.0.0.1:{one}", f"127.0.0.1:{two}"], "each is told once"

    run(story())


async def _silent(*_: object) -> list[dialling._Address]:
    await asyncio.Event().wait()
    raise AssertionError


async def _unreachable(*_: object) -> list[dialling._Address]:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


async def _unknown(*_: object) -> list[dialling._Address]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize(
    ("scheme", "resolver", "code"),
    [
        ("https", _silent, None),
        ("https", _unreachable, None),
        ("https", _unknown, "N.dns.resolve"),
        ("http", _unreachable, "N.dns.resolve"),
    ],
    ids=["silent", "out of reach", "the name is gone", "plain http"],
)
def test_an_outage_of_dns_is_none_of_upstream(
    scheme: str,
    resolver: Callable[..., Awaitable[list[dialling._Address]]],
    code: str | None,
    run: Run,
    authority: trustme.CA,
    ca_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the name led to before still serves, where TLS proves who answers there; a plain answer is not believed."""

    async def story() -> None:
        monkeypatch.setattr(dialling, "ANEW_S", 0.05)
        script = saying(ANSWER) if scheme == "http" else over_tls(server_context(authority), saying(ANSWER))
        async with serving(script) as port:
            pool = pool_to(port, scheme=scheme, ca=ca_file)
            (await pool.connect()).abort()
            monkeypatch.setattr(dialling, "_look_up", resolver)
            if code is None:
                connection = await pool.connect()
                assert connection.address == f"127.0.0.1:{port}" and connection.took_s < 2
                connection.abort()
            else:
                assert (await failure(pool)).ending.code == code
        if code is None:
            error = await failure(pool)
            assert error.ending.code == "P.refused.connect"
            assert (
                f"(127.0.0.1:{port}, known from before: its name could not be resolved now)" in error.advice
            )
        monkeypatch.undo()

    run(story())


@pytest.mark.parametrize(
    ("ip", "host", "reached"),
    [("4", "localhost", True), ("6", "127.0.0.1", False), ("4", "::1", False), ("auto", "127.0.0.1", True)],
)
def test_one_family_can_be_asked_for(ip: str, host: str, reached: bool, run: Run) -> None:
    """With `--ip 4` no other address is looked up; an upstream that has none is told with that setting."""

    async def story() -> None:
        async with serving(until_closed) as port:
            settings = Settings(Upstream("http", host, port), sockets=Sockets(ip=ip))
            if reached:
                connection = await Pool(settings).connect()
                assert connection.address == f"127.0.0.1:{port}"
                connection.abort()
            else:
                error = await failure(Pool(settings))
                assert error.ending.code == "N.dns.resolve"
                assert f"could not be resolved to an IPv{ip} address" in error.advice
                assert error.advice.endswith("or leave out --ip")

    run(story())


linux_names = pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="Linux names")


def options_of(connection: UpstreamConnection) -> list[int]:
    """SO_KEEPALIVE, idle, interval, count, user timeout."""
    sock = connection._sock
    tcp = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, 18)
    on = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return [on, *(sock.getsockopt(socket.IPPROTO_TCP, option) for option in tcp)]


@linux_names
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("sockets", "in_force"),
    [
        (Sockets(), [1, 30, 15, 4, 90_000]),
        (Sockets(Keepalive(10, 5, 3)), [1, 10, 5, 3, 25_000]),
        (Sockets(Keepalive(10, 5, 3), user_timeout_s=60.0), [1, 10, 5, 3, 60_000]),
        (Sockets(Keepalive(), user_timeout_s=0.0), [1, 30, 15, 4, 0]),
    ],
    ids=lambda value: str(value.keepalive) if isinstance(value, Sockets) else "",
)
def test_options_are_in_force(
    sockets: Sockets, in_force: list[int], scheme: str, run: Run, authority: trustme.CA, ca_file: Path
) -> None:
    """Keepalive 30/15/4 and 90 s for unacknowledged bytes, or what was set; no Nagle. Plain and over TLS."""

    async def story() -> None:
        script = saying(ANSWER) if scheme == "http" else over_tls(server_context(authority), saying(ANSWER))
        async with serving(script) as port:
            upstream = Upstream(scheme, "127.0.0.1", port)
            pool = Pool(Settings(upstream, tls=Tls(ca_files=(ca_file,)), sockets=sockets))
            connection = await pool.connect()
            assert options_of(connection) == in_force
            assert connection._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert connection.address == f"127.0.0.1:{port}" and 0 < connection.took_s < 5
            connection.abort()

    run(story())


@linux_names
def test_without_keepalive_the_system_decides(run: Run) -> None:
    """`--tcp-keepalive off` sets none; bytes that stay unacknowledged still end the connection after 90 s."""

    async def story() -> None:
        async with serving(until_closed) as port:
            settings = Settings(Upstream("http", "127.0.0.1", port), sockets=Sockets(keepalive=None))
            connection = await Pool(settings).connect()
            on, *_, user_timeout = options_of(connection)
            assert (on, user_timeout) == (0, 90_000)
            connection.abort()

    run(story())


@linux_names
def test_fast_probes_end_by_themselves(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while a connection that lives is cared for as before; asking twice changes nothing."""

    async def story() -> None:
        monkeypatch.setattr(shared, "PROBED_S", 0.05)
        async with serving(until_closed) as port:
            connection = await pool_to(port).connect()
            connection.probe_soon()
            connection.probe_soon()
            assert options_of(connection) == [1, 1, 1, 5, 0]
            await asyncio.sleep(0.1)
            assert options_of(connection) == [1, 30, 15, 4, 90_000]
            connection.probe_soon()
            connection.abort()
            assert connection._probing is None
            connection.probe_soon()
            assert connection._probing is None

    run(story())


def test_a_reset_between_connecting_and_the_first_use_is_the_upstreams(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket has no peer any more by then; that is the peer's doing, not this machine's."""
    connected = dialling._connected_socket

    async def and_reset(*args: Any) -> socket.socket:
        sock = await connected(*args)
        gone = select.poll()
        gone.register(sock, select.POLLERR)
        assert gone.poll(5000)
        return sock

    async def story() -> None:
        monkeypatch.setattr(dialling, "_connected_socket", and_reset)
        async with serving(reset) as port:
            assert (await failure(pool_to(port))).ending.code == "P.rst.connect"

    run(story())


# TLS.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(organization_name="Lab Authority")


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def server_context(
    authority: trustme.CA, *names: str, not_after: datetime.datetime | None = None
) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(names or ("127.0.0.1",)), not_after=not_after).configure_cert(context)
    return context


def test_tls_carries_exchanges_and_is_reused(run: Run, authority: trustme.CA, ca_file: Path) -> None:
    """A trusted upstream over TLS 1.3, HTTP/1.1 by ALPN, with a large body both ways, twice on one connection."""

    async def story() -> None:
        size = 1_000_000
        context = server_context(authority)
        context.set_alpn_protocols(["h2", "http/1.1"])

        def script(sock: ssl.SSLSocket) -> None:
            assert sock.selected_alpn_protocol() == "http/1.1"
            while head_of(sock):
                assert len(exactly(sock, size)) == size
                sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                sock.sendall(b"%x\r\n" % size + bytes(size) + b"\r\n0\r\n\r\n")

        async with serving(over_tls(context, script)) as port:
            pool = pool_to(port, scheme="https", ca=ca_file)
            for reused in (False, True):
                connection = pool.idle() or await pool.connect()
                assert (connection.tls, connection.reused) == ("TLSv1.3", reused)
                header = (b"Content-Length", b"%d" % size)
                heard = await ask(connection, b"POST", [*GET, header], bytes(size))
                assert (heard.body, heard.code) == (bytes(size), "whole")
            await pool.close()

    run(story())


def test_tls_12_is_the_least(run: Run, authority: trustme.CA, ca_file: Path) -> None:
    """TLS 1.2 works, and says so."""

    async def story() -> None:
        context = server_context(authority)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        async with serving(over_tls(context, saying(ANSWER))) as port:
            pool = pool_to(port, scheme="https", ca=ca_file)
            connection = await pool.connect()
            assert connection.tls == "TLSv1.2" and (await ask(connection)).body == b"hello"
            await pool.close()

    run(story())


def test_an_untrusted_certificate_names_its_issuer(run: Run, authority: trustme.CA) -> None:
    """The user is told who signed it, and which variables make a TLS-intercepting proxy's CA known."""

    async def story() -> None:
        async with serving(over_tls(server_context(authority), saying(ANSWER))) as port:
            error = await failure(pool_to(port, scheme="https"))
        assert error.ending.code == "P.tls.tls"
        assert "is not trusted" in error.advice and "issuer: Lab Authority" in error.advice
        assert "set SSL_CERT_FILE or NODE_EXTRA_CA_CERTS" in error.advice

    run(story())


def test_a_certificate_for_another_name_is_refused(run: Run, authority: trustme.CA, ca_file: Path) -> None:
    """The name that was asked for is told."""

    async def story() -> None:
        async with serving(over_tls(server_context(authority, "other.example"), saying(ANSWER))) as port:
            error = await failure(pool_to(port, scheme="https", host="localhost", ca=ca_file))
        assert error.ending.code == "P.tls.tls"
        assert error.advice.startswith("the certificate is for another name than localhost")

    run(story())


def test_an_expired_certificate_points_to_the_clock(run: Run, authority: trustme.CA, ca_file: Path) -> None:
    """Either the certificate is old or this machine's clock is wrong."""

    async def story() -> None:
        past = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
        async with serving(over_tls(server_context(authority, not_after=past), saying(ANSWER))) as port:
            error = await failure(pool_to(port, scheme="https", ca=ca_file))
        assert "expired" in error.advice and "check this machine's clock" in error.advice

    run(story())


def test_a_client_certificate_is_shown_where_set(
    run: Run, authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    """With it the upstream answers; without it the ending says what the upstream wanted."""

    async def story() -> None:
        context = server_context(authority)
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
        leaf = authority.issue_cert("me.example")
        certificate, key = tmp_path / "me.pem", tmp_path / "me.key"
        leaf.cert_chain_pems[0].write_to_path(str(certificate))
        leaf.private_key_pem.write_to_path(str(key))
        async with serving(over_tls(context, saying(ANSWER))) as port:
            pool = pool_to(port, scheme="https", tls=Tls((ca_file,), certificate, key))
            assert (await ask(await pool.connect())).body == b"hello"
            await pool.close()

            # TLS 1.3: the handshake is over for us before the server looks for the certificate.
            heard = await ask(await pool_to(port, scheme="https", ca=ca_file).connect())
            assert heard.ending is not None and heard.ending.mechanism is Mechanism.TLS_ALERT
            assert heard.ending.detail.startswith("TLS alert certificate required: ")
            assert "certificate required" in heard.ending.detail
            assert "CLAUDE_CODE_CLIENT_CERT" in heard.ending.detail

            context.maximum_version = ssl.TLSVersion.TLSv1_2
            error = await failure(pool_to(port, scheme="https", ca=ca_file))
            assert error.ending.code == "P.tls.tls" and "CLAUDE_CODE_CLIENT_CERT" in error.advice
            assert error.ending.evidence["tls_alert"] and error.ending.evidence["errno"] is None
            assert error.ending.evidence["address"] == f"127.0.0.1:{port}"

    run(story())


def test_an_upstream_without_tls_is_recognised(run: Run) -> None:
    """https:// to a plain port: the user is told to look at the scheme."""

    async def story() -> None:
        def script(sock: socket.socket) -> None:
            sock.recv(1)
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            until_closed(sock)

        async with serving(script) as port:
            error = await failure(pool_to(port, scheme="https"))
        assert error.ending.code == "P.tls.tls"
        assert "does not speak TLS on this port" in error.advice and "http://" in error.advice

    run(story())


@pytest.mark.parametrize(
    ("how", "code"), [("reset", "P.rst.tls"), ("close", "P.fin.tls"), ("wait", "G.limit.tls")]
)
def test_a_handshake_that_breaks_says_how(how: str, code: str, run: Run) -> None:
    """Reset, closed or never answered inside the handshake: three endings, with the socket's evidence."""

    async def story() -> None:
        def script(sock: socket.socket) -> None:
            if how == "wait":
                until_closed(sock)
                return
            sock.recv(65536)
            if how == "reset":
                reset(sock)

        async with serving(script) as port:
            error = await failure(pool_to(port, scheme="https", connect_s=0.3))
        assert error.ending.code == code
        assert "tcp_state" in error.ending.evidence

    run(story())


def test_what_is_no_error_of_the_system_is_not_told_as_the_networks(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that does not fit into a socket option is no missing route."""

    def refuse(*_: object) -> None:
        raise OverflowError("signed integer is greater than maximum")

    async def story() -> None:
        monkeypatch.setattr(dialling, "set_user_timeout", refuse)
        with pytest.raises(OverflowError):
            await pool_to(unused_port()).connect()

    run(story())


def test_where_to_look_with_openssl_has_the_upstreams_port(run: Run) -> None:
    """The port is the one that was asked, not the one that is usual."""

    async def story() -> None:
        def too_old(sock: socket.socket) -> None:
            sock.recv(65536)
            sock.sendall(b"\x15\x03\x01\x00\x02\x02\x46")  # a fatal alert: protocol version
            until_closed(sock)

        async with serving(too_old) as port:
            error = await failure(pool_to(port, scheme="https"))
        assert f"`openssl s_client -connect 127.0.0.1:{port}`" in error.advice

    run(story())


@pytest.mark.parametrize("goodbye", [True, False], ids=["close_notify", "bare FIN"])
def test_over_tls_only_a_proper_goodbye_ends_an_answer_by_close(
    goodbye: bool, run: Run, authority: trustme.CA, ca_file: Path
) -> None:
    """A FIN that TLS did not announce may have been anybody's: the answer is not passed off as whole."""

    async def story() -> None:
        def script(sock: ssl.SSLSocket) -> None:
            head_of(sock)
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nhello")
            if goodbye:
                with contextlib.suppress(OSError):
                    sock.unwrap()
            else:
                sock.shutdown(socket.SHUT_WR)

        async with serving(over_tls(server_context(authority), script)) as port:
            heard = await ask(await pool_to(port, scheme="https", ca=ca_file).connect())
        assert heard.body == b"hello" and heard.ended is goodbye
        if not goodbye:
            assert heard.ending is not None and heard.ending.mechanism is Mechanism.FIN
            assert heard.ending.evidence["close_notify"] is False

    run(story())


def test_a_reset_after_a_close_is_seen_under_tls_too(run: Run, authority: trustme.CA, ca_file: Path) -> None:
    """FIN then RST is told from FIN, and TLS's goodbye is in the evidence."""

    async def story() -> None:
        def script(sock: ssl.SSLSocket) -> None:
            head_of(sock)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            time.sleep(0.03)
            sock.shutdown(socket.SHUT_WR)
            time.sleep(0.03)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        async with serving(over_tls(server_context(authority), script)) as port:
            heard = await ask(await pool_to(port, scheme="https", ca=ca_file).connect())
        assert heard.body == b"hello" and heard.code == "P.fin+rst.body"
        assert heard.ending is not None and heard.ending.evidence["close_notify"] is False

    run(story())


def test_an_early_refusal_is_heard_under_tls_too(run: Run, authority: trustme.CA, ca_file: Path) -> None:
    """413 and RST in the middle of a 5 MB upload: the answer is decrypted from what the kernel still had."""

    async def story() -> None:
        def script(sock: ssl.SSLSocket) -> None:
            head_of(sock)
            sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")

        async with serving(over_tls(server_context(authority), script)) as port:
            for _ in range(5):
                connection, heard = await pool_to(port, scheme="https", ca=ca_file).connect(), Heard()
                connection.start(heard, b"POST", b"/", render([*GET, (b"Content-Length", b"5000000")]))
                for _ in range(50):
                    connection.send_body(bytes(100_000))
                    await asyncio.sleep(0)
                await asyncio.wait_for(heard.over.wait(), 5)
                assert (heard.status, heard.body, heard.code) == (413, b"large", "whole")

    run(story())


def test_certificate_files_that_cannot_serve_are_named(tmp_path: Path) -> None:
    """A start can check them; an encrypted key is refused instead of asking on the user's terminal."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("not a certificate")
    for tls in (Tls(ca_files=(nonsense,)), Tls(client_cert=nonsense), Tls(ca_files=(tmp_path / "missing",))):
        with pytest.raises(UpstreamError, match=r"could not be read: .*; give") as caught:
            pool_to(443, scheme="https", tls=tls).check()
        assert caught.value.ending.code == "M.local.tls"


def test_an_encrypted_key_is_refused_without_asking(tmp_path: Path, authority: trustme.CA) -> None:
    """OpenSSL would ask for the passphrase on the terminal, which is the client's."""
    from cryptography.hazmat.primitives import serialization

    leaf = authority.issue_cert("me.example")
    certificate, key = tmp_path / "me.pem", tmp_path / "me.key"
    leaf.cert_chain_pems[0].write_to_path(str(certificate))
    private = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(UpstreamError, match="key is encrypted"):
        pool_to(443, scheme="https", tls=Tls((), certificate, key)).check()


# Proxies.


def proxying(
    status: bytes = b"200 Connection established",
    *,
    page: bytes = b"",
    to: int = 0,
    seen: list[bytes] | None = None,
) -> Script:
    """A CONNECT proxy that answers so, perhaps with a `page`, and on 200 joins the client to the port `to` here."""

    def script(sock: socket.socket) -> None:
        request = head_of(sock)
        if seen is not None:
            seen.append(request)
        length = b"\r\nContent-Length: %d" % len(page) if page else b""
        sock.sendall(b"HTTP/1.1 " + status + length + b"\r\n\r\n" + page)
        if not status.startswith(b"200"):
            return
        with socket.create_connection(("127.0.0.1", to)) as target:
            join(sock, target)

    return script


def join(one: socket.socket, other: socket.socket) -> None:
    import selectors

    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select(5):
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(65536)
                if not data:
                    return
                key.data.sendall(data)


def test_a_tunnel_through_a_proxy_carries_tls(run: Run, authority: trustme.CA, ca_file: Path) -> None:
    """CONNECT with the upstream's name and the login from the proxy's URL; TLS is with the upstream itself."""

    async def story() -> None:
        seen: list[bytes] = []
        context = server_context(authority, "api.example")
        async with (
            serving(over_tls(context, saying(ANSWER))) as port,
            serving(proxying(to=port, seen=seen)) as proxy_port,
        ):
            proxy = f"http://me:s%40crt@127.0.0.1:{proxy_port}"
            pool = pool_to(443, scheme="https", host="api.example", proxy=proxy, ca=ca_file)
            connection = await pool.connect()
            assert connection.address == f"127.0.0.1:{proxy_port}" and connection.tls == "TLSv1.3"
            assert (await ask(connection)).body == b"hello"
            await pool.close()
        assert seen == [
            b"CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n"
            b"Proxy-Authorization: Basic bWU6c0BjcnQ=\r\n\r\n"
        ]

    run(story())


@pytest.mark.parametrize("page", [b"", b"<html>Squid</html>"], ids=["bare", "with a page"])
@pytest.mark.parametrize(
    ("status", "login", "hint"),
    [
        (b"407 Proxy Authentication Required", "", "put user:password@ into HTTPS_PROXY"),
        (
            b"407 Proxy Authentication Required",
            "me:s3cret@",
            "check the user name and password in HTTPS_PROXY",
        ),
        (b"403 Forbidden", "me:s3cret@", "check HTTPS_PROXY, or exclude the upstream in NO_PROXY"),
    ],
)
def test_a_proxy_that_refuses_is_named_and_its_login_is_not(
    status: bytes, login: str, hint: str, page: bytes, run: Run
) -> None:
    """The status and the setting to look at, also where a page for people follows; never the password, in no field."""

    async def story() -> None:
        async with serving(proxying(status, page=page)) as port:
            pool = pool_to(443, scheme="https", host="api.example", proxy=f"http://{login}127.0.0.1:{port}")
            error = await failure(pool)
        assert error.ending.code == "N.proxy.connect"
        assert f"the proxy 127.0.0.1:{port} refused a tunnel to api.example:443 with status" in error.advice
        assert error.advice.endswith(hint) and error.ending.evidence["status"] == int(status[:3])
        shown = f"{error!r} {error.advice} {error.ending} {pool!r} {pool._route!r}"
        assert "s3cret" not in shown and "czNjcmV0" not in shown

    run(story())


@pytest.mark.parametrize("did", ["closed", "rambled", "spoke into the tunnel"])
def test_a_proxy_that_does_not_speak_http_is_named(did: str, run: Run) -> None:
    """It closed, answered with something else, or said something in the upstream's place."""

    async def story() -> None:
        def script(sock: socket.socket) -> None:
            head_of(sock)
            if did == "rambled":
                sock.sendall(b"hello, who is there?\r\n\r\n")
            elif did == "spoke into the tunnel":
                sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nhello")

        async with serving(script) as port:
            error = await failure(
                pool_to(443, scheme="https", host="api.example", proxy=f"http://127.0.0.1:{port}")
            )
        assert error.ending.code == "N.proxy.connect" and f"the proxy 127.0.0.1:{port}" in error.advice

    run(story())


def test_a_proxy_that_is_not_there_is_told_from_the_upstream(run: Run) -> None:
    """Refused at the proxy: the advice is about the proxy setting, not about the upstream."""

    async def story() -> None:
        port = unused_port()
        error = await failure(
            pool_to(443, scheme="https", host="api.example", proxy=f"http://127.0.0.1:{port}")
        )
        assert error.ending.code == "N.proxy.connect"
        assert error.advice == (
            f"connection refused at the proxy 127.0.0.1:{port} (127.0.0.1:{port}); "
            "check HTTPS_PROXY, or exclude the upstream in NO_PROXY"
        )

    run(story())


@pytest.mark.parametrize(
    "url", ["socks5://127.0.0.1:1080", "https://127.0.0.1:3128", "http://127.0.0.1:99999"]
)
def test_a_proxy_of_another_kind_is_refused_with_advice(url: str) -> None:
    """Only plain HTTP proxies; the setting's own text is not repeated, it may hold a login."""
    with pytest.raises(UpstreamError, match="give http://host:port"):
        pool_to(443, scheme="https", host="api.example", proxy=url).check()


def test_a_plain_upstream_is_asked_through_the_proxy_with_its_whole_url(run: Run) -> None:
    """http:// through a proxy: absolute target, the login on every request, no tunnel."""

    async def story() -> None:
        seen: list[bytes] = []

        def script(sock: socket.socket) -> None:
            while request := head_of(sock):
                seen.append(request)
                sock.sendall(ANSWER)

        async with serving(script) as port:
            pool = pool_to(8080, host="api.example", proxy=f"http://me:pw@127.0.0.1:{port}")
            for _ in range(2):
                assert (await ask(pool.idle() or await pool.connect())).body == b"hello"
            await pool.close()
        assert seen == 2 * [
            b"GET http://api.example:8080/v1 HTTP/1.1\r\nHost: upstream\r\nProxy-Authorization: Basic bWU6cHc=\r\n\r\n"
        ]

    run(story())


def test_a_loopback_upstream_is_never_asked_through_a_proxy(run: Run) -> None:
    """The proxy's loopback is another machine."""

    async def story() -> None:
        async with serving(saying(ANSWER)) as port:
            pool = pool_to(port, proxy=f"http://127.0.0.1:{unused_port()}")
            assert (await ask(await pool.connect())).body == b"hello"
            await pool.close()

    run(story())
