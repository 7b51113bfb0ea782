"""Packets with their secrets overwritten, before anything of them is written down.

A credential in a plain connection may be split anywhere: between packets, sent twice, in overlapping pieces, out of
order. So each direction is followed like a receiver does, and every byte is judged at its place in the stream, once:
what comes again is replaced by what was decided the first time. What cannot be judged is overwritten: bytes behind a
hole, bytes whose direction was joined in the middle, a request line that is not whole in its packet.

Kept of HTTP/1.1: method, target without query values and token-like segments, status, header names, the values of
headers that are known to be harmless, the bodies of event streams. Everything else is `x`, in its length: the request's
body (a prompt may not outlive its turn), other bodies, every other header's value. Of HTTP/2 in the clear: frames'
heads and what ends streams. TLS stays as it is.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from holdfast.captures.files import Packet
from holdfast.captures.layers import ACK, SYN, Seen, segments, turned
from holdfast.flight.redact import ORDINARY_SEGMENT, looks_random

FILLER: Final = b"x"
HISTORY: Final = 64 * 1024
"Bytes of each direction, as decided, for what is sent again; older ones are overwritten."
MOST_FLOWS: Final = 512
MOST_HELD: Final = 256
"Packets that wait for those before them."
HELD_NS: Final = 1_000_000_000
MOST_SECRETS, SHORTEST_SECRET, LONGEST_SECRET = 64, 8, 2048

_MASK, _HALF = 0xFFFFFFFF, 0x80000000

HARMLESS: Final = re.compile(
    rb"(?i)(?:accept(?:-[a-z]+)?|age|allow|alt-svc|cache-control|connection|content-(?:type|length|encoding|language)"
    rb"|date|etag|expect|expires|host|keep-alive|last-modified|max-forwards|pragma|proxy-connection|retry-after|server"
    rb"|te|trailer|transfer-encoding|upgrade|user-agent|vary|via|x-accel-[a-z]+|x-app|x-should-retry|x-cache"
    rb"|x-stainless-[a-z-]+|x-envoy-[a-z-]+|anthropic-(?:version|beta|ratelimit-[a-z-]+|dangerous-direct-browser-access)"
    rb"|(?:x-)?request-id|x-client-request-id|cf-ray|cf-cache-status|x-amzn-requestid|holdfast-turn"
    rb"|x-claude-code-(?:session|agent|parent-agent)-id|sec-fetch-[a-z]+)"
)
"Headers whose value is shown. Whoever adds a name answers for it: every other value is overwritten."
_READ: Final = (b"content-length", b"transfer-encoding", b"content-type", b"content-encoding")


def _filled(data: bytes) -> bytes:
    """As long, with line ends kept."""
    if b"\r" not in data and b"\n" not in data:
        return FILLER * len(data)
    return re.sub(rb"[^\r\n]", FILLER, data)


class Secrets:
    """Credentials that were seen in heads, to be overwritten wherever they are repeated. In memory only."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self.longest = 0

    def learn(self, value: bytes) -> None:
        """Take a masked header's value: as a whole, without its scheme, and each of its cookies."""
        value = value.strip()
        found = {value, value.rpartition(b" ")[2]}
        found |= {part.partition(b"=")[2].strip() for part in value.split(b";")}
        for one in found:
            if SHORTEST_SECRET <= len(one) <= LONGEST_SECRET:
                self._known[one] = None
                self._known.move_to_end(one)
                self.longest = max(self.longest, len(one))
        while len(self._known) > MOST_SECRETS:
            self._known.popitem(last=False)

    def hide(self, before: bytes, data: bytes) -> bytes:
        """`data` with every known secret overwritten, also where it began in `before` or may go on behind."""
        if not self._known:
            return data
        hay, start, out = before + data, len(before), None
        for secret in self._known:
            at = hay.find(secret)
            spans = []
            while at >= 0:
                spans.append((at, at + len(secret)))
                at = hay.find(secret, at + 1)
            for size in range(min(len(secret) - 1, len(hay)), 0, -1):
                if hay.endswith(secret[:size]):
                    spans.append((len(hay) - size, len(hay)))
                    break
            for begin, end in spans:
                if end > start:
                    out = out if out is not None else bytearray(data)
                    begin = max(begin, start)
                    out[begin - start : end - start] = FILLER * (end - begin)
        return bytes(out) if out is not None else data


