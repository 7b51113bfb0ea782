"""What is put beside the socket's own facts when something ends early: headers, sizes, clocks, the machine's network.

Gathered only then. Nothing here is kept ready on the way to a proper end: the headers are those that were rendered for
the client, the model is looked up in the request that the turn keeps anyway. Values in, values out; the names are
explained in `flight.evidence`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from holdfast.flight.endings import Ending, Mechanism, Side
from holdfast.flight.evidence import HEADERS, Fact
from holdfast.flight.redact import safe

LONGEST: Final = 120
"Characters of a header's value that are kept."
RATE_LIMIT_LONGEST: Final = 400
LOOKED_AT: Final = 16 * 1024
"Bytes at each end of a request in which its model is looked for: clients name it first or last."

_MODEL: Final = re.compile(rb'(?<!\\)"model"\s*:\s*"([^"\\\x00-\x1f]{1,160})"')
_MILLION: Final = "1m"
_NAMES: Final[Mapping[bytes, str]] = MappingProxyType(
    {
        **{
            name.replace("_", "-").encode(): name
            for name in HEADERS
            if name not in ("ratelimit", "x_envoy_upstream_service_time_ms")
        },
        b"x-request-id": "request_id",
        b"x-envoy-upstream-service-time": "x_envoy_upstream_service_time_ms",
    }
)
"Header, in lower case -> name of evidence."
_NUMBERS: Final = frozenset(("x_envoy_upstream_service_time_ms", "x_envoy_attempt_count"))
_RATE_LIMITS: Final = (b"anthropic-ratelimit-", b"x-ratelimit-", b"ratelimit-")
COARSE_S: Final = 0.05
"Two moments closer than that may be told in either order: the event loop reads its clock once a round."

_RESET_MEANS_SLEPT: Final = frozenset(
    (
        Mechanism.FIN,
        Mechanism.RST,
        Mechanism.FIN_THEN_RST,
        Mechanism.GOAWAY,
        Mechanism.KEEPALIVE_UNANSWERED,
        Mechanism.UNACKNOWLEDGED,
        Mechanism.UNREACHABLE,
        Mechanism.ABORTED,
    )
)
"What a peer, a box or the kernel does to a connection of which nothing was heard for the length of a sleep."


def of_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, Fact]:
    """The headers of an answer that help to find who broke it; the first of a name counts."""
    found: dict[str, Fact] = {}
    limits = []
    for name, value in headers:
        name = name.lower()
        known = _NAMES.get(name)
        if known is not None:
            found.setdefault(known, _value(known, value))
        elif name.startswith(_RATE_LIMITS):
            limits.append(f"{_text(name)}={_text(value)}")
    if limits:
        found["ratelimit"] = safe(" ".join(sorted(limits)))[:RATE_LIMIT_LONGEST]
    return found


def _value(name: str, value: bytes) -> Fact:
    if name in _NUMBERS and value.isdigit() and len(value) < 16:
        return int(value)
    return _text(value)


def _text(value: bytes) -> str:
    return safe(value[: 4 * LONGEST].decode("latin-1"))[:LONGEST]


def asked_model(head: bytes, tail: bytes = b"") -> str | None:
    """The model that a request names, its suffix included; None where it is not in the ends that are given."""
    found = _MODEL.search(head) or _MODEL.search(tail)
    return None if found is None else safe(found[1].decode("utf-8", "replace"))


def context_tier(model: str | None, betas: str) -> str:
    """`1m` where the model's suffix or the beta header asks for the long context, else `standard`."""
    asked = (model or "").lower().endswith(f"[{_MILLION}]") or "context-1m" in betas.lower()
    return _MILLION if asked else "standard"


def after_a_sleep(ending: Ending, slept_s: float | None) -> Ending:
    """The ending, laid to this machine's sleep where nothing was heard since; `slept_s` is None where it did not sleep."""
    if slept_s is None or ending.mechanism not in _RESET_MEANS_SLEPT or ending.side is Side.GATEWAY:
        return ending
    evidence = {**ending.evidence, "slept_s": round(slept_s, 1), "underneath": ending.mechanism.value}
    return Ending(Side.MACHINE, Mechanism.SLEPT, ending.phase, ending.detail, evidence)
