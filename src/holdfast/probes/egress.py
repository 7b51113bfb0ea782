"""By which network, and near which city, does this machine leave for the internet?

No program can tell by itself: a NAT, a VPN or a company's gateway gives it another address outside. Somebody outside has to
say what he sees, so this is asked only of who agreed, and never among other questions. Of the answer the address is
dropped where it is read: what is kept names a network and a place.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from holdfast.flight.redact import safe
from holdfast.probes import document
from holdfast.probes.asking import UNKNOWN, Cost, Options, not_here
from holdfast.probes.net import NoConnection, Stop
from holdfast.probes.result import Finding, Grade, Result
from holdfast.probes.target import Target, is_address

NAME = "egress"
ASKS = "By which AS and near which city this machine leaves, as a service outside sees it (one GET, on your yes)."
SAYS = "Which network this machine's connection came from just now, and where that is thought to be."
DOES_NOT_SAY = (
    "Where this machine stands: such places are looked up by the address, and a VPN or a company's gateway has its own. Nor "
    "that the way to the upstream leaves by the same network."
)
SERVICE = "https://ipinfo.io/json"
"Answers without a key, with `org`, `city`, `region`, `country` (https://github.com/Calinou/ipinfo shows the fields)."
LONGEST = 80
_AS = re.compile(r"AS\s?([0-9]{1,10})\b\s*(.*)", re.IGNORECASE)
_OCTETS = re.compile(r"\d{1,3}(?:[.-]\d{1,3}){3}")
"An address in a name, as providers put it there."


def cost(target: Target, options: Options) -> Cost:
    return document.COST


def ask(target: Target, options: Options, stop: Stop) -> Finding:
    """`target` is the service."""
    try:
        said = document.fetch(target, target.prefix or "/", options, stop)
    except (NoConnection, document.NotRead) as error:
        if stop():
            return Finding(Grade.NOT_MEASURED, UNKNOWN, complete=False)
        return Finding(Grade.NOT_MEASURED, not_here(f"{target.authority} could not be read: {error}"))
    return verdict(target.host_header, said)


def verdict(service: str, said: Any) -> Finding:
    """Weigh an answer, by the names that such services have for it."""
    told = said if isinstance(said, dict) else {}
    own = {value for key in ("ip", "query", "address", "ip_addr") if isinstance(value := told.get(key), str)}
    number, name = _network(told)
    facts = {
        "service": service,
        "asn": number,
        "as_name": _word(name, own),
        "city": _first(told, ("city",), own),
        "region": _first(told, ("region", "regionName", "region_name"), own),
        "country": _first(
            told, ("country", "country_name", "country_iso", "country_code", "countryCode"), own
        ),
    }
    place = in_words(facts)
    if not place:
        return Finding(Grade.NOT_MEASURED, not_here(f"{service} names neither a network nor a place"))
    return Finding(Grade.FINE, f"this machine leaves by {place}, as {service} sees it", facts)


def in_words(facts: Mapping[str, Any]) -> str:
    """`AS64500 Example, City, Country`; empty where nothing is known."""
    network = " ".join(_word(facts.get(key)) or "" for key in ("asn", "as_name")).strip()
    known = [network or None, *(_word(facts.get(key)) for key in ("city", "country"))]
    return ", ".join(one for one in known if one)


def latest(results: Sequence[Result]) -> Result | None:
    """The newest answer that names something."""
    told = [one for one in results if one.name == NAME and in_words(one.facts)]
    return max(told, key=lambda one: one.begun_wall_ms, default=None)


def _network(told: Mapping[str, Any]) -> tuple[str | None, Any]:
    """`AS64500`, and what it is called."""
    asn = told.get("asn")
    own: Mapping[str, Any] = asn if isinstance(asn, dict) else {"asn": asn}
    # In a field of its own the number may stand alone; a firm's name may begin with a number that is none.
    numbers = [_lettered(own.get("asn")), _lettered(told.get("as_number")), told.get("as"), told.get("org")]
    found = [
        one
        for value in numbers
        if isinstance(value, str) and (one := _AS.fullmatch(value.strip())) and 0 < int(one[1]) < 1 << 32
    ]
    named = [told.get(key) for key in ("asn_org", "as_name", "asname")]
    names = [*named, own.get("name"), *(one[2] for one in found), told.get("org"), told.get("isp")]
    number = f"AS{int(found[0][1])}" if found else None
    return number, next((one for one in names if isinstance(one, str) and one.strip()), None)


def _lettered(value: Any) -> Any:
    plain = isinstance(value, int) or (isinstance(value, str) and value.strip().isdecimal())
    return f"AS{value}" if plain else value


def _first(told: Mapping[str, Any], keys: Sequence[str], own: Collection[str]) -> str | None:
    return next((word for key in keys if (word := _word(told.get(key), own))), None)


def _word(value: Any, own: Collection[str] = ()) -> str | None:
    """A name that bears no address; None for anything else."""
    if not isinstance(value, str) or not value.strip() or _OCTETS.search(value):
        return None
    if any(one and one in value for one in own) or any(
        is_address(one) for one in re.split(r"[\s,()\[\]]+", value)
    ):
        return None
    return safe(value.strip())[:LONGEST]
