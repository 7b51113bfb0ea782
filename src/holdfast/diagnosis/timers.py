"""Which timer may be behind an ending, and which cannot be. Values in, values out.

A number alone names nobody: three hundred seconds has a dozen owners, and a good part of all silences lies near
one timer or another by chance (`chance` says how large a part). So a timer is *named* only where the side that
ended it and the way it ended are known and are this timer's, or where the same number came again and again;
otherwise it *fits*, among so many others. What has the number and cannot be it is told with the reason.

Clocks have to be compared with what they measure: silence with silence, the whole exchange with the whole
exchange. A timer that counts events is compared with the silence of events, where pings went on meanwhile.

A middle that forgets in silence (NAT, firewall) ends nothing at its limit. The forgotten connection shows at the
next packet, however much later, so such a timer also explains every longer silence; those are listed apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.diagnosis import atlas
from holdfast.diagnosis.atlas import Timer
from holdfast.flight.endings import Ending, Mechanism, Phase, Side

SHARE = 0.02
LEAST_S = 1.0
"""How late a timer may fire: 2% of its length, and at least a second, as event loops do; the gateway judges its clients by
the same two numbers. How early it may seem to is far less: `atlas.EARLY_S`."""

REPEATS = 3
"So many endings at the same number are no chance; two may be."

RANDOM_S = (30.0, 900.0)
"The silences that chance is reckoned over: shorter ones are nobody's trouble, longer ones rare."

BEFORE_HEADERS = frozenset((Phase.SENDING, Phase.AWAITING_HEADERS))
CONNECTING = frozenset((Phase.RESOLVING, Phase.CONNECTING, Phase.TLS))
BETWEEN_REQUESTS = frozenset((Phase.POOLED_IDLE, Phase.AFTER_END))


_OF_ATTEMPT = {
    "idle_s": "silence_s",
    "wall_s": "since_request_s",
    "headers_s": "since_headers_s",
    "age_s": "age_s",
    "status": "status",
}
_OF_CLIENT = {
    "idle_s": "since_byte_s",
    "event_s": "since_event_s",
    "wall_s": "since_request_s",
    "headers_s": "since_headers_s",
    "age_s": "age_s",
}
"Our clocks by their names in the evidence of an ending (`flight.evidence`)."


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of an ending. None is "not measured", and then nothing is concluded from it."""

    side: Side | None = None
    mechanism: Mechanism | None = None
    phase: Phase | None = None
    idle_s: float | None = None
    "Since the last byte, on the connection that ended."
    event_s: float | None = None
    "Since the last event that is no ping and no comment; None where it is as long as `idle_s`."
    wall_s: float | None = None
    "Since the request was sent."
    headers_s: float | None = None
    "Since the answer's headers."
    age_s: float | None = None
    "Since the connection was opened."
    unacked_s: float | None = None
    "Since the oldest byte that is not acknowledged."
    keepalive_s: float | None = None
    "How often TCP's own probes went, where they were answered: no timer that counts packets reaches its end."
    status: int | None = None
    "The HTTP status, for an ending by `http`."
    agent: str = ""
    """The client's profile (`claude-code 2.1.329`) or User-Agent; empty where neither was looked at. One that was and is
    not known names no library: that a program's timer has the number does not make it this client's."""

    @classmethod
    def of(cls, ending: Ending, **clocks: Any) -> Seen:
        """An ending with its clocks; where the caller gives none, those in its evidence are taken.

        A client counts what was written to it, not what upstream said; so its clocks are others than the attempt's.
        """
        known: dict[str, Any] = {}
        client = ending.side is not Side.PROVIDER and "since_byte_s" in ending.evidence
        for name, evidence in (_OF_CLIENT if client else _OF_ATTEMPT).items():
            value = ending.evidence.get(evidence)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                known[name] = int(value) if name == "status" else float(value)
        return cls(ending.side, ending.mechanism, ending.phase, **(known | clocks))

    def __repr__(self) -> str:
        parts = [one.value for one in (self.side, self.mechanism, self.phase) if one is not None]
        clocks = [
            f"{name.removesuffix('_s')} {value:g} s"
            for name in ("idle_s", "event_s", "wall_s", "headers_s", "age_s", "unacked_s")
            if (value := getattr(self, name)) is not None
        ]
        return f"<Seen {'.'.join(parts) or 'an ending'}, {', '.join(clocks) or 'no clock'}>"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A timer that has the number on the right clock and can end things as they ended."""

    timer: Timer
    seen_s: float
    "The silence, or other time, that was compared."
    side_agrees: bool | None
    "None where the side is not known, or where it depends on where the timer's owner stands."
    mechanism_agrees: bool | None
    "None where the mechanism is not known."
    hits: int
    "How many endings had the number, this one included."
    of: int
    "How many endings were compared."
    where: str = ""
    "What would have to be so: `only if it stands between client and gateway`."

    @property
    def named(self) -> bool:
        """Whether side and mechanism are its own, or the number came again and again."""
        return bool(self.side_agrees and self.mechanism_agrees) or self.hits >= REPEATS

    @property
    def off_s(self) -> float:
        """How far from the number, in seconds; 0 inside the span in which it was seen to fire."""
        low, high = self.timer.window_s(0, 0) or (self.seen_s, self.seen_s)
        return max(low - self.seen_s, self.seen_s - high, 0.0)

    def __repr__(self) -> str:
        state = "named" if self.named else "fits"
        return f"<Candidate {self.timer.id} {state}, {self.timer.clock} {self.seen_s:g} of {_spoken(self.timer)}>"

    def sentence(self) -> str:
        """`Claude Code's byte watchdog, ...: 300 s of silence, 300.2 s seen; side and mechanism are its own.`"""
        agreed = [
            name for name, it in (("side", self.side_agrees), ("mechanism", self.mechanism_agrees)) if it
        ]
        said = (
            f"{self.timer.name}: {_spoken(self.timer)} {_CLOCK[self.timer.clock]}, {_short(self.seen_s)} seen"
        )
        if agreed:
            said += f"; {' and '.join(agreed)} {'are' if len(agreed) > 1 else 'is'} its own"
        if self.of > 1:
            said += f"; {self.hits} of {self.of} endings have it"
        if self.where:
            said += f"; {self.where}"
        return said + "."


@dataclass(frozen=True, slots=True)
class Excluded:
    """A timer that has the number and cannot have ended this."""

    timer: Timer
    reason: str

    def __repr__(self) -> str:
        return f"<Excluded {self.timer.id}: {self.reason}>"

    def sentence(self) -> str:
        """`nginx, proxy_read_timeout, 60 s: it would show as fin or cut, not as rst.`"""
        return f"{self.timer.name}, {_spoken(self.timer)}: {self.reason}."


@dataclass(frozen=True, slots=True)
class Ranking:
    """The atlas weighed against one ending, or against several that are alike."""

    seen: Seen
    candidates: tuple[Candidate, ...]
    "The likeliest first."
    excluded: tuple[Excluded, ...]
    "Those with the number that cannot be it."
    later: tuple[Timer, ...]
    "Middles that may have forgotten the connection earlier: each explains any silence longer than its own."
    chance: float
    "How likely a random silence of 30 to 900 s has a timer of the atlas by chance, at this tolerance."
    chance_left: float
    "The same for those timers alone that could end things as they ended, whatever their number."
    share: float
    least_s: float

    @property
    def named(self) -> tuple[Candidate, ...]:
        """Those that are more than a number that fits. More than one: it was one of them."""
        return tuple(candidate for candidate in self.candidates if candidate.named)

    def __repr__(self) -> str:
        return (
            f"<Ranking of {self.seen!r}: {len(self.named)} named, {len(self.candidates)} fit, "
            f"{len(self.excluded)} excluded>"
        )

    def sentence(self) -> str:
        """The whole in one sentence, no surer than it may be."""
        if self.seen.side in _OURS:
            return _OURS[self.seen.side]
        if not self.candidates:
            if self.excluded:
                number = len(self.excluded)
                if number == 1:
                    return "No timer fits: the one that has the number is excluded."
                return f"No timer fits: all {number} that have the number are excluded."
            return "No timer of the atlas has the number."
        first, named = self.candidates[0].timer.name, self.named
        if len(named) == 1:
            return f"Suspected: {named[0].timer.name}" + self._beside(named)
        if named:
            ids = ", ".join(candidate.timer.id for candidate in named[:4])
            more = f" and {len(named) - 4} more" if len(named) > 4 else ""
            return f"Suspected: one of {len(named)} timers that agree ({ids}{more})" + self._beside(named)
        others = len(self.candidates) - 1
        if not others:
            return f"{first} fits. Nothing but its number speaks for it."
        return f"{first} fits, among {others} other{'s' if others > 1 else ''}; none can be named by a number alone."

    def _beside(self, named: Sequence[Candidate]) -> str:
        rest = len(self.candidates) - len(named)
        return f"; {rest} more {'fits' if rest == 1 else 'fit'} by number alone." if rest else "."

    def chance_sentence(self) -> str:
        """What the number alone is worth."""
        exact = f"up to {self.share:.0%} or {self.least_s:g} s late"
        return (
            f"By chance alone a silence of {RANDOM_S[0]:g} to {RANDOM_S[1]:g} s has a timer of the atlas in "
            f"{self.chance:.0%} of cases ({exact}), and one that could end it like this in {self.chance_left:.0%}."
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON: names, numbers and sentences."""
        return {
            "sentence": self.sentence(),
            "candidates": [
                {
                    "id": one.timer.id, "name": one.timer.name, "layer": one.timer.layer, "clock": one.timer.clock,
                    "seconds": one.timer.seconds, "seen_s": one.seen_s, "named": one.named,
                    "side_agrees": one.side_agrees, "mechanism_agrees": one.mechanism_agrees,
                    "hits": one.hits, "of": one.of, "grade": one.timer.grade, "sentence": one.sentence(),
                }
                for one in self.candidates
            ],
            "excluded": [{"id": one.timer.id, "reason": one.reason} for one in self.excluded],
            "later": [one.id for one in self.later],
            "chance": round(self.chance, 4),
            "chance_left": round(self.chance_left, 4),
            "tolerance": {"share": self.share, "least_s": self.least_s},
        }  # fmt: skip


