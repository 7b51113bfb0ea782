"""The store's rows as Arrow tables, for whoever computes with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.sessions import tries
from holdfast.sessions.store import Store, column_types

if TYPE_CHECKING:
    import pyarrow

_SAID = (
    (("ECONNRESET",), "ECONNRESET"),
    (("ETIMEDOUT",), "ETIMEDOUT"),
    (("EPIPE",), "EPIPE"),
    (("ConnectionRefused",), "ConnectionRefused"),
    (("FailedToOpenSocket",), "FailedToOpenSocket"),
    (("EAI_AGAIN",), "EAI_AGAIN"),
    (("stopped arriving", "stalled"), "client's idle limit"),
    (("timed out",), "client's time limit"),
    (("closed mid-response", "terminated"), "closed in mid-answer"),
    (("certificate",), "certificate refused"),
    (("prompt is too long", "context window"), "prompt too long"),
    (("output token maximum",), "answer too long"),
    (("usage limit", "credit balance"), "usage limit"),
    (("invalid x-api-key", "authentication", "oauth", "/login"), "key refused"),
    (("connection error",), "connection error, not named"),
)
"What a client says when it gives up -> the code that stands for it; the first that fits."
END_CODES = (*(code for _, code in _SAID), "unknown")


def frames(store: Store) -> dict[str, pyarrow.Table]:
    """`frames_with` what the client's telemetry tells of failures."""
    return frames_with(store, told_together(store))


def frames_with(store: Store, both: tries.Together | None) -> dict[str, pyarrow.Table]:
    """Every table, typed also where it is empty: times and counts int64, text utf8, truths bool. Needs pyarrow.

    Failures are those of `both`, where it is given. `dead` has a `code` beside the client's words: what is counted by it
    needs no text.
    """
    import pyarrow as pa

    better = {"error": both.error, "chain": both.chain, "dead": both.dead} if both else {}

    kinds = {"TEXT": pa.string(), "INTEGER": pa.int64(), "REAL": pa.float64(), "BOOLEAN": pa.bool_()}
    made = {}
    for table, columns in column_types().items():
        by_name: dict[str, Any]
        if table in better:
            by_name = {name: [row[name] for row in better[table]] for name, _ in columns}
        else:
            names, rows = store.rows(table)
            by_name = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
        typed = {name: pa.array(by_name.get(name, ()), kinds[kind]) for name, kind in columns}
        if table == "dead":
            ends = zip(by_name.get("text", ()), by_name.get("status", ()), strict=True)
            typed["code"] = pa.array([end_code(text, status) for text, status in ends], pa.string())
        made[table] = pa.table(typed)
    return made


def told_together(store: Store) -> tries.Together | None:
    """Failures as transcripts and the client's telemetry tell them; None where there is no telemetry."""
    events = store.telemetry()
    if not events:
        return None
    errors, chains, dead = (_dicts(*store.rows(table)) for table in ("error", "chain", "dead"))
    return tries.together(errors, chains, dead, _dicts(*store.asked_of_telemetry()), events)


def _dicts(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def end_code(text: str, status: int | None) -> str:
    """Why a client gave up, by its own words: the `error` field beside them does not tell its aborts from the server's."""
    if status is not None:
        return f"HTTP {status}"
    low = text.lower()
    return next((code for words, code in _SAID if any(word.lower() in low for word in words)), "unknown")
