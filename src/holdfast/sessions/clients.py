"""Clients that run now, from what the system keeps of its processes (`/proc`): whose, where, since when, with which sockets.

Only processes of this user are looked at. Of a process's environment the variables that a caller names are taken,
and nothing else of it is kept: it holds keys. Everything here reads small files of the kernel's; nothing is asked or sent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.sessions.places import NOT_CONVERSATIONS

LONGEST_ENVIRONMENT = 1024 * 1024
MOST_FILES = 4096
"Open files of one process, and transcripts of one project, that are looked at."
LAUNCHERS = frozenset(("npx", "bunx"))
"They start the client and wait for it."


@dataclass(frozen=True, slots=True)
class Client:
    """A client process."""

    pid: int
    cwd: Path
    started_ms: int | None
    "Wall time."
    program: str
    "The name that it was started by."
    command: tuple[str, ...] = field(default=(), repr=False)
    "For its options alone: it may hold a prompt."
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    "Of the variables that were named, those that are set."


def clients(
    recognise: Callable[[Sequence[str]], bool], names: Sequence[str], proc: Path = Path("/proc")
) -> list[Client]:
    """The clients among this user's processes, the newest first."""
    found = []
    for pid in _pids(proc):
        with suppress(OSError, ValueError):
            client = _client(proc / str(pid), pid, recognise, names)
            if client is not None:
                found.append(client)
    return sorted(found, key=lambda one: (-(one.started_ms or 0), -one.pid))


def _client(
    place: Path, pid: int, recognise: Callable[[Sequence[str]], bool], names: Sequence[str]
) -> Client | None:
    if place.stat().st_uid != os.geteuid():
        return None
    command = [part.decode("utf-8", "replace") for part in (place / "cmdline").read_bytes().split(b"\0")[:-1]]
    # A program that renamed itself leaves one word: `claude`.
    if not command or not recognise(command) or Path(command[0]).name in LAUNCHERS:
        return None
    return Client(
        pid=pid,
        cwd=(place / "cwd").readlink(),
        started_ms=_started_ms(place),
        program=Path(command[0]).name,
        command=tuple(command),
        environment=_environment(place, names),
    )


def _pids(proc: Path) -> Iterator[int]:
    with suppress(OSError):
        for entry in proc.iterdir():
            if entry.name.isdecimal():
                yield int(entry.name)


def _environment(place: Path, names: Sequence[str]) -> dict[str, str]:
    try:
        with (place / "environ").open("rb") as file:
            raw = file.read(LONGEST_ENVIRONMENT)
    except OSError:
        return {}
    found = {}
    for pair in raw.split(b"\0"):
        name, equals, value = pair.partition(b"=")
        if equals and name.decode("utf-8", "replace") in names:
            found[name.decode()] = value.decode("utf-8", "replace")
    return found


def _started_ms(place: Path) -> int | None:
    """Wall time of its start: ticks since the machine's own start, and when that was."""
    try:
        ticks = int(_stat(place)[19])
        boot = re.search(r"^btime (\d+)$", (place.parent / "stat").read_text(), re.MULTILINE)
        return (int(boot[1]) * 1000 + ticks * 1000 // os.sysconf("SC_CLK_TCK")) if boot else None
    except (OSError, ValueError, IndexError):
        return None


def _stat(place: Path) -> list[str]:
    """The fields of `/proc/PID/stat` behind the name, which may hold anything."""
    raw = (place / "stat").read_bytes()
    return raw[raw.rindex(b")") + 2 :].decode("ascii", "replace").split()


def socket_inodes(pid: int, proc: Path = Path("/proc")) -> frozenset[int] | None:
    """Its sockets; None where they may not be seen, or it is gone."""
    found = set()
    try:
        for number, entry in enumerate(os.scandir(proc / str(pid) / "fd")):
            if number >= MOST_FILES:
                break
            with suppress(OSError):
                told = re.fullmatch(r"socket:\[(\d+)\]", str(Path(entry.path).readlink()))
                if told:
                    found.add(int(told[1]))
    except OSError:
        return None
    return frozenset(found)


def children(pid: int, proc: Path = Path("/proc")) -> int:
    """How many processes it has started that still run (ended ones that were not fetched do not count)."""
    count = 0
    for other in _pids(proc):
        with suppress(OSError, ValueError, IndexError):
            fields = _stat(proc / str(other))
            count += fields[1] == str(pid) and fields[0] not in ("Z", "X")
    return count


# ----- its transcript


def slugs(cwd: Path) -> list[str]:
    """The names that a project's folder may have: older clients turned `/ . ~` and spaces into dashes, newer all but
    letters and digits."""
    text = str(cwd)
    return list(dict.fromkeys([re.sub(r"[^A-Za-z0-9]", "-", text), re.sub(r"[/. ~]", "-", text)]))


def written_last(roots: Sequence[Path], cwd: Path, since_ms: int | None) -> list[Path]:
    """The transcripts of this folder's sessions that were written to since then, the latest first."""
    found: dict[Path, int] = {}
    for root in roots:
        for slug in slugs(cwd):
            for path, mtime_ms in _transcripts(root / "projects" / slug):
                if since_ms is None or mtime_ms >= since_ms:
                    found[path] = mtime_ms
    return sorted(found, key=lambda path: (-found[path], path))


def helpers_of(transcript: Path, since_ms: int) -> list[Path]:
    """The transcripts of a session's subagents that were written to since then, the latest first."""
    found: dict[Path, int] = {}
    for path, mtime_ms in _transcripts(transcript.with_suffix("") / "subagents", helpers=True):
        if mtime_ms >= since_ms:
            found[path] = mtime_ms
    return sorted(found, key=lambda path: (-found[path], path))


def _transcripts(folder: Path, *, helpers: bool = False) -> Iterator[tuple[Path, int]]:
    with suppress(OSError):
        for number, entry in enumerate(os.scandir(folder)):
            if number >= MOST_FILES:
                return
            name = entry.name
            if not name.endswith(".jsonl") or name in NOT_CONVERSATIONS:
                continue
            if name.startswith("agent-") == helpers and entry.is_file(follow_symlinks=False):
                yield Path(entry.path), entry.stat(follow_symlinks=False).st_mtime_ns // 1_000_000
