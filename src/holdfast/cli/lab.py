"""`holdfast lab`: the built-in provider as a server of its own, and its catalogue of troubles."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from holdfast.cli.errors import Misused, Unavailable
from holdfast.flight.flights import counted, duration, size
from holdfast.flight.redact import clean
from holdfast.lab.provider import Exchange, Provider
from holdfast.lab.scenarios import CATALOGUE, Scenario

if TYPE_CHECKING:
    from holdfast.gateway.settings import Settings


@click.group(epilog="Example: holdfast lab provider --scenario silence-in-tool --speed 100")
def command() -> None:
    """Run the built-in provider that breaks on purpose."""


@command.command(epilog="Example: holdfast lab scenarios")
@click.argument("name", required=False)
def scenarios(name: str | None) -> None:
    """List the scenarios, or show one."""
    if name is not None:
        click.echo("\n".join(page(named(name))))
        return
    width = max(map(len, CATALOGUE))
    for scenario in CATALOGUE.values():
        click.echo(f"{scenario.name:<{width}}  {scenario.story.partition('. ')[0].removesuffix('.')}.")


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
@click.option("--http2", is_flag=True, help="Speak HTTP/2, without TLS and from the first byte.")
def provider(listen: str, name: str, speed: float, http2: bool) -> None:
    """Serve one scenario until interrupted, one line per request.

    It speaks the Messages API: give its URL to a client as base URL, with any key.
    """
    host, port = _address(listen)
    asyncio.run(_serve(named(name), host, port, speed, http2))


async def _serve(scenario: Scenario, host: str, port: int, speed: float, http2: bool) -> None:
    lab = Provider(
        scenario.rule(serve_anyone=True),
        host=host,
        port=port,
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
    click.echo("\n".join(page(scenario, speed)))
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


def named(name: str) -> Scenario:
    """The scenario of this name."""
    if name not in CATALOGUE:
        raise Misused(f"no scenario is called {clean(name)!r}; `holdfast lab scenarios` lists them.")
    return CATALOGUE[name]


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise Misused(f"{clean(listen)!r} is not HOST:PORT; give one like 127.0.0.1:0.")
    return host.strip("[]") or "127.0.0.1", int(port)
