"""`holdfast lab`: the built-in provider as a server of its own, its catalogue of troubles, and every ending as a play."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.errors import Failed, Misused, Unavailable
from holdfast.cli.viewing import listed, page_width
from holdfast.flight import flights
from holdfast.flight.endings import Ending
from holdfast.flight.flights import counted, duration, size
from holdfast.flight.redact import clean
from holdfast.flight.state import state_path
from holdfast.lab.endings import CATALOGUE as ENDINGS
from holdfast.lab.endings import EndingScenario, Over, shown_by
from holdfast.lab.provider import Exchange, Provider, Rule, cannot_deafen
from holdfast.lab.scenarios import CATALOGUE, Scenario

if TYPE_CHECKING:
    from ssl import SSLContext

    from holdfast.gateway.settings import Settings
    from holdfast.lab.stage import Certificate

FILE = click.Path(path_type=Path)


@click.group(epilog="Example: holdfast lab provider --scenario silence-in-tool --speed 100")
def command() -> None:
    """Run the built-in provider that breaks on purpose, or play an ending from end to end."""


@command.command(epilog="Example: holdfast lab scenarios")
@click.argument("name", required=False)
def scenarios(name: str | None) -> None:
    """List the scenarios of the provider, or show one."""
    if name is not None:
        row = CATALOGUE.get(name)
        click.echo("\n".join(_within_page(ending_page(ending_named(name)) if row is None else page(row))))
        return
    rows = [(one.name, f"{one.story.partition('. ')[0].removesuffix('.')}.") for one in CATALOGUE.values()]
    click.echo("\n".join(listed(rows, page_width())))


@command.command(
    epilog="Example: holdfast lab provider --listen 127.0.0.1:8800 --scenario reset-in-tool; then, elsewhere, "
    "holdfast serve --listen 127.0.0.1:8801 --upstream http://127.0.0.1:8800"
)
@click.option(
    "--listen", default="127.0.0.1:0", show_default=True, help="HOST:PORT; port 0 takes a free one."
)
@click.option("--scenario", "name", default="well", show_default=True, help="See `holdfast lab scenarios`.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="100 makes a silence of 400 s last 4 s.",
)
@click.option(
    "--http2", is_flag=True, help="Speak HTTP/2: from the first byte, or with TLS if the client asks for it."
)
@click.option("--tls-cert", type=FILE, metavar="FILE", help="Certificate chain (PEM) to serve TLS with.")
@click.option("--tls-key", type=FILE, metavar="FILE", help="Its private key (PEM).")
def provider(
    listen: str, name: str, speed: float, http2: bool, tls_cert: Path | None, tls_key: Path | None
) -> None:
    """Serve one scenario until interrupted, one line per request.

    It speaks the Messages API: give its URL to a client as base URL, with any key. The endings of `holdfast lab
    endings` that need nothing but a provider can be served, too.
    """
    host, port = _address(listen)
    certificate = _certificate(tls_cert, tls_key, None)
    context = None if certificate is None else _server_tls(certificate)
    asyncio.run(_serve(named(name), host, port, speed, http2, context))


async def _serve(
    scenario: Scenario | EndingScenario,
    host: str,
    port: int,
    speed: float,
    http2: bool,
    context: SSLContext | None,
) -> None:
    lab = Provider(
        scenario.rule(serve_anyone=True) if isinstance(scenario, Scenario) else _told(scenario),
        host=host,
        port=port,
        ssl=context,
        http2=http2,
        speed=speed,
        keep_bytes=0,
        on_change=_report,
    )
    try:
        await lab.start()
    except OSError as error:
        raise Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror}. "
            "Give another --listen, or port 0 to take a free one."
        ) from error
    click.echo(f"listening on {lab.url}")
    told = page(scenario, speed) if isinstance(scenario, Scenario) else ending_page(scenario)
    click.echo("\n".join(_within_page(told)))
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await lab.stop()
    click.echo(f"{counted(len(lab.exchanges), 'request')}, {counted(lab.generated, 'answer')} generated")


def _report(exchange: Exchange) -> None:
    if exchange.ended:
        click.echo(line(exchange))


def settings_from(flags: Sequence[str]) -> Settings:
    """The gateway's settings by the flags of `holdfast serve` alone: no file and no variable has a say in a play."""
    from holdfast.cli import config, serve

    given = dict(serve.command.make_context("serve", list(flags)).params)
    del given["check"], given["settings_file"]
    return serve.make_plan(config.gather("serve", given, {"HOME": os.devnull}, None), {}).settings


