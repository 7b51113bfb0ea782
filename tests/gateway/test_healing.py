"""Answers that break upstream and are healed: the client hears one whole answer, or an end that it accepts."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from holdfast.flight import moments as m
from holdfast.gateway import heal
from holdfast.gateway.dialects import mending
from holdfast.gateway.settings import RetryRules, Settings, Upstream
from holdfast.lab import script as s
from tests.gateway.bare import KEEPALIVE, QUICK, answer_of, between, request_of
from tests.gateway.hosted import Call, body, hosted

WHOLE = s.answer(s.text("All of it."), s.tool("Write", {"file_path": "a"}), s.stop("tool_use"))


UNKNOWN = {"user-agent": "nobody/1.0"}
"An agent that was never measured."
FAULT = s.fault("overloaded_error")
BREAKS = {"reset": s.reset(), "fin": s.fin(), "cut": s.cut_short(), "error": s.End.PROPER}


def events(heard: bytes) -> list[str]:
    """The names of what was heard, keepalives aside; a comment of ours is `mark`."""
    names = []
    for event in heard.split(b"\n\n")[:-1]:
        if event.startswith(b": holdfast:"):
            names.append("mark")
        elif event.startswith(b"event: ") and KEEPALIVE not in event and b"event: ping" not in event:
            names.append(event.split(b"\n")[0][7:].decode())
    return names


def breaks(*steps: s.Step | list[s.Step], by: str) -> s.Answer:
    """An answer that says this much and breaks."""
    return s.answer(*steps, FAULT if by == "error" else BREAKS[by])


@pytest.mark.parametrize(
    "broken",
    [
        s.unanswered(s.reset()),
        s.unanswered(s.fin()),
        s.headers_only(s.reset()),
        s.headers_only(s.cut_short()),
    ],
    ids=["reset before headers", "fin before headers", "reset after headers", "cut after headers"],
)
def test_a_break_before_anything_was_said_is_not_noticed(broken: s.Answer) -> None:
    """The client hears the second answer byte for byte, as if there had been no first."""
    with between([broken, WHOLE]) as (provider, gateway):
        call = Call(gateway.port)

        assert call.hear_all() == bytes(provider.exchanges[-1].sent)
        assert call.response.status == 200
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.completed
        (record,) = gateway.kept.records.values()
        assert (record.attempts, record.healed) == (2, "again")


@pytest.mark.parametrize("by", BREAKS)
def test_behind_a_start_that_was_told_another_answer_goes_on(by: str) -> None:
    """Any client: it hears one message, begun by the first answer and filled by the second."""
    with between([breaks(s.start(), s.pause(0.05), by=by), WHOLE]) as (provider, gateway):
        heard = Call(gateway.port, headers=UNKNOWN).hear_all()

        first, second = (bytes(exchange.sent) for exchange in provider.exchanges)
        start, rest = first.split(b"\n\n")[0], second.partition(b"\n\n")[2]
        assert heard.startswith(start) and heard.endswith(rest)
        assert events(heard) == ["message_start", "mark", *events(rest)]
        gateway.kept.wait_for(m.TurnEnded)
        (record,) = gateway.kept.records.values()
        assert (record.attempts, record.healed) == (2, "under the first start")


@pytest.mark.parametrize("by", BREAKS)
@pytest.mark.parametrize(
    "block",
    [
        [s.open_text(), s.says("Half of")],
        [s.open_thinking(), s.thinks("Half of")],
        [s.open_tool("Write"), s.argues('{"file_pa')],
        [s.thinking("A whole thought."), s.open_tool("Write"), s.argues('{"file_pa')],
    ],
    ids=["text", "thinking", "tool", "tool after thinking"],
)
def test_claude_code_drops_an_open_block_at_a_second_start(block: list[s.Step], by: str) -> None:
    """So the second answer follows whole, behind a mark; nothing that was complete is said again but thinking."""
    with between([breaks(*block, by=by), WHOLE]) as (provider, gateway):
        heard = Call(gateway.port).hear_all()

        assert heard.endswith(bytes(provider.exchanges[-1].sent))
        assert b"event: error" not in heard and heard.count(b": holdfast:") == 1
        gateway.kept.wait_for(m.TurnEnded)
        (record,) = gateway.kept.records.values()
        assert (record.attempts, record.healed) == (2, "restart")


@pytest.mark.parametrize("by", BREAKS)
def test_an_open_block_of_an_unmeasured_client_is_an_honest_error(by: str) -> None:
    """It would glue both answers together, so it is told that there is no more."""
    with between([breaks(s.open_text(), s.says("Half of"), by=by), WHOLE]) as (provider, gateway):
        heard = Call(gateway.port, headers=UNKNOWN).hear_all()

        assert heard.count(b"event: error") == 1
        assert len(provider.exchanges) == 1


@pytest.mark.parametrize("by", BREAKS)
@pytest.mark.parametrize(
    "rest",
    [
        [],
        [s.open_text(), s.says("And n")],
        [s.open_tool("Bash"), s.argues('{"comm')],
        [s.open_thinking(), s.thinks("Hm")],
    ],
    ids=["nothing", "text", "another tool", "thinking"],
)
def test_a_completed_tool_call_is_run_and_nothing_is_asked_again(rest: list[s.Step], by: str) -> None:
    """The message is ended behind it, so that the client runs it; one generation, marked, counted as healed."""
    broken = breaks(s.text("I will."), s.tool("Write", {"file_path": "a"}), *rest, by=by)
    with between([broken, WHOLE]) as (provider, gateway):
        heard = Call(gateway.port).hear_all()

        assert heard.startswith(bytes(provider.exchanges[0].sent).partition(b"event: error")[0])
        assert events(heard)[-3:] == ["mark", "message_delta", "message_stop"] or rest[:1] == [s.open_text()]
        assert b'"stop_reason":"tool_use"' in heard
        assert len(provider.exchanges) == 1
        gateway.kept.wait_for(m.TurnEnded)
        (record,) = gateway.kept.records.values()
        assert (record.attempts, record.healed, record.stop_reason) == (1, "shorten", "tool_use")


def test_a_shortened_answer_can_be_declined() -> None:
    """With `--no-shorten` the client hears an error instead, and the attic has what there was."""
    broken = breaks(s.tool("Write", {"file_path": "a"}), by="reset")
    with between([broken, WHOLE], shorten=False) as (_, gateway):
        assert b"event: error" in Call(gateway.port).hear_all()
        gateway.kept.wait_for(m.AnswerKept)


@pytest.mark.parametrize("by", BREAKS)
def test_behind_completed_text_the_client_asks_for_the_rest_itself(by: str) -> None:
    """Its message ends as if cut by a limit; a tool call that was under way is left open, and so dropped."""
    broken = breaks(s.text("I will."), s.open_tool("Write"), s.argues('{"file_pa'), by=by)
    with between([broken, WHOLE]) as (provider, gateway):
        heard = Call(gateway.port).hear_all()

        assert b'"stop_reason":"max_tokens"' in heard and b"event: error" not in heard
        assert heard.count(b"event: content_block_stop") == 1
        assert len(provider.exchanges) == 1
        gateway.kept.wait_for(m.TurnEnded)
        (record,) = gateway.kept.records.values()
        assert record.healed == "cut"
        ((_, kept, whole),) = gateway.kept.answers
        assert kept in bytes(provider.exchanges[0].sent) and b"file_pa" in kept and not whole


def test_a_missing_last_event_is_said() -> None:
    """Everything but `message_stop` came: nothing is asked again, and nothing is lost."""
    broken = s.answer(s.text("All."), s.MessageDelta("end_turn", 3), s.cut_short())
    with between([broken, WHOLE]) as (provider, gateway):
        heard = Call(gateway.port, headers=UNKNOWN).hear_all()

        assert events(heard)[-2:] == ["mark", "message_stop"]
        assert len(provider.exchanges) == 1


# -- what is not healed ---------------------------------------------------------------------------------


def test_a_refusal_that_the_client_can_retry_is_passed_on() -> None:
    """Before headers a status reaches the client as it came: it retries that well by itself."""
    with between([s.http_error(529, "Overloaded"), WHOLE]) as (provider, gateway):
        call = Call(gateway.port)

        assert call.hear_all() == bytes(provider.exchanges[0].sent)
        assert (call.response.status, len(provider.exchanges)) == (529, 1)


def test_the_budget_is_three_and_belongs_to_the_question() -> None:
    """Four generations for the first request; its client's own retry gets one, until an answer was whole."""
    broken = breaks(s.open_tool("Write"), s.argues('{"file_pa'), by="reset")
    with between([broken] * 5 + [WHOLE], shorten=False) as (provider, gateway):
        assert b"event: error" in Call(gateway.port).hear_all()
        assert len(provider.exchanges) == 4
        assert b"event: error" in Call(gateway.port).hear_all()
        assert len(provider.exchanges) == 5
        assert b"event: error" not in Call(gateway.port).hear_all()
        gateway.kept.wait_for(m.TurnEnded, 3)


