"""Images of earlier turns are left out of a body, and nothing else changes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.gateway.images import strip_images

Json = dict[str, Any]


def image(data: str = "iVBORw0KGgo=", **more: Any) -> Json:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}, **more}


def text(said: str = "look") -> Json:
    return {"type": "text", "text": said}


def user(*content: Json) -> Json:
    return {"role": "user", "content": list(content)}


def result(*content: Json) -> Json:
    return {"type": "tool_result", "tool_use_id": "t", "content": list(content)}


def assistant(*content: Json) -> Json:
    return {"role": "assistant", "content": list(content) or [text("I see.")]}


CALL: Json = {"type": "tool_use", "id": "t", "name": "Screenshot", "input": {}}


def body(*messages: Json) -> bytes:
    return json.dumps({"model": "m", "messages": messages, "max_tokens": 9}).encode()


def left(*messages: Json) -> list[list[str]]:
    """What stands in each message after the edit: the types of its blocks, those in tool results included."""
    edited, _ = strip_images(body(*messages))
    return [_types(message["content"]) for message in json.loads(edited)["messages"]]


def _types(content: Any) -> list[str]:
    if isinstance(content, str):
        return ["string"]
    return [kind for block in content for kind in [block["type"], *_types(block.get("content", []))]]


def test_an_image_of_an_earlier_turn_is_replaced_where_it_stands() -> None:
    """Blanks, escapes and order of everything else stay as the client wrote them."""
    before = b'{ "messages":[ {"role":"user","content":[ '
    picture = b'{"source":{"data":"QUJD","media_type":"image/png","type" : "base64"},\n"type":"image"}'
    after = (
        b' ,{"type":"text","text":"\\u00e9 caf\xc3\xa9"}]}, {"role":"assistant","content":"ok"},'
        b'{"content":"and now?", "role":"user"} ] ,"max_tokens":1.0e3}\n'
    )

    edited, count = strip_images(before + picture + after)

    instead = b'{"type":"text","text":"[image left out by holdfast: 58 bytes of one that was seen before]"}'
    assert (edited, count) == (before + instead + after, 1)


def test_images_of_the_last_turn_stay() -> None:
    """It begins with what a person wrote last, and goes on through the tools' results."""
    assert left(
        user(text(), image()),
        assistant(CALL),
        user(result(text(), image())),
        assistant(),
        user(text(), image()),
        assistant(CALL),
        user(result(image())),
    ) == [
        ["text", "text"],
        ["tool_use"],
        ["tool_result", "text", "text"],
        ["text"],
        ["text", "image"],
        ["tool_use"],
        ["tool_result", "image"],
    ]


def test_a_reminder_beside_a_tools_result_begins_no_turn() -> None:
    """Clients put text there by themselves; in doubt more is kept."""
    kept = left(
        user(text("old"), image()),
        assistant(),
        user(text("new"), image()),
        assistant(CALL),
        user(result(), text("<system-reminder>")),
        {"role": "system", "content": "be brief"},
    )
    assert kept[0] == ["text", "text"]
    assert kept[2] == ["text", "image"]


def test_a_long_run_within_one_turn_keeps_what_the_model_has_not_seen() -> None:
    """An agent looks at its screen a hundred times for one prompt. What that prompt showed stays, too."""
    assert left(
        user(image()), assistant(CALL), user(result(image())), assistant(CALL), user(result(image()), image())
    ) == [
        ["image"],
        ["tool_use"],
        ["tool_result", "text"],
        ["tool_use"],
        ["tool_result", "image", "image"],
    ]


def test_a_cache_breakpoint_stays_where_it_was() -> None:
    """Otherwise the whole prefix would have to be read anew."""
    edited, _ = strip_images(
        body(user(image(cache_control={"type": "ephemeral", "ttl": "1h"})), assistant(), user(text()))
    )
    [block] = json.loads(edited)["messages"][0]["content"]

    assert block["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert block["type"] == "text" and block["text"].startswith("[image left out by holdfast: ")


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "image", "source": "base64"},
        {"type": "image"},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD"}},
        {"type": "text", "text": json.dumps(image())},
        {"type": "tool_use", "id": "t", "name": "Draw", "input": image()},
        {"type": ["image"]},
    ],
)
def test_what_is_no_image_in_the_body_is_left_alone(block: Json) -> None:
    """References are short, documents may be talked about throughout, and a tool's input is the model's own words."""
    given_body = body(user(block), assistant(), user(text()))

    edited, count = strip_images(given_body)

    assert edited is given_body and count == 0


