"""Turns whose upstream speaks HTTP/2: the client notices nothing of it, and the flight says so."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from holdfast.flight import moments as m
from holdfast.gateway.settings import Settings, Tls, Upstream
from holdfast.lab import script as s
from holdfast.lab.provider import Provider
from tests.gateway.bare import SOON_AGAIN
from tests.gateway.hosted import Call, Hosted, body, hosted
from tests.gateway.served import holdfast, serving
from tests.gateway.test_slow_readers import FLOOD, GROWTH_MB, MB, Reader
from tests.gateway.upstream import stage
from tests.gateway.upstream.h2_stage import Peer, speaking


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A CA's file, and a server's context with a certificate of it."""
    place, authority = tmp_path_factory.mktemp("ca") / "ca.pem", trustme.CA()
    authority.cert_pem.write_to_path(place)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return place, context


@contextmanager
def between(
    told: s.Answer, authority: tuple[Path, ssl.SSLContext], *, tls: bool = True
) -> Iterator[tuple[Provider, Hosted]]:
    """A provider that speaks HTTP/2, and a gateway that is set to."""
    place, context = authority
    with Provider(told, ssl=context if tls else None, http2=True).running() as provider:
        trusted = Tls(ca_files=(place,))
        settings = Settings(Upstream.parse(provider.url), http2=True, tls=trusted, retries=SOON_AGAIN)
        with hosted(settings) as gateway:
            yield provider, gateway


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_an_answer_is_relayed_byte_for_byte(authority: tuple[Path, ssl.SSLContext], tls: bool) -> None:
    """Larger than many frames; three turns share one connection."""
    told = s.answer(s.thinking("Hmm."), s.text("word " * 8000), s.tool("Write", {"content": "x" * 50_000}))
    with between(told, authority, tls=tls) as (provider, gateway):
        for number in range(3):
            assert Call(gateway.port).hear_all() == bytes(provider.answers[number].sent)

        found = gateway.kept.wait_for(m.Connected, 3)
        assert [(seen.http, seen.reused, seen.tls) for seen in found] == [
            ("2", reused, "TLSv1.3" if tls else None) for reused in (False, True, True)
        ]
        assert len(provider.connections) == 1


def test_an_answer_without_streaming_and_an_error_come_as_they_are(
    authority: tuple[Path, ssl.SSLContext],
) -> None:
    """Status, headers and body of both."""
    with between(s.answer(s.text("Hello")), authority) as (_, gateway):
        call = Call(gateway.port, body(stream=False))
        assert json.loads(call.hear_all())["content"][0]["text"] == "Hello"
        assert call.response.headers["request-id"] == "req_lab_1"
    with between(s.http_error(400, "no"), authority) as (_, gateway):
        call = Call(gateway.port)
        assert b"invalid_request_error" in call.hear_all()
        assert (call.response.status, call.response.reason) == (400, "Bad Request")


def test_a_large_request_arrives_whole(authority: tuple[Path, ssl.SSLContext]) -> None:
    """Six megabytes, through the provider's windows of 64 KB."""
    prompt = "".join(f"{number:08d}" for number in range(750_000))
    with between(s.answer(s.text("Hello")), authority) as (provider, gateway):
        Call(gateway.port, body(prompt)).hear_all()

        assert provider.requests[0].json["messages"][0]["content"] == prompt


@pytest.mark.parametrize("end", [s.reset(), s.fin()], ids=["rst", "fin"])
def test_a_break_says_how_and_that_it_was_http2(
    authority: tuple[Path, ssl.SSLContext], end: s.Step | s.End
) -> None:
    """The same endings as over HTTP/1.1, with the evidence of both protocols."""
    with between(s.answer(s.open_text(), s.says("Half of"), end), authority, tls=False) as (_, gateway):
        Call(gateway.port).hear_all()

        ended = gateway.kept.wait_for(m.AttemptEnded)[0].ending
        assert ended.code in ("P.rst.text", "P.fin.text")
        assert ended.evidence["http"] == "2" and ended.evidence["not_processed"] is None


def test_a_request_that_a_goaway_left_out_is_asked_again() -> None:
    """A server that restarts: nothing was processed, the next connection answers, and the client hears one answer."""
    played = s.play(s.answer(s.text("Hello")), message_id="m", model="x", input_tokens=1)
    events = b"".join(said.data for said in played if isinstance(said, s.Say))

    def restarting(peer: Peer) -> None:
        peer.answer(events)
        peer.request()
        peer.go_away(1, 0, b"restarting")
        peer.until_closed()

    def fresh(peer: Peer) -> None:
        peer.answer(events)
        peer.until_closed()

    async def story() -> None:
        async with stage.serving(speaking(restarting), speaking(fresh)) as port:
            settings = Settings(Upstream.parse(f"http://127.0.0.1:{port}"), http2=True)

            def play() -> None:
                with hosted(settings) as gateway:
                    assert Call(gateway.port).hear_all() == Call(gateway.port).hear_all() == events
                    _, left_out, again = [
                        moment.ending for moment in gateway.kept.wait_for(m.AttemptEnded, 3)
                    ]
                    assert left_out.code == "P.goaway.headers" and left_out.evidence["not_processed"] is True
                    assert left_out.detail == "GOAWAY NO_ERROR: restarting" and again.completed

            await asyncio.to_thread(play)

    asyncio.run(story())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_reader_that_stops_does_not_stall_the_provider(
    authority: tuple[Path, ssl.SSLContext], tmp_path: Path
) -> None:
    """50 MB while nobody reads: the provider is done at once, memory stays bounded, and every byte is heard later."""
    place, context = authority
    answers = [s.answer(s.text("warm")), s.answer(s.flood(FLOOD))]
    options = ["--http2", "--ca-file", str(place)]
    with (
        Provider(answers, ssl=context, http2=True, keep_bytes=1024).running() as provider,
        serving(provider.url, tmp_path, *options) as gateway,
    ):
        Call(gateway.port).hear_all()
        (warm,) = gateway.wait_for_turns(1)
        before_mb = gateway.rss_mb()
        gateway.forget_peak()
        reader = Reader(gateway.port)
        reader.hear_headers()
        reader.hear_chunk()
        provider.wait_until(lambda seen: len(seen.answers) > 1 and seen.answers[1].finished, seconds=60)
        assert reader.size < MB

        reader.hear_all()
        exchange = provider.answers[1]
        assert reader.whole and reader.size == exchange.sent_bytes > FLOOD
        assert reader.digest.digest() == exchange.digest.digest()
        assert gateway.peak_mb() - before_mb < GROWTH_MB
        gateway.wait_for_turns(2)

        told = holdfast(tmp_path, "flight", warm["turn"]).stdout
        assert "by HTTP/2 over TLSv1.3 in" in told
