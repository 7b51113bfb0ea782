"""Answers that break or are not what was asked for: whoever waits for them hears so, and never takes them for whole."""

from __future__ import annotations

import json
import socket
import time

import pytest

from holdfast.flight import moments as m
from holdfast.flight.endings import Mechanism, Side
from holdfast.gateway.upstream.pool import Pool
from holdfast.lab import script as s
from tests.gateway.bare import (
    CLOSE,
    KEEPALIVE,
    RESET_ON_CLOSE,
    Client,
    answer_of,
    before,
    between,
    dechunked,
    head_of,
    request,
)
from tests.gateway.hosted import Call, body

IMPATIENT = {"x-stainless-timeout": "0.5"}
"A client that waits half a second for headers, so that it is given ours."
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "whole"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


# -- opened early, then no stream -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "content"),
    [("text/html", b"<html>Please log in</html>"), ("application/json", json.dumps(MESSAGE).encode())],
    ids=["a portal's page", "a whole message"],
)
def test_what_is_no_stream_is_told_as_an_error_in_the_stream_we_promised(kind: str, content: bytes) -> None:
    """After our own 200 the client cannot read a page in place of events: it hears an error, and what came."""
    told = s.http_error(200, body=content, headers={"content-type": kind}, before_headers_s=0.8)
    with between(told) as (_, gateway):
        call = Call(gateway.port, headers=IMPATIENT)
        heard = call.hear_all()

        assert call.response.getheader("content-type", "").startswith("text/event-stream")
        assert b"event: error" in heard and b"answered without a stream" in heard
        assert b"\n\n" + content not in heard
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert (ended.ending.side, ended.ending.mechanism) == (Side.PROVIDER, Mechanism.MALFORMED)


def test_an_error_body_that_breaks_is_told_in_the_stream_we_promised() -> None:
    """Upstream says 529 late and resets inside its JSON: the stream ends with an error event and a proper end."""

    def late_and_broken(upstream: socket.socket) -> None:
        head_of(upstream)
        time.sleep(0.8)
        upstream.sendall(answer_of(529, b"{" + b" " * 99)[:-99])

    with before(late_and_broken) as gateway:
        client = Client(gateway.port, request(headers=IMPATIENT | CLOSE))
        heard, whole = dechunked(client.hear_all())

        assert b"event: error" in heard and heard.endswith(b"\n\n")
        assert (whole, client.ended) == (True, "fin")
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert not ended.ending.completed


def test_a_page_that_trickles_in_is_waited_for_with_keepalives() -> None:
    """The client that was promised a stream is held until the page is over, then told."""

    def trickle(upstream: socket.socket) -> None:
        head_of(upstream)
        time.sleep(0.8)
        page = answer_of(200, b"p" * 10, kind="text/html")
        upstream.sendall(page[:-9])
        time.sleep(0.6)
        upstream.sendall(page[-9:])

    with before(trickle) as gateway:
        heard = Call(gateway.port, headers=IMPATIENT).hear_all()

        assert heard.count(KEEPALIVE) + heard.count(b"event: ping") >= 4
        assert heard.rindex(b"event: error") > heard.rindex(b"event: message_delta")


# -- asked for a whole message --------------------------------------------------------------------------


def test_a_plain_message_is_given_as_it_is_to_who_wants_one() -> None:
    """We asked for a stream to fold it, upstream answered with the message itself: nothing is left to fold."""
    told = s.http_error(200, body=json.dumps(MESSAGE).encode())
    with between(told, unbuffer=True) as (provider, gateway):
        call = Call(gateway.port, body(stream=False))

        assert json.loads(call.hear_all()) == MESSAGE
        assert provider.requests[0].streaming
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.completed


def test_a_refusal_is_passed_on_to_who_wants_a_whole_message() -> None:
    """Status, wording and retry-after, although a stream was asked for in its place."""
    with between(s.http_error(529, "Overloaded", retry_after=3), unbuffer=True) as (provider, gateway):
        call = Call(gateway.port, body(stream=False))

        assert call.hear_all() == bytes(provider.exchanges[0].sent)
        assert call.response.status == 529
        assert call.response.getheader("retry-after") == "3"


# -- the provider's own errors in the stream ------------------------------------------------------------


def test_an_error_in_the_stream_is_passed_on_and_not_said_twice() -> None:
    """The provider's words are the client's to read; we add nothing, and the turn ends for that reason."""
    told = s.answer(s.open_text(), s.says("Half of"), s.fault("overloaded_error", "Overloaded"))
    with between(told) as (provider, gateway):
        heard = Call(gateway.port, headers={"user-agent": "nobody/1.0"}).hear_all()

        assert heard == bytes(provider.exchanges[0].sent)
        assert heard.count(b"event: error") == 1
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.mechanism is Mechanism.STREAM_ERROR
        assert not gateway.kept.moments(m.ErrorSaid)


def test_an_error_in_the_stream_is_a_status_for_who_wants_a_whole_message() -> None:
    """As the API itself would have answered a request without streaming."""
    told = s.answer(s.open_text(), s.says("Half of"), s.fault("overloaded_error", "Overloaded"))
    with between(told, unbuffer=True) as (_, gateway):
        call = Call(gateway.port, body(stream=False))
        said = json.loads(call.hear_all())

        assert call.response.status == 529
        assert said["error"]["type"] == "overloaded_error"


# -- where the break is ---------------------------------------------------------------------------------


def test_an_error_behind_half_an_event_is_an_event_of_its_own() -> None:
    """An event longer than what is held is passed on in pieces; the stream breaks inside it."""
    half = b'event: content_block_delta\ndata: {"x":"' + b"y" * 1_500_000
    with between(s.answer(s.open_text(), s.raw(half), s.pause(0.2), s.reset())) as (_, gateway):
        heard = Call(gateway.port).hear_all()

        assert b"y\n\nevent: error\n" in heard
        assert heard.count(b"event: error") == 1


def reset_inside_a_chunk(upstream: socket.socket) -> None:
    head_of(upstream)
    upstream.sendall(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        b'transfer-encoding: chunked\r\n\r\n8\r\n{"half":\r\n'
    )
    time.sleep(0.2)
    upstream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"], ids=["turn", "opaque"])
def test_to_http_1_0_a_break_is_a_reset(path: str) -> None:
    """Its answers have no end but the close (nginx asks like this by default): a FIN would make half an answer whole."""
    with before(reset_inside_a_chunk) as gateway:
        client = Client(gateway.port, request(body(stream=False), path=path, version="1.0"))

        assert client.hear_all().endswith(b'{"half":')
        assert client.ended == "rst"


# -- defects of ours ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"], ids=["turn", "opaque"])
def test_a_defect_of_ours_is_told_and_not_hung_on(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody expected while connecting: the client is answered, with its place and not with its text."""

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("sk-ant-secret")

    monkeypatch.setattr(Pool, "connect", fail)
    with between(s.answer(s.text("never"))) as (_, gateway):
        call = Call(gateway.port, path=path)
        said = json.loads(call.hear_all())

        assert call.response.status == 502
        assert "RuntimeError at test_breaks.py" in said["error"]["message"]
        assert "please report it" in said["error"]["message"]
        assert "secret" not in str(said)
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert (ended.ending.side, ended.ending.mechanism) == (Side.GATEWAY, Mechanism.LOCAL_ERROR)
        assert gateway.open_turns() == []
