"""What clients hear through the gateway, over real sockets, while the provider does this and that."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from holdfast.flight import flights
from holdfast.flight import moments as m
from holdfast.flight.endings import Mechanism
from holdfast.gateway.dialects import anthropic
from holdfast.gateway.settings import Settings, Timeouts, Upstream
from holdfast.lab import script as s
from holdfast.lab.provider import Provider, Request
from tests.gateway.bare import UNHEALED, before, request_of
from tests.gateway.hosted import HEADERS, Call, body, hosted

QUICK = Timeouts(keepalive_s=0.1, cancel_grace_s=0.3, limit_tolerance_s=0.05, orphan_s=5, unheard_s=5)


def settings(provider: Provider, **changes: Any) -> Settings:
    return replace(Settings(upstream=Upstream.parse(provider.url), timeouts=QUICK), **changes)


def told_bytes(provider: Provider) -> bytes:
    """The body of the provider's first answer, as it sent it."""
    return bytes(provider.exchanges[0].sent)


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_an_undisturbed_answer_is_relayed_byte_for_byte(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """What the provider sent is what the client hears, on either event loop."""
    told = s.answer(
        s.thinking("Hmm."), s.text("Hello you"), s.tool("Write", {"file_path": "a", "content": "b"})
    )
    with (
        Provider(told).running() as provider,
        hosted(settings(provider), new_loop=new_loop) as gateway,
    ):
        call = Call(gateway.port)
        heard = call.hear_all()

        assert call.response.status == 200
        assert call.response.getheader("content-type", "").startswith("text/event-stream")
        assert heard == told_bytes(provider)
        [ended] = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.completed
        [record] = gateway.kept.records.values()
        assert call.response.getheader("holdfast-turn") == record.turn_id
        assert (record.attempts, record.keepalives, record.stop_reason) == (1, 0, "tool_use")


def test_a_silence_is_filled_with_keepalives_that_leave_no_trace() -> None:
    """The client hears something every interval, and folds the same message."""
    told = s.answer(s.tool("Write", {"content": "x" * 100}, silent_s=0.5))
    with Provider(told).running() as provider, hosted(settings(provider)) as gateway:
        heard = Call(gateway.port).hear_all()

        delta = anthropic.null_delta(1)
        assert heard.count(b'"stop_reason":null,"stop_sequence":null},"usage"') >= 3
        assert anthropic.fold(heard) == anthropic.fold(told_bytes(provider))
        assert delta.startswith(b"event: message_delta")
        [quiet] = gateway.kept.moments(m.QuietEnded)
        assert quiet.keepalives >= 3


def test_an_answer_without_streaming_is_counted_like_a_stream() -> None:
    """Model, tokens and stop reason are read from the message's end, and nothing of it is changed."""
    told = s.answer(s.text("All at once."))
    with Provider(told).running() as provider, hosted(settings(provider)) as gateway:
        # An agent whose answers are fetched as they were asked for.
        heard = Call(gateway.port, body(stream=None), {"user-agent": "curl/8.0"}).hear_all()

        gateway.kept.wait_for(m.TurnEnded)
        said, [record] = json.loads(heard), gateway.kept.records.values()
        assert heard == told_bytes(provider)
        assert (record.model, record.stop_reason) == (said["model"], "end_turn")
        assert record.input_tokens == said["usage"]["input_tokens"] > 0
        assert record.output_tokens == said["usage"]["output_tokens"] > 0
        [finished] = gateway.kept.moments(m.AnswerFinished)
        assert finished == m.AnswerFinished("end_turn", record.output_tokens)


def test_a_request_that_is_no_turn_is_carried_opaque() -> None:
    """Token counting goes through in both directions and is shown as not protected."""
    with Provider(s.answer(s.text("x"))).running() as provider, hosted(settings(provider)) as gateway:
        call = Call(gateway.port, path="/v1/messages/count_tokens?beta=true")
        counted = json.loads(call.hear_all())

        assert counted["input_tokens"] > 0
        [record] = gateway.kept.records.values()
        assert record.kind == "opaque"


def test_an_error_status_passes_through_unmodified() -> None:
    """Clients recover by status, wording and retry-after, so nothing of them is touched."""
    told = s.http_error(529, "Overloaded", retry_after=3)
    with Provider(told).running() as provider, hosted(settings(provider)) as gateway:
        call = Call(gateway.port)

        assert call.hear_all() == told_bytes(provider)
        assert call.response.status == 529
        assert call.response.getheader("retry-after") == "3"
        [ended] = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.mechanism is Mechanism.HTTP_ERROR


@pytest.mark.parametrize("end", [s.reset(), s.fin(), s.cut_short()])
def test_an_answer_that_breaks_is_never_passed_off_as_whole(end: s.End) -> None:
    """However clean the break looks, the client hears an error, and the attic has what there was."""
    told = s.answer(s.open_text(), s.says("Half of"), s.pause(0.05), end)
    with Provider(told).running() as provider, hosted(settings(provider, **UNHEALED)) as gateway:
        heard = Call(gateway.port).hear_all()

        assert heard.startswith(told_bytes(provider))
        assert b"event: error" in heard
        assert b"holdfast flight" in heard
        gateway.kept.wait_for(m.AnswerKept)
        [(_, kept, complete)] = gateway.kept.answers
        assert (kept, complete) == (told_bytes(provider), False)


def test_the_ports_of_both_connections_are_told() -> None:
    """By them a capture's connections are known, encrypted or not."""
    with Provider(s.answer(s.text("x"))).running() as provider, hosted(settings(provider)) as gateway:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=15)
        connection.connect()
        mine = connection.sock.getsockname()[1]
        for _ in range(2):
            connection.request("POST", "/v1/messages", json.dumps(body()), HEADERS)
            connection.getresponse().read()
        connection.close()

        joined = gateway.kept.moments(m.ReaderJoined)
        assert [(one.client_port, one.own_port) for one in joined] == [(mine, gateway.port)] * 2


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models"])
def test_our_own_port_towards_upstream_is_the_one_it_sees(path: str) -> None:
    """Of a turn's attempt and of what is carried opaque."""
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        told = Settings(
            upstream=Upstream.parse(f"http://127.0.0.1:{upstream.getsockname()[1]}"), timeouts=QUICK
        )
        with hosted(told) as gateway:
            call = Call(gateway.port, path=path)
            accepted, seen = upstream.accept()
            [connected] = gateway.kept.wait_for(m.Connected)
            assert connected.own_port == seen[1]
            call.leave()
            accepted.close()


