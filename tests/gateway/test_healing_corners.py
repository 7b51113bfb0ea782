"""Corners of healing, found by trying to break it: who comes when, and what came before."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace
from functools import partial

import pytest

from holdfast.flight import moments as m
from holdfast.flight.endings import Mechanism, Side
from holdfast.gateway import carrier, deadlines, heal
from holdfast.gateway.settings import RetryRules, Settings, Timeouts, Upstream
from holdfast.lab import script as s
from tests.gateway.bare import (
    CLOSE,
    QUICK,
    RESET_ON_CLOSE,
    UNHEALED,
    WATCHDOG,
    WATCHDOG_S,
    Client,
    answer_of,
    before,
    between,
    dechunked,
    head_for,
    head_of,
    on_loop,
    request,
    request_of,
    wait_until,
)
from tests.gateway.hosted import Call, body, hosted

UNKNOWN = {"user-agent": "nobody/1.0"}
SILENT = Timeouts(
    keepalive_s=600.0, cancel_grace_s=0.3, limit_tolerance_s=0.15, orphan_s=5, unheard_s=5, twin_grace_s=0.1
)
"No keepalives, so that a client with a watchdog gives up."
TOOL_USE = frozenset({"tool_use"})
WHOLE = s.answer(s.text("All of it."))
ONE = RetryRules(retries=1)


def give_up(call: Call, words: bytes) -> None:
    """Hear this much, wait for the watchdog, leave."""
    call.hear_until(words)
    time.sleep(WATCHDOG_S)
    call.leave()


# -- held back ------------------------------------------------------------------------------------------


def test_a_block_that_was_whole_while_nobody_listened_is_told_to_who_comes_back() -> None:
    """What is held back is known of an answer that goes on alone, too: its retry hears every byte."""
    told = s.answer(
        s.text("Once upon"), s.pause(0.6), s.tool("Write", {"file_path": "a"}), s.stop("tool_use")
    )
    with between(told, timeouts=SILENT, client_env=WATCHDOG, hold=TOOL_USE) as (provider, gateway):
        give_up(Call(gateway.port), b"upon")
        gateway.kept.wait_for(m.AnswerFinished)
        assert Call(gateway.port).hear_all() == bytes(provider.exchanges[0].sent)


def test_the_providers_error_is_told_while_a_block_is_held_back() -> None:
    """Nothing of the block, but the error itself: without it the stream would end as if it were whole."""
    broken = s.answer(s.text("So."), s.open_tool("Write"), s.argues('{"file_pa'), s.fault("overloaded_error"))
    with between(broken, hold=TOOL_USE, **UNHEALED) as (_, gateway):
        heard = Call(gateway.port, headers=UNKNOWN).hear_all()

        assert b"file_pa" not in heard
        assert heard.endswith(b"\n\n") and b"overloaded_error" in heard.rpartition(b"event: error")[2]


# -- what was heard -------------------------------------------------------------------------------------


def test_the_providers_own_tools_are_no_call_for_the_client_to_run() -> None:
    """Ended with `tool_use`, its client would find nothing to run and take the half answer for the whole."""
    broken = s.answer(s.server_tool("seas"), s.open_text(), s.says("The sea"), s.reset())
    with between(broken) as (provider, gateway):
        heard = Call(gateway.port).hear_all()

        assert b"event: error" in heard and b"message_stop" not in heard
        assert len(provider.exchanges) == 1


# -- who comes back meanwhile ---------------------------------------------------------------------------


def test_an_attempt_whose_time_came_while_nobody_listened_begins_when_somebody_does() -> None:
    """Nothing is asked for nobody; who comes back hears the whole answer, and is not left waiting for it."""
    broken = s.answer(s.open_text(), s.says("Once upon"), s.fault("overloaded_error"))
    slowly = RetryRules(retry_wait_s=1.0)
    with between([broken, WHOLE], timeouts=SILENT, client_env=WATCHDOG, retries=slowly) as (
        provider,
        gateway,
    ):
        give_up(Call(gateway.port), b"upon")  # nearly a second of backing off has not passed
        gateway.kept.wait_for(m.TurnOrphaned)
        time.sleep(1)
        assert len(provider.exchanges) == 1
        assert Call(gateway.port).hear_all() == bytes(provider.exchanges[-1].sent)
        assert len(provider.exchanges) == 2


@pytest.mark.parametrize("stream", [True, False])
def test_an_end_that_was_planned_is_told_to_who_comes_back(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits, its listener goes, another comes: that one hears what there is and its end, for no further attempt."""
    monkeypatch.setattr(heal, "CUT_WAITS_S", (0.5,))
    broken = s.answer(s.text("Once upon a time."), s.reset())
    with between([broken, WHOLE], timeouts=SILENT, client_env=WATCHDOG) as (provider, gateway):
        give_up(Call(gateway.port), b"upon")
        gateway.kept.wait_for(m.TurnOrphaned)
        heard = Call(gateway.port, body(stream=stream)).hear_all()

        assert b"upon" in heard
        assert b'"stop_reason":"max_tokens"' in heard
        assert len(provider.exchanges) == 1


