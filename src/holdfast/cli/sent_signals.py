"""Signals that a process sent to us alone, told apart from those that the terminal sends to a whole process group.

A key in the terminal reaches the command as it reaches us, and must not arrive twice. What another program sends to
our process id (an editor, a script, a CI runner) reaches nobody else. A handler in Python is not told who sent its signal;
`sigwaitinfo` is, and a thread that waits in it leaves the loop of the main thread as it is. macOS has none: there
`heard` is empty.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

KEYS = (signal.SIGINT, signal.SIGQUIT)
"What the terminal makes of Ctrl-C and Ctrl-\\."


def by_process(code: int) -> bool:
    """Whether a signal with this `si_code` was sent by a process: the kernel's own are above zero (SI_KERNEL is 128)."""
    return code <= 0


class SentSignals:
    """Calls `sent(number, pid)` in a thread of its own for each of `KEYS` that a process sends to this process.

    Those that were ignored when we came stay so. From here to `close` they are blocked in the thread that made this, so
    a program that must not inherit that is started before.
    """

    def __init__(self, sent: Callable[[int, int], None]) -> None:
        self._sent = sent
        self._closed = False
        self.heard: frozenset[int] = frozenset()
        "The signals that are waited for."
        if hasattr(signal, "sigwaitinfo"):
            self.heard = frozenset(
                number for number in KEYS if signal.getsignal(number) is not signal.SIG_IGN
            )
        self._thread = threading.Thread(target=self._wait, name="sent-signals", daemon=True)
        if self.heard:
            signal.pthread_sigmask(signal.SIG_BLOCK, self.heard)
            self._thread.start()

    def _wait(self) -> None:
        while True:
            info = signal.sigwaitinfo(self.heard)
            if self._closed:
                return
            if by_process(info.si_code):
                self._sent(info.si_signo, info.si_pid)

    def close(self) -> None:
        """Hear no more; the signals do again what they did before."""
        if not self.heard:
            return
        self._closed = True
        if self._thread.ident is not None:
            signal.pthread_kill(self._thread.ident, min(self.heard))
        self._thread.join()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.heard)
