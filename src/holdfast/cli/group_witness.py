"""Which signals reached the whole process group, and so the command too.

A key of the terminal, a shell that hangs up its jobs, `timeout`, `kill 0` in a script and a service manager send to
every process of a group: then the command has the signal, and must not get it again from us. What another program sends
to our process id alone reaches nobody else, and is handed on. The kernel does not tell the two apart: of both it says
that a process sent it. So a second process of ours stays in the group, does nothing, and says what reached it. What
reached us and not the witness was meant for us alone.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

ANSWER_S = 1.0
"How long a witness may take to answer; one that was stopped is not waited for any longer."
_STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_AGE = struct.Struct("=Bd")


class GroupWitness:
    """A process that hears `signals` as we do. To be made where no thread runs and handlers of ours do nothing."""

    def __init__(self, signals: Collection[int]) -> None:
        self._ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _stay(theirs, signals)
            finally:
                os._exit(0)
        theirs.close()
        self._ours.settimeout(ANSWER_S)

    def heard(self, within_s: float) -> frozenset[int] | None:
        """What it has heard in the last seconds; None where it is there no more."""
        try:
            self._ours.sendall(b"?")
            size = self._ours.recv(1)
            told = self._ours.recv(size[0] * _AGE.size, socket.MSG_WAITALL) if size and size[0] else b""
        except OSError:
            return None
        if not size:
            return None
        return frozenset(number for number, age_s in _AGE.iter_unpack(told) if age_s <= within_s)

    def close(self) -> None:
        """It goes."""
        self._ours.close()
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _stay(questions: socket.socket, signals: Collection[int]) -> None:
    """The witness's life: until whoever asks is gone."""
    heard: dict[int, float] = {}

    def note(number: int, frame: object) -> None:
        heard[number] = time.monotonic()

    for stop in _STOPS:
        signal.signal(stop, signal.SIG_IGN)
    for number in signals:
        signal.signal(number, note)
    # The listening socket, the gateway's control and the user's pipes must not live on with it.
    for place in list(Path("/dev/fd").iterdir()):
        if int(place.name) != questions.fileno():
            with suppress(OSError):
                os.close(int(place.name))
    while questions.recv(1):
        now = time.monotonic()
        ages = [_AGE.pack(number, now - at) for number, at in list(heard.items())]
        questions.sendall(bytes([len(ages)]) + b"".join(ages))
