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
    """What a log says of a turn, by name; None is not said."""
    ended, ending = record.ended, record.ending
    return {
        "time": _utc(record.started.wall_ms),
        "turn": record.turn_id,
        "kind": record.kind,
        "method": safe(record.method),
        "path": safe(record.path),
        "status": record.status,
        "ending": final(ending) if ending else None,
        "took_s": round(ended.mono_s - record.started.mono_s, 3) if ended else None,
        "quiet_s": round(record.longest_quiet_s, 1) or None,
        "attempts": record.attempts,
        "readers": record.readers,
        "keepalives": record.keepalives or None,
        "spared": record.spared or None,
        "saved_from": record.saved_from and safe(record.saved_from),
        "breaks": record.breaks,
        "healed": record.healed if ending and ending.completed else None,
        "not_healed": record.healed if ending and not ending.completed else None,
        "wasted_tokens": record.wasted_tokens,
        "agent": safe(record.agent) or None,
        "session": record.session and safe(record.session),
        "model": record.model and safe(record.model),
        "request_id": record.request_id and safe(record.request_id),
        "request_bytes": record.request_bytes,
        "answer_bytes": record.answer_bytes,
        "input_tokens": record.input_tokens,
        "output_tokens": record.output_tokens,
        "stop_reason": record.stop_reason and safe(record.stop_reason),
        "detail": safe(ending.detail) if ending and ending.detail else None,
    }


def turn_text(record: TurnRecord) -> str:
    """`2026-11-21T06:52:10.120Z turn 0abc POST /v1/messages 200 -.end.after took_s=12.3 attempts=1 ...`"""
    fields = turn_fields(record)
    take = fields.pop
    time, turn, kind, method, path = take("time"), take("turn"), take("kind"), take("method"), take("path")
    status, ending = take("status"), take("ending")
    said = [
        f"{name}={_quoted(value) if type(value) is str and ' ' in value else value}"
        for name, value in fields.items()
        if value is not None
    ]
    head = (
        f"{time} {kind} {turn} {method} {path} {'-' if status is None else status} {ending or 'unfinished'}"
    )
    return " ".join([head, *said])


def turn_json(record: TurnRecord) -> str:
    """The same as one JSON object."""
    said = {name: value for name, value in turn_fields(record).items() if value is not None}
    return msgspec.json.encode(said).decode()


def _quoted(text: str) -> str:
    return f'"{text.replace(chr(34), chr(39))}"'


def _utc(wall_ms: int) -> str:
    seconds, milliseconds = divmod(wall_ms, 1000)
    return f"{_utc_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=16)
def _utc_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
