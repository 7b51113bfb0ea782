"""Which machine answers there, by its own headers?"""

from __future__ import annotations

from holdfast.probes import http
from holdfast.probes.asking import HANDSHAKE_BYTES, Cost, Options
from holdfast.probes.handshake import first_address
from holdfast.probes.net import ENDED, Exchange, Stop, exchange, reach
from holdfast.probes.result import Finding, Grade, ms
from holdfast.probes.target import Target

NAME = "edge"
ASKS = "Which edge answers: status, server, cf-ray and its place, request id (one HEAD, no key)."
SAYS = "Who answers a stranger at this address, and from where, by its own headers."
DOES_NOT_SAY = "That a turn's request meets the same machine, nor how what stands behind the edge is."
TOLD = (
    "server",
    "via",
    "cf-ray",
    "request-id",
    "x-request-id",
    "x-amz-cf-id",
    "x-azure-ref",
    "cf-cache-status",
    "alt-svc",
)


def cost(target: Target, options: Options) -> Cost:
    return Cost(1, HANDSHAKE_BYTES, 1.0)


def ask(target: Target, options: Options, stop: Stop) -> Finding:
    wire = reach(target, first_address(target, options, stop), options.patience_s, stop)
    try:
        path = target.prefix + "/"
        done = exchange(wire, http.question(target, path=path), options.patience_s, stop)
        return verdict(done, wire.opened.address)
    finally:
        wire.close()


def verdict(done: Exchange, address: str) -> Finding:
    """Weigh what came."""
    facts: dict[str, object] = {"address": address, "answered_ms": ms(done.answered_s)}
    if done.not_http:
        return Finding(Grade.BROKEN, f"{address} answered, but {done.not_http}", facts)
    if done.answer is None:
        how = ENDED.get(done.ended or "", f"nothing came within {done.took_s:.0f} s")
        return Finding(
            Grade.NOT_MEASURED if done.stopped else Grade.BROKEN,
            f"no answer to HEAD: {how}",
            facts,
            not done.stopped,
        )
    said = {name: done.answer.get(name) for name in TOLD if done.answer.get(name)}
    at = http.place(done.answer)
    facts |= {"status": done.answer.status, "place": at, "headers": said}
    who = said.get("server") or "a server without a name"
    text = f"{who}{f' at {at}' if at else ''} answered HEAD with {done.answer.status} in {ms(done.answered_s):.0f} ms"
    identity = (
        said.get("cf-ray") or said.get("request-id") or said.get("x-request-id") or said.get("x-amz-cf-id")
    )
    if identity:
        text += f" (id {identity})"
    if done.answer.status >= 500:
        return Finding(Grade.SUSPECTED, f"{text}: it has trouble of its own now", facts)
    return Finding(Grade.FINE, text, facts)
