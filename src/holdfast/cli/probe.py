"""`holdfast probe`: ask the network, one question at a time, politely."""

from __future__ import annotations

import math
import os
import shlex
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli import claude, config
from holdfast.cli.catalogue import DEFAULT_UPSTREAM, read_address, read_bytes
from holdfast.cli.errors import INTERRUPTED, Misused
from holdfast.cli.viewing import columns, reading_width, span
from holdfast.flight import flights
from holdfast.flight.redact import clean
from holdfast.flight.state import StateError, state_dir
from holdfast.gateway.upstream import proxies

if TYPE_CHECKING:
    from holdfast.probes.asking import Cost, Options, Question
    from holdfast.probes.result import Result
    from holdfast.probes.target import Target

ALL = "all"
NAMES = (
    "resolve", "connect", "handshake", "idle", "trickle", "upload", "ping", "path", "link", "mtu", "edge", "status",
    "egress",
)  # fmt: skip
ON_CONSENT = frozenset({"egress"})
"Tells a service of somebody else's of this machine, so never asked among others, and only on a yes."
ASK_FROM_BYTES = 1_000_000
ASK_FROM_S = 60.0
NOT_MEASURED = "not measured"
"The grade, which a verdict that begins with the same words does not repeat."
BEHIND_TLS = frozenset(("edge", "mtu", "upload", "trickle", "idle"))
"Not asked where the handshake found that no TLS is spoken: each would only say so again."
SHORT_TRICKLE_S = 20.0
"Among all the others."


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        size = read_bytes(value)
    except ValueError as error:
        raise click.BadParameter(f"{clean(value)!r} {error}") from None
    if not 1000 <= size <= 32_000_000:
        raise click.BadParameter(
            "give a size between 1000 bytes and 32 MB, the largest request that is taken anywhere"
        )
    return size


def _resolvers(
    ctx: click.Context, param: click.Parameter, values: Sequence[str]
) -> tuple[tuple[str, int], ...]:
    from holdfast.probes.target import is_address

    found = []
    for value in values:
        try:
            place = (value, 53) if is_address(value) else read_address(value)
        except ValueError:
            place = ("", 0)
        if not is_address(place[0]):
            raise click.BadParameter(
                f"{clean(value)!r} is no address of a resolver; write it like 192.0.2.53"
            )
        found.append(place)
    return tuple(found)