_OURS = {
    Side.GATEWAY: "The gateway ended this by itself; the ending's detail names its limit. No timer of others is behind it.",
    Side.MACHINE: "Something on this machine ended it; no timer is behind that.",
    Side.NOBODY: "It ran to its proper end; no timer is behind that.",
}

_CLOCK = {
    "idle": "of silence",
    "wall": "for the whole exchange",
    "headers": "without headers",
    "connect": "to connect",
    "pool_idle": "between two requests",
    "conn_age": "of a connection's age",
    "unacked": "without acknowledgement",
}


def candidates(
    seen: Seen,
    repeats: Iterable[Seen] = (),
    *,
    rows: Sequence[Timer] | None = None,
    share: float = SHARE,
    least_s: float = LEAST_S,
) -> Ranking:
    """Weigh the atlas against an ending.

    `repeats` are further endings that are alike in side, mechanism and phase; each has clocks of its own.
    """
    rows = [timer for timer in (atlas.timers() if rows is None else rows) if timer.is_limit]
    others = list(repeats)
    found, excluded, later, possible = [], [], [], []
    for timer in rows:
        verdict = _weigh(timer, seen)
        if verdict.reason is None:
            possible.append(timer)
        seconds = clock_of(timer, seen)
        if seconds is None:
            continue
        if not _has(timer, seconds, share, least_s):
            if verdict.reason is None and timer.shows_late and seconds > (timer.to_s or timer.seconds or 0):
                later.append(timer)
            continue
        values = [value for other in others if (value := clock_of(timer, other)) is not None]
        hits = 1 + sum(_has(timer, value, share, least_s) for value in values)
        if verdict.reason is None and hits * 2 <= len(values) + 1 and len(values) > 1:
            verdict = replace(verdict, reason=f"only {hits} of {len(values) + 1} endings have its number")
        if verdict.reason is not None:
            excluded.append(Excluded(timer, verdict.reason))
        else:
            found.append(
                Candidate(
                    timer, seconds, verdict.side, verdict.mechanism, hits, len(values) + 1, verdict.where
                )
            )
    found.sort(key=_rank)
    return Ranking(
        seen,
        tuple(found),
        tuple(excluded),
        tuple(later),
        chance(rows, share=share, least_s=least_s),
        chance(possible, share=share, least_s=least_s),
        share,
        least_s,
    )


