"""What `run` and its gateway process tell each other: one JSON object per line on a socket pair.

Settings travel here and not in arguments or variables, because they may hold credentials of a proxy and
both of those can be read by others.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from holdfast.flight.instant import now
from holdfast.flight.journal import Retention
from holdfast.gateway.accounts import Summary
from holdfast.gateway.settings import Settings


class Start(msgspec.Struct, tag="start"):
    """To the gateway, first: be this."""

    settings: Settings
    retention: Retention = Retention()
    memory_file: Path | None = None
    "Made for the command; removed after it by whoever of us is left."
    otel: str | None = None
    "Where traces go, in full; None for nowhere."


class Child(msgspec.Struct, tag="child"):
    """To the gateway: the command runs, as this process."""

    pid: int


class ChildGone(msgspec.Struct, tag="child_gone"):
    """To the gateway: the command has ended; stop what is unfinished, say the counts, end."""


class Ready(msgspec.Struct, tag="ready"):
    """From the gateway: requests are answered."""


class Refused(msgspec.Struct, tag="refused"):
    """From the gateway: it cannot start, and why."""

    reason: str


class Counts(msgspec.Struct, tag="counts"):
    """From the gateway: what it has done so far. Sent after every turn, so that a crash loses little.

    The names are those of `gateway.accounts.Summary`.
    """

    carried: int = 0
    opaque: int = 0
    opaque_failed: int = 0
    refused: int = 0
    saved: int = 0
    saved_from: dict[str, int] = {}
    healed: int = 0
    healed_by: dict[str, int] = {}
    spared: int = 0
    held: int = 0
    wasted_tokens: int = 0
    kept: int = 0
    unfinished: int = 0
    stopped: int = 0
    cut: int = 0
    "Ends by which answers were cut that never became whole."
    cut_lost: int = 0
    "Turns that were lost so."
    cut_used_up: int = 0
    "Those of them that the client gave up because it had asked for the rest as often as it does."
    final: bool = False
    "Nothing follows."

    def __add__(self, other: Counts) -> Counts:
        """The counts of two gateway processes, one after the other."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in (*_NUMBERS, *_OF_CUTS)}
        reasons = Counter(self.saved_from) + Counter(other.saved_from)
        remedies = Counter(self.healed_by) + Counter(other.healed_by)
        return Counts(**sums, saved_from=dict(reasons), healed_by=dict(remedies), final=other.final)


_NUMBERS = (
    "carried",
    "opaque",
    "opaque_failed",
    "refused",
    "saved",
    "healed",
    "spared",
    "held",
    "wasted_tokens",
    "kept",
    "unfinished",
    "stopped",
)
_OF_CUTS = ("cut", "cut_lost", "cut_used_up")


def counts_from(summary: Summary, *, final: bool = False) -> Counts:
    """The counts in a gateway's summary. What was cut counts as lost once no rest can come: at the latest when `final`."""
    lost = summary.rows.never_whole(None if final else now().wall_ms)
    summary = summary.without_lost(lost)
    numbers = {name: getattr(summary, name) for name in _NUMBERS}
    reasons, remedies = dict(summary.saved_from), dict(summary.healed_by)
    cuts = {
        "cut": sum(row.cuts for row in lost),
        "cut_lost": len(lost),
        "cut_used_up": sum(row.used_up for row in lost),
    }
    return Counts(**numbers, **cuts, saved_from=reasons, healed_by=remedies, final=final)


ToGateway = Start | Child | ChildGone
FromGateway = Ready | Refused | Counts
Message = ToGateway | FromGateway


def encode(message: Message) -> bytes:
    """One line."""
    return msgspec.json.encode(message, enc_hook=str) + b"\n"


def decode_to_gateway(line: bytes) -> ToGateway:
    """A message to the gateway. Raises `msgspec.ValidationError`."""
    message: ToGateway = msgspec.json.decode(line, type=ToGateway, dec_hook=_path)
    return message


def decode_from_gateway(line: bytes) -> FromGateway:
    """A message from the gateway. Raises `msgspec.ValidationError`."""
    message: FromGateway = msgspec.json.decode(line, type=FromGateway)
    return message


def _path(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(f"no decoder for {kind}")


class Lines:
    """Whole lines out of pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line for line in lines if line]
