"""What is written down of one turn while it lives: its head, its moments, its outcome.

The gateway holds one record per turn and appends to it; the journal writes changed records now and then
from its own thread. A record holds no body and no credential.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from holdfast.flight.endings import Ending
from holdfast.flight.instant import Instant
from holdfast.flight.moments import Moment

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


def new_turn_id(at: Instant) -> str:
    """A short id that sorts by time: 9 characters of wall time in milliseconds, 5 of chance (base 32).

    An id names a turn in lists and opens nothing, so its chance need not be a secret.
    """
    p, n = _PAIRS, at.wall_ms << 25 | random.getrandbits(25)
    return (
        f"{p[n >> 60 & 1023]}{p[n >> 50 & 1023]}{p[n >> 40 & 1023]}{p[n >> 30 & 1023]}"
        f"{p[n >> 20 & 1023]}{p[n >> 10 & 1023]}{p[n & 1023]}"
    )


class TurnRecord(msgspec.Struct, gc=False):
    """One turn, as it will be found in the journal. A struct, as moments are; nothing in it leads back to it."""

    turn_id: str
    started: Instant
    kind: str
    "`turn` (protected), or `opaque` (carried, not protected)."
    method: str
    path: str
    "Without query string."
    agent: str = ""
    profile: str = ""
    session: str | None = None
    "The client's own session id (`x-claude-code-session-id`), where it sends one."
    subagent: str | None = None
    upstream: str = ""
    "Scheme, host and port only."
    model: str | None = None
    status: int | None = None
    "The status the first client connection was given."
    request_id: str | None = None
    "The provider's id of the last attempt."
    edge_id: str | None = None
    request_bytes: int = 0
    answer_bytes: int = 0
    "Bytes of the answer as upstream sent them (chunk framing excluded)."
    events: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    stop_reason: str | None = None
    attempts: int = 0
    "Requests sent upstream for this turn: how often it was generated, in whole or in part."
    readers: int = 0
    "Client connections that followed it."
    keepalives: int = 0
    longest_quiet_s: float = 0.0
    "The longest silence of upstream after the request was sent."
    spared: int = 0
    "Client requests that were answered from this turn instead of being generated again."
    held: int = 0
    "Silences longer than the client's own limit that were bridged, where it is measured to ask again at that limit."
    saved_from: str | None = None
    "The break that this turn survived, where the client's profile says it would have been lost without."
    healed: str | None = None
    "What was done about its breaks, in order (`again, restart`); then its tokens are estimated."
    breaks: str | None = None
    "The codes of its breaks, in order, with what became of each: `P.rst.tool+restart, P.cut.text!`."
    wasted_tokens: int | None = None
    "Output tokens of an answer that nobody fetched."
    request_key: str | None = None
    "Tells a request that was sent again, among those of this state directory; only of turns that were disturbed."
    ended: Instant | None = None
    ending: Ending | None = None
    moments: list[tuple[Instant, Moment]] = []
    "What was noticed and is not written down yet; a journal takes out what it has written."

    def note(self, at: Instant, moment: Moment) -> None:
        """Append one moment."""
        self.moments.append((at, moment))


@dataclass(frozen=True, slots=True)
class About:
    """What a kept answer was an answer to, without a word of the request. None is "not known"."""

    model: str | None = None
    messages: int | None = None
    "How many the request had."
    request_bytes: int | None = None
    tools: int | None = None
    "How many were offered."
    tool: str | None = None
    "The last one that the answer called, or was calling when it broke."
    path: str | None = None
    "The file that this call was to write, as the model named it."


NOTHING_KNOWN: Final = About()


class AnswerLost(Exception):
    """The bytes of an answer that was to be kept cannot be read any more."""


class Answer(Protocol):
    """An answer's exact bytes at one moment, wherever they lie: they are read later, piece by piece, by another thread."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def held_bytes(self) -> int:
        """How many of them are in memory."""

    def pieces(self) -> Iterator[bytes]:
        """All of them, in order; from the beginning each time. Raises `AnswerLost`."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """An answer that is there as a whole."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    @property
    def held_bytes(self) -> int:
        """All of them."""
        return len(self.data)

    def pieces(self) -> Iterator[bytes]:
        """In one."""
        yield self.data


class Recorder(Protocol):
    """Where the gateway puts what it noticed; `journal.Journal` writes it to disk, tests keep it in a list."""

    def changed(self, record: TurnRecord) -> None:
        """The record has news; write it when convenient. Cheap, never waits, never raises."""

    def keep_answer(
        self,
        record: TurnRecord,
        answer: Answer,
        *,
        complete: bool,
        content_type: str,
        about: About = NOTHING_KNOWN,
    ) -> None:
        """Put an answer into the attic. Never waits, never raises."""

    def tell(self, name: str, text: str) -> None:
        """Something about the gateway as a whole, not about one turn. Never waits, never raises."""

    def answer_handed_over(self, turn_id: str) -> None:
        """A retry took the kept answer of that turn. Never waits, never raises."""
