"""An answer of the provider as a value: what it says, when it pauses, and how it ends.

Stories are built from parts and read like what happens:

    answer(text("I will write it."), tool("Write", {"file_path": "a.py"}, silent_s=400), stop("tool_use"))
    answer(text("Hello"), pause(5), reset())
    answer(pause(400), start(), text("late"))          # 200 and headers at once, first event late
    answer(text("x"), before_headers_s=400)            # nothing at all for 400 s

Where `start()` is not among the parts, the message begins with it. Where neither an end of the message
nor an ending is among them, a proper end is added. Times are in seconds, before the provider's `speed`.
The grammar is that of the Messages API: docs of streaming, and the block kinds seen there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from holdfast.flight.endings import Phase

Json = dict[str, Any]

SIGNATURE = "bGFiLXNpZ25hdHVyZQ=="
"What the lab signs its thinking with; a real signature is longer, and as opaque."
BYTES_PER_TOKEN = 4
"The lab's own measure of a token; a real tokenizer differs by text."


# --- steps ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """`message_start`."""


@dataclass(frozen=True, slots=True)
class Open:
    """`content_block_start`; the index is counted by whoever plays the steps."""

    block: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delta:
    """`content_block_delta` of the open block."""

    delta: Mapping[str, Any]
    tokens: int = 0
    "How many output tokens were generated for it (0 where a pause before it already counted them)."


@dataclass(frozen=True, slots=True)
class Close:
    """`content_block_stop`."""


@dataclass(frozen=True, slots=True)
class Ping:
    """`event: ping`."""


@dataclass(frozen=True, slots=True)
class Comment:
    """An SSE comment line: bytes, but no event."""

    text: str = "lab"


@dataclass(frozen=True, slots=True)
class MessageDelta:
    """`message_delta`: the stop reason (or null) and the cumulative usage."""

    stop_reason: str | None
    output_tokens: int | None = None
    "None takes what was generated so far."


@dataclass(frozen=True, slots=True)
class MessageStop:
    """`message_stop`, the only reliable end of a message."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`event: error` inside the stream."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes as they are, whatever they mean."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is said for a while."""

    seconds: float
    tokens: int = 0
    "Output tokens generated meanwhile and held back, evenly over the pause."


@dataclass(frozen=True, slots=True)
class Flood:
    """Text deltas of one size, as fast as the connection takes them, made while they are sent."""

    size: int
    piece: int


@dataclass(frozen=True, slots=True)
class Wire:
    """Bytes on the connection itself, outside the body's framing: what HTTP never said."""

    data: bytes


Step = (
    Start
    | Open
    | Delta
    | Close
    | Ping
    | Comment
    | MessageDelta
    | MessageStop
    | Fault
    | Raw
    | Wire
    | Pause
    | Flood
)


class End(Enum):
    """What happens to the connection after the last step."""

    PROPER = "end"
    "The HTTP body ends as it should."
    CUT_SHORT = "cut"
    "The HTTP body ends as it should, but the message in it has not."
    FIN = "fin"
    "The connection is closed in order, in the middle of the body."
    RST = "rst"
    "The connection is reset."
    SILENCE = "silence"
    "Nothing more comes and nothing is closed, until the client leaves."
    BARE_FIN = "bare fin"
    "TCP is closed in order under TLS, without TLS's own goodbye (`close_notify`). As FIN without TLS."
    FIN_THEN_RST = "fin+rst"
    "The connection is closed in order and reset right after, as by a process that had not read everything."
    ALERT = "alert"
    "TLS sends a fatal alert and the connection is closed. As FIN without TLS."
    BROKEN_RECORD = "broken record"
    "A TLS record that no key deciphers, as from a box that changes bytes. As FIN without TLS."
    DARK = "dark"
    "Nothing that is sent here arrives any more, so nothing is acknowledged: the path is dead. Linux only."


@dataclass(frozen=True, slots=True)
class GoAway:
    """HTTP/2's goodbye to the whole connection, then its close. Over HTTP/1.1 the close alone (a FIN)."""

    code: int
    "RFC 9113, section 7: 0 is NO_ERROR, 2 INTERNAL_ERROR, 11 ENHANCE_YOUR_CALM."
    debug: bytes = b""
    "Where servers and proxies put their reason."
    processed: bool = True
    "Whether the answer's own stream is among those that were worked on; False promises that nothing was done."


