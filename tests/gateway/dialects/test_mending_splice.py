"""A text that broke off, continued in the block that is open at the client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.gateway.dialects.anthropic import PING, comment, fold, null_delta
from holdfast.gateway.dialects.mending import block_stop, mark, told
from holdfast.gateway.dialects.splicing import (
    Continuation,
    Form,
    Seam,
    Splice,
    continuation,
    estimated_tokens,
    form_for,
    texts_told,
)
from tests.gateway.dialects import test_anthropic as sdk


def event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def message_start(message_id: str = "msg_1") -> bytes:
    shell = {"id": message_id, "type": "message", "role": "assistant", "model": "claude-x", "content": []}
    return event("message_start", message={**shell, "usage": {"input_tokens": 9, "output_tokens": 1}})


def start(index: int, kind: str = "text", **more: Any) -> bytes:
    shell = {"text": ""} if kind == "text" else {}
    return event("content_block_start", index=index, content_block={"type": kind, **shell, **more})


def delta(index: int, words: str) -> bytes:
    return event("content_block_delta", index=index, delta={"type": "text_delta", "text": words})


def stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


def ending(reason: str = "end_turn", tokens: int = 9) -> bytes:
    change = {"stop_reason": reason, "stop_sequence": None}
    return event("message_delta", delta=change, usage={"output_tokens": tokens}) + event("message_stop")


def thought(index: int) -> bytes:
    signed = event("content_block_delta", index=index, delta={"type": "signature_delta", "signature": "s"})
    return start(index, "thinking", thinking="", signature="") + signed + stop(index)


def call(index: int) -> bytes:
    written = event(
        "content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": '{"index": 0}'}
    )
    return start(index, "tool_use", id="toolu_1", name="Write", input={}) + written + stop(index)


BODY = b'{"model": "claude-x", "max_tokens": 4096, "stream": true,\n "messages" : [ {"role":"user","content":"Tell"} ] }'


def asked(text: str, *, model: str = "claude-sonnet-4-5", body: bytes = BODY) -> Continuation:
    found = continuation(body, [text], model=model, said_tokens=100)
    assert found is not None
    return found


# -- how a model is asked ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "models"),
    [
        (
            Form.PREFILL,
            "claude-opus-4-5-20251101 claude-sonnet-4-5 claude-haiku-4-5-20251001 claude-opus-4-1 claude-opus-4-20250514 "
            "claude-sonnet-4-0 claude-sonnet-4@20250514 claude-3-7-sonnet-latest claude-3-5-haiku-20241022 "
            "claude-3-opus-20240229 us.anthropic.claude-sonnet-4-5-20250929-v1:0 anthropic/claude-opus-4.5 claude-2.1",
        ),
        (
            Form.REQUEST,
            "claude-opus-4-6 claude-sonnet-4-6 claude-opus-4-7-20260416 claude-opus-4-8 claude-opus-4-10 claude-opus-5 "
            "claude-sonnet-5-5 claude-fable-5 claude-mythos-preview claude-mythos-5 us.anthropic.claude-opus-4-6-v1 "
            "anthropic/claude-opus-4.6 claude-30 claude-opus-45 gpt-5 glm-4-5 unknown",
        ),
    ],
)  # fmt: skip
def test_only_models_up_to_4_5_are_prefilled(form: Form, models: str) -> None:
    """Later ones refuse it, and what nobody knows is asked in words, which every model takes."""
    assert {model for model in models.split() if form_for(model) is not form} == set()


def test_a_prefill_is_the_text_so_far_without_its_last_white_space() -> None:
    """The rest of the body is the client's, byte for byte, with fewer tokens to come."""
    found = asked("Once upon\n a \n")

    assert found.form is Form.PREFILL and found.trimmed == " \n"
    assert found.body == (
        b'{"model": "claude-x", "max_tokens": 3996, "stream": true,\n "messages" : [ {"role":"user","content":"Tell"}'
        b',{"role":"assistant","content":[{"type":"text","text":"Once upon\\n a"}]} ] }'
    )


