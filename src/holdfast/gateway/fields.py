"""The header fields of one head: their names as they were spelled, their values, and where each is.

A client sends the same names in the same order each time, and so does a provider. What follows from the names alone
is worked out for the first such head, and looked up for all others: a turn reads two heads of twenty fields each, and
sends both on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

import msgspec

Headers = list[tuple[bytes, bytes]]
Values = tuple[bytes, ...]


def render(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A line for each, with its line end. Values come from a parser that refuses control characters."""
    return b"\r\n".join([*map(b": ".join, fields), b""])


def parsed(lines: bytes) -> Headers:
    """What was rendered."""
    pairs = [line.partition(b": ") for line in lines.split(b"\r\n")[:-1]]
    return [(name, value) for name, _, value in pairs]


class Lines(msgspec.Struct, gc=False, eq=False):
    """A head's fields that travel on, kept small: a turn keeps two such heads as long as it lives, and may need neither."""

    names: tuple[bytes, ...]
    "As they are spelled; one object for all heads that have the same."
    values: bytes
    "One behind the other. No parser takes a value with a line's end in it."

    def rendered(self) -> bytes:
        """A line for each."""
        return render(zip(self.names, self.values.split(b"\n"), strict=True)) if self.names else b""


class SharedLines(Lines, gc=False, eq=False):
    """The same for a head that may come again, with other turns: from the second time on it is kept as it is written."""

    _whole: bytes | None = None
    _asked_for: bool = False

    def rendered(self) -> bytes:
        """A line for each."""
        whole = self._whole
        if whole is None:
            whole = Lines.rendered(self)
            if self._asked_for:
                self._whole = whole
            self._asked_for = True
        return whole


class Kept(NamedTuple):
    """Some of a head's fields."""

    names: tuple[bytes, ...]
    "As they were spelled, in their order."
    of: Callable[[Values], Values]
    "Takes their values out of all."


class Names:
    """The names in one head, as they were spelled and in their order; one object for all heads that have the same."""

    __slots__ = ("backwards", "lowered", "spelled")

    def __init__(self, spelled: tuple[bytes, ...]) -> None:
        self.spelled = spelled
        self.lowered = tuple(name.lower() for name in spelled)
        self.backwards = self.lowered[::-1]

    def __repr__(self) -> str:
        return f"<Names of {len(self.spelled)} fields>"

    def without(self, dropped: frozenset[bytes]) -> Kept:
        """The fields that have none of these lower-case names."""
        return _without(self, dropped)


@lru_cache(maxsize=256)
def names_of(spelled: tuple[bytes, ...]) -> Names:
    """The one object for these names."""
    return Names(spelled)


@lru_cache(maxsize=256)
def _without(names: Names, dropped: frozenset[bytes]) -> Kept:
    places = [at for at, name in enumerate(names.lowered) if name not in dropped]
    return Kept(tuple(names.spelled[at] for at in places), _taker(places))


def _taker(places: list[int]) -> Callable[[Values], Values]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple(values[at] for at in places)  # of one place `itemgetter` makes no tuple


class Fields:
    """The fields of one head. Nobody writes into it."""

    __slots__ = ("first", "names", "values")

    def __init__(self, headers: Headers) -> None:
        spelled: tuple[bytes, ...]
        self.values: Values
        spelled, self.values = zip(*headers, strict=True) if headers else ((), ())
        self.names = names_of(spelled)
        # From the last to the first, so that of several the first one stays.
        self.first = dict(zip(self.names.backwards, self.values[::-1], strict=True))
        "Each field's first value, by its lower-case name."

    def __repr__(self) -> str:
        return f"<Fields {b', '.join(self.names.lowered).decode('latin-1')}>"  # a value may be a secret

    def without(self, dropped: frozenset[bytes]) -> tuple[tuple[bytes, ...], Values]:
        """Names and values of those that have none of these lower-case names, as they were spelled and in their order."""
        kept = self.names.without(dropped)
        return kept.names, kept.of(self.values)

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a field, by its lower-case name."""
        first = self.first.get(name)
        if first is None:
            return []
        if len(self.first) == len(self.values):  # no name comes twice
            return [first]
        return [value for key, value in zip(self.names.lowered, self.values, strict=True) if key == name]

    @property
    def size(self) -> int:
        """Bytes of all of them, as they are written."""
        return sum(map(len, self.names.spelled)) + sum(map(len, self.values)) + 4 * len(self.values)
