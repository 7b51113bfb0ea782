"""One attempt on its connection: it puts the question, sends the body, and hears the answer.

What an attempt's stages and ends mean is `Attempt`'s business; what becomes of the answer is the carrier's.
Here is what lies between them and the socket: a connection from the pool or a fresh one, the request's head
and body, and the cutting of what comes back into whole events.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

import msgspec

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.gateway import headers as h
from holdfast.gateway.attempt import Attempt, Stage
from holdfast.gateway.defects import defect
from holdfast.gateway.fields import Headers, Lines
from holdfast.gateway.images import strip_images
from holdfast.gateway.sockets import Fact
from holdfast.gateway.sse import EventSplitter
from holdfast.gateway.streamlog import SpoolError, StreamLog
from holdfast.gateway.unbuffer import edit
from holdfast.gateway.upstream.connection import UpstreamConnection, at_hand
from holdfast.gateway.upstream.pool import UpstreamError

if TYPE_CHECKING:
    from holdfast.gateway.carrier import Carrier

log = logging.getLogger("holdfast.gateway")


class Question(msgspec.Struct, gc=False, eq=False):
    """What a turn asks upstream. Kept while the turn lives: another attempt may have to ask it again."""

    method: bytes
    target: bytes
    _lines: Lines
    "The headers for upstream, without framing; all turns of a session have the same."
    length: int | None
    "Of the client's body, as it announced it; None where it is chunked."
    eager: bool = False
    "Whether its tools are unbuffered."
    as_stream: bool = False
    "Whether an answer that was asked for as a whole is fetched as a stream."
    strips: bool = False
    "Whether the images of earlier turns are left out."
    tools: int = 0
    "How many tools were unbuffered."
    rest: bytes | None = None
    "The body that asks for the rest of what broke; None where the whole is asked for."
    images: int = 0
    "How many images were left out."

    def __repr__(self) -> str:
        edits = " eager" * self.eager + " as stream" * self.as_stream
        return f"<Question {self.method.decode('latin-1')}{edits}>"  # the target may hold a secret

    def edited(self, body: StreamLog, whole: bytes | None = None) -> bytes | None:
        """The whole body as it goes upstream; None where it goes as the client sent it. Raises `SpoolError`.

        `whole` is what `body` holds, where the caller has it at hand.
        """
        if self.rest is not None:
            return self.rest
        if not (self.eager or self.as_stream or self.strips):
            return None
        outgoing, self.tools = edit(
            body.whole() if whole is None else whole, eager=self.eager, stream=self.as_stream
        )
        if self.strips:
            outgoing, self.images = strip_images(outgoing)
        return outgoing

    def headers(self, outgoing: bytes | None) -> bytes:
        """The whole head, framed for the client's body or the edited one."""
        return h.framed(
            self._lines.rendered(), self.method, self.length if outgoing is None else len(outgoing)
        )


class Editor(Protocol):
    """Changes the events of an attempt that goes on where another broke."""

    def edit(self, data: bytes, notable: list[bytes]) -> tuple[bytes, list[bytes]]:
        """Take what an `EventSplitter` gave and the notable events in it; return what becomes of both."""


