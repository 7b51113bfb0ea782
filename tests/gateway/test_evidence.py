"""What is kept of an ending: of the socket, the exchange, the headers and the machine, on both sides."""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import replace

import pytest

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side, final, shown, taken_apart
from holdfast.flight.evidence import CONNECTION, EVIDENCE, EXCHANGE, HEADERS, NETWORK, SOCKET
from holdfast.gateway.evidence import after_a_sleep, asked_model, context_tier, of_headers
from holdfast.gateway.settings import Timeouts
from holdfast.lab import script as s
from tests.gateway.bare import (
    CLOSE,
    QUICK,
    RESET_ON_CLOSE,
    UNHEALED,
    Client,
    before,
    between,
    engine_of,
    request,
    request_of,
    wait_until,
)
from tests.gateway.hosted import Call, body

RESET = Ending(Side.PROVIDER, Mechanism.RST, Phase.IN_TOOL_USE, "reset", {"silence_s": 2.0})
HTTP2_ONLY = {name for name in CONNECTION if name.startswith(("ping", "goaway", "stream_", "not_"))}
SOMETIMES = HTTP2_ONLY | {"tls_alert", "close_notify", "half_closed_ms", "slept_s", "underneath"}
"Evidence that applies to some endings only."


# -- values ---------------------------------------------------------------------------------------------


def test_a_code_is_shown_with_what_became_of_it() -> None:
    """And taken apart again; a mechanism may have a plus of its own."""
    assert shown("P.fin+rst.tool", "under the first start") == "P.fin+rst.tool+under-the-first-start"
    assert taken_apart("P.fin+rst.tool+under-the-first-start") == ("P.fin+rst.tool", "under the first start")
    assert shown("P.rst.tool", "") == "P.rst.tool!" and taken_apart("P.rst.tool!") == ("P.rst.tool", "")
    assert shown("P.fin+rst.tool", None) == "P.fin+rst.tool"
    assert taken_apart("P.fin+rst.tool") == ("P.fin+rst.tool", None)


@pytest.mark.parametrize(
    ("side", "mechanism", "told"),
    [
        (Side.PROVIDER, Mechanism.RST, "P.rst.text!"),
        (Side.PATH, Mechanism.UNACKNOWLEDGED, "N.unacked.text!"),
        (Side.MACHINE, Mechanism.SLEPT, "M.slept.text!"),
        (Side.PROVIDER, Mechanism.HTTP_ERROR, "P.http.text"),
        (Side.CLIENT, Mechanism.RST, "C.rst.text"),
        (Side.GATEWAY, Mechanism.DEADLINE, "G.limit.text"),
        (Side.MACHINE, Mechanism.PROCESS_ENDED, "M.died.text"),
    ],
)
def test_only_a_break_that_nothing_could_be_done_about_is_marked(
    side: Side, mechanism: Mechanism, told: str
) -> None:
    """A client that left, a limit of ours and an error status are not unhealed breaks."""
    assert final(Ending(side, mechanism, Phase.IN_TEXT)) == told


def test_headers_are_kept_by_a_closed_list() -> None:
    """Ids and hints of what lies between; no cookie, no organisation, nothing that a header merely adds."""
    kept = of_headers(
        [
            (b"Request-Id", b"req_011"), (b"CF-RAY", b"8f2a-FRA"), (b"x-envoy-upstream-service-time", b"1234"),
            (b"x-envoy-response-flags", b"UT"), (b"Via", b"1.1 edge\x1b[31m"), (b"set-cookie", b"s=SECRET"),
            (b"anthropic-organization-id", b"org_1"), (b"retry-after", b"7"), (b"x-should-retry", b"true"),
            (b"anthropic-ratelimit-tokens-remaining", b"0"), (b"x-amzn-trace-id", b"Root=1-67"), (b"x-other", b"1"),
        ]
    )  # fmt: skip
    assert kept == {
        "request_id": "req_011", "cf_ray": "8f2a-FRA", "x_envoy_upstream_service_time_ms": 1234,
        "x_envoy_response_flags": "UT", "via": r"1.1 edge\x1b[31m", "retry_after": "7", "x_should_retry": "true",
        "ratelimit": "anthropic-ratelimit-tokens-remaining=0", "x_amzn_trace_id": "Root=1-67",
    }  # fmt: skip
    assert set(kept) <= set(HEADERS)


def test_a_hostile_header_is_cut() -> None:
    """However long it is, and however many there are of the same."""
    kept = of_headers(
        [(b"server", b"x" * 100_000)] * 3 + [(b"x-ratelimit-%d" % i, b"y" * 99) for i in range(99)]
    )
    assert len(str(kept["server"])) <= 120 and len(str(kept["ratelimit"])) <= 400


