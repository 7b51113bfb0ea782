"""What clients may send, and what is refused before anything of it goes upstream."""

from __future__ import annotations

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import pytest

from holdfast.flight.endings import Mechanism
from holdfast.gateway.engine import render_error
from holdfast.gateway.guard import Head, Refusal, admit
from holdfast.gateway.listener import Exchange, Facts, Listener
from holdfast.gateway.settings import Limits, Settings, Timeouts, Upstream
from holdfast.lab import script as s
from holdfast.lab.provider import Provider
from tests.gateway.hosted import hosted

POST = b"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

SMUGGLING = {
    "length and chunked": POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "chunked and length": POST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths that agree": POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "two lengths that differ": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a list of lengths": POST + b"Content-Length: 1, 1\r\n\r\na",
    "a signed length": POST + b"Content-Length: +1\r\n\r\na",
    "an empty length": POST + b"Content-Length:\r\n\r\n",
    "a hexadecimal length": POST + b"Content-Length: 0x1\r\n\r\na",
    "space before the colon": POST + b"Content-Length : 1\r\n\r\na",
    "chunked twice": POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "chunked, then something else": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "something else, then chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "nearly chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked behind a control character": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: 127.0.0.1\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "a folded header": POST + b"X-A: b\r\n Content-Length: 3\r\n\r\n",
    "bare newlines": b"POST / HTTP/1.1\nHost: 127.0.0.1\n\n",
    "a bare carriage return": POST + b"X-A: b\rContent-Length: 3\r\n\r\n",
    "a null byte": POST + b"X-A: b\0c\r\n\r\n",
    "a chunk longer than it says": POST + CHUNKED + b"\r\n1\r\nab\r\n0\r\n\r\n",
    "a chunk size with 0x": POST + CHUNKED + b"\r\n0x1\r\na\r\n0\r\n\r\n",
    "a negative chunk size": POST + CHUNKED + b"\r\n-1\r\na\r\n0\r\n\r\n",
    "a chunk size that ends in a bare newline": POST + CHUNKED + b"\r\n1\na\r\n0\r\n\r\n",
    "two hosts": POST + b"Host: other\r\nContent-Length: 0\r\n\r\n",
    "no host": b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "a space in the path": b"POST /a b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a whole URL as target": b"GET http://other/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "CONNECT": b"CONNECT other:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "an upgrade behind chunks": POST + CHUNKED + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n0\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an unknown method": b"BREW / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


@contextmanager
def gateway(**limits: int) -> Iterator[tuple[Provider, int]]:
    with Provider(s.answer(s.text("Hello"))).running() as provider:
        settings = Settings(
            upstream=Upstream.parse(provider.url),
            limits=replace(Limits(), **limits),
            timeouts=Timeouts(request_head_s=0.5, request_body_s=0.5, idle_connection_s=0.5),
        )
        with hosted(settings) as host:
            yield provider, host.port


def answer_to(port: int, *pieces: bytes) -> bytes:
    """Everything that comes back until the gateway closes."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        for piece in pieces:
            client.sendall(piece)
        try:
            while data := client.recv(65536):
                heard += data
        except ConnectionResetError:
            pass
    return heard


@pytest.fixture(scope="module")
def strict() -> Iterator[tuple[Provider, int]]:
    with gateway() as running:
        yield running


@pytest.mark.parametrize("shape", SMUGGLING)
def test_what_two_readers_could_understand_differently_is_refused(
    strict: tuple[Provider, int], shape: str
) -> None:
    """With an error, a closed connection, and nothing of it upstream."""
    provider, port = strict

    heard = answer_to(port, SMUGGLING[shape])

    assert heard.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), heard
    assert heard.count(b"content-length:") == 1
    assert b"connection: close" in heard
    assert all(request.path == "/v1/messages" for request in provider.requests)
    assert provider.generated == 0


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (SMUGGLING["TLS"], b"this is TLS, and plain http is spoken here"),
        (SMUGGLING["HTTP/2"], b"this is HTTP/2 from the first byte"),
        (SMUGGLING["an upgrade"], b"CONNECT and WebSockets are not relayed"),
        (SMUGGLING["CONNECT"], b"CONNECT and WebSockets are not relayed"),
        (SMUGGLING["an upgrade behind chunks"], b"a chunked request that offers an upgrade"),
    ],
)
def test_a_wrong_protocol_is_named(strict: tuple[Provider, int], sent: bytes, said: bytes) -> None:
    """`https://` in a base URL, and clients of other protocols: the log says which it was."""
    assert said in answer_to(strict[1], sent)


H2C = (
    b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)


def test_an_offer_to_change_to_http_2_is_passed_over(strict: tuple[Provider, int]) -> None:
    """Java's own client makes it with its first request, and takes HTTP/1.1 for an answer. Nothing of it goes upstream."""
    provider, port = strict
    before = len(provider.requests)
    kept = POST + H2C.replace(b", close", b"")

    heard = answer_to(port, kept + kept[:20], kept[20:] + POST + H2C)

    assert heard.count(b"HTTP/1.1 ") == 3 and b" 501 " not in heard
    asked = provider.requests[before:]
    assert len(asked) == 3 and {request.body for request in asked} == {b"{}"}
    assert not {name for request in asked for name in request.headers} & {"upgrade", "http2-settings"}


def test_what_follows_a_refused_request_is_not_looked_at(
    strict: tuple[Provider, int], caplog: pytest.LogCaptureFixture
) -> None:
    """One answer, and nothing in the log of a defect."""
    heard = answer_to(
        strict[1], b"GET http://other/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nno HTTP at all\r\n\r\n"
    )

    assert heard.count(b"HTTP/1.1 ") == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_malformed_http_gets_400_in_the_clients_dialect(strict: tuple[Provider, int]) -> None:
    """With a sentence that says what was wrong."""
    heard = answer_to(strict[1], b"what is this?\r\n\r\n")

    assert heard.startswith(b"HTTP/1.1 400 ")
    assert b'"type":"invalid_request_error"' in heard


def test_requests_sent_ahead_are_answered_in_order() -> None:
    """One exchange at a time; the second waits for the first."""
    ask = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
    with gateway() as (provider, port):
        heard = answer_to(port, ask + b"\r\n" + ask + b"Connection: close\r\n\r\n")

        assert heard.count(b"HTTP/1.1 200") == 2
        assert [request.path for request in provider.requests] == ["/v1/models", "/v1/models"]


def test_a_request_sent_ahead_may_arrive_in_two_halves() -> None:
    """Its beginning comes with the request before it, its end much later."""
    ask = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    first = ask.replace(b"Connection: close\r\n", b"")
    with gateway() as (provider, port):
        heard = answer_to(port, first + ask[:20], ask[20:])

        assert heard.count(b"HTTP/1.1 200") == 2
        assert len(provider.requests) == 2


class Overfull:
    """Takes requests' bodies with no room for any piece of them, and never says that there is room again."""

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.whole, self.gone = asyncio.Event(), asyncio.Event()

    def take(self, exchange: Exchange) -> None:
        self.exchange = exchange
        exchange.received_by(self)

    def body_arrived(self, data: bytes) -> None:
        self.exchange.pause_body()

    def body_ended(self) -> None:
        self.whole.set()
        if self.answers:
            self.exchange.start(200, b"", length=5)
            self.exchange.end(b"Taken")

    def client_gone(self, mechanism: Mechanism, facts: Facts) -> None:
        self.gone.set()

    def client_reset(self, after_ms: float) -> None: ...

    def client_resumed(self) -> None: ...


@asynccontextmanager
async def overfull(*, answers: bool) -> AsyncIterator[tuple[Overfull, StreamReader, StreamWriter]]:
    """A listener whose requests all go to an `Overfull`, and a client of its."""
    loop, taken = asyncio.get_running_loop(), Overfull(answers=answers)
    listener = Listener(loop, Timeouts(), Limits(), taken.take, render_error)
    server = await loop.create_server(listener.connection, "127.0.0.1", 0)
    client = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield taken, *client
    finally:
        client[1].close()
        server.close()
        listener.close()


def test_a_request_whose_last_piece_found_no_room_is_followed_by_the_next() -> None:
    """Reading stopped at the last piece and nothing started it again: the connection's next request was never read."""

    async def ask_twice() -> list[bytes]:
        async with overfull(answers=True) as (_, answers, requests):
            heard = []
            for _ in range(2):
                requests.write(POST + b"Content-Length: 3\r\n\r\nabc")
                heard.append(await asyncio.wait_for(answers.readuntil(b"Taken"), 5))
            return heard

    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in asyncio.run(ask_twice()))


