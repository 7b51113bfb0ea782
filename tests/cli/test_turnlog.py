"""The log of turns never holds up the turns."""

from __future__ import annotations

import io
import os
import threading

from holdfast.cli import turnlog
from holdfast.cli.turnlog import TurnLog
from holdfast.flight.instant import Instant
from holdfast.flight.record import TurnRecord


def turn(name: str) -> TurnRecord:
    return TurnRecord(name, Instant(0.0, 0), "turn", "POST", "/v1/messages")


def test_every_turn_has_its_line_in_order() -> None:
    """Gathered into few writes, complete when it is closed."""
    out = io.StringIO()
    log = TurnLog(out, lambda record: record.turn_id)
    for number in range(500):
        log(turn(str(number)))
    log.close()

    assert out.getvalue().split() == [str(number) for number in range(500)]


def test_a_reader_of_the_log_who_does_not_read_costs_lines_and_nothing_else() -> None:
    """A full pipe blocks the log's own thread only, and how many lines were lost is said."""
    read, write = os.pipe()
    heard: list[bytes] = []
    with os.fdopen(write, "w") as out:
        log = TurnLog(out, lambda record: record.turn_id * 1000)
        for number in range(turnlog.WAITING_LINES * 2):
            log(turn(f"{number:05d}"))
        drained = threading.Thread(target=_drain, args=(read, heard))
        drained.start()
        log.close(60)
    drained.join()
    os.close(read)

    assert b"went unwritten" in b"".join(heard)


def test_a_reader_of_the_log_who_is_gone_ends_nothing() -> None:
    """As with `holdfast serve | head`."""
    read, write = os.pipe()
    os.close(read)
    out = os.fdopen(write, "w")
    log = TurnLog(out, lambda record: record.turn_id)
    log(turn("a"))
    log.close()

    assert not log._thread.is_alive()


def _drain(read: int, heard: list[bytes]) -> None:
    while data := os.read(read, 1 << 20):
        heard.append(data)