def masked_target(target: bytes) -> bytes:
    """A request's target, as long: no login, no query values, no path segment that may be a token."""
    path, mark, query = target.partition(b"?")
    scheme, slashes, rest = path.partition(b"://")
    if not slashes and b"@" in path.partition(b"/")[0]:  # CONNECT, by somebody who puts a login there
        scheme, slashes, rest = b"", b"", path
    if slashes or b"@" in rest:
        authority, slash, tail = rest.partition(b"/")
        login, at, host = authority.rpartition(b"@")
        path = scheme + slashes + FILLER * len(login) + at + host + slash + _segments(tail)
    else:
        path = _segments(path)
    pairs = []
    for pair in query.split(b"&"):
        name, equals, value = pair.partition(b"=")
        pairs.append(name + equals + FILLER * len(value) if equals else FILLER * len(pair))
    return path + mark + b"&".join(pairs)


def _segments(path: bytes) -> bytes:
    return b"/".join(
        FILLER * len(part) if len(part) > ORDINARY_SEGMENT or looks_random(part.decode("latin-1")) else part
        for part in path.split(b"/")
    )


_REQUEST_LINE = re.compile(rb"([A-Z]{2,16}) (\S+) (HTTP/[12]\.[0-9])(\r?\n)")
_METHOD = re.compile(rb"[A-Z]{2,16} ")
_METHOD_BEGUN = re.compile(rb"[A-Z]{1,16}\Z")
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_RESPONSE = b"HTTP/1."
_STATUS = re.compile(rb"HTTP/1\.[01] (\d\d\d)")
_EVENTS_BEGIN = re.compile(rb"[0-9a-fA-F]{1,6}\r\n(?:data|event): ")
_KEY = re.compile(
    rb"(?:sk-(?:ant|proj|or|svcacct)-|[sr]k_live_|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|AIza|AKIA|ya29\.|eyJ|Bearer )"
    rb"[\w.~+/=-]*"
)
"What is a key by its first letters, whoever says it: some providers repeat the one they refuse."
_KEY_GOES_ON = re.compile(rb"[\w.~+/=-]+")
_TLS_TYPES = range(20, 24)
_NAME_END = re.compile(rb"[:\n]")
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}")


@dataclass(slots=True)
class Shared:
    """What both directions of a flow must know of each other."""

    tls: bool = False
    h2: bool = False


