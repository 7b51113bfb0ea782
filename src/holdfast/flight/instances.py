"""Which gateways use a journal, which of them still live, and what becomes of the turns of those that do not."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.schema import transaction
from holdfast.flight.state import INSTANCES, PRIVATE_FILE, make_private


class ProcessIdentity(NamedTuple):
    """What tells one process from every other, before and after it, on this machine."""

    pid: int
    process_start: str
    "As the system gives it; only compared for being equal."
    boot_id: str
    "Differs after each start of the machine, and between containers that do not see each other's processes."


def identity_of(pid: int) -> ProcessIdentity | None:
    """Who has this pid now; None where nobody has."""
    start = _process_start(pid)
    return ProcessIdentity(pid, start, boot_id()) if start else None


def _process_start(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return stat[stat.rindex(b")") + 2 :].split()[19].decode()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
    except (OSError, ValueError, IndexError):
        return ""
    return _ask("ps", "-o", "lstart=", "-p", str(pid))


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Which start of the machine this is, and which view of its processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return _ask("sysctl", "-n", "kern.bootsessionuuid")


def _ask(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def lock_instance(state_dir: Path, instance_id: str) -> int:
    """Make and lock the file that says this instance lives. The descriptor holds the lock; keep it open."""
    path = make_private(state_dir / INSTANCES) / f"{instance_id}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


class Serving(msgspec.Struct, frozen=True):
    """What a gateway that listens says of itself, for as long as it lives: in its lock's file."""

    url: str
    "For a client, without a path."
    upstream: str
    "Scheme, host and port. Never its path, which holds a token for some gateways."
    upstream_path: bool
    "Whether upstream has a path of its own."
    token: bool
    "Whether clients must show an access token."


MOST_SAID = 4096


def say_serving(lock: int, serving: Serving) -> None:
    """Write it down, by the descriptor of `lock_instance`. Raises `OSError`."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, msgspec.json.encode(serving), 0)


def serving_of(state_dir: Path, instance_id: str) -> Serving | None:
    """What this instance says that it serves; None where it says nothing, as `run` and older ones do."""
    try:
        with (state_dir / INSTANCES / f"{instance_id}.lock").open("rb") as file:
            return msgspec.json.decode(file.read(MOST_SAID), type=Serving)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def is_alive(state_dir: Path, instance_id: str, identity: ProcessIdentity) -> bool:
    """Whether an instance's process still runs.

    The lock answers, also between containers that share the directory. Where its file is missing
    (a file system without locks, somebody tidied up), pid, start time and boot id do.
    """
    try:
        descriptor = os.open(state_dir / INSTANCES / f"{instance_id}.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return identity_of(identity.pid) == identity
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


class Instance(NamedTuple):
    """A gateway process, as the journal knows it."""

    id: str
    identity: ProcessIdentity
    started_wall_ms: int
    seen_wall_ms: int
    kind: str


def open_instances(connection: sqlite3.Connection) -> list[Instance]:
    """Those that did not say goodbye: living ones, and those whose process was killed."""
    rows = connection.execute(
        "SELECT id, pid, process_start, boot_id, started_wall_ms, seen_wall_ms, kind "
        "FROM instance WHERE ended_wall_ms IS NULL ORDER BY id"
    )
    return [
        Instance(key, ProcessIdentity(pid, start, boot), began, seen, kind)
        for key, pid, start, boot, began, seen, kind in rows
    ]


def living_instances(connection: sqlite3.Connection, state_dir: Path) -> list[Instance]:
    """The gateways that use this journal now."""
    return [one for one in open_instances(connection) if is_alive(state_dir, one.id, one.identity)]


def mark_interrupted(connection: sqlite3.Connection, state_dir: Path) -> int:
    """Give the unfinished turns of gateways that are gone their ending. Returns how many there were."""
    gone = [one for one in open_instances(connection) if not is_alive(state_dir, one.id, one.identity)]
    if not gone:
        return 0
    marked = 0
    with transaction(connection):
        for one in gone:
            detail = f"the gateway (process {one.identity.pid}) ended without finishing this turn"
            marked += interrupt_turns(connection, one.id, detail, seen_wall_ms=one.seen_wall_ms)
            connection.execute(
                "UPDATE instance SET ended_wall_ms = seen_wall_ms WHERE id = ? AND ended_wall_ms IS NULL",
                (one.id,),
            )
    for one in gone:
        (state_dir / INSTANCES / f"{one.id}.lock").unlink(missing_ok=True)
    return marked


def interrupt_turns(
    connection: sqlite3.Connection, instance_id: str, detail: str, *, seen_wall_ms: int
) -> int:
    """End an instance's unfinished turns: the machine's process ended. Call it inside a transaction.

    When exactly is not known, so the end is the last sign of life: of the turn, or of the instance.
    """
    unfinished = connection.execute(
        "SELECT turn_id, started_wall_ms, moments FROM turn WHERE instance_id = ? AND ending_code IS NULL",
        (instance_id,),
    ).fetchall()
    for turn_id, started_wall_ms, encoded in unfinished:
        moments = _moments(encoded)
        last = max([started_wall_ms, seen_wall_ms, *(moment[1] for moment in moments)])
        phase = phase_after([(moment[2], moment[3]) for moment in moments])
        ending = Ending(Side.MACHINE, Mechanism.PROCESS_ENDED, phase, detail)
        connection.execute(
            "UPDATE turn SET ended_wall_ms = ?, ending_code = ?, ending = ? WHERE turn_id = ?",
            (last, ending.code, msgspec.json.encode(ending).decode(), turn_id),
        )
    return len(unfinished)


def _moments(encoded: str) -> list[list[Any]]:
    """What is a moment in this column; another version's words must not keep this one from reading the others."""
    try:
        listed = msgspec.json.decode(encoded)
    except (msgspec.MsgspecError, ValueError, TypeError):
        return []
    found = []
    for item in listed if isinstance(listed, list) else ():
        match item:
            case [_, int(), str(), dict()]:
                found.append(item)
    return found


_PHASE_AFTER = {
    "AttemptStarted": Phase.CONNECTING,
    "Connected": Phase.SENDING,
    "RequestSent": Phase.AWAITING_HEADERS,
    "HeadersArrived": Phase.AWAITING_FIRST_EVENT,
    "FirstEventArrived": Phase.BETWEEN_BLOCKS,
    "AnswerFinished": Phase.AFTER_END,
}
_PHASE_IN_BLOCK = {
    "text": Phase.IN_TEXT,
    "thinking": Phase.IN_THINKING,
    "redacted_thinking": Phase.IN_THINKING,
}


def phase_after(moments: Sequence[tuple[str, dict[str, Any]]]) -> Phase:
    """What was under way after these moments (name and data of each)."""
    phase = Phase.SENDING
    for name, data in moments:
        if name == "BlockOpened":
            kind = str(data.get("kind"))
            phase = (
                Phase.IN_TOOL_USE
                if kind.endswith("tool_use")
                else _PHASE_IN_BLOCK.get(kind, Phase.BETWEEN_BLOCKS)
            )
        else:
            phase = _PHASE_AFTER.get(name, phase)
    return phase
