"""`holdfast serve`: the gateway as a service, until SIGTERM has drained it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import ssl
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli import admin, catalogue, config, errors
from holdfast.cli.admin import Guard
from holdfast.cli.turnline import turn_json, turn_text
from holdfast.cli.turnlog import TurnLog
from holdfast.flight.instances import Serving
from holdfast.flight.plain_files import read_once
from holdfast.flight.state import StateError
from holdfast.gateway.settings import Settings, Upstream
from holdfast.gateway.upstream.dial import UpstreamError

if TYPE_CHECKING:
    from holdfast.cli.observing import Observing
    from holdfast.flight.journal import Journal, Retention
    from holdfast.gateway.server import Gateway

LONGEST_TOKEN = 64 * 1024
"Bytes of a token's file: more than any header may have."
SHORTEST_TOKEN = 16
"Characters. A token that guards an API key must not be guessable; `openssl rand -hex 32` makes a good one."


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be served, where."""

    settings: Settings
    retention: Retention
    listen: tuple[str, int]
    admin: tuple[str, int] | None
    admin_guard: Guard
    certificate: tuple[Path, Path] | None
    log: str
    drain_s: float
    token_origin: str = field(default="", repr=False)
    idle_proxy: str | None = None
    "Where a proxy was set that is not used."
    otel: str | None = None
    "Where traces go, in full; None for nowhere."


def make_plan(values: config.Values, environ: Mapping[str, str]) -> Plan:
    """Decide all that `serve` needs. Raises `Misused` with advice; opens nothing but the files that are named."""
    listen = catalogue.read_address(str(values["listen"].value))
    upstream = _upstream(values)
    if config.is_loopback(upstream.host) and config.is_loopback(listen[0]) and upstream.port == listen[1]:
        raise errors.Misused(
            f"upstream {upstream.origin} (from {values['upstream'].origin}) is this gateway's own address. Give the "
            "address of the API, or listen elsewhere."
        )
    token, token_origin = read_token(values, environ)
    certificate = _certificate(values)
    behind_proxy = bool(values["behind-tls-proxy"].value)
    check_exposure(
        listen[0], values["listen"].origin, token=token, encrypted=certificate is not None or behind_proxy
    )
    hosts = _names(values)
    settings = replace(
        config.common_settings(values, upstream, environ),
        token=token,
        hosts=hosts,
        any_host=behind_proxy and not hosts,
        unbuffer=bool(values["unbuffer"].value),
    )
    admin_at = catalogue.read_address(str(values["admin"].value)) if values["admin"].value else None
    if admin_at is not None:
        _check_admin(admin_at[0], token)
    outside = admin_at is not None and not config.is_loopback(admin_at[0])
    guard = Guard(hosts, any_host=outside and not hosts, token=token if outside else None)
    drain = settings.timeouts.drain_s
    return Plan(
        settings,
        config.retention_from(values),
        listen,
        admin_at,
        guard,
        certificate,
        str(values["log"].value),
        drain,
        token_origin,
        config.idle_proxy(values, upstream),
        config.otel_from(values),
    )


def _upstream(values: config.Values) -> Upstream:
    chosen = values["upstream"]
    url = str(chosen.value) if chosen.value is not None else catalogue.DEFAULT_UPSTREAM
    return config.parse_upstream(url, chosen.origin, allow_plain=bool(values["allow-plain-upstream"].value))


def _names(values: config.Values) -> frozenset[str]:
    names = values["host"].value
    return frozenset(str(name).lower() for name in names) if isinstance(names, tuple) else frozenset()


