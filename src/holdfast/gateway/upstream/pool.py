"""Connections to the upstream that wait for their next exchange.

A plain list used as a stack: the one used last is taken first, take and put cost the same whatever the
number. A connection that was idle for longer than `IDLE_S` is never used again: servers close idle
connections whenever they like, and a request lost to such a close is the commonest needless failure
(reference C.4: under 4 s). One timer sweeps the old ones. A younger one is used if neither we nor the
kernel have heard of a close.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from holdfast.gateway.settings import Settings
from holdfast.gateway.upstream.connection import UpstreamConnection
from holdfast.gateway.upstream.dial import Route, UpstreamError, dial, route

__all__ = ["IDLE_S", "Pool", "UpstreamError"]

IDLE_S = 4.0
"Seconds after which an idle connection is not trusted any more (reference C.4)."


class Pool:
    """All connections to one upstream."""

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._now = now
        self._route: Route | None = None
        self._http1_route: Route | None = None
        "The same without HTTP/2, once it was needed."
        self._idle: list[UpstreamConnection] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._on_idle = self._put  # bound once: every connection keeps it

    def __repr__(self) -> str:
        return f"<Pool {self._settings.upstream.origin}, {len(self._idle)} idle>"

    def idle(self) -> UpstreamConnection | None:
        """A connection that may be used again, or None. It is the caller's until its exchange ends."""
        oldest = self._now() - IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since >= oldest and connection.shows_no_close():
                return connection
            connection.abort()
        return None

    def forget_idle(self) -> int:
        """Close what is idle, because the network changed or the machine slept. Returns how many there were."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.abort()
        return len(idle)

    async def connect(self, *, avoid: Sequence[str] = (), http1: bool = False) -> UpstreamConnection:
        """A fresh connection. Raises `UpstreamError`.

        Addresses to `avoid` (`ip:port`, the latest last) are tried last, and the family of the latest after the other.
        `http1` offers no HTTP/2 this time, whatever is set.
        """
        way = self._way(http1)
        return await dial(
            way, on_idle=self._on_idle, on_http1=self._ask_over_http1, avoid=avoid, now=self._now
        )

    async def connect_apart(self) -> UpstreamConnection:
        """A fresh connection over HTTP/1.1 that never comes to the pool. Raises `UpstreamError`."""
        return await dial(self._way(True), now=self._now)

    def _way(self, http1: bool) -> Route:
        if self._route is None:
            self._route = route(self._settings)
        if not (http1 and self._route.http2):
            return self._route
        if self._http1_route is None:
            self._http1_route = route(replace(self._settings, http2=False))
        return self._http1_route

    def check(self) -> None:
        """Read certificate files and proxy settings now. Raises `UpstreamError`, so that a start can fail early."""
        self._route = route(self._settings)

    async def close(self) -> None:
        """Close what is idle; exchanges under way go on, and their connections are closed after it."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self.forget_idle()

    def _ask_over_http1(self) -> None:
        """The upstream wants HTTP/1.1 (RFC 9113's HTTP_1_1_REQUIRED): offer it nothing else from now on."""
        self._settings, self._route = replace(self._settings, http2=False), None
        self.forget_idle()

    def _put(self, connection: UpstreamConnection) -> None:
        """An exchange ended well, and its connection can carry another."""
        if self._closed:
            connection.abort()
            return
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_S, self._sweep_old)

    def _sweep_old(self) -> None:
        """Close what is too old. The list is in order of age, so the old ones stand in front."""
        self._sweep = None
        oldest = self._now() - IDLE_S
        old = 0
        while old < len(self._idle) and self._idle[old].idle_since < oldest:
            self._idle[old].abort()
            old += 1
        del self._idle[:old]
        if self._idle:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_S, self._sweep_old)
