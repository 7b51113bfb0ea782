"""The log of gateways under `run`: one small file in the state directory, because the terminal belongs to the command."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

from holdfast.flight.state import RUN_LOGS

LOG_NAME, LOG_NAME_BEFORE = RUN_LOGS
LOG_BYTES = 1 << 20


class LogFile:
    """Lines for a file that is put aside once when it is full. Several processes may write to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, text: str) -> None:
        """Append one line. Never raises: a full disk must not end a turn."""
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size > LOG_BYTES:
                self._path.replace(self._path.with_name(LOG_NAME_BEFORE))
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                os.write(descriptor, f"{stamp} [{os.getpid()}] {text}\n".encode(errors="backslashreplace"))
            finally:
                os.close(descriptor)