def test_a_later_model_is_asked_to_repeat_the_last_words() -> None:
    """So that the seam can be checked, also where the text broke off inside a word."""
    text = "It was a dark night. " * 9 + "Then the old doo"

    found = asked(text, model="claude-opus-4-6")

    said, request = json.loads(found.body)["messages"][1:]
    assert said == {"role": "assistant", "content": [{"type": "text", "text": text}]}
    assert request["role"] == "user" and found.anchor in request["content"][0]["text"]
    assert text.endswith(found.anchor) and 40 <= len(found.anchor) <= 80
    assert text[: -len(found.anchor)].endswith(" ") and "doo" in found.anchor


def test_a_model_that_thinks_is_never_prefilled() -> None:
    """With thinking on, the assistant's turn would have to begin with its thinking; that setting stays as it is."""
    thinks = BODY.replace(b"{", b'{"thinking": {"type": "enabled", "budget_tokens": 4000}, ', 1)
    assert asked("Half", body=thinks).form is Form.REQUEST
    assert json.loads(asked("Half", body=thinks).body)["max_tokens"] == 4001
    off = BODY.replace(b"{", b'{"thinking": {"type": "disabled"}, ', 1)
    assert asked("Half", body=off).form is Form.PREFILL


@pytest.mark.parametrize(
    ("most", "said", "left"), [(4096, 96, 4000), (100, 100, 1), (100, 999, 1), (1, 0, 1), (0, 5, 0)]
)
def test_what_was_said_counts_against_max_tokens(most: int, said: int, left: int) -> None:
    """At least one token is asked for, and never more than the client allowed."""
    found = continuation(BODY.replace(b"4096", b"%d" % most), ["Half"], model="m", said_tokens=said)
    assert found is not None and json.loads(found.body)["max_tokens"] == left


def test_a_text_that_is_blank_so_far_is_asked_for_again() -> None:
    """There is nothing to quote: the same body, and its blanks are compared like any others."""
    found = asked(" \n")
    assert (found.form, found.body) == (Form.AGAIN, BODY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"messages":[{"role":"user","content":"x"}],"messages":[]}',
        b'{"messages":[]}',
        b'{"messages":{}}',
        b'{"messages":["x"]}',
        b'{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"The answer is"}]}',
        b'{"messages":[{"role":"user","content":"x"}],"output_config":{"format":{"type":"json_schema"}}}',
        b'{"messages":[{"role":"user","content":"x"}],"output_format":{"type":"json_schema"}}',
    ],
)
def test_what_cannot_be_continued_is_not(body: bytes) -> None:
    """Any doubt about the JSON, a prefill of the client's own, a document that would begin anew."""
    assert continuation(body, ["Half"], model="claude-opus-4-6", said_tokens=1) is None


def test_a_last_message_of_another_role_is_no_hindrance() -> None:
    """A client puts messages of role `system` last."""
    body = b'{"messages":[{"role":"user","content":"x"},{"role":"system","content":"y"}],"output_config":{"effort":"low"}}'
    found = continuation(body, ["Half"], model="claude-opus-4-6", said_tokens=1)
    assert found is not None
    assert [turn["role"] for turn in json.loads(found.body)["messages"]] == [
        "user",
        "system",
        "assistant",
        "user",
    ]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_TURN = st.fixed_dictionaries({"role": st.just("user"), "content": _JSON}, optional={"cache_control": _JSON})
_BODY = st.fixed_dictionaries(
    {"messages": st.lists(_TURN, min_size=1, max_size=3), "max_tokens": st.integers(1, 9999)},
    optional={"stream": st.booleans(), "system": _JSON, "tools": _JSON, 'ex"tra\\': _JSON, "metadata": _JSON},
)
_WORDS = st.text(st.sampled_from('ab é\n\t"\\{}\N{GRINNING FACE}0,'), max_size=60)


