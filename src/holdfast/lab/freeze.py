"""A coding agent's freeze as a play in acts: the lab's provider, a client model, and between them the gateway or not.

Everything that is told about an act is measured from what happened in it: from the provider's exchanges,
the client's requests, and the gateway's records. Only the waiting is shortened, by one factor for all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from holdfast.flight.flights import Line, story
from holdfast.flight.journal import Journal
from holdfast.flight.reading import open_library
from holdfast.flight.record import TurnRecord
from holdfast.gateway.server import Gateway
from holdfast.gateway.settings import Settings, Timeouts, Upstream
from holdfast.lab.clients import AgentModel, Clock, Report
from holdfast.lab.provider import Provider
from holdfast.lab.scenarios import CLIENT_LIMIT_S, GIANT_TOOL, Scenario

PROMPT = "Create world_data.py containing all of the following hardcoded data: ..."
RETRIES = 2
"The agent of the report went on for ever; three rounds are enough to see it."


@dataclass(frozen=True, slots=True)
class Part:
    """What is played in an act."""

    name: str
    through_gateway: bool
    clock: Clock
    "By which clock the client hangs up."
    streams: bool = True
    agent: str | None = None
    "A User-Agent by which the gateway knows the client; None for the model's own."

    def client(self, speed: float) -> AgentModel:
        """The client of this act. It says its limit in the header in which the measured ones say theirs."""
        limit_s = CLIENT_LIMIT_S / speed
        headers = {"user-agent": self.agent, "x-stainless-timeout": f"{limit_s:g}"} if self.agent else {}
        return AgentModel(limit_s, RETRIES, clock=self.clock, streams=self.streams, headers=headers)


ACTS = (
    Part("without", through_gateway=False, clock="bytes"),
    Part("with", through_gateway=True, clock="bytes"),
    Part(
        "with, hung up",
        through_gateway=True,
        clock="total",
        streams=False,
        agent="claude-cli/2.1.329 (holdfast-lab client model)",
    ),
)
"""The freeze as it was reported; the same client behind the gateway; and one that nothing holds: it asks for the whole
answer without streaming, which 2.1.329 was measured to end after 300 s in all, whatever bytes come. It leaves,
asks again, and is given the answer that is still running."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What can be counted in an act, at any time."""

    over: bool
    finished: bool
    "Whether the client's turn came to its proper end."
    seconds: float
    asked: int
    "Requests of the client until its tool ran (or it gave up for good)."
    hung_up: int
    longest_quiet_s: float
    "The longest time in which the client heard no byte."
    keepalives: int
    "Pings and comments that the client heard; the provider sends none in this scenario."
    generated: int
    "How often the provider began to generate the answer."
    tokens: int
    "Generated, of that answer, in all its generations."
    unheard_tokens: int
    "Of these, in answers that no client heard to the end. While the act lasts: so far."
    tools_run: int
    file_bytes: int
    "Of the file that the tool call carries, as the client got it."
    error: str | None


@dataclass(slots=True)
class Act:
    """One act while it is played and after."""

    part: Part
    scenario: Scenario = GIANT_TOOL
    report: Report = field(default_factory=Report)
    provider: Provider | None = None
    gateway: Gateway | None = None
    ended: list[TurnRecord] = field(default_factory=list)
    "The gateway's records of the turns that are over."
    state_dir: Path | None = None
    "Where the gateway's journal is, while there is one."
    lines: list[Line] = field(default_factory=list)
    over: bool = False

    @property
    def records(self) -> list[TurnRecord]:
        """The gateway's records, of the turns that are over and of those that are not, oldest first."""
        open_turns = [] if self.gateway is None or self.over else self.gateway.open_turns()
        told = {record.turn_id: record for record in (*self.ended, *open_turns)}
        return sorted(told.values(), key=lambda record: record.started)

    @property
    def carried(self) -> TurnRecord | None:
        """The record of the turn with the giant tool call; None where no gateway carried it."""
        return next(iter(self.records), None)

    def story(self) -> list[Line]:
        """That turn, moment by moment, as far as the journal has it."""
        if self.state_dir is not None and self.carried is not None:
            with open_library(self.state_dir) as library:
                found = library.find(self.carried.turn_id) if library else []
            self.lines = story(found[0].record) if found else []
        return self.lines

    def facts(self) -> Facts:
        """Count."""
        exchanges = self.provider.exchanges if self.provider else []
        first = [
            seen for seen in exchanges if seen.generated and seen.answer and seen.answer.label == "first"
        ]
        tokens = sum(seen.tokens for seen in first)
        asks = self.report.asks
        until = next((number for number, ask in enumerate(asks, 1) if ask.complete), len(asks))
        heard = [ask for ask in asks[:until] if ask.complete]
        heard_tokens = sum(int(ask.message.value["usage"]["output_tokens"]) for ask in heard)
        return Facts(
            over=self.over,
            finished=self.report.finished,
            seconds=self.report.lasted_s,
            asked=until,
            hung_up=self.report.gave_up,
            longest_quiet_s=max((ask.quiet_s for ask in asks), default=0.0),
            keepalives=sum(ask.message.pings + ask.comments for ask in asks),
            generated=len(first),
            tokens=tokens,
            unheard_tokens=max(0, tokens - heard_tokens),
            tools_run=len(self.report.tools_run),
            file_bytes=sum(len(call["input"]["content"].encode()) for call in self.report.tools_run),
            error=self.report.error,
        )


def scaled(timeouts: Timeouts, speed: float) -> Timeouts:
    """The gateway's patience towards client and provider, shortened by the same factor as theirs.

    Connecting, the cancel grace and the twin grace keep their length: they are about sockets and
    schedulers, which do not get faster here.
    """
    return replace(
        timeouts,
        keepalive_s=timeouts.keepalive_s / speed,
        quiet_s=timeouts.quiet_s / speed,
        orphan_s=timeouts.orphan_s / speed,
        unheard_s=timeouts.unheard_s / speed,
    )


async def play(act: Act, speed: float, state_dir: Path) -> None:
    """Play one act from the prompt to the turn's end, or to the client's last try."""
    async with Provider(act.scenario.rule(), speed=speed, keep_bytes=0) as act.provider:
        async with _way_to(act, speed, state_dir) as base_url:
            act.report = Report()
            await act.part.client(speed).run(base_url, PROMPT, act.report)
        await act.provider.until(lambda lab: all(seen.ended for seen in lab.exchanges))
    act.over = True


@asynccontextmanager
async def _way_to(act: Act, speed: float, state_dir: Path) -> AsyncIterator[str]:
    """The base URL for the client: the gateway's, where the act has one, else the provider's own."""
    assert act.provider is not None
    if not act.part.through_gateway:
        yield act.provider.url
        return
    settings = Settings(
        upstream=Upstream.parse(act.provider.url),
        tenant="demo",
        timeouts=scaled(Timeouts(), speed),
        state_dir=state_dir,
    )
    journal = Journal(state_dir, kind="demo", flush_every_s=0.1)
    act.state_dir = state_dir
    act.gateway = Gateway(settings, journal, on_turn=act.ended.append)
    try:
        port = await act.gateway.listen()
        yield f"http://127.0.0.1:{port}"
        await act.gateway.drain(2.0)
    finally:
        await act.gateway.close()
        journal.close()
        act.story()
        act.state_dir = None
