"""What all questions have in common: how much they may take, what they will cost, and how they are carried out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from holdfast.flight import instant
from holdfast.probes.net import NOT_TLS, NoConnection, Stop, now_s
from holdfast.probes.result import Finding, Grade, Result
from holdfast.probes.target import Target

HANDSHAKE_BYTES = 8_000
"Of a TLS handshake, both ways: a certificate chain is the most of it."

GRACE_S = 10.0
"""Beyond what the questions are told to take, once for all of them: so long one answer may keep us waiting. What is not
known by then is cut, for a promised time is a promise."""
UNKNOWN = "interrupted before anything was known"
SLEPT_S = 1.0
"Clocks drift apart by less."
HOLDS_S = (15.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 240.0, 300.0, 360.0, 450.0, 600.0, 750.0, 900.0)
"""How long connections are left idle: on both sides of the limits that are met most often (60 s proxies, 240 to 300 s
carriers' NATs, 350 s cloud balancers, 400 s edges, 600 s)."""
LADDER_BYTES = (10_000, 100_000, 500_000, 1_000_000, 2_000_000, 5_000_000)
"Sizes of uploads: a question, a session of an hour, one of a day with images."


@dataclass(frozen=True, slots=True)
class Options:
    """How much a probe may take. The defaults are polite; tests make them short."""

    rounds: int | None = None
    "How often connect, handshake, ping and resolve try; None for each one's own number."
    every_s: float = 0.5
    "Between two tries."
    patience_s: float = 10.0
    "For an answer, before it counts as none."
    holds_s: tuple[float, ...] = HOLDS_S
    keepalive_s: int = 15
    "TCP's own probes on half of the idle connections, in seconds."
    sizes_bytes: tuple[int, ...] = LADDER_BYTES[:3]
    trickle_s: float = 45.0
    piece_every_s: float = 1.0
    "Between two bytes of the trickle."
    resolvers: tuple[tuple[str, int], ...] | None = None
    "Asked instead of the configured ones: address and port."
    also_resolvers: tuple[tuple[str, int], ...] = ()
    "Asked besides them."
    page: Target | None = None
    "The status page that is asked; None where none is known."
    hops: int = 30
    hop_patience_s: float = 1.0
    networks: bool = False
    "Whether the AS of public hops is asked for, which tells a service of somebody else's their addresses."
    root: Path = field(default_factory=lambda: Path("/"))
    "Where /proc and /sys are read."


@dataclass(frozen=True, slots=True)
class Cost:
    """What a question will take at most, told before it is asked."""

    connections: int = 0
    bytes: int = 0
    seconds: float = 0.0


class Question(Protocol):
    """A module of this room that asks one question."""

    @property
    def NAME(self) -> str: ...
    @property
    def ASKS(self) -> str: ...
    @property
    def SAYS(self) -> str: ...
    @property
    def DOES_NOT_SAY(self) -> str: ...
    @property
    def cost(self) -> Callable[[Target, Options], Cost]: ...
    @property
    def ask(self) -> Callable[[Target, Options, Stop], Finding]: ...


def carry_out(
    question: Question, target: Target, options: Options, stop: Stop, until_s: float = math.inf
) -> Result:
    """Ask, and label what came with place and time. A question that cannot be asked is an answer, not an error.

    It is ended at `until_s` on the monotonic clock with what is known by then, and the result says so.
    """
    began, slept_before_s = instant.now(), instant.suspended_s()
    cut = False

    def over() -> bool:
        nonlocal cut
        cut = cut or now_s() >= until_s
        return cut or stop()

    try:
        finding = question.ask(target, options, over)
    except NoConnection as error:
        finding = unreachable(error)
    except OSError as error:
        finding = Finding(Grade.NOT_MEASURED, not_here(f"{error.strerror or error}"))
    ended, slept_after_s = instant.now(), instant.suspended_s()
    slept_s = None if slept_before_s is None or slept_after_s is None else slept_after_s - slept_before_s
    stopped = stop()
    cut_s = ended.mono_s - began.mono_s if cut and not stopped else None
    return labelled(question, target, finding, began, ended, slept_s, stopped=stopped, cut_s=cut_s)


def labelled(
    question: Question,
    target: Target,
    finding: Finding,
    began: instant.Instant,
    ended: instant.Instant,
    slept_s: float | None,
    *,
    stopped: bool,
    cut_s: float | None = None,
) -> Result:
    """A finding with its place and time; `slept_s` is how long this machine slept meanwhile, None where not known.

    `cut_s` is after how long it was cut because the promised time was over; None where it was not.
    """
    verdict, facts, limits = finding.verdict, dict(finding.facts), question.DOES_NOT_SAY
    if cut_s is not None:
        known = f"nothing was known after {cut_s:.1f} s" if verdict == UNKNOWN else verdict
        verdict = f"{known}; cut there, as the promised time was over"
        facts["cut_s"] = round(cut_s, 3)
    slept = slept_s is not None and slept_s > SLEPT_S
    if slept:
        verdict += f"; this machine slept {slept_s:.0f} s meanwhile, so no time here can be trusted"
        facts["slept_s"] = slept_s
    if target.proxy is not None:
        limits += " What TCP does behind the proxy is not seen from here."
    return Result(
        question.NAME,
        target.name,
        began.wall_ms,
        ended.mono_s - began.mono_s,
        finding.grade,
        verdict,
        question.SAYS if finding.says is None else finding.says.format(target=target.typed),
        limits,
        facts,
        finding.complete and not stopped and not slept and cut_s is None,
    )


def not_here(because: str) -> str:
    """The sentence of what this machine does not let us ask."""
    return f"not measured here because {because}"


def unreachable(error: NoConnection) -> Finding:
    """No connection, so no answer to the question itself."""
    if error.kind == "stopped":
        return Finding(Grade.NOT_MEASURED, UNKNOWN, complete=False)
    where = {"connect": "TCP did not connect", "proxy": "the proxy gave no way", "tls": "TLS failed"}[
        error.phase
    ]
    facts = {"failed_in": error.phase, "failed_as": error.kind, "after_s": error.took_s}
    if error.kind == NOT_TLS:  # the address was written so, and nothing is broken
        return Finding(Grade.NOT_MEASURED, str(error), facts)
    return Finding(Grade.BROKEN, f"{where} after {error.took_s:.1f} s: {error}", facts)
