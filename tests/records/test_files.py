"""HAR files and mitmproxy's flows."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from holdfast.flight.endings import Mechanism, Side
from holdfast.records import har, mitmproxy
from holdfast.records.sighting import Sighting, Vantage
from tests.records.told import NOON_S

KEY = "sk-ant-api03-verysecretverysecretverysecret"


def entry(**changes: Any) -> dict[str, Any]:
    """An entry as browsers export it."""
    return {
        "startedDateTime": "2026-03-28T18:18:21.250+08:00",
        "time": 300104.2,
        "request": {
            "method": "POST",
            "url": f"https://user:{KEY}@gw.example/v1/messages?key={KEY}",
            "headers": [{"name": "x-api-key", "value": KEY}],
            "postData": {"text": KEY},
            "bodySize": 81234,
        },
        "response": {
            "status": 200,
            "headers": [{"name": "request-id", "value": "req_011CSHoEeqs5C35K2UUqR7Fy"}],
            "content": {"size": 48211, "mimeType": "text/event-stream", "text": KEY},
        },
        "timings": {"blocked": -1, "wait": 900, "receive": 299000},
    } | changes


def document(*entries: Any, creator: str = "WebInspector") -> bytes:
    """A HAR file."""
    return json.dumps({"log": {"version": "1.2", "creator": {"name": creator}, "entries": entries}}).encode()


def test_a_har_entry_is_a_request_of_a_browser() -> None:
    """Start with its zone, duration, size and the provider's id; no body, no header, no query, no login."""
    (line,) = har.sightings(document(entry()))
    assert line and line.began_s == NOON_S + 0.25 and line.zone_known
    assert line.took_s == pytest.approx(300.1042)
    assert (line.path, line.host, line.ids) == (
        "/v1/messages",
        "gw.example",
        ("req_011CSHoEeqs5C35K2UUqR7Fy",),
    )
    assert line.vantage is Vantage.CLIENT and KEY[:20] not in repr(line)


@pytest.mark.parametrize(
    ("address", "spoken", "edge", "http"),
    [
        ("203.0.113.7", "h2", "203.0.113.7", "2"),
        ("[2001:db8::7]", "HTTP/2.0", "2001:db8::7", "2"),
        ("2001:DB8::7", "http/1.1", "2001:db8::7", "1.1"),
        ("edge.example", "unknown", None, None),
        (None, None, None, None),
    ],
)
def test_a_browser_writes_which_way_it_went(
    address: str | None, spoken: str | None, edge: str | None, http: str | None
) -> None:
    """The address that it asked and the HTTP that it spoke. A proxy's entry has its client's HTTP, which says nothing."""
    asked = entry()["request"] | {"httpVersion": spoken}
    told = entry(request=asked, serverIPAddress=address)
    (browser,) = har.sightings(document(told))
    (proxy,) = har.sightings(document(told, creator="mitmproxy"))

    assert browser and (browser.edge, browser.http) == (edge, http)
    assert proxy and (proxy.edge, proxy.http) == (edge, None)


def test_missing_content_and_minus_one_are_said() -> None:
    """What report readers know as `[content missing]`, and timings that were not measured."""
    told = entry(response={"status": 200, "content": {"size": -1}}, timings={"receive": -1}, time=-1)
    (line,) = har.sightings(document(told, creator="mitmproxy"))
    assert line and "content is missing" in line.says and "was not measured" in line.says
    assert line.took_s is None and line.side is None and line.vantage is Vantage.BETWEEN


def test_an_entry_without_an_answer_has_the_browsers_reason() -> None:
    """Status 0 and `_error`."""
    (line,) = har.sightings(document(entry(response={"status": 0, "_error": "net::ERR_CONNECTION_RESET"})))
    assert line and line.status is None and (line.side, line.mechanism) == (Side.PROVIDER, Mechanism.RST)
    (left,) = har.sightings(document(entry(response={"status": 200, "_error": "net::ERR_ABORTED"})))
    assert left and left.side is Side.CLIENT and "broke it off itself" in left.says


