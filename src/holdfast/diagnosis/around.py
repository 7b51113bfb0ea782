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
from holdfast.probes.link import Seen
from holdfast.probes.result import Result
from holdfast.sessions.environment import ANOTHERS, RADIO, Environment, Fact, Skipped


@dataclass(frozen=True, slots=True)
class Around:
    """Both are None where nobody looked: an unmeasured environment, or a first report."""

    environment: Environment | None = None
    since: Since | None = None
    when: str = ""
    "When the earlier report was made, in words of the local clock."
    asked: str = ""
    "The options, as they are typed, that make another command look at the same home and time."

    @property
    def doctor(self) -> str:
        """The line that shows the first change of this very report."""
        return f"holdfast doctor {self.asked}".rstrip()

    def since_lines(self) -> list[str]:
        """What came since the last report, in sentences; empty for a first one."""
        return told(self.since, self.when) if self.since is not None else []

    def environment_rows(self) -> list[tuple[str, str]]:
        """Name and value of what is known."""
        return [(fact.name, fact.value) for fact in self.environment.facts] if self.environment else []

    def gaps(self) -> list[str]:
        """What could not be found out, why, whether it could change the ranking, and what to type.

        What has the same reason and the same weight is in one line.
        """
        by_reason: dict[tuple[str, str], list[Skipped]] = {}
        for one in self.environment.skipped if self.environment else []:
            by_reason.setdefault((one.why, one.ranking), []).append(one)
        told = []
        for (why, ranking), same in by_reason.items():
            lines = "; ".join(dict.fromkeys(one.line for one in same))
            where = "type on that one" if why == ANOTHERS else "type"
            told.append(f"{', '.join(one.name for one in same)}: {why}; {ranking}; {where}: {lines}")
        return told

    def as_json(self) -> dict[str, Any]:
        """`environment` and `since_last`, each None where nobody looked."""
        return {
            "environment": asdict(self.environment) if self.environment else None,
            "since_last": asdict(self.since) if self.since else None,
        }


EGRESS = "egress"
UNASKED = "it was never asked, as a service outside has to tell, on your yes"


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


IPV6, WIFI, PROGRAMS = "IPv6", "Wi-Fi", "filter programs"


def with_link(environment: Environment, seen: Seen | None) -> Environment:
    """The environment, with what this machine says of its own network without asking anybody.

    None: the home is another's, and nothing of this machine is.
    """
    facts, skipped = list(environment.facts), list(environment.skipped)
    if seen is None:
        skipped += [Skipped(name, ANOTHERS, "holdfast probe link") for name in (IPV6, WIFI, PROGRAMS)]
        return Environment(facts, skipped)
    mac = any(one.name == RADIO for one in skipped)
    if seen.ipv6 is None:
        line = "ifconfig | grep inet6" if mac else "ip -6 addr show"
        skipped.append(Skipped(IPV6, "the system does not list its addresses", line))
    else:
        route = ""
        if seen.ipv6 != "none" and seen.ipv6_route is not None:
            route = ", with a default route" if seen.ipv6_route else ", without a default route"
        facts.append(Fact(IPV6, seen.ipv6 + route))
    level = [f"{seen.signal_dbm} dBm"] if seen.signal_dbm is not None else []
    details = [*level, *(f"{name} {value}" for name, value in seen.wifi.items() if name != "signal")]
    if seen.kind == "wired":
        facts.append(Fact(WIFI, "not in use"))
    elif details:
        facts.append(Fact(WIFI, ", ".join(details)))
    elif not mac:  # there the radio is a line of its own
        why = (
            "neither the kernel nor iw tells of it"
            if seen.kind == "wireless"
            else "whether the way out goes over one is not told"
        )
        skipped.append(Skipped(WIFI, why, "iw dev; cat /proc/net/wireless"))
    if seen.programs is None:
        skipped.append(Skipped(PROGRAMS, "processes cannot be seen", "ps -axo comm"))
    else:
        kinds = [f"{kind}: {', '.join(names)}" for kind, names in seen.programs.items()]
        facts.append(Fact(PROGRAMS, "; ".join(kinds) or "none seen"))
    return Environment(facts, skipped)


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
