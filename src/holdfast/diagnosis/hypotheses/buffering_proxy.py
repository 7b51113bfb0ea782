"""Something between keeps the answer until it is whole."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar

from holdfast.diagnosis.case import Case, Failure, Trip
from holdfast.diagnosis.hypotheses._alike import by_session_day
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis
from holdfast.flight.endings import Phase
from holdfast.flight.flights import counted

TOKENS = 300
"Of an answer that takes a model seconds to write."
FASTEST = 1500.0
"Tokens a second that no model writes: what came faster had been kept somewhere."
ENOUGH = 4
"Answers to tell it by."
MOST_OF_THEM = 0.8
WAITED_S = 15.0
NO_WORD = frozenset({Phase.AWAITING_HEADERS, Phase.AWAITING_FIRST_EVENT})
BEFORE_ANY = 4.0
"""Of a failure before the answer's first word, after a wait: behind such a proxy all that wait fail so, elsewhere about a
quarter, for half of the failures strike while an answer comes, and others strike at once."""


class BufferingProxy(Hypothesis):
    """A proxy or scanner on the way collects a streamed answer and passes it on when it is whole: every long answer is a
    long silence, and meets every limit on silence that there is.

    It predicts: answers that come in one piece, thousands of tokens within a moment, after as long a wait as writing them
    takes; failures before the answer's first word, and hardly any after it; the longer the answer, the likelier. That
    answers come in one piece is seen by flights; without them it looks like a limit on silence, and a limit there is: this
    says whose silence it is.
    """

    name = "buffering-proxy"
    title = "Something on the way keeps answers until they are whole"
    remedy = (
        "Switch buffering off at that proxy for this host (nginx: proxy_buffering off), or go around it; holdfast run has "
        "the client wait meanwhile."
    )
    likeness = 0.2
    falsifier = "events of one answer that arrive seconds apart, on the same network"
    rivals: ClassVar[Mapping[str, str]] = {
        "silence-limit": "holdfast run on another network: do the events of an answer arrive one by one?",
        "nat-timeout": "holdfast run on another network: do the events of an answer arrive one by one?",
        "fixed-limit": "holdfast run on another network: do the events of an answer arrive one by one?",
    }

    def ratios(self, case: Case) -> Sequence[float]:
        whole, all_of_them = _in_one_piece(case.trips)
        if all_of_them < ENOUGH or whole < MOST_OF_THEM * all_of_them:
            return [0.0] * len(case.failures)
        return [_ratio(case, failure) for failure in case.failures]

    def units(self, case: Case) -> Sequence[Hashable]:
        """A session that asks for long answers waits long all along."""
        return by_session_day(case)

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        whole, all_of_them = _in_one_piece(case.trips)
        said = (
            f"{whole} of {counted(all_of_them, 'answer')} of {TOKENS} tokens or more came faster than {FASTEST:.0f} tokens "
            "a second, which no model writes: they had been kept until they were whole."
        )
        waited = f"{counted(len(mine), 'failure')} came before the answer's first word, after {WAITED_S:.0f} s or more."
        settle = (
            "holdfast run on another network, or with that proxy left out (holdfast mark 'without the proxy'): do the "
            "events of an answer arrive one by one?"
        )
        return Brief((Evidence(said, "flights"), Evidence(waited, "flights")), (), settle)


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


def _ratio(case: Case, failure: Failure) -> float:
    if failure.statuses:
        return 0.0
    seen = [
        *((one.phase, one.age_s) for one in case.trips_of.get(failure.id, ())),
        *((one.phase, None) for one in case.seen.get(failure.id, ())),
    ]
    phases = [phase for phase, _ in seen if phase is not None]
    if not phases:
        return 1.0
    if not any(phase in NO_WORD for phase in phases):
        return 0.05
    ages = [age for _, age in seen if age is not None] or failure.ages_s
    return BEFORE_ANY if ages and max(ages) >= WAITED_S else 0.2
