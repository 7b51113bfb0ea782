"""Why a connection, an attempt, a reader or a turn ended: a closed vocabulary.

An ending names three things: which *side* did it, by which *mechanism*, and in which *phase* of the
exchange. The error underneath is kept as evidence, with credentials taken out before it gets here.
A short code in the spirit of HAProxy's termination states is made of the three, so that logs, tables
and reports can be searched for it: `C.rst.tool` is "the client reset the connection inside a tool call".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Side(Enum):
    """Who ended it."""

    CLIENT = "C"
    "The program that asked: an agent, an SDK, a browser."
    PROVIDER = "P"
    "The other end of the upstream connection: the API, or the edge in front of it."
    GATEWAY = "G"
    "Holdfast itself, by one of its own limits or because it was told to stop."
    PATH = "N"
    "Something between two ends: no proof of life came, or a name or route could not be found."
    MACHINE = "M"
    "This machine: a process ended, a disk was full."
    NOBODY = "-"
    "Nobody: it ran to its proper end."


class Mechanism(Enum):
    """How it ended."""

    COMPLETED = "end"
    "The protocol's own end was reached."
    FIN = "fin"
    "The peer closed its half of the connection in order, or by HTTP/2's GOAWAY, before the protocol's end."
    RST = "rst"
    "The peer reset the connection, or over HTTP/2 the stream alone (RST_STREAM); the detail then has the code's name."
    FIN_THEN_RST = "fin+rst"
    "The peer closed in order and reset the connection right after: it had stopped listening too."
    KEEPALIVE_UNANSWERED = "dark"
    "TCP's own probes, HTTP/2's PINGs or our unacknowledged bytes went unanswered: the path is dead (ETIMEDOUT)."
    TRUNCATED = "cut"
    "The HTTP body ended properly, but the answer in it had not: no last event, or a half-written one."
    STREAM_ERROR = "err"
    "The provider said in the stream that it failed."
    HTTP_ERROR = "http"
    "The provider answered with an error status."
    REFUSED = "refused"
    "The connection was refused."
    UNREACHABLE = "unreach"
    "No route, or the network is down."
    DNS = "dns"
    "The name could not be resolved."
    TLS = "tls"
    "The TLS handshake failed, or the certificate was not trusted."
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
    PROCESS_ENDED = "died"
    "A process ended: the gateway's, or the command it was started for."
    LOCAL_ERROR = "local"
    "An error of this machine's or ours: no space, too many files, a defect. The detail says which."


class Phase(Enum):
    """What was under way when it ended."""

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
        return f"{self.side.value}.{self.mechanism.value}.{self.phase.value}"

    @property
    def completed(self) -> bool:
        """Whether this is the proper end, and nothing that needs explaining."""
        return self.mechanism is Mechanism.COMPLETED


COMPLETED = Ending(Side.NOBODY, Mechanism.COMPLETED, Phase.AFTER_END)