def test_an_upstream_that_is_not_there_is_said_with_advice() -> None:
    """The client gets an error it retries, with what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nowhere = Settings(upstream=Upstream.parse(f"http://127.0.0.1:{port}"), timeouts=QUICK)
    with hosted(nowhere) as gateway:
        call = Call(gateway.port)
        said = json.loads(call.hear_all())

        assert call.response.status == 502
        assert said["error"]["type"] == "api_error"
        assert "refused" in said["error"]["message"]
        [record] = gateway.kept.records.values()
        assert record.request_bytes == len(json.dumps(body()))


def test_headers_that_do_not_come_are_replaced_by_ours_in_time() -> None:
    """Before the client's own limit it is given a 200 and keepalives, and then the whole answer."""
    told = s.answer(s.text("late"), before_headers_s=0.9)
    with Provider(told).running() as provider, hosted(settings(provider)) as gateway:
        call = Call(gateway.port, headers={"x-stainless-timeout": "0.5"})
        heard = call.hear_all()

        assert heard.endswith(told_bytes(provider))
        assert gateway.kept.moments(m.AnswerOpenedEarly)
        assert anthropic.fold(heard) == anthropic.fold(told_bytes(provider))


def test_a_late_error_is_said_in_the_stream_and_then_with_its_true_status() -> None:
    """After our 200 an error can only be an event; the request that follows is given what upstream said."""
    told = s.http_error(429, "Slow down", retry_after=7, before_headers_s=0.7)
    with Provider(told).running() as provider, hosted(settings(provider, **UNHEALED)) as gateway:
        first = Call(gateway.port, headers={"x-stainless-timeout": "0.5"})
        heard = first.hear_all()
        second = Call(gateway.port, body(stream=None), {"x-stainless-timeout": "0.5"})
        second.hear_all()

        assert first.response.status == 200
        assert b"event: error" in heard and b"Slow down" in heard
        assert second.response.status == 429
        assert second.response.getheader("retry-after") == "7"
        assert len(provider.requests) == 1
        [told] = gateway.kept.moments(m.ErrorRepeated)
        assert told.status == 429 and len(gateway.kept.records) == 1


