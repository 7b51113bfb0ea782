"""Who may connect upstream, and when: the outage's rules, driven for all turns of one gateway.

An attempt that needs a fresh connection asks here. While upstream is away it waits, one attempt at a time
tries for all, and news of the network is passed on at once. What is decided is decided in `outage`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from holdfast.flight.endings import Ending
from holdfast.gateway.outage import GiveUp, Outage, Start, Wait

if TYPE_CHECKING:
    from holdfast.gateway.asking import Asking


class Reaching:
    """All attempts of one gateway that have no connection yet."""

    def __init__(
        self, outage: Outage, loop: asyncio.AbstractEventLoop, *, told: Callable[[str], None]
    ) -> None:
        self.outage = outage
        self._loop = loop
        self._told = told
        "Told when upstream is away and when it is back, for the gateway's own log."
        self._timer: asyncio.TimerHandle | None = None
        self._away = False

    def __repr__(self) -> str:
        return f"<Reaching {self.outage!r}>"

    def want(self, asking: Asking) -> None:
        """It needs a fresh connection."""
        answer = self.outage.ask(asking, self._loop.time())
        if isinstance(answer, Start):
            asking.connect()
        elif answer.first:
            asking.wait_for_upstream(answer.why)
        self._look()

    def worked(self, asking: Asking) -> None:
        """Its connection stands."""
        waited = self.outage.worked(asking, self._loop.time())
        if waited is not None:
            asking.upstream_is_back(waited)
        self._look()

    def failed(self, asking: Asking, ending: Ending) -> str | None:
        """Its try came to nothing. Why it is not to wait; None where it waits."""
        answer = self.outage.failed(asking, ending, self._loop.time())
        if isinstance(answer, Wait) and answer.first:
            asking.wait_for_upstream(answer.why)
        self._look()
        return answer.why if isinstance(answer, GiveUp) else None

    def leave(self, asking: Asking) -> None:
        """It wants no connection any more."""
        self.outage.leave(asking)
        self._look()

    def changed(self) -> None:
        """The network changed, or the machine woke up."""
        self.outage.changed(self._loop.time())
        self._look()

    def close(self) -> None:
        """Start nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Do what is due, and come back when something is again."""
        for turn, what in self.outage.due(self._loop.time()):
            asking = cast("Asking", turn)
            if isinstance(what, Start):
                asking.connect()
            else:
                asking.give_up(what.ending, what.why)
        away = self.outage.absent_since is not None
        if away != self._away:
            self._away = away
            self._told(f"upstream is away: {self.outage.why}" if away else "upstream is back")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self.outage.next_at
        if at is not None:
            self._timer = self._loop.call_at(at, self._look)