def test_a_cancelled_turn_is_not_asked_again() -> None:
    """The client goes in mid-answer; the break that follows within the grace starts nothing."""
    broken = s.answer(s.open_text(), s.says("Half"), s.pause(0.15), s.reset())
    with between([broken, WHOLE]) as (provider, gateway):
        call = Call(gateway.port)
        call.hear_until(b"Half")
        call.leave()
        gateway.kept.wait_for(m.TurnEnded)
        assert len(provider.exchanges) == 1


# -- held back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", BREAKS)
def test_a_tool_call_that_was_held_back_is_asked_for_again_unnoticed(by: str) -> None:
    """Any client: of the broken call it has heard nothing but keepalives."""
    broken = breaks(s.open_tool("Write"), s.argues('{"file_pa'), s.pause(0.3), by=by)
    with between([broken, WHOLE], hold=frozenset({"tool_use"})) as (provider, gateway):
        heard = Call(gateway.port, headers=UNKNOWN).hear_all()

        assert b"file_pa" not in heard.partition(b": holdfast:")[0]
        assert b"event: ping" in heard
        assert heard.endswith(bytes(provider.exchanges[-1].sent).partition(b"\n\n")[2])
        gateway.kept.wait_for(m.TurnEnded)
        (record,) = gateway.kept.records.values()
        assert record.healed == "under the first start"


