"""Requests that break again and again at the same place: whether one more try is worth its price.

Most requests that broke three times do not break for ever, so a count alone condemns nobody. What marks a
doomed request is that its tries end *alike*: something on the way allows 60 s, or 1 MB, and each try runs into
it. Then another try costs a generation and gains little, while smaller questions go through.

Three things are looked at, each among the breaks of one key in a row (the client's own retries included) that
came by the same mechanism from the same side, with none finished between them:

*Age.* The ages of the attempts agree. Ages under 2 s never count: a refusal at once is an outage or a policy.
*Answer size.* The answers' bytes agree, and they were flowing at the end. A limit by size ends a stream that
flows; where it was silent before, the same first sentence and then an accident would look alike.
*Request size.* A request that never gets an answer has one size and tells nothing by itself, and a refusal at
once looks like an outage. So it is compared with others: between its breaks, at least four of them and all of
one age, smaller requests were answered, no smaller one broke, and no other of its size was answered.

The bound. Let k values lie within a share `s` of the largest of them, s = (max - min) / max, and never less
than what the clock (0.25 s) or one event (256 bytes) blurs. For ends that strike at a constant rate, however
high, and for ends spread evenly over any span that reaches so far, the chance of another one to lie within s of
a given one is at most 2s. So accidents agree like this with a chance of at most

    (2s)^(k-1), times the number of rows that could have been found to agree: 2 (n - 2)

because of n breaks in a row the last k may be taken, k >= 3, by age or by size. That must be at most 1%, with s
at most 10%. For the request's size: if breaks struck any request alike, all k of them would fall on this one
and none on the m others with the chance 1 / C(k + m, k), which must be at most 1% as well.

What one more try gains. If the breaks were accidents, as much as any try: that is what the bound makes
unlikely. If there is a limit, then what a shorter answer would: none of k was short enough, and by the rule of
succession the next one is with about 1 in k + 2. A request that never gets through gains nothing. `Verdict.gain`
adds the two up. Its second part is an estimate and no bound, which is why a verdict lasts a minute and no longer.

Limits. The bound is for one look at one row. Of 20,000 simulated turns with eleven tries each and independent ends
(at a constant rate, anywhere within a span, log-normal) about 1% or fewer were condemned; where ages scattered by only a
fifth around their mean, 9%. An overload that makes an upstream fail whenever it begins a long tool call makes ends
agree without any limit on the way, and would be found here as well. An idle timer makes silences agree, and ages
only where the silence begins at the same age; silences are not judged.

A verdict holds for 60 s after the last break. Repeats within it are answered here and do not prolong it, since
they teach nothing; then one try goes upstream, and if it ends where the others did, the verdict is back. So a
client that goes on asking costs one try in a minute. It is forgotten when the network changes.

Nothing here waits or reads a clock: `now` is monotonic seconds. At most 1024 keys are remembered.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import comb
from typing import Final, NamedTuple

from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.flight.flights import duration, percent, size
from holdfast.gateway.dialects import anthropic

ENOUGH: Final = 3
ENOUGH_REQUESTS: Final = 4
MOST_BOUND: Final = 0.01
MOST_SPREAD: Final = 0.1
"However many there are, ends that differ by more than a tenth are not at the same place."
CLOCK_S: Final = 0.25
"Connecting, scheduling and a middlebox's own timer blur an age by as much."
EVENT_BYTES: Final = 256
LEAST_AGE_S: Final = 2.0
FLOWING_S: Final = 2.0
"An answer whose last byte is younger than this was flowing."
VALID_S: Final = 60.0
FORGET_S: Final = 15 * 60.0
"Breaks further apart than this are not in a row; the time that an attempt ran does not count."
KEYS: Final = 1024
_REMEMBERED: Final = 16
_OTHERS: Final = 512

_SIDES: Final = frozenset(side.value for side in (Side.PROVIDER, Side.PATH))
_MECHANISMS: Final = frozenset(
    mechanism.value
    for mechanism in (
        Mechanism.FIN,
        Mechanism.RST,
        Mechanism.FIN_THEN_RST,
        Mechanism.KEEPALIVE_UNANSWERED,
        Mechanism.TRUNCATED,
        Mechanism.STREAM_ERROR,
        Mechanism.TLS,
        Mechanism.MALFORMED,
    )
)
"An error status says its reason itself, and our own limits are no observation."
_ASKING: Final = frozenset((Phase.SENDING, Phase.AWAITING_HEADERS))
_UNSENT: Final = frozenset((Phase.RESOLVING, Phase.CONNECTING, Phase.TLS, Phase.POOLED_IDLE))


@dataclass(frozen=True, slots=True)
class Break:
    """How one attempt ended before its answer did."""

    code: str
    "The ending's: `P.rst.tool`."
    age_s: float
    "Since the request began to go out."
    answer_bytes: int
    request_bytes: int
    input_tokens: int | None
    "As upstream counted them; None where it did not say."
    phase: Phase
    silent_s: float
    "Since upstream's last byte; since the request was sent, where there was none."

    @property
    def kind(self) -> str:
        """Side and mechanism: `P.rst`; of mechanisms that the same rules hold for, the one that names the rules."""
        side, mechanism, _ = self.code.split(".")
        return f"{side}.{Mechanism(mechanism).rule.value}"

    @property
    def counts(self) -> bool:
        """Whether it says something about the request: it was sent, and others ended it without a reason."""
        side, _, mechanism = self.kind.partition(".")
        return self.phase not in _UNSENT and side in _SIDES and mechanism in _MECHANISMS


class By(StrEnum):
    """In what the breaks agree."""

    AGE = "age"
    ANSWER_SIZE = "answer size"
    REQUEST_SIZE = "request size"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One more try of this request is not worth its price."""

    by: By
    why: str
    "A clause: `it broke 3 times in a row at the same age, 60.0 to 60.2 s (P.rst.tool)`."
    seen: int
    "Breaks that agree."
    age_s: float | None
    "The longest age among them; None where they agree in the answer's size."
    size: int | None
    "The largest answer, or the request, in bytes; None where they agree in age."
    bound: float
    "The chance that accidents would agree like this, at most."
    since: float
    "When the first of them ended."
    until: float
    "When the verdict lapses."
    request_bytes: int
    input_tokens: int | None

    @property
    def gain(self) -> float:
        """How likely one more try would finish, estimated: see the module's text."""
        shorter = 0.0 if self.by is By.REQUEST_SIZE else 1 / (self.seen + 2)
        return min(1.0, self.bound + shorter)


