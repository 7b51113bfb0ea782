"""Access logs as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.flight.endings import Mechanism, Side
from tests.records.told import NOON_S, one, seen

CADDY = {
    "level": "info",
    "ts": NOON_S + 300.104,
    "logger": "http.log.access.log0",
    "msg": "handled request",
    "request": {
        "remote_ip": "10.0.0.7",
        "method": "POST",
        "host": "gw.example",
        "uri": "/v1/messages?beta=true",
        "headers": {"Authorization": ["Bearer sk-ant-api03-verysecretverysecret"]},
    },
    "bytes_read": 81234,
    "duration": 300.104,
    "size": 48211,
    "status": 200,
}
TRAEFIK = {
    "DownstreamContentSize": 48211,
    "DownstreamStatus": 499,
    "Duration": 300104000000,
    "RequestHost": "gw.example",
    "RequestMethod": "POST",
    "RequestPath": "/v1/messages?beta=true",
    "StartUTC": "2026-03-28T10:18:21.000000000Z",
    "time": "2026-03-28T10:23:21Z",
}
ENVOY = {
    "start_time": "2026-03-28T10:18:21.000Z",
    "method": "POST",
    "path": "/v1/messages",
    "response_code": 200,
    "response_flags": "DC",
    "duration": 300104,
    "bytes_sent": "48211",
    "authority": "gw.example",
}
NGINX = {
    "time_iso8601": "2026-03-28T10:23:21+00:00",
    "request_method": "POST",
    "request_uri": "/v1/messages?beta=true",
    "host": "gw.example",
    "status": "200",
    "body_bytes_sent": "48211",
    "request_time": "300.104",
    "upstream_response_time": "300.100",
}
PINO = {
    "level": 30,
    "time": round((NOON_S + 300.104) * 1000),
    "req": {"method": "POST", "url": "/v1/messages?beta=true", "host": "gw.example"},
    "res": {"statusCode": 200, "bytesSent": 48211},
    "responseTime": 300104,
    "msg": "request completed",
}


@pytest.mark.parametrize(
    ("program", "fields", "slack_s"),
    [
        ("Caddy", CADDY, 0.01),
        ("Traefik", TRAEFIK, 0.01),
        ("Envoy", ENVOY, 0.01),
        ("nginx", NGINX, 1.0),
        ("JSON log", PINO, 0.01),
    ],
)
def test_a_table_of_names_reads_them_all(program: str, fields: dict[str, Any], slack_s: float) -> None:
    """Seconds, milliseconds or nanoseconds; nested or flat; the beginning or the end: the same request."""
    line = one(json.dumps(fields))
    assert (line.program, line.method, line.path, line.host) == (
        program,
        "POST",
        "/v1/messages",
        "gw.example",
    )
    assert line.began_s == pytest.approx(NOON_S, abs=slack_s) and line.took_s == pytest.approx(300.104)
    assert line.sent_bytes == 48211 and "sk-ant" not in repr(line)


def test_flags_states_and_499_name_the_client() -> None:
    """What text logs say by a word, JSON logs say by a field."""
    for fields in (ENVOY, TRAEFIK):
        assert one(json.dumps(fields)).side is Side.CLIENT
    state = {
        "time": "2026-03-28T10:23:21Z",
        "termination_state": "SD--",
        "status": 200,
        "path": "/v1/messages",
    }
    assert one(json.dumps(state)).side is Side.PROVIDER


def test_an_error_line_counts_and_a_line_about_something_else_does_not() -> None:
    """Caddy's proxy says in words that a client left; a start-up message is understood and passed by."""
    left = CADDY | {"logger": "http.handlers.reverse_proxy", "msg": "aborting with incomplete response",
                    "error": "write tcp 10.0.0.1: connection reset by peer"}  # fmt: skip
    line = one(json.dumps(left))
    assert (line.side, line.mechanism) == (None, Mechanism.RST)
    assert seen(json.dumps({"ts": NOON_S, "level": "info", "msg": "serving initial configuration"})) == []


def test_dockers_own_files_are_unwrapped() -> None:
    """`{"log": ..., "time": ...}` holds a line of any format, and a time for those without."""
    inner = json.dumps({"log": "  API Error (Connection error.)\n", "stream": "stdout", "time": "2026-03-28T10:23:17.5Z"},
                       separators=(",", ":"))  # fmt: skip
    line = one(inner)
    assert line.program == "Claude Code" and line.ended_s == NOON_S + 296.5 and line.zone_known