def test_a_tool_call_that_is_held_back_is_told_when_it_is_whole() -> None:
    """Every byte of it, at once, and what follows as it comes."""
    with between(WHOLE, hold=frozenset({"tool_use"})) as (provider, gateway):
        assert Call(gateway.port).hear_all() == bytes(provider.exchanges[0].sent)


# -- not worth another try ------------------------------------------------------------------------------

PIECE = s.Delta({"type": "text_delta", "text": "x" * 3000})
ALWAYS_THERE = s.answer(s.open_text(), [PIECE] * 100, s.cut_short())
"Broken at the same place every time."


def test_what_breaks_at_the_same_place_again_and_again_is_explained() -> None:
    """After three breaks the client hears what was seen; its next tries are answered here, and cost nothing."""
    with between(ALWAYS_THERE, shorten=False) as (provider, gateway):
        heard = Call(gateway.port).hear_all()
        assert b"did not ask upstream again" in heard.rpartition(b"event: error")[2]
        asked = len(provider.exchanges)
        assert asked == 3

        again = Call(gateway.port, body(stream=False))
        said = json.loads(again.hear_all())

        assert again.response.status == 424
        assert again.response.getheader("x-should-retry") == "false"
        assert again.response.getheader("holdfast-turn") in gateway.kept.records
        assert said["message"] == said["error"]["message"]
        assert "holdfast flight " in said["message"]
        assert len(provider.exchanges) == asked
        gateway.kept.wait_for(m.AnsweredLocally)
        gateway.kept.wait_for(m.RequestDoomed)


