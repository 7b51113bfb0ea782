"""The real clients, installed from npm on first use.

Each program and version gets a directory of its own under `.cache/clients` (`HOLDFAST_CLIENT_CACHE` moves it),
filled in a neighbour and renamed, so that two test processes may install at once and a broken download leaves nothing.
Install scripts are not run: 2.1.114 and 2.1.329 are native programs, found in their platform package.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pytest

CLAUDE_VERSIONS = ("2.1.86", "2.1.114", "2.1.329")
"The measured ones: a bundle on Node, a native program whose runtime re-sends by itself, a native program of today."
TYPESCRIPT_SDK = "1.11.0"

REPOSITORY = Path(__file__).resolve().parents[2]
_INSTALL_S = 300.0
_REMEMBERED_S = 1200.0


def cache() -> Path:
    """Where clients are installed."""
    return Path(os.environ.get("HOLDFAST_CLIENT_CACHE", REPOSITORY / ".cache" / "clients"))


def node() -> str:
    """Node's path; skips the test where there is none."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("node is not installed: real clients cannot run here")
    return path


def claude_command(version: str) -> list[str]:
    """The command line prefix that starts Claude Code of that version; skips where it cannot be had."""
    modules = _installed("@anthropic-ai/claude-code", version)
    bundle = modules / "@anthropic-ai" / "claude-code" / "cli.js"
    if bundle.exists():
        return [node(), str(bundle)]
    native = modules / "@anthropic-ai" / f"claude-code-{_platform()}" / "claude"
    if native.exists():
        return [str(native)]
    pytest.skip(f"Claude Code {version} has no program for {_platform()}")


def typescript_modules() -> Path:
    """The `node_modules` directory that holds the TypeScript SDK."""
    node()
    return _installed("@anthropic-ai/sdk", TYPESCRIPT_SDK)


def _platform() -> str:
    system = {"linux": "linux", "darwin": "darwin"}.get(sys.platform, sys.platform)
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), "arm64")
    libc = "-musl" if system == "linux" and Path("/etc/alpine-release").exists() else ""
    return f"{system}-{machine}{libc}"


@contextmanager
def _alone() -> Iterator[None]:
    """One worker installs at a time: two would fetch the same."""
    with (cache() / "installing.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _in_vain() -> Path:
    """Why npm could not install something, for whoever wants something next."""
    return cache() / "in-vain.txt"


def _refused() -> str | None:
    """Why the last try failed, if that was in this run of the tests: each may take minutes to fail."""
    try:
        if time.time() - _in_vain().stat().st_mtime < _REMEMBERED_S:
            return _in_vain().read_text()
    except FileNotFoundError:
        pass
    return None


@lru_cache
def _installed(package: str, version: str) -> Path:
    """The `node_modules` directory of one package and version."""
    home = cache() / f"{package.rpartition('/')[2]}-{version}"
    modules = home / "node_modules"
    if modules.is_dir():
        return modules
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"npm is not installed: {package} {version} cannot be had")
    cache().mkdir(parents=True, exist_ok=True)
    if (why := _refused()) is not None:
        pytest.skip(
            f"{package} {version} is not installed, and npm was in vain minutes ago (to try again: rm {_in_vain()}): {why}"
        )
    with _alone(), tempfile.TemporaryDirectory(dir=cache(), prefix="installing-") as scratch:
        if modules.is_dir():  # another worker has installed it meanwhile
            return modules
        problem = _npm_install(npm, Path(scratch), f"{package}@{version}")
        if problem:
            _in_vain().write_text(problem)
            pytest.skip(f"npm could not install {package} {version}: {problem}")
        try:
            Path(scratch).rename(home)
        except OSError:
            # Somebody else was faster; theirs is as good.
            if not modules.is_dir():
                raise
        else:
            Path(scratch).mkdir()  # the context manager wants something to remove
    return modules


def _npm_install(npm: str, directory: Path, wanted: str) -> str:
    """Install into a directory; returns what went wrong in one line, empty where nothing did."""
    command = [npm, "install", "--prefix", str(directory), "--include=optional", "--ignore-scripts"]
    command += ["--no-audit", "--no-fund", "--no-package-lock", wanted]
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env=_npm_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INSTALL_S,
        )
    except subprocess.TimeoutExpired:
        return f"no end after {_INSTALL_S:.0f} s"
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
    return (errors or ["npm failed"])[0]


def _npm_environment() -> dict[str, str]:
    """npm is the developer's own: it keeps its configuration, and what it needs to reach its registry."""
    wanted = {
        "PATH",
        "HOME",
        "LANG",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "NODE_EXTRA_CA_CERTS",
        "SSL_CERT_FILE",
    }
    return {
        name: value
        for name, value in os.environ.items()
        if name.upper() in wanted or name.lower().startswith("npm_config_")
    }
