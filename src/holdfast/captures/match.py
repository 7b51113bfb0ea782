"""A capture beside turns: which connections are whose, how far its clock is from ours, and what it adds to a story.

The strongest tie is an id in plain heads: `holdfast-turn` is the gateway's own. Next are the ports of both ends, which our
moments name: at one time no two connections have the same. Then upstream's address and port together with the times of an
attempt. A client's connection without any of these is only taken where both its begin
and its end fit, or its end alone where it was open before the capture. What fits several legs equally is put to none,
and said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from holdfast.captures.closing import How
from holdfast.captures.connections import follow
from holdfast.captures.files import NotACapture, open_capture
from holdfast.captures.forensics import Grade
from holdfast.captures.http import Exchange
from holdfast.captures.layers import Seen
from holdfast.captures.telling import Report, Twins, conclude, ended, made_by, story, where
from holdfast.captures.views import Listener, View, asked
from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Side
from holdfast.flight.flights import Line, counted, duration, size
from holdfast.flight.reading import StoredTurn
from holdfast.flight.redact import clean

MOST_CONNECTIONS: Final = 5000
EXACT_S: Final = 0.5
"Our moments and the packets they are made of lie no further apart; a busy machine is that late."
SAME_CLOCK_S: Final = 2.0
"What a machine's clock and itself differ by, at most: a capture from here has our clock."
QUIET_S: Final = 10.0
AFTER_S: Final = 5.0
"A reset that follows a turn's end within this still belongs to its story."

Row = tuple[str, str, str, str]
"Who, when (`+300.1 s`), what they say, what that does to our record (`agrees`, a clause, or empty)."


@dataclass(frozen=True, slots=True)
class Leg:
    """One connection of a turn as our moments have it; seconds since the epoch, on our clock."""

    turn_id: str
    client: bool
    "Whether it is a client's connection; else an attempt's."
    number: int
    began_s: float
    ended_s: float | None
    address: str = ""
    "Upstream's, as `ip:port`; empty for a client's connection."
    client_port: int | None = None
    "Of the end that connected: the client's, or ours towards upstream. None in flights of older versions."
    server_port: int | None = None
    "For a client's connection: the gateway's."
    reused: bool = False
    ids: frozenset[str] = frozenset()
    "The provider's and the edge's ids that this attempt was given."
    ending: Ending | None = None

    @property
    def name(self) -> str:
        """`the client's connection`, `attempt 2`."""
        if self.client:
            return "the client's connection" + (f" {self.number}" if self.number > 1 else "")
        return f"attempt {self.number}"


def legs_of(turn: StoredTurn) -> list[Leg]:
    """The connections of a turn."""
    record = turn.record
    over_s = record.ended.wall_ms / 1000 if record.ended else None
    readers: dict[int, float] = {1: record.started.wall_ms / 1000}
    ports: dict[int, tuple[int | None, int | None]] = {}
    left: dict[int, tuple[float, Ending | None]] = {}
    started: dict[int, float] = {}
    connected: dict[int, tuple[str, bool, float, int | None]] = {}
    ended_at: dict[int, tuple[float, Ending | None]] = {}
    ids: dict[int, frozenset[str]] = {}
    for at, moment in record.moments:
        wall_s = at.wall_ms / 1000
        match moment:
            case m.ReaderJoined(reader=reader, client_port=theirs, own_port=ours):
                readers.setdefault(reader, wall_s)
                ports[reader] = theirs, ours
            case m.ReaderLeft(reader=reader, ending=left_by):
                left[reader] = wall_s, left_by
            case m.AttemptStarted(attempt=attempt):
                started.setdefault(attempt, wall_s)
            case m.Connected(attempt=attempt, address=address, took_s=took_s, reused=reused, own_port=ours):
                connected[attempt] = address, reused, wall_s - (0 if reused else took_s), ours
            case m.HeadersArrived(attempt=attempt, request_id=request_id, edge_id=edge_id):
                ids[attempt] = frozenset(one for one in (request_id, edge_id) if one)
            case m.UpstreamStopped(attempt=attempt):
                ended_at.setdefault(attempt, (wall_s, None))
            case m.AttemptEnded(attempt=attempt, ending=ending):
                ended_at.setdefault(attempt, (wall_s, ending))
            case _:
                pass
    found = [
        Leg(
            record.turn_id,
            True,
            number,
            began_s,
            left.get(number, (over_s, None))[0],
            client_port=ports.get(number, (None, None))[0],
            server_port=ports.get(number, (None, None))[1],
            ids=frozenset({record.turn_id}),
            ending=left[number][1] if number in left else None,
        )
        for number, began_s in readers.items()
    ]
    for number, began_s in started.items():
        address, reused, dialled_s, ours = connected.get(number, ("", False, began_s, None))
        end_s, broke = ended_at.get(number, (over_s, None))
        known = ids.get(number, frozenset())
        leg = Leg(record.turn_id, False, number, dialled_s, end_s, address, ours, None, reused, known, broke)
        found.append(leg)
    return found


@dataclass(frozen=True, slots=True)
class Match:
    """A captured connection (or one exchange on it) that is a leg of a turn."""

    leg: Leg
    report: Report
    view: View | None
    exchange: Exchange | None
    why: str
    "The reason, in a clause: `its answer names the turn`."


@dataclass(slots=True)
class _Heard:
    """A connection of the capture."""

    report: Report
    view: View | None
    taken: bool = False
    unclear: bool = False

    @property
    def began_s(self) -> float:
        return self.report.connection.began_ns / 1e9

    @property
    def over_s(self) -> float:
        return self.report.closing.at_ns / 1e9

    @property
    def exchanges(self) -> Sequence[Exchange]:
        return self.view.conversation.exchanges if self.view and self.view.conversation else ()

    @property
    def exchanges_asked(self) -> list[float]:
        """When requests were seen on it, by the capture's clock."""
        return [self.at_s(e.request.head.at_s) for e in self.exchanges if e.request and e.request.head]

    def at_s(self, seconds: float) -> float:
        return self.began_s + seconds


