"""The attic: answers kept because nobody heard them to their end.

One private file per answer, `answers/<turn-id>.bin`, its exact bytes; what is known about it in the journal's
table `answer`. A file is written under another name first, so that a name in the attic always means a
whole file. Seven days and one gigabyte by default; the oldest go first.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from holdfast.flight.record import NOTHING_KNOWN, About
from holdfast.flight.state import ANSWERS, PRIVATE_FILE, make_private

_TURN_ID = re.compile(r"[0-9a-z]{1,64}")
UNFINISHED_FILE_MS = 3600 * 1000
"A temporary file, or one without a row, older than this was left by a process that died."


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What the attic knows about one answer without opening it."""

    turn_id: str
    size: int
    "Bytes."
    complete: bool
    "Whether the answer's own end is in it."
    content_type: str
    kept_wall_ms: int
    handed_over: bool = False
    "Whether a retry was given it afterwards."
    about: About = NOTHING_KNOWN
    "What it answers, as far as that was kept."

    @property
    def file_name(self) -> str:
        """Below `answers/`."""
        return f"{self.turn_id}.bin"


class Attic:
    """The answers of one state directory. Its methods wait for the disk and raise `OSError` or `sqlite3.Error`."""

    def __init__(self, state_dir: Path, connection: sqlite3.Connection) -> None:
        self.directory = state_dir / ANSWERS
        self._connection = connection

    def keep(self, answer: KeptAnswer, pieces: Iterable[bytes]) -> None:
        """Write an answer, whose size is then that of the pieces; one kept earlier for the same turn is replaced."""
        if not _TURN_ID.fullmatch(answer.turn_id):
            raise ValueError(f"{answer.turn_id!r} is not a turn id")
        make_private(self.directory)
        temporary = self.directory / f".{answer.turn_id}.{secrets.token_hex(4)}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
            with os.fdopen(descriptor, "wb") as file:
                size = sum(map(file.write, pieces))
            temporary.rename(self.directory / answer.file_name)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        self._connection.execute(
            "INSERT OR REPLACE INTO answer (turn_id, size, complete, content_type, kept_wall_ms, file_name, handed_over, "
            "model, messages, request_bytes, tools, tool, path) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                answer.turn_id, size, answer.complete, answer.content_type,
                answer.kept_wall_ms, answer.file_name, answer.handed_over, *astuple(answer.about),
            ),
        )  # fmt: skip

    def answers(self) -> list[KeptAnswer]:
        """All kept answers, the newest first."""
        rows = self._connection.execute(
            "SELECT turn_id, size, complete, content_type, kept_wall_ms, handed_over, "
            "model, messages, request_bytes, tools, tool, path FROM answer "
            "ORDER BY kept_wall_ms DESC, turn_id DESC"
        )
        return [
            KeptAnswer(key, size, bool(whole), kind, at, bool(over), About(*about))
            for key, size, whole, kind, at, over, *about in rows
        ]

    def find(self, start: str) -> list[KeptAnswer]:
        """Those whose turn id begins with `start`; one that is exactly `start` counts alone."""
        found = [answer for answer in self.answers() if answer.turn_id.startswith(start)]
        return [answer for answer in found if answer.turn_id == start] or found

    def read(self, answer: KeptAnswer) -> bytes:
        """The answer's bytes. Raises `FileNotFoundError` where somebody took the file away."""
        return (self.directory / answer.file_name).read_bytes()

    def remove(self, turn_ids: list[str]) -> int:
        """Forget these answers, file first. Returns how many there were."""
        removed = 0
        for turn_id in turn_ids:
            if not _TURN_ID.fullmatch(turn_id):
                continue
            (self.directory / f"{turn_id}.bin").unlink(missing_ok=True)
            removed += self._connection.execute("DELETE FROM answer WHERE turn_id = ?", (turn_id,)).rowcount
        return removed

    def total_bytes(self) -> int:
        """Of all kept answers."""
        total: int = self._connection.execute("SELECT coalesce(sum(size), 0) FROM answer").fetchone()[0]
        return total

    def expire(self, age_s: float, total_bytes: int, now_wall_ms: int) -> int:
        """Remove what is older than `age_s`, then the oldest until `total_bytes` hold the rest. Returns how many."""
        answers = self.answers()
        removed = self.remove(expired(answers, age_s, total_bytes, now_wall_ms))
        self._tidy({answer.file_name for answer in answers}, now_wall_ms)
        return removed

    def _tidy(self, known: set[str], now_wall_ms: int) -> None:
        """Remove old files that no row speaks of, and rows whose file is gone."""
        if not self.directory.is_dir():
            names: set[str] = set()
        else:
            names = {entry.name for entry in self.directory.iterdir()}
        for name in names - known:
            file = self.directory / name
            with contextlib.suppress(FileNotFoundError):
                if file.lstat().st_mtime_ns // 1_000_000 < now_wall_ms - UNFINISHED_FILE_MS:
                    file.unlink()
        for name in known - names:
            self._connection.execute("DELETE FROM answer WHERE file_name = ?", (name,))


def expired(answers: list[KeptAnswer], age_s: float, total_bytes: int, now_wall_ms: int) -> list[str]:
    """Which turns' answers have to go: those past their age, and the oldest beyond the total size."""
    gone, kept_bytes = [], 0
    for answer in sorted(answers, key=lambda one: (one.kept_wall_ms, one.turn_id), reverse=True):
        kept_bytes += answer.size
        if kept_bytes > total_bytes or answer.kept_wall_ms < now_wall_ms - age_s * 1000:
            gone.append(answer.turn_id)
    return gone
