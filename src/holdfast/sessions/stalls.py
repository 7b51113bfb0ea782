"""Stalls that leave no error record: inferred from what is there, each with what it cannot tell. Values in, values out.

A silent stall, a watchdog's hit, a fallback to a request without streaming: none of them is an error to the client, and
transcripts have no word for them. What they have is times. The wait for an answer is known where the record right before it
is what it answers; writing takes time too, so only what is left after a slow model's time is called silence.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.sessions.debug import SOURCE as DEBUG_LOG
from holdfast.sessions.debug import DebugNote

BROKEN = "broken stream"
"""Kind of what the client tells of a connection that broke, where no silence is told of: it mended that by itself, by asking
again or by keeping what had come, so that no failure is on record. It is no stall."""
OWN_WORDS = ("client telemetry", DEBUG_LOG, BROKEN)
"Kinds of which the client itself speaks."
AT_ONCE_MS = 1_500
"What the client notes in two places when it happens is so near: a busy machine is slow between them."
FOLLOWS_MS = 5_000
"Lines of the debug log that have no length, so close behind each other, tell of one end: what came, what is done about it."
TOUCH_MS = 1_000
"Silences that overlap by less are two, one after the other: lines are written when a timer fires, not when it was due."
SILENT_S = 120.0
"Silence that is called one. A person has looked at the screen by then; a large prompt has begun to be answered."
SLOW_TOKENS_PER_S = 20.0
"Slower no current model writes for long."
NULLS_ARE_ODD = 0.2
"Where more of a version's answers have no stop reason than that, having none says nothing."
ENOUGH = 20
"Answers of a version from which on that can be known."
FALLBACK_S = (90.0, 300.0, 600.0)
"After such a silence measured clients ask again without streaming, some of them only if they were told to."
FALLBACK_TOOK_S = 35.0


@dataclass(frozen=True, slots=True)
class Stall:
    """One time in which, as far as can be told, nothing came; or a stream that broke and left no failure (`BROKEN`)."""

    at_ms: int
    "When it was over."
    session: str
    version: str
    kind: str
    "`silent wait`, `unheard end`, `unfinished answer`, or one of `OWN_WORDS`."
    silent_s: float | None
    "At least so long; None where that is not known."
    fits: str
    "What it looks like; may be empty."
    cannot_tell: str
    request_id: str | None = None
    "The provider's, where a source bears it."


@dataclass(frozen=True, slots=True)
class Waited:
    """An answer that was long in coming."""

    at_ms: int
    asked_ms: int
    session: str
    version: str
    output_tokens: int
    subagent: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """A turn's end as interactive sessions note it, and the last answer before it."""

    at_ms: int
    session: str
    version: str
    duration_ms: float
    heard_ms: int | None
    "The last answer's first record; None where none is on record."
    heard_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An answer without a stop reason."""

    at_ms: int
    session: str
    version: str


Failed = Mapping[tuple[str, bool], Sequence[int]]
"Session, and whether it is of subagents of it -> when a try failed, or a turn died (ms, in order)."
_NONE: Failed = {}


def of_waits(waits: Iterable[Waited], failed: Failed = _NONE) -> list[Stall]:
    """Waits that a slow model's writing does not explain, nor tries that failed meanwhile: those are told as failures."""
    found = []
    for one in waits:
        wait_s = (
            one.at_ms - _last_failed(failed, (one.session, one.subagent), one.asked_ms, one.at_ms)
        ) / 1000
        silent_s = wait_s - one.output_tokens / SLOW_TOKENS_PER_S
        if silent_s < SILENT_S:
            continue
        found.append(
            Stall(
                one.at_ms,
                one.session,
                one.version,
                "silent wait",
                round(silent_s, 1),
                _fits(silent_s, wait_s),
                "whether bytes came meanwhile, a queue, thinking that is not counted, or a machine that slept",
            )
        )
    return found


