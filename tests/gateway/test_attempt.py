"""One try upstream: where it stands, and what its end means."""

from __future__ import annotations

import itertools

import pytest

from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side
from holdfast.gateway.attempt import Attempt, Stage

RESET = Ending(Side.PROVIDER, Mechanism.RST, Phase.IN_BODY)


def at(stage: Stage, *, status: int = 200, streaming: bool = True) -> Attempt:
    """An attempt that has come as far as `stage`."""
    attempt = Attempt(1, now=0.0)
    if stage.value >= Stage.SENDING.value:
        attempt.connected()
    if stage.value >= Stage.AWAITING_HEADERS.value:
        attempt.sent(now=1.0)
    if stage.value >= Stage.ANSWERING.value:
        attempt.headers(status, streaming=streaming, now=2.0)
    return attempt


def test_a_body_that_ends_before_the_answer_does_is_a_truncation() -> None:
    """However properly HTTP ended it."""
    ending = at(Stage.ANSWERING).answer_ended(finished=False, failed=False, phase=Phase.IN_TOOL_USE)

    assert ending.code == "P.cut.tool"


def test_a_reset_after_the_last_event_is_no_loss() -> None:
    """The answer was whole already."""
    attempt = at(Stage.ANSWERING)

    assert attempt.broke(RESET, finished=True, failed=False, phase=Phase.AFTER_END) is COMPLETED


def test_a_reset_in_the_stream_says_what_was_under_way() -> None:
    """The connection knows only of a body; the stream knows that it was thinking."""
    ending = at(Stage.ANSWERING).broke(RESET, finished=False, failed=False, phase=Phase.IN_THINKING)

    assert ending.code == "P.rst.thinking"


def test_an_error_in_the_stream_is_the_providers_word_however_the_connection_ends() -> None:
    """It said so itself before it closed."""
    proper = at(Stage.ANSWERING).answer_ended(finished=False, failed=True, phase=Phase.IN_TEXT)
    broken = at(Stage.ANSWERING).broke(RESET, finished=False, failed=True, phase=Phase.IN_TEXT)

    assert proper.code == broken.code == "P.err.text"


def test_an_error_status_is_an_ending_of_its_own() -> None:
    """Not a truncation, although its body holds no last event."""
    ending = at(Stage.ANSWERING, status=529, streaming=False).answer_ended(
        finished=False, failed=False, phase=Phase.AWAITING_FIRST_EVENT
    )

    assert (ending.mechanism, ending.detail) == (Mechanism.HTTP_ERROR, "HTTP 529")


def test_silence_is_counted_from_the_request_then_from_the_last_byte() -> None:
    """While the request is still going out, upstream owes nothing."""
    assert at(Stage.SENDING).silent_since is None
    assert at(Stage.AWAITING_HEADERS).silent_since == 1.0
    assert at(Stage.ANSWERING).silent_since == 2.0


def test_headers_may_come_before_the_request_is_out() -> None:
    """An early refusal is an answer; sending on does not lead back."""
    attempt = at(Stage.SENDING)
    attempt.headers(413, streaming=False, now=1.5)
    attempt.sent(now=1.6)

    assert attempt.stage is Stage.ANSWERING


@pytest.mark.parametrize(("stage", "streaming"), list(itertools.product(Stage, [True, False])))
def test_an_attempt_has_one_ending(stage: Stage, streaming: bool) -> None:
    """In every stage it can be stopped or break, and the first ending stays."""
    if stage is Stage.ENDED:
        return
    attempt = at(stage, streaming=streaming)

    first = attempt.stopped("enough", phase=Phase.IN_TEXT)
    second = attempt.broke(RESET, finished=False, failed=False, phase=Phase.IN_TEXT)

    assert first is second is attempt.ending
    assert attempt.stage is Stage.ENDED
    assert first.side is Side.GATEWAY
