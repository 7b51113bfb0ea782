"""The journal: what is written, when, by whom, and what happens when it cannot be."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from holdfast.flight import moments as m
from holdfast.flight import schema
from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side
from holdfast.flight.flights import summary
from holdfast.flight.instances import phase_after
from holdfast.flight.instant import Instant
from holdfast.flight.journal import (
    PENDING_RECORDS,
    ROWS_AT_ONCE,
    Journal,
    Retention,
    _row,
    encode_moments,
    expire_turns,
    used_bytes,
)
from holdfast.flight.reading import Library, open_library
from holdfast.flight.record import InMemory, TurnRecord
from holdfast.flight.schema import (
    SCHEMA_VERSION,
    TURN_COLUMNS,
    JournalError,
    connect,
    migrate,
    schema_version,
)
from holdfast.flight.state import StateError
from tests.flight.telling import HUNG_UP, NOON, at, end, frozen_turn, short_turn, tell, turn


def written(directory: Path, *records: TurnRecord) -> None:
    """Write these turns as a gateway would."""
    journal = Journal(directory)
    for record in records:
        journal.changed(record)
    assert journal.close(timeout_s=10)


def read(directory: Path) -> list[TurnRecord]:
    """All turns, the oldest first."""
    with open_library(directory) as library:
        assert library is not None
        return [stored.record for stored in library.recent(1000)][::-1]


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what another thread or process is about to do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.mark.parametrize("tell_turn", [short_turn, frozen_turn])
def test_a_turn_comes_back_as_it_was(tmp_path: Path, tell_turn: Callable[[], TurnRecord]) -> None:
    """Every field, every moment with both its times, and the ending survive the journal."""
    record = tell_turn()
    record.input_tokens, record.output_tokens, record.stop_reason, record.subagent = (
        5,
        6,
        "end_turn",
        "agent-1",
    )
    record.held, record.wasted_tokens, record.saved_from = 2, 7, "silence"
    assert record.ending is not None
    record.ending = Ending(
        Side.PROVIDER, Mechanism.RST, Phase.IN_TEXT, "why", {"silence_s": 3.5, "unacked_bytes": None}
    )
    expected = copy.deepcopy(record)
    written(tmp_path, record)
    assert read(tmp_path) == [expected]
    assert record.moments == [], "what is written down leaves memory"


def test_every_field_of_a_record_has_its_column() -> None:
    """A field that is added to the record must be added to the journal, with a migration."""
    split = {"started": ("started_mono_s", "started_wall_ms"), "ended": ("ended_mono_s", "ended_wall_ms")}
    expected = {column for name in TurnRecord.__struct_fields__ for column in split.get(name, (name,))}
    assert set(schema.TURN_COLUMNS) == expected | {"instance_id", "ending_code"}


def test_single_moments_can_be_asked_for_in_sql(tmp_path: Path) -> None:
    """Any browser of SQLite files sees one row per moment, through a view."""
    record = frozen_turn()
    count = len(record.moments)
    written(tmp_path, record)
    connection = sqlite3.connect(tmp_path / "journal.sqlite")
    rows = connection.execute(
        "SELECT turn_id, seq, mono_s, wall_ms, name, data FROM moment ORDER BY seq"
    ).fetchall()
    quiet = next(row for row in rows if row[4] == "QuietEnded")
    assert len(rows) == count and [row[1] for row in rows] == list(range(1, len(rows) + 1))
    assert quiet[:4] == (record.turn_id, 13, 1308.0, NOON.wall_ms + 308_000)
    assert json.loads(quiet[5]) == {"quiet_s": 304.0, "keepalives": 30}


def test_a_long_turn_is_written_as_it_goes_on(tmp_path: Path) -> None:
    """A turn can be read while it runs, and later moments are added to the earlier ones."""
    journal = Journal(tmp_path, flush_every_s=0.01)
    record = turn()
    told = list(record.moments)
    for second in range(1, 4):
        tell(record, (second, m.AttemptStarted(second)))
        told.append(record.moments[-1])
        journal.changed(record)
        until(lambda: bool(found := read(tmp_path)) and found[0].moments == told)
    assert read(tmp_path)[0].ending is None
    end(record, 9)
    told.append(record.moments[-1])
    journal.changed(record)
    journal.close()
    assert read(tmp_path) == [msgspec.structs.replace(record, moments=told)]


def test_many_changed_turns_do_not_wait_for_the_clock(tmp_path: Path) -> None:
    """What is noticed of a thousand turns at once does not pile up until the half second is over."""
    journal = Journal(tmp_path, flush_every_s=3600.0)
    until(lambda: journal._rounds > 0)
    records = [short_turn() for _ in range(ROWS_AT_ONCE)]
    for number, record in enumerate(records):
        record.turn_id = f"turn{number:010}"
        journal.changed(record)
    until(lambda: len(read(tmp_path)) == ROWS_AT_ONCE)
    assert not any(record.moments for record in records)
    journal.close()


def test_files_and_directories_are_private(tmp_path: Path) -> None:
    """Nobody else can read what was recorded, whatever the umask says."""
    before = os.umask(0)
    try:
        journal = Journal(tmp_path / "deep" / "state")
        journal.changed(short_turn())
        journal.keep_answer(short_turn(), InMemory(b"x"), complete=True, content_type="text/plain")
        assert journal.settle()
        made = [
            path for path in (tmp_path / "deep" / "state").rglob("*") if path.name != "journal.sqlite-shm"
        ]
        journal.close()
    finally:
        os.umask(before)
    assert {path.name for path in made} >= {"journal.sqlite", "journal.sqlite-wal", "answers", "instances"}
    for path in made:
        if path.exists():
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_no_credential_reaches_the_file(tmp_path: Path) -> None:
    """A key that slipped into a path, an agent, an error or a tool's name is taken out before it is written."""
    key = "sk-ant-api03-SECRETSECRETSECRET"
    record = turn()
    record.path = f"/v1/messages/{key}"
    record.agent = f"curl Bearer {key}"
    tell(
        record,
        (1, m.RequestArrived("POST", record.path, record.agent, "unknown")),
        (2, m.BlockOpened(0, "tool_use", key)),
        (3, m.AttemptEnded(1, Ending(Side.PATH, Mechanism.DNS, Phase.RESOLVING, f"https://me:{key}@host"))),
        (4, m.UpstreamStopped(1, f"x-api-key: {key}")),
    )
    end(
        record,
        5,
        Ending(Side.PATH, Mechanism.DNS, Phase.RESOLVING, "cookie: s=SECRET", {"url": f"http://a:{key}@h"}),
    )
    written(tmp_path, record)
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"SECRET" not in everything and b"[removed]" in everything


