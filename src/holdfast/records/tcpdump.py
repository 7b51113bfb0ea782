"""tcpdump's text, one line per packet: connections with who sent the first FIN or RST.

Which end is the client: the one that sent the first SYN; else the one with the higher port.
Source: tcpdump's manual, OUTPUT FORMAT, TCP packets. Binary captures are read elsewhere, and better.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field

from holdfast.flight.endings import Mechanism, Side
from holdfast.flight.flights import duration, size
from holdfast.records import times
from holdfast.records.sighting import Sighting

MOST_CONNECTIONS = 2000

_PACKET = re.compile(
    r"(?:(?:\S{1,16} +(?:In|Out|B|M|P) +))?IP6? (?P<a>[0-9A-Za-z.:_-]{1,100})\.(?P<ap>[a-z0-9-]{1,20}) > "
    r"(?P<b>[0-9A-Za-z.:_-]{1,100})\.(?P<bp>[a-z0-9-]{1,20}): Flags \[(?P<flags>[SFRPUWEe.]{0,8}|none)\]"
    r"(?P<rest>.{0,500})"
)
_LENGTH = re.compile(r"length (\d{1,7})")

End = tuple[str, str]


@dataclass(slots=True)
class _Connection:
    client: End
    server: End
    began: times.Stamp
    line: int
    at_s: float
    last_s: float
    whole: bool
    "Whether its SYN was seen."
    sent: dict[End, int] = field(default_factory=dict)


class Lines:
    """Packet lines; a sighting for each connection that was ended, or was open at the end."""

    name = "tcpdump"

    def __init__(self, near_s: float = 0.0) -> None:
        self._near_s = near_s
        self._open: OrderedDict[frozenset[End], _Connection] = OrderedDict()
        self._done: OrderedDict[frozenset[End], None] = OrderedDict()
        self._last: list[float] = []

    def line(self, text: str, number: int) -> list[Sighting] | None:
        """One line; None where it is no TCP packet."""
        found = times.leading(text, self._near_s)
        packet = found and _PACKET.match(text[found[1] :])
        if not found or not packet:
            return (
                []
                if re.match(r"(?:tcpdump: |listening on |\d+ packets? )|^\s+0x[0-9a-f]{4}:", text)
                else None
            )
        stamp = found[0]
        at_s = stamp.at_s if stamp.dated else times.rolled(stamp.at_s, self._last)
        self._last = [at_s]
        source, target = (packet["a"], packet["ap"]), (packet["b"], packet["bp"])
        flags, key = packet["flags"], frozenset((source, target))
        opening = "S" in flags and "." not in flags
        if opening:
            self._done.pop(key, None)
            self._open.pop(key, None)
        elif key in self._done:
            return []  # what still flies after the end
        here = self._open.get(key)
        if here is None:
            # `SYN` goes to the server, `SYN, ACK` comes from it; of a connection met midway the lower port serves.
            client_first = opening or ("S" not in flags and _port(source[1]) >= _port(target[1]))
            client, server = (source, target) if client_first else (target, source)
            here = _Connection(client, server, stamp, number, at_s, at_s, "S" in flags)
            self._open[key] = here
        told: list[Sighting] = []
        if len(self._open) > MOST_CONNECTIONS:
            told.append(_open_still(self._open.popitem(last=False)[1]))
        silent_s, here.last_s = at_s - here.last_s, at_s
        length = _LENGTH.search(packet["rest"])
        here.sent[source] = here.sent.get(source, 0) + (int(length[1]) if length else 0)
        if "R" in flags or "F" in flags:
            self._open.pop(key, None)
            self._done[key] = None
            if len(self._done) > MOST_CONNECTIONS:
                self._done.popitem(last=False)
            told.append(_ended(here, source, "R" in flags, silent_s, at_s, number))
        return told

    def end(self) -> list[Sighting]:
        """The connections that were open when the text ended."""
        told = [_open_still(one) for one in self._open.values()]
        self._open.clear()
        return told


def _port(port: str) -> int:
    return int(port) if port.isdigit() else 0


def _told(one: _Connection, says: str, line: int, ended_s: float | None, **more: object) -> Sighting:
    return Sighting(
        program="tcpdump",
        line=line,
        says=says,
        began_s=one.at_s if one.whole else None,
        ended_s=ended_s,
        took_s=ended_s - one.at_s if one.whole and ended_s is not None else None,
        precision_s=one.began.precision_s,
        zone_known=one.began.zone_known,
        dated=one.began.dated,
        sent_bytes=one.sent.get(one.server),
        received_bytes=one.sent.get(one.client),
        **more,  # type: ignore[arg-type]
    )


def _ended(one: _Connection, by: End, reset: bool, silent_s: float, at_s: float, line: int) -> Sighting:
    client = by == one.client
    deed = "reset (RST)" if reset else "closed (FIN)"
    who = "the client's end" if client else "the server's end"
    quiet = f", after {duration(silent_s)} without a packet" if silent_s >= 1 else ""
    return _told(
        one,
        f"{who}, {'.'.join(by)}, {deed} the connection to {'.'.join(one.server if client else one.client)} first{quiet}; "
        f"{size(one.sent.get(one.server, 0))} had come from the server",
        line,
        at_s,
        side=Side.CLIENT if client else Side.PROVIDER,
        mechanism=Mechanism.RST if reset else Mechanism.FIN,
    )


def _open_still(one: _Connection) -> Sighting:
    return _told(
        one,
        f"the connection {'.'.join(one.client)} > {'.'.join(one.server)} was open where the text ends",
        one.line,
        None,
    )
