"""What tools said of their own failures, each by a kind of a closed list; their words are read here and go no further.

A tool's result that is marked as an error is no request that failed: the model asked for a tool, and what the tool met is
the tool's. The same codes come in both worlds (a test's server that is not up refuses connections too), and that is
why they are counted apart. A few results are the client's own, written in a tool's place because the *answer* broke.

The sentences are those of clients 2.1.86 to 2.1.329, by their bundles and by what they wrote when their tools failed; what
another version says otherwise is `other`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from holdfast.sessions.records import Dirt, Line, decode

DISCARDED, CUT = "answer discarded", "call cut off"
OF_ANSWERS: Final = (DISCARDED, CUT)
"The client's own results in a tool's place, which tell of the answer and not of the tool."
INVALID, NO_TOOL, REJECTED, INTERRUPTED, HOOK = (
    "InputValidationError",
    "no such tool",
    "rejected by the user",
    "interrupted",
    "stopped by a hook",
)
EXIT, TIME_LIMIT, PERMISSION, MISSING, EDIT, TOO_LARGE, OTHER = (
    "exit code",
    "time limit",
    "permission",
    "not found",
    "edit did not fit",
    "too large",
    "other",
)
MEANS: Final[Mapping[str, str]] = {
    DISCARDED: "the answer broke behind the call; the client asked again and threw away what the tool did",
    CUT: "the answer ended at its maximum of tokens inside the call's input; the tool did not run",
    INVALID: "the model gave the tool an input that it does not take",
    INTERRUPTED: "by the user, or with another call beside it that failed",
    EXIT: "a command ended with an error of its own",
    PERMISSION: "the client was not allowed to, or the system refused",
    EDIT: "the text to replace was not there, or the file was not read, or had changed since",
}
"Of those that do not say it themselves."

_CODES: Final[Mapping[str, tuple[str, ...]]] = {
    "ECONNREFUSED": ("econnrefused", "connection refused"),
    "ECONNRESET": ("econnreset", "connection reset by peer"),
    "ETIMEDOUT": ("etimedout", "connection timed out"),
    "ENOTFOUND": ("enotfound", "could not resolve host", "name or service not known", "no such host"),
    "EAI_AGAIN": ("eai_again", "temporary failure in name resolution"),
    "EPIPE": ("epipe", "broken pipe"),
    "EHOSTUNREACH": ("ehostunreach", "no route to host"),
    "ENETUNREACH": ("enetunreach", "network is unreachable"),
    "ECONNABORTED": ("econnaborted", "software caused connection abort"),
    "EADDRINUSE": ("eaddrinuse", "address already in use"),
    "ConnectionRefused": ("connectionrefused",),
    "FailedToOpenSocket": ("failedtoopensocket",),
}
"The network's codes, and the names and words of the C library's that tell them, in lower case. The first counts."
NETWORK: Final = tuple(_CODES)
_STATUS = re.compile(r"\bstatus(?: code)?:? ([45]\d\d)\b")

_BEGINS: Final[Mapping[str, tuple[str, ...]]] = {
    INVALID: ("inputvalidationerror",),
    DISCARDED: ("streaming fallback - tool execution discarded", "model fallback triggered"),
    NO_TOOL: ("no such tool available",),
    REJECTED: ("the user doesn't want to proceed with this tool use",),
    INTERRUPTED: (
        "the user doesn't want to take this action right now", "[request interrupted by user", "interrupted by user",
        "cancelled: parallel tool call", "sibling tool call errored",
    ),
    PERMISSION: ("claude requested permissions", "permission to use", "this command requires approval"),
    HOOK: ("execution stopped by", "pretooluse:"),
}  # fmt: skip
"The client's own sentences, known by how they begin: what a tool printed may hold any words."
_HOLDS: Final[Mapping[str, tuple[str, ...]]] = {
    TIME_LIMIT: ("timed out", "timeout"),
    MISSING: ("does not exist", "no such file or directory", "enoent"),
    PERMISSION: ("permission denied", "eacces", "eperm", "operation not permitted"),
    EDIT: (
        "string to replace not found", "has not been read yet", "has been modified since", "been unexpectedly modified",
        "matches of the string to replace",
    ),
    TOO_LARGE: ("exceeds maximum allowed",),
}  # fmt: skip
_NAMES = tuple((word, code) for code, words in _CODES.items() for word in words)
_WORDS = tuple((word, kind) for kind, words in _HOLDS.items() for word in words)
_ENVELOPE = re.compile(r"(?:<tool_use_error>)?(?:error: )?")
KINDS: Final = frozenset({*NETWORK, *OF_ANSWERS, *_BEGINS, *_HOLDS, EXIT, OTHER})
"All of them, but for `HTTP 404` and its like."
LONGEST_NAME = 128
"Letters of a tool's name: as many as a provider allows."

_blocks = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_TRUE = b"true"
_NOTHING = (b"", b"{}", b"null")
_UNPARSED = b'"__unparsedToolInput"'


def kind_of(text: str) -> str:
    """Which kind a tool's words are of: a code of the network's, `HTTP 404`, or another of `KINDS`.

    The client's own sentences come first, then the network's codes wherever they stand, for a command's output holds them
    anywhere; then a command's exit code, and what is left by its words.
    """
    low = text.lower()
    own = _ENVELOPE.match(low)
    told = low[own.end() :] if own else low
    for kind, begins in _BEGINS.items():
        if told.startswith(begins):
            return kind
    for word, code in _NAMES:
        if word in low:
            return code
    if told.startswith("exit code "):
        return TIME_LIMIT if "command timed out after" in low else EXIT
    if status := _STATUS.search(low):
        return f"HTTP {status[1]}"
    for word, kind in _WORDS:
        if word in low:
            return kind
    return OTHER


@dataclass(frozen=True, slots=True)
class Failed:
    """A tool's result that is an error."""

    call: str | None
    "The id of the call that it answers."
    kind: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool's call, as the answer has it."""

    tool: str
    cut: bool
    "Whether its input was not whole because the answer ended at its maximum of tokens."


