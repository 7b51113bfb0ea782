"""The client's own telemetry, as far as it lies in files: `telemetry/1p_failed_events.<session>.<batch>.json`.

The client sends its events to its vendor in batches, and keeps in such a file what could not be sent: that is, of the
times at which the vendor's collector could not be reached. What did arrive is not here, so that nothing may be concluded
from an event that is missing.

A line is `{"event_type": "ClaudeCodeInternalEvent", "event_data": {...}}`, whose `additional_metadata` is JSON in base64.
That form, and each kind and field that is read here, was written by real clients on loopback (2.1.86, 2.1.114, 2.1.329, in
print mode and in a terminal, 2026-11-21), whose answers were broken in every phase; what was not seen there is not read.
Events of other names, some hundred per session, are counted and passed over. Of those that are read only what is in
`Event` is kept, and only in the form that it is known to have: the files also hold a device's id, an account's, paths,
addresses and the client's settings.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from holdfast.sessions import lines
from holdfast.sessions.debug import DebugNote
from holdfast.sessions.records import NO_RECORD, NOT_JSON, TOO_LONG, TORN, wall_ms

PATTERN = "1p_failed_events.*.json"
KINDS: Final[Mapping[str, str]] = {
    "tengu_api_query": "asked",
    "tengu_api_retry": "retry",
    "tengu_streaming_stale_connection_retry": "again",
    "tengu_api_error": "gave up",
    "tengu_api_success": "answered",
    "tengu_cancel": "cancelled",
    "tengu_streaming_stall": "stall",
    "tengu_streaming_idle_timeout": "silent",
    "tengu_streaming_partial_finalized": "cut",
    "tengu_streaming_fallback_to_non_streaming": "fallback",
}
"Event name -> what it is called here."
MOST_EVENTS = 100_000
"Kept of one file."
NO_DETAILS = "with details that could not be read"
OWN_LIMIT = "client's time limit"
"The code of a try that the client itself ended because its time was up (`API_TIMEOUT_MS`)."
ABORTED = "aborted"
"The client's word where its user stopped it."
_LONGEST_MS = 10 * 24 * 3_600_000
_MAIN = ("sdk", "repl_main_thread")
_SAID: Final[Mapping[str, str]] = {
    "Request timed out.": "api_timeout",
    "Connection error.": "connection_error",
    "Request was aborted.": ABORTED,
}
"What 2.1.86 and 2.1.114 say of a failed try -> the word that 2.1.329 has for it."


@dataclass(slots=True)
class Event:
    """One event about a request, as far as it is kept. None and empty: the event does not tell."""

    id: str
    "The client's own; a batch that is written twice keeps it."
    at_ms: int
    session: str
    kind: str
    "One of `KINDS`' values."
    version: str = ""
    model: str = ""
    asker: str = ""
    "`main` (the conversation), `agent` (a subagent), `side` (a title, a summary); of failed tries no version says it."
    attempt: int | None = None
    status: int | None = None
    code: str = ""
    "`ECONNRESET`: only 2.1.329 tells it, and only of streams."
    error_type: str = ""
    "The client's word: `server_overload`, `connection_error`, `api_timeout`."
    request_id: str | None = None
    took_ms: float | None = None
    "Of a failed try, its own time (2.1.86 does not tell it); of an end, the last try's."
    whole_ms: float | None = None
    "Of an end: since the request was asked first, waits included."
    wait_ms: float | None = None
    "Until the next try."
    gap_ms: float | None = None
    "Of a stall, how long nothing came; of `silent`, the client's limit."

    @property
    def failed_code(self) -> str:
        """What the try is called that it tells of: as transcripts call it, where they do."""
        if self.status is not None:
            return f"HTTP {self.status}"
        return self.code or (OWN_LIMIT if self.error_type == "api_timeout" else "unknown")


@dataclass(slots=True)
class Unsent:
    """One file, read."""

    events: list[Event] = field(default_factory=list)
    "Those about requests, in their order."
    lines: int = 0
    "That are events, of whatever name."
    first_ms: int | None = None
    last_ms: int | None = None
    dirt: Counter[str] = field(default_factory=Counter)
    "Lines that could not be read, by their kind, each of which follows a count of lines."
    left_out: int = 0
    "Events beyond the bound."


def files(directories: Iterable[Path]) -> list[Path]:
    """What is named like such a file below these roots, whatever it is, in the order of names."""
    return sorted(path for root in directories for path in (root / "telemetry").glob(PATTERN))


def read(path: Path, *, block: int = lines.BLOCK) -> Unsent:
    """Read a file in pieces of bounded size. Raises `OSError`, also for what is no regular file."""
    unsent = Unsent()
    for _, buffer, size in lines.pieces(path, block=block):
        at = 0
        while at < size:
            end = buffer.find(b"\n", at, size)
            end = size if end < 0 else end
            _line(buffer[at:end], unsent)
            at = end + 1
    return unsent


SOURCE = "client telemetry"
_NOTED = frozenset({"stall", "silent", "cut", "fallback"})
_STOPPED_MS = 1_000
"What a client does about its user's Esc it does at once: 2.1.86 notes a fallback then."


def notes(events: Iterable[Event]) -> list[DebugNote]:
    """What events say of streams, as lines of the debug log say it. What came of the user's stopping is left out."""
    found, stopped = [], dict[str, int]()
    for one in sorted(events, key=lambda event: event.at_ms):
        if one.kind == "cancelled":
            stopped[one.session] = one.at_ms
        elif one.kind in _NOTED and one.at_ms - stopped.get(one.session, -_STOPPED_MS) >= _STOPPED_MS:
            gap_s = one.gap_ms / 1000 if one.gap_ms is not None and one.kind in ("stall", "silent") else None
            found.append(
                DebugNote(one.at_ms, one.kind, one.session, gap_s, one.code or None, SOURCE, one.request_id)
            )
    return found


