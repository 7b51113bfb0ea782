"""Which of a turn's deadlines have passed, and when to look again. Arithmetic about waiting; nothing waits here.

Bytes move the clocks but arm no timer: the engine looks again at the time that was given to it, finds
that something was heard meanwhile, and gets a later one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from holdfast.gateway.profiles import Limit

LINGER_S = 5.0
"How long the end of HTTP's response is waited for after the answer's last event."


class Due(Enum):
    """A deadline that has passed."""

    TURN = "turn"
    "The turn's own: grace, orphan, unheard."
    OPEN_EARLY = "open early"
    "Upstream's headers did not come within the header patience."
    HEDGE = "hedge"
    "Upstream has not spoken for so long that the question is to be asked a second time."
    KEEPALIVE = "keepalive"
    "The reader has heard nothing for the keepalive interval."
    QUIET_NOTICED = "quiet noticed"
    "Upstream has said nothing for the keepalive interval."
    QUIET_EXPIRED = "quiet expired"
    "Upstream has said nothing for longer than anybody can be asked to believe."
    LINGER = "linger"
    "The answer was finished some time ago and upstream has not ended its response."


@dataclass(slots=True)
class Clocks:
    """When things happened last, in monotonic seconds; None where the clock does not run."""

    turn_deadline: float | None = None
    awaiting_headers_since: float | None = None
    "A reader's request, while neither upstream nor we have given it headers."
    reader_silent_since: float | None = None
    "The last byte to a reader that keepalives can be sent to."
    upstream_silent_since: float | None = None
    "The last byte of upstream's, or the request's last byte, while an attempt is under way."
    finished_since: float | None = None
    "The answer's last event, while upstream's response is still open."
    quiet_noticed: bool = False
    unspoken_since: float | None = None
    "The request's last byte, while no event of the answer has come and no second attempt was made."


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each clock may run, in seconds; None for ever."""

    headers_s: float | None
    keepalive_s: float
    quiet_s: float
    linger_s: float = LINGER_S
    hedge_s: float | None = None
    "For an answer's first event, before it is asked for a second time; None for never."


KEEPALIVES_OFF_S = 60.0
"A longer interval than this is how keepalives are switched off."
SHARE_OF_CLIENTS_LIMIT = 0.4
"So that two keepalives fit into a client's limit, and one may be late."


def keepalive_interval(configured_s: float, limits: Iterable[Limit]) -> float:
    """Seconds of silence towards a reader before a keepalive: as configured, or less for a less patient client."""
    if configured_s > KEEPALIVES_OFF_S:
        return configured_s
    idle = [
        limit.seconds for limit in limits if limit.clock in ("bytes", "events") and limit.applies != "whole"
    ]
    return min([configured_s, *(SHARE_OF_CLIENTS_LIMIT * seconds for seconds in idle)])


def due(clocks: Clocks, patience: Patience, now: float) -> tuple[list[Due], float | None]:
    """The deadlines that have passed by `now`, and the monotonic time of the next one (None: none runs)."""
    passed: list[Due] = []
    upcoming: float | None = None
    for name, at in _deadlines(clocks, patience):
        if at <= now:
            passed.append(name)
        elif at != math.inf and (upcoming is None or at < upcoming):
            upcoming = at
    return passed, upcoming


def _deadlines(clocks: Clocks, patience: Patience) -> list[tuple[Due, float]]:
    found: list[tuple[Due, float]] = []
    if clocks.turn_deadline is not None:
        found.append((Due.TURN, clocks.turn_deadline))
    if clocks.awaiting_headers_since is not None and patience.headers_s is not None:
        found.append((Due.OPEN_EARLY, clocks.awaiting_headers_since + patience.headers_s))
    if clocks.upstream_silent_since is not None:
        if not clocks.quiet_noticed:
            found.append((Due.QUIET_NOTICED, clocks.upstream_silent_since + patience.keepalive_s))
        found.append((Due.QUIET_EXPIRED, clocks.upstream_silent_since + patience.quiet_s))
    if clocks.unspoken_since is not None and patience.hedge_s is not None:
        found.append((Due.HEDGE, clocks.unspoken_since + patience.hedge_s))
    if clocks.reader_silent_since is not None:
        found.append((Due.KEEPALIVE, clocks.reader_silent_since + patience.keepalive_s))
    if clocks.finished_since is not None:
        found.append((Due.LINGER, clocks.finished_since + patience.linger_s))
    return found
