"""`holdfast probe`: what it says before, what after, and what it keeps."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from holdfast.cli import probe
from holdfast.cli.errors import Misused
from holdfast.probes import kept
from holdfast.probes.asking import Cost, Options, Question
from holdfast.probes.catalogue import QUESTIONS
from holdfast.probes.result import Grade
from holdfast.probes.result import Result as Answer
from holdfast.probes.status import SUMMARY
from holdfast.probes.target import Target
from tests.probes.stage import Server

CLEAN = dict.fromkeys(
    [
        n
        for n in os.environ
        if n.startswith(("ANTHROPIC", "CLAUDE", "HOLDFAST")) or n.lower().endswith("_proxy")
    ]
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def typed(home: Path, *arguments: str, **environ: str) -> Result:
    """In a clean environment, in a home without settings."""
    from holdfast.cli.main import main

    known = {"HOME": str(home), "HOLDFAST_STATE_DIR": str(home / "state"), "COLUMNS": "100"}
    return CliRunner().invoke(main, ["probe", *arguments], env={**CLEAN, **known, **environ})


def test_every_question_has_its_name_and_its_line() -> None:
    """The list of the command line is written by hand, so that the help need not load them."""
    assert set(probe.NAMES) == set(QUESTIONS)
    for name, one in QUESTIONS.items():
        assert f"    {name} " in (probe.command.help or ""), name
        assert one.SAYS.endswith(".") and one.DOES_NOT_SAY.endswith(".") and one.ASKS


def test_one_question_tells_its_figures_and_its_limits(home: Path) -> None:
    """Verdict, what it shows, what it does not, figures; kept for later."""
    with Server() as server:
        done = typed(home, "edge", f"http://127.0.0.1:{server.port}")

    assert done.exit_code == 0, done.output
    assert f"Asking 127.0.0.1:{server.port} (TARGET): edge; at most 1 connection" in done.stderr
    assert "No key is sent." in " ".join(done.stderr.split())
    assert done.stdout.startswith("edge       fine          cloudflare at ORD answered HEAD with 405")
    assert "  shows    Who answers" in done.stdout and "  not      That a turn" in done.stdout
    assert "  status       405" in done.stdout
    assert [one.name for one in kept.read(home / "state")] == ["edge"]


def test_a_program_reads_one_object_per_line(home: Path) -> None:
    """And nothing is kept where that is not wanted."""
    with Server() as server:
        done = typed(
            home, "connect", f"http://127.0.0.1:{server.port}", "--rounds", "1", "--json", "--no-keep"
        )

    found = json.loads(done.stdout)
    assert found["probe"] == "connect" and found["grade"] == "fine" and found["complete"] is True
    assert found["facts"]["IPv4"]["connected"] == 1 and found["facts"]["IPv6"] is None
    assert not (home / "state").exists()


def test_what_takes_long_or_much_is_agreed_first(home: Path) -> None:
    """Nobody at a terminal: it says what to add, and asks nothing of the network."""
    with Server() as server:
        at = f"http://127.0.0.1:{server.port}"
        for arguments in (
            ("idle",),
            ("upload", "--most", "5MB"),
            ("trickle", "--seconds", "2m"),
            ("ping", "--rounds", "200"),
        ):
            done = typed(home, arguments[0], at, *arguments[1:])
            assert done.exit_code == 2 and "add --yes" in done.stderr, arguments
    assert server.heard == []


def test_the_target_is_the_upstream_that_a_gateway_would_use(home: Path) -> None:
    """Settings before the client's own, the client's before the default; a project's is not asked unasked."""
    plain = {"HOME": str(home)}
    assert probe.target_of(None, plain).name == "api.anthropic.com:443"
    own = {**plain, "ANTHROPIC_BASE_URL": "https://gate.example/llm"}
    found = probe.target_of(None, own)
    assert (found.host, found.prefix, found.chosen_by) == (
        "gate.example",
        "/llm",
        "ANTHROPIC_BASE_URL in the environment",
    )
    set_here = probe.target_of(None, {**own, "HOLDFAST_UPSTREAM": "https://other.example:8443"})
    assert (set_here.name, set_here.chosen_by) == ("other.example:8443", "HOLDFAST_UPSTREAM")
    assert probe.target_of("x.example", own).name == "x.example:443"