@dataclass(frozen=True, slots=True)
class ResetStream:
    """HTTP/2's end of this stream alone; the connection lives on. Over HTTP/1.1 a RST."""

    code: int
    "As in `GoAway`; 7 is REFUSED_STREAM, 8 CANCEL."


Ends = End | GoAway | ResetStream


class Gzip(Enum):
    """Whether the body is compressed."""

    NEVER = "never"
    IF_ACCEPTED = "if accepted"
    "Where the request's `accept-encoding` names gzip."
    ALWAYS = "always"
    "Even where the request did not ask for it."


# --- the answer ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """All that the provider does with one request."""

    steps: tuple[Step, ...] = ()
    "None at all: not even headers are sent before the ending."
    end: Ends = End.PROPER
    before_headers_s: float = 0.0
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    "Added to the provider's own."
    body: bytes | None = None
    "In place of the steps: an error's body. None where the steps are the answer."
    gzip: Gzip = Gzip.NEVER
    framing: str = "chunked"
    "`chunked`, or `close` (the end of the connection is the end of the body)."
    piece_bytes: int | None = None
    "Cut every write into pieces of this many bytes; None writes whole events."
    label: str = ""
    "A name to count by, such as `first` or `side`."
    instead: bytes | None = None
    "In place of HTTP: these bytes, then the ending."

    @property
    def tokens(self) -> int:
        """Output tokens of the whole answer."""
        return sum(_tokens_of(step) for step in self.steps)

    @property
    def pauses_s(self) -> float:
        """All pauses together, the one before the headers included."""
        return self.before_headers_s + sum(step.seconds for step in self.steps if isinstance(step, Pause))

    @property
    def tool_ids(self) -> tuple[str, ...]:
        """The ids of the tool calls that the client will have to answer."""
        return tuple(
            str(step.block["id"])
            for step in self.steps
            if isinstance(step, Open) and step.block["type"] == "tool_use"
        )

    def labelled(self, label: str) -> Answer:
        """The same answer under a name."""
        return replace(self, label=label)


Part = Step | Sequence[Step] | Ends


def answer(
    *parts: Part,
    before_headers_s: float = 0.0,
    headers: Mapping[str, str] | None = None,
    gzip: Gzip = Gzip.NEVER,
    framing: str = "chunked",
    piece_bytes: int | None = None,
    label: str = "",
) -> Answer:
    """Build an answer with status 200 from its parts, in order."""
    steps: list[Step] = []
    end: Ends | None = None
    for part in parts:
        if end is not None:
            raise ValueError("an ending is the last part of an answer; move what follows it before it")
        if isinstance(part, End | GoAway | ResetStream):
            end = part
        elif isinstance(part, Sequence):
            steps.extend(part)
        else:
            steps.append(part)
    if not any(isinstance(step, Start) for step in steps):
        steps.insert(0, Start())
    if end is None and not any(isinstance(step, MessageDelta | MessageStop | Fault) for step in steps[-2:]):
        steps.extend(stop(_natural_stop(steps)))
    return Answer(
        steps=tuple(steps),
        end=end or End.PROPER,
        before_headers_s=before_headers_s,
        headers=tuple((headers or {}).items()),
        gzip=gzip,
        framing=framing,
        piece_bytes=piece_bytes,
        label=label,
    )


def http_error(
    status: int,
    message: str = "the lab was told to fail",
    *,
    kind: str | None = None,
    retry_after: float | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    before_headers_s: float = 0.0,
) -> Answer:
    """An HTTP error with the provider's kind of JSON body, or with the body given."""
    added = dict(headers or {})
    if retry_after is not None:
        added["retry-after"] = f"{retry_after:g}"
    if body is None:
        body = encode(error_json(kind or ERROR_KINDS.get(status, "api_error"), message))
    return Answer(status=status, headers=tuple(added.items()), body=body, before_headers_s=before_headers_s)


