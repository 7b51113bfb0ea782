"""Edits of a request body: what is spliced in, and that no other byte changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.gateway.rawjson import entries, members
from holdfast.gateway.unbuffer import ask_as_stream, edit, unbuffer

EAGER = b'"eager_input_streaming":true,'


def test_a_tool_that_says_nothing_is_asked_to_stream_its_input() -> None:
    """Everything but the splice stays as the client wrote it, blanks and escapes included."""
    body = (
        b'{ "model":"m", "tools" : [ {"name":"Write", "input_schema":{"type":"object"}} ],\n "x":"\\u00e9" }'
    )

    edited, count = unbuffer(body)

    assert count == 1
    assert edited == (
        b'{ "model":"m", "tools" : [ {"eager_input_streaming":true,"name":"Write", "input_schema":{"type":"object"}} ],'
        b'\n "x":"\\u00e9" }'
    )


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "Write", "eager_input_streaming": False},
        {"name": "Write", "eager_input_streaming": None},
        {"name": "Write", "eager_input_streaming": True},
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": None, "name": "odd"},
        {},
    ],
)
def test_explicit_values_and_the_providers_tools_are_left_alone(tool: dict[str, Any]) -> None:
    """The user's own choice wins, and server tools do not know the field."""
    body = json.dumps({"tools": [tool]}).encode()
    assert unbuffer(body) == (body, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"tools":[{"name":"a"}]',
        b'\xef\xbb\xbf{"tools":[{"name":"a"}]}',
        b'{"tools":[{"name":"a"}],"tools":[{"name":"b"}]}',
        b'{"tools":[{"name":"a"}],"tools":[{"name":"a"}]}',
        b'{"tools":[{"name":"a","type":"x","type":"custom"}]}',
        b'{"tools":[{"name":"a"},7]}',
        b'{"tools":{"name":"a"}}',
        b'{"tools":null}',
        b'{"tools":[{"name":NaN}]}',
        b'{"tools":[{"name":"a"}]} {}',
        b'{"messages":"\\"tools\\":[{\\"name\\":\\"a\\"}]"}',
    ],
)
def test_any_doubt_leaves_the_body_as_it_is(body: bytes) -> None:
    """Broken JSON, a key given twice, a byte-order mark: the provider gets what the client wrote."""
    assert unbuffer(body) == (body, 0)


def test_a_request_is_asked_as_a_stream_without_touching_the_rest() -> None:
    """A missing `stream` is added at the end, a false one replaced, a true one left."""
    assert ask_as_stream(b'{"a": 1 }\n') == b'{"a": 1 ,"stream":true}\n'
    assert (
        ask_as_stream(b'{"stream" : false, "a":{"stream":false}}')
        == b'{"stream" : true, "a":{"stream":false}}'
    )
    assert ask_as_stream(b'{"stream":true}') == b'{"stream":true}'
    assert ask_as_stream(b"{}") == b'{"stream":true}'
    assert ask_as_stream(b"{") == b"{"


# -- for every body ---------------------------------------------------------------------------------

_BLANK = st.sampled_from(["", " ", "\n\t", "\r\n  "])
_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_TOOL = st.fixed_dictionaries(
    {"name": st.text(max_size=5)},
    optional={
        "type": st.sampled_from(["custom", "bash_20250124"]),
        "eager_input_streaming": st.booleans(),
        "input_schema": _VALUE,
        "\u00e9\n": _VALUE,
    },
)
_BODY = st.fixed_dictionaries(
    {"tools": st.lists(_TOOL, max_size=4)},
    optional={"stream": st.booleans(), "messages": _VALUE, 'ex"tra\\': _VALUE, "tools ": _VALUE},
)


@st.composite
def _written(draw: st.DrawFn) -> bytes:
    """A body in some legal spelling: order, blanks, escapes."""
    pairs = draw(st.permutations(list(draw(_BODY).items())))
    ascii_only = draw(st.booleans())

    def write(value: Any) -> str:
        match value:
            case dict():
                inner = ",".join(
                    _spaced(draw, write(key)) + ":" + _spaced(draw, write(v)) for key, v in value.items()
                )
                return "{" + inner + draw(_BLANK) + "}"
            case list():
                return "[" + ",".join(_spaced(draw, write(one)) for one in value) + draw(_BLANK) + "]"
        return json.dumps(value, ensure_ascii=ascii_only)

    return _spaced(draw, write(dict(pairs))).encode()


def _spaced(draw: st.DrawFn, text: str) -> str:
    return draw(_BLANK) + text + draw(_BLANK)


def _expected(body: bytes) -> tuple[Any, int]:
    value, count = json.loads(body), 0
    for tool in value["tools"]:
        if tool.get("type", "custom") == "custom" and "eager_input_streaming" not in tool:
            tool["eager_input_streaming"] = True
            count += 1
    return value, count


def _without_splices(edited: bytes, body: bytes) -> bytes:
    """The edited body less every splice; one that the client wrote itself stands in `body` too, and stays."""
    kept = bytearray()
    at = 0
    while at < len(edited):
        if edited.startswith(EAGER, at) and not body.startswith(EAGER, len(kept)):
            at += len(EAGER)
        kept += edited[at : at + 1]
        at += 1
    return bytes(kept)


@given(_written())
@settings(max_examples=200)
def test_the_edit_is_the_one_that_was_meant(body: bytes) -> None:
    """Decoded, the result is the expected edit; without the spliced bytes, it is the original."""
    edited, count = unbuffer(body)

    assert (json.loads(edited), count) == _expected(body)
    assert len(edited) == len(body) + count * len(EAGER)
    assert _without_splices(edited, body) == body


@given(_written())
@settings(max_examples=100)
def test_both_edits_at_once_are_both_edits(body: bytes) -> None:
    """One pass over the body does what two would."""
    assert json.loads(ask_as_stream(body)) == {**json.loads(body), "stream": True}
    both, count = edit(body, eager=True, stream=True, found=members(body))
    assert (both, count) == unbuffer(ask_as_stream(body))


@given(_written())
@settings(max_examples=100)
def test_every_value_is_found_where_it_stands(body: bytes) -> None:
    """A slice holds its value and nothing else."""
    found = members(body)
    assert found is not None
    value = json.loads(body)
    assert {key: json.loads(body[place.start : place.end]) for key, place in found.items()} == value
    tools = body[found["tools"].start : found["tools"].end]
    places = entries(tools)
    assert places is not None
    assert [json.loads(tools[place.start : place.end]) for place in places] == value["tools"]


@given(st.binary(max_size=60) | _written().map(lambda body: body[: len(body) // 2]))
@settings(max_examples=200)
def test_no_bytes_break_an_edit(body: bytes) -> None:
    """What is no JSON object comes back as it is."""
    edited, count = unbuffer(body)
    if members(body) is None:
        assert (edited, count, ask_as_stream(body)) == (body, 0, body)
