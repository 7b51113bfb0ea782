"""`holdfast attic`: answers whose client had gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from holdfast.cli.errors import FAILED, Failed
from holdfast.cli.going_on import cut_off, note, thinking_only, why_nothing
from holdfast.cli.kept import Contents, File, Text, ToolCall, as_json, files_of, read_answer, safe_name
from holdfast.cli.saving import saved
from holdfast.cli.viewing import columns, indented, json_line, local_time, opened_library, page_width
from holdfast.flight import flights
from holdfast.flight.attic import KeptAnswer
from holdfast.flight.reading import Library
from holdfast.flight.redact import clean

NARROW = 5
"So many of the columns stand in a row on a terminal that all of them do not fit into; the others below it."

HEAD = ("TURN", "KEPT", "SIZE", "ANSWER", "HANDED OVER", "WRITING", "FROM")


@click.group("attic")
def command() -> None:
    """List, show, save and remove answers whose client had gone.

    They are kept for 7 days and up to 1 GB. ID is a turn's id or its beginning.

    \b
    Examples:
      holdfast attic list
      holdfast attic show 01m7x2
      holdfast attic save 01m7x2
      holdfast attic show 01m7x2 --continue

    \b
    Exit codes: 0 done, 1 nothing found, 2 wrong usage.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_command(as_json: bool) -> None:
    """List kept answers, the newest first.

    WRITING is the last tool that the answer called, or was calling when it broke, and the file it named.

    \b
    Example:
      holdfast attic list
    """
    with opened_library() as library:
        answers = library.attic.answers()
        if not answers:
            click.echo(
                "The attic is empty: no answer was left unheard, or broken inside a tool call, or none is kept.",
                err=True,
            )
            raise SystemExit(FAILED)
        if as_json:
            for answer in answers:
                click.echo(json_line(_as_json(answer)))
            return
        rows = [
            HEAD,
            *(_row(library, one) for one in answers),
        ]
        click.echo("\n".join(_lines(rows)))


