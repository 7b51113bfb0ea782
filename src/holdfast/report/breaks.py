"""What broke in a turn, and what every clock showed at that moment. A record in, values out.

A turn can break several times and still end well. Each break is an ending that was met on one of our sockets, or
an outage that the turn sat through; `main_break` is the one that a report is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.flight import flights
from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Side
from holdfast.flight.flights import duration
from holdfast.flight.instant import Instant
from holdfast.flight.record import TurnRecord

CLIENT = "client"
UPSTREAM = "upstream"
HERE = "here"
OUTAGE = "outage"


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that went wrong."""

    at_s: float
    "Seconds since the turn's start, on the monotonic clock."
    met: str
    "`client`: on the client's connection; `upstream`: on an attempt's; `here`: by the gateway itself; `outage`."
    ending: Ending | None
    "None for an outage."
    number: int = 0
    "Which client connection, or which attempt."
    verdict: str = ""
    "Of a client that left: why, as the gateway judged it then."
    limit: str | None = None
    limit_s: float | None = None
    why: str = ""
    "Of an outage: the clause that was noted."
    lasted_s: float | None = None
    "Of an outage: how long; None where it did not end within the turn."
    remedy: str | None = None
    "How it was healed, or was tried to be; None where nothing was tried, or where there was nothing to heal."
    mended: bool = True
    "Whether the remedy held; False where the turn was lost all the same."


@dataclass(frozen=True, slots=True)
class Clocks:
    """What the clocks showed at a break, in seconds. None is "not measured"."""

    request_s: float | None = None
    "Since the request: the client's for its own break, the attempt's sending for one of upstream."
    headers_s: float | None = None
    "Since upstream's headers."
    byte_s: float | None = None
    "Silence on the connection that broke: since its last byte."
    event_s: float | None = None
    "Since the last event that the client counts; only for breaks of the client's."
    upstream_s: float | None = None
    "Silence of upstream, whatever the client was given meanwhile."
    age_s: float | None = None
    "Age of the connection that broke."
    ack_s: float | None = None
    "Since the other side's kernel acknowledged something on that connection."


def breaks(record: TurnRecord) -> list[Break]:
    """Everything that went wrong, in its order."""
    found: list[Break] = []
    for at, moment in record.moments:
        at_s = at.mono_s - record.started.mono_s
        match moment:
            case (
                m.ReaderLeft(verdict="superseded")
                | m.ReaderLeft(ending=Ending(mechanism=Mechanism.COMPLETED))
            ):
                pass
            case m.ReaderLeft(reader=number, verdict=verdict, limit=limit, limit_s=limit_s, ending=ending):
                found.append(Break(at_s, CLIENT, ending, number, verdict, limit, limit_s))
            case m.AttemptEnded(attempt=number, ending=ending) if _is_a_break(ending):
                met = HERE if ending.side in (Side.GATEWAY, Side.MACHINE) else UPSTREAM
                found.append(Break(at_s, met, ending, number))
            case m.NetworkGone(why=why):
                found.append(Break(at_s, OUTAGE, None, why=why))
            case m.NetworkBack(absent_s=absent_s):
                _mend(found, OUTAGE, lasted_s=absent_s)
            case m.Healed(remedy=remedy):
                _mend(found, UPSTREAM, remedy=remedy)
            case _:
                pass
    _unmend(record, found)
    last = record.ending
    if last is not None and not last.completed and not any(_same(one.ending, last) for one in found):
        explained = last.mechanism is Mechanism.CANCELLED and any(one.met == CLIENT for one in found)
        if not explained:
            end_s = (record.ended or record.started).mono_s - record.started.mono_s
            met = {Side.CLIENT: CLIENT, Side.PATH: UPSTREAM, Side.PROVIDER: UPSTREAM}.get(last.side, HERE)
            found.append(Break(end_s, met, last, record.attempts))
    return found


def _is_a_break(ending: Ending) -> bool:
    """An attempt that the gateway stopped because nobody wanted it did not break."""
    return not ending.completed and not (
        ending.side is Side.GATEWAY and ending.mechanism in (Mechanism.CANCELLED, Mechanism.SUPERSEDED)
    )


def _same(one: Ending | None, other: Ending) -> bool:
    return one is not None and one.code == other.code


def _mend(found: list[Break], met: str, *, lasted_s: float | None = None, remedy: str | None = None) -> None:
    """The latest break of this kind went by."""
    for index in range(len(found) - 1, -1, -1):
        if found[index].met == met or (met == UPSTREAM and found[index].met == HERE):
            found[index] = replace(found[index], lasted_s=lasted_s, remedy=remedy)
            return