def _fits(least_s: float, most_s: float) -> str:
    """A fallback, where the silence may have had the length after which clients fall back."""
    for limit_s in FALLBACK_S:
        if limit_s <= most_s <= limit_s + FALLBACK_TOOK_S and least_s <= limit_s + FALLBACK_TOOK_S:
            return f"a fallback after {limit_s:.0f} s"
    return ""


def _last_failed(failed: Failed, whose: tuple[str, bool], begun_ms: float, ended_ms: int) -> float:
    """When a try of theirs failed last in this time, or its beginning."""
    times = failed.get(whose, ())
    place = bisect_left(times, ended_ms)
    return max(begun_ms, times[place - 1]) if place else begun_ms


def of_ends(ends: Iterable[Ended], failed: Failed = _NONE) -> list[Stall]:
    """Turns that went on long after their last answer, and after the last try that failed: what came then, if anything did,
    is not in the transcript."""
    found = []
    for one in ends:
        begun_ms = one.at_ms - one.duration_ms
        since_ms = _last_failed(failed, (one.session, False), max(begun_ms, one.heard_ms or 0), one.at_ms)
        silent_s = (one.at_ms - since_ms) / 1000
        if one.heard_ms is not None and one.heard_ms >= begun_ms:
            silent_s -= one.heard_tokens / SLOW_TOKENS_PER_S
        if silent_s < SILENT_S:
            continue
        nothing = one.heard_ms is None or one.heard_ms < begun_ms
        found.append(
            Stall(
                one.at_ms,
                one.session,
                one.version,
                "unheard end",
                round(silent_s, 1),
                "a turn without any answer on record" if nothing else "an answer that was withdrawn",
                "whether a tool or a hook ran so long, or the user waited before stopping it",
            )
        )
    return found


def of_unfinished(rows: Sequence[Unfinished], answers: Mapping[str, int]) -> tuple[list[Stall], list[str]]:
    """Answers without a stop reason, where having none is odd; and the versions in which it is not.

    `answers`: version -> how many answers of it there are.
    """
    by_version: dict[str, list[Unfinished]] = defaultdict(list)
    for one in rows:
        by_version[one.version].append(one)
    found, usual = [], []
    for version, mine in by_version.items():
        total = answers.get(version, 0)
        if total < ENOUGH or len(mine) > NULLS_ARE_ODD * total:
            usual.append(version)
            continue
        found += [
            Stall(
                one.at_ms,
                one.session,
                one.version,
                "unfinished answer",
                None,
                "an answer that broke off",
                "whether it broke off, or the user stopped it",
            )
            for one in mine
        ]
    return found, sorted(usual)


@dataclass(slots=True)
class _Span:
    """What lines of one session tell of one silence, so far."""

    begun_ms: int
    ended_ms: int
    first: DebugNote
    told_ms: int
    "Its latest line."
    unanswered: bool
    "The client gave the silence up, and has not said what it does about it."
    source: str
    request_id: str | None = None
    code: str | None = None
    "Of the connection's break, where a line has one."

    @property
    def broke(self) -> bool:
        """Whether a connection broke, and nothing tells of a silence before."""
        return self.begun_ms == self.ended_ms and (self.code is not None or self.first.kind == "stale")

    def takes(self, one: DebugNote) -> bool:
        """Whether a line is of the same silence.

        A length says when it began, so two that overlap are one; streams of a session that are silent beside each other
        too. What the client does about a silence that it gave up comes sooner than it takes for another to be one.
        """
        if one.gap_s is not None:
            return one.at_ms - round(one.gap_s * 1000) < self.ended_ms - TOUCH_MS
        if one.at_ms - self.told_ms <= FOLLOWS_MS:
            return True
        lasted_ms = self.ended_ms - self.begun_ms
        return self.unanswered and one.code is None and one.at_ms - self.ended_ms < lasted_ms

    def add(self, one: DebugNote) -> None:
        self.told_ms = one.at_ms
        self.code = self.code or one.code
        if self.request_id is None and one.request_id is not None:  # who knows the request tells the silence
            self.source, self.request_id = one.source, one.request_id
        if one.gap_s is not None:
            self.begun_ms = min(self.begun_ms, one.at_ms - round(one.gap_s * 1000))
            self.ended_ms = one.at_ms
        self.unanswered = one.kind == "silent" or (self.unanswered and one.kind in ("stall", "stale"))