class _Client(msgspec.Struct, gc=False):
    version: str | None = None


class _Data(msgspec.Struct, gc=False):
    event_name: str
    client_timestamp: str
    session_id: str
    event_id: str | None = None
    model: str | None = None
    env: _Client | None = None
    additional_metadata: str | None = None


class _Line(msgspec.Struct, gc=False):
    event_data: _Data


_decoder = msgspec.json.Decoder(_Line)
_details = msgspec.json.Decoder(dict[str, Any])


def _line(line: bytearray, unsent: Unsent) -> None:
    if not line.strip():
        return
    try:
        data = _decoder.decode(line).event_data
    except msgspec.ValidationError:
        unsent.dirt[NO_RECORD] += 1
        return
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        kind = TOO_LONG if len(line) > lines.LONGEST_LINE else TORN if "truncated" in str(error) else NOT_JSON
        unsent.dirt[kind] += 1
        return
    at_ms, session = wall_ms(data.client_timestamp), _fits(_SESSION, data.session_id)
    if at_ms is None or not session:
        unsent.dirt[NO_RECORD] += 1
        return
    unsent.lines += 1
    unsent.first_ms = at_ms if unsent.first_ms is None else min(unsent.first_ms, at_ms)
    unsent.last_ms = at_ms if unsent.last_ms is None else max(unsent.last_ms, at_ms)
    kind = KINDS.get(data.event_name, "")
    if not kind:
        return
    details = _details_of(data.additional_metadata)
    if details is None:
        unsent.dirt[NO_DETAILS] += 1
    elif len(unsent.events) < MOST_EVENTS:
        unsent.events.append(_event(kind, at_ms, session, data, details))
    else:
        unsent.left_out += 1


def _details_of(told: str | None) -> dict[str, Any] | None:
    """What stands in base64; None where it cannot be read, or there is none: every kind that is read here has some."""
    try:
        return _details.decode(base64.b64decode(told or "", validate=True))
    except (binascii.Error, msgspec.DecodeError, ValueError, RecursionError):
        return None


def _event(kind: str, at_ms: int, session: str, data: _Data, told: Mapping[str, Any]) -> Event:
    error = told.get("error")
    error = error[:2_000] if isinstance(error, str) else ""
    attempt = _whole(told, "attempt", "retry_attempt")
    return Event(
        id=_fits(_ID, data.event_id) or f"{session}:{at_ms}:{kind}:{attempt}",
        at_ms=at_ms,
        session=session,
        kind=kind,
        version=_fits(_VERSION, data.env.version if data.env else None),
        model=_fits(_MODEL, told.get("model")) or _fits(_MODEL, data.model),
        asker=_asker(told.get("querySource")),
        attempt=attempt,
        status=_status(told.get("status")),
        code=_code(told.get("error_code")),
        error_type=_fits(_WORD, told.get("errorType")) or _SAID.get(error, ""),
        request_id=_request_id(told, error),
        took_ms=_number(told, "attempt_duration_ms", "durationMs"),
        whole_ms=_number(told, "durationMsIncludingRetries"),
        wait_ms=_number(told, "delayMs"),
        gap_ms=_number(told, "stall_duration_ms", "timeout_ms"),
    )


# ----- fields


_SESSION = re.compile(r"[0-9A-Za-z_-]{1,80}", re.ASCII)
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VERSION = re.compile(r"\d{1,4}(?:\.\d{1,6}){2}(?:-[0-9A-Za-z.]{1,30})?", re.ASCII)
_MODEL = re.compile(r"[0-9A-Za-z][0-9A-Za-z.:/_-]{0,99}(?:@\d{8})?(?:\[1m\])?", re.ASCII)
_WORD = re.compile(r"[a-z][a-z_]{0,39}")
_CODE = re.compile(r"[A-Z][A-Za-z0-9_]{2,39}", re.ASCII)
_REQUEST = re.compile(r"req_[0-9A-Za-z_]{1,60}", re.ASCII)
_REQUEST_SAID = re.compile(r'"request_id":"(req_[0-9A-Za-z_]{1,60})"', re.ASCII)


def _fits(form: re.Pattern[str], value: Any) -> str:
    return value if isinstance(value, str) and form.fullmatch(value) else ""


def _code(value: Any) -> str:
    return _fits(_CODE, value)


def _request_id(told: Mapping[str, Any], error: str) -> str | None:
    """The answer's own; of a failed try it stands in the provider's error alone, which older versions quote."""
    for name in ("requestId", "request_id"):
        if found := _fits(_REQUEST, told.get(name)):
            return found
    said = _REQUEST_SAID.search(error)
    return said[1] if said else None


def _asker(source: Any) -> str:
    if not isinstance(source, str):
        return ""
    if source.startswith("agent:"):
        return "agent"
    return "main" if source.split(":")[0] in _MAIN else "side"


def _number(told: Mapping[str, Any], *names: str) -> float | None:
    for name in names:
        value = told.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LONGEST_MS:
            return float(value)
    return None


def _whole(told: Mapping[str, Any], *names: str) -> int | None:
    found = _number(told, *names)
    return int(found) if found is not None and found < 10_000 else None


def _status(value: Any) -> int | None:
    """A number in `tengu_api_retry`, text in `tengu_api_error`, `undefined` where there was none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 600 else None
