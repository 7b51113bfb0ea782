"""Client profiles: what one client program and version does with silence, resets and endings.

Data, measured, never guessed: `profiles.toml` beside this file, a source on every row.
A version between two measured ones gets the older neighbour's row, a newer one than all the newest row,
an older one than all the oldest; the profile's name says so. An agent that nobody measured is `unknown`.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

from holdfast.flight.endings import Mechanism


@dataclass(frozen=True, slots=True)
class Mover:
    """An environment variable of the client's (in milliseconds) that replaces a limit, and the client's clamp."""

    variable: str
    floor_s: float = 0.0
    cap_s: float = math.inf
    lengthens: bool = False
    "Whether a longer time than the default was measured to be followed; otherwise shorter ones alone were tried, or none."


@dataclass(frozen=True, slots=True)
class Limit:
    """One timer of a client's, that makes it hang up."""

    name: str
    "As in the data: `headers`, `request`, `bytes`, `events`, `total`, ..."
    clock: str
    """`headers`: since the request, while no header came. `bytes`: since the last byte.
    `events`: since the last event that it counts, or the headers. `total`: since the request.
    `told`: since any of these; what the request says, wherever the program around a library may count it from. It
    explains a leaving, and nothing is planned by it."""
    seconds: float
    applies: str = "any"
    "`streaming`, `whole` (not streaming), or `any`."
    headers: tuple[str, ...] = ()
    "Request headers that carry it, in seconds; the first that says a number wins, over the environment too."
    moved_by: tuple[Mover, ...] = ()
    "Variables that replace it; the first that is set wins."
    factor: float = 1.0
    plus_s: float = 0.0
    "A moved limit is the variable's value, clamped, times `factor`, plus this."
    armed_by: str | None = None
    "Off unless this variable is true."
    off_by: str | None = None
    "Gone if this variable is set to false."
    source: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """What one client does. See `profiles.toml` for the source of each field."""

    name: str
    "Such as `claude-code 2.1.114`, `claude-code 2.1.200 (as 2.1.114)` or `unknown`."
    limits: tuple[Limit, ...] = ()
    "As in the data; `limits_for` says which of them hold for one request."
    keepalive: str = "ping"
    "`null-delta`, `ping` or `comment`: what holds it while a stream is silent."
    counted: frozenset[str] = frozenset()
    "Which empty events move its `events` clock: `null-delta`, `empty-delta`. Every byte moves its `bytes` clock."
    header_share: float = 0.8
    "Which share of its header limit the gateway waits for upstream's headers."
    header_patience_s: float | None = None
    "Replaces the share where an in-stream error was measured to be recovered and a banner would show."
    white_space: bool = False
    "Whether white space before a JSON body holds it (and its limit is not a total time)."
    fallback: bool = False
    "Whether it asks the same turn again without streaming, and so its differences are set aside."
    fetch_as_stream: bool = False
    "Whether a request of its without streaming is fetched as a stream and folded."
    close_connections: bool = False
    "Whether its answers carry `connection: close` (its runtime re-sends by itself on a reused connection)."
    silent_loss: str | None = None
    "What it was measured to do when it leaves a silent stream with no block completed; None where it recovers."
    silent_loss_after_block: str | None = None
    "The same once a block was complete."
    print_mode_recovers: bool = False
    "Whether it asks for a continuation by itself in print mode, so that `silent_loss_after_block` is not certain."
    silent_hang: str | None = None
    "What it was measured to do where none of its limits ends a silence in the stream."
    restarts: bool = False
    "Whether a second `message_start` in the stream makes it drop its open block and keep completed ones."
    shortens: bool = False
    "Whether it runs the completed tool calls of a message that was ended behind them, drops an open one, and goes on."
    shortens_closed: bool = False
    "Whether it does so at least where no tool call is open: an SDK hands a half one to its program."
    resumes_cut: bool = False
    "Whether, after a message ended by `max_tokens`, it keeps what is complete and asks for the rest by itself."
    cut_form: str = ""
    """How such a message is ended while a block is open: `open`: without that block's end, which drops it; `restart`:
    behind a second `message_start`. Empty: only where no block is open."""
    explain_status: int = 424
    "The HTTP status that it does not ask again after, with or without `x-should-retry`, and whose text it shows."
    compacts_on: str = ""
    "Words in an HTTP error's text after which it compacts its conversation and asks again; empty: it does not."
    breaks: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False, hash=False)
    """What it does by itself when a stream breaks: what it had heard (`nothing`, `start`, `block`, `thinking`, `text`,
    `tool`, `all`) -> how it broke (`reset`, `cut`, `err`) -> a word of `RECOVERIES` or `BREAK_LOSSES`."""
    print_mode: bool = False
    "Whether this client runs in print mode, and recovers there from what it fails at in a terminal."
    program: str = "unknown"
    version: str = ""
    "The version that was measured, not the client's own."
    runtime: str | None = None
    "The `x-stainless-runtime` it was measured on, where its limits are the runtime's."
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False, compare=False)
    limit_headers: tuple[str, ...] = ()
    "Every request header that one of its limits reads."

    @property
    def measured(self) -> bool:
        """Whether this very version was measured."""
        return bool(self.version) and self.name == f"{self.program} {self.version}"

    def loss_at_silence(self, limits: Iterable[Limit], completed_blocks: int) -> str | None:
        """How a silence in the stream loses the turn for this client, by itself; None where it recovers.

        `limits` are those of the request. Before the headers every measured client asks again.
        """
        if not any(limit.clock in ("bytes", "events", "total") for limit in limits):
            return self.silent_hang
        return self.silent_loss_after_block if completed_blocks else self.silent_loss

    def loss_at_break(self, told: str, mechanism: str, *, headers: bool = True) -> str | None:
        """How a break of the stream loses the turn for this client, by itself; None where it recovers or may recover.

        `told` is a key of `breaks`, `mechanism` a value of `flight.endings.Mechanism`. `headers` says whether the
        client had its headers; before them every measured client asks again.
        """
        if not headers:
            return None
        word = self.breaks.get(told, {}).get(_KINDS_OF_BREAK.get(Mechanism(mechanism).rule.value, ""), "")
        if word == IN_A_TERMINAL and self.print_mode:
            return None
        return BREAK_LOSSES.get(word)