@dataclass(slots=True)
class Beside:
    """A capture file beside turns; what `--add` shows of it. All texts are safe to print."""

    name: str
    "`capture client.pcap`."
    clock: str
    "A clause that follows the name."
    ahead_s: float | None
    "Its clock minus ours; None where that could not be found out."
    matches: list[Match] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)

    def lines(self, turn: StoredTurn, /) -> Sequence[Line]:
        """What it saw of this turn, for the timeline."""
        started_s = turn.record.started.wall_ms / 1000
        over_s = (turn.record.ended.wall_ms / 1000 - started_s) if turn.record.ended else float("inf")
        shift_s = self.ahead_s or 0.0
        found: list[Line] = []
        told: set[int] = set()
        for one in self._of(turn):
            connection = one.report.connection
            if connection.number not in told:
                told.add(connection.number)
                started_ns = round((started_s + shift_s) * 1e9)
                for line in story(one.report, self.name, started_ns):
                    found.append(Line(line.at_s, line.name, f"{line.text} ({one.leg.name})", self.name))
            found += _exchange_lines(one, started_s + shift_s, self.name)
        return sorted(
            (line for line in found if -1.0 <= line.at_s <= over_s + AFTER_S), key=lambda line: line.at_s
        )

    def rows(self, turn: StoredTurn, /) -> Sequence[Row]:
        """The same for the table of who saw what."""
        started_s = turn.record.started.wall_ms / 1000
        rows = []
        for one in self._of(turn):
            report = one.report
            at_s = report.closing.at_ns / 1e9 - (self.ahead_s or 0.0) - started_s
            says = f"{one.leg.name}, {where(report.connection.client)} > {where(report.connection.server)}: "
            says += f"{ended(report)}; it is of this turn because {one.why}"
            says += "" if report.verdict is None or report.closing.reset is None else f"; {_made(report)}"
            rows.append((f"{self.name} #{report.connection.number}", f"{at_s:+.1f} s", says, verdict(one)))
        return rows

    def notes(self) -> Sequence[str]:
        """Sentences about the file as a whole."""
        return self._notes

    def _of(self, turn: StoredTurn) -> list[Match]:
        mine = [one for one in self.matches if one.leg.turn_id == turn.record.turn_id]
        return sorted(mine, key=lambda one: (one.report.connection.began_ns, one.report.connection.number))


def _made(report: Report) -> str:
    assert report.verdict is not None and report.closing.reset is not None
    word = "" if report.verdict.certain or report.verdict.grade is Grade.UNKNOWN else "suspected: "
    return word + made_by(report.verdict, report.closing.reset)


# ----- what it says against our own record


