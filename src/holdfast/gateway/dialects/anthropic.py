"""The Anthropic Messages dialect: what its requests, stream events and errors look like.

The stream's grammar: `message_start`, then content blocks one after the other (`content_block_start`,
any number of `content_block_delta`, `content_block_stop`), then one or more `message_delta` (usage is
cumulative: the last one counts), then `message_stop`. `ping` may stand anywhere; `error` ends the stream
after a 200. Unknown events must be tolerated. Only `message_stop` says that the answer is whole: the SDKs
differ in what they make of a stream that ends without it, so nothing here takes less for an end.

`EventReader` follows a stream while it passes, at the price of a prefix comparison for most events.
`fold` turns a finished stream into the JSON that the API answers when it is asked without streaming;
`fold_partial` does what it can with a broken one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from sys import intern
from typing import Any, Final, Literal

import msgspec

from holdfast.flight.endings import Phase

# -- requests ---------------------------------------------------------------------------------------


def is_turn(method: bytes, path: bytes) -> bool:
    """Whether a request asks for an answer: a POST to `.../v1/messages`. A query string is ignored.

    Token counting and batches live below that path and are no turns.
    """
    return method == b"POST" and path.partition(b"?")[0].endswith(b"/v1/messages")


# -- what the gateway says --------------------------------------------------------------------------

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
"An event that SDKs swallow: it counts as bytes for a client, and as an event for none."


def null_delta(output_tokens: int) -> bytes:
    """The keepalive that every measured client takes at every place: a `message_delta` that says nothing.

    It counts as an event, leaves no trace in the message and does not end it. `output_tokens` is the last
    real value, because some clients show it; without `usage` both SDKs raise. It must not follow a delta
    with a real `stop_reason`: accumulators take the last one, and the reason would be lost.
    """
    return (
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":null,'
        b'"stop_sequence":null},"usage":{"output_tokens":%d}}\n\n' % max(0, output_tokens)
    )


def comment(text: str) -> bytes:
    """An SSE comment: bytes on the wire, no event for anyone."""
    return b": " + _one_line(text).encode() + b"\n\n"


_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STATUSES = {kind: status for status, kind in _KINDS.items() if status != 408}


def kind_for_status(status: int) -> str:
    """The API's error type for an HTTP status; for one that it does not list, the nearest."""
    return _KINDS.get(status) or ("invalid_request_error" if 400 <= status < 500 else "api_error")


def status_for_kind(kind: str) -> int:
    """The HTTP status that the API uses for an error type; 500 for a type it does not list."""
    return _STATUSES.get(kind, 500)


def error_body(kind: str, message: str, request_id: str | None = None, *, bare: bool = False) -> bytes:
    """An error as the body of a JSON answer; with `bare` its text stands beside the API's error, too."""
    said: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": message}}
    if bare:
        said["message"] = message
    if request_id is not None:
        said["request_id"] = request_id
    return _encode(said)


class _ProvidersError(msgspec.Struct):
    error: msgspec.Raw
    request_id: str | None = None


class _ErrorInside(msgspec.Struct):
    type: str
    message: str


_PROVIDERS_ERROR = msgspec.json.Decoder(_ProvidersError)
_ERROR_INSIDE = msgspec.json.Decoder(_ErrorInside)
_LONGEST_ERROR = 64 * 1024


def error_event(
    kind: str, message: str, *, body: bytes | None = None, request_id: str | None = None
) -> bytes:
    """An error inside a stream that has begun. `request_id` names it, where it is none of the provider's.

    `body` is the provider's own error body, where there is one. Clients recover by its wording, so its error
    goes out as it came. A body that is not the API's JSON (an edge's HTML page) is quoted in the message.
    """
    said = _providers_error(body) if body else None
    if said is None:
        quoted = _one_line((body or b"")[:2000].decode("utf-8", "replace"), longest=300)
        said = error_body(kind, f"{message}: {quoted}" if quoted else message, request_id)
    return b"event: error\ndata: " + said + b"\n\n"