_KINDS_OF_BREAK = {"rst": "reset", "fin": "reset", "fin+rst": "reset", "cut": "cut", "err": "err"}
"RST and FIN came to the same in every measured client; a proper end of the HTTP body and an error event did not."
IN_A_TERMINAL = "fails in a terminal"
BREAK_LOSSES = {
    "fails": "fails at once, and does not ask again",
    IN_A_TERMINAL: "stops with an error: the response above may be incomplete",
    "raises": "raises an error, without a retry",
    "silent success": "takes the part that it has for the whole answer, and says nothing",
    "loses the tool call": "throws the completed tool call away, and asks again without streaming",
}
"The words of `breaks` that are losses, each as a sentence's end."
RECOVERIES = frozenset(("asks again", "falls back", "runs the tool", "finishes", "depends"))
"""The other words. `falls back`: asks again without streaming. `finishes`: takes the message for whole, rightly.
`depends`: on what cannot be seen from here, so that no loss is claimed."""


class Timers(NamedTuple):
    """A client's limits for one request, and what follows from them. Seconds."""

    limits: tuple[Limit, ...]
    patience_s: float
    "How long it can wait for headers where it asked for a stream."
    whole_patience_s: float
    "How long where it asked for the whole message."
    keepalive_s: float
    "The silence towards it before a keepalive."


# -- choosing ---------------------------------------------------------------------------------------

_AGENTS = (
    (re.compile(r"claude-cli/(\d+)\.(\d+)\.(\d+)"), "claude-code"),
    (re.compile(r"(?:Async)?Anthropic/Python (\d+)\.(\d+)\.(\d+)"), "anthropic-python"),
    (re.compile(r"Anthropic/JS (\d+)\.(\d+)\.(\d+)"), "anthropic-typescript"),
    (re.compile(r"(?:Async)?OpenAI/Python (\d+)\.(\d+)\.(\d+)"), "openai-python"),
)
_Version = tuple[int, ...]


