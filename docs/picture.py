"""Draws docs/demo.svg: the last screen of `holdfast demo`, as it was played just now.

`make picture` calls it. The numbers in the picture are those of this run; nothing is drawn by hand.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from holdfast.cli import demo
from holdfast.gateway.server import run_loop
from holdfast.lab.freeze import ACTS, Act, play

WIDTH, HEIGHT = 104, 60
"Of the terminal, in characters: wide enough for the three columns, high enough for both stories."

# Rich's own frame names web fonts by their address; a picture in a repository should fetch nothing.
FRAME = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: Helvetica, Arial, "DejaVu Sans", sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


async def played(directory: Path) -> list[Act]:
    """The acts of the demo, played to their ends at its usual speed."""
    acts = [Act(part) for part in ACTS]
    for act in acts:
        await asyncio.wait_for(play(act, demo.SPEED, directory), timeout=60)
    return acts


def drawn(acts: list[Act]) -> str:
    """The screen as SVG."""
    console = Console(
        record=True,
        file=io.StringIO(),
        width=WIDTH,
        height=HEIGHT,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    console.print(demo.screen(acts, demo.SPEED, WIDTH, HEIGHT))
    svg = console.export_svg(title="holdfast demo", code_format=FRAME, unique_id="demo")
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def main(path: Path) -> None:
    """Play, refuse to draw a failure, draw."""
    with tempfile.TemporaryDirectory(prefix="holdfast-picture-") as directory:
        acts = run_loop(played(Path(directory)))
    demo.refuse_failure(acts)
    path.write_text(drawn(acts), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
