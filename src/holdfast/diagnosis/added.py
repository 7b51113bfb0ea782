"""Added files made evidence: logs, HAR files and pasted output through `records`, captures through `captures`.

The clock of a log is found as everywhere else: by ids, or by the difference that most of its lines agree on, with our own
connections. Where no gateway ran these are the client's failed tries, from their beginning to their end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from holdfast.captures.forensics import Grade
from holdfast.captures.sides import Side as Speaker
from holdfast.captures.telling import Report, ended
from holdfast.diagnosis.beside import Seen
from holdfast.diagnosis.case import Case, Coverage, Failure, Trip, Witness
from holdfast.diagnosis.trips import family_of, location_of
from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.flight.flights import counted
from holdfast.records.align import NOTHING_OF_THESE
from holdfast.records.legs import Kind, Leg
from holdfast.records.reading import Source
from holdfast.records.sighting import Sighting, Vantage, detail

MOST_LEGS = 600
"As many as `records.align` looks at."
SLACK_S = 2.0
"A client notes a failure when it heard of it, and a log its line when it has closed both sides."
ALIGNED_S = 4.0
"For a log whose clock could not be compared, but says how far it is from UTC: clocks that are set may differ so much."
BY_TIME, UNSURE = 0.05, 0.3
"""How likely a line is not of the failure that its time puts it to, where many lines agree on the clock and where they do
not: one line by its time alone overturns nothing (four bits at most), a few do."""
IDLED_NS = 30 * 1_000_000_000
PATH = "/v1/messages"


def legs(failures: Iterable[Failure]) -> list[Leg]:
    """The failed tries as connections that somebody on the way may have seen; the newest, if there are many."""
    found = [
        Leg(
            failure.id,
            Kind.CLIENT,
            number,
            one.at_ms / 1000 - (one.age_s or 0.0),
            one.at_ms / 1000,
            method="POST",
            path=PATH,
            host="",
            status=one.status,
            ids=frozenset({one.request_id} if one.request_id else ()),
            answer_bytes=None,
            ending=None,
        )
        for failure in failures
        for number, one in enumerate(failure.tries, 1)
    ]
    return sorted(found, key=lambda leg: leg.began_s)[-MOST_LEGS:]


def of_log(source: Source, known: Mapping[str, str]) -> tuple[list[Seen], Coverage]:
    """The ends that a log tells of. `known`: a leg's turn id -> the failure that it is."""
    found: list[Seen] = []
    placed: set[int] = set()
    for match in source.matched.matches:
        placed.add(match.seen.line)
        at_s = match.ended_s if match.ended_s is not None else match.began_s
        doubt = 0.0 if match.leg.ids.intersection(match.seen.ids) else _doubt(source)
        if at_s is not None and (witness := _witness(match.seen, at_s, doubt)) is not None:
            trip = _trip(match.seen, witness.at_ms, witness)
            found.append(Seen(witness, 0, match.seen.ids, known.get(match.leg.turn_id), trip))
    clock = source.clock
    used = clock.words
    unplaced = 0
    for one in source.pile.seen:
        if one.line in placed or one.at_s is None:
            continue
        if clock.ahead_s is None and not one.zone_known:
            unplaced += 1
            continue
        slack_s = SLACK_S if clock.ahead_s is not None else ALIGNED_S
        witness = _witness(one, one.at_s - (clock.ahead_s or 0.0), _doubt(source))
        if witness is not None:
            slack_ms = round(max(slack_s, one.precision_s) * 1000)
            found.append(Seen(witness, slack_ms, one.ids, trip=_trip(one, witness.at_ms, witness)))
    if clock.ahead_s is None and not unplaced and any(one.at_s is not None for one in source.pile.seen):
        why = "its clock could not be compared with ours" if used == NOTHING_OF_THESE else used
        used = f"{why}; its times are taken as right, within 4 s"
    pile = source.pile
    times = [one.at_s - (clock.ahead_s or 0.0) for one in pile.seen if one.at_s is not None]
    told = [counted(pile.count, pile.units), used]
    told.append(f"{counted(len(found), 'end')} with a side")
    unread = []
    if unplaced:
        told.append(
            f"{counted(unplaced, 'line')} not used, for their clock is not known (--clock 8h says it)"
        )
    if pile.dirt:
        unread.append(f"{pile.dirt} not understood, first: {pile.units} {pile.first_dirt}")
    if pile.left_out:
        unread.append(f"{pile.left_out} left out, being so many")
    if pile.problem:
        unread.append(pile.problem)
    first, last = (round(min(times) * 1000), round(max(times) * 1000)) if times else (None, None)
    return found, Coverage(source.name, "; ".join(told), first, last, tuple(unread))