def test_text_that_is_no_unicode_does_not_cost_the_turn() -> None:
    """Bytes of a client's that were decoded as surrogates are escaped."""
    record = tell(turn(), (1, m.RequestHeld("\udcff")))
    assert rb"\\udcff" in encode_moments(record.moments)


# ----- versions


def test_an_older_journal_is_upgraded_with_its_turns(tmp_path: Path) -> None:
    """A journal of schema 1 gets the view of schema 2 and keeps what it held."""
    connection = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    migrate(connection, tmp_path, schema.MIGRATIONS[:1])
    record = frozen_turn()
    row = dict(zip(TURN_COLUMNS, _row(record, "old", encode_moments(record.moments)), strict=True))
    for later in ("healed", "request_key", "breaks"):  # came with schema 3, 4 and 5
        del row[later]
    columns = ", ".join(row)
    connection.execute(f"INSERT INTO turn ({columns}) VALUES ({', '.join('?' * len(row))})", [*row.values()])
    assert schema_version(connection) == 1
    connection.close()

    assert read(tmp_path) == [record]
    connection = connect(tmp_path)
    assert schema_version(connection) == SCHEMA_VERSION
    assert connection.execute("SELECT count(*) FROM moment").fetchone()[0] == len(record.moments)


def test_an_upgrade_that_fails_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    """A migration is done as a whole or not at all."""
    connection = connect(tmp_path)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, tmp_path, (*schema.MIGRATIONS, "CREATE TABLE extra (a);\nTHIS IS NOT SQL;\n"))
    assert schema_version(connection) == SCHEMA_VERSION
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone()[0] == 0