_SAID: Mapping[str, str] = {
    "stall": "the client's own word: the stream stalled",
    "stale": "the client's own word: its connection was stale",
    "silent": "the client's own word: it gave up a stream that was silent",
    "again": "the client's own word: it asked for the stream again",
    "cut": "the client's own word: the stream broke, and what had come was kept",
    "fallback": "the client's own word: it asked again without streaming",
}


def of_debug(
    notes: Iterable[DebugNote],
    versions: Mapping[str, str],
    failed: Failed = _NONE,
) -> list[Stall]:
    """What the debug log and the client's telemetry say in words, once for each silence and each break.

    `versions`: session -> the client's version. A line without a length that is of the moment of a failure tells what is on
    record.
    """
    spans: list[_Span] = []
    latest: dict[str, _Span] = {}
    for one in sorted(notes, key=lambda note: (note.at_ms, note.gap_s is None)):
        span = latest.get(one.session)
        if span is None or not span.takes(one):
            on_record = any(_near(failed.get((one.session, sub), ()), one.at_ms) for sub in (False, True))
            if one.gap_s is None and on_record:
                continue
            begun_ms = one.at_ms - round((one.gap_s or 0.0) * 1000)
            span = _Span(begun_ms, one.at_ms, one, one.at_ms, unanswered=False, source=one.source)
            latest[one.session] = span
            spans.append(span)
        span.add(one)
    return [
        Stall(
            span.ended_ms,
            span.first.session,
            versions.get(span.first.session, ""),
            BROKEN if span.broke else span.source,
            (span.ended_ms - span.begun_ms) / 1000 or None,
            _SAID[span.first.kind] + (f" ({span.first.code})" if span.first.code else ""),
            "who ended the connection" if span.broke else "which side was silent",
            span.request_id,
        )
        for span in spans
    ]


def _near(times: Sequence[int], at_ms: int) -> bool:
    """Whether one of these times, in order, is of the same moment."""
    place = bisect_left(times, at_ms - AT_ONCE_MS)
    return place < len(times) and times[place] <= at_ms + AT_ONCE_MS


def merged(found: Iterable[Stall]) -> list[Stall]:
    """In the order of time; what two ways tell of one silence is told once, by the client's own words before the others."""
    order = {**dict.fromkeys(OWN_WORDS, 0), "silent wait": 1, "unheard end": 2, "unfinished answer": 3}
    kept: list[Stall] = []
    ends: dict[str, list[int]] = defaultdict(list)
    for one in sorted(found, key=lambda stall: (order[stall.kind], stall.at_ms)):
        times = ends[one.session]
        begun_ms = one.at_ms - round((one.silent_s or 0.0) * 1000)
        place = bisect_right(times, one.at_ms + 1_000)
        if one.kind not in OWN_WORDS and place and times[place - 1] >= begun_ms - 1_000:
            continue
        times.insert(bisect_right(times, one.at_ms), one.at_ms)
        kept.append(one)
    return sorted(kept, key=lambda stall: (stall.at_ms, stall.session))


def rows(found: Iterable[Stall]) -> list[dict[str, Any]]:
    """As a table."""
    return [
        {
            "at_ms": one.at_ms,
            "kind": one.kind,
            "silent_s": one.silent_s,
            "version": one.version,
            "fits": one.fits or None,
            "cannot_tell": one.cannot_tell,
            "request_id": one.request_id,
            "session": one.session,
        }
        for one in found
    ]
