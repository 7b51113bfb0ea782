"""Where settings come from, and which are in force: flag > `HOLDFAST_*` > TOML file > default.

A value keeps its origin, so that an error can name the line to change. Nothing is ignored: a name that nobody knows
is an error with a suggestion, because a setting that is silently not in force is worse than one that is missing.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from holdfast.cli.catalogue import (
    CATALOGUE,
    DEFAULT_LISTEN,
    ELSEWHERE,
    PREFIX,
    Option,
    Parsed,
    Where,
    options_of,
    read,
    show,
)
from holdfast.cli.errors import Misused, Unavailable
from holdfast.flight.journal import Retention
from holdfast.flight.plain_files import read_once
from holdfast.flight.state import state_origin, state_path
from holdfast.gateway.settings import (
    Keepalive,
    Limits,
    RetryRules,
    Settings,
    Sockets,
    Timeouts,
    Tls,
    Upstream,
)
from holdfast.gateway.upstream import proxies
from holdfast.telemetry import traces

# -- where values come from --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Value:
    """A setting in force, and who said so."""

    value: Parsed
    origin: str
    "`--drain`, `HOLDFAST_DRAIN`, `/path/config.toml`, or `default`."


Values = dict[str, Value]


def default_file(environ: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/holdfast/config.toml`, by default in `~/.config`."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "holdfast" / "config.toml"


def suggest(name: str, known: Iterable[str]) -> str:
    """` Did you mean X?`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""


NEVER_UNSET = ("upstream", "token-file")
"What is set to nothing counts as not set, but for these: keys would go to the default's host, or the gateway be open."


def from_environment(environ: Mapping[str, str]) -> Values:
    """The settings among the variables. An unknown `HOLDFAST_` name is an error."""
    by_variable = {option.variable: option for option in CATALOGUE}
    values: Values = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or name in ELSEWHERE:
            continue
        if name not in by_variable:
            raise Misused(
                f"the environment sets {name}, which holdfast does not know."
                f"{suggest(name, [*by_variable, *ELSEWHERE])} Correct it or unset it."
            )
        option = by_variable[name]
        if text:
            values[option.name] = _read_from(option, text, name)
        elif option.name in NEVER_UNSET:
            values[option.name] = Value("", name)
    return values


LONGEST_FILE = 1024 * 1024
"Bytes of a settings file; every setting together makes a few thousand."


