"""The demo shows what happened, whatever that was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from holdfast.cli import demo
from holdfast.cli.errors import Failed
from holdfast.flight.flights import Line
from holdfast.gateway.settings import Timeouts
from holdfast.lab.clients import Ask, Report
from holdfast.lab.freeze import ACTS, Act, Facts, scaled
from holdfast.lab.scenarios import GIANT_TOOL

CARRIED = Facts(
    over=True,
    finished=True,
    seconds=4.7,
    asked=1,
    hung_up=0,
    longest_quiet_s=0.1,
    keepalives=38,
    generated=1,
    tokens=29_000,
    unheard_tokens=0,
    tools_run=1,
    file_bytes=100_000,
    error=None,
)


class Told(Act):
    """An act whose facts are given."""

    told: Facts

    def facts(self) -> Facts:
        return self.told


def told(facts: Facts, number: int = 1) -> Told:
    act = Told(ACTS[number])
    act.told, act.over = facts, facts.over
    return act


@pytest.fixture(scope="module")
def played() -> tuple[dict[str, object], ...]:
    """One fast run, measured."""
    result = CliRunner().invoke(demo.command, ["--fast", "--json"])
    assert result.exit_code == 0, result.output
    acts: list[dict[str, object]] = json.loads(result.stdout)["acts"]
    return tuple(acts)


def test_without_the_gateway_the_answer_is_generated_again_and_again(
    played: tuple[dict[str, object], ...],
) -> None:
    """Three hang-ups, three generations, all of it unheard, and the tool never ran."""
    without = played[0]
    assert (without["finished"], without["hung_up"], without["generated"]) == (False, 3, 3)
    assert without["tools_run"] == 0
    assert without["unheard_tokens"] == without["tokens"] != 0


def test_with_the_gateway_the_same_client_is_held(played: tuple[dict[str, object], ...]) -> None:
    """No hang-up, one generation, nothing unheard, the tool ran once with the whole file."""
    held = played[1]
    assert (held["finished"], held["hung_up"], held["generated"], held["tools_run"]) == (True, 0, 1, 1)
    assert held["unheard_tokens"] == 0 and held["tokens"] == GIANT_TOOL.first[0].tokens
    assert isinstance(held["keepalives"], int) and held["keepalives"] > 10


def test_a_client_that_nothing_holds_is_given_the_running_answer(
    played: tuple[dict[str, object], ...],
) -> None:
    """It hangs up, asks again, and the answer was generated once."""
    came_back = played[2]
    assert (came_back["finished"], came_back["hung_up"], came_back["asked"]) == (True, 1, 2)
    assert (came_back["generated"], came_back["tools_run"], came_back["unheard_tokens"]) == (1, 1, 0)
    said = json.dumps(came_back["story"])
    assert "gave up waiting" in said and "came back with the same request" in said


def test_a_turn_that_was_not_carried_is_a_failure() -> None:
    """The demo does not claim what it did not see."""
    for facts in (
        replace(CARRIED, generated=2),
        replace(CARRIED, finished=False, error="API Error: reset after 3 requests"),
        replace(CARRIED, tools_run=2),
    ):
        with pytest.raises(Failed, match="not carried"):
            demo.refuse_failure([told(facts)])
    demo.refuse_failure([told(CARRIED), told(replace(CARRIED, generated=3, finished=False), 0)])


@pytest.mark.parametrize("over", [False, True])
def test_the_screen_fits_a_small_terminal(over: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """80 columns and 24 lines hold everything, the story included."""
    lines = [Line(3.5, "QuietEnded", "A sentence that is longer than the terminal is wide. " * 3)] * 9
    monkeypatch.setattr(Told, "carried", property(lambda act: "a record"))
    monkeypatch.setattr(Told, "story", lambda act: lines)
    acts = [told(replace(CARRIED, over=over), number) for number in range(3)]
    for act in acts:
        act.provider = object()  # type: ignore[assignment]
    console = Console(width=80, height=24, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    console.print(demo.screen(acts, demo.SPEED, *console.size))
    shown = console.export_text().splitlines()

    assert len(shown) <= demo.SCREEN_LINES
    assert max(map(len, shown)) <= 80 and "…" not in "".join(shown)
    assert " ".join(" ".join(shown).split()).count("longer than the terminal is wide.") % 3 == 0
    assert (shown[-1] == f"The real thing:  {demo.REAL_THING}") is over


def test_the_story_leaves_the_evidence_to_the_flight() -> None:
    """Brackets of numbers are for `holdfast flight`; the latest moments win."""
    left = Line(3.5, "ReaderLeft", "The client gave up (C.rst.tool) [tcp_state CLOSE, rtt_ms 0.016].")
    other = Line(1.0, "Connected", "Attempt 1 connected.")

    assert demo.short_story([other, left])[0].text == "The client gave up (C.rst.tool)."
    assert len(demo.short_story([left] * 20)) == demo.STORY_LINES


def test_patience_is_scaled_and_sockets_are_not() -> None:
    """What is about people gets faster; what is about sockets does not."""
    fast = scaled(Timeouts(), 100)
    assert (fast.keepalive_s, fast.orphan_s) == (0.1, 12.0)
    assert (fast.cancel_grace_s, fast.twin_grace_s) == (Timeouts().cancel_grace_s, Timeouts().twin_grace_s)


def holdfast(*arguments: str, home: Path) -> subprocess.Popen[str]:
    """The command in a clean environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)},
    )


def test_interrupted_it_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C in the middle ends it with 130, and its state directory is gone."""
    process = holdfast("demo", home=tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    assert list(tmp_path.glob("holdfast-demo-*"))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)

    assert process.returncode == 130, said
    assert not list(tmp_path.iterdir())
    assert "Traceback" not in said


def test_the_request_with_the_tool_s_result_is_told_as_such() -> None:
    """The table counts how often the question was asked, so a second line without a reason would contradict it."""
    report = Report(
        [Ask(1, True, 0.0, ended="complete", ended_s=1.0), Ask(2, True, 1.0, ended="complete", ended_s=2.0)]
    )
    act = Act(ACTS[1])
    act.report = report
    first, second = demo.news([act])[:2]
    assert "request 1: complete after 1.00 s" in first and "request 2 (the tool's result): complete" in second
