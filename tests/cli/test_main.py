"""The command itself: quick to start, clear when it fails."""

from __future__ import annotations

import subprocess
import sys
import time
import types
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from holdfast import __version__
from holdfast.cli import errors
from holdfast.cli.main import COMMANDS, describe_defect, main, refuse_unsupported_platform


def broken(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> object:
    """Put a command in the place of `flights`."""

    def put(command: click.Command) -> None:
        module = types.ModuleType("holdfast.cli.flights")
        module.command = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "holdfast.cli.flights", module)

    return put


def test_help_lists_every_command_and_the_exit_codes() -> None:
    """One screen says what there is."""
    printed = CliRunner().invoke(main, ["--help"])

    assert printed.exit_code == 0
    for name in COMMANDS:
        assert name in printed.output
    assert "Exit codes" in printed.output


def test_help_loads_no_command(tmp_path: Path) -> None:
    """It is quick because it imports neither uvloop nor rich nor SQLite nor any of our rooms."""
    code = (
        "import sys, time\nfrom holdfast.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'uvloop', 'rich', 'sqlite3', 'asyncio', 'msgspec', 'holdfast.gateway', 'holdfast.flight'}\n"
        "print('loaded', sorted(heavy & set(sys.modules)))\nprint('cpu', time.process_time())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    *_, loaded, cpu = ran.stdout.splitlines()
    assert loaded == "loaded []"
    # On a quiet machine it is about 0.05 s; the bound leaves room for a busy one.
    assert float(cpu.split()[1]) < 0.3


def test_version() -> None:
    """For a bug report."""
    assert CliRunner().invoke(main, ["--version"]).output == f"holdfast {__version__}\n"


def test_python_dash_m_works_too() -> None:
    """Where the console script is not on the PATH."""
    ran = subprocess.run(
        [sys.executable, "-m", "holdfast", "--version"], capture_output=True, text=True, check=True
    )

    assert ran.stdout == f"holdfast {__version__}\n"


def test_an_unknown_command_is_misuse() -> None:
    """Exit code 2, as for every wrong command line."""
    assert CliRunner().invoke(main, ["fly"]).exit_code == errors.USAGE


def test_a_defect_is_one_line_and_not_a_traceback(
    install: types.FunctionType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what happened, and how to report it."""
    monkeypatch.delenv("HOLDFAST_DEBUG", raising=False)
    install(broken(ZeroDivisionError("a\nb")))

    ended = CliRunner().invoke(main, ["flights"])

    assert ended.exit_code == errors.DEFECT
    assert ended.output.count("\n") == 1
    assert "ZeroDivisionError: a b (main.py:" in ended.output
    assert "HOLDFAST_DEBUG=1" in ended.output


def test_a_defect_has_its_traceback_when_asked_for(
    install: types.FunctionType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HOLDFAST_DEBUG=1 lets it through."""
    monkeypatch.setenv("HOLDFAST_DEBUG", "1")
    install(broken(ZeroDivisionError()))

    assert isinstance(CliRunner().invoke(main, ["flights"]).exception, ZeroDivisionError)


def test_an_interrupted_command_says_so_by_its_code(install: types.FunctionType) -> None:
    """130, as shells count; no word is needed."""
    install(broken(KeyboardInterrupt()))

    assert CliRunner().invoke(main, ["flights"]).exit_code == errors.INTERRUPTED


def test_our_own_errors_keep_their_codes(install: types.FunctionType) -> None:
    """69 for what is not available, 2 for what cannot be meant, 1 for the rest."""
    for error, code in ((errors.Unavailable("x"), 69), (errors.Misused("x"), 2), (errors.Failed("x"), 1)):
        install(broken(error))
        assert CliRunner().invoke(main, ["flights"]).exit_code == code


def test_windows_is_refused_with_a_way_out() -> None:
    """Better than failing later on a socket option."""
    with pytest.raises(errors.Failed, match="WSL"):
        refuse_unsupported_platform("win32")


def test_a_defect_without_traceback_can_be_told() -> None:
    """Nothing about telling may fail itself."""
    started = time.monotonic()
    assert "ValueError" in describe_defect(ValueError("x" * 10_000))
    assert len(describe_defect(ValueError("x" * 10_000))) < 700
    assert time.monotonic() - started < 1


def test_a_state_directory_that_cannot_be_named_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is asked for first; not a defect."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", "~no-such-user")

    ended = CliRunner().invoke(main, ["flights"])

    assert ended.exit_code == errors.USAGE
    assert ended.output.startswith("Error: HOLDFAST_STATE_DIR is '~no-such-user'")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no device that is always full")
@pytest.mark.parametrize("arguments", [["--help"], ["explain"], ["serve", "--check"]])
def test_a_full_disk_is_no_defect(arguments: list[str], tmp_path: Path) -> None:
    """It is said once, with what to do, whoever prints."""
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "holdfast", *arguments],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip

    assert ran.returncode == errors.FAILED
    assert ran.stderr == "Error: writing failed: No space left on device. Make room, or write elsewhere.\n"
