"""Whether two requests are the same turn, and whether one took the other's place.

Same turn = same head (tenant, method, path and query, upstream, API version, betas, session and agent) and the
same body as the client sent it, before any edit of ours. A client whose profile is measured to ask again without
streaming has that request's differences set aside: `stream`, `max_tokens`, and its attribution block in
`system`, which is known by its content and never by its place. Its betas and all else are the same.

Values are compared as bytes. Big ones are never decoded unless the bytes differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import msgspec

from holdfast.gateway.rawjson import Slice, array_values, members

T = TypeVar("T", str, bytes)

# -- heads ------------------------------------------------------------------------------------------


class HeadKey(NamedTuple):
    """What two requests must share before their bodies are looked at. Holds no credential."""

    tenant: str
    method: bytes
    target: bytes
    "Path and query."
    upstream: str
    version: str
    "`anthropic-version`."
    betas: str
    "`anthropic-beta` as sent: a retry repeats it to the byte, and a changed list is another question."
    session: str | None
    agent: str | None


Key = tuple[HeadKey, bytes]
"A question, across its client's own retries: what its requests share, and the `digest` of their bodies."


def head_key(
    tenant: str, method: bytes, target: bytes, headers: Mapping[str, str], *, upstream: str = ""
) -> HeadKey:
    """The key of a request's head. `headers` has lower-case names."""
    return HeadKey(
        _one(tenant),
        method,
        _one(target),
        upstream,
        _one(headers.get("anthropic-version", "")),
        _one(headers.get("anthropic-beta", "")),
        headers.get("x-claude-code-session-id"),
        headers.get("x-claude-code-agent-id"),
    )


@lru_cache(maxsize=1024)
def _one(text: T) -> T:
    """The same text, once for all the turns that keep it in their keys: most clients send the same."""
    return text


CREDENTIALS = (b"x-api-key", b"authorization", b"api-key", b"x-goog-api-key", b"cookie")
"The headers by which a client shows who it is, in lower case."


def tenant_of(
    credentials: tuple[bytes | None, ...], *, run_tenant: str | None, token: str | None, secret: bytes
) -> str:
    """Whose request it is: the run's; else the access token's holder; else the credential's holder.

    Hashes are keyed with `secret`, which lives as long as the process, so that no hash can be looked up or
    compared elsewhere. Under `run` a renewed token is still the same tenant. `credentials` are the values of
    `CREDENTIALS`, None where there is none.
    """
    if run_tenant is not None:
        return f"run:{run_tenant}"
    if len(secret) < 16:
        raise ValueError("a tenant's hash needs a secret of at least 16 bytes; use secrets.token_bytes(32)")
    if token is not None:
        return f"token:{_keyed_hash((token,), secret)}"
    return f"key:{_keyed_hash(credentials, secret)}"


def _keyed_hash(values: tuple[str | bytes | None, ...], secret: bytes) -> str:
    digest = _keyed(secret).copy()
    digest.update(repr(values).encode())  # a tuple's writing: no two lists of values give the same bytes
    return digest.hexdigest()


@lru_cache(maxsize=4)
def _keyed(secret: bytes) -> hashlib.blake2b:
    """A hash that was given its key and nothing else: the same for every request of a process."""
    return hashlib.blake2b(key=hashlib.sha256(secret).digest(), digest_size=16)


# -- facts ------------------------------------------------------------------------------------------


class RequestFacts(NamedTuple):
    """What the gateway wants to know of a request's body; None is "not said" or "not readable"."""

    model: str | None = None
    stream: bool = False
    max_tokens: int | None = None
    tools: int = 0
    "How many."


class _Stream(msgspec.Struct):
    stream: msgspec.Raw = msgspec.Raw()


_STREAM = msgspec.json.Decoder(_Stream)
_UNREADABLE = (msgspec.MsgspecError, RecursionError, ValueError)


def facts(body: bytes, found: Mapping[str, Slice] | None = None) -> RequestFacts:
    """What a request's body says; what cannot be read is left out.

    `found` is `rawjson.members(body)`, where the caller has read it already.
    """
    values = _raws(found) if found is not None else _values(body)
    if values is None:
        return RequestFacts()
    model, most = _plain(values.get("model")), _plain(values.get("max_tokens"))
    return RequestFacts(
        model if isinstance(model, str) else None,
        _raw(values, "stream") == b"true",
        most if isinstance(most, int) and not isinstance(most, bool) else None,
        len(array_values(values["tools"]) or ()) if "tools" in values else 0,
    )


def is_streaming(body: bytes) -> bool:
    """Whether a request asks for a stream."""
    try:
        return bytes(_STREAM.decode(body).stream) == b"true"
    except _UNREADABLE:
        return False


def _plain(raw: msgspec.Raw | None) -> Any:
    try:
        return msgspec.json.decode(raw) if raw is not None else None
    except _UNREADABLE:
        return None


# -- bodies -----------------------------------------------------------------------------------------


def same(first: bytes, second: bytes) -> bool:
    """Whether two bodies ask the same thing, to the byte."""
    return first == second


_SET_ASIDE = frozenset(("stream", "max_tokens", "system"))


