"""Claude Code's own error lines, as pasted from a terminal or a log: `API Error (Connection error.) ...`.

They tell what the client knew, and mostly no time. `Request timed out` is the client's own limit; a reset or a closed
connection is what it saw from its side, so whoever it talked to ended it, or the path between.
"""

from __future__ import annotations

import re

from holdfast.flight.endings import Mechanism, Side
from holdfast.records import times
from holdfast.records.sighting import Sighting, Vantage, detail, ids_of, phrases, status_of

_SIGN = re.compile(
    r"API Error|Connection lost mid-response|The response stopped arriving|Server error mid-response"
    r"|Your computer went to sleep mid-response|before a response was produced|Connection closed mid-response"
    r"|Response stalled (?:mid-stream|while thinking)|Unable to connect to (?:the )?(?:API|Anthropic)"
    r"|Retrying in \d+ seconds?.{0,5}\(attempt \d+/\d+\)"
)
_STATUS = re.compile(r"API Error:? \(?(?P<status>[1-5]\d\d)\b")
_RETRY = re.compile(r"attempt (?P<now>\d{1,3})/(?P<of>\d{1,3})")

_TELLS: tuple[tuple[str, Side | None, Mechanism | None, str], ...] = (
    (r"idle timeout|stalled|stopped arriving", Side.CLIENT, Mechanism.DEADLINE, "it gave up after too long a silence"),
    (r"timed? ?out", Side.CLIENT, Mechanism.DEADLINE, "it gave up: its own limit ran out"),
    (r"went to sleep", Side.CLIENT, None, "it gave up because its machine had slept"),
    (r"econnreset|connection reset", Side.PROVIDER, Mechanism.RST, "its connection was reset by the other end"),
    (r"econnrefused", Side.PROVIDER, Mechanism.REFUSED, "its connection was refused"),
    (r"enotfound|eai_again|getaddrinfo", Side.PATH, Mechanism.DNS, "it could not resolve the name"),
    (r"etimedout", Side.PATH, Mechanism.KEEPALIVE_UNANSWERED, "its connection gave no sign of life"),
    (r"closed mid-response|lost mid-response|socket connection was closed|terminated|socket hang up|connection error"
     r"|before a response was produced|fetch failed|unable to connect",
     Side.PROVIDER, None, "its connection was lost"),
    (r"overloaded|server error mid-response", Side.PROVIDER, Mechanism.STREAM_ERROR, "it was told of an error upstream"),
)  # fmt: skip
_COMPILED = phrases(_TELLS)


class Lines:
    """Lines with Claude Code's words for an error, a time in front or not."""

    name = "Claude Code"

    def __init__(self, near_s: float = 0.0) -> None:
        self._near_s = near_s

    def line(self, text: str, number: int) -> list[Sighting] | None:
        """One line; None where none of its sentences is in it."""
        if text.startswith("{") or not _SIGN.search(text[:4000]):
            return None
        found = times.leading(text, self._near_s)
        stamp = found[0] if found else None
        words = text[found[1] :] if found else text
        low, status = words[:4000].lower(), _STATUS.search(words[:4000])
        code = status_of(status["status"]) if status else None
        side, mechanism, says = next(
            ((s, m, w) for pattern, s, m, w in _COMPILED if pattern.search(low)), (None, None, "")
        )
        if code is not None and (mechanism is None or mechanism is Mechanism.STREAM_ERROR):
            side, mechanism, says = Side.NOBODY, Mechanism.HTTP_ERROR, f"it was answered {code}"
        retry = _RETRY.search(words)
        again = f" (its retry {retry['now']} of {retry['of']} follows)" if retry else ""
        quoted = detail(words.lstrip(" \t⎿└│●•*-"), 100)
        return [
            Sighting(
                program=self.name,
                line=number,
                says=(f"{says}{again}: {quoted}" if says else quoted),
                ended_s=stamp.at_s if stamp else None,
                precision_s=stamp.precision_s if stamp else 1.0,
                zone_known=stamp.zone_known if stamp else False,
                dated=stamp.dated if stamp else True,
                vantage=Vantage.CLIENT,
                status=code,
                ids=ids_of(words),
                side=side,
                mechanism=mechanism,
            )
        ]

    def end(self) -> list[Sighting]:
        """Nothing is kept from line to line."""
        return []
