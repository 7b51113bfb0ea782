"""What the gateway sets on the sockets of its clients, plain and over TLS, read back from the kernel."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time

import pytest
import trustme

from holdfast.flight import moments as m
from holdfast.gateway.settings import Keepalive, Settings, Sockets, Upstream
from holdfast.lab import script as s
from holdfast.lab.provider import Provider
from tests.gateway.hosted import Call, hosted

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="Linux names")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(organization_name="Lab Authority")


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize(
    ("keepalive", "in_force"),
    [(Keepalive(), [1, 30, 15, 4]), (Keepalive(10, 5, 3), [1, 10, 5, 3]), (None, None)],
    ids=str,
)
def test_a_clients_socket_is_probed_and_has_no_user_timeout(
    keepalive: Keepalive | None, in_force: list[int] | None, secure: bool, authority: trustme.CA
) -> None:
    """Keepalive as set; never a user timeout, which would kill a client that merely reads slowly."""
    settings = Settings(Upstream.parse("http://127.0.0.1:9"), sockets=Sockets(keepalive, user_timeout_s=5.0))
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    with hosted(settings, tls=server if secure else None) as run, contextlib.ExitStack() as held:
        sock = held.enter_context(socket.create_connection(("127.0.0.1", run.port)))
        if secure:
            held.enter_context(client.wrap_socket(sock, server_hostname="127.0.0.1"))
        assert run.gateway._listener is not None
        limit = time.monotonic() + 5
        while not run.gateway._listener.connections and time.monotonic() < limit:
            time.sleep(0.005)
        [connection] = run.gateway._listener.connections
        accepted: socket.socket = connection.transport.get_extra_info("socket")
        tcp = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        on = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        found = [on, *(accepted.getsockopt(socket.IPPROTO_TCP, option) for option in tcp)]
        assert found == in_force if in_force is not None else on == 0
        assert accepted.getsockopt(socket.IPPROTO_TCP, 18) == 0


def test_a_live_connection_is_probed_when_there_is_a_way_out() -> None:
    """A cable that was pulled proves nothing about the far end; one that was plugged in asks it."""
    with (
        Provider(s.answer(s.pause(600.0))).running() as provider,
        hosted(Settings(Upstream.parse(provider.url))) as run,
    ):
        call = Call(run.port)
        run.kept.wait_for(m.RequestSent)
        engine = run.gateway._engine
        assert engine is not None
        [carrier] = [carrier for carriers in engine._turns.values() for carrier in carriers]
        connection = carrier.attempt.connection
        assert connection is not None

        def probed_after(what: str, way_out: bool) -> bool:
            done = threading.Event()

            def tell() -> None:
                engine.network_changed(what, way_out)
                done.set()

            engine.loop.call_soon_threadsafe(tell)
            assert done.wait(5)
            return connection._probing is not None

        assert probed_after("wlan0 is down", False) is False
        assert probed_after("the default route by wlan0 is there", True) is True
        assert [change.what for change in run.kept.wait_for(m.NetworkChanged, count=2)] == [
            "wlan0 is down",
            "the default route by wlan0 is there",
        ]
        call.leave()
