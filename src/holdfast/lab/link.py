"""A TCP relay that can be made to fail: it stands for the path between two programs.

By command, on all its connections, now (and on new ones while it lasts):

    link.stall(); link.flow(); link.delay(0.2); link.drop(Way.DOWN); link.reset(End.CLIENT); link.close()

Or by plan, per connection, at an exact byte or after a time:

    Link(host, port, plan=[(AfterBytes(500), Reset()), ...])

What it cannot do: a stalled link still acknowledges what arrives until its buffers are full, because
the kernel does. A path that is dark (no acknowledgements at all) needs a packet filter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic
from typing import cast

from holdfast.lab.hosting import Hosted
from holdfast.lab.provider import reset_on_close


class Way(Enum):
    """A direction through the link."""

    UP = "up"
    "From the client to the target."
    DOWN = "down"
    "From the target to the client."
    BOTH = "both"

    def covers(self, other: Way) -> bool:
        """Whether a trouble this way touches the other one."""
        return self is Way.BOTH or self is other


class End(Enum):
    """One end of the link, or both."""

    CLIENT = "client"
    TARGET = "target"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Stall:
    """Stop forwarding: bytes and endings wait here."""

    way: Way = Way.BOTH


@dataclass(frozen=True, slots=True)
class Flow:
    """Forward again, beginning with what had to wait; ends a stall and a delay."""

    way: Way = Way.BOTH


@dataclass(frozen=True, slots=True)
class Delay:
    """Everything from now on arrives this much later, in order."""

    seconds: float
    way: Way = Way.BOTH


@dataclass(frozen=True, slots=True)
class Drop:
    """Swallow every byte from now on; endings pass."""

    way: Way = Way.BOTH


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection, towards one end (the other sees nothing of it) or both."""

    end: End = End.BOTH


@dataclass(frozen=True, slots=True)
class Close:
    """Close in order, towards one end or both."""

    end: End = End.BOTH


Trouble = Stall | Flow | Delay | Drop | Reset | Close


@dataclass(frozen=True, slots=True)
class AfterBytes:
    """As soon as exactly this many bytes have gone one way through a connection."""

    count: int
    way: Way = Way.DOWN


@dataclass(frozen=True, slots=True)
class AfterSeconds:
    """This long after a connection was opened."""

    seconds: float


When = AfterBytes | AfterSeconds
Plan = Sequence[tuple[When, Trouble]]


class Link(Hosted):
    """The relay. `plan` holds for every connection, or is a function of its number (1 for the first)."""

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        plan: Plan | Callable[[int], Plan] = (),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.target = (target_host, target_port)
        self.connections = 0
        "How many were accepted so far."
        self.up_bytes = 0
        self.down_bytes = 0
        self._plan = plan if callable(plan) else lambda _: plan
        self._host, self._port = host, port
        self._pairs: set[_Pair] = set()
        self._lasting: list[Trouble] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """The link as a plain base URL, for a target that speaks HTTP."""
        return f"http://{self._host}:{self._port}"

    def __repr__(self) -> str:
        return (
            f"<Link {self._port} -> {self.target[1]}, {len(self._pairs)} open of {self.connections}, "
            f"{self.up_bytes} up, {self.down_bytes} down>"
        )

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = await self._loop.create_server(self._accept, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for pair in list(self._pairs):
            pair.apply(Close())
            pair.abandon()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # commands; from any thread

    def stall(self, way: Way = Way.BOTH) -> None:
        """Stop forwarding, on new connections too, until `flow`."""
        self._command(Stall(way))

    def flow(self, way: Way = Way.BOTH) -> None:
        """End a stall, a delay."""
        self._command(Flow(way))

    def delay(self, seconds: float, way: Way = Way.BOTH) -> None:
        """Let everything arrive later, on new connections too, until `flow`."""
        self._command(Delay(seconds, way))

    def drop(self, way: Way = Way.BOTH) -> None:
        """Swallow every byte of the connections that are open."""
        self._command(Drop(way))

    def reset(self, end: End = End.BOTH) -> None:
        """Reset the connections that are open."""
        self._command(Reset(end))

    def close(self, end: End = End.BOTH) -> None:
        """Close the connections that are open, in order."""
        self._command(Close(end))

    def _command(self, trouble: Trouble) -> None:
        self._loop.call_soon_threadsafe(self._carry_out, trouble)

    def _carry_out(self, trouble: Trouble) -> None:
        if isinstance(trouble, Stall | Delay):
            self._lasting.append(trouble)
        elif isinstance(trouble, Flow):
            self._lasting = [old for old in self._lasting if not _ended_by(trouble, old)]
        for pair in list(self._pairs):
            pair.apply(trouble)

    # connections

    def _accept(self) -> asyncio.Protocol:
        self.connections += 1
        pair = _Pair(self, self._plan(self.connections))
        for trouble in self._lasting:
            pair.apply(trouble)
        return pair.client

    def opened(self, pair: _Pair) -> None:
        """A client is there: connect it to the target."""
        self._pairs.add(pair)
        task = self._loop.create_task(self._connect(pair))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, pair: _Pair) -> None:
        try:
            await self._loop.create_connection(lambda: pair.target, *self.target)
        except OSError:
            pair.apply(Reset(End.CLIENT))

    def closed(self, pair: _Pair) -> None:
        """Both of its ends are gone."""
        self._pairs.discard(pair)


