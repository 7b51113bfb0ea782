"""The Anthropic dialect: what is said, what is understood in passing, and the fold into one message."""

from __future__ import annotations

import json
from typing import Any

import anthropic as sdk
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.flight.endings import Phase
from holdfast.gateway.dialects import anthropic as dialect
from holdfast.gateway.dialects.anthropic import (
    BlockStarted,
    BlockStopped,
    ErrorArrived,
    EventReader,
    MessageChanged,
    MessageStarted,
    MessageStopped,
    Unfinished,
    UnfinishedBlock,
    fold,
    fold_partial,
)


def event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def message_start(**more: Any) -> bytes:
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 100,
        "output_tokens": 1,
    }
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    return event("message_start", message={**message, **more})


def start(index: int, **block: Any) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def delta(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


def message_delta(reason: str | None = "end_turn", tokens: int = 9, **more: Any) -> bytes:
    return event(
        "message_delta",
        delta={"stop_reason": reason, "stop_sequence": None},
        usage={"output_tokens": tokens},
        **more,
    )


STOP = event("message_stop")
TEXT = [start(0, type="text", text=""), delta(0, "text_delta", text="Hello"), stop(0)]
WRITE = start(1, type="tool_use", id="toolu_1", name="Write", input={})


# -- requests and what is said ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        (b"POST", b"/v1/messages", True),
        (b"POST", b"/v1/messages?beta=true", True),
        (b"POST", b"/some/prefix/v1/messages", True),
        (b"POST", b"/v1/messages/count_tokens", False),
        (b"POST", b"/v1/messages/batches", False),
        (b"POST", b"/v1/chat/completions?x=/v1/messages", False),
        (b"GET", b"/v1/messages", False),
    ],
)
def test_a_turn_is_a_post_to_messages_and_nothing_below_it(
    method: bytes, path: bytes, expected: bool
) -> None:
    """Token counts, batches and everything else are carried, not protected."""
    assert dialect.is_turn(method, path) is expected


def test_a_null_delta_says_the_last_real_token_count_and_nothing_else() -> None:
    """The keepalive is a message_delta that leaves the message as it was."""
    lines = dialect.null_delta(42).decode().splitlines()

    assert lines[0] == "event: message_delta"
    assert json.loads(lines[1].removeprefix("data: ")) == {
        "type": "message_delta",
        "delta": {"stop_reason": None, "stop_sequence": None},
        "usage": {"output_tokens": 42},
    }
    assert lines[2:] == [""]


def test_a_comment_cannot_be_broken_out_of() -> None:
    """Whatever the text holds, a comment stays one line."""
    assert dialect.comment("a\n\nevent: error\r\ndata: x") == b": a event: error data: x\n\n"


def test_a_providers_error_is_carried_in_its_own_words() -> None:
    """Clients recover by the provider's wording, so the error goes out as it came, on one line."""
    error = b'{"type": "x_error", "message": "caf\\u00e9 1.0",\n "details": {"n": 1.0}}'
    body = b'{\n "type": "error",\n "error": ' + error + b',\n "request_id": "req_1"}'

    said = dialect.error_event("api_error", "unused", body=body)

    assert said == (
        b'event: error\ndata: {"type":"error","error":{"type":"x_error","message":"caf\\u00e9 1.0",'
        b'"details":{"n":1.0}},"request_id":"req_1"}\n\n'
    )


@pytest.mark.parametrize(
    "body",
    [
        b"<html>\r\n\x1b[31m502 Bad Gateway</html>",
        b'{"error": "plain"}',
        b'{"error": {"type": 1}}',
        b"\xff\x00",
        b"[",
    ],
)
def test_another_body_is_quoted_in_the_message(body: bytes) -> None:
    """A page from an edge is no API error: it is shortened, without control characters, into the message."""
    said = dialect.error_event("api_error", "upstream answered HTTP 502", body=body * 1000)

    assert said.count(b"\n") == 3 and b"\r" not in said and b"\x1b" not in said and b"\\u001b" not in said
    error = json.loads(said.split(b"data: ")[1])["error"]
    assert error["type"] == "api_error" and error["message"].startswith("upstream answered HTTP 502: ")
    assert len(error["message"]) < 400


def test_an_sdk_reads_the_error_that_we_say_in_a_stream() -> None:
    """The SDK raises our in-stream error with its type and message."""
    with pytest.raises(sdk.APIStatusError) as raised:
        _sdk_message(message_start() + dialect.error_event("overloaded_error", "try again"))

    assert raised.value.body == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "try again"},
    }


