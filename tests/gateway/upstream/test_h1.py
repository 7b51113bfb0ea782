"""One exchange over a real socket: framings, bodies, and every way to break."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.gateway.fields import render
from holdfast.gateway.upstream.connection import Headers, UpstreamConnection, cause
from holdfast.gateway.upstream.h1 import Callbacks, Http1Connection
from tests.gateway.upstream.conftest import Run
from tests.gateway.upstream.stage import (
    GET,
    Heard,
    ask,
    ask_afresh,
    exactly,
    head_of,
    pool_to,
    reset,
    saying,
    saying_once,
    serving,
    until_closed,
)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH_5 = OK + b"Content-Length: 5\r\n\r\n"

WHOLE = {
    "length": (LENGTH_5 + b"hello", b"hello"),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", b""),
    "chunked": (CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
    "chunk extensions and trailers": (CHUNKED + b"5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", b"hello"),
    "until close": (OK + b"Content-Type: text/plain\r\n\r\nhello", b"hello"),
    "until close, other coding": (OK + b"Transfer-Encoding: gzip\r\n\r\nhello", b"hello"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
    "after 100": (b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH_5 + b"hello", b"hello"),
    "after 102 and 103": (
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        + LENGTH_5
        + b"hello",
        b"hello",
    ),
    "lower case": (OK + b"content-length: 5\r\n\r\nhello", b"hello"),
}


@pytest.mark.parametrize("drip", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_arrives_whole_under_every_framing(name: str, drip: bool, run: Run) -> None:
    """However the answer is framed and cut into reads, its body is the same, and it ends properly."""

    async def story() -> None:
        answer, body = WHOLE[name]
        async with serving(saying_once(answer, drip)) as port:
            heard = await ask_afresh(port)
        assert (heard.status, heard.reason, heard.body, heard.code) == (200, b"OK", body, "whole")
        assert all(not key.lower().startswith((b"link", b"x-sum")) for key, _ in heard.headers)

    run(story())


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", LENGTH_5),
        (b"HEAD", CHUNKED),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    ],
    ids=["HEAD with length", "HEAD chunked", "204", "304"],
)
def test_an_answer_without_a_body_ends_with_its_head(method: bytes, answer: bytes, run: Run) -> None:
    """HEAD, 204 and 304 have no body whatever their headers say; the connection stays in use."""

    async def story() -> None:
        async with serving(saying(answer)) as port:
            pool = pool_to(port)
            for _ in range(2):
                heard = await ask(pool.idle() or await pool.connect(), method)
                assert (heard.body, heard.code) == (b"", "whole")
            again = pool.idle()
            assert again is not None and again.reused
            again.abort()

    run(story())


class Nowhere(asyncio.Transport):
    """A transport whose socket takes everything and says nothing."""

    def write(self, data: bytes | bytearray | memoryview[int]) -> None: ...
    def writelines(self, list_of_data: object) -> None: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def abort(self) -> None: ...


@given(data=st.data(), name=st.sampled_from([n for n in WHOLE if "close" not in n and n != "HTTP/1.0"]))
@settings(max_examples=200)
def test_where_the_reads_cut_does_not_matter(data: st.DataObject, name: str) -> None:
    """Two answers on one connection, cut anywhere: both whole, and never a byte of one in the other."""

    async def story() -> None:
        answer, body = WHOLE[name]
        with socket.socket() as sock:
            put_back: list[UpstreamConnection] = []
            connection = Http1Connection(sock, address="-", on_idle=put_back.append)
            connection.connection_made(Nowhere())
            for turn in (1, 2):
                heard = Heard()
                connection.start(heard, b"GET", b"/", render(GET))
                connection.end_body()
                cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1), max_size=6)))
                for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True):
                    assert not heard.over.is_set()
                    connection.data_received(answer[start:end])
                assert (heard.reason, heard.body, heard.code) == (b"OK", body, "whole")
                assert len(put_back) == turn

    asyncio.run(story())


PIECES = [
    b"data: a\n\n",
    b"\n",
    b"\n\n",
    b"\r\n",
    b"\n\n\r\n",
    b"5\r\n\n\n\r\n",
    b"0\r\n\r\n",
    b"data: b\r\n\r\n",
]


@given(
    bodies=st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6), min_size=2, max_size=4),
    closing=st.lists(st.booleans(), min_size=4, max_size=4),
    data=st.data(),
)
@settings(max_examples=300, deadline=None)
def test_answers_side_by_side_do_not_mix(
    bodies: list[list[bytes]], closing: list[bool], data: st.DataObject
) -> None:
    """Connections that share a parser between two chunks hear each its own answer, wherever the reads cut."""

    async def story() -> None:
        callbacks, put_back = Callbacks(), list[UpstreamConnection]()
        lines = []
        with socket.socket() as sock:
            for pieces, close in zip(bodies, closing, strict=False):
                connection = Http1Connection(sock, address="-", on_idle=put_back.append, callbacks=callbacks)
                connection.connection_made(Nowhere())
                connection.start(heard := Heard(), b"GET", b"/", render(GET))
                connection.end_body()
                head = CHUNKED.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n") if close else CHUNKED
                framed = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
                answer = b"".join([head, *framed, b"0\r\n\r\n"])
                cuts = data.draw(st.lists(st.integers(0, len(answer)), max_size=6).map(sorted))
                # To cut between two chunks is what chance does too seldom.
                cuts += [
                    len(head) + sum(map(len, framed[: n + 1])) for n in range(data.draw(st.integers(0, 6)))
                ]
                lines.append((connection, heard, answer, sorted({*cuts, len(answer)} - {0})))
            reads = data.draw(st.permutations([n for n, line in enumerate(lines) for _ in line[3]]))
            at = [0] * len(lines)
            for number in reads:
                connection, _, answer, cuts = lines[number]
                connection.data_received(answer[at[number] : cuts[0]])
                at[number] = cuts.pop(0)
        for (connection, heard, _, _), pieces, close in zip(lines, bodies, closing, strict=False):
            assert (heard.body, heard.code) == (b"".join(pieces), "whole")
            assert (connection in put_back) is not close

    with asyncio.Runner() as runner:
        runner.run(story())


def test_an_answer_that_rests_between_two_chunks_needs_no_parser() -> None:
    """The next chunk finds one, the connection's close there is no torn chunk, and what is none is refused."""

    async def story(then: bytes) -> Heard:
        with socket.socket() as sock:
            connection = Http1Connection(sock, address="-")
            connection.connection_made(Nowhere())
            connection.start(heard := Heard(), b"GET", b"/", render(GET))
            connection.end_body()
            connection.data_received(CHUNKED + b"9\r\ndata: a\n\n\r\n")
            assert connection._parser is None
            if then:
                connection.data_received(then)
            connection.connection_lost(None)
        return heard

    with asyncio.Runner() as runner:
        assert runner.run(story(b"")).code == "P.fin.body"
        assert runner.run(story(b"9\r\ndata")).code == "P.torn.body"
        assert runner.run(story(b"no chunk\r\n")).code == "P.bad.body"
        whole = runner.run(story(b"1\r\n!\r\n0\r\n\r\n"))
    assert (whole.body, whole.code) == (b"data: a\n\n!", "whole")