def test_tools_are_unbuffered_for_upstream_and_the_clients_words_stay() -> None:
    """The one field is added to what goes out; the rest is the client's, to the byte."""
    with Provider(s.answer(s.text("x"))).running() as provider:
        with hosted(settings(provider, unbuffer=True)) as gateway:
            Call(gateway.port).hear_all()

            [edit] = [e for e in gateway.kept.moments(m.RequestEdited) if e.edit == "unbuffer"]
        sent = provider.requests[0].body
        assert edit.detail == "1 tools"
        assert sent.replace(b'"eager_input_streaming":true,', b"") == json.dumps(body()).encode()


def test_an_upstream_that_refuses_our_edit_is_asked_without_it() -> None:
    """An edit of ours never costs a turn; later turns are not edited any more."""

    def rule(request: Request) -> s.Answer:
        if b"eager_input_streaming" in request.body:
            return s.http_error(400, "tools.0.eager_input_streaming: Extra inputs are not permitted")
        return s.answer(s.text("fine"))

    with Provider(rule).running() as provider, hosted(settings(provider, unbuffer=True)) as gateway:
        first, second = Call(gateway.port), Call(gateway.port, body("again"))

        assert (first.response.status, second.response.status) == (200, 200)
        assert b"fine" in first.hear_all() and b"fine" in second.hear_all()
        assert provider.generated == 2
        assert len(provider.requests) in (3, 4)  # the second may have been on its way already
        gateway.kept.wait_for(m.TurnEnded, 2)
        assert all(ended.ending.completed for ended in gateway.kept.moments(m.TurnEnded))


def test_any_other_refusal_of_an_edited_request_passes_through() -> None:
    """As it came: clients recover by its wording."""
    told = s.http_error(400, "prompt is too long: 250000 tokens > 200000 maximum")
    with Provider(told).running() as provider, hosted(settings(provider, unbuffer=True)) as gateway:
        call = Call(gateway.port)

        assert call.hear_all() == told_bytes(provider)
        assert call.response.status == 400
        assert len(provider.requests) == 1


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_lines_may_end_in_any_of_the_three_ways(eol: bytes, framing: str) -> None:
    """The last one too, whatever tells that the body is over: the answer is whole, and nothing is put behind it."""
    stream = b"".join(
        b"event: " + name + eol + b"data: " + data + eol + eol
        for name, data in (
            (b"message_start", b'{"type":"message_start","message":{"id":"msg_1","content":[]}}'),
            (b"message_delta", b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{}}'),
            (b"message_stop", b'{"type":"message_stop"}'),
        )
    )

    def upstream(connection: socket.socket) -> None:
        request_of(connection)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        if framing == "chunked":
            head += b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(stream), stream)
        elif framing == "length":
            head += b"content-length: %d\r\n\r\n" % len(stream) + stream
        else:
            head += b"connection: close\r\n\r\n" + stream
        connection.sendall(head)

    with before(upstream) as gateway:
        call = Call(gateway.port)

        assert call.hear_all() == stream
        [ended] = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.completed


def test_an_answer_that_comes_encoded_is_passed_on_unread_and_its_flight_says_so() -> None:
    """Nobody between it and its client can find an event in it: the story and the list tell that nothing held it."""
    packed = gzip.compress(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')

    def upstream(connection: socket.socket) -> None:
        request_of(connection)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n"
        connection.sendall(head + b"content-length: %d\r\n\r\n" % len(packed) + packed)

    with before(upstream) as gateway:
        heard = Call(gateway.port).hear_all()
        gateway.kept.wait_for(m.TurnEnded)
        [record] = gateway.kept.records.values()

    assert heard == packed
    assert any(
        "came encoded, unasked: it was passed on unread" in line.text for line in flights.story(record)
    )
    assert "came encoded, not protected" in flights.saved(record)
    assert "came encoded, not protected" in flights.summary(record)
