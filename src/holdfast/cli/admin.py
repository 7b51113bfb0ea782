"""Health, readiness and metrics of a served gateway, on a port of their own.

`GET /healthz`: 200 while the process runs. `GET /readyz`: 200 while it takes new requests, 503 once it drains.
`GET /metrics`: numbers for Prometheus.
Everything else is 404. One short request per connection, in HTTP/1.1 by hand: a probe needs no more, and what
is not there cannot be misused. The Host header is checked as on the main port, so that no web page can ask. The
access token is shown in a `holdfast-token` header, or as scrapers do it: `Authorization: Bearer TOKEN`.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.cli.config import is_loopback

HEAD_BYTES = 8192
HEAD_S = 5.0
SEND_S = 30.0
TEXT = "text/plain; charset=utf-8"
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed"}
_REASONS |= {421: "Misdirected Request", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Guard:
    """Who may ask."""

    hosts: frozenset[str]
    "Names accepted in the Host header besides loopback's."
    any_host: bool = False
    token: str | None = None
    "Must be shown; None where loopback is the guard."


class Reply(NamedTuple):
    """What is answered."""

    status: int
    text: str
    metrics_for: str | None = None
    "The Accept header of one who may have the metrics, instead of the text; None for all else."


Metrics = Callable[[str], Awaitable[tuple[bytes, str]]]
"The page for one who accepts this, and its content type."


def answer(head: bytes, guard: Guard, *, ready: bool) -> Reply:
    """What is answered to a request head (up to and without its empty line)."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            return Reply(400, "bad request")
        headers[name.strip().lower()] = value.strip()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return Reply(400, "bad request")
    if not guard.any_host and not _host_known(headers.get("host", ""), guard.hosts):
        return Reply(421, "the Host header names another host; use this address or add the name with --host")
    shown = headers.get("holdfast-token") or _bearer(headers.get("authorization", ""))
    if guard.token is not None and not hmac.compare_digest(shown.encode("latin-1"), guard.token.encode()):
        return Reply(401, "show the access token in a holdfast-token header, or as bearer token")
    path = words[1].partition("?")[0]
    if path not in ("/healthz", "/readyz", "/metrics"):
        return Reply(404, "there is /healthz, /readyz and /metrics")
    if words[0] not in ("GET", "HEAD"):
        return Reply(405, "only GET and HEAD")
    if path == "/readyz" and not ready:
        return Reply(503, "draining")
    return Reply(200, "ok", headers.get("accept", "") if path == "/metrics" else None)


def _bearer(value: str) -> str:
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _host_known(value: str, hosts: frozenset[str]) -> bool:
    name = value.lower()
    if not name.endswith("]"):
        name = name.rpartition(":")[0] if ":" in name else name
    name = name.removeprefix("[").removesuffix("]")
    return is_loopback(name) or name in hosts


async def listen(
    host: str, port: int, guard: Guard, ready: Callable[[], bool], metrics: Metrics
) -> asyncio.Server:
    """Answer probes and scrapers until the server is closed. Raises `OSError` where the address cannot be had."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
            reply = answer(head[:-4], guard, ready=ready())
            async with asyncio.timeout(SEND_S):
                body, content_type = reply.text.encode() + b"\n", TEXT
                if reply.metrics_for is not None:
                    body, content_type = await metrics(reply.metrics_for)
                whole = not head.startswith(b"HEAD ")
                writer.write(_response(reply.status, body, content_type, whole=whole))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(converse, host, port, limit=HEAD_BYTES)


def _response(status: int, body: bytes, content_type: str, *, whole: bool) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + (body if whole else b"")
