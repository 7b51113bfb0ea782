"""A home's gateway: the journal that it kept on the days on which it ran, a turn for every try that the client made."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from holdfast.flight import moments as m
from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side
from holdfast.flight.instant import Instant
from holdfast.flight.journal import Journal
from holdfast.flight.moments import Moment
from holdfast.flight.record import TurnRecord
from tests.diagnosis.homes import HOWS, Exchange, Home, how

ADDRESSES = {4: "203.0.113.7:443", 6: "[2001:db8:7::a]:443"}
SIDES = {"provider": Side.PROVIDER, "path": Side.PATH, "machine": Side.MACHINE, "client": Side.CLIENT}
MECHANISMS = {
    "rst": Mechanism.RST, "fin": Mechanism.FIN, "goaway": Mechanism.GOAWAY, "rst_stream": Mechanism.STREAM_RESET,
    "status": Mechanism.HTTP_ERROR, "forged": Mechanism.RST, "unacked": Mechanism.UNACKNOWLEDGED, "dns": Mechanism.DNS,
    "refused": Mechanism.REFUSED, "unreach": Mechanism.UNREACHABLE, "slept": Mechanism.SLEPT, "abort": Mechanism.ABORTED,
    "tls": Mechanism.TLS, "local": Mechanism.LOCAL_ERROR, "left": Mechanism.FIN,
}  # fmt: skip
BEFORE = {
    "dns": Phase.RESOLVING, "refused": Phase.CONNECTING, "unreach": Phase.CONNECTING, "tls": Phase.TLS,
    "local": Phase.CONNECTING,
}  # fmt: skip
"No connection ever stood."
NO_WORDS_S = 0.05


def write(home: Home, state: Path) -> None:
    """Put the turns of its days into the journal of a state directory."""
    turns = list(told(home))
    last = max((turn.ended for turn in turns if turn.ended), default=Instant(0.0, 0))
    journal = Journal(state, clock=lambda: last)
    for turn in turns:
        journal.changed(turn)
    journal.close(timeout_s=60)


def told(home: Home) -> Iterable[TurnRecord]:
    """Every try of the days on which the gateway ran."""
    draw = random.Random(f"flights {home.seed}")
    for number, one in enumerate(home.exchanges):
        if home.flown(one.ask.at_ms):
            yield (home.flights_by or turn)(one, number, draw)


def turn(one: Exchange, number: int, draw: random.Random) -> TurnRecord:
    """One try as a turn: what it met, in order, and how it ended."""
    ask, road, blow = one.ask, one.ask.road, one.blow
    took_s = (one.ended_ms - ask.at_ms) / 1000
    record = TurnRecord(
        f"t{ask.at_ms:013d}{number:05d}", at(one, 0), "turn", "POST", "/v1/messages", "claude-cli", "claude-code",
        one.session, one.agent, "https://api.anthropic.com", "claude-opus-4-6",
    )  # fmt: skip
    record.request_bytes, record.attempts, record.readers = ask.context * 4, 1, 1
    record.ended = at(one, took_s)
    way = how(blow) if blow is not None else "left" if one.cancelled else ""

    def note(seconds: float, moment: Moment) -> None:
        record.note(at(one, min(seconds, took_s)), moment)

    note(0, m.RequestArrived("POST", "/v1/messages", record.agent, record.profile))
    note(0, m.ReaderJoined(1, "first", 0))
    note(0, m.AttemptStarted(1))
    phase = BEFORE.get(way, Phase.SENDING)
    reused = ask.idle_s < 4 and draw.random() < 0.7
    heard_s = (took_s + (1 if way else 0)) if road.buffered else ask.silent_s
    ray = None
    if way not in BEFORE:
        note(0.03, m.Connected(1, ADDRESSES[road.family], 0.03, reused, "TLSv1.3", road.http))
        if blow is None or not blow.sending:
            note(0.05, m.RequestSent(1, record.request_bytes))
            phase = Phase.AWAITING_HEADERS
            if way == "status" or (took_s >= heard_s and took_s > NO_WORDS_S):
                ray = f"{draw.getrandbits(64):016x}-{road.edge}"
                status = blow.status if blow is not None and blow.status is not None else 200
                note(heard_s, m.HeadersArrived(1, status, one.request_id, "text/event-stream", ray))
                record.status, record.request_id, record.edge_id = status, one.request_id, ray
                phase = Phase.IN_BODY
            if way != "status" and ray is not None:
                note(heard_s + 0.01, m.FirstEventArrived(1, record.model, ask.context))
                kind = draw.choice(("text", "tool_use"))
                note(heard_s + 0.02, m.BlockOpened(0, kind))
                phase = Phase.IN_TEXT if kind == "text" else Phase.IN_TOOL_USE
    speaking = phase in (Phase.IN_TEXT, Phase.IN_TOOL_USE)
    silent_s = draw.uniform(0.02, 2.0) if speaking else took_s
    record.longest_quiet_s = min(ask.silent_s, took_s)
    if not way:
        record.output_tokens, record.stop_reason, record.answer_bytes = (
            one.output,
            "end_turn",
            one.output * 40,
        )
        note(took_s, m.AnswerFinished("end_turn", one.output))
        note(took_s, m.AttemptEnded(1, COMPLETED))
        note(took_s, m.AnswerHeard(1))
        ending = COMPLETED
    else:
        evidence: dict[str, str | int | float | bool | None] = {
            "silence_s": round(silent_s, 3), "since_request_s": round(took_s, 3), "request_bytes": record.request_bytes,
            "input_tokens": ask.context, "network": road.network, "cf_ray": ray, "interface": "wifi",
        }  # fmt: skip
        if way not in BEFORE:
            evidence |= {"family": road.family, "http": road.http, "reused": reused, "tls": "TLSv1.3"}
            evidence |= {"address": ADDRESSES[road.family]}
        if way == "goaway":
            evidence |= {"goaway": "NO_ERROR", "goaway_last_stream": 1}
        if way == "unacked" and blow is not None and blow.sending:
            arrived = 1_900 if blow.hole else 1_900 + round(record.request_bytes * draw.uniform(0.1, 0.7))
            evidence |= {"acked_bytes": arrived, "unacked_bytes": 1_388 if blow.hole else 57_920}
            evidence |= {"total_retrans": draw.randrange(5, 9), "retransmits": 5}
        elif way == "unacked":
            evidence |= {"acked_bytes": record.request_bytes + 1_900, "unacked_bytes": 31, "total_retrans": 8}
        if blow is not None and blow.status is not None:
            evidence |= {"status": blow.status}
        ending = Ending(SIDES[HOWS[way]], MECHANISMS[way], phase, "", evidence)
        if way == "forged":
            ending = Ending(Side.PROVIDER, Mechanism.RST, phase, "", evidence)
        if way == "left":
            # The gateway knows a limit of the client's only where its profile does; else it takes it for a cancel.
            gave_up = not one.cancelled and draw.random() < 0.7
            verdict, limit = ("gave_up", "events") if gave_up else ("cancelled", None)
            note(took_s, m.ReaderLeft(1, verdict, limit, round(took_s) if gave_up else None, ending))
            note(took_s, m.UpstreamStopped(1, "nobody follows it"))
            ending = Ending(Side.GATEWAY, Mechanism.CANCELLED, phase, "", evidence)
            note(took_s, m.AttemptEnded(1, ending))
        else:
            note(took_s, m.AttemptEnded(1, ending))
            if ray is None and way not in BEFORE:
                location = m.EdgeWitnessed(1, 200, None, road.edge, address=ADDRESSES[road.family])
                record.note(at(one, took_s), location)
            if not one.cancelled and way != "status":
                record.breaks = f"{ending.code}!"
    record.ending = ending
    note(took_s, m.TurnEnded(ending))
    return record


def at(one: Exchange, seconds: float) -> Instant:
    """So long after the try began, on both clocks."""
    return Instant(one.ask.at_ms / 1000 + seconds, one.ask.at_ms + round(seconds * 1000))