def unanswered(end: Ends, *, after_s: float = 0.0) -> Answer:
    """No header at all: only an ending (or silence), after a while."""
    return Answer(end=end, before_headers_s=after_s)


def headers_only(end: Ends, *, after_s: float = 0.0) -> Answer:
    """Status 200 and headers at once, then only an ending (or silence), after a while."""
    return Answer(steps=(Pause(after_s),), end=end)


def no_http(said: bytes, end: Ends = End.FIN) -> Answer:
    """Bytes that are no HTTP, then an ending."""
    return Answer(instead=said, end=end)


ERROR_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"The API's error types by status (its page on errors)."


def error_json(kind: str, message: str) -> Json:
    """An error body."""
    return {"type": "error", "error": {"type": kind, "message": message}}


# --- parts: blocks -------------------------------------------------------------------------------------


def text(words: str, *, over_s: float = 0.0) -> list[Step]:
    """A whole text block, one delta per word, spread evenly over `over_s`."""
    return [open_text(), *says(words, over_s=over_s), close_block()]


def thinking(
    words: str, *, over_s: float = 0.0, silent_s: float = 0.0, signature: str = SIGNATURE
) -> list[Step]:
    """A whole thinking block. Without words: the signature alone, as where thinking is not displayed."""
    silence: list[Step] = [Pause(silent_s)] if silent_s else []
    return [open_thinking(), *thinks(words, over_s=over_s), *silence, signs(signature), close_block()]


def redacted_thinking(data: str = "bGFiLXJlZGFjdGVk") -> list[Step]:
    """A redacted thinking block: complete at its start."""
    return [open_block({"type": "redacted_thinking", "data": data}), close_block()]


def tool(
    name: str,
    arguments: Mapping[str, Any],
    *,
    tool_id: str | None = None,
    piece: int = 40,
    over_s: float = 0.0,
    silent_s: float = 0.0,
) -> list[Step]:
    """A whole tool call.

    With `silent_s`, the block opens, nothing is said while the argument is generated, and then it
    arrives in one piece, as without fine-grained tool streaming. Otherwise it arrives in pieces of
    `piece` characters, spread evenly over `over_s`.
    """
    argument = json.dumps(arguments, ensure_ascii=False)
    said: list[Step]
    opened: list[Step] = [open_tool(name, tool_id or default_tool_id(name, argument)), argues("", tokens=0)]
    if silent_s:
        said = [Pause(silent_s, tokens=count_tokens(argument)), argues(argument, tokens=0)]
    else:
        said = _spread([argues(part) for part in _pieces(argument, piece)], over_s)
    return [*opened, *said, close_block()]


def server_tool(
    query: str, results: Sequence[tuple[str, str]] = (("A page", "https://example.com/"),)
) -> list[Step]:
    """A web search made by the provider: `server_tool_use`, then its result block, complete at its start."""
    argument = json.dumps({"query": query}, ensure_ascii=False)
    call_id = "srvtoolu_" + _digest("web_search", argument)
    found = [
        {
            "type": "web_search_result",
            "title": title,
            "url": url,
            "encrypted_content": "bGFi",
            "page_age": None,
        }
        for title, url in results
    ]
    return [
        open_block({"type": "server_tool_use", "id": call_id, "name": "web_search", "input": {}}),
        argues("", tokens=0),
        *(argues(part) for part in _pieces(argument, 40)),
        close_block(),
        open_block({"type": "web_search_tool_result", "tool_use_id": call_id, "content": found}),
        close_block(),
    ]


def flood(size: int, *, piece: int = 4096) -> list[Step]:
    """A text block of `size` bytes of text, as fast as the connection takes it."""
    return [open_text(), Flood(size, piece), close_block()]


# --- parts: pieces of blocks, for stories that break in the middle ------------------------------------


def open_block(block: Mapping[str, Any]) -> Open:
    """Open any block by its shell."""
    return Open(block)


def open_text() -> Open:
    """Open a text block."""
    return Open({"type": "text", "text": ""})


def open_thinking() -> Open:
    """Open a thinking block."""
    return Open({"type": "thinking", "thinking": "", "signature": ""})


def open_tool(name: str, tool_id: str | None = None) -> Open:
    """Open a tool call."""
    return Open({"type": "tool_use", "id": tool_id or default_tool_id(name, ""), "name": name, "input": {}})