def _rank(candidate: Candidate) -> tuple[Any, ...]:
    """Named first, then by what agrees, then by how exact and how sure; the file's order is from client to provider."""
    agrees = (candidate.side_agrees is True) + (candidate.mechanism_agrees is True)
    measured = bool(candidate.timer.profiles)
    return (
        -candidate.named, -agrees, bool(candidate.where), -candidate.hits, round(candidate.off_s),
        not measured, candidate.timer.grade,
    )  # fmt: skip


def clock_of(timer: Timer, seen: Seen) -> float | None:
    """The time that this timer would have measured; None where it was not."""
    match timer.clock:
        case "idle" if timer.counts == "events":
            return seen.event_s if seen.event_s is not None else seen.idle_s
        case "idle" if timer.counts == "sent":
            return seen.unacked_s
        case "idle":
            waits = seen.phase in BEFORE_HEADERS and seen.idle_s is None
            return seen.wall_s if waits else seen.idle_s
        case "headers":
            return seen.wall_s if seen.wall_s is not None or seen.phase not in BEFORE_HEADERS else seen.idle_s
        case "wall" | "connect":
            return seen.wall_s
        case "pool_idle":
            return seen.idle_s
        case "conn_age":
            return seen.age_s
        case "unacked":
            return seen.unacked_s
        case _:
            return None


