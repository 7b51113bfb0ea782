"""The provider, and the connections that lead to it. It knows the truth of every generation it began.

Every event it says is unlike any other (`g` is the generation's number), so whatever a client hears can be
traced to its generation and place. The bytes of the network below HTTP are not here: connections speak the
interface of `UpstreamConnection`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.gateway.fields import parsed
from holdfast.gateway.upstream.pool import IDLE_S, UpstreamError
from tests.simulation.loop import Timer
from tests.simulation.schedule import Answer

if TYPE_CHECKING:
    from tests.simulation.world import World

BREAKS: Final = ("early", "rst", "fin", "error", "silent", "dark")
ADDRESS: Final = "192.0.2.1:443"
_MODEL: Final = "claude-sonnet-4-5"


class Key(NamedTuple):
    """Whose question it is, and which: what two requests must share to be the same turn."""

    tenant: str
    session: str
    subagent: str
    prompt: str


class Form(NamedTuple):
    """How it was asked."""

    streaming: bool
    "Whether the client itself wanted a stream."


# -- generations ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """One event of one generation."""

    generation: Generation
    index: int
    kind: str
    "`start`, `open`, `delta`, `stop`, `reason`, `end`, `ping`, `error`."
    block: str = ""
    "The kind of the block it belongs to."
    place: int = 0
    "That block's index."


class Generation:
    """One answer of the provider's: what it would say, and how far it got."""

    def __init__(
        self, number: int, key: Key, form: Form, answer: Answer, *, streams: bool, now: float
    ) -> None:
        self.number = number
        self.key = key
        self.form = form
        self.answer = answer
        self.streams = streams
        self.asked_at = self.last_said_at = now
        self.ended_at: float | None = None
        "When it stopped running: it ended, broke, or was broken off by the gateway."
        self.broken = ""
        "How it ended, where that was not the proper end; `stopped` by the gateway."
        self.said = 0
        "Events that have reached the gateway whole."
        self.events: list[tuple[bytes, str, str]] = []
        "Bytes, kind, and block of each event, in order."
        self.message: dict[str, Any] = {}
        self.place = -1
        "The index of the block that was opened last."
        self.plain = b""
        "The answer in one piece: JSON, or an error body."
        self.raw = b""
        "What was sent of an answer whose inside nobody can read."
        self.owner: Any = None
        "The turn of the gateway's that asked."
        self.heard_at: float | None = None
        "When some client had all of it."
        self.cancelled_at: float | None = None
        "When the client that heard it was seen to cancel; None once another took it over."
        self.connection: Connection | None = None

    def __repr__(self) -> str:
        where = self.broken or ("running" if self.running else "whole")
        return f"<Generation {self.number} of {self.key.prompt!r}, {self.said} events, {where}>"

    @property
    def running(self) -> bool:
        """Whether the provider is at work on it."""
        return self.ended_at is None

    @property
    def whole(self) -> bool:
        """Whether all of it was said."""
        if not self.streams:
            return bool(self.plain) and not self.broken
        return bool(self.said) and self.events[self.said - 1][1] == "end"


def _event(name: str, payload: str) -> bytes:
    return f"event: {name}\ndata: {payload}\n\n".encode()


