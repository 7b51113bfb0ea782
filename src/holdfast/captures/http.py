"""What two ends of a plain connection said: HTTP/1.1 exchanges, read from the bytes in their order.

A capture is not a client: it may begin in the middle, miss packets, or end inside a body. So nothing here fails.
What was lost is counted, what was cut is kept as far as it came, and where the thread is lost it is taken up again
at the next head. Values in, values out; memory is bounded whatever the bytes are.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from holdfast.captures.http2 import PREFACE, FrameReader, Frames
from holdfast.captures.pieces import Piece
from holdfast.flight.redact import LONGEST, ORDINARY_SEGMENT, REMOVED, clean, looks_random, scrub

LONGEST_HEAD: Final = 64 * 1024
"No server takes a longer head; what goes on is no head."
LONGEST_LINE: Final = 4096
"A chunk's size line, extensions included."
LONGEST_SOUGHT: Final = 20 * 1024
"How much is looked over for a place to go on at: more than the largest TLS record and most chunks."
LONGEST_UNPACKED: Final = 64 * 1024 * 1024
"A compressed stream that unpacks to more is a bomb, and its events are counted no further."
LONGEST_EVENT: Final = 1024 * 1024
"A longer event is counted and not read."
MOST_EXCHANGES: Final = 10_000
"Told of one connection; later ones are counted only."
DEFAULT_KEEP: Final = 8 * 1024 * 1024
"Bytes of a body that are kept where it was asked for."


@dataclass(frozen=True, slots=True)
class Head:
    """A request's or a response's head; what could be a credential is already taken out."""

    at_s: float
    "When its last byte was seen."
    began_s: float
    first: tuple[str, str, str]
    "Method, target, version; or version, status, reason."
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(slots=True)
class Quiet:
    """The longest silence inside a body."""

    seconds: float = 0.0
    began_s: float = 0.0
    before: str = ""
    "What ended it: an event's name, `the end`, or empty where the body is no event stream."
    after: str = ""


@dataclass(slots=True)
class Events:
    """A body of server-sent events, as far as it came."""

    counts: Counter[str] = field(default_factory=Counter)
    "By name; comments are `:`, an event without a name is `message`."
    first_at_s: float | None = None
    last_at_s: float | None = None
    last: str = ""
    quiet: Quiet = field(default_factory=Quiet)
    open_block: str = ""
    "The content block that was open at the end: `text`, `tool_use Write`."
    stop_reason: str = ""
    ended: bool = False
    "Whether the stream's own last event came (`message_stop`, `[DONE]`)."
    error: str = ""
    "What the provider said went wrong inside the stream."
    unfinished_bytes: int = 0
    "Of an event that was cut."

    @property
    def misses_its_end(self) -> bool:
        """Whether the stream's own last event should have come and did not, in the two grammars whose end is known."""
        known = ("message_start", "content_block_start", "content_block_delta", "message")
        return not self.ended and not self.error and any(name in self.counts for name in known)

    @property
    def total(self) -> int:
        return self.counts.total()


@dataclass(slots=True)
class Body:
    """A body, its framing taken off."""

    framing: str
    "`none`, `length`, `chunked`, `until close`, `unknown` (its head is not in the capture)."
    announced: int | None = None
    seen: int = 0
    "Bytes that are in the capture."
    missing: int = 0
    "Bytes that are known to have been sent and are not in the capture."
    complete: bool = False
    lost_thread: bool = False
    "Framing could not be followed to the end: a hole swallowed a chunk's boundary, or it is malformed."
    began_s: float | None = None
    ended_s: float | None = None
    quiet: Quiet = field(default_factory=Quiet)
    events: Events | None = None
    kept: bytearray = field(default_factory=bytearray)
    "The bytes, up to the bound that was asked for; holes are closed up, `holes` says where."
    holes: list[tuple[int, int]] = field(default_factory=list)
    "Offset in `kept` and bytes missing there."
    keep: int = 0


@dataclass(slots=True)
class Message:
    """One request or one response."""

    head: Head | None
    "None where the capture begins inside it."
    body: Body
    interim: tuple[int, ...] = ()
    "1xx statuses that came before a response."

    @property
    def status(self) -> int | None:
        return int(self.head.first[1]) if self.head and self.head.first[1].isdigit() else None