def test_a_client_that_compacts_can_be_made_to() -> None:
    """With `--on-doomed compact` its next try is told the words after which it shortens its conversation."""
    compacts = {"user-agent": "claude-cli/2.1.329 (external, sdk-cli)"}
    with between(ALWAYS_THERE, shorten=False, on_doomed="compact") as (_, gateway):
        Call(gateway.port, headers=compacts).hear_all()
        again = Call(gateway.port, body(stream=False), headers=compacts)

        assert "prompt is too long" in json.loads(again.hear_all())["error"]["message"]
        assert again.response.status == 400


def test_breaks_of_a_stream_condemn_no_other_question() -> None:
    """Of a client that was not measured to fall back, the same asked without streaming is another question."""
    own = {"user-agent": "mine/1.0"}
    with between(ALWAYS_THERE, shorten=False) as (provider, gateway):
        for _ in range(3):
            Call(gateway.port, headers=own).hear_all()
        assert b"in a row" in Call(gateway.port, headers=own).hear_all()
        assert len(provider.requests) == 3

        assert b"in a row" not in Call(gateway.port, body(stream=False), headers=own).hear_all()
        assert len(provider.requests) == 4


def test_old_images_are_left_out_where_that_was_asked_for() -> None:
    """With `--on-doomed strip-images` a doomed request goes out once more without them; the edit is named."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    asked = body(
        messages=[
            {"role": "user", "content": [image, {"type": "text", "text": "Look."}]},
            {"role": "assistant", "content": "I see."},
            {"role": "user", "content": "Go on."},
        ]
    )
    with between(ALWAYS_THERE, shorten=False, on_doomed="strip-images") as (provider, gateway):
        Call(gateway.port, asked).hear_all()

        assert b"iVBORw0KGgo=" in provider.requests[2].body
        assert b"iVBORw0KGgo=" not in provider.requests[3].body
        edits = [(moment.edit, moment.detail) for moment in gateway.kept.wait_for(m.RequestEdited, 2)]
        assert ("strip images", "1 images of earlier turns") in edits


# -- upstream is away -----------------------------------------------------------------------------------


def test_an_upstream_that_is_away_is_waited_for_and_nothing_is_burnt() -> None:
    """It has answered once, then refuses connections for a while: the turn waits, with keepalives, and costs once."""
    answer = answer_of(200, b"{}", close=True)
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        threading.Thread(target=_serve_one, args=(first, answer), daemon=True).start()
        with hosted(Settings(Upstream.parse(f"http://127.0.0.1:{port}"), timeouts=QUICK)) as gateway:
            assert Call(gateway.port, body("First.", stream=False)).hear_all() == b"{}"
            first.close()
            call = Call(gateway.port, body("Second.", stream=False))
            gateway.kept.wait_for(m.NetworkGone)
            with socket.create_server(("127.0.0.1", port)) as second:
                threading.Thread(target=_serve_one, args=(second, answer), daemon=True).start()
                assert call.hear_all() == b"{}"
            gateway.kept.wait_for(m.NetworkBack)
            assert [record.attempts for record in gateway.kept.records.values()] == [1, 1]


def test_an_upstream_that_was_never_reached_is_not_waited_for() -> None:
    """A wrong address is told at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with hosted(Settings(Upstream.parse(f"http://127.0.0.1:{port}"), timeouts=QUICK)) as gateway:
        call = Call(gateway.port)
        assert call.response.status == 502
        assert not gateway.kept.moments(m.NetworkGone)


