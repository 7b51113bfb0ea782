"""A sighting: what one program wrote down about one request or connection, in one form for all programs.

Every text here was written by others. Parsers take only the fields that are named below, never a body, a header's
value or a query; what is free text goes through `detail`, which takes out credentials and control characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from holdfast.flight.endings import Mechanism, Side
from holdfast.flight.redact import REMOVED, clean, looks_random, scrub

LONGEST_DETAIL = 200
"Characters of foreign free text that are kept."


LONGEST_SENTENCE = 500


class Vantage(Enum):
    """Where the program stands whose record it is."""

    BETWEEN = "between"
    "A proxy, a balancer or a server: it has clients and, mostly, an upstream."
    CLIENT = "client"
    "The program that asked: a browser, curl, Claude Code."


@dataclass(frozen=True, slots=True)
class Sighting:
    """One request, connection or error as another program saw it.

    Times are seconds since the epoch on that program's clock, not ours: `align` finds the difference.
    Where no zone was written, the digits are read as if they were UTC. None is "not said".
    """

    program: str
    "`nginx`, `HAProxy`, `curl`."
    line: int
    "Line of the file, or number of the entry in files without lines; 1 for the first."
    says: str
    "One sentence without a full stop, safe to print: `499: its client closed the connection before the answer's end`."
    began_s: float | None = None
    ended_s: float | None = None
    precision_s: float = 1.0
    "How finely its times were written."
    zone_known: bool = False
    "Whether the times say how far they are from UTC."
    zone_s: float | None = None
    "How far that zone is ahead of UTC, where it was written as a number: the program's other files are in it too."
    dated: bool = True
    "False where only a time of day was written; the day is then a guess of the reader's."
    vantage: Vantage = Vantage.BETWEEN
    method: str = ""
    path: str = ""
    "Without query; what could be a token in it is `…`."
    host: str = ""
    status: int | None = None
    ids: tuple[str, ...] = ()
    "The provider's request id, its edge's, a turn id of ours; whatever of these was written."
    sent_bytes: int | None = None
    "Of the answer, towards its client."
    received_bytes: int | None = None
    "Of the request."
    took_s: float | None = None
    edge: str | None = None
    "The address that it asked, without the port."
    http: str | None = None
    "Which HTTP it spoke there: `1.1`, `2` or `3`."
    side: Side | None = None
    """Who ended it, as seen from there: `CLIENT` is its own client, `PROVIDER` its own upstream, `PATH` itself.
    With `Vantage.CLIENT`, `CLIENT` is the program itself. `NOBODY` if it says that all went well; None if nothing."""
    mechanism: Mechanism | None = None
    source: str = ""
    "Program and file, for people: `nginx access.log`."

    def __post_init__(self) -> None:
        """The sentence holds names and words of others: whatever its parser did, it is safe from here on."""
        object.__setattr__(self, "says", _sentence(self.says))

    @property
    def at_s(self) -> float | None:
        """The end, or else the start."""
        return self.ended_s if self.ended_s is not None else self.began_s

    @property
    def place(self) -> str:
        """`access.log:14`, or `access.log` alone for what has no line."""
        return f"{self.source}:{self.line}" if self.line else self.source


class Span(NamedTuple):
    """Start, end and duration of something; None is "not said"."""

    began_s: float | None
    ended_s: float | None
    took_s: float | None


def span(began_s: float | None, ended_s: float | None, took_s: float | None) -> Span:
    """Start, end and duration as far as two of them tell the third; an impossible duration is "not said"."""
    if took_s is not None and not 0 <= took_s < 1e7:
        took_s = None
    if took_s is not None and began_s is None and ended_s is not None:
        began_s = ended_s - took_s
    elif took_s is not None and ended_s is None and began_s is not None:
        ended_s = began_s + took_s
    elif took_s is None and began_s is not None and ended_s is not None and ended_s >= began_s:
        took_s = ended_s - began_s
    return Span(began_s, ended_s, took_s)


class Phrase(NamedTuple):
    """Words by which a program says that something ended, and what they mean."""

    pattern: re.Pattern[str]
    side: Side | None
    mechanism: Mechanism | None
    says: str


def phrases(rows: Iterable[tuple[str, Side | None, Mechanism | None, str]]) -> tuple[Phrase, ...]:
    """A table of phrases, its patterns compiled."""
    return tuple(Phrase(re.compile(pattern), side, how, says) for pattern, side, how, says in rows)


# ----- fields that come from elsewhere

_KEPT_SEGMENT = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,23}|v\d{1,2}(?:(?:alpha|beta)\d{0,2})?|[a-z0-9_.-]{1,8}")
_METHOD = re.compile(r"[A-Z]{3,10}")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,100}(?::\d{1,5})?|\[[0-9a-fA-F:.]{2,45}\](?::\d{1,5})?")
_IDS = re.compile(
    r"(?<![\w-])(?:req_[A-Za-z0-9_]{4,60}|[0-9a-f]{16}-[A-Z]{3}|[0-9abcdefghjkmnpqrstvwxyz]{14})(?![\w-])"
)


@lru_cache(maxsize=2048)
def path_of(target: str) -> str:
    """A path to keep, of a request's target or URL: no query, and no segment that could be a token."""
    bare = re.split(r"[?#;]", target, maxsplit=1)[0][:2000]
    if "://" in bare[:12]:
        _, _, bare = bare.partition("://")[2].partition("/")
        bare = "/" + bare
    if not bare.startswith("/"):
        return ""
    parts = bare.split("/")[:12]
    return "/".join(part if part == "" or _harmless(part) else "…" for part in parts)


