"""The journal as tables, for SQL and for Parquet files: every table and column, its type and what it means.

This is the one place where they are defined. `holdfast flights --sql` asks these tables, `holdfast export` writes
them, `holdfast flights --schema` and the reference page print them. Times are whole milliseconds: `_wall_ms` is wall
time since 1970 (UTC), `_at_ms` is counted from the turn's start, `_ms` alone is a duration. NULL is "not measured" or
"did not happen"; it is never 0.

A table is filled from rows of the journal (`Column.sql` is said of their fields) or made of tables that are filled
already (`Table.made_by`). Everything is DuckDB's SQL. What is here decides; `loading` reads and writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap

from holdfast.flight.endings import Side

SCHEMA_VERSION = 1
"Goes up when a column changes its name, type or meaning, or goes; new columns and tables leave it as it is."


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    type: str
    "DuckDB's name of it: BIGINT, INTEGER, BOOLEAN, VARCHAR, JSON."
    says: str
    sql: str = ""
    "How it comes from the journal's row; empty where the field has the same name."


@dataclass(frozen=True, slots=True)
class Table:
    """One table."""

    name: str
    says: str
    columns: tuple[Column, ...]
    source: str = ""
    "Which of the journal's own tables its rows are read from; empty where it is made of others."
    unfold: str = ""
    "The field, a JSON list, of which each element is a row (`item`, numbered by `seq`); empty where a row is a row."
    made_of: tuple[str, ...] = ()
    made_by: str = ""
    "The query that makes it; its columns in their order."

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((column for column in self.columns if column.name == name), None)


_SIDES = " ".join(f"WHEN '{side.value}' THEN '{side.name.lower()}'" for side in Side)


def _side(code: str) -> str:
    return f"CASE split_part({code}, '.', 1) {_SIDES} END"


def _ms(seconds: str) -> str:
    return f"CAST(round(({seconds}) * 1000) AS BIGINT)"


_EVIDENCE = "nullif({}, '{{}}'::JSON)"
_CODE = "such as `C.rst.tool`; `holdfast explain CODE` says what it means"
_SIDE = "who ended it: client, provider, gateway, path, machine or nobody"

TURN = Table(
    "turn",
    "One row per request of a client: from its arrival to the last word the client heard.",
    (
        Column("turn_id", "VARCHAR", "Its id; ids sort by time."),
        Column("instance_id", "VARCHAR", "The gateway process that carried it."),
        Column("started_wall_ms", "BIGINT", "When the request arrived."),
        Column("ended_wall_ms", "BIGINT", "When it was over; NULL while it goes on."),
        Column(
            "took_ms",
            "BIGINT",
            "How long it took, on the clock that no one sets; NULL where the gateway was killed meanwhile.",
            _ms("ended_mono_s - started_mono_s"),
        ),
        Column("ending_code", "VARCHAR", f"Why it ended, {_CODE}; NULL while it goes on."),
        Column("ending_side", "VARCHAR", f"Of the ending: {_SIDE}.", _side("ending_code")),
        Column("ending_mechanism", "VARCHAR", "Of the ending: how.", "split_part(ending_code, '.', 2)"),
        Column(
            "ending_phase", "VARCHAR", "Of the ending: what was under way.", "split_part(ending_code, '.', 3)"
        ),
        Column(
            "ending_detail",
            "VARCHAR",
            "Of the ending: the error underneath.",
            "nullif(ending->>'$.detail', '')",
        ),
        Column(
            "ending_evidence",
            "JSON",
            "Of the ending: numbers read at that moment.",
            _EVIDENCE.format("ending->'$.evidence'"),
        ),
        Column("kind", "VARCHAR", "`turn` (protected) or `opaque` (relayed, not protected)."),
        Column("method", "VARCHAR", "Of the request."),
        Column("path", "VARCHAR", "Of the request, without its query."),
        Column("agent", "VARCHAR", "What the client calls itself (User-Agent)."),
        Column("profile", "VARCHAR", "The client profile that was chosen for it."),
        Column("session", "VARCHAR", "The client's own session id, where it sends one."),
        Column("subagent", "VARCHAR", "The client's own agent id, where it sends one."),
        Column("upstream", "VARCHAR", "Scheme, host and port that was asked."),
        Column("model", "VARCHAR", "The model that answered."),
        Column("status", "INTEGER", "The HTTP status that the first client connection was given."),
        Column("request_id", "VARCHAR", "The provider's id of the last attempt."),
        Column("edge_id", "VARCHAR", "The id of the provider's edge (`cf-ray` and the like)."),
        Column("request_bytes", "BIGINT", "Body of the request."),
        Column("answer_bytes", "BIGINT", "Answer, as upstream sent it."),
        Column("events", "BIGINT", "Events of the answer."),
        Column("input_tokens", "BIGINT", "Whole prompt, cached tokens included."),
        Column("output_tokens", "BIGINT", "Of the answer; partly estimated where it was healed."),
        Column("stop_reason", "VARCHAR", "As the provider said."),
        Column("attempts", "INTEGER", "Requests sent upstream for it."),
        Column("readers", "INTEGER", "Client connections that followed it."),
        Column("keepalives", "INTEGER", "Sent to the client while upstream was silent."),
        Column("longest_quiet_ms", "BIGINT", "Longest silence of upstream.", _ms("longest_quiet_s")),
        Column("spared", "INTEGER", "Requests answered from this turn instead of being generated again."),
        Column("held", "INTEGER", "Silences beyond the client's limit that were bridged."),
        Column("saved_from", "VARCHAR", "The break that would have lost it; NULL where there was none."),
        Column("healed", "VARCHAR", "What was done about its breaks, in order."),
        Column(
            "breaks", "VARCHAR", "The codes of its breaks, each with what became of it: P.rst.tool+restart."
        ),
        Column("wasted_tokens", "BIGINT", "Output tokens of an answer that nobody fetched."),
        Column(
            "request_key",
            "VARCHAR",
            "The same for the same request sent again; only of turns that were disturbed.",
        ),
    ),
    source="turn",
)

MOMENT = Table(
    "moment",
    "One row per noticed fact of a turn, in order.",
    (
        Column("turn_id", "VARCHAR", "Of the turn."),
        Column("seq", "INTEGER", "1 for the turn's first moment."),
        Column("at_ms", "BIGINT", "Since the turn's start.", _ms("CAST(item->>0 AS DOUBLE) - started_mono_s")),
        Column("wall_ms", "BIGINT", "When it was noticed.", "CAST(item->>1 AS BIGINT)"),
        Column("name", "VARCHAR", "Its kind, such as `QuietNoticed`; `holdfast explain NAME`.", "item->>2"),
        Column("attempt", "INTEGER", "The attempt it belongs to.", "TRY_CAST(item->'$[3]'->>'attempt' AS INTEGER)"),
        Column("reader", "INTEGER", "The client connection it belongs to.", "TRY_CAST(item->'$[3]'->>'reader' AS INTEGER)"),
        Column("data", "JSON", "All that it tells, by name; durations in seconds: `data->>'$.quiet_s'`.", "item->3"),
    ),
    source="turn",
    unfold="moments",
)  # fmt: skip


def _at(name: str) -> str:
    return f"min(at_ms) FILTER (name = '{name}')"


def _told(name: str, field: str, kind: str = "VARCHAR") -> str:
    taken = f"data->>'$.{field}'"
    if kind != "VARCHAR":
        taken = f"TRY_CAST({taken} AS {kind})"
    return f"arg_max({taken}, seq) FILTER (name = '{name}')"


def _code_of(data: str) -> str:
    parts = ", ".join(f"{data}->>'$.ending.{part}'" for part in ("side", "mechanism", "phase"))
    return f"concat_ws('.', {parts})"


_ATTEMPT_CODE = f"max({_code_of('data')}) FILTER (name = 'AttemptEnded')"
_ATTEMPT_COLUMNS: tuple[tuple[Column, str], ...] = (
    (Column("turn_id", "VARCHAR", "Of the turn."), "turn_id"),
    (Column("attempt", "INTEGER", "1 for the turn's first."), "attempt"),
    (Column("started_at_ms", "BIGINT", "When it began."), _at("AttemptStarted")),
    (Column("connected_at_ms", "BIGINT", "When a connection was at hand."), _at("Connected")),
    (Column("address", "VARCHAR", "Of upstream, with port."), _told("Connected", "address")),
    (Column("own_port", "INTEGER", "This machine's port."), _told("Connected", "own_port", "INTEGER")),
    (
        Column("connect_ms", "BIGINT", "How long connecting took; of a reused connection, back then."),
        _ms(_told("Connected", "took_s", "DOUBLE")),
    ),
    (
        Column("reused", "BOOLEAN", "Whether the connection was kept from an earlier request."),
        _told("Connected", "reused", "BOOLEAN"),
    ),
    (Column("tls", "VARCHAR", "Version of TLS; NULL without."), _told("Connected", "tls")),
    (Column("http", "VARCHAR", "Version of HTTP."), _told("Connected", "http")),
    (Column("sent_at_ms", "BIGINT", "When the request's last byte had gone."), _at("RequestSent")),
    (
        Column("body_bytes", "BIGINT", "Of the request as it went."),
        _told("RequestSent", "body_bytes", "BIGINT"),
    ),
    (Column("headers_at_ms", "BIGINT", "When upstream's headers came."), _at("HeadersArrived")),
    (Column("status", "INTEGER", "Upstream's HTTP status."), _told("HeadersArrived", "status", "INTEGER")),
    (Column("request_id", "VARCHAR", "The provider's id of it."), _told("HeadersArrived", "request_id")),
    (Column("edge_id", "VARCHAR", "The edge's id of it."), _told("HeadersArrived", "edge_id")),
    (Column("first_event_at_ms", "BIGINT", "When the answer's first event came."), _at("FirstEventArrived")),
    (Column("model", "VARCHAR", "The model that answered."), _told("FirstEventArrived", "model")),
    (
        Column("input_tokens", "BIGINT", "Whole prompt."),
        _told("FirstEventArrived", "input_tokens", "BIGINT"),
    ),
    (Column("ended_at_ms", "BIGINT", "When it ended."), _at("AttemptEnded")),
    (Column("ending_code", "VARCHAR", f"Why it ended, {_CODE}."), _ATTEMPT_CODE),
    (Column("ending_side", "VARCHAR", f"Of the ending: {_SIDE}."), _side(_ATTEMPT_CODE)),
)

ATTEMPT = Table(
    "attempt",
    "One row per try upstream.",
    tuple(column for column, _ in _ATTEMPT_COLUMNS),
    made_of=("moment",),
    made_by=f"SELECT {', '.join(f'{sql} AS {column.name}' for column, sql in _ATTEMPT_COLUMNS)} FROM moment "
    "WHERE attempt IS NOT NULL AND name IN ('AttemptStarted', 'Connected', 'RequestSent', 'HeadersArrived', "
    "'FirstEventArrived', 'AttemptEnded', 'HedgeStarted') GROUP BY turn_id, attempt ORDER BY turn_id, attempt",
)

_ENDING_OF_MOMENT = f"""
SELECT turn_id, CASE name WHEN 'AttemptEnded' THEN 'attempt' ELSE 'reader' END AS "of",
    coalesce(attempt, reader) AS number, at_ms, wall_ms, {_code_of("data")} AS code,
    nullif(data->>'$.ending.detail', '') AS detail, {_EVIDENCE.format("data->'$.ending.evidence'")} AS evidence,
    data->>'$.verdict' AS verdict, data->>'$.limit' AS limit_name,
    {_ms("TRY_CAST(data->>'$.limit_s' AS DOUBLE)")} AS limit_ms
