"""Does something on the way forget connections that are silent, and after how long?

As many connections as there are lengths, each twice: without and with TCP's own probes. Each is asked once, so that it
is a connection in use and not one that never spoke; then it is left alone for its length; then it is asked again. All
lengths run beside each other, so the whole takes as long as the longest. What the second question meets tells the kind:
an answer; an end that came meanwhile (a FIN or reset, with its time: the far end, or a box that says so); a reset at once
(something does not know the connection any more); or nothing at all, not even TCP's acknowledgement (something forgot it
in silence, the worst for a program that waits). Where the connections with probes live and those without die, it is
something that counts packets, such as a NAT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from holdfast.flight.flights import duration
from holdfast.probes import http
from holdfast.probes.asking import HANDSHAKE_BYTES, UNKNOWN, Cost, Options, not_here
from holdfast.probes.handshake import first_address
from holdfast.probes.net import (
    Address,
    NoConnection,
    Stop,
    Wire,
    all_acknowledged,
    exchange,
    now_s,
    pump,
    reach,
)
from holdfast.probes.result import Finding, Grade, excluded
from holdfast.probes.target import Target

NAME = "idle"
ASKS = "Whether connections survive silence: held idle for several lengths at once, with and without TCP keepalive."
SAYS = (
    "How long a connection between two requests may be silent on this path before something ends or forgets it, and "
    "whether TCP's own probes prevent it."
)
DOES_NOT_SAY = (
    "What happens to silence inside an answer: an end that also comes with probes may be the far end's rule for "
    "connections without a request, which no answer under way meets. Each length was tried once; boxes forget earlier "
    "when they are full."
)


AT_ONCE_S = 0.5
"An end so soon after an answer is no matter of silence."


class Outcome(Enum):
    """What became of one silent connection."""

    ALIVE = "alive"
    CLOSED = "closed while idle"
    RESET_ON_SEND = "reset on send"
    DEAD_ON_SEND = "dead on send"
    UNANSWERED = "acknowledged, not answered"
    "TCP lives; the program behind it said nothing."


GONE = (Outcome.CLOSED, Outcome.RESET_ON_SEND, Outcome.DEAD_ON_SEND)


@dataclass(frozen=True, slots=True)
class Held:
    """One connection that was left alone."""

    hold_s: float
    keepalive: bool
    outcome: Outcome
    idle_s: float
    "How long it was silent in fact: until it was asked again, or ended."
    how: str = ""
    "`fin`, `reset`, `timeout`; empty where it did not end."
    goodbye: bool = False


def cost(target: Target, options: Options) -> Cost:
    count = 2 * len(options.holds_s)
    each = (HANDSHAKE_BYTES if target.tls else 1000) + 2000
    return Cost(count, count * each, max(options.holds_s, default=0) + options.patience_s + count * 0.2)


@dataclass(slots=True)
class _Holding:
    wire: Wire
    hold_s: float
    keepalive: bool
    since_s: float
    asked_s: float | None = None

    @property
    def has_news(self) -> bool:
        return self.wire.ended is not None or (self.asked_s is not None and bool(self.wire.received))

    def next_s(self, patience_s: float) -> float:
        """When something has to be done with it."""
        return self.since_s + self.hold_s if self.asked_s is None else self.asked_s + patience_s


def ask(target: Target, options: Options, stop: Stop) -> Finding:
    address = first_address(target, options, stop)
    holding: list[_Holding] = []
    held: list[Held] = []
    failed: list[str] = []
    closing = False
    try:
        for hold_s in sorted(options.holds_s):
            for keepalive in (False, True):
                if stop() or closing:
                    break
                try:
                    one, stays = _opened(target, address, hold_s, keepalive, options, stop)
                except NoConnection as error:
                    if not holding and not failed:
                        raise
                    failed.append(str(error))
                    continue
                holding.append(one)
                pump(
                    [each.wire for each in holding], 0.0, stop
                )  # an end that comes meanwhile gets its true time
                closing = not stays
        if closing:
            return Finding(
                Grade.NOT_MEASURED, not_here("the server closes every connection after one answer")
            )
        _watch(target, holding, held, options, stop)
        unknown = [(one.hold_s, one.keepalive) for one in holding]
        fresh = _fresh(target, address, options, stop) if any(map(in_silence, held)) and not stop() else None
        return verdict(held, unknown, failed, fresh_works=fresh, stopped=stop())
    finally:
        for one in holding:
            one.wire.close()


def _opened(
    target: Target, address: Address, hold_s: float, keepalive: bool, options: Options, stop: Stop
) -> tuple[_Holding, bool]:
    """A connection that was asked once, and whether the server lets it stand."""
    every = options.keepalive_s if keepalive else None
    wire = reach(target, address, options.patience_s, stop, keepalive_s=every)
    try:
        done = exchange(wire, http.question(target, path=target.prefix + "/"), options.patience_s, stop)
        if done.answer is None:
            how = done.not_http or done.ended or "no answer"
            raise NoConnection(
                "tls" if target.tls else "connect", how, f"the first question: {how}", done.took_s
            )
    except BaseException:
        wire.close()
        raise
    return _Holding(wire, hold_s, keepalive, now_s()), done.answer.stays_open


def _fresh(target: Target, address: Address, options: Options, stop: Stop) -> bool | None:
    """Whether a new connection is answered now. Where it is not, the path is down, and silence is not to blame."""
    try:
        one, _ = _opened(target, address, 0.0, False, options, stop)
    except NoConnection as error:
        return None if error.kind == "stopped" else False
    one.wire.close()
    return True


def in_silence(one: Held) -> bool:
    """Whether nobody said that the connection was over."""
    return one.outcome is Outcome.DEAD_ON_SEND or one.how == "timeout"


def _watch(target: Target, holding: list[_Holding], held: list[Held], options: Options, stop: Stop) -> None:
    """Leave them alone; ask each when its time is over. `holding` keeps those that nothing is known of yet."""
    question = http.question(target, path=target.prefix + "/")
    while holding and not stop():
        due = min(one.next_s(options.patience_s) for one in holding)
        wires = [one.wire for one in holding]
        pump(wires, due - now_s(), stop, lambda: any(one.has_news for one in holding))
        for one in list(holding):
            at = now_s()
            if one.asked_s is None and one.wire.ended is None:
                if at >= one.since_s + one.hold_s:
                    one.wire.received.clear()
                    one.wire.write(question)
                    one.asked_s = at
            elif one.has_news or at >= one.next_s(options.patience_s):
                held.append(_became(one))
                one.wire.close()
                holding.remove(one)


def _became(one: _Holding) -> Held:
    """What one came to, that has ended, was answered, or has waited long enough."""
    wire = one.wire
    if one.asked_s is None:
        silent = (wire.ended_s or one.since_s) - one.since_s
        return Held(one.hold_s, one.keepalive, Outcome.CLOSED, silent, wire.ended or "", wire.goodbye)
    silent = one.asked_s - one.since_s
    if wire.received:
        return Held(one.hold_s, one.keepalive, Outcome.ALIVE, silent)
    if wire.ended == "reset":
        return Held(one.hold_s, one.keepalive, Outcome.RESET_ON_SEND, silent, "reset")
    if wire.ended == "fin":
        return Held(one.hold_s, one.keepalive, Outcome.CLOSED, silent, "fin", wire.goodbye)
    if wire.ended is not None or not all_acknowledged(wire.facts()):
        return Held(one.hold_s, one.keepalive, Outcome.DEAD_ON_SEND, silent, wire.ended or "timeout")
    return Held(one.hold_s, one.keepalive, Outcome.UNANSWERED, silent)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Between which silences connections begin to die."""

    alive_s: float | None
    "The longest that lived; None where none did."
    gone_s: float | None
    "The shortest that did not; None where all lived."
    ordered: bool = True
    "False where a longer silence lived than one that did not: then it is no threshold."

    def __str__(self) -> str:
        if self.gone_s is None:
            return f"none up to {duration(self.alive_s)}" if self.alive_s is not None else "not known"
        low = f"{duration(self.alive_s)} and " if self.alive_s is not None else "0 s and "
        return f"between {low}{duration(self.gone_s)}"


