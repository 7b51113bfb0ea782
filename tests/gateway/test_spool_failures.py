"""The spool cannot be written or read (the disk is full, or fails): turns end, and whoever waits is told."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable

import pytest

from holdfast.flight import moments as m
from holdfast.flight.endings import Mechanism, Side
from holdfast.gateway import streamlog
from holdfast.gateway.settings import Limits, Timeouts
from holdfast.lab import script as s
from tests.gateway.bare import WATCHDOG, WATCHDOG_S, Client, between, request
from tests.gateway.hosted import Call, body

MB = 1024 * 1024
NO_KEEPALIVE = Timeouts(keepalive_s=600.0)


class Disk:
    """The operating system's calls for the spool, which fail from a given moment on."""

    def __init__(self) -> None:
        self.failing: dict[str, int] = {}

    def fail(self, call: str, error: int) -> None:
        """From now on, `pread` or `pwrite` fails with this errno."""
        self.failing[call] = error

    def __getattr__(self, name: str) -> Callable[..., object]:
        real: Callable[..., object] = getattr(os, name)
        if name not in ("pread", "pwrite"):
            return real

        def call(*arguments: object) -> object:
            if name in self.failing:
                raise OSError(self.failing[name], os.strerror(self.failing[name]))
            return real(*arguments)

        return call


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(streamlog, "os", disk)
    return disk


def test_an_orphan_that_cannot_be_kept_still_ends(disk: Disk) -> None:
    """Its answer breaks with nobody there, and what was spooled cannot be read back for the attic: the turn is over."""
    told = s.answer(s.open_text(), s.Flood(MB, 4096), s.says("upon"), s.pause(0.5), s.reset())
    with between(told, timeouts=NO_KEEPALIVE, client_env=WATCHDOG) as (_, gateway):
        call = Call(gateway.port)
        call.hear_until(b'"upon"')
        time.sleep(WATCHDOG_S)
        call.leave()
        gateway.kept.wait_for(m.TurnOrphaned)
        disk.fail("pread", errno.EIO)

        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.code == "P.rst.text"
        assert gateway.kept.answers == []
        assert gateway.open_turns() == []


@pytest.mark.parametrize(
    ("end", "noted"),
    [
        pytest.param([s.silence()], m.ReaderLagged, id="while it goes on"),
        pytest.param([s.close_block()], m.AnswerFinished, id="when it is whole"),
    ],
)
def test_a_slow_reader_whose_bytes_are_lost_is_broken_off(
    disk: Disk, end: list[s.Part], noted: type[m.Moment]
) -> None:
    """What it had not read was on the disk: there is a hole in its stream, and it hears a reset, not silence."""
    told = s.answer(s.open_text(), s.Flood(24 * MB, 16384), *end)
    with between(told) as (provider, gateway):
        client = Client(gateway.port, request(), receive_bytes=64 * 1024)
        provider.wait_until(lambda seen: bool(seen.answers) and seen.answers[0].sent_bytes > 24 * MB)
        gateway.kept.wait_for(noted)
        disk.fail("pread", errno.EIO)

        client.hear_all()

        assert client.ended == "rst"
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert (ended.ending.side, ended.ending.mechanism) == (Side.MACHINE, Mechanism.LOCAL_ERROR)
        assert "reading the spool" in ended.ending.detail
        assert gateway.open_turns() == []
        provider.wait_until(lambda seen: bool(seen.answers[0].ended))


def test_a_full_disk_is_said_in_the_stream(disk: Disk) -> None:
    """The answer outgrew memory and the disk takes no more: the client hears an error with what to do about it."""
    told = s.answer(s.open_text(), s.says("Once upon"), s.pause(0.2), s.Flood(2 * MB, 4096), s.silence())
    with between(told, limits=Limits(memory_bytes=64 * 1024)) as (provider, gateway):
        call = Call(gateway.port)
        call.hear_until(b"upon")
        disk.fail("pwrite", errno.ENOSPC)
        heard = call.hear_all()

        assert b"event: error" in heard and b"make room on the disk" in heard
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.side is Side.MACHINE
        provider.wait_until(lambda seen: bool(seen.answers[0].ended))


def test_a_request_that_cannot_be_spooled_is_refused(disk: Disk) -> None:
    """A body larger than memory holds, and no disk: a 503 that says where room is missing, and nothing upstream."""
    disk.fail("pwrite", errno.ENOSPC)
    limits = Limits(request_memory_bytes=64 * 1024)
    with between(s.answer(s.text("never")), limits=limits, unbuffer=True) as (provider, gateway):
        call = Call(gateway.port, body("x" * MB))
        said = json.loads(call.hear_all())["error"]["message"]

        assert call.response.status == 503
        assert "No space left" in said and "make room" in said
        assert provider.requests == []


def test_a_request_that_cannot_be_read_back_is_asked_for_again(disk: Disk) -> None:
    """It was spooled and is lost: a 503, which the client retries."""
    disk.fail("pread", errno.EIO)
    limits = Limits(request_memory_bytes=64 * 1024)
    with between(s.answer(s.text("never")), limits=limits, unbuffer=True) as (provider, gateway):
        call = Call(gateway.port, body("x" * MB))
        said = json.loads(call.hear_all())["error"]["message"]

        assert call.response.status == 503
        assert "ask again" in said
        assert provider.requests == []


def test_a_whole_message_that_cannot_be_folded_is_not_hung_on(disk: Disk) -> None:
    """Its stream was spooled and cannot be read back: the client is told by status, as nothing was given to it yet."""
    told = s.answer(s.open_text(), s.Flood(MB, 4096), s.pause(0.3), s.close_block())
    with between(told, unbuffer=True) as (provider, gateway):
        call = Call(gateway.port, body(stream=False))
        provider.wait_until(lambda seen: bool(seen.answers) and seen.answers[0].sent_bytes > MB)
        disk.fail("pread", errno.EIO)

        assert json.loads(call.hear_all())["error"]["type"] == "api_error"
        assert call.response.status == 502
        (ended,) = gateway.kept.wait_for(m.TurnEnded)
        assert ended.ending.side is Side.MACHINE
