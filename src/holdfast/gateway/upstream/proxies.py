"""Which proxy and which certificates the environment asks for. Pure: the environment is an argument.

The rules are curl's, which most programs follow: the proxy variable is chosen by the scheme of the
upstream, lower case wins over upper case, an empty value means none, `NO_PROXY` excludes. A loopback
upstream is never asked through a proxy: the proxy's loopback is another machine.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from holdfast.gateway.settings import Tls, Upstream


def proxy_for(upstream: Upstream, environ: Mapping[str, str]) -> str | None:
    """The proxy's URL (it may hold a password: show it to nobody), or None for a direct connection. Raises `ValueError`."""
    found = named_proxy(upstream, environ)
    return found[1] if found is not None else None


def named_proxy(upstream: Upstream, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable that names the proxy, and the proxy's URL; None for a direct connection.

    Raises `ValueError` with advice for a bare name: curl takes port 1080 for it, Go 80, Node 443 or none.
    """
    if is_loopback(upstream.host) or excluded(upstream, _first(environ, "no_proxy")[1] or ""):
        return None
    name, chosen = _first(environ, f"{upstream.scheme}_proxy")
    if chosen is None:
        name, chosen = _first(environ, "all_proxy")
    if not chosen:
        return None
    if "://" in chosen:
        return name, chosen
    if not _has_port(chosen):
        raise ValueError(f"{name} names a proxy without its port; write it as http://host:port, or unset it")
    return name, f"http://{chosen}"


def _has_port(address: str) -> bool:
    try:
        return urlsplit(f"//{address}").port is not None
    except ValueError:
        return True  # and which it is will be complained about


def _first(environ: Mapping[str, str], name: str) -> tuple[str, str | None]:
    """Lower case before upper case; None where neither is set, empty where one is set to nothing."""
    chosen = name if name in environ else name.upper()
    value = environ.get(chosen)
    return chosen, None if value is None else value.strip()


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def excluded(upstream: Upstream, no_proxy: str) -> bool:
    """Whether an entry of `NO_PROXY` (commas or spaces between them) covers the upstream.

    An entry is `*`, a domain (with or without a leading dot or `*.`: it covers its subdomains too),
    an address, or a network such as `10.0.0.0/8`; domains and addresses may carry `:port`.
    """
    return any(_covers(entry, upstream) for entry in no_proxy.lower().replace(",", " ").split())


def _covers(entry: str, upstream: Upstream) -> bool:
    if entry == "*":
        return True
    host = upstream.host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if "/" in entry:
        return address is not None and _in_network(address, entry)
    name, port = _split_port(entry)
    if port is not None and port != upstream.port:
        return False
    if address is not None:
        try:
            return ipaddress.ip_address(name) == address
        except ValueError:
            return False
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, int | None]:
    """`host:8080`, `[::1]:8080`, `::1`, `host`."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, port = entry.partition(":")
    else:
        return entry, None
    return name, int(port) if port.isdecimal() else None


CA_VARIABLES = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
CERT_VARIABLE, KEY_VARIABLE = "CLAUDE_CODE_CLIENT_CERT", "CLAUDE_CODE_CLIENT_KEY"


def ca_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Certificates to trust in addition to the system's. Raises `ValueError` with advice for a file that is not there.

    `SSL_CERT_DIR` is not here: OpenSSL reads it by itself.
    """
    return tuple(_existing(environ[name], name) for name in CA_VARIABLES if environ.get(name))


def tls_for(environ: Mapping[str, str]) -> Tls:
    """Everything that the environment says about TLS towards the upstream. Raises `ValueError` with advice."""
    certificate, key = environ.get(CERT_VARIABLE), environ.get(KEY_VARIABLE)
    if key and not certificate:
        raise ValueError(
            "CLAUDE_CODE_CLIENT_KEY is set and CLAUDE_CODE_CLIENT_CERT is not; set both, or unset the key"
        )
    return Tls(
        ca_files=ca_files(environ),
        client_cert=_existing(certificate, CERT_VARIABLE) if certificate else None,
        client_key=_existing(key, KEY_VARIABLE) if key else None,
    )


def _existing(value: str, name: str) -> Path:
    path = Path(value).expanduser()
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(
            f"{name} names {path}, which cannot be read ({error.strerror}); correct or unset it"
        ) from None
