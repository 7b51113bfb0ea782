"""The provider does on the wire what its answer says, and remembers what it saw."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections.abc import Callable
from time import monotonic

import pytest

from holdfast.flight.endings import Phase
from holdfast.lab.provider import Provider, Request
from holdfast.lab.script import (
    Answer,
    End,
    Gzip,
    answer,
    bare_fin,
    comment,
    cut_short,
    fault,
    fin,
    flood,
    headers_only,
    http_error,
    open_text,
    pause,
    pings,
    raw,
    redacted_thinking,
    reset,
    says,
    server_tool,
    silence,
    start,
    stop,
    text,
    thinking,
    tool,
    unanswered,
)
from tests.lab import wire

HELLO = answer(text("Hello there"))
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's TCP_INFO")
ORDER = ["message_start", "content_block_start", "content_block_delta", "content_block_delta"]


def test_an_answer_is_streamed_event_by_event() -> None:
    """A proper answer has the API's events in the API's order, and ends in a proper body."""
    with Provider(HELLO).running() as provider:
        heard = wire.ask(provider.url)

        assert (heard.status, heard.whole, heard.ending) == (200, True, "open")
        assert heard.events == [*ORDER, "content_block_stop", "message_delta", "message_stop"]
        provider.wait_until(lambda p: p.exchanges[0].ended == "end")
        assert provider.exchanges[0].sent == heard.body
        assert provider.generated == 1


def test_a_connection_serves_many_requests() -> None:
    """Connections are kept alive, and each request knows which connection it came on."""
    with Provider(HELLO).running() as provider:
        sock = wire.dial(provider.url)
        for _ in range(3):
            wire.send(sock, {"stream": True})
            assert wire.listen(sock).whole
        sock.close()

        provider.wait_until(lambda p: p.connections[0].ended == "client fin")
        assert [request.connection for request in provider.requests] == [1, 1, 1]


@pytest.mark.parametrize(
    ("end", "seen_ending", "whole"),
    [(fin(), "fin", False), (reset(), "rst", False), (cut_short(), "open", True)],
)
def test_each_ending_is_seen_by_the_client(end: End, seen_ending: str, whole: bool) -> None:
    """FIN, RST and a proper body without message_stop are three different things on the wire."""
    with Provider(answer(open_text(), says("Hello there"), end)).running() as provider:
        heard = wire.ask(provider.url)

        assert (heard.ending, heard.whole) == (seen_ending, whole)
        assert heard.events == ORDER
        assert provider.exchanges[0].phase is Phase.IN_TEXT


@pytest.mark.parametrize("end", [fin(), reset()])
def test_an_unanswered_request_gets_no_byte(end: End) -> None:
    """A hang-up before the headers has nothing before it."""
    with Provider(unanswered(end)).running() as provider:
        heard = wire.ask(provider.url)

        assert (heard.head, heard.ending) == ("", end.value)
        assert provider.exchanges[0].status is None


@pytest.mark.parametrize("end", [fin(), reset()])
def test_headers_may_be_all_that_comes(end: End) -> None:
    """A hang-up right behind the headers has no event before it."""
    with Provider(headers_only(end)).running() as provider:
        heard = wire.ask(provider.url)

        assert (heard.status, heard.body, heard.ending) == (200, b"", end.value)
        assert provider.exchanges[0].phase is Phase.AWAITING_FIRST_EVENT


def test_silence_lasts_until_the_client_leaves_and_the_leaving_is_noted() -> None:
    """A client that resets inside a silent answer is seen to have reset it, after which event, and when."""
    with Provider(answer(text("Hello"), silence())).running() as provider:
        sock = wire.dial(provider.url)
        wire.send(sock, {"stream": True})
        provider.wait_until(lambda p: bool(p.exchanges) and p.exchanges[0].steps == 4)
        left_s = monotonic()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        provider.wait_until(lambda p: bool(p.exchanges[0].ended))

        exchange, connection = provider.exchanges[0], provider.connections[0]
        assert (exchange.ended, exchange.finished, exchange.phase) == (
            "client rst",
            False,
            Phase.BETWEEN_BLOCKS,
        )
        assert (connection.ended, connection.after_steps) == ("client rst", 4)
        assert connection.ended_s is not None and 0 <= connection.ended_s - left_s < 1


def test_a_client_that_closes_in_order_is_told_apart_from_one_that_resets() -> None:
    """A FIN from the client is noted as a FIN."""
    with Provider(answer(silence(), before_headers_s=60)).running() as provider:
        sock = wire.dial(provider.url)
        wire.send(sock, {"stream": True})
        provider.wait_until(lambda p: len(p.exchanges) == 1)
        sock.close()
        provider.wait_until(lambda p: p.exchanges[0].ended == "client fin")

        assert provider.exchanges[0].phase is Phase.AWAITING_HEADERS
        assert provider.exchanges[0].status is None


@linux_only
def test_tls_may_end_with_and_without_its_goodbye() -> None:
    """Without close_notify the same FIN is a truncation to a client that looks."""
    server, trust = wire.lab_tls()
    orderly = answer(text("Hello"), fin())
    ragged = answer(text("Hello"), bare_fin())
    with Provider([orderly, ragged], ssl=server).running() as provider:
        assert provider.url.startswith("https://")
        assert wire.ask(provider.url, trust=trust).ending == "fin"
        assert wire.ask(provider.url, trust=trust).ending == "ragged"


@linux_only
def test_tls_can_be_reset() -> None:
    """A reset is a reset below TLS too, and so is a client's."""
    server, trust = wire.lab_tls()
    with Provider([answer(text("Hello"), reset()), HELLO], ssl=server).running() as provider:
        heard = wire.ask(provider.url, trust=trust)

        assert (heard.ending, heard.events[-1]) == ("rst", "content_block_stop")
        assert wire.ask(provider.url, trust=trust).whole