@dataclass(slots=True)
class Exchange:
    """A request and its answer; either may be missing."""

    number: int
    request: Message | None
    response: Message | None


@dataclass(slots=True)
class Conversation:
    """What a connection carried."""

    protocol: str
    "`HTTP/1.1`, `HTTP/2`, or empty where it is neither."
    exchanges: list[Exchange] = field(default_factory=list)
    more: int = 0
    "Exchanges that were not told apart any more."
    frames: tuple[Frames, Frames] | None = None
    "From the client, from the server; for HTTP/2."
    tunnel: tuple[int, str] | None = None
    "Number of the exchange after which both ends spoke something else, and what (`CONNECT`, `websocket`)."
    beyond: tuple[list[Piece], list[Piece]] = field(default_factory=lambda: ([], []))
    "What was said inside the tunnel, at most `LONGEST_BEYOND` bytes each way."


LONGEST_BEYOND: Final = 4 * 1024 * 1024


# ----- heads

_REQUEST_LINE = re.compile(rb"([A-Z][A-Z_-]{1,15}) ([!-~\x80-\xff]{1,60000}) (HTTP/1\.[01])\r?\n")
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9]\d\d)(?: ([^\r\n]{0,1000}))?\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ")

_SECRET_HEADER = re.compile(
    r"(?i)(?:authorization|cookie2?|(?:api|access)[_-]?key(?:[_-]?id)?|holdfast-token"
    r"|(?:^|[_.-])(?:token|key|auth|sig|signature|pwd|password|secret|credentials?|session-token)|authenticate-info)$"
)
_HARMLESS_HEADER = re.compile(
    r"(?i)(?:^date|^etag|request-id|trace|ray|length|type|agent|^host|session-id|turn|version|beta)"
)


def masked_header(name: str, value: str) -> str:
    """A header's value to show: a credential's is gone, others are scrubbed."""
    if _SECRET_HEADER.search(name):
        return REMOVED
    if not _HARMLESS_HEADER.search(name) and any(
        looks_random(word) for word in re.findall(r"[\w~+/.=-]{20,}", value)
    ):
        return REMOVED
    return clean(scrub(value))


def masked_target(target: str) -> str:
    """A request's target to show: no login, no query values, no path segment that may be a token."""
    path, mark, query = target.partition("?")
    scheme, slashes, rest = path.partition("://")
    authority = ""
    if slashes:
        authority, slash, rest = rest.partition("/")
        login, at, host = authority.rpartition("@")
        authority = f"{scheme}://{REMOVED if login else ''}{at}{host}"
        path = slash + rest
    if "/" in path:  # else it is CONNECT's host and port, or `*`
        path = "/".join(
            "…" if len(part) > ORDINARY_SEGMENT or looks_random(part) else part for part in path.split("/")
        )
    names = "&".join(f"{pair.partition('=')[0]}=…" if "=" in pair else "…" for pair in query.split("&"))
    return clean(scrub(authority + path) + mark + (clean(names, limit=100) if mark else ""))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _head(raw: bytes, began_s: float, at_s: float, *, request: bool) -> Head | None:
    found = (_REQUEST_LINE if request else _STATUS_LINE).match(raw)
    if found is None:
        return None
    pairs = []
    for line in raw[found.end() :].split(b"\n"):
        name, colon, value = line.strip(b"\r").partition(b":")
        if colon and name.strip():
            shown = clean(_text(name.strip()), limit=100)
            pairs.append((shown, masked_header(shown, _text(value.strip()))))
    one, two, three = (_text(part or b"") for part in found.groups())
    if request:
        two = masked_target(two)
    return Head(at_s, began_s, (one, two, clean(three, limit=100)), tuple(pairs))


# ----- events

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\r\n\n|\n\r\n")
_NAMED = re.compile(rb"(?m)^event: ?([^\r\n]*)")
_LOOKS_LIKE_EVENTS = re.compile(rb"(?m)^(?:event|data): ")
_DATA = re.compile(rb"(?m)^data: ?([^\r\n]*)")
_ROUTINE = (
    (b"event: content_block_delta\ndata: {", "content_block_delta"),
    (b"event: ping\ndata: {", "ping"),
)
"By far the most, and nothing in them is told."
_LOOKED_INTO = frozenset({"content_block_start", "content_block_stop", "message_delta", "error"})


