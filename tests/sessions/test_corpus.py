"""A home's transcripts, scan after scan: what is new is read, what is a copy is counted once, what vanished is kept."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.sessions.corpus import Update, update
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store, StoreError, not_kept
from holdfast.sessions.transcript import read
from tests.sessions.written import MORNING_MS, Pen

OTHER = "22222222-0000-4000-8000-000000000002"
Scan = Callable[[], tuple[Update, Store]]


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """Look at the home once more."""

    def once() -> tuple[Update, Store]:
        store = Store(tmp_path / "state" / "sessions.sqlite", now_ms=MORNING_MS)
        return update(store, transcripts(roots(tmp_path))[0]), store

    return once


def column(store: Store, table: str, *names: str) -> list[Any]:
    """Values of a table in the order of time; tuples for several columns."""
    order = "chain" if table == "chain" else "at_ms"
    rows = store.connection.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY {order}").fetchall()
    return [row[0] if len(names) == 1 else row for row in rows]


def test_a_second_scan_reads_only_what_is_new(tmp_path: Path, scan: Scan) -> None:
    """Two sessions; one goes on, and only its new lines are read."""
    pen = Pen().asks().answers("msg_1").after(40).fails(1)
    Pen(session=OTHER, at_ms=MORNING_MS + 5).asks().answers("msg_2").saved(tmp_path)
    before = pen.saved(tmp_path).stat().st_size
    first, _ = scan()
    pen.after(2).answers("msg_3")
    grown = pen.saved(tmp_path).stat().st_size - before
    second, store = scan()
    third, _ = scan()

    assert (first.files, first.read_files, first.copies) == (2, 2, 0)
    assert (second.read_files, second.read_bytes, second.copies) == (1, grown, 0)
    assert (third.files, third.read_files, third.read_bytes) == (2, 0, 0)
    assert column(store, "request", "message_id", "scan") == [("msg_1", 1), ("msg_2", 1), ("msg_3", 2)]
    assert column(store, "chain", "tries", "outcome") == [(1, "recovered")]


def test_copies_of_a_resumed_session_are_counted_once(tmp_path: Path, scan: Scan) -> None:
    """A fork writes the whole history again under another session's name; the client's own ids stay, and its times."""
    pen = Pen().asks().answers("msg_1").after(9).fails(1).after(1).fails(2).answers("msg_2").took(300)
    pen.saved(tmp_path)
    fork = Pen(session=OTHER)
    fork.lines = [
        line.replace(f'"sessionId":"{pen.session}"', f'"sessionId":"{OTHER}"') for line in pen.lines
    ]
    fork.saved(tmp_path)
    done, store = scan()

    assert done.copies == 5 and store.copied() == 1
    assert column(store, "turn_time", "duration_ms", "session") == [(300_000.0, pen.session)]
    assert len(column(store, "error", "uuid")) == len(column(store, "request", "message_id")) == 2
    assert column(store, "chain", "tries") == [2]


def test_a_store_that_kept_copies_lets_them_go(tmp_path: Path, scan: Scan) -> None:
    """Rows of a turn's time were once kept under every session's id that a fork had."""
    Pen().asks().answers("msg_1").took(300).saved(tmp_path)
    _, store = scan()
    run = store.connection.execute
    run("DROP INDEX turn_time_apart")
    run("INSERT INTO turn_time SELECT at_ms, ?, version, duration_ms, file, scan FROM turn_time", (OTHER,))
    _, store = scan()

    assert len(column(store, "turn_time", "session")) == 1


def test_an_answer_replayed_in_a_sidechain_belongs_to_the_conversation(tmp_path: Path, scan: Scan) -> None:
    """Whichever file is read first."""
    Pen().asks().answers("msg_1").saved(tmp_path)
    Pen(agent="a7").asks("x" * 9000).answers("msg_1").saved(tmp_path)
    _, store = scan()

    assert column(store, "request", "sidechain", "agent") == [(0, None)]


def test_what_the_client_deleted_is_kept(tmp_path: Path, scan: Scan) -> None:
    """It clears transcripts after a month; the errors in them are still known."""
    place = Pen().asks().fails(1).gives_up().saved(tmp_path)
    scan()
    place.unlink()
    done, store = scan()

    assert done.files == 0
    assert column(store, "error", "code") == ["ECONNRESET"]
    assert column(store, "dead", "text") == ["API Error: Unable to connect to API (ECONNRESET)"]


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path, scan: Scan) -> None:
    """It shrank: what was read of it says nothing of where to go on."""
    pen = Pen().asks().answers("msg_1").after(3).fails(1)
    place = pen.saved(tmp_path)
    scan()
    place.write_text(Pen(at_ms=MORNING_MS + 60_000).answers("msg_9").text())
    done, store = scan()

    assert done.read_files == 1
    assert column(store, "request", "message_id") == ["msg_1", "msg_9"]
    assert store.connection.execute("SELECT lines FROM file").fetchone() == (1,)


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the others are read all the same."""
    bad = Pen().fails(1).saved(tmp_path)
    Pen(session=OTHER).fails(1).fails(2).saved(tmp_path)

    def refuse(path: Path, **more: Any) -> Any:
        if path == bad:
            raise PermissionError(13, "Permission denied")
        return read(path, **more)

    monkeypatch.setattr("holdfast.sessions.corpus.read", refuse)
    done, store = scan()

    assert done.unreadable == [(bad, "Permission denied")]
    assert len(column(store, "error", "uuid")) == 2


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    """SQLite undoes a transaction by itself when the disk is full: that is told, and not that there was none to undo."""
    Pen().asks().answers("msg_1").fails(1).saved(tmp_path)
    store = Store(tmp_path / "state" / "sessions.sqlite", now_ms=MORNING_MS)
    store.connection.execute("PRAGMA max_page_count = 1")

    with pytest.raises(sqlite3.Error) as full:
        for number in range(200):
            Pen(f"{number:08x}-0000-4000-8000-000000000000").asks().answers(f"msg_{number}").saved(tmp_path)
        update(store, transcripts(roots(tmp_path))[0])

    said = not_kept(store.path, full.value)
    assert "full" in str(full.value)
    assert "make room on that disk" in said