def test_a_compressed_answer_is_flushed_event_by_event() -> None:
    """gzip comes only where it is accepted, unless the answer insists; what is inside is the same."""
    willing, stubborn = (
        answer(text("Hello there"), gzip=Gzip.IF_ACCEPTED),
        answer(text("Hello there"), gzip=Gzip.ALWAYS),
    )
    with Provider([willing, willing, stubborn]).running() as provider:
        plain = wire.ask(provider.url, headers="accept-encoding: identity\r\n")
        packed = wire.ask(provider.url, headers="accept-encoding: gzip, br\r\n")
        forced = wire.ask(provider.url, headers="accept-encoding: identity\r\n")

    assert "content-encoding" not in plain.head
    assert "content-encoding: gzip" in packed.head and "content-encoding: gzip" in forced.head
    assert wire.gunzip(packed.body).replace(b"msg_lab_2", b"msg_lab_1") == plain.body


def test_the_first_flushed_event_of_a_compressed_answer_can_be_read_at_once() -> None:
    """A compressed stream that falls silent has delivered what was said before."""
    with Provider(answer(text("Hello"), silence(), gzip=Gzip.ALWAYS)).running() as provider:
        sock = wire.dial(provider.url)
        wire.send(sock, {"stream": True})
        provider.wait_until(lambda p: bool(p.exchanges) and p.exchanges[0].steps == 4)
        sock.settimeout(0.2)
        seen = b""
        with pytest.raises(TimeoutError):
            while data := sock.recv(65536):
                seen += data
        sock.close()

    body, _ = wire._unchunked(seen.partition(b"\r\n\r\n")[2])
    assert b"content_block_stop" in wire.gunzip(body)


def test_a_request_without_stream_gets_one_message_after_the_same_pauses() -> None:
    """Who does not ask for a stream waits as long and gets the whole message as JSON."""
    told = answer(
        text("Hello"), pause(0.1), tool("Write", {"file_path": "a.py"}, silent_s=0.1), before_headers_s=0.1
    )
    with Provider(told).running() as provider:
        began_s = monotonic()
        heard = wire.ask(provider.url, {"messages": []})
        took_s = monotonic() - began_s

    message = json.loads(heard.body)
    assert 0.3 <= took_s < 2
    assert message["stop_reason"] == "tool_use"
    assert message["content"][0] == {"type": "text", "text": "Hello"}
    assert message["content"][1]["input"] == {"file_path": "a.py"}


