"""Whether upstream is asked again after a paid break, when, and what is different this time.

Asking again is not free. A broken attempt has perhaps been billed, and whoever fails under load is not helped
by being asked four times as often. So each retry must pass five questions, in this order:

1. *Would the same request fare better?* The tables below say it for each way of breaking, each status and each
   error type. An answer that was refused for what it asks will be refused again.
2. *Is there budget left?* It belongs to the key, which stands for the same question across the client's own
   retries of it: otherwise eleven tries of a client times four of ours are forty-four generations. A whole
   answer gives it back, and so do 15 minutes without news. The time an attempt ran is no such silence: each
   of three generations may take an hour, and a fourth is still the fourth.
3. *Is the share of retries in all requests small?* Retries at most 10% of the last minute's requests; but a few
   are always allowed, since one user's session is a handful of requests in a minute.
4. *Does upstream answer at all?* The breaker stops retries where requests of several turns, one after the
   other, were given nothing. It opens for longer each time, and lets one retry pass to see.
5. *How long does upstream ask us to wait?* Its `retry-after` is obeyed up to a minute, and is otherwise a no:
   the client shows the reason better than a silence could.

And each retry changes something: the connection, then the address, and HTTP/2 to HTTP/1.1 where that broke.

Attempts that died before the request was sent cost nothing and are not decided here. They wait for the
network instead of counting tries.

Nothing here waits or reads a clock: `now` is monotonic seconds and never goes back. One ledger serves one
upstream, from one thread. It remembers at most 4096 keys; beyond that, turns it has no room for are not retried.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final, Literal

from holdfast.flight.endings import Ending, Mechanism, Side
from holdfast.gateway.settings import RetryRules

GROWTH: Final = 4.0
"Each wait is so many times the one before: three retries are to outlive a bad patch of ten seconds."
LONGEST_BACK_OFF_S: Final = 16.0
"""Longer than the SDKs' own (8 s), because keepalives hold the client meanwhile, and each retry may cost a whole
generation."""
JITTER: Final = 0.25
"Up to this share of a wait is left out by chance, so that turns that broke together do not come back together."
LONGEST_RETRY_AFTER_S: Final = 60.0
"A longer `retry-after` is not waited for: SDKs of one generation took no longer one either."
FORGET_S: Final = 15 * 60.0
"A key's budget is whole again after so long without news: no client's own retries go on for so long (169-198 s)."
KEYS: Final = 4096
"Keys remembered: some 600 kB."
BREAKER_FAILURES: Final = 5
BREAKER_KEYS: Final = 2
"One request that breaks again and again says something about that request, not about upstream."
BREAKER_S: Final = 30.0
BREAKER_LONGEST_S: Final = 300.0

_ADDRESSES: Final = 8


class Change(StrEnum):
    """What is different about the next attempt."""

    FRESH_CONNECTION = "fresh connection"
    "No pooled one: the path's state for the old one may be what broke."
    OTHER_ADDRESS = "another address, where there is one"
    "One that is not in `Again.avoid` where there is one, of the other family where there is one; fresh, too."
    HTTP_1 = "HTTP/1.1"
    "Over a fresh connection, because the attempt over HTTP/2 broke."


@dataclass(frozen=True, slots=True)
class Broke:
    """An attempt that ended, and the answer had not."""

    ending: Ending
    sent: bool
    "Whether anything of the request went out. Where it did, the attempt may have cost something."
    attempt: int
    "Its number in the turn."
    status: int | None
    "Upstream's; None where no headers came."
    error: str | None
    "The error type that the stream named (`overloaded_error`), where that ended it."
    retry_after_s: float | None
    should_retry: bool | None
    "What `x-should-retry` says; None where it is absent."
    http: Literal["1.1", "2"]
    address: str | None
    "Where it was connected to; None where there is no choice of addresses, as behind a proxy."
    age_s: float
    "Seconds from the attempt's beginning to its end."


@dataclass(frozen=True, slots=True)
class Again:
    """Ask again. It counts from now on, whether or not the attempt is then made."""

    after_s: float
    change: Change
    why: str
    "`retry 1 of 3`."
    avoid: tuple[str, ...] = ()
    "Addresses on whose connections this question broke, the latest last."


@dataclass(frozen=True, slots=True)
class No:
    """Do not ask again."""

    why: str
    "A clause for the flight: `its 3 retries are used up`."


# -- the tables -------------------------------------------------------------------------------------


class Rule(Enum):
    """Whether the same request may fare better, and when."""

    AT_ONCE = "at once"
    "The connection broke, not the service: the first retry need not wait, later ones back off."
    BACK_OFF = "back off"
    "The service is in trouble."
    BY_RETRY_AFTER = "by retry-after"
    "It said when; where it did not, it does not clear by asking (a spend cap has no `retry-after`)."
    ONCE = "once"
    "It may have been an accident; the second of them in one question is none."
    NEVER = "never"


BREAKS: Final[Mapping[Mechanism, tuple[Rule, str]]] = MappingProxyType(
    {
        Mechanism.FIN: (Rule.AT_ONCE, ""),
        Mechanism.RST: (Rule.AT_ONCE, ""),
        Mechanism.FIN_THEN_RST: (Rule.AT_ONCE, ""),
        Mechanism.GOAWAY: (Rule.AT_ONCE, ""),
        Mechanism.STREAM_RESET: (Rule.AT_ONCE, ""),
        Mechanism.TORN: (Rule.AT_ONCE, ""),
        Mechanism.KEEPALIVE_UNANSWERED: (Rule.AT_ONCE, ""),
        Mechanism.UNACKNOWLEDGED: (Rule.AT_ONCE, ""),
        Mechanism.SLEPT: (Rule.AT_ONCE, ""),
        Mechanism.ABORTED: (Rule.AT_ONCE, ""),
        Mechanism.TRUNCATED: (Rule.AT_ONCE, ""),
        Mechanism.UNREACHABLE: (Rule.AT_ONCE, ""),
        # HTTP/2's REFUSED_STREAM: the request was not processed
        Mechanism.REFUSED: (Rule.AT_ONCE, ""),
        Mechanism.TLS: (Rule.AT_ONCE, ""),
        Mechanism.TLS_ALERT: (Rule.AT_ONCE, ""),
        Mechanism.TLS_BROKEN: (Rule.AT_ONCE, ""),
        Mechanism.PROXY: (Rule.AT_ONCE, ""),
        Mechanism.DNS: (Rule.AT_ONCE, ""),
        # one bad box of several may speak like this, or HTTP/2 may be spoken badly
        Mechanism.MALFORMED: (Rule.ONCE, "what arrives is not HTTP, and it was not by accident"),
        Mechanism.DEADLINE: (Rule.NEVER, "one of the gateway's limits ran out, and would run out again"),
        Mechanism.DOOMED: (Rule.NEVER, "it was not sent"),
        Mechanism.CANCELLED: (Rule.NEVER, "it was ended as asked"),
        Mechanism.SUPERSEDED: (Rule.NEVER, "another connection took over"),
        Mechanism.PROCESS_ENDED: (Rule.NEVER, "the process ended"),
        Mechanism.LOCAL_ERROR: (Rule.NEVER, "the fault is on this machine"),
        Mechanism.COMPLETED: (Rule.NEVER, "it ran to its proper end"),
    }
)
"By how it ended, with the reason where it is not asked again. STREAM_ERROR and HTTP_ERROR have tables of their own."

STATUSES: Final[Mapping[int, Rule]] = MappingProxyType(
    {
        408: Rule.BACK_OFF,
        409: Rule.BACK_OFF,  # the SDKs do
        429: Rule.BY_RETRY_AFTER,
        500: Rule.BACK_OFF,
        502: Rule.BACK_OFF,
        503: Rule.BACK_OFF,
        504: Rule.BACK_OFF,
        # the edge in front of the API: its origin failed, was down, timed out, or was out of reach
        520: Rule.BACK_OFF,
        521: Rule.BACK_OFF,
        522: Rule.BACK_OFF,
        523: Rule.BACK_OFF,
        524: Rule.BACK_OFF,
        529: Rule.BACK_OFF,
    }
)
"By status, unless `x-should-retry` says otherwise. Any other error status is never retried."

ERRORS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "overloaded_error": Rule.BACK_OFF,
        "api_error": Rule.BACK_OFF,
        "timeout_error": Rule.BACK_OFF,
        # after a 200 no `retry-after` can follow, and the request itself was admitted
        "rate_limit_error": Rule.BACK_OFF,
        "conflict_error": Rule.BACK_OFF,
        "invalid_request_error": Rule.NEVER,
        "authentication_error": Rule.NEVER,
        "billing_error": Rule.NEVER,
        "permission_error": Rule.NEVER,
        "not_found_error": Rule.NEVER,
        "request_too_large": Rule.NEVER,
    }
)
"By the type of an error inside the stream; one that is not listed is tried once more."


def rule(broke: Broke) -> tuple[Rule, str]:
    """What the tables say of one break, and the reason in case that it is no."""
    ending, status = broke.ending, broke.status
    if ending.side in (Side.CLIENT, Side.GATEWAY) and ending.mechanism is not Mechanism.DEADLINE:
        return Rule.NEVER, f"the {'client' if ending.side is Side.CLIENT else 'gateway'} ended it"
    if BREAKS.get(ending.mechanism, (Rule.ONCE, ""))[0] is Rule.NEVER:
        return BREAKS[ending.mechanism]
    if status is not None and status >= 400:
        return _by_status(status, broke.should_retry)
    if ending.mechanism is Mechanism.STREAM_ERROR:
        kind = broke.error or "an error without a type"
        return ERRORS.get(kind, Rule.ONCE), f"upstream would say {kind} again"
    if ending.mechanism is Mechanism.HTTP_ERROR:
        return Rule.NEVER, "it was refused, and its status is not known"
    return BREAKS[ending.mechanism]


def _by_status(status: int, should_retry: bool | None) -> tuple[Rule, str]:
    if should_retry is False:
        return Rule.NEVER, f"upstream says with its status {status} not to ask again (x-should-retry)"
    if should_retry is True:
        return Rule.BACK_OFF, ""
    found = STATUSES.get(status, Rule.NEVER)
    if found is Rule.BY_RETRY_AFTER:
        return found, f"status {status} came without a retry-after, and does not clear by asking again"
    return found, f"status {status} would be the answer to the same request again"


# -- the books --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Spent:
    """What one key has used."""

    retries: int
    last: float
    "When it was heard of last."
    addresses: tuple[str, ...] = ()


class Ledger:
    """The retries of one upstream: who has used how many, and how many there were of late."""

    __slots__ = ("_breaker", "_chance", "_requests", "_retries", "_rules", "_spent")

    def __init__(self, rules: RetryRules, *, chance: Callable[[], float]) -> None:
        self._rules = rules
        self._chance = chance
        "A number from 0 to 1, each time another."
        self._spent: OrderedDict[Hashable, _Spent] = OrderedDict()
        # Whole seconds are counted together. Retries are counted over up to a second more than the minute and
        # requests over up to a second less, so that the share is kept in every minute however it is cut.
        self._requests = _Recent(60)
        self._retries = _Recent(61)
        self._breaker = _Breaker()

    def __repr__(self) -> str:
        recent = f"{self._retries.total} retries of {self._requests.total} requests"
        return f"<Ledger {len(self._spent)} keys, {recent}, {self._breaker!r}>"

    def asked(self, now: float) -> None:
        """A client's own request goes upstream."""
        self._requests.add(now)

    def answered(self, now: float, status: int = 200) -> None:
        """Upstream sent a response's head; an error of the server's is no sign that it answers again."""
        if status < 500:
            self._breaker.close()

    def finished(self, key: Hashable) -> None:
        """The answer to this question was whole: its budget is forgotten."""
        self._spent.pop(key, None)

    def decide(self, key: Hashable, broke: Broke, now: float) -> Again | No:
        """Whether this question is asked again. An `Again` is counted as made.

        Raises `ValueError` for an attempt whose request was not sent: that costs nothing, and must neither be
        counted here nor be free of every count.
        """
        if not broke.sent:
            raise ValueError("an attempt that sent nothing is not decided here")
        spent = self._account(key, broke, now)
        if _gave_nothing(broke):
            self._breaker.failed(key, now - broke.age_s, now)
        said, reason = rule(broke)
        refused = (
            self._refused_by_rule(said, reason, spent, broke)
            or self._refused_by_budget(key, spent, now)
            or self._refused_by_share(now)
            or self._breaker.refusal(now)
        )
        if refused is not None:
            return No(refused)
        return self._grant(key, spent, said, broke, now)

    def _account(self, key: Hashable, broke: Broke, now: float) -> _Spent:
        """What this key has used; nothing, if it was not heard of for long before this attempt began."""
        spent = self._spent.get(key)
        if spent is not None and now - broke.age_s - spent.last > FORGET_S:
            del self._spent[key]
            spent = None
        if spent is None:
            return _Spent(0, now)
        spent.last = now
        self._spent.move_to_end(key)
        return spent

    def _refused_by_rule(self, said: Rule, reason: str, spent: _Spent, broke: Broke) -> str | None:
        if said is Rule.NEVER or (said is Rule.ONCE and spent.retries):
            return reason
        wait = _asked_wait(broke)
        if wait is None:
            return reason if said is Rule.BY_RETRY_AFTER else None
        if wait > LONGEST_RETRY_AFTER_S:
            return f"upstream asks to wait for {wait:.0f} s (retry-after), which is for the client to decide"
        return None

    def _refused_by_budget(self, key: Hashable, spent: _Spent, now: float) -> str | None:
        most = self._rules.retries
        if most <= 0:
            return "retries are switched off (--retries 0)"
        if spent.retries >= most:
            return f"its {most} retries are used up" if most > 1 else "its one retry is used up"
        if key not in self._spent and len(self._spent) >= KEYS:
            oldest = next(iter(self._spent.values()))
            if now - oldest.last <= FORGET_S:
                return f"more than {KEYS} turns are being retried already"
        return None

    def _refused_by_share(self, now: float) -> str | None:
        made, requests = self._retries.count(now), self._requests.count(now)
        if made + 1 <= max(self._rules.retry_floor, self._rules.retry_share * requests):
            return None
        return f"{made} retries were made within a minute in which clients asked {requests} times, and that is enough"

    def _grant(self, key: Hashable, spent: _Spent, said: Rule, broke: Broke, now: float) -> Again:
        transport = broke.ending.mechanism is not Mechanism.STREAM_ERROR and (broke.status or 0) < 400
        change = Change.FRESH_CONNECTION
        if transport and broke.http == "2":
            change = Change.HTTP_1
        elif spent.retries and broke.address is not None:
            change = Change.OTHER_ADDRESS
        if transport and broke.address is not None:
            others = tuple(address for address in spent.addresses if address != broke.address)
            spent.addresses = (*others, broke.address)[-_ADDRESSES:]
        wait, asked = self._wait(said, spent.retries), _asked_wait(broke)
        if asked is not None:
            wait = max(wait, asked + self._rules.retry_wait_s * self._chance())
        spent.retries += 1
        if key not in self._spent:
            if len(self._spent) >= KEYS:
                self._spent.popitem(last=False)
            self._spent[key] = spent
        self._retries.add(now)
        self._breaker.passed(key, now)
        return Again(wait, change, f"retry {spent.retries} of {self._rules.retries}", spent.addresses)

    def _wait(self, said: Rule, before: int) -> float:
        steps = before - 1 if said in (Rule.AT_ONCE, Rule.ONCE) else before
        if steps < 0:
            return 0.0
        full = min(self._rules.retry_wait_s * GROWTH ** min(steps, 16), LONGEST_BACK_OFF_S)
        return full * (1 - JITTER * self._chance())


