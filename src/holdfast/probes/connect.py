"""Does TCP connect, by each family, and how fast?"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.probes import lookup
from holdfast.probes.asking import UNKNOWN, Cost, Options
from holdfast.probes.net import NoConnection, Stop, pause
from holdfast.probes.net import connect as open_tcp
from holdfast.probes.result import Finding, Grade, among, excluded, ms, those
from holdfast.probes.target import Target

NAME = "connect"
ASKS = "Whether TCP connects, by IPv4 and IPv6, how fast, and whether the address drifts."
SAYS = (
    "That this machine and what stands at the other end (an edge, or the proxy) greet each other, just now."
)
SAYS_BROKEN = (
    "That nothing there took a connection, just now. Refused: nobody listens on that port, or a firewall says so in "
    "its name; no answer: a firewall, or no way there. Check host and port and whether it is running, then the way "
    "to it: holdfast probe path{target}."
)
"""What no connection at all shows, and what to do next."""
DOES_NOT_SAY = "Anything about what lies behind that end, nor about streams: a connection of seconds meets no idle timer."
ROUNDS = 5
SYN_AGAIN_S = 0.9
"A greeting that was lost is sent again after 1 s: a connection that took so long had lost one."


@dataclass(frozen=True, slots=True)
class Try:
    """One connection."""

    ip: str
    family: str
    took_s: float
    error: str = ""


def cost(target: Target, options: Options) -> Cost:
    rounds = options.rounds or ROUNDS
    return Cost(2 * rounds, 2 * rounds * 400, rounds * options.every_s)


def ask(target: Target, options: Options, stop: Stop) -> Finding:
    host, port = target.nearest
    tries: list[Try] = []
    for number in range(options.rounds or ROUNDS):
        if number:
            pause(options.every_s, stop)
        if stop():
            break
        found = lookup.system(host, port, options.patience_s, stop)
        if not found.addresses and not stop():
            tries.append(Try("", "", found.took_s, f"the name does not resolve: {found.error}"))
        for family in ("4", "6"):
            address = next((one for one in found.addresses if one.family == family), None)
            if address is None or stop():
                continue
            try:
                wire = open_tcp(address, options.patience_s, stop)
            except NoConnection as error:
                if error.kind != "stopped":
                    tries.append(Try(address.ip, family, error.took_s, str(error)))
            else:
                wire.close()
                tries.append(Try(address.ip, family, wire.opened.connect_s))
    return verdict(tries)


def verdict(tries: list[Try]) -> Finding:
    """Weigh the connections."""
    if not tries:
        return Finding(Grade.NOT_MEASURED, UNKNOWN, complete=False)
    facts: dict[str, object] = {}
    parts, grades = [], []
    for family, name in (("4", "IPv4"), ("6", "IPv6"), ("", "names")):
        mine = [one for one in tries if one.family == family]
        if not mine:
            if family:
                facts[name] = None
            continue
        good = [one.took_s for one in mine if not one.error]
        errors = sorted({one.error for one in mine if one.error})
        lost = sum(took > SYN_AGAIN_S for took in good)
        addresses = list(dict.fromkeys(one.ip for one in mine if one.ip))
        facts[name] = {
            "tries": len(mine), "connected": len(good), "ms": [ms(one) for one in good], "errors": errors,
            "addresses": addresses, "greetings_lost": lost,
        }  # fmt: skip
        if not family:
            parts.append(f"{len(mine)} times {errors[0]}")
            grades.append(Grade.BROKEN)
            continue
        text = f"{name}: {len(good)} of {len(mine)} connected"
        if good:
            text += f" in {among(good)}"
        if errors:
            text += f", else {those(errors)}"
        if lost:
            text += f", {lost} only after a lost packet was sent again"
        text += f"; that {excluded(len(mine) - len(good), len(mine))}"
        if len(addresses) > 1:
            text += f"; the address changed ({those(addresses)})"
        parts.append(text)
        grades.append(Grade.BROKEN if not good else Grade.SUSPECTED if errors or lost else Grade.FINE)
    if facts.get("IPv6") is None and "IPv4" in facts:
        parts.append("IPv6: no address was offered")
    if any(grade is not Grade.BROKEN for grade in grades):
        # One family alone is enough to work, and a broken one costs every connection a wait.
        grades = [Grade.SUSPECTED if grade is Grade.BROKEN else grade for grade in grades]
    return Finding(
        worst(grades), ". ".join(parts), facts, says=SAYS_BROKEN if worst(grades) is Grade.BROKEN else None
    )


_ORDER = (Grade.NOT_MEASURED, Grade.FINE, Grade.NOTED, Grade.SUSPECTED, Grade.BROKEN)


def worst(grades: list[Grade]) -> Grade:
    """The one that matters most."""
    return max(grades, key=_ORDER.index, default=Grade.NOT_MEASURED)
