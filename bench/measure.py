"""The measurements: what is done to one relay in one visit, and the figures that come out of it."""

from __future__ import annotations

import asyncio
import gc
import gzip
import itertools
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from bench import load, machine, wire
from bench.origin import Origin
from bench.relays import Running

_PATIENCE_S = 60.0
T = TypeVar("T")
_WAVE = 50
"Streams opened at once. A thousand at once would measure the heap's high-water mark, not what a stream holds."
_CONCURRENT = 8
"Connections that ask short requests side by side."


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done in one visit."""

    rounds: int = 7
    streams: int = 100
    per_stream_s: float = 100.0
    paced_s: float = 3.0
    flood_streams: int = 8
    flood_events: int = 10_000
    short_requests: int = 1600
    json_requests: int = 1600
    large_requests: int = 20
    first_bytes: int = 300
    settle_s: float = 1.0
    "After requests, before the clock is read: what a relay writes down later is part of the request's cost."
    silent_streams: int = 1000
    silent_s: float = 12.0
    "Longer than the gateway's keepalive interval of 10 s."


QUICK = Sizes(
    rounds=2,
    paced_s=2.0,
    short_requests=800,
    json_requests=800,
    large_requests=10,
    first_bytes=200,
    silent_s=3.0,
)


@dataclass(slots=True)
class Target:
    """Where requests go: a relay, or the origin itself (`pid` None), which gives what is to be taken off."""

    name: str
    port: int
    pid: int | None = None
    path: str = "/v1/messages"
    byte_for_byte: bool = True
    idle: float = 0.0
    "CPU seconds per second with nothing to do."

    @classmethod
    def of(cls, running: Running) -> Target:
        relay = running.relay
        return cls(relay.name, running.port, running.pid, relay.path, relay.byte_for_byte)


@dataclass(slots=True)
class Figures:
    """What one visit gave: figures by name, and what went wrong by scenario. A figure that is not there is not measured."""

    values: dict[str, float] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


class Window:
    """A stretch of time, and the CPU a relay used in it, idle CPU taken off."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._from_waited_s = self._waited_s()
        self._from_s = time.perf_counter()
        self._from_cpu_s = self._cpu_s()

    def _cpu_s(self) -> float:
        return machine.cpu_s(self._target.pid) if self._target.pid else 0.0

    def _waited_s(self) -> float:
        return machine.waited_s(self._target.pid) if self._target.pid else 0.0

    def read(self) -> tuple[float, float]:
        """CPU seconds and wall seconds so far."""
        cpu_s = self._cpu_s()
        elapsed_s = time.perf_counter() - self._from_s
        return cpu_s - self._from_cpu_s - self._target.idle * elapsed_s, elapsed_s

    def waited_s(self) -> float:
        """How long the relay waited for its CPU so far: where that is much, others were there, and the round is noisy."""
        return self._waited_s() - self._from_waited_s


