"""Failures that somebody else saw end: a gateway's flight, a capture, a log on the way. They say who ended it.

That is a fact, and not yet a reason; so these take only what no other cause explains (`diagnosis.witnessed`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure, Witness, file_of
from holdfast.diagnosis.hypotheses._told import TOLD
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis
from holdfast.diagnosis.titles import the_table
from holdfast.flight.endings import Side
from holdfast.flight.flights import counted

_EXAMPLES = 3
SURE = 0.1
"More doubt than this is said aloud."


class Seen(Hypothesis):
    """A side that ended the connection, as somebody saw it who was on the way."""

    side: Side
    left: frozenset[str] | None = None
    "Ids of the failures that no cause explains, once that is known; None is all."

    def ratios(self, case: Case) -> Sequence[float]:
        return [
            min(TOLD, 1 / max(seen[0].chance, 1 / TOLD))
            if (self.left is None or failure.id in self.left)
            and (seen := case.seen.get(failure.id))
            and seen[0].side is self.side
            and seen[0].tells_who
            else 0.0
            for failure in case.failures
        ]

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        seen = [case.seen[failure.id][0] for failure in mine if failure.id in case.seen]
        return Brief(tuple(told(seen)), (), self.settles())

    def settles(self) -> str:
        """What tells why that side did it."""
        return "holdfast flight ID: the flight's own page has the evidence of that moment (holdfast flights)"


def told(seen: Sequence[Witness]) -> list[Evidence]:
    """What was seen, a sentence per source: by flights with codes and silences, by others in their own words."""
    flights = [one for one in seen if one.source == "flights"]
    said = []
    if flights:
        codes = Counter(one.code for one in flights)
        listed = ", ".join(f"{code} {count}" for code, count in codes.most_common(5))
        quiet = [one.silence_s for one in flights if one.silence_s is not None]
        after = f"; the longest silence before was {max(quiet):.0f} s" if quiet else ""
        ids = [one.request_id for one in flights if one.request_id]
        asked = f"; request ids: {', '.join(ids[:_EXAMPLES])}" if ids else ""
        more = f" and {len(ids) - _EXAMPLES} more" if len(ids) > _EXAMPLES else ""
        said.append(
            Evidence(
                f"Seen by the gateway: {counted(len(flights), 'failure')}, {listed}{after}{asked}{more}.",
                "flights",
            )
        )
    by_file: dict[tuple[str, str], list[Witness]] = {}
    for one in seen:
        if one.source != "flights":
            by_file.setdefault((file_of(one.source), one.text), []).append(one)
    said += [_alike(file, text, same) for (file, text), same in list(by_file.items())[:_EXAMPLES]]
    rest = sum(len(same) for same in list(by_file.values())[_EXAMPLES:])
    if rest:
        said.append(
            Evidence(f"{counted(rest, 'more failure')} were seen by others than the client.", "added files")
        )
    return said


def _alike(file: str, text: str, same: Sequence[Witness]) -> Evidence:
    """`Seen by nginx access.log: 59 failures, 499: its client closed ... (lines 1, 2, 3 and 56 more).`"""
    if len(same) == 1:
        sure = "; whether it was of this failure is not sure" if same[0].doubt > SURE else ""
        return Evidence(f"Seen by {same[0].source}: 1 failure, {text}{sure}.", same[0].source)
    lines = [line for one in same if (line := one.source[len(file) :].removeprefix(":"))]
    listed = ", ".join(lines[:_EXAMPLES])
    more = f" and {len(lines) - _EXAMPLES} more" if len(lines) > _EXAMPLES else ""
    where = f" (lines {listed}{more})" if lines else ""
    return Evidence(f"Seen by {file}: {counted(len(same), 'failure')}, {text}{where}.", file)


class SeenProvider(Seen):
    """The other end of the connection, the API or the edge before it, ended it, and somebody on the way saw that.

    It predicts: a gateway's flight, a capture or a proxy's log has the provider's side closing at the second of the
    failure. Why it did is not seen; the request's id lets the provider look it up.
    """

    name = "seen-provider"
    title = "The provider's side ended the connection, as was seen"
    remedy = f"Send the request ids ({the_table('reset requests')}) to the provider; holdfast run goes on with what was cut."
    falsifier = (
        "a capture beside the gateway that shows this machine's side, or a box in between, ending it first"
    )
    side = Side.PROVIDER

    def settles(self) -> str:
        return "holdfast capture, while holdfast run goes on: hop counts tell the edge's reset from one made on the path"


class SeenPath(Seen):
    """Something between the two ends did: no proof of life came any more, or there was no way.

    It predicts: bytes or probes that nobody acknowledged, names that did not resolve, a proxy's own limit, at the second
    of the failure.
    """

    name = "seen-path"
    title = "Something on the way ended the connection, as was seen"
    remedy = "Use another network for a week; what was noted names the place as far as it can be known."
    falsifier = "the same ends on another network, or a capture in which the other end answers"
    side = Side.PATH

    def settles(self) -> str:
        return (
            "holdfast probe path; holdfast probe ping --rounds 100: here and on another network, at the hour of the "
            "failures"
        )


class SeenMachine(Seen):
    """This machine did: it slept, its kernel gave the connection up, or a process ended.

    It predicts: failures right after a wake, or at the moment in which an address or a process went.
    """

    name = "seen-machine"
    title = "This machine ended the connection, as was seen"
    remedy = "Keep the machine awake while a turn runs (caffeinate, systemd-inhibit): no gateway can read while it sleeps."
    falsifier = "the same ends while the machine was awake and its address stayed"
    side = Side.MACHINE

    def settles(self) -> str:
        return "a day with sleep switched off, and then: holdfast diagnose --since 24h"


class SeenClient(Seen):
    """The connection was closed from the client's side, and somebody on the way saw that.

    It predicts: a FIN or reset from the client's side at the second of the failure: a limit of its own, the user, or its
    end. Seen by a flight it was the program; seen by a proxy it was the program or any box between the two.
    """

    name = "seen-client"
    title = "The client's side closed the connection, as was seen"
    remedy = "Raise the client's limit, or run it behind holdfast run: its keepalives hold it."
    falsifier = "a capture on the client's machine in which the close comes from elsewhere"
    side = Side.CLIENT


class SeenGateway(Seen):
    """Holdfast ended the turn itself, by a limit of its own or because it was told to.

    It predicts: the flight names the limit.
    """

    name = "seen-gateway"
    title = "Holdfast itself ended the turn"
    remedy = "Look at the limit that the flight names (holdfast serve --check), and raise it where your turns need longer."
    falsifier = "a flight whose ending is on another side"
    side = Side.GATEWAY
