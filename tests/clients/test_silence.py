"""The main job: a provider that is silent for longer than the client's patience, and a turn that finishes.

Every client, every place in the answer. The same silences end the same clients without a gateway
(`test_alone.py`). Claude Code runs under `holdfast run`, the SDKs talk to a `holdfast serve`.
"""

from __future__ import annotations

import pytest

from holdfast.lab.provider import Provider
from tests.clients.cells import (
    PLACES,
    assert_done_once,
    run_client,
    silence_s,
    silent_story,
)
from tests.clients.claude import Machine
from tests.clients.front import run_prefix, serving
from tests.clients.install import CLAUDE_VERSIONS
from tests.clients.sdk import SDKS

pytestmark = [pytest.mark.client, pytest.mark.timeout(400)]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("version", CLAUDE_VERSIONS)
def test_claude_code_finishes_its_turn(version: str, place: str, machine: Machine) -> None:
    """The turn finishes, the file is written once, the answer was generated once."""
    with Provider(silent_story(place, machine, silent_s=silence_s(version, place))).running() as provider:
        run = run_client(version, machine, provider.url, before=run_prefix(machine))

        assert_done_once(run, provider, machine)
        assert provider.answers[0].finished


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("language", SDKS)
def test_an_sdk_finishes_its_turn(language: str, place: str, machine: Machine) -> None:
    """The same with both SDKs: nothing is raised, nothing is asked twice."""
    with (
        Provider(silent_story(place, machine, silent_s=silence_s(language, place))).running() as provider,
        serving(provider.url, machine) as gateway,
    ):
        run = run_client(language, machine, gateway.url)

        assert_done_once(run, provider, machine)
        assert provider.answers[0].finished
