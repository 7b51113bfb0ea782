"""The salt of request keys: 32 bytes of chance in the state directory, made once.

A key tells that two requests were the same. Without the salt it could also tell *which*: somebody with the journal
and a guess of the request could try the guess. The salt is private, leaves the machine in no report, and goes with
everything else when all is forgotten.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from holdfast.flight.state import PRIVATE_FILE, SALT, make_private

SIZE = 32


def salt_of(state_dir: Path, name: str = SALT) -> bytes:
    """The salt, or what else of chance is kept under this name, made where there is none. Raises `OSError` or `StateError`.

    Written under another name and linked: of two gateways that begin at once both get the same one, and whole.
    """
    path = make_private(state_dir) / name
    with contextlib.suppress(FileNotFoundError):
        return _read(path)
    temporary = state_dir / f".{name}.{secrets.token_hex(4)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SIZE))
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path, follow_symlinks=False)
    finally:
        temporary.unlink(missing_ok=True)
    return _read(path)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        found = file.read(SIZE)
    if len(found) != SIZE:
        raise OSError(f"{path} is not the salt that was written")
    return found
