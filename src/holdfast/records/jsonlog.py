"""Access logs as JSON, one object per line: Caddy, Traefik, Envoy, nginx, pino and whoever names fields alike.

Names are looked up in a table, without their case, `-` and `_`; nested objects are looked into three levels deep
(`request.uri`, `res.statusCode`). What a field means by its unit is in the table too. Bodies and headers are passed by.
"""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.flight.endings import Mechanism, Side
from holdfast.records import envoy, haproxy, phrases, times
from holdfast.records.nginx import status_told
from holdfast.records.sighting import (
    Sighting,
    Vantage,
    detail,
    host_of,
    ids_of,
    method_of,
    number,
    path_of,
    span,
    status_of,
    whole,
)

LONGEST_LINE = 1_000_000
_DEEPEST = 3

_BEGAN = (
    "starttime",
    "startutc",
    "startedat",
    "requeststart",
    "startlocal",
    "timestart",
    "requesttimestamp",
    "began",
)
_ENDED = ("endtime", "endedat", "timeiso8601", "timelocal", "finishedat", "msec", "completedat")
_WRITTEN = ("ts", "time", "timestamp", "@timestamp", "datetime", "date", "asctime", "eventtime", "t")
"When the line was written: the end of the request, where the program does not say otherwise."
_METHOD = ("requestmethod", "method", "httpmethod", "verb", "reqmethod")
_PATH = (
    "requestpath",
    "path",
    "uri",
    "requesturi",
    "url",
    "httppath",
    "originalpath",
    "requrl",
    "xenvoyoriginalpath",
)
_HOST = ("requesthost", "authority", "host", "httphost", "servername", "vhost", "requestaddr")
_STATUS = (
    "downstreamstatus",
    "status",
    "responsecode",
    "statuscode",
    "httpstatus",
    "responsestatus",
    "resstatuscode",
)
_SENT = (
    "downstreamcontentsize",
    "bytessent",
    "size",
    "bodybytessent",
    "responsesize",
    "bytesout",
    "sentbytes",
)
_RECEIVED = ("requestcontentsize", "bytesreceived", "bytesread", "requestlength", "bytesin", "requestsize")
_TOOK: dict[str, float] = {
    "requesttime": 1.0, "elapsedseconds": 1.0, "durations": 1.0, "latencys": 1.0, "took": 1.0,
    "responsetime": 1e-3, "durationms": 1e-3, "elapsedms": 1e-3, "latencyms": 1e-3, "tookms": 1e-3, "elapsed": 1e-3,
    "durationns": 1e-9,
}  # fmt: skip
"Seconds per unit. `duration` alone differs by program: see `_took`."
_TERMINATION = ("terminationstate",)
_FLAGS = ("responseflags", "responseflagslong")
_SAYS = ("error", "err", "exception", "msg", "message", "event", "reason", "responsecodedetails")
_SECRET_BRANCHES = {
    "headers",
    "respheaders",
    "reqheaders",
    "cookies",
    "body",
    "requestheaders",
    "responseheaders",
}

Flat = dict[str, Any]


def flat(value: dict[str, Any]) -> Flat:
    """Leaves by their bare name (the outermost wins) and, where nested, with the branch's name: `resstatuscode`."""
    found: Flat = {}
    level: list[tuple[str, dict[str, Any]]] = [("", value)]
    for _ in range(_DEEPEST):
        deeper: list[tuple[str, dict[str, Any]]] = []
        for above, branch in level:
            for name, leaf in list(branch.items())[:200]:
                bare = name[:60].lower().replace("_", "").replace("-", "").replace(".", "")
                if isinstance(leaf, dict):
                    if bare not in _SECRET_BRANCHES:
                        deeper.append((bare, leaf))
                elif leaf is not None and not isinstance(leaf, list):
                    found.setdefault(bare, leaf)
                    if above:
                        found.setdefault(above + bare, leaf)
        level = deeper[:50]
    return found


def _pick(found: Flat, names: tuple[str, ...]) -> Any:
    return next((found[name] for name in names if name in found and found[name] not in ("", "-")), None)


def _program(found: Flat) -> str:
    if "downstreamstatus" in found or "originduration" in found:
        return "Traefik"
    if str(found.get("logger", "")).startswith(("http.", "tls.")):
        return "Caddy"
    if "responseflags" in found:
        return "Envoy"
    if _pick(found, _TERMINATION):
        return "HAProxy"
    if "bodybytessent" in found or "upstreamresponsetime" in found:
        return "nginx"
    return "JSON log"


