"""Which headers travel on, in both directions.

What belongs to one connection only (RFC 9110, 7.6.1) stays behind, with whatever `Connection` names.
All else is forwarded as it came, in its order and spelling: clients and providers add headers freely.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from holdfast.gateway.guard import Head, less
from holdfast.gateway.settings import Upstream

Headers = list[tuple[bytes, bytes]]
Packed = tuple[tuple[bytes, ...], bytes]
"All names, and all values in one piece."
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


def to_upstream(head: Head, upstream: Upstream, *, identity: bool) -> Headers:
    """The request's headers for upstream, without framing. `identity` asks for no compression."""
    dropped: frozenset[bytes] = _NOT_UPSTREAM_IDENTITY if identity else _NOT_UPSTREAM
    connection = head.get(b"connection")
    if connection is not None and connection.lower() not in _PLAIN_CONNECTION:
        dropped |= _named_by_connection(connection)
    headers = [(b"host", upstream.authority.encode())]
    headers += head.less(dropped)
    if identity:
        headers.append((b"accept-encoding", b"identity"))
    return headers


def framed(headers: Headers, method: bytes, length: int | None) -> Headers:
    """The same with what says how long the body is; None: chunked."""
    if length is None:
        headers.append((b"transfer-encoding", b"chunked"))
    elif length or method not in _BODILESS:
        headers.append((b"content-length", b"%d" % length))
    return headers


def to_client(headers: Headers, found: Named, turn_id: str) -> bytes:
    """A response's headers for the client, rendered; framing is added by whoever sends them. `found` is `named(headers)`."""
    dropped = _NOT_TO_CLIENT
    connection = found.get(b"connection")
    if connection is not None and connection.lower() not in _PLAIN_CONNECTION:
        dropped |= _named_by_connection(connection)
    kept = less(headers, found, dropped)
    kept.append((b"holdfast-turn", turn_id.encode()))
    return render(kept)


def render(headers: Headers) -> bytes:
    """Header lines, each with its line end. Values come from a parser that refuses control characters."""
    return b"\r\n".join([*map(b": ".join, headers), b""])


def parsed(rendered: bytes) -> Headers:
    """The list that was rendered."""
    pairs = [line.partition(b": ") for line in rendered.split(b"\r\n")[:-1]]
    return [(name, value) for name, _, value in pairs]


def packed(headers: Headers) -> Packed:
    """A request's headers in less than half of their memory: clients send the same names in the same order each time.

    No value holds a line feed: they come from a parser that refuses control characters.
    """
    names, values = zip(*headers, strict=True)
    return _one(names), b"\n".join(values)


def unpacked(headers: Packed) -> Headers:
    """The list that was packed."""
    names, values = headers
    return list(zip(names, values.split(b"\n"), strict=True))


@lru_cache(maxsize=256)
def _one(names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The same names, once for all the requests that have them."""
    return names


def without(rendered: bytes, name: bytes) -> bytes:
    """Rendered headers less those with this lower-case name."""
    lines = rendered.split(b"\r\n")[:-1]
    return b"".join([line + b"\r\n" for line in lines if not line.lower().startswith(name + b":")])


def named(headers: Headers) -> Named:
    """To look headers up in. A response is asked for half a dozen of them."""
    # From the last to the first, so that of several the first one stays.
    return {name.lower(): value for name, value in reversed(headers)}


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
