"""Plain log lines with a time in front, of any program: only those count that say how a connection ended.

`2026-03-28 18:23:17 onAbort received, abort stream` is all that many servers write about a client that left.
"""

from __future__ import annotations

import re

from holdfast.flight.endings import Side
from holdfast.records import phrases, times
from holdfast.records.sighting import Sighting, detail, ids_of, method_of, path_of, status_of

_REQUEST = re.compile(r"\b(?P<method>GET|POST|PUT|HEAD|DELETE|PATCH) (?P<target>/\S{0,2000})")
_STATUS = re.compile(r"\b(?:status(?: code)?|HTTP/[\d.]+\"?)[ =:]+(?P<status>[1-5]\d\d)\b", re.IGNORECASE)


class Lines:
    """Timestamped lines."""

    name = "log"

    def __init__(self, near_s: float = 0.0) -> None:
        self._near_s = near_s
        self._last: list[float] = []

    def line(self, text: str, number: int) -> list[Sighting] | None:
        """One line; None where no time is in front."""
        found = times.leading(text, self._near_s)
        if not found:
            return None
        stamp, rest = found[0], text[found[1] :]
        at_s = stamp.at_s
        if not stamp.dated:
            at_s = times.rolled(at_s, self._last)
            self._last = [at_s]
        told = phrases.told(rest)
        if not told:
            return []
        side, mechanism, words = told
        request, status = _REQUEST.search(rest), _STATUS.search(rest)
        return [
            Sighting(
                program=self.name,
                line=number,
                says=f"{words}: {detail(rest, 140)}" if side is not None or mechanism else detail(rest, 140),
                ended_s=at_s,
                precision_s=stamp.precision_s,
                zone_known=stamp.zone_known,
                dated=stamp.dated,
                method=method_of(request["method"]) if request else "",
                path=path_of(request["target"]) if request else "",
                status=status_of(status["status"]) if status else None,
                ids=ids_of(rest),
                side=side if side is not Side.NOBODY else None,
                mechanism=mechanism,
            )
        ]

    def end(self) -> list[Sighting]:
        """Nothing is kept that was not told."""
        return []