def test_a_newer_journal_is_refused_with_advice(tmp_path: Path) -> None:
    """An older holdfast says what to do and does not touch the file."""
    connect(tmp_path).execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(JournalError, match=r"newer holdfast \(schema \d+.*upgrade holdfast"):
        Journal(tmp_path)


def test_a_file_that_is_no_journal_is_refused_with_advice(tmp_path: Path) -> None:
    """Garbage in the place of the journal is named and kept."""
    (tmp_path / "journal.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(JournalError, match="move the file away"):
        Journal(tmp_path)


# ----- trouble


def test_a_locked_journal_never_stops_the_gateway(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While another program holds the file, records wait in memory; it is said once, and nothing is lost."""
    journal = Journal(tmp_path, flush_every_s=0.01)
    holder = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    record = short_turn()
    expected = copy.deepcopy(record)
    with caplog.at_level(logging.WARNING, "holdfast.journal"):
        began = time.perf_counter()
        journal.changed(record)
        assert time.perf_counter() - began < 0.1
        until(lambda: journal.failure is not None)
        assert "locked" in repr(journal)
        time.sleep(0.05)
        holder.execute("ROLLBACK")
        until(lambda: journal.failure is None)
    journal.close()
    assert read(tmp_path) == [expected]
    assert [r.message.split(" in ")[0].split(";")[0] for r in caplog.records] == [
        "the journal",
        "the journal can be written to again",
    ]


def test_a_journal_that_was_moved_away_is_missed_until_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows for a file that nobody will find wait in memory, and whoever runs the gateway is told."""
    journal, record = Journal(tmp_path, flush_every_s=0.01), short_turn()
    expected = copy.deepcopy(record)
    with caplog.at_level(logging.WARNING, "holdfast.journal"):
        (tmp_path / "journal.sqlite").rename(tmp_path / "elsewhere")
        journal.changed(record)
        until(lambda: journal.failure is not None)
        (tmp_path / "elsewhere").rename(tmp_path / "journal.sqlite")
        until(lambda: journal.failure is None)
    journal.close()

    assert "moved or removed; put it back, or start this gateway again" in caplog.text
    assert read(tmp_path) == [expected]


class BusyJournal(Journal):
    """While it writes a transaction, another turn arrives, as under load."""

    transactions = 0

    def _flush(self) -> None:
        if self.transactions < 100:
            self.changed(turn(turn_id=f"{self.transactions:014}"))
        self.transactions += 1
        super()._flush()


def test_turns_that_change_while_a_round_is_written_wait_for_the_next(tmp_path: Path) -> None:
    """Under load a round is one transaction. Chasing what arrives meanwhile, each would hold a turn or two."""
    journal = BusyJournal(tmp_path, flush_every_s=3600.0)
    journal.changed(turn())

    assert journal.settle()

    assert 1 <= journal.transactions <= 3
    assert journal.close()
    assert len(read(tmp_path)) == 101, "closing leaves nothing behind"


def test_a_full_disk_costs_bounded_memory_and_the_loss_is_noted(tmp_path: Path) -> None:
    """With no room left, so many records wait and the rest are counted; once there is room this is in the journal."""
    journal = Journal(tmp_path, flush_every_s=0.01)
    connection = journal._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    record = frozen_turn()
    for number in range(PENDING_RECORDS + 50):
        record = turn(turn_id=f"{number:014}")
        journal.changed(record)
    until(lambda: journal.failure is not None)
    assert "full" in str(journal.failure)
    for number in range(PENDING_RECORDS + 50, PENDING_RECORDS + 2000):
        journal.changed(turn(turn_id=f"{number:014}"))
    assert len(journal._dirty) <= PENDING_RECORDS + 500 and journal.dropped_turns > 0
    connection.execute("PRAGMA max_page_count = 1000000")
    until(lambda: journal.failure is None and not journal._dirty)
    journal.close()
    with open_library(tmp_path) as library:
        assert library is not None
        assert f"{journal.dropped_turns} turns and 0 answers were dropped" in [
            text for _, _, text in library.notes()
        ]


def test_a_record_that_cannot_be_written_costs_only_itself(tmp_path: Path) -> None:
    """A defect in one record does not keep the others out of the journal."""
    bad, good = short_turn(turn_id="bad"), short_turn(turn_id="good")
    bad.attempts = None  # type: ignore[assignment]
    journal = Journal(tmp_path, flush_every_s=60)
    journal.changed(bad)
    journal.changed(good)
    assert journal.close()
    assert [record.turn_id for record in read(tmp_path)] == ["good"] and journal.dropped_turns == 1


def test_a_row_that_is_not_taken_makes_no_other_tell_its_news_twice(tmp_path: Path) -> None:
    """Three turns have news in one round, and SQLite refuses the second one."""
    journal = Journal(tmp_path, flush_every_s=60)
    first, bad, last = (turn(turn_id=name) for name in ("a", "b", "c"))
    for record in (first, bad, last):
        journal.changed(record)
    assert journal.settle()
    for record in (first, bad, last):
        journal.changed(tell(record, (1, m.AttemptStarted(1)), (2, m.AttemptStarted(2))))
    bad.status = 2**70
    assert journal.close(10) and journal.dropped_turns == 1

    told = {record.turn_id: [type(moment) for _, moment in record.moments] for record in read(tmp_path)}
    assert told["a"] == told["c"] == [m.RequestArrived, m.AttemptStarted, m.AttemptStarted]


def test_a_directory_that_cannot_be_written_is_refused_with_advice(tmp_path: Path) -> None:
    """The gateway learns at its start that nothing can be recorded, and how to help it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="set HOLDFAST_STATE_DIR"):
        Journal(tmp_path / "file" / "state")


@contextlib.contextmanager
def read_only(state_dir: Path, what: str = "*") -> Iterator[None]:
    """All of it, or `what` alone, may not be written; root, whom modes do not stop, is somebody else meanwhile."""
    root, nobody = os.geteuid() == 0, 65534
    places = [*state_dir.rglob("*"), state_dir]
    for place in places:
        if root:
            os.chown(place, nobody, nobody)
        if what in ("*", place.name):
            place.chmod(0o500 if place.is_dir() else 0o400)
    if root:
        os.seteuid(nobody)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for place in reversed(places):
            place.chmod(0o700 if place.is_dir() else 0o600)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that others than the tests' user can get to."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory) / "state"


def test_a_journal_that_may_not_be_written_is_read_all_the_same(open_to_all: Path) -> None:
    """Of an archive or a mount: its turns are told, and nothing is left behind in it."""
    journal = Journal(open_to_all)
    journal.changed(short_turn())
    assert journal.close(20)
    before = sorted(open_to_all.iterdir())

    with read_only(open_to_all), open_library(open_to_all) as library:
        assert library is not None
        told = [stored.record.model for stored in library.recent(5)]

    assert told == [short_turn().model]
    assert sorted(open_to_all.iterdir()) == before


def test_a_log_that_cannot_be_read_is_not_passed_over(open_to_all: Path) -> None:
    """The latest turns may stand in it alone."""
    assert Journal(open_to_all).close(20)
    (open_to_all / "journal.sqlite-wal").write_bytes(b"turns")

    with (
        read_only(open_to_all),
        pytest.raises(JournalError, match="copy the directory"),
        open_library(open_to_all),
    ):
        pass


@pytest.mark.parametrize("what", ["*", "journal.sqlite"])
def test_a_journal_that_may_not_be_written_names_the_owner_and_not_the_disk(
    what: str, open_to_all: Path
) -> None:
    """Moving the file away would not help, and lose what is in it."""
    assert Journal(open_to_all).close(20)

    with read_only(open_to_all, what), pytest.raises((JournalError, StateError)) as refused:
        Journal(open_to_all)

    assert "HOLDFAST_STATE_DIR" in str(refused.value)
    assert "move" not in str(refused.value) and "disk" not in str(refused.value)


def test_threads_of_the_gateway_may_record_at_once(tmp_path: Path) -> None:
    """Records that change while they are being written arrive whole in the end."""
    journal = Journal(tmp_path, flush_every_s=0.001)
    records = [turn(turn_id=f"t{number:03}") for number in range(20)]

    def work() -> None:
        for second in range(200):
            for record in records:
                tell(record, (second, m.AttemptStarted(second)))
                journal.changed(record)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    for record in records:
        journal.changed(end(record, 999))
    journal.close(timeout_s=20)
    seconds = [[moment.attempt for _, moment in told.moments if isinstance(moment, m.AttemptStarted)]
               for told in read(tmp_path)]  # fmt: skip
    assert seconds == [list(range(200))] * 20


# ----- several gateways

WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from holdfast.flight import instant, moments as m
from holdfast.flight.journal import Journal
from tests.flight.telling import short_turn, tell, turn

journal = Journal(Path(sys.argv[1]), flush_every_s=0.02)
open_turn = turn(instant.now(), turn_id=sys.argv[2] + "open")
tell(open_turn, (0.0, m.AttemptStarted(1)), (0.1, m.BlockOpened(0, "tool_use", "Write")))
journal.changed(open_turn)
number = 0
while True:
    number += 1
    journal.changed(short_turn(instant.now(), turn_id=f"{sys.argv[2]}{number:06}"))
    if number == 30:
        print("ready", flush=True)
    time.sleep(0.002)
"""


def start_writer(state: Path, name: str, home: Path) -> subprocess.Popen[bytes]:
    """A gateway's recording, in a process of its own."""
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(state), name, str(root)],
        env={"PATH": os.defpath, "HOME": str(home), "PYTHONPATH": str(root / "src")},
        stdout=subprocess.PIPE,
    )


