"""`holdfast doctor --now`, for real: a process called `claude`, frozen on a provider that speaks or a path that does not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli import doctor_now
from holdfast.diagnosis.now import judge
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.instances import identity_of
from holdfast.flight.instant import Instant, now
from holdfast.flight.journal import Journal
from holdfast.flight.moments import QuietNoticed
from holdfast.flight.reading import StoredTurn
from holdfast.flight.record import InMemory, TurnRecord
from holdfast.lab.provider import Provider
from holdfast.sessions.clients import clients, slugs, socket_inodes, written_last
from tests.cli.frozen_client import SESSION
from tests.cli.test_doctor import a_month_of_giving_up
from tests.gateway.dark_far import SILENT
from tests.netns import ROOT, needs_namespaces, two_machines
from tests.sessions.test_tail import calls
from tests.sessions.written import Pen

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


class Frozen:
    """A home in which a client works, and the doctor looks at it."""

    def __init__(self, home: Path) -> None:
        self.home, self.work, self.pid = home, home / "work", 0
        self.work.mkdir(parents=True)

    def writes(self, pen: Pen) -> None:
        """Its conversation, where it would keep it."""
        pen.saved(self.home, project=re.sub(r"[^A-Za-z0-9]", "-", str(self.work)))

    def pen(self) -> Pen:
        return Pen(SESSION, version="2.1.329", cwd=str(self.work), at_ms=int(time.time() * 1000))

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "HOLDFAST_STATE_DIR": str(self.home / "state"),
        }

    def looked(self, *options: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "holdfast", "doctor", "--now", *options]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment(), capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout or done.stderr

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.looked("--json", "--pid", str(self.pid)))
        return told

    def watched(self, *options: str) -> subprocess.Popen[str]:
        """Looks five times a second, until it is ended."""
        command = [sys.executable, "-m", "holdfast", "doctor", "--now", *options]
        command += ["--watch", "0.2", "--pid", str(self.pid)]
        return subprocess.Popen(command, cwd=ROOT, env=self.environment(), stdout=subprocess.PIPE, text=True)


@contextmanager
def client_of(url: str, home: Path) -> Iterator[Frozen]:
    frozen = Frozen(home)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cli.frozen_client", url, str(frozen.work)],
        cwd=ROOT,
        env=frozen.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            frozen.pid = int(process.stdout.readline())
            yield frozen
        finally:
            process.kill()


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Frozen]:
    with Provider([SILENT]).running() as provider, client_of(provider.url, tmp_path / "home") as client:
        yield client


def test_a_silent_provider_on_a_path_that_lives(frozen: Frozen) -> None:
    """Wait: so much of the client's own limit is gone, and then it hangs up."""
    frozen.writes(frozen.pen().asks("a prompt that nobody reads"))
    told = frozen.told()

    assert (told["verdict"], told["waits_for"], told["session"]) == ("wait", "asked", SESSION)
    assert (told["limit"], told["limit_s"]) == ("stream idle", 300.0)
    assert 290 < told["hangs_up_in_s"] <= 300
    assert told["connection"]["timer"] == "keepalive" and told["connection"]["probes"] == 0
    assert "it will hang up in" in told["says"]


def test_a_tool_that_was_called_is_this_machines_business(frozen: Frozen) -> None:
    """No process runs and no result is there: a question is open. No word of the conversation is shown."""
    frozen.writes(calls(frozen.pen().after(-30).asks("a prompt that nobody reads"), "Bash 1"))
    said = frozen.looked("--pid", str(frozen.pid))

    assert "Bash was called" in said and "permission" in said
    assert "prompt that nobody reads" not in said and "id_rsa" not in said


def test_without_a_transcript_it_cannot_be_told(frozen: Frozen) -> None:
    """And it is said what is missing."""
    told = frozen.told()

    assert told["verdict"] == "unclear"
    assert any("no transcript" in one for one in told["against"])


def test_watching_tells_in_full_only_what_is_new(frozen: Frozen) -> None:
    """Then one line a look, with what moves; and who watches is not told to watch."""
    with frozen.watched() as watching:
        assert watching.stdout is not None
        lines = [line.rstrip() for _, line in zip(range(40), watching.stdout, strict=False)]
        watching.terminate()

    said = "\n".join(lines)
    assert said.count("It cannot be told") == 1 and said.count("  client   ") == 1
    assert "--watch" not in said and "  settle   watch on" in said
    same = [line for line in lines if re.match(r"\d\d:\d\d:\d\d  the same: ", line)]
    assert len(same) > 5 and all("last acknowledged something" in line for line in same)


