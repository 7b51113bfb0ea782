"""An event loop whose clock jumps to the next thing that happens. No socket, no thread, no waiting.

What is due at one instant runs in the order in which it was asked for, so a schedule runs the same way every
time. An exception that leaves a callback or a task ends the run: in a real process it would be a log line.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")
SPINS = 20_000
"So many looks at a clock that stands still are a loop that does not end."
START_S = 1000.0
"Where a loop's clock begins, in virtual monotonic seconds."


class Timer(asyncio.TimerHandle):
    """What `call_at` gives. `call` is None once it ran or was cancelled."""

    __slots__ = ("arguments", "at", "call")

    def __init__(self, at: float, call: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.at = at
        self.call: Callable[..., object] | None = call
        self.arguments = arguments

    def __repr__(self) -> str:
        return f"<Timer {self.at:.3f} {self.call!r}>"

    def cancel(self) -> None:
        self.call = None
        self.arguments = ()

    def cancelled(self) -> bool:
        return self.call is None

    def when(self) -> float:
        return self.at


class VirtualLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as the gateway's own code uses."""

    def __init__(self) -> None:
        self.now = START_S
        self.tasks: list[asyncio.Task[Any]] = []
        self._ready: deque[Timer] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._looks = 0

    def __repr__(self) -> str:
        return f"<VirtualLoop {self.now:.3f} s, {len(self._ready)} ready, {len(self._timers)} timers>"

    def time(self) -> float:
        self._looks += 1
        if self._looks > SPINS:
            raise RuntimeError(f"the clock was read {SPINS} times at {self.now:.3f}")
        return self.now

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = Timer(self.now, callback, args)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = Timer(when, callback, args)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **_: Any
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name or "virtual")
        self.tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Said of tasks that nobody asked; whoever runs the loop asks them all (`failed`)."""

    def failed(self) -> list[BaseException]:
        """What escaped from tasks."""
        done = [task for task in self.tasks if task.done() and not task.cancelled()]
        return [error for task in done if (error := task.exception()) is not None]

    def run(self, until: float) -> None:
        """Let everything happen up to that time, or until nothing is left to happen."""
        ready, timers = self._ready, self._timers
        asyncio._set_running_loop(self)
        try:
            while True:
                while ready:
                    handle = ready.popleft()
                    call, handle.call = handle.call, None
                    if call is not None:
                        call(*handle.arguments)
                while timers and timers[0][2].call is None:
                    heapq.heappop(timers)
                if not timers or timers[0][0] > until:
                    return
                if timers[0][0] > self.now:
                    self.now = timers[0][0]
                    self._looks = 0
                while timers and timers[0][0] <= self.now:
                    ready.append(heapq.heappop(timers)[2])
        finally:
            asyncio._set_running_loop(None)

    def halt(self) -> None:
        """Let nothing more happen."""
        self._ready.clear()
        self._timers.clear()

    def pending(self) -> list[Timer]:
        """What would still happen."""
        return [handle for _, _, handle in self._timers if handle.call is not None] + list(self._ready)
