"""Asking again without our edit, where upstream refuses it: for whom, and what is heard meanwhile."""

from __future__ import annotations

import json
import socket
import time

from holdfast.flight import moments as m
from holdfast.gateway.settings import Timeouts
from holdfast.lab.provider import Request
from holdfast.lab.script import Answer, answer, error_json, http_error, text
from tests.gateway.bare import Client, answer_of, before, between, request, request_of, wait_until
from tests.gateway.hosted import Call, body

REFUSES = "tools.0.eager_input_streaming: Extra inputs are not permitted"
REFUSAL = answer_of(400, json.dumps(error_json("invalid_request_error", REFUSES)).encode())
PATIENT = Timeouts(cancel_grace_s=2.0)


def test_a_cancelled_turn_is_not_asked_again() -> None:
    """The refusal of our edit comes after the client has left: nobody wants a second try."""
    asked: list[bytes] = []

    def refuse_late(upstream: socket.socket) -> None:
        while request_of(upstream):
            asked.append(b"once")
            time.sleep(0.5)
            upstream.sendall(REFUSAL)

    with before(refuse_late, unbuffer=True, timeouts=PATIENT) as gateway:
        client = Client(gateway.port, request())
        wait_until(lambda: asked)
        client.leave()
        gateway.kept.wait_for(m.TurnEnded)
        time.sleep(0.3)

        (left,) = gateway.kept.moments(m.ReaderLeft)
        assert left.verdict == "cancelled"
        assert len(asked) == 1


def test_a_retry_is_not_opened_with_a_refusal_that_may_be_undone() -> None:
    """It joins while the 400 is still arriving, and is given the answer to the second try alone."""
    second = answer_of(200, json.dumps({"type": "message"}).encode())
    asked: list[bytes] = []

    def refuse_in_two_halves(upstream: socket.socket) -> None:
        while one := request_of(upstream):
            asked.append(one)
            if len(asked) == 1:
                upstream.sendall(REFUSAL[:-40])
                time.sleep(0.8)
                upstream.sendall(REFUSAL[-40:])
            else:
                upstream.sendall(second)

    with before(refuse_in_two_halves, unbuffer=True, timeouts=PATIENT) as gateway:
        client = Client(gateway.port, request(body(stream=False)))
        gateway.kept.wait_for(m.HeadersArrived)
        client.leave()
        gateway.kept.wait_for(m.ReaderLeft)
        call = Call(gateway.port, body(stream=False))

        assert json.loads(call.hear_all()) == {"type": "message"}
        assert call.response.status == 200
        assert [b"eager_input_streaming" in one for one in asked] == [True, False]


def test_a_whole_message_is_asked_for_again_as_a_stream() -> None:
    """Only the edit that was refused is undone: the fallback is still fetched as a stream, and folded."""

    def rule(asked: Request) -> Answer:
        return http_error(400, REFUSES) if b"eager_input_streaming" in asked.body else answer(text("fine"))

    with between(rule, unbuffer=True) as (provider, gateway):
        message = json.loads(Call(gateway.port, body(stream=False)).hear_all())

        assert message["content"] == [{"type": "text", "text": "fine"}]
        assert [asked.streaming for asked in provider.requests] == [True, True]
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.completed
        edits = [edit.edit for edit in gateway.kept.moments(m.RequestEdited)]
        assert edits == ["identity encoding", "unbuffer", "fetch as stream", "unbuffer undone"]


def test_each_try_has_its_ending() -> None:
    """The flight shows both: what upstream refused, and what it then answered."""

    def rule(asked: Request) -> Answer:
        return http_error(400, REFUSES) if b"eager_input_streaming" in asked.body else answer(text("fine"))

    with between(rule, unbuffer=True) as (_, gateway):
        Call(gateway.port).hear_all()
        gateway.kept.wait_for(m.TurnEnded)

        started = [moment.attempt for moment in gateway.kept.moments(m.AttemptStarted)]
        ended = [(moment.attempt, moment.ending.code) for moment in gateway.kept.moments(m.AttemptEnded)]
        assert started == [1, 2]
        assert ended == [(1, "P.http.headers"), (2, "-.end.after")]
