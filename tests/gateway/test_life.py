"""Is the client still there, and did it hear the end? Answered by what its kernel acknowledged, not by our own writes."""

from __future__ import annotations

import errno
import ssl
import sys
import threading
import time
from dataclasses import replace

import pytest
import trustme

from holdfast.flight import moments as m
from holdfast.flight.endings import Mechanism, Phase
from holdfast.gateway import readers
from holdfast.gateway.listener import Facts, how_it_ended
from holdfast.gateway.readers import _unacknowledged_s
from holdfast.gateway.settings import Timeouts
from holdfast.lab import script as s
from tests.gateway.bare import (
    CLOSE,
    KEEPALIVE,
    QUICK,
    Client,
    between,
    dechunked,
    request,
)
from tests.gateway.hosted import Call, body

MEASURED = pytest.mark.skipif(sys.platform != "linux", reason="reads tcp_info")
SILENT = Timeouts(keepalive_s=600.0, cancel_grace_s=0.3)
SMALL = 4096
"A receive buffer that is full after a moment; bytes then wait in the gateway's kernel, and then in the gateway."


# -- how long bytes have been unacknowledged ------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "facts", "paused_s", "waited_s"),
    [
        ("not measured", {}, 3.0, None),
        (
            "nothing waits",
            {"unacked_bytes": 0, "last_data_sent_ms": 9000, "last_ack_recv_ms": 9000},
            3.0,
            0.0,
        ),
        ("sent just now", {"unacked_bytes": 9, "last_data_sent_ms": 1, "last_ack_recv_ms": 9000}, 0.0, 0.001),
        (
            "sent long ago",
            {"unacked_bytes": 9, "last_data_sent_ms": 4000, "last_ack_recv_ms": 4000},
            0.0,
            4.0,
        ),
        (
            "sent again and again",
            {"unacked_bytes": 9, "last_data_sent_ms": 10, "last_ack_recv_ms": 7000, "retransmits": 2},
            0.0,
            7.0,
        ),
        ("we were made to wait", {"unacked_bytes": 9, "last_data_sent_ms": 10}, 6.0, 6.0),
    ],
)
def test_bytes_have_waited_at_least_so_long(
    said: str, facts: Facts, paused_s: float, waited_s: float | None
) -> None:
    """Of unacknowledged bytes only the newest one's age is known, unless the kernel repeats them or our writes stop."""
    assert _unacknowledged_s(facts, paused_s) == waited_s, said


@MEASURED
def test_a_cancel_long_after_a_short_stall_is_a_cancel() -> None:
    """The client read nothing for a while, then all of it: its hang-up later is judged by how it reads then."""
    told = s.answer(s.open_text(), s.Flood(300_000, 4096), s.says("word " * 60, over_s=6.0), s.silence())
    with between(told, timeouts=replace(SILENT, keepalive_s=1.0)) as (_, gateway):
        client = Client(gateway.port, request(), receive_bytes=SMALL)
        time.sleep(2.3)
        client.hear_until(b"word")
        reads_on = time.monotonic() + 0.5
        while time.monotonic() < reads_on:
            client.sock.recv(65536)
        client.leave()

        (left,) = gateway.kept.wait_for(m.ReaderLeft)
        assert left.verdict == "cancelled", left.ending.evidence


@MEASURED
def test_a_reset_over_bytes_that_waited_long_is_a_loss() -> None:
    """What was sent seconds ago was never acknowledged: the path was dead before the connection was, nobody cancelled."""
    told = s.answer(s.open_text(), s.says("Once"), s.Flood(300_000, 4096), s.silence())
    with between(told, timeouts=SILENT) as (_, gateway):
        client = Client(gateway.port, request(), receive_bytes=SMALL)
        time.sleep(2.4)
        client.reset()

        (left,) = gateway.kept.wait_for(m.ReaderLeft)
        assert left.verdict == "lost", left.ending.evidence


@MEASURED
def test_a_client_without_life_does_not_keep_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is open and acknowledges nothing any more: the same request takes the answer over at once."""
    monkeypatch.setattr(readers, "LIFELESS_S", 0.5)
    told = s.answer(s.open_text(), s.Flood(3_000_000, 4096), s.pause(1.5), s.close_block())
    with between(told, timeouts=replace(SILENT, twin_grace_s=0.1)) as (provider, gateway):
        client = Client(gateway.port, request(), receive_bytes=SMALL)
        time.sleep(0.8)
        heard = Call(gateway.port).hear_all()

        assert heard == bytes(provider.answers[0].sent)
        assert provider.generated == 1
        assert [left.verdict for left in gateway.kept.moments(m.ReaderLeft)] == ["superseded"]
        client.leave()


@MEASURED
def test_a_client_that_reads_slowly_keeps_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was stuck once and always has bytes under way, yet it reads: the same request is a twin with its own answer."""
    monkeypatch.setattr(readers, "LIFELESS_S", 0.5)
    flowing = [step for _ in range(250) for step in (s.Flood(2000, 2000), s.pause(0.01))]
    told = s.answer(s.open_text(), s.Flood(60_000, 2000), s.pause(1.2), *flowing, s.silence())
    with between(told, timeouts=replace(SILENT, twin_grace_s=0.1, keepalive_s=0.3)) as (provider, gateway):
        client = Client(gateway.port, request(), receive_bytes=SMALL)
        time.sleep(0.8)
        threading.Thread(target=_read_on, args=(client,), daemon=True).start()
        time.sleep(0.8)
        twins = [Call(gateway.port) for _ in range(3)]
        for twin in twins:
            twin.hear_until(b"message_start")

        assert provider.generated == 4
        assert not gateway.kept.moments(m.ReaderLeft)
        client.leave()