FROM moment WHERE name IN ('AttemptEnded', 'ReaderLeft')
"""
_ENDING_OF_TURN = """
SELECT turn_id, 'turn', NULL, took_ms, ended_wall_ms, ending_code, ending_detail, ending_evidence, NULL, NULL, NULL
FROM turn WHERE ending_code IS NOT NULL
"""

ENDING = Table(
    "ending",
    "One row per ending: of every turn, attempt and client connection that left early.",
    (
        Column("turn_id", "VARCHAR", "Of the turn."),
        Column("of", "VARCHAR", "What ended: `turn`, `attempt` or `reader`. A keyword in some dialects: quote it."),
        Column("number", "INTEGER", "Of the attempt or client connection; NULL for the turn."),
        Column("at_ms", "BIGINT", "Since the turn's start."),
        Column("wall_ms", "BIGINT", "When it ended."),
        Column("code", "VARCHAR", f"Why, {_CODE}."),
        Column("side", "VARCHAR", f"Of the code: {_SIDE}."),
        Column("mechanism", "VARCHAR", "Of the code: how."),
        Column("phase", "VARCHAR", "Of the code: what was under way."),
        Column("detail", "VARCHAR", "The error underneath."),
        Column("evidence", "JSON", "Numbers read before the socket was gone."),
        Column("verdict", "VARCHAR", "Why we think the client went: gave_up, lost, moved_on, cancelled, superseded."),
        Column("limit_name", "VARCHAR", "Which of the client's limits ran out."),
        Column("limit_ms", "BIGINT", "That limit."),
    ),
    made_of=("moment", "turn"),
    made_by=f"""
