"""Several sessions failed in the same minute, and nothing here says why."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Hashable, Sequence

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._alike import by_burst, near
from holdfast.diagnosis.hypotheses._away import in_outage
from holdfast.diagnosis.hypotheses._published import within_incidents
from holdfast.diagnosis.hypotheses._words import lie
from holdfast.diagnosis.hypotheses.machine_sleep import gap_s
from holdfast.diagnosis.hypothesis import Answered, Brief, Evidence, Hypothesis
from holdfast.flight.flights import counted
from holdfast.probes.result import Result

WITHIN_MS = 30_000
AT_ONCE_MS = 2_000
AT_ONCE, SOON = 0.5, 0.4
"""Of an outage's failures: what was under way breaks in the same second, what is asked meanwhile within the half minute."""
LONELY = 0.1
"Of a failure that no other session shared: there may have been no other at work."
LEAST = 0.002
MOST = 10_000.0
FACES = frozenset({"away", "flap", "beyond", "roam", "vpn"})
CROWD_MS = 60_000
USUAL = 20
"Requests' worth of trust in the home's own rate, where as many sessions were hardly ever at work."


class SharedOutage(Hypothesis):
    """Something that all sessions share broke for a moment: the provider, its edge, or the network in between.

    It predicts: failures of several sessions in the same second or within half a minute of each other, far more often than
    failures that have nothing to do with each other would meet at times when so many sessions are at work: the more are,
    the more fail together by chance, and still more if it is their number that breaks them. Where the desktop app's log
    covers the time and knows no outage, this machine had its network; the provider and the path to it cannot be told
    apart by the client's logs.
    """

    name = "shared-outage"
    title = "Several sessions failed at once: the provider or the network, the logs do not tell which"
    remedy = "Behind holdfast run turns outlive a moment's outage; its flights tell which side broke the connections."
    falsifier = (
        "the failures of such a minute were of different kinds and phases, seen in flights or captures"
    )

    met: Sequence[Failure] = ()
    "Those that something speaks for."

    def ratios(self, case: Case) -> Sequence[float]:
        crowd = _Crowd(case)
        times = sorted((one.at_ms, one.session) for one in case.failures if not one.statuses)
        ratios = [self._ratio(case, failure, crowd, times) for failure in case.failures]
        self.met = [one for one, ratio in zip(case.failures, ratios, strict=True) if ratio > 1]
        return ratios

    def _ratio(self, case: Case, failure: Failure, crowd: _Crowd, times: list[tuple[int, str]]) -> float:
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
        expected = crowd.rate(failure) * (asked + len(shared))
        at_once = 1 - math.exp(-expected * AT_ONCE_MS / WITHIN_MS)
        soon = math.exp(-expected * AT_ONCE_MS / WITHIN_MS) - math.exp(-expected)
        ratio = 1.0
        for apart in sorted(shared.values())[:2]:
            told, chance = (AT_ONCE, at_once) if apart <= AT_ONCE_MS else (SOON, soon)
            ratio *= told / max(chance, LEAST)
        return min(ratio, MOST)

    def units(self, case: Case) -> Sequence[Hashable]:
        """One minute is one coincidence."""
        return by_burst(case)

    def asked(self, case: Case, result: Result) -> Answered | None:
        return within_incidents(case, self.met, result)

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
            "whether the edge answers; holdfast probe status: what the provider published of those times"
        )
        return Brief(tuple(pro), tuple(con), settle)


def _sharing(failure: Failure, times: list[tuple[int, str]]) -> dict[str, int]:
    """The other sessions that failed within so long of it, and how far apart (ms)."""
    begin = bisect_left(times, (failure.at_ms - WITHIN_MS, ""))
    end = bisect_right(times, (failure.at_ms + WITHIN_MS, "\uffff"))
    found: dict[str, int] = {}
    for at, session in times[begin:end]:
        if session != failure.session:
            found[session] = min(abs(at - failure.at_ms), found.get(session, WITHIN_MS))
    return found


class _Crowd:
    """How often requests fail where so many sessions are at work."""

    def __init__(self, case: Case) -> None:
        failed = [one for one in case.failures if not one.statuses]
        self.usual = len(failed) / max(case.requests, 1)
        rows = sorted(
            [(one.at_ms, one.session, False) for one in case.answers]
            + [(one.at_ms, one.session, True) for one in failed]
        )
        self.times = [at for at, _, _ in rows]
        self.failed = [fell for _, _, fell in rows]
        self.levels = _levels([(at, session) for at, session, _ in rows])
        most = max(self.levels, default=0)
        self.asked, self.broke = [0] * (most + 2), [0] * (most + 2)
        for level, fell in zip(self.levels, self.failed, strict=True):
            self.asked[level] += 1
            self.broke[level] += fell
        for level in range(most, -1, -1):
            self.asked[level] += self.asked[level + 1]
            self.broke[level] += self.broke[level + 1]

    def rate(self, failure: Failure) -> float:
        """Failures per request at all times when as many sessions or more were heard of, but this half minute."""
        begin = bisect_left(self.times, failure.at_ms - WITHIN_MS)
        end = bisect_right(self.times, failure.at_ms + WITHIN_MS)
        level = max(
            level
            for at, level in zip(self.times[begin:end], self.levels[begin:end], strict=True)
            if at == failure.at_ms
        )
        here = [place for place in range(begin, end) if self.levels[place] >= level]
        asked = self.asked[level] - len(here)
        broke = self.broke[level] - sum(self.failed[place] for place in here)
        return (broke + USUAL * self.usual) / (asked + USUAL)


def _levels(heard: Sequence[tuple[int, str]]) -> list[int]:
    """Of each answer and failure, in their order: how many sessions were heard of within a minute of it."""
    about: Counter[str] = Counter()
    found, first, last = [], 0, 0
    for at, _ in heard:
        while last < len(heard) and heard[last][0] <= at + CROWD_MS:
            about[heard[last][1]] += 1
            last += 1
        while heard[first][0] < at - CROWD_MS:
            gone = heard[first][1]
            about[gone] -= 1
            if not about[gone]:
                del about[gone]
            first += 1
        found.append(len(about))
    return found