class _EventReader:
    """Server-sent events out of a decoded body, with the silences between them.

    The same cut as the gateway's, but with the times, and made for bytes that may have holes.
    """

    def __init__(self, head_at_s: float, after: str = "the headers") -> None:
        self.events = Events()
        self._held = bytearray()
        self._torn = False
        "A hole or an overlong event: what comes up to the next boundary is no event."
        self._heard_s = head_at_s
        self._after = after

    def feed(self, at_s: float, data: bytes) -> None:
        if (
            not self._held
            and data.endswith(b"\n\n")
            and data.find(b"\n\n") == len(data) - 2
            and b"\r" not in data
        ):
            self._one(at_s, data[:-2])  # the usual chunk: one event, whole
            return
        searched = max(len(self._held) - 3, 0)
        self._held += data
        start = 0
        for end in _EVENT_END.finditer(bytes(self._held), searched):
            if end.start() >= start:
                self._one(at_s, bytes(self._held[start : end.start()]))
                start = end.end()
        del self._held[:start]
        if len(self._held) > LONGEST_EVENT:
            self._torn = True
            del self._held[:-3]

    def tear(self) -> None:
        """Bytes are missing here."""
        self._held.clear()
        self._torn = True

    def finish(self) -> None:
        self.events.unfinished_bytes = len(self._held)

    def _one(self, at_s: float, raw: bytes) -> None:
        if self._torn:
            self._torn, name = False, "(torn)"
        else:
            name = self._name(raw)
            if not name:
                return
        events = self.events
        if at_s - self._heard_s > events.quiet.seconds:
            events.quiet = Quiet(at_s - self._heard_s, self._heard_s, name, self._after)
        self._heard_s, self._after = at_s, name
        if name not in events.counts and len(events.counts) >= 50:
            name = "(other)"
        events.counts[name] += 1
        events.last = name
        events.last_at_s = at_s
        if events.first_at_s is None:
            events.first_at_s = at_s

    def _name(self, raw: bytes) -> str:
        for start, name in _ROUTINE:
            if raw.startswith(start):
                return name
        named = _NAMED.search(raw)
        data = _DATA.search(raw)
        if named is None and data is None:
            return ":" if raw.lstrip().startswith(b":") else ""
        name = clean(_text(named[1]), limit=60) if named else "message"
        said = data[1] if data else b""
        if said.strip() == b"[DONE]":
            self.events.ended = True
            return "[DONE]"
        if name == "message_stop":
            self.events.ended = True
        elif name in _LOOKED_INTO:
            self._look(name, said)
        return name

    def _look(self, name: str, said: bytes) -> None:
        try:
            told = msgspec.json.decode(said)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return
        if not isinstance(told, dict):
            return
        match name:
            case "content_block_start":
                block = told.get("content_block")
                block = block if isinstance(block, dict) else {}
                words = (block.get("type"), block.get("name"))
                self.events.open_block = clean(scrub(" ".join(str(w) for w in words if w)), limit=80)
            case "content_block_stop":
                self.events.open_block = ""
            case "message_delta":
                delta = told.get("delta")
                reason = delta.get("stop_reason") if isinstance(delta, dict) else None
                if isinstance(reason, str):
                    self.events.stop_reason = clean(scrub(reason), limit=40)
            case _:
                error = told.get("error")
                error = error if isinstance(error, dict) else {}
                said_of = f"{error.get('type')}: {error.get('message')}"
                self.events.error = clean(scrub(said_of), limit=LONGEST)


# ----- bodies


