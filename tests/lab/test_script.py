"""Answers are values, and stories choose by what the conversation holds."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.lab import script
from holdfast.lab.provider import Request
from holdfast.lab.script import (
    Answer,
    MessageStop,
    agent_story,
    answer,
    fault,
    http_error,
    pause,
    reset,
    stop,
    text,
    tool,
    whole_message,
)

TOOLS = [{"name": "Write"}]
FIRST = answer(text("I will."), tool("Write", {"file_path": "a"}, tool_id="toolu_1"))
THEN = answer(text("Done."))


def asked(*messages: Any, **body: Any) -> Request:
    data = script.encode({"tools": TOOLS, "messages": list(messages), "stream": True, **body})
    return Request(1, 1, "POST", "/v1/messages", {}, data)


def result(tool_id: str = "toolu_1") -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": tool_id, "content": "ok"}]}


PROMPT = {"role": "user", "content": "hi"}


def test_a_proper_end_is_added_where_none_is_told() -> None:
    """Stories that end well need not say so; those that end otherwise end there."""
    assert answer(text("Hi")).steps[-2:] == tuple(stop("end_turn"))
    assert answer(tool("Write", {})).steps[-2:] == tuple(stop("tool_use"))
    assert not any(isinstance(step, MessageStop) for step in answer(text("Hi"), reset()).steps)
    assert not any(isinstance(step, MessageStop) for step in answer(text("Hi"), fault()).steps)
    with pytest.raises(ValueError, match="last part"):
        answer(reset(), text("Hi"))


def test_the_same_story_is_the_same_value() -> None:
    """Nothing in an answer is made up anew, tool ids included."""
    told = [answer(text("Hi"), pause(3), tool("Write", {"a": 1}, silent_s=4), reset()) for _ in range(2)]
    assert told[0] == told[1]
    assert told[0].pauses_s == 7


@pytest.mark.parametrize(
    ("messages", "label"),
    [
        ([PROMPT], "first"),
        ([PROMPT, {"role": "system", "content": "be brief"}], "first"),
        ([PROMPT, result("another tool's")], "first"),
        ([PROMPT, result()], "then"),
        ([PROMPT, result(), {"role": "system", "content": [{"type": "text", "text": "be brief"}]}], "then"),
        ([PROMPT, result(), PROMPT], "then"),
        (["not a message"], "first"),
    ],
)
def test_a_story_goes_on_once_its_tool_has_answered(messages: list[Any], label: str) -> None:
    """The result is found wherever it stands; the last message's role decides nothing."""
    assert agent_story(first=FIRST, then=THEN)(asked(*messages)).label == label


def test_requests_without_tools_are_on_the_side() -> None:
    """A title request or a quota check never moves the story on."""
    story = agent_story(first=[http_error(529), FIRST], then=THEN)

    assert story(asked(PROMPT, tools=[], model="some-haiku")).label == "side"
    assert [story(asked(PROMPT)).status for _ in range(3)] == [529, 200, 200]
    assert story(asked(PROMPT, result())).label == "then"


def test_a_story_has_as_many_chapters_as_tools() -> None:
    """Each chapter is over when its tool has answered."""
    second = answer(tool("Write", {"file_path": "b"}, tool_id="toolu_2"))
    story = agent_story(FIRST, second, THEN)

    assert story(asked(PROMPT)).label == "first"
    assert story(asked(PROMPT, result())).label == "then"
    assert story(asked(PROMPT, result(), result("toolu_2"))).label == "then 2"


def test_a_whole_message_holds_what_the_events_say() -> None:
    """The two forms of an answer agree in content and usage."""
    told = answer(text("Grüße, Welt"), tool("Write", {"content": "é" * 100}))
    message = whole_message(told, message_id="m", model="x", input_tokens=1)

    assert message["content"][0]["text"] == "Grüße, Welt"
    assert message["content"][1]["input"] == {"content": "é" * 100}
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("tool_use", told.tokens)


def test_an_answer_keeps_its_label() -> None:
    """Labels are names to count by and change nothing else."""
    assert FIRST.labelled("x").label == "x"
    assert FIRST.labelled("") == FIRST
    assert isinstance(FIRST, Answer)