@click.command("probe")
@click.argument("question", default=ALL, metavar=f"[{'|'.join((ALL, *NAMES))}]")
@click.argument("target", required=False)
@click.option(
    "--yes",
    "-y",
    is_flag=True,
    help="Do not ask before what takes over a minute or a megabyte, or before egress.",
)
@click.option(
    "--rounds", type=click.IntRange(1, 200), help="How often resolve, connect, handshake and ping try."
)
@click.option(
    "--from", "from_s", type=span, metavar="SPAN", help="idle: the shortest silence [default: 15s]."
)
@click.option("--to", "to_s", type=span, metavar="SPAN", help="idle: the longest silence [default: 15m].")
@click.option("--seconds", type=span, metavar="SPAN", help="trickle: for how long [default: 45s].")
@click.option("--most", callback=_size, metavar="SIZE", help="upload: the largest body [default: 500KB].")
@click.option(
    "--resolver", "resolvers", multiple=True, callback=_resolvers, metavar="ADDRESS",
    help="resolve: ask this resolver too. Can be given again.",
)  # fmt: skip
@click.option(
    "--as", "networks", is_flag=True,
    help="path: the AS of public hops, by Team Cymru's DNS, which learns their addresses.",
)  # fmt: skip
@click.option("--page", metavar="URL", help="status: the provider's status page, if it is not known here.")
@click.option("--service", metavar="URL", help="egress: whom to ask [default: https://ipinfo.io/json].")
@click.option("--no-keep", is_flag=True, help="Do not keep the results for diagnose.")
@click.option("--json", "as_json", is_flag=True, help="JSON: one object per question and line.")
def command(
    question: str,
    target: str | None,
    yes: bool,
    rounds: int | None,
    from_s: float | None,
    to_s: float | None,
    seconds: float | None,
    most: int | None,
    resolvers: tuple[tuple[str, int], ...],
    networks: bool,
    page: str | None,
    service: str | None,
    no_keep: bool,
    as_json: bool,
) -> None:
    """Ask the network: does it resolve, connect, carry, and remember connections that are silent?

    TARGET is a host, host:port or base URL; without it the upstream that a gateway here would use is asked. No key is
    ever sent and no token spent. What a question takes at most is said before it is asked, and above a minute or a
    megabyte you are asked; when the time is over, what goes on is cut, with what is known by then, and so does Ctrl-C.

    \b
    link       this machine: interface, Wi-Fi, VPN, IPv6, proxies, filter programs
    resolve    where the name leads, by each resolver
    connect    TCP by IPv4 and IPv6
    handshake  TLS, and who issued the certificate
    edge       which edge answers, and from where
    status     what the provider's public status page says, now and of past incidents
    ping       loss and round trips
    path       the routers on the way, a carrier's NAT among them
    mtu        whether full-sized packets get through
    upload     requests of growing size, and what was sent again
    trickle    an upload of one byte per second
    idle       connections held silent, up to 15 minutes
    egress     by which AS and near which city this machine leaves, as a service outside sees it; only on your yes
    all        every one but egress; idle only with --from or --to, status where the page is known

    \b
    Examples:
      holdfast probe
      holdfast probe handshake
      holdfast probe idle --from 30s --to 6m
      holdfast probe upload --most 5MB --yes
      holdfast probe resolve gateway.example --resolver 192.0.2.53
      holdfast probe status
      holdfast probe status gateway.example --page https://status.gateway.example
      holdfast probe path --as
      holdfast probe egress --yes
      holdfast probe all --json > before.jsonl

    \b
    Exit codes: 0 asked, whatever came of it, 1 you did not agree, 2 wrong usage, 130 interrupted.
    """
    from holdfast.probes.catalogue import QUESTIONS
    from holdfast.probes.net import NOT_TLS, now_s

    question, target = _understood(question, target)
    whom = target_of(target, dict(os.environ)) if question not in ON_CONSENT else _service(service, target)
    options = replace(_options(question, rounds, from_s, to_s, seconds, most, resolvers), networks=networks)
    if question in (ALL, "status"):
        options = replace(options, page=_page(page, whom))
    chosen = [QUESTIONS[question]] if question != ALL else list(QUESTIONS.values())
    if question == ALL and from_s is None and to_s is None:
        chosen = [one for one in chosen if one.NAME != "idle"]
    if question == ALL:
        chosen = [one for one in chosen if one.NAME not in ON_CONSENT]
    if question == ALL and options.page is None:
        chosen = [one for one in chosen if one.NAME != "status"]
    ends = _announce(chosen, whom, options, yes)
    results: list[Result] = []
    unasked: list[str] = []
    network = None if no_keep else _network()
    with _interrupts() as stop:
        began = now_s()
        for one in chosen:
            if stop() and results:
                break
            if one.NAME in BEHIND_TLS and any(past.facts.get("failed_as") == NOT_TLS for past in results):
                unasked.append(one.NAME)
                continue
            result = _asked(one, whom, options, stop, began + ends[one.NAME])
            if network is not None and _network() != network:
                network = None  # it changed meanwhile: nobody knows which of both was asked
            results.append(replace(result, network=network))
            _show(results[-1], as_json, whole=question != ALL)
        interrupted = stop()
    if not no_keep:
        _keep(results)
    if question == ALL and not as_json:
        _say_more(chosen, target)
    _say_less(results, unasked, target)
    if interrupted:
        raise SystemExit(INTERRUPTED)


