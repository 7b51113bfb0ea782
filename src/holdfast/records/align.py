"""How far another program's clock is from ours, found out rather than asked.

A log may be seconds wrong, and whole hours off where it writes local time without its zone. Every pair of a sighting
and a leg that could be one and the same proposes a difference of clocks; the difference that most pairs propose wins.
Pairs with a common id are asked first, and alone where there are any. What is left open is said, not guessed: where two
differences explain as much and neither is more natural (no difference; this machine's zone; a zone that exists), there
is no answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from holdfast.flight.flights import duration
from holdfast.records.legs import Leg, Places, could_be, particular
from holdfast.records.sighting import Sighting
from holdfast.records.verdict import Verdict, judged

FARTHEST_S = 26.5 * 3600
"Zones reach from -12 h to +14 h; a little more for clocks that are wrong besides."
MOST_SIGHTINGS = 4000
MOST_LEGS = 600
MOST_PAIRS = 300_000
"Sightings come the likelier ones first; what is beyond these bounds votes for nothing."
CHANCE = 0.5
"Accidental fits that may be expected, at most."
EXACT_S = 4.0
"How wrong a clock may be and still be called right: NTP's and a human hand's difference."


@dataclass(frozen=True, slots=True)
class Clock:
    """Another program's clock beside ours."""

    ahead_s: float | None
    "Its time minus ours; None where it could not be found out."
    words: str
    "How it was found, or why not; a clause that can follow the file's name."
    sure: bool = False


@dataclass(frozen=True, slots=True)
class _Peak:
    ahead_s: float
    score: int
    natural: int
    particular: bool


def shown(ahead_s: float, precision_s: float = 0.01) -> str:
    """A difference of clocks: `8 h ahead of ours`, `5 h 45 min and 3.2 s behind ours`, `the same as ours`.

    Told no finer than it can be known: of a log of whole seconds, `3 s`.
    """
    if abs(ahead_s) < max(0.05, precision_s):
        return "the same as ours"
    quarters = round(ahead_s / 900)
    skew = ahead_s - quarters * 900
    way = "ahead of ours" if ahead_s > 0 else "behind ours"
    if not quarters or abs(skew) > 120:
        return f"{_told(abs(ahead_s), precision_s)} {way}"
    minutes = abs(quarters) * 15
    zone = " ".join(
        part
        for part in (
            f"{minutes // 60} h" if minutes >= 60 else "",
            f"{minutes % 60} min" if minutes % 60 else "",
        )
        if part
    )
    if abs(skew) < max(1.0, precision_s):
        return f"{zone} {way}"
    return f"{zone} {'and' if (skew > 0) == (ahead_s > 0) else 'less'} {_told(abs(skew), precision_s)} {way}"


NOTHING_OF_THESE = "nothing in it could be of these turns"


def _told(seconds: float, precision_s: float) -> str:
    if precision_s >= 1 and seconds < 100:
        return f"about {seconds:.0f} s"
    return duration(seconds)


def align(seen: Sequence[Sighting], legs: Sequence[Leg], local_zone_s: float = 0.0) -> Clock:
    """The difference between a file's clock and ours. `local_zone_s`: how far local time is ahead of UTC here."""
    timed = [one for one in seen if one.at_s is not None]
    if not seen:
        return Clock(None, NOTHING_OF_THESE)
    if not timed:
        return Clock(None, "no times are written in it")
    places = Places(legs)
    known = [one for one in timed if one.ids and places.known(one)][:MOST_SIGHTINGS]
    if known:
        pairs = [(one, leg) for one in known for leg in places.known(one)]
        found = _peaks(pairs, local_zone_s, _width(known))
        if found:
            several = f"{found[0].score} matching ids" if found[0].score > 1 else "a matching id"
            return Clock(
                found[0].ahead_s,
                f"its clock is {_in_words(found[0].ahead_s, timed)} (by {several})",
                sure=True,
            )
    near = legs[:MOST_LEGS]
    lengths = Places(near)
    could = (
        (one, leg) for one in timed[:MOST_SIGHTINGS] for leg in lengths.as_long(one) if could_be(one, leg)
    )
    pairs = list(islice(could, MOST_PAIRS))
    agreed = [(one, leg) for one, leg in pairs if judged(one, leg)[0] is not Verdict.CONTRADICTS]
    pairs = agreed or pairs  # what contradicts everybody may still be true
    peaks = _peaks(pairs, local_zone_s, _width(timed))
    if not peaks:
        return Clock(None, NOTHING_OF_THESE)
    best = peaks[0]
    if best.natural < 2 and best.score < 3 and not best.particular:
        return Clock(None, "no difference of clocks explains more than chance would")
    others = [peak for peak in peaks[1:] if (peak.score, peak.particular) >= (best.score, best.particular)]
    rival = next((peak for peak in others if peak.natural >= best.natural), None)
    if rival is not None:
        return Clock(
            None,
            f"its clock could be {_in_words(best.ahead_s, timed)} or {_in_words(rival.ahead_s, timed)}: either explains "
            f"{_requests(best.score)}, and nothing tells them apart",
        )
    if best.score < 3 and not best.particular and best.natural < 4:
        # One event of a log whose zone is not known fits the end of some turn by whole hours, if there are enough turns.
        ends = len({round(leg.ended_s) for leg in near if leg.ended_s is not None})
        if ends * 2 * EXACT_S / 3600 > CHANCE:
            return Clock(
                None,
                f"its clock could be {_in_words(best.ahead_s, timed)}, but among {ends} ends nearby one that fits by whole "
                "hours is to be expected by chance",
            )
    of = min(len({id(one) for one, _ in pairs}), len({(leg.turn_id, leg.number) for _, leg in pairs}))
    following = _next(peaks)
    sure = best.score >= 3 and best.score >= 2 * following
    how = "by the one request that could be ours" if of == 1 else f"by {best.score} of {of} requests"
    if following:
        how += f"; the next best explains {following}"
        how += ", but is no difference that zones make" if following == best.score else ""
    elif of > 1:
        how += "; no other difference explains any"
    unsure = "" if sure else ("; likely, not sure" if best.natural >= 2 else "; not sure")
    return Clock(
        best.ahead_s,
        f"its clock is {_in_words(best.ahead_s, timed)} ({how}{unsure})",
        sure=sure,
    )


