"""Envoy: its default text format (Istio's longer one too), and the response flags in words.

The time is the request's start in UTC, to the millisecond. Flags say who ended it where somebody did; `-` is none.
Source: Envoy's access log documentation, response flags. JSON logs of Envoy are read by `jsonlog` with this table.
"""

from __future__ import annotations

import re

from holdfast.flight.endings import Mechanism, Side
from holdfast.records import times
from holdfast.records.sighting import (
    Sighting,
    detail,
    host_of,
    ids_of,
    method_of,
    path_of,
    span,
    status_of,
    whole,
)

Told = tuple[Side | None, Mechanism | None, str]

FLAGS: dict[str, Told] = {
    "DC": (Side.CLIENT, None, "its client ended the connection"),
    "DR": (Side.CLIENT, Mechanism.RST, "its client reset the stream"),
    "DPE": (Side.CLIENT, Mechanism.MALFORMED, "its client broke the protocol"),
    "UC": (Side.PROVIDER, None, "its upstream ended the connection"),
    "UR": (Side.PROVIDER, Mechanism.RST, "its upstream reset the stream"),
    "UF": (Side.PROVIDER, Mechanism.REFUSED, "its connection to upstream failed"),
    "UPE": (Side.PROVIDER, Mechanism.MALFORMED, "its upstream broke the protocol"),
    "UT": (Side.PATH, Mechanism.DEADLINE, "its own limit for the whole answer ran out (route timeout)"),
    "SI": (Side.PATH, Mechanism.DEADLINE, "its own limit for silence ran out (stream idle timeout)"),
    "DT": (Side.PATH, Mechanism.DEADLINE, "its own limit for the connection's age ran out"),
    "UMSDR": (Side.PATH, Mechanism.DEADLINE, "its own limit for a stream's age ran out"),
    "LR": (Side.PATH, Mechanism.RST, "it reset the connection itself"),
    "UO": (Side.PATH, Mechanism.CANCELLED, "its circuit breaker was open"),
    "UH": (Side.PATH, Mechanism.UNREACHABLE, "it held none of its upstreams for healthy"),
    "NR": (Side.PATH, Mechanism.UNREACHABLE, "it had no route for the request"),
    "NC": (Side.PATH, Mechanism.UNREACHABLE, "it had no such cluster"),
    "DF": (Side.PATH, Mechanism.DNS, "its upstream's name could not be resolved"),
    "OM": (Side.PATH, Mechanism.CANCELLED, "it was overloaded and ended it"),
    "DO": (Side.PATH, Mechanism.CANCELLED, "it was told to drop this part of its load"),
    "RL": (Side.PATH, Mechanism.HTTP_ERROR, "its rate limit was reached"),
    "RLSE": (Side.PATH, Mechanism.LOCAL_ERROR, "its rate limit service failed"),
    "FI": (Side.PATH, Mechanism.CANCELLED, "it broke it off on purpose (fault injection)"),
    "UAEX": (Side.PATH, Mechanism.HTTP_ERROR, "its authorization service denied it"),
    "IH": (Side.PATH, Mechanism.HTTP_ERROR, "a strictly checked header was invalid"),
    "NFCF": (Side.PATH, Mechanism.LOCAL_ERROR, "it had no filter configuration"),
    "LH": (Side.PATH, Mechanism.UNREACHABLE, "its own health check failed"),
    "URX": (None, None, "its retries were used up"),
    "DI": (None, None, "it delayed it on purpose (fault injection)"),
    "RFCF": (None, None, "a response came from a cache filter"),
}  # fmt: skip

_LONG = {
    "DownstreamConnectionTermination": "DC",
    "DownstreamRemoteReset": "DR",
    "DownstreamProtocolError": "DPE",
    "UpstreamConnectionTermination": "UC",
    "UpstreamRemoteReset": "UR",
    "UpstreamConnectionFailure": "UF",
    "UpstreamProtocolError": "UPE",
    "UpstreamRequestTimeout": "UT",
    "StreamIdleTimeout": "SI",
    "DurationTimeout": "DT",
    "LocalReset": "LR",
    "UpstreamOverflow": "UO",
    "NoHealthyUpstream": "UH",
    "NoRouteFound": "NR",
    "UpstreamRetryLimitExceeded": "URX",
    "UpstreamMaxStreamDurationReached": "UMSDR",
    "OverloadManagerTerminated": "OM",
    "DnsResolutionFailed": "DF",
}

_DEFAULT = re.compile(
    r"\[(?P<time>\d{4}-\d\d-\d\dT[\d:.,]+Z?)\] \"(?P<method>[A-Z]{3,10}|-) (?P<target>\S{1,8000}) (?P<proto>[^\"]{1,20})\" "
    r"(?P<status>\d{1,3}|-) (?P<flags>[A-Za-z,]+|-)(?P<rest> .*)"
)
_NUMBERS = re.compile(
    r" (?P<received>\d+|-) (?P<sent>\d+|-) (?P<took>\d+|-) (?P<service>\d+|-)(?= |$)(?P<tail>.*)"
)
_QUOTED = re.compile(r"\"([^\"]{0,300})\"")


def flags_told(flags: str, status: int | None) -> Told:
    """`UC,URX` in words; the first flag that names somebody counts."""
    said = [one for one in re.split(r"[,\s]+", flags) if one and one != "-"]
    known = [(one, FLAGS[_LONG.get(one, one)]) for one in said if _LONG.get(one, one) in FLAGS]
    if not said:
        if status == 0:
            return Side.CLIENT, None, "0: no answer was begun, so its client had left"
        if status is not None and status >= 400:
            return Side.NOBODY, Mechanism.HTTP_ERROR, f"answered {status}, no flag"
        return Side.NOBODY, Mechanism.COMPLETED, f"answered {status or '?'}, no flag: it ended in order"
    if not known:
        return None, None, f"a flag that is not known: {detail(flags, 40)}"
    first = next((one for one in known if one[1][0] is not None), known[0])
    shown = detail(",".join(one for one, _ in known), 60)
    return first[1][0], first[1][1], f"{shown}: " + ", ".join(words for _, (_, _, words) in known)


class Lines:
    """Lines of the default text format."""

    name = "Envoy"

    def line(self, text: str, number_: int) -> list[Sighting] | None:
        """One line; None where it is not of this format."""
        found = _DEFAULT.match(text[:9000])
        stamp = found and times.iso(found["time"])
        if not found or not stamp:
            return None
        status = int(found["status"]) if found["status"].isdigit() else None
        numbers = _NUMBERS.search(found["rest"])
        took = whole(numbers["took"]) if numbers else None
        quoted = _QUOTED.findall(numbers["tail"]) if numbers else []
        side, mechanism, says = flags_told(found["flags"], status)
        if status and found["flags"] != "-":
            says = f"{status}, {says}"
        when = span(stamp.at_s, None, took / 1000 if took is not None else None)
        return [
            Sighting(
                program=self.name,
                line=number_,
                says=says,
                began_s=when.began_s,
                ended_s=when.ended_s,
                took_s=when.took_s,
                precision_s=stamp.precision_s,
                zone_known=True,
                method=method_of(found["method"]),
                path=path_of(found["target"]),
                host=host_of(quoted[3]) if len(quoted) > 3 else "",
                status=status_of(status),
                ids=ids_of(" ".join(quoted)),
                sent_bytes=whole(numbers["sent"]) if numbers else None,
                received_bytes=whole(numbers["received"]) if numbers else None,
                side=side,
                mechanism=mechanism,
            )
        ]

    def end(self) -> list[Sighting]:
        """Nothing is kept from line to line."""
        return []
