"""Models of clients: programs that wait, give up and ask again as real ones were measured to do.

They are models, not the programs: each does one thing that the measurements of real clients describe,
with its limits as arguments, so that a demonstration or a test needs no client, no key and no minutes.
`PatientClient` asks once and waits for ever. `AgentModel` is the agent of the freeze: it hangs up after
a limit, asks the same again, runs tool calls and goes on with their results.

They parse HTTP and SSE with code of their own, so that they also check what the gateway writes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ssl import SSLContext
from time import monotonic
from typing import Any, Literal
from urllib.parse import urlsplit

import httptools

from holdfast.lab.provider import reset_on_close

Json = dict[str, Any]

WRITE_TOOL: Json = {
    "name": "Write",
    "description": "Write a file.",
    "input_schema": {
        "type": "object",
        "properties": {"file_path": {"type": "string"}, "content": {"type": "string"}},
        "required": ["file_path", "content"],
    },
}

RETRIED_STATUSES = frozenset({401, 408, 409, 429, 500, 502, 503, 504, 529})
"What the measured agents ask again after; other errors end the turn."


class SseReader:
    """Server-sent events out of bytes, however they are cut (WHATWG HTML, section 9.2.6)."""

    def __init__(self) -> None:
        self.comments = 0
        self._rest = b""
        self._name, self._data = "", list[str]()

    def feed(self, data: bytes) -> list[tuple[str, str]]:
        """The events that these bytes complete, as (name, data)."""
        *lines, self._rest = _lines(self._rest + data)
        events: list[tuple[str, str]] = []
        for line in lines:
            if not line:
                if self._data:
                    events.append((self._name or "message", "\n".join(self._data)))
                self._name, self._data = "", []
            elif line.startswith(":"):
                self.comments += 1
            else:
                self._field(line)
        return events

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)


def _lines(data: bytes) -> list[Any]:
    """Complete lines as text, then the unfinished rest as bytes. A CR at the very end may be half of CRLF."""
    held = b"\r" if data.endswith(b"\r") else b""
    *lines, rest = data.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return [*(line.decode("utf-8", "replace") for line in lines), rest + held]


class Malformed(Exception):
    """The stream broke the grammar that real clients insist on."""


@dataclass(slots=True)
class Message:
    """A message as it grows from events, with the strictness of the official accumulators."""

    value: Json = field(default_factory=dict)
    stopped: bool = False
    events: int = 0
    "Events that an SDK hands out: everything but pings."
    pings: int = 0
    error: Json | None = None
    _argument: str = ""
    _open: int | None = None

    def add(self, name: str, data: Json) -> None:
        """One event. Raises `Malformed` where a real client would throw the stream away."""
        if name != data.get("type"):
            raise Malformed(f"event {name} carries data of type {data.get('type')}")
        if name == "ping":
            self.pings += 1
            return
        self.events += 1
        if self.stopped:
            raise Malformed(f"{name} after message_stop")
        match name:
            case "message_start":
                self.value, self._open = dict(data["message"]), None
            case "content_block_start":
                self._start_block(data["index"], dict(data["content_block"]))
            case "content_block_delta":
                self._grow_block(data["index"], data["delta"])
            case "content_block_stop":
                self._stop_block(data["index"])
            case "message_delta" if self.value:
                self.value["usage"]["output_tokens"] = data["usage"]["output_tokens"]
                if data["delta"].get("stop_reason") is not None:
                    self.value["stop_reason"] = data["delta"]["stop_reason"]
            case "message_stop":
                self.stopped = True
            case "error":
                self.error = data["error"]

    def _start_block(self, index: int, block: Json) -> None:
        if not self.value or self._open is not None or index != len(self.value["content"]):
            raise Malformed(f"content_block_start {index} out of order")
        self.value["content"].append(block)
        self._open, self._argument = index, ""

    def _grow_block(self, index: int, delta: Mapping[str, Any]) -> None:
        if index != self._open:
            raise Malformed(f"content_block_delta {index} without an open block")
        block = self.value["content"][index]
        for key in ("text", "thinking", "signature"):
            if key in delta:
                block[key] += delta[key]
        self._argument += delta.get("partial_json", "")

    def _stop_block(self, index: int) -> None:
        if index != self._open:
            raise Malformed(f"content_block_stop {index} without an open block")
        block = self.value["content"][index]
        if block["type"] in ("tool_use", "server_tool_use"):
            block["input"] = json.loads(self._argument or "{}")
        self._open = None


@dataclass(slots=True)
class Ask:
    """One request of a client model and what it heard; live while it lasts."""

    number: int
    streaming: bool
    began_s: float
    "Monotonic."
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    heard_bytes: int = 0
    "Of the body."
    comments: int = 0
    message: Message = field(default_factory=Message)
    body: bytearray = field(default_factory=bytearray, repr=False)
    "As heard, without chunk framing."
    last_byte_s: float | None = None
    longest_quiet_s: float = 0.0
    ended: str = ""
    """Empty while it lasts; `complete`, `gave up`, `http 529`, `error overloaded_error`, `reset`, `closed`,
    `cut short` (the body ended properly, the message in it did not), `malformed`."""
    ended_s: float | None = None

    @property
    def lasted_s(self) -> float:
        """Until now or its end."""
        return (self.ended_s or monotonic()) - self.began_s

    @property
    def quiet_s(self) -> float:
        """The longest time without a byte, a silence that still lasts included."""
        if self.ended:
            return self.longest_quiet_s
        return max(self.longest_quiet_s, monotonic() - (self.last_byte_s or self.began_s))

    @property
    def complete(self) -> bool:
        """Whether the answer was heard to its proper end."""
        return self.ended == "complete"


class _Response:
    """What httptools calls while it reads one response."""

    def __init__(self, ask: Ask) -> None:
        self._ask, self._sse = ask, SseReader()
        self.ended = False
        self.last_event_s = ask.began_s
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._ask.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        self._ask.status = None if status < 200 else status

    def on_body(self, body: bytes) -> None:
        ask = self._ask
        ask.heard_bytes += len(body)
        ask.body += body
        if not ask.headers.get("content-type", "").startswith("text/event-stream"):
            return
        before = ask.message.events
        for name, data in self._sse.feed(body):
            ask.message.add(name, json.loads(data))
        ask.comments = self._sse.comments
        if ask.message.events > before:
            self.last_event_s = monotonic()

    def on_message_complete(self) -> None:
        self.ended = self._ask.status is not None


Clock = Literal["bytes", "events", "total"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client waits, by which clock, and how it hangs up."""

    seconds: float | None = None
    "None waits for ever."
    clock: Clock = "bytes"
    "Since the last byte; since the last event that an SDK hands out; or since the request."
    close: Literal["rst", "fin"] = "rst"

    def deadline(self, ask: Ask, last_event_s: float) -> float | None:
        """When it gives up, as things stand."""
        if self.seconds is None:
            return None
        since = {
            "bytes": ask.last_byte_s or ask.began_s,
            "events": last_event_s,
            "total": ask.began_s,
        }[self.clock]
        return since + self.seconds


