"""Who may take over a running answer, and who may not. Real sockets, one provider, one gateway.

The client here has a watchdog of a third of a second (told to the gateway as `run` would), so a hang-up then is a timer's
and a hang-up with no limit near it is somebody's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from holdfast.flight.moments import (
    AnswerHeard,
    AnswerKept,
    ReaderJoined,
    ReaderLeft,
    TurnOrphaned,
    UpstreamStopped,
)
from holdfast.gateway.settings import Settings, Timeouts, Upstream
from holdfast.lab.provider import Provider, Rule
from holdfast.lab.script import Answer, answer, close_block, open_text, pause, says, text, tool
from tests.gateway.hosted import Call, Hosted, body, hosted

WATCHDOG_S = 0.3
WATCHDOG = {
    "CLAUDE_ENABLE_STREAM_WATCHDOG": "1",
    "CLAUDE_STREAM_IDLE_TIMEOUT_MS": str(round(WATCHDOG_S * 1000)),
}
NO_KEEPALIVE = Timeouts(keepalive_s=600.0)


def slow(silent_s: float = 0.8) -> Answer:
    """`Once upon`, a silence, ` a time.`"""
    return answer([open_text(), *says("Once upon"), pause(silent_s), *says(" a time."), close_block()])


@contextmanager
def between(
    rule: Rule | Answer,
    *,
    env: dict[str, str] | None = None,
    timeouts: Timeouts = NO_KEEPALIVE,
    tenant: str | None = None,
) -> Iterator[tuple[Provider, Hosted]]:
    """A provider and a gateway in front of it."""
    with Provider(rule).running() as provider:
        settings = Settings(
            upstream=Upstream.parse(provider.url),
            tenant=tenant,
            client_env=WATCHDOG if env is None else env,
            timeouts=timeouts,
        )
        with hosted(settings) as gateway:
            yield provider, gateway


def give_up(call: Call) -> None:
    """Hear the beginning, wait for the watchdog, leave."""
    call.hear_until(b"upon")
    time.sleep(WATCHDOG_S)
    call.leave()


def test_a_retry_takes_over_the_running_answer() -> None:
    """Hung up at its limit, asked again: one generation, and the retry hears every byte from the start."""
    with between(slow()) as (provider, gateway):
        give_up(Call(gateway.port))
        (left,) = gateway.kept.wait_for(ReaderLeft)
        heard = Call(gateway.port).hear_all()

        assert left.verdict == "gave_up"
        assert heard == bytes(provider.answers[0].sent)
        assert provider.generated == 1


def test_three_hang_ups_in_a_row_are_one_generation() -> None:
    """Each retry takes over from the one before it, within the same limits."""
    with between(slow(1.6)) as (provider, gateway):
        for _ in range(3):
            give_up(Call(gateway.port))
        heard = Call(gateway.port).hear_all()

        assert heard == bytes(provider.answers[0].sent)
        assert [joined.how for joined in gateway.kept.moments(ReaderJoined)] == [
            "first",
            "retry",
            "retry",
            "retry",
        ]
        assert provider.generated == 1


@pytest.mark.parametrize(
    "asked", [body(stream=None), body(stream=False, max_tokens=512)], ids=["removed", "false"]
)
def test_the_fallback_joins_the_running_answer(asked: dict[str, object]) -> None:
    """Asked again without streaming, the turn gets one JSON message made of the running stream."""
    with between(slow()) as (provider, gateway):
        give_up(Call(gateway.port))
        fallback = Call(gateway.port, asked)
        message = json.loads(fallback.hear_all())

        assert fallback.response.status == 200
        assert message["content"] == [{"type": "text", "text": "Once upon a time."}]
        assert message["stop_reason"] == "end_turn"
        assert provider.generated == 1


def test_the_fallback_hears_a_tool_call_whole() -> None:
    """A giant argument that arrived after the hang-up is in the folded message as it was said."""
    arguments = {"file_path": "/tmp/a", "content": "x" * 5000}
    told = answer(text("Once upon"), tool("Write", arguments, silent_s=0.8))
    with between(told) as (provider, gateway):
        give_up(Call(gateway.port))
        message = json.loads(Call(gateway.port, body(stream=False)).hear_all())

        assert [block["type"] for block in message["content"]] == ["text", "tool_use"]
        assert message["content"][1]["input"] == arguments
        assert message["stop_reason"] == "tool_use"
        assert provider.generated == 1


def test_a_renewed_token_is_the_same_tenant_under_run() -> None:
    """Under `run` the run is the tenant: a token renewed between hang-up and retry still takes over."""
    with between(slow(), tenant="run-1") as (provider, gateway):
        give_up(Call(gateway.port, headers={"authorization": "Bearer fake-old"}))
        heard = Call(gateway.port, headers={"authorization": "Bearer fake-new"}).hear_all()

        assert heard == bytes(provider.answers[0].sent)
        assert provider.generated == 1


@pytest.mark.parametrize(
    ("after_s", "verdict"),
    [pytest.param(1.0, "gave_up", id="at it"), pytest.param(0.1, "cancelled", id="before it")],
)
@pytest.mark.parametrize("agent", ["Anthropic/Python 2.11.0", "some-sdk/1"])
def test_a_program_that_leaves_a_flowing_stream_at_the_time_it_told_is_kept_its_answer(
    agent: str, after_s: float, verdict: str
) -> None:
    """Its own timer ran out, around its library's: the answer goes on for it. A hang-up at another time is a cancel."""
    flowing = answer(
        [open_text(), *(step for _ in range(30) for step in (*says("on "), pause(0.05))), close_block()]
    )
    told = {"user-agent": agent, "x-stainless-timeout": "1"}
    timeouts = replace(NO_KEEPALIVE, limit_tolerance_s=0.5, cancel_grace_s=0.05)
    with between(flowing, timeouts=timeouts) as (provider, gateway):
        began_s = time.monotonic()
        call = Call(gateway.port, headers=told)
        call.hear_until(b"on")
        time.sleep(max(0.0, after_s - (time.monotonic() - began_s)))
        call.leave()

        (left,) = gateway.kept.wait_for(ReaderLeft)
        assert left.verdict == verdict
        if verdict == "gave_up":
            assert (left.limit, left.limit_s) == ("told", 1.0)
            gateway.kept.wait_for(AnswerKept)
            ((record, kept, complete),) = gateway.kept.answers
            assert complete and kept == bytes(provider.answers[0].sent)
            assert record.saved_from is None
        else:
            gateway.kept.wait_for(UpstreamStopped)
            assert not gateway.kept.answers