def test_a_client_is_seen_to_go_although_its_last_piece_found_no_room() -> None:
    """Its cancel would otherwise be noticed when the answer is over, and the generation be paid for."""

    async def leave() -> bool:
        async with overfull(answers=False) as (taken, _, requests):
            requests.write(POST + b"Content-Length: 3\r\n\r\nabc")
            await asyncio.wait_for(taken.whole.wait(), 5)
            requests.close()
            return await asyncio.wait_for(taken.gone.wait(), 5)

    assert asyncio.run(leave())


def test_the_probe_of_the_base_url_is_answered_here() -> None:
    """Without a body, and without asking the provider."""
    with gateway() as (provider, port):
        heard = answer_to(port, b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

        assert heard.startswith(b"HTTP/1.1 200 ")
        assert heard.endswith(b"\r\n\r\n")
        assert provider.requests == []


def test_the_probe_of_the_base_url_leaves_its_connection_open() -> None:
    """That is what it is for: the request that follows finds a connection which is made."""
    probe = b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with gateway() as (provider, port), socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(probe)
        heard = client.recv(4096)
        assert heard.startswith(b"HTTP/1.1 200 ") and b"connection: close" not in heard

        client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("said", "limits", "sent", "status"),
    [
        ("a head too large", {"head_bytes": 1000}, POST + b"X-A: " + b"a" * 2000 + b"\r\n\r\n", 431),
        ("a head that never ends", {"head_bytes": 1000}, POST + b"X-A: " + b"a" * 5000, 431),
        ("a body too large", {"body_bytes": 100}, POST + b"Content-Length: 101\r\n\r\n", 413),
        (
            "a chunked body too large",
            {"body_bytes": 100},
            POST + CHUNKED + b"\r\n70\r\n" + b"a" * 0x70 + b"\r\n0\r\n\r\n",
            413,
        ),
        ("a head that is not sent", {}, b"POST /v1/mess", 408),
        ("a body that is not sent", {}, POST + b"Content-Length: 10\r\n\r\nabc", 408),
        ("one connection too many", {"connections": 0}, b"", 503),
    ],
)
def test_limits_are_kept_and_said(said: str, limits: dict[str, int], sent: bytes, status: int) -> None:
    """Each with the status that names it."""
    with gateway(**limits) as (_, port):
        heard = answer_to(port, sent)

        assert heard.startswith(b"HTTP/1.1 %d " % status), (said, heard)


