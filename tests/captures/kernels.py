"""Captures made on the spot: three machines in network namespaces, a router in the middle, tcpdump on both ends.

    near (client) --- mid (router, nftables) --- far (server)

Needs root (tcpdump gives up its rights in a user's own namespace and then may write nothing), `unshare`, `nsenter`,
`ip`, `nft` and `tcpdump`. Nothing outside the namespaces is touched, and they are gone with the test.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.captures.scenes import FAR, FAR6, NEAR, NEAR6

ROOT = Path(__file__).parents[2]
PLAYED_S = 30.0
MID, MID6 = ("10.78.1.2", "10.78.2.1"), ("fd78:1::2", "fd78:2::1")


@functools.cache
def refusal() -> str:
    """Why no captures can be made here; empty where they can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    for tool in ("unshare", "nsenter", "ip", "nft", "tcpdump"):
        if not shutil.which(tool):
            return f"needs `{tool}`, which is not here"
    if os.geteuid() != 0:
        return "tcpdump writes from a network namespace as root only"
    tried = subprocess.run(
        ["unshare", "-n", "nft", "add", "table", "inet", "t"], capture_output=True, text=True
    )
    return "" if tried.returncode == 0 else f"no nftables in a namespace: {tried.stderr.strip()[:200]}"


needs_kernels = pytest.mark.skipif(bool(refusal()), reason=refusal() or "-")


@dataclass(frozen=True, slots=True)
class Captures:
    """The same connections, captured in three places."""

    near: Path
    "On the client's card (Ethernet)."
    far: Path
    "On the server's card."
    any: Path
    "On all of the client's interfaces, loopback among them (Linux cooked)."


@contextlib.contextmanager
def holding() -> Iterator[int]:
    """A process that does nothing, in a namespace of its own."""
    with subprocess.Popen(
        ["unshare", "-n", "sh", "-c", "echo ready; exec cat >/dev/null"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        yield holder.pid


def run(pid: int, *command: str) -> None:
    """Run a command on the machine that this process holds."""
    done = subprocess.run(["nsenter", "-t", str(pid), "-n", *command], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def _wired(near: int, mid: int, far: int) -> None:
    batch = {near: ["link set lo up"], mid: ["link set lo up"], far: ["link set lo up"]}
    for pid, card, address, address6 in (
        (near, "wire", NEAR, NEAR6),
        (far, "wire", FAR, FAR6),
        (mid, "left", MID[0], MID6[0]),
        (mid, "right", MID[1], MID6[1]),
    ):
        batch[pid] += [
            f"link set {card} up",
            f"addr add {address}/24 dev {card}",
            f"addr add {address6}/64 dev {card} nodad",
        ]
    for pid, side in ((near, 0), (far, 1)):
        batch[pid] += [f"route add default via {MID[side]}", f"-6 route add default via {MID6[side]}"]
    run(mid, "ip", "link", "add", "left", "type", "veth", "peer", "name", "wire", "netns", str(near))
    run(mid, "ip", "link", "add", "right", "type", "veth", "peer", "name", "wire", "netns", str(far))
    for pid, lines in batch.items():
        for line in lines:
            run(pid, "ip", *line.split())
    run(mid, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    run(mid, "nft", "add table inet t; add chain inet t f { type filter hook forward priority 0; }")
    run(near, "nft", "add table inet t; add chain inet t o { type filter hook output priority 0; }")


@contextlib.contextmanager
def _listening(pid: int, interface: str, path: Path) -> Iterator[None]:
    command = ["tcpdump", "-i", interface, "-n", "-U", "--immediate-mode", "-Z", "root"]
    # A slot of the kernel's ring has room for the whole of -s: 256 kB by default, and 64 slots are soon full.
    command += ["-s", "4096", "-B", "32768", "-w", str(path), "tcp"]
    with subprocess.Popen(
        ["nsenter", "-t", str(pid), "-n", *command], stderr=subprocess.PIPE, text=True
    ) as dump:
        assert dump.stderr is not None
        for line in dump.stderr:
            if "listening on" in line:
                break
        else:
            pytest.skip(f"tcpdump does not listen on {interface}")
        try:
            yield
        finally:
            dump.send_signal(signal.SIGINT)
            _, said = dump.communicate(timeout=5)
    assert "\n0 packets dropped by kernel" in said, said


def play(directory: Path, *names: str) -> Captures:
    """Play these scenes at once and return what tcpdump wrote."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    authority.issue_cert("api.test").private_key_and_cert_chain_pem.write_to_path(directory / "far.pem")
    captures = Captures(directory / "near.pcap", directory / "far.pcap", directory / "any.pcap")
    with holding() as near, holding() as mid, holding() as far:
        _wired(near, mid, far)
        with (
            _listening(near, "wire", captures.near),
            _listening(far, "wire", captures.far),
            _listening(near, "any", captures.any),
        ):
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "tests.captures.stage",
                    *map(str, (near, mid, far)),
                    str(directory),
                    *names,
                ],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "HOME": str(directory)},
                capture_output=True,
                text=True,
                timeout=PLAYED_S,
            )
    assert done.stdout.strip() == "done", done.stdout + done.stderr
    return captures
