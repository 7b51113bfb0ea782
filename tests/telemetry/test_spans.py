"""A turn as spans: the turn, its attempts, its client connections; moments as events; nothing that was said."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.instant import Instant
from holdfast.telemetry.spans import MOST_EVENTS, OUR_WORDS, Span, spans_of
from tests.flight.telling import HUNG_UP, NOON, at, end, frozen_turn, short_turn, tell, turn
from tests.telemetry.told import ended

MS = 1_000_000


def told(tmp_path: Path, record: object) -> list[Span]:
    (found,) = ended(tmp_path, record)  # type: ignore[arg-type]
    return spans_of(found)


def test_a_frozen_turn_has_two_attempts_and_two_readers(tmp_path: Path) -> None:
    """One trace; attempts and client connections below the turn, each with its own times and its own ending."""
    whole, first, second, gone, back = told(tmp_path, frozen_turn(turn_id="bbb"))

    assert [span.name for span in (whole, first, second, gone, back)] == [
        "POST /v1/messages", "chat claude-sonnet-4-5", "chat claude-sonnet-4-5", "follow", "follow",
    ]  # fmt: skip
    assert [span.kind for span in (whole, second, back)] == ["server", "client", "internal"]
    assert {span.parent_id for span in (first, second, gone, back)} == {whole.span_id}
    assert len({span.trace_id for span in (whole, first, second, gone, back)}) == 1
    start = NOON.wall_ms * MS
    assert (whole.start_ns, whole.end_ns) == (start, start + 330_100 * MS)
    assert (first.start_ns, first.end_ns) == (start, start + 300 * MS)
    assert (second.start_ns, second.end_ns) == (start + 500 * MS, whole.end_ns)
    assert (gone.end_ns, back.start_ns) == (start + 310_000 * MS, start + 310_600 * MS)
    assert [span.failed for span in (whole, first, second, gone, back)] == [False, True, False, True, False]
    assert first.attributes["error.type"] == "P.rst.connect"
    assert (gone.attributes["holdfast.verdict"], back.attributes["holdfast.how"]) == ("gave_up", "retry")


def test_the_conventions_names(tmp_path: Path) -> None:
    """HTTP and generative AI where OpenTelemetry has a name, ours for the rest; what was not measured is not there."""
    record = short_turn(turn_id="aaa")
    record.input_tokens, record.output_tokens, record.stop_reason = 1200, 40, "end_turn"
    whole, attempt, _ = told(tmp_path, record)

    assert whole.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/messages",
        "url.path": "/v1/messages",
        "http.response.status_code": 200,
        "http.request.body.size": 0,
        "http.response.body.size": 4096,
        "user_agent.original": "claude-cli/2.1.114 (external, cli)",
        "session.id": "5c0ffee0-1111",
        "server.address": "api.anthropic.com",
        "server.port": 443,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.response.model": "claude-sonnet-4-5",
        "gen_ai.response.finish_reasons": ("end_turn",),
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.output_tokens": 40,
        "holdfast.turn_id": "aaa",
        "holdfast.kind": "turn",
        "holdfast.profile": "claude-code 2.1.114",
        "holdfast.request_id": "req_short",
        "holdfast.ending": "-.end.after",
        "holdfast.attempts": 1,
        "holdfast.readers": 1,
        "holdfast.events": 25,
        "holdfast.keepalives": 0,
        "holdfast.longest_quiet_s": 0.0,
        "holdfast.spared": 0,
        "holdfast.held": 0,
    }
    assert attempt.attributes["network.peer.address"] == "203.0.113.7"
    assert attempt.attributes["network.protocol.version"] == "1.1"
    assert attempt.attributes["http.response.status_code"] == 200
    assert "http.request.resend_count" not in attempt.attributes


def test_moments_are_events_of_the_span_they_belong_to(tmp_path: Path) -> None:
    """By our names for them, with numbers and our own words."""
    whole, _, second, gone, _ = told(tmp_path, frozen_turn(turn_id="bbb"))

    assert [event.name for event in whole.events] == [
        "RequestArrived", "BlockOpened", "BlockOpened", "QuietNoticed", "QuietEnded", "TurnOrphaned",
        "AnswerFinished", "TurnEnded",
    ]  # fmt: skip
    quiet = next(event for event in whole.events if event.name == "QuietEnded")
    assert quiet.at_ns == (NOON.wall_ms + 308_000) * MS
    assert quiet.attributes == {"holdfast.quiet_s": 304.0, "holdfast.keepalives": 30}
    assert [event.name for event in second.events] == [
        "AttemptStarted", "Connected", "RequestSent", "HeadersArrived", "FirstEventArrived",
    ]  # fmt: skip
    left = gone.events[-1]
    assert left.attributes["holdfast.ending"] == "C.rst.tool" and left.attributes["holdfast.limit_s"] == 300.0


def test_what_strangers_worded_is_in_no_event(tmp_path: Path) -> None:
    """Tools, models, details, reasons and texts in evidence stay in the journal; numbers are told."""
    broke = Ending(
        Side.PROVIDER,
        Mechanism.RST,
        Phase.IN_TEXT,
        "findme detail",
        {"unacked_bytes": 7, "via": "findme proxy"},
    )
    record = tell(
        turn(turn_id="aaa"),
        (0, m.AttemptStarted(1)),
        (1, m.BlockOpened(0, "findme kind", "findme tool")),
        (2, m.HeadersArrived(1, 200, "findme id", "findme type")),
        (3, m.NetworkGone("findme why")),
        (4, m.AttemptEnded(1, broke)),
    )
    spans = told(tmp_path, end(record, 5, broke))

    events = [event for span in spans for event in span.events]
    assert "findme" not in str([event.attributes for event in events])
    assert events[-1].attributes["holdfast.evidence.unacked_bytes"] == 7
    assert not OUR_WORDS & {"why", "detail", "tool", "model", "agent", "path", "text", "what", "kind"}


def test_a_machine_that_slept_is_told_by_the_wall(tmp_path: Path) -> None:
    """The clock that counts durations stood still meanwhile."""
    record = turn(turn_id="aaa")
    record.note(Instant(NOON.mono_s + 2, NOON.wall_ms + 3_602_000), m.MachineSlept(3600.0))
    record.note(Instant(NOON.mono_s + 3, NOON.wall_ms + 3_000), m.AnswerHeard(1))
    slept, _ = told(tmp_path, end(record, 4))[0].events[1:3]

    assert slept.at_ns == (NOON.wall_ms + 3_602_000) * MS


def test_a_killed_gateways_turn_ends_where_it_was_last_seen(tmp_path: Path) -> None:
    """Only the wall clock's label is known then."""
    record = end(turn(turn_id="aaa"), 7, Ending(Side.MACHINE, Mechanism.PROCESS_ENDED, Phase.SENDING))
    (found,) = ended(tmp_path, record)
    found.row["ended_mono_s"] = None
    span = spans_of(found)[0]

    assert span.end_ns == (NOON.wall_ms + 7_000) * MS and span.failed


