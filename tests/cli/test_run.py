"""`holdfast run` on a real terminal: the command must not notice that anything stands around it."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from holdfast.cli.child import GatewayProcess
from holdfast.cli.control import Start
from holdfast.flight.journal import Retention
from holdfast.gateway.settings import Settings, Upstream

HOLDFAST = [sys.executable, "-m", "holdfast", "run"]

ASK = """
import http.client, os, urllib.parse
def ask():
    url = urllib.parse.urlsplit(os.environ["ANTHROPIC_BASE_URL"])
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=5)
    connection.request("HEAD", url.path)
    return connection.getresponse().status
"""
"For commands: ask the gateway for its base path, which it answers by itself."


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A clean environment: nothing of whoever runs the tests but the search paths."""
    home = tmp_path / "home"
    home.mkdir()
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TERM": "xterm",
        "HOLDFAST_STATE_DIR": str(tmp_path / "state"),
    }
    return variables | {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    return project


Run = Callable[..., subprocess.CompletedProcess[str]]
Terminal = Callable[..., "pexpect.spawn[str]"]


@pytest.fixture
def run(environ: dict[str, str], directory: Path) -> Run:
    """Run a Python script as the command, without a terminal."""

    def run(script: str, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
        arguments = [*HOLDFAST, *options, "--", sys.executable, "-c", script]
        return subprocess.run(
            arguments,
            env=environ | more,
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    return run


def _hears_hangups() -> None:
    """Whoever runs the tests may ignore them (nohup), and that is inherited."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def terminal(environ: dict[str, str], directory: Path) -> Iterator[Terminal]:
    """Run a program (by default a Python script under `holdfast run`) on a terminal of its own."""
    opened: list[pexpect.spawn[str]] = []

    def start(script: str = "", *, shell: bool = False) -> pexpect.spawn[str]:
        arguments = (
            ["bash", "--norc", "--noprofile", "-i"]
            if shell
            else [*HOLDFAST, "--", sys.executable, "-c", script]
        )
        spawned = pexpect.spawn(
            arguments[0],
            arguments[1:],
            env=environ | {"PS1": "prompt> "},
            cwd=str(directory),
            timeout=15,
            encoding="utf-8",
            echo=False,
            preexec_fn=_hears_hangups,
        )
        opened.append(spawned)
        return spawned

    yield start
    for spawned in opened:
        spawned.close(force=True)


def pid_of(it: pexpect.spawn[str]) -> int:
    assert it.pid is not None
    return it.pid


def processes() -> dict[int, tuple[int, str, str]]:
    """Every process: parent, state letter, arguments. From /proc, or from ps where there is none (macOS)."""
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(
            ["ps", "-axo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
        )
        rows = [line.split(maxsplit=3) for line in listed.stdout.splitlines()]
        return {int(row[0]): (int(row[1]), row[2][0], row[3] if len(row) > 3 else "") for row in rows}
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (place / "stat").read_text().rpartition(")")[2].split()[:2]
            arguments = (place / "cmdline").read_text().replace("\0", " ")
        except (OSError, ValueError):
            continue
        found[int(place.name)] = (int(parent), state, arguments)
    return found


def gateway_of(supervisor: int | None) -> int:
    """The gateway process of a `holdfast run`."""
    assert supervisor is not None
    return next(
        pid
        for pid, (parent, _, arguments) in processes().items()
        if parent == supervisor and "gateway_process" in arguments
    )


def gone(pid: int | None) -> bool:
    """Whether a process has ended; one that nobody has reaped yet has."""
    assert pid is not None
    known = processes()
    return pid not in known or known[pid][1] == "Z"


def until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# -- how it ends -------------------------------------------------------------------------------------------


def test_the_exit_code_is_passed_on(run: Run) -> None:
    """A script that checks its command's exit code works the same under `run`."""
    assert run("raise SystemExit(7)").returncode == 7


def test_death_by_a_signal_is_passed_on(run: Run) -> None:
    """The shell sees the signal itself, so it says `Terminated` and stops its script as it would have."""
    ended = run("import os, signal; os.kill(os.getpid(), signal.SIGTERM)")

    assert ended.returncode == -signal.SIGTERM


def test_output_is_the_commands_own_and_one_line_follows_on_stderr(run: Run) -> None:
    """What the command prints can still be piped: ours is one line, and elsewhere."""
    ended = run(f"{ASK}\nprint(ask())\nimport sys; print('mine', file=sys.stderr)")

    assert ended.stdout == "200\n"
    mine, ours = ended.stderr.splitlines()
    assert mine == "mine"
    assert ours.startswith("holdfast: ")


def test_a_command_that_never_asked_is_told_why_nothing_was_carried(run: Run) -> None:
    """Zero turns is explained, not shrugged at."""
    assert "0 requests carried: the command never asked" in run("pass").stderr


def test_settings_that_win_are_named_where_claude_may_be_behind_a_wrapper(
    run: Run, environ: dict[str, str]
) -> None:
    """`--env` would not help there."""
    settings = Path(environ["HOME"]) / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"env": {"ANTHROPIC_BASE_URL": "https://gateway.example"}}')

    ended = run("pass")

    assert f"{settings} sets another base URL, and settings win over the environment" in ended.stderr


def test_a_cloud_mode_is_named_as_the_reason(run: Run) -> None:
    """In Bedrock mode no base URL is used, and the last line says so."""
    assert "CLAUDE_CODE_USE_BEDROCK" in run("pass", CLAUDE_CODE_USE_BEDROCK="1").stderr


def test_the_way_out_takes_less_than_two_seconds(run: Run) -> None:
    """An agent in a loop does not wait for its gateway."""
    ended = run("import time; print(time.time())")

    assert time.time() - float(ended.stdout) < 2.0


def test_an_unfinished_turn_is_stopped_upstream_when_the_command_ends(run: Run) -> None:
    """Nobody is left to hear it, so it is not paid for; and the way out is no longer for it."""
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        closed: list[float] = []

        def be_silent() -> None:
            connection, _ = upstream.accept()
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(65536):
                    pass
            closed.append(time.time())

        listening = threading.Thread(target=be_silent, daemon=True)
        listening.start()
        ended = run(
            "import http.client, os, time, urllib.parse\n"
            "url = urllib.parse.urlsplit(os.environ['ANTHROPIC_BASE_URL'])\n"
            "it = http.client.HTTPConnection(url.hostname, url.port)\n"
            'body = \'{"model": "m", "stream": true, "messages": []}\'\n'
            "it.request('POST', url.path + '/v1/messages', body, {'content-type': 'application/json'})\n"
            "time.sleep(.3); print(time.time())",
            "--upstream",
            f"http://127.0.0.1:{upstream.getsockname()[1]}",
        )
        listening.join(5)

    assert time.time() - float(ended.stdout) < 2.0
    assert closed, "upstream was left running"
    assert closed[0] - float(ended.stdout) < 1.5
    assert "1 request carried" in ended.stderr


def test_a_missing_command_is_127(run: Run, environ: dict[str, str]) -> None:
    """As in the shell; no gateway is started for it."""
    ended = subprocess.run(
        [*HOLDFAST, "no-such-program"], env=environ, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 127
    assert "no-such-program was not found" in ended.stderr


def test_a_file_that_is_no_program_is_126(environ: dict[str, str], tmp_path: Path) -> None:
    """As in the shell."""
    (tmp_path / "notes.txt").write_text("notes")
    ended = subprocess.run(
        [*HOLDFAST, str(tmp_path / "notes.txt")], env=environ, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 126


def test_a_script_without_an_interpreter_is_run_by_the_shell(environ: dict[str, str], tmp_path: Path) -> None:
    """As in every shell; a program for another machine is none."""
    for name, content in (("script", b"echo mine $1\n"), ("program", b"\x7fELF\0\0\0")):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o755)
    script, program = (
        subprocess.run(
            [*HOLDFAST, "--", str(tmp_path / name), "word"], env=environ, capture_output=True, text=True, check=False
        )
        for name in ("script", "program")
    )  # fmt: skip

    assert (script.returncode, script.stdout) == (0, "mine word\n")
    assert program.returncode == 126


def test_a_directory_that_is_gone_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    """It is no defect of ours."""
    ended = subprocess.run(
        ["sh", "-c", 'mkdir here && cd here && rmdir ../here && "$@"', "sh", *HOLDFAST, "--", "true"],
        env=environ, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ended.returncode == 1
    assert "the directory that you are in was removed" in ended.stderr


def test_a_taken_port_is_named(run: Run) -> None:
    """The error names the port and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("pass", "--port", str(port))

    assert ended.returncode == 69
    assert f"port {port}" in ended.stderr
    assert "Leave --port out" in ended.stderr


def test_a_proxy_that_cannot_serve_is_refused_before_anything_is_started(run: Run) -> None:
    """As every wrong setting: nothing has to be tried to know it."""
    ended = run("print('never')", HTTPS_PROXY="socks5://proxy.example")

    assert ended.returncode == 2
    assert re.search("the proxy setting .* give http://host:port", ended.stderr)
    assert ended.stdout == ""


def test_why_the_gateway_did_not_start_is_said_where_it_can_be_read(
    run: Run, environ: dict[str, str]
) -> None:
    """With the next thing to try, on the terminal; and the log has no traceback of what is no defect."""
    state = Path(environ["HOLDFAST_STATE_DIR"])
    state.mkdir(mode=0o700)
    (state / "journal.sqlite").write_bytes(b"no database " * 999)

    ended = run("print('never')")

    assert ended.returncode == 69
    assert re.search("the gateway did not start: .*journal.sqlite cannot be used .* move the", ended.stderr)
    assert ended.stdout == ""
    assert "Traceback" not in (state / "run.log").read_text()


def test_a_relative_state_directory_is_one_for_both_processes(run: Run, directory: Path) -> None:
    """The gateway's working directory is another; its journal is where `flights` will look."""
    ended = run("pass", HOLDFAST_STATE_DIR="mine")

    assert ended.returncode == 0
    assert (directory / "mine" / "journal.sqlite").exists()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors_are_no_obstacle(
    closed: str, environ: dict[str, str], tmp_path: Path
) -> None:
    """Nothing of ours takes their places: the gateway starts, and answers."""
    asks = f"{ASK}\nopen({str(tmp_path / 'heard')!r}, 'w').write(str(ask()))\nraise SystemExit(7)"
    ended = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *HOLDFAST, "--", sys.executable, "-c", asks],
        env=environ,
        timeout=60,
        check=False,
    )

    assert (tmp_path / "heard").read_text() == "200"
    assert ended.returncode == 7


# -- what the command is given -----------------------------------------------------------------------------


def test_loopback_stays_away_from_proxies(run: Run) -> None:
    """What the user excluded stays excluded, and this machine is added."""
    ended = run("import os; print(os.environ['NO_PROXY'])", NO_PROXY="corp.example")

    assert ended.stdout == "corp.example,127.0.0.1,localhost\n"


def test_another_variable_can_carry_the_address(run: Run) -> None:
    """Programs that read another variable are served with --env."""
    ended = run(
        "import os; print(os.environ['OPENAI_BASE_URL'] == os.environ['ANTHROPIC_BASE_URL'] + '/v1')",
        "--env",
        "OPENAI_BASE_URL={url}v1",
    )

    assert ended.stdout == "True\n"


def test_open_files_are_handed_through(environ: dict[str, str], tmp_path: Path) -> None:
    """`holdfast run -- cmd 3<file` gives the command its file."""
    (tmp_path / "data").write_text("from three")
    line = f'exec 3<"{tmp_path}/data"; "$@" -- sh -c "cat <&3"'
    ended = subprocess.run(
        ["sh", "-c", line, "sh", *HOLDFAST], env=environ, capture_output=True, text=True, check=False
    )

    assert ended.stdout == "from three"


def test_modules_of_the_working_directory_are_not_loaded(run: Run, directory: Path) -> None:
    """A cloned repository with an asyncio.py of its own gets nothing into the gateway."""
    (directory / "asyncio.py").write_text("raise SystemExit('loaded a stranger')")
    holdfast = str(Path(sys.executable).parent / "holdfast")
    ended = subprocess.run(
        [holdfast, "run", "--", "true"],
        cwd=directory,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "HOLDFAST_STATE_DIR": str(directory / "state"),
        }
        | {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr


# -- the gateway's life ------------------------------------------------------------------------------------


def test_a_killed_gateway_is_back_on_the_same_port_within_a_second(terminal: Terminal) -> None:
    """The command keeps its address: a crash costs the connections, not the session."""
    it = terminal(f"{ASK}\nprint('first', ask())\ninput()\nprint('second', ask())\n")
    it.expect("first 200")
    os.kill(gateway_of(it.pid), signal.SIGKILL)
    killed = time.monotonic()
    it.sendline("")
    it.expect("second 200")

    assert time.monotonic() - killed < 1.0
    it.expect("crashed and was started again once")


def test_a_gateway_is_started_again_where_its_state_is_gone(
    terminal: Terminal, environ: dict[str, str]
) -> None:
    """The command is not left alone with a dead port, whatever was cleaned up under it."""
    it = terminal(f"{ASK}\nprint('first', ask())\ninput()\nprint('second', ask())\n")
    it.expect("first 200")
    shutil.rmtree(environ["HOLDFAST_STATE_DIR"])
    os.kill(gateway_of(it.pid), signal.SIGKILL)
    it.sendline("")
    it.expect("second 200")
    it.expect("started again once")


def test_where_no_process_is_to_be_had_it_is_tried_again(tmp_path: Path) -> None:
    """A machine that is full for a moment ends no session."""
    start = Start(Settings(Upstream.parse("http://127.0.0.1:9"), state_dir=tmp_path), Retention())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gateway = GatewayProcess(listener, start, {}, tmp_path / "run.log")
        gateway.restart_at_s = 5.0
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            assert not gateway.restart_if_due(6.0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert gateway.restart_at_s is not None and 6.0 < gateway.restart_at_s < 7.0
    assert gateway.restarts == 0


def test_the_port_is_not_free_for_anyone_else_meanwhile(terminal: Terminal) -> None:
    """Between two gateways nobody can take the port and hear the key."""
    it = terminal("import os; print('at', os.environ['ANTHROPIC_BASE_URL']); input()")
    it.expect(r"at http://127.0.0.1:(\d+)/")
    assert isinstance(it.match, re.Match)
    port = int(it.match.group(1))
    os.kill(gateway_of(it.pid), signal.SIGKILL)

    with pytest.raises(OSError, match="in use"), socket.socket() as thief:
        thief.bind(("127.0.0.1", port))


def test_without_its_supervisor_the_gateway_stays_as_long_as_the_command(
    terminal: Terminal, directory: Path
) -> None:
    """If `run` itself is killed, the command goes on working; the gateway ends after it."""
    it = terminal(
        "import os, signal, time\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        f"{ASK}\nprint('pid', os.getpid(), flush=True)\n"
        "parent = os.getppid()\nwhile os.getppid() == parent and not os.path.exists('go'): time.sleep(.02)\n"
        "open('asked', 'w').write(str(ask()))\nwhile not os.path.exists('go'): time.sleep(.02)\n"
    )
    it.expect(r"pid (\d+)")
    gateway = gateway_of(it.pid)
    os.kill(pid_of(it), signal.SIGKILL)

    assert until(lambda: (directory / "asked").exists() and (directory / "asked").read_text() == "200", 5)
    assert not gone(gateway)
    (directory / "go").touch()
    assert until(lambda: gone(gateway), 5)


# -- the terminal ------------------------------------------------------------------------------------------


def test_ctrl_c_reaches_the_command_alone(terminal: Terminal) -> None:
    """A client that treats Ctrl-C as a key keeps its gateway."""
    it = terminal(
        "import signal, time\ncaught = []\nsignal.signal(signal.SIGINT, lambda *_: caught.append(1))\n"
        f"{ASK}\nprint('waiting', flush=True)\nwhile not caught: time.sleep(.01)\nprint('then', ask())\nraise SystemExit(3)"
    )
    it.expect("waiting")
    it.sendintr()
    it.expect("then 200")
    it.expect("holdfast: ")
    it.expect(pexpect.EOF)
    it.wait()

    assert it.exitstatus == 3


def test_ctrl_c_ends_a_command_that_lets_it(terminal: Terminal) -> None:
    """And `run` ends the same way."""
    it = terminal(
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\nprint('waiting', flush=True)\ntime.sleep(30)"
    )
    it.expect("waiting")
    it.sendintr()
    it.expect(pexpect.EOF)
    it.wait()

    assert it.signalstatus == signal.SIGINT


def test_ctrl_z_gives_the_prompt_back_and_fg_goes_on(terminal: Terminal) -> None:
    """Job control works as if the command had been started by the shell itself."""
    it = terminal(shell=True)
    it.expect("prompt> ")
    script = "print('started', flush=True); print('heard', input())"
    it.sendline(f'{" ".join(HOLDFAST)} -- {sys.executable} -c "{script}"; echo code $?')
    it.expect("started")
    it.sendcontrol("z")
    it.expect("Stopped")
    it.expect("prompt> ")
    it.sendline("fg")
    it.expect("holdfast run")
    it.sendline("me")
    it.expect("heard me")
    it.expect("holdfast: ")
    it.expect("prompt> ")


def test_a_new_window_size_reaches_the_command(terminal: Terminal) -> None:
    """A full-screen client redraws itself."""
    it = terminal(
        "import os, signal, time\n"
        "signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b'size %d %d' % os.get_terminal_size()))\n"
        "print('waiting', flush=True)\nwhile True: time.sleep(.05)"
    )
    it.expect("waiting")
    it.setwinsize(33, 111)
    it.expect("size 111 33")


def test_a_closed_terminal_hangs_up_once_and_everything_ends(terminal: Terminal, directory: Path) -> None:
    """The command hears one SIGHUP, not a second one from us; nothing stays behind."""
    it = terminal(
        "import signal, time\nsignal.signal(signal.SIGHUP, lambda *_: open('hups', 'a').write('x'))\n"
        "print('waiting', flush=True)\n"
        "while True:\n time.sleep(.3)\n try: open('hups')\n except OSError: continue\n break"
    )
    it.expect("waiting")
    supervisor, gateway = it.pid, gateway_of(it.pid)
    it.ptyproc.fileobj.close()  # type: ignore[attr-defined]

    assert until(lambda: gone(supervisor) and gone(gateway), 3)
    assert (directory / "hups").read_text() == "x"


def test_sigterm_for_run_is_for_the_command(terminal: Terminal) -> None:
    """A service manager that stops `run` stops the command, in order."""
    it = terminal(
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "print('waiting', flush=True)\ntime.sleep(30)"
    )
    it.expect("waiting")
    os.kill(pid_of(it), signal.SIGTERM)
    it.expect(pexpect.EOF)
    it.wait()

    assert it.exitstatus == 5


COUNTS = (
    "import os, signal, sys\nheard = []\ndef hear(n, _):\n heard.append(n)\n os.write(1, b'heard')\n"
    "for name in ('SIGINT', 'SIGQUIT'):\n signal.signal(getattr(signal, name), hear)\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(10 * len(heard) + sum(heard)))\n"
    "print('waiting', flush=True)\nwhile True: signal.pause()"
)
"A command that counts what its keys send, and tells it by its exit code at SIGTERM."


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_key_that_a_program_sends_to_run_alone_reaches_the_command(
    number: signal.Signals, terminal: Terminal
) -> None:
    """An editor or a script that interrupts `run` interrupts the command, as it would without us."""
    it = terminal(COUNTS)
    it.expect("waiting")
    os.kill(pid_of(it), number)
    it.expect("heard")
    os.kill(pid_of(it), signal.SIGTERM)
    it.expect(pexpect.EOF)
    it.wait()

    assert it.exitstatus == 10 + number


@pytest.mark.parametrize(("key", "number"), [("c", signal.SIGINT), ("\\", signal.SIGQUIT)])
def test_a_key_of_the_terminal_arrives_once(key: str, number: int, terminal: Terminal) -> None:
    """It reaches the whole group: nothing is handed on."""
    it = terminal(COUNTS)
    it.expect("waiting")
    it.sendcontrol(key)
    it.expect("heard")
    os.kill(pid_of(it), signal.SIGTERM)
    it.expect(pexpect.EOF)
    it.wait()

    assert it.exitstatus == 10 + number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_a_program_sends_to_the_whole_group_arrives_once(
    number: signal.Signals, run: Run, environ: dict[str, str], tmp_path: Path
) -> None:
    """`timeout`, `kill 0` and a closing shell reach the command themselves: a second one would end it unfinished."""
    script = (
        "import signal, time\nheard = []\n"
        "for name in ('SIGINT', 'SIGTERM', 'SIGHUP'):\n signal.signal(getattr(signal, name), lambda n, _: heard.append(n))\n"
        "print('waiting', flush=True)\nwhile not heard: time.sleep(.01)\ntime.sleep(.5)\nprint(*heard)"
    )
    with subprocess.Popen(
        [*HOLDFAST, "--", sys.executable, "-c", script],
        env=environ, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=_hears_hangups,
    ) as it:  # fmt: skip
        assert it.stdout is not None
        assert it.stdout.readline() == "waiting\n"
        os.killpg(it.pid, number)

        assert it.stdout.readline() == f"{number.value}\n"
        assert it.wait(10) == 0


def test_timeouts_signal_arrives_once(environ: dict[str, str], tmp_path: Path) -> None:
    """GNU timeout sends to `run` and then to the group that both are in."""
    if shutil.which("timeout") is None:
        pytest.skip("this machine has no timeout(1)")
    script = (
        "import signal, time\nheard = []\nsignal.signal(signal.SIGTERM, lambda n, _: heard.append(n))\n"
        "while not heard: time.sleep(.01)\ntime.sleep(.5)\nprint(len(heard))"
    )
    ended = subprocess.run(
        ["timeout", "3", *HOLDFAST, "--", sys.executable, "-c", script],
        env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert ended.stdout == "1\n"
    assert ended.returncode == 124


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_what_is_sent_to_run_alone_arrives_after_what_the_group_got(name: str, terminal: Terminal) -> None:
    """Only what came at the same moment is the same signal."""
    it = terminal(
        f"import os, signal, sys\nsignal.signal(signal.{name}, lambda *_: os.write(1, b'heard '))\n"
        "print('waiting', flush=True)\nwhile True: signal.pause()"
    )
    it.expect("waiting")
    os.killpg(pid_of(it), getattr(signal, name))
    it.expect("heard ")
    time.sleep(0.5)
    assert it.expect(["heard ", pexpect.TIMEOUT], timeout=0.1) == 1
    os.kill(pid_of(it), getattr(signal, name))
    it.expect("heard ")
    os.kill(pid_of(it), getattr(signal, name))
    it.expect("heard ")


def test_a_lost_witness_costs_no_signal(terminal: Terminal) -> None:
    """Without it, what no key sends is handed on as it comes, and keys are left to the terminal."""
    it = terminal(COUNTS)
    it.expect("waiting")
    witness = next(
        pid for pid, (parent, _, words) in processes().items() if parent == it.pid and "holdfast run" in words
    )
    os.kill(witness, signal.SIGKILL)
    it.sendcontrol("c")
    it.expect("heard")
    os.kill(pid_of(it), signal.SIGTERM)
    it.expect(pexpect.EOF)
    it.wait()

    assert it.exitstatus == 10 + signal.SIGINT


def test_the_witness_ends_with_run(terminal: Terminal) -> None:
    """Even where `run` is killed: it holds nobody's pipe or port."""
    it = terminal(
        "import signal, time\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\nprint('waiting', flush=True)\ntime.sleep(3)"
    )
    it.expect("waiting")
    mine = [
        pid for pid, (parent, _, words) in processes().items() if parent == it.pid and "holdfast run" in words
    ]
    os.kill(pid_of(it), signal.SIGKILL)

    assert len(mine) == 1
    assert until(lambda: gone(mine[0]), 2)


def test_a_gateway_started_again_has_no_signal_blocked(terminal: Terminal) -> None:
    """What the supervisor waits for is its own business."""
    it = terminal(f"{ASK}\nprint('first', ask())\ninput()\nprint('second', ask())\ninput()\n")
    it.expect("first 200")
    os.kill(gateway_of(it.pid), signal.SIGKILL)
    it.sendline("")
    it.expect("second 200")
    status = Path(f"/proc/{gateway_of(it.pid)}/status")
    if not status.exists():
        pytest.skip("this system does not tell what is blocked")

    assert "SigBlk:\t0000000000000000\n" in status.read_text()


def test_nothing_of_ours_is_on_the_screen_while_the_command_lives(terminal: Terminal) -> None:
    """A gateway that crashes and is asked things leaves the screen to the client."""
    it = terminal(f"{ASK}\nprint('before', ask())\ninput()\nprint('after', ask())\n")
    it.expect("before 200\r\n")
    os.kill(gateway_of(it.pid), signal.SIGKILL)
    it.sendline("")
    it.expect("after 200\r\n")
    assert it.before == ""
    it.expect(pexpect.EOF)
    assert it.before is not None
    assert len(it.before.splitlines()) == 1
