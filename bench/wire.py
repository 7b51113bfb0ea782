"""What goes over the wire in the measurements, and what must come out at the other end. Nothing here waits.

Answers have the shape of a Messages stream: message_start, one text block whose deltas are 145-187 bytes each
(the size of real ones), message_delta, message_stop. Every delta carries its stream's and its own number, so a
lost, repeated, swapped or foreign event shows as a difference of bytes.

Requests have the shape of Claude Code's: `model`, `messages`, `system`, `tools`, `metadata`, `max_tokens` and, last,
`stream`. The first message tells the origin which answer to give, which works through any relay that passes the
body on, and holds a nonce, so that no two requests are the same turn.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache

MODEL = "claude-opus-4-8"
SMALL_ANSWER_BYTES = 2048
LARGE_BODY_BYTES = 5_988_941
"A long session near the context limit, as reference measurements had it."
PLAN = re.compile(rb"plan=([a-z]+) stream=(\d{5}) nonce=([0-9a-f]{16})")
_SAID = (
    "the gateway holds the line while upstream thinks and writes a long tool argument then bytes arrive again "
    "in order each word counted once and the reader waits quietly until the next event comes so nothing is said twice"
)
_WORDS = _SAID.split()


class Wrong(Exception):
    """A relay gave an answer that is not the one the origin gave; the text says where they part."""


def chunk(payload: bytes) -> bytes:
    """One piece in HTTP/1.1 chunk framing."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


LAST_CHUNK = b"0\r\n\r\n"


def event(name: str, **fields: object) -> bytes:
    """One server-sent event as Anthropic writes it: compact JSON whose `type` repeats the event's name."""
    data = json.dumps({"type": name, **fields}, separators=(",", ":"))
    return f"event: {name}\ndata: {data}\n\n".encode()


@dataclass(frozen=True)
class Answer:
    """One whole stream, as events without framing."""

    opening: tuple[bytes, ...]
    deltas: tuple[bytes, ...]
    closing: tuple[bytes, ...]

    @cached_property
    def body(self) -> bytes:
        """What the client must have when all framing is taken off."""
        return b"".join((*self.opening, *self.deltas, *self.closing))

    @cached_property
    def opening_chunks(self) -> tuple[bytes, ...]:
        return tuple(map(chunk, self.opening))

    @cached_property
    def delta_chunks(self) -> tuple[bytes, ...]:
        return tuple(map(chunk, self.deltas))

    @cached_property
    def closing_chunks(self) -> tuple[bytes, ...]:
        return (*map(chunk, self.closing), LAST_CHUNK)


def _delta(stream: int, number: int, dice: random.Random) -> bytes:
    length = dice.randint(30, 72)
    text = f"{stream:05d}.{number:06d}"
    while len(text) < length:
        text += " " + dice.choice(_WORDS)
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text[:length]})


@lru_cache(maxsize=4096)
def answer(stream: int, deltas: int) -> Answer:
    """The answer number `stream` with so many deltas; always the same for the same arguments."""
    dice = random.Random(f"{stream} {deltas}")
    message: dict[str, object] = {
        "id": f"msg_bench{stream:05d}",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 12,
            "cache_creation_input_tokens": 1830,
            "cache_read_input_tokens": 48211,
            "output_tokens": 2,
        },
    }
    return Answer(
        opening=(
            event("message_start", message=message),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            event("ping"),
        ),
        deltas=tuple(_delta(stream, number, dice) for number in range(deltas)),
        closing=(
            event("content_block_stop", index=0),
            event(
                "message_delta",
                delta={"stop_reason": "end_turn", "stop_sequence": None},
                usage={"output_tokens": 12 * deltas + 2},
            ),
            event("message_stop"),
        ),
    )


@lru_cache(maxsize=1)
def short_answer() -> Answer:
    """A stream of about 2 KB, headers not counted: eight deltas and what surrounds them."""
    return answer(0, 8)