def _providers_error(body: bytes) -> bytes | None:
    """The provider's error on one line, its text untouched; None where it is not in the API's shape."""
    if len(body) > _LONGEST_ERROR:
        return None
    try:
        given = _PROVIDERS_ERROR.decode(body)
        _ERROR_INSIDE.decode(given.error)
        error = msgspec.json.format(bytes(given.error), indent=-1)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    tail = b"" if given.request_id is None else b',"request_id":' + _encode(given.request_id)
    return b'{"type":"error","error":' + error + tail + b"}"


def _one_line(text: str, longest: int = 500) -> str:
    """Text without control characters and runs of blanks, shortened."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."


# -- one event --------------------------------------------------------------------------------------


def event_name(event: bytes) -> bytes:
    """The name of a whole event; empty where it has none (a comment, or bare data)."""
    if event.startswith(b"event: "):
        name = event[7 : event.find(b"\n")]
        return name.partition(b"\r")[0] if b"\r" in name else name
    name = b""
    for line in event.splitlines():
        if line.startswith(b"event:"):
            name = line[6:].removeprefix(b" ")
    return name


def is_error(event: bytes) -> bool:
    """Whether a whole event is the provider's error, with or without a name."""
    return (event_name(event) or _type_of(_payload(event))) == b"error"


def _payload(event: bytes) -> bytes:
    """The data of a whole event: its `data` lines joined with LF."""
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return lines[0] if len(lines) == 1 else b"\n".join(lines)


