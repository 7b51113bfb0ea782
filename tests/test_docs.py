"""Documentation is checked like code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from holdfast.cli.catalogue import CATALOGUE
from holdfast.cli.main import COMMANDS, main
from holdfast.cli.reference import command_paths, help_of, reference

ROOT = Path(__file__).parents[1]
EVERY_COMMAND = dict(command_paths(main))


@pytest.mark.parametrize("path", EVERY_COMMAND)
def test_every_command_has_help_with_an_example(path: str) -> None:
    """Someone who reads nothing else can copy a line."""
    command, text = EVERY_COMMAND[path], help_of(path, EVERY_COMMAND[path])

    assert command.help, f"{path} has no help"
    assert "Example" in text, f"{path} --help has no example"
    assert "holdfast" in text.partition("Example")[2], f"the example of {path} is no command line"


@pytest.mark.parametrize("path", EVERY_COMMAND)
def test_every_option_says_what_it_is(path: str) -> None:
    """An option without a sentence is a riddle."""
    for parameter in EVERY_COMMAND[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.opts[0]} has no help"


def test_the_list_of_commands_is_the_commands() -> None:
    """`holdfast --help` prints a table of its own, so that it need not load them; here they are compared."""
    assert {path.split()[1] for path in EVERY_COMMAND if " " in path} == set(COMMANDS)
    for name, lazy in COMMANDS.items():
        assert lazy.summary.endswith("."), name


def test_the_reference_is_up_to_date(tmp_path: Path) -> None:
    """It is generated: if this fails, run `make docs`."""
    # By a process of its own, as `make docs` does: click keeps a command's help option from its first use.
    fresh = tmp_path / "reference.md"
    subprocess.run([sys.executable, "-m", "holdfast.cli.reference", str(fresh)], check=True)

    assert (ROOT / "docs" / "reference.md").read_text() == fresh.read_text(), "run: make docs"


def test_the_reference_names_everything() -> None:
    """Every command and every setting is on the page."""
    page = reference()
    for path in EVERY_COMMAND:
        assert f"### {path}\n" in page
    for option in CATALOGUE:
        assert f"`{option.variable}`" in page


def test_what_make_can_do_is_listed() -> None:
    """`make` alone lists the targets; those that people are told about are there."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("run", "test", "clients", "bench", "long", "check", "clean", "pins", "docs"):
        assert f"\n{target}: " in makefile, target


def test_pins_are_names_and_versions() -> None:
    """No URL and no index: where packages come from is the business of whoever installs them."""
    for name in ("run.txt", "dev.txt"):
        for line in (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines():
            assert line.startswith(("#", "-r ")) or "==" in line, line
            assert "://" not in line