def close_block() -> Close:
    """Close the open block."""
    return Close()


def says(words: str, *, over_s: float = 0.0) -> list[Step]:
    """Text deltas, one per word, inside an open text block."""
    return _spread(
        [Delta({"type": "text_delta", "text": word}, count_tokens(word)) for word in _words(words)], over_s
    )


def thinks(words: str, *, over_s: float = 0.0) -> list[Step]:
    """Thinking deltas, one per word, inside an open thinking block."""
    return _spread(
        [Delta({"type": "thinking_delta", "thinking": word}, count_tokens(word)) for word in _words(words)],
        over_s,
    )


def signs(signature: str = SIGNATURE) -> Delta:
    """The signature delta, just before a thinking block closes."""
    return Delta({"type": "signature_delta", "signature": signature})


def argues(partial_json: str, *, tokens: int | None = None) -> Delta:
    """One piece of a tool call's argument."""
    counted = count_tokens(partial_json) if tokens is None else tokens
    return Delta({"type": "input_json_delta", "partial_json": partial_json}, counted)


# --- parts: between blocks, and ends ------------------------------------------------------------------


def start() -> Start:
    """`message_start`, where it is not to be the first thing."""
    return Start()


def pause(seconds: float, *, tokens: int = 0) -> Pause:
    """Say nothing for a while; `tokens` are generated meanwhile and held back."""
    return Pause(seconds, tokens)


def ping() -> Ping:
    """One `event: ping`."""
    return Ping()


def pings(every_s: float, times: int) -> list[Step]:
    """A pause with pings in it."""
    return [step for _ in range(times) for step in (Pause(every_s), Ping())]


def comment(words: str = "lab") -> Comment:
    """One SSE comment."""
    return Comment(words)


def raw(data: bytes) -> Raw:
    """Bytes as they are."""
    return Raw(data)


def wire(data: bytes) -> Wire:
    """Bytes outside the body's framing: a chunk that announces more than follows, say."""
    return Wire(data)


def stop(reason: str | None = "end_turn", *, output_tokens: int | None = None) -> list[Step]:
    """The message's proper end: `message_delta` with the reason, `message_stop`."""
    return [MessageDelta(reason, output_tokens), MessageStop()]


def fault(kind: str = "overloaded_error", message: str = "Overloaded") -> Fault:
    """An error inside the stream; the body ends after it."""
    return Fault(kind, message)


def fin() -> End:
    """Close the connection in order, in the middle."""
    return End.FIN


def reset() -> End:
    """Reset the connection."""
    return End.RST


def cut_short() -> End:
    """End the HTTP body properly, whatever the message in it still lacks."""
    return End.CUT_SHORT


def silence() -> End:
    """Say nothing more and keep the connection open until the client leaves."""
    return End.SILENCE


def bare_fin() -> End:
    """Close TCP under TLS without `close_notify`."""
    return End.BARE_FIN


def fin_then_reset() -> End:
    """Close the connection in order, and reset it right after."""
    return End.FIN_THEN_RST


def alert() -> End:
    """Send a fatal TLS alert."""
    return End.ALERT


def broken_record() -> End:
    """Send a TLS record that cannot be deciphered."""
    return End.BROKEN_RECORD


def dark() -> End:
    """Hear nothing any more, and acknowledge nothing: the path is dead."""
    return End.DARK


def go_away(code: int = 0, debug: bytes = b"", *, processed: bool = True) -> GoAway:
    """HTTP/2: end the connection with a code."""
    return GoAway(code, debug, processed)


def reset_stream(code: int) -> ResetStream:
    """HTTP/2: end the stream with a code."""
    return ResetStream(code)


# --- playing -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Say:
    """One event (or raw bytes) to be written, and where the answer stands once it is."""

    data: bytes
    tokens: int
    phase: Phase
    bare: bool = False
    "Whether they go out as they are, outside the body's framing."