def failed(line: Line) -> list[Failed]:
    """The results of a user's record that are errors, in order."""
    return [
        Failed(_text(one.get("tool_use_id")), kind_of(_words(one.get("content"))))
        for one in _of(line)
        if _text(one.get("type")) == "tool_result" and bytes(one.get("is_error", b"")) == _TRUE
    ]


def call(data: bytes | bytearray, wanted: str) -> Call | None:
    """The call of that id in a line of a transcript; None where the line is no answer with such a call."""
    try:
        line, _ = decode(data)
    except Dirt:
        return None
    for one in _of(line) if line.type == "assistant" else ():
        if _text(one.get("type")) == "tool_use" and _text(one.get("id")) == wanted:
            given = bytes(one.get("input", b""))
            ended = line.message is not None and line.message.stop_reason == "max_tokens"
            name = _text(one.get("name"))
            return Call((name or "")[:LONGEST_NAME], ended and (given in _NOTHING or _UNPARSED in given))
    return None


def _of(line: Line) -> list[dict[str, msgspec.Raw]]:
    """A message's blocks; none where it is a text, or of no known shape."""
    content = bytes(line.message.content) if line.message is not None else b""
    try:
        return _blocks.decode(content)
    except (msgspec.DecodeError, UnicodeError):
        return []


def _text(raw: msgspec.Raw | None) -> str | None:
    """A text, as it is meant; None where there is none."""
    try:
        found = msgspec.json.decode(raw) if raw is not None else None
    except (msgspec.DecodeError, UnicodeError):
        return None
    return found if isinstance(found, str) else None


def _words(raw: msgspec.Raw | None) -> str:
    """What a tool said: one text, or those of its blocks."""
    data = bytes(raw or b"")
    if data[:1] != b"[":
        return _text(raw) or ""
    try:
        return "\n".join(_text(one.get("text")) or "" for one in _blocks.decode(data))
    except (msgspec.DecodeError, UnicodeError):
        return ""
