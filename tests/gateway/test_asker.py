"""Who asks, and that it is worked out once."""

from __future__ import annotations

from holdfast.gateway import asker
from holdfast.gateway.asker import Askers
from holdfast.gateway.guard import Head
from holdfast.gateway.settings import Settings, Upstream

TARGET = b"/v1/messages?beta=true"
SETTINGS = Settings(upstream=Upstream("https", "api.example", 443))


def head(**headers: bytes) -> Head:
    named = {
        "host": b"127.0.0.1:8100",
        "user-agent": b"claude-cli/2.1.329 (external, cli)",
        "x-api-key": b"sk-ant-one",
        "x-claude-code-session-id": b"session-1",
        "x-stainless-timeout": b"600",
        "content-length": b"10",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    return Head(b"POST", TARGET, "1.1", [(name.encode(), value) for name, value in named.items()])


def test_the_next_turn_of_a_session_is_asked_by_the_same() -> None:
    """Its length is another, and nothing that follows from the head is."""
    askers = Askers(SETTINGS, bytes(32))

    first = askers.of(head(), TARGET)

    assert askers.of(head(content_length=b"20000"), TARGET) is first
    assert (first.arrived.method, first.arrived.path) == ("POST", "/v1/messages")
    assert (first.session, first.subagent) == ("session-1", None)
    assert first.profile.program == "claude-code"


def test_whatever_tells_askers_apart_makes_another() -> None:
    askers = Askers(SETTINGS, bytes(32))
    first = askers.of(head(), TARGET)

    for change in (
        {"x_api_key": b"sk-ant-two"},
        {"user_agent": b"curl/8"},
        {"anthropic_beta": b"a"},
        {"anthropic_version": b"2023-06-01"},
        {"x_claude_code_session_id": b"session-2"},
        {"x_claude_code_agent_id": b"agent-1"},
        {"x_stainless_timeout": b"300"},
    ):
        other = askers.of(head(**change), TARGET)
        assert other is not first and other != first
    assert askers.of(head(), b"/v1/messages") != first
    assert askers.of(head(x_api_key=b"sk-ant-two"), TARGET).key != first.key


def test_no_more_are_known_than_memory_is_given_for() -> None:
    askers = Askers(SETTINGS, bytes(32))

    for number in range(2 * asker.KNOWN_MOST + 1):
        askers.of(head(x_claude_code_session_id=b"%d" % number), TARGET)

    assert repr(askers) == "<Askers 1 known>"


def test_no_credential_is_kept() -> None:
    askers = Askers(SETTINGS, bytes(32))
    askers.of(head(authorization=b"Bearer sk-ant-secret", cookie=b"sk-ant-secret"), TARGET)

    assert "sk-ant" not in repr(vars(askers))
