"""`holdfast serve` as a process of its own: for tests of memory, signals, and gateways that are killed."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_S = 20.0
LINUX = sys.platform == "linux"


def environment(home: Path) -> dict[str, str]:
    """A clean environment whose state directory is `home/state`."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "HOLDFAST_STATE_DIR": str(home / "state"),
    }


def holdfast(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    command = [sys.executable, "-m", "holdfast", *arguments]
    return subprocess.run(
        command, env=environment(home), capture_output=True, text=True, timeout=90, check=False
    )


def moments(home: Path, turn: str) -> list[str]:
    """The names of the moments that the journal has of a turn, in order."""
    told = holdfast(home, "flight", turn, "--json")
    assert told.returncode == 0, told.stderr
    return [moment["name"] for moment in json.loads(told.stdout)["moments"]]


@dataclass
class Served:
    """A gateway process, and what it said."""

    process: subprocess.Popen[str]
    home: Path
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Where it listens."""
        found = re.search(r"listening on https?://127\.0\.0\.1:(\d+)", "".join(self.err))
        assert found, f"holdfast serve did not start: {''.join(self.err)}"
        return int(found[1])

    @property
    def ended_turns(self) -> list[dict[str, Any]]:
        """The log's lines: one for each turn that has ended."""
        return [json.loads(line) for line in list(self.out)]

    def wait_for(self, condition: Callable[[], object], *, seconds: float = 30.0) -> None:
        """Block until it is so."""
        limit = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > limit:
                raise TimeoutError(
                    f"not so within {seconds:g} s; said: {''.join(self.err)}{''.join(self.out)}"
                )
            time.sleep(0.01)

    def wait_for_turns(self, count: int = 1, *, seconds: float = 30.0) -> list[dict[str, Any]]:
        """Block until that many turns have ended; returns their lines."""
        self.wait_for(lambda: len(self.out) >= count, seconds=seconds)
        return self.ended_turns

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process and no other."""
        self.process.send_signal(number)

    def rss_mb(self) -> float:
        """Resident memory now."""
        return self._memory("VmRSS")

    def peak_mb(self) -> float:
        """The most that was ever resident, or since `forget_peak`. Linux only."""
        return self._memory("VmHWM")

    def forget_peak(self) -> None:
        """Let `peak_mb` begin anew (proc(5), clear_refs)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def spool_files(self) -> int:
        """How many nameless files it holds open in its spool. Linux only."""
        spool = f"{self.home / 'state' / 'spool'}/"
        return sum(place.startswith(spool) for place in self._open_files())

    def open_files(self) -> int:
        """How many descriptors it holds. Linux only."""
        return len(self._open_files())

    def cpu_s(self) -> float:
        """Processor time used so far, user and system. Linux only."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def _open_files(self) -> list[str]:
        found = []
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                found.append(str(entry.readlink()))
            except OSError:
                continue  # closed meanwhile
        return found

    def _memory(self, name: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
        assert found
        return int(found[1]) / 1024


@contextmanager
def serving(upstream: str, home: Path, *options: str) -> Iterator[Served]:
    """Start `holdfast serve` on a free loopback port; killed, by its pid, when the block is left."""
    command = [sys.executable, "-m", "holdfast", "serve", "--listen", "127.0.0.1:0", "--upstream", upstream]
    process = subprocess.Popen(
        [*command, "--log", "json", *options],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    served = Served(process, home)
    assert process.stdout is not None and process.stderr is not None
    for stream, lines in ((process.stdout, served.out), (process.stderr, served.err)):
        thread = threading.Thread(target=lines.extend, args=(stream,), daemon=True)
        thread.start()
        served._threads.append(thread)
    try:
        served.wait_for(lambda: served.err or process.poll() is not None, seconds=START_S)
        assert served.port
        yield served
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        for thread in served._threads:
            thread.join(10)


def raise_file_limit(count: int) -> bool:
    """Allow this process and those it starts that many open files; False where the machine does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return count <= hard


def check_journal(home: Path) -> list[str]:
    """What SQLite says of the journal's soundness; `["ok"]` is good."""
    (path,) = (home / "state").glob("*.sqlite")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return [str(row[0]) for row in database.execute("PRAGMA integrity_check")]