def _unmend(record: TurnRecord, found: list[Break]) -> None:
    """A remedy that was tried and did not hold: the record marks its break by `!`, and a lost turn has one."""
    places = [index for index, one in enumerate(found) if one.met in (UPSTREAM, HERE)]
    marks = [part.endswith("!") for part in record.breaks.split(", ")] if record.breaks else []
    lost = record.ending is not None and not record.ending.completed
    for place, index in enumerate(places):
        latest = index == places[-1]
        failed = marks[place] if len(marks) == len(places) else latest and bool(marks) and marks[-1]
        if failed or (
            latest and lost and record.ending is not None and record.ending.side is not Side.CLIENT
        ):
            found[index] = replace(found[index], mended=False)


def main_break(record: TurnRecord, found: Sequence[Break]) -> Break | None:
    """The one to explain: what ended the turn, or where it ended well, the first that it survived."""
    if not found:
        return None
    if record.ending is None or record.ending.completed:
        return next((one for one in found if one.ending is not None), found[0])
    same = [one for one in found if _same(one.ending, record.ending)]
    if same:
        return same[-1]
    left = [one for one in found if one.met == CLIENT]
    if left and not _came_back(record, left[-1].at_s):
        return left[-1]
    return next((one for one in reversed(found) if one.ending is not None), found[-1])


def _came_back(record: TurnRecord, after_s: float) -> bool:
    return any(
        isinstance(moment, m.ReaderJoined) and at.mono_s - record.started.mono_s > after_s
        for at, moment in record.moments
    )


def clocks(record: TurnRecord, one: Break) -> Clocks:
    """What the clocks showed at this break."""
    facts = one.ending.evidence if one.ending else {}

    def number(name: str, per: float = 1.0) -> float | None:
        value = facts.get(name)
        return float(value) / per if isinstance(value, int | float) and not isinstance(value, bool) else None

    attempt = one.number if one.met == UPSTREAM else _attempt_at(record, one.at_s)
    sent = _when(record, m.RequestSent, attempt, one.at_s)
    heads = _when(record, m.HeadersArrived, attempt, one.at_s)
    upstream_s = upstream_silence_s(record, one.at_s)
    if one.met == CLIENT:
        asked = _joined(record, one.number)
        since, silent = number("since_request_s"), number("since_byte_s")
        if silent is None:
            silent = number("last_data_sent_ms", 1000)
        if upstream_s is None and not record.keepalives:
            upstream_s = silent  # what reaches the client came from upstream
        return Clocks(
            request_s=since if since is not None else one.at_s - asked if asked is not None else None,
            headers_s=one.at_s - heads if heads is not None else None,
            byte_s=silent,
            event_s=number("since_event_s"),
            upstream_s=upstream_s if number("silence_s") is None else number("silence_s"),
            ack_s=number("last_ack_recv_ms", 1000),
        )
    held_s = (
        number("half_closed_ms", 1000) or 0.0
    )  # after the FIN, to see whether a reset followed: our own time
    silence, age = number("silence_s"), number("age_s")
    silence = None if silence is None else max(silence - held_s, 0.0)
    return Clocks(
        request_s=max(one.at_s - sent - held_s, 0.0) if sent is not None else None,
        headers_s=max(one.at_s - heads - held_s, 0.0) if heads is not None else None,
        byte_s=silence,
        upstream_s=silence if silence is not None else upstream_s,
        age_s=None if age is None else max(age - held_s, 0.0),
        ack_s=number("last_ack_recv_ms", 1000),
    )


def _attempt_at(record: TurnRecord, at_s: float) -> int:
    """The attempt under way at that time; 0 where there was none."""
    latest = 0
    for at, moment in record.moments:
        if at.mono_s - record.started.mono_s > at_s:
            break
        if isinstance(moment, m.AttemptStarted):
            latest = moment.attempt
    return latest


def _when(
    record: TurnRecord, kind: type[m.RequestSent] | type[m.HeadersArrived], attempt: int, until_s: float
) -> float | None:
    for at, moment in reversed(record.moments):
        at_s = at.mono_s - record.started.mono_s
        if isinstance(moment, kind) and moment.attempt == attempt and at_s <= until_s:
            return at_s
    return None


def _joined(record: TurnRecord, reader: int) -> float | None:
    for at, moment in record.moments:
        if isinstance(moment, m.ReaderJoined) and moment.reader == reader:
            return at.mono_s - record.started.mono_s
    return None


@dataclass(frozen=True, slots=True)
class Quiet:
    """A silence of upstream that was long enough to be noticed."""

    from_s: float
    to_s: float | None
    "None where it did not end within the turn."
    keepalives: int
    tool: str | None = None
    phase: str = ""
    noticed_s: float | None = None
    "When it was noticed: at the first keepalive, where the client takes any; the others follow at the same distance."
    exact: bool = True
    "Whether `from_s` is its beginning; else only when it was noticed is known."


