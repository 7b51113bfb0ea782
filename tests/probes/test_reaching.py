"""TCP, TLS, proxies and edges, each with a known truth on loopback."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from holdfast.probes import authorities, connect, edge, handshake, http, lookup, ping, trickle, upload
from holdfast.probes.asking import carry_out
from holdfast.probes.catalogue import QUESTIONS
from holdfast.probes.connect import Try
from holdfast.probes.net import Address, Exchange, TlsFacts
from holdfast.probes.result import Grade, Result
from holdfast.probes.target import Proxy, Target, parse
from holdfast.probes.target import proxy as read_proxy
from tests.probes.stage import QUICK, Server, go_on, proxy, resolver


def asked(name: str, target: Target, **changes: object) -> Result:
    return carry_out(QUESTIONS[name], target, replace(QUICK, **changes), go_on)  # type: ignore[arg-type]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


Authorised = Callable[[str], tuple[ssl.SSLContext, Path]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authorised:
    """A certificate for loopback by an authority of any name, and that authority's own."""

    def made(name: str) -> tuple[ssl.SSLContext, Path]:
        ca = trustme.CA(organization_name=name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        ca.issue_cert("127.0.0.1").configure_cert(context)
        path = tmp_path_factory.mktemp("ca") / "ca.pem"
        ca.cert_pem.write_to_path(path)
        return context, path

    return made


def test_an_edge_tells_who_and_where_it_is() -> None:
    """One HEAD, without any header of anybody's."""
    with Server() as server:
        found = asked("edge", server.target())

    assert found.grade is Grade.FINE and found.facts["place"] == "ORD"
    assert found.verdict.startswith("cloudflare at ORD answered HEAD with 405 in ")
    assert server.heard == [
        f"HEAD / HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nuser-agent: holdfast-probe\r\naccept: */*\r\n\r\n"
    ]


def test_an_unknown_issuer_is_named_and_not_spoken_to(authority: Authorised) -> None:
    """A certificate that is not trusted is looked at; no request is made behind it."""
    context, _ = authority("Lab Authority")
    with Server(tls=context) as server:
        found = asked("handshake", server.target())
        refused = asked("edge", server.target())

    assert (
        found.grade is Grade.BROKEN
        and "issued by Lab Authority" in found.verdict
        and "not trusted" in found.verdict
    )
    assert found.facts["trusted"] is False and found.facts["issuer_is"] == "unknown"
    assert refused.grade is Grade.BROKEN and "TLS failed" in refused.verdict
    assert server.heard == []


@pytest.mark.parametrize(
    ("issuer", "kind", "words"),
    [
        ("Lab Authority", "unknown", "no public authority"),
        ("Zscaler Inc.", "interceptor", "opened and read on the way"),
    ],
)
def test_a_trusted_issuer_that_is_not_public_is_suspected(
    authority: Authorised, issuer: str, kind: str, words: str
) -> None:
    """Trust that was added to this machine is how interception works."""
    context, ca_file = authority(issuer)
    with Server(tls=context) as server:
        found = asked("handshake", server.target(ca_files=(ca_file,)))
        answer = asked("edge", server.target(ca_files=(ca_file,)))

    assert found.grade is Grade.SUSPECTED and words in found.verdict
    assert (found.facts["issuer_is"], found.facts["version"], found.facts["alpn"]) == (
        kind,
        "TLSv1.3",
        "http/1.1",
    )
    assert answer.facts["status"] == 405


def test_a_public_issuer_is_fine_and_its_imitation_is_not() -> None:
    """The root decides: an issuer can call itself what it likes."""
    assert (
        authorities.kind_of("Google Trust Services, WE1", "Google Trust Services LLC, GTS Root R4")[0]
        == "public"
    )
    assert authorities.kind_of("DigiCert, made here", "Example Corp Root") == ("unknown", "Example Corp Root")
    assert authorities.kind_of("DigiCert Inc")[0] == "public" and authorities.kind_of(None) == ("unknown", "")
    assert authorities.kind_of("Example Corp", "Example Corp Root") == ("unknown", "Example Corp Root")
    seen = TlsFacts(
        "TLSv1.3", "c", "h2", "Google Trust Services, WE1", "Google Trust Services LLC", "x", None
    )
    finding = handshake.verdict("api.example", [handshake.Try(0.05, seen)] * 11)
    assert finding.grade is Grade.FINE and "11 of 11 agreed" in finding.verdict
    assert "excludes a failure rate over 24%" in finding.verdict


def test_a_port_without_tls_is_no_certificate() -> None:
    """A plain server at an https target is told as such."""
    with Server() as server:
        found = asked("handshake", Target("127.0.0.1", server.port), patience_s=0.3)

    assert found.grade is Grade.BROKEN and "TLS failed 2 of 2 times" in found.verdict


def test_a_server_of_plain_http_is_sent_to_its_own_spelling() -> None:
    """A host and port stand for https; whoever answers a greeting of TLS in plain words is to be asked by http://."""
    refusals = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def refuse() -> None:
            for _ in range(2):
                with server.accept()[0] as asking:
                    refusals.append(asking.recv(4096))
                    asking.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        beside = threading.Thread(target=refuse, daemon=True)
        beside.start()
        port = server.getsockname()[1]
        found = asked("handshake", Target("127.0.0.1", port), patience_s=5.0)
        beside.join(5)

    assert (
        len(refusals) == 2 and found.grade is Grade.NOT_MEASURED
    )  # an address to write otherwise; nothing is broken
    assert found.verdict.startswith("no TLS is spoken there")
    assert found.verdict.endswith(f"if it speaks plain http, write http://127.0.0.1:{port}")


def test_a_closed_port_is_refused_and_not_slow() -> None:
    """Refused, each time; the family that was not offered is not measured."""
    found = asked("connect", Target("127.0.0.1", closed_port(), tls=False))

    assert found.grade is Grade.BROKEN and "0 of 2 connected, else ECONNREFUSED (refused)" in found.verdict
    assert found.facts["IPv6"] is None
    assert found.says.startswith("That nothing there took a connection") and "greet" not in found.says
    assert found.says.endswith("holdfast probe path.")


def test_a_broken_family_beside_a_good_one_is_suspected() -> None:
    """Every connection waits for it first."""
    tries = [Try("192.0.2.1", "4", 0.03), Try("2001:db8::1", "6", 5.0, "no answer within 5 s")] * 3

    finding = connect.verdict(tries)

    assert finding.grade is Grade.SUSPECTED and "IPv6: 0 of 3 connected" in finding.verdict


def test_questions_go_past_a_broken_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client would use the other one; so do we, and leave the finding to connect."""
    with Server() as server:
        offered = (Address("127.0.0.1", closed_port(), "4"), Address("127.0.0.1", server.port, "4"))
        monkeypatch.setattr(lookup, "system", lambda *_: lookup.Found(offered, 0.01))
        found = asked("edge", server.target())

    assert found.grade is Grade.FINE and found.facts["status"] == 405


def test_a_greeting_that_was_lost_shows_in_its_time() -> None:
    """TCP sends it again after 1 s: connected, and yet a packet was lost."""
    assert ping.verdict([0.02] * 9 + [1.021], "TCP", "192.0.2.1", []).facts["lost"] == 1
    assert connect.verdict([Try("192.0.2.1", "4", t) for t in (0.02, 1.02)]).grade is Grade.SUSPECTED
    assert ping.verdict([0.02, None], "ICMP", "192.0.2.1", []).grade is Grade.SUSPECTED


def test_small_packets_come_back() -> None:
    """By TCP where ICMP is not allowed, and it says which."""
    with Server() as server:
        found = asked("ping", server.target())

    assert found.grade is Grade.FINE and found.facts["lost"] == 0 and "2 of 2 came back by" in found.verdict


def test_uploads_of_growing_size_arrive_and_are_refused() -> None:
    """401 is the good end: the request was received. Nobody's key is in it."""
    with Server() as server:
        found = asked("upload", server.target(prefix="/llm"))

    assert found.grade is Grade.FINE and "2 of 2 uploads arrived whole, up to 200 kB" in found.verdict
    rows = found.facts["uploads"]
    assert [row["status"] for row in rows] == [401, 401] and rows[1]["acked_bytes"] > 200_000
    assert all(head.startswith("POST /llm/v1/messages ") for head in server.heard)
    assert not any(word in " ".join(server.heard).lower() for word in ("api-key", "authorization", "cookie"))


def test_uploads_and_silence_go_over_tls_as_well(authority: Authorised) -> None:
    """TLS is done over byte strings: the kernel's own facts stay readable, and an end without a goodbye is told."""
    context, ca_file = authority("Lab Authority")
    with Server(tls=context, idle_s=2.0) as server:
        target = server.target(ca_files=(ca_file,))
        sent = asked("upload", target)
        silent = asked("idle", target, holds_s=(0.2, 3.0))
        size = asked("mtu", target)

    assert sent.facts["uploads"][1]["acked_bytes"] > 200_000 and sent.grade is Grade.FINE
    short, long = silent.facts["without_keepalive"]["connections"]
    assert (short["outcome"], long["how"], long["tls_goodbye"]) == ("alive", "fin", False)
    assert size.grade is Grade.FINE


def test_an_early_refusal_shows_no_size() -> None:
    """What was answered before it was sent proves nothing about its size."""
    with Server(early=True) as server:
        found = asked("upload", server.target(), sizes_bytes=(3_000_000,))

    assert "answered before the body had been sent" in found.verdict or "failed" in found.verdict
    assert found.grade is not Grade.FINE and not found.facts["uploads"][0]["whole"]


def test_sizes_that_were_refused_early_are_worth_a_word() -> None:
    """What arrived before them is no reason to call the whole fine: of the largest nothing is known."""
    whole = upload.Rung(10_000, 10_000, 401, 0.2, 0.1, "", 10_000, 0, 8, 0)
    early = replace(whole, size_bytes=500_000, sent_s=None)
    found = upload.verdict([whole, early, early], (10_000, 500_000, 500_000))

    assert found.grade is Grade.NOTED and "1 of 3 uploads arrived whole" in found.verdict


def test_an_upload_that_nobody_reads_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing moves it ends by patience, where too little moves by the clock; each says so."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        target = Target("127.0.0.1", deaf.getsockname()[1], tls=False)
        stuck = asked("upload", target, sizes_bytes=(8_000_000,), patience_s=0.3)
        monkeypatch.setattr(upload, "most_s", lambda _: 0.3)
        slow = asked("upload", target, sizes_bytes=(8_000_000,), patience_s=20.0)

    assert stuck.grade is Grade.BROKEN and "8.0 MB failed: no answer" in stuck.verdict
    assert slow.grade is Grade.BROKEN and "not through after 0 s" in slow.verdict and slow.took_s < 3


def test_a_slow_upload_is_let_through_or_cut() -> None:
    """One byte at a time; a server that waits answers, one that has no patience is found out."""
    with Server() as server:
        through = asked("trickle", server.target())
    cut = trickle.verdict(Exchange(body_bytes=30, ended="reset", ended_s=30.0, took_s=30.0), 45)

    assert through.grade is Grade.FINE and through.facts["sent_bytes"] == 3 and through.facts["status"] == 401
    assert (
        cut.grade is Grade.SUSPECTED
        and cut.verdict == "reset after 30 s and 30 of 45 bytes: a slow request is cut"
    )


def test_what_ends_at_once_is_no_limit_on_slow_requests() -> None:
    """A server that resets whatever comes says nothing of one that takes its time."""
    at_once = trickle.verdict(Exchange(body_bytes=1, ended="reset", ended_s=0.1, took_s=0.1), 45)
    assert at_once.grade is Grade.BROKEN and "nothing was slow yet" in at_once.verdict


def test_loss_shows_in_what_was_sent_again() -> None:
    """Retransmissions by the kernel's own count; None is not zero."""
    rung = upload.Rung(100_000, 100_000, 401, 1.0, 0.9, "", 100_000, 12, 84, 17_000)

    assert upload.verdict([rung]).grade is Grade.SUSPECTED
    few = upload.verdict([replace(rung, retransmissions=1, segments=8)])
    assert few.grade is Grade.FINE and "1 of 8 segments again (12%), too few to tell" in few.verdict
    assert "not measured" in upload.verdict([replace(rung, retransmissions=None)]).verdict


def test_tls_goes_through_the_tunnel(authority: Authorised) -> None:
    """And who answers is proved by the target's certificate, not the proxy's."""
    context, ca_file = authority("Lab Authority")
    with Server(tls=context) as server, proxy() as (port, heads):
        through = Proxy("127.0.0.1", port, "HTTPS_PROXY")
        found = asked("handshake", server.target(proxy=through, ca_files=(ca_file,)))

    assert found.facts["agreed"] == 2 and len(heads) == 2
    assert found.does_not_say.endswith("What TCP does behind the proxy is not seen from here.")


def test_a_proxy_is_used_and_said_and_its_login_never_shown() -> None:
    """The tunnel is asked with the proxy's own login; neither result nor repr has it."""
    with Server() as server, proxy() as (port, heads):
        through = read_proxy(f"http://user:hunter22@127.0.0.1:{port}", "HTTPS_PROXY")
        found = asked("edge", server.target(proxy=through))

    assert (
        found.facts["status"] == 405 and f"through the proxy 127.0.0.1:{port} (HTTPS_PROXY)" in found.target
    )
    assert heads[0].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n".encode())
    assert b"proxy-authorization: Basic dXNlcjpodW50ZXIyMg==" in heads[0]
    assert "hunter22" not in repr(found) + repr(through) and "dXNlcjpodW50" not in repr(found) + repr(through)


def test_a_proxy_that_refuses_is_the_verdict() -> None:
    """Not the target's fault."""
    with Server() as server, proxy(407) as (port, _):
        found = asked("edge", server.target(proxy=Proxy("127.0.0.1", port, "HTTPS_PROXY")))

    assert found.grade is Grade.BROKEN and "the proxy refused a tunnel with status 407" in found.verdict


@pytest.mark.parametrize(
    "text",
    ["", "ftp://x", "https://user:pw@x.example", "https://", "x y", "x:0", "x:99999", "https://x/\x1b"],
)
def test_what_is_no_target_is_refused_with_advice(text: str) -> None:
    """And a login in it is not repeated."""
    with pytest.raises(ValueError) as refusal:
        parse(text)
    assert "pw" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("127.0.0.1:99999", "99999 in '127.0.0.1:99999' is no port; ports are 1 to 65535"),
        ("http://x.example:0/y", "0 in 'x.example:0' is no port"),
        ("x.example:hunter2", "what stands behind the host's colon is no port"),
        ("https://me:hunter2@x.example:99999", "what stands behind the host's colon is no port"),
        ("", "an empty target names nobody"),
    ],
)
def test_the_part_that_is_wrong_is_named(text: str, said: str) -> None:
    """With what was typed, as far as it can be no half of a login."""
    with pytest.raises(ValueError, match=re.escape(said)) as refusal:
        parse(text)
    assert "hunter2" not in str(refusal.value)


