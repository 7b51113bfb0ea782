"""How a lab server lives: on the caller's loop (`async with`), or in a thread of its own (`running()`).

`running()` is for callers without a loop, and for tests whose own loop must not be slowed by the lab.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Self

POLL_S = 0.005
"Between two looks at a condition."


class Hosted(ABC):
    """A server that can be started and stopped on any loop."""

    @abstractmethod
    async def start(self) -> None:
        """Bind and listen."""

    @abstractmethod
    async def stop(self) -> None:
        """Close everything at once."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Serve from a thread of its own until the block is left."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name=type(self).__name__, daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.start(), loop).result(10)
            try:
                yield self
            finally:
                try:
                    asyncio.run_coroutine_threadsafe(self.stop(), loop).result(10)
                finally:
                    asyncio.run_coroutine_threadsafe(_end_tasks(), loop).result(10)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    def wait_until(self, condition: Callable[[Self], bool], *, seconds: float = 5.0) -> None:
        """Block until the condition holds (from another thread); `TimeoutError` if it does not."""
        deadline = monotonic() + seconds
        while not condition(self):
            if monotonic() > deadline:
                raise TimeoutError(f"not so within {seconds:g} s: {self!r}")
            sleep(POLL_S)

    async def until(self, condition: Callable[[Self], bool], *, seconds: float = 5.0) -> None:
        """As `wait_until`, on a loop."""
        deadline = monotonic() + seconds
        while not condition(self):
            if monotonic() > deadline:
                raise TimeoutError(f"not so within {seconds:g} s: {self!r}")
            await asyncio.sleep(POLL_S)


async def _end_tasks() -> None:
    """Let every task of this loop end: one whose connection was lost a moment ago is cancelled, and not over yet."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
