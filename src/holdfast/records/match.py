"""Sightings put to turns, and told: who saw what, and whether it agrees with our own record. Values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from holdfast.flight.flights import Line, duration, ending_sentence
from holdfast.flight.record import TurnRecord
from holdfast.records.align import Clock
from holdfast.records.legs import Kind, Leg, Places, could_be, same_path, same_size, window
from holdfast.records.sighting import Sighting, Vantage
from holdfast.records.verdict import Verdict, judged

ABOUT_S = 60.0
"Around our turns: what was seen then and fits none of them is counted."


@dataclass(frozen=True, slots=True)
class Match:
    """A sighting that is of a turn."""

    seen: Sighting
    leg: Leg
    by_id: bool
    began_s: float | None
    "Our clock."
    ended_s: float | None
    verdict: Verdict
    note: str
    "Why, in a clause; may be empty."


@dataclass(slots=True)
class Matched:
    """What came of a file."""

    matches: list[Match] = field(default_factory=list)
    unclear: list[tuple[Sighting, tuple[str, ...]]] = field(default_factory=list)
    "Sightings that fit several turns equally, with their ids."
    crowded: list[Sighting] = field(default_factory=list)
    "Several that fit one connection equally, where one of them can be it."
    strangers: list[Sighting] = field(default_factory=list)
    "Seen while our turns ran, and none of them."
    never_came: int = 0
    "Those of the strangers that asked for a path of ours: they may never have reached us."
    unplaced: list[Sighting] = field(default_factory=list)
    "Without a time, or in a file whose clock could not be compared; and without an id of ours."


def match(seen: Iterable[Sighting], legs: Sequence[Leg], clock: Clock) -> Matched:
    """Put each sighting to the turn that it is of, if that is clear."""
    found = Matched()
    first_s, last_s = window(legs)
    places = Places(legs)
    paths = {leg.path for leg in legs if leg.path}
    for one in seen:
        known = places.known(one)
        ahead_s = clock.ahead_s
        if known:
            known.sort(key=lambda leg: _cost(one, leg, ahead_s))
            found.matches.append(_placed(one, known, ahead_s, by_id=True))
            continue
        if ahead_s is None or one.at_s is None:
            found.unplaced.append(one)
            continue
        near = [
            leg
            for leg in places.at_its_time(one, ahead_s)
            if could_be(one, leg) and _close(one, leg, ahead_s)
        ]
        if not near:
            if first_s - ABOUT_S <= one.at_s - ahead_s <= last_s + ABOUT_S:
                found.strangers.append(one)
                found.never_came += bool(one.path) and any(same_path(one.path, path) for path in paths)
            continue
        near.sort(key=lambda leg: _cost(one, leg, ahead_s))
        best, margin = near[0], 0.25 + one.precision_s / 2
        rivals = {
            leg.turn_id
            for leg in near[1:]
            if leg.turn_id != best.turn_id and _cost(one, leg, ahead_s) - _cost(one, best, ahead_s) < margin
        }
        if rivals:
            found.unclear.append((one, (best.turn_id, *sorted(rivals))))
        else:
            found.matches.append(_placed(one, near, ahead_s, by_id=False))
    found.matches = _spread(found.matches, legs)
    _thin(found, clock.ahead_s)
    return found


def _thin(found: Matched, ahead_s: float | None) -> None:
    """A connection is one request: where several of a log fit one leg, the one that fits best by far is it, or none is.

    Known ids decide; lines that tell an event (of an error log) may well be several.
    """
    crowds: dict[tuple[str, Kind, int, str], list[Match]] = {}
    for one in found.matches:
        if one.seen.took_s is not None:
            leg = one.leg
            crowds.setdefault((leg.turn_id, leg.kind, leg.number, one.seen.program), []).append(one)
    gone: set[int] = set()
    for crowd in crowds.values():
        if len(crowd) < 2:
            continue
        crowd.sort(key=lambda one: (not one.by_id, _cost(one.seen, one.leg, ahead_s)))
        first, second = crowd[0], crowd[1]
        margin = 0.25 + first.seen.precision_s / 2
        lead = _cost(second.seen, second.leg, ahead_s) - _cost(first.seen, first.leg, ahead_s)
        if first.by_id or lead >= margin:
            others = [one for one in crowd[1:] if not one.by_id]
            found.strangers += [one.seen for one in others]
            found.never_came += len(others)
        else:
            others = crowd
            found.crowded += [one.seen for one in crowd]
        gone |= {id(one) for one in others}
    found.matches = [one for one in found.matches if id(one) not in gone]


_KIND = (Verdict.AGREES, Verdict.ADDS, Verdict.SILENT, Verdict.CONTRADICTS)


def _placed(one: Sighting, fitting: Sequence[Leg], ahead_s: float | None, *, by_id: bool) -> Match:
    """Put to the leg that fits best. Where several legs of the turn fit as well, the program may stand in front of
    Holdfast or behind it, and nothing it wrote is held against our record that one of the two places explains."""
    best = fitting[0]
    margin = _cost(one, best, ahead_s) + 0.25 + one.precision_s / 2
    equal = [leg for leg in fitting if leg.turn_id == best.turn_id and _cost(one, leg, ahead_s) <= margin]
    could = [_matched(one, leg, ahead_s, by_id=by_id) for leg in equal]
    return min(could, key=lambda match: _KIND.index(match.verdict))


def _spread(matches: list[Match], legs: Sequence[Leg]) -> list[Match]:
    """Two requests in one log that were put to one leg are the two sides of Holdfast: a proxy in front of it and behind
    it. The one that began first, or else lasted longer, is the client's."""
    sides: dict[tuple[str, str], list[int]] = {}
    for place, one in enumerate(matches):
        if one.seen.took_s is not None and one.seen.vantage is Vantage.BETWEEN:
            sides.setdefault((one.leg.turn_id, one.seen.program), []).append(place)
    spread = list(matches)
    for (turn_id, _), places in sides.items():
        if len(places) != 2 or len({(matches[at].leg.kind, matches[at].leg.number) for at in places}) != 1:
            continue
        mine = [leg for leg in legs if leg.turn_id == turn_id]
        if len(mine) != 2 or {leg.kind for leg in mine} != {Kind.CLIENT, Kind.UPSTREAM}:
            continue
        places.sort(key=lambda at: (matches[at].seen.began_s or 0.0, -(matches[at].seen.took_s or 0.0)))
        for at, kind in zip(places, (Kind.CLIENT, Kind.UPSTREAM), strict=True):
            (leg,) = [one for one in mine if one.kind is kind]
            verdict, note = judged(matches[at].seen, leg)
            spread[at] = replace(matches[at], leg=leg, verdict=verdict, note=note)
    return spread


