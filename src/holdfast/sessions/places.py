"""Where Claude Code keeps its transcripts, and which files are transcripts.

Facts (reference sessions.md, section 1): the roots are `~/.claude` and `~/.config/claude`, or those that
`CLAUDE_CONFIG_DIR` names, separated by commas. Below `projects/` lies one folder per project; a session is a
file in it, its subagents' are in `<session>/subagents/` (before: beside the session, `agent-*.jsonl`), and
workflow folders hold a `journal.jsonl` that is no conversation. So the search is recursive.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from holdfast.flight.plain_files import irregular

SUFFIX = ".jsonl"
NOT_CONVERSATIONS = frozenset({"journal.jsonl"})


class Transcript(msgspec.Struct, frozen=True, gc=False):
    """A file to read, as the file system described it.

    There are thousands, and most did not change since they were read: a struct with a name costs a fifth of a dataclass
    with a `Path`.
    """

    name: str
    "With all directories, as `str` of its path has it."
    size: int
    "Bytes."
    mtime_ms: int
    "Of no use as a time of events: restores and syncs touch files in bulk."
    inode: int
    subagent: bool
    "By its place or name. Its records name the session that it belongs to."

    @property
    def path(self) -> Path:
        return Path(self.name)


def roots(home: Path, environment: Mapping[str, str] | None = None) -> list[Path]:
    """The directories that may hold `projects/`, those of `CLAUDE_CONFIG_DIR` alone where it is set."""
    named = (environment or {}).get("CLAUDE_CONFIG_DIR", "")
    if named.strip():
        return [Path(part.strip()).expanduser() for part in named.split(",") if part.strip()]
    return [home / ".claude", home / ".config" / "claude"]


def transcripts(
    directories: list[Path], *, anywhere: bool = False
) -> tuple[list[Transcript], list[tuple[Path, str]]]:
    """Every transcript below these roots, the largest first, and what could not be looked into, with the reason.

    A project's folder may be a link: one that stays within its root, or leads `anywhere` where the home is the user's
    own, is followed, and any other is named. Deeper links are not followed. What is reachable twice is listed once.
    """
    found: dict[tuple[int, int], Transcript] = {}
    refused: list[tuple[Path, str]] = []
    for root in directories:
        projects = root / "projects"
        try:
            there = stat.S_ISDIR(projects.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            refused.append((projects, _reason(error)))
            continue
        if there:
            for entry, status in _files(projects, refused, None if anywhere else root.resolve()):
                found.setdefault((status.st_dev, status.st_ino), _transcript(entry, status))
    return sorted(found.values(), key=_place), _once(refused)


def _once(refused: list[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """Each of them once, by the first way that led to it: through a linked folder several do."""
    first: dict[tuple[int, int] | Path, tuple[Path, str]] = {}
    for path, why in refused:
        try:
            status = path.lstat()
        except OSError:  # gone meanwhile, or below what may not be entered
            first.setdefault(path, (path, why))
        else:
            first.setdefault((status.st_dev, status.st_ino), (path, why))
    return list(first.values())


def _place(transcript: Transcript) -> tuple[int, list[str]]:
    """In a list: the largest first, and of one size in the order of paths."""
    return -transcript.size, _parts(os.path.normcase(transcript.name))


def _parts(name: str) -> list[str]:
    return name.split(os.sep)  # noqa: PTH206 (a `Path` costs ten times as much, and there are thousands)


def _transcript(entry: os.DirEntry[str], status: os.stat_result) -> Transcript:
    subagent = entry.name.startswith("agent-") or "subagents" in _parts(entry.path)
    return Transcript(entry.path, status.st_size, status.st_mtime_ns // 1_000_000, status.st_ino, subagent)


def _files(
    directory: Path, refused: list[tuple[Path, str]], within: Path | None
) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """An entry that cannot be looked at, such as a link to itself, costs itself alone."""
    waiting = [directory]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as scan:
                entries = list(scan)
        except OSError as error:
            refused.append((place, _reason(error)))
            continue
        for entry in entries:
            try:
                if _named(entry):
                    if entry.is_file(follow_symlinks=False):
                        yield entry, entry.stat(follow_symlinks=False)
                    else:
                        refused.append((Path(entry.path), _no_transcript(entry)))
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif place == directory and entry.is_symlink() and entry.is_dir():
                    if within is None or Path(entry.path).resolve().is_relative_to(within):
                        waiting.append(Path(entry.path))
                    else:
                        refused.append((Path(entry.path), "a link that leads out of this home, not followed"))
            except OSError as error:
                refused.append((Path(entry.path), _reason(error)))


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a link that leads to itself"
    return error.strerror or type(error).__name__


def _named(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(SUFFIX) and entry.name not in NOT_CONVERSATIONS


def _no_transcript(entry: os.DirEntry[str]) -> str:
    """Why what is named like a transcript, and is no file, is none."""
    if entry.is_symlink():
        return "a link, not followed" if Path(entry.path).exists() else "a link that leads nowhere"
    return irregular(entry.stat(follow_symlinks=False).st_mode)
