"""`holdfast attic`: answers whose client had gone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from holdfast.cli.errors import FAILED, Failed
from holdfast.cli.kept import Contents, Text, ToolCall, files_of, read_answer, written_file
from holdfast.cli.viewing import columns, json_line, local_time, opened_library
from holdfast.flight import flights
from holdfast.flight.attic import KeptAnswer
from holdfast.flight.reading import Library
from holdfast.flight.redact import clean

DEFAULT_DIRECTORY = "holdfast-attic"


@click.group("attic")
def command() -> None:
    """List, show, save and remove answers whose client had gone.

    They are kept for 7 days and up to 1 GB. ID is a turn's id or its beginning.

    \b
    Examples:
      holdfast attic list
      holdfast attic show 01m7x2
      holdfast attic save 01m7x2

    \b
    Exit codes: 0 done, 1 nothing found, 2 wrong usage.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_command(as_json: bool) -> None:
    """List kept answers, the newest first.

    \b
    Example:
      holdfast attic list
    """
    with opened_library() as library:
        answers = library.attic.answers()
        if not answers:
            click.echo("The attic is empty: every answer was heard to its end, or none is kept.", err=True)
            raise SystemExit(FAILED)
        if as_json:
            for answer in answers:
                click.echo(json_line(_as_json(answer)))
            return
        rows = [
            ("TURN", "KEPT", "SIZE", "ANSWER", "HANDED OVER", "FROM"),
            *(_row(library, one) for one in answers),
        ]
        click.echo("\n".join(columns(rows)))


def _as_json(answer: KeptAnswer) -> dict[str, Any]:
    return {
        "turn_id": answer.turn_id,
        "kept_wall_ms": answer.kept_wall_ms,
        "bytes": answer.size,
        "complete": answer.complete,
        "content_type": answer.content_type,
        "handed_over": answer.handed_over,
    }


def _row(library: Library, answer: KeptAnswer) -> tuple[str, ...]:
    turns = library.find(answer.turn_id)
    of = turns[0].record if turns else None
    return (
        answer.turn_id,
        local_time(answer.kept_wall_ms),
        flights.size(answer.size),
        "whole" if answer.complete else "unfinished",
        "to a retry" if answer.handed_over else "-",
        clean(" ".join(word for word in (of.profile, of.model) if word)) if of else "-",
    )


@command.command("show")
@click.argument("turn", metavar="ID")
def show_command(turn: str) -> None:
    """Show a kept answer: its text and each tool call's arguments.

    \b
    Example:
      holdfast attic show 01m7x2 | less
    """
    with opened_library() as library:
        answer = _the_answer(library, turn)
        contents = read_answer(_read(library, answer), answer.content_type)
    click.echo("\n\n".join(_shown(contents, answer)))


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
    if not contents.parts:
        yield "(no text and no tool call in it)"
    for part in contents.parts:
        yield _shown_text(part) if isinstance(part, Text) else _shown_call(part)
    if contents.error:
        yield f"(the provider reported {clean(contents.error)})"
    if not contents.complete or not answer.complete:
        yield "(the answer was cut off here)"


def _shown_text(part: Text) -> str:
    return clean(part.text, limit=None, lines=True)


def _shown_call(call: ToolCall) -> str:
    head = f"== tool call: {clean(call.tool)}" + ("" if call.complete else " (cut off)")
    if isinstance(call.arguments, dict):
        return "\n".join([head, *(_shown_argument(name, value) for name, value in call.arguments.items())])
    written = written_file(call)
    if written is not None:
        return "\n".join(
            [head, _shown_argument("file_path", written[0]), _shown_argument("content", written[1])]
        )
    raw = call.partial if call.arguments is None else json.dumps(call.arguments, ensure_ascii=False, indent=2)
    return "\n".join([head, clean(raw, limit=None, lines=True)])


def _shown_argument(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
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
        files = files_of(read_answer(_read(library, answer), answer.content_type))
    if not files:
        raise Failed("there is no text and no tool call in this answer; look at it with: holdfast attic show")
    target = directory or Path(DEFAULT_DIRECTORY, answer.turn_id)
    try:
        with _opened_directory(target, trusted=directory is not None) as descriptor:
            for file in files:
                name = write_new(descriptor, file.name, file.text)
                click.echo(
                    f"{clean(str(target / name))}  {flights.size(len(file.text.encode('utf-8', 'replace')))}"
                )
    except OSError as error:
        raise Failed(
            f"cannot save into {clean(str(target))} ({error.strerror}); choose another directory with --to"
        ) from error


@contextmanager
def _opened_directory(target: Path, *, trusted: bool) -> Iterator[int]:
    """Make the directory and open it; our own default path is walked without following links."""
    if trusted:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    else:
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        for part in target.parts:
            above = descriptor
            try:
                if not _exists(part, above):
                    os.mkdir(part, 0o700, dir_fd=above)
                descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
            finally:
                os.close(above)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _exists(name: str, descriptor: int) -> bool:
    try:
        os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def write_new(directory: int, name: str, text: str) -> str:
    """Write a file that was not there before, and return the name it got: `name`, or with -2, -3, ..."""
    stem, dot, ending = name.rpartition(".") if not name.startswith(".") else (name, "", "")
    if not dot:
        stem, ending = name, ""
    for number in range(1, 1000):
        tried = name if number == 1 else f"{stem}-{number}{dot}{ending}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(tried, flags, 0o600, dir_fd=directory)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "replace"))
        return tried
    raise FileExistsError(17, f"a thousand files named {name} are there already")


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
