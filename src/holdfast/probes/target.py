"""Whom to ask, and through whom. Values only: who reads settings and environment hands them over."""

from __future__ import annotations

import base64
import ipaddress
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from holdfast.flight.redact import clean, masked_url

API_PATH = "/v1/messages"
"Where uploads go, without a key: refused after they were received, and no token is spent."


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy on the way."""

    host: str
    port: int
    said_by: str
    "The variable or setting that names it."
    authorization: bytes | None = field(default=None, repr=False)
    "Its own login from its URL. Shown to the proxy alone, and to nobody else; never printed or kept."

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port} ({self.said_by})"


@dataclass(frozen=True, slots=True)
class Target:
    """The upstream that is asked."""

    host: str
    port: int
    tls: bool = True
    prefix: str = ""
    proxy: Proxy | None = None
    ca_files: tuple[Path, ...] = ()
    chosen_by: str = "default"
    "Where the name comes from: `TARGET`, `--upstream`, a settings file, `default`."

    @property
    def authority(self) -> str:
        """`host:port`, a bare IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def host_header(self) -> str:
        return self.authority.rpartition(":")[0] if self.port == (443 if self.tls else 80) else self.authority

    @property
    def name(self) -> str:
        """For a person: with the proxy where one stands between."""
        through = f" through the proxy {self.proxy.name}" if self.proxy is not None else ""
        return clean(f"{self.authority}{through}")

    @property
    def typed(self) -> str:
        """What stands behind a command that asks the same target: ` http://127.0.0.1:9`; nothing for the own upstream."""
        if self.chosen_by != "TARGET":
            return ""
        whole = f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}"
        return " " + clean(
            shlex.quote(whole if not self.tls or self.prefix else self.host_header), limit=None
        )

    @property
    def nearest(self) -> tuple[str, int]:
        """Whom this machine itself connects to."""
        return (self.proxy.host, self.proxy.port) if self.proxy is not None else (self.host, self.port)

    @property
    def address(self) -> str | None:
        """The host where it is an address and no name."""
        return self.host if is_address(self.host) else None


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def parse(text: str, chosen_by: str = "TARGET") -> Target:
    """`api.example`, `api.example:8443`, `http://127.0.0.1:8000/prefix`. Raises `ValueError` with advice."""
    text = text.strip()
    write = "write a host, host:port or a base URL"
    if not text:
        raise ValueError(
            f"an empty target names nobody; {write}, or leave it out for the one in your settings"
        )
    bad = f"{masked_url(text)!r} is nothing that can be asked; {write}"
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError:
        raise ValueError(bad) from None
    try:
        port = parts.port
    except ValueError:
        raise ValueError(_no_port(parts.netloc)) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in parts.netloc):
        raise ValueError(bad)
    if parts.username or parts.password:
        raise ValueError("a probe shows no login to anybody; leave out what stands before the @")
    if port == 0:
        raise ValueError(_no_port(parts.netloc))
    if not parts.hostname.isprintable() or len(parts.hostname) > 253:
        raise ValueError(bad)
    tls = parts.scheme == "https"
    prefix = parts.path.rstrip("/")
    if not prefix.isascii() or not prefix.isprintable() or " " in prefix:
        raise ValueError(bad)
    return Target(parts.hostname, port or (443 if tls else 80), tls, prefix, chosen_by=chosen_by)


def _no_port(authority: str) -> str:
    """What is wrong, and in what: a login is not repeated, and what is no number may be half of one."""
    host, _, port = authority.rpartition("@")[2].rpartition(":")
    if "@" in authority or not port.isdigit():
        return "what stands behind the host's colon is no port; write host:port, a port being 1 to 65535"
    return (
        f"{clean(port, limit=20)} in {clean(f'{host}:{port}', limit=300)!r} is no port; ports are 1 to 65535"
    )


def proxy(url: str, said_by: str) -> Proxy:
    """Read a proxy's URL. Raises `ValueError` with advice; the URL itself, which may hold a password, is not quoted."""
    bad = f"the proxy of {said_by} is not one that can be asked; write http://host:port"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or 80
    except ValueError:
        raise ValueError(bad) from None
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(bad)
    login = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = b"Basic " + base64.b64encode(pair.encode())
    return Proxy(parts.hostname, port, said_by, login)