def test_statuses_and_kinds_name_each_other() -> None:
    """What the API documents maps both ways; the rest maps to the nearest."""
    for status in (400, 401, 402, 403, 404, 409, 413, 429, 500, 504, 529):
        assert dialect.status_for_kind(dialect.kind_for_status(status)) == status
    assert dialect.kind_for_status(418) == "invalid_request_error"
    assert dialect.kind_for_status(502) == "api_error"
    assert dialect.status_for_kind("new_error") == 500
    assert json.loads(dialect.error_body("api_error", "é", "req_9")) == {
        "type": "error",
        "error": {"type": "api_error", "message": "é"},
        "request_id": "req_9",
    }


# -- following a stream -----------------------------------------------------------------------------


def test_a_reader_knows_where_the_stream_is() -> None:
    """Every event moves the phase; deltas and pings say nothing."""
    reader = EventReader()
    story = [
        (dialect.PING, None, Phase.AWAITING_FIRST_EVENT),
        (message_start(), MessageStarted("claude-x", 123, 1, "msg_1"), Phase.BETWEEN_BLOCKS),
        (start(0, type="thinking", thinking=""), BlockStarted(0, "thinking", None), Phase.IN_THINKING),
        (delta(0, "thinking_delta", thinking="hm"), None, Phase.IN_THINKING),
        (stop(0), BlockStopped(0), Phase.BETWEEN_BLOCKS),
        (start(1, type="text", text=""), BlockStarted(1, "text", None), Phase.IN_TEXT),
        (stop(1), BlockStopped(1), Phase.BETWEEN_BLOCKS),
        (WRITE, BlockStarted(1, "tool_use", "Write"), Phase.IN_TOOL_USE),
        (dialect.null_delta(5), MessageChanged(5, None), Phase.IN_TOOL_USE),
        (stop(1), BlockStopped(1), Phase.BETWEEN_BLOCKS),
        (
            start(3, type="web_search_tool_result"),
            BlockStarted(3, "web_search_tool_result", None),
            Phase.IN_BODY,
        ),
        (stop(3), BlockStopped(3), Phase.BETWEEN_BLOCKS),
        (message_delta("tool_use", 77), MessageChanged(77, "tool_use"), Phase.BETWEEN_BLOCKS),
        (STOP, MessageStopped(), Phase.AFTER_END),
    ]
    for data, said, phase in story:
        assert (reader.seen(data), reader.phase) == (said, phase)

    assert reader.finished and reader.completed_blocks == 4 and reader.tool is None
    assert (reader.model, reader.output_tokens, reader.stop_reason) == ("claude-x", 77, "tool_use")


def test_a_reader_knows_which_tool_call_is_open() -> None:
    """The freeze's flight can name the tool."""
    reader = EventReader()
    for data in (message_start(), WRITE):
        reader.seen(data)
    assert reader.tool == "Write"
    assert repr(reader) == "<EventReader claude-x, tool Write, 0 blocks>"


def test_an_error_leaves_the_phase_as_it_was() -> None:
    """The ending can say in which phase the provider failed."""
    reader = EventReader()
    for data in (message_start(), WRITE):
        reader.seen(data)

    said = reader.seen(event("error", error={"type": "overloaded_error", "message": "Overloaded"}))

    assert said == ErrorArrived("overloaded_error", "Overloaded")
    assert reader.error == {"type": "overloaded_error", "message": "Overloaded"}
    assert reader.phase is Phase.IN_TOOL_USE and not reader.finished


@pytest.mark.parametrize(
    "shape",
    [
        "event: message_stop\ndata: {}\n\n",
        "event: message_stop\r\ndata: {}\r\n\r\n",
        "event: message_stop\rdata: {}\r\r",
        "event:message_stop\ndata:{}\n\n",
        ": hello\nevent: message_stop\ndata: {}\n\n",
        "id: 3\nevent:message_stop\ndata: {}\n: hello\n\n",
        "data: {}\nevent: message_stop\n\n",
        'data: {"type":"message_stop"}\n\n',
    ],
)
def test_every_legal_shape_of_an_event_is_understood(shape: str) -> None:
    """Line ends, the blank after the colon, comments and the order of fields do not matter."""
    reader = EventReader()
    assert reader.seen(shape.encode()) == MessageStopped()


