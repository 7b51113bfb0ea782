"""Where an ending is played: something in upstream's place, a real gateway, and a client that is nothing but a socket.

The gateway is started by its front door and keeps its journal in the directory that is given, so that the flight
can be read as any other. Where the gateway itself must die or run out of room it is a process of its own,
`holdfast serve`; otherwise it is in this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import cast

from holdfast.flight import instant
from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism
from holdfast.flight.journal import Journal
from holdfast.flight.reading import open_library
from holdfast.flight.record import TurnRecord
from holdfast.gateway.server import Gateway
from holdfast.gateway.settings import Settings
from holdfast.lab.endings import EndingScenario, Fate, Leaves, Of, Over, Place
from holdfast.lab.provider import (
    BETWEEN_FIN_AND_RST_S,
    Provider,
    deafen,
    reset_on_close,
    shutdown_below_tls,
)

POLL_S = 0.01
LONGEST_S = 30.0
"How long a play may last; the doomed request needs half of it."
FEW_BYTES = 512
DISK_BYTES = 4 * 1024 * 1024
"What a gateway without room may still write to any one file: its journal fits, a long answer does not."
SETTLE_S = 0.1
"Between what the client heard and what happens then: acknowledgements are on their way."
SLOW_UPLOAD_S = 0.3
"Between the two halves of a request, in the row where it comes slowly."
LIFELESS_AFTER_S = 3.3
"Until two of the quick probes have gone unanswered, by which the gateway takes a client's connection for lifeless."
LEFT_AT_S = 1.0
"At which limit of its own the client gives up, in the row where it does: it says so in `x-stainless-timeout`."


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the lab shows where TLS is spoken: PEM files."""

    chain: Path
    key: Path
    authority: Path
    "What vouches for it; the chain itself, where it is signed by its own key."

    def server(self) -> ssl.SSLContext:
        """A server's context. Raises `ssl.SSLError` or `OSError` where the files do not serve."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """That of a client who trusts it."""
        return ssl.create_default_context(cafile=str(self.authority))


SettingsFrom = Callable[[tuple[str, ...]], Settings]
"From the flags of `holdfast serve` to settings."


@dataclass(slots=True)
class Play:
    """One play and what came of it."""

    scenario: EndingScenario
    over: Over
    state_dir: Path
    settings_from: SettingsFrom
    certificate: Certificate | None = None
    "Needed over TLS."
    seen: list[TurnRecord] = field(default_factory=list)
    "The gateway's turns, oldest first, as its journal has them when all is over."
    provider: Provider | None = None
    _began_ms: int = 0
    _asked: str = ""
    "The upstream that its gateway was given: no other play has the same."
    heard: bytearray = field(default_factory=bytearray)
    "What the client heard on its last connection, as it came: head, framing and all. At most 1 MB."

    @property
    def record(self) -> TurnRecord | None:
        """The turn that the row is about."""
        return self.seen[-1] if self.seen else None

    @property
    def told(self) -> Ending | None:
        """What the flight says of the ending that the row is about."""
        return None if self.record is None else ending_of(self.record, self.scenario.of)

    @property
    def first_told(self) -> Ending | None:
        """The first ending of any kind that the flight tells: the cause stands before what it led to."""
        found = endings_of(self.record) if self.record else []
        return found[0] if found else None

    @property
    def verdict(self) -> str:
        """Why the client's connection ended, as the gateway judged; empty where it did not."""
        moments = [moment for _, moment in self.record.moments] if self.record else []
        return next((moment.verdict for moment in moments if isinstance(moment, m.ReaderLeft)), "")

    # -- playing

    async def run(self) -> None:
        """Play it from the request to the ending. Raises `TimeoutError` where it does not come."""
        self._began_ms = instant.now().wall_ms
        async with asyncio.timeout(LONGEST_S), self._upstream() as url:
            proxied = self.scenario.place is Place.PROXY_THAT_REFUSES
            self._asked = "https://upstream.invalid" if proxied else url
            play = self._in_a_process if self._own_process else self._here
            await play(self._flags(url))

    @property
    def _own_process(self) -> bool:
        return self.scenario.fate in (Fate.KILLED, Fate.NO_ROOM)

    @property
    def _tls(self) -> Certificate | None:
        if self.over is Over.PLAIN:
            return None
        assert self.certificate is not None, "TLS needs a certificate"
        return self.certificate

    def _flags(self, url: str) -> tuple[str, ...]:
        tls, proxied = self._tls, self.scenario.place is Place.PROXY_THAT_REFUSES
        flags: tuple[str, ...] = (
            "--retries",
            "0",
            "--no-shorten",
            "--outage-patience",
            "0s",
            "--allow-plain-upstream",
        )
        # Through a proxy upstream's name is never looked up here.
        flags += (
            ("--upstream", "https://upstream.invalid", "--proxy", url) if proxied else ("--upstream", url)
        )
        if not proxied:
            flags += ("--proxy", "none")
        if tls is not None and self.scenario.place is not Place.STRANGER:
            flags += ("--ca-file", str(tls.authority))
        return (*flags, *self.scenario.given)

    async def _here(self, flags: tuple[str, ...]) -> None:
        """With the gateway in this process."""
        settings = replace(self.settings_from(flags), state_dir=self.state_dir)
        journal = _Watched(self.state_dir, self.scenario)
        gateway = Gateway(settings, journal)
        try:
            port = await gateway.listen(ssl=self._tls.server() if self._tls else None)
            async with self._client(port) as client:
                if self.scenario.fate is Fate.STOPPED:
                    await client.happened()
                    await gateway.drain(0.0)
                elif self.scenario.fate is Fate.COMMAND_ENDED:
                    await client.happened()
                    gateway.client_gone()
                await client.until(lambda: journal.told(self.scenario.asks))
        finally:
            await gateway.close()
            await asyncio.to_thread(journal.close)
        self._read()

    async def _in_a_process(self, flags: tuple[str, ...]) -> None:
        """With a gateway that can be killed."""
        tls = self._tls
        if tls is not None:
            flags += ("--tls-cert", str(tls.chain), "--tls-key", str(tls.key))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "holdfast", "serve", "--listen", "127.0.0.1:0", "--log", "none", *flags),
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(self.state_dir),
                "HOLDFAST_STATE_DIR": str(self.state_dir),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            assert process.stderr is not None
            said = (await process.stderr.readline()).decode()
            found = re.search(r"listening on https?://127\.0\.0\.1:(\d+)", said)
            if found is None:
                raise RuntimeError(f"holdfast serve did not start: {said.strip()}")
            async with self._client(int(found[1])) as client:
                await client.happened()
                if self.scenario.fate is Fate.NO_ROOM:
                    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (DISK_BYTES, DISK_BYTES))
                    await client.until(lambda: bool(self._read()) and self.told is not None)
                else:
                    await client.until(lambda: bool(self._read()) and _begun(self.seen[-1]))
                process.kill()
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        await asyncio.to_thread(Journal(self.state_dir, kind="lab").close)  # it finds what the dead one left
        self._read()

    def _read(self) -> list[TurnRecord]:
        """Its own turns: the state directory may hold others, and other gateways may be writing to it."""
        with open_library(self.state_dir) as library:
            stored = library.recent(1000, self._began_ms) if library else []
        own = (turn.record for turn in stored if turn.record.upstream == self._asked)
        self.seen = sorted(own, key=lambda record: record.started.wall_ms)
        return self.seen

    # -- upstream

    @asynccontextmanager
    async def _upstream(self) -> AsyncIterator[str]:
        """What stands in upstream's place; yields its URL."""
        scheme = "http" if self.over is Over.PLAIN else "https"
        match self.scenario.place:
            case Place.PROVIDER | Place.STRANGER:
                tls = self._tls
                rule = self.scenario.answers[0] if len(self.scenario.answers) == 1 else self.scenario.answers
                http2 = "--http2" in self.scenario.given
                self.provider = Provider(rule, ssl=tls.server() if tls else None, http2=http2, keep_bytes=0)
                async with self.provider:
                    yield self.provider.url
            case Place.NO_NAME:
                yield f"{scheme}://upstream.invalid"
            case Place.NO_ROUTE:
                yield f"{scheme}://127.255.255.255:9"
            case Place.CLOSED_PORT:
                with socket.socket() as taken:  # bound, so that nobody else gets it; not listening
                    taken.bind(("127.0.0.1", 0))
                    yield f"{scheme}://127.0.0.1:{taken.getsockname()[1]}"
            case Place.DEAF_PORT:
                with socket.create_server(("127.0.0.1", 0)) as deaf:
                    deafen(deaf)
                    yield f"{scheme}://127.0.0.1:{deaf.getsockname()[1]}"
            case place:
                serves_tls = self.over is Over.TLS and place in _BEHIND_TLS
                context = self._tls.server() if self._tls and serves_tls else None
                async with _raw_server(_RAW[place], context) as port:
                    yield f"{'http' if place is Place.PROXY_THAT_REFUSES else scheme}://127.0.0.1:{port}"

    # -- the client

    @asynccontextmanager
    async def _client(self, port: int) -> AsyncIterator[Client]:
        client = Client(self, port)
        task = asyncio.create_task(client.live())
        try:
            yield client
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            client.close()
        if task.done() and not task.cancelled() and (defect := task.exception()) is not None:
            raise defect