WITH every AS ({_ENDING_OF_MOMENT} UNION ALL {_ENDING_OF_TURN})
SELECT turn_id, "of", number, at_ms, wall_ms, code, {_side("code")} AS side, split_part(code, '.', 2) AS mechanism,
    split_part(code, '.', 3) AS phase, detail, evidence, verdict, limit_name, limit_ms FROM every
ORDER BY turn_id, at_ms, "of", number
""",
)  # fmt: skip

ANSWER = Table(
    "answer",
    "One row per answer that is kept in the attic; what it says is never here.",
    (
        Column("turn_id", "VARCHAR", "Of the turn."),
        Column("size_bytes", "BIGINT", "Size.", "size"),
        Column("complete", "BOOLEAN", "Whether the answer's own end is in it.", "complete <> 0"),
        Column("content_type", "VARCHAR", "As upstream said."),
        Column("kept_wall_ms", "BIGINT", "When it was kept."),
        Column(
            "handed_over",
            "BOOLEAN",
            "Whether a retry was given it afterwards.",
            "handed_over <> 0",
        ),
        Column("model", "VARCHAR", "The model that was asked."),
        Column("messages", "INTEGER", "How many the request had."),
        Column("request_bytes", "BIGINT", "Body of the request."),
        Column("tools", "INTEGER", "How many were offered."),
        Column("tool", "VARCHAR", "The last one that the answer called."),
        Column("path", "VARCHAR", "The file that this call was to write, as the model named it."),
    ),
    source="answer",
)

NOTE = Table(
    "note",
    "What gateways noted about themselves, not about one turn.",
    (
        Column("id", "BIGINT", "Its number."),
        Column("instance_id", "VARCHAR", "The gateway process."),
        Column("wall_ms", "BIGINT", "When."),
        Column(
            "name",
            "VARCHAR",
            "Its kind: `refused` (requests), `dropped` (records), or `mark`, which is a person's.",
        ),
        Column("text", "VARCHAR", "A sentence."),
    ),
    source="note",
)

TABLES: tuple[Table, ...] = (TURN, MOMENT, ATTEMPT, ENDING, ANSWER, NOTE)
"In an order in which each is made of those before it."


@dataclass(frozen=True, slots=True)
class Source:
    """One of the journal's own tables: what is read of it, and with which type DuckDB takes it over."""

    name: str
    fields: tuple[tuple[str, str], ...]
    "Name and DuckDB type."
    time: str
    "The field that `--since` and `--until` compare."
    order: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.fields)


