"""What the gateway did for its clients, counted honestly.

*Saved*: the client was measured to lose the turn at such a break, and it finished. *Spared*: a client
asked again and was given the answer that was already there. *Held*: a silence longer than the client's
limit was bridged, at which it was measured to ask again. What a provider bills after a hang-up is not
documented, so nothing here is money.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from holdfast.flight.cuts import CUT, Row, Rows
from holdfast.flight.endings import Mechanism
from holdfast.flight.record import TurnRecord
from holdfast.gateway.profiles import Limit, Profile


@dataclass(slots=True)
class Summary:
    """The counts of one gateway process since its start."""

    carried: int = 0
    "Turns that ended."
    opaque: int = 0
    "Other requests that were relayed."
    opaque_failed: int = 0
    "Those of them that broke, or never reached upstream; what it answered with an error status did reach it."
    refused: int = 0
    "Requests that the gateway itself refused: no path of its, no HTTP, no token."
    saved: int = 0
    saved_from: Counter[str] = field(default_factory=Counter)
    healed: int = 0
    "Breaks of upstream's after which an answer went on, in turns that were heard to their end."
    healed_by: Counter[str] = field(default_factory=Counter)
    "The same by remedy, as in the healing table."
    spared: int = 0
    held: int = 0
    wasted_tokens: int = 0
    "Output tokens of finished answers that nobody fetched."
    kept: int = 0
    "Answers put into the attic."
    unfinished: int = 0
    "Turns that ended in an error, or whose end nobody heard; cancels aside."
    stopped: int = 0
    "Turns that somebody stopped before their end."
    rows: Rows = field(default_factory=Rows)
    "Answers that were cut: a cut has healed only if the rest came."

    @property
    def not_started_twice(self) -> int:
        """Generations that the client asked for again, or was about to, and that were not started."""
        return self.spared + self.held

    def add(self, record: TurnRecord) -> None:
        """Count a record that has ended."""
        if record.kind != "turn":
            self.opaque += 1
            ending = record.ending
            if ending is not None and not ending.completed and ending.mechanism is not Mechanism.HTTP_ERROR:
                self.opaque_failed += 1
            return
        self.carried += 1
        self.spared += record.spared
        self.held += record.held
        self.wasted_tokens += record.wasted_tokens or 0
        ending = record.ending
        if ending is not None and not ending.completed:
            if ending.mechanism is Mechanism.CANCELLED:
                self.stopped += 1
            else:
                self.unfinished += 1
        self.rows.add(record)
        if record.healed is not None and ending is not None and ending.completed:
            remedies = record.healed.split(", ")
            self.healed += len(remedies)
            self.healed_by.update(remedies)
        if record.saved_from is not None:
            self.saved += 1
            self.saved_from[record.saved_from] += 1

    def without_lost(self, lost: list[Row]) -> Summary:
        """The same counts, where answers that were cut and never became whole are neither healed nor saved."""
        cuts = sum(row.cuts for row in lost)
        reasons = Counter(reason for row in lost for reason in row.saved_from)
        return replace(
            self,
            healed=self.healed - cuts,
            healed_by=self.healed_by - Counter({CUT: cuts}),
            saved=self.saved - reasons.total(),
            saved_from=self.saved_from - reasons,
        )


@dataclass(frozen=True, slots=True)
class Bridged:
    """A silence of upstream that was longer than one of the client's limits."""

    limit: Limit
    loss: str | None
    "How the client was measured to lose the turn; None where it asks again by itself."


def bridged(
    quiet_s: float,
    limits: Iterable[Limit],
    profile: Profile,
    completed_blocks: int,
    *,
    headers: bool,
    streaming: bool,
) -> Bridged | None:
    """What a silence of `quiet_s` would have done to this client without us; None: nothing.

    `headers` says whether the client had its headers from upstream before the silence.
    """
    kind = "streaming" if streaming else "whole"
    limits = tuple(limit for limit in limits if limit.applies in ("any", kind))
    clocks = ("bytes", "events", "total") if headers else ("headers", "total")
    fired = [limit for limit in limits if limit.clock in clocks and limit.seconds <= quiet_s]
    if not fired:
        return None
    # Before the headers every measured client asks again by itself.
    loss = profile.loss_at_silence(limits, completed_blocks) if headers else None
    return Bridged(min(fired, key=lambda limit: limit.seconds), loss)