@lru_cache(maxsize=1)
def json_answer() -> bytes:
    """A non-streaming message of exactly 2,048 bytes."""
    message: dict[str, object] = {
        "id": "msg_bench_json",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": ""}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 300},
    }
    bare = json.dumps(message, separators=(",", ":"))
    text = f"{_SAID} " * 20
    message["content"] = [{"type": "text", "text": text[: SMALL_ANSWER_BYTES - len(bare)]}]
    return json.dumps(message, separators=(",", ":")).encode()


_RESPONSE_HEADERS = (
    b"date: Fri, 21 Nov 2025 06:20:00 GMT\r\n"
    b"cache-control: no-cache\r\n"
    b"anthropic-ratelimit-unified-status: allowed\r\n"
    b"anthropic-ratelimit-unified-reset: 1763710800\r\n"
    b"request-id: req_bench000000000000000000\r\n"
    b"strict-transport-security: max-age=31536000; includeSubDomains; preload\r\n"
    b"anthropic-organization-id: 00000000-0000-0000-0000-000000000000\r\n"
    b"server: cloudflare\r\n"
    b"x-envoy-upstream-service-time: 812\r\n"
    b"cf-cache-status: DYNAMIC\r\n"
    b"cf-ray: 0000000000000000-FRA\r\n"
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n"
    + _RESPONSE_HEADERS
    + b"\r\n"
)