def test_a_connection_without_a_request_is_closed_quietly() -> None:
    """After its time, without a word."""
    with gateway() as (_, port):
        assert answer_to(port, b"") == b""


def test_an_http_1_0_client_is_served_until_close() -> None:
    """Without chunks, which it does not know."""
    body = b'{"model":"m","stream":true,"messages":[]}'
    head = b"POST /v1/messages HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
    with gateway() as (provider, port):
        heard = answer_to(port, head + body)

        assert b"chunked" not in heard
        assert heard.partition(b"\r\n\r\n")[2] == bytes(provider.exchanges[0].sent)


def test_expect_100_continue_is_answered_at_once() -> None:
    """The client waits for it before it sends its body."""
    body = b'{"model":"m","messages":[]}'
    head = POST + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    with gateway() as (_, port), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(head)
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


# -- who may use it ---------------------------------------------------------------------------------

OPEN = Settings(upstream=Upstream("http", "127.0.0.1", 1))
RUN = replace(OPEN, prefix="/q9x7k2")
TOKEN = replace(OPEN, token="let-me-in")


def asked(target: bytes = b"/v1/messages", **headers: bytes) -> Head:
    named = {"host": b"127.0.0.1:8100", **headers}
    return Head(b"POST", target, "1.1", [(k.replace("_", "-").encode(), v) for k, v in named.items()])