def test_a_damaged_store_is_told_as_one(tmp_path: Path) -> None:
    """What is in it may be all that is left of deleted sessions: it is put aside, and not removed."""
    damaged = tmp_path / "sessions.sqlite"
    damaged.write_bytes(bytes(range(256)) * 40)
    damaged.chmod(0o600)

    with pytest.raises(StoreError, match="the file is damaged: put it aside"):
        Store(damaged, now_ms=MORNING_MS)


def test_an_interrupt_behind_the_last_word_is_itself(tmp_path: Path) -> None:
    """Ctrl-C while a transaction is being closed: the interrupt comes out, and no complaint that none was open."""
    store = Store(tmp_path / "state" / "sessions.sqlite", now_ms=MORNING_MS)

    with pytest.raises(KeyboardInterrupt), store.transaction():
        store.connection.execute("COMMIT")
        raise KeyboardInterrupt


def test_the_store_is_private_and_holds_no_key(tmp_path: Path, scan: Scan) -> None:
    """0600; an error text that quotes a key is kept without it."""
    Pen().gives_up("API Error: 401 invalid x-api-key: sk-ant-api03-abcdefghijklmnop").saved(tmp_path)
    _, store = scan()

    assert store.path is not None and stat.S_IMODE(store.path.stat().st_mode) == 0o600
    (text,) = column(store, "dead", "text")
    assert text.startswith("API Error: 401") and "abcdefgh" not in text


def test_a_later_scan_knows_what_is_new(tmp_path: Path) -> None:
    """Failures, answers, sessions and projects that no earlier scan had seen; a known session that goes on is none."""
    from holdfast.sessions.store import REPORTS_KEPT

    place = tmp_path / "state" / "sessions.sqlite"
    pen = Pen().asks().answers("msg_1").after(9).fails(1).answers("msg_2")
    pen.saved(tmp_path)
    first = Store(place, now_ms=1_000)
    update(first, transcripts(roots(tmp_path))[0])
    first.keep_report("one")
    assert first.reports() == [] and first.added_since(0).sessions == 1
    first.close()

    pen.after(60).fails(1).fails(2).answers("msg_3").saved(tmp_path)
    Pen("22222222-0000-4000-8000-000000000002", cwd="/work/other").asks().answers("msg_4").saved(tmp_path)
    second = Store(place, now_ms=2_000)
    update(second, transcripts(roots(tmp_path))[0])
    [(scan, at_ms, found)] = second.reports()
    assert (at_ms, found) == (1_000, "one")
    added = second.added_since(scan)
    assert len(added.failures) == 1
    assert (added.requests, added.sessions, added.projects) == (2, 1, 1)
    for number in range(REPORTS_KEPT + 5):
        second.connection.execute("INSERT OR REPLACE INTO report VALUES (?, 0, '')", (-number,))
    second.keep_report("two")
    assert second.connection.execute("SELECT count(*) FROM report").fetchone() == (REPORTS_KEPT,)
    second.close()
