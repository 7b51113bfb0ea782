"""`holdfast explain NAME`: the page of a word."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import textwrap
from dataclasses import replace
from itertools import groupby

import click

from holdfast.cli.catalogue import CATALOGUE, show
from holdfast.cli.errors import Failed
from holdfast.cli.viewing import columns
from holdfast.flight.endings import Mechanism, Phase, taken_apart
from holdfast.flight.pages import Page, all_pages, close_to, documented_members, look_up, mentioned_in
from holdfast.flight.redact import clean
from holdfast.gateway import heal
from holdfast.gateway.profiles import measured_profiles

SHOWN_BY_MOST = 3
"Scenarios named under an ending; `holdfast lab endings` lists all."
_HEADINGS = {
    "word": "Words",
    "report": "Words before a line of holdfast diagnose",
    "column": "Columns of lists (in capitals) and of the tables of holdfast diagnose",
    "code": "Codes: what a client says of a failure",
    "side": "Sides: who ended it (first part of an ending's code)",
    "mechanism": "Mechanisms: how it ended (second part)",
    "phase": "Phases: what was under way (third part)",
    "evidence": "Evidence: what an ending is told with (None is not measured)",
    "moment": "Moments: what a flight is made of",
    "remedy": "Remedies: what is done when an answer breaks (the healing table)",
    "cause": "Causes: what diagnose weighs",
    "setting": "Settings: what holdfast run and serve can be told",
    "scenario": "Scenarios: what the built-in provider can do wrong (holdfast lab)",
}


# --quiet and -.end are words here
@click.command("explain", context_settings={"ignore_unknown_options": True})
@click.argument("name", nargs=-1)
def command(name: tuple[str, ...]) -> None:
    """Explain a word: an ending's code or a part of it, a moment, a remedy, a cause, a setting, a term, a code, a
    column, a scenario.

    Without NAME, list all.

    \b
    Examples:
      holdfast explain C.rst.tool
      holdfast explain QuietNoticed
      holdfast explain orphan
      holdfast explain failed per 1000
      holdfast explain restart
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
        pages = [page for single in name for page in found(single) if page.kind not in _PLAIN_WORDS]
    if not pages:
        raise Failed(f"{clean(word)!r} is no word of ours; {_instead(word)}")
    click.echo("\n\n".join(shown(page, min(shutil.get_terminal_size().columns, 100)) for page in pages))


_PLAIN_WORDS = ("report", "column")
"Kinds of pages whose names are words like `for` and `of`: in a sentence that was pasted they are not meant."


NEARLY = 0.75
"How much of a word is another's for the two to be one and its slip; below, a page that has the very word is nearer."


def _instead(word: str) -> str:
    """What to ask for in the place of an unknown word."""
    every = _everything()
    near = close_to(word, among=every, alike=NEARLY)
    if not near and (where := mentioned_in(word, among=every)):
        return f"it is in the page of {', '.join(where)}: holdfast explain {shlex.quote(where[0])}"
    near = near or close_to(word, among=every)
    return f"did you mean {', '.join(near)}?" if near else "holdfast explain lists them all"


def found(word: str) -> list[Page]:
    """The pages of one word."""
    word = word.strip().strip(",;:.")
    name = word.lower()
    if "output token maximum" in name:  # the client's whole sentence, as it was copied
        name = word = "output token maximum"
    name = name.removeprefix("--")
    others = (*remedy_pages(), *cause_pages(), *setting_pages())
    pages = [*map(with_play, look_up(word)), *(page for page in others if name in (page.name, *page.aliases))]
    return pages or [page for page in scenario_pages() if page.name == word]


def with_play(page: Page) -> Page:
    """An ending's page, and the scenarios of the lab that show it. The lab is loaded for these alone."""
    if page.kind != "ending":
        return page
    from holdfast.cli.lab import play_line
    from holdfast.lab.endings import NOT_PLAYED, shown_by

    code, _ = taken_apart(page.name)
    rows = shown_by(code)[:SHOWN_BY_MOST]
    if rows:
        same = code in (rows[0].code, rows[0].code.rpartition(".")[0])
        lines = ["In the lab:" if same else "In the lab, in another phase or by another side:"]
        lines += [f"  {play_line(row)}" for row in rows]
    else:
        _, mechanism, *phase = code.split(".")
        why = NOT_PLAYED.get(Mechanism(mechanism)) or (NOT_PLAYED.get(Phase(phase[0])) if phase else None)
        lines = [f"The lab cannot show it. {why}" if why else "The lab has no scenario that shows it."]
    return replace(page, text="\n".join((page.text, "", *lines)))


def remedy_pages() -> list[Page]:
    """The remedies of the healing table, each with its rows."""
    texts = documented_members(heal.Remedy)
    pages = []
    for remedy in heal.Remedy:
        rows = [line for row in heal.TABLE if row.remedy is remedy for line in _row(row)]
        aliases = (remedy.name.lower(), remedy.value.replace(" ", "-"))
        pages.append(Page(remedy.value, "remedy", "\n".join((texts[remedy.name], *rows)), aliases))
    return pages