def test_targets_are_read_as_people_write_them() -> None:
    """A host, with a port, a base URL, IPv6."""
    assert (parse("api.example").port, parse("api.example:8443").port) == (443, 8443)
    assert (
        parse("http://127.0.0.1:80/x/").host_header == "127.0.0.1"
        and parse("http://127.0.0.1/x/").prefix == "/x"
    )
    assert parse("https://[2001:db8::1]:8443").authority == "[2001:db8::1]:8443"


def test_an_answer_that_is_not_http_is_no_answer() -> None:
    """And neither is half a head, nor a preliminary one."""
    with pytest.raises(ValueError):
        http.answer(b"SSH-2.0-OpenSSH\r\n")
    assert http.answer(b"HTTP/1.1 100 Continue\r\n\r\n") is None and http.answer(b"HTT") is None
    found = http.answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nServer: x\r\n\r\n")
    assert found is not None and (found.status, found.get("server")) == (200, "x")
    with pytest.raises(ValueError, match="longer than"):
        http.answer(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000)
    assert edge.verdict(Exchange(not_http="the answer is not HTTP/1.1"), "192.0.2.1").grade is Grade.BROKEN


def test_an_interrupted_question_says_so() -> None:
    """Stopped before anything was known: not measured, and not complete."""
    with Server() as server, resolver() as nobody:
        for name, question in QUESTIONS.items():
            found = carry_out(question, server.target(), replace(QUICK, resolvers=(nobody,)), lambda: True)
            assert not found.complete, name
