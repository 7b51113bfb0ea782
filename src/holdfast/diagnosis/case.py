"""What there is to explain, and what is known beside it. Values only; times are integer milliseconds, UTC.

The unit is the failure: one request that failed, with all its tries. What a source does not cover is not known,
and nothing may be concluded from its silence there: every source comes with the time that it covers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.probes.result import Result
from holdfast.sessions.desktop import Outage

ACTIVE_MS = 15 * 60_000
"A session is taken to be in use for so long around each of its answers and tries."
SAME_NETWORK_MS = 30 * 60_000
"Of two times so near to each other the network is taken to be one, where nothing says otherwise."


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a request, which failed."""

    at_ms: int
    age_s: float | None
    "From the try's beginning, as near as the records tell (the client's wait taken off); None where they do not."
    code: str
    status: int | None = None
    request_id: str | None = None
    "The provider's, where the answer came so far as to bear one."


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that failed."""

    id: str
    tries: tuple[Try, ...]
    "None where the client noted only that it gave up."
    outcome: str
    "`recovered`, `died`, `abandoned`, `unknown`."
    at_ms: int
    "Of the first failed try, or of the giving up."
    ended_ms: int | None
    session: str
    version: str
    model: str | None = None
    project: str = ""
    context_tokens: int | None = None
    idle_s: float | None = None
    "How long the conversation had been silent before this request began; None where it is not known."
    text: str = ""
    "What the client said when it gave up."
    agent: str | None = None
    "The subagent that asked; None is the main conversation."

    @property
    def codes(self) -> set[str]:
        return {one.code for one in self.tries}

    @property
    def statuses(self) -> set[int]:
        return {one.status for one in self.tries if one.status is not None}

    @property
    def ages_s(self) -> list[float]:
        return [one.age_s for one in self.tries if one.age_s is not None]

    @property
    def times_ms(self) -> list[int]:
        """When it failed: each of its tries, or the giving up."""
        return [one.at_ms for one in self.tries] or [self.at_ms]


class Answer(NamedTuple):
    """A request that was answered."""

    at_ms: int
    session: str
    version: str
    context_tokens: int
    agent: str | None = None


class Cycle(NamedTuple):
    """A request that went wrong, as the desktop app saw it."""

    at_ms: int
    took_s: float
    answered: bool
    "Whether something of the answer had come."


@dataclass(frozen=True, slots=True)
class Witness:
    """Who ended a connection at the time of a failure, as somebody else than the client saw it."""

    at_ms: int
    "Of our clock, however the witness's own goes."
    side: Side
    mechanism: Mechanism | None
    source: str
    "`flights`, `nginx access.log:14`, `capture client.pcap`, `system log`."
    text: str
    "What it saw, in a clause without a full stop, safe to print."
    code: str = ""
    "An ending's, of flights."
    phase: Phase | None = None
    request_id: str | None = None
    silence_s: float | None = None
    "How long nothing had come before; None where that was not seen."
    chance: float = 0.0
    "How likely such an end lies beside a failure by chance; 0 where more than the time says that it was of it."
    between: bool = False
    "Seen by a proxy: it knows its own two connections, and its client's may have been closed by any box on that way."
    doubt: float = 0.0
    "How likely it is of no failure, or of another, because its clock is not sure; 0 where ids tell, or it is our own."


@dataclass(frozen=True, slots=True)
class Trip:
    """One attempt to ask the provider, as somebody saw it who was on the way; those that went well are among them, for
    they are what the others are compared with. None is not seen."""

    at_ms: int
    "When it broke, or else when it was asked; on our clock."
    source: str
    "`flights`, `nginx access.log:14`, `capture client.pcap`."
    broke: bool
    turn: str = ""
    "Tells the request: attempts of one turn of the gateway's journal are one."
    failure: str | None = None
    "The failure that it was of."
    side: Side | None = None
    mechanism: Mechanism | None = None
    phase: Phase | None = None
    location: str | None = None
    "Where the edge stands, by the letters behind its ray: `FRA`."
    edge: str | None = None
    "The address that it went to, without the port."
    family: str | None = None
    "`4` or `6`."
    http: str | None = None
    "`1.1` or `2`."
    network: str | None = None
    "This machine's network, as flights name it."
    vpn: bool | None = None
    request_bytes: int | None = None
    acked_bytes: int | None = None
    "Of what was sent, TLS included, the peer's TCP had acknowledged so much at the end."
    unacked_bytes: int | None = None
    sent_again: int | None = None
    "Segments that TCP sent a second time."
    segment_bytes: int | None = None
    "How large those were, on average; captures know it."
    pings_answered: bool | None = None
    "Whether HTTP/2's PINGs were answered to the end; None where none was sent."
    said: str | None = None
    "The code's name of a GOAWAY or RST_STREAM."
    silence_s: float | None = None
    "Since upstream's last byte."
    age_s: float | None = None
    "From its begin to its end."
    lived_s: float | None = None
    "Of a connection that may have carried several requests: so long one of them was under way at least."
    spread_s: float | None = None
    "From the answer's first event to its last."
    output_tokens: int | None = None
    quiet_s: float | None = None
    "The longest silence of upstream, of a request that was asked once."

    @property
    def places(self) -> tuple[str, ...]:
        """What it met: the edge's location and address, as far as they are known."""
        return tuple(one for one in (self.location, self.edge) if one)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one source covers."""

    source: str
    count: str
    "`41 sessions and 120 subagents, 1.2 GB`; or why there is nothing."
    first_ms: int | None = None
    last_ms: int | None = None
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when."""

    begun_ms: int
    ended_ms: int

    def __contains__(self, at_ms: int) -> bool:
        return self.begun_ms <= at_ms <= self.ended_ms


