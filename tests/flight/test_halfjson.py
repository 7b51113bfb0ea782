"""JSON that was cut off: never more than the truth, and never less than what had come whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.flight.halfjson import Half, decoded, read, read_bytes

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["\\", '"', "\\\\u12", "😀", "a\nb\t\x00", "\u2028é", "\\n", "ende\\", "👩‍👩‍👧", "\ud83d alone"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)


def begins(half: Any, whole: Any) -> bool:
    """Whether one value is a beginning of the other."""
    if isinstance(half, dict) and isinstance(whole, dict):
        return list(half) == list(whole)[: len(half)] and _all_but_last_whole(
            list(half.values()), [whole[key] for key in half]
        )
    if isinstance(half, list) and isinstance(whole, list):
        return len(half) <= len(whole) and _all_but_last_whole(half, whole)
    if isinstance(half, str) and isinstance(whole, str):
        return whole.startswith(half)
    return type(half) is type(whole) and half == whole


def _all_but_last_whole(half: list[Any], whole: list[Any]) -> bool:
    return half[:-1] == whole[: max(len(half) - 1, 0)] and (
        not half or begins(half[-1], whole[len(half) - 1])
    )


@given(OBJECTS, st.booleans(), st.none() | st.just(2), st.data())
def test_whatever_the_cut_the_recovered_text_is_a_beginning_of_the_truth(
    truth: dict[str, Any], ascii_only: bool, indent: int | None, data: st.DataObject
) -> None:
    """Every object, escaped or not, cut at every place."""
    text = json.dumps(truth, ensure_ascii=ascii_only, indent=indent)
    cut = data.draw(st.integers(0, len(text)))
    half = read(text[:cut])
    assert half.complete == (cut == len(text))
    assert half.value is None if half.value is None else begins(half.value, truth)
    if half.complete:
        assert half.value == truth and half.cut_text is None


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.booleans(), st.data())
def test_all_but_the_last_character_comes_back(words: str, ascii_only: bool, data: st.DataObject) -> None:
    """Of a string cut in its middle nothing is lost that had come whole, in bytes as well as in characters."""
    text = json.dumps({"path": "/x", "content": words}, ensure_ascii=ascii_only).encode()
    start = text.index(b'"content": "') + len(b'"content": "')
    cut = data.draw(st.integers(start, len(text) - 2))
    half = read_bytes(text[:cut])
    whole = [json.dumps(c, ensure_ascii=ascii_only).encode()[1:-1] for c in words]
    came, at = 0, start
    while came < len(whole) and at + len(whole[came]) <= cut:
        at += len(whole[came])
        came += 1
    assert half.cut == ("content",) and half.cut_text == words[:came]
    assert half.value == {"path": "/x", "content": words[:came]}


@pytest.mark.parametrize(
    ("text", "value", "cut"),
    [
        ("", None, ()),
        ("  ", None, ()),
        ("{", {}, ()),
        ('{"a', {}, ()),
        ('{"a"', {}, ()),
        ('{"a": 12', {}, ()),
        ('{"a": 12,', {"a": 12}, ()),
        ('{"a": tru', {}, ()),
        ('{"a": "x\\', {"a": "x"}, ("a",)),
        ('{"a": "x\\\\', {"a": "x\\"}, ("a",)),
        ('{"a": "x\\\\u12', {"a": "x\\u12"}, ("a",)),
        ('{"a": "x\\ud83d', {"a": "x"}, ("a",)),
        ('{"a": "x\\ud83d\\ude0', {"a": "x"}, ("a",)),
        ('{"a": "x\\ud83d\\ude00', {"a": "x😀"}, ("a",)),
        ('{"e": [{"s": "one"}, {"s": "tw', {"e": [{"s": "one"}, {"s": "tw"}]}, ("e", 1, "s")),
        ('{"a": "x\ny', {"a": "x\ny"}, ("a",)),
        ('{"a": "bad \\q escape', {"a": "bad "}, ("a",)),
        ('{"a": 1, oops', {"a": 1}, ()),
        ("no json", None, ()),
        ('{"": "', {"": ""}, ("",)),
    ],
)  # fmt: skip
def test_each_kind_of_cut(text: str, value: Any, cut: tuple[str | int, ...]) -> None:
    """Inside keys, numbers, words, escapes, pairs, and inside what is no JSON."""
    assert read(text) == Half(value, complete=False, cut=cut)


def test_hostile_text_costs_neither_stack_nor_time() -> None:
    """A hundred thousand brackets, a million backslashes, a number of a million digits."""
    assert read("[" * 100_000).value is not None
    assert read('{"a": "' + "\\" * 1_000_001).cut_text == "\\" * 500_000
    assert read('{"a": ' + "1" * 1_000_000 + "}").value == {}
    assert read('{"a": "' + "é\\n" * 300_000 + "\\q").cut_text == "é\n" * 300_000


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    """Whatever a provider sends."""
    read_bytes(data)
    read_bytes(b'{"a": "' + data)
    assert decoded("é".encode()[:1]) == "" and decoded(b"\xffa") == "\ufffda"
