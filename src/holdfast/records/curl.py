"""`curl -v` as pasted from a terminal: the exchange, how it ended in curl's words, and its times where it wrote them.

Times come from `--trace-time`, else from the answer's `date` header (that server's clock, to the second).
Header values are not kept, but for ids and the date. Source: curl's manual, its list of exit codes, traces of 7.88.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.flight.endings import Mechanism, Side
from holdfast.records import times
from holdfast.records.sighting import (
    Sighting,
    Vantage,
    detail,
    host_of,
    ids_of,
    method_of,
    number,
    path_of,
    span,
    status_of,
)

_STAMPED = re.compile(r"(?P<time>(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\.\d{1,6}) (?P<rest>.*)", re.DOTALL)
_SIGN = re.compile(r"[*<>{}] |[*<>{}]$|curl: \(\d{1,3}\) |[=<>*] Info|(?:=>|<=) (?:Send|Recv) ")
_SENT = re.compile(r"> (?P<method>[A-Z]{3,10}) (?P<target>\S{1,4000}) HTTP/")
_HOST = re.compile(r"> host: (?P<host>\S{1,200})", re.IGNORECASE)
_STATUS = re.compile(r"< HTTP/[\d.]{1,3} (?P<status>\d{3})")
_NAMED_ID = re.compile(
    r"< (?P<name>request-id|x-request-id|cf-ray|holdfast-turn): (?P<value>\S{1,100})", re.IGNORECASE
)
_DATE = re.compile(r"< date: (?P<date>.{10,40})", re.IGNORECASE)
_FAILED = re.compile(r"curl: \((?P<code>\d{1,3})\) (?P<words>.{0,300})")
_TIMED_OUT = re.compile(r"after (?P<ms>\d{1,9}) (?:milliseconds|ms)")
_TOTAL = re.compile(r"(?:time_total|total)[\"']?\s*[:=]\s*(?P<s>\d{1,7}\.\d{1,6})", re.IGNORECASE)
_LEFT = re.compile(r"\* Connection #\d+ to host \S+ left intact")
_CLOSED = re.compile(r"\* (?:Closing connection|shutting down connection)", re.IGNORECASE)

CODES: dict[int, tuple[Side | None, Mechanism | None, str]] = {
    5: (Side.PATH, Mechanism.DNS, "the proxy's name could not be resolved"),
    6: (Side.PATH, Mechanism.DNS, "the name could not be resolved"),
    7: (Side.PROVIDER, Mechanism.REFUSED, "no connection could be made"),
    16: (Side.PROVIDER, Mechanism.MALFORMED, "HTTP/2 failed"),
    18: (Side.PROVIDER, Mechanism.FIN, "the answer was shorter than announced, or its last chunk was missing"),
    22: (Side.NOBODY, Mechanism.HTTP_ERROR, "the answer was an error status"),
    28: (Side.CLIENT, Mechanism.DEADLINE, "curl's own limit ran out"),
    35: (Side.PROVIDER, Mechanism.TLS, "the TLS handshake failed"),
    52: (Side.PROVIDER, Mechanism.FIN, "the connection was closed without an answer"),
    55: (Side.PROVIDER, None, "sending failed"),
    56: (Side.PROVIDER, None, "receiving failed"),
    60: (Side.PROVIDER, Mechanism.TLS, "the certificate was not trusted"),
    92: (Side.PROVIDER, Mechanism.RST, "the HTTP/2 stream was reset or not ended in order"),
    95: (Side.PROVIDER, None, "the HTTP/3 connection failed"),
    97: (Side.PATH, Mechanism.PROXY, "the proxy refused"),
}  # fmt: skip


@dataclass(slots=True)
class _Exchange:
    line: int
    method: str = ""
    path: str = ""
    host: str = ""
    status: int | None = None
    ids: tuple[str, ...] = ()
    began: times.Stamp | None = None
    ended: times.Stamp | None = None
    date: times.Stamp | None = None
    took_s: float | None = None
    code: int = 0
    words: str = ""
    over: bool = False


class Lines:
    """The lines of one or more traces; a sighting per request."""

    name = "curl"

    def __init__(self, near_s: float = 0.0) -> None:
        self._near_s = near_s
        self._now: _Exchange | None = None
        self._last: list[float] = []

    def line(self, text: str, number_: int) -> list[Sighting] | None:
        """One line; None where it is none of curl's. The answer's body is understood and passed by."""
        stamp, bare = self._stamped(text)
        if not _SIGN.match(bare) and not _TOTAL.search(bare):
            return None if self._now is None or times.leading(text, self._near_s) else []
        told: list[Sighting] = []
        sent = _SENT.match(bare)
        if sent:
            told = self.end()
            self._now = _Exchange(number_, method_of(sent["method"]), path_of(sent["target"]), began=stamp)
        elif _FAILED.match(bare) and self._now is None:
            self._now = _Exchange(number_)
        if self._now is not None:
            self._read(self._now, bare)
            self._now.ended = stamp or self._now.ended
        return told

    def _stamped(self, text: str) -> tuple[times.Stamp | None, str]:
        found = _STAMPED.match(text)
        if not found:
            return None, text
        stamp = times.iso(found["time"]) or times.clock(found["time"], self._near_s)
        if stamp and not stamp.dated:
            stamp = stamp._replace(at_s=times.rolled(stamp.at_s, self._last))
            self._last = [stamp.at_s]
        return stamp, found["rest"]

    def _read(self, now: _Exchange, bare: str) -> None:
        if found := _HOST.match(bare):
            now.host = host_of(found["host"])
        elif found := _STATUS.match(bare):
            now.status = status_of(found["status"])
        elif found := _DATE.match(bare):
            now.date = times.http_date(found["date"])
        elif found := _NAMED_ID.match(bare):
            now.ids += ids_of(found["value"])
        elif found := _FAILED.match(bare):
            now.code, now.words = int(found["code"]), detail(found["words"], 120)
            if limit := _TIMED_OUT.search(found["words"]):
                now.took_s = int(limit["ms"]) / 1000
        elif _LEFT.match(bare) or _CLOSED.match(bare):
            now.over = True
        if found := _TOTAL.search(bare):
            now.took_s = number(found["s"])

    def end(self) -> list[Sighting]:
        """The exchange under way."""
        now, self._now = self._now, None
        if now is None:
            return []
        side: Side | None
        mechanism: Mechanism | None
        if now.code:
            side, mechanism, words = CODES.get(now.code, (None, None, "it failed"))
            low = now.words.lower()
            if mechanism is None and "reset" in low:
                mechanism = Mechanism.RST
            elif now.code == 28 and "connect" in low:
                side, mechanism = Side.PATH, Mechanism.KEEPALIVE_UNANSWERED
            says = f"curl's error {now.code}: {words}" + (f" ({now.words})" if now.words else "")
        elif now.over:
            side, mechanism, says = (
                Side.NOBODY,
                Mechanism.COMPLETED,
                f"answered {now.status or '?'}, to its end",
            )
        else:
            side, mechanism, says = (
                None,
                None,
                f"answered {now.status or 'nothing yet'}; the trace shows no end",
            )
        stamp = now.began or now.date
        when = span(stamp.at_s if stamp else None, now.ended.at_s if now.ended else None, now.took_s)
        return [
            Sighting(
                program="curl",
                line=now.line,
                says=says,
                began_s=when.began_s,
                ended_s=when.ended_s,
                took_s=when.took_s,
                precision_s=stamp.precision_s if stamp else 1.0,
                zone_known=stamp.zone_known if stamp else False,
                dated=stamp.dated if stamp else True,
                vantage=Vantage.CLIENT,
                method=now.method,
                path=now.path,
                host=now.host,
                status=now.status,
                ids=now.ids,
                side=side,
                mechanism=mechanism,
            )
        ]
