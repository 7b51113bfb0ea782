"""nginx: access logs (combined and what is commonly added to it) and error logs.

The access log's time is the *end* of the request, to the second. Its status says little about how an answer ended:
499 is written only where the client left before the answer's headers; after them a hang-up, a reset or a timeout
leaves a 200 like any other, and only the error log tells (at level `info` for what clients do, `error` for upstream).
Source: ngx_http_log_module and ngx_http_upstream; the messages were produced with nginx 1.22.
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
    number,
    path_of,
    phrases,
    span,
    status_of,
    whole,
)

_ACCESS = re.compile(
    r"(?P<head>[^\"\[\]]{1,300}) \[(?P<time>[^\]]{10,40})\] \"(?P<request>(?:[^\"\\]|\\.){0,8000})\" "
    r"(?P<status>\d{3}|-) (?P<sent>\d{1,15}|-)(?P<rest>.*)"
)
_REQUEST = re.compile(r"(?P<method>[A-Z]{3,10}) (?P<target>\S{1,8000})(?: HTTP/[\d.]{1,3})?")
_NAMED = re.compile(r"\b(?P<name>[A-Za-z_]{2,30})[=:]\"?(?P<value>[^\s\",\]]{1,100})")
_BARE_SECONDS = re.compile(r"(?<![\w.:/-])\"?(\d{1,7}\.\d{3})\"?(?![\w.:/])")
_INGRESS = re.compile(
    r" \"(?:[^\"\\]|\\.)*\" \"(?:[^\"\\]|\\.)*\" (?P<length>\d+) (?P<took>\d+\.\d{3}) \[[^\]]*\] \[[^\]]*\] "
)

_TOOK = {"rt", "request_time", "reqtime", "request_duration"}
_UPSTREAM_TOOK = {"urt", "upstream_response_time", "uprt", "upstream_time", "ut"}
_UPSTREAM_STATUS = {"us", "upstream_status", "ustatus"}
_HOST_NAMES = {"host", "http_host", "server_name", "vhost"}
_LENGTH = {"rl", "request_length", "reqlen"}
_TIME_MS = {"msec", "ts"}


class Access:
    """Access log lines: Common Log Format with anything behind it (Apache writes it too)."""

    name = "nginx"

    def line(self, text: str, number_: int) -> list[Sighting] | None:
        """One line; None where it is not of this format."""
        found = _ACCESS.match(text)
        stamp = found and (times.clf(found["time"]) or times.iso(found["time"]))
        if not found or not stamp:
            return None
        request = _REQUEST.match(found["request"])
        rest = found["rest"]
        named = {m["name"].lower(): m["value"] for m in _NAMED.finditer(rest)}
        took = _first(named, _TOOK)
        ingress = _INGRESS.match(rest)
        if took is None and ingress:
            took = number(ingress["took"])
        if took is None:
            seconds = [float(value) for value in _BARE_SECONDS.findall(_without_agent(rest))]
            took = seconds[0] if seconds else _first(named, _UPSTREAM_TOOK)
        status = status_of(found["status"])
        exact = times.epoch(_word(named, _TIME_MS))
        ended_s = exact.at_s if exact else stamp.at_s
        precise = exact.precision_s if exact else stamp.precision_s
        side, mechanism, says = status_told(status, status_of(_word(named, _UPSTREAM_STATUS)))
        when = span(None, ended_s, took)
        return [
            Sighting(
                program=self.name,
                line=number_,
                says=says,
                began_s=when.began_s,
                ended_s=when.ended_s,
                took_s=when.took_s,
                precision_s=precise,
                zone_known=stamp.zone_known or exact is not None,
                zone_s=stamp.zone_s,
                method=method_of(request["method"]) if request else "",
                path=path_of(request["target"]) if request else "",
                host=host_of(_word(named, _HOST_NAMES)),
                status=status,
                ids=ids_of(rest),
                sent_bytes=whole(found["sent"]),
                received_bytes=whole(ingress["length"]) if ingress else whole(_word(named, _LENGTH)),
                side=side,
                mechanism=mechanism,
            )
        ]

    def end(self) -> list[Sighting]:
        """Nothing is kept from line to line."""
        return []


def _without_agent(rest: str) -> str:
    """What follows the combined format's referer and user agent, whose numbers are no times."""
    found = re.match(r" \"(?:[^\"\\]|\\.)*\" \"(?:[^\"\\]|\\.)*\"", rest)
    return rest[found.end() :] if found else rest


def _word(named: dict[str, str], names: set[str]) -> str:
    return next((value for name, value in named.items() if name in names), "")


def _first(named: dict[str, str], names: set[str]) -> float | None:
    return number(_word(named, names).split(",")[0])


def status_told(status: int | None, upstream: int | None) -> tuple[Side | None, Mechanism | None, str]:
    """What a proxy's status says about the ending; `upstream` is its upstream's own status, None if not said."""
    if status == 499:
        return Side.CLIENT, None, "499: its client closed the connection before an answer's headers"
    if status == 504 and upstream in (None, 504):
        return Side.PATH, Mechanism.DEADLINE, "504: its own limit for its upstream's headers ran out"
    if status == 502 and upstream in (None, 502):
        return Side.PROVIDER, None, "502: its upstream gave no usable answer"
    if status == 408:
        return Side.PATH, Mechanism.DEADLINE, "408: its own limit for the request ran out"
    if status is not None and status >= 400:
        return Side.NOBODY, Mechanism.HTTP_ERROR, f"answered {status}"
    return (
        None,
        None,
        f"answered {status or 'without a status'}; its status does not say how the answer ended",
    )


