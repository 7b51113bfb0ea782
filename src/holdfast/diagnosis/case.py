"""What there is to explain, and what is known beside it. Values only; times are integer milliseconds, UTC.

The unit is the failure: one request that failed, with all its tries. What a source does not cover is not known,
and nothing may be concluded from its silence there: every source comes with the time that it covers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.probes.result import Result
from holdfast.sessions.desktop import Outage
from holdfast.sessions.logs_what import NOT_MEASURED

ACTIVE_MS = 15 * 60_000
"A session is taken to be in use for so long around each of its answers and tries."
AT_WORK_MS = 60_000
"And at work for so long after each, for the next one is asked for soon; and before it, where its asking is not known."
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
    edge_id: str | None = None
    "The edge's, of the same answer."


REFUSALS = frozenset(
    {"prompt too long", "answer too long", "usage limit", "key refused", "model not available"}
)
"Of a client's last words those that tell what was wrong with the request or the account."
TO_BE_REPEATED = frozenset({408, 429})
"Statuses below 500 that say nothing against the request itself: an edge that waited, and a limit for a while."


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
    request_id: str | None = None
    "The provider's, of the answer with which the client gave up, where it noted one."
    end_status: int | None = None
    "Of the answer with which the client gave up."
    end_code: str = ""
    "What stands for its last words (`sessions.frames.end_code`); empty where it left none."
    on_record: bool = True
    "Whether a transcript tells of it, as transcripts tell of answers; if not, only telemetry that could not be sent does."

    @property
    def codes(self) -> set[str]:
        return {one.code for one in self.tries}

    @property
    def statuses(self) -> set[int]:
        """Of its failed tries; where none is on record, of the client's last word."""
        if not self.tries:
            return set() if self.end_status is None else {self.end_status}
        return {one.status for one in self.tries if one.status is not None}

    @property
    def refused(self) -> str:
        """Why it was refused, where the client tells that itself and no connection had a part in it; else empty.

        `usage limit`, `HTTP 401`: the account, the key, or what was asked for.
        """
        status = self.tries[0].status if self.tries else self.end_status
        if status is not None:
            return f"HTTP {status}" if 400 <= status < 500 and status not in TO_BE_REPEATED else ""
        return self.end_code if not self.tries and self.end_code in REFUSALS else ""

    @property
    def ages_s(self) -> list[float]:
        return [one.age_s for one in self.tries if one.age_s is not None]

    @property
    def begun_ms(self) -> int:
        """When it was first asked, as near as it is known."""
        first = self.tries[0] if self.tries else None
        return self.at_ms if first is None or first.age_s is None else first.at_ms - round(first.age_s * 1000)

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
    asked_ms: int | None = None
    "When it was asked for, where that is known."
    failed: bool = False
    "Whether tries of it had failed before: then it is one request with that failure."

    @property
    def begun_ms(self) -> int:
        """When it was asked for, as near as it is known."""
        return self.at_ms if self.asked_ms is None else min(self.asked_ms, self.at_ms)


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
    asker: bool = False
    "Told by the program that asked (a browser, curl): it hears that its connection is gone, as the client did."
    doubt: float = 0.0
    "How likely it is of no failure, or of another, because its clock is not sure; 0 where ids tell, or it is our own."

    @property
    def tells_who(self) -> bool:
        """Whether it knows more of who made the end than the client, whose log says `ECONNRESET`."""
        return not (self.asker and self.side is Side.PROVIDER and self.mechanism in _HEARD)


_HEARD = (
    None,
    Mechanism.RST,
    Mechanism.FIN,
    Mechanism.FIN_THEN_RST,
    Mechanism.TORN,
)
"What the end of a connection may be to the program that hears it: whether the far end made it, or a box, it is not told."


def file_of(source: str) -> str:
    """A witness's file without the line: `nginx access.log` of `nginx access.log:14`."""
    head, colon, line = source.rpartition(":")
    return head if colon and line.isdigit() else source


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
    "Of what was sent, TLS included, the peer's TCP had acknowledged so much; None where earlier requests are in it."
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
    request_id: str | None = None
    "The provider's, of this attempt's own answer."
    edge_id: str | None = None
    "The edge's, of the same answer."

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
    logs: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Session and version -> which failed tries are on record, in the words of `logs_what`; empty where nobody looked. It
    hangs on the version and its mode, and never on what failed."""

    @cached_property
    def compared(self) -> Case:
        """The same without the failures that telemetry alone tells: what may be compared with requests that went well.

        Those are on record where something kept telemetry from being sent, and the answers of the same cell are on record
        whatever happened: their number tells of the telemetry.
        """
        if all(one.on_record for one in self.failures):
            return self
        return replace(self, failures=[one for one in self.failures if one.on_record])

    @cached_property
    def active(self) -> tuple[Span, ...]:
        """When the client was in use, by its answers and its failures; in order, without overlaps."""
        heard: Sequence[Answer | Failure] = (*self.answers, *self.failures)
        return tuple(merged([Span(one.at_ms - ACTIVE_MS, one.at_ms + ACTIVE_MS) for one in heard]))

    @cached_property
    def _at_work(self) -> tuple[list[int], list[int]]:
        """From when on how many sessions are at work: from asking to a minute after the answer or the last failed try."""
        spans: dict[str, list[Span]] = {}
        for one in self.answers:
            begun_ms = one.at_ms - AT_WORK_MS if one.asked_ms is None else one.begun_ms
            spans.setdefault(one.session, []).append(Span(begun_ms, one.at_ms + AT_WORK_MS))
        for failure in self.failures:
            ended_ms = max(failure.times_ms[-1], failure.ended_ms or 0)
            spans.setdefault(failure.session, []).append(Span(failure.begun_ms, ended_ms + AT_WORK_MS))
        changes: Counter[int] = Counter()
        for found in spans.values():
            for span in merged(found):
                changes[span.begun_ms] += 1
                changes[span.ended_ms] -= 1
        times = sorted(changes)
        return times, list(accumulate(changes[at] for at in times))

    def sessions_at(self, at_ms: int) -> int:
        """How many sessions were at work then, as far as they are heard of."""
        times, levels = self._at_work
        place = bisect_right(times, at_ms) - 1
        return levels[place] if place >= 0 else 0

    @property
    def requests(self) -> int:
        """Failed ones, and those that were answered without a failed try on record."""
        return len(self.failures) + sum(not one.failed for one in self.answers)

    @cached_property
    def logged(self) -> dict[str, Counter[str]]:
        """Version -> which failed tries are on record -> the answers of which that is so; empty where nobody looked."""
        found: dict[str, Counter[str]] = {}
        for one in self.answers if self.logs else ():
            found.setdefault(one.version, Counter())[
                self.logs.get((one.session, one.version), NOT_MEASURED)
            ] += 1
        return found

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
        """Session -> subagent -> when it first asked and was last heard of (ms)."""
        found: dict[str, dict[str, tuple[int, int]]] = {}
        heard = [(at, one.session, one.agent) for one in self.answers for at in (one.begun_ms, one.at_ms)]
        heard += [
            (at, one.session, one.agent) for one in self.failures for at in (one.begun_ms, *one.times_ms)
        ]
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


def merged(spans: Sequence[Span]) -> list[Span]:
    """In order, those that touch made one."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: one.begun_ms):
        if found and span.begun_ms <= found[-1].ended_ms:
            found[-1] = Span(found[-1].begun_ms, max(found[-1].ended_ms, span.ended_ms))
        else:
            found.append(span)
    return found


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
