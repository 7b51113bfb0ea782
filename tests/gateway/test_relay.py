"""Large requests: what the gateway holds of them, and how those that are too large are told so."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from holdfast.flight import moments as m
from holdfast.flight.endings import Mechanism
from holdfast.gateway.settings import Limits
from holdfast.gateway.upstream.connection import UpstreamConnection
from holdfast.gateway.upstream.pool import Pool
from holdfast.lab import script as s
from tests.gateway.bare import CLOSE, QUICK, Client, answer_of, before, between, engine_of, head_for, head_of
from tests.gateway.hosted import Call, Hosted

CHUNKED = {"transfer-encoding": "chunked"}
MB = 1024 * 1024
TINY = replace(Limits(), body_bytes=10_000)
PATHS = pytest.mark.parametrize("path", ["/v1/messages", "/v1/files"], ids=["turn", "opaque"])


def chunks(size: int, *, piece: int = 65536) -> Iterator[bytes]:
    """A body in chunks, without its end."""
    data = b"%x\r\n%b\r\n" % (piece, b"x" * piece)
    return itertools.repeat(data, size // piece)


def plain(size: int, *, piece: int = 65536) -> Iterator[bytes]:
    """A body of known length."""
    return itertools.repeat(b"x" * piece, size // piece)


def in_memory(gateway: Hosted) -> int:
    """How much of the budget that all logs share is used."""
    budget = engine_of(gateway).budget
    return budget.total - budget.free


def early_413(upstream: socket.socket) -> None:
    """Refuse the upload once everything is paused, without reading any of it."""
    head_of(upstream)
    time.sleep(0.3)
    upstream.sendall(answer_of(413, b'{"type":"error"}', close=True))
    time.sleep(3)


def never_reads(upstream: socket.socket) -> None:
    upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    time.sleep(6)


# -- in bounded memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("connect_s", [0.0, 0.4], ids=["connected at once", "connected late"])
def test_an_opaque_upload_waits_with_its_sender(connect_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstream does not read: the client is made to wait, whether that began before or after the connection was made."""
    connect, made = Pool.connect, list[UpstreamConnection]()

    async def late(self: Pool) -> UpstreamConnection:
        made.append(await connect(self))
        await asyncio.sleep(connect_s)
        return made[-1]

    monkeypatch.setattr(Pool, "connect", late)
    with before(never_reads) as gateway:
        client = Client(gateway.port)
        client.sock.settimeout(1.0)
        sent = client.upload(head_for("/v1/files", CHUNKED), chunks(60 * MB))

        assert sent < 30 * MB
        assert made[0]._transport is not None
        assert made[0]._transport.get_write_buffer_size() < MB
        client.leave()


def test_a_pause_of_ours_is_not_the_clients_slowness() -> None:
    """It cannot send because upstream does not read: the limit between two pieces of a body is not for that."""
    with before(never_reads, timeouts=replace(QUICK, request_body_s=0.5)) as gateway:
        client = Client(gateway.port)
        client.sock.settimeout(2.5)
        client.upload(head_for("/v1/messages", {"content-length": str(60 * MB)}), plain(60 * MB))

        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        client.leave()


# -- too large ------------------------------------------------------------------------------------------


def test_a_length_that_is_too_large_is_refused_before_the_body() -> None:
    """The sender hears so although it goes on sending: the rest of its body is read and dropped."""
    with between(s.answer(s.text("x"))) as (provider, gateway):
        client = Client(gateway.port)
        client.upload(head_for("/v1/messages", {"content-length": str(70 * MB)}), plain(70 * MB))

        assert client.hear_all().startswith(b"HTTP/1.1 413 ")
        assert provider.requests == []


@PATHS
def test_an_upload_that_upstream_refuses_early_is_told_so(path: str) -> None:
    """The refusal arrives while the client still sends: it is read on, so that no reset destroys what it was told."""
    with before(early_413) as gateway:
        client = Client(gateway.port)
        client.upload(head_for(path, {"content-length": str(40 * MB)} | CLOSE), plain(40 * MB))

        assert client.hear_all().startswith(b"HTTP/1.1 413 ")
        assert in_memory(gateway) == 0


