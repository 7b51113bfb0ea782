"""What causes have in common that cut requests at one age: where the age is found, and what tells them apart."""

from __future__ import annotations

import math
from abc import abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure, Span, Trip, Try, Witness, file_of
from holdfast.diagnosis.hypotheses._words import days
from holdfast.diagnosis.hypothesis import Answered, Brief, Evidence, Hypothesis
from holdfast.flight.flights import counted
from holdfast.sessions.client_telemetry import OWN_LIMIT

AGES_S = (10.0, 1200.0)
"Where a limit is looked for: shorter ones are no patience of anybody's, longer ones are past the client's own."
SHARE, LEAST_S = 0.02, 1.0
"How exact such a limit is: timers of event loops fire up to a second late."
HIT = 0.9
MISS = 0.02
OUTLIVED, OUTLIVED_LEAST = 0.5, 2.0**-6
"Of a request that lived on where it ought to have been cut; many are not as many proofs, for all may have gone another way."
ENOUGH_OLD = 5
LEAST_SILENT = 0.05
SILENT, FLOWING = 0.8, 0.3
"Of a try's age: a silence as long as the first is nearly all of it, and one as short as the second is a pause."
AT_ONCE_MS = 5_000
"The desktop app notes a broken cycle when the client does."
REMEDY = (
    "Run the client behind holdfast run: where an answer is cut it goes on or asks again, and the flight tells whether "
    "silence or the whole time was the limit."
)


class Aged(Hypothesis):
    """A cause that ends requests at one age."""

    remedy = REMEDY
    price_bits = 1.0 + math.log2(math.log(AGES_S[1] / AGES_S[0]) / (2 * SHARE))

    def __init__(self) -> None:
        self.limit_s: float | None = None
        "What was found."
        self.silent_share = 1.0
        "Of requests that went well and were that old, how many had been silent for as long; 1 where nobody saw it."

    @abstractmethod
    def fits(self, *, lost: bool, answered: bool | None) -> float:
        """How well this cause goes with what else is known of a failure at that age, against the others of its kind.

        `lost`: whether nobody answered any more. `answered`: whether the desktop app says that an answer was coming;
        None where it says nothing.
        """

    def ratios(self, case: Case) -> Sequence[float]:
        ages = [age(failure) for failure in case.failures]
        self.limit_s = commonest(ages)
        if self.limit_s is None:
            return [0.0] * len(ages)
        self.silent_share = _silent_share(case, self.limit_s)
        by_chance = _by_chance([one for one in ages if one is not None], self.limit_s)
        told = []
        for failure, one in zip(case.failures, ages, strict=True):
            if one is None:
                told.append(0.0)
            elif near(one, self.limit_s):
                told.append(
                    HIT / by_chance * self.fits(lost=_lost(failure), answered=_answered(case, failure)[0])
                )
            else:
                told.append(MISS)
        return told

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        limit = self.limit_s or 0.0
        ages = [one for failure in case.failures if (one := age(failure)) is not None]
        hits = sum(near(one, limit) for one in ages)
        later = sum(one > limit * (1 + 2 * SHARE) + LEAST_S for one in ages)
        pro = [
            Evidence(
                f"{hits} of {counted(len(ages), 'failure')} between {AGES_S[0]:.0f} s and {AGES_S[1] / 60:.0f} min old "
                f"broke after {limit:.0f} s, give or take {max(LEAST_S, SHARE * limit):.0f} s, on "
                f"{counted(days(mine), 'day')}.",
                "transcripts",
            )
        ]
        coming = [source for answered, source in (_answered(case, one) for one in mine) if answered]
        if coming:
            who = " and ".join(sorted(set(coming)))
            pro.append(Evidence(f"In {counted(len(coming), 'case')} an answer was already coming.", who))
        lost = sum(_lost(failure) for failure in mine)
        if lost:
            pro.append(Evidence(f"{lost} of {len(mine)} heard nothing more (ETIMEDOUT).", "transcripts"))
        con = (
            [Evidence(f"{counted(later, 'failed try')} had lasted longer than that.", "transcripts")]
            if later
            else []
        )
        return Brief(tuple(pro), tuple(con), self.settle(limit))

    def settle(self, limit: float) -> str:
        """The command, and what it would show."""
        return (
            "holdfast run -- claude: its flights tell a limit on silence from one on the whole time; "
            f"{idle_probe(limit)}: whether something on the way forgets silence; "
            f"holdfast atlas {limit:.0f}: whose timer it may be (the client says so itself "
            "where it was its own limit, and of these it did not)"
        )


def idle_probe(limit: float) -> str:
    """The line that holds connections silent for less, for as long, and for longer than a limit."""
    return f"holdfast probe idle --from {max(limit / 2, 1):.0f}s --to {limit * 1.5:.0f}s"