def test_watching_ends_with_the_client(frozen: Frozen) -> None:
    """Look after look, one line each, until the process is gone."""
    frozen.writes(frozen.pen().asks())
    with frozen.watched("--json") as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["verdict"] == "wait"
        os.kill(frozen.pid, 9)
        rest = [json.loads(line)["verdict"] for _, line in zip(range(100), watching.stdout, strict=False)]

    assert rest[-1] == "ended" and watching.wait() == 0


def test_a_process_that_is_no_client_is_refused(frozen: Frozen) -> None:
    """Those that are clients are named."""
    said = frozen.looked("--pid", str(os.getpid()), code=1)

    assert "is no Claude Code of yours" in said and str(frozen.pid) in said


def test_what_a_process_tells_of_itself(frozen: Frozen) -> None:
    """Where it works, since when, its sockets, and of its environment what was named: never its key."""
    names = ("ANTHROPIC_BASE_URL", "HOME")
    mine = next(one for one in clients(lambda words: words[0] == "claude", names) if one.pid == frozen.pid)

    assert mine.cwd == frozen.work and set(mine.environment) == set(names)
    assert mine.started_ms is not None and abs(mine.started_ms - time.time() * 1000) < 60_000
    assert "neverlookedat" not in repr(mine)
    assert len(socket_inodes(frozen.pid) or ()) == 1
    assert socket_inodes(2**22 + 1) is None


def test_the_latest_transcript_of_the_folder_is_the_one(frozen: Frozen) -> None:
    """By either way of naming the folder; one that was last written before the client began is another's."""
    frozen.writes(frozen.pen().asks())
    roots = [frozen.home / ".claude"]

    assert [path.stem for path in written_last(roots, frozen.work, None)] == [SESSION]
    assert written_last(roots, frozen.work, int(time.time() * 1000) + 60_000) == []
    assert slugs(Path("/home/me/a_b.c")) == ["-home-me-a-b-c", "-home-me-a_b-c"]


def test_several_clients_are_listed(frozen: Frozen, tmp_path: Path) -> None:
    """For a person and for a program; none is chosen for them."""
    with Provider([SILENT]).running() as provider, client_of(provider.url, tmp_path / "other") as other:
        said = frozen.looked(code=1)
        told = json.loads(frozen.looked("--json", code=1))

    assert {frozen.pid, other.pid} <= {one["pid"] for one in told["clients"]}
    assert "choose one: holdfast doctor --now --pid" in said and str(other.work) in said


@contextmanager
def served(home: Path, *options: str) -> Iterator[str]:
    """A `holdfast serve` of this home's user; its URL."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "HOLDFAST_STATE_DIR": str(home / "state")}
    with subprocess.Popen(
        [sys.executable, "-m", "holdfast", "serve", "--listen", "127.0.0.1:0", *options],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as gateway:
        assert gateway.stderr is not None
        line = gateway.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line
        try:
            yield found[0]
        finally:
            gateway.kill()


def test_behind_a_gateway_of_ours_its_flight_is_looked_at(tmp_path: Path) -> None:
    """The client is held, and so need not be feared for; the connection that counts is the gateway's own."""
    home = tmp_path / "home"
    home.mkdir()
    with ExitStack() as stack:
        provider = stack.enter_context(Provider([SILENT]).running())
        url = stack.enter_context(served(home, "--upstream", provider.url, "--keepalive", "0.5s"))
        frozen = stack.enter_context(client_of(url, home))
        frozen.writes(frozen.pen().asks())
        for _ in range(20):
            told = frozen.told()
            if "has been silent" in str(told["for"]):
                break

    assert (told["verdict"], told["grade"], told["hangs_up_in_s"]) == ("wait", "strong", None)
    assert "The gateway holds the client" in told["says"]
    assert any("inside tool_use Write" in one and "has been silent" in one for one in told["for"])
    assert provider.url.removeprefix("http://") in str(told["for"])
    assert told["turn"] in told["do"]


OTHER = "22222222-0000-4000-8000-000000000002"


def another_client_finished(frozen: Frozen) -> None:
    """In the same folder, later, and it is gone."""
    pen = Pen(OTHER, version="2.1.329", cwd=str(frozen.work), at_ms=int(time.time() * 1000))
    pen.asks().answers("msg_other").saved(frozen.home, project=re.sub(r"[^A-Za-z0-9]", "-", str(frozen.work)))


