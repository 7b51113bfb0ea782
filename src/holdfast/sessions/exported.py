"""What of a home's sessions may leave this machine: one small schema, every field under a policy. Values in, values out.

The rows are those that a diagnosis counts, and what it found; never a text that anybody wrote. Who and what they are of
is replaced by pseudonyms made with a key that stays here: the same in every export of one person, and without the
key nobody, who was not told, can find out what it stands for, not even by guessing names and comparing.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from holdfast.flight import deidentify
from holdfast.flight.deidentify import Names, Policy
from holdfast.sessions.frames import END_CODES

if TYPE_CHECKING:
    import pyarrow

SCHEMA: Final = 2
"Of the tables below; raised when a column changes its name, type or meaning, or goes, or when one that is counted by comes."

_K, _T, _ID, _DROP = Policy.KEEP, Policy.TEXT, Policy.ID, Policy.DROP
_WHERE: Final[Mapping[str, Policy]] = {
    "session": Policy.SESSION,
    "agent": Policy.AGENT,
    "version": _T,
    "project": Policy.PATH,
    "entrypoint": _T,
    "model": Policy.MODEL,
    "context_tokens": _K,
    "file": _DROP,
    "line": _DROP,
    "scan": _DROP,
}

FIELDS: Final[Mapping[str, Mapping[str, Policy]]] = {
    "error": {
        **_WHERE,
        "uuid": _ID,
        "chain": _ID,
        "at_ms": _K,
        "before_ms": _K,
        "code": _T,
        "status": _K,
        "error_type": _T,
        "request_id": _DROP,
        "edge_id": _DROP,
        "path": _DROP,
        "attempt": _K,
        "max_attempts": _K,
        "wait_ms": _K,
    },
    "chain": {
        "chain": _ID,
        "session": Policy.SESSION,
        "agent": Policy.AGENT,
        "tries": _K,
        "outcome": _T,
        "ended_ms": _K,
        "file": _DROP,
        "scan": _DROP,
    },
    "dead": {
        **_WHERE,
        "uuid": _ID,
        "at_ms": _K,
        "before_ms": _K,
        "text": _DROP,
        "code": _T,
        "status": _K,
        "reason": _T,
        "cut_cause": _T,
        "request_id": _DROP,
    },
    "request": {
        **_WHERE,
        "message_id": _DROP,
        "request_id": _DROP,
        "at_ms": _K,
        "before_ms": _K,
        "stop_reason": _T,
        "output_tokens": _K,
        "tier": _T,
        "sidechain": _K,
    },
    "turn_time": {**_WHERE, "at_ms": _K, "duration_ms": _K},
    "compaction": {**_WHERE, "at_ms": _K, "trigger": _T, "before_tokens": _K, "after_tokens": _K},
}
"Table of the store -> field -> policy. A field that is not here does not leave."

_TEXT, _INT, _FLOAT, _BOOL = "string", "int64", "float64", "bool"
COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "machine": {
        "person": _TEXT, "schema": _INT, "holdfast": _TEXT, "system": _TEXT, "region": _TEXT, "network": _TEXT,
        "since_ms": _INT, "until_ms": _INT, "first_ms": _INT, "last_ms": _INT, "exported_ms": _INT,
    },
    "error": {
        "uuid": _TEXT, "chain": _TEXT, "at_ms": _INT, "before_ms": _INT, "session": _TEXT, "agent": _TEXT,
        "version": _TEXT, "project": _TEXT, "entrypoint": _TEXT, "model": _TEXT, "context_tokens": _INT,
        "code": _TEXT, "status": _INT, "error_type": _TEXT, "edge": _TEXT, "attempt": _INT, "max_attempts": _INT,
        "wait_ms": _FLOAT, "on_record": _BOOL,
    },
    "chain": {
        "chain": _TEXT, "session": _TEXT, "agent": _TEXT, "tries": _INT, "outcome": _TEXT, "ended_ms": _INT,
        "on_record": _BOOL,
    },
    "dead": {
        "uuid": _TEXT, "at_ms": _INT, "before_ms": _INT, "session": _TEXT, "agent": _TEXT, "version": _TEXT,
        "project": _TEXT, "entrypoint": _TEXT, "model": _TEXT, "context_tokens": _INT, "code": _TEXT,
        "status": _INT, "reason": _TEXT, "cut_cause": _TEXT,
    },
    "request": {
        "at_ms": _INT, "before_ms": _INT, "session": _TEXT, "agent": _TEXT, "version": _TEXT, "project": _TEXT,
        "model": _TEXT, "stop_reason": _TEXT, "context_tokens": _INT, "output_tokens": _INT, "tier": _TEXT,
        "sidechain": _BOOL,
    },
    "turn_time": {"at_ms": _INT, "session": _TEXT, "version": _TEXT, "duration_ms": _FLOAT},
    "compaction": {
        "at_ms": _INT, "session": _TEXT, "trigger": _TEXT, "before_tokens": _INT, "after_tokens": _INT,
    },
    "outage": {"begun_ms": _INT, "ended_ms": _INT, "kind": _TEXT, "source": _TEXT},
    "watched": {"begun_ms": _INT, "ended_ms": _INT, "source": _TEXT},
    "finding": {
        "hypothesis": _TEXT, "grade": _TEXT, "bits": _FLOAT, "share": _FLOAT, "explains": _INT, "failures": _INT,
    },
    "cause": {"failure": _TEXT, "hypothesis": _TEXT},
}  # fmt: skip
"""Table -> its columns with their types, as they leave; all have `machine` before them.

