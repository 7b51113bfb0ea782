"""Claude Code behind what starts it: `env X=1 claude`, `timeout 1h npx claude`, `bash -lc 'claude -p hi'`.

A settings file beats the environment, so the gateway's address wins only as an option of Claude Code's own (`claude`).
It has to be put behind the program's name, wherever that is: behind programs that start another and are known here by
the grammar of their options, and in a shell's script where the program is the first thing that it runs. What is not
known to be Claude Code is left alone: an option put into the wrong program would break it.

Pure: values in, values out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from types import MappingProxyType

from holdfast.cli import claude


@dataclass(frozen=True, slots=True)
class Launcher:
    """How a program that starts another is written."""

    valued: str = ""
    "Its options that take the next word as their value."
    words: int = 0
    "Words of its own between its options and the command."
    verbs: str = ""
    "One of these has to come first, where there are any: `npm exec`."
    dashes: bool = False
    "Whether the command begins behind `--` and nowhere else."
    assigns: bool = False
    "Whether `NAME=VALUE` may stand before the command."
    alters: bool = False
    "Whether it may change variables or the directory by itself."


_PACKAGES = Launcher("-p --package -w --workspace")
LAUNCHERS = {
    "bunx": Launcher("-p --package"),
    "caffeinate": Launcher("-t -w"),
    "direnv": Launcher(verbs="exec", words=1, alters=True),
    "doppler": Launcher(verbs="run", dashes=True, alters=True),
    "dotenv": Launcher("-e -c -v -p", alters=True),
    "env": Launcher("-u --unset -C --chdir", assigns=True),
    "gtimeout": Launcher("-k --kill-after -s --signal", words=1),
    "ionice": Launcher("-c --class -n --classdata"),
    "mise": Launcher(verbs="exec x", dashes=True, alters=True),
    "nice": Launcher("-n --adjustment"),
    "nohup": Launcher(),
    "npm": Launcher(_PACKAGES.valued, verbs="exec x"),
    "npx": _PACKAGES,
    "op": Launcher(verbs="run", dashes=True, alters=True),
    "pnpm": Launcher("-C --dir", verbs="exec dlx"),
    "pnpx": _PACKAGES,
    "setsid": Launcher(),
    "stdbuf": Launcher("-i --input -o --output -e --error"),
    "sudo": Launcher(
        "-u --user -g --group -h --host -p --prompt -C -D --chdir -R -T -U -r -t",
        assigns=True,
        alters=True,
    ),
    "systemd-run": Launcher(
        "-p --property -u --unit -E --setenv --slice --description --uid --gid --nice --working-directory",
        alters=True,
    ),
    "time": Launcher("-f --format -o --output"),
    "timeout": Launcher("-k --kill-after -s --signal", words=1),
    "unbuffer": Launcher(),
    "yarn": Launcher(verbs="exec dlx"),
}
FETCHERS = ("npm", "npx", "pnpm", "pnpx", "bunx", "yarn")
"They may name the package instead of its program."
WHOLE = ("-S", "--split-string", "-c", "--call")
"Of `env` and of `npx`: one word that is a whole command line. Not taken apart."
SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish")

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_PLAIN = r"[^\s;&|<>()$`'\"\\]"
_FIRST_IN_SCRIPT = re.compile(
    rf"\s*(?:cd\s+{_PLAIN}+\s*(?:&&|;)\s*)?"
    rf"(?P<lead>(?:(?:exec|command|time|nohup|[A-Za-z_][A-Za-z0-9_]*={_PLAIN}*)\s+)*)"
    rf"(?:{_PLAIN}*/)?claude(?=[\s;&|<>()]|$)"
)


@dataclass(frozen=True, slots=True)
class Client:
    """Claude Code in a command line."""

    arguments: tuple[str, ...]
    "Its own, as far as the command line shows them."
    at: int
    "The word where they begin; or the one that holds the shell's script."
    offset: int | None = None
    "Where in that script they begin; None where no shell is between."
    assigned: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    "Variables that are set for it on the way."
    altered: bool = False
    "Whether it may find other variables, or another directory, than what started it."

    @property
    def in_script(self) -> bool:
        """Whether a shell is to start it."""
        return self.offset is not None

    def with_option(self, command: Sequence[str], name: str, value: str) -> list[str]:
        """The command line with `name value` as Claude Code's only such option; in a script there must be none yet."""
        if self.offset is None:
            return claude.with_option(command, self.at, name, value)
        script = command[self.at]
        script = f"{script[: self.offset]} {name} {shlex.quote(value)}{script[self.offset :]}"
        return [*command[: self.at], script, *command[self.at + 1 :]]


