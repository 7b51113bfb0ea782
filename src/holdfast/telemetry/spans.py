"""A turn that is over as spans: one for the turn, one per attempt, one per client connection. Values in, values out.

Names are those of OpenTelemetry's conventions for HTTP and for generative AI where they have one, and `holdfast.*`
for the rest. Moments become events of the span they belong to. What was said is not here, and neither is anything
that only a client or a provider could have worded: of a moment's fields the numbers are told, and the words that are
ours. Which model was asked is not recorded, only which one answered.

Ids are made from the turn's, so that a turn that is told twice is one trace, and `holdfast flight ID` finds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from holdfast.flight.reading import KINDS
from holdfast.telemetry.ended import Code, EndedTurn, Told, code_in, code_of, number

Value = str | int | float | bool | tuple[str, ...]

METHODS: Final = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))
OUR_WORDS: Final = frozenset(
    (
        "phase",
        "verdict",
        "how",
        "remedy",
        "limit",
        "change",
        "edit",
        "by",
        "tls",
        "http",
        "broke",
        "what_limit",
    )
)
"Fields of moments whose words are ours."
CLOCKS_AGREE_S: Final = 1.0
"Where the two clocks are further apart, the machine slept or its clock was set: then the wall clock's label counts."
MOST_EVENTS: Final = 500
"Of one span; an answer with thousands of silences must not be one huge message."


@dataclass(frozen=True, slots=True)
class Event:
    """One moment."""

    name: str
    at_ns: int
    "Since 1970."
    attributes: Mapping[str, Value]


@dataclass(slots=True)
class Span:
    """One span, not yet in the words of a library."""

    name: str
    kind: str
    "`server`, `client` or `internal`."
    trace_id: int
    span_id: int
    parent_id: int | None
    start_ns: int
    end_ns: int
    attributes: dict[str, Value] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    failed: bool = False


def spans_of(turn: EndedTurn) -> list[Span]:
    """The turn's spans, the turn itself first."""
    trace_id = _id(turn["turn_id"], "trace", 16)
    whole = _turn_span(turn, trace_id)
    attempts: dict[int, Span] = {}
    readers: dict[int, Span] = {}
    for moment in turn.moments:
        at_ns = instant_ns(turn, moment)
        if at_ns > whole.end_ns:
            whole.end_ns = at_ns
        span = whole
        attempt, reader = moment.data.get("attempt"), moment.data.get("reader")
        if isinstance(attempt, int) and moment.name != "AttemptPlanned":
            if moment.name in ("AttemptStarted", "HedgeStarted") and attempt not in attempts:
                attempts[attempt] = _attempt_span(turn, whole, attempt, at_ns)
            span = attempts.get(attempt, whole)
            _learn_attempt(span if span is not whole else None, moment, at_ns)
        elif isinstance(reader, int):
            if moment.name == "ReaderJoined" and reader not in readers:
                readers[reader] = _reader_span(whole, reader, moment, at_ns)
            span = readers.get(reader, whole)
            _learn_reader(span if span is not whole else None, moment, at_ns)
        if moment.name in KINDS and len(span.events) < MOST_EVENTS:
            span.events.append(Event(moment.name, at_ns, attributes_of(moment)))
    for other in (*attempts.values(), *readers.values()):
        if not other.end_ns:
            other.end_ns = whole.end_ns  # nothing of its own ended it
    return [whole, *attempts.values(), *readers.values()]


def instant_ns(turn: EndedTurn, moment: Told) -> int:
    """When a moment was, as nanoseconds since 1970: by the clock that nobody sets, counted from the turn's start."""
    since_s = moment.mono_s - turn["started_mono_s"]
    by_wall_s = (moment.wall_ms - turn["started_wall_ms"]) / 1000
    if abs(by_wall_s - since_s) > CLOCKS_AGREE_S:
        since_s = by_wall_s
    return int(turn["started_wall_ms"] * 1_000_000 + max(0, round(since_s * 1e9)))


def _turn_span(turn: EndedTurn, trace_id: int) -> Span:
    start_ns = int(turn["started_wall_ms"]) * 1_000_000
    took_s = turn.took_s
    if took_s is None:
        took_s = max(0, (turn["ended_wall_ms"] or 0) - turn["started_wall_ms"]) / 1000
    method = turn["method"] if turn["method"] in METHODS else "_OTHER"
    route = "/v1/messages" if turn["kind"] == "turn" and turn["path"].endswith("/v1/messages") else ""
    span = Span(
        f"{'HTTP' if method == '_OTHER' else method} {route}".strip(),
        "server",
        trace_id,
        _id(turn["turn_id"], "turn", 8),
        None,
        start_ns,
        start_ns + round(took_s * 1e9),
    )
    known: dict[str, Any] = {
        "http.request.method": method,
        "url.path": turn["path"],
        "http.route": route or None,
        "http.response.status_code": turn["status"],
        "http.request.body.size": turn["request_bytes"],
        "http.response.body.size": turn["answer_bytes"],
        "user_agent.original": turn["agent"] or None,
        "session.id": turn["session"],
        **_server(turn),
        **_model(turn),
        "gen_ai.usage.input_tokens": turn["input_tokens"],
        "gen_ai.usage.output_tokens": turn["output_tokens"],
        "holdfast.turn_id": turn["turn_id"],
        "holdfast.kind": turn["kind"],
        "holdfast.profile": turn["profile"] or None,
        "holdfast.request_id": turn["request_id"],
        "holdfast.attempts": turn["attempts"],
        "holdfast.readers": turn["readers"],
        "holdfast.events": turn["events"],
        "holdfast.keepalives": turn["keepalives"],
        "holdfast.longest_quiet_s": turn["longest_quiet_s"],
        "holdfast.spared": turn["spared"],
        "holdfast.held": turn["held"],
        "holdfast.saved_from": turn["saved_from"],
        "holdfast.healed": turn["healed"],
        "holdfast.wasted_tokens": turn["wasted_tokens"],
    }
    if turn["stop_reason"]:
        known["gen_ai.response.finish_reasons"] = (str(turn["stop_reason"]),)
    span.attributes.update(_measured(known))
    _end(span, code_of(turn["ending_code"]))
    return span