def test_a_keepalive_never_takes_back_a_stop_reason() -> None:
    """Accumulators take the last delta's stop_reason, so after a real one the keepalive is a ping."""
    reader = EventReader()
    assert reader.keepalive("null-delta") == dialect.null_delta(0)
    reader.seen(message_start())
    reader.seen(message_delta(None, 31))
    assert reader.keepalive("null-delta") == dialect.null_delta(31)
    assert reader.keepalive("ping") == dialect.PING
    assert reader.keepalive("comment") == b": keepalive\n\n"
    reader.seen(message_delta("end_turn", 40))
    assert reader.keepalive("null-delta") == dialect.PING


def test_an_unreadable_event_still_says_where_the_stream_is() -> None:
    """A provider's odd JSON costs knowledge, never the stream."""
    reader = EventReader()
    assert reader.seen(b"event: message_start\ndata: {oops\n\n") is None
    phases = [reader.phase]
    for data in (b"event: content_block_start\ndata: 7\n\n", stop(0)):
        reader.seen(data)
        phases.append(reader.phase)
    assert phases == [Phase.BETWEEN_BLOCKS, Phase.IN_BODY, Phase.BETWEEN_BLOCKS]
    assert reader.completed_blocks == 1


_LINES = st.sampled_from(
    [b"event: message_start", b"event:content_block_start", b"event: error", b"data: {", b"data:[1]", b"", b"\r",
     b'data: {"message":{"usage":3}}', b'data: {"content_block":{"type":"text"},"index":"x"}', b": c", b"\xff"]
)  # fmt: skip


@given(
    st.lists(st.one_of(st.binary(max_size=40), _LINES), max_size=12), st.sampled_from([b"\n", b"\r\n", b"\r"])
)
@settings(max_examples=300)
def test_no_bytes_make_a_reader_or_a_partial_fold_raise(lines: list[bytes], end: bytes) -> None:
    """A hostile or broken provider cannot stop the pump."""
    data = end.join(lines) + end + end
    EventReader().seen(data)
    fold_partial(data)


# -- folding ----------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
_INPUT = st.dictionaries(st.text(max_size=8), _JSON, max_size=4)
_CITATION = st.fixed_dictionaries(
    {"type": st.just("char_location"), "cited_text": st.text(max_size=9), "document_index": st.integers(0, 9),
     "document_title": st.none(), "start_char_index": st.integers(0, 9), "end_char_index": st.integers(0, 9)}
)  # fmt: skip
_SEARCH_RESULT = st.fixed_dictionaries(
    {"type": st.just("web_search_result"), "title": st.text(max_size=9), "url": st.just("https://a.example"),
     "encrypted_content": st.text(max_size=9), "page_age": st.none()}
)  # fmt: skip
_BLOCKS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=40)}),
    st.fixed_dictionaries(
        {"type": st.just("text"), "text": st.text(max_size=40), "citations": st.lists(_CITATION, min_size=1, max_size=3)}
    ),
    st.fixed_dictionaries(
        {"type": st.just("thinking"), "thinking": st.text(max_size=40), "signature": st.text(min_size=1, max_size=9)}
    ),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": st.text(max_size=9)}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": st.just("t"), "name": st.text(max_size=9), "input": _INPUT}),
    st.fixed_dictionaries(
        {"type": st.just("server_tool_use"), "id": st.just("s"), "name": st.just("web_search"), "input": _INPUT}
    ),
    st.fixed_dictionaries(
        {"type": st.just("mcp_tool_use"), "id": st.just("m"), "name": st.just("n"), "server_name": st.just("q"),
         "input": _INPUT}
    ),
    st.fixed_dictionaries(
        {"type": st.just("web_search_tool_result"), "tool_use_id": st.just("s"),
         "content": st.lists(_SEARCH_RESULT, max_size=2)}
    ),
    st.fixed_dictionaries(
        {"type": st.just("mcp_tool_result"), "tool_use_id": st.just("m"), "is_error": st.booleans(),
         "content": st.just([{"type": "text", "text": "r"}])}
    ),
    st.fixed_dictionaries({"type": st.just("compaction"), "content": st.text(max_size=20)}),
)  # fmt: skip
_MESSAGES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "id": st.just("msg_1"),
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": st.just("claude-x"),
        "content": st.lists(_BLOCKS, max_size=4),
        "stop_reason": st.sampled_from(["end_turn", "tool_use", "stop_sequence", "refusal"]),
        "stop_sequence": st.sampled_from([None, "X"]),
        "container": st.sampled_from([None, {"id": "c", "expires_at": "2026-11-21T00:00:00Z"}]),
        "context_management": st.sampled_from([None, {"applied_edits": []}]),
        "usage": st.fixed_dictionaries(
            {
                "input_tokens": st.integers(0, 9999),
                "cache_creation_input_tokens": st.integers(0, 9999),
                "cache_read_input_tokens": st.integers(0, 9999),
                "output_tokens": st.integers(1, 9999),
                "service_tier": st.just("standard"),
                "server_tool_use": st.sampled_from(
                    [None, {"web_search_requests": 2, "web_fetch_requests": 0}]
                ),
            }
        ),
    }
)


