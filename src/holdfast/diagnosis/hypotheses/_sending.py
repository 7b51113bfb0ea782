"""What causes have in common that break a request while it is being sent: how far it had got."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from holdfast.diagnosis.case import Case, Failure, Trip
from holdfast.diagnosis.hypothesis import Evidence
from holdfast.flight.endings import Mechanism, Phase
from holdfast.flight.flights import counted, size

HANDSHAKE_BYTES = 4000
"So much of a connection's first bytes goes in small packets: a TLS greeting and its answer."
LEAST_SEGMENT_BYTES = 536
"What every way carries in one packet. What is less may be HTTP/2's PING, or TLS's farewell."
AGAIN = 2
"Segments that were sent again: one is everyday."
STUCK = frozenset(
    {
        Mechanism.UNACKNOWLEDGED,
        Mechanism.KEEPALIVE_UNANSWERED,
        Mechanism.DEADLINE,
        Mechanism.RST,
        Mechanism.FIN,
    }
)
"How an upload that does not get through may end: nobody acknowledges, or the other end has waited long enough."
SENDING = frozenset({Phase.SENDING, Phase.AWAITING_HEADERS})
EARLIER = frozenset({Phase.RESOLVING, Phase.CONNECTING, Phase.POOLED_IDLE})


def answering(one: Trip) -> bool:
    """Whether the request had arrived: something of the answer had come."""
    return one.phase is not None and one.phase not in SENDING | EARLIER | {Phase.TLS}


def stopped(one: Trip) -> bool:
    """Whether it ended with bytes of the request on the way, that were sent again and again: more of them than a probe or a
    farewell has, and less acknowledged than the request has."""
    return (
        one.mechanism in STUCK
        and (one.phase is None or one.phase in SENDING)
        and (one.unacked_bytes or 0) >= LEAST_SEGMENT_BYTES
        and not (one.acked_bytes and one.request_bytes and one.acked_bytes > one.request_bytes)
        and (one.sent_again is None or one.sent_again >= AGAIN)
    )


def how_far(case: Case, mine: Sequence[Failure]) -> list[Evidence]:
    """How far these requests had got, in sentences."""
    trips = [one for failure in mine for one in case.trips_of.get(failure.id, ()) if stopped(one)]
    if not trips:
        return []
    sources = " and ".join(sorted({one.source for one in trips})[:3])
    sizes = [one.request_bytes for one in trips if one.request_bytes is not None]
    acked = [one.acked_bytes for one in trips if one.acked_bytes is not None]
    again = [one.sent_again for one in trips if one.sent_again is not None]
    large = [one.segment_bytes for one in trips if one.segment_bytes is not None]
    said = f"{counted(len(trips), 'attempt')} ended with bytes of the request unacknowledged"
    if sizes:
        said += f"; half of the requests had {size(round(median(sizes)))} or more"
    if acked:
        said += f"; acknowledged were {size(min(acked))} to {size(max(acked))}"
    if again:
        said += f"; TCP had sent {counted(round(median(again)), 'segment')} again, in the middle"
    if large:
        said += f", of {max(large)} bytes"
    return [Evidence(f"{said}.", sources)]
