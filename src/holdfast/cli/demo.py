"""`holdfast demo`: a coding agent's freeze without and with the gateway, on one screen.

No key, no client and no network: the lab's provider and a model of the client are in this process, and
the gateway is started by its front door. Every number on the screen is counted from what happened.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from holdfast.cli.errors import Failed
from holdfast.flight import moments as m
from holdfast.flight.flights import Line, counted, duration, size
from holdfast.gateway.server import run_loop
from holdfast.lab.freeze import ACTS, Act, Facts, play
from holdfast.lab.scenarios import CLIENT_LIMIT_S, SILENCE_S

SPEED = 85.0
"300 s become 3.5 s, and the three acts together about 20 s."
FAST_SPEED = 400.0
"For tests and the impatient. Much faster, and a busy machine's own delays would be told as the client's."
FRAME_S = 0.1
STORY_LINES = 6
SCREEN_LINES = 23
"With one story; a terminal of 24 lines holds this and the cursor."
TOLD = {
    kind.__name__
    for kind in (
        m.BlockOpened,
        m.QuietEnded,
        m.ReaderLeft,
        m.TurnOrphaned,
        m.ReaderJoined,
        m.AnswerFinished,
        m.AnswerHeard,
        m.ErrorSaid,
    )
}
"The moments that make the short story; `holdfast flight ID` tells all of them."


def real_thing(program: str, found: str | None, directory: Path) -> str:
    """The line to type for the real thing: by name where the shell finds this program, else by its path."""
    path = Path(program).absolute()
    if path.name != "holdfast" or (found is not None and Path(found).absolute() == path):
        return "holdfast run -- claude"
    shown = path.relative_to(directory) if path.is_relative_to(directory) else path
    return f"{shown} run -- claude"


REAL_THING = real_thing(sys.argv[0], shutil.which("holdfast"), Path.cwd())


@click.command(epilog="Example: holdfast demo --fast")
@click.option("--fast", is_flag=True, help="In about 5 s instead of 20.")
@click.option("--json", "as_json", is_flag=True, help="Print what was measured as JSON, and nothing else.")
def command(fast: bool, as_json: bool) -> None:
    """Play the freeze without and with the gateway.

    A model writes a giant file as one tool argument; no byte of it comes for longer than the client waits.
    Time is shortened; nothing else is. Needs no key, no client and no network, and leaves nothing behind.
    """
    speed = FAST_SPEED if fast else SPEED
    acts = [Act(part) for part in ACTS]
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as directory:
        run_loop(_show(acts, speed, Path(directory), as_json=as_json))
    if as_json:
        click.echo(json.dumps(report(acts, speed), indent=2, ensure_ascii=False))
    refuse_failure(acts)


async def _show(acts: Sequence[Act], speed: float, state_dir: Path, *, as_json: bool) -> None:
    console = Console(highlight=False, soft_wrap=False)
    if as_json:
        await _play_all(acts, speed, state_dir, lambda: None)
    elif console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False) as live:
            frame = lambda: live.update(screen(acts, speed, *console.size), refresh=True)  # noqa: E731
            await _play_all(acts, speed, state_dir, frame)
    else:
        told: set[str] = set()
        click.echo("\n".join(introduction(speed)))
        await _play_all(acts, speed, state_dir, lambda: _tell_news(acts, told))
        click.echo()
        click.echo("\n".join(plain(acts)))


async def _play_all(acts: Sequence[Act], speed: float, state_dir: Path, frame: Callable[[], None]) -> None:
    for act in acts:
        playing = asyncio.ensure_future(play(act, speed, state_dir))
        while not playing.done():
            frame()
            await asyncio.wait([playing], timeout=FRAME_S)
        await playing
    frame()


# --- what is shown ---------------------------------------------------------------------------------------

HEADS = {
    "without": ("without Holdfast", "leaves after 300 s", "of silence"),
    "with": ("with Holdfast", "leaves after 300 s", "of silence"),
    "with, hung up": ("with Holdfast", "no stream, leaves", "after 300 s in all"),
}


def introduction(speed: float) -> list[str]:
    """What is played, and how much faster than it was."""
    return [
        f"A frozen agent, {speed:g} times faster: a silence of {duration(SILENCE_S / speed)}, "
        f"a patience of {duration(CLIENT_LIMIT_S / speed)}.",
        "A giant file is one tool argument: no byte of it comes until all is written.",
    ]


def rows(facts: Sequence[Facts]) -> list[tuple[str, list[str]]]:
    """Each row's name, and its cell for each act."""
    return [
        ("the client asked", [times(f.asked) for f in facts]),
        ("hung up", [times(f.hung_up) for f in facts]),
        ("heard nothing for", [duration(f.longest_quiet_s) for f in facts]),
        ("keepalives it got", [f"{f.keepalives}" if f.keepalives else "none" for f in facts]),
        ("answer generated", [times(f.generated) for f in facts]),
        ("tokens generated", [f"{f.tokens:,}" for f in facts]),
        ("of them unheard", [f"{f.unheard_tokens:,}" for f in facts]),
        ("the tool ran", [_tool(f) for f in facts]),
        ("the turn", [_outcome(f) for f in facts]),
    ]


