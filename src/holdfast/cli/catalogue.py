"""The catalogue of settings: each one's name, kind, default and sentence; how values are read and shown.

From this one table come the flags of `run` and `serve`, the variables (`--drain` is `HOLDFAST_DRAIN`), the keys of the
settings file (`drain = "10m"`), the output of `--check`, and the reference page.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from holdfast.flight.journal import Retention
from holdfast.flight.redact import masked_url
from holdfast.gateway.settings import Keepalive, Limits, RetryRules, Sockets, Timeouts

DEFAULT_UPSTREAM = "https://api.anthropic.com"
DEFAULT_LISTEN = "127.0.0.1:8484"
PREFIX = "HOLDFAST_"
SHORTEST_KEEPALIVE_S = 0.1
"Ten a second do all that keepalives can do; without a bound, 0 would read as none and 1ms would flood the client."
LONGEST_USER_TIMEOUT_S = 24 * 86400.0
"The kernel counts its milliseconds in 31 bits."

ELSEWHERE = {
    "HOLDFAST_STATE_DIR": "where turns and kept answers are, for every command",
    "HOLDFAST_CONFIG": "the settings file, as --config",
    "HOLDFAST_TOKEN": "the access token itself, for `serve` (a flag would show in the process list)",
    "HOLDFAST_DEBUG": "1 shows tracebacks",
}
"Variables that are no entry of the catalogue."

Kind = Literal[
    "text",
    "flag",
    "seconds",
    "bytes",
    "count",
    "share",
    "path",
    "paths",
    "names",
    "url",
    "proxy",
    "address",
    "choice",
    "keepalive",
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
    "The field of `Timeouts`, `Limits`, `RetryRules`, `Sockets` or `Retention` that it sets."
    least: float = 0
    most: float = math.inf
    "Bounds of a number, both allowed."

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper().replace("-", "_")

    @property
    def key(self) -> str:
        """The name as a Python identifier, as click hands it over."""
        return self.name.replace("-", "_")


_T, _L, _R, _A, _S = Timeouts(), Limits(), Retention(), RetryRules(), Sockets()

CATALOGUE: tuple[Option, ...] = (
    Option("upstream", "url", None, f"Where requests go: a base URL. [default: {DEFAULT_UPSTREAM}]"),
    Option("listen", "address", DEFAULT_LISTEN, "Address and port to listen on.", "serve"),
    Option("port", "count", 0, "Loopback port of the gateway; 0 takes a free one.", "run", most=65535),
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
    Option("admin", "address", None, "Address and port for /healthz, /readyz and /metrics.", "serve"),
    Option(
        "otel-endpoint",
        "url",
        None,
        "Where OpenTelemetry traces of turns go (OTLP over HTTP). [default: nowhere]",
    ),
    Option(
        "allow-plain-otel", "flag", False, "Allow traces over http:// to a host that is not this machine."
    ),
    Option(
        "log", "choice", "text", "One line per turn on stdout.", "serve", choices=("text", "json", "none")
    ),
    Option(
        "unbuffer",
        "flag",
        None,
        "Ask for tool arguments as they are written. [default: on under run]",
    ),
    Option(
        "record",
        "choice",
        "lost",
        "Answers that are kept on disk: none, lost ones (whose client had gone, or that broke inside a tool call), or all.",
        choices=("none", "lost", "all"),
    ),
    Option("keep-answers", "seconds", _R.answers_s, "How long kept answers stay.", field="answers_s"),
    Option("keep-size", "bytes", _R.answers_bytes, "How much of them altogether.", field="answers_bytes"),
    Option("keep-turns", "seconds", _R.turns_s, "How long the record of turns stays.", field="turns_s"),
    Option(
        "proxy",
        "proxy",
        None,
        "HTTP proxy towards upstream, or 'none'. [default: HTTPS_PROXY, NO_PROXY]",
        secret=True,
    ),
    Option("http2", "flag", False, "Offer HTTP/2 to upstream; over http://, speak it at once."),
    Option(
        "witness",
        "flag",
        False,
        "When upstream breaks off before it answers, ask its address HEAD / once (at most every minute), without any "
        "header of the client's, to learn which edge stands there.",
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
        "Silence before the client gets a keepalive; at least 100ms, or 1d for none.",
        field="keepalive_s",
        least=SHORTEST_KEEPALIVE_S,
    ),
    Option(
        "connect-timeout",
        "seconds",
        _T.connect_s,
        "DNS, TCP and TLS together, per attempt.",
        field="connect_s",
    ),
    Option(
        "outage-patience",
        "seconds",
        _T.outage_s,
        "How long a turn waits for an upstream that answered before and cannot be reached now.",
        field="outage_s",
    ),
    Option(
        "ip",
        "choice",
        _S.ip,
        "Addresses of upstream that are tried: IPv4, IPv6, or both.",
        choices=("auto", "4", "6"),
        field="ip",
    ),
    Option(
        "tcp-keepalive",
        "keepalive",
        str(_S.keepalive),
        "TCP's own probes on both sides: seconds of silence before the first, seconds between two, and how many "
        "may go unanswered; or off.",
        field="keepalive",
    ),
    Option(
        "tcp-user-timeout",
        "seconds",
        None,
        "How long bytes to upstream may go unacknowledged; 0 leaves it to the system. "
        "[default: as long as tcp-keepalive takes]",
        field="user_timeout_s",
        most=LONGEST_USER_TIMEOUT_S,
    ),
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
    Option(
        "hold",
        "choice",
        "none",
        "Blocks that are told only when they are whole, so that a break in one costs nothing.",
        choices=("none", "tool_use", "tool_use,thinking"),
    ),
    Option(
        "shorten",
        "flag",
        True,
        "End a broken answer where its client goes on by itself: after a completed tool call, or as if cut short.",
    ),
    Option(
        "splice",
        "flag",
        False,
        "Ask for the rest of a broken text and put it behind what there is; the request is changed for that.",
    ),
    Option(
        "hedge",
        "seconds",
        0.0,
        "Silence before an answer's first event after which it is asked for a second time in parallel; 0 for never.",
    ),
    Option(
        "retries",
        "count",
        _A.retries,
        "How often the gateway asks again for one answer that broke; 0 for never.",
        field="retries",
    ),
    Option(
        "retry-wait",
        "seconds",
        _A.retry_wait_s,
        "Before a retry that is not made at once; four times as long before each further one.",
        field="retry_wait_s",
    ),
    Option(
        "retry-share",
        "share",
        _A.retry_share,
        "Retries at most, as a share of all requests in a minute; a few are always allowed.",
        field="retry_share",
    ),
    Option(
        "on-doomed",
        "choice",
        "explain",
        "A request that breaks at the same place again and again is explained, answered so that the client compacts, "
        "or asked without the images of earlier turns.",
        choices=("explain", "compact", "strip-images"),
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


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError("is not a share; write a number from 0 to 1, such as 0.1")
    return share


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", name) is None and not _is_address(name):
            raise ValueError(
                "is not a host name; write it without scheme, port and path, such as gateway.example.com"
            )
    return names


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _proxy(text: str) -> str:
    """The text, if it is `none`, a URL or `HOST:PORT`. What schemes serve is for the gateway to say."""
    text = text.strip()
    if text != "none" and "://" not in text and not re.search(r":\d+/?$", text):
        raise ValueError("is no proxy's address; write one like http://proxy.example.com:3128, or none")
    return text


def _address_text(text: str) -> str:
    read_address(text)
    return text.strip()


_READERS: dict[str, Callable[[str], Parsed]] = {
    "text": str,
    "url": str.strip,
    "proxy": _proxy,
    "flag": read_flag,
    "seconds": read_seconds,
    "bytes": read_bytes,
    "count": _count,
    "share": _share,
    "address": _address_text,
    "keepalive": lambda text: str(Keepalive.parse(text) or "off"),
    "path": lambda text: Path(text).expanduser().absolute(),
    "paths": lambda text: tuple(Path(p).expanduser().absolute() for p in text.split(os.pathsep) if p),
    "names": _names,
}


def read(option: Option, text: str) -> Parsed:
    """A setting's value from its text. Raises `ValueError` whose message goes on after the quoted text."""
    if option.kind == "choice":
        if text not in option.choices:
            raise ValueError(f"is not known; it may be {', '.join(option.choices)}")
        return text
    value = _READERS[option.kind](text)
    if isinstance(value, int | float) and not option.least <= value <= option.most:
        bound = f"least is {show(option, option.least)}"
        if value > option.most:
            bound = f"most is {show(option, option.most)}"
        raise ValueError(f"is out of bounds; the {bound}")
    return value


# -- showing -----------------------------------------------------------------------------------------------


def show(option: Option, value: Parsed) -> str:
    """A value as a person would write it; secrets as `***`."""
    if value is None or value == ():
        return "-"
    if option.secret and option.kind != "proxy":
        return "***"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if option.kind == "seconds" and isinstance(value, float | int):
        return show_seconds(float(value))
    if option.kind == "bytes" and isinstance(value, int):
        return show_bytes(value)
    if option.kind in ("url", "proxy"):
        return masked_url(str(value)) if value != "none" else "none"
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
