"""Every scenario is a story that the provider can play and an agent can live through, or not."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.lab.clients import AgentModel, Report
from holdfast.lab.provider import Provider
from holdfast.lab.scenarios import CATALOGUE, CLIENT_LIMIT_S, GIANT_TOOL, SILENCES, Scenario

SPEED = 4000.0
SLOWER = 500.0
"Where the client's limit must run out before the silence does, on a busy machine too: 600 ms before 800 ms."


def play(scenario: Scenario, agent: AgentModel, speed: float = SPEED) -> tuple[Report, Provider]:
    async def story() -> tuple[Report, Provider]:
        async with Provider(scenario.rule(), speed=speed) as provider:
            report = await agent.run(provider.url, "Write the file")
            await provider.until(lambda p: all(seen.ended for seen in p.exchanges))
            return report, provider

    return asyncio.run(story())


@pytest.mark.parametrize("scenario", SILENCES, ids=lambda s: s.name)
def test_silence_does_no_harm_to_a_client_that_waits(scenario: Scenario) -> None:
    """What the reader must hear is what upstream says, once, if nobody hangs up."""
    report, provider = play(scenario, AgentModel(limit_s=5))

    assert report.finished
    assert (tuple(report.texts), tuple(call["name"] for call in report.tools_run)) == (
        scenario.heard.texts,
        scenario.heard.tools,
    )
    assert provider.generations("first") == scenario.generated


@pytest.mark.parametrize("scenario", SILENCES, ids=lambda s: s.name)
def test_each_silence_is_longer_than_the_clients_patience(scenario: Scenario) -> None:
    """Without a gateway, each of them is the freeze: given up, asked again, generated again."""
    report, provider = play(scenario, AgentModel(limit_s=CLIENT_LIMIT_S / SLOWER, retries=1), SLOWER)

    assert (report.finished, report.gave_up) == (False, 2)
    assert [seen.phase for seen in provider.answers] == [scenario.phase] * 2


@pytest.mark.parametrize(
    "scenario", [s for s in CATALOGUE.values() if s.heard.honest_error], ids=lambda s: s.name
)
def test_what_cannot_be_finished_is_never_heard_as_complete(scenario: Scenario) -> None:
    """No hang-up of the catalogue looks like a whole answer to a strict reader."""
    report, _ = play(scenario, AgentModel(limit_s=0.1, retries=0))

    assert not report.finished and not report.tools_run
    assert not report.asks[0].complete


@pytest.mark.parametrize(
    "name", ["well", "reset-before-headers", "fin-before-headers", "overloaded", "rate-limited"]
)
def test_a_client_that_asks_again_gets_over_the_others(name: str) -> None:
    """Where the client's own retry is enough, the turn ends well even without a gateway."""
    scenario = CATALOGUE[name]
    report, provider = play(scenario, AgentModel(limit_s=5))

    assert report.finished and tuple(report.texts) == scenario.heard.texts
    assert provider.generations("first") == scenario.generated


@pytest.mark.parametrize("name", [name for name, s in CATALOGUE.items() if s.remedy is not None])
def test_what_is_healed_is_a_break_to_a_client_that_asks_once(name: str) -> None:
    """Without a gateway no first answer is whole; where there is a second, it is."""
    scenario = CATALOGUE[name]
    once, _ = play(scenario, AgentModel(limit_s=5, retries=0))
    again, provider = play(scenario, AgentModel(limit_s=5, retries=1))

    assert not once.finished and not once.tools_run and once.error
    assert again.finished == (len(scenario.first) > 1)
    assert [seen.phase for seen in provider.answers][:1] == [scenario.phase]


def test_the_giant_tool_is_giant() -> None:
    """The frozen tool's argument is more than a client would call large, and is a Python file."""
    (told,) = GIANT_TOOL.first
    assert told.tokens > 20_000
    compile(
        play(GIANT_TOOL, AgentModel(limit_s=5))[0].tools_run[0]["input"]["content"], "world_data.py", "exec"
    )


def test_every_scenario_has_its_story() -> None:
    """Names are keys, stories are sentences, and something must not happen in each."""
    for name, scenario in CATALOGUE.items():
        assert scenario.name == name
        assert scenario.story.endswith(".") and scenario.must_not
        assert scenario.heard.honest_error != bool(scenario.heard.texts)