@given(
    _BODY,
    st.lists(_WORDS, min_size=1, max_size=3),
    st.sampled_from(["claude-haiku-4-5", "claude-opus-5"]),
    st.data(),
)
@settings(max_examples=200)
def test_for_every_body_the_rest_is_byte_for_byte_the_same(
    fields: dict[str, Any], texts: list[str], model: str, data: st.DataObject
) -> None:
    """Take the turns out again and put `max_tokens` back: what is left is what the client wrote."""
    spelt = data.draw(st.sampled_from([None, 0, 3])), data.draw(st.booleans())
    pairs = data.draw(st.permutations(list(fields.items())))
    body = json.dumps(dict(pairs), indent=spelt[0], ensure_ascii=spelt[1]).encode()
    found = continuation(body, texts, model=model, said_tokens=7)
    assert found is not None
    if found.form is Form.AGAIN:
        assert found.body == body and not "".join(texts).strip()
        return

    turns = json.loads(found.body)["messages"][len(fields["messages"]) :]
    said = b"".join(
        b"," + json.dumps(one, ensure_ascii=False, separators=(",", ":")).encode() for one in turns
    )
    assert found.body.count(said) == 1
    most = b'"max_tokens": %d'
    back = found.body.replace(said, b"").replace(
        most % max(1, fields["max_tokens"] - 7), most % fields["max_tokens"]
    )
    assert back == body
    quoted = [block["text"] for block in turns[0]["content"]]
    assert "".join(quoted).split() == "".join(one for one in texts if one.strip()).split()
    assert all(one.strip() for one in quoted) and quoted[-1] == quoted[-1].rstrip()
    assert [turn["role"] for turn in turns] == ["assistant", "user"][: 1 + (found.form is Form.REQUEST)]


# -- what was told, as text -------------------------------------------------------------------------


def test_only_text_is_continued() -> None:
    """A tool call, a thought or a block of an unknown kind among what was told: nothing is quoted."""
    half = (
        message_start() + start(0) + delta(0, "One. ") + stop(0) + start(1) + delta(1, "Tw") + delta(1, "o")
    )
    assert texts_told(half) == ("One. ", "Two")
    assert texts_told(message_start() + start(0)) == ("",)
    for other in (
        thought(0) + start(1),
        call(0) + start(1),
        start(0, "sculpture") + stop(0),
        start(0, "tool_use"),
        b"",
    ):
        assert texts_told(message_start() + other) is None


def test_half_a_character_is_not_quoted() -> None:
    """A pair that came in two deltas is whole; one that broke off in between cannot be said in a request."""
    halves = [message_start() + start(0) + delta(0, "a\ud83d"), delta(0, "\ude00")]
    assert texts_told(halves[0]) is None
    assert texts_told(b"".join(halves)) == ("a\N{GRINNING FACE}",)


def test_tokens_are_estimated_by_bytes() -> None:
    """An answer of 700 English letters is about 200 tokens; other scripts have more bytes and more tokens."""
    assert estimated_tokens(["word " * 140]) == 200
    assert estimated_tokens(["語" * 100]) == 86
    assert estimated_tokens([]) == 0


# -- the seam ---------------------------------------------------------------------------------------

_STORY = "The quick brown fox jumps over the lazy dog, and the lazy dog did not mind it in the least"
_TABLE = "| 0.00 | 0.00 | 0.00 | 0.00 |\n"


def joined(text: str, heard: str, form: Form, size: int = 5) -> tuple[str, Seam]:
    """What a client has after a continuation that comes in deltas of `size` characters."""
    anchor = asked(text, model="claude-opus-5").anchor if form is Form.REQUEST else ""
    seam = Seam(Continuation(b"", form, text, 0, anchor))
    pieces = [heard[at : at + size] for at in range(0, len(heard), size)]
    fresh = None
    while fresh is None and pieces:
        fresh = seam.hear(pieces.pop(0))
    if fresh is None:
        fresh = seam.hear("", last=True)
    assert fresh is not None
    return text + fresh + "".join(pieces), seam


@pytest.mark.parametrize(
    ("told_text", "heard", "whole"),
    [
        ("One two ", " three", "One two three"),
        ("One two ", "three", "One two three"),
        ("One.\n\n", "\n\nTwo", "One.\n\nTwo"),
        ("One.\n\n", "\nTwo", "One.\n\nTwo"),
        ("if x:\n  ", "\n    y()", "if x:\n    y()"),
        ("One. \n", "\nTwo", "One. \nTwo"),
        ("One ", "\n\nTwo", "One \n\nTwo"),
        ("ha ha ha", " ha ha", "ha ha ha ha ha"),
        ("mid-wo", "rd", "mid-word"),
        ("One ", "", "One "),
        ("One ", " ", "One "),
    ],
)
def test_behind_a_prefill_only_white_space_can_come_twice(told_text: str, heard: str, whole: str) -> None:
    """The model was not shown the last blanks, so it may say them again; words it goes on with are meant."""
    for size in (1, 3, 99):
        found, seam = joined(told_text, heard, Form.PREFILL, size)
        assert (found, seam.proven) == (whole, True)