def _understood(question: str, target: str | None) -> tuple[str, str | None]:
    """`holdfast probe api.example` is meant as all questions to it."""
    if question in (ALL, *NAMES):
        return question, target
    if target is None and any(mark in question for mark in ".:/"):
        return ALL, question
    raise click.UsageError(
        f"there is no probe {clean(question)!r}.{config.suggest(question, (ALL, *NAMES))} "
        f"Ask one of: {', '.join((ALL, *NAMES))}."
    )


# ----- whom


def target_of(text: str | None, environ: Mapping[str, str]) -> Target:
    """What is asked: the argument, else the upstream that a gateway here would use; through the same proxy."""
    from holdfast.gateway.settings import Upstream
    from holdfast.probes import target as t

    values = config.gather("run", {}, environ, None)
    sources = claude.read_settings([], environ, Path.cwd(), sys.platform)
    seen = claude.trusted_environment(environ, sources)
    try:
        if text is not None:
            whom = t.parse(text)
        elif values["upstream"].value is not None:
            whom = t.parse(str(values["upstream"].value), values["upstream"].origin)
        else:
            whom = _the_clients(environ, sources)
        upstream = Upstream("https" if whom.tls else "http", whom.host, whom.port, whom.prefix)
        url = config.proxy_from(values, upstream, seen)
        proxy = None
        if url is not None and not config.is_loopback(whom.host):
            named = proxies.named_proxy(upstream, seen)
            chosen = values["proxy"]
            proxy = t.proxy(url, chosen.origin if chosen.value or named is None else named[0])
    except ValueError as error:
        raise Misused(f"{error}.") from None
    return replace(whom, proxy=proxy, ca_files=config.tls_from(values, seen).ca_files)


def _page(url: str | None, whom: Target) -> Target | None:
    """The status page that is asked, through the same proxy as an upstream there would be; None where none is known."""
    from holdfast.probes import status

    known = status.page_of(whom.host)
    if url is None and known is None:
        return None
    return replace(
        target_of(url or (known.url if known is not None else ""), dict(os.environ)),
        chosen_by="--page" if url is not None else f"the status page of {whom.host}",
    )


def _service(url: str | None, target: str | None) -> Target:
    """Whom egress asks: no upstream, so none may be named as one."""
    from holdfast.probes import egress

    if target is not None:
        raise click.UsageError("egress asks no upstream; name a service by --service URL")
    if url is not None and "?" in url:
        raise click.UsageError("egress sends no key; leave out what stands behind the ? of --service")
    chosen_by = "--service" if url is not None else "default"
    return replace(target_of(url or egress.SERVICE, dict(os.environ)), chosen_by=chosen_by)


def _the_clients(environ: Mapping[str, str], sources: Sequence[claude.Source]) -> Target:
    from holdfast.probes import target as t

    try:
        found = claude.upstream_from_client(environ, sources, trust_project=False)
    except claude.UntrustedUpstream:
        click.echo(
            "This project's own settings name another base URL; name it as TARGET to ask it.", err=True
        )
        found = None
    if found is None:
        return t.parse(DEFAULT_UPSTREAM, "default")
    whom = t.parse(found.value, found.place)
    if config.is_loopback(whom.host):
        click.echo(
            f"{found.place} names this machine: what is asked is a gateway here, and not the way beyond it. To ask that, "
            f"name it: holdfast probe {DEFAULT_UPSTREAM.removeprefix('https://')}",
            err=True,
        )
    return whom


# ----- how much


