"""At true length: a tool call that is silent for longer than any client's limit, every setting at its default.

830 s are past the 300 s of 2.1.86 and 2.1.329 and past the 750 s that pings and comments give 2.1.329.
The three versions run side by side, so that this takes 14 minutes and not 42.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from holdfast.lab.provider import Provider
from tests.clients import claude
from tests.clients.cells import PROMPT, Run, assert_done_once, silent_story
from tests.clients.claude import Machine
from tests.clients.front import run_prefix
from tests.clients.install import CLAUDE_VERSIONS, claude_command

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

SILENT_S = 830.0


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Future[tuple[Run, Provider, Machine]]]]:
    """All versions at once, each with a provider and a gateway of its own."""
    for version in CLAUDE_VERSIONS:
        claude_command(version)

    def run_one(version: str) -> tuple[Run, Provider, Machine]:
        machine = Machine.prepare(tmp_path_factory.mktemp(f"true-{version}") / "machine")
        with Provider(silent_story("tool", machine, silent_s=SILENT_S)).running() as provider:
            before = run_prefix(machine, keepalive="10s")
            did = claude.ask(version, machine, provider.url, PROMPT, within_s=SILENT_S + 300, before=before)
            detail = f"exit {did.exit_code}: {did.result or did.stderr[-500:]}"
            run = Run(did.succeeded, did.result, did.tool_results, did.seconds, detail, did.stderr)
            return run, provider, machine

    with ThreadPoolExecutor(len(CLAUDE_VERSIONS)) as pool:
        yield {version: pool.submit(run_one, version) for version in CLAUDE_VERSIONS}


@pytest.mark.parametrize("version", CLAUDE_VERSIONS)
def test_a_tool_call_silent_for_830_s(
    version: str, runs: dict[str, Future[tuple[Run, Provider, Machine]]]
) -> None:
    """The file is written once, from one generation, at the client's own default limits."""
    run, provider, machine = runs[version].result()

    assert_done_once(run, provider, machine)
    assert run.seconds > SILENT_S
    assert run.stderr.startswith("holdfast: 2 requests carried")
