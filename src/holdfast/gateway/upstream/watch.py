"""News of this machine that concern every connection: its network changed, or it slept.

Both watchers do without where they must: a system without rtnetlink, a sandbox that forbids it. Then an outage ends
with the next probe, two seconds later at most, and nobody is worse off than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import sys
from collections.abc import Callable
from typing import Final

from holdfast.flight.instant import Instant, suspended_s
from holdfast.flight.instant import now as instant_now
from holdfast.gateway.network import GROUPS, Network, questions
from holdfast.gateway.sleep import Drift

log = logging.getLogger("holdfast.gateway")

SETTLE_S: Final = 0.1
"A cable brings a link, two addresses and five routes within milliseconds: that is one change."
TICK_S: Final = 5.0
"How often the clocks are compared."


class NetworkWatch:
    """Listens for changes of links, addresses and routes. Linux only; elsewhere it hears nothing."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_change: Callable[[str], None], *, settle_s: float = SETTLE_S
    ) -> None:
        """`on_change` is given what changed (`wlan0 is down, the default route by wlan0 is gone`); it must not raise."""
        self._loop = loop
        self._on_change = on_change
        self._settle_s = settle_s
        self._sock: socket.socket | None = None
        self._network = Network(0)
        self._questions: list[bytes] = []
        self._news: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<NetworkWatch {'deaf' if self._sock is None else self._network}>"

    @property
    def way_out(self) -> bool:
        """Whether packets could leave this machine, as far as it knows; where nothing is heard, they could.

        While they could not, silence proves nothing: a connection whose network is away for half a minute
        usually outlives that, and to find it dead by fast probes would be to kill it.
        """
        return self._sock is None or bool(self._questions) or self._network.way_out

    def start(self) -> bool:
        """Begin to listen. False where that is not possible, which is no error."""
        if sys.platform != "linux":
            return False
        sock = None
        try:
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            sock.setblocking(False)
            sock.bind((0, GROUPS))
            self._loop.add_reader(sock.fileno(), self._readable)
        except (OSError, NotImplementedError) as error:
            log.debug("changes of the network are not heard of: %s", error)
            if sock is not None:
                sock.close()
            return False
        self._sock = sock
        self._ask_for_everything(sock)
        return True

    def close(self) -> None:
        """Listen no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sock is not None:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _ask_for_everything(self, sock: socket.socket) -> None:
        self._network = Network(sock.getsockname()[0])
        self._questions = questions()
        self._ask_next()

    def _ask_next(self) -> None:
        if self._questions and self._sock is not None:
            question = self._questions.pop(0)
            with contextlib.suppress(OSError):  # then it is news the first time it is told
                self._sock.send(question)

    def _readable(self) -> None:
        while self._sock is not None:
            try:
                data = self._sock.recv(1 << 16)
                self._news += self._network.heard(data)
                if self._network.answers(data):
                    self._ask_next()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    self._stop(error)
                    return
                # More was told than we could take in: what is known may be wrong now.
                self._news.append("much at once")
                self._ask_for_everything(self._sock)
            except ValueError as error:
                self._stop(error)
                return
        if self._news and self._timer is None:
            self._timer = self._loop.call_later(self._settle_s, self._tell)

    def _stop(self, error: Exception) -> None:
        log.debug("changes of the network are not heard of any more: %s", error)
        self.close()

    def _tell(self) -> None:
        self._timer = None
        news, self._news = list(dict.fromkeys(self._news)), []
        more = f" and {len(news) - 3} more" if len(news) > 3 else ""
        self._on_change(", ".join(news[:3]) + more)


class SleepWatch:
    """Compares the clocks every few seconds."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_sleep: Callable[[float], None],
        *,
        tick_s: float = TICK_S,
        clocks: Callable[[], tuple[Instant, float | None]] = lambda: (instant_now(), suspended_s()),
    ) -> None:
        """`on_sleep` is given the seconds that the machine slept; it must not raise. It comes after waking up."""
        self._loop = loop
        self._on_sleep = on_sleep
        self._tick_s = tick_s
        self._clocks = clocks
        self._drift = Drift(*clocks())
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._timer = self._loop.call_later(self._tick_s, self._tick)

    def close(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self.start()
        slept_s = self._drift.tick(*self._clocks())
        if slept_s is not None:
            self._on_sleep(slept_s)
