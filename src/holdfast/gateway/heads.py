"""Heads that came before.

A client sends one head with every request of a session, but for the length of the body behind it, and behind a gateway
it adds no id of the request's own (reference clients.md). So a head is parsed and checked when it comes first, and
recognised by its bytes from then on; what was made of it comes with it.

Two readers must not understand a request differently. Hence a head is only recognised where the parser has taken the
same bytes before, with other digits as its one content-length; and it is only remembered where it is written the plain
way, so that its bytes follow from what the parser said of it. All others are the parser's business each time.

Heads hold credentials, so they do not stay: only what came twice is remembered, and what did not come for one or two
minutes is forgotten. So whoever writes something of its own into every head costs a number for each.
"""

from __future__ import annotations

from typing import Final

from holdfast.gateway.guard import Head

FORGET_S: Final = 60.0
"How often what did not come since the last time is forgotten."
KNOWN_MOST: Final = 256
ONCE_MOST: Final = 4096
LONGEST: Final = 8 * 1024
"Bytes of a head that is remembered."
_LENGTHS: Final = (b"\r\ncontent-length: ", b"\r\nContent-Length: ")
"As clients spell it."
_DIGITS_MOST: Final = 12


Found = tuple[Head, int, int]
"A known head at the beginning of what was read, the length of the body behind it, and where that begins."
_Parted = tuple[bytes, int, int]
"A whole head less the digits that say how long its body is, what they say, and where the body begins."


class Heads:
    """The heads of all clients that came lately."""

    __slots__ = ("_before", "_forget_at", "_lately", "_once")

    def __init__(self) -> None:
        self._lately: dict[bytes, Head] = {}
        "By its bytes, less the digits of its length and the empty line."
        self._before: dict[bytes, Head] = {}
        "Those that came in the minute before, and not since."
        self._once: set[int] = set()
        "The hashes of those that came once."
        self._forget_at = 0.0

    def __repr__(self) -> str:
        return f"<Heads {len(self._lately)} of late, {len(self._before)} of before>"

    def find(self, data: bytes) -> Found | None:
        """The known head that `data` begins with; None where it has to be parsed."""
        parted = _parted(data)
        if parted is None:
            return None
        key, length, body_at = parted
        head = self._lately.get(key)
        if head is None:
            head = self._before.pop(key, None)
            if head is None:
                return None
            self._lately[key] = head
        return head, length, body_at

    def remember(self, data: bytes, head: Head) -> None:
        """`data` begins with this head, as the parser read it; the connection is kept for another request."""
        parted = _parted(data)
        if parted is None:
            return
        key, _, body_at = parted
        if body_at > LONGEST:
            return
        mark = hash(key)
        if mark not in self._once:
            if len(self._once) >= ONCE_MOST:
                self._once.clear()
            self._once.add(mark)
        elif data[:body_at] == _written(head):
            if len(self._lately) >= KNOWN_MOST:
                self._before, self._lately = self._lately, {}
            self._lately[key] = head

    def forget_old(self, now: float) -> None:
        """Call it now and then."""
        if now >= self._forget_at:
            self._forget_at = now + FORGET_S
            self._once.clear()
            self._before, self._lately = self._lately, {}


def _parted(data: bytes) -> _Parted | None:
    """Of a whole head that says how long its body is; None where there is no such head."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    for name in _LENGTHS:
        at = data.find(name, 0, end)
        if at >= 0:
            at += len(name)
            till = data.index(b"\r\n", at)
            digits = data[at:till]
            if not digits.isdigit() or len(digits) > _DIGITS_MOST:
                return None
            return data[:at] + data[till:end], int(digits), end + 4
    return None


def _written(head: Head) -> bytes:
    """A head written the plain way."""
    line = b"%b %b HTTP/%b" % (head.method, head.target, head.version.encode())
    fields = zip(head.fields.names.spelled, head.fields.values, strict=True)
    return b"\r\n".join([line, *map(b": ".join, fields), b"", b""])