def _in_words(ahead_s: float, timed: Sequence[Sighting]) -> str:
    return shown(day_free(ahead_s, timed), max(one.precision_s for one in timed))


def day_free(ahead_s: float, timed: Sequence[Sighting]) -> float:
    """A difference without its whole days, where only times of day were written: the day was our own guess."""
    if any(one.dated for one in timed):
        return ahead_s
    return (ahead_s + 43_200) % 86_400 - 43_200


def _next(peaks: Sequence[_Peak]) -> int:
    return peaks[1].score if len(peaks) > 1 else 0


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"


def _width(seen: Sequence[Sighting]) -> float:
    """How far apart the differences of one clock may lie, in seconds: whole seconds are cut off, not rounded."""
    return 1.3 if max(one.precision_s for one in seen) >= 1 else 0.7


def natural(ahead_s: float, *, zone_known: bool, local_zone_s: float) -> int:
    """How little explanation a difference needs: 4 none, 3 a zone of whole hours, 2 another zone, 1 a skew, 0 none has."""
    if abs(ahead_s - (0.0 if zone_known else local_zone_s)) <= EXACT_S:
        return 4
    quarters = round(ahead_s / 900)
    skew = abs(ahead_s - quarters * 900)
    if abs(ahead_s) <= 300:
        return 3 if zone_known else 2
    if skew <= EXACT_S and quarters % 4 == 0:
        return 2 if zone_known else 3
    if skew <= EXACT_S and (quarters % 4 == 2 or (quarters % 4 == 3 and ahead_s > 0)):
        return 1 if zone_known else 2
    return 1 if skew <= 60 and quarters % 4 == 0 else 0


def _peaks(pairs: Sequence[tuple[Sighting, Leg]], local_zone_s: float, width_s: float) -> list[_Peak]:
    """The differences that pairs propose, those that explain most first; peaks that overlap count once."""
    votes = []
    for one, leg in pairs:
        for ahead_s in _proposed(one, leg):
            if abs(ahead_s) <= FARTHEST_S:
                votes.append((ahead_s, one, leg))
    votes.sort(key=lambda vote: vote[0])
    requests: Counter[int] = Counter()
    legs: Counter[tuple[str, int]] = Counter()
    sharp: Counter[bool] = Counter()
    found: list[tuple[int, bool, int, float]] = []
    first = 0
    for ahead_s, one, leg in votes:
        requests[id(one)] += 1
        legs[leg.turn_id, leg.number] += 1
        sharp[particular(one, leg)] += 1
        while votes[first][0] < ahead_s - width_s:
            _, gone, gone_leg = votes[first]
            _less(requests, id(gone))
            _less(legs, (gone_leg.turn_id, gone_leg.number))
            _less(sharp, particular(gone, gone_leg))
            first += 1
        middle = (votes[first][0] + ahead_s) / 2
        score = min(len(requests), len(legs))
        found.append(
            (
                score,
                sharp[True] > 0,
                natural(day_free(middle, [one]), zone_known=one.zone_known, local_zone_s=local_zone_s),
                middle,
            )
        )
    found.sort(key=lambda peak: (peak[0], peak[1], peak[2], -_crooked_s(peak[3])), reverse=True)
    peaks: list[_Peak] = []
    for score, is_sharp, how_natural, middle in found:
        if all(abs(middle - peak.ahead_s) > 2 * width_s for peak in peaks):
            peaks.append(_Peak(middle, score, how_natural, is_sharp))
            if len(peaks) == 8:
                break
    return peaks


def _crooked_s(ahead_s: float) -> float:
    """How far a difference is from whole quarters of an hour, which are what zones are made of."""
    return abs(ahead_s - round(ahead_s / 900) * 900)


def _less(counts: Counter[Any], key: object) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _proposed(one: Sighting, leg: Leg) -> list[float]:
    """The differences of clocks at which this sighting would be of this leg."""
    if one.began_s is not None:
        return [one.began_s - leg.began_s]
    if one.ended_s is not None and leg.ended_s is not None:
        return [one.ended_s - leg.ended_s]
    return []
