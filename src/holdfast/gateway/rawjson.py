"""Where the members of a JSON object or array stand in its bytes, without decoding their values.

Bodies must reach upstream byte for byte, save for a named edit, and a 6 MB body must stay cheap. So nothing
is ever re-serialised: msgspec finds each value as a slice, and the separators between the slices are walked
here to learn their positions. A walk that does not account for every byte gives up.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_KEY = re.compile(rb'[ \t\n\r]*("(?:[^"\\]|\\.)*")[ \t\n\r]*:[ \t\n\r]*')
_BLANK = re.compile(rb"[ \t\n\r]*")
_UNREADABLE = (msgspec.MsgspecError, RecursionError, ValueError)


class Slice(NamedTuple):
    """One value's place: `source[start:end]`, and the value there, undecoded and not copied."""

    start: int
    end: int
    raw: msgspec.Raw


class Splice(NamedTuple):
    """One edit: these bytes instead of `source[start:end]`."""

    start: int
    end: int
    new: bytes


def members(source: bytes) -> dict[str, Slice] | None:
    """Every member of a JSON object; None where it is none, has a key twice, or leaves any doubt."""
    found: dict[str, Slice] = {}
    try:
        values = _OBJECT.decode(source)
        at = _opened(source, b"{")
        for key, raw in values.items():
            if found:
                at = _after(source, at, b",")
            literal = _KEY.match(source, at)
            if literal is None or msgspec.json.decode(literal[1]) != key:
                return None
            found[key] = _value(source, literal.end(), raw)
            at = found[key].end
        return found if _closed(source, at, b"}") else None
    except _UNREADABLE:
        return None


def entries(source: bytes) -> list[Slice] | None:
    """Every entry of a JSON array; None where it is none or leaves any doubt."""
    found: list[Slice] = []
    try:
        values = _ARRAY.decode(source)
        at = _opened(source, b"[")
        for raw in values:
            if found:
                at = _after(source, at, b",")
            found.append(_value(source, _blank(source, at), raw))
            at = found[-1].end
        return found if _closed(source, at, b"]") else None
    except _UNREADABLE:
        return None


def array_values(source: bytes | msgspec.Raw) -> list[msgspec.Raw] | None:
    """The values of an array, undecoded; None where it is none."""
    try:
        return _ARRAY.decode(source)
    except _UNREADABLE:
        return None


def spliced(source: bytes, splices: list[Splice]) -> bytes:
    """The source with these edits, which must not overlap; the very same object where there are none."""
    if not splices:
        return source
    pieces: list[bytes | memoryview] = []
    at = 0
    for splice in sorted(splices):
        pieces += (memoryview(source)[at : splice.start], splice.new)
        at = splice.end
    pieces.append(memoryview(source)[at:])
    return b"".join(pieces)


def _blank(source: bytes, at: int) -> int:
    found = _BLANK.match(source, at)
    return found.end() if found else at


def _after(source: bytes, at: int, sign: bytes) -> int:
    at = _blank(source, at)
    if source[at : at + 1] != sign:
        raise ValueError(f"no {sign!r} at {at}")
    return at + 1


def _opened(source: bytes, sign: bytes) -> int:
    return _after(source, 0, sign)


def _closed(source: bytes, at: int, sign: bytes) -> bool:
    return _blank(source, _after(source, at, sign)) == len(source)


def _value(source: bytes, at: int, raw: msgspec.Raw) -> Slice:
    view = memoryview(raw)
    if not len(view) or not source.startswith(view, at):
        raise ValueError(f"another value at {at}")
    return Slice(at, at + len(view), raw)