def _ended_by(flow: Flow, old: Trouble) -> bool:
    assert isinstance(old, Stall | Delay)
    return flow.way is Way.BOTH or flow.way is old.way


class _Mark(Enum):
    """An ending that travels in line behind the bytes before it."""

    EOF = "eof"
    RST = "rst"


@dataclass(slots=True)
class _Lane:
    """One direction of one connection: what waits in it, and what is wrong with it."""

    way: Way
    source: _Half
    sink: _Half
    waiting: deque[tuple[float, bytes | _Mark]] = field(default_factory=deque)
    "With the monotonic time before which it does not pass."
    stalled: bool = False
    delay_s: float = 0.0
    dropping: bool = False
    passed: int = 0
    "Bytes taken from the lane, swallowed ones included."


class _Pair:
    """One connection through the link: two sockets, two lanes, a plan."""

    def __init__(self, link: Link, plan: Plan) -> None:
        self.link = link
        self.client, self.target = _Half(self), _Half(self)
        self.lanes = {
            Way.UP: _Lane(Way.UP, self.client, self.target),
            Way.DOWN: _Lane(Way.DOWN, self.target, self.client),
        }
        self._by_bytes = [(when, trouble) for when, trouble in plan if isinstance(when, AfterBytes)]
        self._by_time = [(when, trouble) for when, trouble in plan if isinstance(when, AfterSeconds)]

    def made(self, half: _Half) -> None:
        """One of the two sockets is connected."""
        if half is self.client:
            self.link.opened(self)
            for when, trouble in self._by_time:
                self.link._loop.call_later(when.seconds, self.apply, trouble)
        for lane in self.lanes.values():
            self.forward(lane)

    def arrived(self, half: _Half, what: bytes | _Mark) -> None:
        """Bytes or an ending came from one end."""
        lane = self.lanes[Way.UP if half is self.client else Way.DOWN]
        lane.waiting.append((monotonic() + lane.delay_s, what))
        self.forward(lane)

    def forward(self, lane: _Lane) -> None:
        """Pass on what may pass, up to the plan's next byte; hold the source back while something waits."""
        while lane.waiting and not lane.stalled and lane.sink.usable:
            due_s, what = lane.waiting[0]
            if (wait_s := due_s - monotonic()) > 0:
                self.link._loop.call_later(wait_s, self.forward, lane)
                break
            lane.waiting.popleft()
            if isinstance(what, _Mark):
                lane.sink.end(what)
            else:
                self._pass_bytes(lane, what)
        lane.source.hold(lane.stalled or lane.sink.full or not lane.sink.usable)

    def _pass_bytes(self, lane: _Lane, data: bytes) -> None:
        edge = min(
            (when.count for when, _ in self._by_bytes if when.way is lane.way and when.count > lane.passed),
            default=None,
        )
        now, later = (data, b"") if edge is None else (data[: edge - lane.passed], data[edge - lane.passed :])
        if later:
            lane.waiting.appendleft((0.0, later))
        lane.passed += len(now)
        if not lane.dropping and lane.sink.write(now):
            self._count(lane.way, len(now))
        for when, trouble in self._by_bytes:
            if when.way is lane.way and when.count == lane.passed:
                self.apply(trouble)

    def _count(self, way: Way, size: int) -> None:
        if way is Way.UP:
            self.link.up_bytes += size
        else:
            self.link.down_bytes += size

    def apply(self, trouble: Trouble) -> None:
        """Let a trouble (or its end) happen to this connection."""
        match trouble:
            case Reset(end) | Close(end):
                mark = _Mark.RST if isinstance(trouble, Reset) else _Mark.EOF
                for half, name in ((self.client, End.CLIENT), (self.target, End.TARGET)):
                    if end in (name, End.BOTH):
                        half.end(mark, for_good=True)
                return
            case _:
                lanes = [lane for lane in self.lanes.values() if trouble.way.covers(lane.way)]
        for lane in lanes:
            match trouble:
                case Stall():
                    lane.stalled = True
                case Flow():
                    lane.stalled, lane.delay_s = False, 0.0
                case Delay():
                    lane.delay_s = trouble.seconds
                case Drop():
                    lane.dropping = True
            self.forward(lane)

    def room_changed(self, half: _Half) -> None:
        """A socket's write buffer became full, or has room again."""
        self.forward(self.lanes[Way.DOWN if half is self.client else Way.UP])

    def lost(self) -> None:
        """One of the sockets is gone."""
        if self.client.gone and (self.target.gone or not self.target.connected):
            self.link.closed(self)

    def abandon(self) -> None:
        """Drop both sockets."""
        for half in (self.client, self.target):
            half.abort()


