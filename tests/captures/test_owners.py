"""Which ports a gateway serves and whom it is connected to, read from the system's own lists."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from holdfast.captures.owners import Wanted, from_lsof, from_proc
from holdfast.cli.capture import sockets_of

PROC = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:20A9 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0
   1: 0100007F:20A9 0100007F:EA42 01 00000000:00000000 00:00000000 00000000  1000        0 12 1 0
   2: 0A01A8C0:D431 09024F68:01BB 01 00000000:00000000 00:00000000 00000000  1000        0 13 1 0
   3: 0A01A8C0:D432 09024F68:01BB 01 00000000:00000000 00:00000000 00000000  1000        0 99 1 0
"""
PROC6 = """\
  sl  local_address rem_address st ...
   0: 0000000000000000FFFF00000A01A8C0:D433 0000000000000000FFFF000009024F68:01BB 01 0:0 0:0 0 1000 0 14 1
"""


def test_linux_says_it_by_inodes() -> None:
    """Only this process's sockets count; an IPv4 peer of an IPv6 socket is told as IPv4."""
    found = from_proc([PROC, PROC6], frozenset({"11", "12", "13", "14"}))
    assert found.listening == {8361}
    remote = ("104.79.2.9", 443)
    assert [pair[1] for pair in found.upstream] == [remote, remote]
    assert found.upstream[0][0] == ("192.168.1.10", 54321)


def test_macos_says_it_by_lsof() -> None:
    """lsof's lines for programs."""
    said = (
        "p812\nf7\nn127.0.0.1:8361\nTST=LISTEN\nf9\nn[2001:db8::5]:5000->[2001:db8::1]:443\nTST=ESTABLISHED\n"
    )
    found = from_lsof(said)
    assert found.listening == {8361} and found.upstream == ((("2001:db8::5", 5000), ("2001:db8::1", 443)),)


def test_the_filter_names_ports_and_addresses_only() -> None:
    """What tcpdump is given."""
    wanted = Wanted(frozenset({8361}), frozenset({("2001:db8::1", 443), ("192.0.2.7", 443)}))
    said = "tcp and (port 8361 or (host 192.0.2.7 and port 443) or (host 2001:db8::1 and port 443))"
    assert wanted.filter == said and wanted.server_ports == {8361, 443}


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="needs Linux's /proc")
def test_a_living_process_is_looked_into() -> None:
    """This one listens and is connected to itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            found = sockets_of(os.getpid())
            assert port in found.listening
            assert (client.getsockname(), ("127.0.0.1", port)) in found.upstream
