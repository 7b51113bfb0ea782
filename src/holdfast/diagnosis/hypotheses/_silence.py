"""What `holdfast probe idle` found, read for the causes that silence between packets brings about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.probes.idle import Outcome
from holdfast.probes.result import Result

SLACK, SLACK_S = 0.05, 2.0
"How far two measurements of one timer lie apart: boxes sweep their tables now and then."


@dataclass(frozen=True, slots=True)
class Idle:
    """Silent connections of one kind, by how long they were silent in fact (s), in order."""

    lived_s: tuple[float, ...]
    forgotten_s: tuple[float, ...]
    "Those of which the other end knew nothing any more, or that nobody answered."
    closed_s: tuple[float, ...]
    "Those that somebody ended while they were silent."

    @property
    def gone_s(self) -> tuple[float, ...]:
        return tuple(sorted(self.forgotten_s + self.closed_s))


def held(result: Result) -> tuple[Idle, Idle] | None:
    """Without TCP keepalive and with it; None where it is no such result, or the path was down in the meantime."""
    if result.name != "idle" or result.facts.get("fresh_connection_works") is False:
        return None
    return _of(result.facts.get("without_keepalive")), _of(result.facts.get("with_keepalive"))


def _of(facts: Any) -> Idle:
    told = facts.get("connections") if isinstance(facts, Mapping) else None
    lived, forgotten, closed = list[float](), list[float](), list[float]()
    for one in told if isinstance(told, list) else ():
        silent = one.get("idle_s") if isinstance(one, Mapping) else None
        if not isinstance(silent, int | float) or isinstance(silent, bool):
            continue
        match one.get("outcome"):
            case Outcome.ALIVE.value | Outcome.UNANSWERED.value:
                lived.append(float(silent))
            case Outcome.DEAD_ON_SEND.value | Outcome.RESET_ON_SEND.value:
                forgotten.append(float(silent))
            case Outcome.CLOSED.value:
                (forgotten if one.get("how") == "timeout" else closed).append(float(silent))
            case _:
                pass
    return Idle(tuple(sorted(lived)), tuple(sorted(forgotten)), tuple(sorted(closed)))


def slack_s(limit: float) -> float:
    """How near a measured silence has to be to a limit to be it."""
    return max(SLACK * limit, SLACK_S)
