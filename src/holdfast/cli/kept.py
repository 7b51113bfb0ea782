"""What is in a kept answer: its text and its tool calls, from whatever bytes there are. Values in, values out.

An answer that broke may end anywhere: between events, inside one, inside a tool call's half-built JSON. All that had
come whole is read; `holdfast.flight.halfjson` says what of a cut text can be relied on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from holdfast.flight import halfjson
from holdfast.flight.halfjson import Half
from holdfast.flight.redact import clean
from holdfast.gateway.dialects.anthropic import UnfinishedBlock, fold_partial


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of what the model said."""

    text: str
    complete: bool = True


@dataclass(frozen=True)
class ToolCall:
    """A tool call. `arguments` is None where the call was cut off; then `partial` has its JSON so far."""

    tool: str
    arguments: Any
    partial: str = ""

    @property
    def complete(self) -> bool:
        """Whether it could have been run."""
        return self.arguments is not None

    @cached_property
    def half(self) -> Half:
        """Its arguments as far as they came."""
        return Half(self.arguments, complete=True) if self.complete else halfjson.read(self.partial)

    @property
    def given(self) -> dict[str, Any]:
        """Its arguments by name, those that came."""
        return self.half.value if isinstance(self.half.value, dict) else {}


@dataclass(frozen=True, slots=True)
class Contents:
    """A kept answer, read."""

    parts: list[Text | ToolCall]
    complete: bool
    error: str = ""
    "What the provider said went wrong, where the answer holds it."
    thinking: int = 0
    "Characters of thinking in it, which is not shown."

    @property
    def cut(self) -> bool:
        """Whether a part of it was cut off, though the message has an end: one that was given it early."""
        return not all(part.complete for part in self.parts)


def read_answer(data: bytes, content_type: str) -> Contents:
    """Read a stream, or a JSON message; anything else is taken as text."""
    if "event-stream" in content_type:
        return _read_stream(data)
    half = halfjson.read_bytes(data)
    message = half.value
    if isinstance(message, dict) and isinstance(message.get("content"), list):
        return _read_message(message["content"], half)
    if half.complete:
        return Contents([Text(as_json(message, indent=2))], complete=True)
    return Contents([Text(data.decode("utf-8", "replace"), complete=False)], complete=False)


def _read_message(content: list[Any], half: Half) -> Contents:
    """A message that was not streamed; its last block is open where the body was cut off."""
    if half.complete:
        return Contents(_parts(content), complete=True, thinking=_thinking(content))
    parts = _parts(content[:-1])
    last = content[-1] if content else None
    if isinstance(last, dict):
        if str(last.get("type")).endswith("tool_use"):
            rest = as_json(last.get("input", {}))
            inside = half.cut[2:3] == ("input",)
            # Written again without what closes it, so that it reads as what it is: a beginning.
            partial = _opened(rest, half.cut[3:]) if inside else rest.removesuffix("}")
            parts.append(ToolCall(str(last.get("name", "tool")), None, partial))
        elif last.get("type") == "text":
            parts.append(Text(str(last.get("text", "")), complete=False))
    return Contents(parts, complete=False, thinking=_thinking(content))


def _opened(text: str, cut: Sequence[object]) -> str:
    """JSON that ends in the string at `cut`, without that string's end and all that closes after it."""
    return text[: -len(cut) - 1] if cut else text


def _read_stream(data: bytes) -> Contents:
    folded = fold_partial(data)
    content = folded.message.get("content")
    done = content if isinstance(content, list) else []
    parts, thinking = _parts(done), _thinking(done)
    _take_cut_event(data, folded.unfinished)
    for block in folded.unfinished:
        if block.kind == "text":
            parts.append(Text(block.partial, complete=False))
        elif block.kind.endswith("tool_use"):
            parts.append(ToolCall(block.tool or "tool", None, block.partial))
        elif "thinking" in block.kind:
            thinking += len(block.partial)
    error = f"{folded.error.get('type')}: {folded.error.get('message')}" if folded.error else ""
    return Contents(parts, folded.complete, error, thinking)