def test_one_read_is_one_call(run: Run) -> None:
    """The chunks of one read are handed on in one piece; nothing is split again."""

    async def story() -> None:
        def script(sock: socket.socket) -> None:
            head_of(sock)
            sock.sendall(CHUNKED + b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n")
            time.sleep(0.05)
            sock.sendall(b"1\r\nd\r\n1\r\ne\r\n")
            time.sleep(0.05)
            sock.sendall(b"1\r\nf\r\n0\r\n\r\n")
            until_closed(sock)

        async with serving(script) as port:
            heard = await ask_afresh(port)
        assert heard.pieces == [b"abc", b"de", b"f"]

    run(story())


def test_names_and_values_come_as_the_upstream_wrote_them(run: Run) -> None:
    """Header names keep their case, repeated headers stay apart and in order."""

    async def story() -> None:
        answer = OK + b"Set-Cookie: a\r\nset-cookie: b\r\nRequest-Id: req_1\r\nContent-Length: 0\r\n\r\n"
        async with serving(saying_once(answer)) as port:
            heard = await ask_afresh(port)
        assert heard.headers == [
            (b"Set-Cookie", b"a"),
            (b"set-cookie", b"b"),
            (b"Request-Id", b"req_1"),
            (b"Content-Length", b"0"),
        ]

    run(story())


# What goes up.


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_request_goes_out_as_given(framing: str, run: Run) -> None:
    """Request line and headers are written as they are; the body raw under a length, else in chunks."""

    async def story() -> None:
        seen: list[bytes] = []

        def script(sock: socket.socket) -> None:
            seen.append(head_of(sock))
            wanted = b"hello world" if framing == "length" else b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
            seen.append(exactly(sock, len(wanted)))
            assert seen[1] == wanted
            sock.sendall(LENGTH_5 + b"hello")
            until_closed(sock)

        header = (b"Content-Length", b"11") if framing == "length" else (b"transfer-encoding", b"chunked")
        async with serving(script) as port:
            pool = pool_to(port)
            connection, heard = await pool.connect(), Heard()
            connection.start(heard, b"POST", b"/v1/messages?beta=true", render([*GET, header]))
            connection.send_body(b"hello")
            await asyncio.sleep(0.01)
            connection.send_body(b" world")
            connection.end_body()
            await heard.over.wait()
            await pool.close()
        assert seen[0] == b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: upstream\r\n%s: %s\r\n\r\n" % header

    run(story())


def test_the_head_does_not_wait_for_the_body(run: Run) -> None:
    """Where the body is long in coming, the upstream has the head meanwhile."""

    async def story() -> None:
        arrived = asyncio.Event()
        loop = asyncio.get_running_loop()

        def script(sock: socket.socket) -> None:
            head_of(sock)
            loop.call_soon_threadsafe(arrived.set)
            until_closed(sock)

        async with serving(script) as port:
            connection = await pool_to(port).connect()
            connection.start(Heard(), b"POST", b"/", render([*GET, (b"Content-Length", b"5")]))
            await asyncio.wait_for(arrived.wait(), 2)
            connection.abort()

    run(story())


def test_a_slow_upstream_pauses_the_client(run: Run) -> None:
    """When the upstream does not read, the listener is told to pause, then to go on, and no byte is lost."""

    async def story() -> None:
        size = 20_000_000
        received: list[int] = []

        def script(sock: socket.socket) -> None:
            head_of(sock)
            time.sleep(0.1)
            count = 0
            while count < size:
                count += len(sock.recv(1 << 20))
            received.append(count)
            sock.sendall(LENGTH_5 + b"hello")
            until_closed(sock)

        async with serving(script) as port:
            pool = pool_to(port)
            connection, heard = await pool.connect(), Heard()
            connection.start(heard, b"POST", b"/", render([*GET, (b"Content-Length", b"%d" % size)]))
            piece = bytes(200_000)
            for _ in range(size // len(piece)):
                connection.send_body(piece)
                if not heard.room.is_set():
                    await heard.room.wait()
                await asyncio.sleep(0)
            connection.end_body()
            await heard.over.wait()
            await pool.close()
        assert heard.code == "whole" and received == [size]
        assert heard.pauses[:2] == ["paused", "resumed"]

    run(story())


@pytest.mark.parametrize("polite", [False, True], ids=["RST", "lingering close"])
def test_an_early_refusal_of_a_large_upload_is_heard(polite: bool, run: Run) -> None:
    """The upstream answers 413 after 100 KB of 5 MB and closes: its answer is heard, whatever our writes meet."""

    async def story() -> None:
        answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge"

        def script(sock: socket.socket) -> None:
            head_of(sock)
            exactly(sock, 100_000)
            sock.sendall(answer)
            if polite:
                sock.shutdown(socket.SHUT_WR)
                until_closed(sock)

        for pieces in (1, 50, 1000):
            async with serving(script) as port:
                connection, heard = await pool_to(port).connect(), Heard()
                connection.start(heard, b"POST", b"/", render([*GET, (b"Content-Length", b"5000000")]))
                for _ in range(pieces):
                    connection.send_body(bytes(5_000_000 // pieces))
                    if pieces < 1000:  # otherwise in one go: the socket is written to, never read, meanwhile
                        await asyncio.sleep(0)
                await asyncio.wait_for(heard.over.wait(), 5)
            assert (heard.status, heard.body, heard.code) == (413, b"large", "whole")
            connection.send_body(b"too late")
            assert not connection.alive

    run(story())


def test_an_answer_already_received_survives_our_failed_write(run: Run) -> None:
    """Answer and RST arrive while the loop is busy and the next thing it does is write: the answer is still heard."""

    async def story() -> None:
        def script(sock: socket.socket) -> None:
            head_of(sock)
            sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
            sock.recv(10)
            reset(sock)

        async with serving(script) as port:
            connection, heard = await pool_to(port).connect(), Heard()
            connection.start(heard, b"POST", b"/", render([*GET, (b"Content-Length", b"5000000")]))
            connection.send_body(bytes(100))
            connection._transport.pause_reading()  # stands for a loop that did not get round to reading
            await asyncio.sleep(0.05)
            connection.send_body(bytes(1000))
            await asyncio.wait_for(heard.over.wait(), 5)
        assert (heard.status, heard.body, heard.code) == (413, b"large", "whole")

    run(story())


# Ways to break.


def broken(script: str) -> tuple[bytes, str]:
    """What is said before the break, and the ending's phase."""
    return {
        "headers": (b"", "headers"),
        "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le", "headers"),
        "body": (CHUNKED + b"5\r\nhello\r\n", "body"),
        "half a chunk": (CHUNKED + b"a\r\nhello", "body"),
        "length": (OK + b"Content-Length: 10\r\n\r\nhello", "body"),
    }[script]


@pytest.mark.parametrize("where", ["headers", "half a head", "body", "half a chunk", "length"])
@pytest.mark.parametrize("how", ["rst", "fin", "fin+rst"])
def test_a_break_says_who_how_and_when(where: str, how: str, run: Run) -> None:
    """RST, FIN and FIN followed by RST are told apart, before the head and inside every body; what came is kept."""

    async def story() -> None:
        said, phase = broken(where)

        def script(sock: socket.socket) -> None:
            head_of(sock)
            sock.sendall(said)
            time.sleep(0.03)  # let it be read: a RST may throw away what was not
            if how != "rst":
                sock.shutdown(socket.SHUT_WR)
                time.sleep(0.03)
            if how == "fin":
                until_closed(sock)
            else:
                reset(sock)

        async with serving(script) as port:
            heard = await ask_afresh(port)
        torn = how == "fin" and where in ("half a chunk", "length")
        assert heard.code == f"P.{'torn' if torn else how}.{phase}"
        assert heard.body == (b"hello" if phase == "body" else b"")
        assert heard.ending is not None
        evidence = heard.ending.evidence
        assert evidence["received_bytes"] == len(said) and evidence["reused"] is False
        assert 0 <= float(evidence["silence_s"] or 0) <= float(evidence["age_s"] or 0) < 5
        if sys.platform == "linux":
            assert evidence["tcp_state"] == ("CLOSE_WAIT" if how == "fin" else "CLOSE")
            assert evidence["rtt_ms"] is not None and evidence["unacked_bytes"] is not None
            expected = {"rst": (errno.ECONNRESET, 0), "fin": (None, 0), "fin+rst": (None, errno.EPIPE)}[how]
            assert (evidence["errno"], evidence["so_error"]) == expected

    run(story())


def test_a_reset_cuts_an_answer_that_ends_by_close(run: Run) -> None:
    """Without length or chunks only a FIN is an end; a RST is a break."""

    async def story() -> None:
        def script(sock: socket.socket) -> None:
            head_of(sock)
            sock.sendall(OK + b"\r\nhello")
            time.sleep(0.03)
            reset(sock)

        async with serving(script) as port:
            heard = await ask_afresh(port)
        assert (heard.body, heard.code) == (b"hello", "P.rst.body")

    run(story())


def test_a_reset_during_the_upload_is_in_the_sending_phase(run: Run) -> None:
    """Nothing was answered and the request was not out: the phase says so."""

    async def story() -> None:
        def script(sock: socket.socket) -> None:
            head_of(sock)
            reset(sock)

        async with serving(script) as port:
            connection, heard = await pool_to(port).connect(), Heard()
            connection.start(heard, b"POST", b"/", render([*GET, (b"Content-Length", b"100")]))
            await asyncio.wait_for(heard.over.wait(), 5)
        assert heard.code == "P.rst.send"

    run(story())


MALFORMED = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length and chunks": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "control character": OK + b"X: a\x01b\r\nContent-Length: 0\r\n\r\n",
    "bad chunk size": CHUNKED + b"xyz\r\n",
    "switch without being asked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "huge head": OK + b"".join(b"X-%d: %s\r\n" % (i, b"v" * 1000) for i in range(600)),
    "endless header": OK + b"X: " + b"v" * 600_000,
    "endless trailers": CHUNKED
    + b"0\r\n"
    + b"".join(b"X-%d: %s\r\n" % (i, b"v" * 1000) for i in range(1200)),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_not_http_is_refused(name: str, run: Run) -> None:
    """Malformed, oversized and unasked-for answers end in `bad`, in bounded memory, with a reason."""

    async def story() -> None:
        def script(sock: socket.socket) -> None:
            head_of(sock)
            try:
                sock.sendall(MALFORMED[name])
            except OSError:
                return  # the gateway had heard enough
            until_closed(sock)

        async with serving(script) as port:
            heard = await ask_afresh(port)
        assert heard.ending is not None
        assert (heard.ending.side, heard.ending.mechanism) == (Side.PROVIDER, Mechanism.MALFORMED)
        assert heard.ending.detail

    run(story())


def test_what_came_before_a_malformed_chunk_is_handed_on(run: Run) -> None:
    """A break never takes back what was already good, even from the same read."""

    async def story() -> None:
        async with serving(saying_once(CHUNKED + b"5\r\nhello\r\nxyz\r\n")) as port:
            heard = await ask_afresh(port)
        assert (heard.status, heard.body, heard.code) == (200, b"hello", "P.bad.body")

    run(story())


@pytest.mark.parametrize(
    ("error", "closed_before", "who_and_how"),
    [
        (None, True, (Side.PROVIDER, Mechanism.FIN)),
        (ConnectionResetError(errno.ECONNRESET, ""), False, (Side.PROVIDER, Mechanism.RST)),
        (BrokenPipeError(errno.EPIPE, ""), False, (Side.PROVIDER, Mechanism.RST)),
        (BrokenPipeError(errno.EPIPE, ""), True, (Side.PROVIDER, Mechanism.FIN_THEN_RST)),
        (TimeoutError(errno.ETIMEDOUT, ""), False, (Side.PATH, Mechanism.KEEPALIVE_UNANSWERED)),
        (ConnectionAbortedError(errno.ECONNABORTED, ""), False, (Side.MACHINE, Mechanism.ABORTED)),
        (OSError(errno.EHOSTUNREACH, ""), False, (Side.PATH, Mechanism.UNREACHABLE)),
        (OSError(errno.ENOBUFS, ""), False, (Side.MACHINE, Mechanism.LOCAL_ERROR)),
        (ValueError("a defect"), False, (Side.MACHINE, Mechanism.LOCAL_ERROR)),
    ],
)
def test_every_error_of_the_loop_has_a_cause(
    error: Exception | None, closed_before: bool, who_and_how: tuple[Side, Mechanism]
) -> None:
    """What the event loop reports is translated once, here."""
    assert cause(error, closed_before) == who_and_how


# Stopping, pausing, and calling back from a callback.


def test_abort_closes_and_says_nothing_more(run: Run) -> None:
    """An aborted exchange is silent, and the upstream sees the connection go."""

    async def story() -> None:
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()

        def script(sock: socket.socket) -> None:
            head_of(sock)
            sock.sendall(CHUNKED + b"5\r\nhello\r\n")
            until_closed(sock)
            loop.call_soon_threadsafe(gone.set)

        async with serving(script) as port:
            connection, heard = await pool_to(port).connect(), Heard()
            connection.start(heard, b"GET", b"/", render(GET))
            connection.end_body()
            await heard.something.wait()
            connection.abort()
            await asyncio.wait_for(gone.wait(), 2)
        assert heard.code == "open" and repr(connection).endswith("closed, 57 bytes heard>")

    run(story())


@pytest.mark.parametrize("callback", ["response_started", "body_arrived"])
def test_abort_from_within_a_callback_is_obeyed_at_once(callback: str, run: Run) -> None:
    """Head, body and end came in one read; the listener that stops at the first hears no second."""

    async def story() -> None:
        calls: list[str] = []

        class Leaver(Heard):
            def response_started(self, status: int, reason: bytes, headers: Headers) -> None:
                self._called("response_started")

            def body_arrived(self, data: bytes) -> None:
                self._called("body_arrived")

            def response_ended(self) -> None:
                self._called("response_ended")

            def connection_ended(self, ending: Ending) -> None:
                self._called("connection_ended")

            def _called(self, name: str) -> None:
                calls.append(name)
                if name == callback:
                    connection.abort()

        async with serving(saying_once(LENGTH_5 + b"hello")) as port:
            connection = await pool_to(port).connect()
            connection.start(Leaver(), b"GET", b"/", render(GET))
            connection.end_body()
            await asyncio.sleep(0.05)
        assert calls[-1] == callback and len(calls) == (1 if callback == "response_started" else 2)

    run(story())


def test_a_paused_connection_is_not_read(run: Run) -> None:
    """An opaque relay may stop reading; the upstream's bytes wait in the kernel until it goes on."""

    async def story() -> None:
        def script(sock: socket.socket) -> None:
            head_of(sock)
            sock.sendall(CHUNKED)
            time.sleep(0.05)
            sock.sendall(b"5\r\nhello\r\n0\r\n\r\n")
            until_closed(sock)

        async with serving(script) as port:
            pool = pool_to(port)
            connection, heard = await pool.connect(), Heard()
            connection.start(heard, b"GET", b"/", render(GET))
            connection.end_body()
            await heard.something.wait()
            connection.pause_reading()
            await asyncio.sleep(0.15)
            assert heard.code == "open" and heard.pieces == []
            connection.resume_reading()
            await asyncio.wait_for(heard.over.wait(), 2)
            await pool.close()
        assert (heard.body, heard.code) == (b"hello", "whole")

    run(story())


def test_a_connection_that_died_before_its_exchange_says_so(run: Run) -> None:
    """Between connecting and asking the upstream closed: an ending in the idle phase, no exception."""

    async def story() -> None:
        async with serving(lambda sock: None) as port:
            connection = await pool_to(port).connect()
            await asyncio.sleep(0.05)
            assert not connection.alive
            heard = await ask(connection)
        assert heard.ending is not None and heard.ending.phase is Phase.POOLED_IDLE
        assert heard.code == "P.fin.idle"

    run(story())


def test_a_busy_connection_refuses_a_second_exchange(run: Run) -> None:
    """One exchange at a time; the error says what to do."""

    async def story() -> None:
        async with serving(lambda sock: until_closed(sock)) as port:
            connection = await pool_to(port).connect()
            connection.start(Heard(), b"GET", b"/", render(GET))
            with pytest.raises(RuntimeError, match="take another connection"):
                connection.start(Heard(), b"GET", b"/", render(GET))
            connection.abort()

    run(story())


def test_a_defect_in_the_listener_ends_the_exchange_with_its_name() -> None:
    """A listener that raises gets an ending of this machine's, and is not fed again."""

    async def story() -> None:
        class Clumsy(Heard):
            def body_arrived(self, data: bytes) -> None:
                super().body_arrived(data)
                raise KeyError("a defect")

        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        async with serving(saying_once(CHUNKED + b"5\r\nhello\r\n")) as port:
            connection, heard = await pool_to(port).connect(), Clumsy()
            connection.start(heard, b"GET", b"/", render(GET))
            connection.end_body()
            await asyncio.wait_for(heard.over.wait(), 5)
        assert len(heard.pieces) == 1 and heard.code == "M.local.body"
        assert heard.ending is not None and "a defect" in heard.ending.detail

    asyncio.run(story())