def _serve_one(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        request_of(connection)
        connection.sendall(answer)


# -- splice ---------------------------------------------------------------------------------------------


def texts(heard: bytes) -> str:
    """What a client shows of a stream: its text deltas, one after the other."""
    events = [json.loads(line[6:]) for line in heard.split(b"\n") if line.startswith(b"data: {")]
    return "".join(
        event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta"
    )


@pytest.mark.parametrize("by", BREAKS)
def test_a_broken_text_is_continued_where_that_is_allowed(by: str) -> None:
    """An older model goes on behind its own words: one block, no repeated and no dropped character, two attempts."""
    broken = breaks(s.open_text(), s.says("The sea was calm, and the "), by=by)
    rest = s.answer(s.text("ship sailed on."))
    with between([broken, rest], splice=True) as (provider, gateway):
        heard = Call(gateway.port, headers=UNKNOWN).hear_all()

        assert texts(heard) == "The sea was calm, and the ship sailed on."
        assert events(heard).count("content_block_start") == events(heard).count("message_start") == 1
        assert provider.requests[1].json["messages"][-1]["role"] == "assistant"
        gateway.kept.wait_for(m.TurnEnded)
        (record,) = gateway.kept.records.values()
        assert (record.attempts, record.healed) == (2, "splice")


# -- hedge ----------------------------------------------------------------------------------------------

SLOW = s.answer(s.text("Slow."), before_headers_s=0.6)
QUICK_ONE = s.answer(s.text("Quick."))


@pytest.mark.parametrize(
    "first", [SLOW, s.answer(s.pause(0.6), s.start(), s.text("Slow."))], ids=["headers", "events"]
)
def test_a_hedge_is_a_second_attempt_of_which_the_first_to_speak_wins(first: s.Answer) -> None:
    """Upstream is silent, so it is asked again beside: the second one's answer is heard, the first one stopped."""
    with between([first, QUICK_ONE], hedge_s=0.15) as (provider, gateway):
        heard = Call(gateway.port).hear_all()

        assert texts(heard) == "Quick."
        gateway.kept.wait_for(m.TurnEnded)
        (record,) = gateway.kept.records.values()
        assert record.attempts == len(provider.exchanges) == 2
        assert next(ended.ending.code for ended in gateway.kept.moments(m.AttemptEnded)).startswith(
            "G.taken."
        )


def test_a_hedge_that_loses_is_stopped() -> None:
    """The first attempt speaks before the second does."""
    first, second = (
        s.answer(s.text("First."), before_headers_s=0.3),
        s.answer(s.text("Second."), before_headers_s=3),
    )
    with between([first, second], hedge_s=0.15) as (_, gateway):
        assert texts(Call(gateway.port).hear_all()) == "First."
        gateway.kept.wait_for(m.TurnEnded)
        assert len(gateway.kept.moments(m.AttemptEnded)) == 2


def test_a_hedge_takes_over_when_the_first_attempt_breaks() -> None:
    """Nothing is asked a third time."""
    first, second = s.unanswered(s.reset(), after_s=0.3), s.answer(s.text("Second."), before_headers_s=0.5)
    with between([first, second], hedge_s=0.15) as (provider, gateway):
        assert texts(Call(gateway.port).hear_all()) == "Second."
        gateway.kept.wait_for(m.TurnEnded)
        assert len(provider.exchanges) == 2


def test_nothing_is_hedged_unless_it_is_asked_for() -> None:
    """A second generation costs as much as the first."""
    with between([SLOW, QUICK_ONE]) as (provider, gateway):
        assert texts(Call(gateway.port).hear_all()) == "Slow."
        assert len(provider.exchanges) == 1


@pytest.mark.parametrize(
    ("broken", "estimated"),
    [(s.unanswered(s.reset()), False), (breaks(s.text("I will."), by="reset"), True)],
    ids=["asked again", "cut"],
)
def test_counts_that_are_not_the_providers_are_marked(broken: s.Answer, estimated: bool) -> None:
    """What was asked for again from the beginning is counted as the provider counts it."""
    with between([broken, WHOLE]) as (_, gateway):
        Call(gateway.port).hear_all()
        (finished,) = gateway.kept.wait_for(m.AnswerFinished)
        assert finished.estimated is estimated


def test_cuts_in_a_row_are_spread_over_a_minute() -> None:
    """A client asks for the rest at once, three times only: so that a bad patch of some seconds does not eat them."""
    assert [heal.cut_wait_s([100.0] * earlier, now=101.0) for earlier in range(5)] == [0, 2, 10, 40, 40]
    assert heal.cut_wait_s([100.0], now=401.0) == 0


def test_a_second_cut_waits_with_keepalives() -> None:
    """The stream is ours meanwhile: nothing is asked, and the client is held."""
    broken = breaks(s.text("I will."), by="reset")
    with between(broken) as (_, gateway):
        Call(gateway.port).hear_all()
        heard = Call(gateway.port, body("The rest.")).hear_all()

        assert b'"stop_reason":"max_tokens"' in heard and heard.count(KEEPALIVE) > 5
        (delayed,) = gateway.kept.wait_for(m.EndingDelayed)
        assert delayed.in_s == 2.0


# -- the table ------------------------------------------------------------------------------------------


def test_an_sdk_runs_a_completed_tool_call_where_none_is_open() -> None:
    """Half a call would be handed to its program; so it is an honest error there, and a proper end elsewhere."""
    sdk = {"user-agent": "Anthropic/Python 2.11.0"}
    whole_call = s.tool("Write", {"file_path": "a"})
    with between(breaks(whole_call, s.open_text(), s.says("And n"), by="reset")) as (_, gateway):
        assert b'"stop_reason":"tool_use"' in Call(gateway.port, headers=sdk).hear_all()
    with between(breaks(whole_call, s.open_tool("Bash"), s.argues('{"c'), by="reset")) as (_, gateway):
        assert b"event: error" in Call(gateway.port, headers=sdk).hear_all()


def test_half_a_text_is_kept_when_no_attempt_is_left() -> None:
    """It is given its end, and the client asks for the rest by itself."""
    broken = breaks(s.open_text(), s.says("Half of"), by="reset")
    with between(broken, retries=RetryRules(retries=0)) as (_, gateway):
        heard = Call(gateway.port).hear_all()

        assert texts(heard) == "Half of"
        assert events(heard)[-4:] == ["mark", "content_block_stop", "message_delta", "message_stop"]
        assert b'"stop_reason":"max_tokens"' in heard


def test_every_row_has_its_source_and_its_test() -> None:
    """What the table says was measured or is written in the protocol, and is seen to work here."""
    for row in heal.TABLE:
        assert row.source
        assert row.test in globals(), row


def test_a_defect_within_healing_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody expected while an attempt is planned or begun: the client hears that its answer broke."""

    def fail(*_: object) -> bytes:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(mending, "mark", fail)
    with between([breaks(s.start(), s.pause(0.05), by="reset"), WHOLE]) as (_, gateway):
        assert b"event: error" in Call(gateway.port).hear_all()
        gateway.kept.wait_for(m.TurnEnded)


def test_a_whole_message_has_the_thinking_of_its_last_start_only() -> None:
    """A retry without streaming joins a healed answer: one signature, as a client that heard the stream sends back."""
    thought = s.thinking("A whole thought.")
    broken = breaks(thought, s.open_text(), s.says("Ha"), s.pause(0.6), by="reset")
    with between([broken, s.answer(thought, s.text("All."))]) as (_, gateway):
        call = Call(gateway.port)
        call.hear_until(b"Ha")
        call.leave()
        told = json.loads(Call(gateway.port, body(stream=False)).hear_all())

        assert [block["type"] for block in told["content"]] == ["thinking", "text"]