# ----- the error log

_ERROR = re.compile(
    r"(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?P<level>[a-z]{3,8})\] \d+#\d+: (?:\*\d+ )?(?P<message>.{1,4000})"
)
_ERROR_REQUEST = re.compile(r", request: \"(?P<method>[A-Z]{3,10}) (?P<target>[^\s\"]{1,4000})")
_ERROR_HOST = re.compile(r", host: \"(?P<host>[^\"]{1,200})\"")

_TELLS: tuple[tuple[str, Side | None, Mechanism | None, str], ...] = (
    (
        r"client (?:prematurely )?closed (?:the )?connection|client closed connection",
        Side.CLIENT,
        None,
        "its client closed the connection before the answer's end",
    ),
    (
        r"client timed out",
        Side.PATH,
        Mechanism.DEADLINE,
        "its own limit ran out while it waited for its client",
    ),
    (
        r"upstream prematurely closed",
        Side.PROVIDER,
        Mechanism.FIN,
        "its upstream closed the connection before the answer's end",
    ),
    (
        r"upstream timed out",
        Side.PATH,
        Mechanism.DEADLINE,
        "its own limit ran out while it waited for its upstream",
    ),
    (
        r"\(104: .*reading (?:response header from )?upstream",
        Side.PROVIDER,
        Mechanism.RST,
        "its upstream reset the connection",
    ),
    (
        r"upstream sent (?:invalid|too big|duplicate|unexpected)",
        Side.PROVIDER,
        Mechanism.MALFORMED,
        "its upstream sent what it could not read",
    ),
    (
        r"no live upstreams",
        Side.PATH,
        Mechanism.UNREACHABLE,
        "it held none of its upstreams for alive",
    ),
    (
        r"connect\(\) failed \(111:",
        Side.PROVIDER,
        Mechanism.REFUSED,
        "its upstream refused the connection",
    ),
    (
        r"connect\(\) failed \(11[03]:|\(101: ",
        Side.PATH,
        Mechanism.UNREACHABLE,
        "its upstream could not be reached",
    ),
    (
        r"could not be resolved|host not found in upstream",
        Side.PATH,
        Mechanism.DNS,
        "its upstream's name could not be resolved",
    ),
    (
        r"SSL_do_handshake\(\) failed.*upstream|peer closed connection in SSL handshake.*upstream",
        Side.PROVIDER,
        Mechanism.TLS,
        "the TLS handshake with its upstream failed",
    ),
    (
        r"\(104: .*(?:sending to client|reading client)",
        Side.CLIENT,
        Mechanism.RST,
        "its client reset the connection",
    ),
    (
        r"\(32: Broken pipe\).*sending to client",
        Side.CLIENT,
        None,
        "its client was gone when it went on writing",
    ),
    (
        r"\(32: Broken pipe\).*upstream",
        Side.PROVIDER,
        None,
        "its upstream was gone when it went on writing",
    ),
)
_COMPILED = phrases(_TELLS)
_WHILE = re.compile(r" while (?P<what>[a-z /]{4,80}?)(?:,|$)")
_BETWEEN_REQUESTS = re.compile(r"closed keepalive connection|while (?:waiting for request|keepalive)")


class Error:
    """Error log lines; those that do not tell how a connection ended are understood and say nothing."""

    name = "nginx"

    def line(self, text: str, number_: int) -> list[Sighting] | None:
        """One line; None where it is not of this format."""
        found = _ERROR.match(text)
        stamp = found and times.iso(found["time"])
        if not found or not stamp:
            return None
        message = found["message"]
        if _BETWEEN_REQUESTS.search(message):
            return []
        for pattern, side, mechanism, says in _COMPILED:
            if not pattern.search(message):
                continue
            if mechanism is None and side is Side.CLIENT and "(104:" in message:
                mechanism = Mechanism.RST
            elif mechanism is None and "prematurely closed" in message:
                mechanism = Mechanism.FIN
            request = _ERROR_REQUEST.search(message)
            host = _ERROR_HOST.search(message)
            doing = _WHILE.search(message)
            where = f", while {detail(doing['what'], 60)}" if doing else ""
            errno = re.search(r"\((\d{1,3}: [A-Za-z ]{3,40})\)", message)
            return [
                Sighting(
                    program=self.name,
                    line=number_,
                    says=f"{says}{where}" + (f" ({detail(errno[1])})" if errno else ""),
                    ended_s=stamp.at_s,
                    precision_s=1.0,
                    method=method_of(request["method"]) if request else "",
                    path=path_of(request["target"]) if request else "",
                    host=host_of(host["host"]) if host else "",
                    side=side,
                    mechanism=mechanism,
                )
            ]
        return []

    def end(self) -> list[Sighting]:
        """Nothing is kept from line to line."""
        return []