def test_a_gateway_on_this_machine_is_no_network(home: Path) -> None:
    """Inside `holdfast run` the client's upstream is the gateway: it is asked, and it is said what that leaves out."""
    with Server() as server:
        at = f"http://127.0.0.1:{server.port}/0123456789abcdef"
        done = typed(home, "edge", ANTHROPIC_BASE_URL=at)

    assert done.exit_code == 0
    assert "To ask that, name it: holdfast probe api.anthropic.com" in " ".join(done.stderr.split())
    assert "0123456789abcdef" not in done.output + (home / "state" / "probes.jsonl").read_text()


def test_the_proxy_is_the_one_a_gateway_would_use(home: Path) -> None:
    """Respected, said, and its login not shown; never for this machine."""
    environ = {
        "HOME": str(home),
        "HTTPS_PROXY": "http://me:hunter22@proxy.example:3128",
        "NO_PROXY": "in.example",
    }

    through = probe.target_of("api.example", environ)

    assert through.name == "api.example:443 through the proxy proxy.example:3128 (HTTPS_PROXY)"
    assert "hunter22" not in repr(through)
    assert probe.target_of("in.example", environ).proxy is None
    assert probe.target_of("https://127.0.0.1:1", environ).proxy is None
    with pytest.raises(Misused, match="HTTPS_PROXY"):
        probe.target_of("api.example", {"HOME": str(home), "HTTPS_PROXY": "socks5://me:hunter22@x"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["idel"], "Did you mean idle?"),
        (["idle", "x.example", "--from", "3m", "--to", "2m"], "--from and --to"),
        (["upload", "x.example", "--most", "9GB"], "between 1000 bytes and 32 MB"),
        (["resolve", "x.example", "--resolver", "dns.example"], "no address of a resolver"),
        (["edge", "https://user:hunter22@x.example"], "shows no login"),
        (["edge", "ftp://x"], "write a host, host:port or a base URL"),
    ],
)
def test_mistakes_are_told_with_the_next_thing_to_try(home: Path, arguments: list[str], words: str) -> None:
    """Before anything is asked; and a password in a mistake is not repeated."""
    done = typed(home, *arguments)

    assert done.exit_code == 2 and words in " ".join(done.stderr.split()) and "hunter22" not in done.stderr