class _Watched(Journal):
    """A journal that knows which turns have told the ending that is waited for: it takes their moments away."""

    def __init__(self, state_dir: Path, row: EndingScenario) -> None:
        super().__init__(state_dir, kind="lab", flush_every_s=0.1)
        self._row = row
        self._turns: dict[str, bool] = {}

    def told(self, count: int) -> bool:
        """Whether there were that many turns, and the last of them has told its ending."""
        turns = list(self._turns.values())
        return len(turns) >= count and turns[count - 1]

    def changed(self, record: TurnRecord) -> None:
        told = record.ending is not None or ending_of(record, self._row.of) is not None
        if self._row.of is Of.READER and self._row.mechanism is Mechanism.FIN_THEN_RST:
            told = any(isinstance(moment, m.ReaderReset) for _, moment in record.moments)
        self._turns[record.turn_id] = told or self._turns.get(record.turn_id, False)
        super().changed(record)


def ending_of(record: TurnRecord, of: Of) -> Ending | None:
    """The first ending of that kind in a turn; None while there is none."""
    if of is Of.TURN:
        return record.ending
    kind = m.AttemptEnded if of is Of.ATTEMPT else m.ReaderLeft
    moments = [moment for _, moment in record.moments]
    return next((_with_reset(moment, moments) for moment in moments if isinstance(moment, kind)), None)


