"""A witness: who answers at upstream's address, just after a request there was given no answer.

An edge writes its name on what it answers (`cf-ray`), and on nothing that it breaks off before. So after an ending before
the headers one question is asked that anybody could ask: HEAD / at the same address, on a connection of its own, through
the same proxy, without a word of the client's. What comes back says that an edge was there then, and which one.
It is a witness and not the request: another connection may meet another machine. Off unless it is asked for, and never
more than once a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.redact import safe
from holdfast.gateway import headers as h
from holdfast.gateway.defects import defect
from holdfast.gateway.fields import Fields, Headers, render
from holdfast.gateway.settings import Upstream
from holdfast.gateway.upstream.pool import Pool, UpstreamError

log = logging.getLogger("holdfast.gateway")

EVERY_S: Final = 60.0
PATIENCE_S: Final = 15.0
"For the answer, connecting included. Whoever says nothing for so long is no witness."
LONGEST: Final = 120
_BEFORE_HEADERS: Final = frozenset(
    (Phase.RESOLVING, Phase.CONNECTING, Phase.TLS, Phase.SENDING, Phase.AWAITING_HEADERS)
)
_NO_BREAKS: Final = frozenset(
    (Mechanism.CANCELLED, Mechanism.SUPERSEDED, Mechanism.DOOMED, Mechanism.HTTP_ERROR)
)

Note = Callable[[m.Moment], None]


def called_for(ending: Ending, *, headers_came: bool) -> bool:
    """Whether an attempt ended so that nobody's name is on it: before the headers, and not because we wanted it to."""
    if headers_came or ending.completed or ending.phase not in _BEFORE_HEADERS:
        return False
    ours = ending.side in (Side.GATEWAY, Side.MACHINE) and ending.mechanism is Mechanism.LOCAL_ERROR
    return not ours and ending.side is not Side.CLIENT and ending.mechanism not in _NO_BREAKS


def question(upstream: Upstream) -> bytes:
    """All the headers of the witness's request, rendered. None of them is a client's."""
    host = (b"host", upstream.authority.encode())
    return render([host, (b"user-agent", b"holdfast-witness"), (b"accept", b"*/*")])


def answered(attempt: int, status: int, headers: Headers, took_s: float, address: str) -> m.EdgeWitnessed:
    """What the witness said."""
    found = Fields(headers).first
    edge = _text(found, b"cf-ray") or _text(found, b"x-amz-cf-id") or _text(found, b"x-azure-ref")
    return m.EdgeWitnessed(
        attempt=attempt,
        status=status,
        edge_id=edge,
        location=_place(found),
        server=_text(found, b"server"),
        via=_text(found, b"via"),
        address=address,
        took_s=round(took_s, 3),
    )


def _place(found: h.Named) -> str | None:
    """Where the edge stands, as it says itself: behind a ray's dash, or in a header of its own."""
    ray = _text(found, b"cf-ray") or ""
    return (
        ray.rpartition("-")[2]
        if "-" in ray
        else _text(found, b"x-amz-cf-pop") or _text(found, b"x-served-by")
    )


def _text(found: h.Named, name: bytes) -> str | None:
    said = h.text(found, name, 4 * LONGEST)
    return safe(said)[:LONGEST] if said else None


class _Answer:
    """Hears the answer's head; nothing else of it matters."""

    __slots__ = ("headers", "over", "status")

    def __init__(self, over: asyncio.Future[Ending | None]) -> None:
        self.over = over
        self.status = 0
        self.headers: Headers = []

    def response_started(self, status: int, reason: bytes, headers: Headers) -> None:
        self.status, self.headers = status, headers

    def body_arrived(self, data: bytes) -> None: ...

    def response_ended(self) -> None:
        self._end(None)

    def connection_ended(self, ending: Ending) -> None:
        self._end(ending)

    def request_paused(self) -> None: ...
    def request_resumed(self) -> None: ...

    def _end(self, ending: Ending | None) -> None:
        if not self.over.done():
            self.over.set_result(ending)


class Witness:
    """Asks, at most once a minute, and tells the turn that called for it."""

    __slots__ = ("_asked_at", "_loop", "_pool", "_task", "_upstream")

    def __init__(self, pool: Pool, upstream: Upstream, loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._upstream = upstream
        self._loop = loop
        self._asked_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Witness at {self._upstream.origin}{', asking' if self._task is not None else ''}>"

    def call(self, attempt: int, note: Note) -> bool:
        """Ask on behalf of an attempt; False where a witness was heard a moment ago. `note` may come long after."""
        now = self._loop.time()
        if self._task is not None or (self._asked_at is not None and now - self._asked_at < EVERY_S):
            return False
        self._asked_at = now
        self._task = self._loop.create_task(self._ask(attempt, note))
        return True

    def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _ask(self, attempt: int, note: Note) -> None:
        try:
            note(await self._heard(attempt))
        except Exception as error:
            log.error("the witness was not heard: %s", defect(error))
        finally:
            self._task = None

    async def _heard(self, attempt: int) -> m.EdgeWitnessed:
        started, connection = self._loop.time(), None
        answer = _Answer(self._loop.create_future())
        try:
            async with asyncio.timeout(PATIENCE_S):
                connection = await self._pool.connect_apart()
                connection.start(answer, b"HEAD", b"/", question(self._upstream))
                connection.end_body()
                ending = await answer.over
            broke = None if ending is None else ending.code
        except UpstreamError as error:
            broke = error.ending.code
        except TimeoutError:
            broke = Ending(Side.GATEWAY, Mechanism.DEADLINE, Phase.AWAITING_HEADERS).code
        finally:
            if connection is not None:
                connection.abort()
        took_s, address = self._loop.time() - started, "" if connection is None else connection.address
        if answer.status:
            return answered(attempt, answer.status, answer.headers, took_s, address)
        return m.EdgeWitnessed(attempt=attempt, address=address, took_s=round(took_s, 3), broke=broke)