def _fields(types: str) -> tuple[tuple[str, str], ...]:
    kinds = {"t": "VARCHAR", "i": "BIGINT", "r": "DOUBLE", "j": "JSON"}
    return tuple((name, kinds[kind]) for name, kind in (word.split(":") for word in types.split()))


SOURCES = {
    "turn": Source(
        "turn",
        _fields(
            "turn_id:t instance_id:t started_mono_s:r started_wall_ms:i ended_mono_s:r ended_wall_ms:i ending_code:t "
            "kind:t method:t path:t agent:t profile:t session:t subagent:t upstream:t model:t status:i request_id:t "
            "edge_id:t request_bytes:i answer_bytes:i events:i input_tokens:i output_tokens:i stop_reason:t "
            "attempts:i readers:i keepalives:i longest_quiet_s:r spared:i held:i saved_from:t healed:t "
            "breaks:t wasted_tokens:i request_key:t ending:j moments:j"
        ),
        "started_wall_ms",
        "turn_id",
    ),
    "answer": Source(
        "answer",
        _fields(
            "turn_id:t size:i complete:i content_type:t kept_wall_ms:i handed_over:i model:t messages:i "
            "request_bytes:i tools:i tool:t path:t"
        ),
        "kept_wall_ms",
        "turn_id",
    ),
    "note": Source("note", _fields("id:i instance_id:t wall_ms:i name:t text:t"), "wall_ms", "id"),
}
"The fields are those of `flight.schema`; a test compares them."


