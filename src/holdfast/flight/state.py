"""The state directory: where it is, what is in it, and that nobody else can read it.

journal.sqlite      the flights of all gateways of this user
answers/            the attic, one file per answer
captures/           packets that `holdfast capture` kept; secrets are overwritten in them
instances/          one locked file per living gateway
spool/              room for answers and requests too large for memory; its files have no names
settings/           what undoes a change that `holdfast doctor` made to a client's settings
request.salt        chance that makes a request's key mean nothing elsewhere
export.key          what pseudonyms of exported sessions are made with; export.machine: of this machine's own
probes.jsonl        what `holdfast probe` found, one result per line
run.log             what gateways under `run` said, one line per turn; run.log.1 is the one before
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

JOURNAL = "journal.sqlite"
ANSWERS = "answers"
CAPTURES = "captures"
INSTANCES = "instances"
SPOOL = "spool"
LOCK = "state.lock"
SESSIONS = "sessions-*.sqlite"
"What was read of transcripts, one file per home that was diagnosed."
SETTINGS = "settings"
SALT = "request.salt"
EXPORT_KEY = "export.key"
EXPORT_MACHINE = "export.machine"
PROBES = "probes.jsonl"
RUN_LOGS = ("run.log", "run.log.1")
OURS = (
    JOURNAL,
    f"{JOURNAL}-wal",
    f"{JOURNAL}-shm",
    ANSWERS,
    CAPTURES,
    INSTANCES,
    SPOOL,
    SETTINGS,
    *RUN_LOGS,
    PROBES,
    SALT,
    EXPORT_KEY,
    EXPORT_MACHINE,
    LOCK,
)

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600


class StateError(Exception):
    """The state directory cannot be used; the text says why and ends with the next thing to try."""


def state_path() -> Path:
    """Where the state directory is or would be, from the root: gateways live in other directories. Creates nothing.

    Raises `StateError` where `~` names a home that there is not.
    """
    chosen = os.environ.get("HOLDFAST_STATE_DIR")
    if not chosen:
        return Path(platformdirs.user_state_dir("holdfast", appauthor=False)).absolute()
    try:
        return Path(chosen).expanduser().absolute()
    except RuntimeError:
        raise StateError(
            f"HOLDFAST_STATE_DIR is {chosen!r}, and that user's home is not known; write the directory out"
        ) from None


def state_origin() -> str:
    """What says where it is: a variable's name, or `default`."""
    if os.environ.get("HOLDFAST_STATE_DIR"):
        return "HOLDFAST_STATE_DIR"
    xdg = os.environ.get("XDG_STATE_HOME", "").strip()
    return "XDG_STATE_HOME" if xdg and state_path() == Path(xdg) / "holdfast" else "default"


def state_dir() -> Path:
    """The state directory, made if it is missing. Raises `StateError`."""
    return make_private(state_path())


def make_private(directory: Path) -> Path:
    """Make `directory` so that only its owner can look into it, and return it. Raises `StateError`.

    A directory that was there before and holds other people's files (`HOLDFAST_STATE_DIR=$HOME`) keeps its
    permissions: what we put into it is private by itself.
    """
    try:
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        found = directory.stat()
        if found.st_uid != os.geteuid():
            raise StateError(
                f"{directory} belongs to another user (uid {found.st_uid}); "
                "set HOLDFAST_STATE_DIR to a directory of your own"
            )
        if stat.S_IMODE(found.st_mode) & 0o077 and _is_ours(directory):
            directory.chmod(PRIVATE_DIRECTORY)
    except OSError as error:
        raise StateError(
            f"{directory} cannot be used for Holdfast's state ({error.strerror}); "
            "set HOLDFAST_STATE_DIR to a directory that you can write to"
        ) from error
    return directory


def _is_ours(directory: Path) -> bool:
    return all(
        entry.name in OURS or entry.name.startswith(".") or entry.match(f"{SESSIONS}*")
        for entry in directory.iterdir()
    )


def open_private(path: Path) -> None:
    """Make `path` a file that only its owner can read, if it is not there; a link is refused. Raises `OSError`.

    A file that is there is not opened, not even for a moment: it may be a database that this process has open,
    and closing any descriptor of a file gives up all of the process's POSIX locks on it. Others would then take the
    database for unused, and throw its log away with what is written after that.
    """
    try:
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE
        )
    except FileExistsError:
        if path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from None
        return
    os.close(descriptor)


@contextmanager
def locked(directory: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the directory's lock: shared while a journal is being opened, exclusive while all is erased.

    Raises `StateError` where there can be none.
    """
    try:
        descriptor = os.open(
            directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE
        )
    except OSError as error:
        raise StateError(
            f"{directory / LOCK} cannot be written ({error.strerror}); "
            "set HOLDFAST_STATE_DIR to a directory that you can write to"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
