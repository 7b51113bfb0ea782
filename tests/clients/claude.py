"""Claude Code in a clean machine of its own: temporary home, fake key, nothing of this process's environment.

Print mode runs to its end and hands back what it said; interactive mode lives in a pseudo-terminal and is typed at.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect

from tests.clients.install import claude_command

FAKE_KEY = "sk-ant-fake-key-of-the-tests-000000000000"
FAKE_TOKEN = "fake-bearer-token-of-the-tests"
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-9;?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-Za-z]|[=>78MDE])"
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where one client lives: a home and a project directory that it trusts."""

    home: Path
    work: Path

    @classmethod
    def prepare(cls, directory: Path) -> Machine:
        """Lay out a home in which no onboarding, key or trust question is open."""
        machine = cls(directory / "home", directory / "work")
        for path in (machine.home, machine.work, machine.home / "tmp"):
            path.mkdir(parents=True)
        (machine.home / ".claude.json").write_text(
            json.dumps(
                {
                    "hasCompletedOnboarding": True,
                    "lastOnboardingVersion": "2.1.329",
                    "theme": "dark",
                    "autoUpdates": False,
                    "customApiKeyResponses": {"approved": [FAKE_KEY[-20:]], "rejected": []},
                    "projects": {
                        str(machine.work): {
                            "hasTrustDialogAccepted": True,
                            "hasCompletedProjectOnboarding": True,
                            "allowedTools": [],
                        }
                    },
                }
            )
        )
        return machine

    def environment(self, base_url: str | None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Everything that the client's environment holds."""
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "ANTHROPIC_API_KEY": FAKE_KEY,
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
        if base_url is not None:
            env["ANTHROPIC_BASE_URL"] = base_url
        env.update(extra or {})
        return {name: value for name, value in env.items() if value}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a print-mode run came to."""

    exit_code: int
    seconds: float
    events: list[dict[str, Any]] = field(repr=False)
    "The lines of `--output-format stream-json`."
    stderr: str

    @property
    def result(self) -> str:
        """The final text; empty where there is none."""
        for event in reversed(self.events):
            if event.get("type") == "result":
                return str(event.get("result") or "")
        return ""

    @property
    def succeeded(self) -> bool:
        """Whether it ended well in its own eyes."""
        finals = [event for event in self.events if event.get("type") == "result"]
        return self.exit_code == 0 and bool(finals) and not finals[-1].get("is_error")

    @property
    def tool_results(self) -> int:
        """How many tool results the client produced: how often tools ran, or were refused."""
        return sum(
            block.get("type") == "tool_result"
            for event in self.events
            if event.get("type") == "user"
            for block in _blocks(event)
        )

    @property
    def retries(self) -> int:
        """Retries that the client announced."""
        return sum(event.get("subtype") == "api_retry" for event in self.events)


def _blocks(event: dict[str, Any]) -> list[dict[str, Any]]:
    content = event.get("message", {}).get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def print_arguments(prompt: str) -> list[str]:
    """Print mode, every event as a line, edits in its own directory allowed."""
    return ["-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "acceptEdits", prompt]


def ask(
    version: str,
    machine: Machine,
    base_url: str | None,
    prompt: str,
    *,
    env: Mapping[str, str] | None = None,
    within_s: float = 60.0,
    before: Sequence[str] = (),
) -> Outcome:
    """Run one prompt in print mode to its end. `before` is put in front of the command (`holdfast run ... --`).

    A client that is not done `within_s` is killed and counts as exit code -9.
    """
    command = [*before, *claude_command(version), *print_arguments(prompt)]
    started = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=machine.work,
        env=machine.environment(base_url, env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
        return Outcome(process.returncode, time.monotonic() - started, _events(out), err)


def _events(out: str) -> list[dict[str, Any]]:
    """The lines that are whole JSON objects; a killed client may have left half a line."""
    events = []
    for line in out.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def _heed_hang_up() -> None:
    """Tests started by `nohup` ignore SIGHUP, and what they start would inherit that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Terminal:
    """Claude Code, interactive, in a pseudo-terminal of 120 x 40."""

    def __init__(
        self,
        version: str,
        machine: Machine,
        base_url: str | None,
        *,
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> None:
        command = [*before, *claude_command(version), "--permission-mode", "acceptEdits"]
        self._process: pexpect.spawn[str] = pexpect.spawn(
            command[0],
            command[1:],
            cwd=str(machine.work),
            env=machine.environment(base_url, env),
            dimensions=(40, 120),
            encoding="utf-8",
            codec_errors="replace",
            preexec_fn=_heed_hang_up,
            timeout=20,
        )
        self._seen = ""

    @property
    def pid(self) -> int:
        """The process in the terminal."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def shown(self) -> str:
        """Everything written to the screen since the last `type`, escapes and blanks taken out."""
        self._read()
        return re.sub(r"\s+", "", _ESCAPES.sub("", self._seen))

    def _read(self) -> None:
        """Take what the terminal holds, so that the client never waits for us."""
        while True:
            try:
                self._seen += self._process.read_nonblocking(65536, timeout=0)
            except (pexpect.TIMEOUT, pexpect.EOF, OSError):
                return

    def wait_for(self, text: str, *, within_s: float = 20.0) -> None:
        """Return when `text` (blanks do not count) has been shown since the last `type`."""
        wanted = re.sub(r"\s+", "", text)
        self.wait_until(lambda: wanted in self.shown, f"{text!r} on the screen", within_s=within_s)

    def wait_until(self, condition: Any, what: str, *, within_s: float = 20.0) -> None:
        """Return when the condition holds; meanwhile the screen is read."""
        limit = time.monotonic() + within_s
        while not condition():
            self._read()
            if time.monotonic() > limit:
                raise AssertionError(
                    f"no {what} within {within_s:.0f} s; the screen showed: {self.shown[-1500:]}"
                )
            time.sleep(0.02)

    def ready(self) -> None:
        """Wait for the input line."""
        self.wait_for("accept edits on", within_s=30)
        # The input handler is attached a moment after the first drawing.
        limit = time.monotonic() + 0.5
        while time.monotonic() < limit:
            self._read()
            time.sleep(0.05)

    def say(self, prompt: str) -> None:
        """Type a prompt and send it."""
        self._read()
        self._seen = ""
        self._process.send(prompt)
        self.wait_for(prompt)
        time.sleep(0.1)  # a return glued to a paste counts as part of it
        self._seen = ""
        self._process.send("\r")

    def press(self, keys: str) -> None:
        """Press keys: `\\x1b` is Esc, `\\x03` Ctrl-C."""
        self._process.send(keys)

    def hang_up(self) -> None:
        """Close the terminal window: the client loses its terminal and gets SIGHUP."""
        # pexpect's own close() would also end the client; what is wanted is what the client does by itself.
        terminal: Any = self._process.ptyproc  # type: ignore[attr-defined]
        terminal.fileobj.close()
        terminal.fd, terminal.closed = -1, True
        self._process.child_fd, self._process.closed = -1, True

    def exit_code(self, *, within_s: float = 10.0) -> int | None:
        """Wait for the client to end; None where a signal ended it."""
        limit = time.monotonic() + within_s
        while self._process.isalive():
            if not self._process.closed:
                self._read()
            if time.monotonic() > limit:
                raise AssertionError(f"the client did not end within {within_s:.0f} s")
            time.sleep(0.02)
        return self._process.exitstatus

    def close(self) -> None:
        """End the client, whatever it does."""
        if self._process.isalive():
            # The child leads its own session, so this reaches nobody else.
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        if not self._process.closed:
            self._process.close()
