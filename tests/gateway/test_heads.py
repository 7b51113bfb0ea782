"""Heads that came before: recognised where every byte but the length is the same, and read as the parser reads them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from holdfast.flight.endings import Mechanism
from holdfast.gateway.engine import render_error
from holdfast.gateway.guard import Head
from holdfast.gateway.heads import FORGET_S, KNOWN_MOST, LONGEST, Heads
from holdfast.gateway.listener import Exchange, Facts, Listener
from holdfast.gateway.settings import Limits, Timeouts

LINES = [(b"host", b"127.0.0.1"), (b"X-Api-Key", b"fake"), (b"content-length", b"5"), (b"accept", b"*/*")]


def written(headers: list[tuple[bytes, bytes]] = LINES, *, target: bytes = b"/v1/messages") -> bytes:
    return b"\r\n".join([b"POST %b HTTP/1.1" % target, *map(b": ".join, headers), b"", b""])


def known(headers: list[tuple[bytes, bytes]] = LINES, *, target: bytes = b"/v1/messages") -> Head:
    return Head(b"POST", target, "1.1", headers)


def length(digits: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, digits if name == b"content-length" else value) for name, value in LINES]


def remember(heads: Heads, data: bytes, head: Head) -> None:
    """It comes twice."""
    heads.remember(data, head)
    heads.remember(data, head)


@pytest.fixture
def heads() -> Heads:
    found = Heads()
    remember(found, written(), known())
    return found


def test_a_head_that_came_once_is_not_remembered() -> None:
    """Nor is its credential kept; nor of those that are different every time."""
    heads = Heads()
    heads.remember(written(), known())

    assert heads.find(written()) is None
    heads.remember(written(length(b"77")), known(length(b"77")))
    assert heads.find(written()) is not None


def test_a_head_is_recognised_whatever_the_length_of_its_body(heads: Heads) -> None:
    """It comes with what was made of it, with the length of this request, and with the place of its body."""
    head = written(length(b"1234567"))

    found = heads.find(head + b"body")

    assert found is not None
    known, body_bytes, body_at = found
    assert known.get(b"x-api-key") == b"fake"
    assert (body_bytes, body_at) == (1234567, len(head))


@pytest.mark.parametrize(
    "other",
    [
        written(target=b"/v1/messages?beta=true"),
        written([(b"Host", b"127.0.0.1"), *LINES[1:]]),
        written([*LINES, (b"x", b"y")]),
        written(LINES[:-1]),
        written([*LINES, (b"content-length", b"5")]),
        written([(name, b"other" if name == b"X-Api-Key" else value) for name, value in LINES]),
        written().replace(b"HTTP/1.1", b"HTTP/1.0"),
        written()[:-2],
        b"",
        *(
            written(length(digits))
            for digits in (b"", b" 5", b"5 ", b"+5", b"-5", b"0x5", b"5,5", b"5\n", b"9" * 13, "٣".encode())
        ),
    ],
)
def test_whatever_else_differs_is_the_parsers_business(heads: Heads, other: bytes) -> None:
    """One byte more or less, another credential, or a length that is more than digits."""
    assert heads.find(other) is None


@pytest.mark.parametrize(
    "told",
    [
        written().replace(b"accept: ", b"accept:  "),
        written().replace(b"accept: ", b"accept:\t"),
        written().replace(b"*/*", b"*/* "),
        b"\r\n" + written(),
        written()[:-4],
        written().replace(b"POST ", b"POST  "),
    ],
)
def test_only_what_is_written_the_plain_way_is_remembered(told: bytes) -> None:
    """So that the bytes follow from what the parser said, and nothing hides between them."""
    heads = Heads()
    remember(heads, told, known())

    assert heads.find(told) is None


def test_a_request_without_a_length_or_with_a_long_head_is_not_remembered() -> None:
    """A chunked one has none; of long ones there would be room for few."""
    for headers in (
        [(b"host", b"a"), (b"transfer-encoding", b"chunked")],
        [*LINES, (b"x", b"y" * LONGEST)],
    ):
        heads = Heads()
        remember(heads, written(headers), known(headers))

        assert heads.find(written(headers)) is None


def test_what_does_not_come_again_is_forgotten(heads: Heads) -> None:
    """After one or two minutes, and its credential with it; what comes in every minute stays."""
    remember(heads, written(target=b"/seldom"), known(target=b"/seldom"))
    for minute in range(1, 4):
        heads.forget_old(minute * FORGET_S)
        heads.forget_old(minute * FORGET_S + 1)  # too early

        assert heads.find(written()) is not None
    assert heads.find(written(target=b"/seldom")) is None


def test_no_more_than_so_many_are_remembered(heads: Heads) -> None:
    """However many different ones come."""
    for number in range(5 * KNOWN_MOST):
        target = b"/%d" % number
        remember(heads, written(target=target), known(target=target))

    assert len(heads._lately) + len(heads._before) <= 2 * KNOWN_MOST
    assert heads.find(written(target=b"/%d" % (5 * KNOWN_MOST - 1))) is not None
    assert heads.find(written()) is None


# -- as the listener reads them -------------------------------------------------------------------------


class Wire:
    """A client's transport that takes everything."""

    def __init__(self) -> None:
        self.written = b""

    def get_extra_info(self, name: str) -> Any:
        return None

    def write(self, data: bytes) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Taken:
    """One request as an engine hears it; answered at its end."""

    def __init__(self, exchange: Exchange) -> None:
        head = exchange.head
        self.exchange = exchange
        self.told = (exchange.method, exchange.version, head.target, exchange.length, exchange.keep_alive)
        self.fields = list(zip(head.fields.names.spelled, head.fields.values, strict=True))
        self.body = b""
        self.ended = False

    def body_arrived(self, data: bytes) -> None:
        assert data
        self.body += data

    def body_ended(self) -> None:
        self.ended = True
        self.exchange.start(200, b"", length=0)
        self.exchange.end()

    def client_gone(self, mechanism: Mechanism, facts: Facts) -> None: ...
    def client_reset(self, after_ms: float) -> None: ...
    def client_resumed(self) -> None: ...

    def heard(self) -> tuple[Any, ...]:
        """What was heard of it; the length in a head is not the request's."""
        fields = [pair for pair in self.fields if pair[0].lower() != b"content-length"]
        return self.told, fields, self.body, self.ended