def table(name: str) -> Table | None:
    """The table of that name, as SQL compares names."""
    return next((table for table in TABLES if table.name == name.lower()), None)


def needed(names: Iterable[str]) -> list[Table]:
    """These tables and those that they are made of, in the order in which they can be filled."""
    wanted = {name.lower() for name in names}
    for each in reversed(TABLES):
        if each.name in wanted:
            wanted.update(each.made_of)
    return [each for each in TABLES if each.name in wanted]


def create_sql(each: Table) -> str:
    """The statement that makes the table, empty."""
    columns = ", ".join(f'"{column.name}" {column.type}' for column in each.columns)
    return f"CREATE TABLE {each.name} ({columns})"


def fields_for(each: Table) -> list[tuple[str, str]]:
    """Which fields of its source a table needs, with their types."""
    said = " ".join(column.sql or column.name for column in each.columns) + " " + each.unfold
    words = set(re.findall(r"\w+", said))
    return [(name, kind) for name, kind in SOURCES[each.source].fields if name in words]


def insert_sql(each: Table) -> str:
    """The statement that adds rows to the table from one parameter: a JSON object with a list for each field.

    Lists by field, not rows with fields: read twice as fast (1.5 s against 3 s for 100,000 turns).
    """
    fields = fields_for(each)
    shapes = ", ".join(
        f'"{name}": [{"[" if name == each.unfold else ""}"{kind}"{"]" if name == each.unfold else ""}]'
        for name, kind in fields
    )
    rows = ", ".join(f"unnest(told.{name}) AS {name}" for name, _ in fields)
    rows = f"SELECT {rows} FROM (SELECT from_json(?, '{{{shapes}}}') AS told)"
    if each.unfold:
        kept = ", ".join(name for name, _ in fields if name != each.unfold)
        numbers = f"generate_subscripts({each.unfold}, 1) AS seq"
        rows = f"SELECT {kept}, unnest({each.unfold}) AS item, {numbers} FROM ({rows})"
    values = ", ".join(f"{column.sql or column.name}" for column in each.columns)
    return f"INSERT INTO {each.name} SELECT {values} FROM ({rows})"


def schema_text(only: Sequence[str] = (), width: int | None = None) -> str:
    """The tables as `flights --schema` prints them: each with its columns, types and meanings.

    With a `width`, meanings go on below themselves; without, each column is one line.
    """
    lines: list[str] = []
    for each in TABLES:
        if only and each.name not in only:
            continue
        title = f"{each.name}: {each.says}"
        lines += ([""] if lines else []) + ([title] if width is None else wrap(title, width))
        longest = max(len(column.name) for column in each.columns)
        for column in each.columns:
            head = f"  {column.name:<{longest}}  {column.type:<7}  "
            below = " " * len(head)
            told = (
                [head + column.says]
                if width is None
                else wrap(column.says, width, initial_indent=head, subsequent_indent=below)
            )
            lines += told
    return "\n".join(lines)


def schema_json() -> dict[str, object]:
    """The same for programs, and what `export` writes beside its files."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tables": {
            each.name: {
                "says": each.says,
                "columns": [
                    {"name": column.name, "type": column.type, "says": column.says} for column in each.columns
                ],
            }
            for each in TABLES
        },
    }
