"""This machine's own network was away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure, Span, overlap_ms
from holdfast.diagnosis.hypotheses._words import counted
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis

SLACK_MS = 5_000
"Two clocks that are written by two programs, each after the fact."
MISSED = 0.05
"Of a failure outside every outage that the log knows: it asks now and then, and may have missed one."
MOST = 10_000.0


class LocalLink(Hypothesis):
    """The link, the router or the provider's line was down, so that every connection of this machine broke.

    It predicts: failures at the very seconds in which other programs on this machine had no network either, whatever
    was asked, in all sessions at once, and none of them at other times. What it is that failed (Wi-Fi, router, line)
    the client's logs do not tell.
    """

    name = "local-link"
    title = "This machine had no network"
    remedy = (
        "Use a wired link for a week, or look at the router; behind holdfast run turns wait for the network, and no "
        "try is burnt."
    )
    falsifier = "failures stay as frequent on another network, or lie outside the outages"

    def ratios(self, case: Case) -> Sequence[float]:
        spans = _spans(case)
        away_ms, seen_ms = overlap_ms(spans, case.active), overlap_ms(_merged(case.watched), case.active)
        if not spans or not seen_ms:
            return [0.0] * len(case.failures)
        ratio = min(seen_ms / max(away_ms, 1_000), MOST)
        within = [_outage(failure, spans) for failure in case.failures]
        together = Counter(within)
        # Ten failures in one outage are one coincidence, not ten: together they weigh as much as one would.
        return [
            ratio ** (1 / together[number])
            if number is not None
            else (MISSED if case.watched_at(failure.at_ms) else 1.0)
            for failure, number in zip(case.failures, within, strict=True)
        ]

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        spans = _spans(case)
        away_ms, seen_ms = overlap_ms(spans, case.active), overlap_ms(_merged(case.watched), case.active)
        covered = [failure for failure in case.failures if case.watched_at(failure.at_ms)]
        inside = [failure for failure in covered if _outage(failure, spans) is not None]
        share = away_ms / seen_ms if seen_ms else 0.0
        pro = Evidence(
            f"{len(inside)} of {counted(len(covered), 'failure')} in the time that the log covers lie within "
            f"{SLACK_MS // 1000} s of one of {counted(len(spans), 'outage')}; these take up {share:.2%} of the time in use, "
            f"so {share * len(covered):.1f} were to be expected by chance.",
            "desktop log",
        )
        outside = len(covered) - len(inside)
        unseen = len(case.failures) - len(covered)
        con = []
        if outside:
            con.append(Evidence(f"{counted(outside, 'failure')} lie outside every outage.", "desktop log"))
        if unseen:
            con.append(Evidence(f"{counted(unseen, 'failure')} lie where no log covers them.", "desktop log"))
        return Brief(
            (pro,), tuple(con), "holdfast mark 'moved to Ethernet', and a week later: holdfast diagnose"
        )


def _spans(case: Case) -> list[Span]:
    return _merged([Span(one.begun_ms - SLACK_MS, one.ended_ms + SLACK_MS) for one in case.outages])


def _merged(spans: Sequence[Span]) -> list[Span]:
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: one.begun_ms):
        if found and span.begun_ms <= found[-1].ended_ms:
            found[-1] = Span(found[-1].begun_ms, max(found[-1].ended_ms, span.ended_ms))
        else:
            found.append(span)
    return found


def _outage(failure: Failure, spans: Sequence[Span]) -> int | None:
    """The number of the outage that one of its tries lies in."""
    times = [one.at_ms for one in failure.tries] or [failure.at_ms]
    for number, span in enumerate(spans):
        if any(at in span for at in times):
            return number
    return None
