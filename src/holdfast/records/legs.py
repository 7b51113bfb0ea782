"""Our own side of the comparison: each connection of a turn as a span that somebody else may have seen.

A turn has a leg per client connection (reader) and one per attempt upstream. A proxy in front of Holdfast saw the
first kind, one behind it the second. Times are those of our wall clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from holdfast.flight import moments as m
from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side
from holdfast.flight.reading import StoredTurn
from holdfast.records.sighting import Sighting, Vantage, host_of, path_of

ENOUGH_S = 2.0
"A duration from here on is particular enough to be recognised by."


class Kind(Enum):
    """Which of a turn's connections."""

    CLIENT = "client"
    UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class Leg:
    """One connection of a turn."""

    turn_id: str
    kind: Kind
    number: int
    "Of the reader, or of the attempt; from 1."
    began_s: float
    "Seconds since the epoch, on our wall clock."
    ended_s: float | None
    method: str
    path: str
    host: str
    "Upstream's, of an attempt; empty for a client's connection."
    status: int | None
    ids: frozenset[str]
    answer_bytes: int | None
    ending: Ending | None
    "Who ended it and how, as far as we know; None while it lasts."

    @property
    def took_s(self) -> float | None:
        """Seconds; None while it lasts."""
        return None if self.ended_s is None else self.ended_s - self.began_s


_STOPPED = Ending(Side.GATEWAY, Mechanism.CANCELLED, Phase.IN_BODY)


def legs_of(turn: StoredTurn) -> list[Leg]:
    """The connections of a turn, client's first."""
    record = turn.record
    joined: dict[int, float] = {}
    left: dict[int, tuple[float, Ending]] = {}
    started: dict[int, float] = {}
    ended: dict[int, tuple[float, Ending]] = {}
    statuses: dict[int, tuple[int, frozenset[str]]] = {}
    heard: dict[int, float] = {}
    for at, moment in record.moments:
        wall_s = at.wall_ms / 1000
        match moment:
            case m.ReaderJoined(reader=reader):
                joined.setdefault(reader, wall_s)
            case m.ReaderLeft(reader=reader, ending=ending):
                left[reader] = wall_s, ending
            case m.AnswerHeard(reader=reader):
                heard[reader] = wall_s
            case m.AttemptStarted(attempt=attempt):
                started.setdefault(attempt, wall_s)
            case m.UpstreamStopped(attempt=attempt):
                ended[attempt] = wall_s, _STOPPED
            case m.AttemptEnded(attempt=attempt, ending=ending):
                ended.setdefault(attempt, (wall_s, ending))
            case m.HeadersArrived(attempt=attempt, status=status, request_id=request_id, edge_id=edge_id):
                statuses[attempt] = status, frozenset(one for one in (request_id, edge_id) if one)
            case _:
                pass
    began_s = record.started.wall_ms / 1000
    joined[min(joined, default=1)] = began_s
    over_s = record.ended.wall_ms / 1000 if record.ended else None
    seen_ids = frozenset(one for _, ids in statuses.values() for one in ids)
    ids = seen_ids | {one for one in (record.turn_id, record.request_id, record.edge_id) if one}
    last = max(joined)
    found = []
    for reader, at_s in joined.items():
        if reader in left:
            end_s, ending = left[reader]
            end: tuple[float | None, Ending | None] = end_s, ending
        elif reader in heard:
            end = heard[reader], COMPLETED
        else:
            end = over_s, record.ending
        found.append(
            Leg(
                record.turn_id,
                Kind.CLIENT,
                reader,
                at_s,
                end[0],
                method=record.method,
                path=path_of(record.path),
                host="",
                status=record.status,
                ids=ids,
                answer_bytes=record.answer_bytes if reader == last and reader not in left else None,
                ending=end[1],
            )
        )
    for attempt, at_s in started.items():
        stop_s, stop = ended.get(attempt, (over_s, None))
        answered = statuses.get(attempt)
        found.append(
            Leg(
                record.turn_id,
                Kind.UPSTREAM,
                attempt,
                at_s,
                stop_s,
                method=record.method,
                path=path_of(record.path),
                host=host_of(record.upstream),
                status=answered[0] if answered else None,
                ids=answered[1] if answered else frozenset(),
                answer_bytes=record.answer_bytes if len(started) == 1 else None,
                ending=stop,
            )
        )
    return found


def window(legs: Sequence[Leg]) -> tuple[float, float]:
    """From the first beginning to the last end."""
    return (
        min((leg.began_s for leg in legs), default=0.0),
        max((leg.ended_s if leg.ended_s is not None else leg.began_s for leg in legs), default=0.0),
    )


# ----- what can be one and the same, whatever the clocks say


def same_path(one: str, other: str) -> bool:
    """Whether two paths can be one: a proxy or gateway may have put a prefix before it, or taken one off."""
    if not one or not other:
        return True
    return one == other or one.endswith(other) or other.endswith(one)


