"""Why did the client go? Decided on the client's own clocks, at the moment its connection ended.

A client whose own timer ran out comes back with the same request; one whose user pressed Esc does not.
Both may send the same RST. What tells them apart is the time: a timer fires at its limit, a finger does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from holdfast.flight.endings import Mechanism
from holdfast.gateway.profiles import Limit

SHARE_OF_LIMIT = 0.02
"A timer counts as fired within this share of its length, or within the tolerance, whichever is more."

UNACKNOWLEDGED_S = 2.0
"Bytes unacknowledged for longer than this at the close: the path was dead before the connection was."


class Verdict(Enum):
    """Why a reader went."""

    GAVE_UP = "gave_up"
    "One of its own limits ran out. It will ask again."
    LOST = "lost"
    "The connection died under it. It will ask again, when it notices."
    MOVED_ON = "moved_on"
    "It is gone for good, or asked something else instead."
    CANCELLED = "cancelled"
    "Somebody cancelled: nothing else explains it."


@dataclass(frozen=True, slots=True)
class Departure:
    """What was known when a client's connection ended. Durations in seconds on the monotonic clock."""

    mechanism: Mechanism
    since_request_s: float
    since_byte_s: float
    "Since the last byte that was written to it; since the request where none was."
    since_event_s: float
    "Since the last event that this client counts; since the headers where there was none."
    headers_sent: bool
    streaming: bool | None
    "Whether it had asked for a stream; None where nobody looked."
    keepalive_before_s: tuple[float, float] | None = None
    """Where the last thing written was a keepalive, moments ago: how long it had been silent before, in bytes and
    in events. The client's timer may have fired while that keepalive was on its way."""
    unacknowledged_s: float | None = None
    "How long bytes written to it had been waiting for an acknowledgement; None is not measured."
    process_gone: bool = False
    "Under `run`: the command has exited."


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and for `GAVE_UP` the limit that ran out."""

    verdict: Verdict
    limit: Limit | None = None


def judge(departure: Departure, limits: Iterable[Limit], tolerance_s: float) -> Judgement:
    """Say why the client went. `limits` are those in force for this very request."""
    if departure.process_gone:
        return Judgement(Verdict.MOVED_ON)
    if departure.mechanism.rule in (Mechanism.KEEPALIVE_UNANSWERED, Mechanism.UNREACHABLE):
        return Judgement(Verdict.LOST)
    waited = departure.unacknowledged_s
    if waited is not None and waited > UNACKNOWLEDGED_S:
        return Judgement(Verdict.LOST)
    seen = [departure]
    if departure.keepalive_before_s is not None and departure.since_byte_s <= tolerance_s:
        byte_s, event_s = departure.keepalive_before_s
        seen.append(replace(departure, since_byte_s=byte_s, since_event_s=event_s))
    fired = [
        (abs(clock - limit.seconds), limit)
        for limit in limits
        for view in seen
        for clock in _clocks(view, limit)
        if abs(clock - limit.seconds) <= max(tolerance_s, SHARE_OF_LIMIT * limit.seconds)
    ]
    if fired:
        # What was measured of a client explains more than its word; then the nearer one.
        return Judgement(
            Verdict.GAVE_UP, min(fired, key=lambda match: (match[1].clock == "told", match[0]))[1]
        )
    return Judgement(Verdict.CANCELLED)


def _clocks(departure: Departure, limit: Limit) -> tuple[float, ...]:
    """How far this limit's clock had run, on each that it may be; none where it was not running."""
    if limit.applies == "streaming" and departure.streaming is False:
        return ()
    if limit.applies == "whole" and departure.streaming is not False:
        return ()
    if limit.clock == "total":
        return (departure.since_request_s,)
    if limit.clock == "headers":
        return () if departure.headers_sent else (departure.since_request_s,)
    if limit.clock == "told":
        since_byte = (departure.since_byte_s,) if departure.headers_sent else ()
        return (departure.since_request_s, *since_byte)
    if not departure.headers_sent:
        return ()
    return (departure.since_event_s if limit.clock == "events" else departure.since_byte_s,)
