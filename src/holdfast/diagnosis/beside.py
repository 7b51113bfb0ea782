"""What other sources than the client's transcripts tell about a case, made one value. Nothing here opens a file.

Closings that somebody logged or captured are put to failures by the time. Where so many were logged that one would lie
beside a failure by chance, the time tells nothing, and that is said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.diagnosis.case import Case, Coverage, Failure, Span, Trip, Witness, file_of
from holdfast.diagnosis.flown import Flown, by_ending, matched, reset_requests
from holdfast.flight.endings import Mechanism, Side
from holdfast.probes.result import Result
from holdfast.sessions.desktop import Outage

CHANCE = 0.05
"Closings that may be expected beside a failure by chance, at most, for the time alone to tell."
WAKE_MS = 60_000
"A request that was under way in a sleep fails so soon after the waking, or at once."


@dataclass(frozen=True, slots=True)
class Seen:
    """A connection's end that another program logged or captured, on our clock."""

    witness: Witness
    slack_ms: int
    "How far its time may be off."
    request_ids: tuple[str, ...] = ()
    failure: str | None = None
    "The failure that it is of, where that is known by more than the time."
    trip: Trip | None = None
    "How its request went, as far as that program saw it."
    until_ms: int | None = None
    "Of an end that takes its time, as a way that goes dark does: when it was noticed at the latest."

    @property
    def window(self) -> Span:
        """When a request that it ended may have failed."""
        at_ms = self.witness.at_ms
        return Span(at_ms - self.slack_ms, max(at_ms, self.until_ms or at_ms) + self.slack_ms)


@dataclass(frozen=True)
class Beside:
    """Everything from beside the transcripts. Each part may be missing."""

    flights: Sequence[Flown] = ()
    "Turns of the gateway's journal that broke or did not end well."
    seen: Sequence[Seen] = ()
    "Of added files."
    outages: Sequence[Outage] = ()
    "Of the system's own logs."
    watched: Sequence[Span] = ()
    "The times that these cover, as far as this machine's own link goes."
    sleeps: Sequence[Span] = ()
    strains: Sequence[Span] = ()
    "When this machine had too little of something, by the same logs."
    trips: Sequence[Trip] = ()
    "How requests went: of the gateway's journal, and of added files those that ended without a side."
    probes: Sequence[Result] = ()
    "Kept results, oldest first."
    covered: Sequence[Coverage] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    "More tables by name, as they are."
    refused: Sequence[str] = ()
    logs: Mapping[tuple[str, str], str] = field(default_factory=dict)
    "As a case has them."


@dataclass(frozen=True)
class Joined:
    """The case with all of it, and what there is to count and to refuse."""

    case: Case
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    refused: tuple[str, ...]


def joined(case: Case, beside: Beside) -> Joined:
    """Put what others saw to the failures of a case."""
    witnesses: dict[str, list[Witness]] = defaultdict(list)
    known: dict[str, str] = {}
    for key, pairs in matched(case.failures, beside.flights).items():
        witnesses[key] += [witness for _, witness in pairs]
        known |= {turn.turn_id: key for turn, _ in pairs}
    refused = list(beside.refused)
    by_time, crowded = _by_time(case, beside.seen)
    paired: dict[int, str] = {}
    for key, one, end in by_time:
        witnesses[key].append(one)
        paired[id(end)] = key
    refused += [
        f"The closings in {source} are put to no failure by their time: there are so many of them that one beside each "
        "would be chance."
        for source in crowded
    ]
    for key, one in _slept(case.failures, beside.sleeps):
        witnesses[key].append(one)
    tables: dict[str, Sequence[Mapping[str, Any]]] = {}
    if beside.flights:
        tables["flights"] = by_ending(beside.flights, known)
        if resets := reset_requests(beside.flights, known):
            tables["reset requests"] = resets
    if by_time:
        times = {failure.id: failure.at_ms for failure in case.failures}
        tables["seen by others"] = [
            {
                "at_ms": one.at_ms,
                "source": one.source,
                "side": one.side.name.lower() if one.tells_who else "not known",
                "says": one.text,
                "failure": key,
                "after_s": round((one.at_ms - times[key]) / 1000, 3),
            }
            for key, one, _ in sorted(by_time, key=lambda pair: pair[1].at_ms)
        ]
    tables |= beside.tables
    return Joined(
        replace(
            case,
            outages=(*case.outages, *beside.outages),
            link_watched=(*case.link_watched, *beside.watched),
            seen={key: tuple(found) for key, found in witnesses.items()},
            trips=(*case.trips, *_trips(beside, known, paired)),
            probes=(*case.probes, *beside.probes),
            strains=(*case.strains, *beside.strains),
            logs={**case.logs, **beside.logs},
        ),
        tables,
        tuple(refused),
    )


