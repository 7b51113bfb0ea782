"""The supervisor of `run`: one command in the foreground, one gateway process that is never missed for long.

The command shares our process group and terminal, so that Ctrl-C, Ctrl-Z and resizing reach it as if we were
not there. We survive those signals, hand on what was sent to us alone (`group_witness`), and follow the command: when it
stops, we stop, so that the shell gets its prompt; when it ends, we end the same way. The listening socket is ours, so
the port outlives a crashed gateway: connections wait in its queue for the few hundred milliseconds until the next one
accepts them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.cli.control import (
    Child,
    ChildGone,
    Counts,
    Lines,
    Ready,
    Refused,
    Start,
    ToGateway,
    decode_from_gateway,
    encode,
)
from holdfast.cli.group_witness import GroupWitness
from holdfast.flight.plain_files import only_files

START_S = 15.0
"For the gateway to be ready the first time."
STOP_S = 1.6
"For the gateway to stop what is unfinished and report; with the rest of the way out it makes 2 s."
RESTART_S = (0.0, 0.2, 0.5, 0.8)
"Before the first, second, ... restart in a row; the last one from then on. Always within a second."
STEADY_S = 10.0
"A gateway that lived this long starts the row anew."

GATEWAY_VARIABLES = ("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "HOLDFAST_STATE_DIR")
"All that the gateway process inherits, with the prefixes below: its settings come over the control socket."
GATEWAY_PREFIXES = (
    "LC_",
    "XDG_",
    "PYTHON",
    "SSL_CERT_",
    "OTEL_EXPORTER_OTLP_",
    "OTEL_SERVICE_",
    "OTEL_RESOURCE_",
)

_KEYS = (signal.SIGINT, signal.SIGQUIT)
"What the terminal makes of Ctrl-C and Ctrl-\\."
_HANDED_ON = (*_KEYS, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT, signal.SIGUSR1, signal.SIGUSR2)
_FOLLOWED = (signal.SIGCHLD, signal.SIGTSTP, *_HANDED_ON)
SETTLE_S = 0.05
"From a signal to asking who else got it: whoever sends to many does so one after the other."


class GatewayFailed(Exception):
    """The gateway process could not be started; the text says why."""


class NotStarted(Exception):
    """The command could not be executed; the text says why."""


def gateway_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a gateway process is given."""
    return {
        name: value
        for name, value in environ.items()
        if name in GATEWAY_VARIABLES or name.startswith(GATEWAY_PREFIXES)
    }


