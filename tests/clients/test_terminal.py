"""Claude Code in a terminal under `holdfast run`: what its user cancels is cancelled upstream, and stays so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from holdfast.lab.provider import Provider, Request
from holdfast.lab.script import Answer, answer, close_block, open_text, pause, says, text
from tests.clients.cells import (
    DONE,
    PROMPT,
    WRITTEN,
    chosen,
    limit_s,
    limits,
    silence_s,
    silent_once,
    silent_story,
)
from tests.clients.claude import Machine, Terminal
from tests.clients.front import run_prefix
from tests.clients.install import CLAUDE_VERSIONS

pytestmark = pytest.mark.timeout(400)

GRACE_S = 2.0
ESC, CTRL_C = "\x1b", "\x03"


def slow_once(request: Request) -> Answer:
    """A long silence in a text for the first main request, a short answer for any other."""
    if not request.json.get("tools"):
        return answer(text("A title"), label="side")
    if "Tell a long story" in str(request.json["messages"]) and "Say something" not in str(
        request.json["messages"]
    ):
        return answer(
            [open_text(), *says("Once upon"), pause(60), *says(" a time."), close_block()], label="slow"
        )
    return answer(text(DONE), label="quick")


@contextmanager
def waiting_user(version: str, machine: Machine) -> Iterator[tuple[Terminal, Provider]]:
    """A user who asked for a long story, of which two words have come."""
    with Provider(slow_once).running() as provider:
        terminal = Terminal(version, machine, provider.url, before=run_prefix(machine))
        try:
            terminal.ready()
            terminal.say("Tell a long story")
            terminal.wait_until(lambda: provider.generations("slow") == 1, "request upstream")
            time.sleep(0.5)
            yield terminal, provider
        finally:
            terminal.close()


def stopped_after_s(
    provider: Provider, terminal: Terminal, since_s: float, *, watching: bool = True
) -> float:
    """How long after `since_s` the slow generation was stopped by its client."""
    slow = next(seen for seen in provider.answers if seen.answer and seen.answer.label == "slow")
    if watching:
        terminal.wait_until(lambda: bool(slow.ended), "end of the generation", within_s=8)
    else:
        provider.wait_until(lambda _: bool(slow.ended), seconds=8)
    assert slow.ended in ("client fin", "client rst")
    assert slow.ended_s is not None
    return slow.ended_s - since_s


@pytest.mark.parametrize("version", chosen(CLAUDE_VERSIONS, lambda version: True))
def test_esc_stops_the_generation_and_the_next_prompt_works(version: str, machine: Machine) -> None:
    """Upstream is closed within the grace, nothing is replayed, and the next prompt is answered."""
    with waiting_user(version, machine) as (terminal, provider):
        pressed_s = time.monotonic()
        terminal.press(ESC)
        assert stopped_after_s(provider, terminal, pressed_s) < GRACE_S + 0.8

        terminal.say("Say something")
        terminal.wait_for(DONE)
        assert provider.generations("slow") == 1
        assert provider.generations("quick") == 1


@pytest.mark.parametrize("version", chosen(CLAUDE_VERSIONS, lambda version: version == "2.1.114"))
def test_ctrl_c_stops_the_generation_and_then_the_client(version: str, machine: Machine) -> None:
    """Ctrl-C cancels; two more leave: `run` ends with the client's own code, and nothing is asked again."""
    with waiting_user(version, machine) as (terminal, provider):
        pressed_s = time.monotonic()
        for _ in range(3):
            terminal.press(CTRL_C)
            time.sleep(0.3)
        exit_code = terminal.exit_code()

        assert exit_code == 0
        assert stopped_after_s(provider, terminal, pressed_s, watching=False) < GRACE_S + 0.8
        assert provider.generated == 1


@pytest.mark.parametrize("version", chosen(CLAUDE_VERSIONS, lambda version: version == "2.1.329"))
def test_a_closed_terminal_stops_the_generation(version: str, machine: Machine) -> None:
    """The window is gone, the client with it: nobody is left to generate for."""
    with waiting_user(version, machine) as (terminal, provider):
        closed_s = time.monotonic()
        terminal.hang_up()

        assert stopped_after_s(provider, terminal, closed_s, watching=False) < GRACE_S + 0.8
        terminal.exit_code()
        assert provider.generated == 1


@pytest.mark.parametrize("version", chosen(CLAUDE_VERSIONS, lambda version: version == "2.1.329"))
def test_a_silent_tool_call_is_carried_out_in_a_terminal(version: str, machine: Machine) -> None:
    """Alone, 2.1.329 stops here with an error in a terminal, and 2.1.114 too: a block was complete before."""
    story = silent_story("tool", machine, silent_s=silence_s(version, "tool"))
    with Provider(story).running() as provider:
        terminal = Terminal(version, machine, provider.url, env=limits(version), before=run_prefix(machine))
        try:
            terminal.ready()
            terminal.say(PROMPT)
            terminal.wait_for(DONE, within_s=30)
        finally:
            terminal.close()

        assert (machine.work / "answer.txt").read_text() == WRITTEN
        assert (provider.generations("first"), provider.generations("then")) == (1, 1)


@pytest.mark.long
@pytest.mark.parametrize("version", CLAUDE_VERSIONS)
def test_alone_the_same_silence_in_a_terminal_ends_the_client(version: str, machine: Machine) -> None:
    """The control: it hangs up at its limit, and the answer is lost or generated again."""
    story = silent_once("tool", machine, silent_s=silence_s(version, "tool"))
    with Provider(story).running() as provider:
        terminal = Terminal(version, machine, provider.url, env=limits(version))
        try:
            terminal.ready()
            terminal.say(PROMPT)
            terminal.wait_until(
                lambda: any(seen.ended.startswith("client ") for seen in provider.answers),
                "hang-up",
                within_s=30,
            )
        finally:
            terminal.close()

        first = next(seen for seen in provider.answers if seen.answer and seen.answer.label == "first")
        assert -0.2 <= first.lasted_s - limit_s(version, "tool") <= 1.2