class Bench:
    """An origin, and what can be measured of a relay in front of it."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.origin = Origin()
        self._nonces = itertools.count(time.time_ns())

    async def idle(self, target: Target, figures: Figures) -> None:
        """Measure what is to be taken off of this relay's windows in this round."""
        if not target.pid:
            return
        await asyncio.sleep(0.3)
        target.idle = 0.0
        window = Window(target)
        await asyncio.sleep(0.5)
        cpu_s, elapsed_s = window.read()
        target.idle = cpu_s / elapsed_s
        figures.values["idle_percent"] = 100 * target.idle

    async def run(self, scenario: str, target: Target, figures: Figures) -> None:
        """Put one relay through one scenario."""
        table = {
            "first": self.first_byte,
            "short": self.short,
            "json": self.json,
            "large": self.large,
            "sparse": self.sparse,
            "paced": self.paced,
            "flood": self.flood,
        }
        await self._guarded(scenario, figures, table[scenario](target))

    async def _guarded(self, name: str, figures: Figures, work: AsyncIterator[tuple[str, float]]) -> None:
        gc.collect()
        self.origin.forget()
        try:
            async for key, value in work:
                figures.values[key] = value
        except (wire.Wrong, TimeoutError, OSError) as error:
            figures.wrong[name] = f"{type(error).__name__}: {error}"

    def _request(
        self, target: Target, plan: str, session: str, *, stream: int = 0, size: int = 0
    ) -> wire.Request:
        return wire.request(
            plan,
            next(self._nonces),
            stream=stream,
            session=session,
            path=target.path,
            host=f"127.0.0.1:{target.port}",
            body_bytes=size,
        )

    def _check_sent(self, target: Target, requests: list[wire.Request]) -> None:
        """The origin got every body as it was sent, once."""
        for request in requests:
            if self.origin.generated.get(request.nonce) != 1:
                raise wire.Wrong(
                    f"asked upstream {self.origin.generated.get(request.nonce, 0)} times, not once"
                )
            seen = self.origin.seen[request.nonce]
            if target.byte_for_byte and seen != (request.body_length, request.body_crc):
                raise wire.Wrong(f"a body of {request.body_length} bytes arrived upstream as another: {seen}")

    # Requests.

    async def _requests(
        self, target: Target, plan: str, count: int, clients: int, size: int = 0
    ) -> tuple[float, float]:
        """Ask so many, `clients` at a time; CPU seconds and wall seconds per request (without the settling)."""
        wanted = wire.json_answer() if plan == "json" else wire.short_answer().body
        async with connected(target, clients) as connections:
            sent: list[wire.Request] = []
            replies: list[load.Reply] = []

            async def converse(client: load.Client, turns: list[wire.Request]) -> None:
                for request in turns:
                    replies.append(await client.ask(request))

            def share(client: load.Client, turns: int) -> list[wire.Request]:
                requests = [self._request(target, plan, client.session, size=size) for _ in range(turns)]
                sent.extend(requests)
                return requests

            for client in connections:
                await asyncio.wait_for(converse(client, share(client, 2)), _PATIENCE_S)
            shares = [share(client, count // clients) for client in connections]
            await asyncio.sleep(0.2)
            window = Window(target)
            await asyncio.wait_for(
                asyncio.gather(
                    *(converse(client, turns) for client, turns in zip(connections, shares, strict=True))
                ),
                _PATIENCE_S,
            )
            _, busy_s = window.read()
            await asyncio.sleep(self.sizes.settle_s)
            cpu_s, _ = window.read()
            self._check_sent(target, sent)
            for reply in replies:
                _compare(target, reply.body, wanted)
        done = count // clients * clients
        return cpu_s / done, busy_s / done

    async def short(self, target: Target) -> AsyncIterator[tuple[str, float]]:
        cpu_s, _ = await self._requests(target, "short", self.sizes.short_requests, _CONCURRENT)
        yield "short_us", cpu_s * 1e6

    async def json(self, target: Target) -> AsyncIterator[tuple[str, float]]:
        cpu_s, _ = await self._requests(target, "json", self.sizes.json_requests, _CONCURRENT)
        yield "json_us", cpu_s * 1e6

    async def large(self, target: Target) -> AsyncIterator[tuple[str, float]]:
        cpu_s, each_s = await self._requests(
            target, "short", self.sizes.large_requests, 1, wire.LARGE_BODY_BYTES
        )
        yield "large_ms", cpu_s * 1e3
        yield "large_wall_ms", each_s * 1e3

    async def first_byte(self, target: Target) -> AsyncIterator[tuple[str, float]]:
        """One short stream after the other on one connection: from asking to the first event's arrival."""
        async with connected(target, 1) as (client,):
            took_s = []
            for number in range(self.sizes.first_bytes + 20):
                request = self._request(target, "short", client.session)
                reply = await asyncio.wait_for(client.ask(request), _PATIENCE_S)
                _compare(target, reply.body, wire.short_answer().body)
                if number >= 20:
                    took_s.append(reply.first_event_s)
        yield "first_us", statistics.median(took_s) * 1e6
        yield "first_p90_us", statistics.quantiles(took_s, n=10)[-1] * 1e6

    # Streams.

    @asynccontextmanager
    async def _open(
        self, target: Target, plan: str, answers: dict[int, wire.Answer]
    ) -> AsyncIterator[_Streams]:
        """Open streams and wait until each client has had the first event; the origin holds them there."""
        async with connected(target, len(answers)) as clients:
            requests: list[wire.Request] = []
            waiting: list[asyncio.Future[load.Reply]] = []
            try:
                for wave in batched(list(zip(answers, clients, strict=True)), _WAVE):
                    for stream, client in wave:
                        requests.append(self._request(target, plan, client.session, stream=stream))
                        waiting.append(client.ask(requests[-1]))
                    await _opened([client for _, client in wave])
                streams = _Streams(clients, waiting, answers)
                yield streams
                self._check_sent(target, requests)
                await streams.check(target)
            finally:
                for future in waiting:
                    # Looked at, so that the loop does not complain of errors nobody asked about.
                    _ = future.cancel() or future.cancelled() or future.exception()

    async def paced(self, target: Target) -> AsyncIterator[tuple[str, float]]:
        """Many streams, 10,000 events a second."""
        async for figure in self._paced(target, "paced", self.sizes.streams):
            yield figure

    async def sparse(self, target: Target) -> AsyncIterator[tuple[str, float]]:
        """A fifth as many: the relay falls asleep between two events."""
        async for figure in self._paced(target, "sparse", self.sizes.streams // 5):
            yield figure

    async def _paced(self, target: Target, name: str, streams: int) -> AsyncIterator[tuple[str, float]]:
        """Streams at the pace of models, one wake-up per event. Opening and ending are outside the window."""
        sizes = self.sizes
        each = int(sizes.paced_s * sizes.per_stream_s)
        answers = {stream: wire.answer(stream, each) for stream in range(streams)}
        for answer in answers.values():
            _ = answer.delta_chunks, answer.closing_chunks, answer.body
        async with self._open(target, "paced", answers) as opened:
            await asyncio.sleep(sizes.settle_s)
            opened.count_from_here()
            window = Window(target)
            await self.origin.play(answers, sizes.per_stream_s)
            await opened.caught_up(each)
            cpu_s, elapsed_s = window.read()
            waited_s = window.waited_s()
            reads = opened.reads()
            self.origin.finish(answers)
        events = each * len(answers)
        yield f"{name}_us", cpu_s / events * 1e6
        yield f"{name}_late_percent", 100 * (elapsed_s / sizes.paced_s - 1)
        yield f"{name}_reads_per_event", reads / events
        yield f"{name}_waited_percent", 100 * waited_s / elapsed_s

    async def flood(self, target: Target) -> AsyncIterator[tuple[str, float]]:
        """A few streams as fast as they go; the requests' ends are inside, for nobody can say when a flood ends."""
        sizes = self.sizes
        answers = {stream: wire.answer(stream, sizes.flood_events) for stream in range(sizes.flood_streams)}
        for answer in answers.values():
            _ = answer.delta_chunks, answer.body
        async with self._open(target, "flood", answers) as streams:
            await asyncio.sleep(0.3)
            window = Window(target)
            self.origin.flood(answers)
            await streams.heard()
            cpu_s, elapsed_s = window.read()
        events = sizes.flood_events * len(answers)
        yield "flood_us", cpu_s / events * 1e6
        yield "flood_per_s", events / elapsed_s

    async def silent(self, target: Target) -> Figures:
        """Memory of a fresh process: growth in PSS while so many streams stand open and say nothing."""
        figures = Figures()
        await self._guarded("silent", figures, self._silent(target))
        return figures

    async def _silent(self, target: Target) -> AsyncIterator[tuple[str, float]]:
        assert target.pid, "the origin itself has no memory to measure"
        sizes = self.sizes
        await self._requests(target, "short", 40, 4)
        base = machine.pss_bytes(target.pid)
        answers = {stream: wire.answer(stream, 2) for stream in range(sizes.silent_streams)}
        async with self._open(target, "paced", answers) as streams:
            window = Window(target)
            await asyncio.sleep(sizes.silent_s)
            cpu_s, elapsed_s = window.read()
            grown = machine.pss_bytes(target.pid) - base
            await self.origin.play(answers, 1.0)
            await streams.caught_up(2)
            self.origin.finish(answers)
        yield "silent_mb", grown / 1e6 * 1000 / sizes.silent_streams
        yield "base_mb", base / 1e6
        yield "silent_cpu_percent", 100 * cpu_s / elapsed_s
        yield "silent_keepalives", streams.keepalives


async def _opened(clients: list[load.Client]) -> None:
    """Wait until each has had the events that open a stream."""
    events = len(wire.answer(0, 0).opening)

    def done() -> int:
        return sum(client.events >= events or client.gone for client in clients)

    await until(lambda: done() == len(clients), lambda: f"{done()} of {len(clients)} streams opened")
    if gone := sum(client.gone for client in clients):
        raise wire.Wrong(f"{gone} of {len(clients)} connections were closed before their stream opened")


class _Streams:
    """Open streams, from the client's side."""

    def __init__(
        self,
        clients: list[load.Client],
        waiting: list[asyncio.Future[load.Reply]],
        answers: dict[int, wire.Answer],
    ) -> None:
        self._clients = clients
        self._waiting = waiting
        self._answers = answers
        self._reads_before = 0
        self._events_before = [client.events for client in clients]
        self.keepalives = 0

    def count_from_here(self) -> None:
        self._reads_before = sum(client.reads for client in self._clients)
        self._events_before = [client.events for client in self._clients]

    def reads(self) -> int:
        return sum(client.reads for client in self._clients) - self._reads_before

    async def caught_up(self, events: int) -> None:
        """Every client has had so many events since the stream was opened (or since reads are counted)."""
        targets = [before + events for before in self._events_before]

        def behind() -> int:
            both = zip(self._clients, targets, strict=True)
            return sum(client.events < target and not client.gone for client, target in both)

        await until(lambda: not behind(), lambda: f"{behind()} of {len(targets)} streams lost events")

    async def heard(self) -> None:
        """Every answer has ended."""
        await asyncio.wait_for(asyncio.gather(*self._waiting), _PATIENCE_S)

    async def check(self, target: Target) -> None:
        """Every answer is the origin's, whole and in order."""
        await self.heard()
        for future, answer in zip(self._waiting, self._answers.values(), strict=True):
            self.keepalives += _compare(target, future.result().body, answer.body)


def _compare(target: Target, body: bytes, wanted: bytes) -> int:
    if not target.byte_for_byte and body.startswith(b"\x1f\x8b"):
        body = gzip.decompress(body)  # The client accepts it, and such a relay is free to.
    if not wanted.startswith(b"{"):
        return wire.compare(body, wanted, byte_for_byte=target.byte_for_byte)
    if body != wanted and (target.byte_for_byte or json.loads(body) != json.loads(wanted)):
        raise wire.Wrong(f"the message is {body[:200]!r}")
    return 0


def batched(items: list[T], size: int) -> list[list[T]]:
    """Lists of at most `size` items, in order."""
    return [items[start : start + size] for start in range(0, len(items), size)]


@asynccontextmanager
async def connected(target: Target, count: int) -> AsyncIterator[list[load.Client]]:
    """Client connections, closed afterwards and given a moment so that the relay notices outside of any window."""
    clients = await load.connect(target.port, count)
    try:
        yield clients
    finally:
        load.hang_up(clients)
        await asyncio.sleep(0.1)


async def until(done: Callable[[], bool], story: Callable[[], str]) -> None:
    """Wait for a condition, looking every millisecond; `Wrong` with the story when patience ends."""
    patience = time.monotonic() + _PATIENCE_S
    while not done():
        if time.monotonic() > patience:
            raise wire.Wrong(f"{story()} within {_PATIENCE_S:.0f} s")
        await asyncio.sleep(0.001)