class GatewayProcess:
    """The gateway, again and again on the same socket, with the counts of all its lives."""

    def __init__(self, listener: socket.socket, start: Start, environ: Mapping[str, str], log: Path) -> None:
        self._listener = listener
        self._start = start
        self._environ = gateway_environment(environ)
        self._log = log
        self._lines = Lines()
        self._ended_counts = Counts()
        self._counts = Counts()
        self._command: int | None = None
        self._in_a_row = 0
        self._started_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self.control: socket.socket | None = None
        "Our end of the control socket; None between two lives."
        self.ready = False
        self.refused: str | None = None
        self.restarts = 0
        self.restart_at_s: float | None = None
        "When to call `spawn` again, on the monotonic clock."

    @property
    def counts(self) -> Counts:
        """What all lives together have done, as far as they told."""
        return self._ended_counts + self._counts

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._process.pid if self._process is not None else None

    def spawn(self) -> None:
        """Start a gateway process. Raises `OSError`. `-P`: the working directory may hold a module of any name."""
        ours, theirs = socket.socketpair()
        arguments = [sys.executable, "-P", "-m", "holdfast.cli.gateway_process"]
        arguments += [str(theirs.fileno()), str(self._listener.fileno())]
        log = self._open_log()
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._environ,
                pass_fds=(theirs.fileno(), self._listener.fileno()),
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            os.close(log)
            theirs.close()
        self.control, self._lines, self.ready = ours, Lines(), False
        self._started_s, self.restart_at_s = time.monotonic(), None
        self.send(self._start)
        if self._command is not None:
            self.send(Child(self._command))

    def _open_log(self) -> int:
        """The log, or nothing where it cannot be had: somebody removed the state directory under a running command."""
        try:
            return os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    def send(self, message: ToGateway) -> None:
        """Tell the gateway; if it is not there any more, `reap` will find out."""
        if self.control is not None:
            with contextlib.suppress(OSError):
                self.control.sendall(encode(message))

    def serves(self, command: int) -> None:
        """The command runs; every later life is told, too."""
        self._command = command
        self.send(Child(command))

    def read(self) -> bool:
        """Take in what the gateway said. False at the end of its words."""
        if self.control is None:
            return False
        try:
            data = self.control.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        for line in self._lines.feed(data):
            message = decode_from_gateway(line)
            if isinstance(message, Counts):
                self._counts = message
            elif isinstance(message, Ready):
                self.ready = True
            elif isinstance(message, Refused):
                self.refused = message.reason
        return bool(data)

    def reap(self, now_s: float) -> bool:
        """Whether the process has just been found dead; if so, when to restart it is decided."""
        if self._process is None or self._process.poll() is None:
            return False
        while self.read():
            pass
        self._close()
        self._ended_counts, self._counts = self.counts, Counts()
        self._process = None
        self._in_a_row = 0 if now_s - self._started_s > STEADY_S else self._in_a_row + 1
        self.restart_at_s = now_s + RESTART_S[min(max(self._in_a_row - 1, 0), len(RESTART_S) - 1)]
        return True

    def restart_if_due(self, now_s: float) -> bool:
        """Start the next life if its time has come."""
        if self.restart_at_s is None or now_s < self.restart_at_s:
            return False
        try:
            self.spawn()
        except OSError:
            # No process to be had at this moment. The command goes on, and so does its port.
            self.restart_at_s = now_s + RESTART_S[-1]
            return False
        self.restarts += 1
        return True

    def wait_until_ready(self) -> None:
        """Wait for the first life. Raises `GatewayFailed`."""
        deadline = time.monotonic() + START_S
        while not self.ready:
            self._wait_readable(deadline - time.monotonic())
            if not self.read() or self.refused is not None:
                self._kill()
                raise GatewayFailed(self.refused or f"the gateway ended at once; see {self._log}")
            if time.monotonic() > deadline:
                self._kill()
                raise GatewayFailed(f"the gateway was not ready within {START_S:g} s; see {self._log}")

    def finish(self) -> Counts:
        """Have it stop what is unfinished and report. Takes no longer than `STOP_S`."""
        deadline = time.monotonic() + STOP_S
        self.send(ChildGone())
        while not self._counts.final and time.monotonic() < deadline:
            self._wait_readable(deadline - time.monotonic())
            if not self.read():
                break
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.05, deadline - time.monotonic()))
        self._kill()
        return self.counts

    def _wait_readable(self, seconds: float) -> None:
        if self.control is not None:
            with selectors.DefaultSelector() as selector:
                selector.register(self.control, selectors.EVENT_READ)
                selector.select(max(0.0, seconds))

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        if self.control is not None:
            self.control.close()
            self.control = None


# -- the command -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command ended: by itself, or by a signal."""

    code: int
    signal: int | None = None


def read_status(status: int) -> Ended | None:
    """What `waitpid` said; None if the process has only stopped or gone on."""
    if os.WIFEXITED(status):
        return Ended(os.WEXITSTATUS(status))
    if os.WIFSIGNALED(status):
        return Ended(128 + os.WTERMSIG(status), os.WTERMSIG(status))
    return None


def has_terminal() -> bool:
    """Whether this process has a controlling terminal; after a hang-up it has none."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def started(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The command's process. Raises `OSError`. A script that names no interpreter is for the shell, as everywhere."""
    try:
        return subprocess.Popen(command, env=dict(environ), close_fds=False)
    except OSError as error:
        path = shutil.which(command[0], path=environ.get("PATH"))
        if error.errno != errno.ENOEXEC or path is None or not _is_text(path):
            raise
        return subprocess.Popen(["/bin/sh", path, *command[1:]], env=dict(environ), close_fds=False)


