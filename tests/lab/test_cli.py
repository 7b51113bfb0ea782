"""`holdfast lab`: a catalogue, and a server that says what it saw and nothing secret."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from holdfast.cli.lab import command
from holdfast.lab.endings import CATALOGUE as ENDINGS
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


def test_every_ending_is_listed_and_has_a_page() -> None:
    """Its code first, so that a list of flights can be held against it."""
    listed = CliRunner().invoke(command, ["endings"]).output
    assert [line.split()[:2] for line in listed.splitlines()] == [
        [row.code, name] for name, row in ENDINGS.items()
    ]
    for name, row in ENDINGS.items():
        if name not in CATALOGUE:
            page = CliRunner().invoke(command, ["scenarios", name]).output
            assert row.story in page and f"the flight says:    {row.code}" in page


@pytest.mark.parametrize("asked", ["connection-refused", "P.refused.connect"])
def test_an_ending_is_played_by_its_name_and_by_its_code(asked: str, tmp_path: Path) -> None:
    """The story as the flight tells it, then the ending and the evidence, and nothing is left behind."""
    played = holdfast("lab", "play", asked, home=tmp_path)
    said, errors = played.communicate(timeout=20)

    assert played.returncode == 0, errors
    assert "Attempt 1 ended: upstream refused the connection" in said
    assert (
        "Of the attempt the flight says: upstream refused the connection while connecting (P.refused.connect)"
        in said
    )
    assert "its evidence shows: errno 111" in said
    assert said.endswith("What it means: holdfast explain P.refused.connect\n")
    assert not list(tmp_path.rglob("*.sqlite"))


def test_a_flight_of_a_play_can_be_kept(tmp_path: Path) -> None:
    """Then `holdfast flight` knows it, over TLS too."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    made.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    pem = str(tmp_path / "both.pem")
    tls = ("--tls-cert", pem, "--tls-key", pem, "--tls-ca", str(tmp_path / "ca.pem"))
    played = holdfast("lab", "play", "tls-alert-in-text", *tls, "--keep", home=tmp_path)
    said, errors = played.communicate(timeout=20)

    assert played.returncode == 0, errors
    assert "tls-alert-in-text, over TLS" in said and "(P.alert.text)" in said
    told = holdfast("flight", said.split()[-1], home=tmp_path)
    assert "P.alert.text" in told.communicate(timeout=20)[0]


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["play", "broken-record"], "openssl req -x509"),
        (["play", "nope"], "`holdfast lab endings`"),
        (["play", "A.b.c"], "`holdfast lab endings`"),
        (["provider", "--scenario", "client-killed"], "holdfast lab play client-killed"),
        (["provider", "--tls-cert", __file__], "--tls-key"),
    ],
)
def test_what_cannot_be_played_is_said_with_the_next_step(arguments: list[str], advice: str) -> None:
    """Exit code 2."""
    result = CliRunner().invoke(command, arguments)

    assert result.exit_code == 2
    assert advice in result.output
