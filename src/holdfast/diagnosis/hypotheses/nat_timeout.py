"""A box on the way forgets silent connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.diagnosis.case import Case
from holdfast.diagnosis.hypotheses._age import Aged, idle_probe
from holdfast.diagnosis.hypotheses._silence import held, slack_s
from holdfast.diagnosis.hypotheses.fixed_limit import TELL
from holdfast.diagnosis.hypothesis import Answered
from holdfast.flight.endings import Mechanism
from holdfast.flight.flights import duration
from holdfast.probes.result import Result

KEPT_ALIVE_S = 30.0
"The gateway's own TCP keepalives: a box that counts packets forgets no connection of its."
KEPT_ALIVE = 0.05
UNANSWERED = frozenset({Mechanism.KEEPALIVE_UNANSWERED, Mechanism.UNACKNOWLEDGED})
FOUND, FOUND_WITHOUT = 45.0, 15.0
"""Of a probe that finds connections forgotten just there and kept by probes of TCP: nine in ten if it is this, and one in
fifty by chance (three networks in ten have such a box at all, and its time lies in one of a dozen intervals). Where TCP's
probes did not keep them, a proxy or the far end did it as likely."""
LIVED, LIVED_LEAST = 0.05, 0.005
"""Of a connection that lived through a longer silence: boxes keep some for longer when they are empty. Several that did so
at once are not as many proofs."""
SOONER, LATER = 0.2, 0.1


class NatTimeout(Aged):
    """A NAT or firewall between this machine and the provider keeps a table of connections, and forgets the silent ones.

    It predicts: failures at the same age of requests that were silent from their beginning. What comes later is dropped
    without a word (then the client finds out by its own timer: ETIMEDOUT), or answered with a reset by some boxes and by
    the far end (then it looks like a limit at an edge). TCP keepalives more often than its time prevent it altogether,
    and so does another network.
    """

    name = "nat-timeout"
    title = "A box on the way forgot silent connections"
    falsifier = "the same cut with TCP keepalives every 30 s, or on another network"
    rivals: ClassVar[Mapping[str, str]] = {"silence-limit": TELL, "fixed-limit": TELL}

    def fits(self, *, lost: bool, answered: bool | None) -> float:
        return 0.05 if answered else 1.0 if answered is None else 1 / self.silent_share

    def ratios(self, case: Case) -> Sequence[float]:
        found = super().ratios(case)
        if self.limit_s is None or self.limit_s <= KEPT_ALIVE_S:
            return found
        return [
            KEPT_ALIVE * ratio
            if any(
                one.source == "flights" and one.mechanism not in UNANSWERED
                for one in case.trips_of.get(failure.id, ())
            )
            else ratio
            for failure, ratio in zip(case.failures, found, strict=True)
        ]

    def asked(self, case: Case, result: Result) -> Answered | None:
        limit = self.limit_s
        if limit is None:
            return None
        if result.name == "path":
            carrier = result.facts.get("carrier_nat_hops")
            return Answered(2.0, "a carrier's NAT stands on the way") if carrier else None
        told = held(result)
        if told is None:
            return None
        plain, probed = told
        slack = slack_s(limit)
        gone = min(plain.forgotten_s, default=None)
        if gone is None:
            past = [one for one in plain.lived_s if one > limit + slack]
            if not past:
                return None  # it did not ask about so long a silence
            text = f"connections lived through {duration(max(past))} of silence without TCP keepalive"
            return Answered(max(LIVED ** len(past), LIVED_LEAST), text)
        low = max((one for one in plain.lived_s if one < gone), default=0.0)
        between = f"silent connections were forgotten between {duration(low)} and {duration(gone)}"
        if limit < low - slack:
            return Answered(LATER, f"{between}, later than these requests failed")
        if limit > gone + slack:
            return Answered(SOONER, f"{between}, sooner than these requests failed")
        if any(one >= gone - slack for one in probed.lived_s) and not probed.gone_s:
            return Answered(FOUND, f"{between}, and lived with TCP keepalive")
        return Answered(FOUND_WITHOUT, f"{between}; TCP keepalive did not keep them")

    def settle(self, limit: float) -> str:
        return (
            f"{idle_probe(limit)}: connections left silent, with TCP's own probes and without, here and on another "
            "network; holdfast run -- claude: its probes stop such cuts, and not those of a limit at the far end"
        )
