"""Clients: programs with timers, retries and a user who presses Esc; each profile reacts as it was measured to.

A client checks what it hears while it hears it: every event must be one that the provider said to this very
question, in its order and once, or a keepalive in the form that this client was measured to accept.
Reactions: reference/clients.md, sections 1, 2, 4 and 7.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import httptools

from holdfast.gateway import profiles
from holdfast.gateway.profiles import Limit, Profile
from tests.simulation.hearing import Hearing
from tests.simulation.provider import Generation, Key
from tests.simulation.schedule import Client, Turn
from tests.simulation.wire import Wire

if TYPE_CHECKING:
    from tests.simulation.world import World

AGENTS: Final = {
    "python": {"user-agent": "Anthropic/Python 2.11.0", "x-stainless-read-timeout": "600"},
    "node": {"user-agent": "Anthropic/JS 1.11.0", "x-stainless-runtime": "node"},
    "curl": {"user-agent": "curl/8.5.0"},
}
_RETRIED: Final = (401, 408, 409, 429, 500, 502, 503, 504, 529)
_BACKOFF_S: Final = (0.5, 1.0, 2.0, 4.0)


Env = tuple[tuple[str, str], ...]
"A client's environment, as far as its timers read it."


def headers_of(client: Client, *, streaming: bool, env: Env = ()) -> dict[str, str]:
    """What it sends with every request, as far as the gateway looks at it."""
    agent = AGENTS.get(client.agent)
    if agent is None:
        moved = dict(env).get("API_TIMEOUT_MS")
        timeout = "600" if streaming else "300"
        if moved is not None:
            timeout = str(int(moved) // 1000)
        agent = {"user-agent": f"claude-cli/{client.agent} (external, cli)", "x-stainless-timeout": timeout}
    claude = client.agent.startswith("2.1.")
    session = {"x-claude-code-session-id": f"session-{client.session}"} if claude else {}
    if client.subagent:
        session["x-claude-code-agent-id"] = f"agent-{client.subagent}"
    return {
        "host": "127.0.0.1",
        **agent,
        "x-api-key": f"key-{client.tenant}",
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
        **session,
    }


@lru_cache(maxsize=4096)
def _head(who: tuple[str, int, int, int], streaming: bool, env: Env) -> bytes:
    said = headers_of(Client(*who), streaming=streaming, env=env)
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    return f"POST /v1/messages?beta=true HTTP/1.1\r\n{lines}".encode()


@lru_cache(maxsize=4096)
def prompt_name(agent: str, prompt: int, *, side: bool) -> str:
    """A question's name, as it stands in the request. No two programs ask in the same words."""
    return f"{prompt} of {agent}{' aside' if side else ''}"


@lru_cache(maxsize=4096)
def body_of(agent: str, prompt: int, *, side: bool, streaming: bool) -> bytes:
    """A request's body. The fallback of a Claude Code client differs from its stream as it was measured to."""
    messages = []
    for number in range(prompt + 1):
        messages.append({"role": "user", "content": f"question {prompt_name(agent, number, side=side)}"})
        if number < prompt:
            messages.append({"role": "assistant", "content": f"answer {number}"})
    asked: dict[str, Any] = {
        "model": "small" if side else "claude-sonnet-4-5",
        "max_tokens": 1024 if streaming else 512,
        "messages": messages,
    }
    if not side:
        asked["tools"] = [{"name": "Write", "input_schema": {"type": "object"}}]
    if streaming:
        asked["stream"] = True
    elif agent == "2.1.329":
        asked["stream"] = False
    return json.dumps(asked, separators=(",", ":")).encode()


@lru_cache(maxsize=256)
def _profile(agent: str) -> Profile:
    said = headers_of(Client(agent), streaming=True)
    return profiles.choose(said["user-agent"], said)


@lru_cache(maxsize=1024)
def _limits(agent: str, streaming: bool, env: Env) -> tuple[Limit, ...]:
    said = headers_of(Client(agent), streaming=streaming, env=env)
    return profiles.limits_for(_profile(agent), said, dict(env), streaming)


