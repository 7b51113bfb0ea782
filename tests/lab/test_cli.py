"""`holdfast lab`: a catalogue, and a server that says what it saw and nothing secret."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from click.testing import CliRunner

from holdfast.cli.lab import command
from holdfast.lab.scenarios import CATALOGUE
from tests.lab import wire
from tests.lab.test_demo import holdfast


def test_every_scenario_is_listed_and_has_a_page() -> None:
    """One line each; the page says what must be heard and what must not happen."""
    listed = CliRunner().invoke(command, ["scenarios"]).output
    assert [line.split()[0] for line in listed.splitlines()] == list(CATALOGUE)
    for name, scenario in CATALOGUE.items():
        page = CliRunner().invoke(command, ["scenarios", name]).output
        assert scenario.story in page and "must not happen" in page


def test_what_is_misspelt_is_said_with_the_next_step() -> None:
    """An unknown scenario, an address without a port: exit code 2 and advice."""
    for arguments, advice in (
        (["scenarios", "nope\x1b[31m"], "`holdfast lab scenarios` lists them"),
        (["provider", "--listen", "localhost"], "give one like 127.0.0.1:0"),
    ):
        result = CliRunner().invoke(command, arguments)
        assert result.exit_code == 2
        assert advice in result.output and "\x1b" not in result.output


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    """Exit code 69, and what to try."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(command, ["provider", "--listen", f"127.0.0.1:{taken.getsockname()[1]}"])
    assert result.exit_code == 69
    assert "port 0" in result.output


def test_the_server_tells_each_request_in_one_line_and_no_secret(tmp_path: Path) -> None:
    """Headers, query strings and bodies are never printed; an interrupt is its proper end."""
    process = holdfast("lab", "provider", "--scenario", "reset-in-tool", "--speed", "50", home=tmp_path)
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    heard = wire.ask(
        url,
        {"stream": True, "messages": ["s3cret-body"]},
        head="POST /v1/messages?key=s3cret-query",
        headers="x-api-key: s3cret-header\r\n",
    )
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=10)

    assert heard.ending == "rst"
    assert "#1 POST /v1/messages stream: 200 first, 10 events" in said
    assert "provider rst (tool)" in said
    assert said.endswith("\n1 request, 1 answer generated\n")
    assert "s3cret" not in said + errors
    assert process.returncode == 0