def _asked_wait(broke: Broke) -> float | None:
    """The `retry-after` of an error status, where it is one."""
    wait = broke.retry_after_s
    if wait is None or not wait >= 0 or broke.status is None or broke.status < 400:
        return None
    return wait


def _gave_nothing(broke: Broke) -> bool:
    """Whether a break speaks against upstream as a whole: no headers came, or an error of the server's."""
    if broke.ending.side in (Side.CLIENT, Side.GATEWAY, Side.MACHINE):
        return False
    return broke.status is None or broke.status >= 500


class _Recent:
    """How often something happened within the last whole seconds."""

    __slots__ = ("_counts", "_seconds", "total")

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        "How many, the present one included."
        self._counts: deque[list[int]] = deque()
        "Each second in which it happened, and how often."
        self.total = 0

    def add(self, now: float) -> None:
        second = int(now)
        if not self._counts or self._counts[-1][0] != second:
            self.count(now)
            self._counts.append([second, 0])
        self._counts[-1][1] += 1
        self.total += 1

    def count(self, now: float) -> int:
        first = int(now) - self._seconds + 1
        while self._counts and self._counts[0][0] < first:
            self.total -= self._counts.popleft()[1]
        return self.total


@dataclass(slots=True)
class _Breaker:
    """Whether upstream answers anybody. Closed: retries pass. Open: none does. Then one, to see.

    Failures count where they came one after the other. Requests that are under way at the same time are ended
    by the same accident, and are one failure.
    """

    failures: int = 0
    keys: set[Hashable] = field(default_factory=set)
    failed_at: float = -math.inf
    open_until: float | None = None
    open_s: float = BREAKER_S
    probe: tuple[Hashable, float] | None = None
    "The retry that was let pass, and when."

    def __repr__(self) -> str:
        if self.open_until is None:
            return f"breaker closed, {self.failures} failures"
        return f"breaker open for {self.open_s:g} s" + (", one retry let pass" if self.probe else "")

    def close(self) -> None:
        """Upstream answered."""
        if self.failures or self.open_until is not None:
            self.failures, self.open_until, self.open_s, self.probe = 0, None, BREAKER_S, None
            self.keys.clear()

    def failed(self, key: Hashable, began: float, now: float) -> None:
        """A request that began then was given nothing."""
        if now - self.failed_at > FORGET_S:
            self.close()
        one_after_the_other = began >= self.failed_at
        if self.open_until is not None:
            self.failed_at = now
            if self.probe is not None and self.probe[0] == key:
                self._open(now, min(2 * self.open_s, BREAKER_LONGEST_S))
        elif one_after_the_other:
            self.failed_at = now
            self.failures += 1
            if len(self.keys) < BREAKER_KEYS:
                self.keys.add(key)
            if self.failures >= BREAKER_FAILURES and len(self.keys) >= BREAKER_KEYS:
                self._open(now, self.open_s)

    def _open(self, now: float, seconds: float) -> None:
        self.open_s, self.open_until, self.probe = seconds, now + seconds, None

    def refusal(self, now: float) -> str | None:
        """Why no retry passes now; None where one does."""
        if self.open_until is None:
            return None
        if now < self.open_until:
            return f"upstream has given several requests in a row nothing; retries rest for {self.open_s:g} s"
        if self.probe is not None and now < self.probe[1] + self.open_s:
            return "upstream has given several requests in a row nothing, and one retry is under way to see"
        return None

    def passed(self, key: Hashable, now: float) -> None:
        """A retry was let pass."""
        if self.open_until is not None:
            self.probe = (key, now)
