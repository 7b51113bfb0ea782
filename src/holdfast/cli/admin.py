"""Health and readiness of a served gateway, on a port of their own.

`GET /healthz`: 200 while the process runs. `GET /readyz`: 200 while it takes new requests, 503 once it drains.
Everything else is 404. One short request per connection, in HTTP/1.1 by hand: a probe needs no more, and what
is not there cannot be misused. The Host header is checked as on the main port, so that no web page can ask.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.cli.config import is_loopback

HEAD_BYTES = 8192
HEAD_S = 5.0
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed"}
_REASONS |= {421: "Misdirected Request", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Guard:
    """Who may ask."""

    hosts: frozenset[str]
    "Names accepted in the Host header besides loopback's."
    any_host: bool = False
    token: str | None = None
    "Must be shown in a `holdfast-token` header; None where loopback is the guard."


def answer(head: bytes, guard: Guard, *, ready: bool) -> tuple[int, str]:
    """Status and text for a request head (up to and without its empty line)."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            return 400, "bad request"
        headers[name.strip().lower()] = value.strip()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return 400, "bad request"
    if not guard.any_host and not _host_known(headers.get("host", ""), guard.hosts):
        return 421, "the Host header names another host; use this address or add the name with --host"
    shown = headers.get("holdfast-token", "")
    if guard.token is not None and not hmac.compare_digest(shown.encode("latin-1"), guard.token.encode()):
        return 401, "show the access token in a holdfast-token header"
    path = words[1].partition("?")[0]
    if path not in ("/healthz", "/readyz"):
        return 404, "there is /healthz and /readyz"
    if words[0] not in ("GET", "HEAD"):
        return 405, "only GET and HEAD"
    if path == "/readyz" and not ready:
        return 503, "draining"
    return 200, "ok"


def _host_known(value: str, hosts: frozenset[str]) -> bool:
    name = value.lower()
    if not name.endswith("]"):
        name = name.rpartition(":")[0] if ":" in name else name
    name = name.removeprefix("[").removesuffix("]")
    return is_loopback(name) or name in hosts


async def listen(host: str, port: int, guard: Guard, ready: Callable[[], bool]) -> asyncio.Server:
    """Answer probes until the server is closed. Raises `OSError` where the address cannot be had."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
                status, text = answer(head[:-4], guard, ready=ready())
                writer.write(_response(status, text, with_body=not head.startswith(b"HEAD ")))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(converse, host, port, limit=HEAD_BYTES)


def _response(status: int, text: str, *, with_body: bool) -> bytes:
    body = text.encode() + b"\n"
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")