def _frames(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of every whole event in a stream. What follows the last blank line is no event."""
    name, lines = b"", list[bytes]()
    for line in data.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True):
        text = line.rstrip(b"\r\n")
        if not text:
            if lines:
                yield name, (lines[0] if len(lines) == 1 else b"\n".join(lines))
            name, lines = b"", []
        elif text.startswith(b"data:"):
            lines.append(text[5:].removeprefix(b" "))
        elif text.startswith(b"event:"):
            name = text[6:].removeprefix(b" ")


# -- following a stream -----------------------------------------------------------------------------


class MessageStarted(msgspec.Struct, frozen=True, gc=False):
    """`message_start` arrived."""

    model: str | None
    input_tokens: int | None
    "Uncached, cache-read and cache-written tokens together; None where the event did not say."
    output_tokens: int | None
    message_id: str | None


class BlockStarted(msgspec.Struct, frozen=True, gc=False):
    """`content_block_start` arrived."""

    index: int
    kind: str
    tool: str | None


class BlockStopped(msgspec.Struct, frozen=True, gc=False):
    """`content_block_stop` arrived."""

    index: int


class MessageChanged(msgspec.Struct, frozen=True, gc=False):
    """`message_delta` arrived."""

    output_tokens: int | None
    stop_reason: str | None


class MessageStopped(msgspec.Struct, frozen=True, gc=False):
    """`message_stop` arrived: the answer is whole."""


class ErrorArrived(msgspec.Struct, frozen=True, gc=False):
    """`error` arrived: the provider says that it failed."""

    kind: str
    message: str


Seen = MessageStarted | BlockStarted | BlockStopped | MessageChanged | MessageStopped | ErrorArrived


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None


class _Message(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    usage: _Usage | None = None


class _WholeMessage(msgspec.Struct):
    type: Literal["message"]
    model: str | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None


class _MessageStart(msgspec.Struct):
    message: _Message


class _Block(msgspec.Struct):
    type: str
    name: str | None = None


class _BlockStart(msgspec.Struct):
    content_block: _Block
    index: int = 0


class _Delta(msgspec.Struct):
    stop_reason: str | None = None


class _MessageDelta(msgspec.Struct):
    delta: _Delta | None = None
    usage: _Usage | None = None


class _Typed(msgspec.Struct):
    type: str


_MESSAGE_START = msgspec.json.Decoder(_MessageStart)
_WHOLE_MESSAGE = msgspec.json.Decoder(_WholeMessage)
_BLOCK_START = msgspec.json.Decoder(_BlockStart)
_MESSAGE_DELTA = msgspec.json.Decoder(_MessageDelta)
_TYPED = msgspec.json.Decoder(_Typed)

# Before Python 3.12 looking a member up in its class takes as long as a short function; these are asked for in every turn.
_BEFORE, _BETWEEN, _IN_BODY, _IN_TOOL_USE, _AFTER = (
    Phase.AWAITING_FIRST_EVENT, Phase.BETWEEN_BLOCKS, Phase.IN_BODY, Phase.IN_TOOL_USE, Phase.AFTER_END
)  # fmt: skip
_PHASES = {
    "text": Phase.IN_TEXT,
    "thinking": Phase.IN_THINKING,
    "redacted_thinking": Phase.IN_THINKING,
    "tool_use": Phase.IN_TOOL_USE,
    "server_tool_use": Phase.IN_TOOL_USE,
    "mcp_tool_use": Phase.IN_TOOL_USE,
}


class EventReader:
    """What is known of a stream so far. Takes whole events, each ending with its blank line; never raises.

    Most events of a stream are deltas and pings; those cost one comparison and are never decoded.
    """

    __slots__ = (
        "completed_blocks",
        "error",
        "finished",
        "index",
        "input_tokens",
        "model",
        "output_tokens",
        "phase",
        "stop_reason",
        "tool",
    )

    def __init__(self) -> None:
        self.phase = _BEFORE
        "What is under way. An error leaves it as it was."
        self.tool: str | None = None
        "The name of the tool whose call is open."
        self.index: int | None = None
        "The open block's index; None between blocks."
        self.completed_blocks = 0
        "Over the whole stream, a second `message_start` included: clients keep what was complete before it."
        self.model: str | None = None
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        "The last real value that the provider said."
        self.stop_reason: str | None = None
        self.finished = False
        "Whether `message_stop` was seen."
        self.error: dict[str, Any] | None = None
        "The provider's error object (`type`, `message`, ...), where it sent one."

    def __repr__(self) -> str:
        inside = f"{self.phase.value} {self.tool}" if self.tool else self.phase.value
        return f"<EventReader {self.model or 'no model'}, {inside}, {self.completed_blocks} blocks>"

    def seen(self, event: bytes) -> Seen | None:
        """Take the next whole event; return what it said, or None for a delta, a ping and the unknown."""
        line, _, payload = event.partition(b"\ndata: ")
        take = _TAKERS_BY_LINE.get(line)
        if take is None or payload.find(b"\n") != len(payload) - 2 or b"\r" in payload:
            # Not as the provider writes it: a name, one line of data, and the blank line.
            line, payload = event_name(event), _payload(event)
            take = _TAKERS.get(line or _type_of(payload))
            if take is None:
                return None
        try:
            return take(self, payload)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            self._unreadable(take)
            return None

    def whole(self, body: bytes) -> bool:
        """Take an answer without streaming instead of events; whether it was the API's message."""
        try:
            message = _WHOLE_MESSAGE.decode(body)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return False
        usage = message.usage or _Usage()
        self.model, self.stop_reason = message.model, message.stop_reason
        self.input_tokens, self.output_tokens = _whole_prompt(usage), usage.output_tokens
        return True

    def keepalive(self, form: str) -> bytes:
        """What to send while the stream is silent: `null-delta`, `ping` or `comment`, as the profile says.

        After a real `stop_reason` a null delta would take it back, so a ping goes out instead.
        """
        if form == "null-delta" and self.stop_reason is None and not self.finished and self.error is None:
            return null_delta(self.output_tokens or 0)
        return comment("keepalive") if form == "comment" else PING

    def _message_start(self, payload: bytes) -> Seen:
        message = _MESSAGE_START.decode(payload).message
        usage = message.usage or _Usage()
        self.model = intern(message.model) if message.model else self.model  # many turns', of few models
        self.input_tokens = _whole_prompt(usage)
        if usage.output_tokens is not None:
            self.output_tokens = usage.output_tokens
        self.stop_reason = None
        self._close_block()
        return MessageStarted(message.model, self.input_tokens, usage.output_tokens, message.id)

    def _block_start(self, payload: bytes) -> Seen:
        start = _BLOCK_START.decode(payload)
        kind = start.content_block.type
        self.phase = _PHASES.get(kind, _IN_BODY)
        self.tool = start.content_block.name if self.phase is _IN_TOOL_USE else None
        self.index = start.index
        return BlockStarted(start.index, kind, self.tool)

    def _block_stop(self, payload: bytes) -> Seen | None:
        index = self.index
        if index is None:
            return None
        self.completed_blocks += 1
        self._close_block()
        return BlockStopped(index)

    def _message_delta(self, payload: bytes) -> Seen:
        given = _MESSAGE_DELTA.decode(payload)
        tokens = given.usage.output_tokens if given.usage else None
        if tokens is not None:
            self.output_tokens = tokens
        reason = given.delta.stop_reason if given.delta else None
        self.stop_reason = reason or self.stop_reason
        return MessageChanged(tokens, reason)

    def _message_stop(self, payload: bytes) -> Seen:
        self._close_block()
        self.finished = True
        self.phase = _AFTER
        return MessageStopped()

    def _error(self, payload: bytes) -> Seen:
        self.error = _error_said(payload)
        return ErrorArrived(self.error["type"], self.error["message"])

    def _unreadable(self, take: _Taker) -> None:
        """An event's name alone still says where the stream is."""
        if take is EventReader._message_start:
            self._close_block()
        elif take is EventReader._block_start:
            self.phase, self.tool, self.index = Phase.IN_BODY, None, -1

    def _close_block(self) -> None:
        self.phase = _BETWEEN
        self.tool = None
        self.index = None


_Taker = Callable[[EventReader, bytes], Seen | None]
_TAKERS: Final[dict[bytes, _Taker]] = {
    b"message_start": EventReader._message_start,
    b"content_block_start": EventReader._block_start,
    b"content_block_stop": EventReader._block_stop,
    b"message_delta": EventReader._message_delta,
    b"message_stop": EventReader._message_stop,
    b"error": EventReader._error,
}
_TAKERS_BY_LINE: Final = {b"event: " + name: take for name, take in _TAKERS.items()}
"By the whole line that names an event."


def _type_of(payload: bytes) -> bytes:
    """The JSON `type` in the data of an event that came without a name."""
    if not payload.startswith(b"{"):
        return b""
    try:
        return _TYPED.decode(payload).type.encode()
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return b""


def _whole_prompt(usage: _Usage) -> int | None:
    plain, written, read = (
        usage.input_tokens,
        usage.cache_creation_input_tokens,
        usage.cache_read_input_tokens,
    )
    if plain is None and written is None and read is None:
        return None
    return (plain or 0) + (written or 0) + (read or 0)


def _error_said(payload: bytes) -> dict[str, Any]:
    """The error object of an `error` event, with a type and a message whatever the payload was."""
    given = _decode(payload)
    error = given.get("error") if isinstance(given, dict) else None
    said: dict[str, Any] = dict(error) if isinstance(error, dict) else {}
    if not isinstance(said.get("type"), str):
        said["type"] = "api_error"
    if not isinstance(said.get("message"), str):
        said["message"] = _one_line(payload[:2000].decode("utf-8", "replace"))
    return said


# -- folding a stream into one message --------------------------------------------------------------


class Unfinished(Exception):
    """The stream is not a whole answer: it has no `message_stop`, has an error, or part of it is unreadable."""


@dataclass(slots=True)
class UnfinishedBlock:
    """A block that was open when the stream ended."""

    index: int
    kind: str
    tool: str | None
    partial: str
    "Its text so far; for a tool call, its arguments' JSON so far."


@dataclass(slots=True)
class FoldedAnswer:
    """What can be said of a stream, whole or not."""

    message: dict[str, Any]
    "The message with its completed blocks; empty where no message began."
    complete: bool
    unfinished: list[UnfinishedBlock]
    error: dict[str, Any] | None = None
    "The provider's error, where the stream holds one."


def fold(data: bytes) -> dict[str, Any]:
    """The message of a complete stream, as the API would have answered without streaming.

    A tool's input whose JSON does not parse (cut by `max_tokens`) becomes `{}`, which clients answer with a
    validation error; arguments repaired from half a text could be run. Raises `Unfinished`.
    """
    folding = _Folding()
    for name, payload in _frames(data):
        folding.take(name, payload)
    if folding.error is not None:
        raise Unfinished(f"the provider ended the stream with {folding.error['type']}; ask again")
    if folding.unreadable:
        raise Unfinished(f"the stream holds {folding.unreadable}; ask again")
    if not folding.stopped:
        raise Unfinished("the stream ends before message_stop; ask again, or look into the attic")
    folding.close_all()
    return folding.message_so_far()


def fold_partial(data: bytes) -> FoldedAnswer:
    """What can be read of any bytes at all. Never raises."""
    folding = _Folding()
    for name, payload in _frames(data):
        folding.take(name, payload)
    complete = folding.stopped and folding.error is None and not folding.unreadable
    if complete:
        folding.close_all()
    return FoldedAnswer(folding.message_so_far(), complete, folding.unfinished(), folding.error)


def message_body(message: dict[str, Any]) -> bytes:
    """A folded message as a JSON body."""
    return _encode(message)


@dataclass(slots=True)
class _OpenBlock:
    shell: dict[str, Any]
    kind: str
    pieces: dict[str, list[str]] = field(default_factory=dict)
    "Strings to be joined, by the field they belong to (`text`, `thinking`, `partial_json`)."

    def grow(self, where: str, piece: str) -> None:
        self.pieces.setdefault(where, []).append(piece)

    def joined(self, where: str) -> str:
        return "".join(self.pieces.get(where, ()))

    def whole(self) -> dict[str, Any]:
        """The block as the API would have answered it."""
        for where in ("text", "thinking"):
            if where in self.pieces:
                self.shell[where] = _text(self.shell.get(where)) + self.joined(where)
        written = self.joined("partial_json")
        if written:
            try:
                self.shell["input"] = json.loads(written)
            except (ValueError, RecursionError):
                self.shell["input"] = {}
        return self.shell

    def so_far(self) -> str:
        if "partial_json" in self.pieces:
            return self.joined("partial_json")
        where = "thinking" if self.kind == "thinking" else "text"
        return _text(self.shell.get(where)) + self.joined(where)


class _Folding:
    """A message being put together. `take` never raises; what it could not use is named in `unreadable`."""

    def __init__(self) -> None:
        self.message: dict[str, Any] | None = None
        self.stopped = False
        self.error: dict[str, Any] | None = None
        self.unreadable = ""
        self._done: list[dict[str, Any]] = []
        self._open: dict[int, _OpenBlock] = {}

    def take(self, name: bytes, payload: bytes) -> None:
        if name == b"ping" or self.stopped:
            return
        if name == b"error":
            self.error = _error_said(payload)
            return
        event = _decode(payload)
        if not isinstance(event, dict):
            if name in _KNOWN:
                self._doubt("an event that is not JSON")
            return
        kind = event.get("type", name.decode("utf-8", "replace"))
        if kind == "message_start":
            self._start(event.get("message"))
        elif kind == "content_block_start":
            self._block_start(event.get("index"), event.get("content_block"))
        elif kind == "content_block_delta":
            self._block_delta(event.get("index"), event.get("delta"))
        elif kind == "content_block_stop":
            self._block_stop(event.get("index"))
        elif kind == "message_delta":
            self._message_delta(event)
        elif kind == "message_stop":
            self._stop()
        elif kind == "error":
            self.error = _error_said(payload)

    def close_all(self) -> None:
        """Take blocks that were never closed as they are: the message was said to be whole.

        Not a tool call or a thought: a healed stream leaves one open that broke off, and its client drops it.
        """
        for index, block in list(self._open.items()):
            if not block.kind.endswith(("tool_use", "thinking")):
                self._done.append(self._open.pop(index).whole())

    def message_so_far(self) -> dict[str, Any]:
        return {} if self.message is None else {**self.message, "content": self._done}

    def unfinished(self) -> list[UnfinishedBlock]:
        return [
            UnfinishedBlock(index, block.kind, _name(block.shell), block.so_far())
            for index, block in self._open.items()
        ]

    def _start(self, message: Any) -> None:
        """A second start drops the open block and keeps the completed ones, as Claude Code does."""
        if not isinstance(message, dict):
            self._doubt("a message_start without a message")
            return
        if self.message is not None and self.message.get("id") != message.get("id"):
            # Only the last message's thinking goes back to the API: two signatures in one turn are no answer of its.
            self._done = [block for block in self._done if not _text(block.get("type")).endswith("thinking")]
        self.message = dict(message)
        self._open = {}

    def _block_start(self, index: Any, block: Any) -> None:
        if not isinstance(index, int) or not isinstance(block, dict) or self.message is None:
            self._doubt("a block out of place")
            return
        if index in self._open:
            self._doubt("a block that starts twice")
        kind = _text(block.get("type"))
        self._open[index] = _OpenBlock(dict(block), kind)
        if kind == "fallback":
            self._relabel(block)

    def _relabel(self, block: dict[str, Any]) -> None:
        """A fallback block names the model that answers from here on; so does the plain answer."""
        to = block.get("to")
        if self.message is not None and isinstance(to, dict) and isinstance(to.get("model"), str):
            self.message["model"] = to["model"]

    def _block_delta(self, index: Any, delta: Any) -> None:
        block = self._open.get(index) if isinstance(index, int) else None
        if block is None or not isinstance(delta, dict):
            self._doubt("a delta outside its block")
            return
        kind = delta.get("type")
        where = _GROWS.get(kind) if isinstance(kind, str) else None
        if where is not None:
            piece = delta.get(where)
            if isinstance(piece, str):
                block.grow(where, piece)
            elif piece is not None:
                self._doubt("a delta that is not text")
        elif kind == "signature_delta":
            block.shell["signature"] = delta.get("signature") or block.shell.get("signature", "")
        elif kind == "citations_delta":
            block.shell["citations"] = [*(block.shell.get("citations") or ()), delta.get("citation")]
        else:
            # A delta that carries its fields whole, as compaction does; unknown ones are taken the same way.
            block.shell.update({key: value for key, value in delta.items() if key != "type"})

    def _block_stop(self, index: Any) -> None:
        block = self._open.pop(index, None) if isinstance(index, int) else None
        if block is None:
            self._doubt("the end of a block that is not open")
            return
        self._done.append(block.whole())

    def _message_delta(self, event: dict[str, Any]) -> None:
        """Later values replace earlier ones; null ones replace nothing, so a null delta leaves no trace."""
        message, delta, usage = self.message, event.get("delta"), event.get("usage")
        if message is None:
            return
        delta = delta if isinstance(delta, dict) else {}
        if message.get("stop_reason") is not None and delta.get("stop_reason") is None:
            return
        _overlay(message, delta)
        _overlay(message, {k: v for k, v in event.items() if k not in ("type", "delta", "usage")})
        if isinstance(usage, dict):
            counted = message.get("usage")
            message["usage"] = dict(counted) if isinstance(counted, dict) else {}
            _overlay(message["usage"], usage)

    def _stop(self) -> None:
        if self.message is None:
            self._doubt("a message_stop before its message_start")
            return
        self.stopped = True

    def _doubt(self, what: str) -> None:
        self.unreadable = self.unreadable or what


_KNOWN = frozenset(_TAKERS) | {b"content_block_delta"}
_GROWS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


def _overlay(target: dict[str, Any], given: dict[str, Any]) -> None:
    for key, value in given.items():
        if value is not None or key not in target:
            target[key] = value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _name(block: dict[str, Any]) -> str | None:
    name = block.get("name")
    return name if isinstance(name, str) else None


def _decode(payload: bytes) -> Any:
    """JSON, or None. msgspec is fast; the standard library takes lone surrogates and huge numbers too."""
    try:
        return msgspec.json.decode(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        pass
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return None


def _encode(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a surrogate pair; escapes can say it, UTF-8 cannot
        return json.dumps(value, separators=(",", ":")).encode()
