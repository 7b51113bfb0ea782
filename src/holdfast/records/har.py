"""HAR files: exports of browsers and of proxies. Bodies and header values are never built into memory.

Timings of -1 were not measured; a status of 0 is an exchange without an answer, and `_error` then says why (Chromium).
Source: the HAR 1.2 specification, and Chromium's, Firefox's and mitmproxy's exports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address

import msgspec

from holdfast.flight.endings import Mechanism, Side
from holdfast.records import phrases, times
from holdfast.records.sighting import (
    Sighting,
    Vantage,
    detail,
    host_of,
    ids_of,
    method_of,
    path_of,
    span,
    status_of,
    whole,
)

MOST_ENTRIES = 200_000

_BETWEEN = ("mitmproxy", "charles", "proxyman", "fiddler", "burp", "zap", "proxie", "http toolkit")


class _Header(msgspec.Struct):
    name: str = ""
    value: str = ""


class _Content(msgspec.Struct):
    size: float = -1


class _Request(msgspec.Struct):
    method: str = ""
    url: str = ""
    bodySize: float | None = -1
    httpVersion: str | None = None


class _Response(msgspec.Struct):
    status: float = 0
    content: _Content | None = None
    headers: list[_Header] = []
    error: str | None = msgspec.field(name="_error", default=None)


class _Timings(msgspec.Struct):
    wait: float | None = -1
    receive: float | None = -1


class _Entry(msgspec.Struct):
    startedDateTime: str = ""
    time: float | None = -1
    request: _Request | None = None
    response: _Response | None = None
    timings: _Timings | None = None
    serverIPAddress: str | None = None


class _Creator(msgspec.Struct):
    name: str = ""


class _Log(msgspec.Struct):
    creator: _Creator | None = None
    entries: list[msgspec.Raw] = []


class _Har(msgspec.Struct):
    log: _Log


_HTTP = re.compile(r"(?:http/|h)([123])(?:\.([01]))?", re.IGNORECASE)
_ID_HEADERS = {"request-id", "x-request-id", "cf-ray", "holdfast-turn"}


class NotHar(ValueError):
    """The document is no HAR file, or it is cut off."""


def sightings(document: bytes) -> Iterator[Sighting | None]:
    """Each entry in order; None for one that could not be read. Raises `NotHar`."""
    try:
        log = msgspec.json.decode(document.removeprefix(b"\xef\xbb\xbf"), type=_Har).log
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise NotHar(detail(str(error), 120)) from None
    program = detail((log.creator.name if log.creator else "") or "browser", 40)
    vantage = Vantage.BETWEEN if any(name in program.lower() for name in _BETWEEN) else Vantage.CLIENT
    for number, raw in enumerate(log.entries[:MOST_ENTRIES], 1):
        try:
            entry = msgspec.json.decode(raw, type=_Entry)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            yield None
            continue
        stamp = times.iso(entry.startedDateTime)
        yield _sighting(entry, stamp, number, program, vantage) if stamp and entry.request else None


def _sighting(entry: _Entry, stamp: times.Stamp, number: int, program: str, vantage: Vantage) -> Sighting:
    request, response = entry.request or _Request(), entry.response or _Response()
    took_s = entry.time / 1000 if entry.time is not None and entry.time >= 0 else None
    status = status_of(response.status)
    side: Side | None = None
    mechanism: Mechanism | None = None
    told = phrases.told(response.error) if response.error else None
    if response.error:
        side, mechanism, words = told or (None, None, "it failed")
        if side is None and vantage is Vantage.CLIENT:  # a browser knows whether it was its own doing
            side = Side.CLIENT if "abort" in response.error.lower() else Side.PROVIDER
            words = "it broke it off itself" if side is Side.CLIENT else words
        says = f"{words}: {detail(response.error, 100)}"
    elif status is None:
        says = "no answer came, or none was recorded (status 0)"
    else:
        says = f"answered {status}"
        if status >= 400:
            side, mechanism = Side.NOBODY, Mechanism.HTTP_ERROR
    size = whole(response.content.size) if response.content else None
    missing = response.content is None or not size
    if status is not None and status < 400 and missing:
        says += "; the answer's content is missing, as of one that did not come to its end or was not kept"
    receive = entry.timings.receive if entry.timings else None
    if status is not None and receive is not None and receive < 0:
        says += "; how long it was received was not measured"
    when = span(stamp.at_s, None, took_s)
    return Sighting(
        program=program,
        line=number,
        says=says,
        began_s=when.began_s,
        ended_s=when.ended_s,
        took_s=when.took_s,
        edge=_address(entry.serverIPAddress),
        # What a proxy writes there is what its client spoke.
        http=_http(request.httpVersion) if vantage is Vantage.CLIENT else None,
        precision_s=stamp.precision_s,
        zone_known=stamp.zone_known,
        vantage=vantage,
        method=method_of(request.method),
        path=path_of(request.url),
        host=host_of(request.url),
        status=status,
        ids=ids_of(" ".join(one.value[:100] for one in response.headers if one.name.lower() in _ID_HEADERS)),
        sent_bytes=size or None,
        received_bytes=whole(request.bodySize),
        side=side,
        mechanism=mechanism,
    )


def _address(text: str | None) -> str | None:
    """Browsers write one of IPv6 with brackets and without."""
    try:
        return str(ip_address((text or "").strip("[]")))
    except ValueError:
        return None


def _http(text: str | None) -> str | None:
    """`1.1` of `HTTP/1.1`, `2` of `h2` and `HTTP/2.0`, `3` of `h3`."""
    found = _HTTP.fullmatch(text or "")
    if found is None:
        return None
    return f"1.{found[2] or 1}" if found[1] == "1" else found[1]