class StreamMask:
    """One direction, byte for byte in its order: what may be written of it. Always as long as what came."""

    def __init__(self, *, request: bool, joined: bool, secrets: Secrets, shared: Shared) -> None:
        """`joined`: its begin is not known, so nothing can be said of what comes before the next head."""
        self._request, self._secrets = request, secrets
        self.shared = shared
        self._state = "unknown" if joined else "start"
        self._line = bytearray()
        "What is known of a head's line so far, where it began in an earlier packet."
        self._show = False
        self._value = bytearray()
        self._name = b""
        self._facts: dict[bytes, bytes] = {}
        self._status = b""
        self._left = 0
        self._keep_body = False
        self._chunked = False
        self._before = b""
        "The last kept bytes of the body, as they were: a secret may begin there."
        self._in_key = False
        self._frame = bytearray()
        self._frame_kept = False

    def lost(self) -> None:
        """Bytes are missing here."""
        if self.shared.tls:
            return
        self._state, self._before = "unknown", b""

    def mask(self, data: bytes) -> bytes:
        """What may be written of the next bytes."""
        if self.shared.tls:
            return data
        out, at = bytearray(), 0
        if self._state == "unknown":
            self._recognise(data)
        while at < len(data):
            if self.shared.tls:
                out += data[at:]
                break
            took, shown = _STATES[self._state](self, data, at)
            out += shown
            at += took
        assert len(out) == len(data)
        return bytes(out)

    # -- what it is

    def _recognise(self, data: bytes) -> None:
        """A packet begins, and nothing is known of this direction: is there anything to go on at?"""
        if self.shared.h2:
            return
        if _whole_records(data):
            self.shared.tls = True
        elif self._request:
            if _REQUEST_LINE.match(data):
                self._state = "start"
        elif data.startswith(_RESPONSE):
            self._state = "start"
        elif _EVENTS_BEGIN.match(data):
            self._state, self._chunked, self._keep_body = "chunk size", True, True
            self._line.clear()
            self._before, self._in_key = b"", False

    # -- states: each takes bytes from `at` on, and returns how many and what may be shown of them

    def _unknown(self, data: bytes, at: int) -> tuple[int, bytes]:
        return len(data) - at, FILLER * (len(data) - at)

    def _events(self, data: bytes, at: int) -> tuple[int, bytes]:
        """An event stream until the close; or a HEAD's answer, and the next head comes at once."""
        edge = self._before[-6:]
        found = (edge + data[at:]).find(_RESPONSE)
        if found < 0:
            return len(data) - at, self._kept(data[at:])
        end = max(found - len(edge), 0)
        shown = self._kept(data[at : at + end])
        self._begin_head()
        if found < len(edge):  # it began in the packet before
            self._line += edge[found:]
            self._state = "status line"
        return end, shown

    def _begin_head(self) -> None:
        self._state = "start"
        self._line.clear()
        self._facts, self._status, self._before = {}, b"", b""

    # -- heads

    def _start(self, data: bytes, at: int) -> tuple[int, bytes]:
        first = data[at]
        if first in b"\r\n":
            return 1, data[at : at + 1]
        if first in _TLS_TYPES:
            self._state = "maybe TLS"
            return 1, data[at : at + 1]
        if self.shared.h2:
            self._state = "frame"
            return 0, b""
        self._facts, self._status, self._line = {}, b"", bytearray()
        if not self._request:
            self._state = "status line"
            return 0, b""
        if data.startswith(_PREFACE, at):
            self.shared.h2 = True
            self._state = "frame"
            return len(_PREFACE), _PREFACE
        whole = _REQUEST_LINE.match(data, at)
        if whole is not None:
            self._state = "name"
            method, target, version, end = whole.groups()
            return len(whole.group()), b" ".join((method, masked_target(target), version)) + end
        begun = _METHOD.match(data, at)
        if begun is None and not _METHOD_BEGUN.match(data, at):
            self._state = "unknown"
            return 0, b""
        self._state = "request line"
        return (len(begun.group()), begun.group()) if begun else (0, b"")

    def _maybe_tls(self, data: bytes, at: int) -> tuple[int, bytes]:
        if data[at] == 3:
            self.shared.tls = True
            return 1, data[at : at + 1]
        self._state = "unknown"
        return 0, b""

    def _request_line(self, data: bytes, at: int) -> tuple[int, bytes]:
        """A request line that is not whole in its packet: of its target nothing is shown."""
        end = data.find(b"\n", at)
        if end < 0:
            return len(data) - at, _filled(data[at:])
        self._state = "name"
        line = data[at : end + 1]
        version = re.search(rb" HTTP/1\.[01]\r?\n\Z", line)
        cut = version.start() if version else len(line)
        return len(line), _filled(line[:cut]) + line[cut:]

    def _status_line(self, data: bytes, at: int) -> tuple[int, bytes]:
        end = data.find(b"\n", at)
        line = data[at : end + 1] if end >= 0 else data[at:]
        self._line += line[:100]
        if not _RESPONSE.startswith(bytes(self._line[: len(_RESPONSE)])):
            self._state = "unknown"
            return 0, b""
        if end >= 0:
            status = _STATUS.match(self._line)
            self._status = status[1] if status else b""
            self._line.clear()
            self._state = "name"
        return len(line), line

    def _name_of(self, data: bytes, at: int) -> tuple[int, bytes]:
        """At a header's name, or at the head's end."""
        if not self._line and data[at] in b" \t":  # the last value goes on (RFC 9112, 5.2)
            self._state = "value"
            return 0, b""
        end = _NAME_END.search(data, at)
        part = data[at : end.end()] if end else data[at:]
        self._line += part[:200]
        if end is None:
            return len(part), part if len(self._line) < 100 else _filled(part)
        if end.group() == b"\n":
            blank = not self._line.strip()
            self._line.clear()
            if blank:
                self._end_head()
                return len(part), part
            return len(part), _filled(part)
        self._name = bytes(self._line[:-1]).strip().lower()
        shown = part if len(self._line) < 100 else _filled(part)
        self._line.clear()
        self._show = HARMLESS.fullmatch(self._name) is not None
        self._value.clear()
        self._state = "value"
        return len(part), shown

    def _value_of(self, data: bytes, at: int) -> tuple[int, bytes]:
        end = data.find(b"\n", at)
        part = data[at : end + 1] if end >= 0 else data[at:]
        if len(self._value) < LONGEST_SECRET + 200:
            self._value += part
        if end >= 0:
            value = bytes(self._value).strip()
            if not self._show:
                self._secrets.learn(value)
            elif self._name in _READ:
                self._facts[self._name] = value.lower()
            self._state = "name"
        return len(part), part if self._show else _filled(part)

    def _end_head(self) -> None:
        facts, status = self._facts, self._status
        kind, coding = facts.get(b"content-type", b""), facts.get(b"content-encoding", b"identity")
        length = facts.get(b"content-length", b"")
        self._chunked = b"chunked" in facts.get(b"transfer-encoding", b"")
        # One of known length might be the answer to a HEAD, which has none: then another head is where it should be.
        self._keep_body = (
            not self._request and b"event-stream" in kind and coding == b"identity" and not length
        )
        self._before = b""
        if (status[:1] == b"1" and status != b"101") or status in (b"101", b"204", b"304"):
            self._state = "start"
        elif self._chunked:
            self._state = "chunk size"
        elif length.isdigit() and len(length) < 16:
            self._left = int(length)
            self._state = "body" if self._left else "start"
        elif self._request:
            self._state = "start"
        else:
            # Until the close; or a HEAD's answer, or what follows CONNECT: then another head, or TLS, comes next.
            self._state = "open body"

    # -- bodies

    def _kept(self, data: bytes) -> bytes:
        shown = self._secrets.hide(self._before, data)
        hay, start = self._before + data, len(self._before)
        spans = [found.span() for found in _KEY.finditer(hay)]
        if self._in_key and (went_on := _KEY_GOES_ON.match(data)):
            spans.append((start, start + went_on.end()))
        self._in_key = any(end == len(hay) for _, end in spans) if data else self._in_key
        for begin, end in spans:
            if end > start:
                begin = max(begin - start, 0)
                shown = shown[:begin] + FILLER * (end - start - begin) + shown[end - start :]
        self._before = hay[-max(self._secrets.longest - 1, 16) :]
        return shown

    def _body(self, data: bytes, at: int) -> tuple[int, bytes]:
        if not self._request and not self._chunked and data.startswith(_RESPONSE, at):
            # The answer to a HEAD announces a body that never comes: this is the next head.
            self._begin_head()
            return 0, b""
        part = data[at : at + self._left]
        self._left -= len(part)
        if not self._left:
            self._state = "chunk end" if self._chunked else "start"
        return len(part), self._kept(part) if self._keep_body else FILLER * len(part)

    def _open_body(self, data: bytes, at: int) -> tuple[int, bytes]:
        if data[at] in _TLS_TYPES or data.startswith(_RESPONSE, at):
            self._state = "start"
            return 0, b""
        if self._keep_body:
            self._state = "events"
            return 0, b""
        self._state = "unknown"
        return 0, b""

    def _chunk_size(self, data: bytes, at: int) -> tuple[int, bytes]:
        end = data.find(b"\n", at)
        part = data[at : end + 1] if end >= 0 else data[at:]
        before = len(self._line)
        self._line += part[:64]
        digits = _CHUNK_SIZE.match(self._line)
        if digits is None or len(digits.group()) > 12:
            self._line.clear()
            self._state = "unknown"
            return 0, b""
        size = min(max(digits.end() - before, 0), len(part))  # an extension behind it is not shown
        if end >= 0:
            self._left = int(digits.group(), 16)
            self._line.clear()
            self._state = "body" if self._left else "name"
            if not self._left:
                self._facts, self._status = {}, b"204"  # behind the trailer comes the next head
        return len(part), part[:size] + _filled(part[size:])

    def _chunk_end(self, data: bytes, at: int) -> tuple[int, bytes]:
        if data[at] not in b"\r\n":
            self._state = "unknown"
            return 0, b""
        if data[at] == 10:
            self._state = "chunk size"
        return 1, data[at : at + 1]

    # -- HTTP/2

    def _frame_head(self, data: bytes, at: int) -> tuple[int, bytes]:
        part = data[at : at + 9 - len(self._frame)]
        self._frame += part
        if len(self._frame) == 9:
            kind = self._frame[3]
            self._left = int.from_bytes(self._frame[:3], "big")
            self._frame_kept = kind in (2, 3, 4, 6, 7, 8)
            self._frame.clear()
            self._state = "frame body" if self._left else "frame"
        return len(part), part

    def _frame_body(self, data: bytes, at: int) -> tuple[int, bytes]:
        part = data[at : at + self._left]
        self._left -= len(part)
        if not self._left:
            self._state = "frame"
        return len(part), part if self._frame_kept else FILLER * len(part)


