"""What causes have in common that another program on this machine saw as well: a time without network."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Hashable, Sequence

from holdfast.diagnosis.case import Case, Failure, Span, merged, overlap_ms
from holdfast.diagnosis.hypotheses._words import lie
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis
from holdfast.flight.flights import counted, percent
from holdfast.sessions.desktop import Outage

BEFORE_MS = 5_000
"Two clocks that are written by two programs, each after the fact."
MISSED = 0.05
"Of a failure outside every outage that the log knows: it asks now and then, and may have missed one."
MOST = 10_000.0
FLAP_MS = 20_000
"A change of the access point or the address is over by then; what lasts longer is an absence."
NAMED = frozenset({"roam", "vpn"})
"Faces of a change of which a log says what changed: another log's line about it is no other change."
OWN_LINK = frozenset({"offline", "changed"})
"Kinds of lines that say that this machine itself had no link. Without them it was beyond the router."


def face(outage: Outage) -> str:
    """`vpn`, `roam`, `flap`, `away` or `beyond`: what an outage looks like from here.

    Everything that is not told apart is `away`.
    """
    if "vpn" in outage.kinds:
        return "vpn"
    if "roam" in outage.kinds:
        return "roam"
    if not outage.kinds & OWN_LINK:
        return "beyond"
    if "changed" in outage.kinds and outage.ended_ms - outage.begun_ms <= FLAP_MS:
        return "flap"
    return "away"


def _touches(one: Outage, spans: Sequence[Span]) -> bool:
    """Whether an outage overlaps one of them, which are in order and apart."""
    number = bisect_right(spans, one.ended_ms, key=lambda span: span.begun_ms) - 1
    return number >= 0 and spans[number].ended_ms >= one.begun_ms


class Away(Hypothesis):
    """A cause that is told by outages of one face."""

    face: str
    after_ms: int
    "How long after such an outage a request may still notice that its connection is gone."

    @abstractmethod
    def settle(self) -> str:
        """The command, and what it would show."""

    def spans(self, case: Case) -> list[Span]:
        """Its outages with their slack, in order, without overlaps."""
        mine = [one for one in case.outages if face(one) == self.face]
        if self.face == "flap":
            named = [one for one in case.outages if face(one) in NAMED]
            told = merged([Span(one.begun_ms - FLAP_MS, one.ended_ms + FLAP_MS) for one in named])
            mine = [one for one in mine if not _touches(one, told)]
        return merged([Span(one.begun_ms - BEFORE_MS, one.ended_ms + self.after_ms) for one in mine])

    def watched(self, case: Case) -> list[Span]:
        """The times in which such an outage would be known. The system's log knows of nothing beyond the own link."""
        return merged([*case.watched, *(case.link_watched if self.face != "beyond" else ())])

    def ratios(self, case: Case) -> Sequence[float]:
        spans, watched = self.spans(case), self.watched(case)
        away_ms, seen_ms = overlap_ms(spans, case.active), overlap_ms(watched, case.active)
        if not spans or not seen_ms:
            return [0.0] * len(case.failures)
        ratio = min(seen_ms / max(away_ms, 1_000), MOST)
        return [
            ratio
            if within(failure, spans) is not None
            else (MISSED if any(failure.at_ms in span for span in watched) else 1.0)
            for failure in case.failures
        ]

    def units(self, case: Case) -> Sequence[Hashable]:
        """Ten failures in one outage are one coincidence, not ten."""
        spans = self.spans(case)
        return [within(failure, spans) for failure in case.failures]

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        spans, watched = self.spans(case), self.watched(case)
        away_ms, seen_ms = overlap_ms(spans, case.active), overlap_ms(watched, case.active)
        covered = [failure for failure in case.failures if any(failure.at_ms in span for span in watched)]
        log = (
            " and ".join(sorted({one.source for one in case.outages if face(one) == self.face}))
            or "desktop log"
        )
        inside = [failure for failure in covered if within(failure, spans) is not None]
        share = away_ms / seen_ms if seen_ms else 0.0
        outside = len(covered) - len(inside)
        unseen = len(case.failures) - len(covered)
        rest = (
            f" Of the other {counted(unseen, 'failure')} it says nothing: no log covers their time."
            if unseen
            else ""
        )
        pro = Evidence(
            f"{len(inside)} of {counted(len(covered), 'failure')} in the time that the log covers "
            f"{'lies' if len(inside) == 1 else 'lie'} within {max(self.after_ms, BEFORE_MS) // 1000} s of one of "
            f"{counted(len(spans), 'outage')}; these take up {percent(share)} of the time in use, so "
            f"{share * len(covered):.1f} were to be expected by chance.{rest}",
            log,
        )
        con = [Evidence(f"{lie(outside)} outside every such outage.", log)] if outside else []
        return Brief((pro,), tuple(con), self.settle())


def within(failure: Failure, spans: Sequence[Span]) -> int | None:
    """The number of the span that its first try lies in, or most of its tries do; the spans are in order, and apart.

    A request that is tried for hours meets some outage or other: what broke it is what broke it first.
    """
    found = [_span_at(at, spans) for at in failure.times_ms]
    if found[0] is not None:
        return found[0]
    inside = [number for number in found if number is not None]
    return inside[0] if 2 * len(inside) > len(found) else None


def _span_at(at_ms: int, spans: Sequence[Span]) -> int | None:
    number = bisect_right(spans, at_ms, key=lambda one: one.begun_ms) - 1
    return number if number >= 0 and at_ms in spans[number] else None


def in_outage(case: Case, failure: Failure, faces: frozenset[str]) -> bool:
    """Whether the machine was seen without network then."""
    return any(
        one.begun_ms - BEFORE_MS <= at <= one.ended_ms + BEFORE_MS
        for one in case.outages
        if face(one) in faces
        for at in failure.times_ms
    )