def _doubt(source: Source) -> float:
    return BY_TIME if source.clock.sure else UNSURE


def _witness(seen: Sighting, at_s: float, doubt: float) -> Witness | None:
    """None where it does not say who, or that all went well."""
    side = seen.side
    if side is None or side is Side.NOBODY:
        return None
    return Witness(
        round(at_s * 1000),
        side,
        seen.mechanism,
        seen.place,
        seen.says,
        request_id=_request_id(seen),
        between=seen.vantage is Vantage.BETWEEN,
        asker=seen.vantage is Vantage.CLIENT,
        doubt=doubt,
    )


def trips_of_log(source: Source) -> list[Trip]:
    """The requests of a log that went well, and of which it says where they went or how large they were."""
    ahead_s = source.clock.ahead_s
    return [
        trip
        for one in source.pile.seen
        if one.at_s is not None
        and (ahead_s is not None or one.zone_known)
        and one.side in (None, Side.NOBODY)
        and one.status is not None
        and one.status < 400
        and (trip := _trip(one, round((one.at_s - (ahead_s or 0.0)) * 1000), None)) is not None
    ]


def _trip(seen: Sighting, at_ms: int, end: Witness | None) -> Trip | None:
    """None where it says nothing of the way."""
    edge_id = next((one for one in seen.ids if location_of(one)), None)
    location, request_id = location_of(edge_id), _request_id(seen)
    if end is None and location is None and seen.received_bytes is None and seen.edge is None:
        return None
    return Trip(
        at_ms=at_ms,
        source=seen.place,
        broke=end is not None,
        turn=request_id or "",
        side=end.side if end else None,
        mechanism=end.mechanism if end else None,
        location=location,
        edge=seen.edge,
        family=family_of(seen.edge),
        http=seen.http,
        request_bytes=seen.received_bytes,
        age_s=seen.took_s,
        request_id=request_id,
        edge_id=edge_id,
    )


def _request_id(seen: Sighting) -> str | None:
    """The provider's own, of the ids that stand in one line."""
    return next((one for one in seen.ids if one.startswith("req_")), None)


# ----- captures

_FORGED = {Grade.INJECTED, Grade.LOST_STATE, Grade.FIREWALL}