def same_but_fallback(streaming_body: bytes, whole_body: bytes) -> bool:
    """Whether the second body asks without streaming what the first asked as a stream.

    To be used only for a client whose profile says that it asks so. Doubt is a no.
    """
    first, second = _values(streaming_body), _values(whole_body)
    if first is None or second is None:
        return False
    if _raw(first, "stream") != b"true" or _raw(second, "stream") not in (b"", b"false"):
        return False
    if first.keys() - _SET_ASIDE != second.keys() - _SET_ASIDE:
        return False
    return all(first[key] == second[key] for key in first.keys() - _SET_ASIDE) and _same_system(
        first.get("system"), second.get("system")
    )


def same_conversation(first: bytes, second: bytes) -> bool:
    """Whether the second request stands where the first one stood: the conversation moved on.

    The same model, tools and system (attribution aside), no fewer messages, and the same messages up to the
    first request's last one, which a cancel may have rewritten. With one message, that one must be the same.
    `cache_control` is left out: it moves to the end of the newest request. Side requests (titles, with another
    model and no tools) and subagents (another system, other tools or another task) fail this.
    A retry and a fallback pass it, so ask `same` and `same_but_fallback` before.
    """
    older, newer = _values(first), _values(second)
    if older is None or newer is None:
        return False
    if any(_raw(older, key) != _raw(newer, key) for key in ("model", "tools")):
        return False
    return _same_system(older.get("system"), newer.get("system")) and _same_beginning(
        older.get("messages"), newer.get("messages")
    )


def _values(body: bytes) -> dict[str, msgspec.Raw] | None:
    """The body's top-level values; None where it is no object, or where a key stands in it twice."""
    found = members(body)
    return None if found is None else _raws(found)


def _raws(found: Mapping[str, Slice]) -> dict[str, msgspec.Raw]:
    return {key: place.raw for key, place in found.items()}


def _raw(values: Mapping[str, msgspec.Raw], key: str) -> bytes:
    return bytes(values[key]) if key in values else b""


def _same_beginning(older: msgspec.Raw | None, newer: msgspec.Raw | None) -> bool:
    before = array_values(older) if older is not None else None
    after = array_values(newer) if newer is not None else None
    if not before or not after or len(after) < len(before):
        return False
    shared = max(1, len(before) - 1)
    return all(
        one == other or _same_message(one, other)
        for one, other in zip(before[:shared], after[:shared], strict=True)
    )


def _same_message(one: msgspec.Raw, other: msgspec.Raw) -> bool:
    """Two messages whose bytes differ: by nothing but `cache_control`?"""
    if b'"cache_control"' not in bytes(one) and b'"cache_control"' not in bytes(other):
        return False
    try:
        return bool(_as_blocks(msgspec.json.decode(one)) == _as_blocks(msgspec.json.decode(other)))
    except _UNREADABLE:
        return False


def _as_blocks(message: Any) -> Any:
    """A message without `cache_control`, a plain string as the text block that must carry one."""
    if isinstance(message, dict) and isinstance(message.get("content"), str):
        message = {**message, "content": [{"type": "text", "text": message["content"]}]}
    if isinstance(message, dict) and isinstance(message.get("content"), list):
        message = {**message, "content": [_uncached(block) for block in message["content"]]}
    return message


def _uncached(block: Any) -> Any:
    """A block without its own `cache_control`; what a tool's input holds under that name stays."""
    if not isinstance(block, dict):
        return block
    return {key: value for key, value in block.items() if key != "cache_control"}


def digest(body: bytes, *, falls_back: bool) -> bytes:
    """What is the same for a request and for its own retries: model, tools and messages.

    Asked with and without streaming it is one question only of a client that was measured to fall back so (`falls_back`).
    Of any other the two are two: what is silent on its way says nothing of what flows.

    16 bytes. Two questions with one digest are as good as never met, and all that hangs on it is a count.
    """
    values = _values(body)
    found = hashlib.blake2b(digest_size=16)
    if values is None:
        found.update(body)
    else:
        for key in ("model", "tools", "messages"):
            said = _raw(values, key)
            found.update(b"%d:" % len(said) + said)
        if not falls_back:
            found.update(b"stream" if _raw(values, "stream") == b"true" else b"whole")
    return found.digest()


# -- the attribution block --------------------------------------------------------------------------

_ATTRIBUTION = "x-anthropic-billing-header:"
"""What Claude Code's attribution block begins with (read in 2.1.86 and 2.1.329). It is one line of its own."""


class _SystemBlock(msgspec.Struct):
    type: str
    text: str


_SYSTEM_BLOCK = msgspec.json.Decoder(_SystemBlock)


def _same_system(one: msgspec.Raw | None, other: msgspec.Raw | None) -> bool:
    if one == other:
        return True
    if one is None or other is None:
        return False
    first, second = array_values(one), array_values(other)
    if first is None or second is None:
        return False
    return _without_attribution(first) == _without_attribution(second)


def _without_attribution(blocks: list[msgspec.Raw]) -> list[bytes]:
    return [bytes(block) for block in blocks if not _is_attribution(block)]


def _is_attribution(block: msgspec.Raw) -> bool:
    try:
        given = _SYSTEM_BLOCK.decode(block)
    except _UNREADABLE:
        return False
    return given.type == "text" and given.text.startswith(_ATTRIBUTION) and "\n" not in given.text
