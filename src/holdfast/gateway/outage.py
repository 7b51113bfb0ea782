"""Whether upstream can be reached at all, who tries, and how long turns wait for it.

An attempt that dies before its request was sent (DNS, connecting, TLS) costs nothing. So it may be repeated as
long as somebody has patience; but a thousand turns that each try every second are a flood of their own, and a
thousand stories of nothing. Hence, for all turns of one upstream together:

1. *Never reached: no waiting.* A typing error in a URL should be told at once. Only who has been reached can be away.
2. *Away: one turn tries for all.* The first attempt that fails says that upstream is away. From then on one turn
   at a time is let through, the probe: 0.25 s after the first began, then after twice as long, at most 2 s after
   the last one began (or as soon as it ends), and at once when the network changes. The others wait and try nothing.
3. *Back: all start.* One connection that stands ends it. Those that waited start in the order of their
   coming, spread over at most a second.
4. *A turn waits as long as its own patience*, counted from where it began to wait, not from where the outage
   began: what comes in the third hour of an outage is worth as much as what came in its first.
5. *Old news is no news.* A failure of an attempt that began before the last success says nothing.

States of a turn here: unknown, trying (an attempt was let start, and has not been reported), waiting.

    unknown -- ask --> trying | waiting        trying -- failed --> waiting | given up (unknown)
    waiting -- due --> trying | given up       trying -- worked --> unknown
    any -- leave --> unknown                   the probe -- changed --> waiting, first in the row

Whoever drives this calls `due` after every other call and at `next_at`, and does what it says: to start a turn
whose attempt is still under way means to end that one first (it began on a network that is gone). Before an
attempt on a connection that is at hand nothing need be asked. Nothing here waits; `now` is monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from holdfast.flight.endings import Ending, Mechanism, Phase, Side

BACK_OFF_S: Final = 0.25
"From the beginning of the first that failed to the first probe; twice as long after each further one."
LONGEST_BACK_OFF_S: Final = 2.0
"So soon an attempt starts after the network's return, where nobody tells us of it."
JITTER: Final = 0.25
"Up to this share of a wait is left out by chance: several gateways on a network lose it at the same moment."
SPREAD_S: Final = 1.0
"Over at most this time all that waited start,"
SPACING_S: Final = 0.02
"and no further apart than this."
YOUNG_S: Final = 1.0
"A change of the network comes as a handful of news; a probe that began so recently has seen most of it."
PROBE_GRACE_S: Final = 1.0
"Beyond the patience for connecting; then a probe of which nothing was heard holds nobody up any more."

ABSENCE: Final[Mapping[Mechanism, str]] = MappingProxyType(
    {
        Mechanism.DNS: "its name is not resolved",
        Mechanism.UNREACHABLE: "there is no route to it",
        Mechanism.KEEPALIVE_UNANSWERED: "it does not answer",
        Mechanism.DEADLINE: "it does not answer in time",
        Mechanism.REFUSED: "it refuses connections",
        Mechanism.RST: "it resets new connections",
        Mechanism.FIN: "it closes new connections",
        Mechanism.FIN_THEN_RST: "it closes new connections",
        # a portal that wants a login answers for everybody, with a certificate of its own
        Mechanism.TLS: "the TLS handshake with it fails",
        Mechanism.PROXY: "the HTTP proxy does not get through to it",
    }
)
"What says that upstream is away, and how a flight tells it. Anything else would fail again: no waiting."

REFUSED_BY_PROXY: Final = frozenset({401, 403, 407})
"The proxy's statuses that are about us, not about upstream."

BEFORE_SENDING: Final = frozenset({Phase.RESOLVING, Phase.CONNECTING, Phase.TLS})


@dataclass(frozen=True, slots=True)
class Start:
    """Start an attempt."""

    probe: bool
    "It tries for all: if it fails, that is not worth a line in the flight."


@dataclass(frozen=True, slots=True)
class Wait:
    """Start nothing; `due` is going to name this turn."""

    why: str
    "A clause: `its name is not resolved`."
    first: bool
    "Whether the turn's waiting begins here: where its flight says so."


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Start nothing more: the turn is told an error, and is forgotten here."""

    ending: Ending
    "Of its last attempt, or of the last one that was made for it."
    why: str
    "A clause: `it could not be reached for 15 minutes`."


@dataclass(slots=True)
class _Waiting:
    since: float
    "Where the turn's patience began: where it waited first."
    start_at: float = 0.0
    "Its place in the row, if upstream is there."