def test_another_clients_end_is_not_this_ones(frozen: Frozen) -> None:
    """Which session is whose cannot be told then, unless the client wrote it down; and even so nothing is strong."""
    frozen.writes(frozen.pen().asks())
    another_client_finished(frozen)
    unknown = frozen.told()
    identity = identity_of(frozen.pid)
    assert identity is not None
    sessions = frozen.home / ".claude" / "sessions"
    sessions.mkdir()
    noted = {"pid": frozen.pid, "sessionId": SESSION, "procStart": identity.process_start}
    (sessions / f"{frozen.pid}.json").write_text(json.dumps(noted))
    known = frozen.told()

    assert (unknown["verdict"], unknown["grade"], unknown["session"]) == ("unclear", None, None)
    assert "2 sessions of this folder were written to since it began" in str(unknown["against"])
    assert (known["verdict"], known["grade"]) == ("wait", "suspected")
    assert (known["waits_for"], known["session"]) == ("asked", SESSION)


def test_a_silence_began_before_it_was_noticed() -> None:
    """The gateway notices it after its keepalive interval; it is told from the last byte."""
    began = Instant(100.0, 1_000_000)
    record = TurnRecord("0h1", began, "turn", "POST", "/v1/messages")
    record.note(Instant(110.0, 1_010_000), QuietNoticed("in_tool_use", "Write", 10.0))

    assert doctor_now._told(StoredTurn(record, "i", None, None), 1_018_500).silent_s == 18.5


@pytest.mark.parametrize(
    ("profile", "measured"), [("claude-code 2.1.329", True), ("unknown", False), ("unknown (bun)", False)]
)
def test_a_turn_says_whether_its_client_was_measured(profile: str, measured: bool) -> None:
    """By its profile: what becomes of the turn when the client goes depends on it."""
    record = TurnRecord("0h1", Instant(100.0, 1_000_000), "turn", "POST", "/v1/messages", profile=profile)
    told = doctor_now._told(StoredTurn(record, "i", None, None), 1_018_500)

    assert (told.measured, told.cancel_s) == (measured, 2.0)


def test_the_turn_on_its_own_connection_tells_its_session(tmp_path: Path) -> None:
    """Behind a gateway of ours: whoever else wrote in that folder, the flight knows who asked."""
    home = tmp_path / "home"
    home.mkdir()
    with ExitStack() as stack:
        provider = stack.enter_context(Provider([SILENT]).running())
        url = stack.enter_context(served(home, "--upstream", provider.url))
        frozen = stack.enter_context(client_of(url, home))
        frozen.writes(frozen.pen().asks())
        another_client_finished(frozen)
        for _ in range(10):
            told = frozen.told()
            if told["turn"]:
                break

    assert (told["verdict"], told["session"], told["waits_for"]) == ("wait", SESSION, "asked")
    assert "sessions of this folder" not in str(told["against"])
    assert "The gateway itself ends a silence of" in told["do"]


def test_an_answer_that_nobody_heard_is_pointed_to(frozen: Frozen) -> None:
    """It is this session's, whole, not handed over, and was made since the last record."""
    frozen.writes(frozen.pen().asks())
    at = now()
    others = TurnRecord("0h0000000other", at, "turn", "POST", "/v1/messages", session="another")
    mine = TurnRecord("0h000000000me", at, "turn", "POST", "/v1/messages", session=SESSION)
    journal = Journal(frozen.home / "state")
    for record in (others, mine):
        record.ended, record.ending = at, Ending(Side.CLIENT, Mechanism.RST, Phase.IN_TOOL_USE, "")
        journal.changed(record)
        journal.keep_answer(
            record, InMemory(b"data: {}\n\n"), complete=True, content_type="text/event-stream"
        )
    assert journal.close(10)

    told = frozen.told()
    assert told["verdict"] == "kept" and "holdfast attic show 0h000000000me" in told["do"]