class Call:
    """One request of a client's on one connection, and what it hears."""

    def __init__(self, talk: Talk, wire: Wire, *, streaming: bool) -> None:
        world = talk.world
        self.talk = talk
        self.world = world
        self.wire = wire
        self.streaming = streaming
        self.number = len(world.calls) + 1
        self.key = talk.key
        agent = talk.client.agent
        self.profile = _profile(agent)
        self.limits = _limits(agent, streaming, world.env)
        self.asked_at = self.last_byte_at = self.last_event_at = self.last_real_at = world.loop.now
        self.headers_at: float | None = None
        self.first_heard_at: float | None = None
        self.status = 0
        self.content = b""
        "What came after the headers, less what was understood; of a body in one piece, all of it."
        self.encoded = False
        self.told = ""
        "Its content type."
        self.request_id = 0
        self.retry_after: float | None = None
        self.hearing = Hearing(self)
        self.whole = False
        "Whether it takes the answer for complete."
        self.keepalives = 0
        self.over = False
        "Whether the answer ended, one way or another."
        self.left_at: float | None = None
        self.paused = False
        self.has_paused = False
        "Its clocks and the gateway's differ since it did."
        self._parser: Any = httptools.HttpResponseParser(self)
        self._alarm: Any = None
        self._closing = ""
        self._rest = b""
        self._said_json = False
        wire.peer = self
        world.calls.append(self)
        world.open_calls.setdefault(self.key, []).append(self)

    @property
    def generation(self) -> Generation | None:
        """The generation that it hears, or heard last."""
        return self.hearing.generation

    def __repr__(self) -> str:
        how = "whole" if self.whole else self.hearing.error or ("over" if self.over else "open")
        return f"<Call {self.number} of {self.talk.name}, {how}>"

    # -- asking -------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Send the request, in one piece or in several."""
        talk, wire = self.talk, self.wire
        client, turn = talk.client, talk.turn
        body = body_of(client.agent, talk.prompt, side=turn.side, streaming=self.streaming)
        who = (client.agent, client.tenant, client.session, client.subagent)
        head = _head(who, self.streaming, self.world.env)
        head += b"content-length: %d\r\n\r\n" % len(body)
        pieces = turn.pieces
        if pieces <= 1:
            wire.send_request(head + body)
        else:
            size = len(body) // pieces + 1
            wire.send_request(head)
            for number in range(pieces):
                self.world.loop.call_later(
                    number * turn.piece_s, self._send_piece, body[number * size : (number + 1) * size]
                )
        self._watch()

    def _send_piece(self, data: bytes) -> None:
        if self.left_at is None and not self.over:
            self.wire.send_request(data)

    # -- hearing: told within the gateway's steps, so nothing here acts at once ------------------------

    def heard(self, data: bytes) -> None:
        if self.over:
            self.world.violate(1, f"{self!r} heard {len(data)} bytes after the answer's end")
            return
        self.last_byte_at = self.world.loop.now
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.world.violate(
                1, f"{self!r} heard what is not HTTP: {error} {error.__context__!r}: {data[:200]!r}"
            )

    def ended(self, how: str) -> None:
        if self.over or self.left_at is not None:
            return
        if self.world.story is not None:
            self.world.tell(self.talk.name, f"call {self.number}: the connection ends ({how})")
        self.over = True
        self.talk.call_over(self, "broken")

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"content-type":
                self.told = value.decode().partition(";")[0]
            case b"content-encoding":
                self.encoded = True
            case b"request-id":
                self.request_id = int(value.removeprefix(b"req_"))
            case b"retry-after":
                self.retry_after = float(value)
            case b"connection":
                self._closing = value.decode()

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        now = self.world.loop.now
        self.headers_at = self.last_event_at = now
        if self.request_id:
            self.last_real_at = now
        if self._alarm is not None:  # other clocks run from now on
            self._alarm.cancel()
            self._alarm = self.world.loop.call_soon(self._watch)
        if self.world.story is not None:
            self.world.tell(self.talk.name, f"call {self.number}: hears HTTP {self.status} {self.told}")

    def on_body(self, data: bytes) -> None:
        if self.told != "text/event-stream" or self.encoded or self.status != 200:
            self.content += data
            if not data.strip():
                self.kept_alive("white space")
            else:
                self.last_real_at = self.last_event_at = self.world.loop.now
            return
        data = self.content + data
        if not data.endswith(b"\n\n"):
            data, blank, self.content = data.rpartition(b"\n\n")
            if not blank:
                return
            data += blank
        else:
            self.content = b""
        start = 0
        while start < len(data):
            end = data.index(b"\n\n", start) + 2
            self.hearing.event(data[start:end])
            start = end

    def kept_alive(self, form: str) -> None:
        """Something came that means nothing."""
        self.keepalives += 1
        world = self.world
        if world.loop.now - self.last_real_at > world.silence_bound_s:
            world.violate(
                7, f"{self!r} is kept alive since {world.loop.now - self.last_real_at:.0f} s ({form})"
            )

    def on_message_complete(self) -> None:
        self.over = True
        self.world.loop.call_soon(self._ended_properly)

    # -- the end ------------------------------------------------------------------------------------

    def _ended_properly(self) -> None:
        """HTTP's own end was heard: what does the client make of it?"""
        if self.left_at is not None:
            return
        how = self._judged()
        if self.world.story is not None:
            self.world.tell(self.talk.name, f"call {self.number}: the answer ends: {how}")
        if how in ("whole", "finished", "shortened", "cut"):
            self.whole = True
            self.world.heard_whole(self)
        self.talk.call_over(self, how)

    def _judged(self) -> str:
        world, generation = self.world, self.generation
        if self.status != 200:
            self._judge_refusal()
            return "refused"
        # Where its request cannot be read back, nobody can know what it asked for.
        if not self.streaming and self.told == "text/event-stream" and "disk unreadable" not in world.disk:
            world.violate(4, f"{self!r} asked for the whole message and was given a stream")
        if self.encoded or self.told != "text/event-stream":
            return self._judge_one_piece()
        hearing = self.hearing
        if self.content:
            world.violate(2, f"{self!r} was left with half an event: {self.content[:100]!r}")
        if hearing.error:
            return "error"
        if not hearing.stopped:
            world.violate(4, f"{self!r}: HTTP ended properly, the answer did not, and nothing said so")
            return "truncated"
        if hearing.ending:
            return hearing.ending
        if generation is None or not generation.whole or hearing.next_index != generation.said:
            world.violate(4, f"{self!r} takes for whole what is not: {generation!r}")
        return "whole"

    def _judge_refusal(self) -> None:
        """An error status: upstream's own, to the byte, or one of the gateway's in the client's dialect."""
        world = self.world
        generation = self._generation_by_id()
        if generation is not None and generation.plain:
            if self.content != generation.plain or self.status != generation.answer.status:
                world.violate(1, f"{self!r} heard another error than upstream's: {self.content[:200]!r}")
            return
        said = json.loads(self.content)
        if said["type"] != "error" or not said["error"]["message"]:
            world.violate(4, f"{self!r} was refused without a reason: {self.content!r}")
        world.error_said(self, said["error"]["message"])

    def _judge_one_piece(self) -> str:
        world = self.world
        generation = self._generation_by_id()
        if self.encoded:
            if generation is None or self.content.lstrip() != generation.raw:
                world.violate(1, f"{self!r} heard other bytes than were sent (encoded)")
            self.hearing.generation = generation
            return "whole"
        try:
            message = json.loads(self.content)
        except ValueError:
            message = {"type": "error"}
        if message.get("type") == "error":
            world.violate(4, f"{self!r} was given for the whole message: {self.content[:200]!r}")
            return "error"
        number = int(message["id"].removeprefix("msg_"))
        generation = world.provider.generations[number - 1]
        if self.generation is None:
            self.hearing.generation = generation
            self.first_heard_at = world.loop.now
            world.hears(self, generation)
        if generation.streams:
            world.check_message(self, generation, message)
        elif self.content.lstrip() != generation.plain:
            world.violate(1, f"{self!r} heard other bytes than were sent")
        return "whole"

    def _generation_by_id(self) -> Generation | None:
        """By the provider's own id, where the answer's headers are the provider's."""
        if not self.request_id:
            return None
        generation = self.world.provider.generations[self.request_id - 1]
        if generation.key != self.key:
            self.world.violate(5, f"{self!r} was given the headers of {generation!r}")
        return generation

    # -- patience -----------------------------------------------------------------------------------

    def clock(self, limit: Limit) -> float | None:
        """When this limit would run out; None while its clock does not run."""
        if limit.clock == "total":
            return self.asked_at + limit.seconds
        if self.headers_at is None:
            return self.asked_at + limit.seconds if limit.clock == "headers" else None
        if limit.clock == "bytes":
            return self.last_byte_at + limit.seconds
        return self.last_event_at + limit.seconds if limit.clock == "events" else None

    def _watch(self) -> None:
        """Look again when the first of its limits could have run out."""
        self._alarm = None
        if self.over or self.left_at is not None or not self.limits:
            return
        now = self.world.loop.now
        first = now + 3600.0
        for limit in self.limits:
            at = self.clock(limit)
            if at is None:
                continue
            if at <= now and not self.paused:
                self._give_up(limit)
                return
            first = min(first, at)
        if self.paused:
            first = max(first, now + 1.0)  # whoever does not read does not look at its clock
        self._alarm = self.world.loop.call_at(first, self._watch)

    def _give_up(self, limit: Limit) -> None:
        if self.world.story is not None:
            self.world.tell(
                self.talk.name, f"call {self.number}: its {limit.name} limit of {limit.seconds:g} s ran out"
            )
        self.leave(sure=False)
        self.talk.call_over(self, "gave up")

    def sure_cancel(self) -> bool:
        """Whether nothing but a cancel explains a leaving now: no limit is near, and the path is well."""
        world = self.world
        if self.wire.dark_since is not None or self.has_paused or self.wire.written != self.wire.acked:
            return False
        now = world.loop.now
        for limit in self.limits:
            slack = max(world.tolerance_s, 0.02 * limit.seconds) + 1.0 + 4 * self.wire.latency_s
            for since in (
                self.asked_at,
                self.last_byte_at,
                self.last_event_at,
                self.last_real_at,
                self.headers_at,
            ):
                if since is not None and abs(now - since - limit.seconds) <= slack:
                    return False
        return True

    def leave(self, *, sure: bool) -> None:
        """Close the connection; `sure`: nothing but a cancel explains it."""
        if self.over or self.left_at is not None:
            return
        self.left_at = self.world.loop.now
        agent = self.talk.client.agent
        how = "rst" if agent.startswith("2.1.") and agent != "2.1.86" else "fin"
        self.wire.close_by_client(how)
        self.world.call_left(self, sure=sure)

    def taken_apart(self) -> None:
        """The world is over."""
        self._parser = self._alarm = None
        self.hearing = Hearing.__new__(Hearing)

    @property
    def perhaps_followed(self) -> bool:
        """Whether the gateway must take it for a live client: it is one, or its end cannot be known yet."""
        return not self.wire.gateway_gone if self.left_at is not None else not self.over


