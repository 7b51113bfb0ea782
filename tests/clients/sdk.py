"""The two SDKs, each as a small agent in a process of its own with a clean environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.claude import FAKE_KEY, Machine
from tests.clients.install import node, typescript_modules

SDKS = ("python", "typescript")
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Told:
    """What the agent said of its run."""

    seconds: float
    text: str
    "Of the last answer."
    tool_runs: int
    requests: int
    "Answers that it asked for (the SDK's own retries are not in it)."
    stop_reason: str | None = None
    "None where the answer had none: it was cut, and the SDK did not say so."
    error: str | None = None
    "The exception that ended it, if one did."


def ask(
    language: str,
    machine: Machine,
    base_url: str | None,
    prompt: str,
    *,
    timeout_s: float,
    streaming: bool = True,
    max_retries: int = 2,
    auth_token: str | None = None,
    within_s: float = 60.0,
    before: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> Told:
    """Run the agent of that language. `timeout_s` is its limit for silence, before headers and in the body."""
    orders: dict[str, Any] = {
        "base_url": base_url,
        "api_key": None if auth_token else FAKE_KEY,
        "auth_token": auth_token,
        "prompt": prompt,
        "timeout_s": timeout_s,
        "streaming": streaming,
        "max_retries": max_retries,
    }
    if language == "python":
        command = [sys.executable, str(_HERE / "agent_python.py")]
    else:
        command = [node(), str(_HERE / "agent_typescript.mjs")]
        orders["modules"] = str(typescript_modules())
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(machine.home),
        "TMPDIR": str(machine.home / "tmp"),
        "LANG": "C.UTF-8",
        **(env or {}),
    }
    started = time.monotonic()
    done = subprocess.run(
        [*before, *command],
        input=json.dumps(orders),
        cwd=machine.work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=within_s,
    )
    seconds = time.monotonic() - started
    try:
        told = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(
            f"the agent ended with {done.returncode} and said: {done.stderr[-2000:]}"
        ) from None
    return Told(seconds=seconds, **told)