def verdict(one: Match) -> str:
    """`agrees`, a clause that adds or contradicts, or nothing where we have no ending to compare with."""
    ending, end, said = one.leg.ending, one.report.closing, one.report.verdict
    if ending is None or end.mechanism is None:
        return ""
    peer = "client" if one.leg.client else "server"
    ours = ending.side in (Side.CLIENT, Side.PROVIDER)
    if (
        said is not None
        and said.grade in (Grade.INJECTED, Grade.LOST_STATE)
        and end.how is How.RESET
        and ours
    ):
        return "contradicts: the reset was taken for the peer's, and the packets suspect something between"
    if ending.mechanism in (Mechanism.FIN, Mechanism.TRUNCATED) and end.mechanism is Mechanism.FIN_THEN_RST:
        return "adds: a reset followed the close"
    same = ending.mechanism is end.mechanism or (
        ending.mechanism is Mechanism.TRUNCATED and end.mechanism is Mechanism.FIN
    )
    if same and (end.role == peer) is ours:
        return "agrees"
    if ours and end.role and end.role != peer and end.mechanism in (Mechanism.RST, Mechanism.FIN):
        return f"contradicts: by the packets it was the {end.role} who ended it first"
    return ""


def _exchange_lines(one: Match, started_s: float, by: str) -> list[Line]:
    exchange, view = one.exchange, one.view
    if exchange is None or view is None:
        return []
    found: list[Line] = []

    def line(at_s: float, name: str, text: str) -> None:
        found.append(Line(view.began_ns / 1e9 + at_s - started_s, name, f"{text} ({one.leg.name})", by))

    request, response = exchange.request, exchange.response
    if request is not None and request.head is not None:
        line(request.head.at_s, "Asked", f"{asked(exchange)} was on the wire.")
    if response is None:
        return found
    if response.head is not None:
        line(response.head.at_s, "Answered", f"The answer's head was on the wire: {response.head.first[1]}.")
    body = response.body
    quiet = body.events.quiet if body.events is not None else body.quiet
    if quiet.seconds >= QUIET_S:
        line(
            quiet.began_s,
            "Silence",
            f"From here the wire carried nothing of the answer for {duration(quiet.seconds)}.",
        )
    if body.ended_s is not None:
        came = f"{size(body.seen)}" + (f", {counted(body.events.total, 'event')}" if body.events else "")
        if body.complete and not (body.events is not None and body.events.misses_its_end):
            line(body.ended_s, "Body", f"The answer's last byte was on the wire, after {came}.")
        else:
            inside = f" inside {body.events.open_block}" if body.events and body.events.open_block else ""
            line(
                body.ended_s, "Body", f"The last byte of a cut answer was on the wire{inside}, after {came}."
            )
    return found


# ----- matching


def beside(path: Path, turns: Sequence[StoredTurn]) -> Beside:
    """Read a capture and put its connections to turns. Raises `ValueError` with a sentence where it cannot be read."""
    heard: list[_Heard] = []
    more = 0
    seen, listener, twins = Seen(), Listener(), Twins()
    try:
        with open_capture(path) as capture:
            for connection in follow(capture, listen=listener, seen=seen):
                report = conclude(connection, twins.of(connection))
                view = listener.take(connection)
                if len(heard) < MOST_CONNECTIONS:
                    heard.append(_Heard(report, view))
                else:
                    more += 1
            notes = [*capture.notes, *seen.sentences()]
    except NotACapture as error:
        raise ValueError(f"{path}: {error}") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
    name = f"capture {clean(path.name, limit=60)}"
    found = match(name, heard, [leg for turn in turns for leg in legs_of(turn)])
    if more:
        notes.append(f"{counted(more, 'more connection')} were not looked at")
    found._notes[:0] = [clean(note) for note in notes]
    return found


def match(name: str, heard: Sequence[_Heard], legs: Sequence[Leg]) -> Beside:
    """Put connections to legs, and find the clock's difference on the way."""
    by_id = _by_ids(heard, legs)
    ahead_s, clock = _clock(by_id, heard, legs)
    found = Beside(name, clock, ahead_s, [one for one, _ in by_id])
    if ahead_s is not None:
        found.matches += _by_ports(heard, legs, found.matches, ahead_s)
    taken = {(one.leg.turn_id, one.leg.client, one.leg.number) for one in found.matches}
    if ahead_s is not None:
        open_legs = [leg for leg in legs if (leg.turn_id, leg.client, leg.number) not in taken]
        ports = {one.report.connection.server.endpoint[1] for one in found.matches if one.leg.client}
        # Taken where our own ports are seen, what has another port is another connection.
        near = {one.leg.client for one in found.matches if one.why in _BY_PORTS}
        open_legs = [leg for leg in open_legs if leg.client_port is None or leg.client not in near]
        upstream = [leg for leg in open_legs if not leg.client and leg.address]
        found.matches += _by_fit(
            heard,
            upstream,
            lambda one, leg: _fits_upstream(one, leg, ahead_s),
            "its address and times are those of {leg}",
        )
        found.matches += _by_fit(
            heard,
            [leg for leg in open_legs if leg.client],
            lambda one, leg: _fits_client(one, leg, ahead_s, ports),
            "its times are those of {leg}",
        )
    strangers = sum(not one.taken for one in heard)
    unclear = sum(one.unclear for one in heard)
    if strangers:
        found._notes.append(
            f"{strangers} of its {counted(len(heard), 'connection')} fit none of the turns"
            + (f", {unclear} of them because they fit several equally" if unclear else "")
        )
    return found


