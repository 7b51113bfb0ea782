"""Which hops does the way have, and is a carrier's NAT among them?"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping, Sequence

from holdfast.probes import icmp, lookup, networks
from holdfast.probes.asking import Cost, Options, not_here
from holdfast.probes.handshake import first_address
from holdfast.probes.icmp import Hop
from holdfast.probes.net import Stop
from holdfast.probes.result import Finding, Grade, ms, those
from holdfast.probes.target import Target

NAME = "path"
ASKS = "The routers on the way (UDP with rising TTL, no root), and a carrier's NAT (100.64/10) among them."
SAYS = (
    "Which routers own up to stand on the way of a datagram, and that one of them belongs to a carrier's NAT."
)
DOES_NOT_SAY = (
    "That there is no NAT where none is seen: routers may keep silent, and the way back is another. That a NAT is there "
    "does not make it forget: ask idle. TCP may be led differently."
)
CARRIERS = ipaddress.ip_network("100.64.0.0/10")
"Shared between carriers and their customers (RFC 6598)."
SILENT_HOPS = 6
"After so many silent ones in a row it is given up: the goal, or a firewall before it, answers no datagrams."

AS_PATIENCE_S = 2.0
"For the AS of the hops, each."


def cost(target: Target, options: Options) -> Cost:
    hops = Cost(bytes=options.hops * 100, seconds=SILENT_HOPS * options.hop_patience_s + 3)
    if not options.networks:
        return hops
    rounds = math.ceil(options.hops / lookup.AT_ONCE)
    return Cost(bytes=hops.bytes + options.hops * 400, seconds=hops.seconds + rounds * AS_PATIENCE_S)


def ask(target: Target, options: Options, stop: Stop) -> Finding:
    if not icmp.LINUX:
        return Finding(
            Grade.NOT_MEASURED,
            not_here("this system does not tell ordinary programs who complained (Linux does)"),
        )
    ip = first_address(target, options, stop, connects=False).ip
    hops: list[Hop] = []
    for ttl in range(1, options.hops + 1):
        if stop():
            break
        try:
            hops.append(icmp.hop(ip, ttl, options.hop_patience_s, stop))
        except OSError as error:
            return Finding(Grade.NOT_MEASURED, not_here(f"datagrams cannot be sent there: {error.strerror}"))
        silent = len(hops) >= SILENT_HOPS and all(one.ip is None for one in hops[-SILENT_HOPS:])
        if hops[-1].reached or silent:
            break
    known = _networks(hops, options, stop) if options.networks else None
    return verdict(ip, hops, known, stopped=stop())


def _networks(hops: Sequence[Hop], options: Options, stop: Stop) -> dict[str, str]:
    """The AS of each public hop, as far as it is told."""
    configured = [(one, 53) for one in lookup.resolvers()] if options.resolvers is None else options.resolvers
    public = [one.ip for one in hops if one.ip is not None and kind_of(one.ip) == "public"]
    if not configured or not public:
        return {}
    return networks.of(public, configured[0], min(options.patience_s, AS_PATIENCE_S), stop)


def verdict(
    ip: str, hops: Sequence[Hop], known: Mapping[str, str] | None = None, *, stopped: bool = False
) -> Finding:
    """Weigh the hops; `known` is the AS of public ones, None where that was not asked."""
    rows = [
        {
            "ttl": one.ttl,
            "address": one.ip,
            "ms": ms(one.took_s),
            "kind": kind_of(one.ip),
            "goal": one.reached,
            **({} if known is None else {"as": known.get(one.ip or "")}),
        }
        for one in hops
    ]
    carrier = [one for one in hops if kind_of(one.ip) == "carrier NAT"]
    private = [one for one in hops if kind_of(one.ip) == "private" and not one.reached]
    reached = bool(hops and hops[-1].reached)
    facts = {
        "goal": ip,
        "reached": reached,
        "hops": rows,
        "carrier_nat_hops": [one.ttl for one in carrier],
        "private_hops": [one.ttl for one in private],
    }
    seen = [one for one in hops if one.ip is not None]
    if not seen:
        why = "interrupted" if stopped else f"no router of the first {len(hops)} complained about a datagram"
        return Finding(Grade.NOT_MEASURED, f"{not_here(why)}", facts, not stopped)
    if reached:
        text = f"{ip} is {hops[-1].ttl} hop{'s' if hops[-1].ttl > 1 else ''} away, {len(seen)} of {len(hops)} answered"
    else:
        text = f"{len(seen)} of {len(hops)} hops answered, the last is {seen[-1].ip} ({seen[-1].ttl}); the goal did not"
    if known is not None:
        way = list(dict.fromkeys(network for one in seen if (network := known.get(one.ip or ""))))
        text += f"; through {', then '.join(way)}" if way else "; of no hop an AS was told"
    if carrier:
        where = those([f"{one.ip} ({one.ttl})" for one in carrier])
        text += (
            f"; a carrier's NAT stands on the way: {where}. Such boxes forget silent connections: ask idle"
        )
        return Finding(Grade.NOTED, text, facts, not stopped)
    # One private hop is the router at home; a second one can be a NAT behind a NAT, or just an office.
    if len(private) > 1 and kind_of(ip) == "public":
        text += f"; {len(private)} private hops, perhaps NAT behind NAT"
        return Finding(Grade.NOTED, text, facts, not stopped)
    return Finding(Grade.FINE, text, facts, not stopped)


def kind_of(ip: str | None) -> str | None:
    """`carrier NAT`, `private`, `public`, or None of nobody."""
    if ip is None:
        return None
    address = ipaddress.ip_address(ip)
    if address.version == 4 and address in CARRIERS:
        return "carrier NAT"
    return "private" if address.is_private or address.is_link_local else "public"
