"""The client models wait, give up and ask again as the real clients were measured to do."""

from __future__ import annotations

import asyncio
import json

import pytest

from holdfast.lab.clients import AgentModel, Message, PatientClient, SseReader
from holdfast.lab.provider import Provider
from holdfast.lab.script import (
    Answer,
    agent_story,
    answer,
    argues,
    cut_short,
    fault,
    http_error,
    open_tool,
    pause,
    pings,
    reset,
    silence,
    start,
    text,
    thinking,
    tool,
)

LIMIT_S = 0.3
FILE = {"file_path": "world_data.py", "content": "COUNTRIES = {}\n" * 20}
WRITES = answer(text("I will write the file."), tool("Write", FILE))
DONE = answer(text("Written."))


def giant(silent_s: float) -> Answer:
    """The freeze: a tool argument generated in silence."""
    return answer(text("I will write the file."), tool("Write", FILE, silent_s=silent_s))


def test_an_agent_runs_the_tool_and_goes_on_with_its_result() -> None:
    """Where nothing stalls, two requests make a turn and the tool runs once."""

    async def story() -> None:
        async with Provider(agent_story(WRITES, DONE)) as provider:
            report = await AgentModel(LIMIT_S).run(provider.url, "Create world_data.py")

            assert (report.finished, report.texts) == (True, ["I will write the file.", "Written."])
            assert [call["input"] for call in report.tools_run] == [FILE]
            assert (provider.generations("first"), provider.generations("then")) == (1, 1)

    asyncio.run(story())


@pytest.mark.parametrize("close", ["rst", "fin"])
def test_the_freeze_is_a_loop(close: str) -> None:
    """Without a gateway the agent hangs up, asks the same again, and has it generated again, for nothing."""

    async def story() -> None:
        async with Provider(agent_story(giant(2 * LIMIT_S), DONE)) as provider:
            agent = AgentModel(LIMIT_S, retries=2, close="rst" if close == "rst" else "fin")
            report = await agent.run(provider.url, "Create world_data.py")
            await provider.until(lambda p: all(seen.ended for seen in p.exchanges))

            assert (report.finished, report.tools_run, report.gave_up) == (False, [], 3)
            assert report.error == "API Error: gave up after 3 requests"
            assert provider.generated == 3
            assert {seen.ended for seen in provider.exchanges} == {f"client {close}"}
            assert len({request.body for request in provider.requests}) == 1
            assert all(LIMIT_S <= ask.longest_quiet_s < 2 * LIMIT_S for ask in report.asks)

    asyncio.run(story())


def test_the_fallback_is_the_same_request_without_stream() -> None:
    """After a silent stream the agent asks for the whole message at once; silence takes that too."""

    async def story() -> None:
        async with Provider(agent_story(giant(2 * LIMIT_S), DONE)) as provider:
            report = await AgentModel(LIMIT_S, retries=1, fallback=True).run(provider.url, "hi")

            streamed, whole = (json.loads(request.body) for request in provider.requests)
            assert streamed.pop("stream") is True
            assert streamed == whole
            assert [ask.streaming for ask in report.asks] == [True, False]
            assert not report.finished

    asyncio.run(story())


def test_a_fallback_answer_is_as_good_as_a_stream() -> None:
    """One whole message, tool call included, is carried out like a streamed one."""

    async def story() -> None:
        broken = answer(open_tool("Write"), argues('{"file'), reset())
        async with Provider(agent_story([broken, WRITES], DONE)) as provider:
            report = await AgentModel(LIMIT_S, fallback=True).run(provider.url, "hi")

            assert [ask.ended for ask in report.asks] == ["reset", "complete", "complete"]
            assert (report.finished, len(report.tools_run)) == (True, 1)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("clock", "ended"), [("bytes", "complete"), ("events", "gave up"), ("total", "gave up")]
)
def test_pings_hold_only_who_counts_bytes(clock: str, ended: str) -> None:
    """A ping is a byte, not an event, and moves no total limit."""

    async def story() -> None:
        told = answer(start(), pings(LIMIT_S / 6, 12), text("Hi"))
        async with Provider(told) as provider:
            agent = AgentModel(LIMIT_S, retries=0, clock=clock)  # type: ignore[arg-type]
            report = await agent.run(provider.url, "hi")

            assert report.asks[0].ended == ended

    asyncio.run(story())


@pytest.mark.parametrize(
    ("told", "ended"),
    [
        (answer(text("Hi"), cut_short()), "cut short"),
        (answer(fault("overloaded_error")), "error overloaded_error"),
        (answer(text("Hi"), reset()), "reset"),
        (http_error(529), "http 529"),
        (answer(silence()), "gave up"),
    ],
)
def test_each_break_has_a_name_and_is_asked_again(told: Answer, ended: str) -> None:
    """Whatever broke the first answer, the second is taken."""

    async def story() -> None:
        async with Provider([told, answer(text("Whole."))]) as provider:
            report = await AgentModel(LIMIT_S).run(provider.url, "hi")

            assert [ask.ended for ask in report.asks] == [ended, "complete"]
            assert report.texts == ["Whole."]

    asyncio.run(story())


def test_what_is_wrong_with_the_request_is_not_asked_again() -> None:
    """A 400 ends the turn."""

    async def story() -> None:
        async with Provider(http_error(400)) as provider:
            report = await AgentModel(LIMIT_S).run(provider.url, "hi")

            assert (len(report.asks), report.error) == (1, "API Error: http 400 after 1 requests")

    asyncio.run(story())


def test_a_patient_client_waits() -> None:
    """It hears the whole answer, thinking included, however long the silence."""

    async def story() -> None:
        told = answer(thinking("Hm.", silent_s=LIMIT_S), pause(LIMIT_S), text("Hi"))
        async with Provider(told) as provider:
            ask = await PatientClient().ask(provider.url, {"stream": True, "messages": []})

            assert ask.complete and ask.body == provider.exchanges[0].sent
            assert ask.message.value["content"][0]["signature"]

    asyncio.run(story())


def test_events_are_read_however_they_are_cut() -> None:
    """One byte at a time, with any line ending, the events are the same."""
    stream = b": hi\r\nevent: a\r\ndata: 1\r\ndata: 2\r\n\r\nevent:b\rdata:{}\r\rdata\n\n"
    reader = SseReader()

    heard = [event for at in range(len(stream)) for event in reader.feed(stream[at : at + 1])]

    assert heard == [("a", "1\n2"), ("b", "{}"), ("message", "")]
    assert SseReader().feed(stream) == heard
    assert reader.comments == 1


def test_a_null_message_delta_leaves_no_trace() -> None:
    """The keepalive that holds every measured client changes nothing in the message."""
    message = Message()
    quiet = {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 1}}
    message.add("message_delta", quiet)
    message.add("message_start", {"type": "message_start", "message": {"content": [], "usage": {}}})
    message.add("message_delta", quiet)

    assert message.value == {"content": [], "usage": {"output_tokens": 1}}
    assert message.events == 3
