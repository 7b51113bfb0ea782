"""Why a connection, an attempt, a reader or a turn ended: a closed vocabulary.

An ending names three things: which *side* did it, by which *mechanism*, and in which *phase* of the
exchange. The error underneath is kept as evidence, with credentials taken out before it gets here.
A short code in the spirit of HAProxy's termination states is made of the three, so that logs, tables
and reports can be searched for it: `C.rst.tool` is "the client reset the connection inside a tool call".
What became of it is no part of the code, and stands behind it where an ending is shown: `P.rst.tool+restart` was
healed by a restart, and with `P.rst.tool!` nothing could be done (`shown`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Final


class Side(Enum):
    """Who ended it."""

    __hash__ = (
        object.__hash__
    )  # Python 3.11's own is slow, and each turn's ending is looked up by its three words

    CLIENT = "C"
    "The program that asked: an agent, an SDK, a browser."
    PROVIDER = "P"
    "The other end of the upstream connection: the API, or the edge in front of it."
    GATEWAY = "G"
    "Holdfast itself, by one of its own limits or because it was told to stop."
    PATH = "N"
    "Something between two ends: no proof of life came, or a name or route could not be found."
    MACHINE = "M"
    "This machine: it slept, its kernel gave a connection up, a process ended, a disk was full."
    NOBODY = "-"
    "Nobody: it ran to its proper end."


class Mechanism(Enum):
    """How it ended."""

    __hash__ = object.__hash__

    COMPLETED = "end"
    "The protocol's own end was reached."
    FIN = "fin"
    "The peer closed its half of the connection in order, before the protocol's end and not in the midst of a piece."
    RST = "rst"
    "The peer reset the connection, or a box on the path did in its name."
    FIN_THEN_RST = "fin+rst"
    "The peer closed in order and reset the connection right after: it had stopped listening too."
    GOAWAY = "goaway"
    "The peer gave the connection up by HTTP/2's GOAWAY; the detail has the code's name and the peer's own words."
    STREAM_RESET = "rst_stream"
    "The peer ended the one HTTP/2 stream by RST_STREAM and kept the connection; the detail has the code's name."
    KEEPALIVE_UNANSWERED = "dark"
    "All of our bytes had been acknowledged; then TCP's probes or HTTP/2's PINGs went unanswered: the path is dead."
    UNACKNOWLEDGED = "unacked"
    "Bytes of ours (or our SYNs) went unacknowledged until TCP gave up, by TCP_USER_TIMEOUT or its last retransmission."
    TRUNCATED = "cut"
    "The HTTP body ended properly, but the answer in it had not: no last event, or a half-written one."
    TORN = "torn"
    "The peer closed in order inside an HTTP chunk, or before the length that it had announced: the body was torn off."
    STREAM_ERROR = "err"
    "The provider said in the stream that it failed."
    HTTP_ERROR = "http"
    "The provider answered with an error status."
    REFUSED = "refused"
    "The connection was refused, or a stream on it: the HTTP/2 peer lets nobody open one."
    UNREACHABLE = "unreach"
    "No route, or the network is down."
    DNS = "dns"
    "The name could not be resolved."
    TLS = "tls"
    "The TLS handshake failed, or the certificate was not trusted."
    TLS_ALERT = "alert"
    "The peer ended an established TLS session by an alert; the detail has the alert's name."
    TLS_BROKEN = "record"
    "A TLS record of an established session could not be read: something on the path changed or added bytes."
    PROXY = "proxy"
    "The HTTP proxy on the way refused or failed to open the tunnel."
    MALFORMED = "bad"
    "What arrived was not HTTP, or not HTTP that may be relayed, or a flood of it."
    DEADLINE = "limit"
    "One of our own limits ran out; the detail names it."
    DOOMED = "doomed"
    "Not sent upstream: the same request had broken at the same place again and again."
    CANCELLED = "cancel"
    "Asked for: the user cancelled, or the client moved on to something else."
    SUPERSEDED = "taken"
    "Another connection took over: a retry follows the same turn."
    SLEPT = "slept"
    "This machine slept, and the connection was dead when it woke: nothing had been heard on it since."
    ABORTED = "abort"
    "This machine's kernel gave the connection up (ECONNABORTED): a program closed it from outside, or its address went."
    PROCESS_ENDED = "died"
    "A process ended: the gateway's, or the command it was started for."
    LOCAL_ERROR = "local"
    "An error of this machine's or ours: no space, too many files, a defect. The detail says which."

    @property
    def rule(self) -> Mechanism:
        """The mechanism whose rules hold for it: a GOAWAY is met like a FIN, a RST_STREAM like a RST."""
        return _RULED_LIKE.get(self, self)


_RULED_LIKE: Final[Mapping[Mechanism, Mechanism]] = MappingProxyType(
    {
        Mechanism.GOAWAY: Mechanism.FIN,
        Mechanism.TORN: Mechanism.FIN,
        Mechanism.STREAM_RESET: Mechanism.RST,
        Mechanism.ABORTED: Mechanism.RST,
        Mechanism.SLEPT: Mechanism.KEEPALIVE_UNANSWERED,
        Mechanism.UNACKNOWLEDGED: Mechanism.KEEPALIVE_UNANSWERED,
        Mechanism.TLS_ALERT: Mechanism.TLS,
        Mechanism.TLS_BROKEN: Mechanism.TLS,
    }
)
"Told apart because they point at different causes; what to do about them is the same."


class Phase(Enum):
    """What was under way when it ended."""

    __hash__ = object.__hash__

    RESOLVING = "resolve"
    "The upstream's name was being looked up."
    CONNECTING = "connect"
    "A TCP connection to upstream was being opened."
    TLS = "tls"
    "The TLS handshake was under way."
    SENDING = "send"
    "The request was being sent."
    AWAITING_HEADERS = "headers"
    "The request was sent; upstream's status and headers had not come."
    AWAITING_FIRST_EVENT = "first"
    "Headers had come, the first event of the answer had not."
    BETWEEN_BLOCKS = "between"
    "The answer had begun, and no content block was open."
    IN_TEXT = "text"
    "A block of text was open."
    IN_THINKING = "thinking"
    "A block of thinking was open."
    IN_TOOL_USE = "tool"
    "A tool call was open: its arguments were being written."
    IN_BODY = "body"
    "In the body of an answer whose inside we do not read."
    AFTER_END = "after"
    "After the answer's proper end."
    POOLED_IDLE = "idle"
    "Between requests, on a connection kept for reuse."


@dataclass(frozen=True, slots=True)
class Ending:
    """Why something ended, with the evidence that was at hand at that moment."""

    side: Side
    mechanism: Mechanism
    phase: Phase
    detail: str = ""
    "The error underneath, in one line, credentials and control characters taken out. May be empty."
    evidence: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    "Numbers read before the socket was gone (names with units: `silence_s`, `unacked_bytes`); None is 'not measured'."

    @property
    def code(self) -> str:
        """`C.rst.tool`: side, mechanism and phase."""
        return _code(self.side, self.mechanism, self.phase)

    @property
    def completed(self) -> bool:
        """Whether this is the proper end, and nothing that needs explaining."""
        return self.mechanism is _COMPLETED


@cache
def _code(side: Side, mechanism: Mechanism, phase: Phase) -> str:
    return f"{side.value}.{mechanism.value}.{phase.value}"


_COMPLETED: Final = Mechanism.COMPLETED
"Before Python 3.12 looking a member up in its class takes as long as a short function; asked for in every turn."
NOT_HEALED: Final = "!"
"Behind a code: it broke an answer, and nothing could be done about it."


def shown(code: str, remedy: str | None) -> str:
    """An ending's code with what became of it: `P.rst.tool+restart`, `P.cut.text+under-the-first-start`, `P.rst.tool!`.

    `remedy` is what healed it, as in the healing table; empty where it was not healed, None where there was nothing to
    heal or it is not known, and then the code stands alone.
    """
    if remedy is None:
        return code
    return f"{code}+{remedy.replace(' ', '-')}" if remedy else code + NOT_HEALED


def final(ending: Ending) -> str:
    """How a turn's own ending is shown: with `!` where a break ended it that nothing could be done about.

    An error status, a limit of ours and the client's own leaving are no breaks.
    """
    if ending.completed:
        return ending.code
    broke = ending.side in (Side.PROVIDER, Side.PATH) or ending.mechanism in (
        Mechanism.SLEPT,
        Mechanism.ABORTED,
    )
    return shown(ending.code, "" if broke and ending.mechanism is not Mechanism.HTTP_ERROR else None)


def taken_apart(text: str) -> tuple[str, str | None]:
    """The reverse of `shown`: the code, and the remedy, empty or None."""
    side_and_how, dot, last = text.rpartition(".")  # a mechanism may have a plus of its own: `fin+rst`
    if last.endswith(NOT_HEALED):
        return f"{side_and_how}{dot}{last[: -len(NOT_HEALED)]}", ""
    phase, plus, remedy = last.partition("+")
    return f"{side_and_how}{dot}{phase}", remedy.replace("-", " ") if plus else None


COMPLETED = Ending(Side.NOBODY, Mechanism.COMPLETED, Phase.AFTER_END)
