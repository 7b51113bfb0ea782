"""`holdfast run`: a command behind a gateway of its own, for as long as the command lives."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from holdfast.cli import catalogue, claude, config, errors, launchers, settings_text
from holdfast.cli.child import Ended, Foreground, GatewayFailed, GatewayProcess, NotStarted, end_like
from holdfast.cli.control import Counts, Start
from holdfast.cli.gateway_log import LOG_NAME
from holdfast.cli.summary import summary_line
from holdfast.flight.state import StateError, state_dir
from holdfast.gateway.settings import Settings, Upstream

VENDOR_DOMAIN = "anthropic.com"


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be run, and behind what."""

    command: tuple[str, ...]
    client: launchers.Client | None
    "Where Claude Code is in the command; None where it is not, as far as can be told."
    sources: tuple[claude.Source, ...]
    upstream: Upstream
    upstream_origin: str
    unbuffer: config.Value
    values: config.Values

    @property
    def is_claude(self) -> bool:
        return self.client is not None

    def seen_by_client(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment with what the command line sets for Claude Code (`env NAME=VALUE claude`)."""
        return {**environ, **(self.client.assigned if self.client is not None else {})}


def make_plan(
    command: Sequence[str],
    values: config.Values,
    environ: Mapping[str, str],
    directory: Path,
    platform: str,
    *,
    trust_project: bool,
) -> Plan:
    """Decide upstream and features. Raises `Misused` with advice."""
    client = launchers.find(command)
    seen = {**environ, **(client.assigned if client is not None else {})}
    sources = claude.read_settings(client.arguments, seen, directory, platform) if client is not None else []
    url, origin = _upstream_url(values, seen, sources, trust_project=trust_project)
    allow_plain = bool(values["allow-plain-upstream"].value)
    upstream = config.parse_upstream(url, origin, allow_plain=allow_plain)
    unbuffer = values["unbuffer"]
    if unbuffer.value is None:
        # Behind whatever gateway: a buffered tool argument is the silence that freezes clients. Should upstream
        # not know the field, the turn is asked again without it, and no later one has it.
        unbuffer = config.Value(True, "default")
    return Plan(tuple(command), client, tuple(sources), upstream, origin, unbuffer, values)


def _upstream_url(
    values: config.Values,
    environ: Mapping[str, str],
    sources: Sequence[claude.Source],
    *,
    trust_project: bool,
) -> tuple[str, str]:
    chosen = values["upstream"]
    if chosen.value is not None:
        return str(chosen.value), chosen.origin
    try:
        found = claude.upstream_from_client(environ, sources, trust_project=trust_project)
    except claude.UntrustedUpstream as refusal:
        raise errors.Misused(str(refusal)) from None
    return (found.value, found.place) if found is not None else (catalogue.DEFAULT_UPSTREAM, "default")


def is_vendors_own(upstream: Upstream) -> bool:
    """Whether upstream is the API that the client would have recognised as its vendor's."""
    return upstream.host == VENDOR_DOMAIN or upstream.host.endswith("." + VENDOR_DOMAIN)


def gateway_settings(plan: Plan, environ: Mapping[str, str], prefix: str) -> Settings:
    """The gateway's settings. Proxies and certificates are those that the client would have used, project's excepted."""
    seen = claude.trusted_environment(environ, plan.sources)
    return replace(
        config.common_settings(plan.values, plan.upstream, seen),
        prefix=f"/{prefix}",
        tenant=f"run-{secrets.token_hex(8)}",
        unbuffer=bool(plan.unbuffer.value),
        client_env=claude.timer_variables(environ, plan.sources),
    )


def child_variables(
    plan: Plan, environ: Mapping[str, str], url: str, port: int, templates: Sequence[str]
) -> dict[str, str]:
    """What is set in the command's environment, over what is there. Raises `Misused`."""
    variables = claude.base_variables(url, environ)
    if is_vendors_own(plan.upstream):
        variables |= claude.feature_variables(environ, plan.sources)
    try:
        return variables | claude.template_variables(templates, url, port)
    except ValueError as error:
        raise errors.Misused(f"{error}.") from None


# -- settings for Claude Code that must win ----------------------------------------------------------------


def memory_directory(environ: Mapping[str, str]) -> Path | None:
    """A directory whose files are never on a disk: Linux has one for the user's session, or for all."""
    for name in (environ.get("XDG_RUNTIME_DIR"), "/dev/shm"):
        if name and name.startswith(("/run/", "/dev/shm")) and os.access(name, os.W_OK):
            return Path(name)
    return None


def write_private(directory: Path, content: bytes) -> Path:
    """A new file with an unguessable name that only this user can read."""
    path = directory / f"holdfast-{secrets.token_hex(12)}.json"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return path


def settings_passed(plan: Plan, url: str, environ: Mapping[str, str]) -> dict[str, Any] | None:
    """The settings that Claude Code is given so that ours win; None where it needs none. Raises `Misused`."""
    client = plan.client
    elsewhere = client is not None and (client.altered or claude.starts_elsewhere(client.arguments))
    try:
        passed = claude.settings_to_pass(url, plan.sources, environ, elsewhere=elsewhere)
    except claude.NotJoined as refusal:
        raise errors.Misused(str(refusal)) from None
    if passed and client and client.in_script and claude.option_values(client.arguments, "--settings"):
        raise errors.Misused(
            "the gateway's address has to be joined with your --settings, which stands in a shell's script. "
            "Leave the shell out: holdfast run -- claude --settings ..."
        )
    return passed


def with_our_settings(plan: Plan, url: str, environ: Mapping[str, str]) -> tuple[list[str], Path | None]:
    """The command line, with `--settings` where a settings file would win over us; and the file made for it.

    What the user's own `--settings` file holds may be secret. It goes neither to disk nor into the command line,
    which other users can read: on Linux into a file in memory. Raises `Misused` where there is no such place, or
    where that file could not be read.
    """
    if plan.client is None:
        return list(plan.command), None
    passed = settings_passed(plan, url, environ)
    if passed is None:
        return list(plan.command), None
    argument, made = settings_text.dump(passed), None
    if not claude.may_be_shown(passed, plan.client.arguments):
        directory = memory_directory(environ)
        if directory is None:
            raise errors.Misused(
                "your --settings file has to be joined with the gateway's address, and this machine has no place in "
                "memory to put the result. Give --settings as JSON text, or move its content to your user settings."
            )
        made = write_private(directory, argument.encode())
        argument = str(made)
    return plan.client.with_option(plan.command, "--settings", argument), made


# -- running -----------------------------------------------------------------------------------------------


def listen(port: int) -> socket.socket:
    """The socket that stays open until the command ends. Raises `Unavailable`."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise errors.Unavailable(
            f"port {port} of 127.0.0.1 cannot be used: {error.strerror}. Leave --port out to take a free one."
        ) from None
    listener.listen(512)
    return listener


def keep_standard_descriptors() -> None:
    """Give what is closed of 0, 1 and 2 to nothing, lest a socket of ours become a process's input or output.

    Nothing of it is inherited: the command finds closed what it would have found closed without us.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        pass
    os.close(descriptor)


def working_directory() -> Path:
    """Where we are. Raises `Failed` where that is nowhere any more."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise errors.Failed("the directory that you are in was removed. Change into another.") from None


def find_program(name: str, environ: Mapping[str, str]) -> None:
    """Look before anything is started. Raises `NotFound` or `NotExecutable`, which end with the shell's codes."""
    if shutil.which(name, path=environ.get("PATH")) is not None:
        return
    if os.sep in name and Path(name).exists():
        raise errors.NotExecutable(f"{name} cannot be executed. Is it a program (chmod +x)?")
    raise errors.NotFound(
        f"{name or 'a command without a name'} was not found. Is it installed, and on your PATH?"
    )


def run_behind_gateway(
    plan: Plan, environ: Mapping[str, str], templates: Sequence[str]
) -> tuple[Ended, Counts, int]:
    """The whole life of one run: how the command ended, what was carried, how often the gateway was restarted."""
    find_program(plan.command[0], environ)
    keep_standard_descriptors()
    number = plan.values["port"].value
    listener = listen(number if isinstance(number, int) else 0)
    port, prefix = listener.getsockname()[1], secrets.token_urlsafe(12)
    url = f"http://127.0.0.1:{port}/{prefix}/"
    seen = plan.seen_by_client(environ)
    variables = child_variables(plan, seen, url, port, templates)
    try:
        log = state_dir() / LOG_NAME
    except StateError as error:
        raise errors.Unavailable(f"{error}.") from None
    settings, retention = gateway_settings(plan, seen, prefix), config.retention_from(plan.values)
    command, made = with_our_settings(plan, url, seen)
    try:
        start = Start(settings, retention, made, config.otel_from(plan.values))
        gateway = GatewayProcess(listener, start, environ, log)
        try:
            gateway.spawn()
        except OSError as error:
            raise GatewayFailed(error.strerror or str(error)) from None
        gateway.wait_until_ready()
        try:
            ended = Foreground(gateway).run(command, {**environ, **variables})
        except NotStarted as why:
            gateway.finish()
            raise errors.NotExecutable(
                f"{plan.command[0]} cannot be executed: {why}. Try it without holdfast."
            ) from None
        return ended, gateway.finish(), gateway.restarts
    except GatewayFailed as failure:
        raise errors.Unavailable(f"the gateway did not start: {failure}.") from None
    finally:
        if made is not None:
            made.unlink(missing_ok=True)
        listener.close()


def check_text(plan: Plan, environ: Mapping[str, str], templates: Sequence[str]) -> str:
    """What `run --check` prints."""
    environ = plan.seen_by_client(environ)
    seen = claude.trusted_environment(environ, plan.sources)
    config.common_settings(plan.values, plan.upstream, seen)
    shown = config.in_force(plan.values, plan.upstream, seen) | {
        "upstream": config.Value(plan.upstream.origin + plan.upstream.prefix, plan.upstream_origin),
        "unbuffer": plan.unbuffer,
    }
    url = "http://127.0.0.1:PORT/RANDOM/"
    lines = [config.report(shown), "", "The command's environment:"]
    lines += [
        f"  {name}={value}" for name, value in child_variables(plan, environ, url, 0, templates).items()
    ]
    if plan.is_claude:
        lines += ["", "Settings of Claude Code that were found, weakest first:"]
        lines += [f"  {_shown(source)}" for source in plan.sources] or ["  none"]
        settings_passed(plan, url, environ)
    return "\n".join(lines)


def _shown(source: claude.Source) -> str:
    said = f"{source.kind}: {claude.shown_text(source.place)}"
    return f"{said} (not read: {source.trouble})" if source.trouble else said


@click.command(
    "run",
    context_settings={"allow_interspersed_args": False},
    short_help="Run a command behind its own gateway.",
)
@config.with_settings("run")
@click.option(
    "--env",
    "templates",
    multiple=True,
    metavar="NAME=TEMPLATE",
    help="Set a variable for the command; {url}, {host} and {port} are filled in. May be repeated.",
)
@click.option(
    "--trust-project-upstream",
    is_flag=True,
    help="Accept a base URL from the project's own .claude settings. Your key is sent there.",
)
@click.option("--quiet-end", is_flag=True, help="Say nothing afterwards.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    command: tuple[str, ...],
    templates: tuple[str, ...],
    trust_project_upstream: bool,
    quiet_end: bool,
    check: bool,
    settings_file: Path | None,
    **flags: Any,
) -> None:
    """Run COMMAND with its terminal untouched, its API traffic going through a gateway of its own.

    Claude Code is known by name, also behind env, timeout, npx, sh -c and their like: its settings are read to
    find the base URL that it would have used, which becomes the upstream, and the features that it switches off
    behind a gateway are switched on again. Any other command finds the gateway in ANTHROPIC_BASE_URL, or in a
    variable named with --env.

    Its exit code is passed on. Afterwards one line on stderr says what was carried and what was saved.

    \b
    Examples:
      holdfast run -- claude
      holdfast run -- claude -p "Write the report" --output-format json
      holdfast run --upstream https://gateway.example/llm -- claude
      holdfast run --env OPENAI_BASE_URL={url}v1 --upstream https://api.example -- my-agent
      holdfast run --check -- claude
    """
    environ = dict(os.environ)
    values = config.gather("run", flags, environ, settings_file)
    here = working_directory()
    plan = make_plan(command, values, environ, here, sys.platform, trust_project=trust_project_upstream)
    if check:
        click.echo(check_text(plan, environ, templates))
    if not plan.is_claude and not trust_project_upstream:
        _warn(command[0], claude.read_settings([], environ, here, sys.platform))
    if check:
        return
    ended, counts, restarts = run_behind_gateway(plan, environ, templates)
    if not quiet_end:
        _say(plan, environ, here, counts, restarts)
    sys.exit(end_like(ended))


def _warn(program: str, sources: Sequence[claude.Source]) -> None:
    warning = claude.past_gateway(program, sources)
    if warning is not None:
        with suppress(OSError):
            click.echo(f"holdfast: {warning}", err=True)


def _say(plan: Plan, environ: Mapping[str, str], here: Path, counts: Counts, restarts: int) -> None:
    why = claude.why_nothing(
        plan.seen_by_client(environ),
        plan.sources,
        is_claude=plan.is_claude,
        asked=counts.opaque > 0,
        refused=counts.refused > 0,
        unseen=[] if plan.is_claude else claude.read_settings([], environ, here, sys.platform),
    )
    # After a hang-up there is nobody to tell.
    with suppress(OSError):
        click.echo(summary_line(counts, why_nothing=why, restarts=restarts, log=LOG_NAME), err=True)
