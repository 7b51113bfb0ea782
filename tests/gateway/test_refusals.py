"""Refused requests are seen, and a thousand of them fill nothing."""

from __future__ import annotations

import heapq
import socket
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from holdfast.gateway.refusals import LONGEST_S, MOST_REASONS, Refusals
from holdfast.gateway.settings import Limits, Settings, Upstream
from tests.gateway.hosted import Call, hosted


class Clock:
    """As much of a loop as is needed, with a time that jumps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None], list[bool]]] = []
        self._number = count()

    def call_later(self, delay: float, call: Callable[[], None]) -> Any:
        cancelled: list[bool] = []
        heapq.heappush(self._due, (self.now + delay, next(self._number), call, cancelled))
        return type("Handle", (), {"cancel": lambda _: cancelled.append(True)})()

    def until(self, at: float) -> None:
        """Let everything happen that is due by then."""
        while self._due and self._due[0][0] <= at:
            self.now, _, call, cancelled = heapq.heappop(self._due)
            if not cancelled:
                call()
        self.now = at


@pytest.fixture
def told() -> list[tuple[float, str]]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def refusals(clock: Clock, told: list[tuple[float, str]]) -> Refusals:
    return Refusals(clock, lambda said: told.append((clock.now, said)))


def test_the_first_is_told_soon_with_those_that_come_with_it(
    clock: Clock, refusals: Refusals, told: list[tuple[float, str]]
) -> None:
    """By status and reason, without the advice that the client was given."""
    for _ in range(3):
        refusals.count(401, "this gateway wants its access token: send it as holdfast-token header")
    refusals.count(413, "the request is larger than 100 bytes")
    clock.until(5.0)

    assert told == [
        (
            1.0,
            "refused 4 requests: 401 this gateway wants its access token (3), "
            "413 the request is larger than 100 bytes (1)",
        )
    ]
    assert refusals.by_status == {401: 3, 413: 1}


def test_a_day_of_a_thousand_a_second_is_thirty_lines(
    clock: Clock, refusals: Refusals, told: list[tuple[float, str]]
) -> None:
    """Each says how many there were; the waits grow to an hour."""
    for second in range(86_400):
        refusals.count(400, "this is not HTTP that can be relayed: Invalid method")
        clock.until(float(second))
    refusals.close()

    assert len(told) <= 30
    assert sum(int(said.split()[1]) for _, said in told) == 86_400
    assert [at for at, _ in told[:4]] == [1.0, 61.0, 181.0, 421.0]


def test_after_a_quiet_while_the_next_is_told_soon_again(
    clock: Clock, refusals: Refusals, told: list[tuple[float, str]]
) -> None:
    """One refusal today and one tomorrow are two lines at their times."""
    refusals.count(403, "requests from web pages are refused (the request has an Origin)")
    clock.until(2 * LONGEST_S)
    refusals.count(403, "requests from web pages are refused (the request has an Origin)")
    clock.until(2 * LONGEST_S + 2)

    assert told == [
        (at, "refused 1 request: 403 requests from web pages are refused (1)")
        for at in (1.0, 2 * LONGEST_S + 1)
    ]


def test_reasons_are_bounded(clock: Clock, refusals: Refusals, told: list[tuple[float, str]]) -> None:
    """They are our own words; if ever they were not, a line would still be one."""
    for number in range(1000):
        refusals.count(400, f"reason {number}")
    clock.until(2.0)

    ((_, said),) = told
    assert said.count("reason ") == MOST_REASONS and "other reasons (980)" in said


def test_every_way_to_be_refused_is_told() -> None:
    """What is no HTTP, too large a head, too large a body, a strange host, a page of the web, a path without the prefix."""
    settings = Settings(
        upstream=Upstream.parse("http://127.0.0.1:9"),
        prefix="/secret",
        limits=replace(Limits(), body_bytes=1000, head_bytes=2000),
    )
    with hosted(settings) as gateway:
        for asked in (
            b"NONSENSE\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * 4000 + b"\r\n\r\n",
            b"POST /secret/v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2000\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n\r\n",
            b"GET /v1/sk-ant-mine HTTP/1.1\r\nhost: localhost\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", gateway.port)) as one:
                one.sendall(asked)
                assert one.recv(20).startswith(b"HTTP/1.1 4")
        Call(gateway.port, path="/secret2/v1/messages").hear_all()
    ((name, said),) = gateway.kept.told

    assert name == "refused"
    assert said.startswith("refused 7 requests: 403 this gateway serves one command only (2), ")
    assert all(f" {status} " in said for status in (400, 431, 413, 421, 403))
    assert not any(word in said for word in ("evil", "sk-ant", "secret2"))
    assert not gateway.kept.records
