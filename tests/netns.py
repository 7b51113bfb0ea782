"""Two machines in network namespaces of their own, joined by a wire that a test may cut.

Needs `unshare`, `nsenter`, `ip` and `ss` (util-linux, iproute2), and a kernel that lets us have namespaces: as root, or
as a user where user namespaces are allowed. Nothing outside the namespaces is touched, and they are gone with the
test. What plays on a machine is a child process: `machine.python("tests.gateway.upstream.dark_path", "uvloop")`.

A cut loses every packet in silence, as a dead router does: the neighbour's hardware address is replaced by one that
nobody has. That needs no firewall and no traffic control. To unplug is another thing: this machine knows of it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOBODY = "02:00:00:00:00:99"
"A hardware address that no card has."


@functools.cache
def refusal() -> str:
    """Why there are no network namespaces for us; empty where there are."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    for tool in ("unshare", "nsenter", "ip", "ss"):
        if not shutil.which(tool):
            return f"needs `{tool}`, which is not here"
    tried = subprocess.run(
        ["unshare", "-rn", "ip", "link", "add", "name", "wire", "type", "veth", "peer", "name", "other"],
        capture_output=True,
        text=True,
    )
    return "" if tried.returncode == 0 else f"no network namespace of our own: {tried.stderr.strip()}"


needs_namespaces = pytest.mark.skipif(bool(refusal()), reason=refusal() or "-")


@dataclass(frozen=True, slots=True)
class Machine:
    """One end of the wire."""

    pid: int
    "A process that holds the namespace."
    ipv4: str
    ipv6: str
    home: Path

    def python(self, module: str, *args: str) -> subprocess.Popen[str]:
        """Start a module on this machine, from the repository's root, in a clean environment."""
        return subprocess.Popen(
            [*self._enter(), sys.executable, "-m", module, *args],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ip(self, *args: str) -> None:
        """Run `ip` on it."""
        self.output("ip", *args)

    def output(self, *command: str) -> str:
        """What a command says on it."""
        done = subprocess.run([*self._enter(), *command], capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def lose(self, address: str) -> None:
        """What this machine sends to that address gets lost from now on."""
        self.ip("neigh", "replace", address, "lladdr", NOBODY, "dev", "wire", "nud", "permanent")

    def find(self, address: str) -> None:
        """It arrives again."""
        self.ip("neigh", "flush", "to", address, "dev", "wire", "nud", "permanent")

    def _enter(self) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-U", "-n", "--preserve-credentials"]


@dataclass(frozen=True, slots=True)
class Wire:
    """Two machines and what joins them: a device called `wire` on each."""

    here: Machine
    there: Machine

    def cut(self) -> None:
        """Lose every packet, both ways, without a word to anybody."""
        for machine, other in ((self.here, self.there), (self.there, self.here)):
            machine.lose(other.ipv4)
            machine.lose(other.ipv6)

    def mend(self) -> None:
        """Undo `cut`."""
        for machine, other in ((self.here, self.there), (self.there, self.here)):
            machine.find(other.ipv4)
            machine.find(other.ipv6)

    def forget_flows(self) -> None:
        """Lose the packets of the connections that stand now, both ways, as a NAT does that forgot them."""
        established = self.here.output("ss", "-Htn", "state", "established", "dst", self.there.ipv4)
        ports = [line.split()[2].rpartition(":")[2] for line in established.splitlines()]
        assert ports, "no connection stands"
        for port in ports:
            self.here.ip("rule", "add", "pref", "1", "ipproto", "tcp", "sport", port, "blackhole")
            self.there.ip("rule", "add", "pref", "1", "ipproto", "tcp", "dport", port, "blackhole")


@contextlib.contextmanager
def two_machines(home: Path) -> Iterator[Wire]:
    """Two machines that reach each other, by IPv4 and IPv6. Their processes must have ended before this does."""
    with contextlib.ExitStack() as both:
        outer = both.enter_context(_holding(["unshare", "-rn"]))
        here = Machine(outer, "10.77.0.1", "fd77::1", home)
        enter = ["nsenter", "-t", str(outer), "-U", "--preserve-credentials", "unshare", "-n"]
        there = Machine(both.enter_context(_holding(enter)), "10.77.0.2", "fd77::2", home)
        here.ip(
            "link", "add", "name", "wire", "type", "veth", "peer", "name", "wire", "netns", str(there.pid)
        )
        for machine in (here, there):
            machine.ip("link", "set", "lo", "up")
            machine.ip("link", "set", "wire", "up")
            machine.ip("addr", "add", f"{machine.ipv4}/24", "dev", "wire")
            machine.ip("addr", "add", f"{machine.ipv6}/64", "dev", "wire", "nodad")
        yield Wire(here, there)


@contextlib.contextmanager
def _holding(command: list[str]) -> Iterator[int]:
    """A process that does nothing, in the namespace which the command makes. Yields its id."""
    holder = subprocess.Popen(
        [*command, "sh", "-c", "echo ready; exec cat >/dev/null"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None and holder.stderr is not None
        if holder.stdout.readline() != b"ready\n":
            pytest.skip(f"no network namespace: {holder.stderr.read().decode().strip()}")
        yield holder.pid
        # leaving closes its stdin, and it ends
