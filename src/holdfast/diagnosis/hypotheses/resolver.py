"""One of several resolvers does not answer, or answers wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from holdfast.diagnosis.asked import relevance
from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._alike import by_burst
from holdfast.diagnosis.hypotheses._words import days
from holdfast.diagnosis.hypotheses.name_resolution import CODES, TOLD_LESS, NameResolution
from holdfast.diagnosis.hypothesis import Answered, Brief, Evidence
from holdfast.flight.endings import Mechanism
from holdfast.flight.flights import counted
from holdfast.probes.result import Result

NONE_OF_IT = ("", "NXDOMAIN")
"Errors that are answers."
SPEAKS = 0.01
"How likely a probe has to speak of a failure's network and time, at least."
BAD = 0.5
"A resolver that left so many of its questions without an answer is at fault."


class Resolver(NameResolution):
    """One of the resolvers that this machine asks is silent or broken, and the others are well.

    It predicts: codes of the resolver's now and then, of single requests, and success at the next try, which asks another
    resolver; slow names in between. All of them away at once is `name-resolution`, and lasts. The client's logs do not say
    whom it asked, so it is weighed only where `holdfast probe resolve` asked each resolver by itself.
    """

    name = "resolver"
    title = "One of several resolvers does not answer"
    remedy = "Take that resolver out of the network's settings (or the router's), or put another one first."
    falsifier = "the same failures with that resolver taken out"
    rivals: ClassVar[Mapping[str, str]] = {
        "name-resolution": "holdfast probe resolve, at such a time: is one resolver silent, or all of them?"
    }

    def ratios(self, case: Case) -> Sequence[float]:
        told = [result for result in case.probes if _found(result)]
        if not told:
            return [0.0] * len(case.failures)
        together: dict[object, set[str]] = {}
        for burst, one in zip(by_burst(case), case.failures, strict=True):
            together.setdefault(burst, set()).add(one.session)
        return [
            0.0
            if max(relevance(result, failure, case) for result in told) < SPEAKS
            else ratio
            if len(failure.tries) <= 2 and len(together[burst]) == 1
            else min(ratio, 0.05 * TOLD_LESS)
            for failure, burst, ratio in zip(case.failures, by_burst(case), super().ratios(case), strict=True)
        ]

    def names(self, failure: Failure) -> bool:
        return bool(failure.codes & CODES)

    def asked(self, case: Case, result: Result) -> Answered | None:
        """What each of them said by itself."""
        if result.name != "resolve":
            return None
        heard = resolvers(result)
        if len(heard) < 2:
            return None
        if found := _found(result):
            silent, well = found
            return Answered(
                60.0,
                f"{silent} left {heard[silent][0]} of {heard[silent][1]} questions without an answer, {well} none",
            )
        failed = sum(one for one, _ in heard.values())
        return Answered(0.2, "all resolvers failed alike" if failed else "every resolver answered")

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        single = sum(len(one.tries) <= 2 for one in mine)
        said = (
            f"{counted(len(mine), 'request')} ended in the resolver, on {counted(days(mine), 'day')}; {single} of them "
            "went through at the next try or the one after."
        )
        found = next((one for result in reversed(case.probes) if (one := _found(result))), None)
        who = found[0] if found else "that resolver"
        settle = f"{who} taken out for a week (holdfast mark 'without {who}'), then: holdfast diagnose"
        pro = [Evidence(said, "transcripts")]
        flown = sum(
            any(one.mechanism is Mechanism.DNS for one in case.trips_of.get(failure.id, ()))
            for failure in mine
        )
        if flown:
            pro.append(
                Evidence(f"The gateway saw {flown} of them end while the name was looked up.", "flights")
            )
        return Brief(tuple(pro), (), settle)


def resolvers(result: Result) -> dict[str, tuple[int, int]]:
    """Resolver -> how many of its questions had no answer, and how many there were."""
    told: Any = result.facts.get("resolvers")
    found: dict[str, tuple[int, int]] = {}
    for who, kinds in told.items() if isinstance(told, Mapping) else ():
        failed = asked = 0
        for one in kinds.values() if isinstance(kinds, Mapping) else ():
            times, errors = (
                (one.get(name) for name in ("ms", "errors")) if isinstance(one, Mapping) else ((), ())
            )
            asked += len(times) if isinstance(times, list) else 0
            failed += sum(error not in NONE_OF_IT for error in errors) if isinstance(errors, list) else 0
        if asked:
            found[str(who)] = (failed, asked)
    return found


def _found(result: Result) -> tuple[str, str] | None:
    """A resolver that failed, and one that did not; None where there are not both."""
    if result.name != "resolve" or not result.complete:
        return None
    heard = resolvers(result)
    bad = [who for who, (failed, asked) in heard.items() if failed >= BAD * asked]
    well = [who for who, (failed, _) in heard.items() if not failed]
    return (bad[0], well[0]) if bad and well else None
