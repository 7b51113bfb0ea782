"""What came since the last report, and whether what it found goes on. Values in, values out.

A pattern that was found by looking has to hold where nobody has looked yet: the thresholds of the last report are
kept, and tested on the failures that came after it, with how many those are. A cause that another source tells (a log of
outages, flights) is tested on failures that it covers: where nothing watched, nothing can be told. A rate is said to have
changed only if so much change has less than one chance in twenty under the old one, and nothing is said of fewer than
five. Failures are counted one by one here, so that one burst may look like a change; the days beside them tell.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import msgspec

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.diagnosis import Diagnosis, local_day
from holdfast.diagnosis.examine import Finding
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.hypotheses._age import age, limit_met, near
from holdfast.diagnosis.hypotheses._away import Away
from holdfast.flight.flights import counted

ALIKE = 0.8
"A cause is taken to have a threshold if so many of its failures lie at one age."
FEWEST = 5
SURPRISE = 0.05
BY_FLIGHTS = frozenset(
    {
        "seen-provider", "seen-path", "seen-machine", "seen-client", "seen-gateway",
        "edge-location", "ipv6-path", "http2", "upload-loss", "mtu-black-hole", "buffering-proxy",
    }
)  # fmt: skip
"Causes that the client's own logs never show: a flight does, a capture, or a log on the way."
SITTING_MS = 3_600_000
"Reports made within an hour compare with the same earlier one: whoever asks for text first wants the page as well."


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a report found of one cause."""

    hypothesis: str
    title: str
    hits: int
    "Of `of`: those at the threshold of all that could have been, or those it explains of all failures."
    of: int
    limit_s: float | None = None
    "The age at which requests were cut; None for causes without a threshold."


@dataclass(frozen=True, slots=True)
class Kept:
    """A report, as far as the next one needs it."""

    failures: int
    requests: int
    patterns: list[Pattern] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Test:
    """A pattern on new failures."""

    pattern: Pattern
    hits: int
    of: int
    days: int
    "On which the new failures came."
    verdict: str
    "`goes on`, `more often`, `less often`, `not again`, `too few to tell`, `cannot be told`."
    unwatched: int = 0
    "New failures that no source covers which would have shown this cause; they are not among `of`."


@dataclass(frozen=True, slots=True)
class Since:
    """What came since a report."""

    at_ms: int
    "When that was made."
    failures: int
    requests: int
    "Answered ones."
    sessions: int
    projects: int
    tests: tuple[Test, ...]
    new_causes: tuple[str, ...]
    "Titles of causes that are found now and were not then."


def kept(diagnosis: Diagnosis) -> Kept:
    """What to keep of a report."""
    return Kept(
        diagnosis.failures,
        diagnosis.requests,
        [_pattern(finding, diagnosis.case) for finding in diagnosis.findings],
    )


def encode(report: Kept) -> str:
    """As text, for the store."""
    return msgspec.json.encode(report).decode()


def decode(text: str) -> Kept | None:
    """What `encode` made; None if another version made it."""
    try:
        return msgspec.json.decode(text, type=Kept)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def _watched(name: str, case: Case, failures: Sequence[Failure]) -> list[Failure]:
    """Those of them that a source covers which would show this cause."""
    if name in BY_FLIGHTS:
        return [one for one in failures if one.id in case.seen or one.id in case.trips_of]
    cause = next((one for one in catalogue() if one.name == name), None)
    if not isinstance(cause, Away):
        return list(failures)
    spans = cause.watched(case)
    return [one for one in failures if any(one.at_ms in span for span in spans)]


