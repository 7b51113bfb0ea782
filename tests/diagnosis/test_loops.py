"""Retry loops: identical requests that die alike are one finding."""

from __future__ import annotations

from holdfast.diagnosis import loops
from holdfast.diagnosis.loops import Loop
from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.record import TurnRecord
from tests.flight.telling import HUNG_UP, at, end, short_turn, tell, turn

BROKE = Ending(Side.PROVIDER, Mechanism.RST, Phase.IN_TEXT)


def asked(
    seconds: float, *, key: str | None = "k1", lasts: float = 299.0, ending: Ending = HUNG_UP
) -> TurnRecord:
    """A turn that began so long after noon and ended so long after that."""
    record = end(turn(at(seconds), turn_id=f"t{seconds:04.0f}"), lasts, ending)
    record.request_key, record.request_bytes, record.attempts, record.readers = key, 812_000, 1, 1
    return record


def one(records: list[TurnRecord]) -> Loop:
    """The only loop."""
    [loop] = loops.found(records)
    return loop


def test_four_tries_that_the_client_hangs_up_are_one_finding() -> None:
    """The freeze as it was reported: every five minutes the same request, all of it written, none of it read."""
    turns = [asked(300.0 * number) for number in range(4)]
    for record in turns:
        record.wasted_tokens = 275_000
    loop = one(turns)
    assert loop.sentence() == (
        "The same request, 4 times, 300 s apart: each time the client reset the connection inside a tool call "
        "(C.rst.tool); 4 turns, asked upstream 4 times; 1.1 M output tokens generated, none heard."
    )
    assert repr(loop) == "<Loop C.rst.tool, 4 tries in 4 turns, 300 s apart>"
    assert loop.as_dict()["turn_ids"] == ["t0000", "t0300", "t0600", "t0900"]


def test_tries_that_share_a_turn_are_counted_as_tries() -> None:
    """Behind the gateway the retry joins the answer: three tries, one turn, one generation, and then it is heard."""
    record = tell(
        turn(turn_id="aaa"),
        (0.0, m.ReaderJoined(1, "first", 0)),
        (300.0, m.ReaderLeft(1, "gave_up", "bytes", 300.0, HUNG_UP)),
        (300.5, m.ReaderJoined(2, "retry", 10)),
        (600.5, m.ReaderLeft(2, "gave_up", "bytes", 300.0, HUNG_UP)),
        (601.0, m.ReaderJoined(3, "fallback", 20)),
        (700.0, m.AnswerFinished("tool_use", 90_000)),
        (700.1, m.AnswerHeard(3)),
    )
    record.attempts, record.readers, record.request_key = 1, 3, "k"
    loop = one([end(record, 700.2)])
    assert (len(loop.tries), loop.attempts, loop.heard, loop.tokens) == (2, 1, True, None)
    assert loop.lasted_s == (300.0, 300.0)
    assert (
        "1 turn, asked upstream once; tokens not measured; then it was heard to its end." in loop.sentence()
    )


def test_what_was_not_counted_is_not_called_nothing() -> None:
    """A stream that broke off has no count of its tokens: the sum says `at least`, or that it was not measured."""
    assert "tokens not measured" in one([asked(0), asked(300)]).sentence()
    counted = asked(600)
    counted.wasted_tokens = 48_211
    loop = one([asked(0), asked(300), counted])
    assert (loop.tokens, loop.uncounted) == (48_211, 2)
    assert "at least 48,211 output tokens generated, none heard" in loop.sentence()


def test_other_requests_other_endings_and_single_failures_are_no_loop() -> None:
    """Two questions that fail are two failures; a question that fails twice in two ways is none of one kind."""
    assert loops.found([asked(0, key="k1"), asked(300, key="k2")]) == []
    assert loops.found([asked(0), asked(300, ending=BROKE)]) == []
    assert loops.found([asked(0)]) == [] and loops.found([]) == []
    assert loops.found([short_turn(turn_id="aaa"), short_turn(at(60), turn_id="bbb")]) == []


def test_a_change_of_the_ending_begins_another_loop() -> None:
    """First the provider broke it twice, then the client gave up three times."""
    turns = [
        asked(0, ending=BROKE, lasts=7),
        asked(10, ending=BROKE, lasts=8),
        *(asked(s) for s in (300, 600, 900)),
    ]
    first, second = loops.found(reversed(turns))
    assert (first.code, len(first.tries)) == ("P.rst.text", 2) and (second.code, len(second.tries)) == (
        "C.rst.tool",
        3,
    )


def test_a_different_place_each_time_is_told_without_place() -> None:
    """Side and mechanism make the loop; where it broke may differ, and gaps too."""
    later = Ending(Side.CLIENT, Mechanism.RST, Phase.IN_TEXT)
    loop = one([asked(0), asked(300, ending=later), asked(1000)])
    assert loop.code == "C.rst" and loop.phase is None
    assert (
        "300 s to 11m 40s apart: each time the client reset the connection (C.rst); 3 turns"
        in loop.sentence()
    )


def test_what_was_so_once_is_not_told_of_every_time() -> None:
    """The machine slept through the first break alone; all three went dark."""
    ways = (Mechanism.SLEPT, Mechanism.KEEPALIVE_UNANSWERED, Mechanism.KEEPALIVE_UNANSWERED)
    turns = [asked(300.0 * at, ending=Ending(Side.PATH, way, Phase.IN_TEXT)) for at, way in enumerate(ways)]
    loop = one(turns)
    assert loop.code == f"{Side.PATH.value}.dark.text" and "slept" not in loop.sentence()
    assert one(turns[1:]).mechanism is Mechanism.KEEPALIVE_UNANSWERED


def test_without_keys_size_and_session_are_taken_and_named() -> None:
    """A journal from before the keys; a request of another size is another."""
    turns = [asked(0, key=None), asked(300, key=None), asked(600, key=None)]
    turns[2].request_bytes = 812_001
    loop = one(turns)
    assert loop.by == "size" and loop.sentence().startswith(
        "A request of the same size (812,000 bytes), 2 times"
    )
    turns[0].session = None
    assert loops.found(turns) == []


def test_what_the_gateway_no_longer_sent_is_counted_apart() -> None:
    """Known for doomed: answered here, and no generation more."""
    doomed = Ending(Side.GATEWAY, Mechanism.DOOMED, Phase.AWAITING_HEADERS)
    loop = one([*(asked(s, ending=BROKE) for s in (0, 10, 20)), asked(30, ending=doomed)])
    assert loop.not_sent == 1 and len(loop.tries) == 3 and "1 more was not sent on." in loop.sentence()


def test_a_success_later_is_told_though_it_was_undisturbed() -> None:
    """A turn that went well has no key; the same session and size tell it."""
    good = end(turn(at(900), turn_id="good"), 30)
    good.request_bytes = 812_000
    assert one([asked(0), asked(300), good]).heard


def test_a_turn_that_still_runs_is_no_try_yet() -> None:
    """What is under way has not ended alike."""
    running = turn(at(600), turn_id="run")
    running.request_key = "k1"
    assert len(one([asked(0), asked(300), running]).tries) == 2