def line(exchange: Exchange) -> str:
    """One exchange in one line: no header, no query string, no body."""
    request = exchange.request
    asked = f"#{request.number} {request.method} {request.path}" + (" stream" if request.streaming else "")
    if exchange.status is None:
        came = "nothing said"
    else:
        label = f" {exchange.answer.label}" if exchange.answer and exchange.answer.label else ""
        came = f"{exchange.status}{label}, {exchange.steps} events, {size(exchange.sent_bytes)}"
    ended = exchange.ended if exchange.ended == "end" else f"{exchange.ended} ({exchange.phase.value})"
    return clean(f"{asked}: {came}, {duration(exchange.lasted_s)}, {ended}")


def page(scenario: Scenario, speed: float = 1.0) -> list[str]:
    """A scenario's page."""
    heard = scenario.heard
    hears = (
        ["an honest error in its own dialect"]
        if heard.honest_error
        else [
            *(f"the text {said!r}" for said in heard.texts),
            *(f"the tool call {tool}, once" for tool in heard.tools),
        ]
    )
    healed = (
        [f"  it is healed:      {scenario.remedy} (holdfast explain {scenario.remedy})"]
        if scenario.remedy
        else []
    )
    lasts = f" ({duration(scenario.upstream_s / speed)} at this speed)" if scenario.upstream_s else ""
    return [
        f"{scenario.name}{lasts}",
        f"  {scenario.story}",
        f"  the reader hears:  {'; '.join(hears)}",
        *healed,
        f"  must not happen:   {'; '.join(scenario.must_not)}",
    ]


def _within_page(lines: Sequence[str]) -> list[str]:
    """A scenario's page, wrapped on a terminal: a sentence goes on below itself, not below its name."""
    room = page_width()
    if room is None:
        return list(lines)
    wrapped = []
    for line in lines:
        name, colon, _ = line.partition(":  ")
        by = len(line) - len(line[len(name) + 1 :].lstrip()) if colon else 2
        wrapped += textwrap.wrap(line, room, subsequent_indent=" " * by, break_on_hyphens=False) or [""]
    return wrapped


