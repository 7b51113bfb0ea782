"""`holdfast forget`: erase what was recorded."""

from __future__ import annotations

import sqlite3
import time

import click

from holdfast.cli.errors import FAILED, Failed
from holdfast.cli.viewing import span
from holdfast.flight import flights
from holdfast.flight.forgetting import Forgotten, forget_all, forget_before
from holdfast.flight.redact import clean
from holdfast.flight.schema import JournalError
from holdfast.flight.state import (
    ANSWERS,
    CAPTURES,
    JOURNAL,
    PROBES,
    RUN_LOGS,
    StateError,
    make_private,
    state_path,
)
from holdfast.probes.kept import forget as forget_probes
from holdfast.sessions.store import forget as forget_sessions
from holdfast.sessions.store import stores


@click.command("forget")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--older-than", type=span, metavar="SPAN", help="Only what is older: 12h, 7d.")
def command(yes: bool, older_than: float | None) -> None:
    """Erase what was recorded: flights, kept answers, spool, the log of `run`, what diagnose
    read and probes found.

    It works beside a running gateway: turns under way stay until they are over.

    \b
    Examples:
      holdfast forget
      holdfast forget --older-than 7d --yes

    \b
    Exit codes: 0 done, 1 nothing there or not done, 2 wrong usage.
    """
    directory = state_path()
    read = stores(directory)
    if not read and not any(
        (directory / name).exists() for name in (JOURNAL, ANSWERS, CAPTURES, PROBES, *RUN_LOGS)
    ):
        click.echo(f"Nothing is recorded in {directory}.", err=True)
        raise SystemExit(FAILED)
    if not yes:
        age = f" that is older than {flights.duration(older_than)}" if older_than is not None else ""
        click.confirm(f"Erase everything{age} in {directory}? It cannot be brought back.", abort=True)
    try:
        make_private(directory)
        before = None if older_than is None else int((time.time() - older_than) * 1000)
        gone = forget_all(directory) if before is None else forget_before(directory, before)
        failures = forget_sessions(directory, before)
        # Beside a living gateway the files stay, and only their rows go.
        forget_probes(directory, 1 << 62 if before is None else before)
    except (JournalError, StateError) as error:
        raise Failed(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        raise Failed(
            f"{directory} could not be erased ({clean(str(error))}); try again in a moment"
        ) from error
    click.echo(report(gone))
    if read:
        click.echo(f"Erased {flights.counted(failures, 'failure record')} that diagnose had read.")


def report(gone: Forgotten) -> str:
    """What went, and what stays."""
    turns = (
        "the journal (it could not be read)" if gone.turns is None else flights.counted(gone.turns, "turn")
    )
    answers = f"{flights.counted(gone.answers, 'kept answer')} ({flights.size(gone.answer_bytes)})"
    lines = [f"Erased {turns} and {answers}."]
    if gone.unfinished:
        lines.append(
            f"{flights.counted(gone.unfinished, 'unfinished turn')} of a running gateway stayed; "
            "run this again when it has ended."
        )
    return "\n".join(lines)
