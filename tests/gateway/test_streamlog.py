"""The stream log: what was appended is what every reader reads, wherever it lies."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from holdfast.flight.record import AnswerLost
from holdfast.gateway.streamlog import Lent, MemoryBudget, SpoolError, StreamLog


def test_old_bytes_leave_memory_and_stay_readable(tmp_path: Path) -> None:
    """A large answer costs its memory limit and no more."""
    budget = MemoryBudget(10_000_000)
    log = StreamLog(budget, 1000, tmp_path)
    for number in range(1000):
        log.append(b"%07d\n" % number)

    assert log.whole() == b"".join(b"%07d\n" % number for number in range(1000))
    assert budget.total - budget.free <= 1000
    log.close()
    assert budget.free == budget.total


def test_the_spool_has_no_name(tmp_path: Path) -> None:
    """Nothing is left behind, however the process ends."""
    log = StreamLog(MemoryBudget(1 << 20), 10, tmp_path)
    log.append(b"x" * 100)

    assert list(tmp_path.iterdir()) == []
    assert log.read(90) == b"x" * 10
    log.close()


def test_when_memory_is_used_up_logs_spool_early(tmp_path: Path) -> None:
    """Many answers together stay within what the process may use."""
    budget = MemoryBudget(100_000)
    logs = [StreamLog(budget, 1 << 20, tmp_path) for _ in range(20)]
    for _ in range(50):
        for log in logs:
            log.append(b"x" * 1000)

    assert budget.total - budget.free <= 20 * 17_000
    assert all(log.whole() == b"x" * 50_000 for log in logs)
    for log in logs:
        log.close()


def test_a_spool_that_cannot_be_written_is_an_error_with_its_reason(tmp_path: Path) -> None:
    """Not a silent loss."""
    log = StreamLog(MemoryBudget(1 << 20), 10, tmp_path / "gone")

    with pytest.raises(SpoolError, match="spool"):
        log.append(b"x" * 100)


def test_what_was_lent_outlives_the_log_and_what_it_does(tmp_path: Path) -> None:
    """Another thread may still be reading: neither more bytes nor a cut nor the log's end change a byte of it."""
    log = StreamLog(MemoryBudget(1 << 20), 10, tmp_path)
    log.append(b"0123456789abcdef")
    log.append(b"in mem")
    lent = log.lend()
    log.cut(4)
    log.append(b"other words, longer than before")
    assert log.whole() == b"0123other words, longer than before"
    log.close()

    assert (lent.size, lent.held_bytes) == (22, 6)
    assert b"".join(lent.pieces()) == b"".join(lent.pieces()) == b"0123456789abcdefin mem"


def descriptors() -> int:
    """How many this process holds."""
    return len(list(Path("/dev/fd").iterdir()))


def test_the_last_who_holds_the_spool_closes_it(tmp_path: Path) -> None:
    """A lent log costs no second descriptor, and none for longer than it is read."""
    before = descriptors()
    log = StreamLog(MemoryBudget(1 << 20), 10, tmp_path)
    log.append(b"x" * 100)
    lent = log.lend()
    assert descriptors() == before + 1
    log.close()
    assert b"".join(lent.pieces()) == b"x" * 100
    del lent
    assert descriptors() == before


def test_a_lent_spool_that_cannot_be_read_is_lost_and_said(tmp_path: Path) -> None:
    """The reader hears it as what it is, not as an end."""
    log = StreamLog(MemoryBudget(1 << 20), 10, tmp_path)
    log.append(b"x" * 100)
    lent = log.lend()
    assert log._file is not None
    os.truncate(log._file._descriptor, 50)

    with pytest.raises(AnswerLost, match="shorter"):
        list(lent.pieces())


class Readers(RuleBasedStateMachine):
    """Readers come, leave, lag and return, while the answer grows and moves to disk."""

    readers = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.budget = MemoryBudget(4096)
        self.log = StreamLog(self.budget, 64, None)
        self.truth = b""
        self.read: dict[int, bytes] = {}
        self.lent: deque[tuple[Lent, bytes]] = deque(maxlen=3)

    @rule(data=st.binary(min_size=1, max_size=100))
    def grow(self, data: bytes) -> None:
        self.log.append(data)
        self.truth += data

    @rule(target=readers)
    def join(self) -> int:
        number = len(self.read)
        self.read[number] = b""
        return number

    @rule(reader=readers, limit=st.integers(1, 200))
    def follow(self, reader: int, limit: int) -> None:
        self.read[reader] += self.log.read(len(self.read[reader]), limit)

    @rule(reader=readers)
    def catch_up(self, reader: int) -> None:
        while piece := self.log.read(len(self.read[reader])):
            self.read[reader] += piece
        assert self.read[reader] == self.truth

    @rule(target=readers, reader=readers)
    def leave_and_return(self, reader: int) -> object:
        self.read[reader] = b""
        return multiple()

    @rule()
    def lend(self) -> None:
        self.lent.append((self.log.lend(), self.truth))

    @rule(share=st.floats(0, 1))
    def cut(self, share: float) -> None:
        """Only what nobody has read."""
        least = max(map(len, self.read.values()), default=0)
        size = least + int((len(self.truth) - least) * share)
        self.log.cut(size)
        self.truth = self.truth[:size]

    @invariant()
    def what_was_lent_stays_as_it_was(self) -> None:
        assert all(b"".join(lent.pieces()) == truth for lent, truth in self.lent)

    @invariant()
    def everybody_has_read_the_beginning_of_the_truth(self) -> None:
        assert all(self.truth.startswith(heard) for heard in self.read.values())
        assert self.log.size == len(self.truth)

    @invariant()
    def it_holds_the_truth_and_nothing_like_it(self) -> None:
        assert self.log.holds(bytes(self.truth))
        assert not self.log.holds(bytes(self.truth) + b"x")
        assert not self.truth or not self.log.holds(bytes(self.truth[:-1]) + bytes([self.truth[-1] ^ 1]))

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.budget.total - self.budget.free <= 64 + 100

    def teardown(self) -> None:
        self.log.close()
        assert self.budget.free == self.budget.total


TestReaders = Readers.TestCase
TestReaders.settings = settings(max_examples=60, stateful_step_count=40)