def test_three_gateways_share_a_journal_and_one_is_killed(tmp_path: Path) -> None:
    """`kill -9` of one leaves the journal sound; its open turn becomes interrupted, the others' go on."""
    state = tmp_path / "state"
    writers = {name: start_writer(state, name, tmp_path) for name in "abc"}
    try:
        for writer in writers.values():
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        with open_library(state) as library:
            assert library is not None
            until(lambda: all(library.find(f"{name}open") and count(library, name) > 30 for name in "abc"))
            assert all(library.find(f"{name}open")[0].ending_code is None for name in "abc")

        writers["b"].send_signal(signal.SIGKILL)
        writers["b"].wait()
        with open_library(state) as library:
            assert library is not None
            assert library.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            killed = library.find("bopen")[0].record
            assert killed.ending is not None and killed.ended is not None
            assert killed.ending.code == "M.died.tool" and str(writers["b"].pid) in killed.ending.detail
            assert killed.ended.wall_ms >= killed.started.wall_ms
            assert [library.find(f"{name}open")[0].ending_code for name in "ac"] == [None, None]
            before = count(library, "a"), count(library, "c")
            until(lambda: count(library, "a") > before[0] and count(library, "c") > before[1])
            assert count(library, "b") > 30
    finally:
        for writer in writers.values():
            writer.kill()
            writer.wait()
            if writer.stdout is not None:
                writer.stdout.close()


