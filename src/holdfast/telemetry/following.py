"""Follows the turns of this process as they end: their ids come from the gateway, all else from the journal.

The gateway's event loop puts an id into a queue, and that is all it pays. A thread reads what the journal's thread
has written of these turns, a hundred at a time, and hands them to whoever counts or tells them. A turn that the
journal has not written yet is asked for again; one that it never writes (it says how many it dropped) is given up.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from holdfast.flight.record import TurnRecord
from holdfast.flight.redact import clean, scrub
from holdfast.flight.schema import JournalError, connect
from holdfast.flight.state import StateError
from holdfast.telemetry.ended import FIELDS, EndedTurn, ended_turn

log = logging.getLogger("holdfast.telemetry")

LOOK_EVERY_S = 2.0
WAITING_TURNS = 100_000
"Ids of turns that are not read yet; beyond it the oldest are given up, and counted. About 10 MB."
TRIES = 300
"So many looks, ten minutes, at a turn that the journal has not written."
BATCH = 100
_BREATH_S = 0.002
"Between two batches: this thread shares the interpreter with the one that carries turns."

Taker = Callable[[list[EndedTurn]], None]


class Follower:
    """A thread that reads ended turns from the journal. `__call__` never waits and never raises."""

    def __init__(
        self, state_dir: Path, takers: Sequence[Taker], *, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        self.missed = 0
        "Turns that were given up."
        self._state_dir = state_dir
        self._takers = takers
        self._look_every_s = look_every_s
        self._ids: deque[str] = deque()
        self._tries: dict[str, int] = {}
        self._wake = threading.Event()
        self._breath = threading.Event()
        "Never set: to wait on it is to let others run."
        self._closing = False
        self._looked = threading.Condition()
        self._looks = 0
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="holdfast-telemetry", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Follower {self.waiting} turns waiting, {self.missed} missed>"

    @property
    def waiting(self) -> int:
        """Turns that have ended and are not read yet."""
        return len(self._ids) + len(self._tries)

    def __call__(self, record: TurnRecord) -> None:
        """A turn has ended."""
        if len(self._ids) >= WAITING_TURNS:
            self._ids.popleft()
            self.missed += 1
        self._ids.append(record.turn_id)

    def catch_up(self, timeout_s: float) -> bool:
        """Wait until what the journal has written before this call is read. Never call it from the event loop."""
        with self._looked:
            target = self._looks + 2  # the look that is under way may have begun before
            self._wake.set()
            while self._looks < target and self._thread.is_alive():
                if not self._looked.wait(timeout_s):
                    return False
                self._wake.set()
        return self._looks >= target

    def close(self, timeout_s: float) -> bool:
        """Read what is left; close the journal before. False if it took too long."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # -- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        closing = False
        while not closing:
            self._wake.wait(self._look_every_s)
            self._wake.clear()
            closing = self._closing
            if self._ids or self._tries:
                connection = self._look(connection)
            with self._looked:
                self._looks += 1
                self._looked.notify_all()
        if connection is not None:
            connection.close()

    def _look(self, connection: sqlite3.Connection | None) -> sqlite3.Connection | None:
        """Read once what is there of all that waits. A failure is logged when it begins."""
        try:
            if connection is None:
                connection = connect(self._state_dir)
                connection.execute("PRAGMA query_only = ON")
            self._read_all(connection)
            self._failed = False
            return connection
        except (sqlite3.Error, JournalError, StateError, OSError) as error:
            if not self._failed:
                self._failed = True
                log.warning("ended turns cannot be read from the journal: %s", clean(scrub(str(error))))
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
            return None

    def _read_all(self, connection: sqlite3.Connection) -> None:
        while self._ids:
            self._tries.setdefault(self._ids.popleft(), 0)
        waiting = list(self._tries)
        for start in range(0, len(waiting), BATCH):
            batch = waiting[start : start + BATCH]
            turns = _read(connection, batch)
            for turn in turns:
                del self._tries[turn["turn_id"]]
            for take in self._takers:
                self._hand(take, turns)
            for turn_id in batch:
                if turn_id in self._tries:
                    self._tried(turn_id)
            if not self._closing:
                self._breath.wait(_BREATH_S)
        # While the disk takes none, turns pile up here as they do in the journal.
        while len(self._tries) > WAITING_TURNS:
            del self._tries[next(iter(self._tries))]
            self.missed += 1

    def _tried(self, turn_id: str) -> None:
        self._tries[turn_id] += 1
        if self._tries[turn_id] >= TRIES:
            del self._tries[turn_id]
            self.missed += 1

    def _hand(self, take: Taker, turns: list[EndedTurn]) -> None:
        if not turns:
            return
        try:
            take(turns)
        except Exception as error:  # a defect there must not end the thread here
            self.missed += len(turns)
            log.warning(
                "%d turns were not told on: %s: %s", len(turns), type(error).__name__, clean(str(error))
            )


def _read(connection: sqlite3.Connection, turn_ids: Sequence[str]) -> list[EndedTurn]:
    marks = ", ".join("?" * len(turn_ids))
    rows = connection.execute(
        f"SELECT {', '.join(FIELDS)} FROM turn WHERE turn_id IN ({marks}) AND ending_code IS NOT NULL "
        "ORDER BY turn_id",
        list(turn_ids),
    )
    return [ended_turn(row) for row in rows]