def find(command: Sequence[str]) -> Client | None:
    """Where Claude Code is in a command line; None where it is not, or cannot be told to be."""
    command, assigned = list(command), dict[str, str]()
    altered, fetched, at = False, "", 0
    while at < len(command):
        own = claude.program_at(command[at:])
        if own is None and fetched and claude.is_package(command[at]):
            own = 1
        if own is not None and fetched == "npm" and "--" not in command[:at]:
            # Up to `--` npm takes every option for its own.
            own = own + 1 if command[at + own : at + own + 1] == ["--"] else None
        if own is not None:
            return Client(tuple(command[at + own :]), at + own, None, assigned, altered)
        name = PurePath(command[at]).name
        if name in SHELLS or name == "script":
            return _behind_shell(command, at, name, assigned)
        launcher = LAUNCHERS.get(name)
        then = _after(command, at + 1, launcher) if launcher is not None else None
        if launcher is None or then is None:
            return None
        while launcher.assigns and then < len(command) and (found := _ASSIGNMENT.fullmatch(command[then])):
            assigned[found[1]] = found[2]
            then += 1
        altered |= launcher.alters or (launcher.assigns and then > at + 1)
        fetched, at = name if name in FETCHERS else "", then
    return None


def _after(command: Sequence[str], at: int, launcher: Launcher) -> int | None:
    """Where the command begins that a launcher starts, its own options and words passed over; None where it has none."""
    if launcher.verbs:
        if at >= len(command) or command[at] not in launcher.verbs.split():
            return None
        at += 1
    if launcher.dashes:
        return command.index("--", at) + 1 if "--" in command[at:] else None
    valued = launcher.valued.split()
    while at < len(command) and command[at].startswith("-"):
        word = command[at]
        at += 2 if word in valued else 1
        if word == "--":
            break
        if word.partition("=")[0] in WHOLE and word not in valued:
            return None
    at += launcher.words
    return at if at < len(command) else None


# -- in a shell's script -----------------------------------------------------------------------------------


def _behind_shell(command: Sequence[str], at: int, name: str, assigned: Mapping[str, str]) -> Client | None:
    if name == "script":
        place = _typescript(command, at + 1)
        if place is not None and place[1]:
            inner = find(command[place[0] :])
            return inner and _moved(inner, place[0], assigned)
    else:
        place = _shell_script(command, at + 1)
    if place is None:
        return None
    return _in_script(command, place[0], assigned)


def _moved(inner: Client, by: int, assigned: Mapping[str, str]) -> Client:
    return Client(inner.arguments, inner.at + by, inner.offset, {**assigned, **inner.assigned}, altered=True)


def _shell_script(command: Sequence[str], at: int) -> tuple[int, bool] | None:
    """Which word is the script of `sh -c`, `bash -lc`; None where a file is run."""
    is_script = False
    while at < len(command):
        word = command[at]
        if word.startswith(("--rcfile", "--init-file")) or not word:
            return None
        if word == "--" or not word.startswith(("-", "+")):
            at += word == "--"
            return (at, False) if is_script and at < len(command) else None
        if not word.startswith("--"):
            is_script |= "c" in word[1:]
            at += word.endswith(("o", "O"))
        at += 1
    return None


def _typescript(command: Sequence[str], at: int) -> tuple[int, bool] | None:
    """Of script(1): which word is the script of its `-c` (Linux), or begins the command behind the file's name (BSD)."""
    while at < len(command) and command[at].startswith("-"):
        word = command[at]
        at += 1
        if word == "--":
            break
        if word == "--command" or re.fullmatch(r"-[a-zA-Z]*c", word):
            return (at, False) if at < len(command) else None
        if re.fullmatch(r"-[a-zA-Z]*[EIOBTomt]", word) and word != "-t":
            at += 1
    return (at + 1, True) if at + 1 < len(command) else None


def _in_script(command: Sequence[str], at: int, assigned: Mapping[str, str]) -> Client | None:
    """Claude Code as the first program of a script. A shell may have read files of its own, so it counts as altered."""
    script = command[at]
    found = _FIRST_IN_SCRIPT.match(script)
    if found is None:
        return None
    own = dict(word.split("=", 1) for word in found["lead"].split() if "=" in word)
    # What a script gets behind its own name it may hand on ("$@").
    arguments = (*_words(script[found.end() :]), *command[at + 2 :])
    return Client(arguments, at, found.end(), {**assigned, **own}, altered=True)


def _words(rest: str) -> list[str]:
    """The words of a script up to the end of its first command, as far as they can be told without running it."""
    reader = shlex.shlex(rest.partition("\n")[0], posix=True, punctuation_chars=True)
    reader.whitespace_split, reader.commenters = True, ""
    words: list[str] = []
    try:
        for word in reader:
            if set(word) <= set("();<>|&"):
                break
            words.append(word)
    except ValueError:
        # An open quotation mark: the shell will refuse it, or it goes on in the next line.
        return words
    return words
