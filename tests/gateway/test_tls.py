"""The whole gateway over TLS: towards upstream, and towards its clients."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from holdfast.flight import moments as m
from holdfast.flight.endings import Mechanism
from holdfast.gateway.dialects import anthropic
from holdfast.gateway.settings import Settings, Timeouts, Tls, Upstream
from holdfast.lab import script as s
from holdfast.lab.provider import Provider
from tests.gateway.bare import SOON_AGAIN, UNHEALED
from tests.gateway.hosted import HEADERS, Call, Hosted, body, hosted
from tests.gateway.served import Served, serving

WATCHDOG_S = 0.3
WATCHDOG = {
    "CLAUDE_ENABLE_STREAM_WATCHDOG": "1",
    "CLAUDE_STREAM_IDLE_TIMEOUT_MS": str(round(WATCHDOG_S * 1000)),
}
QUIET = Timeouts(keepalive_s=600.0)
STOP: list[s.Step] = [s.MessageDelta("end_turn"), s.MessageStop()]


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the lab's, and its files."""

    ca: trustme.CA
    directory: Path

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def server_context(self, name: str = "127.0.0.1") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(name).configure_cert(context)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(trustme.CA(organization_name="Lab Authority"), tmp_path_factory.mktemp("ca"))
    made.ca.cert_pem.write_to_path(made.ca_file)
    issued = made.ca.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(made.directory / "key.pem")
    issued.cert_chain_pems[0].write_to_path(made.directory / "cert.pem")
    return made


# -- upstream over TLS ---------------------------------------------------------------------------------


@contextmanager
def between(
    told: s.Answer,
    authority: Authority,
    *,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    **changes: Any,
) -> Iterator[tuple[Provider, Hosted]]:
    """A provider that speaks TLS, and a gateway that trusts its authority."""
    with Provider(told, ssl=authority.server_context()).running() as provider:
        settings = Settings(
            Upstream.parse(provider.url),
            timeouts=QUIET,
            tls=Tls(ca_files=(authority.ca_file,)),
            retries=SOON_AGAIN,
        )
        with hosted(replace(settings, **changes), new_loop=new_loop) as gateway:
            yield provider, gateway


