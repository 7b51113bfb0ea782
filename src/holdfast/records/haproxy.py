"""HAProxy: `option httplog` and `option tcplog`, with its termination states told in words.

The date is the request's arrival (httplog) or the connection's (tcplog), to the millisecond, without a zone unless the
format was changed. A timer of -1 was not reached. Source: HAProxy's configuration manual, chapter 8; lines of 2.6.
HAProxy notices a client that left when it next reads or writes there: while it waits for a silent server, the first to
fire may be `timeout server`, and the state then says `sD` where a client had hung up long before.
"""

from __future__ import annotations

import re

from holdfast.flight.endings import Mechanism, Side
from holdfast.records import times
from holdfast.records.sighting import Sighting, detail, ids_of, method_of, path_of, span, status_of, whole

_CLIENT = r"(?P<client>[0-9a-fA-F.:\[\]]{3,50}|unix):\d{1,7}"
_DATE = r"\[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d(?:\.\d{1,6})?(?: [+-]\d{4})?)\]"
_HTTP = re.compile(
    rf"{_CLIENT} {_DATE} (?P<front>\S{{1,100}}) (?P<back>[^\s/]{{1,100}})/(?P<server>\S{{1,100}}) "
    r"(?P<timers>-?\d+/-?\d+/-?\d+/-?\d+/\+?-?\d+) (?P<status>-?\d{1,3}) \+?(?P<sent>\d+) \S+ \S+ "
    r"(?P<state>[A-Za-z-]{2}[A-Za-z-]{2}) \+?\d+/\d+/\d+/\d+/\+?\d+ \d+/\d+ (?P<rest>.*)"
)
_TCP = re.compile(
    rf"{_CLIENT} {_DATE} (?P<front>\S{{1,100}}) (?P<back>[^\s/]{{1,100}})/(?P<server>\S{{1,100}}) "
    r"(?P<timers>-?\d+/-?\d+/\+?-?\d+) \+?(?P<sent>\d+) (?P<state>[A-Za-z-]{2}) \+?\d+/\d+/\d+/\d+/\+?\d+ \d+/\d+"
)
_REQUEST = re.compile(r"\"(?P<method>[A-Z]{3,10}) (?P<target>[^\s\"]{1,8000})")

_WHO: dict[str, tuple[Side, Mechanism | None, str]] = {
    "C": (Side.CLIENT, None, "its client broke the connection off"),
    "S": (Side.PROVIDER, None, "its server broke the connection off or refused it"),
    "P": (Side.PATH, Mechanism.CANCELLED, "it ended the session itself (a rule, a limit, or an invalid message)"),
    "L": (Side.PATH, None, "it answered by itself"),
    "R": (Side.PATH, Mechanism.LOCAL_ERROR, "it was out of memory, sockets or ports"),
    "I": (Side.PATH, Mechanism.LOCAL_ERROR, "it had an error of its own"),
    "D": (Side.PATH, Mechanism.CANCELLED, "it dropped the session because the server was marked down"),
    "U": (Side.PATH, Mechanism.CANCELLED, "it dropped the session because a main server was up again"),
    "K": (Side.PATH, Mechanism.CANCELLED, "its administrator ended the session"),
    "c": (Side.PATH, Mechanism.DEADLINE, "its own limit for its client ran out (timeout client)"),
    "s": (Side.PATH, Mechanism.DEADLINE, "its own limit for its server ran out (timeout server, or connect)"),
}  # fmt: skip
_WHEN = {
    "R": "while it waited for a whole request",
    "Q": "while the request was queued",
    "C": "while it connected to its server",
    "H": "while it waited for the answer's headers",
    "D": "while data was flowing",
    "L": "while the last data went to its client",
    "T": "while it held the client back (tarpit)",
}


def state_told(state: str) -> tuple[Side | None, Mechanism | None, str]:
    """`CD--` in words: who ended it, how, and a sentence that begins with the state."""
    first, second = state[:1], state[1:2]
    if first == "-":
        return Side.NOBODY, Mechanism.COMPLETED, f"{state[:2]}: both sides ended it in order"
    side, mechanism, words = _WHO.get(first, (None, None, "a state that is not known"))
    when = _WHEN.get(second, "")
    return side, mechanism, f"{state[:2]}: {words}" + (f", {when}" if when else "")


class Lines:
    """httplog and tcplog lines, whatever syslog put in front of them."""

    name = "HAProxy"

    def line(self, text: str, number_: int) -> list[Sighting] | None:
        """One line; None where it is not of this format."""
        found = _HTTP.search(text[:9000]) or _TCP.search(text[:9000])
        if not found:
            return [] if re.match(r"Connect from \S+ to \S+ \(", text) else None
        stamp = times.clf(found["time"])
        if not stamp:
            return None
        parts = found.groupdict()
        rest = parts.get("rest") or ""
        request = _REQUEST.search(rest)
        timer = found["timers"].rsplit("/", 1)[1]
        took = whole(timer.lstrip("+"))
        side, mechanism, says = state_told(found["state"])
        status = status_of(parts.get("status"))
        if timer.startswith("+"):  # `option logasap`: written before the end
            side, mechanism, says = None, None, "written before the end (logasap)"
        if status is not None and side is Side.NOBODY and status >= 400:
            mechanism, says = Mechanism.HTTP_ERROR, f"answered {status}, {says}"
        elif status is not None:
            says = f"{status}, {says}"
        when = span(stamp.at_s, None, took / 1000 if took is not None and timer[0] != "+" else None)
        return [
            Sighting(
                program=self.name,
                line=number_,
                says=f"{says} [{detail(found['back'], 40)}/{detail(found['server'], 40)}]",
                began_s=when.began_s,
                ended_s=when.ended_s,
                took_s=when.took_s,
                precision_s=stamp.precision_s,
                zone_known=stamp.zone_known,
                method=method_of(request["method"]) if request else "",
                path=path_of(request["target"]) if request else "",
                status=status,
                ids=ids_of(rest),
                sent_bytes=whole(found["sent"]),
                side=side,
                mechanism=mechanism,
            )
        ]

    def end(self) -> list[Sighting]:
        """Nothing is kept from line to line."""
        return []
