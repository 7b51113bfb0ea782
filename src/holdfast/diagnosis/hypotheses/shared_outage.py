"""Several sessions failed in the same minute, and nothing here says why."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Sequence

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._alike import by_burst, near
from holdfast.diagnosis.hypotheses._away import in_outage
from holdfast.diagnosis.hypotheses._words import lie
from holdfast.diagnosis.hypotheses.machine_sleep import gap_s
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis
from holdfast.flight.flights import counted

WITHIN_MS = 30_000
LONELY = 0.1
"Of a failure that no other session shared: there may have been no other at work."
LEAST = 0.002
MOST = 10_000.0
FACES = frozenset({"away", "flap", "beyond", "roam", "vpn"})


class SharedOutage(Hypothesis):
    """Something that all sessions share broke for a moment: the provider, its edge, or the network in between.

    It predicts: failures of several sessions within half a minute of each other, far more often than failures that have
    nothing to do with each other would meet. Where the desktop app's log covers the time and knows no outage, this machine
    had its network; the provider and the path to it cannot be told apart by the client's logs.
    """

    name = "shared-outage"
    title = "Several sessions failed at once: the provider or the network, the logs do not tell which"
    remedy = "Behind holdfast run turns outlive a moment's outage; its flights tell which side broke the connections."
    falsifier = (
        "the failures of such a minute were of different kinds and phases, seen in flights or captures"
    )

    def ratios(self, case: Case) -> Sequence[float]:
        bursts = len(set(by_burst(case)))
        rate = bursts / max(case.requests, 1)
        times = sorted((at, one.session) for one in case.failures if not one.statuses for at in one.times_ms)
        return [self._ratio(case, failure, rate, times) for failure in case.failures]

    def _ratio(self, case: Case, failure: Failure, rate: float, times: list[tuple[int, str]]) -> float:
        if failure.statuses:
            return 0.0
        shared = _sharing(failure, times)
        if not shared:
            return LONELY
        if in_outage(case, failure, FACES) or gap_s(case, failure) is not None:
            return 0.02
        asked = sum(
            case.answers[place].session != failure.session for place in near(case, failure.at_ms, WITHIN_MS)
        )
        chance = max(1 - math.exp(-rate * (asked + len(shared))), LEAST)
        return min((0.9 / chance) ** min(len(shared), 2), MOST)

    def units(self, case: Case) -> Sequence[Hashable]:
        """One minute is one coincidence."""
        return by_burst(case)

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        bursts = [unit for one, unit in zip(case.failures, by_burst(case), strict=True) if one in mine]
        said = (
            f"{counted(len(mine), 'failure')} came in {counted(len(set(bursts)), 'minute')}, of "
            f"{counted(len({one.session for one in mine}), 'session')}."
        )
        watched = sum(case.watched_at(one.at_ms) for one in mine)
        pro = [Evidence(said, "transcripts")]
        con = []
        if watched:
            told = f"At {watched} of them the desktop app's log covers the time, and knows no outage."
            pro.append(Evidence(told, "desktop log"))
        if len(mine) - watched:
            told = f"{lie(len(mine) - watched)} where no log covers them: perhaps the link was away."
            con.append(Evidence(told, "desktop log"))
        settle = (
            "holdfast run -- claude: who sent the reset, and in which phase; holdfast probe edge, at such a minute: "
            "whether the edge answers; the provider's status page of those times"
        )
        return Brief(tuple(pro), tuple(con), settle)


def _sharing(failure: Failure, times: list[tuple[int, str]]) -> set[str]:
    """The other sessions that failed within so long of its first try."""
    begin = bisect_left(times, (failure.at_ms - WITHIN_MS, ""))
    end = bisect_right(times, (failure.at_ms + WITHIN_MS, "\uffff"))
    return {session for _, session in times[begin:end] if session != failure.session}