def test_without_ss_the_kernels_shorter_table_is_read(
    frozen: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queues and timers are there, its times are not: then it cannot be told, and what would tell is said."""
    frozen.writes(frozen.pen().asks())
    monkeypatch.setattr(doctor_now, "_by_ss", list)
    client = next(one for one in doctor_now.living_clients() if one.pid == frozen.pid)
    looked = doctor_now.look(client, None, home=frozen.home, now_ms=now().wall_ms, platform="linux")
    verdict = judge(looked.scene)

    assert looked.scene.socket is not None and looked.scene.socket.timer == "keepalive"
    assert verdict.verdict == "unclear" and "ss is missing" in str(verdict.con)
    assert any("/proc/net/tcp" in note for note in looked.notes)


def doctored(home: Path, *options: str, code: int = 0, **variables: str) -> dict[str, Any]:
    """What the doctor does with this home's user, whose client gave up for twelve days."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "HOLDFAST_STATE_DIR": str(home / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", "doctor", "--json", *options],
        cwd=ROOT, env=environment | variables, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture
def giving_up(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    a_month_of_giving_up(home, "2.1.114")
    return home


def test_a_gateway_that_runs_is_what_the_settings_should_name(giving_up: Path) -> None:
    """It asks whom the client asks by itself, which is said; then the doctor says since when, and how to go on."""
    with served(giving_up) as url:
        told = doctored(giving_up, "--yes", HTTPS_PROXY="http://proxy.example:3128")
        again = doctored(giving_up)
    gone = doctored(giving_up)

    assert told["applied"] and told["kind"] == "setting"
    assert told["env"] == {
        "ANTHROPIC_BASE_URL": url,
        "NO_PROXY": "127.0.0.1,localhost",
        "ENABLE_TOOL_SEARCH": "true",
    }
    assert (
        told["upstream"] == "https://api.anthropic.com"
        and "It asks https://api.anthropic.com" in told["says"]
    )
    assert "ENABLE_TOOL_SEARCH keeps on what" in told["says"]
    assert json.loads((giving_up / ".claude" / "settings.json").read_text()) == {"env": told["env"]}
    assert again["kind"] == "line" and re.search(r"by the doctor, since \d{4}-", again["says"])
    assert re.fullmatch(r"holdfast diagnose --since \d{4}-\d\d-\d\dT\d\d:\d\d", again["line"])
    assert gone["line"] == "holdfast doctor --undo" and "the client reaches nothing" in gone["says"]


def test_a_gateway_that_asks_somebody_else_is_not_given_the_key(giving_up: Path) -> None:
    """Not unless that is where the client goes now; then nothing is switched on that is off there."""
    with served(giving_up, "--upstream", "http://127.0.0.1:9") as url:
        told = doctored(giving_up, "--yes")
        same = doctored(giving_up, "--yes", ANTHROPIC_BASE_URL="http://127.0.0.1:9")

    assert told["kind"] == "line" and not told["applied"]
    assert "asks another upstream, http://127.0.0.1:9: the key would go there" in str(told["instead"])
    assert "The client goes to https://api.anthropic.com" in str(told["instead"])
    assert same["applied"] and same["upstream"] == "http://127.0.0.1:9"
    assert same["env"] == {"ANTHROPIC_BASE_URL": url}


@needs_namespaces
def test_a_path_that_is_dead(tmp_path: Path) -> None:
    """The wire is cut: first by unanswered probes, then by bytes sent again in vain, the doctor says to ask again."""
    home = tmp_path / "home"
    frozen = Frozen(home)
    with ExitStack() as stack:
        wire = stack.enter_context(two_machines(home))
        far = stack.enter_context(wire.there.python("tests.cli.frozen_far", wire.there.ipv4))
        assert far.stdout is not None
        url = far.stdout.readline().strip()
        near = stack.enter_context(wire.here.python("tests.cli.frozen_client", url, str(frozen.work)))
        stack.callback(near.kill)
        stack.callback(far.kill)
        assert near.stdout is not None and near.stdin is not None
        frozen.pid = int(near.stdout.readline())
        frozen.writes(frozen.pen().asks())

        def told() -> dict[str, Any]:
            said = wire.here.output(
                sys.executable, "-m", "holdfast", "doctor", "--now", "--json", "--pid", str(frozen.pid),
            )  # fmt: skip
            found: dict[str, Any] = json.loads(said)
            return found

        alive = told()
        wire.cut()
        near.stdin.write("\n")
        near.stdin.flush()
        for _ in range(10):
            dead = told()
            if dead["verdict"] == "retry":
                break

    assert alive["verdict"] == "wait" and "keepalive" in alive["connection"]["timer"]
    assert dead["verdict"] == "retry" and "is dead" in dead["says"]
    assert dead["connection"]["unacked_bytes"] >= 1 and dead["connection"]["retransmits"] >= 2
    assert any("sent again" in one for one in dead["for"])
