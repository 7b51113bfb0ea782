"""Files of telemetry as clients leave them behind where they cannot send it. Knows the form, and nothing of who reads it.

Names and fields are those of files that real clients wrote on loopback: 2.1.86, 2.1.114 and 2.1.329.
"""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sessions.written import MORNING_MS, stamp

DEVICE = "2c836b7a099013d621ff80f11f61ad6b7383198bac99f69558f408478236eb8a"
MAIN, AGENT, TITLE = "sdk", "agent:builtin:general-purpose", "generate_session_title"


@dataclass
class Unsent:
    """What one session could not send, second by second. 2.1.86 notes no duration of a try, and later versions no text."""

    session: str = "11111111-0000-4000-8000-000000000001"
    version: str = "2.1.86"
    at_ms: int = MORNING_MS
    lines: list[str] = field(default_factory=list)
    _began: dict[str, int] = field(default_factory=dict)

    def after(self, seconds: float) -> Unsent:
        """Let time pass."""
        self.at_ms += round(seconds * 1000)
        return self

    def event(self, name: str, told: dict[str, Any] | None = None, **changes: Any) -> Unsent:
        """Any event: what all have, around its details."""
        data: dict[str, Any] = {
            "event_name": name,
            "client_timestamp": stamp(self.at_ms),
            "model": "claude-sonnet-4-6",
            "session_id": self.session,
            "user_type": "external",
            "betas": "claude-code-20250219,interleaved-thinking-2025-05-14",
            "env": {
                "platform": "linux",
                "terminal": "xterm-256color",
                "version": self.version,
                "arch": "x64",
            },
            "entrypoint": "sdk-cli",
            "is_interactive": False,
            "process": base64.b64encode(b'{"uptime":3.18,"rss":207810560}').decode(),
            "event_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.session} {len(self.lines)}")),
            "device_id": DEVICE,
        }
        if told is not None:
            data["additional_metadata"] = base64.b64encode(json.dumps(told).encode()).decode()
        whole = {"event_type": "ClaudeCodeInternalEvent", "event_data": data | changes}
        return self.scribbles(json.dumps(whole, separators=(",", ":")))

    def scribbles(self, line: str) -> Unsent:
        """Anything, as it is."""
        self.lines.append(line)
        return self

    def noise(self, count: int = 1) -> Unsent:
        """Events that are about no request; most are."""
        for _ in range(count):
            self.event("tengu_dir_search", {"durationMs": 1, "managedFilesFound": 0})
        return self

    def asks(self, asker: str = MAIN) -> Unsent:
        """A request is sent."""
        self._began[asker] = self.at_ms
        told = {"messagesLength": 1, "provider": "firstParty", "querySource": asker}
        return self.event("tengu_api_query", told | {"baseUrl": "http://127.0.0.1:43353"})

    def fails(
        self,
        attempt: int,
        *,
        status: int | None = None,
        said: str = "Connection error.",
        wait_ms: float = 512.25,
        took_ms: float | None = None,
    ) -> Unsent:
        """A try failed, and is going to be repeated; with a status the provider's answer is quoted."""
        told: dict[str, Any] = {
            "attempt": attempt,
            "delayMs": wait_ms,
            "error": said,
            "provider": "firstParty",
        }
        if status is not None:
            body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            quoted = json.dumps(body | {"request_id": f"req_{attempt}of{status}"}, separators=(",", ":"))
            told |= {"status": status, "error": f"{status} {quoted}"}
        if took_ms is not None:
            told["attempt_duration_ms"] = took_ms
        return self.event("tengu_api_retry", told)

    def breaks(self, attempt: int, request_id: str = "req_broken") -> Unsent:
        """A stream broke before a block was whole, and is asked for again (2.1.329)."""
        told = {"error_code": "ECONNRESET", "retry_attempt": attempt, "request_id": request_id}
        return self.event("tengu_streaming_stale_connection_retry", told)

    def answers(self, request_id: str, attempt: int = 1, asker: str = MAIN, took_ms: float = 20.0) -> Unsent:
        """The answer was heard to its end."""
        told: dict[str, Any] = {
            "durationMs": took_ms,
            "durationMsIncludingRetries": self.at_ms - self._began[asker],
        }
        told |= {"attempt": attempt, "ttftMs": 11, "requestId": request_id, "querySource": asker}
        return self.event("tengu_api_success", told)

    def gives_up(
        self,
        attempt: int,
        *,
        status: str = "undefined",
        kind: str = "connection_error",
        request_id: str | None = None,
        asker: str = MAIN,
        took_ms: float = 20.0,
    ) -> Unsent:
        """The client does not try again."""
        told = {"error": "Connection error.", "status": status, "errorType": kind, "attempt": attempt}
        told |= {"durationMs": took_ms, "durationMsIncludingRetries": self.at_ms - self._began[asker]}
        told |= {"querySource": asker} | ({"requestId": request_id} if request_id else {})
        return self.event("tengu_api_error", told)

    def stalls(self, seconds: float, request_id: str = "req_stalled") -> Unsent:
        """Something came after so long a silence."""
        told = {
            "stall_duration_ms": round(seconds * 1000),
            "stall_count": 1,
            "event_type": "content_block_delta",
        }
        return self.event("tengu_streaming_stall", told | {"request_id": request_id})

    def is_silent(self, seconds: float, request_id: str = "req_silent") -> Unsent:
        """The client gave a silent stream up, and asks without streaming."""
        told = {"request_id": request_id, "timeout_ms": round(seconds * 1000), "tier": "event"}
        return self.event("tengu_streaming_idle_timeout", told).falls_back("watchdog", request_id)

    def falls_back(self, cause: str = "other", request_id: str = "req_broken") -> Unsent:
        """A stream ended, and is asked for again without streaming."""
        told = {"error": "TypeError", "attemptNumber": 1, "fallback_cause": cause, "request_id": request_id}
        return self.event("tengu_streaming_fallback_to_non_streaming", told)

    def is_stopped(self) -> Unsent:
        """The user presses Esc."""
        return self.event("tengu_cancel", {"source": "escape", "streamMode": "responding"})

    def saved(self, home: Path, batch: str = "5ef492d8-9b4c-462c-a747-9bfb6e150a2a") -> Path:
        """Put it where the client would; returns the file."""
        place = home / ".claude" / "telemetry" / f"1p_failed_events.{self.session}.{batch}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("".join(line + "\n" for line in self.lines))
        return place