def endings_of(record: TurnRecord) -> list[Ending]:
    """Every ending that a turn's flight tells, in order."""
    kinds = m.AttemptEnded | m.ReaderLeft | m.TurnEnded
    moments = [moment for _, moment in record.moments]
    told = [_with_reset(moment, moments) for moment in moments if isinstance(moment, kinds)]
    return told or ([record.ending] if record.ending else [])


def _with_reset(moment: m.AttemptEnded | m.ReaderLeft | m.TurnEnded, moments: list[m.Moment]) -> Ending:
    """The ending; a client's close becomes what it was where the flight tells of a reset behind it."""
    if isinstance(moment, m.ReaderLeft) and moment.ending.mechanism is Mechanism.FIN:
        for later in moments:
            if isinstance(later, m.ReaderReset) and later.reader == moment.reader:
                return replace(moment.ending, mechanism=Mechanism.FIN_THEN_RST)
    return moment.ending


def _begun(record: TurnRecord) -> bool:
    return any(
        isinstance(moment, m.BlockOpened) and moment.kind == "tool_use" for _, moment in record.moments
    )


# -- what is not the provider ------------------------------------------------------------------------------

Serves = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _raw_server(serves: Serves, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        # Cancelled when the play is over, which the event loop would tell as an error.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await serves(reader, writer)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(FEW_BYTES)
    reset_on_close(writer.get_extra_info("socket"))
    writer.transport.abort()


async def _closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(65536)
    writer.close()


async def _closes_its_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A close with unread bytes would be a reset. This one goes on taking bytes, and reads none of them."""
    await reader.read(FEW_BYTES)
    shutdown_below_tls(cast(asyncio.Transport, writer.transport))
    await asyncio.Event().wait()


async def _goes_dark(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(FEW_BYTES)
    deafen(writer.get_extra_info("socket"))
    await asyncio.Event().wait()


async def _says_no(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
    writer.close()


async def _speaks_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(65536)
    writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    await asyncio.sleep(SETTLE_S)
    writer.close()


_RAW: dict[Place, Serves] = {
    Place.MUTE: _mute,
    Place.SLAMS: _resets,
    Place.HANGS_UP: _closes,
    Place.NO_TLS: _speaks_plainly,
    Place.TAKES_A_LITTLE_AND_RESETS: _resets,
    Place.TAKES_A_LITTLE_AND_CLOSES: _closes_its_half,
    Place.TAKES_A_LITTLE_AND_GOES_DARK: _goes_dark,
    Place.PROXY_THAT_REFUSES: _says_no,
}
_BEHIND_TLS = {
    Place.TAKES_A_LITTLE_AND_RESETS,
    Place.TAKES_A_LITTLE_AND_CLOSES,
    Place.TAKES_A_LITTLE_AND_GOES_DARK,
}
"Those that take the handshake; to the others it is the first thing to fail."


# -- the client --------------------------------------------------------------------------------------------

HEADERS = {
    "user-agent": "claude-cli/2.1.86 (holdfast-lab client model)",
    "x-api-key": "lab-key",
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
    "connection": "close",
    "x-claude-code-session-id": "5e551011-0000-4000-8000-000000000002",
}
KEPT_BYTES = 1024 * 1024

CALLER = """
import socket, ssl, sys
port, authority = int(sys.argv[1]), sys.argv[2]
sock = socket.create_connection(("127.0.0.1", port))
if authority:
    sock = ssl.create_default_context(cafile=authority).wrap_socket(sock, server_hostname="127.0.0.1")
sock.sendall(sys.stdin.buffer.read())
while data := sock.recv(65536):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
"""
"A client that can be killed: it sends what it is given and tells what it hears."


class Client:
    """What asks: it hears until it goes, or until it is told that all is over."""

    def __init__(self, play: Play, port: int) -> None:
        self._play, self._port = play, port
        self._scenario = play.scenario
        self._there = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []
        self._process: asyncio.subprocess.Process | None = None
        self._failed: BaseException | None = None

    async def happened(self) -> None:
        """Wait until what the row waits for has been heard, and its acknowledgement has gone."""
        await self.until(self._there.is_set)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something, as long as the client itself has not failed."""
        while not condition():
            if self._failed is not None:
                raise self._failed
            await asyncio.sleep(POLL_S)

    async def live(self) -> None:
        """The client's whole life."""
        try:
            if self._scenario.client is Leaves.KILLED:
                await self._as_a_process()
                return
            for _ in range(self._scenario.asks):
                # The gateway may close the connection, or reset it: that is no defect of the play.
                with contextlib.suppress(OSError):
                    reader, writer = await self._ask()
                    await self._hear(reader)
                    if self._scenario.client is not None:
                        await self._leave(writer)
        except Exception as error:
            self._failed = error

    def close(self) -> None:
        """Let go of everything."""
        for writer in self._writers:
            writer.transport.abort()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    # -- asking and hearing

    async def _ask(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = self._play._tls
        context = tls.client() if tls is not None else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=context)
        self._writers.append(writer)
        self._asked_s = monotonic()
        request = self._request()
        if self._scenario.slow_upload:
            half = len(request) // 2
            writer.write(request[:half])
            await asyncio.sleep(SLOW_UPLOAD_S)
            request = request[half:]
        writer.write(request)
        return reader, writer

    def _request(self) -> bytes:
        body = json.dumps(
            {
                "model": "claude-lab-1",
                "max_tokens": 1024,
                "stream": self._scenario.stream,
                "tools": [{"name": "Write", "input_schema": {"type": "object"}}],
                "messages": [{"role": "user", "content": "Write it." + "x" * self._scenario.request_bytes}],
            }
        ).encode()
        named = {"host": "127.0.0.1", **HEADERS, **dict(self._scenario.headers)}
        if "transfer-encoding" in named:
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        else:
            named["content-length"] = str(len(body))
        lines = ["POST /v1/messages HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        """To the end; or, where something is to happen then, until the words have come."""
        heard = self._play.heard
        heard.clear()
        stays = self._scenario.client is None and self._scenario.fate is None
        while True:
            if not stays and self._has_come():
                await asyncio.sleep(SETTLE_S)
                self._there.set()
                return
            try:
                async with asyncio.timeout(None if stays or self._scenario.hears else POLL_S):
                    data = await reader.read(65536)
            except TimeoutError:
                continue
            if not data:
                return
            heard += data[: KEPT_BYTES - len(heard)]
            if stays and data.endswith(b"\r\n0\r\n\r\n"):
                return  # the answer is over, the connection's end may take a while

    def _has_come(self) -> bool:
        if self._scenario.hears:
            return self._scenario.hears in self._play.heard
        provider = self._play.provider
        return provider is not None and bool(provider.exchanges)

    # -- going

    async def _leave(self, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        match self._scenario.client:
            case Leaves.FIN:
                writer.close()
            case Leaves.RST:
                if self._scenario.verdict == "gave_up":
                    await asyncio.sleep(self._asked_s + LEFT_AT_S - monotonic())
                reset_on_close(sock)
                writer.transport.abort()
            case Leaves.FIN_THEN_RST:
                reset_on_close(sock)
                shutdown_below_tls(cast(asyncio.Transport, writer.transport))
                await asyncio.sleep(BETWEEN_FIN_AND_RST_S)
                writer.transport.abort()
            case Leaves.GARBAGE:
                writer.write(b"\x00\x01 no HTTP\r\n\r\n")
            case Leaves.DARK:
                deafen(sock)
                await asyncio.Event().wait()
            case Leaves.COMES_BACK:
                deafen(sock)
                await asyncio.sleep(LIFELESS_AFTER_S)
                reader, _ = await self._ask()
                while await reader.read(65536):
                    pass
            case _:
                pass

    async def _as_a_process(self) -> None:
        tls = self._play._tls
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", CALLER, str(self._port), str(tls.authority) if tls else ""),
            env={"PATH": os.environ.get("PATH", os.defpath)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(self._request())
        process.stdin.close()
        await self._hear(process.stdout)
        process.kill()
        await process.wait()
