"""What this machine tells about a process and its descendants: CPU time, memory. Linux only.

CPU is each process's own CPU-time clock (user and system, all threads, nanoseconds). The clock of another process
is read by its number, the way `clock_getcpuclockid(3)` builds it. `/proc/PID/stat` would count in ticks of 10 ms, and
`/proc/PID/schedstat` covers the main thread alone.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import time
from contextlib import suppress
from pathlib import Path

_CPUCLOCK_SCHED = 2


def tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds used by the process and its living descendants."""
    total = 0.0
    for one in tree(pid):
        with suppress(OSError):
            total += time.clock_gettime(~one << 3 | _CPUCLOCK_SCHED)
    return total


def pss_bytes(pid: int) -> int:
    """Proportional set size of the process and its descendants: shared pages are divided among their users."""
    total = 0
    for one in tree(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def waited_s(pid: int) -> float:
    """Seconds for which threads of the tree were ready and had to wait for their CPU: others were using it."""
    total = 0
    for one in tree(pid):
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[1])
    return total / 1e9


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us have; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pin(cpu: int) -> None:
    """Keep the calling process, and what it starts later, on one CPU."""
    os.sched_setaffinity(0, {cpu})


def two_cpus() -> tuple[int, int] | None:
    """One CPU for the load and one for the relays; None where this process may use only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else None


def describe() -> dict[str, str | int]:
    """What the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")), "unknown"
    )
    return {
        "cpu": model,
        "cpus": os.cpu_count() or 0,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


class Metronome:
    """A file descriptor that becomes readable at a steady beat (timerfd): event loops' own timers drift and bunch."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._libc = libc
        self.fd: int = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def start(self, beat_s: float) -> None:
        """Beat from now on, every `beat_s` seconds; 0 stops it."""
        seconds, nanos = divmod(round(beat_s * 1e9), 1_000_000_000)
        spec = struct.pack("qqqq", seconds, nanos, seconds, nanos)
        if self._libc.timerfd_settime(self.fd, 0, spec, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def beats(self) -> int:
        """How many beats have passed since the last call."""
        try:
            return int.from_bytes(os.read(self.fd, 8), "little")
        except BlockingIOError:
            return 0

    def close(self) -> None:
        os.close(self.fd)