def count(library: Library, name: str) -> int:
    """How many turns a writer has in the journal."""
    found: int = library.connection.execute(
        "SELECT count(*) FROM turn WHERE turn_id LIKE ? || '%'", (name,)
    ).fetchone()[0]
    return found


def test_a_gateway_that_closes_while_the_file_is_held_tries_once_more(tmp_path: Path) -> None:
    """A turn that was over is not left as one that its gateway interrupted."""
    journal = Journal(tmp_path, flush_every_s=60)
    record = turn()
    journal.changed(record)
    assert journal.settle()
    journal._connection.execute("PRAGMA busy_timeout = 250")
    holder = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    journal.changed(end(record, 1.8))
    assert not journal.close(0)
    until(lambda: journal.failure is not None)
    holder.execute("ROLLBACK")
    assert journal.close(10)
    assert [found.ending for found in read(tmp_path)] == [COMPLETED]


@pytest.mark.parametrize(("writes", "finished"), [([1, 1, 1], True), ([1, 0, 1], False)])
def test_a_gateway_that_closes_waits_as_long_as_something_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: list[int], finished: bool
) -> None:
    """A crowded machine writes two thousand turns in five seconds, a disk that stands still none in two."""
    journal = Journal(tmp_path)
    real, left = journal._thread, list(writes)

    class Writing:
        def join(self, timeout_s: float) -> None:
            journal._steps += left.pop(0)

        def is_alive(self) -> bool:
            return bool(left)

    with monkeypatch.context() as patched:
        patched.setattr(journal, "_thread", Writing())
        patched.setattr(journal, "_closing", False)
        assert journal.close() is finished
    journal._closing = True
    real.join(10)