def threshold(held: Sequence[Held]) -> Threshold:
    """Of one kind of connections. An end that came meanwhile counts with its own time."""
    alive = [one.idle_s for one in held if one.outcome in (Outcome.ALIVE, Outcome.UNANSWERED)]
    gone = [one.idle_s for one in held if one.outcome in GONE]
    # A connection that ended at 60 s had lived until then, to a moment.
    first = min(gone, default=None)
    below = [one for one in alive if first is None or one < first]
    return Threshold(max(below, default=None), first, first is None or all(one < first + 1 for one in alive))


def verdict(
    held: Sequence[Held],
    unknown: Sequence[tuple[float, bool]] = (),
    failed: Sequence[str] = (),
    *,
    fresh_works: bool | None = None,
    stopped: bool = False,
) -> Finding:
    """Weigh them. `unknown` are those of which nothing was known when it was stopped.

    `fresh_works`: whether a new connection was answered after some had died in silence; None for not tried.
    """
    plain = [one for one in held if not one.keepalive]
    probed = [one for one in held if one.keepalive]
    facts: dict[str, object] = {
        "without_keepalive": _facts(plain),
        "with_keepalive": _facts(probed),
        "not_known_yet": [{"hold_s": hold_s, "keepalive": keepalive} for hold_s, keepalive in unknown],
        "not_opened": list(failed),
        "fresh_connection_works": fresh_works,
    }
    complete = not stopped and not unknown
    if not held:
        return Finding(Grade.NOT_MEASURED, UNKNOWN, facts, False)
    if all(one.outcome is Outcome.CLOSED and one.idle_s < AT_ONCE_S for one in held):
        return Finding(
            Grade.NOT_MEASURED,
            not_here("the server closes every connection soon after its answer"),
            facts,
            complete,
        )
    if fresh_works is False:
        gone = sum(map(in_silence, held))
        text = (
            f"{gone} of {len(held)} idle connections died, and a new one is not answered either: the path is down "
            "now, which says nothing about silence"
        )
        return Finding(Grade.BROKEN, text, facts, complete)
    without, with_ = threshold(plain), threshold(probed)
    text, grade = _weighed(plain, probed, without, with_)
    if not complete:
        text += f"; interrupted: {len(unknown)} of {len(unknown) + len(held)} were still waiting"
    return Finding(grade, text, facts, complete)