@dataclass(frozen=True)
class Case:
    """Everything that the hypotheses may look at."""

    failures: Sequence[Failure]
    answers: Sequence[Answer] = ()
    "In the order of time: the denominators, and when the client was in use."
    outages: Sequence[Outage] = ()
    "Times without network on this machine or behind it, by the desktop app's log or the system's."
    watched: Sequence[Span] = ()
    "The times that the desktop app's log covers: it tells of this machine's link and of what is behind it."
    link_watched: Sequence[Span] = ()
    "The times that the system's log covers, which knows of this machine's own link alone."
    cycles: Sequence[Cycle] = ()
    seen: Mapping[str, Sequence[Witness]] = field(default_factory=dict)
    "Failure id -> who else saw it end; flights first, and never empty."
    trips: Sequence[Trip] = ()
    "How requests went to the provider, those that broke and those that did not, as far as somebody saw it."
    probes: Sequence[Result] = ()
    "What the network answered when it was asked; oldest first."
    strains: Sequence[Span] = ()
    "When the system's log says that the machine itself had too little of something."

    @cached_property
    def active(self) -> tuple[Span, ...]:
        """When the client was in use, by its answers and its failures; in order, without overlaps."""
        spans: list[list[int]] = []
        for at in sorted([one.at_ms for one in self.answers] + [one.at_ms for one in self.failures]):
            if spans and at - ACTIVE_MS <= spans[-1][1]:
                spans[-1][1] = at + ACTIVE_MS
            else:
                spans.append([at - ACTIVE_MS, at + ACTIVE_MS])
        return tuple(Span(*span) for span in spans)

    @property
    def requests(self) -> int:
        """Answered ones and failed ones."""
        return len(self.answers) + len(self.failures)

    @cached_property
    def idle_share(self) -> dict[int, float]:
        """Seconds -> the share of answers before which the session had been silent for at least that long."""
        last: dict[str, int] = {}
        gaps = []
        for one in self.answers:
            before = last.get(one.session)
            if before is not None:
                gaps.append((one.at_ms - before) / 1000)
            last[one.session] = one.at_ms
        steps = (10, 60, 300, 900)
        return {step: sum(gap >= step for gap in gaps) / len(gaps) if gaps else 1.0 for step in steps}

    @cached_property
    def activity_ms(self) -> tuple[int, ...]:
        """When anything at all was heard of the client: every answer and every failed try, in order."""
        tries = [at for failure in self.failures for at in failure.times_ms]
        return tuple(sorted([one.at_ms for one in self.answers] + tries))

    @cached_property
    def agents(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Session -> subagent -> when it was first and last heard of (ms)."""
        found: dict[str, dict[str, tuple[int, int]]] = {}
        heard = [(one.at_ms, one.session, one.agent) for one in self.answers]
        heard += [(at, one.session, one.agent) for one in self.failures for at in one.times_ms]
        for at, session, agent in heard:
            if agent is not None:
                begun, ended = found.setdefault(session, {}).get(agent, (at, at))
                found[session][agent] = (min(begun, at), max(ended, at))
        return found

    @cached_property
    def trips_of(self) -> Mapping[str, Sequence[Trip]]:
        """Failure id -> its attempts that were seen to break."""
        found: dict[str, list[Trip]] = {}
        for one in self.trips:
            if one.failure is not None and one.broke:
                found.setdefault(one.failure, []).append(one)
        return found

    @cached_property
    def _networks(self) -> tuple[tuple[int, str], ...]:
        return tuple(sorted((one.at_ms, one.network) for one in self.trips if one.network is not None))

    def network_of(self, failure: Failure) -> str | None:
        """The network that this machine was on then: by the failure's own flight, else by one not long before or after."""
        for one in self.trips_of.get(failure.id, ()):
            if one.network is not None:
                return one.network
        place = bisect_left(self._networks, (failure.at_ms, ""))
        near = self._networks[max(place - 1, 0) : place + 1]
        names = {name for at_ms, name in near if abs(at_ms - failure.at_ms) <= SAME_NETWORK_MS}
        return names.pop() if len(names) == 1 else None

    @cached_property
    def answer_times_ms(self) -> tuple[int, ...]:
        """Of every answer, in order."""
        return tuple(one.at_ms for one in self.answers)

    def watched_at(self, at_ms: int) -> bool:
        """Whether a source of outages covers this time."""
        return any(at_ms in span for span in self.watched)


def overlap_ms(spans: Sequence[Span], others: Sequence[Span]) -> int:
    """How long both are; each in order and without overlaps of its own."""
    total, first, second = 0, 0, 0
    while first < len(spans) and second < len(others):
        one, other = spans[first], others[second]
        total += max(0, min(one.ended_ms, other.ended_ms) - max(one.begun_ms, other.begun_ms))
        if one.ended_ms < other.ended_ms:
            first += 1
        else:
            second += 1
    return total
