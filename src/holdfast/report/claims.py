"""What a report is made of: claims with their grade and their evidence on both sides, measurements, advice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from holdfast.flight.endings import Ending
from holdfast.flight.flights import duration


class Grade(Enum):
    """How sure a claim is."""

    CERTAIN = "certain"
    "Seen on our own socket or clock."
    LIKELY = "likely"
    "Concluded; something named could still prove it wrong."
    CANNOT_TELL = "cannot tell"
    "What was measured does not decide it."


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence with its evidence on both sides."""

    about: str
    "`closer`, `reason`, `timer`, `loop`."
    text: str
    grade: Grade
    speaks_for: tuple[str, ...] = ()
    speaks_against: tuple[str, ...] = ()
    settle: tuple[str, ...] = ()
    "What would prove it wrong, or decide it."


@dataclass(frozen=True, slots=True)
class Suspect:
    """Somebody or something that could have done it, and whether the evidence lets them go."""

    who: str
    state: str
    "`did it`, `ruled out`, `not ruled out` or `not measured`."
    grade: Grade
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a table."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One measurement and what it says."""

    name: str
    value: str
    says: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One request upstream, by the ids that a vendor finds it by."""

    attempt: int
    at_utc: str
    status: int | None
    request_id: str | None
    edge_id: str | None
    ended: str
    "The code of its ending; empty while it goes on."


@dataclass(frozen=True, slots=True)
class Advice:
    """Something to do now. `command` may be empty."""

    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Added:
    """What an added log or capture says of one connection of the turn. All texts are safe to print."""

    place: str
    "`nginx access.log:14`, `capture client.pcap #2`."
    client: bool
    "Whether of the client's connection; else of an attempt's."
    number: int
    says: str
    "A clause without a full stop."
    verdict: str
    "`agrees`, `contradicts`, `adds`; else it says nothing on who."
    note: str = ""
    program: str = ""
    between: bool = False
    "Whether its writer stands between: a proxy, a balancer."
    own_limit: bool = False
    "Whether it says that a limit of its own ran out."
    capture: bool = False

    def sentence(self) -> str:
        """`nginx error.log:2: its own limit ran out (what looked like upstream from here was this program).`"""
        return f"{self.place}: {self.says}{f' ({self.note})' if self.note else ''}."


def short(seconds: float) -> str:
    """A duration that may be next to nothing: `under 1 ms`, never `0 s`."""
    return duration(seconds) if seconds >= 0.001 else "under 1 ms"


def bare(ending: Ending) -> Ending:
    """An ending without detail and evidence, for its sentence alone."""
    return Ending(ending.side, ending.mechanism, ending.phase)
