"""A VPN went, came or was made anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._away import Away
from holdfast.diagnosis.hypothesis import Answered, Brief, Evidence
from holdfast.flight.flights import counted
from holdfast.probes.result import Result


class Vpn(Away):
    """A tunnel was opened, closed or made anew, and every connection that went through it, or beside it, with it.

    It predicts: failures within seconds of a line of the system's log about the tunnel, of several sessions at once, and
    none between them; the link below stays. It says nothing of a VPN that is merely there: whether that one loses or
    forgets something, a day without it tells.
    """

    name = "vpn"
    title = "The VPN's tunnel was opened, closed or made anew"
    remedy = (
        "Leave the provider's host out of the tunnel (split tunnel), or keep the tunnel up while turns run; behind "
        "holdfast run a broken attempt is asked again by the new way."
    )
    falsifier = "the same failures at the same rate on a day without the VPN"
    rivals: ClassVar[Mapping[str, str]] = {
        "local-link": "the system's log: did the link below go first, and the tunnel only with it?",
        "link-flap": "the system's log: did the link below change first, and the tunnel only with it?",
    }
    face = "vpn"
    after_ms = 20_000

    def asked(self, case: Case, result: Result) -> Answered | None:
        if result.name != "link":
            return None
        tunnels, programs = result.facts.get("vpn_interfaces"), result.facts.get("programs")
        if isinstance(tunnels, list) and tunnels:
            return Answered(2.0, f"a VPN's interface was up ({', '.join(map(str, tunnels[:3]))})")
        if tunnels == [] and isinstance(programs, dict) and not programs.get("VPN"):
            return Answered(0.3, "neither a VPN's interface nor its program was seen")
        return None

    def settle(self) -> str:
        return "a day without the VPN (holdfast mark 'without the VPN'), then: holdfast diagnose"

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        brief = super().brief(case, mine)
        told = [one for failure in mine for one in case.trips_of.get(failure.id, ()) if one.vpn is not None]
        if not told:
            return brief
        through = sum(one.vpn is True for one in told)
        said = Evidence(
            f"{through} of {counted(len(told), 'attempt')} that broke went out by a tunnel.", "flights"
        )
        return Brief(
            (*brief.pro, said) if through else brief.pro,
            brief.con if through else (*brief.con, said),
            brief.settle,
        )
