"""One question in SQL, asked of the journal: read, answered, and nothing else.

The question sees the tables of `tables` and nothing of this machine: no file, no network, no extension, no setting,
no variable of Python's. It may read; what it would write is refused. Its memory is bounded.
"""

from __future__ import annotations

import difflib
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from holdfast.flight.redact import clean
from holdfast.telemetry import loading
from holdfast.telemetry.loading import Span
from holdfast.telemetry.tables import TABLES, Table

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")

LONGEST_SQL = 100_000
"Characters."
FETCH_ROWS = 1000
ALL_TIME = Span()


class QueryError(Exception):
    """The question cannot be answered; the text says why, shows where, and ends with what there is to ask."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an answer."""

    name: str
    numeric: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question found."""

    columns: list[Column]
    rows: Iterator[tuple[Any, ...]]
    "Read as they are taken. Numbers, texts, booleans, None; other types as DuckDB writes them. Raises `QueryError`."
    is_plan: bool = False
    "The answer to EXPLAIN: texts of many lines."


AGAIN_S = 0.05
"How soon an interruption is repeated."


@contextmanager
def asked(journal: sqlite3.Connection, state_dir: Path, sql: str, span: Span = ALL_TIME) -> Iterator[Answer]:
    """Ask, and have the answer as long as the context lasts. Raises `QueryError`, `sqlite3.Error`."""
    import duckdb

    question = sql.strip().rstrip(";").strip()
    if not question:
        raise QueryError(
            f"the question is empty; ask for example: SELECT count(*) FROM turn. {_all_tables()}"
        )
    if len(question) > LONGEST_SQL:
        raise QueryError(f"the question is longer than {LONGEST_SQL:,} characters; make it shorter")
    kind, question = _kind(question), _without_end(question)
    with loading.database(state_dir) as database:
        # Before the question is looked at: to bind one that names a file would open the file.
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        loading.create(database, TABLES)
        _try_on_empty_tables(database, question, kind)
        loading.fill(database, journal, _tables_in(question), span)
        try:
            with _interruptible(database) as run:
                yield _answer(database, question, kind, run)
        except duckdb.Error as error:
            raise QueryError(explained(str(error), question)) from None


def _kind(question: str) -> str:
    """What kind of statement it is; only one that reads is let through. Raises `QueryError`."""
    import duckdb

    try:
        statements = duckdb.extract_statements(question)
    except duckdb.Error as error:
        raise QueryError(explained(str(error), question)) from None
    if len(statements) != 1:
        raise QueryError("more than one statement was given; ask one question at a time, one SELECT")
    kind = str(statements[0].type.name)
    pivots = kind == "MULTI" and re.match(r"(?i)\(*\s*(from|pivot|unpivot|select|with)\b", question)
    if kind not in ("SELECT", "EXPLAIN") and not pivots:
        raise QueryError(
            f"{kind} is no question: the journal is only read. Ask by SELECT, DESCRIBE, SUMMARIZE or EXPLAIN. "
            + _all_tables()
        )
    return kind


def _without_end(question: str) -> str:
    """One statement without its semicolon and what follows it, so that it can stand inside another."""
    import duckdb

    raw = question.encode()
    for at, kind in duckdb.tokenize(question):
        if kind == duckdb.token_type.operator and raw[at : at + 1] == b";" and raw[:at].strip():
            return raw[:at].decode()
    return question


def _try_on_empty_tables(database: duckdb.DuckDBPyConnection, question: str, kind: str) -> None:
    """A mistake is told before anything is read. Raises `QueryError`."""
    import duckdb

    if kind == "SELECT":
        try:
            # In a line of its own, so that the error's mark stands below the right character.
            database.execute(f"EXPLAIN\n{question}")
        except duckdb.Error as error:
            said = re.sub(r"LINE (\d+):", lambda found: f"LINE {int(found[1]) - 1}:", str(error))
            raise QueryError(explained(said, question)) from None


def _tables_in(question: str) -> list[str]:
    """The tables that may be asked, so that only they are filled: those whose name is in the question."""
    if re.search(r"(?i)\bquery(_table)?\s*\(", question):
        return [each.name for each in TABLES]
    return [each.name for each in _mentioned(question)]


class _Run(Protocol):
    def __call__(self, work: Callable[[], T], /) -> T: ...


@contextmanager
def _interruptible(database: duckdb.DuckDBPyConnection) -> Iterator[_Run]:
    """Work that Ctrl-C ends: DuckDB looks at no signal, so that the thread that gets them must not be in it."""
    threads: list[threading.Thread] = []

    def run(work: Callable[[], T]) -> T:
        done: Future[T] = Future()

        def beside() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        threads.append(threading.Thread(target=beside, name="holdfast-sql", daemon=True))
        threads[-1].start()
        return done.result()

    try:
        yield run
    finally:
        for thread in threads:
            while thread.is_alive():  # DuckDB forgets an interruption that comes before the work has begun
                database.interrupt()
                thread.join(AGAIN_S)


def _answer(database: duckdb.DuckDBPyConnection, question: str, kind: str, run: _Run) -> Answer:
    cursor = run(lambda: database.execute(question))
    described = cursor.description or []
    if kind == "SELECT" and any(_foreign(str(column[1])) for column in described):
        # Types that Python has no plain value for (or only with a package that is not installed) go as text.
        names = [f"c{index}" for index in range(len(described))]
        taken = [
            f"CAST({name} AS {_told_as(str(column[1]))})"
            for name, column in zip(names, described, strict=True)
        ]
        told = f"SELECT {', '.join(taken)} FROM ({question}\n) AS told({', '.join(names)})"
        cursor = run(lambda: database.execute(told))
    columns = [Column(str(column[0]), _numeric(str(column[1]))) for column in described]
    return Answer(columns, _rows(cursor, question, run), kind == "EXPLAIN")


_PLAIN_TYPES = re.compile(
    r"(?i)(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|INTEGER|DOUBLE|FLOAT|NUMBER|VARCHAR|STRING|BOOL(EAN)?)$"
)


def _foreign(kind: str) -> bool:
    return not _PLAIN_TYPES.match(kind)


def _told_as(kind: str) -> str:
    if not _foreign(kind):
        return kind
    return "DOUBLE" if kind.upper().startswith("DECIMAL") else "VARCHAR"


def _numeric(kind: str) -> bool:
    return (
        re.match(r"(?i)(U?(TINY|SMALL|BIG|HUGE)?INT|INTEGER|DOUBLE|FLOAT|NUMBER|DECIMAL)", kind) is not None
    )


def _rows(cursor: duckdb.DuckDBPyConnection, question: str, run: _Run) -> Iterator[tuple[Any, ...]]:
    import duckdb

    try:
        while rows := run(lambda: cursor.fetchmany(FETCH_ROWS)):
            yield from rows
    except duckdb.Error as error:
        raise QueryError(explained(str(error), question)) from None


# -- errors ------------------------------------------------------------------------------------------------


def explained(said: str, question: str) -> str:
    """DuckDB's error for a person: what and where, then the tables or columns that are there instead."""
    head, _, rest = said.partition("\n")
    what = clean(head, limit=300)
    if head.startswith("Permission Error"):
        return (
            "the question reaches beyond the journal: it sees no files, no network and no extensions. "
            + _all_tables()
        )
    if "out of memory" in said.lower() or head.startswith("Out of Memory"):
        return (
            f"the question needs more than {loading.MEMORY_LIMIT} of memory; narrow it with --since 7d, or select "
            "fewer columns before grouping and sorting"
        )
    place = _place(rest)
    missing = re.search(r'Table with name "?([^"\s!]+)"? does not exist|Referenced table "([^"]+)"', said)
    if missing:
        name = missing[1] or missing[2]
        near = difflib.get_close_matches(name.lower(), [each.name for each in TABLES], n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"there is no table {clean(name, limit=60)!r}.{hint}{place}\n{_all_tables()}"
    if "not found in FROM" in said or "does not have a column" in said or "Column" in head:
        return f"{what}{place}\n{_columns(_mentioned(question) or list(TABLES))}"
    if "Scalar Function" in said or "Table Function" in said:
        return f"{what}{place}\nThe functions are DuckDB's own, extensions left out. {_all_tables()}"
    return f"{what}{place}\n{_all_tables()}"


def _place(rest: str) -> str:
    """The line of the question with the mark below it."""
    lines = rest.splitlines()
    for index, line in enumerate(lines):
        if line.startswith("LINE "):
            mark = lines[index + 1] if index + 1 < len(lines) else ""
            return f"\n  {clean(line, limit=200)}\n  {clean(mark, limit=200)}".rstrip()
    return ""


def _mentioned(question: str) -> list[Table]:
    words = set(re.findall(r"\w+", question.lower()))
    return [each for each in TABLES if each.name in words]


def _columns(tables: list[Table]) -> str:
    return "\n".join(
        f"{each.name} has {', '.join(column.name for column in each.columns)}" for each in tables
    )


def _all_tables() -> str:
    return (
        f"The tables are {', '.join(each.name for each in TABLES)}; their columns: holdfast flights --schema"
    )