def compose(generation: Generation) -> None:
    """Write the generation's events and its whole message."""
    g, events, content = generation.number, generation.events, []
    event = _event
    events.append((event(
        "message_start",
        f'{{"type":"message_start","message":{{"id":"msg_{g}","type":"message","role":"assistant","model":"{_MODEL}",'
        '"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":1}}}',
    ), "start", ""))  # fmt: skip
    last = ""
    for index, (kind, deltas) in enumerate(generation.answer.blocks):
        last = kind
        head = f'"index":{index},"g":{g}'
        if kind == "text":
            shell, name, field = '{"type":"text","text":""}', "text_delta", "text"
        elif kind == "thinking":
            shell, name, field = (
                '{"type":"thinking","thinking":"","signature":""}',
                "thinking_delta",
                "thinking",
            )
        else:
            shell = f'{{"type":"{kind}","id":"tu_{g}_{index}","name":"Write","input":{{}}}}'
            name, field = "input_json_delta", "partial_json"
        events.append((event("content_block_start", f'{{"type":"content_block_start",{head},"content_block":{shell}}}'),
                       "open", kind))  # fmt: skip
        told = ""
        for number in range(deltas):
            piece = f"g{g}b{index}d{number} "
            if field == "partial_json":
                piece = ('{"a":"' if not number else "") + piece + ('"}' if number == deltas - 1 else "")
            told += piece
            said = json.dumps(piece)
            events.append((event(
                "content_block_delta",
                f'{{"type":"content_block_delta",{head},"delta":{{"type":"{name}","{field}":{said}}}}}',
            ), "delta", kind))  # fmt: skip
        if generation.answer.pings and not index:
            events.append((event("ping", f'{{"type":"ping","g":{g}}}'), "ping", ""))
        events.append((event("content_block_stop", f'{{"type":"content_block_stop",{head}}}'), "stop", kind))
        block = json.loads(shell)
        if field == "partial_json":
            block["input"] = json.loads(told) if told else {}
        else:
            block[field] = told
        content.append(block)
    reason = "tool_use" if last == "tool_use" else "end_turn"
    tokens = 10 + len(events)
    events.append((event(
        "message_delta",
        f'{{"type":"message_delta","g":{g},"delta":{{"stop_reason":"{reason}","stop_sequence":null}},'
        f'"usage":{{"output_tokens":{tokens}}}}}',
    ), "reason", ""))  # fmt: skip
    events.append((event("message_stop", f'{{"type":"message_stop","g":{g}}}'), "end", ""))
    generation.message = {"id": f"msg_{g}", "content": content, "stop_reason": reason}


