"""Real kernels on a path with a known fault: a box that forgets, loss, a black hole, a carrier's NAT.

Two machines in namespaces of their own; the fault is nftables' in front of the far one. Skipped where that is not allowed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import netns
from tests.netns import Machine, Wire, two_machines

PORT, OTHER = 8000, 8001


@functools.cache
def refusal() -> str:
    """Why there is no firewall for us; empty where there is one."""
    if netns.refusal():
        return netns.refusal()
    if not shutil.which("nft"):
        return "needs `nft`, which is not here"
    rule = "add table inet t; add chain inet t c { type filter hook input priority 0; }; add rule inet t c "
    rule += "ct state established numgen inc mod 10 == 0 meta length > 1000 drop"
    settings = "sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0 net.ipv4.ping_group_range='0 0' net.ipv4.ip_forward=1"
    tried = subprocess.run(
        ["unshare", "-rn", "sh", "-ec", f'nft "{rule}"; {settings}'], capture_output=True, text=True
    )
    return "" if tried.returncode == 0 else f"no firewall of our own: {tried.stderr.strip()[:200]}"


pytestmark = pytest.mark.skipif(bool(refusal()), reason=refusal() or "-")


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    with two_machines(tmp_path) as joined:
        for machine in (joined.here, joined.there):
            # One packet is one segment, as on a real wire; else a virtual one carries 64 kB at once.
            machine.ip("link", "set", "wire", "gso_max_segs", "1")
        yield joined


def firewall(machine: Machine, *rules: str) -> None:
    """Let these rules decide about what arrives."""
    machine.output("nft", "add table inet t; add chain inet t c { type filter hook input priority 0; }")
    for rule in rules:
        machine.output("nft", f"add rule inet t c {rule}")


@contextlib.contextmanager
def serving(machine: Machine) -> Iterator[None]:
    """Two ports that answer as an edge does."""
    server = machine.python("tests.probes.stage", machine.ipv4, str(PORT), str(OTHER))
    with server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield
        server.communicate()


def asking(wire: Wire, name: str, port: int = PORT, **options: Any) -> subprocess.Popen[str]:
    target = f"http://{wire.there.ipv4}:{port}"
    return wire.here.python("tests.probes.near_end", name, target, json.dumps(options))


def told(asked: subprocess.Popen[str]) -> dict[str, Any]:
    said, errors = asked.communicate(timeout=20)
    assert asked.returncode == 0, errors
    found: dict[str, Any] = json.loads(said)
    return found


def test_a_box_that_forgets_silent_connections_is_found(wire: Wire) -> None:
    """It forgets after 2 s: silently on one port, with a reset on the other. TCP's own probes keep the flow."""
    firewall(
        wire.there,
        "ct state established accept",
        f"tcp dport {{ {PORT}, {OTHER} }} tcp flags & (syn|ack) == syn accept",
        f"tcp dport {OTHER} reject with tcp reset",
        f"tcp dport {PORT} drop",
    )
    for name, value in (("timeout_established", 2), ("loose", 0)):
        wire.there.output("sysctl", "-qw", f"net.netfilter.nf_conntrack_tcp_{name}={value}")
    with serving(wire.there):
        both = [
            asking(wire, "idle", port, holds_s=[1.0, 2.5], keepalive_s=1, patience_s=0.7)
            for port in (PORT, OTHER)
        ]
        silent, loud = (told(one) for one in both)

    for found, how in ((silent, "dead on send"), (loud, "reset on send")):
        plain, probed = (
            found["facts"][kind]["connections"] for kind in ("without_keepalive", "with_keepalive")
        )
        assert [one["outcome"] for one in plain] == ["alive", how]
        assert [one["outcome"] for one in probed] == ["alive", "alive"]
        assert found["grade"] == "suspected"
        assert found["facts"]["fresh_connection_works"] is (True if how == "dead on send" else None)
        assert "something on the path forgets silent connections between 1" in found["verdict"]
        assert "with TCP keepalive they lived" in found["verdict"]