def _server(turn: EndedTurn) -> dict[str, Value]:
    """Where upstream is."""
    try:
        parts = urlsplit(turn["upstream"])
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return {}
    return {"server.address": parts.hostname, "server.port": port} if parts.hostname and port else {}


def _model(turn: EndedTurn) -> dict[str, Any]:
    if turn["kind"] != "turn":
        return {}
    # The only dialect of turns is Anthropic's, whoever speaks it.
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.response.model": turn["model"],
    }


def _attempt_span(turn: EndedTurn, whole: Span, attempt: int, at_ns: int) -> Span:
    model = turn["model"]
    name = (
        f"chat {model}" if turn["kind"] == "turn" and model else "chat" if turn["kind"] == "turn" else "relay"
    )
    span = Span(
        name, "client", whole.trace_id, _id(turn["turn_id"], f"attempt {attempt}", 8), whole.span_id, at_ns, 0
    )
    span.attributes.update(
        _measured(
            {
                **_server(turn),
                **_model(turn),
                "http.request.method": whole.attributes["http.request.method"],
                "http.request.resend_count": attempt - 1 if attempt > 1 else None,
                "holdfast.turn_id": turn["turn_id"],
                "holdfast.attempt": attempt,
            }
        )
    )
    return span


def _learn_attempt(span: Span | None, moment: Told, at_ns: int) -> None:
    if span is None:
        return
    data = moment.data
    match moment.name:
        case "Connected":
            told = {
                "network.protocol.name": "http",
                "network.protocol.version": data.get("http"),
                "holdfast.connection.reused": data.get("reused"),
                "holdfast.connection.took_s": number(data.get("took_s")),
            }
            address, _, port = str(data.get("address") or "").rpartition(":")
            if address and port.isdigit():
                told |= {"network.peer.address": address.strip("[]"), "network.peer.port": int(port)}
        case "HeadersArrived":
            told = {
                "http.response.status_code": data.get("status"),
                "holdfast.request_id": data.get("request_id"),
            }
        case "FirstEventArrived":
            told = {
                "gen_ai.response.model": data.get("model"),
                "gen_ai.usage.input_tokens": data.get("input_tokens"),
            }
        case "AttemptEnded":
            span.end_ns = at_ns
            _end(span, code_in(data) or code_of(None))
            return
        case _:
            return
    span.attributes.update(_measured(told))


def _reader_span(whole: Span, reader: int, moment: Told, at_ns: int) -> Span:
    turn_id = str(whole.attributes["holdfast.turn_id"])
    span = Span(
        "follow", "internal", whole.trace_id, _id(turn_id, f"reader {reader}", 8), whole.span_id, at_ns, 0
    )
    told = {"holdfast.turn_id": turn_id, "holdfast.reader": reader, "holdfast.how": moment.data.get("how")}
    span.attributes.update(_measured(told))
    return span


def _learn_reader(span: Span | None, moment: Told, at_ns: int) -> None:
    if span is None:
        return
    if moment.name == "ReaderLeft":
        span.end_ns = at_ns
        span.attributes.update(_measured({"holdfast.verdict": moment.data.get("verdict")}))
        _end(span, code_in(moment.data) or code_of(None))
    elif moment.name == "AnswerHeard":
        span.end_ns = at_ns


def _end(span: Span, code: Code) -> None:
    span.attributes["holdfast.ending"] = code.code
    if code.mechanism != "end":
        span.attributes["error.type"] = code.code
        # A cancel is what was asked for, and a connection that another one took over has lost nothing.
        span.failed = code.mechanism not in ("cancel", "taken")


def attributes_of(moment: Told) -> dict[str, Value]:
    """What an event tells: a moment's numbers, the words that are ours, and the code and numbers of its ending."""
    told: dict[str, Value] = {}
    for name, value in moment.data.items():
        if isinstance(value, bool | int | float) or (isinstance(value, str) and name in OUR_WORDS and value):
            told[f"holdfast.{name}"] = value
    ending = moment.data.get("ending")
    code = code_in(moment.data)
    if code is not None and isinstance(ending, dict):
        told["holdfast.ending"] = code.code
        evidence = ending.get("evidence")
        for name, value in evidence.items() if isinstance(evidence, dict) else ():
            if isinstance(value, bool | int | float):
                told[f"holdfast.evidence.{name}"] = value
    return told


def _measured(values: Mapping[str, Any]) -> Iterable[tuple[str, Value]]:
    """Without what was not measured, and without anything that is no plain value."""
    return [
        (name, value)
        for name, value in values.items()
        if isinstance(value, str | bool | int | float) or (isinstance(value, tuple) and value)
    ]


def _id(turn_id: str, part: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{turn_id} {part}".encode()).digest()[:size], "big") or 1