@dataclass(frozen=True, slots=True)
class PatientClient:
    """Asks once and waits until the answer ends, however long that takes."""

    headers: Mapping[str, str] = field(default_factory=dict)
    trust: SSLContext | None = None

    async def ask(self, base_url: str, body: Json) -> Ask:
        """The answer to one request; never raises for what the other side does."""
        ask = Ask(1, body.get("stream") is True, monotonic())
        await send(ask, base_url, json.dumps(body).encode(), Patience(), self.headers, self.trust)
        return ask


@dataclass(slots=True)
class Report:
    """What an agent model did and got; live while the turn lasts."""

    asks: list[Ask] = field(default_factory=list)
    tools_run: list[Json] = field(default_factory=list)
    "The tool_use blocks that it carried out, in order."
    texts: list[str] = field(default_factory=list)
    "The text of every message heard to its end."
    began_s: float = field(default_factory=monotonic)
    ended_s: float | None = None
    finished: bool = False
    "Whether the turn came to its proper end."
    error: str | None = None
    "What the user is told instead."

    @property
    def lasted_s(self) -> float:
        """Until now or its end."""
        return (self.ended_s or monotonic()) - self.began_s

    @property
    def gave_up(self) -> int:
        """How often it hung up because its patience had run out."""
        return sum(1 for ask in self.asks if ask.ended == "gave up")