def _read_on(client: Client) -> None:
    try:
        while client.sock.recv(2048):
            pass
    except OSError:
        pass  # it was closed under us


# -- the network goes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "unacked", "mechanism"),
    [
        (errno.ETIMEDOUT, 0, Mechanism.KEEPALIVE_UNANSWERED),
        (errno.ETIMEDOUT, None, Mechanism.KEEPALIVE_UNANSWERED),
        (errno.ETIMEDOUT, 5, Mechanism.UNACKNOWLEDGED),
        (errno.EHOSTUNREACH, 0, Mechanism.UNREACHABLE),
        (errno.ENETUNREACH, 0, Mechanism.UNREACHABLE),
        (errno.ENETDOWN, 0, Mechanism.UNREACHABLE),
        (errno.ECONNABORTED, 0, Mechanism.ABORTED),
        (errno.ECONNRESET, 0, Mechanism.RST),
        (errno.EPIPE, 0, Mechanism.RST),
        (None, None, Mechanism.FIN),
    ],
)
def test_a_connection_that_the_network_took_was_not_reset(
    code: int | None, unacked: int | None, mechanism: Mechanism
) -> None:
    """A changed network or a slept laptop is a loss that a retry follows; a reset is the client's own act."""
    error = None if code is None else OSError(code, "gone")

    assert how_it_ended(error, unacked) is mechanism


# -- keepalives after a silence -------------------------------------------------------------------------


def test_keepalives_come_before_and_after_late_headers() -> None:
    """Headers after a silence, then a stream that is silent itself: neither wait is longer than the interval."""
    told = s.answer(s.pause(0.8), s.text("x"), before_headers_s=0.6)
    with between(told, timeouts=replace(QUICK, keepalive_s=0.2)) as (_, gateway):
        heard = Call(gateway.port).hear_all()

        assert heard.count(KEEPALIVE) >= 2


def test_keepalives_come_again_after_a_lag() -> None:
    """A reader that was behind has caught up, and the provider is silent: it is held as before."""
    told = s.answer(s.open_text(), s.Flood(8_000_000, 16384), s.pause(1.2), s.says("word"), s.pause(0.8))
    with between(told, timeouts=replace(QUICK, keepalive_s=0.2)) as (_, gateway):
        client = Client(gateway.port, request(headers=CLOSE), receive_bytes=65536)
        gateway.kept.wait_for(m.ReaderLagged)
        time.sleep(0.3)
        heard = client.hear_all()

        tail = heard[heard.index(b'"word"') :]
        assert tail.count(KEEPALIVE) >= 2
        assert b"message_stop" in heard


# -- the end was heard, or not --------------------------------------------------------------------------


def test_leaving_after_message_stop_is_having_heard_it() -> None:
    """A client that does not wait for the end of HTTP's body has its answer; upstream's connection is not kept either."""
    told = s.answer(s.text("Hi."), s.stop(), s.silence())
    with between(told) as (provider, gateway):
        call = Call(gateway.port)
        call.hear_until(b"message_stop")
        time.sleep(0.1)
        call.leave()

        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.completed
        (record,) = gateway.kept.records.values()
        assert record.wasted_tokens is None
        provider.wait_until(lambda seen: bool(seen.connections[0].ended))


@MEASURED
@pytest.mark.parametrize("headers", [{}, CLOSE], ids=["keep-alive", "close"])
@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "tls"])
def test_a_reset_before_the_last_bytes_were_read_is_not_having_heard_them(
    headers: dict[str, str], over_tls: bool
) -> None:
    """All was written, and the kernel still held the tail: the answer is kept for the retry, which gets it whole."""
    told = s.answer(s.open_text(), s.Flood(3_000_000, 16384), s.close_block())
    server, trusting = tls_contexts() if over_tls else (None, None)
    with between(told, tls=server) as (provider, gateway):
        client = Client(gateway.port, request(headers=headers), receive_bytes=32 * 1024, tls=trusting)
        gateway.kept.wait_for(m.AnswerFinished)
        time.sleep(0.3)
        client.reset()

        (left,) = gateway.kept.wait_for(m.ReaderLeft)
        assert (left.verdict, left.ending.phase) == ("lost", Phase.AFTER_END)
        assert not gateway.kept.moments(m.AnswerHeard)
        again = Client(gateway.port, request(headers=CLOSE), tls=trusting)
        assert dechunked(again.hear_all()) == (bytes(provider.answers[0].sent), True)
        assert provider.generated == 1


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the gateway, and for a client that trusts it."""
    authority = trustme.CA()
    server, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(trusting)
    return server, trusting


# -- limits of connections -------------------------------------------------------------------------------


def test_who_never_shakes_hands_is_closed_in_time() -> None:
    """Connections to a TLS port that say nothing cost no more than those that say nothing to a plain one."""
    server, _ = tls_contexts()
    with between(s.answer(s.text("x")), tls=server, timeouts=replace(QUICK, request_head_s=0.5)) as (
        _,
        gateway,
    ):
        silent = [Client(gateway.port) for _ in range(20)]

        for client in silent:
            client.hear_all()
            assert client.ended


def test_a_request_sent_ahead_may_be_answered_for_long() -> None:
    """The idle limit counts from an answer to the next request, and that request is here already."""
    long = s.answer(s.open_text(), s.says("Once upon"), s.pause(2.2), s.says(" a time."), s.close_block())
    limits = replace(QUICK, idle_connection_s=0.3, keepalive_s=600)
    with between([s.answer(s.text("x")), long], timeouts=limits) as (provider, gateway):
        client = Client(gateway.port, request(body("one")) + request(body("two"), CLOSE))
        heard = client.hear_all()

        assert heard.count(b"event: message_stop") == 2
        assert client.ended == "fin"
        assert provider.generated == 2
