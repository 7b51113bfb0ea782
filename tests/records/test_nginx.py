"""nginx's access and error logs."""

from __future__ import annotations

import pytest

from holdfast.flight.endings import Mechanism, Side
from tests.records.told import NOON_S, one, seen

REQUEST = '"POST /v1/messages?beta=true HTTP/1.1"'
COMBINED = (
    f'10.0.0.7 - - [28/Mar/2026:18:23:21 +0800] {REQUEST} 200 48211 "-" "claude-cli/2.1.114 (external, cli)"'
)
ERROR = "2026/03/28 18:23:21 [error] 31#31: *7 {} client: 10.0.0.7, server: gw, request: " + (
    f'{REQUEST}, upstream: "http://127.0.0.1:8080/v1/messages?beta=true", host: "gw.example:8443"'
)


def test_the_combined_format_gives_the_end_in_whole_seconds() -> None:
    """Its time is the request's end; without a duration the beginning is not known."""
    line = one(COMBINED)
    assert (line.ended_s, line.began_s, line.precision_s, line.zone_known) == (NOON_S + 300, None, 1.0, True)
    assert (line.method, line.path, line.status, line.sent_bytes) == ("POST", "/v1/messages", 200, 48211)


@pytest.mark.parametrize(
    "more",
    [
        " 300.104 300.098",
        ' rt=300.104 uct="0.001" uht="1.930" urt="300.098"',
        ' "203.0.113.9" request_time=300.104 upstream_response_time=0.100,300.0 upstream_status=502,200',
        ' "-" 300.104 300.098 req_011CSHoEeqs5C35K2UUqR7Fy',
    ],
)
def test_what_is_commonly_added_tells_the_duration(more: str) -> None:
    """`$request_time` by name, or as the first number with three decimals."""
    line = one(COMBINED + more)
    assert line.took_s == 300.104 and line.began_s == pytest.approx(NOON_S - 0.104)


def test_ingress_puts_lengths_and_times_behind() -> None:
    """Kubernetes' ingress: request length, request time, then upstreams."""
    line = one(
        COMBINED
        + " 81234 300.104 [default-gw-80] [] 10.1.2.3:8080 48300 300.100 200 4b1c0de5f00d4b1c0de5f00d4b1c0de5"
    )
    assert (line.took_s, line.received_bytes, line.sent_bytes) == (300.104, 81234, 48211)


def test_a_200_does_not_say_who_ended_it() -> None:
    """After the headers nginx logs 200 for hang-ups, resets and timeouts alike: no side is claimed."""
    assert one(COMBINED).side is None


@pytest.mark.parametrize(
    ("status", "side", "mechanism"),
    [
        (499, Side.CLIENT, None),
        (504, Side.PATH, Mechanism.DEADLINE),
        (502, Side.PROVIDER, None),
        (529, Side.NOBODY, Mechanism.HTTP_ERROR),
    ],
)
def test_some_statuses_do(status: int, side: Side, mechanism: Mechanism | None) -> None:
    """499 is the client's, 504 nginx's own limit, 502 its upstream's; other errors were answered in order."""
    line = one(COMBINED.replace(" 200 ", f" {status} "))
    assert (line.side, line.mechanism) == (side, mechanism) and line.says.startswith(
        (str(status), "answered")
    )


@pytest.mark.parametrize(
    ("message", "side", "mechanism"),
    [
        ("upstream prematurely closed connection while reading upstream,", Side.PROVIDER, Mechanism.FIN),
        ("recv() failed (104: Connection reset by peer) while reading upstream,", Side.PROVIDER, Mechanism.RST),
        ("upstream timed out (110: Connection timed out) while reading response header from upstream,",
         Side.PATH, Mechanism.DEADLINE),
        ("epoll_wait() reported that client prematurely closed connection, so upstream connection is closed too "
         "(104: Connection reset by peer) while reading upstream,", Side.CLIENT, Mechanism.RST),
        ("epoll_wait() reported that client prematurely closed connection, so upstream connection is closed too "
         "while reading upstream,", Side.CLIENT, Mechanism.FIN),
        ("connect() failed (111: Connection refused) while connecting to upstream,", Side.PROVIDER, Mechanism.REFUSED),
        ("no live upstreams while connecting to upstream,", Side.PATH, Mechanism.UNREACHABLE),
    ],
)  # fmt: skip
def test_the_error_log_says_who(message: str, side: Side, mechanism: Mechanism) -> None:
    """Side, mechanism and request; local time without a zone, to the second."""
    line = one(ERROR.format(message))
    assert (line.side, line.mechanism, line.path, line.host) == (
        side,
        mechanism,
        "/v1/messages",
        "gw.example:8443",
    )
    assert line.ended_s == NOON_S + 8 * 3600 + 300 and not line.zone_known


def test_what_happens_between_requests_is_no_ending() -> None:
    """A client that closes a kept connection, or a worker that starts, is understood and passed by."""
    text = (
        "2026/03/28 18:23:21 [info] 31#31: *7 client 10.0.0.7 closed keepalive connection\n"
        "2026/03/28 18:23:21 [notice] 1#1: start worker processes"
    )
    assert seen(text) == []


def test_collectors_prefixes_are_taken_off() -> None:
    """Containers, pods and syslog put something in front of the same line."""
    for prefix in (
        "nginx-1  | ",
        "2026-03-28T10:23:21.5Z stdout F ",
        "<190>Mar 28 18:23:21 edge nginx: ",
        "Mar 28 18:23:21 edge nginx[31]: ",
    ):
        assert one(prefix + COMBINED).sent_bytes == 48211, prefix


def test_a_token_in_a_path_is_not_kept() -> None:
    """The prefix under which `holdfast run` listens is as good as a key."""
    line = one(COMBINED.replace("/v1/messages", "/q7Zt0aWc93LmX2rV/v1/messages"))
    assert line.path == "/…/v1/messages"
