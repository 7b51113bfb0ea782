"""A kept connection was dead before it was used again."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._silence import held
from holdfast.diagnosis.hypothesis import Answered, Brief, Evidence, Hypothesis
from holdfast.flight.flights import counted, duration, percent
from holdfast.probes.result import Result

FAST_S = 1.5
"A dead connection shows within a round trip or two."
FAST_BY_CHANCE = 0.2
"Of ages spread evenly over the decades from 0.3 to 900 s, so many are that short."
IDLE_S = (60, 300)
MOST = 30.0
SOON_S = 120.0


class IdleSocket(Hypothesis):
    """Between two requests something on the way, or the edge itself, closed or forgot the idle connection.

    It predicts: the first request after a pause fails at once, the second goes through on a fresh connection, and
    the longer the pause the more often. Nothing is lost but a moment; it never costs a turn.
    """

    name = "idle-socket"
    title = "Kept connections were closed while they were idle"
    remedy = (
        "Run the client behind holdfast run: it uses no connection that was idle for more than four seconds. Such a "
        "failure costs a moment, and never a turn."
    )
    falsifier = "failures at once without a pause before them, or a second try that fails like the first"

    def ratios(self, case: Case) -> Sequence[float]:
        return [self._ratio(case, failure) for failure in case.failures]

    def _ratio(self, case: Case, failure: Failure) -> float:
        if failure.statuses or not failure.tries or failure.outcome == "died":
            return 0.0
        age, idle = failure.tries[0].age_s, failure.idle_s
        if age is None or idle is None or age > FAST_S:
            return 0.0
        ratio = 0.9 / FAST_BY_CHANCE
        step = max((step for step in IDLE_S if idle >= step), default=None)
        if step is None:
            return 0.02 * ratio
        ratio *= min(0.95 / max(case.idle_share[step], 0.03), MOST)
        return ratio if len(failure.tries) == 1 else 0.1 * ratio

    def asked(self, case: Case, result: Result) -> Answered | None:
        told = held(result)
        if told is None:
            return None
        plain, _ = told
        gone, lived = min(plain.gone_s, default=None), max(plain.lived_s, default=0.0)
        if gone is not None:
            # Nearly every far end closes what is idle for many minutes; one that does so soon is met by every pause.
            return Answered(
                5.0 if gone <= SOON_S else 1.5, f"idle connections were ended after {duration(gone)}"
            )
        return (
            Answered(0.2, f"idle connections lived up to {duration(lived)}") if lived >= IDLE_S[-1] else None
        )

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        pauses = sorted(one.idle_s for one in mine if one.idle_s is not None)
        next_try = sum(len(one.tries) == 1 and one.outcome == "recovered" for one in mine)
        said = (
            f"{counted(len(mine), 'request')} failed within {FAST_S:g} s, after a pause of {pauses[0]:.0f} to "
            f"{pauses[-1]:.0f} s, and {next_try} of them went through at the next try; only "
            f"{percent(case.idle_share[60])} of all requests follow a pause of a minute."
        )
        return Brief(
            pro=(Evidence(said, "transcripts"),),
            settle=f"holdfast probe idle --from {max(pauses[0] / 2, 1):.0f}s --to {min(max(pauses[-1], 60), 900):.0f}s: "
            "after which pause a connection is dead here; holdfast run -- claude, for a week: such failures stop",
        )