def _cut(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _block_events(draw: st.DrawFn, index: int, block: dict[str, Any]) -> list[bytes]:
    shell: dict[str, Any]
    match block["type"]:
        case "text":
            deltas = [delta(index, "text_delta", text=piece) for piece in _cut(draw, block["text"])]
            deltas += [delta(index, "citations_delta", citation=one) for one in block.get("citations", ())]
            shell = {"type": "text", "text": ""}
        case "thinking":
            deltas = [
                delta(index, "thinking_delta", thinking=piece) for piece in _cut(draw, block["thinking"])
            ]
            deltas.append(delta(index, "signature_delta", signature=block["signature"]))
            shell = {"type": "thinking", "thinking": "", "signature": ""}
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            written = (
                "" if block["input"] == {} else json.dumps(block["input"], ensure_ascii=draw(st.booleans()))
            )
            deltas = [
                delta(index, "input_json_delta", partial_json=piece) for piece in ["", *_cut(draw, written)]
            ]
            shell = {**block, "input": {}}
        case "compaction":
            deltas = [delta(index, "compaction_delta", content=block["content"], encrypted_content=None)]
            shell = {"type": "compaction", "content": None}
        case _:
            deltas, shell = [], block
    return [start(index, **shell), *deltas, stop(index)]


@st.composite
def _streams(draw: st.DrawFn) -> tuple[dict[str, Any], bytes, bytes]:
    """A message, a stream of it, and the same stream with pings, comments and null deltas inside."""
    message = draw(_MESSAGES)
    usage = message["usage"]
    first = {**usage, "output_tokens": 1, "server_tool_use": None}
    empty: dict[str, Any] = {
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "container": None,
        "context_management": None,
    }
    events = [event("message_start", message={**message, **empty, "usage": first})]
    for index, block in enumerate(message["content"]):
        events += _block_events(draw, index, block)
    said = {key: message[key] for key in ("stop_reason", "stop_sequence", "container")}
    counted = {"output_tokens": usage["output_tokens"], "server_tool_use": usage["server_tool_use"]}
    events.append(
        event("message_delta", delta=said, usage=counted, context_management=message["context_management"])
    )
    plain = b"".join([*events, STOP])
    fillers = st.lists(st.sampled_from([dialect.PING, b": c\n\n", dialect.null_delta(1)]), max_size=2)
    kept_alive = b"".join(b"".join(draw(fillers)) + one for one in events) + dialect.PING + STOP
    return message, plain, kept_alive


@given(_streams())
@settings(max_examples=150)
def test_a_folded_stream_is_the_plain_answer(case: tuple[dict[str, Any], bytes, bytes]) -> None:
    """Whatever the splits, pings and null deltas: the same message that a request without streaming gets."""
    message, plain, kept_alive = case
    if any(block["type"] == "compaction" for block in message["content"]):
        message = _with_encrypted_content(message)

    assert fold(plain) == message
    assert fold(kept_alive) == message
    assert fold(kept_alive.replace(b"\n", b"\r\n")) == message
    assert fold_partial(kept_alive) == dialect.FoldedAnswer(message, True, [])
    assert json.loads(dialect.message_body(message)) == message


def _with_encrypted_content(message: dict[str, Any]) -> dict[str, Any]:
    return {
        **message,
        "content": [
            {**block, "encrypted_content": None} if block["type"] == "compaction" else block
            for block in message["content"]
        ],
    }


@given(_streams())
@settings(max_examples=60)
def test_the_fold_is_what_the_sdk_accumulates(case: tuple[dict[str, Any], bytes, bytes]) -> None:
    """Measured against the Python SDK's own accumulator, keepalives inside."""
    _, plain, kept_alive = case
    for data in (plain, kept_alive):
        assert _said(fold(data)) == _said(_sdk_message(data))


def _sdk_message(data: bytes) -> dict[str, Any]:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=data)

    transport = httpx2.MockTransport(answer)
    with httpx2.Client(transport=transport) as http:
        client = sdk.Anthropic(api_key="none", base_url="http://127.0.0.1", http_client=http, max_retries=0)
        asked = client.beta.messages.stream(
            model="claude-x", max_tokens=9, messages=[{"role": "user", "content": "x"}]
        )
        with asked as stream:
            return stream.get_final_message().model_dump(mode="json", exclude_unset=True)


