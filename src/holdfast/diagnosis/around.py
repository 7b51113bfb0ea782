"""What stands around a diagnosis in a report: where the client ran, and what came since the last report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, tzinfo
from typing import Any

from holdfast.diagnosis.diagnosis import Diagnosis
from holdfast.diagnosis.hypothesis import Evidence
from holdfast.diagnosis.since import Since, told
from holdfast.probes import egress
from holdfast.probes.result import Result
from holdfast.sessions.environment import ANOTHERS, Environment, Fact, Skipped


@dataclass(frozen=True, slots=True)
class Around:
    """Both are None where nobody looked: an unmeasured environment, or a first report."""

    environment: Environment | None = None
    since: Since | None = None
    when: str = ""
    "When the earlier report was made, in words of the local clock."

    def since_lines(self) -> list[str]:
        """What came since the last report, in sentences; empty for a first one."""
        return told(self.since, self.when) if self.since is not None else []

    def environment_rows(self) -> list[tuple[str, str]]:
        """Name and value of what is known."""
        return [(fact.name, fact.value) for fact in self.environment.facts] if self.environment else []

    def gaps(self) -> list[str]:
        """What could not be found out, why, and what to type; what has the same reason in one line."""
        by_reason: dict[str, list[Skipped]] = {}
        for one in self.environment.skipped if self.environment else []:
            by_reason.setdefault(one.why, []).append(one)
        told = []
        for why, same in by_reason.items():
            lines = "; ".join(one.line for one in same if one.line)
            where = "type on that one" if why == ANOTHERS else "type"
            told.append(
                f"{', '.join(one.name for one in same)}: {why}" + (f"; {where}: {lines}" if lines else "")
            )
        return told

    def as_json(self) -> dict[str, Any]:
        """`environment` and `since_last`, each None where nobody looked."""
        return {
            "environment": asdict(self.environment) if self.environment else None,
            "since_last": asdict(self.since) if self.since else None,
        }


EGRESS = "egress"
UNASKED = (
    "it was never asked, as a service outside has to tell, on your yes; no cause is weighed by it, so that it could not "
    "change the ranking"
)


def with_egress(
    environment: Environment, probes: Sequence[Result], zone: tzinfo, *, own: bool
) -> Environment:
    """The environment, with where this machine leaves for the internet as it was told last, or what to type.

    `own`: the home is this machine's; of another's nothing was asked here.
    """
    told = egress.latest(probes) if own else None
    if told is None:
        why = UNASKED if own else ANOTHERS
        return replace(
            environment, skipped=[*environment.skipped, Skipped(EGRESS, why, "holdfast probe egress")]
        )
    asked = datetime.fromtimestamp(told.begun_wall_ms / 1000, zone)
    fact = Fact(EGRESS, f"{egress.in_words(told.facts)}; asked on {asked:%Y-%m-%d}")
    return replace(environment, facts=[*environment.facts, fact])


UNSET = "No proxy is set where this was asked from; a base URL may stand in the client's settings, or in another shell."


def held_against(diagnosis: Diagnosis, environment: Environment | None) -> Diagnosis:
    """The diagnosis, with what the environment speaks against told, and no advice that it follows already.

    Only for the machine itself: of a copied home nothing is known of where it ran.
    """
    if environment is None:
        return diagnosis
    known = {fact.name: fact.value for fact in environment.facts}
    findings, advice = list(diagnosis.findings), list(diagnosis.advice)
    if known.get("proxy settings") == "none":
        con = Evidence(UNSET, "environment")
        findings = [
            replace(one, brief=replace(one.brief, con=(*one.brief.con, con)))
            if one.hypothesis == "refused"
            else one
            for one in findings
        ]
    if known.get("interface") == "wired":
        findings = [replace(one, remedy=_by_cable(one.remedy)) for one in findings]
        advice = [replace(one, remedy=_by_cable(one.remedy)) for one in advice]
    return replace(
        diagnosis,
        examination=replace(diagnosis.examination, findings=tuple(findings)),
        advice=tuple(advice),
    )


def _by_cable(remedy: str) -> str:
    """The remedy, without the cable that is there."""
    for said, instead in (
        (
            "Use a wired link for a week, or look at the router",
            "Look at the cable and the router (the link is wired now)",
        ),
        (
            "Use a wired link, or fix the machine",
            "The link is wired now: should it be Wi-Fi at other times, fix the machine",
        ),
        (
            "Use a cable, or bind the machine",
            "The link is wired now: should it be Wi-Fi at other times, bind the machine",
        ),
        ("Use a cable, or another network,", "Use another network (the link is wired now)"),
    ):
        remedy = remedy.replace(said, instead)
    return remedy


NOTHING = Around()
