"""The provider's line behind the router was away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._away import Away
from holdfast.diagnosis.hypotheses.name_resolution import CODES

WAITED = CODES | {"ETIMEDOUT", "EHOSTUNREACH"}
"Codes of whoever waited in vain, or was told by the router."
SLOW, QUICK = 3.0, 0.3
"""Of a first try that waited in vain, and of one that was refused or reset: nine in ten of this cause's do, and three in
ten of others'. What was under way when the line went may be reset once it is back."""


class IspOutage(Away):
    """The machine had its link and its router, and nothing beyond them answered.

    It predicts: names that do not resolve and connections that time out, in every program at once, for minutes, while
    the system never says that it is offline (where it does, the outage is nearer: `local-link`). Failures are slow:
    nobody refuses or resets, nobody answers.
    """

    name = "isp-outage"
    title = "The line beyond the router was away"
    remedy = (
        "Show the times to the line's provider, or keep a second way out (a phone's); behind holdfast run turns wait "
        "for the line, and no try is burnt."
    )
    falsifier = "the router's own status page shows the line up at those times"
    rivals: ClassVar[Mapping[str, str]] = {
        "name-resolution": "whether an address answers while names do not: ping 1.1.1.1 at such a time",
        "local-link": "the router's log: was its own line up?",
    }
    face = "beyond"
    after_ms = 30_000

    def ratios(self, case: Case) -> Sequence[float]:
        # Where no log watched (1), nothing tells of the line.
        return [
            ratio if ratio == 1 else ratio * _waiting(failure)
            for failure, ratio in zip(case.failures, super().ratios(case), strict=True)
        ]

    def settle(self) -> str:
        return (
            "holdfast probe ping --rounds 100, at such a time, and the router's log of it: was its line up while this "
            "machine reached nothing?"
        )


def _waiting(failure: Failure) -> float:
    """How well its first try's end goes with a line that is away."""
    code = failure.tries[0].code if failure.tries else "unknown"
    return 1.0 if code == "unknown" else SLOW if code in WAITED else QUICK