def _options(
    question: str,
    rounds: int | None,
    from_s: float | None,
    to_s: float | None,
    seconds: float | None,
    most: int | None,
    resolvers: tuple[tuple[str, int], ...],
) -> Options:
    from holdfast.probes import idle
    from holdfast.probes.asking import HOLDS_S, LADDER_BYTES, Options

    usual = Options()
    low, high = from_s or min(HOLDS_S[0], to_s or HOLDS_S[0]), to_s or max(HOLDS_S[-1], from_s or 0)
    if not 0.5 <= low <= high <= 4 * 3600:
        raise click.UsageError("--from and --to are a shortest and a longest silence, between 1s and 4h")
    if seconds is not None and not 1 <= seconds <= 3600:
        raise click.UsageError("--seconds is between 1s and 1h")
    short = SHORT_TRICKLE_S if question == ALL else usual.trickle_s
    sizes = usual.sizes_bytes
    if most is not None:
        sizes = tuple(sorted({one for one in LADDER_BYTES if one < most} | {most}))
    return Options(
        rounds=rounds,
        holds_s=idle.lengths(low, high),
        keepalive_s=max(1, min(usual.keepalive_s, round(low / 2))),
        sizes_bytes=sizes,
        trickle_s=seconds or short,
        also_resolvers=resolvers,
    )


def _announce(chosen: Sequence[Question], whom: Target, options: Options, yes: bool) -> dict[str, float]:
    """Say what it takes at most, and ask where that is much. Returns when each question has to end, in seconds from the
    first one's beginning: none lives on the time of those behind it."""
    from holdfast.probes.asking import GRACE_S

    costs = [one.cost(whom, options) for one in chosen]
    cost = _together(costs)
    most_s = math.ceil(cost.seconds + GRACE_S)
    ends = [GRACE_S + sum(one.seconds for one in costs[:number]) for number in range(1, len(costs) + 1)]
    what = flights.counted(len(chosen), "question") if len(chosen) > 1 else chosen[0].NAME
    most = (
        f"at most {flights.counted(cost.connections, 'connection')}, about {flights.size(cost.bytes)} and "
        f"{flights.duration(most_s)}. No key is sent."
        if cost.bytes
        else "this machine alone is asked."
    )
    page = options.page
    if page is not None and len(chosen) == 1:
        asked = f"{page.name} ({clean(page.chosen_by)})"
    else:
        asked = f"{whom.name} ({clean(whom.chosen_by)})"
        asked += f", and {page.name}, its public status page" if page is not None else ""
    said = f"Asking {asked}: {what}; {most}"
    if options.networks and any(one.NAME == "path" for one in chosen):
        said += (
            " The addresses of the public hops are told to the first resolver here, and to Team Cymru's DNS."
        )
    private = any(one.NAME in ON_CONSENT for one in chosen)
    if private:
        said += (
            " It belongs to somebody else, and learns the address that this machine has outside; kept are the network and "
            "the place that it names, and not the address."
        )
    click.echo("\n".join(textwrap.wrap(said, reading_width())), err=True)
    if private and not yes:
        if not sys.stdin.isatty():
            raise Misused(
                "that needs your yes, and nobody can be asked here; add --yes to agree: holdfast probe egress --yes."
            )
        click.confirm("Ask it?", abort=True, default=False, err=True)
    if yes or (cost.bytes <= ASK_FROM_BYTES and cost.seconds <= ASK_FROM_S):
        return dict(zip((one.NAME for one in chosen), ends, strict=True))
    if not sys.stdin.isatty():
        raise Misused(
            "that is over a minute or a megabyte, and nobody can be asked here; add --yes to agree."
        )
    click.confirm("Go on?", abort=True, default=True, err=True)
    return dict(zip((one.NAME for one in chosen), ends, strict=True))


