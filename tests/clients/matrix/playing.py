"""One run of a cell: the provider, the gateway by its front door, the client, and what was seen of all three."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.lab.provider import Exchange, Provider
from tests.clients import claude, front, sdk
from tests.clients.claude import Machine, Terminal
from tests.clients.matrix.cell import STORM_RETRIES, Cell
from tests.clients.matrix.story import DONE, PROMPT, Story, blocks, conversation, is_refusal, spoken
from tests.clients.matrix.verdict import Facts

WITHIN_S = 90.0
"No cell takes a client so long that is not stuck."
TERMINAL_S = 60.0
TERMINAL_IDLE_S = 12.0
"Longer than a client waits before any of its first four retries."
SDK_PATIENCE_S = 60.0


def play(cell: Cell, machine: Machine, *, gateway: bool) -> Facts:
    """Run the cell once, with the gateway or without it."""
    story = Story(cell, machine.work)
    with Provider(story).running() as provider:
        if cell.client in sdk.SDKS:
            return _with_sdk(cell, machine, provider, story, gateway=gateway)
        before = front.run_prefix(machine, *cell.gateway_options) if gateway else []
        if cell.terminal:
            return _in_terminal(cell, machine, provider, story, before)
        return _in_print_mode(cell, machine, provider, story, before)


def _in_print_mode(
    cell: Cell, machine: Machine, provider: Provider, story: Story, before: list[str]
) -> Facts:
    env = {"CLAUDE_CODE_MAX_RETRIES": str(STORM_RETRIES)} if cell.storm else {}
    did = claude.ask(cell.client, machine, provider.url, PROMPT, env=env, within_s=WITHIN_S, before=before)
    shown: Counter[str] = Counter()
    results = 0
    for event in did.events:
        for block in blocks(event.get("message") or {}):
            if event.get("type") == "assistant" and block.get("type") == "text":
                shown.update(spoken(str(block.get("text"))))
            elif event.get("type") == "user" and block.get("type") == "tool_result":
                results += not is_refusal(block)
    return _facts(
        story,
        provider,
        finished=did.succeeded,
        closing=DONE in did.result,
        shown=shown,
        runs=results,
        seconds=did.seconds,
        hung=did.exit_code == -9,
        detail=f"exit {did.exit_code}: {did.result or did.stderr[-400:]}",
    )


def _in_terminal(cell: Cell, machine: Machine, provider: Provider, story: Story, before: list[str]) -> Facts:
    terminal = Terminal(cell.client, machine, provider.url, before=before)
    began = time.monotonic()
    try:
        terminal.ready()
        terminal.say(PROMPT)
        began = time.monotonic()
        ended = _wait_for_end(terminal, provider)
        screen = terminal.shown
    finally:
        terminal.close()
    closing = DONE.replace(" ", "") in screen
    return _facts(
        story,
        provider,
        finished=closing or (ended and "APIError" not in screen),
        closing=closing,
        shown=Counter(),  # a screen is drawn anew all the time; what is kept is in the requests
        runs=0,
        seconds=time.monotonic() - began,
        hung=not ended,
        detail=screen[-400:],
    )


def _wait_for_end(terminal: Terminal, provider: Provider) -> bool:
    """Whether the turn ended: the closing words are there, or nothing was asked for longer than any wait to retry."""
    began = time.monotonic()

    def over() -> bool:
        if DONE.replace(" ", "") in terminal.shown:
            return True
        asked = main_requests(provider)
        last = max((seen.ended_s or time.monotonic() for seen in asked), default=began)
        return time.monotonic() - last > TERMINAL_IDLE_S

    try:
        terminal.wait_until(over, "end of the turn", within_s=TERMINAL_S)
    except AssertionError:
        return False
    return True


def _with_sdk(cell: Cell, machine: Machine, provider: Provider, story: Story, *, gateway: bool) -> Facts:
    with _base_url(cell, machine, provider, gateway=gateway) as url:
        try:
            told = sdk.ask(cell.client, machine, url, PROMPT, timeout_s=SDK_PATIENCE_S, within_s=WITHIN_S)
        except subprocess.TimeoutExpired:
            told = sdk.Told(WITHIN_S, "", 0, 0, error="no end")
    return _facts(
        story,
        provider,
        finished=told.error is None,
        closing=DONE in told.text,
        shown=Counter(spoken(told.text)),
        runs=told.tool_runs,
        seconds=told.seconds,
        hung=told.error == "no end",
        detail=told.error or f"stop_reason {told.stop_reason}",
    )


@contextmanager
def _base_url(cell: Cell, machine: Machine, provider: Provider, *, gateway: bool) -> Iterator[str]:
    if not gateway:
        yield provider.url
        return
    with front.serving(provider.url, machine, *cell.gateway_options) as served:
        yield served.url


def _facts(
    story: Story,
    provider: Provider,
    *,
    finished: bool,
    closing: bool,
    shown: Counter[str],
    runs: int,
    seconds: float,
    hung: bool,
    detail: str,
) -> Facts:
    asked = main_requests(provider)
    kept = conversation(asked[-1].request.json) if asked else conversation({})
    most = max([*shown.values(), *kept.texts.values()], default=0)
    written = all(
        story.path(name).exists() and story.path(name).read_text() == content
        for name, content in story.files.items()
    )
    return Facts(
        finished=finished,
        closing=closing,
        written=written,
        runs=max(runs, kept.runs()),
        calls=len(story.files),
        shown=most,
        generations=provider.generated,
        requests=len(asked),
        seconds=round(seconds, 1),
        hung=hung,
        refused=kept.refused,
        broken=story.broken,
        detail=detail,
    )


def main_requests(provider: Provider) -> list[Exchange]:
    """All questions of the agent, in order; side requests have no tools."""
    return [
        seen
        for seen in provider.exchanges
        if seen.request.method == "POST" and seen.request.json.get("tools")
    ]


def stories(machine: Machine) -> str:
    """The flights of this machine's gateway, told; for cells that did not come out as expected."""
    listed = _holdfast(machine, "flights", "--json", "--limit", "50")
    told = []
    for line in listed.splitlines():
        row: dict[str, Any] = json.loads(line)
        told.append(_holdfast(machine, "flight", str(row.get("turn") or row.get("turn_id") or row.get("id"))))
    return "\n".join(told)


def _holdfast(machine: Machine, *arguments: str) -> str:
    done = subprocess.run(
        [*front.HOLDFAST, *arguments],
        env=front.environment(machine),
        cwd=machine.work,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout or done.stderr
