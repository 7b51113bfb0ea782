"""Writes docs/reference.md: commands, settings and vocabularies, from the same objects that the program runs on.

`make docs` calls it; a test compares the file with what it would write now.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

import click

from holdfast.cli import catalogue
from holdfast.cli.main import main
from holdfast.flight import columns, endings, moments
from holdfast.telemetry import tables

WIDTH = 100


def reference() -> str:
    """The whole page."""
    parts = [
        "# Reference",
        "Written by `make docs` from the program itself; do not edit.",
        *_commands(),
        *_settings(),
        *_moments(),
        *_endings(),
        *_columns(),
        *_tables(),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def command_paths(command: click.Command, path: str = "holdfast") -> Iterable[tuple[str, click.Command]]:
    """Every command that can be called, with its whole name, the group itself first."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from command_paths(child, f"{path} {name}")


def help_of(path: str, command: click.Command) -> str:
    """What `--help` prints, at a fixed width."""
    parent, _, name = path.rpartition(" ")
    above = click.Context(main, info_name=parent) if parent else None
    context = command.context_class(
        command,
        info_name=name,
        parent=above,
        max_content_width=WIDTH,
        terminal_width=WIDTH,
        help_option_names=main.context_settings["help_option_names"],
    )
    return command.get_help(context)


def _commands() -> Iterable[str]:
    yield "## Commands"
    for path, command in command_paths(main):
        yield f"### {path}"
        yield f"```text\n{help_of(path, command)}\n```"


def _settings() -> Iterable[str]:
    yield "## Settings"
    yield (
        "A flag wins over a variable, a variable over the file, the file over the default. The file is TOML: `--config "
        "FILE`, or `$XDG_CONFIG_HOME/holdfast/config.toml` if there is one. Durations are written like `10s`, `45m` or "
        "`1h30m`, sizes like `256KB` or `64MB`. `--check` prints what is in force and where each value is from."
    )
    rows = ["| key and flag | variable | default | of | what it is |", "| --- | --- | --- | --- | --- |"]
    for option in catalogue.CATALOGUE:
        says = option.says.partition(" [default")[0]
        where = "`run`, `serve`" if option.where == "both" else f"`{option.where}`"
        default = _default(option)
        rows.append(f"| `{option.name}` | `{option.variable}` | {default} | {where} | {says} |")
    yield "\n".join(rows)
    rows = ["| variable alone | what it is |", "| --- | --- |"]
    rows += [f"| `{name}` | {says} |" for name, says in catalogue.ELSEWHERE.items()]
    yield "\n".join(rows)


def _default(option: catalogue.Option) -> str:
    _, told, rest = option.says.partition("[default: ")
    return rest.removesuffix("]") if told else catalogue.show(option, option.default)


def _moments() -> Iterable[str]:
    yield "## Moments"
    yield "What a flight is told in. `holdfast explain NAME` prints one of these."
    for name, kind in sorted(vars(moments).items()):
        if inspect.isclass(kind) and issubclass(kind, moments.Moment) and kind is not moments.Moment:
            names = ", ".join(f"`{name}`" for name in kind.__annotations__)
            yield f"**{name}**: {_sentence(kind)}" + (f" Tells {names}." if names else "")


def _endings() -> Iterable[str]:
    yield "## Endings"
    yield "An ending's code is side, mechanism and phase: `C.rst.tool` is a reset by the client inside a tool call."
    kinds: tuple[type[Enum], ...] = (endings.Side, endings.Mechanism, endings.Phase)
    for kind in kinds:
        rows = [f"| {kind.__name__.lower()} | name |", "| --- | --- |"]
        rows += [f"| `{member.value}` | {member.name.lower().replace('_', ' ')} |" for member in kind]
        yield "\n".join(rows)


def _columns() -> Iterable[str]:
    yield "## Columns and words of reports"
    yield "`holdfast explain` prints each of these. In `--format json` a column's name has underscores."
    for heads, of in (
        (columns.LISTS, "column of a list"),
        (columns.TABLES, "column of `holdfast diagnose`"),
        (columns.BEFORE_LINES, "word before a line of `holdfast diagnose`"),
    ):
        rows = [f"| {of} | what it is |", "| --- | --- |"]
        rows += [f"| {head} | {says} |" for head, says in heads.items()]
        yield "\n".join(rows)


def _tables() -> Iterable[str]:
    yield "## Tables of the journal"
    yield (
        "What `holdfast flights --sql` asks and `holdfast export` writes. Times are whole milliseconds: `_wall_ms` is wall "
        "time since 1970 (UTC), `_at_ms` is counted from the turn's start, `_ms` alone is a duration. NULL is \"not "
        f'measured" or "did not happen", never 0. This is version {tables.SCHEMA_VERSION} of the schema; it goes up when '
        "a column changes its name, type or meaning, or goes."
    )
    for table in tables.TABLES:
        yield f"### Table {table.name}"
        yield table.says
        rows = ["| column | type | what it is |", "| --- | --- | --- |"]
        rows += [f"| `{column.name}` | {column.type} | {column.says} |" for column in table.columns]
        yield "\n".join(rows)


def _sentence(thing: type) -> str:
    return " ".join((inspect.getdoc(thing) or "").split())


def write(path: Path) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