class _BodyReader:
    """A body whose framing is already taken off: counts, keeps, unpacks where events are in it."""

    def __init__(self, body: Body, head: Head | None) -> None:
        self.body = body
        self._heard_s = head.at_s if head else None
        self._reader: _EventReader | None = None
        self._unpack: zlib._Decompress | None = None
        self._unpacked_bytes = 0
        kind = (head.get("content-type") or "") if head else ""
        coding = ((head.get("content-encoding") or "identity") if head else "identity").strip().lower()
        if head is not None and "event-stream" in kind.lower():
            if coding in ("gzip", "x-gzip", "deflate"):
                self._unpack = zlib.decompressobj(47)
            if coding == "identity" or self._unpack is not None:
                self._reader = _EventReader(head.at_s)
                body.events = self._reader.events
        self._headed = head is not None

    def data(self, at_s: float, data: bytes) -> None:
        body = self.body
        if body.began_s is None:
            body.began_s = at_s
            if not self._headed and _LOOKS_LIKE_EVENTS.search(data):
                self._reader = _EventReader(at_s, "the capture's start")
                self._reader.tear()
                body.events = self._reader.events
        if self._heard_s is not None and at_s - self._heard_s > body.quiet.seconds:
            body.quiet = Quiet(at_s - self._heard_s, self._heard_s)
        self._heard_s = body.ended_s = at_s
        body.seen += len(data)
        room = body.keep - len(body.kept)
        if room > 0:
            body.kept += data[:room]
        if self._reader is not None:
            self._read(at_s, data)

    def _read(self, at_s: float, data: bytes) -> None:
        assert self._reader is not None
        if self._unpack is None:
            self._reader.feed(at_s, data)
            return
        try:
            while data and self._reader is not None:
                piece = self._unpack.decompress(data, 1 << 20)
                self._reader.feed(at_s, piece)
                data = self._unpack.unconsumed_tail
                self._unpacked_bytes += len(piece)
                if self._unpacked_bytes > LONGEST_UNPACKED:
                    self._reader = None
        except zlib.error:
            self._reader = None

    def hole(self, missing: int) -> None:
        self.body.missing += missing
        if len(self.body.holes) < 1000:
            self.body.holes.append((len(self.body.kept), missing))
        if self._reader is not None:
            if self._unpack is not None:  # nothing behind a hole can be unpacked
                self._reader = None
            else:
                self._reader.tear()

    def finish(self) -> None:
        if self._reader is not None:
            self._reader.finish()


# ----- one direction

_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_CHUNK_AGAIN = re.compile(rb"(?:\A|\r\n)([0-9A-Fa-f]{1,7})\r\n")


