"""The gateway by its front door: `holdfast serve` and `holdfast run` as their users start them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.clients.claude import Machine

HOLDFAST = (sys.executable, "-m", "holdfast")
START_S = 20.0


@dataclass
class Served:
    """A `holdfast serve` that runs."""

    url: str
    out: list[str] = field(default_factory=list)
    "What it wrote to stdout, complete once it has ended."
    err: list[str] = field(default_factory=list)


def state_dir(machine: Machine) -> Path:
    """Where the gateway of this machine keeps its state."""
    return machine.home / "state"


def environment(machine: Machine, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A clean environment for the gateway's own process."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(machine.home),
        "TMPDIR": str(machine.home / "tmp"),
        "LANG": "C.UTF-8",
        "HOLDFAST_STATE_DIR": str(state_dir(machine)),
        **(extra or {}),
    }


@contextmanager
def serving(
    upstream: str,
    machine: Machine,
    *options: str,
    env: Mapping[str, str] | None = None,
    keepalive: str = "1s",
) -> Iterator[Served]:
    """`holdfast serve` on a free loopback port, until the block is left; then SIGTERM, twice."""
    command = [*HOLDFAST, "serve", "--listen", "127.0.0.1:0", "--upstream", upstream]
    command += ["--keepalive", keepalive, *options]
    with subprocess.Popen(
        command,
        cwd=machine.work,
        env=environment(machine, env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        served = Served("")
        listening = threading.Event()
        assert process.stdout is not None and process.stderr is not None
        readers = [
            threading.Thread(target=_collect, args=(process.stdout, served.out, None)),
            threading.Thread(target=_collect, args=(process.stderr, served.err, listening)),
        ]
        for reader in readers:
            reader.start()
        try:
            listening.wait(START_S)
            said = re.search(r"listening on (\S+?),", "".join(served.err))
            assert said is not None, f"holdfast serve did not start: {''.join(served.err)}"
            served.url = said[1]
            yield served
        finally:
            for _ in range(2):
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            for reader in readers:
                reader.join(10)


def _collect(stream: Iterable[str], lines: list[str], listening: threading.Event | None) -> None:
    for line in stream:
        lines.append(line)
        if listening is not None and "listening on" in line:
            listening.set()
    if listening is not None:
        listening.set()


def run_prefix(machine: Machine, *options: str, keepalive: str = "1s") -> list[str]:
    """What is put before a command to run it under a gateway of its own."""
    place = f"HOLDFAST_STATE_DIR={state_dir(machine)}"
    return ["env", place, *HOLDFAST, "run", "--keepalive", keepalive, *options, "--"]