def _said(value: Any) -> Any:
    """Without what is null: the SDK adds null fields of its own (`stop_details`, `parsed_output`)."""
    if isinstance(value, dict):
        return {k: v if k == "input" else _said(v) for k, v in value.items() if v is not None}
    return [_said(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "before message_stop"),
        (message_start() + b"".join(TEXT) + message_delta(), "before message_stop"),
        (message_start() + STOP.removesuffix(b"\n"), "before message_stop"),
        (message_start() + event("error", error={"type": "overloaded_error", "message": "m"}) + STOP, "overloaded_error"),
        (message_start() + b"event: content_block_delta\ndata: {oops\n\n" + STOP, "not JSON"),
        (message_start() + delta(0, "text_delta", text="lost") + STOP, "outside its block"),
        (STOP, "before its message_start"),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_never_folded_as_whole(data: bytes, why: str) -> None:
    """A truncated answer is not passed off as complete."""
    with pytest.raises(Unfinished, match=why):
        fold(data)
    assert not fold_partial(data).complete


def test_a_broken_answer_gives_what_it_had() -> None:
    """The attic shows completed blocks, and the open one as far as it came."""
    half = [
        WRITE,
        delta(1, "input_json_delta", partial_json='{"file": "a'),
        delta(1, "input_json_delta", partial_json="b"),
    ]

    found = fold_partial(b"".join([message_start(), *TEXT, *half]) + b"event: content_block_del")

    assert not found.complete and found.error is None
    assert found.message["content"] == [{"type": "text", "text": "Hello"}]
    assert found.unfinished == [UnfinishedBlock(1, "tool_use", "Write", '{"file": "ab')]


def test_arguments_cut_by_max_tokens_are_not_repaired() -> None:
    """Half a file must not be written: the input is empty, which clients answer with a validation error."""
    cut = [WRITE, delta(1, "input_json_delta", partial_json='{"content": "half'), stop(1)]
    message = fold(b"".join([message_start(), *TEXT, *cut, message_delta("max_tokens"), STOP]))
    assert message["content"][1]["input"] == {}
    assert message["stop_reason"] == "max_tokens"


def test_a_null_delta_after_the_real_one_takes_nothing_back() -> None:
    """The fold keeps the stop reason and the count that the provider said."""
    data = [message_start(), *TEXT, message_delta("end_turn", 9), dialect.null_delta(1), STOP]
    message = fold(b"".join(data))
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("end_turn", 9)


def test_unknown_events_blocks_and_deltas_are_carried_or_passed_over() -> None:
    """The vendor may add kinds: a new block is kept, a new event ignored, a new delta's fields taken."""
    new = [start(0, type="sculpture", form=""), delta(0, "form_delta", form="round"), stop(0)]
    strange = b"event: news\ndata: not json\n\ndata: [DONE]\n\n"
    message = fold(b"".join([message_start(), strange, *new, message_delta(), STOP]))
    assert message["content"] == [{"type": "sculpture", "form": "round"}]


def test_a_fallback_block_names_the_model_that_answered() -> None:
    """As in the plain answer, the model is the one that served it."""
    hop = start(0, type="fallback", **{"from": {"model": "claude-x"}, "to": {"model": "claude-y"}})
    message = fold(b"".join([message_start(), hop, stop(0), message_delta(), STOP]))
    assert message["model"] == "claude-y" and len(message["content"]) == 1


def test_a_second_message_start_drops_the_open_block_and_keeps_the_rest() -> None:
    """The in-stream restart folds to what Claude Code makes of it."""
    half = [start(1, type="text", text=""), delta(1, "text_delta", text="PART")]
    again = [
        message_start(id="msg_2"),
        start(0, type="text", text=""),
        delta(0, "text_delta", text="WHOLE"),
        stop(0),
    ]
    message = fold(b"".join([message_start(), *TEXT, *half, *again, message_delta(), STOP]))
    assert message["id"] == "msg_2"
    assert [block["text"] for block in message["content"]] == ["Hello", "WHOLE"]


def test_a_block_that_a_healed_stream_leaves_open_is_dropped() -> None:
    """Half a tool call or half a thought is not in the message; its clients drop it too. Half a text stays."""
    half = {
        "tool_use": (WRITE, delta(1, "input_json_delta", partial_json='{"content": "half')),
        "thinking": (start(1, type="thinking", thinking=""), delta(1, "thinking_delta", thinking="hm")),
        "text": (start(1, type="text", text=""), delta(1, "text_delta", text="half")),
    }
    kept = {}
    for kind, events in half.items():
        data = b"".join([message_start(), *TEXT, *events, message_delta("tool_use"), STOP])
        kept[kind] = [block["type"] for block in fold(data)["content"]]
        folded = fold_partial(data)
        assert folded.complete and [block.kind for block in folded.unfinished] == [kind] * (kind != "text")

    assert kept == {"tool_use": ["text"], "thinking": ["text"], "text": ["text", "text"]}


@given(_streams(), st.data())
@settings(max_examples=60)
def test_a_restarted_stream_folds_to_its_second_message(
    case: tuple[dict[str, Any], bytes, bytes], data: st.DataObject
) -> None:
    """Wherever the first message broke off: its completed blocks stay but for thinking; all else is the second's."""
    _, plain, _ = case
    again = message_start(id="msg_2", usage={"input_tokens": 7, "output_tokens": 1})
    again += b"".join(TEXT) + message_delta("end_turn", 30) + STOP
    events = plain.removesuffix(STOP).split(b"\n\n")[:-2]
    kept = b"".join(one + b"\n\n" for one in events[: data.draw(st.integers(1, max(1, len(events))))])
    before = [
        block
        for block in fold_partial(kept).message.get("content", [])
        if not block["type"].endswith("thinking")
    ]

    healed = fold(kept + b": holdfast: healed\n\n" + dialect.null_delta(1) + again)

    assert healed["content"] == [*before, {"type": "text", "text": "Hello"}]
    assert (healed["id"], healed["model"], healed["stop_reason"]) == ("msg_2", "claude-x", "end_turn")
    assert healed["usage"] == {"input_tokens": 7, "output_tokens": 30}


def test_half_surrogates_and_huge_numbers_survive() -> None:
    """A character split over two deltas, and a number beyond 64 bits, come out as they went in."""
    raw = [
        message_start(),
        start(0, type="text", text=""),
        delta(0, "text_delta", text="\ud83d"),
        delta(0, "text_delta", text="\ude00"),
        stop(0),
        WRITE,
        delta(1, "input_json_delta", partial_json='{"n": 123456789012345678901234567890}'),
        stop(1),
        message_delta(),
        STOP,
    ]
    body = json.loads(dialect.message_body(fold(b"".join(raw))))
    assert body["content"][0]["text"] == "\N{GRINNING FACE}"
    assert body["content"][1]["input"] == {"n": 123456789012345678901234567890}


def test_a_whole_message_says_what_a_stream_says_on_the_way() -> None:
    """All of the prompt is counted, and what was left out is not known."""
    reader = EventReader()
    usage = b'{"input_tokens":3,"cache_read_input_tokens":40,"output_tokens":7}'

    assert reader.whole(
        b'{"type":"message","model":"m","stop_reason":"end_turn","content":[],"usage":%b}' % usage
    )
    assert (reader.model, reader.stop_reason) == ("m", "end_turn")
    assert (reader.input_tokens, reader.output_tokens) == (43, 7)
    assert reader.whole(b'{"type":"message"}')
    assert (reader.input_tokens, reader.output_tokens, reader.stop_reason) == (None, None, None)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"type":"completion"}', b'{"model":"m"}', b"\xff", b"[" * 9999,
                                  b'{"type":"message","usage":{"output_tokens":"7"}}'])  # fmt: skip
def test_what_is_no_message_says_nothing(body: bytes) -> None:
    """Another dialect's JSON, half of one, or none: no fact is made of it."""
    reader = EventReader()

    assert not reader.whole(body)
    assert (reader.model, reader.output_tokens) == (None, None)
