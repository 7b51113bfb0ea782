"""The journal: every turn of every gateway of this user, in one SQLite file.

The gateway's event loop only puts a changed record into a dictionary. A thread writes what changed every half
second in one transaction, one row per turn, its moments as JSON in that row; the view `moment` unfolds them
for whoever looks with a browser of SQLite files. What cannot be written (disk full, file locked) is
kept in bounded memory and tried again; what had to be dropped is counted, logged once and noted in the journal.

Several gateways share the file. Each registers as an *instance* and holds a lock on a file of its own until
it ends, however it ends: the kernel lets go of the lock. Whoever opens the journal next marks the unfinished
turns of instances that are gone as interrupted, and leaves those of living ones alone.
"""

from __future__ import annotations

import contextlib
import logging
import operator
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from holdfast import __version__
from holdfast.flight import instant
from holdfast.flight.attic import Attic, KeptAnswer
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.instances import (
    ProcessIdentity,
    Serving,
    boot_id,
    identity_of,
    interrupt_turns,
    lock_instance,
    mark_interrupted,
    say_serving,
)
from holdfast.flight.instant import Instant
from holdfast.flight.moments import Moment
from holdfast.flight.record import NOTHING_KNOWN, About, Answer, AnswerLost, TurnRecord, new_turn_id
from holdfast.flight.redact import clean, safe, scrub, scrub_error_event
from holdfast.flight.schema import TURN_COLUMNS, JournalError, connect, transaction, what_helps
from holdfast.flight.state import INSTANCES, JOURNAL, locked, make_private

log = logging.getLogger("holdfast.journal")

FLUSH_EVERY_S = 0.5
"The most that a `kill -9` can lose."
ALIVE_EVERY_S = 10.0
"While turns are unfinished: of a process that is killed, its last sign of life is all that is known of their end."
LAST_TRIES = 2
"At the end, each as long as another may hold the file (`BUSY_MS`): a turn that is not written is told as interrupted."
EXPIRE_EVERY_S = 3600.0
PENDING_RECORDS = 10_000
"Turns kept in memory while the disk takes none: about 40 MB."
PENDING_ANSWER_BYTES = 128 * 1024 * 1024
"Of answers, in memory; what lies in files of theirs is bounded by the attic's own size."
PENDING_ANSWERS = 2000
"Each may hold a file open."
PENDING_NOTES = 1000
PAGE_CACHE_KB = 256
"New turns go to the file's end, and open ones are few: SQLite's own 2 MB serve nobody here."
ROWS_AT_ONCE = 200
"""In one transaction, so that other gateways' turns come in between: about 4 ms of writing. As many are written without
waiting for the clock: the moments of a turn's beginning take 3 KB of memory until then."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is kept. Whichever of age and size is reached first."""

    answers_s: float = 7 * 86400.0
    answers_bytes: int = 1024**3
    turns_s: float = 90 * 86400.0
    journal_bytes: int = 200 * 1024**2
    "Of the journal's pages in use; a turn takes 1 to 3 KB, so about 100,000 turns."


_encoder = msgspec.json.Encoder()
_encode = _encoder.encode


def _encode_text(value: object) -> str:
    return _encode(value).decode()


def encode_moments(news: list[tuple[Instant, Moment]]) -> bytes:
    """`[[mono_s, wall_ms, name, data], ...]`, credentials taken out."""
    items, safe_as_they_are = [], True
    for at, moment in news:
        name, texts, ending_of = _KINDS[type(moment)]
        items.append((at.mono_s, at.wall_ms, name, moment))
        if texts is not None and not _are_safe(texts(moment)):
            safe_as_they_are = False
        if ending_of is not None and ((ending := ending_of(moment)).detail or ending.evidence):
            safe_as_they_are = False
    try:
        data = _encode(items)
    except UnicodeEncodeError:  # a lone surrogate: bytes of a client's that were no UTF-8
        return _encode(scrub_strings(msgspec.to_builtins(items)))
    return data if safe_as_they_are else _encode(scrub_strings(msgspec.json.decode(data)))