def choose(user_agent: str, headers: Mapping[str, str]) -> Profile:
    """The profile for a request. `headers` has lower-case names."""
    return _choose(user_agent[:256], headers.get("x-stainless-runtime", "")[:32].lower())


@lru_cache(maxsize=256)
def _choose(user_agent: str, runtime: str) -> Profile:
    for pattern, program in _AGENTS:
        found = pattern.match(user_agent)
        if found:
            row = _neighbour(program, tuple(int(part) for part in found.groups()))
            return _on_runtime(_in_print_mode(row, user_agent), runtime)
    return unknown()


_PRINT_MODE = re.compile(r"\([^()]*\bsdk-cli\b[^()]*\)")
"Claude Code's `claude-cli/2.1.329 (external, sdk-cli)`; its interactive mode says `cli` there."


def _in_print_mode(row: Profile, user_agent: str) -> Profile:
    """Without the loss that this client was measured to recover from where nobody sits before it."""
    if not row.print_mode_recovers or _PRINT_MODE.search(user_agent) is None:
        return row
    return replace(row, silent_loss_after_block=None, print_mode=True)


def _neighbour(program: str, version: _Version) -> Profile:
    """The row of this version, or of the nearest older one, or the oldest."""
    rows = sorted((_version(row.version), row) for row in _rows() if row.program == program)
    older = [row for measured, row in rows if measured <= version]
    row = older[-1] if older else rows[0][1]
    if _version(row.version) == version:
        return row
    said = ".".join(str(part) for part in version)
    if not older:
        return replace(row, name=f"{program} {said} (as {row.version}, older than any measured)")
    between = version < rows[-1][0]
    newer = next((other for measured, other in rows if measured > version), row)
    return replace(
        _agreed(row, newer),
        name=f"{program} {said} (as {row.version})",
        # Whose limits it has is not known; a hang-up at a limit of either neighbour is taken for giving up.
        limits=row.limits + tuple(limit for limit in newer.limits if limit not in row.limits),
        limit_headers=tuple(sorted({*row.limit_headers, *newer.limit_headers})),
        # Some runtime between two measured versions re-sends by itself on a reused connection; where that
        # began and ended is not known.
        close_connections=row.close_connections or between,
    )


def _agreed(row: Profile, newer: Profile) -> Profile:
    """The older neighbour's row, with only those endings that the newer one accepts too."""
    breaks = {
        told: {how: word for how, word in words.items() if newer.breaks.get(told, {}).get(how) == word}
        for told, words in row.breaks.items()
    }
    return replace(
        row,
        restarts=row.restarts and newer.restarts,
        shortens=row.shortens and newer.shortens,
        shortens_closed=row.shortens_closed and newer.shortens_closed,
        resumes_cut=row.resumes_cut and newer.resumes_cut,
        cut_form=row.cut_form if row.cut_form == newer.cut_form else "",
        compacts_on=row.compacts_on if row.compacts_on == newer.compacts_on else "",
        breaks=breaks,
    )


def _on_runtime(profile: Profile, runtime: str) -> Profile:
    """A profile whose limits are its runtime's says nothing about another runtime."""
    if profile.runtime is None or runtime in ("", profile.runtime):
        return profile
    return replace(unknown(), name=f"unknown ({profile.program} on {_plain(runtime)})")


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-._" else "?" for c in text)


def _version(text: str) -> _Version:
    return tuple(int(part) for part in text.split("."))


# -- limits of one request --------------------------------------------------------------------------


def limits_for(
    profile: Profile,
    request_headers: Mapping[str, str],
    client_env: Mapping[str, str],
    streaming: bool | None,
) -> tuple[Limit, ...]:
    """The limits that hold for one request: the profile's, moved by what the request and environment say.

    `request_headers` has lower-case names. `streaming` None means not known: both kinds are given.
    """
    kinds = {True: ("any", "streaming"), False: ("any", "whole"), None: ("any", "streaming", "whole")}[
        streaming
    ]
    moved = (_moved(limit, request_headers, client_env) for limit in profile.limits if limit.applies in kinds)
    return tuple(limit for limit in moved if limit is not None and limit.seconds < math.inf)