@pytest.mark.parametrize(
    ("settings", "head", "target"),
    [
        (OPEN, asked(), b"/v1/messages"),
        (OPEN, asked(host=b"localhost:8100"), b"/v1/messages"),
        (OPEN, asked(host=b"[::1]:8100"), b"/v1/messages"),
        (RUN, asked(b"/q9x7k2/v1/messages?beta=true"), b"/v1/messages?beta=true"),
        (RUN, asked(b"/q9x7k2"), b"/"),
        (RUN, asked(b"/q9x7k2/"), b"/"),
        (TOKEN, asked(holdfast_token=b"let-me-in"), b"/v1/messages"),
        (TOKEN, asked(b"/let-me-in/v1/messages"), b"/v1/messages"),
        (replace(OPEN, hosts=frozenset({"gw.example"})), asked(host=b"gw.example"), b"/v1/messages"),
        (
            replace(TOKEN, any_host=True),
            asked(host=b"x.example", holdfast_token=b"let-me-in"),
            b"/v1/messages",
        ),
    ],
)
def test_those_who_may_are_let_in(settings: Settings, head: Head, target: bytes) -> None:
    """And what upstream sees of the path is the client's own."""
    assert admit(head, settings) == target


@pytest.mark.parametrize(
    ("settings", "head", "status"),
    [
        (OPEN, asked(host=b"evil.example"), 421),
        (OPEN, asked(origin=b"https://evil.example"), 403),
        (RUN, asked(b"/v1/messages"), 403),
        (RUN, asked(b"/q9x7k2x/v1/messages"), 403),
        (RUN, asked(b"/q9x7k/v1/messages"), 403),
        (RUN, asked(b"/q9x7k2/v1/messages", origin=b"null"), 403),
        (TOKEN, asked(), 401),
        (TOKEN, asked(holdfast_token=b"let-me-out"), 401),
        (TOKEN, asked(b"/let-me-out/v1/messages"), 401),
    ],
)
def test_those_who_may_not_are_told_why(settings: Settings, head: Head, status: int) -> None:
    """A cloned web page, another user of this machine, a stranger on the network."""
    refused = admit(head, settings)

    assert isinstance(refused, Refusal)
    assert refused.status == status
    assert len(refused.message) > 20


def test_the_access_token_stays_here() -> None:
    """It is ours, and the provider never sees it."""
    with Provider(s.answer(s.text("Hello"))).running() as provider:
        settings = Settings(upstream=Upstream.parse(provider.url), token="let-me-in")
        with hosted(settings) as host:
            body = b'{"model":"m","messages":[]}'
            head = POST + b"Connection: close\r\nHoldfast-Token: let-me-in\r\nContent-Length: %d\r\n\r\n"
            assert b" 200 " in answer_to(host.port, head % len(body) + body)
            path = b"POST /let-me-in/v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            assert b" 200 " in answer_to(host.port, path + b"Content-Length: %d\r\n\r\n" % len(body) + body)

        for request in provider.requests:
            assert request.path == "/v1/messages"
            assert "let-me-in" not in str(request.headers)
