"""An upstream that answers as told, and remembers what happened to each answer.

It speaks enough of the Messages API for real clients: POST /v1/messages (streamed or whole),
count_tokens, GET /v1/models, HEAD; anything else is a 404 in the API's own form. Header values and
bodies stay in memory for assertions and are never written anywhere.

Seen from here: `generated` counts the answers that began to be produced, `exchanges` says how far each
went, `connections` how each connection ended, by whom and after which step.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import json
import os
import socket
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ssl import SSLContext
from time import monotonic
from typing import Any, cast

import httptools

from holdfast.flight.endings import Phase
from holdfast.lab import script
from holdfast.lab.hosting import Hosted
from holdfast.lab.script import Answer, End, Ends, GoAway, Gzip, Pause, ResetStream, Say
from holdfast.lab.tls import Cipher

DEFAULT_MODEL = "claude-lab-1"
SETTLE_S = 0.05
"Real seconds between the last byte and a reset: what is not read yet may be lost with it."
BETWEEN_FIN_AND_RST_S = 0.02
"Real seconds; the FIN is read by then, and nobody waits longer than a few hundred ms to see what follows it."
LONGEST_GOODBYE_S = 2.0
"How long a client may take to close after our FIN before its connection is dropped."


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived."""

    number: int
    "1 for the first request of this provider."
    connection: int
    "1 for the first connection."
    method: str
    target: str
    "As on the request line, query string included."
    headers: dict[str, str] = field(repr=False)
    "Names in lower case; the last of equal names."
    body: bytes = field(repr=False)
    arrived_s: float = 0.0
    "Monotonic."

    @property
    def path(self) -> str:
        """Without the query string."""
        return self.target.partition("?")[0]

    @property
    def json(self) -> dict[str, Any]:
        """The body, if it is a JSON object; else empty."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def streaming(self) -> bool:
        """Whether a stream was asked for."""
        return self.json.get("stream") is True


@dataclass(slots=True)
class Exchange:
    """One request and what became of its answer."""

    request: Request
    answer: Answer | None = None
    "None where no rule was asked: HEAD, models, count_tokens, 404."
    generated: bool = False
    "Whether an answer began to be produced (an HTTP error is none)."
    status: int | None = None
    "None while no header was sent."
    steps: int = 0
    "Events written."
    phase: Phase = Phase.AWAITING_HEADERS
    sent_bytes: int = 0
    "Of the body, without chunk framing and before compression."
    sent: bytearray = field(default_factory=bytearray, repr=False)
    "The body's first bytes, up to the provider's `keep_bytes`."
    digest: Any = field(default_factory=hashlib.sha256, repr=False)
    "Of the whole body, for those that are longer."
    finished: bool = False
    "Whether everything that was told was said."
    ended_s: float | None = None
    ended: str = ""
    "`end` | `client fin` | `client rst` | `client lost` | `provider fin` | `provider rst` | ...; empty while it lasts."
    _tokens: float = 0.0
    _pause: tuple[float, float, int] | None = None

    @property
    def tokens(self) -> int:
        """Output tokens generated so far, those held back during a pause included."""
        held = 0.0
        if self._pause is not None:
            began_s, lasts_s, tokens = self._pause
            held = tokens * min(1.0, (monotonic() - began_s) / lasts_s) if lasts_s else tokens
        return round(self._tokens + held)

    @property
    def lasted_s(self) -> float:
        """Since the request arrived, until now or its end."""
        return (self.ended_s or monotonic()) - self.request.arrived_s


@dataclass(slots=True)
class Connection:
    """One client connection and its ending."""

    number: int
    opened_s: float
    requests: int = 0
    ended: str = ""
    "`client fin` | `client rst` | `client lost` | `provider fin` | `provider rst` | ...; empty while it is open."
    ended_s: float | None = None
    after_steps: int = 0
    "Events of the answer under way (or the last one) that had been written."
    phase: Phase = Phase.POOLED_IDLE
    "What was under way."


Rule = Callable[[Request], Answer]


def in_order(answers: Sequence[Answer]) -> Rule:
    """Each answer once, in order; whoever asks more often is told so by a 400, which no client retries for long."""
    left = list(answers)

    def next_answer(_: Request) -> Answer:
        if left:
            return left.pop(0)
        return script.http_error(400, "the lab has no more answers; give it as many as will be asked for")

    return next_answer


class Provider(Hosted):
    """The server. `rule` is a function of the request, one answer for all, or answers in order."""

    def __init__(
        self,
        rule: Rule | Answer | Sequence[Answer],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl: SSLContext | None = None,
        http2: bool = False,
        speed: float = 1.0,
        prefix: str = "",
        keep_bytes: int = 4 * 1024 * 1024,
        on_change: Callable[[Exchange], None] | None = None,
    ) -> None:
        """`speed` 100 makes a pause of 300 s last 3 s. `prefix` is a path before `/v1/...`.

        `http2` speaks HTTP/2: over TLS if the client's ALPN asks for it (this sets the context's own), else at once.
        `on_change` is called when a request arrived and when its exchange ended, on the server's loop.
        """
        self.exchanges: list[Exchange] = []
        self.connections: list[Connection] = []
        self.defects: list[Exception] = []
        "What the rule raised; the first of them is raised again when the provider stops."
        self.speed = speed
        self.keep_bytes = keep_bytes
        self.on_change = on_change
        self.prefix = prefix.rstrip("/")
        self._rule = (
            rule if callable(rule) else in_order(rule) if isinstance(rule, Sequence) else _always(rule)
        )
        self._host, self._port, self._ssl, self._http2 = host, port, ssl, http2
        self._server: asyncio.Server | None = None
        self._open: set[Wire] = set()

    # what happened

    @property
    def requests(self) -> list[Request]:
        """All requests so far."""
        return [exchange.request for exchange in self.exchanges]

    @property
    def answers(self) -> list[Exchange]:
        """The exchanges in which an answer was generated, those of side requests left out."""
        return [
            seen for seen in self.exchanges if seen.generated and seen.answer and seen.answer.label != "side"
        ]

    @property
    def generated(self) -> int:
        """How many answers were generated, in whole or in part; side requests are left out."""
        return len(self.answers)

    def generations(self, label: str) -> int:
        """How many answers with this label were generated, in whole or in part."""
        return sum(
            1 for seen in self.exchanges if seen.generated and seen.answer and seen.answer.label == label
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._ssl else 'http'}://{host}:{self._port}{self.prefix}"

    def __repr__(self) -> str:
        went = ", ".join(f"{seen.steps} events {seen.ended or 'open'}" for seen in self.exchanges)
        return f"<Provider {self._port}, {len(self.exchanges)} requests, {self.generated} generated: {went}>"

    # life

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol(), self._host, self._port, backlog=4096)
        self._port = self._server.sockets[0].getsockname()[1]

    def _protocol(self) -> Callable[[], asyncio.Protocol]:
        inner: Callable[[], asyncio.Protocol] = lambda: Wire(self)  # noqa: E731
        if self._http2:
            from holdfast.lab.http2 import Front

            if self._ssl is not None:
                self._ssl.set_alpn_protocols(["h2", "http/1.1"])
            inner = lambda: Front(Wire(self))  # noqa: E731
        context = self._ssl
        return inner if context is None else lambda: Cipher(context, inner())

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [wire.abandon() for wire in list(self._open)]
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.defects:
            raise self.defects[0]

    # used by the connections

    def choose(self, request: Request) -> Answer:
        """Ask the rule. What it raises (an assertion of a test's, say) comes out of `stop`."""
        try:
            return self._rule(request)
        except Exception as defect:
            self.defects.append(defect)
            return script.http_error(400, f"the lab's rule failed: {type(defect).__name__}")

    def changed(self, exchange: Exchange) -> None:
        """Tell whoever listens."""
        if self.on_change is not None:
            self.on_change(exchange)


def _always(told: Answer) -> Rule:
    return lambda _: told


class Wire(asyncio.Protocol):
    """One connection: reads requests, answers them one after the other."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._waiting: asyncio.Queue[tuple[Exchange, bool]] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._parser = httptools.HttpRequestParser(self)
        self._exchange: Exchange | None = None

    # from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self.seen = Connection(len(self._provider.connections) + 1, monotonic())
        self._provider.connections.append(self.seen)
        self._provider._open.add(self)
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # no upgrade is offered; the request itself was complete and is answered
        except httptools.HttpParserError:
            self._transport.write(
                b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.end_connection("provider fin")
            self._transport.close()

    def eof_received(self) -> bool:
        self.end_connection("client fin")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        reset = isinstance(exc, ConnectionResetError | BrokenPipeError | ConnectionAbortedError)
        self.end_connection("client rst" if reset else "client lost" if exc else "provider fin")
        self._gone.set()
        self._writable.set()
        self._provider._open.discard(self)
        self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # from the parser

    def on_message_begin(self) -> None:
        self._target, self._headers, self._body = b"", dict[str, str](), bytearray()
        self._arrived_s = monotonic()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.seen.requests += 1
        request = Request(
            number=len(self._provider.exchanges) + 1,
            connection=self.seen.number,
            method=self._parser.get_method().decode(),
            target=self._target.decode("latin-1"),
            headers=self._headers,
            body=bytes(self._body),
            arrived_s=monotonic(),
        )
        exchange = Exchange(request)
        self._provider.exchanges.append(exchange)
        self._waiting.put_nowait((exchange, self._parser.should_keep_alive()))

    # endings

    def abandon(self) -> asyncio.Task[None]:
        """The provider stops: drop the connection."""
        self.end_connection("provider stopped")
        self._transport.abort()
        self._task.cancel()
        return self._task

    def end_connection(self, how: str) -> None:
        """It ends, and this is how; only the first word counts."""
        if self.seen.ended:
            return
        self.seen.ended, self.seen.ended_s = how, monotonic()
        if self._exchange is not None:
            self.seen.after_steps, self.seen.phase = self._exchange.steps, self._exchange.phase
            self._end_exchange(how)

    def _end_exchange(self, how: str) -> None:
        exchange = self._exchange
        if exchange is not None and not exchange.ended:
            exchange.ended, exchange.ended_s = how, monotonic()
            self._provider.changed(exchange)

    # answering

    async def _serve(self) -> None:
        while True:
            exchange, keep_alive = await self._waiting.get()
            self._exchange = exchange
            request = exchange.request
            path = request.path.removeprefix(self._provider.prefix)
            inside = request.path.startswith(self._provider.prefix)
            if inside and request.method == "POST" and path == "/v1/messages":
                keep_alive = await self._answer(exchange, keep_alive) and keep_alive
            else:
                exchange.status, headers, body = _aside(request, path if inside else None)
                self._write_whole(exchange, headers, body, keep_alive)
            self._end_exchange("end")
            if not keep_alive:
                self.end_connection("provider fin")
                self._transport.close()
                return

    async def _answer(self, exchange: Exchange, keep_alive: bool) -> bool:
        """Play one answer; returns whether the connection can be used again."""
        request = exchange.request
        told = exchange.answer = self._provider.choose(request)
        exchange.generated = told.body is None
        self._provider.changed(exchange)
        keep_alive = keep_alive and ("connection", "close") not in told.headers and told.framing != "close"
        if told.body is not None:
            await self._pause(exchange, Pause(told.before_headers_s))
            exchange.status = told.status
            self._write_whole(exchange, _json_headers(exchange, told), told.body, keep_alive)
            exchange.finished = True
        elif told.instead is not None:
            await self._pause(exchange, Pause(told.before_headers_s))
            self._transport.write(told.instead)
            await self._finish(exchange, told, None)
        elif request.streaming:
            await self._stream(exchange, told, keep_alive)
        else:
            await self._all_at_once(exchange, told, keep_alive)
        return keep_alive

    async def _stream(self, exchange: Exchange, told: Answer, keep_alive: bool) -> None:
        await self._pause(exchange, Pause(told.before_headers_s))
        if not told.steps and told.end not in (End.PROPER, End.CUT_SHORT):
            await self._finish(exchange, told, None)
            return
        body = _Body(told, exchange.request, keep_alive)
        exchange.status, exchange.phase = told.status, Phase.AWAITING_FIRST_EVENT
        self._transport.write(
            _head(told.status, [*_stream_headers(exchange, told), *body.headers], keep_alive)
        )
        for said in script.play(told, **self._identity(exchange)):
            if isinstance(said, Pause):
                await self._pause(exchange, said)
            else:
                await self._say(exchange, said, body)
        exchange.finished = told.end is not End.SILENCE
        await self._finish(exchange, told, body)

    async def _all_at_once(self, exchange: Exchange, told: Answer, keep_alive: bool) -> None:
        """The whole message after all its pauses; the status comes with it, as from the real API."""
        await self._pause(exchange, Pause(told.pauses_s, told.tokens))
        failed = script.fault_status(told)
        message = script.encode(script.whole_message(told, **self._identity(exchange)))
        exchange.status, content = failed or (told.status, message)
        if told.end in (End.PROPER, End.CUT_SHORT):
            # Cut short: the HTTP body ends as it should, the JSON in it does not.
            content = content[: len(content) // 2] if told.end is End.CUT_SHORT else content
            headers = _json_headers(exchange, told)
            if _compresses(told, exchange.request):
                encoder = zlib.compressobj(wbits=31)
                headers.append(("content-encoding", "gzip"))
                self._keep(exchange, content)
                content = encoder.compress(content) + encoder.flush()
            self._write_whole(exchange, headers, content, keep_alive)
            exchange.phase, exchange.finished = Phase.AFTER_END, True
        else:
            exchange.status = None
            await self._finish(exchange, told, None)

    async def _say(self, exchange: Exchange, said: Say, body: _Body) -> None:
        if said.bare:
            self._transport.write(said.data)
            return
        self._keep(exchange, said.data)
        await self._write(body.encode(said.data), body.piece_bytes)
        exchange.steps += 1
        exchange.phase = said.phase
        exchange._tokens += said.tokens
        if exchange.steps % 64 == 0:
            await asyncio.sleep(0)  # a long answer without pauses must not keep the loop for itself

    async def _pause(self, exchange: Exchange, told: Pause) -> None:
        lasts_s = told.seconds / self._provider.speed
        before = exchange._tokens
        exchange._pause = (monotonic(), lasts_s, told.tokens)
        try:
            if lasts_s:
                await asyncio.sleep(lasts_s)
            exchange._tokens, exchange._pause = before + told.tokens, None
        finally:
            # Left in the middle: what was generated until then.
            exchange._tokens, exchange._pause = float(exchange.tokens), None

    async def _write(self, data: bytes, piece_bytes: int | None) -> None:
        size = piece_bytes or len(data)
        for at in range(0, len(data), size or 1):
            if self._transport.is_closing():
                await self._gone.wait()  # the answer ends with its connection: this task is cancelled then
            self._transport.write(data[at : at + size])
            await self._writable.wait()
            if piece_bytes:
                await asyncio.sleep(0)

    async def _finish(self, exchange: Exchange, told: Answer, body: _Body | None) -> None:
        """Carry out the answer's ending; returns only if the body ended properly."""
        if told.end in (End.PROPER, End.CUT_SHORT):
            assert body is not None
            await self._write(body.last(), None)
            return
        if told.end is not End.SILENCE:
            await self._flushed()
            self.end_connection(f"provider {_name_of(told.end)}")
        await self._carry_out(told.end)
        await self._gone.wait()

    async def _carry_out(self, end: Ends) -> None:
        """End the connection, or make it useless."""
        # Said by the fronts of HTTP/2 and TLS; where the connection has none, the nearest that TCP has.
        say = getattr(self._transport, "end_early", None)
        if isinstance(end, GoAway | ResetStream):
            if say is not None and say(end):
                return
            end = End.FIN if isinstance(end, GoAway) else End.RST
        sock = self._transport.get_extra_info("socket")
        tls = self._provider._ssl is not None
        match end:
            case End.RST:
                _reset(self._transport)
            case End.FIN_THEN_RST:
                reset_on_close(sock)  # now: the other end may close meanwhile, and then so do we
                shutdown_below_tls(self._transport)
                await asyncio.sleep(BETWEEN_FIN_AND_RST_S)
                _reset(self._transport)
            case End.BARE_FIN if tls:
                shutdown_below_tls(self._transport)
                await asyncio.sleep(LONGEST_GOODBYE_S)
                self._transport.abort()
            case End.ALERT | End.BROKEN_RECORD if say is not None and say(end):
                pass
            case End.DARK:
                deafen(sock)
            case End.SILENCE:
                pass
            case _:
                self._transport.close()

    async def _flushed(self) -> None:
        while self._transport.get_write_buffer_size():  # noqa: ASYNC110 (transports have no event for it)
            await asyncio.sleep(0.005)
        await asyncio.sleep(SETTLE_S)

    def _write_whole(
        self, exchange: Exchange, headers: list[tuple[str, str]], body: bytes, keep_alive: bool
    ) -> None:
        assert exchange.status is not None
        headers = [*headers, ("content-length", str(len(body)))]
        if exchange.request.method == "HEAD":
            body = b""
        if not exchange.sent_bytes:
            self._keep(exchange, body)
        self._transport.write(_head(exchange.status, headers, keep_alive) + body)

    def _keep(self, exchange: Exchange, data: bytes) -> None:
        exchange.sent_bytes += len(data)
        exchange.digest.update(data)
        exchange.sent += data[: max(0, self._provider.keep_bytes - len(exchange.sent))]

    def _identity(self, exchange: Exchange) -> dict[str, Any]:
        request = exchange.request
        return {
            "message_id": f"msg_lab_{request.number}",
            "model": str(request.json.get("model") or DEFAULT_MODEL),
            "input_tokens": script.count_tokens("x" * len(request.body)),
        }


class _Body:
    """The framing and compression of one streamed body."""

    def __init__(self, told: Answer, request: Request, keep_alive: bool) -> None:
        self.piece_bytes = told.piece_bytes
        self._chunked = told.framing == "chunked"
        self._encoder = zlib.compressobj(wbits=31) if _compresses(told, request) else None
        self.headers = [("transfer-encoding", "chunked")] if self._chunked else []
        if self._encoder:
            self.headers.append(("content-encoding", "gzip"))

    def encode(self, data: bytes) -> bytes:
        """One event as it goes over the wire; a compressed one is flushed, as streaming servers do."""
        if self._encoder:
            data = self._encoder.compress(data) + self._encoder.flush(zlib.Z_SYNC_FLUSH)
        return self._chunk(data)

    def last(self) -> bytes:
        """What ends the body properly."""
        tail = self._chunk(self._encoder.flush()) if self._encoder else b""
        return tail + (b"0\r\n\r\n" if self._chunked else b"")

    def _chunk(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data


def _compresses(told: Answer, request: Request) -> bool:
    accepted = "gzip" in request.headers.get("accept-encoding", "")
    return told.gzip is Gzip.ALWAYS or (told.gzip is Gzip.IF_ACCEPTED and accepted)


def _aside(request: Request, path: str | None) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of everything that is not a message."""
    headers = [("content-type", "application/json"), ("request-id", f"req_lab_{request.number}")]
    if request.method == "HEAD":
        return 200, headers, b""
    if request.method == "POST" and path == "/v1/messages/count_tokens":
        return 200, headers, script.encode({"input_tokens": script.count_tokens("x" * len(request.body))})
    if request.method == "GET" and path == "/v1/models":
        return 200, headers, script.encode(_MODELS)
    if request.method == "GET" and path == "/api/hello":
        return 200, headers, script.encode({"message": "hello"})
    return 404, headers, script.encode(script.error_json("not_found_error", "no such path in the lab"))


_MODELS = {
    "data": [
        {
            "type": "model",
            "id": DEFAULT_MODEL,
            "display_name": "Lab model",
            "created_at": "2026-01-01T00:00:00Z",
        }
    ],
    "has_more": False,
    "first_id": DEFAULT_MODEL,
    "last_id": DEFAULT_MODEL,
}

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 529: "Overloaded"}


def _head(status: int, headers: list[tuple[str, str]], keep_alive: bool) -> bytes:
    names = {name for name, _ in headers}
    if not keep_alive and "connection" not in names:
        headers = [*headers, ("connection", "close")]
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Lab')}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _stream_headers(exchange: Exchange, told: Answer) -> list[tuple[str, str]]:
    own = [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("request-id", f"req_lab_{exchange.request.number}"),
    ]
    return _overridden(own, told)


def _json_headers(exchange: Exchange, told: Answer) -> list[tuple[str, str]]:
    own = [("content-type", "application/json"), ("request-id", f"req_lab_{exchange.request.number}")]
    return _overridden(own, told)


def _overridden(own: list[tuple[str, str]], told: Answer) -> list[tuple[str, str]]:
    named = {name.lower() for name, _ in told.headers}
    return [*(pair for pair in own if pair[0] not in named), *told.headers]


def reset_on_close(sock: Any) -> None:
    """Make the close of this socket a reset: linger on, for no time (socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def deafen(sock: Any) -> None:
    """Let the kernel drop every packet that comes for this socket, so that nothing is heard and nothing acknowledged.

    A socket filter that accepts nothing (socket(7), SO_ATTACH_FILTER); no other connection is touched. To the other
    end it is a dead path. Raises `OSError` where there is no such thing (macOS), and where it is not allowed: newer
    kernels want CAP_NET_ADMIN for a filter on TCP (measured on 6.18).
    """
    if sys.platform != "linux":
        raise OSError("a path can be made dark on Linux only")
    nothing = ctypes.create_string_buffer(struct.pack("HBBI", _BPF_RETURN, 0, 0, 0))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(nothing)))


def cannot_deafen() -> str:
    """Why no path can be made dark here; empty where one can."""
    try:
        with socket.socket() as tried:
            deafen(tried)
    except PermissionError:
        return "this kernel lets only CAP_NET_ADMIN put a filter on a TCP socket"
    except OSError as error:
        return str(error)
    return ""


_SO_ATTACH_FILTER = 26
_BPF_RETURN = 0x06
"`BPF_RET | BPF_K`: so many bytes of the packet are let through (linux/filter.h)."


def _name_of(end: Ends) -> str:
    match end:
        case GoAway():
            return f"goaway {end.code}"
        case ResetStream():
            return f"rst_stream {end.code}"
        case _:
            return end.value


def _reset(transport: asyncio.Transport) -> None:
    reset_on_close(transport.get_extra_info("socket"))
    transport.abort()


def shutdown_below_tls(transport: asyncio.Transport) -> None:
    """FIN without close_notify. On a duplicate, because uvloop's own socket object refuses `shutdown`."""
    duplicate = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    try:
        duplicate.shutdown(socket.SHUT_WR)
    finally:
        duplicate.close()
