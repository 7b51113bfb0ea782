"""Every upstream story is played on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a story to its end; an exception that only the loop has seen fails it too."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def play(story: Coroutine[Any, Any, None]) -> None:
        unseen: list[dict[str, Any]] = []
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.get_loop().set_exception_handler(lambda loop, context: unseen.append(context))
            runner.run(story)
        assert unseen == []

    return play