def _took(found: Flat, program: str) -> float | None:
    value = found.get("duration", found.get("latency"))
    read = number(value)
    if read is not None:
        # Traefik counts nanoseconds, Envoy milliseconds, Caddy seconds; of others a fraction is of seconds.
        unit = {"Traefik": 1e-9, "Envoy": 1e-3, "Caddy": 1.0}.get(program)
        if unit is None:
            unit = 1e-9 if read >= 1e8 else 1.0 if isinstance(value, float) and read < 10_000 else 1e-3
        return read * unit
    if isinstance(value, str):  # Go's and others' durations in words: `300.1s`, `12ms`
        for ending, unit in (("ms", 1e-3), ("µs", 1e-6), ("us", 1e-6), ("ns", 1e-9), ("s", 1.0)):
            if value.endswith(ending) and (read := number(value.removesuffix(ending))) is not None:
                return read * unit
    for name, unit in _TOOK.items():
        if (read := number(found.get(name))) is not None:
            return read * unit
    return None


def _told(found: Flat, program: str, status: int | None) -> tuple[Side | None, Mechanism | None, str]:
    flags, state = _pick(found, _FLAGS), _pick(found, _TERMINATION)
    if "responseflags" in found:
        side, mechanism, says = envoy.flags_told(str(flags or "-"), status if status is not None else None)
        return side, mechanism, f"{status}, {says}" if status and flags else says
    if state:
        return haproxy.state_told(str(state))
    said = [str(found[name]) for name in _SAYS if name in found]
    for words in said:
        ended = phrases.told(words)
        if ended:
            return ended[0], ended[1], f"{ended[2]}: {detail(words, 120)}"
    if status is not None:
        return status_told(status, None)
    return None, None, detail(said[0], 120) if said else ""


class Lines:
    """One JSON object per line."""

    name = "JSON log"

    def __init__(self, near_s: float = 0.0) -> None:
        self._near_s = near_s

    def line(self, text: str, number_: int) -> list[Sighting] | None:
        """One line; None where it is no JSON object with a time."""
        bare = text.lstrip()
        if not bare.startswith("{") or len(bare) > LONGEST_LINE:
            return None
        try:
            value = msgspec.json.decode(bare)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None
        found = flat(value) if isinstance(value, dict) else {}
        began, ended = self._time(found, _BEGAN), self._time(found, _ENDED)
        written = self._time(found, _WRITTEN)
        stamp = ended or written or began
        if stamp is None:
            return None
        program = _program(found)
        status = status_of(_pick(found, _STATUS))
        target = str(_pick(found, _PATH) or "")
        side, mechanism, says = _told(found, program, status)
        if status is None and not target and side is None and mechanism is None:
            return []  # a line about something else
        end_s = ended.at_s if ended else None if began else written.at_s if written else None
        when = span(began.at_s if began else None, end_s, _took(found, program))
        if program == "Traefik" and status == 499:
            side, says = Side.CLIENT, "499: its client closed the connection before the answer's end"
        return [
            Sighting(
                program=program,
                line=number_,
                says=says,
                began_s=when.began_s,
                ended_s=when.ended_s,
                took_s=when.took_s,
                precision_s=stamp.precision_s,
                zone_known=stamp.zone_known,
                vantage=Vantage.BETWEEN,
                method=method_of(str(_pick(found, _METHOD) or "")),
                path=path_of(target),
                host=host_of(str(_pick(found, _HOST) or "")),
                status=status,
                ids=ids_of(" ".join(str(leaf)[:100] for name, leaf in found.items() if _is_id(name))),
                sent_bytes=whole(_pick(found, _SENT)),
                received_bytes=whole(_pick(found, _RECEIVED)),
                side=side,
                mechanism=mechanism,
            )
        ]

    def _time(self, found: Flat, names: tuple[str, ...]) -> times.Stamp | None:
        for name in names:
            if name in found and (stamp := times.any_of(found[name], self._near_s)):
                return stamp
        return None

    def end(self) -> list[Sighting]:
        """Nothing is kept from line to line."""
        return []


def _is_id(name: str) -> bool:
    return name.endswith(("id", "ray", "turn"))
