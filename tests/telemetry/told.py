"""Ended turns for the tests of this room: told by hand, through a real journal."""

from __future__ import annotations

from pathlib import Path

from holdfast.flight.journal import Journal
from holdfast.flight.record import TurnRecord
from holdfast.gateway.gauges import Gauges as GatewayGauges
from holdfast.telemetry.ended import EndedTurn
from holdfast.telemetry.following import _read
from holdfast.telemetry.metrics import Gauges, Health, Tally, exposition


def ended(state: Path, *records: TurnRecord) -> list[EndedTurn]:
    """These turns as they are read back from a journal."""
    journal = Journal(state)
    for record in records:
        journal.changed(record)
    assert journal.settle()
    turns = _read(journal._connection, [record.turn_id for record in records])
    assert journal.close(10)
    return turns


IDLE, WELL = GatewayGauges(), Health()


def page(tally: Tally, gauges: Gauges = IDLE, health: Health = WELL, accept: str = "") -> str:
    """What a scraper reads."""
    return exposition(tally, gauges, health, accept)[0].decode()