@dataclass(frozen=True, slots=True)
class _Trying:
    began: float
    waited_since: float | None
    "As above; None if it never had to wait."


class Outage:
    """The reachability of one upstream, for all turns of a gateway."""

    __slots__ = (
        "_chance",
        "_expires_at",
        "_failures",
        "_patience_s",
        "_probe",
        "_probe_at",
        "_probe_s",
        "_row_ends",
        "_trying",
        "_waiting",
        "_worked_at",
        "absent_since",
        "ever_answered",
        "last",
    )

    def __init__(
        self,
        *,
        patience_s: float,
        connect_s: float,
        chance: Callable[[], float],
        ever_answered: bool = False,
    ) -> None:
        """`connect_s` is how long an attempt may take until its request is sent; `chance` gives numbers from 0 to 1."""
        self.ever_answered = ever_answered
        "Whether a connection to it has ever stood."
        self.absent_since: float | None = None
        "Where the first attempt began that failed; None unless upstream is away."
        self.last: Ending | None = None
        "Of the last attempt that found it away."
        self._patience_s = patience_s
        self._probe_s = connect_s + PROBE_GRACE_S
        self._chance = chance
        self._waiting: dict[Hashable, _Waiting] = {}
        "In the order in which they are to start."
        self._trying: dict[Hashable, _Trying] = {}
        self._expires_at = math.inf
        "No patience ends before."
        self._row_ends = -math.inf
        "Where the last of the row starts."
        self._failures = 0
        "Of probes, one after the other."
        self._probe: Hashable | None = None
        self._probe_at = 0.0
        "When the next probe may start; while there is one, when it began."
        self._worked_at = -math.inf

    def __repr__(self) -> str:
        state = "present" if self.ever_answered else "never reached"
        if self.absent_since is not None:
            state = f"away ({self.why})"
        return f"<Outage: upstream {state}, {len(self._trying)} trying, {len(self._waiting)} waiting>"

    @property
    def why(self) -> str:
        """How it is known that upstream is away, as a clause; empty while it is not."""
        return ABSENCE[self.last.mechanism.rule] if self.absent_since is not None and self.last else ""

    # -- what the turns tell ------------------------------------------------------------------------

    def ask(self, turn: Hashable, now: float) -> Start | Wait:
        """A turn wants to connect."""
        if turn in self._waiting:
            return Wait(self.why, first=False)
        before = self._trying.pop(turn, None)
        waited_since = before.waited_since if before is not None else None
        if self.absent_since is not None:
            return self._queue(turn, waited_since, now, self.why)
        self._trying[turn] = _Trying(now, waited_since)
        return Start(probe=False)

    def worked(self, turn: Hashable, now: float) -> float | None:
        """Its connection stands, TLS included. Returns how long the turn has waited for that, if it had to wait."""
        tried = self._trying.pop(turn, None)
        self.ever_answered = True
        self._worked_at = now
        if self.absent_since is not None:
            self.absent_since, self._probe, self._failures = None, None, 0
            apart = min(SPACING_S, SPREAD_S / max(1, len(self._waiting)))
            for place, waiting in enumerate(self._waiting.values()):
                waiting.start_at = self._row_ends = now + place * apart
        return now - tried.waited_since if tried is not None and tried.waited_since is not None else None

    def failed(self, turn: Hashable, ending: Ending, now: float) -> Wait | GiveUp:
        """Its attempt died before the request was sent. Raises `ValueError` for an ending of a later phase."""
        if ending.phase not in BEFORE_SENDING:
            raise ValueError(f"{ending.code}: of an attempt that may have sent its request")
        if turn in self._waiting:  # the change of the network came first
            return Wait(self.why, first=False)
        tried = self._trying.pop(turn, None)
        if tried is None:
            return GiveUp(ending, "nobody waits for it any more")
        if turn == self._probe:
            self._probe = None
            self._failures += 1
            self._probe_at = max(now, self._probe_at + self._back_off(self._failures))
        refusal = self._refusal(ending, tried.waited_since, now)
        if refusal is not None:
            return GiveUp(ending, refusal)
        self.last = ending
        if self.absent_since is None and tried.began >= self._worked_at:
            self.absent_since, self._failures = tried.began, 1
            self._probe_at = max(now, tried.began + self._back_off(1))
        return self._queue(turn, tried.waited_since, now, ABSENCE[ending.mechanism.rule])

    def leave(self, turn: Hashable) -> None:
        """It is over, or nobody listens to it any more: it wants no connection for now."""
        self._waiting.pop(turn, None)
        self._trying.pop(turn, None)
        if turn == self._probe:
            self._probe = None
            self._probe_at += self._back_off(max(1, self._failures))

    def changed(self, now: float) -> None:
        """The network changed, or the machine woke up: what was found before may be wrong."""
        if self.absent_since is None:
            return
        self._failures = 0
        if self._probe is None:
            self._probe_at = now
        elif now - self._probe_at >= YOUNG_S:
            probe, self._probe, self._probe_at = self._probe, None, now
            since = self._trying[probe].waited_since
            # One that has no patience left may as well finish what it tries.
            if since is not None and now < since + self._patience_s:
                del self._trying[probe]
                self._waiting = {probe: _Waiting(since), **self._waiting}
                self._expires_at = min(self._expires_at, since + self._patience_s)

    # -- what is to be done -------------------------------------------------------------------------

    def due(self, now: float) -> list[tuple[Hashable, Start | GiveUp]]:
        """What is to be done now, in this order."""
        done: list[tuple[Hashable, Start | GiveUp]] = []
        if now >= self._expires_at:
            done += self._run_out_of_patience(now)
        if self.absent_since is None:
            while self._waiting:
                turn, waiting = next(iter(self._waiting.items()))
                if waiting.start_at > now:
                    break
                self._start(turn, now)
                done.append((turn, Start(probe=False)))
            return done
        if self._probe is not None and now >= self._probe_at + self._probe_s:
            self._probe, self._probe_at = None, now
        if self._probe is None and self._waiting and now >= self._probe_at:
            self._probe, self._probe_at = next(iter(self._waiting)), now
            self._start(self._probe, now)
            done.append((self._probe, Start(probe=True)))
        return done

    @property
    def next_at(self) -> float | None:
        """When `due` is to be called next; None while nobody waits."""
        if not self._waiting:
            return None
        if self.absent_since is None:
            at = next(iter(self._waiting.values())).start_at
        else:
            at = self._probe_at if self._probe is None else self._probe_at + self._probe_s
        return min(at, self._expires_at)

    # -- rules --------------------------------------------------------------------------------------

    def _refusal(self, ending: Ending, waited_since: float | None, now: float) -> str | None:
        if not is_absence(ending):
            return "waiting would not help"
        if not self.ever_answered:
            return "it has never been reached"
        if now - (now if waited_since is None else waited_since) >= self._patience_s:
            return self._too_long()
        return None

    def _queue(self, turn: Hashable, waited_since: float | None, now: float, why: str) -> Wait:
        """Let it wait, last in the row."""
        since = now if waited_since is None else waited_since
        self._row_ends = max(self._row_ends, now + self._back_off(1))
        self._waiting[turn] = _Waiting(since, self._row_ends)
        self._expires_at = min(self._expires_at, since + self._patience_s)
        return Wait(why, first=waited_since is None)

    def _start(self, turn: Hashable, now: float) -> None:
        self._trying[turn] = _Trying(now, self._waiting.pop(turn).since)

    def _run_out_of_patience(self, now: float) -> list[tuple[Hashable, Start | GiveUp]]:
        assert self.last is not None
        over = [turn for turn, waiting in self._waiting.items() if now >= waiting.since + self._patience_s]
        for turn in over:
            del self._waiting[turn]
        self._expires_at = min((w.since + self._patience_s for w in self._waiting.values()), default=math.inf)
        return [(turn, GiveUp(self.last, self._too_long())) for turn in over]

    def _too_long(self) -> str:
        minutes = self._patience_s / 60
        return (
            f"it could not be reached for {minutes:.0f} minutes"
            if minutes >= 2
            else "it could not be reached"
        )

    def _back_off(self, failures: int) -> float:
        longest = min(LONGEST_BACK_OFF_S, BACK_OFF_S * 2.0 ** min(failures - 1, 10))
        return longest * (1 - JITTER * self._chance())


def is_absence(ending: Ending) -> bool:
    """Whether an attempt that ended like this, before its request was sent, found upstream away."""
    if ending.mechanism.rule not in ABSENCE or ending.side is Side.MACHINE:
        return False
    return ending.mechanism is not Mechanism.PROXY or ending.evidence.get("status") not in REFUSED_BY_PROXY