_BY_PORTS: Final = (
    "both its ports are those of our connection to that address",
    "both its ports are those of that client's connection",
)


def _by_ports(
    heard: Sequence[_Heard], legs: Sequence[Leg], known: Sequence[Match], ahead_s: float
) -> list[Match]:
    """Connections with the very ports of a leg, that were there while the leg was; behind a NAT there are none."""
    taken = {(one.leg.turn_id, one.leg.client, one.leg.number) for one in known}
    found: list[Match] = []
    for leg in legs:
        if leg.client_port is None or (leg.turn_id, leg.client, leg.number) in taken:
            continue
        fits = [one for one in heard if _has_ports(one, leg) and _was_there(one, leg, ahead_s)]
        if len(fits) == 1:
            fits[0].taken = True
            found.append(Match(leg, fits[0].report, fits[0].view, None, _BY_PORTS[leg.client]))
    return found


def _has_ports(one: _Heard, leg: Leg) -> bool:
    connection = one.report.connection
    if connection.client.endpoint[1] != leg.client_port:
        return False
    if leg.client:
        return leg.server_port is not None and connection.server.endpoint[1] == leg.server_port
    return where(connection.server) == leg.address


def _was_there(one: _Heard, leg: Leg, ahead_s: float) -> bool:
    """Whether it lived while the leg did, as far as both are known: a port comes again after a while."""
    began_s, last_s = one.began_s - ahead_s, one.report.connection.last_ns / 1e9 - ahead_s
    return last_s >= leg.began_s - SAME_CLOCK_S and (
        began_s <= leg.began_s + SAME_CLOCK_S
        or (one.report.connection.joined_in_the_middle and (leg.ended_s is None or began_s <= leg.ended_s))
    )


def _by_ids(heard: Sequence[_Heard], legs: Sequence[Leg]) -> list[tuple[Match, float | None]]:
    """Exchanges whose heads name a turn or an attempt; with how far the capture's clock is ahead by them."""
    clients: dict[str, list[Leg]] = {}
    attempts: dict[str, list[Leg]] = {}
    for leg in legs:
        for known in leg.ids:
            (clients if leg.client else attempts).setdefault(known, []).append(leg)
    found: list[tuple[Match, float | None]] = []
    used: set[int] = set()
    for one in heard:
        for exchange in one.exchanges:
            head = exchange.response.head if exchange.response else None
            if head is None:
                continue
            asked_s = exchange.request.head.at_s if exchange.request and exchange.request.head else None
            turn_id = head.get("holdfast-turn")
            if turn_id is not None:
                candidates, why = clients.get(turn_id, []), "its answer names the turn (holdfast-turn)"
            else:
                ids = [head.get(name) for name in ("request-id", "x-request-id", "cf-ray")]
                candidates = next((attempts[i] for i in ids if i in attempts), [])
                why = "its answer bears the request id of that attempt"
            free = [leg for leg in candidates if id(leg) not in used]
            if not free:
                continue
            # Of several connections of one turn the first in the capture is the first of the turn.
            leg = free[0]
            used.add(id(leg))
            one.taken = True
            ahead_s = one.at_s(asked_s) - leg.began_s if asked_s is not None and leg.client else None
            found.append((Match(leg, one.report, one.view, exchange, why), ahead_s))
    return found