def test_ctrl_c_gives_what_is_known(home: Path) -> None:
    """The short silence is over; the long one is interrupted, and the result says so."""
    with Server() as server:
        at = f"http://127.0.0.1:{server.port}"
        child = subprocess.Popen(
            [sys.executable, "-m", "holdfast", "probe", "idle", at, "--from", "1s", "--to", "30s", "--json"],
            env={"PATH": os.environ["PATH"], "HOME": str(home), "HOLDFAST_STATE_DIR": str(home / "state")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with child:
            while child.poll() is None and len(server.heard) < 8:
                try:
                    child.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
            child.send_signal(signal.SIGINT)
            said, errors = child.communicate(timeout=10)

    assert child.returncode == 130, errors
    found = json.loads(said)
    assert found["complete"] is False and "interrupted" in found["verdict"]
    assert found["facts"]["without_keepalive"]["longest_alive_s"] >= 1
    assert [one.complete for one in kept.read(home / "state")] == [False]


def test_after_an_interruption_nothing_more_is_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all questions the one under way ends, and the others are not begun."""
    monkeypatch.setattr(probe, "_interrupts", lambda: nullcontext(lambda: True))
    with Server() as server:
        done = typed(home, "all", f"http://127.0.0.1:{server.port}", "--json")

    assert done.exit_code == 130 and server.heard == []
    assert [json.loads(line)["complete"] for line in done.stdout.splitlines()] == [False]


def test_what_probes_found_is_forgotten_with_the_rest(home: Path) -> None:
    """`holdfast forget` leaves nothing of it."""
    from holdfast.cli.main import main

    with Server() as server:
        typed(home, "edge", f"http://127.0.0.1:{server.port}")
    env = {"HOME": str(home), "HOLDFAST_STATE_DIR": str(home / "state")}
    done = CliRunner().invoke(main, ["forget", "--yes"], env=env)

    assert done.exit_code == 0, done.output
    assert not (home / "state" / "probes.jsonl").exists()


def test_a_result_bears_the_name_of_its_network(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that flights have, so that diagnose lays it beside failures of then; none where it changed meanwhile."""
    names = iter(["a1b2", "a1b2", "a1b2", "c3d4"])
    monkeypatch.setattr(probe, "_network", lambda: next(names))
    with Server() as server:
        for _ in range(2):
            typed(home, "connect", f"http://127.0.0.1:{server.port}", "--rounds", "1")

    assert [one.network for one in kept.read(home / "state")] == ["a1b2", None]


def test_what_is_not_kept_makes_no_state(home: Path) -> None:
    """The network's name needs the key in the state directory, and nobody asked for one."""
    with Server() as server:
        typed(home, "connect", f"http://127.0.0.1:{server.port}", "--rounds", "1", "--no-keep")

    assert not (home / "state").exists()


def test_what_more_to_ask_is_asked_of_the_same_target(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last lines can be typed as they are: whoever named a target means it."""
    monkeypatch.setattr(
        probe, "_asked", lambda one, *_: Answer(one.NAME, "x", 0, 0.0, Grade.FINE, "v", "s", "n")
    )
    said = " ".join(typed(home, "all", "http://127.0.0.1:7", "--yes", "--no-keep").stdout.split())
    same = "http://127.0.0.1:7"

    assert (
        f"holdfast probe NAME {same}. Not asked: idle, which takes up to 15 minutes: holdfast probe idle {same}."
        in said
    )
    assert "holdfast probe idle." in " ".join(typed(home, "all", "--yes", "--no-keep").stdout.split())


def test_the_promised_time_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes all and says nothing: what is not known then is cut, and that is said and kept."""
    monkeypatch.setattr("holdfast.probes.asking.GRACE_S", 0.2)
    for one in (QUESTIONS["edge"], QUESTIONS["upload"]):
        monkeypatch.setattr(one, "cost", lambda *_: Cost(1, 1000, 0.2))
    monkeypatch.setattr(
        "holdfast.probes.catalogue.QUESTIONS", {name: QUESTIONS[name] for name in ("edge", "upload")}
    )
    with socket.create_server(("127.0.0.1", 0)) as mute:
        at = f"http://127.0.0.1:{mute.getsockname()[1]}"
        done = typed(home, "all", at, "--json")

    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0 and "and 1.00 s. No key" in " ".join(done.stderr.split())
    assert [one["probe"] for one in found] == ["edge", "upload"]
    assert all(one["took_s"] < 3 and not one["complete"] for one in found)  # and not 10 s and more
    assert (
        "nothing was known after 0." in found[1]["verdict"]
        and "promised time was over" in found[1]["verdict"]
    )
    assert f"so cut: edge, upload. Alone it has more of it: holdfast probe edge {at}." in " ".join(
        done.stderr.split()
    )


def test_a_port_without_tls_is_told_once(home: Path) -> None:
    """It is an address to write otherwise, and nothing that is broken."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def refuse() -> None:
            with suppress(OSError):
                for _ in range(40):
                    with server.accept()[0] as asking:
                        asking.settimeout(5)
                        if asking.recv(4096):
                            asking.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        at = f"127.0.0.1:{server.getsockname()[1]}"
        done = typed(home, "all", at, "--rounds", "1", "--yes")

    said = " ".join(done.stdout.split())
    assert done.exit_code == 0
    assert "broken" not in done.stdout, done.stdout
    assert said.count(f"write http://{at}") == 1 and "wrong version number" not in said
    assert "Not asked, as no TLS is spoken there: edge, mtu, upload, trickle." in " ".join(
        done.stderr.split()
    )


def test_the_status_page_is_named_before_it_is_asked(home: Path) -> None:
    """Beside the others only where it is known; a target without one is told what to type."""
    summary = {"page": {"name": "Example"}, "status": {"indicator": "none", "description": "All well"}}
    with Server(pages={SUMMARY: json.dumps(summary).encode()}) as server:
        at = f"http://127.0.0.1:{server.port}"
        done = typed(home, "status", "gateway.example", "--page", at)
        alone = typed(home, "status", "gateway.example", "--no-keep")

    said = " ".join(done.stderr.split())
    assert (
        done.exit_code == 0
        and f"Asking 127.0.0.1:{server.port} (--page): status; at most 2 connections" in said
    )
    assert "No key is sent." in said and 'Example says "All well" (none)' in " ".join(done.stdout.split())
    assert [(one.name, one.target) for one in kept.read(home / "state")] == [
        ("status", "gateway.example:443")
    ]
    assert "holdfast probe status gateway.example --page URL" in " ".join(alone.stdout.split())
    named = " ".join(typed(home, "status", "http://127.0.0.1:9", "--no-keep").stdout.split())
    assert "holdfast probe status http://127.0.0.1:9 --page URL" in named
    assert named.startswith("status not measured here because no status page")


def test_all_questions_go_to_the_page_where_one_is_known(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is another host, so it is named in the plan; for all of them together nobody has to be asked."""
    monkeypatch.setattr(
        probe, "_asked", lambda one, *_: Answer(one.NAME, "x", 0, 0.0, Grade.FINE, "v", "s", "n")
    )
    known, unknown = (typed(home, "all", host, "--no-keep") for host in ("api.anthropic.com", "x.example"))

    plan = " ".join(known.stderr.split())
    assert (
        "Asking api.anthropic.com:443 (TARGET), and status.claude.com:443, its public status page: 11" in plan
    )
    assert known.exit_code == unknown.exit_code == 0
    assert "status.claude.com" not in unknown.stderr and "\nstatus " not in unknown.stdout
    assert "holdfast probe status x.example --page URL" in " ".join(unknown.stdout.split())


SEEN = {"ip": "203.0.113.7", "city": "Berlin", "country": "DE", "org": "AS64500 Example Net"}


def test_egress_is_asked_on_consent_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says whom it would ask; without a yes nothing is asked, and it is never one of all."""
    with Server(pages={"/json": json.dumps(SEEN).encode()}) as server:
        at = f"http://127.0.0.1:{server.port}/json"
        refused = typed(home, "egress", "--service", at)
        heard_before = list(server.heard)
        agreed = typed(home, "egress", "--service", at, "--yes")
    monkeypatch.setattr(
        probe, "_asked", lambda one, *_: Answer(one.NAME, "x", 0, 0.0, Grade.FINE, "v", "s", "n")
    )
    everything = typed(home, "all", "http://127.0.0.1:7", "--yes", "--no-keep", "--from", "1s")

    assert refused.exit_code == 2 and "holdfast probe egress --yes" in refused.stderr and heard_before == []
    assert f"Asking 127.0.0.1:{server.port} (--service): egress" in " ".join(refused.stderr.split())
    assert agreed.exit_code == 0 and "leaves by AS64500 Example Net, Berlin, DE" in " ".join(
        agreed.stdout.split()
    )
    assert "203.0.113.7" not in agreed.output + (home / "state" / "probes.jsonl").read_text()
    assert "\negress " not in everything.stdout and "holdfast probe egress." in " ".join(
        everything.stdout.split()
    )


def test_who_is_asked_may_say_no(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal, and no is what Enter means."""
    from holdfast.cli.main import main

    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("HOME", str(home))
    with Server(pages={"/": json.dumps(SEEN).encode()}) as server:
        runner, words = (
            CliRunner(),
            ["probe", "egress", "--no-keep", "--service", f"http://127.0.0.1:{server.port}"],
        )
        no, yes = (
            runner.invoke(main, words, input=Terminal(said), env={**CLEAN, "COLUMNS": "100"})
            for said in (b"\n", b"y\n")
        )

    assert no.exit_code == 1 and yes.exit_code == 0 and len(server.heard) == 1
    assert "Ask it? [y/N]" in no.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gateway.example",), "--service URL"),
        (("--service", "https://x.example/json?token=1"), "behind the ?"),
    ],
)
def test_egress_asks_no_upstream_and_sends_no_key(home: Path, arguments: tuple[str, ...], words: str) -> None:
    """What would be meant otherwise is refused with what to type."""
    done = typed(home, "egress", *arguments, "--yes")

    assert done.exit_code == 2 and words in " ".join(done.stderr.split())


def test_who_learns_the_hops_is_told_before(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only with --as, which is how somebody agrees."""
    given: list[bool] = []

    def asked(one: Question, whom: Target, options: Options, *_: object) -> Answer:
        given.append(options.networks)
        return Answer(one.NAME, "x", 0, 0.0, Grade.FINE, "v", "s", "n")

    monkeypatch.setattr(probe, "_asked", asked)
    without, with_it = (
        typed(home, "path", "http://127.0.0.1:7", "--no-keep", *more) for more in ((), ("--as",))
    )

    assert given == [False, True]
    assert "Team Cymru" not in without.stderr
    assert "are told to the first resolver here, and to Team Cymru's DNS." in " ".join(with_it.stderr.split())
