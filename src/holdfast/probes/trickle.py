"""Does a slow request get through: one byte each second?"""

from __future__ import annotations

from holdfast.probes import http
from holdfast.probes.asking import HANDSHAKE_BYTES, Cost, Options
from holdfast.probes.handshake import first_address
from holdfast.probes.net import ENDED, Exchange, Stop, exchange, reach
from holdfast.probes.result import Finding, Grade
from holdfast.probes.target import Target

NAME = "trickle"
ASKS = "Whether a slow upload survives: one byte per second, for as long as you like (no key)."
SAYS = "That a request which takes its time is let through by everything on the way, or when and how it was ended."
DOES_NOT_SAY = (
    "Anything about slow answers, the other direction. A path that takes one byte each second may still drop one that is "
    "silent for a minute (that is idle). One try."
)


def _count(options: Options) -> int:
    return max(round(options.trickle_s / options.piece_every_s), 1)


def cost(target: Target, options: Options) -> Cost:
    return Cost(1, HANDSHAKE_BYTES + 100 * _count(options), options.trickle_s + 1)


def ask(target: Target, options: Options, stop: Stop) -> Finding:
    count = _count(options)
    wire = reach(target, first_address(target, options, stop), options.patience_s, stop)
    try:
        done = exchange(
            wire,
            http.upload(target, count),
            options.patience_s,
            stop,
            pieces=(b" " for _ in range(count)),
            every_s=options.piece_every_s,
            go_on=True,
        )
    finally:
        wire.close()
    return verdict(done, count)


AT_ONCE_S = 2.0
"What ends sooner ends any request: holdfast probe edge asks a quick one."


def verdict(done: Exchange, count: int) -> Finding:
    """Weigh it; `count` is how many bytes were to be sent."""
    facts: dict[str, object] = {
        "bytes": count,
        "sent_bytes": done.body_bytes,
        "sent_s": done.sent_s,
        "status": done.answer.status if done.answer is not None else None,
        "answered_s": done.answered_s,
        "ended": done.ended,
        "ended_s": done.ended_s,
        "retransmissions": done.tcp.get("retransmissions"),
    }
    whole = done.sent_s is not None
    if done.not_http:
        return Finding(Grade.BROKEN, f"{done.not_http}, after {done.body_bytes} bytes", facts)
    if done.stopped and not whole:
        text = f"interrupted after {done.took_s:.0f} s; until then {done.body_bytes} of {count} bytes went out unharmed"
        return Finding(Grade.NOT_MEASURED, text, facts, False)
    answered = f"answered {done.answer.status}" if done.answer is not None else ""
    if whole and done.sent_s is not None:
        if done.answer is not None:
            early = done.answered_s is not None and done.answered_s < done.sent_s - 1
            when = f" already after {done.answered_s:.0f} s" if early else ""
            text = f"{count} bytes in {done.sent_s:.0f} s were let through, {answered}{when}"
            return Finding(Grade.FINE, text, facts)
        how = ENDED.get(done.ended or "", "and no answer came")
        return Finding(
            Grade.SUSPECTED, f"all {count} bytes went out in {done.sent_s:.0f} s, then: {how}", facts
        )
    how = ENDED.get(done.ended or "", "stuck")
    at = done.ended_s if done.ended_s is not None else done.took_s
    if done.answer is not None:
        text = f"{answered} and {how} after {at:.0f} s, before all was sent: the server did not wait for it"
        # 408 says in words that it was too slow for somebody; another answer needs no body to be refused.
        return Finding(Grade.SUSPECTED if done.answer.status == 408 else Grade.NOTED, text, facts)
    if at < AT_ONCE_S:
        text = f"{how} at once, after {done.body_bytes} of {count} bytes: nothing was slow yet, so that is no limit on it"
        return Finding(Grade.BROKEN, text, facts)
    return Finding(
        Grade.SUSPECTED,
        f"{how} after {at:.0f} s and {done.body_bytes} of {count} bytes: a slow request is cut",
        facts,
    )