def test_of_two_that_make_a_journal_at_once_none_is_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says at once that it is locked to the one that comes second to the switch of mode."""

    class Late(sqlite3.Connection):
        refused = 0

        def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
            if sql == "PRAGMA journal_mode = WAL" and Late.refused < 2:
                Late.refused += 1
                raise sqlite3.OperationalError("database is locked")
            return super().execute(sql, *arguments)  # type: ignore[arg-type]

    opened = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: opened(*a, **k, factory=Late))
    connection = schema.connect(tmp_path)
    assert Late.refused == 2 and connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    connection.close()


def test_while_a_turn_is_silent_its_gateway_shows_signs_of_life(tmp_path: Path) -> None:
    """Of a gateway that is killed after five minutes of silence it must not be told that the turn took a second."""
    now = [NOON]
    journal = Journal(tmp_path, flush_every_s=0.01, clock=lambda: now[0])
    journal.changed(turn())
    assert journal.settle()
    now[0] = at(300)
    row = "SELECT seen_wall_ms FROM instance"
    with sqlite3.connect(tmp_path / "journal.sqlite") as other:
        until(lambda: other.execute(row).fetchone()[0] == at(300).wall_ms)
    assert journal.close(10)
    assert summary(read(tmp_path)[0]).startswith("interrupted M.died.send after at least 300 s")


def test_a_gateway_that_closes_interrupts_its_own_open_turns(tmp_path: Path) -> None:
    """After a proper end, too, no turn is left running for ever."""
    written(tmp_path, tell(turn(), (1, m.AttemptStarted(1)), (2, m.Connected(1, "a", 0.1, True))))
    ending = read(tmp_path)[0].ending
    assert ending is not None and (ending.code, ending.detail) == ("M.died.send", "the gateway was closed")
    assert not list((tmp_path / "instances").iterdir())


@pytest.mark.parametrize(
    ("same_start", "code"),
    [(True, None), (False, "M.died.send")],
    ids=["this process", "its pid, another process"],
)
def test_without_a_lock_file_pid_start_and_boot_decide(
    tmp_path: Path, same_start: bool, code: str | None
) -> None:
    """A pid that was given to another process does not keep a dead gateway's turns alive."""
    journal = Journal(tmp_path, flush_every_s=60)
    journal.changed(turn())
    assert journal.settle()
    (tmp_path / "instances" / f"{journal.instance_id}.lock").unlink()
    if not same_start:
        journal._connection.execute("UPDATE instance SET process_start = 'another'")
    with open_library(tmp_path) as library:
        assert library is not None and library.recent(1)[0].ending_code == code
    journal.close()


@pytest.mark.parametrize(
    ("moments", "phase"),
    [
        ([], Phase.SENDING),
        (["AttemptStarted"], Phase.CONNECTING),
        (["AttemptStarted", "Connected", "RequestSent"], Phase.AWAITING_HEADERS),
        (["HeadersArrived"], Phase.AWAITING_FIRST_EVENT),
        (["FirstEventArrived"], Phase.BETWEEN_BLOCKS),
        (["AnswerFinished", "ReaderLagged"], Phase.AFTER_END),
    ],
)
def test_the_phase_is_read_off_the_moments(moments: list[str], phase: Phase) -> None:
    """An interrupted turn says what was under way."""
    assert phase_after([(name, {}) for name in moments]) is phase


# ----- retention


def test_old_turns_go_and_running_ones_stay(tmp_path: Path) -> None:
    """After 90 days a finished turn is deleted."""
    day_ms = 86_400_000
    old = Instant(0.0, NOON.wall_ms - 91 * day_ms)
    journal = Journal(tmp_path, flush_every_s=60, clock=lambda: NOON)
    for record in (short_turn(old, turn_id="old"), turn(old, turn_id="oldopen"), short_turn(turn_id="new")):
        journal.changed(record)
    assert journal.settle()
    assert expire_turns(connect(tmp_path), Retention(), NOON.wall_ms) == 1
    assert {record.turn_id for record in read(tmp_path)} == {"oldopen", "new"}
    journal.close()


