"""What a gateway process tells other systems of observation: metrics where it is asked, traces where it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.flight.record import TurnRecord
from holdfast.telemetry.following import Follower, Taker
from holdfast.telemetry.metrics import Gauges, Health, Tally, exposition
from holdfast.telemetry.traces import Destination, Traces

if TYPE_CHECKING:
    from holdfast.flight.journal import Journal

CATCH_UP_S = 5.0
"For the turns that ended since the last scrape."
LAST_S = 2.0
"At the process's end, for everything."

OnTurn = Callable[[TurnRecord], None]


class Observing:
    """Follower, sums and traces of one process; nothing of it is there where nobody wants it."""

    def __init__(self, journal: Journal, *, metrics: bool = False, otel: str | None = None) -> None:
        self._journal = journal
        self._tally = Tally() if metrics else None
        self._traces = Traces(Destination(otel, journal.instance_id)) if otel is not None else None
        takers: list[Taker] = [self._tally.add] if self._tally is not None else []
        takers += [self._traces.take] if self._traces is not None else []
        self._follower = Follower(journal.state_dir, takers) if takers else None
        self._turn = asyncio.Lock()

    def beside(self, other: OnTurn | None) -> OnTurn | None:
        """What the gateway is to call with each turn that has ended: this one and `other`."""
        follower = self._follower
        if follower is None or other is None:
            return follower or other

        def both(record: TurnRecord) -> None:
            follower(record)
            other(record)

        return both

    async def page(self, accept: str, gauges: Gauges, *, ready: bool) -> tuple[bytes, str]:
        """The metrics, and their content type; made in a thread, one scrape after the other."""
        async with self._turn:
            return await asyncio.to_thread(self._page, accept, gauges, ready)

    def _page(self, accept: str, gauges: Gauges, ready: bool) -> tuple[bytes, str]:
        follower, journal = self._follower, self._journal
        if follower is not None:
            follower.catch_up(CATCH_UP_S)
        health = Health(
            ready,
            journal.dropped_turns,
            journal.dropped_answers,
            journal.failure is None,
            0 if follower is None else follower.missed,
            None if self._traces is None else dict(self._traces.spans),
        )
        return exposition(self._tally or Tally(), gauges, health, accept)

    def close(self, timeout_s: float = LAST_S) -> None:
        """Tell what is left, for at most so long; the journal was closed before."""
        if self._traces is None or self._follower is None:
            return  # what nobody can ask for any more need not be counted
        self._follower.close(timeout_s / 2)
        self._traces.close(timeout_s / 2)
