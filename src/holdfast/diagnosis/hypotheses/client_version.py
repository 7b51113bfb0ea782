"""One version of the client fails more often than others on the same days."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._alike import DAY_MS, best_bits, by_session_day
from holdfast.diagnosis.hypotheses._words import beyond
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis, weights
from holdfast.flight.flights import counted
from holdfast.sessions.logs_what import NOT_MEASURED, alike

SHARED = (0.03, 0.97)
"A day compares versions if this one had more than the first share of its requests and less than the second."


class ClientVersion(Hypothesis):
    """A version of the client has a fault of its own: in its retries, its connections, its timeouts.

    It predicts: failures of that version beyond its share of the requests, *on the same days* on which others were used as
    well. Versions of different days are never compared: network, provider and work were different too. A version that
    logs more is not worse; only failures of the same kinds are weighed, and of a day only those that every version used on
    it would have put on record.
    """

    name = "client-version"
    title = "One version of the client failed more often than others on the same days"
    remedy = (
        "Use another version of the client for a week; behind holdfast run its breaks are healed meanwhile."
    )
    likeness = 0.1
    compares = True
    falsifier = "two versions, side by side on the same day, fail alike"

    def __init__(self) -> None:
        self.version: str | None = None
        "What was found."

    def ratios(self, case: Case) -> Sequence[float]:
        used = used_by_day(case)
        versions = sorted({one.version for one in case.failures if one.version})
        self.price_bits = 1.0 + math.log2(max(len(versions), 1))
        rows = {version: _row(case, version, used) for version in versions}
        if not rows:
            return [1.0] * len(case.failures)
        units = by_session_day(case)

        def proof(version: str) -> float:
            return best_bits(rows[version], weights(units, self.likeness, _compares(case, version, used)))

        self.version = max(versions, key=proof)
        return rows[self.version]

    def bears(self, case: Case) -> Sequence[bool]:
        """Days without a comparison compare nothing."""
        return _compares(case, self.version, used_by_day(case))

    def units(self, case: Case) -> Sequence[Hashable]:
        """A session has one version, and one luck."""
        return by_session_day(case)

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        used = used_by_day(case)
        days = [day for day, versions in used.items() if _share(versions, self.version) is not None]
        failed = [
            one
            for one in case.failures
            if one.at_ms // DAY_MS in days and not one.statuses and used.alike(one)
        ]
        own = sum(one.version == self.version for one in failed)
        expected = sum(_share(used[one.at_ms // DAY_MS], self.version) or 0.0 for one in failed)
        said = (
            f"On {counted(len(days), 'day')} with several versions {own} of {counted(len(failed), 'failure')} came with "
            f"{self.version}; by its part of each day's requests {expected:.1f} were to be expected."
        )
        other = sum(one.version == self.version and one.at_ms // DAY_MS not in days for one in case.failures)
        unlike = sum(one.at_ms // DAY_MS in days and not used.alike(one) for one in case.failures)
        con, excess = [], None
        if told := beyond(len(mine), own, expected):
            excess = max(round(own - expected), 0)
            con.append(Evidence(told, "transcripts"))
        if unlike:
            con.append(
                Evidence(
                    f"{counted(unlike, 'failure')} of these days would not be on record of each version that was used, and "
                    "compare nothing.",
                    "transcripts",
                )
            )
        if other:
            con.append(
                Evidence(
                    f"{counted(other, 'failure')} of it were on days without a comparison.", "transcripts"
                )
            )
        settle = f"another version for a week (holdfast mark 'left {self.version}'), then: holdfast diagnose"
        return Brief((Evidence(said, "transcripts"),), tuple(con), settle, excess)


def suspect(case: Case) -> str | None:
    """The version that failures speak against most, whether or not it is claimed; None where none is known."""
    found = ClientVersion()
    found.ratios(case)
    return found.version


def release(version: str) -> tuple[int, ...]:
    """For the order of versions: `2.1.92` is before `2.1.104`."""
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


class Side(NamedTuple):
    """A day on which a version and newer ones were used: what failed, and with which."""

    failures: int
    "Of the version and the newer ones together, of the kinds that are weighed."
    newer: int
    "Of them, those of the newer ones."
    expected: float
    "As many would be, did newer ones fail as often as the version, for each of their answered requests."


def beside_newer(case: Case, version: str) -> list[Side]:
    """A version against the newer ones, day by day; days on which one side was not used, or nothing failed, are left out."""
    found, every = [], used_by_day(case)
    for day, used in sorted(every.items()):
        later = sum(number for name, number in used.items() if release(name) > release(version))
        failed = [
            one
            for one in case.failures
            if one.at_ms // DAY_MS == day
            and not one.statuses
            and release(one.version) >= release(version)
            and every.alike(one)
        ]
        if later and used[version] and failed:
            newer = sum(release(one.version) > release(version) for one in failed)
            found.append(Side(len(failed), newer, len(failed) * later / (later + used[version])))
    return found


class Used(dict[int, Counter[str]]):
    """Day -> version -> requests that were answered; a day on which none was is there too."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[int, set[str]] = {}
        "Day -> which failed tries are on record of what was used on it, as far as that is known."

    def alike(self, failure: Failure) -> bool:
        """Whether it would be on record of everything that was used on its day."""
        return alike(self.logs.get(failure.at_ms // DAY_MS, ()), failure.outcome)


def used_by_day(case: Case) -> Used:
    """What was used, and what of its failures is on record."""
    found = Used()
    for failure in case.failures:
        found[failure.at_ms // DAY_MS] = Counter()
    for answer in case.answers:
        day = answer.at_ms // DAY_MS
        found.setdefault(day, Counter())[answer.version] += 1
        if case.logs:
            logged = case.logs.get((answer.session, answer.version), NOT_MEASURED)
            found.logs.setdefault(day, set()).add(logged)
    return found


def _share(versions: Counter[str], version: str | None) -> float | None:
    """Of a day's requests; None where the day compares nothing."""
    share = versions[version or ""] / max(versions.total(), 1)
    return share if SHARED[0] <= share <= SHARED[1] else None


def _compares(case: Case, version: str | None, used: Used) -> list[bool]:
    """Of each failure: whether this version and others were used on its day, and it is of a kind that is weighed."""
    return [
        not one.statuses and _share(used[one.at_ms // DAY_MS], version) is not None and used.alike(one)
        for one in case.failures
    ]


def _row(case: Case, version: str, used: Used) -> list[float]:
    row = []
    for failure in case.failures:
        share = _share(used[failure.at_ms // DAY_MS], version)
        if failure.statuses:
            row.append(0.0)
        elif share is None or not used.alike(failure):
            row.append(1.0 if failure.version == version else 0.0)
        else:
            row.append(1 / share if failure.version == version else 0.0)
    return row
