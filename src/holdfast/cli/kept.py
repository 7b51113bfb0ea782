"""What is in a kept answer: its text and its tool calls, from whatever bytes there are. Values in, values out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from holdfast.flight.redact import clean
from holdfast.gateway.dialects.anthropic import fold_partial


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of what the model said."""

    text: str
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call. `arguments` is None where the call was cut off; then `partial` has its JSON so far."""

    tool: str
    arguments: Any
    partial: str = ""

    @property
    def complete(self) -> bool:
        return self.arguments is not None


@dataclass(frozen=True, slots=True)
class Contents:
    """A kept answer, read."""

    parts: list[Text | ToolCall]
    complete: bool
    error: str = ""
    "What the provider said went wrong, where the answer holds it."


def read_answer(data: bytes, content_type: str) -> Contents:
    """Read a stream, or a JSON message; anything else is taken as text."""
    if "event-stream" in content_type:
        return _read_stream(data)
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return Contents([Text(data.decode("utf-8", "replace"), complete=False)], complete=False)
    if isinstance(message, dict) and isinstance(message.get("content"), list):
        return Contents(_parts(message["content"]), complete=True)
    return Contents([Text(json.dumps(message, indent=2, ensure_ascii=False))], complete=True)


def _read_stream(data: bytes) -> Contents:
    folded = fold_partial(data)
    content = folded.message.get("content")
    parts = _parts(content if isinstance(content, list) else [])
    for block in folded.unfinished:
        if block.kind == "text":
            parts.append(Text(block.partial, complete=False))
        elif block.kind.endswith("tool_use"):
            parts.append(ToolCall(block.tool or "tool", None, block.partial))
    error = f"{folded.error.get('type')}: {folded.error.get('message')}" if folded.error else ""
    return Contents(parts, folded.complete, error)


def _parts(content: list[Any]) -> list[Text | ToolCall]:
    """Text and tool calls of completed blocks; thinking is not anybody's to keep."""
    parts: list[Text | ToolCall] = []
    for block in content:
        if not isinstance(block, dict):
            continue
        kind = str(block.get("type"))
        if kind == "text":
            parts.append(Text(str(block.get("text", ""))))
        elif kind.endswith("tool_use"):
            given = block.get("input")
            parts.append(ToolCall(str(block.get("name", "tool")), {} if given is None else given))
    return parts


# ----- files


@dataclass(frozen=True, slots=True)
class File:
    """A file to be saved: a safe name and its text."""

    name: str
    text: str


def files_of(contents: Contents) -> list[File]:
    """What to save: the text, each written file under its own name, each other call's arguments as JSON.

    What was cut off has `.partial` in its name: half a file must not be taken for a whole one.
    """
    files = []
    texts = [part for part in contents.parts if isinstance(part, Text) and part.text]
    if texts:
        whole = all(part.complete for part in texts)
        files.append(
            File("answer.txt" if whole else "answer.partial.txt", "\n\n".join(part.text for part in texts))
        )
    calls = [part for part in contents.parts if isinstance(part, ToolCall)]
    files += [_file_of(number, call) for number, call in enumerate(calls, 1)]
    return files


def _file_of(number: int, call: ToolCall) -> File:
    written = written_file(call)
    if written is not None:
        name, text = safe_name(written[0]), written[1]
        return File(name if call.complete else f"{name}.partial", text)
    base = f"call-{number}-{safe_name(call.tool)}"
    if call.complete:
        return File(f"{base}.json", json.dumps(call.arguments, indent=2, ensure_ascii=False) + "\n")
    return File(f"{base}.partial.json", call.partial)


def written_file(call: ToolCall) -> tuple[str, str] | None:
    """Path and content, where the call writes a file (it has `file_path` and `content`); else None."""
    given = call.arguments if call.complete else strings_so_far(call.partial)
    if not isinstance(given, dict):
        return None
    path, content = given.get("file_path"), given.get("content")
    return (path, content) if isinstance(path, str) and isinstance(content, str) else None


_KEY = re.compile(r'\s*[{,]\s*("(?:[^"\\]|\\.)*")\s*:\s*', re.DOTALL)
_UNFINISHED_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?$")


def strings_so_far(partial: str) -> dict[str, Any]:
    """The members of a JSON object that was cut off; the last string as far as it came."""
    decoder, found, position = json.JSONDecoder(strict=False), dict[str, Any](), 0
    while key := _KEY.match(partial, position):
        try:
            name = json.loads(key[1], strict=False)
            found[name], position = decoder.raw_decode(partial, key.end())
        except (ValueError, RecursionError):
            rest = partial[key.end() :]
            if rest.startswith('"'):
                found[name] = _string_so_far(rest)
            break
    return found


def _string_so_far(opened: str) -> str:
    """The text of a JSON string whose closing quote never came."""
    try:
        text: str = json.loads(_UNFINISHED_ESCAPE.sub(r"\1", opened) + '"', strict=False)
    except ValueError:
        return opened[1:]
    return text


_UNSAFE_IN_NAME = re.compile(r"[^\w.+@=, ()\[\]-]|\s(?<! )")


def safe_name(path: str) -> str:
    """The last part of a path as a plain file name: no directory, no control character, not too long."""
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    name = _UNSAFE_IN_NAME.sub("_", clean(name, limit=None)).strip()
    if not name.strip("."):
        return "file"
    if name.startswith("-"):
        name = "_" + name
    return name.encode()[:180].decode("utf-8", "ignore")