def of_capture(
    name: str, reports: Sequence[Report], shift_s: float | None, notes: Sequence[str], more: int = 0
) -> tuple[list[Seen], Coverage]:
    """The ends that a capture shows, by whoever made them as far as its packets tell."""
    ahead_s = shift_s or 0.0
    found, times = [], list[float]()
    for report in reports:
        end, connection = report.closing, report.connection
        times += [connection.began_ns / 1e9 - ahead_s, connection.last_ns / 1e9 - ahead_s]
        if end.by is None or end.mechanism is None:
            continue
        if end.how.proper and end.role == "client":  # it may as well have closed because the turn had failed
            continue
        forged = report.verdict is not None and report.verdict.grade in _FORGED
        unanswered = end.mechanism in (Mechanism.KEEPALIVE_UNANSWERED, Mechanism.UNACKNOWLEDGED)
        side = Side.PATH if forged or unanswered else Side.CLIENT if end.role == "client" else Side.PROVIDER
        # What was said into a silence has not ended it, be it reset at once or never answered.
        silence = max(
            (ns for ns in (end.silence_ns, end.quiet_before_trigger_ns) if ns is not None), default=None
        )
        if unanswered:
            silence = connection.last_ns - (connection.server.last_data_ns or connection.began_ns)
        witness = Witness(
            round((end.at_ns / 1e9 - ahead_s) * 1000),
            side,
            end.mechanism,
            name,
            detail(ended(report)).rstrip("."),
            silence_s=None if silence is None else silence / 1e9,
        )
        # What is not answered is sent again after waits that double: by twice the time so far the next would have come.
        noticed_ns = 2 * connection.last_ns - end.at_ns if unanswered else end.at_ns
        found.append(
            Seen(
                witness,
                round(SLACK_S * 1000),
                trip=_carried(name, report, witness),
                until_ms=round((noticed_ns / 1e9 - ahead_s) * 1000),
            )
        )
    clock = "its clock is taken as ours" if shift_s is None else "its clock is as was said"
    told = f"{counted(len(reports), 'connection')}; {clock}; {counted(len(found), 'end')} with a side"
    unread = [detail(note) for note in notes]
    if more:
        unread.append(f"{counted(more, 'more connection')} not looked at")
    first, last = (round(min(times) * 1000), round(max(times) * 1000)) if times else (None, None)
    return found, Coverage(name, told, first, last, tuple(unread))


def trips_of_capture(name: str, reports: Sequence[Report], shift_s: float | None) -> list[Trip]:
    """The connections of a capture that came to a proper end, or had not ended yet."""
    ahead_ms = round((shift_s or 0.0) * 1000)
    return [
        _carried(name, one, None, one.connection.began_ns // 1_000_000 - ahead_ms)
        for one in reports
        if one.proper and one.connection.server.bytes
    ]


def _carried(name: str, report: Report, end: Witness | None, at_ms: int = 0) -> Trip:
    """What its packets tell of a connection's way. A connection may have carried several requests."""
    client, server = report.connection.sides
    edge = server.endpoint[0]
    waiting = client.in_flight
    sending = end is not None and waiting > 0 and client.last_data_ns >= server.last_data_ns
    return Trip(
        at_ms=end.at_ms if end else at_ms,
        source=name,
        broke=end is not None,
        turn=f"{name} {report.connection.number}",
        side=end.side if end else None,
        mechanism=end.mechanism if end else None,
        phase=Phase.SENDING if sending else None,
        edge=edge,
        family=family_of(edge),
        request_bytes=client.bytes or None,
        acked_bytes=max(client.bytes - waiting, 0) if server.packets else None,
        unacked_bytes=waiting if server.packets else None,
        sent_again=client.retransmits,
        segment_bytes=client.retransmitted_bytes // client.retransmits if client.retransmits else None,
        silence_s=end.silence_s if end else None,
        age_s=(report.connection.last_ns - report.connection.began_ns) / 1e9,
        lived_s=_lived_s(client, server),
    )


def _lived_s(client: Speaker, server: Speaker) -> float | None:
    """How long the last request was answered at least: from the client's last word to the server's.

    What the server says after half a minute of silence may be its farewell to an idle connection, and is not counted.
    """
    if not client.last_data_ns or server.last_data_ns <= client.last_data_ns:
        return None
    idled = server.silence_ns >= IDLED_NS and server.silence_at_ns > client.last_data_ns
    ended_ns = server.silence_at_ns if idled else server.last_data_ns
    return (ended_ns - client.last_data_ns) / 1e9


def open_failures(case: Case, known: Mapping[str, str]) -> list[Failure]:
    """Failures of which no flight tells: their tries stand for connections of ours."""
    flown = set(known.values())
    return [failure for failure in case.failures if failure.id not in flown]
