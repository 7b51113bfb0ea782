"""The provider's line behind the router was away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from holdfast.diagnosis.hypotheses._away import Away


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

    def settle(self) -> str:
        return (
            "holdfast probe ping --rounds 100, at such a time, and the router's log of it: was its line up while this "
            "machine reached nothing?"
        )