def test_an_upload_that_had_to_wait_goes_on_when_its_upstream_broke_off() -> None:
    """The upstream reads nothing and resets: its client is asked for the rest, and the whole goes to the next one."""
    asked = json.dumps(body("x" * 30_000_000)).encode()
    stalled = threading.Event()
    came: list[int] = []

    def upstream(connection: socket.socket) -> None:
        came.append(0)
        if len(came) > 1:
            came[1] = len(request_of(connection).partition(b"\r\n\r\n")[2])
            connection.sendall(answer_of(200, b"{}", close=True))
            return
        head_of(connection)
        stalled.wait(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    with before(upstream) as gateway:
        client = Client(gateway.port, head_for("/v1/messages", {"content-length": str(len(asked)), **CLOSE}))
        wait_until(lambda: came)
        threading.Thread(target=client.sock.sendall, args=(asked,), daemon=True).start()
        listener = gateway.gateway._listener
        assert listener is not None
        wait_until(lambda: any(not one.transport.is_reading() for one in listener.connections))
        stalled.set()

        assert client.hear_all().endswith(b"{}")
        assert came == [0, len(asked)]


# -- a second attempt that is no stream -----------------------------------------------------------------

BROKEN = s.answer(s.open_text(), s.says("Once upon"), s.pause(0.05), s.reset())
LATE = s.answer(s.text("All of it."), before_headers_s=0.8)
OVERLOADED = s.http_error(529, "Overloaded")


def test_who_asks_for_a_whole_message_gets_one_while_a_second_attempt_is_awaited() -> None:
    """The first attempt's stream is in the log, and the second has no headers yet: the fallback waits for its JSON."""
    with between([BROKEN, LATE], timeouts=SILENT, client_env=WATCHDOG) as (provider, gateway):
        give_up(Call(gateway.port), b"broke here")
        gateway.kept.wait_for(m.TurnOrphaned)
        fallback = Call(gateway.port, body(stream=False))

        assert json.loads(fallback.hear_all())["content"] == [{"type": "text", "text": "All of it."}]
        assert fallback.response.getheader("content-type") == "application/json"
        assert len(provider.exchanges) == 2


def test_an_error_status_behind_a_broken_stream_is_an_error_event_for_who_came_meanwhile() -> None:
    """Never the error's JSON in the midst of a stream; and the attic has what there was of the answer."""
    refused = replace(OVERLOADED, before_headers_s=0.8)
    with between([BROKEN, refused], timeouts=SILENT, client_env=WATCHDOG, shorten=False, retries=ONE) as (
        _,
        gateway,
    ):
        give_up(Call(gateway.port), b"broke here")
        gateway.kept.wait_for(m.TurnOrphaned)
        heard = Call(gateway.port).hear_all()

        assert b"overloaded_error" in heard.rpartition(b"\n\nevent: error\ndata: ")[2]
        gateway.kept.wait_for(m.AnswerKept)
        ((_, kept, complete),) = gateway.kept.answers
        assert b"upon" in kept and b"overloaded_error" not in kept and not complete


def test_an_answer_that_is_no_stream_does_not_complete_a_stream_that_nobody_hears() -> None:
    """Its JSON is not put behind half a stream, and the half is not given away as the whole."""
    odd = s.http_error(200, "no stream")
    with between(
        [BROKEN, replace(odd, before_headers_s=0.5)], timeouts=SILENT, client_env=WATCHDOG, retries=ONE
    ) as (_, gateway):
        give_up(Call(gateway.port), b"broke here")
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert not ended.ending.completed


def test_a_slow_reader_gets_every_byte_before_a_second_attempts_error() -> None:
    """The error waits until the client has read what it was told before."""
    much = s.answer(s.open_text(), s.Flood(8_000_000, 100_000), s.reset())
    with between([much, OVERLOADED], shorten=False, retries=ONE) as (provider, gateway):
        client = Client(gateway.port, request(headers=CLOSE), receive_bytes=8192)
        gateway.kept.wait_for(m.NotAskedAgain)
        heard, whole = dechunked(client.hear_all())

        assert whole and heard.startswith(bytes(provider.exchanges[0].sent))
        assert heard.count(b"event: error") == 1


def test_what_the_model_said_of_a_field_is_no_refusal_of_it() -> None:
    """Only upstream's own words undo an edit: what was told before stays told, and the edit stays on."""
    told = s.answer(s.open_text(), s.says("Set eager_input_streaming."), s.pause(0.05), s.reset())
    with between([told, s.http_error(400, "No."), WHOLE], unbuffer=True, shorten=False) as (
        provider,
        gateway,
    ):
        heard = Call(gateway.port).hear_all()

        assert heard.count(b"event: error") == 1
        assert len(provider.exchanges) == 2


def test_a_length_that_was_told_binds() -> None:
    """Of another answer it would be wrong: a body that broke behind such a head is broken off."""
    head = answer_of(200, b"x" * 100)[:-100]
    came: list[bytes] = []

    def upstream(connection: socket.socket) -> None:
        came.append(request_of(connection))
        connection.sendall(head)
        time.sleep(0.2)

    with before(upstream) as gateway:
        client = Client(gateway.port, request(body(stream=False), CLOSE))
        heard = client.hear_all()

        assert heard.endswith(b"\r\n\r\n") and client.ended == "rst"
        assert len(came) == 1


# -- hedges ---------------------------------------------------------------------------------------------


def test_a_first_attempts_refusal_leaves_the_hedge_to_answer() -> None:
    """Its status is not told, because the second may yet answer: and it does, with its own."""
    refused = replace(OVERLOADED, before_headers_s=0.3)
    with between([refused, LATE], hedge_s=0.1) as (provider, gateway):
        call = Call(gateway.port)

        assert call.hear_all() == bytes(provider.exchanges[-1].sent)
        assert call.response.status == 200
        assert len(provider.exchanges) == 2


def test_a_hedge_goes_on_for_nobody_when_the_first_attempt_breaks() -> None:
    """The client gave up and is awaited: the second attempt is its turn's answer, and nothing runs without a turn."""
    broken = s.headers_only(s.reset(), after_s=0.6)
    with between([broken, LATE], timeouts=SILENT, client_env=WATCHDOG, hedge_s=0.1) as (provider, gateway):
        call = Call(gateway.port)
        assert call.response.status == 200
        time.sleep(WATCHDOG_S)
        call.leave()
        gateway.kept.wait_for(m.AttemptEnded)
        assert Call(gateway.port).hear_all() == bytes(provider.exchanges[-1].sent)
        assert len(provider.exchanges) == 2


def test_a_head_with_a_length_is_an_answer_that_speaks() -> None:
    """It is told at once and promises its own body, so the second attempt is stopped, or not begun."""
    content = b"x" * 100
    came: list[bytes] = []

    def upstream(connection: socket.socket) -> None:
        came.append(request_of(connection))
        connection.sendall(answer_of(200, content)[:-100])
        time.sleep(0.4)
        connection.sendall(content)

    with before(upstream, hedge_s=0.1) as gateway:
        heard = Client(gateway.port, request(body(stream=False), CLOSE)).hear_all()

        assert heard.endswith(b"\r\n\r\n" + content)
        assert len(came) == 1


# -- ends ----------------------------------------------------------------------------------------------

SLOWLY = RetryRules(retry_wait_s=0.5)
FAILS = s.answer(s.open_text(), s.says("Half"), s.fault("overloaded_error"))


def test_a_turn_that_was_cancelled_between_two_attempts_says_so() -> None:
    """It had no answer, so nobody can have missed the end of one; and no attempt follows."""
    with between([FAILS, WHOLE], retries=SLOWLY) as (provider, gateway):
        call = Call(gateway.port)
        call.hear_until(b"Half")
        gateway.kept.wait_for(m.AttemptPlanned)
        call.leave()
        (ended,) = gateway.kept.wait_for(m.TurnEnded)

        assert ended.ending.detail == "nobody waited for the answer"
        assert len(provider.exchanges) == 1


def test_a_gateway_that_stops_between_two_attempts_ended_the_turn() -> None:
    """Its client, who is told, has cancelled nothing."""
    with between([FAILS, WHOLE], retries=SLOWLY) as (_, gateway):
        call = Call(gateway.port)
        gateway.kept.wait_for(m.AttemptPlanned)
        on_loop(gateway, gateway.gateway.close())

        assert b"event: error" in call.hear_all()
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.side is Side.GATEWAY


@pytest.mark.parametrize(
    "error",
    [
        b'data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
        b'event:error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
    ],
    ids=["no name", "no blank"],
)
def test_an_error_is_one_whatever_its_name_looks_like(error: bytes) -> None:
    """Known by its type where it has no name, and healed like any other."""
    with between([s.answer(s.start(), s.raw(error), s.cut_short()), WHOLE]) as (_, gateway):
        assert b"event: message_stop" in Call(gateway.port).hear_all()
        assert gateway.kept.moments(m.AttemptEnded)[0].ending.mechanism is Mechanism.STREAM_ERROR


def test_pings_behind_an_error_prolong_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt begins soon after the error, though upstream goes on pinging."""
    monkeypatch.setattr(carrier, "LINGER_S", 0.2)
    monkeypatch.setattr(carrier, "Patience", partial(deadlines.Patience, linger_s=0.2))
    broken = s.answer(s.start(), s.fault("overloaded_error"), *s.pings(0.05, 60), s.cut_short())
    with between([broken, WHOLE]) as (_, gateway):
        asked = time.monotonic()
        assert b"event: message_stop" in Call(gateway.port).hear_all()
        assert time.monotonic() - asked < 2


def test_what_was_cancelled_while_its_upstream_was_away_is_not_asked_when_it_is_back() -> None:
    """Within the grace of a cancel nothing begins; who comes back in it is answered."""
    came: list[bytes] = []

    def answers(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                if asked := request_of(connection):
                    came.append(asked)
                    connection.sendall(answer_of(200, b"{}", close=True))

    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        threading.Thread(target=answers, args=(first,), daemon=True).start()
        patient = replace(QUICK, cancel_grace_s=10)
        with hosted(Settings(Upstream.parse(f"http://127.0.0.1:{port}"), timeouts=patient)) as gateway:
            assert Call(gateway.port, body("First.", stream=False)).hear_all() == b"{}"
            first.shutdown(socket.SHUT_RDWR)
            first.close()
            cancelled = Client(gateway.port, request(body("Second.", stream=False)))
            gateway.kept.wait_for(m.NetworkGone)
            cancelled.leave()
            gateway.kept.wait_for(m.ReaderLeft)
            with socket.create_server(("127.0.0.1", port)) as second:
                threading.Thread(target=answers, args=(second,), daemon=True).start()
                gateway.kept.wait_for(m.NetworkBack)
                assert len(came) == 1
                assert Call(gateway.port, body("Second.", stream=False)).hear_all() == b"{}"
                assert len(came) == 2
                second.shutdown(socket.SHUT_RDWR)