def test_an_entry_that_cannot_be_read_does_not_end_the_file() -> None:
    """It is counted; a document that is cut off is refused as a whole."""
    found = list(har.sightings(document(entry(), {"startedDateTime": 7}, entry())))
    assert [one is None for one in found] == [False, True, False]
    with pytest.raises(har.NotHar):
        list(har.sightings(document(entry())[:-9]))


# ----- mitmproxy


def tnet(value: Any) -> bytes:
    """A value as a tnetstring."""
    match value:
        case None:
            return b"0:~"
        case bool():
            body, kind = (b"true" if value else b"false"), b"!"
        case int():
            body, kind = str(value).encode(), b"#"
        case float():
            body, kind = repr(value).encode(), b"^"
        case bytes():
            body, kind = value, b","
        case str():
            body, kind = value.encode(), b";"
        case list():
            body, kind = b"".join(map(tnet, value)), b"]"
        case dict():
            body, kind = b"".join(tnet(name) + tnet(inner) for name, inner in value.items()), b"}"
        case _:
            raise TypeError(value)
    return str(len(body)).encode() + b":" + body + kind


def flow(**changes: Any) -> dict[str, Any]:
    """A flow as mitmproxy saves it; the beginning of report 1's."""
    return {
        "version": 21,
        "type": "http",
        "id": "5f0c2c6e",
        "error": None,
        "client_conn": {"timestamp_start": NOON_S - 1.0},
        "server_conn": {"sni": "api.example"},
        "request": {
            "host": "api.example",
            "method": b"POST",
            "path": b"/api/anthropic/v1/messages?beta=true",
            "headers": [[b"x-api-key", KEY.encode()]],
            "content": KEY.encode() * 100,
            "timestamp_start": NOON_S,
            "timestamp_end": NOON_S + 0.1,
        },
        "response": {
            "status_code": 200,
            "headers": [[b"Request-Id", b"req_011CSHoEeqs5C35K2UUqR7Fy"]],
            "content": None,
            "timestamp_start": NOON_S + 2,
            "timestamp_end": None,
        },
    } | changes


def told(*values: dict[str, Any]) -> list[Sighting | None]:
    """What a flow file tells."""
    stream = io.BytesIO(b"".join(map(tnet, values)))
    return [mitmproxy.sighting(payload, n) for n, payload in enumerate(mitmproxy.flows(stream.read), 1)]


def test_a_client_that_disconnected_is_an_error_record() -> None:
    """With its time, so that the duration is known although the response never ended."""
    (line,) = told(flow(error={"msg": "Client disconnected.", "timestamp": NOON_S + 296.0}))
    assert line and (line.side, line.took_s, line.status) == (Side.CLIENT, 296.0, 200)
    assert line.says == "its client disconnected after its 200"
    assert line.path == "/api/anthropic/v1/messages" and line.ids == ("req_011CSHoEeqs5C35K2UUqR7Fy",)
    assert KEY[:20] not in repr(line)


def test_other_flows_say_what_they_know() -> None:
    """The server's end, a kill, a whole answer, a missing one, and what is no HTTP."""
    server = flow(error={"msg": "Server disconnected", "timestamp": NOON_S + 5})
    killed = flow(error={"msg": "Connection killed.", "timestamp": NOON_S + 5}, response=None)
    whole = flow(response=flow()["response"] | {"content": b"x" * 48211, "timestamp_end": NOON_S + 9})
    sides = [line.side if line else "none" for line in told(server, killed, whole, flow(), flow(type="dns"))]
    assert sides == [Side.PROVIDER, Side.PATH, Side.NOBODY, None, "none"]
    assert [line.sent_bytes for line in told(whole) if line] == [48211]


def test_a_flow_file_that_is_cut_off_gives_what_it_has() -> None:
    """The last flow of a proxy that was killed is half written."""
    stream = io.BytesIO(tnet(flow()) + tnet(flow())[:-20])
    found = mitmproxy.flows(stream.read)
    assert mitmproxy.sighting(next(found), 1)
    with pytest.raises(mitmproxy.NotAFlow):
        next(found)
