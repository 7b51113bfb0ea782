"""A gateway as one object: listens, carries, drains. The front door for `run`, `serve`, the lab and tests."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeVar

from holdfast.flight.record import Recorder, TurnRecord
from holdfast.gateway import gauges
from holdfast.gateway.accounts import Summary
from holdfast.gateway.engine import Engine
from holdfast.gateway.gauges import Gauges
from holdfast.gateway.listener import Listener
from holdfast.gateway.settings import Settings
from holdfast.gateway.upstream.watch import NetworkWatch, SleepWatch

T = TypeVar("T")
BACKLOG: Final = 1024
_POLL_S: Final = 0.05
OPEN_FILES: Final = 65_536
"What a gateway asks for. Most systems give 1024 unasked, with which 500 turns leave nothing for the next connection."
FILES_ASIDE: Final = 64
"Open files that are no connection's: journal, spools, logs, resolvers."


class Gateway:
    """One gateway process. Make it within a running event loop's thread; `listen` starts it."""

    def __init__(
        self, settings: Settings, recorder: Recorder, *, on_turn: Callable[[TurnRecord], None] | None = None
    ) -> None:
        """`on_turn` is called with each record that has ended; it must not wait and must not raise."""
        self.settings = settings
        self._recorder = recorder
        self._on_turn = on_turn
        self._engine: Engine | None = None
        self._listener: Listener | None = None
        self._server: asyncio.Server | None = None
        self._draining = False
        self._watches: tuple[NetworkWatch | SleepWatch, ...] = ()

    async def listen(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        sock: socket.socket | None = None,
        ssl: ssl.SSLContext | None = None,
    ) -> int:
        """Start to serve, on an address or on a socket that listens already. Returns the port.

        Raises `OSError` where the address cannot be had, `UpstreamError` where TLS or proxy settings are wrong.
        """
        loop = asyncio.get_running_loop()
        engine = Engine(self.settings, self._recorder, loop, on_turn=self._on_turn)
        engine.pool.check()
        limits = self.settings.limits
        listener = Listener(
            loop,
            self.settings.timeouts,
            replace(limits, connections=connections_for(limits.connections, open_files())),
            engine.on_request,
            engine.refused,
            keepalive=self.settings.sockets.keepalive,
        )
        handshake = self.settings.timeouts.request_head_s if ssl is not None else None
        if sock is not None:
            self._server = await loop.create_server(
                listener.connection, sock=sock, ssl=ssl, ssl_handshake_timeout=handshake, backlog=BACKLOG
            )
        else:
            self._server = await loop.create_server(
                listener.connection,
                host,
                port,
                ssl=ssl,
                ssl_handshake_timeout=handshake,
                backlog=BACKLOG,
                reuse_address=True,
            )
        self._engine, self._listener = engine, listener
        network = NetworkWatch(loop, lambda what: engine.network_changed(what, network.way_out))
        self._watches = (
            network,
            SleepWatch(loop, lambda slept_s: engine.machine_slept(slept_s, network.way_out)),
        )
        for watch in self._watches:
            watch.start()
        found = self._server.sockets[0].getsockname()[1]
        return int(found)

    @property
    def ready(self) -> bool:
        """Whether new turns are taken."""
        return self._server is not None and not self._draining

    def open_turns(self) -> list[TurnRecord]:
        """Records of the turns that are not over."""
        return [] if self._engine is None else self._engine.open_turns()

    def summary(self) -> Summary:
        """The counts since the start."""
        return Summary() if self._engine is None else self._engine.summary

    def gauges(self) -> Gauges:
        """How it stands at this moment."""
        if self._engine is None or self._listener is None:
            return Gauges()
        return gauges.read(self._engine, len(self._listener.connections))

    def client_gone(self) -> None:
        """Under `run`: the command has exited, so no turn has anybody to finish for."""
        if self._engine is not None:
            self._engine.client_gone()

    async def drain(self, seconds: float) -> None:
        """Take nothing new, let turns end for at most `seconds`, then close."""
        self._draining = True
        if self._server is not None:
            self._server.close()
        if self._engine is not None and self._listener is not None:
            self._listener.close_idle()
            ends = self._engine.loop.time() + seconds
            # Turns stop being owed in many ways; asking now and then is simpler than hearing of each.
            while self._owes() and self._engine.loop.time() < ends:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)
        await self.close()

    def _owes(self) -> bool:
        assert self._engine is not None and self._listener is not None
        return self._engine.busy() or self._listener.flushing()

    async def close(self) -> None:
        """End every turn and close every connection, now."""
        self._draining = True
        for watch in self._watches:
            watch.close()
        if self._server is not None:
            self._server.close()
        if self._engine is not None and self._listener is not None:
            self._engine.stop_all("the gateway is stopping")
            self._listener.close()
            await self._engine.pool.close()
        await asyncio.sleep(0)


def open_files() -> int:
    """How many files this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def connections_for(wanted: int, files: int) -> int:
    """How many clients may be connected, each with a connection of its own to upstream.

    Beyond what the system allows, the event loop would close new connections without a word; this way they are told.
    """
    return min(wanted, max(1, (files - FILES_ASIDE) // 2)) if files >= 0 else wanted


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where it is installed, else on asyncio's own loop; for the main program of a process."""
    _collect_seldom()
    _allow_open_files()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def _allow_open_files() -> None:
    """As many as are needed, as far as this user may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if 0 <= soft < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _collect_seldom() -> None:
    """Look for garbage in cycles less often than Python does, and never in what was imported.

    By default it looks after every 700 new objects, which took 8% of a short turn's time, and with 10,000 it still
    looked through the moments that wait to be written: 5 ms at a time. A turn leaves nothing in cycles unless something
    went wrong (9 objects in 200 turns); its bodies and connections are given back when it ends, collected or not.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