async def heard(pieces: list[bytes], before: list[bytes], limits: Limits) -> tuple[list[Any], bytes]:
    """What a connection's requests come to; `before` came on other connections, and came twice."""
    taken: list[Taken] = []

    def on_request(exchange: Exchange) -> None:
        taken.append(Taken(exchange))
        exchange.received_by(taken[-1])

    listener = Listener(asyncio.get_running_loop(), Timeouts(), limits, on_request, render_error)
    for data in before * 2:
        connection = listener.connection()
        connection.connection_made(Wire())  # type: ignore[arg-type]
        connection.data_received(data)
    taken.clear()
    wire, connection = Wire(), listener.connection()
    connection.connection_made(wire)  # type: ignore[arg-type]
    for data in pieces:
        connection.data_received(data)
    await asyncio.sleep(0)
    listener.close()
    return [one.heard() for one in taken], wire.written


def requests(chance: random.Random) -> list[bytes]:
    """Some that came before and some that did not, some of them broken."""
    told = []
    for _ in range(chance.randint(1, 4)):
        size = chance.choice((0, 1, 5, 300, 3000, 5000))
        headers = [*length(b"%d" % size), *chance.choice(([], [(b"connection", b"close")], [(b"x", b"y")]))]
        head = written(headers, target=chance.choice((b"/v1/messages", b"/other")))
        if chance.random() < 0.2:
            head = head.replace(b"5", b"5 ", 1).replace(b"accept", chance.choice((b"Accept", b"acc ept")))
        told.append(head + chance.randbytes(size))
    return told


@pytest.mark.parametrize("seed", range(150))
def test_a_known_head_is_read_as_the_parser_reads_it(seed: int) -> None:
    """In whatever pieces it comes, with requests sent ahead behind it, refused ones and broken ones included."""
    chance = random.Random(seed)
    told = requests(chance)
    stream, pieces = b"".join(told), []
    while stream:
        size = chance.choice((1, 100, 200, 1000, len(stream)))
        pieces.append(stream[:size])
        stream = stream[size:]
    limits = Limits(body_bytes=4000)

    parsed = asyncio.run(heard(pieces, [], limits))
    recognised = asyncio.run(heard(pieces, told, limits))

    assert recognised == parsed
