"""Something cuts requests at a fixed age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.diagnosis.case import Case
from holdfast.diagnosis.hypotheses._age import Aged, near, outlived
from holdfast.diagnosis.hypothesis import Answered
from holdfast.probes.result import Result

TELL = "a capture, or holdfast run: do bytes flow until the cut, and does a keepalive prevent it?"


class FixedLimit(Aged):
    """A limit on a request's whole time, at the provider or at an edge in front of it.

    It predicts: failures at the same age again and again, whatever was asked, none of them before it, and answers that
    were already coming when they were cut. The cut is heard: a reset or an end, no silence. Where nothing tells whether an
    answer was coming, a limit on silence and a box that forgets predict the same.
    """

    name = "fixed-limit"
    title = "Requests were cut at a fixed age"
    falsifier = "the same request, asked again, breaks at other ages, or lives past this one"
    rivals: ClassVar[Mapping[str, str]] = {"silence-limit": TELL, "nat-timeout": TELL}

    def fits(self, *, lost: bool, answered: bool | None) -> float:
        return 0.05 if lost else 1.0

    def beside(self, case: Case) -> Sequence[tuple[Answered, str]]:
        """Requests that lived on."""
        # How old a connection of a capture became says nothing, for it may have carried many requests: the last one's
        # time is asked, and only where no flight saw the same requests.
        well = [one for one in case.trips if not one.broke]
        seen = [one for one in well if not one.source.startswith("capture ")]
        words = "went well after more than"
        return outlived(self.limit_s, [one.age_s for one in seen], words) or outlived(
            self.limit_s, [one.lived_s for one in well], words, "captures"
        )

    def asked(self, case: Case, result: Result) -> Answered | None:
        """A slow request that was cut at that age, or lived longer."""
        if result.name != "trickle" or self.limit_s is None:
            return None
        ended, sent = result.facts.get("ended_s"), result.facts.get("sent_s")
        if isinstance(ended, int | float) and sent is None and near(ended, self.limit_s):
            return Answered(15.0, f"a slow upload was cut after {ended:.0f} s")
        if isinstance(sent, int | float) and sent > self.limit_s:
            # Many limits begin only when the request has arrived.
            return Answered(0.5, f"a slow upload of {sent:.0f} s was let through")
        return None
