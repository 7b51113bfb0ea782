"""What is kept of a request after its turn: never a word of it, only what kind of question it was.

Computed for turns that were disturbed, at their end; an undisturbed turn pays nothing for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from holdfast.flight import halfjson
from holdfast.flight.record import About
from holdfast.gateway import sameness
from holdfast.gateway.rawjson import array_values, members

PATHS = ("file_path", "notebook_path", "path")
"Arguments in which the measured agents' tools name a file."

_FURTHEST_BYTES = 8 * 1024 * 1024
"How far from an answer's end the last call is looked for."
_LOOKED_AT_BYTES = 64 * 1024
"Of a call's arguments: the path comes first in what models write, the content after it."
_WHOLE_BYTES = 4 * 1024 * 1024
"An answer that came whole is read up to this size: 128k tokens are half a megabyte."
_BLOCKS = 100
"How many blocks are gone back through to find the last call."


class Bytes(Protocol):
    """What is read in pieces: a stream log."""

    size: int

    def read(self, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes; empty only at the end."""


def about(
    body: bytes | None, answer: Bytes | None, *, model: str | None, request_bytes: int, streams: bool = True
) -> About:
    """A kept answer's question. `body` is the request's, None where it cannot be had; `answer` its bytes, an event
    stream's or, without `streams`, one message's. Raises what reading the answer raises."""
    found = members(body) if body is not None else None
    tool, path = None, None
    if answer is not None:
        tool, path = last_call(answer) if streams else last_call_of_message(answer)
    return About(
        model=model,
        messages=_count(found["messages"].raw) if found and "messages" in found else None,
        request_bytes=request_bytes,
        tools=(_count(found["tools"].raw) if "tools" in found else 0) if found is not None else None,
        tool=tool,
        path=path,
    )


def _count(raw: msgspec.Raw) -> int | None:
    values = array_values(raw)
    return None if values is None else len(values)


def last_call(answer: Bytes) -> tuple[str | None, str | None]:
    """The last tool that a stream calls, whole or not, and the file that the call names.

    One that began too far from the end is not found, nor one behind which too many blocks stand.
    """
    end = answer.size
    for _ in range(_BLOCKS):
        at = _last(answer, b"event: content_block_start", end)
        if at is None:
            return None, None
        events = _events(_read(answer, at, 2 * _LOOKED_AT_BYTES))
        block = next(events, {}).get("content_block")
        if isinstance(block, dict) and str(block.get("type")).endswith("tool_use"):
            name = block.get("name")
            return (name if isinstance(name, str) else "tool"), _path(block, events)
        end = at
    return None, None


class _Message(msgspec.Struct):
    content: list[Any] = []


_MESSAGE = msgspec.json.Decoder(_Message)


def last_call_of_message(answer: Bytes) -> tuple[str | None, str | None]:
    """The same of an answer that came whole, without streaming; none is found in a very large one."""
    if answer.size > _WHOLE_BYTES:
        return None, None
    try:
        blocks = _MESSAGE.decode(_read(answer, 0, answer.size)).content
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None, None
    for block in reversed(blocks):
        if isinstance(block, dict) and str(block.get("type")).endswith("tool_use"):
            name = block.get("name")
            return (name if isinstance(name, str) else "tool"), _path(block, iter(()))
    return None, None


def _last(answer: Bytes, words: bytes, end: int) -> int | None:
    """Where these words begin for the last time before `end`."""
    while end > max(0, answer.size - _FURTHEST_BYTES):
        start = max(0, end - _LOOKED_AT_BYTES)
        at = _read(answer, start, end - start + len(words) - 1).rfind(words)
        if at >= 0:
            return start + at
        end = start
    return None


def _read(answer: Bytes, offset: int, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := answer.read(offset + len(found), size - len(found))):
        found += piece
    return found


def _events(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.splitlines():
        if line.startswith(b"data:"):
            try:
                event = msgspec.json.decode(line[5:])
            except (msgspec.MsgspecError, RecursionError, ValueError):
                event = halfjson.read_bytes(
                    line[5:]
                ).value  # the last one is cut: some tell a whole argument in one
            if isinstance(event, dict):
                yield event


def _path(block: dict[str, Any], events: Iterator[dict[str, Any]]) -> str | None:
    written = ""
    for event in events:
        delta = event.get("delta")
        if event.get("type") in ("content_block_stop", "content_block_start"):
            break
        piece = delta.get("partial_json") if isinstance(delta, dict) else None
        written += piece if isinstance(piece, str) else ""
        if len(written) > _LOOKED_AT_BYTES:
            break
    half = halfjson.read(written) if written else halfjson.Half(block.get("input"), complete=True)
    given = half.value if isinstance(half.value, dict) else {}
    for name in PATHS:
        value = given.get(name)
        if isinstance(value, str) and value and half.cut != (name,):
            return value
    return None


def request_key(key: sameness.HeadKey, body: bytes, salt: bytes, *, falls_back: bool) -> str:
    """The same for a request and its client's own retries of it, in this state directory and in no other.

    `falls_back` as for `sameness.digest`. The tenant is left out: it is drawn anew by every process, and a retry may come to
    the next one.
    """
    found = hashlib.blake2b(key=salt, digest_size=12)
    said_alike = sameness.digest(body, falls_back=falls_back)
    for part in (key.method, key.target, key.upstream, key.session, key.agent, said_alike):
        said = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        found.update(b"-" if said is None else b"%d:%b" % (len(said), said))
    return found.hexdigest()
