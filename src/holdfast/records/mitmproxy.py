"""mitmproxy's flow files: tnetstrings, one flow after the other. A small reader of our own; bodies are skipped unread.

A tnetstring is `LENGTH:PAYLOAD` and a type: `,` bytes, `;` text, `#` integer, `^` float, `!` truth, `~` nothing,
`]` list, `}` dictionary. Only the fields that a sighting has are looked at; headers give up their ids alone.
Source: mitmproxy's documentation of flows and errors, and its file format since version 7.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from holdfast.flight.endings import Mechanism, Side
from holdfast.records import phrases
from holdfast.records.sighting import (
    Sighting,
    detail,
    host_of,
    ids_of,
    method_of,
    path_of,
    span,
    status_of,
)

_FIRST_KEY = re.compile(rb"[1-9]\d{0,10}:([1-9]\d?):([a-z_]+)[,;]")
LARGEST_FLOW = 256 * 1024 * 1024
"Bytes of one flow; more is not believed."
_DEEPEST = 12

_SKIPPED = {
    b"content",
    b"trailers",
    b"websocket",
    b"certificate_list",
    b"mitmcert",
    b"certificate",
    b"metadata",
}
_ID_HEADERS = {b"request-id", b"x-request-id", b"cf-ray", b"holdfast-turn"}


class NotAFlow(ValueError):
    """What is there is no tnetstring, or it is cut off."""


def starts(data: bytes) -> bool:
    """Whether these first bytes are those of a flow file: a dictionary's length, then its first key.

    A time of day, with which many a log begins, has a number, a colon and a number as well.
    """
    first = _FIRST_KEY.match(data)
    return first is not None and int(first[1]) == len(first[2])


def flows(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The payload of each flow, from a function that gives at most so many bytes. Raises `NotAFlow`."""
    while first := read(1):
        digits = first
        while not digits.endswith(b":"):
            if len(digits) > 11 or not (more := read(1)):
                raise NotAFlow("no length")
            digits += more
        if not digits[:-1].isdigit():
            raise NotAFlow("no length")
        length = int(digits[:-1])
        if length > LARGEST_FLOW:
            raise NotAFlow("a flow larger than is believed")
        payload = _exactly(read, length + 1)
        if payload[-1:] != b"}":
            raise NotAFlow("no dictionary")
        yield payload[:-1]


def _exactly(read: Callable[[int], bytes], count: int) -> bytes:
    pieces, left = [], count
    while left:
        piece = read(min(left, 1 << 20))
        if not piece:
            raise NotAFlow("cut off")
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def sighting(payload: bytes, number: int) -> Sighting | None:
    """One flow; None where it is none of HTTP or TCP, or cannot be read."""
    try:
        flow = _dictionary(memoryview(payload), 0)
    except (NotAFlow, ValueError, RecursionError):
        return None
    if flow.get("type") not in ("http", "tcp", b"http", b"tcp"):
        return None
    request, response = _branch(flow, "request"), _branch(flow, "response")
    client, server, error = _branch(flow, "client_conn"), _branch(flow, "server_conn"), _branch(flow, "error")
    began = _time(request.get("timestamp_start")) or _time(client.get("timestamp_start"))
    failed = _time(error.get("timestamp"))
    ended = failed or _time(response.get("timestamp_end")) or _time(request.get("timestamp_end"))
    if not response and not error and request:
        ended = None
    if not request:
        ended = failed or _time(client.get("timestamp_end"))
    if began is None:
        return None
    status = status_of(response.get("status_code"))
    body = response.get("content")
    side, mechanism, says = _told(_text(error.get("msg")), status, bool(response), body)
    headers = response.get("headers")
    when = span(began, ended, None)
    return Sighting(
        program="mitmproxy",
        line=number,
        says=says,
        began_s=when.began_s,
        ended_s=when.ended_s,
        took_s=when.took_s,
        precision_s=0.001,
        zone_known=True,
        method=method_of(_text(request.get("method"))),
        path=path_of(_text(request.get("path"))),
        host=host_of(_text(request.get("host")) or _text(server.get("sni"))),
        status=status,
        ids=ids_of(" ".join(_ids_in(headers))),
        sent_bytes=body if isinstance(body, int) else None,
        received_bytes=request.get("content") if isinstance(request.get("content"), int) else None,
        side=side,
        mechanism=mechanism,
    )


