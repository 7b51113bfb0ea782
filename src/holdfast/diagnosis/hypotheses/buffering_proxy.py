"""Something between keeps the answer until it is whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.diagnosis.case import Case, Failure, Trip
from holdfast.diagnosis.hypotheses._age import Aged, age, near
from holdfast.diagnosis.hypothesis import Answered, Brief, Evidence
from holdfast.flight.endings import Phase
from holdfast.flight.flights import counted

TOKENS = 300
"Of an answer that takes a model seconds to write."
FASTEST = 1500.0
"Tokens a second that no model writes: what came faster had been kept somewhere."
IN_ONE_PIECE = 1000.0
"Of answers that all came in one piece: a slow line brings them in pieces, and a model never writes so."
ONE_BY_ONE = "holdfast run on another network: do the events of an answer arrive one by one?"
ENOUGH = 4
"Answers to tell it by."
MOST_OF_THEM = 0.8
WAITED_S = 15.0
NO_WORD = frozenset({Phase.AWAITING_HEADERS, Phase.AWAITING_FIRST_EVENT})
BEFORE_ANY = 4.0
"""Of a failure before the answer's first word, after a wait: behind such a proxy all that wait fail so, elsewhere about a
quarter, for half of the failures strike while an answer comes, and others strike at once. Where most of them are of one
age, that is the box's limit, and those of another age are no more its own than anybody's."""


class BufferingProxy(Aged):
    """A proxy or scanner on the way collects a streamed answer and passes it on when it is whole: every long answer is a
    long silence, and meets every limit on silence that there is, the proxy's own first.

    It predicts: answers that come in one piece, thousands of tokens within a moment, after as long a wait as writing them
    takes; failures before the answer's first word, and hardly any after it, at one age where the proxy has a limit of its
    own. That answers come in one piece is seen by flights; without them it looks like a limit on silence, and a limit there
    is: this says whose silence it is.
    """

    name = "buffering-proxy"
    title = "Something on the way keeps answers until they are whole"
    remedy = (
        "Switch buffering off at that proxy for this host (nginx: proxy_buffering off), or go around it; holdfast run has "
        "the client wait meanwhile."
    )
    falsifier = "events of one answer that arrive seconds apart, on the same network"
    rivals: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("silence-limit", "nat-timeout", "fixed-limit"), ONE_BY_ONE
    )

    def fits(self, *, lost: bool, answered: bool | None) -> float:
        return 0.05 if answered else 1.0 if answered is None else 1 / self.silent_share

    def ratios(self, case: Case) -> Sequence[float]:
        if not _found(case.trips):
            return [0.0] * len(case.failures)
        by_age = super().ratios(case)
        waited = [ratio for one, ratio in zip(case.failures, by_age, strict=True) if _waited(case, one)]
        limited = 5 * sum(ratio > 1 for ratio in waited) > len(waited)
        return [
            _ratio(case, failure, ratio, 1.0 if limited else BEFORE_ANY)
            for failure, ratio in zip(case.failures, by_age, strict=True)
        ]

    def beside(self, case: Case) -> Sequence[tuple[Answered, str]]:
        """How answers came that went well."""
        if not _found(case.trips):
            return ()
        whole, all_of_them = _in_one_piece(case.trips)
        text = (
            f"{whole} of {counted(all_of_them, 'answer')} of {TOKENS} tokens or more came faster than {FASTEST:.0f} tokens "
            "a second, which no model writes: they had been kept until they were whole"
        )
        return [(Answered(IN_ONE_PIECE, text), "flights")]

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        waited = sum(_phase(case, one) in NO_WORD for one in mine)
        pro = []
        if waited:
            text = f"{counted(waited, 'failure')} came before the answer's first word, after {WAITED_S:.0f} s or more."
            pro.append(Evidence(text, "flights"))
        at_limit = [one for one in mine if (old := age(one)) is not None and near(old, self.limit_s or 0.0)]
        if self.limit_s is not None and 2 * len(at_limit) > len(mine):
            text = f"{len(at_limit)} of {counted(len(mine), 'failure')} broke after {self.limit_s:.0f} s"
            pro.append(Evidence(f"{text}: that box's own limit.", "transcripts"))
        settle = (
            "holdfast run on another network, or with that proxy left out (holdfast mark 'without the proxy'): do the "
            "events of an answer arrive one by one?"
        )
        return Brief(tuple(pro), (), settle)


def _found(trips: Sequence[Trip]) -> bool:
    whole, all_of_them = _in_one_piece(trips)
    return all_of_them >= ENOUGH and whole >= MOST_OF_THEM * all_of_them


def _in_one_piece(trips: Sequence[Trip]) -> tuple[int, int]:
    """Of answers that went well and are long enough to tell, how many came in one piece; and all."""
    long = [
        (one.output_tokens, one.spread_s)
        for one in trips
        if one.output_tokens is not None
        and one.output_tokens >= TOKENS
        and one.spread_s is not None
        and not one.broke
    ]
    return sum(tokens > FASTEST * spread_s for tokens, spread_s in long), len(long)


def _phase(case: Case, failure: Failure) -> Phase | None:
    """What was under way when it first broke, as far as somebody saw it."""
    trips = sorted(case.trips_of.get(failure.id, ()), key=lambda one: one.at_ms)
    phases = [one.phase for one in trips] + [one.phase for one in case.seen.get(failure.id, ())]
    return next((one for one in phases if one is not None), None)


def _waited(case: Case, failure: Failure) -> bool:
    """Whether it broke before the answer's first word, and not soon."""
    ages = [one.age_s for one in case.trips_of.get(failure.id, ()) if one.age_s is not None] or failure.ages_s
    return _phase(case, failure) in NO_WORD and bool(ages) and max(ages) >= WAITED_S


def _ratio(case: Case, failure: Failure, by_age: float, before_any: float) -> float:
    if failure.statuses:
        return 0.0
    phase = _phase(case, failure)
    if phase is None:
        return by_age
    if phase not in NO_WORD:
        return min(by_age, 0.05)
    return max(by_age, before_any if _waited(case, failure) else 0.2)
