"""`holdfast explain NAME`: the page of a word."""

from __future__ import annotations

import shutil
import textwrap
from itertools import groupby

import click

from holdfast.cli.errors import Failed
from holdfast.cli.viewing import columns
from holdfast.flight.pages import Page, all_pages, close_to, look_up

_HEADINGS = {
    "word": "Words",
    "side": "Sides: who ended it (first part of an ending's code)",
    "mechanism": "Mechanisms: how it ended (second part)",
    "phase": "Phases: what was under way (third part)",
    "moment": "Moments: what a flight is made of",
    "scenario": "Scenarios: what the built-in provider can do wrong (holdfast lab)",
}


@click.command("explain")
@click.argument("name", nargs=-1)
def command(name: tuple[str, ...]) -> None:
    """Explain a word: an ending's code or one of its parts, a moment, a term, a scenario. Without NAME, list all.

    \b
    Examples:
      holdfast explain C.rst.tool
      holdfast explain QuietNoticed
      holdfast explain orphan
      holdfast explain giant-tool

    \b
    Exit codes: 0 done, 1 not known, 2 wrong usage.
    """
    if not name:
        click.echo("\n".join(listing(shutil.get_terminal_size().columns)))
        return
    word = " ".join(name)
    pages = found(word)
    if not pages and len(name) > 1:
        pages = [page for single in name for page in found(single)]
    if not pages:
        near = close_to(word, among=(*all_pages(), *scenario_pages()))
        raise Failed(
            f"{word!r} is no word of ours; "
            + (f"did you mean {', '.join(near)}?" if near else "holdfast explain lists them all")
        )
    click.echo("\n\n".join(shown(page, min(shutil.get_terminal_size().columns, 100)) for page in pages))


def found(word: str) -> list[Page]:
    """The pages of one word."""
    return list(look_up(word)) or [page for page in scenario_pages() if page.name == word]


def scenario_pages() -> list[Page]:
    """The lab's scenarios. Loaded only where no word of ours was meant: the lab takes longer than all words."""
    from holdfast.cli import lab
    from holdfast.lab.scenarios import CATALOGUE

    pages = []
    for scenario in CATALOGUE.values():
        lines = textwrap.dedent("\n".join(lab.page(scenario)[1:]))
        pages.append(
            Page(scenario.name, "scenario", f"{lines}\n\nholdfast lab provider --scenario {scenario.name}")
        )
    return pages


def listing(width: int) -> list[str]:
    """All words with their first lines, by kind."""
    page: list[str] = []
    for kind, group in groupby((*all_pages(), *scenario_pages()), key=lambda one: one.kind):
        rows = [(f"  {one.name}", one.first_line) for one in group]
        page += [
            _HEADINGS[kind],
            *(line if len(line) <= width else line[: width - 1] + "…" for line in columns(rows)),
            "",
        ]
    return [*page, "One page: holdfast explain NAME. An ending's code joins three parts, as in C.rst.tool."]


def shown(page: Page, width: int) -> str:
    """A page with its heading, wrapped."""
    lines = [f"{page.name} ({page.kind})", ""]
    for line in page.text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
    return "\n".join(lines)
