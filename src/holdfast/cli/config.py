"""Every setting, where it may come from, and what is in force: flag > `HOLDFAST_*` > TOML file > default.

One table (`CATALOGUE`) gives each setting its name, kind, default and sentence. From it come the flags of
`run` and `serve`, the variables (`--drain` is `HOLDFAST_DRAIN`), the keys of the file (`drain = "10m"`), the
output of `--check`, and the reference page. A value keeps its origin, so that an error can name the line to
change. Nothing is ignored: a name that nobody knows is an error with a suggestion, because a setting that is
silently not in force is worse than one that is missing.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from holdfast.cli.errors import Misused
from holdfast.flight.journal import Retention
from holdfast.flight.state import state_path
from holdfast.gateway.settings import Limits, Settings, Timeouts, Tls, Upstream
from holdfast.gateway.upstream import proxies

DEFAULT_UPSTREAM = "https://api.anthropic.com"
DEFAULT_LISTEN = "127.0.0.1:8484"
PREFIX = "HOLDFAST_"

ELSEWHERE = {
    "HOLDFAST_STATE_DIR": "where turns and kept answers are, for every command",
    "HOLDFAST_CONFIG": "the settings file, as --config",
    "HOLDFAST_TOKEN": "the access token itself, for `serve` (a flag would show in the process list)",
    "HOLDFAST_DEBUG": "1 shows tracebacks",
}
"Variables that are no entry of the catalogue."

Kind = Literal[
    "text", "flag", "seconds", "bytes", "count", "path", "paths", "names", "url", "address", "choice"
]
Where = Literal["run", "serve", "both"]
Parsed = str | bool | float | int | Path | tuple[str, ...] | tuple[Path, ...] | None


@dataclass(frozen=True, slots=True)
class Option:
    """One setting."""

    name: str
    "As in the flag without its dashes, and as in the file: `tls-cert`."
    kind: Kind
    default: Parsed
    says: str
    where: Where = "both"
    choices: tuple[str, ...] = ()
    secret: bool = False
    field: str = ""
    "The field of `Timeouts`, `Limits` or `Retention` that it sets."

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper().replace("-", "_")

    @property
    def key(self) -> str:
        """The name as a Python identifier, as click hands it over."""
        return self.name.replace("-", "_")


_T, _L, _R = Timeouts(), Limits(), Retention()

CATALOGUE: tuple[Option, ...] = (
    Option("upstream", "url", None, f"Where requests go: a base URL. [default: {DEFAULT_UPSTREAM}]"),
    Option("listen", "address", DEFAULT_LISTEN, "Address and port to listen on.", "serve"),
    Option("port", "count", 0, "Loopback port of the gateway; 0 takes a free one.", "run"),
    Option("allow-plain-upstream", "flag", False, "Allow http:// to a host that is not this machine."),
    Option("token-file", "path", None, "File with the access token that clients must show.", "serve"),
    Option("tls-cert", "path", None, "Certificate chain (PEM) to serve TLS with.", "serve"),
    Option("tls-key", "path", None, "Its private key (PEM).", "serve"),
    Option(
        "behind-tls-proxy",
        "flag",
        False,
        "Something in front of this gateway ends TLS and checks the Host header.",
        "serve",
    ),
    Option("host", "names", (), "Host name that clients may use; may be repeated.", "serve"),
    Option("admin", "address", None, "Address and port for /healthz and /readyz.", "serve"),
    Option(
        "log", "choice", "text", "One line per turn on stdout.", "serve", choices=("text", "json", "none")
    ),
    Option(
        "unbuffer",
        "flag",
        None,
        "Ask for tool arguments as they are written. [default: on under run where upstream is Anthropic's]",
    ),
    Option(
        "record",
        "choice",
        "lost",
        "Answers that are kept on disk: none, those whose client had gone, or all.",
        choices=("none", "lost", "all"),
    ),
    Option("keep-answers", "seconds", _R.answers_s, "How long kept answers stay.", field="answers_s"),
    Option("keep-size", "bytes", _R.answers_bytes, "How much of them altogether.", field="answers_bytes"),
    Option("keep-turns", "seconds", _R.turns_s, "How long the record of turns stays.", field="turns_s"),
    Option(
        "proxy",
        "url",
        None,
        "HTTP proxy towards upstream, or 'none'. [default: HTTPS_PROXY, NO_PROXY]",
        secret=True,
    ),
    Option("ca-file", "paths", (), "Certificates (PEM) to trust besides the system's; may be repeated."),
    Option("client-cert", "path", None, "Client certificate (PEM) to show upstream."),
    Option("client-key", "path", None, "Its private key (PEM)."),
    Option(
        "drain",
        "seconds",
        _T.drain_s,
        "After SIGTERM, how long unfinished turns may go on.",
        "serve",
        field="drain_s",
    ),
    Option(
        "keepalive",
        "seconds",
        _T.keepalive_s,
        "Silence before the client gets a keepalive.",
        field="keepalive_s",
    ),
    Option("connect", "seconds", _T.connect_s, "DNS, TCP and TLS together, per attempt.", field="connect_s"),
    Option("quiet", "seconds", _T.quiet_s, "Silence of upstream before an honest error.", field="quiet_s"),
    Option(
        "orphan",
        "seconds",
        _T.orphan_s,
        "How long an answer goes on with nobody listening.",
        field="orphan_s",
    ),
    Option(
        "unheard",
        "seconds",
        _T.unheard_s,
        "How long a finished, unheard answer waits for a retry.",
        field="unheard_s",
    ),
    Option(
        "cancel-grace",
        "seconds",
        _T.cancel_grace_s,
        "Between a cancel and stopping upstream.",
        field="cancel_grace_s",
    ),
    Option(
        "request-head",
        "seconds",
        _T.request_head_s,
        "For a client to send its request head.",
        field="request_head_s",
    ),
    Option(
        "request-body",
        "seconds",
        _T.request_body_s,
        "Between two pieces of a request body.",
        field="request_body_s",
    ),
    Option(
        "idle-connection",
        "seconds",
        _T.idle_connection_s,
        "A client connection without a request on it.",
        field="idle_connection_s",
    ),
    Option("max-head", "bytes", _L.head_bytes, "Request line and headers together.", field="head_bytes"),
    Option("max-body", "bytes", _L.body_bytes, "A request body.", field="body_bytes"),
    Option("max-connections", "count", _L.connections, "Client connections at once.", field="connections"),
    Option(
        "max-orphan",
        "bytes",
        _L.orphan_bytes,
        "The answer of a turn that nobody follows.",
        field="orphan_bytes",
    ),
    Option(
        "max-memory",
        "bytes",
        _L.memory_bytes,
        "Of one answer kept in memory; the rest goes to a file.",
        field="memory_bytes",
    ),
    Option(
        "max-request-memory",
        "bytes",
        _L.request_memory_bytes,
        "Of one request in memory.",
        field="request_memory_bytes",
    ),
    Option(
        "max-all-memory",
        "bytes",
        _L.all_memory_bytes,
        "Of all answers and requests.",
        field="all_memory_bytes",
    ),
    Option("max-answer", "bytes", _L.answer_bytes, "One answer altogether.", field="answer_bytes"),
)


def options_of(command: Where) -> tuple[Option, ...]:
    """The settings that a command has, in the order of its help."""
    return tuple(o for o in CATALOGUE if o.where in (command, "both"))


# -- reading values ----------------------------------------------------------------------------------------

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1,
    "b": 1,
    "kb": 1 << 10,
    "mb": 1 << 20,
    "gb": 1 << 30,
    "k": 1 << 10,
    "m": 1 << 20,
    "g": 1 << 30,
}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def read_seconds(text: str) -> float:
    """Seconds of "45m", "10s", "1h30m", "250ms" or a bare number of seconds. Raises `ValueError`."""
    text = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise ValueError("is not a duration; write one like 10s, 45m or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def read_bytes(text: str) -> int:
    """Bytes of "64MB", "256k" or a bare number of bytes; units are powers of 1024. Raises `ValueError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?i?b?)", text.strip().lower())
    if match is None:
        raise ValueError("is not a size; write one like 256KB, 64MB or 1GB")
    return int(float(match[1]) * _BYTES[match[2].replace("i", "")])


def read_flag(text: str) -> bool:
    """Yes or no. Raises `ValueError`."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("is neither yes nor no; write true or false")


def read_address(text: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:8484" or "[::1]:8484". Raises `ValueError`."""
    host, colon, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("is not an address; write HOST:PORT, such as 127.0.0.1:8484")
    return host, int(port)


def _count(text: str) -> int:
    if not text.strip().isdigit():
        raise ValueError("is not a number; write a whole number")
    return int(text)


def _address_text(text: str) -> str:
    read_address(text)
    return text.strip()


_READERS: dict[str, Callable[[str], Parsed]] = {
    "text": str,
    "url": str.strip,
    "flag": read_flag,
    "seconds": read_seconds,
    "bytes": read_bytes,
    "count": _count,
    "address": _address_text,
    "path": lambda text: Path(text).expanduser().absolute(),
    "paths": lambda text: tuple(Path(p).expanduser().absolute() for p in text.split(os.pathsep) if p),
    "names": lambda text: tuple(name.strip() for name in text.split(",") if name.strip()),
}


def read(option: Option, text: str) -> Parsed:
    """A setting's value from its text. Raises `ValueError` whose message goes on after the quoted text."""
    if option.kind == "choice":
        if text not in option.choices:
            raise ValueError(f"is not known; it may be {', '.join(option.choices)}")
        return text
    return _READERS[option.kind](text)


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
        if text:
            option = by_variable[name]
            values[option.name] = _read_from(option, text, name)
    return values


def from_file(path: Path) -> Values:
    """The settings of a TOML file. Errors name the file and the key."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Misused(f"there is no settings file {path}. Create it, or leave --config out.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Misused(f"the settings file {path} cannot be read: {error}. Check its permissions.") from None
    except tomllib.TOMLDecodeError as error:
        raise Misused(f"the settings file {path} is not TOML: {error}. Correct that line.") from None
    known = {option.name: option for option in CATALOGUE}
    values: Values = {}
    for key, raw in table.items():
        name = key.replace("_", "-")
        if name not in known:
            raise Misused(f"{path}: unknown setting {key!r}.{suggest(name, known)} Correct it or remove it.")
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
    return {"seconds": "45m", "bytes": "64MB", "count": "10", "address": DEFAULT_LISTEN}.get(
        option.kind, "..."
    )


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
    "path": "FILE",
    "paths": "FILE",
    "names": "NAME",
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
        or {"url": "URL", "address": "HOST:PORT"}.get(option.kind)
    )
    many = option.kind in ("paths", "names")
    return click.option(f"--{option.name}", multiple=many, metavar=metavar, help=says)


# -- showing -----------------------------------------------------------------------------------------------


def show(option: Option, value: Parsed) -> str:
    """A value as a person would write it; secrets as `***`."""
    if value is None or value == ():
        return "-"
    if option.secret:
        return "***" if value != "none" else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if option.kind == "seconds" and isinstance(value, float | int):
        return show_seconds(float(value))
    if option.kind == "bytes" and isinstance(value, int):
        return show_bytes(value)
    if option.kind == "url":
        return re.sub(r"//[^/@]*@", "//***@", str(value))
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    return str(value)


def show_seconds(seconds: float) -> str:
    """`45m`, `10s`, `1h30m`, `250ms`."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    if seconds >= 86400 and seconds % 86400 == 0:
        return f"{seconds / 86400:g}d"
    whole, text = int(seconds), ""
    for unit, size in (("h", 3600), ("m", 60)):
        if whole >= size:
            text, whole = text + f"{whole // size}{unit}", whole % size
    rest = whole + (seconds - int(seconds))
    return text + (f"{rest:g}s" if rest or not text else "")


def show_bytes(size: int) -> str:
    """`64MB`, `256KB`."""
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def report(values: Values, extra: Iterable[tuple[str, str, str]] = ()) -> str:
    """What `--check` prints: name, value, origin, one setting per line; `extra` rows come first."""
    options = {option.name: option for option in CATALOGUE}
    state = ("(state directory)", str(state_path()), "HOLDFAST_STATE_DIR, or the user's own")
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
    try:
        upstream = Upstream.parse(url)
    except ValueError as error:
        raise Misused(f"upstream from {origin}: {error}.") from None
    if upstream.scheme == "http" and not is_loopback(upstream.host) and not allow_plain:
        raise Misused(
            f"upstream {upstream.origin} (from {origin}) is plain http to another machine: keys and prompts could be "
            "read on the way. Use https://, or add --allow-plain-upstream if that network is yours."
        )
    return upstream


def timeouts_from(values: Values) -> Timeouts:
    """The `Timeouts` among the values."""
    return Timeouts(**_fields(values, Timeouts))


def limits_from(values: Values) -> Limits:
    """The `Limits` among the values."""
    return Limits(**_fields(values, Limits))


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
    """The proxy towards upstream: the setting, else the usual variables; `none` for none."""
    chosen = values["proxy"].value
    if chosen == "none":
        return None
    return str(chosen) if chosen else proxies.proxy_for(upstream, environ)


def common_settings(values: Values, upstream: Upstream, environ: Mapping[str, str]) -> Settings:
    """The part of `Settings` that `run` and `serve` have in common."""
    return Settings(
        upstream=upstream,
        record=str(values["record"].value),
        proxy=proxy_from(values, upstream, environ),
        tls=tls_from(values, environ),
        timeouts=timeouts_from(values),
        limits=limits_from(values),
        state_dir=state_path(),
    )
