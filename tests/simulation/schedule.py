"""A schedule: all that will happen in one simulated world, as a literal value.

It is drawn from a seed, printed when it fails, cut down while it still fails, and pasted into a test. Times
are virtual seconds; those of an answer count from the request's arrival at the provider, those of a turn's
doings from its beginning. Every field has the dullest default, and `repr` leaves those out.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from random import Random
from typing import Any


class _Plain:
    """A dataclass whose `repr` names only what is not at its default."""

    __slots__ = ()

    def __repr__(self) -> str:
        said = []
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if value != item.default:
                said.append(f"{item.name}={value!r}")
        return f"{type(self).__name__}({', '.join(said)})"


@dataclass(frozen=True, slots=True, repr=False)
class Answer(_Plain):
    """What the provider does with one request."""

    status: int = 200
    headers_s: float = 0.1
    "Until status and headers."
    blocks: tuple[tuple[str, int], ...] = (("text", 2),)
    "Kind of each block, and how many deltas it has."
    step_s: float = 0.0
    "Between two reads."
    per_read: int = 3
    "Events that arrive in one read."
    split: bool = False
    "Whether reads end in the middle of events."
    pings: bool = False
    "Whether the provider sends pings of its own."
    pauses: tuple[tuple[int, float], ...] = ()
    "Before which event it falls silent, and for how long."
    ends: str = "proper"
    """`proper`; at event `at`: `early` (HTTP ends properly), `rst`, `fin`, `error` (in the stream), `silent`, `dark`;
    after the last event: `no end` (HTTP's is missing), `rst after`."""
    at: int = 0
    "Events sent before it breaks; 0 is right after the headers, -1 before them."
    stale: bool = False
    "A pooled connection turns out to be dead when it is used."
    encoded: bool = False
    "Whether it is compressed although it was asked not to be."
    retry_after_s: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class Turn(_Plain):
    """One question of one client, and what its user and its path do meanwhile."""

    at: float = 0.0
    prompt: int = 0
    "The same number in the same session is the same question, a higher one goes on from it."
    streaming: bool = True
    pieces: int = 1
    "In how many pieces the request's body is sent."
    piece_s: float = 0.0
    side: bool = False
    "A title request or the like: another model, no tools."
    latency_s: float = 0.0
    window: int = 65536
    pauses: tuple[tuple[float, float], ...] = ()
    "When the client stops reading, and for how long."
    dark_at: float | None = None
    leaves_at: float | None = None
    "When its user presses Esc, or the client is killed."
    back: str = ""
    "After that: `same` (the same question), `next` (the conversation goes on), or nothing."
    back_s: float = 1.0
    retries: int = 2
    "How often the client asks again by itself."
    again: bool = False
    "Whether its user asks the same once more when it failed."
    answers: tuple[Answer, ...] = (Answer(),)
    "For its requests in their order; the last one goes on."


@dataclass(frozen=True, slots=True, repr=False)
class Client(_Plain):
    """One program with one key and one session."""

    agent: str = "2.1.86"
    "A Claude Code version, or `python`, `node`, `curl`."
    tenant: int = 0
    session: int = 0
    subagent: int = 0
    reuses: bool = False
    "Whether it keeps its connection for the next request."
    turns: tuple[Turn, ...] = (Turn(),)


@dataclass(frozen=True, slots=True, repr=False)
class Outage(_Plain):
    """For a while no connection upstream can be had."""

    at: float = 0.0
    for_s: float = 10.0
    how: str = "refused"
    "`refused`, `unreachable`, `dns`, `tls`."


@dataclass(frozen=True, slots=True, repr=False)
class Fault(_Plain):
    """Something happens to the gateway itself."""

    at: float = 0.0
    what: str = "disk full"
    "`disk full`, `disk unreadable`, `stop`, `drain`, `command gone`, `network changed`, `slept`."
    for_s: float = 5.0


@dataclass(frozen=True, slots=True, repr=False)
class Schedule(_Plain):
    """One simulated world."""

    preset: str = "serve"
    "Which settings the gateway has: a key of `world.PRESETS`."
    connect_s: float = 0.0
    "How long a connection upstream takes."
    clients: tuple[Client, ...] = ()
    outages: tuple[Outage, ...] = ()
    faults: tuple[Fault, ...] = ()


# -- drawing ----------------------------------------------------------------------------------------

_AGENTS = (
    "2.1.86",
    "2.1.86",
    "2.1.114",
    "2.1.114",
    "2.1.329",
    "2.1.329",
    "2.1.200",
    "python",
    "node",
    "curl",
)
_SHORT = (0.0, 0.0, 0.05, 0.2, 0.25, 0.5, 1.0, 2.0, 2.1, 3.0, 5.0, 9.0, 10.0, 11.0)
_LONG = (
    14.0,
    16.0,
    19.0,
    20.0,
    21.0,
    40.0,
    60.0,
    89.0,
    90.0,
    100.0,
    120.0,
    240.0,
    290.0,
    299.5,
    300.0,
    310.0,
)
_BLOCKS = ("text", "text", "thinking", "tool_use", "tool_use", "server_tool_use")
_BREAKS = ("early", "rst", "rst", "fin", "error", "silent", "dark")
_STATUSES = (400, 401, 404, 413, 429, 500, 502, 503, 529)
_PRESETS = (
    *("serve", "serve", "serve", "serve", "quiet", "quiet", "quiet", "watched", "watched", "watched"),
    *("run", "run", "eager", "eager refused", "small disk", "small disk"),
    *("spliced", "held", "held", "hedged", "plain", "doomed"),
)
_OUTAGES = ("refused", "unreachable", "dns", "tls")
_FAULTS = ("disk full", "disk unreadable", "stop", "drain", "command gone", "network changed", "slept")


def draw(seed: int) -> Schedule:
    """The schedule of that seed."""
    chance = Random(seed)
    rare = chance.random
    count = 1 if rare() < 0.5 else 2 if rare() < 0.8 else 3
    clients = tuple(_client(chance) for _ in range(count))
    outages: tuple[Outage, ...] = ()
    faults: tuple[Fault, ...] = ()
    if rare() < 0.1:
        outages = (Outage(_seconds(chance), _seconds(chance), chance.choice(_OUTAGES)),)
    if rare() < 0.15:
        faults = (Fault(_seconds(chance) + chance.choice((0.0, 0.01, 1.0)), chance.choice(_FAULTS)),)
    return Schedule(
        preset=chance.choice(_PRESETS),
        connect_s=0.0 if rare() < 0.7 else chance.choice((0.05, 1.0, 14.0)),
        clients=clients,
        outages=outages,
        faults=faults,
    )


def _seconds(chance: Random) -> float:
    return chance.choice(_SHORT) if chance.random() < 0.8 else chance.choice(_LONG)


def _client(chance: Random) -> Client:
    rare = chance.random
    count = 1 if rare() < 0.55 else 2 if rare() < 0.8 else 3
    turns: list[Turn] = []
    for _ in range(count):
        before = turns[-1] if turns else None
        turns.append(_turn(chance, before))
    return Client(
        agent=chance.choice(_AGENTS),
        tenant=0 if rare() < 0.7 else 1,
        session=0 if rare() < 0.7 else 1,
        subagent=0 if rare() < 0.9 else 1,
        reuses=rare() < 0.3,
        turns=tuple(turns),
    )


def _turn(chance: Random, before: Turn | None) -> Turn:
    rare = chance.random
    prompt, at = 0, 0.0
    if before is not None:
        prompt = before.prompt + (0 if rare() < 0.5 else 1)
        at = before.at + _seconds(chance)
    elif rare() < 0.3:
        at = _seconds(chance)
    turn: dict[str, Any] = {"at": at, "prompt": prompt}
    if rare() < 0.12:
        turn["streaming"] = False
    if rare() < 0.1:
        turn["pieces"], turn["piece_s"] = 3, chance.choice((0.0, 0.1, 1.0))
    if rare() < 0.05:
        turn["side"] = True
    if rare() < 0.3:
        turn["latency_s"] = chance.choice((0.01, 0.05, 0.3))
    if rare() < 0.1:
        turn["window"] = chance.choice((200, 600))
        turn["pauses"] = ((_seconds(chance), _seconds(chance)),)
    if rare() < 0.06:
        turn["dark_at"] = _seconds(chance)
    if rare() < 0.35:
        turn["leaves_at"] = _seconds(chance)
        turn["back"] = chance.choice(("", "same", "same", "next"))
        turn["back_s"] = chance.choice((0.0, 0.1, 1.0, 1.9, 2.1, 5.0, 70.0))
    turn["retries"] = chance.choice((0, 1, 2, 2, 3))
    if rare() < 0.2:
        turn["again"] = True
    turn["answers"] = tuple(_answer(chance) for _ in range(1 if rare() < 0.4 else 2 if rare() < 0.7 else 3))
    return Turn(**turn)


def _answer(chance: Random) -> Answer:
    rare = chance.random
    if rare() < 0.08:
        after = chance.choice((0, 0, 3))
        status, ends = chance.choice(_STATUSES), "rst" if rare() < 0.1 else "proper"
        return Answer(status=status, headers_s=_seconds(chance), retry_after_s=after, ends=ends)
    blocks = tuple(
        (chance.choice(_BLOCKS), chance.choice((0, 1, 2, 3))) for _ in range(chance.choice((1, 1, 2, 3)))
    )
    events = 3 + sum(2 + deltas for _, deltas in blocks)
    answer: dict[str, Any] = {"blocks": blocks, "headers_s": _seconds(chance)}
    answer["per_read"] = chance.choice((1, 2, 3, 100))
    if rare() < 0.4:
        answer["step_s"] = chance.choice((0.01, 0.3, 2.0))
    if rare() < 0.15:
        answer["split"] = True
    if rare() < 0.1:
        answer["pings"] = True
    if rare() < 0.5:
        answer["pauses"] = ((chance.randrange(events), _seconds(chance)),)
        if rare() < 0.2:
            answer["pauses"] += ((chance.randrange(events), _seconds(chance)),)
    if rare() < 0.35:
        answer["ends"] = chance.choice(_BREAKS)
        answer["at"] = chance.randrange(-1, events)
    elif rare() < 0.1:
        answer["ends"] = chance.choice(("no end", "rst after"))
    if rare() < 0.1:
        answer["stale"] = True
    if rare() < 0.01:
        answer["encoded"] = True
    return Answer(**answer)