@dataclass(frozen=True, slots=True)
class AgentModel:
    """The agent of the freeze: hangs up after a limit, asks the same again, runs tools, goes on.

    With `fallback`, a stream that fell silent after its headers is asked for once more without streaming,
    at once, as the measured agents do; without it the same request is sent again (report of the freeze).
    """

    limit_s: float
    retries: int = 10
    fallback: bool = False
    close: Literal["rst", "fin"] = "rst"
    clock: Clock = "bytes"
    backoff_s: float = 0.0
    "Before the first retry after an error; doubled each time. After a hang-up it asks again at once."
    headers: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[Json, ...] = (WRITE_TOOL,)
    model: str = "claude-lab-1"
    streams: bool = True
    "Whether it asks for streams at all."
    run_tool: Callable[[Json], str] = lambda call: f"{call['name']} done"
    "From a tool_use block to the text of its result; nothing is touched by default."
    trust: SSLContext | None = None

    async def run(self, base_url: str, prompt: str, report: Report | None = None) -> Report:
        """One turn from the prompt to its end or to an error. Give a `report` to watch it live."""
        report = Report() if report is None else report
        messages: list[Json] = [{"role": "user", "content": prompt}]
        while (message := await self._one_answer(base_url, messages, report)) is not None:
            report.texts.append("".join(b["text"] for b in message["content"] if b["type"] == "text"))
            calls = [block for block in message["content"] if block["type"] == "tool_use"]
            if not calls:
                report.finished = True
                break
            messages += [
                {"role": "assistant", "content": message["content"]},
                {"role": "user", "content": [self._carry_out(call, report) for call in calls]},
            ]
        report.ended_s = monotonic()
        return report

    def _carry_out(self, call: Json, report: Report) -> Json:
        report.tools_run.append(call)
        return {"type": "tool_result", "tool_use_id": call["id"], "content": self.run_tool(call)}

    async def _one_answer(self, base_url: str, messages: list[Json], report: Report) -> Json | None:
        """Ask until an answer was heard to its end; None when the tries are used up (`report.error`)."""
        streaming, failures = self.streams, 0
        while True:
            ask = Ask(len(report.asks) + 1, streaming, monotonic())
            report.asks.append(ask)
            body = json.dumps(self._body(messages, streaming)).encode()
            patience = Patience(self.limit_s, self.clock, self.close)
            await send(ask, base_url, body, patience, self.headers, self.trust)
            if ask.complete:
                return ask.message.value
            failures += 1
            if failures > self.retries or not _worth_a_retry(ask):
                report.error = f"API Error: {ask.ended} after {failures} requests"
                return None
            if ask.ended != "gave up" and self.backoff_s:
                await asyncio.sleep(self.backoff_s * 2 ** (failures - 1))
            if self.fallback and ask.status == 200:
                streaming = False

    def _body(self, messages: list[Json], streaming: bool) -> Json:
        body: Json = {
            "model": self.model,
            "max_tokens": 32000,
            "tools": list(self.tools),
            "messages": messages,
        }
        return {**body, "stream": True} if streaming else body


def _worth_a_retry(ask: Ask) -> bool:
    return ask.status in (None, 200) or ask.status in RETRIED_STATUSES


async def send(
    ask: Ask,
    base_url: str,
    body: bytes,
    patience: Patience,
    headers: Mapping[str, str],
    trust: SSLContext | None = None,
) -> None:
    """One request on a fresh connection; everything that happens is written into `ask`."""
    parts = urlsplit(base_url)
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=trust)
    except OSError as error:
        _end(ask, f"unreachable ({error.strerror or type(error).__name__})")
        return
    try:
        writer.write(_request(parts.netloc, f"{parts.path}/v1/messages", body, headers))
        _end(ask, await _listen(ask, reader, patience))
    finally:
        if ask.ended == "gave up" and patience.close == "rst":
            reset_on_close(writer.get_extra_info("socket"))
            writer.transport.abort()
        else:
            writer.close()


def _end(ask: Ask, how: str) -> None:
    ask.ended, ask.ended_s = how, monotonic()
    ask.longest_quiet_s = max(ask.longest_quiet_s, ask.ended_s - (ask.last_byte_s or ask.began_s))


async def _listen(ask: Ask, reader: asyncio.StreamReader, patience: Patience) -> str:
    response = _Response(ask)
    while not response.ended:
        try:
            async with asyncio.timeout_at(patience.deadline(ask, response.last_event_s)):
                data = await reader.read(65536)
        except TimeoutError:
            return "gave up"
        except OSError:
            return "reset"
        at_s = monotonic()
        ask.longest_quiet_s = max(ask.longest_quiet_s, at_s - (ask.last_byte_s or ask.began_s))
        if not data:
            return "closed"
        ask.last_byte_s = at_s
        try:
            response.parser.feed_data(data)
        except (httptools.HttpParserError, Malformed, ValueError, KeyError) as error:
            return f"malformed ({_cause(error)})"
    return _verdict(ask)


def _cause(error: BaseException) -> str:
    return str(error.__context__ or error)


def _verdict(ask: Ask) -> str:
    """What a response amounts to whose HTTP body ended properly."""
    if ask.status != 200:
        return f"http {ask.status}"
    if not ask.streaming:
        return _whole(ask)
    if ask.message.error is not None:
        return f"error {ask.message.error.get('type')}"
    return "complete" if ask.message.stopped else "cut short"


def _whole(ask: Ask) -> str:
    try:
        value = json.loads(ask.body)
    except ValueError:
        return "cut short"
    if value.get("type") != "message":
        return f"error {value.get('error', {}).get('type')}"
    ask.message.value, ask.message.stopped = value, True
    return "complete"


def _request(authority: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    own = {
        "host": authority,
        "user-agent": "holdfast-lab/1 (client model)",
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "x-api-key": "lab-key",
    }
    named = {**own, **{name.lower(): value for name, value in headers.items()}}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body
