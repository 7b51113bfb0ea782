"""Sameness: what makes two requests one turn, whose it is, and when a conversation moved on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.gateway.sameness import (
    CREDENTIALS,
    RequestFacts,
    facts,
    head_key,
    is_streaming,
    same,
    same_but_fallback,
    same_conversation,
    tenant_of,
)

SECRET = b"0123456789abcdef0123456789abcdef"
PROMPT = {"type": "text", "text": "You are an agent."}
TOOLS = [{"name": "Write", "input_schema": {"type": "object"}}]


def billing(cch: str) -> dict[str, Any]:
    return {
        "type": "text",
        "text": f"x-anthropic-billing-header: cc_version=2.1.114; cc_entrypoint=cli; cch={cch};",
    }


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def cached(message: dict[str, Any]) -> dict[str, Any]:
    *blocks, last = message["content"]
    return {**message, "content": [*blocks, {**last, "cache_control": {"type": "ephemeral"}}]}


def request(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    asked = {
        "model": "claude-x",
        "messages": list(messages) or [user("do it")],
        "system": [billing("00000"), PROMPT],
        "tools": TOOLS,
        "max_tokens": 128000,
        "stream": True,
    }
    return {key: value for key, value in {**asked, **more}.items() if value is not ...}


def body(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# -- heads and tenants ------------------------------------------------------------------------------

HEADERS = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "a,b",
    "x-claude-code-session-id": "s1",
    "x-claude-code-agent-id": "a1",
    "x-stainless-timeout": "600",
    "x-api-key": "secret-key",
}


def test_a_retry_and_a_fallback_have_the_same_head() -> None:
    """The timeout header and the retry count do not make another turn."""
    first = head_key("t", b"POST", b"/v1/messages?beta=true", HEADERS)
    again = head_key("t", b"POST", b"/v1/messages?beta=true", {**HEADERS, "x-stainless-timeout": "300"})
    assert first == again and hash(first) == hash(again)
    assert "secret-key" not in repr(first)


@pytest.mark.parametrize(
    "change",
    [
        {"anthropic-version": "2026-10-21"},
        {"anthropic-beta": "b,a"},
        {"x-claude-code-session-id": "s2"},
        {"x-claude-code-agent-id": "a2"},
    ],
)
def test_another_version_beta_session_or_agent_is_another_turn(change: dict[str, str]) -> None:
    """Subagents of one session with one prompt never share an answer where the client names them."""
    assert head_key("t", b"POST", b"/", HEADERS) != head_key("t", b"POST", b"/", {**HEADERS, **change})


def test_tenant_target_and_upstream_are_part_of_the_head() -> None:
    """One tenant never hears another's stream."""
    key = head_key("t", b"POST", b"/v1/messages", {}, upstream="https://a")
    assert key != head_key("u", b"POST", b"/v1/messages", {}, upstream="https://a")
    assert key != head_key("t", b"POST", b"/v1/messages?x", {}, upstream="https://a")
    assert key != head_key("t", b"POST", b"/v1/messages", {}, upstream="https://b")


def tenant(
    headers: dict[str, str], *, run: str | None = None, token: str | None = None, secret: bytes = SECRET
) -> str:
    shown = {name.encode(): value.encode() for name, value in headers.items()}
    return tenant_of(tuple(map(shown.get, CREDENTIALS)), run_tenant=run, token=token, secret=secret)


def test_under_run_a_renewed_token_is_still_the_same_tenant() -> None:
    """The run itself is the tenant."""
    assert tenant({"authorization": "Bearer a"}, run="r") == tenant({"authorization": "Bearer b"}, run="r")


def test_an_access_token_stands_before_the_credential() -> None:
    """Whoever shows the same token is the same tenant, whatever key upstream gets."""
    assert tenant({"x-api-key": "a"}, token="t") == tenant({"x-api-key": "b"}, token="t")
    assert tenant({}, token="t") != tenant({}, token="u")


def test_another_credential_is_another_tenant() -> None:
    """Key and bearer token count together, each in its own place; and every process hashes differently."""
    tenants = {
        tenant({}),
        tenant({"x-api-key": ""}),
        tenant({"x-api-key": "a"}),
        tenant({"authorization": "a"}),
        tenant({"x-api-key": "a", "authorization": "a"}),
        tenant({"x-api-key": "a"}, secret=SECRET[::-1]),
        tenant({"x-api-key": "a"}, run="a"),
        tenant({}, token="a"),
    }
    assert len(tenants) == 8


@given(st.text(min_size=4, max_size=40))
def test_a_tenant_never_shows_the_credential(secret: str) -> None:
    """Only a keyed hash of it."""
    shown = tenant({"x-api-key": secret, "authorization": f"Bearer {secret}"})
    assert len(shown) == len("key:") + 32 and set(shown.removeprefix("key:")) <= set("0123456789abcdef")


def test_a_tenant_needs_a_real_secret() -> None:
    """An empty key would make the hash one that anybody can look up."""
    with pytest.raises(ValueError, match="at least 16 bytes"):
        tenant({"x-api-key": "a"}, secret=b"")


# -- bodies -----------------------------------------------------------------------------------------


def test_facts_are_read_and_oddities_left_out() -> None:
    """A request that we cannot read is still carried."""
    assert facts(body(request())) == RequestFacts("claude-x", True, 128000, 1)
    assert facts(b'{"model":7,"stream":"true","max_tokens":true,"tools":{}}') == RequestFacts()
    assert facts(b"{") == RequestFacts()
    assert is_streaming(b'{"stream" : true }') and not is_streaming(b'{"messages":[{"stream":true}]}')
    assert not is_streaming(b'{"stream":1}') and not is_streaming(b"\xff")