def named(name: str) -> Scenario | EndingScenario:
    """The scenario of this name that a provider can serve alone."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    row = ending_named(name)
    if not row.served_alone:
        raise Misused(
            f"{name} needs more than a provider: {row.story} Play it from end to end with: holdfast lab play {name}"
        )
    return row


def ending_named(name: str) -> EndingScenario:
    """The ending of this name, or one that shows this code."""
    rows = [ENDINGS[name]] if name in ENDINGS else shown_by(name) if name.count(".") == 2 else []
    if not rows:
        raise Misused(
            f"no scenario is called {clean(name)!r}; `holdfast lab scenarios` lists them, and `holdfast lab endings` "
            "the endings."
        )
    return rows[0]


def _told(row: EndingScenario) -> Rule:
    asked = iter(row.answers)
    return lambda _: next(asked, row.answers[-1])


# -- endings -----------------------------------------------------------------------------------------------


@command.command("endings", epilog="Example: holdfast lab endings")
def endings_command() -> None:
    """List the endings that can be played: their codes, their names, and what happens."""
    rows = [(row.code, row.name, _first_sentence(row.story)) for row in ENDINGS.values()]
    click.echo("\n".join(listed(rows, page_width())))


def _first_sentence(story: str) -> str:
    return f"{story.partition('. ')[0].removesuffix('.')}."


@command.command(
    "play",
    epilog="Exit codes: 0 the flight says what it must, 1 it does not, 2 wrong usage, 69 not possible here.",
)
@click.argument("name")
@click.option(
    "--tls-cert",
    type=FILE,
    metavar="FILE",
    help="Play it over TLS, with this certificate chain (PEM) for 127.0.0.1.",
)
@click.option("--tls-key", type=FILE, metavar="FILE", help="Its private key (PEM).")
@click.option(
    "--tls-ca",
    type=FILE,
    metavar="FILE",
    help="What vouches for it (PEM). [default: the certificate, if it signs itself]",
)
@click.option("--keep", is_flag=True, help="Keep the flight in your state directory, for holdfast flight ID.")
def play_command(
    name: str, tls_cert: Path | None, tls_key: Path | None, tls_ca: Path | None, keep: bool
) -> None:
    """Play one ending from end to end, and tell what the flight says of it.

    NAME is an ending's name or its code (see holdfast lab endings). Something in upstream's place, a gateway and a
    client are started on this machine's loopback, and nothing leaves it.

    \b
    Examples:
      holdfast lab play rst-in-tool
      holdfast lab play N.dark.tool
      holdfast lab play tls-alert-in-text --tls-cert cert.pem --tls-key key.pem
    """
    row = ending_named(name)
    certificate = _certificate(tls_cert, tls_key, tls_ca)
    if certificate is None and Over.PLAIN not in row.over:
        raise Misused(f"{row.name} happens over TLS alone: add --tls-cert FILE --tls-key FILE. {MAKE_ONE}")
    if row.linux and sys.platform != "linux":
        raise Unavailable(f"{row.name} can be played on Linux only.")
    if row.darkens and (why := cannot_deafen()):
        raise Unavailable(
            f"{row.name} cannot be played here: {why}. Play it as root, or in a network namespace of your own: "
            f"unshare -rn sh -c 'ip link set lo up; {play_line(row)}'"
        )
    if keep:
        _play(row, certificate, state_path(), keep=True)
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-lab-") as place:
        _play(row, certificate, Path(place), keep=False)


def _play(row: EndingScenario, certificate: Certificate | None, state_dir: Path, *, keep: bool) -> None:
    from holdfast.gateway.server import run_loop
    from holdfast.lab.stage import Play

    over = Over.PLAIN if certificate is None else Over.TLS
    if over not in row.over:
        raise Misused(f"{row.name} is played without TLS; leave --tls-cert out.")
    click.echo(
        "\n".join(
            [f"{row.name}, {'without TLS' if over is Over.PLAIN else 'over TLS'}", f"  {row.story}", ""]
        )
    )
    if certificate is not None:
        _server_tls(certificate)
    play = Play(row, over, state_dir, settings_from, certificate)
    try:
        run_loop(play.run())
    except TimeoutError:
        raise Failed(
            f"{row.name} did not come to its end. If this machine is very busy, play it again."
        ) from None
    assert play.record is not None
    for line in _story(flights.story(play.record)):
        click.echo(line)
    told = play.told
    code = "" if told is None else told.code
    click.echo("")
    click.echo(f"Of the {row.of.value} the flight says: {_sentence(told)}.")
    for shows in row.shows:
        met = told is not None and shows.met_by(told.evidence)
        click.echo(f"  {'its evidence shows' if met else 'its evidence does NOT show'}: {shows}")
    click.echo(f"What it means: holdfast explain {row.code}")
    if keep:
        click.echo(f"The whole flight: holdfast flight {play.record.turn_id}")
    if code != row.code or not all(told is not None and shows.met_by(told.evidence) for shows in row.shows):
        raise Failed(f"the flight should have said {row.code}, with that evidence; please report it.")


def _story(lines: Sequence[flights.Line]) -> list[str]:
    """As in a flight: wrapped on a terminal, one line per moment elsewhere."""
    digits = max((len(f"{line.at_s:.3f}") for line in lines), default=0)
    width = max(shutil.get_terminal_size().columns, 60) if sys.stdout.isatty() else 10_000
    page = []
    for line in lines:
        stamp = f"  {line.at_s:{digits}.3f} s  "
        page += textwrap.wrap(
            line.text,
            width,
            initial_indent=stamp,
            subsequent_indent=" " * len(stamp),
            break_on_hyphens=False,
        )
    return page


def _sentence(told: Ending | None) -> str:
    return "no ending was noted" if told is None else flights.ending_sentence(told, evidence=False)


def _certificate(chain: Path | None, key: Path | None, authority: Path | None) -> Certificate | None:
    from holdfast.lab.stage import Certificate

    if chain is None and key is None and authority is None:
        return None
    if chain is None or key is None:
        raise Misused(f"TLS needs both --tls-cert and --tls-key. {MAKE_ONE}")
    for path in (chain, key, authority or chain):
        if not path.is_file():
            raise Misused(f"there is no file {clean(str(path))}. {MAKE_ONE}")
    return Certificate(chain, key, authority or chain)


def _server_tls(certificate: Certificate) -> SSLContext:
    try:
        return certificate.server()
    except OSError as error:  # ssl.SSLError is one
        raise Unavailable(
            f"the certificate {certificate.chain} with the key {certificate.key} cannot be used: {error}. {MAKE_ONE}"
        ) from None


MAKE_ONE = (
    "Make one for a day with: openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=lab "
    "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
)


def play_line(row: EndingScenario) -> str:
    """What to type to see it."""
    tls = "" if Over.PLAIN in row.over else " --tls-cert cert.pem --tls-key key.pem"
    return f"holdfast lab play {row.name}{tls}"


def ending_page(row: EndingScenario) -> list[str]:
    """An ending's page."""
    shows = [f"  its evidence shows: {'; '.join(map(str, row.shows))}"] if row.shows else []
    given = [f"  the gateway has:    {' '.join(row.given)}"] if row.given else []
    return [
        row.name,
        f"  {row.story}",
        f"  the flight says:    {row.code}, of the {row.of.value}",
        *shows,
        *given,
        f"  play it:            {play_line(row)}",
    ]


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise Misused(f"{clean(listen)!r} is not HOST:PORT; give one like 127.0.0.1:0.")
    return host.strip("[]") or "127.0.0.1", int(port)