class _Kinds(dict[type[Moment], "_Kind"]):
    """What is to be known of each kind of moment that was met."""

    def __missing__(self, kind: type[Moment]) -> _Kind:
        texts = [name for name, told in kind.__annotations__.items() if "str" in told]
        endings = [name for name, told in kind.__annotations__.items() if "Ending" in told]
        found = self[kind] = kind.__name__, _taker(texts), _taker(endings)
        return found


def _taker(names: list[str]) -> Callable[[Moment], Any] | None:
    return operator.attrgetter(*names) if names else None


_KINDS = _Kinds()


@lru_cache(maxsize=512)
def _are_safe(texts: _Texts) -> bool:
    """Whether each may be written as it is. The same few come again and again, so the answers are kept."""
    return all(not text or safe(text) == text for text in (texts if isinstance(texts, tuple) else (texts,)))


_Texts = str | None | tuple[str | None, ...]
"One field's, or several fields'."
_Kind = tuple[str, Callable[[Moment], _Texts] | None, Callable[[Moment], Ending] | None]
"Its name, and what takes the strings and the ending out of a moment of it; None where it holds none."


def scrub_strings(value: Any) -> Any:
    """The same lists and dictionaries with every string scrubbed and shortened."""
    if isinstance(value, str):
        return clean(scrub(value))
    if isinstance(value, (list, tuple)):
        return [scrub_strings(item) for item in value]
    if isinstance(value, dict):
        return {key: scrub_strings(item) for key, item in value.items()}
    return value


def _row(record: TurnRecord, instance_id: str, moments: bytes) -> tuple[Any, ...]:
    r, started, ended, ending = record, record.started, record.ended, record.ending
    return (
        r.turn_id, instance_id, started.mono_s, started.wall_ms,
        ended.mono_s if ended else None, ended.wall_ms if ended else None, ending.code if ending else None,
        r.kind, safe(r.method), safe(r.path), safe(r.agent), r.profile,
        safe(r.session) if r.session else None, safe(r.subagent) if r.subagent else None,
        r.upstream, safe(r.model) if r.model else None, r.status,
        safe(r.request_id) if r.request_id else None, safe(r.edge_id) if r.edge_id else None,
        r.request_bytes, r.answer_bytes, r.events, r.input_tokens, r.output_tokens,
        safe(r.stop_reason) if r.stop_reason else None,
        r.attempts, r.readers, r.keepalives, r.longest_quiet_s, r.spared, r.held, r.saved_from, r.healed, r.breaks,
        r.wasted_tokens, r.request_key,
        _ending_text(ending) if ending else None, moments.decode(),
    )  # fmt: skip


def _ending_text(ending: Ending) -> str:
    if not ending.detail and not ending.evidence:
        return _plain_ending(ending.side, ending.mechanism, ending.phase)
    return _encode_text(scrub_strings(msgspec.to_builtins(ending)))


@lru_cache(maxsize=1024)
def _plain_ending(side: Side, mechanism: Mechanism, phase: Phase) -> str:
    return _encode_text(Ending(side, mechanism, phase))


sqlite3.register_adapter(type(None), lambda none: none)
"None is written as None. Without this line an adapter is looked for in vain at each, a dozen times per turn."

_UPSERT = (
    f"INSERT INTO turn ({', '.join(TURN_COLUMNS)}) VALUES ({', '.join('?' * len(TURN_COLUMNS))}) "
    "ON CONFLICT (turn_id) DO UPDATE SET "
    + ", ".join(
        f"{name} = excluded.{name}"
        for name in TURN_COLUMNS
        if name not in ("turn_id", "instance_id", "moments")
    )
    # Moments that were written leave memory, so a row brings only the news; `[a]` and `[b]` become `[a,b]`.
    + ", moments = CASE WHEN excluded.moments = '[]' THEN turn.moments"
    " WHEN turn.moments = '[]' THEN excluded.moments"
    " ELSE substr(turn.moments, 1, length(turn.moments) - 1) || ',' || substr(excluded.moments, 2) END"
)


_NEVER_TAKEN = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, OverflowError)
"Not a matter of trying again: a value of a wrong type, or none where one has to be."


