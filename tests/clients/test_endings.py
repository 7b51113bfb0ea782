"""The ends that the gateway may choose for a broken answer, given to the real clients straight: the profiles' claims."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from holdfast.gateway.profiles import choose
from holdfast.lab.provider import Provider, Request
from holdfast.lab.script import (
    Answer,
    Step,
    answer,
    argues,
    http_error,
    open_text,
    open_tool,
    says,
    start,
    stop,
    text,
    thinking,
    tool,
    tool_results,
)
from tests.clients import sdk
from tests.clients.cells import DONE, PROMPT, WRITTEN, write_call
from tests.clients.claude import Machine, Outcome, ask
from tests.clients.install import CLAUDE_VERSIONS

pytestmark = [pytest.mark.client, pytest.mark.timeout(400)]

KEPT = "The first part is done."
HALF_CALL: list[Step] = [open_tool("Write", "toolu_half"), argues('{"file_path": "half.txt", "content": "on')]


def in_turn(answers: Sequence[Answer]) -> Provider:
    """A provider that gives these to the agent's requests, then the closing words; side requests get a title."""
    left = list(answers)

    def rule(request: Request) -> Answer:
        if not request.json.get("tools"):
            return answer(text("A title"), label="side")
        return left.pop(0) if left else answer(text(DONE))

    return Provider(rule)


def said_next(provider: Provider) -> str:
    """What the agent's second request holds of the conversation."""
    return str(provider.answers[1].request.json["messages"])


def assert_finished_with_one_file(did: Outcome, provider: Provider, machine: Machine, requests: int) -> None:
    assert did.succeeded and DONE in did.result, f"{did.result} {did.stderr[-300:]} {provider!r}"
    assert [seen.request.streaming for seen in provider.answers] == [True] * requests
    assert [path.name for path in machine.work.iterdir()] == ["answer.txt"]
    assert (machine.work / "answer.txt").read_text() == WRITTEN
    assert did.tool_results == 1
    assert "toolu_half" not in str([seen.request.json for seen in provider.answers])


@pytest.mark.parametrize("version", CLAUDE_VERSIONS)
@pytest.mark.parametrize(
    "half", [HALF_CALL, [open_text(), *says("And n")], []], ids=["call", "text", "nothing"]
)
def test_a_cut_message_is_kept_as_far_as_complete_and_resumed(
    version: str, half: list[Step], machine: Machine
) -> None:
    """`resumes_cut`, `cut_form` open: what has no end is dropped, what is complete is said once."""
    cut = answer(text(KEPT), half, stop("max_tokens"))
    with in_turn([cut, answer(write_call(machine))]).running() as provider:
        did = ask(version, machine, provider.url, PROMPT)

        assert_finished_with_one_file(did, provider, machine, requests=3)
        assert said_next(provider).count(KEPT) == 1
        assert "And n" not in said_next(provider)
        assert "Output token limit hit" in said_next(provider)


@pytest.mark.parametrize("version", CLAUDE_VERSIONS)
@pytest.mark.parametrize("before", [[], thinking("Let me see.")], ids=["nothing", "thinking"])
def test_a_second_start_drops_the_open_block(version: str, before: list[Step], machine: Machine) -> None:
    """`restarts`: the turn goes on with the second message, and the half call leaves no trace."""
    again = answer(start(), before, HALF_CALL, start(), before, write_call(machine))
    with in_turn([again]).running() as provider:
        did = ask(version, machine, provider.url, PROMPT)

        assert_finished_with_one_file(did, provider, machine, requests=2)


@pytest.mark.parametrize("version", CLAUDE_VERSIONS)
def test_a_shortened_message_runs_what_is_complete(version: str, machine: Machine) -> None:
    """`shortens`: the completed call runs once, its half sibling is dropped."""
    with in_turn([answer(write_call(machine), HALF_CALL, stop("tool_use"))]).running() as provider:
        did = ask(version, machine, provider.url, PROMPT)

        assert_finished_with_one_file(did, provider, machine, requests=2)
        assert len(tool_results(provider.answers[1].request.json)) == 1


@pytest.mark.parametrize("language", sdk.SDKS)
def test_an_sdk_goes_on_after_a_shortened_message(language: str, machine: Machine) -> None:
    """`shortens_closed`: a complete call, nothing open."""
    call = tool("Write", {"file_path": str(machine.work / "answer.txt"), "content": WRITTEN})
    with in_turn([answer(call, text("And n"), stop("tool_use"))]).running() as provider:
        told = sdk.ask(language, machine, provider.url, PROMPT, timeout_s=20)

        assert (told.error, told.tool_runs, told.text) == (None, 1, DONE)


@pytest.mark.parametrize("version", CLAUDE_VERSIONS)
def test_an_explanation_is_shown_and_not_asked_again(version: str, machine: Machine) -> None:
    """`explain_status`: one request, and the words reach the user."""
    words = "holdfast: this request broke three times; see: holdfast flights"
    status = choose(f"claude-cli/{version} (external, sdk-cli)", {}).explain_status
    refusal = http_error(status, words, kind="invalid_request_error")
    with in_turn([refusal] * 9).running() as provider:
        did = ask(version, machine, provider.url, PROMPT)

        posts = [seen for seen in provider.exchanges if seen.request.method == "POST"]
        assert len([seen for seen in posts if seen.status == status]) == 1
        assert not did.succeeded
        assert words in did.result


def test_the_newest_compacts_at_the_words(machine: Machine) -> None:
    """`compacts_on`: after one finished tool turn, 2.1.329 asks for a summary and finishes the turn."""
    words = choose("claude-cli/2.1.329 (external, sdk-cli)", {}).compacts_on
    summary = answer(text("<analysis>Short.</analysis><summary>A file was written.</summary>"))
    turns = [answer(write_call(machine)), http_error(400, f"holdfast: {words}"), summary]
    with in_turn(turns).running() as provider:
        did = ask("2.1.329", machine, provider.url, PROMPT)

        assert did.succeeded and DONE in did.result, repr(provider)
        assert "<summary>" in str(provider.answers[1].request.json["messages"])