def test_a_journal_that_is_too_large_loses_its_oldest_turns(tmp_path: Path) -> None:
    """The size limit holds, the newest stay, and the file shrinks."""
    records = [short_turn(at(float(number)), turn_id=f"t{number:05}") for number in range(1500)]
    written(tmp_path, *records)
    connection = connect(tmp_path)
    before, limit = used_bytes(connection), 1024 * 1024
    gone = expire_turns(connection, Retention(journal_bytes=limit), NOON.wall_ms)
    assert before > limit >= used_bytes(connection) and 0 < gone < 1500
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (tmp_path / "journal.sqlite").stat().st_size <= limit + 64 * 1024
    kept = [record.turn_id for record in read(tmp_path)]
    assert kept[-1] == "t01499" and kept == sorted(kept)[-len(kept) :]


def test_ids_of_every_attempt_find_the_turn(tmp_path: Path) -> None:
    """A request id or cf-ray of the provider's leads to its turn, an earlier attempt's too; so does part of our id."""
    record = frozen_turn(turn_id="abc123")
    tell(record, (0.4, m.HeadersArrived(1, 529, "req_first", "application/json", "ray-first")))
    written(tmp_path, record, short_turn(turn_id="abd456"))
    with open_library(tmp_path) as library:
        assert library is not None
        for name in ("req_first", "ray-first", "req_frozen", "abc123", "abc"):
            assert [found.record.turn_id for found in library.find(name)] == ["abc123"], name
        assert len(library.find("ab")) == 2
        assert library.find("req_nothing") == [] and library.find("") == library.find("")


def test_unknown_words_of_another_version_are_shown_not_lost(tmp_path: Path) -> None:
    """A moment or ending that this version has no word for keeps its name."""
    record = end(tell(turn(turn_id="abc"), (1, m.AttemptStarted(1))), 2, HUNG_UP)
    written(tmp_path, record)
    connection = connect(tmp_path)
    connection.execute(
        "UPDATE turn SET moments = replace(moments, 'AttemptStarted', 'AttemptDreamt'), "
        "ending = replace(ending, '\"rst\"', '\"vanished\"'), ending_code = 'C.vanished.tool'"
    )
    with open_library(tmp_path) as library:
        assert library is not None
        stored = library.find("abc")[0]
    assert stored.ending_code == "C.vanished.tool" and stored.record.ending is None
    assert "AttemptDreamt" in repr(stored.record.moments[1][1])


def test_recording_nothing_at_all_is_a_choice(tmp_path: Path) -> None:
    """An unknown word for what to keep is refused when the journal is opened."""
    with pytest.raises(ValueError, match="none, lost, all"):
        Journal(tmp_path, record="some")
    assert COMPLETED.code == "-.end.after"


LOOK = """
import sys
from pathlib import Path
from holdfast.flight.reading import open_library
with open_library(Path(sys.argv[1])) as library:
    print(*[turn.record.turn_id for turn in library.recent(100)])
"""


def seen_by_another_process(directory: Path) -> list[str]:
    """The turns that a command in a process of its own finds; it opens the journal and closes it again."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(directory)], capture_output=True, text=True, timeout=90, check=True
    )
    return sorted(done.stdout.split())


def test_a_gateway_that_reads_its_own_journal_keeps_it(tmp_path: Path) -> None:
    """A second connection in the same process gives up none of the first one's locks: others would drop its log."""
    journal = Journal(tmp_path)
    journal.changed(short_turn(turn_id="first"))
    assert journal.settle()
    with open_library(tmp_path) as own:
        assert own is not None
        assert seen_by_another_process(tmp_path) == ["first"]
        journal.changed(short_turn(turn_id="second"))
        assert journal.settle()
        assert seen_by_another_process(tmp_path) == ["first", "second"]
    assert journal.close(timeout_s=10)
    assert seen_by_another_process(tmp_path) == ["first", "second"]


def test_a_link_in_the_place_of_the_journal_is_refused(tmp_path: Path) -> None:
    """Whoever put it there would choose what is written over."""
    (tmp_path / "elsewhere").touch()
    (tmp_path / "journal.sqlite").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(JournalError, match="cannot be opened"):
        connect(tmp_path)
