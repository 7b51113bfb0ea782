"""How a gateway stands at this moment, in numbers. Read on the event loop; costs one look at each open turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.flight import instant
from holdfast.gateway.turn import State

if TYPE_CHECKING:
    from holdfast.gateway.engine import Engine

OPEN_STATES = (*(state.value for state in State if state is not State.DONE), "opaque")


@dataclass(frozen=True, slots=True)
class Gauges:
    """The numbers."""

    turns: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(OPEN_STATES, 0))
    "Unfinished ones by state; `opaque` are other requests."
    upstream_up: bool | None = None
    "Whether upstream can be reached; None until it was for the first time."
    outage_s: float = 0.0
    memory_used_bytes: int = 0
    memory_limit_bytes: int = 0
    connections: int = 0
    refused: Mapping[int, int] = field(default_factory=dict)
    "Requests that became no turn, by the status they were answered with; since the start."
    lost_after_cuts: int = 0
    "Answers that were cut, and whose rest never came whole; since the start."


def read(engine: Engine, connections: int) -> Gauges:
    """The numbers of an engine."""
    states = Counter(dict.fromkeys(OPEN_STATES, 0))
    states.update(carrier.turn.state.value for carrier in engine.open_carriers())
    states["opaque"] = engine.open_relays
    outage, budget = engine.reaching.outage, engine.budget
    away = outage.absent_since is not None
    return Gauges(
        {state: states[state] for state in OPEN_STATES},
        None if not away and not outage.ever_answered else not away,
        engine.loop.time() - outage.absent_since if outage.absent_since is not None else 0.0,
        budget.total - budget.free,
        budget.total,
        connections,
        dict(engine.refusals.by_status),
        engine.summary.rows.lost_by(instant.now().wall_ms),
    )