def test_every_kind_of_block_folds_to_the_same_content_streamed_or_whole() -> None:
    """The official SDK reads the stream and the whole message to equal content, block for block."""
    anthropic = pytest.importorskip("anthropic")
    told = answer(
        thinking("Let me see."),
        redacted_thinking(),
        server_tool("frozen clients"),
        text("I will write it."),
        tool("Write", {"file_path": "världen.py", "content": "x = 1\n" * 50}),
    )
    question = {"model": "claude-lab-1", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
    with Provider(told).running() as provider:
        client = anthropic.Anthropic(base_url=provider.url, api_key="fake", max_retries=0)
        with client.messages.stream(**question) as stream:
            streamed = stream.get_final_message()
        whole = client.messages.create(**question)
        client.close()

    kinds = ["thinking", "redacted_thinking", "server_tool_use", "web_search_tool_result", "text", "tool_use"]
    assert [block.type for block in streamed.content] == kinds
    assert [block.model_dump() for block in streamed.content] == [
        block.model_dump() for block in whole.content
    ]
    assert streamed.usage.output_tokens == whole.usage.output_tokens == told.tokens
    assert streamed.content[0].signature


def test_errors_come_with_status_body_and_retry_after() -> None:
    """An HTTP error is no generation, and carries what the API's errors carry."""
    with Provider([http_error(429, "slow down", retry_after=3), fault_first()]).running() as provider:
        refused = wire.ask(provider.url)
        late = wire.ask(provider.url)

        assert refused.status == 429 and "retry-after: 3" in refused.head
        assert json.loads(refused.body)["error"] == {"type": "rate_limit_error", "message": "slow down"}
        assert (late.status, late.events, late.whole) == (200, ["message_start", "error"], True)
        assert provider.generated == 1


def fault_first() -> Answer:
    return answer(fault("overloaded_error"))


def test_an_in_stream_error_is_a_status_where_no_stream_was_asked_for() -> None:
    """The non-streaming request behind a late error gets its true status."""
    with Provider(fault_first()).running() as provider:
        heard = wire.ask(provider.url, {"messages": []})

    assert (heard.status, json.loads(heard.body)["error"]["type"]) == (529, "overloaded_error")


def test_headers_may_come_long_before_the_first_event() -> None:
    """Where `start()` is among the parts, what stands before it is silence (or noise) after the headers."""
    told = answer(comment(), pings(0.01, 2), raw(b"\n"), start(), text("Hi"))
    with Provider(told).running() as provider:
        heard = wire.ask(provider.url)

    assert heard.body.startswith(b": lab\n\n")
    assert heard.events[:3] == ["ping", "ping", "message_start"]


def test_what_is_generated_in_silence_is_counted_while_it_lasts() -> None:
    """Tokens held back during a silent tool call were generated all the same."""
    told = answer(tool("Write", {"content": "y" * 4000}, silent_s=0.4))
    with Provider(told).running() as provider:
        sock = wire.dial(provider.url)
        wire.send(sock, {"stream": True})
        provider.wait_until(lambda p: bool(p.exchanges) and p.exchanges[0].tokens > 300)
        sock.close()
        provider.wait_until(lambda p: bool(p.exchanges[0].ended))

        assert told.tokens > 1000
        assert 300 < provider.exchanges[0].tokens < told.tokens


def test_speed_shortens_every_pause() -> None:
    """At speed 1000, the report's 300 s are 0.3 s."""
    with Provider(answer(pause(100), text("x"), before_headers_s=200), speed=1000).running() as provider:
        began_s = monotonic()
        assert wire.ask(provider.url).whole
        assert 0.3 <= monotonic() - began_s < 2


def test_everything_else_is_answered_plausibly() -> None:
    """HEAD has no body; models and count_tokens answer; an unknown path is the API's own 404."""
    with Provider(HELLO).running() as provider:
        models = wire.ask(provider.url, head="GET /v1/models?limit=1000")
        count = wire.ask(
            provider.url, {"messages": ["x" * 400]}, head="POST /v1/messages/count_tokens?beta=true"
        )
        unknown = wire.ask(provider.url, head="POST /v1/nothing")
        sock = wire.dial(provider.url)
        wire.send(sock, {}, head="HEAD /")
        probe = sock.recv(65536)
        sock.close()

        assert json.loads(models.body)["data"] and json.loads(count.body)["input_tokens"] >= 100
        assert (unknown.status, json.loads(unknown.body)["error"]["type"]) == (404, "not_found_error")
        assert probe.startswith(b"HTTP/1.1 200") and probe.endswith(b"\r\n\r\n")
        assert provider.generated == 0


def test_an_unexpected_request_is_refused_aloud() -> None:
    """Answers in order run out: the next request is told so, and is no generation."""
    with Provider([HELLO]).running() as provider:
        assert wire.ask(provider.url).status == 200
        assert wire.ask(provider.url).status == 400
        assert provider.generated == 1


def test_a_rule_sees_the_request() -> None:
    """A function decides by what was asked; bytes in pieces and close-delimited bodies are told by the answer."""

    def rule(request: Request) -> Answer:
        assert request.headers["host"] == "lab" and request.streaming
        return answer(text(request.json["messages"][0]), framing="close", piece_bytes=7)

    with Provider(rule, prefix="/some/path").running() as provider:
        heard = wire.ask(
            provider.url, {"stream": True, "messages": ["Echo"]}, head="POST /some/path/v1/messages"
        )

    assert b'"text":"Echo"' in heard.body and heard.ending == "fin"
    assert "chunked" not in heard.head


def test_a_rule_that_fails_is_heard_of() -> None:
    """What a rule raises is answered with a 400 and comes out when the provider stops."""

    def rule(request: Request) -> Answer:
        raise AssertionError("not this request")

    with pytest.raises(AssertionError, match="not this request"), Provider(rule).running() as provider:
        assert wire.ask(provider.url).status == 400


def test_a_flood_waits_for_a_slow_client() -> None:
    """Fifty megabytes are made while they are sent; a client that does not read stops the making."""
    with Provider(answer(flood(50_000_000)), keep_bytes=1000).running() as provider:
        sock = wire.dial(provider.url)
        wire.send(sock, {"stream": True})
        provider.wait_until(lambda p: bool(p.exchanges) and p.exchanges[0].steps > 100)
        before = -1
        while before != (before := provider.exchanges[0].sent_bytes):
            # Socket buffers grow for a while; once they are full nothing more is made.
            provider.wait_until(_quiet_for(0.2))
        assert 0 < before < 25_000_000
        sock.close()

        assert len(provider.exchanges[0].sent) == 1000


def _quiet_for(seconds: float) -> Callable[[Provider], bool]:
    since_s = monotonic()
    return lambda _: monotonic() - since_s > seconds


def test_on_the_callers_loop() -> None:
    """The provider also lives on a loop that is already there."""

    async def story() -> bool:
        async with Provider(HELLO) as provider:
            return (await asyncio.to_thread(wire.ask, provider.url)).whole

    assert asyncio.run(story())


def test_messages_may_start_again_in_one_stream() -> None:
    """A second start() is a second message_start, blocks counted from 0 again."""
    told = answer(start(), open_text(), says("PARTIAL"), start(), text("WHOLE"), stop())
    with Provider(told).running() as provider:
        heard = wire.ask(provider.url)

    assert heard.events.count("message_start") == 2
    assert heard.body.count(b'"index":0') == 5


@linux_only
@pytest.mark.parametrize("secure", [False, True])
def test_endings_are_the_same_on_uvloop(secure: bool) -> None:
    """FIN, RST and a FIN without close_notify look the same from the gateway's own loop."""
    uvloop = pytest.importorskip("uvloop")
    server, trust = wire.lab_tls() if secure else (None, None)
    answers = [answer(text("Hello"), end) for end in (fin(), reset(), bare_fin())]

    async def story() -> list[str]:
        async with Provider(answers, ssl=server) as provider:
            heard = [await asyncio.to_thread(wire.ask, provider.url, trust=trust) for _ in answers]
            assert [seen.ended for seen in provider.connections] == [
                "provider fin",
                "provider rst",
                "provider bare fin",
            ]
            return [one.ending for one in heard]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(story()) == ["fin", "rst", "ragged" if secure else "fin"]
