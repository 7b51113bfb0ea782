"""Which headers travel on, in both directions. Values in, values out."""

from __future__ import annotations

import pytest

from holdfast.gateway import headers as h
from holdfast.gateway.fields import Fields, Headers, parsed, render
from holdfast.gateway.guard import Head
from holdfast.gateway.settings import Upstream

UPSTREAM = Upstream.parse("https://api.example:8443/v2")


def head(*headers: tuple[bytes, bytes], method: bytes = b"POST") -> Head:
    return Head(method, b"/v1/messages", "1.1", [(b"Host", b"127.0.0.1:8100"), *headers])


def sent(*headers: tuple[bytes, bytes], length: int | None = 5, identity: bool = False) -> Headers:
    """What upstream gets of these, less the three that every request has."""
    found = parsed(
        h.framed(h.to_upstream(head(*headers), UPSTREAM, identity=identity).rendered(), b"POST", length)
    )
    own = {b"host", b"content-length", b"transfer-encoding"}
    return [pair for pair in found if pair[0] not in own]


# -- towards upstream -----------------------------------------------------------------------------------


def test_headers_go_upstream_as_they_came() -> None:
    """In their order and spelling, those nobody knows and those that come twice included."""
    told = [
        (b"X-Api-Key", b"fake"),
        (b"aNthropic-Beta", b"b"),
        (b"anthropic-beta", b"a"),
        (b"X-New", b"\xe9"),
    ]

    assert sent(*told) == told


def test_upstream_is_asked_by_its_own_name() -> None:
    """The host is upstream's, port included, and comes first; ours is not told."""
    found = parsed(h.to_upstream(head(), UPSTREAM, identity=False).rendered())

    assert found[0] == (b"host", b"api.example:8443")
    assert [name for name, _ in found if name.lower() == b"host"] == [b"host"]


@pytest.mark.parametrize(
    "name",
    [
        b"Connection",
        b"Keep-Alive",
        b"Proxy-Connection",
        b"Proxy-Authorization",
        b"TE",
        b"Trailer",
        b"Transfer-Encoding",
        b"Content-Length",
        b"Upgrade",
        b"Expect",
        b"Holdfast-Token",
    ],
)
def test_what_belongs_to_one_connection_stays_behind(name: bytes) -> None:
    """So does our own access token, whatever the spelling."""
    told = (b"X-Kept", b"1")

    assert sent((name, b"x"), told) == [told]


def test_what_connection_names_stays_behind() -> None:
    """Every header that the client calls its own business with us (RFC 9110, 7.6.1), blanks and case aside."""
    told = [(b"Connection", b"close, X-One ,x-TWO"), (b"X-One", b"1"), (b"x-two", b"2"), (b"X-Three", b"3")]

    assert sent(*told) == [(b"X-Three", b"3")]


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key", b"anthropic-version", b"content-type"])
def test_connection_cannot_talk_us_out_of_what_makes_a_request_whole(name: bytes) -> None:
    """Dropping a key or a type on a client's word would turn its request into another."""
    assert sent((b"connection", name), (name, b"kept")) == [(name, b"kept")]


@pytest.mark.parametrize("value", [b"keep-alive", b"Close"])
def test_a_plain_connection_header_names_nothing(value: bytes) -> None:
    """`close` and `keep-alive` are options, not names of headers."""
    assert sent((b"connection", value), (b"close", b"odd")) == [(b"close", b"odd")]


@pytest.mark.parametrize(
    ("identity", "expected"),
    [(True, [(b"accept-encoding", b"identity")]), (False, [(b"Accept-Encoding", b"gzip, br")])],
)
def test_only_a_turn_is_asked_for_without_compression(identity: bool, expected: Headers) -> None:
    """Its events must be read; what is carried opaque may come as the client likes it."""
    assert sent((b"Accept-Encoding", b"gzip, br"), identity=identity) == expected


