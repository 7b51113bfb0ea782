"""A turn that is over, as metrics and traces see it: its row of the journal, with moments and ending decoded.

Moments stay names and plain values. To make each an object of its class costs ten times as much, and nothing here
asks more of one than a number or a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from holdfast.flight.endings import Mechanism, Phase, Side

FIELDS = (
    "turn_id", "started_mono_s", "started_wall_ms", "ended_mono_s", "ended_wall_ms", "ending_code", "kind", "method",
    "path", "agent", "profile", "session", "subagent", "upstream", "model", "status", "request_id", "request_bytes",
    "answer_bytes", "events", "input_tokens", "output_tokens", "stop_reason", "attempts", "readers", "keepalives",
    "longest_quiet_s", "spared", "held", "saved_from", "healed", "wasted_tokens", "moments",
)  # fmt: skip
"What is read of a turn's row."


class Told(NamedTuple):
    """A moment."""

    mono_s: float
    wall_ms: int
    name: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """One turn."""

    row: dict[str, Any]
    "By the names in `FIELDS`, `moments` left out."
    moments: list[Told]

    def __getitem__(self, name: str) -> Any:
        return self.row[name]

    @property
    def took_s(self) -> float | None:
        """None where the end was not measured on the same clock as the start."""
        ended = self.row["ended_mono_s"]
        return None if ended is None else max(0.0, ended - self.row["started_mono_s"])

    def named(self, name: str) -> Iterator[Told]:
        """Its moments of one kind."""
        return (moment for moment in self.moments if moment.name == name)


_decode = msgspec.json.Decoder().decode


def ended_turn(values: Sequence[Any]) -> EndedTurn:
    """A turn from its row; moments that are no moments (another version's) are left out."""
    row = dict(zip(FIELDS, values, strict=True))
    try:
        listed = _decode(row.pop("moments"))
    except (msgspec.MsgspecError, TypeError):
        listed = []
    moments = []
    for item in listed:
        match item:
            case [int() | float() as mono_s, int() as wall_ms, str() as name, dict() as data]:
                moments.append(Told(float(mono_s), wall_ms, name, data))
    return EndedTurn(row, moments)


class Code(NamedTuple):
    """An ending's code, taken apart."""

    code: str
    side: str
    mechanism: str
    phase: str


_SIDES = {side.value: side.name.lower() for side in Side}
_MECHANISMS = {mechanism.value for mechanism in Mechanism}
_PHASES = {phase.value for phase in Phase}
OTHER = Code("other", "other", "other", "other")
"A code that this version has no words for. The vocabulary is closed here, whatever the journal says."


def code_of(code: Any) -> Code:
    """The parts of a code, the side in a word."""
    side, _, rest = str(code).partition(".")
    mechanism, _, phase = rest.partition(".")
    if side in _SIDES and mechanism in _MECHANISMS and phase in _PHASES:
        return Code(str(code), _SIDES[side], mechanism, phase)
    return OTHER


def code_in(data: dict[str, Any]) -> Code | None:
    """The code of the ending in a moment's data; None where there is none."""
    ending = data.get("ending")
    if not isinstance(ending, dict):
        return None
    return code_of(f"{ending.get('side')}.{ending.get('mechanism')}.{ending.get('phase')}")


def number(value: Any) -> float | None:
    """A number that is one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if value == value and abs(value) != float("inf") else None
