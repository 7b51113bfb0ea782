"""Many silent streams at once, in one gateway process.

Provider and clients share the test's process, each on a loop of its own; what is measured is the gateway's.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import pytest
import uvloop

from holdfast.lab.provider import Provider, Request
from holdfast.lab.script import Answer, answer, close_block, open_text, pause, says, text
from tests.gateway.hosted import HEADERS, Call, body
from tests.gateway.served import Served, check_journal, holdfast, raise_file_limit, serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

STREAMS = 2000
LATE_S = 2.0
"How late a keepalive may be: with less, a client's limit would have to be chosen with the gateway's load in mind."
GROWTH_MB = 60.0
FILES = 3 * STREAMS
WARM = 999_999
"The number of the turn before all others."

KEEPALIVE = re.compile(
    rb'event: message_delta\ndata: \{"type":"message_delta","delta":\{"stop_reason":null[^\n]*\n\n'
)


@pytest.fixture(autouse=True)
def many_files() -> None:
    if not raise_file_limit(FILES):
        pytest.skip(f"needs {FILES} open files (ulimit -Hn)")


def number_of(request: Request) -> int:
    return int(re.findall(r"number (\d+)\.", str(request.json["messages"]))[0])


def silent_for(seconds: float) -> Provider:
    """Everybody hears their own number, a silence, and their own number again."""

    def rule(request: Request) -> Answer:
        who = number_of(request)
        if who == WARM:
            return answer(text("warm"))
        told = [open_text(), *says(f"Stream {who} begins"), pause(seconds), *says(f" and {who} ends.")]
        return answer([*told, close_block()])

    return Provider(rule)


@contextmanager
def loaded(silent_s: float, home: Path, *options: str) -> Iterator[tuple[Provider, Served]]:
    with silent_for(silent_s).running() as provider, serving(provider.url, home, *options) as gateway:
        yield provider, gateway


@dataclass
class Client(asyncio.Protocol):
    """One request on one connection: what was heard, and when."""

    port: int
    number: int
    headers: dict[str, str]
    asked_s: float = 0.0
    heard: bytearray = field(default_factory=bytearray)
    times: list[float] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self) -> Client:
        loop = asyncio.get_running_loop()
        content = json.dumps(body(f"I am number {self.number}.")).encode()
        fields = {**HEADERS, **self.headers, "host": "127.0.0.1", "content-length": str(len(content))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.transport, _ = await loop.create_connection(lambda: self, "127.0.0.1", self.port)
        self.asked_s = monotonic()
        self.transport.write(f"POST /v1/messages HTTP/1.1\r\n{head}\r\n".encode() + content)
        return self

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.times.append(monotonic())
        if b"begins" in data:
            self.begun.set()
        if data.endswith(b"0\r\n\r\n"):
            self.over.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()
        self.begun.set()

    def leave(self) -> None:
        self.transport.abort()

    @property
    def status(self) -> int:
        return int(self.heard[9:12] or 0)

    @property
    def answer(self) -> bytes:
        """The body as a stream, chunk framing and keepalives taken off."""
        pieces, rest = [], bytes(self.heard).partition(b"\r\n\r\n")[2]
        while rest:
            line, _, rest = rest.partition(b"\r\n")
            size = int(line, 16)
            pieces.append(rest[:size])
            rest = rest[size + 2 :]
        return KEEPALIVE.sub(b"", b"".join(pieces))

    @property
    def gaps(self) -> list[float]:
        """The silences it lived through, headers not waited for included."""
        moments = [self.asked_s, *self.times]
        return [after - before for before, after in itertools.pairwise(moments)]


def session_of(number: int) -> dict[str, str]:
    return {"x-claude-code-session-id": f"5e551011-0000-4000-8000-{number:012d}"}


async def ask_all(
    port: int, count: int, *, headers: dict[str, str] | None = None, at_once: int = 100
) -> list[Client]:
    """Open that many streams, so many at a time that the backlog holds them."""
    clients = [Client(port, number, headers or session_of(number)) for number in range(count)]
    for first in range(0, count, at_once):
        await asyncio.gather(*(client.ask() for client in clients[first : first + at_once]))
    return clients


async def all_over(clients: list[Client], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        for client in clients:
            await client.over.wait()


def warm(gateway: Served) -> float:
    """One turn, so that what is loaded once is loaded; memory after it, in MB."""
    Call(gateway.port, body(f"I am number {WARM}."), session_of(WARM)).hear_all()
    gateway.wait_for_turns(1)
    return gateway.rss_mb()


def sent_to(provider: Provider) -> dict[int, bytes]:
    """What was generated, by the number of who asked; one answer each."""
    told = [seen for seen in provider.answers if number_of(seen.request) != WARM]
    sent = {number_of(seen.request): bytes(seen.sent) for seen in told}
    assert len(sent) == len(told), "somebody's answer was generated twice"
    return sent


@pytest.mark.parametrize(
    ("keepalive_s", "silent_s"),
    [
        pytest.param(1.5, 5.0, id="scaled"),
        pytest.param(10.0, 300.0, id="true-length", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
def test_two_thousand_silent_streams(tmp_path: Path, keepalive_s: float, silent_s: float) -> None:
    """Each gets its keepalives on time, hears its own answer whole, and together they cost little memory."""

    async def story() -> None:
        before_mb, before_cpu = warm(gateway), gateway.cpu_s()
        clients = await ask_all(gateway.port, STREAMS)
        async with asyncio.timeout(30):
            for client in clients:
                await client.begun.wait()
        silent_mb = gateway.rss_mb()
        await all_over(clients, silent_s + 30)

        sent = sent_to(provider)
        assert [client.status for client in clients] == [200] * STREAMS
        assert all(client.answer == sent[client.number] for client in clients)
        expected = int(silent_s / keepalive_s)
        kept = [len(KEEPALIVE.findall(client.heard)) for client in clients]
        assert min(kept) >= expected - 1
        assert max(kept) <= expected + 1
        longest = max(max(client.gaps) for client in clients)
        growth = gateway.peak_mb() - before_mb
        print(
            f"{STREAMS} streams: {silent_mb - before_mb:.1f} MB silent, {growth:.1f} MB at most, longest silence "
            f"{longest:.2f} s of {keepalive_s} s, {gateway.cpu_s() - before_cpu:.2f} s CPU"
        )
        assert longest < keepalive_s + LATE_S
        assert growth < GROWTH_MB
        for client in clients:
            client.transport.close()

    with loaded(silent_s, tmp_path, "--keepalive", f"{keepalive_s}s") as (provider, gateway):
        uvloop.run(story())
        turns = gateway.wait_for_turns(STREAMS + 1, seconds=20)
        assert {turn["ending"] for turn in turns} == {"-.end.after"}
        if keepalive_s >= 10.0:  # upstream connections wait in the pool for some seconds
            gateway.wait_for(lambda: gateway.open_files() < 100)


def test_two_thousand_streams_are_ended_by_the_drains_limit(tmp_path: Path) -> None:
    """The process is gone a moment after its limit, and every one of its turns has an ending in the journal."""

    async def story() -> None:
        clients = await ask_all(gateway.port, STREAMS)
        for client in clients:
            await client.begun.wait()
        gateway.signal(signal.SIGTERM)
        await all_over(clients, 10)

    with loaded(60.0, tmp_path, "--drain", "0.5s") as (_, gateway):
        uvloop.run(story())
        began_s = monotonic()
        assert gateway.process.wait(5) == 0
        assert monotonic() - began_s < 3.0
        listed = holdfast(tmp_path, "flights", "--json", "-n", "100000").stdout.splitlines()
        assert [json.loads(line)["ending_code"] for line in listed] == ["G.cancel.text"] * STREAMS
        assert check_journal(tmp_path) == ["ok"]


def test_two_hundred_clients_hang_up_at_once_and_come_back(tmp_path: Path) -> None:
    """A network that blinks: every one of them is given its own answer again, and none is generated twice."""
    count = 200

    async def story() -> None:
        clients = await ask_all(gateway.port, count)
        for client in clients:
            await client.begun.wait()
        for client in clients:
            client.leave()
        await asyncio.sleep(0.3)
        again = await ask_all(gateway.port, count)
        await all_over(again, 30)

        sent = sent_to(provider)
        assert [client.status for client in again] == [200] * count
        assert all(client.answer == sent[client.number] for client in again)
        for client in again:
            client.transport.close()

    with loaded(4.0, tmp_path, "--keepalive", "1s") as (provider, gateway):
        uvloop.run(story())
        turns = gateway.wait_for_turns(count)
        assert {turn["ending"] for turn in turns} == {"-.end.after"}
        assert {turn["spared"] for turn in turns} == {1}


def gave_up_headers(number: int, *, key: str) -> dict[str, str]:
    """A client whose limit is two seconds without a byte."""
    sdk = {"user-agent": "Anthropic/Python 1.4.0", "x-stainless-read-timeout": "2", "x-api-key": key}
    return {**session_of(number), **sdk}


@pytest.mark.parametrize("one_key", [False, True], ids=["a key each", "one key for all"])
def test_two_hundred_clients_give_up_at_their_limit_and_come_back(tmp_path: Path, one_key: bool) -> None:
    """A provider that is silent for everybody at once: their orphans all live until they come back."""
    count = 70 if one_key else 200

    async def story() -> None:
        clients = []
        for number in range(count):
            headers = gave_up_headers(number, key="sk-ant-one" if one_key else f"sk-ant-{number}")
            clients.append(await Client(gateway.port, number, headers).ask())
        for client in clients:
            await client.begun.wait()
        await asyncio.sleep(2.0)
        for client in clients:
            client.leave()
        await asyncio.sleep(0.5)
        again = [await Client(gateway.port, client.number, client.headers).ask() for client in clients]
        await all_over(again, 30)

        sent = sent_to(provider)
        assert all(client.answer == sent[client.number] for client in again)
        for client in again:
            client.transport.close()

    with loaded(5.0, tmp_path, "--keepalive", "10m", "--cancel-grace", "0.1s") as (provider, gateway):
        uvloop.run(story())


def test_many_streams_of_one_head_do_not_slow_each_other(tmp_path: Path) -> None:
    """Programs that name no session share one head: the thousandth request costs about what the tenth did."""

    async def cost(first: int, count: int) -> float:
        before = gateway.cpu_s()
        clients = [
            Client(gateway.port, number, {"x-claude-code-session-id": "one"})
            for number in range(first, first + count)
        ]
        for client in clients:
            await client.ask()
            await client.begun.wait()
        return (gateway.cpu_s() - before) / count

    async def story() -> tuple[float, float]:
        early = await cost(10_000, 100)
        await cost(10_100, 800)
        return early, await cost(10_900, 100)

    with loaded(60.0, tmp_path) as (_, gateway):
        warm(gateway)
        early, late = uvloop.run(story())
        print(f"CPU per request: {early * 1e6:.0f} us with none, {late * 1e6:.0f} us with 900 of one head")
        assert late < 5 * early
