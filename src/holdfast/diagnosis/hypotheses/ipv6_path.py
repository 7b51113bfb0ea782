"""The way by IPv6 is bad, and by IPv4 it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from holdfast.diagnosis.asked import relevance
from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._compared import Compared, Mark, of_trips
from holdfast.diagnosis.hypothesis import Answered, Brief, Evidence
from holdfast.flight.flights import counted
from holdfast.probes.result import Result

CODES = frozenset({"ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL"})
"What a client hears where a family is offered and leads nowhere."
BY_CODE = 4.0
"Of such a code where a probe found IPv6 broken: other things that end in them are outages, and those have their own logs."


class Ipv6Path(Compared):
    """Packets by IPv6 get lost or lead nowhere, while IPv4 carries them.

    It predicts: failures of requests that went by IPv6, beyond the share of the same days' requests that did, of any kind:
    connections that time out, routes that are missing, streams that go dark. By IPv4 to the same name all is well, so a
    failure that went by IPv4 is not its own. It needs a source that saw the address: a flight, a capture, or the probe.
    """

    name = "ipv6-path"
    title = "Requests by IPv6 failed, and by IPv4 they did not"
    remedy = (
        "Go by IPv4: holdfast run --ip 4 -- claude, until the way by IPv6 is mended (router, line, tunnel)."
    )
    falsifier = "requests by IPv4 to the same name, at the same time, fail as often"
    rivals: ClassVar[Mapping[str, str]] = {
        "edge-location": "holdfast run --ip 4 for a day: another family at the same place",
        "isp-outage": "holdfast probe connect, at such a time: whether IPv4 connects",
    }
    kinds = ("family",)

    def candidates(self, case: Case) -> list[Mark]:
        return [mark for mark in of_trips(case.trips, self.kinds) if mark.value == "6"]

    def ratios(self, case: Case) -> Sequence[float]:
        found = super().ratios(case)
        broken = [result for result in case.probes if _broken(result)]
        if not broken:
            return found
        return [
            ratio
            if any(trip.family for trip in case.trips_of.get(one.id, ()))
            else (1.0 + (BY_CODE - 1.0) * max(relevance(result, one, case) for result in broken))
            if one.codes & CODES
            else 1.0
            for one, ratio in zip(case.failures, found, strict=True)
        ]

    def bears(self, case: Case) -> Sequence[bool]:
        """And codes of missing routes, where a probe found that IPv6 leads nowhere."""
        found = super().bears(case)
        if not any(_broken(result) for result in case.probes):
            return found
        return [bears or bool(one.codes & CODES) for one, bears in zip(case.failures, found, strict=True)]

    def by(self, mark: Mark) -> str:
        return "by IPv6"

    def settle(self, mark: Mark) -> str:
        return (
            "holdfast probe connect: both families, several times; then holdfast run --ip 4 -- claude, for a day "
            "(holdfast mark 'IPv4 alone'), and holdfast diagnose"
        )

    def asked(self, case: Case, result: Result) -> Answered | None:
        if result.name != "connect":
            return None
        six, four = _counts(result, "IPv6"), _counts(result, "IPv4")
        if six is None or four is None or not six[1] or not four[1]:
            return None
        failed = six[1] - six[0]
        if four[0] < four[1]:
            return Answered(0.7, "connections by IPv4 failed too") if failed else None
        if failed:
            # A way that loses half of its connections: 2 ** -tries of it all going well; a sound one loses one in fifty.
            ratio = 40.0 if failed == six[1] else 8.0
            return Answered(ratio, f"{six[0]} of {six[1]} connected by IPv6, {four[0]} of {four[1]} by IPv4")
        return Answered(
            max(0.5 ** six[1], 0.1), f"{six[0]} of {six[1]} connected by IPv6 (it says nothing of streams)"
        )

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        if self.mark is not None:
            return super().brief(case, mine)
        said = (
            f"{counted(len(mine), 'failure')} ended in a code of missing routes ({', '.join(sorted(CODES))})."
        )
        return Brief((Evidence(said, "transcripts"),), (), self.settle(Mark("family", "6")))


def _counts(result: Result, family: str) -> tuple[int, int] | None:
    """Connected and tried; None where it was not offered."""
    told: Any = result.facts.get(family)
    if not isinstance(told, Mapping):
        return None
    connected, tries = told.get("connected"), told.get("tries")
    return (connected, tries) if isinstance(connected, int) and isinstance(tries, int) else None


def _broken(result: Result) -> bool:
    six, four = _counts(result, "IPv6"), _counts(result, "IPv4")
    return (
        result.name == "connect"
        and six is not None
        and four is not None
        and six[0] < six[1]
        and four[0] == four[1]
    )
