"""Which proxy and which certificates an environment asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.gateway.settings import Tls, Upstream
from holdfast.gateway.upstream.proxies import ca_files, is_loopback, proxy_for, tls_for

P, Q = "http://proxy:3128", "http://other:8080"
API = "https://api.example.com"


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        (API, {}, None),
        (API, {"HTTPS_PROXY": P}, P),
        (API, {"https_proxy": P}, P),
        (API, {"https_proxy": P, "HTTPS_PROXY": Q}, P),
        (API, {"https_proxy": "", "HTTPS_PROXY": Q}, None),
        (API, {"HTTPS_PROXY": "", "ALL_PROXY": Q}, None),
        (API, {"HTTP_PROXY": P}, None),
        (API, {"ALL_PROXY": P}, P),
        (API, {"all_proxy": P, "HTTPS_PROXY": Q}, Q),
        (API, {"HTTPS_PROXY": "proxy:3128"}, P),
        (API, {"HTTPS_PROXY": f" {P} "}, P),
        ("http://api.example.com", {"HTTP_PROXY": P, "HTTPS_PROXY": Q}, P),
        ("http://api.example.com", {"HTTPS_PROXY": Q}, None),
        ("http://127.0.0.1:8000", {"HTTP_PROXY": P, "ALL_PROXY": P}, None),
        ("https://localhost:8000", {"HTTPS_PROXY": P}, None),
        ("https://[::1]:8000", {"HTTPS_PROXY": P}, None),
    ],
)
def test_the_proxy_is_chosen_as_curl_chooses_it(
    url: str, environ: dict[str, str], expected: str | None
) -> None:
    """By scheme, lower case first, empty means none, loopback never."""
    assert proxy_for(Upstream.parse(url), environ) == expected


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        (API, "*", True),
        (API, "api.example.com", True),
        (API, "example.com", True),
        (API, ".example.com", True),
        (API, "*.example.com", True),
        ("https://example.com", ".example.com", True),
        (API, "API.Example.COM.", True),
        (API, "ample.com", False),
        (API, "other.example.com", False),
        (API, "localhost, example.com", True),
        (API, "localhost example.com", True),
        (API, "localhost,,127.0.0.1", False),
        (API, "", False),
        (API, ".", False),
        (API, "example.com:443", True),
        (API, "example.com:8443", False),
        (f"{API}:8443", "example.com:8443", True),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://10.1.2.3", "10.1.0.0/16,192.168.0.0/16", True),
        ("https://11.1.2.3", "10.0.0.0/8", False),
        ("https://10.1.2.3", "2.3", False),
        ("https://10.1.2.3", "10.1.2.3:443", True),
        ("https://10.1.2.3", "nonsense/8", False),
        (API, "10.0.0.0/8", False),
        ("https://[2001:db8::7]", "2001:db8::7", True),
        ("https://[2001:db8::7]", "[2001:db8::7]", True),
        ("https://[2001:db8::7]", "[2001:db8::7]:443", True),
        ("https://[2001:db8::7]", "2001:db8::/32", True),
        ("https://[2001:db8::7]", "10.0.0.0/8", False),
    ],
)
def test_no_proxy_excludes(url: str, no_proxy: str, direct: bool) -> None:
    """Domains with their subdomains, addresses, networks, ports, and the star."""
    environ = {"ALL_PROXY": P, "NO_PROXY": no_proxy}
    assert proxy_for(Upstream.parse(url), environ) == (None if direct else P)
    assert proxy_for(Upstream.parse(url), {**environ, "no_proxy": "*"}) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("api.localhost", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback_is_recognised(host: str, expected: bool) -> None:
    """By name and by address; a name that only looks like it is not."""
    assert is_loopback(host) is expected


def test_certificates_come_from_the_environment(tmp_path: Path) -> None:
    """Each variable adds its file; none set is the system's store alone."""
    ca, extra, certificate, key = (tmp_path / name for name in ("ca", "extra", "certificate", "key"))
    for path in (ca, extra, certificate, key):
        path.touch()
    assert tls_for({}) == Tls()
    assert tls_for({"SSL_CERT_FILE": "", "NODE_EXTRA_CA_CERTS": str(extra)}) == Tls(ca_files=(extra,))
    assert tls_for(
        {
            "SSL_CERT_FILE": str(ca),
            "NODE_EXTRA_CA_CERTS": str(extra),
            "CLAUDE_CODE_CLIENT_CERT": str(certificate),
            "CLAUDE_CODE_CLIENT_KEY": str(key),
        }
    ) == Tls((ca, extra), certificate, key)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CLAUDE_CODE_CLIENT_CERT"])
def test_a_missing_file_is_named_with_its_variable(name: str, tmp_path: Path) -> None:
    """The error says which variable, which file, and what to do."""
    missing = tmp_path / "missing.pem"
    with pytest.raises(
        ValueError, match=f"{name} names {missing}, which cannot be read.*correct or unset it"
    ):
        tls_for({name: str(missing)})


def test_a_key_without_its_certificate_is_an_error() -> None:
    """Half a client certificate would be silently ignored otherwise."""
    with pytest.raises(ValueError, match="CLAUDE_CODE_CLIENT_CERT is not"):
        tls_for({"CLAUDE_CODE_CLIENT_KEY": "/k"})


def test_only_the_certificate_files_are_taken(tmp_path: Path) -> None:
    """`SSL_CERT_DIR` is OpenSSL's own business."""
    assert ca_files({"SSL_CERT_DIR": str(tmp_path)}) == ()