def read_token(values: config.Values, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The access token and where it is from: `--token-file`, else `HOLDFAST_TOKEN`. Raises `Misused`."""
    path = values["token-file"].value
    empty = values["token-file"].origin if path == "" else "HOLDFAST_TOKEN"
    if path == "" or (path is None and environ.get("HOLDFAST_TOKEN") == ""):
        raise errors.Misused(
            f"{empty} is set and empty, so there would be no access token. Give one, or unset {empty}."
        )
    if isinstance(path, Path):
        try:
            mode, token = path.stat().st_mode, read_once(path, LONGEST_TOKEN).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise errors.Misused(
                f"the token file {path} cannot be read: {error}. Check path and owner."
            ) from None
        if stat.S_IMODE(mode) & 0o007:
            raise errors.Misused(f"the token file {path} can be read by everyone. Run: chmod 600 {path}")
        return _good_token(token, str(path)), str(path)
    token = environ.get("HOLDFAST_TOKEN", "")
    return (_good_token(token, "HOLDFAST_TOKEN"), "HOLDFAST_TOKEN") if token else (None, "")


def _good_token(token: str, origin: str) -> str:
    if (
        len(token) < SHORTEST_TOKEN
        or not token.isascii()
        or not token.isprintable()
        or set(token) & set(" /?#%")
    ):
        raise errors.Misused(
            f"the access token in {origin} will not do: it needs at least {SHORTEST_TOKEN} letters, digits, '-' or '_'. "
            "Make one with: openssl rand -hex 32"
        )
    return token


def _certificate(values: config.Values) -> tuple[Path, Path] | None:
    certificate, key = config.existing_file(values, "tls-cert"), config.existing_file(values, "tls-key")
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise errors.Misused("TLS needs both --tls-cert and --tls-key. Give the other one, too.")
    server_tls((certificate, key))
    return certificate, key


def check_exposure(host: str, origin: str, *, token: str | None, encrypted: bool) -> None:
    """Beyond loopback, the gateway takes keys from strangers: it needs an access token, and encryption. Raises `Misused`."""
    if config.is_loopback(host):
        return
    missing = []
    if token is None:
        missing.append("an access token (--token-file FILE; make one with: openssl rand -hex 32)")
    if not encrypted:
        missing.append(
            "TLS (--tls-cert FILE --tls-key FILE, or --behind-tls-proxy where something else ends TLS)"
        )
    if missing:
        raise errors.Misused(
            f"listening on {host} (from {origin}) lets other machines in. That needs {' and '.join(missing)}. "
            f"For this machine alone: --listen {catalogue.DEFAULT_LISTEN}"
        )


def _check_admin(host: str, token: str | None) -> None:
    if not config.is_loopback(host) and token is None:
        raise errors.Misused(
            f"--admin on {host} lets other machines in. Give an access token (--token-file FILE), which probes then "
            "show in a holdfast-token header, or use a loopback address such as 127.0.0.1:8485."
        )


def server_tls(certificate: tuple[Path, Path] | None) -> ssl.SSLContext | None:
    """TLS towards clients. HTTP/1.1 is all that is offered. Raises `Misused` where the files do not serve."""
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(*certificate, password=_no_passphrase)
    except _Encrypted:
        key = certificate[1]
        raise errors.Misused(
            f"the key {key} has a passphrase, which nobody is there to type when a service starts. Give a copy without "
            f"one that only this user can read: (umask 077; openssl pkey -in {key} -out plain.pem)"
        ) from None
    except (OSError, ssl.SSLError) as error:
        raise errors.Misused(
            f"the certificate {certificate[0]} with the key {certificate[1]} cannot be used: {error}. "
            "Both must be PEM, and belong together."
        ) from None
    return context


class _Encrypted(Exception):
    """The key needs a passphrase."""


def _no_passphrase() -> str:
    # Without this OpenSSL would ask on the terminal.
    raise _Encrypted


def turn_log(kind: str) -> TurnLog | None:
    """Where each finished turn is told; None for no log."""
    if kind == "none":
        return None
    return TurnLog(sys.stdout, turn_json if kind == "json" else turn_text)


# -- waiting -----------------------------------------------------------------------------------------------


class Stop:
    """SIGTERM, SIGINT and a closed terminal: the first one drains, the second one ends at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                loop.add_signal_handler(number, self._arrived)

    def _arrived(self) -> None:
        (self.insisted if self.asked.is_set() else self.asked).set()


def say(text: str) -> None:
    """A line for the operator, on stderr: stdout is for turns. Where it leads nowhere any more, nothing else ends for it."""
    with contextlib.suppress(OSError):
        click.echo(f"holdfast: {text}", err=True)


async def live(plan: Plan, journal: Journal, make: Callable[..., Gateway], observing: Observing) -> None:
    """Serve until told to stop. Raises `Unavailable` where an address cannot be had."""
    log = turn_log(plan.log)
    gateway = make(plan.settings, journal, on_turn=observing.beside(log))
    stop, context = Stop(), server_tls(plan.certificate)
    host, port = plan.listen
    draining = False
    try:
        port = await gateway.listen(host=host, port=port, ssl=context)
    except OSError as error:
        raise errors.Unavailable(explain_bind(host, port, error, "--listen")) from None
    except UpstreamError as error:
        raise errors.Unavailable(f"{error}.") from None

    def ready() -> bool:
        return gateway.ready and not draining

    async def metrics(accept: str) -> tuple[bytes, str]:
        return await observing.page(accept, gateway.gauges(), ready=ready())

    probes = await _listen_admin(plan, ready, metrics)
    where = f"{'https' if context else 'http'}://{_bracketed(host)}:{port}"
    upstream = plan.settings.upstream
    with contextlib.suppress(OSError):  # it serves without being found by others
        journal.serves(
            Serving(where, upstream.origin, bool(upstream.prefix), token=plan.settings.token is not None)
        )
    # Without its path, which holds a token for some gateways, and this line goes into logs.
    say(f"listening on {where}, upstream {upstream.origin}")
    if plan.idle_proxy is not None:
        say(f"the proxy from {plan.idle_proxy} is not used: upstream is this machine")
    try:
        await stop.asked.wait()
        draining = True
        say(
            f"draining: {len(gateway.open_turns())} unfinished, for at most {catalogue.show_seconds(plan.drain_s)}"
        )
        await _first_of(gateway.drain(plan.drain_s), stop.insisted.wait())
    finally:
        if probes is not None:
            probes.close()
        await gateway.close()
        if log is not None:
            log.close()
    say("ended")


async def _listen_admin(
    plan: Plan, ready: Callable[[], bool], metrics: admin.Metrics
) -> asyncio.Server | None:
    if plan.admin is None:
        return None
    try:
        return await admin.listen(*plan.admin, plan.admin_guard, ready, metrics)
    except OSError as error:
        raise errors.Unavailable(explain_bind(*plan.admin, error, "--admin")) from None


async def _first_of(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def explain_bind(host: str, port: int, error: OSError, flag: str) -> str:
    """Why an address could not be had, and what to do."""
    place = f"{_bracketed(host)}:{port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is taken: {place} ({flag}) is in use by another process. "
            f"Find it with: ss -ltnp 'sport = :{port}' (macOS: lsof -iTCP:{port}), or choose another port."
        )
    if error.errno == errno.EACCES:
        return f"{place} ({flag}) is not allowed for this user. Ports below 1024 need rights; choose a higher one."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{place} ({flag}) is no address of this machine. Use one of its own, or 0.0.0.0 for all."
    return f"{place} ({flag}) cannot be listened on: {error.strerror or error}. Check host name and port."


@click.command("serve", short_help="Run the gateway as a service.")
@config.with_settings("serve")
def command(check: bool, settings_file: Path | None, **flags: Any) -> None:
    """Run the gateway as a service, until SIGTERM has drained it (a second SIGTERM ends it at once).

    Clients use its address as their base URL; the upstream's own path is put before theirs. Every setting can also
    come from a variable (--drain is HOLDFAST_DRAIN) or a TOML file (drain = "10m"); flags win over variables,
    variables over the file.

    Other machines are let in only with an access token, which clients show in a holdfast-token header or as the first
    part of the path, and with TLS.

    \b
    Examples:
      holdfast serve --upstream https://api.anthropic.com
      holdfast serve --listen 0.0.0.0:8443 --tls-cert c.pem --tls-key k.pem --token-file token
      holdfast serve --admin 127.0.0.1:8485 --log json --drain 10m
      holdfast serve --config gateway.toml --check
    """
    values = config.gather("serve", flags, os.environ, settings_file)
    plan = make_plan(values, os.environ)
    if check:
        if values["upstream"].value is None:
            values["upstream"] = config.Value(catalogue.DEFAULT_UPSTREAM, "default")
        rows = [("(access token)", "***" if plan.settings.token else "-", plan.token_origin or "default")]
        click.echo(config.report(config.in_force(values, plan.settings.upstream, os.environ), rows))
        return
    serve(plan)


def serve(plan: Plan) -> None:
    """Open the journal, serve, close it. uvloop and SQLite are loaded here, not for `--help`."""
    from holdfast.cli.observing import Observing
    from holdfast.flight.journal import Journal
    from holdfast.flight.schema import JournalError
    from holdfast.gateway.server import Gateway, run_loop

    state_dir = plan.settings.state_dir or Path()
    try:
        journal = Journal(state_dir, record=plan.settings.record, retention=plan.retention, kind="serve")
    except (StateError, JournalError) as error:
        raise errors.Unavailable(f"{error}.") from None
    observing = Observing(journal, metrics=plan.admin is not None, otel=plan.otel)
    try:
        run_loop(live(plan, journal, Gateway, observing))
    finally:
        if not journal.close():
            say("the journal could not be finished in time")
        observing.close()
        # Whoever read our log may have gone, or its disk be full: that is no failure of the gateway's.
        errors.give_up_output()