_STATES: Final[dict[str, Callable[[StreamMask, bytes, int], tuple[int, bytes]]]] = {
    "unknown": StreamMask._unknown,
    "events": StreamMask._events,
    "start": StreamMask._start,
    "maybe TLS": StreamMask._maybe_tls,
    "request line": StreamMask._request_line,
    "status line": StreamMask._status_line,
    "name": StreamMask._name_of,
    "value": StreamMask._value_of,
    "body": StreamMask._body,
    "open body": StreamMask._open_body,
    "chunk size": StreamMask._chunk_size,
    "chunk end": StreamMask._chunk_end,
    "frame": StreamMask._frame_head,
    "frame body": StreamMask._frame_body,
}


def _whole_records(data: bytes) -> bool:
    """Whether a packet's payload is TLS records, one behind the other, to its last byte."""
    at = 0
    while at + 5 <= len(data) and data[at] in _TLS_TYPES and data[at + 1] == 3 and data[at + 2] <= 4:
        at += 5 + int.from_bytes(data[at + 3 : at + 5], "big")
    return at > 0 and at == len(data)


# ----- packets


@dataclass(slots=True)
class Ready:
    """A packet that may be written."""

    at_ns: int
    link_type: int
    data: bytes
    original: int


@dataclass(slots=True, eq=False)
class _Waiting:
    packet: Ready
    seq: int
    header: int
    "Where the TCP header begins, and where the payload does."
    payload: int
    captured: int
    length: int
    ready: bool = False


