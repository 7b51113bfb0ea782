"""The gateway stops, or the command it was started for has ended: what each client hears, and what is kept."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import pytest

from holdfast.flight import moments as m
from holdfast.gateway.settings import Timeouts
from holdfast.lab.script import Answer, answer, close_block, flood, open_text, pause, says, silence
from tests.gateway.bare import (
    WATCHDOG,
    WATCHDOG_S,
    Client,
    between,
    dechunked,
    engine_of,
    loop_of,
    on_loop,
    request,
    wait_until,
)
from tests.gateway.hosted import Call, Hosted, body


def slow(silent_s: float = 30.0) -> Answer:
    """`Once upon`, a silence, ` a time.`"""
    return answer(open_text(), says("Once upon"), pause(silent_s), says(" a time."), close_block())


def test_an_answer_that_the_stop_broke_off_is_said_kept_and_ended_once() -> None:
    """The client hears an error in its stream, the attic has what there was, the one attempt has one ending."""
    with between(slow()) as (provider, gateway):
        call = Call(gateway.port)
        call.hear_until(b"upon")

        on_loop(gateway, gateway.gateway.drain(0.2))

        assert b"event: error" in call.hear_all()
        ((_, kept, complete),) = gateway.kept.answers
        assert (kept, complete) == (bytes(provider.answers[0].sent), False)
        (ended,) = gateway.kept.moments(m.AttemptEnded)
        assert ended.ending.code == "G.cancel.text"


def test_a_whole_message_that_the_stop_broke_off_is_a_503() -> None:
    """Nothing was given to that client yet, so it is told by status, which it retries."""
    with between(slow(), unbuffer=True, timeouts=Timeouts()) as (provider, gateway):
        call = Call(gateway.port, body(stream=False))
        provider.wait_until(lambda seen: bool(seen.answers) and seen.answers[0].steps >= 3)

        on_loop(gateway, gateway.gateway.close())

        assert json.loads(call.hear_all())["error"]["type"] == "api_error"
        assert call.response.status == 503


def test_a_waiting_twin_is_not_begun_when_the_command_has_ended() -> None:
    """It waited to see whether it is a retry; now nobody wants either answer, so none is generated for it."""
    with between(slow(), timeouts=Timeouts(twin_grace_s=5.0)) as (provider, gateway):
        first = Call(gateway.port)
        first.hear_until(b"upon")
        second = Call(gateway.port)
        wait_until(lambda: waiting(gateway))

        loop_of(gateway).call_soon_threadsafe(gateway.gateway.client_gone)

        assert second.response.status == 503
        assert b"event: error" in first.hear_all()
        assert provider.generated == 1
        assert gateway.open_turns() == []


def waiting(gateway: Hosted) -> bool:
    """Whether some request waits to see what becomes of another's connection."""
    turns = list(engine_of(gateway)._turns.values())
    return any(carrier.waiting for carriers in turns for carrier in carriers)


def test_a_half_sent_request_is_waited_for_by_the_drain() -> None:
    """It began to arrive before the stop: it is read to its end, carried, and heard to its end."""
    with between(slow(0.2), unbuffer=True, timeouts=Timeouts()) as (provider, gateway):
        whole = request()
        client = Client(gateway.port, whole[:-10])
        wait_until(lambda: engine_of(gateway).arrivals)
        draining = asyncio.run_coroutine_threadsafe(gateway.gateway.drain(10.0), loop_of(gateway))
        wait_until(lambda: not gateway.gateway.ready)
        time.sleep(0.1)
        client.sock.sendall(whole[-10:])

        heard, ended = dechunked(client.hear_all())

        assert (heard, ended) == (bytes(provider.answers[0].sent), True)
        draining.result(5)
        assert client.ended == "fin"


@pytest.mark.parametrize("stopped_by", ["close", "client_gone"])
def test_an_answer_that_nobody_heard_is_not_completed_by_a_stop(stopped_by: str) -> None:
    """It is whole and in the attic; its turn still ends as one whose client never heard the end."""
    quiet = Timeouts(keepalive_s=600.0)
    with between(slow(0.5), timeouts=quiet, client_env=WATCHDOG) as (_, gateway):
        call = Call(gateway.port)
        call.hear_until(b"upon")
        time.sleep(WATCHDOG_S)
        call.leave()
        gateway.kept.wait_for(m.AnswerKept)

        stop: dict[str, Callable[[], object]] = {
            "close": lambda: on_loop(gateway, gateway.gateway.close()),
            "client_gone": lambda: loop_of(gateway).call_soon_threadsafe(gateway.gateway.client_gone),
        }
        stop[stopped_by]()

        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert not ended.ending.completed
        assert "nobody heard" in ended.ending.detail
        (record,) = gateway.kept.records.values()
        assert record.wasted_tokens == record.output_tokens
        ((_, _, complete),) = gateway.kept.answers
        assert complete


def test_a_lagging_reader_is_broken_off() -> None:
    """An error in its stream would stand where bytes are missing: it gets a reset, which nobody takes for an end."""
    told = answer(flood(24 * 1024 * 1024)[:2], silence())
    with between(told) as (provider, gateway):
        client = Client(gateway.port, request(), receive_bytes=32 * 1024)
        provider.wait_until(lambda seen: bool(seen.answers) and seen.answers[0].sent_bytes > 20_000_000)
        gateway.kept.wait_for(m.ReaderLagged)

        on_loop(gateway, gateway.gateway.close())

        client.hear_all()
        assert client.ended == "rst"
        assert b"event: error" not in client.heard


def test_who_asks_while_the_gateway_stops_is_told_to_ask_again() -> None:
    """On a connection that was open already: a 503 in the client's dialect, and nothing of it upstream."""
    with between(slow()) as (provider, gateway):
        first = Call(gateway.port)
        first.hear_until(b"upon")
        second = Client(gateway.port, request()[:20])
        loop_of(gateway).call_soon_threadsafe(gateway.gateway.client_gone)
        wait_until(lambda: engine_of(gateway).stopping)

        second.sock.sendall(request()[20:])
        second.hear_until(b"ask again")

        assert second.heard.startswith(b"HTTP/1.1 503 ")
        assert provider.generated == 1