@pytest.mark.parametrize(
    ("heard", "fresh", "how"),
    [
        (_STORY[-60:] + ". The end.", ". The end.", "overlap"),
        (_STORY + ". The end.", ". The end.", "overlap"),
        (". The end.", ". The end.", "request"),
        ("the least of all.", "the least of all.", "request"),
        ("The quick answer is no.", "The quick answer is no.", "request"),
        ("", "", "request"),
    ],
)
def test_a_repetition_nobody_asked_for_is_left_out_where_it_can_be_checked(
    heard: str, fresh: str, how: str
) -> None:
    """From the last sentence, or from the very beginning; a few words in common prove nothing."""
    for size in (1, 7, 999):
        found, seam = joined(_STORY, heard, Form.REQUEST, size)
        assert (found, seam.how, seam.dropped) == (_STORY + fresh, how, len(heard) - len(fresh))
        assert seam.proven is (how == "overlap")


def test_what_stands_twice_may_be_meant_a_third_time() -> None:
    """The rows of a table, closing brackets: rather heard twice than lost."""
    rows, row = "Results so far, in order:\n" + _TABLE * 6, _TABLE[:-1] + "x"
    assert joined(rows, row, Form.REQUEST)[0] == rows + row


@given(_WORDS, st.integers(0, 60), st.integers(1, 9), st.sampled_from(["", " ", "\n"]))
@settings(max_examples=400)
def test_no_character_is_repeated_or_dropped(text: str, at: int, size: int, blank: str) -> None:
    """Wherever a text broke off: told and continued, it is the text that the model wrote."""
    before = text[:at]
    rest = text[len(before.rstrip()) :]
    assert joined(before, rest, Form.PREFILL, size)[0] == text or not before.strip()
    if before.strip():
        anchor = asked(before, model="claude-opus-5").anchor
        found, seam = joined(before, blank + anchor + rest, Form.REQUEST, size)
        assert (found, seam.how) == (text, "anchor")
    else:
        assert joined(before, text, Form.AGAIN, size)[0] == text


# -- the continuation's events ----------------------------------------------------------------------


def spliced(before: bytes, more: bytes, *, model: str = "claude-sonnet-4-5", size: int = 10**6) -> bytes:
    """A stream that broke, and its continuation as it follows in it."""
    texts = texts_told(before)
    assert texts is not None
    found = continuation(BODY, texts, model=model, said_tokens=100)
    assert found is not None
    editor = Splice(told(before), found)
    return (
        before
        + mark("spliced")
        + b"".join(editor.feed(more[at : at + size]) for at in range(0, len(more), size))
    )


HALF = message_start() + start(0) + delta(0, "Hello ")
AGAIN = message_start("msg_2")


def test_the_text_goes_on_in_its_open_block() -> None:
    """One start, one stop, one message; the counts are the estimate and what the continuation said."""
    more = AGAIN + PING + start(0) + delta(0, "wor") + delta(0, "ld") + stop(0) + ending("end_turn", 5)

    healed = spliced(HALF, more)

    assert healed == HALF + mark("spliced") + PING + delta(0, "wor") + delta(0, "ld") + stop(0) + ending(
        tokens=105
    )
    message = fold(healed)
    assert message["content"] == [{"type": "text", "text": "Hello world"}]
    assert (message["id"], message["stop_reason"], message["usage"]["output_tokens"]) == (
        "msg_1",
        "end_turn",
        105,
    )


def test_what_follows_the_text_is_numbered_on() -> None:
    """Only the number changes, also where the event has other numbers of that name."""
    before = message_start() + start(0) + delta(0, "A") + stop(0) + start(1) + delta(1, "Hello ")
    more = AGAIN + start(0) + delta(0, "world") + stop(0) + call(1) + ending("tool_use")

    healed = spliced(before, more)

    assert healed.endswith(delta(1, "world") + stop(1) + call(2) + ending("tool_use", 109))
    assert fold(healed)["content"][2]["input"] == {"index": 0}


def test_only_the_first_text_goes_into_the_open_block() -> None:
    """Every further block has its own place, in order."""
    more = (
        AGAIN
        + start(0)
        + delta(0, "world")
        + stop(0)
        + call(1)
        + start(2)
        + delta(2, " Hello")
        + stop(2)
        + call(3)
    )

    healed = spliced(HALF, more + ending("tool_use"))

    rest = stop(0) + call(1) + start(2) + delta(2, " Hello") + stop(2) + call(3) + ending("tool_use", 109)
    assert healed.endswith(delta(0, "world") + rest)


