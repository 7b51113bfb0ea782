"""Which end may close a connection under which cause: one table, and how an end that somebody saw is found in it.

What is seen depends on where one stands. A gateway or a capture on this machine sees the program that asked. A proxy
further on sees only its own two connections: that its client's was closed from there means the program or any box between
the two, and no more. So its `CLIENT` is another kind of end than a flight's.

A cause *fits* an end that it makes itself; that end is told in its favour. It *cannot* be where such an end is what it never
makes. Everything else it may bear: a reset by the far end, for example, can follow a time without network (what was
said into it arrives late, and is answered by one who has forgotten), but speaks for nothing of the kind.

What a box that has forgotten a connection cannot say are words of a protocol, a FIN among them: it drops, or resets.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from holdfast.diagnosis.case import Witness
from holdfast.flight.endings import Mechanism, Phase, Side


class End(Enum):
    """How a connection was seen to end, as far as causes differ in it."""

    CLIENT_LEFT = "the program that asked closed it, seen from beside it"
    CLIENT_SIDE = "a proxy's client side was gone or reset: the program, or a box between the two"
    CLIENT_CLOSED = "a proxy's client side was closed in order"
    STATUS = "the far end answered with an error status"
    SAID = "the far end said so in its protocol's words, in the stream or by a last frame"
    CLOSED = "the far end closed it in order"
    RESET = "the far end reset it, or was gone"
    DARK = "nobody answered any more"
    FORGED = "a reset that neither end made, by a capture"
    LIMIT = "a limit of a program on the way ran out"
    NO_WAY = "there was no way to the far end, or it let nobody in"
    MACHINE = "this machine did: asleep, its kernel, a process that ended"
    GATEWAY = "Holdfast did, by a limit of its own"
    OTHER = "what tells no cause from another"


_SAID = frozenset(
    {
        Mechanism.STREAM_ERROR,
        Mechanism.TRUNCATED,
        Mechanism.GOAWAY,
        Mechanism.STREAM_RESET,
        Mechanism.MALFORMED,
    }
)
_IN_ORDER = frozenset({Mechanism.FIN, Mechanism.FIN_THEN_RST, Mechanism.TORN, Mechanism.TLS_ALERT})
_DARK = frozenset({Mechanism.KEEPALIVE_UNANSWERED, Mechanism.UNACKNOWLEDGED})
_NO_WAY = frozenset({Mechanism.UNREACHABLE, Mechanism.DNS, Mechanism.REFUSED, Mechanism.TLS, Mechanism.PROXY})
_ANSWERING = frozenset(
    {
        Phase.BETWEEN_BLOCKS,
        Phase.IN_TEXT,
        Phase.IN_THINKING,
        Phase.IN_TOOL_USE,
        Phase.IN_BODY,
        Phase.AFTER_END,
    }
)
"What a connection that was closed while it was idle does not come to."
_NOT_SILENT = frozenset({Phase.RESOLVING, Phase.CONNECTING, Phase.TLS, Phase.SENDING})
"Where this machine was itself still speaking, or nobody had begun to."
NOT_IN: Mapping[str, frozenset[Phase]] = {
    "idle-socket": _ANSWERING,
    "silence-limit": _NOT_SILENT,
    "nat-timeout": _NOT_SILENT,
}
"Hypothesis -> phases in which it ends nothing, whoever does."


def end_of(one: Witness) -> End:
    """Which of the ends it is."""
    if not one.tells_who:
        return End.OTHER
    match one.side:
        case Side.CLIENT if not one.between:
            return End.CLIENT_LEFT
        case Side.CLIENT:
            return End.CLIENT_CLOSED if one.mechanism in _IN_ORDER else End.CLIENT_SIDE
        case Side.MACHINE:
            return End.MACHINE
        case Side.GATEWAY:
            return End.GATEWAY
        case _:
            pass
    if one.mechanism in _DARK:
        return End.DARK
    if one.mechanism in _NO_WAY:
        return End.NO_WAY
    if one.side is Side.PATH:
        if one.mechanism is Mechanism.RST and one.source.startswith("capture "):
            return End.FORGED
        return End.LIMIT if one.mechanism is Mechanism.DEADLINE else End.OTHER
    if one.side is not Side.PROVIDER:
        return End.OTHER
    if one.mechanism is Mechanism.HTTP_ERROR:
        return End.STATUS
    if one.mechanism in _SAID:
        return End.SAID
    return End.CLOSED if one.mechanism in _IN_ORDER else End.RESET


class Closes(NamedTuple):
    """What a cause makes itself, and what it never makes. What is in neither it may bear."""

    fits: frozenset[End]
    never: frozenset[End]


def _row(*fits: End, never: tuple[End, ...] = ()) -> Closes:
    return Closes(frozenset(fits), frozenset(never))


_ASKED = (End.CLIENT_LEFT, End.CLIENT_SIDE, End.CLIENT_CLOSED)
_FAR = (End.RESET, End.CLOSED, End.SAID, End.LIMIT)
_ELSEWHERE = (*_ASKED, End.STATUS, End.FORGED, End.MACHINE, End.GATEWAY)
"What no limit at the far end makes."
_LINK = _row(
    End.DARK, End.NO_WAY, End.MACHINE,
    never=(End.CLIENT_LEFT, End.STATUS, End.SAID, End.LIMIT, End.GATEWAY),
)  # fmt: skip
"A link that goes: nothing is heard, nothing is reached, or the kernel gives up what had an address. It speaks no protocol."

CLOSES: Mapping[str, Closes] = {
    # told by its name: the far end's own status
    "provider-overload": _row(End.STATUS, End.SAID),
    "provider-error": _row(End.STATUS, End.SAID),
    "rate-limit": _row(End.STATUS),
    "retry-storm": _row(End.STATUS),
    "edge-timeout": _row(End.STATUS, End.LIMIT, never=(*_ASKED, End.MACHINE)),
    # no way
    "name-resolution": _row(End.NO_WAY),
    "resolver": _row(End.NO_WAY),
    "refused": _row(End.NO_WAY),
    "tls-interception": _row(End.NO_WAY),
    # this side of the line, and the line
    "local-link": _LINK,
    "link-flap": _LINK,
    "wifi-roaming": _LINK,
    "vpn": _LINK,
    "isp-outage": _row(
        End.DARK, End.NO_WAY, never=(End.CLIENT_LEFT, End.STATUS, End.SAID, End.LIMIT, End.GATEWAY)
    ),
    "machine-sleep": _row(End.MACHINE),
    "machine-overload": _row(End.MACHINE),
    # limits
    "client-limit": _row(*_ASKED, never=tuple(one for one in End if one not in _ASKED)),
    "fixed-limit": _row(*_FAR, never=_ELSEWHERE),
    "silence-limit": _row(*_FAR, never=_ELSEWHERE),
    "nat-timeout": _row(
        End.DARK, End.FORGED, End.CLIENT_SIDE,
        never=(End.CLIENT_LEFT, End.CLIENT_CLOSED, End.STATUS, End.SAID, End.CLOSED, End.LIMIT, End.GATEWAY),
    ),
    "idle-socket": _row(End.RESET, End.CLOSED, never=_ASKED),
    # the way
    "buffering-proxy": _row(End.LIMIT),
    "http2": _row(End.SAID),
    "upload-loss": _row(End.DARK),
    "mtu-black-hole": _row(End.DARK),
    "ipv6-path": _row(End.DARK, End.NO_WAY),
    "edge-location": _row(End.RESET, End.CLOSED, End.SAID, End.STATUS, never=(End.CLIENT_LEFT, End.MACHINE, End.GATEWAY)),
    "shared-outage": _row(
        End.RESET, End.CLOSED, End.SAID, End.DARK, End.NO_WAY,
        never=(End.CLIENT_LEFT, End.MACHINE, End.GATEWAY),
    ),
    # told by what failures have in common: whoever ended them
    "large-request": _row(never=(End.CLIENT_LEFT, End.CLIENT_CLOSED, End.MACHINE, End.GATEWAY)),
    "client-version": _row(),
    "subagents": _row(),
    "many-sessions": _row(),
}  # fmt: skip
"Hypothesis -> what it makes and what it never makes. Every cause has its row."


def fits(name: str, one: Witness) -> bool:
    """Whether that end speaks for the cause."""
    return end_of(one) in CLOSES[name].fits and not cannot_be(name, one)


def cannot_be(name: str, one: Witness) -> bool:
    """Whether it was not that cause, if the end was this failure's."""
    row = CLOSES.get(name)
    if row is None:
        return False
    return end_of(one) in row.never or one.phase in NOT_IN.get(name, ())