def from_file(path: Path) -> Values:
    """The settings of a TOML file. Errors name the file and the key."""
    try:
        # With a byte order mark, as some editors write it, TOML has no first line.
        table = tomllib.loads(read_once(path, LONGEST_FILE).decode("utf-8-sig"))
    except FileNotFoundError:
        raise Misused(f"there is no settings file {path}. Create it, or leave --config out.") from None
    except OSError as error:
        raise Misused(f"the settings file {path} cannot be read: {error}. Check its permissions.") from None
    except UnicodeDecodeError as error:
        raise Misused(f"the settings file {path} is not UTF-8: {error.reason}. Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise Misused(f"the settings file {path} is not TOML: {error}. Correct that line.") from None
    known = {option.name: option for option in CATALOGUE}
    values: Values = {}
    spelled: dict[str, str] = {}
    for key, raw in table.items():
        name = key.replace("_", "-")
        if isinstance(raw, dict):
            raise Misused(f"{path}: settings stand in no section. Leave [{key}] out.")
        if name not in known:
            raise Misused(f"{path}: unknown setting {key!r}.{suggest(name, known)} Correct it or remove it.")
        if spelled.setdefault(name, key) != key:
            raise Misused(f"{path}: {spelled[name]!r} and {key!r} are the same setting. Keep one of them.")
        values[name] = _read_from_toml(known[name], raw, str(path))
    return values


def _read_from(option: Option, text: str, origin: str) -> Value:
    try:
        return Value(read(option, text), origin)
    except ValueError as error:
        shown = "the value" if option.secret else repr(text)
        raise Misused(f"{origin} ({option.name}): {shown} {error}.") from None


def _read_from_toml(option: Option, raw: object, origin: str) -> Value:
    if isinstance(raw, bool):
        if option.kind != "flag":
            raise Misused(
                f'{origin}: {option.name} takes a value, not true or false, such as "{_example(option)}".'
            )
        return Value(raw, origin)
    if isinstance(raw, list) and option.kind in ("paths", "names") and all(isinstance(x, str) for x in raw):
        return Value(_merged([_read_from(option, text, origin).value for text in raw]), origin)
    if isinstance(raw, str | int | float):
        return _read_from(option, str(raw), origin)
    raise Misused(f'{origin}: {option.name} cannot be a {type(raw).__name__}; write "{_example(option)}".')


def _example(option: Option) -> str:
    return _EXAMPLES.get(option.kind, "...")


_EXAMPLES = {
    "seconds": "45m",
    "bytes": "64MB",
    "count": "10",
    "share": "0.1",
    "address": DEFAULT_LISTEN,
    "keepalive": "30/15/4",
}


def gather(
    command: Where, flags: Mapping[str, Any], environ: Mapping[str, str], config: Path | None
) -> Values:
    """All settings of a command with their origins. `flags` as click gives them: None where not given."""
    values: Values = {option.name: Value(option.default, "default") for option in options_of(command)}
    path = config or (Path(environ["HOLDFAST_CONFIG"]) if environ.get("HOLDFAST_CONFIG") else None)
    if path is not None or default_file(environ).is_file():
        values |= _mine(command, from_file(path or default_file(environ)))
    values |= _mine(command, from_environment(environ))
    for option in options_of(command):
        given = flags.get(option.key)
        if given is None or given == ():
            continue
        values[option.name] = _from_flag(option, given)
    return values


def _from_flag(option: Option, given: str | bool | tuple[str, ...]) -> Value:
    origin = f"--{option.name}"
    if isinstance(given, bool):
        return Value(given, origin if given else f"--no-{option.name}")
    if isinstance(given, str):
        return _read_from(option, given, origin)
    return Value(_merged([_read_from(option, text, origin).value for text in given]), origin)


def _merged(parts: list[Parsed]) -> Parsed:
    """The values of a flag that was given several times, as one tuple."""
    every = [item for part in parts if isinstance(part, tuple) for item in part]
    names, paths = [x for x in every if isinstance(x, str)], [x for x in every if isinstance(x, Path)]
    return tuple(names) if names else tuple(paths)


def _mine(command: Where, values: Values) -> Values:
    """Variables and file are shared by `run` and `serve`: each takes what it has."""
    names = {option.name for option in options_of(command)}
    return {name: value for name, value in values.items() if name in names}


# -- flags -------------------------------------------------------------------------------------------------

_METAVARS = {
    "seconds": "DURATION",
    "bytes": "SIZE",
    "count": "N",
    "share": "SHARE",
    "path": "FILE",
    "paths": "FILE",
    "names": "NAME",
    "keepalive": "IDLE/INTERVAL/COUNT",
}
F = TypeVar("F", bound=Callable[..., Any])


def with_settings(command: Where) -> Callable[[F], F]:
    """Give a click command the flags of its settings, `--config` and `--check`."""

    def decorate(function: F) -> F:
        click.option(
            "--check", is_flag=True, help="Print the effective settings with their origin, and exit."
        )(function)
        click.option(
            "--config", "settings_file", type=click.Path(path_type=Path), help="Settings file (TOML)."
        )(function)
        for option in reversed(options_of(command)):
            _flag(option)(function)
        return function

    return decorate


def _flag(option: Option) -> Callable[[F], F]:
    says = option.says
    if option.default not in (None, (), False, 0) and "[default" not in says:
        says += f" [default: {show(option, option.default)}]"
    if option.kind == "flag":
        return click.option(f"--{option.name}/--no-{option.name}", default=None, help=says)
    metavar = (
        "|".join(option.choices)
        or _METAVARS.get(option.kind)
        or {"url": "URL", "proxy": "URL", "address": "HOST:PORT"}.get(option.kind)
    )
    many = option.kind in ("paths", "names")
    return click.option(f"--{option.name}", multiple=many, metavar=metavar, help=says)


def report(values: Values, extra: Iterable[tuple[str, str, str]] = ()) -> str:
    """What `--check` prints: name, value, origin, one setting per line; `extra` rows come first."""
    options = {option.name: option for option in CATALOGUE}
    state = ("(state directory)", str(state_path()), state_origin())
    rows = [state, *extra, *((name, show(options[name], v.value), v.origin) for name, v in values.items())]
    name_width = max(len(row[0]) for row in rows)
    value_width = min(48, max(len(row[1]) for row in rows))
    return "\n".join(
        f"{name:<{name_width}}  {value:<{value_width}}  {origin}" for name, value, origin in rows
    )


# -- what the gateway is given -----------------------------------------------------------------------------

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine by its own name for itself."""
    return host in LOOPBACK or re.fullmatch(r"127\.\d+\.\d+\.\d+", host) is not None


def parse_upstream(url: str, origin: str, *, allow_plain: bool) -> Upstream:
    """An upstream from its URL. Plain http beyond this machine would send the key readable: it needs a flag."""
    if not url:
        raise Misused(
            f"upstream from {origin} is empty; is that a variable that is not set? Give a base URL such as "
            "https://api.anthropic.com, or leave it out."
        )
    try:
        upstream = Upstream.parse(url)
    except ValueError as error:
        raise Misused(f"upstream from {origin}: {error}.") from None
    if upstream.prefix.endswith("/v1/messages"):
        raise Misused(
            f"upstream from {origin} names the path of requests, which clients put behind a base URL themselves. Leave "
            f"it out: {upstream.origin}{upstream.prefix.removesuffix('/v1/messages')}"
        )
    if upstream.scheme == "http" and not is_loopback(upstream.host) and not allow_plain:
        raise Misused(
            f"upstream {upstream.origin} (from {origin}) is plain http to another machine: keys and prompts could be "
            "read on the way. Use https://, or add --allow-plain-upstream if that network is yours."
        )
    return upstream


OTEL_PATH = "/v1/traces"


def otel_from(values: Values) -> str | None:
    """Where traces go, in full; None for nowhere. Raises `Misused`, and `Unavailable` where packages are missing."""
    chosen = values["otel-endpoint"]
    if not chosen.value:
        return None
    said = f"otel-endpoint from {chosen.origin}"
    try:
        # The same rules as for upstream: a base URL, without login and query.
        found = Upstream.parse(str(chosen.value))
    except ValueError as error:
        message = str(error).replace("https://api.anthropic.com", "http://127.0.0.1:4318")
        raise Misused(f"{said}: {message}. Credentials go into OTEL_EXPORTER_OTLP_HEADERS.") from None
    if found.scheme == "http" and not is_loopback(found.host) and not values["allow-plain-otel"].value:
        raise Misused(
            f"{said}: {found.origin} is plain http to another machine: who works with what could be read on the way. "
            "Use https://, or add --allow-plain-otel if that network is yours."
        )
    if not traces.available():
        raise Unavailable(f"{said}: {traces.advice()}")
    return f"{found.origin}{found.prefix or OTEL_PATH}"


def timeouts_from(values: Values) -> Timeouts:
    """The `Timeouts` among the values."""
    return Timeouts(**_fields(values, Timeouts))


def limits_from(values: Values) -> Limits:
    """The `Limits` among the values."""
    return Limits(**_fields(values, Limits))


def retries_from(values: Values) -> RetryRules:
    """The `RetryRules` among the values."""
    return RetryRules(**_fields(values, RetryRules))


def sockets_from(values: Values) -> Sockets:
    """The `Sockets` among the values."""
    fields = _fields(values, Sockets)
    return Sockets(**{**fields, "keepalive": Keepalive.parse(fields["keepalive"])})


def retention_from(values: Values) -> Retention:
    """The `Retention` among the values."""
    return Retention(**_fields(values, Retention))


def _fields(values: Values, kind: type) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    return {o.field: values[o.name].value for o in CATALOGUE if o.field in names and o.name in values}


def tls_from(values: Values, environ: Mapping[str, str]) -> Tls:
    """What TLS towards upstream trusts and shows: the flags, and what the environment names."""
    given = values["ca-file"].value
    files = [path for path in given if isinstance(path, Path)] if isinstance(given, tuple) else []
    for path in files:
        if not path.is_file():
            raise Misused(
                f"there is no file {path} (ca-file, from {values['ca-file'].origin}). Correct the path."
            )
    try:
        seen = proxies.tls_for(environ)
    except ValueError as error:
        raise Misused(f"{error}.") from None
    cert, key = existing_file(values, "client-cert"), existing_file(values, "client-key")
    if key is not None and cert is None:
        raise Misused("client-key was given without client-cert. Give both.")
    # Absolute, because the gateway of `run` lives in another directory.
    trusted = tuple(dict.fromkeys(path.absolute() for path in (*files, *seen.ca_files)))
    if cert is None:
        cert, key = _absolute(seen.client_cert), _absolute(seen.client_key)
    return Tls(trusted, cert, key)


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path is not None else None


def existing_file(values: Values, name: str) -> Path | None:
    """The file that a setting names; None where it names none, an error where it is not there."""
    path = values[name].value
    if not isinstance(path, Path):
        return None
    if not path.is_file():
        raise Misused(f"there is no file {path} ({name}, from {values[name].origin}). Correct the path.")
    return path


def proxy_from(values: Values, upstream: Upstream, environ: Mapping[str, str]) -> str | None:
    """The proxy towards upstream: the setting, else the usual variables; `none` for none. Raises `Misused`."""
    chosen = values["proxy"].value
    if chosen == "none":
        return None
    if chosen:
        return str(chosen)
    try:
        return proxies.proxy_for(upstream, environ)
    except ValueError as error:
        raise Misused(f"{error}.") from None


def idle_proxy(values: Values, upstream: Upstream) -> str | None:
    """Where a proxy comes from that was set and is not used, because upstream is this machine; None where none is.

    The proxy's loopback is another machine, and a setting meant for all upstreams must not break a local one.
    """
    chosen = values["proxy"]
    set_for_nothing = chosen.value not in (None, "none") and proxies.is_loopback(upstream.host)
    return chosen.origin if set_for_nothing else None


def in_force(values: Values, upstream: Upstream, environ: Mapping[str, str]) -> Values:
    """The values, for `--check`, together with what the environment adds to them. Raises `Misused`."""
    shown, tls = dict(values), tls_from(values, environ)
    if values["proxy"].value is None and (proxy := proxies.named_proxy(upstream, environ)) is not None:
        shown["proxy"] = Value(proxy[1], proxy[0])
    idle = idle_proxy(values, upstream)
    if idle is not None:
        shown["proxy"] = Value("none", f"{idle} is not used: upstream is this machine")
    added = [name for name in proxies.CA_VARIABLES if environ.get(name)]
    if added:
        given = [] if values["ca-file"].value == () else [values["ca-file"].origin]
        shown["ca-file"] = Value(tls.ca_files, ", ".join([*given, *added]))
    if values["client-cert"].value is None and tls.client_cert is not None:
        shown["client-cert"] = Value(tls.client_cert, proxies.CERT_VARIABLE)
        shown["client-key"] = Value(tls.client_key, proxies.KEY_VARIABLE if tls.client_key else "default")
    return shown


def common_settings(values: Values, upstream: Upstream, environ: Mapping[str, str]) -> Settings:
    """The part of `Settings` that `run` and `serve` have in common. Raises `Misused` for what could not work."""
    settings = Settings(
        upstream=upstream,
        record=str(values["record"].value),
        http2=values["http2"].value is True,
        witness=values["witness"].value is True,
        proxy=proxy_from(values, upstream, environ),
        tls=tls_from(values, environ),
        sockets=sockets_from(values),
        timeouts=timeouts_from(values),
        limits=limits_from(values),
        hold=frozenset(str(values["hold"].value).split(",")) - {"none"},
        shorten=values["shorten"].value is True,
        splice=values["splice"].value is True,
        hedge_s=float(str(values["hedge"].value)),
        retries=retries_from(values),
        on_doomed=str(values["on-doomed"].value),
        state_dir=state_path(),
    )
    if settings.proxy is not None or settings.tls != Tls():
        _check_way(settings)
    return settings


def _check_way(settings: Settings) -> None:
    """Refuse a proxy or a certificate that no connection could be made with, in the gateway's own words."""
    # Much is loaded with it, and mostly there is nothing to check.
    from holdfast.gateway.upstream.dial import UpstreamError, check_settings

    try:
        check_settings(settings)
    except UpstreamError as error:
        raise Misused(f"{error}.") from None