def _clock(
    by_id: Sequence[tuple[Match, float | None]], heard: Sequence[_Heard], legs: Sequence[Leg]
) -> tuple[float | None, str]:
    """How far the capture's clock is ahead of ours, and how that is known."""
    known = [ahead_s for _, ahead_s in by_id if ahead_s is not None]
    if known:
        ahead_s = median(known)
        how = f"by {counted(len(known), 'request')} with an id of ours"
        return ahead_s, f"its clock is {_shown(ahead_s)} ({how})"
    # Attempts and connections to the same address, begin and end alike: each such pair votes for its difference.
    votes = [
        one.began_s - leg.began_s
        for one in heard
        for leg in legs
        if leg.address
        and not leg.reused
        and leg.ended_s is not None
        and where(one.report.connection.server) == leg.address
        and (
            _has_ports(one, leg)
            or abs((one.over_s - one.began_s) - (leg.ended_s - leg.began_s)) < 2 * EXACT_S
        )
        and not one.report.connection.joined_in_the_middle
    ]
    best, number = 0.0, 0
    for vote in votes[:2000]:
        near = [other for other in votes if abs(other - vote) < EXACT_S]
        if len(near) > number or (len(near) == number and abs(vote) < abs(best)):
            best, number = median(near), len(near)
    if number >= 2 or (number and abs(best) < SAME_CLOCK_S):
        return best, f"its clock is {_shown(best)} (by the times of {counted(number, 'upstream connection')})"
    overlap = any(
        one.began_s - SAME_CLOCK_S <= (leg.ended_s or leg.began_s)
        and leg.began_s <= one.over_s + SAME_CLOCK_S
        for one in heard
        for leg in legs
    )
    if overlap:
        return 0.0, "its clock is taken for ours: it was running while the turns were, and nothing tells more"
    return None, "its clock cannot be compared with ours: it shows no id of ours, and no time fits"


def _shown(ahead_s: float) -> str:
    if abs(ahead_s) < 0.05:
        return "the same as ours"
    return f"{duration(abs(ahead_s))} {'ahead of' if ahead_s > 0 else 'behind'} ours"


def _by_fit(
    heard: Sequence[_Heard], legs: Sequence[Leg], fits: Callable[[_Heard, Leg], float | None], why: str
) -> list[Match]:
    """Pairs that choose each other: the connection fits no other leg as well, nor the leg another connection."""
    found = []
    best: dict[int, list[tuple[float, Leg]]] = {}
    for number, one in enumerate(heard):
        if one.taken and not any(leg.reused for leg in legs):
            continue
        costs = sorted(
            ((cost, leg) for leg in legs if (cost := fits(one, leg)) is not None), key=lambda pair: pair[0]
        )
        if costs:
            best[number] = costs
    wanted: dict[int, list[int]] = {}
    for number, costs in best.items():
        if len(costs) > 1 and costs[1][0] - costs[0][0] < 0.05:
            heard[number].unclear = not heard[number].taken
            continue
        wanted.setdefault(id(costs[0][1]), []).append(number)
    for numbers in wanted.values():
        ranked = sorted(numbers, key=lambda number: best[number][0][0])
        if len(ranked) > 1 and best[ranked[1]][0][0] - best[ranked[0]][0][0] < 0.05:
            for number in ranked:
                heard[number].unclear = not heard[number].taken
            continue
        one, leg = heard[ranked[0]], best[ranked[0]][0][1]
        one.taken = True
        found.append(Match(leg, one.report, one.view, None, why.format(leg=leg.name)))
    return found


def _fits_upstream(one: _Heard, leg: Leg, ahead_s: float) -> float | None:
    """How badly a connection fits an attempt, in seconds; None where it cannot be it."""
    connection = one.report.connection
    if where(connection.server) != leg.address:
        return None
    began_s, last_s = one.began_s - ahead_s, connection.last_ns / 1e9 - ahead_s
    if connection.joined_in_the_middle:
        if leg.ended_s is None or began_s > leg.ended_s + EXACT_S or last_s < leg.began_s - EXACT_S:
            return None
        return _end_off(one, leg, ahead_s) or 0.0
    if leg.reused:
        if began_s > leg.began_s + EXACT_S or last_s < leg.began_s - EXACT_S:
            return None
        heard_s = connection.client.last_data_ns / 1e9 - ahead_s
        return max(leg.began_s - heard_s, 0.0)
    cost = abs(began_s - leg.began_s)
    return cost if cost < EXACT_S else None


def _fits_client(one: _Heard, leg: Leg, ahead_s: float, ports: set[int]) -> float | None:
    connection = one.report.connection
    if ports and connection.server.endpoint[1] not in ports:
        return None
    end = _end_off(one, leg, ahead_s)
    if end is None or end >= EXACT_S:
        return None
    if connection.joined_in_the_middle and not one.exchanges_asked:
        return end if one.began_s - ahead_s >= leg.began_s - EXACT_S else None
    begin = min(abs(at_s - ahead_s - leg.began_s) for at_s in (one.began_s, *one.exchanges_asked))
    return begin + end if begin < EXACT_S else None


def _end_off(one: _Heard, leg: Leg, ahead_s: float) -> float | None:
    """How far the two ends lie apart, in seconds; None where one of them is not known."""
    if leg.ended_s is None or one.report.closing.mechanism is None:
        return None
    return abs(one.over_s - ahead_s - leg.ended_s)
