"""A lab server in a thread of its own leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any

from holdfast.lab.hosting import Hosted


class Late(Hosted):
    """A server whose last connection is accepted while it stops."""

    task: asyncio.Task[Any]

    async def start(self) -> None: ...

    async def stop(self) -> None:
        asyncio.get_running_loop().call_soon(self._accepted)

    def _accepted(self) -> None:
        self.task = asyncio.get_running_loop().create_task(asyncio.Queue[int]().get())


def test_what_is_accepted_while_a_server_stops_ends_with_it() -> None:
    """A task that waits on a closed loop would complain when it is collected, in some other test."""
    with Late().running() as server:
        pass
    assert server.task.cancelled()
