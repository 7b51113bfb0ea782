"""The picture of a turn: what upstream, the gateway and the client were doing, as spans of time. Values out.

Three lanes from top to bottom in the order of the path: the client's connections, the gateway's keepalives, and
upstream's attempts, whose silences stand out. `html` draws them; numbers are seconds since the turn's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending
from holdfast.flight.flights import counted
from holdfast.flight.record import TurnRecord
from holdfast.report.breaks import OUTAGE, breaks, quiets

MOST_ATTEMPTS = 12
"Rows of attempts that are drawn; the rest are said in words."


def utc(wall_ms: int) -> str:
    """`2026-11-21 13:04:52.120 UTC`; `?` for a label that is no time."""
    try:
        return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"
    except (ValueError, OverflowError, OSError):
        return "?"


@dataclass(frozen=True, slots=True)
class Span:
    """From here to there, something was so."""

    from_s: float
    to_s: float
    kind: str
    "`waits`, `speaks`, `thinks`, `writes`, `calls`, `silent`, `follows`, `outage`."
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One point in time."""

    at_s: float
    kind: str
    "`break`, `end`, `keepalive`, `joined`."
    label: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One row."""

    name: str
    spans: tuple[Span, ...]
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """All rows, and how long it took."""

    total_s: float
    lanes: tuple[Lane, ...]
    left_out: int = 0
    "Attempts that are not drawn."


_KIND = {"text": "writes", "thinking": "thinks", "redacted_thinking": "thinks", "tool_use": "calls"}
_LABEL = {"writes": "text", "thinks": "thinking", "calls": "tool call"}


def draw(record: TurnRecord) -> Picture:
    """The lanes of a turn."""
    ends = [at.mono_s - record.started.mono_s for at, _ in record.moments]
    if record.ended is not None:
        ends.append(record.ended.mono_s - record.started.mono_s)
    total = max([*ends, 0.001])
    readers = _readers(record, total)
    attempts = _attempts(record, total)
    held = _keepalives(record, total)
    outages = tuple(
        Span(
            one.at_s,
            one.at_s + one.lasted_s if one.lasted_s is not None else total,
            "outage",
            f"away: {one.why}",
        )
        for one in breaks(record)
        if one.met == OUTAGE
    )
    lanes = [*readers, *([held] if held else []), *([Lane("network", outages)] if outages else [])]
    return Picture(total, (*lanes, *attempts[:MOST_ATTEMPTS]), max(len(attempts) - MOST_ATTEMPTS, 0))


def _readers(record: TurnRecord, total: float) -> list[Lane]:
    joined: dict[int, tuple[float, str]] = {}
    left: dict[int, tuple[float, str, Ending]] = {}
    for at, moment in record.moments:
        at_s = at.mono_s - record.started.mono_s
        match moment:
            case m.ReaderJoined(reader=number, how=how):
                joined[number] = (at_s, how)
            case m.ReaderLeft(reader=number, verdict=verdict, ending=ending):
                left[number] = (at_s, verdict, ending)
            case _:
                pass
    lanes = []
    for number, (from_s, how) in sorted(joined.items()):
        gone = left.get(number)
        to_s = gone[0] if gone else total
        label = {
            "first": "follows the answer",
            "retry": "the same request again",
            "fallback": "again, without streaming",
        }
        marks = [Mark(from_s, "joined", "joined")]
        if gone:
            marks.append(Mark(to_s, "break", f"{gone[2].code} ({gone[1].replace('_', ' ')})"))
        lanes.append(
            Lane(f"client {number}", (Span(from_s, to_s, "follows", label.get(how, how)),), tuple(marks))
        )
    return lanes[:MOST_ATTEMPTS]


def _keepalives(record: TurnRecord, total: float) -> Lane | None:
    """Where the client was held. The first keepalive is sent when a silence is noticed, the others as far apart."""
    spans, marks = [], []
    for quiet in quiets(record):
        if not quiet.keepalives:
            continue
        to_s = quiet.to_s if quiet.to_s is not None else total
        spans.append(Span(quiet.from_s, to_s, "holds", counted(quiet.keepalives, "keepalive")))
        step = (quiet.noticed_s or 0.0) - quiet.from_s
        times = [quiet.from_s + step * (n + 1) for n in range(min(quiet.keepalives, 200))] if step > 0 else []
        marks += [Mark(at_s, "keepalive", "keepalive") for at_s in times if at_s <= to_s + 0.5]
    return Lane("gateway", tuple(spans), tuple(marks)) if spans else None


def _attempts(record: TurnRecord, total: float) -> list[Lane]:
    """One lane per attempt: waiting, then what it was in the midst of, its silences over all."""
    lanes: list[Lane] = []
    numbers = [moment.attempt for _, moment in record.moments if isinstance(moment, m.AttemptStarted)]
    for number in dict.fromkeys(numbers):
        lanes.append(_attempt(record, number, total))
    return lanes


def _attempt(record: TurnRecord, number: int, total: float) -> Lane:
    spans: list[Span] = []
    marks: list[Mark] = []
    began, kind, label = None, "waits", "connects"
    live = False
    for at, moment in record.moments:
        at_s = at.mono_s - record.started.mono_s
        if isinstance(moment, m.AttemptStarted):
            live = moment.attempt == number
            if live:
                began = at_s
            continue
        if not live or began is None:
            continue
        change: tuple[str, str] | None = None
        match moment:
            case m.NetworkBack():
                change = ("waits", "connects")
            case m.RequestSent():
                change = ("waits", "waits for headers")
            case m.HeadersArrived(status=status):
                change = ("speaks", f"answered {status}")
            case m.BlockOpened(kind=block, tool=tool):
                opened = _KIND.get(block, "writes")
                change = (opened, tool or _LABEL.get(opened, block))
            case m.AnswerFinished() | m.AttemptEnded():
                spans.append(Span(began, at_s, kind, label))
                if isinstance(moment, m.AttemptEnded) and not moment.ending.completed:
                    marks.append(Mark(at_s, "break", moment.ending.code))
                else:
                    marks.append(Mark(at_s, "end", "answer finished"))
                began = None
        if change is not None and began is not None:
            if at_s > began:
                spans.append(Span(began, at_s, kind, label))
            began, (kind, label) = at_s, change
    if began is not None:
        spans.append(Span(began, total, kind, label))
    if not spans:
        return Lane(f"attempt {number}", (), tuple(marks))
    first, last = spans[0].from_s, spans[-1].to_s
    for quiet in quiets(record):
        from_s = max(quiet.from_s, first)
        to_s = min(quiet.to_s if quiet.to_s is not None else last, last)
        if to_s > from_s:
            spans.append(Span(from_s, to_s, "silent", f"silent for {_seconds(to_s - from_s)}"))
    return Lane(f"attempt {number}", tuple(spans), tuple(marks))


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
