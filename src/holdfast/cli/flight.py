"""`holdfast flight ID`: the story of one turn, and the explanation of its break."""

from __future__ import annotations

import json
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from holdfast import __version__
from holdfast.cli import add as adding
from holdfast.cli.errors import Failed
from holdfast.cli.viewing import json_line, local_time, opened_library, page_width, the_turn, write_private
from holdfast.flight import cuts, deidentify, flights, instant
from holdfast.flight.deidentify import Names
from holdfast.flight.reading import Library, StoredTurn
from holdfast.flight.redact import clean
from holdfast.records.match import merged
from holdfast.report import markdown as as_markdown
from holdfast.report import text as as_text
from holdfast.report.claims import Added
from holdfast.report.incident import Incident, as_plain, examine
from holdfast.report.issue import issue

FORMATS = ("text", "json", "markdown", "issue", "html")


@click.command("flight")
@click.argument("turn", metavar="ID", required=False)
@click.option(
    "--last", is_flag=True, help="The latest turn that did not end well, else that broke, else that is over."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="text; json: one object with everything; markdown: for a ticket; issue: de-identified Markdown for a vendor's "
    "tracker; html: one self-contained page.  [default: text]",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Write into this new file, which only you can read, and not to stdout.",
)
@click.option(
    "--public", is_flag=True, help="Replace what says whose it is by pseudonyms. Always so for issue."
)
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Write the pseudonyms and what they stand for into this new file, which only you can read.",
)
@adding.adds
def command(
    turn: str | None,
    last: bool,
    form: str | None,
    as_json: bool,
    out: Path | None,
    public: bool,
    key: Path | None,
    add: tuple[Path, ...] = (),
    clock: float | None = None,
) -> None:
    """Tell the story of one turn, and where it broke, explain it.

    ID is a turn's id or its beginning (see holdfast flights), the provider's request id, or the
    edge's (cf-ray). With --add, what others wrote down of this turn stands in its story at our time.

    The explanation says who closed the connection and how we know, which timer is behind it, what is
    ruled out and by what, whether it is a circle of retries, what it cost, what would prove all this
    wrong, and what to do now. Its grades: certain (seen on our own socket), likely, cannot tell.

    \b
    Examples:
      holdfast flight 01m7x2
      holdfast flight --last
      holdfast flight req_011CSHoEeqs5C35K2UUqR7Fy --json
      holdfast flight 01m7x2 --format html --out break.html
      holdfast flight 01m7x2 --format markdown --out ticket.md
      holdfast flight 01m7x2 --format issue --out issue.md --key key.json
      holdfast flight 01m7x2 --add nginx/access.log --add nginx/error.log

    \b
    Exit codes: 0 done, 1 not found or not written, 2 wrong usage.
    """
    form = _form(form, as_json)
    public = public or form == "issue"
    if key is not None and not public:
        raise click.UsageError("--key is for what is de-identified: --format issue, or --public")
    if (turn is not None) == last:
        raise click.UsageError("give the id of one turn, or --last; see: holdfast flights")
    names = Names() if public else None
    with opened_library() as library:
        found = _latest(library) if turn is None else the_turn(library, turn)
        near = library.neighbours(found.record)
        beside = adding.look_near(add, library, found, clock)
    added = adding.lines(beside, found) if beside else []
    said = adding.said(beside, found) if beside else []
    if names is not None:
        found, near = _public(found, names), [_public(one, names) for one in near]
        added = [_public_line(line, names) for line in added]
        said = [_public_said(one, names) for one in said]
    row = cuts.row_of(found.record, [one.record for one in near], instant.now().wall_ms)
    incident = examine(found, near, cut=row, made_by=f"holdfast {__version__}", added=said)
    incident = replace(incident, lines=tuple(merged(list(incident.lines), added)))
    page = _rendered(form, found, incident, row, beside, names)
    if out is None:
        click.echo(page)
    else:
        write_private(out, page + "\n")
        click.echo(f"Wrote {clean(str(out))}.", err=True)
    if names is not None:
        _say_removed(names, form)
        if key is not None:
            write_private(key, json.dumps(names.key(), indent=2) + "\n")
            click.echo(
                f"The pseudonyms and what they stand for are in {clean(str(key))}: keep it to yourself.",
                err=True,
            )


def _form(form: str | None, as_json: bool) -> str:
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json is --format json; leave one of --json and --format {form} out")
    return "json" if as_json else form or "text"


def _latest(library: Library) -> StoredTurn:
    found = library.last()
    if found is None:
        raise Failed("no turn is recorded yet; carry one first, for example with: holdfast run -- claude")
    return found


