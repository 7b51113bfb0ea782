"""Many clients of several tenants ask, hang up, retry and fall back, at random; what must hold, holds.

Real sockets, one gateway, one provider. A plan is a list of what each client does, made from a seed (printed with a
failure, and enough to replay it, as far as sockets can be). Every answer names who asked and its own generation, so
whoever hears a byte of it can be held against the request that made it.

Each conversation (tenant, session, prompt) has one client, which does one thing after the other, as agents do. Some
have a twin that asks the same thing at the same time; of those only is asked what holds for twins.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest
import uvloop

from holdfast.flight import moments as m
from holdfast.gateway.dialects import anthropic
from holdfast.gateway.settings import Settings, Timeouts, Upstream
from holdfast.lab.provider import Exchange, Provider, Request
from holdfast.lab.script import Answer, answer, close_block, open_text, pause, says, text, tool
from tests.gateway.hosted import HEADERS, Hosted, body, hosted

WATCHDOG_S = 0.6
"The clients' limit; a hang-up there is a timer's."
TOLERANCE_S = 0.25
GRACE_S = 0.5
UNHEARD_S = 30.0
WATCHDOG = {
    "CLAUDE_ENABLE_STREAM_WATCHDOG": "1",
    "CLAUDE_STREAM_IDLE_TIMEOUT_MS": str(round(WATCHDOG_S * 1000)),
}
TENANTS = ("sk-ant-fake-ada", "sk-ant-fake-bob", "sk-ant-fake-cyd")


class Does(Enum):
    """What a client does with one answer."""

    HEAR = "hears it to its end"
    GIVE_UP_RETRY = "hangs up at its limit and asks again"
    GIVE_UP_FALLBACK = "hangs up at its limit and asks without streaming"
    GIVE_UP_LATE = "hangs up at its limit and asks again when the answer is finished"
    CANCEL_RETRY = "hangs up at once and asks again within the grace"
    CANCEL_LATE = "hangs up at once and asks again after the grace"
    CANCEL_MOVE_ON = "hangs up at once and asks something else"
    LEAVE_EARLY = "hangs up before anything was heard"


@dataclass(frozen=True)
class Conversation:
    """Who asks, and what."""

    tenant: str
    session: int
    prompt: str
    agent: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        more = {"x-api-key": self.tenant, "x-claude-code-session-id": f"5e55-{self.session}"}
        return more if self.agent is None else {**more, "x-claude-code-agent-id": self.agent}


@dataclass
class Heard:
    """What one connection heard."""

    conversation: Conversation
    does: str
    content: bytes = b""
    whole: bool = False
    "Whether the HTTP body ended properly."
    streaming: bool = True
    status: int = 0

    @property
    def generation(self) -> str | None:
        """Which answer it was, by the message's id; None where too little was heard."""
        found = re.search(rb'"id":"(msg_lab_\d+)"', self.content)
        return found[1].decode() if found else None