def json_head(length: int) -> bytes:
    """The head of a non-streaming answer."""
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % length
        + _RESPONSE_HEADERS
        + b"\r\n"
    )


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be written, and what the origin must see of it."""

    nonce: bytes
    pieces: tuple[bytes, ...]
    "Head and body; the body may come in several pieces so that 6 MB need not be copied."
    body_length: int
    body_crc: int


_TOOLS = [
    {
        "name": "Write",
        "description": "Writes a file to the local filesystem.",
        "input_schema": {
            "type": "object",
            "properties": {"file_path": {"type": "string"}, "content": {"type": "string"}},
            "required": ["file_path", "content"],
        },
    }
]


@lru_cache(maxsize=4096)
def _rest_of_body(session: str, stream: bool, filler: int) -> bytes:
    """What follows the first message's text, from its closing quote on; `filler` bytes of conversation in it."""
    messages = b'"}]}'
    if filler:
        piece = f"{_SAID}\\n" * 20
        result = ('{"role":"user","content":"' + piece + '"},{"role":"assistant","content":"ok"}').encode()
        messages += b"," + b",".join([result] * (filler // (len(result) + 1)))
    tail: dict[str, object] = {
        "system": [{"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude."}],
        "tools": _TOOLS,
        "metadata": {"user_id": f"user_bench_session_{session}"},
        "max_tokens": 32000,
    }
    if stream:
        tail["stream"] = True
    return messages + b"]," + json.dumps(tail, separators=(",", ":")).encode()[1:]


def request(
    plan: str,
    nonce: int,
    *,
    stream: int = 0,
    session: str = "00000000-0000-4000-8000-000000000000",
    path: str = "/v1/messages",
    host: str = "127.0.0.1",
    body_bytes: int = 0,
) -> Request:
    """Build one request. `body_bytes` is the body's wanted length, 0 for as short as it comes (about 800 bytes).

    Plans: `paced` and `flood` wait for the origin to be told; `short` is answered at once with a stream of 2 KB,
    `json` with one message of 2 KB.
    """
    first = f'{{"model":"{MODEL}","messages":[{{"role":"user","content":[{{"type":"text","text":"'
    said = f"plan={plan} stream={stream:05d} nonce={nonce:016x} carry this turn"
    front = (first + said).encode()
    rest = _rest_of_body(session, plan != "json", 0)
    if body_bytes:
        rest = _rest_of_body(session, plan != "json", body_bytes - len(front) - len(rest))
        front += b"." * (body_bytes - len(front) - len(rest))
    length = len(front) + len(rest)
    head = (
        f"POST {path}?beta=true HTTP/1.1\r\n"
        f"host: {host}\r\n"
        "accept: application/json\r\n"
        "content-type: application/json\r\n"
        "user-agent: claude-cli/2.1.329 (external, cli)\r\n"
        f"x-claude-code-session-id: {session}\r\n"
        "x-stainless-arch: x64\r\n"
        "x-stainless-lang: js\r\n"
        "x-stainless-os: Linux\r\n"
        "x-stainless-package-version: 0.94.0\r\n"
        "x-stainless-retry-count: 0\r\n"
        "x-stainless-runtime: node\r\n"
        "x-stainless-runtime-version: v24.3.0\r\n"
        f"x-stainless-timeout: {300 if plan == 'json' else 600}\r\n"
        "anthropic-beta: claude-code-20250219,interleaved-thinking-2025-05-14\r\n"
        "anthropic-dangerous-direct-browser-access: true\r\n"
        "anthropic-version: 2023-06-01\r\n"
        "x-api-key: sk-ant-bench-not-a-key\r\n"
        "x-app: cli\r\n"
        "accept-encoding: gzip, deflate, br, zstd\r\n"
        "connection: keep-alive\r\n"
        f"content-length: {length}\r\n\r\n"
    ).encode()
    crc = zlib.crc32(rest, zlib.crc32(front))
    return Request(f"{nonce:016x}".encode(), (head + front, rest), length, crc)


def unchunk(raw: bytes) -> bytes:
    """Take chunk framing off one whole body, strictly: exact sizes, no extensions, no trailers, nothing after it."""
    parts: list[bytes] = []
    at = 0
    while True:
        line_end = raw.find(b"\r\n", at, at + 18)
        size_text = raw[at:line_end] if line_end >= 0 else b""
        if not re.fullmatch(rb"[0-9A-Fa-f]+", size_text):
            raise Wrong(f"no chunk size at byte {at} of the body: {raw[at : at + 20]!r}")
        size, start = int(size_text, 16), line_end + 2
        if raw[start + size : start + size + 2] != b"\r\n":
            raise Wrong(f"the chunk at byte {at} of the body does not end where its size says")
        at = start + size + 2
        if not size:
            break
        parts.append(raw[start : start + size])
    if at != len(raw):
        raise Wrong(f"{len(raw) - at} bytes after the last chunk")
    return b"".join(parts)


def is_keepalive(block: bytes) -> bool:
    """Whether a relay may have put this between the events: a comment, a ping, a delta that changes nothing."""
    if block.startswith(b":"):
        return all(line.startswith(b":") for line in block.split(b"\n"))
    if block.startswith(b"event: ping\n"):
        return True
    if not block.startswith(b"event: message_delta\n"):
        return False
    delta = json.loads(block.partition(b"data: ")[2]).get("delta", {})
    return delta.get("stop_reason") is None


def compare(body: bytes, wanted: bytes, *, byte_for_byte: bool = True) -> int:
    """Check a de-chunked stream against the origin's; return how many keepalives a relay put into it.

    Keepalives may be added between events and nowhere else. A relay that writes the events anew is compared by the
    JSON of their `data` lines where `byte_for_byte` is off. Raises `Wrong`.
    """
    if body == wanted:
        return 0
    if not body.endswith(b"\n\n"):
        raise Wrong(f"the answer ends in the middle of an event: {body[-60:]!r}")
    got = body[:-2].split(b"\n\n")
    kept = _events(got, byte_for_byte)
    expected = _events(wanted[:-2].split(b"\n\n"), byte_for_byte)
    for number, (one, other) in enumerate(zip(kept, expected, strict=False)):
        if one != other:
            raise Wrong(f"event {number} is {one!r:.160}, not {other!r:.160}")
    if len(kept) != len(expected):
        raise Wrong(f"{len(kept)} events arrived of {len(expected)}")
    added = len(got) - len(kept) - (wanted.count(b"\n\n") - len(expected))
    if added < 0:
        raise Wrong("a ping of the origin's was swallowed")
    return added


def _events(blocks: list[bytes], byte_for_byte: bool) -> list[object]:
    kept = [block for block in blocks if not is_keepalive(block)]
    return [block if byte_for_byte else json.loads(block.partition(b"data: ")[2]) for block in kept]