@PATHS
def test_a_body_that_grows_too_large_is_refused_where_it_does(path: str) -> None:
    """Its length was not announced; its turn ends once, by our limit and not by anybody's wish."""
    with between(s.answer(s.text("x")), limits=TINY) as (_, gateway):
        client = Client(gateway.port)
        client.upload(head_for(path, CHUNKED), chunks(64 * 4096, piece=4096))
        head, _, said = client.hear_all().partition(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 413 ")
        assert json.loads(said)["error"]["type"] == "request_too_large"
        assert "10000 bytes" in json.loads(said)["error"]["message"]
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.mechanism is Mechanism.DEADLINE
        attempts = gateway.kept.moments(m.AttemptStarted)
        assert len(gateway.kept.moments(m.AttemptEnded)) == (len(attempts) if path == "/v1/messages" else 0)
        assert gateway.open_turns() == []


@pytest.mark.parametrize("unbuffer", [False, True], ids=["sent on while read", "read to its end first"])
def test_memory_is_given_back_by_requests_that_were_too_large(unbuffer: bool) -> None:
    """However often it happens; and the next request of a proper size is served."""
    with between(s.answer(s.text("x")), limits=TINY, unbuffer=unbuffer) as (_, gateway):
        for _ in range(5):
            client = Client(gateway.port)
            client.upload(head_for("/v1/messages", CHUNKED), chunks(64 * 4096, piece=4096))
            assert client.hear_all().startswith(b"HTTP/1.1 413 ")
        assert Call(gateway.port).hear_all().endswith(b'{"type":"message_stop"}\n\n')

        gateway.kept.wait_for(m.AnswerHeard)
        assert in_memory(gateway) == 0
        assert engine_of(gateway).arrivals == set()


# -- answers without a body -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said", "framing"),
    [
        ("HEAD", b"200 OK\r\ncontent-length: 2", b"content-length: 2"),
        ("HEAD", b"200 OK\r\ntransfer-encoding: chunked", None),
        ("HEAD", b"200 OK", None),
        ("HEAD", b"404 Not Found\r\ncontent-length: 70", b"content-length: 70"),
        ("GET", b"204 No Content", None),
        ("GET", b"204 No Content\r\ncontent-length: 0", None),
        ("GET", b"304 Not Modified\r\ncontent-length: 2", b"content-length: 2"),
    ],
)
def test_an_answer_without_a_body_is_framed_as_it_came(
    asked: str, said: bytes, framing: bytes | None
) -> None:
    """A length that it announces is passed on, no transfer encoding is put to it, and the connection goes on."""
    question = b"%b /v1/models HTTP/1.1\r\nHost: localhost\r\n" % asked.encode()

    def upstream(connection: socket.socket) -> None:
        while head_of(connection):
            connection.sendall(b"HTTP/1.1 " + said + b"\r\nx-said: it\r\n\r\n")

    with before(upstream) as gateway:
        client = Client(gateway.port, question + b"\r\n" + question + b"connection: close\r\n\r\n")
        first, second, rest = client.hear_all().split(b"\r\n\r\n")

    assert b"x-said: it" in first and b"x-said: it" in second and rest == b""
    told = [line for line in first.lower().split(b"\r\n") if line.startswith((b"content-len", b"transfer-"))]
    assert told == ([framing] if framing else [])


def test_an_answer_that_is_no_http_is_said_to_be_none() -> None:
    """To ask again would bring the same: a port that speaks TLS, or a server that is broken."""
    with before(lambda connection: connection.sendall(b"\x15\x03\x01\x00\x02\x02\x50")) as gateway:
        client = Client(
            gateway.port, b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nconnection: close\r\n\r\n"
        )
        heard = client.hear_all()

    assert heard.startswith(b"HTTP/1.1 502 ")
    assert b"holdfast cannot relay what http://127.0.0.1:" in heard and b"ask again" not in heard