@pytest.mark.parametrize(
    ("head", "model"),
    [
        (b'{"model":"claude-opus-4-6[1m]","messages":[]}', "claude-opus-4-6[1m]"),
        (b'{"messages":[{"content":"\\"model\\":\\"no\\""}], "model" : "yes"}', "yes"),
        (b'{"tools":[{"input_schema":{"properties":{"model":{"type":"string"}}}}]}', None),
        (b"", None),
    ],
)
def test_the_model_that_was_asked_for_is_found_in_the_request(head: bytes, model: str | None) -> None:
    """With its suffix, which no answer repeats; not in what somebody wrote, and not in a tool's schema."""
    assert asked_model(head) == model


def test_the_contexts_tier_is_what_was_asked_for() -> None:
    """By the model's suffix, or by a beta header."""
    assert context_tier("claude-opus-4-6[1m]", "") == "1m" == context_tier(None, "a,context-1m-2025-08-07")
    assert context_tier("claude-opus-4-6", "claude-code-20250219") == "standard"


def test_what_breaks_after_a_sleep_is_laid_to_the_sleep() -> None:
    """With what TCP said underneath; where the machine did not sleep, or we ended it, nothing changes."""
    slept = after_a_sleep(RESET, 3600.04)
    assert slept.code == "M.slept.tool" and slept.evidence["slept_s"] == 3600.0
    assert slept.evidence["underneath"] == "rst" and slept.evidence["silence_s"] == 2.0
    assert after_a_sleep(RESET, None) is RESET
    error = replace(RESET, mechanism=Mechanism.STREAM_ERROR)
    assert after_a_sleep(error, 60.0) is error  # what was said was heard


# -- upstream's side --------------------------------------------------------------------------------------


def test_a_break_tells_all_that_is_known_of_it() -> None:
    """Every name of the table but those of another protocol; the open tool is named; nothing is of the client's secrets."""
    told = s.answer(
        *s.text("x"), s.open_tool("Write"), s.argues('{"a'), s.reset(), headers={"via": "1.1 lab"}
    )
    asked = body(model="claude-opus-4-6[1m]")
    with between(told, **UNHEALED) as (_, gateway):
        Call(gateway.port, asked).hear_all()
        [ended] = gateway.kept.wait_for(m.AttemptEnded)
        [turn] = gateway.kept.wait_for(m.TurnEnded)

    seen = ended.ending.evidence
    assert ended.ending.code == "P.rst.tool" and turn.ending == ended.ending
    assert set(SOCKET) | set(CONNECTION) - SOMETIMES <= set(seen) and set(seen) <= set(EVIDENCE)
    assert set(NETWORK) <= set(seen)
    there = set(EXCHANGE) - {"since_byte_s", "since_event_s", "slept_s", "underneath"}
    assert there <= set(seen), there - set(seen)
    assert (seen["tool"], seen["blocks"], seen["context"]) == ("Write", 1, "1m")
    assert seen["model"] == "claude-opus-4-6[1m]" and seen["via"] == "1.1 lab"
    assert (seen["exchanges"], seen["reused"], seen["family"], seen["http"]) == (1, False, "4", "1.1")
    assert (seen["session_turns"], seen["open_turns"]) == (1, 1)
    assert int(seen["answer_bytes"]) > 100 and int(seen["answer_events"]) >= 4
    assert 0 <= seen["since_headers_s"] <= seen["since_request_s"] <= seen["age_s"] + 0.01
    assert "sk-ant-fake" not in repr(seen)
    if sys.platform == "linux":
        assert seen["interface"] == "loopback" and seen["tcp_state"] == "CLOSE"
        assert int(seen["tcp_sent_bytes"]) > 0 and seen["snd_wnd_bytes"] is not None


