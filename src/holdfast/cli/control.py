"""What `run` and its gateway process tell each other: one JSON object per line on a socket pair.

Settings travel here and not in arguments or variables, because they may hold credentials of a proxy and
both of those can be read by others.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec

from holdfast.flight.journal import Retention
from holdfast.gateway.settings import Settings


class Start(msgspec.Struct, tag="start"):
    """To the gateway, first: be this."""

    settings: Settings
    retention: Retention = Retention()


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
    """From the gateway: what it has done so far. Sent after every turn, so that a crash loses little."""

    carried: int = 0
    "Turns (protected)."
    opaque: int = 0
    "Other requests, relayed without protection."
    saved: int = 0
    saved_from: dict[str, int] = {}
    "What they were saved from, and how often."
    spared: int = 0
    "Client requests that joined an answer instead of having it generated again."
    wasted_tokens: int = 0
    final: bool = False
    "Nothing follows."

    def __add__(self, other: Counts) -> Counts:
        """The counts of two gateway processes, one after the other."""
        reasons = dict(self.saved_from)
        for reason, times in other.saved_from.items():
            reasons[reason] = reasons.get(reason, 0) + times
        return Counts(
            carried=self.carried + other.carried,
            opaque=self.opaque + other.opaque,
            saved=self.saved + other.saved,
            saved_from=reasons,
            spared=self.spared + other.spared,
            wasted_tokens=self.wasted_tokens + other.wasted_tokens,
            final=other.final,
        )


ToGateway = Start | Child | ChildGone
FromGateway = Ready | Refused | Counts
Message = ToGateway | FromGateway


def counts_from(summary: Any, *, final: bool = False) -> Counts:
    """The counts in a gateway's summary (a dataclass that may know more than we report)."""
    known = {
        name: value for name, value in dataclasses.asdict(summary).items() if name in Counts.__struct_fields__
    }
    known["wasted_tokens"] = known.get("wasted_tokens") or 0
    return Counts(**{**known, "final": final})


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