class _Half(asyncio.Protocol):
    """One socket of a pair."""

    def __init__(self, pair: _Pair) -> None:
        self._pair = pair
        self.connected = self.gone = self.full = False
        self._finished = False
        self._held = False

    @property
    def usable(self) -> bool:
        """Whether something can be written to it, or was and is no longer wanted."""
        return self.connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.connected = True
        self._pair.made(self)

    def data_received(self, data: bytes) -> None:
        self._pair.arrived(self, data)

    def eof_received(self) -> bool:
        self._pair.arrived(self, _Mark.EOF)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        if isinstance(exc, ConnectionResetError | BrokenPipeError):
            self._pair.arrived(self, _Mark.RST)
        self._pair.lost()

    def pause_writing(self) -> None:
        self.full = True
        self._pair.room_changed(self)

    def resume_writing(self) -> None:
        self.full = False
        self._pair.room_changed(self)

    def write(self, data: bytes) -> bool:
        """Write, unless it is gone; says whether it did."""
        if self.gone or self._finished or self._transport.is_closing():
            return False
        self._transport.write(data)
        return True

    def hold(self, held: bool) -> None:
        """Stop or resume reading from it."""
        if not self.connected or self.gone or held is self._held or self._transport.is_closing():
            return
        self._held = held
        (self._transport.pause_reading if held else self._transport.resume_reading)()

    def end(self, mark: _Mark, *, for_good: bool = False) -> None:
        """Pass an ending on: reset, or finish writing (`for_good`: close altogether)."""
        if not self.connected or self.gone:
            return
        if mark is _Mark.RST:
            reset_on_close(self._transport.get_extra_info("socket"))
            self._transport.abort()
        elif for_good:
            self._transport.close()
        elif not self._finished:
            self._finished = True
            self._transport.write_eof()
            if self._pair_is_finished():
                self._pair.client.end(_Mark.EOF, for_good=True)
                self._pair.target.end(_Mark.EOF, for_good=True)

    def _pair_is_finished(self) -> bool:
        return self._pair.client._finished and self._pair.target._finished

    def abort(self) -> None:
        """Drop it."""
        if self.connected and not self.gone:
            self._transport.abort()