def _row(row: heal.Row) -> list[str]:
    """Where a row fits, and how that is known."""
    return [
        f"  heard: {heard(row)}",
        f"  for: {', '.join((clients(row), *needs(row)))}",
        f"  source: {row.source}",
    ]


def heard(row: heal.Row) -> str:
    """What a client may have heard where a row fits."""
    if row.heard == frozenset(heal.Heard):
        return "anything"
    return ", ".join(place.value for place in heal.Heard if place in row.heard)


def clients(row: heal.Row) -> str:
    """The measured clients for which a row fits."""
    if row.profile is None:
        return "every client"
    fit = (profile.program for profile in measured_profiles() if getattr(profile, row.profile))
    return ", ".join(dict.fromkeys(fit))


def needs(row: heal.Row) -> list[str]:
    """What else a row asks for: the setting, and what may be open."""
    said = []
    if row.setting is not None:
        default = next(option.default for option in CATALOGUE if option.name == row.setting)
        said.append(f"unless --no-{row.setting}" if default else f"with --{row.setting}")
    if row.open_block is not None:
        kinds = ["no block" if kind is None else f"a {kind}" for kind in sorted(row.open_block, key=str)]
        said.append(f"where {' or '.join(kinds)} is open")
    return said


def cause_pages() -> list[Page]:
    """The causes that diagnose weighs: what each predicts, what to do about it, what would prove it wrong."""
    from holdfast.diagnosis.hypotheses import catalogue
    from holdfast.diagnosis.witnessed import witnesses

    return [
        Page(
            one.name,
            "cause",
            f"{flowing(inspect.cleandoc(one.__doc__ or ''))}\n\nWhat to do: {one.remedy}\nWrong if: {one.falsifier}.",
        )
        for one in (*catalogue(), *witnesses())
    ]


def setting_pages() -> list[Page]:
    """The settings, in the words of their own help, and where each can be written."""
    whose = {"both": "holdfast run and holdfast serve", "run": "holdfast run", "serve": "holdfast serve"}
    pages = []
    for option in CATALOGUE:
        default = "" if "[default" in option.says else f" [default: {show(option, option.default)}]"
        where = f"Of {whose[option.where]}: --{option.name}, {option.variable}, or {option.name} in the settings file."
        off = (f"no-{option.name}",) if option.kind == "flag" else ()
        pages.append(Page(option.name, "setting", f"{option.says}{default}\n\n{where}", off))
    return pages


def _everything() -> tuple[Page, ...]:
    return (*all_pages(), *remedy_pages(), *cause_pages(), *setting_pages(), *scenario_pages())


def flowing(text: str) -> str:
    """Paragraphs as one line each, to be wrapped once, at the reader's width; what is indented or listed stays."""
    joined: list[str] = []
    for line in text.split("\n"):
        goes_on = joined and joined[-1] and line and not line.startswith((" ", "- ", "* ", "|"))
        if goes_on and not joined[-1].startswith((" ", "|")):
            joined[-1] += " " + line
        else:
            joined.append(line)
    return "\n".join(joined)


def scenario_pages() -> list[Page]:
    """The lab's scenarios. Loaded only where no word of ours was meant: the lab takes longer than all words."""
    from holdfast.cli import lab
    from holdfast.lab import endings, scenarios

    pages = []
    for scenario in scenarios.CATALOGUE.values():
        lines = textwrap.dedent("\n".join(lab.page(scenario)[1:]))
        pages.append(
            Page(scenario.name, "scenario", f"{lines}\n\nholdfast lab provider --scenario {scenario.name}")
        )
    for row in endings.CATALOGUE.values():
        if row.name not in scenarios.CATALOGUE:
            lines = textwrap.dedent("\n".join(lab.ending_page(row)[1:]))
            pages.append(Page(row.name, "scenario", lines))
    return pages


def listing(width: int) -> list[str]:
    """All words with their first lines, by kind."""
    page: list[str] = []
    for kind, group in groupby(_everything(), key=lambda one: one.kind):
        rows = [(f"  {one.name}", one.first_line) for one in group]
        page += [
            _HEADINGS[kind],
            *(line if len(line) <= width else line[: width - 1] + "…" for line in columns(rows)),
            "",
        ]
    return [*page, "One page: holdfast explain NAME. An ending's code joins three parts, as in C.rst.tool."]


_BEFORE_TEXT = re.compile(r"^ *(\S+ {2,})?")
"What a line's text stands behind: its indent, and a label with two blanks or more."


def shown(page: Page, width: int) -> str:
    """A page with its heading, wrapped."""
    lines = [f"{page.name} ({page.kind})", ""]
    for line in page.text.split("\n"):
        indent = " " * (len(line) - len(_BEFORE_TEXT.sub("", line)))
        lines += textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
    return "\n".join(lines)
