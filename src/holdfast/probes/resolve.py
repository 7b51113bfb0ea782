"""Where does the name lead, by each resolver, and how fast?"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.probes import dns, lookup
from holdfast.probes.asking import Cost, Options, not_here
from holdfast.probes.net import Stop, pause
from holdfast.probes.result import Finding, Grade, among, ms, those
from holdfast.probes.target import Target, is_address

NAME = "resolve"
ASKS = "Where the name leads, by each resolver, and how fast."
SAYS = (
    "What the system's own call and each configured resolver answered just now. A resolver that is silent makes "
    "connections wait, though no address is wrong."
)
DOES_NOT_SAY = (
    "Whether the addresses answer (that is connect), nor that resolvers which disagree are wrong: a large service "
    "gives everybody the address that is near."
)
ROUNDS = 2
SLOW_S = 0.5
"A name that takes longer is felt."
KINDS = ("A", "AAAA")


@dataclass(frozen=True, slots=True)
class Heard:
    """One question and what a resolver said."""

    resolver: str
    kind: str
    took_s: float
    values: tuple[str, ...]
    error: str


def cost(target: Target, options: Options) -> Cost:
    asked = len(_whom(options)) * (options.rounds or ROUNDS) * len(KINDS) + len(_whom(options))
    return Cost(bytes=asked * 300, seconds=asked * 0.2)


def ask(target: Target, options: Options, stop: Stop) -> Finding:
    host, port = target.nearest
    if is_address(host):
        return Finding(Grade.NOT_MEASURED, not_here(f"{host} is an address: there is no name to resolve"))
    patience = min(options.patience_s, 5.0)
    system, heard, names = [], [], []
    for number in range(options.rounds or ROUNDS):
        if number:
            pause(options.every_s, stop)
        if stop():
            break
        system.append(lookup.system(host, port, patience, stop))
        for place in _whom(options):
            for kind in KINDS:
                heard.append(_heard(place, host, kind, patience, stop))
    domain = ".".join(host.rstrip(".").split(".")[-2:])
    if "." in domain and not stop():
        names = [_heard(place, domain, "NS", patience, stop) for place in _whom(options)[:1]]
    return verdict(host, system, [one for one in heard if one.error != "stopped"], names)


def _whom(options: Options) -> list[tuple[str, int]]:
    if options.resolvers is not None:
        return list(options.resolvers)
    return [(one, 53) for one in lookup.resolvers()] + list(options.also_resolvers)


def _heard(place: tuple[str, int], host: str, kind: str, patience_s: float, stop: Stop) -> Heard:
    asked = lookup.ask(place, host, kind, patience_s, stop)
    name = place[0] if place[1] == 53 else f"{place[0]}:{place[1]}"
    found = asked.reply or dns.Reply(())
    return Heard(name, kind, asked.took_s, found.values, asked.error or found.error)


def verdict(host: str, system: list[lookup.Found], heard: list[Heard], names: list[Heard]) -> Finding:
    """Weigh what was heard."""
    addresses = [frozenset(one.ip for one in found.addresses) for found in system if found.addresses]
    differ = {kind: answers for kind in KINDS if len(answers := _answers(heard, kind)) > 1}
    facts = {
        "name": host,
        "system_addresses": sorted(set().union(*addresses)) if addresses else [],
        "system_ms": [ms(found.took_s) for found in system],
        "system_errors": [found.error for found in system if found.error],
        "resolvers": {resolver: _facts(resolver, heard) for resolver in _resolvers(heard)},
        "name_servers": sorted({value for one in names for value in one.values}),
        "drift": len(set(addresses)) > 1,
        "disagreement": differ,
    }
    if not addresses:
        error = next((found.error for found in system if found.error), "no address")
        return Finding(Grade.BROKEN, f"{host} does not resolve on this machine: {error}", facts)
    times = [found.took_s for found in system]
    families = those(
        [n for n, mark in (("IPv4", "."), ("IPv6", ":")) if any(mark in a for a in addresses[-1])]
    )
    many = "1 address" if len(addresses[-1]) == 1 else f"{len(addresses[-1])} addresses"
    text = f"{host} leads to {many} ({families}) in {among(times)}"
    grade, more = Grade.FINE, []
    if silent := _silent(heard):
        grade = Grade.SUSPECTED
        more.append(f"without an answer: {'; '.join(silent)}")
    if differ:
        grade = grade if grade is not Grade.FINE else Grade.NOTED
        more.append(f"resolvers disagree about {those(sorted(differ))}")
    answered = [one for one in heard if not one.error or one.error == "NXDOMAIN"]
    if (
        answered
        and len(answered) == len(heard)
        and not any(one.values for one in heard)
        and host != "localhost"
    ):
        grade = Grade.NOTED
        more.append(
            "none of the resolvers knows it: it comes from a hosts file, or another source of the system's own"
        )
    if facts["drift"]:
        grade = grade if grade is not Grade.FINE else Grade.NOTED
        more.append("the system's answer changed between two tries")
    if max(times) > SLOW_S and grade is Grade.FINE:
        grade = Grade.NOTED
        more.append("slow enough to be felt")
    if not heard:
        more.append("no resolver could be asked by itself")
    return Finding(grade, "; ".join([text, *more]), facts)


def _resolvers(heard: list[Heard]) -> list[str]:
    return list(dict.fromkeys(one.resolver for one in heard))


def _facts(resolver: str, heard: list[Heard]) -> dict[str, object]:
    mine = [one for one in heard if one.resolver == resolver]
    return {
        kind: {
            "addresses": sorted({value for one in mine if one.kind == kind for value in one.values}),
            "ms": [ms(one.took_s) for one in mine if one.kind == kind],
            "errors": [one.error for one in mine if one.kind == kind and one.error],
        }
        for kind in KINDS
    }


def _answers(heard: list[Heard], kind: str) -> list[str]:
    """Every different answer to one kind of question, with who gave it. An error is no different answer."""
    by: dict[str, list[str]] = {}
    for one in heard:
        if one.kind == kind and not one.error:
            by.setdefault(", ".join(one.values) or "none", []).append(one.resolver)
    if len({who for whose in by.values() for who in whose}) < 2:
        return []  # one resolver alone can change its mind, and disagrees with nobody
    groups = {answer: frozenset(whose) for answer, whose in by.items()}
    if len(set(groups.values())) == 1:
        return []  # all of them turn the same addresses round
    return [f"{answer} ({', '.join(sorted(whose))})" for answer, whose in groups.items()]


def _silent(heard: list[Heard]) -> list[str]:
    found = []
    for resolver in _resolvers(heard):
        mine = [one for one in heard if one.resolver == resolver]
        lost = [one for one in mine if one.error and one.error != "NXDOMAIN"]
        if lost:
            found.append(
                f"{resolver} {len(lost)} of {len(mine)} ({', '.join(sorted({one.error for one in lost}))})"
            )
    return found
