"""Turns that broke, for the tests of this room: told by hand, as gateways were seen to write them down."""

from __future__ import annotations

from holdfast.flight import moments as m
from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side
from holdfast.flight.instant import Instant
from holdfast.flight.reading import StoredTurn
from holdfast.flight.record import TurnRecord
from tests.flight.telling import NOON, end, tell, turn

Facts = dict[str, str | int | float | bool | None]

ALIVE: Facts = {
    "tcp_state": "CLOSE", "rtt_ms": 21.0, "retransmits": 0, "probes": 0, "unacked_bytes": 0, "total_retrans": 0,
    "last_ack_recv_ms": 40, "so_error": 0,
}  # fmt: skip
"What a kernel tells of a connection that worked until its end."
GAVE_UP = Ending(
    Side.CLIENT, Mechanism.RST, Phase.IN_TOOL_USE, "",
    ALIVE | {"since_request_s": 302.1, "since_byte_s": 300.1, "since_event_s": 300.1},
)  # fmt: skip
PROVIDER_RESET = Ending(
    Side.PROVIDER, Mechanism.RST, Phase.IN_TEXT, "[Errno 104] Connection reset by peer",
    ALIVE | {"errno": 104, "silence_s": 0.4, "age_s": 61.0, "peer_closed": False, "reused": False},
)  # fmt: skip
REFUSED = Ending(
    Side.PROVIDER, Mechanism.REFUSED, Phase.CONNECTING, "connection refused at api.anthropic.com:443", {"errno": 111}
)  # fmt: skip


def stored(record: TurnRecord, kept_bytes: int | None = None) -> StoredTurn:
    """As the journal would give it back."""
    return StoredTurn(record, "instance-1", record.ending.code if record.ending else None, kept_bytes)


def began(start: Instant = NOON, turn_id: str = "01m7x2abcdefgh") -> TurnRecord:
    """A request that was sent, answered with 200, and is inside a tool call after two seconds."""
    record = tell(
        turn(start, turn_id=turn_id),
        (0.0, m.RequestEdited("identity encoding")),
        (0.0, m.ReaderJoined(1, "first", 0)),
        (0.0, m.AttemptStarted(1)),
        (0.1, m.Connected(1, "203.0.113.7:443", 0.08, False, "TLSv1.3")),
        (0.2, m.RequestSent(1, 812_000)),
        (1.5, m.HeadersArrived(1, 200, "req_011CfrozenTurn", "text/event-stream", "9eea680afe7cbd1f-FRA")),
        (1.6, m.FirstEventArrived(1, "claude-sonnet-4-5", 81_200)),
        (1.8, m.BlockOpened(0, "text")),
        (2.0, m.BlockOpened(1, "tool_use", "Write")),
    )
    record.status, record.request_id, record.edge_id = 200, "req_011CfrozenTurn", "9eea680afe7cbd1f-FRA"
    record.attempts, record.readers, record.input_tokens = 1, 1, 81_200
    record.request_bytes, record.answer_bytes = 812_000, 91_300
    return record


def frozen(start: Instant = NOON, turn_id: str = "01m7x2abcdefgh", *, comes_back: bool = True) -> TurnRecord:
    """The freeze: 300 s of silence in a tool call, the client resets, and (mostly) asks the same again."""
    record = tell(
        began(start, turn_id),
        (302.1, m.ReaderLeft(1, "gave_up", "stream idle", 300.0, GAVE_UP)),
        (302.1, m.TurnOrphaned(1200.0)),
    )
    record.longest_quiet_s = 400.0
    if not comes_back:
        tell(
            record,
            (402.0, m.AnswerFinished("tool_use", 29_327)),
            (1502.1, m.OrphanExpired("unheard")),
            (1502.1, m.AnswerKept(91_300, True)),
        )
        record.output_tokens = record.wasted_tokens = 29_327
        unheard = Ending(Side.CLIENT, Mechanism.RST, Phase.IN_TOOL_USE, "nobody heard the finished answer")
        return end(record, 1502.1, unheard)
    tell(
        record,
        (302.5, m.ReaderJoined(2, "retry", 1_400)),
        (402.0, m.AnswerFinished("tool_use", 29_327)),
        (402.0, m.AttemptEnded(1, COMPLETED)),
        (402.1, m.AnswerHeard(2)),
    )
    record.output_tokens, record.spared, record.readers = 29_327, 1, 2
    record.saved_from = "silence past its stream idle limit of 300 s"
    return end(record, 402.1)


def reset_and_healed() -> TurnRecord:
    """Upstream resets inside text; a second attempt goes on in the same stream."""
    record = tell(
        began(),
        (61.2, m.AttemptEnded(1, PROVIDER_RESET)),
        (61.2, m.AttemptPlanned(2, 0.0, "fresh connection", "retry 1 of 3")),
        (61.2, m.Healed("restart", "P.rst.text")),
        (61.2, m.AttemptStarted(2)),
        (61.4, m.RequestSent(2, 812_000)),
        (62.0, m.HeadersArrived(2, 200, "req_011CsecondTry", "text/event-stream")),
        (62.1, m.BlockOpened(0, "text")),
        (80.0, m.AnswerFinished("end_turn", 900, True)),
        (80.0, m.AttemptEnded(2, COMPLETED)),
        (80.1, m.AnswerHeard(1)),
    )
    record.healed, record.attempts, record.request_id, record.output_tokens = (
        "restart",
        2,
        "req_011CsecondTry",
        900,
    )
    return end(record, 80.1)


def refused() -> TurnRecord:
    """Nobody listens upstream."""
    record = tell(
        turn(turn_id="01m7x2abcdefgh"),
        (0.0, m.ReaderJoined(1, "first", 0)),
        (0.0, m.AttemptStarted(1)),
        (0.001, m.AttemptEnded(1, REFUSED)),
        (0.001, m.NotAskedAgain("no connection could be had")),
        (0.001, m.ErrorSaid(502, "api_error")),
    )
    record.status, record.attempts, record.readers = 502, 1, 1
    return end(record, 0.001, REFUSED)


def outage() -> TurnRecord:
    """Upstream is away for seven seconds, and the turn waits."""
    record = tell(
        turn(turn_id="01m7x2abcdefgh"),
        (0.0, m.ReaderJoined(1, "first", 0)),
        (0.0, m.AttemptStarted(1)),
        (0.1, m.NetworkGone("its name is not resolved")),
        (7.1, m.NetworkBack(7.0)),
        (7.2, m.RequestSent(1, 50_000)),
        (7.4, m.HeadersArrived(1, 200, "req_after", "text/event-stream")),
        (7.5, m.BlockOpened(0, "text")),
        (8.0, m.AnswerFinished("end_turn", 22)),
        (8.0, m.AttemptEnded(1, COMPLETED)),
        (8.1, m.AnswerHeard(1)),
    )
    record.status, record.attempts, record.request_id = 200, 1, "req_after"
    return end(record, 8.1)


def cancelled() -> TurnRecord:
    """Somebody presses Esc four seconds into a tool call."""
    hung_up = Ending(Side.CLIENT, Mechanism.RST, Phase.IN_TOOL_USE, "", ALIVE | {"since_byte_s": 1.0})
    stopped = Ending(Side.GATEWAY, Mechanism.CANCELLED, Phase.IN_TOOL_USE, "nobody wants the answer any more")
    record = tell(
        began(),
        (4.0, m.ReaderLeft(1, "cancelled", None, None, hung_up)),
        (6.0, m.UpstreamStopped(1, "nobody wants the answer any more")),
        (6.0, m.AttemptEnded(1, stopped)),
    )
    return end(record, 6.0, stopped)
