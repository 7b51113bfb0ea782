"""Two subagents of one session get the same prompt, both hang up, both come back: nobody hears the other's answer.

2.1.329 names its agents in a header; 2.1.86 and 2.1.114 do not, and their two requests are the same to the byte.
"""

from __future__ import annotations

import itertools

import pytest

from holdfast.lab.provider import Provider, Request, Rule
from holdfast.lab.script import Answer, answer, close_block, open_text, pause, says, text, tool, tool_results
from tests.clients.cells import DONE, MORE_SILENT_S, chosen, limit_s, run_client
from tests.clients.claude import Machine
from tests.clients.front import run_prefix
from tests.clients.install import CLAUDE_VERSIONS

pytestmark = pytest.mark.timeout(400)

JOB = {"description": "job", "prompt": "Do the one job.", "subagent_type": "general-purpose"}


def two_jobs(silent_s: float) -> Rule:
    """The main agent hands out the same job twice; each job's answer is silent in the middle, and numbered."""
    numbers = itertools.count(1)

    def rule(request: Request) -> Answer:
        body = request.json
        if not body.get("tools"):
            return answer(text("A title"), label="side")
        if JOB["prompt"] in str(body["messages"][:1]):
            told = [
                open_text(),
                *says("Outcome"),
                pause(silent_s),
                *says(f" number{next(numbers)}."),
                close_block(),
            ]
            return answer(told, label="job")
        if tool_results(body):
            return answer(text(DONE), label="then")
        return answer(
            tool("Task", JOB, tool_id="toolu_a"), tool("Task", JOB, tool_id="toolu_b"), label="first"
        )

    return rule


@pytest.mark.parametrize("version", chosen(CLAUDE_VERSIONS, lambda version: version == "2.1.114"))
def test_twin_subagents_each_get_an_answer_of_their_own(version: str, machine: Machine) -> None:
    """Two generations for two agents, each handed to one of them; none is generated again."""
    silent_s = limit_s(version, "text") + MORE_SILENT_S
    with Provider(two_jobs(silent_s)).running() as provider:
        run = run_client(version, machine, provider.url, before=run_prefix(machine, keepalive="10m"))

        assert run.finished, f"{run.detail}; {provider!r}"
        jobs = [seen.request for seen in provider.answers if seen.answer and seen.answer.label == "job"]
        assert len(jobs) == 2, repr(provider)
        assert jobs[0].body == jobs[1].body
        last = str(provider.answers[-1].request.json["messages"])
        assert "Outcome number1." in last
        assert "Outcome number2." in last
        agents = {job.headers.get("x-claude-code-agent-id") for job in jobs}
        assert len(agents) == 2 if version == "2.1.329" else agents == {None}
        assert "2 generations not started twice" in run.stderr