OLD = json.dumps(user(image())).encode()


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"[]",
        b"{}",
        b'{"messages":{}}',
        b'{"messages":["hello"]}',
        b'{"messages":[{"role":"user","content":["hello"]}]}',
        b'{"messages":[%s,{"role":"user","role":"user","content":"x"}]}' % OLD,
        b'{"messages":[%s,{"role":"assistant","content":"x"},{"role":"user","content":"x"}],"messages":[]}'
        % OLD,
        b'{"messages":[%s,{"role":"assistant","content":[{"a":1,"a":2}]},{"role":"user","content":"x"}]}'
        % OLD,
        b'{"messages":[%s,{"role":"assistant","content":"x"},{"role":"user","content":"x"}]' % OLD,
    ],
)
def test_any_doubt_leaves_the_body_as_it_is(broken: bytes) -> None:
    """The provider gets what the client wrote, and says itself what is wrong with it."""
    edited, count = strip_images(broken)

    assert edited is broken and count == 0


# -- for every body ---------------------------------------------------------------------------------

_LEAF = st.sampled_from(
    [text("a"), text("\u00e9\n\\"), image("QQ=="), image("x", cache_control={"type": "e"})]
)
_IN_RESULT = st.lists(_LEAF, max_size=3).map(lambda blocks: result(*blocks))
_CONTENT = st.lists(_LEAF | _IN_RESULT, max_size=3) | st.just("a string")
_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "user", "system"]), "content": _CONTENT}
)
_BODY = st.fixed_dictionaries(
    {"messages": st.lists(_MESSAGE, max_size=7)}, optional={"system": _CONTENT, "model": st.text(max_size=3)}
)


def _without_blocks(edited: Any, given_body: Any, taken: list[Json]) -> Any:
    """The edited value with every replacement put back; what was replaced is added to `taken`."""
    if isinstance(edited, dict) and edited.get("text", "").startswith("[image left out by holdfast: "):
        assert given_body["type"] == "image"
        assert edited.get("cache_control") == given_body.get("cache_control")
        taken.append(given_body)
        return given_body
    if isinstance(edited, dict):
        return {key: _without_blocks(value, given_body.get(key), taken) for key, value in edited.items()}
    if isinstance(edited, list) and isinstance(given_body, list) and len(edited) == len(given_body):
        return [_without_blocks(one, other, taken) for one, other in zip(edited, given_body, strict=True)]
    return edited


@given(_BODY, st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=300)
def test_nothing_changes_but_the_images(value: Json, indent: int | None, ascii_only: bool) -> None:
    """In any spelling: with the images put back, the body is the client's; what the model has not seen stays."""
    given_body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()

    edited, count = strip_images(given_body)

    taken: list[Json] = []
    assert _without_blocks(json.loads(edited), copy.deepcopy(value), taken) == value
    assert len(taken) == count
    assert (edited is given_body) == (count == 0)
    roles = [message["role"] for message in value["messages"]]
    unseen = len(roles) - roles[::-1].index("assistant") if "assistant" in roles else 0
    begun = [i for i, role in enumerate(roles) if role == "user"]
    newest = max(unseen, begun[-1] if begun else 0)
    assert json.loads(edited)["messages"][newest:] == value["messages"][newest:]


@given(_BODY)
@settings(max_examples=200)
def test_all_that_is_older_is_left_out(value: Json) -> None:
    """Before the last message that a person wrote, no base64 image remains."""
    edited = json.loads(strip_images(json.dumps(value).encode())[0])

    said = [
        i
        for i, message in enumerate(value["messages"])
        if message["role"] == "user" and "tool_result" not in _types(message["content"])
    ]
    for message in edited["messages"][: said[-1] if said else 0]:
        assert "image" not in _types(message["content"])
