"""Asking the journal: what happens to a question that somebody ends."""

from __future__ import annotations

import os
import signal
import threading
import time

import duckdb
import pytest

from holdfast.telemetry.query import _interruptible

FOR_EVER = "SELECT max(sin(x)) FROM range(1000000000000) one(x)"


def test_an_interruption_that_comes_before_the_work_is_not_forgotten() -> None:
    """Ctrl-C while the question is still being handed over ends it all the same, as soon as it runs."""
    database, began = duckdb.connect(), threading.Event()

    def late() -> duckdb.DuckDBPyConnection:
        began.set()
        time.sleep(0.3)  # DuckDB has not been asked yet, and forgets what it is told now
        return database.execute(FOR_EVER)

    def interrupt() -> None:
        began.wait(5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt), _interruptible(database) as run:
        run(late)
