"""To which network (AS) an address belongs: asked of Team Cymru's DNS, by the resolver that is configured.

`7.2.0.192.origin.asn.cymru.com` for 192.0.2.7 has a TXT record such as `64500 | 192.0.2.0/24 | US | arin | 2010-01-01`;
several numbers where several networks announce it, and a record for each prefix. IPv6 goes by nibbles, under `origin6`.
Source: https://team-cymru.com/community-services/ip-asn-mapping, which asks programs to use its DNS. Whoever asks tells
its resolver and that service the addresses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from holdfast.probes import lookup
from holdfast.probes.net import Stop

ZONE, ZONE6 = "origin.asn.cymru.com", "origin6.asn.cymru.com"
MOST_ORIGINS = 3
"Of one prefix; more is an accident of routing."


def of(ips: Sequence[str], resolver: tuple[str, int], patience_s: float, stop: Stop) -> dict[str, str]:
    """Address -> `AS64500`; an address of which nothing is told is not in it."""
    asked = list(dict.fromkeys(ips))
    answers = lookup.ask_all(resolver, [(name_of(ip), "TXT") for ip in asked], patience_s, stop)
    told = {
        ip: read(one.reply.values) for ip, one in zip(asked, answers, strict=True) if one.reply is not None
    }
    return {ip: network for ip, network in told.items() if network is not None}


def name_of(ip: str) -> str:
    """The name that is asked for an address. Raises `ValueError` for what is none."""
    address = ipaddress.ip_address(ip)
    labels, _, _ = address.reverse_pointer.rpartition(".ip6" if address.version == 6 else ".in-addr")
    return f"{labels}.{ZONE6 if address.version == 6 else ZONE}"


def read(texts: Sequence[str]) -> str | None:
    """`AS64500`, or `AS64500 AS64501` where both announce it, by the narrowest prefix; None where no record tells."""
    found: list[tuple[int, str]] = []
    for text in texts:
        numbers, _, rest = text.partition("|")
        try:
            narrow = ipaddress.ip_network(rest.partition("|")[0].strip()).prefixlen
        except ValueError:
            continue
        known = [
            one for one in numbers.split() if one.isascii() and one.isdigit() and 0 < int(one[:11]) < 1 << 32
        ]
        if known:
            found.append((narrow, " ".join(f"AS{int(one)}" for one in known[:MOST_ORIGINS])))
    return max(found)[1] if found else None