def play(told: Answer, *, message_id: str, model: str, input_tokens: int) -> Iterator[Say | Pause]:
    """The answer's steps as bytes and pauses, block indexes and usage filled in."""
    index, said, phase, kind = -1, 0, Phase.AWAITING_FIRST_EVENT, ""
    for step in told.steps:
        match step:
            case Pause():
                said += step.tokens
                yield step
                continue
            case Flood():
                for data, tokens in _flood(step, index):
                    said += tokens
                    yield Say(data, tokens, phase)
                continue
            case Start():
                phase, index = Phase.BETWEEN_BLOCKS, -1
                data = event(
                    "message_start", message=empty_message(message_id, model, input_tokens, output_tokens=1)
                )
            case Open():
                index, kind = index + 1, str(step.block["type"])
                phase = BLOCK_PHASES.get(kind, Phase.BETWEEN_BLOCKS)
                data = event("content_block_start", index=index, content_block=dict(step.block))
            case Delta():
                said += step.tokens
                data = event("content_block_delta", index=index, delta=dict(step.delta))
            case Close():
                phase = Phase.BETWEEN_BLOCKS
                data = event("content_block_stop", index=index)
            case Ping():
                data = event("ping")
            case Comment():
                data = f": {step.text}\n\n".encode()
            case MessageDelta():
                count = said if step.output_tokens is None else step.output_tokens
                data = event(
                    "message_delta",
                    delta={"stop_reason": step.stop_reason, "stop_sequence": None},
                    usage={"output_tokens": count},
                )
            case MessageStop():
                phase = Phase.AFTER_END
                data = event("message_stop")
            case Fault():
                phase = Phase.AFTER_END
                data = event("error", error={"type": step.kind, "message": step.message})
            case Raw():
                data = step.data
            case Wire():
                yield Say(step.data, 0, phase, bare=True)
                continue
        yield Say(data, _tokens_of(step), phase)


BLOCK_PHASES = {
    "text": Phase.IN_TEXT,
    "thinking": Phase.IN_THINKING,
    "redacted_thinking": Phase.IN_THINKING,
    "tool_use": Phase.IN_TOOL_USE,
    "server_tool_use": Phase.IN_TOOL_USE,
}


def whole_message(told: Answer, *, message_id: str, model: str, input_tokens: int) -> Json:
    """The same answer as one message, for a request that did not ask for a stream."""
    message = empty_message(message_id, model, input_tokens, output_tokens=told.tokens)
    content: list[Json] = message["content"]
    argument = ""
    for step in told.steps:
        match step:
            case Start():
                content.clear()
            case Open():
                content.append(dict(step.block))
                argument = ""
            case Delta():
                argument += str(step.delta.get("partial_json", ""))
                _grow(content[-1], step.delta)
            case Flood():
                content[-1]["text"] += "x" * step.size
            case Close() if content[-1]["type"] in ("tool_use", "server_tool_use"):
                content[-1]["input"] = json.loads(argument or "{}")
            case MessageDelta() if step.stop_reason is not None:
                message["stop_reason"] = step.stop_reason
            case _:
                pass
    return message


def fault_status(told: Answer) -> tuple[int, bytes] | None:
    """Status and body that an in-stream error has where no stream was asked for; None where there is none."""
    statuses = {kind: status for status, kind in ERROR_KINDS.items()}
    for step in told.steps:
        if isinstance(step, Fault):
            return statuses.get(step.kind, 500), encode(error_json(step.kind, step.message))
    return None


def event(name: str, **payload: Any) -> bytes:
    """One SSE event, whose `event:` line equals the type in its data, as the API sends it."""
    return b"event: " + name.encode() + b"\ndata: " + encode({"type": name, **payload}) + b"\n\n"


