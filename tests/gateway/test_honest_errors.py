"""The gateway's own errors, as the client's user reads them."""

from __future__ import annotations

import json
import socket

import pytest

from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.gateway.settings import Settings, Upstream
from holdfast.gateway.telling import explanation
from holdfast.lab import script as s
from tests.gateway.bare import UNHEALED, between
from tests.gateway.hosted import Call, hosted


@pytest.mark.parametrize(
    ("detail", "advice", "said"),
    [
        ("refused at a:1", "refused at a:1; is it running?", ": refused at a:1; is it running?"),
        ("refused at a:1", "refused at a:1; check DNS", ": refused at a:1; check DNS."),
        ("silent for 9 s", "ask again", ": silent for 9 s; ask again."),
        ("the disk is full.", "make room", ": the disk is full; make room."),
        ("it broke", "", ": it broke."),
        ("", "", "."),
    ],
)
def test_an_ending_is_told_once_and_ends_once(detail: str, advice: str, said: str) -> None:
    """One code, one sentence, one mark at its end, and where to read on."""
    ending = Ending(Side.PROVIDER, Mechanism.REFUSED, Phase.CONNECTING, detail)

    assert explanation(ending, advice, "7f3a") == (
        f"holdfast could not finish this answer (P.refused.connect){said} See: holdfast flight 7f3a"
    )


def test_an_upstream_that_is_not_there_is_told_in_one_sentence() -> None:
    """Over real sockets: what was refused, what to ask, the turn."""
    with socket.socket() as bound:  # and not listening: nobody else gets the port meanwhile
        bound.bind(("127.0.0.1", 0))
        upstream = f"127.0.0.1:{bound.getsockname()[1]}"
        with hosted(Settings(Upstream.parse(f"http://{upstream}"))) as gateway:
            call = Call(gateway.port)
            said = json.loads(call.hear_all())["error"]["message"]

            assert said == (
                f"holdfast could not finish this answer (P.refused.connect): connection refused at {upstream}; "
                f"is the upstream running? See: holdfast flight {call.response.getheader('holdfast-turn')}"
            )


@pytest.mark.parametrize("path", ["/v1/messages?beta=true", "/v1/other"])
def test_an_error_of_ours_names_its_turn(path: str) -> None:
    """In a header, and where the API's own errors have the request's id: `holdfast flight` takes it as it stands."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with hosted(Settings(Upstream.parse(f"http://127.0.0.1:{bound.getsockname()[1]}"))) as gateway:
            call = Call(gateway.port, path=path)
            said = json.loads(call.hear_all())
            [turn] = gateway.kept.records

    assert call.response.getheader("holdfast-turn") == said["request_id"] == turn


def test_an_error_that_comes_within_a_stream_names_it_too() -> None:
    """By the provider's own id where there is one: that is what its support asks for."""
    for headers, named in (({}, None), ({"request-id": "req_011"}, "req_011")):
        told = s.answer(*s.text("x"), s.reset(), headers=headers)
        with between(told, **UNHEALED) as (_, gateway):
            call = Call(gateway.port)
            error = call.hear_all().rpartition(b"event: error\ndata: ")[2]
            turn = call.response.getheader("holdfast-turn")
            [record] = gateway.kept.records.values()

        assert json.loads(error)["request_id"] == (named or record.request_id or turn)
        assert turn == record.turn_id