def _told(
    error: str, status: int | None, answered: bool, body: object
) -> tuple[Side | None, Mechanism | None, str]:
    low = error.lower()
    before = f"after its {status}" if status else "before an answer"
    if error:
        if "client disconnected" in low or "client closed" in low:
            return Side.CLIENT, None, f"its client disconnected {before}"
        if "server disconnected" in low or "server closed" in low:
            return Side.PROVIDER, None, f"its server disconnected {before}"
        if "killed" in low:
            return Side.PATH, Mechanism.CANCELLED, f"it was told to kill the connection {before}"
        told = phrases.told(error)
        side, mechanism, words = told or (None, None, "it had an error")
        return side, mechanism, f"{words} {before}: {detail(error, 100)}"
    if not answered:
        return None, None, "no answer was recorded"
    if status is not None and status >= 400:
        return Side.NOBODY, Mechanism.HTTP_ERROR, f"answered {status}"
    if body is None:
        return (
            None,
            None,
            f"answered {status}, its content missing: the answer did not come to its end, or was streamed",
        )
    return Side.NOBODY, Mechanism.COMPLETED, f"answered {status}, to its end"


def _ids_in(headers: object) -> Iterator[str]:
    for pair in headers if isinstance(headers, list) else []:
        match pair:
            case [bytes(name), bytes(value)] if name.lower() in _ID_HEADERS:
                yield value[:100].decode("ascii", "replace")
            case _:
                pass


def _branch(flow: dict[str, Any], name: str) -> dict[str, Any]:
    value = flow.get(name)
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value[:9000].decode("utf-8", "replace")
    return value[:9000] if isinstance(value, str) else ""


def _time(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 1e8 < value < 1e11 else None


# ----- tnetstrings


def _element(data: memoryview, at: int) -> tuple[int, int, int]:
    """The payload's beginning and end, and its type, of the element at `at`. Raises `NotAFlow`."""
    head = bytes(data[at : at + 12])
    digits, colon, _ = head.partition(b":")
    if not colon or not digits.isdigit():
        raise NotAFlow("no length")
    begin = at + len(digits) + 1
    end = begin + int(digits)
    if end >= len(data):
        raise NotAFlow("cut off")
    return begin, end, data[end]


def _dictionary(data: memoryview, deep: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    at = 0
    while at < len(data):
        begin, end, _ = _element(data, at)
        name = bytes(data[begin : min(end, begin + 100)])
        begin, value_end, kind = _element(data, end + 1)
        if name == b"content":  # its size is all that is wanted
            found["content"] = value_end - begin if kind != ord("~") else None
        elif name not in _SKIPPED:
            found[name.decode("utf-8", "replace")] = _value(data[begin:value_end], kind, deep + 1)
        at = value_end + 1
    return found


def _value(data: memoryview, kind: int, deep: int) -> Any:
    if deep > _DEEPEST:
        raise NotAFlow("too deep")
    match chr(kind):
        case ",":
            return bytes(data[:9000])
        case ";":
            return bytes(data[:9000]).decode("utf-8", "replace")
        case "#":
            return int(bytes(data[:20]))
        case "^":
            return float(bytes(data[:40]))
        case "!":
            return bytes(data) == b"true"
        case "~":
            return None
        case "}":
            return _dictionary(data, deep)
        case "]":
            found: list[Any] = []
            at = 0
            while at < len(data) and len(found) < 1000:
                begin, end, inner = _element(data, at)
                found.append(_value(data[begin:end], inner, deep + 1))
                at = end + 1
            return found
        case _:
            raise NotAFlow("a type that is not known")