def _pattern(finding: Finding, case: Case) -> Pattern:
    failures, mine = case.failures, set(finding.explains)
    ages = sorted(found for one in failures if one.id in mine and (found := age(one)) is not None)
    if ages:
        found_limit = limit_met(finding.hypothesis, ages, case)
        limit = ages[len(ages) // 2] if found_limit is None else found_limit
        if sum(near(one, limit) for one in ages) >= ALIKE * len(mine):
            hits, of = _counted(limit, failures)
            return Pattern(finding.hypothesis, finding.title, hits, of, limit)
    watched = _watched(finding.hypothesis, case, failures)
    hits = sum(one.id in mine for one in watched)
    return Pattern(finding.hypothesis, finding.title, hits, len(watched))


def _counted(limit: float, failures: Sequence[Failure]) -> tuple[int, int]:
    ages = [found for one in failures if (found := age(one)) is not None]
    return sum(near(one, limit) for one in ages), len(ages)


def since(
    diagnosis: Diagnosis,
    before: Kept,
    *,
    at_ms: int,
    new: Collection[str],
    requests: int,
    sessions: int,
    projects: int,
) -> Since:
    """Compare: `new` are the ids of failures that the earlier report, made at `at_ms`, did not know."""
    fresh = [one for one in diagnosis.case.failures if one.id in new]
    explained = {finding.hypothesis: set(finding.explains) for finding in diagnosis.findings}
    days = len({local_day(one.at_ms, diagnosis.offsets) for one in fresh})
    tests = []
    for pattern in before.patterns:
        if pattern.limit_s is not None:
            hits, of = _counted(pattern.limit_s, fresh)
            watched = fresh
        else:
            mine = explained.get(pattern.hypothesis, set())
            watched = _watched(pattern.hypothesis, diagnosis.case, fresh)
            hits, of = sum(one.id in mine for one in watched), len(watched)
        unwatched = len(fresh) - len(watched)
        said = "cannot be told" if unwatched and not watched else verdict(pattern.hits, pattern.of, hits, of)
        tests.append(Test(pattern, hits, of, days, said, unwatched))
    known = {pattern.hypothesis for pattern in before.patterns}
    found = tuple(finding.title for finding in diagnosis.findings if finding.hypothesis not in known)
    return Since(at_ms, len(fresh), requests, sessions, projects, tuple(tests), found)


def verdict(hits_before: int, of_before: int, hits: int, of: int) -> str:
    """What to say of `hits` of `of`, where it was `hits_before` of `of_before`."""
    if of < FEWEST or not of_before:
        return "too few to tell"
    share = (hits_before + 0.5) / (of_before + 1)
    if below(hits, of, share) < SURPRISE:
        return "less often" if hits else "not again"
    if 1.0 - below(hits - 1, of, share) < SURPRISE:
        return "more often"
    return "goes on"


def below(hits: int, of: int, share: float) -> float:
    """The chance of that many or fewer, of so many, each with this chance."""
    if hits < 0:
        return 0.0
    logs = (
        math.lgamma(of + 1) - math.lgamma(n + 1) - math.lgamma(of - n + 1)
        + n * math.log(share) + (of - n) * math.log1p(-share)
        for n in range(hits + 1)
    )  # fmt: skip
    return min(sum(math.exp(one) for one in logs), 1.0)


def told(found: Since, when: str) -> list[str]:
    """In sentences; `when` names the time of the earlier report."""
    if not (found.failures or found.requests or found.sessions):
        return [f"Nothing new is on record since the report of {when}."]
    page = [
        f"Since the report of {when}: {counted(found.failures, 'new failure')}, "
        f"{counted(found.requests, 'answered request')}, {counted(found.sessions, 'new session')}, "
        f"{counted(found.projects, 'new project')}."
    ]
    for test in found.tests:
        page.append(f"{test.pattern.title}: {_said(test)}.")
    page += [f"Found now, and not then: {title}." for title in found.new_causes]
    return page


def _them(count: int) -> str:
    return "the new failure" if count == 1 else f"the {count} new failures"


def _said(test: Test) -> str:
    pattern = test.pattern
    source = "flight, log or capture" if pattern.hypothesis in BY_FLIGHTS else "log"
    if test.verdict == "cannot be told":
        return (
            f"cannot be told (no {source} covers {_them(test.unwatched)}; before: {pattern.hits} of "
            f"{pattern.of})"
        )
    if pattern.limit_s is None:
        now = f"{test.hits} of {counted(test.of, 'new failure')}"
        now += f" that a {source} covers" if test.unwatched else ""
    else:
        now = f"{test.hits} of {counted(test.of, 'new failure')} of such an age had the {pattern.limit_s:.0f} s found then"
    now += f", on {counted(test.days, 'day')}" if test.of else ""
    return f"{test.verdict} ({now}; before: {pattern.hits} of {pattern.of})"