def times(count: int) -> str:
    """`never`, `once`, `3 times`."""
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def _tool(facts: Facts) -> str:
    return f"{times(facts.tools_run)}, {size(facts.file_bytes)}" if facts.tools_run else "never"


def _outcome(facts: Facts) -> str:
    if facts.finished:
        return f"finished, {duration(facts.seconds)}"
    return f"failed, {duration(facts.seconds)}" if facts.over else f"waiting, {duration(facts.seconds)}"


def short_story(lines: Sequence[Line]) -> list[Line]:
    """The moments that tell what happened, few enough for one screen, without the evidence in brackets."""
    told = [replace(line, text=_EVIDENCE.sub("", line.text)) for line in lines if line.name in TOLD]
    return told[-STORY_LINES:]


_EVIDENCE = re.compile(r" \[[^\]]*\](?=\.$)")


def screen(acts: Sequence[Act], speed: float, width: int, height: int) -> RenderableType:
    """Everything, for a terminal of 80x24 and more; a higher one shows every story, not only the latest."""
    begun = [act for act in acts if act.provider is not None]
    over = all(act.over for act in acts)
    carried = [act for act in begun if act.carried]
    left = height - 1 - SCREEN_LINES
    stories = carried[-1 - max(0, left // (STORY_LINES + 2)) :]
    spare = max(0, left - (STORY_LINES + 2) * (len(stories) - 1))
    first = [Text(line, style="dim") for line in introduction(speed)]
    if over and spare < len(first):  # what was played is known by now, and what came of it needs the lines
        spare += len(first) + 1
        first = []
    parts: list[RenderableType] = [*first]
    table = Table(box=None, pad_edge=False, expand=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for act in acts:
        table.add_column("\n".join(HEADS[act.part.name]), style="" if act in begun else "dim")
    facts = [act.facts() for act in begun]
    for name, cells in rows(facts):
        styled = [Text(cell, style=_style(name, fact)) for cell, fact in zip(cells, facts, strict=True)]
        table.add_row(Text(name, style="dim"), *styled, *([""] * (len(acts) - len(begun))))
    parts.append(table)
    for told in stories:
        parts += [Text()] * (told is not stories[0] or bool(first)) + [Text(story_title(told), style="dim")]
        parts += _story_lines(short_story(told.story()), width, STORY_LINES + spare // len(stories))
    if over:
        parts.append(Text.assemble("The real thing:  ", (REAL_THING, "bold")))
    return Group(*parts)


def _style(name: str, facts: Facts) -> str:
    if name != "the turn" or not facts.over:
        return ""
    return "bold green" if facts.finished else "bold red"


def story_title(act: Act) -> str:
    """Whose flight it is."""
    carried = act.carried
    assert carried is not None
    return f"What the flight of the turn says (client: {' '.join(HEADS[act.part.name][1:])}):"


def _story_lines(story: Sequence[Line], width: int, most: int) -> list[Text]:
    """The latest moments, each whole and wrapped under itself, in so many lines."""
    told: list[Text] = []
    for line in reversed(story):
        stamp = f"{line.at_s:6.2f} s  "
        wrapped = textwrap.wrap(
            line.text,
            width - 1,
            initial_indent=stamp,
            subsequent_indent=" " * len(stamp),
            break_on_hyphens=False,
        )
        if len(told) + len(wrapped) > most:
            break
        told = [*map(Text, wrapped), *told]
    return told


# --- without a screen ------------------------------------------------------------------------------------


def _tell_news(acts: Sequence[Act], told: set[str]) -> None:
    for line in news(acts):
        if line not in told:
            told.add(line)
            click.echo(line)


def news(acts: Sequence[Act]) -> list[str]:
    """What has happened so far, as lines that do not change once they are there."""
    lines = []
    for act in acts:
        head = f"[{HEADS[act.part.name][0]}; client: {' '.join(HEADS[act.part.name][1:])}]"
        answered = next((ask.number for ask in act.report.asks if ask.complete), None)
        for ask in act.report.asks:
            # The turn goes on with what its tool gave; that is no second try, and the table does not count it.
            then = " (the tool's result)" if answered is not None and ask.number > answered else ""
            if ask.ended:
                lines.append(f"{head} request {ask.number}{then}: {ask.ended} after {duration(ask.lasted_s)}")
        if act.over:
            facts = act.facts()
            lines.append(
                f"{head} the turn: {_outcome(facts)}; the answer was generated {times(facts.generated)}"
            )
    return lines


def plain(acts: Sequence[Act]) -> list[str]:
    """The final table, the story and the next step, without colour or a screen."""
    facts = [act.facts() for act in acts]
    heads = [("", [HEADS[act.part.name][number] for act in acts]) for number in range(3)]
    table = [
        f"{name:<19}" + "".join(f"{cell:<21}" for cell in cells) for name, cells in [*heads, *rows(facts)]
    ]
    lines = [line.rstrip() for line in table]
    for act in acts:
        if act.carried:
            lines += ["", story_title(act)]
            lines += [f"{line.at_s:6.2f} s  {line.text}" for line in short_story(act.story())]
    return [*lines, "", f"The real thing:  {REAL_THING}"]


def report(acts: Sequence[Act], speed: float) -> dict[str, object]:
    """What was measured, as plain values. Seconds are those of the demo: times `speed` for the report's."""
    return {
        "speed": speed,
        "silence_s": SILENCE_S / speed,
        "client_limit_s": CLIENT_LIMIT_S / speed,
        "acts": [
            {
                "name": act.part.name,
                "through_gateway": act.part.through_gateway,
                "client_clock": act.part.clock,
                **asdict(act.facts()),
                "story": [{"at_s": round(line.at_s, 3), "text": line.text} for line in act.story()],
            }
            for act in acts
        ],
        "next": REAL_THING,
    }


def refuse_failure(acts: Sequence[Act]) -> None:
    """Raise where the gateway did not do what it is for: the demo tells what happened, not what should have."""
    for act in acts:
        facts = act.facts()
        if act.part.through_gateway and not (
            facts.finished and facts.generated == 1 and facts.tools_run == 1
        ):
            raise Failed(
                f"the turn was not carried ({' '.join(HEADS[act.part.name])}): {facts.error or 'it did not finish'}, "
                f"the answer was generated {counted(facts.generated, 'time')}. If this machine is very busy, run "
                "`holdfast demo` without --fast; else please report it."
            )