def outlived(
    limit: float | None, lasted_s: Sequence[float | None], words: str, source: str = "flights"
) -> list[tuple[Answered, str]]:
    """What a limit ought to have cut, and did not. A few may have gone another way; many did not meet it."""
    if limit is None:
        return []
    longer = sum(one is not None and one > limit * (1 + 2 * SHARE) + LEAST_S for one in lasted_s)
    if not longer:
        return []
    text = f"{counted(longer, 'request')} {words} {limit:.0f} s, and came to a proper end"
    return [(Answered(max(OUTLIVED**longer, OUTLIVED_LEAST), text), source)]


def age(failure: Failure) -> float | None:
    """The age of the first try whose age is in question; a failed HTTP answer is nobody's cut, and the client's own end is
    told."""
    found = _asked(failure)
    return found.age_s if found is not None else None


def in_question(failure: Failure) -> float | None:
    """The age that a limit is told by; where none is in question, of the first try, if possible without an HTTP answer."""
    aged = [one for one in failure.tries if one.age_s is not None]
    first = next((one for one in aged if one.status is None), aged[0] if aged else None)
    found = age(failure)
    return found if found is not None else first.age_s if first is not None else None


def limit_met(cause: str, ages: Sequence[float], case: Case) -> float | None:
    """The limit at which most of these ages lie, if the cause, by its name, is one of this kind; else None."""
    if not any(one.name == cause for one in Aged.__subclasses__()):
        return None
    limit = commonest([age(one) for one in case.failures])
    return limit if limit is not None and 2 * sum(near(one, limit) for one in ages) > len(ages) else None


def _asked(failure: Failure) -> Try | None:
    for one in failure.tries:
        if one.status is not None or one.age_s is None or one.code == OWN_LIMIT:
            continue
        if AGES_S[0] <= one.age_s <= AGES_S[1]:
            return one
    return None


def _lost(failure: Failure) -> bool:
    """Whether that try heard nothing more: a cut is heard, what is dropped is not."""
    found = _asked(failure)
    return found is not None and found.code == "ETIMEDOUT"


def near(one: float, limit: float) -> bool:
    """Whether an age is the limit's."""
    return abs(one - limit) <= max(LEAST_S, SHARE * limit)


def commonest(ages: Sequence[float | None]) -> float | None:
    """The age with most others near it, for its width: where requests were cut. None where no two are near each other."""
    best, found = 0.0, None
    known = [one for one in ages if one is not None]
    ordered = sorted(known)
    for one in known:
        reach = max(LEAST_S, SHARE * one)
        close = ordered[bisect_left(ordered, one - reach) : bisect_right(ordered, one + reach)]
        if len(close) < 2:
            continue
        # Many ages are near a great one by chance: what counts is how many more there are than that.
        surplus = len(close) * math.log2(one / (2 * reach))
        if surplus > best:
            best, found = surplus, close[len(close) // 2]
    return found


def _by_chance(ages: Sequence[float], limit: float) -> float:
    """How likely an age is the limit's without a limit: by the ages around it, and at least as on a wide flat scale."""
    reach = math.log(1 + max(LEAST_S, SHARE * limit) / limit)
    around = [one for one in ages if limit / 2 <= one <= limit * 2]
    beside = sum(not near(one, limit) for one in around)
    wide = math.log(min(limit * 2, AGES_S[1]) / max(limit / 2, AGES_S[0]))
    usual = (beside + 2) / (len(ages) + 4) * 2 * reach / max(wide - 2 * reach, reach)
    return max(usual, 2 * reach / math.log(AGES_S[1] / 0.3))


def _silent_share(case: Case, limit: float) -> float:
    """Of requests that went well and were older than that, how many had been silent for about as long."""
    old = [
        one.quiet_s
        for one in case.trips
        if not one.broke and one.quiet_s is not None and one.age_s is not None and one.age_s > limit
    ]
    silent = sum(one >= SILENT * limit for one in old)
    return max((silent + 1) / (len(old) + 2), LEAST_SILENT) if len(old) >= ENOUGH_OLD else 1.0


def _answered(case: Case, failure: Failure) -> tuple[bool | None, str]:
    """Whether an answer was coming when it was cut, and who saw that try: a flight, a capture, a log or the desktop app."""
    found = _asked(failure)
    if found is None or not found.age_s:
        return None, ""
    of_try = Span(found.at_ms - round(found.age_s * 1000), found.at_ms + AT_ONCE_MS)
    told: Sequence[Trip | Witness] = (*case.trips_of.get(failure.id, ()), *case.seen.get(failure.id, ()))
    for one in told:
        if one.silence_s is not None and one.at_ms in of_try:
            if one.silence_s >= SILENT * found.age_s:
                return False, file_of(one.source)
            if one.silence_s <= FLOWING * found.age_s:
                return True, file_of(one.source)
    for cycle in case.cycles:
        if abs(cycle.at_ms - found.at_ms) <= AT_ONCE_MS:
            return cycle.answered, "desktop log"
    return None, ""