def _trips(beside: Beside, known: Mapping[str, str], paired: Mapping[int, str]) -> Iterable[Trip]:
    """Every trip, those that broke with the failure that they were of; `paired`: by the identity of an end."""
    for one in beside.trips:
        yield replace(one, failure=known.get(one.turn)) if one.broke and one.turn else one
    for end in beside.seen:
        if end.trip is not None:
            yield replace(end.trip, failure=paired.get(id(end)))


def _by_time(case: Case, seen: Sequence[Seen]) -> tuple[list[tuple[str, Witness, Seen]], list[str]]:
    """Failure and witness, each witness once, and whose it is; and the sources whose times tell nothing.

    A witness that is put to a failure by its time bears how likely that is by chance.
    """
    by_id = {
        one.request_id: failure.id for failure in case.failures for one in failure.tries if one.request_id
    }
    active_ms = sum(span.ended_ms - span.begun_ms for span in case.active)
    active = case.active
    per_file: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        per_file[file_of(one.witness.source)].append(one)
    found: list[tuple[str, Witness, Seen]] = []
    crowded = []
    for file, those in per_file.items():
        rest = []
        for one in those:
            named = next((by_id[key] for key in one.request_ids if key in by_id), None)
            if told := one.failure or named:
                found.append((told, one.witness if named is None else replace(one.witness, doubt=0.0), one))
            else:
                rest.append(one)
        meanwhile = [one for one in rest if any(one.witness.at_ms in span for span in active)]
        beside_ms = float(sum(one.window.ended_ms - one.window.begun_ms for one in meanwhile))
        expected = beside_ms / active_ms if active_ms else 0.0
        chance = min(expected, 1.0)
        pairs = [
            (key, replace(one.witness, chance=chance), one)
            for one in meanwhile
            if (key := _nearest(case.failures, one)) is not None
        ]
        # What lies beside failures is what is to be explained, and no measure of the traffic there is anyway.
        expected *= 1 - len(pairs) / len(meanwhile) if meanwhile else 1
        if expected > CHANCE:
            crowded += [file] if pairs else []
        else:
            found += pairs
    return found, crowded


def _nearest(failures: Sequence[Failure], one: Seen) -> str | None:
    """The id of the failure at whose time it was, and which had begun by then; None where there is none, or several."""
    window = one.window
    latest_ms = one.witness.at_ms + one.slack_ms
    near = {
        failure.id
        for failure in failures
        if any(at_ms in window for at_ms in failure.times_ms) and failure.begun_ms <= latest_ms
    }
    return near.pop() if len(near) == 1 else None


def _slept(failures: Sequence[Failure], sleeps: Sequence[Span]) -> Iterable[tuple[str, Witness]]:
    """Failures of requests that were under way when the machine slept."""
    for failure in failures:
        for one in failure.tries:
            begun_ms = one.at_ms - round((one.age_s or 0.0) * 1000)
            slept = next(
                (
                    span
                    for span in sleeps
                    if one.age_s is not None
                    and begun_ms <= span.begun_ms
                    and span.begun_ms <= one.at_ms <= span.ended_ms + WAKE_MS
                ),
                None,
            )
            if slept is not None and not one.status:
                lasted = (slept.ended_ms - slept.begun_ms) / 1000
                text = f"the machine slept for {lasted:.0f} s while the request was under way"
                yield (
                    failure.id,
                    Witness(slept.ended_ms, Side.MACHINE, Mechanism.SLEPT, "system log", text),
                )
                break
