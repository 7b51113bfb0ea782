"""Do full-sized packets get through?

A path that loses large packets without a word is a trap: connections open, small questions are answered, and an upload
hangs. So the same few kilobytes are sent twice, in segments of 536 bytes and in the largest that both ends agreed on.
Where the small ones arrive and the large ones do not, the largest that does is looked for by halving.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.probes import http
from holdfast.probes.asking import UNKNOWN, Cost, Options, not_here
from holdfast.probes.handshake import first_address
from holdfast.probes.net import (
    LINUX,
    Address,
    NoConnection,
    Stop,
    all_acknowledged,
    filler,
    now_s,
    path_mtu,
    pump,
    reach,
)
from holdfast.probes.result import Finding, Grade
from holdfast.probes.target import Target

NAME = "mtu"
ASKS = "Whether full-sized packets get through, and the largest that the path is believed to take."
SAYS = "Whether segments of full size that this machine sends are acknowledged, and the kernel's estimate of the path."
DOES_NOT_SAY = (
    "The same for large packets of the answer, unless the handshake itself hung on them. Paths change."
)
SMALL = 536
BODY_BYTES = 12_000
STEPS = 6


@dataclass(frozen=True, slots=True)
class Try:
    """The same bytes in segments of at most one size."""

    asked_bytes: int | None
    "What the segment size was limited to; None for no limit of ours."
    mss_bytes: int | None
    mtu_bytes: int | None
    arrived: bool | None
    "Whether all was acknowledged in time; None where that cannot be told."
    failed_in: str = ""
    retransmissions: int = 0
    waited_s: float = 0.0


def cost(target: Target, options: Options) -> Cost:
    return Cost(2 + STEPS, 4 * (BODY_BYTES + 8000), 2.0)


def ask(target: Target, options: Options, stop: Stop) -> Finding:
    if not LINUX:
        return Finding(Grade.NOT_MEASURED, not_here("what TCP acknowledged can be asked on Linux only"))
    address = first_address(target, options, stop)
    patience = min(options.patience_s, 5.0)
    tries = [_tried(target, address, SMALL, patience, stop), _tried(target, address, None, patience, stop)]
    small, full = tries
    if small.arrived and full.arrived is False and not stop():
        low, high = SMALL, (full.mss_bytes or 1460)
        for _ in range(STEPS):
            if high - low <= 16 or stop():
                break
            middle = (low + high) // 2
            tries.append(_tried(target, address, middle, patience, stop))
            low, high = (middle, high) if tries[-1].arrived else (low, middle)
    return verdict(tries, stopped=stop())


def _tried(target: Target, address: Address, mss: int | None, patience_s: float, stop: Stop) -> Try:
    began = now_s()
    try:
        wire = reach(target, address, patience_s, stop, mss=mss)
    except NoConnection as error:
        if error.phase == "connect" or error.kind not in ("timeout", "reset", "closed"):
            raise
        return Try(mss, None, None, False if error.kind == "timeout" else None, error.phase, 0, error.took_s)
    try:
        wire.write(http.upload(target, BODY_BYTES))
        for piece in filler(BODY_BYTES):
            wire.write(piece)
        pump([wire], patience_s, stop, lambda: not wire.queued and bool(all_acknowledged(wire.facts())))
        facts = wire.facts()
        arrived = True if wire.received or (not wire.queued and all_acknowledged(facts)) else None
        if arrived is None and not stop() and wire.ended in (None, "timeout"):
            arrived = False
        return Try(
            mss,
            facts.get("mss_bytes"),
            path_mtu(wire.sock, address.family),
            arrived,
            "" if arrived else "upload",
            int(facts.get("retransmissions") or 0),
            now_s() - began,
        )
    finally:
        wire.close()


def verdict(tries: list[Try], *, stopped: bool = False) -> Finding:
    """Weigh them: the first two are the small and the full size, the others what was looked for between."""
    small, full = tries[0], tries[1]
    good = [one.mss_bytes or one.asked_bytes or 0 for one in tries if one.arrived]
    facts: dict[str, object] = {
        "path_mtu_bytes": full.mtu_bytes,
        "segment_bytes": full.mss_bytes,
        "largest_acknowledged_bytes": max(good, default=None),
        "tries": [
            {
                "limited_to_bytes": one.asked_bytes,
                "segment_bytes": one.mss_bytes,
                "acknowledged": one.arrived,
                "hung_in": one.failed_in or None,
                "retransmissions": one.retransmissions,
            }
            for one in tries
        ],
    }
    if stopped and full.arrived is None:
        return Finding(Grade.NOT_MEASURED, UNKNOWN, facts, False)
    if full.arrived:
        mtu = (
            f"the kernel takes the path for {full.mtu_bytes} bytes"
            if full.mtu_bytes
            else "no estimate of the path"
        )
        text = f"segments of {full.mss_bytes} bytes were acknowledged; {mtu}"
        if full.retransmissions:
            text += f", after {full.retransmissions} retransmissions"
        return Finding(Grade.NOTED if full.retransmissions else Grade.FINE, text, facts)
    if small.arrived and full.arrived is False:
        where = "the TLS handshake hung" if full.failed_in == "tls" else "nothing of it was acknowledged"
        text = (
            f"segments of {small.mss_bytes} bytes get through and those of {full.mss_bytes or 'full size'} do not "
            f"({where} for {full.waited_s:.0f} s): large packets vanish; the largest that got through has "
            f"{max(good)} bytes"
        )
        return Finding(Grade.BROKEN, text, facts, not stopped)
    if small.arrived is False and full.arrived is False:
        text = "neither small nor full segments were acknowledged in time: this is no question of their size"
        return Finding(Grade.BROKEN, text, facts)
    return Finding(
        Grade.NOT_MEASURED, "not measured here because the server ended the connections before it told", facts
    )
