"""For the tests of this room: lines read as a whole text, and turns that others could have seen."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.flight import moments as m
from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side
from holdfast.flight.instant import Instant
from holdfast.flight.reading import StoredTurn
from holdfast.flight.record import TurnRecord
from holdfast.records.formats import read_lines
from holdfast.records.legs import Leg, legs_of
from holdfast.records.sighting import Sighting

NOON_S = 1_774_693_101.0
"2026-03-28 10:18:21 UTC."
LEFT = Ending(Side.CLIENT, Mechanism.RST, Phase.IN_TOOL_USE, "[Errno 104] Connection reset by peer")
BROKE = Ending(Side.PROVIDER, Mechanism.FIN, Phase.IN_TEXT)


def seen(text: str, near_s: float = NOON_S) -> list[Sighting]:
    """All that a text tells; every line of it must be understood."""
    found, reader = read_lines(text.splitlines(), near_s)
    assert reader.dirt == 0, f"line {reader.first_dirt} was not understood"
    return found


def one(text: str, near_s: float = NOON_S) -> Sighting:
    """The one thing that a text tells."""
    (found,) = seen(text, near_s)
    return found


def turn(
    turn_id: str,
    start_s: float,
    took_s: float,
    ending: Ending = COMPLETED,
    *,
    path: str = "/v1/messages",
    answer_bytes: int = 0,
    request_id: str | None = None,
) -> StoredTurn:
    """A turn of one connection and one attempt; what ended it ended both, and at once."""

    def at(seconds: float) -> Instant:
        return Instant(50.0 + seconds, round((start_s + seconds) * 1000))

    record = TurnRecord(turn_id, at(0), "turn", "POST", path, upstream="https://api.example", status=200)
    record.note(at(0), m.RequestArrived("POST", path, "agent", "unknown"))
    record.note(at(0), m.ReaderJoined(1, "first", 0))
    record.note(at(0.001), m.AttemptStarted(1))
    record.note(at(min(0.4, took_s)), m.HeadersArrived(1, 200, request_id, "text/event-stream"))
    if ending.completed:
        record.note(at(took_s), m.AttemptEnded(1, COMPLETED))
        record.note(at(took_s), m.AnswerHeard(1))
    elif ending.side is Side.CLIENT:
        record.note(at(took_s), m.ReaderLeft(1, "gave_up", "events", 300.0, ending))
        record.note(at(took_s), m.UpstreamStopped(1, "nobody follows it"))
    else:
        record.note(at(took_s), m.AttemptEnded(1, ending))
    record.request_id, record.answer_bytes, record.attempts, record.readers = request_id, answer_bytes, 1, 1
    record.ended, record.ending = at(took_s), ending
    record.note(at(took_s), m.TurnEnded(ending))
    return StoredTurn(record, "instance", ending.code, None)


def legs(*turns: StoredTurn) -> Sequence[Leg]:
    """The legs of some turns."""
    return [leg for told in turns for leg in legs_of(told)]
