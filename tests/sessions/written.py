"""Transcripts as the client writes them: a small pen for stories. Knows the format, and nothing of who reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

API = "https://api.anthropic.com/v1/messages?beta=true"
MORNING_MS = 1_776_150_000_000
"2026-04-14, 07:00 UTC."


def stamp(at_ms: int) -> str:
    """As in a record: `2026-04-14T07:00:00.000Z`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


@dataclass
class Pen:
    """Writes one conversation, second by second. `early` writes the keys in the order of versions before 2.1.9x."""

    session: str = "11111111-0000-4000-8000-000000000001"
    version: str = "2.1.104"
    cwd: str = "/work/atlas"
    agent: str | None = None
    early: bool = False
    at_ms: int = MORNING_MS
    lines: list[str] = field(default_factory=list)
    _number: int = 0

    def after(self, seconds: float) -> Pen:
        """Let time pass."""
        self.at_ms += round(seconds * 1000)
        return self

    def record(self, body: dict[str, Any], **changes: Any) -> Pen:
        """Any record: the common fields around `body`."""
        self._number += 1
        common = {
            "uuid": f"{self.session[:8]}-{self._number:04d}",
            "timestamp": stamp(self.at_ms),
            "userType": "external",
            "entrypoint": "cli",
            "cwd": self.cwd,
            "sessionId": self.session,
            "version": self.version,
            "gitBranch": "main",
        }
        if self.agent is not None:
            common["agentId"] = self.agent
        start = {"parentUuid": None, "isSidechain": self.agent is not None}
        whole = start | common | body if self.early else start | body | common
        self.lines.append(json.dumps(whole | changes, separators=(",", ":")))
        return self

    def asks(self, text: str = "Go on, please.") -> Pen:
        """The user types."""
        return self.record({"type": "user", "message": {"role": "user", "content": text}})

    def tool_says(self, text: str = "done") -> Pen:
        """A tool's result."""
        block = {"type": "tool_result", "tool_use_id": "toolu_1", "content": text}
        said = {"type": "user", "message": {"role": "user", "content": [block]}}
        return self.record(said | {"toolUseResult": {"stdout": text}})

    def calls(
        self,
        tool: str,
        call: str,
        given: dict[str, Any] | None = None,
        *,
        stop: str | None = "tool_use",
    ) -> Pen:
        """An answer that is one tool call."""
        block = {
            "type": "tool_use",
            "id": call,
            "name": tool,
            "input": {"of": "it"} if given is None else given,
        }
        said: dict[str, Any] = {"id": f"msg_{call}", "type": "message", "role": "assistant"}
        said |= {"model": "claude-opus-4-6", "content": [block], "stop_reason": stop}
        said |= {"usage": {"input_tokens": 3, "cache_read_input_tokens": 89_997, "output_tokens": 20}}
        return self.record({"message": said, "requestId": f"req_{call}", "type": "assistant"})

    def tool_fails(self, call: str, text: Any = "Exit code 1", **changes: Any) -> Pen:
        """A tool's result that is an error, in the order of keys that clients write; its text stands in it twice."""
        block = {"type": "tool_result", "content": text, "is_error": True, "tool_use_id": call}
        said = {"type": "user", "message": {"role": "user", "content": [block]}}
        told = text if isinstance(text, str) else "of blocks"
        return self.record(said | {"toolUseResult": f"Error: {told}"}, **changes)

    def answers(
        self,
        message: str,
        *,
        blocks: int = 1,
        context: int = 90_000,
        output: int = 300,
        model: str = "claude-opus-4-6",
        stop: str | None = "end_turn",
    ) -> Pen:
        """The model's answer, one record per block, usage repeated in each."""
        usage = {
            "input_tokens": 3,
            "cache_creation_input_tokens": 7,
            "cache_read_input_tokens": context - 10,
            "output_tokens": output,
            "service_tier": "standard",
        }
        for number in range(blocks):
            content = [{"type": "text", "text": f'block {number} says "type":"user" and "message": too'}]
            said: dict[str, Any] = {
                "id": message,
                "type": "message",
                "role": "assistant",
                "model": model,
                "content": content,
            }
            said |= {"stop_reason": stop if number == blocks - 1 else None, "usage": usage}
            self.record({"message": said, "requestId": f"req_{message}", "type": "assistant"})
        return self

    def fails(
        self, attempt: int, *, code: str | None = "ECONNRESET", wait_ms: float = 503.1, of: int = 10
    ) -> Pen:
        """A try that failed in transport; with `code` None the record says nothing of why."""
        cause = {"code": code, "path": API, "errno": 0}
        body: dict[str, Any] = {"type": "system", "subtype": "api_error", "level": "error"}
        body |= {"cause": cause, "error": {"type": None, "cause": cause}} if code else {"error": {}}
        return self.record(body | {"retryInMs": wait_ms, "retryAttempt": attempt, "maxRetries": of})

    def is_refused(self, attempt: int, status: int = 529, kind: str = "overloaded_error") -> Pen:
        """A try that was answered with an HTTP error."""
        headers = {
            "request-id": f"req_{self._number}",
            "cf-ray": "9ddf33cfda64f790-ORD",
            "x-should-retry": "true",
        }
        told = {"type": "error", "error": {"type": kind, "message": "Overloaded"}}
        error = {"status": status, "headers": headers, "requestID": f"req_{self._number}", "error": told}
        body = {"type": "system", "subtype": "api_error", "level": "error", "error": error}
        return self.record(body | {"retryInMs": 512.0, "retryAttempt": attempt, "maxRetries": 10})

    def gives_up(self, text: str = "API Error: Unable to connect to API (ECONNRESET)") -> Pen:
        """The client's own message in the model's place."""
        usage = {"input_tokens": 0, "output_tokens": 0}
        said: dict[str, Any] = {
            "id": "00000000",
            "model": "<synthetic>",
            "role": "assistant",
            "stop_reason": "stop_sequence",
        }
        said |= {"type": "message", "usage": usage, "content": [{"type": "text", "text": text}]}
        return self.record(
            {"message": said, "type": "assistant", "isApiErrorMessage": True, "error": "unknown"}
        )

    def took(self, seconds: float) -> Pen:
        """The turn's end, as interactive sessions note it."""
        said = {"type": "system", "subtype": "turn_duration", "durationMs": round(seconds * 1000)}
        return self.record(said | {"messageCount": 7})

    def compacts(self, before: int, after: int) -> Pen:
        """The conversation is compacted."""
        told = {"trigger": "auto", "preTokens": before, "postTokens": after}
        return self.record({"type": "system", "subtype": "compact_boundary", "compactMetadata": told})

    def scribbles(self, line: str) -> Pen:
        """Anything, as it is."""
        self.lines.append(line)
        return self

    def text(self) -> str:
        return "".join(line + "\n" for line in self.lines)

    def saved(self, home: Path, *, project: str = "-work-atlas", name: str | None = None) -> Path:
        """Put it where the client would; returns the file."""
        folder = home / ".claude" / "projects" / project
        if self.agent is not None:
            place = folder / self.session / "subagents" / f"agent-{self.agent}.jsonl"
        else:
            place = folder / f"{name or self.session}.jsonl"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(self.text())
        return place
