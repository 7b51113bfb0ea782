"""The origin: a scripted Messages server that costs next to nothing, in the load's own process and loop.

One process for both ends means that no message is needed to say "all streams are open, begin": the measurement calls
`play`. Both are on the same CPU anyway, away from the relay.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

from bench import wire
from bench.machine import Metronome

_FRONT_BYTES = 4096
"How much of a body is kept to find the plan in."
_BEAT_S = 0.001
_FLOOD_BYTES = 16 * 1024
"Written at a time in a flood; the kernel and the relay then coalesce as they like."


class Seen(NamedTuple):
    """What the origin got of one request's body."""

    length: int
    crc: int


class Origin:
    """The listening side. Streams of plan `paced` or `flood` stand open until they are played."""

    def __init__(self) -> None:
        self.open: dict[int, _Connection] = {}
        "Streams that wait to be played, by their number."
        self.seen: dict[bytes, Seen] = {}
        "Every request body by its nonce."
        self.generated: dict[bytes, int] = {}
        "How often each nonce was asked for: more than once is a generation too many."
        self._metronome = Metronome()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def listen(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self), "127.0.0.1", 0, backlog=4096
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server:
            self._server.close()
        self._metronome.close()

    def forget(self) -> None:
        """Drop what was noted about past requests."""
        self.open.clear()
        self.seen.clear()
        self.generated.clear()

    async def play(self, answers: dict[int, wire.Answer], per_stream_s: float) -> None:
        """Send every open stream its deltas at a steady pace, the streams evenly spread over each interval.

        One chunk and one write per event; each millisecond, those that are due. Returns when the last one is written.

        Spreading 10,000 events a second one by one, 100 us apart, was tried and left out: both CPUs fall asleep
        between any two, and waking the other one (an interrupt between virtual CPUs) then costs more than the relay:
        nginx 28-31 us per event, against 13-17 with a beat of 1 ms. Ratios would say how alike interrupts are.
        """
        loop = asyncio.get_running_loop()
        queue = deque(
            (self.open[stream].transport, answers[stream].delta_chunks[number])
            for number in range(len(next(iter(answers.values())).deltas))
            for stream in answers
        )
        per_beat = per_stream_s * len(answers) * _BEAT_S
        done = loop.create_future()
        due = 0.0

        def beat() -> None:
            nonlocal due
            due += self._metronome.beats() * per_beat
            while due >= 1 and queue:
                due -= 1
                transport, data = queue.popleft()
                transport.write(data)
            if not queue and not done.done():
                done.set_result(None)

        loop.add_reader(self._metronome.fd, beat)
        self._metronome.start(_BEAT_S)
        try:
            await done
        finally:
            self._metronome.start(0)
            loop.remove_reader(self._metronome.fd)

    def flood(self, answers: dict[int, wire.Answer]) -> None:
        """Send every open stream its deltas and its end as fast as its connection takes them."""
        for stream, answer in answers.items():
            self.open[stream].pour(b"".join(answer.delta_chunks + answer.closing_chunks))

    def finish(self, answers: dict[int, wire.Answer]) -> None:
        """End every open stream properly: one write per event."""
        for stream, answer in answers.items():
            for data in answer.closing_chunks[:-2]:
                self.open[stream].transport.write(data)
            self.open[stream].transport.write(b"".join(answer.closing_chunks[-2:]))


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection; just enough of a parser for what relays send."""

    transport: asyncio.Transport

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._buffer = b""
        self._body: Callable[[bytes], bytes | None] | None = None
        "Eats body bytes; returns what is left over once the body is whole."
        self._front = b""
        self._length = 0
        self._crc = 0
        self._missing = 0
        self._tank = memoryview(b"")
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        while data:
            if self._body is None:
                data = self._head(self._buffer + data if self._buffer else data)
            else:
                rest = self._body(data)
                if rest is None:
                    return
                self._body = None
                data = rest
                self._answer()

    def _head(self, data: bytes) -> bytes:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = data
            return b""
        self._buffer = b""
        head, rest = data[:end].lower(), data[end + 4 :]
        self._front, self._length, self._crc = b"", 0, 0
        if b"\r\ntransfer-encoding: chunked" in head:
            self._body = self._chunked
            return rest
        at = head.find(b"\r\ncontent-length:")
        self._missing = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if self._missing:
            self._body = self._counted
            return rest
        # A probe of the relay's: healthy, and nothing more.
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        return rest

    def _took(self, data: bytes) -> None:
        if len(self._front) < _FRONT_BYTES:
            self._front += data[:_FRONT_BYTES]
        self._length += len(data)
        self._crc = zlib.crc32(data, self._crc)

    def _counted(self, data: bytes) -> bytes | None:
        if len(data) < self._missing:
            self._missing -= len(data)
            self._took(data)
            return None
        self._took(data[: self._missing])
        return data[self._missing :]

    def _chunked(self, data: bytes) -> bytes | None:
        data = self._buffer + data
        while True:
            line, crlf, rest = data.partition(b"\r\n")
            size = int(line, 16) if crlf else 0
            if not crlf or len(rest) < size + 2:
                self._buffer = data
                return None
            data = rest[size + 2 :]
            if not size:
                self._buffer = b""
                return data
            self._took(rest[:size])

    def _answer(self) -> None:
        found = wire.PLAN.search(self._front)
        if not found:
            text = b'{"type":"error","error":{"type":"not_found_error","message":"no plan in the body"}}'
            self.transport.write(
                b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (len(text), text)
            )
            return
        plan, stream, nonce = found[1], int(found[2]), found[3]
        origin = self._origin
        origin.seen[nonce] = Seen(self._length, self._crc)
        origin.generated[nonce] = origin.generated.get(nonce, 0) + 1
        if plan == b"json":
            body = wire.json_answer()
            self.transport.write(wire.json_head(len(body)) + body)
        elif plan == b"short":
            self._say_short(wire.short_answer())
        else:
            # Opening events do not depend on how many deltas follow.
            opening = wire.answer(stream, 0).opening_chunks
            self.transport.write(wire.STREAM_HEAD + opening[0])
            self.transport.writelines(opening[1:])
            origin.open[stream] = self

    def _say_short(self, answer: wire.Answer) -> None:
        write = self.transport.write
        write(wire.STREAM_HEAD + answer.opening_chunks[0])
        for data in (*answer.opening_chunks[1:], *answer.delta_chunks, *answer.closing_chunks[:-2]):
            write(data)
        write(b"".join(answer.closing_chunks[-2:]))

    def pour(self, data: bytes) -> None:
        self._tank = memoryview(data)
        self._pour_on()

    def _pour_on(self) -> None:
        while self._tank and not self._full:
            piece, self._tank = self._tank[:_FLOOD_BYTES], self._tank[_FLOOD_BYTES:]
            self.transport.write(piece)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._pour_on()
