"""How requests went to the provider, attempt by attempt, from a turn of the gateway's journal.

Attempts that went well are told as well: where, by which family and by which HTTP they went is what the others are
compared with. What the client left of itself, or the gateway stopped on its behalf, neither broke nor went well, and is
left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.diagnosis.case import Trip
from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Side
from holdfast.flight.instant import Instant
from holdfast.flight.reading import StoredTurn

SOURCE = "flights"
_PLACE = re.compile(r"[0-9A-Fa-f]{16}-([A-Z]{3})", re.ASCII)


def location_of(edge_id: str | None) -> str | None:
    """`FRA` of `0123456789abcdef-FRA`; None where an id names no place."""
    found = _PLACE.fullmatch(edge_id or "")
    return found[1] if found else None


def address_of(endpoint: str | None) -> str | None:
    """`203.0.113.7` of `203.0.113.7:443`, `2001:db8::1` of `[2001:db8::1]:443`."""
    host = (endpoint or "").rpartition(":")[0].strip("[]")
    return host or None


def family_of(address: str | None) -> str | None:
    """`6` of an address with colons."""
    return None if address is None else "6" if ":" in address else "4"


@dataclass(slots=True)
class _Attempt:
    begun: Instant
    endpoint: str | None = None
    http: str | None = None
    location: str | None = None
    request_id: str | None = None
    edge_id: str | None = None
    first: Instant | None = None
    spread_s: float | None = None
    output_tokens: int | None = None
    ended: Instant | None = None
    ending: Ending | None = None


def trips(turns: Iterable[StoredTurn]) -> list[Trip]:
    """Every attempt of these turns that broke or went well, in their order."""
    return [trip for turn in turns for trip in _trips(turn)]


def _trips(turn: StoredTurn) -> list[Trip]:
    attempts: dict[int, _Attempt] = {}
    last = 0
    for at, moment in turn.record.moments:
        match moment:
            case m.AttemptStarted(attempt=number):
                attempts[number] = _Attempt(at)
                last = number
            case m.Connected(attempt=number, address=address, http=http) if number in attempts:
                attempts[number].endpoint, attempts[number].http = address, http
            case m.HeadersArrived(attempt=number, request_id=request_id, edge_id=edge_id) if (
                number in attempts
            ):
                attempts[number].request_id, attempts[number].edge_id = request_id, edge_id
                attempts[number].location = location_of(edge_id)
            case m.FirstEventArrived(attempt=number) if number in attempts:
                attempts[number].first = at
            case m.AnswerFinished(output_tokens=tokens, estimated=estimated) if last in attempts:
                one = attempts[last]
                if one.first is not None and not estimated:
                    one.spread_s, one.output_tokens = at.mono_s - one.first.mono_s, tokens
            case m.AttemptEnded(attempt=number, ending=ending) if number in attempts:
                attempts[number].ended, attempts[number].ending = at, ending
            case m.EdgeWitnessed(attempt=number, location=place) if number in attempts:
                attempts[number].location = attempts[number].location or place
            case _:
                pass
    quiet_s = turn.record.longest_quiet_s if len(attempts) == 1 else None
    return [
        _trip(turn.record.turn_id, turn.record.request_bytes, quiet_s, one, one.ending, one.ended)
        for one in attempts.values()
        if one.ending is not None and one.ended is not None and (one.ending.completed or _broke(one.ending))
    ]


def _broke(ending: Ending) -> bool:
    """Whether something went wrong on the way; that the gateway waited in vain is so as well."""
    return ending.side in (Side.PROVIDER, Side.PATH, Side.MACHINE) or ending.mechanism is Mechanism.DEADLINE


def _trip(turn: str, size: int, quiet_s: float | None, one: _Attempt, ending: Ending, ended: Instant) -> Trip:
    facts = ending.evidence

    def number(name: str) -> int | None:
        value = facts.get(name)
        return round(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def word(name: str) -> str | None:
        value = facts.get(name)
        return str(value) if value not in (None, "") and not isinstance(value, bool) else None

    edge = address_of(word("address") or one.endpoint)
    quiet, pings, vpn = facts.get("silence_s"), number("pings"), facts.get("vpn")
    return Trip(
        at_ms=(one.begun if ending.completed else ended).wall_ms,
        source=SOURCE,
        broke=not ending.completed,
        turn=turn,
        side=None if ending.completed else ending.side,
        mechanism=None if ending.completed else ending.mechanism,
        phase=None if ending.completed else ending.phase,
        location=one.location or location_of(word("cf_ray")),
        edge=edge,
        family=word("family") or family_of(edge),
        http=word("http") or one.http,
        network=word("network"),
        vpn=vpn if isinstance(vpn, bool) else None,
        request_bytes=number("request_bytes") or size or None,
        acked_bytes=None if facts.get("reused") is True else number("acked_bytes"),
        unacked_bytes=number("unacked_bytes"),
        sent_again=number("total_retrans"),
        pings_answered=not number("pings_unanswered") if pings else None,
        said=word("stream_error") or word("goaway"),
        silence_s=float(quiet) if isinstance(quiet, int | float) else None,
        age_s=ended.mono_s - one.begun.mono_s,
        spread_s=one.spread_s,
        output_tokens=one.output_tokens,
        quiet_s=quiet_s,
        request_id=one.request_id,
        edge_id=one.edge_id,
    )