@pytest.mark.parametrize(
    ("method", "length", "framing"),
    [
        (b"POST", 5, (b"content-length", b"5")),
        (b"POST", 0, (b"content-length", b"0")),
        (b"POST", None, (b"transfer-encoding", b"chunked")),
        (b"GET", None, (b"transfer-encoding", b"chunked")),
        (b"GET", 5, (b"content-length", b"5")),
        (b"GET", 0, None),
        (b"DELETE", 0, None),
    ],
)
def test_a_body_is_framed_in_one_way(
    method: bytes, length: int | None, framing: tuple[bytes, bytes] | None
) -> None:
    """By its length or in chunks, never both; a method that needs no body is given none."""
    found = parsed(
        h.framed(h.to_upstream(head(method=method), UPSTREAM, identity=False).rendered(), method, length)
    )

    assert found[1:] == ([] if framing is None else [framing])


# -- towards the client ---------------------------------------------------------------------------------


def to_client(told: Headers) -> bytes:
    return h.to_client(Fields(told)).rendered() + h.of_turn("7f3a")


def test_a_response_keeps_its_headers_and_gains_the_turns_name() -> None:
    """Rendered as they came; the turn's id is ours to say, and upstream's word for it is not passed on."""
    told = [
        (b"Request-Id", b"req_1"),
        (b"Set-Cookie", b"a"),
        (b"Set-Cookie", b"b"),
        (b"Holdfast-Turn", b"forged"),
    ]

    assert to_client(told) == (
        b"Request-Id: req_1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nholdfast-turn: 7f3a\r\n"
    )


@pytest.mark.parametrize("name", [b"Content-Length", b"Transfer-Encoding", b"Connection", b"Keep-Alive"])
def test_upstreams_framing_is_not_the_clients(name: bytes) -> None:
    """Each side's connection has a framing of its own."""
    told = [(name, b"x")]

    assert to_client(told) == b"holdfast-turn: 7f3a\r\n"


def test_what_upstreams_connection_names_stays_behind_too() -> None:
    """The same rule in the other direction."""
    told = [(b"connection", b"x-hop"), (b"X-Hop", b"1"), (b"content-encoding", b"gzip")]

    assert to_client(told) == b"content-encoding: gzip\r\nholdfast-turn: 7f3a\r\n"


def test_rendered_headers_can_lose_one() -> None:
    """By its whole name: not another that begins alike, and not one that only mentions it."""
    rendered = b"Content-Type: a\r\ncontent-type-x: b\r\nx: content-type:\r\n"

    assert h.without(rendered, b"content-type") == b"content-type-x: b\r\nx: content-type:\r\n"


# -- looking one up -------------------------------------------------------------------------------------


def test_the_first_of_a_name_counts_whatever_its_case() -> None:
    """As text it is cut short, for a record; a missing one is None and not empty."""
    told = [(b"X-Id", b"\xe9" * 300), (b"x-id", b"second")]

    found = Fields(told).first

    assert found[b"x-id"] == b"\xe9" * 300
    assert h.text(found, b"x-id") == "\xe9" * 200
    assert h.text(found, b"x-other") is None


@pytest.mark.parametrize(("value", "length"), [(b"12", 12), (b"", None), (b"-1", None), (b"1, 1", None)])
def test_a_length_that_is_no_number_is_no_length(value: bytes, length: int | None) -> None:
    """Then the client's body is framed in chunks, which cannot lie."""
    assert h.content_length(Fields([(b"Content-Length", value)]).first) == length


@pytest.mark.parametrize(
    ("headers", "length"),
    [([], 0), ([(b"Content-Length", b"7")], 7), ([(b"Transfer-Encoding", b"chunked")], None)],
)
def test_a_request_without_a_length_has_no_body(headers: Headers, length: int | None) -> None:
    """Unlike a response, whose body may last until the close; a chunked one's length is not known."""
    assert h.request_length(head(*headers)) == length


def test_rendered_headers_come_back_as_they_were() -> None:
    """Order, spelling, empty values, values with a colon, and names that come twice."""
    told = [(b"X-Api-Key", b"fake"), (b"x-empty", b""), (b"Accept", b"b: c"), (b"accept", b"\xe9 ")]

    assert parsed(render(told)) == told
