"""A box on the way forgets silent connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from holdfast.diagnosis.hypotheses._age import Aged, idle_probe
from holdfast.diagnosis.hypotheses.fixed_limit import TELL


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
        return 0.05 if answered else 1.0

    def settle(self, limit: float) -> str:
        return (
            f"{idle_probe(limit)}: connections left silent, with TCP's own probes and without, here and on another "
            "network; holdfast run -- claude: its probes stop such cuts, and not those of a limit at the far end"
        )
