"""The log of turns, written beside the event loop."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

from holdfast.flight.record import TurnRecord

WAITING_LINES: Final = 10_000
"Turns whose line is not written yet; beyond it the oldest go unwritten, and their number is said."
_GATHER_S: Final = 0.1


class TurnLog:
    """Writes a line per turn from a thread of its own: whoever reads our log slowly must not slow a turn."""

    def __init__(self, out: TextIO, tell: Callable[[TurnRecord], str]) -> None:
        self._out = out
        self._tell = tell
        self._waiting: deque[TurnRecord] = deque()
        self._lost = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="turn log", daemon=True)
        self._thread.start()

    def __call__(self, record: TurnRecord) -> None:
        """A turn has ended. Cheap, never waits, never raises."""
        if len(self._waiting) >= WAITING_LINES:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(record)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what is waiting, unless nobody takes it within `timeout_s`."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(_GATHER_S)  # one write for many turns
            self._wake.clear()
            self._write()

    def _write(self) -> None:
        lines = []
        while self._waiting:
            lines.append(self._tell(self._waiting.popleft()))
        if self._lost:
            lines.append(f"({self._lost} turns went unwritten: this log is read too slowly)")
            self._lost = 0
        # Whoever read our log has gone: no reason to end a turn.
        with contextlib.suppress(OSError, ValueError):
            self._out.write("".join(f"{line}\n" for line in lines))
            self._out.flush()