def test_what_waits_at_the_seam_is_handed_on_with_the_blocks_end() -> None:
    """A continuation that ends inside the words it was to repeat is no repetition."""
    more = AGAIN + start(0) + delta(0, "Hel") + stop(0) + ending()
    assert spliced(HALF, more, model="claude-opus-5").endswith(delta(0, "Hel") + stop(0) + ending(tokens=109))


def test_a_character_in_two_halves_is_repeated_like_any_other() -> None:
    """A delta may end between the halves of a surrogate pair, in the repetition and behind it."""
    before = message_start() + start(0) + delta(0, "Hello \N{GRINNING FACE}!")
    halves = [delta(0, "Hello \ud83d"), delta(0, "\ude00! \ud83d"), delta(0, "\ude00.")]

    healed = spliced(before, AGAIN + start(0) + b"".join(halves) + stop(0) + ending(), model="claude-opus-5")

    assert texts_told(healed) == ("Hello \N{GRINNING FACE}! \N{GRINNING FACE}.",)


def test_thinking_in_a_continuation_is_not_handed_on() -> None:
    """It cannot stand inside a text, and its signature is of a conversation that the client never had."""
    more = (
        AGAIN
        + thought(0)
        + start(1)
        + delta(1, "world")
        + stop(1)
        + thought(2)
        + call(3)
        + ending("tool_use")
    )

    healed = spliced(HALF, more)

    assert b"thinking" not in healed and b"signature" not in healed
    assert healed.endswith(delta(0, "world") + stop(0) + call(1) + ending("tool_use", 109))


@pytest.mark.parametrize(
    ("more", "follows"),
    [
        (call(0) + ending("tool_use"), block_stop(0) + call(1) + ending("tool_use", 109)),
        (ending(), block_stop(0) + ending(tokens=109)),
        (null_delta(3) + ending(), null_delta(103) + block_stop(0) + ending(tokens=109)),
        (thought(0) + ending(), block_stop(0) + ending(tokens=109)),
        (event("message_stop"), block_stop(0) + event("message_stop")),
    ],
    ids=["a call", "nothing", "a null delta", "a thought", "only the end"],
)
def test_the_open_text_is_ended_where_none_follows(more: bytes, follows: bytes) -> None:
    """What is not text does not go into it."""
    assert spliced(HALF, AGAIN + more) == HALF + mark("spliced") + follows


def test_a_text_behind_a_completed_one_is_a_block_of_its_own() -> None:
    """Where nothing is open, its start is handed on; what it repeats is still left out."""
    before = message_start() + start(0) + delta(0, "Hello ") + stop(0)
    healed = spliced(before, AGAIN + start(0) + delta(0, " wor") + delta(0, "ld") + stop(0) + ending())
    assert [block["text"] for block in fold(healed)["content"]] == ["Hello ", "world"]


