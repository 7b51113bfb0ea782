"""What programs say in plain words when a connection ends: a table of phrases, for plain log lines and error fields.

The first phrase that fits counts. A phrase that names no one (`ECONNRESET`) gives the mechanism and no side.
"""

from __future__ import annotations

from holdfast.flight.endings import Mechanism, Side
from holdfast.records.sighting import phrases

_TABLE: tuple[tuple[str, Side | None, Mechanism | None, str], ...] = (
    (r"onabort|client (?:has )?(?:disconnect|abort|cancel|clos|hung up|reset|went away|gone|left)"
     r"|clientdisconnect|disconnected client|request (?:was )?(?:aborted|cancell?ed) by (?:the )?(?:client|user)"
     r"|context cancell?ed|aborting with incomplete response|client connection (?:lost|closed)",
     Side.CLIENT, None, "its client left"),
    (r"upstream (?:prematurely )?(?:closed|disconnect|reset|connection (?:lost|closed|reset))|server disconnected"
     r"|upstream connect error|peer closed connection without|incomplete chunked read",
     Side.PROVIDER, None, "its upstream ended the connection"),
    (r"stream idle timeout|response stalled|stopped arriving", Side.PATH, Mechanism.DEADLINE,
     "its own limit for silence ran out"),
    (r"upstream timed? ?out|gateway time-?out|deadline exceeded|operation timed out|request timed out|read timeout"
     r"|timeout awaiting|headers timeout|body timeout|und_err_(?:headers|body)_timeout", Side.PATH,
     Mechanism.DEADLINE, "a limit of its own ran out"),
    (r"etimedout|connection timed out", None, Mechanism.KEEPALIVE_UNANSWERED, "the connection gave no sign of life"),
    (r"econnrefused|connection refused", Side.PROVIDER, Mechanism.REFUSED, "its upstream refused the connection"),
    (r"enotfound|eai_again|could not resolve|name or service not known|getaddrinfo", Side.PATH, Mechanism.DNS,
     "a name could not be resolved"),
    (r"ehostunreach|enetunreach|network is unreachable|no route to host", Side.PATH, Mechanism.UNREACHABLE,
     "there was no way to its upstream"),
    (r"certificate|tls handshake|ssl_?error|unable to verify", Side.PROVIDER, Mechanism.TLS, "TLS failed"),
    (r"econnreset|connection reset|reset by peer|net::err_connection_reset", None, Mechanism.RST,
     "the connection was reset"),
    (r"epipe|broken pipe", None, None, "the other end was gone when it went on writing"),
    (r"net::err_(?:empty_response|connection_closed)|socket hang up|other side closed|und_err_socket"
     r"|socket connection was closed|closed unexpectedly|unexpected eof|premature close|terminated early"
     r"|connection (?:was )?(?:closed|lost)|connection error|fetch failed",
     None, None, "the connection was closed"),
    (r"net::err_aborted|aborterror|\baborted\b|\babort(?:ing)? (?:the )?(?:stream|request)|stream (?:was )?aborted"
     r"|cancell?ed", None, None, "it was broken off"),
    (r"overloaded_error|\boverloaded\b", Side.PROVIDER, Mechanism.HTTP_ERROR, "its upstream was overloaded"),
)  # fmt: skip
_PHRASES = phrases(_TABLE)


def told(text: str) -> tuple[Side | None, Mechanism | None, str] | None:
    """Who ended a connection and how, if these words say it ended; None if they say nothing of the kind."""
    low = text[:2000].lower()
    for pattern, side, mechanism, words in _PHRASES:
        if pattern.search(low):
            if mechanism is None and (
                "econnreset" in low or "reset by peer" in low or "reset" in low.split()
            ):
                mechanism = Mechanism.RST
            return side, mechanism, words
    return None