class Asking(Attempt):
    """An attempt with its connection; its carrier hears what becomes of it."""

    __slots__ = (
        "_bytes_before",
        "_connecting",
        "address",
        "avoid",
        "carrier",
        "connection",
        "editor",
        "ended_on",
        "fresh",
        "http",
        "http1",
        "outgoing",
        "postponed",
        "retry_after_s",
        "should_retry",
        "splitter",
    )

    def __init__(self, carrier: Carrier, number: int, editor: Editor | None = None) -> None:
        super().__init__(number, carrier.now())
        self.carrier = carrier
        self.editor = editor
        "Fits this attempt's events to what the client has heard of the one before."
        self.fresh = False
        "Whether no connection of the pool will do."
        self.avoid: tuple[str, ...] = ()
        "Addresses (`ip:port`) to be tried last: this question broke there."
        self.http1 = False
        "Whether HTTP/2 is not to be tried: it broke there."
        self.postponed = False
        "Whether it could have asked when nobody listened: it begins when somebody does."
        self.outgoing: bytes | None = None
        "The edited body, until it is sent."
        self.connection: UpstreamConnection | None = None
        self.ended_on: UpstreamConnection | None = None
        "The connection whose exchange has just ended, while it can still be asked."
        self._connecting: asyncio.Task[None] | None = None
        self.splitter: EventSplitter | None = None
        self._bytes_before = carrier.record.answer_bytes
        self.http = "1.1"
        self.address: str | None = None
        "Where it was connected to."
        self.retry_after_s: float | None = None
        self.should_retry: bool | None = None
        "What upstream's error said of asking again; None where it said nothing."

    # -- asking -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Ask on a connection that is at hand, or on a new one when upstream can be reached."""
        connection = None if self.fresh else self.carrier.engine.pool.idle()
        if connection is not None:
            self._ask_on(connection)
        else:
            self.carrier.engine.reaching.want(self)

    def reader_joined(self) -> None:
        """Somebody listens again."""
        if self.postponed:
            self.postponed = False
            self.start()

    def connect(self) -> None:
        """Try to connect now."""
        self._stop_connecting()
        self._connecting = self.carrier.engine.loop.create_task(self._connect())

    def _stop_connecting(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None

    async def _connect(self) -> None:
        reaching = self.carrier.engine.reaching
        try:
            connection = await self.carrier.engine.pool.connect(avoid=self.avoid, http1=self.http1)
        except Exception as error:
            self._connecting = None
            if not isinstance(error, UpstreamError):
                log.error("connecting failed: %s", defect(error))
                detail = f"{defect(error)}; please report it"
                ending = Ending(Side.GATEWAY, Mechanism.LOCAL_ERROR, Phase.CONNECTING, detail)
                error = UpstreamError(ending, "")
            if reaching.failed(self, error.ending) is not None:
                self.carrier.attempt_over(self, error.ending, error.advice)
            return
        self._connecting = None
        if self.ending is not None:
            connection.abort()
            return
        reaching.worked(self)
        if self.carrier.reader is None and self.carrier.attempt is self:
            self.postponed = True
            connection.abort()
            return
        self._ask_on(connection)

    def wait_for_upstream(self, why: str) -> None:
        """Upstream is away: nothing is tried until it is back, or somebody else has found it."""
        self.carrier.note(m.NetworkGone(why))
        self.carrier.look()

    def upstream_is_back(self, absent_s: float) -> None:
        """It had to wait for that."""
        self.carrier.note(m.NetworkBack(round(absent_s, 3)))

    def give_up(self, ending: Ending, why: str) -> None:
        """It has waited as long as anybody can be asked to."""
        self._stop_connecting()
        advice = f"{ending.detail}; {why}" if ending.detail else why
        self.carrier.attempt_over(self, ending, advice)

    def _ask_on(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        self.address, self.http = connection.address, connection.http
        carrier, question = self.carrier, self.carrier.question
        carrier.note(at_hand(self.number, connection))
        self.connected()
        outgoing, self.outgoing = self.outgoing, None
        connection.start(self, question.method, question.target, question.headers(outgoing))
        if outgoing is not None:
            connection.send_body(outgoing)
        else:
            try:
                for piece in carrier.body.pieces():
                    connection.send_body(piece)
            except SpoolError as error:
                carrier.machine_failed(error)
                return
        if carrier.body_complete:
            self.finish_asking()

    def send(self, data: bytes) -> None:
        """More of the client's body; what came before there was a connection is sent from the carrier's log."""
        if self.connection is not None:
            self.connection.send_body(data)

    def finish_asking(self) -> None:
        """The client's body is complete."""
        if self.connection is not None:
            self.connection.end_body()
            self.sent(self.carrier.now())
            self.carrier.request_sent(self)

    def close(self) -> bool:
        """Give up the connection, or the wait for one. Whether there was a connection."""
        if self.address is None:  # it may have ended already, and still wait for a connection
            self.carrier.engine.reaching.leave(self)
        self._stop_connecting()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()
        return connection is not None

    def seen(self) -> dict[str, Fact]:
        """What can be told of the connection now; nothing where there is none. Costs some system calls."""
        connection = self.connection or self.ended_on
        return {} if connection is None else connection.evidence()

    @property
    def local_address(self) -> str | None:
        """What address of this machine it went out from; known once its connection told its evidence."""
        connection = self.connection or self.ended_on
        return None if connection is None else connection.local_address

    def forget_turn(self) -> None:
        """The turn is over. Its connection is gone, so nobody tells it anything any more."""
        del self.carrier

    @property
    def busy(self) -> bool:
        """Whether there is something to close."""
        return self.connection is not None or self.stage is Stage.CONNECTING

    @property
    def answer_bytes(self) -> int:
        """Bytes of this attempt's answer, as upstream sent them (chunk framing excluded)."""
        return self.carrier.record.answer_bytes - self._bytes_before

    def take_advice(self, found: h.Named) -> None:
        """What the headers of an error say of asking again (`retry-after` in seconds, `x-should-retry`)."""
        after = found.get(b"retry-after")
        if after is not None and after.isdigit():
            self.retry_after_s = float(after)
        said = found.get(b"x-should-retry")
        self.should_retry = None if said is None else said.strip().lower() == b"true"

    # -- ResponseListener ---------------------------------------------------------------------------

    def request_paused(self) -> None:
        """Upstream takes no more of the body for now."""
        self.carrier.request_paused()

    def request_resumed(self) -> None:
        """Upstream takes more."""
        self.carrier.request_resumed()

    def response_started(self, status: int, reason: bytes, headers: Headers) -> None:
        """Upstream's status and headers arrived."""
        self.carrier.headers_arrived(self, status, reason, headers)

    def body_arrived(self, data: bytes) -> None:
        """Upstream sent a piece of the answer."""
        self.carrier.answer_arrived(self, data)

    def response_ended(self) -> None:
        """HTTP says that the response is complete."""
        self.ended_on, self.connection = self.connection, None
        self.carrier.answer_over(self)
        self.ended_on = None

    def connection_ended(self, ending: Ending) -> None:
        """The connection went before that."""
        self.ended_on, self.connection = self.connection, None
        self.carrier.attempt_over(self, ending, "")
        self.ended_on = None