def _take_cut_event(data: bytes, open_blocks: list[UnfinishedBlock]) -> None:
    """What follows the last blank line is no event; it may be half a delta, whose text is as good as any."""
    tail = re.split(rb"\r?\n\r?\n", data[-_LONGEST_EVENT:])[-1]
    lines = [line[5:] for line in tail.splitlines() if line.startswith(b"data:")]
    half = halfjson.read_bytes(b"\n".join(lines))
    event = half.value if isinstance(half.value, dict) else {}
    delta = event.get("delta")
    if not isinstance(delta, dict) or event.get("type") != "content_block_delta":
        return
    for block in open_blocks:
        if block.index == event.get("index"):
            piece = delta.get("partial_json" if block.kind.endswith("tool_use") else "text")
            block.partial += piece if isinstance(piece, str) else ""


_LONGEST_EVENT: Final = 1024 * 1024
"Of one that was cut off; a provider's are a few hundred bytes, and some send a whole argument in one."


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


def _thinking(content: list[Any]) -> int:
    texts = [str(block.get("thinking", "")) for block in content if isinstance(block, dict)]
    return sum(map(len, texts))


def as_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON; one that is nested deeper than Python can write stands on one line."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False)
    except RecursionError:
        pass
    said: list[str] = []
    todo: list[tuple[str, Any]] = [("", value)]
    "What to write before a value, and the value; an ellipsis is none."
    while todo:
        before, one = todo.pop()
        said.append(before)
        if isinstance(one, dict):
            said.append("{")
            names = [json.dumps(name, ensure_ascii=False) + ": " for name in one]
            inside = list(zip(names, one.values(), strict=True))
        elif isinstance(one, list):
            said.append("[")
            inside = [("", item) for item in one]
        else:
            said.append("" if one is ... else json.dumps(one, ensure_ascii=False))
            continue
        todo.append(("}" if isinstance(one, dict) else "]", ...))
        todo += [(f", {name}" if at else name, item) for at, (name, item) in enumerate(inside)][::-1]
    return "".join(said)


# ----- where a text ends


@dataclass(frozen=True, slots=True)
class End:
    """Where a text that was cut off ends."""

    lines: int
    "Lines that came whole, their line break included."
    column: int
    "Characters of the line after them."
    last_line: str
    "The last whole line, without its break; empty where there is none."

    @classmethod
    def of(cls, text: str) -> End:
        """Lines are what `\\n` ends, as `head` and editors count them."""
        whole, _, rest = text.rpartition("\n")
        lines = text.count("\n")
        return cls(lines, len(rest), whole.rpartition("\n")[2].rstrip("\r") if lines else "")

    def sentence(self) -> str:
        """`cut off in line 813, after 17 characters`."""
        if not self.column:
            return f"cut off after line {self.lines}" if self.lines else "cut off before its first character"
        unit = "character" if self.column == 1 else "characters"
        return f"cut off in line {self.lines + 1}, after {self.column} {unit}"


# ----- files


@dataclass(frozen=True, slots=True)
class File:
    """A file to be saved: a safe name and its text."""

    name: str
    text: str
    end: End | None = None
    "Where it was cut off; None where its text is whole, though its call may not be."
    of: ToolCall | None = field(default=None, compare=False)
    "The call whose file it is; None for the answer's text."
    wanted: str = ""
    "The path that the model gave it. Hostile: to be shown, never to be opened."


def files_of(contents: Contents) -> list[File]:
    """What to save: the text, each written file under its own name, each other call's arguments as JSON.

    What was cut off has `.partial` in its name: half a file must not be taken for a whole one. Of a call that was cut
    off, what can be read of it (the new text of an edit, a command, a script's here-documents) is a file of its own.
    """
    files = []
    texts = [part for part in contents.parts if isinstance(part, Text) and part.text]
    if texts:
        whole, text = all(part.complete for part in texts), "\n\n".join(part.text for part in texts)
        name = "answer.txt" if whole else "answer.partial.txt"
        files.append(File(name, text, None if whole else End.of(text)))
    calls = [part for part in contents.parts if isinstance(part, ToolCall)]
    for number, call in enumerate(calls, 1):
        files += _whole(number, call) if call.complete else _cut(number, call)
    return files


def _whole(number: int, call: ToolCall) -> list[File]:
    written = written_file(call)
    if written is not None:
        return [File(safe_name(written[0]), written[1], None, call, written[0])]
    said = as_json(call.arguments, indent=2) + "\n"
    return [File(f"call-{number}-{safe_name(call.tool)}.json", said, None, call)]


