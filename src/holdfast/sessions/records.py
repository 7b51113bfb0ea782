"""One line of a transcript: which kind of record it is, and the few fields of it that say something about the wire.

Two ways to decode it. The strict one is a flat msgspec struct, which skips what it does not name without
building it; it refuses a field of an unexpected type. Then the loose one takes the line apart as plain JSON and
picks what still makes sense. A line that is no JSON object at all is dirt, and counted by whoever reads.

Fields and their history: reference sessions.md section 1, clients.md section 8.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec

HEAD = 700
"Bytes of a line in which its kind is looked for: before any body in every version seen."


class Usage(msgspec.Struct, gc=False):
    """Tokens of one request, as the provider counted them."""

    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0
    service_tier: str | None = None


class Message(msgspec.Struct, gc=False):
    """An assistant's message, one block of it per record."""

    model: str | None = None
    id: str | None = None
    content: msgspec.Raw = msgspec.Raw()
    "Not decoded: needed of synthetic messages only, whose text is the error."
    stop_reason: str | None = None
    usage: Usage | None = None


class Compaction(msgspec.Struct, gc=False):
    """What a compaction says of itself."""

    trigger: str | None = None
    preTokens: int | None = None
    postTokens: int | None = None


class Line(msgspec.Struct, gc=False):
    """A record, as far as it concerns us. Names are the file's own.

    So is the order, which is that of an answer's record: the decoder looks for each field behind the one before.
    """

    isSidechain: bool = False
    agentId: str | None = None
    message: Message | None = None
    requestId: str | None = None
    type: str | None = None
    uuid: str | None = None
    timestamp: str | None = None
    entrypoint: str | None = None
    cwd: str | None = None
    sessionId: str | None = None
    version: str | None = None
    subtype: str | None = None
    isMeta: bool = False
    isCompactSummary: bool = False
    isApiErrorMessage: bool = False
    apiErrorStatus: int | None = None
    apiError: str | None = None
    streamCutCause: str | None = None
    error: msgspec.Raw = msgspec.Raw()
    "An object in api_error records, a word in synthetic messages."
    cause: msgspec.Raw = msgspec.Raw()
    retryInMs: float | None = None
    retryAttempt: int | None = None
    maxRetries: int | None = None
    durationMs: float | None = None
    messageCount: int | None = None
    compactMetadata: Compaction | None = None


class Prompt(msgspec.Struct, gc=False):
    """A user's record, decoded only where one has to tell a typed prompt from a tool's result."""

    message: dict[str, msgspec.Raw] | None = None


strictly = msgspec.json.Decoder(Line).decode
"""The record, if every field has the type that it has here. Raises one of `REFUSED`: then `decode` says what it is."""
REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_EPOCH, _parsed = datetime(1970, 1, 1, tzinfo=UTC), datetime.fromisoformat


TORN, NOT_JSON, TOO_LONG, NO_RECORD = "torn", "not JSON", "too long", "of no known shape"
"Kinds of dirt, each of which follows a count of lines."


class Dirt(Exception):
    """A line that is no JSON object; the text says what is wrong with it."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


def decode(line: bytes | bytearray | memoryview) -> tuple[Line, bool]:
    """The record, and whether it had to be read loosely. Raises `Dirt`."""
    try:
        return strictly(line), False
    except msgspec.ValidationError:
        pass
    except REFUSED as error:
        raise Dirt(str(error), TORN if "truncated" in str(error) else NOT_JSON) from error
    try:
        found = json.loads(bytes(line))
    except (ValueError, RecursionError) as error:
        raise Dirt(str(error), NOT_JSON) from error
    if not isinstance(found, dict):
        raise Dirt(f"a {type(found).__name__}, not an object", NO_RECORD)
    return _loosely(found), True


def _loosely(found: dict[str, Any]) -> Line:
    """What makes sense of a record one of whose fields has a type of its own."""
    kept: dict[str, Any] = {}
    for field in msgspec.structs.fields(Line):
        if field.name not in found or found[field.name] is None:
            continue
        value = found[field.name]
        if field.type is msgspec.Raw:
            kept[field.name] = msgspec.Raw(json.dumps(value).encode("utf-8", "replace"))
            continue
        content = value.pop("content", None) if isinstance(value, dict) else None
        try:
            kept[field.name] = msgspec.convert(value, field.type, strict=False)
        except msgspec.ValidationError:
            continue
        if content is not None and isinstance(kept[field.name], Message):
            kept[field.name].content = msgspec.Raw(json.dumps(content).encode("utf-8", "replace"))
    return Line(**kept)


def wall_ms(timestamp: str | None) -> int | None:
    """Milliseconds since 1970, UTC, of a record's timestamp; None where there is none that can be read."""
    if not timestamp:
        return None
    try:
        since = _parsed(timestamp) - _EPOCH
    except (ValueError, TypeError):  # no time, or one without a zone
        return None
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def stamp(at_ms: int) -> str:
    """The timestamp of a record: `2026-04-14T07:00:00.000Z`."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC).isoformat()[:19]}.{at_ms % 1000:03d}Z"


# ----- errors


class Cause(msgspec.Struct, gc=False):
    """A transport's error as Bun or Node named it."""

    code: str | None = None
    path: str | None = None
    errno: int | None = None


class _Told(msgspec.Struct, gc=False):
    type: str | None = None
    message: str | None = None
    error: _Told | None = None


class _Connection(msgspec.Struct, gc=False):
    code: str | None = None
    message: str | None = None


class ErrorObject(msgspec.Struct, gc=False):
    """What `error` holds in an api_error record: an HTTP answer, a cause, both shapes of later versions, or nothing."""

    status: int | None = None
    type: str | None = None
    message: str | None = None
    formatted: str | None = None
    requestID: str | None = None
    requestId: str | None = None
    request_id: str | None = None
    headers: dict[str, Any] | None = None
    cause: Cause | None = None
    connection: _Connection | None = None
    error: _Told | None = None
    isNetworkDown: bool | None = None
    noResponse: bool | None = None


_error = msgspec.json.Decoder(ErrorObject)
_cause = msgspec.json.Decoder(Cause)


def error_object(raw: msgspec.Raw) -> ErrorObject | None:
    """The decoded `error`, as far as it makes sense; None where it is no object."""
    data = bytes(raw)
    if not data.lstrip().startswith(b"{"):
        return None
    try:
        return _error.decode(data)
    except UnicodeError:
        return None
    except msgspec.ValidationError:
        found = json.loads(data)
        kept: dict[str, Any] = {}
        for field in msgspec.structs.fields(ErrorObject):
            if found.get(field.name) is not None:
                try:
                    kept[field.name] = msgspec.convert(found[field.name], field.type, strict=False)
                except msgspec.ValidationError:
                    continue
        return ErrorObject(**kept)


def cause_object(raw: msgspec.Raw) -> Cause | None:
    """The decoded `cause` that stands beside `error`; None where there is none."""
    data = bytes(raw)
    if not data.lstrip().startswith(b"{"):
        return None
    try:
        return _cause.decode(data)
    except (msgspec.ValidationError, UnicodeError):
        return None