def empty_message(message_id: str, model: str, input_tokens: int, *, output_tokens: int) -> Json:
    """A message without content."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output_tokens,
            "service_tier": "standard",
        },
    }


def encode(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def count_tokens(said: str) -> int:
    """Tokens by the lab's own measure, at least 1 for anything said."""
    return -(-len(said) // BYTES_PER_TOKEN)


def default_tool_id(name: str, argument: str) -> str:
    """The id of a tool call: the same for the same call, so that stories are values."""
    return "toolu_" + _digest(name, argument)


# --- rules: request -> answer by what the conversation holds -------------------------------------------


@dataclass(frozen=True)
class Chapter:
    """One point of a conversation and what is answered there: the nth time it is asked, the nth answer."""

    answers: tuple[Answer, ...]
    "Asked more often than there are answers, the last one is given again."
    label: str


@dataclass
class AgentStory:
    """Answers an agent client by what its conversation already holds, however often it asks.

    A chapter with tool calls is over when the messages hold a tool_result for each of them, wherever
    they stand (2.1.329 puts messages of role `system` behind them). A request without tools is a side
    request (a title, a quota check) and gets a small plain answer.
    """

    chapters: tuple[Chapter, ...]
    is_side: Callable[[Json], bool] = lambda body: not body.get("tools")
    side: Answer = field(default_factory=lambda: answer(text("Lab title"), label="side"))
    asked: dict[int, int] = field(default_factory=dict)

    def __call__(self, request: Any) -> Answer:
        body = request.json
        if self.is_side(body):
            return self.side
        results = tool_results(body)
        number = next(
            (
                number
                for number, chapter in enumerate(self.chapters)
                if not _over(chapter, results) or number == len(self.chapters) - 1
            ),
            0,
        )
        chapter, times = self.chapters[number], self.asked.get(number, 0)
        self.asked[number] = times + 1
        return chapter.answers[min(times, len(chapter.answers) - 1)].labelled(chapter.label)


def agent_story(
    first: Answer | Sequence[Answer], then: Answer | Sequence[Answer], *further: Answer | Sequence[Answer]
) -> AgentStory:
    """`first` until its tools have answered, then `then`, and so on.

    Where a sequence is given, the nth request at that point gets its nth answer (and the last one from
    then on): `agent_story(first=[http_error(529), answer(...)], then=answer(text("done")))`.
    Labels: `first`, `then`, `then 2`, ...; side requests are `side`.
    """
    names = ["first", "then", *(f"then {number}" for number in range(2, len(further) + 2))]
    points = [first, then, *further]
    chapters = [
        Chapter((point,) if isinstance(point, Answer) else tuple(point), name)
        for point, name in zip(points, names, strict=True)
    ]
    return AgentStory(tuple(chapters))


def tool_results(body: Mapping[str, Any]) -> set[str]:
    """The ids of all tool calls that the request's messages hold a result for."""
    found: set[str] = set()
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            found.update(
                str(block.get("tool_use_id"))
                for block in content
                if isinstance(block, dict) and block.get("type") == "tool_result"
            )
    return found


def _over(chapter: Chapter, results: set[str]) -> bool:
    """Whether any of the chapter's answers has been carried out in full."""
    return any(told.tool_ids and results.issuperset(told.tool_ids) for told in chapter.answers)


# --- small parts ---------------------------------------------------------------------------------------


def _natural_stop(steps: Sequence[Step]) -> str:
    called = any(isinstance(step, Open) and step.block["type"] == "tool_use" for step in steps)
    return "tool_use" if called else "end_turn"


def _tokens_of(step: Step) -> int:
    match step:
        case Delta() | Pause():
            return step.tokens
        case Flood():
            return step.size // BYTES_PER_TOKEN
    return 0


def _flood(step: Flood, index: int) -> Iterator[tuple[bytes, int]]:
    left = step.size
    while left > 0:
        size = min(step.piece, left)
        delta = {"type": "text_delta", "text": "x" * size}
        yield event("content_block_delta", index=index, delta=delta), size // BYTES_PER_TOKEN
        left -= size


def _grow(block: Json, delta: Mapping[str, Any]) -> None:
    for key in ("text", "thinking", "signature"):
        if key in delta:
            block[key] += delta[key]


def _words(said: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", said)


def _pieces(said: str, size: int) -> list[str]:
    return [said[at : at + size] for at in range(0, len(said), size)]


def _spread(deltas: Sequence[Step], over_s: float) -> list[Step]:
    if not over_s or not deltas:
        return list(deltas)
    gap = Pause(over_s / len(deltas))
    return [step for delta in deltas for step in (gap, delta)]


def _digest(name: str, argument: str) -> str:
    return hashlib.sha256(f"{name}\0{argument}".encode()).hexdigest()[:24]