`on_record` is false where the client's unsent telemetry alone tells of a failure, which then is part of no rate (since
schema 2). `error.edge` is the place in an edge's id (`ORD`), and nothing else of it. `outage` and `watched` are when this
machine had no network and when a log would have told; `finding` and `cause` what was concluded here, from all that was here.
"""

_CODES = (
    "ConnectionRefused ConnectionClosed FailedToOpenSocket EAI_AGAIN EAI_FAIL ENOTFOUND ENETDOWN UND_ERR_SOCKET "
    "UND_ERR_CONNECT_TIMEOUT UND_ERR_HEADERS_TIMEOUT UND_ERR_BODY_TIMEOUT ERR_STREAM_PREMATURE_CLOSE CERT_HAS_EXPIRED "
    "SELF_SIGNED_CERT_IN_CHAIN DEPTH_ZERO_SELF_SIGNED_CERT UNABLE_TO_VERIFY_LEAF_SIGNATURE "
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY ERR_TLS_CERT_ALTNAME_INVALID ERR_SSL_WRONG_VERSION_NUMBER"
)
_WORDS = (
    "recovered died abandoned unknown cli sdk-cli sdk-ts sdk-py claude-vscode claude-desktop mcp standard priority batch "
    "auto manual connection_failed stream_idle_timeout"
)
OUR_WORDS: Final = frozenset([*_CODES.split(), *_WORDS.split(), *END_CODES])
"Codes and words of closed vocabularies, which say nothing of anybody; of other texts the plain words are kept."

_EDGE = re.compile(r"[0-9a-f]{16}-([A-Z]{3})", re.ASCII)
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", re.ASCII)
"What a region or a network may be called."


class KeyedNames(Names):
    """Pseudonyms that are the same in every export under one key, and of nothing under another."""

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key

    def name(self, kind: str, original: str, sort: str = "") -> str:
        """`path-3f2a91c04be17d55`."""
        if not original:
            return original
        folded = (kind, original.casefold())
        if folded not in self._given:
            self._counts[kind] += 1
            self._given[folded] = f"{kind}-{keyed(self._key, f'{kind} {folded[1]}')}"
        return self._given[folded]

    def known(self) -> list[tuple[str, str]]:
        return []


def keyed(key: bytes, text: str) -> str:
    """64 bits that only this key makes of a text, in hex."""
    return hmac.digest(key, text.encode("utf-8", "replace"), "sha256").hex()[:16]


def public_rows(table: str, rows: Iterable[Mapping[str, Any]], names: Names) -> list[dict[str, Any]]:
    """Rows of a table of the store as they may leave, in the order of time."""
    policies = [(name, policy) for name, policy in FIELDS[table].items() if policy is not _DROP]
    known: dict[tuple[Policy, str], Any] = {}

    def told(policy: Policy, value: Any) -> Any:
        if value.__class__ is not str:
            return value
        if policy is _T and value in OUR_WORDS:
            return value
        if (policy, value) not in known:
            known[policy, value] = deidentify.value(policy, value, names)
        return known[policy, value]

    made = []
    for row in rows:
        one = {name: told(policy, row[name]) for name, policy in policies if name in row}
        if "on_record" in COLUMNS[table]:
            one["on_record"] = row["file"] is not None
        if table == "error":
            found = _EDGE.fullmatch(row["edge_id"] or "")
            one["edge"] = found[1] if found else None
        made.append(one)
    when = "ended_ms" if table == "chain" else "at_ms"
    return sorted(made, key=lambda one: one[when] or 0)


def tables(
    machine: str, rows: Mapping[str, Sequence[Mapping[str, Any]]], version: str
) -> dict[str, pyarrow.Table]:
    """Every table of `COLUMNS`, typed also where it is empty, with the schema's version in its metadata. Needs pyarrow."""
    import pyarrow as pa

    made = {}
    for table, columns in COLUMNS.items():
        given = rows.get(table, ())
        schema = pa.schema(
            [("machine", pa.string()), *((name, pa.type_for_alias(kind)) for name, kind in columns.items())],
            {"holdfast_sessions_schema": str(SCHEMA), "holdfast_version": version, "holdfast_table": table},
        )
        by_name = {name: [row.get(name) for row in given] for name in columns}
        made[table] = pa.table({"machine": [machine] * len(given), **by_name}, schema)
    return made
