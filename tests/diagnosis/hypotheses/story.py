"""A user's fortnight for the tests of single causes: answers, failures, the ways of requests, what probes answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from holdfast.diagnosis.case import Answer, Case, Failure, Span, Trip, Try
from holdfast.diagnosis.examine import Examination, Finding
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.witnessed import examined
from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.probes.result import Grade, Result
from holdfast.sessions.desktop import Outage

START = 1_776_150_000_000
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
WELL = Trip(0, "flights", broke=False)
BROKE = Trip(
    0, "flights", broke=True, side=Side.PROVIDER, mechanism=Mechanism.RST, phase=Phase.IN_TEXT, silence_s=1.0
)


class Story:
    """Three sessions a day, an answer every four minutes; what goes wrong is told by each test."""

    def __init__(self, days: int = 14) -> None:
        self.days = days
        self.answers = [
            Answer(
                self.at(day, session * 120 + number * 4),
                f"s{day}-{session}",
                "2.1.104",
                30_000 + 2_000 * number,
            )
            for day in range(days)
            for session in range(3)
            for number in range(25)
        ]
        self.failures: list[Failure] = []
        self.trips: list[Trip] = []
        self.probes: list[Result] = []
        self.outages: list[Outage] = []
        self.strains: list[Span] = []
        self.logs: dict[tuple[str, str], str] = {}

    def at(self, day: int, minute: float) -> int:
        return START + day * DAY + round(minute * MINUTE)

    def went_well(self, day: int, count: int, **way: Any) -> None:
        """So many requests of that day, that were seen to go this way."""
        for _ in range(count):
            number = len(self.trips)
            trip = replace(WELL, at_ms=self.at(day, 3 + number % 300), turn=f"w{number}")
            self.trips.append(replace(trip, **way))

    def fails(
        self,
        day: int,
        minute: float,
        *,
        code: str = "ECONNRESET",
        age_s: float = 7.0,
        tries: int = 1,
        outcome: str = "recovered",
        text: str = "",
        session: str | None = None,
        context: int = 55_000,
        **way: Any,
    ) -> None:
        """A request of that day; `way` is how a flight saw it break, where one did."""
        number = len(self.failures)
        at_ms = self.at(day, minute)
        made = tuple(Try(at_ms + step * 20_000, age_s + 0.37 * number % 3, code) for step in range(tries))
        who = session or f"s{day}-{int(minute // 120) % 3}"
        one = Failure(
            f"f{number}", made, outcome, at_ms, made[-1].at_ms + 900 if made else at_ms, who, "2.1.104",
            context_tokens=context, idle_s=20.0, text=text,
        )  # fmt: skip
        self.failures.append(one)
        if way:
            trip = replace(BROKE, at_ms=at_ms, turn=f"b{number}", failure=one.id)
            self.trips.append(replace(trip, **way))

    def asked(
        self, name: str, facts: Mapping[str, Any], *, day: int | None = None, network: str | None = None,
        grade: Grade = Grade.NOTED, target: str = "api.anthropic.com:443",
    ) -> None:  # fmt: skip
        """What a probe answered on that day, by default the last one."""
        at_ms = self.at(self.days - 1 if day is None else day, 300)
        self.probes.append(
            Result(
                name,
                target,
                at_ms,
                1.0,
                grade,
                "verdict",
                "says",
                "does not say",
                dict(facts),
                network=network,
            )
        )

    def case(self) -> Case:
        whole = Span(START, START + self.days * DAY)
        return Case(
            sorted(self.failures, key=lambda one: one.at_ms),
            sorted(self.answers),
            self.outages,
            link_watched=[whole],
            trips=self.trips,
            probes=sorted(self.probes, key=lambda one: one.begun_wall_ms),
            strains=self.strains,
            logs=self.logs,
        )

    def found(self) -> Examination:
        return examined(self.case(), catalogue())

    def names(self) -> list[str]:
        """The causes that are claimed, the first one first."""
        return [one.hypothesis for one in self.found().findings]

    def finding(self, name: str) -> Finding:
        """The one of this name. Raises AssertionError where it is not claimed."""
        examination = self.found()
        found = [one for one in examination.findings if one.hypothesis == name]
        assert found, [one.hypothesis for one in examination.findings]
        return found[0]


def said(finding: Finding) -> str:
    """All that speaks for and against it."""
    return " ".join(one.text for one in (*finding.brief.pro, *finding.brief.con))
