"""An edit of a request body that leaves out images of earlier turns (`--on-doomed strip-images`).

Screenshots and pasted pictures are sent again with every request of a conversation, in base64. They are most
of what makes a body megabytes large, and the model has answered to them before. What the present turn is about
must stay. So this is the edit:

*What is left out.* Blocks of type `image` whose source is base64, in a message's content and inside the content
of a `tool_result`. Each becomes a text block that says so, and keeps its `cache_control`. Images by URL or file
id cost nothing here; documents may be what is talked about throughout, and stay.

*Up to where.* The last turn begins at the last message of role `user` in which there is no `tool_result`: what
a person wrote. A message with tool results goes on with the agent's work, even where a client has put text
beside them (reminders, an interruption), so in doubt more is kept. A long run of an agent's may pile up all its
images within that one turn. Where there is none before the turn, those within it are left out; but not what the
person sent at its beginning, which it is about, and not what follows the last message of role `assistant`, which
the model has not seen yet.

No other byte changes, and on any doubt about the JSON none does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from holdfast.gateway.rawjson import Splice, entries, members, spliced


def strip_images(body: bytes) -> tuple[bytes, int]:
    """The body without base64 images older than the last turn, and how many it had.

    Without any, and on doubt, the same object and 0.
    """
    try:
        messages = _messages(body)
        start = _turn_start(messages)
        splices = _splices(messages[:start])
        if not splices:
            splices = _splices(messages[start + 1 : _unseen_start(messages)])
    except _Doubt:
        return body, 0
    return spliced(body, splices), len(splices)


class _Doubt(Exception):
    """The body is not what this edit is for, or has a key twice."""


class _Part(NamedTuple):
    """A value of the body: where it stands, and its bytes."""

    at: int
    text: bytes


class _Block(NamedTuple):
    part: _Part
    fields: dict[str, _Part]
    kind: Any
    "Its `type`."


class _Message(NamedTuple):
    role: Any
    blocks: list[_Block]
    "None where the content is a string."


# -- reading ----------------------------------------------------------------------------------------


def _messages(body: bytes) -> list[_Message]:
    fields = _fields(_Part(0, body))
    if "messages" not in fields:
        raise _Doubt
    return [_message(part) for part in _entries(fields["messages"])]


def _message(part: _Part) -> _Message:
    fields = _fields(part)
    return _Message(_plain(fields.get("role")), _blocks(fields.get("content")))


def _blocks(content: _Part | None) -> list[_Block]:
    if content is None or not content.text.startswith(b"["):
        return []
    blocks = []
    for part in _entries(content):
        fields = _fields(part)
        blocks.append(_Block(part, fields, _plain(fields.get("type"))))
    return blocks


def _fields(part: _Part) -> dict[str, _Part]:
    found = members(part.text)
    if found is None:
        raise _Doubt
    return {key: _Part(part.at + place.start, bytes(place.raw)) for key, place in found.items()}


def _entries(part: _Part) -> list[_Part]:
    found = entries(part.text)
    if found is None:
        raise _Doubt
    return [_Part(part.at + place.start, bytes(place.raw)) for place in found]


def _plain(part: _Part | None) -> Any:
    return msgspec.json.decode(part.text) if part is not None and part.text.startswith(b'"') else None


# -- what is older, and what is left out ------------------------------------------------------------


def _turn_start(messages: list[_Message]) -> int:
    """Where the last turn begins: at the last message that a person wrote."""
    for index in reversed(range(len(messages))):
        message = messages[index]
        if message.role == "user" and all(block.kind != "tool_result" for block in message.blocks):
            return index
    return 0


def _unseen_start(messages: list[_Message]) -> int:
    """Where what the model has not answered to begins."""
    for index in reversed(range(len(messages))):
        if messages[index].role == "assistant":
            return index + 1
    return 0


def _splices(messages: list[_Message]) -> list[Splice]:
    return [
        Splice(image.part.at, image.part.at + len(image.part.text), _instead(image))
        for message in messages
        for image in _images(message.blocks)
    ]


def _images(blocks: list[_Block]) -> Iterator[_Block]:
    for block in blocks:
        if block.kind == "tool_result":
            yield from _images(_blocks(block.fields.get("content")))
        elif block.kind == "image" and _is_base64(block.fields.get("source")):
            yield block


def _is_base64(source: _Part | None) -> bool:
    return (
        source is not None
        and source.text.startswith(b"{")
        and _plain(_fields(source).get("type")) == "base64"
    )


def _instead(image: _Block) -> bytes:
    """A text block that says what was there; where the client's cache ends, it still ends."""
    size = len(image.fields["source"].text)
    text = b"[image left out by holdfast: %d bytes of one that was seen before]" % size
    cached = image.fields.get("cache_control")
    tail = b"" if cached is None else b',"cache_control":' + cached.text
    return b'{"type":"text","text":"' + text + b'"' + tail + b"}"
