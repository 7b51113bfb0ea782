"""The store's rows as Arrow tables, for whoever computes with them."""

from __future__ import annotations

import re
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
    (("prompt is too long", "context window", "context limit"), "prompt too long"),
    (("output token maximum",), "answer too long"),
    (
        ("usage limit", "credit balance", "you've hit your", "out of extra usage", "limit reached"),
        "usage limit",
    ),
    (("api key", "x-api-key", "disabled organization", "authentication", "oauth", "/login"), "key refused"),
    (("issue with the selected model",), "model not available"),
    (("connection error",), "connection error, not named"),
)
"What a client says when it gives up -> the code that stands for it; the first that fits."
_STATUS = re.compile(r"API Error:? \(?([45]\d\d)\b")
_STATUS_SAID = (
    ("repeated 529", 529),
    ("is experiencing high load", 529),
    ("api error: rate limit reached", 429),
)
"Words that stand for a status: 2.1.86 says so after the last of several 529, and of a 429 without a limit's name."
_OPEN = frozenset({408, 429})
"Of the statuses below 500 those that are no answer to what was asked: words beside them tell nothing better."
END_CODES = (*(code for _, code in _SAID), "unknown")


def frames(store: Store) -> dict[str, pyarrow.Table]:
    """`frames_with` what the client's telemetry tells of failures."""
    return frames_with(store, told_together(store))


def frames_with(store: Store, both: tries.Together | None) -> dict[str, pyarrow.Table]:
    """Every table, typed also where it is empty: times and counts int64, text utf8, truths bool. Needs pyarrow.

    Failures are those of `both`, where it is given. `dead` has a `code` beside the client's words, and the status that
    they tell where it is noted nowhere else: what is counted by these needs no text.
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
            ends = list(zip(by_name.get("text", ()), by_name.get("status", ()), strict=True))
            typed["code"] = pa.array([end_code(text, status) for text, status in ends], pa.string())
            typed["status"] = pa.array(
                [status if status is not None else said_status(text) for text, status in ends], pa.int64()
            )
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
    low, said = text.lower(), said_status(text)
    told = f"HTTP {said}" if said is not None else "unknown"
    if said is not None and (said >= 500 or said in _OPEN):
        return told
    return next((code for words, code in _SAID if any(word.lower() in low for word in words)), told)


def said_status(text: str) -> int | None:
    """The status that a client names in its last words, where it notes none beside them (2.1.86 never does).

    It stands behind `API Error`, and nowhere else: ids and counts of tokens have the same digits.
    """
    if found := _STATUS.search(text):
        return int(found[1])
    low = text.lower()
    return next((status for words, status in _STATUS_SAID if words in low), None)
