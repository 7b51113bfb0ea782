"""The gateway of one `run`, as a process of its own: `python -P -m holdfast.cli.gateway_process CONTROL LISTEN`.

Both arguments are inherited file descriptors. It lives in its own session, so that the terminal's signals
reach the command alone. It ends when it is told that the command ended. If the control socket closes before
that, the supervisor died: the command may live on and still needs its port, so the gateway stays until that
process is gone too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable

from holdfast.cli.control import (
    Child,
    ChildGone,
    Ready,
    Refused,
    Start,
    counts_from,
    decode_to_gateway,
    encode,
)
from holdfast.cli.gateway_log import LOG_NAME, LogFile
from holdfast.cli.observing import Observing
from holdfast.cli.turnline import turn_text
from holdfast.flight.journal import Journal
from holdfast.flight.record import TurnRecord
from holdfast.flight.schema import JournalError
from holdfast.flight.state import StateError, state_path
from holdfast.gateway.server import Gateway, run_loop
from holdfast.gateway.upstream.dial import UpstreamError

LAST_TRACES_S = 0.4
"For traces of the last turns; what the collector does not take by then is not told."
EXPECTED = (StateError, JournalError, UpstreamError)
"What can keep a gateway from starting and says itself what to do; anything else leaves its traceback in the log."
STOP_S = 1.0
"How long unfinished turns get to be written down after the command ended; `run` must be back within 2 s."


async def process_ended(pid: int, *, every_s: float = 0.5) -> None:
    """Return once a process (not our child) is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        while _alive(pid):  # noqa: ASYNC110 (macOS: another's child can only be asked for)
            await asyncio.sleep(every_s)
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def live(control: socket.socket, listener: socket.socket) -> None:
    """Be the gateway until the command is gone."""
    reader, writer = await asyncio.open_connection(sock=control)
    first = decode_to_gateway(await reader.readline())
    if not isinstance(first, Start):
        raise TypeError(f"expected Start, got {type(first).__name__}")
    settings = first.settings
    state_dir = settings.state_dir or state_path()
    log = LogFile(state_dir / LOG_NAME)
    journal = Journal(state_dir, record=settings.record, retention=first.retention, kind="run")
    observing = Observing(journal, otel=first.otel)
    gateway: Gateway | None = None

    def turn_ended(record: TurnRecord) -> None:
        log.write(turn_text(record))
        if gateway is not None:
            writer.write(encode(counts_from(gateway.summary())))

    try:
        gateway = Gateway(settings, journal, on_turn=observing.beside(turn_ended))
        await gateway.listen(sock=listener)
        writer.write(encode(Ready()))
        await _until_command_is_gone(reader)
        gateway.client_gone()
        if first.memory_file is not None:
            first.memory_file.unlink(missing_ok=True)
        await _until(lambda: not gateway.open_turns(), STOP_S)
        writer.write(encode(counts_from(gateway.summary(), final=True)))
        with contextlib.suppress(OSError):
            await writer.drain()
        await gateway.close()
    finally:
        journal.close()
        observing.close(LAST_TRACES_S)
        writer.close()


async def _until_command_is_gone(reader: asyncio.StreamReader) -> None:
    command: int | None = None
    while line := await reader.readline():
        message = decode_to_gateway(line)
        if isinstance(message, Child):
            command = message.pid
        elif isinstance(message, ChildGone):
            return
    if command is not None:
        await process_ended(command)


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 (a count, not an event)
        await asyncio.sleep(0.02)


def main() -> None:
    """Entry point; a failure to start is told over the control socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    listener = socket.socket(fileno=int(sys.argv[2]))
    control.setblocking(False)
    listener.setblocking(False)
    # The loop closes its end of the control socket before it lets an error out.
    last_words = control.dup()
    try:
        run_loop(live(control, listener))
    except Exception as error:
        with contextlib.suppress(OSError):
            last_words.send(encode(Refused(refusal(error))))
        if isinstance(error, EXPECTED):
            sys.exit(1)
        raise


def refusal(error: Exception) -> str:
    """Why the gateway cannot start, for the user's eyes."""
    if isinstance(error, EXPECTED):
        return str(error)
    return f"{type(error).__name__}: {error}; see {LOG_NAME} in the state directory"


if __name__ == "__main__":
    main()
