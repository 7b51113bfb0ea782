"""Endings that TLS, HTTP/2 and a dead path have of their own, seen by a bare socket or a client that is not ours."""

from __future__ import annotations

import errno
import re
import socket
import ssl
import time
from contextlib import closing

import httpx2
import pytest

from holdfast.lab import script as s
from holdfast.lab.provider import Provider, cannot_deafen
from tests.lab import wire
from tests.lab.test_http2 import ASKED, client

HALF = (s.open_text(), s.says("Half of"))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_reset_right_behind_a_close_is_both(tls: bool) -> None:
    """The reader sees the end of the bytes first; what it writes then meets a connection that is reset."""
    server, trust = wire.lab_tls()
    with (
        Provider(s.answer(*HALF, s.fin_then_reset()), ssl=server if tls else None).running() as lab,
        closing(wire.dial(lab.url, trust if tls else None)) as sock,
    ):
        wire.send(sock, {"stream": True})
        heard = wire.listen(sock)
        # OpenSSL answers a close without goodbye by an alert, and that alert is answered by the reset at once.
        assert heard.ending in (("ragged", "rst") if tls else ("fin",)) and not heard.whole
        lab.wait_until(lambda seen: seen.connections[0].ended == "provider fin+rst")
        time.sleep(0.1)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EPIPE


@pytest.mark.parametrize(
    ("end", "reason"),
    [(s.alert(), "ALERT"), (s.broken_record(), "BAD_RECORD_MAC")],
    ids=["alert", "broken record"],
)
def test_tls_ends_by_its_own_means(end: s.End, reason: str) -> None:
    """The peer's alert, or a record that nobody can read: two errors with two reasons, and neither is a close."""
    server, trust = wire.lab_tls()
    with (
        Provider(s.answer(*HALF, end), ssl=server).running() as lab,
        closing(wire.dial(lab.url, trust)) as sock,
    ):
        wire.send(sock, {"stream": True})
        with pytest.raises(ssl.SSLError) as broke:
            wire.listen(sock)
        assert reason in (broke.value.reason or "").upper()
        assert ("ALERT" in (broke.value.reason or "").upper()) == (reason == "ALERT")


def test_without_tls_its_endings_are_a_close() -> None:
    """A plain connection knows neither alerts nor records."""
    for end in (s.alert(), s.broken_record()):
        with Provider(s.answer(*HALF, end)).running() as lab:
            assert wire.ask(lab.url).ending == "fin"


@pytest.mark.parametrize(
    ("end", "said"),
    [(s.go_away(11, b"calm down"), "11"), (s.reset_stream(2), "2")],
    ids=["GOAWAY", "RST_STREAM"],
)
def test_http2_ends_with_a_code(end: s.Ends, said: str) -> None:
    """As a foreign client tells it."""
    with Provider(s.answer(*HALF, end), http2=True).running() as lab, client() as asking:
        with pytest.raises(httpx2.RemoteProtocolError) as broke:
            asking.post(f"{lab.url}/v1/messages", json=ASKED)
        assert re.search(rf"error_code:\D*{said}\b", str(broke.value))


@pytest.mark.parametrize(("end", "means"), [(s.go_away(2), "fin"), (s.reset_stream(2), "rst")])
def test_over_http1_they_are_the_nearest_that_tcp_has(end: s.Ends, means: str) -> None:
    """So that one story can be told over both."""
    with Provider(s.answer(*HALF, end)).running() as lab:
        assert wire.ask(lab.url).ending == means


def test_bytes_outside_the_framing_and_in_place_of_http() -> None:
    """A chunk that announces more than follows; a greeting of another protocol."""
    told = [
        s.answer(*HALF, s.wire(b"ff\r\nhalf a chunk"), s.fin()),
        s.no_http(b"SSH-2.0-lab\r\n"),
    ]
    with Provider(told).running() as lab:
        torn = wire.ask(lab.url)
        assert (torn.whole, torn.ending) == (False, "fin")
        assert torn.body.endswith(b"half a chunk")
        assert wire.ask(lab.url).head == "SSH-2.0-lab\r\n"


@pytest.mark.skipif(bool(cannot_deafen()), reason=cannot_deafen() or "-")
def test_a_dark_path_answers_no_probe() -> None:
    """No close and no reset: two probes of the kernel's go unanswered, and it says so."""
    with (
        Provider(s.answer(*HALF, s.dark())).running() as lab,
        closing(wire.dial(lab.url)) as sock,
    ):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
            sock.setsockopt(socket.IPPROTO_TCP, option, 1)
        wire.send(sock, {"stream": True})
        with pytest.raises(TimeoutError) as broke:
            wire.listen(sock)
        assert broke.value.errno == errno.ETIMEDOUT
        lab.wait_until(lambda seen: seen.exchanges[0].ended == "provider dark")
