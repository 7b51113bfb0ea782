"""Readers that stop reading while their provider floods: nothing is lost, and nobody else pays for it.

The gateway is a process of its own, so that its memory can be measured. A reader's receive buffer is small, so
that what it does not read is the gateway's and not the kernel's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from holdfast.flight import moments as m
from holdfast.gateway.settings import Limits, Settings, Timeouts, Upstream
from holdfast.lab.provider import Exchange, Provider
from holdfast.lab.script import (
    Answer,
    End,
    Step,
    answer,
    close_block,
    cut_short,
    fault,
    flood,
    open_text,
    pause,
    reset,
    says,
    silence,
    text,
)
from tests.gateway.hosted import HEADERS, Call, body, hosted
from tests.gateway.served import Served, moments, serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MB = 1024 * 1024
FLOOD = 50 * MB
GROWTH_MB = 40.0
"How much a gateway may grow by one flood of any size: the stream log's window, buffers, and the allocator's slack."


class Reader:
    """A client that reads when it is told to, and reads the body's bytes only to hash them."""

    def __init__(self, port: int, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body()).encode()
        fields = {**HEADERS, **(headers or {}), "host": "127.0.0.1", "content-length": str(len(content))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self.sock.settimeout(20)
        self.sock.connect(("127.0.0.1", port))
        self.sock.sendall(f"POST /v1/messages HTTP/1.1\r\n{head}\r\n".encode() + content)
        self.file = self.sock.makefile("rb")
        self.size = 0
        self.digest = hashlib.sha256()
        self.first = b""
        self.whole = False
        "Whether the HTTP body ended properly."

    def hear_headers(self) -> None:
        while self.file.readline() not in (b"\r\n", b""):
            pass

    def hear_chunk(self) -> bytes:
        """One chunk of the body; empty at its end, or where it broke."""
        line = self.file.readline()
        if not line:
            return b""
        size = int(line, 16)
        data = self.file.read(size)
        self.whole = size == 0 and self.file.readline() == b"\r\n"
        if size:
            self.file.readline()
        self.first = self.first or data
        self.size += len(data)
        self.digest.update(data)
        return data

    def hear_all(self) -> None:
        while self.hear_chunk():
            pass

    def leave(self) -> None:
        self.file.close()
        self.sock.close()


@contextmanager
def between(
    told: Answer, home: Path, *options: str, tls: bool = False
) -> Iterator[tuple[Provider, Served, float]]:
    """A provider and a gateway that has carried one small turn already; its memory then, in MB."""
    answers = [answer(text("warm")), told, answer(text("after"))]
    context, more = None, list(options)
    if tls:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.cert_pem.write_to_path(home / "ca.pem")
        more += ["--ca-file", str(home / "ca.pem")]
    with (
        Provider(answers, ssl=context, keep_bytes=1024).running() as provider,
        serving(provider.url, home, *more) as gateway,
    ):
        Call(gateway.port).hear_all()
        gateway.wait_for_turns(1)
        yield provider, gateway, gateway.rss_mb()


def flooded(provider: Provider, *, seconds: float = 60.0) -> Exchange:
    """Wait until the provider has sent all that it was told to send."""
    provider.wait_until(lambda seen: len(seen.answers) > 1 and seen.answers[1].finished, seconds=seconds)
    return provider.answers[1]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "stopped_s",
    [
        pytest.param(1.0, id="briefly"),
        pytest.param(180.0, id="3-minutes", marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
def test_a_reader_that_stops_and_reads_on(tmp_path: Path, tls: bool, stopped_s: float) -> None:
    """The provider is not slowed, memory stays bounded, and the reader hears every byte."""
    with between(answer(flood(FLOOD)), tmp_path, tls=tls) as (provider, gateway, before_mb):
        gateway.forget_peak()
        reader = Reader(gateway.port)
        reader.hear_headers()
        reader.hear_chunk()

        exchange = flooded(provider)
        time.sleep(stopped_s)
        assert exchange.ended == "end" and exchange.sent_bytes > FLOOD
        assert reader.size < MB
        assert gateway.spool_files() == 1

        reader.hear_all()
        assert reader.whole
        assert reader.size == exchange.sent_bytes
        assert reader.digest.digest() == exchange.digest.digest()
        assert gateway.wait_for_turns(2)[1]["ending"] == "-.end.after"
        gateway.wait_for(lambda: gateway.spool_files() == 0)
        assert not list((tmp_path / "state" / "spool").iterdir())
        print(
            f"grew by {gateway.peak_mb() - before_mb:.1f} MB at most; {exchange.lasted_s:.2f} s to send it all"
        )
        assert gateway.peak_mb() - before_mb < GROWTH_MB


def test_a_reader_that_stops_in_the_middle_of_the_flood(tmp_path: Path) -> None:
    """It reads, stops, and reads while the provider still sends: still every byte, in order."""
    steps: list[Step] = [open_text()]
    for _ in range(5):
        steps += [*flood(4 * MB)[1:2], pause(0.2)]
    with between(answer([*steps, close_block()]), tmp_path) as (provider, gateway, _):
        reader = Reader(gateway.port)
        reader.hear_headers()
        while reader.size < 15 * MB:
            at = reader.size
            while reader.size < at + 3 * MB:
                reader.hear_chunk()
            time.sleep(0.15)
        reader.hear_all()

        assert reader.whole
        assert reader.digest.digest() == flooded(provider).digest.digest()


def test_a_closing_reader_that_stops_before_the_end_has_heard_it_once(tmp_path: Path) -> None:
    """`connection: close`, and 3 s without reading while the last bytes are in the kernel: it hears all, and that counts."""
    with between(answer(flood(300_000)), tmp_path) as (provider, gateway, _):
        reader = Reader(gateway.port, {"connection": "close"})
        reader.hear_headers()
        exchange = flooded(provider)
        time.sleep(3.0)
        reader.hear_all()
        assert reader.whole
        assert reader.digest.digest() == exchange.digest.digest()
        time.sleep(0.5)

        Call(gateway.port, path="/v1/messages").hear_all()
        assert provider.generated == 3


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(reset(), id="a reset"),
        pytest.param(cut_short(), id="a cut"),
        pytest.param(fault("overloaded_error", "Overloaded"), id="an error in the stream"),
    ],
)
def test_a_lagging_reader_hears_all_there_was_before_the_error(tmp_path: Path, end: Step | End) -> None:
    """The provider breaks while its reader has stopped: the reader hears every byte, then the error, then the end."""
    told = answer(flood(5 * MB)[:2], pause(0.3), end)
    with between(told, tmp_path, "--retries", "0", "--no-shorten") as (provider, gateway, _):
        reader = Reader(gateway.port)
        reader.sock.settimeout(4)
        reader.hear_headers()
        reader.hear_chunk()
        provider.wait_until(lambda seen: len(seen.answers) > 1 and bool(seen.answers[1].ended), seconds=20)
        time.sleep(0.5)
        exchange, heard = provider.answers[1], hashlib.sha256()
        size, tail = reader.size, b""
        heard.update(reader.first)
        while data := reader.hear_chunk():
            heard.update(data[: max(0, exchange.sent_bytes - size)])
            size += len(data)
            tail = (tail + data)[-2000:]

        assert size >= exchange.sent_bytes, f"{size} bytes were heard of {exchange.sent_bytes}"
        assert heard.digest() == exchange.digest.digest()
        assert reader.whole
        assert b"event: error" in tail


def test_a_reader_that_stops_and_leaves(tmp_path: Path) -> None:
    """What it had not read is given back at once: file, memory and turn."""
    with between(answer(flood(FLOOD)), tmp_path) as (provider, gateway, before_mb):
        gateway.forget_peak()
        reader = Reader(gateway.port)
        reader.hear_headers()
        reader.hear_chunk()
        flooded(provider)
        assert gateway.spool_files() == 1

        reader.leave()

        ended = gateway.wait_for_turns(2)[1]
        assert ended["ending"].startswith("C.")
        gateway.wait_for(lambda: gateway.spool_files() == 0)
        assert gateway.peak_mb() - before_mb < GROWTH_MB
        assert Call(gateway.port).hear_all().endswith(b'{"type":"message_stop"}\n\n')


def test_a_reader_that_stops_and_leaves_while_the_flood_goes_on(tmp_path: Path) -> None:
    """Upstream is stopped within the grace, although the reader's socket was full."""
    told = answer(flood(8 * MB)[:2], silence())
    with between(told, tmp_path, "--cancel-grace", "0.3s") as (provider, gateway, _):
        reader = Reader(gateway.port)
        reader.hear_headers()
        provider.wait_until(lambda seen: len(seen.answers) > 1 and seen.answers[1].sent_bytes > 8 * MB)

        reader.leave()

        assert gateway.wait_for_turns(2, seconds=3)[1]["ending"] == "G.cancel.text"
        provider.wait_until(lambda seen: bool(seen.answers[1].ended))
        assert gateway.spool_files() == 0


def test_a_reader_that_never_reads_costs_no_memory(tmp_path: Path) -> None:
    """Not even the headers: its answer is on disk, beyond what an orphan may have, for as long as it stays."""
    with between(answer(flood(80 * MB, piece=65536)), tmp_path) as (provider, gateway, before_mb):
        gateway.forget_peak()
        reader = Reader(gateway.port)
        exchange = flooded(provider)
        assert gateway.spool_files() == 1
        assert gateway.peak_mb() - before_mb < GROWTH_MB

        reader.hear_headers()
        reader.hear_all()
        assert reader.digest.digest() == exchange.digest.digest()


def test_a_slow_reader_slows_nobody_on_asyncios_own_loop(tmp_path: Path) -> None:
    """Where uvloop is missing, the same holds."""
    with Provider(answer(flood(20 * MB)), keep_bytes=1024).running() as provider:
        settings = Settings(upstream=Upstream.parse(provider.url), state_dir=tmp_path)
        with hosted(settings, new_loop=asyncio.new_event_loop) as gateway:
            reader = Reader(gateway.port)
            reader.hear_headers()
            provider.wait_until(lambda seen: bool(seen.answers) and seen.answers[0].finished, seconds=20)
            reader.hear_all()

            assert reader.whole
            assert reader.digest.digest() == provider.answers[0].digest.digest()
            (ended,) = gateway.kept.wait_for(m.TurnEnded)
            assert ended.ending.completed


@pytest.mark.parametrize("streaming", [True, None], ids=["retry", "fallback"])
def test_a_retry_is_given_a_large_answer_from_the_disk(tmp_path: Path, streaming: bool | None) -> None:
    """Its client had gone before the flood; the retry hears all of it, as a stream or as one message."""
    watchdog = {"CLAUDE_ENABLE_STREAM_WATCHDOG": "1", "CLAUDE_STREAM_IDLE_TIMEOUT_MS": "300"}
    told = answer([open_text(), *says("Once upon"), pause(0.7), *flood(20 * MB)[1:]])
    with Provider(told, keep_bytes=1024).running() as provider:
        settings = Settings(
            upstream=Upstream.parse(provider.url),
            client_env=watchdog,
            state_dir=tmp_path,
            timeouts=replace(Timeouts(), keepalive_s=600.0),
        )
        with hosted(settings) as gateway:
            call = Call(gateway.port)
            call.hear_until(b"upon")
            time.sleep(0.3)
            call.leave()
            gateway.kept.wait_for(m.TurnOrphaned)
            again = Call(gateway.port, body(stream=streaming))
            heard = again.hear_all()

            assert provider.generated == 1
            if streaming:
                assert hashlib.sha256(heard).digest() == provider.answers[0].digest.digest()
            else:
                assert json.loads(heard)["content"][0]["text"] == "Once upon" + "x" * 20 * MB


def test_an_orphan_has_64_mb(tmp_path: Path) -> None:
    """Its client gave up at its limit; the answer goes on up to the limit of an orphan, then upstream is stopped."""
    watchdog = {"CLAUDE_ENABLE_STREAM_WATCHDOG": "1", "CLAUDE_STREAM_IDLE_TIMEOUT_MS": "300"}
    told = answer([open_text(), *says("Once upon"), pause(0.7), *flood(80 * MB, piece=65536)[1:]])
    with Provider(told, keep_bytes=1024).running() as provider:
        settings = Settings(
            upstream=Upstream.parse(provider.url),
            client_env=watchdog,
            state_dir=tmp_path,
            record="none",
            timeouts=replace(Timeouts(), keepalive_s=600.0),
        )
        assert Limits().orphan_bytes == 64 * MB
        with hosted(settings) as gateway:
            call = Call(gateway.port)
            call.hear_until(b"upon")
            time.sleep(0.3)
            call.leave()

            (expired,) = gateway.kept.wait_for(m.OrphanExpired, seconds=20)
            assert expired.limit == "size"
            (ended,) = gateway.kept.wait_for(m.TurnEnded)
            (record,) = gateway.kept.records.values()
            assert 64 * MB < record.answer_bytes < 66 * MB
            assert not ended.ending.completed
            provider.wait_until(lambda seen: seen.answers[0].ended.startswith("client"))


def test_a_lagging_reader_that_gave_up_leaves_an_orphan_of_64_mb(tmp_path: Path) -> None:
    """It had not read a byte and its answer is beyond the limit already: nothing more is generated for nobody."""
    sdk = {"user-agent": "Anthropic/Python 1.4.0", "x-stainless-read-timeout": "2"}
    told = answer([*flood(70 * MB, piece=65536)[:2], pause(4.0), *flood(MB)[1:]])
    with between(told, tmp_path, "--record", "none", "--keepalive", "10m") as (provider, gateway, _):
        began_s = time.monotonic()
        reader = Reader(gateway.port, sdk)
        provider.wait_until(
            lambda seen: len(seen.answers) > 1 and seen.answers[1].sent_bytes > 70 * MB, seconds=20
        )
        time.sleep(max(0.0, 2.1 - (time.monotonic() - began_s)))
        reader.leave()

        turn = gateway.wait_for_turns(2, seconds=8)[1]
        assert turn["ending"].startswith("G.cancel")
        assert gateway.spool_files() == 0
        gateway.signal(signal.SIGTERM)
        gateway.process.wait(5)
        assert {"TurnOrphaned", "OrphanExpired"} < set(moments(tmp_path, turn["turn"]))


def test_keeping_a_large_answer_costs_no_memory(tmp_path: Path) -> None:
    """An answer of 60 MB that nobody heard goes into the attic; the gateway does not grow by it."""
    sdk = {"user-agent": "Anthropic/Python 1.4.0", "x-stainless-read-timeout": "1"}
    told = answer([open_text(), *says("Once upon"), pause(1.5), *flood(60 * MB, piece=65536)[1:]])
    with between(told, tmp_path) as (provider, gateway, before_mb):
        gateway.forget_peak()
        call = Call(gateway.port, headers=sdk)
        call.hear_until(b"upon")
        time.sleep(1.0)
        call.leave()
        flooded(provider)
        time.sleep(1.5)  # the journal's own thread writes it

        assert gateway.peak_mb() - before_mb < GROWTH_MB
