"""Corners of healing, found by trying to break it: who comes when, and what came before."""

from __future__ import annotations

import time

from holdfast.flight import moments as m
from holdfast.gateway.settings import Timeouts
from holdfast.lab import script as s
from tests.gateway.bare import UNHEALED, WATCHDOG, WATCHDOG_S, between
from tests.gateway.hosted import Call

UNKNOWN = {"user-agent": "nobody/1.0"}
SILENT = Timeouts(
    keepalive_s=600.0, cancel_grace_s=0.3, limit_tolerance_s=0.05, orphan_s=5, unheard_s=5, twin_grace_s=0.1
)
"No keepalives, so that a client with a watchdog gives up."
TOOL_USE = frozenset({"tool_use"})


def give_up(call: Call, words: bytes) -> None:
    """Hear this much, wait for the watchdog, leave."""
    call.hear_until(words)
    time.sleep(WATCHDOG_S)
    call.leave()


# -- held back ------------------------------------------------------------------------------------------


def test_a_block_that_was_whole_while_nobody_listened_is_told_to_who_comes_back() -> None:
    """What is held back is known of an answer that goes on alone, too: its retry hears every byte."""
    told = s.answer(
        s.text("Once upon"), s.pause(0.6), s.tool("Write", {"file_path": "a"}), s.stop("tool_use")
    )
    with between(told, timeouts=SILENT, client_env=WATCHDOG, hold=TOOL_USE) as (provider, gateway):
        give_up(Call(gateway.port), b"upon")
        gateway.kept.wait_for(m.AnswerFinished)
        assert Call(gateway.port).hear_all() == bytes(provider.exchanges[0].sent)


def test_the_providers_error_is_told_while_a_block_is_held_back() -> None:
    """Nothing of the block, but the error itself: without it the stream would end as if it were whole."""
    broken = s.answer(s.text("So."), s.open_tool("Write"), s.argues('{"file_pa'), s.fault("overloaded_error"))
    with between(broken, hold=TOOL_USE, **UNHEALED) as (_, gateway):
        heard = Call(gateway.port, headers=UNKNOWN).hear_all()

        assert b"file_pa" not in heard
        assert heard.endswith(b"\n\n") and b"overloaded_error" in heard.rpartition(b"event: error")[2]


# -- what was heard -------------------------------------------------------------------------------------


def test_the_providers_own_tools_are_no_call_for_the_client_to_run() -> None:
    """Ended with `tool_use`, its client would find nothing to run and take the half answer for the whole."""
    broken = s.answer(s.server_tool("seas"), s.open_text(), s.says("The sea"), s.reset())
    with between(broken) as (provider, gateway):
        heard = Call(gateway.port).hear_all()

        assert b"event: error" in heard and b"message_stop" not in heard
        assert len(provider.exchanges) == 1
