"""What this machine says of its own network: files below /proc and /sys, and small tools where they are. Never sudo."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

LINUX = sys.platform == "linux"
DARWIN = sys.platform == "darwin"
TOOL_S = 5.0
MOST_PROCESSES = 20_000


def text(root: Path, path: str, limit: int = 200_000) -> str:
    """A file's text; empty where it is not there or not ours to read."""
    try:
        with (root / path).open("rb") as file:
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def exists(root: Path, path: str) -> bool:
    return (root / path).exists()


def names(root: Path, path: str) -> list[str]:
    """The names in a directory."""
    try:
        return sorted(one.name for one in (root / path).iterdir())
    except OSError:
        return []


def tool(*command: str) -> str | None:
    """What a small tool says; None where it is not here, fails, or takes long."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TOOL_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout[:100_000] if done.returncode == 0 else None


def processes(root: Path) -> list[str] | None:
    """The names of the processes that this user may see; None where nobody tells."""
    if LINUX or root != Path("/"):
        found = [
            text(root, f"proc/{one}/comm", 64).strip()
            for one in names(root, "proc")[:MOST_PROCESSES]
            if one.isdigit()
        ]
        return [one for one in found if one] or None
    said = tool("ps", "-axco", "command")
    return said.splitlines()[1:MOST_PROCESSES] if said is not None else None