def _together(costs: Sequence[Cost]) -> Cost:
    from holdfast.probes.asking import Cost

    return Cost(
        sum(one.connections for one in costs),
        sum(one.bytes for one in costs),
        sum(one.seconds for one in costs),
    )


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C came: the first ends the question with what is known, a second ends all at once."""
    came = False

    def noted(*_: object) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    before = signal.signal(signal.SIGINT, noted)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, before)


def _asked(one: Question, whom: Target, options: Options, stop: Callable[[], bool], until_s: float) -> Result:
    from holdfast.probes.asking import carry_out

    live = sys.stderr.isatty()
    if live:
        click.echo(f"{one.NAME} ...", err=True, nl=False)
    try:
        return carry_out(one, whom, options, stop, until_s)
    finally:
        if live:
            click.echo("\r\x1b[K", err=True, nl=False)


# ----- what came


def _show(result: Result, as_json: bool, *, whole: bool) -> None:
    from holdfast.probes.result import as_dict, line

    if as_json:
        click.echo(line(result))
        return
    told = as_dict(result)
    verdict = clean(told["verdict"], limit=None)
    if result.grade.value == NOT_MEASURED:
        verdict = verdict.removeprefix(f"{NOT_MEASURED} ")
    lines = _row(f"{result.name:<9}  {result.grade.value:<12}", verdict)
    if whole:
        lines += ["", *_row("  shows  ", told["says"]), *_row("  not    ", told["does_not_say"])]
        lines += ["", *(clean(one, limit=reading_width()) for one in _facts(told["facts"]))]
    click.echo("\n".join(lines))


def _row(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        reading_width(),
        initial_indent=f"{head}  ",
        subsequent_indent=" " * (len(head) + 2),
        break_on_hyphens=False,
    )


def _facts(facts: Mapping[str, Any], above: str = "  ") -> Iterator[str]:
    """Facts as lines: names as they are in JSON, `-` for what was not measured, alike rows as a table."""
    plain = {name: _word(value) for name, value in facts.items() if not _has_parts(value)}
    yield from columns([(f"{above}{name}", value) for name, value in plain.items()])
    for name, value in facts.items():
        if not _has_parts(value):
            continue
        yield f"{above}{name}"
        if isinstance(value, dict):
            yield from _facts(value, above + "  ")
        else:
            names = list(value[0])
            rows = [names, *([_word(one.get(key)) for key in names] for one in value)]
            yield from (f"{above}  {row}" for row in columns(rows))


def _has_parts(value: Any) -> bool:
    return bool(value) and (
        isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict))
    )


def _word(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_word(one) for one in value)
    return str(value)


def _say_more(chosen: Sequence[Question], target: str | None) -> None:
    whom = f" {clean(shlex.quote(target))}" if target is not None else ""
    said = f"What a question shows, and what it does not, with its figures: holdfast probe NAME{whom}."
    names = {one.NAME for one in chosen}
    if "idle" not in names:
        said += f" Not asked: idle, which takes up to 15 minutes: holdfast probe idle{whom}."
    said += " Nor egress, which somebody else has to tell: holdfast probe egress."
    if "status" not in names:
        said += f" Nor status, as no page of this upstream is known: holdfast probe status{whom} --page URL."
    click.echo("\n" + "\n".join(textwrap.wrap(said, reading_width())))


def _say_less(results: Sequence[Result], unasked: Sequence[str], target: str | None) -> None:
    """What was cut or left out, once for all."""
    whom = f" {clean(shlex.quote(target))}" if target is not None else ""
    told = []
    cut = [one.name for one in results if "cut_s" in one.facts]
    if cut:
        told.append(
            f"The promised time was over, so cut: {', '.join(cut)}. Alone it has more of it: "
            f"holdfast probe {cut[0]}{whom}."
            if len(results) > 1
            else "The promised time was over: this is what was known by then."
        )
    if unasked:
        told.append(f"Not asked, as no TLS is spoken there: {', '.join(unasked)}.")
    for one in told:
        click.echo("\n".join(textwrap.wrap(one, reading_width())), err=True)


def _network() -> str | None:
    """This machine's network by the name that flights have for it; None where it is not measured."""
    if sys.platform != "linux":
        return None
    from holdfast.flight.salt import salt_of
    from holdfast.gateway.whereabouts import Whereabouts

    try:
        found = Whereabouts(lambda: salt_of(state_dir())).facts(None, 0.0)["network"]
    except (OSError, StateError):
        return None
    return str(found) if found is not None else None


def _keep(results: Sequence[Result]) -> None:
    from holdfast.probes import kept

    try:
        kept.keep(state_dir(), results)
    except (OSError, StateError) as error:
        click.echo(f"The results could not be kept ({clean(str(error))}).", err=True)
