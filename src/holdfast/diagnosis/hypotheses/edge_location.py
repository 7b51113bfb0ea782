"""One place of the edge fails, and others do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._compared import Compared, Mark, of_trips
from holdfast.diagnosis.hypothesis import Answered, Brief, Evidence
from holdfast.probes.result import Grade, Result


class EdgeLocation(Compared):
    """One location or one address of the edge in front of the provider breaks requests that others carry.

    It predicts: failures cluster on one place (the letters behind the cf-ray, or one address), and requests of the same
    days that met another place went well; the failures' kinds and ages may differ. What all went the same way compares
    nothing: with one place only, the provider and its edge cannot be told apart. Which place answers depends on the
    network that is asked from, so a bad network looks alike where each network has its own place.
    """

    name = "edge-location"
    title = "One location of the provider's edge failed, and others on the same days did not"
    remedy = (
        "Send the rays of the failed requests to the provider; until then another network or VPN exit meets another "
        "edge, and behind holdfast run a broken attempt is asked again at another address."
    )
    falsifier = "requests that meet another location, on the same day and network, fail as often"
    rivals: ClassVar[Mapping[str, str]] = {
        "ipv6-path": "holdfast run --ip 4 for a day: the same family at another place, or another family at the same"
    }
    kinds = ("location", "edge")

    def candidates(self, case: Case) -> list[Mark]:
        # An address stands for a family, a resolver's mood and a day's draw as well; letters stand for a place.
        lettered = all(
            any(one.location for one in case.trips if one.broke is broke) for broke in (True, False)
        )
        return of_trips(case.trips, ("location",) if lettered else ("edge",))

    def by(self, mark: Mark) -> str:
        return f"by the edge {'at ' if mark.kind == 'location' else ''}{mark.value}"

    def settle(self, mark: Mark) -> str:
        return (
            "holdfast probe edge, here and on another network: which place answers; then holdfast mark 'another network', "
            f"a day behind holdfast run there, and holdfast diagnose: whether what does not meet {mark.value} fails as well"
        )

    def asked(self, case: Case, result: Result) -> Answered | None:
        if result.name != "edge" or self.mark is None:
            return None
        met = {str(result.facts.get("place")), str(result.facts.get("address"))}
        if self.mark.value not in met:
            return None
        if result.grade in (Grade.SUSPECTED, Grade.BROKEN):
            # A place that fails is likelier to be met failing; some other place would be now and then.
            return Answered(8.0, f"{self.mark.value} did not answer well")
        return Answered(
            0.7, f"{self.mark.value} answered a question of a few bytes, which says little of streams"
        )

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        brief = super().brief(case, mine)
        ids = {one.id for one in mine}
        met = [(one.id in ids, name) for one in case.failures if (name := case.network_of(one)) is not None]
        networks = {name for own, name in met if own}
        others = {name for own, name in met if not own}
        if networks and others and not networks & others:
            said = "They came on another network than the other failures: that network may be at fault, and not the place."
            return Brief(brief.pro, (*brief.con, Evidence(said, "flights")), brief.settle, brief.excess)
        return brief