def told_bytes(provider: Provider) -> bytes:
    return bytes(provider.answers[0].sent)


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_an_undisturbed_answer_is_relayed_byte_for_byte(
    authority: Authority, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Larger than a TLS record, with blocks of every kind; the flight says which TLS it was."""
    told = s.answer(s.thinking("Hmm."), s.text("word " * 8000), s.tool("Write", {"content": "x" * 50_000}))
    with between(told, authority, new_loop=new_loop) as (provider, gateway):
        heard = Call(gateway.port).hear_all()

        assert heard == told_bytes(provider)
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.completed
        (connected,) = gateway.kept.moments(m.Connected)
        assert (connected.tls, connected.reused) == ("TLSv1.3", False)


def test_a_connection_is_used_again(authority: Authority) -> None:
    """The second turn pays no second handshake."""
    with between(s.answer(s.text("Hello")), authority) as (provider, gateway):
        for _ in range(3):
            Call(gateway.port).hear_all()

        assert [seen.reused for seen in gateway.kept.wait_for(m.Connected, 3)] == [False, True, True]
        assert len(provider.connections) == 1


def test_a_large_request_arrives_whole(authority: Authority) -> None:
    """Six megabytes, in as many pieces as the client's socket gave."""
    prompt = "".join(f"{number:08d}" for number in range(750_000))
    with between(s.answer(s.text("Read.")), authority) as (provider, gateway):
        Call(gateway.port, body(prompt)).hear_all()

        assert provider.requests[0].json == body(prompt)


def test_a_silence_is_filled_with_keepalives(authority: Authority) -> None:
    """Within a tool's argument; the client folds the same message."""
    told = s.answer(s.tool("Write", {"content": "x" * 100}, silent_s=0.5))
    with between(told, authority, timeouts=replace(QUIET, keepalive_s=0.1)) as (provider, gateway):
        heard = Call(gateway.port).hear_all()

        assert heard.count(b'"stop_reason":null,"stop_sequence":null},"usage"') >= 3
        assert anthropic.fold(heard) == anthropic.fold(told_bytes(provider))


@pytest.mark.parametrize("streaming", [True, None], ids=["retry", "fallback"])
def test_a_retry_takes_over_the_running_answer(authority: Authority, streaming: bool | None) -> None:
    """Hung up at its limit, asked again, with and without streaming: one generation."""
    told = s.answer([s.open_text(), *s.says("Once upon"), s.pause(0.8), *s.says(" a time."), s.close_block()])
    with between(told, authority, client_env=WATCHDOG) as (provider, gateway):
        call = Call(gateway.port)
        call.hear_until(b"upon")
        time.sleep(WATCHDOG_S)
        call.leave()
        (left,) = gateway.kept.wait_for(m.ReaderLeft)
        heard = Call(gateway.port, body(stream=streaming)).hear_all()

        assert left.verdict == "gave_up"
        whole = anthropic.fold(told_bytes(provider))
        assert (anthropic.fold(heard) if streaming else json.loads(heard)) == whole
        assert provider.generated == 1


def test_a_cancel_stops_upstream(authority: Authority) -> None:
    """The provider sees its connection close within the grace."""
    told = s.answer(s.open_text(), s.says("Once upon"), s.silence())
    with between(told, authority, timeouts=replace(QUIET, cancel_grace_s=0.2)) as (provider, gateway):
        call = Call(gateway.port)
        call.hear_until(b"upon")
        call.leave()

        provider.wait_until(lambda seen: seen.answers[0].ended.startswith("client"), seconds=2)
        (stopped,) = gateway.kept.wait_for(m.UpstreamStopped)
        assert stopped.attempt == 1


@pytest.mark.parametrize("end", [s.fin(), s.bare_fin(), s.reset()], ids=["close_notify", "bare FIN", "reset"])
@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_an_end_after_the_message_is_complete(authority: Authority, end: s.End, framing: str) -> None:
    """What closes the connection after `message_stop` took nothing from anybody."""
    told = s.answer(s.text("Hello"), STOP, end, framing=framing)
    with between(told, authority) as (provider, gateway):
        heard = Call(gateway.port).hear_all()

        assert heard == told_bytes(provider)
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.completed


@pytest.mark.parametrize(
    ("end", "goodbye"),
    [
        pytest.param(s.fin(), True, id="close_notify"),
        pytest.param(s.bare_fin(), False, id="bare FIN"),
        pytest.param(s.reset(), False, id="reset"),
        pytest.param(s.cut_short(), None, id="a proper end of HTTP"),
    ],
)
@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_an_end_before_that_is_an_error(
    authority: Authority, end: s.End, goodbye: bool | None, framing: str
) -> None:
    """However politely it was closed; the flight has whether TLS said goodbye."""
    told = s.answer(s.open_text(), s.says("Half of"), end, framing=framing)
    with between(told, authority, **UNHEALED) as (provider, gateway):
        heard = Call(gateway.port).hear_all()

        assert heard.startswith(told_bytes(provider))
        assert b"event: error" in heard
        (attempt,) = gateway.kept.wait_for(m.AttemptEnded)
        assert not attempt.ending.completed
        if goodbye is not None and attempt.ending.mechanism is not Mechanism.TRUNCATED:
            assert attempt.ending.evidence["close_notify"] is goodbye
        gateway.kept.wait_for(m.AnswerKept)
        ((_, kept, complete),) = gateway.kept.answers
        assert (kept, complete) == (told_bytes(provider), False)


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("end", [s.fin(), s.bare_fin(), s.reset()], ids=["close_notify", "bare FIN", "reset"])
def test_a_whole_message_that_breaks_is_no_message(authority: Authority, end: s.End, framing: str) -> None:
    """Without streaming: what upstream did not finish is an error for the client, never half a JSON with a 200."""
    told = s.answer(s.open_text(), s.says("Half of"), end, framing=framing)
    with between(told, authority) as (_, gateway):
        call = Call(gateway.port, body(stream=False))
        said = json.loads(call.hear_all())

        assert call.response.status == 502
        assert said["error"]["type"] in ("api_error", "overloaded_error")


@pytest.mark.parametrize("streaming", [True, False])
def test_an_untrusted_certificate_is_said_with_advice(authority: Authority, streaming: bool) -> None:
    """A 502 in the client's dialect that names the issuer and the way out; nothing of the request was sent."""
    with between(s.answer(s.text("Hello")), authority, tls=Tls()) as (provider, gateway):
        call = Call(gateway.port, body(stream=streaming))
        said = json.loads(call.hear_all())

        assert call.response.status == 502
        assert said["type"] == "error"
        assert said["error"]["type"] == "api_error"
        for word in ("not trusted", "Lab Authority", "SSL_CERT_FILE"):
            assert word in said["error"]["message"]
        assert not provider.requests
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.mechanism is Mechanism.TLS


def test_a_certificate_for_another_name_is_said_too(authority: Authority) -> None:
    """And is no reason to send the key there."""
    with Provider(s.answer(s.text("x")), ssl=authority.server_context("other.example")).running() as provider:
        settings = Settings(
            Upstream.parse(provider.url),
            timeouts=QUIET,
            tls=Tls(ca_files=(authority.ca_file,)),
            retries=SOON_AGAIN,
        )
        with hosted(settings) as gateway:
            call = Call(gateway.port)
            said = json.loads(call.hear_all())

        assert call.response.status == 502
        assert "another name" in said["error"]["message"]
        assert not provider.requests


# -- clients over TLS ----------------------------------------------------------------------------------


class TlsCall(Call):
    """One request on a TLS connection of its own."""

    def __init__(
        self,
        port: int,
        authority: Authority,
        asked: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        context = ssl.create_default_context()
        authority.ca.configure_trust(context)
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=15, context=context)
        content = json.dumps(asked or body())
        self._connection.request("POST", "/v1/messages", content, {**HEADERS, **(headers or {})})
        self._response: http.client.HTTPResponse | None = None
        self.heard = b""

    @property
    def sock(self) -> ssl.SSLSocket:
        """The socket under it."""
        sock = self._connection.sock
        assert isinstance(sock, ssl.SSLSocket)
        return sock


@contextmanager
def tls_listener(
    told: s.Answer, authority: Authority, home: Path, *options: str
) -> Iterator[tuple[Provider, Served]]:
    files = [
        "--tls-cert",
        str(authority.directory / "cert.pem"),
        "--tls-key",
        str(authority.directory / "key.pem"),
    ]
    with (
        Provider(told).running() as provider,
        serving(provider.url, home, *files, "--keepalive", "10m", *options) as gateway,
    ):
        yield provider, gateway


def test_the_end_is_heard_over_tls(authority: Authority, tmp_path: Path) -> None:
    """A turn over TLS ends as heard, and the connection serves the next one."""
    told = s.answer(s.text("word " * 8000))
    with tls_listener(told, authority, tmp_path) as (provider, gateway):
        call = TlsCall(gateway.port, authority)
        assert call.hear_all() == told_bytes(provider)
        assert gateway.wait_for_turns(1, seconds=3)[0]["ending"] == "-.end.after"

        call._connection.request("POST", "/v1/messages", json.dumps(body("More.")), HEADERS)
        assert call._connection.getresponse().read() == bytes(provider.answers[1].sent)
        assert gateway.wait_for_turns(2, seconds=3)[1]["ending"] == "-.end.after"
        assert provider.generated == 2


@pytest.mark.parametrize("size", [10, 60_000, 3_000_000])
def test_a_client_that_wants_the_connection_closed_hears_the_end(
    authority: Authority, tmp_path: Path, size: int
) -> None:
    """`connection: close` over TLS: every byte, a proper close, and the turn counts as heard."""
    with tls_listener(s.answer(s.flood(size)), authority, tmp_path) as (provider, gateway):
        call = TlsCall(gateway.port, authority, headers={"connection": "close"})

        assert call.hear_all() == told_bytes(provider)
        assert call.response.getheader("connection") == "close"
        assert gateway.wait_for_turns(1, seconds=5)[0]["ending"] == "-.end.after"


@pytest.mark.parametrize("size", [10, 60_000, 3_000_000])
def test_a_client_that_wants_the_connection_closed_hears_the_end_without_tls(
    tmp_path: Path, size: int
) -> None:
    """The same without TLS."""
    told = s.answer(s.flood(size))
    with Provider(told).running() as provider, serving(provider.url, tmp_path) as gateway:
        call = Call(gateway.port, headers={"connection": "close"})

        assert call.hear_all() == told_bytes(provider)
        assert gateway.wait_for_turns(1, seconds=5)[0]["ending"] == "-.end.after"


def heard_to_the_close(port: int, authority: Authority) -> tuple[bytes, float]:
    """What a client hears that reads until the connection's end, and how long the end took after the last byte."""
    context = ssl.create_default_context()
    authority.ca.configure_trust(context)
    content = json.dumps(body()).encode()
    fields = {**HEADERS, "host": "127.0.0.1", "connection": "close", "content-length": str(len(content))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as sock,
    ):
        sock.sendall(f"POST /v1/messages HTTP/1.1\r\n{head}\r\n".encode() + content)
        heard, last_s = b"", time.monotonic()
        while data := sock.recv(65536):
            heard, last_s = heard + data, time.monotonic()
        return heard, time.monotonic() - last_s


def test_a_closing_client_sees_tls_say_goodbye(authority: Authority, tmp_path: Path) -> None:
    """`close_notify` comes after the last byte: a client that checks can tell the end from a cut."""
    with tls_listener(s.answer(s.text("Hello")), authority, tmp_path) as (_, gateway):
        heard, _ = heard_to_the_close(gateway.port, authority)

        assert heard.endswith(b"0\r\n\r\n")


def test_a_client_is_not_kept_waiting_for_the_close_after_a_break(
    authority: Authority, tmp_path: Path
) -> None:
    """Behind the error, too: over TLS nothing else tells it that this was the end."""
    told = s.answer(s.open_text(), s.says("Once upon"), s.reset())
    with tls_listener(told, authority, tmp_path, "--retries", "0", "--no-shorten") as (_, gateway):
        heard, waited_s = heard_to_the_close(gateway.port, authority)

        assert b"event: error" in heard
        assert waited_s < 1.5


@pytest.mark.parametrize("politely", [True, False], ids=["close_notify", "bare close"])
@pytest.mark.parametrize("streaming", [True, None], ids=["retry", "fallback"])
def test_a_retry_over_tls_takes_over_the_running_answer(
    authority: Authority, tmp_path: Path, streaming: bool | None, politely: bool
) -> None:
    """Whether the client's TLS said goodbye or not, its hang-up is noticed and its retry hears the same answer."""
    told = s.answer([s.open_text(), *s.says("Once upon"), s.pause(1.0), *s.says(" a time."), s.close_block()])
    with tls_listener(told, authority, tmp_path) as (provider, gateway):
        call = TlsCall(gateway.port, authority)
        call.hear_until(b"upon")
        if politely:
            call.sock.setblocking(False)
            with contextlib.suppress(OSError):  # it does not wait for the gateway's own goodbye
                call.sock.unwrap()
        call.leave()
        time.sleep(0.1)
        heard = TlsCall(gateway.port, authority, body(stream=streaming)).hear_all()

        whole = anthropic.fold(told_bytes(provider))
        assert (anthropic.fold(heard) if streaming else json.loads(heard)) == whole
        assert provider.generated == 1
        (turn,) = gateway.wait_for_turns(1)
        assert (turn["ending"], turn["readers"], turn["spared"]) == ("-.end.after", 2, 1)


def test_a_client_that_leaves_over_tls_is_noticed_at_once(authority: Authority, tmp_path: Path) -> None:
    """Upstream is stopped within the grace."""
    told = s.answer(s.open_text(), s.says("Once upon"), s.silence())
    with tls_listener(told, authority, tmp_path, "--cancel-grace", "0.2s") as (provider, gateway):
        call = TlsCall(gateway.port, authority)
        call.hear_until(b"upon")
        call.leave()

        provider.wait_until(lambda seen: seen.answers[0].ended.startswith("client"), seconds=2)


def test_a_slow_reader_over_tls_slows_nobody(authority: Authority, tmp_path: Path) -> None:
    """The provider finishes while the reader does not read; then the reader hears all of it."""
    with tls_listener(s.answer(s.flood(20 * 1024 * 1024)), authority, tmp_path) as (provider, gateway):
        before_mb = gateway.rss_mb()
        gateway.forget_peak()
        call = TlsCall(gateway.port, authority)
        call.hear_until(b"message_start")
        provider.wait_until(lambda seen: seen.answers[0].finished, seconds=10)
        assert gateway.spool_files() == 1

        call.hear_all()
        assert len(call.heard) == provider.answers[0].sent_bytes
        assert call.heard.startswith(told_bytes(provider))
        assert gateway.peak_mb() - before_mb < 40


def test_plain_http_at_a_tls_port_ends_nothing(authority: Authority, tmp_path: Path) -> None:
    """Who speaks plainly there is closed; others are served."""
    with tls_listener(s.answer(s.text("Hello")), authority, tmp_path) as (provider, gateway):
        with pytest.raises((http.client.HTTPException, OSError)):
            Call(gateway.port).hear_all()

        assert TlsCall(gateway.port, authority).hear_all() == told_bytes(provider)
