"""Turns for the tests of this room and of the viewing commands: told by hand, times given."""

from __future__ import annotations

from holdfast.flight import moments as m
from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side
from holdfast.flight.instant import Instant
from holdfast.flight.moments import Moment
from holdfast.flight.record import TurnRecord, new_turn_id

NOON = Instant(1000.0, 1_800_000_000_000)
HUNG_UP = Ending(Side.CLIENT, Mechanism.RST, Phase.IN_TOOL_USE, "[Errno 104] Connection reset by peer")


def at(seconds: float, start: Instant = NOON) -> Instant:
    """So many seconds after the start, on both clocks."""
    return Instant(start.mono_s + seconds, start.wall_ms + int(seconds * 1000))


def turn(start: Instant = NOON, *, turn_id: str | None = None) -> TurnRecord:
    """A turn of Claude Code's that has just arrived."""
    record = TurnRecord(
        turn_id or new_turn_id(start), start, "turn", "POST", "/v1/messages",
        agent="claude-cli/2.1.114 (external, cli)", profile="claude-code 2.1.114", session="5c0ffee0-1111",
        upstream="https://api.anthropic.com", model="claude-sonnet-4-5",
    )  # fmt: skip
    record.note(start, m.RequestArrived("POST", "/v1/messages", record.agent, record.profile))
    return record


def tell(record: TurnRecord, *moments: tuple[float, Moment]) -> TurnRecord:
    """Add moments at seconds after the turn's start."""
    for seconds, moment in moments:
        record.note(at(seconds, record.started), moment)
    return record


def end(record: TurnRecord, seconds: float, ending: Ending = COMPLETED) -> TurnRecord:
    """End the turn."""
    record.ended, record.ending = at(seconds, record.started), ending
    return tell(record, (seconds, m.TurnEnded(ending)))


def short_turn(start: Instant = NOON, *, turn_id: str | None = None) -> TurnRecord:
    """A short answer and nothing special."""
    record = tell(
        turn(start, turn_id=turn_id),
        (0.001, m.RequestEdited("identity encoding")),
        (0.001, m.ReaderJoined(1, "first", 0)),
        (0.001, m.AttemptStarted(1)),
        (0.042, m.Connected(1, "203.0.113.7:443", 0.041, False, "TLSv1.3")),
        (0.043, m.RequestSent(1, 2048)),
        (0.8, m.HeadersArrived(1, 200, "req_short", "text/event-stream", "ray-FRA")),
        (0.9, m.FirstEventArrived(1, "claude-sonnet-4-5", 1200)),
        (0.9, m.BlockOpened(0, "text")),
        (1.7, m.AnswerFinished("end_turn", 40)),
        (1.7, m.AttemptEnded(1, COMPLETED)),
        (1.8, m.AnswerHeard(1)),
    )
    record.status, record.request_id, record.edge_id = 200, "req_short", "ray-FRA"
    record.attempts, record.readers, record.answer_bytes, record.events = 1, 1, 4096, 25
    return end(record, 1.8)


def frozen_turn(start: Instant = NOON, *, turn_id: str | None = None) -> TurnRecord:
    """A giant tool argument: 304 s of silence, a first attempt that was reset, a client that comes back."""
    record = tell(
        turn(start, turn_id=turn_id),
        (0.0, m.ReaderJoined(1, "first", 0)),
        (0.0, m.AttemptStarted(1)),
        (0.3, m.AttemptEnded(1, Ending(Side.PROVIDER, Mechanism.RST, Phase.CONNECTING))),
        (0.5, m.AttemptStarted(2)),
        (0.6, m.Connected(2, "203.0.113.7:443", 0.08, False, "TLSv1.3")),
        (0.6, m.RequestSent(2, 812_000)),
        (2.1, m.HeadersArrived(2, 200, "req_frozen", "text/event-stream")),
        (2.2, m.FirstEventArrived(2, "claude-sonnet-4-5", 81_200)),
        (2.2, m.BlockOpened(0, "text")),
        (4.0, m.BlockOpened(1, "tool_use", "Write")),
        (14.0, m.QuietNoticed("tool", "Write")),
        (308.0, m.QuietEnded(304.0, 30)),
        (310.0, m.ReaderLeft(1, "gave_up", "events", 300.0, HUNG_UP)),
        (310.0, m.TurnOrphaned(1200.0)),
        (310.6, m.ReaderJoined(2, "retry", 48_211)),
        (330.0, m.AnswerFinished("tool_use", 9_001)),
        (330.1, m.AnswerHeard(2)),
    )
    record.status, record.request_id, record.attempts, record.readers = 200, "req_frozen", 2, 2
    record.keepalives, record.longest_quiet_s, record.answer_bytes = 30, 304.0, 91_300
    record.saved_from, record.spared = "silence past 300 s", 1
    return end(record, 330.1)
