"""Errors that end a command: one line that says what is wrong and what to try next, and an exit code.

The codes above 63 are those of sysexits.h, so that a service manager or a script can tell them apart.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import click

FAILED = 1
USAGE = 2
UNAVAILABLE = 69
"EX_UNAVAILABLE: an upstream that cannot be used, a port that is taken."
DEFECT = 70
"EX_SOFTWARE: a defect of Holdfast's own."
NOT_EXECUTABLE = 126
NOT_FOUND = 127
INTERRUPTED = 130


class Failed(click.ClickException):
    """Something asked for could not be done."""

    exit_code = FAILED


class Misused(click.ClickException):
    """The command line, a variable or a settings file says something that cannot be meant."""

    exit_code = USAGE


class Unavailable(click.ClickException):
    """Upstream, port or certificate: something outside is not there to be used."""

    exit_code = UNAVAILABLE


class NotExecutable(click.ClickException):
    """The command of `run` is there and cannot be executed; the shell's own code for it."""

    exit_code = NOT_EXECUTABLE


class NotFound(click.ClickException):
    """The command of `run` is not there; the shell's own code for it."""

    exit_code = NOT_FOUND


def give_up_output() -> None:
    """Let what cannot be written not fail once more when the interpreter ends."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:  # closed before we came
            continue
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), stream.fileno())