def test_lost_packets_show_in_what_was_sent_again(wire: Wire) -> None:
    """Every tenth full packet is lost: the upload arrives all the same, and its price is told."""
    firewall(wire.there, f"tcp dport {PORT} meta length > 1000 numgen inc mod 10 == 0 drop")
    with serving(wire.there):
        lossy, clean = (
            told(asking(wire, "upload", port, sizes_bytes=[200_000], patience_s=5)) for port in (PORT, OTHER)
        )

    assert lossy["grade"] == "suspected" and lossy["facts"]["uploads"][0]["status"] == 401
    assert lossy["facts"]["uploads"][0]["retransmissions"] >= 10
    # A busy machine acknowledges late now and then, and TCP sends one too many.
    assert clean["grade"] == "fine" and clean["facts"]["uploads"][0]["retransmissions"] <= 2


def test_a_black_hole_for_large_packets_is_measured(wire: Wire) -> None:
    """Packets over 1300 bytes vanish without a word; the largest segment that passes is found by halving."""
    firewall(wire.there, f"tcp dport {PORT} meta length > 1300 drop")
    with serving(wire.there):
        hole, clean = (told(asking(wire, "mtu", port, patience_s=0.4)) for port in (PORT, OTHER))

    assert hole["grade"] == "broken" and "large packets vanish" in hole["verdict"]
    assert 1200 <= hole["facts"]["largest_acknowledged_bytes"] <= 1300 - 40
    assert clean["grade"] == "fine" and clean["facts"]["path_mtu_bytes"] == 1500


def test_a_dark_target_is_broken_and_no_question_of_size(wire: Wire) -> None:
    """Nothing connects: no verdict on what lies behind."""
    wire.cut()

    found = [told(one) for one in [asking(wire, name, patience_s=0.3) for name in ("mtu", "connect", "edge")]]

    assert [one["grade"] for one in found] == ["broken"] * 3
    assert "TCP did not connect" in found[0]["verdict"] and "0 of 2 connected" in found[1]["verdict"]


def test_a_carriers_nat_is_named_among_the_hops(wire: Wire) -> None:
    """The second machine routes, as 100.64.0.1; the goal is a third hop's address behind it."""
    wire.here.ip("addr", "add", "100.64.0.2/24", "dev", "wire")
    wire.there.ip("addr", "add", "100.64.0.1/24", "dev", "wire")
    wire.there.output("sysctl", "-qw", "net.ipv4.ip_forward=1")
    wire.there.ip("link", "add", "beyond", "type", "veth", "peer", "name", "nobody")
    wire.there.ip("link", "set", "beyond", "up")
    wire.there.ip("route", "add", "203.0.113.0/24", "dev", "beyond")
    wire.here.ip("route", "add", "203.0.113.0/24", "via", "100.64.0.1", "src", "100.64.0.2")

    asked = wire.here.python(
        "tests.probes.near_end",
        "path",
        "http://203.0.113.9:80",
        json.dumps({"hops": 2, "hop_patience_s": 0.3}),
    )
    found = told(asked)

    assert (
        found["grade"] == "noted" and "a carrier's NAT stands on the way: 100.64.0.1 (1)" in found["verdict"]
    )
    assert found["facts"]["carrier_nat_hops"] == [1] and not found["facts"]["reached"]
    near = told(asking(wire, "path", hops=3))
    assert near["facts"]["reached"] and near["facts"]["hops"][0]["address"] == wire.there.ipv4


def test_a_trace_by_ipv6_and_echoes_where_they_are_allowed(wire: Wire) -> None:
    """Both without root's rights over sockets: the kernel tells an ordinary one who complained."""
    wire.here.output("sysctl", "-qw", "net.ipv4.ping_group_range=0 0")

    six = told(wire.here.python("tests.probes.near_end", "path", f"http://[{wire.there.ipv6}]:80", "{}"))
    echoes = [told(wire.here.python("tests.probes.near_end", "ping", f"http://{at}:80", "{}"))
              for at in (wire.there.ipv4, f"[{wire.there.ipv6}]")]  # fmt: skip

    assert six["facts"]["reached"] and six["facts"]["hops"][0]["address"] == wire.there.ipv6
    assert [(one["facts"]["by"], one["facts"]["lost"], one["grade"]) for one in echoes] == [
        ("ICMP", 0, "fine")
    ] * 2