def header_patience(profile: Profile, limits: Iterable[Limit], *, streaming: bool = True) -> float:
    """Seconds to wait for upstream's headers before the gateway opens the answer itself.

    A share of the shortest limit that ends the wait for headers; less where the profile says so, and only
    for a stream: an answer without streaming has no place for a late error. `inf` where no limit is known:
    then nothing is said before upstream speaks. `limits` may be of both kinds.
    """
    kind = "streaming" if streaming else "whole"
    ends = [
        limit.seconds
        for limit in limits
        if limit.clock in ("headers", "total") and limit.applies in ("any", kind)
    ]
    share = profile.header_share * min(ends, default=math.inf)
    if streaming and profile.header_patience_s is not None:
        return min(share, profile.header_patience_s)
    return share


def variables() -> frozenset[str]:
    """Every environment variable that some profile reads: those of the child's that `run` hands over."""
    limits = [limit for row in _rows() for limit in row.limits]
    named = {mover.variable for limit in limits for mover in limit.moved_by}
    return frozenset(named | {v for limit in limits for v in (limit.armed_by, limit.off_by) if v})


@cache
def limit_headers() -> frozenset[str]:
    """Every request header by which some profile's client says a limit of its own; lower-case names."""
    return frozenset(name for row in _rows() for name in row.limit_headers)


def _moved(limit: Limit, headers: Mapping[str, str], env: Mapping[str, str]) -> Limit | None:
    if limit.armed_by is not None and env.get(limit.armed_by, "").strip().lower() not in _TRUE:
        return None
    if limit.off_by is not None and env.get(limit.off_by, "").strip().lower() in _FALSE:
        return None
    for name in limit.headers:
        said = _seconds(headers.get(name))
        if said is not None:
            return replace(limit, seconds=said)
    for mover in limit.moved_by:
        milliseconds = _milliseconds(env.get(mover.variable))
        if milliseconds is not None:
            clamped = min(max(milliseconds / 1000, mover.floor_s), mover.cap_s)
            return replace(limit, seconds=clamped * limit.factor + limit.plus_s)
    return limit


_TRUE = frozenset(("1", "true", "yes", "on"))
_FALSE = frozenset(("0", "false", "no", "off"))
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,9})?")


def _seconds(said: str | None) -> float | None:
    """A header's seconds; `inf` where the client says that it has no limit; None where it says nothing usable.

    The Python SDK writes `NOT_GIVEN` where its default applies, and `None` where the limit was taken off.
    """
    if said is None:
        return None
    said = said.strip()
    if said == "None":
        return math.inf
    return float(said) or None if _NUMBER.fullmatch(said) else None


def _milliseconds(said: str | None) -> float | None:
    """A variable's milliseconds; None where it is unset, zero or no number, as the client then keeps its default."""
    if said is None or not _NUMBER.fullmatch(said.strip()):
        return None
    return float(said) or None


# -- loading ----------------------------------------------------------------------------------------


def unknown() -> Profile:
    """The profile of an agent that nobody measured."""
    return next(row for row in _rows() if row.program == "unknown")


def measured_profiles() -> tuple[Profile, ...]:
    """Every row of the data, in its order."""
    return _rows()


@cache
def _rows() -> tuple[Profile, ...]:
    text = files("holdfast.gateway").joinpath("profiles.toml").read_text(encoding="utf-8")
    return tuple(_profile(row) for row in tomllib.loads(text)["profile"])


def _profile(row: dict[str, Any]) -> Profile:
    given = dict(row)
    given["limits"] = tuple(_limit(limit) for limit in row["limits"])
    given["counted"] = frozenset(row["counted"])
    given["limit_headers"] = tuple(sorted({name for limit in given["limits"] for name in limit.headers}))
    return Profile(name=f"{row['program']} {row['version']}".strip(), **given)


def _limit(row: dict[str, Any]) -> Limit:
    given = dict(row)
    given["seconds"] = float(row.get("seconds", math.inf))
    given["headers"] = tuple(row.get("headers", ()))
    given["moved_by"] = tuple(Mover(**mover) for mover in row.get("moved_by", ()))
    return Limit(**given)