def _public(turn: StoredTurn, names: Names) -> StoredTurn:
    """The turn without what says whose it is."""
    code = turn.ending_code and deidentify.text(turn.ending_code, names)
    return replace(turn, record=deidentify.record(turn.record, names), instance_id="", ending_code=code)


def _public_line(line: flights.Line, names: Names) -> flights.Line:
    """A line of somebody else's log: all of it is text from elsewhere."""
    return replace(line, text=deidentify.text(line.text, names), by=deidentify.text(line.by, names))


def _public_said(one: Added, names: Names) -> Added:
    """What an added file says, without whose it is; its note is our own."""
    return replace(one, place=deidentify.text(one.place, names), says=deidentify.text(one.says, names))


def _rendered(
    form: str,
    turn: StoredTurn,
    incident: Incident,
    row: cuts.Row | None,
    beside: adding.Beside | None,
    names: Names | None,
) -> str:
    """The page in its format, without its last newline."""
    match form:
        case "json":
            return json_line(_json(turn, incident, row, beside if names is None else None))
        case "markdown":
            page = [as_markdown.page(incident)]
            if beside and names is None:
                page += ["## What was added", "", *as_markdown.block(adding.page(beside, turn, None))]
            return "\n".join(page).rstrip("\n")
        case "issue":
            return issue(incident).rstrip("\n")
        case "html":
            from holdfast.report import html

            return html.page(incident, public=names is not None).rstrip("\n")
        case _:
            page = told(turn, list(incident.lines), page_width(), row)
            page += ["", *as_text.render(incident, page_width())]
            if beside and names is None:
                page += ["", *adding.page(beside, turn, page_width())]
            return "\n".join(page)


def _json(
    turn: StoredTurn, incident: Incident, row: cuts.Row | None, beside: adding.Beside | None
) -> dict[str, Any]:
    data = flights.as_json(turn, row)
    data["moments"] = flights.moments_as_json(turn.record, flights.story(turn.record))
    data["incident"] = None if incident.well else as_plain(incident)
    return data | (adding.as_json(beside, turn) if beside else {})


def _say_removed(names: Names, form: str) -> None:
    click.echo(f"De-identified; replaced or removed: {names.in_words() or 'nothing had to be'}.", err=True)
    if form == "issue":
        click.echo("Read it before you send it: what is said of you in it is yours to judge.", err=True)


def told(
    turn: StoredTurn, lines: list[flights.Line], width: int | None, row: cuts.Row | None = None
) -> list[str]:
    """The whole page: head, story, what came of it."""
    record = turn.record
    began = local_time(record.started.wall_ms, "%Y-%m-%d %H:%M:%S")
    head = [f"Turn {record.turn_id}, {began}"]
    facts = [
        ("client", clean(record.profile or record.agent)),
        ("model", clean(record.model or "")),
        ("upstream", clean(record.upstream)),
        ("request id", clean(record.request_id or "")),
        ("edge id", clean(record.edge_id or "")),
        (
            "session",
            clean(record.session or "") + (f", agent {clean(record.subagent)}" if record.subagent else ""),
        ),
    ]
    head += [f"  {name:<11} {value}" for name, value in facts if value]
    outcome = _outcome(turn, row)
    if width is not None:
        outcome = [part for line in outcome for part in textwrap.wrap(line, width, break_on_hyphens=False)]
    return [*head, "", *_story(lines, width), "", *outcome]


def _story(lines: list[flights.Line], width: int | None) -> list[str]:
    if not lines:
        return ["  (no moment was written down)"]
    digits = max(len(f"{line.at_s:.3f}") for line in lines)
    page = []
    for line in lines:
        stamp = f"  {line.at_s:{digits}.3f} s  "
        text = f"{line.text} ({line.by})" if line.by else line.text
        if width is None:
            page.append(stamp + text)
        else:
            page += textwrap.wrap(
                text,
                width,
                initial_indent=stamp,
                subsequent_indent=" " * len(stamp),
                break_on_hyphens=False,
            ) or [stamp]
    return page


def _outcome(turn: StoredTurn, row: cuts.Row | None) -> list[str]:
    record, lines = turn.record, []
    lines.append("In short: " + flights.summary(record, row) + ".")
    if record.ending is not None and not record.ending.completed:
        lines.append(f"It ended: {flights.ending_sentence(record.ending, evidence=False)}.")
        lines.append(f"What that means: holdfast explain {record.ending.code}")
    elif turn.ending_code and record.ending is None:
        lines.append(f"Ended as {clean(turn.ending_code)}, a word of another version of holdfast.")
    if turn.kept_bytes is not None:
        lines.append(f"The answer is in the attic: holdfast attic show {record.turn_id}")
    return lines