def _apart(one: Sighting, leg: Leg, ahead_s: float) -> tuple[float | None, float | None]:
    """Seconds between the two beginnings and the two ends."""
    began = abs(one.began_s - ahead_s - leg.began_s) if one.began_s is not None else None
    if one.ended_s is None or leg.ended_s is None:
        return began, None
    return began, abs(one.ended_s - ahead_s - leg.ended_s)


def _close(one: Sighting, leg: Leg, ahead_s: float) -> bool:
    began, ended = _apart(one, leg, ahead_s)
    allowed = one.precision_s + 1.0
    if began is None and ended is None:
        return False
    if began is not None and began > allowed:
        return False
    return ended is None or ended <= allowed + 0.02 * (leg.took_s or 0.0)


def _cost(one: Sighting, leg: Leg, ahead_s: float | None) -> float:
    """How badly a leg fits, in seconds; sizes that differ weigh like two of them, a contradiction like one and a half."""
    cost = {True: -0.5, None: 0.0, False: 2.0}[same_size(one, leg)]
    cost += 5.0 if one.vantage is Vantage.CLIENT and leg.kind is Kind.UPSTREAM else 0.0
    if one.host and leg.host:
        cost -= 0.5 if one.host.partition(":")[0] == leg.host.partition(":")[0] else 0.0
    if judged(one, leg)[0] is Verdict.CONTRADICTS:
        cost += 1.5
    if one.took_s is not None and leg.took_s is not None:
        cost += min(abs(one.took_s - leg.took_s), 60.0)
    if ahead_s is not None:
        cost += sum(min(apart, 60.0) for apart in _apart(one, leg, ahead_s) if apart is not None)
    return cost