def _has(timer: Timer, seconds: float, share: float, least_s: float) -> bool:
    window = timer.window_s(share, least_s)
    return window is not None and window[0] <= seconds <= window[1]


@dataclass(frozen=True, slots=True)
class _Verdict:
    side: bool | None = None
    mechanism: bool | None = None
    reason: str | None = None
    "Why it cannot be; None where it can."
    where: str = ""


def _weigh(timer: Timer, seen: Seen) -> _Verdict:
    """Whether this timer can have ended it so, its number aside. The first contradiction is the reason."""
    reason = _wrong_phase(timer, seen.phase) or _wrong_program(timer, seen.agent) or _held_off(timer, seen)
    if reason is not None:
        return _Verdict(reason=reason)
    shown = _shown(timer, seen.phase)
    side, where, reason = _side(timer, seen.side, shown)
    if reason is not None:
        return _Verdict(reason=reason)
    if side and seen.agent and timer.programs and timer.belongs_to(seen.agent) is None:
        side, where = None, "only if this client is built on it, which its agent does not say"
    mechanism, reason = _mechanism(timer, seen, shown)
    return _Verdict(side, mechanism, reason, where)


def _shown(timer: Timer, phase: Phase | None) -> frozenset[str]:
    if phase is None:
        return timer.shows
    early = phase in BEFORE_HEADERS or phase in CONNECTING
    return frozenset(timer.before if early else timer.after)


def _wrong_phase(timer: Timer, phase: Phase | None) -> str | None:
    if phase is None:
        return None
    if timer.clock == "connect":
        return None if phase in CONNECTING else "it ends with the connection's beginning"
    if timer.clock == "headers":
        return None if phase in BEFORE_HEADERS else "it runs until the headers only, and they had come"
    if timer.clock in ("pool_idle", "conn_age"):
        return None if phase in BETWEEN_REQUESTS else "it runs between requests only, and one was under way"
    if timer.during == "sending":
        return None if phase is Phase.SENDING else "it runs while the request is being sent only"
    if phase in CONNECTING:
        return "there was no connection yet"
    if phase in BETWEEN_REQUESTS and timer.role != "path" and timer.counts != "acks":
        return "it runs during a request only, and none was under way"
    return None


