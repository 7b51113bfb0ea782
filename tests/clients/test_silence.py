"""The main job: a provider that is silent for longer than the client's patience, and a turn that finishes.

Every client, every place in the answer. The same silences end the same clients without a gateway
(`test_alone.py`). Claude Code runs under `holdfast run`, the SDKs talk to a `holdfast serve`.
"""

from __future__ import annotations

import ssl

import pytest
import trustme

from holdfast.lab.provider import Provider
from tests.clients.cells import (
    PLACES,
    assert_done_once,
    chosen,
    run_client,
    silence_s,
    silent_story,
)
from tests.clients.claude import Machine
from tests.clients.front import run_prefix, serving
from tests.clients.install import CLAUDE_VERSIONS
from tests.clients.sdk import SDKS

pytestmark = pytest.mark.timeout(400)


@pytest.mark.client
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("version", CLAUDE_VERSIONS)
def test_claude_code_finishes_its_turn(version: str, place: str, machine: Machine) -> None:
    """The turn finishes, the file is written once, the answer was generated once."""
    with Provider(silent_story(place, machine, silent_s=silence_s(version, place))).running() as provider:
        run = run_client(version, machine, provider.url, before=run_prefix(machine))

        assert_done_once(run, provider, machine)
        assert provider.answers[0].finished


@pytest.mark.client
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


@pytest.mark.parametrize("version", chosen(CLAUDE_VERSIONS, lambda version: version == "2.1.114"))
def test_over_tls_upstream_it_is_the_same(version: str, machine: Machine) -> None:
    """The provider behind TLS with a certificate of the lab's own authority, which the gateway is told to trust."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = machine.home / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    story = silent_story("tool", machine, silent_s=silence_s(version, "tool"))
    with Provider(story, ssl=context).running() as provider:
        before = run_prefix(machine, "--ca-file", str(trusted))
        run = run_client(version, machine, provider.url, before=before)

        assert provider.url.startswith("https://")
        assert_done_once(run, provider, machine)
