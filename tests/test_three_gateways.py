"""Three gateways share one state directory, and one of them is killed in the middle of its work."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.lab.provider import Provider, Request
from holdfast.lab.script import Answer, answer, close_block, open_text, pause, says, text
from tests.gateway.hosted import HEADERS, Call, body
from tests.gateway.served import Served, check_journal, holdfast, serving

SLOW_SESSION = HEADERS["x-claude-code-session-id"]
CLIENTS = 8
"Per gateway, each asking one short question after the other."


def rule(request: Request) -> Answer:
    """`slow` takes two seconds in the middle of its text; everything else is said at once."""
    if "slow" in str(request.json.get("messages")):
        return answer(
            [open_text(), *says("Once upon"), pause(2.0), *says(" a time."), close_block()], label="slow"
        )
    return answer(text("Hello"))


@dataclass
class Load:
    """Clients that ask one gateway again and again until they are told to stop."""

    gateway: Served
    stop: threading.Event = field(default_factory=threading.Event)
    heard: int = 0
    broken: list[Exception] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        for number in range(CLIENTS):
            thread = threading.Thread(target=self._ask, args=(number,))
            thread.start()
            self._threads.append(thread)

    def end(self) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self, number: int) -> None:
        headers = {"x-claude-code-session-id": f"5e551011-0000-4000-8000-{number + 100:012d}"}
        while not self.stop.is_set():
            try:
                heard = Call(self.gateway.port, body("Hi."), headers).hear_all()
                assert heard.endswith(b'{"type":"message_stop"}\n\n'), heard
                self.heard += 1
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.broken.append(error)
                return


@contextmanager
def three(home: Path, provider: Provider) -> Iterator[list[Served]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serving(provider.url, home)) for _ in range(3)]


def flights(home: Path) -> list[dict[str, Any]]:
    """All turns, as `holdfast flights` tells them."""
    listed = holdfast(home, "flights", "--json", "-n", "100000")
    assert listed.returncode == 0, listed.stderr
    return [json.loads(line) for line in listed.stdout.splitlines()]


def test_one_of_three_is_killed_under_load(tmp_path: Path) -> None:
    """The others lose nothing, the journal is sound, and the killed one's turn is shown as interrupted."""
    with Provider(rule).running() as provider, three(tmp_path, provider) as gateways:
        victim, *others = gateways
        loads = [Load(gateway) for gateway in gateways]
        for load in loads:
            load.begin()
        slow = [Call(gateway.port, body("slow")) for gateway in gateways]
        for call in slow:
            call.hear_until(b"upon")
        time.sleep(0.7)  # the journal's writers have all written meanwhile

        victim.process.kill()  # SIGKILL, by its pid
        killed_ms = time.time() * 1000
        victim.process.wait(5)
        before = [load.heard for load in loads[1:]]
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(Call.hear_all, slow[1:]))
        for load in loads:
            load.end()

        whole = [bytes(seen.sent) for seen in provider.answers if seen.answer and seen.answer.label == "slow"]
        assert set(answers) <= set(whole)
        assert loads[0].broken
        assert not loads[1].broken and not loads[2].broken
        assert all(load.heard > count for load, count in zip(loads[1:], before, strict=True))
        time.sleep(1.0)  # the living ones write down their last turns
        assert check_journal(tmp_path) == ["ok"]
        assert not list((tmp_path / "state" / "spool").iterdir())

        told = flights(tmp_path)
        assert not [turn for turn in told if turn["ending_code"] is None]
        (turn,) = [
            turn for turn in told if turn["session"] == SLOW_SESSION and turn["ending_code"] == "M.died.text"
        ]
        assert str(victim.process.pid) in turn["ending"]["detail"]
        assert turn["ended_wall_ms"] <= killed_ms
        shown = holdfast(tmp_path, "flights", "-n", "100000").stdout
        (line,) = [line for line in shown.splitlines() if line.startswith(turn["turn_id"])]
        assert "M.died.text" in line
        story = holdfast(tmp_path, "flight", turn["turn_id"])
        assert re.search(r"process.*ended", story.stdout), story.stdout

        mine = [other for other in told if other["instance_id"] != turn["instance_id"]]
        assert len(mine) == sum(load.heard for load in loads[1:]) + 2
        assert {other["ending_code"] for other in mine} == {"-.end.after"}
        for gateway in others:
            assert gateway.process.poll() is None
            assert "Traceback" not in "".join(gateway.err)


def test_a_gateway_that_starts_after_the_kill_takes_the_directory_as_it_is(tmp_path: Path) -> None:
    """It marks what the dead one left, and leaves alone what the living one carries."""
    with Provider(rule).running() as provider, three(tmp_path, provider) as (victim, living, _):
        calls = [Call(gateway.port, body("slow")) for gateway in (victim, living)]
        for call in calls:
            call.hear_until(b"upon")
        time.sleep(0.7)
        victim.process.kill()
        victim.process.wait(5)

        with serving(provider.url, tmp_path) as newcomer:
            assert Call(newcomer.port, body("Hi.")).hear_all().endswith(b'{"type":"message_stop"}\n\n')
            codes = [turn["ending_code"] for turn in flights(tmp_path)]
            assert sorted(map(str, codes[:2])) == ["M.died.text", "None"]
            calls[1].hear_all()
            time.sleep(1.0)
            codes = [turn["ending_code"] for turn in flights(tmp_path)]
            assert sorted(map(str, codes)) == ["-.end.after", "-.end.after", "M.died.text"]
        assert check_journal(tmp_path) == ["ok"]