def _is_text(path: str) -> bool:
    """Whether a program may be a script, and not one for another kind of machine. Shells look in the same way."""
    try:
        with open(path, "rb", opener=only_files) as file:
            return b"\0" not in file.read(128)
    except OSError:
        return False


class Foreground:
    """Follows signals and the two processes until the command ends."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self._command: int | None = None
        self._witness: GroupWitness | None = None
        self._arrived: set[int] = set()
        "Signals of which it is not yet known who else got them."
        self._settled_at_s: float | None = None
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_in, selectors.EVENT_READ)

    def run(self, command: Sequence[str], environ: Mapping[str, str]) -> Ended:
        """Run the command to its end. Raises `NotStarted` where it cannot be executed."""
        # Handlers, not SIG_IGN: a handler is reset by exec, an ignored signal would stay ignored in the command.
        # What was ignored when we came (nohup, a background job) stays so for both.
        for number in _FOLLOWED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _do_nothing)
        self._witness = GroupWitness(_HANDED_ON)
        signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        # Descriptors that the user had opened for the command (3<file) are its own business: not closed.
        try:
            try:
                process = started(command, environ)
            except OSError as error:
                raise NotStarted(error.strerror or str(error)) from None
            self._command = process.pid
            self._gateway.serves(process.pid)
            self._watch_control()
            ended = self._loop(process.pid)
            process.returncode = ended.code
            return ended
        finally:
            signal.set_wakeup_fd(-1)
            self._witness.close()

    def _loop(self, pid: int) -> Ended:
        while True:
            ended = self._follow(pid)
            if ended is not None:
                return ended
            now_s = time.monotonic()
            if self._gateway.control is not None and self._gateway.reap(now_s):
                self._watch_control()
            if self._gateway.restart_if_due(time.monotonic()):
                self._watch_control()
            self._hand_on(time.monotonic())
            self._wait()

    def _wait(self) -> None:
        due = [at for at in (self._gateway.restart_at_s, self._settled_at_s) if at is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._wake_in:
                self._take_signals()
            elif not self._gateway.read():
                # Its words have ended, so it is about to be found dead; SIGCHLD will wake us for that.
                self._selector.unregister(key.fileobj)

    def _watch_control(self) -> None:
        for key in list(self._selector.get_map().values()):
            if key.fileobj is not self._wake_in:
                self._selector.unregister(key.fileobj)
        if self._gateway.control is not None:
            self._selector.register(self._gateway.control, selectors.EVENT_READ)

    def _take_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in self._wake_in.recv(4096):
                self._follow_signal(number)

    def _follow_signal(self, number: int) -> None:
        if number in _HANDED_ON:
            self._arrived.add(number)
            if self._settled_at_s is None:
                self._settled_at_s = time.monotonic() + SETTLE_S

    def _hand_on(self, now_s: float) -> None:
        """Hand on what only we were sent, once that is known."""
        if self._settled_at_s is None or now_s < self._settled_at_s or self._command is None:
            return
        heard = self._witness.heard(4 * SETTLE_S) if self._witness is not None else None
        if heard is None:
            # Without a witness: keys come from the terminal, where there is one.
            heard = frozenset(_KEYS) if has_terminal() else frozenset()
        for number in sorted(self._arrived - heard):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._command, number)
        self._arrived, self._settled_at_s = set(), None

    def _follow(self, pid: int) -> Ended | None:
        """The command's end, if it has come. If it has stopped, stop too until someone continues us."""
        while True:
            found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if found == 0:
                return None
            ended = read_status(status)
            if ended is not None:
                return ended
            if os.WIFSTOPPED(status):
                os.kill(os.getpid(), signal.SIGSTOP)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


def _do_nothing(number: int, frame: object) -> None:
    """Being called is enough: the wake-up socket has the number."""


def end_like(ended: Ended) -> int:
    """End by the signal that ended the command, so that the shell sees what it would have seen; else its code."""
    if ended.signal is not None:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if ended.signal != signal.SIGKILL:
                signal.signal(ended.signal, signal.SIG_DFL)
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:  # closed before we came
                    stream.flush()
            os.kill(os.getpid(), ended.signal)
    return ended.code
