"""`holdfast flights --sql`: a question in SQL, its answer as a table, JSON lines or CSV."""

from __future__ import annotations

import csv
import functools
import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from holdfast.cli.errors import Failed
from holdfast.cli.viewing import columns, json_line, opened_library, page_width
from holdfast.flight.redact import clean

if TYPE_CHECKING:
    from holdfast.telemetry.query import Answer, Column

WIDTHS_FROM = 1000
"Rows that decide how wide the columns of a table are; later ones may stick out."
WIDEST = 80
"Characters of a cell in a table; JSON and CSV have it whole."
LONGEST_CELL = 1_000_000
PATIENT_ROWS = 20_000_000
"Nobody reads more; a question without a LIMIT over a product of tables would write for hours."


F = TypeVar("F", bound=Callable[..., Any])


def asks_in_sql(function: F) -> F:
    """Give a click command `--sql`, `--csv` and `--schema`. It must have `--since`, `--json` and `--follow`."""

    @click.option(
        "--sql",
        metavar="QUESTION",
        help="Ask the journal in SQL (DuckDB's) instead; '-' reads it from stdin.",
    )
    @click.option("--csv", "as_csv", is_flag=True, help="The answer to --sql as CSV.")
    @click.option("--schema", is_flag=True, help="Print the tables that --sql asks, and exit.")
    @functools.wraps(function)
    def asked_or_not(sql: str | None, as_csv: bool, schema: bool, **others: Any) -> None:
        if schema:
            show_schema(as_json=others["as_json"])
        elif sql is not None:
            if others.get("follow"):
                raise click.UsageError("--sql answers once; leave --follow out")
            if unused := [flag for name, flag in _OF_THE_LIST.items() if _typed(name)]:
                raise click.UsageError(
                    f"{unused[0]} is for the list, and --sql does not look at it; leave it out (how many rows: "
                    "LIMIT in the question)"
                )
            if as_csv and others["as_json"]:
                raise click.UsageError("the answer is either JSON or CSV; give one of --json and --csv")
            show(sql, since_wall_ms=others["since"], as_json=others["as_json"], as_csv=as_csv)
        elif as_csv:
            raise click.UsageError("--csv is for the answer to a question; add --sql QUESTION, or use --json")
        else:
            function(**others)

    return asked_or_not  # type: ignore[return-value]


_OF_THE_LIST = {"limit": "--limit", "add": "--add", "clock": "--clock"}


def _typed(name: str) -> bool:
    """Whether an option was given, and not left to its default."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def show(sql: str, *, since_wall_ms: int | None, as_json: bool, as_csv: bool) -> None:
    """Ask and print. `-` reads the question from stdin. Raises `Failed`."""
    from holdfast.telemetry.loading import Span
    from holdfast.telemetry.query import QueryError, asked

    try:
        question = sys.stdin.read() if sql.strip() == "-" else sql
        question.encode()
    except UnicodeError:
        raise Failed("the question is no text in UTF-8; write it so, or leave out what is not") from None
    try:
        with (
            opened_library() as library,
            asked(library.connection, library.state_dir, question, Span(since_wall_ms)) as answer,
        ):
            _print(answer, as_json=as_json, as_csv=as_csv)
    except QueryError as error:
        raise Failed(str(error)) from None


def show_schema(*, as_json: bool) -> None:
    """Print the tables and what their columns mean."""
    from holdfast.telemetry.tables import schema_json, schema_text

    click.echo(
        json.dumps(schema_json(), ensure_ascii=True, indent=2) if as_json else schema_text(width=page_width())
    )


def _print(answer: Answer, *, as_json: bool, as_csv: bool) -> None:
    rows = itertools.islice(answer.rows, PATIENT_ROWS)
    names = unique([clean(column.name, limit=200) for column in answer.columns])
    if as_json:
        for row in rows:
            click.echo(json_line(dict(zip(names, map(plain, row), strict=True))))
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([csv_cell(value) for value in row] for row in rows)
    elif answer.is_plan:
        for row in rows:
            for line in str(row[-1]).splitlines():
                click.echo(clean(line, limit=400))
    else:
        first = list(itertools.islice(rows, WIDTHS_FROM))
        all_rows = itertools.chain(first, rows)
        wide = sys.stdout.isatty() and table_width(names, first) > shutil.get_terminal_size().columns
        for line in blocks(names, all_rows) if wide else table_lines(names, answer.columns, all_rows):
            click.echo(line)


def unique(names: Sequence[str]) -> list[str]:
    """Names of which none is there twice, as JSON needs them: `id`, `id_2`."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return found


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def csv_cell(value: Any) -> str:
    """A cell of CSV: empty for NULL, control characters escaped."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return clean(str(value), limit=LONGEST_CELL)


def cell(value: Any) -> str:
    """A cell of a table: `-` for NULL."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return clean(str(value), limit=WIDEST)


def table_width(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
    """Columns of the terminal that these rows would take as a table."""
    shown = [list(names), *([cell(value) for value in row] for row in rows)]
    return sum(max(len(row[i]) for row in shown) + 2 for i in range(len(names))) - 2


def blocks(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterable[str]:
    """Rows one below the other, a line per column: for a terminal that a table would not fit into."""
    width = max((len(name) for name in names), default=0)
    for number, row in enumerate(rows):
        if number:
            yield ""
        for name, value in zip(names, row, strict=True):
            yield f"{name:<{width}}  {cell(value)}"


def table_lines(
    names: Sequence[str], kinds: Sequence[Column], rows: Iterable[Sequence[Any]]
) -> Iterable[str]:
    """Rows with aligned columns, numbers to the right. The first thousand decide the widths."""
    rows = iter(rows)
    first = [[cell(value) for value in row] for row in itertools.islice(rows, WIDTHS_FROM)]
    head = list(names)
    widths = [max(len(row[i]) for row in [head, *first]) for i in range(len(head))]
    for cells in itertools.chain([head], first, ([cell(value) for value in row] for row in rows)):
        aligned = [
            text.rjust(width) if kind.numeric else text
            for text, width, kind in zip(cells, widths, kinds, strict=True)
        ]
        yield columns([aligned], widths)[0]
