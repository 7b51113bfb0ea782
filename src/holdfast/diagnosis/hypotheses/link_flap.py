"""The machine's link changed under its connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from holdfast.diagnosis.hypotheses._away import Away


class LinkFlap(Away):
    """The machine roamed to another access point, took another address, or its link went down for a moment.

    It predicts: failures within seconds of a "network changed" line, of whatever was under way just then, and success
    at the next try, because the link is back at once. An absence of the line lasts minutes and says so in other words.
    """

    name = "link-flap"
    title = "The link changed for a moment (roaming, a new address)"
    remedy = "Use a wired link, or fix the machine to one access point; behind holdfast run a turn survives the change."
    falsifier = "failures stay as frequent on a wired link, or no change of the link is logged at their times"
    rivals: ClassVar[Mapping[str, str]] = {
        "local-link": "how long the link was away, by the system's own log (journalctl -u NetworkManager, log show)"
    }
    face = "flap"
    after_ms = 10_000

    def settle(self) -> str:
        return "holdfast probe link; holdfast mark 'moved to Ethernet', and a week later: holdfast diagnose"
