r"""JSON that was cut off anywhere: what of it can be relied on.

A tool call that broke in its middle holds half a file inside half a JSON string. What is returned here is never more
than the truth: of an object its members in their order, of the last string all characters that had come whole. A cut
inside an escape (`\u20`), between the two halves of a surrogate pair, or inside a character's UTF-8 costs that one
character. A number that reaches the cut is left out: `12` may have been the beginning of `1200`.

Text that is no JSON at all, whoever wrote it, gives what stood before the first mistake. Nothing here raises, and
nothing recurses: a thousand open brackets are a thousand entries of a list.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from json import decoder
from typing import Any, Final

_scan: Callable[[str, int, bool], tuple[str, int]] = decoder.scanstring  # type: ignore[attr-defined]
"The inside of a string from a place on, and where it ends; the last argument forbids control characters."

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"true|false|null")
_WORDS: Final = {"true": True, "false": False, "null": None}
_SOUND = re.compile(r'(?:[^"\\]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+')
"The longest beginning of a string's inside that is well-formed."
_AFTER_NUMBER = tuple(" \t\n\r,]}")
_LONGEST_NUMBER = 400
"Digits beyond this are no number that anybody meant; Python refuses integers of more than 4,300."


@dataclass(frozen=True, slots=True)
class Half:
    """What was read."""

    value: Any
    "The beginning of the value; None where nothing could be read."
    complete: bool
    "Whether the whole text was one value, and nothing but space followed it."
    cut: tuple[str | int, ...] = ()
    "Where the string is that was cut off: keys and indices from the outside in. Empty where it was cut elsewhere."

    @property
    def cut_text(self) -> str | None:
        """The string that was cut off, as far as it came."""
        found = self.value
        for step in self.cut:
            found = found[step]
        return found if isinstance(found, str) and not self.complete else None


def read(text: str) -> Half:
    """Read JSON text that may end anywhere."""
    try:
        return Half(json.loads(text, strict=False), complete=True)
    except (ValueError, RecursionError):
        return _Reader(text).read()


def read_bytes(data: bytes) -> Half:
    """The same for UTF-8; a character that was cut in its middle is left out."""
    return read(decoded(data))


def decoded(data: bytes) -> str:
    """UTF-8 as text, without a last character that is not whole; what is no UTF-8 becomes U+FFFD."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data)


class _Cut(Exception):
    """The text ends here, or is no JSON from here on."""


@dataclass(slots=True)
class _Open:
    """A container that is not closed yet."""

    container: list[Any] | dict[str, Any]
    key: str = ""
    "Of an object: the last key."
    due: bool = False
    "Whether a value has to come next."

    @property
    def end(self) -> str:
        return "}" if isinstance(self.container, dict) else "]"


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._root: list[Any] = []
        "Holds the value, once there is one."
        self._open: list[_Open] = []
        self._cut: tuple[str | int, ...] = ()

    def read(self) -> Half:
        complete = False
        try:
            self._value()
            while self._open:
                self._go_on(self._open[-1])
            complete = self._peek() == ""
        except _Cut:
            pass
        return Half(self._root[0] if self._root else None, complete, () if complete else self._cut)

    def _peek(self) -> str:
        """The next character that is no space; empty at the end."""
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._text[self._at : self._at + 1]

    def _put(self, value: Any) -> None:
        if not self._open:
            self._root.append(value)
        elif isinstance(container := self._open[-1].container, dict):
            container[self._open[-1].key] = value
        else:
            container.append(value)

    def _go_on(self, inside: _Open) -> None:
        """One step in the innermost open container: its value, its end, or what stands before the next value."""
        if inside.due:
            inside.due = False
            self._value()
            return
        sign = self._peek()
        self._at += 1
        if sign == inside.end:
            self._open.pop()
        elif sign == ",":
            self._before_value(inside)
        else:
            raise _Cut

    def _before_value(self, inside: _Open) -> None:
        if isinstance(inside.container, dict):
            inside.key = self._key()
        inside.due = True

    def _value(self) -> None:
        sign = self._peek()
        if sign in ("{", "["):
            self._at += 1
            inside = _Open({} if sign == "{" else [])
            self._put(inside.container)
            self._open.append(inside)
            if self._peek() == inside.end:
                self._at += 1
                self._open.pop()
            else:
                self._before_value(inside)
        elif sign == '"':
            self._string_value()
        elif word := _WORD.match(self._text, self._at):
            self._at = word.end()
            self._put(_WORDS[word[0]])
        else:
            self._number()

    def _key(self) -> str:
        if self._peek() != '"':
            raise _Cut
        try:
            key, self._at = _scan(self._text, self._at + 1, False)
        except ValueError:
            raise _Cut from None
        if self._peek() != ":":
            raise _Cut
        self._at += 1
        return key

    def _string_value(self) -> None:
        start = self._at + 1
        try:
            value, self._at = _scan(self._text, start, False)
        except ValueError:
            self._put(string_so_far(self._text, start))
            self._cut = self._where()
            raise _Cut from None
        self._put(value)

    def _where(self) -> tuple[str | int, ...]:
        """The way to the value that was put last."""
        return tuple(
            inside.key if isinstance(inside.container, dict) else len(inside.container) - 1
            for inside in self._open
        )

    def _number(self) -> None:
        found = _NUMBER.match(self._text, self._at)
        if not found or len(found[0]) > _LONGEST_NUMBER:
            raise _Cut
        if (
            self._text[found.end() : found.end() + 1] not in _AFTER_NUMBER
        ):  # the end of the text is none of them
            raise _Cut
        self._at = found.end()
        self._put(json.loads(found[0]))


def string_so_far(text: str, start: int) -> str:
    """The inside of a JSON string that begins at `start` and has no end: its whole characters, unescaped."""
    end = _whole_end(text, start)
    try:
        value, _ = _scan(text[start:end] + '"', 0, False)
    except ValueError:  # not cut, but wrong: what stands before the mistake
        found = _SOUND.match(text, start)
        value, _ = _scan((found[0] if found else "") + '"', 0, False)
    if value and "\ud800" <= value[-1] <= "\udbff":
        return value[:-1]  # its other half did not come
    return value


def _whole_end(text: str, start: int) -> int:
    """Where the last escape begins, if it is not whole; else the end."""
    end = len(text)
    slash = text.rfind("\\", max(start, end - 6))
    if slash < 0:
        return end
    run = slash
    while run > start and text[run - 1] == "\\":
        run -= 1
    if (slash - run) % 2:  # an even number of them: each escapes another, and none is open
        return end
    needs = 6 if text[slash + 1 : slash + 2] == "u" else 2
    return slash if end - slash < needs else end