def _cut(number: int, call: ToolCall) -> list[File]:
    """The readable part of half a call, and its arguments as they came where they hold more than that."""
    written = written_file(call)
    if written is not None:
        return [_partial(safe_name(written[0]), written[1], call, written[0], key="content")]
    base = f"call-{number}-{safe_name(call.tool)}"
    return [*_readable(base, call), File(f"{base}.partial.json", call.partial, End.of(call.partial), call)]


def _partial(name: str, text: str, call: ToolCall, wanted: str = "", *, key: str | None = None) -> File:
    """A file of half a call. `key` is the argument whose text it is; None where the text itself was cut off."""
    whole = key is not None and call.half.cut != (key,)
    return File(f"{name}.partial", text, None if whole else End.of(text), call, wanted)


def _readable(base: str, call: ToolCall) -> list[File]:
    given, path = call.given, _path(call.given)
    name = safe_name(path) if path else base
    command = given.get("command")
    if isinstance(command, str) and not path:
        return [
            _partial(f"{base}.sh", command, call, key="command"),
            *(
                File(safe_name(one.path), one.text, None, call, one.path)
                if one.complete
                else _partial(safe_name(one.path), one.text, call, one.path)
                for one in here_documents(command)
            ),
        ]
    edits = given.get("edits")
    if isinstance(edits, list):
        news = {
            at: edit["new_string"]
            for at, edit in enumerate(edits)
            if isinstance(edit, dict) and isinstance(edit.get("new_string"), str)
        }
        return [
            _partial(f"{name}.new-{at + 1}", text, call, path)
            if call.half.cut == ("edits", at, "new_string")
            else File(f"{name}.new-{at + 1}", text, None, call, path)
            for at, text in news.items()
        ]
    for key, part in (("new_string", "new"), ("new_source", "cell")):
        if isinstance(given.get(key), str):
            return [_partial(f"{name}.{part}", given[key], call, path, key=key)]
    text, cut = call.half.cut_text, call.half.cut
    if not text or not cut or cut[-1] in PATHS:  # half a path is no use to anybody
        return []
    return [_partial(f"{base}.{safe_name(str(cut[-1]))}", text, call)]


PATHS: Final = ("file_path", "notebook_path")
"Arguments that name the file which a call writes."


def _path(given: dict[str, Any]) -> str:
    for key in PATHS:
        if isinstance(given.get(key), str):
            return str(given[key])
    return ""


def written_file(call: ToolCall) -> tuple[str, str] | None:
    """Path and content, where the call writes a file (it has `file_path` and `content`); else None."""
    path, content = call.given.get("file_path"), call.given.get("content")
    return (path, content) if isinstance(path, str) and isinstance(content, str) else None


@dataclass(frozen=True, slots=True)
class HereDocument:
    """A file that a shell command writes from its own text: `cat > PATH <<'EOF' ... EOF`."""

    path: str
    text: str
    complete: bool


_HERE = re.compile(r"<<-?[ \t]*(?P<quote>['\"]?)(?P<word>\w{1,40})(?P=quote)")
_TARGET = re.compile(
    r"(?:>>?|\btee(?:[ \t]+-a)?)[ \t]*(?P<quote>['\"]?)(?P<path>[^\s'\"<>|;&$`]{1,400})(?P=quote)"
)
_DOCUMENTS: Final = 100


def here_documents(command: str) -> list[HereDocument]:
    """The here-documents of a command that go into a named file. The last may have no end: then it was cut off."""
    found: list[HereDocument] = []
    at = 0
    # Line by line: a line without an end may hold a hundred thousand of `<<`, and each is looked at once.
    while len(found) < _DOCUMENTS and (line_end := command.find("\n", at)) >= 0:
        line, at = command[at:line_end], line_end + 1
        heads = list(_HERE.finditer(line))
        if not heads:
            continue
        end = re.compile(rf"^\t*{heads[-1]['word']}$", re.MULTILINE).search(command, at)
        target = _TARGET.search(line)
        if target is not None:
            text = command[at : end.start()] if end else command[at:]
            found.append(HereDocument(target["path"], text, end is not None))
        if end is None:
            break
        at = end.end()
    return found


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