class Direction:
    """One side's bytes cut into messages. Feed it pieces in their order, then `finish`."""

    def __init__(self, *, request: bool, keep: int = 0, keep_only: int | None = None) -> None:
        self.messages: list[Message] = []
        self.more = 0
        self.heads = 0
        "Heads that were read, of messages under way too."
        self.asked: deque[tuple[float, str]] = deque()
        "For responses: when each unanswered request began, and its method; a HEAD's answer has no body."
        self.switched = ""
        "What the bytes are after a 101 or a CONNECT; empty while it is HTTP/1."
        self.beyond: list[Piece] = []
        self._beyond_bytes = 0
        self._request, self._keep, self._keep_only = request, keep, keep_only
        self._held = bytearray()
        self._began_s = 0.0
        self._state = "start"
        "`start`, `head`, `body`, `size`, `after chunk`, `trailer`, `seek`, `beyond`."
        self._left = 0
        self._message: Message | None = None
        self._reader: _BodyReader | None = None
        self._interim: list[int] = []

    @property
    def has_events(self) -> bool:
        """Whether an event stream is under way, though its head may not be in the capture."""
        return self._message is not None and self._message.body.events is not None

    # -- in

    def feed(self, piece: Piece) -> None:
        """Take the next piece."""
        if piece.missing:
            self._hole(piece.at_s, piece.missing)
        if piece.data:
            if self._state == "beyond":
                self._keep_beyond(piece)
                return
            if not self._held:
                self._began_s = piece.at_s
            self._held += piece.data
            while self._step(piece.at_s):
                pass

    def finish(self, *, closed: bool) -> None:
        """No more comes. `closed`: the peer ended its side in order (a FIN was seen)."""
        if self._state == "seek":
            self._swallow(self._began_s, len(self._held))
        message = self._message
        if message is not None and self._reader is not None:
            if message.body.framing == "until close":
                message.body.complete = closed and not message.body.missing
            self._end(complete=message.body.complete)

    # -- states

    def _step(self, at_s: float) -> bool:
        """Take one more step through what is held; False where more bytes are needed."""
        match self._state:
            case "start" | "head":
                return self._read_head(at_s)
            case "seek":
                return self._seek(at_s)
            case "body":
                return self._read_body(at_s)
            case "size":
                return self._read_size(at_s)
            case "after chunk":
                return self._after_chunk()
            case "trailer":
                return self._read_trailer()
            case _:
                self._keep_beyond(Piece(at_s, bytes(self._held)))
                self._held.clear()
                return False

    def _read_head(self, at_s: float) -> bool:
        held = self._held
        blank = 0
        while blank < len(held) and held[blank] in b"\r\n":  # some senders put an empty line between messages
            blank += 1
        del held[:blank]
        if not held:
            return False
        if not self._may_begin(held):
            self._lose(at_s)
            return True
        end = _HEAD_END.search(held)
        if end is None:
            if len(held) > LONGEST_HEAD:
                self._lose(at_s)
                return True
            return False
        head = _head(bytes(held[: end.end()]), self._began_s, at_s, request=self._request)
        if head is None:
            self._lose(at_s)
            return True
        del held[: end.end()]
        self.heads += 1
        self._open(head)
        self._began_s = at_s
        return True

    def _may_begin(self, held: bytearray) -> bool:
        if not self._request:
            return held.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(bytes(held[:7]))
        line = bytes(held[:17])
        word, space, _ = line.partition(b" ")
        return bool(re.fullmatch(rb"[A-Z][A-Z_-]*", word)) and (bool(space) or len(line) < 17)

    def _lose(self, at_s: float) -> None:
        """This is no head: the capture began inside a message, or the thread is lost."""
        self._state = "seek"
        if self._message is None and not self.messages:
            self._message = Message(None, self._new_body("unknown"))
            self._reader = _BodyReader(self._message.body, None)

    def _seek(self, at_s: float) -> bool:
        found = self._next_head()
        if found is None and self._chunk_found(at_s):
            return True
        if found is None:
            cut = len(self._held) - LONGEST_SOUGHT
            if cut > 0:
                self._swallow(at_s, cut)
            return False
        self._swallow(at_s, found)
        if self._message is not None:
            self._end(complete=False)
        self._state = "head"
        self._began_s = at_s
        return True

    def _next_head(self) -> int | None:
        pattern = _REQUEST_LINE if self._request else _STATUS_LINE
        for found in pattern.finditer(bytes(self._held)):
            if self._request and not found.group().startswith(_METHODS):
                continue
            rest = self._held[found.end() : found.end() + 200]
            if re.match(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*\r?\n|\r?\n", rest):
                return found.start()
        return None

    def _swallow(self, at_s: float, count: int) -> None:
        """Bytes that belong to no known frame: told as part of the message that is open, if one is."""
        if self._reader is not None and count:
            self._reader.data(at_s, bytes(self._held[:count]))
        del self._held[:count]

    def _new_body(self, framing: str, announced: int | None = None) -> Body:
        wanted = self._keep_only is None or len(self.messages) == self._keep_only
        return Body(framing, announced, keep=self._keep if wanted else 0)

    def _open(self, head: Head) -> None:
        status = None if self._request else int(head.first[1])
        if status is not None and 100 <= status < 200 and status != 101:
            self._interim = [*self._interim[-9:], status]
            self._state = "head"
            return
        method = ""
        if self._request:
            self.asked.append((head.began_s, head.first[0]))
        elif self.asked and self.asked[0][0] <= head.began_s:
            method = self.asked.popleft()[1]
        framing, length = self._framing(head, status, method)
        self._message = Message(head, self._new_body(framing, length), tuple(self._interim))
        self._interim = []
        self._reader = _BodyReader(self._message.body, head)
        if status == 101 or (method == "CONNECT" and status is not None and 200 <= status < 300):
            self.switched = "CONNECT" if status != 101 else (head.get("upgrade") or "upgrade").lower()
            self._end(complete=True)
            self._state = "beyond"
        elif framing == "none" or (framing == "length" and length == 0):
            self._end(complete=True)
        elif framing == "chunked":
            self._state = "size"
        else:
            self._left = length or 0
            self._state = "body"

    def _framing(self, head: Head, status: int | None, method: str) -> tuple[str, int | None]:
        if status is not None and (method == "HEAD" or status in (101, 204, 304)):
            return "none", None
        if method == "CONNECT" and status is not None and 200 <= status < 300:
            return "none", None
        if "chunked" in (head.get("transfer-encoding") or "").lower():
            return "chunked", None
        length = head.get("content-length")
        if length is not None and length.isdigit() and len(length) < 16:
            return "length", int(length)
        return ("none", None) if self._request else ("until close", None)

    def _read_body(self, at_s: float) -> bool:
        assert self._message is not None and self._reader is not None
        held, body = self._held, self._message.body
        if not held:
            return False
        if body.framing == "until close":
            self._reader.data(at_s, bytes(held))
            held.clear()
            return False
        taken = min(self._left, len(held))
        if taken:
            self._reader.data(at_s, bytes(held[:taken]))
            del held[:taken]
            self._left -= taken
        if self._left:
            return False
        if body.framing == "length":
            self._end(complete=not body.missing)
        else:
            self._state = "after chunk"
        return bool(held)

    def _read_size(self, at_s: float) -> bool:
        found = _CHUNK.match(self._held)
        if found is None:
            if b"\n" in self._held or len(self._held) > LONGEST_LINE:
                return self._chunk_again()
            return False
        self._left = int(found[1], 16)
        del self._held[: found.end()]
        self._state = "body" if self._left else "trailer"
        return True

    def _after_chunk(self) -> bool:
        for end in (b"\r\n", b"\n"):
            if self._held.startswith(end):
                del self._held[: len(end)]
                self._state = "size"
                return True
        if len(self._held) < 2:
            return False
        return self._chunk_again()

    def _chunk_again(self) -> bool:
        """The thread of the chunks is lost: go on at the next place where a size fits what follows it."""
        assert self._message is not None
        self._message.body.lost_thread = True
        self._state = "seek"
        return True

    def _chunk_found(self, at_s: float) -> bool:
        """Whether a chunk that can be seen whole was found: its size line, as many bytes, and a line's end."""
        if self._message is None or self._message.body.framing not in ("unknown", "chunked"):
            return False
        for found in _CHUNK_AGAIN.finditer(bytes(self._held)):
            end = found.end() + int(found[1], 16)
            if end > found.end() and self._held[end : end + 2] == b"\r\n":
                self._swallow(at_s, found.start())
                if found.group().startswith(b"\r\n"):
                    del self._held[:2]
                self._message.body.framing = "chunked"
                self._state = "size"
                return True
        return False

    def _read_trailer(self) -> bool:
        line, newline, _ = bytes(self._held[:LONGEST_LINE]).partition(b"\n")
        if not newline:
            if len(self._held) >= LONGEST_LINE:
                self._state = "seek"
                return True
            return False
        del self._held[: len(line) + 1]
        if not line.strip(b"\r"):
            assert self._message is not None
            body = self._message.body
            self._end(complete=not (body.missing or body.lost_thread))
        return True

    def _end(self, *, complete: bool) -> None:
        assert self._message is not None and self._reader is not None
        self._reader.finish()
        self._message.body.complete = complete
        if len(self.messages) < MOST_EXCHANGES:
            self.messages.append(self._message)
        else:
            self.more += 1
        self._message = self._reader = None
        self._state = "head"

    def _hole(self, at_s: float, missing: int) -> None:
        if self._state == "beyond":
            self._keep_beyond(Piece(at_s, missing=missing))
            return
        if self._state in ("start", "head"):
            self._held.clear()
            self._lose(at_s)
            return
        if self._reader is None or self._message is None:
            self._held.clear()
            return
        if self._state == "body" and not self._held:
            body = self._message.body
            if body.framing == "until close":
                self._reader.hole(missing)
                return
            if missing <= self._left:
                self._reader.hole(missing)
                self._left -= missing
                if not self._left:
                    if body.framing == "length":
                        self._end(complete=False)
                    else:
                        self._state = "after chunk"
                return
            if body.framing == "length":  # the next message's head is in the hole as well
                self._reader.hole(self._left)
                self._end(complete=False)
                self._state = "seek"
                return
        self._swallow(at_s, len(self._held))
        self._reader.hole(missing)
        self._message.body.lost_thread = True
        # A chunk's boundary may have gone with it. What follows is taken for body until a head is found.
        self._state = "seek"

    def _keep_beyond(self, piece: Piece) -> None:
        if self._beyond_bytes < LONGEST_BEYOND:
            self.beyond.append(piece)
            self._beyond_bytes += len(piece.data)

    def switch(self, at_s: float) -> None:
        """From here on this is no HTTP/1 any more."""
        if self._state != "beyond":
            self._state = "beyond"
            if self._held:
                self._step(at_s)


# ----- both directions


class Reader:
    """Both directions of one connection, in the order of the capture. `feed`, then `finish`."""

    def __init__(self, *, keep: int = 0, keep_only: int | None = None) -> None:
        """`keep`: bytes of each body to keep, `keep_only`: of the response with this number alone (from 1)."""
        self._client = Direction(request=True)
        self._server = Direction(
            request=False, keep=keep, keep_only=None if keep_only is None else keep_only - 1
        )
        self._server.asked = self._client.asked
        self._h2: tuple[FrameReader, FrameReader] | None = None
        self._start = bytearray()
        self._sniffing = True

    @property
    def known(self) -> bool:
        """Whether a head, or HTTP/2's preface, has shown that this is HTTP."""
        return self._h2 is not None or self._client.heads + self._server.heads > 0 or self._server.has_events

    def feed(self, piece: Piece, *, from_client: bool) -> None:
        """Take the next piece of one direction."""
        if self._sniffing and from_client:
            self._sniff(piece)
            return
        if self._h2 is not None:
            self._h2[not from_client].feed(piece)
            return
        (self._client if from_client else self._server).feed(piece)
        if self._server.switched and not self._client.switched:
            self._client.switched = self._server.switched
            self._client.switch(piece.at_s)

    def _sniff(self, piece: Piece) -> None:
        """Whether the client opens with HTTP/2's preface, which may come in parts."""
        self._start += piece.data
        if not piece.missing and len(self._start) < len(PREFACE) and PREFACE.startswith(bytes(self._start)):
            return
        self._sniffing = False
        start = bytes(self._start)
        if start.startswith(PREFACE):
            self._h2 = (FrameReader(), FrameReader())
            self._h2[0].feed(Piece(piece.at_s, start[len(PREFACE) :]))
        else:
            self._client.feed(Piece(piece.at_s, start, piece.missing))

    def finish(self, *, client_closed: bool, server_closed: bool) -> Conversation:
        """No more comes; a side `closed` where its FIN was seen."""
        if self._h2 is not None:
            for reader in self._h2:
                reader.finish()
            return Conversation("HTTP/2", frames=(self._h2[0].frames, self._h2[1].frames))
        self._client.finish(closed=client_closed)
        self._server.finish(closed=server_closed)
        requests, responses = self._client.messages, self._server.messages
        if not any(message.head or message.body.events for message in (*requests, *responses)):
            return Conversation("")
        told = Conversation("HTTP/1.1", pair(requests, responses))
        told.more = max(self._client.more, self._server.more)
        if self._server.switched:
            answered = [e.number for e in told.exchanges if e.response is not None]
            told.tunnel = (answered[-1] if answered else 0, self._server.switched)
            told.beyond = (self._client.beyond, self._server.beyond)
        return told


def pair(requests: Sequence[Message], responses: Sequence[Message]) -> list[Exchange]:
    """Which answer is whose: in order, and never one that began before its question."""
    exchanges: list[Exchange] = []
    waiting = list(requests)
    for response in responses:
        began = response.head.began_s if response.head else response.body.began_s
        asked = None
        if waiting and response.head is not None:
            head = waiting[0].head
            if head is None or began is None or head.began_s <= began:
                asked = waiting.pop(0)
        exchanges.append(Exchange(len(exchanges) + 1, asked, response))
    exchanges += [Exchange(len(exchanges) + n, request, None) for n, request in enumerate(waiting, 1)]
    return exchanges


def read(
    pieces: Iterable[tuple[bool, Piece]],
    *,
    client_closed: bool = False,
    server_closed: bool = False,
    keep: int = 0,
    keep_only: int | None = None,
) -> Conversation:
    """Both directions at once: `(from_client, piece)` in the order of the capture."""
    reader = Reader(keep=keep, keep_only=keep_only)
    for from_client, piece in pieces:
        reader.feed(piece, from_client=from_client)
    return reader.finish(client_closed=client_closed, server_closed=server_closed)