def test_deltas_of_a_repetition_become_one_that_says_what_is_new() -> None:
    """Others are handed on as they came, and a citation among them is kept."""
    cited = event("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {"n": 1}})
    more = (
        AGAIN + start(0) + delta(0, "Hel") + cited + delta(0, "lo wor") + delta(0, "ld") + stop(0) + ending()
    )

    healed = spliced(HALF, more, model="claude-opus-5")

    assert fold(healed)["content"] == [{"type": "text", "text": "Hello world", "citations": [{"n": 1}]}]
    assert healed.endswith(delta(0, "ld") + stop(0) + ending(tokens=109)) and delta(0, "Hel") not in healed


@pytest.mark.parametrize(
    "shape",
    [
        lambda one: one.replace(b"\n", b"\r\n"),
        lambda one: one.replace(b"event: ", b"event:").replace(b"data: ", b"data:"),
        lambda one: one.replace(b'"index"', b' "index" ').replace(b'": ', b'" : '),
        lambda one: one.replace(b', "', b',\ndata: "'),
        lambda one: b": c\n" + one if one.startswith(b"event") else one,
    ],
    ids=["CRLF", "no blanks", "more blanks", "several data lines", "comments inside"],
)
def test_every_legal_shape_of_an_event_is_edited(shape: Any) -> None:
    """The API writes one shape; whoever stands between may write another."""
    more = [AGAIN, start(0), delta(0, "world"), stop(0), call(1), ending("tool_use")]
    one_by_one = [one + b"\n\n" for one in b"".join(more).split(b"\n\n")[:-1]]

    message = fold(spliced(HALF, b"".join(shape(one) for one in one_by_one)))

    assert [block["type"] for block in message["content"]] == ["text", "tool_use"]
    assert message["content"][0]["text"] == "Hello world" and message["usage"]["output_tokens"] == 109


def test_what_cannot_be_read_hits_no_other_block() -> None:
    """An event that cannot be numbered, a delta outside of a block, a second start: left out."""
    odd = b"event: content_block_start\ndata: {oops\n\n" + delta(1, "lost") + stop(1)
    more = (
        AGAIN
        + delta(0, "lost")
        + start(0)
        + delta(0, "world")
        + stop(0)
        + odd
        + AGAIN
        + event("news")
        + ending()
    )
    healed = spliced(HALF, more)
    assert healed.endswith(delta(0, "world") + stop(0) + event("news") + ending(tokens=109))


def test_an_editor_says_what_was_handed_on() -> None:
    """Its notable events are the edited ones, so that whoever follows the stream sees what the client sees."""
    found = asked("Hello ")
    editor = Splice(told(HALF), found)
    assert repr(editor) == "<Splice waiting, by prefill>"

    editor.feed(AGAIN + PING + start(0) + delta(0, "wor"))
    assert editor.notable == [] and editor.seam.dropped == 0
    editor.feed(stop(0) + comment("c") + call(1))
    assert editor.notable == [
        stop(0),
        comment("c"),
        start(1, "tool_use", id="toolu_1", name="Write", input={}),
        stop(1),
    ]
    assert repr(editor) == "<Splice past the seam, by prefill>"


def test_an_sdk_reads_a_spliced_stream_as_one_message() -> None:
    """The Python SDK's own accumulator, which knows nothing of any healing."""
    before = HALF.replace(b'"content": []', b'"content": [], "stop_reason": null, "stop_sequence": null')
    more = AGAIN + thought(0) + start(1) + delta(1, "world") + stop(1) + call(2) + ending("tool_use")

    healed = spliced(before, more)

    assert sdk._said(sdk._sdk_message(healed)) == sdk._said(fold(healed))
    assert fold(healed)["content"][0] == {"type": "text", "text": "Hello world"}


def test_a_continuation_that_breaks_can_be_continued() -> None:
    """The stream as it was told is all that the next one needs."""
    once = spliced(HALF, AGAIN + start(0) + delta(0, "wor"))
    twice = spliced(once, message_start("msg_3") + start(0) + delta(0, "ld") + stop(0) + ending())
    assert fold(twice)["content"] == [{"type": "text", "text": "Hello world"}]


@given(
    _WORDS, st.integers(0, 60), st.booleans(), st.booleans(), st.booleans(), st.integers(1, 400), st.data()
)
@settings(max_examples=200)
def test_a_spliced_stream_is_the_answer_that_did_not_break(
    text: str, at: int, prefill: bool, thinks: bool, calls: bool, size: int, data: st.DataObject
) -> None:
    """Wherever it broke and however the continuation is cut: the same blocks, each once, all closed."""
    before = text[:at]
    broke = message_start() + start(0) + (delta(0, before) if before else b"")
    model = "claude-sonnet-4-5" if prefill else "claude-opus-5"
    anchor = "" if prefill or not before.strip() else asked(before, model=model).anchor
    heard = anchor + text[len(before.rstrip()) :]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(heard)), max_size=4)))
    pieces = [heard[a:b] for a, b in zip([0, *cuts], [*cuts, len(heard)], strict=True)]
    index = int(thinks)
    more = (
        AGAIN + thought(0) * thinks + start(index) + b"".join(delta(index, piece) + PING for piece in pieces)
    )
    more += stop(index) + call(index + 1) * calls + ending("tool_use" if calls else "end_turn")

    healed = spliced(broke, more, model=model, size=size)

    content = fold(healed)["content"]
    assert content[0] == {"type": "text", "text": text}
    assert [block["type"] for block in content] == ["text", "tool_use"][: 1 + calls]
    known = told(healed)
    assert known.finished and [block.index for block in known.completed] == list(range(1 + calls))
