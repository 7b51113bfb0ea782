"""The command `holdfast`: finds the subcommand, loads only that one, and turns a defect into one line.

Subcommands are loaded when they are called: `holdfast --help` must not pay for uvloop, rich or SQLite.
Their one-line descriptions are therefore here, in one table.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import click

from holdfast import __version__
from holdfast.cli import errors

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"What a full disk or an exhausted quota says."
REPORT_AT = "the project's issue tracker"

EXIT_CODES = """\
\b
Exit codes:
  0    done
  1    what was asked for could not be done, or was not found
  2    the command line or a setting is wrong
  69   unavailable: upstream cannot be used, or the port is taken
  70   a defect in holdfast
  130  interrupted
  `holdfast run` passes on the code of its command (128 + n if signal n ended it;
  126 it cannot be executed, 127 it was not found).
"""


class Lazy(NamedTuple):
    """A subcommand: the module of `holdfast.cli` whose attribute `command` it is, and its line in the list."""

    module: str
    summary: str


COMMANDS: dict[str, Lazy] = {
    "run": Lazy("run", "Run a command behind its own gateway."),
    "serve": Lazy("serve", "Run the gateway as a service."),
    "flights": Lazy("flights", "List recent turns, one line each."),
    "flight": Lazy("flight", "Tell the story of one turn."),
    "attic": Lazy("attic", "List, show and save answers whose client had gone."),
    "mark": Lazy("mark", "Write a note onto the timeline."),
    "diagnose": Lazy("diagnose", "Diagnose what failed, from the client's own logs."),
    "probe": Lazy("probe", "Ask the network: names, TCP, TLS, silence, sizes, hops."),
    "doctor": Lazy("doctor", "Name the fix that helps most, make it; or look at a freeze now."),
    "explain": Lazy("explain", "Explain a word: an ending, a moment, a scenario."),
    "atlas": Lazy("atlas", "Look up timers, and which of them a silence met."),
    "capture": Lazy("capture", "Capture the packets around a gateway, secrets overwritten."),
    "captures": Lazy("captures", "Tell from packets who closed each connection."),
    "demo": Lazy("demo", "Play the freeze without and with the gateway."),
    "export": Lazy("export", "Write the journal into Parquet files."),
    "forget": Lazy("forget", "Erase what was recorded."),
    "lab": Lazy("lab", "Run the built-in provider that breaks on purpose."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"holdfast.cli.{COMMANDS[cmd_name].module}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else " See: holdfast --help"
            ctx.fail(f"there is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in COMMANDS.items()])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click does it; and what cannot be written for want of room is no defect, not even of `--help`."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            errors.give_up_output()
            with suppress(OSError):
                click.echo(
                    f"Error: writing failed: {error.strerror}. Make room, or write elsewhere.", err=True
                )
            sys.exit(errors.FAILED)

    def invoke(self, ctx: click.Context) -> Any:
        refuse_unsupported_platform(sys.platform)
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.ClickException, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            ctx.exit(errors.INTERRUPTED)
        except Exception as defect:
            if (said := _not_ours(defect)) is not None:
                raise said from None
            if os.environ.get("HOLDFAST_DEBUG") == "1" or getattr(defect, "errno", None) in NO_ROOM:
                raise
            click.echo(describe_defect(defect), err=True)
            ctx.exit(errors.DEFECT)


def _not_ours(defect: Exception) -> click.ClickException | None:
    """What is wrong with the state directory's name comes from wherever it is first asked for."""
    from holdfast.flight.state import StateError

    return errors.Misused(f"{defect}.") if isinstance(defect, StateError) else None


def refuse_unsupported_platform(platform: str) -> None:
    """Raise where Holdfast has not been made to work yet."""
    if platform == "win32":
        raise errors.Failed(
            "Windows is not supported yet: Linux and macOS are. Under Windows, run holdfast inside WSL 2."
        )


def describe_defect(defect: Exception) -> str:
    """One line: what happened, where in our code, and what to do with it."""
    frames = traceback.extract_tb(defect.__traceback__)
    ours = [frame for frame in frames if "holdfast" in frame.filename]
    place = f" ({Path((ours or frames)[-1].filename).name}:{(ours or frames)[-1].lineno})" if frames else ""
    said = " ".join(str(defect).split())[:300]
    return (
        f"Error: holdfast {__version__} failed on a defect of its own: {type(defect).__name__}: {said}{place}. "
        f"Run it again with HOLDFAST_DEBUG=1 and report what it prints to {REPORT_AT}."
    )


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, prog_name="holdfast", message="%(prog)s %(version)s")
def main() -> None:
    """Carry long model answers through silence, hang-ups and resets, and say why they broke.

    \b
    Examples:
      holdfast run -- claude             run Claude Code behind a gateway of its own
      holdfast flights                   what happened to its turns
      holdfast demo                      see it without key, client or network
    """
