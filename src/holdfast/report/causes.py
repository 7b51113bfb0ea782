"""Which timer may be behind a break, and whether it goes in a circle."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.diagnosis import loops, timers
from holdfast.flight import flights
from holdfast.flight import moments as m
from holdfast.flight.cuts import Row
from holdfast.flight.endings import Ending, Mechanism, Side
from holdfast.flight.flights import counted, duration
from holdfast.flight.reading import StoredTurn
from holdfast.flight.record import TurnRecord
from holdfast.report import timeline
from holdfast.report.breaks import CLIENT, Break, Clocks
from holdfast.report.claims import Claim, Grade


def timer(record: TurnRecord, main: Break, clock: Clocks) -> tuple[Claim | None, tuple[str, ...]]:
    """Which timer may be behind it, and which with the same number cannot."""
    if main.ending is None or main.ending.side is Side.NOBODY:
        return None, ()
    if main.ending.side in (Side.GATEWAY, Side.MACHINE):
        if main.ending.mechanism is Mechanism.DEADLINE:
            return Claim(
                "timer", f"One of this gateway's own limits: {main.ending.detail or 'its name was not noted'}.",
                Grade.CERTAIN, ("It was noted by the gateway when it fired.",),
            ), ()  # fmt: skip
        return None, ()
    if main.ending.mechanism in _NO_TIMER:
        return None, ()
    seen = timers.Seen(
        side=main.ending.side,
        mechanism=main.ending.mechanism,
        phase=main.ending.phase,
        idle_s=clock.byte_s,
        event_s=clock.event_s,
        wall_s=clock.request_s,
        headers_s=clock.headers_s,
        age_s=clock.age_s,
        status=_status(main.ending),
        agent=_agent(record) if main.met == CLIENT else "",
    )
    if seen.idle_s is None and seen.wall_s is None and seen.age_s is None:
        return Claim(
            "timer", "No clock was read at this break, so no timer can be named.", Grade.CANNOT_TELL
        ), ()
    ranking = timers.candidates(seen)
    others = tuple(one.sentence() for one in ranking.excluded)
    fits = tuple(one.sentence() for one in ranking.candidates[:6])
    named = ranking.named
    settle = ("Three breaks at the same number name a timer; random ones do not repeat.",)
    measured = main.verdict == "gave_up" and main.limit_s is not None
    if measured and main.limit_s is not None:
        own = f"{record.profile}'s own limit on {main.limit}, {duration(main.limit_s)}"
        said = f"Suspected: {own}, as measured of that client."
        if record.profile in ("", "unknown") or main.limit == "told":
            on = "" if main.limit == "told" else f" on {main.limit}"
            said = (
                f"Suspected: the client's own limit{on}, {duration(main.limit_s)}: it told it in its request "
                "(x-stainless-timeout). Nobody has measured whether that client keeps it."
            )
        return Claim("timer", said, Grade.LIKELY, tuple(one for one in fits if one), (), settle), others
    grade = Grade.LIKELY if named else Grade.CANNOT_TELL
    against = (ranking.chance_sentence(),) if ranking.candidates else ()
    return Claim(
        "timer", ranking.sentence(), grade, fits, against, settle if ranking.candidates else ()
    ), others


def _agent(record: TurnRecord) -> str:
    """The client as the atlas may know it: by its profile, else by its User-Agent; never empty."""
    if record.profile and not record.profile.startswith("unknown"):
        return record.profile
    return record.agent or "unknown"


_NO_TIMER = frozenset(
    (
        Mechanism.REFUSED,
        Mechanism.DNS,
        Mechanism.UNREACHABLE,
        Mechanism.PROXY,
        Mechanism.MALFORMED,
        Mechanism.TLS,
    )
)
"Ended at once, by what they are."


def _status(ending: Ending) -> int | None:
    value = ending.evidence.get("status")
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def loop(record: TurnRecord, main: Break, neighbours: Sequence[StoredTurn], cut: Row | None = None) -> Claim:
    """Whether the same goes wrong again and again, told from this turn and its neighbours."""
    doomed = next((one for _, one in record.moments if isinstance(one, m.RequestDoomed)), None)
    if cut is not None and cut.cuts >= 2:
        said = f"Yes: this answer broke {cut.cuts} times in a row, first itself and then each rest that was asked for."
        tries = tuple(f"Turn {one}: broken, and ended early." for one in cut.turn_ids[:MOST_TRIES])
        return Claim("loop", said, Grade.CERTAIN, tries)
    circles = [one for one in loops.found([record, *neighbours]) if record.turn_id in one.turn_ids]
    if circles:
        worst = max(circles, key=lambda one: len(one.tries))
        known = "The requests are the same by their content." if worst.by == "key" else ""
        against = () if known else ("The requests are only known to be of the same size to the byte.",)
        tries = tuple(
            f"{timeline.utc(one.at_wall_ms)}: ended as {one.ending.code} after {duration(one.lasted_s)}."
            for one in worst.tries[:MOST_TRIES]
        )
        grade = Grade.CERTAIN if known else Grade.LIKELY
        more = (flights.sentence(doomed),) if doomed else ()
        settle = ("One of these requests that goes through unchanged.",)
        if worst.session is None:
            # A conversation grows, so one session's same question is its client's retry. This one names no session.
            return Claim(
                "loop",
                f"The same was asked {len(worst.tries)} times, by a client's retries or by somebody who ran it again: "
                "this client names no session, so which of them it was is not seen.",
                Grade.CANNOT_TELL,
                tuple(part for part in (known, *more, *tries) if part),
                against,
                (*settle, "The client's own log: whether it says that it asks again."),
            )
        said = f"Yes: a circle of retries. {worst.sentence()}"
        return Claim(
            "loop", said, grade, tuple(part for part in (known, *more, *tries) if part), against, settle
        )
    if doomed is not None:
        return Claim("loop", f"Yes. {flights.sentence(doomed)}", Grade.LIKELY)
    refused = next(
        (one for one in (main.ending, record.ending) if one and one.mechanism is Mechanism.DOOMED), None
    )
    if refused is not None:
        counted_here = ("The gateway counted it, and did not send it once more.",)
        return Claim(
            "loop",
            f"Yes: {refused.detail or 'it broke at the same place again and again'}.",
            Grade.LIKELY,
            counted_here,
        )
    again = sum(
        isinstance(one, m.ReaderJoined) and one.how in ("retry", "fallback") for _, one in record.moments
    )
    if again:
        often = "once more" if again == 1 else f"{again} times more"
        said = (
            f"No: the client asked the same {often} and was given the same answer, so that no circle began."
        )
        return Claim(
            "loop", said, Grade.CERTAIN,
            ("The repeated request was recognised by its content, and nothing was generated twice.",),
        )  # fmt: skip
    if not neighbours:
        said = (
            "There is nothing to compare: within an hour no other turn of this session, nor one with this request that was "
            "disturbed."
        )
        return Claim("loop", said, Grade.CANNOT_TELL)
    return Claim(
        "loop", "No circle seen.", Grade.LIKELY,
        (f"Compared with {counted(len(neighbours), 'turn')} of the same session or with the same request.",),
    )  # fmt: skip


MOST_TRIES = 8
