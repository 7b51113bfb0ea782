"""A gateway in a thread of its own, and a client that is nothing but a socket: for tests of who hears what."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop

from holdfast.flight.moments import Moment
from holdfast.flight.record import NOTHING_KNOWN, About, Answer, TurnRecord
from holdfast.gateway.server import Gateway
from holdfast.gateway.settings import Settings


@dataclass
class Kept:
    """A recorder that keeps everything in memory."""

    records: dict[str, TurnRecord] = field(default_factory=dict)
    answers: list[tuple[TurnRecord, bytes, bool]] = field(default_factory=list)
    handed_over: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    "Of the gateway as a whole: name and text."

    def changed(self, record: TurnRecord) -> None:
        self.records[record.turn_id] = record

    def keep_answer(
        self,
        record: TurnRecord,
        answer: Answer,
        *,
        complete: bool,
        content_type: str,
        about: About = NOTHING_KNOWN,
    ) -> None:
        self.answers.append((record, b"".join(answer.pieces()), complete))

    def tell(self, name: str, text: str) -> None:
        self.told.append((name, text))

    def answer_handed_over(self, turn_id: str) -> None:
        self.handed_over.append(turn_id)

    def moments(self, kind: type[Moment]) -> list[Any]:
        """All moments of that kind, turn by turn."""
        turns = [list(record.moments) for record in list(self.records.values())]
        return [moment for turn in turns for _, moment in turn if isinstance(moment, kind)]

    def wait_for(self, kind: type[Moment], count: int = 1, *, seconds: float = 30.0) -> list[Any]:
        """Block until that many such moments were noted."""
        limit = time.monotonic() + seconds
        while len(found := self.moments(kind)) < count:
            if time.monotonic() > limit:
                told = [type(moment).__name__ for moment in self.moments(Moment)]
                raise TimeoutError(
                    f"{len(found)} of {count} {kind.__name__} within {seconds:g} s; noted: {told}"
                )
            time.sleep(0.005)
        return found


@dataclass
class Hosted:
    """The gateway that runs, its port, and what it noted."""

    gateway: Gateway
    port: int
    kept: Kept
    loop: asyncio.AbstractEventLoop

    def open_turns(self) -> list[TurnRecord]:
        """Those that are open between two steps of the gateway's loop, as it sees them itself."""

        async def ask() -> list[TurnRecord]:
            return self.gateway.open_turns()

        return asyncio.run_coroutine_threadsafe(ask(), self.loop).result(30)


@contextmanager
def hosted(
    settings: Settings,
    *,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Hosted]:
    """Run a gateway on a free loopback port until the block is left; with `tls`, its clients must speak it."""
    kept = Kept()
    loop = new_loop()
    thread = threading.Thread(target=loop.run_forever, name="gateway", daemon=True)
    thread.start()

    async def begin() -> tuple[Gateway, int]:
        gateway = Gateway(settings, kept)
        return gateway, await gateway.listen(ssl=tls)

    try:
        gateway, port = asyncio.run_coroutine_threadsafe(begin(), loop).result(30)
        try:
            yield Hosted(gateway, port, kept, loop)
        finally:
            asyncio.run_coroutine_threadsafe(gateway.close(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


HEADERS = {
    "user-agent": "claude-cli/2.1.86 (external, sdk-cli)",
    "x-api-key": "sk-ant-fake-one",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219",
    "content-type": "application/json",
    "x-claude-code-session-id": "5e551011-0000-4000-8000-000000000001",
    "x-stainless-timeout": "600",
}
"As Claude Code 2.1.86 sends them, as far as the gateway looks at them."


def body(prompt: str = "Say it.", *, stream: bool | None = True, **changes: Any) -> dict[str, Any]:
    """A request body with a tool, so that it is a main request and no side request."""
    asked: dict[str, Any] = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 1024,
        "system": [{"type": "text", "text": "You are a test."}],
        "messages": [{"role": "user", "content": prompt}],
        "tools": [{"name": "Write", "input_schema": {"type": "object"}}],
    }
    if stream is not None:
        asked["stream"] = stream
    return {**asked, **changes}


class Call:
    """One request on a connection of its own."""

    def __init__(
        self,
        port: int,
        asked: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        path: str = "/v1/messages?beta=true",
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        content = json.dumps(asked or body())
        self._connection.request("POST", path, content, {**HEADERS, **(headers or {})})
        self._response: http.client.HTTPResponse | None = None
        self.heard = b""

    @property
    def response(self) -> http.client.HTTPResponse:
        """Status and headers; blocks until they come."""
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    def hear_until(self, words: bytes) -> None:
        """Read on until these bytes have been heard."""
        while words not in self.heard:
            piece = self.response.read1(65536)
            if not piece:
                raise AssertionError(f"ended without {words!r}: {self.heard!r}")
            self.heard += piece

    def hear_all(self) -> bytes:
        """Read to the end of the answer; returns all of it."""
        self.heard += self.response.read()
        return self.heard

    def leave(self) -> None:
        """Close the connection."""
        if self._response is not None:
            self._response.close()
        self._connection.close()