class _PendingAnswer(NamedTuple):
    turn_id: str
    answer: Answer
    complete: bool
    content_type: str
    kept_wall_ms: int
    in_memory: int
    in_files: int
    about: About


@dataclass(slots=True)
class _Bytes:
    """Of answers, counted up by one thread alone."""

    in_memory: int = 0
    in_files: int = 0

    def add(self, in_memory: int, in_files: int) -> None:
        self.in_memory += in_memory
        self.in_files += in_files


class Journal:
    """Writes turns and answers to the state directory. Implements `flight.record.Recorder`.

    Opening may take a moment and may raise `JournalError`; afterwards nothing waits and nothing raises.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        record: str = "lost",
        retention: Retention = Retention(),
        kind: str = "gateway",
        clock: Callable[[], Instant] = instant.now,
        flush_every_s: float = FLUSH_EVERY_S,
    ) -> None:
        if record not in ("none", "lost", "all"):
            raise ValueError(f"record is {record!r}; it is one of none, lost, all")
        self.state_dir = state_dir
        self.record = record
        self.retention = retention
        self.dropped_turns = 0
        self.dropped_answers = 0
        self.failure: str | None = None
        "Why nothing can be written at the moment; None while all is well."
        self._clock = clock
        self._flush_every_s = flush_every_s
        self._dirty: dict[str, TurnRecord] = {}
        self._in_hand: dict[str, TurnRecord] = {}
        "What the thread is writing, and what waits behind it in the same round."
        self._answers: deque[_PendingAnswer] = deque()
        self._answers_in = _Bytes()
        self._answers_out = _Bytes()
        self._handed_over: deque[str] = deque(maxlen=PENDING_RECORDS)
        self._notes: deque[tuple[int, str, str]] = deque(maxlen=PENDING_NOTES)
        self._noted_drops = (0, 0)
        self._wake = threading.Event()
        self._closing = False
        self._rounds = 0
        self._steps = 0
        self.instance_id = new_turn_id(clock())
        self._open(kind)
        self._thread = threading.Thread(target=self._run, name="holdfast-journal", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        state = self.failure or ("closed" if self._closing else "open")
        turns = len(self._dirty) + len(self._in_hand)
        return f"<Journal {state}, {turns} turns and {len(self._answers)} answers to write>"

    def _open(self, kind: str) -> None:
        with locked(make_private(self.state_dir), exclusive=False):
            self._connection = connect(self.state_dir)
            self._file = _which_file(self.state_dir / JOURNAL)
            self._connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KB}")
            # What a savepoint may have to put back is a few pages; by default they go to a file of each transaction's.
            self._connection.execute("PRAGMA temp_store = MEMORY")
            try:
                self._attic = Attic(self.state_dir, self._connection)
                self._lock = lock_instance(self.state_dir, self.instance_id)
                self._register(kind)
                mark_interrupted(self._connection, self.state_dir)
            except (OSError, sqlite3.Error) as error:
                self._connection.close()
                raise JournalError(
                    f"the journal in {self.state_dir} cannot be written to ({error}); {what_helps(error)}"
                ) from error

    def _register(self, kind: str) -> None:
        me = identity_of(os.getpid()) or ProcessIdentity(os.getpid(), "", boot_id())
        at = self._clock().wall_ms
        self._connection.execute(
            "INSERT INTO instance (id, pid, process_start, boot_id, started_wall_ms, seen_wall_ms, version, kind) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (self.instance_id, me.pid, me.process_start, me.boot_id, at, at, __version__, kind),
        )

    def serves(self, serving: Serving) -> None:
        """Clients can come now: let other commands know where to, and whom it asks. Raises `OSError`."""
        say_serving(self._lock, serving)

    # What the event loop calls. One operation on a dictionary or deque each: atomic, so no lock to wait for.

    def changed(self, record: TurnRecord) -> None:
        """The record has news; it is written within half a second, or once `ROWS_AT_ONCE` have."""
        dirty = self._dirty
        if record.turn_id in dirty:
            return
        if len(dirty) + len(self._in_hand) >= PENDING_RECORDS and record.turn_id not in self._in_hand:
            self.dropped_turns += 1
            return
        dirty[record.turn_id] = record
        if len(dirty) == ROWS_AT_ONCE:
            self._wake.set()

    def keep_answer(
        self,
        record: TurnRecord,
        answer: Answer,
        *,
        complete: bool,
        content_type: str,
        about: About = NOTHING_KNOWN,
    ) -> None:
        """Put an answer into the attic, unless nothing is to be kept. The thread reads its bytes, piece by piece."""
        if self.record == "none":
            return
        size, in_memory, most = answer.size, answer.held_bytes, self.retention.answers_bytes
        in_files = size - in_memory
        memory = self._answers_in.in_memory - self._answers_out.in_memory
        files = self._answers_in.in_files - self._answers_out.in_files
        if (
            self._closing
            or size > most
            or len(self._answers) >= PENDING_ANSWERS
            or (memory and memory + in_memory > PENDING_ANSWER_BYTES)
            or (files and files + in_files > most)
        ):
            self.dropped_answers += 1
            return
        self._answers_in.add(in_memory, in_files)
        at = self._clock().wall_ms
        self._answers.append(
            _PendingAnswer(record.turn_id, answer, complete, content_type, at, in_memory, in_files, about)
        )
        self._wake.set()

    def answer_handed_over(self, turn_id: str) -> None:
        """A retry took the kept answer: it is marked in the attic and will not be offered again."""
        self._handed_over.append(turn_id)

    def tell(self, name: str, text: str) -> None:
        """Something about the gateway as a whole, not about one turn: requests were refused, records were dropped."""
        self._notes.append((self._clock().wall_ms, name, clean(scrub(text))))

    def settle(self, timeout_s: float = 5.0) -> bool:
        """Wait until what was recorded before this call is on disk. It waits: never call it from the event loop.

        False if it could not be written, or not in time.
        """
        target, deadline = self._rounds + 2, time.monotonic() + timeout_s
        while self._rounds < target and self._thread.is_alive() and time.monotonic() < deadline:
            self._wake.set()
            time.sleep(0.002)
        return self._rounds >= target and self.failure is None

    def close(self, timeout_s: float = 2.0) -> bool:
        """Write what is left and say goodbye. False if nothing more could be written for so long.

        Turns that are still unfinished get the ending that the process ended: close the gateway first.
        """
        self._closing = True
        self._wake.set()
        while True:
            steps = self._steps
            self._thread.join(timeout_s)
            if not self._thread.is_alive():
                return True
            if self._steps == steps:
                return False

    # What the thread does.

    def _run(self) -> None:
        next_expiry = self._clock().mono_s
        next_sign = next_expiry + ALIVE_EVERY_S
        while True:
            closing = self._closing
            self._write_all(last=closing)
            self._rounds += 1
            if closing:
                break
            if self._clock().mono_s >= next_expiry:
                next_expiry = self._clock().mono_s + EXPIRE_EVERY_S
                self._guarded(self._expire)
            if self._clock().mono_s >= next_sign:
                next_sign = self._clock().mono_s + ALIVE_EVERY_S
                self._guarded(self._show_life)
            self._wake.wait(self._flush_every_s)
            self._wake.clear()
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        (self.state_dir / INSTANCES / f"{self.instance_id}.lock").unlink(missing_ok=True)
        os.close(self._lock)

    def _write_all(self, *, last: bool) -> None:
        for _ in range(LAST_TRIES if last else 1):
            while self._answers and self._guarded(self._keep_next_answer):
                pass
            while self._write_changed() and last and self._dirty:
                pass
            if not self._answers and not self._dirty:
                break
        if last:
            failure = self.failure
            if self._guarded(self._say_goodbye) and not self._dirty and not self._answers:
                return
            self.dropped_turns += len(self._dirty)
            self.dropped_answers += len(self._answers)
            log.warning(
                "the journal closed with %d turns and %d answers unwritten: %s",
                len(self._dirty), len(self._answers), self.failure or failure,
            )  # fmt: skip

    def _guarded(self, step: Callable[[], None]) -> bool:
        """Do one thing on disk. A failure is logged when it begins and when it is over; never raised."""
        try:
            step()
        except Exception as error:
            said = clean(scrub(f"{type(error).__name__}: {error}"))
            if self.failure is None:
                log.warning(
                    "the journal in %s cannot be written to (%s); turns are carried all the same, and up to %d "
                    "records wait in memory. Make room on the disk, or look who holds the file.",
                    self.state_dir, said, PENDING_RECORDS,
                )  # fmt: skip
            self.failure = said
            return False
        self._steps += 1
        if self.failure is not None:
            self.failure = None
            log.warning("the journal can be written to again; %s", self._drops())
        return True

    def _news_of_drops(self, drops: tuple[int, int], wall_ms: int) -> list[tuple[int, str, str]]:
        return [(wall_ms, "dropped", self._drops())] if drops != self._noted_drops else []

    def _drops(self) -> str:
        return f"{self.dropped_turns} turns and {self.dropped_answers} answers were dropped"

    def _write_changed(self) -> bool:
        """Write what has changed until now; whether that went well.

        What changes meanwhile waits for the next round. Chasing it under load would mean a transaction for every
        few turns, and each writes whole pages.
        """
        in_hand, dirty = self._in_hand, self._dirty
        for turn_id in list(dirty):  # in one of the two at any time: `changed` counts both
            in_hand[turn_id] = dirty[turn_id]
            del dirty[turn_id]
        while in_hand or self._handed_over or self._notes:
            if not self._guarded(self._flush):
                while in_hand:
                    turn_id, record = in_hand.popitem()
                    dirty.setdefault(turn_id, record)
                return False
        return True

    def _flush(self) -> None:
        """One transaction with up to `ROWS_AT_ONCE` turns, those that have waited longest."""
        if _which_file(self.state_dir / JOURNAL) != self._file:
            raise FileNotFoundError("it was moved or removed; put it back, or start this gateway again")
        taken = list(islice(self._in_hand.values(), ROWS_AT_ONCE))
        rows, written = self._encode_rows(taken)
        notes, handed = _take_all(self._notes), _take_all(self._handed_over)
        drops = (self.dropped_turns, self.dropped_answers)
        at = self._clock().wall_ms
        try:
            with transaction(self._connection):
                self._upsert(rows)
                self._connection.executemany(
                    "INSERT INTO note (instance_id, wall_ms, name, text) VALUES (?, ?, ?, ?)",
                    [(self.instance_id, *note) for note in notes + self._news_of_drops(drops, at)],
                )
                self._connection.executemany(
                    "UPDATE answer SET handed_over = 1 WHERE turn_id = ?", [(h,) for h in handed]
                )
                self._connection.execute(
                    "UPDATE instance SET seen_wall_ms = ? WHERE id = ?", (at, self.instance_id)
                )
        except BaseException:
            self._notes.extendleft(reversed(notes))
            self._handed_over.extendleft(reversed(handed))
            raise
        for record, count in written:
            del record.moments[:count]
        for record in taken:
            del self._in_hand[record.turn_id]
        self._noted_drops = drops

    def _upsert(self, rows: list[tuple[Any, ...]]) -> None:
        """Write rows; one that SQLite will never take (a defect) costs itself, not the others."""
        self._connection.execute("SAVEPOINT rows")
        try:
            self._connection.executemany(_UPSERT, rows)
        except _NEVER_TAKEN:
            self._connection.execute(
                "ROLLBACK TO rows"
            )  # those before it are written, and would tell their news twice
            for row in rows:
                try:
                    self._connection.execute(_UPSERT, row)
                except _NEVER_TAKEN as error:
                    self.dropped_turns += 1
                    log.warning("turn %s cannot be written down: %s", row[0], clean(scrub(str(error))))

    def _encode_rows(
        self, records: list[TurnRecord]
    ) -> tuple[list[tuple[Any, ...]], list[tuple[TurnRecord, int]]]:
        """One row each, and how many moments it holds. What cannot be encoded (a defect) costs itself only."""
        rows, written = [], []
        for record in records:
            try:
                moments = list(record.moments)
                rows.append(_row(record, self.instance_id, encode_moments(moments)))
                written.append((record, len(moments)))
            except Exception as error:
                self.dropped_turns += 1
                log.warning("turn %s cannot be written down: %s", record.turn_id, clean(scrub(str(error))))
        return rows, written

    def _keep_next_answer(self) -> None:
        answer = self._answers[0]
        try:
            self._attic.keep(
                KeptAnswer(
                    answer.turn_id,
                    answer.in_memory + answer.in_files,
                    answer.complete,
                    clean(answer.content_type),
                    answer.kept_wall_ms,
                    about=_safe_about(answer.about),
                ),
                scrub_error_event(answer.answer.pieces()),
            )
        except AnswerLost as error:  # it will not be there at the next try either
            self.dropped_answers += 1
            log.warning("the answer of turn %s cannot be kept: %s", answer.turn_id, clean(scrub(str(error))))
        self._answers.popleft()
        self._answers_out.add(answer.in_memory, answer.in_files)
        if self._attic.total_bytes() > self.retention.answers_bytes:
            self._attic.expire(self.retention.answers_s, self.retention.answers_bytes, self._clock().wall_ms)

    def _show_life(self) -> None:
        self._connection.execute(
            "UPDATE instance SET seen_wall_ms = ?1 WHERE id = ?2 AND EXISTS "
            "(SELECT 1 FROM turn WHERE instance_id = ?2 AND ending_code IS NULL)",
            (self._clock().wall_ms, self.instance_id),
        )

    def _expire(self) -> None:
        at = self._clock().wall_ms
        self._attic.expire(self.retention.answers_s, self.retention.answers_bytes, at)
        expire_turns(self._connection, self.retention, at)

    def _say_goodbye(self) -> None:
        at = self._clock().wall_ms
        with transaction(self._connection):
            interrupt_turns(self._connection, self.instance_id, "the gateway was closed", seen_wall_ms=at)
            self._connection.execute(
                "UPDATE instance SET seen_wall_ms = ?, ended_wall_ms = ? WHERE id = ?",
                (at, at, self.instance_id),
            )


def _safe_about(about: About) -> About:
    """The same with every text fit to be stored: names and paths come from a model."""
    model, tool, path = (safe(text) if text else None for text in (about.model, about.tool, about.path))
    return replace(about, model=model, tool=tool, path=path)


def _which_file(path: Path) -> tuple[int, int] | None:
    """Device and inode. What was removed takes rows all the same, and nobody will find them."""
    try:
        known = path.stat()
    except OSError:
        return None
    return known.st_dev, known.st_ino


def _take_all(queue: deque[Any]) -> list[Any]:
    """Empty a queue that another thread may be filling."""
    return [queue.popleft() for _ in range(len(queue))]


def expire_turns(connection: sqlite3.Connection, retention: Retention, now_wall_ms: int) -> int:
    """Delete finished turns past their age, then the oldest until the file is within its size. Returns how many."""
    oldest = now_wall_ms - int(retention.turns_s * 1000)
    finished = "ending_code IS NOT NULL"
    with transaction(connection):
        gone = connection.execute(
            f"DELETE FROM turn WHERE started_wall_ms < ? AND {finished}", (oldest,)
        ).rowcount
        excess = used_bytes(connection) - retention.journal_bytes
        if excess > 0:
            # A tenth more than needed, so that a full journal is not trimmed every hour.
            share = min(1.0, excess / used_bytes(connection) + 0.1)
            count = int(connection.execute("SELECT count(*) FROM turn").fetchone()[0] * share) + 1
            gone += connection.execute(
                f"DELETE FROM turn WHERE turn_id IN (SELECT turn_id FROM turn WHERE {finished} ORDER BY turn_id LIMIT ?)",
                (count,),
            ).rowcount
        connection.execute("DELETE FROM note WHERE wall_ms < ?", (oldest,))
        connection.execute(
            "DELETE FROM instance WHERE ended_wall_ms < ? AND id NOT IN (SELECT instance_id FROM turn)",
            (oldest,),
        )
    connection.executescript("PRAGMA incremental_vacuum")  # `execute` would free one page only
    return gone


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the journal's pages that hold something."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    used: int = (pages - free) * size
    return used