# -- do they agree? ---------------------------------------------------------------------------------


class Agreement(NamedTuple):
    """The last so many of some values lie together."""

    last: int
    bound: float


def agreement(values: Sequence[float], blur: float, seen: int) -> Agreement | None:
    """The longest row of last values that lie together closer than accidents would; None where none does.

    `seen` is how many there were, those no longer remembered included.
    """
    for count in range(len(values), ENOUGH - 1, -1):
        last = values[-count:]
        largest = max(last)
        if largest <= 0:
            return None
        spread = max(largest - min(last), blur) / largest
        if spread > MOST_SPREAD:
            continue
        bound = 2 * (seen - ENOUGH + 1) * (2 * spread) ** (count - 1)
        if bound <= MOST_BOUND:
            return Agreement(count, bound)
    return None


def singled_out(breaks: int, others: int) -> float:
    """The chance that breaks which strike any request alike all fall on one and none on these others."""
    return 1 / comb(breaks + others, breaks)


# -- the books --------------------------------------------------------------------------------------


class _Ended(NamedTuple):
    """What became of some request."""

    at: float
    key: Hashable
    request_bytes: int
    finished: bool


@dataclass(slots=True)
class _Row:
    """The breaks of one key in a row."""

    kind: str
    seen: int = 0
    breaks: deque[tuple[float, Break]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    "The last of them, each with the time of its end."
    verdict: Verdict | None = None

    @property
    def last(self) -> float:
        return self.breaks[-1][0]

    def ends(self, one: Break, now: float) -> bool:
        """Whether this break is not the next in the row."""
        return one.kind != self.kind or now - one.age_s - self.last > FORGET_S

    def add(self, one: Break, now: float) -> None:
        self.seen += 1
        self.breaks.append((now, one))


class Doom:
    """Which requests of this process are not worth another try. One upstream, one thread."""

    __slots__ = ("_others", "_rows")

    def __init__(self) -> None:
        self._rows: OrderedDict[Hashable, _Row] = OrderedDict()
        self._others: deque[_Ended] = deque(maxlen=_OTHERS)
        "How requests ended of late: whole, or before any answer."

    def __repr__(self) -> str:
        doomed = sum(row.verdict is not None for row in self._rows.values())
        return f"<Doom {len(self._rows)} keys, {doomed} doomed>"

    def broke(self, key: Hashable, one: Break, now: float) -> None:
        """An attempt at this question ended before its answer did."""
        if not one.counts:
            return
        if _unanswered(one):
            self._others.append(_Ended(now, key, one.request_bytes, finished=False))
        row = self._rows.get(key)
        if row is None or row.ends(one, now):
            row = self._rows[key] = _Row(one.kind)
        self._rows.move_to_end(key)
        if len(self._rows) > KEYS:
            self._rows.popitem(last=False)
        row.add(one, now)
        row.verdict = min(self._verdicts(key, row), key=lambda verdict: verdict.bound, default=None)

    def finished(self, key: Hashable, request_bytes: int, now: float) -> None:
        """The answer to this question was whole."""
        self._rows.pop(key, None)
        self._others.append(_Ended(now, key, request_bytes, finished=True))

    def network_changed(self) -> None:
        """The path is another now: what was seen on the old one says nothing about it."""
        self._rows.clear()
        self._others.clear()

    def verdict(self, key: Hashable, now: float) -> Verdict | None:
        """Why this question should not be asked now; None where it may be."""
        row = self._rows.get(key)
        if row is None or row.verdict is None or now >= row.verdict.until:
            return None
        return row.verdict

    def _verdicts(self, key: Hashable, row: _Row) -> Iterator[Verdict]:
        breaks = [one for _, one in row.breaks]
        aged = _last_that(breaks, [one.age_s >= LEAST_AGE_S for one in breaks])
        found = agreement([one.age_s for one in aged], CLOCK_S, row.seen)
        if found is not None:
            yield _verdict(By.AGE, row, found)
        flowing = _last_that(breaks, [one.silent_s < FLOWING_S for one in breaks])
        found = agreement([one.answer_bytes for one in flowing], EVENT_BYTES, row.seen)
        if found is not None:
            yield _verdict(By.ANSWER_SIZE, row, found)
        found = self._by_request(key, row, breaks)
        if found is not None:
            yield _verdict(By.REQUEST_SIZE, row, found)

    def _by_request(self, key: Hashable, row: _Row, breaks: list[Break]) -> Agreement | None:
        count = len(breaks)
        if count < ENOUGH_REQUESTS or not all(_unanswered(one) for one in breaks):
            return None
        ages = [one.age_s for one in breaks]
        if max(ages) - min(ages) > max(CLOCK_S, MOST_SPREAD * max(ages)):
            return None
        mine = max(one.request_bytes for one in breaks)
        first, answered = row.breaks[0][0], 0
        for other in self._others:
            if other.at < first or other.key == key:
                continue
            smaller = other.request_bytes < mine
            if other.finished and smaller:
                answered += 1
            elif other.finished or smaller:
                return None  # size is not what tells them apart
        bound = singled_out(count, answered)
        return Agreement(count, bound) if bound <= MOST_BOUND else None


def _unanswered(one: Break) -> bool:
    return one.phase in _ASKING and not one.answer_bytes


def _last_that(breaks: list[Break], fit: list[bool]) -> list[Break]:
    """The last breaks in a row that fit."""
    unfit = [index for index, fits in enumerate(fit) if not fits]
    return breaks[unfit[-1] + 1 :] if unfit else breaks


def _verdict(by: By, row: _Row, found: Agreement) -> Verdict:
    agreeing = list(row.breaks)[-found.last :]
    breaks = [one for _, one in agreeing]
    last = breaks[-1]
    longest = max(one.age_s for one in breaks)
    match by:
        case By.AGE:
            largest = None
            place = f"at the same age, {_span([one.age_s for one in breaks])}"
        case By.ANSWER_SIZE:
            largest = max(one.answer_bytes for one in breaks)
            place = f"after the same amount of answer, {size(largest)}"
        case By.REQUEST_SIZE:
            largest = max(one.request_bytes for one in breaks)
            place = f"before any answer, while requests smaller than its {size(largest)} were answered"
    return Verdict(
        by,
        f"it broke {found.last} times in a row {place} ({last.code})",
        found.last,
        None if by is By.ANSWER_SIZE else longest,
        largest,
        found.bound,
        agreeing[0][0],
        row.last + VALID_S,
        last.request_bytes,
        next((one.input_tokens for one in reversed(breaks) if one.input_tokens is not None), None),
    )


def _span(ages: list[float]) -> str:
    least, longest = duration(min(ages)), duration(max(ages))
    return longest if least == longest else f"{least} to {longest}"


# -- what the client is told ------------------------------------------------------------------------

EXPLAIN_STATUS: Final = 403
"Every measured Claude Code and both SDKs show it after one request, and try nothing by themselves."

TRIGGERS: Final = (
    "prompt is too long",
    "prompt_too_long",
    "too long",
    "too large",
    "capability_rejected",
    "context limit",
    "context window",
    "exceed",
    "maximum",
    "max_tokens",
    "input length",
    "overloaded",
    "rate limit",
    "quota",
    "image",
    "pdf",
    "timeout",
    "timed out",
    "credit",
    "oauth",
    "token",
    "login",
    "api key",
    "api-key",
    "organization",
)
"""What clients look for in an error's text: to compact, to drop media, to retry with less, to send the user to
log in. An explanation has none of these words; `compact` says the first of them on purpose."""


@dataclass(frozen=True, slots=True)
class DoomedAnswer:
    """What the gateway answers by itself."""

    status: int
    kind: str
    "The API's error type."
    message: str

    @property
    def body(self) -> bytes:
        """As the API's error; beside it the bare text, which clients show rather than the whole JSON.

        Measured on loopback, 2026-11-21: with `message` beside `error` three versions of Claude Code and the
        TypeScript SDK show the text alone.
        """
        return anthropic.error_body(self.kind, self.message, bare=True)


DO_NOT_RETRY: Final = b"x-should-retry: false\r\n"


def answer(
    verdict: Verdict, on_doomed: str, turn_id: str, *, explain_status: int = EXPLAIN_STATUS, compacts: bool
) -> DoomedAnswer:
    """What a doomed request is answered, by the setting `--on-doomed`.

    `explain_status` and `compacts` are the client's: which status it shows without asking again, and whether
    the API's own words for a prompt beyond the model's window make it compact and go on. Where they do not,
    `compact` explains; so does `strip-images`, after there was nothing (more) to leave out.
    """
    if on_doomed == "compact" and compacts:
        return DoomedAnswer(400, "invalid_request_error", _compacting(verdict))
    return DoomedAnswer(
        explain_status, anthropic.kind_for_status(explain_status), explanation(verdict, turn_id)
    )


def _compacting(verdict: Verdict) -> str:
    """The words after which a client compacts, and the truth behind them. It needs no numbers, so none are invented.

    Measured on loopback, 2026-11-21: without them Claude Code 2.1.329 keeps the last two messages of eight as they are.
    """
    return f"prompt is too long for what lies between here and the model: {verdict.why}"


_ADVICE: Final = {
    By.AGE: "Something on the way seems to end every answer there. What may help: ask for less at once, or in "
    "parts; a shorter conversation (/compact in Claude Code)",
    By.ANSWER_SIZE: "Something on the way seems to end every answer there. What may help: ask for less at once, or "
    "in parts",
    By.REQUEST_SIZE: "Something on the way seems to let no request of this size pass. What may help: a shorter "
    "conversation (/compact in Claude Code), fewer attachments",
}


def explanation(verdict: Verdict, turn_id: str) -> str:
    """What was seen, how sure that is, what to do, and where to read on; without any of `TRIGGERS`."""
    return (
        f"Holdfast did not ask upstream again, because {verdict.why}; accidents would agree like this in at most "
        f"{percent(verdict.bound)} of such cases. {_ADVICE[verdict.by]}; another network, or this one without its VPN "
        f"or proxy. If you ask again in a minute, it is sent on. "
        f"More: holdfast flight {turn_id}"
    )