def quiets(record: TurnRecord) -> list[Quiet]:
    """Every silence, with its beginning where its end tells it.

    Where the gateway sent no keepalive, it noted no silence; then the client's own clock tells of one at its leaving.
    """
    found: list[Quiet] = []
    for at, moment in record.moments:
        at_s = at.mono_s - record.started.mono_s
        match moment:
            case m.QuietNoticed(phase=phase, tool=tool):
                found.append(Quiet(at_s, None, 0, tool, phase, at_s, exact=False))
            case m.QuietEnded(quiet_s=quiet_s, keepalives=keepalives):
                before = found.pop() if found and found[-1].to_s is None else Quiet(at_s, None, 0)
                from_s = max(at_s - quiet_s, 0.0)
                found.append(Quiet(from_s, at_s, keepalives, before.tool, before.phase, before.noticed_s))
            case m.AttemptEnded(ending=ending) if found:
                found[-1] = _to_the_end(record, found[-1], at_s, ending)
            case m.ReaderLeft(ending=ending) if not record.keepalives:
                silent = ending.evidence.get("since_byte_s")
                noticed = any(one.to_s is None or one.to_s >= at_s for one in found)
                if isinstance(silent, int | float) and silent >= WORTH_SHOWING_S and not noticed:
                    found.append(Quiet(max(at_s - silent, 0.0), at_s, 0, None, ending.phase.value))
            case _:
                pass
    return found


def _to_the_end(record: TurnRecord, quiet: Quiet, ended_s: float, ending: Ending) -> Quiet:
    """The last silence, where upstream said nothing more until its attempt ended."""
    silent = ending.evidence.get("silence_s")
    known = isinstance(silent, int | float) and not isinstance(silent, bool)
    from_s = max(ended_s - silent, 0.0) if known and isinstance(silent, int | float) else quiet.from_s
    if quiet.to_s is None:
        return replace(quiet, from_s=min(from_s, quiet.from_s), to_s=ended_s, exact=quiet.exact or known)
    through = record.longest_quiet_s >= ended_s - quiet.from_s - NEAR_S
    if (known and from_s <= quiet.from_s + NEAR_S) or (not known and through):
        return replace(quiet, to_s=ended_s)
    return quiet


NEAR_S = 0.5
"Two readings of one silence differ by no more than this."
WORTH_SHOWING_S = 5.0
"Shorter silences are how answers come."


def upstream_silence_s(record: TurnRecord, at_s: float) -> float | None:
    """How long upstream had been silent at that time; None where it was not silent for long, or nobody knows."""
    for quiet in quiets(record):
        if quiet.from_s < at_s and (quiet.to_s is None or quiet.to_s >= at_s - 0.05):
            if quiet.exact:
                return at_s - quiet.from_s
            spoke = last_word_s(record, quiet.from_s)
            return at_s - spoke if spoke is not None else at_s - quiet.from_s
    return None


SPOKE = (m.HeadersArrived, m.FirstEventArrived, m.BlockOpened, m.AnswerFinished)


def last_word_s(record: TurnRecord, until_s: float) -> float | None:
    """When upstream was last noticed to say something, until then; bytes inside a block make no moment."""
    times = [
        at.mono_s - record.started.mono_s
        for at, moment in record.moments
        if isinstance(moment, SPOKE) and at.mono_s - record.started.mono_s <= until_s
    ]
    return times[-1] if times else None


def next_word_s(record: TurnRecord, after_s: float) -> float | None:
    """When upstream was next noticed to say something after that time."""
    for at, moment in record.moments:
        at_s = at.mono_s - record.started.mono_s
        if at_s > after_s and isinstance(moment, SPOKE):
            return at_s
    return None


def asleep_s(record: TurnRecord) -> float:
    """By how much the wall clock outran the monotonic one over the turn: a sleep of the machine, or a set clock."""
    end: Instant | None = record.ended or (record.moments[-1][0] if record.moments else None)
    if end is None:
        return 0.0
    return (end.wall_ms - record.started.wall_ms) / 1000 - (end.mono_s - record.started.mono_s)


def back_after_s(record: TurnRecord, main: Break) -> float | None:
    """How soon after the break the client came back with the same request; None where it did not."""
    for at, moment in record.moments:
        at_s = at.mono_s - record.started.mono_s
        if at_s >= main.at_s and isinstance(moment, m.ReaderJoined) and moment.how in ("retry", "fallback"):
            return at_s - main.at_s
    return None


def told(one: Break) -> str:
    """Another break in one line."""
    at = f"{duration(one.at_s)} after the start"
    if one.ending is None:
        return f"{at}: upstream could not be reached ({one.why})."
    healed = f"; {'healed' if one.mended else 'not healed'} ({one.remedy})" if one.remedy else ""
    return f"{at}: {flights.ending_sentence(one.ending, evidence=False)}{healed}."


def request_id(record: TurnRecord, one: Break) -> str | None:
    """The provider's id of the request that broke, or was under way; None where it gave none."""
    attempt = one.number if one.met == UPSTREAM else _attempt_at(record, one.at_s)
    for _, moment in record.moments:
        if isinstance(moment, m.HeadersArrived) and moment.attempt == attempt:
            return moment.request_id
    return None
