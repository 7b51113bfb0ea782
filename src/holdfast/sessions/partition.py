"""One machine's exported files among those of many: `machine=m3f2a91c0.../error.parquet`, and so on for every table.

A machine has one folder, made beside it and put in its place as a whole: who reads meanwhile finds the export
before or this one, and who takes the folder away has erased that machine. The folder's name is for people and for engines
that make use of such names; every row says its machine itself, so that files may be merged.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.flight.salt import salt_of
from holdfast.flight.state import EXPORT_KEY, EXPORT_MACHINE, PRIVATE_FILE
from holdfast.sessions.exported import COLUMNS, keyed

if TYPE_CHECKING:
    import pyarrow

FOLDER = "machine="


class PartitionError(Exception):
    """Nothing was exported, and what was there before is there still; the text says why, and the next thing to try."""


@dataclass(frozen=True, slots=True)
class Who:
    """By which names this machine's rows go."""

    key: bytes
    "Never leaves. Whoever has it can find out by guessing what pseudonyms stand for."
    person: str
    machine: str


def who(state_dir: Path) -> Who:
    """This state directory's key and pseudonyms, made at the first use. Raises `PartitionError`, `StateError`.

    Somebody with several machines is one person if they have the same `export.key`; `export.machine` stays apart.
    """
    try:
        key, machine = salt_of(state_dir, EXPORT_KEY), salt_of(state_dir, EXPORT_MACHINE)
    except OSError as error:
        raise PartitionError(
            f"the keys of exports in {state_dir} cannot be used ({error}); restore {EXPORT_KEY} and {EXPORT_MACHINE}, or "
            "remove them: then pseudonyms are new, and the folder of the old ones is to be erased where it was sent"
        ) from None
    return Who(key, f"p{keyed(key, 'person')}", f"m{keyed(machine, 'machine')}")


def put(tables: Mapping[str, pyarrow.Table], directory: Path, machine: str) -> int:
    """Write a machine's files; those that it exported there before are replaced. Returns how many bytes they have.

    Raises `PartitionError`. Needs pyarrow.
    """
    import pyarrow as pa
    from pyarrow import parquet

    assert set(tables) == set(COLUMNS), set(tables)
    place = directory / f"{FOLDER}{machine}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".holdfast-", dir=directory) as beside:
            made = Path(beside, "new")
            made.mkdir(mode=0o700)
            size = 0
            for name, table in tables.items():
                path = made / f"{name}.parquet"
                parquet.write_table(table, path, compression="zstd")
                path.chmod(PRIVATE_FILE)
                size += path.stat().st_size
            with contextlib.suppress(FileNotFoundError):
                os.replace(place, Path(beside, "old"))  # noqa: PTH105 (a link is moved as a link)
            made.rename(place)
            shutil.rmtree(Path(beside, "old"), ignore_errors=True)
            return size
    except (OSError, pa.ArrowException) as error:
        told = getattr(error, "strerror", None) or error
        raise PartitionError(
            f"{place} cannot be written ({told}); choose a directory that is yours, on a disk with room, and let no "
            "other export write there meanwhile"
        ) from None
