"""Facts read from real sockets on loopback."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
import time

import pytest
import uvloop

from holdfast.gateway import sockets
from holdfast.gateway.settings import Keepalive, Sockets

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is read on Linux only")


def pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return client, server.accept()[0]


@linux_only
def test_a_live_connection_tells_its_state_and_round_trip() -> None:
    """A fresh connection is ESTABLISHED, has a round trip, and has counted the bytes in both directions."""
    client, server = pair()
    with client, server:
        client.sendall(b"hello")
        assert server.recv(10) == b"hello"
        server.sendall(b"hi")
        assert client.recv(10) == b"hi"

        facts = sockets.tcp_facts(client)
        assert facts["tcp_state"] == "ESTABLISHED"
        assert isinstance(facts["rtt_ms"], float) and 0 < facts["rtt_ms"] < 1000
        assert facts["acked_bytes"] == 6 and facts["tcp_received_bytes"] == 2  # acknowledged: SYN included
        assert (facts["unacked"], facts["probes"], facts["total_retrans"]) == (0, 0, 0)


@linux_only
def test_last_heard_counts_from_the_last_byte() -> None:
    """`last_data_recv_ms` grows while nothing comes."""
    client, server = pair()
    with client, server:
        server.sendall(b"x")
        client.recv(1)
        time.sleep(0.06)
        assert 30 <= int(sockets.tcp_facts(client)["last_data_recv_ms"] or 0) < 2000


def test_bytes_that_the_peer_acknowledged_are_not_counted_as_unacknowledged() -> None:
    """Once the peer has read, the count is back at nothing (its acknowledgement may take 40 ms)."""
    client, server = pair()
    with client, server:
        client.sendall(b"x" * 1000)
        server.recv(1000)
        deadline = time.monotonic() + 2
        while sockets.unacked_bytes(client) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert sockets.unacked_bytes(client) == 0


@linux_only
def test_bytes_that_nobody_takes_stay_unacknowledged() -> None:
    """A peer whose window is full leaves our bytes unacknowledged, and we see how many."""
    client, server = pair()
    with client, server:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                client.send(b"x" * 65536)
        assert (sockets.unacked_bytes(client) or 0) > 1000


def test_a_closed_socket_is_not_measured() -> None:
    """Reading facts never raises: what is gone is None, and the names stay the same."""
    client, server = pair()
    live = sockets.tcp_facts(client)
    client.close()
    server.close()
    assert sockets.tcp_facts(client) == dict.fromkeys(live)
    assert sockets.unacked_bytes(client) is None
    assert sockets.pending_error(client) is None


@linux_only
def test_a_reset_after_a_close_waits_in_the_socket() -> None:
    """FIN then RST reads as EOF only; the pending error (EPIPE) is what tells them apart, and is read once."""
    client, server = pair()
    with client:
        server.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        time.sleep(0.01)
        assert sockets.pending_error(client) == errno.EPIPE
        assert sockets.pending_error(client) == 0


@linux_only
def test_options_are_set() -> None:
    """Keepalive 30/15/4 and the user timeout are in force afterwards."""
    client, server = pair()
    with client, server:
        sockets.set_keepalive(client, Keepalive())
        sockets.set_user_timeout(client, 90_000)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert [
            client.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, 18)
        ] == [30, 15, 4, 90_000]


def options_of(sock: socket.socket) -> list[int]:
    """SO_KEEPALIVE, idle, interval, count, user timeout."""
    tcp = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, 18)
    on = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return [on, *(sock.getsockopt(socket.IPPROTO_TCP, option) for option in tcp)]


@linux_only
@pytest.mark.parametrize("keepalive", [Keepalive(), None], ids=["on", "off"])
def test_fast_probes_are_set_and_undone(keepalive: Keepalive | None) -> None:
    """1/1/5 without a user timeout, which would end it after one lost probe; then all is as it was, off included."""
    client, server = pair()
    with client, server:
        if keepalive is not None:
            sockets.set_keepalive(client, keepalive)
            sockets.set_user_timeout(client, 90_000)
        usual = options_of(client)
        before = sockets.probe_soon(client)
        assert options_of(client) == [1, 1, 1, 5, 0]
        sockets.restore(client, before)
        assert options_of(client) == usual


@linux_only
def test_bytes_under_way_keep_their_user_timeout() -> None:
    """Where some are unacknowledged the kernel does not probe: the user timeout decides, and stays."""
    client, server = pair()
    with client, server:
        sockets.set_user_timeout(client, 90_000)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                client.send(b"x" * 65536)
        before = sockets.probe_soon(client)
        assert options_of(client) == [1, 1, 1, 5, 90_000]
        sockets.restore(client, before)
        assert options_of(client)[0] == 0


@pytest.mark.parametrize("news", ["none", "bytes", "FIN", "RST", "closed here"])
def test_news_that_nobody_has_read_is_found(news: str) -> None:
    """A silent connection has none; what has arrived shows without being taken."""
    client, server = pair()
    with client, server:
        if news == "bytes":
            server.sendall(b"HTTP/1.1 408 Request Timeout")
        elif news == "RST":
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if news in ("FIN", "RST"):
            server.close()
        elif news == "closed here":
            client.close()
        deadline = time.monotonic() + 2
        while sockets.still_open(client) and news != "none" and time.monotonic() < deadline:
            time.sleep(0.001)
        assert sockets.still_open(client) is (news == "none")
        if news == "bytes":
            assert client.recv(8) == b"HTTP/1.1"


@linux_only
@pytest.mark.parametrize("loop_factory", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_a_transports_socket_serves_too(loop_factory: type[asyncio.AbstractEventLoop]) -> None:
    """What `get_extra_info("socket")` gives on either loop can be asked and set like a socket."""

    async def story() -> None:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        sock = writer.get_extra_info("socket")
        sockets.set_keepalive(sock, Keepalive(20, 10, 3))
        sockets.set_user_timeout(sock, 1000)
        assert sockets.tcp_facts(sock)["rtt_ms"] is not None
        assert sockets.unacked_bytes(sock) == 0
        assert sockets.pending_error(sock) == 0
        before = sockets.probe_soon(sock)
        sockets.restore(sock, before)
        assert sock.getsockopt(socket.IPPROTO_TCP, 18) == 1000
        writer.close()
        server.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(story())


@linux_only
def test_no_user_timeout_is_too_long_for_the_kernel() -> None:
    """Probes may be as rare as the system allows: their time altogether has more than 31 bits."""
    rarest = Sockets(Keepalive(32767, 32767, 127))
    with socket.socket() as sock:
        sockets.set_user_timeout(sock, round(rarest.upstream_user_timeout_s * 1000))

        assert sock.getsockopt(socket.IPPROTO_TCP, 18) == 2**31 - 1
