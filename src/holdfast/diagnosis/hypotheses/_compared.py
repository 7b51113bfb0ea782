"""What causes have in common that are told by where requests went: against the requests of the same days."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from holdfast.diagnosis.case import Case, Failure, Trip, file_of
from holdfast.diagnosis.hypotheses._alike import DAY_MS, best_bits, by_session_day
from holdfast.diagnosis.hypotheses._words import beyond
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis, weights
from holdfast.flight.flights import counted

SHARED = (0.02, 0.97)
"A day compares a place with others if this one had more than the first share of its requests and less than the second."
MOST = 50.0
ENOUGH = 3
"Requests of a day whose way is known: fewer compare nothing."


class Mark(NamedTuple):
    """Something that requests went by."""

    kind: str
    "The name of the trip's field."
    value: str


class Compared(Hypothesis):
    """A cause that struck requests which went by one thing, and not those of the same days that went by another."""

    likeness = 0.1
    compares = True
    kinds: tuple[str, ...]
    "Fields of a trip in which it may be found."

    def __init__(self) -> None:
        self.mark: Mark | None = None
        "What was found."

    @abstractmethod
    def candidates(self, case: Case) -> list[Mark]:
        """What it may be."""

    def ratios(self, case: Case) -> Sequence[float]:
        marks = self.candidates(case)
        if not marks:
            return [0.0] * len(case.failures)
        self.price_bits = 1.0 + math.log2(len(marks))
        used = _used(case, self.kinds)
        rows = {mark: [_ratio(case, one, mark, used) for one in case.failures] for mark in marks}
        units = self.units(case)

        def proof(mark: Mark) -> float:
            counts = [_bears(case, one, mark, used) for one in case.failures]
            return best_bits(rows[mark], weights(units, self.likeness, counts))

        self.mark = max(marks, key=proof)
        return rows[self.mark]

    def bears(self, case: Case) -> Sequence[bool]:
        """What went an unknown way, or on a day on which all went one, compares nothing."""
        mark = self.mark
        if mark is None:
            return super().bears(case)
        used = _used(case, self.kinds)
        return [_bears(case, one, mark, used) for one in case.failures]

    def units(self, case: Case) -> Sequence[Hashable]:
        """A session of a day mostly goes one way, and has one luck."""
        return by_session_day(case)

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        mark, used = self.mark, _used(case, self.kinds)
        if mark is None:
            return Brief()
        known = [one for one in case.failures if _values(case, one, mark.kind) and not one.statuses]
        there = [one for one in known if mark.value in _values(case, one, mark.kind)]
        shares = {one.id: share for one in known if (share := _share(one, mark, used)) is not None}
        own, expected = sum(one.id in shares for one in there), sum(shares.values())
        days = len({one.at_ms // DAY_MS for one in known if one.id in shares})
        said = (
            f"{len(there)} of {counted(len(known), 'failure')} whose way is known went {self.by(mark)}; on "
            f"{counted(days, 'day')} requests went other ways too: there {own} of {len(shares)} did, and by its share of "
            f"them {expected:.1f} were to be expected."
        )
        unknown = len(case.failures) - len(known)
        con, excess = [], None
        if told := beyond(len(mine), own, expected):
            excess = max(round(own - expected), 0)
            con.append(Evidence(told, self._source(case)))
        if len(known) - len(there):
            con.append(
                Evidence(
                    f"{counted(len(known) - len(there), 'failure')} went another way.", self._source(case)
                )
            )
        if unknown:
            con.append(
                Evidence(
                    f"Of {counted(unknown, 'failure')} nothing tells which way they went.", self._source(case)
                )
            )
        return Brief((Evidence(said, self._source(case)),), tuple(con), self.settle(mark), excess)

    @abstractmethod
    def by(self, mark: Mark) -> str:
        """`by the edge at FRA`."""

    @abstractmethod
    def settle(self, mark: Mark) -> str:
        """The command, and what it would show."""

    def _source(self, case: Case) -> str:
        return " and ".join(sorted({file_of(one.source) for one in case.trips if one.broke})[:3])


def _values(case: Case, failure: Failure, kind: str) -> set[str]:
    """What a failure's attempts went by; empty where that was not seen."""
    return {value for one in case.trips_of.get(failure.id, ()) if (value := getattr(one, kind))}


def _used(case: Case, kinds: Sequence[str]) -> Mapping[str, Mapping[int, Counter[str]]]:
    """Kind -> day -> value -> requests, each counted once however often it was tried."""
    found: dict[str, dict[int, Counter[str]]] = {kind: {} for kind in kinds}
    seen: set[tuple[str, str, str]] = set()
    for place, one in enumerate(case.trips):
        if one.broke:
            continue
        for kind in kinds:
            value = getattr(one, kind)
            key = (kind, one.turn or str(place), value or "")
            if value and key not in seen:
                seen.add(key)
                found[kind].setdefault(one.at_ms // DAY_MS, Counter())[value] += 1
    return found


def _share(failure: Failure, mark: Mark, used: Mapping[str, Mapping[int, Counter[str]]]) -> float | None:
    """Of a day's requests; None where the day compares nothing."""
    of_day: Counter[str] = used[mark.kind].get(failure.at_ms // DAY_MS, Counter())
    # Addresses are compared within their family: between the two it would be the family that is compared.
    alike = [
        count
        for value, count in of_day.items()
        if mark.kind != "edge" or (":" in value) is (":" in mark.value)
    ]
    total = sum(alike)
    share = of_day[mark.value] / total if total >= ENOUGH else 0.0
    return share if SHARED[0] <= share <= SHARED[1] else None


def _ratio(case: Case, failure: Failure, mark: Mark, used: Mapping[str, Mapping[int, Counter[str]]]) -> float:
    if failure.statuses:
        return 0.0
    values = _values(case, failure, mark.kind)
    if not values:
        return 1.0
    if mark.value not in values:
        return 0.0
    share = _share(failure, mark, used)
    return 1.0 if share is None else min(1 / share, MOST)


def _bears(case: Case, failure: Failure, mark: Mark, used: Mapping[str, Mapping[int, Counter[str]]]) -> bool:
    return (
        not failure.statuses
        and bool(_values(case, failure, mark.kind))
        and _share(failure, mark, used) is not None
    )


def of_trips(trips: Sequence[Trip], kinds: Sequence[str]) -> list[Mark]:
    """Everything that failures' attempts went by, kind after kind."""
    broken = [one for one in trips if one.failure and one.broke]
    return [
        Mark(kind, value)
        for kind in kinds
        for value in sorted({getattr(one, kind) or "" for one in broken} - {""})
    ]
