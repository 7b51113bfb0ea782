"""Edits of a request body that change what must change and no other byte.

*Unbuffer*: without `eager_input_streaming` the API sends a tool's argument when it is whole, so a large file
is one long silence. Clients switch the field off behind a custom base URL, some with no way to switch it on.

*Ask as stream*: a request without streaming, fetched as a stream so that its progress can be seen.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.gateway.rawjson import Slice, Splice, entries, members, spliced

_EAGER = b'"eager_input_streaming":true,'


def unbuffer(body: bytes) -> tuple[bytes, int]:
    """The body with `eager_input_streaming` set on each of its own tools that does not say; and how many.

    The provider's tools (those with another `type` than `custom`) and explicit values are left alone.
    On any doubt about the JSON the body comes back unchanged, with 0.
    """
    return edit(body, eager=True, stream=False)


def ask_as_stream(body: bytes) -> bytes:
    """The body with a top-level `stream` of true. On any doubt it comes back unchanged."""
    return edit(body, eager=False, stream=True)[0]


def edit(
    body: bytes, *, eager: bool, stream: bool, found: Mapping[str, Slice] | None = None
) -> tuple[bytes, int]:
    """Both edits in one pass: `eager` unbuffers, `stream` asks as stream.

    `found` is `rawjson.members(body)`, where the caller has read it already. Returns the body and the number
    of tools that were changed.
    """
    if found is None:
        found = members(body)
    if found is None:
        return body, 0
    splices = _eager(body, found) if eager else []
    count = len(splices)
    if stream:
        splices += _as_stream(body, found)
    return spliced(body, splices), count


def _eager(body: bytes, found: Mapping[str, Slice]) -> list[Splice]:
    where = found.get("tools")
    places = entries(body[where.start : where.end]) if where is not None else None
    if where is None or places is None:
        return []
    splices = []
    for place in places:
        lacking = _lacks_the_field(bytes(place.raw))
        if lacking is None:
            return []
        if lacking:
            after_brace = where.start + place.start + 1
            splices.append(Splice(after_brace, after_brace, _EAGER))
    return splices


def _lacks_the_field(tool: bytes) -> bool | None:
    """Whether a tool is the client's own and says nothing about streaming its input; None on doubt."""
    found = members(tool)
    if found is None:
        return None
    kind = found.get("type")
    own = "name" in found and (kind is None or bytes(kind.raw) == b'"custom"')
    return own and "eager_input_streaming" not in found


def _as_stream(body: bytes, found: Mapping[str, Slice]) -> list[Splice]:
    where = found.get("stream")
    if where is None:
        end = body.rindex(b"}")
        return [Splice(end, end, b',"stream":true' if found else b'"stream":true')]
    return [] if bytes(where.raw) == b"true" else [Splice(where.start, where.end, b"true")]
