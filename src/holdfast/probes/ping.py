"""Do small packets come back, and how evenly?"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.probes import icmp
from holdfast.probes.asking import UNKNOWN, Cost, Options
from holdfast.probes.connect import SYN_AGAIN_S
from holdfast.probes.handshake import first_address
from holdfast.probes.net import NoConnection, Stop, connect, pause
from holdfast.probes.result import Finding, Grade, among, excluded, middle, ms
from holdfast.probes.target import Target

NAME = "ping"
ASKS = "Loss and round trips of small packets: ICMP where this user may, else TCP greetings."
SAYS = "Loss and delay between this machine and the nearest end (an edge, or the proxy), over a few seconds."
DOES_NOT_SAY = (
    "How large packets or long connections fare. Many networks answer ICMP late or not at all though they carry TCP well; "
    "short outages are missed by chance."
)
ROUNDS = 10
SPREAD_S = 0.1
"Between the middle and the slowest: from there on it is felt as stutter, as on a busy wireless link."


def cost(target: Target, options: Options) -> Cost:
    rounds = options.rounds or ROUNDS
    return Cost(rounds, rounds * 400, rounds * options.every_s)


def ask(target: Target, options: Options, stop: Stop) -> Finding:
    address = first_address(target, options, stop, connects=False)
    by_icmp = icmp.may_echo(address.ip)
    patience = min(options.patience_s, 3.0)
    times: list[float | None] = []
    errors: list[str] = []
    for number in range(options.rounds or ROUNDS):
        if number:
            pause(options.every_s, stop)
        if stop():
            break
        if by_icmp:
            try:
                took = icmp.echo(address.ip, number, patience, stop)
            except OSError as error:
                took, text = None, error.strerror or "error"
                errors.append(text)
            if took is None and stop():
                break
            times.append(took)
            continue
        try:
            wire = connect(address, patience, stop)
        except NoConnection as error:
            if error.kind == "stopped":
                break
            errors.append(str(error))
            # A refusal has made the way there and back as well.
            times.append(error.took_s if error.kind == "refused" else None)
        else:
            wire.close()
            times.append(wire.opened.connect_s)
    return verdict(times, "ICMP" if by_icmp else "TCP", address.ip, errors)


def verdict(times: Sequence[float | None], by: str, ip: str, errors: Sequence[str]) -> Finding:
    """Weigh round trips in seconds; None for one that did not come back."""
    if not times:
        return Finding(Grade.NOT_MEASURED, UNKNOWN, complete=False)
    came = [one for one in times if one is not None]
    # The kernel repeats a TCP greeting after 1 s: the packet was lost, though the connection came.
    late = [one for one in came if by == "TCP" and one > SYN_AGAIN_S]
    lost = len(times) - len(came) + len(late)
    good = [one for one in came if one not in late]
    facts = {
        "by": by,
        "address": ip,
        "sent": len(times),
        "lost": lost,
        "ms": [ms(one) for one in times],
        "errors": sorted(set(errors)),
    }
    text = f"{len(times) - lost} of {len(times)} came back by {by}"
    if good:
        text += f" in {among(good)}"
    text += f"; that {excluded(lost, len(times))}"
    if lost == len(times):
        return Finding(Grade.NOTED if by == "ICMP" else Grade.BROKEN, text, facts)
    half = middle(good) or 0.0
    if lost:
        return Finding(Grade.SUSPECTED, f"{text}: packets get lost", facts)
    if good and max(good) - half > SPREAD_S:
        return Finding(Grade.NOTED, f"{text}: uneven", facts)
    return Finding(Grade.FINE, text, facts)
