"""Which headers travel on, in both directions.

What belongs to one connection only (RFC 9110, 7.6.1) stays behind, with whatever `Connection` names.
All else is forwarded as it came, in its order and spelling: clients and providers add headers freely.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from holdfast.gateway.fields import Fields, Lines, SharedLines
from holdfast.gateway.guard import Head
from holdfast.gateway.settings import Upstream

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


def to_upstream(head: Head, upstream: Upstream, *, identity: bool) -> Lines:
    """The request's headers for upstream, without framing. `identity` asks for no compression."""
    fields = head.fields
    dropped: frozenset[bytes] = _NOT_UPSTREAM_IDENTITY if identity else _NOT_UPSTREAM
    connection = fields.first.get(b"connection")
    if connection is not None and connection.lower() not in _PLAIN_CONNECTION:
        dropped |= _named_by_connection(connection)
    names, values = fields.without(dropped)
    ours: tuple[bytes, ...] = (b"identity",) if identity else ()
    every = b"\n".join((upstream.authority.encode(), *values, *ours))
    return SharedLines(_with_ours(names, identity), every)


def framed(lines: bytes, method: bytes, length: int | None) -> bytes:
    """The same, and last what says how long the body is; None: chunked."""
    if length is None:
        return lines + b"transfer-encoding: chunked\r\n"
    return lines + b"content-length: %d\r\n" % length if length or method not in _BODILESS else lines


def to_client(told: Fields) -> Lines:
    """A response's headers for the client; framing, and which turn it is, are added by whoever sends them."""
    dropped = _NOT_TO_CLIENT
    connection = told.first.get(b"connection")
    if connection is not None and connection.lower() not in _PLAIN_CONNECTION:
        dropped |= _named_by_connection(connection)
    names, values = told.without(dropped)
    return Lines(names, b"\n".join(values))


def of_turn(turn_id: str) -> bytes:
    """The header that tells a client which turn its answer is."""
    return b"holdfast-turn: %b\r\n" % turn_id.encode()


@lru_cache(maxsize=256)
def _with_ours(names: tuple[bytes, ...], identity: bool) -> tuple[bytes, ...]:
    return (b"host", *names, b"accept-encoding") if identity else (b"host", *names)


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
