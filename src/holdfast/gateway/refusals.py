"""Requests that the gateway refused: counted, and told in one line now and then.

A refused request is no turn: it may be no HTTP, or somebody's who must not be here, and whoever sends a thousand of
them must not fill the journal. So there is one note soon after the first, then one for all that came within a minute,
then within two, four, and so on up to an hour, until an interval passes without any.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

SOON_S: Final = 1.0
"After the first: those that come together are told together."
FIRST_S: Final = 60.0
LONGEST_S: Final = 3600.0
MOST_REASONS: Final = 20
"In one line. Reasons are the gateway's own words, so there are no more; this makes sure."

_CLAUSE: Final = re.compile(r"[:;(]")


class Timer(Protocol):
    """What a loop gives for a call that is to come."""

    def cancel(self) -> None:
        """It is not to come."""


class Loop(Protocol):
    """As much of an event loop as is needed here."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call it after so many seconds."""


class Refusals:
    """Counts refusals by status and reason, and tells them."""

    __slots__ = ("_counts", "_every_s", "_loop", "_tell", "_timer", "by_status")

    def __init__(self, loop: Loop, tell: Callable[[str], None]) -> None:
        """`tell` is given a line such as `refused 3 requests: 413 the request is larger than 100 bytes (3)`."""
        self._loop = loop
        self._tell = tell
        self._counts: Counter[tuple[int, str]] = Counter()
        self._every_s = FIRST_S
        self._timer: Timer | None = None
        self.by_status: Counter[int] = Counter()
        "Since the start."

    def __repr__(self) -> str:
        return f"<Refusals {self.by_status.total()}, {self._counts.total()} of them untold>"

    def count(self, status: int, message: str) -> None:
        """One more. Of the message only its first clause is kept; it must be ours, without a word of the request's."""
        self.by_status[status] += 1
        key = status, _CLAUSE.split(message)[0].strip()
        if key not in self._counts and len(self._counts) >= MOST_REASONS:
            key = status, "other reasons"
        self._counts[key] += 1
        if self._timer is None:
            self._timer = self._loop.call_later(SOON_S, self._say)

    def close(self) -> None:
        """Tell what was not told."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._counts:
            self._tell(line(self._counts))
            self._counts.clear()

    def _say(self) -> None:
        self._timer = None
        if not self._counts:
            self._every_s = FIRST_S
            return
        self._tell(line(self._counts))
        self._counts.clear()
        self._timer = self._loop.call_later(self._every_s, self._say)
        self._every_s = min(2 * self._every_s, LONGEST_S)


def line(counts: Counter[tuple[int, str]]) -> str:
    """`refused 4 requests: 401 this gateway wants its access token (3), 400 this is not HTTP (1)`; the most first."""
    total = counts.total()
    parts = [f"{status} {reason} ({count})" for (status, reason), count in counts.most_common()]
    return f"refused {total} request{'' if total == 1 else 's'}: {', '.join(parts)}"
