"""What each version of the client logs in each mode: `logs_what.toml` beside this file, as data.

Logs select on outcome: a version that logs no failed try has no failures on record, and is no better for it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Mode = Literal["interactive", "print"]
LOGGED, NOT_LOGGED, BEFORE, UNLESS = "logged", "not logged", "before the stream", "unless recovered"
"What becomes of failed tries, as the table says it."
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class LogsWhat:
    """One measured cell."""

    version: str
    mode: Mode
    tries: str
    "`logged`, `not logged`, `before the stream`, `unless recovered`."
    cut: str
    "How a broken message looks: `no stop reason`, `as if whole`."
    turn_times: bool
    hides: str

    @property
    def sentence(self) -> str:
        """`2.1.86 print mode logs no failed try`."""
        said = {
            LOGGED: "logs every failed try",
            NOT_LOGGED: "logs no failed try",
            BEFORE: "logs failed tries only before the answer begins",
            UNLESS: "logs no failed try of a turn that succeeds later",
        }[self.tries]
        return f"{self.version} {self.mode} mode {said}"


@cache
def table() -> tuple[LogsWhat, ...]:
    """Every measured cell."""
    text = files("holdfast.sessions").joinpath("logs_what.toml").read_text(encoding="utf-8")
    return tuple(LogsWhat(**row) for row in tomllib.loads(text)["row"])


def number(version: str) -> tuple[int, ...] | None:
    """`2.1.86` as numbers, for comparing; None where it is none."""
    parts = version.split("-")[0].split(".")
    return (
        tuple(map(int, parts))
        if parts and all(part.isdecimal() and len(part) < 9 for part in parts)
        else None
    )


def logs_what(version: str, mode: Mode) -> LogsWhat | None:
    """The cell of a version: its own, or its older neighbour's; None before the oldest that was measured."""
    mine = number(version)
    older = [
        one
        for one in table()
        if mine is not None and one.mode == mode and (number(one.version) or ()) <= mine
    ]
    return max(older, key=lambda one: number(one.version) or (), default=None)


def mode_of(version: str, *, turn_times: bool, tries: bool, entrypoints: Collection[str] = ()) -> Mode:
    """What mode a session was in, by what is in it. What tells of neither is read as print mode, which claims less.

    `entrypoints` are those that its records bear: a terminal's is `cli`, print mode's `sdk-cli`.
    """
    if turn_times or set(entrypoints) == {"cli"}:
        return "interactive"
    cell = logs_what(version, "print")
    return "interactive" if tries and cell is not None and cell.tries == NOT_LOGGED else "print"


def on_record(version: str, mode: Mode) -> str:
    """Which failed tries are: `logged`, `not logged`, ...; `not measured` before the oldest version that was."""
    cell = logs_what(version, mode)
    return NOT_MEASURED if cell is None else cell.tries


def alike(kinds: Collection[str], outcome: str) -> bool:
    """Whether a failure of this outcome is on record however it was logged, of these: only such may be compared.

    Every version notes that it gave up. Whether a try failed before the stream is not on record where others are logged.
    """
    if len(set(kinds)) < 2 or outcome == "died":
        return True
    return outcome != "recovered" and set(kinds) <= {LOGGED, UNLESS}


def told(sessions: Sequence[tuple[str, Mode, int, int]]) -> list[dict[str, Any]]:
    """A row per version and mode on record, from (version, mode, sessions, answers).

    The mode is `mode_of` its sessions.
    """
    rows = []
    for version, mode, count, answers in sorted(sessions, key=lambda one: (number(one[0]) or (), one[1])):
        cell = logs_what(version, mode)
        measured = (
            "not measured"
            if cell is None
            else "measured"
            if cell.version == version
            else f"as {cell.version}"
        )
        rows.append(
            {
                "version": version,
                "mode": mode,
                "sessions": count,
                "answered": answers,
                "known": measured,
                "failed_tries": cell.tries if cell else None,
                "cut_answers": cell.cut if cell else None,
                "hides": cell.hides if cell else None,
            }
        )
    return rows


def sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the versions on record keep to themselves, a clause for those alike; without those that log every try."""
    said: dict[str, list[str]] = {}
    for row in rows:
        cell = logs_what(row["version"], row["mode"])
        if cell is None:
            said.setdefault(f"{row['mode']} mode was not measured", []).append(row["version"])
        elif cell.tries != "logged":
            own = cell.sentence.removeprefix(f"{cell.version} ")
            measured = "" if cell.version == row["version"] else f" (as {cell.version})"
            said.setdefault(own + measured, []).append(row["version"])
    return [f"{', '.join(versions)} {told}" for told, versions in said.items()]
