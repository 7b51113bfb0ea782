"""What the kernel says of open connections, as ss and /proc/net/tcp write it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sessions.live_sockets import has_way_out, own_addresses, read_proc, read_ss

SS = """\
ESTAB      0      0      10.0.0.5:51968 160.79.104.10:443 timer:(keepalive,29sec,0) uid:1000 ino:3452054 sk:1039 cgroup:/ <->
\t ts sack cubic wscale:10,10 rto:204 rtt:12.1/0.6 ato:40 mss:1448 cwnd:11 bytes_sent:95584 bytes_acked:95585 \
bytes_received:1246 segs_out:11 data_segs_out:1 send 32Mbps lastsnd:181528 lastrcv:181100 lastack:1204
ESTAB      0      4096   10.0.0.5:51970 160.79.104.10:443 timer:(on,14sec,6) uid:1000 ino:3452055 sk:103a cgroup:/ <->
\t ts sack cubic rto:27648 backoff:6 rtt:12/3 mss:1448 cwnd:1 ssthresh:7 bytes_sent:99680 bytes_retrans:4096 \
bytes_acked:95585 bytes_received:2111 unacked:3 retrans:1/7 lost:3 lastsnd:14016 lastrcv:61028 lastack:61000
LISTEN     0      128    127.0.0.1:8484 0.0.0.0:* uid:1000 ino:77 sk:2 cgroup:/ <->
\t cubic cwnd:10
ESTAB      0      0      [::ffff:10.0.0.5]:443 [2606:4700::6810:1%eth0]:60000 ino:9 sk:3 <->
"""


def test_ss_tells_times_acknowledgements_and_what_is_sent_again() -> None:
    """Two lines a connection; milliseconds become seconds; what ss leaves out because it is zero is zero."""
    quiet, dark, listening, bare = read_ss(SS)

    assert (quiet.there, quiet.inode, quiet.timer, quiet.probes) == (
        "160.79.104.10:443",
        3452054,
        "keepalive",
        0,
    )
    assert (quiet.sent_ago_s, quiet.received_ago_s, quiet.acked_ago_s) == (181.528, 181.1, 1.204)
    assert (quiet.unacked, quiet.retransmits, quiet.backoff, quiet.sent_bytes) == (0, 0, 0, 95584)
    assert (dark.unacked_bytes, dark.unacked, dark.retransmits, dark.retransmitted) == (4096, 3, 6, 7)
    assert (dark.backoff, dark.timer, dark.probes, dark.acked_ago_s) == (6, "on", None, 61.0)
    assert (listening.state, listening.local_port, listening.peer_port) == ("LISTEN", 8484, 0)
    assert (bare.local, bare.peer, bare.acked_ago_s, bare.retransmits) == (
        "10.0.0.5",
        "2606:4700::6810:1",
        None,
        None,
    )


def test_unanswered_probes_are_counted() -> None:
    """`timer:(keepalive,...,N)`: N probes without an answer."""
    line = "ESTAB 0 0 10.0.0.5:1 192.0.2.1:443 timer:(keepalive,900ms,3) ino:5\n\t lastack:64000\n"

    assert read_ss(line)[0].probes == 3


PROC = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2124 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 77 1 0000000000000000 100 0 0 10 0
   1: 0500000A:CB00 0A684FA0:01BB 01 00001000:00000000 01:00000578 00000006  1000        0 3452055 2 0
   2: 0500000A:CB02 0A684FA0:01BB 01 00000000:00000010 02:00000B82 00000000  1000        2 3452054 2 0
   3: 0500000A:CB04 0A684FA0:01BB 06 00000000:00000000 03:00000611 00000000     0        0 0 3 0000000000000000
"""


def test_proc_tells_queues_and_timers_and_no_times() -> None:
    """Where ss is missing, times are "not measured"; a connection without a process is left out."""
    listening, dark, quiet = read_proc(PROC)

    assert (listening.state, listening.local, listening.local_port, listening.unread_bytes) == (
        "LISTEN",
        "127.0.0.1",
        8484,
        0,
    )
    assert (dark.there, dark.unacked_bytes, dark.retransmits, dark.timer) == (
        "160.79.104.10:443",
        4096,
        6,
        "on",
    )
    assert (quiet.unread_bytes, quiet.timer, quiet.probes) == (16, "keepalive", 2)
    assert dark.acked_ago_s is None and dark.sent_ago_s is None


def test_an_address_of_sixteen_bytes() -> None:
    """IPv6 stands in four words, each in the machine's order; IPv4 inside it is shown as IPv4."""
    line = (
        "0: 00000000000000000000000001000000:1F90 0000000000000000FFFF00000100007F:01BB 01 0:0 00:0 0 1 0 5"
    )
    found = read_proc(line)[0]

    assert (found.local, found.local_port, found.peer) == ("::1", 8080, "127.0.0.1")
    assert found.loopback


@given(st.text(max_size=300))
def test_no_text_is_too_odd(text: str) -> None:
    """What fits nothing is passed over; nothing raises."""
    read_ss(text + "\nESTAB 0 0 a:1 b:2\n\t" + text)
    read_proc(text)
    own_addresses(text, text)
    has_way_out(text, text)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux's")
def test_the_kernel_of_this_machine_is_understood() -> None:
    """A connection that is made here is found again, with its ports and what it has not read."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
    ):
        far, _ = server.accept()
        with far:
            near.sendall(b"x" * 500)
            far.recv(1, socket.MSG_PEEK)
            found = read_proc(Path("/proc/net/tcp").read_text())
            mine = next(
                one
                for one in found
                if (one.local_port, one.peer_port) == (far.getsockname()[1], near.getsockname()[1])
            )

    assert (mine.state, mine.unread_bytes, mine.local) == ("ESTAB", 500, "127.0.0.1")


def test_where_this_machine_is() -> None:
    """Its addresses, and whether there is a way out of it."""
    trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.5\n        /32 host LOCAL\n"
    trie += "     |-- 10.0.0.255\n        /32 link BROADCAST\n"
    inet6 = "fe800000000000000000000000000001 02 40 20 80     eth0\n"
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    up = head + "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    local = head + "eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    refuses = (
        "0" * 32 + " 00 " + "0" * 32 + " 00 " + "0" * 32 + " ffffffff 00000001 00000000 00200200       lo\n"
    )
    six = (
        "0" * 32
        + " 00 "
        + "0" * 32
        + " 00 fe80000000000000000000000000000a 00000400 00000001 00000000 00000003     eth0\n"
    )

    assert own_addresses(trie, inet6) == {"10.0.0.5", "fe80::1"}
    assert has_way_out(up, "") and has_way_out(local, six)
    assert not has_way_out(local, refuses)
    assert has_way_out(local, "", "10.0.0.7") and not has_way_out(local, six, "192.0.2.1")
    assert has_way_out("", six, "2001:db8::1") and not has_way_out(up, refuses, "2001:db8::1")