@pytest.mark.parametrize(
    ("mechanism", "failed"),
    [(Mechanism.CANCELLED, False), (Mechanism.SUPERSEDED, False), (Mechanism.RST, True)],
)
def test_a_cancel_is_no_failure(mechanism: Mechanism, failed: bool, tmp_path: Path) -> None:
    """Its code is told all the same."""
    span = told(tmp_path, end(turn(turn_id="aaa"), 1, Ending(Side.CLIENT, mechanism, Phase.IN_TEXT)))[0]

    assert span.failed is failed
    assert span.attributes["error.type"] == f"C.{mechanism.value}.text"


def test_names_of_spans_are_few(tmp_path: Path) -> None:
    """A path is no name, and neither is a method that nobody defined."""
    record = end(turn(at(0), turn_id="aaa"), 1)
    record.kind, record.path, record.method, record.model = "opaque", "/v1/files/17", "GET", None
    odd = end(turn(at(1), turn_id="bbb"), 1)
    odd.kind, odd.method = "opaque", "FROBNICATE"
    names = [spans_of(found)[0].name for found in ended(tmp_path, record, odd)]

    assert names == ["GET", "HTTP"]


def test_a_turn_of_thousands_of_moments_is_one_bounded_message(tmp_path: Path) -> None:
    """The first ones are told."""
    record = tell(
        turn(turn_id="aaa"), *((float(n), m.QuietNoticed("tool")) for n in range(MOST_EVENTS + 100))
    )

    assert len(told(tmp_path, end(record, 9999, HUNG_UP))[0].events) == MOST_EVENTS


def test_telling_twice_is_telling_the_same(tmp_path: Path) -> None:
    """Ids come from the turn's; another turn's are others."""
    one, two = ended(tmp_path, short_turn(turn_id="aaa"), short_turn(at(60), turn_id="bbb"))
    ids = [[(span.trace_id, span.span_id) for span in spans_of(found)] for found in (one, one, two)]

    assert ids[0] == ids[1] and not set(ids[0]) & set(ids[2])
    assert all(0 < trace < 1 << 128 and 0 < span < 1 << 64 for trace, span in ids[0])