def _harmless(part: str) -> bool:
    """Whether a path segment is a word rather than a secret: short, or letters in one case."""
    if not _KEPT_SEGMENT.fullmatch(part) or scrub(part) != part:
        return False
    return len(part) <= 12 or (part == part.lower() and not looks_random(part))


def method_of(text: str) -> str:
    """A method, or nothing."""
    return text if _METHOD.fullmatch(text) else ""


def host_of(text: str) -> str:
    """A host with its port, without login or path; nothing where it is no host."""
    bare = text.partition("://")[2] if "://" in text[:12] else text
    bare = bare.split("/", 1)[0].rpartition("@")[2]
    return bare if _HOST.fullmatch(bare) and not _token_like(bare) else ""


def _token_like(host: str) -> bool:
    return (
        any(len(part) > 30 and looks_random(part) for part in re.split(r"[.:]", host)) or scrub(host) != host
    )


def number(value: object) -> float | None:
    """A finite number from what a log holds for one: `12`, `"12.5"`; `-`, -1 and the like are None."""
    if isinstance(value, bool) or value is None or value == "":
        return None
    if isinstance(value, str):
        value = value.strip()
        if not re.fullmatch(r"-?\d{1,18}(?:\.\d{1,12})?(?:[eE][+-]?\d{1,2})?", value):
            return None
    if not isinstance(value, str | int | float):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if 0 <= read < 1e18 else None


def whole(value: object) -> int | None:
    """A count of something, or None."""
    read = number(value)
    return None if read is None else int(read)


def status_of(value: object) -> int | None:
    """An HTTP status, or None."""
    read = whole(value)
    return read if read is not None and 100 <= read <= 599 else None


def ids_of(text: str) -> tuple[str, ...]:
    """The ids in a text by which a request can be known for sure: `req_...`, cf-ray, a turn id of ours."""
    found = dict.fromkeys(_IDS.findall(text[:8000]))
    return tuple(one for one in found if any(c.isdigit() for c in one))[:8]


@lru_cache(maxsize=4096)
def _sentence(text: str) -> str:
    return detail(text, LONGEST_SENTENCE)


def detail(text: str, limit: int = LONGEST_DETAIL) -> str:
    """Foreign free text to keep and to print: no credential, no control character, short.

    A log may hold half a key without what keys begin with, so long words of much chance go as well; ids stay.
    """
    return clean(_LONG_WORD.sub(_without_chance, scrub(text[:2000]).strip()), limit=limit)


_LONG_WORD = re.compile(r"[A-Za-z0-9_~+/=-]{16,}")


def _without_chance(found: re.Match[str]) -> str:
    word = found.group()
    return REMOVED if looks_random(word) and not _IDS.fullmatch(word) else word