@dataclass(slots=True)
class _Way:
    """One direction of a flow."""

    mask: StreamMask
    next: int | None = None
    history: bytearray = field(default_factory=bytearray)
    "As decided; its last byte is the one before `next`."
    held: list[_Waiting] = field(default_factory=list)


class PacketMasker:
    """Packets in, packets out in the same order and length, the secrets in them overwritten."""

    def __init__(self, serves: Callable[[int], bool]) -> None:
        """`serves`: whether a port is a server's, of which what comes to it are requests."""
        self._serves = serves
        self._secrets = Secrets()
        self._ways: OrderedDict[bytes, _Way] = OrderedDict()
        self._queue: deque[_Waiting] = deque()
        self._held = 0
        self.left_out = 0
        "Packets that are no TCP, or cut before its payload, and were not let through."
        self.overwritten = 0
        "Packets in which something was overwritten."
        self._seen = Seen()

    def take(self, packet: Packet) -> Iterator[Ready]:
        """The next packet of the capture; gives those that are decided."""
        at, link, buffer, start, size, original, view = packet
        whole = bytes(buffer[start : start + size])
        segment = next(segments([(at, link, whole, 0, size, original, view)], self._seen), None)
        if segment is None:
            self.left_out += 1
        else:
            self._take(Ready(at, link, whole, original), segment)
        self._give_up(at)
        yield from self._decided()

    def finish(self) -> Iterator[Ready]:
        """No more comes: what waits is decided without what is missing."""
        while self._queue:
            yield from self._decided()
            self._give_up(None)

    def _take(
        self,
        packet: Ready,
        segment: tuple[int, bytes, int, int, int, int, int, int, int, bytes, int, int, int, int],
    ) -> None:
        _, key, seq, _, flags, _, length, _, _, _, options, payload, captured, _ = segment
        if flags & SYN:
            self._begin(key, seq, answer=bool(flags & ACK))
            seq = (seq + 1) & _MASK
        waiting = _Waiting(packet, seq, options - 20, payload, captured, length, ready=not length)
        self._queue.append(waiting)
        if not length:
            return
        way = self._way(key)
        if way.next is None:
            way.next = seq
        if (seq - way.next) & _MASK < _HALF and seq != way.next:
            way.held.append(waiting)
            self._held += 1
            return
        self._decide(way, waiting)
        self._drain(way)

    def _begin(self, key: bytes, seq: int, *, answer: bool) -> None:
        way = self._ways.get(key)
        if way is not None and way.next is not None and (way.next - seq - 1) & _MASK <= len(way.history):
            return  # the same SYN again
        if way is not None:
            for one in way.held:
                self._blank(one)
        other = self._ways.get(turned(key))
        if other is not None and not answer:
            for one in other.held:
                self._blank(one)
            del self._ways[turned(key)]
        self._ways.pop(key, None)
        self._way(key, request=not answer, begins=(seq + 1) & _MASK)

    def _way(self, key: bytes, *, request: bool | None = None, begins: int | None = None) -> _Way:
        way = self._ways.get(key)
        if way is not None:
            self._ways.move_to_end(key)
            return way
        other = self._ways.get(turned(key))
        shared = other.mask.shared if other is not None else Shared()
        if request is None:
            to_server = self._serves(int.from_bytes(key[-2:], "big"))
            request = to_server or not self._serves(int.from_bytes(key[-4:-2], "big"))
        mask = StreamMask(request=request, joined=begins is None, secrets=self._secrets, shared=shared)
        self._ways[key] = way = _Way(mask, begins)
        while len(self._ways) > MOST_FLOWS:
            _, old = self._ways.popitem(last=False)
            for one in old.held:
                self._blank(one)
        return way

    def _decide(self, way: _Way, waiting: _Waiting) -> None:
        """What may be written of a segment that begins at `next` or before it."""
        assert way.next is not None
        packet, begin = waiting.packet, waiting.payload
        data = packet.data[begin : begin + waiting.captured]
        back = (way.next - waiting.seq) & _MASK
        old = min(back, waiting.length)
        known = (
            bytes(way.history[len(way.history) - back :][:old]) if back <= len(way.history) else FILLER * old
        )
        again = known[: len(data)]
        fresh = way.mask.mask(data[old:]) if len(data) > old else b""
        if waiting.length > old:
            way.history += fresh
            way.next = (waiting.seq + waiting.length) & _MASK
            if waiting.captured < waiting.length:
                way.mask.lost()
                way.history.clear()
            del way.history[:-HISTORY]
        self._write(waiting, again + fresh)

    def _drain(self, way: _Way) -> None:
        """Decide what waited for the bytes before it."""
        while (near := next((one for one in way.held if not _ahead(one, way)), None)) is not None:
            way.held.remove(near)
            self._held -= 1
            self._decide(way, near)

    def _give_up(self, now_ns: int | None) -> None:
        """Those before them do not come any more: go on behind the hole."""
        while self._queue and not self._queue[0].ready:
            oldest = self._queue[0]
            if now_ns is not None and self._held <= MOST_HELD and now_ns - oldest.packet.at_ns < HELD_NS:
                return
            way = next((way for way in self._ways.values() if oldest in way.held), None)
            if way is None:
                self._blank(oldest)
                continue
            behind = way.next or 0
            way.mask.lost()
            way.history.clear()
            way.next = min(((one.seq - behind) & _MASK, one.seq) for one in way.held)[1]
            self._drain(way)

    def _blank(self, waiting: _Waiting) -> None:
        self._held -= 1
        self._write(waiting, FILLER * waiting.captured)

    def _write(self, waiting: _Waiting, shown: bytes) -> None:
        packet, begin = waiting.packet, waiting.payload
        before = packet.data[begin : begin + waiting.captured]
        if shown != before:
            self.overwritten += 1
            data = bytearray(packet.data)
            data[begin : begin + waiting.captured] = shown
            _mend_checksum(data, waiting.header, before, shown)
            packet.data = bytes(data)
        waiting.ready = True

    def _decided(self) -> Iterator[Ready]:
        while self._queue and self._queue[0].ready:
            yield self._queue.popleft().packet


def _ahead(waiting: _Waiting, way: _Way) -> bool:
    assert way.next is not None
    distance = (waiting.seq - way.next) & _MASK
    return 0 < distance < _HALF


def _mend_checksum(data: bytearray, header: int, before: bytes, shown: bytes) -> None:
    """Let the TCP checksum be as right or wrong as it was (RFC 1624)."""
    odd = b"\0" if len(before) % 2 else b""
    change = (int.from_bytes(shown + odd, "big") - int.from_bytes(before + odd, "big")) % 0xFFFF
    check = int.from_bytes(data[header + 16 : header + 18], "big")
    data[header + 16 : header + 18] = ((check - change) % 0xFFFF).to_bytes(2, "big")
