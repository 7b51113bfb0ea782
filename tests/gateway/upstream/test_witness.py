"""The witness: one question that anybody could ask, after a request that was given no answer."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
import trustme

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.gateway.settings import Upstream
from holdfast.gateway.witness import EVERY_S, Witness, answered, called_for
from tests.gateway.bare import UNHEALED, before, request_of
from tests.gateway.hosted import Call
from tests.gateway.upstream.conftest import Run
from tests.gateway.upstream.stage import head_of, over_tls, pool_to, reset, serving
from tests.gateway.upstream.test_dial import proxying, server_context

EDGE = (
    b"HTTP/1.1 404 Not Found\r\nServer: cloudflare\r\nCF-RAY: 8f2a6c0d1e2f3a4b-FRA\r\nVia: 1.1 edge\r\n"
    b"Content-Length: 1000\r\nSet-Cookie: s=SECRET\r\n\r\n"
)


@pytest.mark.parametrize(
    ("side", "mechanism", "phase", "called"),
    [
        (Side.PROVIDER, Mechanism.RST, Phase.AWAITING_HEADERS, True),
        (Side.PROVIDER, Mechanism.FIN, Phase.SENDING, True),
        (Side.PROVIDER, Mechanism.TLS, Phase.TLS, True),
        (Side.PATH, Mechanism.KEEPALIVE_UNANSWERED, Phase.AWAITING_HEADERS, True),
        (Side.GATEWAY, Mechanism.DEADLINE, Phase.CONNECTING, True),
        (Side.MACHINE, Mechanism.SLEPT, Phase.AWAITING_HEADERS, True),
        (Side.PROVIDER, Mechanism.RST, Phase.IN_TEXT, False),
        (Side.PROVIDER, Mechanism.HTTP_ERROR, Phase.AWAITING_HEADERS, False),
        (Side.GATEWAY, Mechanism.CANCELLED, Phase.AWAITING_HEADERS, False),
        (Side.GATEWAY, Mechanism.SUPERSEDED, Phase.AWAITING_HEADERS, False),
        (Side.MACHINE, Mechanism.LOCAL_ERROR, Phase.CONNECTING, False),
    ],
)
def test_a_witness_is_called_where_nobodys_name_is_on_the_ending(
    side: Side, mechanism: Mechanism, phase: Phase, called: bool
) -> None:
    """Before the headers, and not because the gateway or the user ended it."""
    assert called_for(Ending(side, mechanism, phase), headers_came=False) is called
    assert not called_for(Ending(side, mechanism, phase), headers_came=True)


def test_of_the_answer_the_edges_own_names_are_kept() -> None:
    """Cloudflare's place stands behind its ray, CloudFront's in a header; control characters are escaped."""
    heard = answered(
        1, 200, [(b"X-Amz-Cf-Pop", b"FRA56-P1"), (b"Server", b"a\x1b[31m")], 0.01234, "192.0.2.1:443"
    )
    assert (heard.location, heard.server, heard.edge_id, heard.took_s) == (
        "FRA56-P1",
        r"a\x1b[31m",
        None,
        0.012,
    )


def test_a_reset_before_the_headers_calls_one_witness_a_minute() -> None:
    """It brings no header of the client's, asks for nothing, and is marked as another request than the broken one."""
    asked: list[bytes] = []

    def script(sock: socket.socket) -> None:
        head = sock.recv(5, socket.MSG_PEEK)
        if head.startswith(b"HEAD"):
            asked.append(head_of(sock))
            sock.sendall(EDGE)
            sock.recv(1)
        else:
            request_of(sock)
            reset(sock)

    with before(script, witness=True, **UNHEALED) as gateway:
        Call(gateway.port).hear_all()
        [heard] = gateway.kept.wait_for(m.EdgeWitnessed)
        Call(gateway.port).hear_all()
        gateway.kept.wait_for(m.AttemptEnded, 2)

    [head] = asked
    lines = head.decode().split("\r\n")
    assert lines[0] == "HEAD / HTTP/1.1" and sorted(line.split(":")[0] for line in lines[1:-2]) == [
        "accept", "host", "user-agent",
    ]  # fmt: skip
    assert (heard.attempt, heard.status, heard.edge_id) == (1, 404, "8f2a6c0d1e2f3a4b-FRA")
    assert (heard.location, heard.server, heard.via, heard.broke) == ("FRA", "cloudflare", "1.1 edge", None)
    assert len(gateway.kept.moments(m.EdgeWitnessed)) == 1


def test_without_the_setting_nobody_is_asked() -> None:
    """One attempt, one connection."""
    connections: list[object] = []

    def script(sock: socket.socket) -> None:
        connections.append(sock)
        request_of(sock)
        reset(sock)

    with before(script, **UNHEALED) as gateway:
        Call(gateway.port).hear_all()
        gateway.kept.wait_for(m.TurnEnded)
    assert len(connections) == 1


def test_a_witness_goes_the_way_of_the_requests(run: Run, tmp_path: Path) -> None:
    """Through the same proxy, inside TLS with upstream itself; its connection serves nobody else."""
    authority, ca_file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))

    async def story() -> None:
        asked: list[bytes] = []

        def edge(sock: socket.socket) -> None:
            asked.append(head_of(sock))
            sock.sendall(EDGE)
            sock.recv(1)

        seen: list[bytes] = []
        context = server_context(authority, "api.example")
        async with (
            serving(over_tls(context, edge)) as port,
            serving(proxying(to=port, seen=seen)) as proxy_port,
        ):
            proxy = f"http://127.0.0.1:{proxy_port}"
            pool = pool_to(443, scheme="https", host="api.example", proxy=proxy, ca=ca_file)
            heard = await witnessed(Witness(pool, Upstream.parse("https://api.example"), loop_now()))
            assert pool.idle() is None
            await pool.close()
        assert heard.status == 404 and heard.location == "FRA" and heard.address == f"127.0.0.1:{proxy_port}"
        assert seen[0].startswith(b"CONNECT api.example:443") and b"host: api.example\r\n" in asked[0].lower()

    run(story())


def test_a_witness_that_is_given_no_answer_either_says_so(run: Run) -> None:
    """With the code of its own ending: the address is the trouble, not the request. And it may be asked again later."""

    async def story() -> None:
        async with serving(reset) as port:
            witness = Witness(pool_to(port), Upstream.parse(f"http://127.0.0.1:{port}"), loop_now())
            heard = await witnessed(witness)
            # the reset may come before the kernel has told of the connection
            assert heard.status is None and heard.broke in ("P.rst.headers", "P.rst.connect")
            assert not witness.call(2, lambda moment: None)  # within the minute
            assert EVERY_S == 60.0
            witness.close()

    run(story())


def loop_now() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def witnessed(witness: Witness) -> m.EdgeWitnessed:
    """What is noted after one call."""
    noted: asyncio.Future[m.Moment] = asyncio.get_running_loop().create_future()
    assert witness.call(1, noted.set_result)
    heard = await asyncio.wait_for(noted, 5)
    assert isinstance(heard, m.EdgeWitnessed)
    return heard