def _lines(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The rows; on a terminal that one does not fit into, what was written and by whom stands below it."""
    room, whole = page_width(), columns(rows)
    if room is None or all(len(line) <= room for line in whole):
        return whole
    heads = columns([row[:NARROW] for row in rows])
    below = ["", *(", ".join(cell for cell in row[NARROW:] if cell != "-") for row in rows[1:])]
    return [line for head, more in zip(heads, below, strict=True) for line in (head, *indented(more, room))]


def _as_json(answer: KeptAnswer) -> dict[str, Any]:
    return {
        "turn_id": answer.turn_id,
        "kept_wall_ms": answer.kept_wall_ms,
        "bytes": answer.size,
        "complete": answer.complete,
        "content_type": answer.content_type,
        "handed_over": answer.handed_over,
        **asdict(answer.about),
    }


def _row(library: Library, answer: KeptAnswer) -> tuple[str, ...]:
    turns = library.find(answer.turn_id)
    of = turns[0].record if turns else None
    words = (of.profile, of.model) if of else (answer.about.model,)
    writing = (answer.about.tool, safe_name(answer.about.path) if answer.about.path else None)
    return (
        answer.turn_id,
        local_time(answer.kept_wall_ms),
        flights.size(answer.size),
        "whole" if answer.complete else "unfinished",
        "to a retry" if answer.handed_over else "-",
        clean(" ".join(word for word in writing if word), limit=40) or "-",
        clean(" ".join(word for word in words if word)) or "-",
    )


@command.command("show")
@click.argument("turn", metavar="ID")
@click.option(
    "--continue",
    "goes_on",
    is_flag=True,
    help="Print a note for the client instead: go on from where it broke.",
)
@click.option(
    "--to", "directory", type=click.Path(path_type=Path), help="With --continue: directory to save into."
)
def show_command(turn: str, goes_on: bool, directory: Path | None) -> None:
    """Show a kept answer: its text and each tool call's arguments.

    With --continue, print a note to paste to the client, so that it goes on with what was cut off and does
    not write it all again; the part that came is saved first, if it has not been.

    \b
    Examples:
      holdfast attic show 01m7x2 | less
      holdfast attic show 01m7x2 --continue
    """
    if directory is not None and not goes_on:
        raise click.UsageError(
            "--to says where --continue saves; to save files: holdfast attic save ID --to DIR"
        )
    with opened_library() as library:
        answer = _the_answer(library, turn)
        contents = read_answer(_read(library, answer), answer.content_type)
    if not goes_on:
        click.echo("\n\n".join(_shown(contents, answer)))
        return
    file = cut_off(contents)
    if file is None:
        raise Failed(why_nothing(contents, answer.turn_id))
    [(path, new)] = saved([file], answer.turn_id, directory, again=False)
    if new:
        click.echo(f"Saved {_told(path, file)}", err=True)
    click.echo("\n".join(note(file, path.absolute())))


def _the_answer(library: Library, start: str) -> KeptAnswer:
    found = library.attic.find(start.strip()) if start.strip() else []
    if not found:
        raise Failed(f"no kept answer has an id that begins with {clean(start)!r}; see: holdfast attic list")
    if len(found) > 1:
        raise Failed(f"{clean(start)!r} fits {len(found)} kept answers; give more of the id")
    return found[0]


def _read(library: Library, answer: KeptAnswer) -> bytes:
    try:
        return library.attic.read(answer)
    except OSError as error:
        raise Failed(
            f"the answer of {answer.turn_id} cannot be read ({error.strerror}); "
            f"take it off the list with: holdfast attic rm {answer.turn_id}"
        ) from error


def _shown(contents: Contents, answer: KeptAnswer) -> Iterator[str]:
    """The answer in paragraphs, safe to print."""
    head = _head(answer)
    if head:
        yield head
    if not contents.parts:
        yield f"({thinking_only(contents)})" if contents.thinking else "(no text and no tool call in it)"
    for part in contents.parts:
        yield _shown_text(part) if isinstance(part, Text) else _shown_call(part)
    if contents.error:
        yield f"(the provider reported {clean(contents.error)})"
    if contents.cut or not contents.complete or not answer.complete:
        yield "(the answer was cut off here)"


def _head(answer: KeptAnswer) -> str:
    """What it answers: `(asked of claude-x: 14 messages, 812 kB, 12 tools offered; the last call: Write /src/a.py)`."""
    about = answer.about
    facts = [
        flights.counted(about.messages, "message") if about.messages is not None else "",
        flights.size(about.request_bytes) if about.request_bytes is not None else "",
        f"{flights.counted(about.tools, 'tool')} offered" if about.tools is not None else "",
    ]
    said = [
        f"asked of {clean(about.model)}" if about.model else "",
        ", ".join(fact for fact in facts if fact),
        f"last call: {clean(' '.join(word for word in (about.tool, about.path) if word))}"
        if about.tool
        else "",
    ]
    told = "; ".join(part for part in said if part)
    return f"({told})" if told else ""


def _shown_text(part: Text) -> str:
    return clean(part.text, limit=None, lines=True)


def _shown_call(call: ToolCall) -> str:
    head = f"== tool call: {clean(call.tool)}" + ("" if call.complete else " (cut off)")
    if isinstance(call.arguments, dict):
        return "\n".join([head, *(_shown_argument(name, value) for name, value in call.arguments.items())])
    if call.given:
        return "\n".join([head, *(_shown_argument(name, value) for name, value in call.given.items())])
    raw = call.partial if call.arguments is None else as_json(call.arguments, indent=2)
    return "\n".join([head, clean(raw, limit=None, lines=True)])


def _shown_argument(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else as_json(value, indent=2)
    safe = clean(text, limit=None, lines=True)
    return f"-- {clean(name)}:\n{safe}" if "\n" in safe else f"-- {clean(name)}: {safe}"


@command.command("save")
@click.argument("turn", metavar="ID")
@click.option("--to", "directory", type=click.Path(path_type=Path), help="Directory to write into.")
def save_command(turn: str, directory: Path | None) -> None:
    """Save a kept answer as files: its text, each file that it wrote, each other tool call's arguments.

    They go into ./holdfast-attic/ID/ or the directory given, never anywhere else, whatever path the model
    asked for. Nothing is overwritten: a name that is taken gets -2. What was cut off is named .partial.

    \b
    Examples:
      holdfast attic save 01m7x2
      holdfast attic save 01m7x2 --to recovered
    """
    with opened_library() as library:
        answer = _the_answer(library, turn)
        contents = read_answer(_read(library, answer), answer.content_type)
    files = files_of(contents)
    if not files and contents.thinking:
        raise Failed(f"{thinking_only(contents)}; there is nothing to save")
    if not files:
        raise Failed("there is no text and no tool call in this answer; look at it with: holdfast attic show")
    for (path, _), file in zip(saved(files, answer.turn_id, directory), files, strict=True):
        click.echo(_told(path, file))
    if cut_off(contents) is not None:
        click.echo(
            f"To let the client go on from there: holdfast attic show {answer.turn_id} --continue", err=True
        )


def _told(path: Path, file: File) -> str:
    """`holdfast-attic/01m7x2/a.py.partial  14 kB  cut off in line 813, after 17 characters`."""
    size = flights.size(len(file.text.encode("utf-8", "replace")))
    partial = file.name.endswith(".partial") and file.end is None
    end = file.end.sentence() if file.end else "the text came whole, its call did not" if partial else ""
    return "  ".join(part for part in (clean(str(path), limit=None), size, end) if part)


@command.command("rm")
@click.argument("turns", metavar="ID...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Remove every kept answer.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def remove_command(turns: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Remove kept answers.

    \b
    Examples:
      holdfast attic rm 01m7x2
      holdfast attic rm --all --yes
    """
    if bool(turns) == everything:
        raise click.UsageError("give the ids of the answers to remove, or --all")
    with opened_library() as library:
        answers = library.attic.answers() if everything else [_the_answer(library, turn) for turn in turns]
        total = flights.size(sum(answer.size for answer in answers))
        if everything and not yes:
            click.confirm(f"Remove {flights.counted(len(answers), 'kept answer')} ({total})?", abort=True)
        removed = library.attic.remove([answer.turn_id for answer in answers])
    click.echo(f"Removed {flights.counted(removed, 'kept answer')}, {total}.")
