"""Which headers travel on, in both directions.

What belongs to one connection only (RFC 9110, 7.6.1) stays behind, with whatever `Connection` names.
All else is forwarded as it came, in its order and spelling: clients and providers add headers freely.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from holdfast.gateway.fields import Fields, Headers, Names, Values
from holdfast.gateway.guard import Head
from holdfast.gateway.settings import Upstream

Sent = tuple[tuple[bytes, ...], Values]
"Names and values, in order."
Named = dict[bytes, bytes]
"Each header's first value, by its lower-case name."

_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_NOT_UPSTREAM: Final = _HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"expect",
    b"holdfast-token",
    b"proxy-authorization",
    b"proxy-authenticate",
}
_NOT_UPSTREAM_IDENTITY: Final = _NOT_UPSTREAM | {b"accept-encoding"}
_NOT_TO_CLIENT: Final = _HOP_BY_HOP | {b"content-length", b"holdfast-turn"}
_PLAIN_CONNECTION: Final = (b"keep-alive", b"close")
_BODILESS: Final = (b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"TRACE")


def to_upstream(head: Head, upstream: Upstream, *, identity: bool) -> Sent:
    """The request's headers for upstream, without framing. `identity` asks for no compression."""
    fields = head.fields
    dropped: frozenset[bytes] = _NOT_UPSTREAM_IDENTITY if identity else _NOT_UPSTREAM
    connection = fields.first.get(b"connection")
    if connection is not None and connection.lower() not in _PLAIN_CONNECTION:
        dropped |= _named_by_connection(connection)
    values = fields.names.without(dropped).of(fields.values)
    host = upstream.authority.encode()
    return _with_ours(fields.names, dropped, identity), (
        (host, *values, b"identity") if identity else (host, *values)
    )


@lru_cache(maxsize=256)
def _with_ours(names: Names, dropped: frozenset[bytes], identity: bool) -> tuple[bytes, ...]:
    """What is left of these names, and those of our own: once for all the requests that have them."""
    return (b"host", *names.without(dropped).names, *((b"accept-encoding",) if identity else ()))


def framed(sent: Sent, method: bytes, length: int | None) -> Headers:
    """All headers, with what says how long the body is; None: chunked."""
    headers = list(zip(*sent, strict=True))
    if length is None:
        headers.append((b"transfer-encoding", b"chunked"))
    elif length or method not in _BODILESS:
        headers.append((b"content-length", b"%d" % length))
    return headers


def to_client(told: Fields, turn_id: str) -> bytes:
    """A response's headers for the client, rendered; framing is added by whoever sends them."""
    dropped = _NOT_TO_CLIENT
    connection = told.first.get(b"connection")
    if connection is not None and connection.lower() not in _PLAIN_CONNECTION:
        dropped |= _named_by_connection(connection)
    kept = told.names.without(dropped)
    lines = map(b": ".join, zip(kept.names, kept.of(told.values), strict=True))
    return b"\r\n".join([*lines, b"holdfast-turn: " + turn_id.encode(), b""])


def parsed(rendered: bytes) -> Headers:
    """The list that was rendered."""
    pairs = [line.partition(b": ") for line in rendered.split(b"\r\n")[:-1]]
    return [(name, value) for name, _, value in pairs]


def packed(values: Values) -> bytes:
    """A request's header values in less than half of their memory.

    None holds a line feed: they come from a parser that refuses control characters.
    """
    return b"\n".join(values)


def unpacked(values: bytes) -> Values:
    """The values that were packed; there is always one."""
    return tuple(values.split(b"\n"))


def without(rendered: bytes, name: bytes) -> bytes:
    """Rendered headers less those with this lower-case name."""
    lines = rendered.split(b"\r\n")[:-1]
    return b"".join([line + b"\r\n" for line in lines if not line.lower().startswith(name + b":")])


def text(found: Named, name: bytes, longest: int = 200) -> str | None:
    """A header's value as text for a record, shortened; None where there is none."""
    value = found.get(name)
    return None if value is None else value.decode("latin-1")[:longest]


def content_length(found: Named) -> int | None:
    """The announced length of a body; None where it is not known beforehand."""
    value = found.get(b"content-length")
    return int(value) if value is not None and value.isdigit() else None


def request_length(head: Head) -> int | None:
    """The length of a request's body; None where it is chunked."""
    if head.get(b"transfer-encoding") is not None:
        return None
    value = head.get(b"content-length")
    return int(value) if value is not None else 0


def _named_by_connection(value: bytes) -> frozenset[bytes]:
    # A client may not talk us out of what makes the request whole.
    named = {part.strip().lower() for part in value.split(b",")}
    return frozenset(named - {b"content-type", b"authorization", b"x-api-key", b"anthropic-version"})
