"""A client made of a bare socket: it shows what is on the wire, and how the connection ended."""

from __future__ import annotations

import json
import socket
import ssl
import zlib
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import trustme

PATIENCE_S = 5.0


@dataclass(frozen=True)
class Heard:
    """Everything until the connection ended (or the response did, where it is kept open)."""

    head: str
    body: bytes
    "Without chunk framing."
    whole: bool
    "Whether the HTTP body ended properly."
    ending: str
    "`fin`, `rst`, `ragged` (TLS closed without close_notify), `open`."

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    @property
    def events(self) -> list[str]:
        return [line[7:].decode() for line in self.body.split(b"\n") if line.startswith(b"event: ")]


def ask(
    url: str,
    body: dict[str, Any] | None = None,
    *,
    head: str = "POST /v1/messages?beta=true",
    headers: str = "",
    trust: ssl.SSLContext | None = None,
) -> Heard:
    """Send one request on a fresh connection and listen to the end."""
    with closing(dial(url, trust)) as sock:
        send(sock, body if body is not None else {"stream": True, "messages": []}, head=head, headers=headers)
        return listen(sock)


def dial(url: str, trust: ssl.SSLContext | None = None) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    sock = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE_S)
    # suppress_ragged_eofs would hide the missing close_notify
    return trust.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False) if trust else sock


def send(
    sock: socket.socket, body: Any, *, head: str = "POST /v1/messages?beta=true", headers: str = ""
) -> None:
    data = json.dumps(body).encode()
    sock.sendall(
        f"{head} HTTP/1.1\r\nhost: lab\r\n{headers}content-length: {len(data)}\r\n\r\n".encode() + data
    )


def listen(sock: socket.socket) -> Heard:
    seen, ending = b"", "open"
    while not _complete(seen):
        try:
            data = sock.recv(65536)
        except ssl.SSLEOFError:
            ending = "rst" if _reset_below_tls(sock) else "ragged"
            break
        except ConnectionResetError:
            ending = "rst"
            break
        if not data:
            ending = "fin"
            break
        seen += data
    head, _, rest = seen.partition(b"\r\n\r\n")
    body, whole = _unframed(head, rest)
    return Heard(head.decode(), body, whole, ending)


def _reset_below_tls(sock: socket.socket) -> bool:
    """Python's TLS reports a reset as an end without goodbye; the kernel's state (7, CLOSE) tells them apart."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x07"


def _complete(seen: bytes) -> bool:
    head, blank, rest = seen.partition(b"\r\n\r\n")
    return bool(blank) and _unframed(head, rest)[1]


def _unframed(head: bytes, rest: bytes) -> tuple[bytes, bool]:
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        return _unchunked(rest)
    if b"content-length: " in lower:
        length = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
        return rest, len(rest) >= length
    return rest, False


def _unchunked(rest: bytes) -> tuple[bytes, bool]:
    body = b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        if size == b"0":
            return body, True
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body, False


def gunzip(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(data)


def lab_tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context and that of a client who trusts it."""
    ca = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    ca.configure_trust(client)
    return server, client