def _weighed(
    plain: list[Held], probed: list[Held], without: Threshold, with_: Threshold
) -> tuple[str, Grade]:
    silent_death = [one for one in plain if one.outcome in (Outcome.DEAD_ON_SEND, Outcome.RESET_ON_SEND)]
    if without.gone_s is None and with_.gone_s is None:
        total = len(plain) + len(probed)
        longest = max((one.idle_s for one in (*plain, *probed)), default=0.0)
        return (
            f"{total} of {total} idle connections lived, up to {duration(longest)} of silence; that "
            f"{excluded(0, total)} at such lengths, and says nothing about longer silence or about streams",
            Grade.FINE,
        )
    if not without.ordered or not with_.ordered:
        gone, total = sum(one.outcome in GONE for one in (*plain, *probed)), len(plain) + len(probed)
        return (
            f"{gone} of {total} idle connections died, but some that were silent for longer lived: no threshold, "
            "rather loss, or a box that is full",
            Grade.SUSPECTED,
        )
    ways = _ways([one for one in (*plain, *probed) if one.outcome in GONE])
    if without.gone_s is not None and _lived_past(probed, without.gone_s):
        kind = (
            "something on the path forgets silent connections" if silent_death
            else "something that counts packets closes silent connections"
        )  # fmt: skip
        return (
            f"{kind} {without} ({ways}); with TCP keepalive they lived, up to {duration(with_.alive_s or 0)}",
            Grade.SUSPECTED,
        )
    if without.gone_s is not None and with_.gone_s is not None:
        if silent_death or any(one.outcome is Outcome.DEAD_ON_SEND for one in probed):
            return (
                f"idle connections die {without} without and {with_} with TCP keepalive ({ways}): not helped by "
                "probes, so a proxy, the far end, or a limit of the connection's whole age",
                Grade.SUSPECTED,
            )
        return (
            f"idle connections are closed {without} ({ways}), with TCP keepalive too ({with_}): whoever closes counts "
            "requests or bytes and not packets, most likely the far end's own rule for connections without a request",
            Grade.NOTED,
        )
    only = (
        f"{without} without TCP keepalive"
        if without.gone_s is not None
        else f"{with_} with TCP keepalive alone"
    )
    return f"idle connections die {only} ({ways})", Grade.SUSPECTED


def _lived_past(probed: list[Held], gone_s: float) -> bool:
    return any(one.idle_s >= gone_s - 1 for one in probed if one.outcome is Outcome.ALIVE) and not any(
        one.outcome in GONE for one in probed
    )


def _ways(gone: list[Held]) -> str:
    """`dead on send 4, closed while idle by fin 2`."""
    counts: dict[str, int] = {}
    for one in gone:
        name = one.outcome.value
        if one.outcome is Outcome.CLOSED:
            by = {"fin": "a FIN", "reset": "a reset", "timeout": "TCP's own probes, unanswered"}.get(
                one.how, one.how
            )
            name += f" by {by}{' after a TLS goodbye' if one.goodbye else ''}"
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{name}: {count}" for name, count in counts.items())


def _facts(held: Sequence[Held]) -> dict[str, object]:
    found = threshold(held)
    return {
        "longest_alive_s": found.alive_s,
        "shortest_gone_s": found.gone_s,
        "connections": [
            {
                "hold_s": one.hold_s,
                "outcome": one.outcome.value,
                "idle_s": one.idle_s,
                "how": one.how or None,
                "tls_goodbye": one.goodbye,
            }
            for one in sorted(held, key=lambda one: one.hold_s)
        ],
    }


def lengths(from_s: float, to_s: float) -> tuple[float, ...]:
    """The lengths between two, both included."""
    return tuple(sorted({from_s, to_s, *(one for one in Options().holds_s if from_s < one < to_s)}))
