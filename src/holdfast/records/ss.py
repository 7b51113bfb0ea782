"""`ss -ti`: what the kernel knew about open connections, as pasted. A state, not an event, and without a time."""

from __future__ import annotations

import re

from holdfast.flight.flights import counted, duration, size
from holdfast.records.sighting import Sighting

_STATES = r"(?:ESTAB|SYN-SENT|SYN-RECV|FIN-WAIT-[12]|TIME-WAIT|CLOSE-WAIT|LAST-ACK|CLOSING|UNCONN|CLOSED)"
_SOCKET = re.compile(
    rf"(?:tcp +)?(?P<state>{_STATES}) +(?P<recv>\d{{1,12}}) +(?P<send>\d{{1,12}}) +"
    r"(?P<local>[\w.:*%\[\]-]{1,60}:[\w*-]{1,10}) +(?P<peer>[\w.:*%\[\]-]{1,60}:[\w*-]{1,10})"
)
_HEADING = re.compile(r"(?:Netid +)?State +Recv-Q +Send-Q")
_TCP_INFO = re.compile(r"\s+\S.{0,40}(?:cubic|bbr|reno|rto:|wscale:)")
_FIELD = re.compile(
    r"\b(lastsnd|lastrcv|lastack|unacked|backoff|bytes_acked|bytes_received):(\d{1,15})|retrans:(\d+)/(\d+)"
)
_WORDS = {
    "CLOSE-WAIT": "the other end has closed, this one has not",
    "FIN-WAIT-1": "this end has closed, and that was not acknowledged",
    "FIN-WAIT-2": "this end has closed, the other has not",
    "SYN-SENT": "it is still connecting",
}


class Lines:
    """The socket lines and the indented line that follows each."""

    name = "ss"

    def __init__(self) -> None:
        self._socket: tuple[int, re.Match[str]] | None = None

    def line(self, text: str, number: int) -> list[Sighting] | None:
        """One line; None where it is none of ss's."""
        found = _SOCKET.match(text.strip()[:1000])
        if found:
            told = self.end()
            self._socket = (number, found)
            return told
        if self._socket is not None and _TCP_INFO.match(text[:2000]):
            told = [_told(*self._socket, text[:4000])]
            self._socket = None
            return told
        return [] if _HEADING.match(text) else None

    def end(self) -> list[Sighting]:
        """A socket line that nothing followed."""
        told = [_told(*self._socket, "")] if self._socket else []
        self._socket = None
        return told


def _told(number: int, found: re.Match[str], info: str) -> Sighting:
    values: dict[str, int] = {}
    for name, value, in_flight, in_all in _FIELD.findall(info):
        if name:
            values[name] = int(value)
        else:
            values |= {"retrans": int(in_flight), "retransmitted": int(in_all)}
    parts = [f"{found['state']} between {found['local']} and {found['peer']}"]
    if found["state"] in _WORDS:
        parts.append(_WORDS[found["state"]])
    if "lastrcv" in values:
        parts.append(f"nothing received for {duration(values['lastrcv'] / 1000)}")
    if "lastsnd" in values:
        parts.append(f"nothing sent for {duration(values['lastsnd'] / 1000)}")
    if int(found["recv"]):
        parts.append(f"{size(int(found['recv']))} wait to be read by the program")
    if int(found["send"]):
        parts.append(f"{size(int(found['send']))} wait to be acknowledged by the other end")
    if values.get("retrans"):
        parts.append(f"{counted(values['retrans'], 'segment')} being sent again")
    elif values.get("retransmitted"):
        parts.append(f"{counted(values['retransmitted'], 'segment')} sent again in its life")
    return Sighting(
        program="ss",
        line=number,
        says=", ".join(parts),
        sent_bytes=values.get("bytes_acked"),
        received_bytes=values.get("bytes_received"),
    )
