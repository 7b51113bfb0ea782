"""A finished turn as one line of a log: for people, or as JSON.

Times are UTC, durations seconds. Text that came from clients and providers has its control characters escaped.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from holdfast.flight.endings import final
from holdfast.flight.record import TurnRecord
from holdfast.flight.redact import safe


def turn_fields(record: TurnRecord) -> dict[str, Any]:
    """What a log says of a turn, by name; what is not known is left out."""
    ended = record.ended
    fields: dict[str, Any] = {
        "time": _utc(record.started.wall_ms),
        "turn": record.turn_id,
        "kind": record.kind,
        "method": record.method,
        "path": record.path,
        "status": record.status,
        "ending": final(record.ending) if record.ending else None,
        "took_s": round(ended.mono_s - record.started.mono_s, 3) if ended else None,
        "quiet_s": round(record.longest_quiet_s, 1) or None,
        "attempts": record.attempts,
        "readers": record.readers,
        "keepalives": record.keepalives or None,
        "spared": record.spared or None,
        "saved_from": record.saved_from,
        "breaks": record.breaks,
        "healed": record.healed if record.ending and record.ending.completed else None,
        "not_healed": record.healed if record.ending and not record.ending.completed else None,
        "wasted_tokens": record.wasted_tokens,
        "agent": record.agent or None,
        "session": record.session,
        "model": record.model,
        "request_id": record.request_id,
        "request_bytes": record.request_bytes,
        "answer_bytes": record.answer_bytes,
        "input_tokens": record.input_tokens,
        "output_tokens": record.output_tokens,
        "stop_reason": record.stop_reason,
        "detail": record.ending.detail if record.ending and record.ending.detail else None,
    }
    told = {name: value for name, value in fields.items() if value is not None}
    for name in told.keys() & _FOREIGN:
        told[name] = safe(told[name])
    return told


_FOREIGN = frozenset(
    ("method", "path", "agent", "session", "model", "request_id", "stop_reason", "detail", "saved_from")
)
"Fields whose text came from a client or a provider."


def turn_text(record: TurnRecord) -> str:
    """`2026-11-21T06:52:10.120Z turn 0abc POST /v1/messages 200 -.end.after took_s=12.3 attempts=1 ...`"""
    fields = turn_fields(record)
    head = [
        fields.pop("time"),
        fields.pop("kind"),
        fields.pop("turn"),
        fields.pop("method"),
        fields.pop("path"),
        str(fields.pop("status", "-")),
        fields.pop("ending", "unfinished"),
    ]
    rest = [f"{name}={_quoted(value) if type(value) is str else value}" for name, value in fields.items()]
    return " ".join(head + rest)


def turn_json(record: TurnRecord) -> str:
    """The same as one JSON object."""
    return msgspec.json.encode(turn_fields(record)).decode()


def _quoted(text: str) -> str:
    return f'"{text.replace(chr(34), chr(39))}"' if " " in text else text


def _utc(wall_ms: int) -> str:
    seconds, milliseconds = divmod(wall_ms, 1000)
    return f"{_utc_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=16)
def _utc_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