def _matched(one: Sighting, leg: Leg, ahead_s: float | None, *, by_id: bool) -> Match:
    verdict, note = judged(one, leg)
    ours = [None if at is None or ahead_s is None else at - ahead_s for at in (one.began_s, one.ended_s)]
    return Match(one, leg, by_id, ours[0], ours[1], verdict, note)


# ----- told


def since_start_s(record: TurnRecord, wall_s: float) -> float:
    """A wall time as seconds since the turn's start on the monotonic clock, by the moment before it."""
    anchor = record.started
    after = None
    for at, _ in record.moments:
        if at.wall_ms / 1000 > wall_s:
            after = at
            break
        anchor = at
    mono_s = anchor.mono_s + (wall_s - anchor.wall_ms / 1000)
    if after is not None:
        mono_s = min(mono_s, after.mono_s)
    return mono_s - record.started.mono_s


def lines_of(matches: Iterable[Match], record: TurnRecord) -> list[Line]:
    """What others saw of this turn as lines of its story, to be merged by time."""
    lines = []
    for one in matches:
        if one.leg.turn_id != record.turn_id:
            continue
        seen = one.seen
        began_s = _as_ours(one.began_s, one.leg.began_s, seen)
        ended_s = _as_ours(one.ended_s, one.leg.ended_s, seen)
        at_s = ended_s if ended_s is not None else began_s
        if at_s is None:
            continue
        if began_s is not None and ended_s is not None and seen.took_s is not None and seen.took_s >= 1:
            asked = f"{seen.method} {seen.path}".strip() or "A connection"
            lines.append(Line(since_start_s(record, began_s), "Seen", f"{asked} began.", seen.place))
        after = f", after {duration(seen.took_s)}" if seen.took_s is not None else ""
        lines.append(Line(since_start_s(record, at_s), "Seen", f"{_upper(seen.says)}{after}.", seen.place))
    return sorted(lines, key=lambda line: line.at_s)


def _as_ours(theirs: float | None, ours: float | None, seen: Sighting) -> float | None:
    """Where to tell it: at our time, where theirs is too coarse to differ from it."""
    if theirs is None or ours is None or abs(theirs - ours) > max(seen.precision_s, 0.05):
        return theirs
    return ours


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def merged(ours: Sequence[Line], others: Sequence[Line]) -> list[Line]:
    """One story: our lines keep their order, others stand where their time puts them."""
    return sorted([*ours, *others], key=lambda line: line.at_s)


def table(matches: Sequence[Match], record: TurnRecord) -> list[tuple[str, str, str, str]]:
    """Who, when it ended, what they say, what that does to our account. Our own legs come first."""
    mine = [one for one in matches if one.leg.turn_id == record.turn_id]
    rows = []
    for leg in {(one.leg.kind, one.leg.number): one.leg for one in mine}.values():
        which = f"Holdfast, {'connection' if leg.kind is Kind.CLIENT else 'attempt'} {leg.number}"
        what = ending_sentence(leg.ending, evidence=False) if leg.ending else "not over"
        rows.append((which, _at(record, leg.ended_s), what, ""))
        for one in mine:
            if one.leg == leg:
                took = f", after {duration(one.seen.took_s)}" if one.seen.took_s is not None else ""
                note = one.verdict.value + (f": {one.note}" if one.note else "")
                rows.append(
                    (
                        one.seen.place,
                        _at(record, one.ended_s, one.seen.precision_s),
                        f"{one.seen.says}{took}",
                        note,
                    )
                )
    return rows


def _at(record: TurnRecord, wall_s: float | None, precision_s: float = 0.1) -> str:
    if wall_s is None:
        return "-"
    return f"{since_start_s(record, wall_s):+.{0 if precision_s >= 1 else 1}f} s"