class Provider:
    """All generations, and what the provider does with each request."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.generations: list[Generation] = []
        self.truth: dict[bytes, Said] = {}
        "Every event that has reached the gateway."
        self.running: dict[Key, list[Generation]] = {}
        self.stale = 0
        "Requests that met a pooled connection which was closed already."
        self._asked: dict[Key, int] = {}

    def asked(self, connection: Connection) -> None:
        """A whole request has arrived."""
        world = self.world
        key, form, streams = understood(connection)
        plans = world.plans.get(key) or (Answer(),)
        count = self._asked.get(key, 0)
        answer = plans[min(count, len(plans) - 1)]
        if answer.stale and connection.reused:
            self.stale += 1
            if world.story is not None:
                world.tell("provider", f"had closed the pooled connection {connection.number}")
            world.loop.call_soon(connection.breaks, Ending(Side.PROVIDER, Mechanism.FIN, Phase.POOLED_IDLE))
            return
        self._asked[key] = count + 1
        number = len(self.generations) + 1
        if world.refuses_eager and b'"eager_input_streaming":true' in connection.body:
            answer = Answer(status=400, headers_s=0.05)
        generation = Generation(number, key, form, answer, streams=streams, now=world.loop.now)
        listener = connection.listener
        generation.owner = getattr(listener, "carrier", listener)
        generation.connection = connection
        self.generations.append(generation)
        self.running.setdefault(key, []).append(generation)
        if world.story is not None:
            world.tell(
                "provider", f"is asked {key.prompt!r} by {key.tenant}: generation {number}, {answer!r}"
            )
        world.generation_began(generation)
        connection.generation = generation
        connection.plays(answer)

    def ended(self, generation: Generation, how: str) -> None:
        """It does not run any more."""
        if generation.ended_at is not None:
            return
        generation.ended_at = self.world.loop.now
        generation.broken = "" if how == "proper" else how
        self.running[generation.key].remove(generation)
        if self.world.story is not None:
            self.world.tell("provider", f"generation {generation.number} ends: {how}")


def understood(connection: Connection) -> tuple[Key, Form, bool]:
    """Whose question a request is; from what reached the provider alone."""
    body, said = connection.body, connection.headers
    at = body.rindex(b'"question ') + 10
    prompt = body[at : body.index(b'"', at)].decode()
    run = connection.world.settings.tenant is not None
    key = Key(
        "run" if run else said.get(b"x-api-key", b"").decode(),
        said.get(b"x-claude-code-session-id", b"").decode(),
        said.get(b"x-claude-code-agent-id", b"").decode(),
        prompt,
    )
    return key, Form(b'"max_tokens":1024' in body), b'"stream":true' in body


# -- connections ------------------------------------------------------------------------------------


class Connection:
    """One connection upstream, as the gateway's `UpstreamConnection` looks from outside."""

    def __init__(self, world: World, pool: Pool, number: int, took_s: float) -> None:
        self.world = world
        self.pool = pool
        self.number = number
        self.address = ADDRESS
        self.took_s = took_s
        self.reused = False
        self.tls = None
        self.http = "1.1"
        self.local_address: str | None = None
        self.own_port = 40000
        self.idle_since = world.loop.now
        self.sent_bytes = self.received_bytes = 0
        self.listener: Any = None
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.request_done = False
        self.generation: Generation | None = None
        self._request: list[bytes] = []
        self._reads: list[tuple[float, bytes, int]] = []
        self._timer: Any = None
        self._lost = False
        self.dark = False
        "Whether nothing passes any more."

    def __repr__(self) -> str:
        return f"<Connection {self.number}{' lost' if self._lost else ''}>"

    # -- the gateway's side --------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return not self._lost and self.listener is None

    @property
    def response_read(self) -> bool:
        return False

    def shows_no_close(self) -> bool:
        return self.alive

    def evidence(self) -> dict[str, str | int | float | bool | None]:
        return {"tcp_state": "ESTABLISHED", "address": self.address, "reused": self.reused}

    def probe_soon(self) -> None:
        """A dark path is noticed at once, where there is one."""
        if self.dark:
            self._later(5.0, self._is_dark)

    def start(self, listener: Any, method: bytes, target: bytes, lines: bytes) -> None:
        assert self.listener is None, "a connection carries one exchange at a time"
        self.listener = listener
        self.headers = {name.lower(): value for name, value in parsed(lines)}
        self._request = []
        self.request_done = False

    def send_body(self, data: bytes) -> None:
        if self.listener is not None and not self.request_done:
            self._request.append(bytes(data))

    def end_body(self) -> None:
        if self.listener is None or self.request_done:
            return
        self.request_done = True
        self.body = b"".join(self._request)
        self.world.check_request(self.headers, self.body)
        self.world.provider.asked(self)

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def abort(self) -> None:
        self.listener = None
        self._lost = True
        self._stop("stopped")

    # -- the provider's side -------------------------------------------------------------------------

    def plays(self, answer: Answer) -> None:
        """Answer the request that has arrived."""
        self._later(answer.headers_s, self._says_headers)

    def _later(self, delay_s: float, call: Any) -> None:
        self._timer = self.world.loop.call_later(delay_s, call)

    def _says_headers(self) -> None:
        generation = self.generation
        assert generation is not None
        answer, world = generation.answer, self.world
        breaks = answer.ends in BREAKS
        if breaks and answer.at < 0 and answer.status == 200:
            if answer.ends == "silent":
                return
            if answer.ends == "dark":
                self.dark = True
                self._later(90.0, self._is_dark)
                return
            how = Mechanism.FIN if answer.ends in ("fin", "early", "error") else Mechanism.RST
            self.breaks(Ending(Side.PROVIDER, how, Phase.AWAITING_HEADERS))
            return
        number = b"req_%d" % generation.number
        if answer.status != 200:
            generation.streams = False
            message = f"failed {generation.number}"
            if world.refuses_eager and answer.status == 400 and b"eager_input_streaming" in self.body:
                message = "tools.0.eager_input_streaming: Extra inputs are not permitted"
            kind = {429: "rate_limit_error", 529: "overloaded_error"}.get(
                answer.status, "invalid_request_error"
            )
            said = {"type": "error", "error": {"type": kind, "message": message}}
            generation.plain = json.dumps(said).encode()
            headers = [(b"content-type", b"application/json"), (b"request-id", number)]
            headers.append((b"content-length", b"%d" % len(generation.plain)))
            if answer.retry_after_s:
                headers.append((b"retry-after", b"%d" % answer.retry_after_s))
            self._told(answer.status, headers)
            if breaks:
                self._breaks_plain()
            else:
                self._says_plain("error")
            return
        compose(generation)
        if not generation.streams:
            self._answers_plainly(generation, number)
            return
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"request-id", number)]
        if answer.encoded:
            headers.append((b"content-encoding", b"gzip"))
        self._reads = _reads(generation)
        self._told(200, headers)
        self._goes_on()

    def _told(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        assert self.generation is not None
        self.generation.last_said_at = self.world.loop.now
        if self.world.story is not None:
            self.world.tell("provider", f"generation {self.generation.number}: HTTP {status}")
        self.listener.response_started(status, b"OK" if status == 200 else b"Error", headers)

    def _answers_plainly(self, generation: Generation, number: bytes) -> None:
        message = {
            **generation.message,
            "type": "message",
            "role": "assistant",
            "model": _MODEL,
            "stop_sequence": None,
            "usage": {"input_tokens": 5, "output_tokens": 9},
        }
        generation.plain = json.dumps(message).encode()
        headers = [(b"content-type", b"application/json"), (b"request-id", number)]
        headers.append((b"content-length", b"%d" % len(generation.plain)))
        self._told(200, headers)
        answer = generation.answer
        delay = sum(seconds for _, seconds in answer.pauses)
        if answer.ends in ("rst", "fin", "early", "error", "dark"):
            self._later(delay, self._breaks_plain)
        elif answer.ends != "silent":
            self._later(delay, self._says_plain)

    def _says_plain(self, how: str = "proper") -> None:
        generation, listener = self.generation, self.listener
        if generation is None or listener is None:
            return
        generation.last_said_at = self.world.loop.now
        listener.body_arrived(generation.plain)
        if self.listener is listener:
            self._finish(how)

    def _breaks_plain(self) -> None:
        generation, listener = self.generation, self.listener
        if generation is None or listener is None:
            return
        if generation.answer.at > 1:
            listener.body_arrived(generation.plain[:20])
        if self.listener is listener:
            how = Mechanism.FIN if generation.answer.ends == "fin" else Mechanism.RST
            self.breaks(Ending(Side.PROVIDER, how, Phase.IN_BODY))

    def _goes_on(self) -> None:
        """Say what is due, and come back for the next of it."""
        generation, listener, reads = self.generation, self.listener, self._reads
        while reads and self.listener is listener and listener is not None:
            delay_s, data, said = reads[0]
            if delay_s:
                reads[0] = (0.0, data, said)
                self._later(delay_s, self._goes_on)
                return
            del reads[0]
            assert generation is not None
            self._says(generation, data, said)
        if generation is not None and self.listener is listener and listener is not None:
            self._ends(generation)

    def _says(self, generation: Generation, data: bytes, said: int) -> None:
        world = self.world
        if generation.answer.encoded:
            generation.raw += data
        else:
            truth, events = world.provider.truth, generation.events
            for index in range(generation.said, said):
                event, kind, block = events[index]
                generation.place += kind == "open"
                truth[event] = Said(generation, index, kind, block, generation.place)
        generation.said = said
        generation.last_said_at = world.loop.now
        if world.story is not None:
            kinds = " ".join(kind for _, kind, _ in generation.events[:said][-5:])
            world.tell("provider", f"generation {generation.number} says up to event {said} ({kinds})")
        self.listener.body_arrived(data)

    def _ends(self, generation: Generation) -> None:
        answer = generation.answer
        match answer.ends:
            case "silent" | "no end":
                if answer.ends == "no end":
                    self.world.provider.ended(generation, "proper")
            case "rst" | "rst after":
                if answer.ends == "rst after":
                    self.world.provider.ended(generation, "proper")
                self.breaks(Ending(Side.PROVIDER, Mechanism.RST, Phase.IN_BODY))
            case "fin":
                self.breaks(Ending(Side.PROVIDER, Mechanism.FIN, Phase.IN_BODY))
            case "dark":
                self.dark = True
                self._later(90.0, self._is_dark)
            case "early" | "error":
                self._finish(answer.ends)
            case _:
                self._finish("proper")

    def _is_dark(self) -> None:
        self.breaks(Ending(Side.PATH, Mechanism.KEEPALIVE_UNANSWERED, Phase.IN_BODY))

    def _finish(self, how: str) -> None:
        """HTTP's own end."""
        generation, listener = self.generation, self.listener
        assert generation is not None
        self.world.provider.ended(generation, how)
        self.listener = self.generation = None
        if not self._lost and self.request_done:
            self.pool.put(self)
        listener.response_ended()

    def breaks(self, ending: Ending) -> None:
        """The connection goes."""
        listener, self.listener = self.listener, None
        self._lost = True
        self._stop(ending.mechanism.value)
        if listener is not None:
            listener.connection_ended(ending)

    def _stop(self, how: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        generation, self.generation = self.generation, None
        self._reads = []
        if generation is not None:
            self.world.provider.ended(generation, how)


_ERROR: Final = '{"type":"error","g":%d,"error":{"type":"overloaded_error","message":"Overloaded"}}'


def _reads(generation: Generation) -> list[tuple[float, bytes, int]]:
    """What arrives at the gateway, read by read: seconds since the last one, bytes, events that are whole then."""
    answer, events = generation.answer, generation.events
    if answer.ends == "error":
        del events[min(answer.at, len(events) - 1) :]
        events.append((_event("error", _ERROR % generation.number), "error", ""))
        upto = len(events)
    elif answer.ends in BREAKS:
        upto = min(answer.at, len(events) - 1)
    else:
        upto = len(events)
    pauses = dict(answer.pauses)
    reads: list[tuple[float, bytes, int]] = []
    pending, delay = b"", 0.0
    count = 0
    for index in range(upto):
        if index in pauses:
            if pending:
                reads.append((delay, pending, index))
                pending, count, delay = b"", 0, 0.0
            delay += pauses[index]
        pending += events[index][0]
        count += 1
        if count >= answer.per_read:
            if answer.split:
                held = len(events[index][0]) // 2
                reads.append((delay, pending[:-held], index))
                pending = pending[-held:]
            else:
                reads.append((delay, pending, index + 1))
                pending = b""
            count, delay = 0, answer.step_s
    if pending:
        reads.append((delay, pending, upto))
    elif delay > answer.step_s:
        pass
    if answer.split and upto < len(events) and upto:
        reads.append((0.0, events[upto][0][:7], upto))  # half an event, and no more
    return reads


_FAILURES: Final = {
    "refused": (Side.PROVIDER, Mechanism.REFUSED, Phase.CONNECTING),
    "unreachable": (Side.PATH, Mechanism.UNREACHABLE, Phase.CONNECTING),
    "dns": (Side.PATH, Mechanism.DNS, Phase.RESOLVING),
    "tls": (Side.PROVIDER, Mechanism.TLS, Phase.TLS),
}


class Pool:
    """Connections to the provider, in the place of the gateway's own pool."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._idle: list[Connection] = []
        self._closed = False
        self.made = 0
        self.failed = 0
        "Connections that could not be had."
        self.failed_before_any = False
        "Whether that was before any could be had: then nobody waits."

    def idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive and connection.idle_since >= self._world.loop.now - IDLE_S:
                return connection
            connection.abort()
        return None

    async def connect(self, *, avoid: Sequence[str] = (), http1: bool = False) -> Connection:
        world = self._world
        took_s = world.schedule.connect_s
        if took_s:
            waiter = world.loop.create_future()
            timer = world.loop.call_later(took_s, _wake, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
        outage = world.outage()
        if outage is not None:
            self.failed += 1
            self.failed_before_any |= not self.made
            if world.story is not None:
                world.tell("network", f"no connection: {outage}")
            raise UpstreamError(
                Ending(*_FAILURES[outage], detail=f"simulated: {outage}"), f"simulated: {outage}"
            )
        self.made += 1
        return Connection(world, self, self.made, took_s)

    def check(self) -> None: ...

    async def close(self) -> None:
        self._closed = True
        self.forget_idle()

    def forget_idle(self) -> int:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.abort()
        return len(idle)

    def put(self, connection: Connection) -> None:
        if self._closed:
            connection.abort()
            return
        connection.reused = True
        connection.idle_since = self._world.loop.now
        self._idle.append(connection)


def _wake(waiter: Any) -> None:
    if not waiter.done():
        waiter.set_result(None)


__all__ = ["Connection", "Form", "Generation", "Key", "Pool", "Provider", "Said", "Timer"]
