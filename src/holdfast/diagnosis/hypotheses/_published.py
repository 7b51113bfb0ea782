"""What a status page's incidents say of failures: how many lie in one, and how many would by chance."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure, Span
from holdfast.diagnosis.clock import instant
from holdfast.diagnosis.hypothesis import Answered
from holdfast.flight.flights import counted, percent
from holdfast.probes.result import Result
from holdfast.probes.status import Incident, published

EARLY_MS = 15 * 60_000
"Trouble is met before somebody publishes it, and an incident's begin is mostly that moment."
LATE_MS = 60 * 60_000
"What is published at all is so within the hour: of the last one before the page was read its silence says nothing."
PUBLISHED = 0.5
"Of a provider's troubles, that its page lists them: what is short or small is left out."
RARE = 0.01
"No chance is taken for smaller."
MOST = 32.0
"Pages have broad incidents of which a client meets nothing: to lie in some of them is no proof."
LEAST = 0.5
"That a page lists nothing speaks slightly against the provider, and no more: it lists what it likes."
MOST_NAMED = 3
APART_MS = 60 * 60_000
"Failures with less between them are one trouble, within an incident or outside: what is counted on both sides is alike."


def within_incidents(case: Case, mine: Sequence[Failure], result: Result) -> Answered | None:
    """What a page's past says of a cause at the provider, given the failures that speak for it.

    What failed within an hour of each other is one trouble, in an incident if most of it lies in one. By chance as many lie
    there as requests do that were answered, for those are asked at the same hours. None where the page covers none.
    """
    past = published(result)
    if past is None:
        return None
    covered = sorted(one.at_ms for one in mine if past.covers(one.at_ms))
    telling = sorted(
        (one for one in past.incidents if one.concerns is not False), key=lambda one: one.begun_wall_ms
    )
    met = [next((one for one in telling if at in _span(one, past.until_ms)), None) for at in covered]
    inside = Counter(one for one in met if one is not None)
    within, lone = _troubles(covered, [one is not None for one in met], past.until_ms - LATE_MS)
    if not within and not lone:
        return None
    chance = _chance(case, [_span(one, past.until_ms) for one in telling], Span(past.since_ms, past.until_ms))
    ratio = (PUBLISHED / chance) ** within * ((1 - PUBLISHED) / (1 - chance)) ** lone
    said = f"{inside.total()} of {counted(len(covered), 'failure')} that {past.page}'s page covers "
    said += f"{'is' if inside.total() == 1 else 'are'} in incidents that it published"
    if inside:
        named = [f"{count} in {_told(one)}" for one, count in inside.most_common(MOST_NAMED)]
        more = len(inside) - len(named)
        said += f": {', '.join(named)}{f', the rest in {more} more' if more > 0 else ''}"
    said += f"; of requests that were answered {percent(chance)} are"
    return Answered(min(max(ratio, LEAST), MOST), said)


def _troubles(times: Sequence[int], inside: Sequence[bool], settled_ms: int) -> tuple[int, int]:
    """How many lie in an incident, and how many in none though there was time to publish it."""
    within = lone = 0
    begin = 0
    for place, at in enumerate(times, 1):
        if place < len(times) and times[place] - at < APART_MS:
            continue
        if 2 * sum(inside[begin:place]) > place - begin:
            within += 1
        elif at < settled_ms:
            lone += 1
        begin = place
    return within, lone


def _span(one: Incident, until_ms: int) -> Span:
    ended = until_ms if one.ended_wall_ms is None else one.ended_wall_ms
    return Span(one.begun_wall_ms - EARLY_MS, max(ended, one.begun_wall_ms))


def _chance(case: Case, spans: Sequence[Span], within: Span) -> float:
    """The share of answered requests of that time that lie in one of these spans, which are in order."""
    times = [one.at_ms for one in case.answers]
    first, last = bisect_left(times, within.begun_ms), bisect_left(times, within.ended_ms)
    count, reached = 0, first
    for span in spans:
        begin = max(bisect_left(times, span.begun_ms), reached)
        reached = max(min(bisect_right(times, span.ended_ms), last), begin)
        count += reached - begin
    return min(max((count + 1) / (last - first + 2), RARE), PUBLISHED)


def _told(one: Incident) -> str:
    begun = instant(one.begun_wall_ms)
    if one.ended_wall_ms is None:
        return f'"{one.name}" (since {begun})'
    return f'"{one.name}" ({begun} to {instant(one.ended_wall_ms)})'
