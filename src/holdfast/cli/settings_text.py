"""What a settings file says, read as Claude Code reads it.

Whatever we read more strictly than the client could send a key past us unseen, so this follows the client where Python's
own reader would not. Measured on 2.1.86, 2.1.114 and 2.1.329, in print mode, with a base URL in the project's settings:

- Bytes that are no UTF-8 are replaced, one byte order mark is passed over, UTF-16 with its mark (little end first) is read.
- Numbers may be of any length.
- What stands under `env` is made text as JavaScript's `String()` does it: `["https://x"]` is `https://x`.
- UTF-16 with the big end first or without a mark, a second mark, comments, a comma too many, `NaN`, bare control
  characters, a list at the top: all three pass over such a file as a whole. So does 2.1.114 where lists nest 200,000 deep,
  while 2.1.329 reads that one and 2.1.86 crashes.
"""

from __future__ import annotations

import codecs
import json
import sys
from typing import Any

_LONGEST_INTEGER = 300
"Digits. Beyond 308 JavaScript has no finite number either; Python refuses to read more than 4300."


class Unreadable(Exception):
    """The text cannot be read; the message says why, as a clause."""


class TooDeep(Unreadable):
    """It nests deeper than we read; a client may read it all the same."""


def decode(data: bytes) -> str:
    """A file's text. Never fails: bytes that mean nothing become U+FFFD."""
    if data.startswith(codecs.BOM_UTF16_LE):
        return data[2:].decode("utf-16-le", "replace")
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")


def parse(text: str) -> dict[str, Any]:
    """The settings in a text; an empty one has none. Raises `Unreadable`, `TooDeep`."""
    if not text.strip():
        return {}
    try:
        content = json.loads(text, parse_int=_integer, parse_float=_finite, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise Unreadable(
            f"it is no valid JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except ValueError as error:
        raise Unreadable(f"it is no valid JSON: {error}") from None
    except RecursionError:
        raise TooDeep("it is nested too deeply") from None
    if not isinstance(content, dict):
        raise Unreadable("it holds no object")
    return content


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else _finite(digits)


def _finite(digits: str) -> float:
    """A number that JSON can say again, where the client would have infinity."""
    return max(-sys.float_info.max, min(sys.float_info.max, float(digits)))


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def dump(content: dict[str, Any]) -> str:
    """Settings as JSON in ASCII: halves of characters that `\\ud800` left alone survive in no other way."""
    return json.dumps(content, separators=(",", ":"))


def as_text(value: Any) -> str:
    """What the client makes of a value under `env`."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case float() if value.is_integer() and abs(value) < 1e21:
            return str(int(value))
        case list():
            return ",".join("" if one is None else as_text(one) for one in value)
        case dict():
            return "[object Object]"
        case _:
            return str(value)
