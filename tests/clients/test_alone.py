"""The clients without the gateway: that they work here at all, and that the silences used really end them.

These are the controls of `test_silence.py`: a silence that a client would have survived proves nothing.
"""

from __future__ import annotations

import pytest

from holdfast.lab.provider import Provider
from holdfast.lab.script import agent_story, answer, text
from tests.clients.cells import (
    CLIENTS,
    DONE,
    PLACES,
    assert_done_once,
    chosen,
    limit_s,
    run_client,
    silence_s,
    silent_once,
    write_call,
)
from tests.clients.claude import Machine

pytestmark = pytest.mark.timeout(400)  # the first test of a client may install it

CONTROLS = chosen(
    [(client, place) for client in CLIENTS for place in PLACES], lambda client, place: place == "tool"
)


@pytest.mark.client
@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_carries_out_a_tool_turn(client: str, machine: Machine) -> None:
    """Straight to the provider, nothing wrong: the file is written and the turn ends well."""
    with Provider(agent_story(answer(write_call(machine)), answer(text(DONE)))).running() as provider:
        run = run_client(client, machine, provider.url)

        assert_done_once(run, provider, machine)


@pytest.mark.parametrize(("client", "place"), CONTROLS)
def test_the_silence_ends_the_client_alone(client: str, place: str, machine: Machine) -> None:
    """Without a gateway the client hangs up at its limit; the answer is lost or generated again."""
    with Provider(silent_once(place, machine, silent_s=silence_s(client, place))).running() as provider:
        run = run_client(client, machine, provider.url)

        first = provider.answers[0]
        assert first.ended.startswith("client "), repr(provider)
        assert not first.finished
        assert -0.2 <= first.lasted_s - limit_s(client, place) <= 1.2
        assert not run.finished or provider.generations("first") > 1