def could_be(seen: Sighting, leg: Leg) -> bool:
    """Whether method, path, duration and vantage allow that this sighting is of this leg."""
    if seen.vantage is Vantage.CLIENT and leg.kind is Kind.UPSTREAM:
        return False
    if seen.method and leg.method and seen.method != leg.method:
        return False
    if not same_path(seen.path, leg.path):
        return False
    if seen.took_s is not None and leg.took_s is not None:
        return abs(seen.took_s - leg.took_s) <= slack_s(seen, leg)
    return True


def slack_s(seen: Sighting, leg: Leg) -> float:
    """How much two durations of one exchange may differ: buffers and clocks are between them."""
    return max(0.3, 0.02 * (leg.took_s or 0.0), min(seen.precision_s, 1.0) * 0.5)


class Candidates:
    """The same questions to many legs at once, fast enough for every line of a large log."""

    def __init__(self, legs: Sequence[Leg]) -> None:
        self._ids = frozenset(one for leg in legs for one in leg.ids)
        self._paths = {leg.path for leg in legs}
        self._took_s = sorted(leg.took_s for leg in legs if leg.took_s is not None)
        self._lasting = any(leg.took_s is None for leg in legs)
        self._known: dict[str, bool] = {}

    def known(self, seen: Sighting) -> bool:
        """Whether it has an id of ours."""
        return not self._ids.isdisjoint(seen.ids)

    def possible(self, seen: Sighting) -> bool:
        """Whether path and duration allow that it is of any of them."""
        if self.known(seen):
            return True
        if seen.path not in self._known:
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[seen.path] = any(same_path(seen.path, path) for path in self._paths)
        if not self._known[seen.path]:
            return False
        if seen.took_s is None or self._lasting:
            return True
        slack_s = max(0.5, 0.025 * seen.took_s)
        at = bisect_left(self._took_s, seen.took_s - slack_s)
        return at < len(self._took_s) and self._took_s[at] <= seen.took_s + slack_s


class Places:
    """Legs found by id, by time and by duration: what each line of a log could be, without asking every leg.

    What it gives is in the order of the legs, and may hold some that do not fit; none that does is left out.
    """

    def __init__(self, legs: Sequence[Leg]) -> None:
        self._legs = legs
        self._by_id: dict[str, list[int]] = {}
        for place, leg in enumerate(legs):
            for one in leg.ids:
                self._by_id.setdefault(one, []).append(place)
        self._began = sorted((leg.began_s, place) for place, leg in enumerate(legs))
        self._ended = sorted(
            (leg.ended_s, place) for place, leg in enumerate(legs) if leg.ended_s is not None
        )
        self._took = sorted((leg.took_s, place) for place, leg in enumerate(legs) if leg.took_s is not None)
        self._lasting = [place for place, leg in enumerate(legs) if leg.took_s is None]
        self._longest_s = self._took[-1][0] if self._took else 0.0

    def known(self, seen: Sighting) -> list[Leg]:
        """Legs with an id of the sighting's."""
        return self._of({place for one in seen.ids for place in self._by_id.get(one, ())})

    def as_long(self, seen: Sighting) -> Sequence[Leg]:
        """Legs that may have lasted as long; all where it does not say how long that was."""
        if seen.took_s is None:
            return self._legs
        within_s = max(0.5, 0.021 * seen.took_s)
        return self._of({*self._lasting, *_within(self._took, seen.took_s, within_s)})

    def at_its_time(self, seen: Sighting, ahead_s: float) -> list[Leg]:
        """Legs that may have begun when it began, or else ended when it ended; a leg's end may differ with its length."""
        within_s = seen.precision_s + 1.0
        if seen.began_s is not None:
            return self._of(_within(self._began, seen.began_s - ahead_s, within_s))
        if seen.ended_s is None:
            return []
        within_s += 0.02 * self._longest_s
        return self._of(_within(self._ended, seen.ended_s - ahead_s, within_s))

    def _of(self, places: Iterable[int]) -> list[Leg]:
        return [self._legs[place] for place in sorted(places)]


def _within(ordered: Sequence[tuple[float, int]], middle: float, reach: float) -> list[int]:
    """The places of what lies within reach, and a hair beyond: sums of floats are not exact."""
    begin = bisect_left(ordered, (middle - reach - 1e-3, -1))
    end = bisect_left(ordered, (middle + reach + 1e-3, -1))
    return [place for _, place in ordered[begin:end]]


def particular(seen: Sighting, leg: Leg) -> bool:
    """Whether durations agree that are long enough to be no accident."""
    return (
        seen.took_s is not None
        and leg.took_s is not None
        and leg.took_s >= ENOUGH_S
        and abs(seen.took_s - leg.took_s) <= slack_s(seen, leg)
    )


def same_size(seen: Sighting, leg: Leg) -> bool | None:
    """Whether the answers have one size (framing and headers aside); None where either is not known."""
    if seen.sent_bytes is None or leg.answer_bytes is None or leg.answer_bytes < 200:
        return None
    return abs(seen.sent_bytes - leg.answer_bytes) <= 0.05 * leg.answer_bytes + 600
