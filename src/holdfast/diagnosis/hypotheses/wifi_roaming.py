"""The machine moved from one access point to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from holdfast.diagnosis.case import Case
from holdfast.diagnosis.hypotheses._away import Away
from holdfast.diagnosis.hypothesis import Answered
from holdfast.probes.result import Result


class WifiRoaming(Away):
    """The Wi-Fi went over to another access point of the same network while requests were under way: packets in between
    are lost, and where the address changes with it, every connection is.

    It predicts: failures within seconds of a line of the system's log that names another access point, or a roam, without
    an absence between; none by cable. The desktop app's log cannot tell it from any other change (`link-flap`): it needs
    the system's.
    """

    name = "wifi-roaming"
    title = "The Wi-Fi went over to another access point"
    remedy = (
        "Use a cable, or bind the machine to one access point while it works; behind holdfast run a broken attempt is "
        "asked again at once."
    )
    falsifier = "the same failures by cable, or roams after which nothing failed"
    rivals: ClassVar[Mapping[str, str]] = {
        "link-flap": "the system's log at those times: another access point, or the same one again?"
    }
    face = "roam"
    after_ms = 15_000

    def asked(self, case: Case, result: Result) -> Answered | None:
        if result.name == "link" and result.facts.get("kind") == "wired":
            return Answered(0.1, "this machine went out by a cable")
        return None

    def settle(self) -> str:
        return "a day by cable (holdfast mark 'by cable'), then: holdfast diagnose"
