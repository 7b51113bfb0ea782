"""The edge in front of the provider waited long enough."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._told import Told
from holdfast.diagnosis.hypotheses._words import outcomes
from holdfast.diagnosis.hypothesis import Brief, Evidence
from holdfast.flight.flights import counted

STATUSES = frozenset({408, 504, 522, 524})


class EdgeTimeout(Told):
    """An edge or proxy between the client and the provider waited for the answer's first byte, and said that it gave up.

    It predicts: status 504, 522, 524 or 408, at the same age each time, for requests that the model thinks long about. The
    request had arrived, so this machine's network was whole; a limit that cuts without a word is `fixed-limit`.
    """

    name = "edge-timeout"
    title = "An edge gave up waiting for the provider's answer"
    remedy = (
        "Ask for less at a time (less thinking, smaller prompts). If the answer's Server header names a proxy of your own, "
        "raise its limit."
    )
    falsifier = (
        "the same status at once, without any wait: then something on the way is broken, not impatient"
    )

    def names(self, failure: Failure) -> bool:
        return bool(failure.statuses & STATUSES)

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        listed = ", ".join(map(str, sorted({code for one in mine for code in one.statuses & STATUSES})))
        said = f"{counted(len(mine), 'request')} got a status of waiting ({listed}): {outcomes(mine)}"
        ages = sorted(one.tries[0].age_s for one in mine if one.tries and one.tries[0].age_s is not None)
        middle = f"; half of them after {ages[len(ages) // 2]:.0f} s or less." if ages else "."
        return Brief(
            pro=(Evidence(said + middle, "transcripts"),),
            settle="holdfast run -- claude: the flight tells which edge gave up, and after how long; holdfast probe edge: "
            "which edge stands there now",
        )
