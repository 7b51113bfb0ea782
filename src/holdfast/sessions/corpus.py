"""All transcripts of a home, read as far as they are new.

One process reads them. A second one was measured: starting it and carrying the facts over took more wall time than it
saved (600 MB: 1.1 s alone, 2.3 s by two, on two cores that others used as well), and doubled the CPU time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from holdfast.sessions import client_telemetry
from holdfast.sessions.places import Transcript
from holdfast.sessions.store import Known, Store
from holdfast.sessions.transcript import Place, read

_place = msgspec.json.Decoder(Place)
FILES_AT_ONCE = 200
"Kept in one transaction."


@dataclass(slots=True)
class Update:
    """What one scan did."""

    files: int = 0
    "Transcripts there are."
    read_files: int = 0
    "Of them, those with something new."
    read_bytes: int = 0
    copies: int = 0
    "Rows that were known already, from another file or an earlier scan."
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def update(
    store: Store,
    found: Sequence[Transcript],
    *,
    gaps: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Update:
    """Read what is new in these transcripts into the store. `progress` is told how many bytes were looked at.

    With `gaps` answers know when they were asked for, as `transcript.read` says.

    A file that grew is gone on with; one that was replaced, or shrank, is read again from its start. A file
    that cannot be read is named, and the others are read all the same. What was read before the errors of tools were
    kept is read for them once more. Raises `StoreError`, `sqlite3.Error`.
    """
    done, known = Update(files=len(found)), store.known()
    _read_for_tools(store, found, known)
    changed = []
    for transcript in found:
        old = known.get(transcript.name)
        if old is None or not old.unchanged(transcript):
            changed.append((transcript, old))
    for start in range(0, len(changed), FILES_AT_ONCE):
        with store.transaction():
            for transcript, old in changed[start : start + FILES_AT_ONCE]:
                since = _place.decode(old.place) if old is not None and old.grown(transcript) else None
                try:
                    facts, place = read(transcript.path, since=since, gaps=gaps)
                except OSError as error:
                    done.unreadable.append((transcript.path, error.strerror or type(error).__name__))
                    continue
                done.copies += store.put(transcript, old, facts, place)
                done.read_files += 1
                done.read_bytes += place.end - (since.end if since else 0)
                progress(transcript.size - (old.size if since is not None and old is not None else 0))
    store.scanned(done.read_files, done.read_bytes)
    return done


def _read_for_tools(store: Store, found: Sequence[Transcript], known: Mapping[str, Known]) -> None:
    """A file that cannot be read now is tried again by the next scan."""
    wanted = store.without_tools()
    if not wanted:
        return
    with store.transaction():
        for transcript in found:
            old = known.get(transcript.name)
            if old is not None and old.file in wanted:
                with contextlib.suppress(OSError):
                    store.put_tools(old.file, read(transcript.path)[0])


def update_unsent(store: Store, paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Read the files of unsent telemetry that are new or changed; returns those that cannot be read, each with the reason.

    One that changed is read again from its start: the client rewrites them, and what is known in them is known by its id.
    Raises `sqlite3.Error`.
    """
    unread, known = [], store.read_unsent()
    for path in paths:
        try:
            status = path.stat()
            state = status.st_ino, status.st_size, status.st_mtime_ns // 1_000_000
            if known.get(str(path)) == state:
                continue
            found = client_telemetry.read(path)
        except OSError as error:
            unread.append((path, error.strerror or type(error).__name__))
            continue
        with store.transaction():
            store.put_unsent(path, state, found)
    return unread
