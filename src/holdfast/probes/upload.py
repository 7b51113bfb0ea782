"""Does the path carry large requests, and what had to be sent again?"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.flight.flights import percent, size
from holdfast.probes import http
from holdfast.probes.asking import HANDSHAKE_BYTES, UNKNOWN, Cost, Options
from holdfast.probes.connect import worst
from holdfast.probes.handshake import first_address
from holdfast.probes.net import ENDED, Exchange, NoConnection, Stop, exchange, filler, reach
from holdfast.probes.result import Finding, Grade
from holdfast.probes.target import Target

NAME = "upload"
ASKS = "Whether requests of growing size arrive, how fast, and how much TCP had to send again (no key: refused unread)."
SAYS = (
    "Whether bodies of these sizes leave this machine and are acknowledged, and how much of them was lost on the way. "
    "A refusal (401, 404, 405) is the good end: the request was received."
)
DOES_NOT_SAY = (
    "That the API would take them: without a key the edge may refuse before the body arrives, and then the rest was "
    "never sent. Each size was tried once."
)
MUCH_LOSS = 0.02
"From a share of this size TCP slows down to be felt; below it is everyday loss on wireless links."

MERE_CHANCE = 2
"So many segments sent again are no loss that can be weighed, whatever their share."
SLOWEST_BYTES_S = 50_000
USUAL_BYTES_S = 200_000
"A slow uplink that still can be worked on."


@dataclass(frozen=True, slots=True)
class Rung:
    """One size."""

    size_bytes: int
    body_bytes: int
    "Handed to the kernel."
    status: int | None
    answered_s: float | None
    sent_s: float | None
    ended: str
    "How the connection ended before an answer; empty where one came."
    acknowledged_bytes: int | None
    retransmissions: int | None
    segments: int | None
    retransmitted_bytes: int | None

    @property
    def whole(self) -> bool:
        return self.sent_s is not None


def cost(target: Target, options: Options) -> Cost:
    total = sum(options.sizes_bytes)
    each = len(options.sizes_bytes) * HANDSHAKE_BYTES if target.tls else 0
    return Cost(len(options.sizes_bytes), total + each, len(options.sizes_bytes) + total / USUAL_BYTES_S)


def ask(target: Target, options: Options, stop: Stop) -> Finding:
    address = first_address(target, options, stop)
    rungs: list[Rung] = []
    for count in options.sizes_bytes:
        if stop():
            break
        try:
            wire = reach(target, address, options.patience_s, stop)
        except NoConnection as error:
            if not rungs:
                raise
            rungs.append(Rung(count, 0, None, None, None, f"no connection: {error}", None, None, None, None))
            break
        try:
            done = exchange(
                wire,
                http.upload(target, count),
                options.patience_s,
                stop,
                pieces=filler(count),
                go_on=True,
                most_s=most_s(count),
            )
        finally:
            wire.close()
        if done.stopped and done.answer is None:
            break
        rungs.append(rung(count, done))
    return verdict(rungs, options.sizes_bytes)


def most_s(count: int) -> float:
    """How long one size may take: a link that needs more cannot be worked on."""
    return 15 + count / SLOWEST_BYTES_S


def rung(count: int, done: Exchange) -> Rung:
    """What one upload came to."""
    ended = ""
    if done.too_slow:
        ended = f"not through after {done.took_s:.0f} s"
    elif done.answer is None:
        ended = done.not_http or ENDED.get(done.ended or "", "no answer")
    status = done.answer.status if done.answer is not None else None
    return Rung(
        count,
        done.body_bytes,
        status,
        done.answered_s,
        done.sent_s,
        ended,
        done.tcp.get("acked_bytes"),
        done.tcp.get("retransmissions"),
        done.tcp.get("data_segments"),
        done.tcp.get("retransmitted_bytes"),
    )


def verdict(rungs: list[Rung], wanted: tuple[int, ...] = ()) -> Finding:
    """Weigh the sizes."""
    facts: dict[str, object] = {
        "uploads": [
            {
                "size_bytes": one.size_bytes,
                "sent_bytes": one.body_bytes,
                "acked_bytes": one.acknowledged_bytes,
                "whole": one.whole,
                "status": one.status,
                "answered_s": one.answered_s,
                "sent_s": one.sent_s,
                "ended": one.ended or None,
                "retransmissions": one.retransmissions,
                "retransmitted_bytes": one.retransmitted_bytes,
                "segments": one.segments,
            }
            for one in rungs
        ]
    }
    complete = len(rungs) == len(wanted) or bool(rungs and rungs[-1].ended)
    if not rungs:
        return Finding(Grade.NOT_MEASURED, UNKNOWN, facts, False)
    broken = [one for one in rungs if one.ended]
    early = [one for one in rungs if not one.ended and not one.whole]
    good = [one for one in rungs if not one.ended and one.whole]
    grades, parts = [Grade.FINE], []
    if good:
        last = max(good, key=lambda one: one.size_bytes)
        parts.append(
            f"{len(good)} of {len(rungs)} uploads arrived whole, up to {size(last.size_bytes)} in {last.sent_s:.1f} s "
            f"(answered {', '.join(sorted({str(one.status) for one in good}))})"
        )
    if early:
        parts.append(
            f"{len(early)} answered before the body had been sent "
            f"({', '.join(sorted({str(one.status) for one in early}))}): of their size nothing is shown"
        )
        grades.append(Grade.NOTED)
    if broken:
        first = broken[0]
        parts.append(f"{size(first.size_bytes)} failed: {first.ended}, {size(first.body_bytes)} handed over")
        grades.append(Grade.SUSPECTED if good or early else Grade.BROKEN)
    again, segments = (
        sum(one.retransmissions or 0 for one in rungs),
        sum(one.segments or 0 for one in rungs),
    )
    if any(one.retransmissions is None for one in rungs):
        parts.append("what TCP sent again is not measured on this system")
    elif segments:
        share = again / segments
        what = f"{again} of {segments} segments again ({percent(share)})" if again else "nothing again"
        few = again <= MERE_CHANCE and share >= MUCH_LOSS
        parts.append(f"TCP sent {what}" + (", too few to tell a rate of loss" if few else ""))
        if share >= MUCH_LOSS:
            grades.append(Grade.FINE if few else Grade.SUSPECTED)
    return Finding(worst(grades), "; ".join(parts), facts, complete)