def _wrong_program(timer: Timer, agent: str) -> str | None:
    return f"it is no timer of {atlas.known_as(agent)}" if timer.belongs_to(agent) is False else None


def _held_off(timer: Timer, seen: Seen) -> str | None:
    if timer.shows_late and seen.keepalive_s is not None and seen.keepalive_s < (timer.seconds or 0):
        return f"any packet resets it, and TCP's own probes went every {seen.keepalive_s:g} s"
    return None


def _side(
    timer: Timer, side: Side | None, shown: frozenset[str]
) -> tuple[bool | None, str, str | None]:  # fmt: skip
    """Whether the side agrees, what would have to be so, and why it cannot be."""
    role, mute = timer.role, not shown - {"dark"}
    if side in _OURS:
        return None, "", "the connection was not ended by another's timer"
    match side, role:
        case (None, _):
            return None, "", None
        case (Side.PATH, "path" | "system"):
            return True, "", None
        case (Side.PATH, _):
            return None, "", "it closes aloud, and here nothing was said"
        case (Side.CLIENT, "client") | (Side.PROVIDER, "server" | "between"):
            return True, "", None
        case (Side.CLIENT, "server"):
            return None, "", "it would close from the provider's side"
        case (Side.PROVIDER, "client"):
            return None, "", "it would close from the client's side"
        case (_, "path" | "system") if mute:
            end = "client" if side is Side.CLIENT else "provider"
            who = "a NAT or firewall" if role == "path" else "a system"
            return None, "", f"{who} like this sends no close from the {end}'s side: it would show as dark"
        case (Side.CLIENT, "between"):
            return None, "only if it stands between the client and this gateway", None
        case (_, "path"):
            return None, "only if it stands on this connection's way, and a packet was just sent", None
        case _:
            return None, "", None


def _mechanism(timer: Timer, seen: Seen, shown: frozenset[str]) -> tuple[bool | None, str | None]:
    if not shown:
        when = "before" if seen.phase in BEFORE_HEADERS or seen.phase in CONNECTING else "after"
        return None, f"it ends nothing {when} the headers"
    if seen.mechanism is None:
        return None, None
    if not shown & _same_as(seen.mechanism):
        return None, f"it would show as {_either(sorted(shown))}, not as {seen.mechanism.value}"
    if seen.mechanism is Mechanism.HTTP_ERROR and seen.status is not None and seen.status not in timer.status:
        return (
            None,
            f"it answers with {_either([str(code) for code in timer.status])}, not with {seen.status}",
        )
    return True, None


_SHOWN_LIKE = {"goaway": "fin", "torn": "fin", "rst_stream": "rst", "unacked": "dark"}
"Endings are told more finely apart than the atlas knows of: what it calls a close may come as any of these."


def _same_as(mechanism: Mechanism) -> frozenset[str]:
    """The atlas's words for a mechanism; a close that a reset follows is told by its close."""
    first = mechanism.value.partition("+")[0]
    return frozenset((mechanism.value, first, _SHOWN_LIKE.get(first, first)))


def _either(words: Sequence[str]) -> str:
    return " or ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else "".join(words)


def chance(
    rows: Iterable[Timer],
    *,
    share: float = SHARE,
    least_s: float = LEAST_S,
    within_s: tuple[float, float] = RANDOM_S,
) -> float:
    """How much of `within_s` lies near some timer's number, on whatever clock: 0 to 1.

    What a coincidence with the atlas is worth: a silence drawn evenly from that span has a match so often.
    """
    low, high = within_s
    covered, reached = 0.0, low
    for begin, end in sorted(window for timer in rows if (window := timer.window_s(share, least_s))):
        begin, end = max(begin, reached), min(end, high)
        if end > begin:
            covered += end - begin
            reached = end
    return covered / (high - low)


def _spoken(timer: Timer) -> str:
    if timer.from_s is not None and timer.to_s is not None and timer.from_s != timer.to_s:
        return f"{timer.from_s:g} to {timer.to_s:g} s"
    return f"{timer.seconds:g} s" if timer.seconds is not None else "no limit"


def _short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 1000 and seconds != round(seconds) else f"{seconds:.0f} s"