def test_an_answer_that_ends_well_costs_no_look_at_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The undisturbed path asks the kernel for nothing that only an early end needs."""
    asked: list[object] = []

    def look(sock: object) -> dict[str, object]:
        asked.append(sock)
        return {}

    monkeypatch.setattr("holdfast.gateway.upstream.connection.tcp_facts", look)
    with between(s.answer(*s.text("whole"))) as (_, gateway):
        Call(gateway.port).hear_all()
        [ended] = gateway.kept.wait_for(m.AttemptEnded)

    assert ended.ending.completed and not ended.ending.evidence and not asked


@pytest.mark.parametrize("how", ["status", "cut", "limit"])
def test_the_socket_is_asked_where_http_ended_in_order_too(how: str) -> None:
    """An error status, an answer cut short, a limit of ours: the connection still lives, and is asked before it closes."""
    told = {
        "status": s.http_error(529, headers={"cf-ray": "8f2a-FRA", "retry-after": "7"}),
        "cut": s.answer(*s.text("x"), s.cut_short()),
        "limit": s.answer(*s.text("x"), s.pause(3)),
    }[how]
    timeouts = replace(QUICK, quiet_s=0.3)
    with between(told, timeouts=timeouts, **UNHEALED) as (_, gateway):
        Call(gateway.port).hear_all()
        [ended] = gateway.kept.wait_for(m.AttemptEnded)

    seen = ended.ending.evidence
    assert (
        ended.ending.code
        == {"status": "P.http.headers", "cut": "P.cut.between", "limit": "G.limit.between"}[how]
    )
    assert seen["age_s"] is not None and seen["exchanges"] == 1
    if sys.platform == "linux":
        assert seen["tcp_state"] == "ESTABLISHED" and seen["rtt_ms"] is not None
    if how == "status":
        assert (seen["cf_ray"], seen["retry_after"], seen["status"]) == ("8f2a-FRA", "7", 529)


def test_a_connection_that_breaks_after_a_sleep_is_laid_to_this_machine() -> None:
    """It is asked again all the same: another connection may fare better."""

    def script(sock: socket.socket) -> None:
        request_of(sock)
        wait_until(lambda: slept)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    slept: list[bool] = []
    with before(script, **UNHEALED) as gateway:
        call = Call(gateway.port)
        gateway.kept.wait_for(m.RequestSent)
        engine = engine_of(gateway)
        engine.loop.call_soon_threadsafe(engine.machine_slept, 3600.0)
        gateway.kept.wait_for(m.MachineSlept)
        slept.append(True)
        call.hear_all()
        [ended] = gateway.kept.wait_for(m.AttemptEnded)
        [noted] = gateway.kept.wait_for(m.NotAskedAgain)

    assert ended.ending.code == "M.slept.headers" and ended.ending.evidence["underneath"] == "rst"
    assert ended.ending.evidence["slept_s"] == 3600.0
    assert noted.why == "retries are switched off (--retries 0)"


def test_the_record_tells_each_break_with_what_became_of_it() -> None:
    """For logs and lists: healed and by what, or not."""
    broken = s.answer(s.open_text(), *s.says("half"), s.reset())
    with between([broken, s.answer(*s.text("whole"))]) as (_, gateway):
        Call(gateway.port, headers={"user-agent": "claude-cli/2.1.329 (external, sdk-cli)"}).hear_all()
        gateway.kept.wait_for(m.TurnEnded)
        [record] = gateway.kept.records.values()
    assert record.breaks == "P.rst.text+restart" and record.ending is not None and record.ending.completed

    with between(broken, **UNHEALED) as (_, gateway):
        Call(gateway.port).hear_all()
        gateway.kept.wait_for(m.TurnEnded)
        [record] = gateway.kept.records.values()
    assert record.breaks == "P.rst.text!"


# -- the client's side -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fin", "rst", "fin+rst"])
def test_how_a_client_closed_is_told_with_its_evidence(how: str) -> None:
    """A FIN, a RST, and a FIN that a RST follows: the last is noticed though nothing waits for it."""
    with between(s.answer(*s.text("x"), s.pause(5)), timeouts=Timeouts(keepalive_s=9)) as (_, gateway):
        client = Client(gateway.port, request(headers=CLOSE))
        client.hear_until(b"content_block_stop")
        if how != "rst":
            client.sock.shutdown(socket.SHUT_WR)
        if how == "fin+rst":
            time.sleep(0.03)
        if how != "fin":
            client.reset()
        [left] = gateway.kept.wait_for(m.ReaderLeft)
        again = gateway.kept.wait_for(m.ReaderReset) if how == "fin+rst" else []

    seen = left.ending.evidence
    assert left.ending.code == f"C.{'fin' if how == 'fin+rst' else how}.between"
    assert [moment.code for moment in again] == (["C.fin+rst.between"] if how == "fin+rst" else [])
    assert set(SOCKET) <= set(seen) and set(seen) <= set(EVIDENCE)
    assert seen["exchanges"] == 1 and seen["since_byte_s"] is not None and seen["age_s"] is not None
    if sys.platform == "linux":
        assert (
            seen["tcp_state"] == ("CLOSE" if how == "rst" else "CLOSE_WAIT")
            and seen["interface"] == "loopback"
        )
        assert seen["so_error"] is not None