def test_sameness_is_to_the_byte() -> None:
    """Two spellings of one JSON are two requests."""
    assert same(b'{"a":1}', b'{"a":1}')
    assert not same(b'{"a":1}', b'{"a": 1}')


@pytest.mark.parametrize(
    "fallback",
    [
        request(stream=...),
        request(stream=False, max_tokens=64000),
        request(stream=..., system=[billing("1f3c9"), PROMPT]),
        request(stream=..., system=[PROMPT, billing("1f3c9")]),
        request(stream=..., system=[PROMPT]),
    ],
    ids=["2.1.86", "2.1.329", "2.1.114", "moved", "gone"],
)
def test_a_fallback_is_the_same_turn(fallback: dict[str, Any]) -> None:
    """`stream`, `max_tokens` and the attribution block are set aside, wherever the block stands."""
    assert same_but_fallback(body(request()), body(fallback))


@pytest.mark.parametrize(
    "other",
    [
        request(),
        request(user("do something else"), stream=...),
        request(stream=..., model="claude-y"),
        request(stream=..., tools=[]),
        request(stream=..., tools=...),
        request(stream=..., temperature=1),
        request(stream=..., system=[billing("00000"), {"type": "text", "text": "You are another."}]),
        request(stream=..., system=[{"type": "text", "text": "First."}, PROMPT]),
        request(stream=..., system=[{"type": "text", "text": billing("0")["text"] + "\nObey."}, PROMPT]),
        request(stream=..., system=[{**billing("0"), "type": "document"}, PROMPT]),
        request(stream=..., system="You are an agent."),
        request(stream=..., system=...),
    ],
)
def test_nothing_else_is_set_aside(other: dict[str, Any]) -> None:
    """The first system block is no attribution because it is first, nor a text because it begins like one."""
    assert not same_but_fallback(body(request()), body(other))


def test_a_fallback_needs_a_stream_before_it() -> None:
    """Two requests without streaming are no such pair, and neither is the reverse."""
    whole = body(request(stream=...))
    assert not same_but_fallback(whole, whole)
    assert not same_but_fallback(whole, body(request()))


@pytest.mark.parametrize(
    "broken", [b"", b"[]", b'{"model":', b'{"stream":true,"stream":false}', b"\xef\xbb\xbf{}"]
)
def test_what_cannot_be_read_is_never_the_same(broken: bytes) -> None:
    """Doubt is a no."""
    assert not same_but_fallback(broken, broken)
    assert not same_but_fallback(body(request()), broken)
    assert not same_conversation(broken, broken)
    assert not same_conversation(body(request()), broken)


# -- moved on ---------------------------------------------------------------------------------------

ANSWER = {"role": "assistant", "content": [{"type": "text", "text": "Well"}]}
ASKED = request(user("one"), ANSWER, cached(user("two")))


@pytest.mark.parametrize(
    "newer",
    [
        request(user("one"), ANSWER, user("two"), ANSWER, cached(user("three"))),
        request(user("one"), ANSWER, cached(user("another two"))),
        request(cached(user("one")), ANSWER, user("two"), system=[billing("9a"), PROMPT]),
        request({"role": "user", "content": "one"}, ANSWER, cached(user("two"))),
    ],
    ids=["next turn", "prompt taken back", "cache marker and attribution moved", "string content"],
)
def test_the_next_request_of_a_conversation_takes_the_turns_place(newer: dict[str, Any]) -> None:
    """The user cancelled or answered: nobody will come back for the older turn."""
    older = (
        request(cached(user("one")), ANSWER, user("two")) if newer["messages"][0] != user("one") else ASKED
    )
    assert same_conversation(body(older), body(newer))


@pytest.mark.parametrize(
    "other",
    [
        request(user("Title for: one"), model="claude-small", tools=...),
        request(user("one"), ANSWER, user("two"), model="claude-small"),
        request(user("one"), ANSWER, user("two"), tools=[*TOOLS, *TOOLS]),
        request(
            user("one"), ANSWER, user("two"), system=[billing("00000"), {"type": "text", "text": "Explore."}]
        ),
        request(user("research this"), ANSWER, user("two"), user("three")),
        request(
            user("one"),
            {"role": "assistant", "content": [{"type": "text", "text": "Hm"}]},
            user("two"),
            user("x"),
        ),
        request(user("one")),
    ],
    ids=["title", "model", "tools", "system", "subagent's task", "sibling's history", "an earlier state"],
)
def test_side_requests_and_siblings_take_nobodys_place(other: dict[str, Any]) -> None:
    """Titles, subagents and forks run beside the turn; stopping it for them would lose it."""
    assert not same_conversation(body(ASKED), body(other))


def test_two_first_requests_are_one_conversation_only_with_one_prompt() -> None:
    """With a single message there is nothing else to know a conversation by."""
    assert same_conversation(
        body(request(cached(user("one")))), body(request(user("one"), ANSWER, cached(user("two"))))
    )
    assert not same_conversation(body(request(user("one"))), body(request(user("two"))))


def test_a_tools_own_cache_control_argument_is_not_left_out() -> None:
    """Only a block's marker is; what a tool was called with is content."""

    def called(argument: str) -> dict[str, Any]:
        use = {"type": "tool_use", "id": "t", "name": "Set", "input": {"cache_control": argument}}
        return {"role": "assistant", "content": [use]}

    older, newer = (
        request(user("one"), called("a"), user("two")),
        request(user("one"), called("b"), user("two")),
    )
    assert not same_conversation(body(older), body(newer))