class Link:
    """One request on one connection."""

    def __init__(self, port: int, heard: Heard, asked: dict[str, Any]) -> None:
        self.port, self.heard, self.asked = port, heard, asked

    async def __aenter__(self) -> Link:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        content = json.dumps(self.asked).encode()
        fields = {**HEADERS, **self.heard.conversation.headers, "host": "127.0.0.1"}
        fields |= {"content-length": str(len(content)), "connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.writer.write(f"POST /v1/messages HTTP/1.1\r\n{head}\r\n".encode() + content)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def hear_until(self, words: bytes) -> None:
        """Read on until these words were heard, or the end."""
        heard = self.heard
        if not heard.status:
            head = await self.reader.readuntil(b"\r\n\r\n")
            heard.status = int(head[9:12])
            found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            if found:
                heard.content = await self.reader.readexactly(int(found[1]))
                heard.whole = True
        while not heard.whole and words not in heard.content:
            size = int(await self.reader.readline(), 16)
            heard.content += await self.reader.readexactly(size)
            await self.reader.readline()
            heard.whole = size == 0

    async def hear_until_silent(self, seconds: float) -> None:
        """Read on as a client with a watchdog does: until nothing came for that long, or the end."""
        while not self.heard.whole:
            try:
                async with asyncio.timeout(seconds):
                    line = await self.reader.readline()
            except TimeoutError:
                return
            size = int(line, 16)
            self.heard.content += await self.reader.readexactly(size)
            await self.reader.readline()
            self.heard.whole = size == 0

    async def hear_all(self) -> None:
        await self.hear_until(b"\0 never said")


@dataclass
class World:
    """The clients, what they heard, and what they may expect of it."""

    gateway: Hosted
    provider: Provider
    seed: int
    all: list[Heard] = field(default_factory=list)
    same: list[tuple[Heard, Heard]] = field(default_factory=list)
    "Two connections that must have heard one generation."
    different: list[tuple[Heard, Heard]] = field(default_factory=list)
    "Two connections that must not."

    def link(self, who: Conversation, does: str, *, streaming: bool = True, prompt: str = "") -> Link:
        heard = Heard(who, does, streaming=streaming)
        self.all.append(heard)
        asked = body(prompt or who.prompt, stream=True if streaming else None)
        return Link(self.gateway.port, heard, asked)

    async def act(self, who: Conversation, does: Does, chance: random.Random) -> None:
        """One answer of one client, from the question to whatever becomes of it."""
        name = does.name
        async with self.link(who, name) as first:
            if does is Does.HEAR:
                await first.hear_all()
                return
            if does is Does.LEAVE_EARLY:
                await asyncio.sleep(chance.uniform(0.0, 0.05))
                return
            await first.hear_until(b"begins")
            if name.startswith("GIVE_UP"):
                await first.hear_until_silent(WATCHDOG_S)
            if first.heard.whole:
                return
        await self._come_back(who, does, chance, first.heard)

    async def _come_back(self, who: Conversation, does: Does, chance: random.Random, before: Heard) -> None:
        name = f"{does.name}, back"
        match does:
            case Does.GIVE_UP_RETRY | Does.GIVE_UP_FALLBACK:
                await asyncio.sleep(chance.uniform(0.0, 0.3))
                again = self.link(who, name, streaming=does is Does.GIVE_UP_RETRY)
                self.same.append((before, again.heard))
            case Does.GIVE_UP_LATE:
                await asyncio.sleep(2.0)
                again = self.link(who, name)
                self.same.append((before, again.heard))
            case Does.CANCEL_RETRY:
                await asyncio.sleep(chance.uniform(0.0, GRACE_S / 5))
                again = self.link(who, name)
                self.same.append((before, again.heard))
            case Does.CANCEL_LATE:
                await asyncio.sleep(2 * GRACE_S)
                again = self.link(who, name)
                self.different.append((before, again.heard))
            case _:
                again = self.link(who, name, prompt=f"{who.prompt} Or rather not.")
                self.different.append((before, again.heard))
        async with again:
            await again.hear_all()

    async def client(self, who: Conversation, chance: random.Random, turns: int) -> None:
        for _ in range(turns):
            await self.act(who, chance.choice(list(Does)), chance)
            # Whatever was left is over, one way or the other, before this client asks the same thing anew.
            await asyncio.sleep(2 * GRACE_S)


def rule_of(seed: int) -> Any:
    """Answers that name who asked; how they are told is a matter of the seed and of the request's number."""

    def rule(request: Request) -> Answer:
        chance = random.Random(f"{seed} {request.number}")
        who = f"{request.headers['x-api-key']} {request.headers['x-claude-code-session-id']} {prompt_of(request)}"
        told = [
            open_text(),
            *says(f"{who} begins"),
            pause(chance.choice((0.3, 1.0, 1.5))),
            *says(" and ends."),
        ]
        more = [[], text("More."), tool("Write", {"content": "x" * chance.randrange(20_000)})]
        return answer([*told, close_block()], chance.choice(more))

    return rule


def prompt_of(request: Request) -> str:
    return str(request.json["messages"][0]["content"])


def conversations(chance: random.Random, sessions: int) -> list[Conversation]:
    """Tenants share sessions' names and prompts; agents share their session."""
    found = []
    for tenant in TENANTS:
        for session in range(1, sessions + 1):
            agents = (None, "agent-1", "agent-2") if session == 1 else (None,)
            for agent in agents:
                found.append(Conversation(tenant, session, chance.choice(("Say it.", "Do it.")), agent))
    return found


def play(seed: int, *, turns: int, sessions: int, twins: bool) -> tuple[World, Hosted, Provider]:
    """Let all clients run to their end."""
    chance = random.Random(seed)
    with Provider(rule_of(seed)).running() as provider:
        settings = Settings(
            upstream=Upstream.parse(provider.url),
            client_env=WATCHDOG,
            timeouts=Timeouts(
                keepalive_s=600.0,
                cancel_grace_s=GRACE_S,
                limit_tolerance_s=TOLERANCE_S,
                unheard_s=UNHEARD_S,
                orphan_s=UNHEARD_S,
            ),
        )
        with hosted(settings) as gateway:
            world = World(gateway, provider, seed)

            async def everybody() -> None:
                clients = [
                    world.client(who, random.Random(chance.random()), turns)
                    for who in conversations(chance, sessions)
                    for _ in range(2 if twins else 1)
                ]
                async with asyncio.timeout(100):
                    await asyncio.gather(*clients)

            uvloop.run(everybody())
        # The gateway was closed: whatever waited for a retry has ended now, too.
        return world, gateway, provider


def generations(provider: Provider) -> dict[str, Exchange]:
    return {f"msg_lab_{seen.request.number}": seen for seen in provider.exchanges}


def nobody_heard_another(world: World, made: dict[str, Exchange]) -> None:
    """Every byte that was heard is of an answer to that very question of that very tenant, session and agent."""
    for heard in world.all:
        if heard.generation is None:
            continue
        request = made[heard.generation].request
        mine = heard.conversation.headers
        assert {name: request.headers.get(name) for name in mine} == mine
        assert prompt_of(request).startswith(heard.conversation.prompt)
        for tenant in TENANTS:
            assert (tenant.encode() in heard.content) == (tenant == heard.conversation.tenant)


def what_was_heard_was_said(world: World, made: dict[str, Exchange]) -> None:
    """A stream is a beginning of one generation to the byte, a whole one all of it; a folded message is its fold."""
    for heard in world.all:
        if heard.generation is None:
            assert not heard.whole, (world.seed, heard)
            continue
        assert heard.status == 200
        sent = bytes(made[heard.generation].sent)
        if not heard.streaming:
            streamed = made[heard.generation].request.streaming
            assert json.loads(heard.content) == (anthropic.fold(sent) if streamed else json.loads(sent))
        elif heard.whole:
            assert heard.content == sent
        else:
            assert sent.startswith(heard.content)


def nothing_was_replayed(world: World) -> None:
    """No generation was heard to its end by two."""
    ends = Counter(heard.generation for heard in world.all if heard.whole)
    assert not {generation: count for generation, count in ends.items() if count > 1}, world.seed


def every_turn_ended_once(gateway: Hosted, provider: Provider, seed: int) -> None:
    records = list(gateway.kept.records.values())
    for record in records:
        ends = [moment for _, moment in record.moments if isinstance(moment, m.TurnEnded)]
        assert len(ends) == 1, (seed, record)
        assert record.attempts <= 1
        assert isinstance(record.moments[-1][1], m.TurnEnded), (seed, record)
    assert sum(record.attempts for record in records) >= len(provider.exchanges)
    assert gateway.gateway.open_turns() == []


@pytest.mark.parametrize(
    ("seed", "turns", "sessions"),
    [(1, 2, 4), *(pytest.param(seed, 8, 12, marks=pytest.mark.long) for seed in range(100, 106))],
)
def test_tenants_and_their_turns_stay_apart(seed: int, turns: int, sessions: int) -> None:
    """Retries find their own running answer, cancelled ones do not, and nobody hears what is another's."""
    world, gateway, provider = play(seed, turns=turns, sessions=sessions, twins=False)
    made = generations(provider)

    nobody_heard_another(world, made)
    what_was_heard_was_said(world, made)
    nothing_was_replayed(world)
    every_turn_ended_once(gateway, provider, seed)
    assert all(heard.whole for heard in world.all if "back" in heard.does or heard.does == "HEAR")
    assert len(world.same) >= turns * sessions and world.different, "the plan tries too little"
    for before, after in world.same:
        assert before.generation == after.generation, (seed, before.does, before.conversation)
    for before, after in world.different:
        assert before.generation != after.generation, (seed, before.does, before.conversation)


@pytest.mark.parametrize(
    ("seed", "turns", "sessions"),
    [(2, 2, 2), *(pytest.param(seed, 8, 12, marks=pytest.mark.long) for seed in range(200, 206))],
)
def test_twins_may_swap_places_and_still_hear_only_what_is_theirs(
    seed: int, turns: int, sessions: int
) -> None:
    """Two clients that ask the same thing at once cannot be told apart; each still hears one generation, whole."""
    world, gateway, provider = play(seed, turns=turns, sessions=sessions, twins=True)
    made = generations(provider)

    nobody_heard_another(world, made)
    what_was_heard_was_said(world, made)
    nothing_was_replayed(world)
    every_turn_ended_once(gateway, provider, seed)


# -- races that chance meets too seldom ----------------------------------------------------------------


@contextmanager
def told(silent_s: float) -> Iterator[tuple[Provider, Hosted]]:
    """One answer for all, with a silence in it."""
    steps = [open_text(), *says("it begins"), pause(silent_s), *says(" and ends."), close_block()]
    with Provider(answer(steps)).running() as provider:
        settings = Settings(
            upstream=Upstream.parse(provider.url),
            client_env=WATCHDOG,
            timeouts=Timeouts(keepalive_s=600.0, limit_tolerance_s=TOLERANCE_S, cancel_grace_s=GRACE_S),
        )
        with hosted(settings) as gateway:
            yield provider, gateway


ADA = Conversation(TENANTS[0], 1, "Say it.")
BOB = Conversation(TENANTS[1], 1, "Say it.")


def test_a_retry_that_overtakes_its_own_close_is_a_retry() -> None:
    """The new request arrives while the old connection still looks alive; its close comes a moment later."""
    with told(1.0) as (provider, gateway):
        first, again = Heard(ADA, "first"), Heard(ADA, "again")

        async def story() -> None:
            async with Link(gateway.port, first, body(ADA.prompt)) as old:
                await old.hear_until(b"begins")
                new = Link(gateway.port, again, body(ADA.prompt))
                await new.__aenter__()
                await asyncio.sleep(0.1)
            await new.hear_all()
            await new.__aexit__()

        uvloop.run(story())
        assert again.content == bytes(provider.answers[0].sent)
        assert provider.generated == 1
        assert [joined.how for joined in gateway.kept.moments(m.ReaderJoined)] == ["first", "retry"]


@pytest.mark.parametrize("silent_s", [0.9, 2.0], ids=["finished", "running"])
def test_many_retries_at_once_are_given_one_answer_each(silent_s: float) -> None:
    """Ten requests come back for one orphan: one of them gets it, the others are generated for themselves."""
    with told(silent_s) as (provider, gateway):
        many = [Heard(ADA, f"retry {number}") for number in range(10)]
        strangers = [Heard(BOB, f"stranger {number}") for number in range(3)]

        async def one(heard: Heard) -> None:
            async with Link(gateway.port, heard, body(heard.conversation.prompt)) as link:
                await link.hear_all()

        async def story() -> None:
            first = Heard(ADA, "first")
            async with Link(gateway.port, first, body(ADA.prompt)) as link:
                await link.hear_until(b"begins")
                await asyncio.sleep(WATCHDOG_S)
            await asyncio.sleep(0.5)
            await asyncio.gather(*(one(heard) for heard in [*many, *strangers]))
            assert [heard.generation for heard in many].count(first.generation) == 1

        uvloop.run(story())
        assert all(heard.whole for heard in [*many, *strangers])
        assert len({heard.generation for heard in [*many, *strangers]}) == 13
        assert provider.generated == 13
        made = generations(provider)
        for heard in [*many, *strangers]:
            assert heard.generation is not None
            exchange = made[heard.generation]
            assert exchange.request.headers["x-api-key"] == heard.conversation.tenant
            assert heard.content == bytes(exchange.sent)