Change = Callable[[], tuple[dict[str, object] | None, dict[str, str]]]
OTHERS: dict[str, Change] = {
    "another key": lambda: (None, {"x-api-key": "sk-ant-fake-two"}),
    "a bearer token beside the key": lambda: (None, {"authorization": "Bearer fake"}),
    "another subagent of the session": lambda: (None, {"x-claude-code-agent-id": "agent-2"}),
    "another session": lambda: (None, {"x-claude-code-session-id": "5e551011-0000-4000-8000-000000000002"}),
    "other betas": lambda: (None, {"anthropic-beta": "claude-code-20250219,other-2026-01-01"}),
    "another API version": lambda: (None, {"anthropic-version": "2024-01-01"}),
    "another system prompt": lambda: (body(system=[{"type": "text", "text": "You are another test."}]), {}),
    "another prompt": lambda: (body("Say another thing."), {}),
    "another model": lambda: (body(model="claude-haiku-4-5"), {}),
    "another temperature": lambda: (body(temperature=0.5), {}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_request_takes_over_nothing(name: str) -> None:
    """What differs in any of these is another turn: it gets a generation of its own and hears only that."""
    asked, headers = OTHERS[name]()
    headers = {"x-claude-code-agent-id": "agent-1", **headers}
    with between(slow(0.5)) as (provider, gateway):
        give_up(Call(gateway.port, headers={"x-claude-code-agent-id": "agent-1"}))
        gateway.kept.wait_for(TurnOrphaned)
        heard = Call(gateway.port, asked, headers).hear_all()

        assert provider.generated == 2
        assert heard == bytes(provider.answers[1].sent)


def test_two_subagents_with_one_prompt_each_get_their_own_back() -> None:
    """Same session, same words, different agents: both hang up, both come back, nobody hears the other."""
    first, second = {"x-claude-code-agent-id": "agent-1"}, {"x-claude-code-agent-id": "agent-2"}
    with between(slow(1.0)) as (provider, gateway):
        calls = [Call(gateway.port, headers=first), Call(gateway.port, headers=second)]
        for call in calls:
            call.hear_until(b"upon")
        time.sleep(WATCHDOG_S)
        for call in calls:
            call.leave()
        gateway.kept.wait_for(TurnOrphaned, 2)
        again = [Call(gateway.port, headers=second), Call(gateway.port, headers=first)]
        heard = [call.hear_all() for call in again]

        sent = {seen.request.headers["x-claude-code-agent-id"]: bytes(seen.sent) for seen in provider.answers}
        assert heard == [sent["agent-2"], sent["agent-1"]]
        assert provider.generated == 2


def test_two_live_twins_are_two_generations() -> None:
    """The same prompt twice at once is legitimate sampling: each hears its own answer."""
    with between(slow(0.8)) as (provider, gateway):
        one = Call(gateway.port)
        one.hear_until(b"upon")
        other = Call(gateway.port)
        heard = {one.hear_all(), other.hear_all()}

        assert provider.generated == 2
        assert heard == {bytes(seen.sent) for seen in provider.answers}


def test_a_turn_heard_to_its_end_is_never_replayed() -> None:
    """Asking the same thing again after the whole answer was heard is a new generation."""
    with between(answer(text("Once upon a time."))) as (provider, gateway):
        first = Call(gateway.port).hear_all()
        gateway.kept.wait_for(AnswerHeard)
        again = Call(gateway.port).hear_all()

        assert provider.generated == 2
        assert [first, again] == [bytes(seen.sent) for seen in provider.answers]


def test_a_finished_but_unheard_answer_is_handed_over_once() -> None:
    """It finished with nobody there: the retry gets it whole; whoever asks after that gets a new one."""
    with between(slow(0.6)) as (provider, gateway):
        give_up(Call(gateway.port))
        provider.wait_until(lambda seen: seen.answers[0].finished)
        time.sleep(0.1)
        heard = Call(gateway.port).hear_all()

        assert heard == bytes(provider.answers[0].sent)
        assert provider.generated == 1

        gateway.kept.wait_for(AnswerHeard)
        Call(gateway.port).hear_all()

        assert provider.generated == 2


def test_an_unheard_answer_waits_only_so_long() -> None:
    """After its time a finished answer is in the attic alone, and the request is generated anew."""
    with between(slow(0.6), timeouts=replace(NO_KEEPALIVE, unheard_s=0.5)) as (provider, gateway):
        give_up(Call(gateway.port))
        provider.wait_until(lambda seen: seen.answers[0].finished)
        gateway.kept.wait_for(AnswerKept)
        time.sleep(0.7)
        Call(gateway.port).hear_all()

        assert provider.generated == 2
        (kept,) = [content for _, content, complete in gateway.kept.answers if complete]
        assert kept == bytes(provider.answers[0].sent)


def test_a_cancel_stops_upstream_and_is_never_replayed() -> None:
    """Left with no limit near: upstream is closed within the grace, and the same request is a new generation."""
    with between(slow(20.0), env={}) as (provider, gateway):
        call = Call(gateway.port)
        call.hear_until(b"upon")
        time.sleep(0.3)
        left_s = time.monotonic()
        call.leave()
        (left,) = gateway.kept.wait_for(ReaderLeft)
        provider.wait_until(lambda seen: bool(seen.answers[0].ended), seconds=4)
        stopped_s = time.monotonic() - left_s
        gateway.kept.wait_for(UpstreamStopped)
        again = Call(gateway.port)
        again.hear_until(b"upon")
        again.leave()

        assert left.verdict == "cancelled"
        assert 1.8 <= stopped_s <= 2.6
        assert provider.generated == 2


def test_a_retry_within_the_cancel_grace_still_finds_its_turn() -> None:
    """A hang-up that nothing explains may have been a network's: back within 2 s, the answer goes on."""
    with between(slow(0.6), env={}) as (provider, gateway):
        call = Call(gateway.port)
        call.hear_until(b"upon")
        call.leave()
        gateway.kept.wait_for(ReaderLeft)
        heard = Call(gateway.port).hear_all()

        assert heard == bytes(provider.answers[0].sent)
        assert provider.generated == 1


def test_a_cancelled_answer_that_finished_in_the_grace_is_not_replayed_later() -> None:
    """It ended before upstream could be stopped; once the grace is over nobody gets it."""
    with between(slow(0.5), env={}) as (provider, gateway):
        call = Call(gateway.port)
        call.hear_until(b"upon")
        call.leave()
        (left,) = gateway.kept.wait_for(ReaderLeft)
        time.sleep(2.3)
        Call(gateway.port).hear_all()

        assert left.verdict == "cancelled"
        assert provider.generated == 2


def test_a_retry_that_overtakes_the_hang_up_takes_over() -> None:
    """The new request is here before the old connection's end is seen: it waits a moment, then takes over."""
    with between(slow(1.0)) as (provider, gateway):
        old = Call(gateway.port)
        old.hear_until(b"upon")
        again = Call(gateway.port)
        time.sleep(0.1)
        old.leave()
        heard = again.hear_all()

        assert heard == bytes(provider.answers[0].sent)
        assert provider.generated == 1


def test_two_retries_at_once_are_not_given_the_same_answer() -> None:
    """An orphan has one adopter: the other of two equal requests gets a generation of its own."""
    with between(slow(1.2)) as (provider, gateway):
        give_up(Call(gateway.port))
        gateway.kept.wait_for(TurnOrphaned)
        both = [Call(gateway.port), Call(gateway.port)]
        heard = {call.hear_all() for call in both}

        assert provider.generated == 2
        assert heard == {bytes(seen.sent) for seen in provider.answers}


def test_another_turn_of_the_same_agent_ends_the_one_it_replaced() -> None:
    """The user went on with another prompt: the abandoned answer is not generated to its end."""
    with between(slow(20.0)) as (provider, gateway):
        give_up(Call(gateway.port))
        gateway.kept.wait_for(TurnOrphaned)
        longer = [
            {"role": "user", "content": "Say it."},
            {"role": "assistant", "content": "Once upon"},
            {"role": "user", "content": "Say another thing."},
        ]
        moved_on = Call(gateway.port, body(messages=longer))
        moved_on.hear_until(b"upon")
        provider.wait_until(lambda seen: bool(seen.answers[0].ended), seconds=4)
        moved_on.leave()

        assert provider.generated == 2