class Talk:
    """One turn of a client's: it asks, asks again where its program does so, and comes to an end."""

    def __init__(
        self, world: World, client: Client, turn: Turn, name: str, wires: list[Wire], prompt: int
    ) -> None:
        self.world = world
        self.client = client
        self.turn = turn
        self.name = name
        self.wires = wires
        "The client's connections that wait for a next request."
        self.prompt = prompt
        self.key = world.key_of(client, prompt, side=turn.side)
        self.call: Call | None = None
        self.done = False
        self.outcome = ""
        self.again = turn.again
        self._tries = 0
        self._pending: Any = None

    def begin(self) -> None:
        """The user's question."""
        turn, loop = self.turn, self.world.loop
        self.ask(streaming=turn.streaming)
        if turn.leaves_at is not None:
            loop.call_later(turn.leaves_at, self._leave)
        if turn.dark_at is not None:
            loop.call_later(turn.dark_at, self._go_dark)
        for at, seconds in turn.pauses:
            loop.call_later(at, self._pause, seconds)

    def ask(self, *, streaming: bool) -> None:
        """Send one request, on a connection that is at hand or on a new one."""
        self._pending = None
        world = self.world
        if world.closed:
            self._finish("nobody answers")
            return
        wire = self._wire()
        self.call = Call(self, wire, streaming=streaming)
        if world.story is not None:
            how = "as a stream" if streaming else "as a whole"
            world.tell(self.name, f"call {self.call.number}: asks {self.key.prompt!r} {how}")
        self.call.ask()

    def _wire(self) -> Wire:
        while self.wires:
            wire = self.wires.pop()
            if not wire.closing and wire.client_closed is None and wire.dark_since is None:
                return wire
        turn = self.turn
        return self.world.connect(latency_s=turn.latency_s, window=turn.window)

    # -- what happens to it ---------------------------------------------------------------------------

    def _leave(self) -> None:
        """The user cancels, or the program ends."""
        if self.done:
            return
        call, turn = self.call, self.turn
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        if call is not None and not call.over and call.left_at is None:
            sure = call.sure_cancel()
            if self.world.story is not None:
                self.world.tell(
                    self.name, f"call {call.number}: leaves{' (a cancel, for sure)' if sure else ''}"
                )
            call.leave(sure=sure)
        self.outcome = "cancelled"
        if turn.back:
            self._pending = self.world.loop.call_later(turn.back_s, self._come_back)
        else:
            self._finish("cancelled")

    def _come_back(self) -> None:
        if self.turn.back == "next":
            self.prompt += 1
            self.key = self.world.key_of(self.client, self.prompt, side=self.turn.side)
        self._tries = 0
        self.ask(streaming=self.turn.streaming)

    def _go_dark(self) -> None:
        if self.call is not None and not self.call.over and self.call.left_at is None:
            if self.world.story is not None:
                self.world.tell(self.name, f"call {self.call.number}: its path goes dark")
            self.call.wire.go_dark()
            # Where none of its limits runs it would wait for ever; its user does not.
            self.world.loop.call_later(3600.0, self._end_program, self.call)

    def _end_program(self, call: Call) -> None:
        if call is self.call and not self.done:
            call.leave(sure=False)
            self._finish("ended by its user")

    def _pause(self, seconds: float) -> None:
        call = self.call
        if call is None or call.over or call.left_at is not None or call.paused:
            return
        if self.world.story is not None:
            self.world.tell(self.name, f"call {call.number}: stops reading for {seconds:g} s")
        call.paused = call.has_paused = True
        call.wire.stop_reading()
        self.world.loop.call_later(seconds, self._read_on, call)

    def _read_on(self, call: Call) -> None:
        call.paused = False
        call.wire.read_on()

    # -- reactions ------------------------------------------------------------------------------------

    def call_over(self, call: Call, how: str) -> None:
        """The call ended: `whole`, `finished`, `shortened`, `cut`, `refused`, `error`, `broken`, `gave up`."""
        self.world.call_over(call, how)
        if call.left_at is None and how not in ("broken", "gave up"):
            self._put_back(call)
        if call is not self.call or self.done or (self.outcome == "cancelled" and self.turn.back == ""):
            return
        reaction, delay = self._reaction(call, how)
        if reaction == "done":
            self._finish(how)
        elif reaction == "fail":
            if self.again:
                self.again = False
                self._tries = 0
                self._later(3.0, self.turn.streaming)
            else:
                self._finish(f"failed: {how}")
        else:
            self._tries += 1
            self._later(delay, call.streaming if reaction == "retry" else False)

    def _later(self, delay: float, streaming: bool) -> None:
        self._pending = self.world.loop.call_later(delay, self._ask_later, streaming)

    def _ask_later(self, streaming: bool) -> None:
        if not self.done:
            self.ask(streaming=streaming)

    def _reaction(self, call: Call, how: str) -> tuple[str, float]:
        if how in ("whole", "finished", "shortened", "cut"):
            return "done", 0.0
        agent, tries = self.client.agent, self._tries
        if agent == "curl" or tries >= self.turn.retries:
            return "fail", 0.0
        delay = _BACKOFF_S[min(tries, 3)]
        if how == "refused":
            if call.status not in _RETRIED:
                return "fail", 0.0
            return "retry", max(delay, call.retry_after or 0.0)
        if call.headers_at is None:
            return "retry", delay
        if agent in ("python", "node"):
            return "fail", 0.0
        if not call.streaming:
            return "fail", 0.0
        if "tool_use" in call.hearing.blocks:
            return "done", 0.0  # the tool is run, and the conversation goes on from it
        if call.hearing.blocks and agent != "2.1.86":
            return "fail", 0.0
        return "fallback", 0.0

    def _put_back(self, call: Call) -> None:
        wire = call.wire
        wire.peer = None
        if self.client.reuses and not call._closing and not wire.closing and not wire.fin_sent:
            self.wires.append(wire)
        else:
            wire.close_by_client("fin")

    def _finish(self, outcome: str) -> None:
        self.done = True
        self.outcome = outcome
        if self.world.story is not None:
            self.world.tell(self.name, f"is done: {outcome}")
        self.world.talk_done(self)


def key_of(client: Client, prompt: int, *, side: bool) -> Key:
    """What the provider must see of this question."""
    session = f"session-{client.session}" if client.agent.startswith("2.1.") else ""
    subagent = f"agent-{client.subagent}" if client.subagent else ""
    return Key(f"key-{client.tenant}", session, subagent, prompt_name(client.agent, prompt, side=side))
